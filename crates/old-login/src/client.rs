//! The client of one old server: bounds the time and the number of questions, stops asking while the server fails, and
//! logs out what a confirmed login has opened.

use std::sync::Arc;
use std::time::Duration;

use stele_core::old_server::{OldApi, OldQuestion};
use stele_core::ports::OldAnswer;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use crate::circuit_breaker::{CircuitBreaker, Pass, Transition};
use crate::exchange::{OldDialect, OutboundRequest, Reply};
use crate::http::{HttpClient, SendError};
use crate::metrics::{LogoutResult, OldServerMetrics, QuestionResult};

/// How long a question may take, the wait for its turn included.
pub(crate) const QUESTION_TIMEOUT: Duration = Duration::from_secs(2);
/// The most questions that are asked at once.
pub(crate) const MAX_CONCURRENT_QUESTIONS: usize = 32;
/// The most questions that are asked or wait for their turn; beyond it they are rejected at once (load shedding).
const MAX_QUEUED_QUESTIONS: usize = 256;
/// The most logouts at once; beyond it a session at the old server is left to expire.
const MAX_CONCURRENT_LOGOUTS: usize = 32;

/// The client of one old server.
pub(crate) struct OldServerClient {
    shared: Arc<Shared>,
    /// Questions run here, whichever runtime asks: connections are shared, and a question whose client disconnects is
    /// finished, so that the session that it opens is logged out.
    runtime: Handle,
}

struct Shared {
    api: OldApi,
    dialect: Box<dyn OldDialect>,
    http: HttpClient,
    questions: Semaphore,
    queue: Arc<Semaphore>,
    logouts: Arc<Semaphore>,
    circuit_breaker: CircuitBreaker,
    metrics: OldServerMetrics,
}

impl OldServerClient {
    /// A client of the server of `api`. Its tasks run on `runtime`.
    pub(crate) fn new(
        api: OldApi,
        dialect: Box<dyn OldDialect>,
        http: HttpClient,
        metrics: OldServerMetrics,
        runtime: Handle,
    ) -> Self {
        let shared = Shared {
            api,
            dialect,
            http,
            questions: Semaphore::new(MAX_CONCURRENT_QUESTIONS),
            queue: Arc::new(Semaphore::new(MAX_QUEUED_QUESTIONS)),
            logouts: Arc::new(Semaphore::new(MAX_CONCURRENT_LOGOUTS)),
            circuit_breaker: CircuitBreaker::default(),
            metrics,
        };
        Self { shared: Arc::new(shared), runtime }
    }

    pub(crate) fn api(&self) -> OldApi {
        self.shared.api
    }

    /// Asks the server.
    pub(crate) async fn ask(&self, question: OldQuestion) -> OldAnswer {
        let shared = Arc::clone(&self.shared);
        let Ok(place) = Arc::clone(&shared.queue).try_acquire_owned() else {
            shared.metrics.record_question(shared.api, QuestionResult::Unavailable);
            return OldAnswer::Unavailable("too many logins are asked about at once".to_owned());
        };
        let task = self.runtime.spawn(async move {
            let answer = shared.ask(&question).await;
            drop(place);
            answer
        });
        task.await.unwrap_or_else(|_| OldAnswer::Unavailable("the process is stopping".to_owned()))
    }
}

impl Shared {
    async fn ask(self: &Arc<Self>, question: &OldQuestion) -> OldAnswer {
        let Some(request) = self.dialect.login_request(question) else {
            return OldAnswer::Unavailable("it does not check this kind of proof".to_owned());
        };
        let deadline = Instant::now() + QUESTION_TIMEOUT;
        let Ok(Ok(_turn)) = timeout_at(deadline, self.questions.acquire()).await else {
            self.metrics.record_question(self.api, QuestionResult::Unavailable);
            return OldAnswer::Unavailable("too many logins are asked about at once".to_owned());
        };
        let Some(pass) = self.circuit_breaker.try_pass(Instant::now()) else {
            self.metrics.record_question(self.api, QuestionResult::CircuitOpen);
            return OldAnswer::Unavailable("it has failed repeatedly, and is not asked for some seconds".to_owned());
        };
        let reply = match timeout_at(deadline, self.http.send(request)).await {
            Ok(Ok(response)) => Ok(self.dialect.read_login(question, &response)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(SendError::Unavailable(format!("no answer within {} s", QUESTION_TIMEOUT.as_secs()))),
        };
        let (result, answer) = self.to_answer(reply);
        self.metrics.record_question(self.api, result);
        self.record_health(pass, result, &answer);
        answer
    }

    fn to_answer(self: &Arc<Self>, reply: Result<Reply, SendError>) -> (QuestionResult, OldAnswer) {
        match reply {
            Ok(Reply::Yes { profile, logout }) => {
                if let Some(logout) = logout {
                    self.log_out_in_background(logout);
                }
                (QuestionResult::Yes, OldAnswer::Yes(profile))
            }
            Ok(Reply::No) => (QuestionResult::No, OldAnswer::No),
            Ok(Reply::Challenge) => {
                let text = "it demands a captcha or a code, which only the user could answer there";
                (QuestionResult::Challenge, OldAnswer::Unavailable(text.to_owned()))
            }
            Ok(Reply::Refused(text)) => (QuestionResult::Refused, OldAnswer::Unavailable(text)),
            Ok(Reply::Malformed(text)) | Err(SendError::Malformed(text)) => {
                (QuestionResult::Malformed, OldAnswer::Unavailable(format!("unexpected answer: {text}")))
            }
            Err(SendError::Unavailable(text)) => (QuestionResult::Unavailable, OldAnswer::Unavailable(text)),
        }
    }

    /// Reports to the circuit breaker. An answer, whatever it is, shows that the server works: an unexpected one may be due
    /// to this request alone.
    fn record_health(&self, pass: Pass, result: QuestionResult, answer: &OldAnswer) {
        let transition = match result {
            QuestionResult::Yes
            | QuestionResult::No
            | QuestionResult::Challenge
            | QuestionResult::Refused
            | QuestionResult::Malformed => self.circuit_breaker.record_success(pass),
            QuestionResult::Unavailable => self.circuit_breaker.record_failure(Instant::now(), pass),
            QuestionResult::CircuitOpen => Transition::None,
        };
        let server = self.api.as_str();
        match (transition, answer) {
            (Transition::Opened, OldAnswer::Unavailable(cause)) => {
                tracing::error!(server, cause, "an old server fails; users who have no password here cannot log in");
            }
            (Transition::Closed, _) => tracing::info!(server, "an old server answers again"),
            _ => return,
        }
        self.metrics.set_circuit_open(self.api, transition == Transition::Opened);
    }

    /// Ends the session that a login has opened at the old server. If that fails, the session expires there.
    fn log_out_in_background(self: &Arc<Self>, request: OutboundRequest) {
        let Ok(permit) = Arc::clone(&self.logouts).try_acquire_owned() else {
            self.metrics.record_logout(self.api, LogoutResult::Failed);
            return;
        };
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            let sent = timeout(QUESTION_TIMEOUT, shared.http.send(request)).await;
            let result = match sent {
                Ok(Ok(response)) if response.status.is_success() => LogoutResult::Ok,
                _ => LogoutResult::Failed,
            };
            shared.metrics.record_logout(shared.api, result);
            drop(permit);
        });
    }
}
