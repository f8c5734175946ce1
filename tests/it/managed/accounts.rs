//! What is on record of an account: dates, locks, sites, and what is not the customer's to say.

use countersign::grpc::proto::countersign::v1::{
    AccountProfile, AccountSelector, Channel::Phone, ContactSelector, CpniExemption, Interaction, NumberOfRecord,
    ReadResetRequest, ResetTarget, Site, StartResetRequest, Subject, account_selector, contact_selector,
    delivery_target::To, passphrase_service_client::PassphraseServiceClient, report_rerouting_request::OfRecord,
};

use super::*;

over_both_stores! {
    what_comes_on_record_carries_the_day_on_which_it_came_and_what_stays_its_own,
    a_new_number_of_record_gets_no_code,
    what_was_rerouted_gets_no_code_for_thirty_days_and_stays_on_record,
    the_owners_lock_holds_numbers_still_and_he_alone_lifts_it,
    a_customer_declares_no_exemption_and_creates_no_account,
    sites_come_are_renamed_and_closed_where_nobody_has_a_role,
    accounts_are_changed_by_whom_policy_permits_each_part,
    a_system_creates_an_account_and_its_people,
}

fn record(numbers: &[&str], addresses: &[address_of_record::By]) -> AccountProfile {
    AccountProfile {
        numbers_of_record: numbers.iter().map(|number| (*number).to_owned()).collect(),
        // Whatever anybody says of the day, nobody listens.
        addresses_of_record: addresses
            .iter()
            .map(|by| AddressOfRecord { by: Some(by.clone()), added_on: "2001-01-01".to_owned() })
            .collect(),
        ..AccountProfile::default()
    }
}

fn email(address: &str) -> address_of_record::By {
    address_of_record::By::EmailAddress(address.to_owned())
}

fn site(id: &str, name: &str) -> Site {
    Site { id: id.to_owned(), name: name.to_owned() }
}

impl Desk {
    async fn change(&self, account: &str, profile: AccountProfile, mask: &[&str]) -> (Answer, String) {
        let request = UpdateAccountRequest {
            account_id: account.to_owned(),
            profile: Some(profile),
            update_mask: masked(mask),
            ..UpdateAccountRequest::default()
        };
        let answer = self.update_account(request).await.unwrap();
        (answer.answer(), answer.field)
    }

    async fn lock(&self, account: &str, locked: bool) -> Answer {
        let request =
            SetNumberLockRequest { account_id: account.to_owned(), locked, ..SetNumberLockRequest::default() };
        self.set_number_lock(request).await.unwrap().answer()
    }

    async fn close(&self, account: &str, site: &str) -> (Answer, String) {
        let (account_id, site_id) = (account.to_owned(), site.to_owned());
        let request = DeactivateSiteRequest { account_id, site_id, ..DeactivateSiteRequest::default() };
        let answer = self.deactivate_site(request).await.unwrap();
        (answer.answer(), answer.field)
    }
}

fn done() -> (Answer, String) {
    (Answer::Done, String::new())
}

fn today(world: &World) -> String {
    let now = countersign::clock::Clock::now(&*world.clock);
    countersign::directory::activity::day(now).to_string()
}

