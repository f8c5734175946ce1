//! What the sidecar refuses to start on, what it says then, and that it has changed nothing.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use countersign::{
    directory::sample,
    grpc::proto::countersign::v1::{AuthorizeResponse, Channel::Phone, Decision, Reason},
};

use crate::{
    answer::decided,
    passphrase::PHRASE,
    process::Process,
    question::ask,
    sidecar::{Home, Sidecar},
};

const KEY_FILES: [&str; 3] = ["pepper.key", "token.key", "digest.key"];

// proves: N5
#[tokio::test]
async fn the_first_start_makes_the_keys_and_no_later_start_does() {
    let home = Home::new();
    let mut first = Process::serve(&home, "");
    first.channel().await;
    assert!(first.stop().await.success(), "{}", first.printed());
    for file in KEY_FILES {
        assert_eq!(mode(&keys(&home).join(file)), 0o600);
    }
    assert_eq!(mode(&keys(&home)), 0o700);

    for file in KEY_FILES {
        let path = keys(&home).join(file);
        let aside = path.with_extension("aside");
        fs::rename(&path, &aside).unwrap();
        let said = refused(&home).await;
        assert!(said.contains(path.to_str().unwrap()) && said.contains("missing"), "{said}");
        assert!(!path.exists(), "a key that is lost is not made anew");
        fs::rename(&aside, &path).unwrap();
    }
    fs::rename(keys(&home), home.data().with_file_name("elsewhere")).unwrap();
    let said = refused(&home).await;
    assert!(said.contains(keys(&home).to_str().unwrap()) && said.contains("missing"), "{said}");
    assert!(!keys(&home).exists());
}

// proves: N5
#[tokio::test]
async fn another_pepper_is_refused_and_the_right_one_verifies_as_before() {
    let home = enrolled().await;
    let path = keys(&home).join("pepper.key");
    let right = fs::read_to_string(&path).unwrap();

    let other_secret = replaced(&right, "secret", |_| format!("{}=", "A".repeat(43)));
    let other_id = replaced(&replaced(&right, "id", |_| "00000000".to_owned()), "active", |_| "00000000".to_owned());
    for (text, why) in [(&other_secret, "is not the one with which the store works"), (&other_id, "is gone")] {
        fs::write(&path, text).unwrap();
        let said = refused(&home).await;
        assert!(said.contains("pepper.key") && said.contains(why), "{said}");
    }
    fs::write(&path, &right).unwrap();
    let sidecar = Process::serve(&home, "");
    assert_eq!(decided(&proved(&sidecar, &home).await), (Decision::Allow, Reason::Permitted));
}

// proves: N5
#[tokio::test]
async fn keys_that_others_can_reach_are_refused() {
    let home = enrolled().await;
    for (path, wide, narrow) in [
        (keys(&home).join("pepper.key"), 0o640, 0o600),
        (keys(&home).join("token.key"), 0o604, 0o600),
        (keys(&home), 0o750, 0o700),
    ] {
        set_mode(&path, wide);
        let said = refused(&home).await;
        assert!(said.contains(path.to_str().unwrap()) && said.contains(&format!("{wide:o}")), "{said}");
        set_mode(&path, narrow);
    }
}

// proves: N5
#[tokio::test]
async fn keys_inside_the_data_directory_are_refused() {
    let home = enrolled().await;
    let inside = home.data().join("keys");
    let said = refused_with(&home, &[("COUNTERSIGN_KEYS__DIRECTORY", inside.to_str().unwrap())]).await;
    assert!(said.contains("keys.directory: must lie outside data.directory"), "{said}");
    assert!(!inside.exists());
    // Nor through a link.
    let link = home.data().with_file_name("link");
    std::os::unix::fs::symlink(home.data(), &link).unwrap();
    let said = refused_with(&home, &[("COUNTERSIGN_KEYS__DIRECTORY", link.to_str().unwrap())]).await;
    assert!(said.contains("keys.directory: must lie outside data.directory"), "{said}");
}

#[tokio::test]
async fn a_second_process_on_one_data_directory_is_refused_and_the_first_serves_on() {
    let home = enrolled().await;
    let first = Process::serve(&home, "");
    assert_eq!(decided(&proved(&first, &home).await), (Decision::Allow, Reason::Permitted));
    let mut second = Process::serve(&home, "");
    assert!(!second.ended().await.success());
    let said = second.printed();
    assert!(said.contains(home.data().to_str().unwrap()) && said.contains("in use by another process"), "{said}");
    assert_eq!(decided(&proved(&first, &home).await), (Decision::Allow, Reason::Permitted));
}

/// A home in which Ada has a passphrase.
async fn enrolled() -> Home {
    let sidecar = Sidecar::start().await;
    sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
    sidecar.stop().await
}

async fn proved(sidecar: &Process, home: &Home) -> AuthorizeResponse {
    let question = ask(Phone, "account.view").by(sample::ADA).saying(PHRASE);
    sidecar.client(home, "ivr").await.insist(question).await.unwrap()
}

async fn refused(home: &Home) -> String {
    refused_with(home, &[]).await
}

/// Expects that the sidecar does not start, and leaves the data as it is; returns what it says.
async fn refused_with(home: &Home, variables: &[(&str, &str)]) -> String {
    let before = contents(&home.data());
    let mut sidecar = Process::serve_with(home, "", variables);
    let status = sidecar.ended().await;
    let said = sidecar.printed();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(!said.contains("secret"), "{said}");
    let after = contents(&home.data());
    let changed: Vec<_> =
        before.keys().chain(after.keys()).filter(|path| before.get(*path) != after.get(*path)).collect();
    assert!(changed.is_empty(), "changed by a start that was refused: {changed:?}\n{said}");
    said
}

/// Every file below a folder, but for the one that says who owns it.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.append(&mut contents(&path));
        } else if path.is_file() && !path.ends_with("owner.lock") {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

fn keys(home: &Home) -> PathBuf {
    home.data().with_file_name("keys")
}

/// A key file with other values of this name.
fn replaced(text: &str, name: &str, with: impl Fn(&str) -> String) -> String {
    let start = format!("{name} = \"");
    let lines = text.lines().map(|line| match line.strip_prefix(&start) {
        Some(value) => format!("{start}{}\"\n", with(value.trim_end_matches('"'))),
        None => format!("{line}\n"),
    });
    lines.collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
