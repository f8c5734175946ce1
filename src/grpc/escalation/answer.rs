//! From answers to messages.

use super::{Bundle, Told, ask::page_token, manage, pb};
use crate::{
    authorize::Resource,
    escalation::{EscalationState, Filed},
    grpc::answer::{escalation_state, timestamp},
    manage::Told as Recorded,
    policy::AttributeValue,
};

pub(super) fn get(told: &Told, bundle: &Bundle) -> pb::GetEscalationResponse {
    let Parts { decision_id, answer, escalation } = parts(told, bundle);
    pb::GetEscalationResponse { decision_id, answer, escalation }
}

pub(super) fn approve(told: &Told, bundle: &Bundle) -> pb::ApproveEscalationResponse {
    let Parts { decision_id, answer, escalation } = parts(told, bundle);
    pb::ApproveEscalationResponse { decision_id, answer, escalation }
}

pub(super) fn refuse(told: &Told, bundle: &Bundle) -> pb::RefuseEscalationResponse {
    let Parts { decision_id, answer, escalation } = parts(told, bundle);
    pb::RefuseEscalationResponse { decision_id, answer, escalation }
}

pub(super) fn cancel(told: &Told, bundle: &Bundle) -> pb::CancelEscalationResponse {
    let Parts { decision_id, answer, escalation } = parts(told, bundle);
    pb::CancelEscalationResponse { decision_id, answer, escalation }
}

pub(super) fn list(told: &Told, size: u32, bundle: &Bundle) -> pb::ListEscalationsResponse {
    let page = told.escalations();
    pb::ListEscalationsResponse {
        decision_id: told.decision_id().to_owned(),
        answer: outcome(told.outcome()).into(),
        escalations: page.iter().map(|filed| detail(filed, bundle)).collect(),
        next_page_token: next(page, size),
    }
}

/// What a system is told.
pub(super) fn get_for_system(
    told: &Recorded<manage::Outcome>,
    shown: &[Filed],
    bundle: &Bundle,
) -> pb::GetEscalationResponse {
    pb::GetEscalationResponse {
        decision_id: told.decision_id().to_owned(),
        answer: outcome(told.outcome()).into(),
        escalation: shown.first().map(|filed| detail_for_system(filed, bundle)),
    }
}

pub(super) fn list_for_system(
    told: &Recorded<manage::Outcome>,
    page: &[Filed],
    size: u32,
    bundle: &Bundle,
) -> pb::ListEscalationsResponse {
    pb::ListEscalationsResponse {
        decision_id: told.decision_id().to_owned(),
        answer: outcome(told.outcome()).into(),
        escalations: page.iter().map(|filed| detail_for_system(filed, bundle)).collect(),
        next_page_token: next(page, size),
    }
}

pub(super) fn watch(told: &Told, bundle: &Bundle) -> pb::WatchEscalationsResponse {
    pb::WatchEscalationsResponse {
        decision_id: told.decision_id().to_owned(),
        answer: outcome(told.outcome()).into(),
        escalations: told.escalations().iter().map(|filed| detail(filed, bundle)).collect(),
    }
}

struct Parts {
    decision_id: String,
    answer: i32,
    escalation: Option<pb::EscalationDetail>,
}

fn parts(told: &Told, bundle: &Bundle) -> Parts {
    Parts {
        decision_id: told.decision_id().to_owned(),
        answer: outcome(told.outcome()).into(),
        escalation: told.escalations().first().map(|filed| detail(filed, bundle)),
    }
}

fn outcome(outcome: manage::Outcome) -> pb::EscalationAnswer {
    match outcome {
        manage::Outcome::Done => pb::EscalationAnswer::Done,
        manage::Outcome::NotVerified => pb::EscalationAnswer::NotVerified,
        manage::Outcome::FreshLoginRequired => pb::EscalationAnswer::FreshLoginRequired,
        manage::Outcome::NotFound => pb::EscalationAnswer::NotFound,
        manage::Outcome::NotPermitted => pb::EscalationAnswer::NotPermitted,
        manage::Outcome::NotPending => pb::EscalationAnswer::NotPending,
    }
}

fn detail(filed: &Filed, bundle: &Bundle) -> pb::EscalationDetail {
    let settled = filed.settled.as_ref();
    pb::EscalationDetail {
        id: filed.id.clone(),
        state: escalation_state(filed.state).into(),
        expiry: Some(timestamp(filed.expires)),
        account_id: filed.account.to_string(),
        contact_id: filed.contact.to_string(),
        contact_name: filed.contact_name.clone(),
        action: filed.action.clone(),
        action_about: bundle.find_action(&filed.action).map(|action| action.about.clone()).unwrap_or_default(),
        resource: Resource::from_canonical(&filed.resource).and_then(resource),
        opened_at: Some(timestamp(filed.opened)),
        settled_at: settled.map(|settled| timestamp(settled.at)),
        settled_by_contact_id: settled.map(|settled| settled.by.to_string()).unwrap_or_default(),
        used_at: filed.used.filter(|_| filed.state == EscalationState::Used).map(timestamp),
        put_before_contact_id: String::new(),
        client: String::new(),
    }
}

fn detail_for_system(filed: &Filed, bundle: &Bundle) -> pb::EscalationDetail {
    pb::EscalationDetail {
        put_before_contact_id: filed.put_before.to_string(),
        client: filed.client.clone(),
        ..detail(filed, bundle)
    }
}

fn next(page: &[Filed], size: u32) -> String {
    let is_full = u32::try_from(page.len()).is_ok_and(|length| length >= size);
    page.last().filter(|_| is_full).map(|last| page_token(last.opened, &last.id)).unwrap_or_default()
}

fn resource(resource: Resource) -> Option<pb::Resource> {
    let attributes = resource.attributes.into_iter().map(|(name, value)| (name, attribute(value)));
    Some(pb::Resource {
        r#type: resource.kind?,
        id: resource.id,
        site: resource.site.map(|site| site.as_str().to_owned()).unwrap_or_default(),
        attributes: attributes.collect(),
    })
}

fn attribute(value: AttributeValue) -> pb::AttributeValue {
    use pb::attribute_value::Value;
    let value = match value {
        AttributeValue::Flag(flag) => Value::Flag(flag),
        AttributeValue::Number(number) => Value::Number(number),
        AttributeValue::Text(text) => Value::Text(text),
    };
    pb::AttributeValue { value: Some(value) }
}
