//! A contact sets, clears and looks after his own support passphrase in the portal, and nobody does it for him.

use std::time::{Duration, SystemTime};

use countersign::{
    audit::{Record, record::PassphraseRecord},
    directory::{ContactId, ContactStatus, sample},
    grpc::proto::countersign::v1::{
        AuthorizeResponse,
        Channel::{Chat, Phone, Portal},
        ClearPassphraseRequest, Decision, GetPassphraseStatusRequest, PassphraseAnswer as Answer,
        PassphraseKind as Kind, PassphraseSetMethod as Method, PassphraseStatus, PassphraseWeakness as Weakness,
        PortalCaller, PortalLogin, Reason, ReopenPassphraseRequest, SetPassphraseRequest, SetPassphraseResponse,
        SuggestPassphraseRequest, SuggestPassphraseResponse, SystemActor,
        passphrase_service_client::PassphraseServiceClient,
    },
};
use tonic::{Code, Status, transport::Channel};

use crate::{
    answer::{decided, invalid_field, refusal},
    escalation::caller,
    question::ask,
    sidecar::{Client, Sidecar, patiently, wall_time},
};

const HOUR: Duration = Duration::from_secs(3600);
const FIRST: &str = "quiet anchor sleeping harbor tune";
const SECOND: &str = "golden walnut drifting under moonlight";

/// A portal in which somebody is logged in.
#[derive(Clone)]
pub struct Desk {
    stub: PassphraseServiceClient<Channel>,
    client: Client,
    caller: PortalCaller,
}

impl Desk {
    /// Somebody of Acme, logged in five seconds ago.
    fn of(sidecar: &Sidecar, contact: &str) -> Self {
        Self::through(sidecar.channel(), sidecar.client("portal"), contact)
    }

    pub fn through(channel: Channel, client: Client, contact: &str) -> Self {
        let stub = PassphraseServiceClient::new(channel);
        let caller = caller(sample::ACME, contact, SystemTime::now() - Duration::from_secs(5));
        Self { stub, client, caller }
    }

    pub fn logged_in_at(mut self, time: SystemTime) -> Self {
        self.caller.portal_login = Some(PortalLogin { login_time: Some(time.into()), id_token: String::new() });
        self
    }

    pub async fn ask_to_set(&self, kind: Kind, phrase: &str) -> Result<SetPassphraseResponse, Status> {
        let request = SetPassphraseRequest {
            caller: Some(self.caller.clone()),
            kind: kind.into(),
            passphrase: phrase.to_owned(),
            request_id: String::new(),
        };
        patiently(self.stub.clone().set_passphrase(self.client.with_token(request)))
            .await
            .map(tonic::Response::into_inner)
    }

    async fn set(&self, phrase: &str) -> Answer {
        self.ask_to_set(Kind::Own, phrase).await.unwrap().answer()
    }

    async fn clear(&self) -> Answer {
        self.clear_of(Kind::Own).await
    }

    pub async fn clear_of(&self, kind: Kind) -> Answer {
        let caller = Some(self.caller.clone());
        let request = ClearPassphraseRequest { caller, kind: kind.into(), request_id: String::new() };
        patiently(self.stub.clone().clear_passphrase(self.client.with_token(request)))
            .await
            .unwrap()
            .into_inner()
            .answer()
    }

    async fn suggest(&self) -> SuggestPassphraseResponse {
        let request =
            SuggestPassphraseRequest { caller: Some(self.caller.clone()), ..SuggestPassphraseRequest::default() };
        patiently(self.stub.clone().suggest_passphrase(self.client.with_token(request))).await.unwrap().into_inner()
    }

    pub async fn status_of(&self, kind: Kind) -> (Answer, Option<PassphraseStatus>) {
        let caller = Some(self.caller.clone());
        let request = GetPassphraseStatusRequest { caller, kind: kind.into(), ..GetPassphraseStatusRequest::default() };
        let answer = patiently(self.stub.clone().get_passphrase_status(self.client.with_token(request))).await;
        let answer = answer.unwrap().into_inner();
        (answer.answer(), answer.status)
    }

    async fn status(&self) -> PassphraseStatus {
        let (answer, status) = self.status_of(Kind::Own).await;
        assert_eq!(answer, Answer::Done);
        status.unwrap()
    }

