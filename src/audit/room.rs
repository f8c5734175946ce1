//! How much disk is left beside the trail. Knows nothing of records.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::AuditError;
use crate::clock::Clock;

/// The reserve of disk, below which nothing new is recorded, so that what runs can end in order.
pub(super) struct Room {
    dir: PathBuf,
    clock: Arc<dyn Clock>,
    reserve_mib: AtomicU64,
    last: Mutex<Option<Look>>,
}

struct Look {
    at: Duration,
    free_mib: Result<u64, Arc<str>>,
}

impl Room {
    pub(super) fn new(dir: PathBuf, reserve_mib: u64, clock: Arc<dyn Clock>) -> Self {
        Self { dir, clock, reserve_mib: AtomicU64::new(reserve_mib), last: Mutex::new(None) }
    }

    /// Changes the reserve, from the next check on.
    pub(super) fn set_reserve_mib(&self, reserve_mib: u64) {
        self.reserve_mib.store(reserve_mib, Ordering::Relaxed);
    }

    /// Whether there is room. Looks at the disk at most once a second.
    ///
    /// # Errors
    ///
    /// [`AuditError::NoRoom`] below the reserve; [`AuditError::Write`] when the disk cannot be asked.
    pub(super) fn check(&self) -> Result<(), AuditError> {
        let reserve_mib = self.reserve_mib.load(Ordering::Relaxed);
        match self.free_mib() {
            Ok(free_mib) if free_mib >= reserve_mib => Ok(()),
            Ok(_) => Err(AuditError::NoRoom { reserve_mib }),
            Err(why) => Err(AuditError::Write(why)),
        }
    }

    /// What is free. Looks at the disk at most once a second.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub(super) fn free_mib(&self) -> Result<u64, Arc<str>> {
        let now = self.clock.uptime();
        if let Some(look) = self.last.lock().unwrap_or_else(PoisonError::into_inner).as_ref()
            && now.saturating_sub(look.at) < BETWEEN_LOOKS
        {
            return look.free_mib.clone();
        }
        // Without the lock: a disk that hangs holds up whoever asks it, and nobody else.
        let free_mib = rustix::fs::statvfs(&self.dir)
            .map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) / (1024 * 1024))
            .map_err(|error| Arc::from(error.to_string()));
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Look { at: now, free_mib: free_mib.clone() });
        free_mib
    }
}

/// A look costs a system call; a disk that fills in less than a second would fill within a batch as well.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
