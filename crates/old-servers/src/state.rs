//! What a running old server keeps: sessions, codes, used proofs, faults, and the log of calls.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use uuid::Uuid;

use crate::call::{Call, Outcome, ReceivedCall};
use crate::fault::Fault;
use crate::user::{OldUser, UserTable};

/// A session that a login opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The token: the header's value, the cookie's or, of a JWT, its `jti`.
    pub token: String,
    /// The user.
    pub user_id: String,
    /// What the user logged in with.
    pub login_name: String,
    /// MeFP: the app.
    pub app: String,
}

/// A code that was sent: its digits, by purpose and recipient.
type Codes = HashMap<(&'static str, String), String>;

pub(crate) struct State {
    pub(crate) table: Arc<dyn UserTable>,
    sessions: Mutex<Vec<Session>>,
    codes: Mutex<Codes>,
    failures: Mutex<HashMap<String, u32>>,
    used_proofs: Mutex<HashSet<(String, String)>>,
    /// JWT: the account of each token from `validatePhone` that was not used.
    reset_tokens: Mutex<HashMap<String, String>>,
    captchas: AtomicU64,
    faults: Mutex<Faults>,
    log: Mutex<Log>,
}

struct Faults {
    every_call: Fault,
    by_call: HashMap<Call, Fault>,
}

#[derive(Default)]
struct Log {
    calls: Vec<ReceivedCall>,
    /// The index of the first entry of `calls` since the start of the server.
    first: usize,
    in_flight: usize,
    most_in_flight: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    pub(crate) fn new(table: Arc<dyn UserTable>) -> Self {
        Self {
            table,
            sessions: Mutex::default(),
            codes: Mutex::default(),
            failures: Mutex::default(),
            used_proofs: Mutex::default(),
            reset_tokens: Mutex::default(),
            captchas: AtomicU64::new(0),
            faults: Mutex::new(Faults { every_call: Fault::None, by_call: HashMap::new() }),
            log: Mutex::default(),
        }
    }

    /// Opens a session with a token of 32 hexadecimal digits.
    pub(crate) fn open_session(&self, user: &OldUser, login_name: &str, app: &str) -> String {
        let token = Uuid::new_v4().simple().to_string();
        let [user_id, login_name, app] = [&user.id, login_name, app].map(str::to_owned);
        lock(&self.sessions).push(Session { token: token.clone(), user_id, login_name, app });
        token
    }

    pub(crate) fn sessions(&self) -> Vec<Session> {
        lock(&self.sessions).clone()
    }

    /// The live session with this token.
    pub(crate) fn session(&self, token: &str) -> Option<Session> {
        lock(&self.sessions).iter().find(|session| session.token == token).cloned()
    }

    /// Ends the sessions for which `ends` is true, and returns them.
    pub(crate) fn end_sessions(&self, ends: impl Fn(&Session) -> bool) -> Vec<Session> {
        lock(&self.sessions).extract_if(.., |session| ends(session)).collect()
    }

    /// Makes a code of six digits, in place of an earlier one.
    pub(crate) fn make_code(&self, purpose: &'static str, recipient: &str) -> String {
        let code = format!("{:06}", Uuid::new_v4().as_u128() % 1_000_000);
        lock(&self.codes).insert((purpose, recipient.to_owned()), code.clone());
        code
    }

    /// The code that is valid for the purpose and recipient.
    pub(crate) fn code(&self, purpose: &'static str, recipient: &str) -> Option<String> {
        lock(&self.codes).get(&(purpose, recipient.to_owned())).cloned()
    }

    /// The code that is valid for the recipient, of whichever purpose.
    pub(crate) fn any_code(&self, recipient: &str) -> Option<String> {
        lock(&self.codes).iter().find(|((_, to), _)| to == recipient).map(|(_, code)| code.clone())
    }

    /// Uses up the code if it is the right one.
    pub(crate) fn consume_code(&self, purpose: &'static str, recipient: &str, code: &str) -> bool {
        let is_right = self.code(purpose, recipient).is_some_and(|right| right == code);
        if is_right {
            lock(&self.codes).remove(&(purpose, recipient.to_owned()));
        }
        is_right
    }

    /// Counts a failed login for the identifier.
    pub(crate) fn count_failure(&self, identifier: &str) {
        *lock(&self.failures).entry(identifier.to_owned()).or_default() += 1;
    }

    /// Failed logins for the identifier since the last success.
    pub(crate) fn failures(&self, identifier: &str) -> u32 {
        lock(&self.failures).get(identifier).copied().unwrap_or(0)
    }

    pub(crate) fn clear_failures(&self, identifier: &str) {
        lock(&self.failures).remove(identifier);
    }

    /// Marks a proof of a user as used; false if it was used before.
    pub(crate) fn use_proof(&self, user_id: &str, proof: &str) -> bool {
        lock(&self.used_proofs).insert((user_id.to_owned(), proof.to_ascii_lowercase()))
    }

    /// Makes a token of one use for a new password of the account.
    pub(crate) fn make_reset_token(&self, account: &str) -> String {
        let token = Uuid::new_v4().simple().to_string();
        lock(&self.reset_tokens).insert(token.clone(), account.to_owned());
        token
    }

    /// Uses up the token if it is for the account.
    pub(crate) fn use_reset_token(&self, token: &str, account: &str) -> bool {
        let mut tokens = lock(&self.reset_tokens);
        let is_right = tokens.get(token).is_some_and(|found| found == account);
        if is_right {
            tokens.remove(token);
        }
        is_right
    }

    /// The id of a new captcha.
    pub(crate) fn next_captcha(&self) -> u64 {
        self.captchas.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn set_fault(&self, fault: Fault) {
        *lock(&self.faults) = Faults { every_call: fault, by_call: HashMap::new() };
    }

    pub(crate) fn set_fault_on(&self, call: Call, fault: Fault) {
        lock(&self.faults).by_call.insert(call, fault);
    }

    pub(crate) fn fault_on(&self, call: Call) -> Fault {
        let faults = lock(&self.faults);
        faults.by_call.get(&call).unwrap_or(&faults.every_call).clone()
    }

    /// Logs a call that has arrived. It counts as in flight until the value is dropped.
    pub(crate) fn log_call(self: &Arc<Self>, call: Call, identifier: String) -> LogEntry {
        let mut log = lock(&self.log);
        let received_at = Instant::now();
        log.calls.push(ReceivedCall { call, identifier, outcome: Outcome::Pending, received_at });
        log.in_flight += 1;
        log.most_in_flight = log.most_in_flight.max(log.in_flight);
        LogEntry { state: Arc::clone(self), position: log.first + log.calls.len() - 1 }
    }

    pub(crate) fn calls(&self) -> Vec<ReceivedCall> {
        lock(&self.log).calls.clone()
    }

    pub(crate) fn most_in_flight(&self) -> usize {
        lock(&self.log).most_in_flight
    }

    pub(crate) fn clear_log(&self) {
        let mut log = lock(&self.log);
        log.first += log.calls.len();
        log.calls.clear();
        log.most_in_flight = log.in_flight;
    }
}

/// A call in the log.
pub(crate) struct LogEntry {
    state: Arc<State>,
    position: usize,
}

impl LogEntry {
    /// Sets the outcome, and the user if the request did not name one.
    pub(crate) fn set_outcome(&self, outcome: Outcome, user: Option<String>) {
        let mut log = lock(&self.state.log);
        // The entry is gone if the test has cleared the log.
        let index = self.position.checked_sub(log.first);
        if let Some(entry) = index.and_then(|index| log.calls.get_mut(index)) {
            entry.outcome = outcome;
            if let Some(user) = user {
                entry.identifier = user;
            }
        }
    }
}

impl Drop for LogEntry {
    fn drop(&mut self) {
        lock(&self.state.log).in_flight -= 1;
    }
}
