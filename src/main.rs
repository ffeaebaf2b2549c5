//! The program `frontdesk`.

use std::process::ExitCode;

use frontdesk::{Embedded, Website};

/// mimalloc is faster than the system allocator for the many small allocations of a page, and returns memory
/// to the system (docs/DECISIONS.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    Website::new(Embedded::none()).main()
}
