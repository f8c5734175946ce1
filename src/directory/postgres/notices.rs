//! The outbox in PostgreSQL: written with the change log's row, claimed by lease, settled by whoever holds the claim. Sidecars
//! that claim at the same time pass over each other's rows.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use sqlx::postgres::PgRow;

use super::{
    Store, sql_changes, standing,
    transaction::{Reading, Writing, count as small, get, optional_timestamp, revision, timestamp, unreadable},
    values::Instant,
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

macro_rules! notice_columns {
    () => {
        "n.id, n.kind, n.account::text, n.about::text, n.recipient::text, n.way, n.target, n.count, n.revision, n.created,
         n.due, n.state, n.attempts, n.last_error, n.settled"
    };
}

#[async_trait]
impl Notices for Store {
    async fn list_notices(&self, wanted: &Wanted) -> Result<Vec<Notice>, DirectoryError> {
        let (store, wanted) = (self.clone(), wanted.clone());
        self.run(async move {
            let mut reading = store.reading().await?;
            let done = list(&mut reading, &wanted).await;
            reading.end(done).await
        })
        .await
    }

    async fn find_notice(&self, id: &str) -> Result<Option<Notice>, DirectoryError> {
        let (store, id) = (self.clone(), id.to_owned());
        self.run(async move {
            let mut reading = store.reading().await?;
            let done = find(&mut reading, &id).await;
            reading.end(done).await
        })
        .await
    }

    async fn count_notices(&self, now: Timestamp) -> Result<Counts, DirectoryError> {
        let (store, now) = (self.clone(), self.time(now));
        self.run(async move {
            let mut reading = store.reading().await?;
            let done = count(&mut reading, now).await;
            reading.end(done).await
        })
        .await
    }

    async fn claim_notices(
        &self,
        limit: u32,
        lease: SignedDuration,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, DirectoryError> {
        let store = self.clone();
        self.run(async move {
            let mut writing = store.writing().await?;
            let done = claim(&mut writing, limit, lease, now).await;
            writing.end(done).await
        })
        .await
    }

    async fn settle_notice(&self, claimed: &Claimed, attempt: Attempt, now: Timestamp) -> Result<bool, DirectoryError> {
        let (store, id, attempts) = (self.clone(), claimed.notice.id.clone(), claimed.notice.attempts);
        self.run(async move {
            let mut writing = store.writing().await?;
            let done = settle(&mut writing, &id, attempts, attempt, now).await;
            writing.end(done).await
        })
        .await
    }

    async fn retry_notice(&self, id: &str, now: Timestamp) -> Result<Retried, DirectoryError> {
        let (store, id) = (self.clone(), id.to_owned());
        self.run(async move {
            let mut writing = store.writing().await?;
            let done = retry(&mut writing, &id, now).await;
            writing.end(done).await
        })
        .await
    }

    async fn gather_written(&self, now: Timestamp) -> Result<u32, DirectoryError> {
        let store = self.clone();
        self.run(async move { sql_changes::gather(&store, now).await }).await
    }

    async fn gather_locks(&self, floor: Floor, now: Timestamp) -> Result<u32, DirectoryError> {
        let (store, time) = (self.clone(), self.time(now));
        self.run(async move {
            let mut reading = store.reading().await?;
            let found = find_untold(&mut reading, floor, time).await;
            let work = reading.end(found).await?;
            if !work {
                return Ok(0);
            }
            // As a change would: whoever is told is read from rows that nobody changes meanwhile.
            let mut writing = store.changing().await?;
            let done = gather_locks(&mut writing, floor, now).await;
            writing.end(done).await
        })
        .await
    }
}

/// Looks at an account before anything of it is changed, and at whoever answers for it.
pub(super) async fn hold_account(
    reading: &mut Reading,
    held: &mut Before,
    account: &AccountId,
) -> Result<(), DirectoryError> {
    if !held.has_account(account) {
        held.keep_account(account.clone(), standing::find_account(reading, account).await?);
    }
    match held.primary_admin(account).cloned() {
        Some(admin) => hold_contact(reading, held, &admin).await,
        None => Ok(()),
    }
}

/// Looks at a contact before anything of him is changed.
pub(super) async fn hold_contact(
    reading: &mut Reading,
    held: &mut Before,
    contact: &ContactId,
) -> Result<(), DirectoryError> {
    if !held.has_contact(contact) {
        held.keep_contact(contact.clone(), standing::find_contact(reading, contact).await?);
    }
    Ok(())
}

/// Looks up which e-mail addresses the contact had in the last 30 days, and until when.
pub(super) async fn hold_former(
    reading: &mut Reading,
    held: &mut Before,
    contact: &ContactId,
    time: Option<Instant>,
) -> Result<(), DirectoryError> {
    if held.has_former(contact) {
        return Ok(());
    }
    let had = sqlx::query(
        "SELECT target, created FROM countersign.notice
         WHERE kind = 'email_changed' AND about = $1 AND created >= coalesce($2, clock_timestamp()) - $3 * interval '1 s'
             AND way = 'email' AND recipient = $1 AND NOT is_former
         ORDER BY created, revision",
    );
    let rows = reading.rows(had.bind(contact.as_str()).bind(time).bind(seconds(FORMER_WITHIN))).await?;
    let had = rows.iter().map(|row| Ok((get(row, 0)?, timestamp(row, 1)?))).collect::<Result<Vec<_>, _>>()?;
    held.keep_former(contact.clone(), &had);
    Ok(())
}

/// The notices of something that concerns a contact, or (`None`) an account as such.
pub(super) async fn of_event(
    writing: &mut Writing,
    kind: Kind,
    account: &AccountId,
    contact: Option<&ContactId>,
    now: Timestamp,
) -> Result<Vec<NewNotice>, DirectoryError> {
    let time = writing.time(now);
    let reading = writing.reading();
    let mut held = Before::default();
    hold_account(reading, &mut held, account).await?;
    let Some(contact) = contact else { return Ok(rules::about_account(kind, account, &held)) };
    hold_contact(reading, &mut held, contact).await?;
    hold_former(reading, &mut held, contact, time).await?;
    Ok(rules::about_contact(kind, account, contact, &held))
}

/// Whether a passphrase verifies the contact: his own, or the account's for which he answers.
pub(super) async fn has_passphrase(reading: &mut Reading, contact: &ContactId) -> Result<bool, DirectoryError> {
    let find = sqlx::query(
        "SELECT 1 FROM countersign.credential c JOIN countersign.credential_hash h ON h.credential = c.id
         WHERE c.contact = $1 OR c.contact IS NULL AND c.account IN
             (SELECT id FROM countersign.account WHERE primary_admin = $1) LIMIT 1",
    );
    Ok(reading.find(find.bind(contact.as_str())).await?.is_some())
}

/// Writes notices into the outbox, to be committed with whatever else this transaction does.
pub(super) async fn put(
    writing: &mut Writing,
    notices: &[NewNotice],
    revision: Option<Revision>,
    now: Timestamp,
) -> Result<(), DirectoryError> {
    for notice in notices {
        put_one(writing, notice, 1, revision, now).await?;
    }
    Ok(())
}

/// Writes those of many changes, each with its revision. What is told as one is counted at once.
pub(super) async fn put_many(
    writing: &mut Writing,
    notices: Vec<(NewNotice, Revision)>,
    now: Timestamp,
) -> Result<(), DirectoryError> {
    let mut gathered: BTreeMap<_, Vec<(NewNotice, Revision)>> = BTreeMap::new();
    for (notice, revision) in notices {
        if notice.is_gathered {
            let key = (notice.kind, notice.account.clone(), notice.target.clone());
            gathered.entry(key).or_default().push((notice, revision));
        } else {
            put_one(writing, &notice, 1, Some(revision), now).await?;
        }
    }
    for alike in gathered.into_values() {
        let mut told = 0;
        while let Some((notice, revision)) = alike.get(told) {
            let left = u32::try_from(alike.len() - told).unwrap_or(u32::MAX);
            let times = put_one(writing, notice, left, Some(*revision), now).await?;
            told = told.saturating_add(usize::try_from(times).unwrap_or(usize::MAX));
        }
    }
    Ok(())
}

/// Writes one that happened so often. Returns how often of these it tells now: all, if one waits in which they are counted.
async fn put_one(
    writing: &mut Writing,
    new: &NewNotice,
    times: u32,
    revision: Option<Revision>,
    now: Timestamp,
) -> Result<u32, DirectoryError> {
    let time = writing.time(now);
    let mut after = None;
    if new.is_gathered
        && let Some((id, due, waits)) = find_gathered(writing.reading(), new, time).await?
    {
        if waits {
            let again = sqlx::query("UPDATE countersign.notice SET count = count + $2 WHERE id = $1");
            let again = again.bind(id).bind(i32::try_from(times).unwrap_or(i32::MAX));
            return writing.execute(again).await.map(|_| times);
        }
        after = Some(due);
    }
    let insert = sqlx::query(
        "INSERT INTO countersign.notice (kind, account, about, recipient, way, target, is_gathered, count, revision,
                                         created, due, state, attempts, leased_until, is_former)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8, coalesce($9, clock_timestamp()),
                 greatest(coalesce($9, clock_timestamp()), $10 + $11 * interval '1 s'), 'pending', 0, 'epoch', $12)",
    );
    let insert =
        insert.bind(new.kind.code()).bind(new.account.as_str()).bind(new.about.as_ref().map(ContactId::as_str));
    let insert = insert.bind(new.recipient.as_ref().map(ContactId::as_str)).bind(new.target.way());
    let insert = insert.bind(new.target.address()).bind(new.is_gathered);
    let insert = insert.bind(revision.map(|revision| i64::try_from(revision.0).unwrap_or(i64::MAX)));
    let insert = insert.bind(time).bind(after).bind(seconds(GATHERED_WITHIN)).bind(new.is_former);
    writing.execute(insert).await.map(|_| 1)
}

