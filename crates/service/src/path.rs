//! Path normalization: the canonical form of a request path, which is routed, rate-limited, logged and forwarded.
//! Ambiguous paths are rejected, so that none can bypass a rule for another path (path traversal, path confusion).

use std::borrow::Cow;

/// The path with repeated slashes merged and the trailing slash removed (except the root's). `None` if two programs
/// could normalize `path` differently.
///
/// Rejects dot segments, percent-encoding, `;`, `\` and everything but printable ASCII: no documented URL contains
/// these, and each can bypass access rules for path prefixes. Slashes are merged after this check; merging creates
/// no dot segment.
pub fn canonical_path(path: &str) -> Option<Cow<'_, str>> {
    let is_plain = path.starts_with('/')
        && path.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'%' | b';' | b'\\'))
        && !path.split('/').any(|segment| matches!(segment, "." | ".."));
    if !is_plain {
        return None;
    }
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() {
        return Some(Cow::Borrowed("/"));
    }
    if !trimmed.contains("//") {
        return Some(Cow::Borrowed(trimmed));
    }
    let segments = trimmed.split('/').filter(|segment| !segment.is_empty());
    Some(Cow::Owned(segments.flat_map(|segment| ["/", segment]).collect()))
}

/// Whether `path` is in canonical form.
pub fn is_canonical(path: &str) -> bool {
    canonical_path(path).as_deref() == Some(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn documented_paths_are_canonical() {
        for path in
            ["/", "/i", "/i/login", "/api/v1/cloudbox/auth/pwdreset", "/api/vi/Auth/CAPTCHA", "/i/.x", "/i/x..y"]
        {
            assert!(is_canonical(path), "{path}");
        }
    }

    #[test]
    fn duplicate_and_trailing_slashes_are_removed() {
        for (path, expected) in [
            ("//", "/"),
            ("/i/", "/i"),
            ("//i///login//", "/i/login"),
            ("/i/login/", "/i/login"),
            ("//host/path", "/host/path"),
            ("/http://h/x", "/http:/h/x"),
            ("/i/.../", "/i/..."),
        ] {
            assert_eq!(canonical_path(path).as_deref(), Some(expected), "{path}");
        }
    }

    #[test]
    fn ambiguous_path_spellings_are_rejected() {
        for path in [
            "",
            "*",
            "i/login",
            "/i/./login",
            "/i/.//login",
            "/i/../auth/login",
            "/i/..//auth/login",
            "//../i/login",
            "/i/..",
            "/i/..//",
            "/.",
            "/i/%2e%2e/x",
            "/i%2flogin",
            "/%2fi/login",
            "/i/%2f/login",
            "/i/login%2f",
            "/i/%",
            "/i/login;a=b",
            "/i/login;/",
            "/i\\login",
            "/\\i/login",
            "/i/lo gin",
            "/i/\u{7f}",
            "/i/登录",
            "/i/a\tb",
            "/i/\0",
        ] {
            assert_eq!(canonical_path(path), None, "{path:?}");
        }
    }

    /// Normalizations that other programs apply to a path before routing.
    const OTHER_NORMALIZERS: [fn(&str) -> String; 6] = [
        percent_decoded,
        without_path_parameters,
        with_backslashes_as_slashes,
        with_merged_slashes,
        with_dot_segments_resolved,
        printable_ascii_only,
    ];

    fn percent_decoded(path: &str) -> String {
        let hex_digit = |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16));
        let (mut remaining, mut bytes) = (path.as_bytes(), Vec::new());
        while let Some((&byte, after)) = remaining.split_first() {
            let escaped = (byte == b'%').then(|| hex_digit(after.first()).zip(hex_digit(after.get(1)))).flatten();
            bytes.push(escaped.map_or(byte, |(high, low)| u8::try_from(high * 16 + low).unwrap()));
            remaining = if escaped.is_some() { &after[2..] } else { after };
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// RFC 2396, section 3.3: each segment may have parameters, which Java servlets remove.
    fn without_path_parameters(path: &str) -> String {
        path.split('/').map(|segment| segment.split(';').next().unwrap_or_default()).collect::<Vec<_>>().join("/")
    }

    /// WHATWG URL standard: in http URLs, a backslash is a slash.
    fn with_backslashes_as_slashes(path: &str) -> String {
        path.replace('\\', "/")
    }

    /// nginx's `merge_slashes`.
    fn with_merged_slashes(path: &str) -> String {
        let mut characters: Vec<char> = path.chars().collect();
        characters.dedup_by(|next, previous| (*next, *previous) == ('/', '/'));
        characters.into_iter().collect()
    }

    /// RFC 3986, section 5.2.4.
    fn with_dot_segments_resolved(path: &str) -> String {
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

    /// Removal of NUL, white space, control characters and non-ASCII bytes.
    fn printable_ascii_only(path: &str) -> String {
        path.chars().filter(char::is_ascii_graphic).collect()
    }

    /// Paths with segments that some normalization changes, and paths of arbitrary characters.
    fn paths() -> impl Strategy<Value = String> {
        prop_oneof![
            prop::collection::vec(r"|a|b1|\.|\.\.|\.\.\.|%2e|%2[fF]|%|;x|a;b|\\|a\\b| |\x00|\x7f|é|", 1..6)
                .prop_map(|segments| format!("/{}", segments.join("/"))),
            r"/(\PC|[ -~]){0,40}",
        ]
    }

    proptest! {
        #[test]
        fn other_normalizers_leave_a_canonical_path_unchanged(path in paths()) {
            if let Some(canonical) = canonical_path(&path) {
                for normalize in OTHER_NORMALIZERS {
                    prop_assert_eq!(normalize(&canonical), canonical.as_ref());
                }
                // The canonical path differs from the original only in slashes.
                let without_slashes = |path: &str| path.replace('/', "");
                prop_assert_eq!(without_slashes(&canonical), without_slashes(&path));
            } else {
                // A plain path is never rejected.
                prop_assert!(!path.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'/'), "a plain path is rejected");
            }
        }

        #[test]
        fn canonicalization_is_idempotent(path in paths()) {
            if let Some(canonical) = canonical_path(&path) {
                prop_assert!(is_canonical(&canonical));
            }
        }

        #[test]
        fn extra_slashes_do_not_change_the_result(path in paths(), index in any::<prop::sample::Index>()) {
            let slashes: Vec<_> = path.match_indices('/').map(|(at, _)| at).collect();
            let mut longer = path.clone();
            longer.insert(slashes[index.index(slashes.len())], '/');
            prop_assert_eq!(canonical_path(&longer), canonical_path(&path));
            let with_trailing_slash = format!("{path}/");
            prop_assert_eq!(canonical_path(&with_trailing_slash), canonical_path(&path));
        }

        #[test]
        fn words_joined_by_slashes_are_canonical(words in prop::collection::vec("[A-Za-z0-9_-]{1,8}", 1..6)) {
            let joined = format!("/{}", words.join("/"));
            prop_assert!(is_canonical(&joined));
        }
    }
}
