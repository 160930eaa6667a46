//! Around both stores: each operation is timed, its failures are counted, and within a request it is a span.
//!
//! The ports are where every round trip can be seen, whatever the backend: one operation is one statement, one
//! transaction, or one script in Redis, and has its name.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use stele_core::app::{App, ClientToken};
use stele_core::ports::{
    Admission, Attempt, CodeCheck, CodeGuess, NewCode, QuotaExceeded, ReplayMark, Settlement, StateStore, Use,
    UserStore, Verdict,
};
use stele_core::session::{NewSession, Session, Ticket, TicketKind, TokenKey};
use stele_core::time::Timestamp;
use stele_core::user::{Account, Credential, NewUser, User, UserId, UserRef, UserStatus};
use stele_core::{Error, Result};
use stele_service::metrics::{Histograms, Labels, Metrics, gauge};
use stele_service::trace;
use tracing::{Instrument as _, Span};

/// Upper bounds of store operations' times, in seconds.
const TIMES: [f64; 10] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 2.0];

/// What the operations of both stores are measured by.
pub(crate) struct StoreMetrics {
    metrics: Metrics,
    times: Histograms<Labels<3>>,
    errors: Family<Labels<4>, Counter>,
}

impl StoreMetrics {
    pub(crate) fn register(metrics: &Metrics) -> Self {
        let (times, errors) =
            (Histograms::new_with_constructor((|| Histogram::new(TIMES)) as fn() -> _), Family::default());
        let help = "How long an operation of a store took, waiting for a connection included";
        metrics.register("stele_store_operation_duration_seconds", help, times.clone());
        metrics.register("stele_store_errors", "Operations of a store that failed", errors.clone());
        Self { metrics: metrics.clone(), times, errors }
    }

    /// `users`, timed and traced. `system` is what OpenTelemetry calls the database.
    pub(crate) fn users(&self, users: Arc<dyn UserStore>, system: &'static str) -> Arc<dyn UserStore> {
        Arc::new(Watched { store: users, ops: UserOps::new(self, "users", system), system })
    }

    /// `state`, timed and traced.
    pub(crate) fn state(&self, state: Arc<dyn StateStore>, system: &'static str) -> Arc<dyn StateStore> {
        self.metrics.collect(Box::new(Defect(state.clone())));
        Arc::new(Watched { store: state, ops: StateOps::new(self, "state", system), system })
    }

    fn operation(&self, store: &'static str, system: &'static str, operation: &'static str) -> Op {
        let labels = [("store", store), ("system", system), ("operation", operation)];
        let error = |error| {
            let [store, system, operation] = labels;
            self.errors.get_or_create_owned(&[store, system, operation, ("error", error)])
        };
        Op {
            times: self.times.get_or_create_owned(&labels),
            unavailable: error("unavailable"),
            internal: error("internal"),
        }
    }
}

/// Exposes whether the short-lived store is set up as it must be.
struct Defect(Arc<dyn StateStore>);

impl fmt::Debug for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Defect")
    }
}

impl Collector for Defect {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "1 while the store of short-lived state answers, but may forget what it must keep (see /readyz)";
        gauge(&mut encoder, "stele_state_store_defective", help, self.0.defect().is_some().into())
    }
}

struct Watched<S: ?Sized, O> {
    store: Arc<S>,
    ops: O,
    system: &'static str,
}

/// The handles of one operation.
struct Op {
    times: Histogram,
    unavailable: Counter,
    internal: Counter,
}

impl Op {
    async fn watch<T>(&self, span: Span, work: impl Future<Output = Result<T>>) -> Result<T> {
        let begun = Instant::now();
        let outcome = work.instrument(span.clone()).await;
        self.times.observe(begun.elapsed().as_secs_f64());
        match &outcome {
            Err(Error::Unavailable(_)) => {
                self.unavailable.inc();
                trace::failed(&span, "unavailable");
            }
            Err(Error::Internal(_)) => {
                self.internal.inc();
                trace::failed(&span, "internal");
            }
            _ => {}
        }
        outcome
    }
}

/// The handles of a store's operations, resolved once.
macro_rules! operations {
    ($name:ident: $($op:ident)*) => {
        struct $name { $($op: Op),* }

        impl $name {
            fn new(metrics: &StoreMetrics, store: &'static str, system: &'static str) -> Self {
                Self { $($op: metrics.operation(store, system, stringify!($op))),* }
            }
        }
    };
}

operations!(UserOps: find find_ref add change_credential upgrade_credential set_status list app
    add_app client_token add_client_token use_proof release_proof forget_proofs ping);
operations!(StateOps: birth admit settle guess_code send_code session open_session touch_session restamp_session
    end_session put_ticket redeem_ticket put_captcha view_captcha take_captcha sweep ping);

/// Calls an operation of the store that is watched.
macro_rules! call {
    ($self:ident, $store:literal, $op:ident($($arg:expr),*)) => {{
        let span = trace::step!(
            "store",
            otel.name = concat!(stringify!($op), " ", $store),
            otel.kind = "client",
            otel.status_code = tracing::field::Empty,
            error.type = tracing::field::Empty,
            db.system.name = $self.system,
            db.operation.name = stringify!($op),
        );
        $self.ops.$op.watch(span, $self.store.$op($($arg),*)).await
    }};
}

