//! What clients send and what they are answered, field by field as the API document has it (`WIRE.md`). No logic.

use std::borrow::Cow;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, HeaderValue};
use stele_core::code::Code;
use stele_core::identifier::{Email, Phone, Recipient};
use stele_core::password::RawPassword;
use stele_core::usecase::captcha::Solution;
use stele_core::user::{Gender, User};
use stele_core::{Error, Result as CoreResult};
use stele_dialect::{Fault, Fields, json, reply};

/// Captcha ids are below 2^53, so that clients written in JavaScript keep them whole.
const IDS: u64 = 1 << 53;

/// 登录.
#[derive(Debug)]
pub struct Login {
    /// 用户名.
    pub account: String,
    /// 密码.
    pub password: RawPassword,
    /// `captchaId` and `captcha`: ours, for the API document does not say where captchas go (`docs/PROTOCOLS.md`, JWT).
    pub captcha: Option<Solution>,
}

impl TryFrom<&Fields> for Login {
    type Error = Fault;

    fn try_from(fields: &Fields) -> Result<Self, Fault> {
        let account = fields.present("account")?.to_owned();
        let password = RawPassword::new(fields.present("password")?.to_owned());
        let id = fields.optional("captchaId")?.map(|text| captcha_id(text).ok_or(invalid("captchaId"))).transpose()?;
        let text = fields.optional("captcha")?;
        let captcha = id.zip(text).map(|(id, text)| Solution { id, text: text.to_owned() });
        Ok(Self { account, password, captcha })
    }
}

/// 忘记密码.
#[derive(Debug)]
pub struct ForgetPassword {
    /// 用户名.
    pub account: String,
    /// `phone`, as the table has it, or `email`, as the sample has it; `phone` if both are there.
    pub to: Recipient,
}

impl TryFrom<&Fields> for ForgetPassword {
    type Error = Fault;

    fn try_from(fields: &Fields) -> Result<Self, Fault> {
        let account = fields.present("account")?.to_owned();
        let to = match (fields.optional("phone")?, fields.optional("email")?) {
            (Some(phone), _) => Phone::parse(phone).map(Recipient::Phone).ok_or(invalid("phone"))?,
            (None, Some(email)) => Email::parse(email).map(Recipient::Email).ok_or(invalid("email"))?,
            (None, None) => return Err(Fault::Missing(Cow::Borrowed("phone"))),
        };
        Ok(Self { account, to })
    }
}

/// 验证手机.
#[derive(Debug)]
pub struct ValidatePhone {
    /// 用户名.
    pub account: String,
    /// 验证码.
    pub code: Code,
}

impl TryFrom<&Fields> for ValidatePhone {
    type Error = Fault;

    fn try_from(fields: &Fields) -> Result<Self, Fault> {
        let account = fields.present("account")?.to_owned();
        Ok(Self { account, code: Code::typed(fields.present("identifyCode")?) })
    }
}

/// 更新密码.
#[derive(Debug)]
pub struct UpdatePassword {
    /// 用户名.
    pub account: String,
    /// 密码: the new one.
    pub password: RawPassword,
}

impl TryFrom<&Fields> for UpdatePassword {
    type Error = Fault;

    fn try_from(fields: &Fields) -> Result<Self, Fault> {
        let account = fields.present("account")?.to_owned();
        Ok(Self { account, password: RawPassword::new(fields.present("password")?.to_owned()) })
    }
}

/// Reads a captcha's id: decimal digits, below 2^53.
pub fn captcha_id(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok())?.filter(|&id| id < IDS)
}

/// What is wrong with a parameter that is there but cannot be used.
pub fn invalid(name: &'static str) -> Fault {
    Fault::Invalid(Cow::Borrowed(name))
}

reply! {
    /// A user, as the login answers one. Absent texts are empty.
    #[expect(non_snake_case, reason = "as the API document writes them")]
    pub(crate) struct UserView<'a> = USER "User" "用户；没有的文本为空字符串" {
        userId: String => like(
            "用户 UUID",
            "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
            "0b922f14-d00b-11e7-aafd-525400bbac8e"
        ),
        account: &'a str => text("用户名", "a"),
        realName: &'a str => text("真实姓名", "张三"),
        organizationName: &'a str => text("组织", "海航"),
        departmentName: &'a str => text("部门", "研发"),
        roleName: &'static str => one_of("角色", &["user", "admin"]),
        description: &'a str => text("说明", ""),
        avatar: &'a str => text("头像", ""),
        // The API document knows no third value.
        gender: bool => truth("true 为男，false 为女或未知"),
    }
}

impl<'a> From<&'a User> for UserView<'a> {
    fn from(user: &'a User) -> Self {
        Self {
            userId: user.id.to_string(),
            account: user.display_name(),
            realName: &user.profile.real_name,
            organizationName: &user.profile.organization,
            departmentName: &user.profile.department,
            roleName: user.role.as_str(),
            description: &user.profile.description,
            avatar: &user.profile.avatar_url,
            gender: user.profile.gender == Some(Gender::Male),
        }
    }
}

reply! {
    /// A captcha, as it is announced.
    #[expect(non_snake_case, reason = "as the API document writes it")]
    pub(crate) struct CaptchaView<'a> = ISSUED "Issued" "验证码" {
        id: u64 => count("编号，小于 2^53", "633809514562957"),
        URL: &'a str => text("图片的地址", "/api/v1/Auth/CAPTCHA/633809514562957"),
    }
}

