//! Credentials: who has a passphrase, and the durable count of those who tried it.
//!
//! A contact has at most one credential of his own. An account may have a *primary account passphrase*; it verifies the
//! current primary administrator alone, and only if he never had one of his own. Which credential is tried follows from
//! the contact, and from nothing else: one that was cleared or suspended never falls back to another (A27, F9).
//!
//! Beside his own passphrase a contact may have digits for the *keypad*. They are another secret of the same credential: they count
//! in its lanes and in its sum, and end with whatever changes or ends the passphrase. Which of the two is tried follows from how it
//! was entered; neither ever stands in for the other.
//!
//! The root knows no store, and no passphrase: only what was derived from one.

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AccountId, Actor, ContactId, DirectoryError, Revision};
use crate::throttle::{Lane, Line};

/// What is stored of a passphrase: a PHC string. Worth stealing, so that it has neither Display nor Clone.
#[derive(PartialEq, Eq)]
pub struct StoredHashText(String);

impl StoredHashText {
    /// Wraps a PHC string.
    #[must_use]
    pub fn new(phc: impl Into<String>) -> Self {
        Self(phc.into())
    }

    /// The PHC string, for the hasher and the store alone.
    #[must_use]
    pub fn as_phc(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for StoredHashText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredHashText(…)")
    }
}

/// Distinguishes the settings of all credentials: the directory's revision at which a passphrase was set or suspended.
/// A rehash keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CredentialVersion(pub u64);

/// How a contact is enrolled: what is known of the passphrases that could verify him, never a hash and never a count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// The version that a proof by passphrase must have to stand: of the credential that would be tried for the contact
    /// now. `None`: none would, since it was never set, or cleared or suspended, or the contact left.
    pub current: Option<CredentialVersion>,
    /// When a passphrase that could verify this contact was last set, his own or that of the account whose primary
    /// administrator he is; stands after it was cleared (A31).
    pub last_set: Option<Timestamp>,
}

/// Whose credential.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// A contact's own.
    Contact(ContactId),
    /// The primary account passphrase.
    Account(AccountId),
    /// The keypad digits beside a contact's own passphrase.
    Keypad(ContactId),
}

/// Which secret of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Secret {
    /// The passphrase.
    Passphrase,
    /// The digits for the keypad.
    Keypad,
}

/// Whom an attempt aims at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A contact, by his passphrase.
    Contact(ContactId),
    /// A contact, by his keypad digits.
    Keypad(ContactId),
    /// Nobody: one of 64 dummy rows is updated in his place, and what comes of it is ignored (A12).
    Nobody {
        /// Which row: `throttle::Attempt::dummy`.
        dummy: u8,
    },
}

/// The credential that an attempt was reserved at, and for whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CredentialRef {
    id: i64,
    contact: ContactId,
    secret: Secret,
}

impl CredentialRef {
    /// The credential that the store knows by `id`, tried for `contact`.
    #[must_use]
    pub fn new(id: i64, contact: ContactId) -> Self {
        Self { id, contact, secret: Secret::Passphrase }
    }

    /// The same, with its keypad digits tried instead.
    #[must_use]
    pub fn by_keypad(self) -> Self {
        Self { secret: Secret::Keypad, ..self }
    }

    /// Which secret was tried.
    #[must_use]
    pub fn secret(&self) -> Secret {
        self.secret
    }

    /// The store's id.
    #[must_use]
    pub fn id(&self) -> i64 {
        self.id
    }

    /// Whom it would prove.
    #[must_use]
    pub fn contact(&self) -> &ContactId {
        &self.contact
    }
}

/// What came of reserving a try. A caller learns nothing of it: all but a right passphrase is answered alike.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Tried {
    /// The failure is counted, durably; now the hash may run.
    Granted(Granted),
    /// Not counted. The try holds its place and runs no hash.
    Held(Held),
    /// Not counted at any credential. The decoy is hashed.
    Absent(Absent),
}

