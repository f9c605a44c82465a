//! The gateway: authenticates requests by the steps of docs/design/sessions.md and passes them on to an app in any language.
//!
//! `upstream` has the settings of an app, and `app` admits callers and sends requests to it. `head`
//! changes the headers, `connect` makes connections, `probes` lets the kernel
//! probe them, and `body` and `tunnel` pass bytes on. The server in
//! `http/server` reads the requests and answers Bulla's own routes itself.

mod app;
mod app_stream;
mod body;
mod connect;
mod head;
mod probes;
mod tunnel;
mod upstream;

use std::{future::pending, pin::Pin, sync::Arc};

use http_body_util::Full;
use hyper::{
    Method, Response, StatusCode,
    body::{Body, Bytes, Incoming},
    header::{self, HeaderValue},
    http::request::Parts,
    upgrade::OnUpgrade,
};

pub use self::upstream::{UPSTREAM_FIELDS, UpstreamSettings};
use self::{app::App, body::Ended, head::Passed, tunnel::TunnelEnd};
pub(crate) use self::{body::AnswerBody, probes::enable as probe_idle_connections};
use crate::{
    http::{
        Bulla, Problem,
        guard::refusal::ClientKind,
        tower::{add_renewed, response},
        wire::{cookies::SetCookies, identity::Caller, path},
    },
    session::Sessions,
};

/// The apps of one thread.
pub(crate) struct Gateway {
    bulla: Bulla,
    upstreams: Vec<App>,
}

/// The content of an answer.
pub(crate) enum Content {
    Text(Full<Bytes>),
    App(AnswerBody),
}

/// An answer, and the task of the upgraded connection that begins with it.
pub(crate) struct Outcome {
    pub(crate) answer: Response<Content>,
    pub(crate) tunnel: Option<Tunnel>,
}

pub(crate) type Tunnel = Pin<Box<dyn Future<Output = ()>>>;

/// The request of a client.
pub(crate) struct Arrived {
    pub(crate) parts: Parts,
    pub(crate) kind: ClientKind,
    pub(crate) body: Incoming,
    /// The client's connection, if it can be upgraded.
    pub(crate) upgrade: Option<OnUpgrade>,
    /// Called when an upgraded connection begins to pass bytes on.
    pub(crate) opened: Box<dyn FnOnce()>,
}

impl Gateway {
    /// The apps with these settings.
    ///
    /// # Errors
    ///
    /// The certificates for an app can't be read.
    pub(crate) fn new(bulla: &Bulla, settings: &[UpstreamSettings]) -> Result<Self, String> {
        let mut upstreams = settings.iter().map(|one| App::new(bulla, one)).collect::<Result<Vec<_>, _>>()?;
        // The longest path first, and among equal ones that of one host before that of every host.
        upstreams
            .sort_by_key(|one| (std::cmp::Reverse(one.settings.path.len()), one.settings.host.is_none()));
        Ok(Self { bulla: bulla.clone(), upstreams })
    }

    /// Answers a request that is not for one of Bulla's own routes.
    pub(crate) async fn answer(&self, arrived: Arrived) -> Outcome {
        let shared = &*self.bulla.0;
        let mut cookies = SetCookies::default();
        let Arrived { parts, kind, body, upgrade, opened } = arrived;
        let passed = self.pass(parts, body, upgrade, opened, &mut cookies).await;
        let mut outcome = passed.unwrap_or_else(|problem| Outcome {
            answer: response::<String>(shared.refuse_kind(&kind, &problem))
                .map(|text| Content::Text(text.into())),
            tunnel: None,
        });
        add_renewed(outcome.answer.headers_mut(), cookies);
        outcome
    }

