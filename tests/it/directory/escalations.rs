//! What every store must do with escalations, in an empty store of its own.

use countersign::{
    directory::escalations::{After, Permits, SettleOutcome, Settlement, UseOutcome, Wanted},
    escalation::{
        APPROVAL_LIFE, Filed, Settled,
        rules::{Claim, Sight, Step, Withheld, Worthless},
    },
};

use super::{contract::escalation, *};

/// A store under test, with the sample company in it.
pub(super) trait Store: Directory + Escalations {}

impl<T: Directory + Escalations> Store for T {}

type Sampled = Arc<dyn Store>;

/// Runs each function in an empty SQLite store of its own.
macro_rules! on_sqlite {
    ($($name:ident),+ $(,)?) => {
        mod on_sqlite {
            use super::*;
            $(
                #[tokio::test]
                async fn $name() {
                    let dir = tempfile::tempdir().unwrap();
                    let data = DataDir::own(dir.path().join("data")).unwrap();
                    let store = countersign::directory::sqlite::Store::open(&data).unwrap();
                    super::$name(Arc::new(store.clone())).await;
                    store.close();
                }
            )+
        }
    };
}

on_sqlite! {
    a_step_is_taken_once_and_is_a_change,
    what_is_withheld_changes_nothing,
    an_approval_is_used_by_one_of_many,
    an_approval_that_policy_refuses_stays,
    what_is_approved_is_found_instead_of_opened,
    an_action_rests_after_two_refusals,
    listings_come_newest_first_in_pages,
    what_a_leaver_asked_for_is_cancelled,
}

/// The same in an empty database of its own.
macro_rules! on_postgres {
    ($($name:ident),+ $(,)?) => {
        mod on_postgres {
            use super::*;
            $(
                #[tokio::test]
                async fn $name() {
                    let store = crate::postgres::Database::new().await.store().await;
                    super::$name(Arc::new(store.clone())).await;
                    store.close();
                }
            )+
        }
    };
}

on_postgres! {
    a_step_is_taken_once_and_is_a_change,
    what_is_withheld_changes_nothing,
    an_approval_is_used_by_one_of_many,
    an_approval_that_policy_refuses_stays,
    what_is_approved_is_found_instead_of_opened,
    an_action_rests_after_two_refusals,
    listings_come_newest_first_in_pages,
    what_a_leaver_asked_for_is_cancelled,
}

async fn opened(store: &dyn Store, id: &str, contact: &str) -> String {
    let new = escalation(id, contact, id);
    let outcome = store.open_escalation(new, PendingLimits::default()).await.unwrap();
    assert!(matches!(outcome, OpenOutcome::Opened(_)), "{outcome:?}");
    id.to_owned()
}

fn step(id: &str, step: Step, by: &str, at: Timestamp) -> Settlement {
    Settlement { id: id.to_owned(), step, by: ContactId::new(by), client: "portal".to_owned(), at }
}

async fn approved(store: &dyn Store, id: &str, contact: &str) -> Filed {
    opened(store, id, contact).await;
    let outcome = store.settle_escalation(step(id, Step::Approve, sample::ADA, later(1))).await.unwrap();
    let SettleOutcome::Settled(filed) = outcome else { panic!("{outcome:?}") };
    filed
}

fn claim(id: &str, contact: &str) -> Claim {
    let NewEscalation { account, action, resource, .. } = escalation(id, contact, id);
    Claim {
        id: id.to_owned(),
        account,
        contact: ContactId::new(contact),
        action,
        resource,
        client: "orders".to_owned(),
    }
}

fn everything() -> Permits {
    Permits::by(|approver| approver.contact.id.as_str() == sample::ADA)
}

fn of_acme(only_pending: bool, after: Option<After>, limit: u32) -> Wanted {
    Wanted { sight: Sight::OfAccount(AccountId::new(sample::ACME)), only_pending, after, limit }
}

fn ids(page: &[Filed]) -> Vec<&str> {
    page.iter().map(|filed| filed.id.as_str()).collect()
}

