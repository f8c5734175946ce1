//! What every store must do with notices: written with their change or not at all, to whom the directory held before, claimed
//! by one at a time.

use std::collections::BTreeSet;

use countersign::{
    directory::{
        Credentials,
        credential::{NewPassphrase, Owner, SetMethod, StoredHashText, Success, Target as Tried, Tried as Outcome},
        import::{AccountRow, RoleRow},
        notices::{Attempt, Claimed, Notices, Retried, SETTLED_WITHIN, Wanted},
        postgres::PostgresCredentials,
        sqlite::SqliteCredentials,
    },
    notice::{GATHERED_WITHIN, KEPT, Kind, Notice, State},
    throttle::{Lane, floor::Floor},
};

use super::{contract::escalation, *};

mod former;

/// A store under test.
pub(super) trait Store: Directory + Notices {}

impl<T: Directory + Notices> Store for T {}

/// The store, and the credentials in it.
struct Sampled {
    store: Arc<dyn Store>,
    credentials: Arc<dyn Credentials>,
}

/// Runs the test in an empty store of its own, of either kind.
async fn on_every_store(test: impl AsyncFn(Sampled)) {
    let dir = tempfile::tempdir().unwrap();
    let data = DataDir::own(dir.path().join("data")).unwrap();
    let store = countersign::directory::sqlite::Store::open(&data).unwrap();
    let credentials = Arc::new(SqliteCredentials::new(store.clone(), Floor::default()));
    Box::pin(test(Sampled { store: Arc::new(store.clone()), credentials })).await;
    store.close();

    let store = crate::postgres::Database::new().await.store().await;
    let credentials = Arc::new(PostgresCredentials::new(store.clone(), Floor::default()));
    Box::pin(test(Sampled { store: Arc::new(store.clone()), credentials })).await;
    store.close();
}

const NOBODY: [(Kind, &str); 0] = [];
const ADAS: &str = "ada.moreno@acme.example";
const BENS: &str = "ben.okafor@acme.example";
const GRACES: &str = "grace.mbeki@acme.example";
const BILLING: &str = "billing@acme.example";

/// Everything in the outbox, by kind and address.
async fn told(store: &dyn Store) -> BTreeSet<(Kind, String)> {
    notices(store).await.into_iter().map(|it| (it.kind, it.target.address().to_owned())).collect()
}

async fn notices(store: &dyn Store) -> Vec<Notice> {
    store.list_notices(&Wanted { state: None, limit: 1000 }).await.unwrap()
}

async fn expect<const N: usize>(store: &dyn Store, wanted: [(Kind, &str); N], why: &str) {
    let wanted: BTreeSet<_> = wanted.into_iter().map(|(kind, to)| (kind, to.to_owned())).collect();
    assert_eq!(told(store).await, wanted, "{why}");
}

async fn change(store: &dyn Store, change: Change) {
    store.apply(vec![change], Actor::Operator("root".into()), now()).await.unwrap();
}

async fn grace(store: &dyn Store) -> Contact {
    load(store, sample::GRACE).await.contact
}

fn mailed(contact: &Contact, email: &str) -> Change {
    Change::PutContact(Contact { email: Some(email.to_owned()), ..contact.clone() })
}

fn passphrase() -> NewPassphrase {
    NewPassphrase { stored: StoredHashText::new("$argon2id$x"), canonical_version: 1, method: SetMethod::Operator }
}

async fn set(credentials: &Arc<dyn Credentials>, owner: &Owner) -> Revision {
    credentials.set(owner, passphrase(), Actor::Operator("root".into()), now()).await.unwrap()
}

#[tokio::test]
async fn a_new_account_tells_nobody() {
    on_every_store(async |Sampled { store, .. }: Sampled| {
        fill(&*store).await;
        expect(&*store, NOBODY, "there is nobody who held it before").await;
    })
    .await;
}

