//! On the telephone: general questions are free, everything else asks for proof first, and facts prove nothing.

use countersign::{
    audit::Record,
    directory::sample,
    grpc::proto::countersign::v1::{
        AuthorizeRequest, AuthorizeResponse,
        Channel::{self, Chat, Phone, Portal},
        ContactName, Decision, EvidenceMethod, Reason,
        account_selector::By as Account,
        contact_selector::By as Contact,
    },
    policy::{Bundle, DataClass},
};
use tonic::transport::Channel as Connection;

use crate::{
    answer::{blanked, decided},
    question::{Question, ask},
    sidecar::{Client, Sidecar, patiently},
};

// proves: S5
#[tokio::test]
async fn general_questions_are_answered_for_anyone() {
    let sidecar = Sidecar::start().await;
    let probe = sidecar.client("probe");
    for channel in [Phone, Portal, Chat] {
        let general = || ask(channel, "general.ask");
        let nobody = probe.authorize(general()).await.unwrap();
        assert_eq!(decided(&nobody), (Decision::Allow, Reason::Open));
        assert_eq!(nobody.verified, None);
        for known in [general().by(sample::ADA), general().by(sample::IVAN), general().by("con-0000")] {
            let answer = probe.authorize(known).await.unwrap();
            assert_eq!(blanked(answer.clone()), blanked(nobody.clone()), "{channel:?}");
            let Some(Record::Decision(record)) = sidecar.home.record(&answer.decision_id) else { panic!("no record") };
            assert_eq!(record.item.rule, "general-questions");
        }
    }
}

// proves: S2
#[tokio::test]
async fn a_caller_is_asked_for_the_passphrase_before_anything_else() {
    let sidecar = Sidecar::start().await;
    let ivr = sidecar.client("ivr");
    let (passphrase, keypad) = (EvidenceMethod::Passphrase, EvidenceMethod::Keypad);
    for (action, kind, accepted) in [
        ("identity.verify", None, vec![passphrase, keypad]),
        ("account.view", Some("account"), vec![passphrase, keypad]),
        ("user.change", Some("user"), vec![passphrase]),
    ] {
        let question = ask(Phone, action).by(sample::ADA);
        let question = kind.map_or(question.clone(), |kind| question.upon(kind, ""));
        let answer = ivr.authorize(question).await.unwrap();
        assert_eq!(decided(&answer), (Decision::Challenge, Reason::EvidenceRequired), "{action}");
        let challenge = answer.challenge.unwrap();
        assert_eq!(challenge.accepted_methods().collect::<Vec<_>>(), accepted, "{action}");
        assert_eq!(challenge.attempts_left, None);
        assert!(!answer.guidance.unwrap().say.is_empty());
    }
}

// proves: F1, F2
#[tokio::test]
async fn without_proof_nothing_that_touches_a_customer_is_allowed_and_every_attempt_is_recorded() {
    let sidecar = Sidecar::start().await;
    let probe = sidecar.client("probe");
    let bundle = Bundle::embedded().unwrap();
    let mut classes = std::collections::BTreeSet::new();
    for action in bundle.actions() {
        classes.insert(action.class);
        for channel in [Phone, Portal, Chat] {
            let answer = probe.authorize(Question::about(action, channel).by(sample::ADA)).await.unwrap();
            let open = matches!(action.class, DataClass::General | DataClass::ToRecord);
            let name = &action.name;
            assert_eq!(answer.decision() == Decision::Allow, open, "{name} on {channel:?}: {:?}", decided(&answer));
            assert_eq!(answer.verified, None, "{name}");
            let Some(Record::Decision(record)) = sidecar.home.record(&answer.decision_id) else { panic!("no record") };
            assert_eq!((record.call.client.as_str(), &record.item.action), ("probe", name));
            assert_eq!(record.person.contact.as_ref().unwrap().as_str(), sample::ADA);
        }
    }
    assert_eq!(classes.len(), 6, "the default bundle has actions of every class");
}

