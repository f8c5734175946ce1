//! The keys: there, ours alone, and those with which the store works.

use std::path::Path;

use super::Finding;
use crate::{
    config::Config,
    directory::sqlite,
    identity::keys::{self, KeyError, KeyRing, KeyRole, Purpose, StoredCheck},
};

const CHECK: &str = "keys";
const RESTORE: &str = "put the files back from their backup: docs/operations.md, Keys are lost";

/// How the keys stand. `store` is where the store is; `is_new`: there is none yet.
pub(super) fn findings(config: &Config, store: &Path, is_new: bool) -> Vec<Finding> {
    let directory = &config.keys.directory;
    let shown = directory.display();
    if is_new && !Purpose::ALL.iter().any(|purpose| directory.join(purpose.file_name()).exists()) {
        let is_shared = config.data.shared_directory.is_some() || config.postgres.is_some();
        return vec![match is_shared {
            false => Finding::sound(CHECK, format!("there are none in {shown} yet; the first start makes them")),
            true => Finding::broken(
                CHECK,
                format!("there are none in {shown}, and no start makes the keys of a shared directory"),
                format!(
                    "make them once: for purpose in pepper token digest; do countersign keys new --purpose $purpose --dir {shown}; done"
                ),
            ),
        }];
    }
    let ring = match KeyRing::load(directory) {
        Ok(ring) => ring,
        Err(error) => return vec![faulty(&error)],
    };
    let mut known = Vec::new();
    for purpose in Purpose::ALL {
        let checks = match sqlite::key_checks_of(store, purpose.name()) {
            Ok(checks) => checks,
            // The store's own finding says why.
            Err(error) => {
                return vec![Finding::look(CHECK, format!("not compared with the store: {error}"), "mend the store")];
            }
        };
        for check in checks {
            match StoredCheck::parse(purpose, &check.key_id, &check.value) {
                Some(check) => known.push(check),
                None => {
                    let found =
                        format!("the store's check value of {} key {} cannot be read", purpose.name(), check.key_id);
                    return vec![Finding::broken(CHECK, found, "the store is damaged: put it back from its backup")];
                }
            }
        }
    }
    match keys::check(&ring, &known) {
        Err(error) => vec![faulty(&error)],
        Ok(_) => {
            if let Some(staged) = staged(directory) {
                return vec![staged];
            }
            let each = Purpose::ALL.map(|purpose| format!("{} {}", purpose.name(), ring.active(purpose).id()));
            let compared = if known.is_empty() { "no store works with them yet" } else { "those of the store" };
            vec![Finding::sound(CHECK, format!("{}; {compared}", each.join(", ")))]
        }
    }
}

/// A rotation that was begun and not ended.
fn staged(directory: &Path) -> Option<Finding> {
    for purpose in Purpose::ALL.into_iter().filter(|purpose| directory.join(purpose.file_name()).exists()) {
        let standing = keys::standing(directory, purpose).ok()?;
        let Some(key) = standing.iter().find(|key| key.role == KeyRole::Staged) else { continue };
        let (name, shown) = (purpose.name(), directory.display());
        return Some(Finding::look(
            CHECK,
            format!("{name} key {} is staged since {:.0} and makes nothing yet", key.id, key.created),
            format!(
                "once every sidecar has the file: countersign keys rotate {name} --dir {shown} --activate;                  docs/operations.md, A key is changed"
            ),
        ));
    }
    None
}

fn faulty(error: &KeyError) -> Finding {
    let remedy = match error {
        KeyError::Open { path, allowed, .. } => format!("chmod {allowed:04o} {}", path.display()),
        KeyError::InsideData { .. } => "choose another keys.directory, and move the files there".to_owned(),
        KeyError::Io { .. } => "give the files to the user of the sidecar".to_owned(),
        KeyError::NoRandomness(_) => "look at the host".to_owned(),
        KeyError::Missing(_) | KeyError::Malformed { .. } | KeyError::Gone { .. } | KeyError::Different { .. } => {
            RESTORE.to_owned()
        }
    };
    Finding::broken(CHECK, error.to_string(), remedy)
}
