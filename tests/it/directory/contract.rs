//! What every store must do.

use super::*;

pub(super) async fn every_identifier_selects(directory: Sampled) {
    fill(&*directory).await;
    let acme = || AccountSelector::Id(AccountId::new(sample::ACME));
    let accounts = [
        acme(),
        AccountSelector::NumberOfRecord(E164::parse(sample::ACME_OLD_NUMBER).unwrap()),
        AccountSelector::NumberOfRecord(E164::parse(sample::ACME_FRESH_NUMBER).unwrap()),
        AccountSelector::Name("Acme Telephony".into()),
        AccountSelector::Name("  ACME \u{a0} telephony".into()),
    ];
    for by in accounts {
        let found = select(&*directory, Some(by.clone()), None).await;
        assert_eq!(found, Selection { account: account(sample::ACME), contact: None }, "{by:?}");
    }
    let contacts = [
        ContactSelector::Id(ContactId::new(sample::ADA)),
        ContactSelector::Email("Ada.Moreno@ACME.example".into()),
        ContactSelector::Extension("101".into()),
        ContactSelector::UserId("AMoreno".into()),
        ContactSelector::Name { first: "ada".into(), last: " MORENO ".into() },
    ];
    for by in contacts {
        let found = select(&*directory, Some(acme()), Some(by.clone())).await;
        assert_eq!(found, Selection { account: account(sample::ACME), contact: contact(sample::ADA) }, "{by:?}");
    }
    let ivan = select(&*directory, Some(acme()), Some(ContactSelector::Extension("109".into()))).await;
    assert_eq!(ivan.contact, contact(sample::IVAN), "an inactive contact is still found");
}

pub(super) async fn one_look_sees_all_that_it_asks_for_and_nothing_else(directory: Sampled) {
    fill(&*directory).await;
    let opened = directory.open_interaction(&key("call-1"), "ivr", now()).await.unwrap();
    let ada = load(&*directory, sample::ADA).await;
    let subject = |number: &str, id: &str| SubjectHints {
        account: Some(AccountSelector::NumberOfRecord(E164::parse(number).unwrap())),
        contact: Some(ContactSelector::Id(ContactId::new(id))),
    };
    let everything = |subject| Look {
        subject,
        whose: Whose::Selected,
        interaction: Some(key("call-1")),
        attempt: Some(AttemptFrom { line: None, familiar_since: now() }),
        freshness: Freshness::FromStore,
        now: later(1),
    };
    let seen = directory.look(&everything(subject(sample::ACME_OLD_NUMBER, sample::ADA))).await.unwrap();
    let all = Seen {
        selection: Selection { account: account(sample::ACME), contact: contact(sample::ADA) },
        standing: Some(Arc::new(ada.clone())),
        interaction: Some(opened.clone()),
        attempt: AttemptFacts::default(),
    };
    assert_eq!(seen, all);

    // Nobody has no standing, and hides no interaction.
    for (number, id) in [("+14085550111", sample::ADA), (sample::ACME_OLD_NUMBER, sample::KARL)] {
        let seen = directory.look(&everything(subject(number, id))).await.unwrap();
        assert_eq!((seen.standing, seen.interaction.as_ref()), (None, Some(&opened)), "{number} {id}");
        assert_eq!((seen.selection.contact, seen.attempt), (None, AttemptFacts::default()));
    }

    // Whom a token names is read, whoever is selected besides; what was not asked for is not told.
    let token = Look { whose: Whose::Contact(ContactId::new(sample::BEN)), ..everything(SubjectHints::default()) };
    let seen = directory.look(&token).await.unwrap();
    assert_eq!(
        (&seen.standing.unwrap().contact.id, seen.selection),
        (&ContactId::new(sample::BEN), Selection::default())
    );
    let little = Look::at_subject(subject(sample::ACME_OLD_NUMBER, sample::ADA), now());
    let seen = directory.look(&little).await.unwrap();
    assert_eq!(seen, Seen { selection: all.selection, ..Seen::default() });
    let nothing = Look { whose: Whose::Selected, interaction: None, ..everything(SubjectHints::default()) };
    assert_eq!(directory.look(&nothing).await.unwrap(), Seen::default());
}

