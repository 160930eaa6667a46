//! `stele sunset`: the use of dialects, brown-outs, switching a dialect off.

mod brownout;
mod report;
mod switch;
mod users;

use stele_app::context;
use stele_core::time::{Offset, Timestamp};
use stele_service::Settings;

use super::{CommandError, OutputFormat, print_listing_line};
use crate::args::{SunsetAction, SunsetOptions, UseReportOptions};
use crate::services;

/// The services read the schedule of closures every 5 s.
const FOLLOWED_WITHIN: &str = "running services follow within 5 s";

/// Where lines of a listing go.
type PrintLine<'a> = &'a mut dyn FnMut(&str) -> Result<(), CommandError>;

pub(crate) async fn run(settings: &Settings, options: SunsetOptions) -> Result<(), CommandError> {
    match options.action {
        None => print_report(settings, options.report).await,
        Some(SunsetAction::Brownout(options)) => brownout::run(settings, options).await,
        Some(SunsetAction::Off(options)) => switch::off(settings, options).await,
        Some(SunsetAction::On { dialect }) => switch::on(settings, &dialect).await,
    }
}

async fn print_report(settings: &Settings, options: UseReportOptions) -> Result<(), CommandError> {
    let (administration, _) = context::open_administration(settings).await?;
    let report = administration.use_report(options.days).await?;
    let is_wanted = |dialect: &str| options.dialect.is_empty() || options.dialect.iter().any(|name| name == dialect);
    let format = OutputFormat::from_json_flag(options.json);
    if options.who {
        let mut dialects: Vec<&str> = services::login_dialects();
        // A later version may have recorded the use of a dialect that this version does not know.
        let recorded = report.lines.iter().map(|line| &*line.kind.dialect);
        dialects.extend(recorded.filter(|dialect| !services::is_login_dialect(dialect)));
        dialects.dedup();
        let mut listing = users::Listing::new(report.window, format);
        for dialect in dialects.into_iter().filter(|dialect| is_wanted(dialect)) {
            listing.add_dialect(&administration, dialect).await?;
        }
        return listing.print(&administration, &mut |line| print_listing_line(line)).await;
    }
    let lines: Vec<_> = report.lines.iter().filter(|line| is_wanted(&line.kind.dialect)).collect();
    report::print(report.window, &lines, format, &mut |line| print_listing_line(line))
}

/// A time in UTC, to the second.
fn format_time(at: Timestamp) -> String {
    at.to_date_time(Offset::UTC).replace(' ', "T") + "Z"
}
