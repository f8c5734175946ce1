//! Who may do what: accounts, contacts, their roles, and the log of every change.
//!
//! This root holds the types, the trait and the pure rules. It knows no store; [`sqlite`] is the embedded one,
//! [`postgres`] that of a fleet.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    directory::import::{Finding, Imported, Row, Terms},
    escalation::{Escalation, NewEscalation, PendingLimits},
    interaction::InteractionKey,
};

pub mod account;
pub mod activity;
pub mod cache;
pub mod contact;
pub mod copy;
pub mod credential;
pub mod delivery;
pub mod escalations;
pub mod generation;
pub mod import;
pub mod look;
pub mod notices;
pub mod people;
pub mod postgres;
pub mod reset;
pub mod review;
pub mod role;
pub mod sample;
pub mod select;
pub(crate) mod shape;
pub mod sqlite;
pub mod tail;

pub use account::{Account, AccountStatus, AddressKind, AddressOfRecord, CpniExemption, E164, NumberOfRecord, Site};
pub use contact::{Contact, ContactStatus};
pub use credential::{Credentials, Enrolment};
pub use delivery::{Behind, Delivery, NewDelivery, RecordKind};
pub use generation::{CurrentGeneration, Generation, Generations};
pub use look::{Freshness, Look, Seen};
pub use role::{RoleAssignment, RoleName, Scope};
pub use select::{AccountSelector, ContactSelector, Selection, SubjectHints};

/// Declares a newtype for an opaque id.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps an id that came from the directory or from a caller; it need not exist.
            #[must_use]
            pub fn new(id: impl Into<String>) -> Self {
                Self(id.into())
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(/// Identifies an account (a customer). At most 64 bytes.
    AccountId);
id!(/// Identifies a contact (a person) over all accounts. At most 64 bytes.
    ContactId);
id!(/// Identifies a site within its account. At most 64 bytes.
    SiteId);

/// Counts the directory's changes: each change has the next one. 0 is the empty directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

/// Everything that a decision needs to know about one contact, read in one snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The account to which the contact belongs.
    pub account: Account,
    /// The contact.
    pub contact: Contact,
    /// The contact's roles, with their scopes.
    pub assignments: Vec<RoleAssignment>,
    /// How the contact is enrolled with a passphrase.
    pub enrolment: Enrolment,
    /// The revision of the snapshot.
    pub revision: Revision,
}

impl Standing {
    /// Whether anything may verify this contact: neither has he left, nor is his account closed (S12).
    #[must_use]
    pub fn is_active(&self) -> bool {
        match (self.contact.status, self.account.status()) {
            (ContactStatus::Active, AccountStatus::Active) => true,
            (ContactStatus::Inactive, _) | (_, AccountStatus::Closed) => false,
        }
    }

    /// Whether this contact is the account's primary administrator.
    #[must_use]
    pub fn is_primary_admin(&self) -> bool {
        self.account.primary_admin.as_ref() == Some(&self.contact.id)
    }
}

/// A contact with his roles, as a listing shows him.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The contact.
    #[serde(flatten)]
    pub contact: Contact,
    /// His roles, with their scopes.
    pub roles: Vec<RoleAssignment>,
}

/// A write. Each is one row of the change log, with its own revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// Creates an account with its numbers and addresses of record and its sites, or replaces those of an existing one.
    /// An existing one keeps `created` and `closed`. The primary admin is left as he is: `None`, or the one that the account has.
    PutAccount(Account),
    /// Creates a contact, or replaces its profile and status. An existing one keeps `created` and its account. An
    /// inactive contact loses verification at once (S12); the primary admin cannot become one (S13).
    PutContact(Contact),
    /// Assigns a role; assigning it again keeps the older date.
    AssignRole(RoleAssignment),
    /// Revokes a role; revoking an absent one changes nothing but is still logged.
    RevokeRole {
        /// Whose role.
        contact: ContactId,
        /// Which role.
        role: RoleName,
        /// Where it applied.
        scope: Scope,
    },
    /// Suspends the passphrase that verifies a contact until a new one is set; without one, nothing but the log changes.
    SuspendPassphrase {
        /// The contact.
        contact: ContactId,
    },
    /// Makes a contact of the account its primary administrator.
    SetPrimaryAdmin {
        /// The account.
        account: AccountId,
        /// An active contact of it.
        contact: ContactId,
    },
    /// Closes an account, with everybody of it as one who left: their passphrases are gone for good, what waits ends (S12).
    CloseAccount {
        /// The account.
        account: AccountId,
        /// Since when.
        at: Timestamp,
    },
    /// Opens a closed account again. Its passphrases do not come back; its roles do, as new ones (A31).
    ReopenAccount {
        /// The account.
        account: AccountId,
    },
}

