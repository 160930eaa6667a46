//! The request and response types: the outer request, and the encrypted requests and responses, with the quirks of the
//! API document (`docs/PROTOCOLS.md`, MeFP).

use std::borrow::Cow;

use serde::Serialize;
use stele_core::Error;
use stele_core::code::{Code, CodePurpose};
use stele_core::identifier::{Phone, Recipient};
use stele_core::password::RawPassword;
use stele_core::session::Token;
use stele_core::time::Offset;
use stele_core::usecase::send_code::RecipientFilter;
use stele_core::user::User;
use stele_dialect::{CallError, FieldError, Fields, response_body};

use crate::dialect::Mefp;

/// The outer request, which is not encrypted.
pub(crate) struct OuterRequest<'a> {
    pub(crate) encrypt: &'a str,
    pub(crate) app_from: &'a str,
}

impl<'a> TryFrom<&'a Fields> for OuterRequest<'a> {
    type Error = FieldError;

    fn try_from(fields: &'a Fields) -> Result<Self, FieldError> {
        Ok(Self { encrypt: fields.required("encrypt")?, app_from: fields.required("app_from")? })
    }
}

response_body! {
    /// The outer response.
    pub(crate) struct EncryptedResponse = ENCRYPTED_RESPONSE "Sealed" "信封里的答复" {
        encrypt: String => pattern(
            "加密后的答复，base64",
            "^([A-Za-z0-9+/]{4})+([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
            "cPWXWz+gT0AuXWXkAeADnw=="
        ),
    }
}

/// 注册: registration with a code.
#[derive(Debug)]
pub(crate) struct RegisterRequest {
    pub(crate) recipient: Recipient,
    pub(crate) password: RawPassword,
    pub(crate) code: Code,
}

/// 登录: login.
#[derive(Debug)]
pub(crate) struct LoginRequest {
    pub(crate) phone: Phone,
    pub(crate) password: RawPassword,
}

/// 获取手机验证码: sends a code.
#[derive(Debug)]
pub(crate) struct CaptchaRequest {
    pub(crate) recipient: Recipient,
    pub(crate) purpose: CodePurpose,
    pub(crate) recipient_filter: RecipientFilter,
}

/// 找回密码: password reset with a code.
#[derive(Debug)]
pub(crate) struct ForgotRequest {
    pub(crate) recipient: Recipient,
    pub(crate) password: RawPassword,
    pub(crate) code: Code,
}

/// 获取Token: issues a token that hands a user over to another app.
#[derive(Debug)]
pub(crate) struct GetTokenRequest {
    pub(crate) phone: Phone,
    pub(crate) app_to: String,
}

/// 验证用户名: whether a user exists.
#[derive(Debug)]
pub(crate) struct CheckLoginnameRequest {
    pub(crate) phone: Phone,
}

/// 验证验证码: checks a code without consuming it.
#[derive(Debug)]
pub(crate) struct CheckCaptchaRequest {
    pub(crate) recipient: Recipient,
    pub(crate) code: Code,
}

/// Redeeming a token. An addition to the API document, which does not say how a token is used (`docs/PROTOCOLS.md`,
/// MeFP).
#[derive(Debug)]
pub(crate) struct CheckTokenRequest {
    /// `None` if the text is not a token.
    pub(crate) token: Option<Token>,
}

/// Implements parsing of a decrypted request. It checks first that every field is present, then that `login_name` is a
/// phone, then the other fields.
macro_rules! impl_parse_request {
    ($name:ident, |$fields:ident| $parse:expr) => {
        impl TryFrom<&Fields> for $name {
            type Error = CallError<Mefp>;

            fn try_from($fields: &Fields) -> Result<Self, Self::Error> {
                $parse
            }
        }
    };
}

impl_parse_request!(RegisterRequest, |fields| {
    let [name, password, captcha] = present_fields(fields, ["login_name", "password", "captcha"])?;
    Ok(Self {
        recipient: parse_recipient(name)?,
        password: RawPassword::new(password.to_owned()),
        code: Code::from_user_input(captcha),
    })
});

impl_parse_request!(LoginRequest, |fields| {
    let [name, password] = present_fields(fields, ["login_name", "password"])?;
    Ok(Self { phone: parse_phone(name)?, password: RawPassword::new(password.to_owned()) })
});

impl_parse_request!(CaptchaRequest, |fields| {
    let [name, usage] = present_fields(fields, ["login_name", "usage"])?;
    let recipient = parse_recipient(name)?;
    match usage {
        "1" => Ok(Self { recipient, purpose: CodePurpose::Register, recipient_filter: RecipientFilter::Unregistered }),
        "2" => Ok(Self { recipient, purpose: CodePurpose::Reset, recipient_filter: RecipientFilter::Registered }),
        _ => Err(FieldError::Invalid(Cow::Borrowed("usage")).into()),
    }
});

impl_parse_request!(ForgotRequest, |fields| {
    let [name, password, captcha] = present_fields(fields, ["login_name", "new_password", "captcha"])?;
    Ok(Self {
        recipient: parse_recipient(name)?,
        password: RawPassword::new(password.to_owned()),
        code: Code::from_user_input(captcha),
    })
});

impl_parse_request!(GetTokenRequest, |fields| {
    let [name, app_to] = present_fields(fields, ["login_name", "app_to"])?;
    Ok(Self { phone: parse_phone(name)?, app_to: app_to.to_owned() })
});

impl_parse_request!(CheckLoginnameRequest, |fields| {
    let [name] = present_fields(fields, ["login_name"])?;
    Ok(Self { phone: parse_phone(name)? })
});

