//! The target of attacks: running programs, their stores, and fresh users and client addresses for each attack.

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

/// The password of all test users.
pub(crate) const PASSWORD: &str = "the-right-password";

/// Settings as in a deployment: the gateways trust a proxy in front of them (this command, from 127.0.0.1; other
/// loopback addresses are untrusted clients), and the services trust the gateways.
const SETTINGS: &[(&str, &str)] =
    &[("STELE_TRUSTED_PROXIES", "127.0.0.1"), ("STELE_LOG", "warn"), ("STELE_DRAIN", "0")];

/// Disables the rate limits, the quotas of codes, and the limit of sessions. Makes password hashes cheap, since attacks
/// without rate limits cause 100,000 of them.
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

/// Low limits, which are reached within seconds.
const LOW_LIMITS: &[(&str, &str)] = &[("STELE_SESSIONS_PER_USER", "20"), ("STELE_SEND_TOTAL", "300")];

/// `STELE_SESSIONS_PER_USER` of [`LOW_LIMITS`].
pub(crate) const LOW_SESSION_LIMIT: u64 = 20;
/// `STELE_SEND_TOTAL` of [`LOW_LIMITS`], in messages per hour.
pub(crate) const LOW_CODE_LIMIT: u64 = 300;

/// The rate limits of a target, with its quotas of codes and its limit of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LimitProfile {
    /// The default limits.
    Default,
    /// No limits, so that attacks reach the code behind them.
    Unlimited,
    /// Low values for limits that are high by default.
    Low,
}

impl LimitProfile {
    fn settings(self) -> Vec<(&'static str, &'static str)> {
        match self {
            Self::Default => SETTINGS.to_vec(),
            Self::Unlimited => [SETTINGS, WITHOUT_LIMITS].concat(),
            Self::Low => [SETTINGS, LOW_LIMITS].concat(),
        }
    }

    fn target_name(self, base: &'static str) -> String {
        match self {
            Self::Default => base.to_owned(),
            Self::Unlimited => format!("{base}, no limits"),
            Self::Low => format!("{base}, low limits"),
        }
    }
}

/// The number of test users of a target.
const TEST_USERS: usize = 2_000;

/// Running programs that share stores, and their test users.
pub(crate) struct Target {
    name: String,
    /// Dropped before `installation`, whose folder they use.
    processes: Vec<ProductProcess>,
    gateway_addresses: Vec<SocketAddr>,
    pub(crate) client: DialectClient,
    /// Credentials of another MeFP app.
    pub(crate) other_app_client: DialectClient,
    pub(crate) installation: Installation,
    pub(crate) stores: StoreLocation,
    next_user: Cell<usize>,
    next_number: Cell<u64>,
}

impl Target {
    /// `stele up` on embedded stores.
    pub(crate) fn embedded(programs: &ReleasePrograms, limits: LimitProfile) -> Result<Self> {
        let installation = Installation::embedded(programs, &limits.settings())?;
        let up = installation.start_stele_up(&[])?;
        let gateway_addresses = vec![up.address()];
        let stores = StoreLocation::Embedded(installation.data_folder());
        Self::from_parts(limits.target_name("stele up"), installation, vec![up], gateway_addresses, stores)
    }

