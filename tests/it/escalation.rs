//! What a role does not cover is put before the primary administrator, settled in his portal, and used once.

use std::time::{Duration, SystemTime};

use countersign::{
    audit::{Record, record::EscalationRecord},
    directory::{
        Account, AccountId, Change, Contact, ContactId, ContactStatus, RoleAssignment, RoleName, Scope, sample,
    },
    grpc::proto::countersign::v1::{
        AccountSelector, ApproveEscalationRequest, AuthorizeResponse, CancelEscalationRequest,
        Channel::{self, Chat, Phone, Portal},
        ContactSelector, Decision, EscalationAnswer as Answer, EscalationDetail, EscalationFilter, EscalationMode,
        EscalationState as State, GetEscalationRequest, Interaction, ListEscalationsRequest, PortalCaller, PortalLogin,
        Reason, RefuseEscalationRequest, Subject, SystemActor, WatchEscalationsRequest, account_selector,
        attribute_value::Value,
        contact_selector,
    },
    manage::passphrase::Whose,
};
use tonic::{Code, Status};

use crate::{
    answer::{decided, invalid_field, refusal},
    passphrase::PHRASE,
    people::{command, shown},
    question::{Question, ask},
    sidecar::{Client, Home, Sidecar, patiently, wall_time},
};

mod attackers;
pub mod limits;
mod watched;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A portal in which somebody is logged in.
#[derive(Clone)]
struct Desk {
    client: Client,
    caller: PortalCaller,
}

/// What a call that settles something came to.
type Settled = (Answer, Option<EscalationDetail>);

impl Desk {
    /// Somebody of this account, logged in five seconds ago.
    fn of(sidecar: &Sidecar, account: &str, contact: &str) -> Self {
        Self {
            client: sidecar.client("portal"),
            caller: caller(account, contact, SystemTime::now() - Duration::from_secs(5)),
        }
    }

    /// Somebody of Acme.
    fn of_acme(sidecar: &Sidecar, contact: &str) -> Self {
        Self::of(sidecar, sample::ACME, contact)
    }

    fn logged_in_at(mut self, time: SystemTime) -> Self {
        self.caller.portal_login = Some(PortalLogin { login_time: Some(time.into()), id_token: String::new() });
        self
    }

    fn through(mut self, client: Client) -> Self {
        self.client = client;
        self
    }

    fn having(mut self, change: impl FnOnce(&mut PortalCaller)) -> Self {
        change(&mut self.caller);
        self
    }

    async fn get(&self, id: &str) -> Result<Settled, Status> {
        let request = GetEscalationRequest {
            caller: Some(self.caller.clone()),
            escalation_id: id.to_owned(),
            ..GetEscalationRequest::default()
        };
        let answer =
            patiently(self.client.of_escalations().get_escalation(self.client.with_token(request))).await?.into_inner();
        Ok((answer.answer(), answer.escalation))
    }

    async fn list(&self, filter: EscalationFilter) -> (Answer, Vec<EscalationDetail>) {
        let request = ListEscalationsRequest {
            caller: Some(self.caller.clone()),
            filter: filter.into(),
            ..ListEscalationsRequest::default()
        };
        let answer = patiently(self.client.of_escalations().list_escalations(self.client.with_token(request)))
            .await
            .unwrap()
            .into_inner();
        (answer.answer(), answer.escalations)
    }

    async fn ask_to_approve(&self, id: &str) -> Result<Settled, Status> {
        let request = ApproveEscalationRequest {
            caller: Some(self.caller.clone()),
            escalation_id: id.to_owned(),
            ..ApproveEscalationRequest::default()
        };
        let answer = patiently(self.client.of_escalations().approve_escalation(self.client.with_token(request)))
            .await?
            .into_inner();
        Ok((answer.answer(), answer.escalation))
    }

    async fn approve(&self, id: &str) -> Settled {
        self.ask_to_approve(id).await.unwrap()
    }

