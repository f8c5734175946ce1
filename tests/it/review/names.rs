//! How well filler is told from names of people, on two lists that were written by hand.

use countersign::review::name::filler;

/// First and last names of a list.
fn listed(text: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split_once('\t').unwrap())
}

const FILLER: &str = include_str!("filler.txt");
const PEOPLE: &str = include_str!("people.txt");
const COMPANY: &str = "Acme Telephony";

// proves: S11
#[test]
fn filler_is_found_and_people_are_let_be() {
    let is_filler = |(first, last): &(&str, &str)| filler(first, last, COMPANY).is_some();
    let (found, missed): (Vec<_>, Vec<_>) = listed(FILLER).partition(is_filler);
    let (wronged, right): (Vec<_>, Vec<_>) = listed(PEOPLE).partition(is_filler);
    println!(
        "filler: {} of {} found, missed {missed:?}\npeople: {} of {} taken for filler: {wronged:?}",
        found.len(),
        found.len() + missed.len(),
        wronged.len(),
        wronged.len() + right.len()
    );
    assert!(found.len() + missed.len() >= 100 && wronged.len() + right.len() >= 110, "the lists are whole");
    // In hundredths: of what is found so much is filler, and of the filler so much is found.
    let precision = 100 * found.len() / (found.len() + wronged.len());
    let recall = 100 * found.len() / (found.len() + missed.len());
    assert!(precision >= 98, "precision {precision} %");
    assert!(recall >= 95, "recall {recall} %");
}

#[test]
fn what_is_filler_says_why() {
    for (first, last, why) in [
        ("Acme", "Telephony", "is the company's name"),
        ("ACME", "telephony", "is the company's name"),
        ("User", "3", "holds a number"),
        ("John", "Doe", "is a placeholder"),
        ("Extension", "Cricket", "holds a word that is no name"),
        ("Front", "Desk", "holds nothing but filler"),
        ("-", ".", "holds no letter"),
    ] {
        assert_eq!(filler(first, last, COMPANY), Some(why), "{first} {last}");
    }
}
