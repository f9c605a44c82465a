//! Reads `[provider.NAME]` tables and `BULLA_PROVIDER_NAME_…` variables into [`ProviderSettings`].

use std::collections::BTreeMap;

use super::{
    bad_setting::{BadSetting, hint, suggest},
    place::Places,
};
use crate::identity::openid::{
    Field, Fields as Given, PROVIDER_FIELDS, ProviderSettings, check_name as check_provider_name,
};

/// The fields of a provider in one layer.
pub(super) type Fields = BTreeMap<String, Field>;

/// Reads the tables under `provider` of a settings file.
pub(super) fn from_file(
    value: toml::Value,
    places: &Places<'_>,
) -> Result<BTreeMap<String, Fields>, BadSetting> {
    let bad = |what: String, names: &[&str]| BadSetting(format!("{what} ({})", places.of_key(names)));
    let toml::Value::Table(tables) = value else {
        return Err(bad(
            "provider: must contain only tables, for example [provider.google]".into(),
            &["provider"],
        ));
    };
    let mut providers = BTreeMap::new();
    for (name, table) in tables {
        check_name(&name, &places.of_key(&["provider", &name]))?;
        let toml::Value::Table(table) = table else {
            let what = format!("provider.{name}: must be a table, [provider.{name}]");
            return Err(bad(what, &["provider", &name]));
        };
        let mut fields = Fields::new();
        for (field, value) in table {
            let place = ["provider", &name, &field];
            let named = place.join(".");
            known(&field, &named, &places.of_key(&place))?;
            if field == "client_secret" {
                let variable = format!("BULLA_PROVIDER_{}_CLIENT_SECRET", name.to_uppercase());
                return Err(bad(
                    format!(
                        "{named}: a secret is not allowed in the settings file; write it to a file and name that \
                         file in client_secret_file, or set {variable}"
                    ),
                    &place,
                ));
            }
            let read = match (value, field.as_str()) {
                (toml::Value::Table(map), "roles") => map_of(map).map(Field::Map),
                (toml::Value::Array(list), _) => list_of(&list).map(Field::Text),
                (toml::Value::String(text), "client_secret_file") => Some(Field::Text(places.path(&text))),
                (toml::Value::String(text), name) if name != "roles" => Some(Field::Text(text)),
                _ => None,
            };
            let shape = if field == "roles" { "a table of strings" } else { "a string or a list of strings" };
            let read = read.ok_or_else(|| bad(format!("{named}: must be {shape}"), &place))?;
            fields.insert(field, read);
        }
        providers.insert(name, fields);
    }
    Ok(providers)
}

fn map_of(table: toml::Table) -> Option<BTreeMap<String, String>> {
    table.into_iter().map(|(key, value)| Some((key, value.as_str()?.to_owned()))).collect()
}

fn list_of(list: &[toml::Value]) -> Option<String> {
    let texts: Option<Vec<&str>> = list.iter().map(toml::Value::as_str).collect();
    texts.map(|texts| texts.join(","))
}

/// Checks that the name of a variable, without `provider_`, has the form `NAME_FIELD` with a known field. The error is the most
/// similar field, if one is similar.
pub(super) fn known_variable(rest: &str) -> Result<(), Option<&'static str>> {
    let (name, field) = rest.split_once('_').unwrap_or((rest, ""));
    if check_name(name, "").is_err() {
        return Err(None);
    }
    suggest(PROVIDER_FIELDS.iter().map(|(knob, _)| *knob), field)
}

/// Reads a [known](known_variable) variable `provider_NAME_FIELD`. The names of variables are in lower case here.
pub(super) fn from_environment(
    rest: &str,
    value: String,
    into: &mut BTreeMap<String, Fields>,
) -> Result<(), BadSetting> {
    let (name, field) = rest.split_once('_').unwrap_or((rest, ""));
    if field == "roles" {
        return Err(BadSetting(format!(
            "provider_{rest} in the environment: a table can be set only in bulla.toml"
        )));
    }
    into.entry(name.to_owned()).or_default().insert(field.to_owned(), Field::Text(value));
    Ok(())
}

