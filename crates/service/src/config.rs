//! Settings: one name each, from the command line, the environment, a secret file or a TOML file, in that order.
//!
//! `STELE_X` may come as `STELE_X_FILE`, the name of a file that holds the value (as container secrets do), or as the
//! key `x` of the TOML file named by `--config`. Every error names the setting and where its value came from.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

/// One setting, as `--help` and `stele check` explain it.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// `STELE_…`.
    pub name: &'static str,
    /// The default, in words if it depends on something.
    pub default: &'static str,
    /// What it does, units and range.
    pub help: &'static str,
}

/// Shorthand for tables of settings.
pub const fn setting(name: &'static str, default: &'static str, help: &'static str) -> Setting {
    Setting { name, default, help }
}

/// A setting that cannot be used: one line that names the fault and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(String);

impl ConfigError {
    /// An error about anything but one setting's value.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// A value is wiped when it is dropped: it may hold a password.
#[derive(Clone)]
struct Value {
    text: Zeroizing<String>,
    source: String,
}

/// The settings in force.
#[derive(Clone, Default)]
pub struct Settings {
    values: BTreeMap<String, Value>,
}

impl Settings {
    /// Reads the environment, and `config` if one is named.
    ///
    /// # Errors
    /// If a file cannot be read, or the TOML file is malformed or has a key that no setting in `known` has.
    pub fn load(config: Option<&Path>, known: &[&[Setting]]) -> Result<Self, ConfigError> {
        let mut settings = Self::default();
        if let Some(path) = config {
            settings.read_toml(path, known)?;
        }
        for (name, value) in std::env::vars_os() {
            let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else { continue };
            if name.starts_with("STELE_") {
                settings.take_variable(name, value)?;
            } else if name.starts_with("OTEL_") {
                // Read by OpenTelemetry's SDK itself, which knows no files.
                settings = settings.with([(name, value.to_owned())]);
            }
        }
        Ok(settings)
    }

    /// The settings with these values: for tests and for what a command line says.
    #[must_use]
    pub fn with<'a>(mut self, values: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        for (name, text) in values {
            self.values.insert(name.to_owned(), Value { text: text.into(), source: name.to_owned() });
        }
        self
    }

    fn take_variable(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        match name.strip_suffix("_FILE") {
            Some(base) => {
                let text = std::fs::read_to_string(value)
                    .map_err(|e| ConfigError(format!("{name}: cannot read {value}: {e}")))?;
                let text = Zeroizing::new(text);
                // The variable itself, if it is there too, has the last word whatever the order they come in.
                if self.values.get(base).is_none_or(|v| v.source != base) {
                    let text = text.trim_end_matches(['\r', '\n']).to_owned().into();
                    self.values.insert(base.to_owned(), Value { text, source: format!("{name}={value}") });
                }
            }
            None => {
                let text = value.to_owned().into();
                self.values.insert(name.to_owned(), Value { text, source: name.to_owned() });
            }
        }
        Ok(())
    }

    fn read_toml(&mut self, path: &Path, known: &[&[Setting]]) -> Result<(), ConfigError> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|e| ConfigError(format!("--config {shown}: {e}")))?;
        let text = Zeroizing::new(text);
        let table: toml::Table = toml::from_str(&text)
            .map_err(|e| ConfigError(format!("--config {shown}: {}", e.to_string().trim_end())))?;
        for (key, value) in table {
            let name = format!("STELE_{}", key.to_ascii_uppercase());
            if !known.iter().any(|list| list.iter().any(|s| s.name == name)) {
                return Err(ConfigError(format!("--config {shown}: unknown key `{key}`; --help lists the settings")));
            }
            let text = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(flag) => flag.to_string(),
                _ => {
                    return Err(ConfigError(format!(
                        "--config {shown}: `{key}` must be a text, a number or true/false"
                    )));
                }
            };
            self.values.insert(name, Value { text: text.into(), source: format!("`{key}` in {shown}") });
        }
        Ok(())
    }

    /// The names of all settings that have a value.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// The text of a setting; `None` if it is not set or empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|v| v.text.as_str()).filter(|text| !text.is_empty())
    }

    /// A setting read by `read`, or `default` if it is not set.
    ///
    /// # Errors
    /// What `read` says is wrong, behind the setting's name.
    pub fn read<T>(
        &self,
        name: &str,
        default: T,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        match self.values.get(name) {
            Some(value) if !value.text.is_empty() => {
                read(&value.text).map_err(|why| ConfigError(format!("{}: {why}", value.source)))
            }
            _ => Ok(default),
        }
    }

    /// A whole number.
    ///
    /// # Errors
    /// If it is not one, or out of the type's range.
    pub fn number<T: std::str::FromStr>(&self, name: &str, default: T) -> Result<T, ConfigError> {
        self.read(name, default, |text| text.parse().map_err(|_| format!("`{text}` is not a whole number in range")))
    }

    /// A whole number within `range`.
    ///
    /// # Errors
    /// If it is not one; the error names the range.
    pub fn range<T>(&self, name: &str, default: T, range: std::ops::RangeInclusive<T>) -> Result<T, ConfigError>
    where
        T: Copy + std::str::FromStr + PartialOrd + fmt::Display,
    {
        self.read(name, default, |text| {
            let number = text.parse().ok().filter(|number| range.contains(number));
            let (least, most) = (range.start(), range.end());
            number.ok_or_else(|| format!("`{text}` is not a whole number from {least} to {most}"))
        })
    }

    /// `true` or `false` (also `on`/`off`, `1`/`0`).
    ///
    /// # Errors
    /// If it is anything else.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool, ConfigError> {
        self.read(name, default, |text| match text {
            "true" | "on" | "1" => Ok(true),
            "false" | "off" | "0" => Ok(false),
            _ => Err(format!("`{text}` is neither true nor false")),
        })
    }

    /// A span: a number of seconds, or a number with `s`, `m`, `h` or `d`.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn span(&self, name: &str, default: Duration) -> Result<Duration, ConfigError> {
        self.read(name, default, |text| {
            parse_span(text).ok_or_else(|| format!("`{text}` is not a span; write seconds, or 90s, 15m, 12h, 30d"))
        })
    }

    /// An address to listen on.
    ///
    /// # Errors
    /// If it is not an IP address and a port.
    pub fn address(&self, name: &str, default: SocketAddr) -> Result<SocketAddr, ConfigError> {
        self.read(name, default, |text| {
            text.parse().map_err(|_| format!("`{text}` is not an address; write for example 127.0.0.1:8080"))
        })
    }

    /// `STELE_DATA`.
    pub fn data(&self) -> PathBuf {
        PathBuf::from(self.text("STELE_DATA").unwrap_or("./var"))
    }

    /// `STELE_KEYS`, by default `<data>/keys`.
    pub fn keys(&self) -> PathBuf {
        self.text("STELE_KEYS").map_or_else(|| self.data().join("keys"), PathBuf::from)
    }
}

