//! Reads the settings from flags, environment and file. A server reads them again when it is told to reload.

use std::path::PathBuf;

use crate::{
    config::{Layer, Settings},
    ids::shell,
};

/// The places from which a command reads its settings.
#[derive(Clone, Debug)]
pub struct SettingsSource {
    pub(super) flags: Vec<(&'static str, String)>,
    pub(super) file: PathBuf,
    pub(super) may_be_missing: bool,
}

impl SettingsSource {
    /// Reads the settings as they are now. If they can't be used, returns all faults.
    pub(super) fn read(&self) -> Result<Settings, Vec<String>> {
        let (mut layers, mut faults) = (vec![Layer::flags(self.flags.iter().cloned())], Vec::new());
        match Layer::environment(variables()) {
            Ok(layer) => layers.push(layer),
            Err(fault) => faults.push(fault.0),
        }
        match std::fs::read_to_string(&self.file) {
            Ok(text) => {
                let (layer, unread) = Layer::file_with_faults(&self.file, &text);
                layers.push(layer);
                faults.extend(unread.into_iter().map(|fault| fault.0));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && self.may_be_missing => {}
            Err(error) => faults.push(shell::explain(&self.file, &error, rustix::fs::Access::READ_OK)),
        }
        match Settings::resolve(&layers) {
            Ok(settings) if faults.is_empty() => Ok(settings),
            _ => {
                faults.extend(Settings::faults(layers).into_iter().map(|fault| fault.0));
                Err(faults)
            }
        }
    }
}

/// Returns the environment variables named `BULLA_…`.
fn variables() -> Vec<(String, std::ffi::OsString)> {
    let named = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    named.filter(|(name, _)| name.starts_with("BULLA_")).collect()
}
