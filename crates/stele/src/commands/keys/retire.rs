//! `stele keys retire`: retires an old key, unless stored rows or unexpired tokens still need it.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use stele_app::settings;
use stele_app::token_settings::JWT_ALG;
use stele_core::event::Action;
use stele_core::oauth::{ACCESS_TOKEN_LIFETIME, SigningAlgorithm};
use stele_core::ports::{KeyRecord, KeyRetirement};
use stele_core::time::Offset;
use stele_jose::key_kind;
use stele_keys::{KeyKind, MAC_KEY_NAME, SEALING_KEYS};
use stele_service::{ConfigError, Settings};
use zeroize::Zeroizing;

use super::{KeyAdmin, active_number};
use crate::commands::{CommandError, print_line};

/// The greatest difference between the clocks of two instances that is allowed for.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(60);

/// What becomes of unexpired tokens that a retired key has signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnexpiredTokens {
    /// The key is not retired while there can be such tokens.
    Keep,
    /// They are no longer accepted.
    End,
}

pub(super) async fn run(
    key_admin: &KeyAdmin,
    settings: &Settings,
    key: &str,
    tokens: UnexpiredTokens,
) -> Result<(), CommandError> {
    let name = if key.parse::<u32>().is_ok() { format!("{}-{key}", SEALING_KEYS.name) } else { key.to_owned() };
    let records = key_admin.administration.keys().await?;
    let record = records.iter().find(|record| record.name == name);
    let record = record.ok_or_else(|| CommandError::Failed(not_registered_message(&name)))?;
    let result = retire(key_admin, settings, &records, record, tokens).await;
    key_admin.record_action(Action::RetireKey, Some(record.into()), result).await
}

fn not_registered_message(name: &str) -> String {
    format!("no key {name} is registered; `stele keys list` lists the registered keys")
}

async fn retire(
    key_admin: &KeyAdmin,
    settings: &Settings,
    records: &[KeyRecord],
    record: &KeyRecord,
    tokens: UnexpiredTokens,
) -> Result<(), CommandError> {
    let name = &record.name;
    if let Some((kind, number)) = key_admin.kind_of(record) {
        ensure_not_active(key_admin, records, record, &kind, number)?;
        if kind.name != SEALING_KEYS.name && tokens == UnexpiredTokens::Keep {
            ensure_tokens_expired(key_admin, settings, records, &kind, number)?;
        }
    }
    let key_file = BackedUpKeyFile::back_up(key_admin, name)?;
    let error = match key_admin.administration.retire_key(name).await {
        Ok(KeyRetirement::Retired) => return remove_key_file(name, key_file),
        Ok(KeyRetirement::NotFound) => not_registered_message(name),
        Ok(KeyRetirement::InUse(rows)) => {
            format!("{name} is still needed: {rows} rows are sealed under it; run `stele keys reseal` first")
        }
        Err(error) => error.to_string(),
    };
    if let Some(key_file) = key_file {
        key_file.rollback();
    }
    Err(CommandError::Failed(error))
}

/// Refuses to retire the active or the newest key while the key's file exists. A key whose file is lost may be retired
/// if no row is sealed under it; the store checks that.
fn ensure_not_active(
    key_admin: &KeyAdmin,
    records: &[KeyRecord],
    record: &KeyRecord,
    kind: &KeyKind,
    number: u32,
) -> Result<(), CommandError> {
    let newest = records.iter().filter_map(|record| record.number(kind.name)).max();
    let name = &record.name;
    let error = if active_number(records, kind, key_admin.now()) == Some(number) {
        format!("{name} is the active key; run `{}` first", rotate_command(kind))
    } else if newest == Some(number) {
        format!("{name} is the newest key; once it is active, run `{}` first", rotate_command(kind))
    } else {
        return Ok(());
    };
    if kind.key_path(&key_admin.folder, number).exists() { Err(CommandError::Failed(error)) } else { Ok(()) }
}

/// The command that rotates the keys of a kind.
fn rotate_command(kind: &KeyKind) -> String {
    match SigningAlgorithm::all().find(|algorithm| key_kind(*algorithm).name == kind.name) {
        Some(algorithm) => format!("stele keys rotate --alg {}", algorithm.as_str()),
        None => "stele keys rotate".to_owned(),
    }
}

/// Refuses to retire a signing key while a token that it signed can still be valid.
fn ensure_tokens_expired(
    key_admin: &KeyAdmin,
    settings: &Settings,
    records: &[KeyRecord],
    kind: &KeyKind,
    number: u32,
) -> Result<(), CommandError> {
    let newer = records.iter().filter(|record| record.number(kind.name).is_some_and(|other| other > number));
    let Some(last_use) = newer.map(|record| record.active_from).min() else { return Ok(()) };
    let expires_at = last_use.saturating_add(longest_token_lifetime(settings, kind)? + MAX_CLOCK_SKEW);
    if expires_at > key_admin.now() {
        let (key, expires_at) = (kind.key_name(number), expires_at.to_rfc3339(Offset::UTC));
        return Err(CommandError::Failed(format!(
            "{key} is still needed: tokens that it signed are valid until {expires_at}; retry then, or add --compromised if \
             the key has leaked"
        )));
    }
    Ok(())
}

