//! An old server of the JWT document, as on .NET.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::call::Call;
use crate::fault::{Fault, Lie};
use crate::login::{Login, answered_user, log_in};
use crate::memory_table::MemoryTable;
use crate::password::{PasswordFormat, StoredPassword};
use crate::protocol::{Answer, Body, Protocol};
use crate::request::Request;
use crate::server::OldServer;
use crate::state::State;
use crate::token::TokenKey;
use crate::user::{Lookup, OldUser, TableError, UserTable};

/// The purposes of codes, and the prefix of a captcha's recipient.
const SMS: &str = "sms";
const CAPTCHA: &str = "captcha";

/// Where the answer to a login has the token: the document names the header `Authorization` for every call, and its
/// sample of a logout sends the header `token`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenPlace {
    /// `Authorization: Bearer TOKEN`.
    #[default]
    Bearer,
    /// `Authorization: TOKEN`.
    Bare,
    /// `token: TOKEN`.
    TokenHeader,
}

/// How `userId` is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UserIdForm {
    /// A string, as in the document (`[guid]`).
    #[default]
    Text,
    /// A number, as of a table whose key is an `int`.
    Number,
}

/// An old server of the JWT document.
#[derive(Clone, Debug, Default)]
pub struct OldJwt {
    /// Where a login answers the token. Requests may have it in each place.
    pub token_place: TokenPlace,
    /// The form of `userId`.
    pub user_id_form: UserIdForm,
    /// After how many failures in a row a login demands a captcha; never if `None`.
    pub captcha_after: Option<u32>,
    /// The key of the tokens' signatures.
    pub token_key: TokenKey,
}

impl OldJwt {
    /// Starts a server with these users on a free port of loopback. It keeps passwords as ASP.NET Core Identity.
    pub fn start(users: impl IntoIterator<Item = OldUser>) -> OldServer {
        Self::default().serve(Arc::new(MemoryTable::new(PasswordFormat::IdentityV3, users)))
    }

    /// Starts a server with this table on a free port of loopback.
    pub fn serve(self, table: Arc<dyn UserTable>) -> OldServer {
        OldServer::start(self, table, 0)
    }

    /// As [`OldJwt::serve`], on this port of loopback.
    pub fn serve_at(self, table: Arc<dyn UserTable>, port: u16) -> OldServer {
        OldServer::start(self, table, port)
    }

    async fn login(&self, request: &Request, state: &State, lie: Lie) -> Result<Answer, TableError> {
        let (Some(account), Some(password)) = (request.field("account"), request.field("password")) else {
            return Ok(refused("用户名或密码不能为空"));
        };
        let demands_captcha = self.captcha_after.is_some_and(|limit| state.failures(account) >= limit);
        if lie == Lie::CaptchaDemanded || demands_captcha && !has_right_captcha(request, state) {
            return Ok(refused("请输入验证码"));
        }
        let login = log_in(state, Lookup::Login(account), lie, |user| user.password.verify(password)).await?;
        let user = match login {
            Login::Right(user) => user,
            Login::WrongPassword | Login::UnknownUser => {
                state.count_failure(account);
                return Ok(refused("用户名或密码错误"));
            }
            Login::Disabled => return Ok(refused("用户已停用")),
        };
        state.clear_failures(account);
        let session = state.open_session(&user, account, "");
        let answer = Answer::accepted(json!({
            "code": 0,
            "message": "登录成功",
            "user": self.profile(&answered_user(*user, lie)),
        }));
        Ok(self.with_token(answer, &self.token_key.sign(account, &session)))
    }

    fn profile(&self, user: &OldUser) -> Value {
        let user_id = match self.user_id_form {
            UserIdForm::Text => Value::from(user.id.as_str()),
            UserIdForm::Number => user.id.parse::<u64>().expect("the id is a number").into(),
        };
        json!({
            "userId": user_id,
            "account": user.name,
            "realName": user.real_name,
            "organizationName": user.organization,
            "departmentName": user.department,
            "roleName": if user.is_admin { "admin" } else { "user" },
            "description": user.description,
            "avatar": user.avatar_url,
            "gender": user.gender == "男",
        })
    }

    fn with_token(&self, answer: Answer, token: &str) -> Answer {
        match self.token_place {
            TokenPlace::Bearer => answer.with_header("Authorization", format!("Bearer {token}")),
            TokenPlace::Bare => answer.with_header("Authorization", token.to_owned()),
            TokenPlace::TokenHeader => answer.with_header("token", token.to_owned()),
        }
    }

    /// The `jti` of the token in the request.
    fn token_id(&self, request: &Request) -> Option<String> {
        self.token_key.verify(request.token()).or_else(|| self.token_key.verify(request.header("token")))
    }

    fn log_out(&self, request: &Request, state: &State) -> Answer {
        let id = self.token_id(request).unwrap_or_default();
        match state.end_sessions(|session| session.token == id).first() {
            Some(session) => Answer::accepted(message(0, "注销成功")).of_user(&session.login_name),
            None => refused("注销失败"),
        }
    }

