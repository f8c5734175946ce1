//! From where a reset is asked for, and how many a source may begin (F8, A11, A12).
//!
//! A reset has budgets of its own: to begin one guesses nothing, but spends a code of the contact and tells him. Each source is
//! asked before the contact, so that who has spent his own burns nobody's codes. Unlike tries of a passphrase they are counted
//! beside the resets themselves, in the store: what Redis loses gives nobody more. Refusals are not told, and not counted, so
//! that who goes on asking does not keep a number shut that is not his. Pure; [`super::Rules::reset_source`] makes the counters.

use serde::Deserialize;

use super::Key;

/// How many resets a source may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResetSettings {
    /// In one interaction.
    pub interaction_starts: u32,
    /// From one calling number with its attestation in 24 hours, over all contacts.
    pub number_starts: u32,
    /// By all strangers of one client system within an hour. Familiar callers neither count nor wait.
    pub client_starts_per_hour: u32,
}

impl Default for ResetSettings {
    /// Three as an interaction has tries; five, since a company's people share a number; a hundred, since of a busy line's 2,000
    /// callers an hour one in 20 does not begin a reset.
    fn default() -> Self {
        Self { interaction_starts: 3, number_starts: 5, client_starts_per_hour: 100 }
    }
}

/// From where a reset is asked for, as counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetSource {
    /// The call or chat, of the client's group.
    pub interaction: Key,
    /// The calling number with its attestation; `None`: withheld, malformed or a carrier's, and without a budget.
    pub line: Option<Key>,
    /// The client system.
    pub client: Key,
    /// Whether the contact calls from where he is known to call from.
    pub is_familiar: bool,
}

/// How many resets were begun there before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceStarts {
    /// In the interaction.
    pub interaction: u32,
    /// From the line, in 24 hours.
    pub line: u32,
    /// By strangers of the client system, within an hour.
    pub client: u32,
}

/// Which budget of the source is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpentSource {
    /// The interaction's.
    Interaction,
    /// The calling number's.
    CallingNumber,
    /// That of the client system's strangers.
    Client,
}

impl ResetSettings {
    /// Which budget is spent, if one is: the nearest to the caller.
    #[must_use]
    pub fn spent(&self, source: &ResetSource, before: SourceStarts) -> Option<SpentSource> {
        if before.interaction >= self.interaction_starts {
            Some(SpentSource::Interaction)
        } else if source.line.is_some() && before.line >= self.number_starts {
            Some(SpentSource::CallingNumber)
        } else if !source.is_familiar && before.client >= self.client_starts_per_hour {
            Some(SpentSource::Client)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // proves: A11
    #[test]
    fn the_nearest_spent_budget_of_a_source_refuses_and_a_client_refuses_strangers_only() {
        let settings = ResetSettings::default();
        let source = |line: bool, is_familiar| ResetSource {
            interaction: Key::new([1; 16]),
            line: line.then(|| Key::new([2; 16])),
            client: Key::new([3; 16]),
            is_familiar,
        };
        let starts = |interaction, line, client| SourceStarts { interaction, line, client };
        let table = [
            (source(true, false), starts(2, 4, 99), None),
            (source(true, false), starts(3, 5, 100), Some(SpentSource::Interaction)),
            (source(true, true), starts(3, 0, 0), Some(SpentSource::Interaction)),
            (source(true, false), starts(0, 5, 100), Some(SpentSource::CallingNumber)),
            (source(true, true), starts(0, 5, 0), Some(SpentSource::CallingNumber)),
            (source(false, false), starts(0, 5, 0), None),
            (source(true, false), starts(0, 0, 100), Some(SpentSource::Client)),
            (source(true, true), starts(0, 0, 100), None),
        ];
        for (source, starts, spent) in table {
            assert_eq!(settings.spent(&source, starts), spent, "{source:?} {starts:?}");
        }
    }
}
