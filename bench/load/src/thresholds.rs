//! Thresholds of the results, and how each value is computed from the workloads of one round.

use crate::django;
use crate::footprint::Footprint;
use crate::measurement::{Measurement, MedianRange, RoundMeasurements};
use crate::test_bed::{DEFAULT_CONNECTIONS, MANY_CONNECTIONS, core_count};

/// A measured value and its threshold.
pub(crate) struct EvaluatedThreshold {
    pub(crate) title: String,
    /// The value over the rounds. Its median is compared with the threshold.
    pub(crate) measured: MedianRange,
    pub(crate) threshold: Threshold,
    pub(crate) unit: &'static str,
}

/// A required minimum or maximum.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Threshold {
    AtLeast(f64),
    AtMost(f64),
}

impl EvaluatedThreshold {
    pub(crate) fn is_met(&self) -> bool {
        match self.threshold {
            Threshold::AtLeast(limit) => self.measured.median >= limit,
            Threshold::AtMost(limit) => self.measured.median <= limit,
        }
    }

    /// "met", or by how many percent of the threshold it is missed.
    pub(crate) fn result_text(&self) -> String {
        let (Threshold::AtLeast(limit) | Threshold::AtMost(limit)) = self.threshold;
        let off = (self.measured.median - limit).abs() / limit * 100.0;
        if self.is_met() { "met".to_owned() } else { format!("**missed by {off:.0} %**") }
    }
}

/// Computes a value from a round; `None` if a required workload was not measured.
type Metric = fn(&RoundMeasurements) -> Option<f64>;

/// Against an earlier build in the same rounds: at most 3 % slower.
const NO_REGRESSION: Threshold = Threshold::AtLeast(0.97);

/// The gateway against nginx (ADR 33): rate over plain HTTP and over TLS, and p99.
const MIN_PLAIN_RATIO: Threshold = Threshold::AtLeast(0.9);
const MIN_TLS_RATIO: Threshold = Threshold::AtLeast(1.0);
const MAX_P99_RATIO: Threshold = Threshold::AtMost(1.25);

/// A login against the same call in plain Django: rate, p99 and memory.
const MIN_RATE_RATIO_TO_DJANGO: Threshold = Threshold::AtLeast(5.0);
const MAX_P99_RATIO_TO_DJANGO: Threshold = Threshold::AtMost(0.5);
const MAX_MEMORY_RATIO_TO_DJANGO: Threshold = Threshold::AtMost(0.33);

