//! `countersign.v1.PassphraseService`: admit, parse, have it done, answer.

use std::sync::Arc;

mod reset;

use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

use super::{
    admission::check_grants,
    answer::{targets, timestamp},
    ask::{Invalid, Parsed, subject, visible, within, zero},
    limits::{self, Limit},
    portal,
    proto::countersign::v1 as pb,
    reception::Reception,
    status::Refused,
    system::{self, By},
};
use crate::{
    client::Rpc,
    directory::{
        AccountId, Actor, ContactId,
        credential::{CredentialStatus, SetMethod},
    },
    identity::{
        passphrase::Passphrase,
        strength::Weakness,
        words::{SUGGESTED_BITS, Suggestion},
    },
    manage::{
        oversight::Oversight,
        own_passphrase::{Kind, Outcome, OwnPassphrases, Told},
        passphrase::Whose,
        reset::Resetting,
    },
};

/// The service.
pub(super) struct Passphrases {
    pub(super) own: OwnPassphrases,
    pub(super) oversight: Oversight,
    pub(super) resetting: Resetting,
    pub(super) reception: Arc<Reception>,
}

#[tonic::async_trait]
impl pb::passphrase_service_server::PassphraseService for Passphrases {
    async fn set_passphrase(
        &self,
        request: Request<pb::SetPassphraseRequest>,
    ) -> Result<Response<pb::SetPassphraseResponse>, Status> {
        let asked = self.reception.asked(Rpc::SetPassphrase, &request, &request.get_ref().request_id)?;
        let outcome = |place| async {
            let request = request.into_inner();
            // From here on the text is wiped, whatever becomes of it.
            let mut text = Zeroizing::new(request.passphrase);
            portal::may_ask(&asked, request.caller.as_ref())?;
            request_id(&request.request_id, limits::SET_PASSPHRASE_REQUEST_ID)?;
            let kind = kind(request.kind)?;
            let by = portal::caller(&asked, request.caller, request.request_id, Some(place))?;
            within("passphrase", text.len(), limits::SET_PASSPHRASE)?;
            if text.is_empty() {
                return Err(Invalid::required("passphrase").into());
            }
            let text = std::mem::take(&mut *text);
            let parsed = match kind {
                Kind::Own | Kind::Account => Passphrase::new(text),
                Kind::Keypad => Passphrase::keypad(text),
            };
            let passphrase = parsed.map_err(|malformed| Invalid::new("passphrase", malformed.to_string()))?;
            let told = self.own.set(by, kind, passphrase).await?;
            Ok::<_, Refused>(pb::SetPassphraseResponse {
                decision_id: told.decision_id().to_owned(),
                answer: answer(told.outcome()).into(),
                weakness: weakness(told.outcome()).into(),
            })
        };
        self.reception.respond(&asked, outcome).await
    }

    async fn clear_passphrase(
        &self,
        request: Request<pb::ClearPassphraseRequest>,
    ) -> Result<Response<pb::ClearPassphraseResponse>, Status> {
        let asked = self.reception.asked(Rpc::ClearPassphrase, &request, &request.get_ref().request_id)?;
        let outcome = |place| async {
            let request = request.into_inner();
            portal::may_ask(&asked, request.caller.as_ref())?;
            request_id(&request.request_id, limits::CLEAR_PASSPHRASE_REQUEST_ID)?;
            let kind = kind(request.kind)?;
            let by = portal::caller(&asked, request.caller, request.request_id, Some(place))?;
            let told = self.own.clear(by, kind).await?;
            let (decision_id, answer) = both(&told);
            Ok::<_, Refused>(pb::ClearPassphraseResponse { decision_id, answer })
        };
        self.reception.respond(&asked, outcome).await
    }