/// Leave to hash.
#[derive(Debug, PartialEq, Eq)]
pub struct Granted {
    /// What to compare with.
    pub stored: StoredHashText,
    /// Of which credential.
    pub credential: CredentialRef,
    /// The version that the phrase counts for.
    pub version: CredentialVersion,
    /// The lane's consecutive failures, this one included. For the audit.
    pub failures: u32,
}

/// Why a try is held. For the audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// The lane is locked for a while.
    Locked {
        /// Until then. A try during it does not extend it.
        until: Timestamp,
    },
    /// The lane has failed too often: closed until a new passphrase, or until the owner reopens it.
    Closed,
}

/// Why there is nothing to try. For the audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// Nobody was selected, or no such contact.
    Nobody,
    /// The contact left (S12).
    Inactive,
    /// No passphrase was ever set for this contact.
    NotEnrolled,
    /// It was cleared.
    Cleared,
    /// It is suspended until it is changed (S14).
    Suspended,
}

impl Tried {
    /// Stable code, for the audit and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Granted(_) => "granted",
            Self::Held(Held::Locked { .. }) => "locked",
            Self::Held(Held::Closed) => "closed",
            Self::Absent(Absent::Nobody) => "nobody",
            Self::Absent(Absent::Inactive) => "inactive",
            Self::Absent(Absent::NotEnrolled) => "not_enrolled",
            Self::Absent(Absent::Cleared) => "cleared",
            Self::Absent(Absent::Suspended) => "suspended",
        }
    }
}

/// A right passphrase, before it counts.
#[derive(Debug)]
pub struct Success {
    /// As granted.
    pub credential: CredentialRef,
    /// As granted.
    pub version: CredentialVersion,
    /// The lane in which it was granted.
    pub lane: Lane,
    /// The line on which the call came in; it becomes familiar for this contact.
    pub line: Option<Line>,
    /// A new hash of the same passphrase, when parameters or pepper have changed. Stored only while the version stands.
    pub rehash: Option<StoredHashText>,
}

/// Whether a right passphrase counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Settled {
    /// It does: its lane is cleared, no other.
    Accepted,
    /// The passphrase was changed, cleared or suspended, or the contact left, since the try was reserved. The failure
    /// stays counted.
    Stale,
}

/// How a passphrase came to be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetMethod {
    /// By the operator's bootstrap command (A32).
    Operator,
    /// After a portal login (S9).
    PortalLogin,
    /// By a one-time code to an address or number of record (F8).
    OneTimeCode,
}

impl SetMethod {
    /// Every method.
    pub const ALL: [Self; 3] = [Self::Operator, Self::PortalLogin, Self::OneTimeCode];

    /// Stable code, for the store and the audit.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::PortalLogin => "portal_login",
            Self::OneTimeCode => "one_time_code",
        }
    }
}

/// A passphrase that is to be set, as far as the directory may know it.
#[derive(Debug)]
pub struct NewPassphrase {
    /// Its hash.
    pub stored: StoredHashText,
    /// Version of the canonical form that was hashed.
    pub canonical_version: u32,
    /// How it came to be set.
    pub method: SetMethod,
}

/// What may be said about a credential to its owner and to operators: never a length, never a hint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CredentialStatus {
    /// Whether there is a passphrase now.
    pub is_set: bool,
    /// When it was last set; stands after it was cleared.
    pub set_at: Timestamp,
    /// On whose behalf.
    pub set_by: Actor,
    /// How.
    pub method: SetMethod,
    /// Version of the canonical form that was hashed when it was set. A success may since have replaced the hash by a newer one.
    pub canonical_version: u32,
    /// Until when the unfamiliar lane is locked, if it is.
    pub locked_until: Option<Timestamp>,
    /// Whether the unfamiliar lane is closed until a new passphrase, or until the owner reopens it.
    pub closed: bool,
    /// How often the owner may still reopen it.
    pub reopenings_left: u32,
    /// Since when it is suspended (S14), if it is.
    pub suspended_at: Option<Timestamp>,
}

