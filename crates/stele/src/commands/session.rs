//! `stele session`: lists and ends users' sessions.

use serde_json::{Value, json};
use stele_app::Context;
use stele_core::session::{KeyedSession, MAX_LISTED_SESSIONS, TokenKey};
use stele_core::time::Offset;
use stele_core::user::User;
use stele_core::{Error, UseCases};
use stele_service::{ConfigError, cli};

use super::{CommandError, OutputFormat, escape_cell, print_line, print_listing_line};
use crate::args::{EndSessionOptions, SessionCommand, SessionIdPrefix};

pub(crate) async fn run(context: &Context, command: SessionCommand) -> Result<(), CommandError> {
    let use_cases = &context.use_cases;
    match command {
        SessionCommand::List { user, json } => list(use_cases, &user, OutputFormat::from_json_flag(json)).await,
        SessionCommand::End(options) => end(use_cases, options).await,
    }
}

async fn list(use_cases: &UseCases, user: &str, format: OutputFormat) -> Result<(), CommandError> {
    let user = use_cases.find_user(user).await?;
    let list = use_cases.list_sessions(user.id).await?;
    if list.has_more {
        cli::print_warning(&format!("the user has more sessions than the newest {MAX_LISTED_SESSIONS}"));
    }
    list.sessions.iter().try_for_each(|session| match format {
        OutputFormat::Json => print_listing_line(&to_json(session).to_string()),
        OutputFormat::Text => print_listing_line(&format_line(session)),
    })
}

async fn end(use_cases: &UseCases, options: EndSessionOptions) -> Result<(), CommandError> {
    let user = match &options.user {
        Some(user) => Some(use_cases.find_user(user).await?),
        None => None,
    };
    match (options.id, user) {
        (Some(id), user) => end_one(use_cases, &id, user.as_ref()).await,
        (None, Some(user)) => {
            let ended = use_cases.end_sessions(user.id).await?;
            print_line(&format!("sessions ended: {ended}"))
        }
        (None, None) => Err(ConfigError::new("name a session's id or a user; see --help").into()),
    }
}

async fn end_one(use_cases: &UseCases, id: &SessionIdPrefix, user: Option<&User>) -> Result<(), CommandError> {
    let key = match (id.full_key(), user) {
        (Some(key), _) => key,
        (None, Some(user)) => find_by_prefix(use_cases, id, user).await?,
        (None, None) => {
            return Err(ConfigError::new("the id is incomplete; write all 64 digits, or add --user USER").into());
        }
    };
    match use_cases.end_session(&key, user.map(|user| user.id)).await {
        Ok(()) => print_line(&format!("session ended: {key}")),
        Err(Error::NotAuthenticated) => Err(no_such_session_error()),
        Err(error) => Err(error.into()),
    }
}

async fn find_by_prefix(use_cases: &UseCases, id: &SessionIdPrefix, user: &User) -> Result<TokenKey, CommandError> {
    let list = use_cases.list_sessions(user.id).await?;
    let mut found = list.sessions.iter().map(|keyed| keyed.key).filter(|key| id.matches(key));
    match (found.next(), found.next()) {
        (Some(key), None) => Ok(key),
        (Some(_), Some(_)) => Err(CommandError::Failed(
            "several sessions of this user have an id that begins so; write more of its digits".to_owned(),
        )),
        (None, _) if list.has_more => Err(CommandError::Failed(format!(
            "none of the user's newest {MAX_LISTED_SESSIONS} sessions has such an id; write all 64 digits"
        ))),
        (None, _) => Err(no_such_session_error()),
    }
}

fn no_such_session_error() -> CommandError {
    let remedy = "it may have ended or expired; `stele session list USER` prints the ids of those that are valid";
    CommandError::Failed(format!("there is no such session: {remedy}"))
}

/// One tab-separated line for people, with a dash for a missing value.
fn format_line(KeyedSession { key, session }: &KeyedSession) -> String {
    let app = if session.app.is_empty() { "-" } else { &session.app };
    let (dialect, app) = (escape_cell(&session.dialect), escape_cell(app));
    let [created, last_seen, expires] =
        [session.created, session.last_seen, session.expires].map(|time| time.to_rfc3339(Offset::UTC));
    format!("{key}\t{dialect}\t{app}\t{created}\t{last_seen}\t{expires}")
}

fn to_json(KeyedSession { key, session }: &KeyedSession) -> Value {
    let time = |time: stele_core::time::Timestamp| time.to_rfc3339(Offset::UTC);
    json!({
        "id": key.to_string(),
        "user": session.user.to_string(),
        "dialect": session.dialect,
        "app": Some(&session.app).filter(|app| !app.is_empty()),
        "created_at": time(session.created),
        "last_seen_at": time(session.last_seen),
        "expires_at": time(session.expires),
    })
}
