//! An import leaves no account without somebody who may grant roles, over all its rows together.

use std::fmt::Write as _;

use super::{Files, command, import, imported, load, shown};
use crate::sidecar::{Sidecar, eventually};

const ACCOUNT: &str = "id,name,primary_admin\nacc-3003,Cobalt,con-3001\n";
const PEOPLE: &str = "id,account,first_name,last_name,status\n\
    con-3001,acc-3003,Mara,Stone,active\ncon-3002,acc-3003,Nils,Berg,active\ncon-3003,acc-3003,Olga,Reyes,active\n\
    con-3004,acc-3003,Pia,Lund,active\n";
const ROLES: &str = "account,contact,role,site\n\
    acc-3003,con-3002,company_admin,\nacc-3003,con-3003,super_admin,\nacc-3003,con-3001,it_admin,\n";
const REFUSED: &str = "would leave nobody of the account who may grant roles";

/// A company with two administrators, who are not its primary administrator.
fn company() -> Files {
    Files::of([("accounts.csv", ACCOUNT), ("contacts.csv", PEOPLE), ("roles.csv", ROLES)])
}

/// The contacts of the company with some of them inactive, and others besides.
fn people(leave: &[&str], more: &str) -> String {
    let leaves = |line: &&str| leave.iter().any(|id| line.starts_with(id));
    let lines =
        PEOPLE.lines().map(|line| if leaves(&line) { line.replace(",active", ",inactive") } else { line.into() });
    lines.fold(String::new(), |text, line| text + &line + "\n") + more
}

/// What an import says that is refused, and that it wrote nothing.
async fn refused(sidecar: &Sidecar, files: &Files, flags: &[&str]) -> String {
    let revision = sidecar.revision().await;
    let output = import(&sidecar.home, files, flags).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(REFUSED) && said.ends_with("nothing is imported\n"), "{said}");
    assert_eq!(sidecar.revision().await, revision, "nothing is half-written: {said}");
    said
}

async fn status(sidecar: &Sidecar, contact: &str) -> String {
    shown(&sidecar.home, &["contact", "show", contact]).await["status"].as_str().unwrap().to_owned()
}

// proves: S13
#[tokio::test]
async fn two_rows_that_take_one_of_two_administrators_each_are_refused_at_the_second() {
    let sidecar = Sidecar::start().await;
    imported(&sidecar.home, &company(), &[]).await;
    let both = people(&["con-3002", "con-3003"], "");
    let files = Files::of([("contacts.csv", both.as_str())]);
    let said = refused(&sidecar, &files, &[]).await;
    assert!(said.contains(&format!("error: {}:4: status (", files.file("contacts.csv").display())), "{said}");
    refused(&sidecar, &files, &["--check"]).await;

    // Between the two stand more rows than are held against the directory, or committed, at once.
    let mut apart = people(&["con-3002"], "").replace("con-3003,acc-3003,Olga,Reyes,active\n", "");
    for other in 0..600 {
        writeln!(apart, "con-4{other:03},acc-3003,Former,Person{other},inactive").unwrap();
    }
    apart.push_str("con-3003,acc-3003,Olga,Reyes,inactive\n");
    let files = Files::of([("contacts.csv", apart.as_str())]);
    let said = refused(&sidecar, &files, &[]).await;
    assert!(said.contains(&format!("{}:605: status (", files.file("contacts.csv").display())), "{said}");

    // The one that takes the last away is bad, and can be skipped as any other.
    let said = imported(&sidecar.home, &Files::of([("contacts.csv", both.as_str())]), &["--skip-bad"]).await;
    assert!(said.contains("1 bad rows skipped"), "{said}");
    assert_eq!([status(&sidecar, "con-3002").await, status(&sidecar, "con-3003").await], ["inactive", "active"]);
    // One of one is refused, too.
    refused(&sidecar, &Files::of([("contacts.csv", people(&["con-3003"], "").as_str())]), &[]).await;
    // And without a sidecar.
    let home = sidecar.stop().await;
    let output = import(&home, &files, &[]).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains(REFUSED), "{output:?}");
}

// proves: S13
#[tokio::test]
async fn whose_successor_comes_by_another_row_leaves() {
    let sidecar = Sidecar::start().await;
    imported(&sidecar.home, &company(), &[]).await;
    let leave = ["con-3002", "con-3003"];
    let of = |people: &str, roles: &str| Files::of([("contacts.csv", people), ("roles.csv", roles)]);
    let role = |contact: &str, role: &str, site: &str| format!("{ROLES}acc-3003,{contact},{role},{site}\n");
    let newcomer = "con-3009,acc-3003,Rosa,Diaz,active\n";
    let gone = "con-3009,acc-3003,Rosa,Diaz,inactive\n";
    // Somebody who leaves himself, who never came, of a lesser role: none of them is a successor.
    refused(&sidecar, &of(&people(&leave, gone), &role("con-3009", "super_admin", "")), &[]).await;
    refused(
        &sidecar,
        &of(&people(&["con-3002", "con-3003", "con-3004"], ""), &role("con-3004", "super_admin", "")),
        &[],
    )
    .await;
    refused(&sidecar, &of(&people(&leave, newcomer), &role("con-3009", "it_admin", "")), &[]).await;

    let said = imported(&sidecar.home, &of(&people(&leave, newcomer), &role("con-3009", "super_admin", "")), &[]).await;
    assert!(said.contains("imported: 2 new, 2 changed"), "{said}");
    for (contact, is) in [("con-3002", "inactive"), ("con-3003", "inactive"), ("con-3009", "active")] {
        assert_eq!(status(&sidecar, contact).await, is);
    }
    // Somebody of the directory; then the newcomer, who is the last one, may go.
    let leaves = people(&["con-3002", "con-3003"], gone);
    let said = imported(&sidecar.home, &of(&leaves, &role("con-3004", "company_admin", "")), &[]).await;
    assert!(said.contains("imported: 1 new, 1 changed"), "{said}");
    assert_eq!(status(&sidecar, "con-3009").await, "inactive");

    // Who comes back is a successor if he is asked back.
    let back = people(&["con-3003", "con-3004"], "");
    refused(&sidecar, &of(&back, ROLES), &[]).await;
    imported(&sidecar.home, &of(&back, ROLES), &["--reactivate"]).await;
    assert_eq!([status(&sidecar, "con-3002").await, status(&sidecar, "con-3004").await], ["active", "inactive"]);
}

