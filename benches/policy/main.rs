//! What the rules cost, and what a thousand more of them: `make bench`.
//!
//! The shipped bundle beside one with 1,000 rules of an operator's own, interleaved; medians. A remembered answer beside
//! an evaluated one. Figures are ratios, since machines are noisy.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark fails by panicking, and speaks to people"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs, hint,
    path::Path,
    time::{Duration, Instant},
};

use countersign::{
    directory::RoleName,
    identity::Method,
    interaction::Channel,
    policy::{AttributeValue, Bundle, Question, Ruling, matrix},
};

const ROUNDS: usize = 7;
const OWN_RULES: usize = 1_000;
const QUESTIONS: u32 = 2_000;
const NAMES: [(&str, &str); 4] = [
    ("load and check", "ms"),
    ("evaluated, about what the rules are about", "µs"),
    ("evaluated, about something else", "µs"),
    ("remembered", "µs"),
];

fn main() {
    let folder = tempfile::tempdir().unwrap();
    copy(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/policies")), folder.path());
    fs::write(folder.path().join("own.cedar"), own_rules()).unwrap();
    let folders = [Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/policies")), folder.path()];

    let mut figures: [[Vec<f64>; 4]; 2] = Default::default();
    for _ in 0..ROUNDS {
        for (folder, figures) in folders.iter().zip(&mut figures) {
            let start = Instant::now();
            let bundle = Bundle::load(folder).unwrap();
            figures[0].push(start.elapsed().as_secs_f64() * 1e3);
            figures[1].push(per_question(|at| decide(&bundle, "order.place", at)).as_secs_f64() * 1e6);
            figures[2].push(per_question(|at| decide(&bundle, "role.revoke", at)).as_secs_f64() * 1e6);
            figures[3].push(per_question(|_| decide(&bundle, "account.view", 0)).as_secs_f64() * 1e6);
        }
    }
    let [shipped, large] = figures.map(|figures| figures.map(median));
    let count = |folder| matrix::rows(&Bundle::load(folder).unwrap(), matrix::Condition::Ordinary).len();
    assert_eq!(count(folders[0]), count(folders[1]), "the same actions, roles and channels");

    println!("\nPolicy; medians of {ROUNDS} rounds, {QUESTIONS} questions each\n");
    println!("| | shipped bundle | with {OWN_RULES} more rules | ratio |");
    println!("|---|---|---|---|");
    for ((name, unit), (shipped, large)) in NAMES.into_iter().zip(shipped.into_iter().zip(large)) {
        println!("| {name} | {shipped:.2} {unit} | {large:.2} {unit} | {:.1} |", large / shipped);
    }
}

/// Rules as a large operator has them: a limit for each role, currency and amount.
fn own_rules() -> String {
    let roles = ["company_admin", "it_admin", "vcc_admin", "my8x8_admin", "basic_user"];
    let mut text = String::new();
    for at in 0..OWN_RULES {
        let (role, amount) = (roles[at % roles.len()], 1_000_000 + at);
        let _ = writeln!(
            text,
            "@id(\"own-{at}\")\nforbid (principal in Role::\"{role}\", action in [Action::\"order.place\", \
             Action::\"order.change\"], resource)\nwhen {{ context.attributes.currency == \"X{at}\" && \
             context.attributes.amount_minor > {amount} }};"
        );
    }
    text
}

fn decide(bundle: &Bundle, action: &str, at: u32) {
    let action = bundle.find_action(action).unwrap();
    let roles = BTreeSet::from([RoleName::new("super_admin")]);
    let mut attributes: BTreeMap<String, AttributeValue> = action.example.clone();
    if let Some(AttributeValue::Number(amount)) = attributes.get_mut("amount_minor") {
        *amount += i64::from(at);
    }
    let question = Question {
        action,
        channel: Channel::Portal,
        roles: &roles,
        method: Some(Method::PortalLogin),
        proof: Method::PortalLogin.best_band(),
        primary_admin: false,
        in_cool_off: false,
        number_moves_locked: false,
        business_exemption: false,
        marketing_approved: false,
        attributes: &attributes,
    };
    assert!(matches!(hint::black_box(bundle.decide(&question)), Ruling::Permitted(_)));
}

fn per_question(mut ask: impl FnMut(u32)) -> Duration {
    let start = Instant::now();
    (0..QUESTIONS).for_each(&mut ask);
    start.elapsed() / QUESTIONS
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}
