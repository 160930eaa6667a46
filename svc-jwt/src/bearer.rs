//! Where a client carries its token: `Authorization`, as the document's headers have it, or `token`, as its samples do.

use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderValue};

/// The token a client presents, with or without `Bearer` before it. `token` counts only where `Authorization` is
/// absent or empty; a header that is there twice presents nothing.
pub fn presented(headers: &HeaderMap) -> Option<&str> {
    let given = |value: &&HeaderValue| !value.as_bytes().trim_ascii().is_empty();
    let name = if headers.get_all(AUTHORIZATION).any(|value| given(&value)) { AUTHORIZATION.as_str() } else { "token" };
    let mut values = headers.get_all(name).filter(given);
    let value = values.next().filter(|_| values.next().is_none())?.to_str().ok()?.trim();
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Some(token.trim()),
        _ => Some(value),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderName;

    use super::*;

    fn from(lines: &[(&'static str, &'static str)]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        presented(&headers).map(str::to_owned)
    }

    #[test]
    fn either_header_with_or_without_bearer() {
        for name in ["authorization", "token"] {
            for value in ["a.b.c", "Bearer a.b.c", "bearer  a.b.c", " a.b.c "] {
                assert_eq!(from(&[(name, value)]).as_deref(), Some("a.b.c"), "{name}: {value}");
            }
        }
    }

    #[test]
    fn authorization_wins_unless_it_is_empty() {
        assert_eq!(from(&[("authorization", "a"), ("token", "t")]).as_deref(), Some("a"));
        assert_eq!(from(&[("authorization", ""), ("token", "t")]).as_deref(), Some("t"));
        assert_eq!(from(&[]), None);
        assert_eq!(from(&[("token", "")]), None);
    }

    #[test]
    fn two_of_one_present_nothing() {
        assert_eq!(from(&[("authorization", "a"), ("authorization", "b"), ("token", "t")]), None);
        assert_eq!(from(&[("token", "a"), ("token", "a")]), None);
    }
}
