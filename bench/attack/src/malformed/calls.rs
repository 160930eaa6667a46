//! Good calls, from which bad ones are made. What they ask for cannot be granted: the passwords, codes and tokens are
//! wrong, and so is who they are of.

use serde_json::{Value, json};
use stele_bench_kit::dialect::{
    CLOUDBOX_CHANGE_PASSWORD, CLOUDBOX_LOGIN, CLOUDBOX_LOGOUT, TMS_ADMIN_LOGIN, TMS_CHANGE_PASSWORD, TMS_LOGIN, now,
};
use stele_bench_kit::{DialectKind, Request};

use super::seeded_rng::SeededRng;
use crate::target::Target;

/// A call and its fields.
#[derive(Clone)]
pub(crate) struct Call {
    pub dialect: DialectKind,
    pub path: &'static str,
    pub fields: Vec<(&'static str, Value)>,
    /// Whether a success would open or change something.
    pub has_effect_on_success: bool,
}

/// One of all calls with a body.
pub(crate) fn random_call(chance: &mut SeededRng) -> Call {
    let phone = format!("137{:08}", chance.next_below(100_000_000));
    let digest: String = chance.random_bytes(16).iter().map(|byte| format!("{byte:02x}")).collect();
    let calls = all_calls(&phone, &digest);
    chance.choose(&calls).clone()
}

fn all_calls(phone: &str, digest: &str) -> Vec<Call> {
    use DialectKind::{Cloudbox, Jwt, Mefp, Portal, Tms};
    let call = |dialect, path, opens, fields: &[(&'static str, Value)]| Call {
        dialect,
        path,
        fields: fields.to_vec(),
        has_effect_on_success: opens,
    };
    let (user, at, code, password) =
        (("username", json!(phone)), ("timestamp", json!(now())), json!("MTIzNDU2"), json!("Z3Vlc3M="));
    let salted = [user.clone(), ("password", json!(digest)), at.clone()];
    let change = [("user_id", json!(100_001)), ("orig_password", json!(digest)), ("new_password", json!(digest)), at];
    let typed = [user.clone(), ("password", password.clone()), ("code", code)];
    let login_name = ("login_name", json!(phone));
    let captcha = ("captcha", json!("629457"));
    let account = ("account", json!(phone));
    vec![
        call(Cloudbox, CLOUDBOX_LOGIN, true, &salted),
        call(Cloudbox, CLOUDBOX_CHANGE_PASSWORD, true, &change),
        call(Cloudbox, CLOUDBOX_LOGOUT, true, std::slice::from_ref(&user)),
        call(Tms, TMS_LOGIN, true, &salted),
        call(Tms, TMS_ADMIN_LOGIN, true, &salted),
        call(Tms, TMS_CHANGE_PASSWORD, true, &change),
        call(Portal, "/i/login", true, &[user.clone(), ("password", password)]),
        call(Portal, "/i/register", true, &typed),
        call(Portal, "/i/resetpwd", true, &typed),
        // It says that all is well whatever it is told.
        call(Portal, "/i/logout", false, std::slice::from_ref(&user)),
        call(Portal, "/code/send", false, &[user]),
        call(Mefp, "/auth/login", true, &[login_name.clone(), ("password", json!("guess"))]),
        call(Mefp, "/auth/register", true, &[login_name.clone(), ("password", json!("guess-1")), captcha.clone()]),
        call(Mefp, "/auth/captcha", false, &[login_name.clone(), ("usage", json!(1))]),
        call(Mefp, "/auth/forgot", true, &[login_name.clone(), ("new_password", json!("guess-1")), captcha.clone()]),
        call(Mefp, "/auth/token", true, &[login_name.clone(), ("app_to", json!("wlfz"))]),
        call(Mefp, "/auth/check/loginname", false, std::slice::from_ref(&login_name)),
        call(Mefp, "/auth/check/captcha", true, &[login_name, captcha]),
        call(Mefp, "/auth/check/token", true, &[("token", json!(digest))]),
        call(
            Jwt,
            "/api/v1/Auth/Login",
            true,
            &[account.clone(), ("password", json!("guess")), ("captchaId", json!(7)), ("captcha", json!("abcd"))],
        ),
        call(Jwt, "/api/vi/auth/ForgetPassword", false, &[account.clone(), ("phone", json!(phone))]),
        call(Jwt, "/api/v1/Auth/validatePhone", true, &[account.clone(), ("identifyCode", json!("123456"))]),
        call(Jwt, "/api/v1/Auth/updatePassword", true, &[account, ("password", json!("guess-1"))]),
        call(Jwt, "/api/v1/Auth/CAPTCHA", false, &[]),
    ]
}

impl Call {
    /// The call as the dialect has it, with this JSON for a body: inside the envelope, where there is one.
    pub(crate) fn with_json(&self, fleet: &Target, text: &[u8]) -> Request {
        let request = if self.dialect == DialectKind::Mefp {
            use base64::Engine as _;
            let sealed = base64::engine::general_purpose::STANDARD.encode(fleet.client.app.encrypt(text));
            fleet.client.app.envelope(self.path, &sealed)
        } else {
            Request::post(self.path, "application/json", text)
        };
        self.with_client_token(fleet, request)
    }

    /// With the token that TMS's calls carry, for what lies behind it is what is to be reached.
    pub(crate) fn with_client_token(&self, fleet: &Target, request: Request) -> Request {
        if self.dialect == DialectKind::Tms {
            request.with_header("authorization", &fleet.client.tms_token)
        } else {
            request
        }
    }

    /// The fields as one JSON object.
    pub(crate) fn fields_as_json(&self) -> String {
        Value::Object(self.fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()).to_string()
    }

    /// The fields as a form, a value as its text.
    pub(crate) fn fields_as_form(&self) -> String {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let fields: Vec<_> = self.fields.iter().map(|(name, value)| format!("{name}={}", text(value))).collect();
        fields.join("&")
    }
}
