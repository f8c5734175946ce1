//! When an answer to a passphrase leaves: at instants that do not tell what was done in between (A12). Pure.

use std::time::Duration;

/// After the floor, answers leave at multiples of this from the arrival.
pub const STEP: Duration = Duration::from_millis(50);

/// The instant, as uptime, at which the answer to a call that arrived at `arrival` and was ready at `ready` leaves: at
/// the floor after its arrival, or, if it was ready later, at the next multiple of `step` after its arrival.
///
/// A `step` of zero releases late answers at once.
#[must_use]
pub fn release_at(arrival: Duration, ready: Duration, floor: Duration, step: Duration) -> Duration {
    let taken = ready.saturating_sub(arrival);
    if taken <= floor {
        return arrival + floor;
    }
    let step = step.as_nanos();
    if step == 0 {
        return ready;
    }
    let whole = taken.as_nanos().div_ceil(step) * step;
    arrival + Duration::from_nanos(u64::try_from(whole).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FLOOR: Duration = Duration::from_millis(250);

    // proves: A12
    #[test]
    fn an_answer_leaves_at_the_floor_or_at_the_next_step() {
        let table = [(0, 250), (14, 250), (249, 250), (250, 250), (251, 300), (300, 300), (301, 350), (1000, 1000)];
        let arrival = Duration::from_millis(7);
        for (taken, leaves) in table {
            let ready = arrival + Duration::from_millis(taken);
            assert_eq!(
                release_at(arrival, ready, FLOOR, STEP),
                arrival + Duration::from_millis(leaves),
                "ready after {taken} ms"
            );
        }
    }

    #[test]
    fn a_clock_that_says_ready_before_arrival_waits_for_the_floor() {
        let arrival = Duration::from_secs(9);
        assert_eq!(release_at(arrival, Duration::from_secs(1), FLOOR, STEP), arrival + FLOOR);
    }

    #[test]
    fn a_step_of_zero_releases_late_answers_at_once() {
        let ready = Duration::from_millis(777);
        assert_eq!(release_at(Duration::ZERO, ready, FLOOR, Duration::ZERO), ready);
    }

    proptest! {
        #[test]
        fn no_answer_leaves_before_it_is_ready_nor_a_step_later(arrival in 0_u64..10_000_000, taken in 0_u64..5_000_000) {
            let arrival = Duration::from_micros(arrival);
            let ready = arrival + Duration::from_micros(taken);
            let leaves = release_at(arrival, ready, FLOOR, STEP);
            prop_assert!(leaves >= ready && leaves >= arrival + FLOOR);
            prop_assert!(leaves == arrival + FLOOR || leaves < ready + STEP);
        }
    }
}
