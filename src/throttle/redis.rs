//! The windows of the throttle in Redis: what one sidecar counts, all of a fleet count.
//!
//! One script reserves, one settles, both within one hash slot: every attempt asks the fleet's own counter, so that
//! spreading the others over a Cluster would keep nobody going when that one's node is gone, and would cost the one
//! round trip and the one transaction (docs/decisions/0012-redis.md). Any failure is [`ThrottleError::Unavailable`].

use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use data_encoding::HEXLOWER;
use jiff::{SignedDuration, Timestamp};

use super::{
    AccountBudget, Alarm, Attempt, Budgets, Grant, Key, Lane, Outcome, Refusal, Reservation, Settings, SourceBudget,
    ThrottleError,
    budget::{LONGEST_KEPT, SPAN},
    settings::AlarmSettings,
};
use crate::redis::{Connection, Failure, Kind, Script, Standing, server};

/// Budgets in Redis. Clones are the same budgets.
#[derive(Clone)]
pub struct RedisBudgets {
    connection: Connection,
    clock: Clock,
    reserve: Arc<Script>,
    settle: Arc<Script>,
    fitness: Arc<RwLock<Fitness>>,
}

/// By which clock windows go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// That of the Redis server: the clocks of the sidecars do not matter.
    Server,
    /// That of the attempt, for tests that move the time.
    Attempt,
}

/// Whether counters may be kept in this Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fitness {
    /// Nobody has seen it yet.
    Unseen,
    /// It keeps what it is given.
    Fit,
    /// It would lose counters silently, or does not understand the scripts; the text says what to do.
    Unfit(Arc<str>),
}

impl RedisBudgets {
    /// Budgets at the other end of `connection`; the settings have been validated. Nothing is reserved before
    /// [`RedisBudgets::look`] has found it fit.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "as every store of budgets is made")]
    pub fn new(connection: Connection, settings: Settings, clock: Clock) -> Self {
        Self {
            connection,
            clock,
            reserve: Arc::new(Script::new(format!("{}{}", given(&settings), include_str!("redis/reserve.lua")))),
            settle: Arc::new(Script::new(include_str!("redis/settle.lua"))),
            fitness: Arc::new(RwLock::new(Fitness::Unseen)),
        }
    }

    /// Looks whether this Redis may hold counters, and remembers what it finds. When it cannot be asked, what was found
    /// before goes on.
    ///
    /// # Errors
    /// Why it cannot be asked.
    pub async fn look(&self) -> Result<Fitness, Failure> {
        let found = match server::describe(&self.connection).await {
            Ok(servers) => servers
                .iter()
                .find_map(server::Description::unfit_for_counters)
                .map_or(Fitness::Fit, |why| Fitness::Unfit(why.into())),
            Err(failure) if failure.kind() == Kind::Forbidden => {
                Fitness::Unfit(format!("{failure}; it needs INFO, to see that nothing is evicted").into())
            }
            Err(failure) => return Err(failure),
        };
        *self.fitness.write().unwrap_or_else(PoisonError::into_inner) = found.clone();
        Ok(found)
    }

    /// What the last look found.
    #[must_use]
    pub fn fitness(&self) -> Fitness {
        self.fitness.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether places can be taken now; else why not.
    ///
    /// # Errors
    /// [`ThrottleError::Unavailable`].
    pub fn ready(&self) -> Result<(), ThrottleError> {
        match (self.fitness(), self.connection.standing()) {
            (_, Standing::Down(why)) => Err(unavailable(&why)),
            (Fitness::Unfit(why), Standing::Up) => Err(ThrottleError::Unavailable(why)),
            (Fitness::Unseen, Standing::Up) => Err(unavailable("nobody has looked yet whether this Redis evicts")),
            (Fitness::Fit, Standing::Up) => Ok(()),
        }
    }

    /// The connection.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    fn arguments(&self, attempt: &Attempt) -> Vec<Vec<u8>> {
        let flag = |is_so: bool| vec![if is_so { b'1' } else { b'0' }];
        let mut arguments = vec![
            attempt.id.as_bytes().to_vec(),
            attempt.spread.said.as_bytes().to_vec(),
            flag(attempt.lane == Lane::Unfamiliar),
            flag(attempt.number.is_some()),
            flag(attempt.spread.agent.is_some()),
            flag(attempt.is_nobody),
            attempt.account_cap.to_string().into_bytes(),
        ];
        if self.clock == Clock::Attempt {
            arguments.push(attempt.now.as_microsecond().to_string().into_bytes());
        }
        arguments
    }
}

