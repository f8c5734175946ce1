//! The bundle in force: a call takes one snapshot of it, and a reload puts a whole other one in its place.

use std::sync::{Arc, PoisonError, RwLock};

use super::Bundle;

/// Which bundle is in force. It answers nothing itself: whoever decides takes a snapshot first, and so cannot decide by two.
#[derive(Debug)]
pub struct Current {
    bundle: RwLock<Arc<Bundle>>,
}

impl Current {
    /// The bundle with which the sidecar starts.
    #[must_use]
    pub fn new(bundle: Bundle) -> Self {
        Self { bundle: RwLock::new(Arc::new(bundle)) }
    }

    /// The bundle in force now. It lives on as long as somebody holds it.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Bundle> {
        Arc::clone(&self.bundle.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another bundle in force for every later snapshot.
    pub fn replace(&self, bundle: Bundle) {
        let bundle = Arc::new(bundle);
        // The old one is dropped outside the lock: it may be large.
        let old = std::mem::replace(&mut *self.bundle.write().unwrap_or_else(PoisonError::into_inner), bundle);
        drop(old);
    }
}
