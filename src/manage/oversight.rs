//! Shows a system with roles what waits for primary administrators, and how passphrases stand: what an operator sees on the host.
//!
//! It only looks. Approving, and all that touches a passphrase, is for persons who are logged in.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    ManageError, Told,
    escalation::{self, Escalating},
    login::random_id,
    own_passphrase::{self, Kind},
    passphrase::{Passphrases, Whose},
};
use crate::{
    audit::{
        Record, ended,
        record::{Call, EscalationRecord, PassphraseRecord, Person},
    },
    client::{ClientSystem, Rpc},
    directory::{AccountId, Revision, credential::CredentialStatus, escalations::After},
    escalation::Filed,
    people::{Agent, Asking, Matter},
    policy::Current,
};

/// The action of the bundle that permits it: whoever may have an account reviewed.
const ACTION: &str = "account.review";

/// The use cases, and what they work with.
#[derive(Clone)]
pub struct Oversight {
    /// What was put before whom.
    pub escalating: Escalating,
    /// How passphrases stand.
    pub passphrases: Passphrases,
    /// Who may.
    pub policy: Arc<Current>,
}

/// A call of a system that acts by itself; the edge has checked that it may.
pub struct Asked {
    /// By which RPC.
    pub rpc: Rpc,
    /// The client system.
    pub client: Arc<ClientSystem>,
    /// What it calls itself.
    pub name: String,
    /// Correlates log lines and audit records.
    pub request_id: String,
    /// When the call arrived, on the monotonic clock.
    pub arrived: Duration,
    /// Its place among the calls that run at the same time.
    pub place: OwnedSemaphorePermit,
}

/// Which escalations of an account.
#[derive(Clone, Debug)]
pub struct Page {
    /// The account.
    pub account: AccountId,
    /// Only those that wait.
    pub only_pending: bool,
    /// After this one.
    pub after: Option<After>,
    /// At most so many.
    pub limit: u32,
}

impl Oversight {
    /// One escalation, of whatever account. Runs as a task of its own.
    ///
    /// # Errors
    /// [`ManageError`], when no honest answer is possible.
    pub async fn escalation(
        &self,
        asked: Asked,
        id: String,
    ) -> Result<(Told<escalation::Outcome>, Vec<Filed>), ManageError> {
        let this = self.clone();
        let task = tokio::spawn(async move {
            let seen = this.passphrases.directory.revision().await?;
            let found = match this.escalating.find(&id).await {
                Err(ManageError::Unknown(_)) => None,
                found => Some(found?),
            };
            let account = found.as_ref().map(|filed| filed.account.clone());
            let (outcome, shown) = match (this.may_see(&asked, account.as_ref()).await?, found) {
                (Sight::Nothing, _) => (escalation::Outcome::NotPermitted, None),
                (Sight::Account, Some(filed)) => (escalation::Outcome::Done, Some(filed)),
                (Sight::Account | Sight::NoAccount, _) => (escalation::Outcome::NotFound, None),
            };
            let state = shown.as_ref().map(|filed| filed.state.code().to_owned());
            let shown: Vec<Filed> = shown.into_iter().collect();
            let told = this.tell_of_escalations(&asked, seen, outcome, account, vec![id], state).await?;
            Ok((told, shown))
        });
        ended(task).await
    }

    /// A page of the escalations of an account, the newest first. Runs as a task of its own.
    ///
    /// # Errors
    /// [`ManageError`], when no honest answer is possible.
    pub async fn escalations(
        &self,
        asked: Asked,
        page: Page,
    ) -> Result<(Told<escalation::Outcome>, Vec<Filed>), ManageError> {
        let this = self.clone();
        let task = tokio::spawn(async move {
            let Page { account, only_pending, after, limit } = page;
            let seen = this.passphrases.directory.revision().await?;
            let (outcome, shown) = match this.may_see(&asked, Some(&account)).await? {
                Sight::Nothing => (escalation::Outcome::NotPermitted, Vec::new()),
                Sight::NoAccount => (escalation::Outcome::NotFound, Vec::new()),
                Sight::Account => {
                    (escalation::Outcome::Done, this.escalating.newest(&account, only_pending, after, limit).await?)
                }
            };
            let ids = shown.iter().map(|filed| filed.id.clone()).collect();
            let told = this.tell_of_escalations(&asked, seen, outcome, Some(account), ids, None).await?;
            Ok((told, shown))
        });
        ended(task).await
    }

