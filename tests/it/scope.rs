//! Tenant and scope: who administers one site or company does nothing at another.

use countersign::{
    audit::Record,
    directory::sample,
    grpc::proto::countersign::v1::{Channel::Portal, Decision, Reason},
};

use crate::{answer::decided, question::ask, sidecar::Sidecar};

// proves: A16
#[tokio::test]
async fn a_site_administrator_acts_on_that_site_alone() {
    let sidecar = Sidecar::start().await;
    let portal = sidecar.client("portal");
    let device =
        |site: &str| ask(Portal, "device.change").upon("device", "d-1").at_site(site).by(sample::HANA).logged_in();
    assert_eq!(
        decided(&portal.authorize(device(sample::SITE_WEST)).await.unwrap()),
        (Decision::Allow, Reason::Permitted)
    );
    for elsewhere in [sample::SITE_HQ, ""] {
        let answer = portal.authorize(device(elsewhere)).await.unwrap();
        assert_eq!(answer.decision(), Decision::Escalate, "at `{elsewhere}` the administrator decides");
    }
    let answer = portal.authorize(device("site-of-nobody")).await.unwrap();
    assert_eq!(decided(&answer), (Decision::Deny, Reason::NotPermitted));
}

// proves: A16
#[tokio::test]
async fn a_site_of_another_company_leaves_no_role_at_all() {
    let sidecar = Sidecar::start().await;
    let portal = sidecar.client("portal");
    let question = ask(Portal, "device.change")
        .upon("device", "d-1")
        .at_site(sample::SITE_HQ)
        .by_contact_of(sample::BOREALIS, sample::KARL)
        .logged_in();
    let answer = portal.authorize(question).await.unwrap();
    assert_eq!(decided(&answer), (Decision::Deny, Reason::NotPermitted), "not even the super admin of Borealis");
    let Some(Record::Decision(record)) = sidecar.home.record(&answer.decision_id) else { panic!("no record") };
    assert_eq!(record.item.rule, "", "policy was not asked");
}

// proves: A16
#[tokio::test]
async fn a_contact_of_one_account_is_nobody_at_another() {
    let sidecar = Sidecar::start().await;
    let portal = sidecar.client("portal");
    for contact in [sample::KARL, "con-0000"] {
        let question = ask(Portal, "account.view").upon("account", "").by_contact_of(sample::ACME, contact).logged_in();
        let answer = portal.authorize(question).await.unwrap();
        assert_eq!(decided(&answer), (Decision::Deny, Reason::NotVerified), "{contact}");
        assert_eq!(answer.verified, None);
    }
}
