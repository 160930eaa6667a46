//! The credential of the original request, in the places where old clients send it: `Authorization`, the query's
//! parameter `token`, the portal's cookie.

use std::borrow::Cow;

use actix_web::http::header::{AUTHORIZATION, COOKIE, HeaderMap};
use stele_core::session::Token;
use stele_dialect::authorization_token;
use stele_jose::login_token::is_jwt;

use super::original_request::OriginalRequest;

/// The name of the portal's session cookie.
const PORTAL_COOKIE: &str = "stele_session";

/// A credential as it was presented, not verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential<'a> {
    /// 32 hex digits, from `Authorization` or the query.
    SessionToken(Token),
    /// 32 hex digits, from the portal's cookie.
    Cookie(Token),
    /// A JWT, from `Authorization` or the query.
    Jwt(Cow<'a, str>),
}

/// What a request presents.
#[derive(Debug, PartialEq, Eq)]
pub enum Presented<'a> {
    /// No credential.
    Nothing,
    /// One credential, in one or several places.
    One(Credential<'a>),
    /// An `Authorization` that is no credential of ours, or two different credentials, of which the application
    /// might choose the other one.
    Unusable,
}

impl<'a> Presented<'a> {
    /// Reads the credential of a request. A parameter or cookie that does not have the form of a credential is the
    /// application's own and does not count.
    pub fn read(headers: &'a HeaderMap, original: &OriginalRequest<'a>) -> Self {
        let Ok(authorization) = read_authorization(headers) else { return Self::Unusable };
        let parameters = original.query_tokens().filter_map(Credential::parse);
        // The cookie last: the same token elsewhere is accepted by more dialects.
        let all = authorization.into_iter().chain(parameters).chain(cookie_tokens(headers).map(Credential::Cookie));
        let mut found = Self::Nothing;
        for credential in all {
            found = match found {
                Self::Nothing => Self::One(credential),
                Self::One(first) if first.is_same(&credential) => Self::One(first),
                _ => return Self::Unusable,
            };
        }
        found
    }
}

impl<'a> Credential<'a> {
    fn parse(text: impl Into<Cow<'a, str>>) -> Option<Self> {
        let text = text.into();
        if is_jwt(&text) { Some(Self::Jwt(text)) } else { Token::parse(&text).map(Self::SessionToken) }
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::SessionToken(a) | Self::Cookie(a), Self::SessionToken(b) | Self::Cookie(b)) => a == b,
            (Self::Jwt(a), Self::Jwt(b)) => a == b,
            _ => false,
        }
    }
}

/// The credential in `Authorization`, in every form that the dialects accept (docs/FIELD.md). An error if there is a
/// value that is no credential of ours, such as `Basic …`.
fn read_authorization(headers: &HeaderMap) -> Result<Option<Credential<'_>>, ()> {
    let mut values = headers.get_all(AUTHORIZATION).filter(|value| !value.as_bytes().trim_ascii().is_empty());
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() || value.to_str().is_err() {
        return Err(());
    }
    // A scheme without a token, which some clients send before the login, is no credential.
    let Some(text) = authorization_token(headers) else { return Ok(None) };
    Credential::parse(text).map(Some).ok_or(())
}

