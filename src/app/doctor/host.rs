//! The host: directories, their modes, room on the disk, the trail, the clock.

use std::{fs, io::ErrorKind, os::unix::fs::MetadataExt, path::Path};

use jiff::{SignedDuration, Timestamp};
use rustix::fs::Access;

use super::Finding;
use crate::{app::AUDIT_FOLDER, audit::read, config::Config};

pub(super) fn data(directory: &Path) -> Finding {
    const CHECK: &str = "data";
    let shown = directory.display();
    match fs::metadata(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Finding::sound(CHECK, format!("{shown} does not exist yet; the first start makes it"))
        }
        Err(error) => Finding::broken(CHECK, format!("{shown}: {error}"), "give it to the user of the sidecar"),
        Ok(found) => {
            if rustix::fs::access(directory, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK).is_err() {
                return Finding::broken(
                    CHECK,
                    format!("{shown} cannot be written by this user"),
                    format!("run the doctor as the user of the sidecar, or: chown that user {shown}"),
                );
            }
            Finding::sound(CHECK, format!("{shown}, mode {:04o}", found.mode() & 0o7777))
        }
    }
}

/// Room on the disk. Below the reserve nothing is answered; before that somebody should know.
pub(super) fn room(config: &Config) -> Finding {
    const CHECK: &str = "disk";
    let directory = config.data.directory.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
    let reserve = config.audit.reserve_mib;
    match rustix::fs::statvfs(directory) {
        Err(error) => Finding::broken(CHECK, format!("{}: {error}", directory.display()), "mend the disk"),
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize) / (1024 * 1024);
            let found = format!("{free} MiB are free, and audit.reserve_mib is {reserve}");
            let remedy = "make room on that disk: docs/operations.md, The disk is full";
            if free < reserve {
                Finding::broken(CHECK, found, remedy)
            } else if free < reserve.saturating_mul(AMPLE) {
                Finding::look(CHECK, found, remedy)
            } else {
                Finding::sound(CHECK, found)
            }
        }
    }
}

/// Whether the newest record of the trail can be read.
pub(super) fn audit(data: &Path) -> Finding {
    const CHECK: &str = "audit";
    let folder = data.join(AUDIT_FOLDER);
    if !folder.exists() {
        return Finding::sound(CHECK, "there is no trail yet; the first start begins it");
    }
    match read::tail(&folder, 1).map(|newest| newest.first().map(|stored| (stored.sequence, stored.at))) {
        Ok(Some((sequence, at))) => Finding::sound(CHECK, format!("the newest record is #{sequence} of {at:.0}")),
        Ok(None) => Finding::sound(CHECK, "the trail is empty"),
        Err(error) => Finding::broken(
            CHECK,
            error.to_string(),
            "docs/operations.md, The audit cannot be written; then countersign audit verify",
        ),
    }
}

/// Whether what was recorded lies in the past, as it must.
pub(super) fn clock(data: &Path, now: Timestamp) -> Finding {
    const CHECK: &str = "clock";
    let newest = read::tail(&data.join(AUDIT_FOLDER), 1).ok().and_then(|newest| newest.first().map(|one| one.at));
    let shown = format!("{now:.0} by this host");
    match newest.map(|at| at.duration_since(now)) {
        Some(ahead) if ahead > TOLERANCE => Finding::look(
            CHECK,
            format!("{shown}, and the newest record of the audit is {ahead:#.0} ahead"),
            "the clock was or is wrong: docs/operations.md, The clock is off",
        ),
        _ => Finding::sound(CHECK, shown),
    }
}

/// Times the reserve, below which somebody should look: docs/observability.md says the same of its metric.
const AMPLE: u64 = 4;

/// More than a record takes to be durable.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(5);
