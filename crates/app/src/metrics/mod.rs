//! Domain metrics: logins, events, sessions, rate limits, password hashing; and metrics of the stores.

mod misconfiguration;
mod store_metrics;

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use stele_core::event::{Action, Event, Outcome, RateLimitKind};
use stele_core::hasher::Hasher;
use stele_core::proof::ProofKind;
use stele_service::metrics::{Labels, Metrics, encode_gauge};

pub(crate) use store_metrics::StoreMetrics;

/// Value of the label `limit` for the deployment's send quota (`STELE_SEND_TOTAL`).
const SEND_TOTAL: &str = "send_total";
/// Values of the label `result` for new passwords that are on a list of common passwords.
const REFUSED: &str = "refused";
const ACCEPTED: &str = "accepted";

/// Counters of the domain. Clones share them.
#[derive(Clone, Default)]
pub struct DomainMetrics {
    logins: Family<Labels<3>, Counter>,
    events: Family<Labels<3>, Counter>,
    sessions: Family<Labels<1>, Counter>,
    limits: Family<Labels<2>, Counter>,
    common_passwords: Family<Labels<2>, Counter>,
}

impl DomainMetrics {
    /// Registers the counters, and gauges of the hashing slots and queue of `hasher`.
    pub fn register(metrics: &Metrics, hasher: Hasher) -> Self {
        let domain = Self::default();
        metrics.register("stele_logins", "Logins by proof and result", domain.logins.clone());
        let help = "Operations of clients and administrators by result";
        metrics.register("stele_events", help, domain.events.clone());
        metrics.register("stele_sessions_opened", "Sessions opened", domain.sessions.clone());
        metrics.register("stele_limits_hit", "Requests rejected by a rate limit", domain.limits.clone());
        let help = "New passwords on a list of common passwords, refused or accepted";
        metrics.register("stele_common_passwords", help, domain.common_passwords.clone());
        metrics.register_collector(Box::new(HasherCollector(hasher)));
        domain
    }

    /// Pre-registers label sets for a service of `dialect` with these proofs, so that counters start at zero.
    pub fn preregister(&self, dialect: &'static str, proofs: &[ProofKind]) {
        for proof in proofs {
            for outcome in [Outcome::Done, Outcome::WrongPassword, Outcome::UnknownUser, Outcome::RateLimited] {
                drop(self.logins.get_or_create(&login_labels(dialect, *proof, outcome)));
            }
        }
        for limit in RateLimitKind::all() {
            drop(self.limits.get_or_create(&[("dialect", dialect), ("limit", limit.as_str())]));
        }
        drop(self.limits.get_or_create(&[("dialect", dialect), ("limit", SEND_TOTAL)]));
        for result in [REFUSED, ACCEPTED] {
            drop(self.common_passwords.get_or_create(&[("dialect", dialect), ("result", result)]));
        }
        drop(self.sessions.get_or_create(&[("dialect", dialect)]));
    }

    /// Counts an event, and the login, session or exceeded rate limit that it reports.
    pub fn record(&self, event: &Event) {
        let dialect = dialect_label(event);
        let (action, outcome) = (event.action, event.outcome);
        self.events
            .get_or_create(&[("dialect", dialect), ("event", action.as_str()), ("result", outcome.as_str())])
            .inc();
        if let Action::Login(proof) = action {
            self.logins.get_or_create(&login_labels(dialect, proof, outcome)).inc();
        }
        if event.opened_session_proof().is_some() {
            self.sessions.get_or_create(&[("dialect", dialect)]).inc();
        }
        match (action, outcome) {
            (_, Outcome::RateLimited) => {
                self.limits.get_or_create(&[("dialect", dialect), ("limit", action.rate_limit_kind().as_str())]).inc();
            }
            (_, Outcome::CommonPassword) => self.count_common_password(event, REFUSED),
            _ => {}
        }
    }

    /// Counts a common password that was set, because the policy accepts it (`STELE_PASSWORD_LIST=warn`).
    pub fn record_common_password_set(&self, event: &Event) {
        self.count_common_password(event, ACCEPTED);
    }

    fn count_common_password(&self, event: &Event, result: &'static str) {
        self.common_passwords.get_or_create(&[("dialect", dialect_label(event)), ("result", result)]).inc();
    }

    /// Counts a code that was not sent because of the deployment's quota (`STELE_SEND_TOTAL`).
    pub fn record_send_total_reached(&self, dialect: &'static str) {
        self.limits.get_or_create(&[("dialect", dialect), ("limit", SEND_TOTAL)]).inc();
    }
}

/// Value of the label `dialect`: `none` for an administrator's command.
fn dialect_label(event: &Event) -> &'static str {
    event.entry_point.as_ref().map_or("none", |entry_point| entry_point.dialect)
}

fn login_labels(dialect: &'static str, proof: ProofKind, outcome: Outcome) -> Labels<3> {
    [("dialect", dialect), ("proof", proof.as_str()), ("result", outcome.as_str())]
}

/// Gauges of the hashing slots and queue, and the counter of computed hashes.
struct HasherCollector(Hasher);

impl fmt::Debug for HasherCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HasherCollector")
    }
}

impl Collector for HasherCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (slots, queue) = (self.0.slot_usage(), self.0.queue_usage());
        for (name, help, value) in [
            ("stele_hash_slots", "Hashing slots: the most password hashes computed at once", slots.capacity),
            ("stele_hash_slots_busy", "Hashing slots in use", slots.used),
            ("stele_hash_queue_limit", "The most password hashes computed or waiting", queue.capacity),
            ("stele_hash_queue_length", "Password hashes computed or waiting", queue.used),
        ] {
            encode_gauge(&mut encoder, name, help, value as f64)?;
        }
        let computed = ConstCounter::new(self.0.computed_hashes());
        computed.encode(encoder.encode_descriptor(
            "stele_hashes_computed",
            "Password hashes computed",
            None,
            MetricType::Counter,
        )?)
    }
}