/// The thresholds of workloads: title, value, threshold, unit.
const THRESHOLDS: &[(&str, Metric, Threshold, &str)] = &[
    ("gateway against nginx, GET", |r| rate_ratio(r, "gateway-get", "nginx-get"), MIN_PLAIN_RATIO, ""),
    ("… its p99 against nginx's", |r| p99_ratio(r, "gateway-get", "nginx-get"), MAX_P99_RATIO, ""),
    ("gateway against nginx, POST of 500 bytes", |r| rate_ratio(r, "gateway-post", "nginx-post"), MIN_PLAIN_RATIO, ""),
    ("… its p99 against nginx's", |r| p99_ratio(r, "gateway-post", "nginx-post"), MAX_P99_RATIO, ""),
    (
        "gateway against nginx over TLS, HTTP/1.1, GET",
        |r| rate_ratio(r, "tls1-get", "nginx-tls1-get"),
        MIN_TLS_RATIO,
        "",
    ),
    ("… its p99 against nginx's", |r| p99_ratio(r, "tls1-get", "nginx-tls1-get"), MAX_P99_RATIO, ""),
    ("… POST of 500 bytes", |r| rate_ratio(r, "tls1-post", "nginx-tls1-post"), MIN_TLS_RATIO, ""),
    ("… its p99 against nginx's", |r| p99_ratio(r, "tls1-post", "nginx-tls1-post"), MAX_P99_RATIO, ""),
    ("gateway against nginx over TLS, HTTP/2, GET", |r| rate_ratio(r, "tls2-get", "nginx-tls2-get"), MIN_TLS_RATIO, ""),
    ("… its p99 against nginx's", |r| p99_ratio(r, "tls2-get", "nginx-tls2-get"), MAX_P99_RATIO, ""),
    ("… POST of 500 bytes", |r| rate_ratio(r, "tls2-post", "nginx-tls2-post"), MIN_TLS_RATIO, ""),
    ("… its p99 against nginx's", |r| p99_ratio(r, "tls2-post", "nginx-tls2-post"), MAX_P99_RATIO, ""),
    (
        "salted login at the service against its theoretical maximum rate",
        |r| Some(workload_rate(r, "salted")? / theoretical_login_rate(r)?),
        Threshold::AtLeast(0.8),
        "",
    ),
    ("… its p99", |r| r.get("salted")?.p99, Threshold::AtMost(8.0), "ms"),
    (
        "salted login through the gateway against nginx in front of the same service",
        |r| rate_ratio(r, "salted-gateway", "salted-nginx"),
        Threshold::AtLeast(0.97),
        "",
    ),
    (
        "token check against its theoretical rate",
        |r| Some(workload_rate(r, "token")? / theoretical_token_rate(r)?),
        Threshold::AtLeast(0.8),
        "",
    ),
    (
        "introspection of a session against its theoretical maximum rate",
        |r| Some(workload_rate(r, "introspect")? / theoretical_introspection_rate(r)?),
        Threshold::AtLeast(0.8),
        "",
    ),
    (
        "forward authentication through nginx against the same nginx with an empty auth upstream",
        |r| rate_ratio(r, "nginx-auth", "nginx-auth-empty"),
        Threshold::AtLeast(0.7),
        "",
    ),
    (
        "exchange of a session (EdDSA) against a salted login",
        |r| rate_ratio(r, "exchange", "salted"),
        Threshold::AtLeast(0.5),
        "",
    ),
    ("MeFP call against the same in plain JSON", |r| rate_ratio(r, "mefp", "plain"), Threshold::AtLeast(0.9), ""),
    (
        "password login against the hashing limit (cores divided by the time of one verification)",
        |r| Some(workload_rate(r, "raw")? / (workload_rate(r, "hash")? * core_count() as f64)),
        Threshold::AtLeast(0.95),
        "",
    ),
    ("… against hashing on all cores", |r| rate_ratio(r, "raw", "hash-all"), Threshold::AtLeast(0.95), ""),
    (
        "… p99 of concurrent salted logins, at a tenth of their maximum rate",
        |r| r.get("salted-beside")?.p99,
        Threshold::AtMost(10.0),
        "ms",
    ),
    ("`stele up`, embedded: salted logins per second", |r| workload_rate(r, "up"), Threshold::AtLeast(10_000.0), "/s"),
    ("… against the same on PostgreSQL and Redis", |r| rate_ratio(r, "up", "up-servers"), Threshold::AtLeast(0.6), ""),
    ("all users against few of them", |r| rate_ratio(r, "salted", "salted-few"), Threshold::AtLeast(0.9), ""),
    ("most users against few of them", |r| rate_ratio(r, "salted-most", "salted-few"), Threshold::AtLeast(0.9), ""),
    (
        "salted login at the service against the baseline",
        |r| rate_ratio(r, "salted", "salted-baseline"),
        NO_REGRESSION,
        "",
    ),
    ("… through the gateway", |r| rate_ratio(r, "salted-gateway", "salted-gateway-baseline"), NO_REGRESSION, ""),
    ("token check against the baseline", |r| rate_ratio(r, "token", "token-baseline"), NO_REGRESSION, ""),
    ("MeFP call against the baseline", |r| rate_ratio(r, "mefp", "mefp-baseline"), NO_REGRESSION, ""),
    ("password login against the baseline", |r| rate_ratio(r, "raw", "raw-baseline"), NO_REGRESSION, ""),
    ("`stele up`, embedded, against the baseline", |r| rate_ratio(r, "up", "up-baseline"), NO_REGRESSION, ""),
    (
        "two instances against one, through the gateway",
        |r| rate_ratio(r, "salted-two", "salted-gateway"),
        Threshold::AtLeast(1.0),
        "",
    ),
    ("many connections against 64: rate", |r| rate_ratio(r, "salted-many", "salted"), Threshold::AtLeast(1.0), ""),
    (
        "… growth of p99 against that of connections",
        |r| Some(p99_ratio(r, "salted-many", "salted")? / (MANY_CONNECTIONS as f64 / DEFAULT_CONNECTIONS as f64)),
        Threshold::AtMost(1.0),
        "",
    ),
    (
        "salted login through the gateway against a plain Django view",
        |r| rate_ratio(r, django::STELE_KEY, django::VIEW_KEY),
        MIN_RATE_RATIO_TO_DJANGO,
        "",
    ),
    (
        "… its p99 against the view's",
        |r| p99_ratio(r, django::STELE_KEY, django::VIEW_KEY),
        MAX_P99_RATIO_TO_DJANGO,
        "",
    ),
    (
        "… memory (PSS) of gateway and service after use against gunicorn's",
        |r| Some(proportional_memory(r, django::STELE_KEY)? / proportional_memory(r, django::VIEW_KEY)?),
        MAX_MEMORY_RATIO_TO_DJANGO,
        "",
    ),
];

