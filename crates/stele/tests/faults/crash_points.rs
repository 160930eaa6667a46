//! Crash points: PostgreSQL or Redis is killed before or after each write of each use case, or before the response
//! arrives. An acknowledged operation is complete, an unacknowledged one has happened completely or not at all, and a
//! retry succeeds.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use stele_core::Error;
use stele_core::code::{Code, CodePurpose};
use stele_core::identifier::{Phone, Recipient, Username};
use stele_core::password::{NewPassword, RawPassword};
use stele_core::proof::Proof;
use stele_core::session::Token;
use stele_core::usecase::RequestInfo;
use stele_core::usecase::add_user::{AddUserRequest, ProvidedSecret};
use stele_core::usecase::change_password::{ChangePasswordRequest, PasswordChangeAuthorization};
use stele_core::usecase::login::{AllowedUsers, AuthenticatedSession, Challenge, LoginRequest, SessionTransport};
use stele_core::usecase::register::RegisterRequest;
use stele_core::usecase::reset_password::ResetPasswordRequest;
use stele_core::usecase::send_code::RecipientFilter;
use stele_core::usecase::set_password::SetPasswordAuthorization;
use stele_core::user::{Profile, Role, UserRef, UserStatus};
use stele_testkit::servers::{Postgres, Redis};
use stele_testkit::{CallPhase, TestLab};

/// The dialect of all requests; any dialect would do.
const DIALECT: &str = "jwt";
const OLD_PASSWORD: &str = "the-old-password";
const NEW_PASSWORD: &str = "a-new-password";

/// The store operations that write.
const WRITE_CALLS: [&str; 15] = [
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
    "end_sessions",
    "put_ticket",
    "redeem_ticket",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UseCase {
    AddUser,
    Register,
    Login,
    UseSession,
    Logout,
    ChangePassword,
    ResetPassword,
    SetPasswordByTicket,
    SetPasswordByLogin,
    Disable,
    Enable,
    AddClientToken,
    EndSession,
    EndSessions,
}

const USE_CASES: [UseCase; 14] = [
    UseCase::AddUser,
    UseCase::Register,
    UseCase::Login,
    UseCase::UseSession,
    UseCase::Logout,
    UseCase::ChangePassword,
    UseCase::ResetPassword,
    UseCase::SetPasswordByTicket,
    UseCase::SetPasswordByLogin,
    UseCase::Disable,
    UseCase::Enable,
    UseCase::AddClientToken,
    UseCase::EndSession,
    UseCase::EndSessions,
];

/// When, relative to a write, the server is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KillPoint {
    BeforeWrite,
    AfterWrite,
    /// After the write; the response to the write is lost.
    ResponseLost,
}

struct CrashTest {
    lab: TestLab,
    postgres: Arc<Postgres>,
    redis: Arc<Redis>,
}

/// A user with the session, code and ticket that the use case needs, created before the kill.
struct TestAccount {
    name: String,
    phone: String,
    user: Option<UserRef>,
    session: Option<Token>,
    code: Option<Code>,
    ticket: Option<Token>,
}

fn request_info() -> RequestInfo {
    RequestInfo::from_client(DIALECT, IpAddr::V4(Ipv4Addr::LOCALHOST))
}

fn new_password(text: &str) -> NewPassword {
    NewPassword::from_administrator(&RawPassword::new(text.to_owned())).unwrap()
}

fn sms_recipient(phone: &str) -> Recipient {
    Recipient::parse(phone).unwrap()
}

impl CrashTest {
    async fn new() -> Self {
        let (postgres, redis) = (Postgres::start(), Redis::start());
        // An acknowledged commit is in the system's page cache and survives a kill. (A power failure is not tested.)
        postgres.write_file("postgresql.auto.conf", "fsync = off\nsynchronous_commit = on\nmax_connections = 50\n");
        postgres.restart();
        let (users, state, limit) = (postgres.new_database_url(), redis.url(), "100000");
        let stores = [("STELE_DATABASE_URL", users.as_str()), ("STELE_REDIS_URL", &state)];
        let limits = [("STELE_LIMIT_ADDRESS", limit), ("STELE_SEND_ADDRESS", limit)];
        let lab = TestLab::with_settings(&[stores, limits].concat()).await;
        Self { lab, postgres: Arc::new(postgres), redis: Arc::new(redis) }
    }

    async fn log_in(&self, name: &str, password: &str) -> stele_core::Result<AuthenticatedSession> {
        let request = LoginRequest {
            identifier: name,
            proof: Proof::Raw(RawPassword::new(password.to_owned())),
            caller: &request_info(),
            allowed_users: AllowedUsers::Everyone,
            challenge: Challenge::Never,
            transport: SessionTransport::Token,
        };
        self.lab.use_cases().login(request).await
    }

    /// Whether a login with this password succeeds.
    async fn accepts_password(&self, name: &str, password: &str) -> bool {
        match self.log_in(name, password).await {
            Ok(_) => true,
            Err(Error::WrongPassword | Error::UnknownUser | Error::Disabled) => false,
            Err(other) => panic!("{name}: {other}"),
        }
    }

    async fn is_session_alive(&self, session: &Token) -> bool {
        match self.lab.use_cases().authenticate(DIALECT, session).await {
            Ok(_) => true,
            Err(Error::NotAuthenticated) => false,
            Err(other) => panic!("{other}"),
        }
    }

