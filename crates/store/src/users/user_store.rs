//! User store: accounts, apps, client tokens and used proofs. The macros of [`super::pool`] compile each query for both
//! backends.

use std::sync::Arc;

use async_trait::async_trait;
use diesel::dsl::{case_when, exists, not, sql};
use diesel::sql_types::{BigInt, Binary, Nullable, Text};
use diesel::{ExpressionMethods, IntoSql, QueryDsl, QueryResult, SelectableHelper};
use stele_core::app::{App, ClientToken};
use stele_core::common_passwords::ListedPasswordKey;
use stele_core::ports::{ServerClock, UsedProof, UserStore};
use stele_core::session::DialectName;
use stele_core::time::Timestamp;
use stele_core::user::{Account, ClientUserId, Credential, NewUser, User, UserId, UserRef, UserStatus};
use stele_core::{Error, Result};

use super::legacy_ids;
use super::pool::{BackendConnections, POSTGRES_TIMEOUTS, SLOW_QUERY_TIMEOUTS, change, found_change, query, read};
use super::rows::{AppRow, ClientTokenRow, CredentialRow, UserRow, encode_sealed_digest};
use super::schema::{apps, client_tokens, facts, identifiers, listed_passwords, used_proofs, users};
use crate::error::{is_unique_violation, map_database_error};

/// User store, key store and verifier store on one database.
pub(super) struct SqlStore {
    pub(super) db: Arc<BackendConnections>,
}

impl SqlStore {
    pub(super) fn new(db: Arc<BackendConnections>) -> Self {
        Self { db }
    }
}

/// Name of the row in the table `facts` that records that salted logins are disabled.
pub(super) const SALTED_LOGINS_DISABLED: &str = "salted_ended";

/// The value for a column of a sealed digest: NULL once salted logins are disabled, even if this process has not
/// noticed.
macro_rules! unless_salted_logins_disabled {
    ($value:expr) => {
        case_when(not(exists(facts::table.filter(facts::name.eq(SALTED_LOGINS_DISABLED)))), $value)
    };
}

pub(super) use unless_salted_logins_disabled;

/// The server's clock in microseconds. Unlike `now()`, it advances within a transaction.
const SERVER_CLOCK_SQL: &str = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/// Finds the change that set this epoch, a random number.
macro_rules! with_epoch {
    ($user:expr, $epoch:expr) => {
        users::table
            .filter(users::id.eq($user.as_bytes().as_slice()))
            .filter(users::epoch.eq($epoch))
            .select(found_change!(users::number))
    };
}

pub(super) type AccountRow = (i64, UserRow, CredentialRow);

/// Number of the decoy row, which is read for an unknown identifier, so that its lookup costs the same as for a known
/// identifier (prevents user enumeration by a timing side channel). The row is never returned as an account.
pub(super) const DECOY_NUMBER: i64 = 0;

diesel::define_sql_function! {
    fn coalesce(value: Nullable<BigInt>, otherwise: BigInt) -> BigInt;
}

diesel::define_sql_function! {
    #[sql_name = "coalesce"]
    fn first_text(value: Nullable<Text>, otherwise: Nullable<Text>) -> Nullable<Text>;
}

pub(super) fn account_from_row(row: Option<AccountRow>) -> Result<Option<Account>> {
    let account = row.map(|(number, user, credential)| credential.into_account(user.into_user(number)?));
    let account = account.transpose().map_err(map_database_error)?;
    Ok(account.filter(|account| account.user.number != DECOY_NUMBER))
}