    async fn reopen(&self) -> Answer {
        let request =
            ReopenPassphraseRequest { caller: Some(self.caller.clone()), ..ReopenPassphraseRequest::default() };
        patiently(self.stub.clone().reopen_passphrase(self.client.with_token(request)))
            .await
            .unwrap()
            .into_inner()
            .answer()
    }
}

async fn says(sidecar: &Sidecar, contact: &str, phrase: &str) -> AuthorizeResponse {
    sidecar.client("ivr").insist(ask(Phone, "identity.verify").by(contact).saying(phrase)).await.unwrap()
}

fn records(sidecar: &Sidecar) -> Vec<PassphraseRecord> {
    let passphrase = |record| if let Record::Passphrase(record) = record { Some(*record) } else { None };
    sidecar.home.records().into_iter().filter_map(passphrase).collect()
}

// proves: A31
#[tokio::test]
async fn to_clear_a_passphrase_shortens_no_cool_off() {
    let (sidecar, clock) = Sidecar::start_still("").await;
    let elena = || Desk::of(&sidecar, sample::ELENA).logged_in_at(wall_time(&clock));
    let orders = async || {
        let order = ask(Portal, "order.cancel").by(sample::ELENA).upon("order", "").logged_in_at(wall_time(&clock));
        decided(&sidecar.client("portal").insist(order).await.unwrap()).0
    };
    assert_eq!(orders().await, Decision::Allow);
    assert_eq!(elena().set(FIRST).await, Answer::Done);
    assert_ne!(orders().await, Decision::Allow);
    clock.advance(Duration::from_secs(3600));
    assert_eq!(elena().clear().await, Answer::Done);
    assert_ne!(orders().await, Decision::Allow, "that it was set is not forgotten with it");
    clock.advance(Duration::from_secs(23 * 3600 + 1));
    assert_eq!(orders().await, Decision::Allow);
}

// proves: S9, F8, A31
#[tokio::test]
async fn a_contact_sets_a_passphrase_in_the_portal_and_is_verified_by_it_on_the_telephone() {
    let (sidecar, clock) = Sidecar::start_still("").await;
    let chloe = || Desk::of(&sidecar, sample::CHLOE).logged_in_at(wall_time(&clock));
    assert_eq!(chloe().status_of(Kind::Own).await, (Answer::NotSet, None));
    assert_eq!(chloe().set(FIRST).await, Answer::Done);
    let verified = says(&sidecar, sample::CHLOE, FIRST).await;
    assert_eq!(decided(&verified), (Decision::Allow, Reason::Permitted));
    let status = chloe().status().await;
    assert_eq!((status.is_set, status.method(), status.closed), (true, Method::PortalLogin, false));

    // A new one takes the place of the old one, and ends its tokens.
    let token = verified.verification.unwrap().token;
    assert_eq!(chloe().set(SECOND).await, Answer::Done);
    assert_eq!(
        decided(&says(&sidecar, sample::CHLOE, FIRST).await),
        (Decision::Challenge, Reason::EvidenceNotAccepted)
    );
    assert_eq!(says(&sidecar, sample::CHLOE, SECOND).await.decision(), Decision::Allow);
    let shown = ask(Phone, "identity.verify").with_token(&token);
    let answer = sidecar.client("orders").authorize(shown).await.unwrap();
    assert_eq!(decided(&answer), (Decision::Challenge, Reason::EvidenceRequired));

    // What a thief would do with it waits for a day, in the portal as well.
    let ben = Desk::of(&sidecar, sample::BEN).logged_in_at(wall_time(&clock));
    let routing = || ask(Portal, "routing.change").upon("routing", "").by(sample::BEN).logged_in_at(wall_time(&clock));
    let portal = sidecar.client("portal");
    assert_eq!(portal.authorize(routing()).await.unwrap().decision(), Decision::Allow);
    assert_eq!(ben.set(FIRST).await, Answer::Done);
    assert_ne!(portal.authorize(routing()).await.unwrap().decision(), Decision::Allow);
    clock.advance(24 * HOUR);
    assert_eq!(portal.authorize(routing()).await.unwrap().decision(), Decision::Allow);
}

