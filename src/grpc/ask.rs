//! From messages to questions: one function per message enforces its limits and parses it.
//!
//! Errors name the field, never its value.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;
use zeroize::Zeroizing;

use super::{
    limits::{self, Limit},
    proto::countersign::v1 as pb,
};
use crate::{
    authorize::{Ask, Call, Escalate, Evidence, Freshness, Resource},
    client::ClientSystem,
    directory::{AccountId, AccountSelector, ContactId, ContactSelector, E164, Revision, SiteId, SubjectHints},
    identity::passphrase::{Passphrase, Readings},
    interaction::{Attestation, Channel, Interaction},
    policy::AttributeValue,
};

/// A field that is malformed or not supported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Invalid {
    /// The path of the field in the request.
    pub(super) field: String,
    /// What is wrong, without the value.
    pub(super) why: String,
}

impl Invalid {
    pub(super) fn new(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self { field: field.into(), why: why.into() }
    }

    pub(super) fn required(field: impl Into<String>) -> Self {
        Self::new(field, "is required")
    }

    fn unsupported(field: impl Into<String>) -> Self {
        Self::new(field, "is not supported yet")
    }
}

pub(super) type Parsed<T> = Result<T, Invalid>;

/// What is known of a call before its message is looked at.
pub(super) struct Caller {
    pub(super) client: Arc<ClientSystem>,
    /// On the monotonic clock.
    pub(super) arrived: Duration,
    /// On the monotonic clock.
    pub(super) deadline: Duration,
    /// Among the calls that run at the same time.
    pub(super) place: OwnedSemaphorePermit,
}

/// A question about one action.
pub(super) struct One {
    pub(super) call: Call,
    pub(super) ask: Ask,
    pub(super) escalate: Escalate,
}

/// A question about several.
pub(super) struct Several {
    pub(super) call: Call,
    pub(super) asks: Vec<Ask>,
}

/// The request to end an interaction.
pub(super) struct End {
    pub(super) interaction: String,
    pub(super) token: Option<String>,
    pub(super) request_id: String,
}

/// The question where a delivery goes.
pub(super) struct Delivery {
    pub(super) decision_id: String,
    pub(super) request_id: String,
}

/// Parses an AuthorizeRequest.
pub(super) fn authorize(request: pb::AuthorizeRequest, caller: Caller) -> Parsed<One> {
    let escalate = match request.escalation() {
        pb::EscalationMode::DoNotOpen => Escalate::DoNotOpen,
        pb::EscalationMode::Open => Escalate::Open,
        pb::EscalationMode::Unspecified => zero("escalation", request.escalation, Escalate::Open)?,
    };
    let ask = Ask {
        action: required_text("action", request.action, limits::ACTION)?,
        resource: resource("resource", request.resource)?,
        approval: given(visible(
            "approved_escalation_id",
            request.approved_escalation_id,
            limits::APPROVED_ESCALATION_ID,
        )?),
    };
    let call = Call {
        client: caller.client,
        arrived: caller.arrived,
        deadline: caller.deadline,
        place: Some(caller.place),
        stopwatch: Arc::default(),
        interaction: interaction(request.interaction)?,
        subject: subject(request.subject)?,
        evidence: evidence(request.evidence)?,
        freshness: freshness(request.freshness, request.min_revision)?,
        locale: text("locale", &request.locale, limits::LOCALE).map(|()| request.locale)?,
        request_id: visible("request_id", request.request_id, limits::REQUEST_ID)?,
    };
    Ok(One { call, ask, escalate })
}

/// Parses a BatchAuthorizeRequest.
pub(super) fn batch(request: pb::BatchAuthorizeRequest, caller: Caller) -> Parsed<Several> {
    if request.items.is_empty() {
        return Err(Invalid::required("items"));
    }
    within("items", request.items.len(), limits::ITEMS)?;
    let asks = request.items.into_iter().enumerate().map(|(at, item)| batch_item(at, item)).collect::<Parsed<_>>()?;
    let call = Call {
        client: caller.client,
        arrived: caller.arrived,
        deadline: caller.deadline,
        place: Some(caller.place),
        stopwatch: Arc::default(),
        interaction: interaction(request.interaction)?,
        subject: subject(request.subject)?,
        evidence: evidence(request.evidence)?,
        freshness: freshness(request.freshness, request.min_revision)?,
        locale: text("locale", &request.locale, limits::BATCH_LOCALE).map(|()| request.locale)?,
        request_id: visible("request_id", request.request_id, limits::BATCH_REQUEST_ID)?,
    };
    Ok(Several { call, asks })
}