/// The settings, as the script expects them in front of its text: they are the same for every attempt, and arguments cost.
fn given(settings: &Settings) -> String {
    let cap = |narrowed| (settings.interaction_rule(narrowed).cap, settings.number_rule(narrowed).cap);
    let ((interaction, number), (narrow_interaction, narrow_number)) = (cap(false), cap(true));
    let AlarmSettings { client_accounts, agent_accounts, fleet_accounts, .. } = settings.alarm;
    let spread_span = settings.alarm_rule(0).span;
    format!(
        "local INTERACTION, NUMBER = {interaction}, {number}\n\
         local NARROW_INTERACTION, NARROW_NUMBER = {narrow_interaction}, {narrow_number}\n\
         local NEW_KEYS = {}\n\
         local CLIENT_ACCOUNTS, AGENT_ACCOUNTS, FLEET_ACCOUNTS = {client_accounts}, {agent_accounts}, {fleet_accounts}\n\
         local SPREAD_SPAN, SPAN, LONGEST_KEPT = {}, {}, {}\n",
        settings.new_keys_per_client_minute,
        spread_span.as_micros(),
        SPAN.as_micros(),
        LONGEST_KEPT.as_micros(),
    )
}

#[async_trait]
impl Budgets for RedisBudgets {
    async fn reserve(&self, attempt: &Attempt) -> Result<Reservation, ThrottleError> {
        self.ready()?;
        let keys = Names::of(attempt).to_reserve(attempt);
        let reply: (u8, u8, u32, i64, u8, u8) = self
            .connection
            .run(&self.reserve, &keys, &self.arguments(attempt))
            .await
            .map_err(|why| unavailable(&why))?;
        let (places, narrowed, tries_left, retry_in, account, raised) = reply;
        let narrowed = narrowed == 1;
        let raised = ALARMS.into_iter().filter(|(bit, _)| raised & bit != 0).map(|(_, alarm)| alarm).collect();
        // The script tells how long it takes, not when it is: the clocks of server and sidecar may differ.
        let retry_at = u64::try_from(retry_in).ok().map(|micros| after(attempt.now, micros));
        let by = match places {
            0 => {
                let account = if account == 1 { AccountBudget::Open } else { AccountBudget::Spent };
                return Ok(Reservation::Granted(Grant { account, tries_left, retry_at, narrowed, raised }));
            }
            1 => SourceBudget::Interaction,
            2 => SourceBudget::CallingNumber,
            other => return Err(unavailable(format!("the script answers {other}"))),
        };
        Ok(Reservation::Refused(Refusal { by, retry_at, narrowed, raised }))
    }

    async fn settle(&self, attempt: &Attempt, outcome: Outcome) -> Result<(), ThrottleError> {
        if outcome == Outcome::Failure {
            return Ok(());
        }
        let (of_attempt, of_account) = Names::of(attempt).to_settle(attempt);
        let count = of_attempt.len().to_string();
        let keys = [of_attempt, of_account].concat();
        let arguments: [&[u8]; 3] = [attempt.id.as_bytes(), attempt.spread.said.as_bytes(), count.as_bytes()];
        let given_back: Result<u8, Failure> = self.connection.run(&self.settle, &keys, &arguments).await;
        given_back.map(drop).map_err(|why| unavailable(&why))
    }
}

