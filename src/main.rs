//! The program: arguments, log, and the exit code.

use std::process::ExitCode;

/// A page is many small allocations; this one is quicker at them and gives memory back (docs/DECISIONS.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    frontdesk::cli::main()
}
