//! The port from which Prometheus reads: `GET /metrics` on loopback, and nothing else.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::CONTENT_TYPE,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, task::JoinSet, time};

use super::metrics::{self, Metrics};

/// How many may read at the same time; more wait to be accepted.
const READERS: usize = 8;

/// How long one reader may take in all.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait when no connection can be accepted, for want of file descriptors.
const BREATH: Duration = Duration::from_millis(100);

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>) {
    let mut readers = JoinSet::new();
    loop {
        while readers.len() >= READERS {
            readers.join_next().await;
        }
        let Ok((stream, _)) = listener.accept().await else {
            time::sleep(BREATH).await;
            continue;
        };
        while readers.try_join_next().is_some() {}
        let metrics = Arc::clone(&metrics);
        let answer = service_fn(move |request| {
            let response = respond(&request, &metrics);
            async move { Ok::<_, Infallible>(response) }
        });
        let mut connection = http1::Builder::new();
        connection.timer(TokioTimer::new()).keep_alive(false);
        let connection = connection.serve_connection(TokioIo::new(stream), answer);
        // Whoever reads too slowly, or sends no HTTP, is cut off: nobody is told.
        readers.spawn(async move { drop(time::timeout(PATIENCE, connection).await) });
    }
}

fn respond(request: &Request<Incoming>, metrics: &Metrics) -> Response<Full<Bytes>> {
    let (status, text) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => (StatusCode::OK, metrics.encode()),
        (_, "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "the metrics are at /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(metrics::CONTENT_TYPE));
    response
}