pub(super) async fn unknown_ambiguous_and_foreign_select_nobody(directory: Sampled) {
    fill(&*directory).await;
    let acme = AccountSelector::Id(AccountId::new(sample::ACME));
    let unknown = [
        AccountSelector::Id(AccountId::new("acc-9999")),
        AccountSelector::Id(AccountId::new("")),
        AccountSelector::NumberOfRecord(E164::parse("+14085550111").unwrap()),
        AccountSelector::Name("Nobody Inc".into()),
        AccountSelector::Name("%".into()),
        AccountSelector::Nothing,
    ];
    for by in unknown {
        let ada = Some(ContactSelector::Id(ContactId::new(sample::ADA)));
        assert_eq!(select(&*directory, Some(by.clone()), ada).await, Selection::default(), "{by:?}");
    }
    let foreign = [
        ContactSelector::Id(ContactId::new(sample::KARL)),
        ContactSelector::Email("karl.weiss@borealis.example".into()),
        ContactSelector::UserId("kweiss".into()),
        ContactSelector::Name { first: "Karl".into(), last: "Weiss".into() },
        ContactSelector::Name { first: "Ada".into(), last: "Okafor".into() },
        ContactSelector::Extension("999".into()),
        ContactSelector::Extension("".into()),
    ];
    for by in foreign {
        let found = select(&*directory, Some(acme.clone()), Some(by.clone())).await;
        assert_eq!(found, Selection { account: account(sample::ACME), contact: None }, "{by:?}");
    }
    let without_account = select(&*directory, None, Some(ContactSelector::Id(ContactId::new(sample::ADA)))).await;
    assert_eq!(without_account, Selection::default());

    let twin = Contact { email: None, extension: None, user_id: None, ..new_contact("con-1011", "ADA", "moreno") };
    apply(&*directory, Change::PutContact(twin)).await.unwrap();
    let by_name = ContactSelector::Name { first: "Ada".into(), last: "Moreno".into() };
    assert_eq!(select(&*directory, Some(acme.clone()), Some(by_name)).await.contact, None, "two of one name");

    let mut borealis = load(&*directory, sample::KARL).await.account;
    borealis.numbers_of_record = load(&*directory, sample::ADA).await.account.numbers_of_record;
    borealis.name = "ACME  telephony".into();
    apply(&*directory, Change::PutAccount(borealis)).await.unwrap();
    let shared = AccountSelector::NumberOfRecord(E164::parse(sample::ACME_OLD_NUMBER).unwrap());
    assert_eq!(select(&*directory, Some(shared), None).await, Selection::default(), "a number on two accounts");
    let name = AccountSelector::Name("Acme Telephony".into());
    assert_eq!(select(&*directory, Some(name), None).await, Selection::default(), "a name of two accounts");
}

pub(super) async fn a_standing_holds_what_was_put(directory: Sampled) {
    let revision = fill(&*directory).await;
    for change in sample::changes(now()) {
        match change {
            Change::PutAccount(put) => {
                let admin = if put.id.as_str() == sample::ACME { sample::ADA } else { sample::KARL };
                let standing = load(&*directory, admin).await;
                assert!(standing.is_primary_admin());
                assert_eq!(standing.account.primary_admin, contact(admin));
                assert_eq!(countersign::directory::Account { primary_admin: None, ..standing.account }, put);
            }
            Change::PutContact(put) => {
                let standing = load(&*directory, put.id.as_str()).await;
                assert_eq!((standing.contact, standing.revision), (put, revision));
            }
            Change::AssignRole(put) => {
                assert_eq!(load(&*directory, put.contact.as_str()).await.assignments, [put]);
            }
            Change::RevokeRole { .. }
            | Change::SetPrimaryAdmin { .. }
            | Change::SuspendPassphrase { .. }
            | Change::CloseAccount { .. }
            | Change::ReopenAccount { .. } => {}
        }
    }
    assert!(load(&*directory, sample::JUNE).await.assignments.is_empty());
    assert!(!load(&*directory, sample::BEN).await.is_primary_admin());
    assert_eq!(directory.find_standing(&ContactId::new("con-9999")).await.unwrap(), None);
}

