//! An installation on SQLite or PostgreSQL into which a test imports users, and points at which the import is held.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use stele_testkit::servers;

use crate::client::md5_hex;
pub(super) use crate::support::assert_ended;
use crate::support::{CommandOutput, Installation, KillOnDrop, eventually};

/// Rows of a batch.
pub(super) const BATCH: u64 = 500;

pub(super) const HEADER: &str = "user_id,user_name,mobile,memo,password";

const COLUMNS: &str = r#"
[columns]
id = "user_id"
username = "user_name"
phone = "mobile"
memo = "memo"
[secret]
column = "password"
kind = "md5"
"#;

/// The database that is imported into.
pub(super) enum Target {
    Sqlite(PathBuf),
    /// With the URL.
    Postgres(String),
}

/// Where the import is held.
#[derive(Clone, Copy, Debug)]
pub(super) enum HoldPoint {
    /// At the first statement of a batch: everything before is committed.
    BatchBoundary,
    /// At the last statement of a batch: the cursor is moved and the users are added, but not committed.
    BeforeCommit,
}

pub(super) struct ImportFixture {
    pub(super) installation: Installation,
    target: Target,
}

impl ImportFixture {
    pub(super) fn on_sqlite() -> Self {
        let installation = Installation::new();
        let target = Target::Sqlite(installation.data().join("users.db"));
        Self::prepare(installation, target)
    }

    pub(super) fn on_postgres() -> Self {
        Self::on_postgres_at(&servers::database_url())
    }

    pub(super) fn on_postgres_at(url: &str) -> Self {
        let mut installation = Installation::new();
        installation.set("STELE_DATABASE_URL", url);
        Self::prepare(installation, Target::Postgres(url.to_owned()))
    }

    fn prepare(installation: Installation, target: Target) -> Self {
        installation.run(&["migrate"]).assert_success();
        let fixture = Self { installation, target };
        fixture.write_map("csv", "");
        fixture
    }

    /// Names the file of the user store, after the data folder was changed.
    pub(super) fn set_sqlite_file(&mut self, file: PathBuf) {
        self.target = Target::Sqlite(file);
    }

    /// Writes a map for this format, with further keys before its tables.
    pub(super) fn write_map(&self, format: &str, keys: &str) {
        let text = format!("format = \"{format}\"\n{keys}\n{COLUMNS}");
        std::fs::write(self.installation.path("map.toml"), text).unwrap();
    }

    /// Writes a file of `count` users.
    pub(super) fn write_users(&self, count: u64) {
        let mut text = format!("{HEADER}\n");
        for n in 0..count {
            writeln!(text, "{n},user{n},,,{}", md5_hex("123456")).unwrap();
        }
        self.write_file(text.as_bytes());
    }

    pub(super) fn write_file(&self, bytes: &[u8]) {
        std::fs::write(self.installation.path("users.csv"), bytes).unwrap();
    }

    pub(super) fn import(&self, command: &str) -> CommandOutput {
        self.import_from(command, "users.csv")
    }

    pub(super) fn import_from(&self, command: &str, from: &str) -> CommandOutput {
        self.installation.run(&["import", command, "--source", "old", "--map", "map.toml", from])
    }

    /// Starts `stele import run`.
    pub(super) fn spawn_run(&self, from: &str) -> KillOnDrop {
        let args = ["import", "run", "--source", "old", "--map", "map.toml", from];
        KillOnDrop(self.installation.command(&args).spawn().unwrap())
    }

    /// What the command printed after it has ended; no standard output if the test has closed it.
    pub(super) fn output_of(mut run: KillOnDrop) -> CommandOutput {
        use std::io::Read as _;
        let status = eventually("the end of the import", || run.0.try_wait().unwrap());
        let (mut stdout, mut stderr) = (String::new(), String::new());
        // A test may have closed it.
        if let Some(mut pipe) = run.0.stdout.take() {
            pipe.read_to_string(&mut stdout).unwrap();
        }
        run.0.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        CommandOutput { code: status.code(), stdout, stderr }
    }

    pub(super) fn status(&self) -> String {
        self.installation.run(&["import", "status", "--source", "old"]).stdout
    }

    /// How many users the last run has added so far.
    pub(super) fn added(&self) -> u64 {
        added_in(&self.status()).unwrap_or(0)
    }

    /// The outcome of each row of the last run, with its code.
    pub(super) fn report(&self) -> Vec<String> {
        let report = self.installation.run(&["import", "report", "--source", "old", "--json"]);
        assert_eq!(report.code, Some(0), "{report:?}");
        outcomes(&report.stdout)
    }

    /// The value of an SQL expression, as text.
    pub(super) fn value(&self, expression: &str) -> String {
        match &self.target {
            Target::Sqlite(file) => run_python(file, QUERY, &format!("SELECT {expression}")),
            Target::Postgres(url) => servers::query_text(url, &format!("SELECT {expression}")).unwrap_or_default(),
        }
    }

    /// Executes SQL in the file of the embedded user store.
    pub(super) fn execute_on_sqlite(&self, sql: &str) {
        let Target::Sqlite(file) = &self.target else { panic!("not on SQLite") };
        run_python(file, SCRIPT, sql);
    }

