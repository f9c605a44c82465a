//! Checks Facebook's access tokens by requests to its Graph API.

use hkdf::hmac::{Hmac, KeyInit as _, Mac as _};
use hyper::{Request, header};
use oauth2::url::Url;
use serde_json::{Map, Value};
use sha2::Sha256;

use super::{OpenIdError, ProviderSettings, claims::Proven};
use crate::{clock::Timestamp, fetch::Fetch, secret::SecretText};

/// Asks the Graph whether a token belongs to this app, whether it is valid, and who its user is.
pub(super) async fn check(
    settings: &ProviderSettings,
    fetch: &Fetch,
    token: &str,
    now: Timestamp,
) -> Result<(Proven, Timestamp), OpenIdError> {
    let graph = settings.graph.as_ref().ok_or(OpenIdError::Refused("access_token"))?;
    let secret = settings.secret.read()?;
    let secret = secret
        .ok_or_else(|| OpenIdError::Away("the Graph API of Facebook requires the app's secret".into()))?;
    let ours = SecretText::new(format!("{}|{}", settings.client_id, secret.expose()));
    let about = ask(fetch, graph, Question::Debug, &[("input_token", token)], &ours).await?;
    let no_data =
        || OpenIdError::Away("Graph API of Facebook, debug_token: `data` is missing or not an object".into());
    let about = about.get("data").and_then(Value::as_object).ok_or_else(no_data)?.clone();
    let (user, ends) = debugged(&about, &settings.client_id, now)?;

    // The proof shows the Graph that the request comes from this app, not from a thief of the token.
    let proof = proof(&secret, token)?;
    let fields = [("fields", "id,name,email"), ("appsecret_proof", &proof)];
    let mut claims = ask(fetch, graph, Question::Me, &fields, &SecretText::new(token.to_owned())).await?;
    if claims.remove("id").as_ref().and_then(id) != Some(user.clone()) {
        return Err(OpenIdError::Refused("id"));
    }
    Ok((Proven::new(settings, &user, claims)?, ends))
}

/// Checks that a token belongs to our app and to a person, is valid, and has an end. Returns the user's id and the end.
fn debugged(
    about: &Map<String, Value>,
    app: &str,
    now: Timestamp,
) -> Result<(String, Timestamp), OpenIdError> {
    let holds =
        |holds: bool, what: &'static str| if holds { Ok(()) } else { Err(OpenIdError::Refused(what)) };
    let is_valid = about.get("is_valid") == Some(&Value::Bool(true));
    let failure = about.get("error").and_then(|error| error.get("code")).and_then(Value::as_i64);
    if let (false, Some(code)) = (is_valid, failure.filter(|code| ![190, 102, 100].contains(code))) {
        let why =
            format!("Graph API of Facebook, debug_token: `data` has the error code {code}{}", advice(code));
        return Err(OpenIdError::Away(why));
    }
    holds(is_valid, "is_valid")?;
    holds(about.get("app_id").and_then(id).as_deref() == Some(app), "app_id")?;
    holds(about.get("type").is_some_and(|said| said == "USER"), "type")?;
    let ends = about.get("expires_at").and_then(Value::as_i64).unwrap_or_default();
    let ends = Timestamp::from_millis(ends.saturating_mul(1000));
    holds(now < ends, "expires_at")?;
    Ok((about.get("user_id").and_then(id).unwrap_or_default(), ends))
}

/// Reads an id: a string, or a number as in the examples of Facebook's reference.
fn id(said: &Value) -> Option<String> {
    match said {
        Value::String(text) => Some(text.clone()),
        number => number.as_u64().map(|number| number.to_string()),
    }
}

/// Returns the HMAC-SHA256 of the token under the app's secret, in hex.
fn proof(secret: &SecretText, token: &str) -> Result<String, OpenIdError> {
    let mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes());
    let mut mac = mac.map_err(|error| OpenIdError::Away(error.to_string()))?;
    mac.update(token.as_bytes());
    Ok(mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The kinds of requests.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Question {
    /// Data about the token, requested with the app's own token.
    Debug,
    /// The user of the token, requested with the token itself.
    Me,
}

impl Question {
    const fn path(self) -> &'static str {
        match self {
            Self::Debug => "debug_token",
            Self::Me => "me",
        }
    }
}

/// Sends one request. Only an answer that calls the token invalid refuses the token. All other errors are the Graph's or ours.
async fn ask(
    fetch: &Fetch,
    graph: &Url,
    question: Question,
    query: &[(&str, &str)],
    bearer: &SecretText,
) -> Result<Map<String, Value>, OpenIdError> {
    let path = question.path();
    let away =
        |why: &dyn std::fmt::Display| OpenIdError::Away(format!("Graph API of Facebook, {path}: {why}"));
    let mut url = graph.clone();
    url.path_segments_mut()
        .map_err(|()| away(&"the setting graph is not a usable URL"))?
        .pop_if_empty()
        .push(path);
    url.query_pairs_mut().extend_pairs(query);
    let request = Request::get(url.as_str())
        .header(header::ACCEPT, "application/json")
        .header(header::AUTHORIZATION, format!("Bearer {}", bearer.expose()))
        .body(Vec::new())
        // A token with characters that a header can't contain is invalid.
        .map_err(|_| OpenIdError::Refused("access_token"))?;
    let answer = fetch.send(request).await.map_err(|error| away(&error))?;
    let status = answer.status().as_u16();
    let said: Option<Map<String, Value>> = serde_json::from_slice(answer.body()).ok();
    match (said, status) {
        (Some(said), 200) if !said.contains_key("error") => Ok(said),
        (Some(said), 200 | 400 | 401 | 403) => {
            let error = said.get("error").unwrap_or(&Value::Null);
            if says_token_is_invalid(question, error) {
                return Err(OpenIdError::Refused("access_token"));
            }
            let code = error.get("code").and_then(Value::as_i64);
            Err(match code {
                Some(code) => {
                    away(&format_args!("answered {status} with the error code {code}{}", advice(code)))
                }
                None => away(&format_args!("answered {status} without an error code")),
            })
        }
        (None, 200) => Err(away(&"answered without a JSON object")),
        (_, status) => Err(away(&format_args!("answered {status}"))),
    }
}

/// Whether an error says that the token is invalid. If the token itself is used for the request: 190 (expired, revoked,
/// malformed) and 102 (its session has ended). If the request is about the token: 100 for the parameter `input_token`, for
/// example for another app's token. Every other error (a rate limit, a failure of the Graph, our own secret) says nothing about
/// the token.
fn says_token_is_invalid(question: Question, error: &Value) -> bool {
    let message = || error.get("message").and_then(Value::as_str).unwrap_or_default();
    match (question, error.get("code").and_then(Value::as_i64)) {
        (Question::Me, Some(190 | 102)) => true,
        (Question::Debug, Some(100)) => message().contains("input_token"),
        _ => false,
    }
}

fn advice(code: i64) -> &'static str {
    match code {
        4 | 17 | 32 | 341 | 613 => " (a rate limit is reached)",
        101 | 190 => {
            " (it refuses the client id or client secret of this server; compare them with the app's settings page)"
        }
        _ => "",
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
