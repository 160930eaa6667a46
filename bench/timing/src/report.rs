//! What was compared, and what came of it.

use std::io::Write as _;
use std::net::SocketAddr;

use serde_json::{Value, json};
use stele_bench_kit::{Answer, Failure, Result, table};

use crate::Options;
use crate::sample::{Kinds, Pair, measure};
use crate::statistics::{Comparison, Figure, Verdict};

/// How far from 0.5 an AUC may be where no password is hashed.
const BAND: f64 = 0.03;
/// And where one is: the sample is smaller.
const COSTLY_BAND: f64 = 0.05;

/// What must come of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Must {
    /// The kinds must look alike: the status and the length of the answers, too.
    Alike,
    /// They must take the same time, though the dialect's document has them answered differently.
    AlikeInTime,
    /// They must be told apart, for they do differ: or nothing would ever be found.
    Apart,
}

/// Two kinds of requests to compare.
pub(crate) struct Plan<'a> {
    pub name: String,
    pub address: SocketAddr,
    pub costly: bool,
    pub kinds: Kinds<'a>,
    pub after: Option<&'a dyn Fn(u64) -> Vec<u8>>,
    pub must: Must,
}

struct Row {
    name: String,
    must: Must,
    band: f64,
    comparison: Comparison,
    verdict: Verdict,
    answers: [Option<(u16, usize)>; 2],
}

impl Row {
    fn is_good(&self) -> bool {
        match self.must {
            Must::Alike => self.verdict == Verdict::Alike && self.answers[0] == self.answers[1],
            Must::AlikeInTime => self.verdict == Verdict::Alike,
            Must::Apart => self.verdict == Verdict::Apart,
        }
    }

    fn told(&self) -> String {
        let verdict = match self.verdict {
            Verdict::Alike => "alike",
            Verdict::Unclear => "UNCLEAR",
            Verdict::Apart if self.must == Must::Apart => "apart, as they are",
            Verdict::Apart => "APART",
        };
        let same = self.must != Must::Alike || self.answers[0] == self.answers[1];
        if same { verdict.to_owned() } else { format!("{verdict}, ANSWERS DIFFER {:?}", self.answers) }
    }
}

/// All comparisons.
#[derive(Default)]
pub(crate) struct Report(Vec<Row>);

impl Report {
    /// Measures and compares, if the options ask for it.
    pub(crate) fn compare(&mut self, options: &Options, plan: Plan<'_>) -> Result<()> {
        let Plan { name, address, costly, kinds, after, must } = plan;
        if !name.contains(&options.only) {
            return Ok(());
        }
        let count = if costly { options.costly_pairs } else { options.pairs };
        let mut answers = [None; 2];
        let mut check = |kind: usize, answer: &Answer| {
            let seen = (answer.status, answer.body.len());
            if answer.status == 429 {
                return Err(Failure::new(format!("{name}: a limit is in the way: {}", answer.text())));
            }
            // Where a kind is not answered alike each time, its answers alone tell.
            match *answers[kind].get_or_insert(seen) {
                first if first == seen => Ok(()),
                first => Err(Failure::new(format!("{name}: answers of one kind differ: {first:?}, {seen:?}"))),
            }
        };
        let pairs = measure(&name, address, count, kinds, after, &mut check)?;
        if let Some(folder) = &options.raw {
            write(&folder.join(format!("{}.tsv", name.replace([' ', '/', ':', ','], "-"))), &pairs)?;
        }
        let comparison = Comparison::of(&pairs);
        let band = if costly { COSTLY_BAND } else { BAND };
        let verdict = comparison.verdict(band);
        let row = Row { name, must, band, comparison, verdict, answers };
        eprintln!("{}: AUC {:.4}: {}", row.name, row.comparison.auc.value, row.told());
        self.0.push(row);
        Ok(())
    }

    pub(crate) fn is_good(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(Row::is_good)
    }

    pub(crate) fn table(&self) -> String {
        let heads =
            ["comparison", "pairs", "median", "AUC", "99 %", "medians differ by", "99 % ", "deciles by", "verdict"];
        let right = ["pairs", "median", "AUC", "medians differ by", "deciles by"];
        let micros = |nanos: f64| format!("{:+.1} µs", nanos / 1_000.0);
        let rows = self.0.iter().map(|row| {
            let Comparison { pairs, median, auc, medians, deciles } = row.comparison;
            vec![
                row.name.clone(),
                pairs.to_string(),
                format!("{:.1} µs", median / 1_000.0),
                format!("{:.4}", auc.value),
                format!("{:.4} to {:.4}", auc.low, auc.high),
                micros(medians.value),
                format!("{} to {}", micros(medians.low), micros(medians.high)),
                micros(deciles.value),
                row.told(),
            ]
        });
        format!(
            "{}\nAlike: the AUC's interval lies within 0.5 ± {BAND}; where passwords are hashed, 0.5 ± {COSTLY_BAND}.\n",
            table(&heads, &right, &rows.collect::<Vec<_>>())
        )
    }

    pub(crate) fn json(&self) -> String {
        let figure = |figure: Figure| json!({ "value": figure.value, "low": figure.low, "high": figure.high });
        let rows = self.0.iter().map(|row| {
            let Comparison { pairs, median, auc, medians, deciles } = row.comparison;
            json!({
                "comparison": row.name, "pairs": pairs, "band": row.band, "median_ns": median, "auc": figure(auc),
                "medians_differ_ns": figure(medians), "deciles_differ_ns": figure(deciles),
                "must_be_apart": row.must == Must::Apart, "verdict": format!("{:?}", row.verdict).to_lowercase(),
                "good": row.is_good(),
            })
        });
        let report = json!({ "good": self.is_good(), "comparisons": rows.collect::<Vec<Value>>() });
        format!("{report:#}\n")
    }
}

fn write(path: &std::path::Path, pairs: &[Pair]) -> Result<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    for pair in pairs {
        writeln!(file, "{}\t{}", pair.first, pair.second)?;
    }
    Ok(file.flush()?)
}
