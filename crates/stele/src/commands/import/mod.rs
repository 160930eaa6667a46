//! `stele import`: checks, runs, reports and takes back imports of existing users.

pub(super) mod audit;
mod location;
mod look_ahead;
mod progress;
mod reader;
mod scratch;
mod stop;
mod undo;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use stele_app::context;
use stele_app::password_hashing::HashingConfig;
use stele_core::event::Action;
use stele_core::identifier::Identifier;
use stele_core::import::{ImportRules, OutcomeCounts, PasswordCounts, SourceName};
use stele_core::password::RawPassword;
use stele_core::ports::{ImportRun, RecordedRow};
use stele_core::random::OsRandom;
use stele_core::time::Offset;
use stele_core::usecase::import::{Importer, Imports, RowOrder, proves};
use stele_import::{ImportMap, columns_of, fingerprint, guess_map};
use stele_service::{ConfigError, Settings};
use zeroize::Zeroizing;

use self::audit::ImportAudit;
use self::look_ahead::{BatchReader, import_batches};
use self::progress::ImportProgress;
use self::scratch::ScratchFolder;
use self::stop::StopSignal;
use super::admin::read_secret_from_stdin;
use super::{CommandError, OutputFormat, escape_cell, print_line, print_listing_line};
use crate::args::{ImportCommand, ImportOptions};
use crate::services;

/// Rows per query of a report.
const PAGE_SIZE: u32 = 1_000;

pub(crate) async fn run(settings: &Settings, command: ImportCommand) -> Result<(), CommandError> {
    match command {
        ImportCommand::Check { from, json } => {
            let source = Source::open(from).await?;
            check(settings, &source, RowListing::from_json_flag(json)).await
        }
        ImportCommand::Run { from, all_or_nothing } => {
            let source = Source::open(from).await?;
            if all_or_nothing {
                refuse_nothing(settings, &source).await?;
            }
            run_and_record(settings, &source).await
        }
        ImportCommand::Status(options) => print_status(&context::open_imports(settings).await?, &options.source).await,
        ImportCommand::Report { source, json } => {
            let imports = context::open_imports(settings).await?;
            report(&imports, &source.source, OutputFormat::from_json_flag(json)).await
        }
        ImportCommand::Undo { source, run } => {
            let imports = context::open_imports(settings).await?;
            let audit = ImportAudit::open(settings).await?;
            undo::undo(&imports, &audit, &source.source, run).await
        }
        ImportCommand::Map { guess, table } => {
            let from = location::resolve(&guess)?;
            let columns = columns_of(&from, table.as_deref()).await.map_err(|error| setup_error(&error))?;
            guess_map(&columns).lines().try_for_each(print_listing_line)
        }
    }
}

/// Reads the map of an import.
pub(super) fn read_map(path: &Path) -> Result<(String, ImportMap), CommandError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| setup_error(&format!("{}: {error}; check the path of the map", path.display())))?;
    let map = ImportMap::parse(&text).map_err(|error| setup_error(&format!("{}: {error}", path.display())))?;
    let names = services::login_dialects();
    match &map.dialect {
        Some(dialect) if !names.contains(&dialect.as_str()) => {
            let names = names.join("\", \"");
            Err(setup_error(&format!("{}: dialect is not known; write one of \"{names}\"", path.display())))
        }
        _ => Ok((text, map)),
    }
}

/// The command line, the map or the source is at fault. The message becomes one line.
fn setup_error(error: &dyn Display) -> CommandError {
    let text = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    CommandError::Setup(ConfigError::new(text))
}

fn resumable_error(error: &dyn Display) -> CommandError {
    CommandError::Failed(format!("interrupted: {error}; run the same command again to resume"))
}

/// Whether each row is printed as it is imported.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RowListing {
    None,
    Json,
}

impl RowListing {
    fn from_json_flag(json: bool) -> Self {
        if json { Self::Json } else { Self::None }
    }
}

/// What an import reads.
struct Source {
    options: ImportOptions,
    /// The path of a file, or the URL of a database.
    from: Zeroizing<String>,
    map: ImportMap,
    fingerprint: [u8; 32],
}

impl Source {
    /// Reads the map, and verifies the password that `--prove` asks for.
    async fn open(options: ImportOptions) -> Result<Self, CommandError> {
        let (text, map) = read_map(&options.map)?;
        let from = location::resolve(&options.from)?;
        let fingerprint = fingerprint(&text, &map, &from).map_err(|error| setup_error(&error))?;
        let source = Self { options, from, map, fingerprint };
        if let Some(name) = &source.options.prove {
            source.prove(name).await?;
        }
        Ok(source)
    }

