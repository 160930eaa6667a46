//! Credentials of clients and resource servers: `client_secret_basic` and `client_secret_post` (RFC 6749 §2.3.1).

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use stele_core::oauth::ClientSecret;
use zeroize::Zeroizing;

use crate::form::{Form, decode};

/// Base64 with or without padding: clients differ.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The credentials of a request.
#[derive(Debug)]
pub struct Credentials {
    /// The client id, or the name of the resource server.
    pub id: String,
    /// The secret.
    pub secret: ClientSecret,
}

/// Why a request has no credentials to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialsError {
    /// No credentials, or of another method: `invalid_client`.
    Missing,
    /// Credentials by two methods, or two client ids: `invalid_request` (RFC 6749 §2.3).
    Ambiguous,
}

impl Credentials {
    /// Reads the credentials of a request.
    ///
    /// # Errors
    /// See [`CredentialsError`].
    pub fn read(headers: &HeaderMap, form: &Form) -> Result<Self, CredentialsError> {
        let mut values = headers.get_all(AUTHORIZATION);
        let (header, has_more) = (values.next(), values.next().is_some());
        let (id, secret) = (form.get("client_id"), form.get("client_secret"));
        let in_body = usize::from(secret.is_some()) + usize::from(form.get("client_assertion").is_some());
        if has_more || in_body + usize::from(header.is_some()) > 1 {
            return Err(CredentialsError::Ambiguous);
        }
        let Some(header) = header else {
            let (id, secret) = id.zip(secret).ok_or(CredentialsError::Missing)?;
            return Ok(Self { id: id.to_owned(), secret: ClientSecret::from_request(secret) });
        };
        let basic = header.to_str().ok().and_then(parse_basic).ok_or(CredentialsError::Missing)?;
        // A client may name itself in the body as well (RFC 6749 §3.2.1).
        if id.is_some_and(|id| id != basic.id) {
            return Err(CredentialsError::Ambiguous);
        }
        Ok(basic)
    }
}

/// Parses the value of `Authorization`: `Basic` and the base64 of id and secret, each form-encoded before, with a colon
/// between them; `None` for anything else.
pub fn parse_basic(value: &str) -> Option<Credentials> {
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = Zeroizing::new(BASE64.decode(encoded.trim_matches(' ')).ok()?);
    let colon = pair.iter().position(|byte| *byte == b':')?;
    let (id, secret) = (decode(&pair[..colon])?, decode(&pair[colon + 1..])?);
    Some(Credentials { id: id.to_string(), secret: ClientSecret::from_request(secret.as_str()) })
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;
    use base64::engine::general_purpose;
    use proptest::prelude::*;

    use super::*;

    fn basic(text: &str) -> String {
        format!("Basic {}", general_purpose::STANDARD.encode(text))
    }

    fn read(authorization: &[&str], body: &str) -> Result<(String, String), CredentialsError> {
        let mut headers = HeaderMap::new();
        for value in authorization {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        let credentials = Credentials::read(&headers, &Form::parse(body.as_bytes()).unwrap())?;
        Ok((credentials.id, credentials.secret.expose().to_owned()))
    }

    /// RFC 6749 §2.3.1: id and secret are form-encoded before they are joined.
    #[test]
    fn basic_credentials_are_form_decoded() {
        let pair = |value: &str| parse_basic(value).map(|found| (found.id, found.secret.expose().to_owned()));
        let is = |id: &str, secret: &str| Some((id.to_owned(), secret.to_owned()));
        assert_eq!(pair(&basic("app:secret")), is("app", "secret"));
        assert_eq!(pair(&basic("a%2Dp%3A+p:s%25:x")), is("a-p: p", "s%:x"));
        assert_eq!(pair(&basic("app:se")).is_some(), pair(basic("app:se").trim_end_matches('=')).is_some());
        assert_eq!(pair(&basic("app:s").replace("Basic", "bAsIc")), is("app", "s"));
        assert_eq!(pair(&basic("app:s").replace(' ', "  ")), is("app", "s"));
        for invalid in ["", "Basic", "Basic ", "Basic !!", "Bearer YTpi", "Basicx YTpi", &basic("app"), &basic("a%:b")]
        {
            assert!(pair(invalid).is_none(), "{invalid}");
        }
        assert!(pair(&format!("Basic {}", general_purpose::STANDARD.encode(b"a:\xff"))).is_none());
    }

    /// RFC 6749 §2.3: "The client MUST NOT use more than one authentication method in each request."
    #[test]
    fn credentials_by_two_methods_are_ambiguous() {
        let is = |id: &str, secret: &str| Ok((id.to_owned(), secret.to_owned()));
        let header = basic("app:s");
        assert_eq!(read(&[&header], ""), is("app", "s"));
        assert_eq!(read(&[&header], "client_id=app"), is("app", "s"));
        assert_eq!(read(&[], "client_id=app&client_secret=s"), is("app", "s"));
        for (authorization, body) in [
            (vec![&*header], "client_id=app&client_secret=s"),
            (vec![&*header], "client_secret=s"),
            (vec![&*header], "client_id=other"),
            (vec![&*header], "client_assertion=x"),
            (vec!["Bearer x"], "client_id=app&client_secret=s"),
            (vec![&*header, &*header], ""),
            (vec![], "client_id=app&client_secret=s&client_assertion=x"),
        ] {
            assert_eq!(read(&authorization, body), Err(CredentialsError::Ambiguous), "{authorization:?} {body}");
        }
        for (authorization, body) in [
            (vec![], ""),
            (vec![], "client_id=app"),
            (vec![], "client_id=app&client_secret="),
            (vec![], "client_secret=s"),
            (vec![], "client_assertion=x"),
            (vec!["Bearer x"], ""),
            (vec!["Basic x"], "client_id=app"),
        ] {
            assert_eq!(read(&authorization, body), Err(CredentialsError::Missing), "{authorization:?} {body}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_read_or_refused(value in "\\PC{0,60}", id in "[^:%+]{0,20}", secret in "[^%+]{0,20}") {
            let _ = parse_basic(&value);
            let found = parse_basic(&basic(&format!("{id}:{secret}"))).unwrap();
            prop_assert_eq!((found.id.as_str(), found.secret.expose()), (id.as_str(), secret.as_str()));
        }
    }
}