    async fn pass(
        &self,
        mut parts: Parts,
        body: Incoming,
        upgrade: Option<OnUpgrade>,
        opened: Box<dyn FnOnce()>,
        cookies: &mut SetCookies,
    ) -> Result<Outcome, Problem> {
        let shared = &*self.bulla.0;
        let origin = shared.site.origin_of(&parts);
        let upstream = self.upstream(&parts, origin)?;
        // An app that reads this header itself gets it untouched; the cookies decide here.
        let authorization = upstream
            .settings
            .authorization_of_app
            .then(|| parts.headers.get_all(header::AUTHORIZATION).iter().cloned().collect::<Vec<_>>());
        if authorization.is_some() {
            parts.headers.remove(header::AUTHORIZATION);
        }
        let caller = upstream.admit(&self.bulla, &parts, cookies).await?;
        let passed = Passed {
            upstream: &upstream.settings,
            caller: &caller,
            address: shared.site.address(&parts),
            origin,
            token: upstream.token(&self.bulla, &caller)?,
            authorization_is_bullas: authorization.is_none(),
        };
        let asked =
            head::upgrade(&parts, &upstream.settings).filter(|_| upgrade.is_some()).map(str::to_owned);
        let waits = head::expects_continue(&parts);
        head::to_app(&mut parts, &passed, asked.as_deref());
        for line in authorization.into_iter().flatten() {
            parts.headers.append(header::AUTHORIZATION, line);
        }
        let mut answer = upstream.send(parts, body, waits).await?;
        if !head::states_one_length(answer.headers()) {
            tracing::warn!(
                upstream = upstream.url(),
                "an upstream did not state the length of its answer in one way"
            );
            return Err(Problem::bad_gateway());
        }
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            let (Some(asked), Some(client)) = (asked, upgrade) else { return Err(Problem::bad_gateway()) };
            let granted = answer.headers().get(header::UPGRADE).and_then(|value| value.to_str().ok());
            if !granted.is_some_and(|granted| granted.eq_ignore_ascii_case(&asked)) {
                return Err(Problem::bad_gateway());
            }
            let app = hyper::upgrade::on(&mut answer);
            head::to_client(answer.headers_mut(), Some(&asked));
            let tunnel = self.tunnel(client, app, opened, &caller);
            let answer = answer.map(|_| Content::Text(Full::default()));
            return Ok(Outcome { answer, tunnel: Some(tunnel) });
        }
        head::to_client(answer.headers_mut(), None);
        if upstream.admits.is_optional() {
            answer.headers_mut().append(header::VARY, HeaderValue::from_static("cookie"));
        }
        Ok(Outcome { answer: self.watched(upstream, caller, answer), tunnel: None })
    }

    /// The upstream of a request: that of the request's host with the longest prefix. `origin` is that of the request's host.
    fn upstream(&self, parts: &Parts, origin: &str) -> Result<&App, Problem> {
        let path = parts.uri.path();
        path::check(path).map_err(|bad| Problem::bad_request(bad.0))?;
        if parts.method == Method::CONNECT || parts.method == Method::TRACE {
            return Err(Problem::method_not_allowed("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
        }
        let host = origin.split_once("://").map_or(origin, |(_, host)| host);
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        type IsBelow = fn(&str, &str) -> bool;
        let of = |path: &str, is_below: IsBelow| {
            self.upstreams.iter().position(|one| {
                one.settings.host.as_deref().is_none_or(|ours| ours == host)
                    && is_below(path, &one.settings.path)
            })
        };
        let selected = of(path, path::is_below);
        let readings = path::readings(path).map_err(|bad| Problem::bad_request(bad.0))?;
        let mut others = readings
            .iter()
            .map(|read| of(read, path::is_below))
            .chain([of(&readings[1], path::is_below_in_any_case)]);
        if others.any(|other| other != selected) {
            return Err(Problem::bad_request("The path can be read in several ways."));
        }
        selected.and_then(|at| self.upstreams.get(at)).ok_or_else(Problem::not_found)
    }

    /// The answer of an app, whose body ends with the session of the caller.
    fn watched(&self, upstream: &App, caller: Caller, answer: Response<Incoming>) -> Response<Content> {
        let (idle, cut_downloads) = (upstream.settings.idle_timeout, upstream.settings.cut_downloads);
        let (head, body) = answer.into_parts();
        let is_stream = || {
            let kind = head.headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
            kind.len() >= 17 && kind[..17].eq_ignore_ascii_case(b"text/event-stream")
        };
        let is_watched = !body.is_end_stream() && (cut_downloads || is_stream());
        let body = AnswerBody::new(body, idle);
        let body = match caller.sid().filter(|_| is_watched) {
            Some(sid) => {
                let sessions = Arc::clone(&self.bulla.0.installation.sessions);
                let counting = Arc::clone(&sessions);
                body.until(
                    move || ended(&sessions, &caller).unwrap_or_else(|| Box::pin(pending())),
                    move || counting.count_cut_stream(sid),
                )
            }
            None => body,
        };
        Response::from_parts(head, Content::App(body))
    }

    fn tunnel(
        &self,
        client: OnUpgrade,
        app: OnUpgrade,
        opened: Box<dyn FnOnce()>,
        caller: &Caller,
    ) -> Tunnel {
        let sessions = Arc::clone(&self.bulla.0.installation.sessions);
        let (until, sid) = (ended(&sessions, caller), caller.sid());
        Box::pin(async move {
            let end = tunnel::join(client, app, opened, until).await;
            if let (TunnelEnd::SessionEnded, Some(sid)) = (end, sid) {
                sessions.count_cut_stream(sid);
            }
        })
    }
}

/// Completes when the session of a person ends, or when the service token of a machine does. `None` if the caller is unknown.
fn ended(sessions: &Arc<Sessions>, caller: &Caller) -> Option<Ended> {
    match caller {
        Caller::Person(principal) => Some(Box::pin(principal.ended())),
        Caller::Machine(machine) => Some(Box::pin(sessions.service_ended(machine))),
        Caller::Unknown => None,
    }
}
