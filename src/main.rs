//! The `bailiwick` binary. Everything is in the library; this only hands the process over.

use std::process::ExitCode;

/// Measured in docs/performance.md: a task is some hundreds of small allocations, many of them freed by another thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    bailiwick::cli::main()
}
