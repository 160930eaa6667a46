//! Fault injection: decorators of the stores that simulate outages and lost responses, record every call, and notify an
//! observer of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use stele_core::app::{App, ClientToken};
use stele_core::common_passwords::ListedPasswordKey;
use stele_core::oauth::{Audience, ClientId, OAuthClient, Resource, ResourceName, Secrets};
use stele_core::ports::{
    AttemptOutcome, ClientAddition, CodeVerification, CodeVerificationResult, LoginAttempt, NewCode, OAuthRegistry,
    ProofResult, QuotaExceeded, QuotaUse, RateLimitDecision, ResourceAddition, ResourceRemoval, ServerClock,
    StateStore, UsedProof, UserStore,
};
use stele_core::session::{
    DialectName, NewSession, Session, SessionAndRevocation, SessionList, Ticket, TicketKind, TokenKey,
};
use stele_core::time::Timestamp;
use stele_core::user::{Account, ClientUserId, Credential, NewUser, User, UserId, UserRef, UserStatus};
use stele_core::{Error, Result};

/// The error source of a simulated outage. No part of this text may reach a client.
const OUTAGE_ERROR: &str = "simulated outage: postgres://user:secret@db";

/// Simulates outages of the stores that it wraps. Clones share their state; at first every store is up.
#[derive(Clone, Default)]
pub(crate) struct FaultInjector {
    accounts_down_flag: DownFlag,
    apps_down_flag: DownFlag,
    state_down_flag: DownFlag,
    observer: Arc<Mutex<Option<StoreCallObserver>>>,
    user_store_calls: StoreCalls,
    state_store_calls: StoreCalls,
}

/// The calls of a store so far, by operation name.
type StoreCalls = Arc<Mutex<Vec<&'static str>>>;

/// Whether a store is available in a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreState {
    /// Calls reach the store.
    Up,
    /// Every call fails as unavailable.
    Down,
}

/// When an observer is notified of a store's call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallPhase {
    /// Before the store executes it.
    Before,
    /// After the store executed it, before the caller receives the response.
    After,
}

/// Whether the caller of a store receives the response to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseDelivery {
    /// The caller receives the response.
    Delivered,
    /// The call is executed, and the caller gets an error as if the connection had been lost.
    Lost,
}

/// Called with the operation's name before and after each call of a store. The result is used only after the call.
pub type StoreCallObserver = Arc<dyn Fn(&'static str, CallPhase) -> ResponseDelivery + Send + Sync>;

/// Records the calls of one store and notifies the observer.
struct CallRecorder {
    observer: Arc<Mutex<Option<StoreCallObserver>>>,
    calls: StoreCalls,
}

impl CallRecorder {
    fn notify(&self, operation: &'static str, phase: CallPhase) -> ResponseDelivery {
        let observer = self.observer.lock().unwrap().clone();
        observer.map_or(ResponseDelivery::Delivered, |observer| observer(operation, phase))
    }

    async fn record_call<T>(&self, operation: &'static str, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.calls.lock().unwrap().push(operation);
        self.notify(operation, CallPhase::Before);
        let result = call.await;
        match self.notify(operation, CallPhase::After) {
            ResponseDelivery::Delivered => result,
            ResponseDelivery::Lost => Err(Error::unavailable(OUTAGE_ERROR)),
        }
    }
}

/// Whether a store, or a part of it, is down.
#[derive(Clone, Debug, Default)]
struct DownFlag(Arc<AtomicBool>);

impl DownFlag {
    fn set(&self, state: StoreState) {
        self.0.store(state == StoreState::Down, Ordering::SeqCst);
    }

    /// The store, or an error while the flag is set.
    fn get<'a, S: ?Sized>(&self, store: &'a Arc<S>) -> Result<&'a S> {
        if self.0.load(Ordering::SeqCst) { Err(Error::unavailable(OUTAGE_ERROR)) } else { Ok(store) }
    }
}

impl FaultInjector {
    /// Decorates the user store.
    pub(crate) fn wrap_user_store(&self, store: Arc<dyn UserStore>) -> Arc<dyn UserStore> {
        Arc::new(FaultInjectingUserStore {
            store,
            accounts: self.accounts_down_flag.clone(),
            apps: self.apps_down_flag.clone(),
            recorder: self.recorder(&self.user_store_calls),
        })
    }

    /// Decorates the state store.
    pub(crate) fn wrap_state_store(&self, store: Arc<dyn StateStore>) -> Arc<dyn StateStore> {
        Arc::new(FaultInjectingStateStore {
            store,
            down: self.state_down_flag.clone(),
            recorder: self.recorder(&self.state_store_calls),
        })
    }

