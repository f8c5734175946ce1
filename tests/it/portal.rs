//! Portal and chat: the login is identity, the role decides, and what does not suffice goes to the administrator.

use std::time::{Duration, SystemTime};

use countersign::{
    audit::Record,
    directory::{ContactStatus, sample},
    grpc::proto::countersign::v1::{
        Channel::{Chat, Phone, Portal},
        Decision, EvidenceMethod, Reason,
        attribute_value::Value,
    },
};
use tonic::Code;

use crate::{
    answer::{decided, refusal},
    question::{Question, ask},
    sidecar::Sidecar,
};

const HOUR: Duration = Duration::from_secs(3600);

// proves: S1, S7, S15
#[tokio::test]
async fn a_login_is_identity_and_then_the_role_decides() {
    let sidecar = Sidecar::start().await;
    let portal = sidecar.client("portal");
    for channel in [Portal, Chat] {
        let user_change = || ask(channel, "user.change").upon("user", "u-17");

        let allowed = portal.authorize(user_change().by(sample::BEN).logged_in()).await.unwrap();
        assert_eq!(decided(&allowed), (Decision::Allow, Reason::Permitted));
        let verified = allowed.verified.expect("identity was proved");
        assert_eq!(verified.method(), EvidenceMethod::PortalLogin);
        assert_eq!((verified.account_id.as_str(), verified.contact_id.as_str()), (sample::ACME, sample::BEN));
        assert_eq!(verified.display_name, "Ben Okafor");
        let good_for = seconds(allowed.act_before.unwrap()) - seconds(SystemTime::now().into());
        assert!((50..=60).contains(&good_for), "an ALLOW is good for a minute, not for {good_for} s");

        // Identity without the role, and the role without identity, are both not enough.
        let weak = portal.authorize(user_change().by(sample::JUNE).logged_in()).await.unwrap();
        assert_ne!(weak.decision(), Decision::Allow);
        assert!(weak.verified.is_some());
        let unproved = portal.authorize(user_change().by(sample::BEN)).await.unwrap();
        assert_eq!(decided(&unproved), (Decision::Challenge, Reason::EvidenceRequired));
        assert_eq!(unproved.challenge.unwrap().accepted_methods, [i32::from(EvidenceMethod::PortalLogin)]);
        assert_eq!(unproved.verified, None);

        // The audit says who, what, on which evidence, by which rule.
        let Some(Record::Decision(record)) = sidecar.home.record(&allowed.decision_id) else { panic!("no record") };
        assert_eq!(record.call.client, "portal");
        assert_eq!(record.person.contact.as_ref().unwrap().as_str(), sample::BEN);
        assert_eq!(record.person.evidence, "portal_login");
        assert_eq!(record.person.roles, ["company_admin"]);
        assert_eq!((record.item.action.as_str(), record.item.decision.as_str()), ("user.change", "ALLOW"));
        assert_eq!(record.item.rule, "company-admin");
    }
}

// proves: F7
#[tokio::test]
async fn a_login_counts_only_from_a_client_that_may_assert_it() {
    let sidecar = Sidecar::start().await;
    for (client, channel) in [("orders", Portal), ("orders", Phone), ("ivr", Phone)] {
        let question = ask(channel, "account.view").upon("account", "").by(sample::ADA).logged_in();
        let (code, reason, _) = refusal(&sidecar.client(client).authorize(question).await.unwrap_err());
        assert_eq!((code, reason.as_str()), (Code::PermissionDenied, "CLIENT_NOT_GRANTED"), "{client}");
    }
}

// proves: S7, F7
#[tokio::test]
async fn a_login_that_is_old_or_not_yet_proves_nobody() {
    let sidecar = Sidecar::start().await;
    let portal = sidecar.client("portal");
    let now = SystemTime::now();
    for (time, why) in [(now - 13 * HOUR, "older than a working day"), (now + HOUR / 12, "in the future")] {
        let question = ask(Portal, "account.view").upon("account", "").by(sample::ADA).logged_in_at(time);
        let answer = portal.authorize(question).await.unwrap();
        assert_eq!(decided(&answer), (Decision::Challenge, Reason::EvidenceRequired), "{why}");
        assert_eq!(answer.verified, None, "{why}");
    }
}

// proves: A23
#[tokio::test]
async fn what_a_thief_wants_needs_a_fresh_login() {
    let sidecar = Sidecar::start().await;
    let portal = sidecar.client("portal");
    let hours_ago = SystemTime::now() - 2 * HOUR;
    let view = ask(Portal, "account.view").upon("account", "").by(sample::BEN).logged_in_at(hours_ago);
    assert_eq!(decided(&portal.authorize(view).await.unwrap()), (Decision::Allow, Reason::Permitted));
    let routing = ask(Portal, "routing.change").upon("routing", "").by(sample::BEN).logged_in_at(hours_ago);
    let answer = portal.authorize(routing).await.unwrap();
    assert_eq!(decided(&answer), (Decision::Challenge, Reason::FreshEvidenceRequired));
    assert_eq!(answer.challenge.unwrap().accepted_methods, [i32::from(EvidenceMethod::PortalLogin)]);
}

