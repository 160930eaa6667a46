//! Fixtures: the backends under test, a manual clock, and sample data.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use stele_core::code::{CodeKey, CodePurpose};
use stele_core::identifier::{Email, Phone, Username};
use stele_core::origin::Origin;
use stele_core::policy::LoginLimits;
use stele_core::ports::{
    AuditLogStore, ClosureStore, CodeVerification, CodeVerificationResult, DialectUseStore, ImportStore, KeyRecord,
    KeyStore, LoginAttempt, NewCode, OAuthRegistry, OnCodeMatch, OriginTrustChange, PasswordListStore, ProofResult,
    StateStore, SuccessEffects, UsedProof, UserStore, VerifierStore,
};
use stele_core::random::{OsRandom, Random as _};
use stele_core::seal::SealedSecret;
use stele_core::session::{NewSession, Session, Ticket, TicketKind, TokenKey};
use stele_core::time::{Clock, Timestamp};
use stele_core::user::{Credential, NewUser, Profile, Role, UserId};
use stele_store::{Database, DatabaseUrl, RedisStateStore, SqliteStateStore};
use stele_testservers as servers;
use tempfile::TempDir;

/// Birth of the state stores in tests.
pub(crate) const BIRTH: Timestamp = Timestamp::from_secs(1_500_000_000);

/// The current time of most tests: an hour after [`BIRTH`].
pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_500_003_600);

/// A clock that advances only when it is set.
pub(crate) struct ManualClock(AtomicI64);

