//! The durable floor: what stands beside the credential and is never forgotten.

use countersign::directory::postgres::PostgresCredentials;

use super::*;
use crate::postgres::Database;

/// A store of people with the sample company in it.
struct People {
    directory: Arc<dyn Directory>,
    credentials: Arc<dyn Credentials>,
    _folder: Option<tempfile::TempDir>,
}

impl People {
    async fn embedded() -> Self {
        let Sampled { folder, store } = Sampled::new().await;
        let credentials = Arc::new(SqliteCredentials::new(store.clone(), Floor::default()));
        Self { directory: Arc::new(store), credentials, _folder: Some(folder) }
    }

    async fn of_a_fleet() -> Self {
        let store = Database::new().await.store().await;
        store.apply(sample::changes(now()), Actor::Sidecar, now()).await.unwrap();
        let credentials = Arc::new(PostgresCredentials::new(store.clone(), Floor::default()));
        Self { directory: Arc::new(store), credentials, _folder: None }
    }

    fn credentials(&self) -> Arc<dyn Credentials> {
        Arc::clone(&self.credentials)
    }

    async fn attempt_facts(&self, contact: &str, line: Option<Line>, familiar_since: Timestamp) -> AttemptFacts {
        attempt_facts(&*self.directory, contact, line, familiar_since).await
    }
}

/// Runs the test on each store.
fn on_every_store(test: impl AsyncFn(People)) {
    block_on(async {
        test(People::embedded().await).await;
        test(People::of_a_fleet().await).await;
    });
}

fn contact(id: &str) -> Target {
    Target::Contact(ContactId::new(id))
}

fn own(id: &str) -> Owner {
    Owner::Contact(ContactId::new(id))
}

fn acme() -> Owner {
    Owner::Account(AccountId::new(sample::ACME))
}

fn familiar(last_digits: u32) -> Lane {
    Lane::Familiar(rules().line(Some(&number(last_digits)), Some(Attestation::A)).unwrap())
}

async fn set(credentials: &Arc<dyn Credentials>, owner: &Owner, phc: &str) -> Revision {
    credentials.set(owner, phrase(phc), operator(), now()).await.unwrap()
}

async fn reserve(credentials: &Arc<dyn Credentials>, id: &str, lane: Lane, at: Timestamp) -> Tried {
    credentials.reserve(&contact(id), lane, at).await.unwrap()
}

fn granted(tried: Tried) -> Granted {
    match tried {
        Tried::Granted(granted) => granted,
        Tried::Held(_) | Tried::Absent(_) => panic!("{tried:?}"),
    }
}

async fn enrolment(sampled: &People, id: &str) -> Enrolment {
    sampled.directory.find_standing(&ContactId::new(id)).await.unwrap().unwrap().enrolment
}

fn success(granted: Granted, lane: Lane) -> Success {
    Success { credential: granted.credential, version: granted.version, lane, line: None, rehash: None }
}

/// Fails in a lane until it is closed, waiting for every lock. Returns how often, and when it was.
async fn fail_until_closed(
    credentials: &Arc<dyn Credentials>,
    id: &str,
    lane: Lane,
    from: Timestamp,
) -> (u32, Timestamp) {
    let (mut failures, mut at) = (0, from);
    loop {
        match reserve(credentials, id, lane, at).await {
            Tried::Granted(_) => failures += 1,
            Tried::Held(Held::Locked { until }) => at = until,
            Tried::Held(Held::Closed) => return (failures, at),
            Tried::Absent(absent) => panic!("{absent:?}"),
        }
    }
}

// proves: N3, A7, A11
#[test]
fn five_failures_are_free_then_each_locks_for_twice_as_long_until_twenty_close_the_lane() {
    on_every_store(async |sampled| {
        let credentials = sampled.credentials();
        set(&credentials, &own(sample::BEN), "$ben").await;
        let mut at = now();
        for failure in 1..=20 {
            assert_eq!(granted(reserve(&credentials, sample::BEN, Lane::Unfamiliar, at).await).failures, failure);
            let lock = Floor::default().lock_after(failure);
            if failure == 20 {
                break;
            }
            if !lock.is_zero() {
                let until = at + lock;
                // Tries during a lock neither count nor extend it.
                for early in [at, until - SignedDuration::from_micros(1)] {
                    let tried = reserve(&credentials, sample::BEN, Lane::Unfamiliar, early).await;
                    assert_eq!(tried, Tried::Held(Held::Locked { until }), "after failure {failure}");
                }
            }
            at += lock;
        }
        for late in [at, at + SignedDuration::from_hours(24 * 365)] {
            let tried = reserve(&credentials, sample::BEN, Lane::Unfamiliar, late).await;
            assert_eq!(tried, Tried::Held(Held::Closed));
        }
    });
}

