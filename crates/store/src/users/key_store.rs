//! Key store: the registered keys (key rotation), the rows sealed under them, and the switch and usage counts of salted
//! logins.

use std::collections::BTreeMap;

use async_trait::async_trait;
use diesel::dsl::{count, count_star, max, not, sql};
use diesel::result::{DatabaseErrorKind, Error as DbError};
use diesel::sql_types::Bool;
use diesel::{
    BoolExpressionMethods, ExpressionMethods, NullableExpressionMethods, OptionalExtension, QueryDsl, QueryResult,
    SelectableHelper,
};
use diesel_async::AsyncConnection;
use stele_core::app::App;
use stele_core::ports::{KeyRecord, KeyRetirement, KeyStore, KeyUsage, ResealedUser, SaltedLoginUsage, SealedUser};
use stele_core::seal::{KeyId, SealedSecret};
use stele_core::time::Timestamp;
use stele_core::user::UserId;
use stele_core::{Error, Result};

use super::import_store::PENDING_CONDITION;
use super::pool::{BackendConnections, SLOW_QUERY_TIMEOUTS, query, transaction};
use super::rows::{AppRow, decode_sealed_secret};
use super::schema::{apps, facts, keys, users};
use super::user_store::{SALTED_LOGINS_DISABLED, SqlStore};
use crate::error::{corrupt_column_error, map_database_error};

/// The prefix of the names of sealing keys.
const SEAL_KEY_KIND: &str = "seal";

type KeyRow = (String, Option<Vec<u8>>, i64, i64);

fn decode_key_record((name, fingerprint, added_at, active_from): KeyRow) -> KeyRecord {
    KeyRecord {
        name,
        fingerprint,
        added_at: Timestamp::from_micros(added_at),
        active_from: Timestamp::from_micros(active_from),
    }
}

fn to_u64(number: i64) -> Result<u64> {
    u64::try_from(number).map_err(Error::internal)
}

fn decode_sealed_user(
    (number, id, key, bytes): (i64, Vec<u8>, Option<i64>, Option<Vec<u8>>),
) -> QueryResult<SealedUser> {
    let id = UserId::from_bytes(id.try_into().map_err(|_| corrupt_column_error("users.id"))?);
    let (key, bytes) = key.zip(bytes).ok_or_else(|| corrupt_column_error("users.sealed"))?;
    Ok(SealedUser { number, id, sealed: decode_sealed_secret(key, bytes, "users.seal_key_id")? })
}

/// Maps the counts of [`KeyStore::retire_key`]'s transaction: rows sealed under the key, and keys deleted.
fn retirement_outcome(outcome: QueryResult<(i64, usize)>) -> Result<KeyRetirement> {
    match outcome {
        Ok((0, 0)) => Ok(KeyRetirement::NotFound),
        Ok((0, _)) => Ok(KeyRetirement::Retired),
        Ok((rows, _)) => Ok(KeyRetirement::InUse(to_u64(rows)?)),
        // PostgreSQL: a concurrent transaction sealed a row under the key.
        Err(DbError::DatabaseError(DatabaseErrorKind::ForeignKeyViolation, _)) => Ok(KeyRetirement::InUse(1)),
        Err(error) => Err(map_database_error(error)),
    }
}

#[async_trait]
impl KeyStore for SqlStore {
    async fn keys(&self) -> Result<Vec<KeyRecord>> {
        let rows = query!(self.db, Read, |conn| {
            let columns = (keys::name, keys::probe, keys::added_at, keys::works_from);
            keys::table.select(columns).order(keys::name).load::<KeyRow>(conn).await
        });
        Ok(rows.map_err(map_database_error)?.into_iter().map(decode_key_record).collect())
    }

    async fn add_key(&self, key: &KeyRecord) -> Result<bool> {
        let key = key.clone();
        let added = query!(self.db, Write, |conn| {
            let row = (
                keys::name.eq(&key.name),
                keys::seal_id.eq(key.number(SEAL_KEY_KIND).map(i64::from)),
                keys::probe.eq(&key.fingerprint),
                keys::added_at.eq(key.added_at.as_micros()),
                keys::works_from.eq(key.active_from.as_micros()),
            );
            diesel::insert_into(keys::table).values(row).on_conflict_do_nothing().execute(conn).await
        });
        Ok(added.map_err(map_database_error)? > 0)
    }

    async fn set_fingerprint(&self, name: &str, fingerprint: &[u8]) -> Result<()> {
        let (name, fingerprint) = (name.to_owned(), fingerprint.to_owned());
        let updated = query!(self.db, Write, |conn| {
            let without_fingerprint = keys::table.filter(keys::name.eq(&name)).filter(keys::probe.is_null());
            diesel::update(without_fingerprint).set(keys::probe.eq(Some(&fingerprint))).execute(conn).await
        });
        updated.map(drop).map_err(map_database_error)
    }

