//! What is attacked.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use stele_bench_kit::{
    Answer, Caller, Dialect, Failure, Person, Process, Programs, Request, Result, Servers, Site, Told, people,
};

use crate::report::{HEALTH, Row};
use crate::stores::Stores;
use crate::volley::{Lane, Shot};

/// Everybody's.
pub(crate) const PASSWORD: &str = "the-right-password";

/// As a deployment has it: the gateways believe a proxy in front of them (this command, from 127.0.0.1; what comes from
/// another address of loopback comes from a stranger), and the services believe the gateways.
const SETTINGS: &[(&str, &str)] =
    &[("STELE_TRUSTED_PROXIES", "127.0.0.1"), ("STELE_LOG", "warn"), ("STELE_DRAIN", "0")];

/// Limits out of the way; and hashes that cost next to nothing, for without limits there would be a hundred thousand.
const OPEN: &[(&str, &str)] = &[
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
const LOW: &[(&str, &str)] = &[("STELE_SESSIONS_PER_USER", "20"), ("STELE_SEND_TOTAL", "300")];

/// Sessions of one user, where they are few.
pub(crate) const LOW_SESSIONS: u64 = 20;
/// Codes in an hour in all, where they are few.
pub(crate) const LOW_SENDS: u64 = 300;

/// How much a fleet allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limits {
    /// As it is installed.
    Default,
    /// Limits that are not what is attacked are out of the way.
    None,
    /// Bounds that are far away by default are near.
    Low,
}

