//! A user base of a test's own, and services on it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use stele_app::context::ContextBuilder;
use stele_app::{Context, Environment, Service, stores};
use stele_core::hasher::Hasher;
use stele_core::identifier::{Email, Phone, Username};
use stele_core::password::{NewPassword, RawPassword};
use stele_core::proof::Proof;
use stele_core::random::OsRandom;
use stele_core::time::Timestamp;
use stele_core::usecase::RequestInfo;
use stele_core::usecase::add_user::{AddUserRequest, ProvidedSecret};
use stele_core::usecase::login::{AllowedUsers, Challenge, LoginRequest, SessionTransport};
use stele_core::user::{Profile, Role, User};
use stele_core::{Dependencies, UseCases};
use stele_service::Settings;
use stele_testservers as servers;
use zeroize::Zeroizing;

use crate::environment::{ManualClock, RecordingDelivery, SeededRandom, SentCode};
use crate::fault_injection::{FaultInjector, StoreCallObserver};
use crate::request_cost::RequestCost;

/// When every laboratory's clock stands at first: 2026-01-01T08:00:00Z.
const INITIAL_TIME: Timestamp = Timestamp::from_secs(1_767_254_400);

/// A user base in a folder of its own, with keys, a clock that stands still and repeatable chance.
pub struct TestLab {
    folder: Arc<tempfile::TempDir>,
    clock: Arc<ManualClock>,
    delivery: Arc<RecordingDelivery>,
    fault_injector: FaultInjector,
    dependencies: Dependencies,
    context: Context,
}

/// Takes a store away (`true`) or gives it back.
pub type SetStoreDown = fn(&TestLab, bool);

/// Both stores, by name.
pub const STORES: [(&str, SetStoreDown); 2] =
    [("users", TestLab::set_user_store_down), ("state", TestLab::set_state_store_down)];

impl TestLab {
    /// A laboratory with default settings, but for cheap password hashes; on embedded stores or, where
    /// `STELE_TEST_STORES` is `servers`, on PostgreSQL and Redis.
    pub async fn new() -> Self {
        Self::with_settings(&[]).await
    }

    /// A laboratory with these settings on top.
    pub async fn with_settings(extra: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The short-lived store is born a day before the test begins, so that no proof in it is from before.
        let clock = Arc::new(ManualClock::at(INITIAL_TIME.saturating_sub(Duration::from_secs(86_400))));
        let surroundings =
            Environment { clock: clock.clone(), random: Arc::new(SeededRandom::default()), ..Environment::default() };
        let settings = Settings::default()
            .with_values([
                ("STELE_DATA", folder.path().to_str().unwrap().to_owned()),
                ("STELE_HASH_COST", "64,1,1,weak".to_owned()),
                ("STELE_WORKERS", "1".to_owned()),
            ])
            .with_values(if servers::server_stores_requested() {
                servers::store_settings().to_vec()
            } else {
                Vec::new()
            })
            .with_values(extra.iter().map(|(name, value)| (*name, (*value).to_owned())));
        stele_app::provision(&settings, &[], surroundings.random.as_ref()).await.unwrap();
        let folder = Arc::new(folder);
        let lab = Self::open(folder, settings, clock, surroundings).await;
        lab.clock.set(INITIAL_TIME);
        lab
    }

    async fn open(
        folder: Arc<tempfile::TempDir>,
        settings: Settings,
        clock: Arc<ManualClock>,
        surroundings: Environment,
    ) -> Self {
        let sink = Arc::new(RecordingDelivery::default());
        let mut assembly = ContextBuilder::open(settings, surroundings, sink.clone()).await.unwrap();
        let switch = FaultInjector::default();
        assembly.dependencies.users = switch.wrap_user_store(assembly.dependencies.users);
        assembly.dependencies.state = switch.wrap_state_store(assembly.dependencies.state);
        let deps = assembly.dependencies.clone();
        Self { folder, clock, delivery: sink, fault_injector: switch, dependencies: deps, context: assembly.build() }
    }

    /// Another instance: it reads the same settings, keys and clock and opens the stores itself, and shares nothing with
    /// this one in memory.
    pub async fn second_instance(&self) -> Self {
        let (clock, settings) = (self.clock.clone(), self.context.settings.clone());
        let random = Arc::new(SeededRandom::stream(1));
        let surroundings = Environment { clock: clock.clone(), random, ..Environment::default() };
        Self::open(self.folder.clone(), settings, clock, surroundings).await
    }

    /// The same user base after a restart: everything that was open is closed, and opened again. Services that were
    /// started must have been stopped ([`RunningService::stop`]).
    pub async fn restart(self) -> Self {
        let Self { folder, clock, dependencies: deps, context, .. } = self;
        let settings = context.settings.clone();
        drop((deps, context));
        let random = Arc::new(SeededRandom::stream(2));
        let surroundings = Environment { clock: clock.clone(), random, ..Environment::default() };
        Self::open(folder, settings, clock, surroundings).await
    }

    /// Takes the user store away (`true`) or gives it back, from the services as from [`TestLab::dependencies`]. While it is away
    /// it answers `Unavailable`, with a cause that no client may see.
    pub fn set_user_store_down(&self, down: bool) {
        self.fault_injector.set_user_store_down(down);
    }

