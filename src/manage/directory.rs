//! Shows and changes who is on record, on behalf of a person who is logged in to the portal, or of a system with roles.
//!
//! Who may do what, [`crate::people`] and the policy bundle say. Here the actor is proved, the directory is read and written,
//! and each answer is recorded before it is given.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    ManageError,
    login::{LoggedIn, Proving, random_id},
};
use crate::{
    audit::{
        AuditReceipt, Record, Trail,
        record::{Call, DirectoryRecord, Person},
    },
    client::{ClientSystem, Rpc},
    clock::Clock,
    directory::{Account, AccountId, ContactId, Directory, Listed, Revision, RoleName, people::PeopleStore},
    people::{Agent, Refusal},
    policy::Current,
};

pub mod read;
mod review;
pub mod write;

/// The use cases, and what they work with.
#[derive(Clone)]
pub struct Managing {
    /// Who is on record.
    pub directory: Arc<dyn Directory>,
    /// The same, as far as only this room asks.
    pub people: Arc<dyn PeopleStore>,
    /// What is amiss in it.
    pub reviews: super::review::Reviews,
    /// Who may.
    pub policy: Arc<Current>,
    /// What happened.
    pub trail: Arc<Trail>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// A portal login older than this proves nothing.
    pub login_max_age: SignedDuration,
    /// How long the cool-off of A31 lasts.
    pub cool_off: SignedDuration,
    /// A proof older than this is OLD.
    pub fresh_within: SignedDuration,
}

/// A call, and on whose behalf it is made.
pub struct Asked {
    /// By which RPC.
    pub rpc: Rpc,
    /// The client system that asks.
    pub client: Arc<ClientSystem>,
    /// On whose behalf.
    pub by: By,
    /// Correlates log lines and audit records.
    pub request_id: String,
    /// When the call arrived, on the monotonic clock.
    pub arrived: Duration,
    /// Its place among the calls that run at the same time; `None`: it is not counted.
    pub place: Option<OwnedSemaphorePermit>,
}

/// On whose behalf.
pub enum By {
    /// A person, who is logged in.
    Person(Box<LoggedIn>),
    /// The client itself, which calls itself so; the edge has checked that it may.
    System(String),
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done, or shown.
    Done,
    /// The login proves nobody.
    NotVerified,
    /// There is no such thing, or none for this actor.
    NotFound,
    /// The actor may not.
    NotPermitted,
    /// The actor might, with a login of a moment ago.
    FreshLoginRequired,
    /// It is not as the actor saw it any more.
    ChangedMeanwhile,
    /// Another has this already: the field.
    Conflict(&'static str),
    /// What is asked for cannot be: the field.
    Invalid(&'static str),
    /// Nobody would be left who can let others in.
    LastAdmin,
    /// The primary administrator hands over before he leaves.
    PrimaryAdmin,
}

impl Outcome {
    /// Stable code, for the audit and docs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NotVerified => "not_verified",
            Self::NotFound => "not_found",
            Self::NotPermitted => "not_permitted",
            Self::FreshLoginRequired => "fresh_login_required",
            Self::ChangedMeanwhile => "changed_meanwhile",
            Self::Conflict(_) => "conflict",
            Self::Invalid(_) => "invalid",
            Self::LastAdmin => "last_admin",
            Self::PrimaryAdmin => "primary_admin",
        }
    }

    /// The field that it is about.
    #[must_use]
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::Conflict(field) | Self::Invalid(field) => Some(field),
            Self::Done
            | Self::NotVerified
            | Self::NotFound
            | Self::NotPermitted
            | Self::FreshLoginRequired
            | Self::ChangedMeanwhile
            | Self::LastAdmin
            | Self::PrimaryAdmin => None,
        }
    }
}

/// What is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Accounts.
    pub accounts: Vec<Account>,
    /// Contacts with their roles.
    pub contacts: Vec<Listed>,
}

/// An answer that is recorded.
#[derive(Debug)]
pub struct Told {
    decision_id: String,
    outcome: Outcome,
    shown: Shown,
    changed: bool,
    _receipt: AuditReceipt,
}

impl Told {
    /// Names the audit record.
    #[must_use]
    pub fn decision_id(&self) -> &str {
        &self.decision_id
    }

    /// What came of the call.
    #[must_use]
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// What is shown.
    #[must_use]
    pub fn shown(&self) -> &Shown {
        &self.shown
    }

    /// Whether there was anything to change.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.changed
    }
}

/// Who acts, as far as that is proved.
enum Actor {
    Person(Proving),
    System { name: String, roles: BTreeSet<RoleName> },
}

