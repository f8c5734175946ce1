//! The schema: the migrations in this binary, and whether a database can be worked with.
//!
//! Several sidecars may start at once: one migrates, the others wait for it and find nothing left to do. A schema that is newer
//! than known is used as long as it says that a sidecar which knows this much still can.

use sqlx::{AssertSqlSafe, Executor, PgConnection, Row};

use super::{OpenError, Schema, Store};

/// One step. In order; a migration that was released is never edited.
struct Migration {
    sql: &'static str,
    /// The least number of migrations that a sidecar must know to work with the schema after this one. Additive steps leave
    /// it, so that the version before can still run beside.
    least: i32,
}

/// Brings the database to the newest schema, and checks that it keeps what it says and is whole.
pub(super) async fn prepare(connection: &mut PgConnection) -> Result<(), OpenError> {
    bring_up_to_date(connection).await?;
    if is_half_copied(connection).await? {
        return Err(OpenError::HalfCopied);
    }
    Ok(())
}

/// Brings the database to the newest schema, and checks that it keeps what it says.
pub(super) async fn bring_up_to_date(connection: &mut PgConnection) -> Result<(), OpenError> {
    check_server(connection).await?;
    if find_version(connection).await?.is_none_or(|version| version.newest < newest()) {
        migrate(connection).await?;
    }
    match find_version(connection).await? {
        Some(Version { least, needs, newest: found }) if least > newest() => {
            Err(OpenError::Newer { found, known: newest(), needs })
        }
        Some(_) => Ok(()),
        None => Err(OpenError::Unfit("its schema was not made".into())),
    }
}

/// What of the schema is there, for whoever looks after it. `None`: nothing.
pub(super) async fn steps(connection: &mut PgConnection) -> Result<Option<Schema>, OpenError> {
    let Some(Version { newest: found, least, needs }) = find_version(connection).await? else { return Ok(None) };
    let is_too_new = least > newest();
    if !is_too_new && found >= WITH_COPY && is_half_copied(connection).await? {
        return Ok(Some(Schema::HalfCopied));
    }
    Ok(Some(Schema::Steps { found, known: newest(), needs: is_too_new.then_some(needs) }))
}

async fn is_half_copied(connection: &mut PgConnection) -> Result<bool, OpenError> {
    let half = "SELECT EXISTS (SELECT FROM countersign.copy WHERE finished IS NULL)::text";
    Ok(text(connection, half).await? == "true")
}

impl Store {
    /// Gives each role of docs/postgres.md its rights, also one that was made after the schema.
    ///
    /// # Errors
    /// [`OpenError::MayNotMigrate`] for who does not own the schema.
    pub async fn grant(&self) -> Result<(), OpenError> {
        let mut connection = self.pool.take().await?;
        connection.execute(sqlx::raw_sql(GRANTS)).await?;
        connection.give_back();
        Ok(())
    }
}

/// What the database says of its schema.
struct Version {
    newest: i32,
    least: i32,
    needs: String,
}

async fn find_version(connection: &mut PgConnection) -> Result<Option<Version>, OpenError> {
    let is_there = "SELECT (to_regclass('countersign.migration') IS NOT NULL)::text";
    if text(connection, is_there).await? != "true" {
        return Ok(None);
    }
    // The release that brought the newest step which an older sidecar cannot live with.
    let sql = "SELECT v.number, v.least, n.release FROM countersign.migration v
         JOIN countersign.migration n ON n.number = (SELECT min(number) FROM countersign.migration WHERE least = v.least)
         ORDER BY v.number DESC LIMIT 1";
    let Some(row) = sqlx::query(sql).persistent(false).fetch_optional(connection).await? else { return Ok(None) };
    Ok(Some(Version { newest: row.try_get(0)?, least: row.try_get(1)?, needs: row.try_get(2)? }))
}

/// All missing steps, in one transaction, alone.
async fn migrate(connection: &mut PgConnection) -> Result<(), OpenError> {
    connection.execute(sqlx::raw_sql("BEGIN; SET LOCAL lock_timeout = '30s'; SET LOCAL statement_timeout = 0")).await?;
    let done = missing_steps(connection).await;
    let last = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
    connection.execute(sqlx::raw_sql(last)).await?;
    done
}

