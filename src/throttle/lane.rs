//! The lanes: whether a call comes from where this contact is known to call from. Lanes choose budgets, never policy,
//! and add no assurance (A19). Pure.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::{Line, Settings};
use crate::{
    directory::{E164, NumberOfRecord},
    interaction::Attestation,
};

/// Which counters an attempt goes by, at the account and at the credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Shared by everybody who is not familiar.
    Unfamiliar,
    /// From a number from which this contact calls. Keyed by the line, so that a spoofed number burns its own counters
    /// and no others.
    Familiar(Line),
}

impl Lane {
    /// Stable code, for the audit. Never told to a caller.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Unfamiliar => "unfamiliar",
            Self::Familiar(_) => "familiar",
        }
    }
}

/// What the choice of a lane rests on.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The calling number.
    pub calling_number: &'a E164,
    /// Its attestation, from a client that may assert one.
    pub attestation: Option<Attestation>,
    /// Both, as a digest.
    pub line: Line,
    /// The numbers of record of the selected account.
    pub numbers_of_record: &'a [NumberOfRecord],
    /// Whether the selected contact was verified on this line within `familiar_after_proof_days`.
    pub verified_before: bool,
}

/// Chooses the lane.
pub(super) fn choose(facts: &Facts<'_>, settings: &Settings, now: Timestamp) -> Lane {
    let vouched = facts.attestation == Some(Attestation::A);
    if facts.verified_before || (vouched && is_settled_number(facts, settings, now)) {
        Lane::Familiar(facts.line)
    } else {
        Lane::Unfamiliar
    }
}

/// Whether the number has been on record for long enough: whoever takes over a portal can add one (A17).
fn is_settled_number(facts: &Facts<'_>, settings: &Settings, now: Timestamp) -> bool {
    let age = SignedDuration::from_hours(24 * i64::from(settings.familiar_record_days));
    let latest = now.saturating_sub(age).unwrap_or(Timestamp::MIN).to_zoned_datetime(TimeZone::UTC).date();
    facts.numbers_of_record.iter().any(|known| known.number == *facts.calling_number && known.added <= latest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::throttle::DigestKey;

    fn now() -> Timestamp {
        "2026-11-24T09:00:00Z".parse().unwrap()
    }

    fn lane_is_familiar(
        attestation: Option<Attestation>,
        added: &str,
        calls_from: &str,
        verified_before: bool,
    ) -> bool {
        let number = E164::parse(calls_from).unwrap();
        let record = [NumberOfRecord { number: E164::parse("+14085550100").unwrap(), added: added.parse().unwrap() }];
        let line = DigestKey::new(zeroize::Zeroizing::new([1; 32])).line(&number, attestation);
        let facts = Facts { calling_number: &number, attestation, line, numbers_of_record: &record, verified_before };
        match choose(&facts, &Settings::default(), now()) {
            Lane::Familiar(chosen) => {
                assert_eq!(chosen, line);
                true
            }
            Lane::Unfamiliar => false,
        }
    }

    // proves: A11, A17, A19
    #[test]
    fn familiar_is_a_vouched_number_of_record_of_thirty_days_or_a_line_verified_before() {
        use Attestation::{A, B, C};
        let table = [
            (Some(A), "2026-10-25", "+14085550100", false, true),
            (Some(A), "2026-10-26", "+14085550100", false, false),
            (Some(A), "2026-10-25", "+14085550199", false, false),
            (Some(B), "2026-10-25", "+14085550100", false, false),
            (Some(C), "2026-10-25", "+14085550100", false, false),
            (None, "2026-10-25", "+14085550100", false, false),
            (None, "2026-10-25", "+14085550199", true, true),
            (Some(B), "2026-10-26", "+14085550100", true, true),
        ];
        for (attestation, added, number, verified_before, familiar) in table {
            assert_eq!(
                lane_is_familiar(attestation, added, number, verified_before),
                familiar,
                "{attestation:?} {added} {number} {verified_before}"
            );
        }
    }
}
