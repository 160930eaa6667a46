//! What runs while lanes have their turns, and the lanes that lead to it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use stele_bench_kit::dialect::CLOUDBOX_LOGIN;
use stele_bench_kit::{Blocking, Failure, Result};

use crate::baseline::Baseline;
use crate::lanes::{self, Lane, Population, Work};
use crate::population::{self, Logins};
use crate::process::Process;
use crate::servers::{self, Certificate, Server};
use crate::site::{Sizes, Start, Stores, database};
use crate::tools::{OverTls, Version};

/// How many connections there are where nothing else is said.
pub(crate) const CONNECTIONS: usize = 64;
/// How many there are where it is about many.
pub(crate) const MANY: usize = 2_000;
/// How many connections bring raw passwords: more than there are slots, fewer than wait.
pub(crate) const RAW: usize = 16;

/// All that runs, beside the stores.
pub(crate) struct Running {
    servers: Vec<Server>,
    proxies: Vec<Process>,
    upstream: SocketAddr,
    cloudbox: SocketAddr,
    cloudbox_few: SocketAddr,
    cloudbox_most: Option<SocketAddr>,
    portal: SocketAddr,
    mefp: SocketAddr,
    plain: SocketAddr,
    /// Before the empty handler, before cloudbox, before two of it; and one that logs each request.
    gateways: [SocketAddr; 4],
    /// Before the empty handler, over TLS.
    tls_gateway: SocketAddr,
    nginx: Vec<SocketAddr>,
    haproxy: Vec<SocketAddr>,
    up: SocketAddr,
    up_on_servers: SocketAddr,
    baseline: Option<Baseline>,
}

