//! Workloads: the kinds of load, their requests and expected responses, and how a workload is measured.

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
use crate::oauth::{self, SessionRequest};
use crate::user_population::{self, SaltedLogins};

/// The number of different requests in a repeated list.
const DISTINCT_REQUESTS: u64 = 10_000;
/// Assumed logins per second before the first measurement.
const INITIAL_LOGIN_RATE: f64 = 30_000.0;
/// Path of MeFP's call 验证用户名 and of its plain JSON counterpart.
const CHECK_LOGINNAME: &str = "/auth/check/loginname";

/// A load on one server, measured once in each round.
pub(crate) struct Workload {
    /// The key in thresholds and `--only`.
    pub(crate) key: &'static str,
    /// The title in reports.
    pub(crate) title: String,
    pub(crate) load: LoadKind,
    /// Requests per second of the last measurement.
    pub(crate) last_rate: Option<f64>,
    /// Processes whose memory, with that of their descendants, is read after each measurement; may be empty.
    pub(crate) processes: Vec<u32>,
}

/// A kind of load.
pub(crate) enum LoadKind {
    /// `wrk`, GET.
    Wrk { address: SocketAddr, connections: usize },
    /// `h2load`, over TLS. `log` is the path of its request log.
    H2load { request: external_tools::H2loadRequest, connections: usize, log: PathBuf },
    /// `pgbench` with the SELECT of a login.
    Pgbench { address: SocketAddr, database: String, script: PathBuf, clients: usize },
    /// `redis-benchmark` with one command.
    Redis { address: SocketAddr, test: &'static str, clients: usize },
    /// argon2id verifications in this process, on this many threads.
    Hash { threads: usize },
    /// A list of requests that is repeated.
    RepeatedRequests { address: SocketAddr, connections: usize, requests: Requests, expected: Box<ExpectedResponse> },
    /// Requests that present the sessions of `count` users, who log in at `logins` once in each round; repeated.
    Sessions {
        address: SocketAddr,
        connections: usize,
        logins: SocketAddr,
        count: u64,
        request: SessionRequest,
        expected: Box<ExpectedResponse>,
    },
    /// Salted logins of a population: in a closed loop, or in an open loop at this share of the rate of the workload
    /// `salted`.
    SaltedLogins { address: SocketAddr, connections: usize, population: Population, share: Option<f64> },
    /// Raw-password logins in a closed loop.
    RawLogins { address: SocketAddr, connections: usize, requests: Requests },
    /// Raw-password logins in a closed loop, and concurrent salted logins at a tenth of the rate of the workload
    /// `salted`. The salted ones are reported.
    MixedLogins {
        raw: SocketAddr,
        connections: usize,
        requests: Requests,
        salted: SocketAddr,
        salted_connections: usize,
    },
}

/// The database whose users log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Population {
    Main,
    Few,
    Most,
}

/// State that workloads share during the rounds.
pub(crate) struct RoundRunner {
    pub(crate) processes: Vec<(&'static str, u32)>,
    pub(crate) measurement_time: Duration,
    pub(crate) warmup: Duration,
    pub(crate) main_logins: SaltedLogins,
    pub(crate) few_users_logins: SaltedLogins,
    pub(crate) most_users_logins: Option<SaltedLogins>,
    /// Tokens of sessions of the main population that were created in this round.
    pub(crate) sessions: Vec<String>,
    /// Salted logins per second in the last measurement of the workload `salted`; `None` before the first one.
    pub(crate) last_salted_rate: Option<f64>,
    /// Raw-password logins per second during [`LoadKind::MixedLogins`], one value per round.
    pub(crate) password_login_rates_in_mixed_load: Vec<f64>,
}

impl RoundRunner {
    /// Makes the next proofs newer than the emptied state store, which has no sessions.
    pub(crate) fn refresh_logins(&mut self) {
        self.sessions.clear();
        for logins in [Some(&mut self.main_logins), Some(&mut self.few_users_logins), self.most_users_logins.as_mut()]
            .into_iter()
            .flatten()
        {
            logins.begin_new_cycle();
        }
    }

