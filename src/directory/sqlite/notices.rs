//! The outbox in SQLite: written with the change log's row, claimed by lease, settled by whoever holds the claim.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use rusqlite::Row;

use super::{
    Store, standing,
    transaction::{ReadTransaction, WriteTransaction, optional_revision, optional_timestamp, timestamp, unreadable},
};
use crate::{
    directory::{
        AccountId, ContactId, DirectoryError, Revision,
        notices::{
            Attempt, Claimed, Counts, FORGOTTEN_AT_ONCE, GATHERED_AT_ONCE, Notices, Retried, Wanted, is_settled,
            kind_of,
        },
    },
    notice::{
        FORMER_WITHIN, GATHERED_WITHIN, KEPT, Kind, NewNotice, Notice, State, Target,
        rules::{self, Before},
    },
    throttle::floor::Floor,
};

macro_rules! select_notice {
    ($rest:literal) => {
        concat!(
            "SELECT id, kind, account, about, recipient, way, target, count, revision, created, due, state, attempts,
                    last_error, settled FROM notice ",
            $rest
        )
    };
}

#[async_trait]
impl Notices for Store {
    async fn list_notices(&self, wanted: &Wanted) -> Result<Vec<Notice>, DirectoryError> {
        let Wanted { state, limit } = *wanted;
        self.read(move |snapshot| {
            snapshot.rows(
                select_notice!("WHERE ?1 IS NULL OR state = ?1 ORDER BY created DESC, id DESC LIMIT ?2"),
                (state.map(State::code), limit),
                notice,
            )
        })
        .await
    }

    async fn find_notice(&self, id: &str) -> Result<Option<Notice>, DirectoryError> {
        let id = id.to_owned();
        self.read(move |snapshot| find(snapshot, &id)).await
    }

    async fn count_notices(&self, now: Timestamp) -> Result<Counts, DirectoryError> {
        self.read(move |snapshot| count(snapshot, now)).await
    }

    async fn claim_notices(
        &self,
        limit: u32,
        lease: SignedDuration,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, DirectoryError> {
        self.write(move |transaction| claim(transaction, limit, lease, now)).await
    }

    async fn settle_notice(&self, claimed: &Claimed, attempt: Attempt, now: Timestamp) -> Result<bool, DirectoryError> {
        let (id, attempts) = (claimed.notice.id.clone(), claimed.notice.attempts);
        self.write(move |transaction| settle(transaction, &id, attempts, &attempt, now)).await
    }

    async fn retry_notice(&self, id: &str, now: Timestamp) -> Result<Retried, DirectoryError> {
        let id = id.to_owned();
        self.write(move |transaction| retry(transaction, &id, now)).await
    }

    async fn gather_locks(&self, floor: Floor, now: Timestamp) -> Result<u32, DirectoryError> {
        self.write(move |transaction| gather_locks(transaction, floor, now)).await
    }
}

/// Looks at an account before anything of it is changed, and at whoever answers for it.
pub(super) fn hold_account(
    snapshot: &ReadTransaction<'_>,
    held: &mut Before,
    account: &AccountId,
) -> Result<(), DirectoryError> {
    if !held.has_account(account) {
        held.keep_account(account.clone(), standing::find_account(snapshot, account)?);
    }
    match held.primary_admin(account).cloned() {
        Some(admin) => hold_contact(snapshot, held, &admin),
        None => Ok(()),
    }
}

/// Looks at a contact before anything of him is changed.
pub(super) fn hold_contact(
    snapshot: &ReadTransaction<'_>,
    held: &mut Before,
    contact: &ContactId,
) -> Result<(), DirectoryError> {
    if !held.has_contact(contact) {
        held.keep_contact(contact.clone(), standing::find_contact(snapshot, contact)?);
    }
    Ok(())
}

/// Looks up which e-mail addresses the contact had in the last 30 days, and until when.
pub(super) fn hold_former(
    snapshot: &ReadTransaction<'_>,
    held: &mut Before,
    contact: &ContactId,
    now: Timestamp,
) -> Result<(), DirectoryError> {
    if held.has_former(contact) {
        return Ok(());
    }
    let had: Vec<(String, Timestamp)> = snapshot.rows(
        "SELECT target, created FROM notice
         WHERE kind = 'email_changed' AND about = ?1 AND created >= ?2 AND way = 'email' AND recipient = ?1
             AND is_former = 0
         ORDER BY created, revision",
        (contact.as_str(), before(now, FORMER_WITHIN)),
        |row| Ok((row.get(0)?, timestamp(row, 1)?)),
    )?;
    held.keep_former(contact.clone(), &had);
    Ok(())
}

/// The notices of something that concerns a contact, or (`None`) an account as such.
pub(super) fn of_event(
    snapshot: &ReadTransaction<'_>,
    kind: Kind,
    account: &AccountId,
    contact: Option<&ContactId>,
    now: Timestamp,
) -> Result<Vec<NewNotice>, DirectoryError> {
    let mut held = Before::default();
    hold_account(snapshot, &mut held, account)?;
    let Some(contact) = contact else { return Ok(rules::about_account(kind, account, &held)) };
    hold_contact(snapshot, &mut held, contact)?;
    hold_former(snapshot, &mut held, contact, now)?;
    Ok(rules::about_contact(kind, account, contact, &held))
}

/// Whether a passphrase verifies the contact: his own, or the account's for which he answers.
pub(super) fn has_passphrase(snapshot: &ReadTransaction<'_>, contact: &ContactId) -> Result<bool, DirectoryError> {
    let found = snapshot.find_row(
        "SELECT 1 FROM credential c JOIN credential_hash h ON h.credential = c.id
         WHERE c.contact = ?1 OR c.contact IS NULL AND c.account IN
             (SELECT id FROM account WHERE primary_admin = ?1) LIMIT 1",
        [contact.as_str()],
        |_| Ok(()),
    )?;
    Ok(found.is_some())
}

/// Writes notices into the outbox, to be committed with whatever else this transaction does.
pub(super) fn put(
    transaction: &WriteTransaction<'_>,
    notices: &[NewNotice],
    revision: Option<Revision>,
    now: Timestamp,
) -> Result<(), DirectoryError> {
    notices.iter().try_for_each(|notice| put_one(transaction, notice, revision, now))
}

fn put_one(
    transaction: &WriteTransaction<'_>,
    new: &NewNotice,
    revision: Option<Revision>,
    now: Timestamp,
) -> Result<(), DirectoryError> {
    let mut due = now.as_microsecond();
    if new.is_gathered
        && let Some((id, newest, is_pending)) = find_gathered(transaction, new, now)?
    {
        if is_pending && newest > due {
            return transaction.execute("UPDATE notice SET count = count + 1 WHERE id = ?1", [id]).map(|_| ());
        }
        due = due.max(newest.saturating_add(microseconds(GATHERED_WITHIN)));
    }
    transaction.execute(
        "INSERT INTO notice (id, kind, account, about, recipient, way, target, is_gathered, count, revision, created, due,
                             state, attempts, leased_until, is_former)
         VALUES (lower(hex(randomblob(16))), ?1, ?2, ?3, ?4, ?5, ?6, ?7, 1, ?8, ?9, ?10, 'pending', 0, 0, ?11)",
        (
            new.kind.code(),
            new.account.as_str(),
            new.about.as_ref().map(ContactId::as_str),
            new.recipient.as_ref().map(ContactId::as_str),
            new.target.way(),
            new.target.address(),
            new.is_gathered,
            revision.map(|revision| i64::try_from(revision.0).unwrap_or(i64::MAX)),
            now.as_microsecond(),
            due,
            new.is_former,
        ),
    )?;
    Ok(())
}

