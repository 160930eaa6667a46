//! `stele sunset off` and `stele sunset on`: switches a dialect off with a preview and a record for an auditor, or on
//! again.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use stele_app::audit_log::operator_identity;
use stele_app::context;
use stele_core::dialect_closure::{ClosureKind, DialectClosure, NewClosure};
use stele_core::dialect_use::report::UseReportLine;
use stele_core::event::{Action, Subject};
use stele_core::proof::ProofKind;
use stele_core::usecase::administration::{Administration, UseReport};
use stele_service::log_sanitizer::escape_invisible;
use stele_service::{ConfigError, Settings};

use super::brownout::too_many_closures;
use super::users::Listing;
use super::{FOLLOWED_WITHIN, format_time, report};
use crate::args::OffOptions;
use crate::commands::confirm::Confirmation;
use crate::commands::{CommandError, OutputFormat, admin, print_line};
use crate::services;

/// The days of the preview.
const PREVIEW_DAYS: u32 = 30;

pub(super) async fn off(settings: &Settings, options: OffOptions) -> Result<(), CommandError> {
    let (administration, audit_log) = context::open_administration(settings).await?;
    let created_at = administration.now();
    let closure = NewClosure {
        kind: ClosureKind::Off,
        dialect: options.dialect.clone(),
        client: None,
        starts_at: options.after.map_or(created_at, |after| after.resolve(created_at)),
        ends_at: None,
        created_at,
        operator: operator_identity(),
    };
    let subject = Subject::from(&closure);
    let result = switch_off(&administration, &options, &closure).await;
    admin::record_action(&administration, &audit_log, Action::SwitchDialectOff, Some(subject), result).await
}

async fn switch_off(
    administration: &Administration,
    options: &OffOptions,
    closure: &NewClosure,
) -> Result<(), CommandError> {
    let dialect = &closure.dialect;
    if let Some(off) = find_off(&administration.scheduled_closures().await?, dialect).first() {
        let (id, since) = (off.id, format_time(off.closure.starts_at));
        return Err(CommandError::Failed(format!(
            "{dialect} is switched off already, from {since} on ({id}); `stele sunset on {dialect}` takes it back"
        )));
    }
    let report = administration.use_report(PREVIEW_DAYS).await?;
    let lines: Vec<_> = report.lines.iter().filter(|line| line.kind.dialect == *dialect).collect();
    let evidence = Evidence { administration, report: &report, lines: &lines, closure };
    evidence.print_summary(&mut |line| print_line(line)).await?;
    let condition = match options.unless_used_in {
        None => "none".to_owned(),
        Some(span) => check_unused(&evidence, span)?,
    };
    let starts = format_time(closure.starts_at);
    let confirmation = Confirmation::from_yes_flag(options.yes);
    confirmation.require(&format!("Switch {dialect} off from {starts} on?"))?;
    let mut record = options.record.clone().map(Record::create).transpose()?;
    if let Some(record) = &mut record {
        evidence.write(record, &condition).await?;
    }
    let id = administration.schedule_closure(closure).await?.ok_or_else(too_many_closures)?;
    print_line(&format!(
        "{dialect} is switched off from {starts} on ({id}); {FOLLOWED_WITHIN}; `stele sunset on {dialect}` takes it back"
    ))?;
    if let Some(mut record) = record {
        record.finish(&format!("Switched off: number {id} of `stele sunset brownout list --all`"))?;
        print_line(&format!("the record is in {}", record.path.display()))?;
    }
    suggest_erasing_digests(administration).await
}

/// The switch-offs of `dialect`.
fn find_off(scheduled: &[DialectClosure], dialect: &str) -> Vec<DialectClosure> {
    let is_off = |closure: &&DialectClosure| {
        closure.closure.kind == ClosureKind::Off
            && closure.closure.dialect == dialect
            && closure.closure.client.is_none()
    };
    scheduled.iter().filter(is_off).cloned().collect()
}

/// Fails if the dialect was used within `span`, or if that is not known. Returns the condition for the record.
fn check_unused(evidence: &Evidence<'_>, span: Duration) -> Result<String, CommandError> {
    let (now, dialect) = (evidence.closure.created_at, &evidence.closure.dialect);
    let since = now.saturating_sub(span);
    let last = evidence.lines.iter().map(|line| line.last_at).max();
    if let Some(last) = last.filter(|last| *last >= since) {
        return Err(CommandError::Failed(format!(
            "{dialect} was last used at {}, which is within --unless-used-in: nothing was changed; `stele sunset \
             --dialect {dialect} --who` lists its users",
            format_time(last)
        )));
    }
    match evidence.report.recorded_since {
        Some(recorded_since) if recorded_since <= since => {
            let last = last.map_or_else(|| "never".to_owned(), format_time);
            Ok(format!("not used since {}; last recorded use: {last}", format_time(since)))
        }
        Some(recorded_since) => Err(CommandError::Failed(format!(
            "the use of dialects is recorded since {}, which is shorter than --unless-used-in: nothing was changed; \
             name a shorter span, or wait",
            format_time(recorded_since)
        ))),
        None => Err(CommandError::Failed(
            "no use of any dialect is recorded yet, so --unless-used-in cannot be checked: nothing was changed; wait, \
             or leave the option out"
                .to_owned(),
        )),
    }
}

