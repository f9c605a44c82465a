//! The program `bulla`. `cli::main` parses the arguments, runs the command and returns the exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    bulla::internals::cli::main()
}
