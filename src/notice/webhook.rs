//! Sends a notice by HTTP POST, signed, to a system of the carrier that delivers it.
//!
//! The receiver computes HMAC-SHA256 with the shared secret over `TIMESTAMP.BODY` and compares it with the header; a timestamp
//! that is old is a replay. `Idempotency-Key` is the same in every attempt.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, body::Bytes, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use sha2::Sha256;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore, crypto,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

use super::delivery::{Message, Refused, Sender};
use crate::{clock::Clock, private_file};

/// Where notices are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Whether the connection is protected.
    pub is_tls: bool,
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path, with its query.
    pub path: String,
}

impl Address {
    /// Parses an `https://` address, or an `http://` one of this host.
    ///
    /// # Errors
    /// Why it will not do.
    pub fn parse(url: &str) -> Result<Self, String> {
        let uri: hyper::Uri = url.parse().map_err(|_| "must be an address such as https://host/path".to_owned())?;
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("must begin with https://".to_owned()),
        };
        let host = uri.host().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if bare.is_empty() || uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("must name a host, and no user".to_owned());
        }
        let is_here =
            bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        if !is_tls && !is_here {
            return Err("must begin with https://: only to this host nothing need be protected".to_owned());
        }
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", hyper::http::uri::PathAndQuery::as_str).to_owned();
        Ok(Self { is_tls, host: bare, port, path })
    }

    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// A receiver, and the secret that it shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where it is.
    pub address: Address,
    /// The file with the secret.
    pub secret_file: PathBuf,
    /// The authority of its certificate; `None`: those that the web trusts.
    pub ca_file: Option<PathBuf>,
}

/// The way.
pub struct Webhook {
    settings: Settings,
    tls: Option<TlsConnector>,
    clock: Arc<dyn Clock>,
}

impl Webhook {
    /// A way to this receiver.
    ///
    /// # Errors
    /// The setting that will not do, and why: a file that cannot be read, or is open to others.
    pub fn new(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, (&'static str, String)> {
        drop(private_file::line(&settings.secret_file, SHORTEST_SECRET).map_err(|why| ("secret_file", why))?);
        let tls = settings.address.is_tls.then(|| connector(&settings)).transpose().map_err(|why| ("ca_file", why))?;
        Ok(Self { settings, tls, clock })
    }

    async fn post(&self, message: &Message) -> Result<u16, String> {
        let Settings { address, secret_file, .. } = &self.settings;
        let body = serde_json::to_vec(&Posted::of(message)).map_err(|error| error.to_string())?;
        let timestamp = self.clock.now().as_second().to_string();
        let secret = private_file::line(secret_file, SHORTEST_SECRET)?;
        let signature = sign(secret.as_bytes(), &timestamp, &body);
        let request = Request::post(&address.path)
            .header(HOST, address.authority())
            .header("content-type", "application/json")
            .header("user-agent", concat!("countersign/", env!("CARGO_PKG_VERSION")))
            .header("idempotency-key", &message.notice.id)
            .header("countersign-timestamp", &timestamp)
            .header("countersign-signature", format!("v1={signature}"))
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| error.to_string())?;
        let tcp = TcpStream::connect((address.host.as_str(), address.port)).await.map_err(|error| error.to_string())?;
        match &self.tls {
            None => exchange(tcp, request).await,
            Some(tls) => {
                let name = ServerName::try_from(address.host.clone()).map_err(|error| error.to_string())?;
                exchange(tls.connect(name, tcp).await.map_err(|error| error.to_string())?, request).await
            }
        }
    }
}

#[async_trait]
impl Sender for Webhook {
    async fn send(&self, message: &Message) -> Result<(), Refused> {
        match self.post(message).await {
            Ok(status) if (200..300).contains(&status) => Ok(()),
            // Somebody who can answer for the receiver must not say where people's addresses go.
            Ok(status) if (300..400).contains(&status) => {
                Err(Refused::ForNow(format!("HTTP {status}: redirects are not followed")))
            }
            // Whatever else it says may be a mistake that is mended: nothing is lost while it is tried again.
            Ok(status) => Err(Refused::ForNow(format!("HTTP {status}"))),
            Err(why) => Err(Refused::ForNow(why)),
        }
    }
}