// proves: F10, F11
#[tokio::test]
async fn a_changed_email_is_told_to_the_old_one() {
    on_every_store(async |Sampled { store, .. }: Sampled| {
        fill(&*store).await;
        let grace = grace(&*store).await;
        let revision = store
            .apply(vec![mailed(&grace, "thief@evil.example")], Actor::Client("hr".into()), later(1))
            .await
            .unwrap();
        let all = notices(&*store).await;
        let [notice] = &all[..] else { panic!("{all:?}") };
        assert_eq!((notice.kind, notice.target.address()), (Kind::EmailChanged, GRACES));
        assert_eq!((notice.account.as_str(), notice.revision), (sample::ACME, Some(revision)));
        assert_eq!((notice.about.clone(), notice.recipient.clone()), (contact(sample::GRACE), contact(sample::GRACE)));
        assert_eq!((notice.created, notice.due, notice.state), (later(1), later(1), State::Pending));
        let json = serde_json::to_string(notice).unwrap();
        assert!(!json.contains("thief"), "{json}");
        assert_eq!(store.find_notice(&notice.id).await.unwrap().as_ref(), Some(notice));

        change(&*store, mailed(&grace, "thief@evil.example")).await;
        assert_eq!(notices(&*store).await.len(), 1, "what stays is not told");
    })
    .await;
}

// proves: F11
#[tokio::test]
async fn who_held_the_address_in_the_last_month_is_told_of_a_passphrase() {
    on_every_store(async |Sampled { store, credentials }: Sampled| {
        fill(&*store).await;
        change(&*store, mailed(&grace(&*store).await, "thief@evil.example")).await;
        let owner = Owner::Contact(ContactId::new(sample::GRACE));
        set(&credentials, &owner).await;
        let wanted =
            [(Kind::EmailChanged, GRACES), (Kind::PassphraseSet, GRACES), (Kind::PassphraseSet, "thief@evil.example")];
        expect(&*store, wanted, "whoever took the address over first gains nothing").await;

        let month = now() + countersign::notice::FORMER_WITHIN + SignedDuration::from_secs(1);
        credentials.set(&owner, passphrase(), Actor::Sidecar, month).await.unwrap();
        let late: Vec<_> = notices(&*store).await.into_iter().filter(|it| it.kind == Kind::PassphraseChanged).collect();
        assert_eq!(late.len(), 1, "{late:?}");
    })
    .await;
}

#[tokio::test]
async fn a_second_change_in_the_same_transaction_goes_by_what_was_before_both() {
    on_every_store(async |Sampled { store, credentials }: Sampled| {
        fill(&*store).await;
        set(&credentials, &Owner::Contact(ContactId::new(sample::GRACE))).await;
        change(&*store, Change::SuspendPassphrase { contact: ContactId::new(sample::JUNE) }).await;
        expect(&*store, [(Kind::PassphraseSet, GRACES)], "June has none that could be suspended").await;
        let grace = grace(&*store).await;
        let suspend = Change::SuspendPassphrase { contact: grace.id.clone() };
        let gone = Change::PutContact(Contact { email: None, ..grace.clone() });
        let changes = vec![mailed(&grace, "thief@evil.example"), gone, suspend];
        store.apply(changes, Actor::Operator("root".into()), now()).await.unwrap();
        let wanted = [(Kind::PassphraseSet, GRACES), (Kind::EmailChanged, GRACES), (Kind::PassphraseSuspended, GRACES)];
        expect(&*store, wanted, "before the transaction").await;
        assert_eq!(notices(&*store).await.len(), 3, "each once");
    })
    .await;
}

