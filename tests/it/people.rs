//! The directory commands: through the sidecar that runs, or upon its data when none does; the same either way.

use std::process::Output;

use countersign::{
    audit::{Record, record::ChangeRecord},
    directory::{Actor, sample},
    grpc::proto::countersign::v1::{Channel::Portal, Decision},
};
use serde_json::Value;

use crate::{
    passphrase::PHRASE,
    process,
    question::ask,
    sidecar::{Home, Sidecar},
};

/// A command upon this home, off the test's runtime, on which the sidecar runs.
pub async fn command(home: &Home, arguments: &[&str]) -> Output {
    let config = home.config().display().to_string();
    let arguments: Vec<String> =
        arguments.iter().map(|argument| (*argument).to_owned()).chain(["--config".to_owned(), config]).collect();
    let run = move || process::run(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), "");
    tokio::task::spawn_blocking(run).await.unwrap()
}

pub async fn shown(home: &Home, arguments: &[&str]) -> String {
    let output = command(home, arguments).await;
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn said(home: &Home, arguments: &[&str]) -> String {
    let output = command(home, arguments).await;
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stderr).unwrap()
}

async fn refused(home: &Home, arguments: &[&str]) -> String {
    let output = command(home, arguments).await;
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

async fn json(home: &Home, arguments: &[&str]) -> Value {
    serde_json::from_str(&shown(home, arguments).await).unwrap()
}

#[tokio::test]
async fn accounts_and_contacts_are_shown_alike_with_and_without_a_sidecar() {
    let sidecar = Sidecar::start().await;
    let running = listings(&sidecar.home).await;
    let stopped = listings(&sidecar.stop().await).await;
    assert_eq!(running, stopped);

    let [accounts, acme, contacts, ada, page] = &running;
    assert!(accounts.contains("Acme Telephony") && accounts.contains("Borealis Foods"), "{accounts}");
    let acme: Value = serde_json::from_str(acme).unwrap();
    assert_eq!(acme["primary_admin"].as_str(), Some(sample::ADA));
    assert_eq!(acme["numbers_of_record"][0]["number"].as_str(), Some(sample::ACME_OLD_NUMBER));
    assert!(contacts.contains("Hana Sato") && contacts.contains("it_admin at site-west"), "{contacts}");
    assert!(!contacts.contains("Karl"), "he is of another account: {contacts}");
    assert!(ada.contains("super_admin since") && ada.contains("ada.moreno@acme.example"), "{ada}");
    let page: Vec<Value> = page.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<_> = page.iter().map(|contact| contact["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["con-1009", "con-1010", "con-2001"]);
}

async fn listings(home: &Home) -> [String; 5] {
    [
        shown(home, &["account", "list"]).await,
        shown(home, &["account", "show", sample::ACME, "--json"]).await,
        shown(home, &["contact", "list", "--account", sample::ACME]).await,
        shown(home, &["contact", "show", sample::ADA]).await,
        shown(home, &["contact", "list", "--after", "con-1008", "--limit", "3", "--json"]).await,
    ]
}

// proves: S12
#[tokio::test]
async fn who_is_deactivated_by_an_operator_is_served_no_more_and_that_is_audited() {
    let sidecar = Sidecar::start().await;
    let portal = sidecar.client("portal");
    let view = || ask(Portal, "account.view").upon("account", "").by(sample::BEN).logged_in();
    assert_eq!(portal.authorize(view()).await.unwrap().decision(), Decision::Allow);
    assert_eq!(said(&sidecar.home, &["contact", "deactivate", sample::BEN]).await, "deactivated\n");
    assert_ne!(portal.authorize(view()).await.unwrap().decision(), Decision::Allow);
    assert_eq!(said(&sidecar.home, &["contact", "deactivate", sample::BEN]).await, "was inactive before\n");

    let home = sidecar.stop().await;
    assert_eq!(said(&home, &["contact", "deactivate", sample::GRACE]).await, "deactivated\n", "without a sidecar, too");
    let grace = json(&home, &["contact", "show", sample::GRACE, "--json"]).await;
    assert_eq!(grace["status"].as_str(), Some("inactive"));
    let whom: Vec<_> =
        changes(&home).into_iter().map(|change| (change.what, change.contact.unwrap().to_string())).collect();
    let what = "contact_deactivated".to_owned();
    assert_eq!(whom, [(what.clone(), sample::BEN.to_owned()), (what, sample::GRACE.to_owned())]);
}

// proves: S13
#[tokio::test]
async fn an_operator_cannot_deactivate_the_primary_admin_either() {
    let sidecar = Sidecar::start().await;
    let refusal = refused(&sidecar.home, &["contact", "deactivate", sample::ADA]).await;
    assert!(refusal.contains("primary administrator: name another first"), "{refusal}");
    let home = sidecar.stop().await;
    assert_eq!(refused(&home, &["contact", "deactivate", sample::ADA]).await, refusal);
    assert!(changes(&home).is_empty(), "what was intended only did not happen");
}

// proves: S13
#[tokio::test]
async fn an_operator_leaves_nobody_without_an_administrator_either() {
    let sidecar = Sidecar::start().await;
    let home = &sidecar.home;
    let revoke = |contact: &'static str, role: &'static str| ["role", "revoke", "--contact", contact, "--role", role];
    assert_eq!(said(home, &revoke(sample::BEN, "company_admin")).await, "revoked\n", "there is Ada");
    let refusal = refused(home, &revoke(sample::ADA, "super_admin")).await;
    assert!(refusal.contains("nobody of the account would be left who can grant roles"), "{refusal}");
    // At another account it is another who stays, also when he does not answer for it.
    let lena = ["role", "assign", "--contact", sample::LENA, "--role", "company_admin"];
    assert_eq!(said(home, &lena).await, "assigned\n");
    assert_eq!(said(home, &revoke(sample::KARL, "super_admin")).await, "revoked\n");
    let home = sidecar.stop().await;
    assert_eq!(refused(&home, &["contact", "deactivate", sample::LENA]).await, refusal, "without a sidecar, too");
    assert_eq!(changes(&home).len(), 3, "what was intended only did not happen");
}

// proves: S10
#[tokio::test]
async fn roles_are_assigned_and_revoked_where_they_apply_and_that_is_audited() {
    let sidecar = Sidecar::start().await;
    let june = |verb: &'static str, role: &'static str| ["role", verb, "--contact", sample::JUNE, "--role", role];
    let at = |words: [&'static str; 6], site: &'static str| [&words[..], &["--site", site]].concat();
    let assign = june("assign", "it_admin");
    assert_eq!(said(&sidecar.home, &at(assign, sample::SITE_WEST)).await, "assigned\n");
    assert_eq!(said(&sidecar.home, &at(assign, sample::SITE_WEST)).await, "was assigned before\n");
    let shown = json(&sidecar.home, &["contact", "show", sample::JUNE, "--json"]).await;
    assert_eq!(shown["roles"][0]["scope"]["site"].as_str(), Some(sample::SITE_WEST), "{shown}");
    assert_eq!(said(&sidecar.home, &june("revoke", "it_admin")).await, "was not assigned\n", "not company-wide");
    assert_eq!(said(&sidecar.home, &at(june("revoke", "it_admin"), sample::SITE_WEST)).await, "revoked\n");

    let table: [(&[&str], &str); 4] = [
        (&june("assign", "it_admim"), "role: must be a role of the policy: "),
        (&at(assign, "site-moon"), "site: must be a site of the contact's account"),
        (&["role", "assign", "--contact", "con-9999", "--role", "it_admin"], "contact is unknown"),
        (&["contact", "show", "con-9999"], "contact is unknown"),
    ];
    for (arguments, expected) in table {
        let refusal = refused(&sidecar.home, arguments).await;
        assert!(refusal.contains(expected), "{arguments:?}: {refusal}");
    }
    let home = sidecar.stop().await;
    let what: Vec<_> = changes(&home).into_iter().map(|change| change.what).collect();
    assert_eq!(what, ["role_assigned", "role_revoked"]);
}

// proves: A35
#[tokio::test]
async fn nothing_is_changed_that_cannot_be_recorded() {
    let sidecar = Sidecar::start().await;
    sidecar.set_passphrase(Some(sample::BEN), PHRASE).await;
    let revision = sidecar.revision().await;
    sidecar.reserve_disk(u64::MAX);
    let commands: [&[&str]; 4] = [
        &["role", "assign", "--contact", sample::JUNE, "--role", "it_admin"],
        &["role", "revoke", "--contact", sample::ADA, "--role", "super_admin"],
        &["contact", "deactivate", sample::GRACE],
        &["passphrase", "clear", "--account", sample::ACME, "--contact", sample::BEN],
    ];
    for arguments in commands {
        let refusal = refused(&sidecar.home, arguments).await;
        assert!(refusal.contains("MiB left"), "{arguments:?}: {refusal}");
        assert_eq!(sidecar.revision().await, revision, "{arguments:?}");
    }
    sidecar.reserve_disk(0);
    for arguments in commands {
        said(&sidecar.home, arguments).await;
    }
    assert!(sidecar.revision().await > revision);
}

/// The changes that the audit has, each announced before it came about, and each by an operator.
fn changes(home: &Home) -> Vec<ChangeRecord> {
    let records = home.records().into_iter();
    let changes: Vec<_> = records
        .filter_map(|record| match record {
            Record::Change(change) => Some(change),
            _ => None,
        })
        .collect();
    let (intended, changes): (Vec<_>, Vec<_>) =
        changes.into_iter().partition(|change| change.what.ends_with("_intended"));
    let is_intended = |change: &ChangeRecord| {
        intended.iter().any(|before| {
            (&before.contact, &before.what) == (&change.contact, &format!("{}_intended", change.what))
                && before.directory_revision < change.directory_revision
        })
    };
    assert!(changes.iter().all(is_intended), "{intended:?} {changes:?}");
    assert!(changes.iter().all(|change| matches!(&change.actor, Actor::Operator(name) if !name.is_empty())));
    changes
}