    async fn send_code(&self, phone: &str) -> Code {
        self.lab
            .use_cases()
            .send_code(&request_info(), &sms_recipient(phone), CodePurpose::Any, RecipientFilter::Anyone)
            .await
            .unwrap();
        Code::from_user_input(&self.lab.last_code_for(phone))
    }

    async fn issue_ticket(&self, name: &str, phone: &str) -> Token {
        self.lab.use_cases().send_reset(&request_info(), name, &sms_recipient(phone)).await.unwrap();
        let code = Code::from_user_input(&self.lab.last_code_for(phone));
        self.lab.use_cases().grant_reset(&request_info(), name, &code).await.unwrap()
    }

    async fn create_account(&self, use_case: UseCase, number: usize) -> TestAccount {
        let (name, phone) = (format!("user-{number}"), format!("138{number:08}"));
        let mut account = TestAccount { name, phone, user: None, session: None, code: None, ticket: None };
        if !matches!(use_case, UseCase::AddUser | UseCase::Register | UseCase::AddClientToken) {
            let user = self.lab.user(&account.name).phone(&account.phone).password(OLD_PASSWORD).add().await;
            account.user = Some(UserRef::Id(user.id));
            account.session = Some(self.log_in(&account.name, OLD_PASSWORD).await.unwrap().token);
        }
        match use_case {
            UseCase::Register | UseCase::ResetPassword => account.code = Some(self.send_code(&account.phone).await),
            UseCase::SetPasswordByTicket => {
                account.ticket = Some(self.issue_ticket(&account.name, &account.phone).await);
            }
            UseCase::Enable => {
                self.lab.use_cases().set_status(account.user.unwrap(), UserStatus::Disabled).await.unwrap();
            }
            _ => {}
        }
        account
    }

    /// Runs the use case; returns the token, if it issues one.
    async fn run_use_case(&self, use_case: UseCase, account: &TestAccount) -> stele_core::Result<Option<Token>> {
        let (use_cases, caller, new) = (self.lab.use_cases(), request_info(), new_password(NEW_PASSWORD));
        let recipient = sms_recipient(&account.phone);
        let get_session = || account.session.as_ref().unwrap();
        match use_case {
            UseCase::AddUser => {
                let request = AddUserRequest {
                    name: Username::parse(&account.name).unwrap(),
                    phone: Phone::parse_provisioned(&account.phone),
                    email: None,
                    role: Role::User,
                    profile: Profile::default(),
                    secret: ProvidedSecret::Password(new),
                };
                use_cases.add_user(request).await.map(|_| None)
            }
            UseCase::Register => {
                let code = account.code.as_ref().unwrap();
                let request = RegisterRequest {
                    to: &recipient,
                    purpose: CodePurpose::Any,
                    code,
                    password: &new,
                    caller: &caller,
                };
                use_cases.register(request).await.map(|_| None)
            }
            UseCase::Login => self.log_in(&account.name, OLD_PASSWORD).await.map(|session| Some(session.token)),
            UseCase::UseSession => use_cases.authenticate(DIALECT, get_session()).await.map(|_| None),
            UseCase::Logout => use_cases.logout(DIALECT, get_session()).await.map(|()| None),
            UseCase::ChangePassword => {
                let proof = Proof::Raw(RawPassword::new(OLD_PASSWORD.to_owned()));
                let Some(UserRef::Id(user)) = account.user else { panic!("the use case needs a user") };
                let user = user.into();
                let authorization = PasswordChangeAuthorization::ProofOnly(&user);
                let request = ChangePasswordRequest { authorization, proof, password: new, caller: &caller };
                use_cases.change_password(request).await.map(|session| Some(session.token))
            }
            UseCase::ResetPassword => {
                let code = account.code.as_ref().unwrap();
                let request = ResetPasswordRequest {
                    to: &recipient,
                    purpose: CodePurpose::Any,
                    code,
                    password: &new,
                    caller: &caller,
                };
                use_cases.reset_password(request).await.map(|_| None)
            }
            UseCase::SetPasswordByTicket => {
                let authorization = SetPasswordAuthorization::ResetToken(account.ticket.clone().unwrap());
                use_cases.set_password(&caller, &account.name, &new, &authorization).await.map(|()| None)
            }
            UseCase::SetPasswordByLogin => {
                let authorization = SetPasswordAuthorization::RecentLogin(get_session().clone());
                use_cases.set_password(&caller, &account.name, &new, &authorization).await.map(|()| None)
            }
            UseCase::Disable | UseCase::Enable => {
                let status = if use_case == UseCase::Disable { UserStatus::Disabled } else { UserStatus::Active };
                use_cases.set_status(account.user.unwrap(), status).await.map(|()| None)
            }
            UseCase::AddClientToken => use_cases.add_client_token(&account.name).await.map(Some),
            UseCase::EndSession => use_cases.end_session(&get_session().key(), None).await.map(|()| None),
            UseCase::EndSessions => {
                let Some(UserRef::Id(user)) = account.user else { panic!("the use case needs a user") };
                use_cases.end_sessions(user).await.map(|_| None)
            }
        }
    }
}

mod consistency;
mod kill_runs;
