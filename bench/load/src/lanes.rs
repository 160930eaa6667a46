//! What is measured: each lane is one load on one server. In each round every lane has its turn.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;
use stele_bench_kit::dialect::{self, App};
use stele_bench_kit::{Blocking, Failure, Request, Result};
use stele_core::hex;
use stele_core::random::{OsRandom, Random as _};
use stele_core::verifier::{self, Cost, Memory, Secret};

use crate::engine::{Expected, Load, Outcome, Pace, Requests};
use crate::machine::Cpu;
use crate::population::{self, Logins};
use crate::sample::Sample;
use crate::tools;

/// How many different requests there are where one may be sent again.
const DIFFERENT: u64 = 10_000;
/// How fast logins are before it is known, a second.
const AT_FIRST: f64 = 30_000.0;
/// MeFP's call, and its twin's.
const CHECK_LOGINNAME: &str = "/auth/check/loginname";

/// What one lane does.
pub(crate) struct Lane {
    /// What others call it: bars and `--only`.
    pub(crate) key: &'static str,
    /// What it is called in tables.
    pub(crate) title: String,
    pub(crate) work: Work,
    /// How fast it was, the last time.
    pub(crate) last: Option<f64>,
}

/// The load of a lane.
pub(crate) enum Work {
    /// `wrk`, GET.
    Wrk { address: SocketAddr, connections: usize },
    /// `h2load`, over TLS. The last is the file for its log.
    H2load { wanted: tools::OverTls, connections: usize, log: PathBuf },
    /// `pgbench`, the SELECT of a login.
    Pgbench { address: SocketAddr, database: String, script: PathBuf, clients: usize },
    /// `redis-benchmark`, one command.
    Redis { address: SocketAddr, test: &'static str, clients: usize },
    /// argon2 in this process, on one core or on all at once.
    Hash { threads: usize },
    /// Requests that may be sent again.
    Again { address: SocketAddr, connections: usize, requests: Requests, expected: Box<Expected> },
    /// Salted logins, by which population; `None`: as fast as they are answered, else this share of what the lane
    /// `salted` had.
    Logins { address: SocketAddr, connections: usize, of: Population, share: Option<f64> },
    /// Raw-password logins.
    Raw { address: SocketAddr, connections: usize, requests: Requests },
    /// Raw-password logins as fast as they are answered, and salted ones at a tenth of what the lane `salted` had: it
    /// is the latter that are told.
    Both { raw: SocketAddr, connections: usize, requests: Requests, salted: SocketAddr, salted_connections: usize },
}

/// Whose logins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Population {
    Main,
    Few,
    Most,
}

/// What lanes share.
pub(crate) struct Turns {
    pub(crate) processes: Vec<(&'static str, u32)>,
    pub(crate) time: Duration,
    pub(crate) warm: Duration,
    pub(crate) main: Logins,
    pub(crate) few: Logins,
    pub(crate) most: Option<Logins>,
    /// How many salted logins a second there are at most, as far as it is known.
    pub(crate) fastest: Option<f64>,
    /// Raw logins a second while salted ones are made.
    pub(crate) raw_beside: Vec<f64>,
}

impl Turns {
    /// Has the next logins be younger than the stores.
    pub(crate) fn renew(&mut self) {
        for logins in [Some(&mut self.main), Some(&mut self.few), self.most.as_mut()].into_iter().flatten() {
            logins.renew();
        }
    }

