//! How often one may try.
//!
//! Two kinds of counter stand between a guess and the hash. *Budgets* are windows of 24 hours on where a try comes from
//! and which account it aims at; they live in a [`Budgets`] store that may forget. The *durable floor* ([`floor`])
//! stands beside the credential (`directory::credential`) and never forgets. This root holds the types and the trait;
//! it knows no store and no transport, and neither time nor randomness but as an argument.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{
    directory::{AccountId, AccountSelector, E164, Generation},
    interaction::Attestation,
};

pub mod budget;
pub mod floor;
pub mod key;
pub mod lane;
pub mod memory;
pub mod redis;
pub mod release;
pub(crate) mod reserve;
pub mod reset;
mod rules;
pub mod settings;
pub mod turn;

pub use key::{DigestKey, Key, Line};
pub use lane::Lane;
pub use rules::Rules;
pub use settings::{Settings, Unsafe};

/// Names one attempt: 128 random bits, drawn by the sidecar for every hash. It serves only the sidecar's own retries
/// towards the store; nothing that a caller sends can become one, so a client's retry is a new attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId([u8; 16]);

impl AttemptId {
    /// The attempt with these random bits.
    #[must_use]
    pub fn new(random: [u8; 16]) -> Self {
        Self(random)
    }

    /// The bits.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Where an attempt comes from, as its client system states it. An attestation from a client that may not assert one
/// must have been dropped before.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The client system.
    pub client: &'a str,
    /// Its group: the clients of one platform share its interaction ids.
    pub group: &'a str,
    /// The platform's id of the call or chat.
    pub interaction: &'a str,
    /// The agent, when one speaks to the person.
    pub agent: Option<&'a str>,
    /// The calling number; `None` when withheld or malformed.
    pub calling_number: Option<&'a E164>,
    /// Its attestation.
    pub attestation: Option<Attestation>,
}

/// Whom an attempt aims at.
#[derive(Clone, Copy, Debug)]
pub struct Aim<'a> {
    /// The account in the words of the caller. How many *different* ones are tried is a fact about the caller, so that
    /// it must not depend on whether the directory knows them.
    pub said: &'a AccountSelector,
    /// Whose budget is charged.
    pub charged: Charged<'a>,
}

/// Whose budget an attempt charges, besides its source's.
#[derive(Clone, Copy, Debug)]
pub enum Charged<'a> {
    /// The account of the contact that was selected.
    Account {
        /// The account.
        id: &'a AccountId,
        /// How many of its contacts have a passphrase: the more, the more often somebody mistypes.
        contacts_with_passphrase: u32,
    },
    /// Nobody was selected, or a contact without an account: one of 256 dummies is charged, and what comes of it is
    /// ignored (A12). An unknown contact of a real account is nobody.
    Nobody,
}

/// One try, with everything it charges. Made by [`Rules::attempt`].
#[derive(Clone, Debug)]
pub struct Attempt {
    id: AttemptId,
    now: Timestamp,
    generation: Generation,
    lane: Lane,
    interaction: Key,
    /// `None`: withheld, malformed or owned by a carrier.
    number: Option<Key>,
    overflow: Overflow,
    account: Key,
    account_cap: u32,
    is_nobody: bool,
    spread: Spread,
}

/// What new keys share, once their client has made too many of them in a minute.
#[derive(Clone, Copy, Debug)]
struct Overflow {
    interaction: Key,
    number: Key,
}

/// Over whom the different accounts that are tried are counted, and which one this is.
#[derive(Clone, Copy, Debug)]
struct Spread {
    client: Key,
    agent: Option<Key>,
    fleet: Key,
    said: Key,
}

impl Attempt {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> AttemptId {
        self.id
    }

    /// When it is made.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Its lane.
    #[must_use]
    pub fn lane(&self) -> Lane {
        self.lane
    }

    /// Which of the durable floor's dummy rows is updated when nobody was selected: 0..64.
    #[must_use]
    pub fn dummy(&self) -> u8 {
        self.spread.said.dummy() % floor::DUMMIES
    }
}

/// What came of asking for leave to try.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Reservation {
    /// The budgets have a place. It is spent unless [`Budgets::settle`] is told of a success.
    Granted(Grant),
    /// The source's own budget is spent: no try, and the caller is told.
    Refused(Refusal),
}

impl Reservation {
    /// The alarms that the attempt raised, whatever came of it.
    #[must_use]
    pub fn raised(&self) -> &[Alarm] {
        match self {
            Self::Granted(grant) => &grant.raised,
            Self::Refused(refusal) => &refusal.raised,
        }
    }
}