    async fn refuse(&self, id: &str) -> Settled {
        let request = RefuseEscalationRequest {
            caller: Some(self.caller.clone()),
            escalation_id: id.to_owned(),
            ..RefuseEscalationRequest::default()
        };
        let answer = patiently(self.client.of_escalations().refuse_escalation(self.client.with_token(request)))
            .await
            .unwrap()
            .into_inner();
        (answer.answer(), answer.escalation)
    }

    async fn cancel(&self, id: &str) -> Settled {
        let request = CancelEscalationRequest {
            caller: Some(self.caller.clone()),
            escalation_id: id.to_owned(),
            ..CancelEscalationRequest::default()
        };
        let answer = patiently(self.client.of_escalations().cancel_escalation(self.client.with_token(request)))
            .await
            .unwrap()
            .into_inner();
        (answer.answer(), answer.escalation)
    }
}

pub fn caller(account: &str, contact: &str, time: SystemTime) -> PortalCaller {
    let id = format!("it-{}", uuid::Uuid::new_v4().simple());
    let by = Some(contact_selector::By::Id(contact.to_owned()));
    PortalCaller {
        interaction: Some(Interaction { channel: Portal.into(), id, ..Interaction::default() }),
        subject: Some(Subject {
            account: Some(AccountSelector { by: Some(account_selector::By::Id(account.to_owned())) }),
            contact: Some(ContactSelector { by }),
        }),
        portal_login: Some(PortalLogin { login_time: Some(time.into()), id_token: String::new() }),
    }
}

/// Grace's order of 129.00 USD, which her role does not cover.
fn order(channel: Channel, id: &str) -> Question {
    ask(channel, "order.place")
        .upon("order", id)
        .with("amount_minor", Value::Number(12_900))
        .with("currency", Value::Text("USD".to_owned()))
}

fn with_approval(question: Question, id: &str) -> Question {
    question.having(|request| id.clone_into(&mut request.approved_escalation_id))
}

// proves: S8, S13
#[tokio::test]
async fn where_nobody_could_be_asked_that_is_said_to_who_is_verified_and_nothing_is_opened() {
    let sidecar = Sidecar::start().await;
    let grace = sidecar.directory().find_standing(&ContactId::new(sample::GRACE)).await.unwrap().unwrap();
    let orphan = AccountId::new("acc-3003");
    let account = Account { id: orphan.clone(), name: "Orphan Ltd".into(), primary_admin: None, ..grace.account };
    let olga = Contact { id: ContactId::new("con-3001"), account: orphan, ..grace.contact };
    let role = RoleAssignment { contact: olga.id.clone(), ..grace.assignments[0].clone() };
    sidecar.change(vec![Change::PutAccount(account), Change::PutContact(olga), Change::AssignRole(role)]).await;

    let portal = sidecar.client("portal");
    let asked = |question: Question| question.by_contact_of("acc-3003", "con-3001");
    let answer = portal.authorize(asked(order(Portal, "o-1")).logged_in()).await.unwrap();
    assert_eq!(decided(&answer), (Decision::Deny, Reason::NobodyToAsk));
    assert_eq!(answer.guidance.unwrap().code, "nobody-to-ask");
    assert_eq!(answer.escalation, None);
    let Some(Record::Decision(record)) = sidecar.home.record(&answer.decision_id) else { panic!("recorded") };
    assert_eq!((record.item.cause.as_str(), record.item.escalation), ("no_primary_admin", None));

    // By phone nothing is ever escalated, and whoever is not verified hears nothing of offices.
    let whose = Whose { account: AccountId::new("acc-3003"), contact: Some(ContactId::new("con-3001")) };
    sidecar.set_passphrase_of(whose, PHRASE).await;
    let phone = sidecar.client("ivr").insist(asked(order(Phone, "o-1")).within("call-1").saying(PHRASE)).await.unwrap();
    assert_eq!(decided(&phone), (Decision::Deny, Reason::NotPermitted));
    let nobody = portal.authorize(asked(order(Portal, "o-1"))).await.unwrap();
    assert_eq!(decided(&nobody), (Decision::Challenge, Reason::EvidenceRequired));

    // With somebody in office it is put before him.
    let office = Change::SetPrimaryAdmin { account: AccountId::new("acc-3003"), contact: ContactId::new("con-3002") };
    let ada = sidecar.directory().find_standing(&ContactId::new(sample::ADA)).await.unwrap().unwrap();
    let paul = Contact { id: ContactId::new("con-3002"), account: AccountId::new("acc-3003"), ..ada.contact };
    let role = RoleAssignment { contact: paul.id.clone(), ..ada.assignments[0].clone() };
    sidecar.change(vec![Change::PutContact(paul), Change::AssignRole(role), office]).await;
    let answer = portal.authorize(asked(ask(Portal, "account.view")).logged_in()).await.unwrap();
    assert_eq!(decided(&answer), (Decision::Escalate, Reason::Escalated));
}

