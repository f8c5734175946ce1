//! Whether a name is a person's, or filler such as "ABC Company" and "Extension User" (S11).
//!
//! A heuristic, and a finding is a question to a person: nothing is ever decided by it. Words that are never a name make the
//! name filler wherever they stand. Words that some people are called (Robert Service, Line Hansen, Laura Company) do so only
//! when nothing else is left. What it finds and misses is measured in `tests/it/review/names.rs` and stands in docs/review.md.

use crate::directory::select::folded;

/// Why a name is filler; `None`: it may be a person's.
#[must_use]
pub fn filler(first: &str, last: &str, company: &str) -> Option<&'static str> {
    let whole = format!("{first} {last}");
    let words: Vec<String> = words(&whole);
    if words.is_empty() {
        return Some("holds no letter");
    }
    if words.iter().any(|word| has_digit(word)) {
        return Some("holds a number");
    }
    if self::words(company) == words {
        return Some("is the company's name");
    }
    if PLACEHOLDERS.iter().any(|(first, last)| words == [*first, *last]) {
        return Some("is a placeholder");
    }
    if words.iter().any(|word| NEVER_A_NAME.contains(&word.as_str())) {
        return Some("holds a word that is no name");
    }
    if words.iter().all(|word| SELDOM_A_NAME.contains(&word.as_str()) || is_run(word) || is_letter(word)) {
        return Some("holds nothing but filler");
    }
    None
}

/// Folded, split at white space and at the punctuation of ASCII; an apostrophe belongs to its word.
fn words(text: &str) -> Vec<String> {
    let between = |letter: char| letter.is_whitespace() || (letter.is_ascii_punctuation() && letter != '\'');
    folded(text).split(between).filter(|word| word.chars().any(char::is_alphanumeric)).map(str::to_owned).collect()
}

/// "User3", "101"; not "3rd".
fn has_digit(word: &str) -> bool {
    word.chars().any(|letter| letter.is_ascii_digit()) && !ORDINALS.contains(&word)
}

/// "xxx", "asdf": nothing that anybody is called.
fn is_run(word: &str) -> bool {
    let mut letters = word.chars();
    let first = letters.next();
    let same = word.chars().count() >= 3 && letters.all(|letter| Some(letter) == first);
    same || KEYBOARD.contains(&word)
}

/// "A"; one sign is a whole name in Chinese.
fn is_letter(word: &str) -> bool {
    word.len() == 1
}

const ORDINALS: [&str; 4] = ["1st", "2nd", "3rd", "4th"];

const KEYBOARD: [&str; 7] = ["asdf", "asdfg", "qwerty", "qwertz", "zxcv", "abc", "xyz"];

/// First and last name.
const PLACEHOLDERS: [(&str, &str); 9] = [
    ("john", "doe"),
    ("jane", "doe"),
    ("joe", "bloggs"),
    ("max", "mustermann"),
    ("erika", "mustermann"),
    ("first", "last"),
    ("foo", "bar"),
    ("mickey", "mouse"),
    ("donald", "duck"),
];

/// Nobody is called so.
const NEVER_A_NAME: [&str; 79] = [
    "accounting",
    "accounts",
    "admin",
    "administration",
    "administrator",
    "agent",
    "attendant",
    "auto",
    "billing",
    "boardroom",
    "callcenter",
    "cashier",
    "conference",
    "contact",
    "corp",
    "corporation",
    "customer",
    "default",
    "demo",
    "department",
    "dept",
    "dispatch",
    "dummy",
    "empfang",
    "employee",
    "ext",
    "extension",
    "facilities",
    "fax",
    "finance",
    "firstname",
    "frontdesk",
    "generic",
    "gmbh",
    "helpdesk",
    "hotline",
    "hq",
    "inbound",
    "inc",
    "intern",
    "ivr",
    "kiosk",
    "lastname",
    "licence",
    "license",
    "llc",
    "lobby",
    "logistics",
    "ltd",
    "mailbox",
    "maintenance",
    "marketing",
    "name",
    "noc",
    "none",
    "operations",
    "operator",
    "outbound",
    "payable",
    "placeholder",
    "plc",
    "receivable",
    "reception",
    "receptionist",
    "recruiting",
    "security",
    "shared",
    "showroom",
    "spare",
    "staff",
    "support",
    "switchboard",
    "tbd",
    "team",
    "temp",
    "unassigned",
    "unknown",
    "user",
    "voicemail",
];

/// Some are, and a name of nothing else is filler all the same.
const SELDOM_A_NAME: [&str; 93] = [
    "account",
    "and",
    "back",
    "board",
    "box",
    "break",
    "building",
    "cafeteria",
    "call",
    "cell",
    "center",
    "central",
    "centre",
    "company",
    "copy",
    "cordless",
    "day",
    "desk",
    "dining",
    "dock",
    "door",
    "east",
    "elevator",
    "entrance",
    "evening",
    "exit",
    "first",
    "floor",
    "front",
    "garage",
    "gate",
    "general",
    "group",
    "guest",
    "hall",
    "help",
    "hire",
    "hr",
    "huddle",
    "hunt",
    "info",
    "it",
    "kitchen",
    "lab",
    "last",
    "line",
    "loading",
    "machine",
    "main",
    "manager",
    "meeting",
    "na",
    "new",
    "night",
    "no",
    "nobody",
    "north",
    "nurse",
    "of",
    "office",
    "on",
    "open",
    "order",
    "paging",
    "parking",
    "phone",
    "pool",
    "position",
    "print",
    "printer",
    "production",
    "queue",
    "ring",
    "room",
    "sales",
    "server",
    "service",
    "shift",
    "shipping",
    "shop",
    "south",
    "station",
    "store",
    "system",
    "test",
    "the",
    "training",
    "vacant",
    "waiting",
    "warehouse",
    "west",
    "wing",
    "workshop",
];
