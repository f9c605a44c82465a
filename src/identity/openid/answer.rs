//! Parses the answer of a token endpoint (RFC 6749, 5.1 and 5.2). Pure functions that read only the fields they need.

use serde_json::{Map, Value};

use super::OpenIdError;

/// The tokens received for a code.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) id_token: zeroize::Zeroizing<String>,
    /// The access token, needed only for the userinfo endpoint.
    pub(super) access_token: Option<zeroize::Zeroizing<String>>,
}

/// Parses an answer. Only a code that the provider calls invalid is refused. All other errors are faults of the provider or of
/// the settings.
pub(super) fn read(status: u16, body: &[u8]) -> Result<Granted, OpenIdError> {
    let away = |why: &str| OpenIdError::Away(format!("the token endpoint answered {status}{why}"));
    if status >= 500 || status == 429 {
        return Err(away(""));
    }
    let said: Option<Map<String, Value>> = serde_json::from_slice(body).ok();
    let Some(said) = said else { return Err(away(" without a JSON object")) };
    // Some providers send errors with status 200.
    if let Some(error) = said.get("error").filter(|error| !error.is_null()) {
        return Err(refusal(error, &away));
    }
    if !(200..300).contains(&status) {
        return Err(away(" without `error`"));
    }
    let text = |name: &str| {
        let text = said.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())?;
        Some(zeroize::Zeroizing::new(text.to_owned()))
    };
    let id_token = text("id_token").ok_or_else(|| match said.contains_key("id_token") {
        true => away(" with an `id_token` that is not a string"),
        false => away(" without `id_token`; check that `scopes` contains `openid`"),
    })?;
    Ok(Granted { id_token, access_token: text("access_token") })
}

/// Converts the provider's error. Its description is dropped, because it may contain text that an attacker chose.
fn refusal(error: &Value, away: &impl Fn(&str) -> OpenIdError) -> OpenIdError {
    // Facebook's Graph: 100 means that a parameter is wrong. The code is the only parameter that varies.
    if error.get("code").and_then(Value::as_i64) == Some(100) {
        return OpenIdError::Refused("code");
    }
    match error.as_str() {
        Some("invalid_grant") => OpenIdError::Refused("code"),
        Some("invalid_client" | "unauthorized_client") => away(
            ": it refuses the client id or client secret of this server (invalid_client); compare `client_id` and \
             the secret with the provider's settings page",
        ),
        code => away(&format!(" with {}", name_error(code.unwrap_or_default()))),
    }
}

/// Names a provider's error. The text of another server is repeated only if it has the form of an error code.
pub(super) fn name_error(code: &str) -> String {
    let plain = (1..=40).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if plain { format!("the error {code}") } else { "an unknown `error`".into() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_fields_that_are_needed_are_read() {
        for more in [
            json!({}),
            json!({"expires_in": "3600", "scope": ["openid", "email"], "token_type": 7, "refresh_token": {}}),
            json!({"expires_in": null, "scope": null, "token_type": null, "access_token": null, "error": null}),
            json!({"expires_in": -1.5, "access_token": 5, "error_description": [], "x": {"y": [1]}}),
        ] {
            let mut body = json!({"id_token": "a.b.c"});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let granted = read(200, body.to_string().as_bytes()).unwrap();
            assert_eq!(granted.id_token.as_str(), "a.b.c", "{body}");
        }
    }

    #[test]
    fn a_code_is_refused_only_when_the_provider_says_so() {
        let refused = [
            (400, json!({"error": "invalid_grant", "error_description": 7})),
            (401, json!({"error": "invalid_grant"})),
            (200, json!({"error": "invalid_grant"})),
            (400, json!({"error": {"code": 100, "type": "OAuthException"}})),
        ];
        for (status, body) in refused {
            let read = read(status, body.to_string().as_bytes()).unwrap_err();
            assert_eq!(read, OpenIdError::Refused("code"), "{status} {body}");
        }
        for (status, body, names) in [
            (500, r#"{"error":"invalid_grant"}"#, "500"),
            (429, "", "429"),
            (200, "<html>", "JSON object"),
            (200, "[]", "JSON object"),
            (200, "{}", "`id_token`"),
            (200, r#"{"id_token":["a.b.c"]}"#, "`id_token`"),
            (200, r#"{"id_token":null}"#, "`id_token`"),
            (302, "{}", "302"),
            (404, "not found", "404"),
            (401, r#"{"error":"invalid_client"}"#, "client id or client secret"),
            (400, r#"{"error":"unauthorized_client"}"#, "client id or client secret"),
            (400, r#"{"error":"temporarily_unavailable"}"#, "temporarily_unavailable"),
            (400, r#"{"error":"server_error"}"#, "server_error"),
            (400, r#"{"error":"unsupported_grant_type"}"#, "unsupported_grant_type"),
            (400, r#"{"error":{"code":1}}"#, "with an unknown"),
            (400, r#"{"error":"<script>"}"#, "with an unknown"),
            (400, r#"{"error":[]}"#, "with an unknown"),
        ] {
            match read(status, body.as_bytes()).unwrap_err() {
                OpenIdError::Away(why) => assert!(why.contains(names), "{status} {body}: {why}"),
                other => panic!("{status} {body}: {other}"),
            }
        }
    }
}
