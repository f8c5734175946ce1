//! Who gives power to whom, and who takes it away.

use countersign::{
    directory::{
        AccountId, Change, Contact as Person, ContactId, ContactStatus, RoleAssignment, RoleName, Scope, SiteId,
    },
    grpc::proto::countersign::v1::{
        GetPassphraseStatusRequest, PassphraseKind, passphrase_service_client::PassphraseServiceClient,
    },
};
use jiff::SignedDuration;

use super::*;

over_both_stores! {
    roles_are_granted_within_ones_own_and_never_to_oneself,
    a_site_administrator_grants_at_that_site_alone,
    a_grant_waits_through_a_cool_off_and_a_revocation_does_not,
    the_last_administrator_stays,
    the_primary_administrator_hands_over_and_that_suspends_the_accounts_passphrase,
    where_nobody_answers_for_an_account_an_administrator_names_another,
}

/// Gives somebody a role, a year ago.
async fn has_long_been(world: &World, contact: &str, role: &str, site: Option<&str>) {
    let a_year = SignedDuration::from_hours(24 * 365);
    let scope = site.map_or(Scope::Company, |site| Scope::Site(SiteId::new(site)));
    let granted = countersign::clock::Clock::now(&*world.clock).saturating_sub(a_year).unwrap();
    let (contact, role) = (ContactId::new(contact), RoleName::new(role));
    world.sidecar.change(vec![Change::AssignRole(RoleAssignment { contact, role, scope, granted })]).await;
}

// proves: S10, A15, A25
async fn roles_are_granted_within_ones_own_and_never_to_oneself(world: World) {
    let (ada, ben, chloe) = (world.portal(sample::ADA), world.portal(sample::BEN), world.portal(sample::CHLOE));
    // A Company Admin grants what he may himself, and nothing beyond: neither billing nor the contact centre is his.
    for role in ["it_admin", "basic_user", "company_admin"] {
        assert_eq!(ben.assign(sample::JUNE, role, "").await, Answer::Done, "{role}");
    }
    for role in ["super_admin", "audit_management_admin", "my8x8_admin", "vcc_admin"] {
        assert_eq!(ben.assign(sample::JUNE, role, "").await, Answer::NotPermitted, "{role}");
    }
    let june = ben.contact(sample::JUNE).await.1.unwrap();
    let roles: Vec<_> = june.roles.iter().map(|role| (role.role.as_str(), role.site_id.as_str())).collect();
    assert_eq!(roles, [("basic_user", ""), ("company_admin", ""), ("it_admin", "")]);
    assert!(world.was_told("role_granted", "ada.moreno@acme.example").await, "the primary administrator is told");

    // Nobody grants to himself, not even what he could grant to anybody else.
    for (desk, who) in [(&ada, sample::ADA), (&ben, sample::BEN)] {
        for role in ["it_admin", "super_admin"] {
            assert_eq!(desk.assign(who, role, "").await, Answer::NotPermitted, "{who} {role}");
        }
        assert_eq!(desk.assign(who, "it_admin", sample::SITE_WEST).await, Answer::NotPermitted);
    }
    // Who may not grant learns nothing by trying.
    for contact in [sample::GRACE, sample::KARL, "con-none"] {
        assert_eq!(chloe.assign(contact, "basic_user", "").await, Answer::NotPermitted, "{contact}");
        assert_eq!(chloe.revoke(contact, "basic_user", "").await, Answer::NotPermitted, "{contact}");
    }
    // A Super Admin grants everything, and a system what its roles are.
    assert_eq!(ada.assign(sample::GRACE, "audit_management_admin", "").await, Answer::Done);
    assert_eq!(world.system("hr").assign(sample::GRACE, "super_admin", "").await, Answer::NotPermitted);
    assert_eq!(world.system("hr").assign(sample::LENA, "it_admin", "").await, Answer::Done);
    assert_eq!(world.system("carrier").assign(sample::LENA, "super_admin", "").await, Answer::Done);

    // What exceeds one's own is not taken away either.
    for (contact, role) in [(sample::ELENA, "my8x8_admin"), (sample::FARID, "audit_management_admin")] {
        assert_eq!(ben.revoke(contact, role, "").await, Answer::NotPermitted, "{role}");
        assert_eq!(ada.revoke(contact, role, "").await, Answer::Done, "{role}");
    }
    assert!(world.was_told("role_revoked", "elena.petrova@acme.example").await);

    // What is so already is done, and writes nothing.
    let before = world.sidecar.revision().await;
    assert_eq!(ben.assign(sample::JUNE, "it_admin", "").await, Answer::Done);
    assert_eq!(ben.revoke(sample::JUNE, "my8x8_admin", "").await, Answer::NotPermitted);
    assert_eq!(ada.revoke(sample::JUNE, "my8x8_admin", "").await, Answer::Done);
    assert_eq!(world.sidecar.revision().await, before);

    let refused = async |contact: &str, role: &str, site: &str| {
        let answer = ada.assign_role(assigning(contact, role, site)).await.unwrap();
        (answer.answer(), answer.field)
    };
    assert_eq!(refused(sample::JUNE, "janitor", "").await, (Answer::Invalid, "role".to_owned()));
    assert_eq!(refused(sample::JUNE, "it_admin", "site-none").await, (Answer::Invalid, "site_id".to_owned()));
    assert_eq!(refused(sample::IVAN, "basic_user", "").await, (Answer::Invalid, "contact_id".to_owned()));
    for contact in [sample::KARL, "con-none"] {
        assert_eq!(refused(contact, "basic_user", "").await, (Answer::NotFound, String::new()), "{contact}");
    }
}