    async fn prove(&self, name: &str) -> Result<(), CommandError> {
        let wanted = Identifier::parse(name).ok_or_else(|| setup_error(&"--prove: no user can have this name"))?;
        let password = RawPassword::new(read_secret_from_stdin()?.to_string());
        let mut batches = reader::open(&self.map, &self.from).await?.read(0);
        loop {
            let rows = batches.next().await?.0;
            if rows.is_empty() {
                return Err(setup_error(&"--prove: no row that can be imported has this user; prove another user"));
            }
            for row in rows {
                let Ok(found) = row.row else { continue };
                if !found.identifiers().any(|(_, identifier)| identifier.key() == wanted.key()) {
                    continue;
                }
                let Some(secret) = found.secret else {
                    return Err(setup_error(&"--prove: this user's row has no password; prove another user"));
                };
                if proves(secret, &password) {
                    return print_line("proved: the password matches the hash of this user's row");
                }
                let fault = "--prove: the password does not match the hash of this user's row: correct kind, column or salt in \
                             [secret]; nothing was imported";
                return Err(setup_error(&fault));
            }
        }
    }

    fn order(&self) -> RowOrder {
        if self.map.format.has_fixed_order() { RowOrder::Fixed } else { RowOrder::Any }
    }
}

/// How many rows of this reading have each reason: by outcome and code, with its sentence.
type Reasons = BTreeMap<(&'static str, String), (u64, String)>;

/// The result of reading a source to its end.
struct Summary {
    counts: OutcomeCounts,
    passwords: PasswordCounts,
    reasons: Reasons,
    duration: Duration,
}

impl Summary {
    /// Prints the reasons, the common passwords and the counts, which are the last line.
    fn print(&self) -> Result<(), CommandError> {
        for ((outcome, code), (rows, reason)) in &self.reasons {
            // As in the last line: `refused 3`, `merged 2`.
            print_line(&format!("{outcome}d {rows}: {code}: {reason}"))?;
        }
        print_line(&self.passwords.to_string())?;
        print_line(&self.counts.to_string())
    }

    fn finish(&self) -> Result<(), CommandError> {
        self.print()?;
        if self.counts.refused > 0 { Err(CommandError::RowsRefused) } else { Ok(()) }
    }
}

/// What an error of an import leaves behind, and the remedy.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Check,
    Run,
}

impl Pass {
    fn interrupted(self, cause: &dyn Display) -> CommandError {
        match self {
            Self::Check => CommandError::Failed(format!("interrupted: {cause}; nothing was imported, check again")),
            Self::Run => resumable_error(cause),
        }
    }
}

/// An import that has reserved its source, and is about to read on.
struct StartedImport<'a> {
    importer: Importer<'a>,
    batches: reader::Batches,
    stop: StopSignal,
}

/// Opens a source and starts its run, or continues an interrupted one.
async fn start<'a>(imports: &'a Imports, source: &'a Source, pass: Pass) -> Result<StartedImport<'a>, CommandError> {
    let Source { options, from, map, fingerprint } = source;
    let opened = reader::open(map, from).await?;
    let stop = StopSignal::listen()?;
    let rules = ImportRules { merge: map.merge, dialect: map.old_id_dialect() };
    let started = imports.start(&options.source.source, rules, fingerprint, source.order()).await;
    let importer = started.map_err(|error| pass.interrupted(&error))?;
    let batches = opened.read(importer.run().cursor);
    Ok(StartedImport { importer, batches, stop })
}

/// Imports the rows of a source, from where an interrupted run ended. If it cannot go on, the counts so far are printed.
async fn import(started: StartedImport<'_>, pass: Pass, listing: RowListing) -> Result<Summary, CommandError> {
    let StartedImport { mut importer, batches, mut stop } = started;
    let mut progress = ImportProgress::new();
    let batches = BatchReader::new(batches, importer.lookup());
    let reasons = import_batches(&mut importer, batches, &mut progress, &mut stop, listing).await;
    let ImportRun { counts, passwords, .. } = *importer.run();
    let finished = match reasons {
        Ok(reasons) => importer.finish().await.map(|_| reasons).map_err(CommandError::from),
        Err(error) => Err(error),
    };
    let duration = progress.finish();
    match finished {
        Ok(reasons) => Ok(Summary { counts, passwords, reasons, duration }),
        Err(CommandError::Failed(cause)) => {
            print_line(&counts.to_string())?;
            Err(pass.interrupted(&cause))
        }
        Err(error) => Err(error),
    }
}

/// Imports, and records the import in the audit log.
async fn run_and_record(settings: &Settings, source: &Source) -> Result<(), CommandError> {
    let imports = context::open_imports(settings).await?;
    let audit = ImportAudit::open(settings).await?;
    let started = start(&imports, source, Pass::Run).await?;
    let result = import(started, Pass::Run, RowListing::None).await;
    audit.record_run(Action::ImportUsers, &imports, &source.options.source.source, result.is_ok()).await?;
    result?.finish()
}

