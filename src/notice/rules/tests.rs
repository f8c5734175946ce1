use super::*;

#[test]
fn every_kind_has_a_code_of_its_own_that_is_read_back() {
    let codes: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.code()).collect();
    assert_eq!(codes.len(), Kind::ALL.len());
    assert!(Kind::ALL.iter().all(|kind| Kind::parse(kind.code()) == Some(*kind)));
    assert_eq!(Kind::parse("none"), None);
}

#[test]
fn what_was_looked_at_first_stays() {
    let mut before = Before::default();
    let id = ContactId::new("con-1");
    before.keep_contact(id.clone(), None);
    let contact = Contact {
        id: id.clone(),
        account: AccountId::new("acc-1"),
        first_name: "A".into(),
        last_name: "B".into(),
        email: Some("late@example.com".into()),
        extension: None,
        user_id: None,
        status: ContactStatus::Active,
        created: Timestamp::UNIX_EPOCH,
    };
    before.keep_contact(id.clone(), Some(contact));
    assert!(before.has_contact(&id) && before.contact(&id).is_none());
}

#[test]
fn without_an_account_before_there_is_nobody_to_tell() {
    let account = AccountId::new("acc-1");
    for kind in Kind::ALL {
        assert_eq!(about_account(*kind, &account, &Before::default()), []);
        assert_eq!(about_contact(*kind, &account, &ContactId::new("con-1"), &Before::default()), []);
    }
}
