//! From what is known of a call to the attempt that charges for it: normalised ids become keys, here and nowhere else.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{
    Aim, Attempt, AttemptId, Charged, DigestKey, Key, Lane, Line, Overflow, Settings, Source, Spread,
    lane::{self, Facts},
    reset::ResetSource,
};
use crate::{
    directory::{AccountSelector, CurrentGeneration, E164, NumberOfRecord, select::folded},
    interaction::Attestation,
};

/// The settings, and the key under which ids become counters.
pub struct Rules {
    digest: DigestKey,
    settings: Settings,
    generation: Arc<CurrentGeneration>,
}

impl Rules {
    /// Rules of these settings.
    #[must_use]
    pub fn new(digest: DigestKey, settings: Settings) -> Self {
        Self { digest, settings, generation: Arc::default() }
    }

    /// The same, for the generation in which the directory is.
    #[must_use]
    pub fn in_generation(self, generation: Arc<CurrentGeneration>) -> Self {
        Self { generation, ..self }
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The line of a call: `None` when the number is withheld, malformed or a carrier's. Such a call has no budget of a
    /// number, shares none, and is never familiar.
    #[must_use]
    pub fn line(&self, number: Option<&E164>, attestation: Option<Attestation>) -> Option<Line> {
        let number = number.filter(|number| !self.settings.carrier_numbers.contains(*number))?;
        Some(self.digest.line(number, attestation))
    }

    /// The oldest proof that still makes its line familiar.
    #[must_use]
    pub fn familiar_since(&self, now: Timestamp) -> Timestamp {
        let days = i64::from(self.settings.familiar_after_proof_days);
        now.saturating_sub(SignedDuration::from_hours(24 * days)).unwrap_or(Timestamp::MIN)
    }

    /// The lane of a call. `verified_before`: the selected contact was verified on this very line since
    /// [`Rules::familiar_since`]. Nobody has no numbers of record and was never verified.
    #[must_use]
    pub fn lane(
        &self,
        source: &Source<'_>,
        numbers_of_record: &[NumberOfRecord],
        verified_before: bool,
        now: Timestamp,
    ) -> Lane {
        let Source { calling_number, attestation, .. } = *source;
        match (calling_number, self.line(calling_number, attestation)) {
            (Some(calling_number), Some(line)) => {
                let facts = Facts { calling_number, attestation, line, numbers_of_record, verified_before };
                lane::choose(&facts, &self.settings, now)
            }
            _ => Lane::Unfamiliar,
        }
    }

    /// The attempt, with every counter that it charges.
    #[must_use]
    pub fn attempt(&self, id: AttemptId, source: &Source<'_>, aim: &Aim<'_>, lane: Lane, now: Timestamp) -> Attempt {
        let Source { client, group, interaction, agent, .. } = *source;
        let (client, group) = (client.as_bytes(), group.as_bytes());
        let interaction = self.digest.digest("interaction", &[group, interaction.as_bytes()]);
        let line = self.line(source.calling_number, source.attestation);
        let number = line.map(|line| self.digest.digest("number", &[line.as_bytes()]));
        let said = self.said(aim.said);
        let (account, account_cap) = self.account(aim.charged, lane, said);
        Attempt {
            id,
            now,
            generation: self.generation.get(),
            lane,
            interaction,
            number,
            overflow: Overflow {
                interaction: self.shared("overflow interaction", client, interaction),
                number: self.shared("overflow number", client, number.unwrap_or(interaction)),
            },
            account,
            account_cap,
            is_nobody: matches!(aim.charged, Charged::Nobody),
            spread: Spread {
                client: self.digest.digest("client", &[client]),
                agent: agent.map(|agent| self.digest.digest("agent", &[group, agent.as_bytes()])),
                fleet: self.digest.digest("fleet", &[]),
                said,
            },
        }
    }

    /// The counters of a reset that is asked for from here.
    #[must_use]
    pub fn reset_source(&self, source: &Source<'_>, lane: Lane) -> ResetSource {
        let (group, interaction) = (source.group.as_bytes(), source.interaction.as_bytes());
        let line = self.line(source.calling_number, source.attestation);
        ResetSource {
            interaction: self.digest.digest("reset interaction", &[group, interaction]),
            line: line.map(|line| self.digest.digest("reset number", &[line.as_bytes()])),
            client: self.digest.digest("reset client", &[source.client.as_bytes()]),
            is_familiar: matches!(lane, Lane::Familiar(_)),
        }
    }

    fn account(&self, charged: Charged<'_>, lane: Lane, said: Key) -> (Key, u32) {
        match (charged, lane) {
            (Charged::Nobody, _) => {
                (self.digest.digest("nobody", &[&[said.dummy()]]), self.settings.account_failures_at_least)
            }
            (Charged::Account { id, contacts_with_passphrase }, Lane::Unfamiliar) => {
                let key = self.digest.digest("account", &[id.as_str().as_bytes()]);
                (key, self.settings.account_cap(contacts_with_passphrase))
            }
            (Charged::Account { id, contacts_with_passphrase }, Lane::Familiar(line)) => {
                let key = self.digest.digest("familiar account", &[id.as_str().as_bytes(), line.as_bytes()]);
                (key, self.settings.account_cap(contacts_with_passphrase))
            }
        }
    }

    /// The account as it was said, in the form in which the directory compares it.
    fn said(&self, account: &AccountSelector) -> Key {
        let (kind, text) = match account {
            AccountSelector::Id(id) => ("id", id.as_str().to_owned()),
            AccountSelector::NumberOfRecord(number) => ("number", number.as_str().to_owned()),
            AccountSelector::Name(name) => ("name", folded(name)),
            AccountSelector::Nothing => ("nothing", String::new()),
        };
        self.digest.digest("said", &[kind.as_bytes(), text.as_bytes()])
    }

    /// Which of the client's shared counters stands in for a new one.
    fn shared(&self, kind: &str, client: &[u8], own: Key) -> Key {
        self.digest.digest(kind, &[client, &[own.dummy() % OVERFLOW_SHARES]])
    }
}

/// How many counters of each kind a client's overflow has.
const OVERFLOW_SHARES: u8 = 64;

#[cfg(test)]
mod tests;
