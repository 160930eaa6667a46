//! What can be typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::django;
use crate::installation::PopulationSizes;

/// Measures Stele beside what people use and beside the machine's own limits, all in one run.
///
/// Starts PostgreSQL with a million users, Redis, the product's programs in release, nginx and haproxy, all on free
/// ports of loopback; has each lane do its load in turn, several rounds; and prints Markdown: the bars, each with the
/// ratio that this run gave, the lanes with rates, latencies, errors and processor time by process, memory and starts,
/// and how noisy the machine was. How far it is goes to standard error. Exits with 1 if any request was not answered
/// as it should be.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 120, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A first look, in about two minutes: short turns, two rounds, 10,000 users
    #[arg(long)]
    quick: bool,
    /// How often each lane has its turn [default: 5; quick: 2]
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// How long a turn is, in seconds [default: 3; quick: 1]
    #[arg(long, value_name = "S")]
    seconds: Option<u32>,
    /// How many users there are [default: 1000000; quick: 10000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    users: Option<u64>,
    /// How many there are in the database that it is compared with for growth [default: 10000; quick: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    few: Option<u64>,
    /// One more database with so many users (10000000 takes some minutes and 12 GB the first time)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    most: Option<u64>,
    /// Measure only these lanes, by key, and the bars that they suffice for
    #[arg(long, value_name = "KEY,…", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// The folder where databases are kept from run to run [default: stele-load in the folder for temporary files]
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Also write performance.md and performance.svg there
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// The folder of the product's release programs [default: they are built]
    #[arg(long, value_name = "DIR")]
    pub(crate) programs: Option<PathBuf>,
    /// The folder of an earlier build's release programs, to measure beside these in the same rounds
    #[arg(long, value_name = "DIR")]
    pub(crate) baseline: Option<PathBuf>,
}

const EXAMPLES: &str = "Lanes, by key:
  hello select set get            what the limits are made of: an empty handler, pgbench, redis-benchmark
  hello-own                       the empty handler with this generator in place of wrk
  gateway-get nginx-get haproxy-get gateway-log gateway-post nginx-post haproxy-post
  tls1-get tls1-post tls2-get tls2-post, each also as nginx-…  over TLS, HTTP/1.1 and HTTP/2 (h2load)
  salted salted-open salted-many salted-few salted-most        at the service
  salted-gateway salted-nginx salted-haproxy salted-two        through something
  salted-baseline salted-gateway-baseline token-baseline mefp-baseline raw-baseline up-baseline   with --baseline
  token mefp plain hash hash-all raw salted-beside up up-servers
  django            a plain Django view of the salted login (gunicorn, three workers), and the gateway with svc-cloudbox
                    in the same rounds; not in the default run, for it needs python3 and python3-venv and, the first
                    time, the network: Django, gunicorn and psycopg are installed from PyPI into the folder of --keep

Examples:
  cargo run --release -p stele-load -- --quick
  cargo run --release -p stele-load -- --out docs-of-today
  cargo run --release -p stele-load -- --only hello,select,set,salted --rounds 9
  cargo run --release -p stele-load -- --only django
  cargo run --release -p stele-load -- --most 10000000 --only salted,salted-few,salted-most

It takes both cores for some minutes; whatever else runs is seen in the figures, and told.";

impl Args {
    /// Whether the lane is among those that are measured.
    pub(crate) fn measures(&self, lane: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|key| key == lane || (key == django::KEY && lane == django::STELE))
    }

    /// Whether Django is to be installed and started.
    pub(crate) fn with_django(&self) -> bool {
        self.only.iter().any(|key| key == django::KEY)
    }

    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 2 } else { 5 }).max(1)
    }

    pub(crate) fn measurement_time(&self) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(if self.quick { 1 } else { 3 }).max(1).into())
    }

    /// How long a lane runs before its clock starts.
    pub(crate) fn warmup_time(&self) -> Duration {
        Duration::from_millis(if self.quick { 200 } else { 500 })
    }

    /// How long programs are left alone before their memory is looked at.
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
        assert!(args.with_django());
        assert!([django::KEY, django::STELE, "token"].iter().all(|lane| args.measures(lane)));
        assert!(!args.measures("salted"));
        let args = Args::try_parse_from(["stele-load"]).unwrap();
        assert!(!args.with_django() && args.measures("salted"));
    }
}