reply! {
    pub(crate) struct No<'a> = NO "No" "失败" {
        code: i8 => number("固定为 -1", &[-1]),
        message: &'a str => text("说明", "用户名或密码错误"),
    }
}

reply! {
    pub(crate) struct Done<'a> = DONE "Done" "成功" {
        code: i8 => number("固定为 0", &[0]),
        message: &'a str => one_of("说明", &["注销成功", "发送短信成功", "更新密码成功"]),
    }
}

reply! {
    pub(crate) struct Captcha<'a> = CAPTCHA "Captcha" "获取验证码成功" {
        code: i8 => number("固定为 0", &[0]),
        message: &'static str => one_of("说明", &[CAPTCHA_MADE]),
        data: CaptchaView<'a> => object("验证码", &ISSUED),
    }
}

reply! {
    pub(crate) struct Welcome<'a> = WELCOME "Welcome" "登录成功" {
        code: i8 => number("固定为 0", &[0]),
        message: &'static str => one_of("说明", &[LOGGED_IN]),
        user: UserView<'a> => object("用户", &USER),
        // Ours, and last.
        token: &'a str => like("JWT", r"^[\w-]+\.[\w-]+\.[\w-]+$", "eyJ0eXAiOiJKV1QifQ.e30.c2ln"),
    }
}

reply! {
    pub(crate) struct Granted<'a> = GRANTED "Granted" "验证码正确" {
        code: i8 => number("固定为 0", &[0]),
        message: &'static str => one_of("说明", &[CODE_RIGHT]),
        token: &'a str => like("重置凭证：10 分钟内一次有效", "^[0-9a-f]{32}$", "5924513516a5993435ec4a240610304a"),
    }
}

const CAPTCHA_MADE: &str = "获取验证码成功";
const LOGGED_IN: &str = "登录成功";
const CODE_RIGHT: &str = "验证码正确";

/// `{"code":-1,"message":…}`.
pub fn failure(status: StatusCode, message: &str) -> HttpResponse {
    json(status, &No { code: -1, message })
}

/// `{"code":0,"message":…}`.
pub fn success(message: &str) -> HttpResponse {
    json(StatusCode::OK, &Done { code: 0, message })
}

/// A captcha's id, and where its picture is.
pub fn captcha(id: u64, url: &str) -> HttpResponse {
    json(StatusCode::OK, &Captcha { code: 0, message: CAPTCHA_MADE, data: CaptchaView { id, URL: url } })
}

/// A login token and its user.
///
/// # Errors
/// A fault of ours, if the token cannot be in a header.
pub fn logged_in(user: &User, token: &str) -> CoreResult<HttpResponse> {
    bearing(token, &Welcome { code: 0, message: LOGGED_IN, user: user.into(), token })
}

/// A reset token.
///
/// # Errors
/// A fault of ours, if the token cannot be in a header.
pub fn granted(token: &str) -> CoreResult<HttpResponse> {
    bearing(token, &Granted { code: 0, message: CODE_RIGHT, token })
}

/// An answer with a token, which is where JWT clients look for it as well: in `Authorization`.
fn bearing(token: &str, answer: &impl serde::Serialize) -> CoreResult<HttpResponse> {
    let header = HeaderValue::try_from(format!("Bearer {token}")).map_err(Error::internal)?;
    let mut response = json(StatusCode::OK, answer);
    response.headers_mut().insert(AUTHORIZATION, header);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn forget(body: &str) -> Result<Recipient, Fault> {
        let fields = Fields::from_urlencoded(body).unwrap();
        ForgetPassword::try_from(&fields).map(|request| request.to)
    }

    #[test]
    fn a_phone_goes_before_an_address() {
        let phone = Phone::parse("13800138000").map(Recipient::Phone).unwrap();
        assert_eq!(forget("account=a&email=a%40b.cn&phone=13800138000"), Ok(phone));
        let email = Email::parse("a@b.cn").map(Recipient::Email).unwrap();
        assert_eq!(forget("account=a&email=a%40b.cn&phone="), Ok(email));
        assert_eq!(forget("account=a"), Err(Fault::Missing("phone".into())));
        assert_eq!(forget("account=a&phone=1&email=a%40b.cn"), Err(invalid("phone")));
        assert_eq!(forget("account=a&email=1"), Err(invalid("email")));
    }

    #[test]
    fn half_a_captcha_is_none() {
        let captcha = |rest: &str| {
            let fields = Fields::from_urlencoded(&format!("account=a&password=1{rest}")).unwrap();
            Login::try_from(&fields).map(|login| login.captcha.map(|solution| (solution.id, solution.text)))
        };
        assert_eq!(captcha("&captchaId=7&captcha=AbC34"), Ok(Some((7, "AbC34".to_owned()))));
        for none in ["", "&captchaId=7", "&captcha=x", "&captchaId=&captcha=x", "&captchaId=7&captcha="] {
            assert_eq!(captcha(none), Ok(None), "{none}");
        }
        assert_eq!(captcha("&captchaId=x"), Err(invalid("captchaId")));
    }

    proptest! {
        #[test]
        fn captcha_ids_are_whole_numbers_below_2_to_the_53(text in "\\PC{0,24}", id: u64) {
            prop_assert_eq!(captcha_id(&id.to_string()), Some(id).filter(|&id| id < IDS));
            if let Some(id) = captcha_id(&text) {
                prop_assert_eq!(text.trim_start_matches('0').to_owned(), Some(id).filter(|&id| id > 0).map_or(String::new(), |id| id.to_string()));
            }
        }
    }
}
