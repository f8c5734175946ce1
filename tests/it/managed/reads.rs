//! Who sees whom.

use super::*;

over_both_stores! {
    an_administrator_sees_the_account_and_everybody_in_it_and_each_sees_himself,
    of_another_account_nothing_is_there,
    contacts_are_found_by_status_role_and_text_in_pages,
    only_the_fields_that_are_wanted_are_sent,
    who_is_not_verified_learns_nothing,
    a_system_sees_every_account_by_its_roles_alone,
    what_is_malformed_is_refused_by_name,
    every_look_is_recorded_with_who_was_shown,
}

// proves: S4, A16
async fn an_administrator_sees_the_account_and_everybody_in_it_and_each_sees_himself(world: World) {
    for admin in [sample::ADA, sample::BEN, sample::CHLOE, sample::ELENA] {
        let desk = world.portal(admin);
        let (answer, account) = desk.account(sample::ACME).await;
        let account = account.unwrap();
        assert_eq!((answer, account.name.as_str()), (Answer::Done, "Acme Telephony"), "{admin}");
        assert_eq!(account.primary_admin_contact_id, sample::ADA);
        let numbers: Vec<_> = account.numbers_of_record.iter().map(|number| number.number.as_str()).collect();
        assert_eq!(numbers, [sample::ACME_OLD_NUMBER, sample::ACME_FRESH_NUMBER]);
        let address = account.addresses_of_record[1].by.clone();
        assert_eq!(
            address,
            Some(address_of_record::By::PostalAddress("1 Exchange Place, San Jose, CA 95113".to_owned()))
        );
        let sites: Vec<_> = account.sites.iter().map(|site| (site.id.as_str(), site.name.as_str())).collect();
        assert_eq!(sites, [(sample::SITE_HQ, "Headquarters"), (sample::SITE_WEST, "West")]);
        let hana = desk.contact(sample::HANA).await.1.unwrap();
        let role = &hana.roles[0];
        assert_eq!((role.role.as_str(), role.site_id.as_str()), ("it_admin", sample::SITE_WEST));
        assert_eq!((hana.first_name.as_str(), hana.account_id.as_str()), ("Hana", sample::ACME));
        assert_eq!(desk.contact(sample::IVAN).await.1.unwrap().status(), ContactStatus::Inactive);
        assert_eq!(desk.accounts(10).await, (Answer::Done, vec![sample::ACME.to_owned()]));
    }
    // Without a role for it, or with one at a site alone, each sees himself and nobody else, there or not.
    for other in [sample::DEV, sample::FARID, sample::GRACE, sample::HANA, sample::JUNE] {
        let desk = world.portal(other);
        assert_eq!(desk.contact(other).await.1.unwrap().id, other);
        for id in [sample::ADA, sample::KARL, "con-none"] {
            assert_eq!(desk.contact(id).await, (Answer::NotPermitted, None), "{other} looks at {id}");
        }
        assert_eq!(desk.account(sample::ACME).await, (Answer::NotPermitted, None), "{other}");
        assert_eq!(desk.accounts(10).await, (Answer::NotPermitted, Vec::new()));
        let found = desk.contacts(sample::ACME, ContactFilter::default(), 5).await;
        assert_eq!(found, (Answer::NotPermitted, Vec::new()));
    }
}

// proves: A16
async fn of_another_account_nothing_is_there(world: World) {
    for contact in [sample::ADA, sample::GRACE] {
        let desk = world.portal(contact);
        for account in [sample::BOREALIS, "acc-none"] {
            assert_eq!(desk.account(account).await, (Answer::NotFound, None), "{contact} looks at {account}");
            let found = desk.contacts(account, ContactFilter::default(), 5).await;
            assert_eq!(found, (Answer::NotFound, Vec::new()));
        }
    }
    let ada = world.portal(sample::ADA);
    for id in [sample::KARL, "con-none"] {
        assert_eq!(ada.contact(id).await, (Answer::NotFound, None), "{id}");
    }
    assert_eq!(world.portal_of(sample::BOREALIS, sample::KARL).contact(sample::LENA).await.0, Answer::Done);
}

