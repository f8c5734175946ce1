//! Contacts come, change and go.

use countersign::grpc::proto::countersign::v1::{
    Channel::{Phone, Portal},
    Decision, EscalationMode,
};

use super::*;
use crate::{answer::decided, passphrase::PHRASE, question::ask};

over_both_stores! {
    who_left_comes_back_without_what_he_had_by_whom_it_was_no_more_than_he_may,
    a_contact_is_created_changed_by_name_and_found,
    what_another_contact_has_is_a_conflict_and_what_cannot_be_is_invalid,
    who_could_log_in_as_another_does_not_change_by_what_he_logs_in,
    who_is_deactivated_has_nothing_left_from_that_moment,
    a_change_takes_a_login_of_the_last_ten_minutes,
    nobody_changes_anything_of_another_account,
}

fn email(address: &str) -> ContactProfile {
    ContactProfile { email: address.to_owned(), ..ContactProfile::default() }
}

// proves: F10, A31
async fn a_contact_is_created_changed_by_name_and_found(world: World) {
    let chloe = world.portal(sample::CHLOE);
    let profile = ContactProfile {
        first_name: "Maya".to_owned(),
        last_name: "Ortiz".to_owned(),
        email: "maya.ortiz@acme.example".to_owned(),
        extension: "111".to_owned(),
        user_id: "mortiz".to_owned(),
    };
    let request = CreateContactRequest {
        account_id: sample::ACME.to_owned(),
        profile: Some(profile),
        ..CreateContactRequest::default()
    };
    let created = chloe.create_contact(request).await.unwrap();
    assert_eq!(created.answer(), Answer::Done);
    let maya = created.contact.unwrap();
    assert!(maya.id.starts_with("con-") && maya.id.len() > 20, "drawn: {}", maya.id);
    assert_eq!((maya.status(), maya.roles.len(), maya.account_id.as_str()), (ContactStatus::Active, 0, sample::ACME));
    assert_eq!(chloe.contact(&maya.id).await, (Answer::Done, Some(maya.clone())), "as it is read");
    assert!(world.was_told("contact_added", "ada.moreno@acme.example").await);

    // Only what is named is changed; an empty text takes the value away.
    let both = ContactProfile { first_name: "Mayra".to_owned(), last_name: "Nobody".to_owned(), ..email("") };
    let changed = chloe.update_contact(updating(&maya.id, both, &["first_name", "email"])).await.unwrap();
    let (answer, now) = (changed.answer(), changed.contact.unwrap());
    let wanted =
        Contact { first_name: "Mayra".to_owned(), email: String::new(), etag: now.etag.clone(), ..maya.clone() };
    assert_eq!((answer, &now), (Answer::Done, &wanted));
    assert_ne!(now.etag, maya.etag);
    assert_eq!(chloe.contact(&maya.id).await.1.unwrap(), now);
    // The old address is told that it is gone (F11), and no notice says the new value.
    assert!(world.was_told("email_changed", "maya.ortiz@acme.example").await);

    // Systems bring ids of their own; persons do not.
    let own = |account: &str, id: &str| CreateContactRequest {
        contact_id: id.to_owned(),
        ..creating(account, "Nils", "Holm")
    };
    let hr = world.system("hr");
    assert_eq!(hr.create_contact(own(sample::BOREALIS, "hr-4711")).await.unwrap().contact.unwrap().id, "hr-4711");
    for (account, id) in [(sample::BOREALIS, "hr-4711"), (sample::ACME, "hr-4711"), (sample::ACME, sample::KARL)] {
        let answer = hr.create_contact(own(account, id)).await.unwrap();
        assert_eq!((answer.answer(), answer.field.as_str()), (Answer::Conflict, "contact_id"), "{id}");
    }
    assert_eq!(invalid_field(chloe.create_contact(own(sample::ACME, "hr-4712")).await), "contact_id");
}