    async fn suggest_passphrase(
        &self,
        request: Request<pb::SuggestPassphraseRequest>,
    ) -> Result<Response<pb::SuggestPassphraseResponse>, Status> {
        let asked = self.reception.asked(Rpc::SuggestPassphrase, &request, &request.get_ref().request_id)?;
        let outcome = |place| async {
            let request = request.into_inner();
            portal::may_ask(&asked, request.caller.as_ref())?;
            request_id(&request.request_id, limits::SUGGEST_PASSPHRASE_REQUEST_ID)?;
            let by = portal::caller(&asked, request.caller, request.request_id, Some(place))?;
            let (told, suggestion) = self.own.suggest(by).await?;
            let (decision_id, answer) = both(&told);
            let strength_bits = if suggestion.is_some() { SUGGESTED_BITS } else { 0 };
            let phrase = suggestion.as_ref().map(Suggestion::reveal).unwrap_or_default().to_owned();
            Ok::<_, Refused>(pb::SuggestPassphraseResponse { decision_id, answer, phrase, strength_bits })
        };
        self.reception.respond(&asked, outcome).await
    }

    async fn get_passphrase_status(
        &self,
        request: Request<pb::GetPassphraseStatusRequest>,
    ) -> Result<Response<pb::GetPassphraseStatusResponse>, Status> {
        let asked = self.reception.asked(Rpc::GetPassphraseStatus, &request, &request.get_ref().request_id)?;
        let outcome = |place| async {
            let request = request.into_inner();
            system::may_ask(&asked, request.caller.as_ref(), request.system.as_ref())?;
            request_id(&request.request_id, limits::PASSPHRASE_STATUS_REQUEST_ID)?;
            let kind = kind(request.kind)?;
            let (told, status) = match system::by(request.caller, request.system)? {
                By::Caller(caller) => {
                    system::own("account_id", &request.account_id)?;
                    system::own("contact_id", &request.contact_id)?;
                    let by = portal::caller(&asked, caller, request.request_id, Some(place))?;
                    let (told, found) = self.own.status(by, kind).await?;
                    (told, found.as_ref().map(status))
                }
                By::System(name) => {
                    let whose = whose(kind, request.account_id, request.contact_id)?;
                    let by = system::asked(&asked, name, request.request_id, place);
                    let (told, found) = self.oversight.passphrase(by, whose, kind).await?;
                    (told, found.as_ref().map(status_for_system))
                }
            };
            let (decision_id, answer) = both(&told);
            Ok::<_, Refused>(pb::GetPassphraseStatusResponse { decision_id, answer, status })
        };
        self.reception.respond(&asked, outcome).await
    }

    async fn reopen_passphrase(
        &self,
        request: Request<pb::ReopenPassphraseRequest>,
    ) -> Result<Response<pb::ReopenPassphraseResponse>, Status> {
        let asked = self.reception.asked(Rpc::ReopenPassphrase, &request, &request.get_ref().request_id)?;
        let outcome = |place| async {
            let request = request.into_inner();
            portal::may_ask(&asked, request.caller.as_ref())?;
            request_id(&request.request_id, limits::REOPEN_PASSPHRASE_REQUEST_ID)?;
            let by = portal::caller(&asked, request.caller, request.request_id, Some(place))?;
            let told = self.own.reopen(by).await?;
            let (decision_id, answer) = both(&told);
            Ok::<_, Refused>(pb::ReopenPassphraseResponse { decision_id, answer })
        };
        self.reception.respond(&asked, outcome).await
    }

    async fn start_reset(
        &self,
        request: Request<pb::StartResetRequest>,
    ) -> Result<Response<pb::StartResetResponse>, Status> {
        let asked = self.reception.asked(Rpc::StartReset, &request, &request.get_ref().request_id)?;
        let outcome = |place| async {
            let request = request.into_inner();
            check_grants(&asked.client, asked.rpc, request.interaction.as_ref(), None)?;
            request_id(&request.request_id, limits::START_RESET_REQUEST_ID)?;
            let target = reset::target(request.target)?;
            let subject = subject(request.subject)?;
            let by = reset::asked(&asked, request.interaction, request.request_id, Some(place))?;
            let started = self.resetting.start(by, subject, target).await?;
            let expires_at = Some(timestamp(started.expires()));
            Ok::<_, Refused>(pb::StartResetResponse { reset_id: started.id().to_owned(), expires_at })
        };
        self.reception.respond(&asked, outcome).await
    }

