//! A private Redis Cluster of several masters, each with replicas: failover, and migration of slots.

use std::ops::Range;

use super::eventually;
use super::redis::{Redis, RedisMode};

/// The number of hash slots of a cluster.
const SLOTS: u16 = 16_384;

/// The most keys that one `MIGRATE` moves.
const KEYS_PER_MIGRATION: usize = 100;

/// A Redis Cluster on free ports of loopback that stops when dropped. Its nodes hold no data across a restart.
#[derive(Debug)]
pub struct RedisCluster {
    /// The masters at the start, then the replicas of each.
    nodes: Vec<Redis>,
    masters: usize,
    replicas_per_master: usize,
}

impl RedisCluster {
    /// Starts a cluster whose slots are distributed evenly over `masters` nodes in their order, each with
    /// `replicas_per_master` replicas. A failed master is replaced after 2 s; the cluster stays available meanwhile if
    /// [`RedisCluster::set_config`] turns `cluster-require-full-coverage` off.
    pub fn start(masters: usize, replicas_per_master: usize) -> Self {
        let count = masters * (1 + replicas_per_master);
        let nodes = (0..count).map(|_| Redis::start_mode(RedisMode::ClusterNode)).collect();
        let cluster = Self { nodes, masters, replicas_per_master };
        cluster.assign_slots();
        cluster.meet();
        cluster.attach_replicas();
        cluster
    }

    fn assign_slots(&self) {
        for (n, node) in self.nodes.iter().enumerate() {
            expect_ok(node, &format!("CLUSTER SET-CONFIG-EPOCH {}", n + 1));
        }
        for n in 0..self.masters {
            let slots = self.initial_slots(n);
            expect_ok(&self.nodes[n], &format!("CLUSTER ADDSLOTSRANGE {} {}", slots.start, slots.end - 1));
        }
    }

    fn meet(&self) {
        for node in &self.nodes[1..] {
            expect_ok(&self.nodes[0], &format!("CLUSTER MEET 127.0.0.1 {} {}", node.port(), node.bus_port()));
        }
        self.wait_until_complete();
    }

    fn attach_replicas(&self) {
        let replicas = || (0..self.masters).flat_map(|n| self.replicas(n).iter().map(move |replica| (n, replica)));
        for (n, replica) in replicas() {
            let master = node_id(&self.nodes[n]);
            // A node may not know the master yet.
            assert!(eventually(|| replica.command(&format!("CLUSTER REPLICATE {master}")).contains("OK")));
        }
        for (n, replica) in replicas() {
            let is_linked = || replica.command("INFO replication").contains("master_link_status:up");
            let is_announced = || {
                let replica = node_id(replica);
                self.nodes.iter().all(|node| {
                    let replicas = node.command(&format!("CLUSTER REPLICAS {}", node_id(&self.nodes[n])));
                    replicas.contains(&replica)
                })
            };
            assert!(eventually(is_linked) && eventually(is_announced), "{}", replica.command("CLUSTER NODES"));
        }
    }

    /// Waits until every node knows all others and serves requests.
    fn wait_until_complete(&self) {
        let known = format!("cluster_known_nodes:{}", self.nodes.len());
        let is_complete = |node: &Redis| {
            let info = node.command("CLUSTER INFO");
            info.contains(&known) && info.contains("cluster_state:ok")
        };
        assert!(eventually(|| self.nodes.iter().all(is_complete)), "{}", self.nodes[0].command("CLUSTER NODES"));
    }

    /// The slots that the master number `n` has at the start.
    pub fn initial_slots(&self, n: usize) -> Range<u16> {
        let boundary = |n: usize| (usize::from(SLOTS) * n / self.masters) as u16;
        boundary(n)..boundary(n + 1)
    }

    /// All nodes: the masters at the start, then their replicas.
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// The node that was started as the master number `n`.
    pub fn master(&self, n: usize) -> &Redis {
        &self.nodes[n]
    }

    /// The nodes that were started as replicas of the master number `n`.
    pub fn replicas(&self, n: usize) -> &[Redis] {
        let first = self.masters + n * self.replicas_per_master;
        &self.nodes[first..first + self.replicas_per_master]
    }

    /// The cluster's URL in the form of `STELE_REDIS_URL`, with the addresses of the masters at the start.
    pub fn url(&self) -> String {
        let hosts: Vec<_> =
            self.nodes[..self.masters].iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("redis+cluster://{}", hosts.join(","))
    }

    /// Sets a parameter at every node that runs.
    pub fn set_config(&self, name: &str, value: &str) {
        for node in &self.nodes {
            node.command(&format!("CONFIG SET {name} {value}"));
        }
    }

    /// The slot of a key.
    pub fn slot(&self, key: &str) -> u16 {
        let reply = self.nodes[0].command(&format!("CLUSTER KEYSLOT {key}"));
        reply.trim_start_matches(':').trim().parse().unwrap()
    }

    /// The number of the node that has the slot, in its own view.
    pub fn owner(&self, slot: u16) -> Option<usize> {
        self.nodes.iter().position(|node| owned_slots(node).iter().any(|slots| slots.contains(&slot)))
    }

