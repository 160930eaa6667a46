//! Error responses of the OAuth endpoints: `{"error":"…","error_description":"…"}` (RFC 6749 5.2).

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use stele_core::Error;
use stele_core::proof::ProofKind;
use stele_dialect::{Dialect, FieldError, RequestRejection, json_response, response_body};

/// The "dialect" of the OAuth service: how it renders rejected requests and domain errors. Users do not log in through it.
#[derive(Debug)]
pub struct OAuth;

response_body! {
    /// An error response. The description has only characters that RFC 6749 5.2 permits.
    pub(crate) struct ErrorBody<'a> = ERROR_BODY "Error" "An error (RFC 6749 5.2)" {
        error: &'a str => pattern("the error code", "^[a-z_]+$", "invalid_request"),
        error_description: &'a str => text("an explanation for the client's developer", "A parameter is missing."),
    }
}

/// An error response with a code and a description for the client's developer. Characters that RFC 6749 5.2 does not
/// permit in the description (`"`, `\`, and those outside printable ASCII) become `?`.
pub(crate) fn error_response(status: StatusCode, error: &str, description: &str) -> HttpResponse {
    let is_permitted = |c: &char| matches!(c, ' ' | '!' | '#'..='[' | ']'..='~');
    let error_description: String = description.chars().map(|c| if is_permitted(&c) { c } else { '?' }).collect();
    json_response(status, &ErrorBody { error, error_description: &error_description })
}

impl Dialect for OAuth {
    const NAME: &'static str = "oauth";
    const ACCEPTED_PROOFS: &'static [ProofKind] = &[];

    fn render_rejection(rejection: &RequestRejection) -> HttpResponse {
        let description = match rejection {
            RequestRejection::NotFound => "There is no such endpoint.".to_owned(),
            RequestRejection::MethodNotAllowed => "The endpoint does not support this method.".to_owned(),
            RequestRejection::BodyTooLarge => "The request is too large.".to_owned(),
            RequestRejection::RequestTimeout => "The request took too long to arrive.".to_owned(),
            RequestRejection::InvalidInput(error) => describe_field_error(error),
            RequestRejection::Internal => "Internal error.".to_owned(),
        };
        let error = match rejection {
            RequestRejection::Internal => "server_error",
            _ => "invalid_request",
        };
        error_response(rejection.status(), error, &description)
    }

    fn render_error(error: &Error) -> HttpResponse {
        let (status, code, description) = match error {
            Error::Invalid(field) => {
                let description = format!("The parameter {field} is invalid.");
                return error_response(StatusCode::BAD_REQUEST, "invalid_request", &description);
            }
            // RFC 6750 3.1.
            Error::NotAuthenticated => (StatusCode::UNAUTHORIZED, "invalid_token", "The token is not valid."),
            Error::NotAllowed => (StatusCode::FORBIDDEN, "access_denied", "The user is not allowed to do this."),
            Error::RateLimited { .. } => {
                (StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable", "Too many requests; see Retry-After.")
            }
            Error::Busy { .. } | Error::Unavailable(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", "The service is unavailable; retry.")
            }
            Error::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "server_error", "Internal error."),
            // Not reachable: users do not log in, register or set passwords through this service.
            Error::UnknownUser
            | Error::WrongPassword
            | Error::Stale
            | Error::Replayed
            | Error::Disabled
            | Error::ChallengeRequired
            | Error::ChallengeFailed
            | Error::WrongCode
            | Error::CommonPassword
            | Error::IdentifierTaken
            | Error::TicketRefused => (StatusCode::BAD_REQUEST, "invalid_grant", "The grant is not valid."),
        };
        error_response(status, code, description)
    }
}

fn describe_field_error(error: &FieldError) -> String {
    match error {
        FieldError::MalformedRequest => "The request is malformed.".to_owned(),
        FieldError::Missing(name) => format!("The parameter {name} is missing."),
        FieldError::Duplicate(name) => format!("The parameter {name} is repeated."),
        FieldError::Invalid(name) => format!("The parameter {name} is invalid."),
    }
}
