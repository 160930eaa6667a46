//! What clients send and are answered.

use stele_core::client_timestamp::ClientTimestamp;
use stele_core::hex;
use stele_core::password::PasswordDigest;
use stele_core::proof::{Salted, unprovable};
use stele_core::time::Offset;
use stele_core::usecase::login::LoggedIn;
use stele_core::user::UserId;
use stele_dialect::message_code::{HEAD, Head, PERSON, Person, parts};
use stele_dialect::{Fault, Fields, reply};

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
        let username = fields.present("username")?;
        let digest = fields.parsed_or("password", unprovable, hex::decode)?;
        let timestamp = fields.parsed_as_written("timestamp", ClientTimestamp::parse)?;
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
        let user = fields.parsed("user_id", UserId::parse_untrusted)?;
        let digest = fields.parsed_or("orig_password", unprovable, hex::decode)?;
        let password = fields.parsed("new_password", PasswordDigest::from_hex)?;
        let timestamp = fields.parsed_as_written("timestamp", ClientTimestamp::parse)?;
        Ok(Self { user, proof: Salted { digest, timestamp }, password })
    }
}

reply! {
    /// A user. Absent texts are empty, never null.
    pub(crate) struct User<'a> = USER "User" "用户；没有的文本为空字符串，从不为 null；时间为 UTC" {
        #[serde(flatten)]
        head: Head<'a> => flat(&HEAD),
        role: &'static str => one_of("角色", &["user", "admin"]),
        #[serde(flatten)]
        person: Person<'a> => flat(&PERSON),
        enterprise: &'a str => text("企业", "e8d3bc38-beb0-11e7-888f-525400d25920"),
        group: &'a str => text("组", "rentuser"),
    }
}

impl<'a> From<&'a LoggedIn> for User<'a> {
    fn from(done: &'a LoggedIn) -> Self {
        let (head, person) = parts(done, Offset::UTC);
        let LoggedIn { user, .. } = done;
        Self {
            head,
            role: user.role.as_str(),
            person,
            enterprise: &user.profile.enterprise,
            group: &user.profile.group,
        }
    }
}

reply! {
    /// The answer to `logout`, unlike all others.
    #[derive(Debug)]
    pub(crate) struct Bye = GOODBYE "Bye" "已登出" {
        msg: &'static str => one_of("固定为 退出成功", &["退出成功"]),
    }
}

/// Logged out.
pub(crate) const BYE: Bye = Bye { msg: "退出成功" };

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
