use proptest::prelude::*;

use super::*;
use crate::notice::FORMER_WITHIN;

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

fn had(spans: &[(&str, i64)]) -> Vec<(String, Timestamp)> {
    let mut until = Timestamp::UNIX_EPOCH;
    let end = |(email, minutes): &(&str, i64)| {
        until += SignedDuration::from_mins(*minutes);
        ((*email).to_owned(), until)
    };
    spans.iter().map(end).collect()
}

// proves: F11
#[test]
fn of_former_addresses_the_first_the_longest_held_and_the_last_two_are_told() {
    assert_eq!(former(&[]), Vec::<String>::new());
    assert_eq!(former(&had(&[("a", 5), ("b", 1), ("a", 1)])), ["a", "b"], "each once");
    let letters = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m"];
    // "a" was there before all, "d" and "e" for no time at all.
    let minutes = [1, 7, 7, 0, 0, 7, 7, 7, 7, 7, 9, 0, 0];
    let spans: Vec<_> = letters.into_iter().zip(minutes).collect();
    let told = former(&had(&spans));
    assert_eq!(told, ["m", "l", "a", "k", "j", "i", "h", "g", "f", "c"]);
    assert_eq!(told.len(), FORMER_TOLD);
}

proptest! {
    // proves: F11
    #[test]
    fn who_had_an_address_first_or_for_four_days_is_told_whatever_came_before_and_after(
        spans in prop::collection::vec((0..40_u8, 1..60 * 24 * 6_i64), 0..60),
    ) {
        let names: Vec<(String, i64)> = spans.iter().map(|(name, span)| (name.to_string(), *span)).collect();
        let spans: Vec<(&str, i64)> = names.iter().map(|(name, span)| (name.as_str(), *span)).collect();
        let all = had(&spans);
        // As a store reads them: what ended within the time.
        let begin = all.last().map_or(Timestamp::UNIX_EPOCH, |(_, until)| *until) - FORMER_WITHIN;
        let recent: Vec<_> = all.iter().filter(|(_, until)| *until >= begin).cloned().collect();
        let told = former(&recent);
        prop_assert!(told.len() <= FORMER_TOLD);
        if let Some((first, _)) = recent.first() {
            prop_assert!(told.contains(first), "{first} of {told:?}");
        }
        let whole = &spans[all.len() - recent.len()..];
        for (name, _) in whole {
            let minutes: i64 = whole.iter().skip(1).filter(|(other, _)| other == name).map(|(_, span)| span).sum();
            prop_assert!(minutes < 4 * 24 * 60 || told.iter().any(|told| told == name), "{name} of {told:?}");
        }
    }
}
