//! Migrations are additive, or declare the oldest program that can use the schema; and the comparison of schemas.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use diesel::pg::Pg;
use diesel::sqlite::Sqlite;

use super::*;

fn migration_versions<DB: Backend>(schema: &Schema) -> Vec<String> {
    let migrations = MigrationSource::<DB>::migrations(&schema.migrations).unwrap();
    migrations.iter().map(|migration| migration.name().version().to_string()).collect()
}

#[test]
fn migration_versions_are_unique_and_the_same_for_both_users_databases() {
    let sets = [
        migration_versions::<Sqlite>(&USERS_SQLITE),
        migration_versions::<Sqlite>(&STATE_SQLITE),
        migration_versions::<Pg>(&USERS_POSTGRES),
    ];
    for versions in &sets {
        assert_eq!(versions.iter().collect::<HashSet<_>>().len(), versions.len(), "{versions:?}");
    }
    assert_eq!(sets[0].iter().collect::<HashSet<_>>(), sets[2].iter().collect::<HashSet<_>>());
}

/// The state of a users' database with the migrations up to `0014` of this program and these others.
fn compare_with(missing: &str, others: &[&str], oldest_program: Option<i64>) -> SchemaState {
    let own = migration_versions::<Pg>(&USERS_POSTGRES).into_iter().filter(|version| version != missing);
    let versions = own.chain(others.iter().map(|version| (*version).to_owned())).collect();
    compare_schema::<Pg>(&USERS_POSTGRES, &AppliedSchema { versions, oldest_program }).unwrap()
}

#[test]
fn a_newer_schema_is_compatible_if_the_database_declares_it() {
    let newest = migration_versions::<Pg>(&USERS_POSTGRES).iter().filter_map(|version| migration_number(version)).max();
    let newest = newest.unwrap();
    for (missing, others, declared, expected) in [
        ("", &[][..], None, SchemaState::Current),
        ("", &[], Some(9_998), SchemaState::Current),
        ("0014", &[], Some(newest), SchemaState::Older),
        ("", &["9998"], Some(newest), SchemaState::NewerCompatible),
        ("", &["9998", "9999"], Some(1), SchemaState::NewerCompatible),
        ("", &["9998"], Some(newest + 1), SchemaState::Newer),
        // A version without declarations has migrated.
        ("", &["9998"], None, SchemaState::Newer),
        // Not a later version of this program, but another line of development.
        ("0014", &["9998"], Some(1), SchemaState::Newer),
        ("", &["0004"], Some(1), SchemaState::Newer),
        ("", &["a-name"], Some(1), SchemaState::Newer),
    ] {
        assert_eq!(compare_with(missing, others, declared), expected, "{missing} {others:?} {declared:?}");
    }
}

/// The statements of a migration that an earlier program might not survive: all but those that only add.
fn other_than_additive(sql: &str) -> Vec<String> {
    let without_comments: Vec<_> = sql.lines().map(|line| line.split("--").next().unwrap_or_default()).collect();
    let text = without_comments.join(" ").to_uppercase();
    let statements: Vec<Vec<_>> = text.split(';').map(|statement| statement.split_whitespace().collect()).collect();
    let created: HashSet<_> = statements.iter().filter_map(|words| created_table(words)).collect();
    let others = statements.iter().filter(|words| !words.is_empty() && !is_additive(words, &created));
    others.map(|words| words.join(" ")).collect()
}

fn created_table<'a>(words: &[&'a str]) -> Option<&'a str> {
    match words {
        ["CREATE", "TABLE", name, ..] => Some(name),
        _ => None,
    }
}

fn is_additive(words: &[&str], created: &HashSet<&str>) -> bool {
    let statement = words.join(" ");
    let contains = |part: &str| statement.contains(part);
    match words {
        // A foreign key would reject deletions from the table that it refers to.
        ["CREATE", "TABLE", ..] => !contains("REFERENCES"),
        ["CREATE", "INDEX", ..] => true,
        ["CREATE", "UNIQUE", "INDEX", _, "ON", table, ..] | ["INSERT", "INTO", table, ..] => created.contains(table),
        // One column: a comma may begin another action of the statement.
        ["ALTER", "TABLE", _, "ADD", "COLUMN", ..] if !contains(",") => {
            let rejects_rows = ["UNIQUE", "CHECK", "REFERENCES", "GENERATED", "PRIMARY"].into_iter().any(contains);
            !rejects_rows && (!contains("NOT NULL") || contains("DEFAULT"))
        }
        ["SELECT", "1"] => true,
        _ => false,
    }
}

