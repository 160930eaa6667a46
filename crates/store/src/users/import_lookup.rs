//! Looks up what is known about the rows of a batch of an import: earlier rows, and the users who have their identifiers,
//! ids and numbers.

use diesel::dsl::exists;
use diesel::{ExpressionMethods, NullableExpressionMethods, QueryDsl, QueryResult};
use stele_core::Result;
use stele_core::import::{ContentHash, IdentifierOwner, ImportLookup, KnownRow, SourceName};
use stele_core::ports::ImportQuery;
use stele_core::user::UserId;
use stele_core::verifier::NO_PASSWORD;

use super::pool::{BackendConnections, SLOW_QUERY_TIMEOUTS, query};
use super::schema::{identifiers, legacy_ids, users};
use crate::error::{corrupt_column_error, map_database_error};

/// Selects the users whom clients of a dialect know by legacy ids, by their keys.
macro_rules! legacy_owners {
    ($dialect:expr, $keys:expr) => {
        legacy_ids::table
            .filter(legacy_ids::dialect.eq($dialect))
            .filter(legacy_ids::key.eq_any($keys))
            .select((legacy_ids::key.assume_not_null(), legacy_ids::number))
    };
}

type KnownRowColumns = (String, i64, Vec<u8>, i64, i64, bool);

fn decode_known((id, number, content, run, position, merged): KnownRowColumns) -> QueryResult<(String, KnownRow)> {
    let corrupt = || corrupt_column_error("legacy_ids");
    let content = ContentHash(content.try_into().map_err(|_| corrupt())?);
    let position = u64::try_from(position).map_err(|_| corrupt())?;
    Ok((id, KnownRow { number, content, run, position, was_merged: merged }))
}

fn decode_id(id: Vec<u8>) -> QueryResult<UserId> {
    id.try_into().map(UserId::from_bytes).map_err(|_| corrupt_column_error("users.id"))
}

/// Looks up what is known about the rows of a batch.
pub(super) async fn lookup(db: &BackendConnections, source: &SourceName, query: &ImportQuery) -> Result<ImportLookup> {
    let (source, ImportQuery { old_ids, keys, ids, dialect, legacy_keys, numbers }) =
        (source.as_str().to_owned(), query.clone());
    let ids: Vec<Vec<u8>> = ids.iter().map(|id| id.as_bytes().to_vec()).collect();
    let found: QueryResult<ImportLookup> = query!(db, Read, SLOW_QUERY_TIMEOUTS, |conn| async {
        let known = legacy_ids::table
            .filter(legacy_ids::source.eq(&source))
            .filter(legacy_ids::id.eq_any(&old_ids))
            .select((
                legacy_ids::id,
                legacy_ids::number,
                legacy_ids::content,
                legacy_ids::run,
                legacy_ids::position,
                legacy_ids::merged,
            ))
            .load::<KnownRowColumns>(conn)
            .await?;
        let rows = known.into_iter().map(decode_known).collect::<QueryResult<_>>()?;
        let of_source =
            legacy_ids::table.filter(legacy_ids::number.eq(identifiers::number)).filter(legacy_ids::source.eq(&source));
        let owners = identifiers::table
            .inner_join(users::table)
            .filter(identifiers::key.eq_any(&keys))
            .select((identifiers::key, users::number, users::id, users::verifier.ne(NO_PASSWORD), exists(of_source)))
            .load::<(String, i64, Vec<u8>, bool, bool)>(conn)
            .await?;
        let to_owner = |(key, number, id, has_password, is_of_source)| {
            Ok((key, IdentifierOwner { number, id: decode_id(id)?, has_password, is_of_source }))
        };
        let owners = owners.into_iter().map(to_owner).collect::<QueryResult<_>>()?;
        let mut found = ImportLookup { rows, owners, ..ImportLookup::default() };
        if !ids.is_empty() {
            let owners = users::table.filter(users::id.eq_any(&ids)).select((users::id, users::number));
            let owners = owners.load::<(Vec<u8>, i64)>(conn).await?.into_iter();
            let owners = owners.map(|(id, number)| Ok((decode_id(id)?, number)));
            found.uuid_owners = owners.collect::<QueryResult<_>>()?;
        }
        if dialect.is_some() {
            found.legacy_owners = legacy_owners!(&dialect, &legacy_keys).load(conn).await?.into_iter().collect();
        }
        if !numbers.is_empty() {
            let own = users::table.filter(users::number.eq_any(&numbers)).select(users::number);
            let own = own.load::<i64>(conn).await?.into_iter().map(|number| (number, number));
            let old = legacy_ids::table
                .filter(legacy_ids::old_number.eq_any(&numbers))
                .select((legacy_ids::old_number.assume_not_null(), legacy_ids::number));
            found.number_owners = old.load::<(i64, i64)>(conn).await?.into_iter().chain(own).collect();
        }
        Ok(found)
    }
    .await);
    found.map_err(map_database_error)
}