    async fn retire_key(&self, name: &str) -> Result<KeyRetirement> {
        let name = name.to_owned();
        retirement_outcome(transaction!(self.db, SLOW_QUERY_TIMEOUTS, |conn| {
            let by_name = keys::table.filter(keys::name.eq(&name));
            let seal_id = by_name.select(keys::seal_id).first::<Option<i64>>(conn).await.optional()?.flatten();
            let mut rows = 0;
            if let Some(seal_id) = seal_id {
                rows += users::table.filter(users::seal_key_id.eq(seal_id)).count().get_result::<i64>(conn).await?;
                rows += apps::table.filter(apps::seal_key_id.eq(seal_id)).count().get_result::<i64>(conn).await?;
            }
            let deleted = if rows == 0 { diesel::delete(by_name).execute(conn).await? } else { 0 };
            Ok((rows, deleted))
        }))
    }

    async fn count_rows_by_key(&self) -> Result<Vec<KeyUsage>> {
        let rows: QueryResult<_> = query!(self.db, Read, SLOW_QUERY_TIMEOUTS, |conn| {
            async {
                let sealed = users::table.filter(users::seal_key_id.is_not_null()).group_by(users::seal_key_id);
                let user_counts =
                    sealed.select((users::seal_key_id, count_star())).load::<(Option<i64>, i64)>(conn).await?;
                let sealed = apps::table.group_by(apps::seal_key_id);
                let app_counts = sealed.select((apps::seal_key_id, count_star())).load::<(i64, i64)>(conn).await?;
                Ok((user_counts, app_counts))
            }
            .await
        });
        let (user_counts, app_counts) = rows.map_err(map_database_error)?;
        let mut counts: BTreeMap<i64, (u64, u64)> = BTreeMap::new();
        for (key, rows) in user_counts {
            counts.entry(key.unwrap_or_default()).or_default().0 += to_u64(rows)?;
        }
        for (key, rows) in app_counts {
            counts.entry(key).or_default().1 += to_u64(rows)?;
        }
        let to_key_id = |key: i64| KeyId::try_from(key).map_err(Error::internal);
        counts.into_iter().map(|(key, (users, apps))| Ok(KeyUsage { key: to_key_id(key)?, users, apps })).collect()
    }

    async fn sealed_users(&self, key: KeyId, after: i64, limit: u32) -> Result<Vec<SealedUser>> {
        let rows = query!(self.db, Read, |conn| {
            users::table
                .filter(users::seal_key_id.eq(i64::from(key)))
                .filter(users::number.gt(after))
                .order(users::number)
                .limit(limit.into())
                .select((users::number, users::id, users::seal_key_id, users::sealed))
                .load(conn)
                .await
        });
        rows.map_err(map_database_error)?
            .into_iter()
            .map(decode_sealed_user)
            .collect::<QueryResult<_>>()
            .map_err(map_database_error)
    }

    async fn sealed_apps(&self, key: KeyId) -> Result<Vec<App>> {
        let rows = query!(self.db, Read, |conn| {
            let sealed = apps::table.filter(apps::seal_key_id.eq(i64::from(key)));
            sealed.select(AppRow::as_select()).order(apps::name).load(conn).await
        });
        rows.map_err(map_database_error)?
            .into_iter()
            .map(AppRow::into_app)
            .collect::<QueryResult<_>>()
            .map_err(map_database_error)
    }

    async fn reseal_users(&self, changes: &[ResealedUser]) -> Result<u64> {
        let changes = changes.to_vec();
        let changed: QueryResult<usize> = transaction!(self.db, SLOW_QUERY_TIMEOUTS, |conn| {
            let mut changed = 0;
            for ResealedUser { id, old, new } in &changes {
                let unchanged_row = users::table
                    .filter(users::id.eq(id.as_bytes().as_slice()))
                    .filter(users::seal_key_id.eq(i64::from(old.key_id)))
                    .filter(users::sealed.eq(&old.bytes));
                let set = (users::seal_key_id.eq(i64::from(new.key_id)), users::sealed.eq(&new.bytes));
                changed += diesel::update(unchanged_row).set(set).execute(conn).await?;
            }
            Ok(changed)
        });
        u64::try_from(changed.map_err(map_database_error)?).map_err(Error::internal)
    }

    async fn reseal_app(&self, name: &str, old: &SealedSecret, new: &SealedSecret) -> Result<bool> {
        let (name, old, new) = (name.to_owned(), old.clone(), new.clone());
        let changed = query!(self.db, Write, |conn| {
            let unchanged_row = apps::table
                .filter(apps::name.eq(&name))
                .filter(apps::seal_key_id.eq(i64::from(old.key_id)))
                .filter(apps::sealed.eq(&old.bytes));
            let set = (apps::seal_key_id.eq(i64::from(new.key_id)), apps::sealed.eq(&new.bytes));
            diesel::update(unchanged_row).set(set).execute(conn).await
        });
        Ok(changed.map_err(map_database_error)? > 0)
    }