impl ManualClock {
    pub(crate) fn at(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.as_micros()))
    }

    pub(crate) fn set(&self, now: Timestamp) {
        self.0.store(now.as_micros(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }

    fn is_system_clock(&self) -> bool {
        false
    }
}

pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// The stores on one users' database, with its temporary folder.
pub(crate) struct UserBackend {
    pub(crate) name: &'static str,
    pub(crate) users: Arc<dyn UserStore>,
    pub(crate) keys: Arc<dyn KeyStore>,
    pub(crate) audit_log: Arc<dyn AuditLogStore>,
    pub(crate) dialect_use: Arc<dyn DialectUseStore>,
    pub(crate) closures: Arc<dyn ClosureStore>,
    pub(crate) verifiers: Arc<dyn VerifierStore>,
    pub(crate) password_list: Arc<dyn PasswordListStore>,
    pub(crate) imports: Arc<dyn ImportStore>,
    pub(crate) oauth: Arc<dyn OAuthRegistry>,
    _home: Option<TempDir>,
}

/// An empty database on each backend.
pub(crate) async fn user_backends() -> Vec<UserBackend> {
    let dir = tempfile::tempdir().unwrap();
    let sqlite = Database::open(&DatabaseUrl::sqlite(dir.path().join("users.db"))).unwrap();
    sqlite.migrate().await.unwrap();
    let mut backends = vec![user_backend("sqlite", &sqlite, Some(dir)).await];
    if servers::servers_available() {
        let postgres = Database::open(&DatabaseUrl::parse(&servers::database_url()).unwrap()).unwrap();
        postgres.migrate().await.unwrap();
        backends.push(user_backend("postgres", &postgres, None).await);
    }
    backends
}

/// The stores of a database, with the tests' sealing keys registered.
pub(crate) async fn user_backend(name: &'static str, database: &Database, home: Option<TempDir>) -> UserBackend {
    let keys = database.keys();
    for key in [1, 7, u32::MAX] {
        assert!(keys.add_key(&key_record(&format!("seal-{key}"))).await.unwrap());
    }
    let (users, audit_log, verifiers) = (database.users(), database.audit_log(), database.verifiers());
    let password_list = database.password_list();
    let (imports, oauth) = (database.imports(), database.oauth_registry());
    let (dialect_use, closures) = (database.dialect_use(), database.closures());
    UserBackend {
        name,
        users,
        keys,
        audit_log,
        dialect_use,
        closures,
        verifiers,
        password_list,
        imports,
        oauth,
        _home: home,
    }
}

/// A record of a registered key.
pub(crate) fn key_record(name: &str) -> KeyRecord {
    KeyRecord {
        name: name.to_owned(),
        fingerprint: Some(vec![7; 32]),
        added_at: NOW,
        active_from: NOW.saturating_add(secs(60)),
    }
}

/// A state store, with its temporary folder.
pub(crate) struct StateBackend {
    pub(crate) name: &'static str,
    pub(crate) state: Arc<dyn StateStore>,
    /// Whether `delete_expired` deletes expired data. Otherwise the server expires it.
    pub(crate) needs_sweep: bool,
    _home: Option<TempDir>,
}

/// An empty state store on each backend, with the birth [`BIRTH`].
pub(crate) async fn state_backends() -> Vec<StateBackend> {
    let (state, dir) = sqlite_state();
    let mut backends = vec![StateBackend { name: "sqlite", state, needs_sweep: true, _home: Some(dir) }];
    if servers::servers_available() {
        // Not on a cluster, which takes three seconds to start: see `state_backends_with_cluster`.
        let state = redis_state(&servers::redis_url(), BIRTH).await;
        backends.push(StateBackend { name: "redis", state, needs_sweep: false, _home: None });
    }
    backends
}

/// As [`state_backends`], and on a Redis Cluster of three masters: for the tests of what is atomic or counted exactly.
pub(crate) async fn state_backends_with_cluster() -> Vec<StateBackend> {
    let mut backends = state_backends().await;
    if servers::servers_available() {
        let state = redis_state(&servers::redis_cluster_url(), BIRTH).await;
        backends.push(StateBackend { name: "redis cluster", state, needs_sweep: false, _home: None });
    }
    backends
}

/// An embedded state store with the birth [`BIRTH`].
pub(crate) fn sqlite_state() -> (Arc<SqliteStateStore>, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (SqliteStateStore::open(dir.path().join("state.db"), &ManualClock::at(BIRTH)).unwrap(), dir)
}

/// A Redis state store at `url` whose clock is set to `now`.
pub(crate) async fn redis_state(url: &str, now: Timestamp) -> Arc<RedisStateStore> {
    RedisStateStore::open(url, Arc::new(ManualClock::at(now))).await.unwrap()
}

/// Runs `tasks` concurrently, on all threads of the runtime.
pub(crate) async fn all_at_once<T, F>(tasks: impl IntoIterator<Item = F>) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let handles: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
    let mut results = Vec::new();
    for handle in handles {
        results.push(handle.await.unwrap());
    }
    results
}

/// Polls `future` once and drops it, as a server does when the client disconnects.
pub(crate) fn poll_once_and_drop<F: Future>(future: F) {
    let mut future = pin!(future);
    let _ = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
}

pub(crate) fn user_id(n: u8) -> UserId {
    UserId::from_bytes([n; 16])
}

pub(crate) fn random_id() -> UserId {
    let mut bytes = [0; 16];
    OsRandom.fill(&mut bytes);
    UserId::from_random(bytes)
}

pub(crate) fn credential(verifier: &str) -> Credential {
    let sealed = Some(SealedSecret { key_id: 7, bytes: verifier.bytes().collect() });
    Credential { verifier: verifier.to_owned(), sealed }
}

/// A user with only a name.
pub(crate) fn user_named(name: &str) -> NewUser {
    NewUser {
        id: random_id(),
        name: Username::parse(name),
        phone: None,
        email: None,
        registered_with: None,
        registered_through: String::new(),
        registered_at: NOW,
        alias_id: "0123456789abcdef0123456789abcdef".to_owned(),
        role: Role::User,
        profile: Profile::default(),
        credential: credential("first"),
    }
}

pub(crate) fn user_with_phone(phone: &str) -> NewUser {
    NewUser { name: None, phone: Phone::parse_provisioned(phone), ..user_named("unused") }
}

pub(crate) fn user_with_email(email: &str) -> NewUser {
    NewUser { name: None, email: Email::parse_provisioned(email), ..user_named("unused") }
}