// proves: A10, N3
#[test]
fn the_longest_lock_holds_for_a_call_whose_clock_is_behind_that_of_the_one_that_set_it() {
    on_every_store(async |sampled| {
        let credentials = sampled.credentials();
        set(&credentials, &own(sample::BEN), "$ben").await;
        let longest = SignedDuration::from_secs(Floor::default().longest_lock_s.into());
        let (mut at, mut until) = (now(), now());
        // Until a failure locks for as long as any does.
        while until - at < longest {
            at = until;
            let failures = granted(reserve(&credentials, sample::BEN, Lane::Unfamiliar, at).await).failures;
            until = at + Floor::default().lock_after(failures);
        }
        for behind in [SignedDuration::from_micros(1), SignedDuration::from_mins(10)] {
            let tried = reserve(&credentials, sample::BEN, Lane::Unfamiliar, at - behind).await;
            assert_eq!(tried, Tried::Held(Held::Locked { until }), "{behind:#} behind");
        }
        // But not one that a clock set which was a day ahead.
        let day = SignedDuration::from_hours(24);
        granted(reserve(&credentials, sample::BEN, Lane::Unfamiliar, at - day).await);
    });
}

// proves: A10, N3
#[test]
fn two_hundred_guesses_at_once_run_as_many_hashes_as_are_free() {
    on_every_store(async |sampled| {
        let credentials = sampled.credentials();
        set(&credentials, &own(sample::BEN), "$ben").await;
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..200 {
            let credentials = Arc::clone(&credentials);
            tasks.spawn(async move { reserve(&credentials, sample::BEN, Lane::Unfamiliar, now()).await });
        }
        let tried = tasks.join_all().await;
        // Five are free; the sixth is counted and locks.
        assert_eq!(tried.iter().filter(|one| matches!(one, Tried::Granted(_))).count(), 6);
    });
}

// proves: A11, A19, A34
#[test]
fn a_success_clears_its_own_lane_and_no_other() {
    on_every_store(async |sampled| {
        let credentials = sampled.credentials();
        set(&credentials, &own(sample::BEN), "$ben").await;
        for _ in 0..4 {
            granted(reserve(&credentials, sample::BEN, Lane::Unfamiliar, now()).await);
            granted(reserve(&credentials, sample::BEN, familiar(2), now()).await);
        }
        let right = granted(reserve(&credentials, sample::BEN, familiar(1), now()).await);
        let settled = credentials.settle_success(success(right, familiar(1)), now()).await.unwrap();
        assert_eq!(settled, Settled::Accepted);
        assert_eq!(granted(reserve(&credentials, sample::BEN, familiar(1), now()).await).failures, 1);
        assert_eq!(granted(reserve(&credentials, sample::BEN, familiar(2), now()).await).failures, 5);
        assert_eq!(granted(reserve(&credentials, sample::BEN, Lane::Unfamiliar, now()).await).failures, 5);
    });
}

// proves: N3
#[test]
fn all_lanes_and_reopenings_together_never_exceed_a_hundred() {
    on_every_store(async |sampled| {
        let credentials = sampled.credentials();
        set(&credentials, &own(sample::BEN), "$ben").await;
        let ben = ContactId::new(sample::BEN);
        let (mut sum, mut at) = (0, now());
        assert_eq!(credentials.reopen(&ben, operator(), at).await.unwrap(), Reopened::WasOpen);
        let mut reopened = 0;
        loop {
            let (failures, closed_at) = fail_until_closed(&credentials, sample::BEN, Lane::Unfamiliar, at).await;
            (sum, at) = (sum + failures, closed_at);
            match credentials.reopen(&ben, operator(), at).await.unwrap() {
                Reopened::Open(_) => reopened += 1,
                Reopened::NeverAgain => break,
                Reopened::WasOpen => panic!("a closed lane was open"),
            }
        }
        assert_eq!((sum, reopened), (80, 3));
        for digits in 1..8 {
            sum += fail_until_closed(&credentials, sample::BEN, familiar(digits), at).await.0;
        }
        assert_eq!(sum, 100);
        // A new passphrase starts anew.
        set(&credentials, &own(sample::BEN), "$new").await;
        assert_eq!(granted(reserve(&credentials, sample::BEN, Lane::Unfamiliar, at).await).failures, 1);
        let status = credentials.status(&own(sample::BEN), at).await.unwrap().unwrap();
        assert_eq!((status.reopenings_left, status.closed), (3, false));
    });
}