/// What is posted.
#[derive(Serialize)]
struct Posted<'a> {
    id: &'a str,
    kind: &'static str,
    account: &'a str,
    contact: Option<&'a str>,
    recipient: Option<&'a str>,
    to: To<'a>,
    count: u32,
    happened: String,
    locale: &'a str,
    subject: &'a str,
    text: &'a str,
}

#[derive(Serialize)]
struct To<'a> {
    way: &'static str,
    address: &'a str,
}

impl<'a> Posted<'a> {
    fn of(message: &'a Message) -> Self {
        let notice = &message.notice;
        Self {
            id: &notice.id,
            kind: notice.kind.code(),
            account: notice.account.as_str(),
            contact: notice.about.as_ref().map(crate::directory::ContactId::as_str),
            recipient: notice.recipient.as_ref().map(crate::directory::ContactId::as_str),
            to: To { way: notice.target.way(), address: notice.target.address() },
            count: notice.count,
            happened: notice.created.to_string(),
            locale: &message.locale,
            subject: &message.subject,
            text: &message.body,
        }
    }
}

async fn exchange<IO>(io: IO, request: Request<Full<Bytes>>) -> Result<u16, String>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await.map_err(|error| error.to_string())?;
    let answered = async {
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        // Read, so that the receiver is not cut off; what it says is of no interest.
        drop(Limited::new(response.into_body(), LONGEST_ANSWER).collect().await);
        Ok(status)
    };
    tokio::pin!(answered);
    tokio::select! {
        answered = &mut answered => answered,
        ended = connection => match ended {
            // All that came is in the hands of the other half by now.
            Ok(()) => answered.await,
            Err(error) => Err(error.to_string()),
        },
    }
}

/// HMAC-SHA256 over timestamp, a full stop, and body; in hex.
fn sign(secret: &[u8], timestamp: &str, body: &[u8]) -> String {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret).expect("HMAC takes a key of any length");
    for part in [timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes())
}

fn connector(settings: &Settings) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    match &settings.ca_file {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let shown = path.display();
            let pem = std::fs::read(path).map_err(|error| format!("{shown} cannot be read: {error}"))?;
            let found = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
            let (added, _) = roots.add_parsable_certificates(found.map_err(|error| format!("{shown}: {error}"))?);
            if added == 0 {
                return Err(format!("{shown} holds no certificate in PEM form"));
            }
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// RFC 2104: a secret shorter than the hash weakens it.
pub const SHORTEST_SECRET: usize = 32;

const LONGEST_ANSWER: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_https_or_of_this_host() {
        let address = Address::parse("https://notify.example:8443/in?x=1").unwrap();
        let wanted = ("notify.example", 8443, "/in?x=1", true);
        assert_eq!((address.host.as_str(), address.port, address.path.as_str(), address.is_tls), wanted);
        assert_eq!(Address::parse("http://127.0.0.1:9000/").unwrap().port, 9000);
        assert_eq!(Address::parse("http://[::1]:9000/in").unwrap().authority(), "[::1]:9000");
        for url in ["http://notify.example/", "ftp://x/", "https://", "notify", "https://u:p@host/"] {
            assert!(Address::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn the_signature_is_that_of_timestamp_and_body() {
        // python3 -c 'import hmac; print(hmac.new(b"k"*32, b"1764000000.{}", "sha256").hexdigest())'
        let expected = "99d67f8aa9d2c99d56c9bb09125d79710bc91e65aa9a86e018c9ddc9c28c54df";
        assert_eq!(sign(&[b'k'; 32], "1764000000", b"{}"), expected);
    }
}
