//! Facebook's access tokens: what its Graph says of them, asked with our own.

use hkdf::hmac::{Hmac, KeyInit as _, Mac as _};
use hyper::{Request, header};
use oauth2::url::Url;
use serde_json::{Map, Value};
use sha2::Sha256;

use super::{OpenIdError, Provider, claims::Proven};
use crate::{clock::Timestamp, secret::SecretText};

/// Asks the Graph whether a token is of this app, for whom, and who that is.
pub(super) async fn check(
    provider: &Provider,
    token: &str,
    now: Timestamp,
) -> Result<(Proven, Timestamp), OpenIdError> {
    let settings = provider.settings();
    let graph = settings.graph.as_ref().ok_or(OpenIdError::Refused("access_token"))?;
    let secret = settings.secret.read()?;
    let secret = secret.ok_or_else(|| OpenIdError::Away("Facebook's Graph needs the app's secret".into()))?;
    let ours = SecretText::new(format!("{}|{}", settings.client_id, secret.expose()));
    let about = ask(provider, graph, "debug_token", &[("input_token", token)], &ours).await?;
    let about = about.get("data").and_then(Value::as_object).cloned().unwrap_or_default();
    let (user, ends) = debugged(&about, &settings.client_id, now)?;

    // Proves to the Graph that it isn't a thief of the token who asks.
    let proof = proof(&secret, token)?;
    let fields = [("fields", "id,name,email"), ("appsecret_proof", &proof)];
    let mut claims = ask(provider, graph, "me", &fields, &SecretText::new(token.to_owned())).await?;
    if claims.remove("id") != Some(Value::String(user.clone())) {
        return Err(OpenIdError::Refused("id"));
    }
    Ok((Proven::new(settings, &user, claims)?, ends))
}

/// Of our app, a person's, valid, and with an end.
fn debugged(
    about: &Map<String, Value>,
    app: &str,
    now: Timestamp,
) -> Result<(String, Timestamp), OpenIdError> {
    let text = |name: &str| about.get(name).and_then(Value::as_str);
    let holds =
        |holds: bool, what: &'static str| if holds { Ok(()) } else { Err(OpenIdError::Refused(what)) };
    holds(about.get("is_valid") == Some(&Value::Bool(true)), "is_valid")?;
    holds(text("app_id") == Some(app), "app_id")?;
    holds(text("type") == Some("USER"), "type")?;
    let ends = about.get("expires_at").and_then(Value::as_i64).unwrap_or_default();
    let ends = Timestamp::from_millis(ends.saturating_mul(1000));
    holds(now < ends, "expires_at")?;
    Ok((text("user_id").unwrap_or_default().to_owned(), ends))
}

/// HMAC-SHA256 of the token under the app's secret, in hex.
fn proof(secret: &SecretText, token: &str) -> Result<String, OpenIdError> {
    let mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes());
    let mut mac = mac.map_err(|error| OpenIdError::Away(error.to_string()))?;
    mac.update(token.as_bytes());
    Ok(mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// One question. What the Graph refuses (400, 401, 403) is the token's fault, all else the Graph's.
async fn ask(
    provider: &Provider,
    graph: &Url,
    path: &str,
    query: &[(&str, &str)],
    bearer: &SecretText,
) -> Result<Map<String, Value>, OpenIdError> {
    let away = |why: &dyn std::fmt::Display| OpenIdError::Away(format!("Facebook's Graph, {path}: {why}"));
    let mut url = graph.clone();
    url.path_segments_mut().map_err(|()| away(&"no such address"))?.pop_if_empty().push(path);
    url.query_pairs_mut().extend_pairs(query);
    let request = Request::get(url.as_str())
        .header(header::ACCEPT, "application/json")
        .header(header::AUTHORIZATION, format!("Bearer {}", bearer.expose()))
        .body(Vec::new())
        // A token with characters that no header holds is none.
        .map_err(|_| OpenIdError::Refused("access_token"))?;
    let answer = provider.fetch().send(request).await.map_err(|error| away(&error))?;
    match answer.status().as_u16() {
        200 => serde_json::from_slice(answer.body()).map_err(|_| away(&"no JSON object")),
        400 | 401 | 403 => Err(OpenIdError::Refused("access_token")),
        status => Err(away(&format_args!("answered {status}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proof_is_hmac_sha256_in_hex() {
        // RFC 4231, test case 2.
        let proof = proof(&SecretText::new("Jefe".into()), "what do ya want for nothing?").unwrap();
        assert_eq!(proof, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