pub(super) async fn replacing_keeps_what_has_its_own_change(directory: Sampled) {
    fill(&*directory).await;
    let before = load(&*directory, sample::ADA).await;
    let mut acme = before.account.clone();
    acme.name = "Acme".into();
    acme.primary_admin = None;
    acme.created = now();
    acme.sites.reverse();
    acme.numbers_of_record.remove(0);
    acme.addresses_of_record.clear();
    acme.number_moves_locked = true;
    acme.cpni_exemption.dedicated_representative = true;
    acme.marketing_approved = Some(jiff::civil::date(2026, 3, 31));
    apply(&*directory, Change::PutAccount(acme.clone())).await.unwrap();
    acme.primary_admin = before.account.primary_admin;
    acme.created = before.account.created;
    assert_eq!(load(&*directory, sample::ADA).await.account, acme);

    let ada = Contact { email: None, last_name: "Moreno-Lee".into(), created: now(), ..before.contact.clone() };
    apply(&*directory, Change::PutContact(ada.clone())).await.unwrap();
    let after = load(&*directory, sample::ADA).await;
    assert_eq!(after.contact, Contact { created: before.contact.created, ..ada });
    assert_eq!(after.assignments, before.assignments);
    let old_name = ContactSelector::Email("ada.moreno@acme.example".into());
    let acme = Some(AccountSelector::Id(AccountId::new(sample::ACME)));
    assert_eq!(select(&*directory, acme, Some(old_name)).await.contact, None, "the old e-mail selects nobody");
}

pub(super) async fn roles_are_assigned_once_and_revoked(directory: Sampled) {
    fill(&*directory).await;
    let west = Scope::Site(SiteId::new(sample::SITE_WEST));
    let granted = load(&*directory, sample::HANA).await.assignments;
    apply(&*directory, Change::AssignRole(role(sample::HANA, "it_admin", west.clone()))).await.unwrap();
    assert_eq!(load(&*directory, sample::HANA).await.assignments, granted, "the older date stays");

    let company = role(sample::HANA, "it_admin", Scope::Company);
    apply(&*directory, Change::AssignRole(company.clone())).await.unwrap();
    assert_eq!(load(&*directory, sample::HANA).await.assignments.len(), 2, "another scope is another assignment");

    let revoke =
        Change::RevokeRole { contact: ContactId::new(sample::HANA), role: RoleName::new("it_admin"), scope: west };
    let revoked = apply(&*directory, revoke.clone()).await.unwrap();
    assert_eq!(load(&*directory, sample::HANA).await.assignments, [company]);
    let again = apply(&*directory, revoke).await.unwrap();
    assert_eq!(again.0, revoked.0 + 1, "revoking what is absent is logged, too");
}

pub(super) async fn a_broken_invariant_names_its_field_and_writes_nothing(directory: Sampled) {
    let revision = fill(&*directory).await;
    let before = load(&*directory, sample::ADA).await;
    for (field, change) in broken(&before) {
        // A good change before it must not stay either.
        let good = Change::PutContact(new_contact("con-1099", "Olga", "Ruiz"));
        let refused = directory.apply(vec![good, change.clone()], Actor::Sidecar, now()).await;
        match refused {
            Err(DirectoryError::Invalid { field: named, .. }) => assert_eq!(named, field, "{change:?}"),
            other => panic!("{change:?} must be refused, not {other:?}"),
        }
        assert_eq!(directory.revision().await.unwrap(), revision, "{change:?}");
    }
    assert_eq!(directory.find_standing(&ContactId::new("con-1099")).await.unwrap(), None);
    assert_eq!(load(&*directory, sample::ADA).await, before);
}

