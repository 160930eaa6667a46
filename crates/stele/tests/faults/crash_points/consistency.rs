//! What may be after a kill, and that asking again is all that it takes.

use super::*;

impl CrashTest {
    /// Judges what is by what was answered: `Some` is a success. `reborn`: the short-lived store is one that came back,
    /// which takes no code and no ticket from before.
    pub(super) async fn assert_consistent(
        &self,
        case: UseCase,
        subject: &TestAccount,
        answered: Option<Option<Token>>,
        reborn: bool,
        what: &str,
    ) {
        match case {
            UseCase::AddUser | UseCase::Register => {
                self.assert_new_account_consistent(case, subject, answered.is_some(), what).await;
            }
            UseCase::ChangePassword
            | UseCase::ResetPassword
            | UseCase::SetPasswordByTicket
            | UseCase::SetPasswordByLogin => {
                self.assert_password_consistent(case, subject, answered, reborn, what).await;
            }
            UseCase::Disable | UseCase::Enable => {
                self.assert_status_consistent(case, subject, answered.is_some(), what).await;
            }
            UseCase::Login | UseCase::UseSession | UseCase::Logout => {
                self.assert_session_consistent(case, subject, answered, what).await;
            }
            UseCase::AddClientToken => {
                if let Some(Some(token)) = answered {
                    self.lab.use_cases().authenticate_client(&token).await.expect(what);
                } else {
                    match self.lab.use_cases().add_client_token(&subject.name).await {
                        Ok(_) | Err(Error::IdentifierTaken) => {}
                        Err(other) => panic!("{what}: {other}"),
                    }
                }
            }
        }
    }

    async fn assert_new_account_consistent(&self, case: UseCase, subject: &TestAccount, answered: bool, what: &str) {
        let there = self.accepts_password(&subject.phone, NEW_PASSWORD).await;
        assert!(there || !answered, "answered, and lost: {what}");
        if !answered {
            let again = if case == UseCase::Register {
                let again =
                    TestAccount { code: Some(self.send_code(&subject.phone).await), ..subject.without_credentials() };
                self.run_use_case(case, &again).await
            } else {
                self.run_use_case(case, subject).await
            };
            match (there, again) {
                (false, Ok(_)) | (true, Err(Error::IdentifierTaken)) => {}
                (_, again) => panic!("{what}: again: {again:?}"),
            }
        }
        assert!(self.accepts_password(&subject.phone, NEW_PASSWORD).await, "{what}");
    }

    async fn assert_password_consistent(
        &self,
        case: UseCase,
        subject: &TestAccount,
        answered: Option<Option<Token>>,
        reborn: bool,
        what: &str,
    ) {
        let session = subject.session.as_ref().unwrap();
        let (old, new) = (
            self.accepts_password(&subject.name, OLD_PASSWORD).await,
            self.accepts_password(&subject.name, NEW_PASSWORD).await,
        );
        assert!(old != new, "one password lets in, and one only: {what}");
        assert!(new || answered.is_none(), "answered, and lost: {what}");
        let alive = self.is_session_alive(session).await;
        // What made the change lives on; if that could not be written, it is as dead as the others.
        assert!(if new { !alive || case == UseCase::SetPasswordByLogin } else { alive }, "alive: {alive}: {what}");
        match &answered {
            Some(Some(token)) => assert!(self.is_session_alive(token).await, "{what}"),
            Some(None) if case == UseCase::SetPasswordByLogin => assert!(alive, "{what}"),
            _ => {}
        }
        if old {
            let mut again =
                TestAccount { user: subject.user, session: Some(session.clone()), ..subject.without_credentials() };
            match case {
                UseCase::ResetPassword => again.code = Some(self.send_code(&subject.phone).await),
                UseCase::SetPasswordByTicket => {
                    again.ticket = Some(self.issue_ticket(&subject.name, &subject.phone).await);
                }
                _ => {}
            }
            self.run_use_case(case, &again).await.expect(what);
        }
        // What was used for it is used up, or died with the old password, or with the store that knew it.
        if matches!(case, UseCase::ResetPassword | UseCase::SetPasswordByTicket) {
            let thief = self.run_use_case(case, subject).await;
            assert!(matches!(thief, Err(Error::WrongCode | Error::NotAuthenticated)), "{what}: {thief:?} {reborn}");
        }
        assert!(
            !self.accepts_password(&subject.name, OLD_PASSWORD).await
                && self.accepts_password(&subject.name, NEW_PASSWORD).await,
            "{what}"
        );
        let alive = self.is_session_alive(session).await;
        assert!(!alive || case == UseCase::SetPasswordByLogin, "{what}");
    }

    async fn assert_status_consistent(&self, case: UseCase, subject: &TestAccount, answered: bool, what: &str) {
        let session = subject.session.as_ref().unwrap();
        let locked = !self.accepts_password(&subject.name, OLD_PASSWORD).await;
        let done = locked == (case == UseCase::Disable);
        assert!(done || !answered, "answered, and lost: {what}");
        if case == UseCase::Disable {
            assert_eq!(self.is_session_alive(session).await, !locked, "{what}");
        } else {
            assert!(!self.is_session_alive(session).await, "what was ended is back: {what}");
        }
        self.run_use_case(case, subject).await.expect(what);
        assert_eq!(self.accepts_password(&subject.name, OLD_PASSWORD).await, case == UseCase::Enable, "{what}");
        assert!(!self.is_session_alive(session).await, "{what}");
    }

    async fn assert_session_consistent(
        &self,
        case: UseCase,
        subject: &TestAccount,
        answered: Option<Option<Token>>,
        what: &str,
    ) {
        let session = subject.session.as_ref().unwrap();
        let alive = self.is_session_alive(session).await;
        match (case, &answered) {
            (UseCase::Logout, Some(_)) => assert!(!alive, "answered, and back: {what}"),
            (UseCase::Logout, None) => {
                match self.run_use_case(case, subject).await {
                    Ok(_) => assert!(alive, "{what}"),
                    Err(Error::NotAuthenticated) => assert!(!alive, "{what}"),
                    Err(other) => panic!("{what}: {other}"),
                }
                assert!(!self.is_session_alive(session).await, "{what}");
            }
            (UseCase::Login, Some(Some(token))) => assert!(alive && self.is_session_alive(token).await, "{what}"),
            (UseCase::Login, _) => assert!(alive && self.accepts_password(&subject.name, OLD_PASSWORD).await, "{what}"),
            _ => {
                assert!(alive, "{what}");
                self.run_use_case(case, subject).await.expect(what);
            }
        }
    }
}

impl TestAccount {
    /// The same person, without what was made for them.
    fn without_credentials(&self) -> Self {
        let (name, phone) = (self.name.clone(), self.phone.clone());
        Self { name, phone, user: None, session: None, code: None, ticket: None }
    }
}