    /// Two gateways, each with its own instance of each service: choosing the gateway chooses the instance.
    pub(crate) fn replicated(programs: &ReleasePrograms, servers: &StoreServers, limits: LimitProfile) -> Result<Self> {
        let installation = Installation::on_servers(programs, servers, &limits.settings())?;
        let (mut processes, mut gateway_addresses) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let services = DialectKind::ALL
                .iter()
                .map(|dialect| installation.start_service(*dialect, &[]))
                .collect::<Result<Vec<_>>>()?;
            let instances: Vec<_> =
                DialectKind::ALL.into_iter().zip(services.iter().map(ProductProcess::address)).collect();
            let gateway = installation.start_gateway(&instances, &[])?;
            gateway_addresses.push(gateway.address());
            processes.extend(services);
            processes.push(gateway);
        }
        let database = installation.overridden_setting("STELE_DATABASE_URL").unwrap_or_default().to_owned();
        let stores = StoreLocation::Servers { database, redis: servers.redis().port() };
        Self::from_parts(limits.target_name("instances"), installation, processes, gateway_addresses, stores)
    }

    fn from_parts(
        name: String,
        installation: Installation,
        processes: Vec<ProductProcess>,
        gateway_addresses: Vec<SocketAddr>,
        stores: StoreLocation,
    ) -> Result<Self> {
        let tms_token = installation.add_client_token("attack")?;
        let client =
            DialectClient { app: installation.add_mefp_app("melink", "wlfz,melink")?, tms_token: tms_token.clone() };
        let other_app_client = DialectClient { app: installation.add_mefp_app("wlfz", "melink")?, tms_token };
        // In a thread with its own runtime, since the caller is inside another runtime.
        let added = std::thread::scope(|scope| {
            let add_users = || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(test_users::add_test_users(&installation, 0, TEST_USERS, PASSWORD))
            };
            scope.spawn(add_users).join()
        });
        added.map_err(|_| BenchError::new("adding test users panicked"))??;
        let (next_user, next_number) = (Cell::new(0), Cell::new(0));
        Ok(Self {
            name,
            processes,
            gateway_addresses,
            client,
            other_app_client,
            installation,
            stores,
            next_user,
            next_number,
        })
    }

    /// The target's name in the report.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The target's processes.
    pub(crate) fn processes(&self) -> &[ProductProcess] {
        &self.processes
    }

    /// A user that no attack has used yet.
    pub(crate) fn fresh_user(&self) -> Result<TestUser> {
        let number = self.next_user.get();
        self.next_user.set(number + 1);
        if number < TEST_USERS {
            Ok(TestUser::numbered(number))
        } else {
            Err(BenchError::new("all test users are used; raise TEST_USERS"))
        }
    }

    /// A client address that has not been used yet.
    pub(crate) fn fresh_client_address(&self) -> IpAddr {
        self.next_number.set(self.next_number.get() + 1);
        client_address(5_000_000 + self.next_number.get())
    }

    /// A number that this target has not returned before, from which an attack derives networks or users of its own.
    pub(crate) fn unique_number(&self) -> u64 {
        self.next_number.set(self.next_number.get() + 1);
        self.next_number.get()
    }

    /// The address of a gateway, selected by `index` modulo their number.
    pub(crate) fn gateway_address(&self, index: u64) -> SocketAddr {
        self.gateway_addresses[usize::try_from(index).unwrap_or_default() % self.gateway_addresses.len()]
    }

    /// The number of gateways, and so of instances of each service.
    pub(crate) fn gateway_count(&self) -> u64 {
        self.gateway_addresses.len() as u64
    }

    /// A login request from the client address `source`, as forwarded by the trusted proxy.
    pub(crate) fn login_request(
        &self,
        dialect: DialectKind,
        identifier: &str,
        password: &str,
        source: IpAddr,
    ) -> Request {
        self.client.login_request(dialect, identifier, password, fresh_timestamp()).with_forwarded_for(source)
    }

    /// Sends a request to the gateway selected by `index`, on a new connection.
    pub(crate) async fn send(&self, index: u64, request: &Request) -> Result<Response> {
        Ok(ConnectionSet::default().send(&BurstRequest::new(self.gateway_address(index), request.to_bytes())).await?)
    }

    /// As [`Target::send`], and parses the response in the format of `dialect`.
    pub(crate) async fn send_and_parse(
        &self,
        index: u64,
        dialect: DialectKind,
        request: &Request,
    ) -> Result<DialectResponse> {
        Ok(self.client.parse_response(dialect, &self.send(index, request).await?))
    }

    /// Whether a login with the correct password succeeds from the client address `source`.
    pub(crate) async fn can_log_in(
        &self,
        index: u64,
        dialect: DialectKind,
        identifier: &str,
        source: IpAddr,
    ) -> Result<bool> {
        Ok(self
            .send_and_parse(index, dialect, &self.login_request(dialect, identifier, PASSWORD, source))
            .await?
            .is_success())
    }

    /// Waits until more than `earlier_count` codes were sent to `recipient`, and returns the one after the first
    /// `earlier_count`.
    pub(crate) async fn wait_for_code(&self, recipient: &str, earlier_count: usize) -> Result<String> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if let Some(code) = self.installation.sent_codes(recipient).into_iter().nth(earlier_count) {
                return Ok(code);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Err(BenchError::new(format!("no code was sent to {recipient} within 20 s")))
    }

    /// Checks that all programs still run and that no log contains a panic. Counts each panic, and each program that
    /// exited without one, as a server error.
    pub(crate) fn check_health(&self) -> AttackResult {
        let mut result = AttackResult::new(HEALTH_CHECK_NAME, self);
        for process in &self.processes {
            result.sent += 1;
            let log = process.read_log();
            let panics = log.lines().filter(|line| line.contains("panicked at")).count() as u64;
            if !process.is_running() || panics > 0 {
                result.server_errors += panics.max(1);
                let panic_line = log.lines().find(|line| line.contains("panicked at")).unwrap_or("exited");
                result.note = format!("{}: {panic_line}", process.name());
            } else {
                result.rejected += 1;
            }
        }
        result
    }
}

/// The client address with this number, in 11.0.0.0/8.
pub(crate) fn client_address(number: u64) -> IpAddr {
    let [.., a, b, c] = number.to_be_bytes();
    Ipv4Addr::new(11, a, b, c).into()
}

/// A timestamp for a new proof. Consecutive calls return different ones, since each proof is accepted once: 1 to 240 s
/// ahead of the clock, within the allowed clock skew of 300 s.
pub(crate) fn fresh_timestamp() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    stele_bench_kit::dialect::unix_seconds() + 1 + COUNTER.fetch_add(1, Ordering::Relaxed) % 240
}
