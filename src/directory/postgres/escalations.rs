//! Escalations: opened, seen, settled and used. What may be done with one, [`rules`] decide upon what is read here. Whoever
//! writes one holds the directory, so that limits are exact and an approval is used once.

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::postgres::PgRow;

use super::{
    Store, look, notices, standing,
    transaction::{DirectoryRows, NewChange, Reading, Writing, get, optional_timestamp, timestamp, unreadable},
    values::Instant,
};
use crate::{
    directory::{
        AccountId, Actor, ContactId, DirectoryError, OpenOutcome,
        escalations::{Escalations, Permits, SettleOutcome, Settlement, UseOutcome, Wanted},
        shape::unknown_contact,
    },
    escalation::{
        EscalationState, Filed, NewEscalation, PendingLimits, Settled,
        rules::{self, Claim, Sight, Withheld, Worthless},
    },
    notice::Kind,
};

#[async_trait]
impl Escalations for Store {
    async fn find_escalation(&self, id: &str, now: Timestamp) -> Result<Option<Filed>, DirectoryError> {
        let (store, id) = (self.clone(), id.to_owned());
        self.run(async move {
            let mut reading = store.reading().await?;
            let done = find(&mut reading, &id).await;
            Ok(reading.end(done).await?.map(|filed| filed.at(now)))
        })
        .await
    }

    async fn list_escalations(&self, wanted: &Wanted, now: Timestamp) -> Result<Vec<Filed>, DirectoryError> {
        let (store, wanted) = (self.clone(), wanted.clone());
        self.run(async move {
            let mut reading = store.reading().await?;
            let done = list(&mut reading, &wanted, now).await;
            reading.end(done).await
        })
        .await
    }

    async fn settle_escalation(&self, settlement: Settlement) -> Result<SettleOutcome, DirectoryError> {
        let store = self.clone();
        self.run(async move {
            let mut writing = store.changing().await?;
            let done = settle(&mut writing, &settlement).await;
            writing.end(done).await
        })
        .await
    }

    async fn use_escalation(
        &self,
        claim: Claim,
        permits: Permits,
        now: Timestamp,
    ) -> Result<UseOutcome, DirectoryError> {
        let store = self.clone();
        self.run(async move {
            let mut writing = store.changing().await?;
            let done = use_up(&mut writing, &claim, &permits, now).await;
            writing.end(done).await
        })
        .await
    }
}

/// Opens it, or returns the one that waits, or is approved, already. Only opening is a change.
pub(super) async fn open(
    writing: &mut Writing,
    new: &NewEscalation,
    limits: PendingLimits,
) -> Result<OpenOutcome, DirectoryError> {
    check_is_of_account(writing, new, "contact", &new.contact).await?;
    check_is_of_account(writing, new, "primary_admin", &new.primary_admin).await?;
    if let Some(waiting) = find_waiting(writing.reading(), new).await? {
        return Ok(OpenOutcome::Pending(waiting.brief()));
    }
    if rules::rests(&decided(writing.reading(), new).await?, new.opened) {
        return Ok(OpenOutcome::RefusedTwice);
    }
    if is_full(writing.reading(), new, limits).await? {
        return Ok(OpenOutcome::TooMany);
    }
    let tells =
        notices::of_event(writing, Kind::EscalationWaiting, &new.account, Some(&new.contact), new.opened).await?;
    let actor = Actor::Client(new.client.clone());
    let (account, kind) = (Some(&new.account), "open_escalation");
    let opening = NewChange { actor: &actor, account, interaction: None, kind, at: new.opened, tells: &tells };
    let mut rows = writing.change(opening).await?;
    let insert = sqlx::query(
        "INSERT INTO countersign.escalation
             (id, account, contact, primary_admin, action, resource, client, request_id, opened, expires, state)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'pending')",
    );
    let insert = insert.bind(&new.id).bind(new.account.as_str()).bind(new.contact.as_str());
    let insert = insert.bind(new.primary_admin.as_str()).bind(&new.action).bind(&new.resource);
    let insert = insert.bind(&new.client).bind(&new.request_id).bind(Instant(new.opened)).bind(Instant(new.expires));
    rows.execute(insert).await?;
    let opened = find_waiting(writing.reading(), new).await?;
    let opened = opened.ok_or_else(|| super::defect("an escalation was opened and is not there"))?;
    Ok(OpenOutcome::Opened(opened.brief()))
}

/// Nothing of who left waits any more.
pub(super) async fn end_of_contact(
    rows: &mut DirectoryRows<'_>,
    contact: &ContactId,
    now: Timestamp,
) -> Result<(), DirectoryError> {
    let end = sqlx::query(
        "UPDATE countersign.escalation SET state = 'cancelled', settled_by = $1, settled_at = $2
         WHERE contact = $1 AND account = (SELECT account FROM countersign.contact WHERE id = $1)
             AND state IN ('pending', 'approved')",
    );
    rows.execute(end.bind(contact.as_str()).bind(Instant(now))).await.map(drop)
}

