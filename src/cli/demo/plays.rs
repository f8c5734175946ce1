//! The sample calls of `demo --once`: who asks what, what the policy demands, what came, and why.

use std::{
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use jiff::Timestamp;
use tonic::{Code, service::interceptor::InterceptedService, transport::Channel as Transport};

use super::{
    super::connect::{Bearer, Target, connect},
    stage::Stage,
};
use crate::{
    audit::Record,
    cli::table,
    directory::sample,
    grpc::proto::countersign::v1::{
        AccountSelector, Attestation, AttributeValue, AuthorizeRequest, AuthorizeResponse, BatchAuthorizeRequest,
        BatchItem, Channel, ContactSelector, Decision, EndInteractionRequest, Evidence, Interaction, Passphrase,
        PassphraseEntry, PortalLogin, Reason, Resource, Subject, account_selector, attribute_value,
        authorization_service_client::AuthorizationServiceClient, contact_selector, evidence,
    },
};

/// What the policy demands.
type Expected = (Decision, Reason);

type Client = AuthorizationServiceClient<InterceptedService<Transport, Bearer>>;

/// How often one call may be shed before the machine is too busy for a demo.
const MOST_SHED: u32 = 100;
const BACKOFF: Duration = Duration::from_millis(100);

/// Plays every call; success only if each was decided as the policy demands.
pub(super) async fn all(stage: &Stage) -> anyhow::Result<ExitCode> {
    let mut play = Play::open(stage).await?;
    play.by_phone().await?;
    play.with_a_token().await?;
    play.in_the_portal().await?;
    play.attacks().await?;
    play.report()
}

/// What was expected of one call, and what came of it.
struct Row {
    who: String,
    asks: String,
    expected: String,
    got: String,
    why: String,
}

struct Play<'a> {
    stage: &'a Stage,
    portal: Client,
    ivr: Client,
    desktop: Client,
    orders: Client,
    rows: Vec<Row>,
}

impl<'a> Play<'a> {
    async fn open(stage: &'a Stage) -> anyhow::Result<Self> {
        let channel = connect(&Target::Tcp(stage.address())).await?;
        let client = |name| -> anyhow::Result<Client> {
            let bearer = Bearer::new(Some(stage.token(name)?))?;
            Ok(AuthorizationServiceClient::with_interceptor(channel.clone(), bearer))
        };
        let (portal, ivr, desktop, orders) = (client("portal")?, client("ivr")?, client("desktop")?, client("orders")?);
        Ok(Self { stage, portal, ivr, desktop, orders, rows: Vec::new() })
    }

    async fn by_phone(&mut self) -> anyhow::Result<()> {
        use {Decision::*, Reason::*};
        let ada = self.stage.phrase(sample::ADA)?;
        let grace = self.stage.phrase(sample::GRACE)?;
        let ivan = self.stage.phrase(sample::IVAN)?;
        self.phone("A stranger", phone("call-1", "general.ask"), (Allow, Open)).await?;
        self.phone(
            "Ada, without proof",
            about(sample::ADA, phone("call-2", "account.view")),
            (Challenge, EvidenceRequired),
        )
        .await?;
        let wrong = said("no such phrase at all", about(sample::ADA, phone("call-2", "account.view")));
        self.phone("Ada, wrong passphrase", wrong, (Challenge, EvidenceNotAccepted)).await?;
        let unknown = said("no such phrase at all", about("con-9999", phone("call-3", "account.view")));
        self.phone("An unknown caller, any passphrase", unknown, (Challenge, EvidenceNotAccepted)).await?;
        let right = said(ada, about(sample::ADA, phone("call-2", "account.view")));
        self.phone("Ada, right passphrase", right, (Allow, Permitted)).await?;
        let weak = said(grace, about(sample::GRACE, phone("call-4", "user.change")));
        self.phone("Grace, right passphrase, weak role", weak, (Deny, NotPermitted)).await?;
        let left = said(ivan, about(sample::IVAN, phone("call-5", "account.view")));
        self.phone("Ivan, who left, right passphrase", left, (Challenge, EvidenceNotAccepted)).await?;
        let grant = about(sample::ADA, phone("call-6", "role.grant"));
        let grant = with_resource("user", [("role", attribute_value::Value::Text("it_admin".to_owned()))], grant);
        self.phone("Ada, a grant by phone", grant, (Deny, NotOnThisChannel)).await?;
        let detail = about(sample::ADA, phone("call-7", "call_detail.view"));
        self.phone("Ada, call detail, without proof", detail, (Challenge, EvidenceRequired)).await?;
        let remedy = about(sample::ADA, phone("call-7", "call_detail.send_to_address_of_record"));
        self.phone("Ada, the lawful remedy for it", remedy, (Allow, Open)).await
    }

