use jiff::Timestamp;

use super::*;
use crate::{
    directory::{
        AccountId, AddressKind, AddressOfRecord, ContactId, ContactStatus, CpniExemption, E164, NumberOfRecord,
    },
    identity::passphrase::Passphrase,
};

fn weakness_for(text: &str, profile: &Profile) -> Option<Weakness> {
    Passphrase::new(text.to_owned()).unwrap().check_strength(profile).err()
}

fn weakness(text: &str) -> Option<Weakness> {
    weakness_for(text, &Profile::default())
}

pub(super) fn ada() -> Profile {
    let added = jiff::civil::date(2026, 1, 1);
    let account = Account {
        id: AccountId::new("acct-9931"),
        name: "Brightwater Logistics".to_owned(),
        created: Timestamp::UNIX_EPOCH,
        primary_admin: None,
        numbers_of_record: vec![NumberOfRecord { number: E164::parse("+14085550143").unwrap(), added }],
        addresses_of_record: vec![AddressOfRecord {
            kind: AddressKind::Postal,
            address: "77 Quarry Lane".to_owned(),
            added,
        }],
        sites: Vec::new(),
        number_moves_locked: false,
        cpni_exemption: CpniExemption::default(),
        marketing_approved: None,
        closed: None,
    };
    let contact = Contact {
        id: ContactId::new("c-ada"),
        account: account.id.clone(),
        first_name: "Zoë".to_owned(),
        last_name: "Lindqvist".to_owned(),
        email: Some("z.Lindqvist-ops@brightwater.example".to_owned()),
        extension: Some("7741".to_owned()),
        user_id: Some("zlq88".to_owned()),
        status: ContactStatus::Active,
        created: Timestamp::UNIX_EPOCH,
    };
    Profile::of(&account, Some(&contact))
}

#[test]
fn fifteen_characters_of_the_canonical_form_are_the_least() {
    // proves: N1
    assert_eq!(weakness("plum tiger fog"), Some(Weakness::TooShort));
    assert_eq!(weakness("plum tiger foggy"), None);
    // Punctuation, case and spaces add nothing; length is measured after they are gone.
    assert_eq!(weakness("P!l!u!m!  t.i.g.e.r,  f'o'g"), Some(Weakness::TooShort));
    assert_eq!(weakness("plum\u{200b}\u{200b}tiger\u{200b}fog"), Some(Weakness::TooShort));
}

#[test]
fn one_character_that_unfolds_to_many_counts_once() {
    // proves: N1, A29
    assert_eq!(weakness("\u{fdfa}"), Some(Weakness::TooShort));
    assert_eq!(weakness(&format!("\u{fdfa}{}", "\u{200b}".repeat(20))), Some(Weakness::TooShort));
}

#[test]
fn long_phrases_in_any_script_pass_without_any_rule_of_composition() {
    // proves: N1
    for text in [
        "слон поёт под луной тихо",
        "ένα κίτρινο ποδήλατο τρέχει",
        "gravel tulip orbit wagon mint",
        "a sentence that only I would say, on a Tuesday",
    ] {
        assert_eq!(weakness(text), None, "{text}");
    }
}

#[test]
fn common_phrases_are_refused_also_with_a_little_added() {
    // proves: N1
    for text in [
        "Correct horse battery staple",
        "correcthorsebatterystaple!!",
        "May the force be with you 2024",
        "password password1 qwerty",
        "countersign 8x8 support passphrase",
        "To be, or not to be: that is the question",
        "welcome to 8x8 admin login",
    ] {
        assert_eq!(weakness(text), Some(Weakness::Common), "{text}");
    }
    assert_eq!(weakness("no force on earth moves my tulip wagon"), None);
}

#[test]
fn repetitions_and_sequences_are_refused() {
    // proves: N1
    for text in [
        "aaaaaaaaaaaaaaaaaaaa",
        "tulip tulip tulip",
        "abababababababababab",
        "wagonwagonwagonwa",
        "a b a c a b a c a b a",
    ] {
        assert_eq!(weakness(text), Some(Weakness::Repetitive), "{text}");
    }
    for text in [
        "abcdefghijklmnopqrst",
        "qwertyuiopasdfghjkl",
        "1234567890 0987654321 123",
        "zyxwvutsrqponmlkji",
        "abc def ghi jkl mno pqr",
    ] {
        assert_eq!(weakness(text), Some(Weakness::Sequence), "{text}");
    }
}

#[test]
fn what_is_on_record_is_refused_in_any_spelling() {
    // proves: F6, F5
    let ada = ada();
    for text in [
        "my name is LINDQVIST and I sing",
        "l i n d q v i s t sings in the rain",
        "the brightwater river is cold",
        "our logistics are the best there are",
        "call me on 408-555-0143 tonight",
        "call five 555.0143 when it rains",
        "plus 1 408 555 0143 is the one",
        "extension 7741 rings at noon",
        "user zlq88 drinks his coffee",
        "acct 9931 wants a new router",
        "seventy 77 quarry lane is home",
        "Zoë Lindqvist, my own self",
        "c ada and the seven tulips",
    ] {
        assert_eq!(weakness_for(text, &ada), Some(Weakness::OnRecord), "{text}");
        assert_eq!(weakness(text), None, "{text}");
    }
    assert_eq!(weakness_for("gravel tulip orbit wagon mint", &ada), None);
}

#[test]
fn a_refusal_names_the_rule_and_never_the_value() {
    // proves: A21
    for weakness in [Weakness::TooShort, Weakness::Common, Weakness::Repetitive, Weakness::Sequence, Weakness::OnRecord]
    {
        assert!(
            !weakness.to_string().is_empty() && weakness.code().chars().all(|c| c.is_ascii_uppercase() || c == '_')
        );
    }
    let shown = weakness_for("my name is lindqvist and I sing", &ada()).unwrap().to_string();
    assert!(!shown.contains("lindqvist"), "{shown}");
}

#[test]
fn every_entry_of_the_blocklist_is_in_use() {
    assert!(COMMON.len() > 150);
    assert!(COMMON.iter().all(|phrase| !phrase.is_empty()));
    let mut seen = BTreeSet::new();
    assert!(COMMON.iter().all(|phrase| seen.insert(phrase)), "an entry stands twice");
}
