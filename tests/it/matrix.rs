//! The whole role × action × channel matrix, asked through the API: what a reviewer agreed on is what clients get.

use countersign::{
    directory::sample,
    grpc::proto::countersign::v1::{AuthorizeResponse, Channel, Decision, EscalationMode, EvidenceMethod, Reason},
    identity::Method,
    interaction,
    policy::{
        Bundle,
        matrix::{self, Outcome, Row},
    },
};

use tokio::task::JoinSet;

use crate::{answer::decided, question::Question, sidecar::Sidecar};

// proves: S4, A15
#[tokio::test]
async fn every_role_gets_on_every_channel_what_the_matrix_says() {
    let sidecar = Sidecar::start().await;
    let probe = sidecar.client("probe");
    let rows = matrix::rows(&Bundle::embedded().unwrap());
    assert!(rows.len() > 400, "{} rows", rows.len());
    let mut asking = JoinSet::new();
    for row in rows {
        // Nobody may have this many escalations pending.
        let question = Question::about(&row.action, wire(row.channel)).by(person(&row));
        let question = question.having(|request| request.set_escalation(EscalationMode::DoNotOpen));
        let question = if row.method == Some(Method::PortalLogin) { question.logged_in() } else { question };
        let probe = probe.clone();
        asking.spawn(async move { (probe.authorize(question).await.unwrap(), row) });
    }
    let answers = asking.join_all().await;
    let wrong: Vec<_> = answers.iter().filter(|(answer, row)| !as_expected(row, answer)).map(difference).collect();
    assert!(wrong.is_empty(), "{} cells differ:\n{}", wrong.len(), wrong.join("\n"));
}

fn difference((answer, row): &(AuthorizeResponse, Row)) -> String {
    let (action, channel) = (&row.action.name, row.channel.code());
    format!("{action} by {} on {channel}: {:?} instead of {}", row.role, decided(answer), row.outcome.code())
}

/// On the telephone these callers offer no passphrase: where the matrix wants one, they are asked for it.
fn as_expected(row: &Row, answer: &AuthorizeResponse) -> bool {
    let expected = match (row.outcome, row.method) {
        (Outcome::Open, _) => (Decision::Allow, Reason::Open),
        (Outcome::Nobody, _) => (Decision::Deny, Reason::NotOnThisChannel),
        (_, Some(Method::Passphrase)) => {
            let accepted = answer.challenge.as_ref().map(|challenge| challenge.accepted_methods.as_slice());
            return decided(answer) == (Decision::Challenge, Reason::EvidenceRequired)
                && accepted == Some([i32::from(EvidenceMethod::Passphrase)].as_slice());
        }
        (Outcome::Allow, _) => (Decision::Allow, Reason::Permitted),
        (Outcome::Escalate, _) => (Decision::Escalate, Reason::Escalated),
        (Outcome::Deny, _) => (Decision::Deny, Reason::NotPermitted),
    };
    let verified = answer.verified.is_some();
    decided(answer) == expected && verified == row.method.is_some()
}

/// Who has this role in the sample company, for all of it, and no other.
fn person(row: &Row) -> &'static str {
    match row.role.as_str() {
        "super_admin" => sample::ADA,
        "company_admin" => sample::BEN,
        "it_admin" => sample::CHLOE,
        "vcc_admin" => sample::DEV,
        "my8x8_admin" => sample::ELENA,
        "audit_management_admin" => sample::FARID,
        "basic_user" => sample::GRACE,
        other => panic!("nobody in the sample company is {other}"),
    }
}

fn wire(channel: interaction::Channel) -> Channel {
    match channel {
        interaction::Channel::Phone => Channel::Phone,
        interaction::Channel::Portal => Channel::Portal,
        interaction::Channel::Chat => Channel::Chat,
    }
}