async fn a_step_is_taken_once_and_is_a_change(store: Sampled) {
    fill(&*store).await;
    let revision = store.revision().await.unwrap();
    let filed = approved(&*store, "esc-1", sample::GRACE).await;
    assert_eq!((filed.state, filed.expires), (EscalationState::Approved, later(1) + APPROVAL_LIFE));
    assert_eq!(filed.settled, Some(Settled { by: ContactId::new(sample::ADA), at: later(1) }));
    assert_eq!((filed.contact_name.as_str(), filed.put_before.as_str()), ("Grace Mbeki", sample::ADA));
    assert_eq!(store.find_escalation("esc-1", later(2)).await.unwrap(), Some(filed.clone()));
    assert_eq!(store.find_escalation("esc-none", later(2)).await.unwrap(), None);

    let again = store.settle_escalation(step("esc-1", Step::Approve, sample::ADA, later(2))).await.unwrap();
    assert_eq!(again, SettleOutcome::Withheld(Withheld::NotPending, Some(filed)));
    let log = store.changes_after(revision, 10).await.unwrap();
    let kinds: Vec<_> = log.iter().map(|row| row.kind.as_str()).collect();
    assert_eq!(kinds, ["open_escalation", "approve_escalation"]);
    assert_eq!(log[1].account, account(sample::ACME));
    assert_eq!(log[1].actor, Actor::Client("portal".to_owned()));
}

async fn what_is_withheld_changes_nothing(store: Sampled) {
    fill(&*store).await;
    opened(&*store, "esc-1", sample::GRACE).await;
    let revision = store.revision().await.unwrap();
    for (settlement, wanted) in [
        (step("esc-1", Step::Approve, sample::BEN, later(1)), Withheld::NotFound),
        (step("esc-1", Step::Approve, sample::KARL, later(1)), Withheld::NotFound),
        (step("esc-1", Step::Approve, "con-none", later(1)), Withheld::NotFound),
        (step("esc-none", Step::Approve, sample::ADA, later(1)), Withheld::NotFound),
        (step("esc-1", Step::Approve, sample::GRACE, later(1)), Withheld::NotPermitted),
        (step("esc-1", Step::Cancel, sample::ADA, later(1)), Withheld::NotPermitted),
        (step("esc-1", Step::Approve, sample::ADA, later(72)), Withheld::NotPending),
    ] {
        let outcome = store.settle_escalation(settlement.clone()).await.unwrap();
        assert!(matches!(outcome, SettleOutcome::Withheld(withheld, _) if withheld == wanted), "{settlement:?}");
    }
    assert_eq!(store.revision().await.unwrap(), revision);
}

async fn an_approval_is_used_by_one_of_many(store: Sampled) {
    fill(&*store).await;
    approved(&*store, "esc-1", sample::GRACE).await;
    let mut users = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let store = Arc::clone(&store);
        users.spawn(async move {
            store.use_escalation(claim("esc-1", sample::GRACE), everything(), later(2)).await.unwrap()
        });
    }
    let (mut used, mut late) = (0, 0);
    for outcome in users.join_all().await {
        match outcome {
            UseOutcome::Used(approver) => {
                assert_eq!(approver.contact.id.as_str(), sample::ADA);
                used += 1;
            }
            UseOutcome::Worthless(Worthless::Used) => late += 1,
            other @ UseOutcome::Worthless(..) => panic!("{other:?}"),
        }
    }
    assert_eq!((used, late), (1, 19));
    let filed = store.find_escalation("esc-1", later(3)).await.unwrap().unwrap();
    assert_eq!((filed.state, filed.used), (EscalationState::Used, Some(later(2))));
}

async fn an_approval_that_policy_refuses_stays(store: Sampled) {
    fill(&*store).await;
    approved(&*store, "esc-1", sample::GRACE).await;
    let revision = store.revision().await.unwrap();
    let use_it = async |claim: Claim, permits| store.use_escalation(claim, permits, later(2)).await.unwrap();
    let refused = use_it(claim("esc-1", sample::GRACE), Permits::by(|_| false)).await;
    assert!(matches!(refused, UseOutcome::Worthless(Worthless::ApproverRefused)));
    let of_another = Claim { contact: ContactId::new(sample::BEN), ..claim("esc-1", sample::GRACE) };
    assert!(matches!(use_it(of_another, everything()).await, UseOutcome::Worthless(Worthless::OtherMatter)));
    let unknown = Claim { id: "esc-none".to_owned(), ..claim("esc-1", sample::GRACE) };
    assert_eq!(use_it(unknown, everything()).await, UseOutcome::Worthless(Worthless::Unknown));
    assert_eq!(store.revision().await.unwrap(), revision);
    assert!(matches!(use_it(claim("esc-1", sample::GRACE), everything()).await, UseOutcome::Used(_)));
}