// proves: F12, A17, F10, F11
async fn what_comes_on_record_carries_the_day_on_which_it_came_and_what_stays_its_own(world: World) {
    let ben = world.portal(sample::BEN);
    let before = ben.account(sample::ACME).await.1.unwrap();
    let old = before.numbers_of_record[0].clone();
    let numbers = record(&["+14085550177", sample::ACME_OLD_NUMBER], &[]);
    assert_eq!(ben.change(sample::ACME, numbers, &["numbers_of_record"]).await, done());
    let new = NumberOfRecord { number: "+14085550177".to_owned(), added_on: today(&world) };
    let after = ben.account(sample::ACME).await.1.unwrap();
    assert_eq!(after.numbers_of_record, [new.clone(), old.clone()], "in the order in which they were named");
    assert_eq!(after.addresses_of_record, before.addresses_of_record, "which were not named");
    assert_ne!(after.etag, before.etag);
    for address in ["billing@acme.example", "ada.moreno@acme.example"] {
        assert!(world.was_told("number_changed", address).await, "{address}");
    }
    // What went and comes back begins anew.
    assert_eq!(ben.change(sample::ACME, record(&["+14085550177"], &[]), &["numbers_of_record"]).await, done());
    let back = record(&[sample::ACME_OLD_NUMBER], &[]);
    assert_eq!(ben.change(sample::ACME, back, &["numbers_of_record"]).await, done());
    let found = ben.account(sample::ACME).await.1.unwrap().numbers_of_record;
    assert_eq!(found, [NumberOfRecord { added_on: today(&world), ..old }]);

    // Addresses likewise; one that differs in a letter is another.
    let addresses = [email("billing@acme.example"), email("Accounts@acme.example")];
    assert_eq!(ben.change(sample::ACME, record(&[], &addresses), &["addresses_of_record"]).await, done());
    let found = ben.account(sample::ACME).await.1.unwrap().addresses_of_record;
    let days: Vec<_> = found.iter().map(|address| address.added_on.clone()).collect();
    assert_eq!(days, [before.addresses_of_record[0].added_on.clone(), today(&world)]);
    let spelled = [email("Billing@acme.example")];
    assert_eq!(ben.change(sample::ACME, record(&[], &spelled), &["addresses_of_record"]).await, done());
    let found = ben.account(sample::ACME).await.1.unwrap().addresses_of_record;
    assert_eq!(found[0].added_on, today(&world));
    assert!(world.was_told("address_changed", "billing@acme.example").await, "to where it was before (F11)");
    let told = format!("{:?}", world.notices().await);
    assert!(!told.contains("0177"), "no notice goes to what is new");

    let twice = record(&["+14085550101", "+14085550101"], &[]);
    let refused = ben.change(sample::ACME, twice, &["numbers_of_record"]).await;
    assert_eq!(refused, (Answer::Invalid, "numbers_of_record".to_owned()));
}

// proves: A17, F12, A32
async fn a_new_number_of_record_gets_no_code(world: World) {
    let owner = world.portal(sample::ADA);
    let thief = record(&["+14085550166"], &[]);
    assert_eq!(owner.change(sample::ACME, thief, &["numbers_of_record"]).await, done());
    assert_eq!(code_goes_to(&world, ResetTarget::Number, "call-1").await, (false, Vec::new()));
}

/// Whether a reset of Ada's gives a code, and where it goes.
async fn code_goes_to(world: &World, target: ResetTarget, call: &str) -> (bool, Vec<String>) {
    let client = world.sidecar.client("ivr");
    let mut stub = PassphraseServiceClient::new(client.channel());
    let account = AccountSelector { by: Some(account_selector::By::Id(sample::ACME.to_owned())) };
    let contact = ContactSelector { by: Some(contact_selector::By::Id(sample::ADA.to_owned())) };
    let started = patiently(stub.start_reset(client.with_token(StartResetRequest {
        interaction: Some(Interaction { channel: Phone.into(), id: call.to_owned(), ..Interaction::default() }),
        subject: Some(Subject { account: Some(account), contact: Some(contact) }),
        target: target.into(),
        request_id: String::new(),
    })));
    let reset_id = started.await.unwrap().into_inner().reset_id;
    let mailroom = world.sidecar.client("mailroom");
    let read = ReadResetRequest { reset_id, request_id: String::new() };
    let due = patiently(stub.read_reset(mailroom.with_token(read))).await.unwrap().into_inner();
    let shown = due.targets.into_iter().map(|target| match target.to.unwrap() {
        To::Number(to) | To::PostalAddress(to) | To::EmailAddress(to) => to,
    });
    (!due.code.is_empty(), shown.collect())
}

