//! Finds all faults of settings, not only the first one.

use std::collections::BTreeSet;

use super::{BadSetting, Settings, layer::Layer};

impl Settings {
    /// Returns the faults of layers, strongest layer first. After each fault, the setting that causes it counts as not set. A later
    /// fault that names such a setting may be a consequence of that, so it is left out.
    pub(crate) fn faults(mut layers: Vec<Layer>) -> Vec<BadSetting> {
        let (mut faults, mut removed): (Vec<BadSetting>, BTreeSet<String>) = (Vec::new(), BTreeSet::new());
        while let Err(fault) = Self::resolve(&layers) {
            let cause = cause(&layers, &fault);
            if !removed.iter().any(|name| position(&fault.0, name).is_some()) {
                faults.push(fault);
            }
            let Some(name) = cause else { break };
            layers.iter_mut().for_each(|layer| layer.remove(&name));
            removed.insert(name);
        }
        faults
    }
}

/// Returns the setting without which the fault does not occur. Settings that the fault names come first.
fn cause(layers: &[Layer], fault: &BadSetting) -> Option<String> {
    let mut names: Vec<String> = layers.iter().flat_map(Layer::names).collect();
    names.sort();
    names.dedup();
    names.sort_by_key(|name| position(&fault.0, name).unwrap_or(usize::MAX));
    names.into_iter().find(|name| {
        let mut without = layers.to_vec();
        without.iter_mut().for_each(|layer| layer.remove(name));
        Settings::resolve(&without).err().as_ref() != Some(fault)
    })
}

/// Returns the position of the name of a setting in a text, as a whole word.
fn position(text: &str, name: &str) -> Option<usize> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let whole = |at: &usize| {
        let (before, after) = (&text[..*at], &text[at + name.len()..]);
        !before.ends_with(is_part) && !after.starts_with(is_part)
    };
    text.match_indices(name).map(|(at, _)| at).find(whole)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let (layer, unread) = Layer::file_with_faults(Path::new("bulla.toml"), text);
        unread.into_iter().chain(Settings::faults(vec![layer])).map(|fault| fault.0).collect()
    }

    #[test]
    fn each_setting_that_cant_be_used_is_a_fault() {
        let text = "listen = 'x'\nsesion_cap = 3\npassword_min = 0\nlog = 'xml'\nkeys = [1]\naccess_max_age = '2m'\n\
                    [provider.google]\nlabel = 'G'";
        let found = faults(text);
        let begins = [
            "keys in bulla.toml, line 5",
            "sesion_cap in bulla.toml, line 2",
            "provider.google",
            "listen = ",
            "password_min = ",
            "log = ",
        ];
        assert_eq!(found.len(), begins.len(), "{found:#?}");
        for (fault, begin) in found.iter().zip(begins) {
            assert!(fault.starts_with(begin), "{fault} does not begin with {begin}");
        }
        assert!(faults("listen = '127.0.0.1:1'").is_empty());
    }

    #[test]
    fn a_fault_that_follows_from_another_one_is_left_out() {
        // Without the public_url that is refused, the address would need one, and the domain would have no host.
        let text = "listen = '0.0.0.0:443'\ntrusted_proxies = '10.0.0.1'\npublic_url = 'login.example.org/x'\n\
                    cookie_domain = 'example.org'\nlogin_queue = 0";
        let found = faults(text);
        assert!(found.len() == 2 && found[0].starts_with("public_url = "), "{found:#?}");
        assert!(found[1].starts_with("login_queue = "), "{found:#?}");
    }

    #[test]
    fn a_contradiction_of_two_settings_is_one_fault() {
        let found = faults("listen = '0.0.0.0:80'\npublic_url = 'https://a.example'\nlog = 'xml'");
        assert!(
            found.len() == 2 && found[0].starts_with("log = ") && found[1].starts_with("listen = "),
            "{found:#?}"
        );
        let found = faults("tls_cert = 'x'");
        assert!(found.len() == 1 && found[0].contains("only one of tls_cert and tls_key"), "{found:#?}");
    }
}
