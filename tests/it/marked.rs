//! Marked secrets go down every path through the real binary at its most talkative, and are then looked for in all that
//! it printed and in every byte that it wrote, in every form in which a secret gets away.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use countersign::{
    directory::sample,
    grpc::proto::countersign::v1::{
        Attestation, AuthorizeRequest, Channel::Phone, Decision, EndInteractionRequest, Passphrase, PassphraseAnswer,
        PassphraseEntry, PassphraseKind, Reason, authorization_service_client::AuthorizationServiceClient, evidence,
    },
    identity::keys::Purpose,
};
use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER};
use tokio::task::JoinSet;

use crate::{
    answer::decided,
    own_passphrase::Desk,
    process::{Process, run},
    question::{Question, ask},
    sidecar::{Client, Home, Sidecar},
};

/// In every phrase that is said or set. No word, no name, in nothing else; its canonical form is itself.
const MARK: &str = "zyrqvatlon";

const RIGHT: &str = "zyrqvatlon anchor sleeping harbor tune";
const WRONG: &str = "zyrqvatlon nothing of the kind";

const PERMITTED: (Decision, Reason) = (Decision::Allow, Reason::Permitted);

// proves: A21
#[tokio::test]
async fn no_marked_secret_is_in_any_log_or_file_whatever_becomes_of_it() {
    let home = Sidecar::start().await.stop().await;
    let mut printed = String::new();
    let mut secrets = vec![MARK.to_owned()];
    for format in ["pretty", "json"] {
        let settings = format!("[log]\nfilter = \"trace\"\nformat = \"{format}\"\n");
        let mut sidecar = Process::serve_with(&home, &settings, &[("RUST_BACKTRACE", "full")]);
        let channel = sidecar.channel().await;
        printed.push_str(&operate(&home));
        secrets.extend(say_everything(&sidecar, &home).await);
        bear_marked_tokens(&channel).await;
        flood(&sidecar, &home).await;
        // What a kill leaves is what a thief of the disk finds: with the write-ahead log.
        if format == "pretty" {
            sidecar.kill();
            assert_absent(&secrets, "data after a kill", &data(&home));
        } else {
            assert!(sidecar.stop().await.success());
        }
        assert!(sidecar.printed().contains("serving"), "it was heard: {}", sidecar.printed());
        printed.push_str(&sidecar.printed());
        // And without a sidecar, the commands do it themselves.
        printed.push_str(&operate(&home));
    }
    secrets.extend(["probe", "ivr", "orders"].map(|client| home.token(client).to_owned()));
    secrets.extend(key_secrets(&home));
    assert_absent(&secrets, "what was printed", &[(PathBuf::from("output"), printed.into_bytes())]);
    assert_absent(&secrets, "data", &data(&home));
    let config = home.data().with_file_name("countersign.toml");
    assert_absent(&secrets, "config", &[(config.clone(), fs::read(config).unwrap())]);
}

#[test]
fn the_search_finds_a_secret_in_every_form() {
    let text = format!("before {WRONG} after");
    for (form, leak) in [
        ("plain", text.clone()),
        ("upper case", text.to_uppercase()),
        ("base64", BASE64.encode(text.as_bytes())),
        ("base64, shifted by one", BASE64.encode(format!("x{text}").as_bytes())),
        ("base64, shifted by two", BASE64URL_NOPAD.encode(format!("xy{text}").as_bytes())),
        ("hexadecimal", HEXLOWER.encode(text.as_bytes()).to_uppercase()),
        ("a list of bytes", format!("{:?}", text.as_bytes())),
        ("UTF-16", text.chars().flat_map(|letter| [letter, '\0']).collect()),
    ] {
        assert!(leaked(MARK, leak.as_bytes()).is_some(), "{form}");
    }
    assert!(leaked(MARK, b"zyrqvatlo and some more").is_none());
}