/// The newest of the last day, when it is due, and whether it still waits.
fn find_gathered(
    snapshot: &ReadTransaction<'_>,
    new: &NewNotice,
    now: Timestamp,
) -> Result<Option<(String, i64, bool)>, DirectoryError> {
    snapshot.find_row(
        "SELECT id, due, state = 'pending' FROM notice
         WHERE is_gathered = 1 AND account = ?1 AND kind = ?2 AND target = ?3 AND way = ?4 AND due > ?5
         ORDER BY due DESC LIMIT 1",
        (new.account.as_str(), new.kind.code(), new.target.address(), new.target.way(), before(now, GATHERED_WITHIN)),
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )
}

fn count(snapshot: &ReadTransaction<'_>, now: Timestamp) -> Result<Counts, DirectoryError> {
    let counted = snapshot.find_row(
        "SELECT (SELECT count(*) FROM notice WHERE state = 'pending'),
                (SELECT count(*) FROM notice WHERE state = 'dead'),
                (SELECT min(due) FROM notice WHERE state = 'pending' AND due <= ?1)",
        [now.as_microsecond()],
        |row| {
            let (pending, dead): (i64, i64) = (row.get(0)?, row.get(1)?);
            let oldest_due = optional_timestamp(row, 2)?;
            Ok(Counts { pending: pending.unsigned_abs(), dead: dead.unsigned_abs(), oldest_due })
        },
    )?;
    Ok(counted.unwrap_or_default())
}

fn claim(
    transaction: &WriteTransaction<'_>,
    limit: u32,
    lease: SignedDuration,
    now: Timestamp,
) -> Result<Vec<Claimed>, DirectoryError> {
    let until = now.as_microsecond().saturating_add(microseconds(lease));
    let ids: Vec<String> = transaction.rows(
        "SELECT id FROM notice WHERE state = 'pending' AND due <= ?1 AND leased_until <= ?1 ORDER BY due LIMIT ?2",
        (now.as_microsecond(), limit),
        |row| row.get(0),
    )?;
    let mut claimed = Vec::with_capacity(ids.len());
    for id in ids {
        transaction
            .execute("UPDATE notice SET leased_until = ?2, attempts = attempts + 1 WHERE id = ?1", (&id, until))?;
        claimed.extend(find(transaction, &id)?.map(|notice| Claimed { notice }));
    }
    Ok(claimed)
}

