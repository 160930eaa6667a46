//! Lookups of accounts for a dialect: by an identifier or by what a client names a user, with the user's legacy ids in
//! the dialect, in one statement.

use diesel::dsl::sql;
use diesel::sql_types::{Nullable, Text};
use diesel::{ExpressionMethods, QueryDsl, QueryResult, SelectableHelper};
use stele_core::Result;
use stele_core::session::DialectName;
use stele_core::user::{Account, ClientUserId, LegacyIds};

use super::pool::{BackendConnections, read};
use super::rows::{CredentialRow, UserRow};
use super::schema::{identifiers, legacy_ids, users};
use super::user_store::{DECOY_NUMBER, account_from_row, coalesce};
use crate::error::{corrupt_column_error, map_database_error};

/// An account with the packed fields of its legacy id in a dialect.
type LegacyAccountRow = (i64, UserRow, CredentialRow, Option<String>);

/// Separates packed fields: no id has a control character.
const FIELD_SEPARATOR: char = '\t';

/// Selects the account with this number, with its legacy id in a dialect: the first one, if several sources of the
/// dialect have brought some. `id`, `alias_id` and `old_number` are packed in one text, because a scalar subquery costs
/// less than half of a join with a sort (ADR 51).
macro_rules! with_legacy_ids {
    ($dialect:expr, $number:expr) => {
        users::table.filter(users::number.eq($number)).select((
            users::number,
            UserRow::as_select(),
            CredentialRow::as_select(),
            sql::<Nullable<Text>>(
                "(SELECT l.id || '\t' || coalesce(l.alias_id, '') || '\t' || coalesce(CAST(l.old_number AS TEXT), '') \
                 FROM legacy_ids AS l WHERE l.number = users.number AND l.dialect = ",
            )
            .bind::<Text, _>($dialect)
            .sql(" ORDER BY l.run, l.position LIMIT 1)"),
        ))
    };
}

/// The number of the user whom clients of a dialect know by a legacy id, of which this is the key.
macro_rules! legacy_number {
    ($known:ident, $dialect:ident, $key:ident) => {
        $known
            .filter($known.field(legacy_ids::dialect).eq($dialect))
            .filter($known.field(legacy_ids::key).eq(&$key))
            .select($known.field(legacy_ids::number))
            .single_value()
    };
}

fn account_from_legacy_row(row: Option<LegacyAccountRow>) -> Result<Option<Account>> {
    let Some((number, user, credential, packed)) = row else { return Ok(None) };
    let account = account_from_row(Some((number, user, credential)))?;
    let legacy = packed.as_deref().map(unpack_legacy_ids).transpose().map_err(map_database_error)?;
    Ok(account.map(|account| Account { legacy, ..account }))
}

fn unpack_legacy_ids(packed: &str) -> QueryResult<LegacyIds> {
    let corrupt = || corrupt_column_error("legacy_ids");
    let [id, alias_id, number] = packed.split(FIELD_SEPARATOR).collect::<Vec<_>>()[..] else { return Err(corrupt()) };
    let alias_id = Some(alias_id.to_owned()).filter(|alias_id| !alias_id.is_empty());
    let number = Some(number).filter(|number| !number.is_empty()).map(str::parse).transpose();
    Ok(LegacyIds { id: id.to_owned(), alias_id, number: number.map_err(|_| corrupt())? })
}

/// The account with this identifier key, with its legacy ids in `dialect`.
pub(super) async fn find_by_identifier(
    db: &BackendConnections,
    dialect: DialectName,
    key: &str,
) -> Result<Option<Account>> {
    if key.contains('\0') {
        return Ok(None);
    }
    let key = key.to_owned();
    let row = read!(
        db,
        LegacyAccountRow,
        with_legacy_ids!(
            dialect,
            coalesce(
                identifiers::table.filter(identifiers::key.eq(&key)).select(identifiers::number).single_value(),
                DECOY_NUMBER
            )
        )
    );
    account_from_legacy_row(row?)
}

/// The account that a client of `dialect` names so, with its legacy ids there.
pub(super) async fn find_by_client_id(
    db: &BackendConnections,
    dialect: DialectName,
    id: &ClientUserId,
) -> Result<Option<Account>> {
    let key = id.legacy_key().to_owned();
    let (named, known) = diesel::alias!(users as named, legacy_ids as known);
    let row = match (id.id(), id.number()) {
        // Legacy ids can be counted through, so an unknown one reads what a known one does.
        (None, None) => read!(
            db,
            LegacyAccountRow,
            with_legacy_ids!(dialect, coalesce(legacy_number!(known, dialect, key), DECOY_NUMBER))
        ),
        (uuid, number) => {
            // What the text is not finds nothing.
            let uuid = uuid.map_or(Vec::new(), |id| id.as_bytes().to_vec());
            let number = number.unwrap_or(DECOY_NUMBER);
            let by_uuid = named.filter(named.field(users::id).eq(uuid)).select(named.field(users::number));
            let by_number = named.filter(named.field(users::number).eq(number)).select(named.field(users::number));
            let own = coalesce(by_uuid.single_value(), coalesce(by_number.single_value(), DECOY_NUMBER));
            read!(
                db,
                LegacyAccountRow,
                with_legacy_ids!(dialect, coalesce(legacy_number!(known, dialect, key), own.clone()))
            )
        }
    };
    account_from_legacy_row(row?)
}