/// The newest of the last day, when it is due, and whether it waits for that.
async fn find_gathered(
    reading: &mut Reading,
    new: &NewNotice,
    time: Option<Instant>,
) -> Result<Option<(String, Instant, bool)>, DirectoryError> {
    let find = sqlx::query(
        "SELECT id, due, state = 'pending' AND due > coalesce($5, clock_timestamp()) FROM countersign.notice
         WHERE is_gathered AND account = $1 AND kind = $2 AND md5(target) = md5($3) AND target = $3 AND way = $4
             AND due > coalesce($5, clock_timestamp()) - $6 * interval '1 s'
         ORDER BY due DESC LIMIT 1",
    );
    let find = find.bind(new.account.as_str()).bind(new.kind.code()).bind(new.target.address()).bind(new.target.way());
    let row = reading.find(find.bind(time).bind(seconds(GATHERED_WITHIN))).await?;
    row.map(|row| Ok((get(&row, 0)?, get(&row, 1)?, get(&row, 2)?))).transpose()
}

async fn list(reading: &mut Reading, wanted: &Wanted) -> Result<Vec<Notice>, DirectoryError> {
    let list = sqlx::query(concat!(
        "SELECT ",
        notice_columns!(),
        " FROM countersign.notice n WHERE $1::text IS NULL OR n.state = $1 ORDER BY n.created DESC, n.id DESC LIMIT $2"
    ));
    let rows = reading.rows(list.bind(wanted.state.map(State::code)).bind(i64::from(wanted.limit))).await?;
    rows.iter().map(notice).collect()
}

