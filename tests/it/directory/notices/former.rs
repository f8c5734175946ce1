//! Which of the e-mail addresses that somebody had are told, when they are changed again and again.

use super::*;

/// Changes Grace's address as often as a thief likes, a minute apart; who is told of the last change.
async fn churn(store: &dyn Store, from: Timestamp, name: &str, times: u32) -> Vec<String> {
    let mut last = Revision(0);
    for nth in 0..times {
        let change = mailed(&grace(store).await, &format!("{name}{nth}@evil.example"));
        let at = from + SignedDuration::from_mins(nth.into());
        last = store.apply(vec![change], Actor::Client("portal".into()), at).await.unwrap();
    }
    of_revision(store, last).await
}

async fn of_revision(store: &dyn Store, revision: Revision) -> Vec<String> {
    let all = store.list_notices(&Wanted { state: None, limit: 100_000 }).await.unwrap();
    all.into_iter().filter(|it| it.revision == Some(revision)).map(|it| it.target.address().to_owned()).collect()
}

// proves: F11
#[tokio::test]
async fn however_often_an_address_is_changed_its_owner_is_told_and_few_others() {
    on_every_store(async |Sampled { store, credentials }: Sampled| {
        fill(&*store).await;
        let day = |days: i64| now() + SignedDuration::from_hours(24 * days);
        let at = async |email: &str, at| {
            let change = mailed(&grace(&*store).await, email);
            store.apply(vec![change], Actor::Client("portal".into()), at).await.unwrap()
        };
        // The owner moved four days before somebody took her login over.
        at("grace@new.example", day(0)).await;
        let told = churn(&*store, day(4), "a", 40).await;
        assert_eq!(told.len(), 11, "a bounded number each: {told:?}");
        for owners in [GRACES, "grace@new.example", "a38@evil.example"] {
            assert!(told.iter().any(|told| told == owners), "{owners}: {told:?}");
        }
        set(&credentials, &Owner::Contact(ContactId::new(sample::GRACE))).await;
        let told = notices(&*store).await.into_iter().filter(|it| it.kind == Kind::PassphraseSet);
        let told: BTreeSet<_> = told.map(|it| it.target.address().to_owned()).collect();
        assert!(told.contains(GRACES) && told.len() <= 11, "{told:?}");

        // Taken back; and when all of that is a month ago, taken over again.
        at(GRACES, day(5)).await;
        churn(&*store, day(33), "b", 1).await;
        let told = churn(&*store, day(36), "c", 30).await;
        assert!(told.iter().any(|told| told == GRACES), "{told:?}");
        assert!(!told.iter().any(|told| told.starts_with('a')), "held more than a month ago: {told:?}");
    })
    .await;
}