    async fn with_a_token(&mut self) -> anyhow::Result<()> {
        use {Decision::*, Reason::*};
        let verify = said(self.stage.phrase(sample::ADA)?, about(sample::ADA, phone("call-20", "identity.verify")));
        let answer = self.phone_answer("Ada, at the IVR's front door", verify, (Allow, Permitted)).await?;
        let token = answer.verification.map(|verification| verification.token).unwrap_or_default();
        let batch = BatchAuthorizeRequest {
            interaction: phone("call-20", "").interaction,
            evidence: Some(Evidence { by: Some(evidence::By::VerificationToken(token.clone())) }),
            items: ["invoice.view", "device.change"]
                .map(|action| BatchItem { action: action.to_owned(), resource: None })
                .into(),
            ..BatchAuthorizeRequest::default()
        };
        let results = self.desktop.batch_authorize(batch).await?.into_inner().results;
        for (answer, asks) in results.iter().zip(["invoice.view", "device.change"]) {
            self.note("The agent's desktop, her token", asks, (Allow, Permitted), answer)?;
        }
        let order = || order(phone("call-20", "order.place"));
        self.order("The order backend, her token", shown(&token, order()), (Allow, Permitted)).await?;
        self.order("The order backend, no token", order(), (Challenge, EvidenceRequired)).await?;
        let elsewhere = shown(&token, self::order(phone("call-21", "order.place")));
        self.order("Her token in another call", elsewhere, (Challenge, EvidenceRequired)).await?;
        let end = EndInteractionRequest { interaction_id: "call-20".to_owned(), ..EndInteractionRequest::default() };
        self.ivr.end_interaction(end).await.context("the IVR ends the call")?;
        self.order("Her token after the call ended", shown(&token, order()), (Challenge, EvidenceRequired)).await
    }

    async fn in_the_portal(&mut self) -> anyhow::Result<()> {
        use {Decision::*, Reason::*};
        let ask = |contact, action| logged_in(about(contact, at(Channel::Portal, &format!("case-{contact}"), action)));
        self.portal("Ada, logged in", ask(sample::ADA, "user.change"), (Allow, Permitted)).await?;
        self.portal("Grace, logged in, weak role", ask(sample::GRACE, "user.change"), (Escalate, Escalated)).await?;
        self.portal("Elena, logged in, an order", order(ask(sample::ELENA, "order.place")), (Allow, Permitted)).await?;
        self.portal("Dev, logged in, an order", order(ask(sample::DEV, "order.place")), (Escalate, Escalated)).await?;
        let hana = |site| at_site(site, ask(sample::HANA, "user.change"));
        self.portal("Hana, at her own site", hana(sample::SITE_WEST), (Allow, Permitted)).await?;
        self.portal("Hana, at another site", hana(sample::SITE_HQ), (Escalate, Escalated)).await?;
        self.portal("Ivan, who left, logged in", ask(sample::IVAN, "account.view"), (Deny, NotVerified)).await
    }

