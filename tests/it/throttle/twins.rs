//! The pure rule and the scripts are twins: any sequence of events gets the same answers from memory and from Redis.

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::*;
use crate::redis::{connected, server::Server, vouch};

/// What may happen.
#[derive(Clone, Debug)]
enum Event {
    Reserve {
        interaction: u8,
        number: Option<u8>,
        account: u8,
        agent: Option<u8>,
        familiar: bool,
        nobody: bool,
    },
    /// Several attempts of one turn, reserved together.
    Turn {
        readings: u8,
        interaction: u8,
        number: Option<u8>,
        account: u8,
        familiar: bool,
    },
    /// An attempt made before is reserved once more, as a driver does that repeats.
    Repeat(prop::sample::Index),
    Settle(prop::sample::Index),
    Pass(i64),
    Lose,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let reserve = (
        0_u8..5,
        prop::option::of(0_u8..3),
        0_u8..4,
        prop::option::of(0_u8..2),
        prop::bool::ANY,
        prop::bool::weighted(0.2),
    )
        .prop_map(|(interaction, number, account, agent, familiar, nobody)| Event::Reserve {
            interaction,
            number,
            account,
            agent,
            familiar,
            nobody,
        });
    let turn = (2_u8..4, 0_u8..5, prop::option::of(0_u8..3), 0_u8..4, prop::bool::ANY).prop_map(
        |(readings, interaction, number, account, familiar)| Event::Turn {
            readings,
            interaction,
            number,
            account,
            familiar,
        },
    );
    let moment = prop_oneof![
        3 => 0_i64..120,
        3 => 3_000_i64..40_000,
        1 => -20_000_i64..0,
        1 => prop::sample::select(vec![86_400, 86_399, 3_600, 26 * 3_600, -26 * 3_600, -40 * 86_400]),
    ];
    let event = prop_oneof![
        14 => reserve,
        5 => turn,
        2 => any::<prop::sample::Index>().prop_map(Event::Repeat),
        3 => any::<prop::sample::Index>().prop_map(Event::Settle),
        4 => moment.prop_map(Event::Pass),
        1 => Just(Event::Lose),
    ];
    prop::collection::vec(event, 0..80)
}

/// Small figures, so that a short sequence meets every one of them.
fn settings() -> impl Strategy<Value = Settings> {
    (1_u32..4, 1_u32..6, 1_u32..6, 2_u32..5).prop_map(|(interaction, number, account, accounts)| {
        let mut settings = Settings {
            interaction_tries: interaction,
            narrowed_interaction_tries: 1,
            number_failures: number,
            narrowed_number_failures: number.div_ceil(2),
            account_failures_at_least: account,
            account_failures_per_contact: 1,
            new_keys_per_client_minute: 3,
            ..Settings::default()
        };
        settings.alarm.client_accounts = accounts;
        settings.alarm.agent_accounts = 2;
        settings.alarm.fleet_accounts = accounts + 1;
        settings
    })
}

/// Everything that both stores are asked, in one life of theirs.
struct Life<'a> {
    server: &'a Server,
    memory: MemoryBudgets,
    redis: RedisBudgets,
    rules: Rules,
    made: Vec<Attempt>,
    now: Timestamp,
}

impl Life<'_> {
    async fn live(&mut self, event: Event) -> Result<(), TestCaseError> {
        match event {
            Event::Pass(seconds) => self.now += SignedDuration::from_secs(seconds),
            Event::Lose => {
                self.server.say::<()>("FLUSHALL");
                self.memory.lose();
            }
            Event::Reserve { interaction, number, account, agent, familiar, nobody } => {
                let attempt = self.attempt(interaction, number, account, agent, familiar, nobody);
                self.made.push(attempt.clone());
                self.same(&attempt).await?;
            }
            Event::Turn { readings, interaction, number, account, familiar } => {
                let attempts = (0..readings).map(|_| self.attempt(interaction, number, account, None, familiar, false));
                let attempts: Vec<_> = attempts.collect();
                let ruled = turn::reserve(&self.memory, &attempts).await.unwrap();
                let scripted = turn::reserve(&self.redis, &attempts).await.unwrap();
                prop_assert_eq!(ruled, scripted, "memory and Redis differ about a turn of {:?}", attempts);
                self.made.extend(attempts);
            }
            Event::Repeat(which) if !self.made.is_empty() => {
                let attempt = which.get(&self.made).clone();
                self.same(&attempt).await?;
            }
            Event::Settle(which) if !self.made.is_empty() => {
                let attempt = which.get(&self.made).clone();
                for budgets in [&self.memory as &dyn Budgets, &self.redis] {
                    budgets.settle(&attempt, Outcome::Success).await.unwrap();
                }
            }
            Event::Repeat(_) | Event::Settle(_) => {}
        }
        Ok(())
    }

    async fn same(&self, attempt: &Attempt) -> Result<(), TestCaseError> {
        let ruled = self.memory.reserve(attempt).await.unwrap();
        let scripted = self.redis.reserve(attempt).await.unwrap();
        prop_assert_eq!(ruled, scripted, "memory and Redis differ about {:?}", attempt);
        Ok(())
    }

    fn attempt(
        &self,
        interaction: u8,
        number: Option<u8>,
        account: u8,
        agent: Option<u8>,
        familiar: bool,
        nobody: bool,
    ) -> Attempt {
        let number = number.map(|digit| super::number(digit.into()));
        let id = AccountId::new(format!("account {account}"));
        let agent = agent.map(|agent| format!("agent {agent}"));
        let interaction = format!("call {interaction}");
        let source = Source {
            client: "ivr",
            group: "voice",
            interaction: &interaction,
            agent: agent.as_deref(),
            calling_number: number.as_ref(),
            attestation: None,
        };
        let line = self.rules.line(number.as_ref(), None).filter(|_| familiar);
        let charged = match nobody {
            true => Charged::Nobody,
            false => Charged::Account { id: &id, contacts_with_passphrase: 1 },
        };
        let said = AccountSelector::Id(id.clone());
        let lane = line.map_or(Lane::Unfamiliar, Lane::Familiar);
        self.rules.attempt(draw(), &source, &Aim { said: &said, charged }, lane, self.now)
    }
}

// proves: A10, A34, A36
#[test]
fn memory_and_redis_give_the_same_answers_to_any_sequence_of_events() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = Server::start(&[]);
    let connection = runtime.block_on(connected(server.settings()));
    let cases = std::env::var("TWIN_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(150);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let lived = runner.run(&(settings(), events()), |(settings, events)| {
        runtime.block_on(async {
            server.say::<()>("FLUSHALL");
            let redis = RedisBudgets::new(connection.clone(), settings.clone(), Clock::Attempt);
            assert_eq!(redis.look().await, Ok(Fitness::Fit));
            let memory = MemoryBudgets::new(settings.clone());
            let rules = rules_of(settings);
            let mut life = Life { server: &server, memory, redis, rules, made: Vec::new(), now: now() };
            let first = life.attempt(0, None, 0, None, false, false);
            drop(life.redis.reserve(&first).await.unwrap());
            vouch(&server);
            for event in events {
                life.live(event).await?;
            }
            Ok(())
        })
    });
    if let Err(error) = lived {
        panic!("{error}");
    }
    println!("twins: {cases} cases, memory and Redis agree");
}
