//! Sends a notice by mail.

use std::{path::PathBuf, time::Duration};

use async_trait::async_trait;
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message as Mail, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, CertificateStore, Tls, TlsParameters},
    },
};

use super::delivery::{Message, Refused, Sender};
use crate::private_file;

/// How the connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// The connection begins in the clear, and nothing is said before it is protected (RFC 3207).
    Starttls,
    /// It is protected from the first byte (RFC 8314).
    Implicit,
    /// By nothing: for a relay on this host.
    Off,
}

/// A relay, and the account there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The host; its certificate must name it.
    pub host: String,
    /// The port.
    pub port: u16,
    /// How the connection is protected.
    pub protection: Protection,
    /// The user and the file with his password; `None`: the relay asks for none.
    pub login: Option<(String, PathBuf)>,
    /// The authority of its certificate; `None`: those that the web trusts.
    pub ca_file: Option<PathBuf>,
    /// From whom mail comes.
    pub from: String,
    /// So long a mail may take.
    pub patience: Duration,
}

/// The way.
pub struct Smtp {
    settings: Settings,
    from: Mailbox,
    tls: Tls,
}

impl Smtp {
    /// A way through this relay.
    ///
    /// # Errors
    /// The setting that will not do, and why.
    pub fn new(settings: Settings) -> Result<Self, (&'static str, String)> {
        let from: Mailbox = settings
            .from
            .parse()
            .map_err(|_| ("from", "must be an address such as \"Support <no-reply@carrier.example>\"".to_owned()))?;
        if let Some((_, file)) = &settings.login {
            drop(private_file::line(file, 1).map_err(|why| ("password_file", why))?);
        }
        let tls = tls(&settings).map_err(|why| ("ca_file", why))?;
        Ok(Self { settings, from, tls })
    }

    async fn mail(&self, message: &Message) -> Result<(), Refused> {
        let to: Mailbox = message
            .notice
            .target
            .address()
            .parse()
            .map_err(|_| Refused::ForGood("the address is none that mail can be sent to".to_owned()))?;
        let domain = self.from.email.domain();
        let mail = Mail::builder()
            .from(self.from.clone())
            .to(to)
            .subject(&message.subject)
            // The same in every attempt: RFC 5322 has it name one message.
            .message_id(Some(format!("<{}@{domain}>", message.notice.id)))
            .header(ContentType::TEXT_PLAIN)
            .body(message.body.clone())
            .map_err(|error| Refused::ForGood(error.to_string()))?;
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&self.settings.host)
            .port(self.settings.port)
            .tls(self.tls.clone())
            .timeout(Some(self.settings.patience));
        if let Some((user, file)) = &self.settings.login {
            let password = private_file::line(file, 1).map_err(Refused::ForNow)?;
            transport = transport.credentials(Credentials::new(user.clone(), password.as_str().to_owned()));
        }
        match transport.build().send(mail).await {
            Ok(_) => Ok(()),
            // Refused for good is a recipient; a login or a relay that is set up wrongly is mended, and costs no notice.
            Err(error) if error.is_permanent() && is_about_recipient(&error) => Err(Refused::ForGood(code(&error))),
            Err(error) => Err(Refused::ForNow(code(&error))),
        }
    }
}

#[async_trait]
impl Sender for Smtp {
    async fn send(&self, message: &Message) -> Result<(), Refused> {
        self.mail(message).await
    }
}

/// 550 to 553: no such mailbox (RFC 5321, section 4.2.3).
fn is_about_recipient(error: &lettre::transport::smtp::Error) -> bool {
    error.status().is_some_and(|code| (550..=553).contains(&u16::from(code)))
}

/// The code alone: what a relay says may repeat the address.
fn code(error: &lettre::transport::smtp::Error) -> String {
    match error.status() {
        Some(code) => format!("SMTP {code}"),
        None if error.is_timeout() => "the relay does not answer in time".to_owned(),
        None if error.is_tls() => format!("TLS: {error}"),
        None => error.to_string(),
    }
}

fn tls(settings: &Settings) -> Result<Tls, String> {
    let parameters = || {
        let mut parameters = TlsParameters::builder(settings.host.clone());
        if let Some(path) = &settings.ca_file {
            let shown = path.display();
            let pem = std::fs::read(path).map_err(|error| format!("{shown} cannot be read: {error}"))?;
            let certificate =
                Certificate::from_pem(&pem).map_err(|_| format!("{shown} holds no certificate in PEM form"))?;
            // That authority, and none beside it.
            parameters = parameters.certificate_store(CertificateStore::None).add_root_certificate(certificate);
        }
        parameters.build_rustls().map_err(|error| error.to_string())
    };
    match settings.protection {
        Protection::Off => Ok(Tls::None),
        Protection::Starttls => Ok(Tls::Required(parameters()?)),
        Protection::Implicit => Ok(Tls::Wrapper(parameters()?)),
    }
}
