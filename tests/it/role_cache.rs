//! The role cache in memory: what is remembered, and above all what is not.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use countersign::{
    clock::{Clock, ManualClock},
    data_dir::DataDir,
    directory::{
        AccountId, AccountSelector, Actor, Change, ContactId, ContactSelector, ContactStatus, Credentials, Directory,
        DirectoryError, Freshness, Look, Revision, RoleName, Scope, Seen, SubjectHints,
        cache::{CacheSettings, CachedDirectory},
        credential::{NewPassphrase, Owner, SetMethod, StoredHashText},
        look::{AttemptFrom, Whose},
        sample,
        sqlite::{SqliteCredentials, Store},
        tail::{HARD_TTL, LEAST_PAUSE, STALE_AFTER, Tail, Writers},
    },
    interaction::InteractionKey,
    throttle::floor::Floor,
};
use jiff::Timestamp;
use tokio::sync::Semaphore;

mod shared;
mod store;

use store::WatchedStore;

fn now() -> Timestamp {
    "2026-11-24T09:00:00Z".parse().unwrap()
}

fn ben() -> ContactId {
    ContactId::new(sample::BEN)
}

fn key() -> InteractionKey {
    InteractionKey { group: "voice".into(), id: "call-1".into() }
}

/// What a token of Ben's makes a call look for.
fn token_look(now: Timestamp) -> Look {
    Look { whose: Whose::Contact(ben()), interaction: Some(key()), ..Look::at_subject(SubjectHints::default(), now) }
}

/// A cache before a store whose looks are counted and can be held up.
struct Fixture {
    _folder: tempfile::TempDir,
    store: Store,
    watched: Arc<WatchedStore>,
    tail: Arc<Tail>,
    clock: Arc<ManualClock>,
    cached: Arc<CachedDirectory>,
}

impl Fixture {
    async fn new(writers: Writers) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&DataDir::own(folder.path()).unwrap()).unwrap();
        store.apply(sample::changes(now()), Actor::Sidecar, now()).await.unwrap();
        let clock = Arc::new(ManualClock::at(now()));
        let tail = Arc::new(Tail::new(writers));
        if writers == Writers::Ourselves {
            let (tail, clock) = (Arc::clone(&tail), Arc::clone(&clock));
            store.observe(move |changes| tail.note(changes, clock.uptime()));
        }
        tail.begin(&store, &*clock).await.unwrap();
        let watched = Arc::new(WatchedStore::new(store.clone()));
        let cached = Arc::new(CachedDirectory::new(
            watched.clone(),
            Arc::clone(&tail),
            clock.clone(),
            CacheSettings::default(),
            None,
        ));
        cached.open_interaction(&key(), "ivr", now()).await.unwrap();
        Self { _folder: folder, store, watched, tail, clock, cached }
    }

    async fn look(&self, look: &Look) -> Seen {
        self.cached.look(look).await.unwrap()
    }

    /// Looks as a call with Ben's token does, and says how often the store was asked for it.
    async fn asked_for(&self, look: &Look) -> (Seen, u32) {
        let before = self.watched.looks();
        let seen = self.look(look).await;
        (seen, self.watched.looks() - before)
    }

    async fn change(&self, change: Change) -> Revision {
        self.store.apply(vec![change], Actor::Operator("root".into()), self.clock.now()).await.unwrap()
    }
}

fn revoke() -> Change {
    Change::RevokeRole { contact: ben(), role: RoleName::new("company_admin"), scope: Scope::Company }
}

fn roles(seen: &Seen) -> usize {
    seen.standing.as_ref().unwrap().assignments.len()
}