#[async_trait]
impl UserStore for Watched<dyn UserStore, UserOps> {
    async fn find(&self, key: &str) -> Result<Option<Account>> {
        call!(self, "users", find(key))
    }

    async fn find_ref(&self, user: UserRef) -> Result<Option<Account>> {
        call!(self, "users", find_ref(user))
    }

    async fn add(&self, new: &NewUser) -> Result<Option<User>> {
        call!(self, "users", add(new))
    }

    async fn change_credential(&self, user: UserId, epoch: i64, next: i64, new: &Credential) -> Result<bool> {
        call!(self, "users", change_credential(user, epoch, next, new))
    }

    async fn upgrade_credential(&self, user: UserId, epoch: i64, old: &str, new: &Credential) -> Result<bool> {
        call!(self, "users", upgrade_credential(user, epoch, old, new))
    }

    async fn set_status(&self, user: UserId, status: UserStatus, next: i64) -> Result<bool> {
        call!(self, "users", set_status(user, status, next))
    }

    async fn list(&self, after: i64, limit: u32) -> Result<Vec<User>> {
        call!(self, "users", list(after, limit))
    }

    async fn app(&self, name: &str) -> Result<Option<App>> {
        call!(self, "users", app(name))
    }

    async fn add_app(&self, app: &App) -> Result<bool> {
        call!(self, "users", add_app(app))
    }

    async fn client_token(&self, hash: &[u8; 32]) -> Result<Option<ClientToken>> {
        call!(self, "users", client_token(hash))
    }

    async fn add_client_token(&self, token: &ClientToken) -> Result<bool> {
        call!(self, "users", add_client_token(token))
    }

    async fn use_proof(&self, proof: &ReplayMark) -> Result<bool> {
        call!(self, "users", use_proof(proof))
    }

    async fn release_proof(&self, proof: &ReplayMark) -> Result<()> {
        call!(self, "users", release_proof(proof))
    }

    async fn forget_proofs(&self, now: Timestamp, limit: u32) -> Result<u64> {
        call!(self, "users", forget_proofs(now, limit))
    }

    async fn ping(&self) -> Result<()> {
        call!(self, "users", ping())
    }
}

#[async_trait]
impl StateStore for Watched<dyn StateStore, StateOps> {
    async fn birth(&self) -> Result<Timestamp> {
        call!(self, "state", birth())
    }

    async fn admit(&self, attempt: &Attempt) -> Result<Admission> {
        call!(self, "state", admit(attempt))
    }

    async fn settle(&self, attempt: &Attempt, verdict: &Verdict) -> Result<Settlement> {
        call!(self, "state", settle(attempt, verdict))
    }

    async fn guess_code(&self, attempt: &Attempt, guess: &CodeGuess) -> Result<CodeCheck> {
        call!(self, "state", guess_code(attempt, guess))
    }

    async fn send_code(&self, uses: &[Use], code: Option<&NewCode>, now: Timestamp) -> Result<Option<QuotaExceeded>> {
        call!(self, "state", send_code(uses, code, now))
    }

    async fn session(&self, key: &TokenKey, now: Timestamp) -> Result<Option<Session>> {
        call!(self, "state", session(key, now))
    }

    async fn open_session(&self, new: &NewSession) -> Result<()> {
        call!(self, "state", open_session(new))
    }

    async fn touch_session(&self, key: &TokenKey, session: &Session) -> Result<()> {
        call!(self, "state", touch_session(key, session))
    }

    async fn restamp_session(&self, key: &TokenKey, epoch: i64) -> Result<()> {
        call!(self, "state", restamp_session(key, epoch))
    }

    async fn end_session(&self, key: &TokenKey, user: UserId) -> Result<bool> {
        call!(self, "state", end_session(key, user))
    }

    async fn put_ticket(&self, key: &TokenKey, ticket: &Ticket) -> Result<()> {
        call!(self, "state", put_ticket(key, ticket))
    }

    async fn redeem_ticket(
        &self,
        key: &TokenKey,
        kind: TicketKind,
        audience: &str,
        now: Timestamp,
    ) -> Result<Option<Ticket>> {
        call!(self, "state", redeem_ticket(key, kind, audience, now))
    }

    async fn put_captcha(&self, id: u64, expires: Timestamp) -> Result<()> {
        call!(self, "state", put_captcha(id, expires))
    }

    async fn view_captcha(&self, id: u64, most: u32, now: Timestamp) -> Result<bool> {
        call!(self, "state", view_captcha(id, most, now))
    }

    async fn take_captcha(&self, id: u64, now: Timestamp) -> Result<bool> {
        call!(self, "state", take_captcha(id, now))
    }

    async fn sweep(&self, now: Timestamp) -> Result<()> {
        call!(self, "state", sweep(now))
    }

    async fn ping(&self) -> Result<()> {
        call!(self, "state", ping())
    }

    fn defect(&self) -> Option<String> {
        self.store.defect()
    }
}
