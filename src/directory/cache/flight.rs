//! Single flight: of those who want the same at the same time one asks, and the others wait for what comes of it.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;

use crate::directory::DirectoryError;

type Aloft<K> = Arc<Mutex<HashMap<K, watch::Receiver<Option<DirectoryError>>>>>;

/// Who is asking for what.
pub(super) struct Flights<K: Eq + Hash>(Aloft<K>);

impl<K: Eq + Hash> Default for Flights<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

/// Whether to ask or to wait.
pub(super) enum Turn<K: Eq + Hash, L> {
    Lead(Flight<K>),
    Follow(L),
}

impl<K: Clone + Eq + Hash> Flights<K> {
    /// The first to want something leads. The others get a future that is ready when the leader has landed, with the error
    /// if he failed, or has gone away.
    pub(super) fn board(&self, key: &K) -> Turn<K, impl Future<Output = Option<DirectoryError>> + use<K>> {
        let mut aloft = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(landing) = aloft.get(key) {
            let mut landing = landing.clone();
            return Turn::Follow(async move {
                // An error means that the leader is gone: ready as well.
                drop(landing.changed().await);
                landing.borrow().clone()
            });
        }
        let (landed, landing) = watch::channel(None);
        aloft.insert(key.clone(), landing);
        Turn::Lead(Flight { key: key.clone(), aloft: Arc::clone(&self.0), landed })
    }
}

/// The lead. Dropping it without landing, as a cancelled call does, lets the others ask themselves.
pub(super) struct Flight<K: Eq + Hash> {
    key: K,
    aloft: Aloft<K>,
    landed: watch::Sender<Option<DirectoryError>>,
}

impl<K: Eq + Hash> Flight<K> {
    /// Tells the others what came of it.
    pub(super) fn land(self, error: Option<&DirectoryError>) {
        self.landed.send_replace(error.cloned());
    }
}

impl<K: Eq + Hash> Drop for Flight<K> {
    fn drop(&mut self) {
        self.aloft.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
