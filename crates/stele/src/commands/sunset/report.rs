//! The report of `stele sunset`: one line for each dialect, client and proof.

use serde_json::{Value, json};
use stele_core::dialect_use::report::{ReportWindow, Trend, UseReportLine};

use super::{PrintLine, format_time};
use crate::commands::table::format_table;
use crate::commands::{CommandError, OutputFormat, escape_cell};

const HEADER: [&str; 11] = [
    "dialect",
    "client",
    "proof",
    "users",
    "logins/day",
    "users/day",
    "last day",
    "logins",
    "users",
    "trend",
    "first and last use (UTC)",
];

pub(super) fn print(
    window: ReportWindow,
    lines: &[&UseReportLine],
    format: OutputFormat,
    print_line: PrintLine<'_>,
) -> Result<(), CommandError> {
    if format == OutputFormat::Json {
        return lines.iter().try_for_each(|line| print_line(&to_json(window, line).to_string()));
    }
    print_line(&describe_window(window))?;
    if lines.is_empty() {
        return print_line("no use is recorded");
    }
    let rows: Vec<_> = lines.iter().map(|line| to_row(line)).collect();
    format_table(HEADER, &rows).iter().try_for_each(|line| print_line(line))
}

pub(super) fn describe_window(window: ReportWindow) -> String {
    format!("use of {} to {} (UTC), {} days, the last of which is not over", window.first, window.today, window.days())
}

fn to_row(line: &UseReportLine) -> [String; 11] {
    let cell = |text: &str| escape_cell(text).into_owned();
    let (day, logins, users) = match line.last_day {
        Some((day, logins, users)) => (day.to_string(), logins.to_string(), users.to_string()),
        None => ("-".to_owned(), "-".to_owned(), "-".to_owned()),
    };
    [
        cell(&line.kind.dialect),
        cell(&line.kind.client),
        cell(&line.kind.proof),
        line.users.to_string(),
        format_average(line.logins_per_day),
        format_average(line.users_per_day),
        day,
        logins,
        users,
        describe_trend(line.trend),
        format!("{} {}", format_time(line.first_at), format_time(line.last_at)),
    ]
}

fn format_average(average: f64) -> String {
    if average >= 100.0 { format!("{average:.0}") } else { format!("{average:.1}") }
}

/// The change from the older to the newer half.
fn describe_trend(trend: Option<Trend>) -> String {
    match trend {
        None => "-".to_owned(),
        Some(Trend { older, newer }) if older > 0.0 && newer > 0.0 => {
            format!("{:+.0} %", (newer / older - 1.0) * 100.0)
        }
        Some(Trend { older, .. }) if older > 0.0 => "ended".to_owned(),
        Some(Trend { newer, .. }) if newer > 0.0 => "new".to_owned(),
        Some(_) => "none".to_owned(),
    }
}

fn to_json(window: ReportWindow, line: &UseReportLine) -> Value {
    let round = |average: f64| (average * 1_000.0).round() / 1_000.0;
    json!({
        "dialect": line.kind.dialect,
        "client": line.kind.client,
        "proof": line.kind.proof,
        "from": window.first.to_string(),
        "to": window.today.to_string(),
        "days": window.days(),
        "users": line.users,
        "logins_per_day": round(line.logins_per_day),
        "users_per_day": round(line.users_per_day),
        "last_day": line.last_day.map(|(day, ..)| day.to_string()),
        "last_day_logins": line.last_day.map(|(_, logins, _)| logins),
        "last_day_users": line.last_day.map(|(.., users)| users),
        "older_half": line.trend.map(|trend| round(trend.older)),
        "newer_half": line.trend.map(|trend| round(trend.newer)),
        "first": format_time(line.first_at),
        "last": format_time(line.last_at),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trend_is_a_percentage_or_a_word() {
        let describe = |older, newer| describe_trend(Some(Trend { older, newer }));
        assert_eq!(describe(10.0, 4.0), "-60 %");
        assert_eq!(describe(10.0, 15.0), "+50 %");
        assert_eq!([describe(1.0, 0.0), describe(0.0, 1.0), describe(0.0, 0.0)], ["ended", "new", "none"]);
        assert_eq!(describe_trend(None), "-");
    }
}