fn check_name(name: &str, origin: &str) -> Result<(), BadSetting> {
    check_provider_name(name).map_err(|why| BadSetting(format!("provider {name:?} {origin}: {why}")))
}

fn known(field: &str, place: &str, origin: &str) -> Result<(), BadSetting> {
    suggest(PROVIDER_FIELDS.iter().map(|(knob, _)| *knob), field).map_err(|near| {
        BadSetting(format!("{place} {origin}: there is no such setting of a provider{}", hint(near)))
    })
}

/// Merges the layers, strongest first, and resolves all providers, ordered by name.
pub(super) fn resolve<'a>(
    layers: impl Iterator<Item = &'a BTreeMap<String, Fields>>,
) -> Result<Vec<ProviderSettings>, BadSetting> {
    let mut merged: BTreeMap<&str, BTreeMap<&str, &Field>> = BTreeMap::new();
    for (name, fields) in layers.flatten() {
        let all = merged.entry(name).or_default();
        for (field, value) in fields {
            all.entry(field).or_insert(value);
        }
    }
    let table = |(name, fields)| Given { name, fields }.resolve();
    merged.into_iter().map(|entry| table(entry).map_err(BadSetting)).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{
        config::{Layer, Settings},
        identity::openid::{ClientSecret, Create},
    };

    fn file(text: &str) -> Result<Vec<ProviderSettings>, String> {
        let layer = Layer::file(Path::new("bulla.toml"), text).map_err(|error| error.0)?;
        Settings::resolve(&[layer]).map(|settings| settings.providers).map_err(|error| error.0)
    }

    fn one(text: &str) -> ProviderSettings {
        file(text).unwrap().remove(0)
    }

    const KEYS: &str = "client_id = 'us'\nclient_secret_file = 'secret'\n";

    #[test]
    fn a_preset_without_a_tenant_needs_only_an_id_and_a_secret() {
        let google = one(&format!("[provider.google]\n{KEYS}"));
        assert_eq!(google.issuers, ["https://accounts.google.com", "accounts.google.com"]);
        assert_eq!((google.label.as_str(), &google.create), ("Google", &Create::Never));
        let facebook = one(&format!("[provider.facebook]\n{KEYS}"));
        assert!(facebook.token_endpoint.unwrap().as_str().starts_with("https://graph.facebook.com/v"));
        let jumpcloud = one(&format!("[provider.jumpcloud]\n{KEYS}"));
        assert_eq!(jumpcloud.issuer(), "https://oauth.id.jumpcloud.com/");
    }

    #[test]
    fn the_issuer_is_built_from_the_tenant() {
        let okta = one(&format!("[provider.okta]\n{KEYS}domain = 'dev-1.okta.com'"));
        assert_eq!(okta.issuer(), "https://dev-1.okta.com");
        let custom = one(&format!("[provider.okta]\n{KEYS}domain = 'dev-1.okta.com'\nserver = 'default'"));
        assert_eq!(custom.issuer(), "https://dev-1.okta.com/oauth2/default");
        let cognito = one(&format!("[provider.cognito]\n{KEYS}pool = 'eu-central-1_Ab12'\ndomain = 'shop'"));
        assert_eq!(cognito.issuer(), "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Ab12");
        assert_eq!(
            cognito.token_endpoint.unwrap().as_str(),
            "https://shop.auth.eu-central-1.amazoncognito.com/oauth2/token"
        );
        let own =
            one(&format!("[provider.work]\npreset = 'okta'\n{KEYS}issuer = 'https://id.example.org/o'"));
        assert_eq!((own.issuer(), own.label.as_str()), ("https://id.example.org/o", "Okta"));
    }

    #[test]
    fn the_environment_wins_over_the_file_and_alone_holds_a_secret() {
        let layers = [
            Layer::environment([
                ("BULLA_PROVIDER_GOOGLE_CLIENT_SECRET".into(), "hunter2".into()),
                ("BULLA_PROVIDER_GOOGLE_CLIENT_ID".into(), "env".into()),
                ("BULLA_PROVIDER_GOOGLE_ALLOWED_DOMAINS".into(), "example.org, example.net".into()),
            ])
            .unwrap(),
            Layer::file(Path::new("t"), "[provider.google]\nclient_id = 'file'\ncreate = 'allowed-domains'")
                .unwrap(),
        ];
        let settings = Settings::resolve(&layers).unwrap();
        let google = &settings.providers[0];
        assert_eq!(google.client_id, "env");
        assert_eq!(google.create, Create::Domains(vec!["example.org".into(), "example.net".into()]));
        assert!(matches!(&google.secret, ClientSecret::Text(secret) if secret.expose() == "hunter2"));
        assert!(!format!("{settings:?} {layers:?}").contains("hunter2"), "nor is it printed");
    }

    #[test]
    fn an_error_of_a_provider_names_the_fault_and_the_remedy() {
        for (text, says) in [
            (
                "[provider.google]\nclient_idd = 'x'",
                "provider.google.client_idd in bulla.toml, line 2: there is no such setting of a provider; did you mean client_id?",
            ),
            ("[provider.google]\nclient_secret = 'hunter2'", "set BULLA_PROVIDER_GOOGLE_CLIENT_SECRET"),
            ("[provider.google]\nclient_id = 'x'", "provider.google.client_secret_file: is missing"),
            ("[provider.google]", "provider.google.client_id: is missing"),
            ("[provider.Google]", "must be a lower-case letter"),
            ("[provider.a_b]", "must be a lower-case letter"),
            ("provider = 1", "must contain only tables"),
            ("[provider]\ngoogle = 1", "must be a table"),
            ("[provider.google]\nclient_id = 1", "must be a string or a list of strings"),
            ("[provider.x]\nclient_id = 'x'", "provider.x.issuer: is missing"),
            ("[provider.x]\nclient_id = 'x'\nissuer = 'http://id.example.org'", "must be https"),
            (
                "[provider.x]\nclient_id = 'x'\nissuer = 'https://id.example.org?x'",
                "must not contain a query",
            ),
            ("[provider.x]\npreset = 'gogle'", "must be google, facebook"),
            ("[provider.okta]\nclient_id = 'x'", "provider.okta: domain is missing"),
            (
                "[provider.cognito]\nclient_id = 'x'\npool = 'eu-west-1_A'\nregion = 'us-east-1'",
                "is not of the region",
            ),
            (
                "[provider.google]\nclient_id = 'x'\npool = 'p'",
                "provider.google.pool: does not apply to the preset google",
            ),
            (
                "[provider.okta]\nclient_id = 'x'\ndomain = 'a.b'\ncreate = 'allowed-domains'",
                "allowed_domains: is missing",
            ),
            (
                "[provider.okta]\nclient_id = 'x'\ndomain = 'a.b'\nallowed_domains = ['x']",
                "has an effect only with",
            ),
            ("[provider.okta]\nclient_id = 'x'\ndomain = 'a.b'\nroles_claim = 'groups'", "roles: is missing"),
            (
                "[provider.okta]\nclient_id = 'x'\ndomain = 'a.b'\n[provider.okta.roles]\na = 'b'",
                "roles_claim: is missing",
            ),
            (
                "[provider.okta]\nclient_id = 'x'\ndomain = 'a.b'\ntoken_endpoint = 'http://127.0.0.1/t'",
                "must be https",
            ),
        ] {
            let error = file(text).unwrap_err();
            assert!(error.contains(says) && !error.contains("hunter2"), "{text}: {error}");
        }
    }
}
