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

mod allowed_guesses;
mod burst;
mod captcha_flood;
mod code_flood;
mod codes;
mod connection_exhaustion;
mod disk_growth;
mod hashing_memory;
mod malformed;
mod password_guessing;
mod replay;
mod report;
mod session_flood;
mod size_monitor;
mod sms_pumping;
mod store_sizes;
mod target;
mod tokens;
mod user_enumeration;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, value_parser};
use stele_bench_kit::{BenchError, Durability, ReleasePrograms, Result, StoreServers};

use report::{AttackResult, Report};
use size_monitor::SizeMonitor;
use target::{LimitProfile, Target};

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
    let ran = runtime.map_err(BenchError::from).and_then(|runtime| runtime.block_on(run(&options)));
    match ran {
        Ok(report) => {
            print!("{}", if options.json { report.json() } else { report.table() });
            let good = match (options.unprotected, options.minutes) {
                (true, _) => report.all_succeeded(),
                // What is spent in one round is not there in the next: what should work then does not.
                (false, Some(_)) => report.none_succeeded(),
                (false, None) => report.is_clean(),
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
        StoreServers::ensure_installed()?;
    }
    let programs = match &options.programs {
        Some(folder) => ReleasePrograms::from_folder(folder)?,
        None => ReleasePrograms::build()?,
    };
    let mut report = Report::default();
    if wanted(TargetName::Up) {
        let fleets = TargetVariants::start(|limits| Target::embedded(&programs, limits))?;
        attack_target(options, begun, "up", &fleets, &mut report).await?;
    }
    if wanted(TargetName::Instances) {
        let servers = StoreServers::start(Durability::Durable, &[])?;
        let fleets = TargetVariants::start(|limits| Target::replicated(&programs, &servers, limits))?;
        attack_target(options, begun, "instances", &fleets, &mut report).await?;
    }
    Ok(report)
}

/// One kind of target: as it is installed, with its limits out of the way, so that what lies behind them is reached, and
/// with bounds that are reached within seconds.
struct TargetVariants {
    default_limits: Target,
    without_limits: Target,
    low_limits: Target,
}

impl TargetVariants {
    fn start(start: impl Fn(LimitProfile) -> Result<Target>) -> Result<Self> {
        Ok(Self {
            default_limits: start(LimitProfile::Default)?,
            without_limits: start(LimitProfile::None)?,
            low_limits: start(LimitProfile::Low)?,
        })
    }

    fn all_variants(&self) -> [&Target; 3] {
        [&self.default_limits, &self.without_limits, &self.low_limits]
    }

    fn check_health(&self, report: &mut Report) {
        for fleet in self.all_variants() {
            report.add(fleet.health());
        }
    }
}

/// All attacks on one kind of target: once, or over and over while it is watched.
async fn attack_target(
    options: &Options,
    begun: Instant,
    name: &str,
    fleets: &TargetVariants,
    report: &mut Report,
) -> Result<()> {
    let Some(minutes) = options.minutes else {
        for (name, fleet, kind) in planned_attacks(options, fleets) {
            if begun.elapsed().as_secs() >= options.seconds {
                report.add(AttackResult::new(name, fleet).skipped());
                continue;
            }
            report.add(run_attack(options, name, fleet, kind).await?);
        }
        fleets.check_health(report);
        return Ok(());
    };
    let (watch, end) =
        (SizeMonitor::start(&fleets.all_variants())?, Instant::now() + Duration::from_secs(minutes * 60));
    while Instant::now() < end {
        let round = Instant::now();
        for (name, fleet, kind) in planned_attacks(options, fleets) {
            if Instant::now() >= end {
                break;
            }
            let row = run_attack(options, name, fleet, kind).await;
            report.add(row.unwrap_or_else(|failure| {
                AttackResult::new(name, fleet).with_failed_precondition(&failure.to_string())
            }));
        }
        if round.elapsed() < Duration::from_secs(1) {
            return Err(BenchError::new("no attack has a name with that in it"));
        }
    }
    eprintln!("{}", watch.stop_and_write(&options.out, &format!("growth-{name}"))?);
    fleets.check_health(report);
    Ok(())
}

/// Which attacks there are, and on what.
fn planned_attacks<'a>(options: &Options, fleets: &'a TargetVariants) -> Vec<Attack<'a>> {
    let TargetVariants { default_limits: guarded, without_limits: open, low_limits: low } = fleets;
    let (limits, bounds) = if options.unprotected { (open, open) } else { (guarded, low) };
    let mut plan: Vec<Attack<'_>> = vec![
        (
            "stuffing: five dialects, one account",
            limits,
            AttackKind::GuessOneAccount(password_guessing::GuessingCase::FromUnknownOrigins),
        ),
        (
            "stuffing: origins the account knows",
            limits,
            AttackKind::GuessOneAccount(password_guessing::GuessingCase::FromKnownOrigins),
        ),
        (
            "stuffing: an account that is not there",
            limits,
            AttackKind::GuessOneAccount(password_guessing::GuessingCase::UnknownAccount),
        ),
        (
            "a list of accounts from one address",
            limits,
            AttackKind::GuessManyAccounts(password_guessing::SprayOrigin::OneAddress),
        ),
        (
            "a list, with forged X-Forwarded-For",
            limits,
            AttackKind::GuessManyAccounts(password_guessing::SprayOrigin::ForgedForwardedFor),
        ),
        ("a list, through one app", limits, AttackKind::GuessManyAccounts(password_guessing::SprayOrigin::OneApp)),
        ("flood: one recipient, many addresses", limits, AttackKind::CodeFlood(code_flood::FloodTarget::Recipient)),
        ("flood: one address, many recipients", limits, AttackKind::CodeFlood(code_flood::FloodTarget::Address)),
        (
            "flood: many networks of one /48",
            limits,
            AttackKind::SmsPumping(sms_pumping::PumpingSource::SubnetsOfOnePrefix),
        ),
        (
            "flood: addresses with nothing in common",
            bounds,
            AttackKind::SmsPumping(sms_pumping::PumpingSource::UnrelatedAddresses),
        ),
        ("sessions of one user", bounds, AttackKind::SessionFlood),
    ];
    if !options.unprotected {
        // First of those on this fleet: what it takes when idle is what is compared with.
        plan.insert(0, ("memory: bursts of password logins", low, AttackKind::HashingMemory));
        for dialect in codes::CODE_DIALECTS {
            plan.push(("guesses at a code", guarded, AttackKind::GuessCodes(dialect)));
            plan.push(("guesses at a code, no other limit", open, AttackKind::GuessCodes(dialect)));
        }
        plan.extend([
            (
                "flood: countries that are not served",
                guarded,
                AttackKind::SmsPumping(sms_pumping::PumpingSource::UnservedCountries),
            ),
            ("codes where they do not belong", guarded, AttackKind::MisusedCodes),
            ("replay: here, there, elsewhere", guarded, AttackKind::Replay(replay::ReplayCase::Reused)),
            ("replay: many at once", guarded, AttackKind::Replay(replay::ReplayCase::Concurrent)),
            ("timestamps out of all bounds", guarded, AttackKind::Replay(replay::ReplayCase::ExtremeTimestamps)),
            ("forged JWTs", guarded, AttackKind::Tokens(tokens::TokenCase::Forged)),
            ("handover tokens redeemed at once", guarded, AttackKind::Tokens(tokens::TokenCase::AppHandover)),
            ("reset tokens redeemed at once", guarded, AttackKind::Tokens(tokens::TokenCase::ResetToken)),
            ("codes redeemed at once", guarded, AttackKind::Tokens(tokens::TokenCase::PortalCode)),
            ("captcha pictures, not waited for", guarded, AttackKind::CaptchaFlood),
            (
                "growth: refused logins from one /64",
                guarded,
                AttackKind::DiskGrowth(disk_growth::RejectedRequest::LoginsFromNetwork),
            ),
            (
                "growth: logouts with random cookies",
                guarded,
                AttackKind::DiskGrowth(disk_growth::RejectedRequest::LogoutsWithFakeCookie),
            ),
            (
                "growth: pwdreset with changing ids",
                guarded,
                AttackKind::DiskGrowth(disk_growth::RejectedRequest::PasswordChanges),
            ),
            ("6,500 connections from one address", guarded, AttackKind::ConnectionExhaustion),
            (
                "enumeration: pwdreset by number",
                guarded,
                AttackKind::UserEnumeration(user_enumeration::EnumerationCase::ByUserNumber),
            ),
            (
                "enumeration: captchas, a new address",
                guarded,
                AttackKind::UserEnumeration(user_enumeration::EnumerationCase::FromUnknownAddress),
            ),
            (
                "enumeration: captchas, a known address",
                guarded,
                AttackKind::UserEnumeration(user_enumeration::EnumerationCase::FromKnownAddress),
            ),
        ]);
        plan.extend(malformed::MALFORMATIONS.iter().map(|kind| (kind.name(), open, AttackKind::Malformed(*kind))));
    }
    plan.retain(|(name, ..)| name.contains(&options.only));
    plan
}

