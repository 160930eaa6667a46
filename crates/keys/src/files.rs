//! Key files on disk: the sealing keys, the key of keyed hashes, and numbered keys of other kinds, such as JWT signing
//! keys.
//!
//! | file | holds |
//! | --- | --- |
//! | `seal-N.key` | sealing key number N |
//! | `mac.key` | the key of keyed hashes |
//!
//! The database records which keys are registered and from when each seals or signs; other files are not read. Each of
//! these two files has one line: 64 hex digits, a space, and the first 8 hex digits of the key's SHA-256, which reveal
//! damage. Files have mode 0600, in a folder of mode 0700. A file is created at most once, so two processes that start
//! together use the same keys.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use stele_core::hex;
use stele_core::mac::{MacKey, sha256};
use stele_core::ports::{KeyRecord, parse_key_number};
use stele_core::random::Random;
use stele_core::seal::KeyId;
use stele_service::ConfigError;
use stele_service::private_file::check_secret_file;
use zeroize::Zeroizing;

type KeyBytes = Zeroizing<[u8; 32]>;

/// Identifies a key without revealing it.
pub type KeyFingerprint = [u8; 32];

/// A kind of numbered keys: how the keys and files are named, generated and identified.
#[derive(Clone, Copy)]
pub struct KeyKind {
    /// The name of the keys without the number: `seal`.
    pub name: &'static str,
    /// The extension of the key files, without the dot.
    pub extension: &'static str,
    /// Generates a key and returns the content of its file; `None` if generation fails.
    pub generate: fn(&dyn Random) -> Option<Zeroizing<String>>,
    /// Computes a key's fingerprint from the content of its file; `None` if the content is not a key of this kind.
    pub fingerprint: fn(&str) -> Option<KeyFingerprint>,
}

/// The kind of the sealing keys.
pub const SEALING_KEYS: KeyKind = KeyKind {
    name: "seal",
    extension: "key",
    generate: |random| Some(generate_key_file(random)),
    fingerprint: |content| Some(MacKey::new(parse_key_file(content)?).tag(FINGERPRINT_MESSAGE)),
};

/// The registered name of the key of keyed hashes.
pub const MAC_KEY_NAME: &str = "mac";
/// The file of the key of keyed hashes in the key folder.
const MAC_KEY_FILE: &str = "mac.key";

/// The message whose keyed hash is the fingerprint of a key. It has one part, and codes and captchas are hashed in more
/// than one, so a fingerprint is never the hash of a code or captcha.
const FINGERPRINT_MESSAGE: &[&[u8]] = &[b"stele key probe"];

const MISSING_KEYS_REMEDY: &str = "`stele migrate` creates missing keys, and all instances must share one set";

impl KeyKind {
    /// The name of a key: `seal-1`.
    pub fn key_name(&self, number: KeyId) -> String {
        format!("{}-{number}", self.name)
    }

    /// The file of a key.
    pub fn key_path(&self, folder: &Path, number: KeyId) -> PathBuf {
        folder.join(format!("{}.{}", self.key_name(number), self.extension))
    }

    /// The numbers of the key files in `folder`, whether or not the keys are registered, in ascending order.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn list_numbers(&self, folder: &Path) -> Result<Vec<KeyId>, ConfigError> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(folder).map_err(|e| read_error(folder, &e))? {
            let name = entry.map_err(|e| read_error(folder, &e))?.file_name();
            let stem = name.to_str().and_then(|name| name.strip_suffix(self.extension)?.strip_suffix('.'));
            numbers.extend(stem.and_then(|stem| parse_key_number(stem, self.name)));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Reads a key. Returns the content of its file and its fingerprint.
    ///
    /// # Errors
    /// One line that names the file and the remedy, if the file is missing, damaged, unreadable, or accessible to other
    /// users.
    pub fn read(&self, folder: &Path, number: KeyId) -> Result<(Zeroizing<String>, KeyFingerprint), ConfigError> {
        let path = self.key_path(folder, number);
        let content = read_secret_file(&path)?;
        let fingerprint = (self.fingerprint)(&content).ok_or_else(|| damaged_key_error(&path))?;
        Ok((content, fingerprint))
    }

