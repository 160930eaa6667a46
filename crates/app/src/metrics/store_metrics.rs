//! Decorators of both stores: metrics of each operation's duration and errors, and a span within a request.
//!
//! The decorators wrap the ports, because every round trip to a store is a call of a port, whatever the backend: an
//! operation is one statement, one transaction or one Redis script.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use stele_core::app::{App, ClientToken};
use stele_core::common_passwords::ListedPasswordKey;
use stele_core::ports::{
    AttemptOutcome, CodeVerification, CodeVerificationResult, LoginAttempt, NewCode, ProofResult, QuotaExceeded,
    QuotaUse, RateLimitDecision, ServerClock, StateStore, UsedProof, UserStore,
};
use stele_core::session::{
    DialectName, NewSession, Session, SessionAndRevocation, SessionList, Ticket, TicketKind, TokenKey,
};
use stele_core::time::Timestamp;
use stele_core::user::{Account, ClientUserId, Credential, NewUser, User, UserId, UserRef, UserStatus};
use stele_core::{Error, Result};
use stele_service::metrics::{HistogramFamily, Labels, Metrics};
use stele_service::trace;
use tracing::{Instrument as _, Span};

use super::misconfiguration::MisconfigurationCollector;

/// Upper bounds of the store duration histograms' buckets, in seconds.
const DURATION_BUCKETS: [f64; 10] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 2.0];

/// Metrics of the operations of both stores.
pub(crate) struct StoreMetrics {
    metrics: Metrics,
    durations: HistogramFamily<Labels<3>>,
    errors: Family<Labels<4>, Counter>,
}

impl StoreMetrics {
    pub(crate) fn register(metrics: &Metrics) -> Self {
        let (durations, errors) = (
            HistogramFamily::new_with_constructor((|| Histogram::new(DURATION_BUCKETS)) as fn() -> _),
            Family::default(),
        );
        let help = "Duration of a store operation, including the wait for a connection";
        metrics.register("stele_store_operation_duration_seconds", help, durations.clone());
        metrics.register("stele_store_errors", "Store operations that failed", errors.clone());
        Self { metrics: metrics.clone(), durations, errors }
    }

    /// Decorates `users` with metrics and spans. `system` is OpenTelemetry's name of the database.
    pub(crate) fn instrument_users(&self, users: Arc<dyn UserStore>, system: &'static str) -> Arc<dyn UserStore> {
        Arc::new(InstrumentedStore { store: users, operations: UserOperations::new(self, system), system })
    }

    /// Decorates `state` with metrics and spans, and adds a gauge of the store's misconfiguration.
    pub(crate) fn instrument_state(&self, state: Arc<dyn StateStore>, system: &'static str) -> Arc<dyn StateStore> {
        self.metrics.register_collector(Box::new(MisconfigurationCollector(state.clone())));
        Arc::new(InstrumentedStore { store: state, operations: StateOperations::new(self, system), system })
    }

    fn operation_metrics(
        &self,
        store: &'static str,
        system: &'static str,
        label: &'static str,
        span_name: &'static str,
    ) -> OperationMetrics {
        let labels = [("store", store), ("system", system), ("operation", label)];
        let error_counter = |error| {
            let [store, system, operation] = labels;
            self.errors.get_or_create_owned(&[store, system, operation, ("error", error)])
        };
        OperationMetrics {
            label,
            span_name,
            durations: self.durations.get_or_create_owned(&labels),
            unavailable: error_counter("unavailable"),
            internal: error_counter("internal"),
        }
    }
}

struct InstrumentedStore<S: ?Sized, O> {
    store: Arc<S>,
    operations: O,
    system: &'static str,
}

/// The metrics of one operation.
struct OperationMetrics {
    /// Value of the label `operation` and of `db.operation.name`.
    label: &'static str,
    span_name: &'static str,
    durations: Histogram,
    unavailable: Counter,
    internal: Counter,
}

impl OperationMetrics {
    /// Runs `operation` within `span`, and records its duration and error.
    async fn observe<T>(&self, span: Span, operation: impl Future<Output = Result<T>>) -> Result<T> {
        let started_at = Instant::now();
        let result = operation.instrument(span.clone()).await;
        self.durations.observe(started_at.elapsed().as_secs_f64());
        match &result {
            Err(Error::Unavailable(_)) => {
                self.unavailable.inc();
                trace::record_error(&span, "unavailable");
            }
            Err(Error::Internal(_)) => {
                self.internal.inc();
                trace::record_error(&span, "internal");
            }
            _ => {}
        }
        result
    }
}

