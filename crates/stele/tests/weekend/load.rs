//! A steady load of logins through nginx. Each answer is compared with what the old server would have said.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::task::JoinHandle;

use crate::client::DialectKind;
use crate::people::{Account, Person, Population};
use crate::requests::{Answer, OldClients};

/// Logins at the same time.
const WORKERS: u64 = 8;
/// How long a phase may take.
const PHASE_TIMEOUT: Duration = Duration::from_secs(60);
const WRONG_PASSWORD: &str = "not-the-password";

/// The answers of one phase and dialect.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Right passwords that were accepted with the right ids.
    pub(crate) accepted: usize,
    /// Right passwords of disabled users, and wrong ones, that were refused.
    pub(crate) refused: usize,
    /// Logins that the old server would have answered in another way.
    pub(crate) wrong: usize,
}

#[derive(Default)]
struct Tally {
    /// By phase, then by dialect.
    phases: Vec<(&'static str, [Counts; 5])>,
    /// What was wrong.
    faults: Vec<String>,
}

/// People, their clients, and what was answered to them.
pub(crate) struct Load {
    pub(crate) population: Population,
    pub(crate) clients: OldClients,
    tally: Mutex<Tally>,
    stop: AtomicBool,
    /// Whether people have only passwords that Stele knows are left.
    only_known: AtomicBool,
    next: AtomicUsize,
}

/// Running workers.
pub(crate) struct Workers(Vec<JoinHandle<()>>);

impl Load {
    pub(crate) fn new(population: Population, clients: OldClients) -> Arc<Self> {
        let (tally, stop, only_known) = (Mutex::default(), AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Self { population, clients, tally, stop, only_known, next: AtomicUsize::new(0) })
    }

    /// Starts the load, in the first phase.
    pub(crate) fn start(self: &Arc<Self>, phase: &'static str) -> Workers {
        self.begin_phase(phase);
        let workers = (0..WORKERS).map(|_| {
            let load = Arc::clone(self);
            tokio::spawn(async move {
                while !load.stop.load(Ordering::Relaxed) {
                    load.log_in_next().await;
                }
            })
        });
        Workers(workers.collect())
    }

    /// Ends the load, with the logins in flight.
    pub(crate) async fn stop(&self, workers: Workers) {
        self.stop.store(true, Ordering::Relaxed);
        for worker in workers.0 {
            worker.await.unwrap();
        }
    }

    pub(crate) fn begin_phase(&self, phase: &'static str) {
        self.tally.lock().unwrap().phases.push((phase, [Counts::default(); 5]));
    }

    /// Leaves people out who have a password that only an old server knows.
    pub(crate) fn leave_out_unknown_passwords(&self) {
        self.only_known.store(true, Ordering::Relaxed);
    }

