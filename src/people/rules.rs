//! Whether a wish is granted, and by which changes: tenant, policy, persons, the state that the actor saw, invariants.
//!
//! Everything is decided over one state of the account, and the store commits it upon that state alone.

use std::collections::BTreeMap;

use super::{
    Agent, Asking, Matter, Refusal, account,
    change::{Profile, Wish},
    etag,
};
use crate::directory::{Account, Change, Contact, ContactId, ContactStatus, Listed, RoleAssignment, RoleName, Scope};
use crate::policy::{AttributeValue, Bundle};

/// The action that makes an administrator: whoever may do it can let others in.
pub const GRANTS: &str = "role.grant";

/// What was read for a wish.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The account, if there is one.
    pub account: Option<Account>,
    /// The contact whom the wish names, of whatever account.
    pub contact: Option<Listed>,
    /// Whether another active contact of the account has an administrator's role, company-wide.
    pub another_admin: bool,
}

/// What is to be written, and what is there then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// In this order; none: it is so already.
    pub changes: Vec<Change>,
    /// As it is afterwards.
    pub after: After,
}

/// What a wish is about, as it is afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    /// An account.
    Account(Box<Account>),
    /// A contact.
    Contact(Box<Listed>),
}

impl Plan {
    fn contact(changes: Vec<Change>, contact: Contact, roles: Vec<RoleAssignment>) -> Self {
        Self { changes, after: After::Contact(Box::new(Listed { contact, roles })) }
    }
}

/// Decides a wish.
///
/// # Errors
/// [`Refusal`]; only who is permitted it is told that the account is closed.
pub fn plan(asking: &Asking<'_>, wish: &Wish, facts: Facts, seen: Option<&str>) -> Result<Plan, Refusal> {
    let is_closed = facts.account.as_ref().is_some_and(|account| account.closed.is_some());
    let plan = granted(asking, wish, facts, seen)?;
    if is_closed && !plan.changes.is_empty() && !wish.is_for_closed_accounts() {
        return Err(Refusal::Invalid("account_id"));
    }
    Ok(plan)
}

fn granted(asking: &Asking<'_>, wish: &Wish, facts: Facts, seen: Option<&str>) -> Result<Plan, Refusal> {
    match wish {
        Wish::CreateContact { contact, profile, .. } => create_contact(asking, contact, profile, &facts),
        Wish::TransferPrimaryAdmin { contact, .. } => transfer(asking, contact, facts, seen),
        Wish::CreateAccount { account, fields } => account::create(asking, account, fields, &facts),
        Wish::UpdateAccount { fields, .. } => account::update(asking, fields, facts, seen),
        Wish::DeactivateSite { site, .. } => account::deactivate_site(asking, site, facts, seen),
        Wish::DeactivateAccount { .. } => account::close(asking, facts, seen),
        Wish::SetNumberLock { is_locked, .. } => account::set_number_lock(asking, *is_locked, facts, seen),
        Wish::ReportRerouting { of_record, since, .. } => {
            account::report_rerouting(asking, of_record, *since, facts, seen)
        }
        Wish::UpdateContact { profile, .. } => {
            let (account, target) = target(asking, facts, "user.change", None)?;
            saw(seen, &etag::of_contact(&target))?;
            update_contact(asking, &account, target, profile)
        }
        Wish::DeactivateContact { .. } => {
            let another_admin = facts.another_admin;
            let (account, target) = target(asking, facts, "user.change", None)?;
            saw(seen, &etag::of_contact(&target))?;
            deactivate(asking, &account, target, another_admin)
        }
        Wish::ReactivateContact { .. } => {
            let (_, target) = target(asking, facts, "user.change", None)?;
            saw(seen, &etag::of_contact(&target))?;
            reactivate(asking, target)
        }
        Wish::AssignRole { role, scope, .. } => {
            let (_, target) = target(asking, facts, GRANTS, Some((role, scope)))?;
            saw(seen, &etag::of_contact(&target))?;
            assign(asking, target, role, scope)
        }
        Wish::RevokeRole { role, scope, .. } => {
            let another_admin = facts.another_admin;
            let (_, target) = target(asking, facts, "role.revoke", Some((role, scope)))?;
            saw(seen, &etag::of_contact(&target))?;
            revoke(asking, target, role, scope, another_admin)
        }
    }
}

/// The contact that is meant, with his account, if policy permits the action upon him. Who may not is not told who is there.
fn target(
    asking: &Asking<'_>,
    facts: Facts,
    action: &str,
    role: Option<(&RoleName, &Scope)>,
) -> Result<(Account, Listed), Refusal> {
    let found = facts.account.zip(facts.contact).filter(|(account, _)| asking.agent.reaches(&account.id));
    let own = match asking.agent {
        Agent::Person(verified) => Some(&verified.standing().account),
        Agent::System(_) | Agent::Operator => None,
    };
    let account = own.or(found.as_ref().map(|(account, _)| account));
    let site = match role {
        Some((_, Scope::Site(site))) => Some(site),
        Some((_, Scope::Company)) | None => None,
    };
    // No role reaches a site that is not there; who may company-wide is told that it is not.
    let is_unknown = account.zip(site).is_some_and(|(account, site)| !account.has_site(site));
    let site = site.filter(|_| !is_unknown);
    let attributes: BTreeMap<_, _> =
        role.map(|(role, _)| ("role".to_owned(), AttributeValue::Text(role.to_string()))).into_iter().collect();
    asking.may_write(&[Matter { action, account, site, attributes }])?;
    if is_unknown {
        return Err(Refusal::Invalid("site_id"));
    }
    found.ok_or(Refusal::NotFound)
}