// proves: A36, N3
#[test]
fn neither_a_restart_nor_the_loss_of_every_window_resets_the_count() {
    block_on(async {
        let sampled = Sampled::new().await;
        set(&sampled.credentials(), &own(sample::BEN), "$ben").await;
        for _ in 0..3 {
            granted(reserve(&sampled.credentials(), sample::BEN, Lane::Unfamiliar, now()).await);
        }
        let sampled = sampled.restarted();
        assert_eq!(granted(reserve(&sampled.credentials(), sample::BEN, Lane::Unfamiliar, now()).await).failures, 4);
        let sampled = sampled.tampered("DELETE FROM throttle_unit; DELETE FROM throttle_store;");
        assert_eq!(granted(reserve(&sampled.credentials(), sample::BEN, Lane::Unfamiliar, now()).await).failures, 5);
    });
}

// proves: A27, F9
#[test]
fn which_credential_is_tried_follows_from_the_contact_alone() {
    on_every_store(async |sampled| {
        let credentials = sampled.credentials();
        set(&credentials, &acme(), "$acme").await;
        let tried = async |id| reserve(&credentials, id, Lane::Unfamiliar, now()).await;
        assert_eq!(granted(tried(sample::ADA).await).stored, StoredHashText::new("$acme"));
        assert_eq!(tried(sample::BEN).await, Tried::Absent(Absent::NotEnrolled));
        assert_eq!(tried(sample::KARL).await, Tried::Absent(Absent::NotEnrolled));
        assert_eq!(tried(sample::IVAN).await, Tried::Absent(Absent::Inactive));
        assert_eq!(tried("con-9999").await, Tried::Absent(Absent::Nobody));
        set(&credentials, &own(sample::ADA), "$ada").await;
        assert_eq!(granted(tried(sample::ADA).await).stored, StoredHashText::new("$ada"));
        // What was cleared never falls back.
        credentials.clear(&own(sample::ADA), operator(), now()).await.unwrap();
        assert_eq!(tried(sample::ADA).await, Tried::Absent(Absent::Cleared));
        assert!(credentials.clear(&own(sample::ADA), operator(), now()).await.is_err());
    });
}

// proves: S14, A13
#[test]
fn a_new_primary_admin_suspends_the_account_passphrase_until_it_is_changed() {
    on_every_store(async |sampled| {
        let credentials = sampled.credentials();
        set(&credentials, &acme(), "$acme").await;
        let before = granted(reserve(&credentials, sample::ADA, Lane::Unfamiliar, now()).await);
        let successor = |contact| {
            vec![Change::SetPrimaryAdmin { account: AccountId::new(sample::ACME), contact: ContactId::new(contact) }]
        };
        sampled.directory.apply(successor(sample::ADA), operator(), now()).await.unwrap();
        assert_eq!(enrolment(&sampled, sample::ADA).await.current, Some(before.version));
        sampled.directory.apply(successor(sample::BEN), operator(), now()).await.unwrap();
        let tried = async |id| reserve(&credentials, id, Lane::Unfamiliar, now()).await;
        assert_eq!(tried(sample::ADA).await, Tried::Absent(Absent::NotEnrolled));
        assert_eq!(tried(sample::BEN).await, Tried::Absent(Absent::Suspended));
        assert_eq!(enrolment(&sampled, sample::ADA).await.current, None);
        assert_eq!(enrolment(&sampled, sample::BEN).await, Enrolment { current: None, last_set: Some(now()) });
        let settled = credentials.settle_success(success(before, Lane::Unfamiliar), now()).await.unwrap();
        assert_eq!(settled, Settled::Stale);
        set(&credentials, &acme(), "$changed").await;
        assert_eq!(granted(tried(sample::BEN).await).stored, StoredHashText::new("$changed"));
    });
}

