//! PostgreSQL or Redis killed right before or after each write of each use case, or before its answer is heard: what was
//! answered is so, what was not is one of two things and never half of both, and asking again is all that it takes.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use stele_core::Error;
use stele_core::code::{Code, Purpose};
use stele_core::identifier::{Name, Phone, Recipient};
use stele_core::password::{NewPassword, RawPassword};
use stele_core::proof::Proof;
use stele_core::session::Token;
use stele_core::usecase::Caller;
use stele_core::usecase::add_user::{AddUser, Provided};
use stele_core::usecase::change_password::{ChangePassword, Whose};
use stele_core::usecase::login::{Audience, Carrier, Challenge, LoggedIn, Login};
use stele_core::usecase::register::Register;
use stele_core::usecase::reset_password::ResetPassword;
use stele_core::usecase::send_code::Sendable;
use stele_core::usecase::set_password::Authority;
use stele_core::user::{Profile, Role, UserRef, UserStatus};
use stele_testkit::servers::{Postgres, Redis};
use stele_testkit::{Lab, Moment};

/// The dialect of all of them: any would do.
const DIALECT: &str = "jwt";
const OLD: &str = "the-old-password";
const NEW: &str = "a-new-password";

/// The calls of the stores that write.
const WRITES: [&str; 14] = [
    "add",
    "change_credential",
    "upgrade_credential",
    "set_status",
    "add_client_token",
    "settle",
    "guess_code",
    "send_code",
    "open_session",
    "touch_session",
    "restamp_session",
    "end_session",
    "put_ticket",
    "redeem_ticket",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    AddUser,
    Register,
    Login,
    Use,
    Logout,
    Change,
    Reset,
    SetByTicket,
    SetByLogin,
    Disable,
    Enable,
    AddClientToken,
}

const CASES: [Case; 12] = [
    Case::AddUser,
    Case::Register,
    Case::Login,
    Case::Use,
    Case::Logout,
    Case::Change,
    Case::Reset,
    Case::SetByTicket,
    Case::SetByLogin,
    Case::Disable,
    Case::Enable,
    Case::AddClientToken,
];

/// When the server is killed: at the write that is counted so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Before,
    After,
    /// After, and what it answered is lost.
    Unheard,
}

struct Bench {
    lab: Lab,
    postgres: Arc<Postgres>,
    redis: Arc<Redis>,
}

/// Somebody with a session, a code and a token, made before anything happens.
struct Subject {
    name: String,
    phone: String,
    user: Option<UserRef>,
    session: Option<Token>,
    code: Option<Code>,
    ticket: Option<Token>,
}

fn caller() -> Caller {
    Caller::direct(DIALECT, IpAddr::V4(Ipv4Addr::LOCALHOST))
}

fn new_password(text: &str) -> NewPassword {
    NewPassword::provisioned(&RawPassword::new(text.to_owned())).unwrap()
}

fn to(phone: &str) -> Recipient {
    Recipient::parse(phone).unwrap()
}

impl Bench {
    async fn new() -> Self {
        let (postgres, redis) = (Postgres::start(), Redis::start());
        // What it answered is on its way to the disk: a kill takes nothing of that back. (A power cut is not tested.)
        postgres.put("postgresql.auto.conf", "fsync = off\nsynchronous_commit = on\nmax_connections = 50\n");
        postgres.restart();
        let (users, state, many) = (postgres.url(), redis.url(), "100000");
        let stores = [("STELE_DATABASE_URL", users.as_str()), ("STELE_REDIS_URL", &state)];
        let limits = [("STELE_LIMIT_ADDRESS", many), ("STELE_SEND_ADDRESS", many)];
        let lab = Lab::with(&[stores, limits].concat()).await;
        Self { lab, postgres: Arc::new(postgres), redis: Arc::new(redis) }
    }

    async fn log_in(&self, name: &str, password: &str) -> stele_core::Result<LoggedIn> {
        let request = Login {
            identifier: name,
            proof: Proof::Raw(RawPassword::new(password.to_owned())),
            caller: &caller(),
            audience: Audience::Everyone,
            challenge: Challenge::Never,
            carrier: Carrier::Token,
        };
        self.lab.use_cases().login(request).await
    }

    /// Whether a password is let in.
    async fn lets_in(&self, name: &str, password: &str) -> bool {
        match self.log_in(name, password).await {
            Ok(_) => true,
            Err(Error::WrongPassword | Error::UnknownUser | Error::Disabled) => false,
            Err(other) => panic!("{name}: {other}"),
        }
    }

