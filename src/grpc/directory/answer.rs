//! From answers to messages.

use super::{ask::page_token, mask::Mask, pb};
use crate::{
    directory::{self, AccountStatus, AddressKind, ContactStatus, Listed, RoleAssignment, Scope},
    grpc::answer::timestamp,
    manage::directory::{Outcome, Told},
    people::etag,
};

pub(super) fn get_account(told: &Told, mask: &Mask) -> pb::GetAccountResponse {
    pb::GetAccountResponse {
        decision_id: told.decision_id().to_owned(),
        answer: outcome(told.outcome()).into(),
        account: told.shown().accounts.first().map(|account| self::account(account, mask)),
    }
}

pub(super) fn list_accounts(told: &Told, size: u32, mask: &Mask) -> pb::ListAccountsResponse {
    let page = &told.shown().accounts;
    pb::ListAccountsResponse {
        decision_id: told.decision_id().to_owned(),
        answer: outcome(told.outcome()).into(),
        accounts: page.iter().map(|account| self::account(account, mask)).collect(),
        next_page_token: next(page, size, |account| account.id.as_str()),
    }
}

pub(super) fn get_contact(told: &Told, mask: &Mask) -> pb::GetContactResponse {
    pb::GetContactResponse {
        decision_id: told.decision_id().to_owned(),
        answer: outcome(told.outcome()).into(),
        contact: told.shown().contacts.first().map(|listed| contact(listed, mask)),
    }
}

pub(super) fn list_contacts(told: &Told, size: u32, mask: &Mask) -> pb::ListContactsResponse {
    let page = &told.shown().contacts;
    pb::ListContactsResponse {
        decision_id: told.decision_id().to_owned(),
        answer: outcome(told.outcome()).into(),
        contacts: page.iter().map(|listed| contact(listed, mask)).collect(),
        next_page_token: next(page, size, |listed| listed.contact.id.as_str()),
    }
}

pub(super) fn create_contact(told: &Told) -> pb::CreateContactResponse {
    let Written { decision_id, answer, field, contact, changed, .. } = written(told);
    pb::CreateContactResponse { decision_id, answer, field, contact, changed }
}

pub(super) fn update_contact(told: &Told) -> pb::UpdateContactResponse {
    let Written { decision_id, answer, field, contact, changed, .. } = written(told);
    pb::UpdateContactResponse { decision_id, answer, field, contact, changed }
}

pub(super) fn deactivate_contact(told: &Told) -> pb::DeactivateContactResponse {
    let Written { decision_id, answer, field, contact, changed, .. } = written(told);
    pb::DeactivateContactResponse { decision_id, answer, field, contact, changed }
}

pub(super) fn reactivate_contact(told: &Told) -> pb::ReactivateContactResponse {
    let Written { decision_id, answer, field, contact, changed, .. } = written(told);
    pb::ReactivateContactResponse { decision_id, answer, field, contact, changed }
}

pub(super) fn assign_role(told: &Told) -> pb::AssignRoleResponse {
    let Written { decision_id, answer, field, contact, changed, .. } = written(told);
    pb::AssignRoleResponse { decision_id, answer, field, contact, changed }
}

pub(super) fn revoke_role(told: &Told) -> pb::RevokeRoleResponse {
    let Written { decision_id, answer, field, contact, changed, .. } = written(told);
    pb::RevokeRoleResponse { decision_id, answer, field, contact, changed }
}

pub(super) fn transfer_primary_admin(told: &Told) -> pb::TransferPrimaryAdminResponse {
    let Written { decision_id, answer, field, account, changed, .. } = written(told);
    pb::TransferPrimaryAdminResponse { decision_id, answer, field, account, changed }
}

pub(super) fn create_account(told: &Told) -> pb::CreateAccountResponse {
    let Written { decision_id, answer, field, account, changed, .. } = written(told);
    pb::CreateAccountResponse { decision_id, answer, field, account, changed }
}

pub(super) fn update_account(told: &Told) -> pb::UpdateAccountResponse {
    let Written { decision_id, answer, field, account, changed, .. } = written(told);
    pb::UpdateAccountResponse { decision_id, answer, field, account, changed }
}

pub(super) fn deactivate_account(told: &Told) -> pb::DeactivateAccountResponse {
    let Written { decision_id, answer, field, account, changed, .. } = written(told);
    pb::DeactivateAccountResponse { decision_id, answer, field, account, changed }
}

pub(super) fn deactivate_site(told: &Told) -> pb::DeactivateSiteResponse {
    let Written { decision_id, answer, field, account, changed, .. } = written(told);
    pb::DeactivateSiteResponse { decision_id, answer, field, account, changed }
}

pub(super) fn set_number_lock(told: &Told) -> pb::SetNumberLockResponse {
    let Written { decision_id, answer, field, account, changed, .. } = written(told);
    pb::SetNumberLockResponse { decision_id, answer, field, account, changed }
}

pub(super) fn report_rerouting(told: &Told) -> pb::ReportReroutingResponse {
    let Written { decision_id, answer, field, account, changed, .. } = written(told);
    pb::ReportReroutingResponse { decision_id, answer, field, account, changed }
}

/// What every answer to a change says.
struct Written {
    decision_id: String,
    answer: i32,
    field: String,
    account: Option<pb::Account>,
    contact: Option<pb::Contact>,
    changed: bool,
}

