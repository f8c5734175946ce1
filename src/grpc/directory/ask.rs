//! From messages to what is asked: one function per message enforces its limits and parses it.

use super::{mask::Mask, pb};
use crate::{
    directory::{AccountId, AccountStatus, ContactId, ContactStatus, RoleName},
    grpc::{
        ask::{Invalid, Parsed, given, text, visible, within, zero},
        limits::{self, Limit},
    },
    manage::directory::read::{ContactFilter, Wanted},
};

/// The fields of Account that a read mask may name.
const ACCOUNT_FIELDS: [&str; 13] = [
    "id",
    "name",
    "created_at",
    "primary_admin_contact_id",
    "numbers_of_record",
    "addresses_of_record",
    "sites",
    "number_moves_locked",
    "cpni_exemption",
    "marketing_approved_on",
    "etag",
    "status",
    "closed_at",
];

/// The fields of Contact that a read mask may name.
const CONTACT_FIELDS: [&str; 11] = [
    "id",
    "account_id",
    "first_name",
    "last_name",
    "email",
    "extension",
    "user_id",
    "status",
    "roles",
    "created_at",
    "etag",
];

const USUAL_PAGE: u32 = 50;
const LARGEST_PAGE: u32 = 100;

pub(super) fn get_account(request: &pb::GetAccountRequest) -> Parsed<(Wanted, Mask)> {
    correlated(&request.request_id, limits::GET_ACCOUNT_REQUEST_ID)?;
    let id = id("account_id", &request.account_id, limits::GET_ACCOUNT_ID)?;
    Ok((Wanted::Account(AccountId::new(id)), Mask::of_read(request.read_mask.as_ref(), &ACCOUNT_FIELDS)?))
}

pub(super) fn list_accounts(request: &pb::ListAccountsRequest) -> Parsed<(Wanted, u32, Mask)> {
    correlated(&request.request_id, limits::LIST_ACCOUNTS_REQUEST_ID)?;
    let limit = page_size(request.page_size)?;
    let after = after(&request.page_token, limits::LIST_ACCOUNTS_PAGE_TOKEN)?.map(AccountId::new);
    let mask = Mask::of_read(request.read_mask.as_ref(), &ACCOUNT_FIELDS)?;
    let status = match &request.filter {
        None => None,
        Some(filter) => match filter.status() {
            pb::AccountStatus::Active => Some(AccountStatus::Active),
            pb::AccountStatus::Closed => Some(AccountStatus::Closed),
            pb::AccountStatus::Unspecified => zero("filter.status", filter.status, None)?,
        },
    };
    Ok((Wanted::Accounts { status, after, limit }, limit, mask))
}

pub(super) fn get_contact(request: &pb::GetContactRequest) -> Parsed<(Wanted, Mask)> {
    correlated(&request.request_id, limits::GET_CONTACT_REQUEST_ID)?;
    let id = id("contact_id", &request.contact_id, limits::GET_CONTACT_ID)?;
    Ok((Wanted::Contact(ContactId::new(id)), Mask::of_read(request.read_mask.as_ref(), &CONTACT_FIELDS)?))
}

pub(super) fn list_contacts(request: &pb::ListContactsRequest) -> Parsed<(Wanted, u32, Mask)> {
    correlated(&request.request_id, limits::LIST_CONTACTS_REQUEST_ID)?;
    let account = AccountId::new(id("account_id", &request.account_id, limits::LIST_CONTACTS_ACCOUNT)?);
    let filter = request.filter.as_ref().map(filter).transpose()?.unwrap_or_default();
    let limit = page_size(request.page_size)?;
    let after = after(&request.page_token, limits::LIST_CONTACTS_PAGE_TOKEN)?.map(ContactId::new);
    let mask = Mask::of_read(request.read_mask.as_ref(), &CONTACT_FIELDS)?;
    Ok((Wanted::Contacts { account, filter, after, limit }, limit, mask))
}

fn filter(filter: &pb::ContactFilter) -> Parsed<ContactFilter> {
    let status = match filter.status() {
        pb::ContactStatus::Active => Some(ContactStatus::Active),
        pb::ContactStatus::Inactive => Some(ContactStatus::Inactive),
        pb::ContactStatus::Unspecified => zero("filter.status", filter.status, None)?,
    };
    let role = visible("filter.role", filter.role.clone(), limits::FILTER_ROLE)?;
    text("filter.text", &filter.text, limits::FILTER_TEXT)?;
    let looked_for = given(filter.text.clone()).filter(|text| !text.trim().is_empty());
    Ok(ContactFilter { status, role: given(role).map(RoleName::new), text: looked_for })
}

/// The token of a page: a mark, and the id of its last entry. It opens nothing: what is listed is what the actor may see.
pub(crate) fn page_token(last: &str) -> String {
    format!("{TOKEN_MARK}{last}")
}

const TOKEN_MARK: &str = "after.";

fn after(token: &str, limit: Limit) -> Parsed<Option<String>> {
    within("page_token", token.len(), limit)?;
    if token.is_empty() {
        return Ok(None);
    }
    let id = token.strip_prefix(TOKEN_MARK).filter(|id| !id.is_empty() && id.bytes().all(|it| it.is_ascii_graphic()));
    id.map(|id| Some(id.to_owned())).ok_or_else(|| Invalid::new("page_token", "is not one of ours"))
}

fn page_size(size: u32) -> Parsed<u32> {
    match size {
        0 => Ok(USUAL_PAGE),
        size if size <= LARGEST_PAGE => Ok(size),
        _ => Err(Invalid::new("page_size", format!("more than {LARGEST_PAGE}"))),
    }
}

pub(super) fn id(field: &str, id: &str, limit: Limit) -> Parsed<String> {
    let id = visible(field, id.to_owned(), limit)?;
    if id.is_empty() { Err(Invalid::required(field)) } else { Ok(id) }
}

pub(super) fn correlated(request_id: &str, limit: Limit) -> Parsed<()> {
    visible("request_id", request_id.to_owned(), limit).map(drop)
}
