//! Imported hashes that earlier builds stored as they came.

use async_trait::async_trait;
use diesel::dsl::sql;
use diesel::sql_types::Bool;
use diesel::{ExpressionMethods, QueryDsl, QueryResult};
use diesel_async::AsyncConnection;
use diesel_async::pooled_connection::deadpool::Object;
use stele_core::ports::{UnwrappedHash, VerifierStore};
use stele_core::user::UserId;
use stele_core::{Error, Result};

use super::pool::{
    BackendConnections, POSTGRES_CONFIG, PooledConnection, PostgresConnections, SLOW_QUERY_CONFIG, query, resolve_now,
    transaction,
};
use super::schema::users;
use super::user_store::SqlStore;
use crate::error::{corrupt_column, map_database_error};
use crate::sqlite::thread::Access;

/// The condition of the index `users_with_earlier_hash`, to the letter: otherwise every row is read.
const EARLIER_HASH_CONDITION: &str = "substr(verifier, 1, 5) = '{raw}'";

fn earlier_hash_from_row((number, id, verifier): (i64, Vec<u8>, String)) -> QueryResult<UnwrappedHash> {
    let id = UserId::from_bytes(id.try_into().map_err(|_| corrupt_column("users.id"))?);
    Ok(UnwrappedHash { number, id, verifier })
}

#[async_trait]
impl VerifierStore for SqlStore {
    async fn count_unwrapped(&self) -> Result<u64> {
        let rows = query!(self.db, Read, SLOW_QUERY_CONFIG, |conn| {
            users::table.filter(sql::<Bool>(EARLIER_HASH_CONDITION)).count().get_result::<i64>(conn).await
        });
        u64::try_from(rows.map_err(map_database_error)?).map_err(Error::internal)
    }

    async fn list_unwrapped(&self, after: i64, limit: u32) -> Result<Vec<UnwrappedHash>> {
        let rows = query!(self.db, Read, |conn| {
            users::table
                .filter(sql::<Bool>(EARLIER_HASH_CONDITION))
                .filter(users::number.gt(after))
                .order(users::number)
                .limit(limit.into())
                .select((users::number, users::id, users::verifier))
                .load(conn)
                .await
        });
        rows.map_err(map_database_error)?
            .into_iter()
            .map(earlier_hash_from_row)
            .collect::<QueryResult<_>>()
            .map_err(map_database_error)
    }

    async fn replace_verifiers(&self, changes: &[(UnwrappedHash, String)]) -> Result<u64> {
        let changes = changes.to_vec();
        let changed: QueryResult<usize> = transaction!(self.db, SLOW_QUERY_CONFIG, |conn| {
            let mut changed = 0;
            for (old, new) in &changes {
                let same = users::table.find(old.number).filter(users::verifier.eq(&old.verifier));
                changed += diesel::update(same).set(users::verifier.eq(new)).execute(conn).await?;
            }
            Ok(changed)
        });
        u64::try_from(changed.map_err(map_database_error)?).map_err(Error::internal)
    }
}
