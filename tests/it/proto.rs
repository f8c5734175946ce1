//! The API's files: their style, their compatibility with the version that clients were built from, their tables.

use crate::tools::{buf, read, repository, run};

#[test]
fn the_proto_files_satisfy_the_linter() {
    run(buf().arg("lint").current_dir(repository().join("proto"))).unwrap();
}

/// A change that fails here breaks clients. `make proto-baseline` accepts additions after a release.
#[test]
fn the_proto_files_are_compatible_with_the_baseline() {
    run(buf().args(["breaking", "--against", "baseline.binpb"]).current_dir(repository().join("proto"))).unwrap();
}

#[test]
fn the_document_of_status_codes_says_what_the_proto_says() {
    let proto = read("proto/countersign/v1/authorization.proto");
    let document = read("docs/status-codes.md");
    let rows: Vec<_> = proto.lines().filter_map(|line| line.strip_prefix("// |")).collect();
    assert!(rows.len() > 12, "the proto holds two tables");
    for row in rows {
        assert!(document.contains(&format!("|{row}\n")), "docs/status-codes.md lacks the row |{row}");
    }

    let reasons = proto.lines().skip_while(|line| *line != "enum Reason {").take_while(|line| *line != "}");
    let mut comment = "";
    for line in reasons.skip(1).map(str::trim) {
        if let Some(text) = line.strip_prefix("// ") {
            comment = text.trim_end_matches('.');
        } else if let Some((decision, when)) = comment.split_once(": ") {
            let name = line.trim_start_matches("REASON_").split(' ').next().unwrap();
            let wanted = format!("| {name} | {decision} | {when} |");
            let found = document.lines().map(squeezed).any(|row| row == wanted);
            assert!(found, "docs/status-codes.md lacks the row {wanted}");
        }
    }
}

#[test]
fn the_document_of_status_codes_names_every_reason_of_an_error() {
    let source = read("src/grpc/status.rs");
    let document = read("docs/status-codes.md");
    let told = source.split("/// The canonical name of a status code").next().unwrap();
    let reasons: Vec<_> = told.split('"').skip(1).step_by(2).filter(|text| is_reason(text)).collect();
    assert!(reasons.len() > 8, "{reasons:?}");
    for reason in reasons {
        assert!(document.contains(&format!("| {reason} ")), "docs/status-codes.md lacks {reason}");
    }
}

fn is_reason(text: &str) -> bool {
    text.len() > 3 && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

fn squeezed(row: &str) -> String {
    row.split_whitespace().collect::<Vec<_>>().join(" ")
}
