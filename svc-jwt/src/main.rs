//! The JWT dialect as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    stele_app::serve(svc_jwt::SERVICE)
}
