//! Test bed: the programs and proxies that run during the measurement, and the workloads on them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use stele_bench_kit::dialect::MefpApp;
use stele_bench_kit::{BenchError, Result};

use crate::baseline::Baseline;
use crate::external_tools::{H2loadRequest, HttpVersion};
use crate::installation::{PopulationSizes, ProgramStart, StoreKind, TestStores, database_name};
use crate::login_query;
use crate::oauth::{OAuthServers, OidcProvider};
use crate::server_process::ServerProcess;
use crate::servers::{self, RunningServer, TestCertificate};
use crate::workloads::{self, LoadKind, Population, Workload};

/// The default number of connections.
pub(crate) const DEFAULT_CONNECTIONS: usize = 64;
/// The number of connections of the workload `salted-many`.
pub(crate) const MANY_CONNECTIONS: usize = 2_000;
/// Connections that send raw passwords: more than there are hashing slots, fewer than the hashing queue admits.
pub(crate) const RAW_LOGIN_CONNECTIONS: usize = 16;

/// All running programs but the database servers.
pub(crate) struct TestBed {
    servers: Vec<RunningServer>,
    proxies: Vec<ServerProcess>,
    upstream: SocketAddr,
    cloudbox: SocketAddr,
    cloudbox_few: SocketAddr,
    cloudbox_most: Option<SocketAddr>,
    portal: SocketAddr,
    mefp: SocketAddr,
    plain_json: SocketAddr,
    /// In front of the empty handler, of cloudbox, of two cloudbox instances, and of the empty handler with the access
    /// log.
    gateways: [SocketAddr; 4],
    /// In front of the empty handler, with TLS.
    tls_gateway: SocketAddr,
    nginx: Vec<SocketAddr>,
    haproxy: Vec<SocketAddr>,
    up: SocketAddr,
    up_on_servers: SocketAddr,
    baseline: Option<Baseline>,
    oauth: OAuthServers,
}

impl TestBed {
    /// Starts all programs.
    ///
    /// # Errors
    /// If a program does not start.
    pub(crate) fn start(
        stores: &TestStores,
        sizes: PopulationSizes,
        oidc_provider: Option<OidcProvider>,
    ) -> Result<Self> {
        let (folder, build) = (stores.run_folder_path(), stores.current_build());
        let upstream = servers::start_upstream(folder)?;
        let mut servers = Vec::new();
        let mut start_program = |program: ProgramStart| {
            let server = stores.start(&program)?;
            let address = server.address;
            servers.push(server);
            Ok::<_, BenchError>(address)
        };
        let cloudbox = start_program(stores.service(build, "cloudbox", "svc-cloudbox", sizes.main_users))?;
        let second = start_program(stores.service(build, "cloudbox", "svc-cloudbox", sizes.main_users))?;
        let cloudbox_few = start_program(stores.service(build, "cloudbox", "svc-cloudbox", sizes.few_users))?;
        let cloudbox_most = match sizes.most_users {
            Some(most) => Some(start_program(stores.service(build, "cloudbox", "svc-cloudbox", most))?),
            None => None,
        };
        let portal = start_program(stores.service(build, "portal", "svc-portal", sizes.main_users))?;
        let mefp = start_program(stores.service(build, "mefp", "svc-mefp", sizes.main_users))?;
        let plain = start_program(stores.plain_json(sizes.main_users)?)?;
        let gateways = [
            start_program(stores.gateway(build, "gateway", &[upstream.address], "warn"))?,
            start_program(stores.gateway(build, "gateway", &[cloudbox], "warn"))?,
            start_program(stores.gateway(build, "gateway", &[cloudbox, second], "warn"))?,
            start_program(stores.gateway(build, "gateway", &[upstream.address], "info"))?,
        ];
        let certificate = TestCertificate::generate(folder)?;
        let tls_gateway = start_program(stores.tls_gateway(build, upstream.address, &certificate))?;
        let up = start_program(stores.up(build, "stele up", StoreKind::Embedded))?;
        let up_on_servers = start_program(stores.up(build, "stele up", StoreKind::Servers))?;
        let baseline = match stores.baseline_build() {
            Some(build) => Some(Baseline::start(stores, build, sizes, &mut start_program)?),
            None => None,
        };
        let oauth = OAuthServers::start(stores, sizes, [cloudbox, upstream.address], oidc_provider)?;
        let (nginx_process, nginx) = servers::start_nginx(folder, &[upstream.address, cloudbox], &certificate)?;
        let (haproxy_process, haproxy) = servers::start_haproxy(folder, &[upstream.address, cloudbox])?;
        let upstream_address = upstream.address;
        servers.push(upstream);
        Ok(Self {
            servers,
            proxies: vec![nginx_process, haproxy_process],
            upstream: upstream_address,
            cloudbox,
            cloudbox_few,
            cloudbox_most,
            portal,
            mefp,
            plain_json: plain,
            gateways,
            tls_gateway,
            nginx,
            haproxy,
            up,
            up_on_servers,
            baseline,
            oauth,
        })
    }

