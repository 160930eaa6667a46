//! Measures Stele beside what people use and beside the machine's own limits, in one run: see `README.md`.

mod args;
mod bars;
mod baseline;
mod cluster;
mod embedded;
mod engine;
mod footprint;
mod lanes;
mod machine;
mod plot;
mod population;
mod process;
mod report;
mod running;
mod sample;
mod servers;
mod site;
mod tools;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use stele_bench_kit::{Programs, Result};

use args::Args;
use lanes::{Lane, Turns};
use population::Logins;
use report::{Report, thousands};
use running::Running;
use sample::Round;
use site::Stores;

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
    tools::installed()?;
    raise_open_files();
    let programs = match &args.programs {
        Some(folder) => Programs::at(folder)?,
        None => Programs::build()?,
    };
    let sizes = args.sizes();
    eprintln!("Stores in {} (the first time, and after 20 hours, they are filled)", args.keep().display());
    let baseline = args.baseline.as_deref().map(Programs::at).transpose()?;
    let stores = Stores::open(programs, baseline, &args.keep(), sizes)?;
    let footprints = if args.only.is_empty() {
        eprintln!("Start and memory of each program");
        footprint::measure(&stores, sizes, args.idle())?
    } else {
        Vec::new()
    };
    eprintln!("Starting what is measured, and what it is measured beside");
    let running = Running::start(&stores, sizes)?;
    let mut lanes = running.lanes(&stores, sizes)?;
    if !args.only.is_empty() {
        lanes.retain(|lane| args.only.iter().any(|key| key == lane.key));
    }
    let mut turns = Turns {
        processes: running.processes(&stores),
        time: args.time(),
        warm: args.warm(),
        main: Logins::new(sizes.users),
        few: Logins::new(sizes.few),
        most: sizes.most.map(Logins::new),
        fastest: None,
        raw_beside: Vec::new(),
    };
    let (rounds, spins) = all_rounds(args.rounds(), stores.redis.address, &mut lanes, &mut turns)?;
    let report = Report { lanes, rounds, footprints, spins, raw_beside: turns.raw_beside, sizes, time: args.time() };
    let markdown = report.markdown();
    println!("{markdown}");
    if let Some(folder) = &args.out {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("performance.md"), &markdown)?;
        std::fs::write(folder.join("performance.svg"), plot::svg(&report))?;
        eprintln!("Written: performance.md and performance.svg in {}", folder.display());
    }
    let errors = report.errors();
    if errors > 0 {
        eprintln!("{errors} requests were not answered as they should be");
    }
    Ok(errors == 0)
}

/// Each lane in turn, `count` times over, each time with nothing in Redis.
fn all_rounds(
    count: usize,
    redis: SocketAddr,
    lanes: &mut [Lane],
    turns: &mut Turns,
) -> Result<(Vec<Round>, Vec<Duration>)> {
    let (mut rounds, mut spins) = (Vec::new(), Vec::new());
    for number in 1..=count {
        let mut round = Round::new();
        servers::empty(redis)?;
        turns.renew();
        for lane in lanes.iter_mut() {
            spins.push(machine::spin());
            let sample = turns.turn(lane)?;
            let p99 = sample.p99.map_or_else(String::new, |p99| format!(", p99 {p99:.2} ms"));
            eprintln!("round {number} of {count}: {:<58} {:>9}/s{p99}", lane.title, thousands(sample.rate));
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
fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum.or(limit.current.max(Some(1 << 16)));
    if let Err(cause) = setrlimit(Resource::Nofile, limit) {
        eprintln!("the limit of open files stays as it is: {cause}");
    }
}
