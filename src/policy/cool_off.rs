//! The cool-off of A31: after a takeover, what moves money, power or calls waits for a day.

use jiff::{SignedDuration, Timestamp};

use crate::directory::Standing;

/// In an account's first days nobody could have taken it over yet, and everything in it is new.
const NEW_ACCOUNT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Whether the contact was created, was granted a role, or had a passphrase set, within `cool_off` before `now`. Never in
/// the account's first 30 days.
#[must_use]
pub fn is_running(standing: &Standing, cool_off: SignedDuration, now: Timestamp) -> bool {
    let within = |since: Timestamp, span: SignedDuration| now.duration_since(since) < span;
    if within(standing.account.created, NEW_ACCOUNT) {
        return false;
    }
    within(standing.contact.created, cool_off)
        || standing.enrolment.last_set.is_some_and(|set| within(set, cool_off))
        || standing.assignments.iter().any(|assignment| within(assignment.granted, cool_off))
}
