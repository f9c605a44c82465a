//! Determines a provider's endpoints from the settings and, for missing ones, from the provider's discovery document (Discovery
//! 1.0).

use std::net::IpAddr;

use hyper::{Request, Response, header};
use oauth2::url::Url;
use serde_json::{Map, Value};

use super::{ClientAuth, OpenIdError, ProviderSettings, settings::endpoint};
use crate::fetch::{Fetch, is_loopback};

/// The endpoints in use.
#[derive(Clone, Debug)]
pub(super) struct Endpoints {
    pub(super) authorization: Url,
    pub(super) token: Url,
    pub(super) keys: Url,
    /// The userinfo endpoint, which has claims that are not in the ID token. `None` if there is none, an error if its address
    /// can't be used.
    pub(super) userinfo: Option<Result<Url, String>>,
    pub(super) auth: ClientAuth,
}

/// A discovery document. Each field is read only when it is needed, and only then its type is checked.
type Document = Map<String, Value>;

/// Determines the endpoints. Requests the discovery document only if the settings do not give all of them.
pub(super) async fn discover(settings: &ProviderSettings, fetch: &Fetch) -> Result<Endpoints, OpenIdError> {
    let complete = [&settings.authorization_endpoint, &settings.token_endpoint, &settings.jwks_uri];
    let document = match complete.iter().all(|given| given.is_some()) {
        true => Document::default(),
        false => document(settings, fetch).await?,
    };
    let named = |name: &str| document.get(name).filter(|value| !value.is_null());
    let found = |name: &str, given: &Option<Url>| match (given, named(name)) {
        (Some(given), _) => Ok(given.clone()),
        (None, Some(Value::String(text))) => {
            discovered(text, settings.issuer()).map_err(|why| format!("`{name}`: {why}"))
        }
        (None, Some(_)) => {
            Err(format!("discovery has a `{name}` that is not a string; set it in the settings"))
        }
        (None, None) => Err(format!("discovery has no `{name}`; set it in the settings")),
    };
    // If the methods are missing or can't be read, the default is `client_secret_basic` (Discovery, 3).
    let methods = named("token_endpoint_auth_methods_supported").and_then(Value::as_array);
    let basic = methods.is_none_or(|all| all.iter().any(|one| one == "client_secret_basic"));
    let needed = |name: &str, given: &Option<Url>| found(name, given).map_err(OpenIdError::Away);
    let has_userinfo = settings.userinfo_endpoint.is_some() || named("userinfo_endpoint").is_some();
    Ok(Endpoints {
        authorization: needed("authorization_endpoint", &settings.authorization_endpoint)?,
        token: needed("token_endpoint", &settings.token_endpoint)?,
        keys: needed("jwks_uri", &settings.jwks_uri)?,
        userinfo: has_userinfo.then(|| found("userinfo_endpoint", &settings.userinfo_endpoint)),
        auth: settings.auth.unwrap_or(if basic { ClientAuth::Basic } else { ClientAuth::Post }),
    })
}

/// Returns the URL of a provider's discovery document (Discovery, 4).
pub(super) fn discovery_url(settings: &ProviderSettings) -> String {
    format!("{}/.well-known/openid-configuration", settings.issuer().trim_end_matches('/'))
}

async fn document(settings: &ProviderSettings, fetch: &Fetch) -> Result<Document, OpenIdError> {
    let url = discovery_url(settings);
    let answer = get(fetch, &url).await?;
    let document: Document = serde_json::from_slice(answer.body())
        .map_err(|_| OpenIdError::Away(format!("{url} is not a discovery document")))?;
    // The document of another issuer would send people and our secret to the wrong server (Discovery, 4.3).
    let issuer = document.get("issuer").and_then(Value::as_str);
    if issuer != Some(settings.issuer()) {
        let (says, is) = (issuer.unwrap_or("missing or not a string"), settings.issuer());
        return Err(OpenIdError::Away(format!(
            "{url} states the issuer {says:?}, but the settings state {is:?}"
        )));
    }
    Ok(document)
}