    /// One turn of a lane.
    ///
    /// # Errors
    /// If it cannot be measured. What servers do wrong is told in the sample.
    pub(crate) fn turn(&mut self, lane: &mut Lane) -> Result<Sample> {
        let (time, warm) = (self.time, self.warm);
        let sample = match &mut lane.work {
            Work::Wrk { address, connections } => self.tool(|| tools::wrk(*address, "/", *connections, time))?,
            Work::H2load { wanted, connections, log } => {
                self.tool(|| tools::h2load(wanted, *connections, warm, time, log))?
            }
            Work::Pgbench { address, database, script, clients } => {
                self.tool(|| tools::pgbench(*address, database, script, *clients, time))?
            }
            Work::Redis { address, test, clients } => {
                let count = lane.last.unwrap_or(60_000.0) * time.as_secs_f64();
                self.tool(|| tools::redis_benchmark(*address, test, *clients, count as u64))?
            }
            Work::Hash { threads } => {
                let threads = *threads;
                self.tool(|| hash(threads, time))?
            }
            Work::Again { address, connections, requests, expected } => {
                let mut load = Load::connect(*address, *connections, (**expected).clone())?;
                load.run(requests, Pace::Closed, warm)?;
                self.measured(|| load.run(requests, Pace::Closed, time))?
            }
            Work::Raw { address, connections, requests } => {
                let mut load = Load::connect(*address, *connections, raw_answer())?;
                load.run(requests, Pace::Closed, warm)?;
                self.measured(|| load.run(requests, Pace::Closed, time))?
            }
            Work::Logins { address, connections, of, share } => {
                let (address, connections, of, share) = (*address, *connections, *of, *share);
                let rate = share.map(|share| share * self.fastest.unwrap_or(AT_FIRST / 3.0));
                let pace = rate.map_or(Pace::Closed, Pace::Open);
                let expected = rate.or(lane.last).unwrap_or(AT_FIRST) * 1.4 + 2_000.0;
                let count = (expected * (time + warm).as_secs_f64()) as u64;
                let mut requests = self.logins(of)?.next(count)?;
                let mut load = Load::connect(address, connections, login_answer())?;
                load.run(&mut requests, pace, warm)?;
                self.measured(|| load.run(&mut requests, pace, time))?
            }
            Work::Both { raw, connections, requests, salted, salted_connections } => {
                let rate = self.fastest.unwrap_or(AT_FIRST / 3.0) / 10.0;
                let count = (rate * (time + warm).as_secs_f64() * 1.1) as u64 + 100;
                let mut logins = self.main.next(count)?;
                let mut raw = Load::connect(*raw, *connections, raw_answer())?;
                let mut salted = Load::connect(*salted, *salted_connections, login_answer())?;
                let mut beside = None;
                let sample = self.measured(|| {
                    std::thread::scope(|scope| {
                        let raws = scope.spawn(|| raw.run(requests, Pace::Closed, time + warm));
                        // Until all slots are busy.
                        salted.run(&mut logins, Pace::Open(rate), warm)?;
                        let outcome = salted.run(&mut logins, Pace::Open(rate), time)?;
                        let raws = raws.join().map_err(|_| Failure::new("the load generator panicked"))??;
                        beside = Some(raws.rate());
                        Ok(Outcome {
                            errors: outcome.errors + raws.errors,
                            first_error: outcome.first_error.or(raws.first_error),
                            ..outcome
                        })
                    })
                })?;
                self.raw_beside.extend(beside);
                sample
            }
        };
        lane.last = Some(sample.rate);
        if lane.key == "salted" {
            self.fastest = Some(sample.rate);
        }
        Ok(sample)
    }

    fn logins(&mut self, of: Population) -> Result<&mut Logins> {
        match of {
            Population::Main => Ok(&mut self.main),
            Population::Few => Ok(&mut self.few),
            Population::Most => self.most.as_mut().ok_or_else(|| Failure::new("there is no largest population")),
        }
    }

    fn measured(&self, run: impl FnOnce() -> Result<Outcome>) -> Result<Sample> {
        let before = Cpu::now(&self.processes);
        let outcome = run()?;
        let spent = Cpu::now(&self.processes).since(&before);
        Ok(Sample::of(&outcome, &spent))
    }

    fn tool(&self, run: impl FnOnce() -> Result<tools::ToolResult>) -> Result<Sample> {
        let before = Cpu::now(&self.processes);
        let result = run()?;
        let spent = Cpu::now(&self.processes).since(&before);
        Ok(Sample::of_tool(&result, &spent))
    }
}

/// Verifications of one password, on so many threads at once; the rate is that of all of them.
fn hash(threads: usize, time: Duration) -> Result<tools::ToolResult> {
    let digest = stele_core::password::PasswordDigest::from_bytes([7; 16]);
    let stored = verifier::hash(&digest, &OsRandom.bits128(), Cost::default(), &mut Memory::default());
    let stored = stored.ok_or_else(|| Failure::new("argon2 does not take its parameters"))?;
    let begun = Instant::now();
    let work = || {
        let (secret, mut memory) = (Secret::Digest(digest.clone()), Memory::default());
        let mut count = 0_u64;
        while begun.elapsed() < time {
            if !verifier::verify(&stored, &secret, &mut memory) {
                return Err(Failure::new("a right password was not accepted"));
            }
            count += 1;
        }
        Ok(count as f64 / begun.elapsed().as_secs_f64())
    };
    let rates = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().map(|worker| worker.join().map_err(|_| Failure::new("a hash panicked"))?);
        joined.collect::<Result<Vec<f64>>>()
    })?;
    let rate: f64 = rates.iter().sum();
    Ok(tools::ToolResult { rate, count: (rate * time.as_secs_f64()) as u64, ..<_>::default() })
}