    /// Waits for `count` answers to each of these dialects in the current phase.
    pub(crate) async fn wait_for(&self, dialects: &[DialectKind], count: usize) {
        let deadline = Instant::now() + PHASE_TIMEOUT;
        let is_enough = |dialect: &DialectKind| {
            let tally = self.tally.lock().unwrap();
            let Counts { accepted, refused, wrong } = tally.phases.last().unwrap().1[*dialect as usize];
            accepted + refused + wrong >= count
        };
        while !dialects.iter().all(is_enough) {
            assert!(Instant::now() < deadline, "too slow: {:?}", self.tally.lock().unwrap().phases);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The phases with their counts, for people.
    pub(crate) fn table(&self) -> String {
        let tally = self.tally.lock().unwrap();
        let mut text = "phase: accepted/refused/wrong of cloudbox, TMS, portal, MeFP, JWT\n".to_owned();
        for (phase, counts) in &tally.phases {
            let cells = counts.map(|Counts { accepted, refused, wrong }| format!("{accepted}/{refused}/{wrong}"));
            text += &format!("{phase}: {}\n", cells.join(" "));
        }
        text
    }

    /// Asserts that every login was answered as the old server would have answered it.
    pub(crate) fn assert_all_right(&self) {
        let tally = self.tally.lock().unwrap();
        assert!(
            tally.faults.is_empty(),
            "{} logins were answered in another way:\n{}",
            tally.faults.len(),
            tally.faults.iter().take(30).cloned().collect::<Vec<_>>().join("\n")
        );
    }

    pub(crate) fn person(&self, account: &Account) -> &Person {
        &self.population.people[account.person]
    }

    /// People with another password in each table use several at the same moment.
    pub(crate) async fn use_other_passwords_at_once(&self) {
        for person in &self.population.people {
            let _unchanged = person.changing.read().await;
            // The dialects that send the password: each old server's yes replaces the one that is stored.
            let accounts: Vec<_> = self
                .population
                .accounts_of(person.number)
                .filter(|account| !matches!(account.dialect, DialectKind::Cloudbox | DialectKind::Tms))
                .collect();
            if accounts.len() > 1 && person.has_other_password.load(Ordering::Relaxed) {
                join_all(accounts.iter().map(|account| self.log_in(account, 0, false))).await;
            }
        }
    }

    /// Asserts which server answers for a dialect now.
    pub(crate) async fn assert_answered_by(&self, dialect: DialectKind, upstream: &str) {
        let is_of = |account: &&Account| account.dialect == dialect && !account.is_disabled;
        let account = self.population.accounts.iter().find(is_of).unwrap();
        let person = self.person(account);
        let _unchanged = person.changing.read().await;
        let name = &account.identifiers[0];
        let answer = self.clients.log_in(person, account, name, &account.password()).await.unwrap();
        assert_eq!(answer.upstream, upstream, "{dialect:?}");
    }

    /// Whether a right password is accepted, without a judgement.
    pub(crate) async fn is_accepted(&self, account: &Account) -> bool {
        let person = self.person(account);
        let name = &account.identifiers[0];
        let answer = self.clients.log_in(person, account, name, &account.password()).await.unwrap();
        assert!(answer.response.status < 500, "{:?}", answer.response);
        answer.response.is_success()
    }

    async fn log_in_next(&self) {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let accounts = &self.population.accounts;
        // All accounts in an order that is no order of people or dialects; 7,919 is a prime.
        let account = &accounts[turn.wrapping_mul(7_919) % accounts.len()];
        let person = self.person(account);
        let is_left_out = self.only_known.load(Ordering::Relaxed) && person.has_other_password.load(Ordering::Relaxed);
        if !is_left_out && account.is_registered.load(Ordering::Relaxed) {
            let is_wrong = turn % 10 == 3 && person.may_be_wrong();
            let _unchanged = person.changing.read().await;
            self.log_in(account, turn, is_wrong).await;
        }
    }

    /// Logs in and judges the answer.
    pub(crate) async fn log_in(&self, account: &Account, turn: usize, is_wrong: bool) {
        let person = self.person(account);
        let name = &account.identifiers[turn / 3 % account.identifiers.len()];
        let password = if is_wrong { WRONG_PASSWORD.to_owned() } else { account.password() };
        // A login counts where it was sent.
        let phase = self.tally.lock().unwrap().phases.len() - 1;
        let sent = self.clients.log_in(person, account, name, &password).await;
        let is_right = !is_wrong && !account.is_disabled;
        let fault = match &sent {
            Err(error) => Some(format!("no answer: {error:?}")),
            Ok(answer) => fault_of(account, answer, is_right),
        };
        let mut tally = self.tally.lock().unwrap();
        let counts = &mut tally.phases[phase].1[account.dialect as usize];
        match (&fault, is_right) {
            (Some(_), _) => counts.wrong += 1,
            (None, true) => counts.accepted += 1,
            (None, false) => counts.refused += 1,
        }
        if let Some(fault) = fault {
            let phase = tally.phases[phase].0;
            let (number, others) = (person.number, person.has_other_password.load(Ordering::Relaxed));
            let what =
                format!("{phase}: {:?} of person {number} (other passwords: {others}) as {name}", account.dialect);
            tally.faults.push(format!("{what}, right: {is_right}: {fault}"));
        }
    }
}

/// How an answer differs from that of the old server.
fn fault_of(account: &Account, answer: &Answer, is_right: bool) -> Option<String> {
    let Answer { response, upstream } = answer;
    let dialect = account.dialect;
    let described = || format!("{upstream} answered {} {}", response.status, response.body.trim());
    if !is_right {
        return (!answer.is_refusal(dialect)).then(described);
    }
    if !response.is_success() {
        return Some(described());
    }
    let expected = match dialect {
        DialectKind::Mefp => Default::default(),
        _ => [account.id.clone(), account.gid.clone()],
    };
    let ids = answer.ids(dialect);
    // Who registered lately has no gid at the old server.
    let is_other = ids[0] != expected[0] || !expected[1].is_empty() && ids[1] != expected[1];
    is_other.then(|| format!("{upstream} answered the ids {ids:?} instead of {expected:?}"))
}
