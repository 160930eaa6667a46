//! The conformance suite: tests of the behaviour that all dialects share.
//!
//! A dialect's contract tests implement [`DialectUnderTest`] and pass the type to
//! [`conformance!`](macro@crate::conformance), which generates a test for each function of [`bodies`],
//! [`closures`], [`empty_fields`], [`login`], [`rate_limits`], [`unavailability`], [`input`], [`http`], [`mod@status_200`] and
//! [`openapi`]. [`sessions`] is for dialects with session tokens ([`SessionDialect`]); [`salted`], [`salted_text`] and
//! [`login_retries`] are for dialects with salted proofs ([`SaltedDialect`]); [`codes`] is for dialects that send codes
//! ([`CodeDialect`]); [`common_passwords`] is for dialects that set new passwords ([`NewPasswordDialect`]). `suite`
//! lists all tests. A service that is no login dialect implements [`ServiceUnderTest`] and passes its type to
//! [`service_conformance!`](macro@crate::service_conformance): [`http`] and [`openapi`]. The expected responses are rendered by the dialect itself; `tests/golden/errors.txt` and the golden
//! transcripts pin that these are the documented bytes.

#![expect(missing_docs, reason = "the test's name states the behaviour")]

pub mod bodies;
pub mod closures;
pub mod codes;
pub mod common_passwords;
pub mod empty_fields;
pub mod http;
pub mod input;
pub mod login;
pub mod login_retries;
pub mod openapi;
pub mod rate_limits;
mod request_variant;
pub mod salted;
pub mod salted_text;
mod service;
pub mod sessions;
pub mod status_200;
mod suite;
pub mod unavailability;

use std::ops::DerefMut;

use reqwest::RequestBuilder;
use stele_app::Service;
use stele_core::Error;
use stele_core::session::Token;
use stele_core::user::User;

pub use input::Call;
pub use service::ServiceUnderTest;
pub use suite::run;

use crate::{RequestCost, TestApp, TestLab, TestResponse};

/// The phone of the test user, which is an identifier in every dialect.
pub const PHONE: &str = "13800138000";
/// Other spellings of [`PHONE`], which every dialect accepts (docs/FIELD.md).
pub const PHONE_VARIANTS: &[&str] = &[
    "+8613800138000",
    "8613800138000",
    " 8613800138000",
    "0086-138-0013-8000",
    "+86 138\u{a0}0013\u{a0}8000",
    "\u{202d}+86 138-0013-8000\u{202c}",
    "１３８００１３８０００",
    "＋８６１３８００１３８０００",
];
/// A phone that belongs to no user.
pub const UNKNOWN_PHONE: &str = "13900139000";
/// The password of the test user.
pub const PASSWORD: &str = "hna123";
/// A wrong password.
pub const WRONG_PASSWORD: &str = "wrong!";
/// The setting that makes loopback a trusted proxy, so that `X-Forwarded-For` is used.
pub const BEHIND_PROXY: (&str, &str) = ("STELE_TRUSTED_PROXIES", "127.0.0.1");

/// Forms of a token in a header, all of which every dialect accepts (docs/FIELD.md).
pub fn token_header_variants(token: &str) -> Vec<String> {
    let formats =
        ["{}", "Bearer {}", "bearer  {}", "Bearer: {}", "Bearer:{}", "Token {}", "JWT {}", "\"{}\"", "Bearer \"{}\""];
    formats.iter().map(|format| format.replace("{}", token)).collect()
}

/// Names and values of settings.
pub type Settings = &'static [(&'static str, &'static str)];

/// Whether the password of a login is right; the cost of a login depends on that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordGuess {
    Right,
    Wrong,
}

