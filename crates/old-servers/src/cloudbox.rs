//! An old cloudbox server.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use time::UtcOffset;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::call::Call;
use crate::fault::Lie;
use crate::login::{Login, answered_user, log_in};
use crate::memory_table::MemoryTable;
use crate::password::{PasswordFormat, StoredPassword};
use crate::protocol::{Answer, Protocol};
use crate::request::Request;
use crate::salted_proof::{ProofRules, RuleViolation, is_right};
use crate::server::OldServer;
use crate::state::State;
use crate::user::{Lookup, OldUser, TableError, UserTable};

/// `2017-11-23T04:59:11.544126Z`, in UTC.
const REGISTER_TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

/// An old cloudbox server: `authsalt`, `pwdreset` and `logout`. It keeps `md5(password)`.
#[derive(Clone, Copy, Debug, Default)]
pub struct OldCloudbox {
    /// Freshness and replay of salted proofs.
    pub rules: ProofRules,
}

impl OldCloudbox {
    /// Starts a server with these users on a free port of loopback.
    pub fn start(users: impl IntoIterator<Item = OldUser>) -> OldServer {
        Self::default().serve(Arc::new(MemoryTable::new(PasswordFormat::Md5, users)))
    }

    /// Starts a server with this table on a free port of loopback.
    pub fn serve(self, table: Arc<dyn UserTable>) -> OldServer {
        OldServer::start(self, table, 0)
    }

    /// As [`OldCloudbox::serve`], on this port of loopback.
    pub fn serve_at(self, table: Arc<dyn UserTable>, port: u16) -> OldServer {
        OldServer::start(self, table, port)
    }

    async fn login(&self, request: &Request, state: &State, lie: Lie) -> Result<Answer, TableError> {
        let (Some(name), Some(proof), Some(timestamp)) =
            (request.field("username"), request.field("password"), request.field("timestamp"))
        else {
            return Ok(bad_parameter());
        };
        let login = log_in(state, Lookup::Login(name), lie, |user| is_right(user, proof, timestamp)).await?;
        let user = match login {
            Login::Right(user) => user,
            Login::WrongPassword | Login::UnknownUser => return Ok(wrong_password()),
            Login::Disabled => return Ok(refused("1006", "用户已停用")),
        };
        if let Err(violation) = self.rules.check(state, &user, proof, timestamp) {
            return Ok(rule_violated(violation));
        }
        let token = state.open_session(&user, name, "");
        Ok(whole_user(&answered_user(*user, lie), &token))
    }

    /// Needs no token, but the old password.
    async fn reset_password(&self, request: &Request, state: &State) -> Result<Answer, TableError> {
        let (Some(id), Some(proof), Some(new), Some(timestamp)) = (
            request.field("user_id"),
            request.field("orig_password"),
            request.field("new_password"),
            request.field("timestamp"),
        ) else {
            return Ok(bad_parameter());
        };
        let user = match log_in(state, Lookup::Id(id), Lie::None, |user| is_right(user, proof, timestamp)).await? {
            Login::Right(user) => user,
            Login::WrongPassword | Login::UnknownUser | Login::Disabled => return Ok(wrong_password()),
        };
        if let Err(violation) = self.rules.check(state, &user, proof, timestamp) {
            return Ok(rule_violated(violation));
        }
        state.table.set_password(&user.id, &StoredPassword::from_digest(new)).await?;
        state.end_sessions(|session| session.user_id == user.id);
        let token = state.open_session(&user, &user.name, "");
        Ok(whole_user(&user, &token))
    }
}

fn log_out(request: &Request, state: &State) -> Answer {
    let ended = state.end_sessions(|session| session.token == request.token());
    match ended.first() {
        Some(session) => Answer::accepted(json!({ "msg": "退出成功" })).of_user(&session.login_name),
        None => refused("1005", "token无效"),
    }
}

fn whole_user(user: &OldUser, token: &str) -> Answer {
    let registered_at = user.registered_at.to_offset(UtcOffset::UTC);
    Answer::accepted(json!({
        "message": "Succ",
        "code": "0000",
        "data": {
            "user_id": user.id,
            "user_name": user.name,
            "register_time": registered_at.format(REGISTER_TIME).unwrap(),
            "status": "",
            "avatar_url": user.avatar_url,
            "user_phone": user.phone,
            "user_email": user.email,
            "user_token": token,
            "role": if user.is_admin { "admin" } else { "user" },
            "user_real_name": user.real_name,
            "user_gender": user.gender,
            "user_nickname": user.nickname,
            "user_alias_id": user.alias_id,
            "enterprise": user.enterprise,
            "group": user.group,
        },
    }))
}

/// The document has no sample of an error; the codes are those that Stele answers.
pub(crate) fn refused(code: &str, message: &str) -> Answer {
    Answer::refused(code, json!({ "message": message, "code": code, "data": Value::Object(serde_json::Map::new()) }))
}

fn bad_parameter() -> Answer {
    refused("1001", "参数错误")
}

fn wrong_password() -> Answer {
    refused("1002", "用户名或密码错误")
}

pub(crate) fn rule_violated(violation: RuleViolation) -> Answer {
    match violation {
        RuleViolation::Stale => refused("1003", "时间戳已过期"),
        RuleViolation::Replayed => refused("1004", "重复的请求"),
    }
}

#[async_trait]
impl Protocol for OldCloudbox {
    fn route(&self, method: &str, path: &str) -> Option<Call> {
        match (method, path) {
            ("POST", "/api/v1/cloudbox/smarttms/auth/authsalt") => Some(Call::Login),
            ("POST", "/api/v1/cloudbox/auth/pwdreset") => Some(Call::PasswordChange),
            ("POST", "/api/v1/cloudbox/smarttms/logout") => Some(Call::Logout),
            _ => None,
        }
    }

    fn identifier(&self, request: &Request) -> String {
        request.field("username").or(request.field("user_id")).unwrap_or_default().to_owned()
    }

    async fn answer(&self, call: Call, request: &Request, state: &State, lie: Lie) -> Result<Answer, TableError> {
        match call {
            Call::Login => self.login(request, state, lie).await,
            Call::PasswordChange => self.reset_password(request, state).await,
            _ => Ok(log_out(request, state)),
        }
    }
}
