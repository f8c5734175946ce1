//! Why the sidecar does not start.

use std::path::PathBuf;

use tokio::task::JoinError;

use crate::{
    audit::AuditError,
    data_dir::DataDirError,
    directory::{DirectoryError, postgres, sqlite},
    grpc::sockets::BindError,
    identity::{hasher, keys::KeyError},
    policy::BundleError,
};

/// Why the sidecar did not start. Nothing is served then, and nothing was changed but what starting makes.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory is in use, or unusable.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The audit trail cannot be opened or written.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The directory's store cannot be opened.
    #[error(transparent)]
    Store(#[from] sqlite::OpenError),
    /// The database of the directory cannot be opened.
    #[error(transparent)]
    Postgres(#[from] postgres::OpenError),
    /// The directory cannot be asked.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The policy bundle does not load.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The keys are missing, open to others, or not those of this store.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// A shared store that was never used, and no keys for it.
    #[error("{}: is missing, and no start makes the keys of a shared directory, or several would make different ones; \
             make them once: for purpose in pepper token digest; do countersign keys new --purpose $purpose --dir {}; done",
            .file.display(), .directory.display())]
    KeysOfMany {
        /// What is missing.
        file: PathBuf,
        /// Where the keys belong.
        directory: PathBuf,
    },
    /// A shared directory cannot be prepared.
    #[error("data.shared_directory cannot be locked: {0}")]
    Preparing(std::io::Error),
    /// A thread of the start ended before its time; a defect.
    #[error("a thread of the start panicked")]
    Thread(#[from] JoinError),
    /// The store remembers a key in a form that cannot be read.
    #[error(
        "the store's check value of {0} key {1} cannot be read: the directory's file is damaged; put it back from its backup"
    )]
    KeyCheck(&'static str, String),
    /// The hashing threads do not start.
    #[error(transparent)]
    Hasher(#[from] hasher::StartError),
    /// The Redis of the counters may not hold them.
    #[error("redis.url: {0}")]
    Counters(String),
    /// A way by which notices go will not do.
    #[error("{0}")]
    Notices(String),
    /// A socket cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Reflection has no descriptors; a defect of this binary.
    #[error("the descriptor set of this binary is broken: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}