    /// Measures a workload once.
    ///
    /// # Errors
    /// If it cannot be measured. Errors of servers are counted in the measurement.
    pub(crate) fn measure(&mut self, workload: &mut Workload) -> Result<Measurement> {
        let (time, warmup) = (self.measurement_time, self.warmup);
        let mut measurement = match &mut workload.load {
            LoadKind::Wrk { address, connections } => {
                self.measure_tool(|| external_tools::run_wrk(*address, "/", *connections, time))?
            }
            LoadKind::H2load { request, connections, log } => {
                self.measure_tool(|| external_tools::run_h2load(request, *connections, warmup, time, log))?
            }
            LoadKind::Pgbench { address, database, script, clients } => {
                self.measure_tool(|| external_tools::run_pgbench(*address, database, script, *clients, time))?
            }
            LoadKind::Redis { address, test, clients } => {
                let count = workload.last_rate.unwrap_or(60_000.0) * time.as_secs_f64();
                self.measure_tool(|| external_tools::run_redis_benchmark(*address, test, *clients, count as u64))?
            }
            LoadKind::Hash { threads } => {
                let threads = *threads;
                self.measure_tool(|| verify_hashes(threads, time))?
            }
            LoadKind::RepeatedRequests { address, connections, requests, expected } => {
                let mut load = LoadGenerator::connect(*address, *connections, (**expected).clone())?;
                load.run(requests, LoopMode::Closed, warmup)?;
                self.measure_load(|| load.run(requests, LoopMode::Closed, time))?
            }
            LoadKind::Sessions { address, connections, logins, count, request, expected } => {
                if self.sessions.is_empty() {
                    self.sessions = oauth::log_in(*logins, &mut self.main_logins, *count)?;
                }
                let mut requests = Requests::repeating();
                for token in &self.sessions {
                    requests.add(|bytes| bytes.extend(request(token).to_bytes()));
                }
                let mut load = LoadGenerator::connect(*address, *connections, (**expected).clone())?;
                load.run(&mut requests, LoopMode::Closed, warmup)?;
                self.measure_load(|| load.run(&mut requests, LoopMode::Closed, time))?
            }
            LoadKind::RawLogins { address, connections, requests } => {
                let mut load = LoadGenerator::connect(*address, *connections, raw_login_response())?;
                load.run(requests, LoopMode::Closed, warmup)?;
                self.measure_load(|| load.run(requests, LoopMode::Closed, time))?
            }
            LoadKind::SaltedLogins { address, connections, population, share } => {
                let (address, connections, population, share) = (*address, *connections, *population, *share);
                let rate = share.map(|share| share * self.last_salted_rate.unwrap_or(INITIAL_LOGIN_RATE / 3.0));
                let mode = rate.map_or(LoopMode::Closed, LoopMode::Open);
                let expected_rate = rate.or(workload.last_rate).unwrap_or(INITIAL_LOGIN_RATE) * 1.4 + 2_000.0;
                let count = (expected_rate * (time + warmup).as_secs_f64()) as u64;
                let mut requests = self.logins_of(population)?.next_requests(count)?;
                let mut load = LoadGenerator::connect(address, connections, login_response())?;
                load.run(&mut requests, mode, warmup)?;
                self.measure_load(|| load.run(&mut requests, mode, time))?
            }
            LoadKind::MixedLogins { raw, connections, requests, salted, salted_connections } => {
                let rate = self.last_salted_rate.unwrap_or(INITIAL_LOGIN_RATE / 3.0) / 10.0;
                let count = (rate * (time + warmup).as_secs_f64() * 1.1) as u64 + 100;
                let mut logins = self.main_logins.next_requests(count)?;
                let mut raw = LoadGenerator::connect(*raw, *connections, raw_login_response())?;
                let mut salted = LoadGenerator::connect(*salted, *salted_connections, login_response())?;
                let mut raw_rate = None;
                let measurement = self.measure_load(|| {
                    std::thread::scope(|scope| {
                        let raw_result = scope.spawn(|| raw.run(requests, LoopMode::Closed, time + warmup));
                        // Warm up until all hashing slots are busy.
                        salted.run(&mut logins, LoopMode::Open(rate), warmup)?;
                        let salted_result = salted.run(&mut logins, LoopMode::Open(rate), time)?;
                        let raw_result =
                            raw_result.join().map_err(|_| BenchError::new("the load generator panicked"))??;
                        raw_rate = Some(raw_result.rate());
                        Ok(LoadResult {
                            errors: salted_result.errors + raw_result.errors,
                            first_error: salted_result.first_error.or(raw_result.first_error),
                            ..salted_result
                        })
                    })
                })?;
                self.password_login_rates_in_mixed_load.extend(raw_rate);
                measurement
            }
        };
        if !workload.processes.is_empty() {
            measurement.memory = Some(cpu_usage::memory_of_trees(&workload.processes)?);
        }
        workload.last_rate = Some(measurement.rate);
        if workload.key == "salted" {
            self.last_salted_rate = Some(measurement.rate);
        }
        Ok(measurement)
    }

