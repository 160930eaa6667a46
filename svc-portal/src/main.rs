//! The portal dialect as a program of its own.

fn main() -> std::process::ExitCode {
    stele_app::serve(svc_portal::SERVICE)
}