// proves: S3, A1, F5
#[tokio::test]
async fn every_fact_right_is_answered_as_with_none_right() {
    let sidecar = Sidecar::start().await;
    let ivr = sidecar.client("ivr");
    let name = |first: &str, last: &str| {
        Contact::Name(ContactName { first_name: first.to_owned(), last_name: last.to_owned() })
    };
    let right = [
        (Account::Id(sample::ACME.to_owned()), Contact::Id(sample::ADA.to_owned())),
        (
            Account::NumberOfRecord(sample::ACME_OLD_NUMBER.to_owned()),
            Contact::Email("ada.moreno@acme.example".to_owned()),
        ),
        (Account::Name("acme  TELEPHONY".to_owned()), Contact::Extension("101".to_owned())),
        (Account::Id(sample::ACME.to_owned()), Contact::UserId("amoreno".to_owned())),
        (Account::Name("Acme Telephony".to_owned()), name("Ada", "Moreno")),
    ];
    let wrong = [
        (Account::Id("acc-0000".to_owned()), Contact::Id("con-0000".to_owned())),
        (Account::NumberOfRecord("+19995550100".to_owned()), Contact::Email("nobody@acme.example".to_owned())),
        (Account::Name("No Such Company".to_owned()), Contact::Extension("999".to_owned())),
        (Account::Id(sample::BOREALIS.to_owned()), Contact::Id(sample::ADA.to_owned())),
        (Account::Name("Acme Telephony".to_owned()), name("Ada", "Nobody")),
    ];
    let question = |action: &str| {
        let question = ask(Phone, action).within("one-call");
        if action == "account.view" { question.upon("account", "") } else { question }
    };
    for action in ["identity.verify", "account.view"] {
        let expected = blanked(ivr.authorize(question(action)).await.unwrap());
        for (account, contact) in right.iter().chain(&wrong) {
            let asked = question(action).selecting(account.clone(), Some(contact.clone())).having(|request| {
                // From the number of record, fully attested: it adds nothing.
                let interaction = request.interaction.get_or_insert_default();
                interaction.calling_number = sample::ACME_OLD_NUMBER.to_owned();
                interaction.attestation = 1;
            });
            let answer = blanked(ivr.authorize(asked).await.unwrap());
            assert_eq!(answer, expected, "{action}: {account:?} {contact:?}");
            assert_eq!(decided(&answer), (Decision::Challenge, Reason::EvidenceRequired));
        }
    }
}

/// A client that invents a kind of evidence.
#[derive(Clone, PartialEq, prost::Message)]
struct Forged {
    #[prost(bytes = "vec", tag = "1")]
    interaction: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    subject: Vec<u8>,
    #[prost(message, optional, tag = "3")]
    evidence: Option<ForgedEvidence>,
    #[prost(string, tag = "5")]
    action: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ForgedEvidence {
    #[prost(string, tag = "9")]
    recent_call: String,
}

// proves: A3
#[tokio::test]
async fn evidence_of_an_unknown_kind_is_refused() {
    use prost::Message as _;
    let sidecar = Sidecar::start().await;
    let request = AuthorizeRequest::from(ask(Phone, "identity.verify").by(sample::ADA));
    let forged = Forged {
        interaction: request.interaction.unwrap().encode_to_vec(),
        subject: request.subject.unwrap().encode_to_vec(),
        evidence: Some(ForgedEvidence { recent_call: "yesterday, 14 minutes, to +14085550142".to_owned() }),
        action: request.action,
    };
    let answer = send(sidecar.channel(), sidecar.home.token("ivr"), forged).await;
    assert_eq!(crate::answer::invalid_field(answer), "evidence");
}

async fn send(connection: Connection, token: &str, message: Forged) -> Result<AuthorizeResponse, tonic::Status> {
    let mut grpc = tonic::client::Grpc::new(connection);
    grpc.ready().await.unwrap();
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let path = "/countersign.v1.AuthorizationService/Authorize".parse().unwrap();
    let codec = tonic_prost::ProstCodec::<Forged, AuthorizeResponse>::default();
    patiently(grpc.unary(request, path, codec)).await.map(tonic::Response::into_inner)
}

// proves: S6
#[tokio::test]
async fn a_refusal_always_says_how_to_go_on_in_the_language_asked_for() {
    let sidecar = Sidecar::start().await;
    let probe = sidecar.client("probe");
    let bundle = Bundle::embedded().unwrap();
    let mut denied = 0;
    for action in bundle.actions() {
        for channel in [Phone, Portal, Chat] {
            let mut said = Vec::new();
            for locale in ["en-US", "es-US"] {
                let question = Question::about(action, channel).by(sample::JUNE);
                let question = if channel == Phone { question } else { question.logged_in() };
                let question = question.having(|request| request.locale = locale.to_owned());
                said.push(refused(&probe, question, channel, &action.name, &mut denied).await);
            }
            assert!(
                said[0].is_none() || said[0] != said[1],
                "{} on {channel:?}: one text for two languages",
                action.name
            );
        }
    }
    assert!(denied > 0, "some action is denied");
}

/// What is said with everything but an ALLOW.
async fn refused(probe: &Client, asked: Question, channel: Channel, action: &str, denied: &mut u32) -> Option<String> {
    let answer = probe.authorize(asked).await.unwrap();
    if answer.decision() == Decision::Allow {
        return None;
    }
    *denied += u32::from(answer.decision() == Decision::Deny);
    let guidance = answer.guidance.unwrap_or_else(|| panic!("{action} on {channel:?}: no guidance"));
    assert!(!guidance.code.is_empty() && !guidance.tell_agent.is_empty(), "{action} on {channel:?}");
    assert!(!guidance.say.is_empty(), "{action} on {channel:?}");
    Some(guidance.say)
}