// proves: F10, F11, F16
#[tokio::test]
async fn what_is_on_record_is_told_to_the_record_as_it_was() {
    on_every_store(async |Sampled { store, .. }: Sampled| {
        fill(&*store).await;
        let mut acme = load(&*store, sample::ADA).await.account;
        acme.addresses_of_record.iter_mut().for_each(|address| address.address = "thief@evil.example".to_owned());
        acme.addresses_of_record.truncate(1);
        acme.numbers_of_record.remove(0);
        acme.number_moves_locked = true;
        change(&*store, Change::PutAccount(acme.clone())).await;
        let kinds = [Kind::AddressChanged, Kind::NumberChanged, Kind::NumberLockChanged];
        let wanted = kinds.into_iter().flat_map(|kind| [(kind, ADAS.to_owned()), (kind, BILLING.to_owned())]);
        assert_eq!(told(&*store).await, wanted.collect());

        acme.name = "Acme Two".to_owned();
        change(&*store, Change::PutAccount(acme.clone())).await;
        assert_eq!(notices(&*store).await.len(), 6, "a name is no address");

        // Nobody has an e-mail address: then what else there is.
        let ada = load(&*store, sample::ADA).await.contact;
        acme.addresses_of_record.clear();
        change(&*store, Change::PutAccount(acme.clone())).await;
        change(&*store, Change::PutContact(Contact { email: None, ..ada })).await;
        acme.number_moves_locked = false;
        let before = told(&*store).await;
        change(&*store, Change::PutAccount(acme)).await;
        let new: BTreeSet<_> = told(&*store).await.difference(&before).cloned().collect();
        assert_eq!(new, BTreeSet::from([(Kind::NumberLockChanged, sample::ACME_FRESH_NUMBER.to_owned())]));
    })
    .await;
}

// proves: S10
#[tokio::test]
async fn roles_are_told_to_the_person_and_the_primary_admin() {
    on_every_store(async |Sampled { store, .. }: Sampled| {
        fill(&*store).await;
        let grant = role(sample::GRACE, "it_admin", Scope::Company);
        change(&*store, Change::AssignRole(grant.clone())).await;
        expect(&*store, [(Kind::RoleGranted, GRACES), (Kind::RoleGranted, ADAS)], "granted").await;
        change(&*store, Change::AssignRole(grant.clone())).await;
        assert_eq!(notices(&*store).await.len(), 2, "what is there is not granted");

        let revoke = Change::RevokeRole { contact: grant.contact, role: grant.role, scope: grant.scope };
        change(&*store, revoke.clone()).await;
        change(&*store, revoke).await;
        assert_eq!(notices(&*store).await.len(), 4);

        let to_ben =
            Change::SetPrimaryAdmin { account: AccountId::new(sample::ACME), contact: ContactId::new(sample::BEN) };
        change(&*store, to_ben.clone()).await;
        change(&*store, to_ben).await;
        let wanted = [
            (Kind::RoleGranted, GRACES),
            (Kind::RoleGranted, ADAS),
            (Kind::RoleRevoked, GRACES),
            (Kind::RoleRevoked, ADAS),
            (Kind::PrimaryAdminChanged, ADAS),
            (Kind::PrimaryAdminChanged, BILLING),
        ];
        expect(&*store, wanted, "who answered for the account until now").await;

        let june = load(&*store, sample::JUNE).await.contact;
        change(&*store, Change::PutContact(Contact { status: ContactStatus::Inactive, ..june })).await;
        let left: Vec<_> =
            notices(&*store).await.into_iter().filter(|it| it.kind == Kind::ContactDeactivated).collect();
        assert!(left.iter().any(|notice| notice.target.address() == BENS), "{left:?}");
        change(&*store, Change::PutContact(new_contact("con-1011"))).await;
        let added: Vec<_> = notices(&*store).await.into_iter().filter(|it| it.kind == Kind::ContactAdded).collect();
        assert_eq!(added.len(), 2, "{added:?}");
    })
    .await;
}

fn new_contact(id: &str) -> Contact {
    Contact {
        id: ContactId::new(id),
        account: AccountId::new(sample::ACME),
        first_name: "New".into(),
        last_name: "Person".into(),
        email: Some(format!("{id}@acme.example")),
        extension: None,
        user_id: None,
        status: ContactStatus::Active,
        created: now(),
    }
}

