//! Runs the comparisons of response times, and reports the results as a table and as JSON.

use std::io::Write as _;
use std::net::SocketAddr;

use serde_json::{Value, json};
use stele_bench_kit::{BenchError, Response, Result, format_table};

use crate::Options;
use crate::sample::{RequestBuilder, RequestKinds, TimingPair, measure_pairs};
use crate::statistics::{Comparison, Distinguishability, Estimate};

/// Times without password hashing are indistinguishable if the AUC's confidence interval lies within 0.5 ± this.
const MAX_AUC_DEVIATION: f64 = 0.03;
/// The same with password hashing, where the sample is smaller.
const MAX_AUC_DEVIATION_HASHING: f64 = 0.05;

/// The required result of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expectation {
    /// Times must be indistinguishable, and status and length of the responses equal.
    Indistinguishable,
    /// Times must be indistinguishable; the dialect's document requires different responses.
    SameTime,
    /// Control: times must be distinguishable, which shows that the method detects differences.
    Distinguishable,
}

/// Two kinds of requests to compare.
pub(crate) struct ComparisonPlan<'a> {
    pub name: String,
    pub address: SocketAddr,
    pub hashes_password: bool,
    pub request_kinds: RequestKinds<'a>,
    /// A request that is sent after each one and measured instead.
    pub follow_up: Option<RequestBuilder<'a>>,
    pub expectation: Expectation,
}

struct ComparisonResult {
    name: String,
    expectation: Expectation,
    max_deviation: f64,
    comparison: Comparison,
    verdict: Distinguishability,
    /// Status and length of the responses of each kind.
    responses: [Option<(u16, usize)>; 2],
}

impl ComparisonResult {
    fn is_expected(&self) -> bool {
        match self.expectation {
            Expectation::Indistinguishable => {
                self.verdict == Distinguishability::Indistinguishable && self.responses[0] == self.responses[1]
            }
            Expectation::SameTime => self.verdict == Distinguishability::Indistinguishable,
            Expectation::Distinguishable => self.verdict == Distinguishability::Distinguishable,
        }
    }

    fn result_text(&self) -> String {
        let verdict = match self.verdict {
            Distinguishability::Indistinguishable => "alike",
            Distinguishability::Inconclusive => "UNCLEAR",
            Distinguishability::Distinguishable if self.expectation == Expectation::Distinguishable => {
                "apart, as expected"
            }
            Distinguishability::Distinguishable => "APART",
        };
        let responses_match =
            self.expectation != Expectation::Indistinguishable || self.responses[0] == self.responses[1];
        if responses_match { verdict.to_owned() } else { format!("{verdict}, RESPONSES DIFFER {:?}", self.responses) }
    }
}

/// All comparisons.
#[derive(Default)]
pub(crate) struct Report(Vec<ComparisonResult>);

impl Report {
    /// Measures and compares, if the options select the comparison.
    pub(crate) fn compare(&mut self, options: &Options, plan: ComparisonPlan<'_>) -> Result<()> {
        let ComparisonPlan { name, address, hashes_password, request_kinds, follow_up, expectation } = plan;
        if !name.contains(&options.only) {
            return Ok(());
        }
        let count = if hashes_password { options.costly_pairs } else { options.pairs };
        let mut responses = [None; 2];
        let mut check_response = |kind: usize, response: &Response| {
            let received = (response.status, response.body.len());
            if response.status == 429 {
                return Err(BenchError::new(format!("{name}: rejected by a rate limit: {}", response.text())));
            }
            // Times can be compared only if all responses of one kind are alike.
            match *responses[kind].get_or_insert(received) {
                first if first == received => Ok(()),
                first => Err(BenchError::new(format!("{name}: responses of one kind differ: {first:?}, {received:?}"))),
            }
        };
        let pairs = measure_pairs(&name, address, count, request_kinds, follow_up, &mut check_response)?;
        if let Some(folder) = &options.raw {
            write_samples(&folder.join(format!("{}.tsv", name.replace([' ', '/', ':', ','], "-"))), &pairs)?;
        }
        let comparison = Comparison::from_pairs(&pairs);
        let max_deviation = if hashes_password { MAX_AUC_DEVIATION_HASHING } else { MAX_AUC_DEVIATION };
        let verdict = comparison.distinguishability(max_deviation);
        let result = ComparisonResult { name, expectation, max_deviation, comparison, verdict, responses };
        eprintln!("{}: AUC {:.4}: {}", result.name, result.comparison.auc.value, result.result_text());
        self.0.push(result);
        Ok(())
    }

    /// Whether there are comparisons, and all have the required result.
    pub(crate) fn all_as_expected(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(ComparisonResult::is_expected)
    }

    pub(crate) fn to_table(&self) -> String {
        let headings = [
            "comparison",
            "pairs",
            "first median",
            "AUC",
            "99 % CI of AUC",
            "medians differ by",
            "99 % CI of medians",
            "lower deciles differ by",
            "verdict",
        ];
        let right_aligned = ["pairs", "first median", "AUC", "medians differ by", "lower deciles differ by"];
        let format_micros = |nanos: f64| format!("{:+.1} µs", nanos / 1_000.0);
        let rows =
            self.0.iter().map(|row| {
                let Comparison {
                    pairs,
                    first_median: median,
                    auc,
                    median_difference: medians,
                    decile_difference: deciles,
                } = row.comparison;
                vec![
                    row.name.clone(),
                    pairs.to_string(),
                    format!("{:.1} µs", median / 1_000.0),
                    format!("{:.4}", auc.value),
                    format!("{:.4} to {:.4}", auc.low, auc.high),
                    format_micros(medians.value),
                    format!("{} to {}", format_micros(medians.low), format_micros(medians.high)),
                    format_micros(deciles.value),
                    row.result_text(),
                ]
            });
        format!(
            "{}\nAlike: the AUC's interval lies within 0.5 ± {MAX_AUC_DEVIATION}; where passwords are hashed, \
             0.5 ± {MAX_AUC_DEVIATION_HASHING}.\n",
            format_table(&headings, &right_aligned, &rows.collect::<Vec<_>>())
        )
    }

    pub(crate) fn to_json(&self) -> String {
        let estimate_json =
            |estimate: Estimate| json!({ "value": estimate.value, "low": estimate.low, "high": estimate.high });
        let rows = self.0.iter().map(|row| {
            let Comparison { pairs, first_median: median, auc, median_difference: medians, decile_difference: deciles } = row.comparison;
            json!({
                "comparison": row.name, "pairs": pairs, "band": row.max_deviation, "median_ns": median, "auc": estimate_json(auc),
                "medians_differ_ns": estimate_json(medians), "deciles_differ_ns": estimate_json(deciles),
                "must_be_apart": row.expectation == Expectation::Distinguishable, "verdict": format!("{:?}", row.verdict).to_lowercase(),
                "good": row.is_expected(),
            })
        });
        let report = json!({ "good": self.all_as_expected(), "comparisons": rows.collect::<Vec<Value>>() });
        format!("{report:#}\n")
    }
}

fn write_samples(path: &std::path::Path, pairs: &[TimingPair]) -> Result<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    for pair in pairs {
        writeln!(file, "{}\t{}", pair.first_nanos, pair.second_nanos)?;
    }
    Ok(file.flush()?)
}
