//! The same of accounts.

use super::{
    super::{
        ask::{correlated, id},
        mask::Mask,
        pb,
    },
    etag, wanted,
};
use crate::{
    directory::{AccountId, AddressKind, CpniExemption, E164, Site, SiteId},
    grpc::{
        ask::{Invalid, Parsed, given, text, visible, within},
        limits,
        status::Refused,
    },
    manage::directory::write::{Wanted, new_account_id},
    people::change::{AccountFields, OfRecord, Wish},
};

/// The fields of AccountProfile.
const FIELDS: [&str; 6] =
    ["name", "numbers_of_record", "addresses_of_record", "sites", "cpni_exemption", "marketing_approved"];

pub(in crate::grpc) fn create_account(request: &pb::CreateAccountRequest, request_id: &str) -> Result<Wanted, Refused> {
    correlated(request_id, limits::CREATE_ACCOUNT_REQUEST_ID)?;
    let own = given(visible("account_id", request.account_id.clone(), limits::CREATE_ACCOUNT_ID)?);
    let Some(profile) = &request.profile else { return Err(Invalid::required("profile").into()) };
    let fields = fields(profile, &Mask::everything())?;
    let account = own.map_or_else(new_account_id, |own| Ok(AccountId::new(own)))?;
    Ok(wanted(Wish::CreateAccount { account, fields }, None, request.validate_only, request))
}

pub(in crate::grpc) fn update_account(request: &pb::UpdateAccountRequest, request_id: &str) -> Parsed<Wanted> {
    correlated(request_id, limits::UPDATE_ACCOUNT_REQUEST_ID)?;
    let account = AccountId::new(id("account_id", &request.account_id, limits::UPDATE_ACCOUNT_ID)?);
    let mask = Mask::of_update(request.update_mask.as_ref(), &FIELDS)?;
    let fields = fields(&request.profile.clone().unwrap_or_default(), &mask)?;
    let etag = etag(&request.etag, limits::UPDATE_ACCOUNT_ETAG)?;
    Ok(wanted(Wish::UpdateAccount { account, fields }, etag, request.validate_only, request))
}

pub(in crate::grpc) fn deactivate_account(request: &pb::DeactivateAccountRequest, request_id: &str) -> Parsed<Wanted> {
    correlated(request_id, limits::DEACTIVATE_ACCOUNT_REQUEST_ID)?;
    let account = AccountId::new(id("account_id", &request.account_id, limits::DEACTIVATE_ACCOUNT_ID)?);
    let etag = etag(&request.etag, limits::DEACTIVATE_ACCOUNT_ETAG)?;
    Ok(wanted(Wish::DeactivateAccount { account }, etag, request.validate_only, request))
}

pub(in crate::grpc) fn deactivate_site(request: &pb::DeactivateSiteRequest, request_id: &str) -> Parsed<Wanted> {
    correlated(request_id, limits::DEACTIVATE_SITE_REQUEST_ID)?;
    let account = AccountId::new(id("account_id", &request.account_id, limits::DEACTIVATE_SITE_ACCOUNT)?);
    let site = SiteId::new(id("site_id", &request.site_id, limits::DEACTIVATE_SITE_ID)?);
    let etag = etag(&request.etag, limits::DEACTIVATE_SITE_ETAG)?;
    Ok(wanted(Wish::DeactivateSite { account, site }, etag, request.validate_only, request))
}

pub(in crate::grpc) fn set_number_lock(request: &pb::SetNumberLockRequest, request_id: &str) -> Parsed<Wanted> {
    correlated(request_id, limits::NUMBER_LOCK_REQUEST_ID)?;
    let account = AccountId::new(id("account_id", &request.account_id, limits::NUMBER_LOCK_ACCOUNT)?);
    let etag = etag(&request.etag, limits::NUMBER_LOCK_ETAG)?;
    let wish = Wish::SetNumberLock { account, is_locked: request.locked };
    Ok(wanted(wish, etag, request.validate_only, request))
}

