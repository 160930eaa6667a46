//! The release binaries.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{BenchError, Result};

/// Every program of the product.
const ALL_PROGRAMS: [&str; 7] = ["stele", "gateway", "svc-cloudbox", "svc-tms", "svc-portal", "svc-mefp", "svc-jwt"];

/// The repository that this is a part of.
pub fn repository_root() -> &'static Path {
    let kit = Path::new(env!("CARGO_MANIFEST_DIR"));
    kit.ancestors().nth(2).unwrap_or(kit)
}

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct ReleasePrograms(PathBuf);

impl ReleasePrograms {
    /// Builds all programs as the images have them (`--profile dist`), which takes minutes the first time and says how far
    /// it is on standard error, and no time if they are built already.
    ///
    /// # Errors
    /// If they cannot be built.
    pub fn build() -> Result<Self> {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--profile", "dist", "--locked", "--message-format", "json-render-diagnostics"]);
        for name in ALL_PROGRAMS {
            cargo.args(["-p", name]);
        }
        eprintln!("Building the programs (cargo build --profile dist); the first time this takes some minutes.");
        let built = cargo.current_dir(repository_root()).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
        let built = built.map_err(|error| BenchError::new(format!("cargo cannot be run: {error}")))?;
        if !built.status.success() {
            return Err(BenchError::new("the programs cannot be built; see above"));
        }
        // One line of JSON an artifact; those that can be run say where they are.
        let lines = String::from_utf8_lossy(&built.stdout).into_owned();
        let artifacts = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut paths = artifacts.filter_map(|artifact| artifact["executable"].as_str().map(PathBuf::from));
        let stele = paths.find(|path| path.file_name().is_some_and(|name| name == "stele"));
        Self::from_folder(stele.as_deref().and_then(Path::parent).unwrap_or(Path::new("target/dist")))
    }

    /// Programs that are in `folder` already.
    ///
    /// # Errors
    /// If one is not there.
    pub fn from_folder(folder: &Path) -> Result<Self> {
        match ALL_PROGRAMS.iter().map(|name| folder.join(name)).find(|path| !path.exists()) {
            Some(missing) => Err(BenchError::new(format!("there is no program {}", missing.display()))),
            None => Ok(Self(folder.to_owned())),
        }
    }

    /// Where the program of this name is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}
