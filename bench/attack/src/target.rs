//! What is attacked.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use stele_bench_kit::{
    BenchError, DialectClient, DialectKind, DialectResponse, Installation, ProductProcess, ReleasePrograms, Request,
    Response, Result, StoreServers, TestUser, test_users,
};

use crate::burst::{BurstRequest, ConnectionSet};
use crate::report::{AttackResult, HEALTH_CHECK_NAME};
use crate::store_sizes::StoreLocation;

/// Everybody's.
pub(crate) const PASSWORD: &str = "the-right-password";

/// As a deployment has it: the gateways believe a proxy in front of them (this command, from 127.0.0.1; what comes from
/// another address of loopback comes from a stranger), and the services believe the gateways.
const SETTINGS: &[(&str, &str)] =
    &[("STELE_TRUSTED_PROXIES", "127.0.0.1"), ("STELE_LOG", "warn"), ("STELE_DRAIN", "0")];

/// Limits out of the way; and hashes that cost next to nothing, for without limits there would be a hundred thousand.
const WITHOUT_LIMITS: &[(&str, &str)] = &[
    ("STELE_LIMIT_ACCOUNT", "1000000000"),
    ("STELE_LIMIT_ADDRESS", "1000000000"),
    ("STELE_LIMIT_APP", "1000000000"),
    ("STELE_SEND_RECIPIENT", "1000000000"),
    ("STELE_SEND_ADDRESS", "1000000000"),
    ("STELE_SEND_APP", "1000000000"),
    ("STELE_SEND_CAPTCHA", "1000000000"),
    ("STELE_SEND_TOTAL", "0"),
    ("STELE_SESSIONS_PER_USER", "1000000"),
    ("STELE_HASH_COST", "64,1,1,weak"),
];

/// Bounds that are reached within seconds.
const LOW_LIMITS: &[(&str, &str)] = &[("STELE_SESSIONS_PER_USER", "20"), ("STELE_SEND_TOTAL", "300")];

/// Sessions of one user, where they are few.
pub(crate) const LOW_SESSION_LIMIT: u64 = 20;
/// Codes in an hour in all, where they are few.
pub(crate) const LOW_CODE_LIMIT: u64 = 300;

/// How much a fleet allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LimitProfile {
    /// As it is installed.
    Default,
    /// Limits that are not what is attacked are out of the way.
    None,
    /// Bounds that are far away by default are near.
    Low,
}

impl LimitProfile {
    fn settings(self) -> Vec<(&'static str, &'static str)> {
        match self {
            Self::Default => SETTINGS.to_vec(),
            Self::None => [SETTINGS, WITHOUT_LIMITS].concat(),
            Self::Low => [SETTINGS, LOW_LIMITS].concat(),
        }
    }

    fn name(self, what: &'static str) -> String {
        match self {
            Self::Default => what.to_owned(),
            Self::None => format!("{what}, no limits"),
            Self::Low => format!("{what}, low limits"),
        }
    }
}

/// How many people there are.
const TEST_USERS: usize = 2_000;

/// Programs that run together, and their people.
pub(crate) struct Target {
    name: String,
    /// Ended before their site is.
    processes: Vec<ProductProcess>,
    entry_addresses: Vec<SocketAddr>,
    pub(crate) client: DialectClient,
    /// Another app's calls.
    pub(crate) other_app_client: DialectClient,
    pub(crate) installation: Installation,
    pub(crate) stores: StoreLocation,
    next_user: Cell<usize>,
    next_client: Cell<u64>,
}

impl Target {
    /// `stele up`.
    pub(crate) fn embedded(programs: &ReleasePrograms, limits: LimitProfile) -> Result<Self> {
        let site = Installation::embedded(programs, &limits.settings())?;
        let up = site.start_up(&[])?;
        let fronts = vec![up.address()];
        let stores = StoreLocation::Embedded(site.data_folder());
        Self::from_parts(limits.name("stele up"), site, vec![up], fronts, stores)
    }

