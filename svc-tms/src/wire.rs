//! What clients send and are answered.

use stele_core::client_timestamp::ClientTimestamp;
use stele_core::hex;
use stele_core::password::PasswordDigest;
use stele_core::proof::{Proof, Salted, unprovable};
use stele_core::time::Offset;
use stele_core::usecase::login::LoggedIn;
use stele_core::user::{Role, UserRef};
use stele_dialect::message_code::{HEAD, Head, PERSON, Person, parts};
use stele_dialect::{Fault, Fields, reply};

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
        let username = fields.present("username")?;
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
        let user = fields.parsed("user_id", UserRef::parse)?;
        let proof = proof(fields, "orig_password", reading)?;
        let password = fields.parsed("new_password", PasswordDigest::from_hex)?;
        Ok(Self { user, proof, password })
    }
}

/// The field `name` and `timestamp`, which a bare digest does not need.
fn proof(fields: &Fields, name: &'static str, reading: Reading) -> Result<Proof, Fault> {
    let digest = fields.parsed_or(name, unprovable, hex::decode)?;
    let timestamp = || fields.parsed_as_written("timestamp", ClientTimestamp::parse);
    match reading {
        Reading::Digest => {
            if fields.optional("timestamp")?.is_some() {
                timestamp()?;
            }
            Ok(Proof::Digest(PasswordDigest::from_bytes(digest)))
        }
        Reading::Salted => Ok(Proof::Salted(Salted { digest, timestamp: timestamp()? })),
        Reading::Either => Ok(Proof::Either(Salted { digest, timestamp: timestamp()? })),
    }
}

reply! {
    /// A user. Absent texts are empty, never null.
    pub(crate) struct User<'a> = USER "User" "用户；没有的文本为空字符串，从不为 null；时间的时区见 `STELE_TMS_TZ`" {
        #[serde(flatten)]
        head: Head<'a> => flat(&HEAD),
        #[serde(flatten)]
        person: Person<'a> => flat(&PERSON),
        role: &'static str => one_of("角色：1 管理员，2 用户", &["2", "1"]),
        // Not the profile's group, which is cloudbox's.
        group: &'static str => one_of("角色，用文字", &["user", "admin"]),
    }
}

impl<'a> User<'a> {
    /// A user with times at `offset`.
    pub(crate) fn new(done: &'a LoggedIn, offset: Offset) -> Self {
        let (head, person) = parts(done, offset);
        let role = match done.user.role {
            Role::Admin => "1",
            Role::User => "2",
        };
        Self { head, person, role, group: done.user.role.as_str() }
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
