//! Check of a client's ledger after the fault: every answered success must hold, and used proofs must be rejected by
//! every instance.

use std::time::{Duration, Instant};

use crate::api::{Answer, ApiClient};
use crate::client::{Client, Registration, UsedProof};
use crate::ledger::{Effect, PasswordCheck, SessionRecord, UnknownWrite, UnknownWriteKind, ViolationKind, WriteAnswer};
use crate::requests::RequestKind;

/// The most sessions of a client that are checked, of those that must be alive and of those that must be dead.
const CHECKED_SESSIONS: usize = 60;
/// The most proofs of a client that are repeated at each instance.
const CHECKED_PROOFS: usize = 40;
/// The longest that a check takes: then the remaining entries count as unchecked.
const CHECK_TIME: Duration = Duration::from_secs(30);

impl Client {
    /// Checks the ledger. The requests do not count as those of the round.
    pub(crate) async fn check_ledger(&mut self) {
        let (requests_of_round, answered_in_round) = (self.result.requests.len(), self.result.answered);
        let deadline = Instant::now() + CHECK_TIME;
        self.check_proofs().await;
        self.check_sessions(deadline).await;
        for user in 0..self.users.len() {
            self.check_user(user, deadline).await;
        }
        for registration in std::mem::take(&mut self.registrations) {
            self.check_registration(registration, deadline).await;
        }
        self.result.requests.truncate(requests_of_round);
        self.result.answered = answered_in_round;
    }

    async fn check_proofs(&mut self) {
        let last_proofs: Vec<UsedProof> = self.proofs.iter().rev().take(CHECKED_PROOFS).cloned().collect();
        for address in self.options.cloudbox.clone() {
            let mut instance = ApiClient::new(address);
            for proof in &last_proofs {
                let phone = self.users[proof.user].phone.clone();
                let (answer, _) = instance.log_in(&phone, &proof.password, proof.timestamp).await;
                self.result.unchecked += usize::from(answer.is_indefinite());
                self.add_violation((answer == Answer::Success).then_some(ViolationKind::ProofAcceptedTwice), phone);
            }
        }
    }

    async fn check_sessions(&mut self, deadline: Instant) {
        for is_checked in [SessionRecord::must_be_alive, SessionRecord::must_be_dead] {
            let users = &self.users;
            let selected = |index: &usize| is_checked(&self.sessions[*index], &users[self.sessions[*index].user]);
            let indexes: Vec<_> = (0..self.sessions.len()).rev().filter(selected).take(CHECKED_SESSIONS).collect();
            for index in indexes {
                let mut answered = self.end_session(index, RequestKind::Logout).await;
                while !answered && Instant::now() < deadline {
                    self.wait_before_retry().await;
                    answered = self.end_session(index, RequestKind::Logout).await;
                }
                self.result.unchecked += usize::from(!answered);
            }
        }
    }

    async fn check_user(&mut self, user: usize, deadline: Instant) {
        for pending in self.users[user].pending_passwords() {
            self.check_password(user, &pending, deadline).await;
        }
        let current = self.users[user].current_password().to_owned();
        self.check_password(user, &current, deadline).await;
        if let Some(invalid) = self.users[user].invalid_password().map(str::to_owned) {
            self.check_password(user, &invalid, deadline).await;
        }
    }

    async fn check_password(&mut self, user: usize, password: &str, deadline: Instant) {
        let mut check = self.log_in_with(user, password).await;
        while check.is_none() && Instant::now() < deadline {
            self.wait_before_retry().await;
            check = self.log_in_with(user, password).await;
        }
        self.result.unchecked += usize::from(check.is_none());
    }

    async fn check_registration(&mut self, registration: Registration, deadline: Instant) {
        let Registration { phone, password, answer, at } = registration;
        let check = loop {
            let timestamp = self.next_timestamp();
            match self.api.log_in(&phone, &password, timestamp).await.0 {
                Answer::Success => break Some(PasswordCheck::Accepted),
                Answer::WrongPassword => break Some(PasswordCheck::Rejected),
                _ if Instant::now() > deadline => break None,
                _ => self.wait_before_retry().await,
            }
        };
        match (answer, check) {
            (_, None) => self.result.unchecked += 1,
            (WriteAnswer::Done, Some(PasswordCheck::Rejected)) => {
                self.add_violation(Some(ViolationKind::RegistrationLost), phone);
            }
            (WriteAnswer::Unknown(request_id), Some(check)) => {
                let effect = match check {
                    PasswordCheck::Accepted => Effect::Happened { after_at_least: Duration::ZERO },
                    PasswordCheck::Rejected => Effect::Nothing,
                };
                let what = UnknownWriteKind::Registration;
                self.result.unknown_writes.push(UnknownWrite { what, request_id, at, effect });
            }
            _ => {}
        }
    }
}
