//! One message's way to its recipient: attempts, pauses, and what the log is told.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use stele_core::identifier::Recipient;
use stele_core::ports::CodeMessage;
use tokio::time::{sleep, timeout};

use crate::queue::QueueConfig;

/// Why an attempt failed. The cause is for the log: neither the code nor the recipient is in it.
#[derive(Debug)]
pub(super) struct DeliveryError {
    cause: String,
    is_retryable: bool,
    is_provider_failure: bool,
    retry_after: Option<Duration>,
}

impl DeliveryError {
    /// The provider cannot be reached or is in trouble; that may pass.
    pub(super) fn provider_unavailable(cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), is_retryable: true, is_provider_failure: true, retry_after: None }
    }

    /// This failure, of a provider that wants to be left alone for so long.
    pub(super) fn with_retry_after(mut self, span: Option<Duration>) -> Self {
        self.retry_after = span;
        self
    }

    /// The provider does not let us in.
    pub(super) fn provider_denied_access(cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), is_retryable: false, is_provider_failure: true, retry_after: None }
    }

    /// The provider does not take this message now. That says nothing of others.
    pub(super) fn message_deferred(cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), is_retryable: true, is_provider_failure: false, retry_after: None }
    }

    /// The provider does not take this message. That says nothing of others: a stranger who asks for codes to numbers
    /// that do not exist must not close the channel.
    pub(super) fn message_rejected(cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), is_retryable: false, is_provider_failure: false, retry_after: None }
    }
}

/// Takes messages to their recipients.
#[async_trait]
pub(super) trait Provider: Send + Sync + 'static {
    /// A message as it is sent, the same in every attempt.
    type OutboundMessage: Send + Sync;

    /// What the channel is called in logs.
    const CHANNEL: &'static str;

    /// Makes a message ready.
    fn prepare(&self, message: &CodeMessage) -> Result<Self::OutboundMessage, DeliveryError>;

    /// Makes one attempt. It may be given up at any point.
    async fn send(&self, parcel: &Self::OutboundMessage) -> Result<(), DeliveryError>;
}

/// What became of a message.
pub(super) struct DeliveryReport {
    pub(super) delivered: bool,
    pub(super) attempts: u32,
}

/// Attempts to deliver a message taken on at `since` until it succeeds, is refused, or `bounds` end it; tells `note` of
/// each sign that the provider does well or does not.
pub(super) async fn deliver_with_retries<P: Provider>(
    provider: &P,
    message: &CodeMessage,
    since: Instant,
    bounds: &QueueConfig,
    note: impl Fn(bool),
) -> DeliveryReport {
    let mut attempts = 0;
    let outcome = attempt_until_done(provider, message, since, bounds, note, &mut attempts).await;
    let delivered = outcome.is_ok();
    if let Err(failure) = outcome {
        let (to, purpose, dialect) = (mask_recipient(&message.to), message.purpose.as_str(), message.dialect);
        let cause = failure.cause;
        tracing::error!(channel = P::CHANNEL, to, purpose, dialect, attempts, cause, "a code was not delivered");
    }
    DeliveryReport { delivered, attempts }
}

async fn attempt_until_done<P: Provider>(
    provider: &P,
    message: &CodeMessage,
    since: Instant,
    bounds: &QueueConfig,
    note: impl Fn(bool),
    attempts: &mut u32,
) -> Result<(), DeliveryError> {
    let parcel = provider.prepare(message)?;
    let mut pause = bounds.initial_backoff;
    loop {
        if since.elapsed() >= bounds.max_message_age {
            return Err(DeliveryError::message_rejected("it waited for so long that its code is of no use"));
        }
        *attempts += 1;
        let outcome = timeout(bounds.attempt_timeout, provider.send(&parcel)).await;
        let Err(failure) = outcome.unwrap_or_else(|_| Err(DeliveryError::provider_unavailable("no answer in time")))
        else {
            note(true);
            return Ok(());
        };
        if failure.is_provider_failure {
            note(false);
        }
        if !failure.is_retryable || *attempts >= bounds.max_attempts {
            return Err(failure);
        }
        let wait = failure.retry_after.map_or(pause, |span| span.max(pause));
        // A message that waits for longer holds the channel up for everybody.
        if wait > pause && since.elapsed().saturating_add(wait) > bounds.failure_tolerance {
            return Err(failure);
        }
        tracing::warn!(channel = P::CHANNEL, attempts, cause = failure.cause, "a code will be sent again");
        sleep(wait).await;
        pause *= 2;
    }
}

/// Enough of a recipient for an administrator to recognise, and too little to call or write to.
fn mask_recipient(to: &Recipient) -> String {
    match to {
        Recipient::Phone(phone) => {
            let last: String = phone.key().chars().rev().take(2).collect();
            format!("*{}", last.chars().rev().collect::<String>())
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

    /// Wants to be left alone for so many seconds.
    struct BusyProvider(u64, AtomicU32);

    #[async_trait]
    impl Provider for BusyProvider {
        type OutboundMessage = ();

        const CHANNEL: &'static str = "sms";

        fn prepare(&self, _: &CodeMessage) -> Result<(), DeliveryError> {
            Ok(())
        }

        async fn send(&self, (): &()) -> Result<(), DeliveryError> {
            self.1.fetch_add(1, Ordering::SeqCst);
            Err(DeliveryError::provider_unavailable("busy").with_retry_after(Some(Duration::from_secs(self.0))))
        }
    }

    #[tokio::test]
    async fn retry_after_is_honored_unless_it_exceeds_the_failure_tolerance() {
        let to = Recipient::parse("13800138000").unwrap();
        let code = Code::from_user_input("012345");
        let message = CodeMessage { at: Timestamp::from_secs(0), to, purpose: CodePurpose::Any, dialect: "jwt", code };
        let bounds = QueueConfig { initial_backoff: Duration::from_millis(1), ..QueueConfig::default() };
        for (asks, attempts) in [(0, 3), (600, 1), (u64::MAX, 1)] {
            let provider = BusyProvider(asks, AtomicU32::new(0));
            deliver_with_retries(&provider, &message, Instant::now(), &bounds, |_| {}).await;
            assert_eq!(provider.1.into_inner(), attempts, "{asks}");
        }
    }

    #[test]
    fn recipients_are_masked_in_logs() {
        let masked = |text| mask_recipient(&Recipient::parse(text).unwrap());
        assert_eq!(masked("+8613800138042"), "*42");
        assert_eq!(masked("mark@example.com"), "m*@example.com");
    }
}
