//! What may be after a kill, and that asking again is all that it takes.

use super::*;

impl Bench {
    /// Judges what is by what was answered: `Some` is a success. `reborn`: the short-lived store is one that came back,
    /// which takes no code and no ticket from before.
    pub(super) async fn judge(
        &self,
        case: Case,
        subject: &Subject,
        answered: Option<Option<Token>>,
        reborn: bool,
        what: &str,
    ) {
        match case {
            Case::AddUser | Case::Register => self.judge_new(case, subject, answered.is_some(), what).await,
            Case::Change | Case::Reset | Case::SetByTicket | Case::SetByLogin => {
                self.judge_change(case, subject, answered, reborn, what).await;
            }
            Case::Disable | Case::Enable => self.judge_lock(case, subject, answered.is_some(), what).await,
            Case::Login | Case::Use | Case::Logout => self.judge_session(case, subject, answered, what).await,
            Case::AddClientToken => {
                if let Some(Some(token)) = answered {
                    self.lab.use_cases().recognise_client_token(&token).await.expect(what);
                } else {
                    match self.lab.use_cases().add_client_token(&subject.name).await {
                        Ok(_) | Err(Error::IdentifierTaken) => {}
                        Err(other) => panic!("{what}: {other}"),
                    }
                }
            }
        }
    }

    async fn judge_new(&self, case: Case, subject: &Subject, answered: bool, what: &str) {
        let there = self.lets_in(&subject.phone, NEW).await;
        assert!(there || !answered, "answered, and lost: {what}");
        if !answered {
            let again = if case == Case::Register {
                let again = Subject { code: Some(self.send(&subject.phone).await), ..subject.unopened() };
                self.act(case, &again).await
            } else {
                self.act(case, subject).await
            };
            match (there, again) {
                (false, Ok(_)) | (true, Err(Error::IdentifierTaken)) => {}
                (_, again) => panic!("{what}: again: {again:?}"),
            }
        }
        assert!(self.lets_in(&subject.phone, NEW).await, "{what}");
    }

    async fn judge_change(
        &self,
        case: Case,
        subject: &Subject,
        answered: Option<Option<Token>>,
        reborn: bool,
        what: &str,
    ) {
        let session = subject.session.as_ref().unwrap();
        let (old, new) = (self.lets_in(&subject.name, OLD).await, self.lets_in(&subject.name, NEW).await);
        assert!(old != new, "one password lets in, and one only: {what}");
        assert!(new || answered.is_none(), "answered, and lost: {what}");
        let alive = self.is_alive(session).await;
        // What made the change lives on; if that could not be written, it is as dead as the others.
        assert!(if new { !alive || case == Case::SetByLogin } else { alive }, "alive: {alive}: {what}");
        match &answered {
            Some(Some(token)) => assert!(self.is_alive(token).await, "{what}"),
            Some(None) if case == Case::SetByLogin => assert!(alive, "{what}"),
            _ => {}
        }
        if old {
            let mut again = Subject { user: subject.user, session: Some(session.clone()), ..subject.unopened() };
            match case {
                Case::Reset => again.code = Some(self.send(&subject.phone).await),
                Case::SetByTicket => again.ticket = Some(self.ticket(&subject.name, &subject.phone).await),
                _ => {}
            }
            self.act(case, &again).await.expect(what);
        }
        // What was used for it is used up, or died with the old password, or with the store that knew it.
        if matches!(case, Case::Reset | Case::SetByTicket) {
            let thief = self.act(case, subject).await;
            assert!(matches!(thief, Err(Error::WrongCode | Error::NotAuthenticated)), "{what}: {thief:?} {reborn}");
        }
        assert!(!self.lets_in(&subject.name, OLD).await && self.lets_in(&subject.name, NEW).await, "{what}");
        let alive = self.is_alive(session).await;
        assert!(!alive || case == Case::SetByLogin, "{what}");
    }

    async fn judge_lock(&self, case: Case, subject: &Subject, answered: bool, what: &str) {
        let session = subject.session.as_ref().unwrap();
        let locked = !self.lets_in(&subject.name, OLD).await;
        let done = locked == (case == Case::Disable);
        assert!(done || !answered, "answered, and lost: {what}");
        if case == Case::Disable {
            assert_eq!(self.is_alive(session).await, !locked, "{what}");
        } else {
            assert!(!self.is_alive(session).await, "what was ended is back: {what}");
        }
        self.act(case, subject).await.expect(what);
        assert_eq!(self.lets_in(&subject.name, OLD).await, case == Case::Enable, "{what}");
        assert!(!self.is_alive(session).await, "{what}");
    }

    async fn judge_session(&self, case: Case, subject: &Subject, answered: Option<Option<Token>>, what: &str) {
        let session = subject.session.as_ref().unwrap();
        let alive = self.is_alive(session).await;
        match (case, &answered) {
            (Case::Logout, Some(_)) => assert!(!alive, "answered, and back: {what}"),
            (Case::Logout, None) => {
                match self.act(case, subject).await {
                    Ok(_) => assert!(alive, "{what}"),
                    Err(Error::NotAuthenticated) => assert!(!alive, "{what}"),
                    Err(other) => panic!("{what}: {other}"),
                }
                assert!(!self.is_alive(session).await, "{what}");
            }
            (Case::Login, Some(Some(token))) => assert!(alive && self.is_alive(token).await, "{what}"),
            (Case::Login, _) => assert!(alive && self.lets_in(&subject.name, OLD).await, "{what}"),
            _ => {
                assert!(alive, "{what}");
                self.act(case, subject).await.expect(what);
            }
        }
    }
}

impl Subject {
    /// The same person, without what was made for them.
    fn unopened(&self) -> Self {
        let (name, phone) = (self.name.clone(), self.phone.clone());
        Self { name, phone, user: None, session: None, code: None, ticket: None }
    }
}
