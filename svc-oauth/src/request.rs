//! Requests to the token, introspection and revocation endpoints: the form, the credentials, and presented tokens.

use actix_web::HttpRequest;
use actix_web::http::header::{AsHeaderName, CONTENT_ENCODING, CONTENT_TYPE};
use stele_core::event::Action;
use stele_core::oauth::{LegacyTokenType, TokenLookup};
use stele_core::session::Token;
use stele_core::usecase::RequestInfo;
use stele_core::usecase::client_authentication::{AuthenticatedClient, AuthenticatedResource, ClientCredentials};
use stele_core::usecase::presented_token::PresentedToken;
use stele_core::{Error, Result, UseCases};
use stele_dialect::{ClientAddress, Dialect as _, RawBody};
use stele_jose::login_token::VerifiedToken;

use crate::credentials::Credentials;
use crate::error::EndpointResult;
use crate::form::{self, Form};
use crate::{OAuth, ServiceState};

/// A well-formed request to one of these endpoints, not authenticated yet.
pub(crate) struct EndpointRequest {
    /// The parameters.
    pub(crate) form: Form,
    credentials: Credentials,
    caller: RequestInfo,
}

impl EndpointRequest {
    /// Reads the form and the credentials of a request.
    ///
    /// # Errors
    /// `InvalidRequest` if either is malformed, `InvalidClient` without credentials.
    pub(crate) fn read(
        request: &HttpRequest,
        body: &RawBody,
        ClientAddress(address): ClientAddress,
    ) -> EndpointResult<Self> {
        form::check_query(request.query_string())?;
        form::check_headers(header(request, CONTENT_TYPE), header(request, CONTENT_ENCODING))?;
        let form = Form::parse(body.as_bytes())?;
        let credentials = Credentials::read(request.headers(), &form)?;
        Ok(Self { form, credentials, caller: RequestInfo::from_client(OAuth::NAME, address) })
    }

    /// Authenticates the client.
    ///
    /// # Errors
    /// As [`UseCases::authenticate_oauth_client`].
    pub(crate) async fn authenticate_client(
        &self,
        use_cases: &UseCases,
        action: Action,
    ) -> EndpointResult<AuthenticatedClient> {
        Ok(use_cases.authenticate_oauth_client(&self.caller, action, &self.credentials()).await?)
    }

    /// Authenticates the resource server.
    ///
    /// # Errors
    /// As [`UseCases::authenticate_resource`].
    pub(crate) async fn authenticate_resource(
        &self,
        use_cases: &UseCases,
        action: Action,
    ) -> EndpointResult<AuthenticatedResource> {
        Ok(use_cases.authenticate_resource(&self.caller, action, &self.credentials()).await?)
    }

    fn credentials(&self) -> ClientCredentials<'_> {
        ClientCredentials { id: &self.credentials.id, secret: &self.credentials.secret }
    }
}

/// The value of a header field; `?` if it is not text, or is repeated: another reader could take the other value.
fn header(request: &HttpRequest, name: impl AsHeaderName) -> Option<&str> {
    let mut values = request.headers().get_all(name);
    let value = values.next()?;
    Some(if values.next().is_some() { "?" } else { value.to_str().unwrap_or("?") })
}

/// Reads a token of the type `kind`.
///
/// # Errors
/// `Internal` if a signing key is registered, but missing on this instance.
pub(crate) async fn read_legacy_token(
    use_cases: &UseCases,
    state: &ServiceState,
    kind: LegacyTokenType,
    text: &str,
) -> Result<PresentedToken> {
    if kind.lookup() != TokenLookup::LoginJwt {
        return Ok(Token::parse(text).map_or(PresentedToken::Unreadable, PresentedToken::Opaque));
    }
    match state.login_tokens.verify_or_refresh(use_cases, text).await {
        Ok(VerifiedToken { session_token: session, user_id: user, expires }) => {
            Ok(PresentedToken::LoginJwt { session, user, expires })
        }
        Err(Error::NotAuthenticated) => Ok(PresentedToken::Unreadable),
        Err(error) => Err(error),
    }
}

/// Reads an access token of this server.
///
/// # Errors
/// As [`read_legacy_token`].
pub(crate) async fn read_access_token(
    use_cases: &UseCases,
    state: &ServiceState,
    text: &str,
) -> Result<PresentedToken> {
    let token = state.verify_access_token(use_cases, text).await?;
    Ok(token.map_or(PresentedToken::Unreadable, |token| PresentedToken::AccessToken(Box::new(token))))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_repeated_header_field_has_no_value_that_is_accepted() {
        let form_type = ("content-type", "application/x-www-form-urlencoded");
        for (fields, is_accepted) in [
            (vec![form_type], true),
            (vec![form_type, ("content-type", "application/json")], false),
            (vec![form_type, form_type], false),
            (vec![form_type, ("content-encoding", "identity")], true),
            (vec![form_type, ("content-encoding", "identity"), ("content-encoding", "gzip")], false),
        ] {
            let mut request = TestRequest::default();
            for field in &fields {
                request = request.append_header(*field);
            }
            let request = request.to_http_request();
            let result = form::check_headers(header(&request, CONTENT_TYPE), header(&request, CONTENT_ENCODING));
            assert_eq!(result.is_ok(), is_accepted, "{fields:?}");
        }
    }
}
