//! Sessions, revoked access tokens, one-time tickets and captchas in SQLite.

use diesel::dsl::exists;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary};
use stele_core::session::{
    KeyedSession, MAX_LISTED_SESSIONS, NewSession, Session, SessionList, Ticket, TicketKind, TokenKey,
};
use stele_core::time::Timestamp;
use stele_core::user::UserId;

use super::schema::{captchas, revoked_tokens, sessions, tickets};
use crate::error::corrupt_column_error;

/// Most sessions that one job ends, a login after the session limit was lowered or the end of all sessions: bounds how
/// long the job holds the write lock.
const MAX_ENDED_PER_CALL: i64 = 1_000;

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = sessions)]
struct SessionRow {
    key: Vec<u8>,
    user: Vec<u8>,
    dialect: String,
    app: String,
    created: i64,
    expires: i64,
    last_seen: i64,
    epoch: i64,
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = tickets)]
struct TicketRow {
    key: Vec<u8>,
    kind: String,
    user: Vec<u8>,
    epoch: i64,
    source: String,
    audience: String,
    expires: i64,
}

fn decode_user_id(bytes: Vec<u8>, column: &'static str) -> QueryResult<UserId> {
    bytes.try_into().map(UserId::from_bytes).map_err(|_| corrupt_column_error(column))
}

pub(super) fn find_session(
    conn: &mut SqliteConnection,
    key: &TokenKey,
    now: Timestamp,
) -> QueryResult<Option<Session>> {
    let live = sessions::table.find(key.0.as_slice()).filter(sessions::expires.gt(now.as_micros()));
    let row = live.select(SessionRow::as_select()).get_result(conn).optional()?;
    row.map(|row| decode_session(row).map(|keyed| keyed.session)).transpose()
}

/// The live sessions of a user, newest first. Reads by the index `sessions_by_user`.
pub(super) fn list_sessions(conn: &mut SqliteConnection, user: UserId, now: Timestamp) -> QueryResult<SessionList> {
    let live = sessions::table
        .filter(sessions::user.eq(user.as_bytes().as_slice()))
        .filter(sessions::expires.gt(now.as_micros()))
        .order((sessions::created.desc(), sessions::key.desc()));
    let limit = i64::try_from(MAX_LISTED_SESSIONS).unwrap_or(i64::MAX).saturating_add(1);
    let rows: Vec<SessionRow> = live.limit(limit).select(SessionRow::as_select()).load(conn)?;
    let has_more = rows.len() > MAX_LISTED_SESSIONS;
    let sessions = rows.into_iter().take(MAX_LISTED_SESSIONS).map(decode_session).collect::<QueryResult<_>>()?;
    Ok(SessionList { sessions, has_more })
}

fn decode_session(row: SessionRow) -> QueryResult<KeyedSession> {
    let session = Session {
        user: decode_user_id(row.user, "sessions.user")?,
        dialect: row.dialect,
        app: row.app,
        created: Timestamp::from_micros(row.created),
        expires: Timestamp::from_micros(row.expires),
        last_seen: Timestamp::from_micros(row.last_seen),
        epoch: row.epoch,
    };
    let key = row.key.try_into().map_err(|_| corrupt_column_error("sessions.key"))?;
    Ok(KeyedSession { key: TokenKey(key), session })
}

/// Stores a session, and replaces a session with the same key: app-bound sessions reuse their keys.
pub(super) fn store_session(conn: &mut SqliteConnection, new: &NewSession) -> QueryResult<()> {
    let NewSession { key, session, .. } = new;
    let row = SessionRow {
        key: key.0.to_vec(),
        user: session.user.as_bytes().to_vec(),
        dialect: session.dialect.clone(),
        app: session.app.clone(),
        created: session.created.as_micros(),
        expires: session.expires.as_micros(),
        last_seen: session.last_seen.as_micros(),
        epoch: session.epoch,
    };
    diesel::replace_into(sessions::table).values(row).execute(conn).map(drop)
}

/// Whether a user has more than `count` sessions. Reads at most `count + 1` index entries.
#[diesel::dsl::auto_type]
pub(super) fn has_more_sessions_than<'a>(user: &'a [u8], count: i64) -> _ {
    exists(sessions::table.filter(sessions::user.eq(user)).limit(1_i64).offset(count))
}

/// Ends the oldest sessions of the user of `new` that exceed the session limit. Call it after storing `new`, which it
/// never ends: by the clock of another instance `new` may be the oldest.
pub(super) fn end_excess_sessions(conn: &mut SqliteConnection, new: &NewSession) -> QueryResult<()> {
    // Raw SQL: diesel cannot delete from a table that the subquery reads.
    diesel::sql_query(
        "DELETE FROM sessions WHERE id IN (SELECT id FROM \
         (SELECT id, created FROM sessions WHERE user = ? AND id <> (SELECT id FROM sessions WHERE key = ?) \
          ORDER BY created DESC LIMIT -1 OFFSET ?) ORDER BY created LIMIT ?)",
    )
    .bind::<Binary, _>(new.session.user.as_bytes().as_slice())
    .bind::<Binary, _>(new.key.0.as_slice())
    .bind::<BigInt, _>(i64::from(new.max_per_user) - 1)
    .bind::<BigInt, _>(MAX_ENDED_PER_CALL)
    .execute(conn)
    .map(drop)
}

