//! Unsound files: each yields one good error with file, line and column, and writes nothing.

use std::fs;

use super::{Files, import, imported, shown};
use crate::sidecar::Sidecar;

const ACCOUNTS: &str = "id,name\nacc-3003,Cobalt\n";
const CONTACTS: &str = "id,account,first_name,last_name\n";

/// File name, its bytes, and line, column and words of the error.
type Mistake = (&'static str, Vec<u8>, u32, &'static str, &'static str);

fn mistakes() -> Vec<Mistake> {
    let contact = |line: &str| format!("{CONTACTS}{line}\n").into_bytes();
    let bytes = |text: &str| text.as_bytes().to_vec();
    let long = "x".repeat(101);
    vec![
        ("contacts.csv", bytes("id,account,first_name\n"), 1, "last_name", "the header lacks this column"),
        ("contacts.csv", bytes("id,account,first_name,last_name,nickname\n"), 1, "header", "field 5 is no column of"),
        ("contacts.csv", bytes("id,account,fist_name,last_name\n"), 1, "header", "did you mean first_name?"),
        ("contacts.csv", bytes("con-1,acc-3003,Mara,Stone\n"), 1, "header", "the first line must name the columns"),
        ("contacts.csv", bytes("id,account,first_name,last_name,id\n"), 1, "id", "names the column twice"),
        ("contacts.csv", contact("con-1,acc-3003,Mara"), 2, "last_name", "the line has 3 fields"),
        ("contacts.csv", contact("con-1,acc-3003,Mara,Stone,"), 2, "last_name", "the line has 5 fields"),
        ("contacts.csv", contact("con-1,acc-3003,,Stone"), 2, "first_name", "is required"),
        ("contacts.csv", contact("con 1,acc-3003,Mara,Stone"), 2, "id", "visible ASCII"),
        ("contacts.csv", contact(&format!("con-1,acc-3003,{long},Stone")), 2, "first_name", "at most 100 bytes"),
        ("contacts.csv", contact("con-1,acc-9999,Mara,Stone"), 2, "account", "is neither in the directory nor"),
        ("contacts.csv", contact("con-1001,acc-3003,Mara,Stone"), 2, "account", "a contact never moves"),
        ("contacts.csv", contact("con-1,acc-3003,Mara,Stone\ncon-1,acc-3003,Nils,Berg"), 3, "id", "an earlier row"),
        ("contacts.csv", contact("con-1,acc-3003,\"Mara,Stone"), 2, "character 16", "the quote is not closed"),
        ("contacts.csv", contact("con-1,acc-3003,\"Mara\"x,Stone"), 2, "character 22", "a comma must follow"),
        ("contacts.csv", contact("con-1,acc-3003,Ma\"ra,Stone"), 2, "character 18", "must be quoted as a whole"),
        ("contacts.csv", contact("con-1,acc-3003,Mara\0,Stone"), 2, "character 20", "NUL"),
        ("contacts.csv", contact("con-1,acc-3003,Ma\tra,Stone"), 2, "first_name", "control characters"),
        ("contacts.csv", contact("con-1,acc-3003,Mara\rx,Stone"), 2, "first_name", "control characters"),
        ("contacts.csv", contact(&"y".repeat(70_000)), 2, "character 65537", "too long"),
        ("contacts.csv", [CONTACTS.as_bytes(), b"con-1,acc-3003,M\xe4ra,Stone\n"].concat(), 2, "character 17", "UTF-8"),
        ("contacts.csv", b"\xff\xfei\0d\0".to_vec(), 1, "character 4", "NUL"),
        ("contacts.csv", Vec::new(), 1, "-", "the file is empty"),
        ("contacts.csv", bytes("\n\r\n"), 1, "-", "the file is empty"),
        (
            "contacts.csv",
            bytes("id,account,first_name,last_name,status\ncon-1,acc-3003,A,B,gone\n"),
            2,
            "status",
            "active or",
        ),
        (
            "contacts.csv",
            bytes("id,account,first_name,last_name,extension\ncon-1,acc-3003,A,B,10a\n"),
            2,
            "extension",
            "digits",
        ),
        (
            "contacts.csv",
            bytes("id,account,first_name,last_name,email\ncon-1,acc-1001,A,B,Ada.Moreno@ACME.example\n"),
            2,
            "email",
            "must be unique within the account",
        ),
        (
            "contacts.csv",
            bytes(
                "id,account,first_name,last_name,email\ncon-1,acc-3003,A,B,a@b.example\ncon-2,acc-3003,C,D,A@B.example\n",
            ),
            3,
            "email",
            "an earlier row",
        ),
        (
            "contacts.csv",
            bytes("id,account,first_name,last_name,status\ncon-1001,acc-1001,Ada,Moreno,inactive\n"),
            2,
            "status",
            "name another first",
        ),
        ("numbers.csv", bytes("account,number\nacc-3003,4085550101\n"), 2, "number", "must be E.164"),
        ("numbers.csv", bytes("account,number\nacc-3003,+1 408 555 0101\n"), 2, "number", "must be E.164"),
        ("numbers.csv", bytes("account,number,added\nacc-3003,+14085550101,1.5.2021\n"), 2, "added", "must be a date"),
        ("numbers.csv", bytes("account,number,added\nacc-3003,+14085550101,2999-01-01\n"), 2, "added", "in the future"),
        (
            "numbers.csv",
            bytes("account,number\nacc-3003,+14085550101\nacc-3003,+14085550101\n"),
            3,
            "number",
            "earlier",
        ),
        ("addresses.csv", bytes("account,kind,address\nacc-3003,fax,1 Pier\n"), 2, "kind", "must be postal or email"),
        ("roles.csv", bytes("account,contact,role\nacc-1001,con-1010,it_admim\n"), 2, "role", "did you mean it_admin?"),
        (
            "roles.csv",
            bytes("account,contact,role,site\nacc-1001,con-1010,it_admin,moon\n"),
            2,
            "site",
            "is neither in",
        ),
        ("roles.csv", bytes("account,contact,role\nacc-1001,con-9999,it_admin\n"), 2, "contact", "is neither in"),
        (
            "roles.csv",
            bytes("account,contact,role\nacc-3003,con-1010,it_admin\n"),
            2,
            "contact",
            "a contact of the account",
        ),
        ("more.jsonl", bytes("{\"record\":\"site\",\n"), 1, "character 17", "one JSON object"),
        ("more.jsonl", bytes("[1]\n"), 1, "character 1", "one JSON object"),
        ("more.jsonl", bytes("{\"record\":\"person\"}\n"), 1, "record", "must be one of account, site"),
        ("more.jsonl", bytes("{\"record\":\"site\",\"account\":1}\n"), 1, "account", "must be a string"),
        ("more.jsonl", bytes("{\"record\":\"site\",\"id\":\"a\",\"id\":\"b\"}\n"), 1, "id", "twice"),
        ("more.jsonl", bytes("{\"record\":\"site\",\"nick\":\"a\"}\n"), 1, "key", "is no field of a site"),
        ("more.jsonl", bytes("\n{\"record\":\"site\",\"account\":\"acc-3003\"}\n"), 2, "id", "is required"),
    ]
}

#[tokio::test]
async fn each_mistake_is_told_with_file_line_and_column_and_nothing_is_written() {
    let sidecar = Sidecar::start().await;
    let revision = sidecar.revision().await;
    for (name, bytes, line, column, why) in mistakes() {
        let files = Files::of([("accounts.csv", ACCOUNTS)]);
        fs::write(files.file(name), &bytes).unwrap();
        let report = files.file("report");
        let output = import(&sidecar.home, &files, &["--report", &report.display().to_string()]).await;
        let said = String::from_utf8(output.stderr).unwrap();
        let case =
            format!("{name} {:?}: {said}", String::from_utf8_lossy(&bytes).chars().take(120).collect::<String>());
        assert_eq!(output.status.code(), Some(2), "{case}");
        let shown = files.file(name).display().to_string();
        assert!(said.contains(&format!("error: {shown}:{line}: {column} (")) && said.contains(why), "{case}");
        assert!(said.ends_with("1 bad rows: nothing is imported\n"), "one error: {case}");
        let report = fs::read_to_string(report).unwrap();
        let lines: Vec<_> = report.lines().collect();
        assert_eq!(lines.len(), 2, "{report}");
        assert_eq!(lines[0], "severity,file,line,column,value,reason");
        assert!(lines[1].starts_with(&format!("error,{shown},{line},{column},")), "{report}");
        // What stands in a row is nobody's business.
        assert!(!said.contains("Mara") && !said.contains("Ada.Moreno"), "{case}");
    }
    assert_eq!(sidecar.revision().await, revision);
}

#[tokio::test]
async fn a_file_that_is_none_or_cannot_be_placed_is_refused() {
    let sidecar = Sidecar::start().await;
    for (name, text, why) in [
        ("people.csv", "id\n", "people.csv: the name must say what is in it: accounts.csv, "),
        ("notes.txt", "id\n", "holds no file whose name ends in .csv or .jsonl"),
    ] {
        let output = import(&sidecar.home, &Files::of([(name, text)]), &[]).await;
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains(why), "{output:?}");
    }
}

