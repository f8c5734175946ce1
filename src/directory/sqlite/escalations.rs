//! Escalations: opened, seen, settled and used. What may be done with one, [`rules`] decide upon what is read here.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::Row;

use super::{
    Store, notices, standing,
    transaction::{
        DirectoryRows, NewChange, ReadTransaction, WriteTransaction, optional_timestamp, timestamp, unreadable,
    },
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
        let id = id.to_owned();
        self.read(move |snapshot| Ok(find(snapshot, &id)?.map(|filed| filed.at(now)))).await
    }

    async fn list_escalations(&self, wanted: &Wanted, now: Timestamp) -> Result<Vec<Filed>, DirectoryError> {
        let wanted = wanted.clone();
        self.read(move |snapshot| list(snapshot, &wanted, now)).await
    }

    async fn settle_escalation(&self, settlement: Settlement) -> Result<SettleOutcome, DirectoryError> {
        self.write(move |transaction| settle(transaction, &settlement)).await
    }

    async fn use_escalation(
        &self,
        claim: Claim,
        permits: Permits,
        now: Timestamp,
    ) -> Result<UseOutcome, DirectoryError> {
        self.write(move |transaction| use_up(transaction, &claim, &permits, now)).await
    }
}

/// Opens it, or returns the one that waits, or is approved, already. Only opening is a change.
pub(super) fn open(
    transaction: &WriteTransaction<'_>,
    new: &NewEscalation,
    limits: PendingLimits,
) -> Result<OpenOutcome, DirectoryError> {
    check_is_of_account(transaction, new, "contact", &new.contact)?;
    check_is_of_account(transaction, new, "primary_admin", &new.primary_admin)?;
    if let Some(waiting) = find_waiting(transaction, new)? {
        return Ok(OpenOutcome::Pending(waiting.brief()));
    }
    if rules::rests(&decided(transaction, new)?, new.opened) {
        return Ok(OpenOutcome::RefusedTwice);
    }
    if is_full(transaction, new, limits)? {
        return Ok(OpenOutcome::TooMany);
    }
    let actor = Actor::Client(new.client.clone());
    let rows = transaction.change(NewChange {
        actor: &actor,
        account: Some(&new.account),
        interaction: None,
        kind: "open_escalation",
        at: new.opened,
        tells: &notices::of_event(transaction, Kind::EscalationWaiting, &new.account, Some(&new.contact), new.opened)?,
    })?;
    rows.execute(
        "INSERT INTO escalation
             (id, account, contact, primary_admin, action, resource, client, request_id, opened, expires, state)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 'pending')",
        (
            &new.id,
            new.account.as_str(),
            new.contact.as_str(),
            new.primary_admin.as_str(),
            &new.action,
            &new.resource,
            &new.client,
            &new.request_id,
            new.opened.as_microsecond(),
            new.expires.as_microsecond(),
        ),
    )?;
    let opened = find_waiting(transaction, new)?;
    let opened = opened.ok_or_else(|| super::defect("an escalation was opened and is not there"))?;
    Ok(OpenOutcome::Opened(opened.brief()))
}

/// Nothing of who left waits any more.
pub(super) fn end_of_contact(
    rows: &DirectoryRows<'_>,
    contact: &ContactId,
    now: Timestamp,
) -> Result<(), DirectoryError> {
    rows.execute(
        "UPDATE escalation SET state = 'cancelled', settled_by = ?1, settled_at = ?2
         WHERE contact = ?1 AND account = (SELECT account FROM contact WHERE id = ?1)
             AND state IN ('pending', 'approved')",
        (contact.as_str(), now.as_microsecond()),
    )?;
    Ok(())
}

/// Nothing of an account that is closed waits any more: each request ends as if whoever asked had taken it back.
pub(super) fn end_of_account(
    rows: &DirectoryRows<'_>,
    account: &AccountId,
    now: Timestamp,
) -> Result<(), DirectoryError> {
    rows.execute(
        "UPDATE escalation SET state = 'cancelled', settled_by = contact, settled_at = ?2
         WHERE account = ?1 AND state IN ('pending', 'approved')",
        (account.as_str(), now.as_microsecond()),
    )?;
    Ok(())
}

