//! One message's way to its recipient: attempts, pauses, and what the log is told.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use stele_core::identifier::Recipient;
use stele_core::ports::Message;
use tokio::time::{sleep, timeout};

use crate::queue::Bounds;

/// Why an attempt failed. The cause is for the log: neither the code nor the recipient is in it.
#[derive(Debug)]
pub(super) struct Failure {
    cause: String,
    again: bool,
    provider: bool,
    not_before: Option<Duration>,
}

impl Failure {
    /// The provider cannot be reached or is in trouble; that may pass.
    pub(super) fn trouble(cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), again: true, provider: true, not_before: None }
    }

    /// This failure, of a provider that wants to be left alone for so long.
    pub(super) fn not_before(mut self, span: Option<Duration>) -> Self {
        self.not_before = span;
        self
    }

    /// The provider does not let us in.
    pub(super) fn locked_out(cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), again: false, provider: true, not_before: None }
    }

    /// The provider does not take this message now. That says nothing of others.
    pub(super) fn postponed(cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), again: true, provider: false, not_before: None }
    }

    /// The provider does not take this message. That says nothing of others: a stranger who asks for codes to numbers
    /// that do not exist must not close the channel.
    pub(super) fn refused(cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), again: false, provider: false, not_before: None }
    }
}

/// Takes messages to their recipients.
#[async_trait]
pub(super) trait Provider: Send + Sync + 'static {
    /// A message as it is sent, the same in every attempt.
    type Parcel: Send + Sync;

    /// What the channel is called in logs.
    const CHANNEL: &'static str;

    /// Makes a message ready.
    fn pack(&self, message: &Message) -> Result<Self::Parcel, Failure>;

    /// Makes one attempt. It may be given up at any point.
    async fn send(&self, parcel: &Self::Parcel) -> Result<(), Failure>;
}

/// What became of a message.
pub(super) struct Report {
    pub(super) delivered: bool,
    pub(super) attempts: u32,
}

/// Attempts to deliver a message taken on at `since` until it succeeds, is refused, or `bounds` end it; tells `note` of
/// each sign that the provider does well or does not.
pub(super) async fn deliver<P: Provider>(
    provider: &P,
    message: &Message,
    since: Instant,
    bounds: &Bounds,
    note: impl Fn(bool),
) -> Report {
    let mut attempts = 0;
    let outcome = attempt_all(provider, message, since, bounds, note, &mut attempts).await;
    let delivered = outcome.is_ok();
    if let Err(failure) = outcome {
        let (to, purpose, dialect) = (masked(&message.to), message.purpose.as_str(), message.dialect);
        let cause = failure.cause;
        tracing::error!(channel = P::CHANNEL, to, purpose, dialect, attempts, cause, "a code was not delivered");
    }
    Report { delivered, attempts }
}

async fn attempt_all<P: Provider>(
    provider: &P,
    message: &Message,
    since: Instant,
    bounds: &Bounds,
    note: impl Fn(bool),
    attempts: &mut u32,
) -> Result<(), Failure> {
    let parcel = provider.pack(message)?;
    let mut pause = bounds.pause;
    loop {
        if since.elapsed() >= bounds.worth {
            return Err(Failure::refused("it waited for so long that its code is of no use"));
        }
        *attempts += 1;
        let outcome = timeout(bounds.attempt, provider.send(&parcel)).await;
        let Err(failure) = outcome.unwrap_or_else(|_| Err(Failure::trouble("no answer in time"))) else {
            note(true);
            return Ok(());
        };
        if failure.provider {
            note(false);
        }
        if !failure.again || *attempts >= bounds.attempts {
            return Err(failure);
        }
        let wait = failure.not_before.map_or(pause, |span| span.max(pause));
        // A message that waits for longer holds the channel up for everybody.
        if wait > pause && since.elapsed().saturating_add(wait) > bounds.stale {
            return Err(failure);
        }
        tracing::warn!(channel = P::CHANNEL, attempts, cause = failure.cause, "a code will be sent again");
        sleep(wait).await;
        pause *= 2;
    }
}

/// Enough of a recipient for an administrator to recognise, and too little to call or write to.
fn masked(to: &Recipient) -> String {
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

    use stele_core::code::{Code, Purpose};
    use stele_core::time::Timestamp;

    use super::*;

    /// Wants to be left alone for so many seconds.
    struct Busy(u64, AtomicU32);

    #[async_trait]
    impl Provider for Busy {
        type Parcel = ();

        const CHANNEL: &'static str = "sms";

        fn pack(&self, _: &Message) -> Result<(), Failure> {
            Ok(())
        }

        async fn send(&self, (): &()) -> Result<(), Failure> {
            self.1.fetch_add(1, Ordering::SeqCst);
            Err(Failure::trouble("busy").not_before(Some(Duration::from_secs(self.0))))
        }
    }

    #[tokio::test]
    async fn a_provider_is_left_alone_for_as_long_as_it_asks_and_given_up_if_that_is_too_long() {
        let to = Recipient::parse("13800138000").unwrap();
        let code = Code::typed("012345");
        let message = Message { at: Timestamp::from_secs(0), to, purpose: Purpose::Any, dialect: "jwt", code };
        let bounds = Bounds { pause: Duration::from_millis(1), ..Bounds::default() };
        for (asks, attempts) in [(0, 3), (600, 1), (u64::MAX, 1)] {
            let provider = Busy(asks, AtomicU32::new(0));
            deliver(&provider, &message, Instant::now(), &bounds, |_| {}).await;
            assert_eq!(provider.1.into_inner(), attempts, "{asks}");
        }
    }

    #[test]
    fn recipients_are_masked() {
        let masked = |text| masked(&Recipient::parse(text).unwrap());
        assert_eq!(masked("+8613800138042"), "*42");
        assert_eq!(masked("mark@example.com"), "m*@example.com");
    }
}
