//! The account review, as an operator sees it: `countersign review`, through the sidecar and without one.

use std::collections::BTreeSet;

use countersign::{
    directory::{Change, Contact, ContactId, ContactStatus, RoleAssignment, RoleName, Scope, sample},
    grpc::proto::countersign::v1::{Channel::Portal, Decision, attribute_value::Value},
    review::{Finding, Kind, Severity},
};

use crate::{
    people::{command, shown},
    question::{Question, ask},
    sidecar::{Home, Sidecar},
};

mod names;

fn found(lines: &str) -> Vec<Finding> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Kind and contact of each finding.
fn brief(findings: &[Finding]) -> BTreeSet<(&str, &str)> {
    let contact = |finding: &Finding| finding.contact.as_ref().map_or("", |contact| contact.as_str()).to_owned();
    findings.iter().map(|finding| (finding.kind.code(), &*contact(finding).leak())).collect()
}

async fn of_acme(home: &Home) -> Vec<Finding> {
    found(&shown(home, &["review", sample::ACME, "--json"]).await)
}

// proves: S11, S12, S13, S14
#[tokio::test]
async fn a_review_says_what_is_amiss_with_and_without_a_sidecar() {
    let sidecar = Sidecar::start().await;
    let filler = Contact {
        id: ContactId::new("con-1099"),
        first_name: "Front".into(),
        last_name: "Desk".into(),
        email: None,
        extension: None,
        user_id: None,
        status: ContactStatus::Active,
        ..sidecar.directory().find_standing(&ContactId::new(sample::JUNE)).await.unwrap().unwrap().contact
    };
    sidecar.change(vec![Change::PutContact(filler)]).await;
    sidecar.set_passphrase(Some(sample::BEN), "violet anchor sleeping harbor tune").await;
    let running = of_acme(&sidecar.home).await;

    let expected = [
        ("generic_name", "con-1099"),
        ("no_email", "con-1099"),
        ("no_extension", "con-1099"),
        ("left_with_roles", sample::IVAN),
        ("no_account_passphrase", ""),
    ];
    let with_roles = [
        sample::ADA,
        sample::BEN,
        sample::CHLOE,
        sample::DEV,
        sample::ELENA,
        sample::FARID,
        sample::GRACE,
        sample::HANA,
    ];
    let idle = with_roles.iter().map(|contact| ("idle_with_roles", *contact));
    let mute = with_roles.iter().filter(|contact| **contact != sample::BEN).map(|contact| ("no_passphrase", *contact));
    let all: BTreeSet<_> = expected.into_iter().chain(idle).chain(mute).collect();
    let seen = brief(&running);
    assert!(all.is_subset(&seen), "missing: {:?}", all.difference(&seen));
    let unused: BTreeSet<_> = seen.difference(&all).copied().collect();
    assert!(unused.iter().all(|(kind, _)| *kind == "role_never_used" || *kind == "one_admin"), "{unused:?}");
    assert!(unused.contains(&("role_never_used", sample::ELENA)), "{unused:?}");
    assert!(!unused.contains(&("role_never_used", sample::GRACE)), "a basic user's role permits nothing of its own");

    let home = sidecar.stop().await;
    assert_eq!(of_acme(&home).await, running, "the same without a sidecar");
}

fn order() -> Question {
    ask(Portal, "order.place")
        .upon("order", "o-1")
        .with("amount_minor", Value::Number(12_900))
        .with("currency", Value::Text("USD".to_owned()))
}

// proves: S12
#[tokio::test]
async fn who_was_verified_is_not_idle_and_what_he_did_is_used() {
    let sidecar = Sidecar::start().await;
    let portal = sidecar.client("portal");
    portal.authorize(order().by(sample::ADA).logged_in()).await.unwrap();
    let refused = portal
        .authorize(ask(Portal, "billing.change").by(sample::CHLOE).upon("billing", "b-1").logged_in())
        .await
        .unwrap();
    assert_ne!(refused.decision(), Decision::Allow);
    // What waits is written before the sidecar stops.
    let home = sidecar.stop().await;
    let seen = of_acme(&home).await;
    let seen = brief(&seen);
    assert!(!seen.contains(&("idle_with_roles", sample::ADA)) && !seen.contains(&("role_never_used", sample::ADA)));
    assert!(!seen.contains(&("idle_with_roles", sample::CHLOE)), "he was verified, and refused");
    assert!(seen.contains(&("role_never_used", sample::CHLOE)) && seen.contains(&("idle_with_roles", sample::BEN)));
}

#[tokio::test]
async fn a_review_of_all_is_told_as_a_table_csv_or_json_and_can_fail_a_nightly_job() {
    let sidecar = Sidecar::start().await;
    let home = &sidecar.home;
    let all = found(&shown(home, &["review", "--all", "--json"]).await);
    assert_eq!(
        all.iter().map(|finding| finding.account.as_str()).collect::<BTreeSet<_>>(),
        [sample::ACME, sample::BOREALIS].into()
    );
    let high = found(&shown(home, &["review", "--all", "--severity", "high", "--json"]).await);
    let expected: Vec<_> = all.iter().filter(|finding| finding.severity == Severity::High).cloned().collect();
    assert!(!high.is_empty() && high == expected);

    let csv = shown(home, &["review", "--all", "--csv"]).await;
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("severity,account,contact,finding,detail,meaning,remedy"));
    assert_eq!(lines.count(), all.len());

    let table = shown(home, &["review", "--all"]).await;
    for finding in &all {
        assert!(table.contains(finding.kind.code()) && table.contains(finding.account.as_str()));
    }
    assert!(table.contains(&format!("{} findings in 2 accounts with 12 contacts", all.len())), "{table}");

    let nightly = command(home, &["review", "--all", "--fail-on-findings"]).await;
    assert_eq!(nightly.status.code(), Some(1));
    let unknown = command(home, &["review", "acc-9999"]).await;
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("account is unknown"));
    let neither = command(home, &["review"]).await;
    assert_eq!(neither.status.code(), Some(2));
}

/// Ids and names come from elsewhere: none steers a terminal or a spreadsheet.
#[tokio::test]
async fn no_id_becomes_a_formula_in_a_sheet() {
    let sidecar = Sidecar::start().await;
    let june = sidecar.directory().find_standing(&ContactId::new(sample::JUNE)).await.unwrap().unwrap().contact;
    let evil = Contact {
        id: ContactId::new("=cmd|'/C"),
        email: None,
        extension: None,
        user_id: None,
        first_name: "Front\u{202e}".into(),
        ..june
    };
    let role = RoleAssignment {
        contact: evil.id.clone(),
        role: RoleName::new("=1+1"),
        scope: Scope::Company,
        granted: evil.created,
    };
    let changes = vec![Change::PutContact(evil), Change::AssignRole(role)];
    sidecar.change(changes).await;
    let csv = shown(&sidecar.home, &["review", sample::ACME, "--csv"]).await;
    let unknown: Vec<_> = csv.lines().filter(|line| line.contains(Kind::UnknownRole.code())).collect();
    assert_eq!(unknown.len(), 1, "{csv}");
    assert!(unknown[0].contains(",'=cmd|'/C,unknown_role,'=1+1,"), "{}", unknown[0]);
}
