//! `stele import undo`: takes a run back.

use stele_core::event::{Action, Outcome, Subject};
use stele_core::import::{RunId, SourceName};
use stele_core::ports::UndoneRows;
use stele_core::usecase::import::{Imports, UndoChoice};

use super::audit::ImportAudit;
use super::{last_run, resumable_error};
use crate::commands::{CommandError, escape_cell, print_line};

/// Takes back the wanted run of a source, or the latest one that has brought users.
pub(super) async fn undo(
    imports: &Imports,
    audit: &ImportAudit,
    source: &SourceName,
    wanted: Option<RunId>,
) -> Result<(), CommandError> {
    last_run(imports, source).await?;
    let (run, earlier) = match imports.choose_undo(source, wanted).await? {
        UndoChoice::Run { run, earlier } => (run, earlier),
        UndoChoice::Undone { run, has_users, earlier } => {
            return Err(undone_error(source, run, has_users, &earlier));
        }
        UndoChoice::Missing => return Err(missing_error(source, wanted)),
    };
    let (mut removed, mut kept) = (0, 0);
    let mut lines = Vec::new();
    let mut collect = |page: &UndoneRows| {
        removed += page.removed;
        kept += page.kept.len();
        lines.extend(page.kept.iter().map(|old_id| format!("kept {}", escape_cell(old_id))));
        Ok(())
    };
    let result = imports.undo(&run, &mut collect).await;
    let outcome = if result.is_ok() { Outcome::Done } else { Outcome::Unavailable };
    let recorded = audit.record(Action::UndoImport, Subject::from(&run), outcome).await;
    // Whatever interrupted the undo may have reached the audit log, too; that is what is reported.
    result.map_err(|error| resumable_error(&error))?;
    recorded?;
    lines.iter().try_for_each(|line| print_line(line))?;
    if !earlier.is_empty() {
        print_line(&format!("earlier runs that still hold users: {} (`--run N`)", list(&earlier)))?;
    }
    print_line(&format!("removed {removed} kept {kept}"))
}

fn list(runs: &[RunId]) -> String {
    runs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn undone_error(source: &SourceName, run: RunId, has_users: bool, earlier: &[RunId]) -> CommandError {
    let mut text = format!("run {run} of {source} is undone already; nothing was changed");
    if has_users {
        text += &format!("; to try the users who stayed again: `--run {run}`");
    }
    if !earlier.is_empty() {
        text += &format!("; earlier runs that still hold users: {} (`--run N`)", list(earlier));
    }
    CommandError::Failed(text)
}

fn missing_error(source: &SourceName, wanted: Option<RunId>) -> CommandError {
    CommandError::Failed(match wanted {
        Some(run) => {
            format!("{source} has no run {run}; `stele import undo` without `--run` takes the latest one back")
        }
        None => format!("no run of {source} has brought users; nothing was changed"),
    })
}
