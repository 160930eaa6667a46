//! Mail provider: SMTP with TLS or STARTTLS (RFC 5321, RFC 3207), one connection per message.

use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use lettre::address::Envelope;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message as Mail};
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use percent_encoding::percent_decode_str;
use reqwest::Url;
use stele_core::ports::CodeMessage;
use tokio::time::timeout;

use crate::Encryption;
use crate::retry::{DeliveryError, Provider};
use crate::text::MessageTexts;

/// Timeout of `QUIT`.
const QUIT_TIMEOUT: Duration = Duration::from_secs(1);

/// A mail server.
pub(super) struct SmtpProvider {
    host: String,
    port: u16,
    tls: TlsMode,
    credentials: Option<Credentials>,
    from: Mailbox,
    client_id: ClientId,
    texts: MessageTexts,
}

enum TlsMode {
    /// TLS from the first byte (`smtps`).
    Implicit(TlsParameters),
    /// STARTTLS. Nothing is sent to a server that does not offer it.
    StartTls(TlsParameters),
    Plaintext,
}

/// A mail in its form on the wire.
pub(super) struct OutboundMail {
    envelope: Envelope,
    bytes: Vec<u8>,
}

impl SmtpProvider {
    /// Parses `smtp://…` or `smtps://…`. Errors do not contain the URL, which may hold a password.
    pub(super) fn parse(url: &Url, texts: MessageTexts) -> Result<Self, String> {
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or("the mail server's URL has no host")?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let (mut from, mut tls_parameter) = (None, None);
        for (key, value) in url.query_pairs() {
            match key.as_ref() {
                "from" => {
                    let invalid_sender = |e| format!("`{value}` is not a valid sender (from=): {e}");
                    from = Some(value.parse().map_err(invalid_sender)?);
                }
                "tls" => tls_parameter = Some(value.into_owned()),
                other => {
                    return Err(format!(
                        "the mail server's URL has the unknown parameter `{other}`; use from= or tls="
                    ));
                }
            }
        }
        let from = from.ok_or("the mail server's URL needs a sender: add ?from=codes@example.com")?;
        let build_tls_parameters = || {
            // Checked at start: otherwise every mail would fail at delivery.
            if rustls_native_certs::load_native_certs().certs.is_empty() {
                return Err("this machine has no CA certificates; install the package ca-certificates".to_owned());
            }
            TlsParameters::new(host.clone()).map_err(|e| format!("TLS to the mail server cannot be set up: {e}"))
        };
        let (tls, default_port) = match (url.scheme(), tls_parameter.as_deref()) {
            ("smtps", None) => (TlsMode::Implicit(build_tls_parameters()?), 465),
            ("smtps", Some(_)) => return Err("smtps:// is always encrypted; remove tls=".into()),
            (_, None | Some("required")) => (TlsMode::StartTls(build_tls_parameters()?), 587),
            (_, Some("none")) => (TlsMode::Plaintext, 587),
            (_, Some(other)) => return Err(format!("tls={other} is neither `required` (STARTTLS) nor `none`")),
        };
        let decode = |text: &str| percent_decode_str(text).decode_utf8().map(String::from);
        let credentials = match (url.username(), url.password()) {
            ("", None) => None,
            (user, Some(password)) if !user.is_empty() => match (decode(user), decode(password)) {
                (Ok(user), Ok(password)) => Some(Credentials::new(user, password)),
                _ => return Err("the mail server's user or password is not percent-encoded UTF-8".into()),
            },
            _ => return Err("the mail server's URL needs a user and a password, or neither".into()),
        };
        let port = url.port().unwrap_or(default_port);
        Ok(Self { host, port, tls, credentials, from, client_id: ClientId::default(), texts })
    }

