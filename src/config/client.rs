//! `[[client]]`: the client systems, and what each is granted. Nothing is granted by default.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    document::{Field, Table},
    error::ConfigError,
    listen::Listen,
};
use crate::{
    client::{Assertion, Behalf, ClientSystem, Credentials, Registry, Rpc, token::TokenDigest},
    directory::RoleName,
    interaction::Channel,
};

/// The group of clients that name none.
pub(super) const DEFAULT_GROUP: &str = "default";

/// A rotation needs two digests: the old and the new.
const MOST_TOKENS: usize = 2;
const LONGEST_NAME: usize = 64;

/// Reads all clients, and checks what only shows when they are seen together.
pub(super) fn read(root: &mut Table, listen: &Listen) -> Result<Registry, ConfigError> {
    let sections = root.sections("client")?;
    if sections.is_empty() {
        return Err(root.missing("client", "without a client system nobody may ask"));
    }
    let mut seen = Seen::default();
    let clients = sections.into_iter().map(|section| one(section, listen, &mut seen)).collect::<Result<Vec<_>, _>>()?;
    for accepted in &seen.accepted {
        let groups = seen.groups.get(&accepted.issuer);
        match groups {
            None => return Err(accepted.field.invalid(format!("there is no client `{}`", accepted.issuer))),
            Some(group) if *group != accepted.group => {
                return Err(accepted.field.invalid(format!(
                    "client `{}` is of group `{group}`, so its interactions, and its tokens, are never this client's",
                    accepted.issuer
                )));
            }
            Some(_) => {}
        }
    }
    Ok(Registry::new(clients))
}

/// What must be unique over all clients, or refers to another.
#[derive(Default)]
struct Seen {
    groups: BTreeMap<String, String>,
    digests: BTreeSet<String>,
    uids: BTreeSet<u32>,
    accepted: Vec<Accepted>,
}

struct Accepted {
    issuer: String,
    group: String,
    field: Field<()>,
}

fn one(mut section: Table, listen: &Listen, seen: &mut Seen) -> Result<ClientSystem, ConfigError> {
    let name = identifier(section.required_text("name", "the audit names every caller")?)?;
    section.rename(format!("client.{}", name.value));
    let group = match section.text("group")? {
        Some(field) => identifier(field)?.value,
        None => DEFAULT_GROUP.to_owned(),
    };
    if seen.groups.insert(name.value.clone(), group.clone()).is_some() {
        return Err(name.invalid("two clients have this name"));
    }
    let credentials = credentials(&mut section, listen, seen)?;
    let rpcs = rpcs(&mut section)?;
    if rpcs.is_empty() {
        return Err(section.missing("rpcs", "a client that may call nothing is half-made"));
    }
    let channels = choices(section.texts("channels")?, &CHANNELS)?;
    let asserts = assertions(&mut section)?;
    let roles = roles(&mut section, &rpcs)?;
    // What names an actor is asked without a channel by a system alone.
    let asks = |rpc: &Rpc| rpc.claims_channel() || (rpc.behalf() == Behalf::Actor && roles.is_empty());
    if rpcs.iter().any(asks) && channels.is_empty() {
        return Err(section.missing("channels", "a client that may ask must be granted the channels it asks for"));
    }
    if rpcs.iter().any(|rpc: &Rpc| rpc.behalf() == Behalf::LoggedIn) && !asserts.contains(&Assertion::PortalLogin) {
        return Err(section.missing(
            "asserts",
            "one of its RPCs is on behalf of who is logged in to the portal: grant \"portal_login\"",
        ));
    }
    let has_actor = !roles.is_empty() || asserts.contains(&Assertion::PortalLogin);
    if rpcs.iter().any(|rpc: &Rpc| rpc.behalf() == Behalf::Actor) && !has_actor {
        return Err(section.missing(
            "asserts",
            "one of its RPCs names an actor: grant \"portal_login\" to a portal, or `roles` to a system that acts by itself",
        ));
    }
    let accepts_tokens_from = issuers(&mut section, &group, seen)?;
    let debug = section.flag("debug", false)?;
    section.finish()?;
    Ok(ClientSystem {
        name: name.value,
        group,
        rpcs,
        channels,
        asserts,
        roles,
        accepts_tokens_from,
        debug,
        credentials,
    })
}

fn rpcs(section: &mut Table) -> Result<BTreeSet<Rpc>, ConfigError> {
    let Some(field) = section.texts("rpcs")? else { return Ok(BTreeSet::new()) };
    let whole = Field { value: (), name: field.name.clone(), place: field.place.clone() };
    let rpcs = choices(Some(field), &Rpc::ALL.map(|rpc| (rpc.name(), rpc)))?;
    // Whoever hears the codes must not be able to use them.
    if rpcs.contains(&Rpc::ReadReset) && (rpcs.contains(&Rpc::StartReset) || rpcs.contains(&Rpc::CompleteReset)) {
        return Err(whole.invalid(
            "\"ReadReset\" tells one-time codes: it is for the system that delivers them, which may neither start nor complete \
             a reset",
        ));
    }
    Ok(rpcs)
}

