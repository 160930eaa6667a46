//! Files and folders that hold secrets: whether others can read, replace or redirect them.

use std::fs::{self, File, Metadata, OpenOptions};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::config::ConfigError;

/// What is wrong with a file or a folder, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PermissionFinding {
    /// It must not be used so.
    Error(String),
    /// It may be meant.
    Warning(String),
}

/// Opens a file to append to, made with mode 0600 if it is not there. One that is a symbolic link, or that others may
/// read or write, is refused: what is appended would go to them.
///
/// # Errors
/// One line that names it, and the remedy.
pub fn open_for_append(path: &Path) -> Result<File, ConfigError> {
    let shown = path.display();
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).custom_flags(i32::from_ne_bytes(flags.to_ne_bytes()));
    let file = options.open(path).map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::LOOP) => ConfigError::new(describe_symlink(path)),
        _ => ConfigError::new(format!("{shown}: cannot be written: {error}")),
    })?;
    let meta = file.metadata().map_err(|e| ConfigError::new(format!("{shown}: cannot be looked at: {e}")))?;
    if !meta.is_file() {
        return Err(ConfigError::new(format!("{shown}: is no regular file; move it out of the way")));
    }
    if meta.mode() & 0o077 != 0 {
        return Err(ConfigError::new(describe_open_permissions(path, &meta)));
    }
    Ok(file)
}

/// Judges a secret file that is read, its target if it is a symbolic link: orchestrators mount secrets as links. Its
/// group may read it only if it belongs to another user: that is how an orchestrator hands a file over.
///
/// # Errors
/// One line that names it, and the remedy.
pub fn check_secret_file(path: &Path, meta: &Metadata) -> Result<(), ConfigError> {
    let handed_over = meta.uid() != geteuid().as_raw() || path.is_symlink();
    let allowed = if handed_over { 0o740 } else { 0o700 };
    if meta.mode() & 0o777 & !allowed == 0 {
        return Ok(());
    }
    Err(ConfigError::new(format!(
        "{}, or in Kubernetes: for a secret defaultMode: 0440 with fsGroup, for a claim fsGroupChangePolicy: OnRootMismatch",
        describe_open_permissions(path, meta)
    )))
}

/// What is wrong with a folder of secrets. One that belongs to another user is the orchestrator's matter.
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

/// What is wrong with each file that SQLite keeps for the database at `path`.
pub fn check_database_files(path: &Path) -> Vec<PermissionFinding> {
    let beside = |ending: &str| PathBuf::from(format!("{}{ending}", path.display()));
    ["", "-wal", "-shm"].into_iter().filter_map(|ending| check_private_file(&beside(ending))).collect()
}

/// What is wrong with a file of secrets that may be there.
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
    let (shown, mode) = (path.display(), meta.mode() & 0o777);
    let least = if meta.is_dir() { "700" } else { "600" };
    format!("{shown}: others may use it (mode {mode:03o}): chmod {least} {shown}")
}

fn describe_symlink(path: &Path) -> String {
    let target = fs::read_link(path).unwrap_or_default();
    format!("{}: is a symbolic link to {}: set the path itself, or remove the link", path.display(), target.display())
}