// proves: F12, A17
async fn what_was_rerouted_gets_no_code_for_thirty_days_and_stays_on_record(world: World) {
    let carrier = world.system("carrier");
    let before = carrier.account(sample::ACME).await.1.unwrap();
    let report = async |desk: &Desk, of_record: OfRecord, since: &str| {
        let request = ReportReroutingRequest {
            account_id: sample::ACME.to_owned(),
            of_record: Some(of_record),
            since: since.to_owned(),
            ..ReportReroutingRequest::default()
        };
        let answer = desk.report_rerouting(request).await.unwrap();
        (answer.answer(), answer.field)
    };
    let number = || OfRecord::Number(sample::ACME_OLD_NUMBER.to_owned());
    let email = || OfRecord::EmailAddress("billing@acme.example".to_owned());
    let invalid = |field: &str| (Answer::Invalid, field.to_owned());
    assert_eq!(
        code_goes_to(&world, ResetTarget::Number, "call-1").await,
        (true, vec![sample::ACME_OLD_NUMBER.to_owned()])
    );

    // Nothing changes by what is not so.
    assert_eq!(report(&carrier, OfRecord::Number("+14085550188".to_owned()), "").await, invalid("of_record"));
    assert_eq!(
        report(&carrier, OfRecord::PostalAddress("billing@acme.example".to_owned()), "").await,
        invalid("of_record")
    );
    assert_eq!(report(&carrier, number(), "2999-01-01").await, invalid("since"));
    assert_eq!(report(&carrier, number(), "1999-01-01").await, done(), "longer ago than it is on record");
    assert_eq!(report(&world.portal(sample::CHLOE), number(), "").await, (Answer::NotPermitted, String::new()));
    assert_eq!(carrier.account(sample::ACME).await.1.unwrap(), before);

    // The owner's lock holds numbers where they are, and this no less.
    assert_eq!(world.portal(sample::BEN).lock(sample::ACME, true).await, Answer::Done);
    assert_eq!(report(&carrier, number(), "").await, done());
    assert_eq!(report(&carrier, email(), "").await, done());
    let after = carrier.account(sample::ACME).await.1.unwrap();
    let days = |account: &Account| {
        let numbers = account.numbers_of_record.iter().map(|known| (known.number.clone(), known.added_on.clone()));
        let addresses =
            account.addresses_of_record.iter().map(|known| (format!("{:?}", known.by), known.added_on.clone()));
        numbers.chain(addresses).collect::<std::collections::BTreeMap<_, _>>()
    };
    let moved = [sample::ACME_OLD_NUMBER.to_owned(), format!("{:?}", Some(self::email("billing@acme.example")))];
    let wanted = days(&before).into_iter().map(|(key, day)| {
        let day = if moved.contains(&key) { today(&world) } else { day };
        (key, day)
    });
    assert_eq!(days(&after), wanted.collect());
    assert_ne!(after.etag, before.etag);
    assert_eq!(code_goes_to(&world, ResetTarget::Number, "call-2").await, (false, Vec::new()));
    let postal = "1 Exchange Place, San Jose, CA 95113".to_owned();
    assert_eq!(code_goes_to(&world, ResetTarget::Address, "call-3").await, (true, vec![postal.clone()]));
    world.clock.advance(30 * 24 * HOUR);
    let both = vec!["billing@acme.example".to_owned(), postal];
    assert_eq!(code_goes_to(&world, ResetTarget::Address, "call-4").await, (true, both));
    let (is_due, numbers) = code_goes_to(&world, ResetTarget::Number, "call-5").await;
    assert!(is_due && numbers.contains(&sample::ACME_OLD_NUMBER.to_owned()), "{numbers:?}");
}

