//! One client: registers users, logs in, changes passwords, logs out, and repeats used proofs, codes, passwords and
//! sessions, which must be rejected. It records every answer.

use std::time::{Duration, Instant, SystemTime};

use stele_bench_kit::{BenchError, Result};
use tokio::sync::watch;

use crate::api::{Answer, ApiClient, OpenedSession};
use crate::ledger::{
    At, LogoutAnswer, PasswordCheck, SessionRecord, UnknownWrite, UserRecord, Violation, ViolationKind, WriteAnswer,
};
use crate::load::LoadOptions;
use crate::requests::{RequestKind, RequestRecord};

/// Users that each client registers at the start.
const USERS_PER_CLIENT: usize = 12;

/// What a client has seen.
#[derive(Debug, Default)]
pub(crate) struct ClientResult {
    pub(crate) requests: Vec<RequestRecord>,
    pub(crate) answered: AnsweredSuccesses,
    pub(crate) violations: Vec<Violation>,
    pub(crate) unknown_writes: Vec<UnknownWrite>,
    /// Entries of the ledger that could not be checked, because the requests failed.
    pub(crate) unchecked: usize,
}

/// Numbers of answered successes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AnsweredSuccesses {
    pub(crate) registrations: usize,
    pub(crate) changes: usize,
    pub(crate) proofs: usize,
    pub(crate) sessions_opened: usize,
    pub(crate) sessions_ended: usize,
}

impl AnsweredSuccesses {
    /// Adds those of another client.
    pub(crate) fn add(&mut self, other: &Self) {
        self.registrations += other.registrations;
        self.changes += other.changes;
        self.proofs += other.proofs;
        self.sessions_opened += other.sessions_opened;
        self.sessions_ended += other.sessions_ended;
    }
}

/// An accepted proof of a login.
#[derive(Clone, Debug)]
pub(crate) struct UsedProof {
    pub(crate) user: usize,
    pub(crate) password: String,
    pub(crate) timestamp: u64,
}

/// A registration that was sent.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub(crate) phone: String,
    pub(crate) password: String,
    pub(crate) answer: WriteAnswer,
    pub(crate) at: At,
}

/// A client with its ledger.
pub(crate) struct Client {
    number: usize,
    started: Instant,
    pub(crate) options: LoadOptions,
    pub(crate) api: ApiClient,
    pub(crate) users: Vec<UserRecord>,
    pub(crate) sessions: Vec<SessionRecord>,
    pub(crate) proofs: Vec<UsedProof>,
    pub(crate) registrations: Vec<Registration>,
    pub(crate) result: ClientResult,
    last_timestamp: u64,
    step: usize,
    registered: usize,
}

impl Client {
    pub(crate) fn new(number: usize, started: Instant, options: LoadOptions) -> Self {
        Self {
            number,
            started,
            api: ApiClient::new(options.gateway),
            options,
            users: Vec::new(),
            sessions: Vec::new(),
            proofs: Vec::new(),
            registrations: Vec::new(),
            result: ClientResult::default(),
            last_timestamp: 0,
            step: 0,
            registered: 0,
        }
    }

    pub(crate) fn into_result(mut self) -> ClientResult {
        let unknown = self.users.into_iter().flat_map(UserRecord::into_unknown_changes);
        self.result.unknown_writes.extend(unknown);
        self.result
    }

    pub(crate) fn now(&self) -> At {
        self.started.elapsed()
    }

