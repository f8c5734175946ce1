//! Imports rows on behalf of an operator: checks them, commits them chunk by chunk, and records what each changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::ManageError;
use crate::{
    audit::{
        Record, Trail, ended,
        record::{ChangeRecord, ImportPart},
    },
    clock::Clock,
    directory::{
        AccountId, Actor, ContactId, Directory, DirectoryError, Revision, RoleAssignment, RoleName,
        import::{Finding, Imported, Note, Problem, Row, Terms},
    },
    people::rules::GRANTS,
    policy::Current,
    spelling::did_you_mean,
};

/// The use cases, and what they work with.
#[derive(Clone)]
pub struct Import {
    /// Who is on record.
    pub directory: Arc<dyn Directory>,
    /// Which roles there are.
    pub policy: Arc<Current>,
    /// What happened.
    pub trail: Arc<Trail>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// The imports that were begun, and what they have changed since.
    pub begun: Arc<Mutex<BTreeMap<String, ImportPart>>>,
}

impl Import {
    /// Says what keeps the rows from being imported. Writes nothing.
    ///
    /// # Errors
    /// [`ManageError`]; a row that cannot be imported is a finding, not an error.
    pub async fn check(&self, rows: Vec<Row>, terms: &Terms) -> Result<Vec<Finding>, ManageError> {
        let mut findings = self.unknown_roles(&rows);
        for (row, malformed) in self.malformed(&rows) {
            findings.push(Finding { row, problem: Problem::Refused { field: malformed.0, why: malformed.1 } });
        }
        let terms = Terms { admins: self.admins(), ..terms.clone() };
        findings.extend(self.directory.check_import(rows, &terms, self.clock.now()).await?);
        Ok(findings)
    }

    /// The roles whose bearers may grant roles, by the policy in force.
    #[must_use]
    pub fn admins(&self) -> BTreeSet<RoleName> {
        self.policy.snapshot().roles_that_may(GRANTS)
    }

    /// Records that an import begins, with its terms. Without this nothing of it is committed.
    ///
    /// # Errors
    /// [`ManageError`]; then nothing may be imported.
    pub async fn begin(&self, terms: Terms, actor: Actor) -> Result<(), ManageError> {
        let this = self.clone();
        let task = tokio::spawn(async move {
            let revision = this.directory.revision().await?;
            let part = of_terms(&terms);
            this.trail
                .record(Told { part: Some(part.clone()), ..Told::of("import_started") }.by(&actor, revision))
                .await?;
            this.begun().insert(terms.import, part);
            Ok(())
        });
        ended(task).await
    }

    /// Imports the rows in one transaction, or none of them, and records what that changed: how many of each kind, and one by
    /// one who got or lost a role, who became primary administrator, and whose passphrase was suspended.
    ///
    /// # Errors
    /// [`ManageError`]; nothing of the rows is written then, unless the audit failed in between.
    pub async fn commit(&self, rows: Vec<Row>, terms: Terms, actor: Actor) -> Result<Imported, ManageError> {
        let unsound = self.unknown_roles(&rows).first().map(|finding| finding.problem.why().to_owned());
        let unsound =
            unsound.or_else(|| self.malformed(&rows).first().map(|(_, (field, why))| format!("{field} {why}")));
        if let Some(why) = unsound {
            return Err(DirectoryError::Invalid { field: "row", why }.into());
        }
        let (this, terms) = (self.clone(), Terms { admins: self.admins(), ..terms });
        ended(tokio::spawn(async move { this.commit_begun(rows, &terms, &actor).await })).await
    }

    /// Records that an import ended, and forgets it: begun again, it is another.
    ///
    /// # Errors
    /// [`ManageError`].
    pub async fn end(&self, terms: Terms, actor: Actor) -> Result<(), ManageError> {
        let this = self.clone();
        let task = tokio::spawn(async move {
            let part = this.begun().get(&terms.import).cloned().ok_or(ManageError::NotBegun)?;
            this.trail.health()?;
            this.directory.forget_import(&terms.import, this.clock.now()).await?;
            let revision = this.directory.revision().await?;
            this.trail.record(Told { part: Some(part), ..Told::of("import_ended") }.by(&actor, revision)).await?;
            this.begun().remove(&terms.import);
            Ok(())
        });
        ended(task).await
    }

