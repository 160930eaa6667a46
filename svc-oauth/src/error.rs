//! The error responses of the OAuth endpoints (RFC 6749 §5.2).

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, PRAGMA, WWW_AUTHENTICATE};
use stele_core::Error;
use stele_core::oauth::OAuthError;
use stele_dialect::{Dialect as _, finish_error_response};

use crate::credentials::CredentialsError;
use crate::dialect::{OAuth, error_response};
use crate::form::FormError;

/// The challenge of a response about failed client authentication.
const BASIC_CHALLENGE: &str = "Basic realm=\"stele\", charset=\"UTF-8\"";

/// Why an endpoint refuses a request.
#[derive(Debug)]
pub(crate) enum EndpointError {
    /// The request is malformed: `invalid_request` with this description.
    InvalidRequest(String),
    /// `unsupported_grant_type`.
    UnsupportedGrantType,
    /// A use case failed, or there are no credentials.
    OAuth(OAuthError),
}

/// The result of an endpoint.
pub(crate) type EndpointResult<T = HttpResponse> = Result<T, EndpointError>;

impl EndpointError {
    /// The parameter `name` is missing.
    pub(crate) fn missing(name: &str) -> Self {
        Self::InvalidRequest(format!("The parameter {name} is missing."))
    }
}

impl From<OAuthError> for EndpointError {
    fn from(error: OAuthError) -> Self {
        Self::OAuth(error)
    }
}

impl From<Error> for EndpointError {
    fn from(error: Error) -> Self {
        Self::OAuth(OAuthError::Domain(error))
    }
}

impl From<FormError> for EndpointError {
    fn from(error: FormError) -> Self {
        Self::InvalidRequest(error.to_string())
    }
}

impl From<CredentialsError> for EndpointError {
    fn from(error: CredentialsError) -> Self {
        match error {
            CredentialsError::Missing => Self::OAuth(OAuthError::InvalidClient),
            CredentialsError::Ambiguous => {
                Self::InvalidRequest("The client must authenticate by exactly one method.".to_owned())
            }
        }
    }
}

/// The response of an endpoint, with the headers that RFC 6749 §5.1 and §5.2 require.
pub(crate) fn respond(result: EndpointResult) -> HttpResponse {
    let mut response = result.unwrap_or_else(|error| render(&error));
    response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

fn render(error: &EndpointError) -> HttpResponse {
    let (code, description) = match error {
        EndpointError::InvalidRequest(description) => ("invalid_request", description.as_str()),
        EndpointError::UnsupportedGrantType => ("unsupported_grant_type", "The server has no grant of this type."),
        EndpointError::OAuth(error) => match error {
            OAuthError::InvalidClient => return invalid_client(),
            OAuthError::UnauthorizedClient => ("unauthorized_client", "The client is not registered for this grant."),
            OAuthError::BadSubjectToken => ("invalid_request", "The subject token is not valid."),
            OAuthError::OtherClientsToken => ("invalid_request", "The token was issued to another client."),
            OAuthError::InvalidTarget => ("invalid_target", "The target is not one resource server of the client."),
            OAuthError::InvalidScope => ("invalid_scope", "The scope is malformed or wider than permitted."),
            OAuthError::Domain(error) => return finish_error_response(error, OAuth::render_error(error)),
        },
    };
    error_response(StatusCode::BAD_REQUEST, code, description)
}

/// 401 with a challenge, however the client tried to authenticate (RFC 9110 §15.5.2).
fn invalid_client() -> HttpResponse {
    let mut response = error_response(StatusCode::UNAUTHORIZED, "invalid_client", "Client authentication failed.");
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(BASIC_CHALLENGE));
    response
}