/// What came of ending a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Unlocked {
    /// It is ended, as of this revision. What was counted stays counted.
    Open(Revision),
    /// There was none.
    WasOpen,
    /// One was ended less than [`BETWEEN_UNLOCKS`] ago.
    Spent,
}

/// How often a lock may be ended: once a day for a contact.
pub const BETWEEN_UNLOCKS: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);

/// How far a pepper is in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PepperUse {
    /// The id of its key.
    pub key_id: String,
    /// How many credentials it hashed.
    pub credentials: u64,
}

/// What came of reopening the unfamiliar lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Reopened {
    /// It is open, as of this revision.
    Open(Revision),
    /// It was not closed; nothing changed.
    WasOpen,
    /// Only a new passphrase opens it: it was reopened too often, or the failures would sum to more than 100 (N3).
    NeverAgain,
}

/// The credentials, and the durable floor of those who try them.
///
/// A store implements this and passes the contract suite (`tests/it/throttle.rs`). It MUST
/// - count and read in one statement on the primary: what is granted is counted, durably, before it is answered;
/// - count per credential and lane (`throttle::floor`), and never grant when the lane is locked or closed, nor when all
///   that was counted since the passphrase was set would sum to more than 100 (N3);
/// - count the digits for the keypad where the passphrase counts, and grant them only while their version is the credential's;
/// - never cache anything of a credential;
/// - write a change with its own revision for everything but a try, a success and a rehash.
#[async_trait]
pub trait Credentials: Send + Sync + 'static {
    /// Counts a failure in advance and returns what to compare with. Cancelling leaves it counted.
    async fn reserve(&self, target: &Target, lane: Lane, now: Timestamp) -> Result<Tried, DirectoryError>;

    /// Makes a right passphrase count, if its version still stands, and clears its lane. Right digits for the keypad take back of
    /// their lane what was counted for digits, and no failure of a passphrase: whoever knows the weaker secret gains no guess at
    /// the stronger one.
    async fn settle_success(&self, success: Success, now: Timestamp) -> Result<Settled, DirectoryError>;

    /// Sets or replaces a passphrase: a new version, no failures, no suspension, no digits for the keypad. Or sets or replaces
    /// those digits: a new version, and what was counted stays counted.
    ///
    /// # Errors
    /// [`DirectoryError::Invalid`] for an unknown owner or an inactive contact, and for digits without a passphrase of the
    /// contact's own that is set and not suspended.
    async fn set(
        &self,
        owner: &Owner,
        new: NewPassphrase,
        actor: Actor,
        now: Timestamp,
    ) -> Result<Revision, DirectoryError>;

    /// Clears a passphrase. It verifies nobody any more, and nothing takes its place. The history stays.
    ///
    /// # Errors
    /// [`DirectoryError::Invalid`] when there is none.
    async fn clear(&self, owner: &Owner, actor: Actor, now: Timestamp) -> Result<Revision, DirectoryError>;

    /// Reopens the unfamiliar lane of the credential that verifies this contact. The owner has just logged in to the
    /// portal; starts no cool-off.
    async fn reopen(&self, contact: &ContactId, actor: Actor, now: Timestamp) -> Result<Reopened, DirectoryError>;

    /// Ends a lock of the unfamiliar lane of the credential that verifies this contact, and never a count. A closed lane that
    /// is not locked stays closed.
    async fn unlock(&self, contact: &ContactId, actor: Actor, now: Timestamp) -> Result<Unlocked, DirectoryError>;

    /// How many credentials each pepper hashed, by its key id; an empty id stands for what cannot be read. Reads all hashes.
    async fn by_pepper(&self) -> Result<Vec<PepperUse>, DirectoryError>;

    /// What may be said. `None`: never had one.
    async fn status(&self, owner: &Owner, now: Timestamp) -> Result<Option<CredentialStatus>, DirectoryError>;
}
