//! The table of all routes, and the middleware around each request.

use std::sync::atomic::Ordering;

use actix_web::{
    App, Error, HttpResponse, Route,
    body::{EitherBody, MessageBody},
    dev::{ServiceFactory, ServiceRequest, ServiceResponse},
    error::JsonPayloadError,
    guard,
    middleware::{Next, from_fn},
    web::{self, ServiceConfig, delete, post, resource, scope},
};

use crate::{
    http::{
        Bulla, Problem,
        guard::refusal::ClientKind,
        routes::{
            account, admin, administrator, assets, authorize, body,
            catch_panic::catch_panic,
            clients,
            harden::{adapt_errors, secure},
            health, identities, login, misdirected, oauth, openapi, presented, provider, renewal,
        },
        wire::{
            incoming,
            request_log::{self, Line},
        },
    },
    jws,
};

/// The largest sum of all headers of a request, in bytes. The two cookies take up to 8 KiB.
const MAX_HEADERS: usize = 32 << 10;

impl Bulla {
    /// The routes under `/auth` (login, refresh, logout, devices, …), for [`actix_web::App::configure`].
    pub fn routes(&self) -> impl FnOnce(&mut ServiceConfig) + Clone + 'static {
        let bulla = self.clone();
        move |app| auth(&bulla, app)
    }
}

/// The routes under `/auth`. Routes behind the guard know the caller; the others use the refresh token or no token.
fn auth(bulla: &Bulla, app: &mut ServiceConfig) {
    let guarded = || scope("").wrap(bulla.guard());
    // This is the only route under `/auth` that also admits apps.
    let for_apps_too = bulla.guard().and_every_app();
    let hardening = bulla.clone();
    app.service(
        scope("/auth")
            .app_data(web::Data::new(bulla.clone()))
            .app_data(web::PayloadConfig::new(body::MAX))
            .app_data(query())
            .wrap(from_fn(move |request, next| secure(hardening.clone(), request, next)))
            .service(
                methods("/login", "GET, HEAD, POST")
                    .app_data(web::PayloadConfig::new(body::MAX + jws::LONGEST))
                    .route(get().to(login::page))
                    .route(post().to(login::login)),
            )
            .service(methods("/login/nonce", "POST").route(post().to(presented::nonce)))
            .service(methods("/provider/{name}", "GET").route(get().to(provider::start)))
            .service(methods("/provider/{name}/callback", "GET").route(get().to(provider::callback)))
            .service(methods("/refresh", "POST").route(post().to(renewal::refresh)))
            .service(methods("/continue", "GET, HEAD").route(get().to(renewal::continue_to)))
            .service(methods("/logout", "POST").route(post().to(renewal::logout)))
            .service(methods("/authorize", "GET, HEAD").route(get().to(authorize::finish)))
            .service(methods("/assets/forget.svg", "GET, HEAD").route(get().to(assets::forget)))
            .service(methods("/assets/{name}", "GET, HEAD").route(get().to(assets::asset)))
            .service(methods("/session", "GET, HEAD").wrap(for_apps_too).route(get().to(account::who)))
            .service(
                guarded()
                    .service(methods("/account", "GET, HEAD").route(get().to(account::page)))
                    .service(methods("/sessions", "GET, HEAD").route(get().to(account::sessions)))
                    .service(methods("/sessions/{sid}", "DELETE").route(delete().to(account::end)))
                    .service(methods("/sessions/{sid}/end", "POST").route(post().to(account::end)))
                    .service(methods("/identities", "GET").route(get().to(identities::list)))
                    .service(methods("/identities/unlink", "POST").route(post().to(identities::unlink)))
                    .service(methods("/provider/{name}/link", "POST").route(post().to(identities::link)))
                    .service(methods("/password", "POST").route(post().to(account::password)))
                    .default_service(web::to(not_found)),
            ),
    );
}

/// The OAuth routes, for programs.
fn oauth_routes(bulla: &Bulla, app: &mut ServiceConfig) {
    let hardening = bulla.clone();
    app.service(
        scope("/oauth")
            .app_data(web::PayloadConfig::new(body::MAX))
            .wrap(from_fn(oauth::for_pages))
            .wrap(from_fn(move |request, next| secure(hardening.clone(), request, next)))
            .service(methods("/authorize", "GET, HEAD").route(get().to(authorize::begin)))
            .service(methods("/token", "POST").route(post().to(oauth::token)))
            .service(methods("/revoke", "POST").route(post().to(oauth::revoke)))
            .service(methods("/introspect", "POST").route(post().to(oauth::introspect)))
            .default_service(web::to(not_found)),
    )
    .service(
        methods("/.well-known/oauth-authorization-server", "GET, HEAD")
            .wrap(from_fn(oauth::for_pages))
            .route(get().to(oauth::about)),
    );
}

