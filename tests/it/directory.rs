//! The contract of [`Directory`]: every store must pass each of these functions, in an empty store of its own.

use std::sync::Arc;

use countersign::{
    data_dir::{DataDir, DataDirError},
    directory::{
        AccountId, AccountSelector, Actor, Change, Contact, ContactId, ContactSelector, ContactStatus, Directory,
        DirectoryError, E164, EndOutcome, Generation, Generations, INTERACTION_LIFE, InteractionState, KeyCheck,
        KeyChecks, OpenOutcome, Revision, RoleAssignment, RoleName, Scope, Selection, SiteId, Standing, SubjectHints,
        escalations::Escalations,
        import::{ContactRow, Finding, Problem, Row, Terms, Told},
        look::{AttemptFacts, AttemptFrom, Freshness, Look, Seen, Whose},
        sample,
        sqlite::{OpenError, Store},
    },
    escalation::{Escalation, EscalationState, NewEscalation, PendingLimits},
    interaction::InteractionKey,
};
use jiff::{SignedDuration, Timestamp};

mod batches;
mod closing;
mod contract;
mod copy;
mod embedded;
mod escalations;
mod fleet;
mod interface;
mod notices;
mod people;
mod review;
mod sql_changes;
mod tls;
mod trouble;

/// A directory under test, with the sample company in it.
type Sampled = Arc<dyn Directory>;

fn now() -> Timestamp {
    "2026-11-24T09:00:00.123456Z".parse().unwrap()
}

fn later(hours: i64) -> Timestamp {
    now() + SignedDuration::from_hours(hours)
}

async fn fill(directory: &dyn Directory) -> Revision {
    directory.apply(sample::changes(now()), Actor::Sidecar, now()).await.unwrap()
}

fn account(id: &str) -> Option<AccountId> {
    Some(AccountId::new(id))
}

fn contact(id: &str) -> Option<ContactId> {
    Some(ContactId::new(id))
}

async fn load(directory: &dyn Directory, id: &str) -> Standing {
    directory.find_standing(&ContactId::new(id)).await.unwrap().unwrap()
}

/// Where an interaction stands at a time.
async fn interaction(directory: &dyn Directory, key: InteractionKey, now: Timestamp) -> Option<InteractionState> {
    let look = Look { interaction: Some(key), ..Look::at_subject(SubjectHints::default(), now) };
    directory.look(&look).await.unwrap().interaction
}

async fn apply(directory: &dyn Directory, change: Change) -> Result<Revision, DirectoryError> {
    directory.apply(vec![change], Actor::Operator("root".into()), now()).await
}

fn role(contact: &str, role: &str, scope: Scope) -> RoleAssignment {
    RoleAssignment { contact: ContactId::new(contact), role: RoleName::new(role), scope, granted: now() }
}

fn key(id: &str) -> InteractionKey {
    InteractionKey { group: "voice".into(), id: id.into() }
}