/// Imports into a scratch database, which is removed.
async fn check_only(settings: &Settings, source: &Source, listing: RowListing) -> Result<Summary, CommandError> {
    let folder = ScratchFolder::create(&settings.data_dir()).map_err(|error| setup_error(&error))?;
    let imports = context::open_import_check(settings, folder.path()).await?;
    import(start(&imports, source, Pass::Check).await?, Pass::Check, listing).await
}

async fn check(settings: &Settings, source: &Source, listing: RowListing) -> Result<(), CommandError> {
    let summary = check_only(settings, source, listing).await?;
    if listing == RowListing::None {
        print_duration(settings, source, &summary).await?;
    }
    summary.finish()
}

/// Prints how long the import and the background hashing will take.
async fn print_duration(settings: &Settings, source: &Source, summary: &Summary) -> Result<(), CommandError> {
    let mut line = format!("expected duration: about {} s", summary.duration.as_secs().max(1));
    if source.map.has_secrets() {
        let config = HashingConfig::from_settings(settings)?;
        let hasher = config.build_hasher(&OsRandom)?;
        let start = Instant::now();
        hasher.hash(RawPassword::new(String::new()).digest(), [0; 16]).await?;
        let hours = start.elapsed().as_secs_f64() * summary.counts.added as f64 / 3_600.0;
        line += &format!(", then about {hours:.1} h of hashing in the background, divided by the instances");
    }
    print_line(&line)
}

async fn refuse_nothing(settings: &Settings, source: &Source) -> Result<(), CommandError> {
    let summary = check_only(settings, source, RowListing::None).await?;
    if summary.counts.refused == 0 {
        return Ok(());
    }
    print_line("nothing was imported (--all-or-nothing): of these rows some would be refused")?;
    summary.finish()
}

/// The last run of a source.
///
/// # Errors
/// [`CommandError::Setup`] if nothing was imported from it.
pub(super) async fn last_run(imports: &Imports, source: &SourceName) -> Result<ImportRun, CommandError> {
    let fault = || {
        setup_error(&format!("nothing was imported from {source}; correct --source, or see `stele import run --help`"))
    };
    imports.find_last_run(source).await?.ok_or_else(fault)
}

async fn print_status(imports: &Imports, source: &SourceName) -> Result<(), CommandError> {
    let run = last_run(imports, source).await?;
    let state = match (run.undone_at, run.finished_at) {
        (Some(at), _) => format!("undone at {}", at.to_rfc3339(Offset::UTC)),
        (None, Some(at)) => format!("finished at {}", at.to_rfc3339(Offset::UTC)),
        (None, None) => {
            let at = run.updated_at.to_rfc3339(Offset::UTC);
            format!("running or interrupted; last batch at {at}; run the same command again to resume")
        }
    };
    let started = run.started_at.to_rfc3339(Offset::UTC);
    print_line(&format!("run {} of {source}: started at {started}, {state}", run.id))?;
    print_line(&format!("hashes that wait for argon2id: {}", imports.count_pending_hashes().await?))?;
    print_line(&imports.count_passwords(source).await?.to_string())?;
    print_line(&run.counts.to_string())
}

/// One row of a report. It has no secrets: a row's values are not recorded.
fn row_as_json(row: &RecordedRow) -> String {
    let (code, reason) = (row.outcome.code(), row.outcome.reason());
    let (position, line, id, outcome) = (row.position, row.line, &row.old_id, row.outcome.as_str());
    json!({ "row": position, "line": line, "id": id, "outcome": outcome, "code": code, "reason": reason }).to_string()
}

fn row_as_text(row: &RecordedRow) -> String {
    let reason = row.outcome.reason().map(|reason| format!("\t{reason}")).unwrap_or_default();
    let place = row.line.map_or_else(|| format!("row {}", row.position), |line| format!("line {line}"));
    format!("{place}\t{}\t{}{reason}", escape_cell(&row.old_id), row.outcome.as_str())
}

async fn report(imports: &Imports, source: &SourceName, format: OutputFormat) -> Result<(), CommandError> {
    let run = last_run(imports, source).await?;
    let mut after = 0;
    loop {
        let page = imports.list_rows(run.id, after, PAGE_SIZE).await?;
        let Some(last) = page.last() else { break };
        after = last.position;
        for row in &page {
            match format {
                OutputFormat::Json => print_listing_line(&row_as_json(row))?,
                OutputFormat::Text => print_listing_line(&row_as_text(row))?,
            }
        }
    }
    match format {
        // One line a row.
        OutputFormat::Json => Ok(()),
        OutputFormat::Text => print_line(&imports.count_passwords(source).await?.to_string()),
    }
}
