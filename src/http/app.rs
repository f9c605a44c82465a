//! Every route in one table, and the server around them.

use std::{io, net::TcpListener, path::Path, sync::atomic::Ordering, time::Duration};

use actix_web::{
    App, Error, HttpRequest, HttpResponse, HttpServer,
    body::MessageBody,
    dev::{Server, ServiceRequest, ServiceResponse},
    error::InternalError,
    http::header::{self, HeaderName, HeaderValue},
    middleware::{Next, from_fn},
    web::{self, ServiceConfig, delete, get, post, resource, scope},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use super::{
    Bulla, account, admin, authorize, body, clients, guard::refusal, health, login, oauth, openapi, pages,
    renewal, survive::survive,
};
use crate::http::Problem;

/// Nothing from elsewhere, no script, no style but ours; no framing.
const CSP: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; \
                   frame-ancestors 'none'";

/// Bytes of all headers of a request: the two cookies take up to 8 KiB.
const MAX_HEADERS: usize = 32 << 10;

impl Bulla {
    /// The routes under `/auth` (login, refresh, logout, my devices, …), for [`actix_web::App::configure`].
    pub fn routes(&self) -> impl FnOnce(&mut ServiceConfig) + Clone + 'static {
        let bulla = self.clone();
        move |app| auth(&bulla, app)
    }
}

/// The table of `/auth`. What stands behind the guard knows who asks; the others go by the refresh token or by nothing.
fn auth(bulla: &Bulla, app: &mut ServiceConfig) {
    let guarded = || scope("").wrap(bulla.guard());
    app.service(
        scope("/auth")
            .app_data(web::Data::new(bulla.clone()))
            .app_data(web::PayloadConfig::new(body::MAX))
            .wrap(from_fn(secure))
            .service(
                methods("/login", "GET, POST").route(get().to(login::page)).route(post().to(login::login)),
            )
            .service(methods("/refresh", "POST").route(post().to(renewal::refresh)))
            .service(methods("/continue", "GET").route(get().to(renewal::go_on)))
            .service(methods("/logout", "POST").route(post().to(renewal::logout)))
            .service(methods("/authorize", "GET").route(get().to(authorize::finish)))
            .service(methods("/assets/{name}", "GET").route(get().to(pages::asset)))
            .service(
                guarded()
                    .service(methods("/session", "GET").route(get().to(account::who)))
                    .service(methods("/account", "GET").route(get().to(account::page)))
                    .service(methods("/sessions", "GET").route(get().to(account::sessions)))
                    .service(methods("/sessions/{sid}", "DELETE").route(delete().to(account::end)))
                    .service(methods("/sessions/{sid}/end", "POST").route(post().to(account::end)))
                    .service(methods("/password", "POST").route(post().to(account::password)))
                    .default_service(web::to(not_found)),
            ),
    );
}

/// The table for programs: OAuth.
fn programs(app: &mut ServiceConfig) {
    app.service(
        scope("/oauth")
            .app_data(web::PayloadConfig::new(body::MAX))
            .wrap(from_fn(oauth::for_pages))
            .wrap(from_fn(secure))
            .service(methods("/authorize", "GET").route(get().to(authorize::begin)))
            .service(methods("/token", "POST").route(post().to(oauth::token)))
            .service(methods("/revoke", "POST").route(post().to(oauth::revoke)))
            .service(methods("/introspect", "POST").route(post().to(oauth::introspect)))
            .default_service(web::to(not_found)),
    )
    .service(
        methods("/.well-known/oauth-authorization-server", "GET")
            .wrap(from_fn(oauth::for_pages))
            .route(get().to(oauth::about)),
    );
}

/// The server's own table.
fn everything(bulla: &Bulla, app: &mut ServiceConfig) {
    let json = web::JsonConfig::default()
        .limit(body::MAX)
        .error_handler(|_, _| Problem::bad_request("The body is malformed.").into());
    let query = web::QueryConfig::default()
        .error_handler(|_, _| Problem::bad_request("The query is malformed.").into());
    app.app_data(web::Data::new(bulla.clone()))
        .app_data(json)
        .app_data(query)
        .configure(bulla.routes())
        .configure(programs)
        .service(methods("/", "GET").route(get().to(home)))
        .service(methods("/health/live", "GET").route(get().to(health::live)))
        .service(methods("/health/ready", "GET").route(get().to(health::ready)))
        .service(methods("/metrics", "GET").route(get().to(health::metrics)))
        .service(methods("/openapi.json", "GET").route(get().to(openapi::document)))
        .service(
            scope("/admin")
                .wrap(bulla.guard().and_machines())
                .wrap(from_fn(secure))
                .service(
                    methods("/users", "GET, POST")
                        .route(get().to(admin::users))
                        .route(post().to(admin::add_user)),
                )
                .service(
                    methods("/users/{id}", "GET, PATCH, DELETE")
                        .route(get().to(admin::user))
                        .route(web::patch().to(admin::change_user))
                        .route(delete().to(admin::delete_user)),
                )
                .service(
                    methods("/sessions", "GET, DELETE")
                        .route(get().to(admin::sessions))
                        .route(delete().to(admin::end_sessions)),
                )
                .service(methods("/sessions/{sid}", "DELETE").route(delete().to(admin::end_session)))
                .service(
                    methods("/clients", "GET, POST")
                        .route(get().to(clients::list))
                        .route(post().to(clients::add)),
                )
                .service(
                    methods("/clients/{id}", "GET, PATCH, DELETE")
                        .route(get().to(clients::show))
                        .route(web::patch().to(clients::change))
                        .route(delete().to(clients::delete)),
                )
                .service(methods("/clients/{id}/secret", "POST").route(post().to(clients::rotate)))
                .service(methods("/revocations", "GET").route(get().to(admin::revocations)))
                .service(methods("/keys", "GET").route(get().to(admin::keys)))
                .service(methods("/audit", "GET").route(get().to(admin::audit)))
                .default_service(web::to(not_found)),
        )
        .default_service(web::to(not_found));
}

