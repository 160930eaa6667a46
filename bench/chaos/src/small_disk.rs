//! A small file system (tmpfs) that a scenario can fill.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

use stele_bench_kit::Result;
use tempfile::TempDir;

/// Size of the file system: some times that of the services' database.
const SIZE: &str = "24m";
/// The file that takes the free space.
const FILLER: &str = "filler";

/// A mounted tmpfs; dropping it unmounts it.
pub(crate) struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// Mounts the file system, with a folder that belongs to `owner`.
    ///
    /// # Errors
    /// If it cannot be mounted: the reason, as text, for the report.
    pub(crate) fn mount(owner: &str) -> std::result::Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("needs root to mount a tmpfs".to_owned());
        }
        let folder = tempfile::Builder::new().prefix("stele-disk-").tempdir().map_err(|error| error.to_string())?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={SIZE}"), "tmpfs"]).arg(folder.path());
        let mounted = mount.output().map_err(|error| format!("mount: {error}"))?;
        if !mounted.status.success() {
            return Err(format!("mount: {}", String::from_utf8_lossy(&mounted.stderr).trim()));
        }
        let disk = Self { folder };
        disk.prepare(owner).map_err(|error| error.to_string())?;
        Ok(disk)
    }

    fn prepare(&self, owner: &str) -> std::io::Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(self.folder.path(), std::fs::Permissions::from_mode(0o755))?;
        std::fs::create_dir(self.path())?;
        let users = std::fs::read_to_string("/etc/passwd")?;
        let id = users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == owner);
        let id = id.and_then(|fields| Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?)));
        let (user, group) = id.unwrap_or((0, 0));
        chown(self.path(), Some(user), Some(group))
    }

    /// The folder that belongs to the owner.
    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    /// Takes all free space.
    ///
    /// # Errors
    /// If the file cannot be created.
    pub(crate) fn fill(&self) -> Result<()> {
        let mut file = File::create(self.folder.path().join(FILLER))?;
        // Ends with the error that there is no space left.
        while file.write_all(&[0; 4_096]).is_ok() {}
        Ok(())
    }

    /// Frees the space that [`SmallDisk::fill`] has taken.
    ///
    /// # Errors
    /// If the file cannot be removed.
    pub(crate) fn free(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.folder.path().join(FILLER))?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(self.folder.path());
    }
}

fn unmount(path: &Path) {
    // The servers have ended; a failure leaves a mounted folder, which is no reason to fail.
    let _ = Command::new("umount").arg(path).output();
}
