//! The declaration of a setting: its name, type, range, default and help, each written once.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

/// A setting of type `T`; [`settings!`](crate::settings!) declares it.
pub struct Setting<T> {
    name: &'static str,
    help: &'static str,
    spec: SettingSpec<T>,
}

/// Type, range and default of a setting.
pub struct SettingSpec<T> {
    parser: ValueParser<T>,
    value_format: &'static str,
    range: ValueRange,
    default: SettingDefault<T>,
    is_secret: bool,
}

/// The least and the most that a number may be; of a span, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueRange(u64, u64);

impl ValueRange {
    /// Every number.
    pub const ANY: Self = Self(0, u64::MAX);
}

enum ValueParser<T> {
    FromText(fn(&str, ValueRange) -> Result<T, String>),
    Custom(fn(&str) -> Result<T, String>),
}

enum SettingDefault<T> {
    /// As a user would write it.
    Text(&'static str),
    /// Taken from where it is defined, and shown as a user would write it.
    Derived(fn() -> T, fn(&T) -> String),
    /// Made by the program; in words what it is.
    Computed(fn() -> T, &'static str),
}

/// Settings that are declared together.
pub type SettingList = &'static [&'static dyn AnySetting];

/// A type that settings can have.
pub trait SettingFromText: Sized {
    /// What a user may write.
    const VALUE_FORMAT: &'static str;

    /// Reads it.
    ///
    /// # Errors
    /// What is wrong, and what to write instead.
    fn from_text(text: &str, range: ValueRange) -> Result<Self, String>;

    /// Writes it as a user would.
    fn to_text(&self) -> String;
}

/// A setting with this default.
pub const fn with_default<T: SettingFromText>(default: &'static str) -> SettingSpec<T> {
    spec_from_text(SettingDefault::Text(default))
}

/// A setting whose default is defined elsewhere.
pub const fn with_derived_default<T: SettingFromText>(default: fn() -> T) -> SettingSpec<T> {
    spec_from_text(SettingDefault::Derived(default, T::to_text))
}

/// A setting whose default depends on something: `words` say on what.
pub const fn with_computed_default<T: SettingFromText>(default: fn() -> T, words: &'static str) -> SettingSpec<T> {
    spec_from_text(SettingDefault::Computed(default, words))
}

/// A setting that has no value if it is not set: `words` say what then is.
pub const fn optional<T: SettingFromText>(words: &'static str) -> SettingSpec<Option<T>> {
    spec_from_text(SettingDefault::Computed(none, words))
}

/// A setting with this default, read by a function of its own; `takes` says what a user may write.
pub const fn parsed<T>(
    read: fn(&str) -> Result<T, String>,
    takes: &'static str,
    default: &'static str,
) -> SettingSpec<T> {
    spec_from_parser(read, takes, SettingDefault::Text(default))
}

/// The same, of which the default is defined elsewhere.
pub const fn parsed_with_derived_default<T>(
    read: fn(&str) -> Result<T, String>,
    takes: &'static str,
    default: fn() -> T,
    show: fn(&T) -> String,
) -> SettingSpec<T> {
    spec_from_parser(read, takes, SettingDefault::Derived(default, show))
}

/// A setting that has no value if it is not set, read by a function of its own.
pub const fn parsed_optional<T>(
    read: fn(&str) -> Result<Option<T>, String>,
    takes: &'static str,
    words: &'static str,
) -> SettingSpec<Option<T>> {
    spec_from_parser(read, takes, SettingDefault::Computed(none, words))
}

const fn spec_from_text<T: SettingFromText>(default: SettingDefault<T>) -> SettingSpec<T> {
    SettingSpec {
        parser: ValueParser::FromText(T::from_text),
        value_format: T::VALUE_FORMAT,
        range: ValueRange::ANY,
        default,
        is_secret: false,
    }
}

const fn spec_from_parser<T>(
    read: fn(&str) -> Result<T, String>,
    takes: &'static str,
    default: SettingDefault<T>,
) -> SettingSpec<T> {
    SettingSpec {
        parser: ValueParser::Custom(read),
        value_format: takes,
        range: ValueRange::ANY,
        default,
        is_secret: false,
    }
}

fn none<T>() -> Option<T> {
    None
}

impl<T> SettingSpec<T> {
    /// This shape, with a number (of a span: of seconds) from `least` to `most`.
    #[must_use]
    pub const fn range(mut self, least: u64, most: u64) -> Self {
        self.range = ValueRange(least, most);
        self
    }

