//! `stele export`: writes the users of a source with the columns of its map.

use std::io::Write as _;

use serde_json::{Map, Value};
use stele_app::context;
use stele_core::event::{Action, Outcome, Subject};
use stele_core::ports::SourceUser;
use stele_core::usecase::import::Imports;
use stele_import::{SecretKind, csv_line, export_user, neutralize_formula};
use stele_service::{ConfigError, Settings};
use zeroize::Zeroizing;

use super::CommandError;
use super::admin::read_secret_from_stdin;
use super::import::audit::ImportAudit;
use super::import::{last_run, read_map};
use crate::args::{ExportFormat, ExportOptions};

/// Users per query.
const PAGE_SIZE: u32 = 500;

pub(crate) async fn run(settings: &Settings, options: ExportOptions) -> Result<(), CommandError> {
    let (_, map) = read_map(&options.map)?;
    if options.with_digests && !map.takes(SecretKind::Md5) {
        let path = options.map.display();
        let text = format!("{path}: --with-digests writes md5(password), which is none of the map's kinds of secrets");
        return Err(ConfigError::new(text + "; set kind = \"md5\" in [secret]").into());
    }
    let imports = context::open_imports(settings).await?;
    last_run(&imports, &options.source.source).await?;
    if options.with_digests && *read_secret_from_stdin()? != "yes" {
        let text = "--with-digests writes what is as good as every password; confirm with `yes` on standard input";
        return Err(ConfigError::new(text).into());
    }
    // Recorded before the first digest is written: the output cannot be taken back.
    let action = if options.with_digests { Action::ExportDigests } else { Action::ExportUsers };
    let audit = ImportAudit::open(settings).await?;
    audit.record(action, Subject::from(&options.source.source), Outcome::Done).await?;
    let columns = map.wanted_columns();
    if options.format == ExportFormat::Csv {
        print_raw(&csv_line(columns.iter().copied()))?;
    }
    let mut after = String::new();
    loop {
        let page = imports.list_users(&options.source.source, &after, PAGE_SIZE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after.clone_from(&last.old_id);
        let is_wanted = |user: &&SourceUser| !options.changed || !user.account.has_password_of_old_server();
        for user in page.iter().filter(is_wanted) {
            let digest = if options.with_digests { unseal(&imports, user)? } else { None };
            let values = export_user(&map, user, digest.as_ref().map(|digest| digest.as_str()));
            print_raw(&format_user(&columns, &options, &values))?;
        }
    }
}

fn unseal(imports: &Imports, user: &SourceUser) -> Result<Option<Zeroizing<String>>, CommandError> {
    let digest = imports.unseal_digest(&user.account)?;
    Ok(digest.map(|digest| Zeroizing::new(String::from_utf8_lossy(digest.hex().as_slice()).into_owned())))
}

fn format_user(columns: &[&str], options: &ExportOptions, values: &[Zeroizing<String>]) -> Zeroizing<String> {
    match options.format {
        ExportFormat::Csv if options.exact => csv_line(values.iter().map(|value| value.as_str())),
        ExportFormat::Csv => {
            let fields: Vec<_> = values.iter().map(|value| neutralize_formula(value)).collect();
            csv_line(fields.iter().map(|field| field.as_ref()))
        }
        ExportFormat::Jsonl => {
            let fields = columns.iter().zip(values);
            let object: Map<String, Value> =
                fields.map(|(column, value)| ((*column).to_owned(), Value::String(value.to_string()))).collect();
            Zeroizing::new(Value::Object(object).to_string() + "\n")
        }
    }
}

/// Prints text as it is: a file of the user's data, which is not for the terminal.
fn print_raw(text: &str) -> Result<(), CommandError> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(CommandError::OutputClosed),
        Err(error) => Err(CommandError::Failed(format!("standard output cannot be written: {error}"))),
        Ok(()) => Ok(()),
    }
}