/// Parses a discovered address. Because the provider chose it, it must not lead to this machine or its private network,
/// unless its host is also the host of the issuer.
fn discovered(text: &str, issuer: &str) -> Result<Url, String> {
    let url = endpoint(text, issuer)?;
    let host = |url: &Url| url.host_str().map(str::to_owned);
    let own = Url::parse(issuer).is_ok_and(|issuer| host(&issuer) == host(&url));
    match host(&url) {
        Some(name) if is_private_address(&name) && !own => Err(format!(
            "the discovered address {text:?} is on this machine or in a private network, and is refused"
        )),
        _ => Ok(url),
    }
}

/// Whether a host is an address of this machine or of a private network.
fn is_private_address(host: &str) -> bool {
    if is_loopback(host) {
        return true;
    }
    let text = host.trim_start_matches('[').trim_end_matches(']');
    match text.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        Ok(IpAddr::V4(ip)) => {
            ip.is_private() || ip.is_link_local() || ip.is_unspecified() || ip.is_broadcast()
        }
        Ok(IpAddr::V6(ip)) => ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_unspecified(),
        Err(_) => false,
    }
}

/// Requests a public JSON document.
pub(super) async fn get(fetch: &Fetch, url: &str) -> Result<Response<Vec<u8>>, OpenIdError> {
    ask(fetch, url, None).await
}

/// Requests a JSON document with an access token. Any status other than 200 is an error, including a redirect.
pub(super) async fn get_with(
    fetch: &Fetch,
    url: &str,
    access_token: &str,
) -> Result<Response<Vec<u8>>, OpenIdError> {
    ask(fetch, url, Some(format!("Bearer {access_token}"))).await
}

async fn ask(fetch: &Fetch, url: &str, bearer: Option<String>) -> Result<Response<Vec<u8>>, OpenIdError> {
    let away = |why: &dyn std::fmt::Display| OpenIdError::Away(format!("{url}: {why}"));
    let mut request = Request::get(url).header(header::ACCEPT, "application/json");
    if let Some(bearer) = bearer {
        request = request.header(header::AUTHORIZATION, bearer);
    }
    let request = request.body(Vec::new());
    let answer = fetch.send(request.map_err(|error| away(&error))?).await.map_err(|error| away(&error))?;
    match answer.status().as_u16() {
        200 => Ok(answer),
        status => Err(away(&format_args!("answered {status}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_discovered_address_must_not_be_in_a_private_network() {
        let issuer = "https://login.example.org/realm";
        for good in
            ["https://login.example.org/token", "https://keys.example.net:8443/jwks", "https://8.8.8.8/"]
        {
            discovered(good, issuer).unwrap();
        }
        for bad in [
            "http://login.example.org/token",
            "http://127.0.0.1/token",
            "https://127.0.0.1/token",
            "https://localhost/token",
            "https://[::1]/token",
            "https://[::ffff:127.0.0.1]/token",
            "https://2130706433/token",
            "https://0x7f.1/token",
            "https://10.0.0.8/token",
            "https://192.168.1.1/",
            "https://169.254.169.254/latest/meta-data",
            "https://[fd00::1]/",
            "https://0.0.0.0/",
            "https://user:secret@login.example.org/",
            "file:///etc/passwd",
            "gopher://login.example.org/",
            "/token",
            "",
        ] {
            assert!(discovered(bad, issuer).is_err(), "{bad}");
        }
        discovered("https://10.0.0.8/token", "https://10.0.0.8/realm").unwrap();
        discovered("http://127.0.0.1:81/token", "http://127.0.0.1:81").unwrap();
        assert!(
            discovered("http://127.0.0.1:81/token", "https://127.0.0.1:81").is_err(),
            "plain for plain only"
        );
    }
}
