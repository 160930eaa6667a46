//! Assertions after a kill: the state is one of the allowed states, and a retry completes the operation.

use super::*;

/// The result of the use case as its caller saw it.
#[derive(Clone, Debug)]
pub(super) enum CallResult {
    /// Acknowledged, with the token that it issued.
    Succeeded { token: Option<Token> },
    /// Failed or lost: the operation may or may not have taken effect.
    Failed,
}

impl CallResult {
    fn is_acknowledged(&self) -> bool {
        matches!(self, Self::Succeeded { .. })
    }
}

impl CrashTest {
    /// Asserts that the state after the kill is allowed by the result that the caller saw, and that a retry succeeds.
    pub(super) async fn assert_consistent(
        &self,
        use_case: UseCase,
        account: &TestAccount,
        result: &CallResult,
        context: &str,
    ) {
        match use_case {
            UseCase::AddUser | UseCase::Register => {
                self.assert_new_account_consistent(use_case, account, result, context).await;
            }
            UseCase::ChangePassword
            | UseCase::ResetPassword
            | UseCase::SetPasswordByTicket
            | UseCase::SetPasswordByLogin => {
                self.assert_password_consistent(use_case, account, result, context).await;
            }
            UseCase::Disable | UseCase::Enable => {
                self.assert_status_consistent(use_case, account, result, context).await;
            }
            UseCase::Login | UseCase::UseSession | UseCase::Logout | UseCase::EndSession | UseCase::EndSessions => {
                self.assert_session_consistent(use_case, account, result, context).await;
            }
            UseCase::AddClientToken => {
                if let CallResult::Succeeded { token: Some(token) } = result {
                    self.lab.use_cases().authenticate_client(token).await.expect(context);
                } else {
                    match self.lab.use_cases().add_client_token(&account.name).await {
                        Ok(_) | Err(Error::IdentifierTaken) => {}
                        Err(other) => panic!("{context}: {other}"),
                    }
                }
            }
        }
    }

    async fn assert_new_account_consistent(
        &self,
        use_case: UseCase,
        account: &TestAccount,
        result: &CallResult,
        context: &str,
    ) {
        let exists = self.accepts_password(&account.phone, NEW_PASSWORD).await;
        assert!(exists || !result.is_acknowledged(), "acknowledged, but lost: {context}");
        if !result.is_acknowledged() {
            let retry = if use_case == UseCase::Register {
                let code = Some(self.send_code(&account.phone).await);
                self.run_use_case(use_case, &TestAccount { code, ..account.without_credentials() }).await
            } else {
                self.run_use_case(use_case, account).await
            };
            match (exists, retry) {
                (false, Ok(_)) | (true, Err(Error::IdentifierTaken)) => {}
                (_, retry) => panic!("{context}: retry: {retry:?}"),
            }
        }
        assert!(self.accepts_password(&account.phone, NEW_PASSWORD).await, "{context}");
    }

