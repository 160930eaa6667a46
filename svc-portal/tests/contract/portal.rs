//! A portal of a test's own, and how to speak to it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers may panic")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use stele_testkit::{Lab, Running};
use svc_portal::SERVICE;

/// The phone most tests use.
pub(crate) const PHONE: &str = "13800138000";
/// The service trusts loopback, so that a test can call from any address.
pub(crate) const PROXY: (&str, &str) = ("STELE_TRUSTED_PROXIES", "127.0.0.1");
/// Where requests come from unless a test says otherwise.
pub(crate) const HOME: &str = "192.0.2.1";

/// The portal's base64.
pub(crate) fn b64(text: &str) -> String {
    STANDARD.encode(text)
}

/// A running portal.
pub(crate) struct Portal {
    pub(crate) lab: Lab,
    pub(crate) service: Running,
    http: reqwest::Client,
}

/// What it answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) http: u16,
    pub(crate) code: String,
    pub(crate) text: String,
    pub(crate) content: Value,
    pub(crate) body: String,
    pub(crate) set_cookie: Option<String>,
    pub(crate) retry_after: Option<u64>,
}

impl Answer {
    /// The envelope is as documented; `status_code` is this.
    #[track_caller]
    pub(crate) fn is(&self, code: &str) -> &Self {
        assert_eq!(self.code, code, "{self:?}");
        let http = code.parse().ok().filter(|n| *n < 1000).unwrap_or(200);
        assert_eq!(self.http, http, "{self:?}");
        self
    }

    /// Input was refused, and this named.
    #[track_caller]
    pub(crate) fn refuses(&self, what: &str) -> &Self {
        assert!(self.is("400").text.contains(what), "{what} is not named in {self:?}");
        self
    }

    /// The session's token.
    #[track_caller]
    pub(crate) fn token(&self) -> String {
        let cookie = self.set_cookie.as_deref().expect("a cookie");
        cookie.strip_prefix("stele_session=").unwrap().split(';').next().unwrap().to_owned()
    }
}

impl Portal {
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    pub(crate) async fn with(settings: &[(&str, &str)]) -> Self {
        let lab = Lab::with(&[&[PROXY], settings].concat()).await;
        let service = lab.start(SERVICE).await;
        Self { lab, service, http: stele_testkit::http() }
    }

    /// A request to `path` from `address`, to be sent by [`Portal::send`].
    pub(crate) fn request(&self, address: &str, path: &str) -> reqwest::RequestBuilder {
        self.http.post(self.service.url(path)).header("x-forwarded-for", address)
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        read(request.send().await.unwrap()).await
    }

    pub(crate) async fn post_from(&self, address: &str, path: &str, form: &[(&str, &str)]) -> Answer {
        let request = self.request(address, path).header("content-type", "application/x-www-form-urlencoded");
        self.send(request.body(urlencoded(form))).await
    }

    pub(crate) async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        self.post_from(HOME, path, form).await
    }

    pub(crate) async fn login_from(&self, address: &str, username: &str, password: &str) -> Answer {
        self.post_from(address, "/i/login", &[("username", username), ("password", &b64(password))]).await
    }

    pub(crate) async fn login(&self, username: &str, password: &str) -> Answer {
        self.login_from(HOME, username, password).await
    }

    /// Register, reset, or a login with a code.
    pub(crate) async fn with_code(&self, path: &str, username: &str, password: &str, code: &str) -> Answer {
        let form = [("username", username), ("password", &b64(password)), ("code", &b64(code))];
        self.post(path, &form).await
    }

    /// Has a code sent; gives it.
    pub(crate) async fn code(&self, to: &str) -> String {
        self.post("/code/send", &[("username", to)]).await.is("200");
        self.lab.code_for(to)
    }

    /// A code that is not `code`.
    pub(crate) fn not(code: &str) -> String {
        if code == "000000" { "000001".to_owned() } else { "000000".to_owned() }
    }

    /// Opens an account the way people do.
    pub(crate) async fn member(&self, username: &str, password: &str) {
        let code = self.code(username).await;
        self.with_code("/i/register", username, password, &code).await.is("200");
    }

    /// Whether the session of `token` lives.
    pub(crate) async fn lives(&self, token: &str) -> bool {
        let token = stele_core::session::Token::parse(token).unwrap();
        match self.lab.use_cases().authenticate("portal", &token).await {
            Ok(_) => true,
            Err(stele_core::Error::NotAuthenticated) => false,
            Err(other) => panic!("{other}"),
        }
    }
}

fn urlencoded(form: &[(&str, &str)]) -> String {
    let escape = |text: &str| text.bytes().map(|b| format!("%{b:02X}")).collect::<String>();
    form.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect::<Vec<_>>().join("&")
}

async fn read(response: reqwest::Response) -> Answer {
    let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(header("content-type").as_deref(), Some("application/json; charset=utf-8"));
    assert_eq!(header("cache-control").as_deref(), Some("no-store"));
    let (http, set_cookie) = (response.status().as_u16(), header("set-cookie"));
    let retry_after = header("retry-after").map(|seconds| seconds.parse().unwrap());
    let body = response.text().await.unwrap();
    let answer: Value = serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {body}"));
    let of = |name: &str| answer["status"][name].as_str().unwrap_or_else(|| panic!("{name}: {body}")).to_owned();
    let (code, text) = (of("status_code"), of("status_message"));
    let content = answer["content"].clone();
    // The document's order, and nothing else.
    let start =
        format!(r#"{{"status":{{"status_code":"{code}","status_message":"{text}","message":"{text}"}},"content":{{"#);
    assert!(body.starts_with(&start), "{body}");
    assert_eq!((answer.as_object().unwrap().len(), answer["status"].as_object().unwrap().len()), (2, 3), "{body}");
    assert!(content.is_object() && (code == "200" || content.as_object().unwrap().is_empty()), "{body}");
    assert_eq!(code == "429" || code == "503", retry_after.is_some(), "{body}");
    Answer { http, code, text, content, body, set_cookie, retry_after }
}