    /// Decorates the registry of OAuth clients, which is a part of the user store.
    pub(crate) fn wrap_oauth_registry(&self, registry: Arc<dyn OAuthRegistry>) -> Arc<dyn OAuthRegistry> {
        let recorder = self.recorder(&self.user_store_calls);
        Arc::new(FaultInjectingOAuthRegistry { registry, down: self.accounts_down_flag.clone(), recorder })
    }

    fn recorder(&self, calls: &StoreCalls) -> CallRecorder {
        CallRecorder { observer: self.observer.clone(), calls: calls.clone() }
    }

    /// Returns and clears the recorded calls of the user store and of the state store, each in the order of the calls.
    pub(crate) fn take_calls(&self) -> [Vec<&'static str>; 2] {
        [&self.user_store_calls, &self.state_store_calls].map(|calls| std::mem::take(&mut *calls.lock().unwrap()))
    }

    /// Replaces the observer of store calls.
    pub(crate) fn set_observer(&self, observer: Option<StoreCallObserver>) {
        *self.observer.lock().unwrap() = observer;
    }

    /// Takes the whole user store down, or up again.
    pub(crate) fn set_user_store(&self, state: StoreState) {
        self.accounts_down_flag.set(state);
        self.apps_down_flag.set(state);
    }

    /// Takes the user store down, except for lookups of apps, or up again.
    pub(crate) fn set_accounts(&self, state: StoreState) {
        self.accounts_down_flag.set(state);
    }

    /// Takes the state store down, or up again.
    pub(crate) fn set_state_store(&self, state: StoreState) {
        self.state_down_flag.set(state);
    }
}

struct FaultInjectingUserStore {
    store: Arc<dyn UserStore>,
    accounts: DownFlag,
    apps: DownFlag,
    recorder: CallRecorder,
}

impl FaultInjectingUserStore {
    fn store_if_up(&self) -> Result<&dyn UserStore> {
        self.accounts.get(&self.store)
    }
}

#[async_trait]
impl UserStore for FaultInjectingUserStore {
    async fn find_by_identifier(&self, key: &str) -> Result<Option<Account>> {
        self.recorder.record_call("find", self.store_if_up()?.find_by_identifier(key)).await
    }
    async fn find_for_login(&self, dialect: DialectName, key: &str) -> Result<Option<Account>> {
        self.recorder.record_call("find", self.store_if_up()?.find_for_login(dialect, key)).await
    }
    async fn find_for_client(&self, dialect: DialectName, id: &ClientUserId) -> Result<Option<Account>> {
        self.recorder.record_call("find_ref", self.store_if_up()?.find_for_client(dialect, id)).await
    }
    async fn find_by_ref(&self, user: UserRef) -> Result<Option<Account>> {
        self.recorder.record_call("find_ref", self.store_if_up()?.find_by_ref(user)).await
    }
    async fn add(&self, new: &NewUser) -> Result<Option<User>> {
        self.recorder.record_call("add", self.store_if_up()?.add(new)).await
    }
    async fn change_credential(&self, user: UserId, epoch: i64, next: i64, new: &Credential) -> Result<bool> {
        self.recorder
            .record_call("change_credential", self.store_if_up()?.change_credential(user, epoch, next, new))
            .await
    }
    async fn upgrade_credential(&self, user: UserId, epoch: i64, old: &str, new: &Credential) -> Result<bool> {
        self.recorder
            .record_call("upgrade_credential", self.store_if_up()?.upgrade_credential(user, epoch, old, new))
            .await
    }
    async fn set_status(&self, user: UserId, status: UserStatus, next: i64) -> Result<bool> {
        self.recorder.record_call("set_status", self.store_if_up()?.set_status(user, status, next)).await
    }
    async fn list(&self, after: i64, limit: u32) -> Result<Vec<User>> {
        self.recorder.record_call("list", self.store_if_up()?.list(after, limit)).await
    }
    async fn is_password_listed(&self, key: ListedPasswordKey) -> Result<bool> {
        self.recorder.record_call("listed_password", self.store_if_up()?.is_password_listed(key)).await
    }
    async fn find_app(&self, name: &str) -> Result<Option<App>> {
        self.recorder.record_call("app", self.apps.get(&self.store)?.find_app(name)).await
    }
    async fn add_app(&self, app: &App) -> Result<bool> {
        self.recorder.record_call("add_app", self.store_if_up()?.add_app(app)).await
    }
    async fn find_client_token(&self, hash: &[u8; 32]) -> Result<Option<ClientToken>> {
        self.recorder.record_call("client_token", self.store_if_up()?.find_client_token(hash)).await
    }
    async fn add_client_token(&self, token: &ClientToken) -> Result<bool> {
        self.recorder.record_call("add_client_token", self.store_if_up()?.add_client_token(token)).await
    }
    async fn mark_proof_used(&self, proof: &UsedProof) -> Result<bool> {
        self.recorder.record_call("use_proof", self.store_if_up()?.mark_proof_used(proof)).await
    }
    async fn unmark_proof_used(&self, proof: &UsedProof) -> Result<()> {
        self.recorder.record_call("release_proof", self.store_if_up()?.unmark_proof_used(proof)).await
    }
    async fn delete_expired_proofs(&self, now: Timestamp, limit: u32) -> Result<u64> {
        self.recorder.record_call("forget_proofs", self.store_if_up()?.delete_expired_proofs(now, limit)).await
    }
    async fn ping(&self) -> Result<()> {
        self.recorder.record_call("ping", self.store_if_up()?.ping()).await
    }
    async fn server_clocks(&self) -> Result<Vec<ServerClock>> {
        self.recorder.record_call("clock", self.store_if_up()?.server_clocks()).await
    }
}