/// The tokens in the portal's cookies, read as the portal reads them.
fn cookie_tokens(headers: &HeaderMap) -> impl Iterator<Item = Token> {
    let header_values = headers.get_all(COOKIE).filter_map(|value| value.to_str().ok());
    let pairs = header_values.flat_map(|text| text.split([';', ','])).filter_map(|pair| pair.split_once('='));
    let values = pairs.filter(|(name, _)| name.trim() == PORTAL_COOKIE).map(|(_, value)| value.trim());
    values.filter_map(|value| Token::parse(value.trim_matches('"')))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    const A: &str = "0123456789abcdef0123456789abcdef";
    const B: &str = "ffffffffffffffffffffffffffffffff";
    const JWT: &str = "eyJhbGciOiJFZERTQSJ9.e30.AAAA";

    /// What a request with this query and these header fields presents.
    fn describe(query: &str, headers: &[(&str, &str)]) -> String {
        let mut request = TestRequest::default();
        for header in headers {
            request = request.append_header(*header);
        }
        let request = request.to_http_request();
        let url = format!("http://a/?{query}");
        let nginx = TestRequest::default().append_header(("x-original-url", url.as_str())).to_http_request();
        let original =
            OriginalRequest::read(super::super::original_request::ProxyContract::AuthRequest, &nginx).unwrap();
        match Presented::read(request.headers(), &original) {
            Presented::Nothing => "nothing".to_owned(),
            Presented::Unusable => "unusable".to_owned(),
            Presented::One(Credential::SessionToken(token)) => format!("token {}", token.expose()),
            Presented::One(Credential::Cookie(token)) => format!("cookie {}", token.expose()),
            Presented::One(Credential::Jwt(text)) => format!("jwt {text}"),
        }
    }

    #[test]
    fn credentials_are_read_from_every_place() {
        let (token, cookie, jwt) = (format!("token {A}"), format!("cookie {A}"), format!("jwt {JWT}"));
        let upper = A.to_uppercase();
        for (query, headers, expected) in [
            ("", vec![("authorization", A)], &token),
            ("", vec![("authorization", upper.as_str())], &token),
            ("", vec![("authorization", "Bearer 0123456789abcdef0123456789abcdef")], &token),
            ("", vec![("authorization", "Token: \"0123456789abcdef0123456789abcdef\"")], &token),
            ("", vec![("authorization", "Bearer eyJhbGciOiJFZERTQSJ9.e30.AAAA")], &jwt),
            (&format!("a=b&token={A}"), vec![], &token),
            (&format!("token={JWT}"), vec![], &jwt),
            ("", vec![("cookie", &format!("a=b; stele_session={A}"))], &cookie),
            ("", vec![("cookie", &format!("stele_session=\"{A}\"; stele_session=junk"))], &cookie),
            // The same token in several places is one credential.
            (&format!("token={A}"), vec![("authorization", A), ("cookie", &format!("stele_session={A}"))], &token),
            // What is no credential is the application's own.
            ("token=csrf-1", vec![("cookie", &format!("stele_session={A}; token={B}"))], &cookie),
            ("token=csrf-1", vec![("authorization", A)], &token),
            ("", vec![("authorization", " "), ("cookie", &format!("stele_session={A}"))], &cookie),
            ("", vec![("authorization", "Bearer"), ("cookie", &format!("stele_session={A}"))], &cookie),
        ] {
            assert_eq!(&describe(query, &headers), expected, "{query} {headers:?}");
        }
        for (query, headers) in [
            ("", vec![]),
            ("token=x", vec![]),
            ("", vec![("cookie", "stele_session=x")]),
            ("", vec![("authorization", "Bearer")]),
        ] {
            assert_eq!(describe(query, &headers), "nothing", "{query} {headers:?}");
        }
    }

    #[test]
    fn two_credentials_or_a_foreign_one_are_unusable() {
        let cookie = format!("stele_session={A}");
        let both_cookies = format!("stele_session={A}; stele_session={B}");
        for (query, headers) in [
            ("", vec![("authorization", "Basic YTpi")]),
            ("", vec![("authorization", "Basic YTpi"), ("cookie", &cookie)]),
            ("", vec![("authorization", A), ("authorization", A)]),
            ("", vec![("authorization", "\u{e9}"), ("cookie", &cookie)]),
            ("", vec![("authorization", B), ("cookie", &cookie)]),
            ("", vec![("authorization", JWT), ("cookie", &cookie)]),
            ("", vec![("cookie", both_cookies.as_str())]),
            (&format!("token={B}"), vec![("cookie", &cookie)]),
            (&format!("token={B}"), vec![("authorization", A)]),
            (&format!("token={A}&token={B}"), vec![]),
            (&format!("token={A}&TOKEN={JWT}"), vec![]),
        ] {
            assert_eq!(describe(query, &headers), "unusable", "{query} {headers:?}");
        }
    }
}