// proves: F10
#[tokio::test]
async fn a_change_that_is_undone_tells_nobody() {
    on_every_store(async |Sampled { store, .. }: Sampled| {
        fill(&*store).await;
        let changes = vec![
            mailed(&grace(&*store).await, "thief@evil.example"),
            Change::AssignRole(role(sample::GRACE, "super_admin", Scope::Company)),
            Change::AssignRole(role("con-9999", "super_admin", Scope::Company)),
        ];
        let refused = store.apply(changes, Actor::Operator("root".into()), now()).await;
        assert!(matches!(refused, Err(DirectoryError::Invalid { .. })), "{refused:?}");
        expect(&*store, NOBODY, "no notice without a commit").await;
    })
    .await;
}

// proves: F10
#[tokio::test]
async fn each_change_of_a_passphrase_is_told() {
    on_every_store(async |Sampled { store, credentials }: Sampled| {
        fill(&*store).await;
        let operator = || Actor::Operator("root".into());
        let owner = Owner::Contact(ContactId::new(sample::GRACE));
        set(&credentials, &owner).await;
        set(&credentials, &owner).await;
        let keypad = Owner::Keypad(ContactId::new(sample::GRACE));
        set(&credentials, &keypad).await;
        credentials.clear(&keypad, operator(), now()).await.unwrap();
        credentials.clear(&owner, operator(), now()).await.unwrap();
        let mut wanted = vec![
            (Kind::PassphraseSet, GRACES),
            (Kind::PassphraseChanged, GRACES),
            (Kind::PassphraseCleared, GRACES),
            (Kind::KeypadChanged, GRACES),
            (Kind::KeypadCleared, GRACES),
        ];
        let as_set = |wanted: &[(Kind, &str)]| wanted.iter().map(|(kind, to)| (*kind, (*to).to_owned())).collect();
        let expected: BTreeSet<_> = as_set(&wanted);
        assert_eq!(told(&*store).await, expected);

        set(&credentials, &Owner::Account(AccountId::new(sample::ACME))).await;
        wanted.extend([(Kind::PassphraseSet, ADAS), (Kind::PassphraseSet, BILLING)]);
        let expected: BTreeSet<_> = as_set(&wanted);
        assert_eq!(told(&*store).await, expected, "that of the account concerns who answers for it");
    })
    .await;
}

/// Fails as often as that, waiting for each lock, and returns when it was done.
async fn fail(credentials: &Arc<dyn Credentials>, id: &str, times: u32, from: Timestamp) -> Timestamp {
    let mut at = from;
    for failed in 1..=times {
        let tried = credentials.reserve(&Tried::Contact(ContactId::new(id)), Lane::Unfamiliar, at).await.unwrap();
        assert!(matches!(tried, Outcome::Granted(_)), "{tried:?}");
        at = at + Floor::default().lock_after(failed) + SignedDuration::from_secs(1);
    }
    at
}

// proves: F16
#[tokio::test]
async fn a_lock_is_told_once_a_day_with_how_often() {
    on_every_store(async |Sampled { store, credentials }: Sampled| {
        fill(&*store).await;
        let floor = Floor::default();
        set(&credentials, &Owner::Contact(ContactId::new(sample::GRACE))).await;
        let seen = notices(&*store).await.len();
        let at = fail(&credentials, sample::GRACE, floor.free_failures, now()).await;
        assert_eq!(store.gather_locks(floor, at + SETTLED_WITHIN).await.unwrap(), 0, "five are free");

        let mut at = at;
        for round in 1..=3 {
            at = fail_once(&credentials, at, floor.free_failures + round).await;
            assert_eq!(store.gather_locks(floor, at).await.unwrap(), 1, "round {round}");
            assert_eq!(store.gather_locks(floor, at).await.unwrap(), 0, "each is told once");
        }
        let locks: Vec<_> = notices(&*store).await.into_iter().filter(|it| it.kind == Kind::Locked).collect();
        assert_eq!(locks.len() + seen, notices(&*store).await.len());
        let [later, first] = &locks[..] else { panic!("{locks:?}") };
        assert_eq!((first.count, first.target.address()), (1, GRACES));
        assert_eq!((later.count, later.due), (2, first.due + GATHERED_WITHIN), "the rest of the day comes as one");
        assert_eq!(store.claim_notices(100, SignedDuration::from_secs(60), at).await.unwrap().len(), seen + 1);
    })
    .await;
}