// proves: A33
async fn what_another_contact_has_is_a_conflict_and_what_cannot_be_is_invalid(world: World) {
    let ben = world.portal(sample::BEN);
    let with = |field: &str, value: &str| {
        let or = |name: &str| if name == field { value.to_owned() } else { String::new() };
        ContactProfile {
            first_name: or("first_name"),
            last_name: or("last_name"),
            email: or("email"),
            extension: or("extension"),
            user_id: or("user_id"),
        }
    };
    for (field, value, answer) in [
        ("email", "ADA.moreno@acme.example", Answer::Conflict),
        ("extension", "101", Answer::Conflict),
        ("user_id", "AMORENO", Answer::Conflict),
        ("first_name", " ", Answer::Invalid),
        ("last_name", "", Answer::Invalid),
        ("extension", "ten", Answer::Invalid),
        // Another account's are no concern of this one.
        ("email", "karl.weiss@borealis.example", Answer::Done),
    ] {
        let told = ben.update(sample::GRACE, with(field, value), &[field]).await;
        let named = if answer == Answer::Done { "" } else { field };
        assert_eq!(told, (answer, named.to_owned()), "{field} `{value}`");
    }
    let nameless = CreateContactRequest { profile: Some(email("x@acme.example")), ..creating(sample::ACME, "", "") };
    let refused = ben.create_contact(nameless).await.unwrap();
    assert_eq!((refused.answer(), refused.field.as_str(), refused.contact), (Answer::Invalid, "first_name", None));
    for mask in [&[][..], &["status"], &["roles"], &["id"]] {
        let request = updating(sample::GRACE, email("a@b.example"), mask);
        assert_eq!(invalid_field(ben.update_contact(request).await), "update_mask", "{mask:?}");
    }
    let without = CreateContactRequest { profile: None, ..creating(sample::ACME, "A", "B") };
    assert_eq!(invalid_field(ben.create_contact(without).await), "profile");
}

// proves: S10, A25, A31
async fn who_could_log_in_as_another_does_not_change_by_what_he_logs_in(world: World) {
    let (ada, ben, chloe) = (world.portal(sample::ADA), world.portal(sample::BEN), world.portal(sample::CHLOE));
    let user_id = ContactProfile { user_id: "thief".to_owned(), ..ContactProfile::default() };
    let name = ContactProfile { last_name: "Smith".to_owned(), ..ContactProfile::default() };
    // An IT Admin looks after users, and does not become one who may more.
    for above in [sample::ADA, sample::BEN, sample::DEV, sample::ELENA, sample::FARID] {
        let (refused, nothing) = (Answer::NotPermitted, String::new());
        assert_eq!(chloe.update(above, email("thief@evil.example"), &["email"]).await, (refused, nothing.clone()));
        assert_eq!(chloe.update(above, user_id.clone(), &["user_id"]).await, (refused, nothing), "{above}");
        assert_eq!(chloe.update(above, name.clone(), &["last_name"]).await.0, Answer::Done, "a name proves nothing");
    }
    assert_eq!(ben.update(sample::ADA, email("thief@evil.example"), &["email"]).await.0, Answer::NotPermitted);
    let cause = world.records().pop().unwrap().cause;
    assert_eq!(cause.as_deref(), Some("exceeds the actor: super_admin"));
    // Those below, those at a site, and oneself.
    for below in [sample::GRACE, sample::HANA, sample::JUNE, sample::CHLOE] {
        let address = format!("new.{below}@acme.example");
        assert_eq!(chloe.update(below, email(&address), &["email"]).await.0, Answer::Done, "{below}");
    }
    assert_eq!(ada.update(sample::BEN, email("ben@acme.example"), &["email"]).await.0, Answer::Done);
    // Whoever answers for the account is above an IT Admin, whatever his roles.
    assert_eq!(ada.transfer(sample::ACME, sample::GRACE).await, Answer::Done);
    assert_eq!(chloe.update(sample::GRACE, email("thief@evil.example"), &["email"]).await.0, Answer::NotPermitted);
    assert_eq!(ben.update(sample::GRACE, email("grace@acme.example"), &["email"]).await.0, Answer::Done);
}