    /// Reads a registered key and verifies its fingerprint, if the record has one. Returns the content of the key's
    /// file and its fingerprint.
    ///
    /// # Errors
    /// As [`KeyKind::read`]; also if the file holds a key other than the registered one.
    pub fn read_verified(
        &self,
        folder: &Path,
        record: &KeyRecord,
        number: KeyId,
    ) -> Result<(Zeroizing<String>, KeyFingerprint), ConfigError> {
        let path = self.key_path(folder, number);
        if !path.exists() {
            return Err(missing_key_error(&path, &record.name));
        }
        let (content, fingerprint) = self.read(folder, number)?;
        if record.fingerprint.as_ref().is_some_and(|stored| *stored != fingerprint) {
            return Err(wrong_key_error(&path, &record.name));
        }
        Ok((content, fingerprint))
    }
}

/// Reads the key of keyed hashes and verifies the registered fingerprint.
///
/// # Errors
/// One line that names the file and the remedy, if the key is not registered, or its file is missing, damaged,
/// unreadable, accessible to other users, or holds another key.
pub fn load_mac_key(folder: &Path, records: &[KeyRecord]) -> Result<MacKey, ConfigError> {
    let path = folder.join(MAC_KEY_FILE);
    let stored_fingerprint =
        records.iter().find(|record| record.name == MAC_KEY_NAME).and_then(|record| record.fingerprint.as_ref());
    if stored_fingerprint.is_some() && !path.exists() {
        return Err(missing_key_error(&path, MAC_KEY_NAME));
    }
    let (key, fingerprint) = read_mac_key(folder)?;
    match stored_fingerprint {
        None => {
            Err(ConfigError::new(format!("{}: the key mac is not registered; run `stele migrate`", path.display())))
        }
        Some(stored) if *stored != fingerprint => Err(wrong_key_error(&path, MAC_KEY_NAME)),
        Some(_) => Ok(key),
    }
}

/// Reads the key of keyed hashes without verifying its fingerprint.
///
/// # Errors
/// One line that names the file and the remedy, if the file is missing, damaged, unreadable, or accessible to other
/// users.
pub fn read_mac_key(folder: &Path) -> Result<(MacKey, KeyFingerprint), ConfigError> {
    let path = folder.join(MAC_KEY_FILE);
    let key = MacKey::new(parse_key_file(&read_secret_file(&path)?).ok_or_else(|| damaged_key_error(&path))?);
    let fingerprint = key.tag(FINGERPRINT_MESSAGE);
    Ok((key, fingerprint))
}

/// Generates the key of keyed hashes and creates its file, if the file does not exist.
///
/// # Errors
/// One line that names the file, if it cannot be created.
pub fn create_mac_key(folder: &Path, random: &dyn Random) -> Result<(), ConfigError> {
    create_once(&folder.join(MAC_KEY_FILE), || generate_key_file(random))
}

/// Parses the content of the file of a sealing key or of the key of keyed hashes; `None` if it is damaged.
pub(crate) fn parse_key_file(content: &str) -> Option<KeyBytes> {
    let (key, sum) = content.trim_end().split_once(' ')?;
    let key = Zeroizing::new(hex::decode::<32>(key)?);
    (checksum(&key) == sum).then_some(key)
}

fn read_error(path: &Path, error: &std::io::Error) -> ConfigError {
    ConfigError::new(format!("{}: cannot read the keys: {error}; {MISSING_KEYS_REMEDY}", path.display()))
}

fn missing_key_error(path: &Path, key: &str) -> ConfigError {
    ConfigError::new(format!(
        "{}: the key {key} is registered, but missing here; restore it from a backup or copy it from another instance",
        path.display()
    ))
}