// proves: S9, F8
#[tokio::test]
async fn an_old_login_sets_nothing_and_who_is_not_verified_learns_nothing() {
    let (sidecar, clock) = Sidecar::start_still("").await;
    let now = wall_time(&clock);
    sidecar.set_passphrase(Some(sample::ADA), FIRST).await;
    let at = |contact, time| Desk::of(&sidecar, contact).logged_in_at(time);
    let old = at(sample::ADA, now - HOUR);
    assert_eq!(old.set(SECOND).await, Answer::FreshLoginRequired);
    assert_eq!(old.clear().await, Answer::FreshLoginRequired);
    assert_eq!(old.reopen().await, Answer::FreshLoginRequired);
    let suggested = old.suggest().await;
    assert_eq!((suggested.answer(), suggested.phrase.as_str()), (Answer::FreshLoginRequired, ""));
    assert!(old.status().await.is_set, "which is enough to look");
    for unproved in [
        at(sample::ADA, now - 13 * HOUR),
        at(sample::ADA, now + HOUR),
        at(sample::IVAN, now),
        at("con-none", now),
        at(sample::KARL, now),
    ] {
        for kind in [Kind::Own, Kind::Account] {
            let answer = unproved.ask_to_set(kind, "short").await.unwrap();
            let blank =
                SetPassphraseResponse { decision_id: answer.decision_id.clone(), ..SetPassphraseResponse::default() };
            let wanted = SetPassphraseResponse { answer: Answer::NotVerified.into(), ..blank };
            assert_eq!(answer, wanted);
            assert_eq!(unproved.status_of(kind).await, (Answer::NotVerified, None));
        }
        assert_eq!(unproved.clear().await, Answer::NotVerified);
        assert_eq!(unproved.reopen().await, Answer::NotVerified);
        assert_eq!(unproved.suggest().await.answer(), Answer::NotVerified);
    }
    assert_eq!(says(&sidecar, sample::ADA, FIRST).await.decision(), Decision::Allow, "the old one stands");
}

// proves: A32, A24, F7
#[tokio::test]
async fn nobody_sets_a_passphrase_for_another_and_no_agent_stands_in_between() {
    let sidecar = Sidecar::start().await;
    let ada = Desk::of(&sidecar, sample::ADA);
    for client in ["ivr", "desktop", "orders", "mailroom"] {
        let refused = Desk { client: sidecar.client(client), ..ada.clone() }.ask_to_set(Kind::Own, FIRST).await;
        let (code, reason, _) = refusal(&refused.unwrap_err());
        assert_eq!((code, reason.as_str()), (Code::PermissionDenied, "CLIENT_NOT_GRANTED"), "{client}");
    }
    type Malform = fn(&mut PortalCaller);
    let malformed: [(&str, Malform); 4] = [
        ("caller.interaction.agent_id", |caller| {
            "agent-7".clone_into(&mut caller.interaction.as_mut().unwrap().agent_id);
        }),
        ("caller.interaction.channel", |caller| caller.interaction.as_mut().unwrap().set_channel(Chat)),
        ("caller.subject.contact", |caller| caller.subject = None),
        ("caller.portal_login", |caller| caller.portal_login = None),
    ];
    for (field, change) in malformed {
        let mut desk = ada.clone();
        change(&mut desk.caller);
        assert_eq!(invalid_field(desk.ask_to_set(Kind::Own, FIRST).await), field);
    }
    assert_eq!(ada.status_of(Kind::Own).await, (Answer::NotSet, None));
    assert_eq!(invalid_field(ada.ask_to_set(Kind::Own, "").await), "passphrase");
    assert_eq!(invalid_field(ada.ask_to_set(Kind::Own, "two\nlines").await), "passphrase");
}