// proves: S12
#[tokio::test]
async fn who_left_is_verified_by_nothing_from_that_moment() {
    let sidecar = Sidecar::start().await;
    let portal = sidecar.client("portal");
    let question = || ask(Portal, "user.change").upon("user", "u-17").by(sample::BEN).logged_in();
    assert_eq!(portal.authorize(question()).await.unwrap().decision(), Decision::Allow);
    sidecar.change(vec![sidecar.with_status(sample::BEN, ContactStatus::Inactive).await]).await;
    for gone in [question(), ask(Portal, "user.change").upon("user", "u-17").by(sample::IVAN).logged_in()] {
        let answer = portal.authorize(gone).await.unwrap();
        assert_eq!(decided(&answer), (Decision::Deny, Reason::NotVerified));
        assert_eq!(answer.verified, None);
    }
}

// proves: S8
#[tokio::test]
async fn what_a_role_does_not_cover_is_put_before_the_primary_administrator() {
    let sidecar = Sidecar::start().await;
    let portal = sidecar.client("portal");
    for channel in [Portal, Chat] {
        let answer = portal.authorize(order(channel, "o-1").by(sample::GRACE).logged_in()).await.unwrap();
        assert_eq!(decided(&answer), (Decision::Escalate, Reason::Escalated));
        let escalation = answer.escalation.unwrap();
        assert!(!escalation.id.is_empty());
        let days_left = (seconds(escalation.expiry.unwrap()) - seconds(SystemTime::now().into())) as f64 / 86_400.0;
        assert!((2.9..=3.0).contains(&days_left));
        assert!(!answer.guidance.unwrap().say.is_empty());
        assert_eq!(answer.act_before, None);
        let Some(Record::Decision(record)) = sidecar.home.record(&answer.decision_id) else { panic!("no record") };
        assert_eq!(record.item.escalation.as_ref(), Some(&escalation.id));
    }
}

// proves: S8
#[tokio::test]
async fn asking_again_finds_the_pending_escalation_also_after_a_restart() {
    let sidecar = Sidecar::start().await;
    let id = async |sidecar: &Sidecar, question: Question| {
        let answer = sidecar.client("portal").authorize(question.logged_in()).await.unwrap();
        assert_eq!(answer.decision(), Decision::Escalate);
        answer.escalation.unwrap().id
    };
    let first = id(&sidecar, order(Portal, "o-1").by(sample::GRACE)).await;
    assert_eq!(id(&sidecar, order(Portal, "o-1").by(sample::GRACE)).await, first, "another case, the same order");
    assert_eq!(id(&sidecar, order(Chat, "o-1").by(sample::GRACE)).await, first, "from the chat");
    assert_ne!(id(&sidecar, order(Portal, "o-2").by(sample::GRACE)).await, first, "another order");
    assert_ne!(id(&sidecar, order(Portal, "o-1").by(sample::DEV)).await, first, "another person");
    let not_opened = order(Portal, "o-3").by(sample::GRACE).having(|request| {
        request.set_escalation(countersign::grpc::proto::countersign::v1::EscalationMode::DoNotOpen);
    });
    assert_eq!(id(&sidecar, not_opened).await, "", "the request said not to open one");

    let sidecar = sidecar.restart().await;
    assert_eq!(id(&sidecar, order(Portal, "o-1").by(sample::GRACE)).await, first, "after a restart");
}

// proves: S8
#[tokio::test]
async fn nobody_buries_the_administrator_under_requests() {
    let sidecar = Sidecar::start().await;
    let portal = sidecar.client("portal");
    for number in 1..=5 {
        let question = order(Portal, &format!("o-{number}")).by(sample::GRACE).logged_in();
        assert_eq!(portal.authorize(question).await.unwrap().decision(), Decision::Escalate);
    }
    let sixth = portal.authorize(order(Portal, "o-6").by(sample::GRACE).logged_in()).await.unwrap();
    assert_eq!(decided(&sixth), (Decision::Deny, Reason::NotPermitted));
    let again = portal.authorize(order(Portal, "o-5").by(sample::GRACE).logged_in()).await.unwrap();
    assert_eq!(again.decision(), Decision::Escalate, "what is pending stays so");
}

fn order(channel: countersign::grpc::proto::countersign::v1::Channel, id: &str) -> Question {
    ask(channel, "order.place")
        .upon("order", id)
        .with("amount_minor", Value::Number(12_900))
        .with("currency", Value::Text("USD".to_owned()))
}

fn seconds(time: prost_types::Timestamp) -> i64 {
    time.seconds
}
