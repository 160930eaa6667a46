//! The token endpoint: `client_credentials` (RFC 6749 §4.4) and token exchange (RFC 8693).

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use stele_core::UseCases;
use stele_core::event::Action;
use stele_core::oauth::{Grant, OAuthError, SubjectTokenType, TokenGrant};
use stele_core::usecase::client_authentication::AuthenticatedClient;
use stele_core::usecase::exchange_token::ExchangeRequest;
use stele_core::usecase::token_request::TokenRequest;
use stele_dialect::{ClientAddress, RawBody, json_response};

use crate::ServiceState;
use crate::error::{EndpointError, EndpointResult, respond};
use crate::form::Form;
use crate::request::{EndpointRequest, read_access_token, read_legacy_token};
use crate::wire::TokenBody;

/// `POST /oauth2/token`
pub(crate) async fn token(
    request: HttpRequest,
    body: RawBody,
    address: ClientAddress,
    use_cases: Data<UseCases>,
    state: Data<ServiceState>,
) -> HttpResponse {
    respond(issue(&request, &body, address, &use_cases, &state).await)
}

async fn issue(
    request: &HttpRequest,
    body: &RawBody,
    address: ClientAddress,
    use_cases: &UseCases,
    state: &ServiceState,
) -> EndpointResult {
    let request = EndpointRequest::read(request, body, address)?;
    let grant_type = request.form.get("grant_type");
    let grant = grant_type.and_then(Grant::parse_grant_type);
    let subject_type = request.form.get("subject_token_type").and_then(SubjectTokenType::parse_urn);
    // Failed authentications are recorded under what was asked for.
    let action = match grant {
        Some(Grant::TokenExchange) => Action::ExchangeToken(subject_type.unwrap_or_default()),
        _ => Action::IssueToken,
    };
    let client = request.authenticate_client(use_cases, action).await?;
    match grant {
        Some(Grant::ClientCredentials) => {
            let granted = use_cases.issue_client_token(&client, &token_request(&request.form)).await?;
            token_response(state, &granted, None)
        }
        Some(Grant::TokenExchange) => exchange(&request.form, &client, subject_type, use_cases, state).await,
        None if grant_type.is_none() => Err(EndpointError::missing("grant_type")),
        None => Err(EndpointError::UnsupportedGrantType),
    }
}

async fn exchange(
    form: &Form,
    client: &AuthenticatedClient,
    subject_type: Option<SubjectTokenType>,
    use_cases: &UseCases,
    state: &ServiceState,
) -> EndpointResult {
    let subject_token = form.get("subject_token").ok_or_else(|| EndpointError::missing("subject_token"))?;
    if form.get("subject_token_type").is_none() {
        return Err(EndpointError::missing("subject_token_type"));
    }
    // A token that names its bearer and an actor is not issued here (RFC 8693 §2.1, §4.1).
    for name in ["actor_token", "actor_token_type"] {
        if form.get(name).is_some() {
            return Err(EndpointError::InvalidRequest(format!("The parameter {name} is not supported.")));
        }
    }
    let access_token_type = SubjectTokenType::AccessToken.urn();
    if form.get("requested_token_type").is_some_and(|requested| requested != access_token_type) {
        return Err(EndpointError::InvalidRequest("Only access tokens are issued.".to_owned()));
    }
    // An unknown type is answered like a token that is not valid: one error for every bad subject.
    let token_type = subject_type.ok_or(OAuthError::BadSubjectToken)?;
    let token = match token_type {
        SubjectTokenType::Legacy(kind) => read_legacy_token(use_cases, state, kind, subject_token).await?,
        SubjectTokenType::AccessToken => read_access_token(use_cases, state, subject_token).await?,
    };
    let exchange = ExchangeRequest { token_type, token, request: token_request(form) };
    let granted = use_cases.exchange_token(client, &exchange).await?;
    token_response(state, &granted, Some(access_token_type))
}

fn token_request(form: &Form) -> TokenRequest<'_> {
    TokenRequest { audiences: form.audiences(), resources: form.resources(), scope: form.get("scope") }
}

/// RFC 6749 §5.1, RFC 8693 §2.2.1. `scope` is always answered, since the default scope is no part of the request.
fn token_response(
    state: &ServiceState,
    granted: &TokenGrant,
    issued_token_type: Option<&'static str>,
) -> EndpointResult {
    let access_token = state.sign_access_token(granted)?;
    let body = TokenBody {
        access_token: &access_token,
        issued_token_type,
        token_type: "Bearer",
        expires_in: granted.token.lifetime_secs(),
        scope: granted.token.scope.to_text(),
    };
    Ok(json_response(StatusCode::OK, &body))
}
