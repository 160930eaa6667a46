//! What clients send and are answered.

use std::borrow::Cow;

use serde::Serialize;
use stele_core::hex;
use stele_core::password::PasswordDigest;
use stele_core::proof::{Proof, Salted, parse_timestamp};
use stele_core::time::Offset;
use stele_core::usecase::login::LoggedIn;
use stele_core::user::{Gender, Role, UserRef};
use stele_dialect::{Fault, Fields};

use crate::rules::Reading;

/// The body of the two logins.
#[derive(Debug)]
pub(crate) struct Login<'a> {
    pub(crate) username: &'a str,
    /// `password` and `timestamp`.
    pub(crate) proof: Proof,
}

impl<'a> Login<'a> {
    pub(crate) fn read(fields: &'a Fields, reading: Reading) -> Result<Self, Fault> {
        let username = fields.required("username")?;
        Ok(Self { username, proof: proof(fields, "password", reading)? })
    }
}

/// The body of `pwdreset`.
#[derive(Debug)]
pub(crate) struct PwdReset {
    pub(crate) user: UserRef,
    /// `orig_password` and `timestamp`.
    pub(crate) proof: Proof,
    /// `new_password`, which is not salted.
    pub(crate) password: PasswordDigest,
}

impl PwdReset {
    pub(crate) fn read(fields: &Fields, reading: Reading) -> Result<Self, Fault> {
        let user = read(fields, "user_id", UserRef::parse)?;
        let proof = proof(fields, "orig_password", reading)?;
        let password = read(fields, "new_password", PasswordDigest::from_hex)?;
        Ok(Self { user, proof, password })
    }
}

/// The field `name` and `timestamp`, which a bare digest does not need.
fn proof(fields: &Fields, name: &'static str, reading: Reading) -> Result<Proof, Fault> {
    let digest = read(fields, name, hex::decode)?;
    match reading {
        Reading::Digest => {
            if fields.optional("timestamp")?.is_some() {
                read(fields, "timestamp", parse_timestamp)?;
            }
            Ok(Proof::Digest(PasswordDigest::from_bytes(digest)))
        }
        Reading::Salted => Ok(Proof::Salted(Salted { digest, timestamp: read(fields, "timestamp", parse_timestamp)? })),
        Reading::Either => Ok(Proof::Either(Salted { digest, timestamp: read(fields, "timestamp", parse_timestamp)? })),
    }
}

fn read<T>(fields: &Fields, name: &'static str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, Fault> {
    parse(fields.required(name)?).ok_or(Fault::Invalid(Cow::Borrowed(name)))
}

/// The answer to every call.
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
    user_real_name: &'a str,
    user_gender: &'static str,
    user_nickname: &'a str,
    user_alias_id: &'a str,
    role: &'static str,
    /// The role once more, in words; not the profile's group, which is cloudbox's.
    group: &'static str,
}

impl<'a> Succ<'a> {
    /// A user with times at `offset`.
    pub(crate) fn new(LoggedIn { user, token, .. }: &'a LoggedIn, offset: Offset) -> Self {
        let profile = &user.profile;
        let data = UserData {
            user_id: user.id.to_string(),
            user_name: user.display_name(),
            register_time: user.registered_at.rfc3339(offset),
            status: "",
            avatar_url: &profile.avatar_url,
            user_phone: user.phone.as_deref().unwrap_or_default(),
            user_email: user.email.as_deref().unwrap_or_default(),
            user_token: token.expose(),
            user_real_name: &profile.real_name,
            user_gender: profile.gender.map_or("", Gender::as_str),
            user_nickname: &profile.nickname,
            user_alias_id: &user.alias_id,
            role: match user.role {
                Role::Admin => "1",
                Role::User => "2",
            },
            group: user.role.as_str(),
        };
        Self { message: "Succ", code: "0000", data }
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
