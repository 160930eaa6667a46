//! What the measurements must show: each bar with how it is worked out from the lanes of one round.

use crate::footprint::Footprint;
use crate::running::{CONNECTIONS, MANY, cores};
use crate::sample::{Round, Sample, Spread};

/// A figure beside its bar.
pub(crate) struct Judged {
    pub(crate) title: String,
    /// Over the rounds; what is judged is the median.
    pub(crate) figure: Spread,
    pub(crate) bar: Bar,
    pub(crate) unit: &'static str,
}

/// What is asked of a figure.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bar {
    AtLeast(f64),
    AtMost(f64),
}

impl Judged {
    pub(crate) fn is_met(&self) -> bool {
        match self.bar {
            Bar::AtLeast(bar) => self.figure.median >= bar,
            Bar::AtMost(bar) => self.figure.median <= bar,
        }
    }

    /// "met", or by what part of the bar it is missed.
    pub(crate) fn verdict(&self) -> String {
        let (Bar::AtLeast(bar) | Bar::AtMost(bar)) = self.bar;
        let off = (self.figure.median - bar).abs() / bar * 100.0;
        if self.is_met() { "met".to_owned() } else { format!("**missed by {off:.0} %**") }
    }
}

/// How a figure comes out of a round; `None` if what it needs was not measured.
type Figure = fn(&Round) -> Option<f64>;

/// What a build may lose against an earlier one in the same rounds: 3 %.
const NOT_SLOWER: Bar = Bar::AtLeast(0.97);

/// What the gateway must be beside nginx (ADR 33): in plain HTTP, over TLS, and in its slowest hundredth.
const PLAIN: Bar = Bar::AtLeast(0.9);
const TLS: Bar = Bar::AtLeast(1.0);
const P99: Bar = Bar::AtMost(1.25);

/// The bars that come from the lanes.
const BARS: &[(&str, Figure, Bar, &str)] = &[
    ("gateway against nginx, GET", |r| ratio(r, "gateway-get", "nginx-get"), PLAIN, ""),
    ("… its p99 against nginx's", |r| p99s(r, "gateway-get", "nginx-get"), P99, ""),
    ("gateway against nginx, POST of 500 bytes", |r| ratio(r, "gateway-post", "nginx-post"), PLAIN, ""),
    ("… its p99 against nginx's", |r| p99s(r, "gateway-post", "nginx-post"), P99, ""),
    ("gateway against nginx over TLS, HTTP/1.1, GET", |r| ratio(r, "tls1-get", "nginx-tls1-get"), TLS, ""),
    ("… its p99 against nginx's", |r| p99s(r, "tls1-get", "nginx-tls1-get"), P99, ""),
    ("… POST of 500 bytes", |r| ratio(r, "tls1-post", "nginx-tls1-post"), TLS, ""),
    ("… its p99 against nginx's", |r| p99s(r, "tls1-post", "nginx-tls1-post"), P99, ""),
    ("gateway against nginx over TLS, HTTP/2, GET", |r| ratio(r, "tls2-get", "nginx-tls2-get"), TLS, ""),
    ("… its p99 against nginx's", |r| p99s(r, "tls2-get", "nginx-tls2-get"), P99, ""),
    ("… POST of 500 bytes", |r| ratio(r, "tls2-post", "nginx-tls2-post"), TLS, ""),
    ("… its p99 against nginx's", |r| p99s(r, "tls2-post", "nginx-tls2-post"), P99, ""),
    ("salted login at the service against L", |r| Some(rate(r, "salted")? / login_limit(r)?), Bar::AtLeast(0.8), ""),
    ("… its p99", |r| r.get("salted")?.p99, Bar::AtMost(8.0), "ms"),
    (
        "salted login through the gateway against nginx before the same service",
        |r| ratio(r, "salted-gateway", "salted-nginx"),
        Bar::AtLeast(0.97),
        "",
    ),
    ("token check against its limit", |r| Some(rate(r, "token")? / token_limit(r)?), Bar::AtLeast(0.8), ""),
    ("MeFP call against the same in plain JSON", |r| ratio(r, "mefp", "plain"), Bar::AtLeast(0.9), ""),
    (
        "login by password against the hashing ceiling (cores by the time of one verification)",
        |r| Some(rate(r, "raw")? / (rate(r, "hash")? * cores() as f64)),
        Bar::AtLeast(0.95),
        "",
    ),
    ("… against all cores hashing at once", |r| ratio(r, "raw", "hash-all"), Bar::AtLeast(0.95), ""),
    ("… p99 of salted logins beside, at a tenth of the most", |r| r.get("salted-beside")?.p99, Bar::AtMost(10.0), "ms"),
    ("`stele up`, embedded: salted logins a second", |r| rate(r, "up"), Bar::AtLeast(10_000.0), "/s"),
    ("… against the same on PostgreSQL and Redis", |r| ratio(r, "up", "up-servers"), Bar::AtLeast(0.6), ""),
    ("all users against few of them", |r| ratio(r, "salted", "salted-few"), Bar::AtLeast(0.9), ""),
    ("most users against few of them", |r| ratio(r, "salted-most", "salted-few"), Bar::AtLeast(0.9), ""),
    ("salted login at the service against the baseline", |r| ratio(r, "salted", "salted-baseline"), NOT_SLOWER, ""),
    ("… through the gateway", |r| ratio(r, "salted-gateway", "salted-gateway-baseline"), NOT_SLOWER, ""),
    ("token check against the baseline", |r| ratio(r, "token", "token-baseline"), NOT_SLOWER, ""),
    ("MeFP call against the baseline", |r| ratio(r, "mefp", "mefp-baseline"), NOT_SLOWER, ""),
    ("login by password against the baseline", |r| ratio(r, "raw", "raw-baseline"), NOT_SLOWER, ""),
    ("`stele up`, embedded, against the baseline", |r| ratio(r, "up", "up-baseline"), NOT_SLOWER, ""),
    (
        "two instances against one, through the gateway",
        |r| ratio(r, "salted-two", "salted-gateway"),
        Bar::AtLeast(1.0),
        "",
    ),
    ("many connections against 64: rate", |r| ratio(r, "salted-many", "salted"), Bar::AtLeast(1.0), ""),
    (
        "… growth of p99 against that of connections",
        |r| Some(p99s(r, "salted-many", "salted")? / (MANY as f64 / CONNECTIONS as f64)),
        Bar::AtMost(1.0),
        "",
    ),
];

