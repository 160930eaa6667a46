//! Measures Stele beside what people use and beside the machine's own limits, in one run: see `README.md`.

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
mod measurement;
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
use installation::StoreServers;
use measurement::RoundMeasurements;
use report::{Report, format_thousands};
use test_bed::TestBed;
use user_population::SaltedLogins;
use workloads::{RoundRunner, Workload};

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(2)
        }
    }
}

/// Gives whether every request was answered as it should be.
fn run(args: &Args) -> Result<bool> {
    external_tools::ensure_installed()?;
    raise_file_descriptor_limit();
    let programs = match &args.programs {
        Some(folder) => ReleasePrograms::from_folder(folder)?,
        None => ReleasePrograms::build()?,
    };
    let python = args.with_django().then(|| PythonEnvironment::provide(&args.database_folder())).transpose()?;
    let sizes = args.sizes();
    eprintln!("Stores in {} (the first time, and after 20 hours, they are filled)", args.database_folder().display());
    let baseline = args.baseline.as_deref().map(ReleasePrograms::from_folder).transpose()?;
    let stores = StoreServers::open(programs, baseline, &args.database_folder(), sizes)?;
    let footprints = if args.only.is_empty() {
        eprintln!("Start and memory of each program");
        footprint::measure_footprints(&stores, sizes, args.idle_time())?
    } else {
        Vec::new()
    };
    eprintln!("Starting what is measured, and what it is measured beside");
    let running = TestBed::start(&stores, sizes)?;
    let mut lanes = running.workloads(&stores, sizes)?;
    let mut processes = running.named_processes(&stores);
    let beside = python.map(|python| DjangoComparison::start(&python, &stores, sizes)).transpose()?;
    if let Some(beside) = &beside {
        lanes.extend(beside.workloads());
        processes.extend(beside.named_processes());
    }
    lanes.retain(|lane| args.measures(lane.key));
    let mut turns = RoundRunner {
        processes,
        measurement_time: args.measurement_time(),
        warmup: args.warmup_time(),
        main_logins: SaltedLogins::new(sizes.main_users),
        few_users_logins: SaltedLogins::new(sizes.few_users),
        most_users_logins: sizes.most_users.map(SaltedLogins::new),
        fastest_salted_rate: None,
        raw_rates_in_mixed_load: Vec::new(),
    };
    let (rounds, spins) = run_rounds(args.rounds(), stores.redis.address, &mut lanes, &mut turns)?;
    let report = Report {
        workloads: lanes,
        rounds,
        footprints,
        calibration_times: spins,
        raw_rates_in_mixed_load: turns.raw_rates_in_mixed_load,
        sizes,
        measurement_time: args.measurement_time(),
    };
    let markdown = report.markdown();
    println!("{markdown}");
    if let Some(folder) = &args.out {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("performance.md"), &markdown)?;
        std::fs::write(folder.join("performance.svg"), bar_chart::bar_chart_svg(&report))?;
        eprintln!("Written: performance.md and performance.svg in {}", folder.display());
    }
    let errors = report.errors();
    if errors > 0 {
        eprintln!("{errors} requests were not answered as they should be");
    }
    Ok(errors == 0)
}

/// Each lane in turn, `count` times over, each time with nothing in Redis.
fn run_rounds(
    count: usize,
    redis: SocketAddr,
    lanes: &mut [Workload],
    turns: &mut RoundRunner,
) -> Result<(Vec<RoundMeasurements>, Vec<Duration>)> {
    let (mut rounds, mut spins) = (Vec::new(), Vec::new());
    for number in 1..=count {
        let mut round = RoundMeasurements::new();
        servers::flush_redis(redis)?;
        turns.refresh_logins();
        for lane in lanes.iter_mut() {
            spins.push(cpu_usage::calibration_loop());
            let sample = turns.measure(lane)?;
            let p99 = sample.p99.map_or_else(String::new, |p99| format!(", p99 {p99:.2} ms"));
            eprintln!("round {number} of {count}: {:<58} {:>9}/s{p99}", lane.title, format_thousands(sample.rate));
            if sample.errors > 0 {
                let why = sample.first_error.as_deref().unwrap_or("not told why");
                eprintln!("  {} errors; the first: {why}", sample.errors);
            }
            round.insert(lane.key, sample);
        }
        rounds.push(round);
    }
    Ok((rounds, spins))
}

/// Each connection is an open file, here and in every server that is started from here.
fn raise_file_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum.or(limit.current.max(Some(1 << 16)));
    if let Err(cause) = setrlimit(Resource::Nofile, limit) {
        eprintln!("the limit of open files stays as it is: {cause}");
    }
}