    async fn attacks(&mut self) -> anyhow::Result<()> {
        use {Decision::*, Reason::*};
        let guess = |call: &str| said("a guess that is long enough", about(sample::ELENA, phone(call, "account.view")));
        self.phone("A guesser, first try", guess("call-40"), (Challenge, EvidenceNotAccepted)).await?;
        self.phone("A guesser, second try", guess("call-40"), (Challenge, EvidenceNotAccepted)).await?;
        self.phone("A guesser, third try", guess("call-40"), (Deny, NotVerified)).await?;
        let elena = self.stage.phrase(sample::ELENA)?;
        let late = said(elena, about(sample::ELENA, phone("call-40", "account.view")));
        self.phone("The right passphrase, call is spent", late, (Deny, NotVerified)).await?;
        // Six failures lock the lane of strangers.
        let ben = self.stage.phrase(sample::BEN)?;
        for call in 0..6 {
            let guess = said(
                "a guess that is long enough",
                about(sample::BEN, phone(&format!("call-5{call}"), "account.view")),
            );
            self.phone("A stranger locks Ben out", guess, (Challenge, EvidenceNotAccepted)).await?;
        }
        let locked = said(ben, about(sample::BEN, phone("call-57", "account.view")));
        self.phone("A stranger with Ben's passphrase, locked", locked, (Challenge, EvidenceNotAccepted)).await?;
        let owner = said(ben, about(sample::BEN, phone("call-58", "account.view")));
        self.phone("Ben himself, from his number", from_record(owner), (Allow, Permitted)).await
    }

    async fn phone(&mut self, who: &str, request: AuthorizeRequest, expected: Expected) -> anyhow::Result<()> {
        self.phone_answer(who, request, expected).await.map(drop)
    }

    async fn phone_answer(
        &mut self,
        who: &str,
        request: AuthorizeRequest,
        expected: Expected,
    ) -> anyhow::Result<AuthorizeResponse> {
        self.ask(self.ivr.clone(), who, request, expected).await
    }

    async fn portal(&mut self, who: &str, request: AuthorizeRequest, expected: Expected) -> anyhow::Result<()> {
        self.ask(self.portal.clone(), who, request, expected).await.map(drop)
    }

    async fn order(&mut self, who: &str, request: AuthorizeRequest, expected: Expected) -> anyhow::Result<()> {
        self.ask(self.orders.clone(), who, request, expected).await.map(drop)
    }

    async fn ask(
        &mut self,
        mut client: Client,
        who: &str,
        request: AuthorizeRequest,
        expected: Expected,
    ) -> anyhow::Result<AuthorizeResponse> {
        let asks = request.action.clone();
        let mut shed = 0;
        let answer = loop {
            match client.authorize(request.clone()).await {
                Ok(answer) => break answer.into_inner(),
                // A busy machine sheds a call before it charges anything: ask again, as a client should.
                Err(status) if status.code() == Code::ResourceExhausted && shed < MOST_SHED => {
                    shed += 1;
                    tokio::time::sleep(BACKOFF).await;
                }
                Err(status) => return Err(status).with_context(|| format!("{who}: {asks}")),
            }
        };
        self.note(who, &asks, expected, &answer)?;
        Ok(answer)
    }

    fn note(&mut self, who: &str, asks: &str, expected: Expected, answer: &AuthorizeResponse) -> anyhow::Result<()> {
        self.rows.push(Row {
            who: who.to_owned(),
            asks: asks.to_owned(),
            expected: text(expected.0, expected.1),
            got: text(answer.decision(), answer.reason()),
            why: self.why(&answer.decision_id)?,
        });
        Ok(())
    }

    /// The exact cause, which only the audit has.
    fn why(&self, decision_id: &str) -> anyhow::Result<String> {
        let stored = self.stage.record(decision_id)?.context("a decision that was answered is not in the audit")?;
        let (person, items) = match &stored.record {
            Record::Decision(decision) => (&decision.person, std::slice::from_ref(&decision.item)),
            Record::Batch(batch) => (&batch.person, &batch.items[..]),
            Record::Refusal(_)
            | Record::UnknownClients(_)
            | Record::InteractionEnded(_)
            | Record::DeliveryRead(_)
            | Record::Escalation(_)
            | Record::Passphrase(_)
            | Record::Directory(_)
            | Record::Change(_)
            | Record::Lifecycle(_) => return Ok(String::new()),
        };
        let item = items.iter().find(|item| item.decision_id == decision_id);
        let cause = item.map(|item| item.cause.clone()).unwrap_or_default();
        Ok(if cause == "not_proved" { person.proof.clone() } else { cause })
    }

