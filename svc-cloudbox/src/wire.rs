//! The request and response types of the API document.

use stele_core::client_timestamp::ClientTimestamp;
use stele_core::hex;
use stele_core::password::PasswordDigest;
use stele_core::proof::{SaltedProof, unmatchable_digest};
use stele_core::time::Offset;
use stele_core::usecase::login::AuthenticatedSession;
use stele_core::user::ClientUserId;
use stele_dialect::message_code::{USER_CONTACT, USER_PERSON, UserContact, UserPerson, user_parts};
use stele_dialect::{FieldError, Fields, response_body};

/// The body of `authsalt`.
#[derive(Debug)]
pub(crate) struct LoginRequest<'a> {
    pub(crate) username: &'a str,
    /// `password` and `timestamp`.
    pub(crate) proof: SaltedProof,
}

impl<'a> TryFrom<&'a Fields> for LoginRequest<'a> {
    type Error = FieldError;

    fn try_from(fields: &'a Fields) -> Result<Self, FieldError> {
        let username = fields.required_maybe_empty("username")?;
        let digest = fields.parse_or_else("password", unmatchable_digest, hex::decode)?;
        let timestamp = fields.parse_required_as_written("timestamp", ClientTimestamp::parse)?;
        Ok(Self { username, proof: SaltedProof { digest, timestamp } })
    }
}

/// The body of `pwdreset`.
#[derive(Debug)]
pub(crate) struct PwdResetRequest {
    pub(crate) user_id: ClientUserId,
    /// `orig_password` and `timestamp`.
    pub(crate) proof: SaltedProof,
    /// `new_password`: an unsalted digest.
    pub(crate) new_password: PasswordDigest,
}

impl TryFrom<&Fields> for PwdResetRequest {
    type Error = FieldError;

    fn try_from(fields: &Fields) -> Result<Self, FieldError> {
        let user_id = fields.parse_required("user_id", ClientUserId::parse)?;
        let digest = fields.parse_or_else("orig_password", unmatchable_digest, hex::decode)?;
        let new_password = fields.parse_required("new_password", PasswordDigest::from_hex)?;
        let timestamp = fields.parse_required_as_written("timestamp", ClientTimestamp::parse)?;
        Ok(Self { user_id, proof: SaltedProof { digest, timestamp }, new_password })
    }
}

response_body! {
    /// A user. Missing values are empty strings, never null.
    pub(crate) struct UserView<'a> = USER_VIEW "User" "用户；没有的文本为空字符串，从不为 null；时间为 UTC" {
        #[serde(flatten)]
        contact: UserContact<'a> => flattened(&USER_CONTACT),
        role: &'static str => one_of("角色", &["user", "admin"]),
        #[serde(flatten)]
        person: UserPerson<'a> => flattened(&USER_PERSON),
        enterprise: &'a str => text("企业", "e8d3bc38-beb0-11e7-888f-525400d25920"),
        group: &'a str => text("组", "rentuser"),
    }
}

impl<'a> From<&'a AuthenticatedSession> for UserView<'a> {
    fn from(session: &'a AuthenticatedSession) -> Self {
        let (contact, person) = user_parts(session, Offset::UTC);
        let AuthenticatedSession { user, .. } = session;
        Self {
            contact,
            role: user.role.as_str(),
            person,
            enterprise: &user.profile.enterprise,
            group: &user.profile.group,
        }
    }
}

response_body! {
    /// The response to `logout`, which has a format of its own.
    #[derive(Debug)]
    pub(crate) struct LogoutBody = LOGOUT_BODY "Bye" "已登出" {
        msg: &'static str => one_of("固定为 退出成功", &["退出成功"]),
    }
}

/// The response to a successful logout.
pub(crate) const LOGGED_OUT: LogoutBody = LogoutBody { msg: "退出成功" };

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
