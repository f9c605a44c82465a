//! An app behind the gateway: admits callers, seals tokens for it, and sends requests to it.

use std::{cell::RefCell, sync::Arc};

use hyper::{
    Method, Request, Response, StatusCode, Uri,
    body::{Body, Incoming},
    header::HeaderValue,
    http::{
        request::Parts,
        uri::{Authority, PathAndQuery, Scheme},
    },
};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::{
    body::{Cut, Progress, RequestBody},
    connect::{self, AppClient},
    upstream::{Target, UpstreamSettings},
};
use crate::{
    http::{
        Bulla, Problem,
        guard::admits::{Admission, Admits, Decision},
        wire::{cookies::SetCookies, identity::Caller},
    },
    ids::Purpose,
    keyring::Ring,
    token::TokenKeys,
};

/// How often a request is sent again if its connection was lost. A connection that waited for a request may just have been closed.
const RETRIES: usize = 1;

/// An app behind the gateway, as one thread uses it.
pub(super) struct App {
    pub(super) settings: UpstreamSettings,
    pub(super) admits: Admits,
    client: AppClient,
    scheme: Scheme,
    authority: Authority,
    /// The keys of the upstream's audience, with the ring from which they were derived.
    keys: RefCell<Option<(Arc<Ring>, TokenKeys)>>,
}

impl App {
    /// # Errors
    ///
    /// The certificates for the app can't be read.
    pub(super) fn new(bulla: &Bulla, settings: &UpstreamSettings) -> Result<Self, String> {
        let origin = match &settings.target {
            Target::Http(origin) | Target::Https(origin, _) => origin.as_str(),
            Target::Unix(_) => "http://localhost",
        };
        let bad = |error: &dyn std::error::Error| format!("the url {origin} can't be used: {error}");
        let uri: Uri = origin.parse().map_err(|error| bad(&error))?;
        let uri = uri.into_parts();
        Ok(Self {
            admits: admits(bulla, settings),
            client: connect::client(settings)?,
            scheme: uri.scheme.unwrap_or(Scheme::HTTP),
            authority: uri.authority.unwrap_or(Authority::from_static("localhost")),
            settings: settings.clone(),
            keys: RefCell::default(),
        })
    }

    /// The caller of a request, if the upstream admits it. Adds the cookies of a renewal.
    pub(super) async fn admit(
        &self,
        bulla: &Bulla,
        parts: &Parts,
        cookies: &mut SetCookies,
    ) -> Result<Caller, Problem> {
        let shared = &*bulla.0;
        let caller = match self.admits.decide(shared, parts) {
            Decision::Machine(machine) => return Ok(Caller::Machine(machine)),
            Decision::Person(principal) => Some(principal),
            Decision::Refused(problem) => return Err(problem),
            Decision::Undecided(tried) => {
                // On the heap: most requests need no further step, and each of their futures would have room for it.
                let steps = Box::pin(self.admits.authenticate_request(shared, parts, tried));
                let Admission { decision, cookies: renewed } = steps.await;
                *cookies = renewed;
                decision?
            }
        };
        let Some(principal) = caller else { return Ok(Caller::Unknown) };
        let access = &self.settings.access;
        if principal.grant().is_none() && !access.people && !access.public {
            return Err(Problem::forbidden());
        }
        Ok(Caller::Person(principal))
    }

    /// The token that names the caller to the app, if the settings ask for one.
    pub(super) fn token(&self, bulla: &Bulla, caller: &Caller) -> Result<Option<HeaderValue>, Problem> {
        let Some(audience) = &self.settings.audience else { return Ok(None) };
        let Some((payload, issued_at)) = caller.payload() else { return Ok(None) };
        let tokens = &bulla.sessions().parts().tokens;
        let ring = tokens.ring();
        let mut keys = self.keys.borrow_mut();
        if !keys.as_ref().is_some_and(|(of, _)| Arc::ptr_eq(of, &ring)) {
            *keys = Some((ring, tokens.derive(&Purpose::access(), audience)));
        }
        let Some((_, keys)) = &*keys else { return Err(Problem::internal()) };
        let sealed = keys.seal_at(&payload, issued_at).map_err(|error| {
            tracing::error!(%error, "a token for an upstream could not be sealed");
            Problem::unavailable()
        })?;
        Ok(HeaderValue::from_str(sealed.as_str()).ok())
    }

