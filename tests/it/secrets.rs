//! The key files, from outside: a sidecar whose keys are not those of its store does not start, and says which file.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use countersign::{
    app::{self, StartError},
    clock::SystemClock,
    config::Config,
    directory::sample,
    grpc::proto::countersign::v1::{Channel::Phone, Decision, Reason},
    identity::keys::{self, Purpose},
};
use jiff::Timestamp;

use crate::{
    answer::decided,
    passphrase::PHRASE,
    question::ask,
    sidecar::{Home, PATIENT, Sidecar, eventually, loopback, manual_clock},
};

/// A home in which a passphrase was set, whose sidecar has stopped.
async fn lived_in() -> Home {
    let (sidecar, _clock) = Sidecar::start_still("").await;
    sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
    sidecar.stop().await
}

fn keys_of(home: &Home) -> PathBuf {
    home.data().parent().unwrap().join("keys")
}

/// What a sidecar says that does not start.
async fn refused(home: &Home) -> String {
    let config = Config::load(&home.config_file(loopback(0), ""), &[]).unwrap();
    match app::start_at(config, Arc::new(SystemClock::start())).await {
        Err(error @ StartError::Keys(_)) => error.to_string(),
        Err(other) => panic!("refused for another reason: {other}"),
        Ok(_) => panic!("it started"),
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

// proves: N5
#[tokio::test]
async fn a_first_start_makes_keys_for_its_owner_only_and_apart_from_the_data() {
    let home = lived_in().await;
    assert_eq!(mode(&keys_of(&home)), 0o700);
    for purpose in Purpose::ALL {
        assert_eq!(mode(&keys_of(&home).join(purpose.file_name())), 0o600);
    }
}

// proves: N5
#[tokio::test]
async fn a_missing_key_file_is_named_and_never_made_anew() {
    // The key of the shared cache may be another tomorrow.
    for purpose in Purpose::ALL.into_iter().filter(|purpose| *purpose != Purpose::Cache) {
        let home = lived_in().await;
        let file = keys_of(&home).join(purpose.file_name());
        fs::remove_file(&file).unwrap();
        let said = refused(&home).await;
        assert!(said.contains(purpose.file_name()), "{said}");
        assert!(!file.exists(), "a key that is made anew locks everybody out in silence");
    }
}

// proves: N5
#[tokio::test]
async fn another_pepper_is_refused_by_name() {
    for purpose in [Purpose::Pepper, Purpose::Digest] {
        let home = lived_in().await;
        fs::remove_file(keys_of(&home).join(purpose.file_name())).unwrap();
        keys::create(&keys_of(&home), purpose, Timestamp::now()).unwrap();
        let said = refused(&home).await;
        assert!(said.contains(purpose.file_name()), "{said}");
    }
}

// proves: N5
#[tokio::test]
async fn a_key_file_that_others_may_read_is_refused_by_name() {
    let home = lived_in().await;
    let file = keys_of(&home).join("token.key");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let said = refused(&home).await;
    assert!(said.contains("token.key") && said.contains("644"), "{said}");
}

// proves: N4, N5
#[tokio::test]
async fn after_a_rotation_of_the_pepper_a_passphrase_still_proves_and_is_hashed_anew() {
    let home = lived_in().await;
    keys::create(&keys_of(&home), Purpose::Pepper, Timestamp::now()).unwrap();
    let sidecar = Sidecar::start_at(home, PATIENT, manual_clock()).await;
    for call in ["call-1", "call-2"] {
        let question = ask(Phone, "account.view").by(sample::ADA).saying(PHRASE).within(call);
        let answer = sidecar.client("ivr").authorize(question).await.unwrap();
        assert_eq!(decided(&answer), (Decision::Allow, Reason::Permitted));
        eventually(async || (sidecar.hashes().made == 1).then_some(())).await;
    }
}

fn with_keys(home: &Home, from: &Path) {
    let keys = keys_of(home);
    fs::remove_dir_all(&keys).unwrap();
    fs::create_dir(&keys).unwrap();
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o700)).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), keys.join(file.file_name())).unwrap();
    }
}

