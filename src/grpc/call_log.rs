//! One event and one count per call, whatever became of it. `docs/observability.md` has the event field by field.
//!
//! It stands around the service, so that a message which cannot be decoded, or a client that hangs up, is seen as well.
//! Strangers make no event of their own: whoever knocks often must not fill the log. The audit sums them up.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tonic::{
    Code,
    body::Body,
    codegen::{
        Service,
        http::{HeaderMap, Request, Response},
    },
    server::NamedService,
};

use super::{status::code_name, trace_context::TraceContext};
use crate::{
    authorize::{Call, Decision, Reply, Step, Stopwatch},
    client::Rpc,
    clock::Clock,
    telemetry::metrics::{Called, Metrics},
};

/// What the log knows of a call so far; the service adds to it.
pub(super) type Entry = Arc<Mutex<Noted>>;

/// See [`Entry`]. Nothing in it is an account, a contact, a number or an interaction.
#[derive(Default)]
pub(super) struct Noted {
    client: Option<String>,
    request_id: Option<String>,
    trace: Option<TraceContext>,
    channel: Option<&'static str>,
    action: Option<String>,
    stopwatch: Option<Arc<Stopwatch>>,
    decided: Option<Decided>,
    error: &'static str,
}

/// What was decided: of the one action, or of how many.
struct Decided {
    one: Option<One>,
    items: usize,
    allowed: usize,
}

struct One {
    decision: &'static str,
    reason: &'static str,
    decision_id: String,
}

impl Noted {
    /// Who asks.
    pub(super) fn asked(&mut self, client: &str, request_id: &str) {
        self.client = Some(client.to_owned());
        self.request_id = (!request_id.is_empty()).then(|| request_id.to_owned());
    }

    /// What is asked. The action of a batch is none; that of one is told only once policy is known to have it.
    pub(super) fn parsed(&mut self, call: &Call, action: Option<&str>) {
        self.channel = Some(call.interaction.channel.code());
        self.action = action.map(str::to_owned);
        self.stopwatch = Some(Arc::clone(&call.stopwatch));
    }

    /// What was answered.
    pub(super) fn answered(&mut self, reply: &Reply) {
        let answers = reply.answers();
        let one = match (&self.action, answers) {
            (Some(_), [answer]) => Some(One {
                decision: answer.decision.code(),
                reason: answer.decision.reason().code(),
                decision_id: answer.decision_id.clone(),
            }),
            (_, _) => None,
        };
        let allowed = answers.iter().filter(|answer| matches!(answer.decision, Decision::Allow(_))).count();
        self.decided = Some(Decided { one, items: answers.len(), allowed });
    }

    /// Why nothing was decided.
    pub(super) fn refused(&mut self, reason: &'static str) {
        self.error = reason;
    }
}

/// Adds to what the log knows of a call.
pub(super) fn note(entry: Option<&Entry>, add: impl FnOnce(&mut Noted)) {
    if let Some(entry) = entry {
        add(&mut entry.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The service, with a log around it.
#[derive(Clone)]
pub(super) struct CallLog<S> {
    pub(super) inner: S,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Arc<dyn Clock>,
}

impl<S: NamedService> NamedService for CallLog<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B> Service<Request<Body>> for CallLog<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let noted = Noted { trace: TraceContext::of(request.headers()), ..Noted::default() };
        let entry = Arc::new(Mutex::new(noted));
        request.extensions_mut().insert(Arc::clone(&entry));
        let mut open = Open {
            rpc: rpc(request.uri().path()),
            entry,
            metrics: Arc::clone(&self.metrics),
            clock: Arc::clone(&self.clock),
            arrived: self.clock.uptime(),
            status: Code::Cancelled,
        };
        open.metrics.begun();
        let answering = self.inner.call(request);
        Box::pin(async move {
            let response = answering.await;
            if let Ok(response) = &response {
                open.answered(response.headers());
            }
            response
        })
    }
}

/// The RPC that a path names.
fn rpc(path: &str) -> &'static str {
    let named = path.rsplit('/').next().unwrap_or_default();
    Rpc::ALL.into_iter().map(Rpc::name).find(|name| *name == named).unwrap_or("other")
}

/// A call that has not ended. It is told when it is dropped: also when its client has gone.
struct Open {
    rpc: &'static str,
    entry: Entry,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    arrived: Duration,
    status: Code,
}

impl Open {
    /// An error stands in the headers; without one the answer is on its way.
    fn answered(&mut self, headers: &HeaderMap) {
        let status = headers.get("grpc-status");
        self.status = status.map_or(Code::Ok, |status| Code::from_bytes(status.as_bytes()));
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let noted = std::mem::take(&mut *self.entry.lock().unwrap_or_else(PoisonError::into_inner));
        let laps = noted.stopwatch.as_ref().map(|stopwatch| stopwatch.laps()).unwrap_or_default();
        let took = self.clock.uptime().saturating_sub(self.arrived);
        let (rpc, status, error) = (self.rpc, code_name(self.status), noted.error);
        let client = noted.client.as_deref();
        self.metrics.ended(&Called { rpc, client: client.unwrap_or("unknown"), status, error, took, laps: &laps });
        let Some(client) = client else { return };

        let us = |took: Duration| u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let lap = |step| laps.iter().find(|(other, _)| *other == step).map(|(_, took)| us(*took));
        let decided = noted.decided.as_ref();
        let one = decided.and_then(|decided| decided.one.as_ref());
        tracing::info!(
            target: "countersign::call",
            rpc,
            client,
            request_id = noted.request_id.as_deref(),
            trace_id = noted.trace.as_ref().map(|trace| trace.trace.as_str()),
            parent_id = noted.trace.as_ref().map(|trace| trace.parent.as_str()),
            channel = noted.channel,
            action = one.and(noted.action.as_deref()),
            decision = one.map(|one| one.decision),
            reason = one.map(|one| one.reason),
            decision_id = one.map(|one| one.decision_id.as_str()),
            items = decided.map(|decided| decided.items),
            allowed = decided.map(|decided| decided.allowed),
            status,
            error = (!error.is_empty()).then_some(error),
            took_us = us(took),
            directory_us = lap(Step::Directory),
            throttle_us = lap(Step::Throttle),
            hash_us = lap(Step::Hash),
            policy_us = lap(Step::Policy),
            audit_us = lap(Step::Audit),
            release_us = lap(Step::Release),
            "call"
        );
    }
}
