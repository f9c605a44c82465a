//! Parses the parameters of a request and refuses repeated ones.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use crate::{ids::Scope, oauth::Refusal, secret::SecretText};

/// The parameters that this server understands. Others are ignored (RFC 6749, section 3.1).
const KNOWN: [&str; 23] = [
    "actor_token",
    "audience",
    "client_assertion",
    "client_assertion_type",
    "client_id",
    "client_secret",
    "code",
    "code_challenge",
    "code_challenge_method",
    "code_verifier",
    "grant_type",
    "redirect_uri",
    "refresh_token",
    "requested_token_type",
    "resource",
    "response_mode",
    "response_type",
    "scope",
    "state",
    "subject_token",
    "subject_token_type",
    "token",
    "token_type_hint",
];

/// The parameters by name. A parameter without a value counts as absent (RFC 6749, section 3.1). `Debug` prints no values.
pub struct Form {
    once: BTreeMap<&'static str, SecretText>,
    /// `audience` and `resource` may occur several times (RFC 8693, section 2.1; RFC 8707, section 2).
    pub(super) audiences: Vec<SecretText>,
    pub(super) resources: Vec<SecretText>,
}

impl Form {
    /// Reads `application/x-www-form-urlencoded`. A repeated parameter is refused, because it is ambiguous.
    ///
    /// # Errors
    ///
    /// `Refusal::Twice` with the name of a repeated parameter.
    pub fn parse(text: &[u8]) -> Result<Self, Refusal> {
        let mut form = Self { once: BTreeMap::new(), audiences: vec![], resources: vec![] };
        for (name, value) in form_urlencoded::parse(text).filter(|(_, value)| !value.is_empty()) {
            let Some(name) = KNOWN.iter().copied().find(|known| *known == name) else { continue };
            let value = SecretText::new(value.into_owned());
            match name {
                "audience" => form.audiences.push(value),
                "resource" => form.resources.push(value),
                _ if form.once.insert(name, value).is_some() => return Err(Refusal::Twice(name)),
                _ => {}
            }
        }
        Ok(form)
    }

    /// The value of a parameter.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.once.get(name).map(SecretText::expose)
    }

    /// The value of a required parameter; `missing` is the error message.
    pub(super) fn required(&self, name: &str, missing: &'static str) -> Result<&str, Refusal> {
        self.text(name).ok_or(Refusal::Request(missing))
    }

    /// The value of a parameter that holds a secret.
    pub(super) fn secret(&self, name: &str) -> Option<SecretText> {
        self.once.get(name).cloned()
    }

    /// The requested scope. `None` if the request has no scope.
    pub(super) fn scope(&self) -> Result<Option<Scope>, Refusal> {
        self.text("scope").map(str::parse).transpose().map_err(|_| Refusal::Scope)
    }
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.once.keys()).finish()
    }
}

/// Decodes a name or secret from an `Authorization` header, where it is encoded like a form value (RFC 6749, section 2.3.1).
pub(super) fn unwrap(text: &str) -> String {
    let line = format!("v={text}");
    let value = form_urlencoded::parse(line.as_bytes()).next().map(|(_, value)| value);
    // A text that contains a plain `&` was not encoded, so it is used unchanged.
    if text.contains('&') { text.to_owned() } else { value.map(Cow::into_owned).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_parameter_is_refused_and_an_empty_one_counts_as_absent() {
        let form = Form::parse(b"code=1&state=&scope=x+y%26&unknown=%00&unknown=2").unwrap();
        assert_eq!(
            (form.text("code"), form.text("state"), form.text("scope")),
            (Some("1"), None, Some("x y&"))
        );
        for twice in ["code=1&code=1", "code=1&code=2", "code=1&state=2&%63ode=3"] {
            let refused = Form::parse(twice.as_bytes()).unwrap_err();
            assert_eq!(refused.to_string(), "the parameter code is given more than once", "{twice}");
        }
        assert!(Form::parse(b"code=1&code=").is_ok() && Form::parse(b"").is_ok());
        assert_eq!(format!("{form:?}"), r#"["code", "scope"]"#);
    }

    #[test]
    fn a_name_in_the_authorization_header_is_decoded_as_a_form_value() {
        assert_eq!(unwrap("a%3Ab+c"), "a:b c");
        assert_eq!(unwrap("plain-._"), "plain-._");
        assert_eq!(unwrap("a&b"), "a&b");
    }
}