#[tokio::test]
async fn the_sound_rows_are_imported_when_bad_ones_are_skipped() {
    let sidecar = Sidecar::start().await;
    let files = Files::of([
        ("accounts.csv", "id,name,primary_admin\nacc-3003,Cobalt,con-9999\nacc-4004,,\nacc-5005,Delta,con-5001\n"),
        (
            "contacts.csv",
            "id,account,first_name,last_name\ncon-3001,acc-3003,Mara,Stone\ncon-4001,acc-4004,Nils,Berg\n\
             con-5001,acc-5005,Olga,Reyes\n",
        ),
        ("roles.csv", "account,contact,role\nacc-3003,con-3001,it_admin\nacc-4004,con-4001,it_admin\n"),
    ]);
    let said = imported(&sidecar.home, &files, &["--skip-bad"]).await;
    for bad in
        ["accounts.csv:3: name", "contacts.csv:3: account", "roles.csv:3: account", "accounts.csv:2: primary_admin"]
    {
        assert!(said.contains(bad), "no {bad}: {said}");
    }
    assert!(said.contains("imported: 5 new, 1 changed, 0 as before; 4 bad rows skipped\n"), "{said}");
    assert_eq!(shown(&sidecar.home, &["account", "show", "acc-3003"]).await["primary_admin"].as_str(), None);
    assert_eq!(
        shown(&sidecar.home, &["account", "show", "acc-5005"]).await["primary_admin"].as_str(),
        Some("con-5001")
    );
    // A file without a header is no bad row: what it would have brought is not known.
    fs::write(files.file("sites.csv"), "name\n").unwrap();
    assert_eq!(import(&sidecar.home, &files, &["--skip-bad"]).await.status.code(), Some(2));
}

#[tokio::test]
async fn line_ends_and_a_byte_order_mark_do_not_matter() {
    let sidecar = Sidecar::start().await;
    let files = Files::of([
        ("accounts.csv", "\u{feff}id,name\r\nacc-3003,\"Größe \"\"&\"\" Söhne\"\r\n\r\nacc-4004,Last"),
        ("more.jsonl", "\u{feff}{\"record\":\"site\",\"account\":\"acc-3003\",\"id\":\"hq\",\"name\":\"HQ\"}\r\n"),
    ]);
    let said = imported(&sidecar.home, &files, &[]).await;
    assert!(said.contains("imported: 3 new"), "{said}");
    let account = shown(&sidecar.home, &["account", "show", "acc-3003"]).await;
    assert_eq!(account["name"].as_str(), Some("Größe \"&\" Söhne"));
}

#[tokio::test]
async fn checking_writes_nothing() {
    let sidecar = Sidecar::start().await;
    let revision = sidecar.revision().await;
    let said = imported(&sidecar.home, &Files::company(), &["--check"]).await;
    assert!(said.contains("9 rows are sound; nothing is imported"), "{said}");
    assert_eq!(sidecar.revision().await, revision);
}
