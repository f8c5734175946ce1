//! Requests of this service in which one field has so many bytes, all else being sound.

use super::*;

pub async fn send(client: &Client, field: &str, length: usize) -> Result<(), Status> {
    let (message, name) = field.split_once('.').unwrap();
    let text = "7".repeat(length);
    let or = |wanted: &str, usual: &str| if name == wanted { text.clone() } else { usual.to_owned() };
    let (account_id, contact_id) = (or("account_id", sample::ACME), or("contact_id", sample::ADA));
    let (page_token, request_id) = (or("page_token", ""), or("request_id", ""));
    let ada = directory_actor::By::Caller(caller(sample::ACME, sample::ADA, SystemTime::now()));
    let system = directory_actor::By::System(SystemActor { name: or("name", "workday") });
    let by = if message == "SystemActor" { system } else { ada };
    let actor = Some(DirectoryActor { by: Some(by) });
    let mut stub = DirectoryServiceClient::new(client.channel());
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
        other => panic!("no request tries the limit of {other}: add one"),
    }
}
