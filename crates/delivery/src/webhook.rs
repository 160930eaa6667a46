//! Provider of short messages: a signed JSON POST request to an SMS gateway (webhook).

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use serde_json::{Map, Value};
use sha2::Sha256;
use stele_core::hex;
use stele_core::ports::CodeMessage;
use stele_core::random::Random;
use stele_core::time::Clock;
use stele_service::{AnySetting as _, ConfigError, Settings};
use zeroize::Zeroizing;

use crate::retry::{DeliveryError, Provider};
use crate::template::{PlaceholderValues, fill_placeholders};
use crate::text::MessageTexts;
use crate::{Encryption, WEBHOOK_SECRET, WEBHOOK_TEMPLATE};

/// The placeholders of a template.
const PLACEHOLDERS: [&str; 4] = ["to", "code", "purpose", "text"];

/// Minimum length of the signing key in bytes: a shorter one could be found by brute force.
const MIN_SECRET_LENGTH: usize = 16;

/// An SMS gateway.
pub(super) struct WebhookProvider {
    client: Client,
    url: Url,
    template: JsonTemplate,
    secret: Hmac<Sha256>,
    texts: MessageTexts,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

/// A request without its signature, which includes the time of the attempt.
pub(super) struct OutboundRequest {
    idempotency_key: String,
    body: Zeroizing<String>,
}

impl WebhookProvider {
    /// Reads `STELE_WEBHOOK_TEMPLATE` and `STELE_WEBHOOK_SECRET` for the gateway at `url`.
    ///
    /// # Errors
    /// If a setting is missing or invalid.
    pub(super) fn new(
        url: Url,
        settings: &Settings,
        texts: MessageTexts,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, ConfigError> {
        let template = settings.get(&WEBHOOK_TEMPLATE)?;
        let secret = settings.get(&WEBHOOK_SECRET)?.filter(|secret| secret.len() >= MIN_SECRET_LENGTH);
        let secret = secret.and_then(|secret| Hmac::new_from_slice(secret.as_bytes()).ok()).ok_or_else(|| {
            let name = WEBHOOK_SECRET.name();
            ConfigError::new(format!(
                "{name}: the webhook's requests need a signing key; set at least {MIN_SECRET_LENGTH} characters"
            ))
        })?;
        // No proxy and no redirects: codes go only to the configured address.
        let mut client = Client::builder().redirect(Policy::none()).no_proxy().user_agent("stele");
        if url.scheme() == "http" {
            // No certificate to verify: start also on machines without CA certificates.
            client = client.tls_certs_only([]);
        }
        let client = client
            .build()
            .map_err(|e| ConfigError::new(format!("STELE_DELIVERY: {}", stele_service::with_sources(&e))))?;
        Ok(Self { client, url, template, secret, texts, clock, random })
    }

    /// Encryption of codes on the network.
    pub(super) fn encryption(&self) -> Encryption {
        if self.url.scheme() == "http" { Encryption::Plaintext } else { Encryption::Tls }
    }

    /// The `X-Stele-Signature` of a request at the current time.
    fn sign(&self, body: &str) -> String {
        let time = self.clock.now().as_secs();
        let mut mac = self.secret.clone();
        mac.update(format!("{time}.").as_bytes());
        mac.update(body.as_bytes());
        format!("t={time},v1={}", hex::encode(&mac.finalize().into_bytes()))
    }
}

#[async_trait]
impl Provider for WebhookProvider {
    type OutboundMessage = OutboundRequest;

    const CHANNEL: &'static str = "sms";

    fn prepare(&self, message: &CodeMessage) -> Result<OutboundRequest, DeliveryError> {
        let text = self.texts.render_sms(message);
        let value_of = |name: &str| match name {
            "to" => Some(message.to.key()),
            "code" => Some(message.code.expose()),
            "purpose" => Some(message.purpose.as_str()),
            "text" => Some(text.as_str()),
            _ => None,
        };
        let body = Zeroizing::new(self.template.render(&value_of).to_string());
        Ok(OutboundRequest { idempotency_key: self.random.hex128(), body })
    }

