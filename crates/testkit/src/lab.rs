//! A user base of a test's own, and services on it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use stele_app::context::Assembly;
use stele_app::{Context, Service, Surroundings, stores};
use stele_core::hasher::Hasher;
use stele_core::identifier::{Email, Name, Phone};
use stele_core::password::{NewPassword, RawPassword};
use stele_core::proof::Proof;
use stele_core::random::OsRandom;
use stele_core::time::Timestamp;
use stele_core::usecase::Caller;
use stele_core::usecase::add_user::{AddUser, Provided};
use stele_core::usecase::login::{Audience, Carrier, Challenge, Login};
use stele_core::user::{Profile, Role, User};
use stele_core::{Deps, UseCases};
use stele_service::Settings;
use stele_testservers as servers;
use zeroize::Zeroizing;

use crate::surroundings::{ManualClock, SeededRandom, Sent, Sink};
use crate::switched::{Switch, Watcher};
use crate::work::Work;

/// When every laboratory's clock stands at first: 2026-01-01T08:00:00Z.
const START: Timestamp = Timestamp::from_secs(1_767_254_400);

/// A user base in a folder of its own, with keys, a clock that stands still and repeatable chance.
pub struct Lab {
    folder: Arc<tempfile::TempDir>,
    clock: Arc<ManualClock>,
    sink: Arc<Sink>,
    switch: Switch,
    deps: Deps,
    context: Context,
}

/// Takes a store away (`true`) or gives it back.
pub type Down = fn(&Lab, bool);

/// Both stores, by name.
pub const STORES: [(&str, Down); 2] = [("users", Lab::users_down), ("state", Lab::state_down)];

impl Lab {
    /// A laboratory with default settings, but for cheap password hashes; on embedded stores or, where
    /// `STELE_TEST_STORES` is `servers`, on PostgreSQL and Redis.
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// A laboratory with these settings on top.
    pub async fn with(extra: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The short-lived store is born a day before the test begins, so that no proof in it is from before.
        let clock = Arc::new(ManualClock::at(START.before(Duration::from_secs(86_400))));
        let surroundings =
            Surroundings { clock: clock.clone(), random: Arc::new(SeededRandom::default()), ..Surroundings::default() };
        let settings = Settings::default()
            .with([
                ("STELE_DATA", folder.path().to_str().unwrap().to_owned()),
                ("STELE_HASH_COST", "64,1,1,weak".to_owned()),
                ("STELE_WORKERS", "1".to_owned()),
            ])
            .with(if servers::wanted() { servers::settings().to_vec() } else { Vec::new() })
            .with(extra.iter().map(|(name, value)| (*name, (*value).to_owned())));
        stele_app::provision(&settings, &[], surroundings.random.as_ref()).await.unwrap();
        let folder = Arc::new(folder);
        let lab = Self::open(folder, settings, clock, surroundings).await;
        lab.clock.set(START);
        lab
    }

    async fn open(
        folder: Arc<tempfile::TempDir>,
        settings: Settings,
        clock: Arc<ManualClock>,
        surroundings: Surroundings,
    ) -> Self {
        let sink = Arc::new(Sink::default());
        let mut assembly = Assembly::open(settings, surroundings, sink.clone()).await.unwrap();
        let switch = Switch::default();
        assembly.deps.users = switch.users(assembly.deps.users);
        assembly.deps.state = switch.state(assembly.deps.state);
        let deps = assembly.deps.clone();
        Self { folder, clock, sink, switch, deps, context: assembly.finish() }
    }

    /// Another instance: it reads the same settings, keys and clock and opens the stores itself, and shares nothing with
    /// this one in memory.
    pub async fn another(&self) -> Self {
        let (clock, settings) = (self.clock.clone(), self.context.settings.clone());
        let random = Arc::new(SeededRandom::nth(1));
        let surroundings = Surroundings { clock: clock.clone(), random, ..Surroundings::default() };
        Self::open(self.folder.clone(), settings, clock, surroundings).await
    }

    /// The same user base after a restart: everything that was open is closed, and opened again. Services that were
    /// started must have been stopped ([`Running::stop`]).
    pub async fn restarted(self) -> Self {
        let Self { folder, clock, deps, context, .. } = self;
        let settings = context.settings.clone();
        drop((deps, context));
        let random = Arc::new(SeededRandom::nth(2));
        let surroundings = Surroundings { clock: clock.clone(), random, ..Surroundings::default() };
        Self::open(folder, settings, clock, surroundings).await
    }

    /// Takes the user store away (`true`) or gives it back, from the services as from [`Lab::deps`]. While it is away
    /// it answers `Unavailable`, with a cause that no client may see.
    pub fn users_down(&self, down: bool) {
        self.switch.users_down(down);
    }

    /// As [`Lab::users_down`], but that what an app is can still be read.
    pub fn accounts_down(&self, down: bool) {
        self.switch.accounts_down(down);
    }

    /// As [`Lab::users_down`], for the short-lived store.
    pub fn state_down(&self, down: bool) {
        self.switch.state_down(down);
    }

    /// Has `watcher` told of every call of a store, in place of who was before.
    pub fn watch(&self, watcher: Option<Watcher>) {
        self.switch.watch(watcher);
    }

    /// Does something, and gives what the services and the domain did for it. Nothing else may ask them meanwhile.
    pub async fn work<T>(&self, asked: impl Future<Output = T>) -> (T, Work) {
        let hashed = || self.deps().hasher.computed();
        let before = hashed();
        self.switch.take_made();
        let answer = asked.await;
        let [users, state] = self.switch.take_made();
        (answer, Work { hashes: hashed() - before, users, state })
    }

