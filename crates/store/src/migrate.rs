//! Schema migrations: the embedded migrations, the schema version of a database, and which programs can use a schema.
//!
//! A database declares the oldest program that can use its schema, so that an instance of an earlier version can
//! restart after a migration (`docs/adr/0049`). A program's number is that of its newest migration.

use diesel::backend::Backend;
use diesel::connection::SimpleConnection;
use diesel::migration::{MigrationSource, MigrationVersion};
use diesel::sql_types::{BigInt, Bool, Nullable};
use diesel::{QueryDsl, QueryResult, SqliteConnection, dsl};
use diesel_async::AsyncPgConnection;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

/// The number of the oldest program that can use the users' database once all migrations of this program are applied.
/// A program reads and writes as before after a migration that only adds, so such a migration leaves this number; any
/// other raises it, and states the number in its `up.sql` (a test compares the two; CONTRIBUTING.md has the rules).
const OLDEST_USERS_PROGRAM: i64 = 14;

/// As [`OLDEST_USERS_PROGRAM`], of the embedded state store.
const OLDEST_STATE_PROGRAM: i64 = 5;

/// The number of the oldest program that can verify imported hashes which wait for argon2id. The first import declares
/// it: to earlier programs every password of such a user would be wrong.
const OLDEST_PROGRAM_WITH_IMPORTS: i64 = 17;

/// A statement: declares that only programs which can verify waiting hashes can use the users' database.
pub(crate) fn declare_imports_sql() -> String {
    USERS_DECLARATION.raise_sql(OLDEST_PROGRAM_WITH_IMPORTS)
}

pub(crate) const USERS_SQLITE: Schema = Schema {
    migrations: embed_migrations!("migrations/users-sqlite"),
    oldest_program: OLDEST_USERS_PROGRAM,
    declaration: USERS_DECLARATION,
};
pub(crate) const USERS_POSTGRES: Schema = Schema {
    migrations: embed_migrations!("migrations/users-postgres"),
    oldest_program: OLDEST_USERS_PROGRAM,
    declaration: USERS_DECLARATION,
};
pub(crate) const STATE_SQLITE: Schema = Schema {
    migrations: embed_migrations!("migrations/state-sqlite"),
    oldest_program: OLDEST_STATE_PROGRAM,
    declaration: Declaration { table: "meta", key_column: "key" },
};

const USERS_DECLARATION: Declaration = Declaration { table: "facts", key_column: "name" };

/// The migrations of a database, and which programs can use the schema that they result in.
pub(crate) struct Schema {
    migrations: EmbeddedMigrations,
    oldest_program: i64,
    declaration: Declaration,
}

/// Where a database declares the oldest program that can use its schema: the row with the key `oldest_program`.
struct Declaration {
    table: &'static str,
    key_column: &'static str,
}

impl Declaration {
    /// An expression: the declared number; NULL if a version without declarations has migrated the database.
    fn select_sql(&self) -> String {
        format!("(SELECT value FROM {} WHERE {} = 'oldest_program')", self.table, self.key_column)
    }

    /// Declares `oldest_program` unless a higher number is declared.
    fn raise_sql(&self, oldest_program: i64) -> String {
        let Self { table, key_column } = self;
        format!(
            "INSERT INTO {table} ({key_column}, value) VALUES ('oldest_program', {oldest_program}) \
             ON CONFLICT ({key_column}) DO UPDATE SET value = excluded.value WHERE {table}.value < excluded.value"
        )
    }
}

/// What a database records of its schema.
#[derive(Default)]
pub(crate) struct AppliedSchema {
    /// The versions of the applied migrations; empty for an empty database.
    versions: Vec<String>,
    /// The number of the oldest program that can use the schema, if it is declared.
    oldest_program: Option<i64>,
}

/// The schema of a database compared with this program's migrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaState {
    /// No migration is applied: migrate.
    Empty,
    /// Migrations are pending: migrate.
    Older,
    /// All migrations of this program are applied, and no others.
    Current,
    /// A newer version has migrated, and the database declares that this program can use the schema.
    NewerCompatible,
    /// A migration is applied that this program does not have, and this program cannot use the schema.
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

/// The number of a migration's version, `14` of `0014`; `None` for a version of another form.
fn migration_number(version: &str) -> Option<i64> {
    version.parse().ok()
}

