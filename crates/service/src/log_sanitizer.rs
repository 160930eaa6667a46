//! What clients send, in the log: of bounded length, without control characters, and not in endless lines.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

/// Characters of a client's text in a line of the log.
pub const MAX_CLIENT_TEXT_CHARS: usize = 200;
/// Budgets of lines are for this long.
const RATE_WINDOW: Duration = Duration::from_secs(60);

/// A client's text for the log: its first [`MAX_CLIENT_TEXT_CHARS`] characters, with `…` where there are more, and with control
/// characters and those that change the direction of a line escaped (`\u{202e}`).
pub fn sanitize(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_CLIENT_TEXT_CHARS && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(MAX_CLIENT_TEXT_CHARS + 16);
    for (at, char) in text.chars().enumerate() {
        if at == MAX_CLIENT_TEXT_CHARS {
            out.push('…');
            break;
        }
        if is_visible(char) {
            out.push(char);
        } else {
            // A String takes everything.
            let _ = write!(out, "{}", char.escape_unicode());
        }
    }
    Cow::Owned(out)
}

/// Whether a character shows where it stands and changes nothing around it: not Unicode's Cc, Cf, Zl and Zp.
fn is_visible(character: char) -> bool {
    use GeneralCategory::{Control, Format, LineSeparator, ParagraphSeparator};
    character == ' '
        || character.is_ascii_graphic()
        || !matches!(character.general_category(), Control | Format | LineSeparator | ParagraphSeparator)
}

/// This text with each character that is not visible, and not in `kept`, written as in JSON: `\u202e`.
pub fn escape_invisible<'a>(text: &'a str, kept: &[char]) -> Cow<'a, str> {
    let stays = |character: char| is_visible(character) || kept.contains(&character);
    if text.chars().all(stays) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if stays(character) {
            escaped.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a text does not fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        }
    }
    Cow::Owned(escaped)
}

/// Bounds the lines that one kind of event may log in a minute, and counts the others.
pub struct LogRateLimiter {
    max_per_minute: u32,
    window: Mutex<WindowState>,
}

struct WindowState {
    started_at: Option<Instant>,
    lines: u32,
    suppressed: u64,
}

impl LogRateLimiter {
    /// At most `most` lines a minute.
    pub const fn new(most: u32) -> Self {
        Self { max_per_minute: most, window: Mutex::new(WindowState { started_at: None, lines: 0, suppressed: 0 }) }
    }

    /// Whether a line may be logged at `now`; if so, how many were left out since the last one.
    pub fn allow(&self, now: Instant) -> Option<SuppressedLines> {
        let mut minute = lock_ignoring_poison(&self.window);
        if minute.started_at.is_none_or(|began| now.duration_since(began) >= RATE_WINDOW) {
            (minute.started_at, minute.lines) = (Some(now), 0);
        }
        if minute.lines >= self.max_per_minute {
            minute.suppressed += 1;
            return None;
        }
        minute.lines += 1;
        Some(SuppressedLines(std::mem::take(&mut minute.suppressed)))
    }
}

/// How many lines were left out before this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuppressedLines(u64);

impl SuppressedLines {
    /// As a field of a line: none if none was left out.
    pub fn as_log_field(self) -> Option<u64> {
        (self.0 > 0).then_some(self.0)
    }
}

/// As [`LogRateLimiter`], for lines that clients cause: by address (IPv6 by /64) as well as in all.
pub struct ClientLogRateLimiter {
    max_per_client: u32,
    max_total: u32,
    minute: Mutex<(WindowState, HashMap<IpAddr, u32>)>,
}

impl ClientLogRateLimiter {
    /// At most `each` lines a minute for one address, and `all` for all of them.
    pub fn new(each: u32, all: u32) -> Self {
        let minute = WindowState { started_at: None, lines: 0, suppressed: 0 };
        Self { max_per_client: each, max_total: all, minute: Mutex::new((minute, HashMap::new())) }
    }

    /// Whether a line about `client` may be logged at `now`; if so, how many were left out since the last one.
    pub fn take(&self, client: IpAddr, now: Instant) -> Option<SuppressedLines> {
        let mut locked = lock_ignoring_poison(&self.minute);
        let (minute, origins) = &mut *locked;
        if minute.started_at.is_none_or(|began| now.duration_since(began) >= RATE_WINDOW) {
            (minute.started_at, minute.lines) = (Some(now), 0);
            origins.clear();
        }
        if minute.lines < self.max_total {
            let own = origins.entry(client_network(client)).or_default();
            if *own < self.max_per_client {
                *own += 1;
                minute.lines += 1;
                return Some(SuppressedLines(std::mem::take(&mut minute.suppressed)));
            }
        }
        minute.suppressed += 1;
        None
    }
}

/// A client's address, without the bits that an IPv6 subscriber chooses.
fn client_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
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
            let clipped = sanitize(&long);
            assert!(clipped.ends_with('…') && clipped.len() <= 8 * MAX_CLIENT_TEXT_CHARS + 3, "{}", clipped.len());
        }
        assert_eq!(sanitize(&"x".repeat(MAX_CLIENT_TEXT_CHARS)).len(), MAX_CLIENT_TEXT_CHARS);
    }

    #[test]
    fn log_lines_per_minute_are_limited_and_suppressed_lines_counted() {
        let (now, budget) = (Instant::now(), LogRateLimiter::new(3));
        let taken = |at| (0..100).filter_map(|_| budget.allow(at)).collect::<Vec<_>>();
        assert_eq!(taken(now), [SuppressedLines(0); 3]);
        assert_eq!(taken(now + RATE_WINDOW), [SuppressedLines(97), SuppressedLines(0), SuppressedLines(0)]);
        assert_eq!(SuppressedLines(0).as_log_field(), None);
        assert_eq!(SuppressedLines(97).as_log_field(), Some(97));
    }

    #[test]
    fn log_lines_are_limited_per_client_and_in_total() {
        let (now, lines) = (Instant::now(), ClientLogRateLimiter::new(10, 50));
        let v6 = |network, host| IpAddr::from([0x2001, 0xdb8, 0, network, 0, 0, 0, host]);
        let one: Vec<_> = (0..1_000).filter_map(|host| lines.take(v6(1, host), now)).collect();
        let many: Vec<_> = (0..1_000).filter_map(|network| lines.take(v6(network, 1), now)).collect();
        assert_eq!((one.len(), many.len()), (10, 40));
        assert!(lock_ignoring_poison(&lines.minute).1.len() <= 50, "no memory for those that have no line");
        let next = lines.take(v6(1, 1), now + RATE_WINDOW);
        let left_out: u64 = one.iter().chain(&many).chain(&next).map(|left_out| left_out.0).sum();
        assert_eq!((next.is_some(), left_out), (true, 990 + 960), "each is counted once");
    }

    #[test]
    fn escaped_text_is_still_json() {
        assert_eq!(escape_invisible("Mark 男", &[]), "Mark 男");
        assert_eq!(escape_invisible("a\u{202e}b\tc\n", &['\t']), "a\\u202eb\tc\\u000a");
        // Beyond 16 bits, as JSON has it (RFC 8259, section 7).
        assert_eq!(escape_invisible("\"\u{9b}\u{e0001}x\"", &[]), "\"\\u009b\\udb40\\udc01x\"");
    }
}
