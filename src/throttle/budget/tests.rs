use proptest::prelude::*;

use super::*;

const RULE: Rule = Rule { cap: 3, span: SPAN };

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000_000 + seconds).unwrap()
}

fn is_granted(taken: Taken) -> bool {
    matches!(taken, Taken::Granted { .. })
}

#[test]
fn a_window_grants_its_cap_and_says_when_the_next_unit_is_free() {
    let mut window = Window::default();
    let day = 86_400;
    assert_eq!(window.take(1, RULE, at(0)), Taken::Granted { left: 2, frees_at: at(day) });
    assert_eq!(window.take(2, RULE, at(10)), Taken::Granted { left: 1, frees_at: at(day) });
    assert_eq!(window.take(3, RULE, at(20)), Taken::Granted { left: 0, frees_at: at(day) });
    assert_eq!(window.take(4, RULE, at(30)), Taken::Spent { frees_at: at(day) });
    assert_eq!(window.take(4, RULE, at(day - 1)), Taken::Spent { frees_at: at(day) });
    assert_eq!(window.take(4, RULE, at(day)), Taken::Granted { left: 0, frees_at: at(day + 10) });
    assert_eq!(window.take(5, RULE, at(day)), Taken::Spent { frees_at: at(day + 10) });
}

#[test]
fn taking_again_for_the_same_attempt_takes_nothing() {
    let mut window = Window::default();
    for _ in 0..5 {
        assert_eq!(window.take(1, RULE, at(0)), Taken::Granted { left: 2, frees_at: at(86_400) });
    }
}

// proves: A34
#[test]
fn a_success_gives_back_its_own_unit_and_no_other() {
    let mut window = Window::default();
    for member in 1..=3 {
        assert!(is_granted(window.take(member, RULE, at(0))));
    }
    window.give_back(9);
    window.give_back(2);
    window.give_back(2);
    assert!(is_granted(window.take(4, RULE, at(1))));
    assert!(!is_granted(window.take(5, RULE, at(1))));
}

#[test]
fn a_clock_that_goes_back_frees_nothing() {
    let mut window = Window::default();
    for member in 1..=3 {
        assert!(is_granted(window.take(member, RULE, at(100))));
    }
    assert_eq!(window.take(4, RULE, at(0)), Taken::Spent { frees_at: at(100 + 86_400) });
    window.give_back(1);
    assert!(is_granted(window.take(4, RULE, at(0))));
    // Taken at the newest time that the window has seen, not at the earlier one that it was told.
    assert_eq!(window.units().last(), Some(&(at(100), 4)));
}

#[test]
fn a_clock_that_was_far_ahead_locks_nobody_out_for_longer_than_a_window() {
    let mut window = Window::default();
    for member in 1..=3 {
        assert!(is_granted(window.take(member, RULE, at(40 * 86_400))));
    }
    assert_eq!(window.take(4, RULE, at(0)), Taken::Spent { frees_at: at(86_400) });
    assert!(is_granted(window.take(4, RULE, at(86_400))));
}

#[test]
fn a_cap_that_shrank_says_when_enough_is_free() {
    let mut window = Window::default();
    for (member, second) in [(1, 0), (2, 10), (3, 20)] {
        assert!(is_granted(window.take(member, RULE, at(second))));
    }
    let narrow = Rule { cap: 1, ..RULE };
    assert_eq!(window.take(4, narrow, at(30)), Taken::Spent { frees_at: at(20 + 86_400) });
}

/// What may happen to a window.
#[derive(Clone, Debug)]
enum Event {
    Take(u8),
    GiveBack(u8),
    Pass(u32),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (0_u8..40).prop_map(Event::Take),
        2 => (0_u8..40).prop_map(Event::GiveBack),
        2 => (0_u32..100_000).prop_map(Event::Pass),
    ];
    prop::collection::vec(event, 0..200)
}

proptest! {
    // proves: A10, A34
    #[test]
    fn no_order_of_events_leaves_more_than_the_cap_unreturned_in_any_span(events in events(), cap in 1_u32..6) {
        let rule = Rule { cap, span: SPAN };
        let mut window = Window::default();
        let mut now = at(0);
        let mut unreturned: Vec<(Timestamp, u8)> = Vec::new();
        for event in events {
            match event {
                Event::Pass(seconds) => now += SignedDuration::from_secs(i64::from(seconds)),
                Event::GiveBack(member) => {
                    window.give_back(member);
                    unreturned.retain(|(_, holder)| *holder != member);
                }
                Event::Take(member) => {
                    let held = window.units().any(|(at, holder)| *holder == member && now.duration_since(*at) < SPAN);
                    if is_granted(window.take(member, rule, now)) && !held {
                        unreturned.push((now, member));
                    }
                }
            }
            let within = unreturned.iter().filter(|(at, _)| now.duration_since(*at) < SPAN).count();
            prop_assert!(within <= cap as usize);
        }
    }

    // proves: A34
    #[test]
    fn giving_back_never_raises_a_window_above_its_start(members in prop::collection::vec(0_u8..10, 0..50)) {
        let mut window = Window::default();
        for member in members {
            let taken = window.take(member, RULE, at(0));
            window.give_back(member);
            if let Taken::Granted { left, .. } = taken {
                prop_assert!(left < RULE.cap);
            }
        }
        let fresh: Vec<bool> = (100..110).map(|member| is_granted(window.take(member, RULE, at(0)))).collect();
        prop_assert_eq!(fresh.iter().filter(|granted| **granted).count(), 3);
    }
}
