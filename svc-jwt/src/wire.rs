//! The request and response types, with the fields of the API document.

use std::borrow::Cow;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, HeaderValue};
use stele_core::code::Code;
use stele_core::identifier::{Email, Phone, Recipient};
use stele_core::password::RawPassword;
use stele_core::usecase::captcha::CaptchaSolution;
use stele_core::usecase::login::AuthenticatedSession;
use stele_core::user::Gender;
use stele_core::{Error, Result as CoreResult};
use stele_dialect::{FieldError, Fields, json_response, response_body};

/// Captcha ids are below 2^53, so that they are exact in JavaScript.
const CAPTCHA_ID_LIMIT: u64 = 1 << 53;

/// 登录: login.
#[derive(Debug)]
pub struct LoginRequest {
    /// 用户名.
    pub account: String,
    /// 密码.
    pub password: RawPassword,
    /// `captchaId` and `captcha`. An addition: the API document issues captchas but has no parameter for the solution.
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

/// 忘记密码: requests a password reset code.
#[derive(Debug)]
pub struct ForgetPasswordRequest {
    /// 用户名.
    pub account: String,
    /// `phone` (in the API document's table) or `email` (in its sample); `phone` takes precedence.
    pub recipient: Recipient,
}

impl TryFrom<&Fields> for ForgetPasswordRequest {
    type Error = FieldError;

    fn try_from(fields: &Fields) -> Result<Self, FieldError> {
        let account = fields.required_maybe_empty("account")?.to_owned();
        let recipient = match (fields.optional("phone")?, fields.optional("email")?) {
            (Some(phone), _) => Phone::parse(phone).map(Recipient::Phone).ok_or(invalid_parameter("phone"))?,
            (None, Some(email)) => Email::parse(email).map(Recipient::Email).ok_or(invalid_parameter("email"))?,
            (None, None) => return Err(FieldError::Missing(Cow::Borrowed("phone"))),
        };
        Ok(Self { account, recipient })
    }
}

/// 验证手机: exchanges the code for a reset token.
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

/// 更新密码: sets a new password.
#[derive(Debug)]
pub struct UpdatePasswordRequest {
    /// 用户名.
    pub account: String,
    /// 密码: the new password.
    pub password: RawPassword,
}

impl TryFrom<&Fields> for UpdatePasswordRequest {
    type Error = FieldError;

    fn try_from(fields: &Fields) -> Result<Self, FieldError> {
        let account = fields.required_maybe_empty("account")?.to_owned();
        Ok(Self { account, password: RawPassword::new(fields.required_maybe_empty("password")?.to_owned()) })
    }
}

/// Parses a captcha id: decimal digits, below 2^53.
pub fn parse_captcha_id(text: &str) -> Option<u64> {
    let is_digits = text.bytes().all(|b| b.is_ascii_digit());
    is_digits.then(|| text.parse().ok())?.filter(|&id| id < CAPTCHA_ID_LIMIT)
}

/// The error for the invalid parameter `name`.
pub fn invalid_parameter(name: &'static str) -> FieldError {
    FieldError::Invalid(Cow::Borrowed(name))
}

response_body! {
    /// A user in the login response. Missing values are empty strings.
    #[expect(non_snake_case, reason = "the names of the API document")]
    pub(crate) struct UserView<'a> = USER_VIEW "User" "用户；没有的文本为空字符串" {
        userId: String => text("用户 UUID；从旧系统导入的用户为其旧编号，原样", "0b922f14-d00b-11e7-aafd-525400bbac8e"),
        account: &'a str => text("用户名", "a"),
        realName: &'a str => text("真实姓名", "张三"),
        organizationName: &'a str => text("组织", "海航"),
        departmentName: &'a str => text("部门", "研发"),
        roleName: &'static str => one_of("角色", &["user", "admin"]),
        description: &'a str => text("说明", ""),
        avatar: &'a str => text("头像", ""),
        // A boolean in the API document, so it has no third value.
        gender: bool => boolean("true 为男，false 为女或未知"),
    }
}

impl<'a> From<&'a AuthenticatedSession> for UserView<'a> {
    fn from(session: &'a AuthenticatedSession) -> Self {
        let user = &session.user;
        Self {
            userId: session.user_id(),
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

response_body! {
    /// An issued captcha.
    #[expect(non_snake_case, reason = "the names of the API document")]
    pub(crate) struct CaptchaView<'a> = CAPTCHA_VIEW "Issued" "验证码" {
        id: u64 => non_negative_integer("编号，小于 2^53", "633809514562957"),
        URL: &'a str => text("图片的地址", "/api/v1/Auth/CAPTCHA/633809514562957"),
    }
}

response_body! {
    pub(crate) struct ErrorBody<'a> = ERROR_BODY "No" "失败" {
        code: i8 => one_of_numbers("固定为 -1", &[-1]),
        message: &'a str => text("说明", "用户名或密码错误"),
    }
}

