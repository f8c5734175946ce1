//! The tables of a fleet as an interface: what the database refuses, what it logs, and who may do what.

use super::{Sampled, *};
use crate::postgres::{Database, connect, settings, sql_at, try_sql_at};
use countersign::directory::{postgres::Store, select::folded};
use sqlx::Executor;

use crate::sidecar::eventually;

async fn sampled() -> (Database, Store) {
    let database = Database::new().await;
    let store = database.store().await;
    fill(&store).await;
    (database, store)
}

// proves: S13, A16
#[tokio::test]
async fn the_database_itself_refuses_rows_that_break_an_invariant() {
    let (database, store) = sampled().await;
    let revision = store.revision().await.unwrap();
    let contact = "INSERT INTO countersign.contact (id, account, first_name, last_name) VALUES";
    let refused = [
        format!("{contact} ('con 1', 'acc-1001', 'New', 'Person')"),
        format!("{contact} ('', 'acc-1001', 'New', 'Person')"),
        format!("{contact} (repeat('x', 65), 'acc-1001', 'New', 'Person')"),
        format!("{contact} ('con-1', 'acc-9999', 'New', 'Person')"),
        format!("{contact} ('con-1', 'acc-1001', E' \\u00a0', 'Person')"),
        format!("{contact} ('con-1', 'acc-1001', E'a\\x1b[2J', 'Person')"),
        format!("{contact} ('con-1', 'acc-1001', repeat('x', 101), 'Person')"),
        "UPDATE countersign.contact SET account = 'acc-2002' WHERE id = 'con-1002'".into(),
        "UPDATE countersign.contact SET email = 'ADA.Moreno@acme.example ' WHERE id = 'con-1002'".into(),
        "UPDATE countersign.contact SET extension = '101' WHERE id = 'con-1002'".into(),
        "UPDATE countersign.contact SET extension = '10a' WHERE id = 'con-1002'".into(),
        "UPDATE countersign.contact SET status = 'inactive' WHERE id = 'con-1001'".into(),
        "UPDATE countersign.contact SET status = 'gone' WHERE id = 'con-1002'".into(),
        "DELETE FROM countersign.contact WHERE id = 'con-1001'".into(),
        "UPDATE countersign.account SET primary_admin = NULL WHERE id = 'acc-1001'".into(),
        "UPDATE countersign.account SET primary_admin = 'con-2001' WHERE id = 'acc-1001'".into(),
        "UPDATE countersign.account SET primary_admin = 'con-1009' WHERE id = 'acc-1001'".into(),
        "INSERT INTO countersign.number_of_record (account, number) VALUES ('acc-1001', '14085550100')".into(),
        "UPDATE countersign.number_of_record SET number = '+14085550999' WHERE account = 'acc-1001'".into(),
        "UPDATE countersign.address_of_record SET address = 'elsewhere' WHERE account = 'acc-1001'".into(),
        "INSERT INTO countersign.role_assignment (contact, role, account) VALUES ('con-2001', 'x', 'acc-1001')".into(),
        "INSERT INTO countersign.role_assignment (contact, role, account, site)
         VALUES ('con-1002', 'x', 'acc-1001', 'site-none')"
            .into(),
        "TRUNCATE countersign.change_log".into(),
        "TRUNCATE countersign.contact CASCADE".into(),
    ];
    for sql in refused {
        let error = try_sql_at(&database.address, &sql).await.err().unwrap_or_else(|| panic!("was taken: {sql}"));
        let code = error.as_database_error().unwrap().code().unwrap().into_owned();
        assert!(code.starts_with("23"), "{sql}: {error}");
    }
    assert_eq!(store.revision().await.unwrap(), revision);
    store.close();
}

