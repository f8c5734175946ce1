//! Rows that are imported at once leave what they leave one by one: in PostgreSQL, which writes them in batches, the same as in SQLite,
//! which does not.

use std::collections::BTreeMap;

use countersign::{
    directory::{
        import::{RoleRow, Row},
        notices::{Notices, Wanted},
    },
    notice::Notice,
};

use super::{embedded::open, *};
use crate::postgres::Database;

/// Small numbers that are the same in every run.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// People of the sample company: most of them alone with what selects them, some with what another has, or twice.
fn contacts(draw: &mut Draw, chunk: u64) -> Vec<Row> {
    let is_tidy = !chunk.is_multiple_of(3);
    let person = |draw: &mut Draw, nth: u64| {
        let who = if is_tidy { nth } else { draw.below(30) };
        let taken = if is_tidy { who + 100 * (chunk / 3 % 2) } else { draw.below(40) };
        Row::Contact(ContactRow {
            id: ContactId::new(format!("new-{who:02}")),
            account: AccountId::new(if who % 10 == 9 { sample::BOREALIS } else { sample::ACME }),
            first_name: format!("First{}", draw.below(5)),
            last_name: format!("Straße{}", draw.below(5)),
            email: if draw.below(4) == 0 { Told::Empty } else { Told::Is(format!("Who-{taken}@acme.example")) },
            extension: if draw.below(4) == 0 { Told::Nothing } else { Told::Is(format!("9{taken}")) },
            user_id: Told::Is(format!("user-{who}")),
            status: if draw.below(12) == 0 { Some(ContactStatus::Inactive) } else { Some(ContactStatus::Active) },
            created: None,
        })
    };
    (0..12).map(|nth| person(draw, nth * 2 + chunk % 2)).collect()
}

fn roles(draw: &mut Draw) -> Vec<Row> {
    let role = |draw: &mut Draw| {
        let who = draw.below(25);
        Row::Role(RoleRow {
            account: AccountId::new(if who % 10 == 9 { sample::BOREALIS } else { sample::ACME }),
            contact: ContactId::new(format!("new-{who:02}")),
            role: RoleName::new(["it_admin", "basic_user", "company_admin"][draw.below(3) as usize]),
            site: (draw.below(3) == 0 && who % 10 != 9).then(|| SiteId::new(sample::SITE_HQ)),
            granted: None,
        })
    };
    (0..12).map(|_| role(draw)).collect()
}

/// What an import came to, in a form that can be compared.
fn outcome(done: Result<countersign::directory::import::Imported, DirectoryError>) -> String {
    match done {
        Ok(imported) => format!("{imported:?}"),
        Err(DirectoryError::Invalid { field, why }) => format!("{field}: {why}"),
        Err(error) => panic!("{error}"),
    }
}

fn told(notice: Notice) -> String {
    let Notice { kind, account, about, recipient, target, count, revision, created, due, .. } = notice;
    format!("{kind:?} {account:?} {about:?} {recipient:?} {target:?} {count} {revision:?} {created} {due}")
}

#[tokio::test]
async fn what_is_imported_at_once_leaves_what_it_leaves_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let (embedded, shared) = (open(dir.path()), Database::new().await.store().await);
    fill(&embedded).await;
    fill(&shared).await;
    let (mut draw, mut refused, mut written) = (Draw(7), 0, 0);
    for chunk in 0..60 {
        let rows = if chunk % 4 == 3 { roles(&mut draw) } else { contacts(&mut draw, chunk) };
        let terms = Terms { import: "one".into(), reactivate: chunk % 5 != 0, ..Terms::default() };
        let at = now() + SignedDuration::from_hours(i64::try_from(chunk).unwrap());
        let actor = || Actor::Operator("root".into());
        let checked = embedded.check_import(rows.clone(), &terms, at).await.unwrap();
        assert_eq!(shared.check_import(rows.clone(), &terms, at).await.unwrap(), checked, "{chunk}: {rows:?}");
        let one_by_one = outcome(embedded.import(rows.clone(), &terms, actor(), at).await);
        assert_eq!(outcome(shared.import(rows.clone(), &terms, actor(), at).await), one_by_one, "{chunk}: {rows:?}");
        if one_by_one.starts_with("Imported") { written += 1 } else { refused += 1 }
    }
    assert!(refused > 5 && written > 30, "{refused} refused, {written} written");
    assert_eq!(
        shared.list_contacts(None, None, 1_000).await.unwrap(),
        embedded.list_contacts(None, None, 1_000).await.unwrap()
    );
    let log = async |store: &dyn Directory| {
        let log = store.changes_after(Revision(0), 10_000).await.unwrap();
        log.into_iter().map(|it| (it.revision, it.account, it.kind, it.actor, it.at)).collect::<Vec<_>>()
    };
    assert_eq!(log(&shared).await, log(&embedded).await);
    let all = Wanted { state: None, limit: 10_000 };
    let tally = |notices: Vec<Notice>| {
        notices.into_iter().map(told).fold(BTreeMap::new(), |mut tally: BTreeMap<String, u32>, told| {
            *tally.entry(told).or_default() += 1;
            tally
        })
    };
    assert_eq!(tally(shared.list_notices(&all).await.unwrap()), tally(embedded.list_notices(&all).await.unwrap()));
    embedded.close();
    shared.close();
}