async fn missing_steps(connection: &mut PgConnection) -> Result<(), OpenError> {
    let lock = format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})");
    connection.execute(sqlx::raw_sql(AssertSqlSafe(lock))).await?;
    connection.execute(sqlx::raw_sql(FIRST)).await?;
    let newest = text(connection, "SELECT coalesce(max(number), 0)::text FROM countersign.migration").await?;
    let found: i32 = newest.parse().map_err(|_| OpenError::Unfit("its schema has no number".into()))?;
    let missing = (1..).zip(&MIGRATIONS).filter(|(number, _)| *number > found);
    for (number, step) in missing {
        connection.execute(sqlx::raw_sql(step.sql)).await?;
        let release = env!("CARGO_PKG_VERSION");
        let least = step.least;
        // Numbers, and a version of ours.
        let note = format!(
            "INSERT INTO countersign.migration (number, least, release) VALUES ({number}, {least}, '{release}')"
        );
        connection.execute(sqlx::raw_sql(AssertSqlSafe(note))).await?;
    }
    connection.execute(sqlx::raw_sql(GRANTS)).await?;
    Ok(())
}

/// What no promise can be kept without.
async fn check_server(connection: &mut PgConnection) -> Result<(), OpenError> {
    let version = text(connection, "SELECT current_setting('server_version_num')").await?;
    if version.parse::<u32>().unwrap_or_default() < OLDEST_SERVER {
        return Err(OpenError::Unfit(format!("PostgreSQL 14 or newer is needed, and this is {version}")));
    }
    let encoding = text(connection, "SELECT current_setting('server_encoding')").await?;
    if encoding != "UTF8" {
        return Err(OpenError::Unfit(format!("the encoding of the database must be UTF8, and is {encoding}")));
    }
    // A count that is answered before it is on disk could be guessed at again after a crash.
    for setting in ["fsync", "synchronous_commit"] {
        let value = text(
            connection,
            match setting {
                "fsync" => "SELECT current_setting('fsync')",
                _ => "SELECT current_setting('synchronous_commit')",
            },
        )
        .await?;
        if value == "off" {
            return Err(OpenError::Unfit(format!("{setting} is off: what is counted would be lost in a crash")));
        }
    }
    Ok(())
}

async fn text(connection: &mut PgConnection, sql: &'static str) -> Result<String, OpenError> {
    let row = connection.fetch_one(sqlx::raw_sql(sql)).await?;
    Ok(row.try_get_unchecked(0)?)
}

fn newest() -> i32 {
    i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX)
}

/// Where the rest is written down. Its owner alone may write here.
const FIRST: &str = "
CREATE SCHEMA IF NOT EXISTS countersign;
CREATE TABLE IF NOT EXISTS countersign.migration (
    number  int         NOT NULL PRIMARY KEY,
    least   int         NOT NULL,
    release text        NOT NULL,
    applied timestamptz NOT NULL DEFAULT clock_timestamp()
)";

const MIGRATIONS: [Migration; 17] = [
    Migration { sql: include_str!("../../../migrations/postgres/0001_directory.sql"), least: 1 },
    Migration { sql: include_str!("../../../migrations/postgres/0002_credentials.sql"), least: 2 },
    Migration { sql: include_str!("../../../migrations/postgres/0003_changes.sql"), least: 3 },
    Migration { sql: include_str!("../../../migrations/postgres/0004_look.sql"), least: 4 },
    Migration { sql: include_str!("../../../migrations/postgres/0005_copy.sql"), least: 4 },
    Migration { sql: include_str!("../../../migrations/postgres/0006_notices.sql"), least: 4 },
    Migration { sql: include_str!("../../../migrations/postgres/0007_review.sql"), least: 4 },
    Migration { sql: include_str!("../../../migrations/postgres/0008_generation.sql"), least: 4 },
    Migration { sql: include_str!("../../../migrations/postgres/0009_reset.sql"), least: 4 },
    Migration { sql: include_str!("../../../migrations/postgres/0010_kept_plans.sql"), least: 4 },
    Migration { sql: include_str!("../../../migrations/postgres/0011_reset_source.sql"), least: 4 },
    Migration { sql: include_str!("../../../migrations/postgres/0012_sql_changes.sql"), least: 4 },
    Migration { sql: include_str!("../../../migrations/postgres/0013_requests.sql"), least: 4 },
    Migration { sql: include_str!("../../../migrations/postgres/0014_keypad.sql"), least: 4 },
    Migration { sql: include_str!("../../../migrations/postgres/0015_former.sql"), least: 4 },
    Migration { sql: include_str!("../../../migrations/postgres/0016_batches.sql"), least: 4 },
    Migration { sql: include_str!("../../../migrations/postgres/0017_closed.sql"), least: 4 },
];

/// What each role may do; may be run again.
const GRANTS: &str = include_str!("../../../migrations/postgres/grants.sql");

/// The step that brought `countersign.copy`.
const WITH_COPY: i32 = 5;

/// "COUNTSGN", as a number: of all that lock by number in this database, only sidecars use it.
const MIGRATION_LOCK: i64 = 0x434f_554e_5453_474e;

/// `server_version_num` of PostgreSQL 14.0.
const OLDEST_SERVER: u32 = 140_000;
