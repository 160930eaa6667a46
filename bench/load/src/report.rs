//! Report of the results, as Markdown.

use std::fmt::Write as _;
use std::time::Duration;

use crate::cpu_usage::{self, MemoryUsage};
use crate::footprint::Footprint;
use crate::installation::PopulationSizes;
use crate::measurement::{Measurement, MedianRange, RoundMeasurements};
use crate::test_bed::DEFAULT_CONNECTIONS;
use crate::thresholds::{self, EvaluatedThreshold, Threshold};
use crate::workloads::Workload;

/// All results of a run.
pub(crate) struct Report {
    pub(crate) workloads: Vec<Workload>,
    pub(crate) rounds: Vec<RoundMeasurements>,
    pub(crate) footprints: Vec<Footprint>,
    /// The time of a fixed computation before each measurement, which shows the noise of the machine.
    pub(crate) calibration_times: Vec<Duration>,
    /// Password logins per second during the salted logins of the workload `salted-beside`, in each round.
    pub(crate) password_login_rates_in_mixed_load: Vec<f64>,
    pub(crate) sizes: PopulationSizes,
    pub(crate) measurement_time: Duration,
}

impl Report {
    /// The thresholds with their measured values.
    pub(crate) fn evaluated_thresholds(&self) -> Vec<EvaluatedThreshold> {
        thresholds::evaluate_thresholds(&self.rounds, &self.footprints)
    }

    /// The number of failed requests and unexpected responses.
    pub(crate) fn error_count(&self) -> u64 {
        self.rounds.iter().flat_map(RoundMeasurements::values).map(|measurement| measurement.errors).sum()
    }

