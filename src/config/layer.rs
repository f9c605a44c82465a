//! Reads one layer of settings: the flags, the environment or the file. The texts are not interpreted yet.

use std::{collections::BTreeMap, ffi::OsString, path::Path};

use super::{
    HostRule, UpstreamSettings,
    bad_setting::{BadSetting, hint, suggest},
    knobs::KNOBS,
    place::{self, Places},
    providers::{self, Fields},
    sites, upstreams,
};
use crate::token::KeyExport;

/// One layer of settings: their texts and places by name.
#[derive(Clone, Debug)]
pub struct Layer {
    pub(super) values: BTreeMap<String, Given>,
    pub(super) providers: BTreeMap<String, Fields>,
    /// The tables `[[upstream]]`, if there are any.
    pub(super) upstreams: Option<Vec<UpstreamSettings>>,
    /// The tables `[[site]]`.
    pub(super) sites: Vec<HostRule>,
    pub(super) warnings: Vec<String>,
}

/// The text of a setting, and its place.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) text: String,
    pub(super) place: String,
}

impl Layer {
    /// Returns the layer of the given flags.
    pub fn flags(values: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let said = |text| Given { text, place: "on the command line".into() };
        let values = values.into_iter().map(|(name, value)| (name.to_owned(), said(value))).collect();
        Self { values, providers: BTreeMap::new(), upstreams: None, sites: Vec::new(), warnings: Vec::new() }
    }

    /// Returns the layer of the `BULLA_*` variables. An unknown name is only a warning, because Kubernetes sets `BULLA_PORT`,
    /// `BULLA_SERVICE_HOST` and more for a Service named bulla.
    ///
    /// # Errors
    ///
    /// Fails for a value that is not UTF-8, and for a provider's field that can't be set by a variable.
    pub fn environment(variables: impl IntoIterator<Item = (String, OsString)>) -> Result<Self, BadSetting> {
        const OTHERS: [&str; 5] =
            ["BULLA_CONFIG", "BULLA_BIN", "BULLA_ROTATE_HOOK", "BULLA_GENERATION", KeyExport::VARIABLE];
        let (mut values, mut providers, mut unknown) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for (name, value) in variables {
            let Some(setting) = name.strip_prefix("BULLA_").map(str::to_ascii_lowercase) else { continue };
            if OTHERS.contains(&name.as_str()) || setting.starts_with("test_") {
                continue;
            }
            let of_provider = setting.strip_prefix("provider_");
            let hint = match of_provider {
                Some(rest) => providers::known_variable(rest),
                None => suggest(KNOBS.iter().map(|(knob, ..)| *knob), &setting),
            };
            if let Err(near) = hint {
                let prefix = near.and_then(|_| of_provider?.split_once('_'));
                let prefix = prefix.map(|(name, _)| format!("PROVIDER_{}_", name.to_uppercase()));
                let near = near.map(|knob| knob.to_uppercase());
                let near =
                    near.map(|knob| format!(" (did you mean BULLA_{}{knob}?)", prefix.unwrap_or_default()));
                unknown.push(format!("{name}{}", near.unwrap_or_default()));
                continue;
            }
            let text = value
                .into_string()
                .map_err(|_| BadSetting(format!("{name} in the environment: must be UTF-8")))?;
            match of_provider {
                Some(rest) => providers::from_environment(rest, text, &mut providers)?,
                None => drop(values.insert(setting, Given { text, place: "in the environment".into() })),
            }
        }
        let warning = |names: &str| {
            format!("the environment sets {names}: no setting of Bulla has this name, so it is ignored")
        };
        let warnings = if unknown.is_empty() { Vec::new() } else { vec![warning(&unknown.join(", "))] };
        Ok(Self { values, providers, upstreams: None, sites: Vec::new(), warnings })
    }

    /// Returns the layer of the text of `bulla.toml`.
    ///
    /// # Errors
    ///
    /// Fails if the text is not TOML, or contains unknown settings or values of a wrong type.
    pub fn file(path: &Path, text: &str) -> Result<Self, BadSetting> {
        let (layer, faults) = Self::file_with_faults(path, text);
        faults.into_iter().next().map_or(Ok(layer), Err)
    }

    /// Returns the layer of the settings that can be read, and a fault for each of the others.
    pub(crate) fn file_with_faults(path: &Path, text: &str) -> (Self, Vec<BadSetting>) {
        let places = Places::of(path, text);
        let mut layer = Self::flags([]);
        let table: toml::Table = match text.parse() {
            Ok(table) => table,
            Err(error) => {
                let error: toml::de::Error = error;
                let line = error.span().map_or(1, |span| place::line(text, span.start));
                let fault = BadSetting(format!("{}, line {line}: {}", path.display(), error.message()));
                return (layer, vec![fault]);
            }
        };
        let read = table.into_iter().map(|(name, value)| layer.add(name, value, &places));
        let faults = read.filter_map(Result::err).collect();
        (layer, faults)
    }

    /// Returns the names of the settings, a provider as `provider.NAME`.
    pub(super) fn names(&self) -> impl Iterator<Item = String> + '_ {
        let providers = self.providers.keys().map(|name| format!("provider.{name}"));
        self.values.keys().cloned().chain(providers)
    }

    /// Removes a setting by its name.
    pub(super) fn remove(&mut self, name: &str) {
        match name.strip_prefix("provider.") {
            Some(provider) => drop(self.providers.remove(provider)),
            None => drop(self.values.remove(name)),
        }
    }

    /// Adds one entry of a settings file.
    fn add(&mut self, name: String, value: toml::Value, places: &Places<'_>) -> Result<(), BadSetting> {
        let value = match (name.as_str(), value) {
            ("provider", value) => {
                self.providers = providers::from_file(value, places)?;
                return Ok(());
            }
            ("site", value) => {
                self.sites = sites::from_file(value, places)?;
                return Ok(());
            }
            ("upstream", toml::Value::Array(list)) => {
                self.upstreams = Some(upstreams::from_file(list, places)?);
                return Ok(());
            }
            ("upstream", toml::Value::Table(_)) => return Err(upstreams::one_table(places)),
            (_, value) => value,
        };
        let place = places.of_key(&[&name]);
        known(&name, &place)?;
        let text = match value {
            toml::Value::String(text) => places.beside_file(&name, text),
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(flag) => flag.to_string(),
            toml::Value::Array(list) if list.iter().all(toml::Value::is_str) => {
                list.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>().join(",")
            }
            _ => {
                return Err(BadSetting(format!(
                    "{name} {place}: must be a string, a number, true, false or a list of strings"
                )));
            }
        };
        self.values.insert(name, Given { text, place });
        Ok(())
    }
}

fn known(name: &str, origin: &str) -> Result<(), BadSetting> {
    suggest(KNOBS.iter().map(|(knob, ..)| *knob), name)
        .map_err(|near| BadSetting(format!("{name} {origin}: there is no such setting{}", hint(near))))
}
