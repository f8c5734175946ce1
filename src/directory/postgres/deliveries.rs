//! Deliveries to the record that were asked for in the last day.

use jiff::Timestamp;

use super::{
    standing::{self, account_columns},
    transaction::{Reading, Writing, get, unreadable},
    values::Instant,
};
use crate::directory::{
    Account, AccountId, AccountStatus, DirectoryError,
    delivery::{Behind, DELIVERY_LIFE, Delivery, NewDelivery, RecordKind},
};

/// Writes it down, with what is behind it. Nobody takes the same statements as somebody.
pub(super) async fn open(writing: &mut Writing, new: &NewDelivery, per_account: u32) -> Result<Behind, DirectoryError> {
    let since = since(new.opened);
    let delete = sqlx::query(
        "DELETE FROM countersign.delivery WHERE id = ANY (ARRAY
             (SELECT id FROM countersign.delivery WHERE opened <= $1 ORDER BY opened LIMIT $2 FOR UPDATE SKIP LOCKED))",
    );
    writing.execute(delete.bind(since).bind(FORGOTTEN_AT_ONCE)).await?;
    let id = new.account.clone().unwrap_or_else(|| AccountId::new(NOBODY));
    // Whoever counts at an account holds it, so that no two sidecars count the same place.
    let lock = sqlx::query("SELECT 1 FROM countersign.account WHERE id = $1 FOR NO KEY UPDATE");
    writing.reading().find(lock.bind(id.as_str())).await?;
    let count = sqlx::query("SELECT count(*) FROM countersign.delivery WHERE account = $1 AND opened > $2 AND due");
    let counted = writing.reading().find(count.bind(id.as_str()).bind(since)).await?;
    let due: i64 = counted.map_or(Ok(0), |row| get(&row, 0))?;
    let account = standing::find_account(writing.reading(), &id).await?;
    let settled = account.and_then(|account| settled(account, new.kind, new.opened));
    let behind = match (&new.account, settled) {
        (None, _) => Behind::Nobody,
        (Some(_), _) if due >= i64::from(per_account) => Behind::Spent,
        (Some(_), None) => Behind::NothingSettled,
        (Some(_), Some(_)) => Behind::Due,
    };
    let insert =
        sqlx::query("INSERT INTO countersign.delivery (id, account, kind, opened, due) VALUES ($1, $2, $3, $4, $5)");
    let insert = insert.bind(&new.id).bind(id.as_str()).bind(new.kind.code());
    writing.execute(insert.bind(Instant(new.opened)).bind(behind == Behind::Due)).await?;
    Ok(behind)
}

/// Where it goes; `None` if nothing is due under this id any more.
pub(super) async fn find(reading: &mut Reading, id: &str, now: Timestamp) -> Result<Option<Delivery>, DirectoryError> {
    let statement = sqlx::query(concat!(
        "SELECT ",
        account_columns!(),
        ", v.kind FROM countersign.delivery v JOIN countersign.account a ON a.id = v.account
         WHERE v.id = $1 AND v.opened > $2 AND v.due"
    ));
    let Some(row) = reading.find(statement.bind(id).bind(since(now))).await? else { return Ok(None) };
    let kind: String = get(&row, standing::ACCOUNT_COLUMNS)?;
    let kind = RecordKind::ALL.into_iter().find(|known| known.code() == kind);
    let kind = kind.ok_or_else(|| unreadable("no kind of record"))?;
    Ok(settled(standing::account(&row, 0)?, kind, now))
}

/// To a closed account nothing goes.
fn settled(account: Account, kind: RecordKind, now: Timestamp) -> Option<Delivery> {
    if account.status() == AccountStatus::Closed {
        return None;
    }
    Delivery::settled(account.id, kind, account.addresses_of_record, account.numbers_of_record, now)
}

fn since(now: Timestamp) -> Instant {
    Instant(now.saturating_sub(DELIVERY_LIFE).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// No account has this id: ids are not empty.
const NOBODY: &str = "";

/// A few old rows with each new one: the table stays as long as a day.
const FORGOTTEN_AT_ONCE: i64 = 8;
