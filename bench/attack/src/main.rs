//! A day's worth of abuse in minutes: against `stele up`, and against two instances of each service behind two gateways
//! on PostgreSQL and Redis. Prints what was tried and what got through, which should be nothing.
//!
//!     cargo run --release --manifest-path bench/attack/Cargo.toml
//!
//! - `target`: what is attacked
//! - `volley`: many requests at once
//! - `budget`: what the rate limits of `docs/RATE-LIMITS.md` allow a guesser
//! - `stuffing`, `codes`, `replay`, `tokens`, `flood`, `malformed`, `pictures`, `growth`, `networks`, `memory`, `sessions`,
//!   `crowd`, `sequences`: the attacks; each shows as well that what it tries does work where it should
//! - `report`: what became of them
//! - `stores`, `watch`: how large everything becomes meanwhile

mod budget;
mod codes;
mod crowd;
mod flood;
mod growth;
mod malformed;
mod memory;
mod networks;
mod pictures;
mod replay;
mod report;
mod sequences;
mod sessions;
mod stores;
mod stuffing;
mod target;
mod tokens;
mod volley;
mod watch;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, value_parser};
use stele_bench_kit::{Durability, Failure, Programs, Result, Servers};

use report::{Report, Row};
use target::{Fleet, Limits};
use watch::Watch;

/// A day's worth of abuse in minutes, against real servers on loopback.
///
/// Starts `stele up`, and two instances of each service behind two gateways on a PostgreSQL and a Redis of its own, all
/// on free ports and in folders of their own; attacks them; and stops them. Needs redis-server and PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "attack", max_term_width = 110)]
pub(crate) struct Options {
    /// How many requests each volley has
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = value_parser!(u64).range(100..=1_000_000))]
    requests: u64,
    /// How long the whole may take; attacks that were not begun by then are told as left out, and fail the run
    #[arg(long, default_value_t = 1_500, value_name = "SECONDS")]
    seconds: u64,
    /// Repeat all attacks on each target for so many minutes, sample memory, stores and logs once a second, and write
    /// growth-TARGET.csv and growth-TARGET.svg
    #[arg(long, value_name = "MINUTES", value_parser = value_parser!(u64).range(1..=1_440))]
    minutes: Option<u64>,
    /// Where --minutes writes
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: std::path::PathBuf,
    /// How many connections are open at once
    #[arg(long, default_value_t = 256, value_name = "N", value_parser = value_parser!(u64).range(1..=4_000))]
    connections: u64,
    /// Attack only this target
    #[arg(long, value_name = "TARGET")]
    target: Option<TargetName>,
    /// Only attacks whose name has this in it
    #[arg(long, value_name = "PART", default_value = "")]
    only: String,
    /// Where chance begins; the same number makes the same malformed requests
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Show that the command can fail: take the limits away, and see that the attacks on them get through
    #[arg(long)]
    unprotected: bool,
    /// Print JSON in place of the table
    #[arg(long)]
    json: bool,
    /// Use programs that are built already, from this folder
    #[arg(long, value_name = "DIR")]
    programs: Option<std::path::PathBuf>,
}

/// What may be attacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum TargetName {
    /// `stele up`, on its embedded stores
    Up,
    /// Two instances of each service and two gateways, on PostgreSQL and Redis
    Instances,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ran = runtime.map_err(Failure::from).and_then(|runtime| runtime.block_on(run(&options)));
    match ran {
        Ok(report) => {
            print!("{}", if options.json { report.json() } else { report.table() });
            let good = match (options.unprotected, options.minutes) {
                (true, _) => report.all_got_through(),
                // What is spent in one round is not there in the next: what should work then does not.
                (false, Some(_)) => report.nothing_got_through(),
                (false, None) => report.held(),
            };
            if good { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(2)
        }
    }
}

