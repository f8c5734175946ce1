//! Imports rows on behalf of an operator: checks them, commits them chunk by chunk, and records begin and end.

use std::sync::Arc;

use super::ManageError;
use crate::{
    audit::{Record, Trail, record::ChangeRecord},
    clock::Clock,
    directory::{
        AccountId, Actor, ContactId, Directory, DirectoryError, Revision,
        import::{Finding, Imported, Note, Problem, Row, Terms},
    },
    policy::Current,
};

/// The use cases, and what they work with.
pub struct Import {
    /// Who is on record.
    pub directory: Arc<dyn Directory>,
    /// Which roles there are.
    pub policy: Arc<Current>,
    /// What happened.
    pub trail: Arc<Trail>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
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
        findings.extend(self.directory.check_import(rows, terms, self.clock.now()).await?);
        Ok(findings)
    }

    /// Records that an import begins.
    ///
    /// # Errors
    /// [`ManageError`]; then nothing may be imported.
    pub async fn begin(&self, actor: Actor) -> Result<(), ManageError> {
        let revision = self.directory.revision().await?;
        self.record("import_started", None, actor, revision).await
    }

    /// Imports the rows in one transaction, or none of them, and records whose passphrase that suspended.
    ///
    /// # Errors
    /// [`ManageError`]; nothing of the rows is written then.
    pub async fn commit(&self, rows: Vec<Row>, terms: &Terms, actor: Actor) -> Result<Imported, ManageError> {
        let unsound = self.unknown_roles(&rows).first().map(|finding| finding.problem.why().to_owned());
        let unsound =
            unsound.or_else(|| self.malformed(&rows).first().map(|(_, (field, why))| format!("{field} {why}")));
        if let Some(why) = unsound {
            return Err(DirectoryError::Invalid { field: "row", why }.into());
        }
        let whose: Vec<_> = rows.iter().map(of_contact).collect();
        let imported = self.directory.import(rows, terms, actor.clone(), self.clock.now()).await?;
        for (row, note) in &imported.notes {
            match note {
                Note::PassphraseSuspended => {
                    let whose = whose.get(*row).cloned().flatten();
                    self.record("passphrase_suspended", whose, actor.clone(), imported.revision).await?;
                }
                Note::StaysInactive => {}
            }
        }
        Ok(imported)
    }

    /// Records that an import ended, and forgets it: begun again, it is another.
    ///
    /// # Errors
    /// [`ManageError`].
    pub async fn end(&self, terms: &Terms, actor: Actor) -> Result<(), ManageError> {
        self.directory.forget_import(&terms.import, self.clock.now()).await?;
        let revision = self.directory.revision().await?;
        self.record("import_ended", None, actor, revision).await
    }

    /// A role that the policy does not know would be worth nothing, and nobody would notice.
    fn unknown_roles(&self, rows: &[Row]) -> Vec<Finding> {
        let bundle = self.policy.snapshot();
        let is_unknown = |row: &Row| matches!(row, Row::Role(row) if !bundle.roles().contains(&row.role));
        let why = "must be a role of the policy";
        let problem = || Problem::Refused { field: "role".to_owned(), why: why.to_owned() };
        let unknown = rows.iter().enumerate().filter(|(_, row)| is_unknown(row));
        unknown.map(|(row, _)| Finding { row, problem: problem() }).collect()
    }

    fn malformed(&self, rows: &[Row]) -> Vec<(usize, (String, String))> {
        let now = self.clock.now();
        let checked = rows.iter().enumerate().filter_map(|(index, row)| Some((index, row.check(now).err()?)));
        checked.map(|(index, malformed)| (index, (malformed.field.to_owned(), malformed.why))).collect()
    }

    async fn record(
        &self,
        what: &str,
        whose: Option<(AccountId, ContactId)>,
        actor: Actor,
        revision: Revision,
    ) -> Result<(), ManageError> {
        let (account, contact) = whose.unzip();
        let what = what.to_owned();
        let record = ChangeRecord { actor, what, account, contact, directory_revision: revision };
        self.trail.record(Record::Change(record)).await?;
        Ok(())
    }
}

fn of_contact(row: &Row) -> Option<(AccountId, ContactId)> {
    row.as_contact().map(|row| (row.account.clone(), row.id.clone()))
}
