//! An old MeFP server.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use time::format_description::BorrowedFormatItem;
use time::macros::{format_description, offset};
use uuid::Uuid;

use crate::call::{Call, Outcome};
use crate::clock;
use crate::envelope::{Keys, Padding};
use crate::fault::{Fault, Lie};
use crate::login::{Login, log_in};
use crate::memory_table::MemoryTable;
use crate::password::{PasswordFormat, StoredPassword};
use crate::protocol::{Answer, Protocol};
use crate::request::{Fields, Request, json_fields};
use crate::server::OldServer;
use crate::state::State;
use crate::user::{Lookup, OldUser, TableError, UserTable};

/// `2011-07-23 20:27:00`, at +08:00.
const REG_TIME: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
/// The purposes of codes: `usage` 1 and 2.
const REGISTER: &str = "register";
const FORGOT: &str = "forgot";

/// In which form errors are answered; the document shows them plain and says that all answers are encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorForm {
    /// In an envelope, as successes.
    #[default]
    Sealed,
    /// In JSON.
    Plain,
}

/// An old MeFP server. Its users log in with a phone number; it keeps the password as the table has it.
#[derive(Clone, Debug)]
pub struct OldMefp {
    /// 32 bytes.
    pub mefp_secret: [u8; 32],
    /// The name and secret, 16 bytes, of each app.
    pub apps: Vec<(String, [u8; 16])>,
    /// The padding of answers. Requests may have any.
    pub padding: Padding,
    /// The form of errors.
    pub error_form: ErrorForm,
}

/// The error codes of the document, and 40000 for what it does not have.
#[derive(Clone, Copy, Debug)]
#[repr(u16)]
enum Error {
    Unreadable = 40000,
    NameTaken = 40001,
    WrongCode = 40002,
    WrongPassword = 40003,
    BadPhone = 40004,
    UnknownName = 40005,
    NoToken = 40006,
    UnknownUser = 40007,
}

/// An answer's object, or an error.
type Reply = Result<Value, Error>;

/// An opened request.
struct Opened<'a> {
    app: &'a str,
    keys: Keys<'a>,
    fields: Fields,
}

impl OldMefp {
    /// A server with these secrets.
    ///
    /// # Panics
    /// If `mefp_secret` has not 32 bytes, or an app's secret not 16.
    pub fn new(mefp_secret: &str, apps: &[(&str, &str)]) -> Self {
        let app = |&(name, secret): &(&str, &str)| (name.to_owned(), secret.as_bytes().try_into().expect("16 bytes"));
        Self {
            mefp_secret: mefp_secret.as_bytes().try_into().expect("32 bytes"),
            apps: apps.iter().map(app).collect(),
            padding: Padding::default(),
            error_form: ErrorForm::default(),
        }
    }

    /// Starts a server with these users on a free port of loopback. It keeps clear passwords.
    pub fn start(mefp_secret: &str, apps: &[(&str, &str)], users: impl IntoIterator<Item = OldUser>) -> OldServer {
        Self::new(mefp_secret, apps).serve(Arc::new(MemoryTable::new(PasswordFormat::Clear, users)))
    }

    /// Starts a server with this table on a free port of loopback.
    pub fn serve(self, table: Arc<dyn UserTable>) -> OldServer {
        OldServer::start(self, table, 0)
    }

    /// As [`OldMefp::serve`], on this port of loopback.
    pub fn serve_at(self, table: Arc<dyn UserTable>, port: u16) -> OldServer {
        OldServer::start(self, table, port)
    }

    fn open<'a>(&'a self, request: &Request) -> Option<Opened<'a>> {
        let (app, secret) = self.apps.iter().find(|(name, _)| name == request.text("app_from"))?;
        let keys = Keys { key: &self.mefp_secret, iv: secret };
        let fields = Fields(json_fields(&keys.open(request.text("encrypt"))?));
        Some(Opened { app, keys, fields })
    }

    fn answer_sealed(&self, reply: Reply, keys: Keys<'_>) -> Answer {
        let seal = |object: &Value| json!({ "encrypt": keys.seal(&object.to_string(), self.padding) });
        match (reply, self.error_form) {
            (Ok(object), _) => Answer::accepted(seal(&object)),
            (Err(error), ErrorForm::Sealed) => Answer::refused(&error.code(), seal(&error.object())),
            (Err(error), ErrorForm::Plain) => Answer::refused(&error.code(), error.object()),
        }
    }

    async fn process(&self, call: Call, opened: &Opened<'_>, state: &State, lie: Lie) -> Result<Reply, TableError> {
        match call {
            Call::Login => login(opened, state, lie).await,
            Call::Register => register(opened, state).await,
            Call::SendCode => send_code(opened, state).await,
            Call::PasswordChange => reset_password(opened, state).await,
            Call::Token => Ok(self.token(opened, state)),
            Call::CheckName => check_name(opened, state).await,
            _ => Ok(check_code(opened, state)),
        }
    }

    /// For a user who has logged in or registered through the calling app.
    fn token(&self, opened: &Opened<'_>, state: &State) -> Reply {
        let name = opened.fields.text("login_name");
        let knows_app = self.apps.iter().any(|(app, _)| app == opened.fields.text("app_to"));
        let is_live = state.sessions().iter().any(|session| session.login_name == name && session.app == opened.app);
        if knows_app && is_live {
            Ok(json!({ "result": 1, "token": Uuid::new_v4().simple().to_string() }))
        } else {
            Err(Error::NoToken)
        }
    }
}

impl Error {
    fn code(self) -> String {
        (self as u16).to_string()
    }

