//! PostgreSQL cluster that later runs reuse, with one database per population size.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use futures_util::SinkExt as _;
use stele_bench_kit::{BenchError, Progress, Result};
use tokio_postgres::{Client, NoTls};

use crate::external_tools;
use crate::server_process::{ServerProcess, accepts_connections, free_address};
use crate::user_population::{self, COLUMNS, UserRows, Value};

/// Bytes of COPY data per message.
const COPY_CHUNK: usize = 1 << 20;
/// How long a population is used, in seconds: its rows say that each user has logged in today.
const MAX_AGE: u64 = 20 * 3_600;
/// Settings in addition to the defaults: durable, as in production on this machine.
const SETTINGS: &str = "max_connections = 300\nshared_buffers = 1GB\nmax_wal_size = 8GB\n\
     # COPY into a new table skips the write-ahead log.\nwal_level = minimal\nmax_wal_senders = 0\n\
     unix_socket_directories = ''\nlisten_addresses = '127.0.0.1'\n";

/// A running cluster.
pub(crate) struct PostgresCluster {
    pub(crate) process: ServerProcess,
    pub(crate) address: SocketAddr,
}

impl PostgresCluster {
    /// Starts the server on the cluster in `folder`, which is created if it is missing.
    ///
    /// # Errors
    /// If the server does not start.
    pub(crate) fn start(folder: &Path, log: PathBuf) -> Result<Self> {
        let data = folder.join("postgres");
        if !data.join("PG_VERSION").exists() {
            init_cluster(&data)?;
        }
        std::fs::write(data.join("postgresql.auto.conf"), SETTINGS)?;
        let address = free_address()?;
        let mut postgres = Command::new(external_tools::require_tool("postgres")?);
        postgres.arg("-D").arg(&data).args(["-p", &address.port().to_string()]);
        // INT is a fast shutdown: a clean one that disconnects clients.
        let process = ServerProcess::start("postgres", &as_postgres(&postgres)?, "INT", log)?;
        process.wait_until(|| accepts_connections(address))?;
        let cluster = Self { process, address };
        cluster.process.wait_until(|| cluster.execute("postgres", "SELECT 1").is_ok())?;
        Ok(cluster)
    }

    /// The URL of a database.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://stele@{}/{database}", self.address)
    }

    /// Executes SQL statements in a database.
    ///
    /// # Errors
    /// If a statement fails.
    pub(crate) fn execute(&self, database: &str, sql: &str) -> Result<()> {
        self.with_client(database, async |client| Ok(client.batch_execute(sql).await?))
    }

    /// Whether `database` contains this many users, and they are recent enough.
    pub(crate) fn has_users(&self, database: &str, users: u64) -> bool {
        let sql = "SELECT users, loaded FROM bench_population";
        let found = self.with_client(database, async |client| {
            let row = client.query_one(sql, &[]).await?;
            Ok((row.try_get::<_, i64>(0)?, row.try_get::<_, i64>(1)?))
        });
        let (users, now) = (i64::try_from(users).ok(), user_population::unix_seconds());
        found.is_ok_and(|(found_users, loaded)| {
            Some(found_users) == users && u64::try_from(loaded).is_ok_and(|loaded| now.saturating_sub(loaded) < MAX_AGE)
        })
    }

    /// Creates an empty database, in place of an existing one.
    ///
    /// # Errors
    /// If the server rejects it.
    pub(crate) fn create_database(&self, database: &str) -> Result<()> {
        self.execute("postgres", &format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)"))?;
        self.execute("postgres", &format!("CREATE DATABASE {database}"))
    }

    /// Adds `users` users to a database with the product's schema, in place of existing ones.
    ///
    /// # Errors
    /// If the server rejects it.
    pub(crate) fn fill_users(&self, database: &str, users: u64, rows: &UserRows) -> Result<()> {
        let progress = Progress::new(&format!("{database}: rows"), users * 3);
        self.with_client(database, async |client| {
            // COPY in the transaction of TRUNCATE freezes the rows and skips the write-ahead log. The replica role
            // skips two million foreign-key checks.
            client
                .batch_execute("SET session_replication_role = replica; BEGIN; TRUNCATE users, identifiers CASCADE")
                .await?;
            let copy_statement = format!("COPY users ({COLUMNS}) FROM STDIN (FREEZE)");
            copy_rows(client, &copy_statement, users, &progress, |user, out| {
                rows.with_row(user, |values| write_copy_row(values, out));
            })
            .await?;
            let keys: [fn(u64) -> String; 2] = [user_population::name, phone_key];
            for key in keys {
                let copy_statement = "COPY identifiers (key, number) FROM STDIN (FREEZE)";
                let write_line = |user: u64, out: &mut String| {
                    let _ = writeln!(out, "{}\t{}", key(user), user_population::FIRST_NUMBER + user);
                };
                copy_rows(client, copy_statement, users, &progress, write_line).await?;
            }
            let set_sequence = "SELECT setval(pg_get_serial_sequence('users', 'number'), max(number)) FROM users";
            // Separately: several statements form a transaction, in which VACUUM is not allowed.
            for sql in
                ["COMMIT", set_sequence, "VACUUM (FREEZE, ANALYZE) users", "VACUUM (FREEZE, ANALYZE) identifiers"]
            {
                client.batch_execute(sql).await?;
            }
            let now = user_population::unix_seconds();
            let statement = format!(
                "CREATE TABLE bench_population AS SELECT {users}::bigint AS users, {now}::bigint AS loaded; CHECKPOINT"
            );
            Ok(client.batch_execute(&statement).await?)
        })?;
        progress.finish();
        Ok(())
    }

    /// The statements that the server receives while `work` runs, so that a benchmark can repeat one exactly.
    ///
    /// # Errors
    /// If statement logging cannot be changed, or `work` fails.
    pub(crate) fn capture_statements(&self, work: impl FnOnce() -> Result<()>) -> Result<Vec<String>> {
        let before = self.process.read_log().len();
        self.set_statement_logging("all")?;
        let result = work();
        // Earlier statements are in the log once this one has been executed.
        self.execute("postgres", "SELECT 'captured'")?;
        self.set_statement_logging("none")?;
        result?;
        let log = self.process.read_log();
        let lines = log.get(before..).unwrap_or_default().lines();
        Ok(lines.filter_map(|line| Some(line.split_once(": ")?.1.to_owned())).collect())
    }

    fn set_statement_logging(&self, level: &str) -> Result<()> {
        self.execute("postgres", &format!("ALTER SYSTEM SET log_statement = '{level}'"))?;
        self.execute("postgres", "SELECT pg_reload_conf()")?;
        // Backends apply the setting before their next statement, but may receive the signal a moment later.
        std::thread::sleep(Duration::from_millis(200));
        Ok(())
    }

    fn with_client<T>(
        &self,
        database: &str,
        work: impl AsyncFnOnce(&Client) -> std::result::Result<T, PostgresError>,
    ) -> Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let result = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&self.url(database), NoTls).await?;
            let work = async {
                let result = work(&client).await;
                drop(client);
                result
            };
            let (result, closed) = tokio::join!(work, connection);
            result.and_then(|value| Ok(closed.map(|()| value)?))
        });
        result.map_err(|error| error.0)
    }
}