// proves: S12, A31
#[test]
fn whoever_leaves_loses_the_passphrase_for_good() {
    on_every_store(async |sampled| {
        let credentials = sampled.credentials();
        set(&credentials, &own(sample::BEN), "$ben").await;
        let during = granted(reserve(&credentials, sample::BEN, Lane::Unfamiliar, now()).await);
        let ben = ContactId::new(sample::BEN);
        let mut left = sampled.directory.find_standing(&ben).await.unwrap().unwrap().contact;
        for (status, absent) in [(ContactStatus::Inactive, Absent::Inactive), (ContactStatus::Active, Absent::Cleared)]
        {
            left.status = status;
            sampled.directory.apply(vec![Change::PutContact(left.clone())], operator(), now()).await.unwrap();
            let tried = reserve(&credentials, sample::BEN, Lane::Unfamiliar, now()).await;
            assert_eq!(tried, Tried::Absent(absent));
        }
        assert_eq!(enrolment(&sampled, sample::BEN).await.current, None);
        let settled = credentials.settle_success(success(during, Lane::Unfamiliar), now()).await.unwrap();
        assert_eq!(settled, Settled::Stale);
        // The history stands, for the cool-off.
        assert_eq!(enrolment(&sampled, sample::BEN).await.last_set, Some(now()));
    });
}

// proves: A35, N4
#[test]
fn a_phrase_that_was_changed_during_the_hash_does_not_count_and_is_not_rehashed() {
    on_every_store(async |sampled| {
        let credentials = sampled.credentials();
        set(&credentials, &own(sample::BEN), "$old").await;
        let first = granted(reserve(&credentials, sample::BEN, Lane::Unfamiliar, now()).await);
        let version = first.version;
        let rehash = |phc: &str, granted| Success {
            rehash: Some(StoredHashText::new(phc)),
            ..success(granted, Lane::Unfamiliar)
        };
        assert_eq!(credentials.settle_success(rehash("$rehashed", first), now()).await.unwrap(), Settled::Accepted);
        let second = granted(reserve(&credentials, sample::BEN, Lane::Unfamiliar, now()).await);
        assert_eq!((&second.stored, second.version), (&StoredHashText::new("$rehashed"), version));
        let Revision(newest) = set(&credentials, &own(sample::BEN), "$new").await;
        assert_eq!(credentials.settle_success(rehash("$late", second), now()).await.unwrap(), Settled::Stale);
        let third = granted(reserve(&credentials, sample::BEN, Lane::Unfamiliar, now()).await);
        assert_eq!((third.stored, third.version), (StoredHashText::new("$new"), CredentialVersion(newest)));
    });
}

#[test]
fn a_line_is_familiar_to_the_contact_who_was_verified_on_it() {
    on_every_store(async |sampled| {
        let credentials = sampled.credentials();
        set(&credentials, &own(sample::BEN), "$ben").await;
        let right = granted(reserve(&credentials, sample::BEN, Lane::Unfamiliar, now()).await);
        let line = rules().line(Some(&number(7)), None).unwrap();
        let success = Success { line: Some(line), ..success(right, Lane::Unfamiliar) };
        assert_eq!(credentials.settle_success(success, now()).await.unwrap(), Settled::Accepted);
        let knows = async |contact: &str, line, at| {
            let since = rules().familiar_since(at);
            sampled.attempt_facts(contact, Some(line), since).await.verified_on_line
        };
        let day = 86_400;
        assert!(knows(sample::BEN, line, after(90 * day)).await);
        assert!(!knows(sample::BEN, line, after(90 * day + 1)).await);
        assert!(!knows(sample::ADA, line, now()).await);
        let vouched = rules().line(Some(&number(7)), Some(Attestation::A)).unwrap();
        assert!(!knows(sample::BEN, vouched, now()).await);
    });
}