    async fn is_alive(&self, session: &Token) -> bool {
        match self.lab.use_cases().authenticate(DIALECT, session).await {
            Ok(_) => true,
            Err(Error::NotAuthenticated) => false,
            Err(other) => panic!("{other}"),
        }
    }

    async fn send(&self, phone: &str) -> Code {
        self.lab.use_cases().send_code(&caller(), &to(phone), Purpose::Any, Sendable::Anyone).await.unwrap();
        Code::typed(&self.lab.code_for(phone))
    }

    async fn ticket(&self, name: &str, phone: &str) -> Token {
        self.lab.use_cases().send_reset(&caller(), name, &to(phone)).await.unwrap();
        let code = Code::typed(&self.lab.code_for(phone));
        self.lab.use_cases().grant_reset(&caller(), name, &code).await.unwrap()
    }

    async fn subject(&self, case: Case, number: usize) -> Subject {
        let (name, phone) = (format!("user-{number}"), format!("138{number:08}"));
        let mut subject = Subject { name, phone, user: None, session: None, code: None, ticket: None };
        if !matches!(case, Case::AddUser | Case::Register | Case::AddClientToken) {
            let user = self.lab.user(&subject.name).phone(&subject.phone).password(OLD).add().await;
            subject.user = Some(UserRef::Id(user.id));
            subject.session = Some(self.log_in(&subject.name, OLD).await.unwrap().token);
        }
        match case {
            Case::Register | Case::Reset => subject.code = Some(self.send(&subject.phone).await),
            Case::SetByTicket => subject.ticket = Some(self.ticket(&subject.name, &subject.phone).await),
            Case::Enable => self.lab.use_cases().set_status(subject.user.unwrap(), UserStatus::Disabled).await.unwrap(),
            _ => {}
        }
        subject
    }

    /// Does what the case is about.
    async fn act(&self, case: Case, subject: &Subject) -> stele_core::Result<Option<Token>> {
        let (use_cases, caller, new) = (self.lab.use_cases(), caller(), new_password(NEW));
        let recipient = to(&subject.phone);
        let session = || subject.session.as_ref().unwrap();
        match case {
            Case::AddUser => {
                let request = AddUser {
                    name: Name::parse(&subject.name).unwrap(),
                    phone: Phone::provision(&subject.phone),
                    email: None,
                    role: Role::User,
                    profile: Profile::default(),
                    secret: Provided::Password(new),
                };
                use_cases.add_user(request).await.map(|_| None)
            }
            Case::Register => {
                let code = subject.code.as_ref().unwrap();
                let request = Register { to: &recipient, purpose: Purpose::Any, code, password: &new, caller: &caller };
                use_cases.register(request).await.map(|_| None)
            }
            Case::Login => self.log_in(&subject.name, OLD).await.map(|entered| Some(entered.token)),
            Case::Use => use_cases.authenticate(DIALECT, session()).await.map(|_| None),
            Case::Logout => use_cases.logout(DIALECT, session()).await.map(|()| None),
            Case::Change => {
                let proof = Proof::Raw(RawPassword::new(OLD.to_owned()));
                let Some(UserRef::Id(user)) = subject.user else { panic!("the case needs a user") };
                let whose = Whose::Unauthenticated(user);
                let request = ChangePassword { whose, proof, password: new, caller: &caller };
                use_cases.change_password(request).await.map(|entered| Some(entered.token))
            }
            Case::Reset => {
                let code = subject.code.as_ref().unwrap();
                let request =
                    ResetPassword { to: &recipient, purpose: Purpose::Any, code, password: &new, caller: &caller };
                use_cases.reset_password(request).await.map(|_| None)
            }
            Case::SetByTicket => {
                let authority = Authority::Reset(subject.ticket.clone().unwrap());
                use_cases.set_password(&caller, &subject.name, &new, &authority).await.map(|()| None)
            }
            Case::SetByLogin => {
                let authority = Authority::Login(session().clone());
                use_cases.set_password(&caller, &subject.name, &new, &authority).await.map(|()| None)
            }
            Case::Disable | Case::Enable => {
                let status = if case == Case::Disable { UserStatus::Disabled } else { UserStatus::Active };
                use_cases.set_status(subject.user.unwrap(), status).await.map(|()| None)
            }
            Case::AddClientToken => use_cases.add_client_token(&subject.name).await.map(Some),
        }
    }
}

mod judge;
mod run;
