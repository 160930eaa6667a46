//! The conformance suite: what every dialect does alike, whatever its document calls it.
//!
//! A dialect's contract tests implement [`DialectUnderTest`] and name it in [`conformance!`](macro@crate::conformance);
//! that gives them each test of [`bodies`], [`empty_fields`], [`login`], [`rate_limits`], [`unavailability`], [`input`], [`http`],
//! [`mod@status_200`] and [`openapi`] under its name. [`sessions`] is for dialects whose clients are given a token
//! ([`SessionDialect`]); [`salted`], [`salted_text`] and [`login_retries`] for those whose clients salt ([`SaltedDialect`]);
//! [`codes`] for those that send codes ([`CodeDialect`]). `suite` lists them all. What is expected is what the dialect
//! itself renders; that this is what its document has, to the byte, is pinned by `tests/golden/errors.txt` and the
//! golden transcripts.

#![expect(missing_docs, reason = "a test's name says what it shows")]

pub mod bodies;
pub mod codes;
pub mod empty_fields;
pub mod http;
pub mod input;
pub mod login;
pub mod login_retries;
pub mod openapi;
pub mod rate_limits;
pub mod salted;
pub mod salted_text;
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
pub use suite::run;

use crate::{RequestCost, TestApp, TestLab, TestResponse};

/// The phone of the user that most tests are about, an identifier in every dialect.
pub const PHONE: &str = "13800138000";
/// Other writings of [`PHONE`], which every dialect takes (docs/FIELD.md).
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
/// The phone of no user.
pub const UNKNOWN_PHONE: &str = "13900139000";
/// The password of the user.
pub const PASSWORD: &str = "hna123";
/// Another one.
pub const WRONG_PASSWORD: &str = "wrong!";
/// Has the service believe `X-Forwarded-For`.
pub const BEHIND_PROXY: (&str, &str) = ("STELE_TRUSTED_PROXIES", "127.0.0.1");

/// Writings of a token in a header, which every dialect takes (docs/FIELD.md).
pub fn token_header_variants(token: &str) -> Vec<String> {
    let writings =
        ["{}", "Bearer {}", "bearer  {}", "Bearer: {}", "Bearer:{}", "Token {}", "JWT {}", "\"{}\"", "Bearer \"{}\""];
    writings.iter().map(|writing| writing.replace("{}", token)).collect()
}

/// Settings, by name.
pub type Settings = &'static [(&'static str, &'static str)];