/// Whether the actor saw what is there now; `None`: he does not mind.
pub(super) fn saw(seen: Option<&str>, now: &str) -> Result<(), Refusal> {
    if seen.is_none_or(|seen| seen == now) { Ok(()) } else { Err(Refusal::ChangedMeanwhile) }
}

fn create_contact(asking: &Asking<'_>, id: &ContactId, profile: &Profile, facts: &Facts) -> Result<Plan, Refusal> {
    let account =
        facts.account.as_ref().filter(|account| asking.agent.reaches(&account.id)).ok_or(Refusal::NotFound)?;
    asking.may_write(&[Matter::of("user.change", Some(account))])?;
    if facts.contact.is_some() {
        return Err(Refusal::Conflict("contact_id"));
    }
    let nobody = Contact {
        id: id.clone(),
        account: account.id.clone(),
        first_name: String::new(),
        last_name: String::new(),
        email: None,
        extension: None,
        user_id: None,
        status: ContactStatus::Active,
        created: asking.now,
    };
    let contact = with(nobody, profile);
    Ok(Plan::contact(vec![Change::PutContact(contact.clone())], contact, Vec::new()))
}

fn update_contact(asking: &Asking<'_>, account: &Account, target: Listed, profile: &Profile) -> Result<Plan, Refusal> {
    let Listed { contact: before, roles } = target;
    let contact = with(before.clone(), profile);
    // By the user id he logs in, and at the address he is told of what is done to him: who changes them could become him.
    let is_another = asking.agent.contact() != Some(&contact.id);
    if is_another && (contact.email != before.email || contact.user_id != before.user_id) {
        if let Some(beyond) = roles.iter().find(|assignment| !covers(asking, &assignment.role, &assignment.scope)) {
            return Err(exceeds(&beyond.role, &beyond.scope));
        }
        if account.primary_admin.as_ref() == Some(&contact.id) {
            asking.may_write(&[Matter::of("account.change", Some(account))])?;
        }
    }
    let changes = if contact == before { Vec::new() } else { vec![Change::PutContact(contact.clone())] };
    Ok(Plan::contact(changes, contact, roles))
}

fn with(contact: Contact, profile: &Profile) -> Contact {
    let text = |new: &Option<String>, old: String| new.clone().unwrap_or(old);
    let maybe = |new: &Option<String>, old: Option<String>| match new {
        None => old,
        Some(text) => Some(text.clone()).filter(|text| !text.is_empty()),
    };
    Contact {
        first_name: text(&profile.first_name, contact.first_name),
        last_name: text(&profile.last_name, contact.last_name),
        email: maybe(&profile.email, contact.email),
        extension: maybe(&profile.extension, contact.extension),
        user_id: maybe(&profile.user_id, contact.user_id),
        ..contact
    }
}

/// Whoever may change users may let one go, also one who may do more than he: that gives nobody power, and who left must not
/// wait for somebody who may (S12).
fn deactivate(asking: &Asking<'_>, account: &Account, target: Listed, another_admin: bool) -> Result<Plan, Refusal> {
    let Listed { contact, roles } = target;
    if contact.status == ContactStatus::Inactive {
        return Ok(Plan::contact(Vec::new(), contact, roles));
    }
    if account.primary_admin.as_ref() == Some(&contact.id) {
        return Err(Refusal::PrimaryAdmin);
    }
    if !another_admin && is_admin(asking.bundle, &roles) {
        return Err(Refusal::LastAdmin);
    }
    let contact = Contact { status: ContactStatus::Inactive, ..contact };
    Ok(Plan::contact(vec![Change::PutContact(contact.clone())], contact, roles))
}

/// Who comes back has nothing that he had, so that to bring him back gives nobody power; whoever grants him a role anew is asked
/// for that, and it waits through a cool-off (A31). Only who may all that he could do brings him back all the same: by the login of
/// somebody who was an administrator, others might let one in.
fn reactivate(asking: &Asking<'_>, target: Listed) -> Result<Plan, Refusal> {
    let Listed { contact, roles } = target;
    if contact.status == ContactStatus::Active {
        return Ok(Plan::contact(Vec::new(), contact, roles));
    }
    if let Some(beyond) = roles.iter().find(|assignment| !covers(asking, &assignment.role, &assignment.scope)) {
        return Err(exceeds(&beyond.role, &beyond.scope));
    }
    let revoke = |assignment: RoleAssignment| {
        let RoleAssignment { contact, role, scope, .. } = assignment;
        Change::RevokeRole { contact, role, scope }
    };
    let contact = Contact { status: ContactStatus::Active, ..contact };
    let changes = roles.into_iter().map(revoke).chain([Change::PutContact(contact.clone())]).collect();
    Ok(Plan::contact(changes, contact, Vec::new()))
}

