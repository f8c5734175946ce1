//! What it means to every store that an account is closed: nothing verifies anybody of it, and nothing of it waits.

use countersign::{
    directory::{
        AccountStatus, Behind, NewDelivery, RecordKind,
        credential::{
            Absent, Credentials, NewPassphrase, Owner, SetMethod, Settled, StoredHashText, Success, Target, Tried,
        },
        notices::{Notices, Wanted},
        people::PeopleStore,
        postgres::PostgresCredentials,
        sqlite::SqliteCredentials,
    },
    notice::Kind,
    throttle::{Lane, floor::Floor},
};

use super::{contract::escalation, *};
use crate::postgres::Database;

/// A store under test.
trait Store: Directory + Notices + Escalations + PeopleStore {}

impl<T: Directory + Notices + Escalations + PeopleStore> Store for T {}

/// The store, with the sample company in it, and the credentials in it.
struct Sampled {
    store: Arc<dyn Store>,
    credentials: Arc<dyn Credentials>,
}

/// Runs the test in a store of its own, of either kind.
async fn on_every_store(test: impl AsyncFn(Sampled)) {
    let dir = tempfile::tempdir().unwrap();
    let store = super::embedded::open(dir.path());
    fill(&store).await;
    let credentials = Arc::new(SqliteCredentials::new(store.clone(), Floor::default()));
    Box::pin(test(Sampled { store: Arc::new(store.clone()), credentials })).await;
    store.close();

    let store = Database::new().await.store().await;
    fill(&store).await;
    let credentials = Arc::new(PostgresCredentials::new(store.clone(), Floor::default()));
    Box::pin(test(Sampled { store: Arc::new(store.clone()), credentials })).await;
    store.close();
}

fn passphrase() -> NewPassphrase {
    NewPassphrase { stored: StoredHashText::new("$argon2id$x"), canonical_version: 1, method: SetMethod::Operator }
}

fn acme() -> AccountId {
    AccountId::new(sample::ACME)
}

fn owners() -> [Owner; 3] {
    let ada = || ContactId::new(sample::ADA);
    [Owner::Contact(ada()), Owner::Keypad(ada()), Owner::Account(acme())]
}

fn closing() -> Change {
    Change::CloseAccount { account: acme(), at: later(1) }
}

impl Sampled {
    async fn change(&self, change: Change, at: Timestamp) -> Result<Revision, DirectoryError> {
        self.store.apply(vec![change], Actor::Operator("root".into()), at).await
    }

    async fn set(&self, owner: &Owner, at: Timestamp) -> Result<Revision, DirectoryError> {
        self.credentials.set(owner, passphrase(), Actor::Operator("root".into()), at).await
    }

    async fn tries(&self, target: Target, at: Timestamp) -> Tried {
        self.credentials.reserve(&target, Lane::Unfamiliar, at).await.unwrap()
    }

    /// By passphrase and by keypad.
    async fn tries_both(&self, contact: &str, at: Timestamp) -> [Tried; 2] {
        let contact = || ContactId::new(contact);
        [self.tries(Target::Contact(contact()), at).await, self.tries(Target::Keypad(contact()), at).await]
    }

    async fn statuses(&self, status: Option<AccountStatus>) -> Vec<String> {
        let found = self.store.search_accounts(status, None, 10).await.unwrap();
        found.into_iter().map(|account| account.id.to_string()).collect()
    }

    /// Whether somebody is told of this at the address.
    async fn tells(&self, kind: Kind, address: &str) -> bool {
        let told = self.store.list_notices(&Wanted { state: None, limit: 1000 }).await.unwrap();
        told.iter().any(|notice| notice.kind == kind && notice.target.address() == address)
    }

    async fn selects(&self, by: AccountSelector) -> Selection {
        let subject = SubjectHints { account: Some(by), contact: Some(ContactSelector::Extension("101".into())) };
        self.store.look(&Look::at_subject(subject, later(2))).await.unwrap().selection
    }

    async fn state(&self, escalation: &str) -> EscalationState {
        self.store.find_escalation(escalation, later(2)).await.unwrap().unwrap().state
    }

    /// Grace's request waits.
    async fn asks_for_more(&self) {
        let new = escalation("esc-1", sample::GRACE, "o-1");
        let opened = self.store.open_escalation(new, PendingLimits::default()).await.unwrap();
        assert!(matches!(opened, OpenOutcome::Opened(_)), "{opened:?}");
    }

    /// A call to the record that was asked for.
    async fn delivery(&self, id: &str, at: Timestamp) -> Behind {
        let new = NewDelivery { id: id.into(), account: Some(acme()), kind: RecordKind::Number, opened: at };
        self.store.open_delivery(new, 5).await.unwrap()
    }
}

