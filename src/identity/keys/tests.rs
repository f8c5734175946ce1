use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use jiff::Timestamp;

use super::*;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn edit(path: &Path, change: impl FnOnce(String) -> String) {
    fs::write(path, change(fs::read_to_string(path).unwrap())).unwrap();
}

fn made() -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("keys");
    assert_eq!(create_missing(&dir, NOW).unwrap(), Purpose::ALL);
    (home, dir)
}

fn error(dir: &Path) -> String {
    KeyRing::load(dir).err().expect("must be refused").to_string()
}

#[test]
fn keys_are_made_for_their_owner_only_and_load_again() {
    let (_home, dir) = made();
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    for purpose in Purpose::ALL {
        let file = dir.join(purpose.file_name());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let (one, two) = (KeyRing::load(&dir).unwrap(), KeyRing::load(&dir).unwrap());
    for purpose in Purpose::ALL {
        let id = one.active(purpose).id().clone();
        assert_eq!(one.check_value(purpose, &id), two.check_value(purpose, &id));
    }
    assert_eq!(create_missing(&dir, NOW).unwrap(), []);
}

#[test]
fn no_two_purposes_share_a_key() {
    let ring = KeyRing::ephemeral().unwrap();
    let macs: std::collections::BTreeSet<_> =
        Purpose::ALL.into_iter().map(|purpose| ring.active(purpose).mac("same", &[b"text"])).collect();
    assert_eq!(macs.len(), Purpose::ALL.len());
}

#[test]
fn a_new_key_is_active_and_the_old_one_stays_alive() {
    // proves: N5
    let (_home, dir) = made();
    let old = KeyRing::load(&dir).unwrap().active(Purpose::Pepper).id().clone();
    let new = create(&dir, Purpose::Pepper, NOW).unwrap();
    let ring = KeyRing::load(&dir).unwrap();
    assert_eq!(ring.active(Purpose::Pepper).id(), &new);
    assert!(ring.find(Purpose::Pepper, &old).is_some());
    assert_eq!(ring.ids(Purpose::Pepper).collect::<Vec<_>>(), [&new, &old]);
}

#[test]
fn a_rotation_stages_a_key_that_makes_nothing_and_then_lets_it_take_over() {
    // proves: N5
    let (_home, dir) = made();
    let before = KeyRing::load(&dir).unwrap();
    let (old, stored) = (before.active(Purpose::Pepper).id().clone(), check(&before, &[]).unwrap());
    assert!(activate(&dir, Purpose::Pepper, NOW).unwrap_err().to_string().contains("no staged key"));

    let new = stage(&dir, Purpose::Pepper, NOW).unwrap();
    let ring = KeyRing::load(&dir).unwrap();
    assert_eq!(ring.ids(Purpose::Pepper).collect::<Vec<_>>(), [&old, &new]);
    assert!(ring.is_staged(Purpose::Pepper, &new) && !ring.is_staged(Purpose::Pepper, &old));
    assert_eq!(check(&ring, &stored).unwrap(), [], "a sidecar without the file must still start");
    assert!(stage(&dir, Purpose::Pepper, NOW).unwrap_err().to_string().contains("staged key already"));
    let roles =
        |purpose| standing(&dir, purpose).unwrap().into_iter().map(|key| (key.id, key.role)).collect::<Vec<_>>();
    assert_eq!(roles(Purpose::Pepper), [(new.clone(), KeyRole::Staged), (old.clone(), KeyRole::Active)]);

    assert_eq!(activate(&dir, Purpose::Pepper, NOW).unwrap(), new);
    let ring = KeyRing::load(&dir).unwrap();
    assert_eq!(ring.ids(Purpose::Pepper).collect::<Vec<_>>(), [&new, &old]);
    assert!(!ring.is_staged(Purpose::Pepper, &new) && !ring.is_staged(Purpose::Pepper, &old));
    assert_eq!(check(&ring, &stored).unwrap().iter().map(|check| &check.id).collect::<Vec<_>>(), [&new]);
    assert_eq!(roles(Purpose::Pepper), [(new.clone(), KeyRole::Active), (old.clone(), KeyRole::Old)]);

    assert!(retire(&dir, Purpose::Pepper, &new).unwrap_err().to_string().contains("is the active one"));
    retire(&dir, Purpose::Pepper, &old).unwrap();
    assert_eq!(roles(Purpose::Pepper), [(new, KeyRole::Active)]);
    assert!(retire(&dir, Purpose::Pepper, &old).is_err());
}

#[test]
fn what_others_may_read_is_refused_by_name() {
    let (_home, dir) = made();
    let file = dir.join("token.key");
    for mode in [0o640, 0o604, 0o660, 0o700] {
        set_mode(&file, mode);
        let said = error(&dir);
        assert!(said.contains("token.key") && said.contains(&format!("{mode:o}")), "{said}");
    }
    set_mode(&file, 0o400);
    assert!(KeyRing::load(&dir).is_ok());
    set_mode(&dir, 0o750);
    assert!(error(&dir).contains("/keys: its mode is 750"));
    assert!(create(&dir, Purpose::Token, NOW).is_err());
}

#[test]
fn a_missing_file_is_named() {
    let (_home, dir) = made();
    fs::remove_file(dir.join("pepper.key")).unwrap();
    assert!(matches!(KeyRing::load(&dir), Err(KeyError::Missing(path)) if path.ends_with("pepper.key")));
    assert!(matches!(KeyRing::load(&dir.join("nowhere")), Err(KeyError::Missing(_))));
}

#[test]
fn a_malformed_file_is_named_and_its_secret_is_not_shown() {
    // proves: A21
    type Edit = fn(String) -> String;
    let edits: [(&str, Edit); 7] = [
        ("another purpose", |text| text.replace("\"pepper\"", "\"token\"")),
        ("calls active", |text| {
            text.replace("active = \"", "active = \"0")
                .replacen("0", "", 0)
                .replace("active = \"0", "active = \"00000000\" #")
        }),
        ("line", |text| text.replace("secret = \"", "secret = \"AAAA")),
        ("line", |text| text.replace("secret = \"", "secret = \"!")),
        ("line", |text| format!("{text}\ncolour = 1\n")),
        ("line", |text| text.replace("secret = \"", "secret = ")),
        ("line", |_| String::new()),
    ];
    for (expected, change) in edits {
        let (_home, dir) = made();
        let file = dir.join("pepper.key");
        let text = fs::read_to_string(&file).unwrap();
        let secret = text.split("secret = \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        edit(&file, change);
        let said = error(&dir);
        assert!(said.contains("pepper.key") && said.contains(expected), "{said}");
        let debugged = format!("{:?}", KeyRing::load(&dir).err());
        assert!(!said.contains(&secret[..8]) && !debugged.contains(&secret[..8]));
    }
}

#[test]
fn a_failed_create_changes_nothing() {
    let (_home, dir) = made();
    let file = dir.join("pepper.key");
    edit(&file, |text| text.replace("\"pepper\"", "\"token\""));
    let before = fs::read_to_string(&file).unwrap();
    assert!(create(&dir, Purpose::Pepper, NOW).is_err());
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
}

#[test]
fn keys_within_the_data_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    fs::create_dir(&data).unwrap();
    std::os::unix::fs::symlink(&data, home.path().join("link")).unwrap();
    for keys in ["data", "data/keys", "link/keys", "other/../data/keys"] {
        fs::create_dir_all(home.path().join("other")).unwrap();
        assert!(refuse_inside(&home.path().join(keys), &data).is_err(), "{keys}");
    }
    for keys in ["keys", "database", "other/keys"] {
        assert!(refuse_inside(&home.path().join(keys), &data).is_ok(), "{keys}");
    }
}

#[test]
fn a_silently_new_or_lost_key_refuses_to_start() {
    // proves: N5
    let (_home, dir) = made();
    let ring = KeyRing::load(&dir).unwrap();
    let stored = check(&ring, &[]).unwrap();
    assert_eq!(stored.len(), 3);
    assert_eq!(check(&ring, &stored).unwrap(), []);

    // Rotated: the new key is remembered besides.
    let rotated = create(&dir, Purpose::Pepper, NOW).unwrap();
    let new = check(&KeyRing::load(&dir).unwrap(), &stored).unwrap();
    assert_eq!(new.iter().map(|check| &check.id).collect::<Vec<_>>(), [&rotated]);

    // Silently new: the file was lost and made again.
    for (purpose, refused) in [(Purpose::Pepper, true), (Purpose::Digest, true), (Purpose::Token, false)] {
        let (_home, dir) = made();
        let stored = check(&KeyRing::load(&dir).unwrap(), &[]).unwrap();
        fs::remove_file(dir.join(purpose.file_name())).unwrap();
        create(&dir, purpose, NOW).unwrap();
        let checked = check(&KeyRing::load(&dir).unwrap(), &stored);
        assert_eq!(checked.is_err(), refused, "{purpose:?}");
        if let Err(error) = checked {
            assert!(error.to_string().contains(purpose.file_name()), "{error}");
        }
    }
}

#[test]
fn another_secret_under_the_same_id_is_found() {
    let (_home, dir) = made();
    let stored = check(&KeyRing::load(&dir).unwrap(), &[]).unwrap();
    edit(&dir.join("pepper.key"), |text| {
        let (head, tail) = text.split_once("secret = \"").unwrap();
        let rest = tail.split_once('"').unwrap().1;
        format!("{head}secret = \"{}\"{rest}", data_encoding::BASE64.encode(&[7; 32]))
    });
    let checked = check(&KeyRing::load(&dir).unwrap(), &stored);
    assert!(matches!(checked, Err(KeyError::Different { purpose: Purpose::Pepper, .. })));
}

#[test]
fn a_digest_tells_lists_of_parts_apart() {
    let ring = KeyRing::ephemeral().unwrap();
    assert_ne!(ring.digest("number", &[b"ab", b"c"]), ring.digest("number", &[b"a", b"bc"]));
    assert_ne!(ring.digest("number", &[b"abc"]), ring.digest("account", &[b"abc"]));
    assert_eq!(ring.digest("number", &[b"abc"]), ring.digest("number", &[b"abc"]));
}
