//! Backends to test, and samples to test with.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use stele_core::code::{CodeKey, Purpose};
use stele_core::identifier::{Email, Name, Phone};
use stele_core::origin::Origin;
use stele_core::policy::Guessing;
use stele_core::ports::{
    Attempt, KeyRecord, KeyStore, NewCode, OriginTrust, ReplayMark, StateStore, Success, TrailStore, UserStore,
    Verdict, VerifierStore,
};
use stele_core::random::{OsRandom, Random as _};
use stele_core::seal::Sealed;
use stele_core::session::{NewSession, Session, TokenKey};
use stele_core::time::{Clock, Timestamp};
use stele_core::user::{Credential, NewUser, Profile, Role, UserId};
use stele_store::{Database, RedisState, SqliteState, Target};
use stele_testservers as servers;
use tempfile::TempDir;

/// When the state stores of the tests are born.
pub(crate) const BIRTH: Timestamp = Timestamp::from_secs(1_500_000_000);

/// An hour later: when most tests play.
pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_500_003_600);

/// A clock that stands still until it is set.
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

    fn is_machine(&self) -> bool {
        false
    }
}

pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A store of users, and what has to live as long.
pub(crate) struct UserBackend {
    pub(crate) name: &'static str,
    pub(crate) users: Arc<dyn UserStore>,
    pub(crate) keys: Arc<dyn KeyStore>,
    pub(crate) trail: Arc<dyn TrailStore>,
    pub(crate) verifiers: Arc<dyn VerifierStore>,
    _home: Option<TempDir>,
}

/// Every store of users there is, empty.
pub(crate) async fn user_backends() -> Vec<UserBackend> {
    let dir = tempfile::tempdir().unwrap();
    let sqlite = Database::open(&Target::sqlite(dir.path().join("users.db"))).unwrap();
    sqlite.migrate().await.unwrap();
    let mut backends = vec![backend("sqlite", &sqlite, Some(dir)).await];
    if servers::at_hand() {
        let postgres = Database::open(&Target::parse(&servers::database_url()).unwrap()).unwrap();
        postgres.migrate().await.unwrap();
        backends.push(backend("postgres", &postgres, None).await);
    }
    backends
}

/// A database with the sealing keys that the tests seal under in service.
pub(crate) async fn backend(name: &'static str, database: &Database, home: Option<TempDir>) -> UserBackend {
    let keys = database.keys();
    for key in [1, 7, u32::MAX] {
        assert!(keys.add_key(&key_record(&format!("seal-{key}"))).await.unwrap());
    }
    let (users, trail, verifiers) = (database.users(), database.trail(), database.verifiers());
    UserBackend { name, users, keys, trail, verifiers, _home: home }
}

/// A key in service.
pub(crate) fn key_record(name: &str) -> KeyRecord {
    KeyRecord { name: name.to_owned(), probe: Some(vec![7; 32]), added_at: NOW, works_from: NOW.after(secs(60)) }
}

/// A store of short-lived state, and what has to live as long.
pub(crate) struct StateBackend {
    pub(crate) name: &'static str,
    pub(crate) state: Arc<dyn StateStore>,
    /// Whether sweeping is what clears away; else the store does so by itself, some time.
    pub(crate) sweeps: bool,
    _home: Option<TempDir>,
}

/// Every store of short-lived state there is, empty, born at [`BIRTH`].
pub(crate) async fn state_backends() -> Vec<StateBackend> {
    let (state, dir) = sqlite_state();
    let mut backends = vec![StateBackend { name: "sqlite", state, sweeps: true, _home: Some(dir) }];
    if servers::at_hand() {
        // A cluster takes two seconds to start: where keys are is in `redis_arithmetic` and `redis_faults`.
        let state = redis_state(&servers::redis_url(), BIRTH).await;
        backends.push(StateBackend { name: "redis", state, sweeps: false, _home: None });
    }
    backends
}

/// An embedded store, born at [`BIRTH`].
pub(crate) fn sqlite_state() -> (Arc<SqliteState>, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (SqliteState::open(dir.path().join("state.db"), &ManualClock::at(BIRTH)).unwrap(), dir)
}

/// A store at `url` whose clock stands at `now`.
pub(crate) async fn redis_state(url: &str, now: Timestamp) -> Arc<RedisState> {
    RedisState::open(url, Arc::new(ManualClock::at(now))).await.unwrap()
}

/// Runs `tasks` at once, on as many threads as there are.
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

/// Polls `future` once and drops it, as a server does when the client hangs up.
pub(crate) fn abandon<F: Future>(future: F) {
    let mut future = pin!(future);
    let _ = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
}

pub(crate) fn id(n: u8) -> UserId {
    UserId::from_bytes([n; 16])
}

pub(crate) fn random_id() -> UserId {
    let mut bytes = [0; 16];
    OsRandom.fill(&mut bytes);
    UserId::from_random(bytes)
}

pub(crate) fn credential(verifier: &str) -> Credential {
    let sealed = Some(Sealed { key_id: 7, bytes: verifier.bytes().collect() });
    Credential { verifier: verifier.to_owned(), sealed }
}

/// A user with a name and nothing else.
pub(crate) fn named(name: &str) -> NewUser {
    NewUser {
        id: random_id(),
        name: Name::parse(name),
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

pub(crate) fn with_phone(phone: &str) -> NewUser {
    NewUser { name: None, phone: Phone::provision(phone), ..named("unused") }
}

pub(crate) fn with_email(email: &str) -> NewUser {
    NewUser { name: None, email: Email::provision(email), ..named("unused") }
}

pub(crate) fn home() -> Origin {
    Origin::address([192, 0, 2, 1].into())
}

pub(crate) fn elsewhere() -> Origin {
    Origin::address([198, 51, 100, 7].into())
}

/// An attempt at the account `alice`.
pub(crate) fn attempt(origin: Origin, now: Timestamp) -> Attempt {
    Attempt { account: "user:alice".to_owned(), epoch: 0, origin, now, proof_made: None, limits: Guessing::default() }
}

/// A right proof that makes the origin known.
pub(crate) fn welcome() -> Verdict {
    Verdict::Right(Box::new(Success { origin_trust: OriginTrust::Trusted, ..Success::default() }))
}

/// A right proof that may be accepted once.
pub(crate) fn once(key: u8, expires: Timestamp) -> Success {
    Success { replay: Some(ReplayMark { key: [key; 32], expires }), ..Success::default() }
}

pub(crate) fn token(n: u8) -> TokenKey {
    TokenKey([n; 32])
}

pub(crate) fn session(expires: Timestamp) -> Session {
    Session {
        user: id(1),
        dialect: "cloudbox".to_owned(),
        app: "app".to_owned(),
        created: NOW,
        expires,
        last_seen: NOW,
        epoch: 3,
    }
}

/// The session to be opened under [`token`] `n`, of a user who may have very many.
pub(crate) fn opening(n: u8, session: Session) -> NewSession {
    NewSession { key: token(n), session, per_user: 10_000 }
}

pub(crate) fn code_key(subject: &str) -> CodeKey {
    CodeKey::new("portal", Purpose::Any, subject)
}

/// A code for `subject` whose tag is all `tag`, good for an hour.
pub(crate) fn code(subject: &str, tag: u8) -> NewCode {
    NewCode { key: code_key(subject), tag: [tag; 32], epoch: 0, expires: NOW.after(secs(3_600)) }
}
