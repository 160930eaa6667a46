//! Attack tests of running servers: brute force, password spraying, user enumeration, replay, forged tokens, floods of
//! codes (SMS pumping), sessions and connections, fuzzed requests, and growth of memory and disk. The targets are
//! `stele up`, and two instances of each service behind two gateways on PostgreSQL and Redis. Prints the attacks that
//! were tried and those that succeeded; none should.
//!
//!     cargo run --release --manifest-path bench/attack/Cargo.toml
//!
//! - `target`: the servers under attack
//! - `burst`: concurrent requests
//! - `allowed_attempts`: the guesses and codes that the rate limits of `docs/RATE-LIMITS.md` allow
//! - `password_guessing`, `codes`, `replay`, `tokens`, `code_flood`, `sms_pumping`, `malformed`, `captcha_flood`,
//!   `disk_growth`, `hashing_memory`, `session_flood`, `connection_exhaustion`, `user_enumeration`: the attacks. Each
//!   one also checks that legitimate requests of the same kind succeed
//! - `report`: the results
//! - `store_sizes`, `size_monitor`: sizes of processes, stores and logs during the attacks

mod allowed_attempts;
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

use code_flood::FloodTarget;
use disk_growth::RejectedRequest;
use password_guessing::{GuessingCase, SprayOrigin};
use replay::ReplayCase;
use report::{AttackResult, Report};
use size_monitor::SizeMonitor;
use sms_pumping::PumpingCase;
use target::{LimitProfile, Target};
use tokens::TokenCase;
use user_enumeration::EnumerationCase;

/// Attacks running servers on loopback, and reports what succeeded.
///
/// Starts `stele up`, and two instances of each service behind two gateways with a new PostgreSQL and Redis server, all
/// on free ports and in temporary folders; attacks them; and stops them. Needs redis-server and PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "attack", max_term_width = 110)]
pub(crate) struct Options {
    /// Requests of each attack
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = value_parser!(u64).range(100..=1_000_000))]
    requests: u64,
    /// Time for all attacks; those that have not started by then are reported as skipped, and fail the run
    #[arg(long, default_value_t = 1_500, value_name = "SECONDS")]
    seconds: u64,
    /// Repeat all attacks on each target for this time, sample memory, stores and logs once a second, and write
    /// growth-TARGET.csv and growth-TARGET.svg
    #[arg(long, value_name = "MINUTES", value_parser = value_parser!(u64).range(1..=1_440))]
    minutes: Option<u64>,
    /// Folder for the files of --minutes
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: std::path::PathBuf,
    /// Concurrent connections
    #[arg(long, default_value_t = 256, value_name = "N", value_parser = value_parser!(u64).range(1..=4_000))]
    connections: u64,
    /// Attack only this target
    #[arg(long, value_name = "TARGET")]
    target: Option<TargetName>,
    /// Run only attacks whose name contains PART
    #[arg(long, value_name = "PART", default_value = "")]
    only: String,
    /// Seed of the malformed requests; the same seed makes the same requests
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Check the command itself: disable the rate limits, and expect the attacks on them to succeed
    #[arg(long)]
    unprotected: bool,
    /// Print JSON instead of the table
    #[arg(long)]
    json: bool,
    /// Use the release programs in this folder instead of building them
    #[arg(long, value_name = "DIR")]
    programs: Option<std::path::PathBuf>,
}

