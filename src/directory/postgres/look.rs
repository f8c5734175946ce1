//! Answers a look, by one statement: `countersign.look` of the database has the rules.

use super::{
    interactions, standing,
    transaction::{Reading, get, optional_timestamp},
    values::Instant,
};
use crate::directory::{
    AccountId, AccountSelector, ContactId, ContactSelector, DirectoryError, InteractionState, Selection, Standing,
    look::{AttemptFacts, Look, Seen, Whose},
    select::folded,
};

pub(super) async fn look(reading: &mut Reading, look: &Look) -> Result<Seen, DirectoryError> {
    let (account_by, account) = account(look.subject.account.as_ref().unwrap_or(&AccountSelector::Nothing));
    let (contact_by, contact, first) = match &look.subject.contact {
        None => (None, None, None),
        Some(selector) => {
            let (by, value, first) = self::contact(selector);
            (Some(by), Some(value), first)
        }
    };
    let (whose, whose_id) = match &look.whose {
        Whose::Nobody => ("nobody", None),
        Whose::Selected => ("selected", None),
        Whose::Contact(contact) => ("contact", Some(contact.as_str())),
    };
    let line = look.attempt.as_ref().and_then(|from| from.line);
    let statement = sqlx::query(LOOK)
        .bind(account_by)
        .bind(account)
        .bind(contact_by)
        .bind(contact)
        .bind(first)
        .bind(whose)
        .bind(whose_id)
        .bind(look.interaction.as_ref().map(|key| key.group.as_str()))
        .bind(look.interaction.as_ref().map(|key| key.id.as_str()))
        .bind(interactions::oldest_kept(look.now))
        .bind(look.attempt.is_some())
        .bind(line.as_ref().map(|line| line.as_bytes().as_slice()))
        .bind(look.attempt.as_ref().map(|from| Instant(from.familiar_since)));
    let row = reading.find(statement).await?.ok_or_else(|| super::defect("a look saw nothing at all"))?;
    let interaction = match get::<Option<String>>(&row, 2)? {
        None => None,
        Some(opened_by) => {
            let opened_at = super::transaction::timestamp(&row, 3)?;
            let state = InteractionState { opened_by, opened_at, ended_at: optional_timestamp(&row, 4)? };
            Some(interactions::ended_by_itself(state, look.now))
        }
    };
    let enrolled = get::<Option<i32>>(&row, 6)?.unwrap_or_default();
    Ok(Seen {
        selection: Selection {
            account: get::<Option<String>>(&row, 0)?.map(AccountId::new),
            contact: get::<Option<String>>(&row, 1)?.map(ContactId::new),
        },
        standing: standing::standing(&row, STANDING)?.map(Into::into),
        interaction,
        attempt: AttemptFacts {
            verified_on_line: get::<Option<bool>>(&row, 5)?.unwrap_or_default(),
            contacts_with_passphrase: u32::try_from(enrolled).unwrap_or_default(),
        },
    })
}

/// One standing, and nothing else.
pub(super) async fn find_standing(
    reading: &mut Reading,
    contact: &ContactId,
) -> Result<Option<Standing>, DirectoryError> {
    let nothing = None::<&str>;
    let statement = sqlx::query(LOOK)
        .bind("number")
        .bind("")
        .bind(nothing)
        .bind(nothing)
        .bind(nothing)
        .bind("contact")
        .bind(contact.as_str())
        .bind(nothing)
        .bind(nothing)
        .bind(None::<Instant>)
        .bind(false)
        .bind(None::<&[u8]>)
        .bind(None::<Instant>);
    let row = reading.find(statement).await?.ok_or_else(|| super::defect("a look saw nothing at all"))?;
    standing::standing(&row, STANDING)
}

/// By what an account is selected, and the value in the form in which it is compared.
fn account(selector: &AccountSelector) -> (&'static str, String) {
    match selector {
        AccountSelector::Id(id) => ("id", sendable(id.as_str())),
        AccountSelector::NumberOfRecord(number) => ("number", number.as_str().to_owned()),
        AccountSelector::Name(name) => ("name", sendable(&folded(name))),
        // No number is empty, so this finds nobody, by the same work.
        AccountSelector::Nothing => ("number", String::new()),
    }
}

/// The same of a contact, and the first name when he is selected by name.
fn contact(selector: &ContactSelector) -> (&'static str, String, Option<String>) {
    match selector {
        ContactSelector::Id(id) => ("id", sendable(id.as_str()), None),
        ContactSelector::Email(email) => ("email", sendable(&folded(email)), None),
        ContactSelector::Extension(extension) => ("extension", sendable(extension), None),
        ContactSelector::UserId(user_id) => ("user_id", sendable(&folded(user_id)), None),
        ContactSelector::Name { first, last } => ("name", sendable(&folded(last)), Some(sendable(&folded(first)))),
    }
}

/// The database knows no NUL in a text and would refuse the statement. Nothing that is stored has a control character, so
/// that another one finds nobody just as well.
fn sendable(text: &str) -> String {
    text.replace('\0', "\u{1}")
}

/// Of a closed account, the function says that everybody has left: so do sidecars of the version before, which do not know that
/// accounts are closed. Here each has his own status, beside that of the account.
const LOOK: &str = "SELECT selected_account, selected_contact, opened_by, opened_at, ended_at, verified_on_line,
        contacts_with_passphrase, contact_id, l.account, l.first_name, l.last_name, l.email, l.extension, l.user_id, p.status,
        l.created, roles, role_sites, roles_granted, account_id, account_name, account_created, l.primary_admin,
        l.number_moves_locked, l.dedicated_representative, l.contract_addresses_cpni, l.marketing_approved, numbers,
        numbers_added, address_kinds, addresses, addresses_added, sites, site_names, a.closed, current_version, last_set, revision
    FROM countersign.look($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) l
    LEFT JOIN countersign.contact p ON p.id = l.contact_id
    LEFT JOIN countersign.account a ON a.id = l.account_id";

/// Where the columns of the standing begin.
const STANDING: usize = 7;