/// A path of cloudbox's.
pub(crate) const PATH: &str = "/api/v1/cloudbox/bench";

/// A GET of that path.
pub(crate) fn get() -> Requests {
    let mut requests = Requests::again();
    requests.add(|bytes| bytes.extend(Request::get(PATH).bytes()));
    requests
}

/// A body of 500 bytes.
pub(crate) fn body() -> String {
    format!("{{\"fill\":\"{}\"}}", "x".repeat(489))
}

/// A POST of it.
pub(crate) fn post() -> Requests {
    let mut requests = Requests::again();
    requests.add(|bytes| bytes.extend(Request::post(PATH, "application/json", body()).bytes()));
    requests
}

/// Logouts with tokens that no session has.
pub(crate) fn dead_tokens() -> Requests {
    let mut requests = Requests::again();
    for _ in 0..DIFFERENT {
        let token = hex::encode(&OsRandom.bits128());
        let request = Request::post(dialect::CLOUDBOX_LOGOUT, "application/json", "{}").with("authorization", &token);
        requests.add(|bytes| bytes.extend(request.bytes()));
    }
    requests
}

/// What they are answered.
pub(crate) fn dead_answer() -> Expected {
    Expected::new(401, br#""code":"1005""#)
}

/// An empty answer.
pub(crate) fn empty_answer() -> Expected {
    Expected::new(200, b"")
}

fn login_answer() -> Expected {
    Expected::new(200, br#""code":"0000""#)
}

fn raw_answer() -> Expected {
    Expected::new(200, br#""status_code":"200""#)
}

/// Logins at the portal, by password.
pub(crate) fn raw(users: u64, app: &App) -> Requests {
    let caller = dialect::Caller { app: app.clone(), tms_token: String::new() };
    let mut requests = Requests::again();
    for user in 0..DIFFERENT.min(users) {
        let (phone, password) = (population::phone(user).to_string(), population::password(user));
        let request = caller.login(dialect::Dialect::Portal, &phone, &password, 0);
        requests.add(|bytes| bytes.extend(request.bytes()));
    }
    requests
}

/// MeFP's 验证用户名, and what each is answered: all users registered at one time, and all envelopes have one vector.
///
/// # Errors
/// If the first is not answered as it should be.
pub(crate) fn mefp(users: u64, app: &App, address: SocketAddr) -> Result<(Requests, Expected)> {
    let call = |user| app.call(CHECK_LOGINNAME, &json!({ "login_name": population::phone(user).to_string() }));
    let mut requests = Requests::again();
    for user in 0..DIFFERENT.min(users) {
        requests.add(|bytes| bytes.extend(call(user).bytes()));
    }
    let answer = Blocking::open(address, Duration::from_secs(10))?.exchange(&call(0).bytes())?.to_answer();
    let caller = dialect::Caller { app: app.clone(), tms_token: String::new() };
    let told = caller.read(dialect::Dialect::Mefp, &answer);
    if !told.is_done() {
        return Err(Failure::new(format!("MeFP answers {}: {}", told.status, told.json)));
    }
    Ok((requests, Expected::new(200, &answer.body)))
}

/// The same in plain JSON.
pub(crate) fn plain(users: u64, app: &App) -> (Requests, Expected) {
    let mut requests = Requests::again();
    for user in 0..DIFFERENT.min(users) {
        let body = json!({ "app_from": app.name, "login_name": population::phone(user).to_string() });
        requests.add(|bytes| bytes.extend(dialect::json_post(CHECK_LOGINNAME, &body).bytes()));
    }
    (requests, Expected::new(200, br#""result":1"#))
}
