//! Parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    bulla::internals::cli::main()
}
