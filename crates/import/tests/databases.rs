//! Databases as sources: SQLite files, and real MariaDB and PostgreSQL servers.

#![expect(clippy::unwrap_used, reason = "a test's set-up may panic")]

use std::fmt::Write as _;
use std::time::Duration;

use stele_core::import::SourceRow;
use stele_import::{ImportMap, RowReader, Source, SourceError, columns_of, guess_map, open_source};
use stele_testservers::{Mariadb, Postgres, database_url, execute};

const TABLE: &str = "CREATE TABLE users (id INTEGER, name VARCHAR(64), phone VARCHAR(32), at TIMESTAMP NULL, \
                     status SMALLINT, memo VARCHAR(64));
    INSERT INTO users VALUES (4, '张三', '13800138000', '2018-03-20 14:00:02', 1, NULL), (5, 'bob', NULL, NULL, 0, ''), \
    (6, NULL, NULL, NULL, 1, 'no name');";

fn map(format: &str, query: &str) -> ImportMap {
    let text = format!(
        "format = \"{format}\"\nquery = \"{query}\"\n[columns]\nid = \"id\"\nusername = \"name\"\nphone = \"phone\"\n\
         registered_at = {{ column = \"at\", format = \"%Y-%m-%d %H:%M:%S\", zone = \"+08:00\" }}\n\
         disabled = {{ column = \"status\", when = [\"0\"] }}\nmemo = \"memo\""
    );
    ImportMap::parse(&text).unwrap()
}

const QUERY: &str = "SELECT memo, id, name, phone, at, status FROM users ORDER BY id";

async fn read_all(source: &mut dyn Source, map: &ImportMap) -> Result<Vec<SourceRow>, SourceError> {
    let reader = RowReader::new(map).unwrap();
    let mut rows = Vec::new();
    loop {
        let batch = source.next(2).await?;
        if batch.is_empty() {
            return Ok(rows);
        }
        assert!(batch.len() <= 2);
        rows.extend(batch.into_iter().map(|record| reader.read(record)));
    }
}

/// Reads [`TABLE`], and checks that faults are named and nothing can be written.
async fn check_source(format: &str, from: &str) {
    let good = map(format, QUERY);
    let mut source = open_source(&good, from).await.unwrap();
    let rows = read_all(source.as_mut(), &good).await.unwrap();
    let described: Vec<_> = rows.iter().map(|row| (row.position, row.line, row.old_id.as_str())).collect();
    assert_eq!(described, [(1, None, "4"), (2, None, "5"), (3, None, "6")], "{format}");
    let first = rows[0].row.as_ref().unwrap();
    let at = first.registered_at.unwrap().to_rfc3339(stele_core::time::Offset::UTC);
    assert_eq!((first.name.as_ref().unwrap().text(), at.as_str()), ("张三", "2018-03-20T06:00:02.000000Z"));
    let second = rows[1].row.as_ref().unwrap();
    assert_eq!((second.status, &second.phone), (stele_core::user::UserStatus::Disabled, &None));
    assert_eq!(rows[2].row.as_ref().unwrap_err().code(), "no_identifier");
    // A map that is proposed from the table reads it.
    let guessed = guess_map(&columns_of(from, Some("users")).await.unwrap());
    let guessed = ImportMap::parse(&guessed).unwrap();
    assert_eq!(guessed.wanted_columns(), ["id", "name", "phone"], "{format}");
    let mut source = open_source(&guessed, from).await.unwrap();
    assert_eq!(read_all(source.as_mut(), &guessed).await.unwrap().len(), 3, "{format}");
    for (table, expected) in [(None, "--table"), (Some("nothing"), "nothing"), (Some("users; x"), "users; x")] {
        let error = columns_of(from, table).await.err().unwrap().to_string();
        assert!(error.contains(expected) && !error.contains("hunter2"), "{format}: {error}");
    }
    for (query, expected) in [
        ("SELECT id FROM users", "does not have"),
        ("SELECT id, name, phone, at, status, memo FROM nothing", "nothing"),
        ("SELECT id, name, phone, at, status, memo, memo FROM users", "more than once"),
    ] {
        let error = open_source(&map(format, query), from).await.err().unwrap().to_string();
        assert!(error.contains(expected) && !error.contains("hunter2"), "{format}: {error}");
    }
}

