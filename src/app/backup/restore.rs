//! Puts a backup back: all of it or nothing, and as another generation of the directory.
//!
//! The one step that counts is a rename within the data directory. Before it, everything is copied, compared with its digest,
//! brought to the newest schema and given its generation beside what is there; after it, only the record is left to write.
//! The audit that is there stays when the backup's is its beginning: what happened since is not forgotten.

use std::{
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    BackupError, DIRECTORY_FOLDER, FORMAT, KEYS_FOLDER, MANIFEST, Manifest, Tell, Work, at, copy_keys, digest_of,
    not_a_backup,
};
use crate::{
    app::AUDIT_FOLDER,
    audit::{
        self, Record, Trail, TrailSettings,
        chain::ChainHash,
        read::{Checkpoint, verify_against},
        record::ChangeRecord,
    },
    clock::Clock,
    config::Config,
    data_dir::DataDir,
    directory::{Actor, Generation, Revision, sqlite},
    identity::keys::{self, KeyError, KeyRing, Purpose, StoredCheck},
};

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The list of what was put back.
    pub manifest: Manifest,
    /// The first revision of the new generation.
    pub revision: Revision,
    /// Where the directory of before lies; `None`: there was none.
    pub aside: Option<PathBuf>,
    /// How many records the audit holds that are newer than the backup; `None`: the audit was put back, too.
    pub newer_records: Option<u64>,
}

/// Puts the backup in `from` back where these settings keep things.
///
/// # Errors
/// [`BackupError`]; the directory that is there is then as it was.
pub async fn restore(
    config: &Config,
    from: &Path,
    with_keys: bool,
    actor: Actor,
    clock: Arc<dyn Clock>,
    tell: Tell<'_>,
) -> Result<Restored, BackupError> {
    // 1. Is it a backup, and whole?
    if config.postgres.is_some() {
        return Err(BackupError::InPostgres);
    }
    let manifest = read(from)?;
    if manifest.directory.is_none() {
        return Err(not_a_backup(from, &"holds no directory: people were in PostgreSQL when it was made"));
    }
    verify(from, &manifest, tell)?;

    // 2. Nobody uses what is to be replaced, until the end.
    let data = DataDir::own(&config.data.directory)?;
    let people = match &config.data.shared_directory {
        Some(shared) => DataDir::own(shared)?,
        None => data.clone(),
    };

    // 3. Are the keys those of the backup?
    let source = from.join(DIRECTORY_FOLDER);
    if with_keys && !config.keys.directory.exists() {
        copy_keys(&from.join(KEYS_FOLDER), &config.keys.directory)?;
    }
    check_keys(&config.keys.directory, &source)?;

    // 4. A copy beside what is there, with a generation of its own.
    let staging = people.path().join(STAGING);
    clear(&staging)?;
    let staged = DataDir::own(&staging)?;
    let file = staged.private_file(sqlite::file_name());
    let file = at(&staging, file)?;
    at(&file, fs::copy(source.join(sqlite::file_name()), &file))?;
    let mut mark = [0; Generation::MARK];
    getrandom::fill(&mut mark).map_err(|_| BackupError::Randomness)?;
    let revision = sqlite::renew(&staged, mark, actor.clone(), clock.now()).await??;
    at(&file, File::open(&file).and_then(|file| file.sync_all()))?;

    // 5. The audit: that of the backup where there is none.
    let audit = config.data.directory.join(AUDIT_FOLDER);
    let newer_records = keep_or_put_back_audit(&audit, from, &manifest)?;
    let trail = Trail::open(&audit, TrailSettings::default(), clock)?;
    let record = |what: &str| {
        Record::Change(ChangeRecord {
            actor: actor.clone(),
            what: what.to_owned(),
            account: None,
            contact: None,
            directory_revision: revision,
            role: None,
            import: None,
        })
    };
    trail.record(record("directory_restore_intended")).await?;

    // 6. The rename, and its record.
    let aside = set_aside(people.path(), &clock_name(manifest.made))?;
    let place = people.path().join(sqlite::file_name());
    at(&place, fs::rename(&file, &place))?;
    at(people.path(), File::open(people.path()).and_then(|folder| folder.sync_all()))?;
    trail.record(record("directory_restored")).await?;
    trail.close();
    drop(staged);
    clear(&staging)?;
    Ok(Restored { manifest, revision, aside, newer_records })
}

fn read(from: &Path) -> Result<Manifest, BackupError> {
    let path = from.join(MANIFEST);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(not_a_backup(from, &"is no backup, or one that was not finished: it has no backup.json"));
        }
        read => at(&path, read)?,
    };
    let manifest: Manifest = serde_json::from_str(&text).map_err(|error| not_a_backup(&path, &error))?;
    if manifest.format != FORMAT {
        let why = format!("has format {}, and this version reads {FORMAT}", manifest.format);
        return Err(not_a_backup(&path, &why));
    }
    Ok(manifest)
}

