//! The program `frontdesk`.

use std::process::ExitCode;

use frontdesk::{Embedded, Website};

#[cfg(feature = "mimalloc")]
frontdesk::use_mimalloc!();

fn main() -> ExitCode {
    Website::new(Embedded::none()).main()
}
