//! `countersign import` and `export`: every row is checked before any is written, and what is written obeys what the API obeys.

use std::{fs, path::PathBuf, process::Output};

use countersign::{
    audit::{Record, record::ChangeRecord},
    directory::{ContactId, sample},
    grpc::proto::countersign::{
        admin::v1::{CommitImportRequest, admin_service_client::AdminServiceClient},
        v1::{
            Channel::{Phone, Portal},
            Decision,
        },
    },
};
use serde_json::Value;
use tonic::{Code, transport::Endpoint};

use crate::{
    passphrase::PHRASE,
    people::command,
    question::ask,
    sidecar::{Home, Sidecar},
};

mod admins;
mod load;
mod mistakes;

/// A small company, as files.
const COMPANY: [(&str, &str); 6] = [
    ("accounts.csv", "id,name,primary_admin,created\nacc-3003,\"Cobalt, \"\"Freight\"\"\",con-3001,2020-02-29\n"),
    ("sites.csv", "account,id,name\nacc-3003,dock,The Dock\n"),
    ("numbers.csv", "account,number,added\nacc-3003,+12125550101,2021-05-01\n"),
    ("addresses.csv", "account,kind,address,added\nacc-3003,postal,\"1 Pier, Newark\",2021-05-01\n"),
    (
        "contacts.csv",
        "id,account,first_name,last_name,email,status,created\n\
         con-3001,acc-3003,Mara,Stone,mara@cobalt.example,active,2020-03-01\n\
         con-3002,acc-3003,Nils,Berg,nils@cobalt.example,active,2020-03-01\n",
    ),
    (
        "roles.csv",
        "account,contact,role,site,granted\n\
         acc-3003,con-3001,super_admin,,2020-03-01\nacc-3003,con-3002,it_admin,dock,2020-03-01\n",
    ),
];

