//! User store, key store and audit log: durable, in PostgreSQL or SQLite.

mod audit_log_store;
mod closure_store;
mod dialect_use_store;
mod dialect_use_writer;
mod import_batch;
mod import_lock;
mod import_lookup;
mod import_store;
mod insert_user;
mod key_store;
mod legacy_ids;
mod legacy_user_store;
mod oauth_registry;
mod oauth_rows;
mod password_list_store;
mod pool;
mod postgres;
mod rows;
mod schema;
mod shared_connections;
mod tls;
mod user_store;
mod verifier_store;

use std::sync::Arc;

use diesel::connection::{Connection, SimpleConnection};
use diesel_async::AsyncPgConnection;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use stele_core::ports::{
    AuditLogStore, ClosureStore, DialectUseStore, ImportStore, KeyStore, LegacyUserStore, OAuthRegistry,
    PasswordListStore, UserStore, VerifierStore,
};

use crate::migrate::{self, SchemaState};
use crate::sqlite::{self, Durability};
use crate::{DatabaseUrl, OpenError};
use audit_log_store::SqlAuditLogStore;
use pool::{
    ADMIN_CONNECT_TIMEOUT, AuditLogConnections, BackendConnections, PostgresConnection, PostgresConnections,
    prepare_connections,
};
use postgres::CheckedConnectError;
use user_store::SqlStore;

/// The users' database. All its stores share the same connections.
pub struct Database {
    url: DatabaseUrl,
    db: Arc<BackendConnections>,
    audit_log: Arc<AuditLogConnections>,
}

impl Database {
    /// The default of `max_connections`.
    pub const DEFAULT_CONNECTIONS: usize = 13;
    /// The least `max_connections`: one shared, one pooled, and one for the audit log.
    pub const MIN_CONNECTIONS: usize = 3;

    /// As [`open_with_limit`](Self::open_with_limit), with [`DEFAULT_CONNECTIONS`](Self::DEFAULT_CONNECTIONS).
    ///
    /// # Errors
    /// As [`open_with_limit`](Self::open_with_limit).
    pub fn open(url: &DatabaseUrl) -> Result<Self, OpenError> {
        Self::open_with_limit(url, Self::DEFAULT_CONNECTIONS)
    }

    /// Configures the database without connecting. Connections are made at the first call, and replaced after a loss.
    /// At most `max_connections`, at least [`MIN_CONNECTIONS`](Self::MIN_CONNECTIONS), exist at a PostgreSQL server at
    /// a time, those included that the server has not let go of.
    ///
    /// # Errors
    /// [`OpenError`] if the URL or a root certificate for it is invalid.
    pub fn open_with_limit(url: &DatabaseUrl, max_connections: usize) -> Result<Self, OpenError> {
        let (db, audit_log) = prepare_connections(url, max_connections)?;
        Ok(Self { url: url.clone(), db: Arc::new(db), audit_log: Arc::new(audit_log) })
    }

    /// Runs the pending migrations in one transaction, and creates a missing SQLite file. Concurrent calls, also of
    /// other processes, run one after another. Changes nothing if the schema is newer and this program can use it.
    ///
    /// # Errors
    /// [`OpenError`] if the database cannot be reached or changed, or is newer and this program cannot use it.
    pub async fn migrate(&self) -> Result<(), OpenError> {
        if let DatabaseUrl::Sqlite(path) = &self.url {
            sqlite::create_if_missing(path)?;
        }
        match self.schema_state().await? {
            SchemaState::Newer => return Err(OpenError::NewerSchema(self.url.clone())),
            SchemaState::NewerCompatible => return Ok(()),
            SchemaState::Empty | SchemaState::Older | SchemaState::Current => {}
        }
        let target = self.url.clone();
        let task = match &*self.db {
            BackendConnections::Sqlite(sqlite) => {
                let path = sqlite.path().to_owned();
                tokio::task::spawn_blocking(move || {
                    let mut conn = sqlite::open_connection(&path, Durability::SurvivesPowerLoss)
                        .map_err(|e| unreachable_error(&target, e))?;
                    conn.immediate_transaction(|conn| migrate::run_pending_migrations(conn, migrate::USERS_SQLITE))
                        .map_err(|e| OpenError::MigrationFailed { target, cause: e.to_string() })
                })
            }
            BackendConnections::Postgres(postgres) => {
                let (conn, control) = self.connect_for_migration(postgres).await?.into_parts();
                tokio::task::spawn_blocking(move || {
                    // Dropped after the connection.
                    let _control = control;
                    let mut conn = AsyncConnectionWrapper::<AsyncPgConnection>::from(conn);
                    Connection::transaction(&mut conn, |conn| {
                        // Serializes concurrent migrations. The key is "stele" in ASCII.
                        conn.batch_execute("SELECT pg_advisory_xact_lock(495874794597)")?;
                        migrate::run_pending_migrations(conn, migrate::USERS_POSTGRES)
                    })
                    .map_err(|e| OpenError::MigrationFailed { target, cause: e.to_string() })
                })
            }
        };
        task.await.map_err(|e| OpenError::MigrationFailed { target: self.url.clone(), cause: e.to_string() })?
    }

