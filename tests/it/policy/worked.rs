//! The worked changes of docs/policy.md: each is made in a copy of the shipped bundle, and does what the page says.

use std::{fs, path::Path};

use countersign::policy::{Bundle, matrix};

use super::copy_of_the_shipped_bundle;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/policy.md");

/// What stands before the difference that a change makes.
const LEAD: &str = "\nThe matrix:\n\n```diff\n";
const NO_DIFFERENCE: &str = "\nThe matrix does not change.\n";

/// `BLESS=1` writes the differences into the page, for a person to read.
#[test]
fn each_worked_change_does_what_the_page_says() {
    let page = fs::read_to_string(PAGE).unwrap();
    let start = page.find("## Ten changes\n").unwrap();
    let shipped = matrix::render(&Bundle::embedded().unwrap());
    let mut told = page[..start].to_owned();
    let mut sections = page[start..].split("\n### ");
    told.push_str(sections.next().unwrap());
    let mut changes = 0;
    for section in sections {
        let own = [LEAD, NO_DIFFERENCE].iter().filter_map(|lead| section.find(lead)).min();
        let worked = &section[..own.unwrap_or(section.len())];
        let folder = copy_of_the_shipped_bundle();
        apply(block(worked, "```diff\n"), folder.path());
        let bundle = Bundle::load(folder.path()).unwrap_or_else(|error| panic!("{worked}\n{error}"));
        let difference = matrix::diff(&shipped, &matrix::render(&bundle));
        told.push_str("\n### ");
        told.push_str(worked.trim_end());
        told.push('\n');
        if difference.is_empty() {
            told.push_str(NO_DIFFERENCE);
        } else {
            told.push_str(&format!("{LEAD}{difference}```\n"));
        }
        changes += 1;
    }
    assert_eq!(changes, 10);
    if std::env::var_os("BLESS").is_some() {
        fs::write(PAGE, &told).unwrap();
    }
    let page = fs::read_to_string(PAGE).unwrap();
    let differing = page.lines().zip(told.lines()).position(|(page, told)| page != told);
    assert!(page == told, "docs/policy.md differs from line {differing:?} on; read it, then run again with BLESS=1");
}

fn block<'a>(text: &'a str, fence: &str) -> &'a str {
    let inside = text.split(fence).nth(1).unwrap_or_else(|| panic!("no {fence} in {text}"));
    inside.split("```").next().unwrap()
}

/// Replaces the lines that begin with a space or "-" by those that begin with a space or "+", in each file that is named.
fn apply(patch: &str, folder: &Path) {
    for part in patch.split("--- ").skip(1) {
        let (file, lines) = part.split_once('\n').unwrap();
        let side = |sign| {
            let kept = lines.lines().filter_map(|line| line.strip_prefix([' ', sign]));
            kept.map(|line| format!("{line}\n")).collect::<String>()
        };
        let path = folder.join(file);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let (old, new) = (side('-'), side('+'));
        let changed = if old.is_empty() {
            format!("{text}{new}")
        } else {
            assert_eq!(text.matches(&old).count(), 1, "{file} has these lines once:\n{old}");
            text.replace(&old, &new)
        };
        fs::write(path, changed).unwrap();
    }
}
