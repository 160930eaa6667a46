//! Lookups of accounts for a dialect: by an identifier or by what a client names a user, with the user's legacy ids in
//! the dialect, in one statement.

use diesel::sql_types::{Nullable, Text};
use diesel::{ExpressionMethods, NullableExpressionMethods, QueryDsl, QueryResult, SelectableHelper};
use stele_core::Result;
use stele_core::import::PORTAL;
use stele_core::session::DialectName;
use stele_core::user::{Account, ClientUserId, LegacyIds, displaced_id};

use super::pool::{BackendConnections, read};
use super::rows::{CredentialRow, UserRow};
use super::schema::{identifiers, legacy_ids, users};
use super::user_store::{DECOY_NUMBER, account_from_row, coalesce};
use crate::error::{corrupt_column_error, map_database_error};

/// An account with what its dialect answers as the user's id.
type AnswerRow = (i64, UserRow, CredentialRow, Option<String>);

/// As [`AnswerRow`], for the portal; at the end the number, if the id that follows from it is another user's old one.
type PortalRow = (i64, UserRow, CredentialRow, Option<String>, Option<i64>);

/// Separates the parts of an answer: no id has a control character.
const SEPARATOR: char = '\t';

diesel::define_sql_function! {
    #[sql_name = "coalesce"]
    fn first_answer(answer: Nullable<Text>, id: Text) -> Text;
}

/// Selects what a dialect answers as the id of a row of `users`: the first of the user's legacy ids there, if several
/// sources have brought some. A scalar subquery, because a join with a sort costs twice as much; without literal SQL,
/// whose statements diesel does not keep prepared (ADR 51).
macro_rules! answer {
    ($own:ident, $dialect:expr) => {
        $own.filter($own.field(legacy_ids::number).eq(users::number))
            .filter($own.field(legacy_ids::dialect).eq($dialect))
            .order(($own.field(legacy_ids::run), $own.field(legacy_ids::position)))
            .select(first_answer($own.field(legacy_ids::answer), $own.field(legacy_ids::id)))
            .single_value()
    };
}

/// Selects the number of the user with this identifier key.
macro_rules! number_of_identifier {
    ($key:ident) => {
        coalesce(
            identifiers::table.filter(identifiers::key.eq(&$key)).select(identifiers::number).single_value(),
            DECOY_NUMBER,
        )
    };
}

/// Selects the number of the user whom clients of a dialect know by a legacy id, of which this is the key.
macro_rules! number_of_legacy_id {
    ($known:ident, $dialect:ident, $key:ident) => {
        $known
            .filter($known.field(legacy_ids::dialect).eq($dialect))
            .filter($known.field(legacy_ids::key).eq(&$key))
            .select($known.field(legacy_ids::number))
            .single_value()
    };
}

/// Selects the account with this number, and what a dialect answers as its id.
macro_rules! account_with_answer {
    ($own:ident, $dialect:ident, $number:expr) => {
        users::table.filter(users::number.eq($number)).select((
            users::number,
            UserRow::as_select(),
            CredentialRow::as_select(),
            answer!($own, $dialect),
        ))
    };
}

/// The account with this identifier key, with its legacy ids in `dialect`.
pub(super) async fn find_by_identifier(
    db: &BackendConnections,
    dialect: DialectName,
    key: &str,
) -> Result<Option<Account>> {
    // No identifier contains NUL, and PostgreSQL rejects it.
    if key.contains('\0') {
        return Ok(None);
    }
    let (key, own) = (key.to_owned(), diesel::alias!(legacy_ids as own));
    if dialect != PORTAL {
        let row = read!(db, AnswerRow, account_with_answer!(own, dialect, number_of_identifier!(key)));
        return to_account(row?);
    }
    let taken = diesel::alias!(legacy_ids as taken);
    let row = read!(
        db,
        PortalRow,
        users::table.filter(users::number.eq(number_of_identifier!(key))).select((
            users::number,
            UserRow::as_select(),
            CredentialRow::as_select(),
            answer!(own, dialect),
            taken
                .filter(taken.field(legacy_ids::derived_number).eq(users::number.nullable()))
                .select(taken.field(legacy_ids::derived_number))
                .single_value(),
        ))
    );
    let row = row?.map(|(number, user, credential, answer, derived)| {
        (number, user, credential, answer.or(derived.map(|number| displaced_id(number).to_string())))
    });
    to_account(row)
}

/// The account that a client of `dialect` names so, with its legacy ids there.
pub(super) async fn find_by_client_id(
    db: &BackendConnections,
    dialect: DialectName,
    id: &ClientUserId,
) -> Result<Option<Account>> {
    let key = id.legacy_key().to_owned();
    let (named, known, own) = diesel::alias!(users as named, legacy_ids as known, legacy_ids as own);
    let row = match (id.id(), id.number()) {
        // Legacy ids can be counted through, so an unknown one reads what a known one does.
        (None, None) => read!(
            db,
            AnswerRow,
            account_with_answer!(own, dialect, coalesce(number_of_legacy_id!(known, dialect, key), DECOY_NUMBER))
        ),
        (uuid, number) => {
            // What the text is not finds nothing.
            let uuid = uuid.map_or(Vec::new(), |id| id.as_bytes().to_vec());
            let number = number.unwrap_or(DECOY_NUMBER);
            let by_uuid = named.filter(named.field(users::id).eq(uuid)).select(named.field(users::number));
            let by_number = named.filter(named.field(users::number).eq(number)).select(named.field(users::number));
            let of_own_id = coalesce(by_uuid.single_value(), coalesce(by_number.single_value(), DECOY_NUMBER));
            read!(
                db,
                AnswerRow,
                account_with_answer!(
                    own,
                    dialect,
                    coalesce(number_of_legacy_id!(known, dialect, key), of_own_id.clone())
                )
            )
        }
    };
    to_account(row?)
}

fn to_account(row: Option<AnswerRow>) -> Result<Option<Account>> {
    let Some((number, user, credential, answer)) = row else { return Ok(None) };
    let account = account_from_row(Some((number, user, credential)))?;
    let legacy = answer.as_deref().map(unpack_legacy_ids).transpose().map_err(map_database_error)?;
    Ok(account.map(|account| Account { legacy, ..account }))
}

/// The column `answer`.
pub(super) fn pack_legacy_ids(id: &str, alias_id: Option<&str>, number: Option<i64>) -> String {
    let number = number.map(|number| number.to_string()).unwrap_or_default();
    format!("{id}{SEPARATOR}{}{SEPARATOR}{number}", alias_id.unwrap_or_default())
}

fn unpack_legacy_ids(answer: &str) -> QueryResult<LegacyIds> {
    let corrupt = || corrupt_column_error("legacy_ids.answer");
    let mut parts = answer.split(SEPARATOR);
    let mut next = || parts.next().filter(|part| !part.is_empty()).map(str::to_owned);
    let (id, alias_id, number) = (next().ok_or_else(corrupt)?, next(), next());
    let number = number.map(|number| number.parse()).transpose().map_err(|_| corrupt())?;
    Ok(LegacyIds { id, alias_id, number })
}
