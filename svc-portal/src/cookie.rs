//! The cookie that carries a portal session.

use actix_web::http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use actix_web::{HttpRequest, HttpResponse};
use stele_core::session::Token;
use stele_core::{Error, Result};
use stele_service::trust::Trust;

const NAME: &str = "stele_session";

/// The token in the request's cookie, in quotes or not. What else is in the header does not matter, malformed or not: a
/// cookie of another site's page must keep no user from logging out. Mini programs send back what they were given,
/// several cookies joined by commas, with their attributes.
pub fn token(headers: &HeaderMap) -> Option<Token> {
    let texts = headers.get_all(COOKIE).filter_map(|value| value.to_str().ok());
    let pairs = texts.flat_map(|text| text.split([';', ','])).filter_map(|pair| pair.split_once('='));
    let ours = pairs.filter(|(name, _)| name.trim() == NAME).map(|(_, value)| value.trim());
    ours.filter_map(|value| Token::parse(value.trim_matches('"'))).next()
}

/// Hands `token` to the browser, until it is closed; the session itself ends on our side.
pub(crate) fn set(response: &mut HttpResponse, request: &HttpRequest, token: &Token) -> Result<()> {
    put(response, request, token.expose(), "")
}

/// Takes the cookie back.
pub(crate) fn clear(response: &mut HttpResponse, request: &HttpRequest) -> Result<()> {
    put(response, request, "", "; Max-Age=0")
}

fn put(response: &mut HttpResponse, request: &HttpRequest, value: &str, end: &str) -> Result<()> {
    let secure = if is_https(request) { "; Secure" } else { "" };
    let text = format!("{NAME}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{end}");
    let header = HeaderValue::from_str(&text).map_err(Error::internal)?;
    response.headers_mut().append(SET_COOKIE, header);
    Ok(())
}

/// Whether the client came by HTTPS, as far as a trusted proxy says so; services themselves speak plain HTTP.
fn is_https(request: &HttpRequest) -> bool {
    let headers = request.headers();
    let (trust, peer) = (request.app_data::<Trust>(), request.peer_addr());
    let believed = trust.zip(peer).is_some_and(|(trust, peer)| trust.believes(peer.ip(), headers));
    let said = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok());
    believed && said.is_some_and(|scheme| scheme.trim().eq_ignore_ascii_case("https"))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn read(lines: &[&str]) -> Option<String> {
        let mut request = TestRequest::default();
        for line in lines {
            request = request.append_header((COOKIE, *line));
        }
        token(request.to_http_request().headers()).map(|token| token.expose().to_owned())
    }

    #[test]
    fn the_token_is_found_among_others() {
        let ours = format!("{NAME}={TOKEN}");
        for header in
            [ours.clone(), format!("a=b; {ours}"), format!("junk;=;; {ours} ; c=%zz"), format!("{NAME}=old; {ours}")]
        {
            assert_eq!(read(&[&header]).as_deref(), Some(TOKEN), "{header}");
        }
        assert_eq!(read(&["a=b", &ours]).as_deref(), Some(TOKEN));
    }

    #[test]
    fn it_may_be_quoted_or_joined_by_commas() {
        for header in [
            format!("{NAME}=\"{TOKEN}\""),
            format!("a=\"b\"; {NAME}=\"{TOKEN}\"; c=d"),
            format!("a=b,{NAME}={TOKEN}"),
            format!("a=b, {NAME}={TOKEN}, c=d"),
            // As `Set-Cookie` had it, beside another one with a date.
            format!(
                "a=b; expires=Fri, 12-Jul-2030 01:37:01 GMT; path=/,{NAME}={TOKEN}; Path=/; HttpOnly; SameSite=Lax"
            ),
        ] {
            assert_eq!(read(&[&header]).as_deref(), Some(TOKEN), "{header}");
        }
    }

    #[test]
    fn what_is_no_token_is_none() {
        for header in [
            "",
            "a=b",
            "stele_session",
            "stele_session=",
            "stele_session=xyz",
            "Stele_Session=0123456789abcdef0123456789abcdef",
        ] {
            assert_eq!(read(&[header]), None, "{header}");
        }
        assert_eq!(read(&[]), None);
    }
}
