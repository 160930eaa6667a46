//! What the system does, one file each: methods of [`UseCases`], which holds the stores, the limits and the audit trail
//! so that nothing reaches them by another way.
//!
//! | use case | who asks |
//! | --- | --- |
//! | [`login`], [`logout`], [`change_password`] | every dialect; cloudbox, TMS, portal and JWT; cloudbox and TMS |
//! | [`register`], [`reset_password`], [`send_code`], [`check_code`] | portal and MeFP |
//! | [`send_reset`], [`grant_reset`], [`set_password`], [`captcha`] | JWT |
//! | [`handover`] | MeFP |
//! | [`client_token`] | TMS |
//! | [`add_user`], [`provision_password`], [`set_status`], [`add_app`]; and [`administration`] | the `stele` command |
//! | [`lookup`] and [`maintenance`] | dialects and commands; every process that serves |
//!
//! [`authenticate`], `prove` and `credential` are what several of them share; `watch` reports what became of each, and
//! `clock_offset` what the clocks of clients show.

pub mod add_app;
pub mod add_user;
pub mod administration;
mod audit_scope;
pub mod authenticate;
pub mod captcha;
pub mod change_password;
pub mod check_code;
pub mod client_token;
mod clock_offset;
mod credential;
mod end_salted;
pub mod grant_reset;
pub mod handover;
pub mod login;
pub mod logout;
pub mod lookup;
pub mod maintenance;
mod proof_verification;
pub mod provision_password;
pub mod register;
pub mod reseal;
pub mod reset_password;
pub mod send_code;
pub mod send_reset;
pub mod set_password;
pub mod set_status;
pub mod wrap_hashes;

use crate::Dependencies;
use crate::origin::Origin;
use crate::ports::LoginAttempt;
use crate::session::DialectName;
use crate::time::Timestamp;
use crate::user::Account;

/// Everything a dialect or a command may do. What it works with is private: a holder of this type goes through its use
/// cases, and so through limits and audit trail. Cheap to clone.
#[derive(Clone)]
pub struct UseCases {
    deps: Dependencies,
}

impl UseCases {
    /// Use cases on these stores, keys and rules.
    pub fn new(deps: Dependencies) -> Self {
        Self { deps }
    }

    /// The present instant.
    pub fn now(&self) -> Timestamp {
        self.deps.now()
    }
}

/// By which door a request comes in.
#[derive(Clone, Debug)]
pub struct RequestInfo {
    /// The dialect: sessions and codes are good in the one that made them only.
    dialect: DialectName,
    /// The app that calls on the user's behalf; empty if none does.
    app: String,
    /// Whom the limits count it against.
    origin: Origin,
}

impl RequestInfo {
    /// A client that calls for itself, from `address`.
    pub fn from_client(dialect: DialectName, address: std::net::IpAddr) -> Self {
        Self { dialect, app: String::new(), origin: Origin::from_address(address) }
    }

    /// An app that calls for its users.
    pub fn from_app(dialect: DialectName, app: &str) -> Self {
        Self { dialect, app: app.to_owned(), origin: Origin::from_app(app) }
    }

    fn login_attempt(&self, deps: &Dependencies, account: Option<&Account>, identifier_key: &str) -> LoginAttempt {
        LoginAttempt {
            account: LoginAttempt::account_key(account.map(|account| account.user.id), identifier_key),
            epoch: account.map_or(0, |account| account.epoch),
            origin: self.origin.clone(),
            now: deps.now(),
            proof_made_at: None,
            limits: deps.policy.login_limits,
        }
    }
}
