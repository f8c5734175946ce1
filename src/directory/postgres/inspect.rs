//! What a server says of itself, for whoever looks after it. Reads only, each host on a connection of its own.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sqlx::{ConnectOptions, Executor, PgConnection, postgres::PgRow};
use tokio::time::timeout;

use super::{Address, OpenError, Tls, load::text_columns, pool, schema};
use crate::directory::{DirectoryError, KeyCheck};

/// What a server says of itself.
#[derive(Clone, Debug)]
pub struct About {
    /// Its version, in words and as a number such as 140005.
    pub version: (String, u32),
    /// Whether this connection is encrypted.
    pub is_encrypted: bool,
    /// Whether it follows another server.
    pub is_standby: bool,
    /// Whether it takes no writes for another reason.
    pub is_read_only: bool,
    /// How far its clock is ahead of ours, less the time of the question.
    pub ahead: SignedDuration,
    /// Its encoding, `fsync`, `synchronous_commit` and `full_page_writes`.
    pub keeps: [String; 4],
    /// How many connections it has, and how many a role that is no superuser can have in all: by the server, the database or
    /// the role.
    pub connections: (u64, u64),
    /// Whether the role may do everything.
    pub is_superuser: bool,
    /// What of the schema is there.
    pub schema: Schema,
    /// What the role lacks of what a sidecar needs.
    pub lacks: Vec<String>,
}

/// What of the schema is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schema {
    /// Nothing.
    None,
    /// It cannot be looked at with this role.
    Hidden(String),
    /// So many steps, of those that this version knows.
    Steps {
        /// The newest that is there.
        found: i32,
        /// The newest that this version knows.
        known: i32,
        /// Which version is needed, if not this one.
        needs: Option<String>,
    },
    /// A copy into it was begun and is not finished.
    HalfCopied,
}

/// Why a server says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Of what kind.
    pub kind: TroubleKind,
    /// In words.
    pub why: String,
}

/// Of what kind a trouble is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TroubleKind {
    /// Nobody answers there.
    Silent,
    /// The certificate is not as it must be, or the server knows no TLS.
    Tls,
    /// The role or its password is not taken.
    Denied,
    /// There is no such database.
    NoDatabase,
    /// No connection is free.
    Full,
    /// Something else.
    Other,
}

/// Asks each host that the address names.
pub async fn inspect(address: &Address, patience: Duration) -> Vec<(String, Result<About, Trouble>)> {
    let mut all = Vec::new();
    for host in &address.hosts {
        let shown = if host.0.starts_with('/') {
            format!("{} port {}", host.0, host.1)
        } else {
            format!("{}:{}", host.0, host.1)
        };
        let silent = || Trouble { kind: TroubleKind::Silent, why: "does not answer in time".to_owned() };
        let about = timeout(patience, of_one(address, host)).await.unwrap_or_else(|_| Err(silent()));
        all.push((shown, about));
    }
    all
}

/// The checks of a purpose's keys that the first host which answers has; none while there is no schema.
///
/// # Errors
/// [`DirectoryError`] when none can be asked.
pub async fn key_checks(address: &Address, purpose: &str) -> Result<Vec<KeyCheck>, DirectoryError> {
    let mut last = DirectoryError::Unavailable("no host is set".into());
    for host in &address.hosts {
        match checks_at(address, host, purpose).await {
            Ok(checks) => return Ok(checks),
            Err(error) => last = super::unavailable(&error),
        }
    }
    Err(last)
}

async fn checks_at(address: &Address, host: &(String, u16), purpose: &str) -> Result<Vec<KeyCheck>, sqlx::Error> {
    let options = pool::options(address, host).map_err(|error| sqlx::Error::Protocol(error.to_string()))?;
    let mut connection = options.connect().await?;
    let sql = "SELECT key_id, check_value FROM countersign.key_check WHERE purpose = $1 ORDER BY key_id";
    let rows = sqlx::query(sql).bind(purpose).persistent(false).fetch_all(&mut connection).await?;
    let read = |row: &PgRow| Ok(KeyCheck { key_id: sqlx::Row::try_get(row, 0)?, value: sqlx::Row::try_get(row, 1)? });
    rows.iter().map(read).collect()
}

async fn of_one(address: &Address, host: &(String, u16)) -> Result<About, Trouble> {
    let options = pool::options(address, host).map_err(|error| other(&error.to_string()))?;
    let mut connection = options.connect().await.map_err(|error| trouble(address, &error))?;
    let asked = Timestamp::now();
    let facts: [String; 14] = row(&mut connection, FACTS).await?;
    let answered = Timestamp::now();
    let [
        version,
        number,
        encrypted,
        standby,
        read_only,
        time,
        encoding,
        fsync,
        commit,
        pages,
        used,
        most,
        superuser,
        has_schema,
    ] = facts;
    let there = Timestamp::from_microsecond(time.parse().unwrap_or_default()).unwrap_or_default();
    let schema = if has_schema == "true" { schema_of(&mut connection).await } else { Schema::None };
    let lacks = match schema {
        Schema::Steps { .. } => {
            let [lacks]: [String; 1] = row(&mut connection, LACKS).await?;
            lacks.split(", ").filter(|lack| !lack.is_empty()).map(str::to_owned).collect()
        }
        Schema::None | Schema::Hidden(_) | Schema::HalfCopied => Vec::new(),
    };
    Ok(About {
        version: (version, number.parse().unwrap_or_default()),
        is_encrypted: encrypted == "true",
        is_standby: standby == "true",
        is_read_only: read_only == "true" && standby != "true",
        ahead: ahead(asked, there, answered),
        keeps: [encoding, fsync, commit, pages],
        connections: (used.parse().unwrap_or_default(), most.parse().unwrap_or_default()),
        is_superuser: superuser == "true",
        schema,
        lacks,
    })
}

