//! Well-formed calls from which malformed requests are made. None can succeed: users, passwords, codes and tokens are
//! invalid.

use serde_json::{Value, json};
use stele_bench_kit::dialect::{
    CLOUDBOX_CHANGE_PASSWORD, CLOUDBOX_LOGIN, CLOUDBOX_LOGOUT, TMS_ADMIN_LOGIN, TMS_CHANGE_PASSWORD, TMS_LOGIN,
    unix_seconds,
};
use stele_bench_kit::{DialectKind, Request};

use super::seeded_rng::SeededRng;
use crate::target::Target;

/// A call of a dialect with its fields.
#[derive(Clone)]
pub(crate) struct Call {
    pub dialect: DialectKind,
    pub path: &'static str,
    pub fields: Vec<(&'static str, Value)>,
    /// Whether a success would grant or change something, so that it counts as let through.
    pub has_effect_on_success: bool,
}

/// A random call that has a body.
pub(crate) fn random_call(rng: &mut SeededRng) -> Call {
    let phone = format!("137{:08}", rng.next_below(100_000_000));
    let digest: String = rng.random_bytes(16).iter().map(|byte| format!("{byte:02x}")).collect();
    let calls = all_calls(&phone, &digest);
    rng.choose(&calls).clone()
}

fn all_calls(phone: &str, digest: &str) -> Vec<Call> {
    use DialectKind::{Cloudbox, Jwt, Mefp, Portal, Tms};
    let new_call = |dialect, path, has_effect_on_success, fields: &[(&'static str, Value)]| Call {
        dialect,
        path,
        fields: fields.to_vec(),
        has_effect_on_success,
    };
    let (user, at, code, password) =
        (("username", json!(phone)), ("timestamp", json!(unix_seconds())), json!("MTIzNDU2"), json!("Z3Vlc3M="));
    let salted = [user.clone(), ("password", json!(digest)), at.clone()];
    let change = [("user_id", json!(100_001)), ("orig_password", json!(digest)), ("new_password", json!(digest)), at];
    let typed = [user.clone(), ("password", password.clone()), ("code", code)];
    let login_name = ("login_name", json!(phone));
    let captcha = ("captcha", json!("629457"));
    let account = ("account", json!(phone));
    vec![
        new_call(Cloudbox, CLOUDBOX_LOGIN, true, &salted),
        new_call(Cloudbox, CLOUDBOX_CHANGE_PASSWORD, true, &change),
        new_call(Cloudbox, CLOUDBOX_LOGOUT, true, std::slice::from_ref(&user)),
        new_call(Tms, TMS_LOGIN, true, &salted),
        new_call(Tms, TMS_ADMIN_LOGIN, true, &salted),
        new_call(Tms, TMS_CHANGE_PASSWORD, true, &change),
        new_call(Portal, "/i/login", true, &[user.clone(), ("password", password)]),
        new_call(Portal, "/i/register", true, &typed),
        new_call(Portal, "/i/resetpwd", true, &typed),
        // Always reports success.
        new_call(Portal, "/i/logout", false, std::slice::from_ref(&user)),
        new_call(Portal, "/code/send", false, &[user]),
        new_call(Mefp, "/auth/login", true, &[login_name.clone(), ("password", json!("guess"))]),
        new_call(Mefp, "/auth/register", true, &[login_name.clone(), ("password", json!("guess-1")), captcha.clone()]),
        new_call(Mefp, "/auth/captcha", false, &[login_name.clone(), ("usage", json!(1))]),
        new_call(
            Mefp,
            "/auth/forgot",
            true,
            &[login_name.clone(), ("new_password", json!("guess-1")), captcha.clone()],
        ),
        new_call(Mefp, "/auth/token", true, &[login_name.clone(), ("app_to", json!("wlfz"))]),
        new_call(Mefp, "/auth/check/loginname", false, std::slice::from_ref(&login_name)),
        new_call(Mefp, "/auth/check/captcha", true, &[login_name, captcha]),
        new_call(Mefp, "/auth/check/token", true, &[("token", json!(digest))]),
        new_call(
            Jwt,
            "/api/v1/Auth/Login",
            true,
            &[account.clone(), ("password", json!("guess")), ("captchaId", json!(7)), ("captcha", json!("abcd"))],
        ),
        new_call(Jwt, "/api/vi/auth/ForgetPassword", false, &[account.clone(), ("phone", json!(phone))]),
        new_call(Jwt, "/api/v1/Auth/validatePhone", true, &[account.clone(), ("identifyCode", json!("123456"))]),
        new_call(Jwt, "/api/v1/Auth/updatePassword", true, &[account, ("password", json!("guess-1"))]),
        new_call(Jwt, "/api/v1/Auth/CAPTCHA", false, &[]),
    ]
}

impl Call {
    /// A request in the dialect's format with `json` as its body; for MeFP, encrypted in the envelope.
    pub(crate) fn with_json(&self, target: &Target, json: &[u8]) -> Request {
        let request = if self.dialect == DialectKind::Mefp {
            use base64::Engine as _;
            let encrypted = base64::engine::general_purpose::STANDARD.encode(target.client.app.encrypt(json));
            target.client.app.envelope_request(self.path, &encrypted)
        } else {
            Request::post(self.path, "application/json", json)
        };
        self.with_client_token(target, request)
    }

    /// Adds the client token that TMS requires, so that the request reaches the code behind the check of the token.
    pub(crate) fn with_client_token(&self, target: &Target, request: Request) -> Request {
        if self.dialect == DialectKind::Tms {
            request.with_header("authorization", &target.client.tms_token)
        } else {
            request
        }
    }

    /// The fields as one JSON object.
    pub(crate) fn fields_as_json(&self) -> String {
        Value::Object(self.fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()).to_string()
    }

    /// The fields as a form body, without percent-encoding.
    pub(crate) fn fields_as_form(&self) -> String {
        let value_text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let fields: Vec<_> = self.fields.iter().map(|(name, value)| format!("{name}={}", value_text(value))).collect();
        fields.join("&")
    }
}
