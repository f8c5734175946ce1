//! What `--replace` takes away: what the directory has, and the files lack. Of a kind of which they bring no row, nothing.

use std::{
    collections::HashSet,
    fmt,
    io::{self, IsTerminal, Write},
};

use anyhow::bail;

use super::{Committing, LARGEST_CHUNK, Refused, Run, admins::Admins, format::Kind};
use crate::{
    cli::door::told,
    directory::{Account, AccountId, ContactId, ContactStatus, Listed, Scope, import::Row},
    grpc::proto::countersign::admin::v1::{ListAccountsRequest, ListContactsRequest},
};

/// How many records are taken away.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gone {
    contacts: u64,
    roles: u64,
    numbers: u64,
    addresses: u64,
    /// Who cannot be deactivated.
    primary_admins: u64,
}

impl Gone {
    /// Counts them, and takes down what becomes of administrators.
    pub(super) async fn find(run: &Run<'_>, admins: &mut Admins) -> anyhow::Result<Self> {
        let mut gone = Self::default();
        let mut pages = Pages::default();
        while let Some((rows, kept)) = pages.next(run, Some(admins)).await? {
            gone.primary_admins += kept;
            for row in rows {
                match row {
                    Row::ContactGone { .. } => gone.contacts += 1,
                    Row::RoleGone { .. } => gone.roles += 1,
                    Row::NumberGone { .. } => gone.numbers += 1,
                    Row::AddressGone { .. } => gone.addresses += 1,
                    Row::Account(_)
                    | Row::Site(_)
                    | Row::Number(_)
                    | Row::Address(_)
                    | Row::Contact(_)
                    | Row::PrimaryAdmin(_)
                    | Row::Role(_) => {}
                }
            }
        }
        Ok(gone)
    }

    pub(super) fn total(self) -> u64 {
        self.contacts + self.roles + self.numbers + self.addresses
    }
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the files lack {} active contacts, who are deactivated, {} roles, {} numbers and {} addresses of record",
            self.contacts, self.roles, self.numbers, self.addresses
        )?;
        if self.primary_admins > 0 {
            write!(f, "; {} primary administrators stay: each needs a successor first", self.primary_admins)?;
        }
        Ok(())
    }
}

/// Takes them away.
pub(super) async fn commit(run: &mut Run<'_>, committing: &mut Committing) -> anyhow::Result<()> {
    let mut pages = Pages::default();
    while let Some((rows, _)) = pages.next(run, None).await? {
        for chunk in rows.chunks(committing.size.max(1)) {
            let begun = std::time::Instant::now();
            match run.send(chunk.iter()).await? {
                Ok(imported) => committing.took(begun.elapsed(), chunk.len(), &imported)?,
                Err(Refused(_)) => one_by_one(run, committing, chunk).await?,
            }
        }
    }
    Ok(())
}

/// Takes away row by row what is refused together, so that it is known which one is refused.
async fn one_by_one(run: &Run<'_>, committing: &mut Committing, rows: &[Row]) -> anyhow::Result<()> {
    for row in rows {
        let begun = std::time::Instant::now();
        match run.send(std::iter::once(row)).await? {
            Ok(imported) => committing.took(begun.elapsed(), 1, &imported)?,
            Err(Refused(why)) => {
                let (account, contact) = row.names();
                let whose = contact.map(ContactId::as_str).or(account.map(AccountId::as_str)).unwrap_or("-");
                bail!("--replace stopped at what the files lack of {whose}: {why}; what was imported stays");
            }
        }
    }
    Ok(())
}

/// Asks the operator.
pub(super) fn agreed() -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    write!(io::stderr(), "Go on? [y/N] ")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "yes"))
}

/// Walks through the directory: all accounts, then all contacts.
#[derive(Default)]
struct Pages {
    account: String,
    contact: String,
    accounts_done: bool,
    contacts_done: bool,
    /// Who answers for an account once the rows are imported.
    primary_admins: HashSet<ContactId>,
}

impl Pages {
    /// What is gone of the next page, and how many stay as they are primary administrators; `None`: all was seen.
    async fn next(&mut self, run: &Run<'_>, admins: Option<&mut Admins>) -> anyhow::Result<Option<(Vec<Row>, u64)>> {
        if !self.accounts_done {
            return self.accounts(run).await.map(|rows| Some((rows, 0)));
        }
        if !self.contacts_done {
            return self.contacts(run, admins).await.map(Some);
        }
        Ok(None)
    }

    async fn contacts(&mut self, run: &Run<'_>, mut admins: Option<&mut Admins>) -> anyhow::Result<(Vec<Row>, u64)> {
        let request = ListContactsRequest { account_id: String::new(), after: self.contact.clone(), limit: PAGE };
        let page = run.door.service().list_contacts(request).await.map_err(told)?.into_inner().contact_json;
        self.contacts_done = page.len() < LARGEST_CHUNK;
        let (mut rows, mut kept) = (Vec::new(), 0);
        for listed in page {
            let listed: Listed = serde_json::from_str(&listed)?;
            let Listed { contact, roles } = &listed;
            contact.id.as_str().clone_into(&mut self.contact);
            let (gone, mut is_gone) = (Row::ContactGone { contact: contact.id.clone() }, false);
            if run.brought.contains(&Kind::Contact)
                && contact.status == ContactStatus::Active
                && !run.index.keeps(&gone)
            {
                if self.primary_admins.contains(&contact.id) || run.index.is_primary(&contact.account, &contact.id) {
                    kept += 1;
                } else {
                    is_gone = true;
                    rows.push(gone);
                }
            }
            let mut roles_gone = Vec::new();
            if run.brought.contains(&Kind::Role) {
                let roles = roles.iter().cloned().map(|role| Row::RoleGone {
                    contact: role.contact,
                    role: role.role,
                    site: match role.scope {
                        Scope::Company => None,
                        Scope::Site(site) => Some(site),
                    },
                });
                roles_gone.extend(roles.filter(|row| !run.index.keeps(row)));
            }
            if let Some(admins) = &mut admins {
                admins.look(&listed, &run.index, &run.terms, is_gone, &roles_gone);
            }
            rows.extend(roles_gone);
        }
        Ok((rows, kept))
    }

    async fn accounts(&mut self, run: &Run<'_>) -> anyhow::Result<Vec<Row>> {
        let request = ListAccountsRequest { after: self.account.clone(), limit: PAGE };
        let page = run.door.service().list_accounts(request).await.map_err(told)?.into_inner().account_json;
        self.accounts_done = page.len() < LARGEST_CHUNK;
        let mut rows = Vec::new();
        for account in page {
            let account: Account = serde_json::from_str(&account)?;
            account.id.as_str().clone_into(&mut self.account);
            let stays = account.primary_admin.filter(|_| !run.index.names_primary(&account.id));
            self.primary_admins.extend(stays);
            if run.brought.contains(&Kind::Number) {
                let numbers = account.numbers_of_record.into_iter();
                rows.extend(numbers.map(|known| Row::NumberGone { account: account.id.clone(), number: known.number }));
            }
            if run.brought.contains(&Kind::Address) {
                let addresses = account.addresses_of_record.into_iter();
                rows.extend(
                    addresses.map(|known| Row::AddressGone { account: account.id.clone(), address: known.address }),
                );
            }
        }
        rows.retain(|row| !run.index.keeps(row));
        Ok(rows)
    }
}

/// A page.
const PAGE: u32 = LARGEST_CHUNK as u32;