    /// The report in Markdown.
    pub(crate) fn to_markdown(&self) -> String {
        let mut text = String::new();
        let PopulationSizes { main_users: users, .. } = self.sizes;
        let (rounds, seconds) = (self.rounds.len(), self.measurement_time.as_secs_f64());
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{}. {rounds} rounds, each workload {seconds} s per round; {users} users; {DEFAULT_CONNECTIONS} \
             connections in a closed loop unless stated otherwise. Values are medians of the rounds, with minimum and maximum.\n",
            cpu_usage::processor_model()
        );
        text += &self.noise_section();
        text += "\n### Thresholds\n\n| | value | range | threshold | |\n| --- | --- | --- | --- | --- |\n";
        for evaluated in self.evaluated_thresholds() {
            text += &threshold_row(&evaluated);
        }
        text += &self.theoretical_rates_section();
        text += "\n### Workloads\n\n| | per second | range | p50 ms | p99 ms | p99.9 ms | errors | \
                 CPU µs per request |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n";
        for workload in &self.workloads {
            text += &self.workload_row(workload);
        }
        text += &self.memory_after_use();
        text += "\n### Memory and start-up\n\n| | RSS MiB | PSS MiB | start to ready s | range |\n\
                 | --- | --- | --- | --- | --- |\n";
        for Footprint { name, startup_seconds: startup, idle_memory: idle } in &self.footprints {
            let mib = |kib: u64| kib as f64 / 1_024.0;
            let _ = writeln!(
                text,
                "| {name} | {:.1} | {:.1} | {:.3} | {:.3}–{:.3} |",
                mib(idle.resident),
                mib(idle.proportional),
                startup.median,
                startup.min,
                startup.max
            );
        }
        text
    }

    /// A table with a row for each workload after which the memory of its processes was read; empty if there is none.
    fn memory_after_use(&self) -> String {
        let mut rows = String::new();
        for workload in &self.workloads {
            let usages: Vec<MemoryUsage> =
                self.rounds.iter().filter_map(|round| round.get(workload.key)?.memory).collect();
            let mib = |field: fn(&MemoryUsage) -> u64| {
                MedianRange::from_values(usages.iter().map(|usage| field(usage) as f64 / 1_024.0))
            };
            if let (Some(resident), Some(proportional)) = (mib(|usage| usage.resident), mib(|usage| usage.proportional))
            {
                let _ = writeln!(
                    rows,
                    "| {} | {:.1} | {:.1} | {:.1}–{:.1} |",
                    workload.title, resident.median, proportional.median, proportional.min, proportional.max
                );
            }
        }
        if rows.is_empty() {
            return rows;
        }
        format!(
            "\n### Memory after use\n\nSum over all processes of the workload, right after each measurement; without \
             PostgreSQL and Redis.\n\n| | RSS MiB | PSS MiB | range of PSS |\n| --- | --- | --- | --- |\n{rows}"
        )
    }

    fn noise_section(&self) -> String {
        let measurements = || self.rounds.iter().flat_map(RoundMeasurements::values);
        let to_percent = |share: f64| share * 100.0;
        let others = MedianRange::from_values(measurements().map(|measurement| to_percent(measurement.others_share)));
        let stolen = MedianRange::from_values(measurements().map(|measurement| to_percent(measurement.stolen_share)));
        let calibration = MedianRange::from_values(self.calibration_times.iter().map(Duration::as_secs_f64));
        let (Some(others), Some(stolen), Some(calibration)) = (others, stolen, calibration) else {
            return String::new();
        };
        format!(
            "Noise: a fixed computation before each measurement took {:.1} ms (median; minimum {:.1}, maximum {:.1}, \
             {:.0} % above the minimum); other processes used {:.1} % of the machine (median; maximum {:.0} %), other \
             guests of the host {:.1} % (maximum {:.0} %).\n",
            calibration.median * 1_000.0,
            calibration.min * 1_000.0,
            calibration.max * 1_000.0,
            to_percent(calibration.max / calibration.min - 1.0),
            others.median,
            others.max,
            stolen.median,
            stolen.max
        )
    }

    fn theoretical_rates_section(&self) -> String {
        let mut text = String::new();
        let over_rounds =
            |rate: fn(&RoundMeasurements) -> Option<f64>| MedianRange::from_values(self.rounds.iter().filter_map(rate));
        for (title, range) in [
            (
                "Theoretical maximum rate of a login = 1/(1/hello + 1/select + 1/set)",
                over_rounds(thresholds::theoretical_login_rate),
            ),
            (
                "Theoretical maximum rate of a token check = 1/(1/hello + 1/get)",
                over_rounds(thresholds::theoretical_token_rate),
            ),
            (
                "Theoretical maximum rate of an introspection = 1/(1/hello + 1/get + 1/select)",
                over_rounds(thresholds::theoretical_introspection_rate),
            ),
        ] {
            if let Some(MedianRange { median, min, max }) = range {
                let (median, min, max) = (format_thousands(median), format_thousands(min), format_thousands(max));
                let _ = writeln!(text, "\n{title}: {median} per second ({min}–{max}).");
            }
        }
        if let Some(raw) = MedianRange::from_values(self.password_login_rates_in_mixed_load.iter().copied()) {
            let _ = writeln!(
                text,
                "\nWhile salted logins run at a tenth of their maximum rate, {:.1} password logins complete per second.",
                raw.median
            );
        }
        text
    }

    fn workload_row(&self, workload: &Workload) -> String {
        let measurements: Vec<&Measurement> = self.rounds.iter().filter_map(|round| round.get(workload.key)).collect();
        let range_of = |value: fn(&Measurement) -> Option<f64>| {
            MedianRange::from_values(measurements.iter().filter_map(|measurement| value(measurement)))
        };
        let Some(rate) = range_of(|measurement| Some(measurement.rate)) else { return String::new() };
        let format_percentile =
            |value| range_of(value).map_or_else(String::new, |range| format!("{:.2}", range.median));
        let errors: u64 = measurements.iter().map(|measurement| measurement.errors).sum();
        let mut names: Vec<&str> =
            measurements.iter().flat_map(|measurement| measurement.cpu_micros.keys().copied()).collect();
        names.sort_unstable();
        names.dedup();
        let cpu_time_of = |name: &str| {
            MedianRange::from_values(
                measurements.iter().map(|measurement| measurement.cpu_micros.get(name).copied().unwrap_or_default()),
            )
        };
        let total: f64 = names.iter().filter_map(|name| Some(cpu_time_of(name)?.median)).sum();
        // Smaller shares are background work of idle processes.
        let cpu = names.into_iter().filter_map(|name| {
            let median = cpu_time_of(name)?.median;
            (median >= total * 0.02).then(|| format!("{name} {}", format_thousands(median)))
        });
        format!(
            "| {} | {} | {}–{} | {} | {} | {} | {errors} | {} |\n",
            workload.title,
            format_thousands(rate.median),
            format_thousands(rate.min),
            format_thousands(rate.max),
            format_percentile(|measurement| measurement.p50),
            format_percentile(|measurement| measurement.p99),
            format_percentile(|measurement| measurement.p999),
            cpu.collect::<Vec<_>>().join(", ")
        )
    }
}

fn threshold_row(evaluated: &EvaluatedThreshold) -> String {
    let unit = if evaluated.unit.is_empty() { String::new() } else { format!(" {}", evaluated.unit) };
    let (sign, limit) = match evaluated.threshold {
        Threshold::AtLeast(limit) => ("≥", limit),
        Threshold::AtMost(limit) => ("≤", limit),
    };
    let format_value = |value: f64| if value >= 1_000.0 { format_thousands(value) } else { format!("{value:.2}") };
    format!(
        "| {} | {}{unit} | {}–{} | {sign} {}{unit} | {} |\n",
        evaluated.title,
        format_value(evaluated.measured.median),
        format_value(evaluated.measured.min),
        format_value(evaluated.measured.max),
        if limit >= 1_000.0 { format_thousands(limit) } else { format!("{limit}") },
        evaluated.result_text()
    )
}

/// Formats a number with thousands separators; below 1,000, with one decimal.
pub(crate) fn format_thousands(value: f64) -> String {
    if value < 1_000.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        assert_eq!(format_thousands(1_234_567.4), "1,234,567");
        assert_eq!(format_thousands(71_600.0), "71,600");
        assert_eq!(format_thousands(181.26), "181.3");
    }
}
