//! Bearer tokens in request headers, in the formats of old clients: with or without scheme, colon and quotes.

use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderValue};

/// The accepted authentication schemes, case-insensitive.
const AUTH_SCHEMES: [&str; 3] = ["bearer", "token", "jwt"];

/// The token in `Authorization`, without scheme and quotes.
pub fn authorization_token(headers: &HeaderMap) -> Option<&str> {
    presented_tokens(headers, &[AUTHORIZATION.as_str()]).pop()
}

/// The tokens in the headers `names`, in that order. Two values of one header are ambiguous; such a request presents no
/// token. Blank values do not count.
pub fn presented_tokens<'a>(headers: &'a HeaderMap, names: &[&str]) -> Vec<&'a str> {
    let mut tokens = Vec::new();
    for name in names {
        let is_blank = |value: &HeaderValue| value.as_bytes().trim_ascii().is_empty();
        let mut values = headers.get_all(*name).filter(|value| !is_blank(value));
        let Some(value) = values.next() else { continue };
        if values.next().is_some() {
            return Vec::new();
        }
        tokens.extend(value.to_str().ok().and_then(strip_scheme_and_quotes));
    }
    tokens
}

/// Strips schemes, colons and quotes: `Bearer: "abc"` becomes `abc`. `None` if nothing is left.
fn strip_scheme_and_quotes(value: &str) -> Option<&str> {
    let mut text = value.trim();
    loop {
        let unquoted = text.strip_prefix('"').and_then(|remaining| remaining.strip_suffix('"')).unwrap_or(text).trim();
        let remaining = AUTH_SCHEMES.iter().find_map(|scheme| strip_scheme(unquoted, scheme)).unwrap_or(unquoted);
        if remaining.len() == text.len() {
            return (!text.is_empty()).then_some(text);
        }
        text = remaining;
    }
}

/// Strips a leading `scheme`, which must be followed by white space, a colon, a quote or the end of `text`.
fn strip_scheme<'a>(text: &'a str, scheme: &str) -> Option<&'a str> {
    let (prefix, after_scheme) = text.split_at_checked(scheme.len())?;
    let is_separated = after_scheme.is_empty() || after_scheme.starts_with([' ', '\t', ':', '"']);
    let remaining = after_scheme.trim_start();
    (prefix.eq_ignore_ascii_case(scheme) && is_separated)
        .then(|| remaining.strip_prefix(':').unwrap_or(remaining).trim_start())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderName;
    use proptest::prelude::*;

    use super::*;

    fn build_headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    /// docs/FIELD.md names the clients that send these formats.
    #[test]
    fn a_token_is_read_from_every_header_format() {
        for value in [
            "a.b.c",
            " a.b.c ",
            "Bearer a.b.c",
            "BEARER   a.b.c",
            "bearer\ta.b.c",
            "Bearer: a.b.c",
            "Bearer:a.b.c",
            "Bearer : a.b.c",
            "Token a.b.c",
            "token: a.b.c",
            "JWT a.b.c",
            "jwt a.b.c",
            "\"a.b.c\"",
            "Bearer \"a.b.c\"",
            "Bearer\"a.b.c\"",
            "\"Bearer a.b.c\"",
            "Bearer Bearer a.b.c",
            "Token: \" a.b.c \"",
        ] {
            assert_eq!(authorization_token(&build_headers(&[("authorization", value)])), Some("a.b.c"), "{value:?}");
        }
    }

    #[test]
    fn an_unknown_scheme_is_part_of_the_token() {
        for value in ["Basic a.b.c", "Bearera.b.c", "tokens", "jwt.a.b", "Bearer=a", "\"a", "a\"", "a b"] {
            assert_eq!(authorization_token(&build_headers(&[("authorization", value)])), Some(value), "{value:?}");
        }
        for value in ["", " ", "Bearer", "bearer ", "Token:", "\"\"", "Bearer \"\"", "\" \""] {
            assert_eq!(authorization_token(&build_headers(&[("authorization", value)])), None, "{value:?}");
        }
    }

    #[test]
    fn headers_are_read_in_order_and_a_repeated_header_yields_no_token() {
        let both = ["authorization", "token"];
        let joined_tokens = |lines: &[(&'static str, &str)]| presented_tokens(&build_headers(lines), &both).join(" ");
        assert_eq!(joined_tokens(&[("authorization", "Bearer a"), ("token", "JWT t")]), "a t");
        assert_eq!(joined_tokens(&[("token", "t"), ("authorization", "a")]), "a t");
        assert_eq!(joined_tokens(&[("authorization", " "), ("token", "t")]), "t");
        assert_eq!(joined_tokens(&[("authorization", "Bearer"), ("token", "t")]), "t");
        assert_eq!(joined_tokens(&[("authorization", "a"), ("authorization", ""), ("token", "")]), "a");
        assert_eq!(joined_tokens(&[("authorization", "a"), ("authorization", "b"), ("token", "t")]), "");
        assert_eq!(joined_tokens(&[("authorization", "a"), ("token", "t"), ("token", "t")]), "");
        assert_eq!(joined_tokens(&[]), "");
    }

    proptest! {
        #[test]
        fn stripping_scheme_and_quotes_yields_the_bare_token(
            token in "[A-Za-z0-9._-]{1,60}",
            scheme in prop::sample::select(vec!["bearer", "Bearer", "TOKEN", "Jwt"]),
        ) {
            prop_assume!(!AUTH_SCHEMES.iter().any(|scheme| token.eq_ignore_ascii_case(scheme)));
            for value in [token.clone(), format!("{scheme} {token}"), format!("{scheme}:\"{token}\"")] {
                prop_assert_eq!(strip_scheme_and_quotes(&value), Some(token.as_str()));
            }
        }

        #[test]
        fn stripping_nested_quotes_terminates(quotes_and_spaces in "[ \"]{0,3}") {
            let _ = strip_scheme_and_quotes(&quotes_and_spaces.repeat(9));
        }
    }
}
