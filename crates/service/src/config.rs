//! Values of settings, from four sources. The first in this order takes precedence: the command line, the environment,
//! a secret file, a TOML file.
//!
//! The value of `STELE_X` may also be read from the file that `STELE_X_FILE` names (container secrets), or from the key
//! `x` of the TOML file that `--config` names. An error about a value names the source of the
//! value.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::setting::{AnySetting, Setting, SettingList, optional, with_default};

crate::settings! {
    /// Folders of programs with local files.
    pub const DIRECTORY_SETTINGS = "STELE_";
    /// folder of the embedded stores, the keys and the outbox (also `--data`)
    pub DATA: PathBuf = with_default("./var");
    /// folder of the sealing and signing keys; all instances need the same keys
    pub KEYS: Option<PathBuf> = optional("`keys` in the data folder");
}

/// An error of the configuration or of the start of a program: one line that names the fault and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(String);

impl ConfigError {
    /// An error with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// A value and its source, for errors. The text is erased from memory on drop, since it may hold a password.
#[derive(Clone)]
struct SettingValue {
    text: Zeroizing<String>,
    source: String,
}

/// The values of all settings.
#[derive(Clone, Default)]
pub struct Settings {
    values: BTreeMap<String, SettingValue>,
}

impl Settings {
    /// Reads the environment with the secret files that it names, and, if given, the TOML file `config`. Ignores
    /// variables that are not UTF-8.
    ///
    /// # Errors
    /// If a file cannot be read, or the TOML file is malformed, has a key that is not a setting in `known_settings`, or
    /// has an array, table, fraction or date as a value.
    pub fn load(config: Option<&Path>, known_settings: &[SettingList]) -> Result<Self, ConfigError> {
        let mut settings = Self::default();
        if let Some(path) = config {
            settings.load_toml(path, known_settings)?;
        }
        for (name, value) in std::env::vars_os() {
            let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else { continue };
            if name.starts_with("STELE_") {
                settings.insert_variable(name, value)?;
            } else if name.starts_with("OTEL_") {
                // OpenTelemetry's SDK reads these variables itself, without `_FILE`.
                settings = settings.with_values([(name, value.to_owned())]);
            }
        }
        Ok(settings)
    }

    /// Sets these values, which replace earlier ones. For the command line, variables of OpenTelemetry, and tests.
    #[must_use]
    pub fn with_values<'a>(mut self, values: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        for (name, text) in values {
            self.values.insert(name.to_owned(), SettingValue { text: text.into(), source: name.to_owned() });
        }
        self
    }

    fn insert_variable(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        match name.strip_suffix("_FILE") {
            Some(base) => {
                let content = std::fs::read_to_string(value)
                    .map_err(|e| ConfigError(format!("{name}: cannot read {value}: {e}")))?;
                let content = Zeroizing::new(content);
                // `STELE_X` takes precedence over `STELE_X_FILE`, in whatever order the environment lists them.
                if self.values.get(base).is_none_or(|v| v.source != base) {
                    let text = content.trim_end_matches(['\r', '\n']).to_owned().into();
                    self.values.insert(base.to_owned(), SettingValue { text, source: format!("{name}={value}") });
                }
            }
            None => {
                let text = value.to_owned().into();
                self.values.insert(name.to_owned(), SettingValue { text, source: name.to_owned() });
            }
        }
        Ok(())
    }

    fn load_toml(&mut self, path: &Path, known_settings: &[SettingList]) -> Result<(), ConfigError> {
        let display = path.display();
        let content = std::fs::read_to_string(path).map_err(|e| ConfigError(format!("--config {display}: {e}")))?;
        let content = Zeroizing::new(content);
        let table: toml::Table = toml::from_str(&content)
            .map_err(|e| ConfigError(format!("--config {display}: {}", e.to_string().trim_end())))?;
        for (key, value) in table {
            let name = format!("STELE_{}", key.to_ascii_uppercase());
            if !known_settings.iter().any(|list| list.iter().any(|setting| setting.name() == name)) {
                return Err(ConfigError(format!("--config {display}: unknown key `{key}`; --help lists the settings")));
            }
            let text = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(flag) => flag.to_string(),
                _ => {
                    return Err(ConfigError(format!(
                        "--config {display}: `{key}` must be a string, a whole number or true/false"
                    )));
                }
            };
            self.values.insert(name, SettingValue { text: text.into(), source: format!("`{key}` in {display}") });
        }
        Ok(())
    }

    /// The names of all variables and keys that were read, also unknown ones and those with an empty value.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// The unparsed value of a setting; `None` if it is not set or empty.
    pub fn raw_value(&self, setting: &dyn AnySetting) -> Option<&str> {
        self.values.get(setting.name()).map(|value| value.text.as_str()).filter(|text| !text.is_empty())
    }

    /// The value of a setting, or its default.
    ///
    /// # Errors
    /// If the value is invalid; the message begins with the source of the value.
    pub fn get<T>(&self, setting: &Setting<T>) -> Result<T, ConfigError> {
        let find_source = || self.values.get(setting.name()).map_or(setting.name(), |value| value.source.as_str());
        setting
            .parse_value(self.raw_value(setting))
            .map_err(|reason| ConfigError(format!("{}: {reason}", find_source())))
    }

    /// The value of a setting whose name is computed at run time, parsed by `parse`; `None` if it is not set or empty.
    ///
    /// # Errors
    /// As [`Settings::get`].
    pub fn get_by_name<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let value = self.values.get(name).filter(|value| !value.text.is_empty());
        value
            .map(|value| parse(&value.text).map_err(|reason| ConfigError(format!("{}: {reason}", value.source))))
            .transpose()
    }

    /// `STELE_DATA`.
    pub fn data_dir(&self) -> PathBuf {
        // Every text is a valid path, so this cannot fail.
        self.get(&DATA).unwrap_or_default()
    }

    /// `STELE_KEYS`, by default `<data>/keys`.
    pub fn keys_dir(&self) -> PathBuf {
        self.get(&KEYS).ok().flatten().unwrap_or_else(|| self.data_dir().join("keys"))
    }
}

