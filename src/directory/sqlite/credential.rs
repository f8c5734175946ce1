//! Credentials in SQLite: what is granted is counted, in one statement, and committed before it is answered.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Row, named_params};

use super::{
    Store, standing,
    transaction::{
        DirectoryRows, NewChange, ReadTransaction, WriteTransaction, optional_timestamp, revision, timestamp,
    },
};
use crate::{
    directory::{
        AccountId, Actor, ContactId, ContactStatus, DirectoryError, Revision,
        credential::{
            Absent, CredentialRef, CredentialStatus, CredentialVersion, Credentials, Granted, Held, NewPassphrase,
            Owner, PepperUse, Reopened, Secret, SetMethod, Settled, StoredHashText, Success, Target, Tried, Unlocked,
        },
        shape::invalid,
    },
    throttle::{
        Lane, Line,
        floor::{CLOCKS_APART_S, Floor, MOST_DOUBLINGS, MOST_FAILURES},
    },
};

mod change;
mod keypad;

pub(super) use change::{end_of_account, end_of_contact, suspend_of_account, suspend_of_contact};

/// The credentials of a store, under the figures of its floor.
#[derive(Clone, Debug)]
pub struct SqliteCredentials {
    store: Store,
    floor: Floor,
}

impl SqliteCredentials {
    /// The credentials in `store`; the floor has been validated.
    #[must_use]
    pub fn new(store: Store, floor: Floor) -> Self {
        Self { store, floor }
    }
}

#[async_trait]
impl Credentials for SqliteCredentials {
    async fn reserve(&self, target: &Target, lane: Lane, now: Timestamp) -> Result<Tried, DirectoryError> {
        let (target, floor) = (target.clone(), self.floor);
        self.store.write(move |transaction| reserve(transaction, &target, lane, floor, now)).await
    }

    async fn settle_success(&self, success: Success, now: Timestamp) -> Result<Settled, DirectoryError> {
        self.store.write(move |transaction| settle_success(transaction, &success, now)).await
    }

    async fn set(
        &self,
        owner: &Owner,
        new: NewPassphrase,
        actor: Actor,
        now: Timestamp,
    ) -> Result<Revision, DirectoryError> {
        let owner = owner.clone();
        self.store
            .write(move |transaction| match &owner {
                Owner::Contact(_) | Owner::Account(_) => change::set(transaction, &owner, &new, &actor, now),
                Owner::Keypad(contact) => keypad::set(transaction, contact, &new, &actor, now),
            })
            .await
    }

    async fn clear(&self, owner: &Owner, actor: Actor, now: Timestamp) -> Result<Revision, DirectoryError> {
        let owner = owner.clone();
        self.store
            .write(move |transaction| match &owner {
                Owner::Contact(_) | Owner::Account(_) => change::clear(transaction, &owner, &actor, now),
                Owner::Keypad(contact) => keypad::clear(transaction, contact, &actor, now),
            })
            .await
    }

    async fn reopen(&self, contact: &ContactId, actor: Actor, now: Timestamp) -> Result<Reopened, DirectoryError> {
        let (contact, floor) = (contact.clone(), self.floor);
        self.store.write(move |transaction| change::reopen(transaction, &contact, floor, &actor, now)).await
    }

    async fn unlock(&self, contact: &ContactId, actor: Actor, now: Timestamp) -> Result<Unlocked, DirectoryError> {
        let contact = contact.clone();
        self.store.write(move |transaction| change::unlock(transaction, &contact, &actor, now)).await
    }

    async fn by_pepper(&self) -> Result<Vec<PepperUse>, DirectoryError> {
        self.store.read(by_pepper).await
    }

    async fn status(&self, owner: &Owner, now: Timestamp) -> Result<Option<CredentialStatus>, DirectoryError> {
        let (owner, floor) = (owner.clone(), self.floor);
        self.store.read(move |snapshot| status(snapshot, &owner, floor, now)).await
    }
}

