//! Lazy migration: users whose passwords could not be imported are checked against the server that they come from, at
//! their first login. This module decides what may be asked where, and whether an answer is about the right user. Pure;
//! the flow is in `usecase::old_login`, the clients of the five APIs are behind [`crate::ports::OldServers`].

mod identity;
mod question;

pub use identity::{ExpectedUser, IdentityMismatch, OldProfile};
pub use question::{OldProof, OldQuestion, PreparedQuestion, login_name, prepare_proof, prepare_question};

use strum::{EnumIter, IntoEnumIterator as _, IntoStaticStr};

/// The documented login API that an old server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum OldApi {
    /// cloudbox document, 用户登录认证接口.
    Cloudbox,
    /// TMS document, 用户加密登录接口.
    Tms,
    /// portal document, 登录接口.
    Portal,
    /// MeFP document, 登录.
    Mefp,
    /// JWT document, 登录.
    Jwt,
}

impl OldApi {
    /// Every API.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::iter()
    }

    /// The name of the dialect that has this API.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The API of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::iter().find(|api| api.as_str() == name)
    }
}

/// The proof of the password that an old server checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptedProof {
    /// `md5(D + timestamp)`: cloudbox, TMS.
    Salted,
    /// `D`: TMS, in the other reading of its document.
    Digest,
    /// The password: portal, MeFP, JWT.
    Raw,
}

/// Whether an old server is asked about identifiers that no user has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownUsers {
    /// Unknown identifiers are rejected here, at the cost that they have without old servers.
    Reject,
    /// The old server is asked, and a user whom it accepts is added.
    Ask,
}

/// Whose password is right while both servers run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leader {
    /// A user who has a password here is never asked about.
    Stele,
    /// A wrong password here is asked about, until the password is changed here. A yes replaces the stored credential.
    OldServer,
}

/// An old server that can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldServer {
    /// The API that it speaks.
    pub api: OldApi,
    /// The proof that it checks.
    pub accepted_proof: AcceptedProof,
    /// Whether it is asked about unknown identifiers.
    pub unknown_users: UnknownUsers,
    /// Whose password is right.
    pub leader: Leader,
}

/// The id of a user at an old server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyId {
    /// The API whose clients have stored the id.
    pub api: OldApi,
    /// The id; for a source without ids, a canonical identifier.
    pub id: String,
}
