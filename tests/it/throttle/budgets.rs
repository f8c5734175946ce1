//! The contract of [`Budgets`]: each function takes any store, with full budgets.

use super::*;
use crate::redis::{connected, server::Server, vouch};

/// A call, as the tests describe it.
#[derive(Clone)]
pub struct Call {
    interaction: String,
    number: Option<E164>,
    account: &'static str,
    lane: Lane,
    at: Timestamp,
    generation: Generation,
}

impl Call {
    pub fn new(interaction: &str) -> Self {
        Self {
            interaction: interaction.into(),
            number: None,
            account: sample::ACME,
            lane: Lane::Unfamiliar,
            at: now(),
            generation: Generation::default(),
        }
    }

    pub fn from(self, number: E164) -> Self {
        Self { number: Some(number), ..self }
    }

    pub fn on(self, account: &'static str) -> Self {
        Self { account, ..self }
    }

    pub fn at(self, at: Timestamp) -> Self {
        Self { at, ..self }
    }

    pub fn in_generation(self, generation: Generation) -> Self {
        Self { generation, ..self }
    }

    pub fn familiar(self) -> Self {
        let lane = Lane::Familiar(rules().line(self.number.as_ref(), Some(Attestation::A)).unwrap());
        Self { lane, ..self }
    }

    pub fn attempt(&self) -> Attempt {
        self.attempt_at(&AccountSelector::Id(AccountId::new(self.account)), true)
    }

    fn attempt_at(&self, said: &AccountSelector, is_known: bool) -> Attempt {
        let id = AccountId::new(self.account);
        let charged = match is_known {
            true => Charged::Account { id: &id, contacts_with_passphrase: 1 },
            false => Charged::Nobody,
        };
        let source = Source {
            client: "ivr",
            group: "voice",
            interaction: &self.interaction,
            agent: None,
            calling_number: self.number.as_ref(),
            attestation: Some(Attestation::A),
        };
        let generation = Arc::new(CurrentGeneration::default());
        generation.enter(self.generation);
        rules().in_generation(generation).attempt(draw(), &source, &Aim { said, charged }, self.lane, self.at)
    }
}

pub async fn reserve(budgets: &dyn Budgets, call: &Call) -> Reservation {
    budgets.reserve(&call.attempt()).await.unwrap()
}

pub fn granted(reservation: Reservation) -> Grant {
    match reservation {
        Reservation::Granted(grant) => grant,
        Reservation::Refused(refusal) => panic!("refused: {refusal:?}"),
    }
}

pub fn refused(reservation: Reservation) -> Refusal {
    match reservation {
        Reservation::Refused(refusal) => refusal,
        Reservation::Granted(grant) => panic!("granted: {grant:?}"),
    }
}

/// Runs a part of the contract over every store.
fn over_every_store<F>(settings: Settings, part: impl Fn(Arc<dyn Budgets>) -> F)
where
    F: Future<Output = ()>,
{
    block_on(async {
        part(Arc::new(MemoryBudgets::new(settings.clone()))).await;
        let sampled = Sampled::new().await;
        part(Arc::new(sampled.budgets(settings.clone()))).await;
        let server = Server::start(&[]);
        part(Arc::new(in_redis(&server, settings).await)).await;
    });
}

/// Budgets in this Redis, by the clock of the attempts, as if it had never lost anything.
pub async fn in_redis(server: &Server, settings: Settings) -> RedisBudgets {
    let budgets = RedisBudgets::new(connected(server.settings()).await, settings, Clock::Attempt);
    assert_eq!(budgets.look().await, Ok(Fitness::Fit));
    drop(reserve(&budgets, &Call::new("the first of all")).await);
    vouch(server);
    budgets
}

// proves: A6
#[test]
fn an_interaction_has_three_tries_and_then_is_refused() {
    over_every_store(Settings::default(), |budgets| async move {
        let left = [2, 1, 0];
        for left in left {
            assert_eq!(granted(reserve(&*budgets, &Call::new("1")).await).tries_left, left);
        }
        let refusal = refused(reserve(&*budgets, &Call::new("1")).await);
        assert_eq!((refusal.by, refusal.retry_at), (SourceBudget::Interaction, None));
        assert_eq!(granted(reserve(&*budgets, &Call::new("2")).await).tries_left, 2);
    });
}

