//! Whether what must look alike takes the same time: a user who is not there and a password that is wrong; a code asked
//! for by whom it is sent to and by whom it is not; an envelope with this fault and with that one.
//!
//!     cargo run --release --manifest-path bench/timing/Cargo.toml
//!
//! Two kinds of requests are sent in turn, by chance the one or the other first, over one kept connection to the
//! released service; see `statistics` for how the times are compared and when they count as told apart.
//!
//! - `sample`: measuring
//! - `statistics`: comparing
//! - `login`, `codes`, `envelopes`: the pairs (`docs/THREATS.md` 1, 5, 17)

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

/// Whether what must look alike takes the same time.
///
/// Starts each service alone on an embedded store, with its limits out of the way, and measures on loopback. Exits with
/// 1 if two kinds of requests that must look alike can be told apart, or if two that differ cannot.
#[derive(Debug, Parser)]
#[command(name = "timing", max_term_width = 110)]
pub(crate) struct Options {
    /// Pairs of requests that hash no password
    #[arg(long, default_value_t = 20_000, value_name = "N", value_parser = clap::value_parser!(u64).range(200..))]
    pairs: u64,
    /// Pairs of requests that do
    #[arg(long, default_value_t = 2_000, value_name = "N", value_parser = clap::value_parser!(u64).range(200..))]
    costly_pairs: u64,
    /// Only comparisons whose name has this in it
    #[arg(long, default_value = "", value_name = "PART")]
    only: String,
    /// Print JSON in place of the table
    #[arg(long)]
    json: bool,
    /// Write each time measured into a file of this folder, in nanoseconds
    #[arg(long, value_name = "DIR")]
    raw: Option<std::path::PathBuf>,
    /// Use programs that are built already, from this folder
    #[arg(long, value_name = "DIR")]
    programs: Option<std::path::PathBuf>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(report) => {
            print!("{}", if options.json { report.json() } else { report.table() });
            if report.all_as_expected() { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(failure) => {
            eprintln!("error: {failure}");
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
