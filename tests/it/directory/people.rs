//! What the management of people asks of a store, over both.

use countersign::directory::{
    import::{Finding, Imported, LAST_ADMIN, Problem, Row, Terms},
    people::{Applied, Decided, KeptRequest, PeopleStore, RequestKey},
};

use super::{embedded::open, *};
use crate::postgres::Database;

#[tokio::test]
async fn the_embedded_store_commits_upon_one_state_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    commits_upon_one_state_alone(&store).await;
    store.close();
}

#[tokio::test]
async fn postgres_commits_upon_one_state_alone() {
    let store = Database::new().await.store().await;
    commits_upon_one_state_alone(&store).await;
    store.close();
}

/// Another last name for Grace, decided over this revision.
async fn renaming(store: &dyn Directory, to: &str, as_of: Revision) -> Decided {
    let grace = load(store, sample::GRACE).await.contact;
    Decided {
        changes: vec![Change::PutContact(Contact { last_name: to.to_owned(), ..grace })],
        account: AccountId::new(sample::ACME),
        as_of,
        request: None,
        is_rehearsal: false,
    }
}

async fn commits_upon_one_state_alone<S: Directory + PeopleStore>(store: &S) {
    let seen = fill(store).await;
    let actor = || Actor::Client("portal".to_owned());
    let name = async || load(store, sample::GRACE).await.contact.last_name;

    // A rehearsal writes nothing, and finds what only the store can see.
    let rehearsal = Decided { is_rehearsal: true, ..renaming(store, "Once", seen).await };
    assert!(matches!(store.apply_if_unchanged(rehearsal, actor(), now()).await, Ok(Applied::Done(_))));
    let mut taken = renaming(store, "Once", seen).await;
    if let Change::PutContact(grace) = &mut taken.changes[0] {
        grace.extension = Some("101".to_owned());
    }
    let refused = store.apply_if_unchanged(Decided { is_rehearsal: true, ..taken }, actor(), now()).await;
    assert!(matches!(refused, Err(DirectoryError::Invalid { field: "extension", .. })), "{refused:?}");
    assert_eq!((name().await.as_str(), store.revision().await.unwrap()), ("Mbeki", seen));

    // What another account does is of no concern; what this one does is.
    let lena = load(store, sample::LENA).await.contact;
    apply(store, Change::PutContact(Contact { last_name: "Vogel".to_owned(), ..lena })).await.unwrap();
    let done = store.apply_if_unchanged(renaming(store, "Once", seen).await, actor(), now()).await.unwrap();
    assert_eq!((done, name().await.as_str()), (Applied::Done(Revision(seen.0 + 2)), "Once"));
    let late = store.apply_if_unchanged(renaming(store, "Twice", seen).await, actor(), now()).await.unwrap();
    assert_eq!((late, name().await.as_str()), (Applied::ChangedMeanwhile, "Once"));

    // A request is kept with its change, for a day.
    let key = RequestKey { client: "portal".to_owned(), id: "req-1".to_owned() };
    let kept = |answer: &str| KeptRequest { key: key.clone(), digest: "d".to_owned(), answer: answer.to_owned() };
    assert_eq!(store.find_request(&key, now()).await.unwrap(), None);
    let current = store.revision().await.unwrap();
    let with = |decided: Decided, answer: &str| Decided { request: Some(kept(answer)), ..decided };
    let third = with(renaming(store, "Third", current).await, "one");
    assert!(matches!(store.apply_if_unchanged(third, actor(), now()).await, Ok(Applied::Done(_))));
    let again = with(renaming(store, "Fourth", store.revision().await.unwrap()).await, "two");
    assert_eq!(store.apply_if_unchanged(again.clone(), actor(), later(23)).await, Ok(Applied::Kept(kept("one"))));
    assert_eq!(
        (name().await.as_str(), store.find_request(&key, later(23)).await.unwrap()),
        ("Third", Some(kept("one")))
    );
    assert_eq!(store.find_request(&key, later(24)).await.unwrap(), None);
    assert!(matches!(store.apply_if_unchanged(again, actor(), later(24)).await, Ok(Applied::Done(_))));
    assert_eq!(store.find_request(&key, later(24)).await.unwrap(), Some(kept("two")));
    // One that could not be committed is not kept.
    let other = RequestKey { id: "req-2".to_owned(), ..key.clone() };
    let request = Some(KeptRequest { key: other.clone(), ..kept("never") });
    let late = Decided { request, ..renaming(store, "Fifth", seen).await };
    assert_eq!(store.apply_if_unchanged(late, actor(), later(24)).await, Ok(Applied::ChangedMeanwhile));
    assert_eq!(store.find_request(&other, later(24)).await.unwrap(), None);

    // Who else lets others in: neither who left, nor who has a site, nor who has another role.
    let roles = [RoleName::new("super_admin"), RoleName::new("company_admin")];
    let besides = async |contact: &str| {
        store.has_holder_besides(&AccountId::new(sample::ACME), &roles, &ContactId::new(contact)).await.unwrap()
    };
    assert!(besides(sample::ADA).await && besides(sample::JUNE).await);
    apply(store, Change::AssignRole(role(sample::HANA, "company_admin", Scope::Site(SiteId::new(sample::SITE_HQ)))))
        .await
        .unwrap();
    let ben = load(store, sample::BEN).await.contact;
    apply(store, Change::PutContact(Contact { status: ContactStatus::Inactive, ..ben })).await.unwrap();
    assert!(!besides(sample::ADA).await && besides(sample::HANA).await);
    let none: [RoleName; 0] = [];
    assert!(!store.has_holder_besides(&AccountId::new(sample::ACME), &none, &ContactId::new("x")).await.unwrap());
}