// proves: S10, A16
async fn a_site_administrator_grants_at_that_site_alone(world: World) {
    has_long_been(&world, sample::HANA, "company_admin", Some(sample::SITE_WEST)).await;
    let hana = world.portal(sample::HANA);
    assert_eq!(hana.assign(sample::JUNE, "it_admin", sample::SITE_WEST).await, Answer::Done);
    assert_eq!(hana.assign(sample::JUNE, "vcc_admin", sample::SITE_WEST).await, Answer::NotPermitted, "beyond his own");
    for site in [sample::SITE_HQ, ""] {
        assert_eq!(hana.assign(sample::JUNE, "it_admin", site).await, Answer::NotPermitted, "`{site}`");
        assert_eq!(hana.revoke(sample::CHLOE, "it_admin", site).await, Answer::NotPermitted, "`{site}`");
    }
    assert_eq!(hana.assign(sample::HANA, "it_admin", sample::SITE_WEST).await, Answer::NotPermitted, "to oneself");
    assert_eq!(hana.revoke(sample::JUNE, "it_admin", sample::SITE_WEST).await, Answer::Done);
    // Users are of the whole company.
    assert_eq!(hana.deactivate(sample::JUNE).await, Answer::NotPermitted);
    assert_eq!(world.portal(sample::ADA).assign(sample::JUNE, "vcc_admin", sample::SITE_HQ).await, Answer::Done);
}

// proves: A31, A13, A25
async fn a_grant_waits_through_a_cool_off_and_a_revocation_does_not(world: World) {
    world.sidecar.set_passphrase(Some(sample::ADA), "violet anchor sleeping harbor tune").await;
    let ada = || world.portal(sample::ADA);
    assert_eq!(ada().assign(sample::JUNE, "basic_user", "").await, Answer::NotPermitted);
    assert_eq!(ada().transfer(sample::ACME, sample::BEN).await, Answer::NotPermitted);
    assert_eq!(ada().revoke(sample::GRACE, "basic_user", "").await, Answer::Done);
    world.clock.advance(24 * HOUR);
    assert_eq!(ada().assign(sample::JUNE, "company_admin", "").await, Answer::Done);
    // Who was given power hands none on before a day has passed.
    let june = || world.portal(sample::JUNE);
    assert_eq!(june().assign(sample::GRACE, "basic_user", "").await, Answer::NotPermitted);
    let cause = world.records().pop().unwrap().cause;
    assert_eq!(cause.as_deref(), Some("role.grant: cool-off"));
    world.clock.advance(24 * HOUR);
    assert_eq!(june().assign(sample::GRACE, "basic_user", "").await, Answer::Done);
}

// proves: S13
async fn the_last_administrator_stays(world: World) {
    let carrier = world.system("carrier");
    let ada = world.portal(sample::ADA);
    // Ada and Ben let others in; Ivan left, and who has the role at a site alone does not count.
    has_long_been(&world, sample::HANA, "company_admin", Some(sample::SITE_WEST)).await;
    assert_eq!(ada.deactivate(sample::BEN).await, Answer::Done);
    assert!(world.was_told("contact_deactivated", "ben.okafor@acme.example").await);
    for desk in [&ada, &carrier] {
        assert_eq!(desk.revoke(sample::ADA, "super_admin", "").await, Answer::LastAdmin);
        assert_eq!(desk.deactivate(sample::ADA).await, Answer::PrimaryAdmin);
    }
    // Also when she does not answer for the account any more.
    assert_eq!(ada.transfer(sample::ACME, sample::CHLOE).await, Answer::Done);
    assert_eq!(carrier.deactivate(sample::ADA).await, Answer::LastAdmin);
    assert_eq!(carrier.deactivate(sample::CHLOE).await, Answer::PrimaryAdmin);
    // A second role of the kind may go, and with a successor she may.
    assert_eq!(carrier.assign(sample::ADA, "company_admin", "").await, Answer::Done);
    assert_eq!(carrier.revoke(sample::ADA, "super_admin", "").await, Answer::Done);
    assert_eq!(carrier.revoke(sample::ADA, "company_admin", "").await, Answer::LastAdmin);
    assert_eq!(carrier.assign(sample::JUNE, "company_admin", "").await, Answer::Done);
    assert_eq!(carrier.deactivate(sample::ADA).await, Answer::Done);
    assert_eq!(carrier.revoke(sample::JUNE, "company_admin", "").await, Answer::LastAdmin);
    // What is no administrator's goes, whoever has it.
    assert_eq!(carrier.revoke(sample::CHLOE, "it_admin", "").await, Answer::Done);
    assert_eq!(carrier.deactivate(sample::FARID).await, Answer::Done);
}

