//! The request and response types of the API document.

use std::borrow::Cow;

use stele_core::code::Code;
use stele_core::identifier::{Email, Phone, Recipient};
use stele_core::password::RawPassword;
use stele_core::user::{LegacyIds, User, sequential_id};
use stele_dialect::{FieldError, Fields, response_body};
use zeroize::Zeroizing;

use crate::base64_text;

const USERNAME_PARAM: &str = "username";
pub(crate) const PASSWORD_PARAM: &str = "password";
const CODE_PARAM: &str = "code";

/// 登录接口: login.
#[derive(Debug)]
pub(crate) struct LoginRequest<'a> {
    /// The identifier to look up; see [`login_identifier`].
    pub identifier: Cow<'a, str>,
    pub password: RawPassword,
    /// Not a documented parameter, but error 3208 of the document requires it.
    pub code: Option<Code>,
}

/// /i/register and /i/resetpwd, both headed 注册接口.
#[derive(Debug)]
pub(crate) struct NewPasswordRequest {
    pub recipient: Recipient,
    pub password: RawPassword,
    pub code: Code,
}

/// 发送验证码接口: the recipient of a code.
#[derive(Debug)]
pub(crate) struct SendCodeRequest<'a> {
    pub username: &'a str,
}

impl<'a> TryFrom<&'a Fields> for LoginRequest<'a> {
    type Error = FieldError;

    fn try_from(fields: &'a Fields) -> Result<Self, FieldError> {
        let username = fields.required_maybe_empty(USERNAME_PARAM)?;
        let encoded_code = fields.optional(CODE_PARAM)?;
        let code = encoded_code
            .map(|value| base64_text::decode(value).ok_or(FieldError::Invalid(Cow::Borrowed(CODE_PARAM))))
            .transpose()?;
        Ok(Self {
            identifier: login_identifier(username),
            password: parse_password(fields)?,
            code: code.map(|text| Code::from_user_input(&Zeroizing::new(text))),
        })
    }
}

impl TryFrom<&Fields> for NewPasswordRequest {
    type Error = FieldError;

    fn try_from(fields: &Fields) -> Result<Self, FieldError> {
        let recipient = Recipient::parse(fields.required_maybe_empty(USERNAME_PARAM)?)
            .ok_or(FieldError::Invalid(Cow::Borrowed(USERNAME_PARAM)))?;
        let password = parse_password(fields)?;
        let code = Code::from_user_input(&Zeroizing::new(fields.parse_or_else(
            CODE_PARAM,
            String::new,
            base64_text::decode,
        )?));
        Ok(Self { recipient, password, code })
    }
}

impl<'a> TryFrom<&'a Fields> for SendCodeRequest<'a> {
    type Error = FieldError;

    fn try_from(fields: &'a Fields) -> Result<Self, FieldError> {
        fields.required_maybe_empty(USERNAME_PARAM).map(|username| Self { username })
    }
}

fn parse_password(fields: &Fields) -> Result<RawPassword, FieldError> {
    fields.parse_or_else(PASSWORD_PARAM, String::new, base64_text::decode).map(RawPassword::new)
}

/// Portal users log in by phone or e-mail. Any other username is mapped to an identifier that no user can have, since
/// it contains a control character. So the username costs the same work and counts against the same rate limits as an
/// unknown phone.
fn login_identifier(username: &str) -> Cow<'_, str> {
    let is_identifier = Phone::parse(username).is_some() || Email::parse_provisioned(username).is_some();
    if is_identifier { Cow::Borrowed(username) } else { Cow::Owned(format!("\0{username}")) }
}

response_body! {
    /// The content of a login response.
    #[derive(Debug)]
    #[expect(non_snake_case, reason = "the names of the API document")]
    pub(crate) struct ProfileView<'a> = PROFILE_VIEW "Profile" "登录的内容" {
        id: String => text("用户 id，从 1 起；从旧门户导入的用户为其旧 id，原样", "1"),
        user_name: &'a str => text("用户名", "13800138000"),
        mobile: &'a str => text("手机号；没有则为空", "13800138000"),
        email: &'a str => text("邮箱；没有则为空", "123456@qq.cpom"),
        user_type: u8 => one_of_numbers("角色：1 组织用户，0 个人用户", &[0, 1]),
        gid: String => pattern("金桐号，从 100001 起", "^[0-9]+$", "100001"),
        orgId: &'a str => text("组织 ID", "100001"),
        passport: &'a str => text("注册时的手机号或邮箱", "13800138000"),
        memo: &'a str => text("其他", ""),
    }
}

impl<'a> ProfileView<'a> {
    /// A user, with the ids that the user has in the old portal.
    pub(crate) fn new(user: &'a User, legacy: Option<&LegacyIds>) -> Self {
        let profile = &user.profile;
        Self {
            // The API document's sample has id "1" with gid "100001".
            id: legacy.map_or_else(|| sequential_id(user.number).to_string(), |legacy| legacy.id.clone()),
            user_name: user.display_name(),
            mobile: user.phone.as_deref().unwrap_or_default(),
            email: user.email.as_deref().unwrap_or_default(),
            user_type: u8::from(!profile.org_id.is_empty()),
            gid: legacy.and_then(|legacy| legacy.number).unwrap_or(user.number).to_string(),
            orgId: &profile.org_id,
            passport: passport(user),
            memo: &profile.memo,
        }
    }
}

/// The phone or e-mail that the user registered with, else the user's first identifier.
fn passport(user: &User) -> &str {
    let fields = [&user.registered_with, &user.phone, &user.email, &user.name];
    fields.into_iter().find_map(|field| field.as_deref()).unwrap_or_default()
}

response_body! {
    /// The content of register and resetpwd responses.
    #[derive(Debug)]
    pub(crate) struct MemoView<'a> = MEMO_VIEW "Memo" "注册、重置密码的内容" {
        memo: &'a str => text("其他", ""),
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