async fn run(options: &Options) -> Result<Report> {
    let begun = Instant::now();
    let wanted = |target| options.target.is_none_or(|only| only == target);
    if wanted(TargetName::Instances) {
        Servers::installed()?;
    }
    let programs = match &options.programs {
        Some(folder) => Programs::at(folder)?,
        None => Programs::build()?,
    };
    let mut report = Report::default();
    if wanted(TargetName::Up) {
        let fleets = Fleets::start(|limits| Fleet::embedded(&programs, limits))?;
        on_target(options, begun, "up", &fleets, &mut report).await?;
    }
    if wanted(TargetName::Instances) {
        let servers = Servers::start(Durability::Durable, &[])?;
        let fleets = Fleets::start(|limits| Fleet::instances(&programs, &servers, limits))?;
        on_target(options, begun, "instances", &fleets, &mut report).await?;
    }
    Ok(report)
}

/// One kind of target: as it is installed, with its limits out of the way, so that what lies behind them is reached, and
/// with bounds that are reached within seconds.
struct Fleets {
    guarded: Fleet,
    open: Fleet,
    low: Fleet,
}

impl Fleets {
    fn start(start: impl Fn(Limits) -> Result<Fleet>) -> Result<Self> {
        Ok(Self { guarded: start(Limits::Default)?, open: start(Limits::None)?, low: start(Limits::Low)? })
    }

    fn all(&self) -> [&Fleet; 3] {
        [&self.guarded, &self.open, &self.low]
    }

    fn health(&self, report: &mut Report) {
        for fleet in self.all() {
            report.add(fleet.health());
        }
    }
}

/// All attacks on one kind of target: once, or over and over while it is watched.
async fn on_target(options: &Options, begun: Instant, name: &str, fleets: &Fleets, report: &mut Report) -> Result<()> {
    let Some(minutes) = options.minutes else {
        for (name, fleet, kind) in plan(options, fleets) {
            if begun.elapsed().as_secs() >= options.seconds {
                report.add(Row::new(name, fleet).left_out());
                continue;
            }
            report.add(one(options, name, fleet, kind).await?);
        }
        fleets.health(report);
        return Ok(());
    };
    let (watch, end) = (Watch::over(&fleets.all())?, Instant::now() + Duration::from_secs(minutes * 60));
    while Instant::now() < end {
        let round = Instant::now();
        for (name, fleet, kind) in plan(options, fleets) {
            if Instant::now() >= end {
                break;
            }
            let row = one(options, name, fleet, kind).await;
            report.add(row.unwrap_or_else(|failure| Row::new(name, fleet).broken(&failure.to_string())));
        }
        if round.elapsed() < Duration::from_secs(1) {
            return Err(Failure::new("no attack has a name with that in it"));
        }
    }
    eprintln!("{}", watch.write(&options.out, &format!("growth-{name}"))?);
    fleets.health(report);
    Ok(())
}

