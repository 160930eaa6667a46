//! The folder of a check's scratch database. It has names and phone numbers, so it is removed: at the end of the check, or
//! by the next check if this one is killed.

use std::fs::File;
use std::io;
use std::path::Path;

use tempfile::TempDir;

const PREFIX: &str = "import-check-";
/// Locked while the folder is in use.
const LOCK: &str = "lock";

pub(super) struct ScratchFolder {
    folder: TempDir,
    _lock: File,
}

impl ScratchFolder {
    /// Creates a folder in the data folder, and removes those that killed checks have left there.
    pub(super) fn create(data: &Path) -> io::Result<Self> {
        remove_stale(data)?;
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(data)?;
        let lock = File::create(folder.path().join(LOCK))?;
        lock.lock()?;
        Ok(Self { folder, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }
}

fn remove_stale(data: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(data)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) || !entry.file_type()?.is_dir() {
            continue;
        }
        // Without its lock the folder is about to be used, and still empty.
        let is_unused = File::open(entry.path().join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok());
        if is_unused {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
