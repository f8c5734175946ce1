//! One look at the directory: all that a decision needs to know of it, read in one snapshot.
//!
//! A look reads and never writes. What was not asked for is left out, so that a question open to everybody costs no more
//! than finding whom it names.

use std::sync::Arc;

use jiff::Timestamp;

use super::{ContactId, InteractionState, Revision, Selection, Standing, SubjectHints};
use crate::{interaction::InteractionKey, throttle::Line};

/// What a decision wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Whom the caller's words are to select.
    pub subject: SubjectHints,
    /// Whose standing is wanted.
    pub whose: Whose,
    /// The interaction whose state is wanted.
    pub interaction: Option<InteractionKey>,
    /// Set for a passphrase that is to be tried: what its budgets depend on is wanted, too.
    pub attempt: Option<AttemptFrom>,
    /// How fresh a standing must be. A store answers with its newest; a cache may not.
    pub freshness: Freshness,
    /// The time, in which interactions end.
    pub now: Timestamp,
}

/// Whose standing is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Nobody's.
    Nobody,
    /// Of the contact whom the words select. Selecting nobody takes the same statements.
    Selected,
    /// Of this contact, whom a token names.
    Contact(ContactId),
}

/// From where a passphrase is to be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptFrom {
    /// The line of the call; `None`: it has none.
    pub line: Option<Line>,
    /// The oldest proof on that line that makes it familiar.
    pub familiar_since: Timestamp,
}

/// How fresh a standing must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// As fresh as the policy demands.
    #[default]
    Cached,
    /// As of every change that was answered before, wherever in the fleet: from the primary of a store, or from memory where
    /// that is known to be as new.
    Current,
    /// At least this revision of the directory.
    AtLeast(Revision),
    /// From the store.
    FromStore,
}

impl Freshness {
    /// At least this fresh, and as of every change that was answered before.
    #[must_use]
    pub fn and_current(self) -> Self {
        match self {
            Self::Cached | Self::Current => Self::Current,
            Self::AtLeast(_) | Self::FromStore => Self::FromStore,
        }
    }
}

/// What was seen, all of it in one snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whom the words select. Unknown and ambiguous are both nobody; an inactive contact is still found.
    pub selection: Selection,
    /// The wanted standing; `None`: no such contact, or none was wanted.
    pub standing: Option<Arc<Standing>>,
    /// Where the wanted interaction stands; `None`: nobody brought evidence in it, or none was wanted.
    pub interaction: Option<InteractionState>,
    /// What the budgets of a passphrase depend on; of nobody, and where it was not wanted, nothing.
    pub attempt: AttemptFacts,
}

/// What the budgets of a passphrase depend on, beside the standing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttemptFacts {
    /// Whether the contact was verified on the line of the call recently enough.
    pub verified_on_line: bool,
    /// How many active contacts of the account have a passphrase of their own.
    pub contacts_with_passphrase: u32,
}

impl Look {
    /// Only whom the words select.
    #[must_use]
    pub fn at_subject(subject: SubjectHints, now: Timestamp) -> Self {
        Self { subject, whose: Whose::Nobody, interaction: None, attempt: None, freshness: Freshness::default(), now }
    }

    /// Whether there is nothing to look at: a question that names nobody and proves nothing. That nobody was named is no
    /// secret.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let names_somebody = self.subject.account.is_some() || self.subject.contact.is_some();
        !names_somebody && !matches!(self.whose, Whose::Contact(_)) && self.interaction.is_none()
    }
}
