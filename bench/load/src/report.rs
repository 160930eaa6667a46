//! The results in Markdown.

use std::fmt::Write as _;
use std::time::Duration;

use crate::cpu_usage::{self, MemoryUsage};
use crate::footprint::Footprint;
use crate::installation::PopulationSizes;
use crate::measurement::{Measurement, MedianRange, RoundMeasurements};
use crate::test_bed::DEFAULT_CONNECTIONS;
use crate::thresholds::{self, EvaluatedThreshold, Threshold};
use crate::workloads::Workload;

/// All that was measured.
pub(crate) struct Report {
    pub(crate) workloads: Vec<Workload>,
    pub(crate) rounds: Vec<RoundMeasurements>,
    pub(crate) footprints: Vec<Footprint>,
    /// How long the fixed piece of work took, before each turn.
    pub(crate) calibration_times: Vec<Duration>,
    pub(crate) raw_rates_in_mixed_load: Vec<f64>,
    pub(crate) sizes: PopulationSizes,
    pub(crate) measurement_time: Duration,
}

impl Report {
    /// The bars, judged.
    pub(crate) fn evaluated_thresholds(&self) -> Vec<EvaluatedThreshold> {
        thresholds::evaluate_thresholds(&self.rounds, &self.footprints)
    }

    /// Requests that were not answered as they should be.
    pub(crate) fn errors(&self) -> u64 {
        self.rounds.iter().flat_map(RoundMeasurements::values).map(|sample| sample.errors).sum()
    }

