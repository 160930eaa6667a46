//! The `stele` command.

fn main() -> std::process::ExitCode {
    stele::run()
}