fn by_pepper(snapshot: &ReadTransaction<'_>) -> Result<Vec<PepperUse>, DirectoryError> {
    let counted = snapshot.rows(
        "SELECT CASE WHEN instr(phc, 'keyid=') > 0 THEN substr(phc, instr(phc, 'keyid=') + 6, 8) ELSE '' END AS pepper,
                count(*)
         FROM (SELECT phc FROM credential_hash
               UNION ALL
               SELECT k.phc FROM credential_keypad k JOIN credential c ON c.id = k.credential AND c.version = k.version
               WHERE k.phc IS NOT NULL)
         GROUP BY pepper ORDER BY pepper",
        (),
        |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)),
    )?;
    let uses = counted.into_iter();
    Ok(uses
        .map(|(key_id, count)| PepperUse { key_id, credentials: u64::try_from(count).unwrap_or_default() })
        .collect())
}

/// Sets the passphrase of a contact within a transaction of somebody else.
pub(super) fn set_for(
    transaction: &WriteTransaction<'_>,
    contact: &ContactId,
    new: &NewPassphrase,
    actor: &Actor,
    now: Timestamp,
) -> Result<Revision, DirectoryError> {
    change::set(transaction, &Owner::Contact(contact.clone()), new, actor, now)
}

/// How many active contacts of the account have a passphrase of their own.
pub(super) fn contacts_with_passphrase(
    snapshot: &ReadTransaction<'_>,
    account: &AccountId,
) -> Result<u32, DirectoryError> {
    let counted = snapshot.find_row(
        "SELECT count(*) FROM credential c
         JOIN credential_hash h ON h.credential = c.id
         JOIN contact p ON p.id = c.contact AND p.status = 'active'
         WHERE c.account = ?1",
        [account.as_str()],
        |row| row.get(0),
    )?;
    Ok(counted.unwrap_or(0))
}

/// Whether this contact was verified on this line since then.
pub(super) fn was_verified_on(
    snapshot: &ReadTransaction<'_>,
    contact: &ContactId,
    line: Line,
    since: Timestamp,
) -> Result<bool, DirectoryError> {
    let found = snapshot.find_row(
        "SELECT 1 FROM verified_line WHERE contact = ?1 AND line = ?2 AND verified_at >= ?3",
        (contact.as_str(), line.as_bytes(), since.as_microsecond()),
        |_| Ok(()),
    )?;
    Ok(found.is_some())
}

/// Which credential is tried for contact `p` of account `a`: his own, if he ever had one; else, for the primary
/// administrator, that of the account.
macro_rules! credential_of {
    () => {
        "coalesce((SELECT id FROM credential WHERE contact = p.id),
                  (SELECT id FROM credential WHERE account = a.id AND contact IS NULL AND a.primary_admin = p.id))"
    };
}
pub(super) use credential_of;

fn reserve(
    transaction: &WriteTransaction<'_>,
    target: &Target,
    lane: Lane,
    floor: Floor,
    now: Timestamp,
) -> Result<Tried, DirectoryError> {
    let (contact, secret, dummy) = match target {
        Target::Contact(contact) => (Some(contact), Secret::Passphrase, now.as_microsecond()),
        Target::Keypad(contact) => (Some(contact), Secret::Keypad, now.as_microsecond()),
        Target::Nobody { dummy } => (None, Secret::Passphrase, i64::from(*dummy)),
    };
    let tried = match contact {
        None => Tried::Absent(Absent::Nobody),
        Some(contact) => match count(transaction, contact, secret, lane, floor, now)? {
            Some(granted) => return Ok(Tried::Granted(granted)),
            None => why_not(transaction, contact, secret, lane, floor, now)?,
        },
    };
    transaction.execute(
        "UPDATE credential_dummy SET failures = (failures + 1) % 20, locked_until = ?2 WHERE id = abs(?1 % 64)",
        (dummy, now.as_microsecond()),
    )?;
    Ok(tried)
}