/// Whether the bundle knows them is seen when there is one.
fn roles(section: &mut Table, rpcs: &BTreeSet<Rpc>) -> Result<BTreeSet<RoleName>, ConfigError> {
    let Some(field) = section.texts("roles")? else { return Ok(BTreeSet::new()) };
    if !rpcs.iter().any(|rpc| rpc.behalf() == Behalf::Actor) {
        return Err(field.invalid("is for a system that acts by itself, and none of its RPCs is called so: those of DirectoryService, GetEscalation, \
             ListEscalations, GetPassphraseStatus"));
    }
    Ok(distinct(field)?.into_iter().map(RoleName::new).collect())
}

fn credentials(section: &mut Table, listen: &Listen, seen: &mut Seen) -> Result<Credentials, ConfigError> {
    let mut tokens = Vec::new();
    if let Some(field) = section.texts("token_digests")? {
        if field.value.len() > MOST_TOKENS {
            return Err(field.invalid("at most two, the old and the new one of a rotation"));
        }
        for text in &field.value {
            let digest = TokenDigest::parse(text).ok_or_else(|| {
                field.invalid("must be \"sha256:\" and 64 hex digits, as `countersign keys new` prints them")
            })?;
            if !seen.digests.insert(text.clone()) {
                return Err(field.invalid("a digest stands twice: each token names one client, once"));
            }
            tokens.push(digest);
        }
    }
    let unix_uid = section.maybe_number("unix_uid", 0..=u32::MAX - 1)?;
    if let Some(field) = &unix_uid {
        if listen.unix.is_none() {
            return Err(field.invalid("needs listen.unix: a user id is known on the Unix socket only"));
        }
        if !seen.uids.insert(field.value) {
            return Err(field.invalid("two clients have this user id"));
        }
    }
    if tokens.is_empty() && unix_uid.is_none() {
        return Err(section.missing("token_digests", "a client is recognised by a token, by unix_uid, or by both"));
    }
    Ok(Credentials { tokens, unix_uid: unix_uid.map(|field| field.value) })
}

fn assertions(section: &mut Table) -> Result<BTreeSet<Assertion>, ConfigError> {
    let Some(field) = section.texts("asserts")? else { return Ok(BTreeSet::new()) };
    let whole = Field { value: (), name: field.name.clone(), place: field.place.clone() };
    let asserts = choices(Some(field), &ASSERTIONS)?;
    if asserts.contains(&Assertion::Attestation) && !asserts.contains(&Assertion::CallingNumber) {
        return Err(whole.invalid("\"attestation\" needs \"calling_number\": it vouches for one"));
    }
    Ok(asserts)
}

fn issuers(section: &mut Table, group: &str, seen: &mut Seen) -> Result<BTreeSet<String>, ConfigError> {
    let Some(field) = section.texts("accepts_tokens_from")? else { return Ok(BTreeSet::new()) };
    for issuer in &field.value {
        seen.accepted.push(Accepted {
            issuer: issuer.clone(),
            group: group.to_owned(),
            field: Field { value: (), name: field.name.clone(), place: field.place.clone() },
        });
    }
    distinct(field)
}

/// Lower-case letters, digits, "-" and "_": it stands in audit, metrics and error texts.
fn identifier(field: Field<String>) -> Result<Field<String>, ConfigError> {
    let fits = (1..=LONGEST_NAME).contains(&field.value.len())
        && field.value.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
    if fits { Ok(field) } else { Err(field.invalid("must be 1 to 64 of a-z, 0-9, \"-\" and \"_\"")) }
}

fn choices<T: Copy + Ord>(
    field: Option<Field<Vec<String>>>,
    known: &[(&'static str, T)],
) -> Result<BTreeSet<T>, ConfigError> {
    let Some(field) = field else { return Ok(BTreeSet::new()) };
    let mut chosen = BTreeSet::new();
    for text in &field.value {
        let Some((_, choice)) = known.iter().find(|(name, _)| name == text) else {
            let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
            return Err(field.invalid(format!("`{text}` is unknown; known: {}", names.join(", "))));
        };
        chosen.insert(*choice);
    }
    if chosen.len() == field.value.len() { Ok(chosen) } else { Err(twice(&field)) }
}

fn distinct(field: Field<Vec<String>>) -> Result<BTreeSet<String>, ConfigError> {
    let texts: BTreeSet<String> = field.value.iter().cloned().collect();
    if texts.len() == field.value.len() { Ok(texts) } else { Err(twice(&field)) }
}

fn twice<T>(field: &Field<T>) -> ConfigError {
    field.invalid("an entry stands twice")
}

const CHANNELS: [(&str, Channel); 3] =
    [("phone", Channel::Phone), ("portal", Channel::Portal), ("chat", Channel::Chat)];

const ASSERTIONS: [(&str, Assertion); 4] = [
    ("portal_login", Assertion::PortalLogin),
    ("agent_id", Assertion::AgentId),
    ("calling_number", Assertion::CallingNumber),
    ("attestation", Assertion::Attestation),
];
