//! Forward auth: three endpoints for reverse proxies, one for each way in which proxies ask about a request.
//!
//! Each reads only what its proxies set themselves, and answers every method. Only Envoy's endpoint reads its own path
//! and query, which are the original request's. The endpoints are for proxies beside the server: the gateway routes
//! them only for peers on loopback and for trusted proxies.
//!
//! - [`original_request`]: what the proxy asks about
//! - [`credentials`]: the credential that the client sent
//! - [`rules`]: the file with the access rules; `stele_core::oauth::AccessRules` applies them
//! - `identity_headers`, `assertion`: what the application gets

mod assertion;
pub mod credentials;
mod identity_headers;
pub mod original_request;
pub mod rules;

use std::path::PathBuf;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, WWW_AUTHENTICATE};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use stele_core::oauth::{AccessDecision, AccessRules};
use stele_core::usecase::RequestInfo;
use stele_core::usecase::check_access::AccessCredential;
use stele_core::{Error, UseCases};
use stele_dialect::{ClientAddress, Dialect as _, Routes, finish_error_response, internal_resource};
use stele_service::log_sanitizer::LogRateLimiter;
use stele_service::setting::optional;
use stele_service::{BEARER_CHALLENGE, ConfigError, Settings};
use tokio::time::Instant;

use crate::{OAuth, ServiceState};
use credentials::{Credential, Presented};
use original_request::{EXT_AUTHZ_PREFIX, OriginalRequest, ProxyContract};

/// Requests below this path are Envoy's: the original path follows it, as it was sent.
pub const VERBATIM_PREFIX: &str = "/authz/ext-authz/";

stele_service::settings! {
    /// Forward auth.
    pub const SETTINGS = "STELE_";
    /// TOML file with the access rules of forward auth: which hosts and paths which roles may reach, after how strong a
    /// login; read at the start
    AUTHZ_RULES: Option<PathBuf> = optional("every user with a live session may reach every host and path");
}

/// The access rules; `None`: every user with a live session is allowed.
struct Rules(Option<AccessRules>);

/// The routes of the endpoints.
///
/// # Errors
/// If the file with the rules cannot be read or is invalid.
pub(crate) fn routes(settings: &Settings) -> Result<Routes, ConfigError> {
    let rules = Data::new(Rules(rules::from_settings(settings)?));
    let ext_authz_pattern = format!("{EXT_AUTHZ_PREFIX}{{path:/.*}}");
    Ok(Arc::new(move |config| {
        config
            .app_data(rules.clone())
            .service(internal_resource("/authz/auth-request", "/authz/auth-request", auth_request))
            .service(internal_resource("/authz/forward-auth", "/authz/forward-auth", forward_auth))
            .service(internal_resource(&ext_authz_pattern, VERBATIM_PREFIX, ext_authz));
    }))
}

async fn auth_request(request: HttpRequest, access: AccessCheck) -> HttpResponse {
    answer(ProxyContract::AuthRequest, &request, access).await
}

async fn forward_auth(request: HttpRequest, access: AccessCheck) -> HttpResponse {
    answer(ProxyContract::ForwardAuth, &request, access).await
}

async fn ext_authz(request: HttpRequest, access: AccessCheck) -> HttpResponse {
    answer(ProxyContract::ExtAuthz, &request, access).await
}

/// Limits the warnings about proxies that do not describe the request: they could be one for each request.
static MISCONFIGURATION_LOG: LogRateLimiter = LogRateLimiter::new(1);

/// What an endpoint needs to answer.
type AccessCheck = (ClientAddress, Data<UseCases>, Data<ServiceState>, Data<Rules>);

/// Answers a proxy: 200 and the user, or the reason of the denial. A proxy denies the request for any status but 200.
async fn answer(contract: ProxyContract, request: &HttpRequest, access: AccessCheck) -> HttpResponse {
    let (ClientAddress(address), use_cases, state, rules) = access;
    let Some(original) = OriginalRequest::read(contract, request) else {
        if MISCONFIGURATION_LOG.allow(Instant::now()).is_some() {
            tracing::warn!(?contract, "the proxy does not describe the request; see deploy/forward-auth");
        }
        return identity_headers::respond(StatusCode::BAD_REQUEST);
    };
    let caller = RequestInfo::from_client(OAuth::NAME, address);
    let decision = match &rules.0 {
        Some(rules) => rules.decide(&original.host, original.path),
        None => AccessDecision::AnyUser,
    };
    let check = async {
        let Presented::One(credential) = Presented::read(request.headers(), &original) else {
            return Err(Error::NotAuthenticated);
        };
        let credential = state.verify_credential(&use_cases, credential).await?;
        let grant = use_cases.check_access(&caller, &credential, decision).await?;
        let assertion = state.sign_assertion(&grant, &original.host, use_cases.now())?;
        Ok(identity_headers::allow(&grant, &assertion))
    };
    check.await.unwrap_or_else(|error| deny(&error))
}

impl ServiceState {
    /// Verifies the signature of a JWT; other credentials are random numbers.
    async fn verify_credential(
        &self,
        use_cases: &UseCases,
        credential: Credential<'_>,
    ) -> Result<AccessCredential, Error> {
        let text = match credential {
            Credential::SessionToken(token) => return Ok(AccessCredential::SessionToken(token)),
            Credential::Cookie(token) => return Ok(AccessCredential::Cookie(token)),
            Credential::Jwt(text) => text,
        };
        match self.login_tokens.verify_or_refresh(use_cases, &text).await {
            Ok(login) => Ok(AccessCredential::LoginJwt { session: login.session_token, user: login.user_id }),
            Err(Error::NotAuthenticated) => {
                let token = self.verify_access_token(use_cases, &text).await?.ok_or(Error::NotAuthenticated)?;
                Ok(AccessCredential::AccessToken(Box::new(token)))
            }
            Err(error) => Err(error),
        }
    }
}

/// The response to a request that is not allowed: 401 without a live session, 403 for a known user, 503 while a store
/// is down.
fn deny(error: &Error) -> HttpResponse {
    let status = match error {
        Error::NotAuthenticated => StatusCode::UNAUTHORIZED,
        Error::NotAllowed => StatusCode::FORBIDDEN,
        Error::Unavailable(_) | Error::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut response = identity_headers::respond(status);
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(BEARER_CHALLENGE));
    }
    finish_error_response(error, response)
}
