//! Who is told of a change, and what became of the telling. Knows no store and no way of sending.
//!
//! A notice is a row that is written in the transaction of its change: no change without its notices, and no notice of a change
//! that was not committed. It goes to whom the directory held *before* the change, and says neither what was nor what is (47 CFR
//! 64.2010(f): "must not reveal the changed information"). None bears a link that approves anything.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::directory::{AccountId, ContactId, Revision};

pub mod delivery;
pub mod rules;
pub mod smtp;
pub mod webhook;

/// Declares what notices there are: what each is called, who learns of it, and whether strangers can cause it.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $code:literal, $audience:ident, $cause:ident;)+) => {
        /// What somebody is told.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Kind {
            $($(#[$doc])* $kind,)+
        }

        impl Kind {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$kind,)+];

            /// Stable code, in the outbox, in deliveries and as the name of a template.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Self::$kind => $code,)+ }
            }

            /// Who learns of it.
            #[must_use]
            pub fn audience(self) -> Audience {
                match self { $(Self::$kind => Audience::$audience,)+ }
            }

            /// Who can bring it about.
            #[must_use]
            pub fn cause(self) -> Cause {
                match self { $(Self::$kind => Cause::$cause,)+ }
            }
        }
    };
}

kinds! {
    /// A first passphrase was set.
    PassphraseSet = "passphrase_set", Person, Change;
    /// A passphrase was replaced.
    PassphraseChanged = "passphrase_changed", Person, Change;
    /// A passphrase was cleared.
    PassphraseCleared = "passphrase_cleared", Person, Change;
    /// Digits for the telephone keypad were set or replaced: another method that verifies (F10).
    KeypadChanged = "keypad_changed", Person, Change;
    /// Digits for the telephone keypad were cleared.
    KeypadCleared = "keypad_cleared", Person, Change;
    /// A passphrase is suspended until it is changed.
    PassphraseSuspended = "passphrase_suspended", Person, Change;
    /// A passphrase that too many failures had closed was opened again.
    PassphraseReopened = "passphrase_reopened", Person, Change;
    /// A lock of a passphrase was ended.
    PassphraseUnlocked = "passphrase_unlocked", Person, Change;
    /// Somebody began to reset a passphrase.
    ResetStarted = "reset_started", Person, Strangers;
    /// Too many failures in a row: the passphrase is locked for a time.
    Locked = "passphrase_locked", Person, Strangers;
    /// So many failures in a row that the passphrase is closed until its owner opens it.
    TooManyFailures = "too_many_failures", Person, Strangers;
    /// The e-mail address of a contact was changed.
    EmailChanged = "email_changed", Person, Change;
    /// The user id with which a contact logs in was changed.
    LoginChanged = "login_changed", Person, Change;
    /// A contact was added, or came back.
    ContactAdded = "contact_added", Account, Change;
    /// A contact left.
    ContactDeactivated = "contact_deactivated", Both, Change;
    /// Numbers of record were changed.
    NumberChanged = "number_changed", Account, Change;
    /// Addresses of record were changed.
    AddressChanged = "address_changed", Account, Change;
    /// The owner's lock on number moves was set or lifted.
    NumberLockChanged = "number_lock_changed", Account, Change;
    /// A contact was given a role.
    RoleGranted = "role_granted", Both, Change;
    /// A role was taken from a contact.
    RoleRevoked = "role_revoked", Both, Change;
    /// The account has another primary administrator.
    PrimaryAdminChanged = "primary_admin_changed", Account, Change;
    /// The account was closed: nobody of it is verified any more.
    AccountClosed = "account_closed", Account, Change;
    /// The account was opened again.
    AccountReopened = "account_reopened", Account, Change;
    /// A request waits for the primary administrator.
    EscalationWaiting = "escalation_waiting", PrimaryAdmin, Strangers;
}

impl Kind {
    /// The kind of this code, if there is one.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.code() == code)
    }

    /// Whether it tells of something that verifies a person: then whoever held his e-mail address in the last 30 days learns of
    /// it, too, and a thief who changed it first gains nothing.
    #[must_use]
    pub fn is_about_a_credential(self) -> bool {
        match self {
            Self::PassphraseSet
            | Self::PassphraseChanged
            | Self::PassphraseCleared
            | Self::KeypadChanged
            | Self::KeypadCleared
            | Self::PassphraseSuspended
            | Self::PassphraseReopened
            | Self::PassphraseUnlocked
            | Self::ResetStarted
            | Self::Locked
            | Self::TooManyFailures
            | Self::EmailChanged
            | Self::LoginChanged => true,
            Self::ContactAdded
            | Self::ContactDeactivated
            | Self::NumberChanged
            | Self::AddressChanged
            | Self::NumberLockChanged
            | Self::RoleGranted
            | Self::RoleRevoked
            | Self::PrimaryAdminChanged
            | Self::AccountClosed
            | Self::AccountReopened
            | Self::EscalationWaiting => false,
        }
    }
}

