//! Who tries to decide for himself, for another, too late, twice, or something else than was approved.

use super::*;

// proves: S8, S10, A25
#[tokio::test]
async fn nobody_approves_his_own_request_not_even_after_he_became_the_primary_administrator() {
    let sidecar = Sidecar::start().await;
    let escalation = escalated(&sidecar, "o-1").await;
    let grace = Desk::of_acme(&sidecar, sample::GRACE);
    assert_eq!(grace.approve(&escalation).await, (Answer::NotPermitted, None));
    assert_eq!(grace.refuse(&escalation).await, (Answer::NotPermitted, None));
    sidecar.change(vec![primary_admin(sample::GRACE)]).await;
    assert_eq!(grace.approve(&escalation).await, (Answer::NotPermitted, None));
    assert_eq!(grace.get(&escalation).await.unwrap().1.unwrap().state(), State::Pending);
}

// proves: S8, S14, A16
#[tokio::test]
async fn a_former_or_foreign_administrator_approves_nothing_and_is_told_nothing() {
    let sidecar = Sidecar::start().await;
    let escalation = escalated(&sidecar, "o-1").await;
    let karl = Desk::of(&sidecar, sample::BOREALIS, sample::KARL);
    let ben = Desk::of_acme(&sidecar, sample::BEN);
    for desk in [&karl, &ben] {
        assert_eq!(desk.approve(&escalation).await, (Answer::NotFound, None));
        assert_eq!(desk.refuse(&escalation).await, (Answer::NotFound, None));
        assert_eq!(desk.get(&escalation).await.unwrap(), (Answer::NotFound, None));
    }
    sidecar.change(vec![primary_admin(sample::BEN)]).await;
    let ada = Desk::of_acme(&sidecar, sample::ADA);
    assert_eq!(ada.approve(&escalation).await, (Answer::NotFound, None));
    assert_eq!(ada.list(EscalationFilter::All).await, (Answer::Done, Vec::new()));
    assert_eq!(ben.list(EscalationFilter::Pending).await.1.len(), 1, "whoever is it now sees what waits");
}

// proves: S8, S14
#[tokio::test]
async fn an_approval_dies_with_the_office_and_with_the_power_of_whoever_gave_it() {
    let sidecar = Sidecar::start().await;
    let portal = sidecar.client("portal");
    let escalation = approved(&sidecar, "o-1").await;
    let question = || with_approval(order(Portal, "o-1").by(sample::GRACE).logged_in(), &escalation);

    sidecar.change(vec![primary_admin(sample::BEN)]).await;
    let answer = portal.authorize(question()).await.unwrap();
    assert_eq!(decided(&answer), (Decision::Deny, Reason::NotPermitted));
    assert_eq!(cause(&sidecar, &answer), "approver_gone");

    let (contact, role) = (ContactId::new(sample::ADA), RoleName::new("super_admin"));
    sidecar.change(vec![primary_admin(sample::ADA), Change::RevokeRole { contact, role, scope: Scope::Company }]).await;
    let answer = portal.authorize(question()).await.unwrap();
    assert_eq!(decided(&answer), (Decision::Deny, Reason::NotPermitted));
    assert_eq!(cause(&sidecar, &answer), "approver_refused");
    let (_, detail) = Desk::of_acme(&sidecar, sample::GRACE).get(&escalation).await.unwrap();
    assert_eq!(detail.unwrap().state(), State::Approved, "and none of that uses it up");
}

/// A portal that was left open, or whose login somebody replays.
// proves: S8, F7
#[tokio::test]
async fn approving_takes_a_login_of_the_last_ten_minutes() {
    let (sidecar, clock) = Sidecar::start_still("").await;
    let now = wall_time(&clock);
    let question = order(Portal, "o-1").by(sample::GRACE).logged_in_at(now);
    let escalation = sidecar.client("portal").authorize(question).await.unwrap().escalation.unwrap().id;
    let at = |time| Desk::of_acme(&sidecar, sample::ADA).logged_in_at(time);
    let just_too_old = at(now - 10 * MINUTE - Duration::from_secs(1));
    assert_eq!(just_too_old.approve(&escalation).await, (Answer::FreshLoginRequired, None));
    assert_eq!(just_too_old.refuse(&escalation).await, (Answer::FreshLoginRequired, None));
    assert_eq!(just_too_old.list(EscalationFilter::All).await.1.len(), 1, "which is enough to look");
    for unproved in [now - 13 * HOUR, now + 5 * MINUTE] {
        assert_eq!(at(unproved).approve(&escalation).await, (Answer::NotVerified, None));
        assert_eq!(at(unproved).get(&escalation).await.unwrap(), (Answer::NotVerified, None));
    }
    assert_eq!(at(now - 10 * MINUTE + Duration::from_secs(1)).approve(&escalation).await.0, Answer::Done);
}