// proves: S12, A13
async fn who_is_deactivated_has_nothing_left_from_that_moment(world: World) {
    let (sidecar, clock) = (&world.sidecar, &world.clock);
    sidecar.set_passphrase(Some(sample::CHLOE), PHRASE).await;
    let says = || ask(Phone, "identity.verify").by(sample::CHLOE).within("call-1").saying(PHRASE);
    let token = sidecar.client("ivr").insist(says()).await.unwrap().verification.unwrap().token;
    let shown = || ask(Phone, "user.change").within("call-1").with_token(&token);
    assert_eq!(sidecar.client("ivr").authorize(shown()).await.unwrap().decision(), Decision::Allow);
    let wish = || {
        let login = ask(Portal, "account.change").by(sample::CHLOE).logged_in_at(wall_time(clock));
        login.having(|request| request.escalation = EscalationMode::Open.into())
    };
    let portal = sidecar.client("portal");
    let opened = portal.authorize(wish()).await.unwrap();
    assert_eq!(opened.decision(), Decision::Escalate);
    assert!(
        portal.authorize(ask(Portal, "user.change").by(sample::CHLOE).logged_in_at(wall_time(clock))).await.is_ok()
    );

    assert_eq!(world.portal(sample::BEN).deactivate(sample::CHLOE).await, Answer::Done);
    assert_ne!(sidecar.client("ivr").authorize(shown()).await.unwrap().decision(), Decision::Allow, "the token");
    let again = ask(Phone, "identity.verify").by(sample::CHLOE).within("call-2").saying(PHRASE);
    assert_ne!(sidecar.client("ivr").insist(again).await.unwrap().decision(), Decision::Allow, "the passphrase");
    assert_ne!(decided(&portal.authorize(wish()).await.unwrap()).0, Decision::Escalate, "the login");
    assert_eq!(world.portal(sample::CHLOE).contact(sample::CHLOE).await, (Answer::NotVerified, None));
    let id = opened.escalation.unwrap().id;
    let settled = shown_escalation(sidecar, &id).await;
    assert!(settled.contains("cancelled"), "the escalation: {settled}");
    for (kind, address) in [("contact_deactivated", "chloe"), ("contact_deactivated", "ada.moreno")] {
        assert!(world.was_told(kind, address).await, "{address}");
    }
    let chloe = world.portal(sample::BEN).contact(sample::CHLOE).await.1.unwrap();
    assert_eq!(chloe.status(), ContactStatus::Inactive);
    assert_eq!(world.portal(sample::BEN).deactivate(sample::CHLOE).await, Answer::Done, "it is so already");
}

async fn shown_escalation(sidecar: &Sidecar, id: &str) -> String {
    shown(&sidecar.home, &["escalation", "show", id, "--json"]).await
}

// proves: A23, F7
async fn a_change_takes_a_login_of_the_last_ten_minutes(world: World) {
    let now = wall_time(&world.clock);
    let before = world.sidecar.revision().await;
    let old = world.portal(sample::ADA).logged_in_at(now - 11 * MINUTE);
    assert_eq!(old.assign(sample::JUNE, "basic_user", "").await, Answer::FreshLoginRequired);
    assert_eq!(old.revoke(sample::GRACE, "basic_user", "").await, Answer::FreshLoginRequired);
    assert_eq!(old.deactivate(sample::GRACE).await, Answer::FreshLoginRequired);
    assert_eq!(old.update(sample::GRACE, email("g@acme.example"), &["email"]).await.0, Answer::FreshLoginRequired);
    assert_eq!(old.transfer(sample::ACME, sample::BEN).await, Answer::FreshLoginRequired);
    let answer = old.create_contact(creating(sample::ACME, "Nils", "Holm")).await.unwrap();
    assert_eq!((answer.answer(), answer.contact), (Answer::FreshLoginRequired, None));
    // Who may not is not sent to log in for nothing, and who is not verified learns nothing.
    let june = world.portal(sample::JUNE).logged_in_at(now - 11 * MINUTE);
    assert_eq!(june.deactivate(sample::GRACE).await, Answer::NotPermitted);
    for unproved in [
        world.portal(sample::ADA).logged_in_at(now - 13 * HOUR),
        world.portal(sample::IVAN),
        world.portal(sample::KARL),
        world.portal("con-none"),
    ] {
        assert_eq!(unproved.deactivate(sample::GRACE).await, Answer::NotVerified);
    }
    assert_eq!(world.sidecar.revision().await, before);
    let recent = world.portal(sample::ADA).logged_in_at(now - 9 * MINUTE);
    assert_eq!(recent.deactivate(sample::GRACE).await, Answer::Done);
}

