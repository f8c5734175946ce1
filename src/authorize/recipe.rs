//! The recipe: admit, select, is proof needed, prove, permit, record, answer.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{
    Allow, Answer, Ask, Authorizer, Call, Cause, Decision, Escalate, Evidence, Freshness, Reason, Reply, Step,
    Undecided, cool_off,
    prove::{Proved, Unproved},
};
use crate::{
    audit::{
        Record,
        record::{BatchRecord, Call as CallEntry, DecisionRecord, Item, Person},
    },
    client::Rpc,
    directory::OpenOutcome,
    directory::{Selection, Standing, role::effective_roles},
    escalation::{ESCALATION_LIFE, NewEscalation},
    identity::{Method, Verified},
    policy::{Action, Bundle, Question, Ruling},
};

/// An answer, and what only the audit is told about it.
struct Decided {
    answer: Answer,
    item: Item,
}

/// One call, from its first step to its last. It holds the only snapshot of the bundle: whatever is put in force meanwhile,
/// a call is decided, answered and recorded by one bundle.
pub(super) struct Deciding<'a> {
    rooms: &'a Authorizer,
    bundle: Arc<Bundle>,
    call: &'a Call,
    escalate: Escalate,
    now: Timestamp,
}

/// Everything that the call's actions have in common once step 4 is done.
struct Footing {
    proved: Proved,
    in_cool_off: bool,
}

/// What steps 1 to 5 come to.
struct Done {
    decided: Vec<Decided>,
    proved: Proved,
    person: Person,
}

impl Authorizer {
    /// Takes the call's snapshot.
    pub(super) fn begin<'a>(&'a self, call: &'a Call, escalate: Escalate) -> Deciding<'a> {
        Deciding { rooms: self, bundle: self.policy.snapshot(), call, escalate, now: self.clock.now() }
    }

    /// Says which step a call is in, for its stopwatch.
    pub(super) fn enter(&self, call: &Call, step: Step) {
        call.stopwatch.enter(step, self.clock.uptime());
    }

    /// The time since a call arrived, in microseconds.
    pub(super) fn took_us(&self, arrived: Duration) -> u64 {
        let took = self.clock.uptime().saturating_sub(arrived);
        u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
    }
}

