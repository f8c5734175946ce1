//! What an account review reads, over both stores.

use countersign::{
    directory::{
        activity::Activity,
        credential::{Credentials, NewPassphrase, Owner, SetMethod, StoredHashText},
        postgres::PostgresCredentials,
        review::{AccountFacts, AfterContact, ContactFacts, PassphraseFacts, ReviewSource},
        sqlite::SqliteCredentials,
    },
    throttle::Settings,
};
use jiff::civil::{Date, date};

use super::{embedded::open, *};
use crate::postgres::Database;

// proves: S12, S13, S14
#[tokio::test]
async fn a_review_reads_the_same_of_the_embedded_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let credentials = SqliteCredentials::new(store.clone(), Settings::default().floor);
    reads_all_that_it_asks_for(&store, &credentials).await;
    keeps_the_newest_day_of_each(&store).await;
    store.close();
}

// proves: S12, S13, S14
#[tokio::test]
async fn a_review_reads_the_same_of_postgres() {
    let database = Database::new().await;
    let store = database.store().await;
    let credentials = PostgresCredentials::new(store.clone(), Settings::default().floor);
    reads_all_that_it_asks_for(&store, &credentials).await;
    keeps_the_newest_day_of_each(&store).await;

    // Who changes the office by SQL sets the day all the same.
    database.sql("SELECT countersign.lock_directory()").await;
    let sql = format!("UPDATE countersign.account SET primary_admin = '{}' WHERE id = '{}'", sample::BEN, sample::ACME);
    let before = Timestamp::now();
    database.sql(Box::leak(sql.into_boxed_str())).await;
    let acme = acme(&store).await;
    assert!(acme.primary_admin_since.unwrap() >= before - SignedDuration::from_secs(1), "{acme:?}");
    assert!(acme.passphrase.unwrap().suspended.is_some(), "S14");
    store.close();
}

async fn acme(store: &dyn ReviewSource) -> AccountFacts {
    store.review_accounts(Some(&AccountId::new(sample::ACME)), None, 10).await.unwrap().remove(0)
}