/// Updates the last use and the expiry of a session.
pub(super) fn touch_session(conn: &mut SqliteConnection, key: &TokenKey, session: &Session) -> QueryResult<()> {
    diesel::update(sessions::table.find(key.0.as_slice()))
        .set((sessions::last_seen.eq(session.last_seen.as_micros()), sessions::expires.eq(session.expires.as_micros())))
        .execute(conn)
        .map(drop)
}

/// Sets the epoch of a session.
pub(super) fn set_session_epoch(conn: &mut SqliteConnection, key: &TokenKey, epoch: i64) -> QueryResult<()> {
    diesel::update(sessions::table.find(key.0.as_slice())).set(sessions::epoch.eq(epoch)).execute(conn).map(drop)
}

pub(super) fn end_session(conn: &mut SqliteConnection, key: &TokenKey) -> QueryResult<bool> {
    Ok(diesel::delete(sessions::table.find(key.0.as_slice())).execute(conn)? > 0)
}

/// Ends up to [`MAX_ENDED_PER_CALL`] sessions of a user. Returns how many of them had not expired, and whether more may
/// be left.
pub(super) fn end_sessions_batch(
    conn: &mut SqliteConnection,
    user: UserId,
    now: Timestamp,
) -> QueryResult<(u64, bool)> {
    // Raw SQL: diesel cannot delete from a table that the subquery reads.
    let ended: Vec<EndedSession> = diesel::sql_query(
        "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE user = ? ORDER BY created LIMIT ?) \
         RETURNING expires",
    )
    .bind::<Binary, _>(user.as_bytes().as_slice())
    .bind::<BigInt, _>(MAX_ENDED_PER_CALL)
    .load(conn)?;
    let live = ended.iter().filter(|session| session.expires > now.as_micros()).count();
    Ok((live as u64, ended.len() as i64 == MAX_ENDED_PER_CALL))
}

#[derive(QueryableByName)]
struct EndedSession {
    #[diesel(sql_type = BigInt)]
    expires: i64,
}

/// Revokes an access token until `expires`.
pub(super) fn revoke_token(conn: &mut SqliteConnection, key: &TokenKey, expires: Timestamp) -> QueryResult<()> {
    let row = (revoked_tokens::key.eq(key.0.as_slice()), revoked_tokens::expires.eq(expires.as_micros()));
    diesel::replace_into(revoked_tokens::table).values(row).execute(conn).map(drop)
}

pub(super) fn is_token_revoked(conn: &mut SqliteConnection, key: &TokenKey, now: Timestamp) -> QueryResult<bool> {
    let live = revoked_tokens::table.find(key.0.as_slice()).filter(revoked_tokens::expires.gt(now.as_micros()));
    diesel::select(exists(live)).get_result(conn)
}

pub(super) fn store_ticket(conn: &mut SqliteConnection, key: &TokenKey, ticket: &Ticket) -> QueryResult<()> {
    let row = TicketRow {
        key: key.0.to_vec(),
        kind: ticket.kind.as_str().to_owned(),
        user: ticket.user.as_bytes().to_vec(),
        epoch: ticket.epoch,
        source: ticket.source.clone(),
        audience: ticket.audience.clone(),
        expires: ticket.expires.as_micros(),
    };
    diesel::replace_into(tickets::table).values(row).execute(conn).map(drop)
}

pub(super) fn redeem_ticket(
    conn: &mut SqliteConnection,
    key: &TokenKey,
    kind: TicketKind,
    audience: &str,
    now: Timestamp,
) -> QueryResult<Option<Ticket>> {
    // A ticket of another kind or audience is left in place.
    let redeemable = tickets::table
        .find(key.0.as_slice())
        .filter(tickets::kind.eq(kind.as_str()))
        .filter(tickets::audience.eq(audience))
        .filter(tickets::expires.gt(now.as_micros()));
    let Some(row) = redeemable.select(TicketRow::as_select()).get_result(conn).optional()? else {
        return Ok(None);
    };
    diesel::delete(tickets::table.find(key.0.as_slice())).execute(conn)?;
    Ok(Some(Ticket {
        kind,
        user: decode_user_id(row.user, "tickets.user")?,
        epoch: row.epoch,
        source: row.source,
        audience: row.audience,
        expires: Timestamp::from_micros(row.expires),
    }))
}

pub(super) fn store_captcha(conn: &mut SqliteConnection, id: u64, expires: Timestamp) -> QueryResult<()> {
    let row = (captchas::id.eq(id.cast_signed()), captchas::expires.eq(expires.as_micros()), captchas::views.eq(0));
    diesel::replace_into(captchas::table).values(row).execute(conn).map(drop)
}

pub(super) fn count_captcha_view(
    conn: &mut SqliteConnection,
    id: u64,
    max_views: u32,
    now: Timestamp,
) -> QueryResult<bool> {
    let live = captchas::table.find(id.cast_signed()).filter(captchas::expires.gt(now.as_micros()));
    let viewable = live.filter(captchas::views.lt(i64::from(max_views)));
    Ok(diesel::update(viewable).set(captchas::views.eq(captchas::views + 1)).execute(conn)? > 0)
}

pub(super) fn consume_captcha(conn: &mut SqliteConnection, id: u64, now: Timestamp) -> QueryResult<bool> {
    let live = captchas::table.find(id.cast_signed()).filter(captchas::expires.gt(now.as_micros()));
    Ok(diesel::delete(live).execute(conn)? > 0)
}
