//! The private Redis Cluster moves slots and replaces failed masters.

use std::time::{Duration, Instant};

use stele_testservers::{Redis, RedisCluster};

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn a_redis_cluster_moves_slots_and_replaces_a_killed_master() {
    let cluster = RedisCluster::start(3, 1);
    let owner_of = |key: &str| cluster.owner(cluster.slot(key)).unwrap();
    let keys: Vec<_> = (0..60).map(|n| format!("key{n}")).collect();
    for key in &keys {
        assert!(cluster.nodes()[owner_of(key)].command(&format!("SET {key} kept")).contains("OK"));
    }
    let (slot, from) = (cluster.slot(&keys[0]), owner_of(&keys[0]));
    let to = (from + 1) % 3;
    cluster.move_slots(slot..slot + 1, to);
    assert_eq!(cluster.owner(slot), Some(to));
    assert!(cluster.master(from).command(&format!("GET {}", keys[0])).contains("MOVED"));

    let replicated = |node: &Redis| node.command("WAIT 1 1000").contains(":1");
    assert!((0..3).all(|n| replicated(cluster.master(n))));
    let promoted = cluster.fail_over(from);
    assert!(cluster.replicas(from).iter().any(|node| node.port() == cluster.nodes()[promoted].port()));
    // The other nodes hear of the new master a moment later.
    let answer = |key: &String| {
        let owner = cluster.owner(cluster.slot(key));
        owner.map(|owner| cluster.nodes()[owner].command(&format!("GET {key}"))).unwrap_or_default()
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    while let Some(lost) = keys.iter().find(|key| !answer(key).contains("kept")) {
        assert!(Instant::now() < deadline, "{lost}: {}", answer(lost));
        std::thread::sleep(Duration::from_millis(50));
    }
}
