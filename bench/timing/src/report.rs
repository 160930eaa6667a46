//! What was compared, and what came of it.

use std::io::Write as _;
use std::net::SocketAddr;

use serde_json::{Value, json};
use stele_bench_kit::{BenchError, Response, Result, format_table};

use crate::Options;
use crate::sample::{RequestKinds, TimingPair, measure_pairs};
use crate::statistics::{Comparison, Distinguishability, Estimate};

/// How far from 0.5 an AUC may be where no password is hashed.
const MAX_AUC_DEVIATION: f64 = 0.03;
/// And where one is: the sample is smaller.
const MAX_AUC_DEVIATION_HASHING: f64 = 0.05;

/// What must come of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expectation {
    /// The kinds must look alike: the status and the length of the answers, too.
    Indistinguishable,
    /// They must take the same time, though the dialect's document has them answered differently.
    SameTime,
    /// They must be told apart, for they do differ: or nothing would ever be found.
    Distinguishable,
}

/// Two kinds of requests to compare.
pub(crate) struct ComparisonPlan<'a> {
    pub name: String,
    pub address: SocketAddr,
    pub hashes_password: bool,
    pub request_kinds: RequestKinds<'a>,
    pub follow_up: Option<&'a dyn Fn(u64) -> Vec<u8>>,
    pub expectation: Expectation,
}

struct ComparisonResult {
    name: String,
    expectation: Expectation,
    max_deviation: f64,
    comparison: Comparison,
    verdict: Distinguishability,
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
                "apart, as they are"
            }
            Distinguishability::Distinguishable => "APART",
        };
        let same = self.expectation != Expectation::Indistinguishable || self.responses[0] == self.responses[1];
        if same { verdict.to_owned() } else { format!("{verdict}, ANSWERS DIFFER {:?}", self.responses) }
    }
}

/// All comparisons.
#[derive(Default)]
pub(crate) struct Report(Vec<ComparisonResult>);

impl Report {
    /// Measures and compares, if the options ask for it.
    pub(crate) fn compare(&mut self, options: &Options, plan: ComparisonPlan<'_>) -> Result<()> {
        let ComparisonPlan {
            name,
            address,
            hashes_password: costly,
            request_kinds: kinds,
            follow_up: after,
            expectation: must,
        } = plan;
        if !name.contains(&options.only) {
            return Ok(());
        }
        let count = if costly { options.costly_pairs } else { options.pairs };
        let mut answers = [None; 2];
        let mut check = |kind: usize, answer: &Response| {
            let seen = (answer.status, answer.body.len());
            if answer.status == 429 {
                return Err(BenchError::new(format!("{name}: a limit is in the way: {}", answer.text())));
            }
            // Where a kind is not answered alike each time, its answers alone tell.
            match *answers[kind].get_or_insert(seen) {
                first if first == seen => Ok(()),
                first => Err(BenchError::new(format!("{name}: answers of one kind differ: {first:?}, {seen:?}"))),
            }
        };
        let pairs = measure_pairs(&name, address, count, kinds, after, &mut check)?;
        if let Some(folder) = &options.raw {
            write_samples(&folder.join(format!("{}.tsv", name.replace([' ', '/', ':', ','], "-"))), &pairs)?;
        }
        let comparison = Comparison::from_pairs(&pairs);
        let band = if costly { MAX_AUC_DEVIATION_HASHING } else { MAX_AUC_DEVIATION };
        let verdict = comparison.distinguishability(band);
        let row =
            ComparisonResult { name, expectation: must, max_deviation: band, comparison, verdict, responses: answers };
        eprintln!("{}: AUC {:.4}: {}", row.name, row.comparison.auc.value, row.result_text());
        self.0.push(row);
        Ok(())
    }

    pub(crate) fn all_as_expected(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(ComparisonResult::is_expected)
    }

    pub(crate) fn table(&self) -> String {
        let heads =
            ["comparison", "pairs", "median", "AUC", "99 %", "medians differ by", "99 % ", "deciles by", "verdict"];
        let right = ["pairs", "median", "AUC", "medians differ by", "deciles by"];
        let micros = |nanos: f64| format!("{:+.1} µs", nanos / 1_000.0);
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
                    micros(medians.value),
                    format!("{} to {}", micros(medians.low), micros(medians.high)),
                    micros(deciles.value),
                    row.result_text(),
                ]
            });
        format!(
            "{}\nAlike: the AUC's interval lies within 0.5 ± {MAX_AUC_DEVIATION}; where passwords are hashed, 0.5 ± {MAX_AUC_DEVIATION_HASHING}.\n",
            format_table(&heads, &right, &rows.collect::<Vec<_>>())
        )
    }

    pub(crate) fn json(&self) -> String {
        let figure = |figure: Estimate| json!({ "value": figure.value, "low": figure.low, "high": figure.high });
        let rows = self.0.iter().map(|row| {
            let Comparison { pairs, first_median: median, auc, median_difference: medians, decile_difference: deciles } = row.comparison;
            json!({
                "comparison": row.name, "pairs": pairs, "band": row.max_deviation, "median_ns": median, "auc": figure(auc),
                "medians_differ_ns": figure(medians), "deciles_differ_ns": figure(deciles),
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
