//! Forward-auth: a reverse proxy asks whether a request may pass before it sends it to an app. These routes only read: they set no
//! cookie and renew no session, because proxies lose or mangle `Set-Cookie` of such an answer.

use std::sync::Once;

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};

use crate::{
    http::{
        Bulla, Problem,
        bulla::Shared,
        guard::refusal::ClientKind,
        wire::{
            cookies::cookies_of_app,
            credentials::Authorization,
            forgery,
            identity::{self, Caller, PRESETS, Preset},
            lines::Lines,
            original::{Original, Unclear},
            path,
            request::{Header, Request},
            request_log,
        },
    },
    ids::{Audience, Purpose},
    problem::known,
    session::{Present, Principal},
};

/// What the proxy's configuration asks for, in the query of its request.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    /// The roles of which a person must have one.
    roles: Vec<String>,
    preset: Preset,
    /// The audience of the token in `Bulla-Token`.
    audience: Option<Audience>,
}

impl Asked {
    /// Reads the query. Some proxies append the query of the client to that of their configuration. So a parameter that is there
    /// twice is refused: the client could have added it.
    fn read(query: &str) -> Option<Self> {
        let (mut roles, mut preset, mut audience) = (None, None, None);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let former = match &*name {
                "role" => {
                    let words = value.split(',').filter(|word| !word.is_empty());
                    roles.replace(words.map(str::to_owned).collect::<Vec<_>>()).is_some()
                }
                "headers" => {
                    let found = PRESETS.iter().find(|(name, _)| *name == value).map(|(_, preset)| *preset);
                    preset.replace(found?).is_some()
                }
                "audience" => audience.replace(Audience::new(value).ok()?).is_some(),
                _ => false,
            };
            if former {
                return None;
            }
        }
        // An empty list of roles would admit everybody.
        if roles.as_ref().is_some_and(Vec::is_empty) {
            return None;
        }
        Some(Self { roles: roles.unwrap_or_default(), preset: preset.unwrap_or_default(), audience })
    }
}

/// The way in which a proxy takes a refusal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// 401 and 403 only; a navigation that must log in gets 401 with `Location`.
    Nginx,
    /// A navigation that must log in gets 302, and *can't tell* is 503.
    Redirect,
}

/// `/auth/verify`: answers 200, 401 or 403 only, because nginx turns every other status into 500.
pub(crate) async fn verify(bulla: web::Data<Bulla>, request: HttpRequest) -> HttpResponse {
    described(&bulla, &request, Refusal::Nginx).await
}

/// `/auth/verify/redirect`: the same for proxies that pass the answer on to the client (Caddy, Traefik, HAProxy).
pub(crate) async fn redirect(bulla: web::Data<Bulla>, request: HttpRequest) -> HttpResponse {
    described(&bulla, &request, Refusal::Redirect).await
}

/// `/auth/verify/envoy/…`: Envoy appends the path of the original request, and uses its method and its `Host`.
pub(crate) async fn envoy(bulla: web::Data<Bulla>, request: HttpRequest) -> HttpResponse {
    let shared = &bulla.0;
    if !is_from_proxy(shared, &request) {
        return refused(StatusCode::FORBIDDEN);
    }
    let target = request.uri().path_and_query().map_or("", |target| target.as_str());
    let target =
        target.strip_prefix(&shared.pages.at("/verify/envoy")).filter(|rest| !rest.is_empty()).unwrap_or("/");
    let original = Original::with_target(&request, request.method().as_str(), target);
    answer(shared, &original, &Asked::default(), Refusal::Redirect).await
}

async fn described(bulla: &Bulla, request: &HttpRequest, refusal: Refusal) -> HttpResponse {
    let shared = &bulla.0;
    if !is_from_proxy(shared, request) {
        return refused(StatusCode::FORBIDDEN);
    }
    let values = |name: &'static str| request.headers().get_all(name).map(|value| value.as_bytes()).collect();
    let original = match Original::described_in(request, values) {
        Ok(original) => original,
        Err(unclear) => {
            warn_once(unclear);
            return refused(StatusCode::FORBIDDEN);
        }
    };
    match Asked::read(request.query_string()) {
        Some(asked) => answer(shared, &original, &asked, refusal).await,
        None => refused(StatusCode::FORBIDDEN),
    }
}

/// Whether a proxy of `trusted_proxies` sent the request. Anybody else could describe a request that was never made.
fn is_from_proxy(shared: &Shared, request: &HttpRequest) -> bool {
    static FIRST: Once = Once::new();
    let trusted = request.peer_addr().is_some_and(|peer| shared.site.trusts(peer.ip()));
    if !trusted {
        FIRST.call_once(|| {
            tracing::warn!(
                "a request to /auth/verify was refused: its peer {} is not in trusted_proxies; add the address of the proxy that \
                 sends it. This message is logged only once",
                request.peer_addr().map(|peer| peer.ip().to_string()).unwrap_or_default()
            );
        });
    }
    trusted
}

fn warn_once(unclear: Unclear) {
    static FIRST: Once = Once::new();
    FIRST.call_once(|| {
        let what = match unclear {
            Unclear::Missing => "does not state the method and the address of the original request",
            Unclear::Ambiguous => "states the method, the address or the host of the original request in several ways",
        };
        tracing::warn!(
            "a request to /auth/verify was refused: it {what}; the proxy must set X-Original-Method and X-Original-URI, or \
             X-Forwarded-Method and X-Forwarded-Uri, once (docs/protect-any-app.md). This message is logged only once"
        );
    });
}

