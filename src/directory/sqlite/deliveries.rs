//! Deliveries to the record that were asked for in the last day.

use jiff::Timestamp;

use super::{
    standing,
    transaction::{ReadTransaction, WriteTransaction, unreadable},
};
use crate::directory::{
    AccountId, DirectoryError,
    delivery::{Behind, DELIVERY_LIFE, Delivery, NewDelivery, RecordKind},
};

/// Writes it down, with what is behind it. Nobody takes the same statements as somebody.
pub(super) fn open(
    transaction: &WriteTransaction<'_>,
    new: &NewDelivery,
    per_account: u32,
) -> Result<Behind, DirectoryError> {
    let since = new.opened.saturating_sub(DELIVERY_LIFE).unwrap_or(Timestamp::MIN).as_microsecond();
    transaction.execute(
        "DELETE FROM delivery WHERE id IN (SELECT id FROM delivery WHERE opened <= ?1 ORDER BY opened LIMIT ?2)",
        (since, FORGOTTEN_AT_ONCE),
    )?;
    let account = new.account.clone().unwrap_or_else(|| AccountId::new(NOBODY));
    let due: Option<u32> = transaction.find_row(
        "SELECT count(*) FROM delivery WHERE account = ?1 AND opened > ?2 AND due = 1",
        (account.as_str(), since),
        |row| row.get(0),
    )?;
    let settled = settled(transaction, &account, new.kind, new.opened)?;
    let behind = match (&new.account, settled) {
        (None, _) => Behind::Nobody,
        (Some(_), _) if due.unwrap_or_default() >= per_account => Behind::Spent,
        (Some(_), None) => Behind::NothingSettled,
        (Some(_), Some(_)) => Behind::Due,
    };
    transaction.execute(
        "INSERT INTO delivery (id, account, kind, opened, due) VALUES (?1, ?2, ?3, ?4, ?5)",
        (&new.id, account.as_str(), new.kind.code(), new.opened.as_microsecond(), behind == Behind::Due),
    )?;
    Ok(behind)
}

/// Where it goes; `None` if nothing is due under this id any more.
pub(super) fn find(
    snapshot: &ReadTransaction<'_>,
    id: &str,
    now: Timestamp,
) -> Result<Option<Delivery>, DirectoryError> {
    let since = now.saturating_sub(DELIVERY_LIFE).unwrap_or(Timestamp::MIN).as_microsecond();
    let found = snapshot.find_row(
        "SELECT account, kind FROM delivery WHERE id = ?1 AND opened > ?2 AND due = 1",
        (id, since),
        |row| {
            let kind: String = row.get(1)?;
            let kind = RecordKind::ALL.into_iter().find(|known| known.code() == kind);
            Ok((AccountId::new(row.get::<_, String>(0)?), kind.ok_or_else(|| unreadable(1, "no kind of record"))?))
        },
    )?;
    match found {
        Some((account, kind)) => settled(snapshot, &account, kind, now),
        None => Ok(None),
    }
}

fn settled(
    snapshot: &ReadTransaction<'_>,
    account: &AccountId,
    kind: RecordKind,
    now: Timestamp,
) -> Result<Option<Delivery>, DirectoryError> {
    let (addresses, numbers) = standing::records_of(snapshot, account)?;
    Ok(Delivery::settled(account.clone(), kind, addresses, numbers, now))
}

/// No account has this id: ids are not empty.
const NOBODY: &str = "";

/// A few old rows with each new one: the table stays as long as a day.
const FORGOTTEN_AT_ONCE: u32 = 8;
