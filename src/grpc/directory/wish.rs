//! From messages to what is to be changed: one function per message enforces its limits and parses it.

use prost::Message;

use super::{
    ask::{correlated, id},
    mask::Mask,
    pb,
};
use crate::{
    directory::{AccountId, ContactId, RoleName, Scope, SiteId},
    grpc::{
        ask::{Invalid, Parsed, given, text, visible},
        limits::{self, Limit},
        status::Refused,
    },
    manage::directory::write::{Wanted, new_contact_id},
    people::change::{Profile, Wish},
};

pub(in crate::grpc) mod account;

/// The fields of ContactProfile.
const PROFILE_FIELDS: [&str; 5] = ["first_name", "last_name", "email", "extension", "user_id"];

pub(in crate::grpc) fn create_contact(
    request: &pb::CreateContactRequest,
    request_id: &str,
    actor: Option<&pb::DirectoryActor>,
) -> Result<Wanted, Refused> {
    correlated(request_id, limits::CREATE_CONTACT_REQUEST_ID)?;
    let account = AccountId::new(id("account_id", &request.account_id, limits::CREATE_CONTACT_ACCOUNT)?);
    let own = given(visible("contact_id", request.contact_id.clone(), limits::CREATE_CONTACT_ID)?);
    // Ids are of all accounts: a person who chose them could find out which others have.
    if own.is_some() && !is_system(actor) {
        return Err(Invalid::new("contact_id", "is for systems: a person's contacts get one that is drawn").into());
    }
    let contact = own.map_or_else(new_contact_id, |own| Ok(ContactId::new(own)))?;
    let Some(profile) = &request.profile else { return Err(Invalid::required("profile").into()) };
    let profile = self::profile(profile, &Mask::everything())?;
    Ok(wanted(Wish::CreateContact { account, contact, profile }, None, request.validate_only, request))
}

pub(in crate::grpc) fn update_contact(
    request: &pb::UpdateContactRequest,
    request_id: &str,
    _: Option<&pb::DirectoryActor>,
) -> Parsed<Wanted> {
    correlated(request_id, limits::UPDATE_CONTACT_REQUEST_ID)?;
    let contact = contact_id(&request.contact_id, limits::UPDATE_CONTACT_ID)?;
    let mask = Mask::of_update(request.update_mask.as_ref(), &PROFILE_FIELDS)?;
    let profile = profile(&request.profile.clone().unwrap_or_default(), &mask)?;
    let etag = etag(&request.etag, limits::UPDATE_CONTACT_ETAG)?;
    Ok(wanted(Wish::UpdateContact { contact, profile }, etag, request.validate_only, request))
}

pub(in crate::grpc) fn deactivate_contact(
    request: &pb::DeactivateContactRequest,
    request_id: &str,
    _: Option<&pb::DirectoryActor>,
) -> Parsed<Wanted> {
    correlated(request_id, limits::DEACTIVATE_CONTACT_REQUEST_ID)?;
    let contact = contact_id(&request.contact_id, limits::DEACTIVATE_CONTACT_ID)?;
    let etag = etag(&request.etag, limits::DEACTIVATE_CONTACT_ETAG)?;
    Ok(wanted(Wish::DeactivateContact { contact }, etag, request.validate_only, request))
}

pub(in crate::grpc) fn reactivate_contact(
    request: &pb::ReactivateContactRequest,
    request_id: &str,
    _: Option<&pb::DirectoryActor>,
) -> Parsed<Wanted> {
    correlated(request_id, limits::REACTIVATE_CONTACT_REQUEST_ID)?;
    let contact = contact_id(&request.contact_id, limits::REACTIVATE_CONTACT_ID)?;
    let etag = etag(&request.etag, limits::REACTIVATE_CONTACT_ETAG)?;
    Ok(wanted(Wish::ReactivateContact { contact }, etag, request.validate_only, request))
}