/// Files to import.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn of<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        Self { folder }
    }

    fn company() -> Self {
        Self::of(COMPANY)
    }

    /// The file with this text in place of that.
    fn edit(&self, name: &str, that: &str, this: &str) {
        let path = self.folder.path().join(name);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(that), "{name} has no {that}");
        fs::write(path, text.replace(that, this)).unwrap();
    }

    fn path(&self) -> String {
        self.folder.path().display().to_string()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

async fn import(home: &Home, files: &Files, flags: &[&str]) -> Output {
    command(home, &[&["import", &files.path()], flags].concat()).await
}

/// What an import that succeeds says.
async fn imported(home: &Home, files: &Files, flags: &[&str]) -> String {
    let output = import(home, files, flags).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    said
}

async fn shown(home: &Home, arguments: &[&str]) -> Value {
    let output = command(home, &[arguments, &["--json"]].concat()).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn today() -> String {
    jiff::tz::TimeZone::UTC.to_datetime(jiff::Timestamp::now()).date().to_string()
}

#[tokio::test]
async fn a_company_is_imported_and_served_while_the_sidecar_runs() {
    let sidecar = Sidecar::start().await;
    let files = Files::company();
    let said = imported(&sidecar.home, &files, &[]).await;
    assert!(said.contains("imported: 8 new, 1 changed, 0 as before\n"), "the change is the administrator: {said}");

    let view = ask(Portal, "account.view").upon("account", "").by_contact_of("acc-3003", "con-3001").logged_in();
    let answer = sidecar.client("portal").authorize(view).await.unwrap();
    assert_eq!(answer.decision(), Decision::Allow);
    let account = shown(&sidecar.home, &["account", "show", "acc-3003"]).await;
    assert_eq!(account["name"].as_str(), Some("Cobalt, \"Freight\""));
    assert_eq!(account["primary_admin"].as_str(), Some("con-3001"));
    assert_eq!(account["sites"][0]["id"].as_str(), Some("dock"));
    let nils = shown(&sidecar.home, &["contact", "show", "con-3002"]).await;
    assert_eq!(nils["roles"][0]["scope"]["site"].as_str(), Some("dock"));

    // Again, it changes nothing, also in the log of changes.
    let revision = sidecar.revision().await;
    let again = imported(&sidecar.home, &files, &[]).await;
    assert!(again.contains("imported: 0 new, 0 changed, 9 as before\n"), "{again}");
    assert_eq!(sidecar.revision().await, revision);

    let what: Vec<_> = sidecar.home.records().into_iter().filter_map(change).collect();
    let first = what.iter().position(|what| what == "import_ended").unwrap();
    assert_eq!(what[first..], ["import_ended", "import_started", "import_ended"], "what changes nothing tells nothing");
    let (told, of_import): (Vec<_>, Vec<_>) =
        sidecar.home.records().into_iter().filter_map(changed).partition(|change| change.import.is_none());
    let told: Vec<_> = told
        .iter()
        .map(|change| (change.what.as_str(), change.contact.as_ref().unwrap().as_str(), change.role.as_deref()))
        .collect();
    let expected = [
        ("primary_admin_set", "con-3001", None),
        ("role_assigned", "con-3001", Some("super_admin")),
        ("role_assigned", "con-3002", Some("it_admin@dock")),
    ];
    assert!(expected.iter().all(|expected| told.contains(expected)) && told.len() == expected.len(), "{told:?}");
    let ended = of_import.iter().find(|change| change.what == "import_ended").unwrap();
    let summary = ended.import.as_ref().unwrap();
    assert_eq!((summary.changes["assign_role"], summary.changes["set_primary_admin"]), (2, 1), "{summary:?}");
    assert_eq!(ended.directory_revision, revision);
    assert_eq!(summary.first_revision.unwrap().0 + summary.changes.values().sum::<u64>() - 1, revision.0);
}

#[tokio::test]
async fn no_import_is_committed_that_was_not_begun_or_cannot_be_recorded() {
    let sidecar = Sidecar::start().await;
    let revision = sidecar.revision().await;
    let socket = format!("unix://{}", sidecar.home.data().join("admin.sock").display());
    let mut admin = AdminServiceClient::new(Endpoint::from_shared(socket).unwrap().connect().await.unwrap());
    let row =
        r#"{"row":"role","account":"acc-1001","contact":"con-1008","role":"super_admin","site":null,"granted":null}"#;
    let request = CommitImportRequest {
        terms_json: r#"{"import":"never-begun","trust_dates":false,"reactivate":false}"#.to_owned(),
        row_json: vec![row.to_owned()],
        operator: "it".to_owned(),
    };
    let refusal = admin.commit_import(request).await.unwrap_err();
    assert_eq!(refusal.code(), Code::FailedPrecondition, "{refusal}");
    assert_eq!(sidecar.revision().await, revision);
    sidecar.reserve_disk(u64::MAX);
    let refused = import(&sidecar.home, &Files::company(), &[]).await;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("MiB left"), "{refused:?}");
    assert_eq!(sidecar.revision().await, revision);
}

fn changed(record: Record) -> Option<ChangeRecord> {
    match record {
        Record::Change(change) => Some(change),
        _ => None,
    }
}

fn change(record: Record) -> Option<String> {
    match record {
        Record::Change(change) => Some(change.what),
        _ => None,
    }
}

// proves: F12, A17
#[tokio::test]
async fn dates_are_the_day_of_import_unless_the_account_is_new_and_they_are_trusted() {
    let sidecar = Sidecar::start().await;
    let files = Files::company();
    imported(&sidecar.home, &files, &[]).await;
    let account = shown(&sidecar.home, &["account", "show", "acc-3003"]).await;
    assert_eq!(account["numbers_of_record"][0]["added"].as_str(), Some(today().as_str()));
    assert_eq!(account["created"].as_str(), Some("2020-02-29T00:00:00Z"), "an older account is the stricter one");

    // It exists now: nothing that the files say of dates is believed, trusted or not.
    files.edit(
        "numbers.csv",
        "+12125550101,2021-05-01\n",
        "+12125550101,2021-05-01\nacc-3003,+12125550102,2021-05-01\n",
    );
    files.edit("roles.csv", "super_admin,,", "company_admin,,");
    imported(&sidecar.home, &files, &["--trust-dates"]).await;
    let account = shown(&sidecar.home, &["account", "show", "acc-3003"]).await;
    assert_eq!(account["numbers_of_record"][1]["added"].as_str(), Some(today().as_str()), "{account}");
    let mara = shown(&sidecar.home, &["contact", "show", "con-3001"]).await;
    assert!(mara["roles"][0]["granted"].as_str().unwrap().starts_with(&today()), "{mara}");

    // Another account is new.
    let new = Files::of(COMPANY.map(|(name, text)| (name, text)));
    for (name, _) in COMPANY {
        let text = fs::read_to_string(new.file(name)).unwrap().replace("-300", "-400");
        fs::write(new.file(name), text.replace("acc-4003", "acc-4004")).unwrap();
    }
    imported(&sidecar.home, &new, &["--trust-dates"]).await;
    let account = shown(&sidecar.home, &["account", "show", "acc-4004"]).await;
    assert_eq!(account["numbers_of_record"][0]["added"].as_str(), Some("2021-05-01"));
    assert_eq!(account["created"].as_str(), Some("2020-02-29T00:00:00Z"));
    let mara = shown(&sidecar.home, &["contact", "show", "con-4001"]).await;
    assert_eq!(mara["created"].as_str(), Some("2020-03-01T00:00:00Z"));
    assert_eq!(mara["roles"][0]["granted"].as_str(), Some("2020-03-01T00:00:00Z"));
}

// proves: S12
#[tokio::test]
async fn who_left_stays_away_unless_reactivation_is_asked_for() {
    let sidecar = Sidecar::start().await;
    let ivan =
        "id,account,first_name,last_name,email,status\ncon-1009,acc-1001,Ivan,Novak,ivan.novak@acme.example,active\n";
    let files = Files::of([("contacts.csv", ivan)]);
    let said = imported(&sidecar.home, &files, &[]).await;
    assert!(said.contains("contacts.csv:2") && said.contains("stays inactive"), "{said}");
    assert_eq!(shown(&sidecar.home, &["contact", "show", sample::IVAN]).await["status"].as_str(), Some("inactive"));
    imported(&sidecar.home, &files, &["--reactivate"]).await;
    let ivan = shown(&sidecar.home, &["contact", "show", sample::IVAN]).await;
    assert_eq!(ivan["status"].as_str(), Some("active"));
    assert!(
        ivan["roles"][0]["granted"].as_str().unwrap().starts_with(&today()),
        "his role waits like a new one: {ivan}"
    );
}

// proves: S14, A27
#[tokio::test]
async fn another_person_under_an_old_id_is_not_verified_by_the_old_passphrase() {
    let (sidecar, _clock) = Sidecar::start_still("").await;
    for who in [sample::BEN, sample::CHLOE, sample::DEV] {
        sidecar.set_passphrase(Some(who), PHRASE).await;
    }
    // Ada has none of her own: the account's verifies her.
    sidecar.set_passphrase(None, PHRASE).await;
    let verify = async |who: &str| {
        let question = ask(Phone, "identity.verify").by(who).saying(PHRASE);
        sidecar.client("ivr").authorize(question).await.unwrap().decision()
    };
    for who in [sample::ADA, sample::BEN, sample::CHLOE, sample::DEV] {
        assert_eq!(verify(who).await, Decision::Allow);
    }
    let files = Files::of([(
        "contacts.csv",
        "id,account,first_name,last_name,email\n\
         con-1001,acc-1001,Zoe,Klein,zoe.klein@acme.example\n\
         con-1002,acc-1001,Yann,Roux,yann.roux@acme.example\n\
         con-1003,acc-1001,Chloe,Married,chloe.lindqvist@acme.example\n",
    )]);
    let said = imported(&sidecar.home, &files, &[]).await;
    let suspended =
        |line: &str| said.contains(&format!("contacts.csv:{line}: - (-): another name, and neither e-mail"));
    assert!(suspended("2") && suspended("3") && !suspended("4"), "{said}");
    assert_eq!(verify(sample::ADA).await, Decision::Challenge);
    assert_eq!(verify(sample::BEN).await, Decision::Challenge);
    assert_eq!(verify(sample::CHLOE).await, Decision::Allow, "a name alone changes by marriage");
    let names = Files::of([("contacts.csv", "id,account,first_name,last_name\ncon-1004,acc-1001,Yann,Roux\n")]);
    let told = imported(&sidecar.home, &names, &[]).await;
    assert!(told.contains("another name"), "{told}");
    assert_eq!(verify(sample::DEV).await, Decision::Challenge, "the files say nothing by which he would be the same");
    let what: Vec<_> = sidecar.home.records().into_iter().filter_map(change).collect();
    assert_eq!(what.iter().filter(|what| *what == "passphrase_suspended").count(), 3, "{what:?}");
    let ben = sidecar.directory().find_standing(&ContactId::new(sample::BEN)).await.unwrap().unwrap().contact;
    assert_eq!(ben.extension.as_deref(), Some("102"), "a column that is not there changes nothing");
}

#[tokio::test]
async fn replace_shows_what_the_files_lack_and_asks_before_it_is_taken_away() {
    let sidecar = Sidecar::start().await;
    imported(&sidecar.home, &Files::company(), &[]).await;
    let files = Files::company();
    files.edit("contacts.csv", "con-3002,acc-3003,Nils,Berg,nils@cobalt.example,active,2020-03-01\n", "");
    let stay = "acc-1001,con-1001,super_admin,,\nacc-2002,con-2001,super_admin,,\n";
    files.edit("roles.csv", "acc-3003,con-3002,it_admin,dock,2020-03-01\n", stay);
    files.edit("numbers.csv", "+12125550101", "+12125550103");
    // The sample company's people are lacking, too, but for the two primary administrators, who stay what they are.
    let counts = "the files lack 10 active contacts, who are deactivated, 10 roles, 4 numbers and 3 addresses of record; \
                  2 primary administrators stay";
    let refused = import(&sidecar.home, &files, &["--replace"]).await;
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains(counts) && said.contains("--replace needs a yes"), "{said}");
    assert_eq!(shown(&sidecar.home, &["contact", "show", "con-3002"]).await["status"].as_str(), Some("active"));

    let said = imported(&sidecar.home, &files, &["--replace", "--yes"]).await;
    assert!(said.contains(counts), "{said}");
    let nils = shown(&sidecar.home, &["contact", "show", "con-3002"]).await;
    assert_eq!((nils["status"].as_str(), nils["roles"].as_array().unwrap().len()), (Some("inactive"), 0), "{nils}");
    let account = shown(&sidecar.home, &["account", "show", "acc-3003"]).await;
    let numbers = account["numbers_of_record"].as_array().unwrap();
    assert_eq!(numbers.iter().map(|known| known["number"].as_str().unwrap()).collect::<Vec<_>>(), ["+12125550103"]);
    assert_eq!(shown(&sidecar.home, &["contact", "show", sample::ADA]).await["status"].as_str(), Some("active"));
    let again = imported(&sidecar.home, &files, &["--replace"]).await;
    assert!(again.contains("the files lack 0 active contacts"), "{again}");

    // Of a kind of which there is no row, nothing is taken away.
    let site = "{\"record\":\"site\",\"account\":\"acc-3003\",\"id\":\"dock\",\"name\":\"The Dock\"}\n";
    let none = Files::of([("sites.jsonl", site), ("contacts.csv", "id,account,first_name,last_name\n")]);
    let said = imported(&sidecar.home, &none, &["--replace"]).await;
    assert!(said.contains("lack 0 active contacts, who are deactivated, 0 roles, 0 numbers and 0 addresses"), "{said}");
    let both = import(&sidecar.home, &none, &["--replace", "--skip-bad"]).await;
    assert!(String::from_utf8_lossy(&both.stderr).contains("cannot be used with '--skip-bad'"), "{both:?}");
}

