//! Breaks the databases under running services, and checks that nothing that was answered is lost and nothing
//! impossible is answered. Run it with `deploy/test-chaos`.
//!
//! - `round`: one round of a scenario; `scenarios`: the faults
//! - `load`, `client`, `api`: the clients; `ledger`, `ledger_check`: what they were answered, and whether it holds
//! - `deployment`, `database`: the services and PostgreSQL servers; `monitor`: connections and readiness
//! - `requests`, `report`: outages, tables

mod api;
mod client;
mod database;
mod deployment;
mod ledger;
mod ledger_check;
mod load;
mod monitor;
mod outbox;
mod report;
mod requests;
mod round;
mod scenarios;
mod small_disk;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use stele_bench_kit::{BenchError, ReleasePrograms, Result};

use report::RoundReport;
use round::Harness;
use scenarios::{SCENARIOS, Scenario};

/// Breaks PostgreSQL, Redis, poolers, proxies and instances under load, and checks a ledger of every answered success.
///
/// Starts a gateway, two instances of cloudbox and of the portal, and their databases on free ports of loopback. Eight
/// clients register, log in, change passwords and log out, and repeat used proofs and codes, replaced passwords and
/// ended sessions. After the fault each one checks that what it was answered holds. Prints a Markdown table; progress
/// goes to standard error.
#[derive(Debug, Parser)]
#[command(name = "test-chaos", bin_name = "deploy/test-chaos", max_term_width = 110, after_help = EXAMPLES)]
struct Args {
    /// Scenarios to run; --list names them [default: all]
    #[arg(value_name = "SCENARIO")]
    scenarios: Vec<String>,
    /// List the scenarios, and end
    #[arg(long)]
    list: bool,
    /// Rounds of each scenario
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    times: u32,
    /// Shorten the faults that last longer than 15 s
    #[arg(long)]
    quick: bool,
    /// Also write everything that was measured to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Keep the logs of every round in this folder
    #[arg(long, value_name = "DIR")]
    logs: Option<PathBuf>,
    /// Folder of the programs under test: `stele`, `gateway` and the services
    #[arg(long, value_name = "DIR", required_unless_present = "list")]
    programs: Option<PathBuf>,
}

const EXAMPLES: &str = "Examples:
  deploy/test-chaos pg-frozen --times 1
  deploy/test-chaos --json chaos.json --logs chaos-logs

How to read the table:
  answered writes   registrations, changes of passwords, sessions opened and ended that were answered
  lost              of these, those that do not hold after the fault; must be 0
  impossible        answers that contradict an earlier one; must be 0
  longest outage    from a client's first failed request to its next successful one of the same kind
  ready after       from the end of the fault until every instance was ready
  connections       the most that the services had at one PostgreSQL server, and the documented bound
  restarts          instances that were restarted during the fault, and how many of them started
  unknown writes    writes answered 5xx or not at all: done, not done, and without the log line that says so

Exit code: 0 all rounds held; 1 a ledger was violated or a condition missed; 2 it could not be run.";

fn main() -> ExitCode {
    let args = Args::parse();
    if args.list {
        for scenario in SCENARIOS {
            println!("{:28} {}", scenario.name, scenario.description);
        }
        return ExitCode::SUCCESS;
    }
    match run(&args) {
        Ok(rounds) => {
            print!("{}", report::to_markdown(&rounds));
            if rounds.iter().all(RoundReport::passed) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<Vec<RoundReport>> {
    let selected = select_scenarios(&args.scenarios)?;
    let folder = args.programs.as_deref().ok_or_else(|| BenchError::new("--programs is missing"))?;
    let harness = Harness {
        programs: ReleasePrograms::from_folder(folder)?,
        runtime: tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?,
        quick: args.quick,
        logs: args.logs.clone(),
    };
    let mut rounds = Vec::new();
    for scenario in selected {
        for number in 1..=args.times {
            eprintln!("{} ({number} of {})", scenario.name, args.times);
            // A round that cannot be run does not end the others.
            let round = (scenario.run)(&harness, scenario.name).unwrap_or_else(|error| {
                let mut round = RoundReport::new(scenario.name);
                round.require(&error.to_string(), false);
                round
            });
            eprintln!("    {}", round.progress_line());
            rounds.push(round);
            if let Some(file) = &args.json {
                std::fs::write(file, report::to_json(&rounds))?;
            }
        }
    }
    Ok(rounds)
}

fn select_scenarios(names: &[String]) -> Result<Vec<&'static Scenario>> {
    let unknown = names.iter().find(|name| !SCENARIOS.iter().any(|scenario| scenario.name == name.as_str()));
    if let Some(unknown) = unknown {
        return Err(BenchError::new(format!("there is no scenario {unknown}; --list names them")));
    }
    let is_selected = |scenario: &&Scenario| names.is_empty() || names.iter().any(|name| name == scenario.name);
    Ok(SCENARIOS.iter().filter(is_selected).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_are_selected_by_name_in_the_order_of_the_list() {
        let names = ["redis-frozen".to_owned(), "pg-frozen".to_owned()];
        let selected: Vec<_> = select_scenarios(&names).unwrap().iter().map(|scenario| scenario.name).collect();
        assert_eq!(selected, ["pg-frozen", "redis-frozen"]);
        assert_eq!(select_scenarios(&[]).unwrap().len(), SCENARIOS.len());
        assert!(select_scenarios(&["pg-frozn".to_owned()]).err().unwrap().to_string().contains("--list"));
    }
}
