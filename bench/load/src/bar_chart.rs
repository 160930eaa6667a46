//! Bar chart of the results, as SVG with one bar per workload.

use std::fmt::Write as _;

use stele_bench_kit::svg::escape_xml;

use crate::measurement::MedianRange;
use crate::report::{Report, format_thousands};

const ROW: usize = 26;
const LEFT: usize = 400;
const RIGHT: usize = 130;
const WIDTH: usize = 1_000;
const TOP: usize = 56;

/// Draws the rates of all workloads on one logarithmic scale. A line across each bar's end shows the minimum and the
/// maximum of the rounds. References are grey.
pub(crate) fn bar_chart_svg(report: &Report) -> String {
    let rows: Vec<_> = report
        .workloads
        .iter()
        .filter_map(|workload| {
            let rates = report.rounds.iter().filter_map(|round| Some(round.get(workload.key)?.rate));
            Some((workload, MedianRange::from_values(rates)?))
        })
        .collect();
    let height = TOP + rows.len() * ROW + 40;
    let max_decade = rows.iter().map(|(_, range)| range.max).fold(10.0, f64::max).log10().ceil();
    let span = (WIDTH - LEFT - RIGHT) as f64;
    // The scale starts at 10 requests per second.
    let x = |rate: f64| LEFT as f64 + span * ((rate.max(10.0).log10() - 1.0) / (max_decade - 1.0).max(1.0));
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"12\" y=\"24\" font-size=\"16\">Requests per second, medians of {} rounds (logarithmic)</text>\n\
         <text x=\"12\" y=\"42\" fill=\"#666\">{}</text>\n",
        report.rounds.len(),
        escape_xml(&crate::cpu_usage::processor_model())
    );
    // Writing to memory does not fail.
    let mut decade = 10.0;
    while decade <= 10_f64.powf(max_decade) {
        let at = x(decade);
        let bottom = height - 30;
        let _ = writeln!(
            out,
            "<line x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\" stroke=\"#ddd\"/>\
             <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#666\">{}</text>",
            bottom + 16,
            decade
        );
        decade *= 10.0;
    }
    for (row, (workload, range)) in rows.iter().enumerate() {
        let y = TOP + row * ROW;
        let (end, middle) = (x(range.median), y + ROW / 2);
        let fill = if is_reference(workload.key) { "#9aa5b1" } else { "#1f6f8b" };
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LEFT}\" y=\"{}\" width=\"{:.1}\" height=\"{}\" fill=\"{fill}\"/>\
             <line x1=\"{:.1}\" y1=\"{middle}\" x2=\"{:.1}\" y2=\"{middle}\" stroke=\"black\"/>\
             <text x=\"{:.1}\" y=\"{}\">{}</text>",
            LEFT - 8,
            y + 17,
            escape_xml(&workload.title),
            y + 4,
            end - LEFT as f64,
            ROW - 8,
            x(range.min),
            x(range.max),
            x(range.max) + 6.0,
            y + 17,
            format_thousands(range.median)
        );
    }
    out.push_str("</svg>\n");
    out
}

/// Whether the workload measures something other than Stele.
fn is_reference(key: &str) -> bool {
    let references = ["hello", "select", "set", "get", "hello-own", "plain", "hash", "hash-all", "django"];
    references.contains(&key) || key.contains("nginx") || key.contains("haproxy")
}
