//! The queries. Each is written once, and compiled for either backend by the macros of [`super::pool`].

use std::sync::Arc;

use async_trait::async_trait;
use diesel::dsl::{case_when, exists, not};
use diesel::sql_types::{BigInt, Binary, Nullable};
use diesel::{
    ExpressionMethods, IntoSql, OptionalExtension, QueryDsl, QueryResult, SelectableHelper, SqliteConnection,
};
use diesel_async::AsyncConnection;
use diesel_async::pooled_connection::deadpool::Object;
use stele_core::app::{App, ClientToken};
use stele_core::ports::{UsedProof, UserStore};
use stele_core::time::Timestamp;
use stele_core::user::{Account, Credential, NewUser, User, UserId, UserRef, UserStatus};
use stele_core::{Error, Result};

use super::pool::{
    BackendConnections, POSTGRES_CONFIG, PooledConnection, PostgresConnections, SLOW_QUERY_CONFIG, query, read,
    resolve_now, transaction,
};
use super::rows::{AppRow, ClientTokenRow, CredentialRow, UserRow, sealed_columns};
use super::schema::{apps, client_tokens, facts, identifiers, used_proofs, users};
use super::shared_connections;
use crate::error::{is_unique_violation, map_database_error};
use crate::sqlite::thread::Access;

pub(super) struct SqlStore {
    pub(super) db: Arc<BackendConnections>,
}

impl SqlStore {
    pub(super) fn new(db: Arc<BackendConnections>) -> Self {
        Self { db }
    }
}

/// The fact that salted dialects are ended, by its name.
pub(super) const SALTED_ENDED: &str = "salted_ended";

/// A column of a sealed digest: empty once salted dialects are ended, whatever the process that writes has heard.
macro_rules! allowed {
    ($value:expr) => {
        case_when(not(exists(facts::table.filter(facts::name.eq(SALTED_ENDED)))), $value)
    };
}

type AccountRow = (i64, UserRow, CredentialRow);

/// The number of the decoy: the row that is read for an identifier that no user has, so that it costs as much as a
/// user's. It is never given out as an account.
const DECOY_NUMBER: i64 = 0;

diesel::define_sql_function! {
    fn coalesce(value: Nullable<BigInt>, otherwise: BigInt) -> BigInt;
}

fn account_from_row(row: Option<AccountRow>) -> Result<Option<Account>> {
    let account = row.map(|(number, person, secret)| secret.into_account(person.into_user(number)?));
    let account = account.transpose().map_err(map_database_error)?;
    Ok(account.filter(|account| account.user.number != DECOY_NUMBER))
}

/// Whether a row was stored; `false` if one like it is there.
fn was_inserted(outcome: QueryResult<usize>) -> Result<bool> {
    match outcome {
        Ok(_) => Ok(true),
        Err(error) if is_unique_violation(&error) => Ok(false),
        Err(error) => Err(map_database_error(error)),
    }
}

#[async_trait]
impl UserStore for SqlStore {
    async fn find_by_identifier(&self, key: &str) -> Result<Option<Account>> {
        // PostgreSQL has no such text and would complain.
        if key.contains('\0') {
            return Ok(None);
        }
        let key = key.to_owned();
        let row = read!(
            self.db,
            AccountRow,
            users::table
                .filter(users::number.eq(coalesce(
                    identifiers::table.filter(identifiers::key.eq(&key)).select(identifiers::number).single_value(),
                    DECOY_NUMBER
                )))
                .select((users::number, UserRow::as_select(), CredentialRow::as_select()))
        );
        account_from_row(row?)
    }

    async fn find_by_ref(&self, user: UserRef) -> Result<Option<Account>> {
        let row = match user {
            UserRef::Id(id) => read!(
                self.db,
                AccountRow,
                users::table.filter(users::id.eq(id.as_bytes().as_slice())).select((
                    users::number,
                    UserRow::as_select(),
                    CredentialRow::as_select()
                ))
            ),
            UserRef::Number(number) => read!(
                self.db,
                AccountRow,
                users::table.filter(users::number.eq(number)).select((
                    users::number,
                    UserRow::as_select(),
                    CredentialRow::as_select()
                ))
            ),
        };
        account_from_row(row?)
    }

