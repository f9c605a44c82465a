//! Reads the environment variables and the home directory of the user, as libpq does.

use std::path::{Path, PathBuf};

/// Returns an environment variable that is not empty.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Returns the path of a file in the user's home directory.
pub(super) fn at_home(name: &str) -> Option<PathBuf> {
    variable("HOME").map(|home| Path::new(&home).join(name))
}
