//! Step 5 with an approved escalation: it raises the permit only, and never the identity.
//!
//! The matter is decided anew, by the question that the primary administrator would be asked now, but with the proof that
//! the asker brought. The store asks it once more in the transaction that uses the approval up.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use super::{
    Ask, Cause, Undecided, cool_off,
    permit::{self, Asker, Bearer, Judged, Judgement, Matter, Verdict},
    recipe::Deciding,
};
use crate::{
    directory::{
        SiteId, Standing,
        escalations::{Permits, UseOutcome},
    },
    escalation::rules::{self, Claim, Worthless},
    identity::{Method, ProofBand, Verified},
    interaction::Channel,
    policy::{Action, AttributeValue, Bundle},
};

/// A refused matter with all on which it depends, to be asked again of an approver within another transaction.
struct Raised {
    bundle: Arc<Bundle>,
    action: Arc<Action>,
    channel: Channel,
    site: Option<SiteId>,
    attributes: BTreeMap<String, AttributeValue>,
    asker: Standing,
    method: Method,
    proof: ProofBand,
    in_cool_off: bool,
    cool_off: SignedDuration,
    now: Timestamp,
}

impl Raised {
    /// What it comes to with this approver.
    fn judged(&self, approver: &Standing) -> Judged {
        let matter = Matter {
            bundle: &self.bundle,
            action: &self.action,
            channel: self.channel,
            site: self.site.as_ref(),
            attributes: &self.attributes,
        };
        let bearer = Bearer {
            standing: &self.asker,
            method: self.method,
            proof: self.proof,
            in_cool_off: self.in_cool_off || cool_off::is_running(approver, self.cool_off, self.now),
        };
        match permit::judge(matter, Asker::Proved(bearer)) {
            Judgement::Final(judged) => judged,
            Judgement::Escalates(refused) => refused.approved_by(approver),
        }
    }
}

impl Deciding<'_> {
    /// Judges what policy refused to `verified`, who shows the approval `id`. A good one is used up by that.
    pub(super) async fn judge_approved(
        &self,
        id: &str,
        verified: &Verified,
        in_cool_off: bool,
        action: &Arc<Action>,
        ask: &Ask,
    ) -> Result<Judged, Undecided> {
        let raised = Arc::new(Raised {
            bundle: Arc::clone(self.bundle()),
            action: Arc::clone(action),
            channel: self.call().interaction.channel,
            site: ask.resource.site.clone(),
            attributes: ask.resource.attributes.clone(),
            asker: verified.standing().clone(),
            method: verified.method(),
            proof: verified.band(self.now(), self.rooms().terms.fresh_within),
            in_cool_off,
            cool_off: self.rooms().terms.cool_off,
            now: self.now(),
        });
        let claim = Claim {
            id: id.to_owned(),
            account: verified.account().clone(),
            contact: verified.contact().clone(),
            action: action.name.clone(),
            resource: ask.resource.canonical(),
            client: self.call().client.name.clone(),
        };

        // A proof that is too weak is asked for anew, and uses nothing up.
        if let Some(challenge) = self.challenge(&raised, &claim, verified).await? {
            return Ok(challenge);
        }
        let question = Arc::clone(&raised);
        let permits = Permits::by(move |approver| matches!(question.judged(approver).verdict, Verdict::Permitted(_)));
        Ok(match self.rooms().escalations.use_escalation(claim, permits, self.now()).await? {
            UseOutcome::Used(approver) => raised.judged(&approver),
            UseOutcome::Worthless(Worthless::Pending) => {
                Judged::without_rule(Verdict::Escalate, Cause::PutBeforePrimaryAdmin)
            }
            UseOutcome::Worthless(worthless) => permit::worthless(worthless),
        })
    }

    /// Better proof, if that is all that a good approval lacks.
    async fn challenge(
        &self,
        raised: &Raised,
        claim: &Claim,
        verified: &Verified,
    ) -> Result<Option<Judged>, Undecided> {
        let Some(filed) = self.rooms().escalations.find_escalation(&claim.id, self.now()).await? else {
            return Ok(None);
        };
        let Some(settled) = &filed.settled else { return Ok(None) };
        let approver = self.rooms().directory.find_standing(&settled.by).await?;
        let asker = &verified.standing().contact;
        let Ok(approver) = rules::claim(claim, &filed, approver.as_ref(), Some(asker), self.now()) else {
            return Ok(None);
        };
        let judged = raised.judged(approver);
        Ok(matches!(judged.verdict, Verdict::Challenge { .. }).then_some(judged))
    }
}
