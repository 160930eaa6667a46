//! OAuth clients that are not ours against `stele up` (`scripts/check-oauth`): the three of them that are installed for
//! every run of the tests. The script alone runs two more, and all against a certified server as the control.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The script.
pub(crate) fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/check-oauth")
}

#[test]
#[ignore = "needs Node.js, npm, PyPI and Apache httpd"]
fn openid_client_authlib_and_mod_oauth2_work_with_their_defaults() {
    let mut command = Command::new("python3");
    command.arg(script()).args(["--server", "stele", "--only", "openid-client,authlib,mod_oauth2"]);
    let output = command.env("STELE", env!("CARGO_BIN_EXE_stele")).output().expect("python3");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    // Each client reported its checks, and each subject token and each algorithm has one.
    for row in ["exchange-mefp-handover", "exchange-jwt-login", "introspect-tms-session", "verify-ES256", "revoke"] {
        let row = printed.lines().find(|line| line.starts_with(row)).unwrap_or_else(|| panic!("no {row}: {printed}"));
        assert!(row.contains(" ok"), "{row}");
    }
}
