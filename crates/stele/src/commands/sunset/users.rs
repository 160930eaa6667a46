//! `stele sunset --who`: the users of dialects, newest use first. Read in pages, so that any number can be listed.

use std::io::IsTerminal as _;

use serde_json::json;
use stele_core::dialect_use::report::ReportWindow;
use stele_core::dialect_use::{UserUse, UserUseCursor};
use stele_core::usecase::administration::Administration;

use super::{PrintLine, format_time};
use crate::commands::progress::Progress;
use crate::commands::{CommandError, OutputFormat, escape_cell};

/// Rows per query.
const PAGE_SIZE: u32 = 2_000;
/// The most days that are known of a user.
const MAX_DAYS: i64 = 63;

/// A listing of users.
pub(super) struct Listing {
    window: ReportWindow,
    format: OutputFormat,
    dialects: Vec<String>,
    rows: u64,
}

impl Listing {
    pub(super) fn new(window: ReportWindow, format: OutputFormat) -> Self {
        Self { window, format, dialects: Vec::new(), rows: 0 }
    }

    /// Adds the users of a dialect.
    pub(super) async fn add_dialect(
        &mut self,
        administration: &Administration,
        dialect: &str,
    ) -> Result<(), CommandError> {
        self.rows += administration.count_dialect_user_rows(dialect, self.window.first.start()).await?;
        self.dialects.push(dialect.to_owned());
        Ok(())
    }

    /// Prints one line for each user, client and proof. If the lines go to a file, the progress goes to the terminal.
    pub(super) async fn print(
        self,
        administration: &Administration,
        print_line: PrintLine<'_>,
    ) -> Result<(), CommandError> {
        let shows_progress = std::io::stderr().is_terminal() && !std::io::stdout().is_terminal();
        let mut progress = shows_progress.then(|| Progress::new(OutputFormat::Text, "users", self.rows));
        let known_days = self.window.days().min(MAX_DAYS);
        if self.format == OutputFormat::Text {
            let days = format!("days of {known_days}");
            print_line(&["dialect", "client", "proof", "last use", "first use", &days, "user id", "user"].join("\t"))?;
        }
        for dialect in &self.dialects {
            let mut after: Option<UserUseCursor> = None;
            loop {
                let since = self.window.first.start();
                let page = administration.dialect_users(dialect, since, after.as_ref(), PAGE_SIZE).await?;
                let Some(last) = page.last() else { break };
                after = Some(UserUseCursor::from(last));
                for row in &page {
                    print_line(&self.format_row(row, known_days))?;
                }
                if let Some(progress) = &mut progress {
                    progress.add(page.len() as u64);
                }
            }
        }
        progress.map_or(Ok(()), Progress::finish)
    }

    fn format_row(&self, row: &UserUse, known_days: i64) -> String {
        let days = row.activity.days_used(self.window.today, u32::try_from(known_days).unwrap_or(0));
        let (first, last) = (format_time(row.activity.first_at), format_time(row.activity.last_at));
        if self.format == OutputFormat::Json {
            let output = json!({
                "dialect": row.kind.dialect,
                "client": row.kind.client,
                "proof": row.kind.proof,
                "last": last,
                "first": first,
                "days_used": days,
                "of_days": known_days,
                "id": row.user.to_string(),
                "user": row.identifier,
            });
            return output.to_string();
        }
        let kind = [&row.kind.dialect, &row.kind.client, &row.kind.proof].map(|text| escape_cell(text));
        let user = escape_cell(row.identifier.as_deref().unwrap_or("-"));
        let id = row.user.to_string();
        let columns = [&*kind[0], &kind[1], &kind[2], &last, &first, &days.to_string(), &id, &user];
        columns.join("\t")
    }
}
