//! Use cases: the operations of clients and administrators, as methods of [`UseCases`] and [`administration`].
//!
//! [`UseCases`] keeps the stores, the policy and the audit sink private, so dialects can use them only through use
//! cases.
//!
//! | use case | used by |
//! | --- | --- |
//! | [`login`] | every dialect |
//! | [`logout`] | cloudbox, TMS, portal, JWT |
//! | [`change_password`] | cloudbox, TMS |
//! | [`register`], [`reset_password`], [`send_code`], [`check_code`] | portal, MeFP |
//! | [`send_reset`], [`grant_reset`], [`set_password`], [`captcha`] | JWT |
//! | [`handover`] | MeFP |
//! | [`client_token`] | TMS |
//! | [`client_authentication`], [`issue_client_token`], [`exchange_token`], [`introspect_token`], [`revoke_token`] | svc-oauth |
//! | [`check_access`] | svc-oauth, for reverse proxies |
//! | [`add_user`], [`provision_password`], [`set_status`], [`sessions`] | the `stele` command |
//! | [`add_app`], [`administration`] | the `stele` command |
//! | [`oauth_registration`] | `stele client`, `stele resource` |
//! | [`lookup`] | dialects and the `stele` command |
//! | [`maintenance`], [`server_clocks`] | every service |
//!
//! Shared parts: [`authenticate`] (finds the user of a session token), `proof_verification` (passwords, rate limits,
//! replay protection), `old_login` (asks old servers about users who have no password here), [`new_password`] (lists of
//! common passwords), `credential` (verifiers, rehash on login), `audit_scope` (one audit event per use case),
//! `clock_offset` (logs wrong clocks of clients), [`token_request`] and [`presented_token`] (what OAuth requests ask for
//! and present). Parts of [`administration`]: [`reseal`] (key rotation),
//! [`wrap_hashes`] (migration of imported hashes), `disable_salted_logins`.

pub mod add_app;
pub mod add_user;
pub mod administration;
mod audit_scope;
pub mod authenticate;
pub mod captcha;
pub mod change_password;
pub mod check_access;
pub mod check_code;
pub mod client_authentication;
pub mod client_token;
mod clock_offset;
mod credential;
mod disable_salted_logins;
pub mod exchange_token;
pub mod grant_reset;
pub mod handover;
pub mod hash_pending;
pub mod import;
mod import_batch;
pub mod import_check;
mod import_passwords;
pub mod introspect_token;
pub mod issue_client_token;
pub mod login;
pub mod logout;
pub mod lookup;
pub mod maintenance;
mod merge_passwords;
pub mod new_password;
pub mod oauth_registration;
mod old_login;
pub mod presented_token;
mod proof_verification;
pub mod provision_password;
pub mod register;
pub mod reseal;
pub mod reset_password;
pub mod revoke_token;
pub mod send_code;
pub mod send_reset;
pub mod server_clocks;
pub mod sessions;
pub mod set_password;
pub mod set_status;
pub mod token_request;
mod undo_import;
pub mod wrap_hashes;

use crate::Dependencies;
use crate::event::EntryPoint;
use crate::origin::Origin;
use crate::ports::LoginAttempt;
use crate::session::DialectName;
use crate::time::Timestamp;
use crate::user::Account;

/// The use cases of dialects and commands. The dependencies are private, so rate limits and the audit log cannot be
/// bypassed. Cheap to clone.
#[derive(Clone)]
pub struct UseCases {
    deps: Dependencies,
}

impl UseCases {
    /// Use cases on these dependencies.
    pub fn new(deps: Dependencies) -> Self {
        Self { deps }
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        self.deps.now()
    }
}

/// The dialect, app and origin of a request, for rate limits and the audit log.
#[derive(Clone, Debug)]
pub struct RequestInfo {
    /// The dialect of the request. Sessions and codes are valid only in the dialect that issued them.
    dialect: DialectName,
    /// The app that calls on the user's behalf; empty if the client calls directly.
    app: String,
    /// The name of the client token that the request carried; empty if it carried none.
    client_token: String,
    /// The origin that rate limits count the request under.
    origin: Origin,
}

impl RequestInfo {
    /// A request from a client at `address`.
    pub fn from_client(dialect: DialectName, address: std::net::IpAddr) -> Self {
        Self { dialect, app: String::new(), client_token: String::new(), origin: Origin::from_address(address) }
    }

    /// This request, which carried the client token of this name.
    #[must_use]
    pub fn with_client_token(self, name: String) -> Self {
        Self { client_token: name, ..self }
    }

    /// A request from the app `app` on behalf of its user.
    pub fn from_app(dialect: DialectName, app: &str) -> Self {
        Self { dialect, app: app.to_owned(), client_token: String::new(), origin: Origin::from_app(app) }
    }

    fn entry_point(&self) -> EntryPoint {
        let Self { dialect, app, client_token, origin } = self.clone();
        EntryPoint { dialect, app, client_token, origin: Some(origin) }
    }

    /// This request as one of the app `app`, from the same origin. `app` must be an existing record's name, because the
    /// audit log stores it.
    fn for_app(&self, app: &str) -> Self {
        Self { app: app.to_owned(), ..self.clone() }
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