    /// Names and ids of all processes, with those of the database servers.
    pub(crate) fn named_processes(&self, stores: &TestStores) -> Vec<(&'static str, u32)> {
        let ours = self.servers.iter().map(|server| &server.process);
        let stores = [&stores.cluster.process, &stores.redis.process];
        let named = ours.chain(&self.proxies).chain(stores).map(|process| (process.name, process.process_id));
        named.chain(self.oauth.named_processes()).collect()
    }

    /// The workloads, in the order of measurement.
    ///
    /// # Errors
    /// If the requests of a workload cannot be prepared.
    pub(crate) fn workloads(&self, stores: &TestStores, sizes: PopulationSizes) -> Result<Vec<Workload>> {
        let app = stores.mefp_app()?;
        let script = login_query::write_script(stores, self.cloudbox, sizes.main_users)?;
        let mut workloads = theoretical_rate_workloads(self, stores, script, sizes);
        workloads.extend(self.proxy_workloads());
        workloads.extend(self.tls_workloads(stores.run_folder_path())?);
        workloads.extend(self.salted_login_workloads(sizes));
        workloads.extend(self.oauth.workloads()?);
        workloads.extend(self.other_call_workloads(&app, sizes)?);
        workloads.extend([
            workload("up", "salted login through `stele up`, embedded", main_logins(self.up)),
            workload(
                "up-servers",
                "salted login through `stele up`, PostgreSQL and Redis",
                main_logins(self.up_on_servers),
            ),
        ]);
        if let (Some(address), Some(most)) = (self.cloudbox_most, sizes.most_users) {
            let title = format!("salted login at the service, {most} users");
            workloads.push(workload(
                "salted-most",
                &title,
                salted_logins(address, DEFAULT_CONNECTIONS, Population::Most, None),
            ));
        }
        if let Some(baseline) = &self.baseline {
            insert_after_counterparts(&mut workloads, baseline.workloads(&app, sizes)?);
        }
        Ok(workloads)
    }

    /// Salted logins of cloudbox, at the service and through each proxy.
    fn salted_login_workloads(&self, sizes: PopulationSizes) -> Vec<Workload> {
        vec![
            workload("salted", "salted login at the service", main_logins(self.cloudbox)),
            workload(
                "salted-open",
                "the same at half that rate, open loop",
                salted_logins(self.cloudbox, DEFAULT_CONNECTIONS, Population::Main, Some(0.5)),
            ),
            workload(
                "salted-many",
                &format!("the same over {MANY_CONNECTIONS} connections"),
                salted_logins(self.cloudbox, MANY_CONNECTIONS, Population::Main, None),
            ),
            workload("salted-gateway", "salted login through the gateway", main_logins(self.gateways[1])),
            workload("salted-nginx", "salted login through nginx", main_logins(self.nginx[1])),
            workload("salted-haproxy", "salted login through haproxy", main_logins(self.haproxy[1])),
            workload("salted-two", "salted login through the gateway, two instances", main_logins(self.gateways[2])),
            workload(
                "salted-few",
                &format!("salted login at the service, {} users", sizes.few_users),
                salted_logins(self.cloudbox_few, DEFAULT_CONNECTIONS, Population::Few, None),
            ),
        ]
    }