async fn contacts_are_found_by_status_role_and_text_in_pages(world: World) {
    let ben = world.portal(sample::BEN);
    let find = async |filter: ContactFilter| ben.contacts(sample::ACME, filter, 3).await.1;
    let with = |status: ContactStatus, role: &str, text: &str| ContactFilter {
        status: status.into(),
        role: role.to_owned(),
        text: text.to_owned(),
    };
    let any = ContactStatus::Unspecified;
    let all: Vec<String> = (1001..=1010).map(|number| format!("con-{number}")).collect();
    for page_size in [1, 3, 5, 10, 100] {
        assert_eq!(ben.contacts(sample::ACME, ContactFilter::default(), page_size).await, (Answer::Done, all.clone()));
    }
    assert_eq!(find(with(ContactStatus::Inactive, "", "")).await, [sample::IVAN]);
    assert_eq!(find(with(ContactStatus::Active, "", "")).await.len(), 9);
    assert_eq!(find(with(any, "it_admin", "")).await, [sample::CHLOE, sample::HANA]);
    assert_eq!(find(with(any, "company_admin", "")).await, [sample::BEN, sample::IVAN]);
    assert_eq!(find(with(ContactStatus::Active, "company_admin", "")).await, [sample::BEN]);
    for text in ["moreno", "ADA mor", "amoreno", "Ada.Moreno@", "101"] {
        assert_eq!(find(with(any, "", text)).await, [sample::ADA], "{text}");
    }
    assert_eq!(find(with(any, "", "@acme.example")).await, all);
    // A text is no pattern.
    for text in ["%", "_", "a%o", "nobody", "no_such"] {
        assert_eq!(find(with(any, "", text)).await, Vec::<String>::new(), "{text}");
    }
    assert_eq!(find(with(any, "no_such_role", "")).await, Vec::<String>::new());
}

async fn only_the_fields_that_are_wanted_are_sent(world: World) {
    let ben = world.portal(sample::BEN);
    let whole = ben.contact(sample::HANA).await.1.unwrap();
    assert_eq!((whole.email.as_str(), whole.user_id.as_str()), ("hana.sato@acme.example", "hsato"));
    let part = ben.contact_with(sample::HANA, &["email", "status"]).await.unwrap().1.unwrap();
    let wanted = Contact {
        id: whole.id.clone(),
        etag: whole.etag.clone(),
        email: whole.email.clone(),
        status: whole.status,
        ..Contact::default()
    };
    assert_eq!(part, wanted);
    assert!(!whole.etag.is_empty());
    let account = ben.account(sample::ACME).await.1.unwrap();
    let part = ben.account_with(sample::ACME, &["sites"]).await.unwrap().1.unwrap();
    let wanted = Account { id: account.id, etag: account.etag, sites: account.sites, ..Account::default() };
    assert_eq!(part, wanted);
    for mask in [&["emails"][..], &["roles.role"], &["*"], &["email", "password"], &[""]] {
        assert_eq!(invalid_field(ben.contact_with(sample::HANA, mask).await), "read_mask", "{mask:?}");
        assert_eq!(invalid_field(ben.account_with(sample::ACME, mask).await), "read_mask", "{mask:?}");
    }
}

// proves: F16, A13
async fn who_is_not_verified_learns_nothing(world: World) {
    let now = wall_time(&world.clock);
    let at = |contact: &str, time| world.portal(contact).logged_in_at(time);
    for unproved in [
        at(sample::ADA, now - 13 * HOUR),
        at(sample::ADA, now + HOUR),
        at(sample::IVAN, now),
        at(sample::KARL, now),
        at("con-none", now),
    ] {
        assert_eq!(unproved.account(sample::ACME).await, (Answer::NotVerified, None));
        assert_eq!(unproved.contact(sample::ADA).await, (Answer::NotVerified, None));
        assert_eq!(unproved.accounts(10).await, (Answer::NotVerified, Vec::new()));
        let found = unproved.contacts(sample::ACME, ContactFilter::default(), 5).await;
        assert_eq!(found, (Answer::NotVerified, Vec::new()));
    }
    assert_eq!(at(sample::ADA, now - HOUR).account(sample::ACME).await.0, Answer::Done, "to look takes no fresh login");
}