impl Actor {
    /// `None`: nobody is verified.
    fn agent(&self) -> Option<Agent<'_>> {
        match self {
            Self::Person(proving) => proving.proved.as_ref().ok().map(Agent::Person),
            Self::System { roles, .. } => Some(Agent::System(roles)),
        }
    }

    /// As the audit has him, and what he calls himself.
    fn person(&self) -> (Person, Option<String>) {
        match self {
            Self::Person(proving) => (proving.person(), None),
            Self::System { name, roles } => (Person::of_system(roles), Some(name.clone())),
        }
    }
}

/// What a call came to, before it is recorded.
struct Found {
    outcome: Outcome,
    cause: Option<String>,
    accounts: Vec<AccountId>,
    contacts: Vec<ContactId>,
    role: Option<String>,
    fields: Vec<String>,
    /// Nothing was written, by wish.
    is_rehearsal: bool,
    /// Nothing was written yet.
    is_intended: bool,
    /// It was answered before, under this decision id.
    repeats: Option<String>,
    committed: Option<Revision>,
    shown: Shown,
    /// Whether there was anything to change.
    changed: bool,
}

impl Found {
    fn of(outcome: Outcome) -> Self {
        Self {
            outcome,
            cause: None,
            accounts: Vec::new(),
            contacts: Vec::new(),
            role: None,
            fields: Vec::new(),
            is_rehearsal: false,
            is_intended: false,
            repeats: None,
            committed: None,
            shown: Shown::default(),
            changed: false,
        }
    }

    fn refused(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound => Self::of(Outcome::NotFound),
            Refusal::NotPermitted(cause) => Self { cause: Some(cause), ..Self::of(Outcome::NotPermitted) },
            Refusal::FreshLoginRequired => Self::of(Outcome::FreshLoginRequired),
            Refusal::ChangedMeanwhile => Self::of(Outcome::ChangedMeanwhile),
            Refusal::Conflict(field) => Self::of(Outcome::Conflict(field)),
            Refusal::Invalid(field) => Self::of(Outcome::Invalid(field)),
            Refusal::LastAdmin => Self::of(Outcome::LastAdmin),
            Refusal::PrimaryAdmin => Self::of(Outcome::PrimaryAdmin),
        }
    }
}

impl Managing {
    async fn prove(&self, asked: &Asked) -> Result<Actor, ManageError> {
        Ok(match &asked.by {
            By::Person(login) => Actor::Person(login.prove(&*self.directory, self.login_max_age, &*self.clock).await?),
            By::System(name) => Actor::System { name: name.clone(), roles: asked.client.roles.clone() },
        })
    }

    /// Records an answer; only then there is one.
    async fn tell(&self, asked: &Asked, actor: &Actor, seen: Revision, found: Found) -> Result<Told, ManageError> {
        self.tell_under(random_id()?, asked, actor, seen, found).await
    }

    /// The same, under a decision id that was drawn before. Whoever asks again is told the one of before.
    async fn tell_under(
        &self,
        decision_id: String,
        asked: &Asked,
        actor: &Actor,
        seen: Revision,
        found: Found,
    ) -> Result<Told, ManageError> {
        let record = self.record(asked, actor, seen, decision_id.clone(), &found);
        let receipt = self.trail.record(record).await?;
        let Found { outcome, shown, changed, repeats, .. } = found;
        Ok(Told { decision_id: repeats.unwrap_or(decision_id), outcome, shown, changed, _receipt: receipt })
    }

    fn record(&self, asked: &Asked, actor: &Actor, seen: Revision, decision_id: String, found: &Found) -> Record {
        let took = self.clock.uptime().saturating_sub(asked.arrived);
        let (person, system) = actor.person();
        let (client, rpc) = (&asked.client.name, asked.rpc.name());
        let call = match &asked.by {
            By::Person(login) => Call::new(client, rpc, &asked.request_id, &login.interaction),
            By::System(_) => Call::of_system(client, rpc, &asked.request_id),
        };
        Record::Directory(Box::new(DirectoryRecord {
            call,
            person,
            system,
            decision_id,
            outcome: if found.is_intended { DirectoryRecord::INTENDED } else { found.outcome.code() }.to_owned(),
            cause: found.cause.clone(),
            field: found.outcome.field().map(str::to_owned),
            accounts: found.accounts.clone(),
            contacts: found.contacts.clone(),
            role: found.role.clone(),
            fields: found.fields.clone(),
            validate_only: found.is_rehearsal,
            repeats: found.repeats.clone(),
            committed: found.committed,
            policy_revision: self.policy.snapshot().revision().to_owned(),
            directory_revision: seen,
            took_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        }))
    }
}