/// A kind of target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum TargetName {
    /// `stele up` on embedded stores
    Up,
    /// Two instances of each service and two gateways, on PostgreSQL and Redis
    Instances,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.map_err(BenchError::from).and_then(|runtime| runtime.block_on(run(&options)));
    match result {
        Ok(report) => {
            print!("{}", if options.json { report.to_json() } else { report.to_table() });
            let passed = match (options.unprotected, options.minutes) {
                (true, _) => report.all_succeeded(),
                // Rate limits exhausted in one round fail the preconditions of the next one, so those do not count.
                (false, Some(_)) => report.none_succeeded(),
                (false, None) => report.is_clean(),
            };
            if passed { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

async fn run(options: &Options) -> Result<Report> {
    let started_at = Instant::now();
    let is_selected = |target| options.target.is_none_or(|only| only == target);
    if is_selected(TargetName::Instances) {
        StoreServers::ensure_installed()?;
    }
    let programs = match &options.programs {
        Some(folder) => ReleasePrograms::from_folder(folder)?,
        None => ReleasePrograms::build()?,
    };
    let mut report = Report::default();
    if is_selected(TargetName::Up) {
        let targets = TargetVariants::start(|limits| Target::embedded(&programs, limits))?;
        attack_target(options, started_at, "up", &targets, &mut report).await?;
    }
    if is_selected(TargetName::Instances) {
        let servers = StoreServers::start(Durability::Durable, &[])?;
        let targets = TargetVariants::start(|limits| Target::replicated(&programs, &servers, limits))?;
        attack_target(options, started_at, "instances", &targets, &mut report).await?;
    }
    Ok(report)
}

/// One kind of target in three configurations: with the default rate limits; without rate limits, so that attacks reach
/// the code behind them; and with low limits, which are reached within seconds.
struct TargetVariants {
    default_limits: Target,
    without_limits: Target,
    low_limits: Target,
}

impl TargetVariants {
    fn start(start: impl Fn(LimitProfile) -> Result<Target>) -> Result<Self> {
        Ok(Self {
            default_limits: start(LimitProfile::Default)?,
            without_limits: start(LimitProfile::Unlimited)?,
            low_limits: start(LimitProfile::Low)?,
        })
    }

    fn all_variants(&self) -> [&Target; 3] {
        [&self.default_limits, &self.without_limits, &self.low_limits]
    }

    fn check_health(&self, report: &mut Report) {
        for target in self.all_variants() {
            report.add(target.check_health());
        }
    }
}

/// Runs all attacks on one kind of target: once, or repeatedly while its size is monitored.
async fn attack_target(
    options: &Options,
    started_at: Instant,
    name: &str,
    targets: &TargetVariants,
    report: &mut Report,
) -> Result<()> {
    let Some(minutes) = options.minutes else {
        for (name, target, kind) in plan_attacks(options, targets) {
            if started_at.elapsed().as_secs() >= options.seconds {
                report.add(AttackResult::new(name, target).skipped());
                continue;
            }
            report.add(run_attack(options, name, target, kind).await?);
        }
        targets.check_health(report);
        return Ok(());
    };
    let (monitor, deadline) =
        (SizeMonitor::start(&targets.all_variants())?, Instant::now() + Duration::from_secs(minutes * 60));
    while Instant::now() < deadline {
        let round_started_at = Instant::now();
        for (name, target, kind) in plan_attacks(options, targets) {
            if Instant::now() >= deadline {
                break;
            }
            let result = run_attack(options, name, target, kind).await;
            report.add(
                result.unwrap_or_else(|error| {
                    AttackResult::new(name, target).with_failed_precondition(&error.to_string())
                }),
            );
        }
        if round_started_at.elapsed() < Duration::from_secs(1) {
            return Err(BenchError::new(
                "no attack's name contains the text of --only; use a part of a name from the report",
            ));
        }
    }
    eprintln!("{}", monitor.stop_and_write(&options.out, &format!("growth-{name}"))?);
    targets.check_health(report);
    Ok(())
}

/// The selected attacks, each with its target.
fn plan_attacks<'a>(options: &Options, targets: &'a TargetVariants) -> Vec<Attack<'a>> {
    let TargetVariants { default_limits, without_limits, low_limits } = targets;
    let (guarded, bounded) =
        if options.unprotected { (without_limits, without_limits) } else { (default_limits, low_limits) };
    let mut plan = rate_limit_attacks(guarded, bounded);
    if !options.unprotected {
        // The first attack on this target, since its baseline is the memory of idle processes.
        plan.insert(0, ("memory: bursts of password logins", low_limits, AttackKind::HashingMemory));
        plan.extend(other_attacks(default_limits, without_limits));
    }
    plan.retain(|(name, ..)| name.contains(&options.only));
    plan
}

/// Attacks that only rate limits prevent, so that they must succeed with `--unprotected`. `guarded` is the target with
/// the default rate limits, `bounded` the one with low limits; with `--unprotected`, both are the target without
/// limits.
fn rate_limit_attacks<'a>(guarded: &'a Target, bounded: &'a Target) -> Vec<Attack<'a>> {
    vec![
        (
            "brute force: one account, five dialects",
            guarded,
            AttackKind::GuessOneAccount(GuessingCase::FromUntrustedOrigins),
        ),
        ("brute force: from trusted origins", guarded, AttackKind::GuessOneAccount(GuessingCase::FromTrustedOrigins)),
        ("brute force: an unknown account", guarded, AttackKind::GuessOneAccount(GuessingCase::UnknownAccount)),
        ("password spraying: from one address", guarded, AttackKind::GuessManyAccounts(SprayOrigin::OneAddress)),
        (
            "password spraying: forged X-Forwarded-For",
            guarded,
            AttackKind::GuessManyAccounts(SprayOrigin::ForgedForwardedFor),
        ),
        ("password spraying: through one app", guarded, AttackKind::GuessManyAccounts(SprayOrigin::OneApp)),
        ("code flood: one recipient, many addresses", guarded, AttackKind::CodeFlood(FloodTarget::Recipient)),
        ("code flood: one address, many recipients", guarded, AttackKind::CodeFlood(FloodTarget::Address)),
        ("code flood: many networks of one /48", guarded, AttackKind::SmsPumping(PumpingCase::SubnetsOfOnePrefix)),
        ("code flood: unrelated addresses", bounded, AttackKind::SmsPumping(PumpingCase::UnrelatedAddresses)),
        ("session flood: one user", bounded, AttackKind::SessionFlood),
    ]
}

/// All other attacks, which are not run with `--unprotected`.
fn other_attacks<'a>(default_limits: &'a Target, without_limits: &'a Target) -> Vec<Attack<'a>> {
    let mut plan: Vec<Attack<'_>> = Vec::new();
    for dialect in codes::CODE_DIALECTS {
        plan.push(("guesses at a code", default_limits, AttackKind::GuessCodes(dialect)));
        plan.push(("guesses at a code, without rate limits", without_limits, AttackKind::GuessCodes(dialect)));
    }
    plan.extend([
        (
            "code flood: numbers that are not served",
            default_limits,
            AttackKind::SmsPumping(PumpingCase::UnservedNumbers),
        ),
        ("codes in the wrong context", default_limits, AttackKind::MisusedCodes),
        ("replay: other instance, call and dialect", default_limits, AttackKind::Replay(ReplayCase::Reused)),
        ("replay: concurrently", default_limits, AttackKind::Replay(ReplayCase::Concurrent)),
        ("invalid timestamps", default_limits, AttackKind::Replay(ReplayCase::InvalidTimestamps)),
        ("forged JWTs", default_limits, AttackKind::Tokens(TokenCase::Forged)),
        ("handover tokens redeemed concurrently", default_limits, AttackKind::Tokens(TokenCase::AppHandover)),
        ("reset tokens redeemed concurrently", default_limits, AttackKind::Tokens(TokenCase::ResetToken)),
        ("codes redeemed concurrently", default_limits, AttackKind::Tokens(TokenCase::PortalCode)),
        ("captcha flood: pictures, disconnecting", default_limits, AttackKind::CaptchaFlood),
        (
            "disk growth: rejected logins from one /64",
            default_limits,
            AttackKind::DiskGrowth(RejectedRequest::LoginsFromNetwork),
        ),
        (
            "disk growth: logouts with random cookies",
            default_limits,
            AttackKind::DiskGrowth(RejectedRequest::LogoutsWithFakeCookie),
        ),
        (
            "disk growth: pwdreset with changing ids",
            default_limits,
            AttackKind::DiskGrowth(RejectedRequest::PasswordChanges),
        ),
        ("connection exhaustion: 6,500 from one address", default_limits, AttackKind::ConnectionExhaustion),
        (
            "user enumeration: pwdreset by number",
            default_limits,
            AttackKind::UserEnumeration(EnumerationCase::ByUserNumber),
        ),
        (
            "user enumeration: captchas, unknown address",
            default_limits,
            AttackKind::UserEnumeration(EnumerationCase::FromUntrustedAddress),
        ),
        (
            "user enumeration: captchas, trusted address",
            default_limits,
            AttackKind::UserEnumeration(EnumerationCase::FromTrustedAddress),
        ),
    ]);
    plan.extend(
        malformed::MALFORMATIONS.iter().map(|kind| (kind.name(), without_limits, AttackKind::Malformed(*kind))),
    );
    plan
}

/// The attack's name in the report, its target, and its kind.
type Attack<'a> = (&'static str, &'a Target, AttackKind);

#[derive(Clone, Copy)]
enum AttackKind {
    GuessOneAccount(GuessingCase),
    GuessManyAccounts(SprayOrigin),
    CodeFlood(FloodTarget),
    GuessCodes(stele_bench_kit::DialectKind),
    MisusedCodes,
    Replay(ReplayCase),
    Tokens(TokenCase),
    Malformed(malformed::Malformation),
    CaptchaFlood,
    DiskGrowth(RejectedRequest),
    SmsPumping(PumpingCase),
    HashingMemory,
    SessionFlood,
    ConnectionExhaustion,
    UserEnumeration(EnumerationCase),
}

async fn run_attack(options: &Options, name: &'static str, target: &Target, kind: AttackKind) -> Result<AttackResult> {
    match kind {
        AttackKind::GuessOneAccount(case) => password_guessing::guess_one_account(options, name, target, case).await,
        AttackKind::GuessManyAccounts(origin) => {
            password_guessing::spray_many_accounts(options, name, target, origin).await
        }
        AttackKind::CodeFlood(case) => code_flood::flood_codes(options, name, target, case).await,
        AttackKind::GuessCodes(dialect) => codes::guess_codes(options, name, target, dialect).await,
        AttackKind::MisusedCodes => codes::misuse_codes(name, target).await,
        AttackKind::Replay(case) => replay::replay_proofs(options, name, target, case).await,
        AttackKind::Tokens(case) => tokens::attack_tokens(options, name, target, case).await,
        AttackKind::Malformed(kind) => malformed::send_malformed(options, name, target, kind).await,
        AttackKind::CaptchaFlood => captcha_flood::flood_captchas(options, name, target).await,
        AttackKind::DiskGrowth(case) => disk_growth::grow_disk(options, name, target, case).await,
        AttackKind::SmsPumping(case) => sms_pumping::pump_messages(options, name, target, case).await,
        AttackKind::HashingMemory => hashing_memory::send_login_bursts(name, target).await,
        AttackKind::SessionFlood => session_flood::flood_sessions(options, name, target).await,
        AttackKind::ConnectionExhaustion => connection_exhaustion::hold_connections(name, target).await,
        AttackKind::UserEnumeration(case) => user_enumeration::enumerate_users(name, target, case).await,
    }
}