// proves: S12, S14, A31
#[tokio::test]
async fn what_another_system_writes_by_sql_is_logged_and_ends_what_it_must() {
    let (database, store) = sampled().await;
    let before = store.revision().await.unwrap();
    let hr = database.as_role("hr");
    sql_at(
        &hr,
        "INSERT INTO countersign.contact (id, account, first_name, last_name, email)
         VALUES ('con-1077', 'acc-1001', 'JOS\u{c9}', '  Gro\u{df} ', 'Jose@ACME.example')",
    )
    .await;
    let by = ContactSelector::Name { first: "jos\u{e9}".into(), last: "GROSS".into() };
    let look = SubjectHints { account: Some(AccountSelector::Id(AccountId::new(sample::ACME))), contact: Some(by) };
    let found = store.look(&Look::at_subject(look, now())).await.unwrap().selection;
    assert_eq!(found.contact, contact("con-1077"), "by the folded form that the database made");

    sql_at(
        &hr,
        "BEGIN; UPDATE countersign.contact SET status = 'inactive' WHERE id IN ('con-1002', 'con-1077');
         DELETE FROM countersign.role_assignment WHERE contact = 'con-1004'; COMMIT",
    )
    .await;
    assert_eq!(load(&store, sample::BEN).await.contact.status, ContactStatus::Inactive);
    let log = store.changes_after(before, 10).await.unwrap();
    let hr_did = |row: &countersign::directory::LoggedChange| {
        row.actor == Actor::Database("hr".into()) && row.kind == "sql" && row.account == account(sample::ACME)
    };
    assert!(log.len() == 2 && log.iter().all(hr_did), "one change per account and transaction: {log:?}");

    let old = load(&store, sample::BEN).await.assignments;
    sql_at(&hr, "UPDATE countersign.contact SET status = 'active' WHERE id = 'con-1002'").await;
    let anew = load(&store, sample::BEN).await.assignments;
    assert!(!old.is_empty() && anew.len() == old.len() && anew[0].granted != old[0].granted, "roles are new ones");
    store.close();
}

#[tokio::test]
async fn each_role_may_do_what_it_needs_and_no_more() {
    let (database, store) = sampled().await;
    store.close();
    // A sidecar with the least rights passes what the owner passes.
    let sidecar = Store::open(&database.as_role("sidecar"), settings()).await.unwrap();
    super::contract::roles_are_assigned_once_and_revoked(Arc::new(sidecar.clone()) as Sampled).await;
    super::contract::the_primary_admin_leaves_only_after_a_successor(Arc::new(sidecar.clone())).await;
    let end = |id| sidecar.end_interaction(id, "ivr", false, now());
    assert!(matches!(end(&key("call-1")).await.unwrap(), EndOutcome::Ended(_)));
    sidecar.close();
    let table = [
        ("sidecar", "UPDATE countersign.change_log SET kind = 'x'"),
        ("sidecar", "DELETE FROM countersign.change_log"),
        ("sidecar", "INSERT INTO countersign.change_log VALUES (9, now(), 'sidecar', '', NULL, 'x')"),
        ("sidecar", "UPDATE countersign.directory_state SET base = 0"),
        ("sidecar", "DELETE FROM countersign.contact"),
        ("sidecar", "DELETE FROM countersign.credential"),
        ("sidecar", "UPDATE countersign.key_check SET check_value = ''"),
        ("sidecar", "INSERT INTO countersign.migration VALUES (9, 9, '9')"),
        ("sidecar", "ALTER TABLE countersign.contact DISABLE TRIGGER ALL"),
        ("hr", "SELECT * FROM countersign.credential_hash"),
        ("hr", "SELECT * FROM countersign.verified_line"),
        ("hr", "INSERT INTO countersign.role_assignment (contact, role, account) VALUES ('con-1002', 'x', 'acc-1001')"),
        ("hr", "UPDATE countersign.account SET primary_admin = 'con-1002' WHERE id = 'acc-1001'"),
        ("hr", "UPDATE countersign.account SET number_moves_locked = false"),
        (
            "hr",
            "INSERT INTO countersign.number_of_record (account, number, added) VALUES ('acc-1001', '+14085559999', '2000-01-01')",
        ),
        ("hr", "UPDATE countersign.number_of_record SET added = '2000-01-01'"),
        ("hr", "UPDATE countersign.contact SET created = '2000-01-01'"),
        ("hr", "SELECT countersign.log_change('acc-1001', 'put_contact', 'sidecar', '', NULL)"),
        ("hr", "SELECT countersign.reserve('con-1001', 0, '', NULL, 5, 1, 1, 1, 20, 1, 100)"),
    ];
    for (role, sql) in table {
        let error = try_sql_at(&database.as_role(role), sql).await.err().unwrap_or_else(|| panic!("{role}: {sql}"));
        let code = error.as_database_error().unwrap().code().unwrap().into_owned();
        assert_eq!(code, "42501", "{role}: {sql}: {error}");
    }
}

