//! Whether a wish about an account is granted, and what is on record then. What comes on record carries the day on which it
//! came, whatever anybody says; what stays keeps its own (F12, A17).

use jiff::civil::Date;

use super::{
    Agent, Asking, Matter, Refusal,
    change::{AccountFields, OfRecord},
    etag,
    rules::{After, Facts, Plan, saw},
};
use crate::directory::{
    Account, AccountId, AddressKind, AddressOfRecord, Change, CpniExemption, E164, NumberOfRecord, Site, SiteId,
    activity::day,
};

pub(super) fn create(
    asking: &Asking<'_>,
    id: &AccountId,
    fields: &AccountFields,
    facts: &Facts,
) -> Result<Plan, Refusal> {
    // A customer has one account, and makes no others.
    if let Agent::Person(_) = asking.agent {
        return Err(Refusal::NotPermitted("account.create: for systems".to_owned()));
    }
    asking.may_write(&[Matter::of("account.create", None)])?;
    if facts.account.is_some() {
        return Err(Refusal::Conflict("account_id"));
    }
    let nothing = Account {
        id: id.clone(),
        name: String::new(),
        created: asking.now,
        primary_admin: None,
        numbers_of_record: Vec::new(),
        addresses_of_record: Vec::new(),
        sites: Vec::new(),
        number_moves_locked: false,
        cpni_exemption: CpniExemption::default(),
        marketing_approved: None,
        closed: None,
    };
    Ok(put(with(nothing, fields, day(asking.now))))
}

pub(super) fn update(
    asking: &Asking<'_>,
    fields: &AccountFields,
    facts: Facts,
    seen: Option<&str>,
) -> Result<Plan, Refusal> {
    let before = reached(asking, facts)?;
    // What relieves the carrier of a duty is not the customer's to say (F13).
    if fields.cpni_exemption.is_some() && matches!(asking.agent, Agent::Person(_)) {
        return Err(Refusal::NotPermitted("cpni_exemption: for systems".to_owned()));
    }
    let actions = [
        ("account.change", fields.name.is_some()),
        ("account.change", fields.sites.is_some()),
        ("account.change", fields.cpni_exemption.is_some()),
        ("account.change", fields.marketing_approved.is_some()),
        ("number_of_record.change", fields.numbers_of_record.is_some()),
        ("address_of_record.change", fields.addresses_of_record.is_some()),
    ];
    let asked = actions.into_iter().filter(|(_, is_asked)| *is_asked);
    let matters: Vec<_> = asked.map(|(action, _)| Matter::of(action, Some(&before))).collect();
    asking.may_write(&matters)?;
    saw(seen, &etag::of_account(&before))?;
    let after = with(before.clone(), fields, day(asking.now));
    Ok(if after == before { unchanged(after) } else { put(after) })
}

/// Where nobody has a role any more. Then it is as if it had never been: no role reaches it.
pub(super) fn deactivate_site(
    asking: &Asking<'_>,
    site: &SiteId,
    facts: Facts,
    seen: Option<&str>,
) -> Result<Plan, Refusal> {
    let mut account = reached(asking, facts)?;
    asking.may_write(&[Matter::of("account.change", Some(&account))])?;
    saw(seen, &etag::of_account(&account))?;
    if !account.has_site(site) {
        return Err(Refusal::NotFound);
    }
    account.sites.retain(|known| known.id != *site);
    Ok(put(account))
}

/// A person closes his own account; a system of the carrier is asked another action, as it is nobody's primary administrator.
pub(super) fn close(asking: &Asking<'_>, facts: Facts, seen: Option<&str>) -> Result<Plan, Refusal> {
    let account = reached(asking, facts)?;
    let action = match asking.agent {
        Agent::Person(_) => "account.close",
        Agent::System(_) | Agent::Operator => "account.terminate",
    };
    asking.may_write(&[Matter::of(action, Some(&account))])?;
    saw(seen, &etag::of_account(&account))?;
    if account.closed.is_some() {
        return Ok(unchanged(account));
    }
    let change = Change::CloseAccount { account: account.id.clone(), at: asking.now };
    let after = Account { closed: Some(asking.now), ..account };
    Ok(Plan { changes: vec![change], after: After::Account(Box::new(after)) })
}