/// Parses an EndInteractionRequest.
pub(super) fn end(request: pb::EndInteractionRequest) -> Parsed<End> {
    text("verification_token", &request.verification_token, limits::END_VERIFICATION_TOKEN)?;
    let token = (!request.verification_token.is_empty()).then_some(request.verification_token);
    let interaction = visible("interaction_id", request.interaction_id, limits::END_INTERACTION_ID)?;
    if interaction.is_empty() {
        return Err(Invalid::required("interaction_id"));
    }
    Ok(End { interaction, token, request_id: visible("request_id", request.request_id, limits::END_REQUEST_ID)? })
}

/// Parses a ReadDeliveryRequest.
pub(super) fn delivery(request: pb::ReadDeliveryRequest) -> Parsed<Delivery> {
    let decision_id = visible("decision_id", request.decision_id, limits::DELIVERY_DECISION_ID)?;
    if decision_id.is_empty() {
        return Err(Invalid::required("decision_id"));
    }
    Ok(Delivery { decision_id, request_id: visible("request_id", request.request_id, limits::DELIVERY_REQUEST_ID)? })
}

/// The request id for the audit of a call that is refused; empty unless it is well formed.
pub(super) fn correlation(request_id: &str) -> String {
    let well_formed = request_id.len() <= 128 && is_visible(request_id);
    if well_formed { request_id.to_owned() } else { String::new() }
}

/// The channel of a request; `None` when it names none.
pub(super) fn channel(channel: pb::Channel) -> Option<Channel> {
    match channel {
        pb::Channel::Unspecified => None,
        pb::Channel::Phone => Some(Channel::Phone),
        pb::Channel::Portal => Some(Channel::Portal),
        pb::Channel::Chat => Some(Channel::Chat),
    }
}

fn batch_item(at: usize, item: pb::BatchItem) -> Parsed<Ask> {
    Ok(Ask {
        action: required_text(&format!("items[{at}].action"), item.action, limits::ITEM_ACTION)?,
        resource: resource(&format!("items[{at}].resource"), item.resource)?,
        approval: None,
    })
}

pub(super) fn interaction(interaction: Option<pb::Interaction>) -> Parsed<Interaction> {
    let Some(interaction) = interaction else { return Err(Invalid::required("interaction")) };
    let Some(channel) = channel(interaction.channel()) else {
        return Err(Invalid::new("interaction.channel", "is required, and one of the channels known"));
    };
    let attestation = match interaction.attestation() {
        pb::Attestation::A => Some(Attestation::A),
        pb::Attestation::B => Some(Attestation::B),
        pb::Attestation::C => Some(Attestation::C),
        pb::Attestation::Unspecified => zero("interaction.attestation", interaction.attestation, None)?,
    };
    text("interaction.calling_number", &interaction.calling_number, limits::CALLING_NUMBER)?;
    let id = visible("interaction.id", interaction.id, limits::INTERACTION_ID)?;
    if id.is_empty() {
        return Err(Invalid::required("interaction.id"));
    }
    let agent_id = visible("interaction.agent_id", interaction.agent_id, limits::AGENT_ID)?;
    Ok(Interaction {
        channel,
        id,
        calling_number: E164::parse(&interaction.calling_number),
        attestation,
        agent_id: (!agent_id.is_empty()).then_some(agent_id),
    })
}

pub(super) fn subject(subject: Option<pb::Subject>) -> Parsed<SubjectHints> {
    let Some(subject) = subject else { return Ok(SubjectHints::default()) };
    let account = subject.account.map(account_selector).transpose()?;
    let contact = subject.contact.map(contact_selector).transpose()?;
    if contact.is_some() && account.is_none() {
        return Err(Invalid::new("subject.account", "is required with subject.contact"));
    }
    Ok(SubjectHints { account, contact })
}

fn account_selector(selector: pb::AccountSelector) -> Parsed<AccountSelector> {
    use pb::account_selector::By;
    let Some(by) = selector.by else { return Err(Invalid::required("subject.account.by")) };
    Ok(match by {
        By::Id(id) => AccountSelector::Id(AccountId::new(required_text("subject.account.id", id, limits::ACCOUNT_ID)?)),
        By::NumberOfRecord(number) => {
            let number = required_text("subject.account.number_of_record", number, limits::NUMBER_OF_RECORD)?;
            E164::parse(&number).map_or(AccountSelector::Nothing, AccountSelector::NumberOfRecord)
        }
        By::Name(name) => AccountSelector::Name(required_text("subject.account.name", name, limits::ACCOUNT_NAME)?),
    })
}

