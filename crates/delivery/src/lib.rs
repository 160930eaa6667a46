//! Delivery of codes: to the development outbox, or by a provider for each channel.
//!
//! - `outbox`: JSON lines in the data folder
//! - `queue`, `attempt`: what keeps a provider that hangs or fails away from everybody else
//! - `metrics`: what is counted of them
//! - `smtp`, `webhook`: the providers; `text`, `template`: what they send

mod attempt;
mod metrics;
mod outbox;
mod queue;
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
use stele_core::ports::{Delivery, Message};
use stele_core::random::Random;
use stele_core::time::Clock;
use stele_core::{Error, Result};
use stele_service::metrics::Metrics;
use stele_service::setting::{parsed, unset, value};
use stele_service::{ConfigError, Settings};
use zeroize::Zeroizing;

pub use outbox::Outbox;
pub use queue::Bounds;

use metrics::DeliveryMetrics;
use queue::Queue;
use smtp::Smtp;
use text::Texts;
use webhook::{Template, Webhook};

stele_service::settings! {
    /// How codes are delivered.
    pub const SETTINGS = "STELE_";
    /// where codes go: `outbox` is JSON lines in the data folder, for development;
    /// `smtps://USER:PASSWORD@HOST?from=SENDER` or `smtp://…` (STARTTLS; `tls=none`: unencrypted) is for mail,
    /// `webhook+https://…` for short messages
    pub DELIVERY: Secret = value("outbox").takes("outbox, or one URL a channel, by commas").secret();
    /// dialects whose codes are sent in English; others: Chinese
    DELIVERY_ENGLISH: Vec<String> = parsed(names, "names by commas", "");
    /// TOML file with texts of your own: `[zh]` and `[en]`, each with any of text, subject, mail and purpose
    DELIVERY_TEXTS: Option<PathBuf> = unset("built in");
    /// JSON for the webhook; in its strings `{to}`, `{code}`, `{purpose}` (register, reset, any) and `{text}` are filled in
    WEBHOOK_TEMPLATE: Template = parsed(Template::parse, "JSON", r#"{"to":"{to}","code":"{code}","purpose":"{purpose}","text":"{text}"}"#);
    /// signs the webhook's requests: `X-Stele-Signature` is `t=TIME,v1=HEX`, where HEX is the HMAC-SHA-256 of TIME, a
    /// dot and the body
    WEBHOOK_SECRET: Option<Secret> = unset("none").takes("16 characters or more").secret();
}

type Secret = Zeroizing<String>;

fn names(text: &str) -> std::result::Result<Vec<String>, String> {
    Ok(text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect())
}

/// What `STELE_DELIVERY` asks for.
pub struct Plan {
    settings: Settings,
    /// `None`: the outbox.
    providers: Option<Providers>,
    valid: Duration,
}

#[derive(Default)]
struct Providers {
    email: Option<Smtp>,
    sms: Option<Webhook>,
}

impl Plan {
    /// Reads `STELE_DELIVERY` and what belongs to it; codes are `valid` for so long.
    ///
    /// # Errors
    /// One line: what cannot be used, without the URL, which may hold a password.
    pub fn read(
        settings: &Settings,
        valid: Duration,
        clock: &Arc<dyn Clock>,
        random: &Arc<dyn Random>,
    ) -> Result<Self, ConfigError> {
        let providers = match settings.get(&DELIVERY)?.as_str() {
            "outbox" => None,
            urls => Some(Providers::read(urls, settings, valid, clock, random)?),
        };
        Ok(Self { settings: settings.clone(), providers, valid })
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
        self.open_within(Bounds::default(), metrics)
    }

    /// As [`Plan::open`], with other bounds than the default's.
    ///
    /// # Errors
    /// As [`Plan::open`].
    pub fn open_within(self, mut bounds: Bounds, metrics: &Metrics) -> Result<Arc<dyn Delivery>, ConfigError> {
        bounds.worth = bounds.worth.min(self.valid);
        match self.providers {
            None => Ok(Arc::new(Outbox::open(&self.settings.data())?)),
            Some(Providers { email, sms }) => {
                let metrics = DeliveryMetrics::register(metrics);
                Ok(Arc::new(Channels {
                    email: email.map(|provider| Queue::start(provider, bounds, &metrics)),
                    sms: sms.map(|provider| Queue::start(provider, bounds, &metrics)),
                }))
            }
        }
    }
}

impl Providers {
    fn read(
        urls: &str,
        settings: &Settings,
        valid: Duration,
        clock: &Arc<dyn Clock>,
        random: &Arc<dyn Random>,
    ) -> Result<Self, ConfigError> {
        let fault = |why: &str| ConfigError::new(format!("STELE_DELIVERY: {why}"));
        let texts = Texts::from_settings(settings, valid)?;
        let mut providers = Self::default();
        for text in urls.split(',').map(str::trim) {
            let (webhook, text) = text.strip_prefix("webhook+").map_or((false, text), |rest| (true, rest));
            let url = Url::parse(text).map_err(|e| fault(&format!("{e}; write `outbox`, or URLs by commas")))?;
            let taken = match (webhook, url.scheme()) {
                (false, "smtp" | "smtps") => {
                    let smtp = Smtp::parse(&url, texts.clone()).map_err(|why| fault(&why))?;
                    warn_if(smtp.is_open(), "mail");
                    providers.email.replace(smtp).is_some()
                }
                (true, "http" | "https") => {
                    let webhook = Webhook::new(url, settings, texts.clone(), clock.clone(), random.clone())?;
                    warn_if(webhook.is_open(), "short messages");
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

fn warn_if(open: bool, what: &str) {
    if open {
        tracing::warn!("codes by {what} leave this machine unencrypted (STELE_DELIVERY)");
    }
}

/// A queue and a provider for each channel that has one.
struct Channels {
    email: Option<Queue>,
    sms: Option<Queue>,
}

impl Channels {
    fn to(&self, to: &Recipient) -> Result<&Queue> {
        let (queue, channel) = match to {
            Recipient::Email(_) => (&self.email, "mail"),
            Recipient::Phone(_) => (&self.sms, "short messages"),
        };
        queue.as_ref().ok_or_else(|| Error::unavailable(format!("STELE_DELIVERY names no provider for {channel}")))
    }
}

#[async_trait]
impl Delivery for Channels {
    fn check(&self, to: &Recipient) -> Result<()> {
        self.to(to)?.check()
    }

    fn dispatch(&self, message: Message) -> Result<()> {
        self.to(&message.to)?.take_on(message)
    }

    async fn drain(&self) {
        let (email, sms) = tokio::join!(drain(self.email.as_ref()), drain(self.sms.as_ref()));
        if email + sms > 0 {
            tracing::error!(email, sms, "codes were not delivered before the process ended");
        }
    }
}

async fn drain(queue: Option<&Queue>) -> usize {
    match queue {
        Some(queue) => queue.drain().await,
        None => 0,
    }
}

/// An error with what caused it, outermost first.
fn describe(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |cause| cause.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
