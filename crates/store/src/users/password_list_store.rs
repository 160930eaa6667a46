//! Store of the operator's own list of common passwords.

use std::collections::HashSet;

use async_trait::async_trait;
use diesel::{ExpressionMethods, QueryDsl, QueryResult};
use stele_core::common_passwords::ListedPasswordKey;
use stele_core::ports::PasswordListStore;
use stele_core::{Error, Result};

use super::pool::{SLOW_QUERY_TIMEOUTS, query};
use super::schema::listed_passwords;
use super::user_store::SqlStore;
use crate::error::map_database_error;

#[async_trait]
impl PasswordListStore for SqlStore {
    async fn add_listed_passwords(&self, keys: &[ListedPasswordKey]) -> Result<u64> {
        let mut keys: Vec<i64> = keys.iter().map(|key| key.to_i64()).collect();
        // In the order of the index, in which concurrent batches lock their rows, so that they do not deadlock.
        keys.sort_unstable();
        keys.dedup();
        // Without rows, diesel would insert a row of default values into SQLite.
        if keys.is_empty() {
            return Ok(0);
        }
        let added: QueryResult<usize> = query!(self.db, Write, SLOW_QUERY_TIMEOUTS, |conn| {
            let rows: Vec<_> = keys.iter().map(|key| listed_passwords::key.eq(*key)).collect();
            diesel::insert_into(listed_passwords::table).values(rows).on_conflict_do_nothing().execute(conn).await
        });
        u64::try_from(added.map_err(map_database_error)?).map_err(Error::internal)
    }

    async fn find_listed_passwords(&self, keys: &[ListedPasswordKey]) -> Result<HashSet<ListedPasswordKey>> {
        let keys: Vec<i64> = keys.iter().map(|key| key.to_i64()).collect();
        let found: QueryResult<Vec<i64>> = query!(self.db, Read, SLOW_QUERY_TIMEOUTS, |conn| {
            let listed = listed_passwords::table.filter(listed_passwords::key.eq_any(&keys));
            listed.select(listed_passwords::key).load(conn).await
        });
        Ok(found.map_err(map_database_error)?.into_iter().map(ListedPasswordKey::from_i64).collect())
    }

    async fn count_listed_passwords(&self) -> Result<u64> {
        let rows = query!(self.db, Read, SLOW_QUERY_TIMEOUTS, |conn| {
            listed_passwords::table.count().get_result::<i64>(conn).await
        });
        u64::try_from(rows.map_err(map_database_error)?).map_err(Error::internal)
    }

    async fn remove_listed_passwords(&self, limit: u32) -> Result<u64> {
        let removed: QueryResult<usize> = query!(self.db, Write, SLOW_QUERY_TIMEOUTS, |conn| {
            async {
                let first = listed_passwords::table.order(listed_passwords::key).limit(limit.into());
                let keys = first.select(listed_passwords::key).load::<i64>(conn).await?;
                let Some(last) = keys.last() else { return Ok(0) };
                diesel::delete(listed_passwords::table.filter(listed_passwords::key.le(*last))).execute(conn).await
            }
            .await
        });
        u64::try_from(removed.map_err(map_database_error)?).map_err(Error::internal)
    }
}
