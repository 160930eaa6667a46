//! Metrics of old servers: questions, the logins that they led to, circuit breakers, logouts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use stele_core::old_server::OldApi;
use stele_core::ports::OldLoginResult;
use stele_service::metrics::{Labels, Metrics};

/// The result of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QuestionResult {
    Yes,
    No,
    /// The server demands a captcha or a code.
    Challenge,
    /// The server refuses to answer.
    Refused,
    /// No answer in time, no connection, status 408, 429 or 5xx other than 500, or too many questions at once.
    Unavailable,
    /// An answer that the document does not have, or status 500.
    Malformed,
    /// Not asked, because the circuit breaker is open.
    CircuitOpen,
}

/// The result of a logout at an old server.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LogoutResult {
    /// The session has ended.
    Ok,
    /// Not sent, not answered in time, or answered with an error.
    Failed,
}

impl LogoutResult {
    const ALL: [Self; 2] = [Self::Ok, Self::Failed];

    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
        }
    }
}

impl QuestionResult {
    const ALL: [Self; 7] =
        [Self::Yes, Self::No, Self::Challenge, Self::Refused, Self::Unavailable, Self::Malformed, Self::CircuitOpen];

    fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Challenge => "challenge",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::Malformed => "malformed",
            Self::CircuitOpen => "circuit_open",
        }
    }
}

fn login_label(result: OldLoginResult) -> &'static str {
    match result {
        OldLoginResult::Migrated => "migrated",
        OldLoginResult::Replaced => "replaced",
        OldLoginResult::NotMigrated => "not_migrated",
        OldLoginResult::WrongUser => "wrong_user",
    }
}

/// The metrics of every old server.
#[derive(Clone, Default)]
pub(crate) struct OldServerMetrics {
    questions: Family<Labels<2>, Counter>,
    logins: Family<Labels<2>, Counter>,
    logouts: Family<Labels<2>, Counter>,
    circuit_open: Family<Labels<1>, Gauge>,
}

impl OldServerMetrics {
    /// Registers the metrics, which start at zero for these servers.
    pub(crate) fn register(metrics: &Metrics, servers: impl Iterator<Item = OldApi>) -> Self {
        let own = Self::default();
        metrics.register("stele_old_server_questions", "Questions to old servers by result", own.questions.clone());
        let help = "Logins that an old server confirmed, by what became of the password here";
        metrics.register("stele_old_server_logins", help, own.logins.clone());
        let help = "Logouts of the sessions that confirmed logins opened at an old server";
        metrics.register("stele_old_server_logouts", help, own.logouts.clone());
        let help = "Whether an old server is not asked, because it failed";
        metrics.register("stele_old_server_circuit_open", help, own.circuit_open.clone());
        for api in servers {
            for result in QuestionResult::ALL {
                drop(own.questions.get_or_create(&result_labels(api, result.as_str())));
            }
            for result in [
                OldLoginResult::Migrated,
                OldLoginResult::Replaced,
                OldLoginResult::NotMigrated,
                OldLoginResult::WrongUser,
            ] {
                drop(own.logins.get_or_create(&result_labels(api, login_label(result))));
            }
            for result in LogoutResult::ALL {
                drop(own.logouts.get_or_create(&result_labels(api, result.as_str())));
            }
            own.set_circuit_open(api, false);
        }
        own
    }

    pub(crate) fn record_question(&self, api: OldApi, result: QuestionResult) {
        self.questions.get_or_create(&result_labels(api, result.as_str())).inc();
    }

    pub(crate) fn record_login(&self, api: OldApi, result: OldLoginResult) {
        self.logins.get_or_create(&result_labels(api, login_label(result))).inc();
    }

    pub(crate) fn record_logout(&self, api: OldApi, result: LogoutResult) {
        self.logouts.get_or_create(&result_labels(api, result.as_str())).inc();
    }

    pub(crate) fn set_circuit_open(&self, api: OldApi, is_open: bool) {
        self.circuit_open.get_or_create(&[("server", api.as_str())]).set(is_open.into());
    }
}

fn result_labels(api: OldApi, result: &'static str) -> Labels<2> {
    [("server", api.as_str()), ("result", result)]
}