/// The metrics of a store's operations: each method of the port with its value of the label `operation`. Dashboards
/// depend on the labels, so a label stays when its method is renamed.
macro_rules! operations {
    ($name:ident, $store:literal: $($method:ident = $label:literal,)*) => {
        struct $name { $($method: OperationMetrics),* }

        impl $name {
            fn new(metrics: &StoreMetrics, system: &'static str) -> Self {
                Self { $($method: metrics.operation_metrics($store, system, $label, concat!($label, " ", $store))),* }
            }
        }
    };
}

operations!(UserOperations, "users":
    find_by_identifier = "find",
    find_for_login = "find",
    find_for_client = "find_ref",
    find_by_ref = "find_ref",
    add = "add",
    change_credential = "change_credential",
    upgrade_credential = "upgrade_credential",
    set_status = "set_status",
    list = "list",
    is_password_listed = "listed_password",
    find_app = "app",
    add_app = "add_app",
    find_client_token = "client_token",
    add_client_token = "add_client_token",
    mark_proof_used = "use_proof",
    unmark_proof_used = "release_proof",
    delete_expired_proofs = "forget_proofs",
    ping = "ping",
    server_clocks = "clock",
);
operations!(StateOperations, "state":
    created_at = "birth",
    check_rate_limit = "admit",
    record_login_attempt = "settle",
    verify_code = "guess_code",
    consume_quotas = "send_code",
    find_session = "session",
    find_session_and_revocation = "session_revocation",
    list_sessions = "list_sessions",
    open_session = "open_session",
    touch_session = "touch_session",
    set_session_epoch = "restamp_session",
    end_session = "end_session",
    end_sessions = "end_sessions",
    revoke_token = "revoke_token",
    store_ticket = "put_ticket",
    redeem_ticket = "redeem_ticket",
    store_captcha = "put_captcha",
    count_captcha_view = "view_captcha",
    consume_captcha = "take_captcha",
    delete_expired = "sweep",
    ping = "ping",
    server_clocks = "clock",
);

/// Calls a method of the decorated store within its span.
macro_rules! call {
    ($self:ident, $method:ident($($arg:expr),*)) => {{
        let operation = &$self.operations.$method;
        let span = trace::child_span!(
            "store",
            otel.name = operation.span_name,
            otel.kind = "client",
            otel.status_code = tracing::field::Empty,
            error.type = tracing::field::Empty,
            db.system.name = $self.system,
            db.operation.name = operation.label,
        );
        operation.observe(span, $self.store.$method($($arg),*)).await
    }};
}

#[async_trait]
impl UserStore for InstrumentedStore<dyn UserStore, UserOperations> {
    async fn find_by_identifier(&self, key: &str) -> Result<Option<Account>> {
        call!(self, find_by_identifier(key))
    }

    async fn find_for_login(&self, dialect: DialectName, key: &str) -> Result<Option<Account>> {
        call!(self, find_for_login(dialect, key))
    }

    async fn find_for_client(&self, dialect: DialectName, id: &ClientUserId) -> Result<Option<Account>> {
        call!(self, find_for_client(dialect, id))
    }

    async fn find_by_ref(&self, user: UserRef) -> Result<Option<Account>> {
        call!(self, find_by_ref(user))
    }

    async fn add(&self, new: &NewUser) -> Result<Option<User>> {
        call!(self, add(new))
    }

    async fn change_credential(&self, user: UserId, epoch: i64, next: i64, new: &Credential) -> Result<bool> {
        call!(self, change_credential(user, epoch, next, new))
    }

    async fn upgrade_credential(&self, user: UserId, epoch: i64, old: &str, new: &Credential) -> Result<bool> {
        call!(self, upgrade_credential(user, epoch, old, new))
    }

    async fn set_status(&self, user: UserId, status: UserStatus, next: i64) -> Result<bool> {
        call!(self, set_status(user, status, next))
    }

    async fn list(&self, after: i64, limit: u32) -> Result<Vec<User>> {
        call!(self, list(after, limit))
    }

    async fn is_password_listed(&self, key: ListedPasswordKey) -> Result<bool> {
        call!(self, is_password_listed(key))
    }

    async fn find_app(&self, name: &str) -> Result<Option<App>> {
        call!(self, find_app(name))
    }

    async fn add_app(&self, app: &App) -> Result<bool> {
        call!(self, add_app(app))
    }

    async fn find_client_token(&self, hash: &[u8; 32]) -> Result<Option<ClientToken>> {
        call!(self, find_client_token(hash))
    }