/// The operator sets, breaks every rule, asks and clears. Returns what the commands print.
fn operate(home: &Home) -> String {
    let config = home.data().with_file_name("countersign.toml");
    let config = config.to_str().unwrap();
    let passphrase = |command: &str, more: &[&str], input: &str| {
        let mut arguments = vec!["passphrase", command, "--config", config, "--account", sample::ACME];
        arguments.extend_from_slice(more);
        let output = run(&arguments, input);
        let printed = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(printed).unwrap())
    };
    let (ada, ben) = (["--contact", sample::ADA, "--from-stdin"], ["--contact", sample::BEN, "--from-stdin"]);
    let long = format!("{MARK} {}", "x".repeat(300));
    let steps = [
        (true, passphrase("set", &ada, RIGHT)),
        (true, passphrase("set", &ben, RIGHT)),
        (true, passphrase("set", &["--from-stdin"], RIGHT)),
        (false, passphrase("set", &ada, MARK)),
        (false, passphrase("set", &ada, &format!("{MARK} Ada Moreno {}", sample::ACME))),
        (false, passphrase("set", &ada, &format!("{MARK}\0{MARK}"))),
        (false, passphrase("set", &ada, &long)),
        (false, passphrase("set", &["--contact", "con-none", "--from-stdin"], RIGHT)),
        (true, passphrase("status", &["--contact", sample::ADA, "--json"], "")),
        (true, passphrase("clear", &["--contact", sample::BEN], "")),
    ];
    let mut printed = String::new();
    for (number, (expected, (succeeded, text))) in steps.into_iter().enumerate() {
        assert_eq!(succeeded, expected, "step {number}: {text}");
        printed.push_str(&text);
    }
    printed
}