#[tokio::test]
async fn an_export_makes_the_same_directory_again() {
    let sidecar = Sidecar::start().await;
    imported(&sidecar.home, &Files::company(), &["--trust-dates"]).await;
    let closed = command(&sidecar.home, &["account", "deactivate", sample::BOREALIS]).await;
    assert_eq!(closed.status.code(), Some(0), "a closed account does not come back as an open one: {closed:?}");
    let out = tempfile::tempdir().unwrap();
    let first = out.path().join("first").display().to_string();
    let exported = command(&sidecar.home, &["export", &first]).await;
    assert_eq!(exported.status.code(), Some(0), "{exported:?}");
    let home = sidecar.stop().await;

    for format in ["csv", "jsonl"] {
        let empty = Home::new();
        empty.config_file(crate::sidecar::loopback(0), "");
        let folder = out.path().join(format).display().to_string();
        assert_eq!(command(&home, &["export", &folder, "--format", format]).await.status.code(), Some(0));
        let import = command(&empty, &["import", &folder, "--trust-dates"]).await;
        assert_eq!(import.status.code(), Some(0), "{format}: {}", String::from_utf8_lossy(&import.stderr));
        let again = out.path().join(format!("again-{format}")).display().to_string();
        assert_eq!(command(&empty, &["export", &again]).await.status.code(), Some(0));
        for (name, _) in COMPANY {
            let text = |folder: &str| fs::read_to_string(PathBuf::from(folder).join(name)).unwrap();
            assert_eq!(text(&again), text(&first), "{format}: {name}");
        }
    }
    let taken = command(&home, &["export", &first]).await;
    assert!(String::from_utf8_lossy(&taken.stderr).contains("is not empty"), "{taken:?}");
}