// proves: A24, A16, F7
async fn a_system_sees_every_account_by_its_roles_alone(world: World) {
    for client in ["hr", "carrier"] {
        let system = world.system(client);
        assert_eq!(
            system.accounts(1).await,
            (Answer::Done, vec![sample::ACME.to_owned(), sample::BOREALIS.to_owned()])
        );
        assert_eq!(system.contact(sample::KARL).await.1.unwrap().last_name, "Weiss");
        let found = system.contacts(sample::BOREALIS, ContactFilter::default(), 5).await.1;
        assert_eq!(found, [sample::KARL, sample::LENA]);
        assert_eq!(system.contact("con-none").await, (Answer::NotFound, None));
        assert_eq!(system.account("acc-none").await, (Answer::NotFound, None));
    }
    // Without roles in the settings a client is no system, and without the grants no portal, and neither without the RPC.
    let portal = world.sidecar.client("portal");
    let refused = world.system("hr").through(portal).account_with(sample::ACME, &[]).await;
    let (code, reason, _) = refusal(&refused.unwrap_err());
    assert_eq!((code, reason.as_str()), (Code::PermissionDenied, "CLIENT_NOT_GRANTED"));
    for client in ["hr", "ivr", "desktop", "mailroom"] {
        let client = world.sidecar.client(client);
        let refused = world.portal(sample::ADA).through(client).account_with("\u{1}", &["*"]).await;
        let (code, reason, _) = refusal(&refused.unwrap_err());
        assert_eq!((code, reason.as_str()), (Code::PermissionDenied, "CLIENT_NOT_GRANTED"), "before it is validated");
    }
}

// proves: A30
async fn what_is_malformed_is_refused_by_name(world: World) {
    let ada = world.portal(sample::ADA);
    assert_eq!(invalid_field(ada.account_with("", &[]).await), "account_id");
    assert_eq!(invalid_field(ada.contact_with("con 1", &[]).await), "contact_id");
    let nobody = GetAccountRequest { account_id: sample::ACME.to_owned(), ..GetAccountRequest::default() };
    let refused = patiently(ada.stub.clone().get_account(ada.client.with_token(nobody))).await;
    assert_eq!(invalid_field(refused), "actor");
    let agent = ada.clone().having(|caller| {
        caller.interaction.get_or_insert_default().agent_id = "agent-7".to_owned();
    });
    assert_eq!(invalid_field(agent.account_with(sample::ACME, &[]).await), "actor.caller.interaction.agent_id");
    let nameless = Desk { by: directory_actor::By::System(SystemActor::default()), ..world.system("hr") };
    assert_eq!(invalid_field(nameless.account_with(sample::ACME, &[]).await), "actor.system.name");
    let page = |request| async { invalid_field(ada.page(request).await) };
    let sound = || ListContactsRequest { account_id: sample::ACME.to_owned(), ..ListContactsRequest::default() };
    assert_eq!(page(ListContactsRequest { page_size: 101, ..sound() }).await, "page_size");
    for token in ["con-1001", "after.", "after.con 1", "7"] {
        assert_eq!(page(ListContactsRequest { page_token: token.to_owned(), ..sound() }).await, "page_token");
    }
    let filter = Some(ContactFilter { status: 9, ..ContactFilter::default() });
    assert_eq!(page(ListContactsRequest { filter, ..sound() }).await, "filter.status");
    let filter = Some(ContactFilter { text: "a\nb".to_owned(), ..ContactFilter::default() });
    assert_eq!(page(ListContactsRequest { filter, ..sound() }).await, "filter.text");
}

// proves: S15
async fn every_look_is_recorded_with_who_was_shown(world: World) {
    let ben = world.portal(sample::BEN);
    let filter = ContactFilter { role: "it_admin".to_owned(), ..ContactFilter::default() };
    ben.contacts(sample::ACME, filter, 5).await;
    world.portal(sample::JUNE).contact(sample::ADA).await;
    world.system("hr").account(sample::BOREALIS).await;
    let records = world.records();
    let [seen, refused, system] = &records[..] else { panic!("{records:?}") };
    let ids = |record: &DirectoryRecord| -> Vec<String> {
        let (accounts, contacts) = (record.accounts.iter(), record.contacts.iter());
        accounts.map(ToString::to_string).chain(contacts.map(ToString::to_string)).collect()
    };
    assert_eq!((seen.call.rpc.as_str(), seen.outcome.as_str()), ("ListContacts", "done"));
    assert_eq!(seen.person.contact.as_ref().unwrap().as_str(), sample::BEN);
    assert_eq!(ids(seen), [sample::ACME, sample::CHLOE, sample::HANA]);
    assert_eq!((refused.outcome.as_str(), ids(refused)), ("not_permitted", vec![sample::ADA.to_owned()]));
    assert_eq!(refused.cause.as_deref(), Some("account.view: default"));
    assert_eq!((system.system.as_deref(), system.call.client.as_str()), (Some("workday"), "hr"));
    assert_eq!(
        (system.person.evidence.as_str(), &system.person.roles[..]),
        ("system", &["company_admin".to_owned()][..])
    );
    assert!(world.sidecar.home.record(&seen.decision_id).is_some(), "its id finds it");
}
