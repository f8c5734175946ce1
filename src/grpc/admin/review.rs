//! A review, as an operator's command hears it.

use tokio::sync::{mpsc, watch};
use tonic::Status;

use super::{json, pb, status, told};
use crate::manage::review::{Part, Reviewing};

/// Sends what a review finds, part by part, until the client goes away or the sidecar stops.
pub(super) async fn tell_parts(
    mut reviewing: Reviewing,
    parts: mpsc::Sender<Result<pb::ReviewResponse, Status>>,
    stopped: watch::Receiver<bool>,
) {
    let stopped = told(stopped);
    tokio::pin!(stopped);
    let contacts_total = reviewing.total();
    loop {
        let next = tokio::select! {
            () = &mut stopped => Err(Status::unavailable("the sidecar stops")),
            () = parts.closed() => return,
            next = reviewing.next() => next.map_err(status),
        };
        let (sent, is_over) = match next {
            Ok(Some(part)) => (parts.send(review_part(&part, contacts_total)).await, false),
            Ok(None) => return,
            Err(error) => (parts.send(Err(error)).await, true),
        };
        if sent.is_err() || is_over {
            return;
        }
    }
}

fn review_part(part: &Part, contacts_total: u64) -> Result<pb::ReviewResponse, Status> {
    Ok(pb::ReviewResponse {
        finding_json: part.findings.iter().map(json).collect::<Result<_, _>>()?,
        accounts: part.accounts,
        contacts: part.contacts,
        contacts_total,
        closed_accounts: part.closed_accounts,
    })
}