/// Reads a span: a number of seconds, or a number with `s`, `m`, `h` or `d`; ten years at most.
pub fn parse_span(text: &str) -> Option<Duration> {
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

/// The settings as `--help` prints them.
pub fn explain(lists: &[&[Setting]]) -> String {
    let mut out = String::from(
        "Settings (each from the environment, from the file named by NAME_FILE, or from --config as the key without\n\
         STELE_ in lower case; OTEL_… from the environment alone):\n",
    );
    for setting in lists.iter().flat_map(|list| list.iter()) {
        out += &format!("  {:<28} {} [default: {}]\n", setting.name, setting.help, setting.default);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Setting] = &[setting("STELE_LISTEN", "x", "x"), setting("STELE_SESSION_TTL", "12h", "x")];

    fn toml(text: &str) -> Result<Settings, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let mut settings = Settings::default();
        settings.read_toml(file.path(), &[KNOWN]).map(|()| settings)
    }

    #[test]
    fn a_toml_file_gives_settings_and_its_slips_are_named() {
        let settings = toml("session_ttl = 60\nlisten = '127.0.0.1:1'").unwrap();
        assert_eq!(settings.span("STELE_SESSION_TTL", Duration::ZERO), Ok(Duration::from_secs(60)));
        assert!(toml("sesion_ttl = 60").err().unwrap().to_string().contains("unknown key `sesion_ttl`"));
        assert!(toml("listen = [1]").err().unwrap().to_string().contains("`listen`"));
        assert!(toml("listen").err().unwrap().to_string().contains("line 1"));
    }

    #[test]
    fn a_file_holds_a_secret_and_the_variable_wins() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "from file\n").unwrap();
        let path = file.path().to_str().unwrap();
        let mut settings = Settings::default();
        settings.take_variable("STELE_LISTEN_FILE", path).unwrap();
        assert_eq!(settings.text("STELE_LISTEN"), Some("from file"));
        settings.take_variable("STELE_LISTEN", "direct").unwrap();
        settings.take_variable("STELE_LISTEN_FILE", path).unwrap();
        assert_eq!(settings.text("STELE_LISTEN"), Some("direct"));
        let error = settings.take_variable("STELE_X_FILE", "/does/not/exist").unwrap_err().to_string();
        assert!(error.contains("STELE_X_FILE") && error.contains("/does/not/exist"), "{error}");
    }

    #[test]
    fn errors_name_the_setting() {
        let settings = Settings::default().with([("STELE_SESSION_TTL", "soon".to_owned())]);
        let error = settings.span("STELE_SESSION_TTL", Duration::ZERO).unwrap_err().to_string();
        assert!(error.starts_with("STELE_SESSION_TTL: `soon`"), "{error}");
    }

    #[test]
    fn spans() {
        for (text, seconds) in [("0", 0), ("300", 300), ("90s", 90), ("15m", 900), ("12h", 43_200), ("30d", 2_592_000)]
        {
            assert_eq!(parse_span(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "m", "-1", "1.5h", "1 h", "99999999999999999999", "9999999d", "1é"] {
            assert_eq!(parse_span(bad), None, "{bad}");
        }
    }
}