impl Limits {
    fn settings(self) -> Vec<(&'static str, &'static str)> {
        match self {
            Self::Default => SETTINGS.to_vec(),
            Self::None => [SETTINGS, OPEN].concat(),
            Self::Low => [SETTINGS, LOW].concat(),
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
const PEOPLE: usize = 2_000;

/// Programs that run together, and their people.
pub(crate) struct Fleet {
    name: String,
    /// Ended before their site is.
    processes: Vec<Process>,
    fronts: Vec<SocketAddr>,
    pub(crate) caller: Caller,
    /// Another app's calls.
    pub(crate) other: Caller,
    pub(crate) site: Site,
    pub(crate) stores: Stores,
    people: Cell<usize>,
    clients: Cell<u64>,
}

impl Fleet {
    /// `stele up`.
    pub(crate) fn embedded(programs: &Programs, limits: Limits) -> Result<Self> {
        let site = Site::embedded(programs, &limits.settings())?;
        let up = site.up(&[])?;
        let fronts = vec![up.address()];
        let stores = Stores::Embedded(site.data());
        Self::of(limits.name("stele up"), site, vec![up], fronts, stores)
    }

    /// Two gateways, each with an instance of each service, so that who turns to the other gateway turns to the other
    /// instance.
    pub(crate) fn instances(programs: &Programs, servers: &Servers, limits: Limits) -> Result<Self> {
        let site = Site::on_servers(programs, servers, &limits.settings())?;
        let (mut processes, mut fronts) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let services =
                Dialect::ALL.iter().map(|dialect| site.service(*dialect, &[])).collect::<Result<Vec<_>>>()?;
            let led: Vec<_> = Dialect::ALL.into_iter().zip(services.iter().map(Process::address)).collect();
            let gateway = site.gateway(&led, &[])?;
            fronts.push(gateway.address());
            processes.extend(services);
            processes.push(gateway);
        }
        let database = site.setting("STELE_DATABASE_URL").unwrap_or_default().to_owned();
        let stores = Stores::Servers { database, redis: servers.redis().port() };
        Self::of(limits.name("instances"), site, processes, fronts, stores)
    }

    fn of(name: String, site: Site, processes: Vec<Process>, fronts: Vec<SocketAddr>, stores: Stores) -> Result<Self> {
        let tms_token = site.tms_token("attack")?;
        let caller = Caller { app: site.app("melink", "wlfz,melink")?, tms_token: tms_token.clone() };
        let other = Caller { app: site.app("wlfz", "melink")?, tms_token };
        // The store is asked from a runtime of its own: this is called beside another one.
        let added = std::thread::scope(|scope| {
            let add = || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(people::add(&site, 0, PEOPLE, PASSWORD))
            };
            scope.spawn(add).join()
        });
        added.map_err(|_| Failure::new("people could not be added"))??;
        let (people, clients) = (Cell::new(0), Cell::new(0));
        Ok(Self { name, processes, fronts, caller, other, site, stores, people, clients })
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its programs.
    pub(crate) fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// Someone whom no attack has had yet.
    pub(crate) fn person(&self) -> Result<Person> {
        let number = self.people.get();
        self.people.set(number + 1);
        if number < PEOPLE { Ok(Person::numbered(number)) } else { Err(Failure::new("there are too few people")) }
    }

    /// The address of someone out there who has not been here yet.
    pub(crate) fn newcomer(&self) -> IpAddr {
        self.clients.set(self.clients.get() + 1);
        client(5_000_000 + self.clients.get())
    }

    /// A number that no other attack has for its networks, in a /48 or an IPv4 address.
    pub(crate) fn fresh(&self) -> u64 {
        self.clients.set(self.clients.get() + 1);
        self.clients.get()
    }

    /// One of the ways in, in turn.
    pub(crate) fn front(&self, turn: u64) -> SocketAddr {
        self.fronts[usize::try_from(turn).unwrap_or_default() % self.fronts.len()]
    }

    /// How many ways in there are.
    pub(crate) fn fronts(&self) -> u64 {
        self.fronts.len() as u64
    }

    /// A login as the proxy passes it on for a client.
    pub(crate) fn login(&self, dialect: Dialect, identifier: &str, password: &str, client: IpAddr) -> Request {
        self.caller.login(dialect, identifier, password, stamp()).from_client(client)
    }

    /// Asks one of the fronts, over a connection of its own.
    pub(crate) async fn ask(&self, turn: u64, request: &Request) -> Result<Answer> {
        Ok(Lane::default().send(&Shot::new(self.front(turn), request.bytes())).await?)
    }

    /// Asks, and reads what a dialect says.
    pub(crate) async fn told(&self, turn: u64, dialect: Dialect, request: &Request) -> Result<Told> {
        Ok(self.caller.read(dialect, &self.ask(turn, request).await?))
    }

    /// Whether this password lets someone in, from a client's address.
    pub(crate) async fn lets_in(&self, turn: u64, dialect: Dialect, identifier: &str, client: IpAddr) -> Result<bool> {
        Ok(self.told(turn, dialect, &self.login(dialect, identifier, PASSWORD, client)).await?.is_done())
    }

    /// The code that is sent to `to` after `seen` others.
    pub(crate) async fn code(&self, to: &str, seen: usize) -> Result<String> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if let Some(code) = self.site.codes(to).into_iter().nth(seen) {
                return Ok(code);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Err(Failure::new(format!("no code was sent to {to}")))
    }

    /// Whether all programs still run, and what their logs hold.
    pub(crate) fn health(&self) -> Row {
        let mut row = Row::new(HEALTH, self);
        for process in &self.processes {
            row.tried += 1;
            let log = process.log();
            let panics = log.lines().filter(|line| line.contains("panicked at")).count() as u64;
            row.faults += panics;
            if !process.is_running() || panics > 0 {
                row.through += 1;
                let told = log.lines().find(|line| line.contains("panicked at")).unwrap_or("ended");
                row.note = format!("{}: {told}", process.name());
            } else {
                row.refused += 1;
            }
        }
        row
    }
}

/// Someone's address out there.
pub(crate) fn client(number: u64) -> IpAddr {
    let [.., a, b, c] = number.to_be_bytes();
    Ipv4Addr::new(11, a, b, c).into()
}

/// A timestamp that was not given before and is fresh: a proof is good once. They run ahead of the clock by as many as
/// were asked for within one second, at most by four minutes.
pub(crate) fn stamp() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static TURN: AtomicU64 = AtomicU64::new(0);
    stele_bench_kit::dialect::now() + 1 + TURN.fetch_add(1, Ordering::Relaxed) % 240
}
