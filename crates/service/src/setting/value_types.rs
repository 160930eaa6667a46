//! Types of settings: integers, booleans, durations, addresses, strings and paths; parsed from text and formatted.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

use super::{SettingFromText, ValueRange};

macro_rules! impl_setting_for_integers {
    ($($integer:ty)*) => {$(
        impl SettingFromText for $integer {
            const VALUE_FORMAT: &'static str = "a whole number";

            fn from_text(text: &str, ValueRange { min, max }: ValueRange) -> Result<Self, String> {
                let max = max.min(Self::MAX as u64);
                let number = text.parse::<Self>().ok().filter(|number| (min..=max).contains(&(*number as u64)));
                number.ok_or_else(|| format!("`{text}` is not a whole number from {min} to {max}"))
            }

            fn to_text(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

impl_setting_for_integers!(u16 u32 u64 usize);

impl SettingFromText for bool {
    const VALUE_FORMAT: &'static str = "true or false";

    /// Also accepts `on`/`off` and `1`/`0`.
    fn from_text(text: &str, _: ValueRange) -> Result<Self, String> {
        match text {
            "true" | "on" | "1" => Ok(true),
            "false" | "off" | "0" => Ok(false),
            _ => Err(format!("`{text}` is not a truth value; write true or false")),
        }
    }

    fn to_text(&self) -> String {
        self.to_string()
    }
}

impl SettingFromText for Duration {
    const VALUE_FORMAT: &'static str = "a duration: seconds, or 90s, 15m, 12h, 30d";

    fn from_text(text: &str, ValueRange { min, max }: ValueRange) -> Result<Self, String> {
        let duration = parse_duration(text)
            .ok_or_else(|| format!("`{text}` is not a duration; write seconds, or 90s, 15m, 12h, 30d"))?;
        match duration.as_secs() {
            seconds if seconds < min => Err(format!("`{text}` is too short; the minimum is {min} s")),
            seconds if seconds > max => Err(format!("`{text}` is too long; the maximum is {max} s")),
            _ => Ok(duration),
        }
    }

    fn to_text(&self) -> String {
        let seconds = self.as_secs();
        let unit = DURATION_UNITS.iter().find(|(_, unit)| seconds >= *unit && seconds.is_multiple_of(*unit));
        unit.map_or_else(|| format!("{seconds}s"), |(name, unit)| format!("{}{name}", seconds / unit))
    }
}

impl SettingFromText for SocketAddr {
    const VALUE_FORMAT: &'static str = "an IP address and a port";

    fn from_text(text: &str, _: ValueRange) -> Result<Self, String> {
        text.parse().map_err(|_| format!("`{text}` is not an IP address and a port; write for example 127.0.0.1:8080"))
    }

    fn to_text(&self) -> String {
        self.to_string()
    }
}

/// Strings accept any text; an invalid value is reported by the code that uses it.
macro_rules! impl_setting_for_strings {
    ($($string:ty: $value_format:literal, $format:expr;)*) => {$(
        impl SettingFromText for $string {
            const VALUE_FORMAT: &'static str = $value_format;

            fn from_text(text: &str, _: ValueRange) -> Result<Self, String> {
                Ok(text.to_owned().into())
            }

            fn to_text(&self) -> String {
                $format(self)
            }
        }
    )*};
}

impl_setting_for_strings! {
    String: "a text", String::clone;
    PathBuf: "a path", |path: &PathBuf| path.display().to_string();
    Zeroizing<String>: "a text", |_| "(set)".to_owned();
}

impl<T: SettingFromText> SettingFromText for Option<T> {
    const VALUE_FORMAT: &'static str = T::VALUE_FORMAT;

    fn from_text(text: &str, range: ValueRange) -> Result<Self, String> {
        T::from_text(text, range).map(Some)
    }

    fn to_text(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), T::to_text)
    }
}

/// The units of durations, in seconds.
const DURATION_UNITS: [(&str, u64); 3] = [("d", 86_400), ("h", 3_600), ("m", 60)];

/// Parses a duration: a number of seconds, or a number with the unit `s`, `m`, `h` or `d`. `None` if `text` is
/// malformed or the duration is longer than ten years.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (digits, unit) = match text.char_indices().next_back()? {
        (_, digit) if digit.is_ascii_digit() => (text, 1),
        (at, 's') => (&text[..at], 1),
        (at, 'm') => (&text[..at], 60),
        (at, 'h') => (&text[..at], 3_600),
        (at, 'd') => (&text[..at], 86_400),
        _ => return None,
    };
    // Ten years suffice for every setting and are far from any overflow.
    let seconds = digits.parse::<u64>().ok()?.checked_mul(unit)?;
    (seconds <= 315_360_000).then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_parsed_with_and_without_units() {
        for (text, seconds) in [("0", 0), ("300", 300), ("90s", 90), ("15m", 900), ("12h", 43_200), ("30d", 2_592_000)]
        {
            assert_eq!(parse_duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "m", "-1", "1.5h", "1 h", "99999999999999999999", "9999999d", "1é"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_formatted_duration_parses_to_the_same_duration() {
        for text in ["0s", "90s", "15m", "12h", "184d", "60s", "24h"] {
            let duration = parse_duration(text).unwrap();
            assert_eq!(parse_duration(&duration.to_text()), Some(duration), "{text}");
        }
    }

    #[test]
    fn a_duration_is_formatted_in_its_largest_unit() {
        assert_eq!(Duration::from_secs(43_200).to_text(), "12h");
    }
}
