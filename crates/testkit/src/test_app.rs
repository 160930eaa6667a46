//! A running service under test with its HTTP client, and assertions on responses.

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

/// A service on a new user base, and a client of it.
pub struct TestApp {
    /// The user base.
    pub lab: TestLab,
    /// The service.
    pub service: RunningService,
    http: reqwest::Client,
}

/// A response to a request.
#[derive(Debug)]
pub struct TestResponse {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, after decryption if it was encrypted.
    pub text: String,
    /// Whether the body was encrypted.
    pub encrypted: bool,
}

impl PartialEq for TestResponse {
    /// Whether a client cannot distinguish the two responses; the `Date` header is ignored.
    fn eq(&self, other: &Self) -> bool {
        let headers_without_date = |response: &Self| {
            let mut headers = response.headers.clone();
            headers.remove("date");
            headers
        };
        (self.status, &self.text, self.encrypted) == (other.status, &other.text, other.encrypted)
            && headers_without_date(self) == headers_without_date(other)
    }
}

impl TestResponse {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// A header's value; empty if it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The value of `Retry-After` in seconds.
    pub fn retry_after(&self) -> Option<u64> {
        self.headers.get("retry-after").map(|seconds| seconds.to_str().unwrap().parse().unwrap())
    }

    /// Asserts the status and the body.
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

    /// The time of the lab's clock, in seconds since 1970.
    pub fn now(&self) -> i64 {
        self.lab.clock().now().as_secs()
    }

    /// Moves the lab's clock forward.
    pub fn advance_clock(&self, seconds: u64) {
        self.lab.clock().advance(Duration::from_secs(seconds));
    }

    /// A request to the service, to be completed and sent.
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.http.request(method.parse().unwrap(), self.service.url(path))
    }

    /// Sends a request. Asserts that the response is JSON and must not be cached.
    pub async fn send(&self, request: RequestBuilder) -> TestResponse {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        assert_eq!(headers["content-type"], "application/json; charset=utf-8");
        assert_eq!(headers["cache-control"], "no-store");
        TestResponse { status, headers, text: response.text().await.unwrap(), encrypted: false }
    }

    /// Posts a body with this content type.
    pub async fn post_with_type(&self, path: &str, content_type: &str, body: impl Into<reqwest::Body>) -> TestResponse {
        self.send(self.request("POST", path).header("content-type", content_type).body(body)).await
    }

    /// Sets a user's status.
    pub async fn set_status(&self, user: &User, status: UserStatus) {
        self.lab.use_cases().set_status(UserRef::Id(user.id), status).await.unwrap();
    }

    /// Sets a user's password, as an administrator does.
    pub async fn set_password(&self, user: &User, password: &str) {
        let password = NewPassword::from_administrator(&RawPassword::new(password.to_owned())).unwrap();
        self.lab.use_cases().provision_password(UserRef::Id(user.id), &password).await.unwrap();
    }

    /// Number of password hashes computed so far.
    pub fn hash_count(&self) -> u64 {
        self.lab.dependencies().hasher.computed_hashes()
    }

    /// Whether a session of this service's dialect is valid. The check extends a valid session.
    pub async fn is_session_valid(&self, token: &Token) -> bool {
        match self.lab.use_cases().authenticate(self.service.service().name, token).await {
            Ok(_) => true,
            Err(Error::NotAuthenticated) => false,
            Err(other) => panic!("{other}"),
        }
    }

    /// The body with which the dialect reports an error.
    pub fn render_error(&self, error: &Error) -> String {
        response_parts((self.service.service().render_error)(error)).2
    }

    /// Asserts that the service rejected a request for this reason, in the dialect's format.
    #[track_caller]
    pub fn assert_rejected(&self, response: &TestResponse, rejection: &RequestRejection) {
        let (status, _, text) = response_parts((self.service.service().render_rejection)(rejection));
        response.assert_is(status, &text);
    }

    /// Asserts that a request failed with this error, exactly as the dialect renders the error. This also proves that
    /// no error source leaks into the response.
    #[track_caller]
    pub fn assert_fails_with(&self, response: &TestResponse, error: &Error) {
        let (status, retry_after, text) =
            response_parts(stele_dialect::finish_error_response(error, (self.service.service().render_error)(error)));
        response.assert_is(status, &text);
        assert_eq!(response.retry_after(), retry_after, "{response:?}");
    }
}

/// Status, `Retry-After` and body of a response.
pub(crate) fn response_parts(response: actix_web::HttpResponse) -> (u16, Option<u64>, String) {
    let status = response.status().as_u16();
    let retry_after = response.headers().get("retry-after").map(|seconds| seconds.to_str().unwrap().parse().unwrap());
    let body = response.into_body().try_into_bytes().unwrap();
    (status, retry_after, String::from_utf8(body.to_vec()).unwrap())
}