    /// Kills the master number `n`, and waits until one of its replicas has its slots and every other node knows.
    /// Returns the number of the promoted node.
    pub fn fail_over(&self, n: usize) -> usize {
        let slots = owned_slots(&self.nodes[n]);
        self.nodes[n].kill();
        self.wait_for_promotion(&slots)
    }

    /// Waits until another node than the one that fails has these slots, and every other node knows. Returns the number
    /// of that node.
    fn wait_for_promotion(&self, slots: &[Range<u16>]) -> usize {
        let first = slots.first().expect("the master has slots").start;
        let mut promoted = None;
        assert!(
            eventually(|| {
                promoted = self.owner(first);
                promoted.is_some()
            }),
            "no replica was promoted"
        );
        let promoted = promoted.unwrap();
        let port = self.nodes[promoted].port();
        let knows = |node: &Redis| node.command("PING").is_empty() || view_of_owner(node, first) == Some(port);
        assert!(eventually(|| self.nodes.iter().all(knows)), "not every node knows the promoted replica");
        promoted
    }

    /// Moves slots to the node number `to`, as `redis-cli --cluster reshard` does, while the cluster is in use.
    pub fn move_slots(&self, slots: Range<u16>, to: usize) {
        let target = &self.nodes[to];
        for slot in slots {
            let from = self.owner(slot).expect("the slot has an owner");
            if from == to {
                continue;
            }
            let source = &self.nodes[from];
            self.begin_migration(slot, from, to);
            while self.migrate_keys(source, target, slot, KEYS_PER_MIGRATION) > 0 {}
            self.finish_migration(slot, from, to);
        }
    }

    /// Marks a slot as migrating. Until [`RedisCluster::finish_migration`], the source redirects calls for missing keys
    /// (`ASK`), and rejects those of which only some keys are there (`TRYAGAIN`).
    pub fn begin_migration(&self, slot: u16, from: usize, to: usize) {
        let (source, target) = (&self.nodes[from], &self.nodes[to]);
        expect_ok(target, &format!("CLUSTER SETSLOT {slot} IMPORTING {}", node_id(source)));
        expect_ok(source, &format!("CLUSTER SETSLOT {slot} MIGRATING {}", node_id(target)));
    }

    /// Moves up to `count` keys of a slot that is migrating. Returns their number.
    pub fn migrate_keys(&self, source: &Redis, target: &Redis, slot: u16, count: usize) -> usize {
        let reply = source.command(&format!("CLUSTER GETKEYSINSLOT {slot} {count}"));
        let keys: Vec<_> = reply.lines().filter(|line| !line.starts_with(['*', '$'])).collect();
        if !keys.is_empty() {
            let moved =
                source.command(&format!("MIGRATE 127.0.0.1 {} \"\" 0 5000 KEYS {}", target.port(), keys.join(" ")));
            // A key that has expired meanwhile is not found.
            assert!(moved.contains("OK") || moved.contains("NOKEY"), "MIGRATE: {moved}");
        }
        keys.len()
    }

    /// Gives a slot, whose keys have been moved, to its new owner.
    pub fn finish_migration(&self, slot: u16, from: usize, to: usize) {
        let assign = format!("CLUSTER SETSLOT {slot} NODE {}", node_id(&self.nodes[to]));
        // The new owner first, so that the slot is never without one.
        expect_ok(&self.nodes[to], &assign);
        expect_ok(&self.nodes[from], &assign);
    }
}

fn expect_ok(node: &Redis, command: &str) {
    let reply = node.command(command);
    assert!(reply.contains("OK"), "{command}: {reply}");
}

/// The node's id in the cluster.
fn node_id(node: &Redis) -> String {
    node.command("CLUSTER MYID").lines().nth(1).unwrap_or_default().to_owned()
}

/// The slots that a node has in its own view; none if it does not run.
fn owned_slots(node: &Redis) -> Vec<Range<u16>> {
    let nodes = node.command("CLUSTER NODES");
    nodes.lines().find(|line| line.contains("myself,master")).map(parse_slots).unwrap_or_default()
}

/// The port of the master that has the slot in this node's view.
fn view_of_owner(node: &Redis, slot: u16) -> Option<u16> {
    let nodes = node.command("CLUSTER NODES");
    let line = nodes.lines().find(|line| parse_slots(line).iter().any(|slots| slots.contains(&slot)))?;
    let address = line.split(' ').nth(1)?;
    address.split(['@', ',']).next()?.rsplit(':').next()?.parse().ok()
}

/// The slots in a line of `CLUSTER NODES`: from the ninth field on, `FIRST` or `FIRST-LAST`. Slots in migration are in
/// brackets.
fn parse_slots(line: &str) -> Vec<Range<u16>> {
    let parse = |field: &str| {
        let (first, last) = field.split_once('-').unwrap_or((field, field));
        Some(first.parse().ok()?..last.parse::<u16>().ok()? + 1)
    };
    line.split(' ').skip(8).filter(|field| !field.starts_with('[')).filter_map(parse).collect()
}