    fn report(self) -> anyhow::Result<ExitCode> {
        let mut shown = table::of_facts();
        shown.add_row(["", "who", "asks", "expected", "got", "why (audit)"]);
        let mut failures = 0;
        for (number, row) in self.rows.iter().enumerate() {
            let is_right = row.expected == row.got;
            failures += usize::from(!is_right);
            let mark = format!("{:>2} {}", number + 1, if is_right { "ok" } else { "WRONG" });
            shown.add_row([&mark, &row.who, &row.asks, &row.expected, &row.got, &row.why]);
        }
        let mut out = io::stdout();
        writeln!(out, "{shown}")?;
        if failures == 0 {
            writeln!(out, "{} calls, each decided as the policy demands", self.rows.len())?;
            return Ok(ExitCode::SUCCESS);
        }
        writeln!(out, "{failures} of {} calls were decided otherwise", self.rows.len())?;
        Ok(ExitCode::FAILURE)
    }
}

fn text(decision: Decision, reason: Reason) -> String {
    let decision = decision.as_str_name().trim_start_matches("DECISION_");
    let reason = reason.as_str_name().trim_start_matches("REASON_");
    format!("{decision} {reason}")
}

fn at(channel: Channel, id: &str, action: &str) -> AuthorizeRequest {
    let interaction = Interaction { channel: channel.into(), id: id.to_owned(), ..Interaction::default() };
    AuthorizeRequest { interaction: Some(interaction), action: action.to_owned(), ..AuthorizeRequest::default() }
}

fn phone(id: &str, action: &str) -> AuthorizeRequest {
    at(Channel::Phone, id, action)
}

fn about(contact: &str, request: AuthorizeRequest) -> AuthorizeRequest {
    let account = account_selector::By::Id(sample::ACME.to_owned());
    let contact = contact_selector::By::Id(contact.to_owned());
    let subject = Subject {
        account: Some(AccountSelector { by: Some(account) }),
        contact: Some(ContactSelector { by: Some(contact) }),
    };
    AuthorizeRequest { subject: Some(subject), ..request }
}

fn said(phrase: &str, request: AuthorizeRequest) -> AuthorizeRequest {
    let passphrase = Passphrase { transcripts: vec![phrase.to_owned()], entry: PassphraseEntry::Spoken.into() };
    AuthorizeRequest { evidence: Some(Evidence { by: Some(evidence::By::Passphrase(passphrase)) }), ..request }
}

fn shown(token: &str, request: AuthorizeRequest) -> AuthorizeRequest {
    let by = evidence::By::VerificationToken(token.to_owned());
    AuthorizeRequest { evidence: Some(Evidence { by: Some(by) }), ..request }
}

fn logged_in(request: AuthorizeRequest) -> AuthorizeRequest {
    let now = Timestamp::now();
    let login_time = prost_types::Timestamp { seconds: now.as_second(), nanos: now.subsec_nanosecond() };
    let login = PortalLogin { login_time: Some(login_time), id_token: String::new() };
    AuthorizeRequest { evidence: Some(Evidence { by: Some(evidence::By::PortalLogin(login)) }), ..request }
}

fn order(request: AuthorizeRequest) -> AuthorizeRequest {
    let amount = attribute_value::Value::Number(24_900);
    let currency = attribute_value::Value::Text("USD".to_owned());
    with_resource("order", [("amount_minor", amount), ("currency", currency)], request)
}

fn with_resource<const N: usize>(
    kind: &str,
    attributes: [(&str, attribute_value::Value); N],
    request: AuthorizeRequest,
) -> AuthorizeRequest {
    let attributes =
        attributes.into_iter().map(|(name, value)| (name.to_owned(), AttributeValue { value: Some(value) }));
    let resource = Resource { r#type: kind.to_owned(), attributes: attributes.collect(), ..Resource::default() };
    AuthorizeRequest { resource: Some(resource), ..request }
}

fn at_site(site: &str, request: AuthorizeRequest) -> AuthorizeRequest {
    let resource = Resource { r#type: "user".to_owned(), site: site.to_owned(), ..Resource::default() };
    AuthorizeRequest { resource: Some(resource), ..request }
}

/// From the number of record that is a year old, vouched for by the carrier.
fn from_record(mut request: AuthorizeRequest) -> AuthorizeRequest {
    if let Some(interaction) = &mut request.interaction {
        sample::ACME_OLD_NUMBER.clone_into(&mut interaction.calling_number);
        interaction.attestation = Attestation::A.into();
    }
    request
}