fn settle(transaction: &WriteTransaction<'_>, settlement: &Settlement) -> Result<SettleOutcome, DirectoryError> {
    let Settlement { id, step, by, client, at } = settlement;
    let Some(filed) = find(transaction, id)? else { return Ok(SettleOutcome::Withheld(Withheld::NotFound, None)) };
    let Some(by) = standing::find_standing(transaction, by)? else {
        return Ok(SettleOutcome::Withheld(Withheld::NotFound, None));
    };
    let requester = standing::find_contact(transaction, &filed.contact)?;
    let settled = match rules::settle(*step, &filed, &by, requester.as_ref(), *at) {
        Ok(settled) => settled,
        Err(withheld) => return Ok(SettleOutcome::Withheld(withheld, Some(filed.at(*at)))),
    };
    let rows = change(transaction, &filed.account, client, step.kind(), *at)?;
    rows.execute(
        "UPDATE escalation SET state = ?2, expires = ?3, settled_by = ?4, settled_at = ?5 WHERE id = ?1",
        (
            id,
            settled.state.code(),
            settled.expires.as_microsecond(),
            settled.settled.as_ref().map(|settled| settled.by.as_str()),
            settled.settled.as_ref().map(|settled| settled.at.as_microsecond()),
        ),
    )?;
    // As it was stored, so that the answer and what is read later are the same.
    let settled = find(transaction, id)?.ok_or_else(|| super::defect("an escalation was settled and is not there"))?;
    Ok(SettleOutcome::Settled(settled))
}

fn use_up(
    transaction: &WriteTransaction<'_>,
    claim: &Claim,
    permits: &Permits,
    now: Timestamp,
) -> Result<UseOutcome, DirectoryError> {
    let Some(filed) = find(transaction, &claim.id)? else {
        return Ok(UseOutcome::Worthless(Worthless::Unknown));
    };
    let approver = match &filed.settled {
        Some(settled) => standing::find_standing(transaction, &settled.by)?,
        None => None,
    };
    let requester = standing::find_contact(transaction, &filed.contact)?;
    let worthless = match rules::claim(claim, &filed, approver.as_ref(), requester.as_ref(), now) {
        Ok(approver) if permits.permits(approver) => None,
        Ok(_) => Some(Worthless::ApproverRefused),
        Err(worthless) => Some(worthless),
    };
    match (worthless, approver) {
        (None, Some(approver)) => {
            let rows = change(transaction, &filed.account, &claim.client, "use_escalation", now)?;
            rows.execute(
                "UPDATE escalation SET state = 'used', used_at = ?2 WHERE id = ?1",
                (&claim.id, now.as_microsecond()),
            )?;
            Ok(UseOutcome::Used(Box::new(approver)))
        }
        (Some(worthless), _) => Ok(UseOutcome::Worthless(worthless)),
        (None, None) => Err(super::defect("an approval without its approver")),
    }
}

fn change<'t>(
    transaction: &'t WriteTransaction<'_>,
    account: &AccountId,
    client: &str,
    kind: &'static str,
    at: Timestamp,
) -> Result<DirectoryRows<'t>, DirectoryError> {
    let actor = Actor::Client(client.to_owned());
    transaction.change(NewChange { actor: &actor, account: Some(account), interaction: None, kind, at, tells: &[] })
}

fn check_is_of_account(
    transaction: &WriteTransaction<'_>,
    new: &NewEscalation,
    field: &'static str,
    contact: &ContactId,
) -> Result<(), DirectoryError> {
    match standing::find_contact(transaction, contact)? {
        Some(contact) if contact.account == new.account => Ok(()),
        _ => Err(unknown_contact(field)),
    }
}

macro_rules! select_filed {
    ($rest:literal) => {
        concat!(
            "SELECT e.id, e.account, e.contact, c.first_name, c.last_name, e.primary_admin, e.action, e.resource, e.client,
                    e.state, e.opened, e.expires, e.settled_by, e.settled_at, e.used_at
             FROM escalation e JOIN contact c ON c.id = e.contact ",
            $rest
        )
    };
}

fn find(snapshot: &ReadTransaction<'_>, id: &str) -> Result<Option<Filed>, DirectoryError> {
    snapshot.find_row(select_filed!("WHERE e.id = ?1"), [id], filed)
}