impl Running {
    /// Starts it all.
    ///
    /// # Errors
    /// If something does not start.
    pub(crate) fn start(stores: &Stores, sizes: Sizes) -> Result<Self> {
        let (folder, build) = (stores.folder(), stores.current());
        let upstream = servers::upstream(folder)?;
        let mut servers = Vec::new();
        let mut run = |start: Start| {
            let server = stores.start(&start)?;
            let address = server.address;
            servers.push(server);
            Ok::<_, Failure>(address)
        };
        let cloudbox = run(stores.service(build, "cloudbox", "svc-cloudbox", sizes.users))?;
        let second = run(stores.service(build, "cloudbox", "svc-cloudbox", sizes.users))?;
        let cloudbox_few = run(stores.service(build, "cloudbox", "svc-cloudbox", sizes.few))?;
        let cloudbox_most = match sizes.most {
            Some(most) => Some(run(stores.service(build, "cloudbox", "svc-cloudbox", most))?),
            None => None,
        };
        let portal = run(stores.service(build, "portal", "svc-portal", sizes.users))?;
        let mefp = run(stores.service(build, "mefp", "svc-mefp", sizes.users))?;
        let plain = run(stores.plain(sizes.users)?)?;
        let gateways = [
            run(stores.gateway(build, "gateway", &[upstream.address], "warn"))?,
            run(stores.gateway(build, "gateway", &[cloudbox], "warn"))?,
            run(stores.gateway(build, "gateway", &[cloudbox, second], "warn"))?,
            run(stores.gateway(build, "gateway", &[upstream.address], "info"))?,
        ];
        let certificate = Certificate::make(folder)?;
        let tls_gateway = run(stores.tls_gateway(build, upstream.address, &certificate))?;
        let up = run(stores.up(build, "stele up", false))?;
        let up_on_servers = run(stores.up(build, "stele up", true))?;
        let baseline = match stores.baseline() {
            Some(build) => Some(Baseline::start(stores, build, sizes, &mut run)?),
            None => None,
        };
        let (nginx_process, nginx) = servers::nginx(folder, &[upstream.address, cloudbox], &certificate)?;
        let (haproxy_process, haproxy) = servers::haproxy(folder, &[upstream.address, cloudbox])?;
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
            plain,
            gateways,
            tls_gateway,
            nginx,
            haproxy,
            up,
            up_on_servers,
            baseline,
        })
    }

    /// What all processes are called, with their ids.
    pub(crate) fn processes(&self, stores: &Stores) -> Vec<(&'static str, u32)> {
        let ours = self.servers.iter().map(|server| &server.process);
        let stores = [&stores.cluster.process, &stores.redis.process];
        ours.chain(&self.proxies).chain(stores).map(|process| (process.name, process.id)).collect()
    }

    /// The lanes, in the order of their turns.
    ///
    /// # Errors
    /// If what they need cannot be made.
    pub(crate) fn lanes(&self, stores: &Stores, sizes: Sizes) -> Result<Vec<Lane>> {
        let app = stores.app()?;
        let script = self.script(stores, sizes)?;
        let mut lanes = limits(self, stores, script, sizes);
        lanes.extend(self.proxied());
        lanes.extend(self.over_tls(stores.folder())?);
        let salted = |address, connections, of, share| Work::Logins { address, connections, of, share };
        let main = |address| salted(address, CONNECTIONS, Population::Main, None);
        let again = |address, (requests, expected)| Work::Again {
            address,
            connections: CONNECTIONS,
            requests,
            expected: Box::new(expected),
        };
        let dead = || (lanes::dead_tokens(), lanes::dead_answer());
        let raw = || lanes::raw(sizes.users, &app);
        lanes.extend([
            lane("salted", "salted login at the service", main(self.cloudbox)),
            lane(
                "salted-open",
                "the same, at half that rate in an open loop",
                salted(self.cloudbox, CONNECTIONS, Population::Main, Some(0.5)),
            ),
            lane(
                "salted-many",
                &format!("the same over {MANY} connections"),
                salted(self.cloudbox, MANY, Population::Main, None),
            ),
            lane("salted-gateway", "salted login through the gateway", main(self.gateways[1])),
            lane("salted-nginx", "salted login through nginx", main(self.nginx[1])),
            lane("salted-haproxy", "salted login through haproxy", main(self.haproxy[1])),
            lane("salted-two", "salted login through the gateway, two instances", main(self.gateways[2])),
            lane(
                "salted-few",
                &format!("salted login at the service, {} users", sizes.few),
                salted(self.cloudbox_few, CONNECTIONS, Population::Few, None),
            ),
            lane("token", "token check: logout with a dead token", again(self.cloudbox, dead())),
            lane(
                "mefp",
                "MeFP 验证用户名, envelope in and out",
                again(self.mefp, lanes::mefp(sizes.users, &app, self.mefp)?),
            ),
            lane("plain", "the same call in plain JSON", again(self.plain, lanes::plain(sizes.users, &app))),
            lane("hash", "argon2id, one core", Work::Hash { threads: 1 }),
            lane("hash-all", "argon2id, all cores", Work::Hash { threads: cores() }),
            lane(
                "raw",
                "login by password at the portal",
                Work::Raw { address: self.portal, connections: RAW, requests: raw() },
            ),
            lane(
                "salted-beside",
                "salted login at a tenth of the most, beside these",
                Work::Both {
                    raw: self.portal,
                    connections: RAW,
                    requests: raw(),
                    salted: self.cloudbox,
                    salted_connections: CONNECTIONS,
                },
            ),
            lane("up", "salted login through `stele up`, embedded", main(self.up)),
            lane("up-servers", "salted login through `stele up`, PostgreSQL and Redis", main(self.up_on_servers)),
        ]);
        if let (Some(address), Some(most)) = (self.cloudbox_most, sizes.most) {
            let title = format!("salted login at the service, {most} users");
            lanes.push(lane("salted-most", &title, salted(address, CONNECTIONS, Population::Most, None)));
        }
        if let Some(baseline) = &self.baseline {
            for lane in baseline.lanes(&app, sizes)? {
                // Right after its twin, so that both have the machine in the same state.
                let twin = lane.key.strip_suffix("-baseline");
                let at = lanes.iter().position(|current| Some(current.key) == twin).map_or(lanes.len(), |at| at + 1);
                lanes.insert(at, lane);
            }
        }
        Ok(lanes)
    }

    /// The empty handler behind each of those that pass requests on.
    fn proxied(&self) -> Vec<Lane> {
        let through = |address, requests| Work::Again {
            address,
            connections: CONNECTIONS,
            requests,
            expected: Box::new(lanes::empty_answer()),
        };
        vec![
            lane("hello-own", "GET of the empty handler, own client", through(self.upstream, lanes::get())),
            lane("gateway-get", "GET through the gateway", through(self.gateways[0], lanes::get())),
            lane("nginx-get", "GET through nginx", through(self.nginx[0], lanes::get())),
            lane("haproxy-get", "GET through haproxy", through(self.haproxy[0], lanes::get())),
            lane("gateway-log", "GET through the gateway with its access log", through(self.gateways[3], lanes::get())),
            lane("gateway-post", "POST of 500 bytes through the gateway", through(self.gateways[0], lanes::post())),
            lane("nginx-post", "POST of 500 bytes through nginx", through(self.nginx[0], lanes::post())),
            lane("haproxy-post", "POST of 500 bytes through haproxy", through(self.haproxy[0], lanes::post())),
        ]
    }

    /// The same over TLS, with one certificate.
    fn over_tls(&self, folder: &Path) -> Result<Vec<Lane>> {
        let body = folder.join("body.json");
        std::fs::write(&body, lanes::body())?;
        let nginx = self.nginx.last().copied().ok_or_else(|| Failure::new("nginx serves nothing over TLS"))?;
        let load = |address, version, body: Option<&PathBuf>| Work::H2load {
            wanted: OverTls { address, version, path: lanes::PATH, body: body.cloned() },
            connections: CONNECTIONS,
            log: folder.join("h2load.log"),
        };
        let ours = |version, body| load(self.tls_gateway, version, body);
        let theirs = |version, body| load(nginx, version, body);
        let post = Some(&body);
        Ok(vec![
            lane("tls1-get", "GET through the gateway, TLS, HTTP/1.1", ours(Version::Http1, None)),
            lane("nginx-tls1-get", "GET through nginx, TLS, HTTP/1.1", theirs(Version::Http1, None)),
            lane("tls1-post", "POST through the gateway, TLS, HTTP/1.1", ours(Version::Http1, post)),
            lane("nginx-tls1-post", "POST through nginx, TLS, HTTP/1.1", theirs(Version::Http1, post)),
            lane("tls2-get", "GET through the gateway, TLS, HTTP/2", ours(Version::Http2, None)),
            lane("nginx-tls2-get", "GET through nginx, TLS, HTTP/2", theirs(Version::Http2, None)),
            lane("tls2-post", "POST through the gateway, TLS, HTTP/2", ours(Version::Http2, post)),
            lane("nginx-tls2-post", "POST through nginx, TLS, HTTP/2", theirs(Version::Http2, post)),
        ])
    }

    /// A script for pgbench with the statement that a login at the service makes, of users by chance.
    fn script(&self, stores: &Stores, sizes: Sizes) -> Result<PathBuf> {
        let mut logins = Logins::new(sizes.users);
        let address = self.cloudbox;
        let heard = stores.cluster.overhear(|| {
            let mut requests = logins.next(1)?;
            let request = requests.take().ok_or_else(|| Failure::new("there are no users"))?;
            let mut connection = Blocking::open(address, std::time::Duration::from_secs(10))?;
            let answer = connection.exchange(&request)?.to_answer();
            if answer.status == 200 && answer.text().contains(r#""code":"0000""#) {
                return Ok(());
            }
            Err(Failure::new(format!("{CLOUDBOX_LOGIN} answers {}: {}", answer.status, answer.text())))
        })?;
        let select = heard.iter().find(|sql| sql.contains("SELECT") && sql.contains("identifiers"));
        let select = select.ok_or_else(|| Failure::new(format!("no SELECT was overheard, but {heard:?}")))?;
        let (_, select) = select.split_once("SELECT").unwrap_or_default();
        // The identifier and, if it is one, the limit.
        let select = select.replace("$1", "(:phone)::text").replace("$2", ":one");
        let (first, last) = (population::phone(0), population::phone(sizes.users - 1));
        let text = format!("\\set phone random({first}, {last})\n\\set one 1\nSELECT{select};\n");
        let file = stores.folder().join("select.sql");
        std::fs::write(&file, text)?;
        Ok(file)
    }
}

/// What the limit of a login, and that of a token check, are made of.
fn limits(running: &Running, stores: &Stores, script: PathBuf, sizes: Sizes) -> Vec<Lane> {
    let clients = CONNECTIONS;
    let redis = |test| Work::Redis { address: stores.redis.address, test, clients };
    vec![
        lane("hello", "empty actix handler (wrk)", Work::Wrk { address: running.upstream, connections: CONNECTIONS }),
        lane(
            "select",
            "the SELECT of a login (pgbench -M prepared)",
            Work::Pgbench { address: stores.cluster.address, database: database(sizes.users), script, clients },
        ),
        lane("set", "SET (redis-benchmark)", redis("set")),
        lane("get", "GET (redis-benchmark)", redis("get")),
    ]
}

pub(crate) fn lane(key: &'static str, title: &str, work: Work) -> Lane {
    Lane { key, title: title.to_owned(), work, last: None }
}

/// How many processors there are.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