// proves: S12, A13, F8, F10, F11
#[tokio::test]
async fn what_verifies_and_what_waits_ends_with_the_account() {
    on_every_store(async |sampled: Sampled| {
        let Sampled { store, credentials } = &sampled;
        for owner in owners() {
            sampled.set(&owner, now()).await.unwrap();
        }
        sampled.set(&Owner::Contact(ContactId::new(sample::KARL)), now()).await.unwrap();
        let Tried::Granted(granted) = sampled.tries(Target::Contact(ContactId::new(sample::ADA)), now()).await else {
            panic!("nothing is granted")
        };
        sampled.asks_for_more().await;
        assert_eq!(sampled.delivery("dec-1", now()).await, Behind::Due);
        assert!(store.find_delivery("dec-1", now()).await.unwrap().is_some());
        let before = load(&**store, sample::ADA).await;
        assert!(before.is_active() && before.enrolment.current.is_some());

        let revision = sampled.change(closing(), later(1)).await.unwrap();
        let log = store.changes_after(Revision(revision.0 - 1), 10).await.unwrap();
        assert_eq!((log.len(), log[0].kind.as_str(), log[0].account.clone()), (1, "close_account", Some(acme())));

        // He keeps the status that he had, and is nobody to whoever decides.
        let ada = load(&**store, sample::ADA).await;
        assert_eq!((ada.account.closed, ada.account.status()), (Some(later(1)), AccountStatus::Closed));
        assert_eq!((ada.contact.status, ada.is_active(), ada.enrolment.current), (ContactStatus::Active, false, None));
        assert_eq!(ada.assignments, before.assignments);
        let by_id = Look {
            whose: Whose::Selected,
            attempt: Some(AttemptFrom { line: None, familiar_since: now() }),
            ..Look::at_subject(
                SubjectHints {
                    account: Some(AccountSelector::Id(acme())),
                    contact: Some(ContactSelector::Id(ContactId::new(sample::ADA))),
                },
                later(2),
            )
        };
        let seen = store.look(&by_id).await.unwrap();
        assert_eq!((seen.standing.unwrap().is_active(), seen.attempt), (false, AttemptFacts::default()));
        assert_eq!(store.find_account(&acme()).await.unwrap().unwrap(), ada.account);

        // Passphrases, his digits and the account's are gone, and none is set anew. What was tried before counts no more.
        for contact in [sample::ADA, sample::BEN] {
            let inactive = || Tried::Absent(Absent::Inactive);
            assert_eq!(sampled.tries_both(contact, later(2)).await, [inactive(), inactive()], "{contact}");
        }
        let success = Success {
            credential: granted.credential,
            version: granted.version,
            lane: Lane::Unfamiliar,
            line: None,
            rehash: None,
        };
        assert_eq!(credentials.settle_success(success, later(2)).await.unwrap(), Settled::Stale);
        for owner in owners() {
            let refused = sampled.set(&owner, later(2)).await;
            assert!(matches!(refused, Err(DirectoryError::Invalid { field: "account", .. })), "{refused:?}");
            let status = credentials.status(&owner, later(2)).await.unwrap();
            assert!(status.is_none_or(|status| !status.is_set), "{owner:?}");
        }

        // Nothing waits, and nothing is sent.
        assert_eq!(sampled.state("esc-1").await, EscalationState::Cancelled);
        assert_eq!(store.find_delivery("dec-1", later(2)).await.unwrap(), None);
        assert_eq!(sampled.delivery("dec-2", later(2)).await, Behind::NothingSettled);
        assert_eq!(store.find_delivery("dec-2", later(2)).await.unwrap(), None);

        // Its name and number may be another's by now.
        let number = || AccountSelector::NumberOfRecord(E164::parse(sample::ACME_OLD_NUMBER).unwrap());
        let name = || AccountSelector::Name("ACME telephony".into());
        assert_eq!([sampled.selects(number()).await, sampled.selects(name()).await], [const { NOBODY }; 2]);
        let mut borealis = load(&**store, sample::KARL).await.account;
        borealis.numbers_of_record.clone_from(&ada.account.numbers_of_record);
        borealis.name = "Acme Telephony".into();
        sampled.change(Change::PutAccount(borealis), later(2)).await.unwrap();
        let karl = Selection { account: account(sample::BOREALIS), contact: contact(sample::KARL) };
        assert_eq!([sampled.selects(number()).await, sampled.selects(name()).await], [karl.clone(), karl]);

        assert_eq!(sampled.statuses(Some(AccountStatus::Closed)).await, [sample::ACME]);
        assert_eq!(sampled.statuses(Some(AccountStatus::Active)).await, [sample::BOREALIS]);
        assert_eq!(sampled.statuses(None).await, [sample::ACME, sample::BOREALIS]);
        for address in ["ada.moreno@acme.example", "billing@acme.example"] {
            assert!(sampled.tells(Kind::AccountClosed, address).await, "{address}");
        }
        // Others do not notice.
        let karl = sampled.tries(Target::Contact(ContactId::new(sample::KARL)), later(2)).await;
        assert!(matches!(karl, Tried::Granted(_)), "{karl:?}");
        let twice = sampled.change(closing(), later(2)).await;
        assert!(matches!(twice, Err(DirectoryError::Invalid { field: "account", .. })), "{twice:?}");
        let unknown = Change::CloseAccount { account: AccountId::new("acc-9999"), at: later(1) };
        assert!(matches!(
            sampled.change(unknown, later(2)).await,
            Err(DirectoryError::Invalid { field: "account", .. })
        ));
    })
    .await;
}