    /// Sends a request to the app, once more if the connection was lost before an answer and the request can be repeated.
    pub(super) async fn send(
        &self,
        mut parts: Parts,
        body: Incoming,
        waits: bool,
    ) -> Result<Response<Incoming>, Problem> {
        let mut uri = parts.uri.into_parts();
        uri.scheme = Some(self.scheme.clone());
        uri.authority = Some(self.authority.clone());
        uri.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
        parts.uri = Uri::from_parts(uri)
            .map_err(|_| Problem::bad_request("The address of the request is malformed."))?;
        parts.version = hyper::Version::HTTP_11;
        parts.extensions = Default::default();
        let has_body = !body.is_end_stream();
        let progress = Progress::new();
        if !has_body && is_safe(&parts.method) {
            for _ in 0..RETRIES {
                let request = Request::from_parts(parts.clone(), RequestBody::none(&progress));
                match self.request(request, &progress).await {
                    Err(Failure::Lost) => {}
                    answered => return answered.map_err(|failure| self.problem(&failure)),
                }
            }
        }
        let (given, permission) = watch::channel(false);
        let body = match has_body {
            true => RequestBody::of_client(
                body,
                &progress,
                self.settings.idle_timeout,
                waits.then_some(permission),
            ),
            false => RequestBody::none(&progress),
        };
        let mut request = Request::from_parts(parts, body);
        if waits && has_body {
            hyper::ext::on_informational(&mut request, move |answer| {
                if answer.status() == StatusCode::CONTINUE {
                    given.send_replace(true);
                }
            });
        }
        self.request(request, &progress).await.map_err(|failure| self.problem(&failure))
    }

    /// Waits for the head of the answer: the answer timeout counts from the last byte of the request.
    async fn request(
        &self,
        request: Request<RequestBody>,
        progress: &Progress,
    ) -> Result<Response<Incoming>, Failure> {
        let mut answer = std::pin::pin!(self.client.request(request));
        loop {
            let due = progress.last() + self.settings.answer_timeout;
            match timeout_at(due, answer.as_mut()).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) if error.is_connect() => return Err(Failure::Connect(innermost(&error))),
                Ok(Err(error)) => {
                    let cut = cause(&error);
                    tracing::debug!(%error, "a request to an upstream failed");
                    return Err(cut.map_or(Failure::Lost, Failure::Body));
                }
                Err(_) if progress.last() + self.settings.answer_timeout > Instant::now() => {}
                Err(_) => return Err(Failure::Slow),
            }
        }
    }

    /// The origin of the app, for the log.
    pub(super) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.authority)
    }

    fn problem(&self, failure: &Failure) -> Problem {
        match failure {
            Failure::Connect(why) => {
                tracing::warn!(upstream = self.url(), %why, "an upstream does not accept connections");
                Problem::bad_gateway()
            }
            Failure::Lost => {
                tracing::warn!(upstream = self.url(), "an upstream closed the connection before its answer");
                Problem::bad_gateway()
            }
            Failure::Slow => {
                tracing::warn!(upstream = self.url(), "an upstream did not answer in time");
                Problem::gateway_timeout()
            }
            Failure::Body(Cut::Idle) => Problem::too_slow(),
            Failure::Body(_) => Problem::bad_request("The body of the request broke off."),
        }
    }
}

/// Why a request got no answer.
#[derive(Debug)]
enum Failure {
    Connect(String),
    /// The connection was lost after the request was sent, or while it was.
    Lost,
    Slow,
    /// The client's body failed.
    Body(Cut),
}

/// Whether a request only reads, so that it can be sent twice (RFC 9110, section 9.2.1).
fn is_safe(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS].contains(method)
}

fn cause(error: &dyn std::error::Error) -> Option<Cut> {
    let mut next = error.source();
    while let Some(error) = next {
        if let Some(cut) = error.downcast_ref::<Cut>() {
            return Some(*cut);
        }
        next = error.source();
    }
    None
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// The guard's options for an upstream.
fn admits(bulla: &Bulla, settings: &UpstreamSettings) -> Admits {
    let access = &settings.access;
    let mut admits = Admits::people(&bulla.0);
    access.roles.iter().for_each(|role| admits.add_role(role));
    for scope in &access.scopes {
        if access.apps {
            admits.add_apps(scope);
        }
        if access.machines {
            admits.add_machines(scope);
        }
    }
    if access.public {
        admits.make_optional();
    }
    admits
}
