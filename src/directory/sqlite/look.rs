//! Answers a look: each statement is asked whatever came of the one before, so that nobody and somebody take the same work.

use super::{credential, interactions, select, standing, transaction::ReadTransaction};
use crate::directory::{
    AccountId, ContactId, DirectoryError, Standing,
    look::{AttemptFacts, AttemptFrom, Look, Seen, Whose},
};

pub(super) fn look(snapshot: &ReadTransaction<'_>, look: &Look) -> Result<Seen, DirectoryError> {
    let selection = select::find_subject(snapshot, &look.subject)?;
    let interaction = match &look.interaction {
        Some(key) => interactions::find(snapshot, key, look.now)?,
        None => None,
    };
    let standing = match &look.whose {
        Whose::Nobody => None,
        Whose::Selected => match &selection.contact {
            Some(contact) => standing::find_standing(snapshot, contact)?,
            None => standing::find_nobody(snapshot)?,
        },
        Whose::Contact(contact) => standing::find_standing(snapshot, contact)?,
    };
    let attempt = match &look.attempt {
        Some(from) => attempt_facts(snapshot, from, standing.as_ref())?,
        None => AttemptFacts::default(),
    };
    Ok(Seen { selection, standing: standing.map(Into::into), interaction, attempt })
}

fn attempt_facts(
    snapshot: &ReadTransaction<'_>,
    from: &AttemptFrom,
    standing: Option<&Standing>,
) -> Result<AttemptFacts, DirectoryError> {
    let (nobody, no_account) = (ContactId::new(NOBODY), AccountId::new(NOBODY));
    let (contact, account) = match standing {
        Some(standing) => (&standing.contact.id, &standing.account.id),
        None => (&nobody, &no_account),
    };
    let verified_on_line = match from.line {
        Some(line) => credential::was_verified_on(snapshot, contact, line, from.familiar_since)?,
        None => false,
    };
    let contacts_with_passphrase = credential::contacts_with_passphrase(snapshot, account)?;
    Ok(AttemptFacts { verified_on_line, contacts_with_passphrase })
}

/// No account and no contact has this id: ids are not empty.
pub(super) const NOBODY: &str = "";