async fn fail_once(credentials: &Arc<dyn Credentials>, at: Timestamp, failures: u32) -> Timestamp {
    let tried =
        credentials.reserve(&Tried::Contact(ContactId::new(sample::GRACE)), Lane::Unfamiliar, at).await.unwrap();
    assert!(matches!(tried, Outcome::Granted(_)), "{tried:?}");
    at + Floor::default().lock_after(failures) + SETTLED_WITHIN
}

#[tokio::test]
async fn an_attempt_that_was_right_is_no_lock() {
    on_every_store(async |Sampled { store, credentials }: Sampled| {
        fill(&*store).await;
        let floor = Floor::default();
        set(&credentials, &Owner::Contact(ContactId::new(sample::GRACE))).await;
        let seen = notices(&*store).await.len();
        let at = fail(&credentials, sample::GRACE, floor.free_failures, now()).await;
        let tried =
            credentials.reserve(&Tried::Contact(ContactId::new(sample::GRACE)), Lane::Unfamiliar, at).await.unwrap();
        let Outcome::Granted(granted) = tried else { panic!("{tried:?}") };
        assert_eq!(store.gather_locks(floor, at).await.unwrap(), 0, "it is not settled yet");
        let right = Success {
            credential: granted.credential,
            version: granted.version,
            lane: Lane::Unfamiliar,
            line: None,
            rehash: None,
        };
        let settled = credentials.settle_success(right, at).await.unwrap();
        assert!(matches!(settled, countersign::directory::credential::Settled::Accepted));
        assert_eq!(store.gather_locks(floor, at + SignedDuration::from_hours(1)).await.unwrap(), 0);
        assert_eq!(notices(&*store).await.len(), seen);
    })
    .await;
}

#[tokio::test]
async fn an_escalation_is_told_to_the_primary_admin_once_a_day() {
    on_every_store(async |Sampled { store, .. }: Sampled| {
        fill(&*store).await;
        for (id, contact) in [("esc-1", sample::GRACE), ("esc-2", sample::HANA), ("esc-3", sample::JUNE)] {
            let opened = store.open_escalation(escalation(id, contact, id), PendingLimits::default()).await.unwrap();
            assert!(matches!(opened, OpenOutcome::Opened(_)), "{opened:?}");
        }
        let again = store.open_escalation(escalation("esc-4", sample::GRACE, "esc-1"), PendingLimits::default()).await;
        assert!(matches!(again, Ok(OpenOutcome::Pending(_))), "{again:?}");
        let all = notices(&*store).await;
        assert!(all.iter().all(|it| (it.kind, it.target.address()) == (Kind::EscalationWaiting, ADAS)), "{all:?}");
        let mut counts: Vec<_> = all.iter().map(|notice| notice.count).collect();
        counts.sort_unstable();
        assert_eq!(counts, [1, 2], "the first, and the rest; what was pending already is not told again");
    })
    .await;
}