    fn logins_of(&mut self, population: Population) -> Result<&mut SaltedLogins> {
        match population {
            Population::Main => Ok(&mut self.main_logins),
            Population::Few => Ok(&mut self.few_users_logins),
            Population::Most => self
                .most_users_logins
                .as_mut()
                .ok_or_else(|| BenchError::new("the largest population is missing; set its size with --most")),
        }
    }

    fn measure_load(&self, run: impl FnOnce() -> Result<LoadResult>) -> Result<Measurement> {
        let before = CpuSnapshot::take(&self.processes);
        let result = run()?;
        let usage = CpuSnapshot::take(&self.processes).since_snapshot(&before);
        Ok(Measurement::from_load_result(&result, &usage))
    }

    fn measure_tool(&self, run: impl FnOnce() -> Result<external_tools::ToolResult>) -> Result<Measurement> {
        let before = CpuSnapshot::take(&self.processes);
        let result = run()?;
        let usage = CpuSnapshot::take(&self.processes).since_snapshot(&before);
        Ok(Measurement::from_tool_result(&result, &usage))
    }
}

/// Verifies one password repeatedly on `threads` threads for `time`. The rate is the sum over the threads.
fn verify_hashes(threads: usize, time: Duration) -> Result<external_tools::ToolResult> {
    let digest = stele_core::password::PasswordDigest::from_bytes([7; 16]);
    let stored = verifier::hash(&digest, &OsRandom.bits128(), Argon2Cost::default(), &mut HashMemory::default());
    let stored = stored.ok_or_else(|| BenchError::new("argon2 rejects the default cost"))?;
    let started_at = Instant::now();
    let verify_repeatedly = || {
        let (secret, mut memory) = (PresentedSecret::Digest(digest.clone()), HashMemory::default());
        let mut count = 0_u64;
        while started_at.elapsed() < time {
            if !verifier::verify(&stored, &secret, &mut memory) {
                return Err(BenchError::new("a correct password was not accepted"));
            }
            count += 1;
        }
        Ok(count as f64 / started_at.elapsed().as_secs_f64())
    };
    let rates = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(verify_repeatedly)).collect();
        let joined = workers
            .into_iter()
            .map(|worker| worker.join().map_err(|_| BenchError::new("a hashing thread panicked"))?);
        joined.collect::<Result<Vec<f64>>>()
    })?;
    let rate: f64 = rates.iter().sum();
    Ok(external_tools::ToolResult { rate, requests: (rate * time.as_secs_f64()) as u64, ..<_>::default() })
}