/// Who follows the log misses nothing, however long others take between writing and committing.
#[tokio::test]
async fn a_lower_revision_never_turns_up_after_a_higher_one() {
    let rounds: u32 = std::env::var("CHANGE_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(20);
    let (database, store) = sampled().await;
    let other = database.store().await;
    let base = store.revision().await.unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..8_u32 {
        let (store, address) = (if number % 2 == 0 { store.clone() } else { other.clone() }, database.as_role("hr"));
        writers.spawn(async move {
            for round in 0..rounds {
                if number < 6 {
                    let id = format!("con-r{number}-{round}");
                    let change = Change::PutContact(Contact { id: ContactId::new(&id), ..person() });
                    apply(&store, change).await.unwrap();
                } else {
                    // A slow transaction of another system.
                    let mut connection = connect(&address).await.unwrap();
                    connection
                        .execute(sqlx::raw_sql(
                            "BEGIN; UPDATE countersign.contact SET last_name = 'Slow' WHERE id = 'con-1004'",
                        ))
                        .await
                        .unwrap();
                    connection.execute(sqlx::raw_sql("SELECT pg_sleep(0.01)")).await.unwrap();
                    connection.execute(sqlx::raw_sql("COMMIT")).await.unwrap();
                }
            }
        });
    }
    let mut seen = Vec::new();
    let mut after = base;
    let last = Revision(base.0 + u64::from(8 * rounds));
    eventually(async || {
        let page = store.changes_after(after, 7).await.unwrap();
        assert!(page.iter().all(|row| row.revision > after));
        after = page.last().map_or(after, |row| row.revision);
        seen.extend(page.into_iter().map(|row| row.revision.0));
        (after >= last).then_some(())
    })
    .await;
    writers.join_all().await;
    assert!(seen.iter().copied().eq(base.0 + 1..=last.0), "none is missed, none comes twice, none comes late");
    println!("change log: {} changes by 8 writers, none missed", seen.len());
    store.close();
    other.close();
}

fn person() -> Contact {
    Contact {
        id: ContactId::new("con"),
        account: AccountId::new(sample::ACME),
        first_name: "Many".into(),
        last_name: "Writers".into(),
        email: None,
        extension: None,
        user_id: None,
        status: ContactStatus::Active,
        created: now(),
    }
}

/// `countersign.folded` of the database against the sidecar's, over every letter.
#[tokio::test]
async fn the_database_folds_names_as_the_sidecar_does() {
    let (database, store) = sampled().await;
    let rows = database
        .sql(
            "SELECT code::text, countersign.folded('a' || chr(code) || 'b') FROM generate_series(32, 131071) AS code
             WHERE code NOT BETWEEN 127 AND 159 AND code NOT BETWEEN 55296 AND 57343",
        )
        .await;
    let differs: Vec<u32> = rows
        .iter()
        .filter_map(|row| {
            let code = row[0].parse().unwrap();
            (folded(&format!("a{}b", char::from_u32(code)?)) != row[1]).then_some(code)
        })
        .collect();
    // Unassigned when the server's Unicode tables were made, or folded by rules that lower case does not know.
    assert!(rows.len() > 120_000 && differs.len() < 600, "{}", differs.len());
    assert!(differs.iter().all(|code| *code > 0x17f), "no letter of a European name in Latin script: {differs:x?}");
    store.close();
}