fn assign(asking: &Asking<'_>, target: Listed, role: &RoleName, scope: &Scope) -> Result<Plan, Refusal> {
    let Listed { contact, mut roles } = target;
    if asking.agent.contact() == Some(&contact.id) {
        return Err(Refusal::NotPermitted("oneself".to_owned()));
    }
    if !asking.bundle.roles().contains(role) {
        return Err(Refusal::Invalid("role"));
    }
    if !covers(asking, role, scope) {
        return Err(exceeds(role, scope));
    }
    if contact.status == ContactStatus::Inactive {
        return Err(Refusal::Invalid("contact_id"));
    }
    if has(&roles, role, scope) {
        return Ok(Plan::contact(Vec::new(), contact, roles));
    }
    let granted = asking.now;
    let assignment = RoleAssignment { contact: contact.id.clone(), role: role.clone(), scope: scope.clone(), granted };
    roles.push(assignment.clone());
    // As every store lists them.
    roles.sort_by(|one, other| (&one.role, &one.scope).cmp(&(&other.role, &other.scope)));
    Ok(Plan::contact(vec![Change::AssignRole(assignment)], contact, roles))
}

fn revoke(
    asking: &Asking<'_>,
    target: Listed,
    role: &RoleName,
    scope: &Scope,
    another_admin: bool,
) -> Result<Plan, Refusal> {
    let Listed { contact, mut roles } = target;
    if !covers(asking, role, scope) {
        return Err(exceeds(role, scope));
    }
    if !has(&roles, role, scope) {
        return Ok(Plan::contact(Vec::new(), contact, roles));
    }
    let was_admin = contact.status == ContactStatus::Active && is_admin(asking.bundle, &roles);
    roles.retain(|assignment| !(assignment.role == *role && assignment.scope == *scope));
    if was_admin && !another_admin && !is_admin(asking.bundle, &roles) {
        return Err(Refusal::LastAdmin);
    }
    let change = Change::RevokeRole { contact: contact.id.clone(), role: role.clone(), scope: scope.clone() };
    Ok(Plan::contact(vec![change], contact, roles))
}

fn transfer(asking: &Asking<'_>, contact: &ContactId, facts: Facts, seen: Option<&str>) -> Result<Plan, Refusal> {
    let account = facts.account.filter(|account| asking.agent.reaches(&account.id)).ok_or(Refusal::NotFound)?;
    let action = if account.primary_admin.is_some() { "primary_admin.transfer" } else { "primary_admin.name" };
    asking.may_write(&[Matter::of(action, Some(&account))])?;
    let successor =
        facts.contact.filter(|listed| listed.contact.account == account.id).ok_or(Refusal::NotFound)?.contact;
    saw(seen, &etag::of_account(&account))?;
    if account.primary_admin.as_ref() == Some(contact) {
        return Ok(Plan { changes: Vec::new(), after: After::Account(Box::new(account)) });
    }
    if asking.agent.contact() == Some(contact) {
        return Err(Refusal::NotPermitted("oneself".to_owned()));
    }
    if successor.status == ContactStatus::Inactive {
        return Err(Refusal::Invalid("contact_id"));
    }
    let change = Change::SetPrimaryAdmin { account: account.id.clone(), contact: contact.clone() };
    let after = Account { primary_admin: Some(contact.clone()), ..account };
    Ok(Plan { changes: vec![change], after: After::Account(Box::new(after)) })
}

fn has(roles: &[RoleAssignment], role: &RoleName, scope: &Scope) -> bool {
    roles.iter().any(|assignment| assignment.role == *role && assignment.scope == *scope)
}

/// Whether one of the roles lets others in, company-wide: the meaning of an administrator in a review, too.
#[must_use]
pub fn is_admin(bundle: &Bundle, roles: &[RoleAssignment]) -> bool {
    let admins = bundle.roles_that_may(GRANTS);
    roles.iter().any(|assignment| assignment.scope == Scope::Company && admins.contains(&assignment.role))
}

/// Whether the actor may, where the role applies, all that the role permits (S10).
fn covers(asking: &Asking<'_>, role: &RoleName, scope: &Scope) -> bool {
    if let Agent::Operator = asking.agent {
        return true;
    }
    let site = match scope {
        Scope::Company => None,
        Scope::Site(site) => Some(site),
    };
    asking.bundle.covers(&asking.agent.roles(site), role)
}

fn exceeds(role: &RoleName, scope: &Scope) -> Refusal {
    Refusal::NotPermitted(format!("exceeds the actor: {}", role.at(scope)))
}
