//! The bundle as its owners see it: the matrix that a reviewer reads, and the errors that an author gets.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use countersign::policy::{Bundle, matrix};
use tempfile::TempDir;

#[path = "policy/cases.rs"]
mod cases;
#[path = "policy/commands.rs"]
mod commands;
#[path = "policy/explained.rs"]
mod explained;
#[path = "policy/mistakes.rs"]
mod mistakes;
#[path = "policy/mutation.rs"]
mod mutation;
#[path = "policy/worked.rs"]
mod worked;

// proves: A15
#[test]
fn the_matrix_is_what_its_reviewers_agreed_on() {
    golden("matrix.txt", &matrix::render(&Bundle::embedded().unwrap()));
}

#[test]
fn every_mistake_that_people_make_gets_one_good_error() {
    let mut out = String::from("What an author of a bundle is told, mistake by mistake.\n");
    for mistake in mistakes::all() {
        let folder = copy_of_the_shipped_bundle();
        (mistake.make)(folder.path());
        let error = match Bundle::load(folder.path()) {
            Ok(_) => panic!("a bundle with this mistake loads: {}", mistake.name),
            Err(error) => error.to_string().replace(&folder.path().display().to_string(), "BUNDLE"),
        };
        let _ = write!(out, "\n# {}\n{error}\n", mistake.name);
    }
    golden("bundle-errors.txt", &out);
}

#[test]
fn a_copy_of_the_shipped_bundle_is_the_shipped_bundle() {
    let folder = copy_of_the_shipped_bundle();
    fs::write(folder.path().join("README.md"), "notes of the operator").unwrap();
    fs::write(folder.path().join(".hidden.cedar"), "not a rule").unwrap();
    let copy = Bundle::load(folder.path()).unwrap();
    assert_eq!(copy.revision(), Bundle::embedded().unwrap().revision());
}

#[test]
fn any_change_of_a_file_changes_the_revision() {
    let folder = copy_of_the_shipped_bundle();
    let before = Bundle::load(folder.path()).unwrap().revision().to_owned();
    let guidance = folder.path().join("guidance/en-US.toml");
    let text = fs::read_to_string(&guidance).unwrap();
    fs::write(&guidance, format!("{text}\n")).unwrap();
    assert_ne!(Bundle::load(folder.path()).unwrap().revision(), before);
}

/// Compares with the file in `tests/golden`; `BLESS=1` writes it, for a person to read in the diff.
fn golden(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, actual).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    if actual == expected {
        return;
    }
    let mut difference = String::new();
    for (number, (actual, expected)) in actual.lines().zip(expected.lines()).enumerate() {
        if actual != expected {
            let _ = write!(difference, "line {}:\n- {expected}\n+ {actual}\n", number + 1);
        }
    }
    let counts = (expected.lines().count(), actual.lines().count());
    panic!(
        "{} differs ({} lines agreed, {} now); read the change, then run again with BLESS=1:\n{difference}",
        path.display(),
        counts.0,
        counts.1
    );
}

pub fn copy_of_the_shipped_bundle() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy_the_shipped_bundle(folder.path());
    folder
}

pub fn copy_the_shipped_bundle(to: &Path) {
    let shipped = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("policies");
    for folder in ["guidance", "notices"] {
        fs::create_dir(to.join(folder)).unwrap();
    }
    for from in ["", "guidance", "notices"] {
        for entry in fs::read_dir(shipped.join(from)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::copy(&path, to.join(from).join(path.file_name().unwrap())).unwrap();
            }
        }
    }
}
