//! Timer for deadlines that move often and rarely expire, such as timeouts.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// Wakes its task at a deadline.
///
/// The deadline moves several times per request and almost never expires. Moving it later therefore does not reset the
/// underlying timer. When the underlying timer fires too early, it is set to the current deadline.
#[derive(Debug, Default)]
pub(crate) struct LazyTimer(Option<Pin<Box<Sleep>>>);

impl LazyTimer {
    /// Ready once `deadline` has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn the_timer_fires_at_the_deadline_polled_last() {
        let (mut timer, start) = (LazyTimer::default(), Instant::now());
        // Each deadline is awaited for one second; only the last is reached.
        for seconds in [5, 3, 9, 4] {
            let wait = poll_fn(|cx| timer.poll(cx, start + seconds * SECOND));
            let has_fired = tokio::time::timeout(SECOND, wait).await.is_ok();
            assert_eq!(has_fired, seconds == 4, "{seconds}");
        }
        poll_fn(|cx| timer.poll(cx, start + 12 * SECOND)).await;
        assert_eq!(start.elapsed().as_secs(), 12);
        // A deadline in the past fires at once.
        poll_fn(|cx| timer.poll(cx, start)).await;
        assert_eq!(start.elapsed().as_secs(), 12);
    }
}