// proves: F16, A25
async fn the_owners_lock_holds_numbers_still_and_he_alone_lifts_it(world: World) {
    let (ada, ben) = (world.portal(sample::ADA), world.portal(sample::BEN));
    assert_eq!(world.portal(sample::CHLOE).lock(sample::ACME, true).await, Answer::NotPermitted);
    assert_eq!(ben.lock(sample::ACME, true).await, Answer::Done);
    assert_eq!(ben.lock(sample::ACME, true).await, Answer::Done, "it is so already");
    assert!(world.was_told("number_lock_changed", "ada.moreno@acme.example").await);
    let numbers = || record(&[sample::ACME_OLD_NUMBER], &[]);
    let carrier = world.system("carrier");
    for desk in [&ada, &ben, &carrier] {
        let told = desk.change(sample::ACME, numbers(), &["numbers_of_record"]).await;
        assert_eq!(told, (Answer::NotPermitted, String::new()));
        // Nor together with what is permitted: all of it, or nothing.
        let both = AccountProfile { name: "Acme".to_owned(), ..numbers() };
        assert_eq!(desk.change(sample::ACME, both, &["numbers_of_record", "name"]).await.0, Answer::NotPermitted);
    }
    let cause = world.records().pop().unwrap().cause;
    assert_eq!(cause.as_deref(), Some("number_of_record.change: owner-locked-number-moves"));
    assert_eq!(ada.account(sample::ACME).await.1.unwrap().name, "Acme Telephony");
    for desk in [&ben, &carrier, &world.system("hr"), &world.portal(sample::JUNE)] {
        assert_eq!(desk.lock(sample::ACME, false).await, Answer::NotPermitted);
    }
    assert_eq!(ada.lock(sample::ACME, false).await, Answer::Done);
    assert_eq!(ada.change(sample::ACME, numbers(), &["numbers_of_record"]).await, done());
    assert_eq!(ada.lock(sample::BOREALIS, true).await, Answer::NotFound);
}

// proves: F13, A25, F14
async fn a_customer_declares_no_exemption_and_creates_no_account(world: World) {
    let exempt = || {
        let both = CpniExemption { dedicated_representative: true, contract_addresses_cpni: true };
        AccountProfile { cpni_exemption: Some(both), ..AccountProfile::default() }
    };
    let ada = world.portal(sample::ADA);
    assert_eq!(ada.change(sample::ACME, exempt(), &["cpni_exemption"]).await.0, Answer::NotPermitted);
    assert_eq!(world.system("hr").change(sample::ACME, exempt(), &["cpni_exemption"]).await, done());
    let found = ada.account(sample::ACME).await.1.unwrap().cpni_exemption.unwrap();
    assert!(found.dedicated_representative && found.contract_addresses_cpni);

    // He approves of marketing himself, from today, and takes it back.
    let approving = |marketing_approved| AccountProfile { marketing_approved, ..AccountProfile::default() };
    assert_eq!(
        world.portal(sample::CHLOE).change(sample::ACME, approving(true), &["marketing_approved"]).await.0,
        Answer::NotPermitted
    );
    assert_eq!(ada.change(sample::ACME, approving(true), &["marketing_approved"]).await, done());
    let first = today(&world);
    world.clock.advance(24 * HOUR);
    let ada = world.portal(sample::ADA);
    assert_eq!(ada.change(sample::ACME, approving(true), &["marketing_approved"]).await, done());
    assert_eq!(ada.account(sample::ACME).await.1.unwrap().marketing_approved_on, first, "it stays of that day");
    assert_eq!(ada.change(sample::ACME, approving(false), &["marketing_approved"]).await, done());
    assert_eq!(ada.account(sample::ACME).await.1.unwrap().marketing_approved_on, "");

    let another = || CreateAccountRequest {
        account_id: "acc-mine".to_owned(),
        profile: Some(AccountProfile { name: "Mine".to_owned(), ..AccountProfile::default() }),
        ..CreateAccountRequest::default()
    };
    assert_eq!(ada.create_account(another()).await.unwrap().answer(), Answer::NotPermitted);
    assert_eq!(
        world.system("hr").create_account(another()).await.unwrap().answer(),
        Answer::NotPermitted,
        "by its role"
    );
    assert_eq!(world.system("hr").account("acc-mine").await.0, Answer::NotFound);
}