// proves: S13, S14, A27
#[tokio::test]
async fn the_account_passphrase_is_the_primary_administrators_alone() {
    let sidecar = Sidecar::start().await;
    let (ada, ben) = (Desk::of(&sidecar, sample::ADA), Desk::of(&sidecar, sample::BEN));
    assert_eq!(ben.ask_to_set(Kind::Account, FIRST).await.unwrap().answer(), Answer::NotPermitted);
    assert_eq!(ben.status_of(Kind::Account).await, (Answer::NotPermitted, None));
    assert_eq!(ada.ask_to_set(Kind::Account, FIRST).await.unwrap().answer(), Answer::Done);
    assert_eq!(says(&sidecar, sample::ADA, FIRST).await.decision(), Decision::Allow);
    assert_eq!(says(&sidecar, sample::BEN, FIRST).await.reason(), Reason::EvidenceNotAccepted);

    // Once she had one of her own, the account's never verifies her again, not even when hers is gone.
    assert_eq!(ada.set(SECOND).await, Answer::Done);
    assert_eq!(ada.clear().await, Answer::Done);
    assert_eq!(ada.clear().await, Answer::NotSet);
    for phrase in [FIRST, SECOND] {
        assert_eq!(says(&sidecar, sample::ADA, phrase).await.reason(), Reason::EvidenceNotAccepted);
    }
    let status = ada.status().await;
    assert!(!status.is_set && status.set_at.is_some(), "the history stays");
}

// proves: F6, N1
#[tokio::test]
async fn a_weak_passphrase_is_refused_by_the_rule_it_breaks_and_the_old_one_stands() {
    let sidecar = Sidecar::start().await;
    let ada = Desk::of(&sidecar, sample::ADA);
    assert_eq!(ada.set(FIRST).await, Answer::Done);
    for (phrase, weakness) in [
        ("too short", Weakness::TooShort),
        ("Ada Moreno of Acme Telephony", Weakness::OnRecord),
        ("again again again again", Weakness::Repetitive),
    ] {
        let answer = ada.ask_to_set(Kind::Own, phrase).await.unwrap();
        assert_eq!((answer.answer(), answer.weakness()), (Answer::Weak, weakness), "{phrase}");
    }
    assert_eq!(says(&sidecar, sample::ADA, FIRST).await.decision(), Decision::Allow);
    let last = records(&sidecar).pop().unwrap();
    assert_eq!((last.outcome.as_str(), last.weakness.as_deref()), ("weak", Some("REPETITIVE")));
}

#[tokio::test]
async fn suggested_words_can_be_set_and_are_written_nowhere() {
    let sidecar = Sidecar::start().await;
    let ada = Desk::of(&sidecar, sample::ADA);
    let suggested = ada.suggest().await;
    assert_eq!((suggested.answer(), suggested.strength_bits), (Answer::Done, 50));
    let words: Vec<_> = suggested.phrase.split(' ').collect();
    assert_eq!(words.len(), 5);
    assert_ne!(ada.suggest().await.phrase, suggested.phrase);
    assert_eq!(ada.status_of(Kind::Own).await, (Answer::NotSet, None), "a suggestion sets nothing");
    assert_eq!(ada.set(&suggested.phrase).await, Answer::Done);
    assert_eq!(says(&sidecar, sample::ADA, &suggested.phrase).await.decision(), Decision::Allow);
    let audit = format!("{:?}", sidecar.home.records());
    assert!(!audit.contains(&suggested.phrase));
}

/// Strangers close the unfamiliar lane; the owner opens it again, and no cool-off begins by that.
// proves: N3, A11
#[tokio::test]
async fn the_owner_reopens_what_strangers_have_closed() {
    let (sidecar, clock) = Sidecar::start_still("").await;
    let ada = || Desk::of(&sidecar, sample::ADA).logged_in_at(wall_time(&clock));
    assert_eq!(ada().set(FIRST).await, Answer::Done);
    assert_eq!(ada().reopen().await, Answer::NotClosed);
    for _ in 0..20 {
        clock.advance(25 * HOUR);
        assert_eq!(says(&sidecar, sample::ADA, SECOND).await.decision(), Decision::Challenge);
    }
    clock.advance(25 * HOUR);
    assert_eq!(says(&sidecar, sample::ADA, FIRST).await.decision(), Decision::Challenge, "closed, and told as wrong");
    let status = ada().status().await;
    assert!(status.closed && status.is_set);
    assert_eq!(status.reopenings_left, 3);
    assert_eq!(ada().reopen().await, Answer::Done);
    assert_eq!(says(&sidecar, sample::ADA, FIRST).await.decision(), Decision::Allow);
    let status = ada().status().await;
    assert_eq!((status.closed, status.reopenings_left), (false, 2));
    let order = ask(Portal, "routing.change").upon("routing", "").by(sample::ADA).logged_in_at(wall_time(&clock));
    assert_eq!(sidecar.client("portal").authorize(order).await.unwrap().decision(), Decision::Allow, "no cool-off");
}