fn wrong_key_error(path: &Path, key: &str) -> ConfigError {
    ConfigError::new(format!(
        "{}: this is not the key {key} that this database works with; restore that key from a backup or copy it from \
         another instance",
        path.display()
    ))
}

fn damaged_key_error(path: &Path) -> ConfigError {
    ConfigError::new(format!(
        "{}: the key is damaged; restore it from a backup (a new key cannot open anything)",
        path.display()
    ))
}

/// Creates a folder of mode 0700, if it does not exist.
///
/// # Errors
/// One line that names the folder.
pub fn create_private_folder(folder: &Path) -> Result<(), ConfigError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|e| ConfigError::new(format!("{}: the folder cannot be created: {e}", folder.display())))
}

/// Creates a file of mode 0600 with the generated content, unless the file exists. The file appears as a whole, and
/// never replaces a file that another process created meanwhile.
///
/// # Errors
/// One line that names the file, if it cannot be created.
pub fn create_once(path: &Path, generate_content: impl FnOnce() -> Zeroizing<String>) -> Result<(), ConfigError> {
    if path.exists() {
        return Ok(());
    }
    let temporary = path.with_extension(format!("draft-{}", std::process::id()));
    let write_file = || {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(generate_content().as_bytes())?;
        file.sync_all()?;
        // Unlike a rename, a hard link never replaces an existing file.
        match fs::hard_link(&temporary, path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    };
    let result = write_file();
    let _ = fs::remove_file(&temporary);
    result.map_err(|e| ConfigError::new(format!("{}: the file cannot be created: {e}", path.display())))
}

/// Reads a small secret file. A file that other users may read or change is rejected. The file's group may read the
/// file if this process does not own it, as when an orchestrator mounts a secret.
///
/// # Errors
/// One line that names the file and the remedy.
pub fn read_secret_file(path: &Path) -> Result<Zeroizing<String>, ConfigError> {
    let to_config_error = |e| read_error(path, &e);
    let mut file = fs::File::open(path).map_err(to_config_error)?;
    check_secret_file(path, &file.metadata().map_err(to_config_error)?)?;
    let mut content = Zeroizing::new(String::new());
    file.read_to_string(&mut content).map_err(to_config_error)?;
    Ok(content)
}

fn generate_key_file(random: &dyn Random) -> Zeroizing<String> {
    let mut key: KeyBytes = Zeroizing::new([0; 32]);
    random.fill(&mut *key);
    Zeroizing::new(format!("{} {}\n", hex::encode(&*key), checksum(&key)))
}

fn checksum(key: &KeyBytes) -> String {
    hex::encode(&sha256(&**key)[..4])
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use stele_core::random::OsRandom;
    use stele_core::time::Timestamp;

    use super::*;

    fn create_key(folder: &Path, number: KeyId) {
        create_once(&SEALING_KEYS.key_path(folder, number), || (SEALING_KEYS.generate)(&OsRandom).unwrap()).unwrap();
    }

    fn key_record(folder: &Path, number: KeyId) -> KeyRecord {
        let fingerprint = SEALING_KEYS.read(folder, number).unwrap().1;
        let at = Timestamp::from_secs(0);
        KeyRecord {
            name: SEALING_KEYS.key_name(number),
            fingerprint: Some(fingerprint.to_vec()),
            added_at: at,
            active_from: at,
        }
    }

    #[test]
    fn key_files_are_created_once_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        assert!(SEALING_KEYS.list_numbers(&keys).err().unwrap().to_string().contains("stele migrate"));
        create_private_folder(&keys).unwrap();
        for number in [10, 2] {
            create_key(&keys, number);
        }
        for unrelated in ["seal-01.key", "seal-x.key", "seal-3.key.retired", "seal-4key", "unseal-5.key"] {
            fs::write(keys.join(unrelated), "not read").unwrap();
        }
        assert_eq!(SEALING_KEYS.list_numbers(&keys).unwrap(), [2, 10]);
        let first = fs::read_to_string(keys.join("seal-2.key")).unwrap();
        create_key(&keys, 2);
        assert_eq!(fs::read_to_string(keys.join("seal-2.key")).unwrap(), first);
        assert_eq!(fs::metadata(keys.join("seal-2.key")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&keys).unwrap().count(), 7, "no draft is left");
    }

    #[test]
    fn a_damaged_missing_or_wrong_key_is_reported_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        create_key(folder.path(), 1);
        let record = key_record(folder.path(), 1);
        let path = folder.path().join("seal-1.key");
        let good = fs::read_to_string(&path).unwrap();
        let flipped = if good.starts_with('0') { good.replacen('0', "1", 1) } else { format!("0{}", &good[1..]) };
        let read_error_text =
            || SEALING_KEYS.read_verified(folder.path(), &record, 1).err().map(|e| e.to_string()).unwrap_or_default();
        for bad in ["", "garbage", &good[..40], &flipped] {
            fs::write(&path, bad).unwrap();
            assert!(
                read_error_text().contains("seal-1.key") && read_error_text().contains("damaged"),
                "{}",
                read_error_text()
            );
        }
        fs::write(&path, &*generate_key_file(&OsRandom)).unwrap();
        assert!(read_error_text().contains("seal-1.key: this is not the key seal-1"), "{}", read_error_text());
        fs::remove_file(&path).unwrap();
        assert!(
            read_error_text().contains("seal-1.key: the key seal-1 is registered, but missing"),
            "{}",
            read_error_text()
        );
        fs::write(&path, good).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read_error_text(), "");
    }

    #[test]
    fn a_key_file_readable_by_others_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        create_key(folder.path(), 1);
        let path = folder.path().join("seal-1.key");
        let read_with = |mode| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            SEALING_KEYS.read(folder.path(), 1).map(drop).map_err(|error| error.to_string())
        };
        for mode in [0o640, 0o604, 0o620, 0o660, 0o644, 0o666] {
            let error = read_with(mode).unwrap_err();
            assert!(error.contains("seal-1.key") && error.contains("chmod 600"), "{error}");
        }
        assert_eq!(read_with(0o400), Ok(()));
        assert_eq!(read_with(0o600), Ok(()));
    }

    /// Kubernetes mounts each file of a Secret as a symlink into a directory that it swaps, readable by the pod's
    /// group.
    #[test]
    fn a_symlinked_key_is_checked_by_its_targets_mode() {
        let (folder, mounted) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        create_key(folder.path(), 1);
        let (target, link) = (folder.path().join("seal-1.key"), mounted.path().join("seal-1.key"));
        std::os::unix::fs::symlink(&target, &link).unwrap();
        for (mode, is_accepted) in [(0o600, true), (0o440, true), (0o640, true), (0o660, false), (0o444, false)] {
            fs::set_permissions(&target, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(SEALING_KEYS.read(mounted.path(), 1).is_ok(), is_accepted, "{mode:o}");
        }
    }

    #[test]
    fn the_mac_key_must_match_its_stored_fingerprint() {
        let folder = tempfile::tempdir().unwrap();
        create_mac_key(folder.path(), &OsRandom).unwrap();
        let at = Timestamp::from_secs(0);
        let fingerprint = Some(read_mac_key(folder.path()).unwrap().1.to_vec());
        let records = [KeyRecord { name: "mac".into(), fingerprint, added_at: at, active_from: at }];
        assert!(load_mac_key(folder.path(), &records).is_ok());
        assert!(load_mac_key(folder.path(), &[]).err().unwrap().to_string().contains("stele migrate"));
        fs::write(folder.path().join("mac.key"), &*generate_key_file(&OsRandom)).unwrap();
        let error_text = load_mac_key(folder.path(), &records).err().unwrap().to_string();
        assert!(error_text.contains("mac.key: this is not the key mac"), "{error_text}");
    }
}
