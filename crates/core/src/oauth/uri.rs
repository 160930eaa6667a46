//! The components of an absolute URI (RFC 3986 3).

/// An absolute URI, taken apart but not decoded.
pub(super) struct AbsoluteUri<'a> {
    /// The scheme, before the first `:`.
    pub(super) scheme: &'a str,
    /// What follows `//`; `None` without `//`.
    pub(super) authority: Option<&'a str>,
    /// The path, perhaps empty.
    pub(super) path: &'a str,
    /// What follows the first `?`.
    pub(super) query: Option<&'a str>,
    /// What follows the first `#`.
    pub(super) fragment: Option<&'a str>,
}

impl<'a> AbsoluteUri<'a> {
    /// Takes a URI apart; `None` if it has no scheme, a character that RFC 3986 2 does not allow (also any that is not
    /// ASCII, control characters, space, `\`), or a `%` without two hex digits.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once(':')?;
        if !is_scheme(scheme) || !rest.bytes().all(is_uri_byte) || !has_whole_escapes(rest) {
            return None;
        }
        let (rest, fragment) = split(rest, '#');
        let (rest, query) = split(rest, '?');
        let (authority, path) = match rest.strip_prefix("//") {
            None => (None, rest),
            Some(rest) => {
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                (Some(authority), path)
            }
        };
        Some(Self { scheme, authority, path, query, fragment })
    }
}

fn split(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        None => (text, None),
        Some((before, after)) => (before, Some(after)),
    }
}

/// `ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )` (RFC 3986 3.1).
fn is_scheme(text: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(is_allowed)
}

/// Unreserved and reserved characters and `%` (RFC 3986 2).
fn is_uri_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&b)
}

fn has_whole_escapes(text: &str) -> bool {
    let is_whole = |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|b| b.is_ascii_hexdigit());
    text.split('%').skip(1).all(is_whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_taken_apart() {
        let uri = AbsoluteUri::parse("https://a.example:1/p/q?x=1?y#f?#").unwrap();
        assert_eq!((uri.scheme, uri.authority, uri.path), ("https", Some("a.example:1"), "/p/q"));
        assert_eq!((uri.query, uri.fragment), (Some("x=1?y"), Some("f?#")));
        let uri = AbsoluteUri::parse("com.example.app:/cb").unwrap();
        assert_eq!((uri.scheme, uri.authority, uri.path, uri.query), ("com.example.app", None, "/cb", None));
        let uri = AbsoluteUri::parse("https://a.example?x").unwrap();
        assert_eq!((uri.authority, uri.path, uri.query), (Some("a.example"), "", Some("x")));
        for bad in
            ["", "a", "/a", "://a", "1a:b", "a b:c", "a:b%2", "a:%zz", "a:é", "a:\\", "a:b\t", "a:<", "a:\"", "a:^"]
        {
            assert!(AbsoluteUri::parse(bad).is_none(), "{bad:?}");
        }
    }
}
