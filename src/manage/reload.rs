//! Puts another bundle in force when the folder's content has changed: build off the I/O thread, record, swap. One that
//! does not load changes nothing but what is said about it.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::{
    audit::{AuditError, Record, Trail, record::LifecycleRecord},
    directory::RoleName,
    policy::{Bundle, BundleError, Current, Files},
};

/// Two readings of a folder that are this far apart and the same are taken for whole.
const SETTLED_AFTER: Duration = Duration::from_millis(200);

/// Why the folder is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It was time to. What was refused before is not refused again.
    Poll,
    /// An operator wants to know.
    Operator,
}

/// What came of a look at the folder.
#[derive(Debug)]
#[must_use]
pub enum Outcome {
    /// The bundle in force is the folder's.
    Unchanged,
    /// It is the folder's again, after another content was refused.
    Reverted,
    /// The folder's content was refused before, and has not changed.
    StillRefused,
    /// Another bundle is in force.
    Reloaded {
        /// The revision before.
        from: String,
        /// The revision now.
        to: String,
    },
    /// The folder's bundle does not load. The one before it stays in force.
    Refused(BundleError),
}

/// The bundle in force, and the folder that it comes from.
pub struct Reload {
    folder: PathBuf,
    current: Arc<Current>,
    trail: Arc<Trail>,
    /// What client systems have, and each bundle must know.
    client_roles: BTreeSet<RoleName>,
    /// What was refused last, so that it is refused once.
    refused: Option<String>,
}

impl Reload {
    /// For the folder from which the bundle in force was loaded; every other one must know the roles of client systems, too.
    #[must_use]
    pub fn new(folder: PathBuf, current: Arc<Current>, trail: Arc<Trail>, client_roles: BTreeSet<RoleName>) -> Self {
        Self { folder, current, trail, client_roles, refused: None }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Looks at the folder, and puts its bundle in force if that is another one. It is recorded before it decides anything;
    /// calls that have begun end under the old one.
    ///
    /// # Errors
    /// When it cannot be recorded; nothing has changed then, and the next look tries again.
    pub async fn look(&mut self, cause: Cause) -> Result<Outcome, AuditError> {
        let bundle = self.current.snapshot();
        let in_force = bundle.revision().to_owned();
        let refused = self.refused.clone().filter(|_| cause == Cause::Poll);
        let (folder, roles) = (self.folder.clone(), self.client_roles.clone());
        let looked = move || look(&folder, &bundle, &roles, refused.as_deref(), cause);
        let looked = tokio::task::spawn_blocking(looked).await;
        match looked.unwrap_or_else(|defect| broke(&self.folder, &defect)) {
            Look::InForce if self.refused.take().is_some() => Ok(Outcome::Reverted),
            Look::InForce => Ok(Outcome::Unchanged),
            Look::StillRefused => Ok(Outcome::StillRefused),
            Look::Refused { content, error } => {
                let mut record = LifecycleRecord::new("policy_refused", &in_force);
                record.error = Some(error.in_one_line());
                self.trail.record(Record::Lifecycle(record)).await?;
                self.refused = Some(content);
                Ok(Outcome::Refused(error))
            }
            Look::Another(bundle) => {
                let to = bundle.revision().to_owned();
                let mut record = LifecycleRecord::new("policy_reloaded", &to);
                record.previous_policy_revision = Some(in_force.clone());
                self.trail.record(Record::Lifecycle(record)).await?;
                self.current.replace(*bundle);
                self.refused = None;
                Ok(Outcome::Reloaded { from: in_force, to })
            }
        }
    }
}

/// What a folder holds.
enum Look {
    InForce,
    StillRefused,
    Another(Box<Bundle>),
    Refused { content: String, error: BundleError },
}

fn look(folder: &Path, bundle: &Bundle, roles: &BTreeSet<RoleName>, refused: Option<&str>, cause: Cause) -> Look {
    let in_force = bundle.revision();
    let now = Files::read(folder);
    if Some(content(&now).as_str()) == refused {
        return Look::StillRefused;
    }
    if now.is_ok_and(|files| files.revision() == in_force) {
        return Look::InForce;
    }
    let settled = Files::read_settled(folder, SETTLED_AFTER);
    let content = content(&settled);
    let built = settled.and_then(|files| Bundle::build(&files));
    match built.and_then(|bundle| bundle.check_knows(roles).map(|()| bundle)) {
        Ok(other) if other.revision() == in_force => Look::InForce,
        Ok(other) => match bundle.guard_lost_in(&other).filter(|_| cause == Cause::Poll) {
            Some(error) => Look::Refused { content, error },
            None => Look::Another(Box::new(other)),
        },
        Err(_) if Some(content.as_str()) == refused => Look::StillRefused,
        Err(error) => Look::Refused { content, error },
    }
}

/// A bundle over which the load itself breaks is one that does not load.
fn broke(folder: &Path, defect: &tokio::task::JoinError) -> Look {
    let problem = format!("the load broke: {defect}");
    let advice = "this is a defect of Countersign: report it with the bundle".to_owned();
    let error = BundleError { file: folder.display().to_string(), line: None, excerpt: None, problem, advice };
    Look::Refused { content: error.to_string(), error }
}

/// What makes one content of a folder different from another, readable or not.
fn content(read: &Result<Files, BundleError>) -> String {
    match read {
        Ok(files) => files.revision(),
        Err(error) => error.to_string(),
    }
}
