//! A state that was seen, a request that is sent again, and a question whether something could be.

use super::*;

over_both_stores! {
    a_change_upon_another_state_than_was_seen_is_refused,
    a_request_that_is_sent_again_is_answered_the_same_and_does_nothing_twice,
    what_is_only_asked_is_decided_and_not_written,
    every_change_is_recorded_before_and_after_without_what_stands_in_it,
}

async fn a_change_upon_another_state_than_was_seen_is_refused(world: World) {
    let (ada, ben) = (world.portal(sample::ADA), world.portal(sample::BEN));
    let seen = ben.contact(sample::GRACE).await.1.unwrap().etag;
    let with = |etag: &str| DeactivateContactRequest {
        contact_id: sample::GRACE.to_owned(),
        etag: etag.to_owned(),
        ..DeactivateContactRequest::default()
    };
    // A role is a part of the state, too.
    assert_eq!(ada.assign(sample::GRACE, "it_admin", "").await, Answer::Done);
    for etag in [seen.as_str(), "7"] {
        let answer = ben.deactivate_contact(with(etag)).await.unwrap();
        assert_eq!((answer.answer(), answer.contact), (Answer::ChangedMeanwhile, None), "{etag}");
    }
    let granting = AssignRoleRequest { etag: seen.clone(), ..assigning(sample::GRACE, "basic_user", "") };
    assert_eq!(ada.assign_role(granting).await.unwrap().answer(), Answer::ChangedMeanwhile);
    let renaming = UpdateContactRequest {
        etag: seen.clone(),
        ..updating(
            sample::GRACE,
            ContactProfile { last_name: "X".to_owned(), ..ContactProfile::default() },
            &["last_name"],
        )
    };
    assert_eq!(ben.update_contact(renaming).await.unwrap().answer(), Answer::ChangedMeanwhile);
    let taking = RevokeRoleRequest {
        contact_id: sample::GRACE.to_owned(),
        role: "it_admin".to_owned(),
        etag: seen,
        ..RevokeRoleRequest::default()
    };
    assert_eq!(ada.revoke_role(taking).await.unwrap().answer(), Answer::ChangedMeanwhile);
    let account = ada.account(sample::ACME).await.1.unwrap().etag;
    let handing = |etag: &str| TransferPrimaryAdminRequest {
        account_id: sample::ACME.to_owned(),
        contact_id: sample::BEN.to_owned(),
        etag: etag.to_owned(),
        ..TransferPrimaryAdminRequest::default()
    };
    assert_eq!(ada.transfer_primary_admin(handing("7")).await.unwrap().answer(), Answer::ChangedMeanwhile);
    assert_eq!(ada.transfer_primary_admin(handing(&account)).await.unwrap().answer(), Answer::Done);
    let now = ben.contact(sample::GRACE).await.1.unwrap().etag;
    assert_eq!(ben.deactivate_contact(with(&now)).await.unwrap().answer(), Answer::Done);
    // Who may not is not told whether it has changed.
    let june = world.portal(sample::JUNE);
    assert_eq!(june.deactivate_contact(with("7")).await.unwrap().answer(), Answer::NotPermitted);
}

async fn a_request_that_is_sent_again_is_answered_the_same_and_does_nothing_twice(world: World) {
    let ben = || world.portal(sample::BEN);
    let request =
        |last: &str| CreateContactRequest { request_id: "req-1".to_owned(), ..creating(sample::ACME, "Nils", last) };
    let first = ben().create_contact(request("Holm")).await.unwrap();
    assert_eq!(first.answer(), Answer::Done);
    let after = world.sidecar.revision().await;
    // By a later login as well, and after it was changed.
    world.clock.advance(MINUTE);
    assert_eq!(ben().create_contact(request("Holm")).await.unwrap(), first);
    assert_eq!(world.sidecar.revision().await, after);
    let id = first.contact.clone().unwrap().id;
    assert_eq!(ben().deactivate(&id).await, Answer::Done);
    assert_eq!(ben().create_contact(request("Holm")).await.unwrap(), first);
    let repeated = world.records().pop().unwrap();
    assert_eq!((repeated.outcome.as_str(), repeated.repeats.as_deref()), ("done", Some(&*first.decision_id)));

    // Another request under the same id, another person, another RPC: nothing is answered, and nothing done.
    assert_eq!(invalid_field(ben().create_contact(request("Berg")).await), "request_id");
    assert_eq!(invalid_field(world.portal(sample::CHLOE).create_contact(request("Holm")).await), "request_id");
    let other = AssignRoleRequest { request_id: "req-1".to_owned(), ..assigning(sample::JUNE, "basic_user", "") };
    assert_eq!(invalid_field(ben().assign_role(other).await), "request_id");
    // Another client has ids of its own.
    let hr = world.system("hr").create_contact(request("Holm")).await.unwrap();
    assert_ne!(hr.contact.unwrap().id, id);

    // What is so already is kept as well: sent again, it does not undo what came later.
    let role = AssignRoleRequest { request_id: "req-2".to_owned(), ..assigning(sample::GRACE, "basic_user", "") };
    let was_so = ben().assign_role(role.clone()).await.unwrap();
    assert_eq!((was_so.answer(), was_so.changed), (Answer::Done, false));
    assert_eq!(ben().revoke(sample::GRACE, "basic_user", "").await, Answer::Done);
    assert_eq!(ben().assign_role(role.clone()).await.unwrap(), was_so);
    assert!(ben().contact(sample::GRACE).await.1.unwrap().roles.is_empty());
    let now = ben().assign_role(assigning(sample::GRACE, "basic_user", "")).await.unwrap();
    assert_eq!((now.answer(), now.changed), (Answer::Done, true));

    // A refusal is decided anew, and so is everything after a day.
    let taken = CreateContactRequest {
        request_id: "req-3".to_owned(),
        profile: Some(ContactProfile {
            first_name: "Nils".to_owned(),
            last_name: "Holm".to_owned(),
            extension: "107".to_owned(),
            ..ContactProfile::default()
        }),
        ..creating(sample::ACME, "", "")
    };
    assert_eq!(ben().create_contact(taken.clone()).await.unwrap().answer(), Answer::Conflict);
    let free = ContactProfile { extension: String::new(), ..ContactProfile::default() };
    assert_eq!(ben().update(sample::GRACE, free, &["extension"]).await.0, Answer::Done);
    assert_eq!(ben().create_contact(taken).await.unwrap().answer(), Answer::Done);
    world.clock.advance(24 * HOUR);
    let anew = ben().create_contact(request("Holm")).await.unwrap();
    assert_ne!(anew.contact.unwrap().id, id);
}