/// Whether a row was inserted; `false` if its unique key exists.
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
        // No identifier contains NUL, and PostgreSQL rejects it.
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

    async fn find_for_login(&self, dialect: DialectName, key: &str) -> Result<Option<Account>> {
        legacy_ids::find_by_identifier(&self.db, dialect, key).await
    }

    async fn find_for_client(&self, dialect: DialectName, id: &ClientUserId) -> Result<Option<Account>> {
        legacy_ids::find_by_client_id(&self.db, dialect, id).await
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
        self.insert_user(new, None).await
    }

    async fn change_credential(&self, user: UserId, epoch: i64, next_epoch: i64, new: &Credential) -> Result<bool> {
        let (verifier, (seal_key_id, sealed)) = (new.verifier.clone(), encode_sealed_digest(new));
        let changed = change!(
            self.db,
            "change_credential",
            user.0,
            Statement,
            |conn| {
                diesel::update(
                    users::table.filter(users::id.eq(user.as_bytes().as_slice())).filter(users::epoch.eq(epoch)),
                )
                .set((
                    users::verifier.eq(&verifier),
                    users::seal_key_id.eq(unless_salted_logins_disabled!(seal_key_id.into_sql::<Nullable<BigInt>>())),
                    users::sealed.eq(unless_salted_logins_disabled!(sealed.clone().into_sql::<Nullable<Binary>>())),
                    users::epoch.eq(next_epoch),
                ))
                .execute(conn)
                .await
            },
            with_epoch!(user, next_epoch),
            |_| 1
        );
        Ok(changed.map_err(map_database_error)? > 0)
    }

    async fn upgrade_credential(&self, user: UserId, epoch: i64, old_verifier: &str, new: &Credential) -> Result<bool> {
        let old_verifier = old_verifier.to_owned();
        let (verifier, (seal_key_id, sealed)) = (new.verifier.clone(), encode_sealed_digest(new));
        let new_verifier = new.verifier.clone();
        let changed = change!(
            self.db,
            "upgrade_credential",
            user.0,
            Statement,
            |conn| {
                let by_id = users::table.filter(users::id.eq(user.as_bytes().as_slice()));
                diesel::update(by_id.filter(users::epoch.eq(epoch)).filter(users::verifier.eq(&old_verifier)))
                    .set((
                        users::verifier.eq(&verifier),
                        users::seal_key_id
                            .eq(unless_salted_logins_disabled!(seal_key_id.into_sql::<Nullable<BigInt>>())),
                        users::sealed.eq(unless_salted_logins_disabled!(sealed.clone().into_sql::<Nullable<Binary>>())),
                    ))
                    .execute(conn)
                    .await
            },
            users::table
                .filter(users::id.eq(user.as_bytes().as_slice()))
                .filter(users::verifier.eq(&new_verifier))
                .select(found_change!(users::number)),
            |_| 1
        );
        Ok(changed.map_err(map_database_error)? > 0)
    }

    async fn set_status(&self, user: UserId, status: UserStatus, next_epoch: i64) -> Result<bool> {
        let disabled = status == UserStatus::Disabled;
        let changed = change!(
            self.db,
            "set_status",
            user.0,
            Statement,
            |conn| {
                diesel::update(users::table.filter(users::id.eq(user.as_bytes().as_slice())))
                    .set((users::disabled.eq(disabled), users::epoch.eq(next_epoch)))
                    .execute(conn)
                    .await
            },
            with_epoch!(user, next_epoch),
            |_| 1
        );
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
        let users = rows.map_err(map_database_error)?.into_iter().map(|(number, row)| row.into_user(number));
        users.collect::<QueryResult<_>>().map_err(map_database_error)
    }

    async fn is_password_listed(&self, key: ListedPasswordKey) -> Result<bool> {
        let key = key.to_i64();
        let row = read!(self.db, i64, listed_passwords::table.find(key).select(listed_passwords::key));
        Ok(row?.is_some())
    }

    async fn find_app(&self, name: &str) -> Result<Option<App>> {
        // No app has an invalid name, and PostgreSQL rejects a text with NUL.
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
        let (name, sealed) = (app.name.clone(), app.secret.bytes.clone());
        was_inserted(change!(
            self.db,
            "add_app",
            app.name,
            Statement,
            |conn| diesel::insert_into(apps::table).values(&row).execute(conn).await,
            apps::table.find(&name).filter(apps::sealed.eq(&sealed)).select(found_change!(apps::created_at)),
            |_| 1
        ))
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
        let (name, hash) = (token.name.clone(), token.hash);
        was_inserted(change!(
            self.db,
            "add_client_token",
            token.name,
            Statement,
            |conn| diesel::insert_into(client_tokens::table).values(&row).execute(conn).await,
            client_tokens::table
                .find(&name)
                .filter(client_tokens::hash.eq(hash.as_slice()))
                .select(found_change!(client_tokens::created_at)),
            |_| 1
        ))
    }

    async fn mark_proof_used(&self, proof: &UsedProof) -> Result<bool> {
        let (key, expires) = (proof.key, proof.expires.as_micros());
        let added = change!(self.db, "mark_proof_used", |conn| {
            let row = (used_proofs::key.eq(key.as_slice()), used_proofs::expires.eq(expires));
            diesel::insert_into(used_proofs::table).values(row).on_conflict_do_nothing().execute(conn).await
        });
        Ok(added.map_err(map_database_error)? > 0)
    }

    async fn unmark_proof_used(&self, proof: &UsedProof) -> Result<()> {
        let key = proof.key;
        let deleted = change!(self.db, "unmark_proof_used", |conn| {
            diesel::delete(used_proofs::table.find(key.as_slice())).execute(conn).await
        });
        deleted.map(drop).map_err(map_database_error)
    }

    async fn delete_expired_proofs(&self, now: Timestamp, limit: u32) -> Result<u64> {
        let deleted: QueryResult<usize> = query!(self.db, Write, SLOW_QUERY_TIMEOUTS, |conn| {
            async {
                let expired = used_proofs::table.filter(used_proofs::expires.le(now.as_micros()));
                let expired = expired.order(used_proofs::expires).limit(limit.into()).select(used_proofs::key);
                let keys = expired.load::<Vec<u8>>(conn).await?;
                if keys.is_empty() {
                    return Ok(0);
                }
                diesel::delete(used_proofs::table.filter(used_proofs::key.eq_any(keys))).execute(conn).await
            }
            .await
        });
        u64::try_from(deleted.map_err(map_database_error)?).map_err(Error::internal)
    }

    async fn ping(&self) -> Result<()> {
        query!(self.db, Read, |conn| diesel::select(1.into_sql::<diesel::sql_types::Integer>()).execute(conn).await)
            .map(drop)
            .map_err(map_database_error)
    }

    async fn server_clocks(&self) -> Result<Vec<ServerClock>> {
        let BackendConnections::Postgres(postgres) = &*self.db else {
            return Ok(Vec::new());
        };
        let now: QueryResult<i64> = query!(@postgres postgres.pool, POSTGRES_TIMEOUTS, |conn| {
            diesel::select(sql::<BigInt>(SERVER_CLOCK_SQL)).get_result(conn).await
        });
        let now = Timestamp::from_micros(now.map_err(map_database_error)?);
        Ok(vec![ServerClock { server: String::new(), now }])
    }
}