#[tokio::test]
async fn every_answer_about_a_passphrase_is_recorded_and_what_is_changed_before_that() {
    let sidecar = Sidecar::start().await;
    let ada = Desk::of(&sidecar, sample::ADA);
    ada.set(FIRST).await;
    ada.status().await;
    ada.clear().await;
    ada.reopen().await;
    sidecar.change(vec![sidecar.with_status(sample::BEN, ContactStatus::Inactive).await]).await;
    Desk::of(&sidecar, sample::BEN).set(FIRST).await;
    let told: Vec<_> = records(&sidecar)
        .into_iter()
        .map(|record| (record.call.rpc, record.credential.unwrap_or_default(), record.outcome, record.person.proof))
        .collect();
    let wanted = [
        ("SetPassphrase", "own", "intended", "verified"),
        ("SetPassphrase", "own", "done", "verified"),
        ("GetPassphraseStatus", "own", "done", "verified"),
        ("ClearPassphrase", "own", "intended", "verified"),
        ("ClearPassphrase", "own", "done", "verified"),
        ("ReopenPassphrase", "own", "intended", "verified"),
        ("ReopenPassphrase", "", "not_closed", "verified"),
        ("SetPassphrase", "own", "not_verified", "login_of_inactive"),
    ];
    let wanted = wanted
        .map(|(rpc, which, outcome, proof)| (rpc.to_owned(), which.to_owned(), outcome.to_owned(), proof.to_owned()));
    assert_eq!(told, wanted);
    let set = &records(&sidecar)[1];
    assert_eq!(set.person.contact, Some(ContactId::new(sample::ADA)));
    assert!(sidecar.home.record(&set.decision_id).is_some(), "its id finds it");
}

/// A request of this service in which one field has so many bytes, all else being sound.
pub async fn send(client: &Client, field: &str, length: usize) -> Result<(), Status> {
    let (message, name) = field.split_once('.').unwrap();
    let text = "7".repeat(length);
    let or = |wanted: &str, usual: &str| if name == wanted { text.clone() } else { usual.to_owned() };
    let request_id = or("request_id", "");
    let caller = Some(caller(sample::ACME, sample::ADA, SystemTime::now()));
    let (mut stub, kind) = (PassphraseServiceClient::new(client.channel()), 0);
    match message {
        "SetPassphraseRequest" => {
            let passphrase = or("passphrase", FIRST);
            let request = SetPassphraseRequest { caller, kind, passphrase, request_id };
            patiently(stub.set_passphrase(client.with_token(request))).await.map(drop)
        }
        "ClearPassphraseRequest" => {
            let request = client.with_token(ClearPassphraseRequest { caller, kind, request_id });
            patiently(stub.clear_passphrase(request)).await.map(drop)
        }
        "SuggestPassphraseRequest" => {
            let request = client.with_token(SuggestPassphraseRequest { caller, request_id });
            patiently(stub.suggest_passphrase(request)).await.map(drop)
        }
        "GetPassphraseStatusRequest" => {
            // A person names nobody: it is his own.
            let system =
                Some(SystemActor { name: "hr".to_owned() }).filter(|_| name.ends_with("_id") && name != "request_id");
            let (account_id, contact_id) = match &system {
                Some(_) => (or("account_id", "acc-1001"), or("contact_id", "con-1001")),
                None => (String::new(), String::new()),
            };
            let caller = caller.filter(|_| system.is_none());
            let request = client.with_token(GetPassphraseStatusRequest {
                caller,
                kind,
                request_id,
                system,
                account_id,
                contact_id,
            });
            patiently(stub.get_passphrase_status(request)).await.map(drop)
        }
        "ReopenPassphraseRequest" => {
            let request = client.with_token(ReopenPassphraseRequest { caller, request_id });
            patiently(stub.reopen_passphrase(request)).await.map(drop)
        }
        other => panic!("no request tries the limit of {other}: add one"),
    }
}