/// The routes for probes and monitoring.
fn probes(app: &mut ServiceConfig) {
    app.service(methods("/health/live", "GET, HEAD").route(get().to(health::live)))
        .service(methods("/health/ready", "GET, HEAD").route(get().to(health::ready)))
        .service(methods("/metrics", "GET, HEAD").route(get().to(health::metrics)));
}

/// The set of requests that a listener answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    /// All requests.
    Whole,
    /// All requests except probes and metrics, which have their own listener.
    Public,
    /// Probes and metrics only.
    Admin,
}

/// All routes of the server.
fn server_routes(bulla: &Bulla, listener: Listener, app: &mut ServiceConfig) {
    let hardening = bulla.clone();
    app.app_data(web::Data::new(bulla.clone()))
        .app_data(json())
        .app_data(query())
        .default_service(web::to(not_found));
    // The router decides, so no other spelling of a path leads to the wrong listener.
    if listener != Listener::Public {
        app.configure(probes);
    }
    if listener == Listener::Admin {
        return;
    }
    app.configure(bulla.routes())
        .configure(|app| oauth_routes(bulla, app))
        .service(methods("/", "GET, HEAD").route(get().to(home)))
        .service(methods("/openapi.json", "GET, HEAD").route(get().to(openapi::document)))
        .service(
            scope("/admin")
                .wrap(bulla.guard().and_apps(administrator::ADMIN).and_machines(administrator::ADMIN))
                .wrap(from_fn(move |request, next| secure(hardening.clone(), request, next)))
                .service(
                    methods("/users", "GET, HEAD, POST")
                        .route(get().to(admin::users))
                        .route(post().to(admin::add_user)),
                )
                .service(
                    methods("/users/{id}", "GET, HEAD, PATCH, DELETE")
                        .route(get().to(admin::user))
                        .route(web::patch().to(admin::change_user))
                        .route(delete().to(admin::delete_user)),
                )
                .service(
                    methods("/sessions", "GET, HEAD, DELETE")
                        .route(get().to(admin::sessions))
                        .route(delete().to(admin::end_sessions)),
                )
                .service(methods("/sessions/{sid}", "DELETE").route(delete().to(admin::end_session)))
                .service(
                    methods("/clients", "GET, HEAD, POST")
                        .route(get().to(clients::list))
                        .route(post().to(clients::add)),
                )
                .service(
                    methods("/clients/{id}", "GET, HEAD, PATCH, DELETE")
                        .route(get().to(clients::show))
                        .route(web::patch().to(clients::change))
                        .route(delete().to(clients::delete)),
                )
                .service(methods("/clients/{id}/secret", "POST").route(post().to(clients::rotate)))
                .service(methods("/revocations", "GET, HEAD").route(get().to(admin::revocations)))
                .service(methods("/keys", "GET, HEAD").route(get().to(admin::keys)))
                .service(methods("/audit", "GET, HEAD").route(get().to(admin::audit)))
                .default_service(web::to(not_found)),
        );
}

/// A route that answers GET and also HEAD (RFC 9110, section 9.1). The body is not sent for HEAD.
fn get() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// A path with its methods. Other methods are answered with 405 and `Allow`.
fn methods(path: &str, allow: &'static str) -> actix_web::Resource {
    resource(path).default_service(web::to(move || async move {
        Err::<HttpResponse, _>(Problem::method_not_allowed(allow))
    }))
}

fn json() -> web::JsonConfig {
    web::JsonConfig::default().limit(body::MAX).error_handler(|error, _| match &error {
        JsonPayloadError::Deserialize(why) => body::complaint(why).unwrap_or_else(body::malformed).into(),
        _ => error.into(),
    })
}

fn query() -> web::QueryConfig {
    web::QueryConfig::default().error_handler(|error, _| {
        let malformed = || Problem::bad_request("The query is malformed.");
        body::complaint(&error).unwrap_or_else(malformed).into()
    })
}

async fn home() -> HttpResponse {
    body::see_other("/auth/account")
}

async fn not_found() -> Result<HttpResponse, Problem> {
    Err(Problem::not_found())
}

/// Surrounds every request: admits it, counts the answer and logs a line.
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
    let is_admin = request.app_data::<Listener>() == Some(&Listener::Admin);
    let any_host = is_admin || path.starts_with("/health/") || path == "/metrics";
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
