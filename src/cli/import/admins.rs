//! That an account keeps somebody who can let others in (S13), over all rows of an import together: who leaves by one row may have
//! his successor in another, and two rows may take one of two each.
//!
//! It is found out before anything is written. The store looks again in every transaction, since others write meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{
    Placed, Run,
    format::Stage,
    index::{Entries, Index},
    lines::Flaw,
    source::Place,
};
use crate::{
    cli::door::told,
    directory::{
        AccountId, ContactId, ContactStatus, Listed, RoleAssignment, RoleName, Scope,
        import::{LAST_ADMIN, Problem, Row, Terms},
    },
    grpc::proto::countersign::admin::v1::ListContactsRequest,
};

/// What becomes of administrators.
#[derive(Default)]
pub(super) struct Admins {
    /// The roles that make one.
    roles: BTreeSet<RoleName>,
    /// The rows that take one away.
    takers: BTreeMap<AccountId, Vec<(Placed, Entries)>>,
    accounts: BTreeMap<AccountId, Fate>,
    /// Whom the files give such a role, and who is inactive in the end.
    inactive: HashSet<ContactId>,
    /// Of these rows the successor comes by a role.
    late: HashSet<Place>,
}

/// What becomes of those of one account.
#[derive(Default)]
struct Fate {
    /// There is one.
    had: bool,
    /// One of those who are there stays.
    stays: bool,
    /// Another is one in the end.
    comes: bool,
    /// Whom `--replace` takes away.
    gone: Option<ContactId>,
}

impl Fate {
    fn is_in_danger(&self) -> bool {
        self.had && !self.stays && !self.comes
    }
}

impl Admins {
    /// Takes down which roles make an administrator.
    pub(super) fn learn(&mut self, roles: Vec<String>) {
        self.roles = roles.into_iter().map(RoleName::new).collect();
    }

    /// Takes down a row that takes one away.
    pub(super) fn taken_by(&mut self, placed: &Placed, entries: &Entries) {
        if let Some(account) = placed.row.names().0 {
            self.takers.entry(account.clone()).or_default().push((placed.clone(), entries.clone()));
        }
    }

    /// Takes down what becomes of a contact of the directory, if `--replace` takes him or some of his roles away.
    pub(super) fn look(&mut self, listed: &Listed, index: &Index, terms: &Terms, is_gone: bool, roles_gone: &[Row]) {
        let Listed { contact, roles } = listed;
        let is_of_admins = |known: &&RoleAssignment| known.scope == Scope::Company && self.roles.contains(&known.role);
        let is_lost = |known: &RoleAssignment| {
            let is_it = |row: &Row| matches!(row, Row::RoleGone { role, site: None, .. } if *role == known.role);
            roles_gone.iter().any(is_it)
        };
        let was = contact.status == ContactStatus::Active && roles.iter().any(|known| is_of_admins(&known));
        let is_given = self.roles.iter().any(|role| index.grants(&contact.id, role));
        let is_active = match contact.status {
            ContactStatus::Active => true,
            ContactStatus::Inactive => terms.reactivate && index.says_active(&contact.id),
        };
        let is_active = is_active && !is_gone && !index.says_inactive(&contact.id);
        let is_one = is_active && (is_given || roles.iter().filter(is_of_admins).any(|known| !is_lost(known)));
        if !was && !is_one && !is_given {
            return;
        }
        let fate = self.accounts.entry(contact.account.clone()).or_default();
        // Whom the files give a role, and lack, is one in between.
        fate.had |= was || is_given && is_gone;
        fate.stays |= was && is_one;
        fate.comes |= is_one;
        if !is_one {
            fate.gone = Some(contact.id.clone());
        }
        if is_given && !is_active {
            self.inactive.insert(contact.id.clone());
        }
    }

    /// Whether the row waits until roles are given.
    pub(super) fn is_late(&self, place: Place) -> bool {
        self.late.contains(&place)
    }

    /// The rows that wait until roles are given.
    pub(super) fn late(&self) -> Vec<Placed> {
        let takers = self.takers.values().flatten().map(|(placed, _)| placed);
        takers.filter(|placed| self.is_late(placed.place)).cloned().collect()
    }

    /// Where somebody comes who is not in the directory yet.
    fn find_newcomers(&mut self, run: &Run<'_>) -> anyhow::Result<()> {
        if !self.accounts.values().any(Fate::is_in_danger) {
            return Ok(());
        }
        for item in run.source.rows(Stage::Roles) {
            let item = item?;
            let Ok(Row::Role(row)) = item.row else { continue };
            let makes_one = row.site.is_none() && self.roles.contains(&row.role);
            if makes_one
                && !run.report.is_bad(item.place, Stage::Roles)
                && run.index.brings(&row.account, &row.contact)
                && !run.index.says_inactive(&row.contact)
                && !self.inactive.contains(&row.contact)
                && let Some(fate) = self.accounts.get_mut(&row.account)
            {
                fate.comes = true;
            }
        }
        Ok(())
    }
}

impl Run<'_> {
    /// Looks at the people of every account of which a row takes an administrator away.
    pub(super) async fn look_at_accounts(&self, admins: &mut Admins) -> anyhow::Result<()> {
        let accounts: Vec<AccountId> = admins.takers.keys().cloned().collect();
        for account in accounts {
            let mut after = String::new();
            loop {
                let account_id = account.as_str().to_owned();
                let request = ListContactsRequest { account_id, after: after.clone(), limit: PAGE };
                let page = self.door.service().list_contacts(request).await.map_err(told)?.into_inner().contact_json;
                for listed in &page {
                    let listed: Listed = serde_json::from_str(listed)?;
                    admins.look(&listed, &self.index, &self.terms, false, &[]);
                    listed.contact.id.as_str().clone_into(&mut after);
                }
                if page.len() < PAGE as usize {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Refuses what would leave an account without an administrator: by the row that takes the last one away, or, where the files
    /// only lack him, by his name. Returns the latter.
    pub(super) fn refuse_last_admins(&mut self, admins: &mut Admins) -> anyhow::Result<Vec<String>> {
        admins.find_newcomers(self)?;
        let mut refused = Vec::new();
        for (account, fate) in &admins.accounts {
            let takers = admins.takers.get(account).map(Vec::as_slice).unwrap_or_default();
            let sound = || takers.iter().filter(|(placed, _)| !self.report.is_bad(placed.place, Stage::Leavers));
            if fate.had && !fate.stays && fate.comes {
                admins.late.extend(sound().map(|(placed, _)| placed.place));
            }
            if !fate.is_in_danger() {
                continue;
            }
            match (sound().next_back(), &fate.gone) {
                (Some((Placed { place, .. }, entries)), _) => {
                    let (column, class) = (Problem::TakesAdmin.field().to_owned(), "last administrator".to_owned());
                    let flaw = Flaw { column, class, why: LAST_ADMIN.to_owned() };
                    self.index.forget(entries);
                    self.report.error(self.source, *place, Stage::Leavers, &flaw)?;
                    self.rows -= 1;
                }
                (None, Some(gone)) => refused.push(format!("error: {account}: without {gone}, --replace {LAST_ADMIN}")),
                (None, None) => {}
            }
        }
        Ok(refused)
    }
}

const PAGE: u32 = super::LARGEST_CHUNK as u32;
