//! The recipe: admit, select, is proof needed, prove, permit, record, answer.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{
    Allow, Answer, Ask, Authorizer, Call, Cause, Decision, Escalate, Evidence, Freshness, Reason, Reply, Step,
    Undecided, cool_off,
    permit::{self, Asker, Bearer, Judged, Judgement, Matter, Verdict},
    prove::{LookedAt, Proved},
};
use crate::{
    audit::{
        Record,
        record::{BatchRecord, Call as CallEntry, DecisionRecord, Item, Person},
    },
    client::Rpc,
    directory::{AccountId, Look, NewDelivery, OpenOutcome, Selection, Standing},
    escalation::{ESCALATION_LIFE, NewEscalation},
    identity::{Method, token},
    policy::{Action, Bundle},
    spelling::did_you_mean,
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

impl<'a> Deciding<'a> {
    pub(super) fn rooms(&self) -> &'a Authorizer {
        self.rooms
    }

    pub(super) fn bundle(&self) -> &Arc<Bundle> {
        &self.bundle
    }

    pub(super) fn call(&self) -> &'a Call {
        self.call
    }

    pub(super) fn now(&self) -> Timestamp {
        self.now
    }
}

impl Deciding<'_> {
    pub(super) async fn decide_one(self, ask: Ask) -> Result<Reply, Undecided> {
        let Done { decided, proved, person } = self.decide(std::slice::from_ref(&ask)).await?;
        let Some(Decided { answer, mut item }) = decided.into_iter().next() else {
            return Err(Undecided::Defect("one question, no answer".to_owned()));
        };
        item.delivery = self.order_delivery(&answer, &person).await?;
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

    /// Orders what an ALLOW delivers to the record; says what is behind it, for the audit alone.
    async fn order_delivery(&self, answer: &Answer, person: &Person) -> Result<Option<String>, Undecided> {
        let Decision::Allow(allow) = &answer.decision else { return Ok(None) };
        let Some(kind) = allow.delivers() else { return Ok(None) };
        let new = NewDelivery {
            id: answer.decision_id.clone(),
            account: person.account.clone().or_else(|| self.account_of_token()),
            kind,
            opened: self.now,
        };
        let behind = self.rooms.directory.open_delivery(new, self.rooms.terms.deliveries_a_day).await?;
        Ok(Some(behind.code().to_owned()))
    }

    /// Whom a token of this interaction selects, for a caller who says nothing else. It proves nothing here.
    fn account_of_token(&self) -> Option<AccountId> {
        let Evidence::VerificationToken(token) = &self.call.evidence else { return None };
        let opened = token::open(&self.rooms.keys, token, self.now).ok()?;
        let shown = opened.is_of(&self.call.interaction.id) && opened.may_be_shown_by(&self.call.client);
        (shown && self.call.subject.account.is_none()).then(|| opened.facts().account.clone())
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

        // 2. is proof needed? Not for what is open, and not for what nobody could do here.
        self.enter(Step::Policy);
        let accepted = self.accepted_by_any(&actions);
        let evidence = self.rooms.looked_at(self.call, &accepted, self.now)?;

        // 3. select: whom the words select, and in the same look all that the next steps ask about him; nobody is no error.
        self.enter(Step::Directory);
        let seen = self.rooms.directory.look(&self.look_for(&evidence, &actions)).await?;

        // 4. prove, once for all actions.
        let proved = self.rooms.prove(self.call, evidence, &seen, self.now).await?;
        self.fresh_enough(&proved)?;

        // 5. permit, each action on its own (A23).
        self.enter(Step::Policy);
        let footing = Footing { in_cool_off: self.in_cool_off(&proved), proved };
        let mut decided = Vec::with_capacity(asks.len());
        for (action, ask) in actions.iter().zip(asks) {
            decided.push(self.permit(&footing, action, ask).await?);
        }
        let Footing { proved, .. } = footing;
        let person = person(self.call, seen.selection, &proved);
        Ok(Done { decided, proved, person })
    }

    /// Finds the action and checks the resource against its declaration.
    fn admit(&self, at: usize, ask: &Ask, of: usize) -> Result<Arc<Action>, Undecided> {
        let path = |field: &str| if of == 1 { field.to_owned() } else { format!("items[{at}].{field}") };
        let Some(action) = self.bundle.find_action(&ask.action) else {
            let known = self.bundle.actions().map(|action| action.name.as_str());
            let why = format!("is not in the policy{}", did_you_mean(&ask.action, known));
            return Err(Undecided::Invalid { field: path("action"), why });
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

    /// What the directory is to be looked at for.
    fn look_for(&self, evidence: &LookedAt<'_>, actions: &[Arc<Action>]) -> Look {
        let channel = self.call.interaction.channel;
        let current = actions.iter().any(|action| action.current_roles_on.contains(&channel));
        Look {
            subject: self.call.subject.clone(),
            whose: evidence.whose(),
            interaction: evidence.interaction(self.call),
            attempt: evidence.attempt(self.call, &self.rooms.passphrases.rules, self.now),
            freshness: if current { self.call.freshness.and_current() } else { self.call.freshness },
            now: self.now,
        }
    }

    fn in_cool_off(&self, proved: &Proved) -> bool {
        match proved {
            Proved::Yes { verified, .. } => {
                cool_off::is_running(verified.standing(), self.rooms.terms.cool_off, self.now)
            }
            Proved::No(_) => false,
        }
    }

    fn fresh_enough(&self, proved: &Proved) -> Result<(), Undecided> {
        match (self.call.freshness, proved) {
            (Freshness::AtLeast(asked), Proved::Yes { verified, .. }) if verified.standing().revision < asked => {
                Err(Undecided::DirectoryBehind)
            }
            (Freshness::AtLeast(_) | Freshness::Cached | Freshness::Current | Freshness::FromStore, _) => Ok(()),
        }
    }

    /// Step 5 for one action; the directory is asked for the primary administrator only where a refusal depends on him.
    async fn permit(&self, footing: &Footing, action: &Arc<Action>, ask: &Ask) -> Result<Decided, Undecided> {
        let matter = Matter {
            bundle: &self.bundle,
            action,
            channel: self.call.interaction.channel,
            site: ask.resource.site.as_ref(),
            attributes: &ask.resource.attributes,
        };
        let asker = match &footing.proved {
            Proved::No(unproved) => Asker::Unproved(*unproved),
            Proved::Yes { verified, .. } => Asker::Proved(Bearer {
                standing: verified.standing(),
                method: verified.method(),
                proof: verified.band(self.now, self.rooms.terms.fresh_within),
                in_cool_off: footing.in_cool_off,
            }),
        };
        let judged = match permit::judge(matter, asker) {
            Judgement::Final(judged) => judged,
            Judgement::Escalates(refused) => match (&ask.approval, &footing.proved) {
                (Some(id), Proved::Yes { verified, .. }) => {
                    self.enter(Step::Directory);
                    self.judge_approved(id, verified, footing.in_cool_off, action, ask).await?
                }
                (_, proved) => {
                    let primary = self.find_primary_admin(proved).await?;
                    refused.put_before(primary.as_ref())
                }
            },
        };
        self.decided(footing, action, ask, judged).await
    }

    async fn find_primary_admin(&self, proved: &Proved) -> Result<Option<Standing>, Undecided> {
        let Proved::Yes { verified, .. } = proved else { return Ok(None) };
        let Some(primary) = &verified.standing().account.primary_admin else { return Ok(None) };
        self.enter(Step::Directory);
        let found = self.rooms.directory.find_standing(primary).await?;
        self.enter(Step::Policy);
        Ok(found)
    }

    /// Turns a verdict into a decision: what only a call has is added, and an escalation is opened.
    async fn decision(
        &self,
        footing: &Footing,
        action: &Arc<Action>,
        ask: &Ask,
        verdict: Verdict,
        cause: Cause,
    ) -> Result<(Decision, Cause), Undecided> {
        let decision = match (verdict, &footing.proved) {
            (Verdict::Open(permit), _) => Decision::Allow(Allow::open(permit, self.act_before())),
            (Verdict::Permitted(permit), Proved::Yes { verified, .. }) => {
                Decision::Allow(Allow::protected(verified, permit, self.act_before()))
            }
            (Verdict::Escalate, Proved::Yes { verified, .. }) => {
                return self.escalated(action, ask, verified.standing()).await;
            }
            (Verdict::Permitted(_) | Verdict::Escalate, Proved::No(_)) => {
                return Err(Undecided::Defect("a verdict on a person, and nobody is verified".to_owned()));
            }
            (Verdict::Challenge { reason, accepted, attempts_left }, _) => {
                Decision::Challenge { reason, accepted, attempts_left }
            }
            (Verdict::Deny { reason, retry_after }, _) => Decision::Deny { reason, retry_after },
        };
        Ok((decision, cause))
    }

    async fn escalated(
        &self,
        action: &Arc<Action>,
        ask: &Ask,
        standing: &Standing,
    ) -> Result<(Decision, Cause), Undecided> {
        let (Escalate::Open, Some(primary)) = (self.escalate, &standing.account.primary_admin) else {
            return Ok((Decision::Escalate(None), Cause::PutBeforePrimaryAdmin));
        };
        let new = NewEscalation {
            id: random_id()?,
            account: standing.account.id.clone(),
            contact: standing.contact.id.clone(),
            primary_admin: primary.clone(),
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
            OpenOutcome::RefusedTwice => {
                (Decision::Deny { reason: Reason::NotPermitted, retry_after: None }, Cause::RefusedTwice)
            }
        })
    }

    /// Dresses a verdict with id and texts, and writes its entry for the audit.
    async fn decided(
        &self,
        footing: &Footing,
        action: &Arc<Action>,
        ask: &Ask,
        judged: Judged,
    ) -> Result<Decided, Undecided> {
        let Judged { verdict, cause, rule } = judged;
        let (decision, cause) = self.decision(footing, action, ask, verdict, cause).await?;
        if let Proved::Yes { verified, .. } = &footing.proved {
            let is_allowed = matches!(decision, Decision::Allow(_));
            self.rooms.activities.note(verified.contact(), &action.name, is_allowed, self.now);
        }
        let locale = &self.call.locale;
        let (escalation, obligations) = match &decision {
            Decision::Escalate(escalation) => (escalation.as_ref().map(|escalation| escalation.id.clone()), Vec::new()),
            Decision::Allow(allow) => {
                (approval(cause, ask), allow.obligations().iter().map(|obligation| obligation.name.clone()).collect())
            }
            Decision::Challenge { .. } | Decision::Deny { .. } => (approval(cause, ask), Vec::new()),
        };
        let remedies = match &decision {
            Decision::Challenge { .. } | Decision::Deny { .. } => {
                self.bundle.remedies(action, self.call.interaction.channel, locale)
            }
            Decision::Allow(_) | Decision::Escalate(_) => Vec::new(),
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
            delivery: None,
        };
        let guidance = decision.reason().guidance().map(|reason| self.bundle.guidance(action, reason, locale));
        Ok(Decided { answer: Answer { decision_id, decision, guidance, remedies }, item })
    }

    /// Steps 6 and 7: the record is durable; only then is there a reply.
    async fn recorded(&self, record: Record, answers: Vec<Answer>, proved: Proved) -> Result<Reply, Undecided> {
        let directory_revision = proved.revision();
        let (verified, verification) = match proved {
            Proved::No(_) => (None, None),
            Proved::Yes { verified, lane, .. } => {
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

/// The approval that was used, or that was shown and is worth nothing.
fn approval(cause: Cause, ask: &Ask) -> Option<String> {
    let counted = matches!(cause, Cause::ApprovedByPrimaryAdmin | Cause::ApprovalWorthless(_));
    ask.approval.clone().filter(|_| counted)
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
            person.tried = unproved.tried().filter(|tried| *tried > 1);
        }
        Proved::Yes { verified, lane, tried } => {
            person.tried = tried.filter(|tried| *tried > 1);
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
