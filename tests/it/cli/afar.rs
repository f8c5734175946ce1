//! What a command shows of a sidecar that it asks as a client system is what it shows on the sidecar's own host.

use std::{os::unix::fs::PermissionsExt, process::Command};

use countersign::{
    audit::Record,
    directory::sample,
    grpc::proto::countersign::v1::{Channel::Portal, attribute_value::Value},
};

use crate::{passphrase::PHRASE, process::BINARY, question::ask, sidecar::Sidecar, tools::run};

/// Runs a command on a thread of its own: the sidecar that it asks is in this process.
async fn said(arguments: Vec<String>) -> Result<String, String> {
    let mut command = Command::new(BINARY);
    command.args(arguments).env_remove("COUNTERSIGN_CONFIG").env_remove("COUNTERSIGN_TOKEN");
    tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap()
}

/// How a command ended: its exit code and what it said, on both streams.
async fn ended(arguments: Vec<String>) -> (Option<i32>, String, String) {
    let mut command = Command::new(BINARY);
    command.args(arguments).env_remove("COUNTERSIGN_CONFIG").env_remove("COUNTERSIGN_TOKEN");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn with(arguments: &str, more: &[&str]) -> Vec<String> {
    arguments.split(' ').chain(more.iter().copied()).map(str::to_owned).collect()
}

/// The file with this client's token.
fn token_file(sidecar: &Sidecar, client: &str) -> String {
    let path = sidecar.home.path(&format!("{client}.token"));
    std::fs::write(&path, sidecar.home.token(client)).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.to_string_lossy().into_owned()
}

// proves: S12
#[tokio::test]
async fn a_command_shows_of_a_sidecar_elsewhere_what_it_shows_on_its_host() {
    let sidecar = Sidecar::start().await;
    let (server, token) = (sidecar.address().to_string(), token_file(&sidecar, "hr"));
    let config = sidecar.home.config().to_string_lossy().into_owned();
    for arguments in [
        "account list",
        "account list --json",
        "account list --after acc-1001 --limit 1",
        "account show acc-1001",
        "account show acc-2002 --json",
        "contact list --account acc-1001",
        "contact list --account acc-1001 --limit 3 --json",
        "contact list --account acc-1001 --after con-1004",
        "contact show con-1008",
        "contact show con-1009 --json",
        "review acc-1001",
        "review --all --json",
        "review --all --csv --severity high",
    ] {
        let near = said(with(arguments, &["--config", &config])).await.unwrap();
        let afar = said(with(arguments, &["--server", &server, "--token-file", &token])).await.unwrap();
        assert!(!near.is_empty() && afar == near, "{arguments}:\n{near}\n{afar}");
    }
    let by_scheme =
        said(with("account list", &["--server", &format!("http://{server}/"), "--token-file", &token])).await;
    assert!(by_scheme.unwrap().contains("Acme Telephony"));

    // Closed by whom the policy permits it, and shown so alike.
    let carrier = token_file(&sidecar, "carrier");
    said(with("account deactivate acc-2002", &["--server", &server, "--token-file", &carrier])).await.unwrap();
    for arguments in ["account list", "account show acc-2002", "account list --json", "review --all"] {
        let near = said(with(arguments, &["--config", &config])).await.unwrap();
        let afar = said(with(arguments, &["--server", &server, "--token-file", &token])).await.unwrap();
        assert!(near.contains("closed") && afar == near, "{arguments}:\n{near}\n{afar}");
    }
    sidecar.stop().await;
}

#[tokio::test]
async fn what_a_client_may_not_and_what_is_not_there_is_said_in_words() {
    let sidecar = Sidecar::start().await;
    let server = sidecar.address().to_string();
    let (hr, portal) = (token_file(&sidecar, "hr"), token_file(&sidecar, "portal"));
    let refused = [
        (with("account show acc-none", &["--server", &server, "--token-file", &hr]), "no such account"),
        (with("contact show con-none", &["--server", &server, "--token-file", &hr]), "no such contact"),
        (with("review acc-none", &["--server", &server, "--token-file", &hr]), "no such account"),
        (with("contact list", &["--server", &server, "--token-file", &hr]), "--account is needed"),
        (
            with("account deactivate acc-1001", &["--server", &server, "--token-file", &hr]),
            "the policy does not permit",
        ),
        (with("account list", &["--server", &server, "--token-file", &portal]), "its `roles` are empty"),
        (with("account list", &["--server", &server]), "client system"),
        (with("account list", &["--server", "https://sidecar.example", "--token-file", &hr]), "no TLS"),
        (with("account list", &["--server", "203.0.113.7:7443", "--token-file", &hr]), "not on this machine"),
        (with("account list", &["--token-file", &hr]), "--server"),
        (with("account list", &[]), "--config"),
    ];
    for (arguments, why) in refused {
        let error = said(arguments.clone()).await.unwrap_err();
        assert!(error.contains(why), "{arguments:?}: {error}");
        assert!(!error.contains(sidecar.home.token("hr")), "{error}");
    }
    sidecar.stop().await;
}

// proves: S10, S12
#[tokio::test]
async fn a_command_changes_through_a_sidecar_elsewhere_what_it_changes_on_its_host() {
    let sidecar = Sidecar::start().await;
    let (server, token) = (sidecar.address().to_string(), token_file(&sidecar, "carrier"));
    let config = sidecar.home.config().to_string_lossy().into_owned();
    let near = ["--config", &config];
    let afar = ["--server", &server, "--token-file", &token];
    // Each pair is done beside the store and through the sidecar, and each step twice.
    for (step, undo, said) in [
        (
            "role assign --contact con-1010 --role it_admin",
            "role revoke --contact con-1010 --role it_admin",
            "assigned",
        ),
        (
            "role assign --contact con-1010 --role vcc_admin --site site-west",
            "role revoke --contact con-1010 --role vcc_admin --site site-west",
            "assigned",
        ),
    ] {
        let mut both = Vec::new();
        for place in [&near[..], &afar[..]] {
            let mut all = Vec::new();
            for arguments in [step, step, undo, undo] {
                let (code, out, err) = ended(with(arguments, place)).await;
                assert_eq!((code, out.as_str()), (Some(0), ""), "{arguments}: {err}");
                all.push(err);
            }
            both.push(all);
        }
        assert_eq!(both[0], both[1], "{step}");
        assert_eq!(both[0], [said, "was assigned before", "revoked", "was not assigned"].map(|it| format!("{it}\n")));
    }
    for (contact, place) in [("con-1010", &near[..]), ("con-1008", &afar[..])] {
        let arguments = format!("contact deactivate {contact}");
        assert_eq!(ended(with(&arguments, place)).await, (Some(0), String::new(), "deactivated\n".to_owned()));
        assert_eq!(ended(with(&arguments, place)).await, (Some(0), String::new(), "was inactive before\n".to_owned()));
    }
    // Whose hand it was stands in the audit, as far as the client says it.
    let whoami = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    let mut records = sidecar.home.records().into_iter().rev();
    let found = records.find_map(|record| if let Record::Directory(it) = record { Some(it) } else { None }).unwrap();
    assert_eq!((found.system.as_deref(), found.call.client.as_str()), (Some(whoami.trim()), "carrier"));
    assert_eq!(found.call.rpc, "DeactivateContact");
    sidecar.stop().await;
}

// proves: F12, S13, S14
#[tokio::test]
async fn what_is_on_record_is_added_and_changed_alike_beside_the_store_and_through_a_sidecar() {
    let sidecar = Sidecar::start().await;
    let (server, token) = (sidecar.address().to_string(), token_file(&sidecar, "carrier"));
    let config = sidecar.home.config().to_string_lossy().into_owned();
    let near = ["--config", &config];
    let afar = ["--server", &server, "--token-file", &token];
    let mut both = Vec::new();
    for place in [&near[..], &afar[..]] {
        let name = if place.len() == 2 { "near" } else { "afar" };
        let mut all = Vec::new();
        for (arguments, code, said) in [
            ("account add --id acc-NAME --name Delta --number +13125550188 --site one=One --json", 0, "added"),
            ("account add --id acc-NAME --name Delta", 1, "taken"),
            ("contact add acc-NAME --id con-NAME-1 --first-name Nils --last-name Holm --json", 0, "added"),
            (
                "contact add acc-NAME --id con-NAME-2 --first-name Maja --last-name Lind --email m@delta.example",
                0,
                "added",
            ),
            ("contact add acc-NAME --first-name Olaf --last-name Berg --email m@delta.example", 1, "email"),
            ("contact add acc-none --first-name Olaf --last-name Berg", 1, "account"),
            ("role assign --contact con-NAME-1 --role super_admin", 0, "assigned"),
            ("role assign --contact con-NAME-2 --role it_admin --site one", 0, "assigned"),
            ("account transfer acc-NAME --to con-none", 1, "account or contact"),
            ("account transfer acc-NAME --to con-NAME-1 --json", 0, "transferred"),
            ("contact change con-NAME-2 --last-name Lund --email  --json", 0, "changed"),
            ("contact change con-NAME-2 --last-name Lund", 0, "was so before"),
            ("contact change con-NAME-2", 1, "name a field"),
            ("account change acc-NAME --number +13125550189 --postal Quay --site one=Un --json", 0, "changed"),
            ("account change acc-NAME --number 5550189", 1, "E.164"),
            ("account change acc-NAME", 1, "name a field"),
            ("account rerouted acc-NAME --number +13125550189", 0, "was so before"),
            ("account rerouted acc-NAME --number +13125550188", 1, "of_record"),
            ("account rerouted acc-NAME --email a@delta.example --since tomorrow", 1, "since"),
            (
                "account rerouted acc-1001 --number +14085550100",
                0,
                if name == "near" { "noted" } else { "was so before" },
            ),
            ("contact deactivate con-NAME-2", 0, "deactivated"),
            ("contact reactivate con-NAME-2", 0, "reactivated, without roles"),
            ("contact reactivate con-NAME-2", 0, "was active before"),
            ("contact show con-NAME-2 --json", 0, ""),
        ] {
            let (ended, out, err) = ended(with(&arguments.replace("NAME", name), place)).await;
            assert_eq!(ended, Some(code), "{arguments} {place:?}: {err}");
            assert!(err.contains(said), "{arguments} {place:?}: {err}");
            if arguments.ends_with("--json") {
                all.push(without_times(&out.replace(name, "NAME")));
            }
        }
        both.push(all);
    }
    assert_eq!(both[0], both[1]);
    assert!(both[0][5]["roles"].as_array().unwrap().is_empty(), "who comes back has nothing that he had");
    let changes: Vec<_> = sidecar
        .home
        .records()
        .into_iter()
        .filter_map(|record| if let Record::Change(change) = record { Some(change.what) } else { None })
        .collect();
    for what in ["account_created", "contact_created", "primary_admin_set", "contact_changed", "account_changed"] {
        let intended = format!("{what}_intended");
        let at = |what: &str| changes.iter().position(|known| known == what);
        assert!(at(&intended) < at(what) && at(&intended).is_some(), "{what}: {changes:?}");
    }
    assert!(changes.contains(&"rerouting_reported".to_owned()) && changes.contains(&"contact_reactivated".to_owned()));
    // Nobody can have what is another's, and who answers for an account hands that over himself, unless an operator says so.
    let (code, _, err) = ended(with("account transfer acc-1001 --to con-1002", &afar)).await;
    assert!(code == Some(1) && err.contains("`countersign audit show "), "{err}");
    let (code, _, err) = ended(with("account transfer acc-1001 --to con-1002", &near)).await;
    assert_eq!((code, err.as_str()), (Some(0), "transferred\n"));
    sidecar.stop().await;
}

/// What does not depend on when it was asked.
fn without_times(json: &str) -> serde_json::Value {
    let mut value: serde_json::Value = serde_json::from_str(json).unwrap();
    assert!(value.pointer("/created").is_some(), "{value}");
    for pointer in ["/created", "/roles/0/granted"] {
        if let Some(time) = value.pointer_mut(pointer) {
            *time = serde_json::Value::Null;
        }
    }
    value
}

// proves: S10, S13
#[tokio::test]
async fn what_may_not_be_changed_says_what_to_do_beside_the_store_and_through_a_sidecar() {
    let sidecar = Sidecar::start().await;
    let server = sidecar.address().to_string();
    let config = sidecar.home.config().to_string_lossy().into_owned();
    let [hr, carrier, desktop] = ["hr", "carrier", "desktop"].map(|client| token_file(&sidecar, client));
    let by = |token: &str| vec!["--server".to_owned(), server.clone(), "--token-file".to_owned(), token.to_owned()];
    let near = vec!["--config".to_owned(), config.clone()];
    let stranger = sidecar.home.path("stranger.token");
    std::fs::write(&stranger, "cst_nobody").unwrap();
    for (arguments, place, why) in [
        ("contact deactivate con-1001", near.clone(), "name another first"),
        ("contact deactivate con-1001", by(&carrier), "name another first"),
        ("contact deactivate con-none", near.clone(), "contact is unknown"),
        ("contact deactivate con-none", by(&carrier), "no such contact"),
        ("role assign --contact con-1010 --role emperor", near.clone(), "role"),
        ("role assign --contact con-1010 --role emperor", by(&carrier), "role"),
        ("role assign --contact con-1010 --role it_admin --site site-moon", near.clone(), "site"),
        ("role assign --contact con-1010 --role it_admin --site site-moon", by(&carrier), "site"),
        ("role assign --contact con-1010 --role super_admin", by(&hr), "`countersign audit show "),
        ("role assign --contact con-1010 --role it_admin", by(&desktop), "[[client]] of the sidecar's settings"),
        ("role revoke --contact con-1010 --role it_admin", by(&stranger.to_string_lossy()), "keys new"),
        (
            "role revoke --contact con-1010 --role it_admin",
            vec!["--server".to_owned(), "127.0.0.1:1".to_owned()],
            "start it",
        ),
    ] {
        let more: Vec<&str> = place.iter().map(String::as_str).collect();
        let (code, out, err) = ended(with(arguments, &more)).await;
        assert_eq!((code, out.as_str()), (Some(1), ""), "{arguments} {place:?}: {err}");
        assert!(err.contains(why), "{arguments} {place:?}: {err}");
        for client in ["hr", "carrier", "desktop"] {
            assert!(!err.contains(sidecar.home.token(client)), "{err}");
        }
        // Where the audit says why, it does.
        if let Some((_, id)) = err.split_once("`countersign audit show ") {
            let Some(Record::Directory(record)) = sidecar.home.record(id.split('`').next().unwrap()) else {
                panic!("no record: {err}")
            };
            assert_eq!(record.cause.as_deref(), Some("role.grant: high-roles-by-super-admin"));
        }
    }
    sidecar.stop().await;
}

// proves: S8, S14
#[tokio::test]
async fn what_waits_and_how_passphrases_stand_is_shown_alike_through_a_sidecar() {
    let sidecar = Sidecar::start().await;
    let portal = sidecar.client("portal");
    let mut opened = Vec::new();
    for number in 0..3 {
        let order = ask(Portal, "order.place")
            .upon("order", &format!("o-{number}"))
            .with("amount_minor", Value::Number(12_900))
            .with("currency", Value::Text("USD".to_owned()))
            .by(sample::GRACE)
            .logged_in();
        opened.push(portal.authorize(order).await.unwrap().escalation.unwrap().id);
    }
    let case = ask(Portal, "case.open").upon("case", "").by(sample::GRACE).logged_in();
    opened.push(portal.authorize(case).await.unwrap().escalation.unwrap().id);
    sidecar.set_passphrase(Some(sample::GRACE), PHRASE).await;

    let (server, token) = (sidecar.address().to_string(), token_file(&sidecar, "hr"));
    let config = sidecar.home.config().to_string_lossy().into_owned();
    let mut commands = vec![
        "escalation list --account acc-1001".to_owned(),
        "escalation list --account acc-1001 --pending --json".to_owned(),
        "escalation list --account acc-1001 --limit 2 --json".to_owned(),
        "escalation list --account acc-2002".to_owned(),
        "passphrase status --account acc-1001 --contact con-1007".to_owned(),
        "passphrase status --account acc-1001 --contact con-1007 --json".to_owned(),
        "passphrase status --account acc-1001 --contact con-1007 --keypad".to_owned(),
        "passphrase status --account acc-1001 --json".to_owned(),
        "passphrase status --account acc-1001 --contact con-1008".to_owned(),
    ];
    commands
        .extend(opened.iter().flat_map(|id| [format!("escalation show {id}"), format!("escalation show {id} --json")]));
    for arguments in commands {
        let near = said(with(&arguments, &["--config", &config])).await.unwrap();
        let afar = said(with(&arguments, &["--server", &server, "--token-file", &token])).await.unwrap();
        assert!(!near.is_empty() && afar == near, "{arguments}:\n{near}\n{afar}");
        assert!(!near.contains(PHRASE));
    }
    sidecar.stop().await;
}

// proves: A32
#[tokio::test]
async fn what_is_for_persons_and_operators_alone_is_refused_with_the_way_that_there_is() {
    let sidecar = Sidecar::start().await;
    let server = sidecar.address().to_string();
    let [carrier, intake] = ["carrier", "intake"].map(|client| token_file(&sidecar, client));
    for (arguments, token, why) in [
        ("passphrase set --account acc-1001 --contact con-1007", &carrier, "no system chooses a passphrase"),
        ("passphrase clear --account acc-1001 --contact con-1007", &carrier, "contact deactivate --server"),
        ("passphrase unlock --contact con-1007", &carrier, "no system ends a lock"),
        ("passphrase status --account acc-1001 --contact con-1007", &intake, "roles of this client"),
        ("passphrase status --account acc-1001 --contact con-none", &carrier, "no such account or contact"),
        ("escalation list --account acc-1001", &intake, "roles of this client"),
        ("escalation list --account acc-none", &carrier, "no such account"),
        ("escalation show esc-none", &carrier, "no such escalation"),
    ] {
        let (code, out, err) = ended(with(arguments, &["--server", &server, "--token-file", token])).await;
        assert_eq!((code, out.as_str()), (Some(1), ""), "{arguments}: {err}");
        assert!(err.contains(why), "{arguments}: {err}");
    }
    sidecar.stop().await;
}