async fn find(reading: &mut Reading, id: &str) -> Result<Option<Notice>, DirectoryError> {
    let find = sqlx::query(concat!("SELECT ", notice_columns!(), " FROM countersign.notice n WHERE n.id = $1"));
    reading.find(find.bind(id)).await?.map(|row| notice(&row)).transpose()
}

async fn count(reading: &mut Reading, time: Option<Instant>) -> Result<Counts, DirectoryError> {
    let count = sqlx::query(
        "SELECT (SELECT count(*) FROM countersign.notice WHERE state = 'pending'),
                (SELECT count(*) FROM countersign.notice WHERE state = 'dead'),
                (SELECT min(due) FROM countersign.notice
                 WHERE state = 'pending' AND due <= coalesce($1, clock_timestamp()))",
    );
    let Some(row) = reading.find(count.bind(time)).await? else { return Ok(Counts::default()) };
    let (pending, dead): (i64, i64) = (get(&row, 0)?, get(&row, 1)?);
    let oldest_due = optional_timestamp(&row, 2)?;
    Ok(Counts { pending: pending.unsigned_abs(), dead: dead.unsigned_abs(), oldest_due })
}

async fn claim(
    writing: &mut Writing,
    limit: u32,
    lease: SignedDuration,
    now: Timestamp,
) -> Result<Vec<Claimed>, DirectoryError> {
    let time = writing.time(now);
    let claim = sqlx::query(concat!(
        "UPDATE countersign.notice n
         SET leased_until = coalesce($1, clock_timestamp()) + $2 * interval '1 s', attempts = n.attempts + 1
         FROM (SELECT id FROM countersign.notice
               WHERE state = 'pending' AND due <= coalesce($1, clock_timestamp())
                   AND leased_until <= coalesce($1, clock_timestamp())
               ORDER BY due LIMIT $3 FOR UPDATE SKIP LOCKED) d
         WHERE n.id = d.id
         RETURNING ",
        notice_columns!()
    ));
    let rows = writing.reading().rows(claim.bind(time).bind(seconds(lease)).bind(i64::from(limit))).await?;
    let mut claimed = rows.iter().map(|row| Ok(Claimed { notice: notice(row)? })).collect::<Result<Vec<_>, _>>()?;
    claimed.sort_by_key(|claimed| claimed.notice.due);
    Ok(claimed)
}