fn broken(ada: &Standing) -> Vec<(&'static str, Change)> {
    let contact = |field, contact| (field, Change::PutContact(contact));
    let account = |field, account| (field, Change::PutAccount(account));
    let base = || new_contact("con-1011", "New", "Person");
    let acme = || ada.account.clone();
    let with = |change: &dyn Fn(&mut countersign::directory::Account)| {
        let mut account = acme();
        change(&mut account);
        account
    };
    let primary = |account: &str, contact: &str| Change::SetPrimaryAdmin {
        account: AccountId::new(account),
        contact: ContactId::new(contact),
    };
    vec![
        contact("id", Contact { id: ContactId::new(""), ..base() }),
        contact("id", Contact { id: ContactId::new("x".repeat(65)), ..base() }),
        contact("id", Contact { id: ContactId::new("con 1"), ..base() }),
        contact("id", Contact { id: ContactId::new("cön"), ..base() }),
        contact("account", Contact { account: AccountId::new("acc-9999"), ..base() }),
        contact("account", Contact { account: AccountId::new(sample::BOREALIS), ..ada.contact.clone() }),
        contact("first_name", Contact { first_name: " \u{a0}".into(), ..base() }),
        contact("first_name", Contact { first_name: "x".repeat(101), ..base() }),
        contact("last_name", Contact { last_name: String::new(), ..base() }),
        contact("last_name", Contact { last_name: "a\u{1b}[2J".into(), ..base() }),
        contact("email", Contact { email: Some("ADA.Moreno@acme.example ".into()), ..base() }),
        contact("email", Contact { email: Some(" ".into()), ..base() }),
        contact("extension", Contact { extension: Some("101".into()), ..base() }),
        contact("extension", Contact { extension: Some("10a".into()), ..base() }),
        contact("user_id", Contact { user_id: Some("AMORENO".into()), ..base() }),
        contact("status", Contact { status: ContactStatus::Inactive, ..ada.contact.clone() }),
        account("id", with(&|account| account.id = AccountId::new("a\nb"))),
        account("name", with(&|account| account.name = "\t".into())),
        account("name", with(&|account| account.name = "x".repeat(201))),
        account("sites", with(&|account| account.sites.retain(|site| site.id.as_str() != sample::SITE_WEST))),
        account("sites", with(&|account| account.sites.extend(acme().sites))),
        account("sites", with(&|account| account.sites[0].name.clear())),
        account("numbers_of_record", with(&|account| account.numbers_of_record.extend(acme().numbers_of_record))),
        account("addresses_of_record", with(&|account| account.addresses_of_record.extend(acme().addresses_of_record))),
        account("primary_admin", with(&|account| account.primary_admin = Some(ContactId::new(sample::BEN)))),
        account("primary_admin", with(&|account| account.id = AccountId::new("acc-3003"))),
        ("primary_admin", primary(sample::ACME, sample::KARL)),
        ("primary_admin", primary(sample::ACME, sample::IVAN)),
        ("primary_admin", primary(sample::ACME, "con-9999")),
        ("contact", Change::AssignRole(role("con-9999", "it_admin", Scope::Company))),
        ("role", Change::AssignRole(role(sample::BEN, "", Scope::Company))),
        ("site", Change::AssignRole(role(sample::BEN, "it_admin", Scope::Site(SiteId::new("site-none"))))),
        ("site", Change::AssignRole(role(sample::KARL, "it_admin", Scope::Site(SiteId::new(sample::SITE_WEST))))),
    ]
}