fn find_waiting(snapshot: &ReadTransaction<'_>, new: &NewEscalation) -> Result<Option<Filed>, DirectoryError> {
    snapshot.find_row(
        select_filed!(
            "WHERE e.account = ?1 AND e.contact = ?2 AND e.action = ?3 AND e.resource = ?4
                 AND e.state IN ('pending', 'approved') AND e.expires > ?5
             ORDER BY e.expires DESC"
        ),
        (new.account.as_str(), new.contact.as_str(), &new.action, &new.resource, new.opened.as_microsecond()),
        filed,
    )
}

/// What was decided last of the contact's action, newest first.
fn decided(
    snapshot: &ReadTransaction<'_>,
    new: &NewEscalation,
) -> Result<Vec<(EscalationState, Timestamp)>, DirectoryError> {
    snapshot.rows(
        "SELECT state, settled_at FROM escalation
         WHERE contact = ?1 AND action = ?2 AND settled_at IS NOT NULL AND state <> 'cancelled'
         ORDER BY settled_at DESC LIMIT 2",
        (new.contact.as_str(), &new.action),
        |row| Ok((state(row, 0)?, timestamp(row, 1)?)),
    )
}

fn is_full(snapshot: &ReadTransaction<'_>, new: &NewEscalation, limits: PendingLimits) -> Result<bool, DirectoryError> {
    let pending: Option<(u32, u32)> = snapshot.find_row(
        "SELECT count(*), count(*) FILTER (WHERE contact = ?2) FROM escalation
         WHERE account = ?1 AND state IN ('pending', 'approved') AND state = 'pending' AND expires > ?3",
        (new.account.as_str(), new.contact.as_str(), new.opened.as_microsecond()),
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let (of_account, of_contact) = pending.unwrap_or_default();
    Ok(of_account >= limits.per_account || of_contact >= limits.per_contact)
}

fn list(snapshot: &ReadTransaction<'_>, wanted: &Wanted, now: Timestamp) -> Result<Vec<Filed>, DirectoryError> {
    let (account, contact) = match &wanted.sight {
        Sight::OfAccount(account) => (account, None),
        Sight::Own(account, contact) => (account, Some(contact.as_str())),
    };
    let (opened, id) = match &wanted.after {
        Some(after) => (after.opened.as_microsecond(), after.id.as_str()),
        None => (i64::MAX, ""),
    };
    let rows = snapshot.rows(
        select_filed!(
            "WHERE e.account = ?1 AND (?2 IS NULL OR e.contact = ?2) AND (e.opened, e.id) < (?3, ?4)
                 AND (?5 = 0 OR (e.state = 'pending' AND e.expires > ?6))
             ORDER BY e.opened DESC, e.id DESC LIMIT ?7"
        ),
        (account.as_str(), contact, opened, id, wanted.only_pending, now.as_microsecond(), wanted.limit),
        filed,
    )?;
    Ok(rows.into_iter().map(|filed| filed.at(now)).collect())
}

fn filed(row: &Row<'_>) -> rusqlite::Result<Filed> {
    let (first, last): (String, String) = (row.get(3)?, row.get(4)?);
    let settled = match (row.get::<_, Option<String>>(12)?, optional_timestamp(row, 13)?) {
        (Some(by), Some(at)) => Some(Settled { by: ContactId::new(by), at }),
        (None | Some(_), _) => None,
    };
    Ok(Filed {
        id: row.get(0)?,
        account: AccountId::new(row.get::<_, String>(1)?),
        contact: ContactId::new(row.get::<_, String>(2)?),
        contact_name: format!("{first} {last}"),
        put_before: ContactId::new(row.get::<_, String>(5)?),
        action: row.get(6)?,
        resource: row.get(7)?,
        client: row.get(8)?,
        state: state(row, 9)?,
        opened: timestamp(row, 10)?,
        expires: timestamp(row, 11)?,
        settled,
        used: optional_timestamp(row, 14)?,
    })
}

fn state(row: &Row<'_>, column: usize) -> rusqlite::Result<EscalationState> {
    EscalationState::parse(&row.get::<_, String>(column)?).ok_or_else(|| unreadable(column, "no state"))
}