impl Deciding<'_> {
    pub(super) async fn decide_one(self, ask: Ask) -> Result<Reply, Undecided> {
        let Done { decided, proved, person } = self.decide(std::slice::from_ref(&ask)).await?;
        let Some(Decided { answer, item }) = decided.into_iter().next() else {
            return Err(Undecided::Defect("one question, no answer".to_owned()));
        };
        let record = Record::Decision(Box::new(DecisionRecord {
            call: self.entry(Rpc::Authorize),
            person,
            item,
            policy_revision: self.bundle.revision().to_owned(),
            directory_revision: proved.revision(),
            took_us: self.rooms.took_us(self.call.arrived),
        }));
        self.recorded(record, vec![answer], proved).await
    }

    pub(super) async fn decide_batch(self, asks: Vec<Ask>) -> Result<Reply, Undecided> {
        let Done { decided, proved, person } = self.decide(&asks).await?;
        let (answers, items) = decided.into_iter().map(|decided| (decided.answer, decided.item)).unzip();
        let record = Record::Batch(Box::new(BatchRecord {
            call: self.entry(Rpc::BatchAuthorize),
            person,
            items,
            policy_revision: self.bundle.revision().to_owned(),
            directory_revision: proved.revision(),
            took_us: self.rooms.took_us(self.call.arrived),
        }));
        self.recorded(record, answers, proved).await
    }

    fn entry(&self, rpc: Rpc) -> CallEntry {
        let Call { client, interaction, request_id, .. } = self.call;
        CallEntry::new(&client.name, rpc.name(), request_id, interaction)
    }

    /// Steps 1 to 5 for every action of a call.
    async fn decide(&self, asks: &[Ask]) -> Result<Done, Undecided> {
        // 1. admit: the edge has checked the client's grants; what is asked for must be known.
        let actions =
            asks.iter().enumerate().map(|(at, ask)| self.admit(at, ask, asks.len())).collect::<Result<Vec<_>, _>>()?;

        // 2. select: whom the words select; nobody is no error.
        self.enter(Step::Directory);
        let selection = self.rooms.directory.find_subject(&self.call.subject).await?;

        // 3. is proof needed? Not for what is open, and not for what nobody could do here.
        self.enter(Step::Policy);
        let accepted = self.accepted_by_any(&actions);

        // 4. prove, once for all actions.
        let proved = if accepted.is_empty() {
            Proved::No(Unproved::NotNeeded)
        } else {
            self.enter(Step::Directory);
            self.rooms.prove(self.call, &selection, &accepted, self.now).await?
        };
        self.fresh_enough(&proved)?;

        // 5. permit, each action on its own (A23).
        self.enter(Step::Directory);
        let footing = Footing { in_cool_off: self.in_cool_off(&proved).await?, proved };
        self.enter(Step::Policy);
        let mut decided = Vec::with_capacity(asks.len());
        for (action, ask) in actions.iter().zip(asks) {
            decided.push(self.permit(&footing, action, ask).await?);
        }
        let Footing { proved, .. } = footing;
        let person = person(self.call, selection, &proved);
        Ok(Done { decided, proved, person })
    }

    /// Finds the action and checks the resource against its declaration.
    fn admit(&self, at: usize, ask: &Ask, of: usize) -> Result<Arc<Action>, Undecided> {
        let path = |field: &str| if of == 1 { field.to_owned() } else { format!("items[{at}].{field}") };
        let Some(action) = self.bundle.find_action(&ask.action) else {
            return Err(Undecided::Invalid { field: path("action"), why: "the policy has no such action".to_owned() });
        };
        self.bundle
            .check_resource(action, ask.resource.kind.as_deref(), &ask.resource.attributes)
            .map_err(|error| Undecided::Invalid { field: path(&error.field), why: error.why })?;
        Ok(Arc::clone(action))
    }

    /// The methods that any of the actions that need proof would accept.
    fn accepted_by_any(&self, actions: &[Arc<Action>]) -> Vec<Method> {
        let channel = self.call.interaction.channel;
        let mut accepted = Vec::new();
        for action in actions.iter().filter(|action| self.bundle.open_permit(action, channel).is_none()) {
            for method in self.bundle.accepted_methods(action, channel) {
                if !accepted.contains(method) {
                    accepted.push(*method);
                }
            }
        }
        accepted
    }

    async fn in_cool_off(&self, proved: &Proved) -> Result<bool, Undecided> {
        let Proved::Yes { verified, .. } = proved else { return Ok(false) };
        let set = self.rooms.passphrases.credentials.last_set(verified.contact()).await?;
        Ok(cool_off::is_running(verified.standing(), set, self.rooms.terms.cool_off, self.now))
    }

    fn fresh_enough(&self, proved: &Proved) -> Result<(), Undecided> {
        match (self.call.freshness, proved) {
            (Freshness::AtLeast(asked), Proved::Yes { verified, .. }) if verified.standing().revision < asked => {
                Err(Undecided::DirectoryBehind)
            }
            (Freshness::AtLeast(_) | Freshness::Cached | Freshness::FromStore, _) => Ok(()),
        }
    }

    /// Step 5 for one action: open to everybody; or asked for proof; or tenant and scope, then policy.
    async fn permit(&self, footing: &Footing, action: &Arc<Action>, ask: &Ask) -> Result<Decided, Undecided> {
        let channel = self.call.interaction.channel;
        if let Some(permit) = self.bundle.open_permit(action, channel) {
            let allow = Allow::open(permit, self.act_before());
            return self.decided(action, ask, Decision::Allow(allow), Cause::OpenToEverybody, "");
        }
        let accepted = self.bundle.accepted_methods(action, channel);
        if accepted.is_empty() {
            let decision = Decision::Deny { reason: Reason::NotOnThisChannel, retry_after: None };
            return self.decided(action, ask, decision, Cause::NobodyCould, "");
        }
        match &footing.proved {
            Proved::No(unproved) => {
                let (decision, cause) = unproved_answer(*unproved, accepted);
                self.decided(action, ask, decision, cause, "")
            }
            Proved::Yes { verified, .. } => self.permit_verified(footing, action, ask, verified).await,
        }
    }

    async fn permit_verified(
        &self,
        footing: &Footing,
        action: &Arc<Action>,
        ask: &Ask,
        verified: &Verified,
    ) -> Result<Decided, Undecided> {
        let standing = verified.standing();
        let site = ask.resource.site.as_ref();
        if site.is_some_and(|site| !standing.account.has_site(site)) {
            let decision = Decision::Deny { reason: Reason::NotPermitted, retry_after: None };
            return self.decided(action, ask, decision, Cause::UnknownSite, "");
        }
        let channel = self.call.interaction.channel;
        let roles = effective_roles(&standing.account, &standing.assignments, site);
        let question = Question {
            action,
            channel,
            roles: &roles,
            method: Some(verified.method()),
            proof: verified.band(self.now, self.rooms.terms.fresh_within),
            primary_admin: standing.is_primary_admin(),
            in_cool_off: footing.in_cool_off,
            number_moves_locked: standing.account.number_moves_locked,
            business_exemption: standing.account.cpni_exemption.applies(),
            marketing_approved: standing.account.marketing_approved.is_some(),
            attributes: &ask.resource.attributes,
        };
        let rule = match self.bundle.decide(&question) {
            Ruling::Permitted(permit) => {
                let rule = permit.rule().to_owned();
                let allow = Allow::protected(verified, permit, self.act_before());
                return self.decided(action, ask, Decision::Allow(allow), Cause::PermittedByRule, &rule);
            }
            Ruling::Refused { rule } => rule,
        };
        if let Some(accepted) = self.better_proof_would_do(&question) {
            let decision = Decision::Challenge { reason: Reason::FreshEvidenceRequired, accepted, attempts_left: None };
            return self.decided(action, ask, decision, Cause::ProofTooWeak, &rule);
        }
        let (decision, cause) = self.escalated_or_denied(action, ask, standing, &question).await?;
        self.decided(action, ask, decision, cause, &rule)
    }

    /// The methods with which a fresh proof would be enough for the same roles; `None` if none would.
    fn better_proof_would_do(&self, question: &Question<'_>) -> Option<Vec<Method>> {
        let enough: Vec<Method> = self
            .bundle
            .accepted_methods(question.action, question.channel)
            .iter()
            .copied()
            .filter(|method| {
                let better = Question { method: Some(*method), proof: method.best_band(), ..question.clone() };
                matches!(self.bundle.decide(&better), Ruling::Permitted(_))
            })
            .collect();
        (!enough.is_empty()).then_some(enough)
    }

    /// Asks the same question with the primary administrator's roles, where the channel escalates (S8).
    async fn escalated_or_denied(
        &self,
        action: &Arc<Action>,
        ask: &Ask,
        standing: &Standing,
        question: &Question<'_>,
    ) -> Result<(Decision, Cause), Undecided> {
        let denied = (Decision::Deny { reason: Reason::NotPermitted, retry_after: None }, Cause::RefusedByRule);
        if !action.escalates_on.contains(&self.call.interaction.channel) || standing.is_primary_admin() {
            return Ok(denied);
        }
        let Some(primary) = self.find_primary_admin(standing).await? else { return Ok(denied) };
        let roles = effective_roles(&primary.account, &primary.assignments, ask.resource.site.as_ref());
        let method = question.method.unwrap_or(Method::PortalLogin);
        let as_primary = Question { roles: &roles, primary_admin: true, proof: method.best_band(), ..question.clone() };
        match self.bundle.decide(&as_primary) {
            Ruling::Refused { .. } => Ok(denied),
            Ruling::Permitted(_) => self.escalated(action, ask, standing, &primary).await,
        }
    }

    async fn find_primary_admin(&self, standing: &Standing) -> Result<Option<Standing>, Undecided> {
        let Some(primary) = &standing.account.primary_admin else { return Ok(None) };
        let found = self.rooms.directory.find_standing(primary).await?;
        Ok(found.filter(|found| {
            found.contact.status == crate::directory::ContactStatus::Active && found.account.id == standing.account.id
        }))
    }

    async fn escalated(
        &self,
        action: &Arc<Action>,
        ask: &Ask,
        standing: &Standing,
        primary: &Standing,
    ) -> Result<(Decision, Cause), Undecided> {
        if self.escalate == Escalate::DoNotOpen {
            return Ok((Decision::Escalate(None), Cause::PutBeforePrimaryAdmin));
        }
        let new = NewEscalation {
            id: random_id()?,
            account: standing.account.id.clone(),
            contact: standing.contact.id.clone(),
            primary_admin: primary.contact.id.clone(),
            action: action.name.clone(),
            resource: ask.resource.canonical(),
            client: self.call.client.name.clone(),
            request_id: self.call.request_id.clone(),
            opened: self.now,
            expires: self.now + ESCALATION_LIFE,
        };
        self.enter(Step::Directory);
        let opened = self.rooms.directory.open_escalation(new, self.rooms.terms.pending).await?;
        self.enter(Step::Policy);
        Ok(match opened {
            OpenOutcome::Opened(escalation) | OpenOutcome::Pending(escalation) => {
                (Decision::Escalate(Some(escalation)), Cause::PutBeforePrimaryAdmin)
            }
            OpenOutcome::TooMany => {
                (Decision::Deny { reason: Reason::NotPermitted, retry_after: None }, Cause::TooManyEscalations)
            }
        })
    }

    /// Dresses a decision with id and texts, and writes its entry for the audit.
    fn decided(
        &self,
        action: &Arc<Action>,
        ask: &Ask,
        decision: Decision,
        cause: Cause,
        rule: &str,
    ) -> Result<Decided, Undecided> {
        let locale = &self.call.locale;
        let (escalation, obligations) = match &decision {
            Decision::Escalate(escalation) => (escalation.as_ref().map(|escalation| escalation.id.clone()), Vec::new()),
            Decision::Allow(allow) => {
                (None, allow.obligations().iter().map(|obligation| obligation.name.clone()).collect())
            }
            Decision::Challenge { .. } | Decision::Deny { .. } => (None, Vec::new()),
        };
        let remedies = match &decision {
            Decision::Challenge { .. } | Decision::Deny { .. } => {
                self.bundle.remedies(action, self.call.interaction.channel, locale)
            }
            Decision::Allow(_) | Decision::Escalate(_) => Vec::new(),
        };
        let rule = match &decision {
            Decision::Allow(allow) => allow.rule().to_owned(),
            Decision::Challenge { .. } | Decision::Escalate(_) | Decision::Deny { .. } => rule.to_owned(),
        };
        let decision_id = random_id()?;
        let item = Item {
            decision_id: decision_id.clone(),
            action: action.name.clone(),
            resource: ask.resource.canonical(),
            decision: decision.code().to_owned(),
            reason: decision.reason().code().to_owned(),
            cause: cause.code().to_owned(),
            rule,
            escalation,
            obligations,
        };
        let guidance = decision.reason().guidance().map(|reason| self.bundle.guidance(action, reason, locale));
        Ok(Decided { answer: Answer { decision_id, decision, guidance, remedies }, item })
    }

    /// Steps 6 and 7: the record is durable; only then is there a reply.
    async fn recorded(&self, record: Record, answers: Vec<Answer>, proved: Proved) -> Result<Reply, Undecided> {
        let directory_revision = proved.revision();
        let (verified, verification) = match proved {
            Proved::No(_) => (None, None),
            Proved::Yes { verified, lane } => {
                // A token yields no token: what is carried on is the first.
                let verification = match self.call.evidence {
                    Evidence::VerificationToken(_) | Evidence::None => None,
                    Evidence::Passphrase(_) | Evidence::PortalLogin { .. } => {
                        self.rooms.verification(self.call, &verified, lane.as_deref(), self.rooms.clock.now())?
                    }
                };
                (Some(*verified), verification)
            }
        };
        self.enter(Step::Audit);
        let receipt = self.rooms.trail.record(record).await?;
        let policy_revision = self.bundle.revision().to_owned();
        Ok(Reply { answers, verified, verification, policy_revision, directory_revision, receipt })
    }

    fn act_before(&self) -> Timestamp {
        self.now + self.rooms.terms.act_within
    }

    fn enter(&self, step: Step) {
        self.rooms.enter(self.call, step);
    }
}

