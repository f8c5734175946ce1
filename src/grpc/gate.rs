//! The way to the service: closed until the sidecar is proven. Before that every call is UNAVAILABLE, whoever asks.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use http_body_util::Either;
use tonic::{
    body::Body,
    codegen::{
        Service,
        http::{Request, Response},
    },
    server::NamedService,
};

use super::status::Refused;

/// A service that stands behind it once it is opened. It is never closed again.
pub(super) struct Gate<S> {
    behind: Arc<OnceLock<S>>,
}

impl<S> Gate<S> {
    /// Closed.
    pub(super) fn closed() -> Self {
        Self { behind: Arc::default() }
    }

    /// Lets every later call through to this service.
    pub(super) fn open(&self, service: S) {
        // A second opening changes nothing: calls are with the first.
        self.behind.set(service).ok();
    }
}

impl<S> Clone for Gate<S> {
    fn clone(&self) -> Self {
        Self { behind: Arc::clone(&self.behind) }
    }
}

impl<S: NamedService> NamedService for Gate<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone,
    S::Future: Unpin,
{
    type Response = Response<Either<B, Body>>;
    type Error = Infallible;
    type Future = Answering<S::Future>;

    /// Always: what stands behind is asked when the call is there.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self.behind.get() {
            Some(service) => Answering::Behind(service.clone().call(request)),
            None => Answering::Closed,
        }
    }
}

/// An answer on its way.
pub(super) enum Answering<F> {
    /// From the service.
    Behind(F),
    /// From the gate.
    Closed,
}

impl<F, B> Future for Answering<F>
where
    F: Future<Output = Result<Response<B>, Infallible>> + Unpin,
{
    type Output = Result<Response<Either<B, Body>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Behind(answering) => Pin::new(answering).poll(context).map_ok(|response| response.map(Either::Left)),
            Self::Closed => Poll::Ready(Ok(Refused::starting().status().into_http::<Body>().map(Either::Right))),
        }
    }
}
