//! The windows of the throttle, as rows of the directory's file: a restart loses nothing.
//!
//! The budgets and the durable count are two transactions, although one could hold both: they are two promises of two
//! traits, a fleet keeps them in two places, and the writer's group commit makes the second sync cheap beside a hash.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use super::{
    Store,
    transaction::{WriteTransaction, timestamp},
};
use crate::{
    directory::{DirectoryError, Generation},
    throttle::{
        Attempt, Budgets, Key, Outcome, Reservation, Settings, ThrottleError,
        budget::{LONGEST_KEPT, Rule, SPAN, Taken, Window},
        reserve::{self, Member, Suspicion, Windows},
    },
};

/// Budgets in the store's file.
#[derive(Clone, Debug)]
pub struct SqliteBudgets {
    store: Store,
    settings: std::sync::Arc<Settings>,
}

impl SqliteBudgets {
    /// The budgets in `store`; the settings have been validated.
    #[must_use]
    pub fn new(store: Store, settings: Settings) -> Self {
        Self { store, settings: settings.into() }
    }

    /// Deletes every row that no window counts any more. Reserving deletes a few of them each time; this is for a
    /// sidecar that is idle, at start and at least once an hour.
    ///
    /// # Errors
    /// [`ThrottleError::Unavailable`].
    pub async fn forget(&self, now: Timestamp) -> Result<(), ThrottleError> {
        self.store.write(move |transaction| forget(transaction, now, u32::MAX)).await.map_err(unavailable)
    }
}

#[async_trait]
impl Budgets for SqliteBudgets {
    async fn reserve(&self, attempt: &Attempt) -> Result<Reservation, ThrottleError> {
        let (attempt, settings) = (attempt.clone(), self.settings.clone());
        let work = move |transaction: &WriteTransaction<'_>| {
            forget(transaction, attempt.now(), FORGOTTEN_AT_ONCE)?;
            reserve::reserve(&mut Rows { transaction }, &attempt, &settings)
        };
        self.store.write(work).await.map_err(unavailable)
    }

    async fn settle(&self, attempt: &Attempt, outcome: Outcome) -> Result<(), ThrottleError> {
        if outcome == Outcome::Failure {
            return Ok(());
        }
        let attempt = attempt.clone();
        self.store
            .write(move |transaction| reserve::settle(&mut Rows { transaction }, &attempt, outcome))
            .await
            .map_err(unavailable)
    }
}

struct Rows<'t, 'c> {
    transaction: &'t WriteTransaction<'c>,
}

impl Windows for Rows<'_, '_> {
    type Error = DirectoryError;

    fn take(&mut self, key: Key, member: Member, rule: Rule, now: Timestamp) -> Result<Taken, DirectoryError> {
        let units =
            self.transaction.rows("SELECT at, member FROM throttle_unit WHERE key = ?1", [key.as_bytes()], |row| {
                Ok((timestamp(row, 0)?, row.get(1)?))
            })?;
        let mut window = Window::of(units);
        let now = window.advance(rule.span, now);
        let held = window.holds(member);
        let taken = window.take(member, rule, now);
        if !held && window.holds(member) {
            self.put(key, member, now)?;
        }
        Ok(taken)
    }

    fn note(&mut self, key: Key, member: Member, span: SignedDuration, now: Timestamp) -> Result<bool, DirectoryError> {
        let now = self.newest(key, now)?;
        let held = self.transaction.find_row(
            "SELECT 1 FROM throttle_unit WHERE key = ?1 AND member = ?2 AND at > ?3",
            (key.as_bytes(), member, before(now, span)),
            |_| Ok(()),
        )?;
        if held.is_none() {
            self.put(key, member, now)?;
        }
        Ok(held.is_none())
    }

    fn give_back(&mut self, key: Key, member: Member) -> Result<(), DirectoryError> {
        self.transaction
            .execute("DELETE FROM throttle_unit WHERE key = ?1 AND member = ?2", (key.as_bytes(), member))
            .map(drop)
    }