const NOBODY: Selection = Selection { account: None, contact: None };

// proves: A31, S12
#[tokio::test]
async fn an_account_comes_back_without_passphrases_and_with_its_roles_as_new_ones() {
    on_every_store(async |sampled: Sampled| {
        let store = &sampled.store;
        let own = Owner::Contact(ContactId::new(sample::ADA));
        sampled.set(&own, now()).await.unwrap();
        let open = sampled.change(Change::ReopenAccount { account: acme() }, now()).await;
        assert!(matches!(open, Err(DirectoryError::Invalid { field: "account", .. })), "it is open: {open:?}");
        sampled.change(closing(), later(1)).await.unwrap();
        // Who leaves meanwhile has left.
        let grace = load(&**store, sample::GRACE).await.contact;
        let gone = Change::PutContact(Contact { status: ContactStatus::Inactive, ..grace });
        sampled.change(gone, later(2)).await.unwrap();
        // What is written of it leaves it closed.
        let acme_as_it_is = store.find_account(&acme()).await.unwrap().unwrap();
        let stale = countersign::directory::Account { closed: None, primary_admin: None, ..acme_as_it_is };
        sampled.change(Change::PutAccount(stale), later(2)).await.unwrap();
        assert!(!load(&**store, sample::ADA).await.is_active());

        sampled.change(Change::ReopenAccount { account: acme() }, later(3)).await.unwrap();
        let ada = load(&**store, sample::ADA).await;
        assert_eq!((ada.account.closed, ada.is_active(), ada.enrolment.current), (None, true, None));
        assert!(ada.is_primary_admin());
        assert_eq!(ada.assignments.iter().map(|role| role.granted).collect::<Vec<_>>(), [later(3)], "A31");
        assert!(!load(&**store, sample::GRACE).await.is_active());
        assert_eq!(
            sampled.tries(Target::Contact(ContactId::new(sample::ADA)), later(3)).await,
            Tried::Absent(Absent::Cleared)
        );
        assert!(sampled.tells(Kind::AccountReopened, "ada.moreno@acme.example").await);
        sampled.set(&own, later(3)).await.unwrap();
        let tried = sampled.tries(Target::Contact(ContactId::new(sample::ADA)), later(3)).await;
        assert!(matches!(tried, Tried::Granted(_)), "{tried:?}");
    })
    .await;
}

// proves: S12, A31, F10
#[tokio::test]
async fn an_account_that_another_system_closes_by_sql_is_closed_no_less() {
    let database = Database::new().await;
    let store = database.store().await;
    fill(&store).await;
    let credentials = Arc::new(PostgresCredentials::new(store.clone(), Floor::default()));
    let sampled = Sampled { store: Arc::new(store.clone()), credentials };
    for owner in owners() {
        sampled.set(&owner, now()).await.unwrap();
    }
    sampled.asks_for_more().await;
    assert_eq!(sampled.delivery("dec-1", now()).await, Behind::Due);
    database.sql("UPDATE countersign.account SET closed = clock_timestamp() WHERE id = 'acc-1001'").await;

    assert!(!load(&store, sample::ADA).await.is_active());
    let inactive = || Tried::Absent(Absent::Inactive);
    assert_eq!(sampled.tries_both(sample::ADA, later(2)).await, [inactive(), inactive()]);
    let left = "SELECT (SELECT count(*) FROM countersign.credential_hash)::text,
                       (SELECT count(*) FROM countersign.credential_keypad WHERE phc IS NOT NULL)::text,
                       (SELECT count(*) FROM countersign.delivery)::text";
    assert_eq!(database.sql(left).await[0], ["0", "0", "0"]);
    assert_eq!(sampled.state("esc-1").await, EscalationState::Cancelled);
    store.gather_written(now()).await.unwrap();
    assert!(sampled.tells(Kind::AccountClosed, "billing@acme.example").await);
    // A sidecar of the version before does not know of it, and takes everybody for who left.
    let look =
        "SELECT status FROM countersign.look('id', 'acc-1001', 'id', 'con-1001', NULL, 'selected', NULL, NULL, NULL,
                                                    now(), false, NULL, NULL)";
    assert_eq!(database.sql(look).await[0], ["inactive"]);

    database.sql("UPDATE countersign.account SET closed = NULL WHERE id = 'acc-1001'").await;
    let ada = load(&store, sample::ADA).await;
    assert!(ada.is_active() && ada.assignments.iter().all(|role| role.granted > later(24)), "as new ones: {ada:?}");
    store.gather_written(now()).await.unwrap();
    assert!(sampled.tells(Kind::AccountReopened, "billing@acme.example").await);
    store.close();
}
