//! Store of imported hashes that earlier versions stored without wrapping them in argon2id.

use async_trait::async_trait;
use diesel::dsl::sql;
use diesel::sql_types::Bool;
use diesel::{ExpressionMethods, QueryDsl, QueryResult};
use stele_core::ports::{UnwrappedHash, VerifierStore};
use stele_core::user::UserId;
use stele_core::{Error, Result};

use super::pool::{SLOW_QUERY_TIMEOUTS, query, transaction};
use super::schema::users;
use super::user_store::SqlStore;
use crate::error::{corrupt_column_error, map_database_error};

/// The condition of the partial index `users_with_earlier_hash`. The texts must be equal, or every row is read.
const UNWRAPPED_CONDITION: &str = "substr(verifier, 1, 5) = '{raw}'";

fn decode_unwrapped_hash((number, id, verifier): (i64, Vec<u8>, String)) -> QueryResult<UnwrappedHash> {
    let id = UserId::from_bytes(id.try_into().map_err(|_| corrupt_column_error("users.id"))?);
    Ok(UnwrappedHash { number, id, verifier })
}

#[async_trait]
impl VerifierStore for SqlStore {
    async fn count_unwrapped(&self) -> Result<u64> {
        let rows = query!(self.db, Read, SLOW_QUERY_TIMEOUTS, |conn| {
            users::table.filter(sql::<Bool>(UNWRAPPED_CONDITION)).count().get_result::<i64>(conn).await
        });
        u64::try_from(rows.map_err(map_database_error)?).map_err(Error::internal)
    }

    async fn list_unwrapped(&self, after: i64, limit: u32) -> Result<Vec<UnwrappedHash>> {
        let rows = query!(self.db, Read, |conn| {
            users::table
                .filter(sql::<Bool>(UNWRAPPED_CONDITION))
                .filter(users::number.gt(after))
                .order(users::number)
                .limit(limit.into())
                .select((users::number, users::id, users::verifier))
                .load(conn)
                .await
        });
        rows.map_err(map_database_error)?
            .into_iter()
            .map(decode_unwrapped_hash)
            .collect::<QueryResult<_>>()
            .map_err(map_database_error)
    }

    async fn replace_verifiers(&self, changes: &[(UnwrappedHash, String)]) -> Result<u64> {
        let changes = changes.to_vec();
        let changed: QueryResult<usize> = transaction!(self.db, SLOW_QUERY_TIMEOUTS, |conn| {
            let mut changed = 0;
            for (old, new) in &changes {
                let unchanged_row = users::table.find(old.number).filter(users::verifier.eq(&old.verifier));
                changed += diesel::update(unchanged_row).set(users::verifier.eq(new)).execute(conn).await?;
            }
            Ok(changed)
        });
        u64::try_from(changed.map_err(map_database_error)?).map_err(Error::internal)
    }
}
