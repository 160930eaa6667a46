//! The operator's list of clients (`STELE_CLIENTS`): names a request's client by its `User-Agent` (RFC 9110 §10.1.5).
//!
//! The names are a closed list: no text of a request becomes a name. The header is not authenticated, so a name serves
//! statistics and brown-outs, never a permission.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::setting::parsed;

crate::settings! {
    /// The list of clients.
    pub const SETTINGS = "STELE_";
    /// names of clients for `stele sunset`, each with a pattern for the whole User-Agent, in which * stands for any text;
    /// the first match counts, letter case does not; a client without a match is called other; MeFP apps and TMS client
    /// tokens are named by themselves; example: `kiosk=*KioskShell/*,ios=CloudBox*iOS*,ios=*CFNetwork*`
    pub CLIENTS: ClientList = parsed(ClientList::parse, "name=pattern, separated by commas", "");
}

/// The most names.
const MAX_NAMES: usize = 64;
/// The most patterns.
const MAX_PATTERNS: usize = 256;
/// The longest pattern in bytes.
const MAX_PATTERN_LEN: usize = 256;
/// How many bytes of a `User-Agent` are compared.
const MAX_USER_AGENT_LEN: usize = 512;
/// The name of clients without a match.
const OTHER: &str = "other";

/// Names of clients with patterns of their `User-Agent`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientList(Arc<[NamedPattern]>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct NamedPattern {
    name: Arc<str>,
    /// In lower case.
    pattern: Box<str>,
}

impl ClientList {
    /// Parses `name=pattern,…`: at most 64 names of 1 to 64 lower-case letters, digits, `.`, `_` and `-`, and 256
    /// patterns of 1 to 256 bytes.
    ///
    /// # Errors
    /// The first invalid pair, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
        let patterns = pairs.map(parse_pair).collect::<Result<Vec<_>, _>>()?;
        let names: BTreeSet<_> = patterns.iter().map(|pattern| &pattern.name).collect();
        if names.len() > MAX_NAMES || patterns.len() > MAX_PATTERNS {
            return Err(format!("has more than {MAX_NAMES} names or {MAX_PATTERNS} patterns; join some with *"));
        }
        Ok(Self(patterns.into()))
    }

    /// The name of the first pattern that matches `user_agent`; `None` if none does.
    pub fn find(&self, user_agent: &[u8]) -> Option<&Arc<str>> {
        if self.0.is_empty() {
            return None;
        }
        let compared = user_agent[..user_agent.len().min(MAX_USER_AGENT_LEN)].to_ascii_lowercase();
        self.0.iter().find(|named| matches(named.pattern.as_bytes(), &compared)).map(|named| &named.name)
    }

    /// Whether a pattern has this name.
    pub fn has_name(&self, name: &str) -> bool {
        self.0.iter().any(|named| &*named.name == name)
    }

    /// The names, each once, in order.
    pub fn names(&self) -> Vec<&str> {
        let names: BTreeSet<_> = self.0.iter().map(|named| &*named.name).collect();
        names.into_iter().collect()
    }
}