pub(super) async fn the_primary_admin_leaves_only_after_a_successor(directory: Sampled) {
    fill(&*directory).await;
    let ada = Contact { status: ContactStatus::Inactive, ..load(&*directory, sample::ADA).await.contact };
    assert!(apply(&*directory, Change::PutContact(ada.clone())).await.is_err());
    let successor =
        Change::SetPrimaryAdmin { account: AccountId::new(sample::ACME), contact: ContactId::new(sample::BEN) };
    let changes = vec![successor, Change::PutContact(ada)];
    directory.apply(changes, Actor::Sidecar, now()).await.unwrap();
    assert!(load(&*directory, sample::BEN).await.is_primary_admin());
    let ada = load(&*directory, sample::ADA).await;
    assert_eq!((ada.contact.status, ada.is_primary_admin()), (ContactStatus::Inactive, false));
}

pub(super) async fn each_change_is_one_row_without_a_gap(directory: Sampled) {
    assert_eq!(directory.revision().await.unwrap(), Revision(0));
    let newest = fill(&*directory).await;
    let count = sample::changes(now()).len() as u64;
    assert_eq!(newest, Revision(count));
    let client = Actor::Client("portal".into());
    let change = Change::PutContact(new_contact("con-1011", "New", "Person"));
    directory.apply(vec![change], client.clone(), later(1)).await.unwrap();

    let log = directory.changes_after(Revision(0), 1000).await.unwrap();
    assert!(log.iter().map(|row| row.revision.0).eq(1..=count + 1));
    let last = log.last().unwrap();
    assert_eq!((last.at, &last.actor, last.kind.as_str()), (later(1), &client, "put_contact"));
    assert_eq!(last.account, account(sample::ACME));
    assert_eq!(log[0].actor, Actor::Sidecar);
    assert_eq!(directory.changes_after(Revision(3), 2).await.unwrap(), log[3..5]);
    assert!(directory.changes_after(Revision(u64::MAX), 2).await.unwrap().is_empty());
}

pub(super) async fn an_interaction_belongs_to_its_opener_and_ends_once(directory: Sampled) {
    let opened = directory.open_interaction(&key("call-1"), "ivr", now()).await.unwrap();
    assert_eq!((opened.opened_by.as_str(), opened.opened_at, opened.ended_at), ("ivr", now(), None));
    let again = directory.open_interaction(&key("call-1"), "desktop", later(1)).await.unwrap();
    assert_eq!(again, opened, "whoever comes second finds what the first opened");
    assert_eq!(directory.revision().await.unwrap(), Revision(0), "opening is no change of the directory");
    let other_group = InteractionKey { group: "web".into(), ..key("call-1") };
    assert_eq!(interaction(&*directory, other_group, now()).await, None);

    let end = |client, bearer, at| {
        let directory = Arc::clone(&directory);
        async move { directory.end_interaction(&key("call-1"), client, bearer, at).await.unwrap() }
    };
    assert_eq!(end("desktop", false, later(1)).await, EndOutcome::NotYours);
    assert_eq!(end("desktop", true, later(1)).await, EndOutcome::Ended(later(1)));
    assert_eq!(end("ivr", false, later(2)).await, EndOutcome::Ended(later(1)), "ending twice is the same as once");
    assert_eq!(end("stranger", false, later(2)).await, EndOutcome::NotYours);
    let state = directory.open_interaction(&key("call-1"), "ivr", later(3)).await.unwrap();
    assert_eq!(state.ended_at, Some(later(1)), "an ended id takes no new proof");
    let log = directory.changes_after(Revision(0), 10).await.unwrap();
    assert_eq!(log.iter().map(|row| row.kind.as_str()).collect::<Vec<_>>(), ["end_interaction"]);
    assert_eq!(log[0].actor, Actor::Client("desktop".into()));
}