    /// Asserts that no batch is half-written: the cursor, the report, the users, their names and their old ids agree.
    pub(super) fn assert_whole(&self) {
        let runs = "(SELECT coalesce(sum(cursor), 0) FROM import_runs)";
        let added = "(SELECT coalesce(sum(added), 0) FROM import_runs)";
        for (what, left, right) in [
            ("rows of the report", runs, "(SELECT count(*) FROM import_rows)"),
            ("old ids", added, "(SELECT count(*) FROM legacy_ids)"),
            ("users", added, "(SELECT count(*) FROM users WHERE number > 100000)"),
            ("names", added, "(SELECT count(*) FROM identifiers WHERE number > 100000)"),
        ] {
            assert_eq!(self.value(left), self.value(right), "{what}");
        }
    }

    /// Makes the next import wait in the batch that follows `cursor`.
    pub(super) fn hold(&self, point: HoldPoint, cursor: u64) {
        let (event, table) = match point {
            HoldPoint::BatchBoundary => ("UPDATE", "import_runs"),
            HoldPoint::BeforeCommit => ("INSERT", "import_rows"),
        };
        let condition = match point {
            HoldPoint::BatchBoundary => format!("OLD.cursor = {cursor}"),
            HoldPoint::BeforeCommit => format!("NEW.position = {}", cursor + BATCH),
        };
        match &self.target {
            Target::Sqlite(file) => {
                let sql = format!(
                    "CREATE VIEW endless AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) \
                     SELECT x FROM n; \
                     CREATE TRIGGER hold BEFORE {event} ON {table} WHEN {condition} \
                     BEGIN SELECT count(*) FROM endless; END;"
                );
                run_python(file, SCRIPT, &sql);
            }
            Target::Postgres(url) => servers::execute(
                url,
                &format!(
                    "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS \
                     $$ BEGIN PERFORM pg_sleep(600); RETURN NEW; END $$; \
                     CREATE TRIGGER hold BEFORE {event} ON {table} FOR EACH ROW WHEN ({condition}) \
                     EXECUTE FUNCTION hold()"
                ),
            ),
        }
    }

    /// Waits until an import is held after `cursor`.
    pub(super) fn wait_until_held(&self, cursor: u64) {
        let is_there = || self.value("(SELECT max(cursor) FROM import_runs)") == cursor.to_string();
        eventually("an import that is held", || {
            let is_waiting = match &self.target {
                // A batch that is not held has the lock for milliseconds only.
                Target::Sqlite(file) => (0..5).all(|_| run_python(file, IS_LOCKED, "") == "True"),
                Target::Postgres(_) => self.value(SLEEPERS) != "0",
            };
            (is_waiting && is_there()).then_some(())
        });
    }

    /// Lets later imports pass.
    pub(super) fn release(&self) {
        match &self.target {
            Target::Sqlite(file) => {
                run_python(file, SCRIPT, "DROP TRIGGER hold; DROP VIEW endless");
            }
            Target::Postgres(url) => {
                // The server looks for the killed client at intervals.
                eventually("the end of the killed client's session", || (self.value(SLEEPERS) == "0").then_some(()));
                servers::execute(url, "DROP FUNCTION hold CASCADE");
            }
        }
    }
}

/// How many sessions of this schema are held. Other tests use the same server.
const SLEEPERS: &str = "(SELECT count(*) FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid \
    WHERE a.wait_event = 'PgSleep' AND l.relation = 'import_runs'::regclass)";

const QUERY: &str = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], timeout=30); \
    print(db.execute(sys.argv[2]).fetchone()[0])";
const SCRIPT: &str =
    "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], timeout=30); db.executescript(sys.argv[2])";
const IS_LOCKED: &str = "
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
try:
    db.execute('BEGIN IMMEDIATE')
    print(False)
except sqlite3.OperationalError:
    print(True)
";

fn run_python(file: &Path, program: &str, argument: &str) -> String {
    let output = Command::new("python3").args(["-c", program]).arg(file).arg(argument).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The number of added users in the last line of an output.
pub(super) fn added_in(stdout: &str) -> Option<u64> {
    stdout.lines().last()?.strip_prefix("added ")?.split(' ').next()?.parse().ok()
}

/// `outcome` or `outcome code` of each line of JSON.
pub(super) fn outcomes(lines: &str) -> Vec<String> {
    let lines = lines.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            let word = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
            format!("{} {}", word("outcome"), word("code")).trim_end().to_owned()
        })
        .collect()
}

/// Asserts exit code 1, the counts so far in the last line, and how to resume. Returns how many users were added.
#[track_caller]
pub(super) fn assert_interrupted(output: &CommandOutput, cause: &str) -> u64 {
    assert_eq!(output.code, Some(1), "{output:?}");
    let is_complete = output.stderr.contains(cause) && output.stderr.contains("run the same command again to resume");
    assert!(is_complete, "{output:?}");
    added_in(&output.stdout).unwrap_or_else(|| panic!("no counts: {output:?}"))
}
