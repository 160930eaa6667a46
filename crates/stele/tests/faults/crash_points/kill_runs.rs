//! Runs each use case with a kill at its first, second, third … write, until it makes no further write.

use stele_testkit::ResponseDelivery;

use super::consistency::CallResult;
use super::*;

/// Which server is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KilledServer {
    Postgres,
    Redis,
}

impl CrashTest {
    /// A function that kills the server.
    fn kill_function(&self, victim: KilledServer) -> Arc<dyn Fn() + Send + Sync> {
        let (postgres, redis) = (self.postgres.clone(), self.redis.clone());
        Arc::new(move || match victim {
            KilledServer::Postgres => postgres.kill(),
            KilledServer::Redis => {
                // The data survives, as with Redis persistence on disk.
                redis.command("SAVE");
                redis.kill();
            }
        })
    }

    fn restart(&self, victim: KilledServer) {
        match victim {
            KilledServer::Postgres => self.postgres.restart(),
            KilledServer::Redis => self.redis.restart(),
        }
    }

    /// Waits until both stores respond, within 8 s.
    async fn wait_until_recovered(&self) {
        let started = Instant::now();
        let use_cases = self.lab.use_cases();
        while use_cases.ping_users().await.is_err() || use_cases.ping_state().await.is_err() {
            assert!(started.elapsed() < Duration::from_secs(8), "the stores run, but are not reachable");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Runs the use case and kills the server at the write with index `nth`; returns whether there was such a write.
    async fn run_with_kill(
        &self,
        use_case: UseCase,
        victim: KilledServer,
        number: usize,
        nth: usize,
        kill_point: KillPoint,
    ) -> bool {
        let account = self.create_account(use_case, number).await;
        // Past the interval at which uses of a session are written, so that `UseSession` writes, too.
        self.lab.clock().advance(Duration::from_secs(120));
        let (count, killed) = (AtomicUsize::new(0), Arc::new(AtomicBool::new(false)));
        let (kill, already_killed) = (self.kill_function(victim), killed.clone());
        self.lab.set_store_observer(Some(Arc::new(move |operation, phase| {
            if !WRITE_CALLS.contains(&operation) {
                return ResponseDelivery::Delivered;
            }
            let write = match phase {
                CallPhase::Before => count.fetch_add(1, Ordering::SeqCst),
                CallPhase::After => count.load(Ordering::SeqCst) - 1,
            };
            let is_kill_point = (write, phase == CallPhase::Before) == (nth, kill_point == KillPoint::BeforeWrite);
            if is_kill_point && !already_killed.swap(true, Ordering::SeqCst) {
                kill();
                if kill_point == KillPoint::ResponseLost {
                    return ResponseDelivery::Lost;
                }
            }
            ResponseDelivery::Delivered
        })));
        let outcome = self.run_use_case(use_case, &account).await;
        self.lab.set_store_observer(None);
        if killed.load(Ordering::SeqCst) {
            self.restart(victim);
            self.wait_until_recovered().await;
            if let Err(error) = &outcome {
                assert!(
                    matches!(error, Error::Unavailable(_)),
                    "{use_case:?} {victim:?} {nth} {kill_point:?}: {error}"
                );
            }
        }
        let context = format!("{use_case:?}, {victim:?} killed {kill_point:?} write {nth}: {outcome:?}");
        let result = outcome.map_or(CallResult::Failed, |token| CallResult::Succeeded { token });
        self.assert_consistent(use_case, &account, &result, &context).await;
        killed.load(Ordering::SeqCst)
    }
}

async fn run_all_kill_points(use_cases: &[UseCase], victim: KilledServer) {
    let test = CrashTest::new().await;
    let (mut number, mut kills) = (0, 0);
    for &use_case in use_cases {
        for kill_point in [KillPoint::BeforeWrite, KillPoint::AfterWrite, KillPoint::ResponseLost] {
            for nth in 0.. {
                number += 1;
                if !test.run_with_kill(use_case, victim, number, nth, kill_point).await {
                    break;
                }
                kills += 1;
            }
        }
    }
    assert!(kills >= use_cases.len() * 3, "{kills}");
}

// Several tests instead of one, because they run in parallel while killed servers restart.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn killing_postgresql_leaves_no_partial_registration() {
    run_all_kill_points(&[UseCase::AddUser, UseCase::Register, UseCase::AddClientToken], KilledServer::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn killing_postgresql_leaves_no_partial_password_change() {
    run_all_kill_points(&[UseCase::ChangePassword, UseCase::ResetPassword], KilledServer::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn killing_postgresql_leaves_no_partial_password_set() {
    run_all_kill_points(&[UseCase::SetPasswordByTicket, UseCase::SetPasswordByLogin], KilledServer::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn killing_postgresql_leaves_no_partial_logout() {
    run_all_kill_points(
        &[UseCase::Login, UseCase::UseSession, UseCase::Logout, UseCase::Disable, UseCase::Enable],
        KilledServer::Postgres,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn killing_redis_leaves_no_partial_change() {
    run_all_kill_points(&USE_CASES, KilledServer::Redis).await;
}
