//! Credentials in PostgreSQL: what is granted is counted, in one statement, and committed before it is answered. The
//! connection is given back before anything is hashed.

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::postgres::PgRow;

use super::{
    Store, change_log,
    transaction::{Reading, Writing, count, get, optional_timestamp, revision, timestamp, unreadable},
    values::Instant,
};
use crate::{
    directory::{
        Actor, ContactId, DirectoryError, Revision,
        credential::{
            Absent, CredentialRef, CredentialStatus, CredentialVersion, Credentials, Granted, Held, NewPassphrase,
            Owner, PepperUse, Reopened, Secret, SetMethod, Settled, StoredHashText, Success, Target, Tried, Unlocked,
        },
    },
    throttle::{
        Lane,
        floor::{CLOCKS_APART_S, Floor, MOST_DOUBLINGS, MOST_FAILURES},
    },
};

mod change;
mod keypad;

pub(super) use change::{end_of_contact, suspend_of_contact};

/// The credentials of a store, under the figures of its floor.
#[derive(Clone, Debug)]
pub struct PostgresCredentials {
    store: Store,
    floor: Floor,
}

impl PostgresCredentials {
    /// The credentials in `store`; the floor has been validated.
    #[must_use]
    pub fn new(store: Store, floor: Floor) -> Self {
        Self { store, floor }
    }
}

#[async_trait]
impl Credentials for PostgresCredentials {
    async fn reserve(&self, target: &Target, lane: Lane, now: Timestamp) -> Result<Tried, DirectoryError> {
        let (store, target, floor) = (self.store.clone(), target.clone(), self.floor);
        let work = async move {
            let mut reading = store.reading().await?;
            let done = reserve(&mut reading, &target, lane, floor, store.time(now), now).await;
            reading.end(done).await
        };
        self.store.run(work).await
    }

    async fn settle_success(&self, success: Success, now: Timestamp) -> Result<Settled, DirectoryError> {
        let store = self.store.clone();
        let work = async move {
            let mut reading = store.reading().await?;
            let done = settle_success(&mut reading, &success, store.time(now)).await;
            reading.end(done).await
        };
        self.store.run(work).await
    }

    async fn set(
        &self,
        owner: &Owner,
        new: NewPassphrase,
        actor: Actor,
        now: Timestamp,
    ) -> Result<Revision, DirectoryError> {
        let (store, owner) = (self.store.clone(), owner.clone());
        let work = async move {
            let mut writing = store.changing().await?;
            let done = match &owner {
                Owner::Contact(_) | Owner::Account(_) => change::set(&mut writing, &owner, &new, &actor, now).await,
                Owner::Keypad(contact) => keypad::set(&mut writing, contact, &new, &actor, now).await,
            };
            writing.end(done).await
        };
        self.store.run(work).await
    }

    async fn clear(&self, owner: &Owner, actor: Actor, now: Timestamp) -> Result<Revision, DirectoryError> {
        let (store, owner) = (self.store.clone(), owner.clone());
        let work = async move {
            let mut writing = store.changing().await?;
            let done = match &owner {
                Owner::Contact(_) | Owner::Account(_) => change::clear(&mut writing, &owner, &actor, now).await,
                Owner::Keypad(contact) => keypad::clear(&mut writing, contact, &actor, now).await,
            };
            writing.end(done).await
        };
        self.store.run(work).await
    }

    async fn reopen(&self, contact: &ContactId, actor: Actor, now: Timestamp) -> Result<Reopened, DirectoryError> {
        let (store, contact, floor) = (self.store.clone(), contact.clone(), self.floor);
        let work = async move {
            let mut writing = store.changing().await?;
            let done = change::reopen(&mut writing, &contact, floor, &actor, now).await;
            writing.end(done).await
        };
        self.store.run(work).await
    }

    async fn unlock(&self, contact: &ContactId, actor: Actor, now: Timestamp) -> Result<Unlocked, DirectoryError> {
        let (store, contact) = (self.store.clone(), contact.clone());
        let work = async move {
            let mut writing = store.changing().await?;
            let done = change::unlock(&mut writing, &contact, &actor, now).await;
            writing.end(done).await
        };
        self.store.run(work).await
    }

    async fn by_pepper(&self) -> Result<Vec<PepperUse>, DirectoryError> {
        let store = self.store.clone();
        let work = async move {
            let mut reading = store.reading().await?;
            let done = by_pepper(&mut reading).await;
            reading.end(done).await
        };
        self.store.run(work).await
    }

    async fn status(&self, owner: &Owner, now: Timestamp) -> Result<Option<CredentialStatus>, DirectoryError> {
        let (store, owner, floor) = (self.store.clone(), owner.clone(), self.floor);
        let work = async move {
            let mut reading = store.reading().await?;
            let done = status(&mut reading, &owner, floor, store.time(now)).await;
            reading.end(done).await
        };
        self.store.run(work).await
    }
}