/// On whose behalf a change is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// A user of the operating system, through the command line.
    Operator(String),
    /// A client system.
    Client(String),
    /// A role of the database: the rows were written by SQL.
    Database(String),
    /// The sidecar itself (such as `demo` loading its sample company).
    Sidecar,
}

/// One row of the change log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedChange {
    /// Its revision.
    pub revision: Revision,
    /// When it was committed, in store time.
    pub at: Timestamp,
    /// On whose behalf.
    pub actor: Actor,
    /// The account that it touched, if it touched one.
    pub account: Option<AccountId>,
    /// The interaction that it ended, if it ended one.
    pub interaction: Option<InteractionKey>,
    /// Stable name, such as `put_contact`.
    pub kind: String,
}

/// How long an interaction takes proof when nobody ends it (design: 4 h).
pub const INTERACTION_LIFE: jiff::SignedDuration = jiff::SignedDuration::from_hours(4);

/// Where an interaction stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InteractionState {
    /// The client that brought the first evidence.
    pub opened_by: String,
    /// When it did.
    pub opened_at: Timestamp,
    /// When it was ended, or ended by itself.
    pub ended_at: Option<Timestamp>,
}

impl InteractionState {
    /// Whether it takes no more proof: it was ended, or is older than [`INTERACTION_LIFE`].
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.ended_at.is_some() || now.duration_since(self.opened_at) >= INTERACTION_LIFE
    }
}

/// What came of an attempt to end an interaction.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum EndOutcome {
    /// It is over since then, now or from before.
    Ended(Timestamp),
    /// It was opened by another client, and no token of it was shown.
    NotYours,
}

/// What came of opening an escalation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum OpenOutcome {
    /// It was opened now.
    Opened(Escalation),
    /// It was pending already, for the same contact, action and resource; or it is approved, and not used yet.
    Pending(Escalation),
    /// The contact's action was refused twice in a row, the second time within the last day.
    RefusedTwice,
    /// Too many are pending for the contact or the account.
    TooMany,
}

/// What a key must yield, so that a missing or a different one is noticed at start. Never the key itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyCheck {
    /// The key's id, unique within its purpose.
    pub key_id: String,
    /// What the key yields.
    pub value: Vec<u8>,
}

/// Why the directory could not answer. Absence is an `Option`, never an error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// The store cannot be asked; whoever waits for it is told UNAVAILABLE.
    #[error("the directory's store cannot be asked: {0}")]
    Unavailable(Arc<str>),
    /// A write would break an invariant; nothing of its transaction was written.
    #[error("{field}: {why}")]
    Invalid {
        /// The field, as the directory names it.
        field: &'static str,
        /// What is wrong, without the value.
        why: String,
    },
}

