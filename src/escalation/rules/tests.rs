use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::directory::{Account, CpniExemption, Enrolment, Revision};

const LATER: SignedDuration = SignedDuration::from_hours(1);

fn opened() -> Timestamp {
    "2026-11-25T09:00:00Z".parse().unwrap()
}

fn account(primary_admin: &str) -> Account {
    Account {
        id: AccountId::new("acc"),
        name: "Acme".to_owned(),
        created: "2020-01-01T00:00:00Z".parse().unwrap(),
        primary_admin: Some(ContactId::new(primary_admin)),
        numbers_of_record: Vec::new(),
        addresses_of_record: Vec::new(),
        sites: Vec::new(),
        number_moves_locked: false,
        cpni_exemption: CpniExemption::default(),
        marketing_approved: None,
        closed: None,
    }
}

fn contact(id: &str) -> Contact {
    Contact {
        id: ContactId::new(id),
        account: AccountId::new("acc"),
        first_name: id.to_owned(),
        last_name: "Person".to_owned(),
        email: None,
        extension: None,
        user_id: None,
        status: ContactStatus::Active,
        created: opened(),
    }
}

/// A contact of an account whose primary administrator is `primary_admin`.
fn standing(id: &str, primary_admin: &str) -> Standing {
    Standing {
        account: account(primary_admin),
        contact: contact(id),
        assignments: Vec::new(),
        enrolment: Enrolment::default(),
        revision: Revision(1),
    }
}

fn gone(id: &str) -> Contact {
    Contact { status: ContactStatus::Inactive, ..contact(id) }
}

fn filed(state: EscalationState) -> Filed {
    let settled = match state {
        EscalationState::Pending | EscalationState::Expired => None,
        EscalationState::Cancelled => Some("grace"),
        EscalationState::Approved | EscalationState::Refused | EscalationState::Used => Some("ada"),
    };
    Filed {
        id: "esc".to_owned(),
        account: AccountId::new("acc"),
        contact: ContactId::new("grace"),
        contact_name: "Grace Person".to_owned(),
        put_before: ContactId::new("ada"),
        action: "order.place".to_owned(),
        resource: "an order".to_owned(),
        client: "portal".to_owned(),
        state,
        opened: opened(),
        expires: opened() + SignedDuration::from_hours(72),
        settled: settled.map(|by| Settled { by: ContactId::new(by), at: opened() + LATER }),
        used: None,
    }
}

/// Every step by everybody upon every state.
// proves: S8
#[test]
fn the_current_primary_admin_settles_what_another_asked_and_whoever_asked_takes_it_back() {
    let now = opened() + LATER;
    for state in EscalationState::ALL {
        let filed = filed(state);
        let take = |step, by: &Standing| settle(step, &filed, by, Some(&contact("grace")), now).map(|new| new.state);
        for step in [Step::Approve, Step::Refuse, Step::Cancel] {
            assert_eq!(take(step, &standing("ben", "ada")), Err(Withheld::NotFound), "{step:?} by another contact");
            let elsewhere = Standing {
                account: Account { id: AccountId::new("far"), ..account("karl") },
                ..standing("karl", "karl")
            };
            assert_eq!(take(step, &elsewhere), Err(Withheld::NotFound), "{step:?} by another account's admin");
            let former = standing("ada", "ben");
            assert_eq!(take(step, &former), Err(Withheld::NotFound), "{step:?} by the former admin");
            let left = Standing { contact: gone("ada"), ..standing("ada", "ada") };
            assert_eq!(take(step, &left), Err(Withheld::NotFound), "{step:?} by one who left");
        }
        for step in [Step::Approve, Step::Refuse] {
            for requester in [standing("grace", "ada"), standing("grace", "grace")] {
                assert_eq!(take(step, &requester), Err(Withheld::NotPermitted), "{step:?} of one's own request");
            }
            let is_open = state == EscalationState::Pending;
            let wanted = if is_open { Ok(step.leads_to()) } else { Err(Withheld::NotPending) };
            assert_eq!(take(step, &standing("ada", "ada")), wanted, "{step:?} of {state:?}");
        }
        assert_eq!(take(Step::Cancel, &standing("ada", "ada")), Err(Withheld::NotPermitted), "an admin refuses");
        let is_open = matches!(state, EscalationState::Pending | EscalationState::Approved);
        let wanted = if is_open { Ok(EscalationState::Cancelled) } else { Err(Withheld::NotPending) };
        assert_eq!(take(Step::Cancel, &standing("grace", "ada")), wanted, "cancels {state:?}");
    }
}