// proves: A8
#[test]
fn a_number_has_ten_failures_a_day_over_all_accounts() {
    over_every_store(Settings::default(), |budgets| async move {
        for failure in 0..10 {
            let account = if failure % 2 == 0 { sample::ACME } else { sample::BOREALIS };
            let call = Call::new(&failure.to_string()).from(number(1)).on(account).at(after(failure));
            let grant = granted(reserve(&*budgets, &call).await);
            let left = 9 - u32::try_from(failure).unwrap();
            assert_eq!(grant.tries_left, left.min(2));
            assert_eq!(grant.retry_at, (left == 0).then(|| after(86_400)));
        }
        let refusal = refused(reserve(&*budgets, &Call::new("a").from(number(1)).at(after(100))).await);
        assert_eq!((refusal.by, refusal.retry_at), (SourceBudget::CallingNumber, Some(after(86_400))));
        granted(reserve(&*budgets, &Call::new("b").from(number(2)).at(after(100))).await);
        granted(reserve(&*budgets, &Call::new("c").from(number(1)).at(after(86_400))).await);
    });
}

// proves: A34
#[test]
fn a_success_gives_back_its_own_place_and_no_other() {
    over_every_store(Settings::default(), |budgets| async move {
        for round in 0..20 {
            let right = Call::new("right").from(number(1)).attempt();
            granted(budgets.reserve(&right).await.unwrap());
            budgets.settle(&right, Outcome::Success).await.unwrap();
            budgets.settle(&right, Outcome::Success).await.unwrap();
            // A guess between two successes stays spent, in another call from the same number.
            let guess = reserve(&*budgets, &Call::new(&format!("guess {round}")).from(number(1))).await;
            assert_eq!(matches!(guess, Reservation::Granted(_)), round < 10, "round {round}");
            if round == 9 {
                return;
            }
        }
    });
}

// proves: A9
#[test]
fn a_spent_account_is_not_told_and_charges_nothing_there() {
    over_every_store(Settings::default(), |budgets| async move {
        for failure in 0..15 {
            let grant = granted(reserve(&*budgets, &Call::new(&failure.to_string())).await);
            assert_eq!(grant.account, AccountBudget::Open);
        }
        let grant = granted(reserve(&*budgets, &Call::new("x")).await);
        assert_eq!((grant.account, grant.tries_left, grant.retry_at), (AccountBudget::Spent, 2, None));
        let familiar = granted(reserve(&*budgets, &Call::new("y").from(number(1)).familiar()).await);
        assert_eq!(familiar.account, AccountBudget::Open);
        let other = granted(reserve(&*budgets, &Call::new("z").on(sample::BOREALIS)).await);
        assert_eq!(other.account, AccountBudget::Open);
    });
}

// proves: A6
#[test]
fn a_spent_source_never_burns_the_account() {
    over_every_store(Settings::default(), |budgets| async move {
        for _ in 0..40 {
            drop(reserve(&*budgets, &Call::new("1")).await);
        }
        // Three of the fifteen places are taken.
        for other in 0..12 {
            let grant = granted(reserve(&*budgets, &Call::new(&format!("other {other}"))).await);
            assert_eq!(grant.account, AccountBudget::Open);
        }
        assert_eq!(granted(reserve(&*budgets, &Call::new("last")).await).account, AccountBudget::Spent);
    });
}

#[test]
fn reserving_the_same_attempt_again_takes_nothing() {
    over_every_store(Settings::default(), |budgets| async move {
        let attempt = Call::new("1").from(number(1)).attempt();
        let first = budgets.reserve(&attempt).await.unwrap();
        for _ in 0..5 {
            assert_eq!(budgets.reserve(&attempt).await.unwrap(), first);
        }
    });
}

// proves: A10
#[test]
fn two_hundred_at_once_get_exactly_the_cap() {
    over_every_store(Settings::default(), |budgets| async move {
        for round in 0..5 {
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..200 {
                let budgets = Arc::clone(&budgets);
                let attempt = Call::new(&format!("round {round}")).attempt();
                tasks.spawn(async move { budgets.reserve(&attempt).await.unwrap() });
            }
            let got = tasks.join_all().await;
            assert_eq!(got.iter().filter(|one| matches!(one, Reservation::Granted(_))).count(), 3);
        }
    });
}

// proves: A12
#[test]
fn nobody_is_told_the_same_as_somebody_try_by_try() {
    over_every_store(Settings::default(), |budgets| async move {
        let said = AccountSelector::Name("Acme Telephony".into());
        for (interaction, at) in [("1", 0), ("1", 1), ("1", 2), ("1", 3), ("2", 4), ("3", 5), ("3", 7 * 86_400)] {
            let of = |who: &str, digits| Call::new(&format!("{who} {interaction}")).from(number(digits)).at(after(at));
            let known = budgets.reserve(&of("known", 1).attempt_at(&said, true)).await.unwrap();
            let unknown = budgets.reserve(&of("unknown", 2).attempt_at(&said, false)).await.unwrap();
            assert_eq!(known, unknown, "{interaction} at {at}");
        }
    });
}