// proves: A16
async fn nobody_changes_anything_of_another_account(world: World) {
    let ada = world.portal(sample::ADA);
    let before = world.sidecar.revision().await;
    for contact in [sample::LENA, sample::KARL, "con-none"] {
        assert_eq!(ada.assign(contact, "basic_user", "").await, Answer::NotFound, "{contact}");
        assert_eq!(ada.revoke(contact, "basic_user", "").await, Answer::NotFound, "{contact}");
        assert_eq!(ada.deactivate(contact).await, Answer::NotFound, "{contact}");
        let told = ada.update(contact, email("thief@evil.example"), &["email"]).await;
        assert_eq!(told, (Answer::NotFound, String::new()), "{contact}");
    }
    for account in [sample::BOREALIS, "acc-none"] {
        let answer = ada.create_contact(creating(account, "Nils", "Holm")).await.unwrap();
        assert_eq!((answer.answer(), answer.contact), (Answer::NotFound, None), "{account}");
        assert_eq!(ada.transfer(account, sample::ADA).await, Answer::NotFound, "{account}");
    }
    assert_eq!(world.sidecar.revision().await, before);
}

// proves: S10, S12, A31, A16
async fn who_left_comes_back_without_what_he_had_by_whom_it_was_no_more_than_he_may(world: World) {
    let back = async |desk: Desk, contact: &str| {
        let request =
            ReactivateContactRequest { contact_id: contact.to_owned(), ..ReactivateContactRequest::default() };
        desk.reactivate_contact(request).await.unwrap()
    };
    world.sidecar.set_passphrase(Some(sample::GRACE), PHRASE).await;
    let (ada, chloe) = (|| world.portal(sample::ADA), || world.portal(sample::CHLOE));
    assert_eq!(ada().deactivate(sample::GRACE).await, Answer::Done);
    // Ivan was a Company Admin: an IT Admin does not bring him back, nor anybody who may not change users.
    assert_eq!(back(chloe(), sample::IVAN).await.answer(), Answer::NotPermitted);
    let cause = world.records().pop().unwrap().cause;
    assert_eq!(cause.as_deref(), Some("exceeds the actor: company_admin"));
    for other in [sample::ELENA, sample::HANA, sample::JUNE] {
        assert_eq!(back(world.portal(other), sample::GRACE).await.answer(), Answer::NotPermitted, "{other}");
    }
    for other in [sample::KARL, "con-none"] {
        assert_eq!(back(ada(), other).await.answer(), Answer::NotFound, "{other}");
    }
    assert_eq!(back(world.portal(sample::GRACE), sample::GRACE).await.answer(), Answer::NotVerified, "nobody himself");
    let stale = ReactivateContactRequest {
        contact_id: sample::GRACE.to_owned(),
        etag: "7".to_owned(),
        ..ReactivateContactRequest::default()
    };
    assert_eq!(chloe().reactivate_contact(stale.clone()).await.unwrap().answer(), Answer::ChangedMeanwhile);
    let asked = ReactivateContactRequest { etag: String::new(), validate_only: true, ..stale };
    assert_eq!(chloe().reactivate_contact(asked).await.unwrap().answer(), Answer::Done);
    assert_eq!(ada().contact(sample::GRACE).await.1.unwrap().status(), ContactStatus::Inactive);

    let grace = back(chloe(), sample::GRACE).await;
    let shown = grace.contact.unwrap();
    assert_eq!((shown.status(), shown.roles.len()), (ContactStatus::Active, 0), "a basic user's role is gone, too");
    assert_eq!(ada().contact(sample::GRACE).await.1.unwrap(), shown);
    assert_eq!(back(ada(), sample::IVAN).await.contact.unwrap().roles, []);
    assert_eq!(back(ada(), sample::BEN).await.contact.unwrap().roles.len(), 1, "who is here keeps what he has");
    assert!(world.was_told("contact_added", "billing@acme.example").await);
    let question = ask(Phone, "identity.verify").by(sample::GRACE).saying(PHRASE);
    let answer = world.sidecar.client("ivr").insist(question).await.unwrap();
    assert!(!crate::answer::is_allowed(&answer), "no passphrase came back: {answer:?}");
    // Granted anew it waits, as with whoever is new.
    assert_eq!(ada().assign(sample::IVAN, "super_admin", "").await, Answer::Done);
    assert_eq!(world.portal(sample::IVAN).assign(sample::JUNE, "basic_user", "").await, Answer::NotPermitted);
    world.clock.advance(25 * HOUR);
    assert_eq!(world.portal(sample::IVAN).assign(sample::JUNE, "basic_user", "").await, Answer::Done);
}