// proves: S13
#[tokio::test]
async fn the_embedded_store_imports_nothing_that_takes_the_last_administrator() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    imports_nothing_that_takes_the_last_administrator(&store).await;
    store.close();
}

// proves: S13
#[tokio::test]
async fn postgres_imports_nothing_that_takes_the_last_administrator() {
    let store = Database::new().await.store().await;
    imports_nothing_that_takes_the_last_administrator(&store).await;
    store.close();
}

async fn imports_nothing_that_takes_the_last_administrator<S: Directory + PeopleStore>(store: &S) {
    fill(store).await;
    let actor = || Actor::Operator("root".to_owned());
    let (ada, ben) = (ContactId::new(sample::ADA), ContactId::new(sample::BEN));
    let terms =
        Terms { admins: ["super_admin", "company_admin"].map(RoleName::new).into_iter().collect(), ..Terms::default() };
    let gone = |contact: &ContactId, role: &str| Row::RoleGone {
        contact: contact.clone(),
        role: RoleName::new(role),
        site: None,
    };
    let is_last = |done: Result<Imported, DirectoryError>| match done {
        Err(DirectoryError::Invalid { field: "row", why }) => assert_eq!(why, LAST_ADMIN),
        other => panic!("{other:?}"),
    };
    // Both at once, by whatever rows: each is told of in a check, and nothing is written.
    let both = vec![Row::ContactGone { contact: ben.clone() }, gone(&ada, "super_admin")];
    let told = store.check_import(both.clone(), &terms, now()).await.unwrap();
    assert_eq!(told, [0, 1].map(|row| Finding { row, problem: Problem::TakesAdmin }));
    let before = store.revision().await.unwrap();
    is_last(store.import(both.clone(), &terms, actor(), now()).await);
    assert_eq!(store.revision().await.unwrap(), before);
    // A role that makes nobody an administrator is none of it.
    assert_eq!(store.check_import(vec![gone(&ben, "it_admin")], &terms, now()).await.unwrap(), []);

    // What was decided over two is not committed upon one, and the other way round.
    let revoke = Decided {
        changes: vec![Change::RevokeRole {
            contact: ada.clone(),
            role: RoleName::new("super_admin"),
            scope: Scope::Company,
        }],
        account: AccountId::new(sample::ACME),
        as_of: before,
        request: None,
        is_rehearsal: false,
    };
    store.import(vec![both[0].clone()], &terms, actor(), now()).await.unwrap();
    assert_eq!(store.apply_if_unchanged(revoke, actor(), now()).await.unwrap(), Applied::ChangedMeanwhile);
    is_last(store.import(vec![both[1].clone()], &terms, actor(), now()).await);
    // Who left counts for nobody; another makes room.
    apply(store, Change::AssignRole(role(sample::GRACE, "company_admin", Scope::Company))).await.unwrap();
    store.import(vec![both[1].clone()], &terms, actor(), now()).await.unwrap();
    is_last(store.import(vec![gone(&ContactId::new(sample::GRACE), "company_admin")], &terms, actor(), now()).await);
}
