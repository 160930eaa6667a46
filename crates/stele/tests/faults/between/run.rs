//! The runs: each case again and again, until it makes no more writes than were tried.

use super::*;

/// Which server is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Postgres,
    Redis,
}

impl Bench {
    fn kill(&self, victim: Victim) -> Arc<dyn Fn() + Send + Sync> {
        let (postgres, redis) = (self.postgres.clone(), self.redis.clone());
        Arc::new(move || match victim {
            Victim::Postgres => postgres.kill(),
            Victim::Redis => {
                // What it holds is what it held, as with a disk of its own.
                redis.ask("SAVE");
                redis.kill();
            }
        })
    }

    fn restart(&self, victim: Victim) {
        match victim {
            Victim::Postgres => self.postgres.restart(),
            Victim::Redis => self.redis.restart(),
        }
    }

    /// Waits until both stores answer, as they must soon.
    async fn recovered(&self) {
        let started = Instant::now();
        let use_cases = self.lab.use_cases();
        while use_cases.ping_users().await.is_err() || use_cases.ping_state().await.is_err() {
            assert!(started.elapsed() < Duration::from_secs(8), "the stores are there, and not found");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Does the case with the server killed at its `nth` write; gives whether there was one.
    async fn with_a_kill(&self, case: Case, victim: Victim, number: usize, nth: usize, when: When) -> bool {
        let subject = self.subject(case, number).await;
        // So that using a session is a write, too.
        self.lab.clock().advance(Duration::from_secs(120));
        let (count, killed) = (AtomicUsize::new(0), Arc::new(AtomicBool::new(false)));
        let (kill, was) = (self.kill(victim), killed.clone());
        self.lab.watch(Some(Arc::new(move |call, moment| {
            if !WRITES.contains(&call) {
                return false;
            }
            let this = match moment {
                Moment::Before => count.fetch_add(1, Ordering::SeqCst),
                Moment::After => count.load(Ordering::SeqCst) - 1,
            };
            let now = (this, moment == Moment::Before) == (nth, when == When::Before);
            if now && !was.swap(true, Ordering::SeqCst) {
                kill();
                return when == When::Unheard;
            }
            false
        })));
        let outcome = self.act(case, &subject).await;
        self.lab.watch(None);
        if killed.load(Ordering::SeqCst) {
            self.restart(victim);
            self.recovered().await;
            if let Err(error) = &outcome {
                assert!(matches!(error, Error::Unavailable(_)), "{case:?} {victim:?} {nth} {when:?}: {error}");
            }
        }
        let what = format!("{case:?}, {victim:?} killed {when:?} write {nth}: {outcome:?}");
        self.judge(case, &subject, outcome.ok(), victim == Victim::Redis, &what).await;
        killed.load(Ordering::SeqCst)
    }
}

async fn every(cases: &[Case], victim: Victim) {
    let bench = Bench::new().await;
    let (mut number, mut kills) = (0, 0);
    for &case in cases {
        for when in [When::Before, When::After, When::Unheard] {
            for nth in 0.. {
                number += 1;
                if !bench.with_a_kill(case, victim, number, nth, when).await {
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
async fn postgresql_killed_leaves_nobody_half_registered() {
    every(&[Case::AddUser, Case::Register, Case::AddClientToken], Victim::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn postgresql_killed_leaves_no_password_half_changed() {
    every(&[Case::Change, Case::Reset], Victim::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn postgresql_killed_leaves_no_password_half_set() {
    every(&[Case::SetByTicket, Case::SetByLogin], Victim::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn postgresql_killed_leaves_no_session_half_ended() {
    every(&[Case::Login, Case::Use, Case::Logout, Case::Disable, Case::Enable], Victim::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn redis_killed_leaves_nothing_half_done() {
    every(&CASES, Victim::Redis).await;
}
