//! Where a fleet keeps its people, and what is counted there past every sidecar.

use std::path::PathBuf;

use rusqlite::{Connection, OpenFlags};

use crate::{postgres, sidecar::eventually};

/// Where they are.
#[derive(Clone)]
pub enum People {
    /// In this file.
    File(PathBuf),
    /// In this database; the first of several hosts that takes writes.
    Database(postgres::Address),
}

impl People {
    /// How many tries the durable counts of an account have.
    pub async fn counted(&self, account: &str) -> u64 {
        match self {
            Self::File(path) => in_file(path, account),
            Self::Database(address) => Box::pin(eventually(async || in_database(address, account).await)).await,
        }
    }
}

fn in_file(path: &PathBuf, account: &str) -> u64 {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let counted = Connection::open_with_flags(path, flags)
        .unwrap()
        .query_row(
            "SELECT coalesce(sum(l.failures), 0) FROM credential_lane l JOIN credential c ON c.id = l.credential
             WHERE c.account = ?1",
            [account],
            |row| row.get::<_, u32>(0),
        )
        .unwrap();
    counted.into()
}

/// `None`: no host answers that takes writes.
async fn in_database(address: &postgres::Address, account: &str) -> Option<u64> {
    let sql = format!(
        "SELECT coalesce(sum(l.failures), 0)::text, pg_is_in_recovery()::text
         FROM countersign.credential_lane l JOIN countersign.credential c ON c.id = l.credential
         WHERE c.account = '{account}'"
    );
    for host in &address.hosts {
        let one = postgres::Address { hosts: vec![host.clone()], ..address.clone() };
        if let Ok(rows) = postgres::try_sql_at(&one, &sql).await
            && rows[0][1] == "false"
        {
            return Some(rows[0][0].parse().unwrap());
        }
    }
    None
}
