//! The offsets of this machine's clock from the clocks of the stores' servers: thresholds, and which clock is wrong.

use std::fmt;
use std::time::Duration;

use stele_core::usecase::server_clocks::ClockOffset;

/// Offsets up to this are tolerated: NTP keeps clocks within milliseconds of each other.
const TOLERATED_OFFSET: Duration = Duration::from_secs(2);

/// The smallest limit of readiness, however small the skew: the timestamps of salted proofs are whole seconds.
const MIN_OFFSET_LIMIT: Duration = Duration::from_secs(1);

/// A store with a server of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoreServer {
    /// PostgreSQL.
    Users,
    /// Redis.
    State,
}

impl StoreServer {
    pub(super) const ALL: [Self; 2] = [Self::Users, Self::State];

    /// Value of the label `store`.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::State => "state",
        }
    }
}

impl fmt::Display for StoreServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Users => "the user store's server",
            Self::State => "the state store's server",
        })
    }
}

/// How far an offset is over the thresholds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// Over the threshold of a warning.
    Warning,
    /// Over the limit of readiness.
    OverLimit,
}

/// The last known offsets, and their thresholds.
pub(super) struct ClockComparison {
    /// Offsets over this are logged.
    warning_threshold: Duration,
    /// The limit of readiness. `None` if timestamps are not checked (`STELE_TIMESTAMP_SKEW=0`): an offset then rejects
    /// no login.
    limit: Option<Duration>,
    /// In the order of [`StoreServer::ALL`]; empty for a store that is embedded, or that has never responded.
    offsets: [Vec<ClockOffset>; 2],
}

impl ClockComparison {
    /// No offsets are known yet. Half of the skew is the limit, so that the other half is left to the clients' clocks.
    pub(super) fn new(skew: Option<Duration>) -> Self {
        let limit = skew.map(|skew| (skew / 2).max(MIN_OFFSET_LIMIT));
        let warning_threshold = limit.unwrap_or(TOLERATED_OFFSET).min(TOLERATED_OFFSET);
        Self { warning_threshold, limit, offsets: [Vec::new(), Vec::new()] }
    }

    pub(super) fn set(&mut self, store: StoreServer, offsets: Vec<ClockOffset>) {
        self.offsets[store as usize] = offsets;
    }

    /// The largest offset, in either direction, from the servers of a store; `None` if it is not known.
    pub(super) fn largest_offset_seconds(&self, store: StoreServer) -> Option<f64> {
        self.largest_offset(store).map(ClockOffset::seconds)
    }

    fn largest_offset(&self, store: StoreServer) -> Option<&ClockOffset> {
        self.offsets[store as usize].iter().max_by_key(|offset| offset.at_least())
    }

    /// The offset of a store over the threshold of a warning: one line with the remedy.
    pub(super) fn warning(&self, store: StoreServer) -> Option<(Severity, String)> {
        let offset = self.largest_offset(store)?;
        let severity = match offset.at_least() {
            at_least if self.limit.is_some_and(|limit| at_least > limit) => Severity::OverLimit,
            at_least if at_least > self.warning_threshold => Severity::Warning,
            _ => return None,
        };
        Some((severity, format!("this machine's clock is {}: {}", describe(store, offset), self.diagnose())))
    }

    /// Why the process is not ready: every known clock is over the limit. One that is not shows that this machine's
    /// clock is right and another one is wrong, which rejects no login.
    pub(super) fn not_ready_reason(&self) -> Option<String> {
        let limit = self.limit?;
        let largest: Vec<_> = self.all_offsets().collect();
        if largest.is_empty() || largest.iter().any(|(_, offset)| offset.at_least() <= limit) {
            return None;
        }
        let stores = StoreServer::ALL.into_iter();
        let described: Vec<_> = stores.filter_map(|store| Some(describe(store, self.largest_offset(store)?))).collect();
        Some(format!(
            "this machine's clock is {}, and the limit is {} s (half of STELE_TIMESTAMP_SKEW, at least 1 s): {}",
            described.join(" and "),
            limit.as_secs_f64(),
            self.diagnose()
        ))
    }

    fn all_offsets(&self) -> impl Iterator<Item = (StoreServer, &ClockOffset)> {
        StoreServer::ALL
            .into_iter()
            .zip(&self.offsets)
            .flat_map(|(store, offsets)| offsets.iter().map(move |o| (store, o)))
    }

    /// Which clock is wrong, and the remedy.
    fn diagnose(&self) -> String {
        let agrees = |(_, offset): &(StoreServer, &ClockOffset)| offset.at_least() <= self.warning_threshold;
        let (agreeing, differing): (Vec<_>, Vec<_>) = self.all_offsets().partition(agrees);
        let names = |offsets: &[(StoreServer, &ClockOffset)]| {
            let names: Vec<_> = offsets.iter().map(|(store, offset)| name(*store, offset)).collect();
            names.join(" and ")
        };
        if !agreeing.is_empty() {
            return format!(
                "it agrees with {}, so probably the clock of {} is wrong: synchronize it by NTP",
                names(&agreeing),
                names(&differing)
            );
        }
        match differing.split_first() {
            Some(((_, first), others)) if !others.is_empty() => {
                let differs =
                    |(_, other): &(StoreServer, &ClockOffset)| first.differs_by_at_least(other) > TOLERATED_OFFSET;
                if others.iter().any(differs) {
                    format!("{} differ from each other as well: synchronize all of them by NTP", names(&differing))
                } else {
                    format!("{} agree with each other, so this one is wrong: synchronize it by NTP", names(&differing))
                }
            }
            _ => "synchronize both machines by NTP".to_owned(),
        }
    }
}

