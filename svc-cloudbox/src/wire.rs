//! What clients send and are answered.

use std::borrow::Cow;

use serde::Serialize;
use stele_core::hex;
use stele_core::password::PasswordDigest;
use stele_core::proof::{Salted, parse_timestamp};
use stele_core::time::Offset;
use stele_core::usecase::login::LoggedIn;
use stele_core::user::{Gender, UserId};
use stele_dialect::{Fault, Fields};

/// The body of `authsalt`.
#[derive(Debug)]
pub(crate) struct Login<'a> {
    pub(crate) username: &'a str,
    /// `password` and `timestamp`.
    pub(crate) proof: Salted,
}

impl<'a> TryFrom<&'a Fields> for Login<'a> {
    type Error = Fault;

    fn try_from(fields: &'a Fields) -> Result<Self, Fault> {
        let username = fields.required("username")?;
        let digest = read(fields, "password", hex::decode)?;
        let timestamp = read(fields, "timestamp", parse_timestamp)?;
        Ok(Self { username, proof: Salted { digest, timestamp } })
    }
}

/// The body of `pwdreset`.
#[derive(Debug)]
pub(crate) struct PwdReset {
    pub(crate) user: UserId,
    /// `orig_password` and `timestamp`.
    pub(crate) proof: Salted,
    /// `new_password`, which is not salted.
    pub(crate) password: PasswordDigest,
}

impl TryFrom<&Fields> for PwdReset {
    type Error = Fault;

    fn try_from(fields: &Fields) -> Result<Self, Fault> {
        let user = read(fields, "user_id", UserId::parse_untrusted)?;
        let digest = read(fields, "orig_password", hex::decode)?;
        let password = read(fields, "new_password", PasswordDigest::from_hex)?;
        let timestamp = read(fields, "timestamp", parse_timestamp)?;
        Ok(Self { user, proof: Salted { digest, timestamp }, password })
    }
}

fn read<T>(fields: &Fields, name: &'static str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, Fault> {
    parse(fields.required(name)?).ok_or(Fault::Invalid(Cow::Borrowed(name)))
}

/// The answer to `authsalt` and `pwdreset`.
#[derive(Serialize)]
pub(crate) struct Succ<'a> {
    message: &'static str,
    code: &'static str,
    data: UserData<'a>,
}

/// A user. Absent texts are empty, never null.
#[derive(Serialize)]
struct UserData<'a> {
    user_id: String,
    user_name: &'a str,
    register_time: String,
    /// Empty for an active user; others never get as far as here.
    status: &'static str,
    avatar_url: &'a str,
    user_phone: &'a str,
    user_email: &'a str,
    user_token: &'a str,
    role: &'static str,
    user_real_name: &'a str,
    user_gender: &'static str,
    user_nickname: &'a str,
    user_alias_id: &'a str,
    enterprise: &'a str,
    group: &'a str,
}

impl<'a> From<&'a LoggedIn> for Succ<'a> {
    fn from(LoggedIn { user, token, .. }: &'a LoggedIn) -> Self {
        let profile = &user.profile;
        let data = UserData {
            user_id: user.id.to_string(),
            user_name: user.display_name(),
            register_time: user.registered_at.rfc3339(Offset::UTC),
            status: "",
            avatar_url: &profile.avatar_url,
            user_phone: user.phone.as_deref().unwrap_or_default(),
            user_email: user.email.as_deref().unwrap_or_default(),
            user_token: token.expose(),
            role: user.role.as_str(),
            user_real_name: &profile.real_name,
            user_gender: profile.gender.map_or("", Gender::as_str),
            user_nickname: &profile.nickname,
            user_alias_id: &user.alias_id,
            enterprise: &profile.enterprise,
            group: &profile.group,
        };
        Self { message: "Succ", code: "0000", data }
    }
}

/// The answer to `logout`, unlike all others.
#[derive(Debug, Serialize)]
pub(crate) struct Bye {
    msg: &'static str,
}

/// Logged out.
pub(crate) const BYE: Bye = Bye { msg: "退出成功" };

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