fn contact_selector(selector: pb::ContactSelector) -> Parsed<ContactSelector> {
    use pb::contact_selector::By;
    let Some(by) = selector.by else { return Err(Invalid::required("subject.contact.by")) };
    Ok(match by {
        By::Id(id) => ContactSelector::Id(ContactId::new(required_text("subject.contact.id", id, limits::CONTACT_ID)?)),
        By::Email(email) => ContactSelector::Email(required_text("subject.contact.email", email, limits::EMAIL)?),
        By::Extension(extension) => {
            ContactSelector::Extension(required_text("subject.contact.extension", extension, limits::EXTENSION)?)
        }
        By::UserId(id) => ContactSelector::UserId(required_text("subject.contact.user_id", id, limits::USER_ID)?),
        By::Name(name) => ContactSelector::Name {
            first: required_text("subject.contact.name.first_name", name.first_name, limits::FIRST_NAME)?,
            last: required_text("subject.contact.name.last_name", name.last_name, limits::LAST_NAME)?,
        },
    })
}

fn evidence(evidence: Option<pb::Evidence>) -> Parsed<Evidence> {
    use pb::evidence::By;
    let Some(evidence) = evidence else { return Ok(Evidence::None) };
    match evidence.by {
        // What this version does not know arrives as nothing: a newer kind, or an invented one (A3).
        None => Err(Invalid::new("evidence", "is of no kind known; leave it out to offer none")),
        Some(By::Passphrase(passphrase)) => self::passphrase(passphrase),
        Some(By::PortalLogin(login)) => portal_login(&login),
        Some(By::VerificationToken(token)) => {
            required_text("evidence.verification_token", token, limits::VERIFICATION_TOKEN)
                .map(Evidence::VerificationToken)
        }
    }
}

/// One text, digits on the keypad, or the transcripts of one spoken turn.
fn passphrase(message: pb::Passphrase) -> Parsed<Evidence> {
    let entry = message.entry();
    // From here on the texts are wiped, whatever becomes of them.
    let transcripts: Vec<_> = message.transcripts.into_iter().map(Zeroizing::new).collect();
    let field = "evidence.passphrase.transcripts";
    within(field, transcripts.len(), limits::TRANSCRIPTS)?;
    for (at, transcript) in transcripts.iter().enumerate() {
        within(&format!("{field}[{at}]"), transcript.len(), limits::TRANSCRIPT)?;
    }
    match entry {
        pb::PassphraseEntry::Typed | pb::PassphraseEntry::Keypad if transcripts.len() > 1 => {
            return Err(Invalid::new(field, "takes one entry: only what was SPOKEN has several transcripts"));
        }
        pb::PassphraseEntry::Typed | pb::PassphraseEntry::Spoken | pb::PassphraseEntry::Keypad => {}
        pb::PassphraseEntry::Unspecified => return Err(Invalid::required("evidence.passphrase.entry")),
    }
    let given = transcripts.into_iter().enumerate().map(|(at, mut transcript)| {
        let text = std::mem::take(&mut *transcript);
        let parsed =
            if entry == pb::PassphraseEntry::Keypad { Passphrase::keypad(text) } else { Passphrase::new(text) };
        parsed.map_err(|malformed| Invalid::new(format!("{field}[{at}]"), malformed.to_string()))
    });
    let mut given = given.collect::<Parsed<Vec<_>>>()?.into_iter();
    let first = given.next().ok_or_else(|| Invalid::required(field))?;
    Ok(Evidence::Passphrase(Readings::new(first, given)))
}

fn portal_login(login: &pb::PortalLogin) -> Parsed<Evidence> {
    login_time("evidence.portal_login", login).map(|login_time| Evidence::PortalLogin { login_time })
}

