//! What a command shows of a sidecar that it asks as a client system is what it shows on the sidecar's own host.

use std::{os::unix::fs::PermissionsExt, process::Command};

use crate::{process::BINARY, sidecar::Sidecar, tools::run};

/// Runs a command on a thread of its own: the sidecar that it asks is in this process.
async fn said(arguments: Vec<String>) -> Result<String, String> {
    let mut command = Command::new(BINARY);
    command.args(arguments).env_remove("COUNTERSIGN_CONFIG").env_remove("COUNTERSIGN_TOKEN");
    tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap()
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