    /// The whole of it.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        let PopulationSizes { main_users: users, .. } = self.sizes;
        let (rounds, seconds) = (self.rounds.len(), self.measurement_time.as_secs_f64());
        // Writing to memory does not fail.
        let _ = writeln!(
            text,
            "{}. {rounds} rounds, each lane {seconds} s a round; {users} users; {DEFAULT_CONNECTIONS} connections, closed loop, \
             where nothing else is said. Figures are medians of the rounds, with the least and the most.\n",
            cpu_usage::processor_model()
        );
        text += &self.noise_section();
        text += "\n### Bars\n\n| | figure | spread | bar | |\n| --- | --- | --- | --- | --- |\n";
        for judged in self.evaluated_thresholds() {
            text += &threshold_row(&judged);
        }
        text += &self.theoretical_rates_section();
        text += "\n### Lanes\n\n| | a second | spread | p50 ms | p99 ms | p99.9 ms | errors | CPU µs a request |\n\
                 | --- | --- | --- | --- | --- | --- | --- | --- |\n";
        for lane in &self.workloads {
            text += &self.workload_row(lane);
        }
        text += &self.memory_after_use();
        text += "\n### Memory and start\n\n| | RSS MiB | PSS MiB | start to ready s | spread |\n\
                 | --- | --- | --- | --- | --- |\n";
        for Footprint { name, startup_seconds: ready, idle_memory: idle } in &self.footprints {
            let mib = |kib: u64| kib as f64 / 1_024.0;
            let _ = writeln!(
                text,
                "| {name} | {:.1} | {:.1} | {:.3} | {:.3}–{:.3} |",
                mib(idle.resident),
                mib(idle.proportional),
                ready.median,
                ready.min,
                ready.max
            );
        }
        text
    }

    /// A row for each workload whose processes' memory was read.
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
             PostgreSQL and Redis.\n\n| | RSS MiB | PSS MiB | spread |\n| --- | --- | --- | --- |\n{rows}"
        )
    }

    fn noise_section(&self) -> String {
        let samples = || self.rounds.iter().flat_map(RoundMeasurements::values);
        let percent = |share: f64| share * 100.0;
        let others = MedianRange::from_values(samples().map(|sample| percent(sample.others_share)));
        let stolen = MedianRange::from_values(samples().map(|sample| percent(sample.stolen_share)));
        let spins = MedianRange::from_values(self.calibration_times.iter().map(Duration::as_secs_f64));
        let (Some(others), Some(stolen), Some(spins)) = (others, stolen, spins) else { return String::new() };
        format!(
            "Noise: a fixed piece of work, done before each turn, took {:.1} ms (median; least {:.1}, most {:.1}, so \
             {:.0} % more than the least at worst); other processes used {:.1} % of the machine (median of turns; most \
             {:.0} %), other guests of the host {:.1} % (most {:.0} %).\n",
            spins.median * 1_000.0,
            spins.min * 1_000.0,
            spins.max * 1_000.0,
            percent(spins.max / spins.min - 1.0),
            others.median,
            others.max,
            stolen.median,
            stolen.max
        )
    }

    fn theoretical_rates_section(&self) -> String {
        let mut text = String::new();
        let of = |limit: fn(&RoundMeasurements) -> Option<f64>| {
            MedianRange::from_values(self.rounds.iter().filter_map(limit))
        };
        for (title, limit) in [
            ("L = 1/(1/hello + 1/select + 1/set)", of(thresholds::theoretical_login_rate)),
            ("The limit of a token check = 1/(1/hello + 1/get)", of(thresholds::theoretical_token_rate)),
        ] {
            if let Some(MedianRange { median, min: least, max: most }) = limit {
                let (median, least, most) = (format_thousands(median), format_thousands(least), format_thousands(most));
                let _ = writeln!(text, "\n{title}: {median} a second ({least}–{most}).");
            }
        }
        if let Some(raw) = MedianRange::from_values(self.raw_rates_in_mixed_load.iter().copied()) {
            let _ = writeln!(
                text,
                "\nBeside the salted logins at a tenth of the most, there were {:.1} logins by password a second.",
                raw.median
            );
        }
        text
    }

    fn workload_row(&self, lane: &Workload) -> String {
        let samples: Vec<&Measurement> = self.rounds.iter().filter_map(|round| round.get(lane.key)).collect();
        let spread = |of: fn(&Measurement) -> Option<f64>| {
            MedianRange::from_values(samples.iter().filter_map(|sample| of(sample)))
        };
        let Some(rate) = spread(|sample| Some(sample.rate)) else { return String::new() };
        let time = |of| spread(of).map_or_else(String::new, |spread| format!("{:.2}", spread.median));
        let errors: u64 = samples.iter().map(|sample| sample.errors).sum();
        let mut names: Vec<&str> = samples.iter().flat_map(|sample| sample.cpu_micros.keys().copied()).collect();
        names.sort_unstable();
        names.dedup();
        let spent = |name: &str| {
            MedianRange::from_values(
                samples.iter().map(|sample| sample.cpu_micros.get(name).copied().unwrap_or_default()),
            )
        };
        let all: f64 = names.iter().filter_map(|name| Some(spent(name)?.median)).sum();
        // What an idle process does beside is not this lane's.
        let cpu = names.into_iter().filter_map(|name| {
            let median = spent(name)?.median;
            (median >= all * 0.02).then(|| format!("{name} {}", format_thousands(median)))
        });
        format!(
            "| {} | {} | {}–{} | {} | {} | {} | {errors} | {} |\n",
            lane.title,
            format_thousands(rate.median),
            format_thousands(rate.min),
            format_thousands(rate.max),
            time(|sample| sample.p50),
            time(|sample| sample.p99),
            time(|sample| sample.p999),
            cpu.collect::<Vec<_>>().join(", ")
        )
    }
}

fn threshold_row(judged: &EvaluatedThreshold) -> String {
    let unit = if judged.unit.is_empty() { String::new() } else { format!(" {}", judged.unit) };
    let (sign, bar) = match judged.threshold {
        Threshold::AtLeast(bar) => ("≥", bar),
        Threshold::AtMost(bar) => ("≤", bar),
    };
    let shown = |value: f64| if value >= 1_000.0 { format_thousands(value) } else { format!("{value:.2}") };
    format!(
        "| {} | {}{unit} | {}–{} | {sign} {}{unit} | {} |\n",
        judged.title,
        shown(judged.measured.median),
        shown(judged.measured.min),
        shown(judged.measured.max),
        if bar >= 1_000.0 { format_thousands(bar) } else { format!("{bar}") },
        judged.result_text()
    )
}

/// A number with its thousands apart; small ones with a decimal.
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