/// The statement that counts, for one secret of the credential. Atomic as one statement: on any store, whatever else is going
/// on, what it returns has been counted.
macro_rules! counting {
    ($joined:literal, $phc:literal) => {
        concat!(
            "INSERT INTO credential_lane AS l (credential, lane, failures, locked_until, by_keypad)
             SELECT c.id, :lane, 1, CASE WHEN :free < 1 THEN :now + :first ELSE 0 END, :by_keypad
             FROM contact p
             JOIN account a ON a.id = p.account
             JOIN credential c ON c.id = ",
            credential_of!(),
            "JOIN credential_hash h ON h.credential = c.id ",
            $joined,
            "WHERE p.id = :contact AND p.status = 'active' AND a.closed IS NULL AND c.suspended_at IS NULL
               AND c.retired + (SELECT coalesce(sum(failures), 0) FROM credential_lane WHERE credential = c.id) < :most
             ON CONFLICT (credential, lane) DO UPDATE SET
                 failures = l.failures + 1,
                 by_keypad = l.by_keypad + :by_keypad,
                 locked_until = CASE WHEN l.failures < :free THEN 0
                     ELSE :now + min(:longest, :first << min(l.failures - :free, :doublings)) END
             -- A lock of more than the longest was set by a clock that was wrong, and is none; one by a call that took its
             -- time a little later, or on another host, is one.
             WHERE l.failures < :close AND (l.locked_until <= :now OR l.locked_until > :now + :longest + :apart)
             RETURNING credential, failures, ",
            $phc,
            ", (SELECT version FROM credential c WHERE c.id = credential_lane.credential)"
        )
    };
}

const COUNT_PASSPHRASE: &str =
    counting!("", "(SELECT phc FROM credential_hash h WHERE h.credential = credential_lane.credential)");

/// Digits count only while their version is the credential's.
const COUNT_KEYPAD: &str = counting!(
    "JOIN credential_keypad k ON k.credential = c.id AND k.version = c.version AND k.phc IS NOT NULL ",
    "(SELECT phc FROM credential_keypad k WHERE k.credential = credential_lane.credential)"
);

/// Counts a failure in advance and reads the hash, or does neither.
fn count(
    transaction: &WriteTransaction<'_>,
    contact: &ContactId,
    secret: Secret,
    lane: Lane,
    floor: Floor,
    now: Timestamp,
) -> Result<Option<Granted>, DirectoryError> {
    transaction.find_row(
        match secret {
            Secret::Passphrase => COUNT_PASSPHRASE,
            Secret::Keypad => COUNT_KEYPAD,
        },
        named_params! {
            ":contact": contact.as_str(),
            ":lane": lane_key(&lane),
            ":by_keypad": secret == Secret::Keypad,
            ":now": now.as_microsecond(),
            ":free": floor.free_failures,
            ":first": microseconds(floor.first_lock_s),
            ":longest": microseconds(floor.longest_lock_s),
            ":apart": microseconds(CLOCKS_APART_S),
            ":doublings": MOST_DOUBLINGS,
            ":close": floor.failures_to_close,
            ":most": MOST_FAILURES,
        },
        |row| {
            let credential = CredentialRef::new(row.get(0)?, contact.clone());
            Ok(Granted {
                credential: match secret {
                    Secret::Passphrase => credential,
                    Secret::Keypad => credential.by_keypad(),
                },
                failures: row.get(1)?,
                stored: StoredHashText::new(row.get::<_, String>(2)?),
                version: CredentialVersion(revision(row, 3)?.0),
            })
        },
    )
}

