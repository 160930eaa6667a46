//! Declaration of settings: name, type, range, default and help text, each written once (ADR 35).

mod value_types;

pub use value_types::parse_duration;

/// A setting of type `T`, declared by [`settings!`](crate::settings!).
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

/// The range of a number, or of a duration in whole seconds; both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueRange {
    min: u64,
    max: u64,
}

impl ValueRange {
    /// Unbounded.
    pub const ANY: Self = Self { min: 0, max: u64::MAX };
}

enum ValueParser<T> {
    FromText(fn(&str, ValueRange) -> Result<T, String>),
    Custom(fn(&str) -> Result<T, String>),
}

enum SettingDefault<T> {
    /// A value as text, as a user would write it.
    Text(&'static str),
    /// A value defined elsewhere in the code, and its formatter.
    Derived(fn() -> T, fn(&T) -> String),
    /// A value computed at run time, and its description.
    Computed(fn() -> T, &'static str),
}

/// Settings of one `settings!` declaration.
pub type SettingList = &'static [&'static dyn AnySetting];

/// A type of settings, which is parsed from text.
pub trait SettingFromText: Sized {
    /// Description of valid values, for help.
    const VALUE_FORMAT: &'static str;

    /// Parses a value.
    ///
    /// # Errors
    /// If `text` is invalid or out of `range`; the message says what to write instead.
    fn from_text(text: &str, range: ValueRange) -> Result<Self, String>;

    /// Formats the value as a user would write it.
    fn to_text(&self) -> String;
}

/// A setting with this default, as text.
pub const fn with_default<T: SettingFromText>(default: &'static str) -> SettingSpec<T> {
    spec_from_text(SettingDefault::Text(default))
}

/// A setting whose default is defined elsewhere in the code.
pub const fn with_derived_default<T: SettingFromText>(default: fn() -> T) -> SettingSpec<T> {
    spec_from_text(SettingDefault::Derived(default, T::to_text))
}

/// A setting whose default is computed at run time; `default_description` describes it for help.
pub const fn with_computed_default<T: SettingFromText>(
    default: fn() -> T,
    default_description: &'static str,
) -> SettingSpec<T> {
    spec_from_text(SettingDefault::Computed(default, default_description))
}

/// A setting without a default value; `default_description` says for help what applies if it is not set.
pub const fn optional<T: SettingFromText>(default_description: &'static str) -> SettingSpec<Option<T>> {
    spec_from_text(SettingDefault::Computed(none, default_description))
}

/// A setting with this default that `parse` parses; `value_format` describes valid values.
pub const fn parsed<T>(
    parse: fn(&str) -> Result<T, String>,
    value_format: &'static str,
    default: &'static str,
) -> SettingSpec<T> {
    spec_from_parser(parse, value_format, SettingDefault::Text(default))
}

/// As [`parsed`], with a default defined elsewhere in the code, which `format` formats.
pub const fn parsed_with_derived_default<T>(
    parse: fn(&str) -> Result<T, String>,
    value_format: &'static str,
    default: fn() -> T,
    format: fn(&T) -> String,
) -> SettingSpec<T> {
    spec_from_parser(parse, value_format, SettingDefault::Derived(default, format))
}

/// As [`optional`], parsed by `parse`.
pub const fn parsed_optional<T>(
    parse: fn(&str) -> Result<Option<T>, String>,
    value_format: &'static str,
    default_description: &'static str,
) -> SettingSpec<Option<T>> {
    spec_from_parser(parse, value_format, SettingDefault::Computed(none, default_description))
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
    parse: fn(&str) -> Result<T, String>,
    value_format: &'static str,
    default: SettingDefault<T>,
) -> SettingSpec<T> {
    SettingSpec { parser: ValueParser::Custom(parse), value_format, range: ValueRange::ANY, default, is_secret: false }
}

fn none<T>() -> Option<T> {
    None
}

impl<T> SettingSpec<T> {
    /// Restricts a number, or a duration in seconds, to `min` to `max` inclusive.
    #[must_use]
    pub const fn range(mut self, min: u64, max: u64) -> Self {
        self.range = ValueRange { min, max };
        self
    }

    /// Requires a duration of at least one second.
    #[must_use]
    pub const fn positive(self) -> Self {
        self.range(1, u64::MAX)
    }

    /// Replaces the type's description of valid values.
    #[must_use]
    pub const fn value_format(mut self, value_format: &'static str) -> Self {
        self.value_format = value_format;
        self
    }

    /// Marks the value as secret: it is never shown.
    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.is_secret = true;
        self
    }
}

impl<T> Setting<T> {
    /// For [`settings!`](crate::settings!).
    #[doc(hidden)]
    pub const fn new(name: &'static str, help: &'static str, spec: SettingSpec<T>) -> Self {
        Self { name, help, spec }
    }

    /// Parses `text`; for `None`, returns the default.
    pub(crate) fn parse_value(&self, text: Option<&str>) -> Result<T, String> {
        let parse = |text: &str| match self.spec.parser {
            ValueParser::FromText(parse) => parse(text, self.spec.range),
            ValueParser::Custom(parse) => parse(text),
        };
        match (text, &self.spec.default) {
            (Some(text), _) => parse(text),
            (None, SettingDefault::Text(text)) => parse(text),
            (None, SettingDefault::Derived(default, _) | SettingDefault::Computed(default, _)) => Ok(default()),
        }
    }
}

/// A setting of any type, for help, `stele check` and documentation.
pub trait AnySetting: Sync {
    /// The name, such as `STELE_LISTEN`.
    fn name(&self) -> &'static str;

    /// The help text.
    fn help(&self) -> String;

    /// Description of valid values, with the range.
    fn value_format(&self) -> String;

    /// The default as a user would write it, or its description.
    fn default_text(&self) -> String;

    /// Whether the value is or contains a secret.
    fn is_secret(&self) -> bool;

    /// Checks `text`; for `None`, the default.
    ///
    /// # Errors
    /// If the value is invalid; the message says why.
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
            ValueRange { min, max: u64::MAX } => format!("{}, at least {min}", self.spec.value_format),
            ValueRange { min, max } => format!("{}, {min} to {max}", self.spec.value_format),
        }
    }

    fn default_text(&self) -> String {
        match self.spec.default {
            SettingDefault::Text("") => "none".to_owned(),
            SettingDefault::Text(text) | SettingDefault::Computed(_, text) => text.to_owned(),
            SettingDefault::Derived(default, format) => format(&default()),
        }
    }

    fn is_secret(&self) -> bool {
        self.spec.is_secret
    }

    fn validate(&self, text: Option<&str>) -> Result<(), String> {
        self.parse_value(text).map(drop)
    }
}

/// Declares settings, with the doc comment of each as its help text, and a [`SettingList`](crate::setting::SettingList)
/// of them.
#[macro_export]
macro_rules! settings {
    ($prefix:literal; $($(#[doc = $help:literal])+ $each:vis $name:ident: $type:ty = $spec:expr;)+) => {$(
        $(#[doc = $help])+
        $each static $name: $crate::Setting<$type> =
            $crate::Setting::new(concat!($prefix, stringify!($name)), concat!($($help),+), $spec);
    )+};
    ($(#[$about:meta])* $vis:vis const $list:ident = $prefix:literal;
     $($(#[doc = $help:literal])+ $each:vis $name:ident: $type:ty = $spec:expr;)+) => {
        $crate::settings! { $prefix; $($(#[doc = $help])+ $each $name: $type = $spec;)+ }
        $(#[$about])*
        $vis const $list: $crate::setting::SettingList = &[$(&$name),+];
    };
}