/// Which attacks there are, and on what.
fn plan<'a>(options: &Options, fleets: &'a Fleets) -> Vec<Attack<'a>> {
    let Fleets { guarded, open, low } = fleets;
    let (limits, bounds) = if options.unprotected { (open, open) } else { (guarded, low) };
    let mut plan: Vec<Attack<'_>> = vec![
        ("stuffing: five dialects, one account", limits, Kind::Stuffing(stuffing::Case::Strangers)),
        ("stuffing: origins the account knows", limits, Kind::Stuffing(stuffing::Case::Known)),
        ("stuffing: an account that is not there", limits, Kind::Stuffing(stuffing::Case::Nobody)),
        ("a list of accounts from one address", limits, Kind::List(stuffing::Origin::Address)),
        ("a list, with forged X-Forwarded-For", limits, Kind::List(stuffing::Origin::Forged)),
        ("a list, through one app", limits, Kind::List(stuffing::Origin::App)),
        ("flood: one recipient, many addresses", limits, Kind::Flood(flood::Case::Recipient)),
        ("flood: one address, many recipients", limits, Kind::Flood(flood::Case::Address)),
        ("flood: many networks of one /48", limits, Kind::Networks(networks::Case::Nested)),
        ("flood: addresses with nothing in common", bounds, Kind::Networks(networks::Case::Total)),
        ("sessions of one user", bounds, Kind::Sessions),
    ];
    if !options.unprotected {
        // First of those on this fleet: what it takes when idle is what is compared with.
        plan.insert(0, ("memory: bursts of password logins", low, Kind::Memory));
        for dialect in codes::DIALECTS {
            plan.push(("guesses at a code", guarded, Kind::Codes(dialect)));
            plan.push(("guesses at a code, no other limit", open, Kind::Codes(dialect)));
        }
        plan.extend([
            ("flood: countries that are not served", guarded, Kind::Networks(networks::Case::Countries)),
            ("codes where they do not belong", guarded, Kind::Strayed),
            ("replay: here, there, elsewhere", guarded, Kind::Replay(replay::Case::Again)),
            ("replay: many at once", guarded, Kind::Replay(replay::Case::AtOnce)),
            ("timestamps out of all bounds", guarded, Kind::Replay(replay::Case::Times)),
            ("forged JWTs", guarded, Kind::Tokens(tokens::Case::Forged)),
            ("handover tokens redeemed at once", guarded, Kind::Tokens(tokens::Case::Handover)),
            ("reset tokens redeemed at once", guarded, Kind::Tokens(tokens::Case::Reset)),
            ("codes redeemed at once", guarded, Kind::Tokens(tokens::Case::Code)),
            ("captcha pictures, not waited for", guarded, Kind::Pictures),
            ("growth: refused logins from one /64", guarded, Kind::Growth(growth::Case::Network)),
            ("growth: logouts with random cookies", guarded, Kind::Growth(growth::Case::Cookies)),
            ("growth: pwdreset with changing ids", guarded, Kind::Growth(growth::Case::Users)),
            ("6,500 connections from one address", guarded, Kind::Crowd),
            ("enumeration: pwdreset by number", guarded, Kind::Sequences(sequences::Case::Numbers)),
            ("enumeration: captchas, a new address", guarded, Kind::Sequences(sequences::Case::Strangers)),
            ("enumeration: captchas, a known address", guarded, Kind::Sequences(sequences::Case::Known)),
        ]);
        plan.extend(malformed::KINDS.iter().map(|kind| (kind.name(), open, Kind::Malformed(*kind))));
    }
    plan.retain(|(name, ..)| name.contains(&options.only));
    plan
}

type Attack<'a> = (&'static str, &'a Fleet, Kind);

#[derive(Clone, Copy)]
enum Kind {
    Stuffing(stuffing::Case),
    List(stuffing::Origin),
    Flood(flood::Case),
    Codes(stele_bench_kit::Dialect),
    Strayed,
    Replay(replay::Case),
    Tokens(tokens::Case),
    Malformed(malformed::Kind),
    Pictures,
    Growth(growth::Case),
    Networks(networks::Case),
    Memory,
    Sessions,
    Crowd,
    Sequences(sequences::Case),
}

async fn one(options: &Options, name: &'static str, fleet: &Fleet, kind: Kind) -> Result<Row> {
    match kind {
        Kind::Stuffing(case) => stuffing::one_account(options, name, fleet, case).await,
        Kind::List(origin) => stuffing::many_accounts(options, name, fleet, origin).await,
        Kind::Flood(case) => flood::flood(options, name, fleet, case).await,
        Kind::Codes(dialect) => codes::guess(options, name, fleet, dialect).await,
        Kind::Strayed => codes::strayed(name, fleet).await,
        Kind::Replay(case) => replay::replay(options, name, fleet, case).await,
        Kind::Tokens(case) => tokens::tokens(options, name, fleet, case).await,
        Kind::Malformed(kind) => malformed::send(options, name, fleet, kind).await,
        Kind::Pictures => pictures::pictures(options, name, fleet).await,
        Kind::Growth(case) => growth::growth(options, name, fleet, case).await,
        Kind::Networks(case) => networks::networks(options, name, fleet, case).await,
        Kind::Memory => memory::bursts(name, fleet).await,
        Kind::Sessions => sessions::sessions(options, name, fleet).await,
        Kind::Crowd => crowd::crowd(name, fleet).await,
        Kind::Sequences(case) => sequences::sequences(name, fleet, case).await,
    }
}