/// Why nothing was granted; for the audit alone.
fn why_not(
    transaction: &WriteTransaction<'_>,
    contact: &ContactId,
    secret: Secret,
    lane: Lane,
    floor: Floor,
    now: Timestamp,
) -> Result<Tried, DirectoryError> {
    let found = transaction.find_row(
        concat!(
            "SELECT p.status = 'active' AND a.closed IS NULL, c.id IS NOT NULL, h.credential IS NOT NULL, c.suspended_at IS NOT NULL,
                    l.failures, l.locked_until, k.credential IS NOT NULL,
                    coalesce(k.version = c.version AND k.phc IS NOT NULL, false)
             FROM contact p
             JOIN account a ON a.id = p.account
             LEFT JOIN credential c ON c.id = ",
            credential_of!(),
            "LEFT JOIN credential_hash h ON h.credential = c.id
             LEFT JOIN credential_keypad k ON k.credential = c.id
             LEFT JOIN credential_lane l ON l.credential = c.id AND l.lane = ?2
             WHERE p.id = ?1"
        ),
        (contact.as_str(), lane_key(&lane)),
        |row| {
            let (active, mut known, mut set, suspended) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            if secret == Secret::Keypad {
                known = row.get(6)?;
                // Digits that a suspension has ended are suspended as the passphrase is.
                set = set && (suspended || row.get(7)?);
            }
            let failures = row.get::<_, Option<u32>>(4)?.unwrap_or(0);
            Ok(match (active, known, set, suspended) {
                (false, ..) => Tried::Absent(Absent::Inactive),
                (true, false, ..) => Tried::Absent(Absent::NotEnrolled),
                (true, true, false, _) => Tried::Absent(Absent::Cleared),
                (true, true, true, true) => Tried::Absent(Absent::Suspended),
                (true, true, true, false) => match optional_timestamp(row, 5)? {
                    Some(until) if failures < floor.failures_to_close && until > now => {
                        Tried::Held(Held::Locked { until })
                    }
                    _ => Tried::Held(Held::Closed),
                },
            })
        },
    )?;
    Ok(found.unwrap_or(Tried::Absent(Absent::Nobody)))
}

fn settle_success(
    transaction: &WriteTransaction<'_>,
    success: &Success,
    now: Timestamp,
) -> Result<Settled, DirectoryError> {
    let Success { credential, version, lane, line, rehash } = success;
    if find_valid(transaction, credential.contact())? != Some((credential.id(), *version)) {
        return Ok(Settled::Stale);
    }
    let of_lane = (credential.id(), lane_key(lane));
    match credential.secret() {
        Secret::Passphrase => {
            transaction.execute("DELETE FROM credential_lane WHERE credential = ?1 AND lane = ?2", of_lane)?;
        }
        // Whoever knows the weaker secret gains no guess at the stronger one.
        Secret::Keypad => {
            transaction.execute(
                "DELETE FROM credential_lane WHERE credential = ?1 AND lane = ?2 AND failures <= by_keypad",
                of_lane,
            )?;
            transaction.execute(
                "UPDATE credential_lane SET failures = failures - by_keypad, by_keypad = 0, locked_until = 0,
                     told = min(told, failures - by_keypad)
                 WHERE credential = ?1 AND lane = ?2",
                of_lane,
            )?;
        }
    }
    if let Some(rehash) = rehash {
        let sql = match credential.secret() {
            Secret::Passphrase => "UPDATE credential_hash SET phc = ?2 WHERE credential = ?1",
            Secret::Keypad => "UPDATE credential_keypad SET phc = ?2 WHERE credential = ?1",
        };
        transaction.execute(sql, (credential.id(), rehash.as_phc()))?;
    }
    if let Some(line) = line {
        remember_line(transaction, credential.contact(), *line, now)?;
    }
    Ok(Settled::Accepted)
}

/// The credential that can verify this contact now, and its version.
fn find_valid(
    snapshot: &ReadTransaction<'_>,
    contact: &ContactId,
) -> Result<Option<(i64, CredentialVersion)>, DirectoryError> {
    snapshot.find_row(
        concat!(
            "SELECT c.id, c.version FROM contact p
             JOIN account a ON a.id = p.account
             JOIN credential c ON c.id = ",
            credential_of!(),
            "JOIN credential_hash h ON h.credential = c.id
             WHERE p.id = ?1 AND p.status = 'active' AND a.closed IS NULL AND c.suspended_at IS NULL"
        ),
        [contact.as_str()],
        |row| Ok((row.get(0)?, CredentialVersion(revision(row, 1)?.0))),
    )
}

