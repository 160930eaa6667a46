//! Delivery of verification codes: to the development outbox, or by a provider for each channel (mail, short messages).
//!
//! - `outbox`: JSON lines in the data folder
//! - `queue`, `retry`: a bounded queue per channel, with timeouts, retries with backoff, and load shedding while the
//!   provider fails
//! - `smtp`, `webhook`: the providers; `text`, `template`: the message texts
//! - `metrics`: deliveries, retries and pending messages by channel

mod metrics;
mod outbox;
mod queue;
mod retry;
mod smtp;
mod template;
mod text;
mod webhook;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Url;
use stele_core::identifier::Recipient;
use stele_core::ports::{CodeMessage, Delivery};
use stele_core::random::Random;
use stele_core::time::Clock;
use stele_core::{Error, Result};
use stele_service::metrics::Metrics;
use stele_service::setting::{optional, parsed, with_default};
use stele_service::{ConfigError, Settings};
use zeroize::Zeroizing;

pub use outbox::Outbox;
pub use queue::QueueConfig;

use metrics::DeliveryMetrics;
use queue::DeliveryQueue;
use smtp::SmtpProvider;
use text::MessageTexts;
use webhook::{JsonTemplate, WebhookProvider};

stele_service::settings! {
    /// Delivery of codes.
    pub const SETTINGS = "STELE_";
    /// delivery of codes: `outbox` writes JSON lines to the data folder, for development;
    /// `smtps://USER:PASSWORD@HOST?from=SENDER` or `smtp://…` (STARTTLS; `tls=none`: unencrypted) sends mail,
    /// `webhook+https://…` sends short messages
    pub DELIVERY: Secret =
        with_default("outbox").value_format("outbox, or one URL per channel, separated by commas").secret();
    /// dialects whose messages are in English instead of Chinese
    DELIVERY_ENGLISH: Vec<String> = parsed(parse_names, "names of dialects, separated by commas", "");
    /// TOML file with your own message texts: `[zh]` and `[en]`, each with any of text, subject, mail and purpose
    DELIVERY_TEXTS: Option<PathBuf> = optional("built-in texts");
    /// JSON body of the webhook's requests; `{to}`, `{code}`, `{purpose}` (register, reset, any) and `{text}` in its
    /// strings are replaced
    WEBHOOK_TEMPLATE: JsonTemplate = parsed(
        JsonTemplate::parse, "JSON", r#"{"to":"{to}","code":"{code}","purpose":"{purpose}","text":"{text}"}"#,
    );
    /// key that signs the webhook's requests: `X-Stele-Signature` is `t=TIME,v1=HEX`, where HEX is the HMAC-SHA-256 of
    /// TIME, a dot and the body
    WEBHOOK_SECRET: Option<Secret> = optional("none").value_format("at least 16 characters").secret();
}

/// A text that is erased from memory on drop.
type Secret = Zeroizing<String>;

fn parse_names(text: &str) -> std::result::Result<Vec<String>, String> {
    Ok(text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect())
}

/// Delivery configuration, from `STELE_DELIVERY` and related settings.
pub struct DeliveryConfig {
    /// The folder of the outbox.
    data_dir: PathBuf,
    /// `None` for the outbox.
    providers: Option<Providers>,
    code_ttl: Duration,
}

#[derive(Default)]
struct Providers {
    email: Option<SmtpProvider>,
    sms: Option<WebhookProvider>,
}

impl DeliveryConfig {
    /// Reads the delivery settings. `code_ttl` is the lifetime of codes.
    ///
    /// # Errors
    /// One line: the invalid setting, without the URL, which may hold a password.
    pub fn from_settings(
        settings: &Settings,
        code_ttl: Duration,
        clock: &Arc<dyn Clock>,
        random: &Arc<dyn Random>,
    ) -> Result<Self, ConfigError> {
        let providers = match settings.get(&DELIVERY)?.as_str() {
            "outbox" => None,
            urls => Some(Providers::parse(urls, settings, code_ttl, clock, random)?),
        };
        Ok(Self { data_dir: settings.data_dir(), providers, code_ttl })
    }

    /// Whether codes go to the outbox.
    pub fn is_outbox(&self) -> bool {
        self.providers.is_none()
    }

    /// Opens the outbox, or starts a queue for each provider on the current runtime.
    ///
    /// # Errors
    /// If the outbox cannot be opened.
    pub fn open(self, metrics: &Metrics) -> Result<Arc<dyn Delivery>, ConfigError> {
        self.open_with_config(QueueConfig::default(), metrics)
    }