/// An error with the server's own message.
struct PostgresError(BenchError);

impl From<tokio_postgres::Error> for PostgresError {
    fn from(error: tokio_postgres::Error) -> Self {
        let text = error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string);
        Self(BenchError::new(format!("PostgreSQL: {text}")))
    }
}

impl From<BenchError> for PostgresError {
    fn from(error: BenchError) -> Self {
        Self(error)
    }
}

async fn copy_rows(
    client: &Client,
    copy_statement: &str,
    users: u64,
    progress: &Progress,
    mut write_row: impl FnMut(u64, &mut String),
) -> std::result::Result<(), PostgresError> {
    let sink = client.copy_in::<_, bytes::Bytes>(copy_statement).await?;
    let mut sink = std::pin::pin!(sink);
    let mut chunk = String::with_capacity(COPY_CHUNK + 4_096);
    for user in 0..users {
        write_row(user, &mut chunk);
        if chunk.len() >= COPY_CHUNK {
            sink.send(std::mem::take(&mut chunk).into()).await?;
        }
        progress.add(1);
    }
    sink.send(chunk.into()).await?;
    sink.as_mut().finish().await?;
    Ok(())
}

/// Appends a row in COPY's text format. No value contains a character that needs escaping.
fn write_copy_row(values: &[Value<'_>], out: &mut String) {
    for (column, value) in values.iter().enumerate() {
        if column > 0 {
            out.push('\t');
        }
        // Writing to a string does not fail.
        let _ = match value {
            Value::Number(number) => write!(out, "{number}"),
            Value::Text(text) => write!(out, "{text}"),
            Value::Bytes(bytes) => write!(out, "\\\\x{}", stele_core::hex::encode(bytes)),
            Value::Null => write!(out, "f"),
        };
    }
    out.push('\n');
}

fn phone_key(user: u64) -> String {
    user_population::phone(user).to_string()
}

fn init_cluster(data: &Path) -> Result<()> {
    std::fs::create_dir_all(data)?;
    if let Some((uid, gid)) = postgres_user()? {
        std::os::unix::fs::chown(data, Some(uid), Some(gid))?;
    }
    let mut initdb = Command::new(external_tools::require_tool("initdb")?);
    initdb.arg("--pgdata").arg(data).args(["--username", "stele", "--auth", "trust", "--encoding", "UTF8"]);
    initdb.args(["--no-locale", "--data-checksums"]);
    let made = as_postgres(&initdb)?.output()?;
    if made.status.success() {
        return Ok(());
    }
    Err(BenchError::new(format!("initdb: {}", String::from_utf8_lossy(&made.stderr).trim())))
}

/// The command as the user `postgres` if this process is root, since PostgreSQL refuses to run as root.
fn as_postgres(command: &Command) -> Result<Command> {
    let mut other = match postgres_user()? {
        None => Command::new(command.get_program()),
        Some(_) => {
            let mut other = Command::new("setpriv");
            other
                .args(["--reuid", "postgres", "--regid", "postgres", "--init-groups", "--"])
                .arg(command.get_program());
            other
        }
    };
    other.args(command.get_args()).current_dir("/");
    Ok(other)
}

fn postgres_user() -> Result<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let users = std::fs::read_to_string("/etc/passwd")?;
    let mut fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let fields = fields.find(|fields| fields.first() == Some(&"postgres"));
    let parse_field = |at: usize| fields.as_ref().and_then(|fields| fields.get(at)?.parse().ok());
    match (parse_field(2), parse_field(3)) {
        (Some(uid), Some(gid)) => Ok(Some((uid, gid))),
        _ => Err(BenchError::new(
            "PostgreSQL does not run as root, and the user postgres is missing; install the package postgresql",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_row_is_a_line_of_columns() {
        let mut out = String::new();
        write_copy_row(&[Value::Number(7), Value::Text("a"), Value::Bytes(&[1, 255]), Value::Null], &mut out);
        assert_eq!(out, "7\ta\t\\\\x01ff\tf\n");
    }
}