    async fn add_client_token(&self, token: &ClientToken) -> Result<bool> {
        call!(self, add_client_token(token))
    }

    async fn mark_proof_used(&self, proof: &UsedProof) -> Result<bool> {
        call!(self, mark_proof_used(proof))
    }

    async fn unmark_proof_used(&self, proof: &UsedProof) -> Result<()> {
        call!(self, unmark_proof_used(proof))
    }

    async fn delete_expired_proofs(&self, now: Timestamp, limit: u32) -> Result<u64> {
        call!(self, delete_expired_proofs(now, limit))
    }

    async fn ping(&self) -> Result<()> {
        call!(self, ping())
    }

    async fn server_clocks(&self) -> Result<Vec<ServerClock>> {
        call!(self, server_clocks())
    }
}

#[async_trait]
impl StateStore for InstrumentedStore<dyn StateStore, StateOperations> {
    async fn created_at(&self) -> Result<Timestamp> {
        call!(self, created_at())
    }

    async fn check_rate_limit(&self, attempt: &LoginAttempt) -> Result<RateLimitDecision> {
        call!(self, check_rate_limit(attempt))
    }

    async fn record_login_attempt(&self, attempt: &LoginAttempt, proof: &ProofResult) -> Result<AttemptOutcome> {
        call!(self, record_login_attempt(attempt, proof))
    }

    async fn verify_code(&self, attempt: &LoginAttempt, guess: &CodeVerification) -> Result<CodeVerificationResult> {
        call!(self, verify_code(attempt, guess))
    }

    async fn consume_quotas(
        &self,
        uses: &[QuotaUse],
        code: Option<&NewCode>,
        now: Timestamp,
    ) -> Result<Option<QuotaExceeded>> {
        call!(self, consume_quotas(uses, code, now))
    }

    async fn find_session(&self, key: &TokenKey, now: Timestamp) -> Result<Option<Session>> {
        call!(self, find_session(key, now))
    }

    async fn find_session_and_revocation(
        &self,
        session: Option<&TokenKey>,
        token: &TokenKey,
        now: Timestamp,
    ) -> Result<SessionAndRevocation> {
        call!(self, find_session_and_revocation(session, token, now))
    }

    async fn list_sessions(&self, user: UserId, now: Timestamp) -> Result<SessionList> {
        call!(self, list_sessions(user, now))
    }

    async fn open_session(&self, new: &NewSession) -> Result<()> {
        call!(self, open_session(new))
    }

    async fn touch_session(&self, key: &TokenKey, session: &Session) -> Result<()> {
        call!(self, touch_session(key, session))
    }

    async fn set_session_epoch(&self, key: &TokenKey, epoch: i64) -> Result<()> {
        call!(self, set_session_epoch(key, epoch))
    }

    async fn end_session(&self, key: &TokenKey, user: UserId) -> Result<bool> {
        call!(self, end_session(key, user))
    }

    async fn end_sessions(&self, user: UserId, now: Timestamp) -> Result<u64> {
        call!(self, end_sessions(user, now))
    }

    async fn revoke_token(&self, key: &TokenKey, expires: Timestamp) -> Result<()> {
        call!(self, revoke_token(key, expires))
    }

    async fn store_ticket(&self, key: &TokenKey, ticket: &Ticket) -> Result<()> {
        call!(self, store_ticket(key, ticket))
    }

    async fn redeem_ticket(
        &self,
        key: &TokenKey,
        kind: TicketKind,
        audience: &str,
        now: Timestamp,
    ) -> Result<Option<Ticket>> {
        call!(self, redeem_ticket(key, kind, audience, now))
    }

    async fn store_captcha(&self, id: u64, expires: Timestamp) -> Result<()> {
        call!(self, store_captcha(id, expires))
    }

    async fn count_captcha_view(&self, id: u64, max: u32, now: Timestamp) -> Result<bool> {
        call!(self, count_captcha_view(id, max, now))
    }

    async fn consume_captcha(&self, id: u64, now: Timestamp) -> Result<bool> {
        call!(self, consume_captcha(id, now))
    }

    async fn delete_expired(&self, now: Timestamp) -> Result<()> {
        call!(self, delete_expired(now))
    }

    async fn ping(&self) -> Result<()> {
        call!(self, ping())
    }

    async fn server_clocks(&self) -> Result<Vec<ServerClock>> {
        call!(self, server_clocks())
    }

    fn misconfiguration(&self) -> Option<String> {
        self.store.misconfiguration()
    }
}
