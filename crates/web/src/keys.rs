//! The key folder: sealing keys, the key of keyed hashes, and what single dialects keep there.
//!
//! | file | holds |
//! | --- | --- |
//! | `seal-N.key` | sealing key number N; the highest number seals, all open |
//! | `mac.key` | the key of keyed hashes |
//!
//! A key file is one line: 64 hex digits, a space, and the first 8 hex digits of the key's SHA-256, by which a damaged
//! file is told from a key. Files are made with mode 0600 in a folder of mode 0700, once: two processes that start
//! together end up with the same keys.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use stele_core::hex;
use stele_core::mac::{MacKey, sha256};
use stele_core::random::Random;
use stele_core::seal::{KeyId, Sealer};
use zeroize::Zeroizing;

use crate::config::ConfigError;

type Bytes32 = Zeroizing<[u8; 32]>;

/// The keys that every service needs.
pub struct Keys {
    /// Sealing keys.
    pub sealer: Sealer,
    /// The key of keyed hashes.
    pub mac: MacKey,
}

/// Reads the keys in `folder`.
///
/// # Errors
/// One line that names the file, if one is missing, damaged or unreadable.
pub fn load(folder: &Path) -> Result<Keys, ConfigError> {
    let entries = fs::read_dir(folder).map_err(|e| missing(folder, &e))?;
    let mut sealing = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| missing(folder, &e))?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|n| n.strip_prefix("seal-")?.strip_suffix(".key"));
        if let Some(id) = number.and_then(|n| n.parse::<KeyId>().ok()) {
            sealing.push((id, read_key(&entry.path())?));
        }
    }
    let none = || ConfigError::new(format!("{}: there is no seal-1.key; {REMEDY}", folder.display()));
    Ok(Keys { sealer: Sealer::new(sealing).ok_or_else(none)?, mac: MacKey::new(read_key(&folder.join("mac.key"))?) })
}

const REMEDY: &str = "`stele migrate` makes missing keys, and all instances must share one set";

fn missing(path: &Path, error: &std::io::Error) -> ConfigError {
    ConfigError::new(format!("{}: cannot read the keys: {error}; {REMEDY}", path.display()))
}

/// Whether there is a sealing key in `folder`, readable or not.
pub fn has_seal_key(folder: &Path) -> bool {
    let seal = |name: &str| name.starts_with("seal-") && name.ends_with(".key");
    let mut entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries.any(|entry| entry.file_name().to_str().is_some_and(seal))
}

/// Makes the folder and the keys that are not there.
///
/// # Errors
/// One line, if the folder or a file cannot be made.
pub fn provision(folder: &Path, random: &dyn Random) -> Result<(), ConfigError> {
    make_folder(folder)?;
    if !has_seal_key(folder) {
        make_once(&folder.join("seal-1.key"), || new_key(random))?;
    }
    make_once(&folder.join("mac.key"), || new_key(random))
}

/// Makes a folder for this user alone, if it is not there.
///
/// # Errors
/// One line that names it.
pub fn make_folder(folder: &Path) -> Result<(), ConfigError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|e| ConfigError::new(format!("{}: the folder cannot be made: {e}", folder.display())))
}

/// Makes a file of mode 0600 with what `content` gives, unless it is there already: whole or not at all, and never
/// over another process's.
///
/// # Errors
/// One line that names it.
pub fn make_once(path: &Path, content: impl FnOnce() -> Zeroizing<String>) -> Result<(), ConfigError> {
    if path.exists() {
        return Ok(());
    }
    let draft = path.with_extension(format!("draft-{}", std::process::id()));
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(content().as_bytes())?;
        file.sync_all()?;
        // Unlike a rename, a link never replaces.
        match fs::hard_link(&draft, path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    };
    let written = write();
    let _ = fs::remove_file(&draft);
    written.map_err(|e| ConfigError::new(format!("{}: the file cannot be made: {e}", path.display())))
}

/// Reads a small secret file, with a warning if others may read it too. Its group may: that is how an orchestrator hands
/// a file to a user who does not own it.
///
/// # Errors
/// One line that names it.
pub fn read_secret(path: &Path) -> Result<Zeroizing<String>, ConfigError> {
    let text = fs::read_to_string(path).map_err(|e| missing(path, &e))?;
    let open = fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o037 != 0);
    if open {
        tracing::warn!(file = %path.display(), "others may read this secret: chmod 600");
    }
    Ok(Zeroizing::new(text))
}

fn new_key(random: &dyn Random) -> Zeroizing<String> {
    let mut key: Bytes32 = Zeroizing::new([0; 32]);
    random.fill(&mut *key);
    Zeroizing::new(format!("{} {}\n", hex::encode(&*key), checksum(&key)))
}

fn checksum(key: &Bytes32) -> String {
    hex::encode(&sha256(&**key)[..4])
}

fn read_key(path: &Path) -> Result<Bytes32, ConfigError> {
    let text = read_secret(path)?;
    let read = || {
        let (key, sum) = text.trim_end().split_once(' ')?;
        let key = Zeroizing::new(hex::decode::<32>(key)?);
        (checksum(&key) == sum).then_some(key)
    };
    let damaged =
        || format!("{}: the key is damaged; put it back from a backup (a new one opens nothing)", path.display());
    read().ok_or_else(|| ConfigError::new(damaged()))
}

#[cfg(test)]
mod tests {
    use stele_core::random::OsRandom;

    use super::*;

    #[test]
    fn keys_are_made_once_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        assert!(load(&keys).err().unwrap().to_string().contains("stele migrate"));
        provision(&keys, &OsRandom).unwrap();
        let first = fs::read_to_string(keys.join("seal-1.key")).unwrap();
        provision(&keys, &OsRandom).unwrap();
        assert_eq!(fs::read_to_string(keys.join("seal-1.key")).unwrap(), first);
        assert_eq!(fs::metadata(keys.join("mac.key")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&keys).unwrap().count(), 2, "no draft is left");
        assert_eq!(load(&keys).unwrap().sealer.current(), 1);
    }

    #[test]
    fn a_damaged_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        provision(folder.path(), &OsRandom).unwrap();
        let path = folder.path().join("seal-1.key");
        let good = fs::read_to_string(&path).unwrap();
        let flipped = if good.starts_with('0') { good.replacen('0', "1", 1) } else { format!("0{}", &good[1..]) };
        for bad in ["", "garbage", &good[..40], &flipped] {
            fs::write(&path, bad).unwrap();
            let error = load(folder.path()).err().unwrap().to_string();
            assert!(error.contains("seal-1.key") && error.contains("damaged"), "{error}");
        }
    }
}
