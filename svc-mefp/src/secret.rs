//! `mefp_secret`, the AES-256 key that all apps share: loaded from a setting, or from a file in the key folder, which
//! key bootstrap creates.

use std::path::Path;

use stele_core::random::{OsRandom, Random};
use stele_keys::files;
use stele_service::setting::parsed_optional;
use stele_service::{ConfigError, Settings};
use zeroize::Zeroizing;

/// The length of the secret in bytes: an AES-256 key.
pub const MEFP_SECRET_LENGTH: usize = 32;
/// The file in the key folder.
const SECRET_FILE: &str = "mefp.secret";
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

stele_service::settings! {
    /// The settings of this dialect.
    pub const SETTINGS = "STELE_";
    /// `mefp_secret`, the AES-256 key that all MeFP apps share
    pub MEFP_SECRET: Option<Zeroizing<String>> =
        parsed_optional(parse_setting, "32 printable ASCII characters", "mefp.secret in the folder of the keys").secret();
}

/// Loads `mefp_secret` from the setting, else from the file.
///
/// # Errors
/// If neither exists (the message names both remedies), the file cannot be read, or the secret is not 32 printable ASCII
/// characters.
pub fn load_secret(settings: &Settings) -> Result<Zeroizing<String>, ConfigError> {
    if let Some(secret) = settings.get(&MEFP_SECRET)? {
        return Ok(secret);
    }
    let path = settings.keys_dir().join(SECRET_FILE);
    let path_text = path.display();
    if !path.exists() {
        return Err(ConfigError::new(format!(
            "STELE_MEFP_SECRET is not set and {path_text} does not exist; set it to the secret of the apps, or run \
             `stele migrate` to create the file"
        )));
    }
    validate_secret(files::read_secret_file(&path)?.trim_end_matches(['\r', '\n']))
        .map_err(|why| ConfigError::new(format!("{path_text}: {why}")))
}

/// Creates the file with a random secret (key bootstrap), unless the file exists or the setting is set.
///
/// # Errors
/// If the file cannot be created.
pub fn provision(folder: &Path, settings: &Settings) -> Result<(), ConfigError> {
    if settings.raw_value(&MEFP_SECRET).is_some() {
        return Ok(());
    }
    files::create_once(&folder.join(SECRET_FILE), || generate_secret(&OsRandom))
}

fn parse_setting(text: &str) -> Result<Option<Zeroizing<String>>, String> {
    validate_secret(text).map(Some)
}

fn validate_secret(text: &str) -> Result<Zeroizing<String>, String> {
    // The error does not repeat the text: it may be a secret with a typo.
    if text.len() == MEFP_SECRET_LENGTH && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(Zeroizing::new(text.to_owned()));
    }
    Err(format!(
        "must be {MEFP_SECRET_LENGTH} printable ASCII characters without spaces; the value has {} bytes",
        text.len()
    ))
}

fn generate_secret(random: &dyn Random) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(MEFP_SECRET_LENGTH));
    for _ in 0..MEFP_SECRET_LENGTH {
        let index = usize::try_from(random.uniform_below(ALPHABET.len() as u64)).unwrap_or_default();
        text.push(char::from(ALPHABET[index]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "STELE_MEFP_SECRET";
    const VALID_SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn settings_with(values: &[(&str, &str)]) -> Settings {
        Settings::default().with_values(values.iter().map(|(name, text)| (*name, (*text).to_owned())))
    }

    #[test]
    fn the_setting_takes_precedence_over_the_file() {
        assert_eq!(*load_secret(&settings_with(&[(NAME, VALID_SECRET)])).unwrap(), VALID_SECRET);
    }

    #[test]
    fn a_missing_secret_reports_both_remedies() {
        let error = load_secret(&settings_with(&[("STELE_KEYS", "/nowhere")])).unwrap_err().to_string();
        for part in [NAME, "/nowhere/mefp.secret", "stele migrate"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn an_invalid_secret_is_rejected_without_echoing_it() {
        for invalid in ["short", &VALID_SECRET[1..], "0123456789abcdef 123456789abcdef", "密密密密密密密密密密12"]
        {
            let error = load_secret(&settings_with(&[(NAME, invalid)])).unwrap_err().to_string();
            assert!(error.starts_with(NAME) && error.contains("32") && !error.contains(invalid), "{error}");
        }
    }

    #[test]
    fn the_file_is_created_once_and_only_without_the_setting() {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().to_str().unwrap();
        provision(folder.path(), &settings_with(&[(NAME, VALID_SECRET)])).unwrap();
        assert!(!folder.path().join(SECRET_FILE).exists());
        provision(folder.path(), &Settings::default()).unwrap();
        let settings = settings_with(&[("STELE_KEYS", keys)]);
        let first = load_secret(&settings).unwrap();
        assert!(first.len() == MEFP_SECRET_LENGTH && first.bytes().all(|b| b.is_ascii_alphanumeric()));
        provision(folder.path(), &Settings::default()).unwrap();
        assert_eq!(load_secret(&settings).unwrap(), first);
        std::fs::write(folder.path().join(SECRET_FILE), "damaged").unwrap();
        assert!(load_secret(&settings).unwrap_err().to_string().contains(SECRET_FILE));
    }
}