async fn settle(
    writing: &mut Writing,
    id: &str,
    attempts: u32,
    attempt: Attempt,
    now: Timestamp,
) -> Result<bool, DirectoryError> {
    let (state, due, why, is_settled) = match attempt {
        Attempt::Delivered => (State::Delivered, None, None, true),
        // Counted from now, whatever the sidecar's clock says.
        Attempt::Again { at, why } => (State::Pending, Some(at.duration_since(now)), Some(why), false),
        Attempt::Dead { why } => (State::Dead, None, Some(why), true),
    };
    let time = writing.time(now);
    let settle = sqlx::query(
        "UPDATE countersign.notice SET state = $3,
             due = coalesce(coalesce($6, clock_timestamp()) + $4 * interval '1 s', due),
             last_error = coalesce($5, last_error),
             settled = CASE WHEN $7 THEN coalesce($6, clock_timestamp()) END, leased_until = 'epoch'
         WHERE id = $1 AND attempts = $2 AND state = 'pending'",
    );
    let settle = settle.bind(id).bind(i32::try_from(attempts).unwrap_or(i32::MAX)).bind(state.code());
    let settle = settle.bind(due.map(seconds)).bind(why).bind(time).bind(is_settled);
    Ok(writing.execute(settle).await? == 1)
}

async fn retry(writing: &mut Writing, id: &str, now: Timestamp) -> Result<Retried, DirectoryError> {
    let time = writing.time(now);
    let Some(notice) = find(writing.reading(), id).await? else { return Ok(Retried::Unknown) };
    match notice.state {
        State::Delivered => Ok(Retried::WasDelivered),
        State::Pending | State::Dead => {
            let retry = sqlx::query(
                "UPDATE countersign.notice SET state = 'pending', due = least(due, coalesce($2, clock_timestamp())),
                     settled = NULL
                 WHERE id = $1 AND state <> 'delivered'",
            );
            writing.execute(retry.bind(id).bind(time)).await?;
            Ok(Retried::Pending)
        }
    }
}

/// A lane that failures have locked, and of which nobody was told.
struct Untold {
    credential: i64,
    lane: Vec<u8>,
    failures: u32,
    account: AccountId,
    contact: Option<ContactId>,
}