#[tokio::test]
async fn an_sqlite_file_is_read_and_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch(TABLE).unwrap();
    let before = std::fs::read(&path).unwrap();
    check_source("sqlite", path.to_str().unwrap()).await;
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no log beside the file");
    let missing = open_source(&map("sqlite", QUERY), "/nowhere/old.db").await.err().unwrap().to_string();
    assert!(missing.contains("/nowhere/old.db"), "{missing}");
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn a_postgresql_table_is_read_in_a_read_only_transaction() {
    let url = database_url();
    execute(&url, TABLE);
    check_source("postgres", &url).await;
    let writing = "SELECT id, name, phone, at, status, memo FROM users WHERE nextval('numbers') > 0";
    execute(&url, "CREATE SEQUENCE numbers");
    let map = map("postgres", writing);
    let mut failed = open_source(&map, &url).await.err();
    if failed.is_none() {
        failed = read_all(open_source(&map, &url).await.unwrap().as_mut(), &map).await.err();
    }
    assert!(failed.unwrap().to_string().contains("read-only"));
}

#[tokio::test]
#[ignore = "needs MariaDB"]
async fn a_mariadb_table_is_read_in_a_read_only_transaction() {
    let server = Mariadb::start();
    let quiet = TABLE.replace("CREATE", "CREATE DATABASE old CHARACTER SET utf8mb4; USE old; CREATE");
    server.execute(&quiet);
    server.execute("CREATE USER reader@'%' IDENTIFIED BY 'hunter2'; GRANT SELECT ON old.* TO reader@'%'");
    let url = server.url("old").replace("root@", "reader:hunter2@");
    check_source("mysql", &url).await;
    let wrong = open_source(&map("mysql", QUERY), &url.replace("hunter2", "hunter3")).await.err().unwrap().to_string();
    assert!(wrong.contains("reader") && !wrong.contains("hunter3"), "{wrong}");
    // Tables of Chinese systems are often in GBK: the server converts.
    server.execute(
        "CREATE DATABASE gbk CHARACTER SET gbk; USE gbk; CREATE TABLE users AS SELECT * FROM old.users; \
         ALTER TABLE users CONVERT TO CHARACTER SET gbk",
    );
    check_source("mysql", &server.url("gbk")).await;
}

/// Rows enough that no buffer between the server and the reader holds them all.
fn many_rows(count: usize) -> String {
    let mut sql = "INSERT INTO users (id, name) VALUES ".to_owned();
    for n in 0..count {
        write!(sql, "{}({n}, 'user{n}{}')", if n == 0 { "" } else { "," }, "x".repeat(40)).unwrap();
    }
    sql
}

/// Reads until the first batches are there, calls `break_off`, and expects an error instead of an early end.
async fn expect_loss(format: &str, from: &str, break_off: impl FnOnce()) {
    let map = map(format, QUERY);
    let mut source = open_source(&map, from).await.unwrap();
    assert_eq!(source.next(500).await.unwrap().len(), 500);
    break_off();
    let rest = async {
        loop {
            match source.next(500).await {
                Ok(batch) if batch.is_empty() => return None,
                Ok(_) => {}
                Err(error) => return Some(error.to_string()),
            }
        }
    };
    let error = tokio::time::timeout(Duration::from_secs(20), rest).await.unwrap();
    assert!(error.is_some_and(|error| error.contains("cannot read")), "{format}: the rest is not the end of the table");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MariaDB"]
async fn a_mariadb_that_goes_away_is_an_error_and_not_the_end() {
    let server = Mariadb::start();
    server.execute(&TABLE.replace("CREATE", "CREATE DATABASE old CHARACTER SET utf8mb4; USE old; CREATE"));
    for _ in 0..10 {
        server.execute(&format!("USE old; {}", many_rows(20_000)));
    }
    expect_loss("mysql", &server.url("old"), || server.kill()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn a_postgresql_that_goes_away_is_an_error_and_not_the_end() {
    let server = Postgres::start();
    let url = server.default_database_url();
    execute(&url, TABLE);
    execute(&url, &many_rows(20_000));
    expect_loss("postgres", &url, || server.kill()).await;
}
