use std::sync::Arc;

use super::*;

const AT: &str = "2026-11-24T09:00:00Z";

fn at(seconds: i64) -> Timestamp {
    AT.parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

fn facts() -> TokenFacts {
    TokenFacts {
        account: AccountId::new("acc-1"),
        contact: ContactId::new("con-1"),
        channel: Channel::Phone,
        interaction: InteractionKey { group: "default".to_owned(), id: "call-1".to_owned() },
        issued_to: "ivr".to_owned(),
        calling_number: E164::parse("+14085550100"),
        attestation: Some(Attestation::A),
        lane: Some("familiar".to_owned()),
        credential_version: Some(CredentialVersion(7)),
        method: Method::Passphrase,
        proved_at: at(0),
    }
}

fn client(name: &str, accepts: &[&str]) -> ClientSystem {
    ClientSystem {
        name: name.to_owned(),
        group: "default".to_owned(),
        rpcs: [].into(),
        channels: [].into(),
        asserts: [].into(),
        roles: std::collections::BTreeSet::new(),
        accepts_tokens_from: accepts.iter().map(|name| (*name).to_owned()).collect(),
        debug: false,
        credentials: crate::client::Credentials { tokens: Vec::new(), unix_uid: None },
    }
}

fn interaction(id: &str, channel: Channel) -> Interaction {
    Interaction { channel, id: id.to_owned(), calling_number: None, attestation: None, agent_id: None }
}

/// What came of showing the token of [`facts`], after `change` of what is shown with it.
fn shown(change: impl FnOnce(&mut Case)) -> Result<TokenProof, Fault> {
    let keys = KeyRing::ephemeral().unwrap();
    let token = seal(&keys, &facts()).unwrap();
    let mut case = Case {
        client: client("orders", &["ivr"]),
        interaction: interaction("call-1", Channel::Phone),
        said: SubjectHints::default(),
        selection: Selection::default(),
        ended: false,
        credential_stands: true,
        seconds: 60,
    };
    change(&mut case);
    let shown = Shown {
        client: &case.client,
        interaction: &case.interaction,
        said: &case.said,
        selection: &case.selection,
        ended: case.ended,
        credential_stands: case.credential_stands,
    };
    open(&keys, &token, at(case.seconds))?.prove(shown)
}

struct Case {
    client: ClientSystem,
    interaction: Interaction,
    said: SubjectHints,
    selection: Selection,
    ended: bool,
    credential_stands: bool,
    seconds: i64,
}

// proves: A5, A22
#[test]
fn a_token_proves_what_it_was_made_for_and_keeps_the_time_of_the_proof() {
    let proof = shown(|_| {}).unwrap();
    assert_eq!(proof.facts(), &facts());
    let proof = shown(|case| {
        case.client = client("ivr", &[]);
        case.interaction.calling_number = E164::parse("+14085550100");
        case.interaction.attestation = Some(Attestation::A);
        case.said.account = Some(crate::directory::AccountSelector::Id(AccountId::new("acc-1")));
        case.selection.account = Some(AccountId::new("acc-1"));
    });
    assert_eq!(proof.unwrap().facts().proved_at, at(0));
}

// proves: A5, A22
#[test]
fn whatever_contradicts_a_token_makes_it_worthless() {
    use crate::directory::{AccountSelector, ContactSelector};
    let fault = |change: fn(&mut Case)| shown(change).unwrap_err();
    assert_eq!(fault(|case| case.client = client("orders", &["portal"])), Fault::Foreign);
    assert_eq!(fault(|case| case.interaction.id = "call-2".to_owned()), Fault::OtherInteraction);
    assert_eq!(fault(|case| case.interaction.channel = Channel::Chat), Fault::OtherInteraction);
    assert_eq!(fault(|case| case.interaction.calling_number = E164::parse("+14085550101")), Fault::Contradicted);
    assert_eq!(fault(|case| case.interaction.attestation = Some(Attestation::B)), Fault::Contradicted);
    assert_eq!(
        fault(|case| {
            case.said.account = Some(AccountSelector::Id(AccountId::new("acc-2")));
            case.selection.account = Some(AccountId::new("acc-2"));
        }),
        Fault::Contradicted
    );
    // A contact that selects nobody is another person, too.
    assert_eq!(
        fault(|case| {
            case.said.account = Some(AccountSelector::Id(AccountId::new("acc-1")));
            case.said.contact = Some(ContactSelector::Id(ContactId::new("con-9")));
            case.selection.account = Some(AccountId::new("acc-1"));
        }),
        Fault::Contradicted
    );
    assert_eq!(fault(|case| case.ended = true), Fault::Ended);
    assert_eq!(fault(|case| case.credential_stands = false), Fault::CredentialChanged);
}

// proves: A22
#[test]
fn a_token_lives_for_fifteen_minutes_from_the_proof() {
    assert!(shown(|case| case.seconds = 15 * 60 - 1).is_ok());
    assert_eq!(shown(|case| case.seconds = 15 * 60).unwrap_err(), Fault::OutOfTime);
    assert!(shown(|case| case.seconds = -30).is_ok());
    assert_eq!(shown(|case| case.seconds = -31).unwrap_err(), Fault::OutOfTime);
}

// proves: A22
#[test]
fn no_altered_character_and_no_other_key_opens_a_token() {
    let keys = Arc::new(KeyRing::ephemeral().unwrap());
    let token = seal(&keys, &facts()).unwrap();
    assert!(token.len() <= 2048, "{} bytes", token.len());
    assert!(open(&keys, &token, at(1)).is_ok());
    assert_eq!(open(&KeyRing::ephemeral().unwrap(), &token, at(1)).unwrap_err(), Fault::NotOurs);
    for position in 0..token.len() {
        let mut altered = token.clone().into_bytes();
        altered[position] = if altered[position] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(altered).unwrap();
        if altered != token {
            assert_eq!(open(&keys, &altered, at(1)).unwrap_err(), Fault::NotOurs, "at {position}");
        }
    }
    for junk in ["", "v4.local.", "v4.public.AAAA", "not a token", &token[..token.len() / 2]] {
        assert_eq!(open(&keys, junk, at(1)).unwrap_err(), Fault::NotOurs);
    }
}