/// Nothing of an account that is closed waits any more: each request ends as if whoever asked had taken it back.
pub(super) async fn end_of_account(
    rows: &mut DirectoryRows<'_>,
    account: &AccountId,
    now: Timestamp,
) -> Result<(), DirectoryError> {
    let end = sqlx::query(
        "UPDATE countersign.escalation SET state = 'cancelled', settled_by = contact, settled_at = $2
         WHERE account = $1 AND state IN ('pending', 'approved')",
    );
    rows.execute(end.bind(account.as_str()).bind(Instant(now))).await.map(drop)
}

async fn settle(writing: &mut Writing, settlement: &Settlement) -> Result<SettleOutcome, DirectoryError> {
    let Settlement { id, step, by, client, at } = settlement;
    let Some(filed) = find(writing.reading(), id).await? else {
        return Ok(SettleOutcome::Withheld(Withheld::NotFound, None));
    };
    let Some(by) = look::find_standing(writing.reading(), by).await? else {
        return Ok(SettleOutcome::Withheld(Withheld::NotFound, None));
    };
    let requester = standing::find_contact(writing.reading(), &filed.contact).await?;
    let settled = match rules::settle(*step, &filed, &by, requester.as_ref(), *at) {
        Ok(settled) => settled,
        Err(withheld) => return Ok(SettleOutcome::Withheld(withheld, Some(filed.at(*at)))),
    };
    let mut rows = change(writing, &filed.account, client, step.kind(), *at).await?;
    let update = sqlx::query(
        "UPDATE countersign.escalation SET state = $2, expires = $3, settled_by = $4, settled_at = $5 WHERE id = $1",
    );
    let update = update.bind(id).bind(settled.state.code()).bind(Instant(settled.expires));
    let by = settled.settled.as_ref();
    let update = update.bind(by.map(|settled| settled.by.as_str())).bind(by.map(|settled| Instant(settled.at)));
    rows.execute(update).await?;
    // As it was stored, so that the answer and what is read later are the same.
    let settled = find(writing.reading(), id).await?;
    settled.map(SettleOutcome::Settled).ok_or_else(|| super::defect("an escalation was settled and is not there"))
}

async fn use_up(
    writing: &mut Writing,
    claim: &Claim,
    permits: &Permits,
    now: Timestamp,
) -> Result<UseOutcome, DirectoryError> {
    let Some(filed) = find(writing.reading(), &claim.id).await? else {
        return Ok(UseOutcome::Worthless(Worthless::Unknown));
    };
    let approver = match &filed.settled {
        Some(settled) => look::find_standing(writing.reading(), &settled.by).await?,
        None => None,
    };
    let requester = standing::find_contact(writing.reading(), &filed.contact).await?;
    let worthless = match rules::claim(claim, &filed, approver.as_ref(), requester.as_ref(), now) {
        Ok(approver) if permits.permits(approver) => None,
        Ok(_) => Some(Worthless::ApproverRefused),
        Err(worthless) => Some(worthless),
    };
    match (worthless, approver) {
        (None, Some(approver)) => {
            let mut rows = change(writing, &filed.account, &claim.client, "use_escalation", now).await?;
            let update = sqlx::query("UPDATE countersign.escalation SET state = 'used', used_at = $2 WHERE id = $1");
            rows.execute(update.bind(&claim.id).bind(Instant(now))).await?;
            Ok(UseOutcome::Used(Box::new(approver)))
        }
        (Some(worthless), _) => Ok(UseOutcome::Worthless(worthless)),
        (None, None) => Err(super::defect("an approval without its approver")),
    }
}

async fn change<'t>(
    writing: &'t mut Writing,
    account: &AccountId,
    client: &str,
    kind: &'static str,
    at: Timestamp,
) -> Result<DirectoryRows<'t>, DirectoryError> {
    let actor = Actor::Client(client.to_owned());
    writing.change(NewChange { actor: &actor, account: Some(account), interaction: None, kind, at, tells: &[] }).await
}

async fn check_is_of_account(
    writing: &mut Writing,
    new: &NewEscalation,
    field: &'static str,
    contact: &ContactId,
) -> Result<(), DirectoryError> {
    match standing::find_contact(writing.reading(), contact).await? {
        Some(contact) if contact.account == new.account => Ok(()),
        _ => Err(unknown_contact(field)),
    }
}

macro_rules! select_filed {
    ($rest:literal) => {
        concat!(
            "SELECT e.id, e.account::text, e.contact::text, c.first_name, c.last_name, e.primary_admin::text, e.action,
                    e.resource, e.client, e.state, e.opened, e.expires, e.settled_by::text, e.settled_at, e.used_at
             FROM countersign.escalation e JOIN countersign.contact c ON c.id = e.contact ",
            $rest
        )
    };
}