/// All thresholds whose workloads were measured.
pub(crate) fn evaluate_thresholds(rounds: &[RoundMeasurements], footprints: &[Footprint]) -> Vec<EvaluatedThreshold> {
    let of_workloads = THRESHOLDS.iter().filter_map(|(title, metric, threshold, unit)| {
        let measured = MedianRange::from_values(rounds.iter().filter_map(metric))?;
        Some(EvaluatedThreshold { title: (*title).to_owned(), measured, threshold: *threshold, unit })
    });
    let of_programs = footprints.iter().flat_map(|footprint| {
        let max_mib = match footprint.name {
            "gateway" => 12.0,
            "stele up" => 40.0,
            _ => 15.0,
        };
        let resident = footprint.idle_memory.resident as f64 / 1_024.0;
        let memory = MedianRange { median: resident, min: resident, max: resident };
        let threshold_title = |what: &str| format!("{}: {what}", footprint.name);
        [
            EvaluatedThreshold {
                title: threshold_title("idle memory"),
                measured: memory,
                threshold: Threshold::AtMost(max_mib),
                unit: "MiB",
            },
            EvaluatedThreshold {
                title: threshold_title("start-up time"),
                measured: footprint.startup_seconds,
                threshold: Threshold::AtMost(0.3),
                unit: "s",
            },
        ]
    });
    of_workloads.chain(of_programs).collect()
}

/// Theoretical maximum rate: of a login that only receives a request, selects a user and sets a key, one after the other.
pub(crate) fn theoretical_login_rate(round: &RoundMeasurements) -> Option<f64> {
    Some(
        1.0 / (1.0 / workload_rate(round, "hello")?
            + 1.0 / workload_rate(round, "select")?
            + 1.0 / workload_rate(round, "set")?),
    )
}

/// The rate of a token check that only receives a request and gets a key.
pub(crate) fn theoretical_token_rate(round: &RoundMeasurements) -> Option<f64> {
    Some(1.0 / (1.0 / workload_rate(round, "hello")? + 1.0 / workload_rate(round, "get")?))
}

/// Theoretical maximum rate: of an introspection that only receives a request, gets a key and selects a user.
pub(crate) fn theoretical_introspection_rate(round: &RoundMeasurements) -> Option<f64> {
    Some(
        1.0 / (1.0 / workload_rate(round, "hello")?
            + 1.0 / workload_rate(round, "get")?
            + 1.0 / workload_rate(round, "select")?),
    )
}

fn workload_rate(round: &RoundMeasurements, key: &str) -> Option<f64> {
    round.get(key).map(|measurement: &Measurement| measurement.rate).filter(|rate| *rate > 0.0)
}

fn rate_ratio(round: &RoundMeasurements, ours: &str, theirs: &str) -> Option<f64> {
    Some(workload_rate(round, ours)? / workload_rate(round, theirs)?)
}

fn p99_ratio(round: &RoundMeasurements, ours: &str, theirs: &str) -> Option<f64> {
    Some(round.get(ours)?.p99? / round.get(theirs)?.p99?)
}

/// Proportional set size after use, in KiB.
fn proportional_memory(round: &RoundMeasurements, key: &str) -> Option<f64> {
    Some(round.get(key)?.memory?.proportional as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(rates: &[(&'static str, f64)]) -> RoundMeasurements {
        rates.iter().map(|(key, rate)| (*key, Measurement { rate: *rate, p99: Some(4.0), ..<_>::default() })).collect()
    }

    #[test]
    fn thresholds_compare_rates_with_the_theoretical_rate_of_their_parts() {
        let round = round(&[("hello", 120.0), ("select", 60.0), ("set", 120.0), ("get", 40.0), ("salted", 24.0)]);
        assert!((theoretical_login_rate(&round).unwrap() - 30.0).abs() < 1e-9);
        assert!((theoretical_token_rate(&round).unwrap() - 30.0).abs() < 1e-9);
        let evaluated = evaluate_thresholds(&[round], &[]);
        let find = |title: &str| evaluated.iter().find(|threshold| threshold.title.starts_with(title)).unwrap();
        assert!(find("salted login at the service").is_met());
        assert!(find("… its p99").is_met());
    }

    #[test]
    fn a_workload_that_was_not_measured_has_no_threshold() {
        let evaluated = evaluate_thresholds(&[round(&[("hello", 120.0), ("salted", 24.0)])], &[]);
        let is_mefp = |threshold: &EvaluatedThreshold| threshold.title.starts_with("MeFP");
        assert!(!evaluated.iter().any(is_mefp));
    }

    #[test]
    fn a_missed_threshold_reports_the_gap() {
        let measured = MedianRange { median: 0.6, min: 0.5, max: 0.7 };
        let evaluated =
            EvaluatedThreshold { title: String::new(), measured, threshold: Threshold::AtLeast(0.8), unit: "" };
        assert_eq!(evaluated.result_text(), "**missed by 25 %**");
    }
}