/// What is known about the use of a dialect when it is switched off.
struct Evidence<'a> {
    administration: &'a Administration,
    report: &'a UseReport,
    lines: &'a [&'a UseReportLine],
    closure: &'a NewClosure,
}

impl Evidence<'_> {
    async fn print_summary(&self, print_line: super::PrintLine<'_>) -> Result<(), CommandError> {
        let dialect = &self.closure.dialect;
        let first = self.report.window.first;
        let users = self.administration.count_dialect_users(dialect, first.start()).await?;
        report::print(self.report.window, self.lines, OutputFormat::Text, print_line)?;
        print_line(&format!(
            "{users} users have used {dialect} since {first} and would be refused (stele sunset --dialect {dialect} \
             --who lists them); so would sessions that are older and still used"
        ))
    }

    /// Writes everything but the last line of the record.
    async fn write(&self, record: &mut Record, condition: &str) -> Result<(), CommandError> {
        let NewClosure { dialect, starts_at, created_at, operator, .. } = self.closure;
        let recorded_since = self.report.recorded_since.map_or_else(|| "-".to_owned(), format_time);
        for line in [
            format!("Record of switching off the dialect {dialect}"),
            String::new(),
            format!("Decided at:         {}", format_time(*created_at)),
            format!("By:                 {operator}"),
            format!("Takes effect at:    {}", format_time(*starts_at)),
            format!("Condition:          {condition}"),
            format!("Use recorded since: {recorded_since}"),
            format!("Written by:         stele {}", env!("CARGO_PKG_VERSION")),
            String::new(),
            format!("Use (stele sunset --dialect {dialect} --days {PREVIEW_DAYS})"),
        ] {
            record.write_line(&line)?;
        }
        self.print_summary(&mut |line| record.write_line(line)).await?;
        record.write_line("")?;
        record.write_line(&format!("Who remained (stele sunset --dialect {dialect} --days {PREVIEW_DAYS} --who)"))?;
        let mut listing = Listing::new(self.report.window, OutputFormat::Text);
        listing.add_dialect(self.administration, dialect).await?;
        listing.print(self.administration, &mut |line| record.write_line(line)).await?;
        record.write_line("")
    }
}

/// A new file for an auditor. A record without its last line is that of an attempt.
struct Record {
    path: PathBuf,
    file: std::io::BufWriter<File>,
}

impl Record {
    fn create(path: PathBuf) -> Result<Self, CommandError> {
        // It names users, so only the operator may read it.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|error| {
            ConfigError::new(format!("{}: cannot be created: {error}; name a new file", path.display()))
        })?;
        Ok(Self { path, file: std::io::BufWriter::new(file) })
    }

    fn write_line(&mut self, line: &str) -> Result<(), CommandError> {
        let line = escape_invisible(line, &['\t']);
        writeln!(self.file, "{line}")
            .map_err(|error| CommandError::Failed(format!("{}: cannot be written: {error}", self.path.display())))
    }

    /// Writes the last line, and waits until the file is on disk.
    fn finish(&mut self, line: &str) -> Result<(), CommandError> {
        let result = self.write_line(line).and_then(|()| {
            let synced = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
            synced.map_err(|error| CommandError::Failed(format!("{}: cannot be written: {error}", self.path.display())))
        });
        result.map_err(|error| match error {
            CommandError::Failed(reason) => CommandError::Failed(format!("the dialect is switched off, but {reason}")),
            other => other,
        })
    }
}

/// Once no dialect is on whose clients send salted proofs, the sealed digests serve no purpose.
async fn suggest_erasing_digests(administration: &Administration) -> Result<(), CommandError> {
    let now = administration.now();
    let scheduled = administration.scheduled_closures().await?;
    let is_off = |dialect: &str| find_off(&scheduled, dialect).iter().any(|off| off.closure.starts_at <= now);
    let is_salted = |proof: &ProofKind| matches!(proof, ProofKind::Salted | ProofKind::SaltedOrDigest);
    let mut salted = services::ALL.iter().filter(|service| service.supported_proofs.iter().any(is_salted));
    let (_, sealed_digests) = administration.salted_login_usage(now).await?;
    if sealed_digests > 0 && salted.all(|service| is_off(service.name)) {
        print_line(&format!(
            "no dialect with salted logins is on any more: `stele challenge off` erases the {sealed_digests} sealed \
             digests that they needed"
        ))?;
    }
    Ok(())
}

pub(super) async fn on(settings: &Settings, dialect: &str) -> Result<(), CommandError> {
    let (administration, audit_log) = context::open_administration(settings).await?;
    let off = find_off(&administration.scheduled_closures().await?, dialect);
    let subject = off.first().map(|off| Subject::from(&off.closure));
    let result = switch_on(&administration, dialect, &off).await;
    admin::record_action(&administration, &audit_log, Action::SwitchDialectOn, subject, result).await
}

async fn switch_on(administration: &Administration, dialect: &str, off: &[DialectClosure]) -> Result<(), CommandError> {
    if off.is_empty() {
        let remedy = "`stele sunset brownout list` shows what refuses requests";
        return Err(CommandError::Failed(format!("{dialect} is not switched off; {remedy}")));
    }
    for closure in off {
        administration.cancel_closure(closure.id).await?;
    }
    print_line(&format!("{dialect} is switched on again; {FOLLOWED_WITHIN}"))
}