#[test]
fn status_says_who_set_it_and_what_is_locked_and_each_change_stands_in_the_log() {
    on_every_store(async |sampled| {
        let credentials = sampled.credentials();
        assert_eq!(credentials.status(&own(sample::BEN), now()).await.unwrap(), None);
        let account = AccountId::new(sample::ACME);
        let enrolled = async || sampled.attempt_facts(sample::ADA, None, now()).await.contacts_with_passphrase;
        assert_eq!(enrolled().await, 0);
        let set_at = set(&credentials, &own(sample::BEN), "$ben").await;
        set(&credentials, &acme(), "$acme").await;
        assert_eq!(enrolled().await, 1, "the account's own counts for nobody");
        assert_eq!(enrolment(&sampled, sample::BEN).await.current, Some(CredentialVersion(set_at.0)));
        for _ in 0..6 {
            granted(reserve(&credentials, sample::BEN, Lane::Unfamiliar, now()).await);
        }
        let status = credentials.status(&own(sample::BEN), now()).await.unwrap().unwrap();
        assert_eq!((status.is_set, status.set_at, status.set_by), (true, now(), operator()));
        assert_eq!((status.method, status.locked_until), (SetMethod::Operator, Some(after(30))));
        credentials.clear(&own(sample::BEN), operator(), now()).await.unwrap();
        assert!(!credentials.status(&own(sample::BEN), now()).await.unwrap().unwrap().is_set);
        let before = Revision(set_at.0 - 1);
        let log = sampled.directory.changes_after(before, 10).await.unwrap();
        let kinds: Vec<_> = log.iter().map(|change| change.kind.as_str()).collect();
        assert_eq!(kinds, ["set_passphrase", "set_passphrase", "clear_passphrase"]);
        assert!(log.iter().all(|change| change.account == Some(account.clone())));
        let ivan = credentials.set(&own(sample::IVAN), phrase("$ivan"), operator(), now()).await;
        assert!(ivan.is_err(), "who left cannot have a passphrase");
    });
}

// proves: A12
#[test]
fn nobody_writes_a_dummy_and_counts_nowhere() {
    block_on(async {
        let sampled = Sampled::new().await;
        let credentials = sampled.credentials();
        for dummy in 0..64 {
            let tried = credentials.reserve(&Target::Nobody { dummy }, Lane::Unfamiliar, now()).await.unwrap();
            assert_eq!(tried, Tried::Absent(Absent::Nobody));
        }
        sampled.store.close();
        let file = rusqlite::Connection::open(sampled.folder.path().join("directory.sqlite3")).unwrap();
        let counted = |sql: &str| -> u32 { file.query_row(sql, (), |row| row.get(0)).unwrap() };
        assert_eq!(counted("SELECT count(*) FROM credential_dummy WHERE failures = 1"), 64);
        assert_eq!(counted("SELECT count(*) FROM credential_lane"), 0);
    });
}

fn keypad(id: &str) -> Owner {
    Owner::Keypad(ContactId::new(id))
}

async fn reserve_keypad(credentials: &Arc<dyn Credentials>, id: &str, lane: Lane, at: Timestamp) -> Tried {
    credentials.reserve(&Target::Keypad(ContactId::new(id)), lane, at).await.unwrap()
}

// proves: N3, F9
#[test]
fn digits_stand_beside_a_passphrase_and_neither_is_tried_for_the_other() {
    on_every_store(async |sampled| {
        let credentials = sampled.credentials();
        let digits = async |id| reserve_keypad(&credentials, id, Lane::Unfamiliar, now()).await;
        let refused = async |id| credentials.set(&keypad(id), phrase("$digits"), operator(), now()).await.is_err();
        assert!(refused(sample::BEN).await, "beside nothing");
        set(&credentials, &acme(), "$acme").await;
        assert!(refused(sample::ADA).await, "the account's passphrase is not her own");
        set(&credentials, &own(sample::BEN), "$ben").await;
        assert_eq!(digits(sample::BEN).await, Tried::Absent(Absent::NotEnrolled));
        assert_eq!(digits("con-none").await, Tried::Absent(Absent::Nobody));
        let before = granted(reserve(&credentials, sample::BEN, Lane::Unfamiliar, now()).await);
        let set_at = set(&credentials, &keypad(sample::BEN), "$digits").await;
        assert_eq!(enrolment(&sampled, sample::BEN).await.current, Some(CredentialVersion(set_at.0)));
        let stale = credentials.settle_success(success(before, Lane::Unfamiliar), now()).await.unwrap();
        assert_eq!(stale, Settled::Stale, "what was tried before");
        assert_eq!(granted(digits(sample::BEN).await).stored, StoredHashText::new("$digits"));
        let said = granted(reserve(&credentials, sample::BEN, Lane::Unfamiliar, now()).await);
        assert_eq!((&said.stored, said.failures), (&StoredHashText::new("$ben"), 3), "one count for both");
        // A new hash of one is never that of the other.
        let rehashed = |granted, phc: &str| Success {
            rehash: Some(StoredHashText::new(phc)),
            ..success(granted, Lane::Unfamiliar)
        };
        let typed = granted(digits(sample::BEN).await);
        assert_eq!(credentials.settle_success(rehashed(typed, "$digits 2"), now()).await.unwrap(), Settled::Accepted);
        assert_eq!(credentials.settle_success(rehashed(said, "$ben 2"), now()).await.unwrap(), Settled::Accepted);
        assert_eq!(granted(digits(sample::BEN).await).stored, StoredHashText::new("$digits 2"));
        let said = granted(reserve(&credentials, sample::BEN, Lane::Unfamiliar, now()).await);
        assert_eq!(said.stored, StoredHashText::new("$ben 2"));
        let log = sampled.directory.changes_after(Revision(set_at.0 - 1), 10).await.unwrap();
        assert_eq!(log.iter().map(|change| change.kind.as_str()).collect::<Vec<_>>(), ["set_keypad"]);
    });
}

