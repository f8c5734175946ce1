//! What came back: as a table, as JSON, as an exit code.

use comfy_table::Table;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::super::table;
use crate::grpc::proto::countersign::v1::{AuthorizeResponse, Decision, EscalationState, EvidenceMethod, Reason};

/// 0 for ALLOW and for nothing else.
pub(super) fn exit_of(response: &AuthorizeResponse) -> u8 {
    match response.decision() {
        Decision::Allow => 0,
        Decision::Challenge => 10,
        Decision::Escalate => 11,
        Decision::Deny => 12,
        Decision::Unspecified => exit_of_status(Code::Internal),
    }
}

/// The exit code of a call that ended without a decision.
pub(super) fn exit_of_status(code: Code) -> u8 {
    20_u8.saturating_add(u8::try_from(i32::from(code)).unwrap_or(u8::MAX))
}

/// The answer, for people. The verification token is not shown.
pub(super) fn table(response: &AuthorizeResponse) -> Table {
    let mut facts = Facts(table::of_facts());
    facts.add("decision", decision(response));
    facts.add("reason", reason(response));
    if let Some(guidance) = &response.guidance {
        facts.add("say", &guidance.say);
        facts.add("tell the agent", &guidance.tell_agent);
        facts.add("link", &guidance.link);
        facts.add("guidance code", &guidance.code);
    }
    if let Some(challenge) = &response.challenge {
        let accepted: Vec<_> = challenge.accepted_methods().map(method).collect();
        facts.add("accepted", &accepted.join(", "));
        if let Some(left) = challenge.attempts_left {
            facts.add("tries left", &left.to_string());
        }
    }
    for remedy in &response.remedies {
        facts.add("or else", &format!("{}: {}", remedy.action, remedy.say));
    }
    if let Some(wait) = &response.retry_after {
        facts.add("try again in", &format!("{} s", wait.seconds));
    }
    if let Some(verified) = &response.verified {
        let who =
            format!("{} (contact {} of account {})", verified.display_name, verified.contact_id, verified.account_id);
        facts.add("verified", &who);
        facts.add("by", method(verified.method()));
        facts.add("at", &time(verified.time.as_ref()));
    }
    if let Some(verification) = &response.verification {
        let expiry = time(verification.expiry.as_ref());
        facts.add("token", &format!("not shown (--save-verification-token keeps it); good until {expiry}"));
    }
    facts.add("act before", &time(response.act_before.as_ref()));
    if let Some(escalation) = &response.escalation {
        facts.add("escalation", &format!("{} {}", escalation.id, escalation_state(escalation.state())));
        facts.add("expires", &time(escalation.expiry.as_ref()));
    }
    for obligation in &response.obligations {
        let parameters: Vec<_> = obligation.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        facts.add("obligation", &format!("{} {}", obligation.name, parameters.join(" ")));
    }
    facts.add("decision id", &response.decision_id);
    facts.add("policy revision", &response.policy_revision);
    if response.directory_revision > 0 {
        facts.add("directory revision", &response.directory_revision.to_string());
    }
    facts.0
}

struct Facts(Table);

impl Facts {
    /// Adds a row, unless there is nothing to say.
    fn add(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.0.add_row([name.to_owned(), table::plain(value)]);
        }
    }
}

