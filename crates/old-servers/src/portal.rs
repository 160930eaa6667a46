//! An old portal server.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::call::Call;
use crate::clock;
use crate::fault::{Fault, Lie};
use crate::login::{Login, answered_user, log_in};
use crate::memory_table::MemoryTable;
use crate::password::{PasswordFormat, StoredPassword};
use crate::protocol::{Answer, Protocol};
use crate::request::Request;
use crate::server::OldServer;
use crate::state::State;
use crate::user::{Lookup, OldUser, TableError, UserTable};

/// The purpose of all codes: `/code/send` names none.
const PURPOSE: &str = "portal";
/// The document names no cookie; a session needs one.
const COOKIE: &str = "PORTALSESSION";

/// An old portal server: `/i/login`, `/i/logout`, `/i/register`, `/i/resetpwd`, `/code/send`. Its ids are numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct OldPortal {
    /// After how many failures in a row a login demands a code (3208, "验证码错误"); never if `None`.
    pub code_after: Option<u32>,
}

impl OldPortal {
    /// Starts a server with these users on a free port of loopback. It keeps passwords as base64.
    pub fn start(users: impl IntoIterator<Item = OldUser>) -> OldServer {
        Self::default().serve(Arc::new(MemoryTable::new(PasswordFormat::Base64, users)))
    }

    /// Starts a server with this table on a free port of loopback.
    pub fn serve(self, table: Arc<dyn UserTable>) -> OldServer {
        OldServer::start(self, table, 0)
    }

    /// As [`OldPortal::serve`], on this port of loopback.
    pub fn serve_at(self, table: Arc<dyn UserTable>, port: u16) -> OldServer {
        OldServer::start(self, table, port)
    }

    async fn login(&self, request: &Request, state: &State, lie: Lie) -> Result<Answer, TableError> {
        let name = request.text("username");
        let Some(password) = base64_field(request, "password") else { return Ok(refused("3202", "密码错误")) };
        let demands_code = self.code_after.is_some_and(|limit| state.failures(name) >= limit);
        if lie == Lie::CaptchaDemanded || demands_code && !has_right_code(request, state) {
            return Ok(refused("3208", "验证码错误"));
        }
        let login = log_in(state, Lookup::Contact(name), lie, |user| user.password.verify(&password)).await?;
        let user = match login {
            Login::Right(user) => user,
            Login::UnknownUser => return Ok(refused("3201", "没有此用户")),
            Login::WrongPassword | Login::Disabled => {
                state.count_failure(name);
                return Ok(refused("3202", "密码错误"));
            }
        };
        state.clear_failures(name);
        let cookie = format!("{COOKIE}={}; Path=/; HttpOnly", state.open_session(&user, name, ""));
        Ok(accepted(&content_of(&answered_user(*user, lie), name)).with_header("Set-Cookie", cookie))
    }
}

/// A field in base64, decoded; `None` if it is missing or not base64 of UTF-8.
fn base64_field(request: &Request, name: &str) -> Option<String> {
    let bytes = BASE64_STANDARD.decode(request.field(name)?.trim()).ok()?;
    String::from_utf8(bytes).ok()
}

fn has_right_code(request: &Request, state: &State) -> bool {
    base64_field(request, "code").is_some_and(|code| state.consume_code(PURPOSE, request.text("username"), &code))
}

/// The document's logout names the user alone: it ends the session of the cookie or, without one, all of this user.
fn log_out(request: &Request, state: &State) -> Answer {
    let name = request.text("username");
    match request.cookie(COOKIE) {
        Some(token) => state.end_sessions(|session| session.token == token),
        None => state.end_sessions(|session| session.login_name == name),
    };
    accepted(&json!({}))
}

async fn register(request: &Request, state: &State) -> Result<Answer, TableError> {
    let name = request.text("username");
    if !has_right_code(request, state) {
        return Ok(refused("3208", "验证码错误"));
    }
    let Some(password) = base64_field(request, "password") else { return Ok(refused("3202", "密码错误")) };
    if state.table.find(Lookup::Contact(name)).await?.is_some() {
        return Ok(refused("3207", "用户已注册"));
    }
    let mut user = OldUser::new("", name, StoredPassword::new(state.table.password_format(), &password));
    user.registered_at = clock::now();
    if name.contains('@') {
        user.email = name.to_owned();
    } else {
        user.phone = name.to_owned();
    }
    state.table.add(&user).await?;
    Ok(accepted(&json!({ "memo": "" })))
}

async fn reset_password(request: &Request, state: &State) -> Result<Answer, TableError> {
    if !has_right_code(request, state) {
        return Ok(refused("3208", "验证码错误"));
    }
    let Some(password) = base64_field(request, "password") else { return Ok(refused("3202", "密码错误")) };
    let Some(user) = state.table.find(Lookup::Contact(request.text("username"))).await? else {
        return Ok(refused("3201", "没有此用户"));
    };
    state.table.set_password(&user.id, &StoredPassword::new(user.password.format, &password)).await?;
    state.end_sessions(|session| session.user_id == user.id);
    Ok(accepted(&json!({ "memo": "" })))
}

fn send_code(request: &Request, state: &State) -> Answer {
    let name = request.text("username");
    if name.contains('@') {
        if name.starts_with('@') || name.ends_with('@') {
            return refused("3204", "无效的邮箱");
        }
    } else if name.len() != 11 || !name.bytes().all(|byte| byte.is_ascii_digit()) {
        return refused("3203", "无效的手机号");
    }
    state.make_code(PURPOSE, name);
    accepted(&json!({}))
}

fn content_of(user: &OldUser, passport: &str) -> Value {
    let name = if user.name.is_empty() { passport } else { &user.name };
    json!({
        "id": user.id,
        "user_name": name,
        "mobile": user.phone,
        "email": user.email,
        "user_type": 0,
        "gid": user.gid,
        "orgId": user.org_id,
        "passport": if user.phone.is_empty() { &user.email } else { &user.phone },
        "memo": user.memo,
    })
}

/// The text is sent as `status_message`, as in the samples.
fn accepted(content: &Value) -> Answer {
    Answer::accepted(json!({ "status": { "status_code": "200", "status_message": "OK" }, "content": content }))
}

fn refused(code: &str, message: &str) -> Answer {
    Answer::refused(code, json!({ "status": { "status_code": code, "status_message": message }, "content": {} }))
}

#[async_trait]
impl Protocol for OldPortal {
    fn route(&self, method: &str, path: &str) -> Option<Call> {
        match (method, path) {
            ("POST", "/i/login") => Some(Call::Login),
            ("POST", "/i/logout") => Some(Call::Logout),
            ("POST", "/i/register") => Some(Call::Register),
            ("POST", "/i/resetpwd") => Some(Call::PasswordChange),
            ("POST", "/code/send") => Some(Call::SendCode),
            _ => None,
        }
    }

    fn identifier(&self, request: &Request) -> String {
        request.text("username").to_owned()
    }

    fn supports(&self, _: &Fault) -> bool {
        true
    }

    async fn answer(&self, call: Call, request: &Request, state: &State, lie: Lie) -> Result<Answer, TableError> {
        match call {
            Call::Login => self.login(request, state, lie).await,
            Call::Logout => Ok(log_out(request, state)),
            Call::Register => register(request, state).await,
            Call::PasswordChange => reset_password(request, state).await,
            _ => Ok(send_code(request, state)),
        }
    }
}