/// A running service of a dialect, and how its clients call it.
#[expect(async_fn_in_trait, reason = "called by tests alone, each on one thread")]
pub trait DialectUnderTest: Sized + DerefMut<Target = TestApp> + Into<TestApp> {
    /// The dialect's service.
    const SERVICE: Service;
    /// Settings that the dialect needs.
    const SETTINGS: Settings = &[];
    /// Settings under which an unknown user gets the response of a wrong password.
    const UNIFORM_ERROR_SETTINGS: Settings = &[];
    /// The path of the login call.
    const LOGIN_PATH: &'static str;
    /// Spellings of the identifiers `Mark`, [`PHONE`] and `Mark@Stele.cn` that this dialect accepts.
    const IDENTIFIERS: &'static [&'static str] = &["Mark", "MARK", " mark ", PHONE, "mark@stele.CN"];
    /// Whether the login accepts any text as an identifier, even an invalid one.
    const ACCEPTS_ANY_IDENTIFIER: bool = true;
    /// For each field name, JSON values that are invalid for the field.
    const INVALID_VALUES: &'static [(&'static str, &'static [&'static str])] = &[];
    /// Paths, below the dialect's prefix or elsewhere, that it does not serve.
    const UNKNOWN_PATHS: &'static [&'static str];

    /// [`Self::IDENTIFIERS`] and [`PHONE_VARIANTS`].
    fn identifiers() -> Vec<&'static str> {
        [Self::IDENTIFIERS, PHONE_VARIANTS].concat()
    }

    /// Starts the service on `lab`, with the apps and client tokens that its clients need.
    async fn start(lab: TestLab) -> Self;

    /// The cost of a login with the right or a wrong password.
    fn login_cost(guess: PasswordGuess) -> RequestCost;

    /// The fields of a login from origin number `origin`.
    fn login_fields(&self, origin: u8, identifier: &str, password: &str) -> Vec<(&'static str, String)>;

    /// Whether a login was accepted.
    fn is_accepted(response: &TestResponse) -> bool;

    /// Adds the credentials that clients send outside of the body, such as a token.
    fn add_credentials(&self, request: RequestBuilder) -> RequestBuilder {
        request
    }

    /// Decrypts a response, for dialects with encrypted responses.
    fn decode_response(&self, response: TestResponse) -> TestResponse {
        response
    }

    /// The calls that read their body, with a valid value for each field; by default those of the OpenAPI document.
    fn calls_with_body(&self) -> Vec<Call> {
        input::documented_calls(Self::SERVICE)
    }

    /// Posts `body` to a call.
    async fn submit(&self, call: &Call, content_type: &str, body: Vec<u8>) -> TestResponse {
        self.post_with_type(&call.path, content_type, body).await
    }

    /// Logs in after solving the challenge, if the dialect has one.
    async fn login_after_challenge(&self, origin: u8, identifier: &str, password: &str) -> TestResponse {
        self.login(origin, identifier, password).await
    }

    /// The call with this index of an attacker who tries to find out whether the user exists.
    async fn enumeration_attempt(&self, _: usize, identifier: &str) -> TestResponse {
        self.login(0, identifier, WRONG_PASSWORD).await
    }

    /// Starts the service on a new user base.
    async fn new() -> Self {
        Self::with_settings(&[]).await
    }

    /// As [`DialectUnderTest::new`], with these settings in addition.
    async fn with_settings(settings: &[(&str, &str)]) -> Self {
        Self::start(TestLab::with_settings(&[Self::SETTINGS, settings].concat()).await).await
    }

    /// Logs in from origin number `origin`.
    async fn login(&self, origin: u8, identifier: &str, password: &str) -> TestResponse {
        self.login_with_fields(origin, self.login_fields(origin, identifier, password)).await
    }

    /// Logs in with these fields.
    async fn login_with_fields(&self, origin: u8, fields: Vec<(&'static str, String)>) -> TestResponse {
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value.into()));
        let request = self.request("POST", Self::LOGIN_PATH).header("x-forwarded-for", format!("203.0.113.{origin}"));
        let request = self.add_credentials(request).json(&fields.collect::<serde_json::Map<_, _>>());
        self.decode_response(self.send(request).await)
    }

    /// Adds the test user.
    async fn add_test_user(&self) -> User {
        self.lab.user("Mark").password(PASSWORD).phone(PHONE).email("Mark@Stele.cn").add().await
    }

    /// Fails to log in until the account is locked out: five failures start no lockout, the sixth starts one of one
    /// second.
    async fn fail_until_locked_out(&self, identifier: &str) {
        for origin in 1..=5 {
            self.assert_fails_with(&self.login(origin, identifier, WRONG_PASSWORD).await, &Error::WrongPassword);
        }
        self.assert_fails_with(&self.login_after_challenge(6, identifier, WRONG_PASSWORD).await, &Error::WrongPassword);
    }

    /// Asserts that a login is accepted; returns the response.
    #[track_caller]
    fn assert_accepted(&self, response: TestResponse) -> TestResponse {
        assert!(Self::is_accepted(&response), "{response:?}");
        response
    }
}

