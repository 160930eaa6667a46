//! Runs the OAuth service in a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    stele_app::serve(svc_oauth::SERVICE)
}
