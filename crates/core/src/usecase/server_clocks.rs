//! Comparison of this machine's clock with the clocks of the stores' servers (`docs/adr/0047`).

use std::time::Duration;

use tokio::time::Instant;

use crate::ports::ServerClock;
use crate::time::{Clock, Timestamp};
use crate::{Result, UseCases};

/// How far this machine's clock is from a server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClockOffset {
    /// The server's address in a store of several servers; empty if the store has one.
    pub server: String,
    /// Microseconds that this machine's clock is ahead; negative if it is behind.
    micros: i64,
    /// Half of the round trip, in microseconds: the most that `micros` may differ from the true offset.
    uncertainty_micros: i64,
}

impl ClockOffset {
    /// The offset from a server that read `server_clock` within `round_trip` after `sent_at`. The server is taken to
    /// have read its clock in the middle of the round trip, as NTP does.
    pub fn from_round_trip(server_clock: ServerClock, sent_at: Timestamp, round_trip: Duration) -> Self {
        let half = round_trip / 2;
        let micros = sent_at.saturating_add(half).as_micros().saturating_sub(server_clock.now.as_micros());
        let uncertainty_micros = i64::try_from(half.as_micros()).unwrap_or(i64::MAX);
        Self { server: server_clock.server, micros, uncertainty_micros }
    }

    /// Seconds that this machine's clock is ahead, negative if it is behind; 0 if the measured offset is within the
    /// uncertainty of the measurement.
    pub fn seconds(&self) -> f64 {
        if self.at_least().is_zero() { 0.0 } else { self.micros as f64 / 1e6 }
    }

    /// The smallest offset, in either direction, that the measurement allows.
    pub fn at_least(&self) -> Duration {
        let micros = i64::try_from(self.micros.unsigned_abs()).unwrap_or(i64::MAX);
        Duration::from_micros(u64::try_from(micros.saturating_sub(self.uncertainty_micros)).unwrap_or(0))
    }

    /// The smallest difference of the two servers' clocks that both measurements allow.
    pub fn differs_by_at_least(&self, other: &Self) -> Duration {
        let difference = Self {
            server: String::new(),
            micros: self.micros.saturating_sub(other.micros),
            uncertainty_micros: self.uncertainty_micros.saturating_add(other.uncertainty_micros),
        };
        difference.at_least()
    }
}

impl UseCases {
    /// The offset of this machine's clock from the clock of the user store's server. Empty if the store is embedded, or
    /// if a test's clock replaces this machine's, which says nothing about the servers.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`.
    pub async fn user_store_clock_offsets(&self) -> Result<Vec<ClockOffset>> {
        measure_offsets(self.deps.clock.as_ref(), || self.deps.users.server_clocks()).await
    }

    /// As [`UseCases::user_store_clock_offsets`], from each server of the state store.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`.
    pub async fn state_store_clock_offsets(&self) -> Result<Vec<ClockOffset>> {
        measure_offsets(self.deps.clock.as_ref(), || self.deps.state.server_clocks()).await
    }

    /// How far a salted proof's timestamp may be from the current time; `None` if every timestamp is accepted.
    pub fn max_clock_skew(&self) -> Option<Duration> {
        self.deps.policy.max_clock_skew
    }
}

async fn measure_offsets<F>(clock: &dyn Clock, read_clocks: impl FnOnce() -> F) -> Result<Vec<ClockOffset>>
where
    F: Future<Output = Result<Vec<ServerClock>>>,
{
    if !clock.is_system_clock() {
        return Ok(Vec::new());
    }
    // The round trip is measured by the monotonic clock: the other one may be set meanwhile.
    let (sent_at, started_at) = (clock.now(), Instant::now());
    let readings = read_clocks().await?;
    let round_trip = started_at.elapsed();
    Ok(readings.into_iter().map(|reading| ClockOffset::from_round_trip(reading, sent_at, round_trip)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT_AT: Timestamp = Timestamp::from_secs(1_700_000_000);

    fn measure(server_ahead_millis: i64, round_trip_millis: u64) -> ClockOffset {
        let now = Timestamp::from_micros(SENT_AT.as_micros() + server_ahead_millis * 1_000);
        let reading = ServerClock { server: String::new(), now };
        ClockOffset::from_round_trip(reading, SENT_AT, Duration::from_millis(round_trip_millis))
    }

    #[test]
    fn the_offset_is_measured_from_the_middle_of_the_round_trip() {
        for (server_ahead, round_trip, seconds, at_least) in [
            (0, 0, 0.0, 0),
            (600_000, 0, -600.0, 600_000),
            (-3_000, 0, 3.0, 3_000),
            // The server read its clock when the request was sent, in the middle, and when the response arrived.
            (0, 1_000, 0.0, 0),
            (500, 1_000, 0.0, 0),
            (1_000, 1_000, 0.0, 0),
            (-2_500, 1_000, 3.0, 2_500),
            (3_500, 1_000, -3.0, 2_500),
        ] {
            let offset = measure(server_ahead, round_trip);
            assert_eq!(offset.seconds(), seconds, "{server_ahead} {round_trip}");
            assert_eq!(offset.at_least(), Duration::from_millis(at_least), "{server_ahead} {round_trip}");
        }
    }

    #[test]
    fn extreme_clocks_saturate() {
        for now in [i64::MIN, i64::MAX] {
            let reading = ServerClock { server: String::new(), now: Timestamp::from_micros(now) };
            let offset = ClockOffset::from_round_trip(reading, SENT_AT, Duration::MAX);
            assert_eq!(offset.at_least(), Duration::ZERO);
            assert_eq!(offset.differs_by_at_least(&measure(0, 0)), Duration::ZERO);
        }
    }

    #[test]
    fn the_difference_of_two_servers_allows_for_both_uncertainties() {
        assert_eq!(measure(600_000, 0).differs_by_at_least(&measure(-300_000, 0)), Duration::from_secs(900));
        assert_eq!(measure(2_000, 2_000).differs_by_at_least(&measure(0, 2_000)), Duration::ZERO);
    }
}