/// A dialect whose clients get a session token.
#[expect(async_fn_in_trait, reason = "called by tests alone, each on one thread")]
pub trait SessionDialect: DialectUnderTest {
    /// The token of the session that an accepted login opened.
    fn session_token(&self, response: &TestResponse) -> Token;

    /// Logs in; returns the session's token.
    async fn open_session(&self) -> Token {
        // A salted proof is accepted once, so each login needs another timestamp.
        self.advance_clock(1);
        let response = self.login(0, PHONE, PASSWORD).await;
        self.session_token(&self.assert_accepted(response))
    }
}

/// A dialect whose clients prove a password with `md5(D + timestamp)`, where `D` is the md5 of the password.
pub trait SaltedDialect: DialectUnderTest {
    /// Settings under which only a salted digest is accepted as a proof.
    const SALTED_ONLY_SETTINGS: Settings = &[];

    /// The fields of a login with this digest for the timestamp `at`.
    fn proof_fields(identifier: &str, digest: &str, at: i64) -> Vec<(&'static str, String)> {
        vec![("username", identifier.to_owned()), ("password", digest.to_owned()), ("timestamp", at.to_string())]
    }
}

/// A dialect that sends verification codes for setting a new password.
#[expect(async_fn_in_trait, reason = "called by tests alone, each on one thread")]
pub trait CodeDialect: DialectUnderTest {
    /// Requests a code for the phone of a user.
    async fn request_code(&self, origin: u8, phone: &str) -> TestResponse;

    /// Submits a code to set a new password. Success consumes the code.
    async fn redeem_code(&self, phone: &str, code: &str) -> TestResponse;

    /// Whether the response reports success.
    fn is_success(response: &TestResponse) -> bool;
}

/// A dialect whose clients set new passwords.
#[expect(async_fn_in_trait, reason = "called by tests alone, each on one thread")]
pub trait NewPasswordDialect: DialectUnderTest {
    /// What a client needs for setting a new password of a user, such as a code or a proof of the old password.
    type Authorization;

    /// Obtains the authorization to set a new password of the test user, whose password is [`PASSWORD`].
    async fn authorize_new_password(&self, user: &User) -> Self::Authorization;

    /// Sets a new password of the test user.
    async fn set_new_password(&self, authorization: &Self::Authorization, password: &str) -> TestResponse;

    /// Whether the response reports success.
    fn is_password_set(response: &TestResponse) -> bool;
}

/// Implements `Deref` to [`TestApp`](crate::TestApp), and conversion into it, for a type with a field `app`.
#[macro_export]
macro_rules! impl_deref_to_test_app {
    ($type:ty) => {
        impl std::ops::Deref for $type {
            type Target = $crate::TestApp;

            fn deref(&self) -> &Self::Target {
                &self.app
            }
        }

        impl std::ops::DerefMut for $type {
            fn deref_mut(&mut self) -> &mut Self::Target {
                &mut self.app
            }
        }

        impl From<$type> for $crate::TestApp {
            fn from(dialect: $type) -> Self {
                dialect.app
            }
        }
    };
}