#[test]
fn nothing_is_approved_for_one_who_left_or_after_its_time() {
    let (ada, pending) = (standing("ada", "ada"), filed(EscalationState::Pending));
    for requester in [Some(gone("grace")), None] {
        let approved = settle(Step::Approve, &pending, &ada, requester.as_ref(), opened() + LATER);
        assert_eq!(approved, Err(Withheld::NotPending));
    }
    for (at, waits) in [(pending.expires - SignedDuration::from_nanos(1), true), (pending.expires, false)] {
        let refused = settle(Step::Refuse, &pending, &ada, Some(&contact("grace")), at);
        assert_eq!(refused.is_ok(), waits, "{at}");
    }
}

#[test]
fn an_approval_is_good_for_a_day_from_then() {
    let now = opened() + SignedDuration::from_hours(71);
    let approved =
        settle(Step::Approve, &filed(EscalationState::Pending), &standing("ada", "ada"), Some(&contact("grace")), now);
    let approved = approved.unwrap();
    assert_eq!(approved.expires, now + APPROVAL_LIFE);
    assert_eq!(approved.clone().at(approved.expires).state, EscalationState::Expired);
}

fn claimed() -> Claim {
    Claim {
        id: "esc".to_owned(),
        account: AccountId::new("acc"),
        contact: ContactId::new("grace"),
        action: "order.place".to_owned(),
        resource: "an order".to_owned(),
        client: "orders".to_owned(),
    }
}

// proves: S8
#[test]
fn an_approval_counts_for_its_matter_alone_while_its_approver_is_the_primary_admin() {
    let now = opened() + LATER;
    let (ada, grace) = (standing("ada", "ada"), contact("grace"));
    let approved = filed(EscalationState::Approved);
    assert!(claim(&claimed(), &approved, Some(&ada), Some(&grace), now).is_ok());

    for other in [
        Claim { account: AccountId::new("far"), ..claimed() },
        Claim { contact: ContactId::new("ben"), ..claimed() },
        Claim { action: "order.cancel".to_owned(), ..claimed() },
        Claim { resource: "a larger order".to_owned(), ..claimed() },
    ] {
        assert_eq!(claim(&other, &approved, Some(&ada), Some(&grace), now), Err(Worthless::OtherMatter), "{other:?}");
    }
    for (state, worthless) in [
        (EscalationState::Pending, Worthless::Pending),
        (EscalationState::Refused, Worthless::Refused),
        (EscalationState::Expired, Worthless::Expired),
        (EscalationState::Cancelled, Worthless::Cancelled),
        (EscalationState::Used, Worthless::Used),
    ] {
        assert_eq!(claim(&claimed(), &filed(state), Some(&ada), Some(&grace), now), Err(worthless));
    }
    assert_eq!(claim(&claimed(), &approved, Some(&ada), Some(&grace), approved.expires), Err(Worthless::Expired));
    assert_eq!(claim(&claimed(), &approved, Some(&ada), Some(&gone("grace")), now), Err(Worthless::RequesterGone));
    for approver in [
        standing("ada", "ben"),
        standing("ben", "ben"),
        Standing { contact: gone("ada"), ..standing("ada", "ada") },
        Standing { account: Account { id: AccountId::new("far"), ..account("ada") }, ..standing("ada", "ada") },
    ] {
        let worthless = claim(&claimed(), &approved, Some(&approver), Some(&grace), now);
        assert_eq!(worthless, Err(Worthless::ApproverGone), "{approver:?}");
    }
}

#[test]
fn an_action_rests_for_a_day_after_two_refusals_in_a_row() {
    use EscalationState::{Approved, Refused, Used};
    let now = opened();
    let ago = |hours| now - SignedDuration::from_hours(hours);
    for (decided, wanted) in [
        (vec![], false),
        (vec![(Refused, ago(1))], false),
        (vec![(Refused, ago(1)), (Refused, ago(100))], true),
        (vec![(Refused, ago(23)), (Refused, ago(24))], true),
        (vec![(Refused, ago(24)), (Refused, ago(25))], false),
        (vec![(Refused, ago(1)), (Used, ago(2))], false),
        (vec![(Approved, ago(1)), (Refused, ago(2))], false),
    ] {
        assert_eq!(rests(&decided, now), wanted, "{decided:?}");
    }
}
