//! What is measured: each lane is one load on one server. In each round every lane has its turn.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;
use stele_bench_kit::dialect::{self, MefpApp};
use stele_bench_kit::{BenchError, BlockingConnection, Request, Result};
use stele_core::hex;
use stele_core::random::{OsRandom, Random as _};
use stele_core::verifier::{self, Argon2Cost, HashMemory, PresentedSecret};

use crate::cpu_usage::{self, CpuSnapshot};
use crate::engine::{ExpectedResponse, LoadGenerator, LoadResult, LoopMode, Requests};
use crate::external_tools;
use crate::measurement::Measurement;
use crate::user_population::{self, SaltedLogins};

/// How many different requests there are where one may be sent again.
const DISTINCT_REQUESTS: u64 = 10_000;
/// How fast logins are before it is known, a second.
const INITIAL_LOGIN_RATE: f64 = 30_000.0;
/// MeFP's call, and its twin's.
const CHECK_LOGINNAME: &str = "/auth/check/loginname";

/// What one lane does.
pub(crate) struct Workload {
    /// What others call it: bars and `--only`.
    pub(crate) key: &'static str,
    /// What it is called in tables.
    pub(crate) title: String,
    pub(crate) load: LoadKind,
    /// How fast it was, the last time.
    pub(crate) last_rate: Option<f64>,
    /// The processes whose memory, with that of their children, is read after each turn; empty: it is not read.
    pub(crate) processes: Vec<u32>,
}

/// The load of a lane.
pub(crate) enum LoadKind {
    /// `wrk`, GET.
    Wrk { address: SocketAddr, connections: usize },
    /// `h2load`, over TLS. The last is the file for its log.
    H2load { wanted: external_tools::H2loadRequest, connections: usize, log: PathBuf },
    /// `pgbench`, the SELECT of a login.
    Pgbench { address: SocketAddr, database: String, script: PathBuf, clients: usize },
    /// `redis-benchmark`, one command.
    Redis { address: SocketAddr, test: &'static str, clients: usize },
    /// argon2 in this process, on one core or on all at once.
    Hash { threads: usize },
    /// Requests that may be sent again.
    RepeatedRequests { address: SocketAddr, connections: usize, requests: Requests, expected: Box<ExpectedResponse> },
    /// Salted logins, by which population; `None`: as fast as they are answered, else this share of what the lane
    /// `salted` had.
    SaltedLogins { address: SocketAddr, connections: usize, of: Population, share: Option<f64> },
    /// Raw-password logins.
    RawLogins { address: SocketAddr, connections: usize, requests: Requests },
    /// Raw-password logins as fast as they are answered, and salted ones at a tenth of what the lane `salted` had: it
    /// is the latter that are told.
    MixedLogins {
        raw: SocketAddr,
        connections: usize,
        requests: Requests,
        salted: SocketAddr,
        salted_connections: usize,
    },
}

/// Whose logins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Population {
    Main,
    Few,
    Most,
}

/// What lanes share.
pub(crate) struct RoundRunner {
    pub(crate) processes: Vec<(&'static str, u32)>,
    pub(crate) measurement_time: Duration,
    pub(crate) warmup: Duration,
    pub(crate) main_logins: SaltedLogins,
    pub(crate) few_users_logins: SaltedLogins,
    pub(crate) most_users_logins: Option<SaltedLogins>,
    /// How many salted logins a second there are at most, as far as it is known.
    pub(crate) fastest_salted_rate: Option<f64>,
    /// Raw logins a second while salted ones are made.
    pub(crate) raw_rates_in_mixed_load: Vec<f64>,
}

impl RoundRunner {
    /// Has the next logins be younger than the stores.
    pub(crate) fn refresh_logins(&mut self) {
        for logins in [Some(&mut self.main_logins), Some(&mut self.few_users_logins), self.most_users_logins.as_mut()]
            .into_iter()
            .flatten()
        {
            logins.start_fresh_round();
        }
    }

