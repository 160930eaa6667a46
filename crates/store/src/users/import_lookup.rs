//! Looks up what is known about the rows of a batch of an import: earlier rows, and the users who have their identifiers,
//! ids and numbers. The work must not grow with the tables, although a database that fills up has no statistics yet.

use diesel::{ExpressionMethods, NullableExpressionMethods, QueryDsl, QueryResult, TextExpressionMethods};
use diesel_async::{AsyncConnection as _, SimpleAsyncConnection as _};
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

/// The values of a batch as they are stored.
#[derive(Clone)]
struct Wanted {
    source: String,
    old_ids: Vec<String>,
    keys: Vec<String>,
    ids: Vec<Vec<u8>>,
    dialect: Option<String>,
    legacy_keys: Vec<String>,
    numbers: Vec<i64>,
}

impl Wanted {
    fn new(source: &SourceName, query: &ImportQuery) -> Self {
        let ImportQuery { old_ids, keys, ids, dialect, legacy_keys, numbers } = query.clone();
        Self {
            source: source.as_str().to_owned(),
            old_ids,
            keys,
            ids: ids.iter().map(|id| id.as_bytes().to_vec()).collect(),
            dialect,
            legacy_keys,
            numbers,
        }
    }
}

/// Selects the owners of `$wanted`'s identifiers. Whether one is of the source is found by the user's number: the source
/// is compared as an expression, because by an index on the source all its rows would be read for each identifier.
macro_rules! owners {
    ($wanted:expr) => {{
        let of_source = legacy_ids::table
            .filter(legacy_ids::number.eq(identifiers::number))
            .filter(legacy_ids::source.concat("").eq(&$wanted.source))
            .select(legacy_ids::number)
            .single_value()
            .is_not_null();
        identifiers::table.inner_join(users::table).filter(identifiers::key.eq_any(&$wanted.keys)).select((
            identifiers::key,
            users::number,
            users::id,
            users::verifier.ne(NO_PASSWORD),
            of_source,
        ))
    }};
}

/// Without statistics PostgreSQL underestimates the rows of a source, and would read all of them, or whole tables, for
/// each batch. Only index scans are left, which every query here has.
const INDEX_SCANS_ONLY: &str = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; \
    SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off";

/// The body of [`lookup`], for a connection to either backend.
macro_rules! find_rows {
    ($conn:ident, $wanted:expr) => {{
        let Wanted { source, old_ids, ids, dialect, legacy_keys, numbers, .. } = &$wanted;
        let known = legacy_ids::table
            .filter(legacy_ids::source.eq(source))
            .filter(legacy_ids::id.eq_any(old_ids))
            .select((
                legacy_ids::id,
                legacy_ids::number,
                legacy_ids::content,
                legacy_ids::run,
                legacy_ids::position,
                legacy_ids::merged,
            ))
            .load::<KnownRowColumns>($conn)
            .await?;
        let rows = known.into_iter().map(decode_known).collect::<QueryResult<_>>()?;
        let owners = owners!($wanted).load::<(String, i64, Vec<u8>, bool, bool)>($conn).await?;
        let to_owner = |(key, number, id, has_password, is_of_source)| {
            Ok((key, IdentifierOwner { number, id: decode_id(id)?, has_password, is_of_source }))
        };
        let owners = owners.into_iter().map(to_owner).collect::<QueryResult<_>>()?;
        let mut found = ImportLookup { rows, owners, ..ImportLookup::default() };
        if !ids.is_empty() {
            let owners = users::table.filter(users::id.eq_any(ids)).select((users::id, users::number));
            let owners = owners.load::<(Vec<u8>, i64)>($conn).await?.into_iter();
            let owners = owners.map(|(id, number)| Ok((decode_id(id)?, number)));
            found.uuid_owners = owners.collect::<QueryResult<_>>()?;
        }
        if dialect.is_some() {
            found.legacy_owners = legacy_owners!(dialect, legacy_keys).load($conn).await?.into_iter().collect();
        }
        if !numbers.is_empty() {
            let own = users::table.filter(users::number.eq_any(numbers)).select(users::number);
            let own = own.load::<i64>($conn).await?.into_iter().map(|number| (number, number));
            let old = legacy_ids::table
                .filter(legacy_ids::old_number.eq_any(numbers))
                .select((legacy_ids::old_number.assume_not_null(), legacy_ids::number));
            found.number_owners = old.load::<(i64, i64)>($conn).await?.into_iter().chain(own).collect();
        }
        Ok(found)
    }};
}

/// Looks up what is known about the rows of a batch.
pub(super) async fn lookup(db: &BackendConnections, source: &SourceName, query: &ImportQuery) -> Result<ImportLookup> {
    let wanted = Wanted::new(source, query);
    let found: QueryResult<ImportLookup> = match db {
        BackendConnections::Postgres(postgres) => query!(@postgres postgres.pool, SLOW_QUERY_TIMEOUTS, |conn| {
            conn.transaction(async |conn| {
                conn.batch_execute(INDEX_SCANS_ONLY).await?;
                find_rows!(conn, wanted)
            })
            .await
        }),
        BackendConnections::Sqlite(sqlite) => query!(@sqlite sqlite, Read, |conn| find_rows!(conn, wanted)),
    };
    found.map_err(map_database_error)
}

#[cfg(test)]
mod tests {
    use diesel::connection::SimpleConnection as _;
    use diesel::sql_types::Text;
    use diesel::{Connection as _, QueryableByName, RunQueryDsl as _, SqliteConnection, debug_query};

    use super::*;

    #[derive(QueryableByName)]
    struct PlanStep {
        #[diesel(sql_type = Text)]
        detail: String,
    }

    #[test]
    fn sqlite_finds_by_the_users_number_whether_a_user_is_of_the_source() {
        let mut conn = SqliteConnection::establish(":memory:").unwrap();
        for migration in ["0001_initial", "0002_keys", "0017_imports", "0019_legacy_ids"] {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/users-sqlite");
            conn.batch_execute(&std::fs::read_to_string(format!("{folder}/{migration}/up.sql")).unwrap()).unwrap();
        }
        let source = SourceName::parse("files").unwrap();
        let wanted = Wanted::new(&source, &ImportQuery { keys: vec!["alice".to_owned()], ..ImportQuery::default() });
        let query = owners!(wanted);
        let text = debug_query::<diesel::sqlite::Sqlite, _>(&query).to_string();
        let (text, _) = text.split_once(" -- binds").unwrap();
        let plan: Vec<PlanStep> = diesel::sql_query(format!("EXPLAIN QUERY PLAN {text}")).load(&mut conn).unwrap();
        let plan: Vec<_> = plan.into_iter().map(|step| step.detail).collect();
        assert!(plan.iter().any(|step| step.contains("legacy_ids_by_number (number=?)")), "{plan:?}");
        assert!(plan.iter().all(|step| !step.starts_with("SCAN")), "{plan:?}");
    }
}
