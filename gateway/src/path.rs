//! Which paths may reach a service: those that every parser reads alike.

/// Whether `path` is spelled so plainly that no service can take it for another path than the gateway did.
///
/// Refused are empty and dot segments, escapes of any kind, `;` and `\`, and all that is not printable ASCII: no
/// documented URL has any of these, and each is a known way to smuggle a request past a prefix.
pub(crate) fn is_plain(path: &str) -> bool {
    path.starts_with('/')
        && path.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'%' | b';' | b'\\'))
        && !path.contains("//")
        && !path.split('/').any(|segment| matches!(segment, "." | ".."))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn documented_paths_are_plain() {
        for path in
            ["/", "/i/login", "/api/v1/cloudbox/auth/pwdreset", "/api/vi/Auth/CAPTCHA", "/i/.x", "/i/x..y", "/i/"]
        {
            assert!(is_plain(path), "{path}");
        }
    }

    #[test]
    fn every_way_to_spell_a_path_twice_is_refused() {
        for path in [
            "",
            "*",
            "i/login",
            "//i/login",
            "/i//login",
            "/i/./login",
            "/i/../auth/login",
            "/i/..",
            "/.",
            "/i/%2e%2e/x",
            "/i%2flogin",
            "/i/%",
            "/i/login;a=b",
            "/i\\login",
            "/i/lo gin",
            "/i/\u{7f}",
            "/i/登录",
            "/i/a\tb",
            "/i/\0",
        ] {
            assert!(!is_plain(path), "{path:?}");
        }
    }

    /// What other programs make of a path before they look for whom it is for.
    const READERS: [fn(&str) -> String; 6] =
        [unescaped, without_parameters, with_slashes_alone, merged, resolved, printable];

    fn unescaped(path: &str) -> String {
        let digit = |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16));
        let (mut rest, mut bytes) = (path.as_bytes(), Vec::new());
        while let Some((&byte, after)) = rest.split_first() {
            let escaped = (byte == b'%').then(|| digit(after.first()).zip(digit(after.get(1)))).flatten();
            bytes.push(escaped.map_or(byte, |(high, low)| u8::try_from(high * 16 + low).unwrap()));
            rest = if escaped.is_some() { &after[2..] } else { after };
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// RFC 2396, section 3.3: each segment may have parameters, and Java's servlets cut them off.
    fn without_parameters(path: &str) -> String {
        path.split('/').map(|segment| segment.split(';').next().unwrap_or_default()).collect::<Vec<_>>().join("/")
    }

    /// WHATWG's URL standard, for http: a backslash is a slash.
    fn with_slashes_alone(path: &str) -> String {
        path.replace('\\', "/")
    }

    /// nginx's `merge_slashes`.
    fn merged(path: &str) -> String {
        let mut characters: Vec<char> = path.chars().collect();
        characters.dedup_by(|one, other| (*one, *other) == ('/', '/'));
        characters.into_iter().collect()
    }

    /// RFC 3986, section 5.2.4.
    fn resolved(path: &str) -> String {
        let mut segments = Vec::new();
        for segment in path.split('/').skip(1) {
            match segment {
                "." => {}
                ".." => drop(segments.pop()),
                other => segments.push(other),
            }
        }
        let end = if path.ends_with("/.") || path.ends_with("/..") { "/" } else { "" };
        format!("/{}{end}", segments.join("/"))
    }

    /// Strings that end at NUL; white space and controls that are trimmed or dropped; bytes that are read in one
    /// encoding or another.
    fn printable(path: &str) -> String {
        path.chars().filter(char::is_ascii_graphic).collect()
    }

    proptest! {
        #[test]
        fn plain_paths_survive_every_reading(
            path in prop_oneof![
                // Segments of which many mean something to some reader, and paths of any characters.
                prop::collection::vec(r"a|b1|\.|\.\.|\.\.\.|%2e|%2[fF]|%|;x|a;b|\\|a\\b| |\x00|\x7f|é|", 1..6)
                    .prop_map(|segments| format!("/{}", segments.join("/"))),
                r"/(\PC|[ -~]){0,40}",
            ]
        ) {
            if is_plain(&path) {
                for read in READERS {
                    prop_assert_eq!(read(&path), path.clone());
                }
            } else {
                // And no more than that is refused.
                let safe = |b: u8| b.is_ascii_alphanumeric() || b == b'/';
                prop_assert!(!path.bytes().all(safe) || path.contains("//"), "refused without a reason");
            }
        }

        #[test]
        fn words_joined_by_slashes_are_plain(words in prop::collection::vec("[A-Za-z0-9_-]{1,8}", 1..6)) {
            let joined = format!("/{}", words.join("/"));
            prop_assert!(is_plain(&joined));
        }
    }
}
