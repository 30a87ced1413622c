//! The `bailiwick` binary. Everything is in the library; this only hands the process over.

use std::process::ExitCode;

fn main() -> ExitCode {
    bailiwick::cli::main()
}
