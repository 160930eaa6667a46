//! The password as WordPress passes it to its hash functions.

use zeroize::Zeroizing;

/// The longest password that WordPress verifies, in bytes.
const MAX_PASSWORD_BYTES: usize = 4_096;

/// The password of WordPress's forms: `wp_magic_quotes` puts a backslash before each quote, backslash and NUL of every
/// request, `wp_signon` leaves them in the password alone, and `wp_authenticate` trims it. `None` if it is too long.
pub(super) fn form_input(password: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut slashed = Zeroizing::new(Vec::with_capacity(2 * password.len()));
    for byte in password.bytes() {
        match byte {
            b'\'' | b'"' | b'\\' => slashed.extend([b'\\', byte]),
            0 => slashed.extend(*b"\\0"),
            byte => slashed.push(byte),
        }
    }
    // What PHP's `trim` removes.
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b);
    let start = slashed.iter().position(|byte| !is_space(byte)).unwrap_or(slashed.len());
    let end = slashed.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    (end - start <= MAX_PASSWORD_BYTES).then(|| Zeroizing::new(slashed[start..end].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_slashed_and_white_space_trimmed() {
        for (password, expected) in [
            ("correct horse", "correct horse"),
            (" \t\u{b}x y\r\n ", "x y"),
            (r#"it's "a\b""#, r#"it\'s \"a\\b\""#),
            ("密码\0", "密码\\0"),
            ("  ", ""),
            ("\u{a0}x", "\u{a0}x"),
        ] {
            assert_eq!(form_input(password).unwrap().as_slice(), expected.as_bytes(), "{password:?}");
        }
        assert!(form_input(&"x".repeat(4_096)).is_some() && form_input(&"x".repeat(4_097)).is_none());
    }
}
