//! `countersign.v1.PassphraseService`: admit, parse, have it done, answer.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

use super::{
    answer::timestamp,
    ask::{Invalid, Parsed, visible, within, zero},
    limits::{self, Limit},
    portal,
    proto::countersign::v1 as pb,
    reception::Reception,
    status::Refused,
};
use crate::{
    client::Rpc,
    directory::credential::{CredentialStatus, SetMethod},
    identity::{
        passphrase::Passphrase,
        strength::Weakness,
        words::{SUGGESTED_BITS, Suggestion},
    },
    manage::own_passphrase::{Kind, Outcome, OwnPassphrases, Told},
};

/// The service.
pub(super) struct Passphrases {
    pub(super) own: OwnPassphrases,
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
            let passphrase = Passphrase::new(std::mem::take(&mut *text))
                .map_err(|malformed| Invalid::new("passphrase", malformed.to_string()))?;
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
            portal::may_ask(&asked, request.caller.as_ref())?;
            request_id(&request.request_id, limits::PASSPHRASE_STATUS_REQUEST_ID)?;
            let kind = kind(request.kind)?;
            let by = portal::caller(&asked, request.caller, request.request_id, Some(place))?;
            let (told, found) = self.own.status(by, kind).await?;
            let (decision_id, answer) = both(&told);
            let status = found.as_ref().map(status);
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
}

fn request_id(request_id: &str, limit: Limit) -> Parsed<()> {
    visible("request_id", request_id.to_owned(), limit).map(drop)
}

fn kind(raw: i32) -> Parsed<Kind> {
    match pb::PassphraseKind::try_from(raw) {
        Ok(pb::PassphraseKind::Own) => Ok(Kind::Own),
        Ok(pb::PassphraseKind::Account) => Ok(Kind::Account),
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
    }
}

fn weakness(outcome: Outcome) -> pb::PassphraseWeakness {
    match outcome {
        Outcome::Weak(Weakness::TooShort) => pb::PassphraseWeakness::TooShort,
        Outcome::Weak(Weakness::Common) => pb::PassphraseWeakness::Common,
        Outcome::Weak(Weakness::Repetitive) => pb::PassphraseWeakness::Repetitive,
        Outcome::Weak(Weakness::Sequence) => pb::PassphraseWeakness::Sequence,
        Outcome::Weak(Weakness::OnRecord) => pb::PassphraseWeakness::OnRecord,
        Outcome::Done
        | Outcome::NotVerified
        | Outcome::FreshLoginRequired
        | Outcome::NotPermitted
        | Outcome::NotSet
        | Outcome::NotClosed
        | Outcome::NewOneNeeded => pb::PassphraseWeakness::Unspecified,
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
    }
}