#[tokio::test]
async fn an_import_tells_of_addresses_and_sums_up_the_rest() {
    on_every_store(async |Sampled { store, .. }: Sampled| {
        fill(&*store).await;
        let contact = |id: &str, email: &str| {
            Row::Contact(ContactRow {
                id: ContactId::new(id),
                account: AccountId::new(sample::ACME),
                first_name: "New".into(),
                last_name: "Person".into(),
                email: Told::Is(email.to_owned()),
                extension: Told::default(),
                user_id: Told::default(),
                status: None,
                created: None,
            })
        };
        let granted = |id: &str| {
            Row::Role(RoleRow {
                account: AccountId::new(sample::ACME),
                contact: ContactId::new(id),
                role: RoleName::new("it_admin"),
                site: None,
                granted: None,
            })
        };
        let mut rows: Vec<_> =
            (0..20).map(|n| contact(&format!("new-{n}"), &format!("new-{n}@acme.example"))).collect();
        rows.extend((0..20).map(|n| granted(&format!("new-{n}"))));
        rows.push(contact(sample::GRACE, "grace@elsewhere.example"));
        rows.push(Row::Account(AccountRow {
            id: AccountId::new("acc-new"),
            name: "New".into(),
            created: None,
            number_moves_locked: None,
            dedicated_representative: None,
            contract_addresses_cpni: None,
            marketing_approved: Told::default(),
            closed: None,
        }));
        let terms = Terms { import: "one".into(), ..Terms::default() };
        store.import(rows, &terms, Actor::Operator("root".into()), now()).await.unwrap();
        let wanted = [
            (Kind::ContactAdded, ADAS),
            (Kind::ContactAdded, BILLING),
            (Kind::RoleGranted, ADAS),
            (Kind::EmailChanged, GRACES),
        ];
        expect(&*store, wanted, "nobody of the twenty is told of himself").await;
        let all = notices(&*store).await;
        let count = |kind| all.iter().filter(|it| it.kind == kind).map(|it| it.count).collect::<Vec<_>>();
        assert_eq!(count(Kind::RoleGranted).iter().sum::<u32>(), 20, "{all:?}");
        assert_eq!(all.len(), 1 + 3 * 2, "the first of a day, and the rest: {all:?}");
    })
    .await;
}

fn minute() -> SignedDuration {
    SignedDuration::from_secs(60)
}

async fn one(store: &dyn Store) -> Claimed {
    let mut claimed = store.claim_notices(10, minute(), now()).await.unwrap();
    assert_eq!(claimed.len(), 1, "{claimed:?}");
    claimed.remove(0)
}

#[tokio::test]
async fn a_claim_is_ones_own_until_its_lease_is_over() {
    on_every_store(async |Sampled { store, .. }: Sampled| {
        fill(&*store).await;
        change(&*store, mailed(&grace(&*store).await, "new@acme.example")).await;
        let first = one(&*store).await;
        assert_eq!(first.notice.attempts, 1);
        assert_eq!(store.claim_notices(10, minute(), now()).await.unwrap(), []);

        // Who had it died. The next one has it for himself, and the dead one's word counts for nothing.
        let over = now() + minute();
        let second = store.claim_notices(10, minute(), over).await.unwrap().remove(0);
        assert_eq!((second.notice.id.as_str(), second.notice.attempts), (first.notice.id.as_str(), 2));
        assert!(!store.settle_notice(&first, Attempt::Delivered, over).await.unwrap());

        let at = over + minute();
        let again = Attempt::Again { at, why: "HTTP 503".into() };
        assert!(store.settle_notice(&second, again, over).await.unwrap());
        let waits = store.find_notice(&first.notice.id).await.unwrap().unwrap();
        assert_eq!((waits.state, waits.due, waits.last_error.as_deref()), (State::Pending, at, Some("HTTP 503")));
        assert_eq!(store.claim_notices(10, minute(), over).await.unwrap(), []);
        let counts = store.count_notices(at).await.unwrap();
        assert_eq!((counts.pending, counts.dead, counts.oldest_due), (1, 0, Some(at)));

        let third = store.claim_notices(10, minute(), at).await.unwrap().remove(0);
        assert!(store.settle_notice(&third, Attempt::Delivered, at).await.unwrap());
        let delivered = store.find_notice(&first.notice.id).await.unwrap().unwrap();
        assert_eq!((delivered.state, delivered.settled, delivered.attempts), (State::Delivered, Some(at), 3));
        assert_eq!(store.claim_notices(10, minute(), later(100)).await.unwrap(), []);
    })
    .await;
}