// proves: S13
#[tokio::test]
async fn what_the_files_lack_is_not_the_last_administrator() {
    let sidecar = Sidecar::start().await;
    let everything = async |name: &str, text: &str| {
        let files = Files::of([]);
        let exported = command(&sidecar.home, &["export", &files.file("out").display().to_string()]).await;
        assert!(exported.status.success(), "{exported:?}");
        for file in ["accounts.csv", "contacts.csv", "roles.csv"] {
            std::fs::copy(files.file("out").join(file), files.file(file)).unwrap();
        }
        std::fs::remove_dir_all(files.file("out")).unwrap();
        let all = std::fs::read_to_string(files.file(name)).unwrap();
        let kept = all.lines().filter(|line| !text.split(' ').any(|lacks| line.contains(lacks)));
        let kept = kept.fold(String::new(), |text, line| text + line + "\n");
        std::fs::write(files.file(name), kept).unwrap();
        files
    };
    imported(&sidecar.home, &company(), &[]).await;
    let replace = ["--replace", "--yes"];
    for (name, lacks) in [("contacts.csv", "con-3002 con-3003"), ("roles.csv", "con-3002 con-3003")] {
        let files = everything(name, lacks).await;
        if name == "contacts.csv" {
            // A row that names who is not there would be bad by itself only if he were new.
            let roles = std::fs::read_to_string(files.file("roles.csv")).unwrap();
            assert!(roles.contains("con-3003"));
        }
        let said = refused(&sidecar, &files, &replace).await;
        assert!(said.contains("error: acc-3003: without con-3003, --replace"), "{said}");
    }
    // One is lacked, the other stays; then he is lacked, and another has come.
    imported(&sidecar.home, &everything("contacts.csv", "con-3002").await, &replace).await;
    let files = everything("roles.csv", "con-3003").await;
    refused(&sidecar, &files, &replace).await;
    let roles = std::fs::read_to_string(files.file("roles.csv")).unwrap();
    std::fs::write(files.file("roles.csv"), format!("{roles}acc-3003,con-3004,super_admin,,\n")).unwrap();
    imported(&sidecar.home, &files, &replace).await;
    let olga = shown(&sidecar.home, &["contact", "show", "con-3003"]).await;
    assert_eq!(olga["roles"].as_array().map(Vec::len), Some(0), "{olga}");
}

#[tokio::test]
async fn an_account_that_never_had_an_administrator_is_no_mistake() {
    let sidecar = Sidecar::start().await;
    let roles = "account,contact,role,site\nacc-3003,con-3001,it_admin,\nacc-3003,con-3002,super_admin,\n";
    let files = Files::of([
        ("accounts.csv", ACCOUNT),
        ("contacts.csv", people(&["con-3002"], "").as_str()),
        ("roles.csv", roles),
    ]);
    imported(&sidecar.home, &files, &[]).await;
    let review = command(&sidecar.home, &["review", "acc-3003", "--json"]).await;
    assert!(String::from_utf8_lossy(&review.stdout).contains("no_admin"), "{review:?}");
    imported(&sidecar.home, &Files::of([("contacts.csv", people(&["con-3002", "con-3004"], "").as_str())]), &[]).await;
}

// proves: S13
#[tokio::test]
async fn beside_a_revocation_the_import_stops_at_the_row_that_would_take_the_last_away() {
    let sidecar = Sidecar::start().await;
    imported(&sidecar.home, &company(), &[]).await;
    let files = load::many(3_000);
    let path = files.file("contacts.csv");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}con-3002,acc-3003,Nils,Berg,,,,inactive,\n")).unwrap();
    let before = sidecar.revision().await.0;
    let importer = load::start(&sidecar.home, &files, &[]);
    eventually(async || (sidecar.revision().await.0 > before + 100).then_some(())).await;
    let revoke = ["role", "revoke", "--contact", "con-3003", "--role", "super_admin"];
    let revoked = command(&sidecar.home, &revoke).await;
    assert!(revoked.status.success(), "{revoked:?}");
    let output = tokio::task::spawn_blocking(move || importer.wait_with_output().unwrap()).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("{}:3002: ", path.display())) && said.contains(REFUSED), "{said}");
    assert_eq!(status(&sidecar, "con-3002").await, "active");
    // What was imported stays, and run again it is known at once.
    assert!(sidecar.revision().await.0 > before + 3_000);
    refused(&sidecar, &files, &[]).await;
}
