//! From answers to messages.

use std::time::Duration;

use jiff::Timestamp;

use super::proto::countersign::v1::{self as pb, delivery_target::To};
use crate::{
    authorize::{Answer, Decision, Reason, Reply, Verification},
    client::ClientSystem,
    directory::{AddressKind, AddressOfRecord, Delivery},
    escalation::{Escalation, EscalationState},
    identity::{Method, Verified},
    policy::{Guidance, Obligation, Remedy},
};

/// The response to a question about one action.
pub(super) fn one(reply: &Reply, client: &ClientSystem) -> Option<pb::AuthorizeResponse> {
    reply.answers().first().map(|answer| {
        let mut response = response(answer, reply, client);
        response.verification = reply.verification().map(verification);
        response
    })
}

/// The response to a question about several.
pub(super) fn several(reply: &Reply, client: &ClientSystem) -> pb::BatchAuthorizeResponse {
    let mut results: Vec<_> = reply.answers().iter().map(|answer| response(answer, reply, client)).collect();
    if let Some(first) = results.first_mut() {
        first.verification = reply.verification().map(verification);
    }
    pb::BatchAuthorizeResponse { results }
}

/// Where a delivery goes; without one, nowhere.
pub(super) fn delivery(delivery: Option<&Delivery>) -> pb::ReadDeliveryResponse {
    pb::ReadDeliveryResponse { targets: targets(delivery) }
}

/// Where something goes.
pub(super) fn targets(delivery: Option<&Delivery>) -> Vec<pb::DeliveryTarget> {
    let address = |address: &AddressOfRecord| match address.kind {
        AddressKind::Postal => To::PostalAddress(address.address.clone()),
        AddressKind::Email => To::EmailAddress(address.address.clone()),
    };
    let targets = delivery.into_iter().flat_map(|delivery| {
        let numbers = delivery.numbers.iter().map(|number| To::Number(number.number.to_string()));
        delivery.addresses.iter().map(address).chain(numbers)
    });
    targets.map(|to| pb::DeliveryTarget { to: Some(to) }).collect()
}

/// The protobuf form of a time.
pub(super) fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() }
}

fn response(answer: &Answer, reply: &Reply, client: &ClientSystem) -> pb::AuthorizeResponse {
    let mut response = pb::AuthorizeResponse {
        decision_id: answer.decision_id.clone(),
        decision: decision(&answer.decision).into(),
        reason: reason(answer.decision.reason()).into(),
        guidance: answer.guidance.as_ref().map(guidance),
        remedies: answer.remedies.iter().map(remedy).collect(),
        verified: reply.verified().map(verified),
        policy_revision: reply.policy_revision().to_owned(),
        directory_revision: if client.debug { reply.directory_revision().0 } else { 0 },
        ..pb::AuthorizeResponse::default()
    };
    match &answer.decision {
        Decision::Allow(allow) => {
            response.act_before = Some(timestamp(allow.act_before()));
            response.obligations = allow.obligations().iter().map(obligation).collect();
        }
        Decision::Challenge { accepted, attempts_left, .. } => {
            let accepted_methods = accepted.iter().map(|accepted| method(*accepted).into()).collect();
            response.challenge = Some(pb::Challenge { accepted_methods, attempts_left: *attempts_left });
        }
        Decision::Escalate(opened) => response.escalation = Some(escalation(opened.as_ref())),
        Decision::Deny { retry_after, .. } => response.retry_after = retry_after.map(duration),
    }
    response
}

fn decision(decision: &Decision) -> pb::Decision {
    match decision {
        Decision::Allow(_) => pb::Decision::Allow,
        Decision::Challenge { .. } => pb::Decision::Challenge,
        Decision::Escalate(_) => pb::Decision::Escalate,
        Decision::Deny { .. } => pb::Decision::Deny,
    }
}

fn reason(reason: Reason) -> pb::Reason {
    match reason {
        Reason::Open => pb::Reason::Open,
        Reason::Permitted => pb::Reason::Permitted,
        Reason::EvidenceRequired => pb::Reason::EvidenceRequired,
        Reason::EvidenceNotAccepted => pb::Reason::EvidenceNotAccepted,
        Reason::FreshEvidenceRequired => pb::Reason::FreshEvidenceRequired,
        Reason::Escalated => pb::Reason::Escalated,
        Reason::NotOnThisChannel => pb::Reason::NotOnThisChannel,
        Reason::NotVerified => pb::Reason::NotVerified,
        Reason::NotPermitted => pb::Reason::NotPermitted,
        Reason::NobodyToAsk => pb::Reason::NobodyToAsk,
    }
}

fn method(method: Method) -> pb::EvidenceMethod {
    match method {
        Method::Passphrase => pb::EvidenceMethod::Passphrase,
        Method::PortalLogin => pb::EvidenceMethod::PortalLogin,
        Method::Keypad => pb::EvidenceMethod::Keypad,
    }
}

fn guidance(guidance: &Guidance) -> pb::Guidance {
    pb::Guidance {
        code: guidance.code.clone(),
        say: guidance.say.clone(),
        tell_agent: guidance.tell_agent.clone(),
        link: guidance.link.clone(),
    }
}

fn remedy(remedy: &Remedy) -> pb::Remedy {
    pb::Remedy { action: remedy.action.clone(), say: remedy.say.clone() }
}

fn obligation(obligation: &Obligation) -> pb::Obligation {
    pb::Obligation { name: obligation.name.clone(), parameters: obligation.parameters.clone().into_iter().collect() }
}

fn verified(verified: &Verified) -> pb::Verified {
    pb::Verified {
        account_id: verified.account().to_string(),
        contact_id: verified.contact().to_string(),
        display_name: verified.standing().contact.display_name(),
        method: method(verified.method()).into(),
        time: Some(timestamp(verified.proved_at())),
    }
}

fn verification(verification: &Verification) -> pb::Verification {
    pb::Verification { token: verification.token().to_owned(), expiry: Some(timestamp(verification.expires())) }
}

fn escalation(opened: Option<&Escalation>) -> pb::Escalation {
    opened.map_or_else(pb::Escalation::default, |opened| pb::Escalation {
        id: opened.id.clone(),
        state: escalation_state(opened.state).into(),
        expiry: Some(timestamp(opened.expires)),
    })
}

pub(super) fn escalation_state(state: EscalationState) -> pb::EscalationState {
    match state {
        EscalationState::Pending => pb::EscalationState::Pending,
        EscalationState::Approved => pb::EscalationState::Approved,
        EscalationState::Refused => pb::EscalationState::Refused,
        EscalationState::Expired => pb::EscalationState::Expired,
        EscalationState::Cancelled => pb::EscalationState::Cancelled,
        EscalationState::Used => pb::EscalationState::Used,
    }
}

fn duration(duration: Duration) -> prost_types::Duration {
    // Whole seconds, rounded up: a client that waits as told is not early.
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    prost_types::Duration { seconds: i64::try_from(seconds).unwrap_or(i64::MAX), nanos: 0 }
}
