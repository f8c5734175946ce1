//! The places of one turn: every reading of what was spoken is an attempt of its own, and is charged as one.
//!
//! The attempts are reserved one after the other, each atomically as any other is. So however many turns come at once, no
//! budget gives more places than it has: whoever finds one spent has those before it, and none after it.

use jiff::Timestamp;

use super::{Alarm, Attempt, Budgets, Grant, Refusal, Reservation, ThrottleError};

/// What came of asking for the places of a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Places {
    /// For the first attempts, in their order; the others may not be tried.
    pub granted: Vec<Grant>,
    /// Why there are not more.
    pub refused: Option<Refusal>,
}

impl Places {
    /// How often the source may try again, should all of these fail. Told to the caller.
    #[must_use]
    pub fn tries_left(&self) -> u32 {
        match (&self.refused, self.granted.last()) {
            (None, Some(last)) => last.tries_left,
            (Some(_), _) | (None, None) => 0,
        }
    }

    /// When the calling number may try again, should all of these fail and leave it none.
    #[must_use]
    pub fn retry_at(&self) -> Option<Timestamp> {
        let refused = self.refused.as_ref().and_then(|refusal| refusal.retry_at);
        refused.or_else(|| self.granted.last().and_then(|last| last.retry_at))
    }

    /// The alarms that were raised.
    pub fn raised(&self) -> impl Iterator<Item = Alarm> {
        let refused = self.refused.iter().flat_map(|refusal| &refusal.raised);
        self.granted.iter().flat_map(|grant| &grant.raised).chain(refused).copied()
    }
}

/// Takes a place for each attempt, in their order, until there is none. All are of one source, aim and lane. Cancelling leaves
/// what was taken taken.
///
/// # Errors
/// [`ThrottleError::Unavailable`]; places may have been taken then, and stay so.
pub async fn reserve(budgets: &dyn Budgets, attempts: &[Attempt]) -> Result<Places, ThrottleError> {
    let mut places = Places { granted: Vec::with_capacity(attempts.len()), refused: None };
    for attempt in attempts {
        match budgets.reserve(attempt).await? {
            Reservation::Granted(grant) => places.granted.push(grant),
            Reservation::Refused(refusal) => {
                places.refused = Some(refusal);
                break;
            }
        }
    }
    Ok(places)
}
