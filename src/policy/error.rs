//! Why a bundle does not load: where, what, and what to do about it.

use std::fmt;

/// A bundle that does not load. The first fault that was found; the bundle before it stays in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleError {
    /// The file, as the operator knows it.
    pub file: String,
    /// The line, counted from 1; `None` when the fault is that something is not there at all.
    pub line: Option<usize>,
    /// The text of that line.
    pub excerpt: Option<String>,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub advice: String,
}

impl BundleError {
    /// Where and what, without the line's text and the advice.
    #[must_use]
    pub fn in_one_line(&self) -> String {
        let line = self.line.map_or_else(String::new, |line| format!(":{line}"));
        format!("{}{line}: {}", self.file, self.problem)
    }
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.in_one_line())?;
        if let (Some(line), Some(excerpt)) = (self.line, &self.excerpt) {
            write!(f, "\n{line:>6} | {excerpt}")?;
        }
        if !self.advice.is_empty() {
            write!(f, "\n       = {}", self.advice)?;
        }
        Ok(())
    }
}

impl std::error::Error for BundleError {}

/// A resource that does not fit what the bundle declares for the action. Names the field, never its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct ResourceError {
    /// The field of the request.
    pub field: String,
    /// What is wrong with it.
    pub why: String,
}