    /// One turn of a lane.
    ///
    /// # Errors
    /// If it cannot be measured. What servers do wrong is told in the sample.
    pub(crate) fn measure(&mut self, lane: &mut Workload) -> Result<Measurement> {
        let (time, warm) = (self.measurement_time, self.warmup);
        let mut sample = match &mut lane.load {
            LoadKind::Wrk { address, connections } => {
                self.measure_tool(|| external_tools::wrk(*address, "/", *connections, time))?
            }
            LoadKind::H2load { wanted, connections, log } => {
                self.measure_tool(|| external_tools::h2load(wanted, *connections, warm, time, log))?
            }
            LoadKind::Pgbench { address, database, script, clients } => {
                self.measure_tool(|| external_tools::pgbench(*address, database, script, *clients, time))?
            }
            LoadKind::Redis { address, test, clients } => {
                let count = lane.last_rate.unwrap_or(60_000.0) * time.as_secs_f64();
                self.measure_tool(|| external_tools::redis_benchmark(*address, test, *clients, count as u64))?
            }
            LoadKind::Hash { threads } => {
                let threads = *threads;
                self.measure_tool(|| verify_hashes(threads, time))?
            }
            LoadKind::RepeatedRequests { address, connections, requests, expected } => {
                let mut load = LoadGenerator::connect(*address, *connections, (**expected).clone())?;
                load.run(requests, LoopMode::Closed, warm)?;
                self.measure_load(|| load.run(requests, LoopMode::Closed, time))?
            }
            LoadKind::RawLogins { address, connections, requests } => {
                let mut load = LoadGenerator::connect(*address, *connections, raw_login_response())?;
                load.run(requests, LoopMode::Closed, warm)?;
                self.measure_load(|| load.run(requests, LoopMode::Closed, time))?
            }
            LoadKind::SaltedLogins { address, connections, of, share } => {
                let (address, connections, of, share) = (*address, *connections, *of, *share);
                let rate = share.map(|share| share * self.fastest_salted_rate.unwrap_or(INITIAL_LOGIN_RATE / 3.0));
                let pace = rate.map_or(LoopMode::Closed, LoopMode::Open);
                let expected = rate.or(lane.last_rate).unwrap_or(INITIAL_LOGIN_RATE) * 1.4 + 2_000.0;
                let count = (expected * (time + warm).as_secs_f64()) as u64;
                let mut requests = self.logins_of(of)?.next_requests(count)?;
                let mut load = LoadGenerator::connect(address, connections, login_response())?;
                load.run(&mut requests, pace, warm)?;
                self.measure_load(|| load.run(&mut requests, pace, time))?
            }
            LoadKind::MixedLogins { raw, connections, requests, salted, salted_connections } => {
                let rate = self.fastest_salted_rate.unwrap_or(INITIAL_LOGIN_RATE / 3.0) / 10.0;
                let count = (rate * (time + warm).as_secs_f64() * 1.1) as u64 + 100;
                let mut logins = self.main_logins.next_requests(count)?;
                let mut raw = LoadGenerator::connect(*raw, *connections, raw_login_response())?;
                let mut salted = LoadGenerator::connect(*salted, *salted_connections, login_response())?;
                let mut beside = None;
                let sample = self.measure_load(|| {
                    std::thread::scope(|scope| {
                        let raws = scope.spawn(|| raw.run(requests, LoopMode::Closed, time + warm));
                        // Until all slots are busy.
                        salted.run(&mut logins, LoopMode::Open(rate), warm)?;
                        let outcome = salted.run(&mut logins, LoopMode::Open(rate), time)?;
                        let raws = raws.join().map_err(|_| BenchError::new("the load generator panicked"))??;
                        beside = Some(raws.rate());
                        Ok(LoadResult {
                            errors: outcome.errors + raws.errors,
                            first_error: outcome.first_error.or(raws.first_error),
                            ..outcome
                        })
                    })
                })?;
                self.raw_rates_in_mixed_load.extend(beside);
                sample
            }
        };
        if !lane.processes.is_empty() {
            sample.memory = Some(cpu_usage::memory_of_trees(&lane.processes)?);
        }
        lane.last_rate = Some(sample.rate);
        if lane.key == "salted" {
            self.fastest_salted_rate = Some(sample.rate);
        }
        Ok(sample)
    }

    fn logins_of(&mut self, of: Population) -> Result<&mut SaltedLogins> {
        match of {
            Population::Main => Ok(&mut self.main_logins),
            Population::Few => Ok(&mut self.few_users_logins),
            Population::Most => {
                self.most_users_logins.as_mut().ok_or_else(|| BenchError::new("there is no largest population"))
            }
        }
    }

    fn measure_load(&self, run: impl FnOnce() -> Result<LoadResult>) -> Result<Measurement> {
        let before = CpuSnapshot::take(&self.processes);
        let outcome = run()?;
        let spent = CpuSnapshot::take(&self.processes).since_snapshot(&before);
        Ok(Measurement::from_load_result(&outcome, &spent))
    }

    fn measure_tool(&self, run: impl FnOnce() -> Result<external_tools::ToolResult>) -> Result<Measurement> {
        let before = CpuSnapshot::take(&self.processes);
        let result = run()?;
        let spent = CpuSnapshot::take(&self.processes).since_snapshot(&before);
        Ok(Measurement::from_tool_result(&result, &spent))
    }
}

/// Verifications of one password, on so many threads at once; the rate is that of all of them.
fn verify_hashes(threads: usize, time: Duration) -> Result<external_tools::ToolResult> {
    let digest = stele_core::password::PasswordDigest::from_bytes([7; 16]);
    let stored = verifier::hash(&digest, &OsRandom.bits128(), Argon2Cost::default(), &mut HashMemory::default());
    let stored = stored.ok_or_else(|| BenchError::new("argon2 does not take its parameters"))?;
    let begun = Instant::now();
    let work = || {
        let (secret, mut memory) = (PresentedSecret::Digest(digest.clone()), HashMemory::default());
        let mut count = 0_u64;
        while begun.elapsed() < time {
            if !verifier::verify(&stored, &secret, &mut memory) {
                return Err(BenchError::new("a right password was not accepted"));
            }
            count += 1;
        }
        Ok(count as f64 / begun.elapsed().as_secs_f64())
    };
    let rates = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().map(|worker| worker.join().map_err(|_| BenchError::new("a hash panicked"))?);
        joined.collect::<Result<Vec<f64>>>()
    })?;
    let rate: f64 = rates.iter().sum();
    Ok(external_tools::ToolResult { rate, requests: (rate * time.as_secs_f64()) as u64, ..<_>::default() })
}