    /// A timestamp of a new proof, in Unix milliseconds. No two are alike.
    pub(crate) fn next_timestamp(&mut self) -> u64 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.last_timestamp = u64::try_from(now.as_millis()).unwrap_or_default().max(self.last_timestamp + 1);
        self.last_timestamp
    }

    pub(crate) fn add_violation(&mut self, kind: Option<ViolationKind>, user: String) {
        if let Some(kind) = kind {
            self.result.violations.push(Violation { kind, user, at: self.now() });
        }
    }

    fn add_request(&mut self, kind: RequestKind, started: At, failure: Option<&Answer>) {
        let failure = failure.map(Answer::reason);
        self.result.requests.push(RequestRecord { kind, started, ended: self.now(), failure });
    }

    /// Registers this client's users.
    ///
    /// # Errors
    /// If a call fails.
    pub(crate) async fn register_users(&mut self) -> Result<()> {
        while self.users.len() < USERS_PER_CLIENT {
            let (phone, password) = (self.next_phone(), "password-0".to_owned());
            let failed = |what: &str, answer: &Answer| BenchError::new(format!("{what}: {}", answer.reason()));
            let sent = self.api.send_code(&phone).await;
            if sent != Answer::Success {
                return Err(failed("sending a code before the fault", &sent));
            }
            let Some(code) = self.options.outbox.take_code(&phone).await else {
                return Err(BenchError::new("a code was not sent before the fault"));
            };
            let registered = self.api.register(&phone, &password, &code).await;
            if registered != Answer::Success {
                return Err(failed("registering a user before the fault", &registered));
            }
            let timestamp = self.next_timestamp();
            let (answer, opened) = self.api.log_in(&phone, &password, timestamp).await;
            if answer != Answer::Success {
                return Err(failed("logging in before the fault", &answer));
            }
            self.users.push(UserRecord::new(phone, opened.user_id, password));
        }
        Ok(())
    }

    fn next_phone(&mut self) -> String {
        self.registered += 1;
        format!("138{:03}{:05}", self.number, self.registered)
    }

    /// Sends requests until it is stopped.
    pub(crate) async fn work(&mut self, stopped: &watch::Receiver<bool>) {
        while !*stopped.borrow() {
            let user = (self.step / 3 + self.number) % self.users.len();
            match self.step % 12 {
                3 | 9 => self.change_password(user).await,
                4 | 10 => self.end_a_session().await,
                5 => self.repeat_a_proof().await,
                6 => self.try_invalid_password(user).await,
                7 => self.register_a_user().await,
                11 => self.end_an_ended_session().await,
                _ => self.log_in(user).await,
            }
            self.step += 1;
            tokio::time::sleep(self.options.pause).await;
        }
    }

    async fn log_in(&mut self, user: usize) {
        if let Some(pending) = self.users[user].pending_passwords().first()
            && self.log_in_with(user, pending).await == Some(PasswordCheck::Accepted)
        {
            return;
        }
        let current = self.users[user].current_password().to_owned();
        self.log_in_with(user, &current).await;
    }

    /// Logs in; returns whether the password was accepted, or `None` if that was not answered.
    pub(crate) async fn log_in_with(&mut self, user: usize, password: &str) -> Option<PasswordCheck> {
        let (started, timestamp) = (self.now(), self.next_timestamp());
        let (answer, opened) = self.api.log_in(&self.users[user].phone, password, timestamp).await;
        let check = match &answer {
            Answer::Success => PasswordCheck::Accepted,
            Answer::WrongPassword => PasswordCheck::Rejected,
            _ => {
                self.add_request(RequestKind::Login, started, Some(&answer));
                return None;
            }
        };
        self.add_request(RequestKind::Login, started, None);
        let now = self.now();
        let violation = self.users[user].record_login(password, check, now);
        self.add_violation(violation, self.users[user].phone.clone());
        if check == PasswordCheck::Accepted {
            self.result.answered.proofs += 1;
            self.proofs.push(UsedProof { user, password: password.to_owned(), timestamp });
            self.open_session(user, opened);
        }
        Some(check)
    }

    fn open_session(&mut self, user: usize, opened: OpenedSession) {
        self.result.answered.sessions_opened += 1;
        self.sessions.push(SessionRecord::open(opened.token, user, &self.users[user]));
    }

    async fn change_password(&mut self, user: usize) {
        let (started, timestamp) = (self.now(), self.next_timestamp());
        let record = &self.users[user];
        let (old, new) = (record.current_password().to_owned(), format!("password-{}", self.step));
        let (answer, opened) = self.api.change_password(&record.id, &old, &new, timestamp).await;
        // A change of unknown outcome may have replaced the password.
        let may_be_replaced = !self.users[user].pending_passwords().is_empty();
        let is_expected = answer == Answer::Success || (answer == Answer::WrongPassword && may_be_replaced);
        self.add_request(RequestKind::Change, started, (!is_expected).then_some(&answer));
        let write_answer = write_answer(&answer);
        let now = self.now();
        let violation = self.users[user].record_change(new, write_answer.clone(), now);
        self.add_violation(violation, self.users[user].phone.clone());
        if write_answer == WriteAnswer::Done {
            self.result.answered.changes += 1;
            self.result.answered.proofs += 1;
            self.open_session(user, opened);
        }
    }

    async fn end_a_session(&mut self) {
        let users = &self.users;
        let alive = |session: &SessionRecord| session.must_be_alive(&users[session.user]);
        let open: Vec<_> = (0..self.sessions.len()).filter(|index| alive(&self.sessions[*index])).collect();
        // Old and new ones.
        if let Some(index) = open.get(self.step.wrapping_mul(7_919) % open.len().max(1)) {
            self.end_session(*index, RequestKind::Logout).await;
        }
    }

    async fn end_an_ended_session(&mut self) {
        let users = &self.users;
        let dead = |session: &SessionRecord| session.must_be_dead(&users[session.user]);
        let ended: Vec<_> = (0..self.sessions.len()).filter(|index| dead(&self.sessions[*index])).collect();
        if let Some(index) = ended.get(self.step.wrapping_mul(7_919) % ended.len().max(1)) {
            self.end_session(*index, RequestKind::Logout).await;
        }
    }

    /// Logs out; returns whether it was answered.
    pub(crate) async fn end_session(&mut self, index: usize, kind: RequestKind) -> bool {
        let started = self.now();
        let answer = self.api.log_out(&self.sessions[index].token).await;
        let logout = match &answer {
            Answer::Success => LogoutAnswer::Ended,
            Answer::NoSession => LogoutAnswer::Dead,
            _ => LogoutAnswer::Unknown,
        };
        self.add_request(kind, started, (logout == LogoutAnswer::Unknown).then_some(&answer));
        self.result.answered.sessions_ended += usize::from(logout == LogoutAnswer::Ended);
        let user = &self.users[self.sessions[index].user];
        let (violation, phone) = (self.sessions[index].record_logout(user, logout), user.phone.clone());
        self.add_violation(violation, phone);
        logout != LogoutAnswer::Unknown
    }

    /// Sends the last accepted proof again.
    async fn repeat_a_proof(&mut self) {
        if let Some(proof) = self.proofs.last().cloned() {
            let phone = self.users[proof.user].phone.clone();
            let (answer, _) = self.api.log_in(&phone, &proof.password, proof.timestamp).await;
            self.add_violation((answer == Answer::Success).then_some(ViolationKind::ProofAcceptedTwice), phone);
        }
    }

    async fn try_invalid_password(&mut self, user: usize) {
        if let Some(invalid) = self.users[user].invalid_password().map(str::to_owned) {
            self.log_in_with(user, &invalid).await;
        }
    }

    async fn register_a_user(&mut self) {
        let (phone, started) = (self.next_phone(), self.now());
        let sent = self.api.send_code(&phone).await;
        self.add_request(RequestKind::SendCode, started, (sent != Answer::Success).then_some(&sent));
        if sent != Answer::Success {
            return;
        }
        let Some(code) = self.options.outbox.take_code(&phone).await else { return };
        let (started, password) = (self.now(), format!("password-{}", self.step));
        let answer = self.api.register(&phone, &password, &code).await;
        self.add_request(RequestKind::Register, started, (answer != Answer::Success).then_some(&answer));
        let (write_answer, at) = (write_answer(&answer), self.now());
        if write_answer == WriteAnswer::Done {
            self.result.answered.registrations += 1;
            let again = self.api.register(&phone, &password, &code).await;
            let violation = (again == Answer::Success).then_some(ViolationKind::CodeAcceptedTwice);
            self.add_violation(violation, phone.clone());
        }
        self.registrations.push(Registration { phone, password, answer: write_answer, at });
    }

    /// Waits before a request is repeated.
    pub(crate) async fn wait_before_retry(&self) {
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

fn write_answer(answer: &Answer) -> WriteAnswer {
    match answer {
        Answer::Success => WriteAnswer::Done,
        Answer::WrongPassword => WriteAnswer::WrongPassword,
        _ if answer.is_indefinite() => WriteAnswer::Unknown(answer.request_id()),
        _ => WriteAnswer::Refused,
    }
}