/// The list of settings for `--help`.
pub fn settings_help(known_settings: &[SettingList]) -> String {
    let mut out = String::from(
        "Settings (set in the environment, in a file that NAME_FILE names, or in the --config file as the key without\n\
         STELE_ in lower case; OTEL_… only in the environment):\n",
    );
    for setting in known_settings.iter().flat_map(|list| list.iter()) {
        let (name, help, default) = (setting.name(), setting.help().replace('`', ""), setting.default_text());
        out += &format!("  {name:<28} {help} ({}) [default: {default}]\n", setting.value_format());
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    crate::settings! {
        const KNOWN = "STELE_";
        /// address
        LISTEN: Option<String> = optional("none");
        /// lifetime
        SESSION_TTL: Duration = with_default("12h").positive();
    }

    fn settings_from_toml(text: &str) -> Result<Settings, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let mut settings = Settings::default();
        settings.load_toml(file.path(), &[KNOWN]).map(|()| settings)
    }

    #[test]
    fn a_toml_file_sets_values_and_its_errors_name_the_key_or_line() {
        let settings = settings_from_toml("session_ttl = 60\nlisten = '127.0.0.1:1'").unwrap();
        assert_eq!(settings.get(&SESSION_TTL), Ok(Duration::from_secs(60)));
        assert!(settings_from_toml("sesion_ttl = 60").err().unwrap().to_string().contains("unknown key `sesion_ttl`"));
        assert!(settings_from_toml("listen = [1]").err().unwrap().to_string().contains("`listen`"));
        assert!(settings_from_toml("listen").err().unwrap().to_string().contains("line 1"));
    }

    #[test]
    fn a_variable_takes_precedence_over_its_secret_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "from file\n").unwrap();
        let path = file.path().to_str().unwrap();
        let mut settings = Settings::default();
        settings.insert_variable("STELE_LISTEN_FILE", path).unwrap();
        assert_eq!(settings.raw_value(&LISTEN), Some("from file"));
        settings.insert_variable("STELE_LISTEN", "direct").unwrap();
        settings.insert_variable("STELE_LISTEN_FILE", path).unwrap();
        assert_eq!(settings.raw_value(&LISTEN), Some("direct"));
    }

    #[test]
    fn an_unreadable_secret_file_is_reported_with_its_variable() {
        let error = Settings::default().insert_variable("STELE_X_FILE", "/does/not/exist").unwrap_err().to_string();
        assert!(error.contains("STELE_X_FILE") && error.contains("/does/not/exist"), "{error}");
    }

    #[test]
    fn errors_name_the_setting() {
        let settings = Settings::default().with_values([("STELE_SESSION_TTL", "soon".to_owned())]);
        let error = settings.get(&SESSION_TTL).unwrap_err().to_string();
        assert!(error.starts_with("STELE_SESSION_TTL: `soon`"), "{error}");
    }
}
