//! Temporary PostgreSQL and Redis servers, with the durability of production or without.

use std::path::{Path, PathBuf};

use stele_testkit::servers::{Postgres, Redis};

use crate::{BenchError, Result};

/// When the servers acknowledge a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// As in `docker-compose.yml`: PostgreSQL syncs each commit, Redis its append-only file every second.
    #[default]
    Durable,
    /// Without syncing, to measure the cost of the disk.
    NotDurable,
}

/// A PostgreSQL and a Redis server on free loopback ports; dropping the value stops them.
#[derive(Debug)]
pub struct StoreServers {
    postgres: Postgres,
    redis: Redis,
}

impl StoreServers {
    /// Starts both servers. `settings` are additional lines of `postgresql.conf` (`shared_buffers = 1GB`).
    ///
    /// # Errors
    /// If a server is not installed or does not start.
    pub fn start(durability: Durability, settings: &[&str]) -> Result<Self> {
        Self::ensure_installed()?;
        let postgres = Postgres::start();
        if durability == Durability::Durable || !settings.is_empty() {
            let durability_settings = match durability {
                Durability::Durable => "",
                Durability::NotDurable => "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n",
            };
            postgres.write_file(
                "postgresql.auto.conf",
                &format!("max_connections = 200\n{durability_settings}{}\n", settings.join("\n")),
            );
            postgres.restart();
        }
        let redis = Redis::start();
        if durability == Durability::Durable && !redis.command("CONFIG SET appendonly yes").contains("OK") {
            return Err(BenchError::new("redis-server rejects `appendonly yes`"));
        }
        Ok(Self { postgres, redis })
    }

    /// Checks that both servers are installed.
    ///
    /// # Errors
    /// Names the missing program and the Debian package that contains it.
    pub fn ensure_installed() -> Result<()> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").map(|entries| entries.flatten().collect::<Vec<_>>());
        let folders = versions.unwrap_or_default().into_iter().map(|version| version.path().join("bin"));
        let folders: Vec<PathBuf> = folders.collect();
        let required = [("redis-server", "redis-server"), ("initdb", "postgresql"), ("postgres", "postgresql")];
        for (program, package) in required {
            if !is_installed(program, &folders) {
                return Err(BenchError::new(format!("{program} is missing; install Debian's package {package}")));
            }
        }
        Ok(())
    }

    /// The PostgreSQL server.
    pub fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    /// The Redis server.
    pub fn redis(&self) -> &Redis {
        &self.redis
    }
}

fn is_installed(program: &str, folders: &[PathBuf]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut all = std::env::split_paths(&path).chain(folders.iter().cloned());
    all.any(|folder: PathBuf| Path::new(&folder).join(program).exists())
}
