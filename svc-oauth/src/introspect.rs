//! The introspection endpoint (RFC 7662).

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use stele_core::UseCases;
use stele_core::event::Action;
use stele_core::oauth::LegacyTokenType;
use stele_core::usecase::introspect_token::IntrospectionRequest;
use stele_dialect::{ClientAddress, RawBody, json_response};

use crate::ServiceState;
use crate::error::{EndpointError, EndpointResult, respond};
use crate::request::{EndpointRequest, read_access_token, read_legacy_token};
use crate::wire::{ActiveBody, InactiveBody};

/// `POST /oauth2/introspect`
pub(crate) async fn introspect(
    request: HttpRequest,
    body: RawBody,
    address: ClientAddress,
    use_cases: Data<UseCases>,
    state: Data<ServiceState>,
) -> HttpResponse {
    respond(describe_token(&request, &body, address, &use_cases, &state).await)
}

async fn describe_token(
    request: &HttpRequest,
    body: &RawBody,
    address: ClientAddress,
    use_cases: &UseCases,
    state: &ServiceState,
) -> EndpointResult {
    let request = EndpointRequest::read(request, body, address)?;
    let resource = request.authenticate_resource(use_cases, Action::IntrospectToken).await?;
    let text = request.form.get("token").ok_or_else(|| EndpointError::missing("token"))?;
    // Any other hint is only a hint, and ignored (RFC 7662 §2.1). The kind of a legacy token must be named, because 32
    // hex digits may be of any kind.
    let legacy_type = request.form.get("token_type_hint").and_then(LegacyTokenType::parse_urn);
    let token = match legacy_type {
        Some(kind) => read_legacy_token(use_cases, state, kind, text).await?,
        None => read_access_token(use_cases, state, text).await?,
    };
    let found = use_cases.introspect_token(&resource, &IntrospectionRequest { legacy_type, token }).await?;
    Ok(match found {
        Some(info) => json_response(StatusCode::OK, &ActiveBody::new(&info, state.issuer.as_str())),
        None => json_response(StatusCode::OK, &InactiveBody { active: false }),
    })
}
