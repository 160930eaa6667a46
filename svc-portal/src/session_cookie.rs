//! The session cookie of the portal.

use actix_web::http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use actix_web::{HttpRequest, HttpResponse};
use stele_core::session::Token;
use stele_core::{Error, Result};
use stele_service::trusted_proxies::TrustedProxies;

const COOKIE_NAME: &str = "stele_session";

/// The first valid session token in the request's cookies, quoted or not. Other cookies are ignored even if malformed,
/// so that they cannot prevent a logout. Commas separate cookies as well: mini programs send back joined `Set-Cookie`
/// headers, attributes included.
pub fn session_token(headers: &HeaderMap) -> Option<Token> {
    let header_values = headers.get_all(COOKIE).filter_map(|value| value.to_str().ok());
    let pairs = header_values.flat_map(|text| text.split([';', ','])).filter_map(|pair| pair.split_once('='));
    let session_values = pairs.filter(|(name, _)| name.trim() == COOKIE_NAME).map(|(_, value)| value.trim());
    session_values.filter_map(|value| Token::parse(value.trim_matches('"'))).next()
}

/// Sets the session cookie to `token`, without `Max-Age`: the browser deletes the cookie when it is closed, and the
/// server decides when the session expires.
pub(crate) fn set(response: &mut HttpResponse, request: &HttpRequest, token: &Token) -> Result<()> {
    append_set_cookie(response, request, token.expose(), "")
}

/// Deletes the session cookie.
pub(crate) fn clear(response: &mut HttpResponse, request: &HttpRequest) -> Result<()> {
    append_set_cookie(response, request, "", "; Max-Age=0")
}

fn append_set_cookie(response: &mut HttpResponse, request: &HttpRequest, value: &str, attributes: &str) -> Result<()> {
    let secure = if is_https(request) { "; Secure" } else { "" };
    let text = format!("{COOKIE_NAME}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{attributes}");
    let header = HeaderValue::from_str(&text).map_err(Error::internal)?;
    response.headers_mut().append(SET_COOKIE, header);
    Ok(())
}

/// Whether a trusted proxy reports HTTPS in `X-Forwarded-Proto`. The service itself speaks plain HTTP.
fn is_https(request: &HttpRequest) -> bool {
    let headers = request.headers();
    let (trusted_proxies, peer) = (request.app_data::<TrustedProxies>(), request.peer_addr());
    let is_trusted = trusted_proxies.zip(peer).is_some_and(|(proxies, peer)| proxies.trusts(peer.ip(), headers));
    let forwarded_proto = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok());
    is_trusted && forwarded_proto.is_some_and(|scheme| scheme.trim().eq_ignore_ascii_case("https"))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn read_token(lines: &[&str]) -> Option<String> {
        let mut request = TestRequest::default();
        for line in lines {
            request = request.append_header((COOKIE, *line));
        }
        session_token(request.to_http_request().headers()).map(|token| token.expose().to_owned())
    }

    #[test]
    fn the_session_token_is_found_among_other_cookies() {
        let ours = format!("{COOKIE_NAME}={TOKEN}");
        for header in [
            ours.clone(),
            format!("a=b; {ours}"),
            format!("junk;=;; {ours} ; c=%zz"),
            format!("{COOKIE_NAME}=old; {ours}"),
        ] {
            assert_eq!(read_token(&[&header]).as_deref(), Some(TOKEN), "{header}");
        }
        assert_eq!(read_token(&["a=b", &ours]).as_deref(), Some(TOKEN));
    }

    #[test]
    fn a_quoted_or_comma_joined_cookie_is_read() {
        for header in [
            format!("{COOKIE_NAME}=\"{TOKEN}\""),
            format!("a=\"b\"; {COOKIE_NAME}=\"{TOKEN}\"; c=d"),
            format!("a=b,{COOKIE_NAME}={TOKEN}"),
            format!("a=b, {COOKIE_NAME}={TOKEN}, c=d"),
            // Two joined `Set-Cookie` headers, the other with a date.
            format!(
                "a=b; expires=Fri, 12-Jul-2030 01:37:01 GMT; path=/,{COOKIE_NAME}={TOKEN}; Path=/; HttpOnly; SameSite=Lax"
            ),
        ] {
            assert_eq!(read_token(&[&header]).as_deref(), Some(TOKEN), "{header}");
        }
    }

    #[test]
    fn an_invalid_token_is_ignored() {
        for header in [
            "",
            "a=b",
            "stele_session",
            "stele_session=",
            "stele_session=xyz",
            "Stele_Session=0123456789abcdef0123456789abcdef",
        ] {
            assert_eq!(read_token(&[header]), None, "{header}");
        }
        assert_eq!(read_token(&[]), None);
    }
}
