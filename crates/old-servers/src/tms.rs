//! An old TMS server.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use time::format_description::BorrowedFormatItem;
use time::macros::{format_description, offset};

use crate::call::Call;
use crate::cloudbox::{refused, rule_violated};
use crate::fault::Lie;
use crate::login::{Login, answered_user, log_in};
use crate::memory_table::MemoryTable;
use crate::password::{PasswordFormat, StoredPassword};
use crate::protocol::{Answer, Protocol};
use crate::request::Request;
use crate::salted_proof::{ProofRules, is_right};
use crate::server::OldServer;
use crate::state::State;
use crate::user::{Lookup, OldUser, TableError, UserTable};

/// `2018-03-20T14:00:02.412827+08:00`, at +08:00.
const REGISTER_TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]+08:00");

/// How the server reads "password是已经md5加密过的密码".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PasswordReading {
    /// `md5(md5(password) + timestamp)`, as cloudbox.
    #[default]
    Salted,
    /// `md5(password)`.
    Digest,
}

/// An old TMS server: `authsalt`, `adminauthsalt`, `pwdreset`. It keeps `md5(password)`, and its ids are numbers.
#[derive(Clone, Debug, Default)]
pub struct OldTms {
    /// How the password is read.
    pub reading: PasswordReading,
    /// Freshness and replay of salted proofs.
    pub rules: ProofRules,
    /// "该方法需携带token": the tokens that clients may carry, apart from those of sessions. If empty, none is demanded.
    pub client_tokens: Vec<String>,
}

impl OldTms {
    /// Starts a server with these users on a free port of loopback, which reads passwords as salted.
    pub fn start(users: impl IntoIterator<Item = OldUser>) -> OldServer {
        Self::default().serve(Arc::new(MemoryTable::new(PasswordFormat::Md5, users)))
    }

    /// Starts a server with this table on a free port of loopback.
    pub fn serve(self, table: Arc<dyn UserTable>) -> OldServer {
        OldServer::start(self, table, 0)
    }

    /// As [`OldTms::serve`], on this port of loopback.
    pub fn serve_at(self, table: Arc<dyn UserTable>, port: u16) -> OldServer {
        OldServer::start(self, table, port)
    }

    fn is_right(&self, user: &OldUser, proof: &str, timestamp: &str) -> bool {
        match self.reading {
            PasswordReading::Salted => is_right(user, proof, timestamp),
            PasswordReading::Digest => user.password.digest().is_some_and(|digest| digest.eq_ignore_ascii_case(proof)),
        }
    }

    fn carries_token(&self, request: &Request, state: &State) -> bool {
        let token = request.token();
        self.client_tokens.is_empty()
            || self.client_tokens.iter().any(|known| known == token)
            || state.session(token).is_some()
    }

    async fn login(&self, call: Call, request: &Request, state: &State, lie: Lie) -> Result<Answer, TableError> {
        let (Some(name), Some(proof), Some(timestamp)) =
            (request.field("username"), request.field("password"), request.field("timestamp"))
        else {
            return Ok(refused("1001", "参数错误"));
        };
        let login = log_in(state, Lookup::Login(name), lie, |user| self.is_right(user, proof, timestamp)).await?;
        let user = match login {
            Login::Right(user) if call == Call::AdminLogin && !user.is_admin => return Ok(wrong_password()),
            Login::Right(user) => user,
            Login::WrongPassword | Login::UnknownUser => return Ok(wrong_password()),
            Login::Disabled => return Ok(refused("1006", "用户已停用")),
        };
        if self.reading == PasswordReading::Salted
            && let Err(violation) = self.rules.check(state, &user, proof, timestamp)
        {
            return Ok(rule_violated(violation));
        }
        let token = state.open_session(&user, name, "");
        Ok(whole_user(&answered_user(*user, lie), &token))
    }

    async fn reset_password(&self, request: &Request, state: &State) -> Result<Answer, TableError> {
        let (Some(id), Some(proof), Some(new)) =
            (request.field("user_id"), request.field("orig_password"), request.field("new_password"))
        else {
            return Ok(refused("1001", "参数错误"));
        };
        let timestamp = request.text("timestamp");
        let login = log_in(state, Lookup::Id(id), Lie::None, |user| self.is_right(user, proof, timestamp)).await?;
        let Login::Right(user) = login else { return Ok(wrong_password()) };
        state.table.set_password(&user.id, &StoredPassword::from_digest(new)).await?;
        state.end_sessions(|session| session.user_id == user.id);
        let token = state.open_session(&user, &user.name, "");
        Ok(whole_user(&user, &token))
    }
}

fn whole_user(user: &OldUser, token: &str) -> Answer {
    let registered_at = user.registered_at.to_offset(offset!(+8));
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
            "user_real_name": user.real_name,
            "user_gender": user.gender,
            "user_nickname": user.nickname,
            "user_alias_id": user.alias_id,
            "role": if user.is_admin { "1" } else { "2" },
            "group": if user.is_admin { "admin" } else { "user" },
        },
    }))
}

fn wrong_password() -> Answer {
    refused("1002", "用户名或密码错误")
}

#[async_trait]
impl Protocol for OldTms {
    fn route(&self, method: &str, path: &str) -> Option<Call> {
        match (method, path.strip_prefix("/container/api/v1/cloudbox/tms/auth/")?) {
            ("POST", "authsalt") => Some(Call::Login),
            ("POST", "adminauthsalt") => Some(Call::AdminLogin),
            ("POST", "pwdreset") => Some(Call::PasswordChange),
            _ => None,
        }
    }

    fn identifier(&self, request: &Request) -> String {
        request.field("username").or(request.field("user_id")).unwrap_or_default().to_owned()
    }

    async fn answer(&self, call: Call, request: &Request, state: &State, lie: Lie) -> Result<Answer, TableError> {
        if !self.carries_token(request, state) {
            return Ok(refused("1005", "token无效"));
        }
        match call {
            Call::PasswordChange => self.reset_password(request, state).await,
            _ => self.login(call, request, state, lie).await,
        }
    }
}