pub(in crate::grpc) fn assign_role(
    request: &pb::AssignRoleRequest,
    request_id: &str,
    _: Option<&pb::DirectoryActor>,
) -> Parsed<Wanted> {
    correlated(request_id, limits::ASSIGN_ROLE_REQUEST_ID)?;
    let contact = contact_id(&request.contact_id, limits::ASSIGN_ROLE_ID)?;
    let role = RoleName::new(id("role", &request.role, limits::ASSIGN_ROLE_ROLE)?);
    let scope = scope(&request.site_id, limits::ASSIGN_ROLE_SITE)?;
    let etag = etag(&request.etag, limits::ASSIGN_ROLE_ETAG)?;
    Ok(wanted(Wish::AssignRole { contact, role, scope }, etag, request.validate_only, request))
}

pub(in crate::grpc) fn revoke_role(
    request: &pb::RevokeRoleRequest,
    request_id: &str,
    _: Option<&pb::DirectoryActor>,
) -> Parsed<Wanted> {
    correlated(request_id, limits::REVOKE_ROLE_REQUEST_ID)?;
    let contact = contact_id(&request.contact_id, limits::REVOKE_ROLE_ID)?;
    let role = RoleName::new(id("role", &request.role, limits::REVOKE_ROLE_ROLE)?);
    let scope = scope(&request.site_id, limits::REVOKE_ROLE_SITE)?;
    let etag = etag(&request.etag, limits::REVOKE_ROLE_ETAG)?;
    Ok(wanted(Wish::RevokeRole { contact, role, scope }, etag, request.validate_only, request))
}

pub(in crate::grpc) fn transfer_primary_admin(
    request: &pb::TransferPrimaryAdminRequest,
    request_id: &str,
    _: Option<&pb::DirectoryActor>,
) -> Parsed<Wanted> {
    correlated(request_id, limits::TRANSFER_REQUEST_ID)?;
    let account = AccountId::new(id("account_id", &request.account_id, limits::TRANSFER_ACCOUNT)?);
    let contact = contact_id(&request.contact_id, limits::TRANSFER_CONTACT)?;
    let etag = etag(&request.etag, limits::TRANSFER_ETAG)?;
    Ok(wanted(Wish::TransferPrimaryAdmin { account, contact }, etag, request.validate_only, request))
}

/// `request` has no actor and no request id any more: what is left is what is asked for.
fn wanted(wish: Wish, etag: Option<String>, validate_only: bool, request: &impl Message) -> Wanted {
    Wanted { wish, etag, validate_only, content: request.encode_to_vec() }
}

fn is_system(actor: Option<&pb::DirectoryActor>) -> bool {
    matches!(actor.and_then(|actor| actor.by.as_ref()), Some(pb::directory_actor::By::System(_)))
}

fn contact_id(raw: &str, limit: Limit) -> Parsed<ContactId> {
    id("contact_id", raw, limit).map(ContactId::new)
}

fn scope(site: &str, limit: Limit) -> Parsed<Scope> {
    let site = given(visible("site_id", site.to_owned(), limit)?);
    Ok(site.map_or(Scope::Company, |site| Scope::Site(SiteId::new(site))))
}

fn etag(etag: &str, limit: Limit) -> Parsed<Option<String>> {
    visible("etag", etag.to_owned(), limit).map(given)
}

fn profile(profile: &pb::ContactProfile, mask: &Mask) -> Parsed<Profile> {
    let field = |name: &str, value: &str, limit| -> Parsed<Option<String>> {
        text(&format!("profile.{name}"), value, limit)?;
        Ok(mask.has(name).then(|| value.to_owned()))
    };
    Ok(Profile {
        first_name: field("first_name", &profile.first_name, limits::PROFILE_FIRST_NAME)?,
        last_name: field("last_name", &profile.last_name, limits::PROFILE_LAST_NAME)?,
        email: field("email", &profile.email, limits::PROFILE_EMAIL)?,
        extension: field("extension", &profile.extension, limits::PROFILE_EXTENSION)?,
        user_id: field("user_id", &profile.user_id, limits::PROFILE_USER_ID)?,
    })
}
