//! Protection of the log: text from clients is truncated and escaped (log injection, CWE-117), and the rate of log
//! lines that clients cause is limited.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

use crate::trusted_proxies::client_network;

/// Longest text from a client in a log line, in characters.
pub const MAX_CLIENT_TEXT_CHARS: usize = 200;
/// Window of the log rate limits.
const RATE_WINDOW: Duration = Duration::from_secs(60);

/// Makes a client's text safe for the log: truncates it to [`MAX_CLIENT_TEXT_CHARS`] characters, marked by `…`, and
/// escapes invisible characters: control characters, line separators, and characters that change the text direction
/// (`\u{202e}`).
pub fn sanitize(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_CLIENT_TEXT_CHARS && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(MAX_CLIENT_TEXT_CHARS + 16);
    for (index, character) in text.chars().enumerate() {
        if index == MAX_CLIENT_TEXT_CHARS {
            out.push('…');
            break;
        }
        if is_visible(character) {
            out.push(character);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "{}", character.escape_unicode());
        }
    }
    Cow::Owned(out)
}

/// Whether a character is visible and does not affect other characters: none of the Unicode categories Cc, Cf, Zl and
/// Zp.
fn is_visible(character: char) -> bool {
    use GeneralCategory::{Control, Format, LineSeparator, ParagraphSeparator};
    character == ' '
        || character.is_ascii_graphic()
        || !matches!(character.general_category(), Control | Format | LineSeparator | ParagraphSeparator)
}

/// `text` with all invisible characters escaped as in JSON (`\u202e`), except those in `allowed`.
pub fn escape_invisible<'a>(text: &'a str, allowed: &[char]) -> Cow<'a, str> {
    let is_unescaped = |character: char| is_visible(character) || allowed.contains(&character);
    if text.chars().all(is_unescaped) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_unescaped(character) {
            escaped.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        }
    }
    Cow::Owned(escaped)
}

/// Rate limit of the log lines of one kind of event, per minute. Suppressed lines are counted.
#[derive(Debug)]
pub struct LogRateLimiter {
    max_per_minute: u32,
    window: Mutex<WindowState>,
}

#[derive(Debug)]
struct WindowState {
    started_at: Option<Instant>,
    lines: u32,
    suppressed: u64,
}

impl LogRateLimiter {
    /// At most `max_per_minute` lines a minute.
    pub const fn new(max_per_minute: u32) -> Self {
        Self { max_per_minute, window: Mutex::new(WindowState { started_at: None, lines: 0, suppressed: 0 }) }
    }

    /// `Some` if a line may be logged at `now`, with the number of lines suppressed since the last one.
    pub fn allow(&self, now: Instant) -> Option<SuppressedLines> {
        let mut window = lock_ignoring_poison(&self.window);
        if window.started_at.is_none_or(|started_at| now.duration_since(started_at) >= RATE_WINDOW) {
            (window.started_at, window.lines) = (Some(now), 0);
        }
        if window.lines >= self.max_per_minute {
            window.suppressed += 1;
            return None;
        }
        window.lines += 1;
        Some(SuppressedLines(std::mem::take(&mut window.suppressed)))
    }
}

/// The number of lines suppressed before this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuppressedLines(u64);

impl SuppressedLines {
    /// The number for a log field; `None`, which omits the field, if no line was suppressed.
    pub fn as_log_field(self) -> Option<u64> {
        (self.0 > 0).then_some(self.0)
    }
}

/// Rate limit of log lines that clients cause: per client address (IPv6: per /64) and in total.
pub struct ClientLogRateLimiter {
    max_per_client: u32,
    max_total: u32,
    window: Mutex<(WindowState, HashMap<IpAddr, u32>)>,
}

impl ClientLogRateLimiter {
    /// At most `max_per_client` lines a minute for one address, and `max_total` for all addresses.
    pub fn new(max_per_client: u32, max_total: u32) -> Self {
        let window = WindowState { started_at: None, lines: 0, suppressed: 0 };
        Self { max_per_client, max_total, window: Mutex::new((window, HashMap::new())) }
    }