struct FaultInjectingStateStore {
    store: Arc<dyn StateStore>,
    down: DownFlag,
    recorder: CallRecorder,
}

impl FaultInjectingStateStore {
    fn store_if_up(&self) -> Result<&dyn StateStore> {
        self.down.get(&self.store)
    }
}

#[async_trait]
impl StateStore for FaultInjectingStateStore {
    async fn created_at(&self) -> Result<Timestamp> {
        self.recorder.record_call("birth", self.store_if_up()?.created_at()).await
    }
    async fn check_rate_limit(&self, attempt: &LoginAttempt) -> Result<RateLimitDecision> {
        self.recorder.record_call("admit", self.store_if_up()?.check_rate_limit(attempt)).await
    }
    async fn record_login_attempt(&self, attempt: &LoginAttempt, result: &ProofResult) -> Result<AttemptOutcome> {
        self.recorder.record_call("settle", self.store_if_up()?.record_login_attempt(attempt, result)).await
    }
    async fn verify_code(&self, attempt: &LoginAttempt, guess: &CodeVerification) -> Result<CodeVerificationResult> {
        self.recorder.record_call("guess_code", self.store_if_up()?.verify_code(attempt, guess)).await
    }
    async fn consume_quotas(
        &self,
        uses: &[QuotaUse],
        code: Option<&NewCode>,
        now: Timestamp,
    ) -> Result<Option<QuotaExceeded>> {
        self.recorder.record_call("send_code", self.store_if_up()?.consume_quotas(uses, code, now)).await
    }
    async fn find_session(&self, key: &TokenKey, now: Timestamp) -> Result<Option<Session>> {
        self.recorder.record_call("session", self.store_if_up()?.find_session(key, now)).await
    }
    async fn find_session_and_revocation(
        &self,
        session: Option<&TokenKey>,
        token: &TokenKey,
        now: Timestamp,
    ) -> Result<SessionAndRevocation> {
        let store = self.store_if_up()?;
        self.recorder.record_call("session_revocation", store.find_session_and_revocation(session, token, now)).await
    }
    async fn list_sessions(&self, user: UserId, now: Timestamp) -> Result<SessionList> {
        self.recorder.record_call("list_sessions", self.store_if_up()?.list_sessions(user, now)).await
    }
    async fn open_session(&self, new: &NewSession) -> Result<()> {
        self.recorder.record_call("open_session", self.store_if_up()?.open_session(new)).await
    }
    async fn touch_session(&self, key: &TokenKey, session: &Session) -> Result<()> {
        self.recorder.record_call("touch_session", self.store_if_up()?.touch_session(key, session)).await
    }
    async fn set_session_epoch(&self, key: &TokenKey, epoch: i64) -> Result<()> {
        self.recorder.record_call("restamp_session", self.store_if_up()?.set_session_epoch(key, epoch)).await
    }
    async fn end_session(&self, key: &TokenKey, user: UserId) -> Result<bool> {
        self.recorder.record_call("end_session", self.store_if_up()?.end_session(key, user)).await
    }
    async fn end_sessions(&self, user: UserId, now: Timestamp) -> Result<u64> {
        self.recorder.record_call("end_sessions", self.store_if_up()?.end_sessions(user, now)).await
    }
    async fn revoke_token(&self, key: &TokenKey, expires: Timestamp) -> Result<()> {
        self.recorder.record_call("revoke_token", self.store_if_up()?.revoke_token(key, expires)).await
    }
    async fn store_ticket(&self, key: &TokenKey, ticket: &Ticket) -> Result<()> {
        self.recorder.record_call("put_ticket", self.store_if_up()?.store_ticket(key, ticket)).await
    }
    async fn redeem_ticket(
        &self,
        key: &TokenKey,
        kind: TicketKind,
        audience: &str,
        now: Timestamp,
    ) -> Result<Option<Ticket>> {
        self.recorder.record_call("redeem_ticket", self.store_if_up()?.redeem_ticket(key, kind, audience, now)).await
    }
    async fn store_captcha(&self, id: u64, expires: Timestamp) -> Result<()> {
        self.recorder.record_call("put_captcha", self.store_if_up()?.store_captcha(id, expires)).await
    }
    async fn count_captcha_view(&self, id: u64, most: u32, now: Timestamp) -> Result<bool> {
        self.recorder.record_call("view_captcha", self.store_if_up()?.count_captcha_view(id, most, now)).await
    }
    async fn consume_captcha(&self, id: u64, now: Timestamp) -> Result<bool> {
        self.recorder.record_call("take_captcha", self.store_if_up()?.consume_captcha(id, now)).await
    }
    async fn delete_expired(&self, now: Timestamp) -> Result<()> {
        self.recorder.record_call("sweep", self.store_if_up()?.delete_expired(now)).await
    }
    async fn ping(&self) -> Result<()> {
        self.recorder.record_call("ping", self.store_if_up()?.ping()).await
    }
    async fn server_clocks(&self) -> Result<Vec<ServerClock>> {
        self.recorder.record_call("clock", self.store_if_up()?.server_clocks()).await
    }
    fn misconfiguration(&self) -> Option<String> {
        self.store.misconfiguration()
    }
}