/// Leave to try, as far as the source goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whether the account's budget had a place. If not, the try is answered as wrong, without a hash and without
    /// counting at the contact, and the caller is *not* told.
    pub account: AccountBudget,
    /// How often the source may try again, should this one fail. Told to the caller.
    pub tries_left: u32,
    /// When the calling number may try again, should this one fail and leave it none. `None` also when only the
    /// interaction has none left: another call may go on.
    pub retry_at: Option<Timestamp>,
    /// Whether the unfamiliar lane is narrowed, by an alarm or by suspicion, and this attempt is in it. For the audit.
    pub narrowed: bool,
    /// Alarms that this attempt raised: each is given once, when it begins.
    pub raised: Vec<Alarm>,
}

/// What the account's budget said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountBudget {
    /// It had a place, now taken. Always so for nobody.
    Open,
    /// It was spent; nothing was charged there.
    Spent,
}

/// A refusal that is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which budget is spent.
    pub by: SourceBudget,
    /// When it has a place again, at the latest; `None` for the interaction, which takes no more tries: another call may
    /// go on.
    pub retry_at: Option<Timestamp>,
    /// Whether it was spent because the unfamiliar lane is narrowed. For the audit.
    pub narrowed: bool,
    /// Alarms that this attempt raised.
    pub raised: Vec<Alarm>,
}

/// A budget of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceBudget {
    /// The interaction's.
    Interaction,
    /// The calling number's.
    CallingNumber,
}

impl SourceBudget {
    /// Stable code, for audit, metrics and docs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Interaction => "interaction",
            Self::CallingNumber => "calling_number",
        }
    }
}

/// Something that narrows the unfamiliar lane, and that people should look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alarm {
    /// One client system tried too many different accounts.
    Client,
    /// One agent did.
    Agent,
    /// All together did.
    Fleet,
    /// The store of budgets has lost what it knew: suspicion, not a fresh start (A36).
    CountersLost,
}

impl Alarm {
    /// Every alarm.
    pub const ALL: [Self; 4] = [Self::Client, Self::Agent, Self::Fleet, Self::CountersLost];

    /// Stable code, for audit, metrics and docs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Client => "client_tries_many_accounts",
            Self::Agent => "agent_tries_many_accounts",
            Self::Fleet => "fleet_tries_many_accounts",
            Self::CountersLost => "counters_lost",
        }
    }

    /// What it means, for the log.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Client | Self::Agent | Self::Fleet => "passphrase attempts look like an attack",
            Self::CountersLost => {
                "the store of attempt budgets has lost what it knew: strangers start half spent for a day"
            }
        }
    }
}

/// How an attempt ended. A failure needs no telling: what is reserved and not settled counts as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The passphrase was right, and counted: the attempt's own units are given back, and no others.
    Success,
    /// Anything else.
    Failure,
}

/// Why budgets could not be asked. Nobody may try then: every passphrase call is UNAVAILABLE.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ThrottleError {
    /// The store cannot be asked.
    #[error("the store of attempt budgets cannot be asked: {0}")]
    Unavailable(Arc<str>),
}

/// The store of budgets.
///
/// A new store implements this and passes the contract suite (`tests/it/throttle.rs`). It MUST
/// - take a place atomically per budget, *before* anything is hashed: concurrent attempts never get more than the cap;
/// - ask the source's budgets (interaction, then calling number) before the account's, so that a spent source never
///   burns the account; what a refused attempt took of the source may stay taken;
/// - be idempotent by attempt id: reserving again what is reserved takes nothing and is granted;
/// - count what is reserved and not settled as a failure, for 24 hours, and forget it within 25;
/// - give back at a success the attempt's own units and no others, so that no budget ever exceeds its start;
/// - never let its clock for a key go back: a time before the newest that the key has seen counts as that;
/// - notice that it has lost its counters, or that the directory is of another generation, say so once ([`Alarm::CountersLost`], again only to the attempt that was told),
///   and for 24 hours let the windows of the unfamiliar lane start half spent: rounded down, at least one is left.
///
/// The budgets need no common transaction: each is one key, so that a cluster can hold them in different places.
#[async_trait]
pub trait Budgets: Send + Sync + 'static {
    /// Takes a place in every budget of the attempt, or says which one is spent. Cancelling leaves what was taken taken.
    ///
    /// # Errors
    /// [`ThrottleError::Unavailable`]; places may have been taken then, and stay so.
    async fn reserve(&self, attempt: &Attempt) -> Result<Reservation, ThrottleError>;

    /// Says how the attempt ended. Safe to repeat, and to leave out for a failure.
    ///
    /// # Errors
    /// [`ThrottleError::Unavailable`]; the attempt then counts as a failure.
    async fn settle(&self, attempt: &Attempt, outcome: Outcome) -> Result<(), ThrottleError>;
}