/// Compares the `applied` schema with the migrations of this program.
pub(crate) fn compare_schema<DB: Backend>(
    schema: &Schema,
    applied: &AppliedSchema,
) -> Result<SchemaState, MigrationError> {
    let migrations = MigrationSource::<DB>::migrations(&schema.migrations)?;
    let versions: Vec<String> = migrations.iter().map(|m| m.name().version().to_string()).collect();
    // Compared as sets: a migration added between two applied ones is pending as well.
    let is_complete = versions.iter().all(|version| applied.versions.contains(version));
    let mut unknown = applied.versions.iter().filter(|version| !versions.contains(version)).peekable();
    Ok(match (unknown.peek(), is_complete) {
        _ if applied.versions.is_empty() => SchemaState::Empty,
        (None, true) => SchemaState::Current,
        (None, false) => SchemaState::Older,
        (Some(_), _) => {
            let this_program = versions.iter().filter_map(|version| migration_number(version)).max();
            let are_later = unknown.all(|version| migration_number(version) > this_program);
            let is_declared = applied.oldest_program.is_some_and(|oldest| Some(oldest) <= this_program);
            let is_compatible = is_complete && are_later && is_declared;
            if is_compatible { SchemaState::NewerCompatible } else { SchemaState::Newer }
        }
    })
}

/// Runs the pending migrations, and declares the oldest program that can use the schema. The caller holds a transaction
/// and a lock, so that either all pending migrations are applied, once, or none.
pub(crate) fn run_pending_migrations<C, DB>(conn: &mut C, schema: Schema) -> Result<(), MigrationError>
where
    DB: Backend,
    C: MigrationHarness<DB> + SimpleConnection,
{
    let versions = conn.applied_migrations()?.iter().map(MigrationVersion::to_string).collect();
    match compare_schema::<DB>(&schema, &AppliedSchema { versions, oldest_program: None })? {
        SchemaState::Newer | SchemaState::NewerCompatible => {
            return Err("a newer version of Stele has migrated the schema meanwhile".into());
        }
        SchemaState::Empty | SchemaState::Older | SchemaState::Current => {}
    }
    conn.run_pending_migrations(schema.migrations)?;
    Ok(conn.batch_execute(&schema.declaration.raise_sql(schema.oldest_program))?)
}

// The catalogue is queried first because reading the journal of an empty database fails, and creating it is a write.
const SQLITE_JOURNAL_EXISTS: &str = "EXISTS (SELECT 1 FROM sqlite_master WHERE name = '__diesel_schema_migrations')";
const POSTGRES_JOURNAL_EXISTS: &str = "to_regclass('__diesel_schema_migrations') IS NOT NULL";

/// What an SQLite file records of its schema. Writes nothing.
pub(crate) fn applied_schema_sqlite(conn: &mut SqliteConnection, schema: &Schema) -> QueryResult<AppliedSchema> {
    use diesel::RunQueryDsl;
    if !diesel::select(dsl::sql::<Bool>(SQLITE_JOURNAL_EXISTS)).get_result::<bool>(conn)? {
        return Ok(AppliedSchema::default());
    }
    let versions = journal::__diesel_schema_migrations.select(journal::version).load(conn)?;
    let table_exists = format!("EXISTS (SELECT 1 FROM sqlite_master WHERE name = '{}')", schema.declaration.table);
    let oldest_program = if diesel::select(dsl::sql::<Bool>(&table_exists)).get_result::<bool>(conn)? {
        diesel::select(dsl::sql::<Nullable<BigInt>>(&schema.declaration.select_sql())).get_result(conn)?
    } else {
        None
    };
    Ok(AppliedSchema { versions, oldest_program })
}

/// What a PostgreSQL database records of its schema. Writes nothing.
pub(crate) async fn applied_schema_postgres(
    conn: &mut AsyncPgConnection,
    schema: &Schema,
) -> QueryResult<AppliedSchema> {
    use diesel_async::RunQueryDsl;
    if !diesel::select(dsl::sql::<Bool>(POSTGRES_JOURNAL_EXISTS)).get_result::<bool>(conn).await? {
        return Ok(AppliedSchema::default());
    }
    let versions = journal::__diesel_schema_migrations.select(journal::version).load(conn).await?;
    let table_exists = format!("to_regclass('{}') IS NOT NULL", schema.declaration.table);
    let oldest_program = if diesel::select(dsl::sql::<Bool>(&table_exists)).get_result::<bool>(conn).await? {
        diesel::select(dsl::sql::<Nullable<BigInt>>(&schema.declaration.select_sql())).get_result(conn).await?
    } else {
        None
    };
    Ok(AppliedSchema { versions, oldest_program })
}

#[cfg(test)]
mod tests;