    /// Token checks, MeFP's calls, password hashing and password logins.
    fn other_call_workloads(&self, app: &MefpApp, sizes: PopulationSizes) -> Result<Vec<Workload>> {
        let repeated_requests = |address, (requests, expected)| LoadKind::RepeatedRequests {
            address,
            connections: DEFAULT_CONNECTIONS,
            requests,
            expected: Box::new(expected),
        };
        let token_check = (workloads::unknown_token_logouts(), workloads::unknown_token_response());
        let raw_requests = || workloads::raw_login_requests(sizes.main_users, app);
        Ok(vec![
            workload(
                "token",
                "token check: logout with an unknown token",
                repeated_requests(self.cloudbox, token_check),
            ),
            workload(
                "mefp",
                "MeFP 验证用户名, envelope in and out",
                repeated_requests(self.mefp, workloads::mefp_requests(sizes.main_users, app, self.mefp)?),
            ),
            workload(
                "plain",
                "the same call in plain JSON",
                repeated_requests(self.plain_json, workloads::plain_json_requests(sizes.main_users, app)),
            ),
            workload("hash", "argon2id, one core", LoadKind::Hash { threads: 1 }),
            workload("hash-all", "argon2id, all cores", LoadKind::Hash { threads: core_count() }),
            workload(
                "raw",
                "login by password at the portal",
                LoadKind::RawLogins {
                    address: self.portal,
                    connections: RAW_LOGIN_CONNECTIONS,
                    requests: raw_requests(),
                },
            ),
            workload(
                "salted-beside",
                "salted login at a tenth of its maximum rate, concurrently with these",
                LoadKind::MixedLogins {
                    raw: self.portal,
                    connections: RAW_LOGIN_CONNECTIONS,
                    requests: raw_requests(),
                    salted: self.cloudbox,
                    salted_connections: DEFAULT_CONNECTIONS,
                },
            ),
        ])
    }

    /// Requests to the empty handler, directly and through each proxy.
    fn proxy_workloads(&self) -> Vec<Workload> {
        let empty_handler_load = |address, requests| LoadKind::RepeatedRequests {
            address,
            connections: DEFAULT_CONNECTIONS,
            requests,
            expected: Box::new(workloads::empty_response()),
        };
        vec![
            workload(
                "hello-own",
                "GET of the empty handler, own load generator",
                empty_handler_load(self.upstream, workloads::get_requests()),
            ),
            workload(
                "gateway-get",
                "GET through the gateway",
                empty_handler_load(self.gateways[0], workloads::get_requests()),
            ),
            workload("nginx-get", "GET through nginx", empty_handler_load(self.nginx[0], workloads::get_requests())),
            workload(
                "haproxy-get",
                "GET through haproxy",
                empty_handler_load(self.haproxy[0], workloads::get_requests()),
            ),
            workload(
                "gateway-log",
                "GET through the gateway with its access log",
                empty_handler_load(self.gateways[3], workloads::get_requests()),
            ),
            workload(
                "gateway-post",
                "POST of 500 bytes through the gateway",
                empty_handler_load(self.gateways[0], workloads::post_requests()),
            ),
            workload(
                "nginx-post",
                "POST of 500 bytes through nginx",
                empty_handler_load(self.nginx[0], workloads::post_requests()),
            ),
            workload(
                "haproxy-post",
                "POST of 500 bytes through haproxy",
                empty_handler_load(self.haproxy[0], workloads::post_requests()),
            ),
        ]
    }

