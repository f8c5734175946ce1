//! Requests of this service in which one field has so many bytes, all else being sound.

use countersign::grpc::{
    limits::Max,
    proto::countersign::v1::{AccountProfile, Site, report_rerouting_request::OfRecord},
};

use super::*;

pub async fn send(client: &Client, field: &str, max: Max, length: usize) -> Result<(), Status> {
    let (message, name) = field.split_once('.').unwrap();
    let text = "7".repeat(length);
    let or = |wanted: &str, usual: &str| if name == wanted { text.clone() } else { usual.to_owned() };
    let (account_id, contact_id) = (or("account_id", sample::ACME), or("contact_id", sample::ADA));
    let (page_token, request_id, etag) = (or("page_token", ""), or("request_id", ""), or("etag", ""));
    let (role, site_id) = (or("role", "it_admin"), or("site_id", ""));
    let ada = directory_actor::By::Caller(caller(sample::ACME, sample::ADA, SystemTime::now()));
    let system = directory_actor::By::System(SystemActor { name: or("name", "workday") });
    let of_systems = ["SystemActor", "CreateContactRequest", "CreateAccountRequest"];
    let by = if of_systems.contains(&message) { system } else { ada };
    let actor = Some(DirectoryActor { by: Some(by) });
    let mut stub = DirectoryServiceClient::new(client.channel());
    let validate_only = true;
    let profile = Some(ContactProfile {
        first_name: or("first_name", "Ada"),
        last_name: or("last_name", "Moreno"),
        email: or("email", ""),
        extension: or("extension", ""),
        user_id: or("user_id", ""),
    });
    let record = Some(match max {
        Max::Entries(_) => many(name, length),
        Max::Bytes(_) => AccountProfile {
            name: or("name", "Acme Telephony"),
            // As long as a number in E.164 form can be.
            numbers_of_record: vec![or("numbers_of_record", sample::ACME_OLD_NUMBER).replacen("77", "+7", 1)],
            addresses_of_record: vec![AddressOfRecord {
                by: Some(match name {
                    "postal_address" => address_of_record::By::PostalAddress(text.clone()),
                    _ => address_of_record::By::EmailAddress(or("email_address", "billing@acme.example")),
                }),
                added_on: String::new(),
            }],
            sites: vec![Site { id: or("id", sample::SITE_HQ), name: or("name", "Headquarters") }],
            ..AccountProfile::default()
        },
    });
    match message {
        "SystemActor" | "GetAccountRequest" => {
            let request = GetAccountRequest { actor, account_id, read_mask: None, request_id };
            patiently(stub.get_account(client.with_token(request))).await.map(drop)
        }
        "ListAccountsRequest" => {
            let request = ListAccountsRequest { actor, page_token, request_id, ..ListAccountsRequest::default() };
            patiently(stub.list_accounts(client.with_token(request))).await.map(drop)
        }
        "GetContactRequest" => {
            let request = GetContactRequest { actor, contact_id, read_mask: None, request_id };
            patiently(stub.get_contact(client.with_token(request))).await.map(drop)
        }
        "ContactFilter" | "ListContactsRequest" => {
            let filter = Some(ContactFilter { role: or("role", ""), text: or("text", ""), status: 0 });
            let request = ListContactsRequest {
                actor,
                account_id,
                filter,
                page_token,
                request_id,
                ..ListContactsRequest::default()
            };
            patiently(stub.list_contacts(client.with_token(request))).await.map(drop)
        }
        "ReviewAccountRequest" => {
            let request = ReviewAccountRequest { actor, account_id, idle_days: 0, request_id };
            patiently(stub.review_account(client.with_token(request))).await.map(drop)
        }
        "CreateContactRequest" => {
            let contact_id = or("contact_id", "");
            let request = CreateContactRequest { actor, account_id, contact_id, profile, validate_only, request_id };
            patiently(stub.create_contact(client.with_token(request))).await.map(drop)
        }
        "ContactProfile" | "UpdateContactRequest" => {
            let update_mask = masked(&["first_name", "last_name", "email", "extension", "user_id"]);
            let request =
                UpdateContactRequest { actor, contact_id, profile, update_mask, etag, validate_only, request_id };
            patiently(stub.update_contact(client.with_token(request))).await.map(drop)
        }
        "DeactivateContactRequest" => {
            let request = DeactivateContactRequest { actor, contact_id, etag, validate_only, request_id };
            patiently(stub.deactivate_contact(client.with_token(request))).await.map(drop)
        }
        "ReactivateContactRequest" => {
            let request = ReactivateContactRequest { actor, contact_id, etag, validate_only, request_id };
            patiently(stub.reactivate_contact(client.with_token(request))).await.map(drop)
        }
        "AssignRoleRequest" => {
            let request = AssignRoleRequest { actor, contact_id, role, site_id, etag, validate_only, request_id };
            patiently(stub.assign_role(client.with_token(request))).await.map(drop)
        }
        "RevokeRoleRequest" => {
            let request = RevokeRoleRequest { actor, contact_id, role, site_id, etag, validate_only, request_id };
            patiently(stub.revoke_role(client.with_token(request))).await.map(drop)
        }
        "TransferPrimaryAdminRequest" => {
            let request =
                TransferPrimaryAdminRequest { actor, account_id, contact_id, etag, validate_only, request_id };
            patiently(stub.transfer_primary_admin(client.with_token(request))).await.map(drop)
        }
        "CreateAccountRequest" => {
            let account_id = or("account_id", "");
            let request = CreateAccountRequest { actor, account_id, profile: record, validate_only, request_id };
            patiently(stub.create_account(client.with_token(request))).await.map(drop)
        }
        "AddressOfRecord" | "Site" | "AccountProfile" | "UpdateAccountRequest" => {
            let update_mask = masked(&["name", "numbers_of_record", "addresses_of_record", "sites"]);
            let profile = record.map(|record| match message {
                // Of this message the name is another's.
                "Site" => AccountProfile { name: "Acme Telephony".to_owned(), ..record },
                "AccountProfile" if name == "name" => AccountProfile { sites: Vec::new(), ..record },
                _ => record,
            });
            let request =
                UpdateAccountRequest { actor, account_id, profile, update_mask, etag, validate_only, request_id };
            patiently(stub.update_account(client.with_token(request))).await.map(drop)
        }
        "DeactivateAccountRequest" => {
            let request = DeactivateAccountRequest { actor, account_id, etag, validate_only, request_id };
            patiently(stub.deactivate_account(client.with_token(request))).await.map(drop)
        }
        "DeactivateSiteRequest" => {
            let site_id = or("site_id", sample::SITE_HQ);
            let request = DeactivateSiteRequest { actor, account_id, site_id, etag, validate_only, request_id };
            patiently(stub.deactivate_site(client.with_token(request))).await.map(drop)
        }
        "SetNumberLockRequest" => {
            let request = SetNumberLockRequest { actor, account_id, locked: true, etag, validate_only, request_id };
            patiently(stub.set_number_lock(client.with_token(request))).await.map(drop)
        }
        "ReportReroutingRequest" => {
            let of_record = match name {
                "postal_address" => OfRecord::PostalAddress(text.clone()),
                "email_address" => OfRecord::EmailAddress(text.clone()),
                _ => OfRecord::Number(or("number", sample::ACME_OLD_NUMBER).replacen("77", "+7", 1)),
            };
            let since = if name == "since" { format!("{}-01-01", "2".repeat(length - 6)) } else { String::new() };
            let of_record = Some(of_record);
            let request =
                ReportReroutingRequest { actor, account_id, of_record, since, etag, validate_only, request_id };
            patiently(stub.report_rerouting(client.with_token(request))).await.map(drop)
        }
        other => panic!("no request tries the limit of {other}: add one"),
    }
}

/// An account with so many entries of one kind.
fn many(name: &str, length: usize) -> AccountProfile {
    let count = |wanted: &str| 0..if name == wanted { length } else { 0 };
    let address = |at| AddressOfRecord {
        by: Some(address_of_record::By::EmailAddress(format!("a{at}@acme.example"))),
        added_on: String::new(),
    };
    AccountProfile {
        name: "Acme Telephony".to_owned(),
        numbers_of_record: count("numbers_of_record").map(|at| format!("+1408{at:07}")).collect(),
        addresses_of_record: count("addresses_of_record").map(address).collect(),
        sites: count("sites").map(|at| Site { id: format!("site-{at}"), name: format!("Site {at}") }).collect(),
        ..AccountProfile::default()
    }
}
