//! Runs the MeFP service in a process of its own.

fn main() -> std::process::ExitCode {
    stele_app::serve(svc_mefp::SERVICE)
}