pub(in crate::grpc) fn report_rerouting(request: &pb::ReportReroutingRequest, request_id: &str) -> Parsed<Wanted> {
    use pb::report_rerouting_request::OfRecord as Raw;
    correlated(request_id, limits::REROUTING_REQUEST_ID)?;
    let account = AccountId::new(id("account_id", &request.account_id, limits::REROUTING_ACCOUNT)?);
    let of_record = match &request.of_record {
        None => return Err(Invalid::required("of_record")),
        Some(Raw::Number(number)) => {
            text("number", number, limits::REROUTING_NUMBER)?;
            OfRecord::Number(e164("number", number)?)
        }
        Some(Raw::PostalAddress(address)) => {
            text("postal_address", address, limits::REROUTING_POSTAL_ADDRESS)?;
            OfRecord::Address(AddressKind::Postal, address.clone())
        }
        Some(Raw::EmailAddress(address)) => {
            text("email_address", address, limits::REROUTING_EMAIL_ADDRESS)?;
            OfRecord::Address(AddressKind::Email, address.clone())
        }
    };
    let since = given(visible("since", request.since.clone(), limits::REROUTING_SINCE)?);
    let since = since.map(|day| day.parse().map_err(|_| Invalid::new("since", "is no day such as 2026-11-26")));
    let etag = etag(&request.etag, limits::REROUTING_ETAG)?;
    let wish = Wish::ReportRerouting { account, of_record, since: since.transpose()? };
    Ok(wanted(wish, etag, request.validate_only, request))
}

fn fields(profile: &pb::AccountProfile, mask: &Mask) -> Parsed<AccountFields> {
    text("profile.name", &profile.name, limits::PROFILE_NAME)?;
    within("profile.numbers_of_record", profile.numbers_of_record.len(), limits::PROFILE_NUMBERS)?;
    within("profile.addresses_of_record", profile.addresses_of_record.len(), limits::PROFILE_ADDRESSES)?;
    within("profile.sites", profile.sites.len(), limits::PROFILE_SITES)?;
    let numbers = profile.numbers_of_record.iter().enumerate().map(|(at, number)| self::number(at, number));
    let numbers: Vec<E164> = numbers.collect::<Parsed<_>>()?;
    let addresses = profile.addresses_of_record.iter().enumerate().map(|(at, it)| address(at, it));
    let addresses: Vec<_> = addresses.collect::<Parsed<_>>()?;
    let sites: Vec<Site> =
        profile.sites.iter().enumerate().map(|(at, site)| self::site(at, site)).collect::<Parsed<_>>()?;
    let exemption = profile.cpni_exemption.unwrap_or_default();
    Ok(AccountFields {
        name: mask.has("name").then(|| profile.name.clone()),
        numbers_of_record: mask.has("numbers_of_record").then_some(numbers),
        addresses_of_record: mask.has("addresses_of_record").then_some(addresses),
        sites: mask.has("sites").then_some(sites),
        cpni_exemption: mask.has("cpni_exemption").then_some(CpniExemption {
            dedicated_representative: exemption.dedicated_representative,
            contract_addresses_cpni: exemption.contract_addresses_cpni,
        }),
        marketing_approved: mask.has("marketing_approved").then_some(profile.marketing_approved),
    })
}

fn number(at: usize, number: &str) -> Parsed<E164> {
    let field = format!("profile.numbers_of_record[{at}]");
    text(&field, number, limits::PROFILE_NUMBER)?;
    e164(&field, number)
}

fn e164(field: &str, number: &str) -> Parsed<E164> {
    E164::parse(number).ok_or_else(|| Invalid::new(field, "is no number in E.164 form, such as +14085550100"))
}

fn address(at: usize, address: &pb::AddressOfRecord) -> Parsed<(AddressKind, String)> {
    use pb::address_of_record::By;
    let field = |name: &str| format!("profile.addresses_of_record[{at}].{name}");
    match &address.by {
        None => Err(Invalid::required(field("by"))),
        Some(By::PostalAddress(address)) => {
            text(&field("postal_address"), address, limits::POSTAL_ADDRESS)?;
            Ok((AddressKind::Postal, address.clone()))
        }
        Some(By::EmailAddress(address)) => {
            text(&field("email_address"), address, limits::EMAIL_ADDRESS)?;
            Ok((AddressKind::Email, address.clone()))
        }
    }
}

fn site(at: usize, site: &pb::Site) -> Parsed<Site> {
    let field = |name: &str| format!("profile.sites[{at}].{name}");
    let id = id(&field("id"), &site.id, limits::SITE_ID)?;
    text(&field("name"), &site.name, limits::SITE_NAME)?;
    Ok(Site { id: SiteId::new(id), name: site.name.clone() })
}
