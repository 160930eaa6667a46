//! `stele passwords`: the operator's own list of common passwords, and the check of a password against the lists.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use stele_app::context;
use stele_core::common_passwords::ListedPasswordKey;
use stele_core::event::Action;
use stele_core::password::RawPassword;
use stele_core::usecase::administration::Administration;
use stele_core::usecase::new_password::PasswordList;
use stele_service::{ConfigError, Settings};
use zeroize::Zeroizing;

use super::progress::Progress;
use super::{CommandError, OutputFormat, admin, print_line};
use crate::args::PasswordsCommand;

/// Passwords per transaction.
const BATCH_SIZE: usize = 2_000;
/// The longest line of a list, in bytes. New passwords have at most 128 characters of 4 bytes.
const MAX_LINE_LENGTH: usize = 1_024;

pub(crate) async fn run(settings: &Settings, command: PasswordsCommand) -> Result<(), CommandError> {
    let (administration, audit_log) = context::open_administration(settings).await?;
    match command {
        PasswordsCommand::Load { file } => {
            // The file is read to its end first: a folder or a file that cannot be read changes nothing.
            let lines = count_lines(&file)?;
            let result = load(&administration, &file, lines).await;
            admin::record_action(&administration, &audit_log, Action::LoadPasswords, None, result).await
        }
        PasswordsCommand::Clear => {
            let result = clear(&administration).await;
            admin::record_action(&administration, &audit_log, Action::ClearPasswords, None, result).await
        }
        PasswordsCommand::Check => check(&administration).await,
    }
}

/// What a file contains, and what of it was added.
#[derive(Default)]
struct LoadReport {
    added: u64,
    known: u64,
    /// Lines that are no password: not UTF-8, or longer than [`MAX_LINE_LENGTH`]; and the first of them.
    skipped: u64,
    first_skipped: u64,
}

async fn load(administration: &Administration, file: &Path, lines: u64) -> Result<(), CommandError> {
    let mut reader = LineReader::open(file)?;
    let mut progress = Progress::new(OutputFormat::Text, "passwords loaded:", lines);
    let (mut report, mut number, mut is_finished) = (LoadReport::default(), 0, false);
    while !is_finished {
        let (mut keys, first_line) = (Vec::with_capacity(BATCH_SIZE), number);
        while keys.len() < BATCH_SIZE && !is_finished {
            let line = reader.next_line().map_err(|error| read_error(file, &error))?;
            number += u64::from(line != Line::End);
            match line {
                Line::Password(password) => {
                    keys.push(ListedPasswordKey::new(&RawPassword::new(password.as_str().to_owned()).digest()));
                }
                Line::Empty => {}
                Line::Unusable => {
                    report.skipped += 1;
                    report.first_skipped = if report.skipped == 1 { number } else { report.first_skipped };
                }
                Line::End => is_finished = true,
            }
        }
        let added = administration.add_listed_passwords(&keys).await.map_err(|error| {
            CommandError::Failed(format!(
                "interrupted after line {first_line}: {error}; run the command again to resume"
            ))
        })?;
        report.added += added;
        report.known += keys.len() as u64 - added;
        progress.add(number - first_line);
    }
    progress.finish()?;
    let LoadReport { added, known, skipped, first_skipped } = report;
    if skipped > 0 {
        print_line(&format!(
            "warning: {skipped} lines are not UTF-8 or longer than {MAX_LINE_LENGTH} bytes, the first is line \
             {first_skipped}; convert the file, for example with iconv -f gbk -t utf-8"
        ))?;
    }
    let total = administration.count_listed_passwords().await?;
    print_line(&format!("added {added} known {known} skipped {skipped}; the list has {total} passwords"))
}

async fn clear(administration: &Administration) -> Result<(), CommandError> {
    let mut removed = 0;
    loop {
        match administration.remove_listed_passwords(BATCH_SIZE as u32).await? {
            0 => return print_line(&format!("removed {removed}; the list is empty")),
            rows => removed += rows,
        }
    }
}

/// Checks the password on standard input. A listed password is exit code 1.
async fn check(administration: &Administration) -> Result<(), CommandError> {
    let password = RawPassword::new(admin::read_secret_from_stdin()?.to_string());
    match administration.find_in_password_lists(&password.digest()).await? {
        None => print_line("not listed"),
        Some(PasswordList::BuiltIn) => Err(CommandError::Failed("this password is on the built-in list".to_owned())),
        Some(PasswordList::Operator) => Err(CommandError::Failed("this password is on your own list".to_owned())),
    }
}

fn count_lines(file: &Path) -> Result<u64, CommandError> {
    let mut reader = LineReader::open(file)?;
    let mut lines = 0;
    while reader.next_line().map_err(|error| read_error(file, &error))? != Line::End {
        lines += 1;
    }
    Ok(lines)
}

fn read_error(file: &Path, error: &std::io::Error) -> CommandError {
    ConfigError::new(format!(
        "{} cannot be read: {error}; check the path and the permissions of the file",
        file.display()
    ))
    .into()
}

#[derive(PartialEq, Eq)]
enum Line {
    Password(Zeroizing<String>),
    Empty,
    /// Not UTF-8, or too long.
    Unusable,
    End,
}

/// Reads a file line by line, in constant memory: a line that is too long is skipped without being stored.
struct LineReader {
    reader: BufReader<File>,
    is_start: bool,
}

impl LineReader {
    fn open(file: &Path) -> Result<Self, CommandError> {
        let opened = File::open(file).map_err(|error| read_error(file, &error))?;
        Ok(Self { reader: BufReader::new(opened), is_start: true })
    }

    /// The next line without its line break (LF or CRLF), and without a byte order mark at the start of the file.
    fn next_line(&mut self) -> std::io::Result<Line> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(64));
        let limit = MAX_LINE_LENGTH as u64 + 2;
        if self.reader.by_ref().take(limit).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(Line::End);
        }
        let is_start = std::mem::replace(&mut self.is_start, false);
        if bytes.last() != Some(&b'\n') && bytes.len() as u64 == limit {
            self.reader.skip_until(b'\n')?;
            return Ok(Line::Unusable);
        }
        let Ok(text) = std::str::from_utf8(&bytes) else { return Ok(Line::Unusable) };
        let text = if is_start { text.strip_prefix('\u{feff}').unwrap_or(text) } else { text };
        let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
        Ok(match text {
            "" => Line::Empty,
            _ if text.len() > MAX_LINE_LENGTH => Line::Unusable,
            _ => Line::Password(Zeroizing::new(text.to_owned())),
        })
    }
}