/// The names of an attempt's keys: a version, the hash tag, what is counted, and the digest of whom.
///
/// The tag is of the key under which ids become digests, so that fleets with different keys share a Redis without
/// meeting, and a Cluster holds each in one slot.
struct Names {
    start: String,
}

impl Names {
    fn of(attempt: &Attempt) -> Self {
        let mut start = format!("{VERSION}:{{");
        HEXLOWER.encode_append(attempt.spread.fleet.as_bytes(), &mut start);
        start.push_str("}:");
        Self { start }
    }

    fn of_key(&self, counted: &str, key: Key) -> String {
        let digest = key.as_bytes();
        let mut name = String::with_capacity(self.start.len() + counted.len() + 1 + 2 * digest.len());
        name.push_str(&self.start);
        name.push_str(counted);
        name.push(':');
        HEXLOWER.encode_append(digest, &mut name);
        name
    }

    /// In the order of the script's KEYS: those that always apply, then those that do here.
    fn to_reserve(&self, attempt: &Attempt) -> Vec<String> {
        let Attempt { lane, overflow, spread, .. } = attempt;
        let is_unfamiliar = *lane == Lane::Unfamiliar;
        let mut keys = Vec::with_capacity(MOST_KEYS);
        // A directory that was put back knows less than these windows: its generation has a past of its own.
        keys.push(match attempt.generation.mark() {
            [] => [self.start.as_str(), "marker"].concat(),
            mark => format!("{}marker:{}", self.start, HEXLOWER.encode(mark)),
        });
        keys.push(self.of_key("account", attempt.account));
        keys.push(self.of_key("interaction", attempt.interaction));
        keys.push(self.of_key("client", spread.client));
        keys.push(self.of_key("fleet", spread.fleet));
        if is_unfamiliar {
            keys.push(self.of_key("new", spread.client));
            keys.push(self.of_key("interaction", overflow.interaction));
        }
        if let Some(number) = attempt.number {
            keys.push(self.of_key("number", number));
            if is_unfamiliar {
                keys.push(self.of_key("number", overflow.number));
            }
        }
        keys.extend(spread.agent.map(|agent| self.of_key("agent", agent)));
        keys
    }

    /// What may hold a unit of the attempt, and what may hold the account. An overflow is used in the unfamiliar lane only.
    fn to_settle(&self, attempt: &Attempt) -> (Vec<String>, Vec<String>) {
        let Attempt { lane, overflow, spread, .. } = attempt;
        let mut of_attempt = Vec::with_capacity(MOST_KEYS);
        of_attempt.push(self.of_key("interaction", attempt.interaction));
        of_attempt.push(self.of_key("account", attempt.account));
        of_attempt.extend(attempt.number.map(|number| self.of_key("number", number)));
        if *lane == Lane::Unfamiliar {
            of_attempt.push(self.of_key("interaction", overflow.interaction));
            of_attempt.extend(attempt.number.map(|_| self.of_key("number", overflow.number)));
        }
        let mut of_account = vec![self.of_key("client", spread.client), self.of_key("fleet", spread.fleet)];
        of_account.extend(spread.agent.map(|agent| self.of_key("agent", agent)));
        (of_attempt, of_account)
    }
}

/// The beginning of every name: another form of what is kept gets another.
const VERSION: &str = "cs1";

/// At most so many keys has a reservation.
const MOST_KEYS: usize = 10;

/// In the order in which `throttle::reserve` raises them.
const ALARMS: [(u8, Alarm); 4] = [(8, Alarm::CountersLost), (1, Alarm::Client), (2, Alarm::Agent), (4, Alarm::Fleet)];

fn after(now: Timestamp, micros: u64) -> Timestamp {
    let micros = SignedDuration::from_micros(i64::try_from(micros).unwrap_or(i64::MAX));
    now.saturating_add(micros).unwrap_or(Timestamp::MAX)
}

fn unavailable(why: impl ToString) -> ThrottleError {
    ThrottleError::Unavailable(why.to_string().into())
}
