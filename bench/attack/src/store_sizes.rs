//! How large what a fleet writes has become.

use std::path::{Path, PathBuf};
use std::time::Duration;

use stele_bench_kit::{BenchError, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Where a fleet keeps users and short-lived state.
#[derive(Clone, Debug)]
pub(crate) enum StoreLocation {
    /// In this folder.
    Embedded(PathBuf),
    /// On servers.
    Servers {
        /// The URL of PostgreSQL.
        database: String,
        /// The port of Redis.
        redis: u16,
    },
}

/// Sizes in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StoreSizes {
    /// The database of users and of the audit trail: SQLite's file and log, or PostgreSQL's database.
    pub(crate) user_store_bytes: u64,
    /// Short-lived state: SQLite's file and log, or Redis's memory.
    pub(crate) state_store_bytes: u64,
}

impl StoreLocation {
    /// How large they are now.
    pub(crate) async fn sizes(&self) -> Result<StoreSizes> {
        match self {
            Self::Embedded(data) => {
                let both = |name: &str| file_size(&data.join(name)) + file_size(&data.join(format!("{name}-wal")));
                Ok(StoreSizes { user_store_bytes: both("users.db"), state_store_bytes: both("state.db") })
            }
            Self::Servers { database, redis } => Ok(StoreSizes {
                user_store_bytes: postgres_size(database).await?,
                state_store_bytes: redis_memory(*redis).await?,
            }),
        }
    }
}

fn file_size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |found| found.len())
}

async fn postgres_size(url: &str) -> Result<u64> {
    let unusable = |error: tokio_postgres::Error| BenchError::new(format!("the size of PostgreSQL: {error}"));
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.map_err(unusable)?;
    let connection = tokio::spawn(connection);
    let row = client.query_one("SELECT pg_database_size(current_database())", &[]).await.map_err(unusable)?;
    connection.abort();
    Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or_default())
}

async fn redis_memory(port: u16) -> Result<u64> {
    let ask = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(b"INFO memory\r\nQUIT\r\n").await?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await?;
        Ok::<_, std::io::Error>(reply)
    };
    let reply = tokio::time::timeout(Duration::from_secs(5), ask).await;
    let reply = reply.map_err(|_| BenchError::new("Redis does not say how large it is"))??;
    let line = reply.lines().find_map(|line| line.strip_prefix("used_memory:"));
    line.and_then(|line| line.trim().parse().ok()).ok_or_else(|| BenchError::new("Redis does not say how large it is"))
}