impl_parse_request!(CheckCaptchaRequest, |fields| {
    let [name, captcha] = present_fields(fields, ["login_name", "captcha"])?;
    Ok(Self { recipient: parse_recipient(name)?, code: Code::from_user_input(captcha) })
});

impl_parse_request!(CheckTokenRequest, |fields| {
    let [token] = present_fields(fields, ["token"])?;
    Ok(Self { token: Token::parse(token) })
});

/// The values of the fields `names`, which may be empty.
///
/// # Errors
/// The first missing, duplicated or mistyped field.
fn present_fields<'a, const N: usize>(
    fields: &'a Fields,
    names: [&'static str; N],
) -> Result<[&'a str; N], FieldError> {
    let mut texts = [""; N];
    for (text, name) in texts.iter_mut().zip(names) {
        *text = fields.required_maybe_empty(name)?;
    }
    Ok(texts)
}

fn parse_phone(login_name: &str) -> Result<Phone, Error> {
    Phone::parse(login_name).ok_or(Error::Invalid("phone"))
}

fn parse_recipient(login_name: &str) -> Result<Recipient, Error> {
    parse_phone(login_name).map(Recipient::Phone)
}

/// A response to be encrypted; an error may also be sent as plaintext.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum InnerResponse {
    /// Success without data.
    Success(SuccessBody),
    /// 获取Token: the issued token.
    TokenIssued(TokenBody),
    /// 验证用户名: the user exists.
    UserExists(UserExistsBody),
    /// The user of a redeemed token, and the app that issued it.
    TokenRedeemed(TokenHolderBody),
    /// An error.
    Error(ErrorBody),
}

response_body! {
    /// A success; `result` is 1.
    pub(crate) struct SuccessBody = SUCCESS_BODY "Done" "信封里：成功" {
        result: u8 => one_of_numbers("固定为 1", &[1]),
    }
}

response_body! {
    /// A token for another app.
    pub(crate) struct TokenBody = TOKEN_BODY "Issued" "信封里：token" {
        result: u8 => one_of_numbers("固定为 1", &[1]),
        token: String => pattern("一次性，5 分钟内有效", TOKEN_PATTERN, "1f5edc6f1efb165d45a654798d4baaa5"),
    }
}

response_body! {
    /// `reg_app` is empty if the user did not register through an app.
    pub(crate) struct UserExistsBody = USER_EXISTS_BODY "Known" "信封里：用户名存在" {
        result: u8 => one_of_numbers("固定为 1", &[1]),
        reg_app: String => text("注册时的应用；不是通过应用注册的则为空", "melink"),
        reg_time: String => pattern("注册时间，+08:00", r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$", "2011-07-23 20:27:00"),
    }
}

response_body! {
    /// The user of a redeemed token.
    pub(crate) struct TokenHolderBody = TOKEN_HOLDER_BODY "Bearer" "信封里：token 是谁的" {
        result: u8 => one_of_numbers("固定为 1", &[1]),
        login_name: String => text("手机号；没有则为用户名", "13612345678"),
        app_from: String => text("发出 token 的应用", "melink"),
    }
}

response_body! {
    /// An error; `result` is 0.
    pub(crate) struct ErrorBody = ERROR_BODY "No" "明文的失败；信封里的失败也是这个样子" {
        result: u8 => one_of_numbers("固定为 0", &[0]),
        errors: ErrorDetails => object("错误", &ERROR_DETAILS),
    }
}

response_body! {
    /// Code and text of an error.
    pub(crate) struct ErrorDetails = ERROR_DETAILS "Errors" "错误" {
        code: u32 => one_of_numbers(
            "请求错误代码",
            &[40000, 40001, 40002, 40003, 40004, 40005, 40006, 40007, 40400, 40500, 41300, 42900, 50000, 50300]
        ),
        message: Cow<'static, str> => text("错误内容", "请求无法解密"),
    }
}

/// The format of a one-time token.
pub(crate) const TOKEN_PATTERN: &str = "^[0-9a-f]{32}$";

impl InnerResponse {
    pub(crate) fn success() -> Self {
        Self::Success(SuccessBody { result: 1 })
    }

    pub(crate) fn token_issued(token: &Token) -> Self {
        Self::TokenIssued(TokenBody { result: 1, token: token.expose().to_owned() })
    }

    pub(crate) fn user_exists(user: User) -> Self {
        let reg_time = user.registered_at.to_date_time(Offset::CHINA);
        Self::UserExists(UserExistsBody { result: 1, reg_app: user.registered_through, reg_time })
    }

    pub(crate) fn token_redeemed(user: &User, app_from: String) -> Self {
        let login_name = user.phone.as_deref().unwrap_or_else(|| user.display_name()).to_owned();
        Self::TokenRedeemed(TokenHolderBody { result: 1, login_name, app_from })
    }

    /// Code and text of an error as Markdown, for the OpenAPI document; empty for a success.
    pub(crate) fn describe_error(&self) -> String {
        match self {
            Self::Error(ErrorBody { errors, .. }) => format!("`{}` {}", errors.code, errors.message),
            Self::Success(_) | Self::TokenIssued(_) | Self::UserExists(_) | Self::TokenRedeemed(_) => String::new(),
        }
    }

    pub(crate) fn error(code: u32, message: impl Into<Cow<'static, str>>) -> Self {
        Self::Error(ErrorBody { result: 0, errors: ErrorDetails { code, message: message.into() } })
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