/// Who learns of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The person whom it concerns; of the account's passphrase, the primary administrator.
    Person,
    /// The person, and the primary administrator.
    Both,
    /// The primary administrator, and every e-mail address of record.
    Account,
    /// The primary administrator alone.
    PrimaryAdmin,
}

/// Who can bring a notice about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A change that somebody with the right to it made: each is told.
    Change,
    /// Anybody who calls: told at most once a day to each recipient, with how often it happened.
    Strangers,
}

/// Where a notice goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "by", content = "to", rename_all = "snake_case")]
pub enum Target {
    /// To an e-mail address.
    Email(String),
    /// By voice or text to a telephone number, in E.164 form.
    Number(String),
    /// By letter.
    Postal(String),
}

impl Target {
    /// Stable code of the way.
    #[must_use]
    pub fn way(&self) -> &'static str {
        match self {
            Self::Email(_) => "email",
            Self::Number(_) => "number",
            Self::Postal(_) => "postal",
        }
    }

    /// The address or number.
    #[must_use]
    pub fn address(&self) -> &str {
        match self {
            Self::Email(to) | Self::Number(to) | Self::Postal(to) => to,
        }
    }

    /// What the store holds; `None` for a way that is not known.
    #[must_use]
    pub fn from_parts(way: &str, address: String) -> Option<Self> {
        match way {
            "email" => Some(Self::Email(address)),
            "number" => Some(Self::Number(address)),
            "postal" => Some(Self::Postal(address)),
            _ => None,
        }
    }
}

/// A notice to be written, to one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewNotice {
    /// What he is told.
    pub kind: Kind,
    /// Of which account.
    pub account: AccountId,
    /// The contact whom it concerns, if it is one.
    pub about: Option<ContactId>,
    /// The contact who is told; `None`: whoever reads what comes to the account's record.
    pub recipient: Option<ContactId>,
    /// Where it goes.
    pub target: Target,
    /// Whether the recipient had this address before, and has it no more.
    pub is_former: bool,
    /// Whether what happens within a day is told as one.
    pub is_gathered: bool,
}

/// How far a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It waits to be sent, for the first time or again.
    Pending,
    /// Whoever delivers it has taken it.
    Delivered,
    /// It was given up: an operator may have it tried again.
    Dead,
}

impl State {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Delivered, Self::Dead];

    /// Stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }

    /// The state of this code, if there is one.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }
}

/// A notice in the outbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Its id, the same in every attempt to deliver it: who receives it twice knows by this that it is one.
    pub id: String,
    /// What is told.
    pub kind: Kind,
    /// Of which account.
    pub account: AccountId,
    /// The contact whom it concerns, if it is one.
    pub about: Option<ContactId>,
    /// The contact who is told, if it is one.
    pub recipient: Option<ContactId>,
    /// Where it goes.
    #[serde(flatten)]
    pub target: Target,
    /// How often it happened.
    pub count: u32,
    /// The change of which it tells; `None`: of no change of the directory.
    pub revision: Option<Revision>,
    /// When it happened, for the first time if more than once.
    pub created: Timestamp,
    /// From when on it is sent.
    pub due: Timestamp,
    /// How far it is.
    pub state: State,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it was not delivered, the last time.
    pub last_error: Option<String>,
    /// When it was delivered or given up.
    pub settled: Option<Timestamp>,
}

/// Kinds that strangers can cause reach a recipient at most once in this time.
pub const GATHERED_WITHIN: SignedDuration = SignedDuration::from_hours(24);

/// As long as 47 CFR 64.2003(b) asks of an address of record: who held an e-mail address within this time is told as well.
pub const FORMER_WITHIN: SignedDuration = SignedDuration::from_hours(30 * 24);

/// At most so many of them, see [`rules::former`].
pub const FORMER_TOLD: usize = 10;

/// So many of these because they were held last; the others because they were held first, or for longest.
pub const FORMER_NEWEST: usize = 2;

/// A delivered notice is kept for so long: an address that was replaced must be known for [`FORMER_WITHIN`].
pub const KEPT: SignedDuration = SignedDuration::from_hours(31 * 24);
