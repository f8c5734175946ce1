//! `countersign backup` and `countersign restore`: a copy of what a sidecar keeps, and the way back.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::Args;

use super::{
    door::{Door, Settings, operator, told},
    on_runtime,
    progress::Progress,
    table,
};
use crate::{
    app::backup::{
        self, Manifest, Work,
        restore::{self, Restored},
    },
    clock::SystemClock,
    config::{Config, overrides},
    directory::Actor,
    grpc::proto::countersign::admin::v1::NoteBackupRequest,
};

/// Back up the directory and the audit trail, while the sidecar serves or not
///
/// Each is copied as it stood at one moment, read again, and listed with its digest in backup.json. Passphrases are in it as
/// hashes only. No key is in it: without the keys directory, which is backed up elsewhere, no passphrase in it can be
/// verified, and none can be guessed at. People in PostgreSQL are not in it: use pg_dump for them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  countersign backup /backup/2026-11-26 --config countersign.toml
  countersign backup /backup/2026-11-26 --config countersign.toml --json

Keep the keys directory apart: copy it once after each change of a key, to another place.")]
pub(super) struct Backup {
    /// A folder that is empty, or not there yet; its files can be read by their owner alone
    #[arg(value_name = "DIR")]
    path: PathBuf,
    #[command(flatten)]
    settings: Settings,
    /// Put the keys in, too: whoever has the backup can then test guesses at passphrases
    #[arg(long)]
    with_keys: bool,
    /// Print what was backed up as JSON
    #[arg(long)]
    json: bool,
}

/// Put a backup back, all of it or nothing
///
/// No sidecar may run on the data. Every file is compared with its digest, and the keys with those of the backup, before
/// anything is replaced. The directory begins another generation: no verification token of before counts, approvals that wait
/// expire, and strangers start half spent for a day. The directory of before is kept beside the new one; the audit stays as it
/// is, when it goes on where the backup's ends.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  countersign restore /backup/2026-11-26 --config countersign.toml
  countersign restore /backup/2026-11-26 --config countersign.toml --with-keys

What was changed since the backup is gone: passphrases, roles, people who left. The audit still has it.
People in PostgreSQL: pg_restore, then `countersign directory restored`.")]
pub(super) struct Restore {
    /// The folder of the backup
    #[arg(value_name = "DIR")]
    path: PathBuf,
    #[command(flatten)]
    settings: Settings,
    /// Put the keys of the backup back, too, when there is no keys directory
    #[arg(long)]
    with_keys: bool,
    /// Print what was put back as JSON
    #[arg(long)]
    json: bool,
}