// proves: A8, A11
#[test]
fn a_spray_raises_one_alarm_and_narrows_the_unfamiliar_lane_alone() {
    let mut settings = Settings::default();
    settings.alarm.client_accounts = 20;
    over_every_store(settings, |budgets| async move {
        let mut raised = Vec::new();
        for victim in 0..30 {
            let call = Call::new(&format!("spray {victim}")).from(number(1000 + victim));
            let said = AccountSelector::Name(format!("victim {victim}"));
            let grant = granted(budgets.reserve(&call.attempt_at(&said, false)).await.unwrap());
            assert_eq!(grant.narrowed, victim >= 20, "{victim}");
            raised.extend(grant.raised);
        }
        assert_eq!(raised, [Alarm::Client]);
        let stranger = Call::new("stranger").from(number(2));
        assert_eq!(granted(reserve(&*budgets, &stranger).await).tries_left, 0);
        let refusal = refused(reserve(&*budgets, &stranger).await);
        assert!(refusal.narrowed);
        granted(reserve(&*budgets, &Call::new("again").from(number(2))).await);
        assert_eq!(
            refused(reserve(&*budgets, &Call::new("third").from(number(2))).await).by,
            SourceBudget::CallingNumber
        );
        for left in [2, 1, 0] {
            let familiar = granted(reserve(&*budgets, &Call::new("owner").from(number(3)).familiar()).await);
            assert_eq!((familiar.tries_left, familiar.narrowed), (left, false));
        }
        // An hour later the alarm is over.
        let later = Call::new("later").from(number(4)).at(after(3601));
        assert!(!granted(reserve(&*budgets, &later).await).narrowed);
    });
}

#[test]
fn a_thousand_successes_on_as_many_accounts_raise_no_alarm() {
    let mut settings = Settings::default();
    settings.alarm.client_accounts = 5;
    over_every_store(settings, |budgets| async move {
        for customer in 0..50 {
            let said = AccountSelector::Name(format!("customer {customer}"));
            let attempt = Call::new(&customer.to_string()).attempt_at(&said, true);
            assert!(granted(budgets.reserve(&attempt).await.unwrap()).raised.is_empty());
            budgets.settle(&attempt, Outcome::Success).await.unwrap();
        }
    });
}

#[test]
fn new_numbers_beyond_a_clients_rate_share_counters_and_familiar_ones_never_do() {
    let settings = Settings { new_keys_per_client_minute: 10, ..Settings::default() };
    over_every_store(settings, |budgets| async move {
        let mut refusals = 0;
        for stranger in 0..400 {
            let call = Call::new(&format!("call {stranger}")).from(number(1000 + stranger)).on(sample::BOREALIS);
            refusals += u32::from(matches!(reserve(&*budgets, &call).await, Reservation::Refused(_)));
        }
        assert!(refusals > 100, "64 shared counters of 3 tries hold 192 of 395, but {refusals} were refused");
        let familiar = Call::new("owner").from(number(1)).familiar();
        assert_eq!(granted(reserve(&*budgets, &familiar).await).tries_left, 2);
        // In the next minute new callers have counters of their own again.
        let later = Call::new("later").from(number(2)).at(after(60));
        assert_eq!(granted(reserve(&*budgets, &later).await).tries_left, 2);
    });
}

#[test]
fn a_restart_forgets_nothing() {
    block_on(async {
        let sampled = Sampled::new().await;
        for _ in 0..3 {
            granted(reserve(&sampled.budgets(Settings::default()), &Call::new("1")).await);
        }
        let sampled = sampled.restarted();
        refused(reserve(&sampled.budgets(Settings::default()), &Call::new("1")).await);
    });
}

#[test]
fn what_no_window_counts_is_deleted_within_twenty_five_hours() {
    block_on(async {
        let sampled = Sampled::new().await;
        let budgets = sampled.budgets(Settings::default());
        for call in 0..30 {
            granted(reserve(&budgets, &Call::new(&call.to_string()).from(number(call))).await);
        }
        budgets.forget(after(25 * 3600)).await.unwrap();
        sampled.store.close();
        let file = rusqlite::Connection::open(sampled.folder.path().join("directory.sqlite3")).unwrap();
        let rows: u32 = file.query_row("SELECT count(*) FROM throttle_unit", (), |row| row.get(0)).unwrap();
        assert_eq!(rows, 0);
    });
}

// proves: A36
#[test]
fn lost_windows_are_suspicion_and_no_fresh_start() {
    block_on(async {
        let memory = MemoryBudgets::new(Settings::default());
        memory.lose();
        starts_half_spent(&memory).await;

        let lost = "DELETE FROM throttle_unit; DELETE FROM throttle_new_key; DELETE FROM throttle_store;";
        let sampled = Sampled::new().await.tampered(lost);
        starts_half_spent(&sampled.budgets(Settings::default())).await;

        let server = Server::start(&[]);
        let redis = in_redis(&server, Settings::default()).await;
        for spent in 0..20 {
            drop(reserve(&redis, &Call::new(&spent.to_string()).from(number(1))).await);
        }
        server.say::<()>("FLUSHALL");
        starts_half_spent(&redis).await;
    });
}