    /// The use cases, as services have them.
    pub fn use_cases(&self) -> &UseCases {
        &self.context.use_cases
    }

    /// The stores and rules behind the use cases, which services do not see.
    pub fn deps(&self) -> &Deps {
        &self.deps
    }

    /// What services are started with, over stores or rules that `change` has changed.
    pub fn context_with(&self, change: impl FnOnce(&mut Deps)) -> Context {
        let mut deps = self.deps.clone();
        change(&mut deps);
        Context { use_cases: UseCases::new(deps), ..self.context.clone() }
    }

    /// What services are started with.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The clock.
    pub fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// The data folder.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// All codes sent so far.
    pub fn codes(&self) -> Vec<Sent> {
        self.sink.all()
    }

    /// The newest code sent to `to`.
    pub fn code_for(&self, to: &str) -> String {
        let sent = self.codes().into_iter().rev().find(|sent| sent.to == to);
        sent.unwrap_or_else(|| panic!("no code was sent to {to}")).code
    }

    /// A user to add.
    pub fn user(&self, name: &str) -> UserBuilder<'_> {
        UserBuilder {
            lab: self,
            name: name.to_owned(),
            password: "123456".to_owned(),
            phone: None,
            email: None,
            role: Role::User,
            profile: Profile::default(),
        }
    }

    /// Registers a MeFP app.
    pub async fn app(&self, name: &str, secret: &str, may_token: &[&str]) {
        let may_token = may_token.iter().map(|name| (*name).to_owned()).collect();
        self.use_cases().add_app(name, Some(Zeroizing::new(secret.to_owned())), may_token).await.unwrap();
    }

    /// Adds a TMS client token.
    pub async fn client_token(&self, name: &str) -> String {
        self.use_cases().add_client_token(name).await.unwrap().expose().to_owned()
    }

    /// Has an account's owner log in by TMS, from an address that no test calls from.
    pub async fn owner_logs_in(&self, identifier: &str, password: &str) {
        let caller = Caller::direct("tms", [198, 51, 100, 200].into());
        let request = Login {
            identifier,
            proof: Proof::Raw(RawPassword::new(password.to_owned())),
            caller: &caller,
            audience: Audience::Everyone,
            challenge: Challenge::Never,
            carrier: Carrier::Token,
        };
        self.use_cases().login(request).await.unwrap();
    }

    /// Starts a service alone on a free port of loopback.
    pub async fn start(&self, service: Service) -> Running {
        self.start_on(&self.context, service).await
    }

    /// As [`Lab::start`], with a domain that `change` was made to: as an instance with other settings or keys has it.
    pub async fn start_with(&self, service: Service, change: impl FnOnce(&mut Deps)) -> Running {
        self.start_on(&self.context_with(change), service).await
    }

    /// As [`Lab::start`], as when every hashing slot is taken and the queue behind is full.
    pub async fn start_when_hashing_is_full(&self, service: Service) -> Running {
        let full = Hasher::new(self.deps().hasher.cost(), 1, 0, &OsRandom);
        self.start_with(service, |deps| deps.hasher = full.unwrap()).await
    }

    async fn start_on(&self, context: &Context, service: Service) -> Running {
        let settings = &context.settings;
        let keys = stores::database(settings).unwrap().keys();
        stele_app::provision_service(keys.as_ref(), settings, &service, &OsRandom).await.unwrap();
        context.keys.refresh().await.unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = service.start(context, listener).unwrap();
        let handle = server.handle();
        tokio::spawn(server);
        Running { service, address, handle }
    }
}

/// A service that runs until it is dropped.
pub struct Running {
    service: Service,
    address: SocketAddr,
    handle: ServerHandle,
}

impl Running {
    /// What runs.
    pub fn service(&self) -> Service {
        self.service
    }

    /// Stops it; everything that it was asked is answered.
    pub async fn stop(self) {
        self.handle.stop(true).await;
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of `path` there.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
    }
}

/// A user to add; everything but the name may be left out. The password is `123456`.
pub struct UserBuilder<'a> {
    lab: &'a Lab,
    name: String,
    password: String,
    phone: Option<String>,
    email: Option<String>,
    role: Role,
    profile: Profile,
}

impl UserBuilder<'_> {
    /// Another password.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        password.clone_into(&mut self.password);
        self
    }

    /// A phone.
    #[must_use]
    pub fn phone(mut self, phone: &str) -> Self {
        self.phone = Some(phone.to_owned());
        self
    }

    /// An e-mail address.
    #[must_use]
    pub fn email(mut self, email: &str) -> Self {
        self.email = Some(email.to_owned());
        self
    }

    /// An administrator.
    #[must_use]
    pub fn admin(mut self) -> Self {
        self.role = Role::Admin;
        self
    }

    /// More about the person.
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// Adds the user.
    pub async fn add(self) -> User {
        let password = NewPassword::provisioned(&RawPassword::new(self.password)).expect("a password");
        let request = AddUser {
            name: Name::parse(&self.name).expect("a name"),
            phone: self.phone.map(|phone| Phone::provision(&phone).expect("a phone")),
            email: self.email.map(|email| Email::provision(&email).expect("an e-mail address")),
            role: self.role,
            profile: self.profile,
            secret: Provided::Password(password),
        };
        self.lab.use_cases().add_user(request).await.unwrap()
    }
}
