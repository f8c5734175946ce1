//! What is decided: the recipe of one call, from a known client system to a recorded answer.
//!
//! This room knows traits and types, no transport and no store. [`Authorizer::authorize`] and
//! [`Authorizer::authorize_batch`] are the use cases; `recipe.rs` reads as the numbered steps of the design.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::{sync::OwnedSemaphorePermit, task::JoinError};

use crate::{
    audit::{AuditError, AuditReceipt, Trail, ended},
    client::ClientSystem,
    clock::Clock,
    directory::{
        Directory, DirectoryError, Revision, SiteId, SubjectHints, activity::Activities, escalations::Escalations,
    },
    escalation::PendingLimits,
    identity::{Verified, hasher::HashLost, keys::KeyRing, passphrase::Readings},
    interaction::{Interaction, InteractionKey},
    policy::{AttributeValue, Current, Guidance, Remedy},
    throttle::{ThrottleError, release::release_at},
};

mod approval;
pub mod cases;
pub mod decision;
pub mod deliver;
pub mod end;
pub mod explain;
pub mod permit;
mod prove;
mod recipe;
pub mod stopwatch;

pub use crate::{directory::Freshness, policy::cool_off};
pub use decision::{Allow, Cause, Decision, Reason};
pub use prove::{PassphraseParts, Unproved, Verification};
pub use stopwatch::{Step, Stopwatch};

/// The rules of time that the recipe applies; from config.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// A proof older than this is OLD.
    pub fresh_within: SignedDuration,
    /// A portal login older than this proves nothing.
    pub login_max_age: SignedDuration,
    /// An ALLOW is good for this long.
    pub act_within: SignedDuration,
    /// Orders, grants and routing wait this long after a passphrase was set, a role granted or a contact created (A31).
    pub cool_off: SignedDuration,
    /// How many escalations may be pending.
    pub pending: PendingLimits,
    /// How many deliveries to the record an account gets within 24 hours (F3).
    pub deliveries_a_day: u32,
}

impl Default for Terms {
    /// 10 minutes, 12 hours, 60 seconds, 24 hours, the limits of [`PendingLimits`], and 3 deliveries.
    fn default() -> Self {
        Self {
            fresh_within: SignedDuration::from_mins(10),
            login_max_age: SignedDuration::from_hours(12),
            act_within: SignedDuration::from_secs(60),
            cool_off: SignedDuration::from_hours(24),
            pending: PendingLimits::default(),
            deliveries_a_day: 3,
        }
    }
}

/// One call of a known client system, whose grants have been checked and whose fields are well formed.
pub struct Call {
    /// Who asks.
    pub client: Arc<ClientSystem>,
    /// When the call arrived, on the monotonic clock.
    pub arrived: Duration,
    /// When its client stops waiting, on the monotonic clock; the way of the answer is taken off.
    pub deadline: Duration,
    /// Its place among the calls that run at the same time, given back when its recipe has ended, even if its client goes
    /// away; `None`: it is not counted.
    pub place: Option<OwnedSemaphorePermit>,
    /// Notes how long each step takes.
    pub stopwatch: Arc<Stopwatch>,
    /// In which call or chat.
    pub interaction: Interaction,
    /// Whom the person says to be.
    pub subject: SubjectHints,
    /// What is offered as proof.
    pub evidence: Evidence,
    /// How fresh the roles must be.
    pub freshness: Freshness,
    /// Language of the guidance; empty: the bundle's default.
    pub locale: String,
    /// Correlates log lines and audit records; makes nothing idempotent.
    pub request_id: String,
}

impl Call {
    /// The interaction's name over all clients.
    #[must_use]
    pub fn interaction_key(&self) -> InteractionKey {
        InteractionKey { group: self.client.group.clone(), id: self.interaction.id.clone() }
    }
}

/// What is offered as proof. Worth stealing, so that it has no `Debug`.
pub enum Evidence {
    /// Nothing.
    None,
    /// A support passphrase, typed or spoken; what was spoken may have several readings. Or digits on the keypad.
    Passphrase(Readings),
    /// A portal login that the client system asserts.
    PortalLogin {
        /// When the person logged in.
        login_time: Timestamp,
    },
    /// A verification token of an earlier answer in the same interaction.
    VerificationToken(String),
}