// proves: A14, S12
#[tokio::test]
async fn the_store_is_asked_once_and_the_very_next_call_sees_each_change() {
    let fixture = Fixture::new(Writers::Ourselves).await;
    let look = Look { freshness: Freshness::Current, ..token_look(now()) };
    let (first, asked) = fixture.asked_for(&look).await;
    assert_eq!((asked, roles(&first)), (1, 1));
    assert_eq!(fixture.asked_for(&look).await, (first.clone(), 0), "remembered, as it was loaded");

    fixture.change(revoke()).await;
    let (revoked, asked) = fixture.asked_for(&look).await;
    assert_eq!((asked, roles(&revoked)), (1, 0));

    let credentials = SqliteCredentials::new(fixture.store.clone(), Floor::default());
    let phrase =
        NewPassphrase { stored: StoredHashText::new("$ben"), canonical_version: 1, method: SetMethod::Operator };
    let version = credentials.set(&Owner::Contact(ben()), phrase, Actor::Sidecar, now()).await.unwrap();
    let (changed, _) = fixture.asked_for(&look).await;
    assert_eq!(changed.standing.unwrap().enrolment.current.unwrap().0, version.0, "tokens of before stand no more");

    let contact = fixture.store.find_standing(&ben()).await.unwrap().unwrap().contact;
    let left = countersign::directory::Contact { status: ContactStatus::Inactive, ..contact };
    fixture.change(Change::PutContact(left)).await;
    let (left, _) = fixture.asked_for(&look).await;
    assert_eq!(left.standing.unwrap().contact.status, ContactStatus::Inactive);

    // Ended past the cache, as another use case of the process would.
    assert_eq!(fixture.asked_for(&look).await.1, 0);
    let _ended = fixture.store.end_interaction(&key(), "ivr", false, now()).await.unwrap();
    assert!(fixture.look(&look).await.interaction.unwrap().is_over(now()));
}

// proves: A14
#[tokio::test]
async fn a_reader_who_loads_before_a_revocation_and_fills_after_it_does_no_harm() {
    for writers in [Writers::Ourselves, Writers::Others] {
        let fixture = Fixture::new(writers).await;
        fixture.watched.hold_answers();
        let (cached, look) = (Arc::clone(&fixture.cached), token_look(now()));
        let reader = tokio::spawn(async move { cached.look(&look).await.unwrap() });
        fixture.watched.loaded().await;
        fixture.change(revoke()).await;
        if writers == Writers::Others {
            fixture.tail.read_on(&fixture.store, &*fixture.clock).await.unwrap();
        }
        fixture.watched.let_answers_go();
        assert_eq!(roles(&reader.await.unwrap()), 1, "it was asked before the revocation");
        let (next, asked) = fixture.asked_for(&token_look(now())).await;
        assert_eq!((roles(&next), asked), (0, 1), "what the reader loaded was not kept, {writers:?}");
    }
}

#[tokio::test]
async fn a_hundred_calls_at_once_ask_the_store_once() {
    let fixture = Fixture::new(Writers::Ourselves).await;
    fixture.watched.hold_answers();
    let before = fixture.watched.looks();
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let cached = Arc::clone(&fixture.cached);
            tokio::spawn(async move { cached.look(&token_look(now())).await.unwrap() })
        })
        .collect();
    fixture.watched.loaded().await;
    fixture.watched.let_answers_go();
    for call in calls {
        assert_eq!(roles(&call.await.unwrap()), 1);
    }
    assert_eq!(fixture.watched.looks() - before, 1);
}

#[tokio::test]
async fn neither_a_failed_nor_a_cancelled_load_is_kept() {
    let fixture = Fixture::new(Writers::Ourselves).await;
    fixture.watched.fail(true);
    let failed = fixture.cached.look(&token_look(now())).await;
    assert!(matches!(failed, Err(DirectoryError::Unavailable(_))));
    fixture.watched.fail(false);

    fixture.watched.hold_answers();
    let before = fixture.watched.looks();
    let call = || {
        let cached = Arc::clone(&fixture.cached);
        tokio::spawn(async move { cached.look(&token_look(now())).await.unwrap() })
    };
    let leader = call();
    fixture.watched.loaded().await;
    let follower = call();
    tokio::task::yield_now().await;
    leader.abort();
    fixture.watched.let_answers_go();
    assert_eq!(roles(&follower.await.unwrap()), 1, "whoever waited asks himself");
    assert_eq!(fixture.watched.looks() - before, 2);
}

// proves: A14
#[tokio::test]
async fn without_the_store_it_serves_on_up_to_the_hard_ttl_and_not_a_moment_longer() {
    let fixture = Fixture::new(Writers::Others).await;
    let at = |after: Duration| token_look(now() + after);
    fixture.look(&at(Duration::ZERO)).await;
    let ttl = CacheSettings::default().ttl;
    fixture.clock.advance(ttl);
    assert_eq!(fixture.asked_for(&at(ttl)).await.1, 1, "after its TTL an entry is loaded anew");

    fixture.watched.fail(true);
    let last = HARD_TTL - Duration::from_micros(1);
    fixture.clock.advance(last);
    assert_eq!(roles(&fixture.look(&at(ttl + last)).await), 1);
    let current = Look { freshness: Freshness::Current, ..at(ttl + last) };
    assert!(fixture.cached.look(&current).await.is_err(), "what must be current is not served from memory");
    fixture.clock.advance(Duration::from_micros(1));
    assert!(fixture.cached.look(&at(ttl + HARD_TTL)).await.is_err());
}