/// Has Grace's order put before Ada, and returns the escalation.
async fn escalated(sidecar: &Sidecar, id: &str) -> String {
    let answer = sidecar.client("portal").authorize(order(Portal, id).by(sample::GRACE).logged_in()).await.unwrap();
    assert_eq!(decided(&answer), (Decision::Escalate, Reason::Escalated));
    answer.escalation.unwrap().id
}

/// Has Grace's order put before Ada, who approves it.
async fn approved(sidecar: &Sidecar, id: &str) -> String {
    let escalation = escalated(sidecar, id).await;
    let (answer, detail) = Desk::of_acme(sidecar, sample::ADA).approve(&escalation).await;
    assert_eq!((answer, detail.unwrap().state()), (Answer::Done, State::Approved));
    escalation
}

fn cause(sidecar: &Sidecar, answer: &AuthorizeResponse) -> String {
    let Some(Record::Decision(record)) = sidecar.home.record(&answer.decision_id) else { panic!("no record") };
    record.item.cause
}

/// What the audit has of escalations, oldest first.
fn records(sidecar: &Sidecar) -> Vec<EscalationRecord> {
    let escalation = |record| if let Record::Escalation(record) = record { Some(*record) } else { None };
    sidecar.home.records().into_iter().filter_map(escalation).collect()
}

