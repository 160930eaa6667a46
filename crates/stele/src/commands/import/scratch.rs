//! The folder of a check's scratch database. It has names and phone numbers, so it is removed: at the end of the check, or
//! by the next check if this one is killed.

use std::fs::File;
use std::io::{self, ErrorKind};
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
    ///
    /// # Errors
    /// The path of the data folder, what is wrong with it, and the remedy.
    pub(super) fn create(data: &Path) -> Result<Self, String> {
        Self::create_in(data).map_err(|error| {
            let remedy = match error.kind() {
                ErrorKind::NotFound => "run `stele migrate`, which makes it, or name another one with --data",
                _ => "run the command as a user who can write there, or name another folder with --data",
            };
            format!("cannot create a folder in the data folder {}: {error}; {remedy}", data.display())
        })
    }

    fn create_in(data: &Path) -> io::Result<Self> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_folder_that_cannot_be_used_is_named_with_the_remedy() {
        let parent = TempDir::new().unwrap();
        let missing = parent.path().join("missing");
        let file = parent.path().join("file");
        std::fs::write(&file, "").unwrap();
        for (data, remedy) in [(&missing, "stele migrate"), (&file, "can write there")] {
            let error = ScratchFolder::create(data).err().unwrap();
            let path = data.display().to_string();
            assert!([path.as_str(), remedy, "--data"].iter().all(|part| error.contains(part)), "{error}");
        }
    }
}