    /// Encryption of codes and of the password, if any, on the network.
    pub(super) fn encryption(&self) -> Encryption {
        match self.tls {
            TlsMode::Implicit(_) | TlsMode::StartTls(_) => Encryption::Tls,
            TlsMode::Plaintext => Encryption::Plaintext,
        }
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, DeliveryError> {
        let implicit_tls = match &self.tls {
            TlsMode::Implicit(parameters) => Some(parameters.clone()),
            _ => None,
        };
        let server = (self.host.as_str(), self.port);
        // No timeout here: the caller limits the whole attempt.
        let connection = AsyncSmtpConnection::connect_tokio1(server, None, &self.client_id, implicit_tls, None).await;
        let mut connection = connection.map_err(|e| DeliveryError::provider_unavailable(describe_error(&e)))?;
        if let TlsMode::StartTls(parameters) = &self.tls {
            let upgraded = connection.starttls(parameters.clone(), &self.client_id).await;
            upgraded.map_err(|e| DeliveryError::provider_unavailable(describe_error(&e)))?;
        }
        if let Some(credentials) = &self.credentials {
            let authenticated = connection.auth(&[Mechanism::Plain, Mechanism::Login], credentials).await;
            authenticated.map_err(|e| match reply_code(&e) {
                Some(400..500) | None => DeliveryError::provider_unavailable(describe_error(&e)),
                Some(_) => DeliveryError::provider_denied_access(describe_error(&e)),
            })?;
        }
        Ok(connection)
    }
}

#[async_trait]
impl Provider for SmtpProvider {
    type OutboundMessage = OutboundMail;

    const CHANNEL: &'static str = "email";

    fn prepare(&self, message: &CodeMessage) -> Result<OutboundMail, DeliveryError> {
        let invalid_recipient = |_| DeliveryError::message_rejected("the recipient is not a valid mail address");
        // The canonical form that the account was found by, not the user's spelling: letters that merely fold to the
        // account's may name another person's mailbox (CVE-2019-19844).
        let to = message.to.key().parse().map_err(invalid_recipient)?;
        let text = self.texts.render_mail(message);
        let date = UNIX_EPOCH + Duration::from_micros(message.at.as_micros().try_into().unwrap_or_default());
        let auto_submitted = HeaderName::new_from_ascii_str("Auto-Submitted");
        let mail = Mail::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .date(date)
            .message_id(None)
            .subject(text.subject)
            .raw_header(HeaderValue::new(auto_submitted, "auto-generated".into()))
            .header(ContentType::TEXT_PLAIN)
            .body(text.body.to_string())
            .map_err(|_| DeliveryError::message_rejected("the mail cannot be encoded"))?;
        Ok(OutboundMail { envelope: mail.envelope().clone(), bytes: mail.formatted() })
    }

    async fn send(&self, mail: &OutboundMail) -> Result<(), DeliveryError> {
        let mut connection = self.connect().await?;
        connection.send(&mail.envelope, &mail.bytes).await.map_err(|e| match reply_code(&e) {
            None if e.is_client() => {
                DeliveryError::message_rejected("the mail server does not support internationalized addresses")
            }
            None | Some(421) => DeliveryError::provider_unavailable(describe_error(&e)),
            Some(400..500) => DeliveryError::message_deferred(describe_error(&e)),
            Some(530..=538) => DeliveryError::provider_denied_access(describe_error(&e)),
            Some(_) => DeliveryError::message_rejected(describe_error(&e)),
        })?;
        // The mail is accepted: an error in `QUIT` must not cause a retry.
        tokio::spawn(async move { timeout(QUIT_TIMEOUT, connection.abort()).await });
        Ok(())
    }
}

fn reply_code(error: &SmtpError) -> Option<u16> {
    error.status().map(u16::from)
}

/// Describes an error for the log. Of a server's reply, shows only the code, since the text may contain addresses.
fn describe_error(error: &SmtpError) -> String {
    match error.status() {
        Some(code) => format!("the mail server replied {code}"),
        None if error.is_response() => "the mail server's reply is not valid SMTP".into(),
        None => stele_service::with_sources(error),
    }
}