    /// Answers a token of one use in the header, which `updatePassword` takes.
    fn check_code(&self, request: &Request, state: &State) -> Answer {
        let account = request.text("account");
        if !state.consume_code(SMS, account, request.text("identifyCode")) {
            return refused("验证码错误");
        }
        let token = self.token_key.sign(account, &state.make_reset_token(account));
        self.with_token(Answer::accepted(message(0, "验证码正确")), &token)
    }

    async fn update_password(&self, request: &Request, state: &State) -> Result<Answer, TableError> {
        let account = request.text("account");
        let Some(user) = state.table.find(Lookup::Login(account)).await? else {
            return Ok(refused("更新密码失败"));
        };
        let id = self.token_id(request).unwrap_or_default();
        let is_own = state.session(&id).is_some_and(|session| session.user_id == user.id);
        if !is_own && !state.use_reset_token(&id, account) {
            return Ok(refused("更新密码失败"));
        }
        let Some(password) = request.field("password") else { return Ok(refused("更新密码失败")) };
        state.table.set_password(&user.id, &StoredPassword::new(user.password.format, password)).await?;
        state.end_sessions(|session| session.user_id == user.id);
        Ok(Answer::accepted(message(0, "更新密码成功")))
    }
}

fn has_right_captcha(request: &Request, state: &State) -> bool {
    let recipient = format!("{CAPTCHA}:{}", request.text("captchaId"));
    state.consume_code(CAPTCHA, &recipient, request.text("captcha"))
}

/// Takes the phone, or as the document's sample the e-mail.
async fn send_code(request: &Request, state: &State) -> Result<Answer, TableError> {
    let (account, phone, email) = (request.text("account"), request.text("phone"), request.text("email"));
    let user = state.table.find(Lookup::Login(account)).await?;
    let matches = |user: &OldUser| {
        !phone.is_empty() && user.phone == phone || !email.is_empty() && user.email.eq_ignore_ascii_case(email)
    };
    if !user.as_ref().is_some_and(matches) {
        return Ok(refused("发送短信失败"));
    }
    state.make_code(SMS, account);
    Ok(Answer::accepted(message(0, "发送短信成功")))
}

fn make_captcha(state: &State) -> Answer {
    let id = state.next_captcha();
    state.make_code(CAPTCHA, &format!("{CAPTCHA}:{id}"));
    Answer::accepted(json!({
        "code": 0,
        "message": "获取验证码成功",
        "data": { "id": id, "URL": format!("/api/v1/Auth/CAPTCHA/{id}") },
    }))
}

/// A picture of the captcha's digits.
fn captcha_picture(path: &str, state: &State) -> Answer {
    let id = path.rsplit('/').next().unwrap_or_default();
    match state.code(CAPTCHA, &format!("{CAPTCHA}:{id}")) {
        Some(digits) => {
            let picture = format!(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"90\" height=\"30\">\
                 <text x=\"5\" y=\"22\">{digits}</text></svg>"
            );
            Answer { body: Body::Svg(picture), ..Answer::accepted(Value::Null) }
        }
        None => refused("获取验证码失败"),
    }
}

fn message(code: i32, text: &str) -> Value {
    json!({ "code": code, "message": text })
}

fn refused(text: &str) -> Answer {
    Answer::refused("-1", message(-1, text))
}

#[async_trait]
impl Protocol for OldJwt {
    /// The document has both `v1` and `vi`; .NET does not distinguish letter case.
    fn route(&self, method: &str, path: &str) -> Option<Call> {
        let path = path.to_ascii_lowercase();
        let call = path.strip_prefix("/api/v1/auth/").or_else(|| path.strip_prefix("/api/vi/auth/"))?;
        match (method, call) {
            ("POST", "login") => Some(Call::Login),
            ("GET", "logout") => Some(Call::Logout),
            ("POST", "forgetpassword") => Some(Call::SendCode),
            ("POST", "validatephone") => Some(Call::CheckCode),
            ("POST", "updatepassword") => Some(Call::PasswordChange),
            ("GET", "getcaptcha") | ("POST", "captcha") => Some(Call::Captcha),
            ("GET", call) if call.starts_with("captcha/") => Some(Call::Captcha),
            _ => None,
        }
    }

    fn identifier(&self, request: &Request) -> String {
        request.text("account").to_owned()
    }

    fn supports(&self, _: &Fault) -> bool {
        true
    }

    async fn answer(&self, call: Call, request: &Request, state: &State, lie: Lie) -> Result<Answer, TableError> {
        match call {
            Call::Login => self.login(request, state, lie).await,
            Call::Logout => Ok(self.log_out(request, state)),
            Call::SendCode => send_code(request, state).await,
            Call::CheckCode => Ok(self.check_code(request, state)),
            Call::PasswordChange => self.update_password(request, state).await,
            _ if request.path.to_ascii_lowercase().contains("/captcha/") => Ok(captcha_picture(&request.path, state)),
            _ => Ok(make_captcha(state)),
        }
    }
}
