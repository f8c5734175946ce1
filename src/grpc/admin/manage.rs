//! From what an operator wants changed to the wish that the rules decide: parsed as `DirectoryService` parses it.

use tonic::Status;

use super::{json, pb};
use crate::{
    grpc::{ask::Invalid, directory::wish, proto::countersign::v1, status::Refused},
    people::{change::Wish, rules::After},
};

/// Parses it, by the limits of the API.
pub(super) fn wish(wish: Option<pb::manage_request::Wish>) -> Result<Wish, Status> {
    use pb::manage_request::Wish as Raw;
    let system = v1::directory_actor::By::System(v1::SystemActor::default());
    let system = Some(v1::DirectoryActor { by: Some(system) });
    let of = |parsed: Result<_, Invalid>| parsed.map_err(Refused::from);
    let wanted = match wish {
        None => return Err(Status::invalid_argument("wish is required")),
        Some(Raw::CreateContact(request)) => wish::create_contact(&request, "", system.as_ref()),
        Some(Raw::UpdateContact(request)) => of(wish::update_contact(&request, "", None)),
        Some(Raw::ReactivateContact(request)) => of(wish::reactivate_contact(&request, "", None)),
        Some(Raw::TransferPrimaryAdmin(request)) => of(wish::transfer_primary_admin(&request, "", None)),
        Some(Raw::CreateAccount(request)) => wish::account::create_account(&request, ""),
        Some(Raw::UpdateAccount(request)) => of(wish::account::update_account(&request, "")),
        Some(Raw::ReportRerouting(request)) => of(wish::account::report_rerouting(&request, "")),
    };
    Ok(wanted.map_err(|refused| refused.status())?.wish)
}

/// The account or contact, as commands show it.
pub(super) fn shown(after: &After) -> Result<String, Status> {
    match after {
        After::Account(account) => json(account),
        After::Contact(listed) => json(listed),
    }
}
