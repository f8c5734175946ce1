//! Shows and settles escalations on behalf of somebody who is logged in to the portal.
//!
//! Who may see and do what, [`crate::escalation::rules`] say; the store asks them in the transaction. Here the person is
//! proved, and each answer is recorded before it is given.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{
    ManageError,
    login::{Asked, Proving, random_id},
};
use crate::{
    audit::{
        AuditReceipt, Record, Trail, ended,
        record::{Call, EscalationRecord},
    },
    clock::Clock,
    directory::{
        AccountId, ContactId, Directory,
        escalations::{After, Escalations, SettleOutcome, Settlement, Wanted},
    },
    escalation::{
        Filed, SETTLING_LOGIN_AGE,
        rules::{Sight, Step, Withheld},
    },
    identity::Verified,
};

mod watch;

pub use watch::Watching;

/// The use cases, and what they work with.
#[derive(Clone)]
pub struct Escalating {
    /// Who is on record.
    pub directory: Arc<dyn Directory>,
    /// What was put before whom.
    pub escalations: Arc<dyn Escalations>,
    /// What happened.
    pub trail: Arc<Trail>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// A portal login older than this proves nothing.
    pub login_max_age: SignedDuration,
}

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It is done, or shown.
    Done,
    /// The login proves nobody.
    NotVerified,
    /// Verified, but too long ago for this.
    FreshLoginRequired,
    /// No such escalation, or none that he may see.
    NotFound,
    /// He sees it, and may not do this with it.
    NotPermitted,
    /// It does not wait any more.
    NotPending,
}

impl Outcome {
    /// Stable code, for the audit and docs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NotVerified => "not_verified",
            Self::FreshLoginRequired => "fresh_login_required",
            Self::NotFound => "not_found",
            Self::NotPermitted => "not_permitted",
            Self::NotPending => "not_pending",
        }
    }
}

/// An answer that is recorded.
#[derive(Debug)]
pub struct Told {
    decision_id: String,
    outcome: Outcome,
    escalations: Vec<Filed>,
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
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// What is shown.
    #[must_use]
    pub fn escalations(&self) -> &[Filed] {
        &self.escalations
    }
}

impl Escalating {
    /// One escalation, for whom it concerns. Runs as a task of its own.
    ///
    /// # Errors
    /// [`ManageError`], when no honest answer is possible.
    pub async fn get(&self, mut asked: Asked, id: String) -> Result<Told, ManageError> {
        let this = self.clone();
        let task = tokio::spawn(async move {
            let _place = asked.place.take();
            let now = this.clock.now();
            let proving = this.prove(&asked).await?;
            let Ok(verified) = &proving.proved else {
                return this.tell(&asked, &proving, Outcome::NotVerified, Some(id), Vec::new()).await;
            };
            let sight = Sight::of(verified.standing());
            let found = this.escalations.find_escalation(&id, now).await?;
            match found.filter(|filed| sight.is_some_and(|sight| sight.has(filed))) {
                Some(filed) => this.tell(&asked, &proving, Outcome::Done, Some(id), vec![filed]).await,
                None => this.tell(&asked, &proving, Outcome::NotFound, Some(id), Vec::new()).await,
            }
        });
        ended(task).await
    }

    /// A page of escalations, the newest first. Runs as a task of its own.
    ///
    /// # Errors
    /// [`ManageError`], when no honest answer is possible.
    pub async fn list(
        &self,
        mut asked: Asked,
        only_pending: bool,
        after: Option<After>,
        limit: u32,
    ) -> Result<Told, ManageError> {
        let this = self.clone();
        let task = tokio::spawn(async move {
            let _place = asked.place.take();
            let now = this.clock.now();
            let proving = this.prove(&asked).await?;
            let sight = proving.proved.as_ref().ok().and_then(|verified| Sight::of(verified.standing()));
            let Some(sight) = sight else {
                return this.tell(&asked, &proving, Outcome::NotVerified, None, Vec::new()).await;
            };
            let wanted = Wanted { sight, only_pending, after, limit };
            let page = this.escalations.list_escalations(&wanted, now).await?;
            this.tell(&asked, &proving, Outcome::Done, None, page).await
        });
        ended(task).await
    }