type Attack<'a> = (&'static str, &'a Target, AttackKind);

#[derive(Clone, Copy)]
enum AttackKind {
    GuessOneAccount(password_guessing::GuessingCase),
    GuessManyAccounts(password_guessing::SprayOrigin),
    CodeFlood(code_flood::FloodTarget),
    GuessCodes(stele_bench_kit::DialectKind),
    MisusedCodes,
    Replay(replay::ReplayCase),
    Tokens(tokens::TokenCase),
    Malformed(malformed::Malformation),
    CaptchaFlood,
    DiskGrowth(disk_growth::RejectedRequest),
    SmsPumping(sms_pumping::PumpingSource),
    HashingMemory,
    SessionFlood,
    ConnectionExhaustion,
    UserEnumeration(user_enumeration::EnumerationCase),
}

async fn run_attack(options: &Options, name: &'static str, fleet: &Target, kind: AttackKind) -> Result<AttackResult> {
    match kind {
        AttackKind::GuessOneAccount(case) => password_guessing::guess_one_account(options, name, fleet, case).await,
        AttackKind::GuessManyAccounts(origin) => {
            password_guessing::spray_many_accounts(options, name, fleet, origin).await
        }
        AttackKind::CodeFlood(case) => code_flood::flood_codes(options, name, fleet, case).await,
        AttackKind::GuessCodes(dialect) => codes::guess_codes(options, name, fleet, dialect).await,
        AttackKind::MisusedCodes => codes::misuse_codes(name, fleet).await,
        AttackKind::Replay(case) => replay::replay_proofs(options, name, fleet, case).await,
        AttackKind::Tokens(case) => tokens::attack_tokens(options, name, fleet, case).await,
        AttackKind::Malformed(kind) => malformed::send_malformed(options, name, fleet, kind).await,
        AttackKind::CaptchaFlood => captcha_flood::flood_captchas(options, name, fleet).await,
        AttackKind::DiskGrowth(case) => disk_growth::grow_disk(options, name, fleet, case).await,
        AttackKind::SmsPumping(case) => sms_pumping::pump_messages(options, name, fleet, case).await,
        AttackKind::HashingMemory => hashing_memory::login_bursts(name, fleet).await,
        AttackKind::SessionFlood => session_flood::flood_sessions(options, name, fleet).await,
        AttackKind::ConnectionExhaustion => connection_exhaustion::hold_connections(name, fleet).await,
        AttackKind::UserEnumeration(case) => user_enumeration::enumerate_users(name, fleet, case).await,
    }
}