/// Whatever is true of account, contact and escalation: who is not verified gets the same bytes.
// proves: A12, A28
#[tokio::test]
async fn who_is_not_verified_learns_nothing_of_account_contact_or_escalation() {
    let sidecar = Sidecar::start().await;
    let escalation = escalated(&sidecar, "o-1").await;
    let old = SystemTime::now() - 13 * HOUR;
    let unproved = [
        Desk::of_acme(&sidecar, sample::ADA).logged_in_at(old),
        Desk::of_acme(&sidecar, sample::IVAN),
        Desk::of_acme(&sidecar, "con-none"),
        Desk::of(&sidecar, "acc-none", sample::ADA),
        Desk::of(&sidecar, sample::BOREALIS, sample::ADA),
    ];
    for desk in unproved {
        for id in [escalation.as_str(), "esc-none"] {
            assert_eq!(desk.get(id).await.unwrap(), (Answer::NotVerified, None));
            assert_eq!(desk.approve(id).await, (Answer::NotVerified, None));
            assert_eq!(desk.cancel(id).await, (Answer::NotVerified, None));
        }
        assert_eq!(desk.list(EscalationFilter::All).await, (Answer::NotVerified, Vec::new()));
    }
}

// proves: A24, F7
#[tokio::test]
async fn only_a_portal_that_may_asserts_a_login_and_no_agent_stands_in_between() {
    let sidecar = Sidecar::start().await;
    let escalation = escalated(&sidecar, "o-1").await;
    let ada = Desk::of_acme(&sidecar, sample::ADA);
    for client in ["ivr", "desktop", "orders", "mailroom"] {
        let refused = ada.clone().through(sidecar.client(client)).ask_to_approve(&escalation).await.unwrap_err();
        let (code, reason, _) = refusal(&refused);
        assert_eq!((code, reason.as_str()), (Code::PermissionDenied, "CLIENT_NOT_GRANTED"), "{client}");
    }
    let stranger = ada.clone().through(sidecar.stranger(None)).ask_to_approve(&escalation).await.unwrap_err();
    assert_eq!(stranger.code(), Code::Unauthenticated);

    type Malform = fn(&mut PortalCaller);
    let malformed: [(&str, Malform); 7] = [
        ("caller.interaction.channel", |caller| caller.interaction.as_mut().unwrap().set_channel(Chat)),
        ("caller.interaction.agent_id", |caller| {
            "agent-7".clone_into(&mut caller.interaction.as_mut().unwrap().agent_id)
        }),
        ("caller.interaction", |caller| caller.interaction = None),
        ("caller.subject.contact", |caller| caller.subject = None),
        ("caller.portal_login", |caller| caller.portal_login = None),
        ("caller.portal_login.login_time", |caller| caller.portal_login = Some(PortalLogin::default())),
        ("caller.portal_login.id_token", |caller| {
            "eyJh".clone_into(&mut caller.portal_login.as_mut().unwrap().id_token)
        }),
    ];
    for (field, change) in malformed {
        assert_eq!(invalid_field(ada.clone().having(change).ask_to_approve(&escalation).await), field);
    }
    // The probe may claim every channel: the telephone is no portal, whoever says that somebody is logged in there.
    let by_phone = ada.having(|caller| caller.interaction.as_mut().unwrap().set_channel(Phone));
    let refused = by_phone.through(sidecar.client("probe")).ask_to_approve(&escalation).await;
    assert_eq!(invalid_field(refused), "caller.interaction.channel");
}

// proves: S8, A22
#[tokio::test]
async fn an_approval_is_worth_nothing_for_another_order_amount_action_person_or_channel() {
    let sidecar = Sidecar::start().await;
    let portal = sidecar.client("portal");
    let escalation = approved(&sidecar, "o-1").await;
    let grace = |question: Question| with_approval(question.by(sample::GRACE).logged_in(), &escalation);
    let other_action = ask(Portal, "order.change")
        .upon("order", "o-1")
        .with("amount_minor", Value::Number(12_900))
        .with("currency", Value::Text("USD".to_owned()));
    for altered in [
        grace(order(Portal, "o-2")),
        grace(order(Portal, "o-1").with("amount_minor", Value::Number(12_901))),
        grace(order(Portal, "o-1").with("currency", Value::Text("EUR".to_owned()))),
        grace(order(Portal, "o-1").at_site(sample::SITE_HQ)),
        grace(other_action),
        with_approval(order(Portal, "o-1").by(sample::DEV).logged_in(), &escalation),
        with_approval(order(Portal, "o-1").by_contact_of(sample::BOREALIS, sample::LENA).logged_in(), &escalation),
    ] {
        let answer = portal.authorize(altered).await.unwrap();
        assert_eq!(decided(&answer), (Decision::Deny, Reason::NotPermitted));
        assert_eq!(answer.escalation, None);
        assert_eq!(cause(&sidecar, &answer), "approval_of_another_matter");
    }
    let invented = with_approval(order(Portal, "o-1").by(sample::GRACE).logged_in(), "esc-none");
    assert_eq!(cause(&sidecar, &portal.authorize(invented).await.unwrap()), "approval_unknown");

    // By telephone nothing escalates, and so nothing that was approved counts.
    sidecar.set_passphrase(Some(sample::GRACE), PHRASE).await;
    let by_phone = with_approval(order(Phone, "o-1").by(sample::GRACE).saying(PHRASE), &escalation);
    let answer = sidecar.client("ivr").insist(by_phone).await.unwrap();
    assert_eq!(decided(&answer), (Decision::Deny, Reason::NotPermitted));
}

