//! What one turn of one measurement gave, and what all turns of all of them did.

use std::collections::BTreeMap;

use crate::engine::Outcome;
use crate::machine::Spent;
use crate::tools::ToolResult;

/// One turn. Latencies are in milliseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// Requests a second.
    pub(crate) rate: f64,
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) p999: Option<f64>,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    /// Microseconds of processor time a request, by who spent them.
    pub(crate) cpu: BTreeMap<&'static str, f64>,
    /// The share of the machine that others used, and that the host took.
    pub(crate) others: f64,
    pub(crate) stolen: f64,
}

impl Sample {
    /// What the load generator measured.
    pub(crate) fn of(outcome: &Outcome, spent: &Spent) -> Self {
        let percentile = |share| {
            let latency = &outcome.latency;
            (!latency.is_empty()).then(|| latency.value_at_quantile(share) as f64 / 1_000.0)
        };
        Self {
            rate: outcome.rate(),
            p50: percentile(0.5),
            p99: percentile(0.99),
            p999: percentile(0.999),
            errors: outcome.errors,
            first_error: outcome.first_error.clone(),
            ..Self::spent(spent, outcome.done)
        }
    }

    /// What another tool measured.
    pub(crate) fn of_tool(result: &ToolResult, spent: &Spent) -> Self {
        let ToolResult { rate, count, errors, p50, p99 } = *result;
        Self { rate, p50, p99, errors, ..Self::spent(spent, count) }
    }

    fn spent(spent: &Spent, count: u64) -> Self {
        let each = |micros: u64| micros as f64 / count.max(1) as f64;
        let cpu = spent.by_name.iter().map(|(name, micros)| (*name, each(*micros))).collect();
        Self { cpu, others: spent.others, stolen: spent.stolen, ..Self::default() }
    }
}

/// The samples of one round, by the measurement's key.
pub(crate) type Round = BTreeMap<&'static str, Sample>;

/// Of some values: the middle one, and the ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// `None` if there are no values.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let half = values.len() / 2;
        let median = if values.len() % 2 == 1 { values[half] } else { f64::midpoint(values[half - 1], values[half]) };
        Some(Self { median, least, most })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { median: 2.0, least: 1.0, most: 3.0 }));
        assert_eq!(Spread::of([4.0, 1.0]), Some(Spread { median: 2.5, least: 1.0, most: 4.0 }));
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([f64::NAN]), None);
    }
}