fn remember_line(
    transaction: &WriteTransaction<'_>,
    contact: &ContactId,
    line: Line,
    now: Timestamp,
) -> Result<(), DirectoryError> {
    transaction.execute(
        "INSERT OR REPLACE INTO verified_line (contact, line, verified_at) VALUES (?1, ?2, ?3)",
        (contact.as_str(), line.as_bytes(), now.as_microsecond()),
    )?;
    transaction.execute(
        "DELETE FROM verified_line WHERE contact = ?1 AND line NOT IN
             (SELECT line FROM verified_line WHERE contact = ?1 ORDER BY verified_at DESC LIMIT ?2)",
        (contact.as_str(), LINES_KEPT),
    )?;
    Ok(())
}

fn status(
    snapshot: &ReadTransaction<'_>,
    owner: &Owner,
    floor: Floor,
    now: Timestamp,
) -> Result<Option<CredentialStatus>, DirectoryError> {
    let Some(id) = change::find(snapshot, owner)? else { return Ok(None) };
    snapshot.find_row(
        match owner {
            Owner::Contact(_) | Owner::Account(_) => {
                "SELECT h.credential IS NOT NULL, c.set_at, c.set_by_kind, c.set_by_name, c.method, c.canonical_version,
                        c.suspended_at, c.reopened, coalesce(l.failures, 0), l.locked_until,
                        c.retired + (SELECT coalesce(sum(failures), 0) FROM credential_lane WHERE credential = c.id)
                 FROM credential c
                 LEFT JOIN credential_hash h ON h.credential = c.id
                 LEFT JOIN credential_lane l ON l.credential = c.id AND l.lane = x''
                 WHERE c.id = ?1"
            }
            Owner::Keypad(_) => {
                "SELECT h.credential IS NOT NULL AND k.version = c.version AND k.phc IS NOT NULL, k.set_at, k.set_by_kind,
                        k.set_by_name, k.method, k.canonical_version,
                        c.suspended_at, c.reopened, coalesce(l.failures, 0), l.locked_until,
                        c.retired + (SELECT coalesce(sum(failures), 0) FROM credential_lane WHERE credential = c.id)
                 FROM credential c
                 JOIN credential_keypad k ON k.credential = c.id
                 LEFT JOIN credential_hash h ON h.credential = c.id
                 LEFT JOIN credential_lane l ON l.credential = c.id AND l.lane = x''
                 WHERE c.id = ?1"
            }
        },
        [id],
        |row| {
            let failures: u32 = row.get(8)?;
            let (reopened, counted): (u32, u32) = (row.get(7)?, row.get(10)?);
            let by_sum = MOST_FAILURES.saturating_sub(counted) / floor.failures_to_close.max(1);
            Ok(CredentialStatus {
                is_set: row.get(0)?,
                set_at: timestamp(row, 1)?,
                set_by: super::change_log::actor(row, 2)?,
                method: method(row, 4)?,
                canonical_version: row.get(5)?,
                suspended_at: optional_timestamp(row, 6)?,
                locked_until: optional_timestamp(row, 9)?.filter(|until| *until > now),
                closed: failures >= floor.failures_to_close,
                reopenings_left: floor.reopenings.saturating_sub(reopened).min(by_sum),
            })
        },
    )
}

fn method(row: &Row<'_>, column: usize) -> rusqlite::Result<SetMethod> {
    let code: String = row.get(column)?;
    SetMethod::ALL
        .into_iter()
        .find(|method| method.code() == code)
        .ok_or_else(|| super::transaction::unreadable(column, "no method of setting a passphrase"))
}

fn lane_key(lane: &Lane) -> &[u8] {
    match lane {
        Lane::Unfamiliar => &[],
        Lane::Familiar(line) => line.as_bytes(),
    }
}

fn microseconds(seconds: u32) -> i64 {
    i64::from(seconds) * 1_000_000
}

/// A person calls from a few telephones.
const LINES_KEPT: u32 = 8;