    /// This shape, with a span longer than 0.
    #[must_use]
    pub const fn positive(self) -> Self {
        self.range(1, u64::MAX)
    }

    /// This shape, with more exact words for what a user may write.
    #[must_use]
    pub const fn value_format(mut self, takes: &'static str) -> Self {
        self.value_format = takes;
        self
    }

    /// This shape, of a value that is never shown.
    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.is_secret = true;
        self
    }
}

impl<T> Setting<T> {
    /// For [`settings!`](crate::settings!).
    #[doc(hidden)]
    pub const fn new(name: &'static str, help: &'static str, shape: SettingSpec<T>) -> Self {
        Self { name, help, spec: shape }
    }

    /// Reads a value; of `None`, the default.
    pub(crate) fn parse_value(&self, text: Option<&str>) -> Result<T, String> {
        let read = |text: &str| match self.spec.parser {
            ValueParser::FromText(read) => read(text, self.spec.range),
            ValueParser::Custom(read) => read(text),
        };
        match (text, &self.spec.default) {
            (Some(text), _) => read(text),
            (None, SettingDefault::Text(text)) => read(text),
            (None, SettingDefault::Derived(make, _) | SettingDefault::Computed(make, _)) => Ok(make()),
        }
    }
}

/// What a setting is, whatever its type: for help, checks and documentation.
pub trait AnySetting: Sync {
    /// `STELE_…`.
    fn name(&self) -> &'static str;

    /// What it does.
    fn help(&self) -> String;

    /// What a user may write.
    fn value_format(&self) -> String;

    /// The default as a user would write it, or in words.
    fn default_text(&self) -> String;

    /// Whether its value is a secret, or holds one.
    fn is_secret(&self) -> bool;

    /// Whether a value can be used; of `None`, the default.
    ///
    /// # Errors
    /// What is wrong with it.
    fn validate(&self, text: Option<&str>) -> Result<(), String>;
}

