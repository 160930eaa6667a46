//! The runs: each case again and again, until it makes no more writes than were tried.

use super::*;

/// Which server is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KilledServer {
    Postgres,
    Redis,
}

impl CrashTest {
    fn kill(&self, victim: KilledServer) -> Arc<dyn Fn() + Send + Sync> {
        let (postgres, redis) = (self.postgres.clone(), self.redis.clone());
        Arc::new(move || match victim {
            KilledServer::Postgres => postgres.kill(),
            KilledServer::Redis => {
                // What it holds is what it held, as with a disk of its own.
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

    /// Waits until both stores answer, as they must soon.
    async fn wait_until_recovered(&self) {
        let started = Instant::now();
        let use_cases = self.lab.use_cases();
        while use_cases.ping_users().await.is_err() || use_cases.ping_state().await.is_err() {
            assert!(started.elapsed() < Duration::from_secs(8), "the stores are there, and not found");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Does the case with the server killed at its `nth` write; gives whether there was one.
    async fn run_with_kill(
        &self,
        case: UseCase,
        victim: KilledServer,
        number: usize,
        nth: usize,
        when: KillPoint,
    ) -> bool {
        let subject = self.create_account(case, number).await;
        // So that using a session is a write, too.
        self.lab.clock().advance(Duration::from_secs(120));
        let (count, killed) = (AtomicUsize::new(0), Arc::new(AtomicBool::new(false)));
        let (kill, was) = (self.kill(victim), killed.clone());
        self.lab.set_store_observer(Some(Arc::new(move |call, moment| {
            if !WRITE_CALLS.contains(&call) {
                return false;
            }
            let this = match moment {
                CallPhase::Before => count.fetch_add(1, Ordering::SeqCst),
                CallPhase::After => count.load(Ordering::SeqCst) - 1,
            };
            let now = (this, moment == CallPhase::Before) == (nth, when == KillPoint::BeforeWrite);
            if now && !was.swap(true, Ordering::SeqCst) {
                kill();
                return when == KillPoint::ResponseLost;
            }
            false
        })));
        let outcome = self.run_use_case(case, &subject).await;
        self.lab.set_store_observer(None);
        if killed.load(Ordering::SeqCst) {
            self.restart(victim);
            self.wait_until_recovered().await;
            if let Err(error) = &outcome {
                assert!(matches!(error, Error::Unavailable(_)), "{case:?} {victim:?} {nth} {when:?}: {error}");
            }
        }
        let what = format!("{case:?}, {victim:?} killed {when:?} write {nth}: {outcome:?}");
        self.assert_consistent(case, &subject, outcome.ok(), victim == KilledServer::Redis, &what).await;
        killed.load(Ordering::SeqCst)
    }
}

async fn run_all_kill_points(cases: &[UseCase], victim: KilledServer) {
    let bench = CrashTest::new().await;
    let (mut number, mut kills) = (0, 0);
    for &case in cases {
        for when in [KillPoint::BeforeWrite, KillPoint::AfterWrite, KillPoint::ResponseLost] {
            for nth in 0.. {
                number += 1;
                if !bench.run_with_kill(case, victim, number, nth, when).await {
                    break;
                }
                kills += 1;
            }
        }
    }
    assert!(kills >= cases.len() * 3, "{kills}");
}

// Several tests, for a server that was killed takes its time to start: they take it at once.

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