response_body! {
    pub(crate) struct SuccessBody<'a> = SUCCESS_BODY "Done" "成功" {
        code: i8 => one_of_numbers("固定为 0", &[0]),
        message: &'a str => one_of("说明", &["注销成功", "发送短信成功", "更新密码成功"]),
    }
}

response_body! {
    pub(crate) struct CaptchaBody<'a> = CAPTCHA_BODY "Captcha" "获取验证码成功" {
        code: i8 => one_of_numbers("固定为 0", &[0]),
        message: &'static str => one_of("说明", &[CAPTCHA_ISSUED_TEXT]),
        data: CaptchaView<'a> => object("验证码", &CAPTCHA_VIEW),
    }
}

response_body! {
    pub(crate) struct LoginBody<'a> = LOGIN_BODY "Welcome" "登录成功" {
        code: i8 => one_of_numbers("固定为 0", &[0]),
        message: &'static str => one_of("说明", &[LOGGED_IN_TEXT]),
        user: UserView<'a> => object("用户", &USER_VIEW),
        // An addition to the API document, so it comes last.
        token: &'a str => pattern("JWT", r"^[\w-]+\.[\w-]+\.[\w-]+$", "eyJ0eXAiOiJKV1QifQ.e30.c2ln"),
    }
}

response_body! {
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

/// The response with a captcha's id and the URL of its image.
pub fn captcha_response(id: u64, url: &str) -> HttpResponse {
    json_response(
        StatusCode::OK,
        &CaptchaBody { code: 0, message: CAPTCHA_ISSUED_TEXT, data: CaptchaView { id, URL: url } },
    )
}

/// The login response: the user, and the token, which is also in `Authorization`.
///
/// # Errors
/// [`Error::Internal`] if the token is no valid header value.
pub fn login_response(session: &AuthenticatedSession, token: &str) -> CoreResult<HttpResponse> {
    response_with_token(token, &LoginBody { code: 0, message: LOGGED_IN_TEXT, user: session.into(), token })
}

/// The response with a reset token, also in `Authorization`.
///
/// # Errors
/// [`Error::Internal`] if the token is no valid header value.
pub fn reset_token_response(token: &str) -> CoreResult<HttpResponse> {
    response_with_token(token, &ResetTokenBody { code: 0, message: CODE_VERIFIED_TEXT, token })
}

/// Adds the token in `Authorization`, where JWT clients also look for it.
fn response_with_token(token: &str, body: &impl serde::Serialize) -> CoreResult<HttpResponse> {
    let header = HeaderValue::try_from(format!("Bearer {token}")).map_err(Error::internal)?;
    let mut response = json_response(StatusCode::OK, body);
    response.headers_mut().insert(AUTHORIZATION, header);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse_recipient(body: &str) -> Result<Recipient, FieldError> {
        let fields = Fields::from_urlencoded(body).unwrap();
        ForgetPasswordRequest::try_from(&fields).map(|request| request.recipient)
    }

    #[test]
    fn a_phone_takes_precedence_over_an_email() {
        let phone = Phone::parse("13800138000").map(Recipient::Phone).unwrap();
        assert_eq!(parse_recipient("account=a&email=a%40b.cn&phone=13800138000"), Ok(phone));
        let email = Email::parse("a@b.cn").map(Recipient::Email).unwrap();
        assert_eq!(parse_recipient("account=a&email=a%40b.cn&phone="), Ok(email));
        assert_eq!(parse_recipient("account=a"), Err(FieldError::Missing("phone".into())));
        assert_eq!(parse_recipient("account=a&phone=1&email=a%40b.cn"), Err(invalid_parameter("phone")));
        assert_eq!(parse_recipient("account=a&email=1"), Err(invalid_parameter("email")));
    }

    #[test]
    fn an_incomplete_captcha_solution_is_ignored() {
        let parse_captcha = |parameters: &str| {
            let fields = Fields::from_urlencoded(&format!("account=a&password=1{parameters}")).unwrap();
            LoginRequest::try_from(&fields).map(|login| login.captcha.map(|solution| (solution.id, solution.text)))
        };
        assert_eq!(parse_captcha("&captchaId=7&captcha=AbC34"), Ok(Some((7, "AbC34".to_owned()))));
        for incomplete in ["", "&captchaId=7", "&captcha=x", "&captchaId=&captcha=x", "&captchaId=7&captcha="] {
            assert_eq!(parse_captcha(incomplete), Ok(None), "{incomplete}");
        }
        assert_eq!(parse_captcha("&captchaId=x"), Err(invalid_parameter("captchaId")));
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