/// The offset from a store's server, as part of a sentence.
fn describe(store: StoreServer, offset: &ClockOffset) -> String {
    let direction = if offset.seconds() < 0.0 { "behind" } else { "ahead of" };
    format!("{:.1} s {direction} {}", offset.seconds().abs(), name(store, offset))
}

/// A server of a store, with its address if the store has several.
fn name(store: StoreServer, offset: &ClockOffset) -> String {
    if offset.server.is_empty() { store.to_string() } else { format!("{store} {}", offset.server) }
}

#[cfg(test)]
mod tests {
    use stele_core::ports::ServerClock;
    use stele_core::time::Timestamp;

    use super::*;

    const DEFAULT_SKEW: Option<Duration> = Some(Duration::from_secs(300));

    /// The offset of a clock that is `seconds` ahead of the server's.
    fn offset(server: &str, seconds: i64) -> ClockOffset {
        let now = Timestamp::from_secs(1_700_000_000);
        let server_now = Timestamp::from_secs(now.as_secs() - seconds);
        let reading = ServerClock { server: server.to_owned(), now: server_now };
        ClockOffset::from_round_trip(reading, now, Duration::from_millis(2))
    }

    fn compare(skew: Option<Duration>, users: &[i64], state: &[i64]) -> ClockComparison {
        let mut comparison = ClockComparison::new(skew);
        let offsets = |seconds: &[i64]| seconds.iter().map(|seconds| offset("", *seconds)).collect();
        comparison.set(StoreServer::Users, offsets(users));
        comparison.set(StoreServer::State, offsets(state));
        comparison
    }

    fn severities(comparison: &ClockComparison) -> [Option<Severity>; 2] {
        StoreServer::ALL.map(|store| comparison.warning(store).map(|(severity, _)| severity))
    }

    #[test]
    fn an_offset_over_half_the_skew_from_every_server_is_a_reason() {
        use Severity::{OverLimit, Warning};
        for (users, state, expected, is_ready) in [
            (vec![], vec![], [None, None], true),
            (vec![0], vec![0], [None, None], true),
            (vec![2], vec![-2], [None, None], true),
            (vec![3], vec![-3], [Some(Warning), Some(Warning)], true),
            (vec![150], vec![150], [Some(Warning), Some(Warning)], true),
            (vec![151], vec![151], [Some(OverLimit), Some(OverLimit)], false),
            (vec![-600], vec![], [Some(OverLimit), None], false),
            (vec![], vec![600], [None, Some(OverLimit)], false),
            (vec![-600], vec![-600, -600], [Some(OverLimit), Some(OverLimit)], false),
            // Another clock is wrong.
            (vec![600], vec![0], [Some(OverLimit), None], true),
            (vec![0], vec![0, 600], [None, Some(OverLimit)], true),
            (vec![600], vec![-600], [Some(OverLimit), Some(OverLimit)], false),
        ] {
            let comparison = compare(DEFAULT_SKEW, &users, &state);
            assert_eq!(severities(&comparison), expected, "{users:?} {state:?}");
            assert_eq!(comparison.not_ready_reason().is_none(), is_ready, "{users:?} {state:?}");
        }
    }

    #[test]
    fn the_reason_says_which_clock_is_wrong() {
        let reason = compare(DEFAULT_SKEW, &[600], &[600]).not_ready_reason().unwrap();
        assert_eq!(
            reason,
            "this machine's clock is 600.0 s ahead of the user store's server and 600.0 s ahead of the state store's \
             server, and the limit is 150 s (half of STELE_TIMESTAMP_SKEW, at least 1 s): the user store's server \
             and the state store's server agree with each other, so this one is wrong: synchronize it by NTP"
        );
        let reason = compare(DEFAULT_SKEW, &[600], &[-600]).not_ready_reason().unwrap();
        assert!(reason.contains("600.0 s behind the state store's server") && reason.contains("differ"), "{reason}");
        let reason = compare(DEFAULT_SKEW, &[-600], &[]).not_ready_reason().unwrap();
        assert!(reason.ends_with("synchronize both machines by NTP"), "{reason}");
        let (_, warning) = compare(DEFAULT_SKEW, &[0], &[600]).warning(StoreServer::State).unwrap();
        assert!(
            warning.contains("agrees with the user store's server, so probably the clock of the state"),
            "{warning}"
        );
    }

    #[test]
    fn a_cluster_names_the_server() {
        let mut comparison = ClockComparison::new(DEFAULT_SKEW);
        comparison.set(StoreServer::State, vec![offset("10.0.0.1:6379", 0), offset("10.0.0.2:6379", -5)]);
        let (_, warning) = comparison.warning(StoreServer::State).unwrap();
        assert!(warning.contains("5.0 s behind the state store's server 10.0.0.2:6379"), "{warning}");
        assert!(warning.contains("agrees with the state store's server 10.0.0.1:6379"), "{warning}");
        assert_eq!(comparison.largest_offset_seconds(StoreServer::State), Some(-4.999));
    }

    #[test]
    fn small_skews_have_a_limit_of_a_second_and_a_skew_of_0_has_none() {
        let is_ready = |skew, seconds| compare(skew, &[seconds], &[]).not_ready_reason().is_none();
        let small = Some(Duration::from_millis(500));
        assert!(is_ready(small, 1) && !is_ready(small, 2));
        assert_eq!(severities(&compare(Some(Duration::from_secs(3)), &[2], &[])), [Some(Severity::OverLimit), None]);
        assert!(is_ready(None, 1_000_000));
        assert_eq!(severities(&compare(None, &[2], &[3])), [None, Some(Severity::Warning)]);
    }
}