/// A notice of which this came in its first attempt.
async fn settled(store: &dyn Store, attempt: Attempt) -> Claimed {
    fill(store).await;
    change(store, mailed(&grace(store).await, "new@acme.example")).await;
    let claimed = one(store).await;
    assert!(store.settle_notice(&claimed, attempt, now()).await.unwrap());
    claimed
}

#[tokio::test]
async fn what_was_given_up_is_tried_again_when_an_operator_wants_it() {
    on_every_store(async |Sampled { store, .. }: Sampled| {
        let claimed = settled(&*store, Attempt::Dead { why: "HTTP 410".into() }).await;
        let id = claimed.notice.id.clone();
        let dead = store.list_notices(&Wanted { state: Some(State::Dead), limit: 10 }).await.unwrap();
        assert_eq!(dead.iter().map(|notice| notice.id.as_str()).collect::<Vec<_>>(), [id.as_str()]);
        assert_eq!(store.count_notices(now()).await.unwrap().dead, 1);
        assert_eq!(store.claim_notices(10, minute(), later(48)).await.unwrap(), []);

        assert_eq!(store.retry_notice(&id, later(1)).await.unwrap(), Retried::Pending);
        let again = store.claim_notices(10, minute(), later(1)).await.unwrap().remove(0);
        // The count goes on: a claimant of before settles nothing by it.
        assert_eq!((again.notice.id.as_str(), again.notice.attempts), (id.as_str(), 2));
        assert!(!store.settle_notice(&claimed, Attempt::Dead { why: "late".into() }, later(1)).await.unwrap());
        // Who has it in hand keeps it.
        assert_eq!(store.retry_notice(&id, later(1)).await.unwrap(), Retried::Pending);
        assert_eq!(store.claim_notices(10, minute(), later(1)).await.unwrap(), []);
        assert!(store.settle_notice(&again, Attempt::Delivered, later(1)).await.unwrap());
        assert_eq!(store.retry_notice(&id, later(1)).await.unwrap(), Retried::WasDelivered);
        assert_eq!(store.retry_notice("none", later(1)).await.unwrap(), Retried::Unknown);
    })
    .await;
}

#[tokio::test]
async fn many_claimants_get_each_notice_once() {
    on_every_store(async |Sampled { store, .. }: Sampled| {
        fill(&*store).await;
        for number in 0..40 {
            change(&*store, mailed(&grace(&*store).await, &format!("g{number}@acme.example"))).await;
        }
        let all = notices(&*store).await.len();
        let mut claiming = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let store = Arc::clone(&store);
            claiming.spawn(async move {
                let mut mine = Vec::new();
                loop {
                    let claimed = store.claim_notices(3, minute(), now()).await.unwrap();
                    if claimed.is_empty() {
                        return mine;
                    }
                    mine.extend(claimed.into_iter().map(|claimed| claimed.notice.id));
                }
            });
        }
        let ids: Vec<_> = claiming.join_all().await.concat();
        assert_eq!(ids.len(), ids.iter().collect::<BTreeSet<_>>().len(), "no notice has two claimants");
        assert!(all >= 40 && ids.len() == all, "{} of {all}", ids.len());
    })
    .await;
}

#[tokio::test]
async fn what_was_delivered_is_forgotten_after_a_month() {
    on_every_store(async |Sampled { store, .. }: Sampled| {
        settled(&*store, Attempt::Delivered).await;
        let edge = now() + KEPT;
        store.gather_locks(Floor::default(), edge).await.unwrap();
        assert_eq!(notices(&*store).await.len(), 1);
        store.gather_locks(Floor::default(), edge + SignedDuration::from_secs(1)).await.unwrap();
        assert_eq!(notices(&*store).await, []);
    })
    .await;
}
