//! Delivery of one message with retries: attempts, exponential backoff, and logging of the failure.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use stele_core::identifier::Recipient;
use stele_core::ports::CodeMessage;
use tokio::time::{sleep, timeout};

use crate::queue::QueueConfig;

/// A message could not be delivered: an attempt failed, or no attempt was possible. The cause is for the log and
/// contains neither the code nor the recipient.
#[derive(Debug)]
pub(super) struct DeliveryError {
    cause: String,
    retryability: Retryability,
    scope: ErrorScope,
    retry_after: Option<Duration>,
}

/// Whether a retry may succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retryability {
    Retryable,
    Permanent,
}

/// The messages that an error concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ErrorScope {
    /// All messages to the provider: others would fail too.
    Provider,
    /// Only this message. A client that requests codes to invalid numbers must not make the channel unavailable.
    Message,
}

/// The state of a provider as one attempt shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProviderHealth {
    Working,
    Failing,
}

impl DeliveryError {
    /// The provider cannot be reached, does not respond in time, or reports a temporary error.
    pub(super) fn provider_unavailable(cause: impl Into<String>) -> Self {
        Self::new(cause, Retryability::Retryable, ErrorScope::Provider)
    }

    /// The provider rejects our credentials, or responds with a redirect or another status that no provider should
    /// send.
    pub(super) fn provider_denied_access(cause: impl Into<String>) -> Self {
        Self::new(cause, Retryability::Permanent, ErrorScope::Provider)
    }

    /// The provider rejects this message temporarily.
    pub(super) fn message_deferred(cause: impl Into<String>) -> Self {
        Self::new(cause, Retryability::Retryable, ErrorScope::Message)
    }

    /// This message can never be delivered: the provider rejects it permanently, or it is invalid or too old.
    pub(super) fn message_rejected(cause: impl Into<String>) -> Self {
        Self::new(cause, Retryability::Permanent, ErrorScope::Message)
    }

    fn new(cause: impl Into<String>, retryability: Retryability, scope: ErrorScope) -> Self {
        Self { cause: cause.into(), retryability, scope, retry_after: None }
    }

    /// Adds the delay that the provider requests before the next attempt (`Retry-After`).
    pub(super) fn with_retry_after(mut self, delay: Option<Duration>) -> Self {
        self.retry_after = delay;
        self
    }
}

/// A provider of a delivery channel.
#[async_trait]
pub(super) trait Provider: Send + Sync + 'static {
    /// A rendered message, the same in every attempt.
    type OutboundMessage: Send + Sync;

    /// The name of the channel in logs and metrics.
    const CHANNEL: &'static str;

    /// Renders a message.
    fn prepare(&self, message: &CodeMessage) -> Result<Self::OutboundMessage, DeliveryError>;

    /// Makes one attempt. The caller may drop the future at any point.
    async fn send(&self, message: &Self::OutboundMessage) -> Result<(), DeliveryError>;
}

/// The result of a delivery.
pub(super) struct DeliveryReport {
    pub(super) is_delivered: bool,
    pub(super) attempts: u32,
}

/// Attempts to deliver a message enqueued at `enqueued_at` until it succeeds, is rejected, or the limits of `config`
/// are reached. Calls `record_health` after each attempt that shows the provider's state.
pub(super) async fn deliver_with_retries<P: Provider>(
    provider: &P,
    message: &CodeMessage,
    enqueued_at: Instant,
    config: &QueueConfig,
    record_health: impl Fn(ProviderHealth),
) -> DeliveryReport {
    let mut attempts = 0;
    let outcome = attempt_until_done(provider, message, enqueued_at, config, record_health, &mut attempts).await;
    let is_delivered = outcome.is_ok();
    if let Err(error) = outcome {
        let (to, purpose, dialect) = (mask_recipient(&message.to), message.purpose.as_str(), message.dialect);
        let cause = error.cause;
        tracing::error!(channel = P::CHANNEL, to, purpose, dialect, attempts, cause, "a code was not delivered");
    }
    DeliveryReport { is_delivered, attempts }
}