// proves: S12
#[tokio::test]
async fn a_closed_account_takes_no_row_unless_its_own_row_opens_it_again() {
    let sidecar = Sidecar::start().await;
    let files = Files::company();
    imported(&sidecar.home, &files, &[]).await;
    assert_eq!(command(&sidecar.home, &["account", "deactivate", "acc-3003"]).await.status.code(), Some(0));
    let status = async || shown(&sidecar.home, &["account", "show", "acc-3003"]).await["closed"].is_string();
    let more = Files::of([("contacts.csv", "id,account,first_name,last_name\ncon-3003,acc-3003,Olga,Reyes\n")]);
    for (files, flags, error) in [
        (&files, [].as_slice(), "accounts.csv:2: id ("),
        (&more, [].as_slice(), "contacts.csv:2: account ("),
        (&more, ["--reactivate"].as_slice(), "contacts.csv:2: account ("),
    ] {
        let output = import(&sidecar.home, files, flags).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(error) && said.contains("is of a closed account: --reactivate opens it"), "{said}");
        assert!(said.ends_with("1 bad rows: nothing is imported\n"), "rows that change nothing are sound: {said}");
    }
    assert!(status().await);

    // A row that says itself that the account is closed changes nothing; of one that is open it is refused.
    let closed = Files::of([("accounts.csv", "id,name,closed\nacc-3003,\"Cobalt, \"\"Freight\"\"\",2026-01-01\n")]);
    assert!(imported(&sidecar.home, &closed, &[]).await.contains("imported: 0 new, 0 changed, 1 as before"));
    let open = Files::of([("accounts.csv", "id,name,closed\nacc-1001,Acme Telephony,2026-01-01\n")]);
    let said = String::from_utf8(import(&sidecar.home, &open, &[]).await.stderr).unwrap();
    assert!(said.contains("accounts.csv:2: closed (") && said.contains("account deactivate"), "{said}");

    fs::copy(more.file("contacts.csv"), files.file("contacts.csv")).unwrap();
    let said = imported(&sidecar.home, &files, &["--reactivate"]).await;
    assert!(said.contains("imported: 1 new, 1 changed"), "{said}");
    assert!(!status().await);
    let roles = shown(&sidecar.home, &["contact", "show", "con-3001"]).await["roles"].clone();
    assert!(roles[0]["granted"].as_str().unwrap().starts_with(&today()), "A31: {roles}");
}

#[tokio::test]
async fn the_template_can_be_imported_as_it_is() {
    let home = Home::new();
    home.config_file(crate::sidecar::loopback(0), "");
    let printed = crate::process::run(&["import", "--template"], "");
    let text = String::from_utf8(printed.stdout).unwrap();
    let files = Files::of([]);
    let mut name = None;
    for line in text.lines() {
        match (line.strip_prefix("# "), &name) {
            (Some(comment), _) => name = comment.split_once(':').map(|(name, _)| name.to_owned()),
            (None, Some(name)) if name.ends_with(".csv") => {
                let before = fs::read_to_string(files.file(name)).unwrap_or_default();
                fs::write(files.file(name), format!("{before}{line}\n")).unwrap();
            }
            _ => {}
        }
    }
    let said = imported(&home, &files, &["--trust-dates"]).await;
    assert!(said.contains("imported: 6 new, 1 changed"), "{said}");
}