    async fn add(&self, new: &NewUser) -> Result<Option<User>> {
        let person = UserRow::new(new);
        if person.has_nul() {
            return Err(Error::Invalid("profile"));
        }
        let (row, verifier) = (person.clone(), new.credential.verifier.clone());
        let (seal_key_id, sealed) = sealed_columns(&new.credential);
        let keys: Vec<_> = new.identifier_keys().into_iter().map(str::to_owned).collect();
        let added: QueryResult<Option<i64>> = transaction!(self.db, |conn| {
            // Asked first, because in PostgreSQL a failed insert uses up a number.
            let taken =
                identifiers::table.filter(identifiers::key.eq_any(&keys)).count().get_result::<i64>(conn).await?;
            if taken > 0 {
                return Ok(None);
            }
            let sealing = (
                users::seal_key_id.eq(allowed!(seal_key_id.into_sql::<Nullable<BigInt>>())),
                users::sealed.eq(allowed!(sealed.clone().into_sql::<Nullable<Binary>>())),
            );
            let secret = (users::verifier.eq(&verifier), users::epoch.eq(0), sealing);
            let insert = diesel::insert_into(users::table).values((&row, secret));
            let number = insert.returning(users::number).get_result::<i64>(conn).await?;
            // One by one and in order, so that two who want the same keys wait for each other rather than both.
            for key in &keys {
                let row = (identifiers::key.eq(key), identifiers::number.eq(number));
                diesel::insert_into(identifiers::table).values(row).execute(conn).await?;
            }
            Ok(Some(number))
        });
        match added {
            Ok(Some(number)) => person.into_user(number).map(Some).map_err(map_database_error),
            Ok(None) => Ok(None),
            Err(error) if is_unique_violation(&error) => Ok(None),
            Err(error) => Err(map_database_error(error)),
        }
    }

    async fn change_credential(&self, user: UserId, epoch: i64, next: i64, new: &Credential) -> Result<bool> {
        let (verifier, (seal_key_id, sealed)) = (new.verifier.clone(), sealed_columns(new));
        let changed = query!(self.db, Write, |conn| {
            diesel::update(users::table.filter(users::id.eq(user.as_bytes().as_slice())).filter(users::epoch.eq(epoch)))
                .set((
                    users::verifier.eq(&verifier),
                    users::seal_key_id.eq(allowed!(seal_key_id.into_sql::<Nullable<BigInt>>())),
                    users::sealed.eq(allowed!(sealed.clone().into_sql::<Nullable<Binary>>())),
                    users::epoch.eq(next),
                ))
                .execute(conn)
                .await
        });
        Ok(changed.map_err(map_database_error)? > 0)
    }

    async fn upgrade_credential(&self, user: UserId, epoch: i64, old: &str, new: &Credential) -> Result<bool> {
        let old = old.to_owned();
        let (verifier, (seal_key_id, sealed)) = (new.verifier.clone(), sealed_columns(new));
        let changed = query!(self.db, Write, |conn| {
            let one = users::table.filter(users::id.eq(user.as_bytes().as_slice()));
            diesel::update(one.filter(users::epoch.eq(epoch)).filter(users::verifier.eq(&old)))
                .set((
                    users::verifier.eq(&verifier),
                    users::seal_key_id.eq(allowed!(seal_key_id.into_sql::<Nullable<BigInt>>())),
                    users::sealed.eq(allowed!(sealed.clone().into_sql::<Nullable<Binary>>())),
                ))
                .execute(conn)
                .await
        });
        Ok(changed.map_err(map_database_error)? > 0)
    }

    async fn set_status(&self, user: UserId, status: UserStatus, next: i64) -> Result<bool> {
        let disabled = status == UserStatus::Disabled;
        let changed = query!(self.db, Write, |conn| {
            diesel::update(users::table.filter(users::id.eq(user.as_bytes().as_slice())))
                .set((users::disabled.eq(disabled), users::epoch.eq(next)))
                .execute(conn)
                .await
        });
        Ok(changed.map_err(map_database_error)? > 0)
    }