pub(super) async fn an_interaction_ends_by_itself_and_is_forgotten_after_a_day(directory: Sampled) {
    directory.open_interaction(&key("call-1"), "ivr", now()).await.unwrap();
    let end = now() + INTERACTION_LIFE;
    let last_moment = end - SignedDuration::from_micros(1);
    let ended_at = |state: Option<InteractionState>| state.unwrap().ended_at;
    assert_eq!(ended_at(interaction(&*directory, key("call-1"), last_moment).await), None);
    assert_eq!(ended_at(interaction(&*directory, key("call-1"), end).await), Some(end));
    let outcome = directory.end_interaction(&key("call-1"), "ivr", false, later(5)).await.unwrap();
    assert_eq!(outcome, EndOutcome::Ended(end));

    // Nobody opened it: it is ended all the same, so that its id takes no proof later.
    let outcome = directory.end_interaction(&key("call-2"), "ivr", false, now()).await.unwrap();
    assert_eq!(outcome, EndOutcome::Ended(now()));
    assert_eq!(directory.open_interaction(&key("call-2"), "ivr", later(1)).await.unwrap().ended_at, Some(now()));

    assert_eq!(interaction(&*directory, key("call-1"), later(26)).await, None);
    let anew = directory.open_interaction(&key("call-1"), "desktop", later(26)).await.unwrap();
    assert_eq!((anew.opened_by.as_str(), anew.ended_at), ("desktop", None), "a day later the id is a new call");
}

pub(super) async fn an_escalation_is_opened_once_while_it_is_pending(directory: Sampled) {
    let revision = fill(&*directory).await;
    let limits = PendingLimits::default();
    let new = escalation("esc-1", sample::GRACE, "order-1");
    let pending = Escalation { id: "esc-1".into(), state: EscalationState::Pending, expires: new.expires };
    let opened = directory.open_escalation(new.clone(), limits).await.unwrap();
    assert_eq!(opened, OpenOutcome::Opened(pending.clone()));
    let log = directory.changes_after(revision, 10).await.unwrap();
    assert_eq!(log.len(), 1);
    assert_eq!((log[0].kind.as_str(), &log[0].account), ("open_escalation", &account(sample::ACME)));

    let again = NewEscalation { id: "esc-2".into(), opened: later(1), expires: later(73), ..new.clone() };
    let outcome = directory.open_escalation(again.clone(), limits).await.unwrap();
    assert_eq!(outcome, OpenOutcome::Pending(pending));
    let full = PendingLimits { per_contact: 0, per_account: 0 };
    let outcome = directory.open_escalation(again, full).await.unwrap();
    assert!(matches!(outcome, OpenOutcome::Pending(_)), "a limit does not hide what is pending");
    assert_eq!(directory.revision().await.unwrap(), log[0].revision, "finding one is no change");

    let after = NewEscalation { id: "esc-3".into(), opened: later(72), expires: later(144), ..new.clone() };
    let outcome = directory.open_escalation(after, limits).await.unwrap();
    assert!(matches!(outcome, OpenOutcome::Opened(_)), "an expired one is pending no more");

    for (field, foreign) in [
        ("contact", NewEscalation { contact: ContactId::new(sample::LENA), ..new.clone() }),
        ("primary_admin", NewEscalation { primary_admin: ContactId::new(sample::KARL), ..new.clone() }),
    ] {
        let refused = directory.open_escalation(foreign, limits).await;
        assert!(matches!(refused, Err(DirectoryError::Invalid { field: named, .. }) if named == field));
    }
}

pub(super) async fn pending_escalations_are_limited_per_contact_and_account(directory: Sampled) {
    fill(&*directory).await;
    let limits = PendingLimits { per_contact: 2, per_account: 3 };
    let open = |id: &'static str, contact: &'static str, at: Timestamp| {
        let directory = Arc::clone(&directory);
        let new =
            NewEscalation { opened: at, expires: at + SignedDuration::from_hours(72), ..escalation(id, contact, id) };
        async move { directory.open_escalation(new, limits).await.unwrap() }
    };
    assert!(matches!(open("esc-1", sample::GRACE, now()).await, OpenOutcome::Opened(_)));
    assert!(matches!(open("esc-2", sample::GRACE, now()).await, OpenOutcome::Opened(_)));
    assert_eq!(open("esc-3", sample::GRACE, now()).await, OpenOutcome::TooMany, "of the contact");
    assert!(matches!(open("esc-4", sample::JUNE, now()).await, OpenOutcome::Opened(_)));
    assert_eq!(open("esc-5", sample::JUNE, now()).await, OpenOutcome::TooMany, "of the account");
    assert!(
        matches!(open("esc-6", sample::GRACE, later(73)).await, OpenOutcome::Opened(_)),
        "expired ones do not count"
    );
}