    async fn salted_logins_disabled_at(&self) -> Result<Option<Timestamp>> {
        let at = query!(self.db, Read, |conn| {
            facts::table.find(SALTED_LOGINS_DISABLED).select(facts::value).first::<i64>(conn).await.optional()
        });
        Ok(at.map_err(map_database_error)?.map(Timestamp::from_micros))
    }

    async fn disable_salted_logins(&self, now: Timestamp) -> Result<bool> {
        let fact = (facts::name.eq(SALTED_LOGINS_DISABLED), facts::value.eq(now.as_micros()));
        let disabled: QueryResult<usize> = match &*self.db {
            BackendConnections::Postgres(postgres) => {
                query!(@postgres postgres.pool, SLOW_QUERY_TIMEOUTS, |conn| {
                    conn.transaction(async |conn| {
                        // Waits for transactions that store a digest, and blocks new ones until the fact is committed.
                        diesel::sql_query("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE").execute(conn).await?;
                        diesel::insert_into(facts::table).values(fact).on_conflict_do_nothing().execute(conn).await
                    })
                    .await
                })
            }
            // SQLite runs one write at a time.
            BackendConnections::Sqlite(sqlite) => query!(@sqlite sqlite, Write, |conn| {
                diesel::insert_into(facts::table).values(fact).on_conflict_do_nothing().execute(conn).await
            }),
        };
        Ok(disabled.map_err(map_database_error)? > 0)
    }

    async fn enable_salted_logins(&self) -> Result<bool> {
        let enabled = query!(self.db, Write, |conn| diesel::delete(facts::table.find(SALTED_LOGINS_DISABLED))
            .execute(conn)
            .await);
        Ok(enabled.map_err(map_database_error)? > 0)
    }

    async fn count_sealed_digests(&self) -> Result<u64> {
        let rows = query!(self.db, Read, SLOW_QUERY_TIMEOUTS, |conn| {
            let sealed =
                users::table.filter(users::seal_key_id.is_not_null()).filter(not(sql::<Bool>(PENDING_CONDITION)));
            sealed.count().get_result::<i64>(conn).await
        });
        to_u64(rows.map_err(map_database_error)?)
    }

    async fn erase_sealed_digests(&self, limit: u32) -> Result<u64> {
        let erased: QueryResult<usize> = transaction!(self.db, SLOW_QUERY_TIMEOUTS, |conn| {
            // The hash of a user that waits for argon2id is only there: background hashing erases it.
            let sealed =
                users::table.filter(users::seal_key_id.is_not_null()).filter(not(sql::<Bool>(PENDING_CONDITION)));
            let sealed = sealed.limit(limit.into());
            let numbers: Vec<i64> = sealed.select(users::number).load(conn).await?;
            let no_digest = (users::seal_key_id.eq(None::<i64>), users::sealed.eq(None::<Vec<u8>>));
            diesel::update(users::table.filter(users::number.eq_any(numbers))).set(no_digest).execute(conn).await
        });
        u64::try_from(erased.map_err(map_database_error)?).map_err(Error::internal)
    }

    async fn record_salted_logins(&self, users: &[UserId], at: Timestamp) -> Result<()> {
        let ids: Vec<_> = users.iter().map(|user| user.as_bytes().to_vec()).collect();
        let at = at.as_micros();
        let updated = query!(self.db, Write, |conn| {
            let older = users::salted_at.is_null().or(users::salted_at.lt(at));
            diesel::update(users::table.filter(users::id.eq_any(&ids)).filter(older.assume_not_null()))
                .set(users::salted_at.eq(at))
                .execute(conn)
                .await
        });
        updated.map(drop).map_err(map_database_error)
    }

    async fn salted_login_usage(&self, since: Timestamp) -> Result<SaltedLoginUsage> {
        let found: QueryResult<((i64, Option<i64>), i64)> = query!(self.db, Read, SLOW_QUERY_TIMEOUTS, |conn| {
            async {
                let columns = (count(users::salted_at), max(users::salted_at));
                let with_login = users::table.filter(users::salted_at.is_not_null());
                let total = with_login.select(columns).first(conn).await?;
                let recent =
                    users::table.filter(users::salted_at.ge(since.as_micros())).count().get_result(conn).await?;
                Ok((total, recent))
            }
            .await
        });
        let ((users, last_login), recent) = found.map_err(map_database_error)?;
        let last_login = last_login.map(Timestamp::from_micros);
        Ok(SaltedLoginUsage { users: to_u64(users)?, recent_users: to_u64(recent)?, last_login })
    }
}
