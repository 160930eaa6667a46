//! Measures timing side channels: whether responses that must be indistinguishable take the same time. Compares an
//! unknown user with a wrong password (user enumeration), one-time codes of known and unknown users, and envelopes with
//! different errors (padding oracle).
//!
//!     cargo run --release --manifest-path bench/timing/Cargo.toml
//!
//! Each pair is one request of each kind, sent in random order. All pairs use one keep-alive connection to a service of
//! the release programs.
//! `statistics` describes how the times are compared and when they count as distinguishable.
//!
//! - `sample`: measures pairs of requests
//! - `statistics`: compares the times
//! - `login`, `codes`, `envelopes`: the kinds of requests (`docs/THREATS.md` 1, 5, 17)

mod codes;
mod envelopes;
mod login;
mod report;
mod sample;
mod statistics;

use std::process::ExitCode;

use clap::Parser;
use stele_bench_kit::{ReleasePrograms, Result};

use report::Report;

/// Measures whether responses that must be indistinguishable take the same time.
///
/// Starts each service alone on embedded stores with high rate limits, and measures on loopback. Exits with 1 if a
/// comparison is inconclusive or does not have the required result, or if none is selected.
#[derive(Debug, Parser)]
#[command(name = "timing", max_term_width = 110)]
pub(crate) struct Options {
    /// Pairs of requests for each comparison without password hashing
    #[arg(long, default_value_t = 20_000, value_name = "N", value_parser = clap::value_parser!(u64).range(200..))]
    pairs: u64,
    /// Pairs of requests for each comparison with password hashing
    #[arg(long, default_value_t = 2_000, value_name = "N", value_parser = clap::value_parser!(u64).range(200..))]
    costly_pairs: u64,
    /// Run only comparisons whose name contains PART
    #[arg(long, default_value = "", value_name = "PART")]
    only: String,
    /// Print JSON instead of the table
    #[arg(long)]
    json: bool,
    /// Write all measured times, in nanoseconds, into one file per comparison in this folder
    #[arg(long, value_name = "DIR")]
    raw: Option<std::path::PathBuf>,
    /// Use the release programs in this folder instead of building them
    #[arg(long, value_name = "DIR")]
    programs: Option<std::path::PathBuf>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(report) => {
            print!("{}", if options.json { report.to_json() } else { report.to_table() });
            if report.all_as_expected() { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<Report> {
    let programs = match &options.programs {
        Some(folder) => ReleasePrograms::from_folder(folder)?,
        None => ReleasePrograms::build()?,
    };
    let mut report = Report::default();
    login::compare_logins(options, &programs, &mut report)?;
    codes::compare_codes(options, &programs, &mut report)?;
    envelopes::compare_envelopes(options, &programs, &mut report)?;
    Ok(report)
}