    /// As [`DeliveryConfig::open`], with this queue configuration.
    ///
    /// # Errors
    /// As [`DeliveryConfig::open`].
    pub fn open_with_config(
        self,
        mut queue_config: QueueConfig,
        metrics: &Metrics,
    ) -> Result<Arc<dyn Delivery>, ConfigError> {
        queue_config.max_message_age = queue_config.max_message_age.min(self.code_ttl);
        match self.providers {
            None => Ok(Arc::new(Outbox::open(&self.data_dir)?)),
            Some(Providers { email, sms }) => {
                let metrics = DeliveryMetrics::register(metrics);
                Ok(Arc::new(ChannelQueues {
                    email: email.map(|provider| DeliveryQueue::start(provider, queue_config, &metrics)),
                    sms: sms.map(|provider| DeliveryQueue::start(provider, queue_config, &metrics)),
                }))
            }
        }
    }
}

impl Providers {
    fn parse(
        urls: &str,
        settings: &Settings,
        code_ttl: Duration,
        clock: &Arc<dyn Clock>,
        random: &Arc<dyn Random>,
    ) -> Result<Self, ConfigError> {
        let config_error = |reason: &str| ConfigError::new(format!("STELE_DELIVERY: {reason}"));
        let texts = MessageTexts::from_settings(settings, code_ttl)?;
        let mut providers = Self::default();
        for entry in urls.split(',').map(str::trim) {
            let (is_webhook, url_text) = entry.strip_prefix("webhook+").map_or((false, entry), |url| (true, url));
            let url = Url::parse(url_text)
                .map_err(|e| config_error(&format!("{e}; write `outbox`, or URLs separated by commas")))?;
            let is_duplicate = match (is_webhook, url.scheme()) {
                (false, "smtp" | "smtps") => {
                    let smtp = SmtpProvider::parse(&url, texts.clone()).map_err(|reason| config_error(&reason))?;
                    warn_if_plaintext(smtp.encryption(), "mail");
                    providers.email.replace(smtp).is_some()
                }
                (true, "http" | "https") => {
                    let webhook = WebhookProvider::new(url, settings, texts.clone(), clock.clone(), random.clone())?;
                    warn_if_plaintext(webhook.encryption(), "short messages");
                    providers.sms.replace(webhook).is_some()
                }
                _ => {
                    return Err(config_error(
                        "unsupported URL; use outbox, smtp://, smtps://, webhook+http:// or webhook+https://",
                    ));
                }
            };
            if is_duplicate {
                return Err(config_error("more than one provider for the same channel; remove one"));
            }
        }
        Ok(providers)
    }
}

/// Encryption of the connection to a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encryption {
    Tls,
    Plaintext,
}

fn warn_if_plaintext(encryption: Encryption, channel: &str) {
    if encryption == Encryption::Plaintext {
        tracing::warn!("codes by {channel} are sent unencrypted; use smtps:// or webhook+https:// (STELE_DELIVERY)");
    }
}

/// The queues of the configured channels.
struct ChannelQueues {
    email: Option<DeliveryQueue>,
    sms: Option<DeliveryQueue>,
}

impl ChannelQueues {
    fn queue_for(&self, to: &Recipient) -> Result<&DeliveryQueue> {
        let (queue, channel) = match to {
            Recipient::Email(_) => (&self.email, "mail"),
            Recipient::Phone(_) => (&self.sms, "short messages"),
        };
        queue.as_ref().ok_or_else(|| Error::unavailable(format!("STELE_DELIVERY names no provider for {channel}")))
    }
}

#[async_trait]
impl Delivery for ChannelQueues {
    fn check_available(&self, to: &Recipient) -> Result<()> {
        self.queue_for(to)?.check_available()
    }

    fn dispatch(&self, message: CodeMessage) -> Result<()> {
        self.queue_for(&message.to)?.enqueue(message)
    }

    async fn drain(&self) {
        let (email, sms) = tokio::join!(drain_queue(self.email.as_ref()), drain_queue(self.sms.as_ref()));
        if email + sms > 0 {
            tracing::error!(email, sms, "codes were not delivered before the process stopped");
        }
    }
}

/// Drains the queue of a channel, if the channel is configured. Returns the number of messages still pending.
async fn drain_queue(queue: Option<&DeliveryQueue>) -> usize {
    match queue {
        Some(queue) => queue.drain().await,
        None => 0,
    }
}