async fn untold(reading: &mut Reading, floor: Floor, time: Option<Instant>) -> Result<Vec<Untold>, DirectoryError> {
    let find = sqlx::query(
        "SELECT l.credential, l.lane, l.failures, l.locked_until, c.account::text, c.contact::text,
                coalesce($2, clock_timestamp())
         FROM countersign.credential_lane l JOIN countersign.credential c ON c.id = l.credential
         WHERE l.locked_until > 'epoch' AND l.failures > l.told ORDER BY l.locked_until LIMIT $1",
    );
    let rows = reading.rows(find.bind(i64::from(GATHERED_AT_ONCE)).bind(time)).await?;
    let mut untold = Vec::new();
    for row in &rows {
        let failures = small(row, 2)?;
        if is_settled(floor, failures, timestamp(row, 3)?, timestamp(row, 6)?) {
            untold.push(Untold {
                credential: get(row, 0)?,
                lane: get(row, 1)?,
                failures,
                account: AccountId::new(get::<String>(row, 4)?),
                contact: get::<Option<String>>(row, 5)?.map(ContactId::new),
            });
        }
    }
    Ok(untold)
}

/// Whether there is anything to tell, or to delete.
async fn find_untold(reading: &mut Reading, floor: Floor, time: Option<Instant>) -> Result<bool, DirectoryError> {
    if !untold(reading, floor, time).await?.is_empty() {
        return Ok(true);
    }
    let old = sqlx::query(
        "SELECT 1 FROM countersign.notice
         WHERE state = 'delivered' AND settled < coalesce($1, clock_timestamp()) - $2 * interval '1 s' LIMIT 1",
    );
    Ok(reading.find(old.bind(time).bind(seconds(KEPT))).await?.is_some())
}

async fn gather_locks(writing: &mut Writing, floor: Floor, now: Timestamp) -> Result<u32, DirectoryError> {
    let time = writing.time(now);
    let mut new = 0;
    for lane in untold(writing.reading(), floor, time).await? {
        let kind = kind_of(floor, lane.failures);
        let notices = of_event(writing, kind, &lane.account, lane.contact.as_ref(), now).await?;
        put(writing, &notices, None, now).await?;
        let told = sqlx::query(
            "UPDATE countersign.credential_lane SET told = $3 WHERE credential = $1 AND lane = $2 AND failures >= $3",
        );
        let failures = i32::try_from(lane.failures).unwrap_or(i32::MAX);
        writing.execute(told.bind(lane.credential).bind(lane.lane).bind(failures)).await?;
        new += 1;
    }
    let forget = sqlx::query(
        "DELETE FROM countersign.notice WHERE id IN
             (SELECT id FROM countersign.notice
              WHERE state = 'delivered' AND settled < coalesce($1, clock_timestamp()) - $2 * interval '1 s' LIMIT $3
              FOR UPDATE SKIP LOCKED)",
    );
    writing.execute(forget.bind(time).bind(seconds(KEPT)).bind(i64::from(FORGOTTEN_AT_ONCE))).await?;
    Ok(new)
}

fn notice(row: &PgRow) -> Result<Notice, DirectoryError> {
    let kind = Kind::parse(&get::<String>(row, 1)?).ok_or_else(|| unreadable("no kind of notice"))?;
    let way: String = get(row, 5)?;
    let target = Target::from_parts(&way, get(row, 6)?).ok_or_else(|| unreadable("no way of telling"))?;
    Ok(Notice {
        id: get(row, 0)?,
        kind,
        account: AccountId::new(get::<String>(row, 2)?),
        about: get::<Option<String>>(row, 3)?.map(ContactId::new),
        recipient: get::<Option<String>>(row, 4)?.map(ContactId::new),
        target,
        count: small(row, 7)?,
        revision: get::<Option<i64>>(row, 8)?.map(|_| revision(row, 8)).transpose()?,
        created: timestamp(row, 9)?,
        due: timestamp(row, 10)?,
        state: State::parse(&get::<String>(row, 11)?).ok_or_else(|| unreadable("no state of a notice"))?,
        attempts: small(row, 12)?,
        last_error: get(row, 13)?,
        settled: optional_timestamp(row, 14)?,
    })
}

fn seconds(span: SignedDuration) -> f64 {
    span.as_secs_f64()
}