async fn attempt_until_done<P: Provider>(
    provider: &P,
    message: &CodeMessage,
    enqueued_at: Instant,
    config: &QueueConfig,
    record_health: impl Fn(ProviderHealth),
    attempts: &mut u32,
) -> Result<(), DeliveryError> {
    let outbound = provider.prepare(message)?;
    let mut backoff = config.initial_backoff;
    loop {
        if enqueued_at.elapsed() >= config.max_message_age {
            return Err(DeliveryError::message_rejected("the message is too old for its code to be useful"));
        }
        *attempts += 1;
        let outcome = timeout(config.attempt_timeout, provider.send(&outbound)).await;
        let Err(error) = outcome.unwrap_or_else(|_| Err(DeliveryError::provider_unavailable("no response in time")))
        else {
            record_health(ProviderHealth::Working);
            return Ok(());
        };
        if error.scope == ErrorScope::Provider {
            record_health(ProviderHealth::Failing);
        }
        if error.retryability == Retryability::Permanent || *attempts >= config.max_attempts {
            return Err(error);
        }
        let delay = error.retry_after.map_or(backoff, |retry_after| retry_after.max(backoff));
        // A message that is pending for longer than the tolerance makes the queue reject all others, so a longer
        // `Retry-After` is not waited for.
        if delay > backoff && enqueued_at.elapsed().saturating_add(delay) > config.failure_tolerance {
            return Err(error);
        }
        tracing::warn!(channel = P::CHANNEL, attempts, cause = error.cause, "the delivery of a code will be retried");
        sleep(delay).await;
        backoff *= 2;
    }
}

/// A recipient for the log: enough for an administrator to recognise, too little to contact.
fn mask_recipient(to: &Recipient) -> String {
    match to {
        Recipient::Phone(phone) => {
            let reversed: String = phone.key().chars().rev().take(2).collect();
            format!("*{}", reversed.chars().rev().collect::<String>())
        }
        Recipient::Email(email) => {
            let (local, host) = email.key().split_once('@').unwrap_or_default();
            format!("{}*@{host}", local.chars().next().unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use stele_core::code::{Code, CodePurpose};
    use stele_core::time::Timestamp;

    use super::*;

    /// Fails with `Retry-After`, and counts the attempts.
    struct BusyProvider {
        retry_after: Duration,
        attempts: AtomicU32,
    }

    #[async_trait]
    impl Provider for BusyProvider {
        type OutboundMessage = ();

        const CHANNEL: &'static str = "sms";

        fn prepare(&self, _: &CodeMessage) -> Result<(), DeliveryError> {
            Ok(())
        }

        async fn send(&self, (): &()) -> Result<(), DeliveryError> {
            self.attempts.fetch_add(1, Ordering::SeqCst);
            Err(DeliveryError::provider_unavailable("busy").with_retry_after(Some(self.retry_after)))
        }
    }

    #[tokio::test]
    async fn a_retry_after_beyond_the_failure_tolerance_prevents_retries() {
        let to = Recipient::parse("13800138000").unwrap();
        let code = Code::from_user_input("012345");
        let message = CodeMessage { at: Timestamp::from_secs(0), to, purpose: CodePurpose::Any, dialect: "jwt", code };
        let config = QueueConfig { initial_backoff: Duration::from_millis(1), ..QueueConfig::default() };
        for (seconds, attempts) in [(0, 3), (600, 1), (u64::MAX, 1)] {
            let retry_after = Duration::from_secs(seconds);
            let provider = BusyProvider { retry_after, attempts: AtomicU32::new(0) };
            deliver_with_retries(&provider, &message, Instant::now(), &config, |_| {}).await;
            assert_eq!(provider.attempts.into_inner(), attempts, "{seconds}");
        }
    }

    #[test]
    fn recipients_are_masked_in_logs() {
        let mask = |text| mask_recipient(&Recipient::parse(text).unwrap());
        assert_eq!(mask("+8613800138042"), "*42");
        assert_eq!(mask("mark@example.com"), "m*@example.com");
    }
}
