//! What can be wrong with a setup, and where.

use std::{fmt, path::PathBuf};

/// Where a setting stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the file, at this line.
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// Nowhere: it is missing from the file.
    File(PathBuf),
    /// In this environment variable.
    Variable(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { path, line } => write!(f, "{}:{line}", path.display()),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// Why a setup is refused. Says what to mend; never quotes a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {why}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        why: String,
    },
    /// The file is no TOML.
    #[error("{place}: {why}")]
    Syntax {
        /// Where.
        place: Place,
        /// The parser's reason.
        why: String,
    },
    /// Nothing has this name.
    #[error("{place}: unknown key `{key}`; known here: {}{meant}", .known.join(", "))]
    UnknownKey {
        /// Where.
        place: Place,
        /// The whole name of the key.
        key: String,
        /// The question whether another was meant, or nothing.
        meant: String,
        /// The names that could be meant.
        known: Vec<String>,
    },
    /// A variable with our prefix that sets nothing.
    #[error("{variable}: {why}")]
    UnknownVariable {
        /// The variable.
        variable: String,
        /// Why it sets nothing.
        why: String,
    },
    /// A required key is missing.
    #[error("{place}: {key} is missing: {why}")]
    Missing {
        /// The file, or the line at which its section begins.
        place: Place,
        /// The whole name of the key.
        key: String,
        /// What it is for.
        why: String,
    },
    /// A value that will not do.
    #[error("{place}: {key}: {why}")]
    Invalid {
        /// Where.
        place: Place,
        /// The whole name of the key.
        key: String,
        /// What is wrong, and what would do.
        why: String,
    },
}
