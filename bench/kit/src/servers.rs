//! PostgreSQL and Redis, as an operator would run them.

use std::path::{Path, PathBuf};

use stele_testkit::servers::{Postgres, Redis};

use crate::{BenchError, Result};

/// What the servers do before they say that something is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// What `docker-compose.yml` has: PostgreSQL syncs each commit, Redis its append-only file every second.
    #[default]
    Durable,
    /// Nothing: to see what a disk costs.
    NotDurable,
}

/// A PostgreSQL and a Redis server on free ports of loopback, which end with the value.
#[derive(Debug)]
pub struct StoreServers {
    postgres: Postgres,
    redis: Redis,
}

impl StoreServers {
    /// Starts both. `settings` are more lines for PostgreSQL's configuration (`shared_buffers = 1GB`).
    ///
    /// # Errors
    /// If one of them is not installed, or does not start.
    pub fn start(durability: Durability, settings: &[&str]) -> Result<Self> {
        Self::ensure_installed()?;
        let postgres = Postgres::start();
        if durability == Durability::Durable || !settings.is_empty() {
            let own = match durability {
                Durability::Durable => "",
                Durability::NotDurable => "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n",
            };
            postgres
                .write_file("postgresql.auto.conf", &format!("max_connections = 200\n{own}{}\n", settings.join("\n")));
            postgres.restart();
        }
        let redis = Redis::start();
        if durability == Durability::Durable && !redis.command("CONFIG SET appendonly yes").contains("OK") {
            return Err(BenchError::new("redis-server does not take `appendonly yes`"));
        }
        Ok(Self { postgres, redis })
    }

    /// Whether both are installed.
    ///
    /// # Errors
    /// What is missing, and how to install it.
    pub fn ensure_installed() -> Result<()> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").map(|entries| entries.flatten().collect::<Vec<_>>());
        let folders = versions.unwrap_or_default().into_iter().map(|version| version.path().join("bin"));
        let folders: Vec<PathBuf> = folders.collect();
        let wanted = [("redis-server", "redis-server"), ("initdb", "postgresql"), ("postgres", "postgresql")];
        for (program, package) in wanted {
            if !is_installed(program, &folders) {
                return Err(BenchError::new(format!("{program} is missing; install Debian's package {package}")));
            }
        }
        Ok(())
    }

    /// PostgreSQL.
    pub fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    /// Redis.
    pub fn redis(&self) -> &Redis {
        &self.redis
    }
}

fn is_installed(program: &str, folders: &[PathBuf]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut all = std::env::split_paths(&path).chain(folders.iter().cloned());
    all.any(|folder: PathBuf| Path::new(&folder).join(program).exists())
}