/// Sets the passphrase of a contact within a transaction of somebody else.
pub(super) async fn set_for(
    writing: &mut Writing,
    contact: &ContactId,
    new: &NewPassphrase,
    actor: &Actor,
    now: Timestamp,
) -> Result<Revision, DirectoryError> {
    change::set(writing, &Owner::Contact(contact.clone()), new, actor, now).await
}

async fn by_pepper(reading: &mut Reading) -> Result<Vec<PepperUse>, DirectoryError> {
    let statement = sqlx::query(
        "SELECT coalesce(substring(phc from 'keyid=([0-9a-f]{8})'), '') AS pepper, count(*)
         FROM (SELECT phc FROM countersign.credential_hash
               UNION ALL
               SELECT k.phc FROM countersign.credential_keypad k
               JOIN countersign.credential c ON c.id = k.credential AND c.version = k.version
               WHERE k.phc IS NOT NULL) hashes
         GROUP BY pepper ORDER BY pepper",
    );
    let uses = reading.rows(statement).await?;
    let uses = uses.iter().map(|row| {
        let credentials = u64::try_from(get::<i64>(row, 1)?).unwrap_or_default();
        Ok(PepperUse { key_id: get(row, 0)?, credentials })
    });
    uses.collect()
}

/// Counts a failure in advance and reads the hash, or does neither; see `countersign.reserve` of the database.
async fn reserve(
    reading: &mut Reading,
    target: &Target,
    lane: Lane,
    floor: Floor,
    time: Option<Instant>,
    now: Timestamp,
) -> Result<Tried, DirectoryError> {
    let nobody = ContactId::new("");
    let some_dummy = now.subsec_nanosecond() / 1000;
    let (contact, secret, dummy) = match target {
        Target::Nobody { dummy } => (&nobody, Secret::Passphrase, i32::from(*dummy)),
        Target::Contact(contact) => (contact, Secret::Passphrase, some_dummy),
        Target::Keypad(contact) => (contact, Secret::Keypad, some_dummy),
    };
    let statement = sqlx::query(match secret {
        Secret::Passphrase => "SELECT * FROM countersign.reserve($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        Secret::Keypad => "SELECT * FROM countersign.reserve_keypad($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    });
    let statement = statement
        .bind(contact.as_str())
        .bind(dummy)
        .bind(lane_key(&lane))
        .bind(time)
        .bind(figure(floor.free_failures))
        .bind(microseconds(floor.first_lock_s))
        .bind(microseconds(floor.longest_lock_s))
        .bind(microseconds(CLOCKS_APART_S))
        .bind(figure(floor.failures_to_close))
        .bind(figure(MOST_DOUBLINGS))
        .bind(figure(MOST_FAILURES));
    let row = reading.find(statement).await?.ok_or_else(|| super::defect("an attempt was counted and has no row"))?;
    Ok(match get::<String>(&row, 0)?.as_str() {
        "granted" => Tried::Granted(Granted {
            credential: match secret {
                Secret::Passphrase => CredentialRef::new(get(&row, 1)?, contact.clone()),
                Secret::Keypad => CredentialRef::new(get(&row, 1)?, contact.clone()).by_keypad(),
            },
            stored: StoredHashText::new(get::<String>(&row, 2)?),
            version: CredentialVersion(revision(&row, 3)?.0),
            failures: count(&row, 4)?,
        }),
        "locked" => Tried::Held(Held::Locked { until: timestamp(&row, 5)? }),
        "closed" => Tried::Held(Held::Closed),
        "nobody" => Tried::Absent(Absent::Nobody),
        "inactive" => Tried::Absent(Absent::Inactive),
        "not_enrolled" => Tried::Absent(Absent::NotEnrolled),
        "cleared" => Tried::Absent(Absent::Cleared),
        "suspended" => Tried::Absent(Absent::Suspended),
        _ => return Err(unreadable("no outcome of an attempt")),
    })
}

async fn settle_success(
    reading: &mut Reading,
    success: &Success,
    time: Option<Instant>,
) -> Result<Settled, DirectoryError> {
    let Success { credential, version, lane, line, rehash } = success;
    let version = i64::try_from(version.0).map_err(|_| super::defect("a version that the database cannot count to"))?;
    let statement = sqlx::query(match credential.secret() {
        Secret::Passphrase => "SELECT countersign.settle($1, $2, $3, $4, $5, $6, $7, $8)",
        Secret::Keypad => "SELECT countersign.settle_keypad($1, $2, $3, $4, $5, $6, $7, $8)",
    });
    let statement = statement
        .bind(credential.contact().as_str())
        .bind(credential.id())
        .bind(version)
        .bind(lane_key(lane))
        .bind(line.as_ref().map(|line| line.as_bytes().as_slice()))
        .bind(rehash.as_ref().map(StoredHashText::as_phc))
        .bind(time)
        .bind(LINES_KEPT);
    let row = reading.find(statement).await?;
    match row.map(|row| get::<bool>(&row, 0)).transpose()? {
        Some(true) => Ok(Settled::Accepted),
        Some(false) | None => Ok(Settled::Stale),
    }
}

async fn status(
    reading: &mut Reading,
    owner: &Owner,
    floor: Floor,
    time: Option<Instant>,
) -> Result<Option<CredentialStatus>, DirectoryError> {
    let (contact, account) = match owner {
        Owner::Contact(contact) | Owner::Keypad(contact) => (Some(contact.as_str()), None),
        Owner::Account(account) => (None, Some(account.as_str())),
    };
    let statement = sqlx::query(match owner {
        Owner::Contact(_) | Owner::Account(_) => {
            "SELECT h.credential IS NOT NULL, c.set_at, c.set_by_kind, c.set_by_name, c.method, c.canonical_version,
                    c.suspended_at, c.reopened, coalesce(l.failures, 0),
                    CASE WHEN l.locked_until > coalesce($3, clock_timestamp()) THEN l.locked_until END,
                    (c.retired + (SELECT coalesce(sum(failures), 0) FROM countersign.credential_lane
                                  WHERE credential = c.id))::int
             FROM countersign.credential c
             LEFT JOIN countersign.credential_hash h ON h.credential = c.id
             LEFT JOIN countersign.credential_lane l ON l.credential = c.id AND l.lane = ''::bytea
             WHERE c.contact = $1 OR c.account = $2 AND c.contact IS NULL"
        }
        Owner::Keypad(_) => {
            "SELECT h.credential IS NOT NULL AND k.version = c.version AND k.phc IS NOT NULL, k.set_at, k.set_by_kind,
                    k.set_by_name, k.method, k.canonical_version,
                    c.suspended_at, c.reopened, coalesce(l.failures, 0),
                    CASE WHEN l.locked_until > coalesce($3, clock_timestamp()) THEN l.locked_until END,
                    (c.retired + (SELECT coalesce(sum(failures), 0) FROM countersign.credential_lane
                                  WHERE credential = c.id))::int
             FROM countersign.credential c
             JOIN countersign.credential_keypad k ON k.credential = c.id
             LEFT JOIN countersign.credential_hash h ON h.credential = c.id
             LEFT JOIN countersign.credential_lane l ON l.credential = c.id AND l.lane = ''::bytea
             WHERE c.contact = $1 OR c.account = $2 AND c.contact IS NULL"
        }
    });
    let row = reading.find(statement.bind(contact).bind(account).bind(time)).await?;
    row.map(|row| status_of(&row, floor)).transpose()
}

fn status_of(row: &PgRow, floor: Floor) -> Result<CredentialStatus, DirectoryError> {
    let (reopened, failures, counted) = (count(row, 7)?, count(row, 8)?, count(row, 10)?);
    let by_sum = MOST_FAILURES.saturating_sub(counted) / floor.failures_to_close.max(1);
    Ok(CredentialStatus {
        is_set: get(row, 0)?,
        set_at: timestamp(row, 1)?,
        set_by: change_log::actor(row, 2)?,
        method: method(row, 4)?,
        canonical_version: count(row, 5)?,
        suspended_at: optional_timestamp(row, 6)?,
        locked_until: optional_timestamp(row, 9)?,
        closed: failures >= floor.failures_to_close,
        reopenings_left: floor.reopenings.saturating_sub(reopened).min(by_sum),
    })
}

fn method(row: &PgRow, column: usize) -> Result<SetMethod, DirectoryError> {
    let code: String = get(row, column)?;
    let method = SetMethod::ALL.into_iter().find(|method| method.code() == code);
    method.ok_or_else(|| unreadable("no method of setting a passphrase"))
}

fn lane_key(lane: &Lane) -> &[u8] {
    match lane {
        Lane::Unfamiliar => &[],
        Lane::Familiar(line) => line.as_bytes(),
    }
}

/// Every figure of a floor is far below what 31 bits hold; a larger one would only be stricter.
fn figure(figure: u32) -> i32 {
    i32::try_from(figure).unwrap_or(i32::MAX)
}

fn microseconds(seconds: u32) -> i64 {
    i64::from(seconds) * 1_000_000
}

/// A person calls from a few telephones.
const LINES_KEPT: i32 = 8;
