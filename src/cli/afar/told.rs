//! From messages of a sidecar to what commands show.

use anyhow::{Context, bail};
use jiff::Timestamp;

use super::pb;
use crate::{
    authorize::Resource,
    directory::{
        Account, AccountId, Actor, AddressKind, AddressOfRecord, Contact, ContactId, ContactStatus, CpniExemption,
        E164, Listed, NumberOfRecord, RoleAssignment, RoleName, Scope, Site, SiteId,
        credential::{CredentialStatus, SetMethod},
    },
    escalation::{EscalationState, Filed, Settled},
    policy::AttributeValue,
    review::{Finding, Severity},
};

/// A finding, as the operator's own sidecar tells it.
pub(in crate::cli) fn finding(found: pb::ReviewFinding) -> anyhow::Result<Finding> {
    let severity = match found.severity() {
        pb::ReviewSeverity::Low => Severity::Low,
        pb::ReviewSeverity::Medium => Severity::Medium,
        pb::ReviewSeverity::High => Severity::High,
        pb::ReviewSeverity::Unspecified => bail!(OTHER_VERSION),
    };
    Ok(Finding {
        kind: serde_json::from_value(found.kind.into()).context(OTHER_VERSION)?,
        severity,
        account: AccountId::new(found.account_id),
        contact: given(found.contact_id).map(ContactId::new),
        detail: found.detail,
        meaning: found.meaning,
        remedy: found.remedy,
    })
}

pub(super) fn account(found: pb::Account) -> anyhow::Result<Account> {
    let exemption = found.cpni_exemption.unwrap_or_default();
    let numbers = found.numbers_of_record.into_iter().map(|it| {
        Ok(NumberOfRecord { number: E164::parse(&it.number).context(OTHER_VERSION)?, added: it.added_on.parse()? })
    });
    let addresses = found.addresses_of_record.into_iter().map(|it| {
        let (kind, address) = match it.by.context(OTHER_VERSION)? {
            pb::address_of_record::By::PostalAddress(address) => (AddressKind::Postal, address),
            pb::address_of_record::By::EmailAddress(address) => (AddressKind::Email, address),
        };
        Ok(AddressOfRecord { kind, address, added: it.added_on.parse()? })
    });
    Ok(Account {
        id: AccountId::new(found.id),
        name: found.name,
        created: time(found.created_at)?,
        primary_admin: given(found.primary_admin_contact_id).map(ContactId::new),
        numbers_of_record: numbers.collect::<anyhow::Result<_>>()?,
        addresses_of_record: addresses.collect::<anyhow::Result<_>>()?,
        sites: found.sites.into_iter().map(|site| Site { id: SiteId::new(site.id), name: site.name }).collect(),
        number_moves_locked: found.number_moves_locked,
        cpni_exemption: CpniExemption {
            dedicated_representative: exemption.dedicated_representative,
            contract_addresses_cpni: exemption.contract_addresses_cpni,
        },
        marketing_approved: given(found.marketing_approved_on).map(|day| day.parse()).transpose()?,
        closed: found.closed_at.map(|at| time(Some(at))).transpose()?,
    })
}

pub(super) fn contact(found: pb::Contact) -> anyhow::Result<Listed> {
    let status = match found.status() {
        pb::ContactStatus::Active => ContactStatus::Active,
        pb::ContactStatus::Inactive => ContactStatus::Inactive,
        pb::ContactStatus::Unspecified => bail!(OTHER_VERSION),
    };
    let id = ContactId::new(found.id);
    let roles = found.roles.into_iter().map(|it| {
        Ok(RoleAssignment {
            contact: id.clone(),
            role: RoleName::new(it.role),
            scope: given(it.site_id).map_or(Scope::Company, |site| Scope::Site(SiteId::new(site))),
            granted: time(it.granted_at)?,
        })
    });
    let roles = roles.collect::<anyhow::Result<_>>()?;
    let contact = Contact {
        id,
        account: AccountId::new(found.account_id),
        first_name: found.first_name,
        last_name: found.last_name,
        email: given(found.email),
        extension: given(found.extension),
        user_id: given(found.user_id),
        status,
        created: time(found.created_at)?,
    };
    Ok(Listed { contact, roles })
}