/// Every file that is listed, and no other way out of the folder.
fn verify(from: &Path, manifest: &Manifest, tell: Tell<'_>) -> Result<(), BackupError> {
    let all = manifest.files.iter().map(|file| file.bytes).sum();
    let mut done = 0;
    for listed in &manifest.files {
        let path = from.join(&listed.path);
        let is_below = Path::new(&listed.path).components().all(|part| matches!(part, std::path::Component::Normal(_)));
        if !is_below {
            return Err(not_a_backup(&from.join(MANIFEST), &"lists a file outside of the backup"));
        }
        let (bytes, sha256) = digest_of(&path, |read| {
            done += read;
            tell(Work::Verify, done, all);
        })?;
        if bytes != listed.bytes || sha256 != listed.sha256 {
            return Err(not_a_backup(&path, &"is not as it was written: its digest differs"));
        }
    }
    let directory = format!("{DIRECTORY_FOLDER}/{}", sqlite::file_name());
    if !manifest.files.iter().any(|file| file.path == directory) {
        return Err(not_a_backup(&from.join(MANIFEST), &format!("does not list {directory}")));
    }
    Ok(())
}

fn check_keys(directory: &Path, store: &Path) -> Result<(), BackupError> {
    let mut known = Vec::new();
    for purpose in Purpose::ALL {
        for check in sqlite::key_checks_of(store, purpose.name())? {
            let parsed = StoredCheck::parse(purpose, &check.key_id, &check.value);
            known.push(parsed.ok_or_else(|| not_a_backup(store, &"has check values of keys that cannot be read"))?);
        }
    }
    if known.is_empty() {
        return Ok(());
    }
    let ring = match KeyRing::load(directory) {
        Err(KeyError::Missing(path)) => return Err(KeyError::Missing(path).into()),
        ring => ring?,
    };
    keys::check(&ring, &known)?;
    Ok(())
}

/// Leaves the audit that is there, if the backup's is its beginning; puts the backup's there, if there is none.
fn keep_or_put_back_audit(audit: &Path, from: &Path, manifest: &Manifest) -> Result<Option<u64>, BackupError> {
    if audit::copy::is_empty(audit)? {
        let beside = audit.with_file_name(format!("{AUDIT_FOLDER}.{STAGING}"));
        clear(&beside)?;
        audit::copy::put_back(&from.join(AUDIT_FOLDER), &beside)?;
        match fs::remove_dir(audit) {
            Err(error) if error.kind() != ErrorKind::NotFound => return at(audit, Err(error)),
            Ok(()) | Err(_) => {}
        }
        at(audit, fs::rename(&beside, audit))?;
        return Ok(None);
    }
    let mut checkpoints = Vec::new();
    let mut last = 0;
    if let Some(part) = &manifest.audit {
        let chain = ChainHash::from_hex(&part.chain);
        let chain = chain.ok_or_else(|| not_a_backup(&from.join(MANIFEST), &"has a malformed chain hash"))?;
        checkpoints.push(Checkpoint { sequence: part.last, chain });
        last = part.last;
    }
    let report = verify_against(audit, &checkpoints)?;
    match (report.fault, report.head) {
        (Some(fault), _) => {
            let why = format!("record {}: {}", fault.sequence, fault.kind);
            Err(BackupError::ForeignAudit { path: audit.to_owned(), why })
        }
        (None, head) => Ok(Some(head.map_or(0, |head| head.sequence).saturating_sub(last))),
    }
}

/// Gives the directory of before, if there is one, a second name. With its log taken in it is whole in itself; one that is
/// too damaged for that is moved away with its log.
fn set_aside(people: &Path, stamp: &str) -> Result<Option<PathBuf>, BackupError> {
    let name = sqlite::file_name();
    let place = people.join(name);
    if !place.exists() {
        return Ok(None);
    }
    let aside = people.join(format!("{name}.before-{stamp}-{}", uuid::Uuid::now_v7().simple()));
    if sqlite::settle(people).is_ok() {
        at(&aside, fs::hard_link(&place, &aside))?;
        return Ok(Some(aside));
    }
    for suffix in ["-wal", "-shm"] {
        let log = people.join(format!("{name}{suffix}"));
        if log.exists() {
            at(&log, fs::rename(&log, people.join(format!("{}{suffix}", aside.display()))))?;
        }
    }
    at(&place, fs::rename(&place, &aside))?;
    Ok(Some(aside))
}

fn clock_name(made: jiff::Timestamp) -> String {
    made.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// Removes what an interrupted restore left behind.
fn clear(folder: &Path) -> Result<(), BackupError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(BackupError::Io { path: folder.to_owned(), source: error })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Where the copy is made ready; its lock goes with it.
const STAGING: &str = "restoring";
