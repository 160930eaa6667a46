//! A day's worth of abuse in minutes: against `stele up`, and against two instances of each service behind two gateways
//! on PostgreSQL and Redis. Prints what was tried and what got through, which should be nothing.
//!
//!     cargo run --release --manifest-path bench/attack/Cargo.toml
//!
//! - `target`: what is attacked
//! - `volley`: many requests at once
//! - `budget`: what the documents allow a guesser
//! - `stuffing`, `codes`, `replay`, `tokens`, `flood`, `malformed`: the attacks; each shows as well that what it tries
//!   does work where it should
//! - `report`: what became of them

mod budget;
mod codes;
mod flood;
mod malformed;
mod replay;
mod report;
mod stuffing;
mod target;
mod tokens;
mod volley;

use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, value_parser};
use stele_bench_kit::{Durability, Failure, Programs, Result, Servers};

use report::{Report, Row};
use target::Fleet;

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
    #[arg(long, default_value_t = 900, value_name = "SECONDS")]
    seconds: u64,
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
            let good = if options.unprotected { report.all_got_through() } else { report.held() };
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
        let pair = (Fleet::embedded(&programs, false)?, Fleet::embedded(&programs, true)?);
        attack(options, begun, &pair, &mut report).await?;
    }
    if wanted(TargetName::Instances) {
        let servers = Servers::start(Durability::Durable, &[])?;
        let pair = (Fleet::instances(&programs, &servers, false)?, Fleet::instances(&programs, &servers, true)?);
        attack(options, begun, &pair, &mut report).await?;
    }
    Ok(report)
}

/// The attacks on one kind of target: as it is installed, and with its limits out of the way, so that what lies behind
/// them is reached.
async fn attack(
    options: &Options,
    begun: Instant,
    (guarded, open): &(Fleet, Fleet),
    report: &mut Report,
) -> Result<()> {
    let limits = if options.unprotected { open } else { guarded };
    let mut plan: Vec<Attack<'_>> = vec![
        ("stuffing: five dialects, one account", limits, Kind::Stuffing(stuffing::Case::Strangers)),
        ("stuffing: origins the account knows", limits, Kind::Stuffing(stuffing::Case::Known)),
        ("stuffing: an account that is not there", limits, Kind::Stuffing(stuffing::Case::Nobody)),
        ("a list of accounts from one address", limits, Kind::List(stuffing::Origin::Address)),
        ("a list, with forged X-Forwarded-For", limits, Kind::List(stuffing::Origin::Forged)),
        ("a list, through one app", limits, Kind::List(stuffing::Origin::App)),
        ("flood: one recipient, many addresses", limits, Kind::Flood(flood::Case::Recipient)),
        ("flood: one address, many recipients", limits, Kind::Flood(flood::Case::Address)),
    ];
    if !options.unprotected {
        for dialect in codes::DIALECTS {
            plan.push(("guesses at a code", guarded, Kind::Codes(dialect)));
            plan.push(("guesses at a code, no other limit", open, Kind::Codes(dialect)));
        }
        plan.extend([
            ("codes where they do not belong", guarded, Kind::Strayed),
            ("replay: here, there, elsewhere", guarded, Kind::Replay(replay::Case::Again)),
            ("replay: many at once", guarded, Kind::Replay(replay::Case::AtOnce)),
            ("timestamps out of all bounds", guarded, Kind::Replay(replay::Case::Times)),
            ("forged JWTs", guarded, Kind::Tokens(tokens::Case::Forged)),
            ("handover tokens redeemed at once", guarded, Kind::Tokens(tokens::Case::Handover)),
            ("reset tokens redeemed at once", guarded, Kind::Tokens(tokens::Case::Reset)),
            ("codes redeemed at once", guarded, Kind::Tokens(tokens::Case::Code)),
        ]);
        plan.extend(malformed::KINDS.iter().map(|kind| (kind.name(), open, Kind::Malformed(*kind))));
    }
    for (name, fleet, kind) in plan.into_iter().filter(|(name, ..)| name.contains(&options.only)) {
        if begun.elapsed().as_secs() >= options.seconds {
            report.add(Row::new(name, fleet).left_out());
            continue;
        }
        report.add(one(options, name, fleet, kind).await?);
    }
    for fleet in [guarded, open] {
        report.add(fleet.health());
    }
    Ok(())
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
    }
}
