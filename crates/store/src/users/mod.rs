//! Users, apps, client tokens, the keys in service and the audit trail: durable, in PostgreSQL or SQLite.

mod keys;
mod lanes;
mod pool;
mod postgres;
mod queries;
mod rows;
mod schema;
mod tls;
mod trail;
mod verifiers;

use std::sync::Arc;

use diesel::connection::{Connection, SimpleConnection};
use diesel_async::AsyncPgConnection;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use stele_core::ports::{KeyStore, TrailStore, UserStore, VerifierStore};

use crate::migrate::{self, SchemaState};
use crate::sqlite::{self, Durability};
use crate::{OpenError, Target};
use pool::{ADMIN_LIMIT, Db};
use postgres::Server;
use queries::Users;
use trail::Trail;

/// The database that users are kept in.
pub struct Database {
    target: Target,
    db: Arc<Db>,
}

impl Database {
    /// Takes up `target` without connecting to it: that happens when it is first used, and again whenever it was lost.
    ///
    /// # Errors
    /// [`OpenError`] if what it says cannot be read.
    pub fn open(target: &Target) -> Result<Self, OpenError> {
        let db = Db::new(target)?;
        Ok(Self { target: target.clone(), db: Arc::new(db) })
    }

    /// Brings the schema up to date, making the SQLite file if it is not there. Any number of programs may do so at
    /// once.
    ///
    /// # Errors
    /// [`OpenError`] if the database cannot be reached or changed, or is newer than this program.
    pub async fn migrate(&self) -> Result<(), OpenError> {
        if let Target::Sqlite(path) = &self.target {
            sqlite::prepare(path)?;
        }
        if self.schema().await? == SchemaState::Newer {
            return Err(OpenError::Newer(self.target.clone()));
        }
        let target = self.target.clone();
        let task = match &self.target {
            Target::Sqlite(path) => {
                let path = path.clone();
                tokio::task::spawn_blocking(move || {
                    let mut conn = sqlite::connect(&path, Durability::Power).map_err(|e| unreachable(&target, e))?;
                    conn.immediate_transaction(|conn| migrate::run(conn, migrate::USERS_SQLITE))
                        .map_err(|e| OpenError::Migration { target, cause: e.to_string() })
                })
            }
            Target::Postgres(url) => {
                let conn = self.connect(url).await?;
                tokio::task::spawn_blocking(move || {
                    let mut conn = AsyncConnectionWrapper::<AsyncPgConnection>::from(conn);
                    Connection::transaction(&mut conn, |conn| {
                        // One at a time; the number is ours alone ("stele" in ASCII).
                        conn.batch_execute("SELECT pg_advisory_xact_lock(495874794597)")?;
                        migrate::run(conn, migrate::USERS_POSTGRES)
                    })
                    .map_err(|e| OpenError::Migration { target, cause: e.to_string() })
                })
            }
        };
        task.await.map_err(|e| OpenError::Migration { target: self.target.clone(), cause: e.to_string() })?
    }

    /// How the schema stands to the one this program knows. Writes nothing; a missing SQLite file is empty.
    ///
    /// # Errors
    /// [`OpenError`] if the database cannot be reached or is not one.
    pub async fn schema(&self) -> Result<SchemaState, OpenError> {
        match &self.target {
            Target::Sqlite(path) => self.schema_sqlite(path.clone()).await,
            Target::Postgres(url) => self.schema_postgres(url).await,
        }
    }

    /// The users in this database.
    pub fn users(&self) -> Arc<dyn UserStore> {
        Arc::new(Users::new(Arc::clone(&self.db)))
    }

    /// The keys in service on this database.
    pub fn keys(&self) -> Arc<dyn KeyStore> {
        Arc::new(Users::new(Arc::clone(&self.db)))
    }

    /// The verifiers of the users in this database.
    pub fn verifiers(&self) -> Arc<dyn VerifierStore> {
        Arc::new(Users::new(Arc::clone(&self.db)))
    }

    /// The audit trail in this database.
    pub fn trail(&self) -> Arc<dyn TrailStore> {
        Arc::new(Trail::new(Arc::clone(&self.db)))
    }

    async fn schema_sqlite(&self, path: std::path::PathBuf) -> Result<SchemaState, OpenError> {
        if !path.exists() {
            return Ok(SchemaState::Empty);
        }
        let task = tokio::task::spawn_blocking(move || {
            sqlite::check(&path)?;
            let target = Target::Sqlite(path.clone());
            let mut conn = sqlite::connect(&path, Durability::Power).map_err(|e| unreachable(&target, e))?;
            let applied = migrate::applied_sqlite(&mut conn).map_err(|e| unreachable(&target, e))?;
            migrate::compare::<diesel::sqlite::Sqlite>(&migrate::USERS_SQLITE, &applied)
                .map_err(|e| unreachable(&target, e))
        });
        task.await.map_err(|e| unreachable(&self.target, e))?
    }

    async fn schema_postgres(&self, url: &str) -> Result<SchemaState, OpenError> {
        let mut conn = self.connect(url).await?;
        let applied = migrate::applied_postgres(&mut conn).await.map_err(|e| unreachable(&self.target, e))?;
        migrate::compare::<diesel::pg::Pg>(&migrate::USERS_POSTGRES, &applied).map_err(|e| unreachable(&self.target, e))
    }

    /// A connection of its own, without the pool's limits on statements: migrations may take long.
    async fn connect(&self, url: &str) -> Result<AsyncPgConnection, OpenError> {
        let server = Server::parse(url)?;
        tokio::time::timeout(ADMIN_LIMIT, server.connect())
            .await
            .map_err(|e| unreachable(&self.target, e))?
            .map_err(|e| unreachable(&self.target, e))
    }
}

fn unreachable(target: &Target, cause: impl std::fmt::Display) -> OpenError {
    OpenError::Unreachable { target: target.clone(), cause: cause.to_string() }
}