/// Whoever may, sets it; only the owner lifts it (F16).
pub(super) fn set_number_lock(
    asking: &Asking<'_>,
    is_locked: bool,
    facts: Facts,
    seen: Option<&str>,
) -> Result<Plan, Refusal> {
    let account = reached(asking, facts)?;
    let action = if is_locked { "number_lock.set" } else { "number_lock.lift" };
    asking.may_write(&[Matter::of(action, Some(&account))])?;
    saw(seen, &etag::of_account(&account))?;
    if account.number_moves_locked == is_locked {
        return Ok(unchanged(account));
    }
    Ok(put(Account { number_moves_locked: is_locked, ..account }))
}

/// It stays on record, and its days begin anew on that day: never on an earlier one than it came (F12).
pub(super) fn report_rerouting(
    asking: &Asking<'_>,
    of_record: &OfRecord,
    since: Option<Date>,
    facts: Facts,
    seen: Option<&str>,
) -> Result<Plan, Refusal> {
    let before = reached(asking, facts)?;
    asking.may_write(&[Matter::of("rerouting.report", Some(&before))])?;
    saw(seen, &etag::of_account(&before))?;
    let today = day(asking.now);
    let since = since.unwrap_or(today);
    if since > today {
        return Err(Refusal::Invalid("since"));
    }
    let mut after = before.clone();
    let added = match of_record {
        OfRecord::Number(number) => {
            after.numbers_of_record.iter_mut().find(|known| known.number == *number).map(|known| &mut known.added)
        }
        OfRecord::Address(kind, address) => {
            let is_meant = |known: &&mut AddressOfRecord| known.kind == *kind && known.address == *address;
            after.addresses_of_record.iter_mut().find(is_meant).map(|known| &mut known.added)
        }
    };
    let added = added.ok_or(Refusal::Invalid("of_record"))?;
    *added = since.max(*added);
    Ok(if after == before { unchanged(after) } else { put(after) })
}

fn reached(asking: &Asking<'_>, facts: Facts) -> Result<Account, Refusal> {
    facts.account.filter(|account| asking.agent.reaches(&account.id)).ok_or(Refusal::NotFound)
}

fn put(account: Account) -> Plan {
    Plan { changes: vec![Change::PutAccount(account.clone())], after: After::Account(Box::new(account)) }
}

fn unchanged(account: Account) -> Plan {
    Plan { changes: Vec::new(), after: After::Account(Box::new(account)) }
}

fn with(account: Account, fields: &AccountFields, today: Date) -> Account {
    let Account { name, numbers_of_record, addresses_of_record, sites, cpni_exemption, marketing_approved, .. } =
        account.clone();
    let approved = |is_approved: bool| is_approved.then(|| marketing_approved.unwrap_or(today));
    Account {
        name: fields.name.clone().unwrap_or(name),
        numbers_of_record: match &fields.numbers_of_record {
            Some(wanted) => numbers(&numbers_of_record, wanted, today),
            None => numbers_of_record,
        },
        addresses_of_record: match &fields.addresses_of_record {
            Some(wanted) => addresses(&addresses_of_record, wanted, today),
            None => addresses_of_record,
        },
        sites: match &fields.sites {
            Some(wanted) => with_sites(sites, wanted),
            None => sites,
        },
        cpni_exemption: fields.cpni_exemption.clone().unwrap_or(cpni_exemption),
        marketing_approved: fields.marketing_approved.map_or(marketing_approved, approved),
        ..account
    }
}

fn numbers(before: &[NumberOfRecord], wanted: &[E164], today: Date) -> Vec<NumberOfRecord> {
    let since = |number: &E164| before.iter().find(|known| known.number == *number).map_or(today, |known| known.added);
    wanted.iter().map(|number| NumberOfRecord { number: number.clone(), added: since(number) }).collect()
}

/// Letter by letter: what differs in anything is another address, and came today.
fn addresses(before: &[AddressOfRecord], wanted: &[(AddressKind, String)], today: Date) -> Vec<AddressOfRecord> {
    let address = |(kind, address): &(AddressKind, String)| {
        let known = before.iter().find(|known| known.kind == *kind && known.address == *address);
        AddressOfRecord { kind: *kind, address: address.clone(), added: known.map_or(today, |known| known.added) }
    };
    wanted.iter().map(address).collect()
}

/// Those that are named are there, under this name; every other one stays.
fn with_sites(mut sites: Vec<Site>, wanted: &[Site]) -> Vec<Site> {
    for site in wanted {
        match sites.iter_mut().find(|known| known.id == site.id) {
            Some(known) => known.name.clone_from(&site.name),
            None => sites.push(site.clone()),
        }
    }
    sites
}
