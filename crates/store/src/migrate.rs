//! Schema migrations: the embedded migrations, and the schema version of a database.

use diesel::backend::Backend;
use diesel::migration::{MigrationSource, MigrationVersion};
use diesel::sql_types::Bool;
use diesel::{QueryDsl, QueryResult, SqliteConnection, dsl};
use diesel_async::AsyncPgConnection;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

pub(crate) const USERS_SQLITE: EmbeddedMigrations = embed_migrations!("migrations/users-sqlite");
pub(crate) const USERS_POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/users-postgres");
pub(crate) const STATE_SQLITE: EmbeddedMigrations = embed_migrations!("migrations/state-sqlite");

/// The schema of a database compared with this program's migrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaState {
    /// No migration is applied: migrate.
    Empty,
    /// Migrations are pending: migrate.
    Older,
    /// All migrations of this program are applied, and no others.
    Current,
    /// A migration is applied that this program does not have: a newer version has migrated.
    Newer,
}

type MigrationError = Box<dyn std::error::Error + Send + Sync>;

diesel::table! {
    // Diesel's journal of applied migrations.
    __diesel_schema_migrations (version) {
        version -> Text,
    }
}
use __diesel_schema_migrations::dsl as journal;

/// Compares the `applied` versions with the `embedded` migrations of this program.
pub(crate) fn compare_schema<DB: Backend>(
    embedded: &EmbeddedMigrations,
    applied: &[String],
) -> Result<SchemaState, MigrationError> {
    let migrations = MigrationSource::<DB>::migrations(embedded)?;
    let versions: Vec<String> = migrations.iter().map(|m| m.name().version().to_string()).collect();
    // Compared as sets: a migration added between two applied ones is pending as well.
    Ok(if applied.is_empty() {
        SchemaState::Empty
    } else if applied.iter().any(|version| !versions.contains(version)) {
        SchemaState::Newer
    } else if versions.iter().any(|version| !applied.contains(version)) {
        SchemaState::Older
    } else {
        SchemaState::Current
    })
}

/// Runs the pending migrations. The caller holds a transaction and a lock, so that either all pending migrations are
/// applied, once, or none.
pub(crate) fn run_pending_migrations<C, DB>(conn: &mut C, embedded: EmbeddedMigrations) -> Result<(), MigrationError>
where
    DB: Backend,
    C: MigrationHarness<DB>,
{
    let applied: Vec<String> = conn.applied_migrations()?.iter().map(MigrationVersion::to_string).collect();
    match compare_schema::<DB>(&embedded, &applied)? {
        SchemaState::Current => Ok(()),
        SchemaState::Newer => Err("a newer version of Stele has migrated the schema".into()),
        SchemaState::Empty | SchemaState::Older => conn.run_pending_migrations(embedded).map(drop),
    }
}

// The catalogue is queried first because reading the journal of an empty database fails, and creating it is a write.
const SQLITE_JOURNAL_EXISTS: &str = "EXISTS (SELECT 1 FROM sqlite_master WHERE name = '__diesel_schema_migrations')";
const POSTGRES_JOURNAL_EXISTS: &str = "to_regclass('__diesel_schema_migrations') IS NOT NULL";

/// Applied migration versions of an SQLite file; empty for an empty file. Writes nothing.
pub(crate) fn applied_versions_sqlite(conn: &mut SqliteConnection) -> QueryResult<Vec<String>> {
    use diesel::RunQueryDsl;
    if !diesel::select(dsl::sql::<Bool>(SQLITE_JOURNAL_EXISTS)).get_result::<bool>(conn)? {
        return Ok(Vec::new());
    }
    journal::__diesel_schema_migrations.select(journal::version).load(conn)
}

/// Applied migration versions of a PostgreSQL database; empty for an empty database. Writes nothing.
pub(crate) async fn applied_versions_postgres(conn: &mut AsyncPgConnection) -> QueryResult<Vec<String>> {
    use diesel_async::RunQueryDsl;
    if !diesel::select(dsl::sql::<Bool>(POSTGRES_JOURNAL_EXISTS)).get_result::<bool>(conn).await? {
        return Ok(Vec::new());
    }
    journal::__diesel_schema_migrations.select(journal::version).load(conn).await
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use diesel::pg::Pg;
    use diesel::sqlite::Sqlite;

    use super::*;

    fn migration_versions<DB: Backend>(known: &EmbeddedMigrations) -> Vec<String> {
        let migrations = MigrationSource::<DB>::migrations(known).unwrap();
        migrations.iter().map(|migration| migration.name().version().to_string()).collect()
    }

    #[test]
    fn migration_versions_are_unique() {
        let sets = [
            migration_versions::<Sqlite>(&USERS_SQLITE),
            migration_versions::<Sqlite>(&STATE_SQLITE),
            migration_versions::<Pg>(&USERS_POSTGRES),
        ];
        for versions in sets {
            assert_eq!(versions.iter().collect::<HashSet<_>>().len(), versions.len(), "{versions:?}");
        }
    }
}
