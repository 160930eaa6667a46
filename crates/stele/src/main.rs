//! The `stele` program: see the library's [`run`](stele::run).

fn main() -> std::process::ExitCode {
    stele::run()
}
