//! What is attacked.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use stele_bench_kit::{
    Answer, Caller, Dialect, Failure, Person, Process, Programs, Request, Result, Servers, Site, Told, people,
};

use crate::report::{HEALTH, Row};
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
    ("STELE_HASH_COST", "64,1,1,weak"),
];

/// How many people there are.
const PEOPLE: usize = 400;

/// Programs that run together, and their people.
pub(crate) struct Fleet {
    name: &'static str,
    /// Ended before their site is.
    processes: Vec<Process>,
    fronts: Vec<SocketAddr>,
    pub(crate) caller: Caller,
    /// Another app's calls.
    pub(crate) other: Caller,
    pub(crate) site: Site,
    people: Cell<usize>,
    clients: Cell<u64>,
}

impl Fleet {
    /// `stele up`.
    pub(crate) fn embedded(programs: &Programs, open: bool) -> Result<Self> {
        let site = Site::embedded(programs, &settings(open))?;
        let up = site.up(&[])?;
        let fronts = vec![up.address()];
        Self::of(if open { "stele up, no limits" } else { "stele up" }, site, vec![up], fronts)
    }

    /// Two gateways, each with an instance of each service, so that who turns to the other gateway turns to the other
    /// instance.
    pub(crate) fn instances(programs: &Programs, servers: &Servers, open: bool) -> Result<Self> {
        let site = Site::on_servers(programs, servers, &settings(open))?;
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
        Self::of(if open { "instances, no limits" } else { "instances" }, site, processes, fronts)
    }

    fn of(name: &'static str, site: Site, processes: Vec<Process>, fronts: Vec<SocketAddr>) -> Result<Self> {
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
        Ok(Self { name, processes, fronts, caller, other, site, people: Cell::new(0), clients: Cell::new(0) })
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &'static str {
        self.name
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

fn settings(open: bool) -> Vec<(&'static str, &'static str)> {
    if open { [SETTINGS, OPEN].concat() } else { SETTINGS.to_vec() }
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
