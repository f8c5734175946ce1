use super::*;

fn account(id: &str) -> AccountId {
    AccountId::new(id)
}

fn key(id: &str) -> InteractionKey {
    InteractionKey { group: "voice".into(), id: id.into() }
}

fn touched(revision: u64, id: &str) -> Touched {
    Touched { revision: Revision(revision), account: Some(account(id)), interaction: None }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_change_outdates_what_was_loaded_before_it_and_nothing_else() {
    let tail = Tail::new(Writers::Ourselves);
    let ended = Touched { revision: Revision(8), account: None, interaction: Some(key("call-1")) };
    tail.note(&[touched(7, "a"), ended, touched(5, "a")], SECOND);
    assert!(tail.account_changed_after(&account("a"), Revision(6)));
    assert!(!tail.account_changed_after(&account("a"), Revision(7)));
    assert!(!tail.account_changed_after(&account("b"), Revision(1)));
    assert!(tail.interaction_ended_after(&key("call-1"), Revision(7)));
    assert!(!tail.interaction_ended_after(&key("call-2"), Revision(1)));
    assert_eq!(tail.newest(), Revision(8));
}

#[test]
fn a_change_of_nobody_in_particular_outdates_everything() {
    let tail = Tail::new(Writers::Others);
    tail.note(&[Touched { revision: Revision(9), account: None, interaction: None }], SECOND);
    assert!(tail.account_changed_after(&account("a"), Revision(8)));
    assert!(!tail.account_changed_after(&account("a"), Revision(9)));
}

#[test]
fn where_others_write_an_own_change_hides_none_of_theirs() {
    let tail = Tail::new(Writers::Others);
    tail.note(&[touched(9, "a")], SECOND);
    assert_eq!(tail.newest(), Revision(0), "the log is read on from there");
    assert!(tail.account_changed_after(&account("a"), Revision(8)));
}

#[test]
fn a_change_is_remembered_for_as_long_as_an_entry_may_live() {
    let tail = Tail::new(Writers::Ourselves);
    tail.note(&[touched(7, "a")], SECOND);
    tail.note(&[touched(8, "b")], SECOND + HARD_TTL);
    assert!(tail.account_changed_after(&account("a"), Revision(6)));
    tail.note(&[touched(9, "c")], 2 * SECOND + 2 * HARD_TTL + SWEEP_EVERY);
    assert!(!tail.account_changed_after(&account("a"), Revision(6)), "by now no such entry lives");
}

#[test]
fn more_changes_than_are_kept_outdate_everything_that_was_loaded_before() {
    let tail = Tail::new(Writers::Ourselves);
    let most = u64::try_from(MOST_KEPT).unwrap();
    let many: Vec<_> = (1..=most + 1).map(|revision| touched(revision, &revision.to_string())).collect();
    tail.note(&many, SECOND);
    assert!(tail.account_changed_after(&account("untouched"), Revision(most)));
    assert!(!tail.account_changed_after(&account("untouched"), Revision(most + 1)));
    assert!(tail.lock().accounts.len() < 10);
}

#[test]
fn a_tail_that_was_never_read_is_as_old_as_can_be() {
    for writers in [Writers::Ourselves, Writers::Others] {
        assert_eq!(Tail::new(writers).lag(SECOND), Duration::MAX);
    }
}