/// Every way in which a passphrase and a verification token come and go. Returns the tokens.
async fn say_everything(sidecar: &Process, home: &Home) -> Vec<String> {
    let ivr = sidecar.client(home, "ivr").await;
    let probe = sidecar.client(home, "probe").await;
    let view = |contact: &str| ask(Phone, "account.view").by(contact);

    let call = format!("it-{}", uuid::Uuid::new_v4().simple());
    let mut tokens = Vec::new();
    for spelling in [RIGHT, &RIGHT.to_uppercase(), &RIGHT.replace(' ', ",  ")] {
        // The owner on the line of record, so that no flood of before is in the way.
        let owner = view(sample::ADA).within(&call).calling_from(sample::ACME_OLD_NUMBER, Some(Attestation::A));
        let answer = ivr.insist(owner.saying(spelling)).await.unwrap();
        assert_eq!(decided(&answer), PERMITTED);
        tokens.push(answer.verification.unwrap().token);
    }
    let orders = sidecar.client(home, "orders").await;
    let carried = view(sample::ADA).within(&call).with_token(&tokens[0]);
    assert_eq!(decided(&orders.authorize(carried).await.unwrap()), PERMITTED);
    // Altered, foreign, marked, endless.
    let (head, _) = tokens[0].split_at(tokens[0].len() - 4);
    for token in [format!("{head}AAAA"), format!("v4.local.{MARK}"), MARK.to_owned(), MARK.repeat(1000)] {
        refused(&orders, view(sample::ADA).within(&call).with_token(&token)).await;
    }
    refused(&orders, view(sample::BEN).within(&call).with_token(&tokens[0])).await;

    for contact in [sample::ADA, sample::BEN, sample::GRACE, "con-none"] {
        refused(&ivr, view(contact).saying(WRONG)).await;
    }
    refused(&ivr, ask(Phone, "account.view").by_contact_of("acc-none", sample::ADA).saying(RIGHT)).await;
    refused(&ivr, ask(Phone, "account.view").by_contact_of(sample::BOREALIS, sample::ADA).saying(RIGHT)).await;
    refused(&ivr, ask(Phone, "no.such.action").by(sample::ADA).saying(RIGHT)).await;

    let showing = |transcripts: &[&str], entry: PassphraseEntry| {
        let transcripts = transcripts.iter().map(|text| (*text).to_owned()).collect();
        view(sample::ADA).showing(evidence::By::Passphrase(Passphrase { transcripts, entry: entry.into() }))
    };
    let (long, control) = (MARK.repeat(100), format!("{MARK}\u{7}{MARK}"));
    refused(&ivr, showing(&[RIGHT], PassphraseEntry::Keypad)).await;
    refused(&ivr, showing(&[RIGHT], PassphraseEntry::Unspecified)).await;
    refused(&ivr, showing(&[RIGHT, WRONG], PassphraseEntry::Typed)).await;
    refused(&ivr, showing(&[WRONG, &format!("{WRONG} {MARK}"), &format!("{MARK} again")], PassphraseEntry::Spoken))
        .await;
    refused(&ivr, showing(&[&long], PassphraseEntry::Typed)).await;
    refused(&ivr, showing(&[&control], PassphraseEntry::Typed)).await;
    refused(&ivr, showing(&[&MARK.repeat(200_000)], PassphraseEntry::Typed)).await;

    // The owner sets one in the portal, and breaks every rule.
    let portal = sidecar.client(home, "portal").await;
    let chloe = Desk::through(portal.channel(), portal, sample::CHLOE);
    let set = chloe.ask_to_set(PassphraseKind::Own, RIGHT).await.unwrap();
    assert_eq!(set.answer(), PassphraseAnswer::Done);
    assert_eq!(chloe.ask_to_set(PassphraseKind::Own, MARK).await.unwrap().answer(), PassphraseAnswer::Weak);
    for malformed in [&long, &control] {
        chloe.ask_to_set(PassphraseKind::Own, malformed).await.unwrap_err();
    }

    let batch = view(sample::ADA).saying(WRONG).batch([ask(Phone, "account.view"), ask(Phone, "identity.verify")]);
    probe.batch_authorize(batch).await.unwrap();

    // Too little time, and a caller who hangs up while the hash is run.
    let mut stub = AuthorizationServiceClient::new(sidecar.channel().await);
    let mut hasty = tonic::Request::new(AuthorizeRequest::from(view(sample::ADA).saying(RIGHT)));
    hasty.metadata_mut().insert("authorization", format!("Bearer {}", home.token("ivr")).parse().unwrap());
    hasty.set_timeout(Duration::from_millis(100));
    stub.authorize(hasty).await.unwrap_err();
    let dropped = ivr.authorize(view(sample::ADA).saying(RIGHT));
    assert!(tokio::time::timeout(Duration::from_millis(50), dropped).await.is_err());

    ivr.end_interaction(EndInteractionRequest { interaction_id: call.clone(), ..EndInteractionRequest::default() })
        .await
        .unwrap();
    refused(&ivr, view(sample::ADA).within(&call).saying(RIGHT)).await;
    refused(&orders, view(sample::ADA).within(&call).with_token(&tokens[0])).await;
    tokens
}

/// Expects anything but ALLOW, and no mark in it.
async fn refused(client: &Client, question: Question) {
    let told = match client.insist(question).await {
        Ok(answer) => {
            assert_ne!(answer.decision(), Decision::Allow);
            format!("{answer:?}")
        }
        Err(status) => format!("{status:?} {}", String::from_utf8_lossy(status.details())),
    };
    assert!(leaked(MARK, told.as_bytes()).is_none(), "{told}");
}

/// Strangers whose bearer tokens are marked.
async fn bear_marked_tokens(channel: &tonic::transport::Channel) {
    for token in [format!("cst_{MARK}"), MARK.to_owned(), MARK.repeat(500)] {
        let status = Client::new(channel.clone(), Some(&token)).authorize(ask(Phone, "general.ask")).await.unwrap_err();
        assert!(leaked(MARK, format!("{status:?}").as_bytes()).is_none(), "{status:?}");
    }
}