    /// How a passphrase stands; never its length, never a hint. Runs as a task of its own.
    ///
    /// # Errors
    /// [`ManageError`], when no honest answer is possible.
    pub async fn passphrase(
        &self,
        asked: Asked,
        whose: Whose,
        kind: Kind,
    ) -> Result<(own_passphrase::Told, Option<CredentialStatus>), ManageError> {
        let this = self.clone();
        let task = tokio::spawn(async move {
            let seen = this.passphrases.directory.revision().await?;
            let (outcome, status) = match this.may_see(&asked, Some(&whose.account)).await? {
                Sight::Nothing => (own_passphrase::Outcome::NotPermitted, None),
                Sight::NoAccount => (own_passphrase::Outcome::NotFound, None),
                Sight::Account => {
                    let status = match kind {
                        Kind::Own | Kind::Account => this.passphrases.status(&whose).await,
                        Kind::Keypad => this.passphrases.keypad_status(&whose).await,
                    };
                    match status {
                        Err(ManageError::Unknown(_)) => (own_passphrase::Outcome::NotFound, None),
                        Err(error) => return Err(error),
                        Ok(None) => (own_passphrase::Outcome::NotSet, None),
                        Ok(status) => (own_passphrase::Outcome::Done, status),
                    }
                }
            };
            let decision_id = random_id()?;
            let record = Record::Passphrase(Box::new(PassphraseRecord {
                call: Call::of_system(&asked.client.name, asked.rpc.name(), &asked.request_id),
                person: Person { contact: whose.contact, ..person(&asked, Some(whose.account)) },
                system: Some(asked.name.clone()),
                decision_id: decision_id.clone(),
                credential: Some(kind.code().to_owned()),
                outcome: outcome.code().to_owned(),
                weakness: None,
                directory_revision: seen,
                took_us: this.took_us(&asked),
            }));
            let receipt = this.passphrases.trail.record(record).await?;
            Ok((own_passphrase::Told::recorded(decision_id, outcome, receipt), status))
        });
        ended(task).await
    }

    /// Policy first: whoever may see nothing learns not even which accounts there are.
    async fn may_see(&self, asked: &Asked, account: Option<&AccountId>) -> Result<Sight, ManageError> {
        let found = match account {
            Some(id) => self.passphrases.directory.find_account(id).await?,
            None => None,
        };
        let bundle = self.policy.snapshot();
        let asking = Asking {
            bundle: &bundle,
            agent: Agent::System(&asked.client.roles),
            now: self.passphrases.clock.now(),
            // Of a system nothing is asked that these would change.
            cool_off: SignedDuration::ZERO,
            fresh_within: SignedDuration::ZERO,
        };
        Ok(match (asking.may(&Matter::of(ACTION, found.as_ref())), found) {
            (Err(_), _) => Sight::Nothing,
            (Ok(()), None) => Sight::NoAccount,
            (Ok(()), Some(_)) => Sight::Account,
        })
    }

    async fn tell_of_escalations(
        &self,
        asked: &Asked,
        seen: Revision,
        outcome: escalation::Outcome,
        account: Option<AccountId>,
        escalations: Vec<String>,
        state: Option<String>,
    ) -> Result<Told<escalation::Outcome>, ManageError> {
        let decision_id = random_id()?;
        let record = Record::Escalation(Box::new(EscalationRecord {
            call: Call::of_system(&asked.client.name, asked.rpc.name(), &asked.request_id),
            person: person(asked, account),
            system: Some(asked.name.clone()),
            decision_id: decision_id.clone(),
            outcome: outcome.code().to_owned(),
            escalations,
            state,
            directory_revision: seen,
            took_us: self.took_us(asked),
        }));
        let receipt = self.passphrases.trail.record(record).await?;
        Ok(Told::recorded(decision_id, outcome, receipt))
    }

    fn took_us(&self, asked: &Asked) -> u64 {
        let took = self.passphrases.clock.uptime().saturating_sub(asked.arrived);
        u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
    }
}

/// What a system may see.
enum Sight {
    /// Nothing: the policy does not permit it.
    Nothing,
    /// Whatever there is, and this is not there.
    NoAccount,
    /// All of the account.
    Account,
}

/// Whom a look is about, as the audit has it.
fn person(asked: &Asked, account: Option<AccountId>) -> Person {
    Person { account, ..Person::of_system(&asked.client.roles) }
}