async fn what_is_approved_is_found_instead_of_opened(store: Sampled) {
    fill(&*store).await;
    let filed = approved(&*store, "esc-1", sample::GRACE).await;
    let again = NewEscalation { id: "esc-2".into(), opened: later(2), ..escalation("esc-2", sample::GRACE, "esc-1") };
    let outcome = store.open_escalation(again.clone(), PendingLimits::default()).await.unwrap();
    assert_eq!(outcome, OpenOutcome::Pending(filed.brief()));
    let used = store.use_escalation(claim("esc-1", sample::GRACE), everything(), later(2)).await.unwrap();
    assert!(matches!(used, UseOutcome::Used(_)));
    let outcome = store.open_escalation(again, PendingLimits::default()).await.unwrap();
    assert!(matches!(outcome, OpenOutcome::Opened(_)), "what is used is asked for anew");
}

async fn an_action_rests_after_two_refusals(store: Sampled) {
    fill(&*store).await;
    for id in ["esc-1", "esc-2"] {
        opened(&*store, id, sample::GRACE).await;
        let refused = store.settle_escalation(step(id, Step::Refuse, sample::ADA, later(1))).await.unwrap();
        assert!(matches!(refused, SettleOutcome::Settled(_)));
    }
    let open = async |id: &str, contact: &str, action: &str, at| {
        let new = NewEscalation { action: action.into(), opened: at, ..escalation(id, contact, id) };
        store.open_escalation(new, PendingLimits::default()).await.unwrap()
    };
    assert_eq!(open("esc-3", sample::GRACE, "order.place", later(24)).await, OpenOutcome::RefusedTwice);
    assert!(matches!(open("esc-4", sample::GRACE, "order.change", later(24)).await, OpenOutcome::Opened(_)));
    assert!(matches!(open("esc-5", sample::JUNE, "order.place", later(24)).await, OpenOutcome::Opened(_)));
    assert!(matches!(open("esc-6", sample::GRACE, "order.place", later(25)).await, OpenOutcome::Opened(_)));
}

async fn listings_come_newest_first_in_pages(store: Sampled) {
    fill(&*store).await;
    for (id, contact, hours) in [("esc-1", sample::GRACE, 0), ("esc-2", sample::JUNE, 1), ("esc-3", sample::GRACE, 1)] {
        let at = later(hours);
        let new =
            NewEscalation { opened: at, expires: at + SignedDuration::from_hours(72), ..escalation(id, contact, id) };
        assert!(matches!(store.open_escalation(new, PendingLimits::default()).await.unwrap(), OpenOutcome::Opened(_)));
    }
    let page = store.list_escalations(&of_acme(false, None, 2), later(2)).await.unwrap();
    assert_eq!(ids(&page), ["esc-3", "esc-2"]);
    let after = page.last().map(|last| After { opened: last.opened, id: last.id.clone() });
    let page = store.list_escalations(&of_acme(false, after, 2), later(2)).await.unwrap();
    assert_eq!(ids(&page), ["esc-1"]);

    let refused = store.settle_escalation(step("esc-2", Step::Refuse, sample::ADA, later(2))).await.unwrap();
    assert!(matches!(refused, SettleOutcome::Settled(_)));
    let pending = store.list_escalations(&of_acme(true, None, 10), later(72)).await.unwrap();
    assert_eq!(ids(&pending), ["esc-3"], "neither what is refused nor what expired");
    let grace = Sight::Own(AccountId::new(sample::ACME), ContactId::new(sample::GRACE));
    let own = store.list_escalations(&Wanted { sight: grace, ..of_acme(false, None, 10) }, later(72)).await.unwrap();
    assert_eq!(ids(&own), ["esc-3", "esc-1"]);
    assert_eq!(own[1].state, EscalationState::Expired);
    let borealis = Wanted { sight: Sight::OfAccount(AccountId::new(sample::BOREALIS)), ..of_acme(false, None, 10) };
    assert_eq!(store.list_escalations(&borealis, later(2)).await.unwrap(), []);
}

async fn what_a_leaver_asked_for_is_cancelled(store: Sampled) {
    fill(&*store).await;
    let (waiting, good) =
        (opened(&*store, "esc-1", sample::GRACE).await, approved(&*store, "esc-2", sample::GRACE).await);
    let other = opened(&*store, "esc-3", sample::JUNE).await;
    let grace = load(&*store, sample::GRACE).await.contact;
    apply(&*store, Change::PutContact(Contact { status: ContactStatus::Inactive, ..grace })).await.unwrap();
    for (id, state) in [
        (waiting, EscalationState::Cancelled),
        (good.id, EscalationState::Cancelled),
        (other, EscalationState::Pending),
    ] {
        assert_eq!(store.find_escalation(&id, later(2)).await.unwrap().unwrap().state, state, "{id}");
    }
}