impl<T> AnySetting for Setting<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn help(&self) -> String {
        self.help.trim().to_owned()
    }

    fn value_format(&self) -> String {
        match self.spec.range {
            ValueRange::ANY => self.spec.value_format.to_owned(),
            ValueRange(least, u64::MAX) => format!("{}, at least {least}", self.spec.value_format),
            ValueRange(least, most) => format!("{}, {least} to {most}", self.spec.value_format),
        }
    }

    fn default_text(&self) -> String {
        match self.spec.default {
            SettingDefault::Text("") => "none".to_owned(),
            SettingDefault::Text(text) | SettingDefault::Computed(_, text) => text.to_owned(),
            SettingDefault::Derived(make, show) => show(&make()),
        }
    }

    fn is_secret(&self) -> bool {
        self.spec.is_secret
    }

    fn validate(&self, text: Option<&str>) -> Result<(), String> {
        self.parse_value(text).map(drop)
    }
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl SettingFromText for $number {
            const VALUE_FORMAT: &'static str = "a whole number";

            fn from_text(text: &str, ValueRange(least, most): ValueRange) -> Result<Self, String> {
                let most = most.min(Self::MAX as u64);
                let number = text.parse::<Self>().ok().filter(|number| (least..=most).contains(&(*number as u64)));
                number.ok_or_else(|| format!("`{text}` is not a whole number from {least} to {most}"))
            }

            fn to_text(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

numbers!(u16 u32 u64 usize);

impl SettingFromText for bool {
    const VALUE_FORMAT: &'static str = "true or false";

    /// Also `on`/`off`, `1`/`0`.
    fn from_text(text: &str, _: ValueRange) -> Result<Self, String> {
        match text {
            "true" | "on" | "1" => Ok(true),
            "false" | "off" | "0" => Ok(false),
            _ => Err(format!("`{text}` is neither true nor false")),
        }
    }

    fn to_text(&self) -> String {
        self.to_string()
    }
}

impl SettingFromText for Duration {
    const VALUE_FORMAT: &'static str = "a span: seconds, or 90s, 15m, 12h, 30d";

    fn from_text(text: &str, ValueRange(least, most): ValueRange) -> Result<Self, String> {
        let span = parse_duration(text)
            .ok_or_else(|| format!("`{text}` is not a span; write seconds, or 90s, 15m, 12h, 30d"))?;
        match span.as_secs() {
            short if short < least => Err(format!("`{text}` is too short; the least is {least} s")),
            long if long > most => Err(format!("`{text}` is too long; the most is {most} s")),
            _ => Ok(span),
        }
    }

    fn to_text(&self) -> String {
        let seconds = self.as_secs();
        let unit = DURATION_UNITS.iter().find(|(_, unit)| seconds >= *unit && seconds.is_multiple_of(*unit));
        unit.map_or_else(|| format!("{seconds}s"), |(name, unit)| format!("{}{name}", seconds / unit))
    }
}

impl SettingFromText for SocketAddr {
    const VALUE_FORMAT: &'static str = "an address and a port";

    fn from_text(text: &str, _: ValueRange) -> Result<Self, String> {
        text.parse().map_err(|_| format!("`{text}` is not an address; write for example 127.0.0.1:8080"))
    }

    fn to_text(&self) -> String {
        self.to_string()
    }
}

/// Texts take anything: what is wrong with one shows where it is used.
macro_rules! texts {
    ($($text:ty: $takes:literal, $show:expr;)*) => {$(
        impl SettingFromText for $text {
            const VALUE_FORMAT: &'static str = $takes;

            fn from_text(text: &str, _: ValueRange) -> Result<Self, String> {
                Ok(text.to_owned().into())
            }

            fn to_text(&self) -> String {
                $show(self)
            }
        }
    )*};
}

texts! {
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

/// The units of spans, in seconds.
const DURATION_UNITS: [(&str, u64); 3] = [("d", 86_400), ("h", 3_600), ("m", 60)];

/// Reads a span: a number of seconds, or a number with `s`, `m`, `h` or `d`; ten years at most.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (digits, unit) = match text.char_indices().next_back()? {
        (_, digit) if digit.is_ascii_digit() => (text, 1),
        (at, 's') => (&text[..at], 1),
        (at, 'm') => (&text[..at], 60),
        (at, 'h') => (&text[..at], 3_600),
        (at, 'd') => (&text[..at], 86_400),
        _ => return None,
    };
    // Ten years are enough for anyone and far from every overflow.
    let seconds = digits.parse::<u64>().ok()?.checked_mul(unit)?;
    (seconds <= 315_360_000).then(|| Duration::from_secs(seconds))
}

/// Declares settings, each with its help as the comment above it, and the list of them.
#[macro_export]
macro_rules! settings {
    ($prefix:literal; $($(#[doc = $help:literal])+ $each:vis $name:ident: $type:ty = $shape:expr;)+) => {$(
        $(#[doc = $help])+
        $each static $name: $crate::Setting<$type> =
            $crate::Setting::new(concat!($prefix, stringify!($name)), concat!($($help),+), $shape);
    )+};
    ($(#[$about:meta])* $vis:vis const $list:ident = $prefix:literal;
     $($(#[doc = $help:literal])+ $each:vis $name:ident: $type:ty = $shape:expr;)+) => {
        $crate::settings! { $prefix; $($(#[doc = $help])+ $each $name: $type = $shape;)+ }
        $(#[$about])*
        $vis const $list: $crate::setting::SettingList = &[$(&$name),+];
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_parsed_with_units() {
        for (text, seconds) in [("0", 0), ("300", 300), ("90s", 90), ("15m", 900), ("12h", 43_200), ("30d", 2_592_000)]
        {
            assert_eq!(parse_duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "m", "-1", "1.5h", "1 h", "99999999999999999999", "9999999d", "1é"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_duration_is_formatted_in_its_largest_unit() {
        for text in ["0s", "90s", "15m", "12h", "184d", "60s", "24h"] {
            let span = parse_duration(text).unwrap();
            assert_eq!(parse_duration(&span.to_text()), Some(span), "{text}");
        }
        assert_eq!(Duration::from_secs(43_200).to_text(), "12h");
    }
}