    /// Requests to the empty handler over TLS, through the gateway and nginx with the same certificate.
    fn tls_workloads(&self, folder: &Path) -> Result<Vec<Workload>> {
        let body = folder.join("body.json");
        std::fs::write(&body, workloads::post_body())?;
        let nginx = self.nginx.last().copied().ok_or_else(|| BenchError::new("nginx has no TLS address"))?;
        let h2load = |address, version, body: Option<&PathBuf>| LoadKind::H2load {
            request: H2loadRequest { address, version, path: workloads::BENCH_PATH, body: body.cloned() },
            connections: DEFAULT_CONNECTIONS,
            log: folder.join("h2load.log"),
        };
        let through_gateway = |version, body| h2load(self.tls_gateway, version, body);
        let through_nginx = |version, body| h2load(nginx, version, body);
        let post = Some(&body);
        Ok(vec![
            workload("tls1-get", "GET through the gateway, TLS, HTTP/1.1", through_gateway(HttpVersion::Http1, None)),
            workload("nginx-tls1-get", "GET through nginx, TLS, HTTP/1.1", through_nginx(HttpVersion::Http1, None)),
            workload("tls1-post", "POST through the gateway, TLS, HTTP/1.1", through_gateway(HttpVersion::Http1, post)),
            workload("nginx-tls1-post", "POST through nginx, TLS, HTTP/1.1", through_nginx(HttpVersion::Http1, post)),
            workload("tls2-get", "GET through the gateway, TLS, HTTP/2", through_gateway(HttpVersion::Http2, None)),
            workload("nginx-tls2-get", "GET through nginx, TLS, HTTP/2", through_nginx(HttpVersion::Http2, None)),
            workload("tls2-post", "POST through the gateway, TLS, HTTP/2", through_gateway(HttpVersion::Http2, post)),
            workload("nginx-tls2-post", "POST through nginx, TLS, HTTP/2", through_nginx(HttpVersion::Http2, post)),
        ])
    }
}

/// Inserts each workload of the baseline after its counterpart, so that both find the machine in the same state.
fn insert_after_counterparts(workloads: &mut Vec<Workload>, baseline_workloads: Vec<Workload>) {
    for baseline_workload in baseline_workloads {
        let counterpart = baseline_workload.key.strip_suffix("-baseline");
        let at = workloads.iter().position(|workload| Some(workload.key) == counterpart);
        workloads.insert(at.map_or(workloads.len(), |at| at + 1), baseline_workload);
    }
}

/// The parts of the theoretical rates of a login and of a token check.
fn theoretical_rate_workloads(
    test_bed: &TestBed,
    stores: &TestStores,
    script: PathBuf,
    sizes: PopulationSizes,
) -> Vec<Workload> {
    let clients = DEFAULT_CONNECTIONS;
    let redis_load = |test| LoadKind::Redis { address: stores.redis.address, test, clients };
    vec![
        workload(
            "hello",
            "empty actix handler (wrk)",
            LoadKind::Wrk { address: test_bed.upstream, connections: DEFAULT_CONNECTIONS },
        ),
        workload(
            "select",
            "the SELECT of a login (pgbench -M prepared)",
            LoadKind::Pgbench {
                address: stores.cluster.address,
                database: database_name(sizes.main_users),
                script,
                clients,
            },
        ),
        workload("set", "SET (redis-benchmark)", redis_load("set")),
        workload("get", "GET (redis-benchmark)", redis_load("get")),
    ]
}

/// Salted logins in a closed loop, or in an open loop at `share` of the rate of the workload `salted`.
fn salted_logins(address: SocketAddr, connections: usize, population: Population, share: Option<f64>) -> LoadKind {
    LoadKind::SaltedLogins { address, connections, population, share }
}

/// Salted logins of the main population in a closed loop.
fn main_logins(address: SocketAddr) -> LoadKind {
    salted_logins(address, DEFAULT_CONNECTIONS, Population::Main, None)
}

/// A workload whose processes' memory is not read.
pub(crate) fn workload(key: &'static str, title: &str, load: LoadKind) -> Workload {
    Workload { key, title: title.to_owned(), load, last_rate: None, processes: Vec::new() }
}

/// The number of processors.
pub(crate) fn core_count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