impl std::fmt::Display for ClientList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, NamedPattern { name, pattern }) in self.0.iter().enumerate() {
            write!(f, "{}{name}={pattern}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

fn parse_pair(pair: &str) -> Result<NamedPattern, String> {
    let (name, pattern) = pair.split_once('=').ok_or_else(|| format!("`{pair}` is not name=pattern"))?;
    let (name, pattern) = (name.trim(), pattern.trim());
    let is_allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b);
    if !(1..=64).contains(&name.len()) || !name.bytes().all(is_allowed) {
        return Err(format!("`{name}` is not a name: 1 to 64 lower-case letters, digits, `.`, `_` and `-`"));
    }
    if name == OTHER {
        return Err(format!("`{OTHER}` is the name of all clients without a match; choose another"));
    }
    if !(1..=MAX_PATTERN_LEN).contains(&pattern.len()) {
        return Err(format!("the pattern of `{name}` has {} bytes; write 1 to {MAX_PATTERN_LEN}", pattern.len()));
    }
    Ok(NamedPattern { name: name.into(), pattern: pattern.to_ascii_lowercase().into() })
}

/// Whether `pattern`, in which `*` stands for any bytes, matches the whole `text`. The time is at most proportional to
/// the product of their lengths.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut pattern_at, mut text_at) = (0, 0);
    // The position behind the last star, and the text that the star stands for so far.
    let mut restart: Option<(usize, usize)> = None;
    while text_at < text.len() {
        match (pattern.get(pattern_at), restart) {
            (Some(b'*'), _) => {
                pattern_at += 1;
                restart = Some((pattern_at, text_at));
            }
            (Some(byte), _) if *byte == text[text_at] => {
                pattern_at += 1;
                text_at += 1;
            }
            (_, Some((behind_star, star_end))) => {
                (pattern_at, text_at) = (behind_star, star_end + 1);
                restart = Some((behind_star, star_end + 1));
            }
            (_, None) => return false,
        }
    }
    pattern[pattern_at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_matching_pattern_names_the_client() {
        let list = ClientList::parse("kiosk = *KioskShell/2*, ios=CloudBox*iOS*,ios=*cfnetwork*,all=a*").unwrap();
        for (user_agent, expected) in [
            ("Mozilla/5.0 KioskShell/2.1", Some("kiosk")),
            ("kioskshell/2", Some("kiosk")),
            ("KioskShell/3", None),
            ("CloudBox/1.2 (iOS 9; KioskShell/2)", Some("kiosk")),
            ("CloudBox/1.2 (iOS 9)", Some("ios")),
            ("X CloudBox/1.2 (iOS 9)", None),
            ("CloudBox/1 CFNetwork/711", Some("ios")),
            ("a", Some("all")),
            ("", None),
            ("okhttp/3.9", None),
        ] {
            assert_eq!(list.find(user_agent.as_bytes()).map(|name| &**name), expected, "{user_agent}");
        }
        assert_eq!(list.names(), ["all", "ios", "kiosk"]);
        assert!(list.has_name("ios") && !list.has_name("other"));
        assert_eq!(ClientList::parse(&list.to_string()), Ok(list));
        assert_eq!(ClientList::default().find(b"okhttp"), None);
    }

    #[test]
    fn stars_match_any_text_and_the_whole_header_must_match() {
        for (pattern, text, expected) in [
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("*", "", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("*ab", "aab", true),
            ("ab*", "ab", true),
            ("a**", "a", true),
            ("", "", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
        let long = [b"x".repeat(MAX_USER_AGENT_LEN), b"kiosk".to_vec()].concat();
        let list = ClientList::parse("kiosk=*kiosk,x=x*").unwrap();
        assert_eq!(list.find(&long).map(|name| &**name), Some("x"));
        assert_eq!(list.find(b"\xff\x00kiosk").map(|name| &**name), Some("kiosk"));
    }

    #[test]
    fn invalid_lists_are_rejected_with_the_pair_at_fault() {
        let many: String = (0..65).map(|n| format!("c{n}=x,")).collect();
        let long = format!("a={}", "x".repeat(MAX_PATTERN_LEN + 1));
        for (text, expected) in [
            ("kiosk", "`kiosk` is not name=pattern"),
            ("Kiosk=*", "`Kiosk` is not a name"),
            ("=*", "`` is not a name"),
            ("a b=*", "`a b` is not a name"),
            ("other=*", "`other` is the name of all clients"),
            ("a=", "the pattern of `a` has 0 bytes"),
            (&long, "has 257 bytes"),
            (&many, "has more than 64 names"),
        ] {
            let error = ClientList::parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert_eq!(ClientList::parse(" , "), Ok(ClientList::default()));
    }
}