/// When somebody logged in; `path` is that of the login.
pub(super) fn login_time(path: &str, login: &pb::PortalLogin) -> Parsed<Timestamp> {
    if !login.id_token.is_empty() {
        let field = format!("{path}.id_token");
        text(&field, &login.id_token, limits::ID_TOKEN)?;
        return Err(Invalid::unsupported(field));
    }
    let field = format!("{path}.login_time");
    let Some(time) = login.login_time else { return Err(Invalid::required(field)) };
    Timestamp::new(time.seconds, time.nanos).map_err(|_| Invalid::new(field, "is out of range"))
}

fn resource(path: &str, resource: Option<pb::Resource>) -> Parsed<Resource> {
    let Some(resource) = resource else { return Ok(Resource::default()) };
    within(&format!("{path}.attributes"), resource.attributes.len(), limits::ATTRIBUTES)?;
    let kind = required_text(&format!("{path}.type"), resource.r#type, limits::RESOURCE_TYPE)?;
    text(&format!("{path}.id"), &resource.id, limits::RESOURCE_ID)?;
    text(&format!("{path}.site"), &resource.site, limits::RESOURCE_SITE)?;
    let attributes = resource
        .attributes
        .into_iter()
        .map(|(name, value)| attribute(path, &name, value).map(|value| (name, value)))
        .collect::<Parsed<BTreeMap<_, _>>>()?;
    Ok(Resource {
        kind: Some(kind),
        id: resource.id,
        site: (!resource.site.is_empty()).then(|| SiteId::new(resource.site)),
        attributes,
    })
}

fn attribute(path: &str, name: &str, value: pb::AttributeValue) -> Parsed<AttributeValue> {
    use pb::attribute_value::Value;
    // The name is the caller's, so it is not echoed.
    let field = format!("{path}.attributes");
    if !is_visible(name) || name.is_empty() || name.len() > 64 {
        return Err(Invalid::new(field, "a name is not 1-64 visible ASCII characters"));
    }
    match value.value {
        None => Err(Invalid::new(field, "a value is missing")),
        Some(Value::Flag(flag)) => Ok(AttributeValue::Flag(flag)),
        Some(Value::Number(number)) => Ok(AttributeValue::Number(number)),
        Some(Value::Text(value)) => text(&field, &value, limits::ATTRIBUTE_TEXT).map(|()| AttributeValue::Text(value)),
    }
}

fn freshness(value: i32, min_revision: u64) -> Parsed<Freshness> {
    let freshness = match pb::Freshness::try_from(value) {
        Ok(pb::Freshness::Unspecified | pb::Freshness::Cached) => Freshness::Cached,
        Ok(pb::Freshness::AtLeastRevision) => Freshness::AtLeast(Revision(min_revision)),
        Ok(pb::Freshness::FromStore) => Freshness::FromStore,
        Err(_) => return Err(Invalid::new("freshness", "is none of the values known")),
    };
    match freshness {
        Freshness::AtLeast(Revision(0)) => Err(Invalid::required("min_revision")),
        Freshness::Cached | Freshness::Current | Freshness::FromStore if min_revision != 0 => {
            Err(Invalid::new("min_revision", "is only for FRESHNESS_AT_LEAST_REVISION"))
        }
        Freshness::AtLeast(_) | Freshness::Cached | Freshness::Current | Freshness::FromStore => Ok(freshness),
    }
}

/// An enum's zero means `unset`, but prost gives zero for unknown values, too: those are refused.
pub(super) fn zero<T>(field: &str, raw: i32, unset: T) -> Parsed<T> {
    if raw == 0 { Ok(unset) } else { Err(Invalid::new(field, "is none of the values known")) }
}

pub(super) fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

pub(super) fn within(field: &str, length: usize, limit: Limit) -> Parsed<()> {
    limit.exceeded_by(length).map_or(Ok(()), |why| Err(Invalid::new(field, why)))
}

pub(super) fn text(field: &str, value: &str, limit: Limit) -> Parsed<()> {
    within(field, value.len(), limit)?;
    if value.chars().any(char::is_control) {
        return Err(Invalid::new(field, "contains a control character"));
    }
    Ok(())
}

fn required_text(field: &str, value: String, limit: Limit) -> Parsed<String> {
    text(field, &value, limit)?;
    if value.trim().is_empty() { Err(Invalid::required(field)) } else { Ok(value) }
}

pub(super) fn visible(field: &str, value: String, limit: Limit) -> Parsed<String> {
    within(field, value.len(), limit)?;
    if is_visible(&value) { Ok(value) } else { Err(Invalid::new(field, "has other than visible ASCII characters")) }
}

fn is_visible(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_graphic())
}
