//! What a sidecar with these settings stands on, and what is wrong with it: looked at, never changed.
//!
//! Works while the sidecar runs and while none does. No finding holds a secret: paths, names and figures only.

use jiff::Timestamp;

use crate::{
    config::Config,
    directory::sqlite::{self, Checkup, OpenError},
    policy::Bundle,
};

mod counters;
mod database;
mod host;
mod keys;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at: a stable name.
    pub check: &'static str,
    /// How it stands.
    pub verdict: Verdict,
    /// What was found, in words.
    pub found: String,
    /// What to do about it; empty when there is nothing to do.
    pub remedy: String,
}

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Sound,
    /// It serves, and somebody should look at it.
    Look,
    /// A sidecar with these settings does not start, or cannot serve every call.
    Broken,
}

impl Verdict {
    /// Stable code, for scripts and docs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Sound => "sound",
            Self::Look => "look",
            Self::Broken => "broken",
        }
    }
}

impl Finding {
    /// As it should be.
    pub fn sound(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Sound, found: found.into(), remedy: String::new() }
    }

    /// Somebody should look at it.
    pub fn look(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Look, found: found.into(), remedy: remedy.into() }
    }

    /// It does not serve.
    pub fn broken(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Broken, found: found.into(), remedy: remedy.into() }
    }
}

/// Looks at everything that these settings name, in the order in which a start needs it.
pub async fn examine(config: &Config, now: Timestamp) -> Vec<Finding> {
    let folder = config.data.shared_directory.as_ref().unwrap_or(&config.data.directory);
    let checkup = sqlite::checkup(folder);
    let is_first_start = matches!(&checkup, Ok(None));
    let mut findings = vec![host::data(&config.data.directory), host::room(config)];
    findings.extend(store(checkup));
    findings.extend(keys::findings(config, folder, is_first_start));
    findings.push(host::audit(&config.data.directory));
    findings.push(bundle(config));
    findings.push(notices(config));
    findings.push(host::clock(&config.data.directory, now));
    findings.extend(counters::findings(config).await);
    findings.extend(database::findings(config).await);
    findings
}

fn store(checkup: Result<Option<Checkup>, OpenError>) -> Vec<Finding> {
    const SCHEMA: &str = "store.schema";
    const WHOLE: &str = "store.whole";
    let restore = "put it back from its backup: docs/operations.md, The directory cannot be asked";
    let Checkup { schema: (found, known), faults, revision, accounts } = match checkup {
        Err(error) => return vec![Finding::broken(WHOLE, error.to_string(), restore)],
        Ok(None) => return vec![Finding::sound(SCHEMA, "there is no store yet; the first start makes it")],
        Ok(Some(checkup)) => checkup,
    };
    let schema = if found > known {
        Finding::broken(
            SCHEMA,
            format!("schema {found}, and this version knows schemas up to {known}"),
            "run the version that wrote it, or a newer one",
        )
    } else if found < known {
        Finding::sound(SCHEMA, format!("schema {found}; the next start brings it to {known}"))
    } else {
        Finding::sound(SCHEMA, format!("schema {found}, revision {}, {accounts} accounts", revision.0))
    };
    let whole = if faults.is_empty() {
        Finding::sound(WHOLE, "SQLite's quick check finds nothing")
    } else {
        Finding::broken(WHOLE, faults.join("; "), restore)
    };
    vec![schema, whole]
}

fn notices(config: &Config) -> Finding {
    match &config.notices {
        Some(_) => Finding::sound("notices", "people are told of changes by the ways that [notices] names"),
        None => Finding::sound(
            "notices",
            "kept in the outbox and delivered to nobody: there is no [notices]; docs/notices.md says how to name a way",
        ),
    }
}

fn bundle(config: &Config) -> Finding {
    let loaded = match &config.policy.bundle {
        Some(folder) => Bundle::load(folder).map(|bundle| (bundle, folder.display().to_string())),
        None => Bundle::embedded().map(|bundle| (bundle, "the one in the binary".to_owned())),
    };
    match loaded {
        Ok((bundle, from)) => Finding::sound("bundle", format!("revision {}, {from}", bundle.revision())),
        Err(error) => Finding::broken(
            "bundle",
            error.to_string(),
            "mend that line until `countersign policy check` is content, or put the bundle before it back",
        ),
    }
}