    /// `Some` if a line about `client` may be logged at `now`, with the number of lines suppressed since the last one.
    pub fn allow(&self, client: IpAddr, now: Instant) -> Option<SuppressedLines> {
        let mut locked = lock_ignoring_poison(&self.window);
        let (window, lines_by_client) = &mut *locked;
        if window.started_at.is_none_or(|started_at| now.duration_since(started_at) >= RATE_WINDOW) {
            (window.started_at, window.lines) = (Some(now), 0);
            lines_by_client.clear();
        }
        if window.lines < self.max_total {
            let client_lines = lines_by_client.entry(client_network(client)).or_default();
            if *client_lines < self.max_per_client {
                *client_lines += 1;
                window.lines += 1;
                return Some(SuppressedLines(std::mem::take(&mut window.suppressed)));
            }
        }
        window.suppressed += 1;
        None
    }
}

fn lock_ignoring_poison<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_text_is_truncated_and_escaped() {
        assert!(matches!(sanitize("/i/login"), Cow::Borrowed("/i/login")));
        assert_eq!(sanitize("/i/登录"), "/i/登录");
        assert_eq!(sanitize("\u{61c}"), "\\u{61c}");
        assert_eq!(sanitize("a\nb\u{1b}[2J\u{202e}c"), "a\\u{a}b\\u{1b}[2J\\u{202e}c");
        for long in ["x".repeat(15_000), "\u{7}".repeat(15_000), "é".repeat(15_000), "\u{202e}".repeat(15_000)] {
            let truncated = sanitize(&long);
            assert!(
                truncated.ends_with('…') && truncated.len() <= 8 * MAX_CLIENT_TEXT_CHARS + 3,
                "{}",
                truncated.len()
            );
        }
        assert_eq!(sanitize(&"x".repeat(MAX_CLIENT_TEXT_CHARS)).len(), MAX_CLIENT_TEXT_CHARS);
    }

    #[test]
    fn log_lines_per_minute_are_limited_and_suppressed_lines_counted() {
        let (now, limiter) = (Instant::now(), LogRateLimiter::new(3));
        let allow_100_lines = |at| (0..100).filter_map(|_| limiter.allow(at)).collect::<Vec<_>>();
        assert_eq!(allow_100_lines(now), [SuppressedLines(0); 3]);
        assert_eq!(allow_100_lines(now + RATE_WINDOW), [SuppressedLines(97), SuppressedLines(0), SuppressedLines(0)]);
        assert_eq!(SuppressedLines(0).as_log_field(), None);
        assert_eq!(SuppressedLines(97).as_log_field(), Some(97));
    }

    #[test]
    fn log_lines_are_limited_per_client_and_in_total() {
        let (now, limiter) = (Instant::now(), ClientLogRateLimiter::new(10, 50));
        let v6 = |network, host| IpAddr::from([0x2001, 0xdb8, 0, network, 0, 0, 0, host]);
        let one_network: Vec<_> = (0..1_000).filter_map(|host| limiter.allow(v6(1, host), now)).collect();
        let many_networks: Vec<_> = (0..1_000).filter_map(|network| limiter.allow(v6(network, 1), now)).collect();
        assert_eq!((one_network.len(), many_networks.len()), (10, 40));
        assert!(lock_ignoring_poison(&limiter.window).1.len() <= 50, "suppressed clients use no memory");
        let next = limiter.allow(v6(1, 1), now + RATE_WINDOW);
        let suppressed: u64 = one_network.iter().chain(&many_networks).chain(&next).map(|lines| lines.0).sum();
        assert_eq!((next.is_some(), suppressed), (true, 990 + 960), "each suppressed line is counted once");
    }

    #[test]
    fn escaped_text_is_still_json() {
        assert_eq!(escape_invisible("Mark 男", &[]), "Mark 男");
        assert_eq!(escape_invisible("a\u{202e}b\tc\n", &['\t']), "a\\u202eb\tc\\u000a");
        // A code point above U+FFFF becomes a surrogate pair (RFC 8259, section 7).
        assert_eq!(escape_invisible("\"\u{9b}\u{e0001}x\"", &[]), "\"\\u009b\\udb40\\udc01x\"");
    }
}
