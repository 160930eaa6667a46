//! What clients send and what they are answered, field by field as the document has it. No logic.

use std::borrow::Cow;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, HeaderValue};
use stele_core::code::Code;
use stele_core::identifier::{Email, Phone, Recipient};
use stele_core::password::RawPassword;
use stele_core::usecase::captcha::CaptchaSolution;
use stele_core::user::{Gender, User};
use stele_core::{Error, Result as CoreResult};
use stele_dialect::{FieldError, Fields, json_response, reply};

/// Captcha ids are below 2^53, so that clients written in JavaScript keep them whole.
const CAPTCHA_ID_LIMIT: u64 = 1 << 53;

/// 登录.
#[derive(Debug)]
pub struct LoginRequest {
    /// 用户名.
    pub account: String,
    /// 密码.
    pub password: RawPassword,
    /// `captchaId` and `captcha`: ours, for the document issues captchas but never says where they go.
    pub captcha: Option<CaptchaSolution>,
}

impl TryFrom<&Fields> for LoginRequest {
    type Error = FieldError;

    fn try_from(fields: &Fields) -> Result<Self, FieldError> {
        let account = fields.required_maybe_empty("account")?.to_owned();
        let password = RawPassword::new(fields.required_maybe_empty("password")?.to_owned());
        let id = fields
            .optional("captchaId")?
            .map(|text| parse_captcha_id(text).ok_or(invalid_parameter("captchaId")))
            .transpose()?;
        let text = fields.optional("captcha")?;
        let captcha = id.zip(text).map(|(id, text)| CaptchaSolution { id, text: text.to_owned() });
        Ok(Self { account, password, captcha })
    }
}

/// 忘记密码.
#[derive(Debug)]
pub struct ForgetPasswordRequest {
    /// 用户名.
    pub account: String,
    /// `phone`, as the table has it, or `email`, as the sample has it; `phone` if both are there.
    pub recipient: Recipient,
}

impl TryFrom<&Fields> for ForgetPasswordRequest {
    type Error = FieldError;

    fn try_from(fields: &Fields) -> Result<Self, FieldError> {
        let account = fields.required_maybe_empty("account")?.to_owned();
        let to = match (fields.optional("phone")?, fields.optional("email")?) {
            (Some(phone), _) => Phone::parse(phone).map(Recipient::Phone).ok_or(invalid_parameter("phone"))?,
            (None, Some(email)) => Email::parse(email).map(Recipient::Email).ok_or(invalid_parameter("email"))?,
            (None, None) => return Err(FieldError::Missing(Cow::Borrowed("phone"))),
        };
        Ok(Self { account, recipient: to })
    }
}

/// 验证手机.
#[derive(Debug)]
pub struct ValidatePhoneRequest {
    /// 用户名.
    pub account: String,
    /// 验证码.
    pub code: Code,
}

impl TryFrom<&Fields> for ValidatePhoneRequest {
    type Error = FieldError;

    fn try_from(fields: &Fields) -> Result<Self, FieldError> {
        let account = fields.required_maybe_empty("account")?.to_owned();
        Ok(Self { account, code: Code::from_user_input(fields.required_maybe_empty("identifyCode")?) })
    }
}

/// 更新密码.
#[derive(Debug)]
pub struct UpdatePasswordRequest {
    /// 用户名.
    pub account: String,
    /// 密码: the new one.
    pub password: RawPassword,
}

impl TryFrom<&Fields> for UpdatePasswordRequest {
    type Error = FieldError;

    fn try_from(fields: &Fields) -> Result<Self, FieldError> {
        let account = fields.required_maybe_empty("account")?.to_owned();
        Ok(Self { account, password: RawPassword::new(fields.required_maybe_empty("password")?.to_owned()) })
    }
}

/// Reads a captcha's id: decimal digits, below 2^53.
pub fn parse_captcha_id(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok())?.filter(|&id| id < CAPTCHA_ID_LIMIT)
}

/// What is wrong with a parameter that is there but cannot be used.
pub fn invalid_parameter(name: &'static str) -> FieldError {
    FieldError::Invalid(Cow::Borrowed(name))
}

reply! {
    /// A user, as the login answers one. Absent texts are empty.
    #[expect(non_snake_case, reason = "as the document writes them")]
    pub(crate) struct UserView<'a> = USER_VIEW "User" "用户；没有的文本为空字符串" {
        userId: String => pattern(
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
        // The document knows no third value.
        gender: bool => boolean("true 为男，false 为女或未知"),
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
    #[expect(non_snake_case, reason = "as the document writes it")]
    pub(crate) struct CaptchaView<'a> = CAPTCHA_VIEW "Issued" "验证码" {
        id: u64 => non_negative_integer("编号，小于 2^53", "633809514562957"),
        URL: &'a str => text("图片的地址", "/api/v1/Auth/CAPTCHA/633809514562957"),
    }
}

reply! {
    pub(crate) struct ErrorBody<'a> = ERROR_BODY "No" "失败" {
        code: i8 => one_of_numbers("固定为 -1", &[-1]),
        message: &'a str => text("说明", "用户名或密码错误"),
    }
}

reply! {
    pub(crate) struct SuccessBody<'a> = SUCCESS_BODY "Done" "成功" {
        code: i8 => one_of_numbers("固定为 0", &[0]),
        message: &'a str => one_of("说明", &["注销成功", "发送短信成功", "更新密码成功"]),
    }
}

