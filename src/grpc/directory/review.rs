//! Sends what a review finds, part by part. One part at a time is read ahead: whoever reads slowly holds nothing up.

use std::pin::Pin;

use jiff::SignedDuration;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::Status;

use super::{answer::outcome, pb};
use crate::{
    directory::AccountId,
    grpc::{
        ask::{Invalid, Parsed, given, visible},
        limits,
        server::told,
        status::Refused,
    },
    manage::{
        directory::Told,
        review::{Part, Reviewing},
    },
    review::{Finding, Severity},
};

/// How many reviews run at the same time, beside decisions: each reads the directory as fast as its client reads it.
pub(in crate::grpc) const MOST_REVIEWING: usize = 4;

/// What a client reads.
pub(in crate::grpc) type Reviewed = Pin<Box<dyn Stream<Item = Result<pb::ReviewAccountResponse, Status>> + Send>>;

pub(super) fn ask(request: &pb::ReviewAccountRequest) -> Parsed<(Option<AccountId>, SignedDuration)> {
    visible("request_id", request.request_id.clone(), limits::REVIEW_ACCOUNT_REQUEST_ID)?;
    let account = visible("account_id", request.account_id.clone(), limits::REVIEW_ACCOUNT_ID)?;
    let days = match request.idle_days {
        0 => USUAL_IDLE_DAYS,
        days if days <= MOST_IDLE_DAYS => days,
        _ => return Err(Invalid::new("idle_days", format!("more than {MOST_IDLE_DAYS}"))),
    };
    Ok((given(account).map(AccountId::new), SignedDuration::from_hours(24 * i64::from(days))))
}

/// The answer, and then what is found.
pub(super) fn answer(
    answer: &Told,
    reviewing: Option<Reviewing>,
    place: OwnedSemaphorePermit,
    stopped: watch::Receiver<bool>,
) -> Reviewed {
    let first = pb::ReviewAccountResponse {
        decision_id: answer.decision_id().to_owned(),
        answer: outcome(answer.outcome()).into(),
        contacts_total: reviewing.as_ref().map_or(0, Reviewing::total),
        ..pb::ReviewAccountResponse::default()
    };
    let (parts, read) = mpsc::channel(1);
    tokio::spawn(send(first, reviewing, parts, place, stopped));
    Box::pin(ReceiverStream::new(read))
}

async fn send(
    first: pb::ReviewAccountResponse,
    reviewing: Option<Reviewing>,
    parts: mpsc::Sender<Result<pb::ReviewAccountResponse, Status>>,
    _place: OwnedSemaphorePermit,
    stopped: watch::Receiver<bool>,
) {
    let of_this = pb::ReviewAccountResponse { ..first.clone() };
    if parts.send(Ok(first)).await.is_err() {
        return;
    }
    let Some(mut reviewing) = reviewing else { return };
    let stopped = told(stopped);
    tokio::pin!(stopped);
    loop {
        let next = tokio::select! {
            () = &mut stopped => Err(Status::unavailable("the sidecar stops")),
            () = parts.closed() => return,
            next = reviewing.next() => next.map_err(|error| Refused::from(error).status()),
        };
        let (sent, is_over) = match next {
            Ok(Some(found)) => (parts.send(Ok(part(&of_this, &found))).await, false),
            Ok(None) => return,
            Err(error) => (parts.send(Err(error)).await, true),
        };
        if sent.is_err() || is_over {
            return;
        }
    }
}

fn part(of_this: &pb::ReviewAccountResponse, found: &Part) -> pb::ReviewAccountResponse {
    pb::ReviewAccountResponse {
        findings: found.findings.iter().map(finding).collect(),
        accounts: found.accounts,
        contacts: found.contacts,
        closed_accounts: found.closed_accounts,
        ..of_this.clone()
    }
}

fn finding(finding: &Finding) -> pb::ReviewFinding {
    let severity = match finding.severity {
        Severity::Low => pb::ReviewSeverity::Low,
        Severity::Medium => pb::ReviewSeverity::Medium,
        Severity::High => pb::ReviewSeverity::High,
    };
    pb::ReviewFinding {
        kind: finding.kind.code().to_owned(),
        severity: severity.into(),
        account_id: finding.account.to_string(),
        contact_id: finding.contact.as_ref().map(ToString::to_string).unwrap_or_default(),
        detail: finding.detail.clone(),
        meaning: finding.meaning.clone(),
        remedy: finding.remedy.clone(),
    }
}

const USUAL_IDLE_DAYS: u32 = 90;
const MOST_IDLE_DAYS: u32 = 3650;
