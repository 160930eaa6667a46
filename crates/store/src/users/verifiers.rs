//! Imported hashes that earlier builds stored as they came.

use async_trait::async_trait;
use diesel::dsl::sql;
use diesel::sql_types::Bool;
use diesel::{ExpressionMethods, QueryDsl, QueryResult};
use diesel_async::AsyncConnection;
use diesel_async::pooled_connection::deadpool::Object;
use stele_core::ports::{EarlierHash, VerifierStore};
use stele_core::user::UserId;
use stele_core::{Error, Result};

use super::pool::{Db, Lease, POSTGRES_LIMITS, Postgres, SLOW_LIMITS, at_once, query, transaction};
use super::queries::Users;
use super::schema::users;
use crate::error::{corrupt, failure};
use crate::sqlite::thread::Access;

/// The condition of the index `users_with_earlier_hash`, to the letter: otherwise every row is read.
const EARLIER: &str = "substr(verifier, 1, 5) = '{raw}'";

fn earlier((number, id, verifier): (i64, Vec<u8>, String)) -> QueryResult<EarlierHash> {
    let id = UserId::from_bytes(id.try_into().map_err(|_| corrupt("users.id"))?);
    Ok(EarlierHash { number, id, verifier })
}

#[async_trait]
impl VerifierStore for Users {
    async fn count_earlier(&self) -> Result<u64> {
        let rows = query!(self.db, Read, SLOW_LIMITS, |conn| {
            users::table.filter(sql::<Bool>(EARLIER)).count().get_result::<i64>(conn).await
        });
        u64::try_from(rows.map_err(failure)?).map_err(Error::internal)
    }

    async fn earlier(&self, after: i64, limit: u32) -> Result<Vec<EarlierHash>> {
        let rows = query!(self.db, Read, |conn| {
            users::table
                .filter(sql::<Bool>(EARLIER))
                .filter(users::number.gt(after))
                .order(users::number)
                .limit(limit.into())
                .select((users::number, users::id, users::verifier))
                .load(conn)
                .await
        });
        rows.map_err(failure)?.into_iter().map(earlier).collect::<QueryResult<_>>().map_err(failure)
    }

    async fn replace_verifiers(&self, changes: &[(EarlierHash, String)]) -> Result<u64> {
        let changes = changes.to_vec();
        let changed: QueryResult<usize> = transaction!(self.db, SLOW_LIMITS, |conn| {
            let mut changed = 0;
            for (old, new) in &changes {
                let same = users::table.find(old.number).filter(users::verifier.eq(&old.verifier));
                changed += diesel::update(same).set(users::verifier.eq(new)).execute(conn).await?;
            }
            Ok(changed)
        });
        u64::try_from(changed.map_err(failure)?).map_err(Error::internal)
    }
}
