//! `countersign policy`: what the owner of a bundle sees of it.

use std::{fs, path::Path};

use countersign::policy::Bundle;
use serde_json::Value;
use tempfile::TempDir;

use crate::{process::run, tools::python};

#[test]
fn a_new_bundle_is_the_shipped_one_and_is_sound() {
    let (_home, folder) = new_bundle();
    let checked = json(&["policy", "check", &folder, "--json"], 0);
    assert_eq!(checked["sound"], true);
    assert_eq!(checked["revision"], Bundle::embedded().unwrap().revision());
    assert_eq!(checked["revision"], json(&["policy", "check", "--json"], 0)["revision"]);
    assert_eq!(json(&["policy", "test", &folder, "--json"], 0)["failed"], 0);

    // Cases are no policy.
    fs::remove_file(Path::new(&folder).join("cases/guards.toml")).unwrap();
    let again = run(&["policy", "new", &folder], "");
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("is not empty"));
    assert_eq!(Bundle::load(Path::new(&folder)).unwrap().revision(), Bundle::embedded().unwrap().revision());
}

#[test]
fn an_action_without_a_case_is_told() {
    let (_home, folder) = new_bundle();
    edit(&folder, "cases/roles.toml", "action = \"contact_center.configure\"", "action = \"user.change\"");
    edit(&folder, "cases/evidence.toml", "\"contact_center.configure\",", "");
    let said = failed(&["policy", "check", &folder]);
    assert!(said.contains("no case speaks of the action contact_center.configure"), "{said}");
}

#[test]
fn a_case_that_fails_is_shown_with_its_place_and_both_answers() {
    let (home, folder) = new_bundle();
    edit(&folder, "roles.cedar", "action == Action::\"contact_center.configure\"", "action == Action::\"user.change\"");
    let junit = home.path().join("junit.xml");
    let tested = run(&["policy", "test", &folder, "--junit", junit.to_str().unwrap()], "");
    assert_eq!(tested.status.code(), Some(1));
    let said = String::from_utf8(tested.stdout).unwrap();
    let cases = fs::read_to_string(Path::new(&folder).join("cases/roles.toml")).unwrap();
    let name = "a VCC Admin configures the contact centre";
    let line = cases.lines().position(|line| line.contains(name)).unwrap() + 1;
    assert!(said.contains(&format!("FAILED {folder}/cases/roles.toml:{line}: {name}")), "{said}");
    assert!(said.contains("decision    expected ALLOW, got ESCALATE"), "{said}");
    assert!(said.contains("2 failed"), "{said}");

    // A parser of its own reads the XML.
    let read = "import sys, xml.etree.ElementTree as t; s = t.parse(sys.argv[1]).getroot()[0]; \
                print(s.get('tests') == str(len(s)), s.get('failures'), len(s.findall('testcase/failure')))";
    let read = python().args(["-c", read]).arg(&junit).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&read.stdout), "True 2 2\n");
}

#[test]
fn without_a_case_nothing_is_proved() {
    let (_home, folder) = new_bundle();
    fs::remove_dir_all(Path::new(&folder).join("cases")).unwrap();
    assert_eq!(run(&["policy", "test", &folder], "").status.code(), Some(1));
}

#[test]
fn a_mistake_in_a_case_is_told_with_file_line_and_what_to_do() {
    let mistakes = [
        ("roles.toml", "by = \"chloe\"", "by = \"cloe\"", "there is no person cloe"),
        ("roles.toml", "action = \"audit.read\"", "action = \"audit.raed\"", "there is no action audit.raed"),
        ("roles.toml", "channel = [\"PHONE\", \"CHAT\"]", "channel = [\"PHONE\", \"FAX\"]", "FAX is no channel"),
        ("roles.toml", "proof = \"OLD\"", "proof = \"GOOD\"", "GOOD is no proof that this caller can show"),
        ("roles.toml", "reason = \"PERMITTED\"", "reason = \"FINE\"", "FINE is no reason"),
        ("roles.toml", "decision = \"DENY\"", "decision = \"REFUSE\"", "REFUSE is no decision"),
        ("roles.toml", "rule = \"vcc-admin\"", "rul = \"vcc-admin\"", "unknown field `rul`"),
        ("roles.toml", "action = \"audit.read\"", "action = 7", "expected a text or a list of texts"),
        ("guards.toml", "role = \"super_admin\"", "rolle = \"super_admin\"", "does not know"),
        ("guards.toml", "given = { in_cool_off = true }", "given = { cool_off = true }", "unknown field `cool_off`"),
        ("people.toml", "[\"it_admin@west\"]", "[\"it_admin@wst\"]", "the account has no site wst"),
        ("people.toml", "[\"vcc_admin\"]", "[\"vc_admin\"]", "vc_admin is no role of this bundle"),
        ("people.toml", "account = \"orphan\"", "account = \"nobody\"", "there is no account nobody"),
        ("people.toml", "primary_admin = \"ada\"", "primary_admin = \"adda\"", "there is no person adda"),
    ];
    for (file, from, to, problem) in mistakes {
        let (_home, folder) = new_bundle();
        let line = edit(&folder, &format!("cases/{file}"), from, to);
        let said = failed(&["policy", "check", &folder]);
        let place = format!("{folder}/cases/{file}:{line}: ");
        assert!(said.contains(&place) && said.contains(problem), "{from} -> {to}: expected {place}\n{said}");
        let fault = json(&["policy", "check", &folder, "--json"], 1)["fault"].clone();
        assert_eq!(fault["line"], line);
    }
}

/// A copy of the shipped bundle, as the command writes it.
pub fn new_bundle() -> (TempDir, String) {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("bundle").to_str().unwrap().to_owned();
    let made = run(&["policy", "new", &folder], "");
    assert!(made.status.success(), "{made:?}");
    (home, folder)
}

/// Puts other text in the place of the first that is like `from`, and returns its line.
pub fn edit(folder: &str, file: &str, from: &str, to: &str) -> usize {
    let path = Path::new(folder).join(file);
    let text = fs::read_to_string(&path).unwrap();
    let at = text.find(from).unwrap_or_else(|| panic!("{file} has no {from}"));
    fs::write(&path, text.replacen(from, to, 1)).unwrap();
    1 + text[..at].matches('\n').count()
}

pub fn failed(arguments: &[&str]) -> String {
    let output = run(arguments, "");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

pub fn json(arguments: &[&str], code: i32) -> Value {
    let output = run(arguments, "");
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}