async fn again(home: Home) -> Sidecar {
    Sidecar::start_at(home, PATIENT, Arc::new(SystemClock::start())).await
}

/// How many credentials each pepper has hashed, as an operator sees it.
async fn uses(home: &Home) -> Vec<(String, String, u64)> {
    let shown = crate::people::shown(home, &["keys", "status", "--json"]).await;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let text = |key: &serde_json::Value, name: &str| key[name].as_str().unwrap().to_owned();
    let keys = shown["keys"].as_array().unwrap().iter().filter(|key| key["purpose"] == "pepper");
    keys.map(|key| (text(key, "id"), text(key, "role"), key["credentials"].as_u64().unwrap())).collect()
}

// proves: N4, N5
#[tokio::test]
async fn a_fleet_rotates_its_keys_in_two_steps_and_nobody_is_refused_at_any_moment() {
    let home = lived_in().await;
    let (before, staged) = (home.path("keys-before"), home.path("keys-staged"));
    let copy_to = |to: &Path| {
        fs::create_dir(to).unwrap();
        for file in fs::read_dir(keys_of(&home)).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    };
    copy_to(&before);
    let dir = keys_of(&home);
    let now = Timestamp::now();
    for purpose in [Purpose::Pepper, Purpose::Token] {
        keys::stage(&dir, purpose, now).unwrap();
    }
    copy_to(&staged);
    let verify = || ask(Phone, "identity.verify").by(sample::ADA).within("call-1").saying(PHRASE);
    let allowed = (Decision::Allow, Reason::Permitted);

    // The first sidecar has the staged keys: it makes nothing with them, and one without them still starts.
    let sidecar = again(home).await;
    assert_eq!(decided(&sidecar.client("ivr").insist(verify()).await.unwrap()), allowed);
    let counted: Vec<_> =
        uses(&sidecar.home).await.into_iter().map(|(_, role, credentials)| (role, credentials)).collect();
    assert_eq!(counted, [("staged".to_owned(), 0), ("active".to_owned(), 1)]);
    let home = sidecar.stop().await;
    with_keys(&home, &before);
    let sidecar = again(home).await;
    assert_eq!(decided(&sidecar.client("ivr").insist(verify()).await.unwrap()), allowed);
    let home = sidecar.stop().await;

    // One sidecar activates them: what it makes, one that has them staged takes, and does not undo.
    with_keys(&home, &staged);
    for purpose in [Purpose::Pepper, Purpose::Token] {
        keys::activate(&keys_of(&home), purpose, now).unwrap();
    }
    let sidecar = again(home).await;
    let proved = sidecar.client("ivr").insist(verify()).await.unwrap();
    assert_eq!(decided(&proved), allowed);
    let counted: Vec<_> =
        uses(&sidecar.home).await.into_iter().map(|(_, role, credentials)| (role, credentials)).collect();
    assert_eq!(counted, [("active".to_owned(), 1), ("old".to_owned(), 0)], "hashed anew at the next success");
    let home = sidecar.stop().await;
    with_keys(&home, &staged);
    let sidecar = again(home).await;
    let token = proved.verification.unwrap().token;
    let shown = ask(Phone, "account.view").within("call-1").with_token(&token);
    assert_eq!(decided(&sidecar.client("orders").authorize(shown).await.unwrap()), allowed, "the token stays good");
    assert_eq!(decided(&sidecar.client("ivr").insist(verify()).await.unwrap()), allowed);
    let counted: Vec<_> =
        uses(&sidecar.home).await.into_iter().map(|(_, role, credentials)| (role, credentials)).collect();
    assert_eq!(counted, [("staged".to_owned(), 1), ("active".to_owned(), 0)], "no hash goes back");
    let home = sidecar.stop().await;

    // Only who missed the first step is told so, and does not start.
    with_keys(&home, &before);
    let said = refused(&home).await;
    assert!(said.contains("pepper.key") && said.contains("is gone"), "{said}");
}