async fn what_is_only_asked_is_decided_and_not_written(world: World) {
    let (before, told) = (world.sidecar.revision().await, world.notices().await);
    let ben = world.portal(sample::BEN);
    let asking = |extension: &str| CreateContactRequest {
        validate_only: true,
        request_id: "req-1".to_owned(),
        profile: Some(ContactProfile {
            first_name: "Nils".to_owned(),
            last_name: "Holm".to_owned(),
            extension: extension.to_owned(),
            ..ContactProfile::default()
        }),
        ..creating(sample::ACME, "", "")
    };
    let could = ben.create_contact(asking("199")).await.unwrap();
    assert_eq!(could.answer(), Answer::Done);
    assert_eq!(could.contact.as_ref().unwrap().last_name, "Holm");
    assert_eq!(ben.contact(&could.contact.unwrap().id).await.0, Answer::NotFound);
    let could_not = ben.create_contact(asking("101")).await.unwrap();
    assert_eq!((could_not.answer(), could_not.field.as_str()), (Answer::Conflict, "extension"), "as the store sees it");
    let granting =
        |contact: &str, role: &str| AssignRoleRequest { validate_only: true, ..assigning(contact, role, "") };
    assert_eq!(ben.assign_role(granting(sample::JUNE, "it_admin")).await.unwrap().answer(), Answer::Done);
    assert_eq!(ben.assign_role(granting(sample::JUNE, "super_admin")).await.unwrap().answer(), Answer::NotPermitted);
    let leaving = DeactivateContactRequest {
        contact_id: sample::ADA.to_owned(),
        validate_only: true,
        ..DeactivateContactRequest::default()
    };
    assert_eq!(ben.deactivate_contact(leaving).await.unwrap().answer(), Answer::PrimaryAdmin);
    assert_eq!(world.sidecar.revision().await, before);
    assert_eq!(world.notices().await, told);
    assert!(world.records().iter().all(|record| record.outcome != DirectoryRecord::INTENDED));
    let asked: Vec<_> = world.records().into_iter().filter(|record| record.validate_only).collect();
    assert_eq!(asked.len(), 5);
    assert!(asked.iter().all(|record| record.committed.is_none()));
    // The id of a question is free for the request.
    let meant = CreateContactRequest { validate_only: false, ..asking("199") };
    assert_eq!(ben.create_contact(meant).await.unwrap().answer(), Answer::Done);
}

// proves: S15, F11, A21
async fn every_change_is_recorded_before_and_after_without_what_stands_in_it(world: World) {
    let ben = world.portal(sample::BEN);
    let secret = ContactProfile { email: "marked-value@acme.example".to_owned(), ..ContactProfile::default() };
    let request =
        UpdateContactRequest { request_id: "req-9".to_owned(), ..updating(sample::GRACE, secret, &["email"]) };
    let answer = ben.update_contact(request).await.unwrap();
    assert_eq!(ben.assign(sample::JUNE, "super_admin", "").await, Answer::NotPermitted);
    world.system("hr").assign(sample::JUNE, "it_admin", sample::SITE_WEST).await;
    let records = world.records();
    let outcomes: Vec<_> = records.iter().map(|record| record.outcome.as_str()).collect();
    assert_eq!(outcomes, ["intended", "done", "not_permitted", "intended", "done"]);
    let [intended, done, refused, _, system] = &records[..] else { panic!("{records:?}") };
    for record in [intended, done] {
        assert_eq!((record.call.request_id.as_str(), &record.fields[..]), ("req-9", &["email".to_owned()][..]));
        assert_eq!(record.person.contact.as_ref().unwrap().as_str(), sample::BEN);
        assert_eq!(record.contacts[0].as_str(), sample::GRACE);
    }
    assert_eq!(done.decision_id, answer.decision_id);
    assert_eq!(done.accounts[0].as_str(), sample::ACME);
    assert!(done.committed.unwrap() > intended.directory_revision && intended.committed.is_none());
    assert_eq!((refused.role.as_deref(), refused.committed), (Some("super_admin"), None));
    assert_eq!(refused.cause.as_deref(), Some("role.grant: high-roles-by-super-admin"));
    assert_eq!((system.system.as_deref(), system.role.as_deref()), (Some("workday"), Some("it_admin@site-west")));
    let text = format!("{:?}", world.sidecar.home.records());
    assert!(!text.contains("marked-value"), "what stands in a field is in no record");
    let told = format!("{:?}", world.notices().await);
    assert!(told.contains("email_changed") && !told.contains("marked-value"), "nor in a notice (F11)");
}