/// The answer in the JSON form of protobuf, as grpcurl prints it; fields that are not set are left out.
pub(super) fn json(response: &AuthorizeResponse) -> Value {
    let mut whole = Map::new();
    let mut set = |name: &str, value: Value| {
        let empty = match &value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(values) => values.is_empty(),
            Value::Object(_) | Value::Bool(_) | Value::Number(_) => false,
        };
        if !empty {
            whole.insert(name.to_owned(), value);
        }
    };
    set("decisionId", json!(response.decision_id));
    set("decision", json!(response.decision().as_str_name()));
    set("reason", json!(response.reason().as_str_name()));
    set(
        "guidance",
        response.guidance.as_ref().map_or(Value::Null, |guidance| {
            json!({
                "code": guidance.code, "say": guidance.say, "tellAgent": guidance.tell_agent, "link": guidance.link,
            })
        }),
    );
    set(
        "challenge",
        response.challenge.as_ref().map_or(Value::Null, |challenge| {
            let methods: Vec<_> = challenge.accepted_methods().map(|method| method.as_str_name()).collect();
            match challenge.attempts_left {
                Some(left) => json!({ "acceptedMethods": methods, "attemptsLeft": left }),
                None => json!({ "acceptedMethods": methods }),
            }
        }),
    );
    let remedies = response.remedies.iter();
    set("remedies", remedies.map(|remedy| json!({ "action": remedy.action, "say": remedy.say })).collect());
    set("retryAfter", response.retry_after.as_ref().map_or(Value::Null, |wait| json!(format!("{}s", wait.seconds))));
    set(
        "verified",
        response.verified.as_ref().map_or(Value::Null, |verified| {
            json!({
                "accountId": verified.account_id, "contactId": verified.contact_id,
                "displayName": verified.display_name, "method": verified.method().as_str_name(),
                "time": time(verified.time.as_ref()),
            })
        }),
    );
    set(
        "verification",
        response.verification.as_ref().map_or(
            Value::Null,
            |verification| json!({ "token": verification.token, "expiry": time(verification.expiry.as_ref()) }),
        ),
    );
    set("actBefore", json!(time(response.act_before.as_ref())));
    set("escalation", response.escalation.as_ref().map_or(Value::Null, |escalation| {
        json!({
            "id": escalation.id, "state": escalation.state().as_str_name(), "expiry": time(escalation.expiry.as_ref()),
        })
    }));
    let obligations = response.obligations.iter();
    set("obligations", obligations.map(|one| json!({ "name": one.name, "parameters": one.parameters })).collect());
    set("policyRevision", json!(response.policy_revision));
    if response.directory_revision > 0 {
        set("directoryRevision", json!(response.directory_revision.to_string()));
    }
    Value::Object(whole)
}

/// A call without a decision, for people: nobody was allowed anything.
pub(super) fn status_text(status: &Status) -> String {
    let details = status.get_error_details();
    let mut text = format!("no decision: {:?}: {}", status.code(), table::plain(status.message()));
    if let Some(info) = details.error_info() {
        text.push_str(&format!(" ({})", table::plain(&info.reason)));
    }
    for violation in details.bad_request().into_iter().flat_map(|bad| &bad.field_violations) {
        text.push_str(&format!("\n  {}: {}", table::plain(&violation.field), table::plain(&violation.description)));
    }
    text
}

/// A call without a decision, as JSON.
pub(super) fn status_json(status: &Status) -> Value {
    let details = status.get_error_details();
    let violations: Vec<_> = details
        .bad_request()
        .into_iter()
        .flat_map(|bad| &bad.field_violations)
        .map(|violation| json!({ "field": violation.field, "description": violation.description }))
        .collect();
    json!({
        "status": format!("{:?}", status.code()),
        "message": status.message(),
        "reason": details.error_info().map(|info| info.reason.as_str()),
        "fields": violations,
    })
}

fn decision(response: &AuthorizeResponse) -> &'static str {
    without("DECISION_", response.decision().as_str_name())
}

fn reason(response: &AuthorizeResponse) -> &'static str {
    without("REASON_", Reason::as_str_name(&response.reason()))
}

fn method(method: EvidenceMethod) -> &'static str {
    without("EVIDENCE_METHOD_", method.as_str_name())
}

fn escalation_state(state: EscalationState) -> &'static str {
    match state {
        EscalationState::Unspecified => "not opened",
        EscalationState::Pending => "pending",
        EscalationState::Approved => "approved",
        EscalationState::Refused => "refused",
        EscalationState::Expired => "expired",
        EscalationState::Cancelled => "cancelled",
        EscalationState::Used => "used",
    }
}

fn without(prefix: &str, name: &'static str) -> &'static str {
    name.strip_prefix(prefix).unwrap_or(name)
}

/// RFC 3339, or nothing.
fn time(time: Option<&prost_types::Timestamp>) -> String {
    time.and_then(|time| Timestamp::new(time.seconds, time.nanos).ok())
        .map_or_else(String::new, |time| time.to_string())
}