/// A path under cloudbox's prefix.
pub(crate) const BENCH_PATH: &str = "/api/v1/cloudbox/bench";

/// A repeated GET of [`BENCH_PATH`].
pub(crate) fn get_requests() -> Requests {
    let mut requests = Requests::repeating();
    requests.add(|bytes| bytes.extend(Request::get(BENCH_PATH).to_bytes()));
    requests
}

/// A body of 500 bytes.
pub(crate) fn post_body() -> String {
    format!("{{\"fill\":\"{}\"}}", "x".repeat(489))
}

/// A repeated POST of [`post_body`].
pub(crate) fn post_requests() -> Requests {
    let mut requests = Requests::repeating();
    requests.add(|bytes| bytes.extend(Request::post(BENCH_PATH, "application/json", post_body()).to_bytes()));
    requests
}

/// Logouts with random tokens, which belong to no session.
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

/// The expected response to [`unknown_token_logouts`].
pub(crate) fn unknown_token_response() -> ExpectedResponse {
    ExpectedResponse::new(401, br#""code":"1005""#)
}

/// The expected response of the empty handler.
pub(crate) fn empty_response() -> ExpectedResponse {
    ExpectedResponse::new(200, b"")
}

fn login_response() -> ExpectedResponse {
    ExpectedResponse::new(200, br#""code":"0000""#)
}

fn raw_login_response() -> ExpectedResponse {
    ExpectedResponse::new(200, br#""status_code":"200""#)
}

/// Portal logins by password.
pub(crate) fn raw_login_requests(users: u64, app: &MefpApp) -> Requests {
    let client = dialect::DialectClient { app: app.clone(), tms_token: String::new() };
    let mut requests = Requests::repeating();
    for user in 0..DISTINCT_REQUESTS.min(users) {
        let (phone, password) = (user_population::phone(user).to_string(), user_population::password(user));
        let request = client.login_request(dialect::DialectKind::Portal, &phone, &password, 0);
        requests.add(|bytes| bytes.extend(request.to_bytes()));
    }
    requests
}

/// Requests of MeFP's 验证用户名, and their expected response. All users have the same response, since they registered at
/// the same time and all envelopes have the same IV.
///
/// # Errors
/// If the first call fails.
pub(crate) fn mefp_requests(users: u64, app: &MefpApp, address: SocketAddr) -> Result<(Requests, ExpectedResponse)> {
    let build_request = |user| {
        app.encrypted_request(CHECK_LOGINNAME, &json!({ "login_name": user_population::phone(user).to_string() }))
    };
    let mut requests = Requests::repeating();
    for user in 0..DISTINCT_REQUESTS.min(users) {
        requests.add(|bytes| bytes.extend(build_request(user).to_bytes()));
    }
    let http_response = BlockingConnection::connect(address, Duration::from_secs(10))?
        .request(&build_request(0).to_bytes())?
        .to_response();
    let client = dialect::DialectClient { app: app.clone(), tms_token: String::new() };
    let response = client.parse_response(dialect::DialectKind::Mefp, &http_response);
    if !response.is_success() {
        return Err(BenchError::new(format!("MeFP returns {}: {}", response.status, response.json)));
    }
    Ok((requests, ExpectedResponse::new(200, &http_response.body)))
}

/// Requests of 验证用户名 in plain JSON for the program `plain`, and their expected response.
pub(crate) fn plain_json_requests(users: u64, app: &MefpApp) -> (Requests, ExpectedResponse) {
    let mut requests = Requests::repeating();
    for user in 0..DISTINCT_REQUESTS.min(users) {
        let body = json!({ "app_from": app.name, "login_name": user_population::phone(user).to_string() });
        requests.add(|bytes| bytes.extend(dialect::json_post(CHECK_LOGINNAME, &body).to_bytes()));
    }
    (requests, ExpectedResponse::new(200, br#""result":1"#))
}
