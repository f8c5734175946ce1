//! `docs/coverage.md` says which test proves which requirement; the tests say it, too. The document may name fewer tests
//! than there are, but none that is not there, and calls open what nobody proves and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use crate::tools::{files, read, repository};

/// How many rows the catalogue of requirements has per section.
const SECTIONS: [(char, u32); 4] = [('S', 16), ('F', 16), ('N', 6), ('A', 38)];
const DOCUMENT: &str = "docs/coverage.md";

/// `BLESS=1 cargo test --test it coverage` writes the third column from the tests. The second and the last are ours.
#[test]
fn the_coverage_document_names_the_tests_that_exist() {
    let text = read(DOCUMENT);
    let proofs = proofs();
    let ids: Vec<_> = text.lines().filter_map(cells).map(|[id, ..]| id.to_owned()).collect();
    let wanted: Vec<_> =
        SECTIONS.iter().flat_map(|(section, last)| (1..=*last).map(move |row| format!("{section}{row}"))).collect();
    assert_eq!(ids, wanted, "{DOCUMENT} has one row per requirement, in order");
    for (id, tests) in &proofs {
        assert!(ids.contains(id), "{tests:?} prove {id}, which is no requirement");
    }

    let blessed: String = text.lines().map(|line| with_proofs(line, &proofs) + "\n").collect();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(repository().join(DOCUMENT), blessed).unwrap();
        return;
    }
    let mut wrong = Vec::new();
    for [id, _, said, _] in text.lines().filter_map(cells) {
        let tests = proofs.get(id).cloned().unwrap_or_default();
        let named: Vec<_> = said.split('`').skip(1).step_by(2).collect();
        wrong.extend(
            named.iter().filter(|test| !tests.contains(**test)).map(|test| format!("{id}: no test `{test}` proves it")),
        );
        if named.is_empty() != tests.is_empty() || (said == "open") != tests.is_empty() {
            wrong.push(format!("{id}: called `{said}`, proved by {tests:?}"));
        }
    }
    assert!(wrong.is_empty(), "BLESS=1 cargo test --test it coverage corrects {DOCUMENT}:\n{}", wrong.join("\n"));
}

fn with_proofs(line: &str, proofs: &BTreeMap<String, BTreeSet<String>>) -> String {
    let Some([id, requirement, _, missing]) = cells(line) else { return line.to_owned() };
    let tests = proofs.get(id).into_iter().flatten().map(|test| format!("`{test}`")).collect::<Vec<_>>();
    let proved = if tests.is_empty() { "open".to_owned() } else { tests.join(" ") };
    let missing = if missing.is_empty() { String::new() } else { format!("{missing} ") };
    format!("| {id} | {requirement} | {proved} | {missing}|")
}

/// The cells of a row: id, requirement, what proves it, what is still missing.
fn cells(line: &str) -> Option<[&str; 4]> {
    let row = line.strip_prefix("| ")?.strip_suffix('|')?;
    let cells: Vec<_> = row.split('|').map(str::trim).collect();
    let cells: [&str; 4] = cells.try_into().unwrap_or_else(|_| panic!("{DOCUMENT}: not four cells: {line}"));
    (cells[0] != "id").then_some(cells)
}

/// Which tests say that they prove a requirement: `// proves: S4, A10` above the test, or first in it.
fn proofs() -> BTreeMap<String, BTreeSet<String>> {
    let mut proofs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in files("src", "rs").into_iter().chain(files("tests", "rs")) {
        let mut above: Vec<String> = Vec::new();
        let mut within: Option<(usize, String)> = None;
        let mut is_test = false;
        for line in read(&path).lines() {
            let indent = line.len() - line.trim_start().len();
            let line = line.trim_start();
            if line == "}" {
                within = within.filter(|(outer, _)| indent > *outer);
            }
            if let Some(ids) = line.strip_prefix("// proves: ") {
                let ids = ids.split([',', ' ', '.']).filter(|word| is_id(word)).map(str::to_owned);
                match &within {
                    Some((outer, test)) if indent > *outer => {
                        for id in ids {
                            proofs.entry(id).or_default().insert(test.clone());
                        }
                    }
                    _ => above.extend(ids),
                }
            } else if ["#[test]", "#[tokio::test"].iter().any(|attribute| line.starts_with(attribute)) {
                is_test = true;
            } else if let Some(name) = line.trim_start_matches("async ").strip_prefix("fn ")
                // A function over a World or a Store is run over both stores, by a macro: one that is not is dead code, which is denied.
                && (std::mem::take(&mut is_test) || name.contains("(world: World)") || name.contains("(store: Store)"))
            {
                let test = name.split(['(', '<']).next().unwrap().to_owned();
                for id in above.drain(..) {
                    proofs.entry(id).or_default().insert(test.clone());
                }
                within = Some((indent, test));
            }
        }
        assert!(above.is_empty(), "{}: `// proves:` belongs to a test", path.display());
    }
    proofs
}

/// `S4` or `A10`; a line may say more in words.
fn is_id(word: &str) -> bool {
    let number = word.strip_prefix(['S', 'F', 'N', 'A']);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()))
}
