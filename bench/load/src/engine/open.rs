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
use stele_bench_kit::{Failure, Result};

pub(super) struct Beat {
    timer: OwnedFd,
    period: f64,
    begun: Instant,
    /// How many requests were due so far.
    told: u64,
}

impl Beat {
    /// Starts to beat `rate` times a second.
    pub(super) fn start(rate: f64, begun: Instant, registry: &Registry, token: Token) -> Result<Self> {
        if !(rate.is_finite() && rate > 0.0) {
            return Err(Failure::new("a rate must be above 0"));
        }
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK).map_err(system)?;
        // Not more often than every 50 microseconds: above that several are due at once.
        let each = Timespec::try_from(Duration::from_secs_f64(1.0 / rate).max(Duration::from_micros(50)));
        let each = each.map_err(|_| Failure::new("the rate is too low"))?;
        let spec = Itimerspec { it_interval: each, it_value: each };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &spec).map_err(system)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { timer, period: 1.0 / rate, begun, told: 0 })
    }

    /// Adds the instants of the requests that have become due since, and not after `stop`.
    pub(super) fn due(&mut self, stop: Instant, late: &mut VecDeque<Instant>) -> Result<()> {
        let mut count = [0; 8];
        match rustix::io::read(&self.timer, &mut count) {
            Ok(_) | Err(rustix::io::Errno::AGAIN) => {}
            Err(error) => return Err(system(error)),
        }
        let now = Instant::now().min(stop);
        loop {
            let due = self.begun + Duration::from_secs_f64(self.told as f64 * self.period);
            if due >= now {
                return Ok(());
            }
            late.push_back(due);
            self.told += 1;
        }
    }

    /// Ends it.
    pub(super) fn end(self, registry: &Registry) -> Result<()> {
        Ok(registry.deregister(&mut SourceFd(&self.timer.as_raw_fd()))?)
    }
}

fn system(error: rustix::io::Errno) -> Failure {
    Failure::from(std::io::Error::from(error))
}