    /// Approves, refuses or takes back. Runs as a task of its own.
    ///
    /// # Errors
    /// [`ManageError`], when no honest answer is possible.
    pub async fn settle(&self, mut asked: Asked, id: String, step: Step) -> Result<Told, ManageError> {
        let this = self.clone();
        let task = tokio::spawn(async move {
            let _place = asked.place.take();
            let now = this.clock.now();

            // 1. Who is it?
            let proving = this.prove(&asked).await?;
            let Ok(verified) = &proving.proved else {
                return this.tell(&asked, &proving, Outcome::NotVerified, Some(id), Vec::new()).await;
            };

            // 2. Freshly enough for a decision?
            if !is_fresh_enough(step, verified, now) {
                return this.tell(&asked, &proving, Outcome::FreshLoginRequired, Some(id), Vec::new()).await;
            }

            // 3. What is intended is on disk before anything is changed.
            this.intend(&asked, &proving, &id).await?;

            // 4. The rules decide, in the transaction that writes.
            let by = verified.contact().clone();
            let settled = this.take(&asked, &id, step, by, now).await?;

            // 5. Record, and answer.
            let (outcome, shown) = match settled {
                SettleOutcome::Settled(filed) => (Outcome::Done, vec![filed]),
                SettleOutcome::Withheld(Withheld::NotFound, _) => (Outcome::NotFound, Vec::new()),
                SettleOutcome::Withheld(Withheld::NotPermitted, _) => (Outcome::NotPermitted, Vec::new()),
                SettleOutcome::Withheld(Withheld::NotPending, filed) => {
                    (Outcome::NotPending, filed.into_iter().collect())
                }
            };
            this.tell(&asked, &proving, outcome, Some(id), shown).await
        });
        ended(task).await
    }

    /// The newest escalations of an account, after one of them, for an operator.
    ///
    /// # Errors
    /// [`ManageError::Unknown`] for an unknown account.
    pub async fn newest(
        &self,
        account: &AccountId,
        only_pending: bool,
        after: Option<After>,
        limit: u32,
    ) -> Result<Vec<Filed>, ManageError> {
        self.directory.find_account(account).await?.ok_or(ManageError::Unknown("account"))?;
        let sight = Sight::OfAccount(account.clone());
        let wanted = Wanted { sight, only_pending, after, limit: limit.min(LONGEST_PAGE) };
        Ok(self.escalations.list_escalations(&wanted, self.clock.now()).await?)
    }

    /// An escalation, for an operator.
    ///
    /// # Errors
    /// [`ManageError::Unknown`].
    pub async fn find(&self, id: &str) -> Result<Filed, ManageError> {
        let found = self.escalations.find_escalation(id, self.clock.now()).await?;
        found.ok_or(ManageError::Unknown("escalation"))
    }

    async fn prove(&self, asked: &Asked) -> Result<Proving, ManageError> {
        asked.by.prove(&*self.directory, self.login_max_age, &*self.clock).await
    }

    async fn take(
        &self,
        asked: &Asked,
        id: &str,
        step: Step,
        by: ContactId,
        at: Timestamp,
    ) -> Result<SettleOutcome, ManageError> {
        let client = asked.by.client.name.clone();
        let settlement = Settlement { id: id.to_owned(), step, by, client, at };
        Ok(self.escalations.settle_escalation(settlement).await?)
    }

    async fn intend(&self, asked: &Asked, proving: &Proving, id: &str) -> Result<(), ManageError> {
        let escalations = vec![id.to_owned()];
        let record = self.record(asked, proving, random_id()?, EscalationRecord::INTENDED, escalations, None);
        self.trail.record(record).await?;
        Ok(())
    }

    /// Records an answer; only then there is one.
    async fn tell(
        &self,
        asked: &Asked,
        proving: &Proving,
        outcome: Outcome,
        named: Option<String>,
        shown: Vec<Filed>,
    ) -> Result<Told, ManageError> {
        let decision_id = random_id()?;
        let state = match (&named, shown.first()) {
            (Some(_), Some(filed)) => Some(filed.state.code().to_owned()),
            (_, _) => None,
        };
        let escalations = match named {
            Some(id) => vec![id],
            None => shown.iter().map(|filed| filed.id.clone()).collect(),
        };
        let record = self.record(asked, proving, decision_id.clone(), outcome.code(), escalations, state);
        let receipt = self.trail.record(record).await?;
        Ok(Told { decision_id, outcome, escalations: shown, _receipt: receipt })
    }

    fn record(
        &self,
        asked: &Asked,
        proving: &Proving,
        decision_id: String,
        outcome: &str,
        escalations: Vec<String>,
        state: Option<String>,
    ) -> Record {
        let took = self.clock.uptime().saturating_sub(asked.arrived);
        Record::Escalation(Box::new(EscalationRecord {
            call: Call::new(&asked.by.client.name, asked.rpc.name(), &asked.request_id, &asked.by.interaction),
            person: proving.person(),
            system: None,
            decision_id,
            outcome: outcome.to_owned(),
            escalations,
            state,
            directory_revision: proving.revision(),
            took_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        }))
    }
}

/// A page is read in one snapshot, and sent in one message.
const LONGEST_PAGE: u32 = 1000;

/// Who approves or refuses has logged in a moment ago: the portal may have been left open.
fn is_fresh_enough(step: Step, verified: &Verified, now: Timestamp) -> bool {
    match step {
        Step::Approve | Step::Refuse => now.duration_since(verified.proved_at()) <= SETTLING_LOGIN_AGE,
        Step::Cancel => true,
    }
}
