//! Results of measurements, and their median and range over rounds.

use std::collections::BTreeMap;

use crate::cpu_usage::{CpuUsage, MemoryUsage};
use crate::engine::LoadResult;
use crate::external_tools::ToolResult;

/// Result of one measurement of a workload. Latencies are in milliseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measurement {
    /// Requests per second.
    pub(crate) rate: f64,
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) p999: Option<f64>,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    /// Processor time per request in microseconds, by process name.
    pub(crate) cpu_micros: BTreeMap<&'static str, f64>,
    /// Memory of the workload's own processes right after the measurement, where the workload names them.
    pub(crate) memory: Option<MemoryUsage>,
    /// Shares of the machine that other processes used, and that other guests of the host took, from 0 to 1.
    pub(crate) others_share: f64,
    pub(crate) stolen_share: f64,
}

impl Measurement {
    /// From the load generator's result.
    pub(crate) fn from_load_result(result: &LoadResult, usage: &CpuUsage) -> Self {
        let percentile = |share| {
            let latency = &result.latency;
            (!latency.is_empty()).then(|| latency.value_at_quantile(share) as f64 / 1_000.0)
        };
        Self {
            rate: result.rate(),
            p50: percentile(0.5),
            p99: percentile(0.99),
            p999: percentile(0.999),
            errors: result.errors,
            first_error: result.first_error.clone(),
            ..Self::cpu_only(usage, result.completed)
        }
    }

    /// From an external tool's result.
    pub(crate) fn from_tool_result(result: &ToolResult, usage: &CpuUsage) -> Self {
        let ToolResult { rate, requests, errors, p50, p99 } = *result;
        Self { rate, p50, p99, errors, ..Self::cpu_only(usage, requests) }
    }

    fn cpu_only(usage: &CpuUsage, requests: u64) -> Self {
        let per_request = |micros: u64| micros as f64 / requests.max(1) as f64;
        let cpu_micros = usage.by_name.iter().map(|(name, micros)| (*name, per_request(*micros))).collect();
        Self { cpu_micros, others_share: usage.others_share, stolen_share: usage.stolen_share, ..Self::default() }
    }
}

/// The measurements of one round, by the workload's key.
pub(crate) type RoundMeasurements = BTreeMap<&'static str, Measurement>;

/// Median, minimum and maximum of a measured value.
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
        let (min, max) = (*values.first()?, *values.last()?);
        let half = values.len() / 2;
        let median = if values.len() % 2 == 1 { values[half] } else { f64::midpoint(values[half - 1], values[half]) };
        Some(Self { median, min, max })
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
