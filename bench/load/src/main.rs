//! Load benchmark: measures Stele, comparable servers and the machine's limits in one run (`README.md`).

mod args;
mod bar_chart;
mod baseline;
mod cpu_usage;
mod django;
mod embedded_store;
mod engine;
mod external_tools;
mod footprint;
mod installation;
mod login_query;
mod measurement;
mod oauth;
mod postgres_cluster;
mod report;
mod server_process;
mod servers;
mod test_bed;
mod thresholds;
mod user_population;
mod workloads;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use stele_bench_kit::{ReleasePrograms, Result};

use args::Args;
use django::{DjangoComparison, PythonEnvironment};
use installation::TestStores;
use measurement::RoundMeasurements;
use oauth::OidcProvider;
use report::{Report, format_thousands};
use test_bed::TestBed;
use user_population::SaltedLogins;
use workloads::{RoundRunner, Workload};

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Returns whether every request had the expected response.
fn run(args: &Args) -> Result<bool> {
    external_tools::ensure_installed()?;
    raise_file_descriptor_limit();
    let programs = match &args.programs {
        Some(folder) => ReleasePrograms::from_folder(folder)?,
        None => ReleasePrograms::build()?,
    };
    let python = args.includes_django().then(|| PythonEnvironment::ensure(&args.database_folder())).transpose()?;
    let sizes = args.sizes();
    eprintln!("Databases in {} (filled the first time, and again after 20 hours)", args.database_folder().display());
    let baseline = args.baseline.as_deref().map(ReleasePrograms::from_folder).transpose()?;
    let stores = TestStores::open(programs, baseline, &args.database_folder(), sizes)?;
    let footprints = if args.only.is_empty() {
        eprintln!("Measuring start-up time and memory of each program");
        footprint::measure_footprints(&stores, sizes, args.idle_time())?
    } else {
        Vec::new()
    };
    eprintln!("Starting the programs under test and the reference servers");
    let oidc_provider =
        args.includes_oidc_provider().then(|| OidcProvider::start(&args.database_folder(), stores.run_folder_path()));
    let test_bed = TestBed::start(&stores, sizes, oidc_provider.transpose()?)?;
    let mut workloads = test_bed.workloads(&stores, sizes)?;
    let mut processes = test_bed.named_processes(&stores);
    let comparison = python.map(|python| DjangoComparison::start(&python, &stores, sizes)).transpose()?;
    if let Some(comparison) = &comparison {
        workloads.extend(comparison.workloads());
        processes.extend(comparison.named_processes());
    }
    workloads.retain(|workload| args.is_selected(workload.key));
    let mut runner = RoundRunner {
        processes,
        measurement_time: args.measurement_time(),
        warmup: args.warmup_time(),
        main_logins: SaltedLogins::new(sizes.main_users),
        few_users_logins: SaltedLogins::new(sizes.few_users),
        most_users_logins: sizes.most_users.map(SaltedLogins::new),
        sessions: Vec::new(),
        last_salted_rate: None,
        password_login_rates_in_mixed_load: Vec::new(),
    };
    let (rounds, calibration_times) = run_rounds(args.rounds(), stores.redis.address, &mut workloads, &mut runner)?;
    let report = Report {
        workloads,
        rounds,
        footprints,
        calibration_times,
        password_login_rates_in_mixed_load: runner.password_login_rates_in_mixed_load,
        sizes,
        measurement_time: args.measurement_time(),
    };
    let markdown = report.to_markdown();
    println!("{markdown}");
    if let Some(folder) = &args.out {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("performance.md"), &markdown)?;
        std::fs::write(folder.join("performance.svg"), bar_chart::bar_chart_svg(&report))?;
        eprintln!("Written: performance.md and performance.svg in {}", folder.display());
    }
    let errors = report.error_count();
    if errors > 0 {
        eprintln!("{errors} requests failed or had an unexpected response; see the errors above");
    }
    Ok(errors == 0)
}

/// Measures each workload in `count` rounds. Redis is empty at the start of each round.
fn run_rounds(
    count: usize,
    redis: SocketAddr,
    workloads: &mut [Workload],
    runner: &mut RoundRunner,
) -> Result<(Vec<RoundMeasurements>, Vec<Duration>)> {
    let (mut rounds, mut calibration_times) = (Vec::new(), Vec::new());
    for number in 1..=count {
        let mut round = RoundMeasurements::new();
        servers::flush_redis(redis)?;
        runner.refresh_logins();
        for workload in workloads.iter_mut() {
            calibration_times.push(cpu_usage::time_calibration_loop());
            let measurement = runner.measure(workload)?;
            let p99 = measurement.p99.map_or_else(String::new, |p99| format!(", p99 {p99:.2} ms"));
            eprintln!(
                "round {number} of {count}: {:<58} {:>9}/s{p99}",
                workload.title,
                format_thousands(measurement.rate)
            );
            if measurement.errors > 0 {
                let first = measurement.first_error.as_deref().unwrap_or("no details");
                eprintln!("  {} errors; the first: {first}", measurement.errors);
            }
            round.insert(workload.key, measurement);
        }
        rounds.push(round);
    }
    Ok((rounds, calibration_times))
}

/// Raises the limit of open files, which servers started from here inherit: each connection is an open file.
fn raise_file_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum.or(limit.current.max(Some(1 << 16)));
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        eprintln!("cannot raise the limit of open files ({error}); raise `ulimit -n`");
    }
}
