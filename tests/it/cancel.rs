//! A caller who goes away stops nothing: the recipe runs as a task of its own.

use std::{
    future::Future,
    num::NonZeroU32,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use countersign::{
    audit::{Record, Trail, TrailSettings},
    authorize::{Ask, Authorizer, Call, Escalate, Evidence, Freshness, PassphraseParts, Resource, Terms},
    client::{Assertion, ClientSystem, Credentials, Rpc},
    clock::{Clock, SystemClock},
    data_dir::DataDir,
    directory::{
        AccountId, AccountSelector, Actor, ContactId, ContactSelector, Directory, RoleName, Scope, SubjectHints,
        sample,
        sqlite::{SqliteBudgets, SqliteCredentials, Store},
    },
    identity::{
        hasher::{Cost, Hasher, PoolSize},
        keys::KeyRing,
    },
    interaction::{Channel, Interaction},
    manage::people::People,
    policy::{Bundle, Current},
    throttle::{DigestKey, Rules, Settings},
};
use zeroize::Zeroizing;

/// Polls at most this often before the call is dropped: far more than the recipe has awaits.
const MOST_POLLS: usize = 40;

/// The sample company in a store of its own, and its audit. Whoever takes it apart keeps its folder.
struct Stage {
    folder: tempfile::TempDir,
    data: DataDir,
    clock: Arc<dyn Clock>,
    store: Store,
    trail: Arc<Trail>,
}

impl Stage {
    async fn set() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let data = DataDir::own(folder.path().join("data")).unwrap();
        let store = Store::open(&data).unwrap();
        store.apply(sample::changes(clock.now()), Actor::Sidecar, clock.now()).await.unwrap();
        let trail =
            Trail::open(&folder.path().join("data/audit"), TrailSettings::default(), Arc::clone(&clock)).unwrap();
        Self { folder, data, clock, store, trail: Arc::new(trail) }
    }
}

// proves: A35
#[tokio::test]
async fn a_call_that_is_dropped_at_any_await_is_decided_and_recorded_all_the_same() {
    let Stage { folder: _folder, data: _data, clock, store, trail } = Stage::set().await;
    let mut records = trail.subscribe();
    let keys = Arc::new(KeyRing::ephemeral().unwrap());
    let size = PoolSize { workers: NonZeroU32::MIN, waiting: 4, release_after: Duration::from_secs(60) };
    let authorizer = Arc::new(Authorizer {
        directory: Arc::new(store.clone()),
        escalations: Arc::new(store.clone()),
        policy: Arc::new(Current::new(Bundle::embedded().unwrap())),
        trail: Arc::clone(&trail),
        clock: Arc::clone(&clock),
        passphrases: PassphraseParts {
            credentials: Arc::new(SqliteCredentials::new(store.clone(), Settings::default().floor)),
            budgets: Arc::new(SqliteBudgets::new(store, Settings::default())),
            rules: Arc::new(Rules::new(DigestKey::new(Zeroizing::new([7; 32])), Settings::default())),
            hasher: Arc::new(Hasher::start(size, Cost::CHEAP_FOR_TESTS, Arc::clone(&keys)).unwrap()),
            floor: Duration::from_millis(250),
        },
        keys,
        terms: Terms::default(),
        activities: Arc::default(),
    });

    for polls in 1..=MOST_POLLS {
        let request_id = format!("dropped-after-{polls}");
        {
            let ask = Ask { action: "account.view".to_owned(), resource: Resource::default(), approval: None };
            let mut future = pin!(authorizer.authorize(call(&*clock, &request_id), ask, Escalate::Open));
            for _ in 0..polls {
                if let Poll::Ready(reply) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    reply.unwrap();
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        let recorded = async {
            loop {
                if let Record::Decision(record) = &records.recv().await.unwrap().record {
                    assert_eq!(record.call.request_id, request_id);
                    assert_eq!(record.item.decision, "ALLOW");
                    break;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), recorded).await.expect("the decision reaches the audit");
    }
}

// proves: A35
#[tokio::test]
async fn a_change_that_is_dropped_at_any_await_is_recorded_all_the_same() {
    let Stage { folder: _folder, data: _data, clock, store, trail } = Stage::set().await;
    let mut records = trail.subscribe();
    let policy = Arc::new(Current::new(Bundle::embedded().unwrap()));
    let people = People { directory: Arc::new(store.clone()), people: Arc::new(store), policy, trail, clock };
    let (june, actor) = (ContactId::new(sample::JUNE), || Actor::Operator("it".to_owned()));
    let role = || RoleName::new("it_admin");
    for polls in 1..=MOST_POLLS {
        let is_odd = polls % 2 == 1;
        {
            let mut future = pin!(async {
                if is_odd {
                    people.assign_role(&june, role(), Scope::Company, actor()).await
                } else {
                    people.revoke_role(&june, role(), Scope::Company, actor()).await
                }
            });
            for _ in 0..polls {
                if let Poll::Ready(outcome) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    outcome.unwrap();
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        let expected = if is_odd { "role_assigned" } else { "role_revoked" };
        for what in [format!("{expected}_intended"), expected.to_owned()] {
            let next = tokio::time::timeout(Duration::from_secs(10), records.recv()).await;
            let next = next.expect("the change reaches the audit").unwrap();
            assert!(matches!(&next.record, Record::Change(change) if change.what == what), "{next:?}");
        }
    }
}

fn call(clock: &dyn Clock, request_id: &str) -> Call {
    let client = ClientSystem {
        name: "portal".to_owned(),
        group: "default".to_owned(),
        rpcs: [Rpc::Authorize].into(),
        channels: [Channel::Portal].into(),
        asserts: [Assertion::PortalLogin].into(),
        roles: std::collections::BTreeSet::new(),
        accepts_tokens_from: [].into(),
        debug: false,
        credentials: Credentials { tokens: Vec::new(), unix_uid: None },
    };
    Call {
        client: Arc::new(client),
        arrived: clock.uptime(),
        deadline: clock.uptime() + Duration::from_secs(5),
        place: None,
        stopwatch: Arc::default(),
        interaction: Interaction {
            channel: Channel::Portal,
            id: request_id.to_owned(),
            calling_number: None,
            attestation: None,
            agent_id: None,
        },
        subject: SubjectHints {
            account: Some(AccountSelector::Id(AccountId::new(sample::ACME))),
            contact: Some(ContactSelector::Id(ContactId::new(sample::ADA))),
        },
        evidence: Evidence::PortalLogin { login_time: clock.now() },
        freshness: Freshness::Cached,
        locale: String::new(),
        request_id: request_id.to_owned(),
    }
}
