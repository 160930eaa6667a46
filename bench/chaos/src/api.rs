//! Calls of the services as old clients make them: cloudbox (salted login, change of the password, logout) and the
//! portal (code, registration), each with its answer as far as the ledger needs it.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use stele_bench_kit::dialect::{
    CLOUDBOX_CHANGE_PASSWORD, CLOUDBOX_LOGIN, CLOUDBOX_LOGOUT, PORTAL_SEND_CODE, form_post, json_post, md5_hex,
    salted_login_body, salted_proof,
};
use stele_bench_kit::{Connection, Request};

/// The longest that a client waits for a response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// Path of the portal's registration.
const PORTAL_REGISTER: &str = "/i/register";

/// The result of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The documented success.
    Success,
    /// The password is wrong, or the user unknown.
    WrongPassword,
    /// The proof was used before.
    Replayed,
    /// The proof's timestamp is not fresh, or older than the state store's data.
    Stale,
    /// The code is wrong, used or unknown.
    WrongCode,
    /// There is no such session.
    NoSession,
    /// A 5xx, which contains the status and the request's id.
    ServerError(u16, Option<String>),
    /// No response, or none in time.
    NoResponse(&'static str),
    /// Any other response.
    Unexpected(String),
}

impl Answer {
    /// The reason for a table of failed requests.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Success => "success".to_owned(),
            Self::WrongPassword => "wrong password".to_owned(),
            Self::Replayed => "replayed".to_owned(),
            Self::Stale => "stale".to_owned(),
            Self::WrongCode => "wrong code".to_owned(),
            Self::NoSession => "no session".to_owned(),
            Self::ServerError(status, _) => status.to_string(),
            Self::NoResponse(why) => (*why).to_owned(),
            Self::Unexpected(what) => what.clone(),
        }
    }

    /// Whether a write with this answer may have taken effect, or may still do so.
    pub(crate) fn is_indefinite(&self) -> bool {
        matches!(self, Self::ServerError(..) | Self::NoResponse(_))
    }

    /// The id of the request, if there was a response.
    pub(crate) fn request_id(&self) -> Option<String> {
        match self {
            Self::ServerError(_, id) => id.clone(),
            _ => None,
        }
    }
}

/// The user and the new session of an accepted login or change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OpenedSession {
    pub(crate) user_id: String,
    pub(crate) token: String,
}

/// A client on one keep-alive connection.
pub(crate) struct ApiClient {
    address: SocketAddr,
    connection: Option<Connection>,
}

impl ApiClient {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, connection: None }
    }

    /// A salted login at cloudbox. `timestamp` is in Unix milliseconds.
    pub(crate) async fn log_in(&mut self, phone: &str, password: &str, timestamp: u64) -> (Answer, OpenedSession) {
        self.call_cloudbox(CLOUDBOX_LOGIN, &salted_login_body(phone, password, timestamp)).await
    }

    /// A change of the password at cloudbox.
    pub(crate) async fn change_password(
        &mut self,
        user_id: &str,
        old: &str,
        new: &str,
        timestamp: u64,
    ) -> (Answer, OpenedSession) {
        let body = json!({
            "user_id": user_id,
            "orig_password": salted_proof(old, timestamp),
            "new_password": md5_hex(new),
            "timestamp": timestamp,
        });
        self.call_cloudbox(CLOUDBOX_CHANGE_PASSWORD, &body).await
    }

    /// A logout at cloudbox.
    pub(crate) async fn log_out(&mut self, token: &str) -> Answer {
        let request = json_post(CLOUDBOX_LOGOUT, &json!({})).with_header("authorization", token);
        match self.send(&request).await {
            Ok(response) if response.status == 200 && response.json["msg"] == "退出成功" => Answer::Success,
            Ok(response) if response.status == 401 => Answer::NoSession,
            Ok(response) => response.other(),
            Err(answer) => answer,
        }
    }

    /// Requests a code at the portal.
    pub(crate) async fn send_code(&mut self, phone: &str) -> Answer {
        self.call_portal(PORTAL_SEND_CODE, &[("username", phone)]).await
    }

    /// A registration at the portal.
    pub(crate) async fn register(&mut self, phone: &str, password: &str, code: &str) -> Answer {
        let (password, code) = (STANDARD.encode(password), STANDARD.encode(code));
        self.call_portal(PORTAL_REGISTER, &[("username", phone), ("password", &password), ("code", &code)]).await
    }

    async fn call_cloudbox(&mut self, path: &str, body: &Value) -> (Answer, OpenedSession) {
        let response = match self.send(&json_post(path, body)).await {
            Ok(response) => response,
            Err(answer) => return (answer, OpenedSession::default()),
        };
        let data = &response.json["data"];
        let text = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
        let opened = OpenedSession { user_id: text("user_id"), token: text("user_token") };
        let answer = match (response.status, response.json["code"].as_str()) {
            (200, Some("0000")) => Answer::Success,
            (200, Some("1002")) => Answer::WrongPassword,
            (200, Some("1003")) => Answer::Stale,
            (200, Some("1004")) => Answer::Replayed,
            _ => response.other(),
        };
        (answer, opened)
    }

    async fn call_portal(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        match self.send(&form_post(path, fields)).await {
            Ok(response) => match (response.status, response.json["status"]["status_code"].as_str()) {
                (200, Some("200")) => Answer::Success,
                (200, Some("3208")) => Answer::WrongCode,
                _ => response.other(),
            },
            Err(answer) => answer,
        }
    }

    async fn send(&mut self, request: &Request) -> Result<ParsedResponse, Answer> {
        let exchange = async {
            let mut connection = match self.connection.take().filter(Connection::is_open) {
                Some(connection) => connection,
                None => Connection::connect(self.address).await?,
            };
            let response = connection.request(&request.to_bytes()).await?.to_response();
            self.connection = Some(connection);
            Ok::<_, std::io::Error>(response)
        };
        let response = match tokio::time::timeout(RESPONSE_TIMEOUT, exchange).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
                return Err(Answer::NoResponse("connection refused"));
            }
            Ok(Err(_)) => return Err(Answer::NoResponse("connection closed")),
            Err(_) => return Err(Answer::NoResponse("no response in 10 s")),
        };
        Ok(ParsedResponse {
            status: response.status,
            request_id: response.header("x-request-id").map(str::to_owned),
            json: serde_json::from_slice(&response.body).unwrap_or_default(),
        })
    }
}

struct ParsedResponse {
    status: u16,
    request_id: Option<String>,
    json: Value,
}

impl ParsedResponse {
    /// The answer that a response means to every call alike.
    fn other(self) -> Answer {
        match self.status {
            500.. => Answer::ServerError(self.status, self.request_id),
            status => Answer::Unexpected(format!("{status} {}", self.json)),
        }
    }
}