    async fn commit_begun(&self, rows: Vec<Row>, terms: &Terms, actor: &Actor) -> Result<Imported, ManageError> {
        if self.begun().get(&terms.import).is_none_or(|begun| !is_under(begun, terms)) {
            return Err(ManageError::NotBegun);
        }
        self.trail.health()?;
        let whose: Vec<_> = rows.iter().map(of_contact).collect();
        let touched = Touched::by(&rows, terms);
        let before = self.standings(&touched).await?;
        let revision = self.directory.revision().await?;
        let imported = self.directory.import(rows, terms, actor.clone(), self.clock.now()).await?;
        let part = self.chunk(terms, actor, revision, imported.revision).await?;
        if part.changes.is_empty() {
            return Ok(imported);
        }
        if let Some(begun) = self.begun().get_mut(&terms.import) {
            begun.first_revision = begun.first_revision.or(part.first_revision);
            for (kind, count) in &part.changes {
                *begun.changes.entry(kind.clone()).or_default() += count;
            }
        }
        let mut told = vec![Told { part: Some(part), ..Told::of("import_committed") }];
        told.extend(before.told_to(&self.standings(&touched).await?));
        for (row, note) in &imported.notes {
            match note {
                Note::PassphraseSuspended => {
                    let (account, contact) = whose.get(*row).cloned().flatten().unzip();
                    told.push(Told { account, contact, ..Told::of("passphrase_suspended") });
                }
                Note::StaysInactive => {}
            }
        }
        self.trail.record_all(told.into_iter().map(|told| told.by(actor, imported.revision))).await?;
        Ok(imported)
    }

    /// What the chunk changed, as the directory's own log has it.
    async fn chunk(
        &self,
        terms: &Terms,
        actor: &Actor,
        before: Revision,
        last: Revision,
    ) -> Result<ImportPart, ManageError> {
        let limit = u32::try_from(last.0.saturating_sub(before.0)).unwrap_or(u32::MAX);
        let log = self.directory.changes_after(before, limit).await?;
        let mut part = of_terms(terms);
        for change in log.into_iter().filter(|change| change.actor == *actor && change.revision <= last) {
            part.first_revision.get_or_insert(change.revision);
            *part.changes.entry(change.kind).or_default() += 1;
        }
        Ok(part)
    }

    async fn standings(&self, touched: &Touched) -> Result<Standings, ManageError> {
        let mut standings = Standings::default();
        for contact in &touched.contacts {
            if let Some(standing) = self.directory.find_standing(contact).await? {
                let account = standing.account.id;
                let roles = standing.assignments.into_iter();
                standings.roles.extend(roles.map(|role| (account.clone(), role)));
            }
        }
        for account in &touched.accounts {
            let admin = self.directory.find_account(account).await?.and_then(|account| account.primary_admin);
            standings.admins.extend(admin.map(|admin| (account.clone(), admin)));
        }
        Ok(standings)
    }

    fn begun(&self) -> MutexGuard<'_, BTreeMap<String, ImportPart>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A role that the policy does not know would be worth nothing, and nobody would notice.
    fn unknown_roles(&self, rows: &[Row]) -> Vec<Finding> {
        let bundle = self.policy.snapshot();
        let why = |row: &Row| {
            let Row::Role(row) = row else { return None };
            (!bundle.roles().contains(&row.role)).then(|| no_such_role(bundle.roles(), &row.role))
        };
        let unknown = rows.iter().enumerate().filter_map(|(row, of)| Some((row, why(of)?)));
        unknown.map(|(row, why)| Finding { row, problem: Problem::Refused { field: "role".to_owned(), why } }).collect()
    }

    fn malformed(&self, rows: &[Row]) -> Vec<(usize, (String, String))> {
        let now = self.clock.now();
        let checked = rows.iter().enumerate().filter_map(|(index, row)| Some((index, row.check(now).err()?)));
        checked.map(|(index, malformed)| (index, (malformed.field.to_owned(), malformed.why))).collect()
    }
}

