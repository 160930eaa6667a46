//! The request and response types of the API document.

use stele_core::client_timestamp::ClientTimestamp;
use stele_core::hex;
use stele_core::password::PasswordDigest;
use stele_core::proof::{Proof, SaltedProof, unmatchable_digest};
use stele_core::time::Offset;
use stele_core::usecase::login::AuthenticatedSession;
use stele_core::user::{ClientUserId, Role};
use stele_dialect::message_code::{USER_CONTACT, USER_PERSON, UserContact, UserPerson, user_parts};
use stele_dialect::{FieldError, Fields, response_body};

use crate::config::ProofFormat;

/// The body of the two logins.
#[derive(Debug)]
pub(crate) struct LoginRequest<'a> {
    pub(crate) username: &'a str,
    /// `password` and `timestamp`.
    pub(crate) proof: Proof,
}

impl<'a> LoginRequest<'a> {
    pub(crate) fn parse(fields: &'a Fields, format: ProofFormat) -> Result<Self, FieldError> {
        let username = fields.required_maybe_empty("username")?;
        Ok(Self { username, proof: parse_proof(fields, "password", format)? })
    }
}

/// The body of `pwdreset`.
#[derive(Debug)]
pub(crate) struct PwdResetRequest {
    pub(crate) user_id: ClientUserId,
    /// `orig_password` and `timestamp`.
    pub(crate) proof: Proof,
    /// `new_password`: an unsalted digest.
    pub(crate) new_password: PasswordDigest,
}

impl PwdResetRequest {
    pub(crate) fn parse(fields: &Fields, format: ProofFormat) -> Result<Self, FieldError> {
        let user_id = fields.parse_required("user_id", ClientUserId::parse_with_number)?;
        let proof = parse_proof(fields, "orig_password", format)?;
        let new_password = fields.parse_required("new_password", PasswordDigest::from_hex)?;
        Ok(Self { user_id, proof, new_password })
    }
}

/// Parses the proof in the field `name` with its `timestamp`, which is optional in the digest format.
fn parse_proof(fields: &Fields, name: &'static str, format: ProofFormat) -> Result<Proof, FieldError> {
    let digest = fields.parse_or_else(name, unmatchable_digest, hex::decode)?;
    let parse_timestamp = || fields.parse_required_as_written("timestamp", ClientTimestamp::parse);
    match format {
        ProofFormat::Digest => {
            if fields.optional("timestamp")?.is_some() {
                parse_timestamp()?;
            }
            Ok(Proof::Digest(PasswordDigest::from_bytes(digest)))
        }
        ProofFormat::Salted => Ok(Proof::Salted(SaltedProof { digest, timestamp: parse_timestamp()? })),
        ProofFormat::Either => Ok(Proof::SaltedOrDigest(SaltedProof { digest, timestamp: parse_timestamp()? })),
    }
}

response_body! {
    /// A user. Missing values are empty strings, never null.
    pub(crate) struct UserView<'a> = USER_VIEW "User" "用户；没有的文本为空字符串，从不为 null；时间的时区见 `STELE_TMS_TZ`" {
        #[serde(flatten)]
        contact: UserContact<'a> => flattened(&USER_CONTACT),
        #[serde(flatten)]
        person: UserPerson<'a> => flattened(&USER_PERSON),
        role: &'static str => one_of("角色：1 管理员，2 用户", &["2", "1"]),
        // Not the group of the profile, which only cloudbox uses.
        group: &'static str => one_of("角色，用文字", &["user", "admin"]),
    }
}

impl<'a> UserView<'a> {
    /// A user, with times at `offset` from UTC.
    pub(crate) fn new(session: &'a AuthenticatedSession, offset: Offset) -> Self {
        let (contact, person) = user_parts(session, offset);
        let role = match session.user.role {
            Role::Admin => "1",
            Role::User => "2",
        };
        Self { contact, person, role, group: session.user.role.as_str() }
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