    fn live(&mut self, key: Key, span: SignedDuration, now: Timestamp) -> Result<u32, DirectoryError> {
        let now = self.newest(key, now)?;
        let live = self.transaction.find_row(
            "SELECT count(*) FROM throttle_unit WHERE key = ?1 AND at > ?2",
            (key.as_bytes(), before(now, span)),
            |row| row.get(0),
        )?;
        Ok(live.unwrap_or(0))
    }

    fn count_new_key(&mut self, client: Key, now: Timestamp) -> Result<u32, DirectoryError> {
        let keys = self.transaction.find_row(
            "INSERT INTO throttle_new_key AS n (client, minute, keys) VALUES (?1, ?2, 1)
             ON CONFLICT (client) DO UPDATE SET
                 keys = CASE WHEN n.minute = excluded.minute THEN n.keys + 1 ELSE 1 END, minute = excluded.minute
             RETURNING keys",
            (client.as_bytes(), now.as_second().div_euclid(60)),
            |row| row.get(0),
        )?;
        Ok(keys.unwrap_or(u32::MAX))
    }

    fn suspicion(
        &mut self,
        _member: Member,
        generation: Generation,
        until: Timestamp,
    ) -> Result<Suspicion, DirectoryError> {
        let known = self.transaction.find_row(
            "SELECT suspect_until FROM throttle_store WHERE generation = ?1",
            [generation.mark()],
            |row| timestamp(row, 0),
        )?;
        if let Some(until) = known {
            return Ok(Suspicion { until, begins: false });
        }
        self.transaction.execute("DELETE FROM throttle_store", ())?;
        self.transaction.execute(
            "INSERT INTO throttle_store (suspect_until, generation) VALUES (?1, ?2)",
            (until.as_microsecond(), generation.mark()),
        )?;
        Ok(Suspicion { until, begins: true })
    }
}

impl Rows<'_, '_> {
    /// The time that counts for a key: it never goes back.
    fn newest(&self, key: Key, now: Timestamp) -> Result<Timestamp, DirectoryError> {
        let newest = self.transaction.find_row(
            "SELECT coalesce(max(at), 0) FROM throttle_unit WHERE key = ?1",
            [key.as_bytes()],
            |row| timestamp(row, 0),
        )?;
        Ok(newest.map_or(now, |newest| now.max(newest)))
    }

    fn put(&self, key: Key, member: Member, at: Timestamp) -> Result<(), DirectoryError> {
        self.transaction
            .execute(
                "INSERT OR REPLACE INTO throttle_unit (key, member, at) VALUES (?1, ?2, ?3)",
                (key.as_bytes(), member, at.as_microsecond()),
            )
            .map(drop)
    }
}

/// Deletes what no window counts any more, the oldest first, and dates anew what a wrong clock dated far ahead.
fn forget(transaction: &WriteTransaction<'_>, now: Timestamp, at_most: u32) -> Result<(), DirectoryError> {
    let far_ahead = now.saturating_add(LONGEST_KEPT).unwrap_or(Timestamp::MAX).as_microsecond();
    transaction.execute("UPDATE throttle_unit SET at = ?1 WHERE at > ?2", (now.as_microsecond(), far_ahead))?;
    transaction.execute(
        "DELETE FROM throttle_unit WHERE (key, member) IN
             (SELECT key, member FROM throttle_unit WHERE at <= ?1 ORDER BY at LIMIT ?2)",
        (before(now, SPAN), at_most),
    )?;
    Ok(())
}

fn before(now: Timestamp, span: SignedDuration) -> i64 {
    now.saturating_sub(span).unwrap_or(Timestamp::MIN).as_microsecond()
}

fn unavailable(error: DirectoryError) -> ThrottleError {
    ThrottleError::Unavailable(error.to_string().into())
}

/// More than an attempt adds, so that the table shrinks again after a busy day.
const FORGOTTEN_AT_ONCE: u32 = 16;