// proves: A16
async fn sites_come_are_renamed_and_closed_where_nobody_has_a_role(world: World) {
    let ben = world.portal(sample::BEN);
    let sites = AccountProfile {
        sites: vec![site(sample::SITE_HQ, "Main house"), site("site-north", "North")],
        ..AccountProfile::default()
    };
    assert_eq!(ben.change(sample::ACME, sites, &["sites"]).await, done());
    let found = ben.account(sample::ACME).await.1.unwrap().sites;
    let wanted = [site(sample::SITE_HQ, "Main house"), site(sample::SITE_WEST, "West"), site("site-north", "North")];
    assert_eq!(found, wanted);
    assert_eq!(
        ben.close(sample::ACME, sample::SITE_WEST).await,
        (Answer::Conflict, "site_id".to_owned()),
        "Hana is there"
    );
    assert_eq!(ben.revoke(sample::HANA, "it_admin", sample::SITE_WEST).await, Answer::Done);
    assert_eq!(ben.close(sample::ACME, sample::SITE_WEST).await, done());
    assert_eq!(ben.close(sample::ACME, sample::SITE_WEST).await, (Answer::NotFound, String::new()));
    let answer = ben.assign_role(assigning(sample::JUNE, "it_admin", sample::SITE_WEST)).await.unwrap();
    assert_eq!((answer.answer(), answer.field.as_str()), (Answer::Invalid, "site_id"), "as if it had never been");
    let nameless = AccountProfile { sites: vec![site("site-x", "")], ..AccountProfile::default() };
    assert_eq!(ben.change(sample::ACME, nameless, &["sites"]).await, (Answer::Invalid, "sites".to_owned()));
}