async fn find(reading: &mut Reading, id: &str) -> Result<Option<Filed>, DirectoryError> {
    let row = reading.find(sqlx::query(select_filed!("WHERE e.id = $1")).bind(id)).await?;
    row.map(|row| filed(&row)).transpose()
}

async fn find_waiting(reading: &mut Reading, new: &NewEscalation) -> Result<Option<Filed>, DirectoryError> {
    let statement = sqlx::query(select_filed!(
        "WHERE e.account = $1 AND e.contact = $2 AND e.action = $3 AND md5(e.resource) = md5($4) AND e.resource = $4
             AND e.state IN ('pending', 'approved') AND e.expires > $5
         ORDER BY e.expires DESC LIMIT 1"
    ));
    let statement = statement.bind(new.account.as_str()).bind(new.contact.as_str()).bind(&new.action);
    let row = reading.find(statement.bind(&new.resource).bind(Instant(new.opened))).await?;
    row.map(|row| filed(&row)).transpose()
}

/// What was decided last of the contact's action, newest first.
async fn decided(
    reading: &mut Reading,
    new: &NewEscalation,
) -> Result<Vec<(EscalationState, Timestamp)>, DirectoryError> {
    let statement = sqlx::query(
        "SELECT state, settled_at FROM countersign.escalation
         WHERE contact = $1 AND action = $2 AND settled_at IS NOT NULL AND state <> 'cancelled'
         ORDER BY settled_at DESC LIMIT 2",
    );
    let rows = reading.rows(statement.bind(new.contact.as_str()).bind(&new.action)).await?;
    rows.iter().map(|row| Ok((state(row, 0)?, timestamp(row, 1)?))).collect()
}

async fn is_full(reading: &mut Reading, new: &NewEscalation, limits: PendingLimits) -> Result<bool, DirectoryError> {
    let statement = sqlx::query(
        "SELECT count(*), count(*) FILTER (WHERE contact = $2) FROM countersign.escalation
         WHERE account = $1 AND state IN ('pending', 'approved') AND state = 'pending' AND expires > $3",
    );
    let statement = statement.bind(new.account.as_str()).bind(new.contact.as_str()).bind(Instant(new.opened));
    let Some(row) = reading.find(statement).await? else { return Ok(true) };
    let (of_account, of_contact): (i64, i64) = (get(&row, 0)?, get(&row, 1)?);
    Ok(of_account >= i64::from(limits.per_account) || of_contact >= i64::from(limits.per_contact))
}

async fn list(reading: &mut Reading, wanted: &Wanted, now: Timestamp) -> Result<Vec<Filed>, DirectoryError> {
    let (account, contact) = match &wanted.sight {
        Sight::OfAccount(account) => (account, None),
        Sight::Own(account, contact) => (account, Some(contact.as_str())),
    };
    let after = wanted.after.as_ref();
    let statement = sqlx::query(select_filed!(
        "WHERE e.account = $1 AND ($2::text IS NULL OR e.contact = $2)
             AND ($3::timestamptz IS NULL OR (e.opened, e.id) < ($3, $4))
             AND (NOT $5 OR e.state = 'pending' AND e.expires > $6)
         ORDER BY e.opened DESC, e.id DESC LIMIT $7"
    ));
    let statement = statement.bind(account.as_str()).bind(contact);
    let statement = statement.bind(after.map(|after| Instant(after.opened))).bind(after.map(|after| after.id.as_str()));
    let statement = statement.bind(wanted.only_pending).bind(Instant(now)).bind(i64::from(wanted.limit));
    let rows = reading.rows(statement).await?;
    rows.iter().map(|row| filed(row).map(|filed| filed.at(now))).collect()
}

fn filed(row: &PgRow) -> Result<Filed, DirectoryError> {
    let (first, last): (String, String) = (get(row, 3)?, get(row, 4)?);
    let settled = match (get::<Option<String>>(row, 12)?, optional_timestamp(row, 13)?) {
        (Some(by), Some(at)) => Some(Settled { by: ContactId::new(by), at }),
        (None | Some(_), _) => None,
    };
    Ok(Filed {
        id: get(row, 0)?,
        account: AccountId::new(get::<String>(row, 1)?),
        contact: ContactId::new(get::<String>(row, 2)?),
        contact_name: format!("{first} {last}"),
        put_before: ContactId::new(get::<String>(row, 5)?),
        action: get(row, 6)?,
        resource: get(row, 7)?,
        client: get(row, 8)?,
        state: state(row, 9)?,
        opened: timestamp(row, 10)?,
        expires: timestamp(row, 11)?,
        settled,
        used: optional_timestamp(row, 14)?,
    })
}

fn state(row: &PgRow, column: usize) -> Result<EscalationState, DirectoryError> {
    EscalationState::parse(&get::<String>(row, column)?).ok_or_else(|| unreadable("no state of an escalation"))
}
