//! Permission checks of files and folders with secrets: other users must not be able to read or replace them.

use std::fs::{self, File, Metadata, OpenOptions};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::config::ConfigError;

/// A problem with the permissions of a file or folder, with the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PermissionFinding {
    /// Others could read or replace secrets; the file or folder must not be used.
    Error(String),
    /// The permissions are wider than needed, which may be intended.
    Warning(String),
}

/// Opens a file for appending and creates it with mode 0600 if missing. Rejects a symbolic link, anything but a regular
/// file, and a file that the group or other users may access, since they could read the appended secrets.
///
/// # Errors
/// One line that names the file and the remedy.
pub fn open_for_append(path: &Path) -> Result<File, ConfigError> {
    let display = path.display();
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).custom_flags(i32::from_ne_bytes(flags.to_ne_bytes()));
    let file = options.open(path).map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::LOOP) => ConfigError::new(describe_symlink(path)),
        _ => ConfigError::new(format!("{display}: cannot be written: {error}")),
    })?;
    let meta = file.metadata().map_err(|e| ConfigError::new(format!("{display}: cannot be examined: {e}")))?;
    if !meta.is_file() {
        return Err(ConfigError::new(format!("{display}: is not a regular file; move it away")));
    }
    if meta.mode() & 0o077 != 0 {
        return Err(ConfigError::new(describe_open_permissions(path, &meta)));
    }
    Ok(file)
}

/// Checks the permissions of a file with a key or password; `meta` is the metadata of the file, or of the target if
/// `path` is a symbolic link. Only the owner may have access. The group may also read a file that another user owns or
/// that is reached by a link, since orchestrators mount secrets in this way.
///
/// # Errors
/// One line that names the file and the remedy.
pub fn check_secret_file(path: &Path, meta: &Metadata) -> Result<(), ConfigError> {
    let is_mounted_secret = meta.uid() != geteuid().as_raw() || path.is_symlink();
    let allowed = if is_mounted_secret { 0o740 } else { 0o700 };
    if meta.mode() & 0o777 & !allowed == 0 {
        return Ok(());
    }
    Err(ConfigError::new(format!(
        "{}; in Kubernetes: for a secret, defaultMode: 0440 with fsGroup; for a volume claim, \
         fsGroupChangePolicy: OnRootMismatch",
        describe_open_permissions(path, meta)
    )))
}

/// Checks the permissions of a folder with secrets: an error if others may write, a warning if others may read or the
/// folder is a symbolic link. A missing folder is accepted, as is a folder of another user, such as an orchestrator's.
pub fn check_secret_directory(path: &Path) -> Option<PermissionFinding> {
    let meta = fs::metadata(path).ok()?;
    let mode = meta.mode() & 0o777;
    if meta.uid() != geteuid().as_raw() {
        return None;
    }
    if mode & 0o022 != 0 {
        return Some(PermissionFinding::Error(describe_open_permissions(path, &meta)));
    }
    if mode & 0o055 != 0 {
        return Some(PermissionFinding::Warning(describe_open_permissions(path, &meta)));
    }
    path.is_symlink().then(|| PermissionFinding::Warning(describe_symlink(path)))
}

/// Checks the permissions of the SQLite database at `path`, with its WAL and shared-memory files.
pub fn check_database_files(path: &Path) -> Vec<PermissionFinding> {
    let with_suffix = |suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
    ["", "-wal", "-shm"].into_iter().filter_map(|suffix| check_private_file(&with_suffix(suffix))).collect()
}

/// Checks the permissions of a file that Stele creates, if the file exists: an error if other users have access or the
/// file is a symbolic link, a warning if the group has access.
pub fn check_private_file(path: &Path) -> Option<PermissionFinding> {
    let meta = fs::symlink_metadata(path).ok()?;
    if meta.is_symlink() {
        return Some(PermissionFinding::Error(describe_symlink(path)));
    }
    match meta.mode() {
        mode if mode & 0o007 != 0 => Some(PermissionFinding::Error(describe_open_permissions(path, &meta))),
        mode if mode & 0o070 != 0 => Some(PermissionFinding::Warning(describe_open_permissions(path, &meta))),
        _ => None,
    }
}

fn describe_open_permissions(path: &Path, meta: &Metadata) -> String {
    let (display, mode) = (path.display(), meta.mode() & 0o777);
    let private_mode = if meta.is_dir() { "700" } else { "600" };
    format!("{display}: other users have access (mode {mode:03o}): chmod {private_mode} {display}")
}

fn describe_symlink(path: &Path) -> String {
    let target = fs::read_link(path).unwrap_or_default();
    format!(
        "{}: is a symbolic link to {}: use the target's path instead, or remove the link",
        path.display(),
        target.display()
    )
}
