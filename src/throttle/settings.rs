//! The section `throttle` of the config, its defaults, and which values are refused.

use std::{borrow::Cow, collections::BTreeSet};

use jiff::SignedDuration;
use serde::Deserialize;

use super::{
    budget::{Rule, SPAN},
    floor::Floor,
    reset::ResetSettings,
};
use crate::directory::E164;

/// How often one may try. Every window is 24 hours long and slides.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Tries of one interaction. A success gives its own back.
    pub interaction_tries: u32,
    /// Failures of one calling number in 24 hours, over all accounts.
    pub number_failures: u32,
    /// Failures of one account in 24 hours and in each lane: at least this,
    pub account_failures_at_least: u32,
    /// and this for each of its contacts with a passphrase,
    pub account_failures_per_contact: u32,
    /// but at most this.
    pub account_failures_at_most: u32,
    /// Tries of one interaction while the unfamiliar lane is narrowed. Familiar callers keep theirs.
    pub narrowed_interaction_tries: u32,
    /// Failures of one calling number in 24 hours while the unfamiliar lane is narrowed.
    pub narrowed_number_failures: u32,
    /// New interactions and numbers that one client may bring in a minute. Beyond it, new ones share counters.
    pub new_keys_per_client_minute: u32,
    /// A vouched number of record is familiar once it has been on record for so many days.
    pub familiar_record_days: u32,
    /// A line on which a contact was verified is familiar for so many days.
    pub familiar_after_proof_days: u32,
    /// Numbers that belong to a carrier and not to a caller, such as a gateway's: they have no budget of their own and
    /// make nobody familiar.
    pub carrier_numbers: BTreeSet<E164>,
    /// When to raise an alarm.
    pub alarm: AlarmSettings,
    /// How many resets of a passphrase a source may begin.
    pub reset: ResetSettings,
    /// The durable floor.
    pub floor: Floor,
}

/// How many different accounts may be tried within the window without a success before an alarm is raised and the
/// unfamiliar lane is narrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlarmSettings {
    /// By one client system.
    pub client_accounts: u32,
    /// By one agent.
    pub agent_accounts: u32,
    /// By all together.
    pub fleet_accounts: u32,
    /// The window, in minutes.
    pub window_minutes: u32,
}

impl Default for Settings {
    /// The table of design.md, section 4.
    fn default() -> Self {
        Self {
            interaction_tries: 3,
            number_failures: 10,
            account_failures_at_least: 15,
            account_failures_per_contact: 2,
            account_failures_at_most: 200,
            narrowed_interaction_tries: 1,
            narrowed_number_failures: 2,
            // Ten new callers in a second, at one client, all with a passphrase.
            new_keys_per_client_minute: 1200,
            // 47 CFR 64.2003(b): an address of record is one of at least 30 days.
            familiar_record_days: 30,
            familiar_after_proof_days: 90,
            carrier_numbers: BTreeSet::new(),
            alarm: AlarmSettings::default(),
            reset: ResetSettings::default(),
            floor: Floor::default(),
        }
    }
}

impl Default for AlarmSettings {
    /// A hundred wrong accounts in an hour at one client, twenty at one agent, four hundred in all: a busy line of
    /// 2,000 callers an hour, of whom 5 in 100 give up, stays below.
    fn default() -> Self {
        Self { client_accounts: 100, agent_accounts: 20, fleet_accounts: 400, window_minutes: 60 }
    }
}

/// A value that would break a promise. Start refuses it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct Unsafe {
    /// The key, from the root of the config.
    pub key: &'static str,
    /// What it would break.
    pub why: Cow<'static, str>,
}

impl Unsafe {
    pub(super) fn new(key: &'static str, why: impl Into<Cow<'static, str>>) -> Self {
        Self { key, why: why.into() }
    }
}