/// What a caller without proof is told, by the evidence table of the design.
fn unproved_answer(unproved: Unproved, accepted: &[Method]) -> (Decision, Cause) {
    let challenge = |cause| {
        let accepted = accepted.to_vec();
        (Decision::Challenge { reason: Reason::EvidenceRequired, accepted, attempts_left: None }, cause)
    };
    match unproved {
        Unproved::NotNeeded | Unproved::NoEvidence => challenge(Cause::NoEvidence),
        Unproved::MethodNotAccepted => challenge(Cause::MethodNotAccepted),
        // One answer for every fault of a token; and who logged in too long ago can log in again.
        Unproved::TokenRefused(_) | Unproved::LoginOutOfTime => challenge(Cause::NotProved),
        Unproved::PassphraseNotAccepted { tries_left: left @ 1.., .. } => {
            let (accepted, reason) = (accepted.to_vec(), Reason::EvidenceNotAccepted);
            (Decision::Challenge { reason, accepted, attempts_left: Some(left) }, Cause::NotProved)
        }
        Unproved::PassphraseNotAccepted { tries_left: 0, retry_after, .. }
        | Unproved::SourceSpent { retry_after, .. } => {
            (Decision::Deny { reason: Reason::NotVerified, retry_after }, Cause::NotProved)
        }
        Unproved::LoginOfNobody | Unproved::LoginOfInactive | Unproved::InteractionEnded => {
            (Decision::Deny { reason: Reason::NotVerified, retry_after: None }, Cause::NotProved)
        }
    }
}

fn person(call: &Call, selection: Selection, proved: &Proved) -> Person {
    let mut person = Person {
        account: selection.account,
        contact: selection.contact,
        evidence: call.evidence.code().to_owned(),
        ..Person::default()
    };
    match proved {
        Proved::No(unproved) => {
            unproved.code().clone_into(&mut person.proof);
            person.lane = unproved.lane().map(str::to_owned);
        }
        Proved::Yes { verified, lane } => {
            person.lane.clone_from(lane);
            "verified".clone_into(&mut person.proof);
            person.account = Some(verified.account().clone());
            person.contact = Some(verified.contact().clone());
            person.method = Some(verified.method().code().to_owned());
            person.proved_at = Some(verified.proved_at());
            person.roles = verified.standing().assignments.iter().map(assignment_text).collect();
        }
    }
    person
}

fn assignment_text(assignment: &crate::directory::RoleAssignment) -> String {
    match &assignment.scope {
        crate::directory::Scope::Company => assignment.role.to_string(),
        crate::directory::Scope::Site(site) => format!("{}@{site}", assignment.role),
    }
}

/// A random id with 122 bits from the operating system (RFC 9562, version 4).
fn random_id() -> Result<String, Undecided> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|_| Undecided::Randomness)?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string())
}