/// What is left in a store that has lost its counters: half of everything for strangers, rounded up, for a day.
async fn starts_half_spent(budgets: &dyn Budgets) {
    let first = granted(reserve(budgets, &Call::new("1").from(number(1))).await);
    assert_eq!((first.raised.as_slice(), first.narrowed), ([Alarm::CountersLost].as_slice(), true));
    assert_eq!(first.tries_left, 1, "an interaction of three has two");
    let second = granted(reserve(budgets, &Call::new("1").from(number(1))).await);
    assert_eq!((second.tries_left, second.raised.as_slice()), (0, [].as_slice()), "it is told once");
    assert_eq!(refused(reserve(budgets, &Call::new("1").from(number(1))).await).by, SourceBudget::Interaction);
    for third in 3..=5 {
        granted(reserve(budgets, &Call::new(&third.to_string()).from(number(1))).await);
    }
    let sixth = refused(reserve(budgets, &Call::new("6").from(number(1))).await);
    assert_eq!((sixth.by, sixth.narrowed), (SourceBudget::CallingNumber, true), "a number of ten has five");
    for other in 6..=8 {
        let grant = granted(reserve(budgets, &Call::new(&format!("other {other}"))).await);
        assert_eq!(grant.account, AccountBudget::Open, "{other}");
    }
    let ninth = granted(reserve(budgets, &Call::new("other 9")).await);
    assert_eq!(ninth.account, AccountBudget::Spent, "an account of fifteen has eight");
    for left in [2, 1, 0] {
        let familiar = granted(reserve(budgets, &Call::new("owner").from(number(2)).familiar()).await);
        assert_eq!((familiar.tries_left, familiar.narrowed, familiar.account), (left, false, AccountBudget::Open));
    }
    let later = granted(reserve(budgets, &Call::new("later").from(number(3)).at(after(86_400))).await);
    assert_eq!((later.tries_left, later.narrowed), (2, false));
}

// proves: A36
#[test]
fn under_suspicion_one_place_is_left_where_there_was_only_one() {
    block_on(async {
        let settings = Settings {
            interaction_tries: 1,
            narrowed_interaction_tries: 1,
            number_failures: 1,
            narrowed_number_failures: 1,
            ..Settings::default()
        };
        let memory = MemoryBudgets::new(settings.clone());
        memory.lose();
        let server = Server::start(&[]);
        let redis = in_redis(&server, settings).await;
        server.say::<()>("FLUSHALL");
        for budgets in [&memory as &dyn Budgets, &redis] {
            granted(reserve(budgets, &Call::new("1").from(number(1))).await);
            refused(reserve(budgets, &Call::new("1").from(number(1))).await);
        }
    });
}

// proves: A36, N3
#[test]
fn a_directory_that_was_put_back_is_suspicion_in_every_store() {
    block_on(async {
        let memory = MemoryBudgets::new(Settings::default());
        let sampled = Sampled::new().await;
        let sqlite = sampled.budgets(Settings::default());
        let server = Server::start(&[]);
        let redis = in_redis(&server, Settings::default()).await;
        server.say::<()>("FLUSHALL");
        // Whatever these stores were before, they are in the first generation now, and no longer new.
        let later = |day: i64| after(day * 200_000);
        for budgets in [&memory as &dyn Budgets, &sqlite, &redis] {
            drop(reserve(budgets, &Call::new("begun").from(number(8))).await);
            let full = granted(reserve(budgets, &Call::new("full").from(number(9)).at(later(1))).await);
            assert_eq!((full.tries_left, full.raised.as_slice()), (2, [].as_slice()));
            let generation = Generation::new(1, [7; 16]);
            let first = granted(reserve(budgets, &Call::new("1").at(later(2)).in_generation(generation)).await);
            assert_eq!((first.tries_left, first.raised.as_slice()), (1, [Alarm::CountersLost].as_slice()));
            let second = granted(reserve(budgets, &Call::new("2").at(later(2)).in_generation(generation)).await);
            assert_eq!((second.tries_left, second.raised.as_slice()), (1, [].as_slice()), "it is told once");
            let familiar = Call::new("3").from(number(2)).familiar().at(later(2)).in_generation(generation);
            assert_eq!(granted(reserve(budgets, &familiar).await).tries_left, 2);
            let next_day = granted(reserve(budgets, &Call::new("4").at(later(3)).in_generation(generation)).await);
            assert_eq!(next_day.tries_left, 2, "for a day");
        }
    });
}
