//! `kill -9` at every batch boundary, between the statements and the commit of every batch, and at random instants.

use std::time::Duration;

use stele_core::random::{OsRandom, Random as _};

use super::fixture::{BATCH, HoldPoint, ImportFixture, assert_ended};
use crate::support::eventually;

/// Kills a run at both points of each of its batches, and resumes it each time.
fn kill_everywhere(fixture: &ImportFixture) {
    let count = 4 * BATCH;
    fixture.write_users(count);
    for cursor in (0..count).step_by(usize::try_from(BATCH).unwrap()) {
        for point in [HoldPoint::BatchBoundary, HoldPoint::BeforeCommit] {
            fixture.hold(point, cursor);
            let mut run = fixture.spawn_run("users.csv");
            fixture.wait_until_held(cursor);
            run.0.kill().unwrap();
            run.0.wait().unwrap();
            fixture.release();
            assert_eq!(fixture.added(), cursor, "{point:?}");
            fixture.assert_whole();
        }
    }
    assert_ended(&fixture.import("run"), 0, &format!("added {count} same 0 merged 0 refused 0"));
    fixture.assert_whole();
    assert_eq!(fixture.value("(SELECT count(*) FROM import_runs)"), "1", "the same run each time");
    assert_ended(&fixture.import("run"), 0, &format!("added 0 same {count} merged 0 refused 0"));
}

#[test]
fn an_import_into_sqlite_survives_kills_at_every_point_of_every_batch() {
    kill_everywhere(&ImportFixture::on_sqlite());
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn an_import_into_postgresql_survives_kills_at_every_point_of_every_batch() {
    kill_everywhere(&ImportFixture::on_postgres());
}

/// Kills runs at random instants.
fn kill_at_random(fixture: &ImportFixture) {
    let count = 12 * BATCH;
    fixture.write_users(count);
    // How long a run takes to its first batch.
    let started_at = std::time::Instant::now();
    let mut run = fixture.spawn_run("users.csv");
    eventually("the first batch", || (fixture.added() > 0).then_some(()));
    let span = u64::try_from(started_at.elapsed().as_millis()).unwrap();
    run.0.kill().unwrap();
    run.0.wait().unwrap();
    for _ in 0..12 {
        let mut run = fixture.spawn_run("users.csv");
        std::thread::sleep(Duration::from_millis(OsRandom.uniform_below(span.max(1))));
        run.0.kill().unwrap();
        run.0.wait().unwrap();
        fixture.assert_whole();
    }
    let resumed = fixture.import("run");
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    fixture.assert_whole();
    assert_eq!(fixture.value("(SELECT count(*) FROM users WHERE number > 100000)"), count.to_string());
    // A kill after the last batch finds the run finished, and the next one starts another.
    let added = fixture.value("(SELECT sum(added) FROM import_runs)");
    assert_eq!(added, count.to_string());
}

#[test]
fn an_import_into_sqlite_survives_kills_at_random_instants() {
    kill_at_random(&ImportFixture::on_sqlite());
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn an_import_into_postgresql_survives_kills_at_random_instants() {
    kill_at_random(&ImportFixture::on_postgres());
}
