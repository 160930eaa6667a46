//! Runs the portal service in a process of its own.

fn main() -> std::process::ExitCode {
    stele_app::serve(svc_portal::SERVICE)
}