/// A path with its methods; another one is 405 with `Allow`.
fn methods(path: &str, allow: &'static str) -> actix_web::Resource {
    resource(path).default_service(web::to(move || async move {
        Err::<HttpResponse, _>(Problem::method_not_allowed(allow))
    }))
}

async fn home() -> HttpResponse {
    body::see_other("/auth/account")
}

async fn not_found(request: HttpRequest) -> HttpResponse {
    refusal(&request, &Problem::not_found())
}

/// The headers of every answer that concerns a login.
async fn secure(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let tls = request.app_data::<web::Data<Bulla>>().is_some_and(|bulla| bulla.0.site.is_tls());
    let mut response = match next.call(request).await {
        Ok(response) => response,
        Err(error) => return Err(Hardened { error, tls }.into()),
    };
    harden(response.headers_mut(), tls);
    Ok(response)
}

fn harden(headers: &mut header::HeaderMap, tls: bool) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CSP),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.get(header::CACHE_CONTROL).is_some_and(|said| said.as_bytes().starts_with(b"public")) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if tls {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
}

/// An error on its way out, with the same headers.
#[derive(Debug)]
struct Hardened {
    error: Error,
    tls: bool,
}

impl std::fmt::Display for Hardened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl actix_web::ResponseError for Hardened {
    fn status_code(&self) -> actix_web::http::StatusCode {
        self.error.as_response_error().status_code()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = plain(&self.error);
        harden(response.headers_mut(), self.tls);
        response
    }
}

/// What the framework itself refuses (a body too large, an extractor's error) in our own words; nothing of a cause.
fn plain(error: &Error) -> HttpResponse {
    use actix_web::{ResponseError as _, http::StatusCode};
    let known = error.as_error::<Problem>().is_some();
    match error.as_response_error().status_code() {
        _ if known => error.error_response(),
        StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large().error_response(),
        status if status.is_server_error() && error.as_error::<InternalError<&str>>().is_none() => {
            let mut response = Problem::internal().error_response();
            for cookie in error.error_response().headers().get_all(header::SET_COOKIE) {
                response.headers_mut().append(header::SET_COOKIE, cookie.clone());
            }
            response
        }
        _ => error.error_response(),
    }
}

/// Our own hosts only (probes aside), a count of answers, a line in the log.
async fn watch(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let Some(bulla) = request.app_data::<web::Data<Bulla>>().cloned() else {
        return survive(next.call(request)).await.map(ServiceResponse::map_into_left_body);
    };
    let started = std::time::Instant::now();
    let path = request.path();
    let probe = path.starts_with("/health/") || path == "/metrics";
    let (method, path) = (request.method().clone(), path.to_owned());
    let weight: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let response = if weight > MAX_HEADERS {
        Ok(request.error_response(Problem::headers_too_large()).map_into_right_body())
    } else if probe || bulla.0.site.serves(request.request()) {
        survive(next.call(request)).await.map(ServiceResponse::map_into_left_body)
    } else {
        Ok(request.error_response(Problem::misdirected()).map_into_right_body())
    };
    let status = match &response {
        Ok(response) => response.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    if let Some(count) = bulla.0.answers.get(usize::from(status.as_u16() / 100)) {
        count.fetch_add(1, Ordering::Relaxed);
    }
    // The path alone: a query may hold what isn't for a log. `?` escapes what a stranger may have put into it.
    tracing::debug!(%method, ?path, status = status.as_u16(), micros = started.elapsed().as_micros() as u64, "request");
    response
}

/// How a server listens.
#[derive(Clone, Debug)]
pub struct Serve {
    /// Threads that serve requests.
    pub workers: usize,
    /// How long a shutdown waits for requests under way.
    pub shutdown_timeout: Duration,
    /// TLS; plain HTTP without.
    pub tls: Option<rustls::ServerConfig>,
}

/// Serves everything on a listener, until the server's handle stops it.
pub fn serve(bulla: &Bulla, listener: TcpListener, how: Serve) -> io::Result<Server> {
    let bulla = bulla.clone();
    let server = HttpServer::new(move || {
        let table = bulla.clone();
        App::new().wrap(from_fn(watch)).configure(move |app| everything(&table, app))
    })
    .workers(how.workers)
    .worker_max_blocking_threads(16)
    .shutdown_timeout(how.shutdown_timeout.as_secs())
    .client_request_timeout(Duration::from_secs(10))
    .keep_alive(Duration::from_secs(75))
    .disable_signals();
    let server = match how.tls {
        Some(tls) => server.listen_rustls_0_23(listener, tls)?,
        None => server.listen(listener)?,
    };
    Ok(server.run())
}

/// A TLS configuration from PEM files: certificate chain and key. TLS 1.2 and 1.3, ring's cryptography.
pub fn tls(cert: &Path, key: &Path) -> Result<rustls::ServerConfig, String> {
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(|certs| certs.collect::<Result<Vec<_>, _>>())
        .map_err(|error| format!("{}: {error}", cert.display()))?;
    if chain.is_empty() {
        return Err(format!("{}: no certificate in it", cert.display()));
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("{}: {error}", key.display()))?;
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| format!("{}: {error}", cert.display()))
}
