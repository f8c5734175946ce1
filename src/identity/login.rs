//! A portal login as proof. What counts is who asserts it (F7): the edge has checked that this client system may.

use jiff::{SignedDuration, Timestamp};

use crate::{client::ClientSystem, directory::ContactId};

/// How far a client's clock may be ahead of ours.
pub const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(30);

/// A login that was checked. Made only by [`check`].
#[derive(Debug)]
pub struct LoginProof {
    contact: ContactId,
    login_time: Timestamp,
}

impl LoginProof {
    /// Who logged in.
    #[must_use]
    pub fn contact(&self) -> &ContactId {
        &self.contact
    }

    /// When.
    #[must_use]
    pub fn login_time(&self) -> Timestamp {
        self.login_time
    }
}

/// Checks a login that `client` asserts for `contact`: the client may assert logins, and this one is neither in the
/// future nor older than `max_age`. `None` otherwise.
#[must_use]
pub fn check(
    client: &ClientSystem,
    contact: &ContactId,
    login_time: Timestamp,
    now: Timestamp,
    max_age: SignedDuration,
) -> Option<LoginProof> {
    let age = now.duration_since(login_time);
    let granted = client.may_assert(crate::client::Assertion::PortalLogin).is_ok();
    (granted && age >= -CLOCK_TOLERANCE && age <= max_age)
        .then(|| LoginProof { contact: contact.clone(), login_time: login_time.min(now) })
}