struct FaultInjectingOAuthRegistry {
    registry: Arc<dyn OAuthRegistry>,
    down: DownFlag,
    recorder: CallRecorder,
}

impl FaultInjectingOAuthRegistry {
    fn registry_if_up(&self) -> Result<&dyn OAuthRegistry> {
        self.down.get(&self.registry)
    }
}

#[async_trait]
impl OAuthRegistry for FaultInjectingOAuthRegistry {
    async fn find_client(&self, id: &ClientId) -> Result<Option<OAuthClient>> {
        self.recorder.record_call("oauth_client", self.registry_if_up()?.find_client(id)).await
    }
    async fn find_resource(&self, name: &ResourceName) -> Result<Option<Resource>> {
        self.recorder.record_call("resource", self.registry_if_up()?.find_resource(name)).await
    }
    async fn find_resource_by_audience(&self, audience: &Audience) -> Result<Option<Resource>> {
        self.recorder.record_call("resource", self.registry_if_up()?.find_resource_by_audience(audience)).await
    }
    // Services call none of the following.
    async fn list_clients(&self, after: Option<&ClientId>, limit: u32) -> Result<Vec<OAuthClient>> {
        self.registry_if_up()?.list_clients(after, limit).await
    }
    async fn list_resources(&self, after: Option<&ResourceName>, limit: u32) -> Result<Vec<Resource>> {
        self.registry_if_up()?.list_resources(after, limit).await
    }
    async fn add_client(&self, client: &OAuthClient) -> Result<ClientAddition> {
        self.registry_if_up()?.add_client(client).await
    }
    async fn add_resource(&self, resource: &Resource) -> Result<ResourceAddition> {
        self.registry_if_up()?.add_resource(resource).await
    }
    async fn replace_client_secrets(&self, id: &ClientId, old: &Secrets, new: &Secrets) -> Result<bool> {
        self.registry_if_up()?.replace_client_secrets(id, old, new).await
    }
    async fn replace_resource_secrets(&self, name: &ResourceName, old: &Secrets, new: &Secrets) -> Result<bool> {
        self.registry_if_up()?.replace_resource_secrets(name, old, new).await
    }
    async fn remove_client(&self, id: &ClientId) -> Result<bool> {
        self.registry_if_up()?.remove_client(id).await
    }
    async fn remove_resource(&self, name: &ResourceName) -> Result<ResourceRemoval> {
        self.registry_if_up()?.remove_resource(name).await
    }
}
