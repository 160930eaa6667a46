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

    proptest! {
        #[test]
        fn plain_paths_survive_every_reading(path in "/[ -~]{0,40}") {
            if is_plain(&path) {
                // Collapsing, unescaping and resolving change nothing.
                let segments: Vec<_> = path[1..].split('/').collect();
                let inner = &segments[..segments.len() - 1];
                prop_assert!(inner.iter().all(|s| !s.is_empty()));
                prop_assert!(segments.iter().all(|s| *s != "." && *s != ".."));
                prop_assert!(!path.contains(['%', ';', '\\', ' ']));
            }
        }

        #[test]
        fn words_joined_by_slashes_are_plain(words in prop::collection::vec("[A-Za-z0-9_-]{1,8}", 1..6)) {
            let joined = format!("/{}", words.join("/"));
            prop_assert!(is_plain(&joined));
        }
    }
}
