//! A service under test, a client of it, and what the client is answered.

use std::time::Duration;

use actix_web::body::MessageBody as _;
use reqwest::RequestBuilder;
use reqwest::header::HeaderMap;
use serde_json::Value;
use stele_app::Service;
use stele_core::Error;
use stele_core::password::{NewPassword, RawPassword};
use stele_core::session::Token;
use stele_core::user::{User, UserRef, UserStatus};
use stele_dialect::RequestRejection;

use crate::{RunningService, TestLab, http_client};

/// A service on a user base of its own, and a client.
pub struct TestApp {
    /// The user base.
    pub lab: TestLab,
    /// The service.
    pub service: RunningService,
    http: reqwest::Client,
}

/// What a request was answered.
#[derive(Debug)]
pub struct TestResponse {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; of a sealed answer, what was within.
    pub text: String,
    /// Whether the body was encrypted.
    pub encrypted: bool,
}

impl PartialEq for TestResponse {
    /// Whether they are the same to a client, whatever the time.
    fn eq(&self, other: &Self) -> bool {
        let headers = |answer: &Self| {
            let mut headers = answer.headers.clone();
            headers.remove("date");
            headers
        };
        (self.status, &self.text, self.encrypted) == (other.status, &other.text, other.encrypted)
            && headers(self) == headers(other)
    }
}

impl TestResponse {
    /// The body.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// A header; empty if it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// How many seconds to wait.
    pub fn retry_after(&self) -> Option<u64> {
        self.headers.get("retry-after").map(|seconds| seconds.to_str().unwrap().parse().unwrap())
    }

    /// Asserts status and body.
    #[track_caller]
    pub fn assert_is(&self, status: u16, text: &str) {
        assert_eq!((self.status, self.text.as_str()), (status, text));
    }
}

impl TestApp {
    /// Starts `service` on `lab`.
    pub async fn start(lab: TestLab, service: Service) -> Self {
        let service = lab.start_service(service).await;
        Self { lab, service, http: http_client() }
    }

    /// The time, in seconds.
    pub fn now(&self) -> i64 {
        self.lab.clock().now().as_secs()
    }

    /// Lets seconds pass.
    pub fn advance_clock(&self, seconds: u64) {
        self.lab.clock().advance(Duration::from_secs(seconds));
    }

    /// A request.
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.http.request(method.parse().unwrap(), self.service.url(path))
    }

    /// Sends a request; whatever is answered is JSON and may not be stored.
    pub async fn send(&self, request: RequestBuilder) -> TestResponse {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        assert_eq!(headers["content-type"], "application/json; charset=utf-8");
        assert_eq!(headers["cache-control"], "no-store");
        TestResponse { status, headers, text: response.text().await.unwrap(), encrypted: false }
    }

    /// Posts a body.
    pub async fn post_with_type(&self, path: &str, content_type: &str, body: impl Into<reqwest::Body>) -> TestResponse {
        self.send(self.request("POST", path).header("content-type", content_type).body(body)).await
    }

    /// Disables a user, or enables them again.
    pub async fn set_disabled(&self, user: &User, disabled: bool) {
        let status = if disabled { UserStatus::Disabled } else { UserStatus::Active };
        self.lab.use_cases().set_status(UserRef::Id(user.id), status).await.unwrap();
    }

    /// Sets a password, as an administrator does.
    pub async fn set_password(&self, user: &User, password: &str) {
        let password = NewPassword::from_administrator(&RawPassword::new(password.to_owned())).unwrap();
        self.lab.use_cases().provision_password(UserRef::Id(user.id), &password).await.unwrap();
    }

    /// How many password hashes were computed so far.
    pub fn hash_count(&self) -> u64 {
        self.lab.dependencies().hasher.computed_hashes()
    }

    /// Whether a session of this service's dialect lives; if so, it is prolonged.
    pub async fn is_session_valid(&self, token: &Token) -> bool {
        match self.lab.use_cases().authenticate(self.service.service().name, token).await {
            Ok(_) => true,
            Err(Error::NotAuthenticated) => false,
            Err(other) => panic!("{other}"),
        }
    }

    /// The body that the dialect renders an error as.
    pub fn render_error(&self, error: &Error) -> String {
        response_parts((self.service.service().render_error)(error)).2
    }

    /// Asserts that the dialect refused a request for this reason.
    #[track_caller]
    pub fn assert_refused(&self, answer: &TestResponse, refusal: &RequestRejection) {
        let (status, _, text) = response_parts((self.service.service().render_rejection)(refusal));
        answer.assert_is(status, &text);
    }

    /// Asserts that a request failed by this error, as the dialect renders it, to the byte: so nothing of a cause.
    #[track_caller]
    pub fn assert_fails_with(&self, answer: &TestResponse, error: &Error) {
        let (status, retry_after, text) =
            response_parts(stele_dialect::finish_error_response(error, (self.service.service().render_error)(error)));
        answer.assert_is(status, &text);
        assert_eq!(answer.retry_after(), retry_after, "{answer:?}");
    }
}

/// Status, `Retry-After` and body of a response.
pub(crate) fn response_parts(response: actix_web::HttpResponse) -> (u16, Option<u64>, String) {
    let status = response.status().as_u16();
    let retry_after = response.headers().get("retry-after").map(|seconds| seconds.to_str().unwrap().parse().unwrap());
    let body = response.into_body().try_into_bytes().unwrap();
    (status, retry_after, String::from_utf8(body.to_vec()).unwrap())
}