// proves: N3, A34
#[test]
fn digits_and_passphrase_count_in_one_sum_and_a_success_by_digits_takes_back_theirs_alone() {
    on_every_store(async |sampled| {
        let credentials = sampled.credentials();
        set(&credentials, &own(sample::BEN), "$ben").await;
        set(&credentials, &keypad(sample::BEN), "$digits").await;
        let lane = Lane::Unfamiliar;
        for _ in 0..2 {
            granted(reserve(&credentials, sample::BEN, lane, now()).await);
            granted(reserve_keypad(&credentials, sample::BEN, lane, now()).await);
        }
        let right = granted(reserve_keypad(&credentials, sample::BEN, lane, now()).await);
        assert_eq!(right.failures, 5);
        assert_eq!(credentials.settle_success(success(right, lane), now()).await.unwrap(), Settled::Accepted);
        // Two failures of the passphrase stay; four more, by whichever, and the lane is locked for both.
        for failures in 3..=6 {
            let tried = match failures % 2 {
                0 => reserve(&credentials, sample::BEN, lane, now()).await,
                _ => reserve_keypad(&credentials, sample::BEN, lane, now()).await,
            };
            assert_eq!(granted(tried).failures, failures);
        }
        let locked = Tried::Held(Held::Locked { until: after(30) });
        assert_eq!(reserve_keypad(&credentials, sample::BEN, lane, now()).await, locked);
        assert_eq!(reserve(&credentials, sample::BEN, lane, now()).await, locked);
        let locked_until = |status: CredentialStatus| (status.is_set, status.locked_until);
        for owner in [own(sample::BEN), keypad(sample::BEN)] {
            let status = credentials.status(&owner, now()).await.unwrap().unwrap();
            assert_eq!(locked_until(status), (true, Some(after(30))));
        }
        // A lock is served; a success by digits leaves the count of the passphrase, and no lock of its own making.
        let right = granted(reserve_keypad(&credentials, sample::BEN, lane, after(30)).await);
        assert_eq!(credentials.settle_success(success(right, lane), after(30)).await.unwrap(), Settled::Accepted);
        assert_eq!(granted(reserve(&credentials, sample::BEN, lane, after(30)).await).failures, 5);
        // A success by passphrase takes back all.
        let right = granted(reserve(&credentials, sample::BEN, lane, after(30)).await);
        assert_eq!(credentials.settle_success(success(right, lane), after(30)).await.unwrap(), Settled::Accepted);
        assert_eq!(granted(reserve_keypad(&credentials, sample::BEN, lane, after(30)).await).failures, 1);
    });
}