/// That the policy does not know a role, which roles it knows, and which of them was probably meant.
pub(super) fn no_such_role(known: &[RoleName], role: &RoleName) -> String {
    let names: Vec<&str> = known.iter().map(RoleName::as_str).collect();
    let meant = did_you_mean(role.as_str(), names.iter().copied());
    format!("must be a role of the policy: {}{meant}", names.join(", "))
}

/// Whose roles, and whose primary administrator, some rows may change.
struct Touched {
    contacts: BTreeSet<ContactId>,
    accounts: BTreeSet<AccountId>,
}

impl Touched {
    fn by(rows: &[Row], terms: &Terms) -> Self {
        let mut touched = Self { contacts: BTreeSet::new(), accounts: BTreeSet::new() };
        for row in rows {
            match row {
                Row::Role(row) => drop(touched.contacts.insert(row.contact.clone())),
                Row::RoleGone { contact, .. } => drop(touched.contacts.insert(contact.clone())),
                // Roles of who comes back are granted anew.
                Row::Contact(row) if terms.reactivate => drop(touched.contacts.insert(row.id.clone())),
                Row::PrimaryAdmin(row) => drop(touched.accounts.insert(row.account.clone())),
                Row::Contact(_)
                | Row::Account(_)
                | Row::Site(_)
                | Row::Number(_)
                | Row::Address(_)
                | Row::ContactGone { .. }
                | Row::NumberGone { .. }
                | Row::AddressGone { .. } => {}
            }
        }
        touched
    }
}

/// Who has which role, and who is primary administrator.
#[derive(Default)]
struct Standings {
    roles: Vec<(AccountId, RoleAssignment)>,
    admins: Vec<(AccountId, ContactId)>,
}

impl Standings {
    /// What makes of these those.
    fn told_to(&self, after: &Self) -> Vec<Told> {
        let role = |what, (account, role): &(AccountId, RoleAssignment)| Told {
            account: Some(account.clone()),
            contact: Some(role.contact.clone()),
            role: Some(role.role.at(&role.scope)),
            ..Told::of(what)
        };
        let is_same = |one: &RoleAssignment, other: &RoleAssignment| {
            one.contact == other.contact && one.role == other.role && one.scope == other.scope
        };
        let granted = after.roles.iter().filter(|role| !self.roles.contains(role));
        let revoked = self.roles.iter().filter(|(_, role)| !after.roles.iter().any(|(_, other)| is_same(role, other)));
        let admins = after.admins.iter().filter(|admin| !self.admins.contains(admin)).map(|(account, contact)| Told {
            account: Some(account.clone()),
            contact: Some(contact.clone()),
            ..Told::of("primary_admin_set")
        });
        let granted = granted.map(|granted| role("role_assigned", granted));
        granted.chain(revoked.map(|revoked| role("role_revoked", revoked))).chain(admins).collect()
    }
}

/// A record to be made.
struct Told {
    what: &'static str,
    account: Option<AccountId>,
    contact: Option<ContactId>,
    role: Option<String>,
    part: Option<ImportPart>,
}

impl Told {
    fn of(what: &'static str) -> Self {
        Self { what, account: None, contact: None, role: None, part: None }
    }

    fn by(self, actor: &Actor, directory_revision: Revision) -> Record {
        let Self { what, account, contact, role, part } = self;
        let (actor, what) = (actor.clone(), what.to_owned());
        Record::Change(ChangeRecord { actor, what, account, contact, directory_revision, role, import: part })
    }
}

fn of_terms(terms: &Terms) -> ImportPart {
    ImportPart {
        id: terms.import.clone(),
        trust_dates: terms.trust_dates,
        reactivate: terms.reactivate,
        ..ImportPart::default()
    }
}

fn is_under(begun: &ImportPart, terms: &Terms) -> bool {
    (begun.trust_dates, begun.reactivate) == (terms.trust_dates, terms.reactivate)
}

fn of_contact(row: &Row) -> Option<(AccountId, ContactId)> {
    row.as_contact().map(|row| (row.account.clone(), row.id.clone()))
}
