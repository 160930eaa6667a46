//! A user base for one test with a manual clock and fault injection, and services on it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use stele_app::context::ContextBuilder;
use stele_app::{Context, Environment, PublicEndpoint, Service, stores};
use stele_core::hasher::Hasher;
use stele_core::identifier::{Email, Phone, Username};
use stele_core::oauth::OAuthRegistryCache;
use stele_core::password::{NewPassword, RawPassword};
use stele_core::ports::OAuthRegistry;
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
use crate::fault_injection::{FaultInjector, ResponseDelivery, StoreCallObserver, StoreState};
use crate::request_cost::RequestCost;

/// The initial time of every lab: 2026-01-01T08:00:00Z.
const INITIAL_TIME: Timestamp = Timestamp::from_secs(1_767_254_400);

/// A user base in a temporary folder, with keys, a manual clock and a deterministic random source.
pub struct TestLab {
    folder: Arc<tempfile::TempDir>,
    clock: Arc<ManualClock>,
    delivery: Arc<RecordingDelivery>,
    fault_injector: FaultInjector,
    dependencies: Dependencies,
    oauth_registry: Arc<dyn OAuthRegistry>,
    context: Context,
}

/// Takes a store down, or up again.
pub type SetStoreState = fn(&TestLab, StoreState);

/// The name of each store, and the function that takes it down.
pub const STORES: [(&str, SetStoreState); 2] =
    [("users", TestLab::set_user_store), ("state", TestLab::set_state_store)];

impl TestLab {
    /// A lab with default settings and cheap password hashes, which accepts common passwords, as the samples of the API
    /// documents have them (`123456`), on embedded stores. If `STELE_TEST_STORES` is `servers`,
    /// the lab is on PostgreSQL and Redis.
    pub async fn new() -> Self {
        Self::with_settings(&[]).await
    }

    /// As [`TestLab::new`], with these settings in addition.
    pub async fn with_settings(extra: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The state store is a day old when the test begins: proofs older than the store would be rejected as stale.
        let clock = Arc::new(ManualClock::at(INITIAL_TIME.saturating_sub(Duration::from_secs(86_400))));
        let environment =
            Environment { clock: clock.clone(), random: Arc::new(SeededRandom::default()), ..Environment::default() };
        let settings = Settings::default()
            .with_values([
                ("STELE_DATA", folder.path().to_str().unwrap().to_owned()),
                ("STELE_HASH_COST", "64,1,1,weak".to_owned()),
                ("STELE_WORKERS", "1".to_owned()),
                ("STELE_PASSWORD_LIST", "off".to_owned()),
            ])
            .with_values(if servers::server_stores_requested() {
                servers::store_settings().to_vec()
            } else {
                Vec::new()
            })
            .with_values(extra.iter().map(|(name, value)| (*name, (*value).to_owned())));
        stele_app::provision(&settings, &[], environment.random.as_ref()).await.unwrap();
        let folder = Arc::new(folder);
        let lab = Self::open(folder, settings, clock, environment).await;
        lab.clock.set(INITIAL_TIME);
        lab
    }

    async fn open(
        folder: Arc<tempfile::TempDir>,
        settings: Settings,
        clock: Arc<ManualClock>,
        environment: Environment,
    ) -> Self {
        let delivery = Arc::new(RecordingDelivery::default());
        let registry = stores::open_database(&settings).unwrap().oauth_registry();
        let mut builder = ContextBuilder::open(settings, environment, delivery.clone()).await.unwrap();
        let fault_injector = FaultInjector::default();
        builder.dependencies.users = fault_injector.wrap_user_store(builder.dependencies.users);
        builder.dependencies.state = fault_injector.wrap_state_store(builder.dependencies.state);
        let oauth_registry = fault_injector.wrap_oauth_registry(registry);
        builder.dependencies.oauth_registry = Arc::new(OAuthRegistryCache::new(oauth_registry.clone(), clock.clone()));
        let dependencies = builder.dependencies.clone();
        Self { folder, clock, delivery, fault_injector, dependencies, oauth_registry, context: builder.build() }
    }

    /// A second instance with the same settings, keys and clock. The instance opens the stores separately; in memory,
    /// it shares only the clock with this instance.
    pub async fn second_instance(&self) -> Self {
        let (clock, settings) = (self.clock.clone(), self.context.settings.clone());
        let random = Arc::new(SeededRandom::stream(1));
        let environment = Environment { clock: clock.clone(), random, ..Environment::default() };
        Self::open(self.folder.clone(), settings, clock, environment).await
    }

    /// This user base after a restart: the stores are closed and opened again. Stop running services first
    /// ([`RunningService::stop`]).
    pub async fn restart(self) -> Self {
        let Self { folder, clock, dependencies, context, .. } = self;
        let settings = context.settings.clone();
        drop((dependencies, context));
        let random = Arc::new(SeededRandom::stream(2));
        let environment = Environment { clock: clock.clone(), random, ..Environment::default() };
        Self::open(folder, settings, clock, environment).await
    }

