//! The app of the whole server: all routes, and the middleware around each request.

use std::sync::atomic::Ordering;

use actix_web::{
    App, Error, HttpResponse,
    body::{EitherBody, MessageBody},
    dev::{ServiceFactory, ServiceRequest, ServiceResponse},
    middleware::{Next, from_fn},
    web::{self, ServiceConfig},
};

use crate::http::{
    Bulla, Problem,
    guard::refusal::ClientKind,
    routes::{
        adapt_errors, admin_routes, body, catch_panic, get, health_routes, methods, metrics_routes,
        not_found, oauth_routes, query,
    },
    server::{incoming, misdirected, openapi},
    wire::request_log::{self, Line},
};

/// The largest sum of all headers of a request, in bytes. The two cookies take up to 8 KiB.
const MAX_HEADERS: usize = 32 << 10;

/// The set of requests that a listener answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    /// All requests.
    Whole,
    /// All requests except probes and metrics, which have their own listener.
    Public,
    /// The routes for people and programs that the gateway answers itself. Every other path belongs to an app.
    BesideApps,
    /// Probes and metrics only.
    Admin,
    /// Probes, metrics and the administration, which a script of an app behind the gateway must not reach with a person's cookies.
    AdminBesideApps,
}

impl Listener {
    /// Whether requests may name any host.
    fn is_admin(self) -> bool {
        matches!(self, Self::Admin | Self::AdminBesideApps)
    }
}

/// All routes of the server.
fn server_routes(bulla: &Bulla, listener: Listener, app: &mut ServiceConfig) {
    app.app_data(web::Data::new(bulla.clone())).app_data(query()).default_service(web::to(not_found));
    // The router decides, so no other spelling of a path leads to the wrong listener.
    if listener == Listener::Whole || listener.is_admin() {
        app.configure(|app| health_routes(bulla, app)).configure(|app| metrics_routes(bulla, app));
    }
    if matches!(listener, Listener::Whole | Listener::Public | Listener::BesideApps) {
        app.configure(bulla.routes()).configure(|app| oauth_routes(bulla, app));
    }
    if matches!(listener, Listener::Whole | Listener::Public) {
        app.service(methods("/", "GET, HEAD").route(get().to(home)));
    }
    if matches!(listener, Listener::Whole | Listener::Public | Listener::AdminBesideApps) {
        app.configure(|app| admin_routes(bulla, app))
            .service(methods("/openapi.json", "GET, HEAD").route(get().to(openapi::document)));
    }
}

async fn home(bulla: web::Data<Bulla>) -> HttpResponse {
    body::see_other(&bulla.0.pages.at("/account"))
}

/// The middleware around every request: checks whether the request is admitted, counts the answer and logs a line.
async fn observe(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let arrived = incoming::begin(&mut request);
    let Some(bulla) = request.app_data::<web::Data<Bulla>>().cloned() else {
        let response = catch_panic(next.call(request)).await?;
        return Ok(incoming::answered(response.map_into_left_body().map_into_left_body(), arrived));
    };
    let line = Line::of(request.request(), &bulla.0.site);
    let (response, who) = request_log::follow(line.as_ref(), admit(&bulla, request, next)).await;
    let status = match &response {
        Ok(response) => response.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    if let Some(count) = bulla.0.answers.get(usize::from(status.as_u16() / 100)) {
        count.fetch_add(1, Ordering::Relaxed);
    }
    if let Some(line) = line {
        line.write(status.as_u16(), who.as_deref());
    }
    Ok(incoming::answered(response?, arrived))
}

/// Passes a request on if its headers are small enough and it is for a host of this server (probes may name any host) and for this
/// listener.
async fn admit<B: MessageBody + 'static>(
    bulla: &Bulla,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<EitherBody<B>>>, Error> {
    let path = request.path();
    let is_admin = request.app_data::<Listener>().is_some_and(|listener| listener.is_admin());
    // A proxy asks about a request for another host, which `verify` checks.
    let is_question = path.starts_with(&bulla.0.pages.at("/verify"));
    let any_host = is_admin || is_question || path.starts_with("/health/") || path == "/metrics";
    let weight: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let refused = if weight > MAX_HEADERS {
        Some(Problem::headers_too_large())
    } else {
        let expected = || Problem::misdirected(bulla.0.site.origin());
        (!any_host && !bulla.0.site.serves(request.request())).then(expected)
    };
    if refused.as_ref().is_some_and(|problem| problem.code() == "misdirected") {
        misdirected::log_once(request.request(), &bulla.0.site);
    }
    let client_kind = ClientKind::of(request.request(), &bulla.0.site);
    let answer = match refused {
        None => catch_panic(next.call(request)).await.map(ServiceResponse::map_into_left_body),
        Some(problem) => Ok(request.error_response(problem).map_into_right_body()),
    };
    adapt_errors(bulla, client_kind, answer)
}

/// The app of the whole server, for one listener.
pub(crate) fn app(
    bulla: Bulla,
    listener: Listener,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody + 'static>,
        Error = Error,
        InitError = (),
    >,
> {
    App::new()
        .app_data(listener)
        .wrap(from_fn(observe))
        .configure(move |app| server_routes(&bulla, listener, app))
}
