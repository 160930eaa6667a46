//! The identity headers of a response. Every one is always there: a proxy that gets none might leave the client's own
//! in place (GHSA-7r4p-vjf4-gxv4).

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use stele_core::usecase::check_access::AccessGrant;

/// The names, in the order of [`values`].
const NAMES: [&str; 6] =
    ["x-stele-user", "x-stele-username", "x-stele-role", "x-stele-dialect", "x-stele-acr", "x-stele-assertion"];
/// The value where there is nothing to say.
const NOTHING: HeaderValue = HeaderValue::from_static("-");
/// The bytes of a user name that are escaped: all but the unreserved ones of RFC 3986 2.3.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The response to an allowed request.
pub(crate) fn allow(grant: &AccessGrant, assertion: &str) -> HttpResponse {
    let mut response = respond(StatusCode::OK);
    for (name, value) in NAMES.into_iter().zip(values(grant, assertion)) {
        let value = HeaderValue::from_str(&value).unwrap_or(NOTHING);
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
    response
}

/// A response with this status that names no user.
pub(crate) fn respond(status: StatusCode) -> HttpResponse {
    let mut response = HttpResponse::build(status).finish();
    set_nothing(response.headers_mut());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Sets every identity header to `-`.
pub(crate) fn set_nothing(headers: &mut HeaderMap) {
    for name in NAMES {
        headers.insert(HeaderName::from_static(name), NOTHING);
    }
}

fn values(grant: &AccessGrant, assertion: &str) -> [String; 6] {
    [
        grant.user.id.to_string(),
        encode_username(grant.user.display_name()),
        grant.user.role.as_str().to_owned(),
        grant.kind.dialect().to_owned(),
        grant.acr.word().to_owned(),
        assertion.to_owned(),
    ]
}

/// The user name, percent-encoded; never the sign for nothing.
fn encode_username(name: &str) -> String {
    match name {
        "" => "-".to_owned(),
        "-" => "%2D".to_owned(),
        name => utf8_percent_encode(name, ESCAPED).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_are_percent_encoded_utf_8() {
        for (name, encoded) in [
            ("mark", "mark"),
            ("a.b_c-d~e", "a.b_c-d~e"),
            ("张三", "%E5%BC%A0%E4%B8%89"),
            ("a b,c\"d\r\ne%f", "a%20b%2Cc%22d%0D%0Ae%25f"),
            ("a@example.com", "a%40example.com"),
            ("-", "%2D"),
            ("", "-"),
        ] {
            assert_eq!(encode_username(name), encoded, "{name:?}");
        }
    }
}