/// One action that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The action, as policy names it.
    pub action: String,
    /// What it acts upon.
    pub resource: Resource,
    /// The id of an escalation that is said to be approved.
    pub approval: Option<String>,
}

/// What an action acts upon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    /// The type; `None`: no resource was given.
    pub kind: Option<String>,
    /// The id in the system that holds it; may be empty.
    pub id: String,
    /// The site to which it belongs; `None`: the whole company.
    pub site: Option<SiteId>,
    /// Its attributes.
    pub attributes: BTreeMap<String, AttributeValue>,
}

impl Resource {
    /// The one text form by which two resources are the same: JSON of type, id, site and sorted attributes.
    #[must_use]
    pub fn canonical(&self) -> String {
        let Some(kind) = &self.kind else { return String::new() };
        serde_json::json!({
            "type": kind,
            "id": self.id,
            "site": self.site.as_ref().map(SiteId::as_str),
            "attributes": self.attributes,
        })
        .to_string()
    }

    /// The resource of a canonical text; `None`: it is no such text.
    #[must_use]
    pub fn from_canonical(text: &str) -> Option<Self> {
        #[derive(serde::Deserialize)]
        struct Canonical {
            r#type: String,
            id: String,
            site: Option<SiteId>,
            attributes: BTreeMap<String, AttributeValue>,
        }
        if text.is_empty() {
            return Some(Self::default());
        }
        let Canonical { r#type, id, site, attributes } = serde_json::from_str(text).ok()?;
        Some(Self { kind: Some(r#type), id, site, attributes })
    }
}

/// Whether an escalation may be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escalate {
    /// Open one, or return the pending one.
    Open,
    /// Only say that one would be opened.
    DoNotOpen,
}

/// The answer to one action.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Random; names the audit record.
    pub decision_id: String,
    /// What is decided.
    pub decision: Decision,
    /// What to tell.
    pub guidance: Option<Guidance>,
    /// Lawful other ways.
    pub remedies: Vec<Remedy>,
}

/// Answers that are durably recorded. Made only from an [`AuditReceipt`].
#[derive(Debug)]
pub struct Reply {
    answers: Vec<Answer>,
    verified: Option<Verified>,
    verification: Option<Verification>,
    policy_revision: String,
    directory_revision: Revision,
    receipt: AuditReceipt,
}

impl Reply {
    /// One answer per action, in the order of the question.
    #[must_use]
    pub fn answers(&self) -> &[Answer] {
        &self.answers
    }

    /// Who was verified.
    #[must_use]
    pub fn verified(&self) -> Option<&Verified> {
        self.verified.as_ref()
    }

    /// A token for the other clients of this interaction.
    #[must_use]
    pub fn verification(&self) -> Option<&Verification> {
        self.verification.as_ref()
    }

    /// Revision of the bundle that decided.
    #[must_use]
    pub fn policy_revision(&self) -> &str {
        &self.policy_revision
    }

    /// Revision of the directory that decided.
    #[must_use]
    pub fn directory_revision(&self) -> Revision {
        self.directory_revision
    }

    /// Proof that the answers are recorded.
    #[must_use]
    pub fn receipt(&self) -> &AuditReceipt {
        &self.receipt
    }
}

/// Why no decision was reached.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Undecided {
    /// A field is malformed or not supported. Nothing was charged.
    #[error("{field}: {why}")]
    Invalid {
        /// The field, as a path in the request.
        field: String,
        /// What is wrong, without the value.
        why: String,
    },
    /// The directory cannot be asked, or has not reached the revision that was asked for.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The directory has not reached the revision that was asked for.
    #[error("the directory has not reached the revision that was asked for")]
    DirectoryBehind,
    /// By a clock that is off nobody is verified.
    #[error("the clock of this host is more than 5 s off that of the directory's store")]
    ClockOff,
    /// The interaction was opened by another client, and no token of it was shown.
    #[error("the interaction was opened by another client system")]
    NotYours,
    /// The answer cannot be recorded.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The budgets of attempts cannot be asked, so nobody may try.
    #[error(transparent)]
    Throttle(#[from] ThrottleError),
    /// Too many passphrases wait to be verified. Nothing was charged.
    #[error("too many passphrases wait to be verified")]
    Overloaded,
    /// The deadline is too near to verify a passphrase. Nothing was charged.
    #[error("the deadline is too near to verify a passphrase")]
    TooLate,
    /// A hash that was begun did not end.
    #[error(transparent)]
    HashLost(#[from] HashLost),
    /// The operating system gave no randomness.
    #[error("no randomness from the operating system")]
    Randomness,
    /// A defect.
    #[error("defect: {0}")]
    Defect(String),
}

impl From<JoinError> for Undecided {
    fn from(error: JoinError) -> Self {
        Self::Defect(error.to_string())
    }
}

/// The use cases of this room, and what they work with.
pub struct Authorizer {
    /// Who may do what.
    pub directory: Arc<dyn Directory>,
    /// What the primary administrators approved.
    pub escalations: Arc<dyn Escalations>,
    /// By which rules: each call takes one snapshot.
    pub policy: Arc<Current>,
    /// What happened.
    pub trail: Arc<Trail>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// How passphrases are verified.
    pub passphrases: PassphraseParts,
    /// The keys that seal verification tokens.
    pub keys: Arc<KeyRing>,
    /// The rules of time.
    pub terms: Terms,
    /// What verified contacts asked for, for an account review.
    pub activities: Arc<Activities>,
}

impl Authorizer {
    /// Decides one action. Runs as a task of its own: cancelling the returned future cancels nothing that it began.
    ///
    /// # Errors
    /// [`Undecided`], when no decision was reached.
    pub async fn authorize(self: &Arc<Self>, mut call: Call, ask: Ask, escalate: Escalate) -> Result<Reply, Undecided> {
        let this = Arc::clone(self);
        // Boxed, since what is spawned is moved several times.
        let task = tokio::spawn(Box::pin(async move {
            let _place = call.place.take();
            let release = this.release(&call);
            let reply = this.begin(&call, escalate).decide_one(ask).await;
            release.reached(&reply).await;
            reply
        }));
        ended(task).await
    }

    /// Decides several actions of one person with one proof. Never opens an escalation. Runs as a task of its own.
    ///
    /// # Errors
    /// [`Undecided`], when no decision was reached.
    pub async fn authorize_batch(self: &Arc<Self>, mut call: Call, asks: Vec<Ask>) -> Result<Reply, Undecided> {
        let this = Arc::clone(self);
        let task = tokio::spawn(Box::pin(async move {
            let _place = call.place.take();
            let release = this.release(&call);
            let reply = this.begin(&call, Escalate::DoNotOpen).decide_batch(asks).await;
            release.reached(&reply).await;
            reply
        }));
        ended(task).await
    }
}

impl Authorizer {
    fn release(&self, call: &Call) -> Release {
        let floor = match call.evidence {
            Evidence::Passphrase(_) => Some((call.arrived, self.passphrases.floor)),
            Evidence::None | Evidence::PortalLogin { .. } | Evidence::VerificationToken(_) => None,
        };
        Release { clock: Arc::clone(&self.clock), stopwatch: Arc::clone(&call.stopwatch), floor }
    }
}

/// When an answer may leave. Only answers to a passphrase wait: whatever came of it, and errors too, leave at the floor or
/// at a later multiple of [`RELEASE_STEP`], so that the time tells nothing (A12).
struct Release {
    clock: Arc<dyn Clock>,
    stopwatch: Arc<Stopwatch>,
    floor: Option<(Duration, Duration)>,
}

/// The raster on which late answers to a passphrase leave (design.md, section 1).
const RELEASE_STEP: Duration = Duration::from_millis(50);

impl Release {
    /// A call that was shed leaves at once: nobody was looked at.
    async fn reached(self, reply: &Result<Reply, Undecided>) {
        let is_shed = matches!(reply, Err(Undecided::Overloaded | Undecided::TooLate));
        if let Some((arrived, floor)) = self.floor.filter(|_| !is_shed) {
            let now = self.clock.uptime();
            self.stopwatch.enter(Step::Release, now);
            self.clock.sleep_until(release_at(arrived, now, floor, RELEASE_STEP)).await;
        }
        self.stopwatch.stop(self.clock.uptime());
    }
}
