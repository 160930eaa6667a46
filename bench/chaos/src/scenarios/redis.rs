//! Faults of Redis: one server, Sentinel, Cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use stele_bench_kit::{BenchError, Result};
use stele_testkit::servers::{Redis, RedisCluster, RedisMode, eventually};

use crate::database::{start_postgres, stores};
use crate::report::RoundReport;
use crate::round::{Harness, Round, RoundOptions, SessionPromise};

const SECOND: Duration = Duration::from_secs(1);

/// Masters of a cluster, each with one replica.
const MASTERS: usize = 3;
/// Slots that are moved, besides the busiest.
const MOVED_SLOTS: u16 = 300;

/// Redis has forgotten sessions, or the last changes of them: the documents say so.
fn sessions_may_be_lost() -> RoundOptions<'static> {
    RoundOptions { sessions: SessionPromise::MayBeLost, ..RoundOptions::default() }
}

/// The server is killed and restarts without its data.
pub(super) fn server_restarts_empty(harness: &Harness, scenario: &'static str) -> Result<RoundReport> {
    let (postgres, redis) = (start_postgres(), Redis::start());
    let stores = stores(&[&postgres], redis.url());
    let mut round = Round::start(harness, scenario, &stores, sessions_may_be_lost())?;
    redis.kill();
    round.step("Redis is killed");
    round.wait(2 * SECOND);
    round.check_cli()?;
    redis.restart();
    round.heal("Redis is empty");
    round.finish()
}

/// The server is stopped (SIGSTOP) for 10 s.
pub(super) fn server_is_frozen(harness: &Harness, scenario: &'static str) -> Result<RoundReport> {
    let (postgres, redis) = (start_postgres(), Redis::start());
    let mut round = Round::start(harness, scenario, &stores(&[&postgres], redis.url()), RoundOptions::default())?;
    redis.pause();
    round.step("Redis is frozen");
    round.wait(4 * SECOND);
    round.check_cli()?;
    round.restart_instance_in_outage(0)?;
    round.wait(6 * SECOND);
    redis.resume();
    round.heal("Redis continues");
    round.finish()
}

/// The server rejects writes, since its memory is full.
pub(super) fn memory_is_full(harness: &Harness, scenario: &'static str) -> Result<RoundReport> {
    let (postgres, redis) = (start_postgres(), Redis::start());
    let mut round = Round::start(harness, scenario, &stores(&[&postgres], redis.url()), RoundOptions::default())?;
    // Less than an empty server uses.
    redis.command("CONFIG SET maxmemory 500kb");
    round.step("Redis is full");
    round.wait(10 * SECOND);
    round.check_cli()?;
    redis.command("CONFIG SET maxmemory 0");
    round.heal("Redis has memory again");
    round.finish()
}

/// Sentinel promotes the only replica; the former master returns and becomes a replica.
pub(super) fn sentinel_fails_over(harness: &Harness, scenario: &'static str) -> Result<RoundReport> {
    let (postgres, master) = (start_postgres(), Redis::start());
    let replica = Redis::start_mode(RedisMode::Replica(master.port()));
    let sentinel = Redis::start_mode(RedisMode::Sentinel(master.port()));
    let knows_replica = || sentinel.command("SENTINEL replicas main").contains(&replica.port().to_string());
    if !eventually(knows_replica) {
        return Err(BenchError::new("Sentinel does not find the replica"));
    }
    let stores = stores(&[&postgres], sentinel.url());
    let mut round = Round::start(harness, scenario, &stores, sessions_may_be_lost())?;
    master.kill();
    round.step("the master is killed");
    if !eventually(|| replica.command("ROLE").contains("master")) {
        return Err(BenchError::new("Sentinel promotes no replica"));
    }
    round.heal("the replica is promoted");
    round.wait(5 * SECOND);
    master.restart();
    round.step("the former master returns");
    round.wait(3 * SECOND);
    round.restart_instance(0)?;
    round.finish()
}

/// The busiest master is killed, and its replica promoted.
pub(super) fn cluster_fails_over(harness: &Harness, scenario: &'static str) -> Result<RoundReport> {
    let (postgres, cluster) = (start_postgres(), RedisCluster::start(MASTERS, 1));
    let stores = stores(&[&postgres], cluster.url());
    let mut round = Round::start(harness, scenario, &stores, sessions_may_be_lost())?;
    let slot = busiest_slot(&cluster);
    let owner = cluster.owner(slot).ok_or_else(|| BenchError::new("no node has the busiest slot"))?;
    round.step("the busiest master is killed");
    cluster.fail_over(owner);
    round.heal("its replica is promoted");
    round.wait(3 * SECOND);
    round.restart_instance(0)?;
    round.finish()
}

/// Slots move to another master, the busiest first.
pub(super) fn cluster_is_resharded(harness: &Harness, scenario: &'static str) -> Result<RoundReport> {
    let (postgres, cluster) = (start_postgres(), RedisCluster::start(MASTERS, 1));
    let mut round = Round::start(harness, scenario, &stores(&[&postgres], cluster.url()), RoundOptions::default())?;
    let slot = busiest_slot(&cluster);
    let owner = cluster.owner(slot).ok_or_else(|| BenchError::new("no node has the busiest slot"))?;
    let target = (owner + 1) % MASTERS;
    round.step(&format!("slot {slot}, the busiest, moves"));
    cluster.move_slots(slot..slot + 1, target);
    round.step(&format!("{MOVED_SLOTS} more slots move"));
    let slots = cluster.initial_slots(owner);
    cluster.move_slots(slots.start..(slots.start + MOVED_SLOTS).min(slots.end), target);
    round.heal("the slots have moved");
    let report = round.finish()?;
    Ok(report)
}

/// The slot with the most keys.
fn busiest_slot(cluster: &RedisCluster) -> u16 {
    let mut by_tag: BTreeMap<String, usize> = BTreeMap::new();
    for n in 0..MASTERS {
        let keys = cluster.master(n).command("KEYS *");
        for key in keys.lines().filter(|line| !line.starts_with(['*', '$'])) {
            *by_tag.entry(hashed_part(key).to_owned()).or_default() += 1;
        }
    }
    let busiest = by_tag.into_iter().max_by_key(|(_, keys)| *keys);
    busiest.map_or(0, |(tag, _)| cluster.slot(&format!("{{{tag}}}")))
}

/// The part of a key that its slot is computed from: that in braces, or all of it.
fn hashed_part(key: &str) -> &str {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    tag.filter(|tag| !tag.is_empty()).unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_of_a_key_is_the_part_in_the_first_braces() {
        for (key, tag) in [("{a}:birth", "a"), ("x:{b}{c}", "b"), ("session:1", "session:1"), ("{}x", "{}x")] {
            assert_eq!(hashed_part(key), tag);
        }
    }
}
