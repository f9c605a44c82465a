//! The authorization code grant (RFC 6749, section 4.1): checks the app's authorization request, issues the code, and exchanges the
//! code for tokens. PKCE (Proof Key for Code Exchange, RFC 7636) is always required. The answer contains the issuer (RFC 9207).

use std::{borrow::Cow, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::{
    clock::SKEW,
    ids::{Audience, ClientId, Purpose, Scope, Sid, UserId},
    oauth::{Client, Form, Granted, Issuer, Refusal, redirect, target},
    secret::SecretText,
    session::Denied,
    store::{Actor, AuditEvent, ClientRow, Device, Event, Grant, SessionRow, StoreError, User},
    token::{OpenBuffer, SealError},
};

/// The life of an authorization code.
pub const CODE_MAX_AGE: Duration = Duration::from_secs(60);

/// A checked authorization request.
#[derive(Clone, Debug)]
pub struct Authorization {
    /// The app that sent the request.
    pub client: ClientRow,
    back: RedirectTarget,
    scope: Scope,
    challenge: String,
    /// The audience of the app's tokens, if the request names one.
    audience: Option<Audience>,
    /// The redirect URI of the request. `None` if the request omits it, which is allowed if the client has exactly one.
    issued_mark: Option<String>,
}

/// The address to which the answer is sent.
#[derive(Clone, Debug)]
struct RedirectTarget {
    uri: String,
    state: Option<String>,
}

/// The reason why an authorization request fails.
#[derive(Debug)]
pub enum AuthorizationError {
    /// The error is shown to the person, because no valid redirect URI is known.
    ToPerson(Cow<'static, str>),
    /// Shown to the person as well: the app is unknown or disabled.
    UnknownClient,
    /// The error is sent to the app.
    ToApp(AppRedirect),
    /// The answer is unknown: the store is unavailable.
    CannotTell(StoreError),
}

/// The address to which the browser is redirected.
#[derive(Debug)]
pub struct AppRedirect(pub String);

/// The payload of a code. The names are short, because the code is part of a URL.
#[derive(Deserialize, Serialize)]
struct Code {
    id: String,
    client: String,
    /// The sid of the session that the code will begin.
    sid: String,
    /// The sid of the person's login.
    by: String,
    scope: String,
    challenge: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uri: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aud: Option<String>,
}

impl Issuer<'_> {
    /// Checks an authorization request. `query` is the query of `/oauth/authorize`.
    pub async fn authorization(&self, query: &str) -> Result<Authorization, AuthorizationError> {
        let form = Form::parse(query.as_bytes()).map_err(|refusal| {
            AuthorizationError::ToPerson(format!("The request of the app is malformed: {refusal}.").into())
        })?;
        let id = form.text("client_id").ok_or(AuthorizationError::ToPerson(
            "The request of the app has no client_id. The app must send it.".into(),
        ))?;
        let id = ClientId::new(id).map_err(|_| AuthorizationError::UnknownClient)?;
        let (client, _) =
            self.sessions.parts().store.client(&id).await.map_err(AuthorizationError::CannotTell)?;
        let client = client.filter(|client| !client.disabled);
        let client = client.ok_or(AuthorizationError::UnknownClient)?;
        let issued_mark = form.text("redirect_uri").map(str::to_owned);
        let uri = match (&issued_mark, client.redirect_uris.as_slice()) {
            (Some(uri), known) if known.iter().any(|known| redirect::matches(known, uri)) => uri.clone(),
            (None, [only]) => only.clone(),
            (Some(_), _) => {
                return Err(AuthorizationError::ToPerson(
                    "The redirect_uri of this request is not registered for this app.".into(),
                ));
            }
            (None, _) => {
                return Err(AuthorizationError::ToPerson(
                    "The request of the app has no redirect_uri. It may be left out only if exactly one is \
                     registered for the app."
                        .into(),
                ));
            }
        };
        let back = RedirectTarget { uri, state: form.text("state").map(str::to_owned) };
        let audience = target::requested(&client, &form, self.url).map_err(|refusal| {
            (
                refusal.code(),
                "the audience or resource is not registered for this app, or there is more than one",
            )
        });
        let checked =
            check(&form, &client.scopes).and_then(|(scope, challenge)| Ok((scope, challenge, audience?)));
        match checked {
            Ok((scope, challenge, audience)) => {
                Ok(Authorization { client, back, scope, challenge, audience, issued_mark })
            }
            Err((error, description)) => {
                let said = [("error", error), ("error_description", description)];
                Err(AuthorizationError::ToApp(self.redirect_with(&back, &said)))
            }
        }
    }

    /// Issues a code for `user`, who is signed in by the session `login`. Returns the app's address with the code. The store
    /// records each issued code: a code that was forged with a stolen key ring is not recorded and is refused.
    ///
    /// # Errors
    ///
    /// `Denied::CannotTell` if the store does not answer, `Denied::Seal` if the code can't be sealed.
    pub async fn approve(
        &self,
        authorization: &Authorization,
        login: &SessionRow,
        user: &User,
    ) -> Result<AppRedirect, Denied> {
        let code = Code {
            id: user.id.to_string(),
            client: authorization.client.id.to_string(),
            sid: Sid::generate().map_err(SealError::from)?.to_string(),
            by: login.sid.to_string(),
            scope: authorization.scope.to_string(),
            challenge: authorization.challenge.clone(),
            uri: authorization.issued_mark.as_deref().map(digest),
            aud: authorization.audience.as_ref().map(|audience| audience.as_str().to_owned()),
        };
        let payload = serde_json::to_string(&code).expect("texts have a JSON form");
        let parts = self.sessions.parts();
        let code =
            parts.tokens.derive(&Purpose::code(), &Audience::own()).seal_at(&payload, parts.clock.now())?;
        self.spend(&issued_mark(code.as_str())).await?;
        Ok(self.redirect_with(&authorization.back, &[("code", code.as_str())]))
    }

    fn redirect_with(&self, back: &RedirectTarget, answer: &[(&str, &str)]) -> AppRedirect {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(answer);
        query.extend_pairs(back.state.iter().map(|state| ("state", state)));
        query.append_pair("iss", self.url);
        let mark = if back.uri.contains('?') { '&' } else { '?' };
        AppRedirect(format!("{}{mark}{}", back.uri, query.finish()))
    }

    /// Exchanges a code for tokens. A second use of a code ends the session that the first use began (RFC 6749, section 4.1.2).
    pub(super) async fn code(
        &self,
        client: &Client,
        form: &Form,
        device: Device,
    ) -> Result<Granted, Refusal> {
        let text = form.required("code", "the parameter code is missing")?;
        let verifier = form.required("code_verifier", "the parameter code_verifier is missing")?;
        let code =
            self.open(text).filter(|code| code.matches(client, form, verifier)).ok_or(Refusal::Grant)?;
        let sid: Sid = code.sid.parse().map_err(|_| Refusal::Grant)?;
        let login: Sid = code.by.parse().map_err(|_| Refusal::Grant)?;
        let id = UserId::new(code.id).map_err(|_| Refusal::Grant)?;
        let scope = code.scope.parse::<Scope>().map_err(|_| Refusal::Scope)?.and(&client.row.scopes);
        let granted = code.aud.map(Audience::new).transpose().map_err(|_| Refusal::Grant)?;
        let asked = target::requested(&client.row, form, self.url)?;
        let audience = target::select(granted.clone(), asked, &client.row)?;

        if self.spend(&issued_mark(text)).await? {
            return Err(Refusal::Grant);
        }
        let again = format!("{text} again");
        if !self.spend(text).await? {
            // The second use is recorded before the session is ended. So if the first request is just beginning the session, either
            // it sees this record or its session is found here.
            self.spend(&again).await?;
            return Err(self.end_of_code(sid).await?);
        }
        let user = self.sessions.parts().users.find(&id).await?.ok_or(Refusal::Grant)?;
        let grant = Grant { client: client.row.id.clone(), scope: scope.clone() };
        let issued = self.sessions.begin_for(&user, grant, sid, login, device, granted.as_ref()).await?;
        if !self.spend(&again).await? {
            return Err(self.end_of_code(sid).await?);
        }
        let expires_in = self.access_life();
        let access = self.sealed_for(&audience, &issued.principal, issued.access)?;
        let refresh = Some(SecretText::new(issued.refresh.into_string()));
        Ok(Granted { access, expires_in, scope, refresh, kind: None })
    }

    fn open(&self, code: &str) -> Option<Code> {
        let (parts, mut buffer) = (self.sessions.parts(), OpenBuffer::new());
        let keys = parts.tokens.derive(&Purpose::code(), &Audience::own());
        let opened = keys.open_at(code, parts.clock.now(), CODE_MAX_AGE, &mut buffer).ok()?;
        serde_json::from_str(opened.payload).ok()
    }

    async fn spend(&self, what: &str) -> Result<bool, StoreError> {
        let parts = self.sessions.parts();
        let until = parts.clock.now().plus(CODE_MAX_AGE + SKEW * 2);
        parts.store.mark_used(Sha256::digest(what).into(), until).await
    }

    async fn end_of_code(&self, sid: Sid) -> Result<Refusal, StoreError> {
        let event = AuditEvent::new(Event::SessionRevoked, Actor::System, sid.to_string())
            .with(serde_json::json!({"reason": "its authorization code was used twice"}));
        self.sessions.end(sid, event).await?;
        Ok(Refusal::Grant)
    }
}

/// Checks the parameters. The error goes to the app, as a code of RFC 6749, section 4.1.2.1, and a description.
fn check(form: &Form, most: &Scope) -> Result<(Scope, String), (&'static str, &'static str)> {
    let invalid = |description| ("invalid_request", description);
    match form.text("response_type") {
        Some("code") => {}
        Some(_) => return Err(("unsupported_response_type", "the parameter response_type must be code")),
        None => return Err(invalid("the parameter response_type is missing; it must be code")),
    }
    if form.text("response_mode").is_some_and(|mode| mode != "query") {
        return Err(invalid("the parameter response_mode must be query, or be left out"));
    }
    if form.text("code_challenge_method") != Some("S256") {
        return Err(invalid("the parameter code_challenge_method must be S256 (PKCE, RFC 7636)"));
    }
    let challenge = form.text("code_challenge").filter(|challenge| is_digest(challenge));
    let challenge = challenge.ok_or(invalid(
        "the parameter code_challenge must be a SHA-256 hash in 43 characters of base64url",
    ))?;
    let scope = form.scope().map_err(|_| ("invalid_scope", "the scope is malformed"))?;
    let scope = scope.unwrap_or_else(|| most.clone());
    match scope.is_within(most) {
        true => Ok((scope, challenge.to_owned())),
        false => Err(("invalid_scope", "the scope contains more than this app may request")),
    }
}

impl Code {
    /// Whether the code was issued for this client and this redirect URI, and `verifier` matches its challenge.
    fn matches(&self, client: &Client, form: &Form, verifier: &str) -> bool {
        let uri = form.text("redirect_uri").map(digest);
        let known = (43..=128).contains(&verifier.len());
        let proven: bool = digest(verifier).as_bytes().ct_eq(self.challenge.as_bytes()).into();
        self.client == client.row.id.as_str() && (self.uri.is_none() || self.uri == uri) && known && proven
    }
}

/// The name under which the store records that a code was issued.
fn issued_mark(code: &str) -> String {
    format!("{code} given")
}

/// SHA-256 in base64url, the form of a PKCE challenge.
fn digest(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(text))
}

fn is_digest(text: &str) -> bool {
    text.len() == 43 && URL_SAFE_NO_PAD.decode(text).is_ok()
}