/// After a takeover the requester waits like everybody (A31), approval or not; so does an approval by one who is new.
// proves: A31
#[tokio::test]
async fn an_approval_does_not_shorten_a_cool_off() {
    let (sidecar, clock) = Sidecar::start_still("").await;
    let portal = sidecar.client("portal");
    let question = |id: &'static str| order(Portal, id).by(sample::GRACE).logged_in_at(wall_time(&clock));
    let ada = || Desk::of_acme(&sidecar, sample::ADA).logged_in_at(wall_time(&clock));
    let first = portal.authorize(question("o-1")).await.unwrap().escalation.unwrap().id;
    assert_eq!(ada().approve(&first).await.0, Answer::Done);
    sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
    let answer = portal.authorize(with_approval(question("o-1"), &first)).await.unwrap();
    assert_eq!((answer.decision(), cause(&sidecar, &answer)), (Decision::Deny, "approver_refused".to_owned()));

    clock.advance(24 * HOUR - Duration::from_secs(1));
    let second = portal.authorize(question("o-2")).await.unwrap().escalation.unwrap().id;
    assert_eq!(ada().approve(&second).await.0, Answer::Done);
    let answer = portal.authorize(with_approval(question("o-2"), &second)).await.unwrap();
    assert_eq!(answer.decision(), Decision::Deny, "a second too early");
    clock.advance(Duration::from_secs(1));
    let answer = portal.authorize(with_approval(question("o-2"), &second)).await.unwrap();
    assert_eq!(decided(&answer), (Decision::Allow, Reason::Permitted));
}

// proves: A23
#[tokio::test]
async fn an_approval_never_raises_identity_and_is_not_used_up_by_a_proof_that_is_too_weak() {
    let sidecar = Sidecar::start().await;
    let portal = sidecar.client("portal");
    let routing = || ask(Portal, "routing.change").upon("routing", "r-1").by(sample::GRACE);
    let escalation = portal.authorize(routing().logged_in()).await.unwrap().escalation.unwrap().id;
    assert_eq!(Desk::of_acme(&sidecar, sample::ADA).approve(&escalation).await.0, Answer::Done);

    let unproved = portal.authorize(with_approval(routing(), &escalation)).await.unwrap();
    assert_eq!(decided(&unproved), (Decision::Challenge, Reason::EvidenceRequired));
    let old = routing().logged_in_at(SystemTime::now() - 2 * HOUR);
    let answer = portal.authorize(with_approval(old, &escalation)).await.unwrap();
    assert_eq!(decided(&answer), (Decision::Challenge, Reason::FreshEvidenceRequired));
    let answer = portal.authorize(with_approval(routing().logged_in(), &escalation)).await.unwrap();
    assert_eq!(decided(&answer), (Decision::Allow, Reason::Permitted));
}

/// Two backends, one approval.
// proves: S8, A10
#[tokio::test]
async fn of_many_calls_at_once_with_one_approval_exactly_one_is_allowed() {
    let sidecar = Sidecar::start().await;
    for round in 1..=3 {
        let id = format!("o-{round}");
        let escalation = approved(&sidecar, &id).await;
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let portal = sidecar.client("portal");
            let question = with_approval(order(Portal, &id).by(sample::GRACE).logged_in(), &escalation);
            calls.spawn(async move { portal.authorize(question).await.unwrap().decision() });
        }
        let decisions = calls.join_all().await;
        let allowed = decisions.iter().filter(|decision| **decision == Decision::Allow).count();
        let denied = decisions.iter().filter(|decision| **decision == Decision::Deny).count();
        assert_eq!((allowed, denied), (1, 7), "{decisions:?}");
    }
}

/// Asking without opening, with an approval of something else, opens nothing behind anybody's back.
#[tokio::test]
async fn a_worthless_approval_puts_nothing_before_anybody() {
    let sidecar = Sidecar::start().await;
    let escalation = approved(&sidecar, "o-1").await;
    let question = with_approval(order(Portal, "o-2").by(sample::GRACE).logged_in(), &escalation);
    for mode in [EscalationMode::Open, EscalationMode::DoNotOpen] {
        let question = question.clone().having(|request| request.set_escalation(mode));
        assert_eq!(sidecar.client("portal").authorize(question).await.unwrap().decision(), Decision::Deny);
    }
    assert_eq!(Desk::of_acme(&sidecar, sample::ADA).list(EscalationFilter::Pending).await.1, []);
}

fn primary_admin(contact: &str) -> Change {
    Change::SetPrimaryAdmin { account: AccountId::new(sample::ACME), contact: ContactId::new(contact) }
}
