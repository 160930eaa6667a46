//! The form and the `Authorization` of a request to an OAuth endpoint: compares the strict reader with the URL standard's
//! parser. The first line of the input is the header, the second one the query, the rest the body.
#![no_main]

use std::borrow::Cow;

use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;
use svc_oauth::credentials::{Credentials, CredentialsError, parse_basic};
use svc_oauth::form::{Form, FormError, check_query};

const REPEATABLE: [&str; 2] = ["audience", "resource"];
const MAX_PARAMETERS: usize = 64;

fn reference_pairs(text: &[u8]) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
    form_urlencoded::parse(text).collect()
}

/// A percent sign without two hex digits, which the standard reads as itself and the strict reader refuses.
fn has_malformed_escape(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'%')
        .skip(1)
        .any(|rest| !rest.iter().take(2).filter(|b| b.is_ascii_hexdigit()).count().eq(&2))
}

fn check_form(body: &[u8]) -> Option<Form> {
    let expected = reference_pairs(body);
    let has_replacement = expected.iter().any(|(name, value)| name.contains('\u{fffd}') || value.contains('\u{fffd}'));
    match Form::parse(body) {
        Ok(form) => {
            assert!(!has_malformed_escape(body) && expected.len() <= MAX_PARAMETERS);
            for (name, _) in &expected {
                let theirs: Vec<&str> = expected.iter().filter(|(other, _)| other == name).map(|(_, v)| &**v).collect();
                let ours: Vec<&str> = form.get_all(name).collect();
                let not_empty: Vec<&str> = theirs.iter().copied().filter(|value| !value.is_empty()).collect();
                assert_eq!(ours, not_empty);
            }
            Some(form)
        }
        Err(FormError::Repeated(name)) => {
            assert!(!REPEATABLE.contains(&name));
            assert!(expected.iter().filter(|(other, _)| other == name).count() > 1);
            None
        }
        Err(FormError::Malformed) => {
            assert!(has_malformed_escape(body) || has_replacement || expected.len() > MAX_PARAMETERS);
            None
        }
        Err(other) => panic!("{other}, before the headers were read"),
    }
}

fn check_basic(header: &str) {
    let Some(credentials) = parse_basic(header) else { return };
    // What is read is read again from its plain encoding.
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(&credentials.id), encode(credentials.secret.expose()));
    let again = parse_basic(&format!("Basic {}", STANDARD.encode(pair))).expect("credentials");
    assert_eq!((again.id.as_str(), again.secret.expose()), (credentials.id.as_str(), credentials.secret.expose()));
}

fuzz_target!(|data: &[u8]| {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let (header, query) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let form = check_form(lines.next().unwrap_or_default());
    if let Ok(query) = std::str::from_utf8(query)
        && let Err(FormError::InQuery(name)) = check_query(query)
    {
        assert!(reference_pairs(query.as_bytes()).iter().any(|(other, _)| other == name));
    }
    let Ok(value) = HeaderValue::from_bytes(header) else { return };
    if let Ok(text) = value.to_str() {
        check_basic(text);
    }
    let Some(form) = form else { return };
    let mut headers = HeaderMap::new();
    headers.append(AUTHORIZATION, value.clone());
    match Credentials::read(&headers, &form) {
        Ok(credentials) => {
            assert!(form.get("client_secret").is_none() && form.get("client_assertion").is_none());
            assert!(form.get("client_id").is_none_or(|id| id == credentials.id));
        }
        Err(CredentialsError::Missing) => assert!(value.to_str().ok().and_then(parse_basic).is_none()),
        Err(CredentialsError::Ambiguous) => {}
    }
    match Credentials::read(&HeaderMap::new(), &form) {
        Ok(credentials) => assert_eq!(form.get("client_id"), Some(credentials.id.as_str())),
        Err(_) => assert!(
            form.get("client_id").is_none()
                || form.get("client_secret").is_none()
                || form.get("client_assertion").is_some()
        ),
    }
});