    async fn list(&self, after: i64, limit: u32) -> Result<Vec<User>> {
        let rows = query!(self.db, Read, |conn| {
            users::table
                .filter(users::number.gt(after.max(DECOY_NUMBER)))
                .order(users::number)
                .limit(limit.into())
                .select((users::number, UserRow::as_select()))
                .load::<(i64, UserRow)>(conn)
                .await
        });
        let users = rows.map_err(map_database_error)?.into_iter().map(|(number, person)| person.into_user(number));
        users.collect::<QueryResult<_>>().map_err(map_database_error)
    }

    async fn find_app(&self, name: &str) -> Result<Option<App>> {
        // Nor could it be stored; and PostgreSQL has no text with a NUL in it.
        if !App::is_valid_name(name) {
            return Ok(None);
        }
        let name = name.to_owned();
        let row = read!(self.db, AppRow, apps::table.find(&name).select(AppRow::as_select()));
        row?.map(AppRow::into_app).transpose().map_err(map_database_error)
    }

    async fn add_app(&self, app: &App) -> Result<bool> {
        if !std::iter::once(&app.name).chain(&app.may_token).all(|name| App::is_valid_name(name)) {
            return Err(Error::Invalid("app"));
        }
        let row = AppRow::new(app);
        was_inserted(query!(self.db, Write, |conn| diesel::insert_into(apps::table).values(&row).execute(conn).await))
    }

    async fn find_client_token(&self, hash: &[u8; 32]) -> Result<Option<ClientToken>> {
        let hash = *hash;
        let row = read!(
            self.db,
            ClientTokenRow,
            client_tokens::table.filter(client_tokens::hash.eq(hash.as_slice())).select(ClientTokenRow::as_select())
        );
        row?.map(ClientTokenRow::into_client_token).transpose().map_err(map_database_error)
    }

    async fn add_client_token(&self, token: &ClientToken) -> Result<bool> {
        if token.name.contains('\0') {
            return Err(Error::Invalid("name"));
        }
        let row = ClientTokenRow::new(token);
        was_inserted(query!(self.db, Write, |conn| diesel::insert_into(client_tokens::table)
            .values(&row)
            .execute(conn)
            .await))
    }

    async fn mark_proof_used(&self, proof: &UsedProof) -> Result<bool> {
        let (key, expires) = (proof.key, proof.expires.as_micros());
        let added = query!(self.db, Write, |conn| {
            let row = (used_proofs::key.eq(key.as_slice()), used_proofs::expires.eq(expires));
            diesel::insert_into(used_proofs::table).values(row).on_conflict_do_nothing().execute(conn).await
        });
        Ok(added.map_err(map_database_error)? > 0)
    }

    async fn unmark_proof_used(&self, proof: &UsedProof) -> Result<()> {
        let key = proof.key;
        let gone = query!(self.db, Write, |conn| {
            diesel::delete(used_proofs::table.find(key.as_slice())).execute(conn).await
        });
        gone.map(drop).map_err(map_database_error)
    }

    async fn delete_expired_proofs(&self, now: Timestamp, limit: u32) -> Result<u64> {
        let gone: QueryResult<usize> = query!(self.db, Write, SLOW_QUERY_CONFIG, |conn| {
            async {
                let old = used_proofs::table.filter(used_proofs::expires.le(now.as_micros()));
                let old = old.order(used_proofs::expires).limit(limit.into()).select(used_proofs::key);
                let old = old.load::<Vec<u8>>(conn).await?;
                if old.is_empty() {
                    return Ok(0);
                }
                diesel::delete(used_proofs::table.filter(used_proofs::key.eq_any(old))).execute(conn).await
            }
            .await
        });
        u64::try_from(gone.map_err(map_database_error)?).map_err(Error::internal)
    }

    async fn ping(&self) -> Result<()> {
        query!(self.db, Read, |conn| diesel::select(1.into_sql::<diesel::sql_types::Integer>()).execute(conn).await)
            .map(drop)
            .map_err(map_database_error)
    }
}