// proves: S4, A16, A31
async fn accounts_are_changed_by_whom_policy_permits_each_part(world: World) {
    let name = || AccountProfile { name: "Acme Voice".to_owned(), ..AccountProfile::default() };
    let everything =
        || AccountProfile { name: "Acme Voice".to_owned(), ..record(&["+14085550155"], &[email("a@acme.example")]) };
    let all = ["name", "numbers_of_record", "addresses_of_record"];
    let before = world.sidecar.revision().await;
    for who in [sample::CHLOE, sample::DEV, sample::ELENA, sample::FARID, sample::GRACE, sample::HANA, sample::JUNE] {
        for mask in [&all[..1], &all[1..2], &all[2..], &all] {
            assert_eq!(
                world.portal(who).change(sample::ACME, everything(), mask).await.0,
                Answer::NotPermitted,
                "{who}"
            );
        }
        assert_eq!(world.portal(who).close(sample::ACME, sample::SITE_HQ).await.0, Answer::NotPermitted, "{who}");
    }
    for account in [sample::BOREALIS, "acc-none"] {
        assert_eq!(world.portal(sample::ADA).change(account, name(), &["name"]).await.0, Answer::NotFound);
        assert_eq!(world.portal(sample::ADA).close(account, "site-x").await.0, Answer::NotFound);
    }
    let old = world.portal(sample::ADA).logged_in_at(wall_time(&world.clock) - 11 * MINUTE);
    assert_eq!(old.change(sample::ACME, name(), &["name"]).await.0, Answer::FreshLoginRequired);
    assert_eq!(old.lock(sample::ACME, true).await, Answer::FreshLoginRequired);
    assert_eq!(old.close(sample::ACME, sample::SITE_HQ).await.0, Answer::FreshLoginRequired);
    assert_eq!(world.sidecar.revision().await, before);

    // In a cool-off the record stays, and the name does not.
    world.sidecar.set_passphrase(Some(sample::BEN), "violet anchor sleeping harbor tune").await;
    let ben = world.portal(sample::BEN);
    assert_eq!(ben.change(sample::ACME, everything(), &all).await.0, Answer::NotPermitted);
    assert_eq!(ben.change(sample::ACME, name(), &["name"]).await, done());
    let etag = ben.account(sample::ACME).await.1.unwrap().etag;
    let request = |etag: &str| UpdateAccountRequest {
        account_id: sample::ACME.to_owned(),
        profile: Some(everything()),
        update_mask: masked(&all),
        etag: etag.to_owned(),
        ..UpdateAccountRequest::default()
    };
    let ada = world.portal(sample::ADA);
    assert_eq!(ada.update_account(request("7")).await.unwrap().answer(), Answer::ChangedMeanwhile);
    let answer = ada.update_account(request(&etag)).await.unwrap();
    assert_eq!((answer.answer(), answer.account), (Answer::Done, ada.account(sample::ACME).await.1));
    assert_eq!(
        ada.change(sample::ACME, AccountProfile::default(), &["name"]).await,
        (Answer::Invalid, "name".to_owned())
    );
    let malformed = async |profile: AccountProfile, mask: &[&str]| {
        let request = UpdateAccountRequest { profile: Some(profile), update_mask: masked(mask), ..request("") };
        invalid_field(ada.update_account(request).await)
    };
    assert_eq!(malformed(record(&["14085550155"], &[]), &all).await, "profile.numbers_of_record[0]");
    let nowhere = AccountProfile { addresses_of_record: vec![AddressOfRecord::default()], ..name() };
    assert_eq!(malformed(nowhere, &all).await, "profile.addresses_of_record[0].by");
    assert_eq!(malformed(name(), &["primary_admin"]).await, "update_mask");
}

// proves: A16, S10
async fn a_system_creates_an_account_and_its_people(world: World) {
    let carrier = world.system("carrier");
    let profile = AccountProfile {
        name: "Delta Tools".to_owned(),
        sites: vec![site("site-1", "One")],
        ..record(&["+13125550188"], &[email("office@delta.example")])
    };
    let request = |id: &str| CreateAccountRequest {
        account_id: id.to_owned(),
        profile: Some(profile.clone()),
        ..CreateAccountRequest::default()
    };
    let created = carrier.create_account(request("acc-4004")).await.unwrap();
    assert_eq!(created.answer(), Answer::Done);
    let account = created.account.unwrap();
    assert_eq!(account.numbers_of_record[0].added_on, today(&world));
    assert_eq!((account.primary_admin_contact_id.as_str(), account.number_moves_locked), ("", false));
    assert_eq!(carrier.account("acc-4004").await.1.unwrap(), account, "as it is read");
    let again = carrier.create_account(request("acc-4004")).await.unwrap();
    assert_eq!((again.answer(), again.field.as_str()), (Answer::Conflict, "account_id"));
    let drawn = carrier.create_account(request("")).await.unwrap().account.unwrap();
    assert!(drawn.id.starts_with("acc-") && drawn.id.len() > 20);

    let person = |id: &str| CreateContactRequest { contact_id: id.to_owned(), ..creating("acc-4004", "Nils", "Holm") };
    for id in ["con-4001", "con-4002"] {
        assert_eq!(carrier.create_contact(person(id)).await.unwrap().answer(), Answer::Done);
        assert_eq!(carrier.assign(id, "super_admin", "").await, Answer::Done);
    }
    assert_eq!(carrier.transfer("acc-4004", "con-4001").await, Answer::Done);
    let holm = world.portal_of("acc-4004", "con-4001");
    assert_eq!(holm.account("acc-4004").await.0, Answer::Done);
    assert_eq!(holm.revoke("con-4002", "super_admin", "").await, Answer::Done);
}