#[test]
fn statements_that_only_add_are_recognized() {
    for additive in [
        "CREATE TABLE t (a TEXT); CREATE UNIQUE INDEX i ON t (a); INSERT INTO t (a) VALUES ('x');",
        "CREATE INDEX i ON users (id) WHERE id IS NOT NULL; -- DROP TABLE users;",
        "ALTER TABLE users ADD COLUMN a TEXT NOT NULL\n DEFAULT ''; ALTER TABLE users ADD COLUMN b BIGINT",
        "SELECT 1;",
    ] {
        assert_eq!(other_than_additive(additive), [""; 0], "{additive}");
    }
    for other in [
        "DROP TABLE users",
        "drop index i;",
        "ALTER TABLE users DROP COLUMN memo",
        "ALTER TABLE users RENAME COLUMN memo TO note",
        "ALTER TABLE users RENAME TO people",
        "ALTER TABLE users ALTER COLUMN memo TYPE VARCHAR(10)",
        "ALTER TABLE users ALTER COLUMN memo SET NOT NULL",
        "ALTER TABLE users ADD CONSTRAINT c CHECK (memo <> '')",
        "ALTER TABLE users ADD COLUMN a TEXT NOT NULL",
        "ALTER TABLE users ADD COLUMN a TEXT UNIQUE",
        "ALTER TABLE users ADD COLUMN a TEXT, DROP COLUMN memo",
        "ALTER TABLE users ADD COLUMN a TEXT, ALTER COLUMN memo TYPE VARCHAR(10)",
        "ALTER TABLE users ADD COLUMN a TEXT NOT NULL, ADD COLUMN b TEXT DEFAULT ''",
        "CREATE UNIQUE INDEX i ON users (memo)",
        "CREATE TABLE t (n BIGINT REFERENCES users (number))",
        "CREATE TRIGGER t AFTER INSERT ON users BEGIN SELECT 1",
        "UPDATE users SET memo = ''",
        "DELETE FROM users",
        "INSERT INTO users (memo) VALUES ('')",
    ] {
        assert_eq!(other_than_additive(other).len(), 1, "{other}");
    }
    let earlier = |name: &str| read_migrations("users-postgres").remove(name).unwrap();
    assert!(other_than_additive(&earlier("0011_audit_merged")).is_empty());
    assert_eq!(other_than_additive(&earlier("0014_one_key_for_a_mobile")).len(), 2);
}

/// The `up.sql` of each migration in a folder, by the migration's name.
fn read_migrations(folder: &str) -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(folder);
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let read = |entry: std::fs::DirEntry| {
        let sql = std::fs::read_to_string(entry.path().join("up.sql")).unwrap();
        (entry.file_name().into_string().unwrap(), sql)
    };
    entries.map(read).collect()
}

/// The number in a migration's line `-- oldest program: 0017`.
fn stated_oldest_program(sql: &str) -> Option<i64> {
    sql.lines().find_map(|line| migration_number(line.strip_prefix("-- oldest program: ")?.trim()))
}

#[test]
fn a_migration_is_additive_or_raises_the_oldest_program() {
    // The newest migration when declarations were introduced: earlier programs refuse every newer schema.
    for (folder, schema, first) in
        [("users-sqlite", USERS_SQLITE, 14), ("users-postgres", USERS_POSTGRES, 14), ("state-sqlite", STATE_SQLITE, 5)]
    {
        let migrations = read_migrations(folder);
        let numbered = migrations.iter().map(|(name, sql)| (migration_number(&name[..4]).unwrap(), name, sql));
        let mut oldest_program = first;
        for (number, name, sql) in numbered.clone().filter(|(number, ..)| *number > first) {
            let others = other_than_additive(sql);
            match stated_oldest_program(sql) {
                Some(stated) if stated <= number => oldest_program = oldest_program.max(stated),
                None if others.is_empty() => {}
                _ => {
                    panic!("{folder}/{name}: state `-- oldest program: NNNN`, because of {others:?} (CONTRIBUTING.md)")
                }
            }
        }
        assert_eq!(schema.oldest_program, oldest_program, "{folder}: the number in migrate.rs");
        assert!(numbered.map(|(number, ..)| number).max() >= Some(schema.oldest_program), "{folder}");
    }
}
