//! Resets of a passphrase by a one-time code that is sent to what is on record (F8, F12).
//!
//! A reset is written down whoever it was asked for, so that nobody and somebody take the same work, and nothing of a
//! credential changes by it. The code is in no store: it is derived from a key and the reset (`identity::reset_code`).

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use super::{AccountId, Actor, ContactId, Delivery, DirectoryError, RecordKind, credential::NewPassphrase};
use crate::{
    directory::ContactStatus,
    interaction::Channel,
    throttle::reset::{ResetSettings, ResetSource, SourceStarts, SpentSource},
};

/// How long a code may be used after it was asked for. SP 800-63B-4 allows ten minutes for what is told by telephone or SMS.
pub const CODE_LIFE: SignedDuration = SignedDuration::from_mins(10);

/// How often a code may be tried.
pub const TRIES_PER_CODE: u32 = 5;

/// How many codes a contact gets within [`CODES_WITHIN`].
pub const CODES_PER_CONTACT: u32 = 3;

/// How many of them calls from anywhere may get. The last is kept for a familiar line, so that strangers, however many, leave
/// the owner one (A11).
pub const CODES_FOR_STRANGERS: u32 = 2;

/// See [`CODES_PER_CONTACT`].
pub const CODES_WITHIN: SignedDuration = SignedDuration::from_hours(24);

/// A reset that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewReset {
    /// Its id: random, and known to whoever asked.
    pub id: String,
    /// The account that was selected.
    pub account: Option<AccountId>,
    /// The contact that was selected; `None`: nobody, and no code will be behind it.
    pub contact: Option<ContactId>,
    /// To which kind of record the code shall go.
    pub kind: RecordKind,
    /// The client system that asked; it alone may use the code.
    pub client: String,
    /// The channel on which the code may be used.
    pub channel: Channel,
    /// When.
    pub opened: Timestamp,
    /// From where.
    pub source: ResetSource,
    /// How many it may begin.
    pub settings: ResetSettings,
}

/// Within which time all strangers of one client system are counted together.
pub const CLIENT_WITHIN: SignedDuration = SignedDuration::from_hours(1);

/// What a store finds in the transaction that writes a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetFacts {
    /// What its source has begun before.
    pub starts: SourceStarts,
    /// How the contact stands; `None`: nobody was selected.
    pub status: Option<ContactStatus>,
    /// The codes that he was given within [`CODES_WITHIN`].
    pub codes: u32,
    /// Whether anything of the kind has been on record for long enough.
    pub is_settled: bool,
}

/// What is behind a reset. Only the audit is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum ResetBehind {
    /// A code is due.
    Due,
    /// The interaction has begun as many as it may. This and the next two stand before all that is about the contact.
    InteractionSpent,
    /// The calling number has.
    NumberSpent,
    /// The strangers of the client system have.
    ClientSpent,
    /// Nobody was selected.
    Nobody,
    /// The contact left (S12).
    Inactive,
    /// The contact has had the codes of the day.
    Spent,
    /// Nothing of the kind has been on record for 30 days (F12).
    NothingSettled,
}

impl ResetBehind {
    /// What is behind a reset: its source is asked before its contact, so that a spent source burns nobody's codes.
    pub fn of(new: &NewReset, facts: &ResetFacts) -> Self {
        let codes = if new.source.is_familiar { CODES_PER_CONTACT } else { CODES_FOR_STRANGERS };
        match (new.settings.spent(&new.source, facts.starts), facts.status) {
            (Some(SpentSource::Interaction), _) => Self::InteractionSpent,
            (Some(SpentSource::CallingNumber), _) => Self::NumberSpent,
            (Some(SpentSource::Client), _) => Self::ClientSpent,
            (None, None) => Self::Nobody,
            (None, Some(ContactStatus::Inactive)) => Self::Inactive,
            (None, Some(ContactStatus::Active)) if facts.codes >= codes => Self::Spent,
            (None, Some(ContactStatus::Active)) if !facts.is_settled => Self::NothingSettled,
            (None, Some(ContactStatus::Active)) => Self::Due,
        }
    }

    /// Whether the source is charged. What was refused to it is not, so that a number that a stranger states too opens again.
    #[must_use]
    pub fn is_charged(self) -> bool {
        !matches!(self, Self::InteractionSpent | Self::NumberSpent | Self::ClientSpent)
    }

    /// Whether the contact is told. What was refused to its source is not: nobody can have a million people written to.
    #[must_use]
    pub fn is_told(self) -> bool {
        self.is_charged() && self != Self::Nobody
    }

    /// Stable code, as the audit has it.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::InteractionSpent => "interaction_spent",
            Self::NumberSpent => "calling_number_spent",
            Self::ClientSpent => "client_spent",
            Self::Nobody => "nobody",
            Self::Inactive => "inactive",
            Self::Spent => "spent",
            Self::NothingSettled => "nothing_settled",
        }
    }
}

/// Whose reset it is, and where its code goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueReset {
    /// The contact.
    pub contact: ContactId,
    /// What is settled on the account's record now.
    pub delivery: Delivery,
}

/// A try to use a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResetTry {
    /// The reset.
    pub id: String,
    /// The client system that tries.
    pub client: String,
    /// The channel on which it does.
    pub channel: Channel,
}

/// Whether a code may be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum ResetTried {
    /// The try is counted, durably; now the code may be compared.
    Granted {
        /// The account.
        account: AccountId,
        /// Whose passphrase it would set.
        contact: ContactId,
    },
    /// There is nothing to compare with: unknown, of another client or channel, not due, tried too often, used, expired, or the
    /// passphrase was set, cleared or suspended since it was asked for.
    Withheld,
}

/// What came of using a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum ResetFinished {
    /// The passphrase is set, and no other code of this contact counts any more.
    Set,
    /// It was used or expired meanwhile, or the contact left: nothing has changed.
    Late,
}

/// The resets.
///
/// A store implements this beside [`super::Directory`] and passes its contract suite (`tests/it/reset.rs`). It MUST count a try
/// before it answers, give a contact no more codes and a source no more starts than [`ResetBehind::of`] allows however many
/// sidecars are asked at once, and let exactly one of several completions win.
#[async_trait]
pub trait Resets: Send + Sync + 'static {
    /// Writes a reset down, with what is behind it.
    async fn start_reset(&self, new: NewReset) -> Result<ResetBehind, DirectoryError>;

    /// Where the code of a reset goes. `None`: there is none, or it counts no more.
    async fn find_reset(&self, id: &str, now: Timestamp) -> Result<Option<DueReset>, DirectoryError>;

    /// Counts a try in advance. Cancelling leaves it counted.
    async fn try_reset(&self, attempt: ResetTry, now: Timestamp) -> Result<ResetTried, DirectoryError>;

    /// Uses the code, and sets the passphrase of the contact, in one transaction.
    async fn finish_reset(
        &self,
        id: &str,
        contact: &ContactId,
        new: NewPassphrase,
        actor: Actor,
        now: Timestamp,
    ) -> Result<ResetFinished, DirectoryError>;
}
