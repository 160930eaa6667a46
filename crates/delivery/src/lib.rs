//! Delivery of codes: to the development outbox, or by a provider for each channel.
//!
//! - `outbox`: JSON lines in the data folder
//! - `queue`, `attempt`: what keeps a provider that hangs or fails away from everybody else
//! - `metrics`: what is counted of them
//! - `smtp`, `webhook`: the providers; `text`, `template`: what they send

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
    /// How codes are delivered.
    pub const SETTINGS = "STELE_";
    /// where codes go: `outbox` is JSON lines in the data folder, for development;
    /// `smtps://USER:PASSWORD@HOST?from=SENDER` or `smtp://…` (STARTTLS; `tls=none`: unencrypted) is for mail,
    /// `webhook+https://…` for short messages
    pub DELIVERY: Secret = with_default("outbox").value_format("outbox, or one URL a channel, by commas").secret();
    /// dialects whose codes are sent in English; others: Chinese
    DELIVERY_ENGLISH: Vec<String> = parsed(parse_names, "names by commas", "");
    /// TOML file with texts of your own: `[zh]` and `[en]`, each with any of text, subject, mail and purpose
    DELIVERY_TEXTS: Option<PathBuf> = optional("built in");
    /// JSON for the webhook; in its strings `{to}`, `{code}`, `{purpose}` (register, reset, any) and `{text}` are filled in
    WEBHOOK_TEMPLATE: JsonTemplate = parsed(JsonTemplate::parse, "JSON", r#"{"to":"{to}","code":"{code}","purpose":"{purpose}","text":"{text}"}"#);
    /// signs the webhook's requests: `X-Stele-Signature` is `t=TIME,v1=HEX`, where HEX is the HMAC-SHA-256 of TIME, a
    /// dot and the body
    WEBHOOK_SECRET: Option<Secret> = optional("none").value_format("16 characters or more").secret();
}

type Secret = Zeroizing<String>;

fn parse_names(text: &str) -> std::result::Result<Vec<String>, String> {
    Ok(text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect())
}

/// What `STELE_DELIVERY` asks for.
pub struct DeliveryConfig {
    settings: Settings,
    /// `None`: the outbox.
    providers: Option<Providers>,
    code_ttl: Duration,
}

#[derive(Default)]
struct Providers {
    email: Option<SmtpProvider>,
    sms: Option<WebhookProvider>,
}

impl DeliveryConfig {
    /// Reads `STELE_DELIVERY` and what belongs to it; codes are `valid` for so long.
    ///
    /// # Errors
    /// One line: what cannot be used, without the URL, which may hold a password.
    pub fn from_settings(
        settings: &Settings,
        valid: Duration,
        clock: &Arc<dyn Clock>,
        random: &Arc<dyn Random>,
    ) -> Result<Self, ConfigError> {
        let providers = match settings.get(&DELIVERY)?.as_str() {
            "outbox" => None,
            urls => Some(Providers::parse(urls, settings, valid, clock, random)?),
        };
        Ok(Self { settings: settings.clone(), providers, code_ttl: valid })
    }

    /// Whether codes go to the outbox.
    pub fn is_outbox(&self) -> bool {
        self.providers.is_none()
    }

    /// Opens what was asked for. Providers are served by tasks of the runtime that this is called in.
    ///
    /// # Errors
    /// If the outbox cannot be written.
    pub fn open(self, metrics: &Metrics) -> Result<Arc<dyn Delivery>, ConfigError> {
        self.open_with_config(QueueConfig::default(), metrics)
    }

    /// As [`DeliveryConfig::open`], with other bounds than the default's.
    ///
    /// # Errors
    /// As [`DeliveryConfig::open`].
    pub fn open_with_config(
        self,
        mut bounds: QueueConfig,
        metrics: &Metrics,
    ) -> Result<Arc<dyn Delivery>, ConfigError> {
        bounds.max_message_age = bounds.max_message_age.min(self.code_ttl);
        match self.providers {
            None => Ok(Arc::new(Outbox::open(&self.settings.data_dir())?)),
            Some(Providers { email, sms }) => {
                let metrics = DeliveryMetrics::register(metrics);
                Ok(Arc::new(ChannelQueues {
                    email: email.map(|provider| DeliveryQueue::start(provider, bounds, &metrics)),
                    sms: sms.map(|provider| DeliveryQueue::start(provider, bounds, &metrics)),
                }))
            }
        }
    }
}

impl Providers {
    fn parse(
        urls: &str,
        settings: &Settings,
        valid: Duration,
        clock: &Arc<dyn Clock>,
        random: &Arc<dyn Random>,
    ) -> Result<Self, ConfigError> {
        let fault = |why: &str| ConfigError::new(format!("STELE_DELIVERY: {why}"));
        let texts = MessageTexts::from_settings(settings, valid)?;
        let mut providers = Self::default();
        for text in urls.split(',').map(str::trim) {
            let (webhook, text) = text.strip_prefix("webhook+").map_or((false, text), |rest| (true, rest));
            let url = Url::parse(text).map_err(|e| fault(&format!("{e}; write `outbox`, or URLs by commas")))?;
            let taken = match (webhook, url.scheme()) {
                (false, "smtp" | "smtps") => {
                    let smtp = SmtpProvider::parse(&url, texts.clone()).map_err(|why| fault(&why))?;
                    warn_if_unencrypted(smtp.is_unencrypted(), "mail");
                    providers.email.replace(smtp).is_some()
                }
                (true, "http" | "https") => {
                    let webhook = WebhookProvider::new(url, settings, texts.clone(), clock.clone(), random.clone())?;
                    warn_if_unencrypted(webhook.is_unencrypted(), "short messages");
                    providers.sms.replace(webhook).is_some()
                }
                _ => {
                    return Err(fault("known are outbox, smtp://, smtps://, webhook+http:// and webhook+https://"));
                }
            };
            if taken {
                return Err(fault("there is more than one provider of the same channel"));
            }
        }
        Ok(providers)
    }
}

fn warn_if_unencrypted(open: bool, what: &str) {
    if open {
        tracing::warn!("codes by {what} leave this machine unencrypted (STELE_DELIVERY)");
    }
}

/// A queue and a provider for each channel that has one.
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
        let (email, sms) = tokio::join!(drain(self.email.as_ref()), drain(self.sms.as_ref()));
        if email + sms > 0 {
            tracing::error!(email, sms, "codes were not delivered before the process ended");
        }
    }
}

async fn drain(queue: Option<&DeliveryQueue>) -> usize {
    match queue {
        Some(queue) => queue.drain().await,
        None => 0,
    }
}

/// An error with what caused it, outermost first.
fn with_sources(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |cause| cause.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