/// A path of cloudbox's.
pub(crate) const BENCH_PATH: &str = "/api/v1/cloudbox/bench";

/// A GET of that path.
pub(crate) fn get_requests() -> Requests {
    let mut requests = Requests::repeating();
    requests.add(|bytes| bytes.extend(Request::get(BENCH_PATH).to_bytes()));
    requests
}

/// A body of 500 bytes.
pub(crate) fn post_body() -> String {
    format!("{{\"fill\":\"{}\"}}", "x".repeat(489))
}

/// A POST of it.
pub(crate) fn post_requests() -> Requests {
    let mut requests = Requests::repeating();
    requests.add(|bytes| bytes.extend(Request::post(BENCH_PATH, "application/json", post_body()).to_bytes()));
    requests
}

/// Logouts with tokens that no session has.
pub(crate) fn unknown_token_logouts() -> Requests {
    let mut requests = Requests::repeating();
    for _ in 0..DISTINCT_REQUESTS {
        let token = hex::encode(&OsRandom.bits128());
        let request =
            Request::post(dialect::CLOUDBOX_LOGOUT, "application/json", "{}").with_header("authorization", &token);
        requests.add(|bytes| bytes.extend(request.to_bytes()));
    }
    requests
}

/// What they are answered.
pub(crate) fn unknown_token_response() -> ExpectedResponse {
    ExpectedResponse::new(401, br#""code":"1005""#)
}

/// An empty answer.
pub(crate) fn empty_response() -> ExpectedResponse {
    ExpectedResponse::new(200, b"")
}

fn login_response() -> ExpectedResponse {
    ExpectedResponse::new(200, br#""code":"0000""#)
}

fn raw_login_response() -> ExpectedResponse {
    ExpectedResponse::new(200, br#""status_code":"200""#)
}

/// Logins at the portal, by password.
pub(crate) fn raw_login_requests(users: u64, app: &MefpApp) -> Requests {
    let caller = dialect::DialectClient { app: app.clone(), tms_token: String::new() };
    let mut requests = Requests::repeating();
    for user in 0..DISTINCT_REQUESTS.min(users) {
        let (phone, password) = (user_population::phone(user).to_string(), user_population::password(user));
        let request = caller.login(dialect::DialectKind::Portal, &phone, &password, 0);
        requests.add(|bytes| bytes.extend(request.to_bytes()));
    }
    requests
}

/// MeFP's 验证用户名, and what each is answered: all users registered at one time, and all envelopes have one vector.
///
/// # Errors
/// If the first is not answered as it should be.
pub(crate) fn mefp_requests(users: u64, app: &MefpApp, address: SocketAddr) -> Result<(Requests, ExpectedResponse)> {
    let call = |user| app.call(CHECK_LOGINNAME, &json!({ "login_name": user_population::phone(user).to_string() }));
    let mut requests = Requests::repeating();
    for user in 0..DISTINCT_REQUESTS.min(users) {
        requests.add(|bytes| bytes.extend(call(user).to_bytes()));
    }
    let answer =
        BlockingConnection::connect(address, Duration::from_secs(10))?.request(&call(0).to_bytes())?.to_response();
    let caller = dialect::DialectClient { app: app.clone(), tms_token: String::new() };
    let response = caller.parse_response(dialect::DialectKind::Mefp, &answer);
    if !response.is_success() {
        return Err(BenchError::new(format!("MeFP answers {}: {}", response.status, response.json)));
    }
    Ok((requests, ExpectedResponse::new(200, &answer.body)))
}

/// The same in plain JSON.
pub(crate) fn plain_json_requests(users: u64, app: &MefpApp) -> (Requests, ExpectedResponse) {
    let mut requests = Requests::repeating();
    for user in 0..DISTINCT_REQUESTS.min(users) {
        let body = json!({ "app_from": app.name, "login_name": user_population::phone(user).to_string() });
        requests.add(|bytes| bytes.extend(dialect::json_post(CHECK_LOGINNAME, &body).to_bytes()));
    }
    (requests, ExpectedResponse::new(200, br#""result":1"#))
}
