//! What the five servers have in common: routes, and answers in JSON.

use async_trait::async_trait;
use serde_json::Value;

use crate::call::{Call, Outcome};
use crate::fault::{Fault, Lie};
use crate::request::Request;
use crate::state::State;
use crate::user::TableError;

/// The API of one document.
#[async_trait]
pub(crate) trait Protocol: Send + Sync + 'static {
    /// The kind of a call, `None` if the document does not have it.
    fn route(&self, method: &str, path: &str) -> Option<Call>;

    /// The login name, phone, e-mail or user id in the request.
    fn identifier(&self, request: &Request) -> String;

    /// Whether the fault can occur in this API.
    fn supports(&self, fault: &Fault) -> bool {
        *fault != Fault::CaptchaDemanded
    }

    /// Processes a call.
    async fn answer(&self, call: Call, request: &Request, state: &State, lie: Lie) -> Result<Answer, TableError>;
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Body,
    pub(crate) outcome: Outcome,
    /// The user, for the log, if the request does not name one.
    pub(crate) user: Option<String>,
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum Body {
    Json(Value),
    Svg(String),
}

impl Answer {
    /// 200 and a JSON text.
    pub(crate) fn accepted(body: Value) -> Self {
        let outcome = Outcome::Accepted;
        Self { status: 200, headers: Vec::new(), body: Body::Json(body), outcome, user: None }
    }

    /// 200 and a JSON text which says that the call failed, with `code`.
    pub(crate) fn refused(code: &str, body: Value) -> Self {
        Self { outcome: Outcome::Refused(code.to_owned()), ..Self::accepted(body) }
    }

    pub(crate) fn with_header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The user for the log.
    pub(crate) fn of_user(mut self, user: &str) -> Self {
        self.user = Some(user.to_owned());
        self
    }
}