/// Decides about the original request by the access token, or by a refresh token that its row would rotate or repeat.
async fn answer(shared: &Shared, original: &impl Request, asked: &Asked, refusal: Refusal) -> HttpResponse {
    let decided = match path::check(original.path()) {
        Err(bad) => Err(Problem::bad_request(bad.0)),
        Ok(()) if !shared.site.serves(original) => Err(Problem::misdirected(shared.site.origin())),
        Ok(()) => decide(shared, original, &asked.roles).await,
    };
    match decided {
        Ok(caller) => admitted(shared, original, asked, &caller),
        Err(problem) => refuse(shared, original, &problem, refusal),
    }
}

async fn decide(shared: &Shared, original: &impl Request, roles: &[String]) -> Result<Caller, Problem> {
    let rule = shared.site.rule_for(original);
    let caller = match caller(shared, original).await {
        Ok(principal) => principal,
        Err(problem)
            if problem.code() == "unauthorized"
                && rule.is_some_and(|rule| rule.is_public)
                && roles.is_empty() =>
        {
            return Ok(Caller::Unknown);
        }
        Err(problem) => return Err(problem),
    };
    request_log::speaks_for(|| caller.id().to_string());
    if caller.grant().is_some() {
        return Err(Problem::program_not_admitted());
    }
    let has = |roles: &[String]| roles.is_empty() || caller.roles().iter().any(|role| roles.contains(role));
    match has(roles) && rule.is_none_or(|rule| has(&rule.roles)) {
        true => Ok(Caller::Person(caller)),
        false => Err(Problem::forbidden()),
    }
}

/// The person of a request. Changes nothing, except that an outdated refresh token ends its session, as everywhere.
async fn caller(shared: &Shared, original: &impl Request) -> Result<Principal, Problem> {
    match shared.schemes.read(original)? {
        Authorization::Bearer(token) => return Ok(shared.sessions().authenticate(token)?),
        Authorization::Basic { .. } => return Err(Problem::unauthorized()),
        Authorization::Absent => {}
    }
    let tokens = shared.cookie_tokens(original)??;
    let access = tokens.access.map(|token| shared.sessions().authenticate(token));
    if let Some(Ok(principal)) = access {
        return Ok(principal);
    }
    let Some(refresh) = tokens.refresh else { return Err(Problem::unauthorized()) };
    // A navigation renews the session on its way through /auth/continue. One that another site caused can't do that.
    let navigates = matches!(ClientKind::of(original, &shared.site), ClientKind::Person { .. });
    if navigates && !forgery::is_unsafe(original) && !forgery::is_cross_site(original) {
        return Err(Problem::unauthorized());
    }
    let present = known(shared.sessions().present(refresh, &shared.site.device(original)).await)?.flatten();
    let Present { row, user, now } = present.ok_or_else(Problem::unauthorized)?;
    Ok(Principal::of(&user, row.sid, None, now))
}

/// The answer that lets a request pass. It has all headers that the app gets instead of those of the client: the identity, and the
/// cookies of the app without those of Bulla.
fn admitted(shared: &Shared, original: &impl Request, asked: &Asked, caller: &Caller) -> HttpResponse {
    let mut answer = HttpResponse::Ok();
    let lines = original.values(Header::Cookie).map(cookies_of_app).filter(|line| !line.is_empty());
    answer.insert_header(("cookie", lines.collect::<Vec<_>>().join(&b"; "[..])));
    let mut lines = Lines::new();
    identity::add_headers(&mut lines, asked.preset, caller);
    for line in lines.finish() {
        answer.insert_header(line);
    }
    if let (Some(audience), Some((payload, issued_at))) = (&asked.audience, caller.payload()) {
        let keys = shared.sessions().parts().tokens.derive(&Purpose::access(), audience);
        match keys.seal_at(&payload, issued_at) {
            Ok(token) => drop(answer.insert_header((identity::TOKEN, token.as_str()))),
            Err(error) => {
                tracing::error!(%error, "a token for an app could not be sealed");
                return refused(StatusCode::FORBIDDEN);
            }
        }
    }
    answer.finish()
}

fn refuse(shared: &Shared, original: &impl Request, problem: &Problem, refusal: Refusal) -> HttpResponse {
    let navigates = matches!(ClientKind::of(original, &shared.site), ClientKind::Person { .. });
    let leads_to_login = navigates && !forgery::is_unsafe(original);
    let location = shared.site.continue_at(original, shared.cookies.are_shared(), shared.pages.prefix());
    match (problem.status(), refusal) {
        (401 | 503, Refusal::Nginx) if leads_to_login => {
            HttpResponse::Unauthorized().insert_header(("location", location)).finish()
        }
        (401, Refusal::Redirect) if leads_to_login => {
            HttpResponse::Found().insert_header(("location", location)).finish()
        }
        (401 | 503, Refusal::Nginx) => refused(StatusCode::UNAUTHORIZED),
        (401, Refusal::Redirect) => refused(StatusCode::UNAUTHORIZED),
        (503, Refusal::Redirect) => refused(StatusCode::SERVICE_UNAVAILABLE),
        _ => refused(StatusCode::FORBIDDEN),
    }
}

fn refused(status: StatusCode) -> HttpResponse {
    HttpResponse::build(status).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_names_roles_headers_and_audience_once_each() {
        let read = |query| Asked::read(query);
        assert_eq!(read(""), Some(Asked::default()));
        let asked = read("role=admin,boss&headers=authentik&audience=reports&x=1").unwrap();
        assert_eq!(asked.roles, ["admin", "boss"]);
        assert_eq!(asked.preset, Preset::Authentik);
        assert_eq!(asked.audience.unwrap().as_str(), "reports");
        for refused in [
            "role=admin&role=user",
            "role=admin&x=1&ro%6ce=user",
            "role=",
            "role=,",
            "headers=other",
            "headers=remote&headers=authentik",
            "audience=A%20B",
        ] {
            assert_eq!(read(refused), None, "{refused}");
        }
    }
}