// proves: N3, A7
#[test]
fn all_lanes_and_reopenings_by_both_secrets_never_exceed_a_hundred() {
    on_every_store(async |sampled| {
        let credentials = sampled.credentials();
        set(&credentials, &own(sample::BEN), "$ben").await;
        let (mut at, mut total) = (now(), 0);
        for round in 0..4 {
            // New digits reset no count.
            credentials.set(&keypad(sample::BEN), phrase("$digits"), operator(), at).await.unwrap();
            let mut failures = 0;
            loop {
                let tried = match failures % 3 {
                    0 => reserve(&credentials, sample::BEN, Lane::Unfamiliar, at).await,
                    _ => reserve_keypad(&credentials, sample::BEN, Lane::Unfamiliar, at).await,
                };
                match tried {
                    Tried::Granted(_) => failures += 1,
                    Tried::Held(Held::Locked { until }) => at = until,
                    Tried::Held(Held::Closed) => break,
                    Tried::Absent(absent) => panic!("{absent:?}"),
                }
            }
            assert_eq!(failures, 20, "round {round}");
            total += failures;
            let reopened = credentials.reopen(&ContactId::new(sample::BEN), operator(), at).await.unwrap();
            assert_eq!(matches!(reopened, Reopened::Open(_)), round < 3, "{reopened:?}");
        }
        for last_digits in 1..=9 {
            loop {
                match reserve_keypad(&credentials, sample::BEN, familiar(last_digits), at).await {
                    Tried::Granted(_) => total += 1,
                    Tried::Held(Held::Locked { until }) => at = until,
                    Tried::Held(Held::Closed) => break,
                    Tried::Absent(absent) => panic!("{absent:?}"),
                }
            }
        }
        assert_eq!(total, 100);
        let said = reserve(&credentials, sample::BEN, familiar(10), at).await;
        assert_eq!(said, Tried::Held(Held::Closed), "one sum for both");
    });
}

// proves: S12, S14, A13, A31
#[test]
fn whatever_changes_or_ends_the_passphrase_ends_the_digits() {
    on_every_store(async |sampled| {
        let credentials = sampled.credentials();
        let ben = ContactId::new(sample::BEN);
        let digits = async || reserve_keypad(&credentials, sample::BEN, Lane::Unfamiliar, now()).await;
        let both = async || {
            set(&credentials, &own(sample::BEN), "$ben").await;
            set(&credentials, &keypad(sample::BEN), "$digits").await;
            granted(digits().await)
        };
        let ended = async |during: Granted, absent: Absent| {
            assert_eq!(digits().await, Tried::Absent(absent));
            let status = credentials.status(&keypad(sample::BEN), now()).await.unwrap().unwrap();
            assert!(!status.is_set, "{absent:?}");
            let settled = credentials.settle_success(success(during, Lane::Unfamiliar), now()).await.unwrap();
            assert_eq!(settled, Settled::Stale, "{absent:?}");
        };
        // Cleared by themselves: the passphrase stands.
        let during = both().await;
        credentials.clear(&keypad(sample::BEN), operator(), now()).await.unwrap();
        ended(during, Absent::Cleared).await;
        assert!(credentials.clear(&keypad(sample::BEN), operator(), now()).await.is_err());
        granted(reserve(&credentials, sample::BEN, Lane::Unfamiliar, now()).await);
        // With the passphrase.
        let during = both().await;
        set(&credentials, &own(sample::BEN), "$another").await;
        ended(during, Absent::Cleared).await;
        let during = both().await;
        credentials.clear(&own(sample::BEN), operator(), now()).await.unwrap();
        ended(during, Absent::Cleared).await;
        assert!(credentials.set(&keypad(sample::BEN), phrase("$digits"), operator(), now()).await.is_err());
        // Suspended with it, until both are set anew.
        let during = both().await;
        let suspend = vec![Change::SuspendPassphrase { contact: ben.clone() }];
        sampled.directory.apply(suspend, operator(), now()).await.unwrap();
        ended(during, Absent::Suspended).await;
        assert!(credentials.set(&keypad(sample::BEN), phrase("$digits"), operator(), now()).await.is_err());
        // He leaves, for good.
        let mut contact = sampled.directory.find_standing(&ben).await.unwrap().unwrap().contact;
        let during = both().await;
        contact.status = ContactStatus::Inactive;
        sampled.directory.apply(vec![Change::PutContact(contact.clone())], operator(), now()).await.unwrap();
        ended(during, Absent::Inactive).await;
        contact.status = ContactStatus::Active;
        sampled.directory.apply(vec![Change::PutContact(contact)], operator(), now()).await.unwrap();
        assert_eq!(digits().await, Tried::Absent(Absent::Cleared));
        // The history stands, for the cool-off.
        set(&credentials, &own(sample::CHLOE), "$chloe").await;
        credentials.set(&keypad(sample::CHLOE), phrase("$digits"), operator(), after(60)).await.unwrap();
        credentials.clear(&keypad(sample::CHLOE), operator(), after(70)).await.unwrap();
        assert_eq!(enrolment(&sampled, sample::CHLOE).await.last_set, Some(after(60)));
    });
}