    async fn complete_reset(
        &self,
        request: Request<pb::CompleteResetRequest>,
    ) -> Result<Response<pb::CompleteResetResponse>, Status> {
        let asked = self.reception.asked(Rpc::CompleteReset, &request, &request.get_ref().request_id)?;
        let outcome = |place| async {
            let request = request.into_inner();
            // From here on both are wiped, whatever becomes of them.
            let (mut text, code) = (Zeroizing::new(request.passphrase), Zeroizing::new(request.code));
            check_grants(&asked.client, asked.rpc, request.interaction.as_ref(), None)?;
            request_id(&request.request_id, limits::COMPLETE_RESET_REQUEST_ID)?;
            let reset = reset::id(request.reset_id, limits::COMPLETE_RESET_ID)?;
            within("code", code.len(), limits::COMPLETE_RESET_CODE)?;
            within("passphrase", text.len(), limits::COMPLETE_RESET_PASSPHRASE)?;
            for (field, is_empty) in [("code", code.is_empty()), ("passphrase", text.is_empty())] {
                if is_empty {
                    return Err(Invalid::required(field).into());
                }
            }
            let by = reset::asked(&asked, request.interaction, request.request_id, Some(place))?;
            let passphrase = Passphrase::new(std::mem::take(&mut *text))
                .map_err(|malformed| Invalid::new("passphrase", malformed.to_string()))?;
            let told = self.resetting.complete(by, reset, code, passphrase).await?;
            let (answer, weakness) = reset::answer(told.outcome());
            let decision_id = told.decision_id().to_owned();
            Ok::<_, Refused>(pb::CompleteResetResponse {
                decision_id,
                answer: answer.into(),
                weakness: weakness.into(),
            })
        };
        self.reception.respond(&asked, outcome).await
    }

    async fn read_reset(
        &self,
        request: Request<pb::ReadResetRequest>,
    ) -> Result<Response<pb::ReadResetResponse>, Status> {
        let asked = self.reception.asked(Rpc::ReadReset, &request, &request.get_ref().request_id)?;
        let outcome = |_place| async {
            let request = request.into_inner();
            check_grants(&asked.client, asked.rpc, None, None)?;
            request_id(&request.request_id, limits::READ_RESET_REQUEST_ID)?;
            let reset = reset::id(request.reset_id, limits::READ_RESET_ID)?;
            let client = Arc::clone(&asked.client);
            let read = self.resetting.read(client, reset, request.request_id, asked.arrived).await?;
            Ok::<_, Refused>(match read.due() {
                Some((code, due)) => {
                    pb::ReadResetResponse { code: code.reveal().to_owned(), targets: targets(Some(&due.delivery)) }
                }
                None => pb::ReadResetResponse::default(),
            })
        };
        self.reception.respond(&asked, outcome).await
    }

    async fn unlock_passphrase(
        &self,
        request: Request<pb::UnlockPassphraseRequest>,
    ) -> Result<Response<pb::UnlockPassphraseResponse>, Status> {
        let asked = self.reception.asked(Rpc::UnlockPassphrase, &request, &request.get_ref().request_id)?;
        let outcome = |place| async {
            let request = request.into_inner();
            portal::may_ask(&asked, request.caller.as_ref())?;
            request_id(&request.request_id, limits::UNLOCK_REQUEST_ID)?;
            let contact = visible("contact_id", request.contact_id, limits::UNLOCK_CONTACT_ID)?;
            if contact.is_empty() {
                return Err(Invalid::required("contact_id").into());
            }
            let by = portal::caller(&asked, request.caller, request.request_id, Some(place))?;
            let told = self.own.unlock(by, ContactId::new(contact)).await?;
            let answer = reset::unlocked(told.outcome()).into();
            Ok::<_, Refused>(pb::UnlockPassphraseResponse { decision_id: told.decision_id().to_owned(), answer })
        };
        self.reception.respond(&asked, outcome).await
    }
}

fn request_id(request_id: &str, limit: Limit) -> Parsed<()> {
    visible("request_id", request_id.to_owned(), limit).map(drop)
}

fn kind(raw: i32) -> Parsed<Kind> {
    match pb::PassphraseKind::try_from(raw) {
        Ok(pb::PassphraseKind::Own) => Ok(Kind::Own),
        Ok(pb::PassphraseKind::Account) => Ok(Kind::Account),
        Ok(pb::PassphraseKind::Keypad) => Ok(Kind::Keypad),
        Ok(pb::PassphraseKind::Unspecified) | Err(_) => zero("kind", raw, Kind::Own),
    }
}