async fn schema_of(connection: &mut PgConnection) -> Schema {
    match schema::steps(connection).await {
        Ok(None) => Schema::None,
        Ok(Some(steps)) => steps,
        Err(OpenError::MayNotMigrate(why)) => Schema::Hidden(why),
        Err(error) => Schema::Hidden(error.to_string()),
    }
}

async fn row<const N: usize>(connection: &mut PgConnection, sql: &'static str) -> Result<[String; N], Trouble> {
    let found = connection.fetch_one(sqlx::raw_sql(sql)).await.map_err(|error| other(&error.to_string()))?;
    text_columns(&found).map_err(|error| other(&error.to_string()))
}

/// Outside of question and answer by so much.
fn ahead(asked: Timestamp, there: Timestamp, answered: Timestamp) -> SignedDuration {
    if there > answered {
        there.duration_since(answered)
    } else if there < asked {
        there.duration_since(asked)
    } else {
        SignedDuration::ZERO
    }
}

fn other(why: &str) -> Trouble {
    Trouble { kind: TroubleKind::Other, why: why.to_owned() }
}

fn trouble(address: &Address, error: &sqlx::Error) -> Trouble {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    let kind = match code.as_deref() {
        // invalid_authorization_specification, invalid_password
        Some("28000" | "28P01") => TroubleKind::Denied,
        Some("3D000") => TroubleKind::NoDatabase,
        Some("53300") => TroubleKind::Full,
        Some(_) => TroubleKind::Other,
        None if matches!(error, sqlx::Error::Tls(_)) => TroubleKind::Tls,
        None if address.tls != Tls::Off && error.to_string().contains("ertificate") => TroubleKind::Tls,
        None if matches!(error, sqlx::Error::Io(_)) => TroubleKind::Silent,
        None => TroubleKind::Other,
    };
    Trouble { kind, why: error.to_string() }
}

/// Each as text, none NULL. The least of what limits a role that is no superuser: -1 limits nothing.
const FACTS: &str = "SELECT current_setting('server_version'), current_setting('server_version_num'),
    coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false)::text,
    pg_is_in_recovery()::text, current_setting('transaction_read_only')::boolean::text,
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint::text,
    current_setting('server_encoding'), current_setting('fsync'), current_setting('synchronous_commit'),
    current_setting('full_page_writes'),
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::text,
    least(current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
          (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database()),
          (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user))::text,
    (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)::text,
    (to_regnamespace('countersign') IS NOT NULL)::text";

/// What `grants.sql` gives a sidecar, and this role does not have.
const LACKS: &str = "SELECT coalesce(string_agg(lack, ', ' ORDER BY lack), '') FROM (
    SELECT 'usage of the schema' AS lack WHERE NOT has_schema_privilege('countersign', 'USAGE')
    UNION ALL
    SELECT lower(privilege) || ' on ' || c.relname FROM pg_class c
    JOIN (VALUES ('account', 'INSERT'), ('account', 'UPDATE'), ('contact', 'INSERT'), ('contact', 'UPDATE'),
                 ('credential', 'INSERT'), ('credential', 'UPDATE'), ('escalation', 'INSERT'), ('escalation', 'UPDATE'),
                 ('role_assignment', 'INSERT'), ('role_assignment', 'DELETE'), ('interaction', 'INSERT'),
                 ('interaction', 'UPDATE'), ('credential_hash', 'INSERT'), ('credential_hash', 'UPDATE'),
                 ('credential_hash', 'DELETE'), ('credential_lane', 'INSERT'), ('credential_lane', 'UPDATE'),
                 ('credential_lane', 'DELETE'), ('credential_keypad', 'INSERT'), ('credential_keypad', 'UPDATE'),
                 ('credential_dummy', 'UPDATE'), ('key_check', 'INSERT'),
                 ('delivery', 'INSERT')) needed (name, privilege) ON needed.name = c.relname
    WHERE c.relnamespace = 'countersign'::regnamespace AND NOT has_table_privilege(c.oid, privilege)
    UNION ALL
    SELECT 'select on ' || c.relname FROM pg_class c
    WHERE c.relnamespace = 'countersign'::regnamespace AND c.relkind = 'r' AND NOT has_table_privilege(c.oid, 'SELECT')
    UNION ALL
    SELECT 'execute of ' || p.proname FROM pg_proc p
    WHERE p.pronamespace = 'countersign'::regnamespace
      AND p.proname IN ('credential_of', 'look', 'reserve', 'reserve_keypad', 'settle', 'settle_keypad', 'lock_directory', 'log_change')
      AND NOT has_function_privilege(p.oid, 'EXECUTE')) l";