    /// Takes the user store down, or up again, for services and [`TestLab::dependencies`] alike. While it is down,
    /// every call fails as unavailable, with an error source that no client may see.
    pub fn set_user_store(&self, state: StoreState) {
        self.fault_injector.set_user_store(state);
    }

    /// As [`TestLab::set_user_store`], except that apps can still be looked up while the store is down.
    pub fn set_accounts(&self, state: StoreState) {
        self.fault_injector.set_accounts(state);
    }

    /// As [`TestLab::set_user_store`], for the state store.
    pub fn set_state_store(&self, state: StoreState) {
        self.fault_injector.set_state_store(state);
    }

    /// Replaces the observer of store calls.
    pub fn set_store_observer(&self, observer: Option<StoreCallObserver>) {
        self.fault_injector.set_observer(observer);
    }

    /// From now on, the responses to the stores' calls of this `operation` are lost: the call is executed, and the caller
    /// gets an error.
    pub fn lose_responses_to(&self, operation: &'static str) {
        self.set_store_observer(Some(Arc::new(move |called, _| {
            if called == operation { ResponseDelivery::Lost } else { ResponseDelivery::Delivered }
        })));
    }

    /// Runs an operation; returns the operation's result and cost. No other requests may run at the same time.
    pub async fn measure_cost<T>(&self, operation: impl Future<Output = T>) -> (T, RequestCost) {
        let count_hashes = || self.dependencies().hasher.computed_hashes();
        let hashes_before = count_hashes();
        self.fault_injector.take_calls();
        let result = operation.await;
        let [user_store_calls, state_store_calls] = self.fault_injector.take_calls();
        (result, RequestCost { hashes: count_hashes() - hashes_before, user_store_calls, state_store_calls })
    }

    /// The use cases, as services call them.
    pub fn use_cases(&self) -> &UseCases {
        &self.context.use_cases
    }

    /// The stores and policies behind the use cases, which services cannot access.
    pub fn dependencies(&self) -> &Dependencies {
        &self.dependencies
    }

    /// The registry of OAuth clients and resource servers. Services see a change when their cache expires.
    pub fn oauth_registry(&self) -> &dyn OAuthRegistry {
        self.oauth_registry.as_ref()
    }

    /// A copy of the context for starting services, with the dependencies modified by `change`.
    pub fn context_with(&self, change: impl FnOnce(&mut Dependencies)) -> Context {
        let mut dependencies = self.dependencies.clone();
        change(&mut dependencies);
        Context { use_cases: UseCases::new(dependencies), ..self.context.clone() }
    }

    /// The context for starting services.
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

    /// The last code sent to `to`; panics if there is none.
    pub fn last_code_for(&self, to: &str) -> String {
        let sent = self.sent_codes().into_iter().rev().find(|sent| sent.to == to);
        sent.unwrap_or_else(|| panic!("no code was sent to {to}")).code
    }

    /// Begins to add a user; see [`UserBuilder`].
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

    /// Logs in as the owner of an account through TMS, from an address that no test uses.
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

    /// As [`TestLab::start_service`], with the dependencies modified by `change`, like an instance with other settings
    /// or keys.
    pub async fn start_service_with(&self, service: Service, change: impl FnOnce(&mut Dependencies)) -> RunningService {
        self.start_service_on(&self.context_with(change), service).await
    }

    /// As [`TestLab::start_service`], with all hashing slots taken and the hash queue full.
    pub async fn start_with_full_hash_queue(&self, service: Service) -> RunningService {
        let full = Hasher::new(self.dependencies().hasher.cost(), 1, 0, &OsRandom);
        self.start_service_with(service, |dependencies| dependencies.hasher = full.unwrap()).await
    }

    async fn start_service_on(&self, context: &Context, service: Service) -> RunningService {
        let settings = &context.settings;
        let keys = stores::open_database(settings).unwrap().keys();
        stele_app::provision_service(keys.as_ref(), settings, &service, &OsRandom).await.unwrap();
        context.keys.refresh().await.unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let public_endpoint = Some(PublicEndpoint { scheme: "http", address });
        let server = service.start(&Context { public_endpoint, ..context.clone() }, listener).unwrap();
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
    /// The dialect's service.
    pub fn service(&self) -> Service {
        self.service
    }

    /// Graceful shutdown: requests in flight are answered.
    pub async fn stop(self) {
        self.handle.stop(true).await;
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of `path` on this service.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for RunningService {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
    }
}

/// Adds a user. Everything but the name is optional; the default password is `123456`.
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
    /// Sets the password.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        password.clone_into(&mut self.password);
        self
    }

    /// Sets the phone.
    #[must_use]
    pub fn phone(mut self, phone: &str) -> Self {
        self.phone = Some(phone.to_owned());
        self
    }

    /// Sets the e-mail address.
    #[must_use]
    pub fn email(mut self, email: &str) -> Self {
        self.email = Some(email.to_owned());
        self
    }

    /// Makes the user an administrator.
    #[must_use]
    pub fn admin(mut self) -> Self {
        self.role = Role::Admin;
        self
    }

    /// Sets the profile.
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