reply! {
    pub(crate) struct CaptchaBody<'a> = CAPTCHA_BODY "Captcha" "获取验证码成功" {
        code: i8 => one_of_numbers("固定为 0", &[0]),
        message: &'static str => one_of("说明", &[CAPTCHA_ISSUED_TEXT]),
        data: CaptchaView<'a> => object("验证码", &CAPTCHA_VIEW),
    }
}

reply! {
    pub(crate) struct LoginBody<'a> = LOGIN_BODY "Welcome" "登录成功" {
        code: i8 => one_of_numbers("固定为 0", &[0]),
        message: &'static str => one_of("说明", &[LOGGED_IN_TEXT]),
        user: UserView<'a> => object("用户", &USER_VIEW),
        // Ours, and last.
        token: &'a str => pattern("JWT", r"^[\w-]+\.[\w-]+\.[\w-]+$", "eyJ0eXAiOiJKV1QifQ.e30.c2ln"),
    }
}

reply! {
    pub(crate) struct ResetTokenBody<'a> = RESET_TOKEN_BODY "Granted" "验证码正确" {
        code: i8 => one_of_numbers("固定为 0", &[0]),
        message: &'static str => one_of("说明", &[CODE_VERIFIED_TEXT]),
        token: &'a str => pattern("重置凭证：10 分钟内一次有效", "^[0-9a-f]{32}$", "5924513516a5993435ec4a240610304a"),
    }
}

const CAPTCHA_ISSUED_TEXT: &str = "获取验证码成功";
const LOGGED_IN_TEXT: &str = "登录成功";
const CODE_VERIFIED_TEXT: &str = "验证码正确";

/// `{"code":-1,"message":…}`.
pub fn error_response(status: StatusCode, message: &str) -> HttpResponse {
    json_response(status, &ErrorBody { code: -1, message })
}

/// `{"code":0,"message":…}`.
pub fn success_response(message: &str) -> HttpResponse {
    json_response(StatusCode::OK, &SuccessBody { code: 0, message })
}

/// A captcha's id, and where its picture is.
pub fn captcha_response(id: u64, url: &str) -> HttpResponse {
    json_response(
        StatusCode::OK,
        &CaptchaBody { code: 0, message: CAPTCHA_ISSUED_TEXT, data: CaptchaView { id, URL: url } },
    )
}

/// A login token and its user.
///
/// # Errors
/// A fault of ours, if the token cannot be in a header.
pub fn login_response(user: &User, token: &str) -> CoreResult<HttpResponse> {
    response_with_token(token, &LoginBody { code: 0, message: LOGGED_IN_TEXT, user: user.into(), token })
}

/// A reset token.
///
/// # Errors
/// A fault of ours, if the token cannot be in a header.
pub fn reset_token_response(token: &str) -> CoreResult<HttpResponse> {
    response_with_token(token, &ResetTokenBody { code: 0, message: CODE_VERIFIED_TEXT, token })
}

/// An answer with a token, which is where JWT clients look for it as well: in `Authorization`.
fn response_with_token(token: &str, answer: &impl serde::Serialize) -> CoreResult<HttpResponse> {
    let header = HeaderValue::try_from(format!("Bearer {token}")).map_err(Error::internal)?;
    let mut response = json_response(StatusCode::OK, answer);
    response.headers_mut().insert(AUTHORIZATION, header);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed_recipient(body: &str) -> Result<Recipient, FieldError> {
        let fields = Fields::from_urlencoded(body).unwrap();
        ForgetPasswordRequest::try_from(&fields).map(|request| request.recipient)
    }

    #[test]
    fn a_phone_takes_precedence_over_an_email() {
        let phone = Phone::parse("13800138000").map(Recipient::Phone).unwrap();
        assert_eq!(parsed_recipient("account=a&email=a%40b.cn&phone=13800138000"), Ok(phone));
        let email = Email::parse("a@b.cn").map(Recipient::Email).unwrap();
        assert_eq!(parsed_recipient("account=a&email=a%40b.cn&phone="), Ok(email));
        assert_eq!(parsed_recipient("account=a"), Err(FieldError::Missing("phone".into())));
        assert_eq!(parsed_recipient("account=a&phone=1&email=a%40b.cn"), Err(invalid_parameter("phone")));
        assert_eq!(parsed_recipient("account=a&email=1"), Err(invalid_parameter("email")));
    }

    #[test]
    fn an_incomplete_captcha_solution_is_ignored() {
        let captcha = |rest: &str| {
            let fields = Fields::from_urlencoded(&format!("account=a&password=1{rest}")).unwrap();
            LoginRequest::try_from(&fields).map(|login| login.captcha.map(|solution| (solution.id, solution.text)))
        };
        assert_eq!(captcha("&captchaId=7&captcha=AbC34"), Ok(Some((7, "AbC34".to_owned()))));
        for none in ["", "&captchaId=7", "&captcha=x", "&captchaId=&captcha=x", "&captchaId=7&captcha="] {
            assert_eq!(captcha(none), Ok(None), "{none}");
        }
        assert_eq!(captcha("&captchaId=x"), Err(invalid_parameter("captchaId")));
    }

    proptest! {
        #[test]
        fn captcha_ids_are_integers_below_2_to_the_53(text in "\\PC{0,24}", id: u64) {
            prop_assert_eq!(parse_captcha_id(&id.to_string()), Some(id).filter(|&id| id < CAPTCHA_ID_LIMIT));
            if let Some(id) = parse_captcha_id(&text) {
                prop_assert_eq!(text.trim_start_matches('0').to_owned(), Some(id).filter(|&id| id > 0).map_or(String::new(), |id| id.to_string()));
            }
        }
    }
}