    async fn send(&self, outbound: &OutboundRequest) -> Result<(), DeliveryError> {
        let request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("Idempotency-Key", &outbound.idempotency_key)
            .header("X-Stele-Signature", self.sign(&outbound.body))
            .body(outbound.body.to_string());
        // Errors must not contain the URL, which may hold a secret.
        let response = request
            .send()
            .await
            .map_err(|e| DeliveryError::provider_unavailable(stele_service::with_sources(&e.without_url())))?;
        let status = response.status();
        let cause = format!("the gateway responded {}", status.as_u16());
        let unavailable_error = || {
            DeliveryError::provider_unavailable(cause.clone()).with_retry_after(parse_retry_after(response.headers()))
        };
        match status {
            _ if status.is_success() => Ok(()),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(unavailable_error()),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(DeliveryError::provider_denied_access(cause)),
            _ if status.is_client_error() => Err(DeliveryError::message_rejected(cause)),
            _ if status.is_server_error() => Err(unavailable_error()),
            _ => Err(DeliveryError::provider_denied_access(cause)),
        }
    }
}

/// Parses the delay in `Retry-After`, in seconds. `None` if the field is missing, malformed or a date, which is rare;
/// our backoff applies then.
fn parse_retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// JSON with placeholders in its strings. Values are inserted as plain text and cannot change the JSON structure.
pub(super) struct JsonTemplate(Value);

impl JsonTemplate {
    /// Parses the value of `STELE_WEBHOOK_TEMPLATE`.
    ///
    /// # Errors
    /// If the text is not JSON, has an unknown placeholder, or lacks a required one.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let template = Self(serde_json::from_str(text).map_err(|e| format!("the template is not JSON: {e}"))?);
        let names = RefCell::new(BTreeSet::new());
        template.render(&|name| {
            names.borrow_mut().insert(name.to_owned());
            None
        });
        let names = names.into_inner();
        let has_placeholder = |name: &str| names.contains(name);
        if let Some(unknown) = names.iter().find(|name| !PLACEHOLDERS.contains(&name.as_str())) {
            return Err(format!("unknown placeholder `{{{unknown}}}`; use {{to}}, {{code}}, {{purpose}} or {{text}}"));
        }
        if !has_placeholder("to") || !(has_placeholder("code") || has_placeholder("text")) {
            return Err("the template needs {to}, and {code} or {text}, in its strings".into());
        }
        Ok(template)
    }

    fn render(&self, value_of: &PlaceholderValues<'_>) -> Value {
        render_value(&self.0, value_of)
    }
}

fn render_value(value: &Value, value_of: &PlaceholderValues<'_>) -> Value {
    match value {
        Value::String(text) => Value::String(fill_placeholders(text, value_of)),
        Value::Array(items) => items.iter().map(|item| render_value(item, value_of)).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, field)| (name.clone(), render_value(field, value_of)))
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholder_values_stay_plain_text() {
        // Some SMS gateways take the parameters of a text as JSON in a JSON string.
        let template = r#"{"PhoneNumbers":["{to}"],"n":1,"TemplateParam":"{\"code\":\"{code}\"}","{to}":"{"}"#;
        let template = JsonTemplate::parse(template).unwrap();
        let filled = template.render(&|name| match name {
            "to" => Some("\"{code}\\"),
            "code" => Some("012345"),
            _ => None,
        });
        let expected = serde_json::json!({
            "PhoneNumbers": ["\"{code}\\"], "n": 1, "TemplateParam": "{\"code\":\"012345\"}", "{to}": "{",
        });
        assert_eq!(filled, expected);
    }

    #[test]
    fn invalid_templates_are_rejected() {
        for (bad, reason) in [
            ("{to} {code}", "not JSON"),
            (r#"{"to":"{phone}","text":"{text}"}"#, "unknown placeholder `{phone}`"),
            (r#"{"to":"{to}"}"#, "needs"),
            (r#"{"code":"{code}"}"#, "needs"),
        ] {
            let error = JsonTemplate::parse(bad).err().unwrap();
            assert!(error.contains(reason), "{bad}: {error}");
        }
        assert_eq!(WEBHOOK_TEMPLATE.validate(None), Ok(()), "the default is valid");
    }
}
