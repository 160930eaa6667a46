//! The sunset report: for each dialect, client and proof, how much it is used, by how many, and whether that changes.

use std::collections::BTreeMap;

use super::{DailyUse, UseKind, UsePeriod, UtcDay};
use crate::time::Timestamp;

/// The use of one dialect, client and proof.
#[derive(Clone, Debug, PartialEq)]
pub struct UseReportLine {
    /// Dialect, client and proof.
    pub kind: UseKind,
    /// The first recorded use.
    pub first_at: Timestamp,
    /// The last recorded use.
    pub last_at: Timestamp,
    /// How many users used it in the window.
    pub users: u64,
    /// Sessions opened a day, on average of the counted days.
    pub logins_per_day: f64,
    /// Different users a day, on average of the counted days.
    pub users_per_day: f64,
    /// The newest day with a use in the window, with its sessions and users.
    pub last_day: Option<(UtcDay, u64, u64)>,
    /// The change within the window; `None` if fewer than two days are over.
    pub trend: Option<Trend>,
}

/// Sessions opened a day, on average of each half of the counted days that are over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// In the older half.
    pub older: f64,
    /// In the newer half.
    pub newer: f64,
}

/// The days of a report: at most `days` that end with today, and not before the first recorded use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportWindow {
    /// The first counted day.
    pub first: UtcDay,
    /// The last counted day, which is not over.
    pub today: UtcDay,
}

impl ReportWindow {
    /// The window of `days` days, at least one, that ends with the day of `now`; `periods` are those of all dialects.
    pub fn new(days: u32, now: Timestamp, periods: &[UsePeriod]) -> Self {
        let today = UtcDay::of(now);
        let first_recorded = periods.iter().map(|period| UtcDay::of(period.first_at)).min().unwrap_or(today);
        let first = today.plus(1 - i64::from(days.max(1))).max(first_recorded.min(today));
        Self { first, today }
    }

    /// The number of counted days.
    pub fn days(self) -> i64 {
        self.today.number() - self.first.number() + 1
    }
}

/// The report of `window`, from what the store returns, in the order of `periods`.
pub fn build_report(
    window: ReportWindow,
    periods: &[UsePeriod],
    daily: &[DailyUse],
    users: &[(UseKind, u64)],
) -> Vec<UseReportLine> {
    let mut days_of: BTreeMap<&UseKind, Vec<&DailyUse>> = BTreeMap::new();
    for row in daily.iter().filter(|row| (window.first..=window.today).contains(&row.day)) {
        days_of.entry(&row.kind).or_default().push(row);
    }
    let users: BTreeMap<_, _> = users.iter().map(|(kind, count)| (kind, *count)).collect();
    let counted = window.days() as f64;
    let to_line = |UsePeriod { kind, first_at, last_at }: &UsePeriod| {
        let days = days_of.get(kind).map(Vec::as_slice).unwrap_or_default();
        UseReportLine {
            kind: kind.clone(),
            first_at: *first_at,
            last_at: *last_at,
            users: users.get(kind).copied().unwrap_or(0),
            logins_per_day: days.iter().map(|row| row.logins).sum::<u64>() as f64 / counted,
            users_per_day: days.iter().map(|row| row.users).sum::<u64>() as f64 / counted,
            last_day: days.iter().max_by_key(|row| row.day).map(|row| (row.day, row.logins, row.users)),
            trend: trend(window, days),
        }
    };
    periods.iter().map(to_line).collect()
}

/// Compares the halves of the days that are over. The middle day of an odd number belongs to neither.
fn trend(window: ReportWindow, days: &[&DailyUse]) -> Option<Trend> {
    let half = (window.days() - 1) / 2;
    if half == 0 {
        return None;
    }
    let per_day = |first: UtcDay| {
        let in_half = days.iter().filter(|row| (first..first.plus(half)).contains(&row.day));
        in_half.map(|row| row.logins).sum::<u64>() as f64 / half as f64
    };
    Some(Trend { older: per_day(window.first), newer: per_day(window.today.plus(-half)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TODAY: UtcDay = UtcDay::from_number(20_000);

    fn kind(client: &str) -> UseKind {
        UseKind { dialect: "tms".to_owned(), client: client.to_owned(), proof: "salted".to_owned() }
    }

    fn period(client: &str, first: i64, last: i64) -> UsePeriod {
        UsePeriod { kind: kind(client), first_at: TODAY.plus(first).start(), last_at: TODAY.plus(last).start() }
    }

    fn daily(client: &str, day: i64, logins: u64, users: u64) -> DailyUse {
        DailyUse { day: TODAY.plus(day), kind: kind(client), logins, users }
    }

    fn window(days: u32, periods: &[UsePeriod]) -> (i64, i64) {
        let window =
            ReportWindow::new(days, TODAY.plus(1).start().saturating_sub(std::time::Duration::from_secs(1)), periods);
        (window.first.number() - TODAY.number(), window.days())
    }

    #[test]
    fn the_window_ends_today_and_starts_no_earlier_than_the_records() {
        assert_eq!(window(30, &[period("a", -100, 0)]), (-29, 30));
        assert_eq!(window(30, &[period("a", -4, 0), period("b", -2, 0)]), (-4, 5));
        assert_eq!(window(1, &[period("a", -4, 0)]), (0, 1));
        assert_eq!(window(30, &[]), (0, 1));
        // A clock that is behind.
        assert_eq!(window(30, &[period("a", 3, 3)]), (0, 1));
    }

    #[test]
    fn averages_count_days_without_use_and_the_trend_compares_halves() {
        let periods = [period("gone", -100, -50), period("kiosk", -9, 0)];
        let window = ReportWindow::new(10, TODAY.start(), &periods);
        let days = [
            daily("kiosk", -11, 1_000, 1_000),
            daily("kiosk", -9, 8, 4),
            daily("kiosk", -6, 8, 2),
            // Of nine days that are over, the middle one is in neither half.
            daily("kiosk", -5, 100, 1),
            daily("kiosk", -4, 4, 2),
            daily("kiosk", 0, 30, 1),
        ];
        let lines = build_report(window, &periods, &days, &[(kind("kiosk"), 7)]);
        assert_eq!((lines[1].logins_per_day, lines[1].users_per_day, lines[1].users), (15.0, 1.0, 7));
        assert_eq!(lines[1].last_day, Some((TODAY, 30, 1)));
        assert_eq!(lines[1].trend, Some(Trend { older: 4.0, newer: 1.0 }));
        let gone = &lines[0];
        assert_eq!((gone.logins_per_day, gone.users, gone.last_day), (0.0, 0, None));
        assert_eq!((gone.trend, gone.last_at), (Some(Trend { older: 0.0, newer: 0.0 }), TODAY.plus(-50).start()));
    }

    #[test]
    fn the_first_two_days_have_no_trend() {
        let periods = [period("kiosk", -1, 0)];
        let window = ReportWindow::new(30, TODAY.start(), &periods);
        let lines = build_report(window, &periods, &[daily("kiosk", -1, 3, 1), daily("kiosk", 0, 1, 1)], &[]);
        assert_eq!((lines[0].trend, lines[0].logins_per_day), (None, 2.0));
    }
}
