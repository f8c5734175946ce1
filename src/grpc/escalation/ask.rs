//! From messages to what is asked: one function per message enforces its limits and parses it.

use jiff::Timestamp;

use super::pb;
use crate::{
    directory::escalations::After,
    grpc::{
        ask::{Invalid, Parsed, visible, within, zero},
        limits::{self, Limit},
    },
};

/// A page that is asked for.
pub(super) struct Page {
    pub(super) only_pending: bool,
    pub(super) after: Option<After>,
    pub(super) size: u32,
}

const USUAL_PAGE: u32 = 50;
const LARGEST_PAGE: u32 = 100;

pub(super) fn get(request: &pb::GetEscalationRequest) -> Parsed<String> {
    checked(&request.request_id, limits::GET_ESCALATION_REQUEST_ID)?;
    id(&request.escalation_id, limits::GET_ESCALATION_ID)
}

pub(super) fn list(request: &pb::ListEscalationsRequest) -> Parsed<Page> {
    checked(&request.request_id, limits::LIST_ESCALATIONS_REQUEST_ID)?;
    let only_pending = match request.filter() {
        pb::EscalationFilter::Pending => true,
        pb::EscalationFilter::All => false,
        pb::EscalationFilter::Unspecified => zero("filter", request.filter, false)?,
    };
    let size = match request.page_size {
        0 => USUAL_PAGE,
        size if size <= LARGEST_PAGE => size,
        _ => return Err(Invalid::new("page_size", format!("more than {LARGEST_PAGE}"))),
    };
    within("page_token", request.page_token.len(), limits::LIST_ESCALATIONS_PAGE_TOKEN)?;
    let after = match request.page_token.as_str() {
        "" => None,
        token => Some(page(token).ok_or_else(|| Invalid::new("page_token", "is not one of ours"))?),
    };
    Ok(Page { only_pending, after, size })
}

pub(super) fn watch(request: &pb::WatchEscalationsRequest) -> Parsed<()> {
    checked(&request.request_id, limits::WATCH_ESCALATIONS_REQUEST_ID)
}

pub(super) fn approve(request: &pb::ApproveEscalationRequest) -> Parsed<String> {
    checked(&request.request_id, limits::APPROVE_ESCALATION_REQUEST_ID)?;
    id(&request.escalation_id, limits::APPROVE_ESCALATION_ID)
}

pub(super) fn refuse(request: &pb::RefuseEscalationRequest) -> Parsed<String> {
    checked(&request.request_id, limits::REFUSE_ESCALATION_REQUEST_ID)?;
    id(&request.escalation_id, limits::REFUSE_ESCALATION_ID)
}

pub(super) fn cancel(request: &pb::CancelEscalationRequest) -> Parsed<String> {
    checked(&request.request_id, limits::CANCEL_ESCALATION_REQUEST_ID)?;
    id(&request.escalation_id, limits::CANCEL_ESCALATION_ID)
}

/// The token of a page: when its last escalation was opened, in microseconds, and its id. It opens nothing: what is listed
/// is what the person may see.
pub(super) fn page_token(opened: Timestamp, id: &str) -> String {
    format!("{}.{id}", opened.as_microsecond())
}

fn page(token: &str) -> Option<After> {
    let (opened, id) = token.split_once('.')?;
    let opened = Timestamp::from_microsecond(opened.parse().ok()?).ok()?;
    let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic());
    is_id.then(|| After { opened, id: id.to_owned() })
}

fn id(id: &str, limit: Limit) -> Parsed<String> {
    let id = visible("escalation_id", id.to_owned(), limit)?;
    if id.is_empty() { Err(Invalid::required("escalation_id")) } else { Ok(id) }
}

fn checked(request_id: &str, limit: Limit) -> Parsed<()> {
    visible("request_id", request_id.to_owned(), limit).map(drop)
}
