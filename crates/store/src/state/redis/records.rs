//! Encoding of sessions and tickets as Redis hashes.

use redis::Cmd;
use stele_core::session::{NewSession, Session, Ticket, TicketKind, TokenKey};
use stele_core::time::Timestamp;
use stele_core::user::UserId;
use stele_core::{Result, hex};

use super::malformed_reply_error;
use super::script_call::{self, ScriptCall};

const SESSION_FIELDS: [&str; 7] = ["user", "dialect", "app", "created", "expires", "last_seen", "epoch"];

/// `HMGET` of a session's fields.
pub(super) fn session_fields_command(key: &str) -> Cmd {
    let mut command = redis::cmd("HMGET");
    command.arg(key).arg(&SESSION_FIELDS);
    command
}

/// Parses the reply to [`session_fields_command`]; `None` if the session does not exist.
pub(super) fn parse_session(row: Vec<Option<String>>) -> Result<Option<Session>> {
    if row.iter().all(Option::is_none) {
        return Ok(None);
    }
    let row: Option<Vec<String>> = row.into_iter().collect();
    let row: Option<[String; 7]> = row.and_then(|row| row.try_into().ok());
    let parse = |[user, dialect, app, created, expires, last_seen, epoch]: [String; 7]| {
        Some(Session {
            user: parse_user_id(&user)?,
            dialect,
            app,
            created: parse_timestamp(&created)?,
            expires: parse_timestamp(&expires)?,
            last_seen: parse_timestamp(&last_seen)?,
            epoch: epoch.parse().ok()?,
        })
    };
    row.and_then(parse).map(Some).ok_or_else(|| malformed_reply_error("session"))
}

/// Appends the arguments of a session's entry in its user's session index: expiry, member, creation time.
pub(super) fn with_index_entry(call: ScriptCall, key: &TokenKey, session: &Session) -> ScriptCall {
    call.timestamp(session.expires).arg(key.0.as_slice()).timestamp(session.created)
}

/// Adds the arguments of `store_session` in `sessions.lua`: session limit, index entry, and names and values of fields.
pub(super) fn with_new_session(call: ScriptCall, new: &NewSession) -> ScriptCall {
    let NewSession { key, session, max_per_user } = new;
    let Session { user, dialect, app, created, expires, last_seen, epoch } = session;
    let [created, last_seen, expires] =
        [created, last_seen, expires].map(|time| script_call::as_micros(*time).to_string());
    let values =
        [hex::encode(user.as_bytes()), dialect.clone(), app.clone(), created, expires, last_seen, epoch.to_string()];
    let call = with_index_entry(call.arg(*max_per_user), key, session);
    SESSION_FIELDS.iter().zip(values).fold(call, |call, (name, value)| call.arg(*name).arg(value))
}

/// Adds a ticket's expiry, and the names and values of its fields.
pub(super) fn with_ticket(call: ScriptCall, ticket: &Ticket) -> ScriptCall {
    let Ticket { kind, user, epoch, source, audience, expires } = ticket;
    call.timestamp(*expires)
        .arg(&["kind", kind.as_str(), "audience", audience, "source", source])
        .arg("user")
        .arg(hex::encode(user.as_bytes()))
        .arg("epoch")
        .arg(*epoch)
        .arg("expires")
        .timestamp(*expires)
}

/// Parses the reply of `redeem_ticket.lua`: user, epoch, source and expiry of the redeemed ticket, if any.
pub(super) fn parse_ticket(
    row: Option<(String, i64, String, i64)>,
    kind: TicketKind,
    audience: &str,
) -> Result<Option<Ticket>> {
    let Some((user, epoch, source, expires)) = row else { return Ok(None) };
    let user = parse_user_id(&user).ok_or_else(|| malformed_reply_error("ticket"))?;
    let expires = Timestamp::from_micros(expires);
    Ok(Some(Ticket { kind, user, epoch, source, audience: audience.to_owned(), expires }))
}

fn parse_user_id(text: &str) -> Option<UserId> {
    hex::decode(text).map(UserId::from_bytes)
}

fn parse_timestamp(text: &str) -> Option<Timestamp> {
    text.parse().ok().map(Timestamp::from_micros)
}
