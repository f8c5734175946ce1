//! Notes backups, and begins another generation of a directory that was put back, on behalf of an operator.

use std::sync::Arc;

use super::ManageError;
use crate::{
    audit::{Record, Trail, ended, record::ChangeRecord},
    clock::Clock,
    directory::{Actor, Credentials, Directory, Generation, Generations, Revision, credential::PepperUse},
};

/// The use cases, and what they work with.
#[derive(Clone)]
pub struct Upkeep {
    /// Who is on record.
    pub directory: Arc<dyn Directory>,
    /// Which pepper hashed what.
    pub credentials: Arc<dyn Credentials>,
    /// Which life of the directory this is.
    pub generations: Arc<dyn Generations>,
    /// What happened.
    pub trail: Arc<Trail>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// How far a backup is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backup {
    /// Nothing is written yet.
    Begun,
    /// It is whole, and was read again.
    Made,
}

impl Upkeep {
    /// Records that a backup is begun, or made.
    ///
    /// # Errors
    /// [`ManageError`]; then no backup may be made.
    pub async fn note_backup(&self, step: Backup, with_keys: bool, actor: Actor) -> Result<(), ManageError> {
        let what = match (step, with_keys) {
            (Backup::Begun, false) => "backup_intended",
            (Backup::Begun, true) => "backup_with_keys_intended",
            (Backup::Made, false) => "backup_made",
            (Backup::Made, true) => "backup_with_keys_made",
        };
        let revision = self.directory.revision().await?;
        self.record(what, actor, revision).await
    }

    /// Begins another generation, and records that. Every sidecar notices within a second or two.
    ///
    /// # Errors
    /// [`ManageError`].
    pub async fn raise_generation(&self, actor: Actor) -> Result<(Generation, Revision), ManageError> {
        let mut mark = [0; Generation::MARK];
        getrandom::fill(&mut mark).map_err(|_| ManageError::Randomness)?;
        let this = self.clone();
        let task = tokio::spawn(async move {
            let before = this.directory.revision().await?;
            this.record("directory_restored_intended", actor.clone(), before).await?;
            let raised = this.generations.raise_generation(mark, actor.clone(), this.clock.now()).await?;
            this.record("directory_restored", actor, raised.1).await?;
            Ok(raised)
        });
        ended(task).await
    }

    /// How many credentials each pepper hashed.
    ///
    /// # Errors
    /// [`ManageError::Directory`].
    pub async fn by_pepper(&self) -> Result<Vec<PepperUse>, ManageError> {
        Ok(self.credentials.by_pepper().await?)
    }

    async fn record(&self, what: &str, actor: Actor, directory_revision: Revision) -> Result<(), ManageError> {
        let record = Record::Change(ChangeRecord {
            actor,
            what: what.to_owned(),
            account: None,
            contact: None,
            directory_revision,
            role: None,
            import: None,
        });
        self.trail.record(record).await?;
        Ok(())
    }
}
