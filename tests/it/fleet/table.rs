//! The tables of README that say what a sidecar does when something fails: each row names the test that proves it.

use std::collections::BTreeSet;

use crate::tools::read;

/// The tests that the table under this heading names, in the last column.
pub fn named_in_readme(heading: &str) -> BTreeSet<String> {
    let readme = read("README.md");
    let (_, section) = readme.split_once(heading).expect("README has the section");
    let section = section.split("\n##").next().unwrap();
    section
        .lines()
        .filter(|line| line.starts_with('|'))
        .filter_map(|line| line.trim_end_matches('|').trim_end().rsplit_once('`')?.0.rsplit_once('`'))
        .map(|(_, test)| test.to_owned())
        .collect()
}

/// The tests of a file that start servers.
pub fn tests_of(file: &str) -> BTreeSet<String> {
    let named = |line: &str| Some(line.strip_prefix("async fn ")?.strip_suffix("() {")?.to_owned());
    read(file).lines().filter_map(named).collect()
}