impl Backup {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let manifest = on_runtime(self.make())?;
        if self.json {
            writeln!(io::stdout(), "{}", serde_json::to_string(&manifest)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        writeln!(io::stdout(), "{}", facts(&manifest, &self.path))?;
        let mut notes = io::stderr();
        if manifest.directory.is_none() {
            writeln!(
                notes,
                "The directory is in PostgreSQL and is NOT in this backup: use pg_dump. After a pg_restore run \
                 `countersign directory restored`."
            )?;
        } else if self.with_keys {
            writeln!(
                notes,
                "The KEYS ARE IN IT: whoever has this folder can test guesses at every passphrase, and make tokens."
            )?;
        } else {
            let needed = needed(&manifest);
            writeln!(
                notes,
                "No key is in it. To use it, these are needed: {needed}; back up keys.directory elsewhere."
            )?;
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn make(&self) -> anyhow::Result<Manifest> {
        let config = Config::load(&self.settings.config, &overrides())?;
        let door = Door::open(&self.settings).await?;
        let note = |made| NoteBackupRequest { made, with_keys: self.with_keys, operator: String::new() };
        let operator = operator()?;
        door.service()
            .note_backup(NoteBackupRequest { operator: operator.clone(), ..note(false) })
            .await
            .map_err(told)?;
        let (path, with_keys) = (self.path.clone(), self.with_keys);
        let made = tokio::task::spawn_blocking(move || {
            let mut steps = Steps::default();
            let made = backup::make(&config, &path, with_keys, &mut |work, done, all| steps.hear(work, done, all));
            steps.end();
            made
        });
        let made = made.await?;
        if made.is_ok() {
            door.service().note_backup(NoteBackupRequest { operator, ..note(true) }).await.map_err(told)?;
        }
        door.close().await;
        Ok(made?)
    }
}

impl Restore {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let restored = on_runtime(async {
            let config = Config::load(&self.settings.config, &overrides())?;
            let mut steps = Steps::default();
            let done = restore::restore(
                &config,
                &self.path,
                self.with_keys,
                Actor::Operator(operator()?),
                Arc::new(SystemClock::start()),
                &mut |work, done, all| steps.hear(work, done, all),
            )
            .await;
            steps.end();
            Ok(done?)
        })?;
        if self.json {
            let Restored { manifest, revision, aside, newer_records } = &restored;
            let facts = serde_json::json!({
                "backup": manifest, "revision": revision, "directory_of_before": aside, "newer_audit_records": newer_records,
            });
            writeln!(io::stdout(), "{facts}")?;
            return Ok(ExitCode::SUCCESS);
        }
        writeln!(io::stdout(), "{}", facts(&restored.manifest, &self.path))?;
        let mut notes = io::stderr();
        writeln!(
            notes,
            "Put back, as another generation from revision {} on: tokens of before are dead, and strangers start half spent \
             for a day.",
            restored.revision.0
        )?;
        if let Some(aside) = &restored.aside {
            let shown = aside.display();
            writeln!(notes, "The directory of before is {shown}: delete it when nobody needs it any more.")?;
        }
        match restored.newer_records {
            None => writeln!(notes, "The audit trail was put back, too: there was none.")?,
            Some(0) => writeln!(notes, "The audit trail has nothing that is newer than the backup.")?,
            Some(newer) => writeln!(
                notes,
                "What was changed since the backup is gone. The audit has {newer} newer records, which say what that was: \
                 countersign audit tail --last {newer}"
            )?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn facts(manifest: &Manifest, path: &Path) -> comfy_table::Table {
    let mut facts = table::of_facts();
    facts.add_row(["backup", &table::plain(&path.display().to_string())]);
    facts.add_row(["made", &manifest.made.to_string()]);
    facts.add_row(["by version", &table::plain(&manifest.version)]);
    if let Some(directory) = &manifest.directory {
        facts.add_row([
            "directory",
            &format!(
                "revision {}, {} accounts, put back {} times",
                directory.revision, directory.accounts, directory.generation
            ),
        ]);
    }
    if let Some(audit) = &manifest.audit {
        facts.add_row(["audit", &format!("{} records, checkpoint {}:{}", audit.last, audit.last, audit.chain)]);
    }
    facts.add_row(["keys", if manifest.has_keys { "are in it" } else { "none" }]);
    let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
    facts.add_row(["files", &format!("{}, {} KiB", manifest.files.len(), bytes.div_ceil(1024))]);
    facts
}

fn needed(manifest: &Manifest) -> String {
    let each = manifest.keys_needed.iter().map(|(purpose, ids)| format!("{purpose} {}", ids.join(" and ")));
    let all = each.collect::<Vec<_>>().join(", ");
    table::plain(if all.is_empty() { "none yet" } else { &all })
}

/// Progress of one work after the other.
#[derive(Default)]
struct Steps {
    current: Option<(Work, Progress, u64)>,
}

impl Steps {
    fn hear(&mut self, work: Work, done: u64, all: u64) {
        if self.current.as_ref().is_none_or(|(known, ..)| *known != work) {
            self.end();
            let (what, unit) = match work {
                Work::Directory => ("directory", "pages"),
                Work::Audit => ("audit", "segments"),
                Work::Verify => ("verify", "bytes"),
            };
            // Without a terminal's leave there is no bar, and the work goes on.
            self.current = Progress::begin(what, unit, Some(all)).ok().map(|progress| (work, progress, 0));
        }
        if let Some((_, progress, told)) = &mut self.current {
            progress.add(done.saturating_sub(*told));
            *told = done;
        }
    }

    fn end(&mut self) {
        if let Some((_, progress, _)) = self.current.take() {
            progress.end();
        }
    }
}