fn both(told: &Told) -> (String, i32) {
    (told.decision_id().to_owned(), answer(told.outcome()).into())
}

fn answer(outcome: Outcome) -> pb::PassphraseAnswer {
    match outcome {
        Outcome::Done => pb::PassphraseAnswer::Done,
        Outcome::NotVerified => pb::PassphraseAnswer::NotVerified,
        Outcome::FreshLoginRequired => pb::PassphraseAnswer::FreshLoginRequired,
        Outcome::NotPermitted => pb::PassphraseAnswer::NotPermitted,
        Outcome::Weak(_) => pb::PassphraseAnswer::Weak,
        Outcome::NotSet => pb::PassphraseAnswer::NotSet,
        Outcome::NotClosed => pb::PassphraseAnswer::NotClosed,
        Outcome::NewOneNeeded => pb::PassphraseAnswer::NewOneNeeded,
        Outcome::NotFound => pb::PassphraseAnswer::NotFound,
    }
}

fn weakness(outcome: Outcome) -> pb::PassphraseWeakness {
    match outcome {
        Outcome::Weak(weakness) => of_weakness(weakness),
        Outcome::Done
        | Outcome::NotVerified
        | Outcome::FreshLoginRequired
        | Outcome::NotPermitted
        | Outcome::NotSet
        | Outcome::NotClosed
        | Outcome::NewOneNeeded
        | Outcome::NotFound => pb::PassphraseWeakness::Unspecified,
    }
}

fn of_weakness(weakness: Weakness) -> pb::PassphraseWeakness {
    match weakness {
        Weakness::TooShort => pb::PassphraseWeakness::TooShort,
        Weakness::Common => pb::PassphraseWeakness::Common,
        Weakness::Repetitive => pb::PassphraseWeakness::Repetitive,
        Weakness::Sequence => pb::PassphraseWeakness::Sequence,
        Weakness::OnRecord => pb::PassphraseWeakness::OnRecord,
        Weakness::Date => pb::PassphraseWeakness::Date,
    }
}

fn status(status: &CredentialStatus) -> pb::PassphraseStatus {
    let method = match status.method {
        SetMethod::Operator => pb::PassphraseSetMethod::Operator,
        SetMethod::PortalLogin => pb::PassphraseSetMethod::PortalLogin,
        SetMethod::OneTimeCode => pb::PassphraseSetMethod::OneTimeCode,
    };
    pb::PassphraseStatus {
        is_set: status.is_set,
        set_at: Some(timestamp(status.set_at)),
        method: method.into(),
        locked_until: status.locked_until.map(timestamp),
        closed: status.closed,
        reopenings_left: status.reopenings_left,
        suspended_at: status.suspended_at.map(timestamp),
        set_by: None,
        canonical_version: 0,
    }
}

fn status_for_system(found: &CredentialStatus) -> pb::PassphraseStatus {
    use pb::passphrase_setter::By;
    let by = match &found.set_by {
        Actor::Operator(name) => By::Operator(name.clone()),
        Actor::Client(name) => By::Client(name.clone()),
        Actor::Database(role) => By::DatabaseRole(role.clone()),
        Actor::Sidecar => By::Sidecar(true),
    };
    pb::PassphraseStatus {
        set_by: Some(pb::PassphraseSetter { by: Some(by) }),
        canonical_version: found.canonical_version,
        ..status(found)
    }
}

/// Whose passphrase a system means.
fn whose(kind: Kind, account: String, contact: String) -> Parsed<Whose> {
    let account = AccountId::new(system::of("account_id", account, limits::PASSPHRASE_STATUS_ACCOUNT)?);
    let contact = match kind {
        Kind::Account if contact.is_empty() => None,
        Kind::Account => return Err(Invalid::new("contact_id", "is not for kind ACCOUNT, which is the account's")),
        Kind::Own | Kind::Keypad => {
            Some(ContactId::new(system::of("contact_id", contact, limits::PASSPHRASE_STATUS_CONTACT)?))
        }
    };
    Ok(Whose { account, contact })
}