pub(crate) fn home_origin() -> Origin {
    Origin::from_address([192, 0, 2, 1].into())
}

pub(crate) fn other_origin() -> Origin {
    Origin::from_address([198, 51, 100, 7].into())
}

/// The key of the account of [`attempt`].
pub(crate) const ALICE: &str = "user:alice";

/// An attempt at the account [`ALICE`].
pub(crate) fn attempt(origin: Origin, now: Timestamp) -> LoginAttempt {
    LoginAttempt {
        account: ALICE.to_owned(),
        epoch: 0,
        origin,
        now,
        proof_made_at: None,
        limits: LoginLimits::default(),
    }
}

/// A valid proof that makes the origin trusted.
pub(crate) fn accepted_and_trusted() -> ProofResult {
    ProofResult::Valid(Box::new(SuccessEffects { origin_trust: OriginTrustChange::Trust, ..SuccessEffects::default() }))
}

/// The effects of a valid proof that is accepted once.
pub(crate) fn one_time_success(key: u8, expires: Timestamp) -> SuccessEffects {
    SuccessEffects { used_proof: Some(UsedProof { key: [key; 32], expires }), ..SuccessEffects::default() }
}

pub(crate) fn token_key(n: u8) -> TokenKey {
    TokenKey([n; 32])
}

pub(crate) fn session(expires: Timestamp) -> Session {
    Session {
        user: user_id(1),
        dialect: "cloudbox".to_owned(),
        app: "app".to_owned(),
        created: NOW,
        expires,
        last_seen: NOW,
        epoch: 3,
    }
}

/// A session with the key [`token_key`]`(n)`, of a user with a high session limit.
pub(crate) fn new_session(n: u8, session: Session) -> NewSession {
    NewSession { key: token_key(n), session, max_per_user: 10_000 }
}

pub(crate) fn code_key(subject: &str) -> CodeKey {
    CodeKey::new("portal", CodePurpose::Any, subject)
}

/// A code for `subject`, sent for the account of [`attempt`], whose keyed hash is `tag` repeated, valid for an hour.
pub(crate) fn code(subject: &str, tag: u8) -> NewCode {
    let (account, expires) = (ALICE.to_owned(), NOW.saturating_add(secs(3_600)));
    NewCode { key: code_key(subject), account, tag: [tag; 32], epoch: 0, expires }
}

/// Stores the data that can be used once: a code, a reset ticket and a captcha.
pub(crate) async fn store_one_time_data(state: &dyn StateStore) {
    assert_eq!(state.consume_quotas(&[], Some(&code("alice", 1)), NOW).await.unwrap(), None);
    let (kind, expires) = (TicketKind::Reset, NOW.saturating_add(secs(600)));
    let ticket = Ticket { kind, user: user_id(1), epoch: 0, source: String::new(), audience: "to".to_owned(), expires };
    state.store_ticket(&token_key(1), &ticket).await.unwrap();
    state.store_captcha(1, expires).await.unwrap();
}

/// Uses the data of [`store_one_time_data`] for the first time, which succeeds. Returns the verification of the code, for
/// a second use.
pub(crate) async fn consume_one_time_data(state: &dyn StateStore) -> CodeVerification {
    assert!(state.redeem_ticket(&token_key(1), TicketKind::Reset, "to", NOW).await.unwrap().is_some());
    assert!(state.consume_captcha(1, NOW).await.unwrap());
    let guess = CodeVerification {
        candidates: vec![(code_key("alice"), [1; 32])],
        epoch: 0,
        on_match: OnCodeMatch::Consume,
        max_attempts: 5,
    };
    let result = state.verify_code(&attempt(home_origin(), NOW), &guess).await.unwrap();
    assert_eq!(result, CodeVerificationResult::Valid(0));
    guess
}

/// A valid proof with these effects.
pub(crate) fn accepted(success: SuccessEffects) -> ProofResult {
    ProofResult::Valid(Box::new(success))
}
