//! Command-line arguments.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::django;
use crate::installation::PopulationSizes;
use crate::oauth;

/// Measures Stele, comparable servers, and the machine's own limits in one run.
///
/// Starts PostgreSQL with a million users, Redis, the product's release programs, nginx and haproxy on free loopback
/// ports; measures each workload in turn, in several rounds; and prints Markdown: the thresholds with the measured
/// values; the workloads with rates, latencies, errors and processor time by process; memory and start-up times; and
/// the machine's noise. Progress goes to standard error. Exits with 1 if any request had an unexpected response.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 120, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A quick run of about two minutes: short measurements, two rounds, 10,000 users
    #[arg(long)]
    quick: bool,
    /// Rounds, in each of which every workload is measured once [default: 5; quick: 2]
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Time of one measurement, in seconds [default: 3; quick: 1]
    #[arg(long, value_name = "S")]
    seconds: Option<u32>,
    /// Users in the main database [default: 1000000; quick: 10000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    users: Option<u64>,
    /// Users in the small database, which shows the effect of growth [default: 10000; quick: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    few: Option<u64>,
    /// Users in a third, larger database (10000000 take some minutes and 12 GB the first time)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    most: Option<u64>,
    /// Measure only the workloads with these keys, and the thresholds that depend on no others
    #[arg(long, value_name = "KEY,…", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Folder for the databases, which later runs reuse [default: stele-load in the folder for temporary files]
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Also write performance.md and performance.svg to this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Folder of the product's release programs [default: build them]
    #[arg(long, value_name = "DIR")]
    pub(crate) programs: Option<PathBuf>,
    /// Folder of an earlier build's release programs, to measure in the same rounds
    #[arg(long, value_name = "DIR")]
    pub(crate) baseline: Option<PathBuf>,
}

const EXAMPLES: &str = "Workloads, by key:
  hello select set get            parts of the theoretical rates: an empty handler, pgbench, redis-benchmark
  hello-own                       the empty handler with this load generator instead of wrk
  gateway-get nginx-get haproxy-get gateway-log gateway-post nginx-post haproxy-post
  tls1-get tls1-post tls2-get tls2-post, each also as nginx-…  over TLS, HTTP/1.1 and HTTP/2 (h2load)
  salted salted-open salted-many salted-few salted-most        at the service
  salted-gateway salted-nginx salted-haproxy salted-two        through a proxy
  salted-baseline salted-gateway-baseline token-baseline mefp-baseline raw-baseline up-baseline   with --baseline
  token mefp plain hash hash-all raw salted-beside up up-servers
  introspect exchange exchange-rs256 exchange-es256 nginx-auth nginx-auth-empty           the OAuth service
  introspect-oidc-provider
                    the introspection of oidc-provider. Not in the default run: needs nodejs (20 or later) and npm and,
                    the first time, the network to install it from npm into the folder of --keep
  django            a plain Django view of the salted login (gunicorn, three workers), and the gateway with svc-cloudbox
                    in the same rounds. Not in the default run: needs python3 and python3-venv and, the first time,
                    the network to install Django, gunicorn and psycopg from PyPI into the folder of --keep

Examples:
  cargo run --release -p stele-load -- --quick
  cargo run --release -p stele-load -- --out docs-of-today
  cargo run --release -p stele-load -- --only hello,select,set,salted --rounds 9
  cargo run --release -p stele-load -- --only django
  cargo run --release -p stele-load -- --only hello,select,get,salted,introspect,introspect-oidc-provider,exchange
  cargo run --release -p stele-load -- --most 10000000 --only salted,salted-few,salted-most

It uses all cores for some minutes. Other processes distort the results; the report shows their share.";

impl Args {
    /// Whether the options select the workload `key`.
    pub(crate) fn is_selected(&self, key: &str) -> bool {
        self.only.is_empty()
            || self.only.iter().any(|only| only == key || (only == django::VIEW_KEY && key == django::STELE_KEY))
    }

    /// Whether the options select the comparison with Django.
    pub(crate) fn includes_django(&self) -> bool {
        self.only.iter().any(|key| key == django::VIEW_KEY)
    }

    /// Whether the options select the introspection of oidc-provider.
    pub(crate) fn includes_oidc_provider(&self) -> bool {
        self.only.iter().any(|key| key == oauth::OIDC_PROVIDER_KEY)
    }

    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 2 } else { 5 }).max(1)
    }

    pub(crate) fn measurement_time(&self) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(if self.quick { 1 } else { 3 }).max(1).into())
    }

    /// Time that a workload runs before it is measured.
    pub(crate) fn warmup_time(&self) -> Duration {
        Duration::from_millis(if self.quick { 200 } else { 500 })
    }

    /// Time without requests before the idle memory is read.
    pub(crate) fn idle_time(&self) -> Duration {
        Duration::from_secs(if self.quick { 2 } else { 10 })
    }

    pub(crate) fn sizes(&self) -> PopulationSizes {
        let users = self.users.unwrap_or(if self.quick { 10_000 } else { 1_000_000 });
        let few = self.few.unwrap_or(if self.quick { 1_000 } else { 10_000 });
        PopulationSizes { main_users: users, few_users: few, most_users: self.most }
    }

    pub(crate) fn database_folder(&self) -> PathBuf {
        self.keep.clone().unwrap_or_else(|| std::env::temp_dir().join("stele-load"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn django_is_measured_with_its_counterpart_and_only_by_name() {
        let args = Args::try_parse_from(["stele-load", "--only", "django,token"]).unwrap();
        assert!(args.includes_django());
        assert!([django::VIEW_KEY, django::STELE_KEY, "token"].iter().all(|key| args.is_selected(key)));
        assert!(!args.is_selected("salted"));
        let args = Args::try_parse_from(["stele-load"]).unwrap();
        assert!(!args.includes_django() && args.is_selected("salted"));
    }
}