pub(super) async fn concurrent_writers_lose_nothing(directory: Sampled) {
    let base = fill(&*directory).await;
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..200 {
        let directory = Arc::clone(&directory);
        writers.spawn(async move {
            // Every fourth is refused, and must not sink those that are committed with it.
            let last_name = if number % 4 == 0 { String::new() } else { format!("Person{number}") };
            let new = new_contact(&format!("con-w{number}"), "Many", &last_name);
            let revision = apply(&*directory, Change::PutContact(new)).await;
            if revision.is_ok() {
                load(&*directory, &format!("con-w{number}")).await;
            }
            let grace = escalation(&format!("esc-{number}"), sample::GRACE, &format!("order-{number}"));
            let opened = directory.open_escalation(grace, PendingLimits::default()).await.unwrap();
            (revision, opened)
        });
    }
    let done = writers.join_all().await;
    let kept = done.iter().filter(|(revision, _)| revision.is_ok()).count() as u64;
    let opened = done.iter().filter(|(_, outcome)| matches!(outcome, OpenOutcome::Opened(_))).count() as u64;
    assert_eq!((kept, opened), (150, 5));
    let log = directory.changes_after(base, 1000).await.unwrap();
    assert!(log.iter().map(|row| row.revision.0).eq(base.0 + 1..=base.0 + kept + opened), "no gap, none twice");
}

async fn select(
    directory: &dyn Directory,
    account: Option<AccountSelector>,
    contact: Option<ContactSelector>,
) -> Selection {
    let look = Look::at_subject(SubjectHints { account, contact }, now());
    directory.look(&look).await.unwrap().selection
}

fn new_contact(id: &str, first: &str, last: &str) -> Contact {
    Contact {
        id: ContactId::new(id),
        account: AccountId::new(sample::ACME),
        first_name: first.into(),
        last_name: last.into(),
        email: None,
        extension: None,
        user_id: None,
        status: ContactStatus::Active,
        created: now(),
    }
}

pub(super) fn escalation(id: &str, contact: &str, resource: &str) -> NewEscalation {
    NewEscalation {
        id: id.into(),
        account: AccountId::new(sample::ACME),
        contact: ContactId::new(contact),
        primary_admin: ContactId::new(sample::ADA),
        action: "order.place".into(),
        resource: resource.into(),
        client: "portal".into(),
        request_id: "request-1".into(),
        opened: now(),
        expires: later(72),
    }
}

pub(super) async fn listings_come_in_pages_in_the_order_of_ids(directory: Sampled) {
    fill(&*directory).await;
    let accounts = directory.list_accounts(None, 10).await.unwrap();
    assert_eq!(
        accounts.iter().map(|account| account.id.as_str()).collect::<Vec<_>>(),
        [sample::ACME, sample::BOREALIS]
    );
    assert_eq!(accounts[0], load(&*directory, sample::ADA).await.account);
    let after = AccountId::new(sample::ACME);
    assert_eq!(directory.list_accounts(Some(&after), 10).await.unwrap(), accounts[1..]);

    let mut seen = Vec::new();
    while let Ok(page) = directory.list_contacts(None, seen.last(), 5).await
        && !page.is_empty()
    {
        seen.extend(page.into_iter().map(|listed| listed.contact.id));
    }
    assert_eq!(seen.len(), 12);
    assert!(seen.is_sorted());
    let after = ContactId::new(sample::GRACE);
    let rest = directory.list_contacts(Some(&accounts[0].id), Some(&after), 2).await.unwrap();
    let hana = load(&*directory, sample::HANA).await;
    assert_eq!((&rest[0].contact, &rest[0].roles), (&hana.contact, &hana.assignments));
    assert_eq!(rest.len(), 2);
}