/// All bars whose lanes were measured.
pub(crate) fn judge(rounds: &[Round], footprints: &[Footprint]) -> Vec<Judged> {
    let of_lanes = BARS.iter().filter_map(|(title, figure, bar, unit)| {
        let figure = Spread::of(rounds.iter().filter_map(figure))?;
        Some(Judged { title: (*title).to_owned(), figure, bar: *bar, unit })
    });
    let of_programs = footprints.iter().flat_map(|footprint| {
        let most = match footprint.name {
            "gateway" => 12.0,
            "stele up" => 40.0,
            _ => 15.0,
        };
        let resident = footprint.idle.resident as f64 / 1_024.0;
        let memory = Spread { median: resident, least: resident, most: resident };
        let title = |what: &str| format!("{}: {what}", footprint.name);
        [
            Judged { title: title("idle memory"), figure: memory, bar: Bar::AtMost(most), unit: "MiB" },
            Judged { title: title("start to ready"), figure: footprint.ready, bar: Bar::AtMost(0.3), unit: "s" },
        ]
    });
    of_lanes.chain(of_programs).collect()
}

/// L: what a login would take that did nothing but be received, selected and set, one after the other.
pub(crate) fn login_limit(round: &Round) -> Option<f64> {
    Some(1.0 / (1.0 / rate(round, "hello")? + 1.0 / rate(round, "select")? + 1.0 / rate(round, "set")?))
}

/// The same of a token check: received, got.
pub(crate) fn token_limit(round: &Round) -> Option<f64> {
    Some(1.0 / (1.0 / rate(round, "hello")? + 1.0 / rate(round, "get")?))
}

fn rate(round: &Round, key: &str) -> Option<f64> {
    round.get(key).map(|sample: &Sample| sample.rate).filter(|rate| *rate > 0.0)
}

fn ratio(round: &Round, ours: &str, theirs: &str) -> Option<f64> {
    Some(rate(round, ours)? / rate(round, theirs)?)
}

fn p99s(round: &Round, ours: &str, theirs: &str) -> Option<f64> {
    Some(round.get(ours)?.p99? / round.get(theirs)?.p99?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(rates: &[(&'static str, f64)]) -> Round {
        rates.iter().map(|(key, rate)| (*key, Sample { rate: *rate, p99: Some(4.0), ..<_>::default() })).collect()
    }

    #[test]
    fn a_limit_is_made_of_its_parts() {
        let round = round(&[("hello", 120.0), ("select", 60.0), ("set", 120.0), ("get", 40.0), ("salted", 24.0)]);
        assert!((login_limit(&round).unwrap() - 30.0).abs() < 1e-9);
        assert!((token_limit(&round).unwrap() - 30.0).abs() < 1e-9);
        let judged = judge(&[round], &[]);
        let of = |title: &str| judged.iter().find(|one| one.title.starts_with(title)).unwrap();
        assert!(of("salted login at the service").is_met());
        assert!(of("… its p99").is_met());
        assert!(!judged.iter().any(|one| one.title.starts_with("MeFP")), "what was not measured is not judged");
    }

    #[test]
    fn a_bar_that_is_missed_says_by_how_much() {
        let figure = Spread { median: 0.6, least: 0.5, most: 0.7 };
        let judged = Judged { title: String::new(), figure, bar: Bar::AtLeast(0.8), unit: "" };
        assert_eq!(judged.verdict(), "**missed by 25 %**");
    }
}