fn settle(
    transaction: &WriteTransaction<'_>,
    id: &str,
    attempts: u32,
    attempt: &Attempt,
    now: Timestamp,
) -> Result<bool, DirectoryError> {
    let (state, due, why, settled) = match attempt {
        Attempt::Delivered => (State::Delivered, None, None, Some(now)),
        Attempt::Again { at, why } => (State::Pending, Some(at.as_microsecond()), Some(why), None),
        Attempt::Dead { why } => (State::Dead, None, Some(why), Some(now)),
    };
    let settled = transaction.execute(
        "UPDATE notice SET state = ?3, due = coalesce(?4, due), last_error = coalesce(?5, last_error), settled = ?6,
                           leased_until = 0
         WHERE id = ?1 AND attempts = ?2 AND state = 'pending'",
        (id, attempts, state.code(), due, why, settled.map(Timestamp::as_microsecond)),
    )?;
    Ok(settled == 1)
}

fn retry(transaction: &WriteTransaction<'_>, id: &str, now: Timestamp) -> Result<Retried, DirectoryError> {
    let Some(notice) = find(transaction, id)? else { return Ok(Retried::Unknown) };
    match notice.state {
        State::Delivered => Ok(Retried::WasDelivered),
        State::Pending | State::Dead => {
            transaction.execute(
                "UPDATE notice SET state = 'pending', due = min(due, ?2), settled = NULL WHERE id = ?1",
                (id, now.as_microsecond()),
            )?;
            Ok(Retried::Pending)
        }
    }
}

fn gather_locks(transaction: &WriteTransaction<'_>, floor: Floor, now: Timestamp) -> Result<u32, DirectoryError> {
    let untold = transaction.rows(
        "SELECT l.credential, l.lane, l.failures, l.locked_until, c.account, c.contact
         FROM credential_lane l JOIN credential c ON c.id = l.credential
         WHERE l.locked_until > 0 AND l.failures > l.told ORDER BY l.locked_until LIMIT ?1",
        [GATHERED_AT_ONCE],
        |row| {
            let lane = (row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?);
            let account = AccountId::new(row.get::<_, String>(4)?);
            let contact = row.get::<_, Option<String>>(5)?.map(ContactId::new);
            Ok((lane, row.get::<_, u32>(2)?, timestamp(row, 3)?, account, contact))
        },
    )?;
    let mut new = 0;
    for ((credential, lane), failures, until, account, contact) in untold {
        if !is_settled(floor, failures, until, now) {
            continue;
        }
        let notices = of_event(transaction, kind_of(floor, failures), &account, contact.as_ref(), now)?;
        put(transaction, &notices, None, now)?;
        transaction.execute(
            "UPDATE credential_lane SET told = ?3 WHERE credential = ?1 AND lane = ?2",
            (credential, lane, failures),
        )?;
        new += 1;
    }
    transaction.execute(
        "DELETE FROM notice WHERE id IN (SELECT id FROM notice WHERE state = 'delivered' AND settled < ?1 LIMIT ?2)",
        (before(now, KEPT), FORGOTTEN_AT_ONCE),
    )?;
    Ok(new)
}

fn find(snapshot: &ReadTransaction<'_>, id: &str) -> Result<Option<Notice>, DirectoryError> {
    snapshot.find_row(select_notice!("WHERE id = ?1"), [id], notice)
}

fn notice(row: &Row<'_>) -> rusqlite::Result<Notice> {
    let kind = Kind::parse(&row.get::<_, String>(1)?).ok_or_else(|| unreadable(1, "no kind of notice"))?;
    let way: String = row.get(5)?;
    let target = Target::from_parts(&way, row.get(6)?).ok_or_else(|| unreadable(5, "no way of telling"))?;
    Ok(Notice {
        id: row.get(0)?,
        kind,
        account: AccountId::new(row.get::<_, String>(2)?),
        about: row.get::<_, Option<String>>(3)?.map(ContactId::new),
        recipient: row.get::<_, Option<String>>(4)?.map(ContactId::new),
        target,
        count: row.get(7)?,
        revision: optional_revision(row, 8)?,
        created: timestamp(row, 9)?,
        due: timestamp(row, 10)?,
        state: State::parse(&row.get::<_, String>(11)?).ok_or_else(|| unreadable(11, "no state of a notice"))?,
        attempts: row.get(12)?,
        last_error: row.get(13)?,
        settled: optional_timestamp(row, 14)?,
    })
}

fn before(now: Timestamp, span: SignedDuration) -> i64 {
    now.as_microsecond().saturating_sub(microseconds(span))
}

fn microseconds(span: SignedDuration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}
