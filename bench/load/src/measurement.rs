//! What one turn of one measurement gave, and what all turns of all of them did.

use std::collections::BTreeMap;

use crate::cpu_usage::{CpuUsage, MemoryUsage};
use crate::engine::LoadResult;
use crate::external_tools::ToolResult;

/// One turn. Latencies are in milliseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measurement {
    /// Requests a second.
    pub(crate) rate: f64,
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) p999: Option<f64>,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    /// Microseconds of processor time a request, by who spent them.
    pub(crate) cpu_micros: BTreeMap<&'static str, f64>,
    /// Memory of the workload's own processes right after the measurement, where the workload names them.
    pub(crate) memory: Option<MemoryUsage>,
    /// The share of the machine that others used, and that the host took.
    pub(crate) others_share: f64,
    pub(crate) stolen_share: f64,
}

impl Measurement {
    /// What the load generator measured.
    pub(crate) fn from_load_result(outcome: &LoadResult, spent: &CpuUsage) -> Self {
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
            ..Self::cpu_only(spent, outcome.completed)
        }
    }

    /// What another tool measured.
    pub(crate) fn from_tool_result(result: &ToolResult, spent: &CpuUsage) -> Self {
        let ToolResult { rate, requests: count, errors, p50, p99 } = *result;
        Self { rate, p50, p99, errors, ..Self::cpu_only(spent, count) }
    }

    fn cpu_only(spent: &CpuUsage, count: u64) -> Self {
        let each = |micros: u64| micros as f64 / count.max(1) as f64;
        let cpu = spent.by_name.iter().map(|(name, micros)| (*name, each(*micros))).collect();
        Self { cpu_micros: cpu, others_share: spent.others_share, stolen_share: spent.stolen_share, ..Self::default() }
    }
}

/// The samples of one round, by the measurement's key.
pub(crate) type RoundMeasurements = BTreeMap<&'static str, Measurement>;

/// Of some values: the middle one, and the ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct MedianRange {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl MedianRange {
    /// `None` if there are no values.
    pub(crate) fn from_values(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let half = values.len() / 2;
        let median = if values.len() % 2 == 1 { values[half] } else { f64::midpoint(values[half - 1], values[half]) };
        Some(Self { median, min: least, max: most })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(MedianRange::from_values([3.0, 1.0, 2.0]), Some(MedianRange { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(MedianRange::from_values([4.0, 1.0]), Some(MedianRange { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(MedianRange::from_values([]), None);
        assert_eq!(MedianRange::from_values([f64::NAN]), None);
    }
}