/// The directory of people and roles.
///
/// A new store implements this and passes the contract suite (`tests/it/directory.rs`). It MUST answer a [`Look`]
/// from one snapshot, append one change row with the next revision in the transaction of each write, keep times to the
/// microsecond (more is cut off), and report a store that cannot be asked as [`DirectoryError::Unavailable`], never as absence.
#[async_trait]
pub trait Directory: Send + Sync + 'static {
    /// Looks once, in one snapshot that holds every write answered before, at all that a decision wants to know.
    /// Selecting nobody and selecting somebody take the same statements (A12).
    async fn look(&self, look: &Look) -> Result<Seen, DirectoryError>;

    /// Reads a contact with account and roles in one snapshot. `None`: no such contact.
    async fn find_standing(&self, contact: &ContactId) -> Result<Option<Standing>, DirectoryError>;

    /// Reads an account. `None`: no such account.
    async fn find_account(&self, account: &AccountId) -> Result<Option<Account>, DirectoryError>;

    /// The accounts after `after`, in the order of their ids, at most `limit`.
    async fn list_accounts(&self, after: Option<&AccountId>, limit: u32) -> Result<Vec<Account>, DirectoryError>;

    /// The contacts after `after`, in the order of their ids, at most `limit`; of one account, or of all.
    async fn list_contacts(
        &self,
        account: Option<&AccountId>,
        after: Option<&ContactId>,
        limit: u32,
    ) -> Result<Vec<Listed>, DirectoryError>;

    /// Commits the changes in one transaction and returns the revision of the last. Nothing is half-written.
    async fn apply(&self, changes: Vec<Change>, actor: Actor, now: Timestamp) -> Result<Revision, DirectoryError>;

    /// What keeps the rows from being imported, read in one snapshot. Writes nothing.
    async fn check_import(&self, rows: Vec<Row>, terms: &Terms, now: Timestamp)
    -> Result<Vec<Finding>, DirectoryError>;

    /// Imports the rows in one transaction; one that cannot be undoes all. Importing them again changes nothing.
    async fn import(
        &self,
        rows: Vec<Row>,
        terms: &Terms,
        actor: Actor,
        now: Timestamp,
    ) -> Result<Imported, DirectoryError>;

    /// Forgets which accounts an import made: their dates are taken from no row any more.
    async fn forget_import(&self, import: &str, now: Timestamp) -> Result<(), DirectoryError>;

    /// The store's time, by which what is cached expires. `now` is the sidecar's, which an embedded store goes by.
    async fn time(&self, now: Timestamp) -> Result<Timestamp, DirectoryError> {
        Ok(now)
    }

    /// The newest revision.
    async fn revision(&self) -> Result<Revision, DirectoryError>;

    /// The change log after `after`, oldest first, at most `limit` rows. Once a change was told, none with a lower revision
    /// may turn up: whoever follows the log misses nothing.
    async fn changes_after(&self, after: Revision, limit: u32) -> Result<Vec<LoggedChange>, DirectoryError>;

    /// Opens the interaction for `client`, or returns where it stands if somebody opened it before.
    async fn open_interaction(
        &self,
        key: &InteractionKey,
        client: &str,
        now: Timestamp,
    ) -> Result<InteractionState, DirectoryError>;

    /// Ends the interaction. `bearer` says that a token of it was shown; else only the opener may. An interaction that
    /// nobody opened is opened and ended by `client`, so that its id takes no proof later. A change with a revision.
    async fn end_interaction(
        &self,
        key: &InteractionKey,
        client: &str,
        bearer: bool,
        now: Timestamp,
    ) -> Result<EndOutcome, DirectoryError>;

    /// Opens an escalation, or returns the one that is pending or approved for the same contact, action and resource; see
    /// [`escalations`] for what becomes of it.
    async fn open_escalation(&self, new: NewEscalation, limits: PendingLimits) -> Result<OpenOutcome, DirectoryError>;

    /// Writes down a delivery to the record, with what is behind it: at most `per_account` are due within a day, and only
    /// to what is settled on record. Nobody's takes the same work as somebody's.
    async fn open_delivery(&self, new: NewDelivery, per_account: u32) -> Result<Behind, DirectoryError>;

    /// Where a delivery goes. `None`: under this id nothing is due, or not any more.
    async fn find_delivery(&self, id: &str, now: Timestamp) -> Result<Option<Delivery>, DirectoryError>;
}

/// The check values of the keys with which this store was ever used, kept in the store itself: a silently new pepper
/// would lock everybody out.
#[async_trait]
pub trait KeyChecks: Send + Sync + 'static {
    /// Every check of a purpose, in the order of the key ids.
    async fn key_checks(&self, purpose: &str) -> Result<Vec<KeyCheck>, DirectoryError>;

    /// The check value of one key; `None`: this store was never used with it.
    async fn find_key_check(&self, purpose: &str, key_id: &str) -> Result<Option<Vec<u8>>, DirectoryError>;

    /// Stores a check value. Storing the same again changes nothing; a different one for the same key is refused.
    async fn put_key_check(&self, purpose: &str, check: KeyCheck) -> Result<(), DirectoryError>;
}