/// The order backend's path, from ESCALATE to one ALLOW: three client systems, two people, two days.
// proves: S8, S15, A5
#[tokio::test]
async fn an_order_is_escalated_approved_in_the_portal_and_then_allowed_once() {
    let sidecar = Sidecar::start().await;
    let (portal, orders) = (sidecar.client("portal"), sidecar.client("orders"));
    let log_in = async |case: &str| {
        let verify = ask(Portal, "identity.verify").within(case).by(sample::GRACE).logged_in();
        portal.authorize(verify).await.unwrap().verification.unwrap().token
    };
    let place = |case: &str, token: &str| order(Portal, "o-1").within(case).with_token(token);

    // Grace has an order, and the backend decides from the portal's token.
    let token = log_in("case-1").await;
    let answer = orders.authorize(place("case-1", &token)).await.unwrap();
    assert_eq!(decided(&answer), (Decision::Escalate, Reason::Escalated));
    let waiting = answer.escalation.unwrap();
    assert_eq!(waiting.state(), State::Pending);

    // While it waits, its id is worth no more than asking again.
    let early = orders.authorize(with_approval(place("case-1", &token), &waiting.id)).await.unwrap();
    assert_eq!(decided(&early), (Decision::Escalate, Reason::Escalated));
    assert_eq!(early.escalation.unwrap().id, waiting.id);

    // Ada sees in her portal who asks for what, and approves it.
    let ada = Desk::of_acme(&sidecar, sample::ADA);
    let (answer, list) = ada.list(EscalationFilter::Pending).await;
    assert_eq!((answer, list.len()), (Answer::Done, 1));
    let shown = &list[0];
    assert_eq!((shown.id.as_str(), shown.contact_name.as_str()), (waiting.id.as_str(), "Grace Mbeki"));
    assert_eq!((shown.action.as_str(), shown.action_about.as_str()), ("order.place", "Places an order."));
    let resource = shown.resource.as_ref().unwrap();
    assert_eq!((resource.r#type.as_str(), resource.id.as_str()), ("order", "o-1"));
    assert_eq!(resource.attributes["amount_minor"].value, Some(Value::Number(12_900)));
    let (answer, detail) = ada.approve(&waiting.id).await;
    let detail = detail.unwrap();
    assert_eq!(
        (answer, detail.state(), detail.settled_by_contact_id.as_str()),
        (Answer::Done, State::Approved, sample::ADA)
    );

    // Who asks without the id is told that it is approved; nothing more is put before Ada.
    let token = log_in("case-2").await;
    let again = orders.authorize(place("case-2", &token)).await.unwrap();
    assert_eq!(decided(&again), (Decision::Escalate, Reason::Escalated));
    let again = again.escalation.unwrap();
    assert_eq!((again.id.as_str(), again.state()), (waiting.id.as_str(), State::Approved));

    // With the id it is decided anew, and allowed: once.
    let allowed = orders.authorize(with_approval(place("case-2", &token), &waiting.id)).await.unwrap();
    assert_eq!(decided(&allowed), (Decision::Allow, Reason::Permitted));
    assert_eq!(allowed.verified.as_ref().unwrap().contact_id, sample::GRACE, "who asked is not who approved");
    let twice = orders.authorize(with_approval(place("case-2", &token), &waiting.id)).await.unwrap();
    assert_eq!(decided(&twice), (Decision::Deny, Reason::NotPermitted));
    assert_eq!(cause(&sidecar, &twice), "approval_used");

    // The audit says on whose approval, and by which rule.
    let Some(Record::Decision(record)) = sidecar.home.record(&allowed.decision_id) else { panic!("no record") };
    assert_eq!((record.item.cause.as_str(), record.item.rule.as_str()), ("approved_by_primary_admin", "super-admin"));
    assert_eq!(record.item.escalation.as_deref(), Some(waiting.id.as_str()));
    let (_, used) = ada.get(&waiting.id).await.unwrap();
    let used = used.unwrap();
    assert_eq!(used.state(), State::Used);
    assert!(used.used_at.is_some());
}

// proves: S8
#[tokio::test]
async fn who_was_refused_twice_opens_nothing_for_that_action_for_a_day() {
    let (sidecar, clock) = Sidecar::start_still("").await;
    let ask_at = |id: &'static str| order(Portal, id).by(sample::GRACE).logged_in_at(wall_time(&clock));
    let portal = sidecar.client("portal");
    for id in ["o-1", "o-2"] {
        let escalation = portal.authorize(ask_at(id)).await.unwrap().escalation.unwrap().id;
        let ada = Desk::of_acme(&sidecar, sample::ADA).logged_in_at(wall_time(&clock));
        let (answer, detail) = ada.refuse(&escalation).await;
        assert_eq!((answer, detail.unwrap().state()), (Answer::Done, State::Refused));
        let used = portal.authorize(with_approval(ask_at(id), &escalation)).await.unwrap();
        assert_eq!(decided(&used), (Decision::Deny, Reason::NotPermitted));
        assert_eq!(cause(&sidecar, &used), "approval_refused");
    }
    let third = portal.authorize(ask_at("o-3")).await.unwrap();
    assert_eq!(decided(&third), (Decision::Deny, Reason::NotPermitted));
    assert_eq!(cause(&sidecar, &third), "refused_twice");
    let another = ask(Portal, "case.open").upon("case", "").by(sample::GRACE).logged_in_at(wall_time(&clock));
    assert_eq!(portal.authorize(another).await.unwrap().decision(), Decision::Escalate, "another action");

    clock.advance(24 * HOUR);
    assert_eq!(portal.authorize(ask_at("o-3")).await.unwrap().decision(), Decision::Escalate, "a day later");
}

// proves: S8
#[tokio::test]
async fn who_asked_takes_it_back_and_nobody_else_does() {
    let sidecar = Sidecar::start().await;
    for (number, is_approved) in [(1, false), (2, true)] {
        let order_id = format!("o-{number}");
        let escalation =
            if is_approved { approved(&sidecar, &order_id).await } else { escalated(&sidecar, &order_id).await };
        let (answer, _) = Desk::of_acme(&sidecar, sample::ADA).cancel(&escalation).await;
        assert_eq!(answer, Answer::NotPermitted, "the administrator refuses");
        let (answer, detail) = Desk::of_acme(&sidecar, sample::GRACE).cancel(&escalation).await;
        assert_eq!((answer, detail.unwrap().state()), (Answer::Done, State::Cancelled));
        let (answer, detail) = Desk::of_acme(&sidecar, sample::ADA).approve(&escalation).await;
        assert_eq!((answer, detail.unwrap().state()), (Answer::NotPending, State::Cancelled));
        let question = with_approval(order(Portal, &order_id).by(sample::GRACE).logged_in(), &escalation);
        let answer = sidecar.client("portal").authorize(question).await.unwrap();
        assert_eq!(cause(&sidecar, &answer), "approval_cancelled");
    }
}

#[tokio::test]
async fn what_waits_expires_after_three_days_and_an_approval_after_one() {
    let (sidecar, clock) = Sidecar::start_still("").await;
    let portal = sidecar.client("portal");
    let question = |id: &'static str| order(Portal, id).by(sample::GRACE).logged_in_at(wall_time(&clock));
    let ada = || Desk::of_acme(&sidecar, sample::ADA).logged_in_at(wall_time(&clock));
    let first = portal.authorize(question("o-1")).await.unwrap().escalation.unwrap().id;
    let second = portal.authorize(question("o-2")).await.unwrap().escalation.unwrap().id;

    clock.advance(72 * HOUR - Duration::from_secs(1));
    assert_eq!(ada().approve(&second).await.0, Answer::Done);
    clock.advance(Duration::from_secs(1));
    let (answer, detail) = ada().approve(&first).await;
    assert_eq!((answer, detail.unwrap().state()), (Answer::NotPending, State::Expired));
    let (_, pending) = ada().list(EscalationFilter::Pending).await;
    assert_eq!(pending, [], "neither what expired nor what is approved waits");

    clock.advance(24 * HOUR);
    let late = portal.authorize(with_approval(question("o-2"), &second)).await.unwrap();
    assert_eq!(decided(&late), (Decision::Deny, Reason::NotPermitted));
    assert_eq!(cause(&sidecar, &late), "approval_expired");
}

// proves: S12
#[tokio::test]
async fn nothing_of_who_left_waits_or_is_worth_anything() {
    let sidecar = Sidecar::start().await;
    let (waiting, good) = (escalated(&sidecar, "o-1").await, approved(&sidecar, "o-2").await);
    sidecar.change(vec![sidecar.with_status(sample::GRACE, ContactStatus::Inactive).await]).await;
    let ada = Desk::of_acme(&sidecar, sample::ADA);
    for id in [&waiting, &good] {
        assert_eq!(ada.get(id).await.unwrap().1.unwrap().state(), State::Cancelled);
    }
    assert_eq!(ada.approve(&waiting).await.0, Answer::NotPending);

    // Nor when she comes back.
    sidecar.change(vec![sidecar.with_status(sample::GRACE, ContactStatus::Active).await]).await;
    let question = with_approval(order(Portal, "o-2").by(sample::GRACE).logged_in(), &good);
    let answer = sidecar.client("portal").authorize(question).await.unwrap();
    assert_eq!(decided(&answer), (Decision::Deny, Reason::NotPermitted));
}

#[tokio::test]
async fn a_list_comes_in_pages_and_everybody_sees_what_concerns_him() {
    let sidecar = Sidecar::start().await;
    let mut opened = Vec::new();
    for number in 1..=5 {
        opened.push(escalated(&sidecar, &format!("o-{number}")).await);
    }
    opened.reverse();
    let ada = Desk::of_acme(&sidecar, sample::ADA);
    let mut listed = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListEscalationsRequest {
            caller: Some(ada.caller.clone()),
            page_size: 2,
            page_token,
            ..ListEscalationsRequest::default()
        };
        let page = patiently(ada.client.of_escalations().list_escalations(ada.client.with_token(request)))
            .await
            .unwrap()
            .into_inner();
        assert!(page.escalations.len() <= 2);
        listed.extend(page.escalations.into_iter().map(|detail| detail.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, opened, "the newest first, each once");

    let ids = |(answer, list): (Answer, Vec<EscalationDetail>)| {
        assert_eq!(answer, Answer::Done);
        list.into_iter().map(|detail| detail.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(Desk::of_acme(&sidecar, sample::GRACE).list(EscalationFilter::All).await), opened, "her own");
    assert_eq!(ids(Desk::of_acme(&sidecar, sample::BEN).list(EscalationFilter::All).await), [""; 0]);
    assert_eq!(ids(Desk::of(&sidecar, sample::BOREALIS, sample::KARL).list(EscalationFilter::All).await), [""; 0]);
    assert_eq!(Desk::of_acme(&sidecar, sample::BEN).get(&opened[0]).await.unwrap(), (Answer::NotFound, None));
    assert_eq!(Desk::of_acme(&sidecar, sample::GRACE).get(&opened[0]).await.unwrap().0, Answer::Done);
}

#[tokio::test]
async fn an_operator_sees_what_waits_with_and_without_a_sidecar() {
    let sidecar = Sidecar::start().await;
    let (waiting, good) = (escalated(&sidecar, "o-1").await, approved(&sidecar, "o-2").await);
    let see = async |home: &Home| {
        let list = shown(home, &["escalation", "list", "--account", sample::ACME]).await;
        let pending = shown(home, &["escalation", "list", "--account", sample::ACME, "--pending", "--json"]).await;
        (list, pending, shown(home, &["escalation", "show", &good]).await)
    };
    let seen = see(&sidecar.home).await;
    let unknown = command(&sidecar.home, &["escalation", "list", "--account", "acc-none"]).await;
    assert_eq!(unknown.status.code(), Some(1));
    let (list, pending, one) = &seen;
    assert!(list.contains("Grace Mbeki (con-1007)") && list.contains("approved") && list.contains(&waiting), "{list}");
    assert!(pending.contains(&waiting) && pending.lines().count() == 1, "{pending}");
    assert!(one.contains("settled") && one.contains(sample::ADA) && one.contains("12900"), "{one}");
    let home = sidecar.stop().await;
    assert_eq!(see(&home).await, seen);
}

/// Each answer has its record, and what was to be changed one before it.
#[tokio::test]
async fn every_answer_about_escalations_is_recorded() {
    let sidecar = Sidecar::start().await;
    let escalation = escalated(&sidecar, "o-1").await;
    let ada = Desk::of_acme(&sidecar, sample::ADA);
    ada.list(EscalationFilter::All).await;
    ada.get(&escalation).await.unwrap();
    Desk::of_acme(&sidecar, sample::GRACE).approve(&escalation).await;
    ada.clone().logged_in_at(SystemTime::now() - 13 * HOUR).approve(&escalation).await;
    ada.refuse(&escalation).await;
    let told: Vec<_> =
        records(&sidecar).into_iter().map(|record| (record.call.rpc, record.outcome, record.person.proof)).collect();
    let wanted = [
        ("ListEscalations", "done", "verified"),
        ("GetEscalation", "done", "verified"),
        ("ApproveEscalation", "intended", "verified"),
        ("ApproveEscalation", "not_permitted", "verified"),
        ("ApproveEscalation", "not_verified", "login_out_of_time"),
        ("RefuseEscalation", "intended", "verified"),
        ("RefuseEscalation", "done", "verified"),
    ];
    assert_eq!(told, wanted.map(|(rpc, outcome, proof)| (rpc.to_owned(), outcome.to_owned(), proof.to_owned())));
    let last = records(&sidecar).pop().unwrap();
    assert_eq!((last.escalations, last.state.as_deref()), (vec![escalation], Some("refused")));
    assert_eq!(last.person.contact, Some(ContactId::new(sample::ADA)));
    assert!(sidecar.home.record(&last.decision_id).is_some(), "its id finds it");
}
