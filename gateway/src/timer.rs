//! A timer for what hardly ever comes too late.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// Wakes its task when something is due.
///
/// What is waited for changes several times with every request, and is next to never late. So the timer is not set anew
/// as long as it rings early enough: then it is looked at what is due now.
#[derive(Debug, Default)]
pub(crate) struct LazyTimer(Option<Pin<Box<Sleep>>>);

impl LazyTimer {
    /// Ready from `due` on.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if sleep.deadline() > due {
            sleep.as_mut().reset(due);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= due {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due);
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
        let (mut alarm, begun) = (LazyTimer::default(), Instant::now());
        // Each is waited for a second, and given up if that is too short; the last one is waited for to the end.
        for due in [5, 3, 9, 4] {
            let waiting = poll_fn(|cx| alarm.poll(cx, begun + due * SECOND));
            let rang = tokio::time::timeout(SECOND, waiting).await.is_ok();
            assert_eq!(rang, due == 4, "{due}");
        }
        poll_fn(|cx| alarm.poll(cx, begun + 12 * SECOND)).await;
        assert_eq!(begun.elapsed().as_secs(), 12);
        // What was due in the past is due at once.
        poll_fn(|cx| alarm.poll(cx, begun)).await;
        assert_eq!(begun.elapsed().as_secs(), 12);
    }
}