async fn everybody(store: &dyn ReviewSource, a_page: u32) -> Vec<ContactFacts> {
    let mut all: Vec<ContactFacts> = Vec::new();
    loop {
        let after = all.last().map(|facts| AfterContact {
            account: facts.listed.contact.account.clone(),
            contact: facts.listed.contact.id.clone(),
        });
        let page = store.review_contacts(None, after.as_ref(), a_page).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

async fn reads_all_that_it_asks_for<S: Directory + ReviewSource>(store: &S, credentials: &dyn Credentials) {
    fill(store).await;
    let phrase =
        |phc| NewPassphrase { stored: StoredHashText::new(phc), canonical_version: 1, method: SetMethod::Operator };
    let operator = || Actor::Operator("root".into());
    let ben = Owner::Contact(ContactId::new(sample::BEN));
    let account = Owner::Account(AccountId::new(sample::ACME));
    credentials.set(&ben, phrase("$ben"), operator(), later(1)).await.unwrap();
    credentials.set(&account, phrase("$acme"), operator(), later(2)).await.unwrap();

    let facts = acme(store).await;
    assert_eq!(facts.account, load(store, sample::ADA).await.account);
    assert_eq!(facts.primary_admin_since, Some(now()));
    let set = PassphraseFacts { is_set: true, set_at: later(2), suspended: None };
    assert_eq!(facts.passphrase, Some(set));

    // Named again he stays in office since the first day; a successor begins anew, and suspends (S14).
    let office = |contact: &str| Change::SetPrimaryAdmin {
        account: AccountId::new(sample::ACME),
        contact: ContactId::new(contact),
    };
    store.apply(vec![office(sample::ADA)], operator(), later(3)).await.unwrap();
    assert_eq!(acme(store).await.primary_admin_since, Some(now()));
    store.apply(vec![office(sample::GRACE)], operator(), later(4)).await.unwrap();
    let facts = acme(store).await;
    assert_eq!(facts.primary_admin_since, Some(later(4)));
    // By the store's clock: PostgreSQL has its own.
    let suspended = facts.passphrase.unwrap().suspended;
    assert!(suspended.is_some(), "S14");
    assert_eq!(facts.passphrase, Some(PassphraseFacts { suspended, ..set }));

    credentials.clear(&ben, operator(), later(5)).await.unwrap();
    for a_page in [1, 5, 500] {
        let all = everybody(store, a_page).await;
        assert_eq!(all.len(), 12, "pages of {a_page}");
        let order = |facts: &ContactFacts| (facts.listed.contact.account.clone(), facts.listed.contact.id.clone());
        assert!(all.is_sorted_by_key(order));
        for facts in &all {
            let standing = load(store, facts.listed.contact.id.as_str()).await;
            assert_eq!((&facts.listed.contact, &facts.listed.roles), (&standing.contact, &standing.assignments));
            let cleared = PassphraseFacts { is_set: false, set_at: later(1), suspended: None };
            let expected = (facts.listed.contact.id.as_str() == sample::BEN).then_some(cleared);
            assert_eq!(facts.passphrase, expected, "{}", facts.listed.contact.id);
        }
    }

    // Of one account, and of none.
    let borealis = AccountId::new(sample::BOREALIS);
    let page = store.review_contacts(Some(&borealis), None, 10).await.unwrap();
    let ids: Vec<_> = page.iter().map(|facts| facts.listed.contact.id.as_str()).collect();
    assert_eq!(ids, [sample::KARL, sample::LENA]);
    let after = AfterContact { account: borealis.clone(), contact: ContactId::new(sample::KARL) };
    let rest = store.review_contacts(Some(&borealis), Some(&after), 10).await.unwrap();
    assert_eq!(rest, page[1..]);
    let accounts = store.review_accounts(None, Some(&AccountId::new(sample::ACME)), 10).await.unwrap();
    assert_eq!(accounts.iter().map(|facts| facts.account.id.as_str()).collect::<Vec<_>>(), [sample::BOREALIS]);
    let nobody = AccountId::new("acc-9999");
    assert_eq!(store.review_accounts(Some(&nobody), None, 10).await.unwrap(), []);
    assert_eq!(store.count_contacts(None).await.unwrap(), 12);
    assert_eq!(store.count_contacts(Some(&borealis)).await.unwrap(), 2);
    assert_eq!(store.count_contacts(Some(&nobody)).await.unwrap(), 0);
}

async fn keeps_the_newest_day_of_each<S: Directory + ReviewSource>(store: &S) {
    let revision = store.revision().await.unwrap();
    let did = |contact: &str, action: &str, verified: Date, allowed: Option<Date>| Activity {
        contact: ContactId::new(contact),
        action: action.into(),
        verified,
        allowed,
    };
    let (first, second, third) = (date(2026, 11, 1), date(2026, 11, 2), date(2026, 11, 3));
    let noted = [
        vec![did(sample::DEV, "b", second, Some(second)), did(sample::DEV, "a", second, None)],
        // An older day that is written later takes nothing away; a refusal takes no allowance away.
        vec![did(sample::DEV, "b", first, Some(first)), did(sample::DEV, "a", third, None)],
        vec![did(sample::DEV, "b", third, None), did("con-9999", "b", third, Some(third))],
    ];
    for some in noted {
        store.note_activities(some).await.unwrap();
    }
    let acme = AccountId::new(sample::ACME);
    let of_dev = store.review_contacts(Some(&acme), None, 500).await.unwrap();
    let of_dev = of_dev.into_iter().find(|facts| facts.listed.contact.id.as_str() == sample::DEV).unwrap();
    assert_eq!(of_dev.activities, [did(sample::DEV, "a", third, None), did(sample::DEV, "b", third, Some(second))]);
    assert_eq!(of_dev.last_verified(), Some(third));
    assert_eq!(store.revision().await.unwrap(), revision, "no change of the directory");
}