// proves: S13, S14, A13
async fn the_primary_administrator_hands_over_and_that_suspends_the_accounts_passphrase(world: World) {
    world.sidecar.set_passphrase(None, "violet anchor sleeping harbor tune").await;
    world.clock.advance(24 * HOUR);
    let (ada, ben) = (world.portal(sample::ADA), world.portal(sample::BEN));
    // Nobody takes the office.
    for desk in [&ben, &world.portal(sample::JUNE), &world.system("hr"), &world.system("carrier")] {
        assert_eq!(desk.transfer(sample::ACME, sample::BEN).await, Answer::NotPermitted);
    }
    assert_eq!(ada.transfer(sample::ACME, sample::KARL).await, Answer::NotFound);
    assert_eq!(ada.transfer(sample::BOREALIS, sample::LENA).await, Answer::NotFound);
    assert_eq!(ada.transfer(sample::ACME, sample::IVAN).await, Answer::Invalid);
    assert_eq!(ada.transfer(sample::ACME, sample::ADA).await, Answer::Done, "she has it");
    assert_eq!(suspended_for(&world, sample::ADA).await, Some(false));

    assert_eq!(ada.transfer(sample::ACME, sample::BEN).await, Answer::Done);
    let account = ben.account(sample::ACME).await.1.unwrap();
    assert_eq!(account.primary_admin_contact_id, sample::BEN);
    assert!(world.was_told("primary_admin_changed", "ada.moreno@acme.example").await, "who had it before is told");
    assert_eq!(suspended_for(&world, sample::BEN).await, Some(true));
    assert_eq!(ada.transfer(sample::ACME, sample::ADA).await, Answer::NotPermitted, "it is not hers any more");
}

/// Whether the account's passphrase is suspended, as its primary administrator sees it.
async fn suspended_for(world: &World, contact: &str) -> Option<bool> {
    let client = world.sidecar.client("portal");
    let request = GetPassphraseStatusRequest {
        caller: Some(caller(sample::ACME, contact, wall_time(&world.clock))),
        kind: PassphraseKind::Account.into(),
        ..GetPassphraseStatusRequest::default()
    };
    let mut stub = PassphraseServiceClient::new(client.channel());
    let answer = patiently(stub.get_passphrase_status(client.with_token(request))).await.unwrap().into_inner();
    answer.status.map(|status| status.suspended_at.is_some())
}

// proves: S13, S10
async fn where_nobody_answers_for_an_account_an_administrator_names_another(world: World) {
    let borealis = world.sidecar.directory().find_account(&AccountId::new(sample::BOREALIS)).await.unwrap().unwrap();
    let id = AccountId::new("acc-3003");
    let orphan = countersign::directory::Account {
        id: id.clone(),
        primary_admin: None,
        numbers_of_record: Vec::new(),
        ..borealis.clone()
    };
    let person = |contact: &str| {
        Change::PutContact(Person {
            id: ContactId::new(contact),
            account: id.clone(),
            first_name: "Olga".to_owned(),
            last_name: "Nyman".to_owned(),
            email: None,
            extension: None,
            user_id: None,
            status: ContactStatus::Active,
            created: borealis.created,
        })
    };
    world.sidecar.change(vec![Change::PutAccount(orphan), person("con-3001"), person("con-3002")]).await;
    has_long_been(&world, "con-3001", "company_admin", None).await;
    let admin = world.portal_of("acc-3003", "con-3001");
    assert_eq!(admin.transfer("acc-3003", "con-3001").await, Answer::NotPermitted, "himself");
    assert_eq!(world.portal_of("acc-3003", "con-3002").transfer("acc-3003", "con-3001").await, Answer::NotPermitted);
    assert_eq!(admin.transfer("acc-3003", "con-3002").await, Answer::Done);
    assert_eq!(admin.transfer("acc-3003", "con-3001").await, Answer::NotPermitted, "there is one now");
    assert_eq!(world.system("hr").account("acc-3003").await.1.unwrap().primary_admin_contact_id, "con-3002");
}