    /// Compares the schema with this program's migrations. Writes nothing. A missing SQLite file counts as empty.
    ///
    /// # Errors
    /// [`OpenError`] if the database cannot be reached, or the file is not an SQLite database.
    pub async fn schema_state(&self) -> Result<SchemaState, OpenError> {
        match &*self.db {
            BackendConnections::Sqlite(sqlite) => self.sqlite_schema_state(sqlite.path().to_owned()).await,
            BackendConnections::Postgres(postgres) => self.postgres_schema_state(postgres).await,
        }
    }

    /// The user store of this database.
    pub fn users(&self) -> Arc<dyn UserStore> {
        Arc::new(SqlStore::new(Arc::clone(&self.db)))
    }

    /// The users of this database as the old servers know them.
    pub fn legacy_users(&self) -> Arc<dyn LegacyUserStore> {
        Arc::new(SqlStore::new(Arc::clone(&self.db)))
    }

    /// The key store of this database: the registered keys, and the rows sealed under them.
    pub fn keys(&self) -> Arc<dyn KeyStore> {
        Arc::new(SqlStore::new(Arc::clone(&self.db)))
    }

    /// The store of imported password hashes that are not yet wrapped in argon2id.
    pub fn verifiers(&self) -> Arc<dyn VerifierStore> {
        Arc::new(SqlStore::new(Arc::clone(&self.db)))
    }

    /// The operator's list of common passwords.
    pub fn password_list(&self) -> Arc<dyn PasswordListStore> {
        Arc::new(SqlStore::new(Arc::clone(&self.db)))
    }

    /// The store of imports of this database.
    pub fn imports(&self) -> Arc<dyn ImportStore> {
        Arc::new(SqlStore::new(Arc::clone(&self.db)))
    }

    /// The registry of OAuth clients and resource servers of this database.
    pub fn oauth_registry(&self) -> Arc<dyn OAuthRegistry> {
        Arc::new(SqlStore::new(Arc::clone(&self.db)))
    }

    /// The audit log of this database.
    pub fn audit_log(&self) -> Arc<dyn AuditLogStore> {
        Arc::new(SqlAuditLogStore::new(Arc::clone(&self.db), Arc::clone(&self.audit_log)))
    }

    /// The use of dialects, which the audit log writes.
    pub fn dialect_use(&self) -> Arc<dyn DialectUseStore> {
        Arc::new(SqlStore::new(Arc::clone(&self.db)))
    }

    /// The closures of dialects.
    pub fn closures(&self) -> Arc<dyn ClosureStore> {
        Arc::new(SqlStore::new(Arc::clone(&self.db)))
    }

    async fn sqlite_schema_state(&self, path: std::path::PathBuf) -> Result<SchemaState, OpenError> {
        if !path.exists() {
            return Ok(SchemaState::Empty);
        }
        let task = tokio::task::spawn_blocking(move || {
            sqlite::check_existing(&path)?;
            let target = DatabaseUrl::Sqlite(path.clone());
            let mut conn = sqlite::open_connection(&path, Durability::SurvivesPowerLoss)
                .map_err(|e| unreachable_error(&target, e))?;
            let applied = migrate::applied_schema_sqlite(&mut conn, &migrate::USERS_SQLITE)
                .map_err(|e| unreachable_error(&target, e))?;
            migrate::compare_schema::<diesel::sqlite::Sqlite>(&migrate::USERS_SQLITE, &applied)
                .map_err(|e| unreachable_error(&target, e))
        });
        task.await.map_err(|e| unreachable_error(&self.url, e))?
    }

    async fn postgres_schema_state(&self, postgres: &PostgresConnections) -> Result<SchemaState, OpenError> {
        let mut connection = self.connect_for_migration(postgres).await?;
        let (conn, _) = connection.parts();
        let applied = migrate::applied_schema_postgres(conn, &migrate::USERS_POSTGRES)
            .await
            .map_err(|e| unreachable_error(&self.url, e))?;
        migrate::compare_schema::<diesel::pg::Pg>(&migrate::USERS_POSTGRES, &applied)
            .map_err(|e| unreachable_error(&self.url, e))
    }

    /// Connects in a slot of the pool, without the pool's statement timeout: migrations may take long. Rejects a
    /// connection pooler that shares sessions between clients.
    async fn connect_for_migration(&self, postgres: &PostgresConnections) -> Result<PostgresConnection, OpenError> {
        let connected = tokio::time::timeout(ADMIN_CONNECT_TIMEOUT, postgres.pool.connect_checked()).await;
        let no_answer = || format!("no answer within {} s", ADMIN_CONNECT_TIMEOUT.as_secs());
        connected.unwrap_or_else(|_| Err(CheckedConnectError::Unreachable(no_answer()))).map_err(|e| match e {
            CheckedConnectError::SharedSessions => OpenError::SharedSessions(self.url.clone()),
            CheckedConnectError::Unreachable(cause) => unreachable_error(&self.url, cause),
        })
    }
}

fn unreachable_error(target: &DatabaseUrl, cause: impl std::fmt::Display) -> OpenError {
    OpenError::Unreachable { target: target.clone(), cause: cause.to_string() }
}