    async fn assert_password_consistent(
        &self,
        use_case: UseCase,
        account: &TestAccount,
        result: &CallResult,
        context: &str,
    ) {
        let session = account.session.as_ref().unwrap();
        let (accepts_old, accepts_new) = (
            self.accepts_password(&account.name, OLD_PASSWORD).await,
            self.accepts_password(&account.name, NEW_PASSWORD).await,
        );
        assert!(accepts_old != accepts_new, "exactly one password is accepted: {context}");
        assert!(accepts_new || !result.is_acknowledged(), "acknowledged, but lost: {context}");
        let is_alive = self.is_session_alive(session).await;
        // The session that set the password survives the change, unless its new epoch could not be written; the change is
        // made then, and answered as success.
        let is_allowed = if accepts_new { !is_alive || use_case == UseCase::SetPasswordByLogin } else { is_alive };
        assert!(is_allowed, "session alive: {is_alive}: {context}");
        if let CallResult::Succeeded { token: Some(token) } = result {
            assert!(self.is_session_alive(token).await, "{context}");
        }
        if accepts_old {
            let mut retry =
                TestAccount { user: account.user, session: Some(session.clone()), ..account.without_credentials() };
            match use_case {
                UseCase::ResetPassword => retry.code = Some(self.send_code(&account.phone).await),
                UseCase::SetPasswordByTicket => {
                    retry.ticket = Some(self.issue_ticket(&account.name, &account.phone).await);
                }
                _ => {}
            }
            self.run_use_case(use_case, &retry).await.expect(context);
        }
        // The code or ticket was consumed, or revoked by the change, or lost with the restarted state store.
        if matches!(use_case, UseCase::ResetPassword | UseCase::SetPasswordByTicket) {
            let reuse = self.run_use_case(use_case, account).await;
            assert!(matches!(reuse, Err(Error::WrongCode | Error::NotAuthenticated)), "{context}: {reuse:?}");
        }
        assert!(
            !self.accepts_password(&account.name, OLD_PASSWORD).await
                && self.accepts_password(&account.name, NEW_PASSWORD).await,
            "{context}"
        );
        let is_alive = self.is_session_alive(session).await;
        assert!(!is_alive || use_case == UseCase::SetPasswordByLogin, "{context}");
    }

    async fn assert_status_consistent(
        &self,
        use_case: UseCase,
        account: &TestAccount,
        result: &CallResult,
        context: &str,
    ) {
        let session = account.session.as_ref().unwrap();
        let is_disabled = !self.accepts_password(&account.name, OLD_PASSWORD).await;
        let took_effect = is_disabled == (use_case == UseCase::Disable);
        assert!(took_effect || !result.is_acknowledged(), "acknowledged, but lost: {context}");
        if use_case == UseCase::Disable {
            assert_eq!(self.is_session_alive(session).await, !is_disabled, "{context}");
        } else {
            assert!(!self.is_session_alive(session).await, "a revoked session is valid again: {context}");
        }
        self.run_use_case(use_case, account).await.expect(context);
        assert_eq!(self.accepts_password(&account.name, OLD_PASSWORD).await, use_case == UseCase::Enable, "{context}");
        assert!(!self.is_session_alive(session).await, "{context}");
    }

    async fn assert_session_consistent(
        &self,
        use_case: UseCase,
        account: &TestAccount,
        result: &CallResult,
        context: &str,
    ) {
        let session = account.session.as_ref().unwrap();
        let is_alive = self.is_session_alive(session).await;
        match (use_case, result) {
            (UseCase::Logout | UseCase::EndSession | UseCase::EndSessions, CallResult::Succeeded { .. }) => {
                assert!(!is_alive, "acknowledged, but the session is valid: {context}");
            }
            (UseCase::EndSessions, CallResult::Failed) => {
                self.run_use_case(use_case, account).await.expect(context);
                assert!(!self.is_session_alive(session).await, "{context}");
            }
            (UseCase::Logout | UseCase::EndSession, CallResult::Failed) => {
                match self.run_use_case(use_case, account).await {
                    Ok(_) => assert!(is_alive, "{context}"),
                    Err(Error::NotAuthenticated) => assert!(!is_alive, "{context}"),
                    Err(other) => panic!("{context}: {other}"),
                }
                assert!(!self.is_session_alive(session).await, "{context}");
            }
            (UseCase::Login, CallResult::Succeeded { token: Some(token) }) => {
                assert!(is_alive && self.is_session_alive(token).await, "{context}");
            }
            (UseCase::Login, _) => {
                assert!(is_alive && self.accepts_password(&account.name, OLD_PASSWORD).await, "{context}");
            }
            _ => {
                assert!(is_alive, "{context}");
                self.run_use_case(use_case, account).await.expect(context);
            }
        }
    }
}

impl TestAccount {
    /// The same user without session, code and ticket.
    fn without_credentials(&self) -> Self {
        let (name, phone) = (self.name.clone(), self.phone.clone());
        Self { name, phone, user: None, session: None, code: None, ticket: None }
    }
}