/// A running service of a dialect, and how its clients call it.
#[expect(async_fn_in_trait, reason = "called by tests alone, each on one thread")]
pub trait DialectUnderTest: Sized + DerefMut<Target = TestApp> + Into<TestApp> {
    /// The service.
    const SERVICE: Service;
    /// Settings that it needs.
    const SETTINGS: Settings = &[];
    /// Settings under which an unknown user is answered what a wrong password is.
    const UNIFORM_ERROR_SETTINGS: Settings = &[];
    /// The path of the login.
    const LOGIN_PATH: &'static str;
    /// Writings of the identifiers `Mark`, [`PHONE`] and `Mark@Stele.cn` that this dialect takes.
    const IDENTIFIERS: &'static [&'static str] = &["Mark", "MARK", " mark ", PHONE, "mark@stele.CN"];
    /// Whether its login takes any text for an identifier, be it nonsense.
    const ACCEPTS_ANY_IDENTIFIER: bool = true;
    /// JSON values that a field cannot have, by the field's name.
    const INVALID_VALUES: &'static [(&'static str, &'static [&'static str])] = &[];
    /// Paths below its prefix, or elsewhere, that it does not serve.
    const UNKNOWN_PATHS: &'static [&'static str];

    /// [`Self::IDENTIFIERS`] and [`PHONE_VARIANTS`].
    fn identifiers() -> Vec<&'static str> {
        [Self::IDENTIFIERS, PHONE_VARIANTS].concat()
    }

    /// Starts the service on `lab`, with what its clients need to call.
    async fn start(lab: TestLab) -> Self;

    /// What a login costs, right or wrong.
    fn login_cost(right: bool) -> RequestCost;

    /// The fields of a login from the `origin`-th origin.
    fn login_fields(&self, origin: u8, identifier: &str, password: &str) -> Vec<(&'static str, String)>;

    /// Whether a login was accepted.
    fn is_accepted(answer: &TestResponse) -> bool;

    /// Adds to a request what clients show beside the body, such as a token.
    fn add_credentials(&self, request: RequestBuilder) -> RequestBuilder {
        request
    }

    /// Reads an answer, where there is more to it than its bytes.
    fn decode_response(&self, answer: TestResponse) -> TestResponse {
        answer
    }

    /// The calls that read their body, with a good value for each field; by default, what the document says.
    fn calls_with_body(&self) -> Vec<Call> {
        input::documented_calls(Self::SERVICE)
    }

    /// Posts `body` as the content of a call.
    async fn submit(&self, call: &Call, content_type: &str, body: Vec<u8>) -> TestResponse {
        self.post_with_type(&call.path, content_type, body).await
    }

    /// Logs in as a client that has met the challenge first.
    async fn login_after_challenge(&self, origin: u8, identifier: &str, password: &str) -> TestResponse {
        self.login(origin, identifier, password).await
    }

    /// The `n`-th call of a stranger who wants to know whether there is such a user.
    async fn enumeration_probe(&self, _: usize, identifier: &str) -> TestResponse {
        self.login(0, identifier, WRONG_PASSWORD).await
    }

    /// The service on a new user base.
    async fn new() -> Self {
        Self::with_settings(&[]).await
    }

    /// As [`DialectUnderTest::new`], with these settings on top.
    async fn with_settings(settings: &[(&str, &str)]) -> Self {
        Self::start(TestLab::with_settings(&[Self::SETTINGS, settings].concat()).await).await
    }

    /// Logs in.
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

    /// Adds the user that most tests are about.
    async fn add_test_user(&self) -> User {
        self.lab.user("Mark").password(PASSWORD).phone(PHONE).email("Mark@Stele.cn").add().await
    }

    /// Fails to log in so often that the next attempt has to wait: five failures are free, the sixth starts a wait of
    /// a second.
    async fn exhaust_free_attempts(&self, identifier: &str) {
        for origin in 1..=5 {
            self.assert_fails_with(&self.login(origin, identifier, WRONG_PASSWORD).await, &Error::WrongPassword);
        }
        self.assert_fails_with(&self.login_after_challenge(6, identifier, WRONG_PASSWORD).await, &Error::WrongPassword);
    }

    /// Asserts that a login is accepted; gives its answer.
    #[track_caller]
    fn assert_accepted(&self, answer: TestResponse) -> TestResponse {
        assert!(Self::is_accepted(&answer), "{answer:?}");
        answer
    }
}

/// A dialect whose clients are given a session's token.
#[expect(async_fn_in_trait, reason = "called by tests alone, each on one thread")]
pub trait SessionDialect: DialectUnderTest {
    /// The session that an accepted login opened.
    fn session_token(&self, answer: &TestResponse) -> Token;

    /// Logs in; gives the session.
    async fn open_session(&self) -> Token {
        // A salted proof is good once a second.
        self.advance_clock(1);
        let answer = self.login(0, PHONE, PASSWORD).await;
        self.session_token(&self.assert_accepted(answer))
    }
}

/// A dialect whose clients prove a password by `md5(D + timestamp)`.
pub trait SaltedDialect: DialectUnderTest {
    /// Settings under which nothing but a salted digest proves.
    const SALTED_ONLY_SETTINGS: Settings = &[];

    /// The fields of a login with this digest, made at `at`.
    fn proof_fields(identifier: &str, digest: &str, at: i64) -> Vec<(&'static str, String)> {
        vec![("username", identifier.to_owned()), ("password", digest.to_owned()), ("timestamp", at.to_string())]
    }
}

/// A dialect that sends codes to set a new password by.
#[expect(async_fn_in_trait, reason = "called by tests alone, each on one thread")]
pub trait CodeDialect: DialectUnderTest {
    /// Asks for a code to be sent to the phone of a user.
    async fn request_code(&self, origin: u8, phone: &str) -> TestResponse;

    /// Shows a code for setting a new password; a code that is accepted is used up.
    async fn redeem_code(&self, phone: &str, code: &str) -> TestResponse;

    /// Whether what was asked for was done.
    fn is_success(answer: &TestResponse) -> bool;
}

/// Makes a type whose field `app` is a [`TestApp`](crate::TestApp) stand for it.
#[macro_export]
macro_rules! stands_for_its_app {
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