impl Settings {
    /// Whether the values keep what this room promises.
    ///
    /// # Errors
    /// The first that does not, by its key.
    pub fn validate(&self) -> Result<(), Unsafe> {
        let AlarmSettings { client_accounts, agent_accounts, fleet_accounts, window_minutes } = self.alarm;
        let ResetSettings { interaction_starts, number_starts, client_starts_per_hour } = self.reset;
        let table = [
            ("throttle.interaction_tries", self.interaction_tries, 1, 10),
            ("throttle.number_failures", self.number_failures, 1, 50),
            ("throttle.account_failures_at_least", self.account_failures_at_least, 1, 200),
            ("throttle.account_failures_per_contact", self.account_failures_per_contact, 0, 10),
            ("throttle.account_failures_at_most", self.account_failures_at_most, self.account_failures_at_least, 1000),
            ("throttle.narrowed_interaction_tries", self.narrowed_interaction_tries, 1, self.interaction_tries),
            ("throttle.narrowed_number_failures", self.narrowed_number_failures, 1, self.number_failures),
            ("throttle.new_keys_per_client_minute", self.new_keys_per_client_minute, 10, 100_000),
            ("throttle.familiar_record_days", self.familiar_record_days, 30, 3650),
            ("throttle.familiar_after_proof_days", self.familiar_after_proof_days, 0, 90),
            ("throttle.alarm.client_accounts", client_accounts, 2, 10_000),
            ("throttle.alarm.agent_accounts", agent_accounts, 2, 10_000),
            ("throttle.alarm.fleet_accounts", fleet_accounts, 2, 10_000),
            ("throttle.alarm.window_minutes", window_minutes, 1, 1440),
            ("throttle.reset.interaction_starts", interaction_starts, 1, 10),
            ("throttle.reset.number_starts", number_starts, 1, 50),
            ("throttle.reset.client_starts_per_hour", client_starts_per_hour, 1, 10_000),
        ];
        for (key, value, least, most) in table {
            if !(least..=most).contains(&value) {
                return Err(Unsafe::new(key, format!("is {value}, and must be from {least} to {most}")));
            }
        }
        self.floor.validate()
    }

    /// How many failures an account with so many passphrases bears in each lane.
    #[must_use]
    pub fn account_cap(&self, contacts_with_passphrase: u32) -> u32 {
        self.account_failures_per_contact
            .saturating_mul(contacts_with_passphrase)
            .max(self.account_failures_at_least)
            .min(self.account_failures_at_most)
    }

    pub(super) fn interaction_rule(&self, narrowed: bool) -> Rule {
        Rule { cap: if narrowed { self.narrowed_interaction_tries } else { self.interaction_tries }, span: SPAN }
    }

    pub(super) fn number_rule(&self, narrowed: bool) -> Rule {
        Rule { cap: if narrowed { self.narrowed_number_failures } else { self.number_failures }, span: SPAN }
    }

    pub(super) fn alarm_rule(&self, accounts: u32) -> Rule {
        Rule { cap: accounts, span: SignedDuration::from_mins(i64::from(self.alarm.window_minutes)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_designs_table_and_are_safe() {
        let settings = Settings::default();
        assert_eq!(settings.validate(), Ok(()));
        assert_eq!((settings.interaction_tries, settings.number_failures), (3, 10));
        assert_eq!((settings.narrowed_interaction_tries, settings.narrowed_number_failures), (1, 2));
        assert_eq!((settings.familiar_record_days, settings.familiar_after_proof_days), (30, 90));
    }

    #[test]
    fn an_account_bears_more_failures_the_more_contacts_have_a_passphrase() {
        let settings = Settings::default();
        let table = [(0, 15), (7, 15), (8, 16), (50, 100), (100, 200), (101, 200), (u32::MAX, 200)];
        for (contacts, cap) in table {
            assert_eq!(settings.account_cap(contacts), cap, "{contacts} contacts");
        }
    }

    #[test]
    fn unsafe_values_are_refused_by_key() {
        type Change = fn(&mut Settings);
        let refused = |change: Change| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings.validate().map_err(|error| error.key)
        };
        let table: [(Change, &str); 12] = [
            (|s| s.interaction_tries = 0, "throttle.interaction_tries"),
            (|s| s.interaction_tries = 11, "throttle.interaction_tries"),
            (|s| s.number_failures = 0, "throttle.number_failures"),
            (|s| s.account_failures_at_least = 0, "throttle.account_failures_at_least"),
            (|s| s.account_failures_at_most = 14, "throttle.account_failures_at_most"),
            (|s| s.narrowed_interaction_tries = 4, "throttle.narrowed_interaction_tries"),
            (|s| s.familiar_record_days = 29, "throttle.familiar_record_days"),
            (|s| s.familiar_after_proof_days = 91, "throttle.familiar_after_proof_days"),
            (|s| s.alarm.window_minutes = 0, "throttle.alarm.window_minutes"),
            (|s| s.reset.interaction_starts = 0, "throttle.reset.interaction_starts"),
            (|s| s.reset.number_starts = 51, "throttle.reset.number_starts"),
            (|s| s.floor.reopenings = 4, "throttle.floor.failures_to_close"),
        ];
        for (change, key) in table {
            assert_eq!(refused(change), Err(key));
        }
    }

    #[test]
    fn a_section_may_be_partial_and_unknown_keys_are_refused() {
        let parsed: Settings =
            toml::from_str("interaction_tries = 2\ncarrier_numbers = [\"+18005550100\"]\n[floor]\nreopenings = 1\n")
                .unwrap();
        assert_eq!((parsed.interaction_tries, parsed.floor.reopenings), (2, 1));
        assert_eq!(parsed.number_failures, 10);
        assert!(toml::from_str::<Settings>("interaction_trys = 2").is_err());
        assert!(toml::from_str::<Settings>("[floor]\ncap = 2").is_err());
    }
}