/// An escalation.
pub(super) fn filed(found: pb::EscalationDetail) -> anyhow::Result<Filed> {
    let state = match found.state() {
        pb::EscalationState::Pending => EscalationState::Pending,
        pb::EscalationState::Approved => EscalationState::Approved,
        pb::EscalationState::Refused => EscalationState::Refused,
        pb::EscalationState::Expired => EscalationState::Expired,
        pb::EscalationState::Cancelled => EscalationState::Cancelled,
        pb::EscalationState::Used => EscalationState::Used,
        pb::EscalationState::Unspecified => bail!(OTHER_VERSION),
    };
    let settled = given(found.settled_by_contact_id)
        .map(|by| Ok::<_, anyhow::Error>(Settled { by: ContactId::new(by), at: time(found.settled_at)? }));
    Ok(Filed {
        id: found.id,
        account: AccountId::new(found.account_id),
        contact: ContactId::new(found.contact_id),
        contact_name: found.contact_name,
        put_before: ContactId::new(found.put_before_contact_id),
        action: found.action,
        resource: found.resource.map(resource).transpose()?.unwrap_or_default().canonical(),
        client: found.client,
        state,
        opened: time(found.opened_at)?,
        expires: time(found.expiry)?,
        settled: settled.transpose()?,
        used: found.used_at.map(|at| time(Some(at))).transpose()?,
    })
}

fn resource(found: pb::Resource) -> anyhow::Result<Resource> {
    use pb::attribute_value::Value;
    let attributes = found.attributes.into_iter().map(|(name, attribute)| {
        let value = match attribute.value.context(OTHER_VERSION)? {
            Value::Flag(flag) => AttributeValue::Flag(flag),
            Value::Number(number) => AttributeValue::Number(number),
            Value::Text(text) => AttributeValue::Text(text),
        };
        Ok((name, value))
    });
    Ok(Resource {
        kind: Some(found.r#type),
        id: found.id,
        site: given(found.site).map(SiteId::new),
        attributes: attributes.collect::<anyhow::Result<_>>()?,
    })
}

/// How a passphrase stands.
pub(super) fn credential(found: pb::PassphraseStatus) -> anyhow::Result<CredentialStatus> {
    use pb::passphrase_setter::By;
    let method = match found.method() {
        pb::PassphraseSetMethod::Operator => SetMethod::Operator,
        pb::PassphraseSetMethod::PortalLogin => SetMethod::PortalLogin,
        pb::PassphraseSetMethod::OneTimeCode => SetMethod::OneTimeCode,
        pb::PassphraseSetMethod::Unspecified => bail!(OTHER_VERSION),
    };
    let set_by = match found.set_by.and_then(|setter| setter.by).context(OTHER_VERSION)? {
        By::Operator(name) => Actor::Operator(name),
        By::Client(name) => Actor::Client(name),
        By::DatabaseRole(role) => Actor::Database(role),
        By::Sidecar(_) => Actor::Sidecar,
    };
    let maybe = |at: Option<prost_types::Timestamp>| at.map(|at| time(Some(at))).transpose();
    Ok(CredentialStatus {
        is_set: found.is_set,
        set_at: time(found.set_at)?,
        set_by,
        method,
        canonical_version: found.canonical_version,
        locked_until: maybe(found.locked_until)?,
        closed: found.closed,
        reopenings_left: found.reopenings_left,
        suspended_at: maybe(found.suspended_at)?,
    })
}

fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn time(time: Option<prost_types::Timestamp>) -> anyhow::Result<Timestamp> {
    let time = time.context(OTHER_VERSION)?;
    Timestamp::new(time.seconds, time.nanos).context(OTHER_VERSION)
}

/// What a sidecar of another version may say.
pub(super) const OTHER_VERSION: &str = "the sidecar is of another version";
