//! `stele sunset brownout`: schedules, lists and cancels brown-outs.

use serde_json::json;
use stele_app::audit_log::operator_identity;
use stele_app::context;
use stele_core::dialect_closure::{ClosureKind, DialectClosure, NewClosure};
use stele_core::dialect_use::ClientName;
use stele_core::event::{Action, Subject};
use stele_core::time::Timestamp;
use stele_core::usecase::administration::Administration;
use stele_service::client_list::CLIENTS;
use stele_service::{ConfigError, Settings};

use super::{FOLLOWED_WITHIN, format_time};
use crate::args::{BrownoutAction, BrownoutOptions};
use crate::commands::{CommandError, OutputFormat, admin, escape_cell, print_line, print_listing_line};

/// Closures per query.
const PAGE_SIZE: u32 = 500;

pub(super) async fn run(settings: &Settings, options: BrownoutOptions) -> Result<(), CommandError> {
    match options {
        BrownoutOptions { action: Some(BrownoutAction::List { all, json }), .. } => {
            list(settings, all, OutputFormat::from_json_flag(json)).await
        }
        BrownoutOptions { action: Some(BrownoutAction::Cancel { id }), .. } => cancel(settings, id).await,
        BrownoutOptions { action: None, dialect: Some(dialect), client, from: Some(from), length: Some(length) } => {
            check_client(settings, client.as_deref())?;
            let (administration, audit_log) = context::open_administration(settings).await?;
            let created_at = administration.now();
            let starts_at = from.resolve(created_at);
            let closure = NewClosure {
                kind: ClosureKind::Brownout,
                dialect,
                client,
                starts_at,
                ends_at: Some(starts_at.saturating_add(length)),
                created_at,
                operator: operator_identity(),
            };
            let subject = Subject::from(&closure);
            let result = schedule(&administration, &closure).await;
            admin::record_action(&administration, &audit_log, Action::ScheduleBrownout, Some(subject), result).await
        }
        _ => Err(ConfigError::new("a brown-out needs a dialect, --from and --for; see --help").into()),
    }
}

/// A brown-out refuses requests before they are read, so only names that the request's head shows are possible.
fn check_client(settings: &Settings, client: Option<&str>) -> Result<(), CommandError> {
    let clients = settings.get(&CLIENTS)?;
    match client {
        Some(name) if name != ClientName::OTHER && !clients.has_name(name) => {
            let names: Vec<_> = clients.names().into_iter().chain([ClientName::OTHER]).collect();
            let text = format!(
                "--client: `{name}` is not a name of STELE_CLIENTS, which has {}; a brown-out cannot be limited to a \
                 MeFP app or a TMS client token",
                names.join(", ")
            );
            Err(ConfigError::new(text).into())
        }
        _ => Ok(()),
    }
}

async fn schedule(administration: &Administration, closure: &NewClosure) -> Result<(), CommandError> {
    if closure.ends_at.is_some_and(|ends_at| ends_at <= closure.created_at) {
        return Err(ConfigError::new("the brown-out would be over already; choose a later --from").into());
    }
    match administration.schedule_closure(closure).await? {
        Some(id) => {
            let (from, to) = (format_time(closure.starts_at), closure.ends_at.map(format_time).unwrap_or_default());
            print_line(&format!(
                "brown-out {id}: {} answers `unavailable` from {from} to {to}; {FOLLOWED_WITHIN}",
                describe_closed(closure)
            ))
        }
        None => Err(too_many_closures()),
    }
}

pub(super) fn too_many_closures() -> CommandError {
    let text = "too many brown-outs and switch-offs are scheduled; cancel some (stele sunset brownout list)";
    CommandError::Failed(text.to_owned())
}

async fn cancel(settings: &Settings, id: i64) -> Result<(), CommandError> {
    let (administration, audit_log) = context::open_administration(settings).await?;
    let mut subject = None;
    let result = cancel_brownout(&administration, id, &mut subject).await;
    admin::record_action(&administration, &audit_log, Action::CancelBrownout, subject, result).await
}

async fn cancel_brownout(
    administration: &Administration,
    id: i64,
    subject: &mut Option<Subject>,
) -> Result<(), CommandError> {
    let scheduled = administration.scheduled_closures().await?;
    let found = scheduled.iter().find(|closure| closure.id == id);
    if let Some(DialectClosure { closure: NewClosure { kind: ClosureKind::Off, dialect, .. }, .. }) = found {
        return Err(CommandError::Failed(format!("{id} is a switch-off; run `stele sunset on {dialect}`")));
    }
    match administration.cancel_closure(id).await? {
        Some(DialectClosure { closure, .. }) => {
            *subject = Some(Subject::from(&closure));
            print_line(&format!("brown-out {id} of {} is canceled; {FOLLOWED_WITHIN}", describe_closed(&closure)))
        }
        None => Err(CommandError::Failed(format!("no brown-out {id} is scheduled; see `stele sunset brownout list`"))),
    }
}

async fn list(settings: &Settings, all: bool, format: OutputFormat) -> Result<(), CommandError> {
    let (administration, _) = context::open_administration(settings).await?;
    let now = administration.now();
    if !all {
        let scheduled = administration.scheduled_closures().await?;
        return scheduled.iter().try_for_each(|closure| print_listing_line(&format_closure(closure, now, format)));
    }
    let mut before = None;
    loop {
        let page = administration.list_closures(before, PAGE_SIZE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        before = Some(last.id);
        page.iter().try_for_each(|closure| print_listing_line(&format_closure(closure, now, format)))?;
    }
}

/// The closed dialect and client, for people.
fn describe_closed(closure: &NewClosure) -> String {
    match &closure.client {
        Some(client) => format!("{} (client {})", closure.dialect, escape_cell(client)),
        None => closure.dialect.clone(),
    }
}

fn state(DialectClosure { closure, canceled_at, .. }: &DialectClosure, now: Timestamp) -> &'static str {
    match closure {
        _ if canceled_at.is_some() => "canceled",
        NewClosure { ends_at: Some(ends_at), .. } if *ends_at <= now => "over",
        NewClosure { starts_at, .. } if *starts_at <= now => "active",
        _ => "scheduled",
    }
}

fn format_closure(stored: &DialectClosure, now: Timestamp, format: OutputFormat) -> String {
    let DialectClosure { id, closure, canceled_at } = stored;
    let (kind, state) = (closure.kind.as_str(), state(stored, now));
    let (starts, ends) = (format_time(closure.starts_at), closure.ends_at.map(format_time));
    if format == OutputFormat::Json {
        let output = json!({
            "id": id,
            "kind": kind,
            "dialect": closure.dialect,
            "client": closure.client,
            "state": state,
            "from": starts,
            "to": ends,
            "created": format_time(closure.created_at),
            "operator": closure.operator,
            "canceled": canceled_at.map(format_time),
        });
        return output.to_string();
    }
    let client = closure.client.as_deref().unwrap_or("-");
    let ends = ends.as_deref().unwrap_or("-");
    let (dialect, client, operator) =
        (escape_cell(&closure.dialect), escape_cell(client), escape_cell(&closure.operator));
    format!("{id}\t{kind}\t{dialect}\t{client}\t{state}\t{starts}\t{ends}\t{operator}")
}
