//! Reviews accounts (S11 to S14) on behalf of who may: by the same rules as the operator's command.

use jiff::SignedDuration;

use super::{Asked, Found, ManageError, Managing, Outcome, Told};
use crate::{
    audit::ended,
    directory::AccountId,
    manage::review::Reviewing,
    people::{Agent, Asking, Matter, Refusal},
};

/// The action of the bundle that permits it.
const ACTION: &str = "account.review";

impl Managing {
    /// Begins a review of an account, or, for a system that names none, of all. That it is begun is recorded before anything is
    /// found. Runs as a task of its own.
    ///
    /// # Errors
    /// [`ManageError`], when no honest answer is possible.
    pub async fn review(
        &self,
        mut asked: Asked,
        account: Option<AccountId>,
        idle_after: SignedDuration,
    ) -> Result<(Told, Option<Reviewing>), ManageError> {
        let this = self.clone();
        let task = tokio::spawn(async move {
            let _place = asked.place.take();
            let now = this.clock.now();
            let seen = this.directory.revision().await?;
            let actor = this.prove(&asked).await?;
            let (mut found, reviewing) = match actor.agent() {
                None => (Found::of(Outcome::NotVerified), None),
                Some(agent) => {
                    let bundle = this.policy.snapshot();
                    let asking = Asking {
                        bundle: &bundle,
                        agent,
                        now,
                        cool_off: this.cool_off,
                        fresh_within: this.fresh_within,
                    };
                    match this.may_review(&asking, account.as_ref()).await? {
                        Err(refusal) => (Found::refused(refusal), None),
                        Ok(only) => {
                            let reviewing = this.reviews.begin(only, idle_after).await?;
                            (Found::of(Outcome::Done), Some(reviewing))
                        }
                    }
                }
            };
            found.accounts = account.into_iter().collect();
            Ok((this.tell(&asked, &actor, seen, found).await?, reviewing))
        });
        ended(task).await
    }

    /// What is reviewed: a person's own account if he names none. Tenant before policy (A16).
    async fn may_review(
        &self,
        asking: &Asking<'_>,
        account: Option<&AccountId>,
    ) -> Result<Result<Option<AccountId>, Refusal>, ManageError> {
        let only = match (account, asking.agent) {
            (Some(account), _) => Some(account.clone()),
            (None, Agent::Person(verified)) => Some(verified.account().clone()),
            (None, Agent::System(_) | Agent::Operator) => None,
        };
        let Some(id) = only else { return Ok(asking.may(&Matter::of(ACTION, None)).map(|()| None)) };
        let found = self.directory.find_account(&id).await?.filter(|account| asking.agent.reaches(&account.id));
        let Some(account) = found else { return Ok(Err(Refusal::NotFound)) };
        Ok(asking.may(&Matter::of(ACTION, Some(&account))).map(|()| Some(id)))
    }
}
