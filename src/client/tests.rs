use std::collections::BTreeSet;

use super::{ClientSystem, Credentials, Registry, Shown, token};

fn client(name: &str, tokens: &[&str], unix_uid: Option<u32>) -> ClientSystem {
    ClientSystem {
        name: name.to_owned(),
        group: "default".to_owned(),
        rpcs: BTreeSet::new(),
        channels: BTreeSet::new(),
        asserts: BTreeSet::new(),
        roles: std::collections::BTreeSet::new(),
        accepts_tokens_from: BTreeSet::new(),
        debug: false,
        credentials: Credentials {
            tokens: tokens.iter().map(|token| token::TokenDigest::of(token)).collect(),
            unix_uid,
        },
    }
}

fn identified(registry: &Registry, bearer: Option<&str>, peer_uid: Option<u32>) -> Option<String> {
    registry.identify(&Shown { bearer, peer_uid }).map(|client| client.name.clone())
}

#[test]
fn a_client_is_known_by_either_token_of_a_rotation_or_by_its_peer() {
    let registry = Registry::new(vec![client("ivr", &["old", "new"], None), client("orders", &["third"], Some(7))]);
    assert_eq!(identified(&registry, Some("old"), None).as_deref(), Some("ivr"));
    assert_eq!(identified(&registry, Some("new"), None).as_deref(), Some("ivr"));
    assert_eq!(identified(&registry, None, Some(7)).as_deref(), Some("orders"));
}

#[test]
fn a_wrong_token_is_not_saved_by_a_known_peer() {
    let registry = Registry::new(vec![client("orders", &["third"], Some(7))]);
    assert_eq!(identified(&registry, Some("thirD"), Some(7)), None);
    assert_eq!(identified(&registry, Some(""), Some(7)), None);
    assert_eq!(identified(&registry, None, Some(8)), None);
    assert_eq!(identified(&registry, None, None), None);
}

#[test]
fn a_digest_survives_the_config_and_nothing_sloppy_parses() {
    let token = token::draw().unwrap();
    let digest = token::TokenDigest::of(&token);
    let parsed = token::TokenDigest::parse(&digest.to_string()).unwrap();
    assert!(parsed.matches(&digest));
    for sloppy in
        ["", "sha256:", "sha256:00", &digest.to_string().to_uppercase(), &format!("{digest}0"), token.as_str()]
    {
        assert!(token::TokenDigest::parse(sloppy).is_none());
    }
}
