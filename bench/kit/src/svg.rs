//! Line charts over time, as SVG.

use std::fmt::Write as _;

const WIDTH: f64 = 1_000.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 220.0;
const TOP: f64 = 44.0;
const PANEL: f64 = 260.0;
const GAP: f64 = 60.0;
const COLORS: [&str; 12] = [
    "#1f6f8b", "#d1495b", "#edae49", "#66a182", "#5d4a66", "#00798c", "#8d5b4c", "#2e4057", "#b56576", "#6a994e",
    "#9a8c98", "#444444",
];

/// A line of the chart: its name and its points (seconds, value).
pub type Series = (String, Vec<(f64, f64)>);

/// Lines that share one vertical scale from 0.
#[derive(Clone, Debug)]
pub struct Panel {
    /// The quantity and its unit.
    pub title: String,
    /// The lines.
    pub series: Vec<Series>,
}

/// Draws panels below each other with a common time axis.
pub fn time_series_svg(title: &str, panels: &[Panel]) -> String {
    let end = panels.iter().flat_map(|panel| &panel.series).flat_map(|(_, points)| points.last());
    let end = end.map(|(at, _)| *at).fold(1.0, f64::max);
    let height = TOP + panels.len() as f64 * (PANEL + GAP);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"12\" y=\"24\" font-size=\"16\">{}</text>\n",
        escape_xml(title)
    );
    for (number, panel) in panels.iter().enumerate() {
        draw_panel(&mut out, panel, TOP + number as f64 * (PANEL + GAP), end);
    }
    out.push_str("</svg>\n");
    out
}

fn draw_panel(out: &mut String, panel: &Panel, top: f64, end: f64) {
    let values = panel.series.iter().flat_map(|(_, points)| points).map(|(_, value)| *value);
    let most = values.fold(1.0, f64::max) * 1.05;
    let (right, bottom) = (WIDTH - RIGHT, top + PANEL);
    let x = |at: f64| LEFT + (right - LEFT) * at / end;
    let y = |value: f64| bottom - (PANEL - 20.0) * value / most;
    // Writing to memory does not fail.
    let _ = writeln!(
        out,
        "<text x=\"{LEFT}\" y=\"{}\" font-weight=\"bold\">{}</text>",
        top + 8.0,
        escape_xml(&panel.title)
    );
    for step in 0..=4 {
        let (value, at) = (most * f64::from(step) / 4.0, end * f64::from(step) / 4.0);
        let _ = writeln!(
            out,
            "<line x1=\"{LEFT}\" y1=\"{0:.1}\" x2=\"{right}\" y2=\"{0:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{1}\" y=\"{2:.1}\" text-anchor=\"end\" fill=\"#666\">{value:.0}</text>\
             <text x=\"{3:.1}\" y=\"{4:.1}\" text-anchor=\"middle\" fill=\"#666\">{5:.1} min</text>",
            y(value),
            LEFT - 6.0,
            y(value) + 4.0,
            x(at),
            bottom + 16.0,
            at / 60.0
        );
    }
    for (number, (name, points)) in panel.series.iter().enumerate() {
        let color = COLORS[number % COLORS.len()];
        let path: Vec<_> = points.iter().map(|(at, value)| format!("{:.1},{:.1}", x(*at), y(*value))).collect();
        let last = points.last().map_or(0.0, |(_, value)| *value);
        let row = top + 24.0 + number as f64 * 17.0;
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.5\"/>\
             <rect x=\"{}\" y=\"{}\" width=\"10\" height=\"10\" fill=\"{color}\"/>\
             <text x=\"{}\" y=\"{row}\">{}: {last:.1}</text>",
            path.join(" "),
            right + 12.0,
            row - 9.0,
            right + 27.0,
            escape_xml(name)
        );
    }
}

/// Escapes text for XML.
pub fn escape_xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_scaled_to_the_panel_and_text_is_escaped() {
        let lines = vec![("a & b".to_owned(), vec![(0.0, 0.0), (60.0, 100.0)])];
        let picture = time_series_svg("<memory>", &[Panel { title: "MiB".to_owned(), series: lines }]);
        assert!(picture.contains("&lt;memory&gt;") && picture.contains("a &amp; b: 100.0"), "{picture}");
        assert!(picture.contains("points=\"70.0,304.0 780.0,"), "{picture}");
        assert!(picture.ends_with("</svg>\n"));
    }
}