    /// Two gateways, each with an instance of each service, so that who turns to the other gateway turns to the other
    /// instance.
    pub(crate) fn replicated(programs: &ReleasePrograms, servers: &StoreServers, limits: LimitProfile) -> Result<Self> {
        let site = Installation::on_servers(programs, servers, &limits.settings())?;
        let (mut processes, mut fronts) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let services =
                DialectKind::ALL.iter().map(|dialect| site.start_service(*dialect, &[])).collect::<Result<Vec<_>>>()?;
            let led: Vec<_> = DialectKind::ALL.into_iter().zip(services.iter().map(ProductProcess::address)).collect();
            let gateway = site.start_gateway(&led, &[])?;
            fronts.push(gateway.address());
            processes.extend(services);
            processes.push(gateway);
        }
        let database = site.own_setting("STELE_DATABASE_URL").unwrap_or_default().to_owned();
        let stores = StoreLocation::Servers { database, redis: servers.redis().port() };
        Self::from_parts(limits.name("instances"), site, processes, fronts, stores)
    }

    fn from_parts(
        name: String,
        site: Installation,
        processes: Vec<ProductProcess>,
        fronts: Vec<SocketAddr>,
        stores: StoreLocation,
    ) -> Result<Self> {
        let tms_token = site.add_client_token("attack")?;
        let caller = DialectClient { app: site.add_mefp_app("melink", "wlfz,melink")?, tms_token: tms_token.clone() };
        let other = DialectClient { app: site.add_mefp_app("wlfz", "melink")?, tms_token };
        // The store is asked from a runtime of its own: this is called beside another one.
        let added = std::thread::scope(|scope| {
            let add = || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(test_users::add_test_users(&site, 0, TEST_USERS, PASSWORD))
            };
            scope.spawn(add).join()
        });
        added.map_err(|_| BenchError::new("people could not be added"))??;
        let (people, clients) = (Cell::new(0), Cell::new(0));
        Ok(Self {
            name,
            processes,
            entry_addresses: fronts,
            client: caller,
            other_app_client: other,
            installation: site,
            stores,
            next_user: people,
            next_client: clients,
        })
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its programs.
    pub(crate) fn processes(&self) -> &[ProductProcess] {
        &self.processes
    }

    /// Someone whom no attack has had yet.
    pub(crate) fn fresh_user(&self) -> Result<TestUser> {
        let number = self.next_user.get();
        self.next_user.set(number + 1);
        if number < TEST_USERS {
            Ok(TestUser::numbered(number))
        } else {
            Err(BenchError::new("there are too few people"))
        }
    }

    /// The address of someone out there who has not been here yet.
    pub(crate) fn fresh_client_address(&self) -> IpAddr {
        self.next_client.set(self.next_client.get() + 1);
        client_address(5_000_000 + self.next_client.get())
    }

    /// A number that no other attack has for its networks, in a /48 or an IPv4 address.
    pub(crate) fn fresh_number(&self) -> u64 {
        self.next_client.set(self.next_client.get() + 1);
        self.next_client.get()
    }

    /// One of the ways in, in turn.
    pub(crate) fn entry_address(&self, turn: u64) -> SocketAddr {
        self.entry_addresses[usize::try_from(turn).unwrap_or_default() % self.entry_addresses.len()]
    }

    /// How many ways in there are.
    pub(crate) fn entry_count(&self) -> u64 {
        self.entry_addresses.len() as u64
    }

    /// A login as the proxy passes it on for a client.
    pub(crate) fn login_request(
        &self,
        dialect: DialectKind,
        identifier: &str,
        password: &str,
        client: IpAddr,
    ) -> Request {
        self.client.login(dialect, identifier, password, fresh_timestamp()).with_forwarded_for(client)
    }

    /// Asks one of the fronts, over a connection of its own.
    pub(crate) async fn request(&self, turn: u64, request: &Request) -> Result<Response> {
        Ok(ConnectionSet::default().send(&BurstRequest::new(self.entry_address(turn), request.to_bytes())).await?)
    }

    /// Asks, and reads what a dialect says.
    pub(crate) async fn dialect_request(
        &self,
        turn: u64,
        dialect: DialectKind,
        request: &Request,
    ) -> Result<DialectResponse> {
        Ok(self.client.parse_response(dialect, &self.request(turn, request).await?))
    }

    /// Whether this password lets someone in, from a client's address.
    pub(crate) async fn can_log_in(
        &self,
        turn: u64,
        dialect: DialectKind,
        identifier: &str,
        client: IpAddr,
    ) -> Result<bool> {
        Ok(self
            .dialect_request(turn, dialect, &self.login_request(dialect, identifier, PASSWORD, client))
            .await?
            .is_success())
    }

    /// The code that is sent to `to` after `seen` others.
    pub(crate) async fn next_code(&self, to: &str, seen: usize) -> Result<String> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if let Some(code) = self.installation.sent_codes(to).into_iter().nth(seen) {
                return Ok(code);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Err(BenchError::new(format!("no code was sent to {to}")))
    }

    /// Whether all programs still run, and what their logs hold.
    pub(crate) fn health(&self) -> AttackResult {
        let mut row = AttackResult::new(HEALTH_CHECK_NAME, self);
        for process in &self.processes {
            row.sent += 1;
            let log = process.log();
            let panics = log.lines().filter(|line| line.contains("panicked at")).count() as u64;
            row.server_errors += panics;
            if !process.is_running() || panics > 0 {
                row.let_through += 1;
                let panic_line = log.lines().find(|line| line.contains("panicked at")).unwrap_or("ended");
                row.note = format!("{}: {panic_line}", process.name());
            } else {
                row.rejected += 1;
            }
        }
        row
    }
}

/// Someone's address out there.
pub(crate) fn client_address(number: u64) -> IpAddr {
    let [.., a, b, c] = number.to_be_bytes();
    Ipv4Addr::new(11, a, b, c).into()
}

/// A timestamp that was not given before and is fresh: a proof is good once. They run ahead of the clock by as many as
/// were asked for within one second, at most by four minutes.
pub(crate) fn fresh_timestamp() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static TURN: AtomicU64 = AtomicU64::new(0);
    stele_bench_kit::dialect::now() + 1 + TURN.fetch_add(1, Ordering::Relaxed) % 240
}
