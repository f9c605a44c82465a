//! Reads `[[site]]` tables: who may enter the apps on a host that a proxy protects by forward-auth.

use super::{
    bad_setting::{BadSetting, hint, suggest},
    place::Places,
};
use crate::http::HostRule;

/// The names of the fields, with a description each.
pub const SITE_FIELDS: [(&str, &str); 3] = [
    ("host", "the host of the app, for example app.example.org"),
    ("access", "login (default): people who have logged in; public: everybody"),
    ("roles", "the roles of which a person must have one"),
];

/// Reads the tables of a settings file.
pub(super) fn from_file(value: toml::Value, places: &Places<'_>) -> Result<Vec<HostRule>, BadSetting> {
    let bad = |what: String| BadSetting(format!("{what} ({})", places.of_key(&["site"])));
    let toml::Value::Array(list) = value else { return Err(bad("site: must be tables, [[site]]".into())) };
    let mut rules: Vec<HostRule> = Vec::new();
    for (value, number) in list.into_iter().zip(1..) {
        let bad = |what: String| bad(format!("site {number}: {what}"));
        let toml::Value::Table(table) = value else { return Err(bad("must be a table, [[site]]".into())) };
        let rule = rule(table).map_err(bad)?;
        if rules.iter().any(|other| other.host == rule.host) {
            return Err(bad(format!("an earlier table has the same host {}", rule.host)));
        }
        rules.push(rule);
    }
    Ok(rules)
}

fn rule(table: toml::Table) -> Result<HostRule, String> {
    let mut rule = HostRule { host: String::new(), is_public: false, roles: Vec::new() };
    for (name, value) in table {
        suggest(SITE_FIELDS.iter().map(|(field, _)| *field), &name)
            .map_err(|near| format!("there is no setting {name} of a site{}", hint(near)))?;
        match (name.as_str(), value) {
            ("host", toml::Value::String(host)) => rule.host = host.trim().to_ascii_lowercase(),
            ("access", toml::Value::String(access)) if access == "login" => {}
            ("access", toml::Value::String(access)) if access == "public" => rule.is_public = true,
            ("access", _) => return Err("access must be login or public".into()),
            ("roles", toml::Value::Array(list)) if list.iter().all(toml::Value::is_str) => {
                rule.roles = list.iter().filter_map(toml::Value::as_str).map(str::to_owned).collect();
            }
            (name, _) => {
                return Err(format!(
                    "{name} must be {}",
                    if name == "roles" { "a list of strings" } else { "a string" }
                ));
            }
        }
    }
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    if rule.host.is_empty() || rule.host.starts_with('.') || !rule.host.bytes().all(is_host) {
        return Err("host must be a host name without scheme and port, for example app.example.org".into());
    }
    if rule.is_public && !rule.roles.is_empty() {
        return Err("public admits everybody, so it can't be combined with roles".into());
    }
    Ok(rule)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Layer, Settings};

    fn hosts(text: &str) -> Result<Vec<(String, bool, Vec<String>)>, String> {
        let layer = Layer::file(Path::new("bulla.toml"), text).map_err(|error| error.0)?;
        let settings = Settings::resolve(&[layer]).map_err(|error| error.0)?;
        Ok(settings.sites.into_iter().map(|rule| (rule.host, rule.is_public, rule.roles)).collect())
    }

    #[test]
    fn each_site_has_a_host_and_a_rule() {
        let text = "[[site]]\nhost = 'A.example.org'\n[[site]]\nhost = 'b.example.org'\nroles = ['boss']\n\
            [[site]]\nhost = 'c.example.org'\naccess = 'public'";
        let expected = [
            ("a.example.org".to_owned(), false, vec![]),
            ("b.example.org".to_owned(), false, vec!["boss".to_owned()]),
            ("c.example.org".to_owned(), true, vec![]),
        ];
        assert_eq!(hosts(text).unwrap(), expected);
    }

    #[test]
    fn what_can_not_be_used_is_refused() {
        for (text, error) in [
            ("site = 1", "must be tables"),
            ("[[site]]\naccess = 'login'", "host must be"),
            ("[[site]]\nhost = 'https://a'", "host must be"),
            ("[[site]]\nhost = 'a'\naccess = 'all'", "access must be"),
            ("[[site]]\nhost = 'a'\nrole = ['x']", "did you mean roles?"),
            ("[[site]]\nhost = 'a'\nroles = 'x'", "roles must be a list"),
            ("[[site]]\nhost = 'a'\naccess = 'public'\nroles = ['x']", "public admits everybody"),
            ("[[site]]\nhost = 'a'\n[[site]]\nhost = 'A'", "the same host a"),
        ] {
            let refused = hosts(text).unwrap_err();
            assert!(refused.contains(error), "{refused}");
        }
    }
}
