//! The product's release binaries: build them or find them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{BenchError, Result};

/// Every program of the product.
const ALL_PROGRAMS: [&str; 8] =
    ["stele", "gateway", "svc-cloudbox", "svc-tms", "svc-portal", "svc-mefp", "svc-jwt", "svc-oauth"];

/// The root folder of this repository.
pub fn repository_root() -> &'static Path {
    let kit = Path::new(env!("CARGO_MANIFEST_DIR"));
    kit.ancestors().nth(2).unwrap_or(kit)
}

/// The folder of the release programs.
#[derive(Clone, Debug)]
pub struct ReleasePrograms(PathBuf);

impl ReleasePrograms {
    /// Builds all programs as in the images (`--profile dist`), with progress on standard error. Takes minutes the
    /// first time.
    ///
    /// # Errors
    /// If the build fails.
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
            return Err(BenchError::new("the build of the programs failed; see the output above"));
        }
        // One JSON line per artifact; executables have a path.
        let lines = String::from_utf8_lossy(&built.stdout).into_owned();
        let artifacts = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut paths = artifacts.filter_map(|artifact| artifact["executable"].as_str().map(PathBuf::from));
        let stele = paths.find(|path| path.file_name().is_some_and(|name| name == "stele"));
        Self::from_folder(stele.as_deref().and_then(Path::parent).unwrap_or(Path::new("target/dist")))
    }

    /// Uses the programs in `folder`.
    ///
    /// # Errors
    /// If one is missing.
    pub fn from_folder(folder: &Path) -> Result<Self> {
        match ALL_PROGRAMS.iter().map(|name| folder.join(name)).find(|path| !path.exists()) {
            Some(missing) => Err(BenchError::new(format!(
                "the program {} is missing; build it with cargo build --profile dist",
                missing.display()
            ))),
            None => Ok(Self(folder.to_owned())),
        }
    }

    /// The path of the program `name`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}
