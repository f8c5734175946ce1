//! Requests of this service in which one field has so many bytes, all else being sound.

use super::*;

pub async fn send(client: &Client, field: &str, length: usize) -> Result<(), Status> {
    let (message, name) = field.split_once('.').unwrap();
    let text = "7".repeat(length);
    let or = |wanted: &str, usual: &str| if name == wanted { text.clone() } else { usual.to_owned() };
    let (escalation_id, request_id) = (or("escalation_id", "esc-1"), or("request_id", ""));
    let caller = Some(caller(sample::ACME, sample::ADA, SystemTime::now()));
    let mut stub = client.of_escalations();
    match message {
        "GetEscalationRequest" => {
            let request = client.with_token(GetEscalationRequest {
                caller,
                escalation_id,
                request_id,
                ..GetEscalationRequest::default()
            });
            patiently(stub.get_escalation(request)).await.map(drop)
        }
        "ListEscalationsRequest" => {
            let (page_token, account_id) = (or("page_token", ""), or("account_id", ""));
            // A person names no account.
            let system = Some(SystemActor { name: "hr".to_owned() }).filter(|_| name == "account_id");
            let caller = caller.filter(|_| system.is_none());
            let request = ListEscalationsRequest {
                caller,
                system,
                account_id,
                page_token,
                request_id,
                ..ListEscalationsRequest::default()
            };
            patiently(stub.list_escalations(client.with_token(request))).await.map(drop)
        }
        "WatchEscalationsRequest" => {
            let request = client.with_token(WatchEscalationsRequest { caller, request_id });
            patiently(stub.watch_escalations(request)).await.map(drop)
        }
        "ApproveEscalationRequest" => {
            let request = client.with_token(ApproveEscalationRequest { caller, escalation_id, request_id });
            patiently(stub.approve_escalation(request)).await.map(drop)
        }
        "RefuseEscalationRequest" => {
            let request = client.with_token(RefuseEscalationRequest { caller, escalation_id, request_id });
            patiently(stub.refuse_escalation(request)).await.map(drop)
        }
        "CancelEscalationRequest" => {
            let request = client.with_token(CancelEscalationRequest { caller, escalation_id, request_id });
            patiently(stub.cancel_escalation(request)).await.map(drop)
        }
        other => panic!("no request tries the limit of {other}: add one"),
    }
}