    /// As [`TestLab::set_user_store_down`], but that what an app is can still be read.
    pub fn set_accounts_down(&self, down: bool) {
        self.fault_injector.set_accounts_down(down);
    }

    /// As [`TestLab::set_user_store_down`], for the short-lived store.
    pub fn set_state_store_down(&self, down: bool) {
        self.fault_injector.set_state_store_down(down);
    }

    /// Has `watcher` told of every call of a store, in place of who was before.
    pub fn set_store_observer(&self, watcher: Option<StoreCallObserver>) {
        self.fault_injector.set_observer(watcher);
    }

    /// Does something, and gives what the services and the domain did for it. Nothing else may ask them meanwhile.
    pub async fn measure_cost<T>(&self, asked: impl Future<Output = T>) -> (T, RequestCost) {
        let hashed = || self.dependencies().hasher.computed_hashes();
        let before = hashed();
        self.fault_injector.take_calls();
        let answer = asked.await;
        let [users, state] = self.fault_injector.take_calls();
        (answer, RequestCost { hashes: hashed() - before, user_store_calls: users, state_store_calls: state })
    }

    /// The use cases, as services have them.
    pub fn use_cases(&self) -> &UseCases {
        &self.context.use_cases
    }

    /// The stores and rules behind the use cases, which services do not see.
    pub fn dependencies(&self) -> &Dependencies {
        &self.dependencies
    }

    /// What services are started with, over stores or rules that `change` has changed.
    pub fn context_with(&self, change: impl FnOnce(&mut Dependencies)) -> Context {
        let mut deps = self.dependencies.clone();
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
    pub fn data_folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// All codes sent so far.
    pub fn sent_codes(&self) -> Vec<SentCode> {
        self.delivery.sent_codes()
    }

    /// The newest code sent to `to`.
    pub fn last_code_for(&self, to: &str) -> String {
        let sent = self.sent_codes().into_iter().rev().find(|sent| sent.to == to);
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
    pub async fn add_app(&self, name: &str, secret: &str, may_token: &[&str]) {
        let may_token = may_token.iter().map(|name| (*name).to_owned()).collect();
        self.use_cases().add_app(name, Some(Zeroizing::new(secret.to_owned())), may_token).await.unwrap();
    }

    /// Adds a TMS client token.
    pub async fn add_client_token(&self, name: &str) -> String {
        self.use_cases().add_client_token(name).await.unwrap().expose().to_owned()
    }

    /// Has an account's owner log in by TMS, from an address that no test calls from.
    pub async fn log_in_owner(&self, identifier: &str, password: &str) {
        let caller = RequestInfo::from_client("tms", [198, 51, 100, 200].into());
        let request = LoginRequest {
            identifier,
            proof: Proof::Raw(RawPassword::new(password.to_owned())),
            caller: &caller,
            allowed_users: AllowedUsers::Everyone,
            challenge: Challenge::Never,
            transport: SessionTransport::Token,
        };
        self.use_cases().login(request).await.unwrap();
    }

    /// Starts a service alone on a free port of loopback.
    pub async fn start_service(&self, service: Service) -> RunningService {
        self.start_service_on(&self.context, service).await
    }

    /// As [`TestLab::start_service`], with a domain that `change` was made to: as an instance with other settings or keys has it.
    pub async fn start_service_with(&self, service: Service, change: impl FnOnce(&mut Dependencies)) -> RunningService {
        self.start_service_on(&self.context_with(change), service).await
    }

    /// As [`TestLab::start_service`], as when every hashing slot is taken and the queue behind is full.
    pub async fn start_with_full_hash_queue(&self, service: Service) -> RunningService {
        let full = Hasher::new(self.dependencies().hasher.cost(), 1, 0, &OsRandom);
        self.start_service_with(service, |deps| deps.hasher = full.unwrap()).await
    }

    async fn start_service_on(&self, context: &Context, service: Service) -> RunningService {
        let settings = &context.settings;
        let keys = stores::open_database(settings).unwrap().keys();
        stele_app::provision_service(keys.as_ref(), settings, &service, &OsRandom).await.unwrap();
        context.keys.refresh().await.unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = service.start(context, listener).unwrap();
        let handle = server.handle();
        tokio::spawn(server);
        RunningService { service, address, handle }
    }
}

/// A service that runs until it is dropped.
pub struct RunningService {
    service: Service,
    address: SocketAddr,
    handle: ServerHandle,
}

impl RunningService {
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

impl Drop for RunningService {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
    }
}

/// A user to add; everything but the name may be left out. The password is `123456`.
pub struct UserBuilder<'a> {
    lab: &'a TestLab,
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
        let password = NewPassword::from_administrator(&RawPassword::new(self.password)).expect("a password");
        let request = AddUserRequest {
            name: Username::parse(&self.name).expect("a name"),
            phone: self.phone.map(|phone| Phone::parse_provisioned(&phone).expect("a phone")),
            email: self.email.map(|email| Email::parse_provisioned(&email).expect("an e-mail address")),
            role: self.role,
            profile: self.profile,
            secret: ProvidedSecret::Password(password),
        };
        self.lab.use_cases().add_user(request).await.unwrap()
    }
}
