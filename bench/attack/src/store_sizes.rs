//! Sizes of a target's stores: SQLite files, a PostgreSQL database, Redis memory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use stele_bench_kit::{BenchError, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The location of a target's stores.
#[derive(Clone, Debug)]
pub(crate) enum StoreLocation {
    /// SQLite files in this folder.
    Embedded(PathBuf),
    /// PostgreSQL and Redis.
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
    /// The user store with the audit log: SQLite file and WAL, or PostgreSQL database.
    pub(crate) user_store_bytes: u64,
    /// The state store: SQLite file and WAL, or memory of the Redis server.
    pub(crate) state_store_bytes: u64,
}

impl StoreLocation {
    /// Measures the current sizes.
    pub(crate) async fn measure(&self) -> Result<StoreSizes> {
        match self {
            Self::Embedded(data) => {
                let with_wal = |name: &str| file_size(&data.join(name)) + file_size(&data.join(format!("{name}-wal")));
                Ok(StoreSizes { user_store_bytes: with_wal("users.db"), state_store_bytes: with_wal("state.db") })
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
    let to_bench_error = |error: tokio_postgres::Error| {
        BenchError::new(format!("cannot read the size of the PostgreSQL database: {error}"))
    };
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.map_err(to_bench_error)?;
    let connection = tokio::spawn(connection);
    let result = client.query_one("SELECT pg_database_size(current_database())", &[]).await.map_err(to_bench_error)?;
    connection.abort();
    Ok(u64::try_from(result.get::<_, i64>(0)).unwrap_or_default())
}

async fn redis_memory(port: u16) -> Result<u64> {
    let request = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(b"INFO memory\r\nQUIT\r\n").await?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await?;
        Ok::<_, std::io::Error>(reply)
    };
    let reply = tokio::time::timeout(Duration::from_secs(5), request).await;
    let reply = reply.map_err(|_| BenchError::new("Redis did not reply to INFO memory within 5 s"))??;
    let line = reply.lines().find_map(|line| line.strip_prefix("used_memory:"));
    line.and_then(|line| line.trim().parse().ok())
        .ok_or_else(|| BenchError::new("the reply of Redis to INFO memory has no used_memory"))
}
