//! Checks the claims of an ID token (OpenID Connect Core, 3.1.3.7). Pure functions.

use serde_json::{Map, Value};
use subtle::ConstantTimeEq as _;

use super::{OpenIdError, ProviderSettings};
use crate::{
    clock::{SKEW, Timestamp},
    store::Identity,
};

/// The accepted difference between clocks, in seconds.
const SKEW_SECONDS: i64 = SKEW.as_secs().cast_signed();

/// A person's proven identity, with the provider's claims about the person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The key of the identity: issuer and subject.
    pub identity: Identity,
    /// The email address, only if the provider says that it is verified.
    pub mail: Option<String>,
    /// All claims.
    pub claims: Map<String, Value>,
    /// The time of the login at the provider, if the ID token gives it as a number of seconds (Core, 2).
    pub auth_time: Option<Timestamp>,
    /// If the userinfo endpoint was needed but could not be read: the reason.
    pub incomplete: Option<String>,
}

impl Proven {
    /// Returns a claim that is a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.claims.get(name)?.as_str()
    }

    /// Returns a claim by its name, or by a JSON pointer (RFC 6901) such as `/realm_access/roles`.
    pub(super) fn find(&self, name: &str) -> Option<&Value> {
        if !name.starts_with('/') {
            return self.claims.get(name);
        }
        let (first, rest) = name[1..]
            .split_once('/')
            .map_or((&name[1..], ""), |(first, _)| (first, &name[1 + first.len()..]));
        self.claims.get(&first.replace("~1", "/").replace("~0", "~"))?.pointer(rest)
    }

    /// Creates the identity of a subject at this provider, with its claims.
    pub(super) fn new(
        settings: &ProviderSettings,
        subject: &str,
        claims: Map<String, Value>,
    ) -> Result<Self, OpenIdError> {
        // A subject has at most 255 ASCII characters (Core, 2).
        if subject.is_empty() || subject.len() > 255 || subject.chars().any(char::is_control) {
            return Err(OpenIdError::Refused("sub"));
        }
        let identity = Identity { issuer: settings.issuer().to_owned(), subject: subject.to_owned() };
        // Cognito and other providers write this boolean as a string.
        let verified = claims.get("email_verified").is_some_and(|said| *said == true || said == "true");
        let mail = claims.get("email").and_then(Value::as_str).filter(|mail| verified && !mail.is_empty());
        let mail = mail.map(str::to_owned);
        Ok(Self { identity, mail, claims, auth_time: None, incomplete: None })
    }
}

/// Whether the claims contain an email address, verified or not.
pub(super) fn has_mail(claims: &Map<String, Value>) -> bool {
    claims.get("email").is_some_and(|mail| !mail.is_null() && mail != "")
}

/// Merges the claims of the ID token and of the userinfo endpoint; the ID token's claims take precedence. The email address and
/// its verification always come from the same source: the ID token if it has an address, otherwise the endpoint.
pub(super) fn merge(id_token: Map<String, Value>, userinfo: Map<String, Value>) -> Map<String, Value> {
    let mail_is_of_the_token = has_mail(&id_token);
    let about_mail = |name: &str| name == "email" || name == "email_verified";
    let of = |name: &str, value: &Value, is_token: bool| match about_mail(name) {
        true => is_token == mail_is_of_the_token,
        false => !value.is_null(),
    };
    let mut said: Map<String, Value> =
        userinfo.into_iter().filter(|(name, value)| of(name, value, false)).collect();
    said.extend(id_token.into_iter().filter(|(name, value)| of(name, value, true)));
    said
}

/// Whether a signed answer of the userinfo endpoint is from this provider and for this client (Core, 5.3.2). Its times are
/// checked if it contains any.
pub(super) fn is_for_this_client(
    claims: &Map<String, Value>,
    settings: &ProviderSettings,
    now: Timestamp,
) -> bool {
    let ours = |said: &Value| match said {
        Value::Array(list) => list.iter().any(|one| *one == settings.client_id.as_str()),
        one => *one == settings.client_id.as_str(),
    };
    let issuer = claims.get("iss").and_then(Value::as_str);
    let now = now.millis().div_euclid(1000);
    issuer.is_some_and(|said| settings.issuers.iter().any(|legal| legal == said))
        && claims.get("aud").is_some_and(ours)
        && claims
            .get("exp")
            .is_none_or(|end| end.as_i64().is_some_and(|end| now < end.saturating_add(SKEW_SECONDS)))
}