fn written(told: &Told) -> Written {
    let all = Mask::everything();
    Written {
        decision_id: told.decision_id().to_owned(),
        answer: outcome(told.outcome()).into(),
        field: told.outcome().field().unwrap_or_default().to_owned(),
        account: told.shown().accounts.first().map(|account| self::account(account, &all)),
        contact: told.shown().contacts.first().map(|listed| contact(listed, &all)),
        changed: told.changed(),
    }
}

fn next<T>(page: &[T], size: u32, id: impl Fn(&T) -> &str) -> String {
    let is_full = u32::try_from(page.len()).is_ok_and(|length| length >= size);
    page.last().filter(|_| is_full).map(|last| page_token(id(last))).unwrap_or_default()
}

pub(super) fn outcome(outcome: &Outcome) -> pb::DirectoryAnswer {
    match outcome {
        Outcome::Done => pb::DirectoryAnswer::Done,
        Outcome::NotVerified => pb::DirectoryAnswer::NotVerified,
        Outcome::NotFound => pb::DirectoryAnswer::NotFound,
        Outcome::NotPermitted => pb::DirectoryAnswer::NotPermitted,
        Outcome::FreshLoginRequired => pb::DirectoryAnswer::FreshLoginRequired,
        Outcome::ChangedMeanwhile => pb::DirectoryAnswer::ChangedMeanwhile,
        Outcome::Conflict(_) => pb::DirectoryAnswer::Conflict,
        Outcome::Invalid(_) => pb::DirectoryAnswer::Invalid,
        Outcome::LastAdmin => pb::DirectoryAnswer::LastAdmin,
        Outcome::PrimaryAdmin => pb::DirectoryAnswer::PrimaryAdmin,
    }
}

fn contact(listed: &Listed, mask: &Mask) -> pb::Contact {
    let contact = &listed.contact;
    let status = match contact.status {
        ContactStatus::Active => pb::ContactStatus::Active,
        ContactStatus::Inactive => pb::ContactStatus::Inactive,
    };
    let text = |field: &str, text: Option<&str>| text.filter(|_| mask.has(field)).unwrap_or_default().to_owned();
    pb::Contact {
        id: contact.id.to_string(),
        account_id: text("account_id", Some(contact.account.as_str())),
        first_name: text("first_name", Some(&contact.first_name)),
        last_name: text("last_name", Some(&contact.last_name)),
        email: text("email", contact.email.as_deref()),
        extension: text("extension", contact.extension.as_deref()),
        user_id: text("user_id", contact.user_id.as_deref()),
        status: if mask.has("status") { status.into() } else { 0 },
        roles: if mask.has("roles") { listed.roles.iter().map(role).collect() } else { Vec::new() },
        created_at: mask.has("created_at").then(|| timestamp(contact.created)),
        etag: etag::of_contact(listed),
    }
}

fn role(assignment: &RoleAssignment) -> pb::RoleGrant {
    let site = match &assignment.scope {
        Scope::Company => "",
        Scope::Site(site) => site.as_str(),
    };
    pb::RoleGrant {
        role: assignment.role.to_string(),
        site_id: site.to_owned(),
        granted_at: Some(timestamp(assignment.granted)),
    }
}

fn account(account: &directory::Account, mask: &Mask) -> pb::Account {
    let text = |field: &str, text: Option<String>| text.filter(|_| mask.has(field)).unwrap_or_default();
    let numbers = account.numbers_of_record.iter().filter(|_| mask.has("numbers_of_record"));
    let addresses = account.addresses_of_record.iter().filter(|_| mask.has("addresses_of_record"));
    let sites = account.sites.iter().filter(|_| mask.has("sites"));
    let exemption = &account.cpni_exemption;
    let status = match account.status() {
        AccountStatus::Active => pb::AccountStatus::Active,
        AccountStatus::Closed => pb::AccountStatus::Closed,
    };
    pb::Account {
        id: account.id.to_string(),
        name: text("name", Some(account.name.clone())),
        created_at: mask.has("created_at").then(|| timestamp(account.created)),
        primary_admin_contact_id: text(
            "primary_admin_contact_id",
            account.primary_admin.as_ref().map(ToString::to_string),
        ),
        numbers_of_record: numbers
            .map(|number| pb::NumberOfRecord { number: number.number.to_string(), added_on: number.added.to_string() })
            .collect(),
        addresses_of_record: addresses.map(address).collect(),
        sites: sites.map(|site| pb::Site { id: site.id.as_str().to_owned(), name: site.name.clone() }).collect(),
        number_moves_locked: mask.has("number_moves_locked") && account.number_moves_locked,
        cpni_exemption: mask.has("cpni_exemption").then_some(pb::CpniExemption {
            dedicated_representative: exemption.dedicated_representative,
            contract_addresses_cpni: exemption.contract_addresses_cpni,
        }),
        marketing_approved_on: text("marketing_approved_on", account.marketing_approved.map(|day| day.to_string())),
        etag: etag::of_account(account),
        status: if mask.has("status") { status.into() } else { 0 },
        closed_at: account.closed.filter(|_| mask.has("closed_at")).map(timestamp),
    }
}

fn address(address: &directory::AddressOfRecord) -> pb::AddressOfRecord {
    use pb::address_of_record::By;
    let by = match address.kind {
        AddressKind::Postal => By::PostalAddress(address.address.clone()),
        AddressKind::Email => By::EmailAddress(address.address.clone()),
    };
    pb::AddressOfRecord { by: Some(by), added_on: address.added.to_string() }
}