    fn object(self) -> Value {
        let message = match self {
            Self::Unreadable => "请求无法解密",
            Self::NameTaken => "用户名已存在",
            Self::WrongCode => "验证码错误",
            Self::WrongPassword => "用户名或密码错误",
            Self::BadPhone => "电话号码错误",
            Self::UnknownName => "用户名不存在",
            Self::NoToken => "获取token失败",
            Self::UnknownUser => "用户不存在",
        };
        json!({ "result": 0, "errors": { "code": self as u16, "message": message } })
    }
}

async fn login(opened: &Opened<'_>, state: &State, lie: Lie) -> Result<Reply, TableError> {
    let name = opened.fields.text("login_name");
    let password = opened.fields.text("password");
    let login = log_in(state, Lookup::Phone(name), lie, |user| user.password.verify(password)).await?;
    let Login::Right(user) = login else { return Ok(Err(Error::WrongPassword)) };
    state.open_session(&user, name, opened.app);
    Ok(Ok(json!({ "result": 1 })))
}

async fn register(opened: &Opened<'_>, state: &State) -> Result<Reply, TableError> {
    let name = opened.fields.text("login_name");
    if !is_phone(name) {
        return Ok(Err(Error::BadPhone));
    }
    if !state.consume_code(REGISTER, name, opened.fields.text("captcha")) {
        return Ok(Err(Error::WrongCode));
    }
    if state.table.find(Lookup::Phone(name)).await?.is_some() {
        return Ok(Err(Error::NameTaken));
    }
    let password = StoredPassword::new(state.table.password_format(), opened.fields.text("password"));
    let mut user = OldUser::new("", name, password);
    user.phone = name.to_owned();
    user.registered_app = opened.app.to_owned();
    user.registered_at = clock::now();
    user.id = state.table.add(&user).await?;
    state.open_session(&user, name, opened.app);
    Ok(Ok(json!({ "result": 1 })))
}

async fn send_code(opened: &Opened<'_>, state: &State) -> Result<Reply, TableError> {
    let name = opened.fields.text("login_name");
    if !is_phone(name) {
        return Ok(Err(Error::BadPhone));
    }
    let is_known = state.table.find(Lookup::Phone(name)).await?.is_some();
    let purpose = match (opened.fields.text("usage"), is_known) {
        ("1", true) => return Ok(Err(Error::NameTaken)),
        ("1", false) => REGISTER,
        ("2", false) => return Ok(Err(Error::UnknownUser)),
        ("2", true) => FORGOT,
        _ => return Ok(Err(Error::Unreadable)),
    };
    state.make_code(purpose, name);
    Ok(Ok(json!({ "result": 1 })))
}

async fn reset_password(opened: &Opened<'_>, state: &State) -> Result<Reply, TableError> {
    let name = opened.fields.text("login_name");
    if !state.consume_code(FORGOT, name, opened.fields.text("captcha")) {
        return Ok(Err(Error::WrongCode));
    }
    let Some(user) = state.table.find(Lookup::Phone(name)).await? else { return Ok(Err(Error::UnknownUser)) };
    let password = StoredPassword::new(user.password.format, opened.fields.text("new_password"));
    state.table.set_password(&user.id, &password).await?;
    state.end_sessions(|session| session.user_id == user.id);
    Ok(Ok(json!({ "result": 1 })))
}

async fn check_name(opened: &Opened<'_>, state: &State) -> Result<Reply, TableError> {
    let found = state.table.find(Lookup::Phone(opened.fields.text("login_name"))).await?;
    Ok(found.ok_or(Error::UnknownName).map(|user| {
        let registered_at = user.registered_at.to_offset(offset!(+8));
        json!({ "result": 1, "reg_app": user.registered_app, "reg_time": registered_at.format(REG_TIME).unwrap() })
    }))
}

/// Does not use up the code.
fn check_code(opened: &Opened<'_>, state: &State) -> Reply {
    let (name, code) = (opened.fields.text("login_name"), opened.fields.text("captcha"));
    let is_right =
        [REGISTER, FORGOT].iter().any(|purpose| state.code(purpose, name).is_some_and(|right| right == code));
    if is_right { Ok(json!({ "result": 1 })) } else { Err(Error::WrongCode) }
}

fn is_phone(name: &str) -> bool {
    name.len() == 11 && name.starts_with('1') && name.bytes().all(|byte| byte.is_ascii_digit())
}

#[async_trait]
impl Protocol for OldMefp {
    fn route(&self, method: &str, path: &str) -> Option<Call> {
        match (method, path) {
            ("POST", "/auth/login") => Some(Call::Login),
            ("POST", "/auth/register") => Some(Call::Register),
            ("POST", "/auth/captcha") => Some(Call::SendCode),
            ("POST", "/auth/forgot") => Some(Call::PasswordChange),
            ("POST", "/auth/token") => Some(Call::Token),
            ("POST", "/auth/check/loginname") => Some(Call::CheckName),
            ("POST", "/auth/check/captcha") => Some(Call::CheckCode),
            _ => None,
        }
    }

    fn identifier(&self, request: &Request) -> String {
        self.open(request).map_or(String::new(), |opened| opened.fields.text("login_name").to_owned())
    }

    /// A login is answered without a user, and needs no captcha.
    fn supports(&self, fault: &Fault) -> bool {
        !matches!(fault, Fault::CaptchaDemanded | Fault::OtherId | Fault::OtherName)
    }

    async fn answer(&self, call: Call, request: &Request, state: &State, lie: Lie) -> Result<Answer, TableError> {
        let Some(opened) = self.open(request) else {
            let error = Error::Unreadable;
            return Ok(Answer { outcome: Outcome::Refused(error.code()), ..Answer::accepted(error.object()) });
        };
        let reply = self.process(call, &opened, state, lie).await?;
        Ok(self.answer_sealed(reply, opened.keys))
    }
}
