//! The program: arguments, log, and the exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    frontdesk::cli::main()
}
