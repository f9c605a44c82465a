//! Login by an ID token that the client presents itself, with a nonce of this server that can be used once (step 3 of
//! authentication).

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use crate::{
    http::{
        Bulla, Problem,
        actix::add_cookies,
        bulla::Shared,
        guard::login_cookies::login_id,
        routes::body,
        wire::cookies::{CookieJar, SetCookies},
    },
    login::openid::{LIFE, Pending, PresentedToken},
    secret::Secret,
    store::Transport,
};

#[derive(Deserialize)]
pub(crate) struct For {
    #[serde(default)]
    transport: Option<String>,
}

/// `POST /auth/login/nonce`: issues a nonce for an ID token. The nonce is bound to a cookie of this browser or, for transport
/// `body`, to the ticket in the answer.
pub(crate) async fn nonce(
    bulla: web::Data<Bulla>,
    request: HttpRequest,
    body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let shared = &bulla.0;
    let (input, _) = body::read::<For>(&request, &body)?;
    let cookie_tokens = shared.cookies.read(&request).unwrap_or_default();
    shared.site.refuse_forgery(&request, cookie_tokens.any())?;
    let nonce = Secret::<32>::generate().map_err(|_| Problem::unavailable())?.to_base64url().to_string();
    let mut answer = serde_json::json!({"nonce": nonce, "expires_in": LIFE.as_secs()});
    if input.transport.as_deref() == Some("body") {
        answer["ticket"] = shared.logins().seal_pending(Pending::Body { nonce })?.as_str().into();
        return Ok(HttpResponse::Ok().json(answer));
    }
    let mut cookies = SetCookies::default();
    shared.keep(&request, &mut cookies, &nonce.clone(), Pending::Cookie { nonce })?;
    let mut response = HttpResponse::Ok().json(answer);
    add_cookies(response.headers_mut(), &cookies);
    Ok(response)
}

/// `POST /auth/login` with a token of a provider.
pub(crate) async fn login(
    shared: &Shared,
    request: &HttpRequest,
    presented: &PresentedToken,
    transport: Transport,
) -> Result<HttpResponse, Problem> {
    let cookie_tokens = shared.cookies.read(request).unwrap_or_default();
    let (requester, kept) = (shared.site.requester(request), cookie_tokens.login(&presented.nonce));
    let issued =
        shared.logins().by_presented(&requester, presented, kept, transport, cookie_tokens.refresh).await?;
    let mut response = shared.with_cookies(shared.tokens(&issued), &issued);
    if transport != Transport::Body {
        let mut cookies = SetCookies::default();
        CookieJar::clear_login(&mut cookies, &login_id(&presented.nonce));
        add_cookies(response.headers_mut(), &cookies);
    }
    Ok(response)
}
