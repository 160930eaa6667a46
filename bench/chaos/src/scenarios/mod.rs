//! The scenarios: which servers run, and what fails.

mod instances;
mod poolers;
mod postgres;
mod redis;

use stele_bench_kit::Result;

use crate::report::RoundReport;
use crate::round::Harness;

/// A scenario.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// One line for `--list`.
    pub(crate) description: &'static str,
    /// Runs one round, and gets the scenario's name.
    pub(crate) run: fn(&Harness, &'static str) -> Result<RoundReport>,
}

/// All scenarios.
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "pg-first-host-silent",
        description: "the first host of STELE_DATABASE_URL accepts connections and says nothing, from the start",
        run: postgres::first_host_is_silent,
    },
    Scenario {
        name: "pg-first-host-black-hole",
        description: "the first host drops packets, from the start",
        run: postgres::first_host_drops_packets,
    },
    Scenario {
        name: "pg-first-host-hangs",
        description: "the primary hangs, its standby is promoted, the primary returns unfenced",
        run: postgres::primary_hangs,
    },
    Scenario {
        name: "pg-primary-killed",
        description: "the primary is killed, its synchronous standby promoted, the primary returns unfenced",
        run: postgres::primary_is_killed,
    },
    Scenario {
        name: "pg-sync-standby-dead",
        description: "the synchronous standby is dead for 30 s: commits wait; three instances are restarted",
        run: postgres::synchronous_standby_is_dead,
    },
    Scenario {
        name: "pg-table-lock",
        description: "the table users is locked for 20 s under 50 clients; another user needs a connection",
        run: postgres::table_is_locked,
    },
    Scenario { name: "pg-frozen", description: "PostgreSQL is frozen for 10 s", run: postgres::server_is_frozen },
    Scenario {
        name: "pgbouncer-session",
        description: "PgBouncer in session mode; it is frozen for 5 s, PostgreSQL restarts",
        run: poolers::pgbouncer_in_session_mode,
    },
    Scenario {
        name: "pgbouncer-transaction",
        description: "PgBouncer in transaction mode works, or is refused in one line",
        run: poolers::pgbouncer_in_transaction_mode,
    },
    Scenario {
        name: "haproxy-pg-killed",
        description: "HAProxy in front of primary and standby; the primary is killed, the standby promoted",
        run: poolers::haproxy_primary_is_killed,
    },
    Scenario {
        name: "haproxy-pg-frozen",
        description: "HAProxy in front of primary and standby; the primary is frozen, the standby promoted",
        run: poolers::haproxy_primary_is_frozen,
    },
    Scenario {
        name: "redis-lost",
        description: "Redis is killed and restarts empty",
        run: redis::server_restarts_empty,
    },
    Scenario { name: "redis-frozen", description: "Redis is frozen for 10 s", run: redis::server_is_frozen },
    Scenario {
        name: "redis-full",
        description: "Redis has reached maxmemory with noeviction for 10 s",
        run: redis::memory_is_full,
    },
    Scenario {
        name: "sentinel-failover",
        description: "the master is killed, Sentinel promotes its one replica, the master returns",
        run: redis::sentinel_fails_over,
    },
    Scenario {
        name: "cluster-failover",
        description: "one of three masters of a Redis Cluster is killed, its replica promoted",
        run: redis::cluster_fails_over,
    },
    Scenario {
        name: "cluster-reshard",
        description: "slots of a Redis Cluster move, the busiest first",
        run: redis::cluster_is_resharded,
    },
    Scenario {
        name: "clock-off",
        description: "the clock of one instance is 10 minutes fast: not ready, with the reason",
        run: instances::clock_is_off,
    },
    Scenario {
        name: "roll",
        description: "every instance is drained and restarted in turn: no request fails",
        run: instances::all_are_rolled,
    },
    Scenario {
        name: "upgrade",
        description: "a newer version has migrated the schema; every instance of this version is rolled",
        run: instances::schema_is_newer,
    },
    Scenario {
        name: "kill-instance",
        description: "one of two instances is killed (SIGKILL), and starts again after 3 s",
        run: instances::one_is_killed,
    },
    Scenario {
        name: "disk-full",
        description: "the disk under PostgreSQL's tables is full for 10 s (needs root)",
        run: postgres::disk_is_full,
    },
];
