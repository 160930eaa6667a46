//! Timer of an open loop: a timerfd, exact to some microseconds, in the same poll as the connections.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use stele_bench_kit::{BenchError, Result};

/// A timer that expires when requests are due.
pub(super) struct RateTimer {
    timer: OwnedFd,
    period: f64,
    started_at: Instant,
    /// The number of requests that were due so far.
    fired: u64,
}

impl RateTimer {
    /// Starts a timer for `rate` requests per second.
    pub(super) fn start(rate: f64, started_at: Instant, registry: &Registry, token: Token) -> Result<Self> {
        if !(rate.is_finite() && rate > 0.0) {
            return Err(BenchError::new("a rate must be above 0"));
        }
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK).map_err(timer_error)?;
        // At most one expiration per 50 microseconds; at higher rates several requests are due at once.
        let interval = Timespec::try_from(Duration::from_secs_f64(1.0 / rate).max(Duration::from_micros(50)));
        let interval = interval.map_err(|_| BenchError::new("the rate is too low"))?;
        let spec = Itimerspec { it_interval: interval, it_value: interval };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &spec).map_err(timer_error)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { timer, period: 1.0 / rate, started_at, fired: 0 })
    }

    /// Appends the due times of the requests that have become due since the last call, up to `stop`.
    pub(super) fn take_due(&mut self, stop: Instant, overdue: &mut VecDeque<Instant>) -> Result<()> {
        let mut count = [0; 8];
        match rustix::io::read(&self.timer, &mut count) {
            Ok(_) | Err(rustix::io::Errno::AGAIN) => {}
            Err(error) => return Err(timer_error(error)),
        }
        let now = Instant::now().min(stop);
        loop {
            let due = self.started_at + Duration::from_secs_f64(self.fired as f64 * self.period);
            if due >= now {
                return Ok(());
            }
            overdue.push_back(due);
            self.fired += 1;
        }
    }

    /// Removes the timer from the poll.
    pub(super) fn stop(self, registry: &Registry) -> Result<()> {
        Ok(registry.deregister(&mut SourceFd(&self.timer.as_raw_fd()))?)
    }
}

fn timer_error(error: rustix::io::Errno) -> BenchError {
    BenchError::from(std::io::Error::from(error))
}