/// Checks the claims of a token whose signature is valid.
pub(super) fn check_claims(
    claims: Map<String, Value>,
    settings: &ProviderSettings,
    nonce: &str,
    now: Timestamp,
) -> Result<Proven, OpenIdError> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let holds =
        |holds: bool, claim: &'static str| if holds { Ok(()) } else { Err(OpenIdError::Refused(claim)) };
    holds(text("iss").is_some_and(|issuer| settings.issuers.iter().any(|legal| legal == issuer)), "iss")?;
    holds(is_audience(&claims, settings), "aud")?;
    holds(is_in_time(&claims, now), "exp")?;
    // Refuses other tokens signed by the same key for the same client: access tokens by RFC 9068 and of Cognito, access and
    // refresh tokens of Keycloak.
    let use_ = claims.get("token_use");
    holds(
        use_.is_none_or(|said| said == "id") && (use_.is_some() || !settings.needs_token_use),
        "token_use",
    )?;
    holds(!["Bearer", "Refresh", "Offline", "Logout"].iter().any(|other| text("typ") == Some(other)), "typ")?;
    let same = text("nonce").is_some_and(|said| bool::from(said.as_bytes().ct_eq(nonce.as_bytes())));
    holds(same && !nonce.is_empty(), "nonce")?;
    let subject = text("sub").unwrap_or_default().to_owned();
    let auth_time = auth_time(&claims);
    Ok(Proven { auth_time, ..Proven::new(settings, &subject, claims)? })
}

/// Reads `auth_time`, which must be a number of seconds since 1970. Any other value counts as unknown.
fn auth_time(claims: &Map<String, Value>) -> Option<Timestamp> {
    let said = claims.get("auth_time")?;
    let seconds = said.as_i64().or_else(|| said.as_f64().map(|seconds| seconds as i64))?;
    (seconds >= 0).then(|| Timestamp::from_millis(seconds.saturating_mul(1000)))
}

/// Whether the token was issued for this client: `aud` is our client id, or a list that contains it. A list with several members
/// needs `azp`. An `azp` must be our client id or a trusted one.
fn is_audience(claims: &Map<String, Value>, settings: &ProviderSettings) -> bool {
    let ours = |said: &Value| *said == settings.client_id.as_str();
    let (meant, several) = match claims.get("aud") {
        Some(one @ Value::String(_)) => (ours(one), false),
        Some(Value::Array(list)) => {
            (list.iter().all(Value::is_string) && list.iter().any(ours), list.len() > 1)
        }
        _ => (false, false),
    };
    let authorized = match claims.get("azp") {
        None => !several,
        Some(party) => ours(party) || settings.parties.iter().any(|known| *party == known.as_str()),
    };
    meant && authorized
}

/// Whether `exp` is in the future, and `iat` and a present `nbf` are not. All of them must be whole numbers of seconds.
fn is_in_time(claims: &Map<String, Value>, now: Timestamp) -> bool {
    let now = now.millis().div_euclid(1000);
    let seconds = |name: &str| claims.get(name).map(|time| time.as_i64().filter(|time| *time >= 0));
    let begun = |time: i64| time <= now + SKEW_SECONDS;
    seconds("exp").flatten().is_some_and(|end| now < end.saturating_add(SKEW_SECONDS))
        && seconds("iat").flatten().is_some_and(begun)
        && seconds("nbf").is_none_or(|time| time.is_some_and(begun))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_address_and_its_verification_come_from_one_source() {
        let merged = |token: Value, info: Value| {
            let said = merge(token.as_object().unwrap().clone(), info.as_object().unwrap().clone());
            (said.get("email").cloned(), said.get("email_verified").cloned())
        };
        let (eve, ada) = (json!("eve@example.org"), json!("ada@example.net"));
        let token = json!({"email": eve});
        assert_eq!(merged(token, json!({"email": ada, "email_verified": true})), (Some(eve.clone()), None));
        assert_eq!(merged(json!({"email_verified": true}), json!({"email": eve})), (Some(eve.clone()), None));
        assert_eq!(merged(json!({"email": eve}), json!({"email_verified": true})), (Some(eve.clone()), None));
        assert_eq!(
            merged(
                json!({"email": null, "email_verified": true}),
                json!({"email": eve, "email_verified": false})
            ),
            (Some(eve.clone()), Some(json!(false)))
        );
        assert_eq!(
            merged(json!({}), json!({"email": ada, "email_verified": "true"})),
            (Some(ada), Some(json!("true")))
        );
    }

    #[test]
    fn an_auth_time_that_is_no_number_of_seconds_is_unknown() {
        let read = |said: Value| auth_time(json!({"auth_time": said}).as_object().unwrap());
        assert_eq!(read(json!(1_700_000_000)), Some(Timestamp::from_millis(1_700_000_000_000)));
        assert_eq!(read(json!(1_700_000_000.9)), Some(Timestamp::from_millis(1_700_000_000_000)));
        for unknown in [json!("1700000000"), json!(-1), json!(null), json!([1]), json!(true)] {
            assert_eq!(read(unknown.clone()), None, "{unknown}");
        }
    }
}