pub(super) async fn rows_are_imported_all_or_none_and_twice_is_once(directory: Sampled) {
    let revision = fill(&*directory).await;
    let contact = |id: &str, account: &str| {
        let (id, account) = (ContactId::new(id), AccountId::new(account));
        let (first_name, last_name, email) = ("Mara".to_owned(), "Stone".to_owned(), Told::Nothing);
        let (extension, user_id) = (Told::Nothing, Told::Empty);
        Row::Contact(ContactRow {
            id,
            account,
            first_name,
            last_name,
            email,
            extension,
            user_id,
            status: None,
            created: None,
        })
    };
    let terms = Terms::default();
    let actor = || Actor::Operator("root".into());
    let unknown = vec![contact("con-3001", sample::ACME), contact("con-3002", "acc-9999")];
    let findings = directory.check_import(unknown.clone(), &terms, now()).await.unwrap();
    assert_eq!(findings, [Finding { row: 1, problem: Problem::Missing("account".into()) }]);
    let refused = directory.import(unknown, &terms, actor(), now()).await;
    assert!(matches!(refused, Err(DirectoryError::Invalid { .. })), "{refused:?}");
    assert_eq!(directory.revision().await.unwrap(), revision, "neither was written");

    let sound = vec![contact("con-3001", sample::ACME), contact(sample::GRACE, sample::ACME)];
    assert_eq!(directory.check_import(sound.clone(), &terms, now()).await.unwrap(), []);
    let imported = directory.import(sound.clone(), &terms, actor(), later(1)).await.unwrap();
    assert_eq!((imported.created, imported.changed, imported.unchanged), (1, 1, 0));
    assert_eq!(load(&*directory, "con-3001").await.contact.created, later(1));
    let grace = load(&*directory, sample::GRACE).await.contact;
    assert_eq!((grace.first_name.as_str(), grace.extension.as_deref(), grace.user_id), ("Mara", Some("107"), None));
    let again = directory.import(sound, &terms, actor(), later(2)).await.unwrap();
    assert_eq!((again.created, again.changed, again.unchanged), (0, 0, 2));
    assert_eq!(directory.revision().await.unwrap(), imported.revision);
}

pub(super) async fn another_generation_begins_above_all_and_ends_what_waits(
    store: &(impl Directory + Escalations + Generations),
) {
    let before = fill(store).await;
    assert_eq!(store.generation().await.unwrap(), Generation::default());
    assert_eq!(Generation::default().mark(), [0_u8; 0]);
    let _opened = store.open_escalation(escalation("esc-1", sample::GRACE, "order-1"), PendingLimits::default()).await;
    let operator = Actor::Operator("root".into());
    let (first, revision) = store.raise_generation([1; 16], operator.clone(), later(1)).await.unwrap();
    assert_eq!((first.number(), first.mark()), (1, [1; 16].as_slice()));
    assert_eq!(store.generation().await.unwrap(), first);
    assert!(revision.0 >= before.0 + (1 << 32), "{revision:?} after {before:?}");
    let log = store.changes_after(Revision(revision.0 - 1), 1).await.unwrap();
    assert_eq!((log[0].kind.as_str(), &log[0].account, &log[0].actor), ("raise_generation", &None, &operator));
    let waits = store.find_escalation("esc-1", later(2)).await.unwrap().unwrap();
    assert_eq!(waits.state, EscalationState::Expired);

    let next = store.apply(sample::changes(now()), operator.clone(), later(2)).await.unwrap();
    assert!(next > revision, "changes go on from there");
    let (second, later_revision) = store.raise_generation([2; 16], operator, later(3)).await.unwrap();
    assert_eq!((second.number(), second.mark()), (2, [2; 16].as_slice()));
    assert!(later_revision.0 >= next.0 + (1 << 32));
}
