//! The results in Markdown.

use std::fmt::Write as _;
use std::time::Duration;

use crate::bars::{self, Bar, Judged};
use crate::footprint::Footprint;
use crate::lanes::Lane;
use crate::machine;
use crate::running::CONNECTIONS;
use crate::sample::{Round, Sample, Spread};
use crate::site::Sizes;

/// All that was measured.
pub(crate) struct Report {
    pub(crate) lanes: Vec<Lane>,
    pub(crate) rounds: Vec<Round>,
    pub(crate) footprints: Vec<Footprint>,
    /// How long the fixed piece of work took, before each turn.
    pub(crate) spins: Vec<Duration>,
    pub(crate) raw_beside: Vec<f64>,
    pub(crate) sizes: Sizes,
    pub(crate) time: Duration,
}

impl Report {
    /// The bars, judged.
    pub(crate) fn judged(&self) -> Vec<Judged> {
        bars::judge(&self.rounds, &self.footprints)
    }

    /// Requests that were not answered as they should be.
    pub(crate) fn errors(&self) -> u64 {
        self.rounds.iter().flat_map(Round::values).map(|sample| sample.errors).sum()
    }

    /// The whole of it.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        let Sizes { users, .. } = self.sizes;
        let (rounds, seconds) = (self.rounds.len(), self.time.as_secs_f64());
        // Writing to memory does not fail.
        let _ = writeln!(
            text,
            "{}. {rounds} rounds, each lane {seconds} s a round; {users} users; {CONNECTIONS} connections, closed loop, \
             where nothing else is said. Figures are medians of the rounds, with the least and the most.\n",
            machine::processor()
        );
        text += &self.noise();
        text += "\n### Bars\n\n| | figure | spread | bar | |\n| --- | --- | --- | --- | --- |\n";
        for judged in self.judged() {
            text += &bar_row(&judged);
        }
        text += &self.limits();
        text += "\n### Lanes\n\n| | a second | spread | p50 ms | p99 ms | p99.9 ms | errors | CPU µs a request |\n\
                 | --- | --- | --- | --- | --- | --- | --- | --- |\n";
        for lane in &self.lanes {
            text += &self.lane_row(lane);
        }
        text += "\n### Memory and start\n\n| | RSS MiB | PSS MiB | start to ready s | spread |\n\
                 | --- | --- | --- | --- | --- |\n";
        for Footprint { name, ready, idle } in &self.footprints {
            let mib = |kib: u64| kib as f64 / 1_024.0;
            let _ = writeln!(
                text,
                "| {name} | {:.1} | {:.1} | {:.3} | {:.3}–{:.3} |",
                mib(idle.resident),
                mib(idle.proportional),
                ready.median,
                ready.least,
                ready.most
            );
        }
        text
    }

    fn noise(&self) -> String {
        let samples = || self.rounds.iter().flat_map(Round::values);
        let percent = |share: f64| share * 100.0;
        let others = Spread::of(samples().map(|sample| percent(sample.others)));
        let stolen = Spread::of(samples().map(|sample| percent(sample.stolen)));
        let spins = Spread::of(self.spins.iter().map(Duration::as_secs_f64));
        let (Some(others), Some(stolen), Some(spins)) = (others, stolen, spins) else { return String::new() };
        format!(
            "Noise: a fixed piece of work, done before each turn, took {:.1} ms (median; least {:.1}, most {:.1}, so \
             {:.0} % more than the least at worst); other processes used {:.1} % of the machine (median of turns; most \
             {:.0} %), other guests of the host {:.1} % (most {:.0} %).\n",
            spins.median * 1_000.0,
            spins.least * 1_000.0,
            spins.most * 1_000.0,
            percent(spins.most / spins.least - 1.0),
            others.median,
            others.most,
            stolen.median,
            stolen.most
        )
    }

    fn limits(&self) -> String {
        let mut text = String::new();
        let of = |limit: fn(&Round) -> Option<f64>| Spread::of(self.rounds.iter().filter_map(limit));
        for (title, limit) in [
            ("L = 1/(1/hello + 1/select + 1/set)", of(bars::login_limit)),
            ("The limit of a token check = 1/(1/hello + 1/get)", of(bars::token_limit)),
        ] {
            if let Some(Spread { median, least, most }) = limit {
                let (median, least, most) = (thousands(median), thousands(least), thousands(most));
                let _ = writeln!(text, "\n{title}: {median} a second ({least}–{most}).");
            }
        }
        if let Some(raw) = Spread::of(self.raw_beside.iter().copied()) {
            let _ = writeln!(
                text,
                "\nBeside the salted logins at a tenth of the most, there were {:.1} logins by password a second.",
                raw.median
            );
        }
        text
    }

    fn lane_row(&self, lane: &Lane) -> String {
        let samples: Vec<&Sample> = self.rounds.iter().filter_map(|round| round.get(lane.key)).collect();
        let spread = |of: fn(&Sample) -> Option<f64>| Spread::of(samples.iter().filter_map(|sample| of(sample)));
        let Some(rate) = spread(|sample| Some(sample.rate)) else { return String::new() };
        let time = |of| spread(of).map_or_else(String::new, |spread| format!("{:.2}", spread.median));
        let errors: u64 = samples.iter().map(|sample| sample.errors).sum();
        let mut names: Vec<&str> = samples.iter().flat_map(|sample| sample.cpu.keys().copied()).collect();
        names.sort_unstable();
        names.dedup();
        let spent =
            |name: &str| Spread::of(samples.iter().map(|sample| sample.cpu.get(name).copied().unwrap_or_default()));
        let all: f64 = names.iter().filter_map(|name| Some(spent(name)?.median)).sum();
        // What an idle process does beside is not this lane's.
        let cpu = names.into_iter().filter_map(|name| {
            let median = spent(name)?.median;
            (median >= all * 0.02).then(|| format!("{name} {}", thousands(median)))
        });
        format!(
            "| {} | {} | {}–{} | {} | {} | {} | {errors} | {} |\n",
            lane.title,
            thousands(rate.median),
            thousands(rate.least),
            thousands(rate.most),
            time(|sample| sample.p50),
            time(|sample| sample.p99),
            time(|sample| sample.p999),
            cpu.collect::<Vec<_>>().join(", ")
        )
    }
}

fn bar_row(judged: &Judged) -> String {
    let unit = if judged.unit.is_empty() { String::new() } else { format!(" {}", judged.unit) };
    let (sign, bar) = match judged.bar {
        Bar::AtLeast(bar) => ("≥", bar),
        Bar::AtMost(bar) => ("≤", bar),
    };
    let shown = |value: f64| if value >= 1_000.0 { thousands(value) } else { format!("{value:.2}") };
    format!(
        "| {} | {}{unit} | {}–{} | {sign} {}{unit} | {} |\n",
        judged.title,
        shown(judged.figure.median),
        shown(judged.figure.least),
        shown(judged.figure.most),
        if bar >= 1_000.0 { thousands(bar) } else { format!("{bar}") },
        judged.verdict()
    )
}

/// A number with its thousands apart; small ones with a decimal.
pub(crate) fn thousands(value: f64) -> String {
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
    fn thousands_are_apart() {
        assert_eq!(thousands(1_234_567.4), "1,234,567");
        assert_eq!(thousands(71_600.0), "71,600");
        assert_eq!(thousands(181.26), "181.3");
    }
}