/// Until the contact is locked and the pool sheds.
async fn flood(sidecar: &Process, home: &Home) {
    let probe = sidecar.client(home, "probe").await;
    let mut guesses = JoinSet::new();
    for _ in 0..150 {
        let probe = probe.clone();
        guesses.spawn(async move { probe.authorize(ask(Phone, "account.view").by(sample::ADA).saying(WRONG)).await });
    }
    let shed = guesses.join_all().await.iter().filter(|answer| answer.is_err()).count();
    assert!(shed > 0, "the pool was full");
}

/// What the key files hold.
fn key_secrets(home: &Home) -> Vec<String> {
    let keys = home.data().with_file_name("keys");
    let mut secrets = Vec::new();
    for file in fs::read_dir(keys).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        let values = text.lines().filter_map(|line| line.strip_prefix("secret = \""));
        secrets.extend(values.map(|value| value.trim_end_matches(['"', '=']).to_owned()));
    }
    assert_eq!(secrets.len(), Purpose::ALL.len(), "each purpose has a key of its own");
    secrets
}

/// Every file below the data directory.
fn data(home: &Home) -> Vec<(PathBuf, Vec<u8>)> {
    fn collect(folder: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.is_file() {
                found.push((path.clone(), fs::read(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    collect(&home.data(), &mut found);
    assert!(found.len() >= 3, "a store, an audit and a lock");
    found
}

fn assert_absent(secrets: &[String], place: &str, files: &[(PathBuf, Vec<u8>)]) {
    for (path, bytes) in files {
        let text = Haystack::new(bytes);
        for secret in secrets {
            if let Some(form) = text.holds(secret) {
                panic!("{place}, {}: holds a secret, {form}", path.display());
            }
        }
    }
}

fn leaked(secret: &str, bytes: &[u8]) -> Option<&'static str> {
    Haystack::new(bytes).holds(secret)
}

/// Bytes to search, a character for each.
struct Haystack {
    exact: String,
    folded: String,
}

impl Haystack {
    fn new(bytes: &[u8]) -> Self {
        let exact: String = bytes.iter().copied().map(char::from).collect();
        Self { folded: exact.to_ascii_lowercase(), exact }
    }

    /// The form in which this secret is in here, if it is. Case is folded where it tells nothing.
    fn holds(&self, secret: &str) -> Option<&'static str> {
        let lower = secret.to_ascii_lowercase();
        let wide: String = lower.chars().flat_map(|letter| [letter, '\0']).collect();
        let list: Vec<_> = lower.bytes().map(|byte| byte.to_string()).collect();
        let folded = [
            ("plain", lower.clone()),
            ("as UTF-16", wide.trim_end_matches('\0').to_owned()),
            ("in hexadecimal", HEXLOWER.encode(secret.as_bytes())),
            ("in hexadecimal", HEXLOWER.encode(lower.as_bytes())),
            ("as a list of bytes", list.join(", ")),
            ("as a list of bytes", list.join(",")),
        ];
        if let Some((form, _)) = folded.iter().find(|(_, needle)| self.folded.contains(needle)) {
            return Some(form);
        }
        let encoded = |text: &str, shift: usize| {
            let shifted = format!("{}{text}", "x".repeat(shift));
            // Without the characters in which neighbours have a share.
            let (first, last) = (shift + usize::from(shift > 0), usize::from(shifted.len() % 3 > 0));
            [BASE64_NOPAD, BASE64URL_NOPAD].map(|encoding| {
                let whole = encoding.encode(shifted.as_bytes());
                whole[first..whole.len() - last].to_owned()
            })
        };
        let mut base64 =
            [secret, &lower].into_iter().flat_map(|text| (0..3).flat_map(move |shift| encoded(text, shift)));
        base64.any(|needle| self.exact.contains(&needle)).then_some("in base64")
    }
}
