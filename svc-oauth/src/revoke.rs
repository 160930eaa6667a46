//! The revocation endpoint (RFC 7009).

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use stele_core::UseCases;
use stele_core::event::Action;
use stele_dialect::{ClientAddress, RawBody, json_response};

use crate::ServiceState;
use crate::error::{EndpointError, EndpointResult, respond};
use crate::request::{EndpointRequest, read_access_token};
use crate::wire::RevokedBody;

/// `POST /oauth2/revoke`
pub(crate) async fn revoke(
    request: HttpRequest,
    body: RawBody,
    address: ClientAddress,
    use_cases: Data<UseCases>,
    state: Data<ServiceState>,
) -> HttpResponse {
    respond(revoke_token(&request, &body, address, &use_cases, &state).await)
}

async fn revoke_token(
    request: &HttpRequest,
    body: &RawBody,
    address: ClientAddress,
    use_cases: &UseCases,
    state: &ServiceState,
) -> EndpointResult {
    let request = EndpointRequest::read(request, body, address)?;
    let client = request.authenticate_client(use_cases, Action::RevokeToken).await?;
    let text = request.form.get("token").ok_or_else(|| EndpointError::missing("token"))?;
    let token = read_access_token(use_cases, state, text).await?;
    use_cases.revoke_token(&client, &token).await?;
    Ok(json_response(StatusCode::OK, &RevokedBody {}))
}