/// The longest lifetime of a token that keys of this kind sign: login tokens, which last as long as a session, are signed
/// by the algorithm of `STELE_JWT_ALG` alone.
fn longest_token_lifetime(settings: &Settings, kind: &KeyKind) -> Result<Duration, ConfigError> {
    let signs_login_tokens = kind.name == stele_jose::key_kind(settings.get(&JWT_ALG)?).name;
    let session = if signs_login_tokens { settings::build_policy(settings)?.session_ttl } else { Duration::ZERO };
    Ok(session.max(ACCESS_TOKEN_LIFETIME))
}

/// The file of a key to retire, and a copy of it under a name that no instance reads. Older backups of the database
/// need the key.
struct BackedUpKeyFile {
    file: PathBuf,
    backup: PathBuf,
    /// Whether this command created the copy.
    is_backup_new: bool,
}

impl BackedUpKeyFile {
    /// Creates the copy, so that an unwritable folder is reported while the key is still registered. `None` if the key
    /// has no file here, and for the key of keyed hashes, whose file is not removed.
    fn back_up(key_admin: &KeyAdmin, name: &str) -> Result<Option<Self>, CommandError> {
        let mut kinds = [SEALING_KEYS].into_iter().chain(key_admin.signing_kinds.iter().copied());
        let extension = kinds.find(|kind| name.starts_with(kind.name)).map_or("key", |kind| kind.extension);
        let file = key_admin.folder.join(format!("{name}.{extension}"));
        let backup = key_admin.folder.join(format!("{name}.{extension}.retired"));
        if name == MAC_KEY_NAME || !file.exists() {
            return Ok(None);
        }
        let backup_error = |reason: &str| {
            let text = format!(
                "{}: {reason}, so {name} is still registered; run this command where the key folder is writable: as \
                 the folder's owner, or on the machine from which the key folders of other instances are copied",
                backup.display()
            );
            Err(ConfigError::new(text).into())
        };
        let is_backup_new = match fs::hard_link(&file, &backup) {
            Ok(()) => true,
            // Left by an interrupted command, or the copy of an earlier key with this number.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let read_key = |path| fs::read(path).map(Zeroizing::new);
                match (read_key(&file), read_key(&backup)) {
                    (Ok(current), Ok(earlier)) if current == earlier => false,
                    _ => return backup_error("a different file has this name"),
                }
            }
            Err(error) => return backup_error(&format!("the key file cannot be copied to this name ({error})")),
        };
        Ok(Some(Self { file, backup, is_backup_new }))
    }

    fn rollback(self) {
        if self.is_backup_new {
            // A remaining copy does no harm: the next run finds that it is identical to the key file.
            let _ = fs::remove_file(&self.backup);
        }
    }
}

/// Removes the file of a key that has been retired, and says where the copy is.
fn remove_key_file(name: &str, key_file: Option<BackedUpKeyFile>) -> Result<(), CommandError> {
    print_line(&format!("{name} is retired"))?;
    let Some(BackedUpKeyFile { file, backup, .. }) = key_file else { return Ok(()) };
    fs::remove_file(&file).map_err(|error| {
        let (file, backup) = (file.display(), backup.display());
        ConfigError::new(format!("{file}: cannot be removed ({error}); remove it by hand: {backup} is a copy of it"))
    })?;
    print_line(&format!(
        "{} is needed only to restore older backups; when you delete these backups, delete it on every instance",
        backup.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_rotates_keys_of_the_same_kind() {
        assert_eq!(rotate_command(&SEALING_KEYS), "stele keys rotate");
        for algorithm in SigningAlgorithm::all() {
            let command = rotate_command(&key_kind(algorithm));
            assert_eq!(command, format!("stele keys rotate --alg {}", algorithm.as_str()));
        }
    }

    #[test]
    fn a_key_is_needed_for_as_long_as_the_longest_token_that_it_signs() {
        let lifetime = |settings: &[(&'static str, &str)], algorithm| {
            let settings =
                Settings::default().with_values(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
            longest_token_lifetime(&settings, &key_kind(algorithm)).unwrap().as_secs()
        };
        assert_eq!(lifetime(&[], SigningAlgorithm::EdDsa), 43_200);
        assert_eq!(lifetime(&[], SigningAlgorithm::Rs256), 300);
        assert_eq!(lifetime(&[("STELE_JWT_ALG", "RS256")], SigningAlgorithm::Rs256), 43_200);
        assert_eq!(lifetime(&[("STELE_JWT_ALG", "RS256")], SigningAlgorithm::EdDsa), 300);
        assert_eq!(lifetime(&[("STELE_SESSION_TTL", "60s")], SigningAlgorithm::EdDsa), 300);
    }
}
