//! The MeFP dialect as a service of its own.

fn main() -> std::process::ExitCode {
    stele_app::serve(svc_mefp::SERVICE)
}
