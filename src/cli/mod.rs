//! The command line.

pub mod keys;

use std::{io::Write as _, sync::Arc};

use crate::{clock::Clock, config::Settings};

/// What a command works with: the settings, resolved, and what `main` holds.
#[derive(Debug)]
pub struct Context {
    /// Flags, environment and file, resolved.
    pub settings: Settings,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// `--json`: data as JSON on stdout.
    pub json: bool,
}

impl Context {
    /// Prints data to stdout, with a newline.
    pub fn print(&self, text: &str) -> Result<(), CliError> {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())
            .and_then(|()| out.write_all(b"\n"))
            .and_then(|()| out.flush())
            .map_err(|e| CliError::Failed(format!("standard output can't be written: {e}")))
    }

    /// Says something to the person at the terminal, on stderr. That nobody listens is no failure.
    pub fn say(&self, text: &str) {
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}

/// Why a command failed: what is wrong, where, and what mends it. Never holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// It failed.
    #[error("{0}")]
    Failed(String),
    /// It was called wrongly.
    #[error("{0}")]
    Usage(String),
    /// What it names isn't there.
    #[error("{0}")]
    NotFound(String),
    /// A token was refused.
    #[error("{0}")]
    TokenRefused(String),
    /// The store or the network is away.
    #[error("{0}")]
    Unavailable(String),
    /// A check found faults; they are printed already.
    #[error("{0}")]
    Faults(String),
}

impl CliError {
    /// The exit code (DESIGN 6).
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::NotFound(_) => 3,
            Self::TokenRefused(_) => 4,
            Self::Unavailable(_) => 5,
            Self::Faults(_) => 6,
        }
    }
}
