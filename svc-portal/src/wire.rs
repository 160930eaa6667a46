//! What clients send and are answered (`WIRE.md`).

use std::borrow::Cow;

use stele_core::code::Code;
use stele_core::identifier::{Email, Phone, Recipient};
use stele_core::password::RawPassword;
use stele_core::user::{FIRST_NUMBER, User};
use stele_dialect::{Fault, Fields, reply};
use zeroize::Zeroizing;

use crate::encoded;

const USERNAME: &str = "username";
pub(crate) const PASSWORD: &str = "password";
const CODE: &str = "code";

/// 登录接口
#[derive(Debug)]
pub(crate) struct Login<'a> {
    /// What to look the user up by.
    pub identifier: Cow<'a, str>,
    pub password: RawPassword,
    /// Not a parameter in the API document, but among its answers: 3208 (`docs/PROTOCOLS.md`, Portal).
    pub code: Option<Code>,
}

/// 注册接口, both of that name: /i/register and /i/resetpwd.
#[derive(Debug)]
pub(crate) struct WithCode {
    pub username: Recipient,
    pub password: RawPassword,
    pub code: Code,
}

/// 发送验证码接口
#[derive(Debug)]
pub(crate) struct Send<'a> {
    pub username: &'a str,
}

impl<'a> TryFrom<&'a Fields> for Login<'a> {
    type Error = Fault;

    fn try_from(fields: &'a Fields) -> Result<Self, Fault> {
        let username = fields.present(USERNAME)?;
        let code = fields.optional(CODE)?;
        let code = code.map(|value| encoded::decode(value).ok_or(Fault::Invalid(Cow::Borrowed(CODE)))).transpose()?;
        Ok(Self {
            identifier: identifier(username),
            password: password(fields)?,
            code: code.map(|text| Code::typed(&Zeroizing::new(text))),
        })
    }
}

impl TryFrom<&Fields> for WithCode {
    type Error = Fault;

    fn try_from(fields: &Fields) -> Result<Self, Fault> {
        let username = Recipient::parse(fields.present(USERNAME)?).ok_or(Fault::Invalid(Cow::Borrowed(USERNAME)))?;
        let password = password(fields)?;
        let code = Code::typed(&Zeroizing::new(fields.parsed_or(CODE, String::new, encoded::decode)?));
        Ok(Self { username, password, code })
    }
}

impl<'a> TryFrom<&'a Fields> for Send<'a> {
    type Error = Fault;

    fn try_from(fields: &'a Fields) -> Result<Self, Fault> {
        fields.present(USERNAME).map(|username| Self { username })
    }
}

fn password(fields: &Fields) -> Result<RawPassword, Fault> {
    fields.parsed_or(PASSWORD, String::new, encoded::decode).map(RawPassword::new)
}

/// The portal knows users by phone and e-mail. Any other login field becomes one that no user can have (it holds a
/// control character), so that a name costs the same work and counts against the same limits as an unknown phone.
fn identifier(username: &str) -> Cow<'_, str> {
    let known = Phone::parse(username).is_some() || Email::provision(username).is_some();
    if known { Cow::Borrowed(username) } else { Cow::Owned(format!("\0{username}")) }
}

reply! {
    /// The content of a login's answer.
    #[derive(Debug)]
    #[expect(non_snake_case, reason = "as the API document writes it")]
    pub(crate) struct Profile<'a> = PROFILE "Profile" "登录的内容" {
        id: String => like("用户 id，从 1 起", "^[0-9]+$", "1"),
        user_name: &'a str => text("用户名", "13800138000"),
        mobile: &'a str => text("手机号；没有则为空", "13800138000"),
        email: &'a str => text("邮箱；没有则为空", "123456@qq.cpom"),
        user_type: u8 => number("角色：1 组织用户，0 个人用户", &[0, 1]),
        gid: String => like("金桐号，从 100001 起", "^[0-9]+$", "100001"),
        orgId: &'a str => text("组织 ID", "100001"),
        passport: &'a str => text("注册时的手机号或邮箱", "13800138000"),
        memo: &'a str => text("其他", ""),
    }
}

impl<'a> From<&'a User> for Profile<'a> {
    fn from(user: &'a User) -> Self {
        let about = &user.profile;
        Self {
            // The API document's sample has "1" beside "100001".
            id: (user.number - FIRST_NUMBER + 1).to_string(),
            user_name: user.display_name(),
            mobile: user.phone.as_deref().unwrap_or_default(),
            email: user.email.as_deref().unwrap_or_default(),
            user_type: u8::from(!about.org_id.is_empty()),
            gid: user.number.to_string(),
            orgId: &about.org_id,
            passport: passport(user),
            memo: &about.memo,
        }
    }
}

fn passport(user: &User) -> &str {
    let fields = [&user.registered_with, &user.phone, &user.email, &user.name];
    fields.into_iter().find_map(|field| field.as_deref()).unwrap_or_default()
}

reply! {
    /// The content of the answers of register and resetpwd.
    #[derive(Debug)]
    pub(crate) struct Memo<'a> = MEMO "Memo" "注册、重置密码的内容" {
        memo: &'a str => text("其他", ""),
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