#[tokio::test]
async fn what_is_asked_for_decides_whether_memory_may_answer() {
    let fixture = Fixture::new(Writers::Others).await;
    let look = |freshness| Look { freshness, ..token_look(now()) };
    let revision = fixture.look(&look(Freshness::Cached)).await.standing.unwrap().revision;
    for (freshness, asked) in [
        (Freshness::Cached, 0),
        (Freshness::AtLeast(revision), 0),
        (Freshness::AtLeast(Revision(revision.0 + 1)), 1),
        (Freshness::Current, 1),
        (Freshness::FromStore, 1),
    ] {
        assert_eq!(fixture.asked_for(&look(freshness)).await.1, asked, "{freshness:?}");
    }
    let attempt = Some(AttemptFrom { line: None, familiar_since: now() });
    let passphrase = Look { attempt, ..token_look(now()) };
    assert_eq!(fixture.asked_for(&passphrase).await.1, 1, "what a passphrase is tried with is never remembered");

    let by = |account, contact| Look {
        subject: SubjectHints { account, contact },
        whose: Whose::Selected,
        ..token_look(now())
    };
    let account = |id: &str| Some(AccountSelector::Id(AccountId::new(id)));
    let by_id = by(account(sample::ACME), Some(ContactSelector::Id(ben())));
    let (seen, asked) = fixture.asked_for(&by_id).await;
    assert_eq!((asked, seen.selection.contact), (0, Some(ben())));
    for foreign in [
        by(account(sample::BOREALIS), Some(ContactSelector::Id(ben()))),
        by(account(sample::ACME), Some(ContactSelector::Extension("102".into()))),
        by(Some(AccountSelector::Name("Acme Telephony".into())), Some(ContactSelector::Id(ben()))),
        by(account(sample::ACME), None),
    ] {
        let (seen, asked) = fixture.asked_for(&foreign).await;
        assert_eq!(asked, 1, "{foreign:?}");
        assert_eq!(seen, fixture.store.look(&foreign).await.unwrap(), "{foreign:?}");
    }
}

// proves: A14
#[tokio::test]
async fn what_others_write_is_seen_with_the_next_reading_and_a_hint_brings_it_forward() {
    let fixture = Fixture::new(Writers::Others).await;
    assert_eq!(roles(&fixture.look(&token_look(now())).await), 1);
    let log: Arc<dyn Directory> = Arc::new(fixture.store.clone());
    let following = tokio::spawn(Arc::clone(&fixture.tail).follow(log, fixture.clock.clone()));
    fixture.change(revoke()).await;
    fixture.tail.hint();
    let _ended = fixture.store.end_interaction(&key(), "ivr", false, now()).await.unwrap();
    let seen = async {
        loop {
            let seen = fixture.look(&token_look(now())).await;
            if roles(&seen) == 0 && seen.interaction.unwrap().is_over(now()) {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), seen).await.expect("the tail reads on");
    following.abort();
    fixture.clock.advance(STALE_AFTER);
    assert!(fixture.tail.lag(fixture.clock.uptime()) >= STALE_AFTER, "a tail that is not read grows old");
}

// proves: A14
#[tokio::test]
async fn a_flood_of_hints_makes_nobody_busy() {
    let fixture = Fixture::new(Writers::Others).await;
    let log: Arc<dyn Directory> = fixture.watched.clone();
    let following = tokio::spawn(Arc::clone(&fixture.tail).follow(log, fixture.clock.clone()));
    let (begun, before) = (std::time::Instant::now(), fixture.watched.readings());
    let mut hints = 0;
    while fixture.watched.readings() - before < 20 {
        fixture.tail.hint();
        hints += 1;
        tokio::task::yield_now().await;
        assert!(begun.elapsed() < Duration::from_secs(20), "the tail does not read on");
    }
    let least = LEAST_PAUSE * 18;
    assert!(begun.elapsed() >= least, "20 readings in {:?} at {hints} hints", begun.elapsed());
    assert!(hints > 100, "a flood, not {hints} hints");
    following.abort();
}
