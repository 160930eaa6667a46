//! The beat of an open loop: a timer of the system's, which is exact to some microseconds and wakes the same poll that
//! answers do.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use stele_bench_kit::{BenchError, Result};

pub(super) struct RateTimer {
    timer: OwnedFd,
    period: f64,
    started_at: Instant,
    /// How many requests were due so far.
    fired: u64,
}

impl RateTimer {
    /// Starts to beat `rate` times a second.
    pub(super) fn start(rate: f64, begun: Instant, registry: &Registry, token: Token) -> Result<Self> {
        if !(rate.is_finite() && rate > 0.0) {
            return Err(BenchError::new("a rate must be above 0"));
        }
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK).map_err(timer_error)?;
        // Not more often than every 50 microseconds: above that several are due at once.
        let each = Timespec::try_from(Duration::from_secs_f64(1.0 / rate).max(Duration::from_micros(50)));
        let each = each.map_err(|_| BenchError::new("the rate is too low"))?;
        let spec = Itimerspec { it_interval: each, it_value: each };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &spec).map_err(timer_error)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { timer, period: 1.0 / rate, started_at: begun, fired: 0 })
    }

    /// Adds the instants of the requests that have become due since, and not after `stop`.
    pub(super) fn take_due(&mut self, stop: Instant, late: &mut VecDeque<Instant>) -> Result<()> {
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
            late.push_back(due);
            self.fired += 1;
        }
    }

    /// Ends it.
    pub(super) fn stop(self, registry: &Registry) -> Result<()> {
        Ok(registry.deregister(&mut SourceFd(&self.timer.as_raw_fd()))?)
    }
}

fn timer_error(error: rustix::io::Errno) -> BenchError {
    BenchError::from(std::io::Error::from(error))
}
