//! What verified contacts asked for, and on which day they last did: by that an account review finds who is idle, and which
//! roles nobody uses (S12). Nothing is decided by it.
//!
//! It is kept by the day, and written a few seconds later: a sidecar that is killed may lose the last of them, and a review
//! may then think a contact idle a day too early. It is no change of the directory and has no revision.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
};

use jiff::{Timestamp, civil::Date, tz::Offset};
use serde::{Deserialize, Serialize};

use super::ContactId;

/// The last days on which a contact did something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// The contact.
    pub contact: ContactId,
    /// The action that was asked for.
    pub action: String,
    /// When he last was verified for it.
    pub verified: Date,
    /// When it last was allowed.
    pub allowed: Option<Date>,
}

/// What is to be written, each thing once a day.
#[derive(Debug, Default)]
pub struct Activities(Mutex<Noted>);

#[derive(Debug, Default)]
struct Noted {
    day: Date,
    /// What was noted on this day, and whether it was allowed.
    known: HashMap<ContactId, BTreeMap<String, bool>>,
    how_many: usize,
    waiting: Vec<Activity>,
}

impl Activities {
    /// Notes what a verified contact asked for.
    pub fn note(&self, contact: &ContactId, action: &str, is_allowed: bool, now: Timestamp) {
        let today = day(now);
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.day != today || noted.how_many >= MOST_KNOWN {
            *noted = Noted { day: today, waiting: std::mem::take(&mut noted.waiting), ..Noted::default() };
        }
        let known = noted.known.get(contact).and_then(|actions| actions.get(action)).copied();
        if known.is_some_and(|was_allowed| was_allowed || !is_allowed) || noted.waiting.len() >= MOST_WAITING {
            return;
        }
        noted.known.entry(contact.clone()).or_default().insert(action.to_owned(), is_allowed);
        noted.how_many += 1;
        noted.waiting.push(Activity {
            contact: contact.clone(),
            action: action.to_owned(),
            verified: today,
            allowed: is_allowed.then_some(today),
        });
    }

    /// Takes what waits, at most as much as one write should hold.
    #[must_use]
    pub fn take(&self) -> Vec<Activity> {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let some = noted.waiting.len().min(AT_ONCE);
        noted.waiting.drain(..some).collect()
    }

    /// Gives back what could not be written.
    pub fn give_back(&self, activities: Vec<Activity>) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MOST_WAITING.saturating_sub(noted.waiting.len());
        noted.waiting.extend(activities.into_iter().take(room));
    }
}

/// The day of a time, in UTC.
#[must_use]
pub fn day(time: Timestamp) -> Date {
    Offset::UTC.to_datetime(time).date()
}

/// How many things are remembered of a day: some 5 MiB. More begin anew, and are written twice.
const MOST_KNOWN: usize = 50_000;

/// While the store cannot be asked; what comes beyond is noted when it comes again.
const MOST_WAITING: usize = 10_000;

const AT_ONCE: usize = 500;
