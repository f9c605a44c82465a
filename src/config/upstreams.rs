//! Reads `upstream`: the URL of one app, or `[[upstream]]` tables.

use super::{
    bad_setting::{BadSetting, hint, suggest},
    parse_duration,
    place::Places,
};
use crate::http::{UPSTREAM_FIELDS, UpstreamSettings};

/// Reads the tables of a settings file.
pub(super) fn from_file(
    list: Vec<toml::Value>,
    places: &Places<'_>,
) -> Result<Vec<UpstreamSettings>, BadSetting> {
    let tables = list.into_iter().zip(1..).map(|(value, number)| table(value, number, places));
    let upstreams = tables.collect::<Result<Vec<_>, _>>()?;
    for (at, one) in upstreams.iter().enumerate() {
        let same = |other: &UpstreamSettings| (other.host(), other.path()) == (one.host(), one.path());
        if upstreams[..at].iter().any(same) {
            let host = one.host().map(|host| format!(" of host {host}")).unwrap_or_default();
            return Err(BadSetting(format!(
                "upstream {} {}: an earlier table has the same path {}{host}",
                at + 1,
                places.of_key(&["upstream"]),
                one.path()
            )));
        }
    }
    Ok(upstreams)
}

fn table(value: toml::Value, number: usize, places: &Places<'_>) -> Result<UpstreamSettings, BadSetting> {
    let bad = |what: String| BadSetting(format!("{what} (table {number} {})", places.of_key(&["upstream"])));
    let toml::Value::Table(table) = value else {
        return Err(bad("upstream: must be a list of tables, [[upstream]]".into()));
    };
    let mut fields = Vec::new();
    for (name, value) in table {
        suggest(UPSTREAM_FIELDS.iter().map(|(field, _)| *field), &name).map_err(|near| {
            bad(format!("upstream.{name}: there is no such setting of an upstream{}", hint(near)))
        })?;
        let text = match value {
            toml::Value::String(text) if name == "ca" => places.path(&text),
            toml::Value::String(text) => text,
            toml::Value::Boolean(flag) => flag.to_string(),
            toml::Value::Array(list) if list.iter().all(toml::Value::is_str) => {
                list.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>().join(",")
            }
            _ => {
                return Err(bad(format!(
                    "upstream.{name}: must be a string, true, false or a list of strings"
                )));
            }
        };
        fields.push((name, text));
    }
    let fields = fields.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    UpstreamSettings::new(fields, parse_duration)
        .map_err(|(field, why)| bad(format!("upstream.{field} {why}")))
}

/// The error for `[upstream]` instead of `[[upstream]]`.
pub(super) fn one_table(places: &Places<'_>) -> BadSetting {
    BadSetting(format!("upstream {}: must be a URL, or tables [[upstream]]", places.of_key(&["upstream"])))
}

/// Reads the URL of one app.
pub(super) fn from_url(url: &str, place: &str) -> Result<Vec<UpstreamSettings>, BadSetting> {
    let upstream = UpstreamSettings::of_url(url);
    Ok(vec![upstream.map_err(|why| BadSetting(format!("upstream = {url:?} {place}: {why}")))?])
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Layer, Settings};

    fn settings(text: &str) -> Result<Settings, String> {
        let layer = Layer::file(Path::new("/etc/bulla/bulla.toml"), text).map_err(|error| error.0)?;
        Settings::resolve(&[layer]).map_err(|error| error.0)
    }

    #[test]
    fn an_upstream_is_a_url_or_a_list_of_tables() {
        assert!(settings("").unwrap().upstreams.is_empty());
        let one = settings("upstream = 'http://127.0.0.1:3000'").unwrap().upstreams;
        assert_eq!((one.len(), one[0].path()), (1, "/"));
        let text = "[[upstream]]\nurl = 'https://a'\nca = 'ca.pem'\n[[upstream]]\nurl = 'http://b'\npath = '/b'\n\
            access = ['login', 'apps']\nscopes = 'read'\nidle_timeout = '30s'\ncut_downloads = false";
        let two = settings(text).unwrap().upstreams;
        assert_eq!((two.len(), two[1].path()), (2, "/b"));
    }

    #[test]
    fn a_stronger_layer_replaces_all_upstreams() {
        let file =
            Layer::file(Path::new("bulla.toml"), "[[upstream]]\nurl = 'http://a'\npath = '/a'").unwrap();
        let flags = Layer::flags([("upstream", "http://b".to_owned())]);
        let settings = Settings::resolve(&[flags, file]).unwrap();
        assert_eq!(settings.upstreams.iter().map(|one| one.path()).collect::<Vec<_>>(), ["/"]);
    }

    #[test]
    fn errors_name_the_table_and_the_field() {
        for (text, error) in [
            ("upstream = 'app'", "upstream = \"app\" in /etc/bulla/bulla.toml, line 1: must be http://"),
            (
                "[[upstream]]\nurll = 'http://a'",
                "upstream.urll: there is no such setting of an upstream; did you mean url?",
            ),
            ("[[upstream]]\nurl = 'http://a'\nidle_timeout = 'soon'", "upstream.idle_timeout"),
            ("[[upstream]]\nurl = 1", "upstream.url: must be a string"),
            ("[upstream]\nurl = 'http://a'", "must be a URL, or tables [[upstream]]"),
            ("[[upstream]]\nurl = 'http://a'\n[[upstream]]\nurl = 'http://b'", "the same path /"),
        ] {
            let refused = settings(text).unwrap_err();
            assert!(refused.contains(error), "{refused}");
        }
    }
}
