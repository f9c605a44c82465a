//! Tests whether a provider works, step by step, and explains how to repair each fault.

use hyper::{Request, header};
use oauth2::url::Url;

use super::{
    Freshness, OpenIdError, Provider,
    answer::name_error,
    endpoints::{discovery_url, get},
};
use crate::{clock::Timestamp, jws::KeySet};

/// The largest accepted difference between the clocks, in seconds. With a larger one, valid tokens would be refused here or at
/// the provider.
const OFF: u64 = 30;

/// The result of one step of the test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The part that was tested.
    pub what: &'static str,
    /// The good result, or the fault with its remedy.
    pub found: Result<String, String>,
}

/// Tests everything at a provider that a login needs. `redirect` is the URL to which people return from the provider.
pub async fn examine(provider: &Provider, redirect: &str, now: Timestamp) -> Vec<Finding> {
    let settings = provider.settings();
    let secret = match settings.secret.read() {
        Ok(Some(_)) => Ok("readable".into()),
        Ok(None) => Ok("none: a public client, protected only by PKCE".into()),
        Err(error) => Err(format!("{error}; write the secret there, readable by the server")),
    };
    let mut findings = vec![Finding { what: "client secret", found: secret }];
    let endpoints = match provider.endpoints().await {
        Ok(endpoints) => endpoints,
        Err(error) => {
            let mend = format!(
                "{error}; compare `issuer` with the provider's documentation, and try: curl {}",
                discovery_url(settings)
            );
            findings.push(Finding { what: "discovery", found: Err(mend) });
            return findings;
        }
    };
    findings.push(Finding { what: "discovery", found: Ok(settings.issuer().into()) });
    let keys = get(provider.fetch(), endpoints.keys.as_str()).await;
    let read = keys.as_ref().map_err(OpenIdError::clone).and_then(|answer| Ok(KeySet::read(answer.body())?));
    let found = match read {
        Ok(keys) => Ok(format!("{} usable", keys.len())),
        Err(error) => Err(format!("{error}; logins fail without keys; check `jwks_uri`")),
    };
    findings.push(Finding { what: "key set", found });
    let date = keys.as_ref().ok().and_then(|answer| answer.headers().get(header::DATE)?.to_str().ok());
    if let Some(theirs) = date.and_then(|text| httpdate::parse_http_date(text).ok()) {
        findings.push(Finding { what: "clock", found: clock(theirs, now) });
    }
    let found = redirect_is_known(provider, redirect).await;
    findings.push(Finding { what: "redirect address", found });
    findings
}

fn clock(theirs: std::time::SystemTime, ours: Timestamp) -> Result<String, String> {
    let theirs = theirs.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let ours = ours.millis().max(0).unsigned_abs() / 1000;
    match theirs.abs_diff(ours) {
        off @ 0..=OFF => Ok(format!("{off} s apart")),
        off if ours > theirs => {
            Err(format!("this machine's clock is {off} s ahead of the provider's; synchronize it by NTP"))
        }
        off => Err(format!("this machine's clock is {off} s behind the provider's; synchronize it by NTP")),
    }
}

/// Begins a login and checks whether the provider refuses it at once, as it does for an unregistered redirect URL.
async fn redirect_is_known(provider: &Provider, redirect: &str) -> Result<String, String> {
    let mend = || format!("register exactly this redirect address at the provider: {redirect}");
    let begun = provider.begin_login(redirect, Freshness::Any).await.map_err(|error| error.to_string())?;
    let request = Request::get(&begun.url).body(Vec::new()).map_err(|error| error.to_string())?;
    let answer = provider.fetch().send(request).await;
    let answer = answer.map_err(|error| format!("the authorization endpoint: {error}"))?;
    let status = answer.status().as_u16();
    let location = answer.headers().get(header::LOCATION).and_then(|to| to.to_str().ok()).unwrap_or_default();
    let target = Url::parse(&begun.url).and_then(|url| url.join(location));
    match (status, target.map_or(ErrorRedirect::None, |target| ErrorRedirect::read(&target, redirect))) {
        (200..400, ErrorRedirect::None) => Ok(redirect.to_owned()),
        (200..400, ErrorRedirect::ErrorPage) => {
            Err(format!("the provider answers with an error page; {}", mend()))
        }
        (200..400, ErrorRedirect::Back(error)) => Err(format!(
            "the provider knows the redirect address, but refuses the login with {error}; compare `client_id`, `scopes` and the \
             client's permissions with the provider's settings page"
        )),
        _ => Err(format!("the provider answers with status {status}; {}", mend())),
    }
}

/// How a provider reports an error by a redirect.
#[derive(Debug, PartialEq, Eq)]
enum ErrorRedirect {
    /// The redirect reports no error.
    None,
    /// The redirect leads to an error page of the provider: its path contains `error`, or its query has a parameter `error`. A
    /// provider reports an unregistered redirect address in this way, because RFC 6749 (4.1.2.1) forbids a redirect to it.
    ErrorPage,
    /// The redirect leads back to this server with a parameter `error`. So the redirect address is registered, and the provider
    /// refuses something else in the request.
    Back(String),
}

impl ErrorRedirect {
    fn read(target: &Url, redirect: &str) -> Self {
        let error = target.query_pairs().find(|(name, _)| name == "error").map(|(_, error)| error);
        let to_this_server = Url::parse(redirect)
            .is_ok_and(|ours| ours.origin() == target.origin() && ours.path() == target.path());
        match error {
            Some(error) if to_this_server => Self::Back(name_error(&error)),
            None if to_this_server => Self::None,
            None if !target.path().contains("error") => Self::None,
            _ => Self::ErrorPage,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_comes_back_to_this_server_is_told_apart_from_an_error_page_of_the_provider() {
        let redirect = "https://app.example/auth/provider/error/callback";
        let read = |target: &str| ErrorRedirect::read(&Url::parse(target).unwrap(), redirect);
        let back = |error: &str| read(&format!("{redirect}?state=x&error={error}"));
        assert_eq!(back("invalid_scope"), ErrorRedirect::Back("the error invalid_scope".into()));
        assert_eq!(back("Run%20this"), ErrorRedirect::Back("an unknown `error`".into()));
        for login in ["https://op.example/login?prompt=error", redirect] {
            assert_eq!(read(login), ErrorRedirect::None, "{login}");
        }
        let elsewhere = "https://op.example/auth/provider/error/callback?error=invalid_scope";
        for page in ["https://op.example/oauth/error", "https://op.example/x?error=400", elsewhere] {
            assert_eq!(read(page), ErrorRedirect::ErrorPage, "{page}");
        }
    }
}
