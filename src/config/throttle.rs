//! `[throttle]`: how often one may try. What is safe is ruled by [`Settings::validate`]; this file only reads.

use std::collections::BTreeSet;

use super::{document::Table, error::ConfigError};
use crate::{
    directory::E164,
    throttle::{Settings, floor::Floor, reset::ResetSettings, settings::AlarmSettings},
};

pub(super) fn read(section: &mut Table) -> Result<Settings, ConfigError> {
    let Settings { alarm, reset, floor, .. } = Settings::default();
    let default = Settings::default();
    let any = 0..=u32::MAX;
    let mut number = |key: &str, default: u32| section.number(key, default, any.clone());
    let mut settings = Settings {
        interaction_tries: number("interaction_tries", default.interaction_tries)?,
        number_failures: number("number_failures", default.number_failures)?,
        account_failures_at_least: number("account_failures_at_least", default.account_failures_at_least)?,
        account_failures_per_contact: number("account_failures_per_contact", default.account_failures_per_contact)?,
        account_failures_at_most: number("account_failures_at_most", default.account_failures_at_most)?,
        narrowed_interaction_tries: number("narrowed_interaction_tries", default.narrowed_interaction_tries)?,
        narrowed_number_failures: number("narrowed_number_failures", default.narrowed_number_failures)?,
        new_keys_per_client_minute: number("new_keys_per_client_minute", default.new_keys_per_client_minute)?,
        familiar_record_days: number("familiar_record_days", default.familiar_record_days)?,
        familiar_after_proof_days: number("familiar_after_proof_days", default.familiar_after_proof_days)?,
        carrier_numbers: BTreeSet::new(),
        alarm,
        reset,
        floor,
    };
    settings.carrier_numbers = carrier_numbers(section)?;
    settings.alarm = section.section("alarm", |section| {
        let mut number = |key: &str, default: u32| section.number(key, default, any.clone());
        Ok(AlarmSettings {
            client_accounts: number("client_accounts", alarm.client_accounts)?,
            agent_accounts: number("agent_accounts", alarm.agent_accounts)?,
            fleet_accounts: number("fleet_accounts", alarm.fleet_accounts)?,
            window_minutes: number("window_minutes", alarm.window_minutes)?,
        })
    })?;
    settings.reset = section.section("reset", |section| {
        let mut number = |key: &str, default: u32| section.number(key, default, any.clone());
        Ok(ResetSettings {
            interaction_starts: number("interaction_starts", reset.interaction_starts)?,
            number_starts: number("number_starts", reset.number_starts)?,
            client_starts_per_hour: number("client_starts_per_hour", reset.client_starts_per_hour)?,
        })
    })?;
    settings.floor = section.section("floor", |section| {
        let mut number = |key: &str, default: u32| section.number(key, default, any.clone());
        Ok(Floor {
            free_failures: number("free_failures", floor.free_failures)?,
            first_lock_s: number("first_lock_s", floor.first_lock_s)?,
            longest_lock_s: number("longest_lock_s", floor.longest_lock_s)?,
            failures_to_close: number("failures_to_close", floor.failures_to_close)?,
            reopenings: number("reopenings", floor.reopenings)?,
        })
    })?;
    settings.validate().map_err(|error| section.refused(error.key, error.why.into_owned()))?;
    Ok(settings)
}

fn carrier_numbers(section: &mut Table) -> Result<BTreeSet<E164>, ConfigError> {
    let Some(field) = section.texts("carrier_numbers")? else { return Ok(BTreeSet::new()) };
    let numbers = field.value.iter().map(|number| E164::parse(number));
    numbers.collect::<Option<_>>().ok_or_else(|| field.invalid("must be E.164 numbers, each with its \"+\""))
}
