//! The table of all routes.

use actix_web::{
    HttpResponse, Route,
    error::JsonPayloadError,
    guard,
    middleware::from_fn,
    web::{self, ServiceConfig, delete, post, resource, scope},
};

#[cfg(feature = "oauth")]
use crate::http::routes::{authorize, clients, oauth};
use crate::http::{
    Bulla, Problem,
    routes::{
        account, admin, admin_lists, administrator, assets, audit, body, harden::secure, health, login,
        parameters, renewal, verify,
    },
};
#[cfg(feature = "openid")]
use crate::{
    http::routes::{identities, presented, provider},
    jws,
};

impl Bulla {
    /// The routes under `/auth` (login, refresh, logout, devices, …), for [`actix_web::App::configure`].
    pub fn routes(&self) -> impl FnOnce(&mut ServiceConfig) + Clone + 'static {
        let bulla = self.clone();
        move |app| auth(&bulla, app)
    }

    /// The routes of the OAuth server under `/oauth`, and `/.well-known/oauth-authorization-server`, for
    /// [`actix_web::App::configure`]. People authorize apps on pages under `/auth`, so mount [`routes`](Self::routes) as well.
    #[cfg(feature = "oauth")]
    pub fn oauth_routes(&self) -> impl FnOnce(&mut ServiceConfig) + Clone + 'static {
        let bulla = self.clone();
        move |app| oauth_routes(&bulla, app)
    }

    /// The routes of the administration under `/admin`, for [`actix_web::App::configure`]: users, sessions, clients, keys and
    /// audit. They admit people with the role `admin` and programs with the scope `admin`. The routes for users apply to the table
    /// `users`, not to the users of an embedding program.
    pub fn admin_routes(&self) -> impl FnOnce(&mut ServiceConfig) + Clone + 'static {
        let bulla = self.clone();
        move |app| admin_routes(&bulla, app)
    }

    /// The routes `/health/live` and `/health/ready` for probes, for [`actix_web::App::configure`]. They need no login.
    pub fn health_routes(&self) -> impl FnOnce(&mut ServiceConfig) + Clone + 'static {
        let bulla = self.clone();
        move |app| health_routes(&bulla, app)
    }

    /// The route `/metrics` (OpenMetrics), for [`actix_web::App::configure`]. It needs no login, so mount it at an address that
    /// only the monitoring can reach. The counts of answers cover Bulla's own server only; in an embedding program they stay 0.
    pub fn metrics_routes(&self) -> impl FnOnce(&mut ServiceConfig) + Clone + 'static {
        let bulla = self.clone();
        move |app| metrics_routes(&bulla, app)
    }
}

/// The routes under `/auth`. Routes behind the guard know the caller; the others use the refresh token or no token.
fn auth(bulla: &Bulla, app: &mut ServiceConfig) {
    let guarded = || scope("").wrap(bulla.guard());
    // This is the only route under `/auth` that also admits apps.
    let for_apps_too = bulla.guard().and_every_app();
    let hardening = bulla.clone();
    app.service(
        fixed_scope(bulla.0.pages.prefix())
            .app_data(web::Data::new(bulla.clone()))
            .app_data(web::PayloadConfig::new(body::MAX))
            .app_data(query())
            .wrap(from_fn(move |request, next| secure(hardening.clone(), request, next)))
            .service(
                methods("/login", "GET, HEAD, POST")
                    .app_data(web::PayloadConfig::new(LONGEST_LOGIN))
                    .route(get().to(login::page))
                    .route(post().to(login::login)),
            )
            .configure(provider_routes)
            .service(methods("/refresh", "POST").route(post().to(renewal::refresh)))
            .service(methods("/continue", "GET, HEAD").route(get().to(renewal::continue_to)))
            .service(methods("/logout", "POST").route(post().to(renewal::logout)))
            .configure(authorize_routes)
            .service(methods("/assets/forget.svg", "GET, HEAD").route(get().to(assets::forget)))
            .service(methods("/assets/{name}", "GET, HEAD").route(get().to(assets::asset)))
            .service(methods("/verify", "GET, HEAD").route(get().to(verify::verify)))
            .service(methods("/verify/redirect", "GET, HEAD").route(get().to(verify::redirect)))
            .service(
                resource(["/verify/envoy", "/verify/envoy/{target:.*}"])
                    .guard(begins_with(bulla.0.pages.at("/verify/envoy")))
                    .to(verify::envoy),
            )
            .service(methods("/session", "GET, HEAD").wrap(for_apps_too).route(get().to(account::who)))
            .service(
                guarded()
                    .service(methods("/account", "GET, HEAD").route(get().to(account::page)))
                    .service(methods("/sessions", "GET, HEAD").route(get().to(account::sessions)))
                    .service(methods("/sessions/{sid}", "DELETE").route(delete().to(account::end)))
                    .service(methods("/sessions/{sid}/end", "POST").route(post().to(account::end)))
                    .configure(identity_routes)
                    .service(methods("/password", "POST").route(post().to(account::password)))
                    .default_service(web::to(not_found)),
            ),
    );
}

/// The length of the longest body of a login, in bytes.
#[cfg(feature = "openid")]
const LONGEST_LOGIN: usize = body::MAX + jws::LONGEST;
#[cfg(not(feature = "openid"))]
const LONGEST_LOGIN: usize = body::MAX;

/// The routes for logins at providers.
fn provider_routes(scope: &mut ServiceConfig) {
    #[cfg(feature = "openid")]
    scope
        .service(methods("/login/nonce", "POST").route(post().to(presented::nonce)))
        .service(methods("/provider/{name}", "GET").route(get().to(provider::start)))
        .service(methods("/provider/{name}/callback", "GET").route(get().to(provider::callback)));
    #[cfg(not(feature = "openid"))]
    let _ = scope;
}

/// The routes for a person's identities, behind the guard.
fn identity_routes(scope: &mut ServiceConfig) {
    #[cfg(feature = "openid")]
    scope
        .service(methods("/identities", "GET").route(get().to(identities::list)))
        .service(methods("/identities/unlink", "POST").route(post().to(identities::unlink)))
        .service(methods("/provider/{name}/link", "POST").route(post().to(identities::link)));
    #[cfg(not(feature = "openid"))]
    let _ = scope;
}

/// The route that sends a person back to an app with a code.
fn authorize_routes(scope: &mut ServiceConfig) {
    #[cfg(feature = "oauth")]
    scope.service(methods("/authorize", "GET, HEAD").route(get().to(authorize::finish)));
    #[cfg(not(feature = "oauth"))]
    let _ = scope;
}

/// The routes for the clients of OAuth, behind the guard of the administration.
fn client_routes(scope: &mut ServiceConfig) {
    #[cfg(feature = "oauth")]
    scope
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
        .service(methods("/clients/{id}/secret", "POST").route(post().to(clients::rotate)));
    #[cfg(not(feature = "oauth"))]
    let _ = scope;
}

/// The OAuth routes, for programs.
#[cfg(feature = "oauth")]
pub(crate) fn oauth_routes(bulla: &Bulla, app: &mut ServiceConfig) {
    let hardening = bulla.clone();
    app.service(
        fixed_scope("/oauth")
            .app_data(web::Data::new(bulla.clone()))
            .app_data(query())
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
            .app_data(web::Data::new(bulla.clone()))
            .wrap(from_fn(oauth::for_pages))
            .route(get().to(oauth::about)),
    );
}

/// The routes for probes.
pub(crate) fn health_routes(bulla: &Bulla, app: &mut ServiceConfig) {
    let bulla = web::Data::new(bulla.clone());
    app.service(methods("/health/live", "GET, HEAD").route(get().to(health::live)))
        .service(methods("/health/ready", "GET, HEAD").app_data(bulla).route(get().to(health::ready)));
}

/// The route for monitoring.
pub(crate) fn metrics_routes(bulla: &Bulla, app: &mut ServiceConfig) {
    let bulla = web::Data::new(bulla.clone());
    app.service(methods("/metrics", "GET, HEAD").app_data(bulla).route(get().to(health::metrics)));
}

/// The routes for administration.
pub(crate) fn admin_routes(bulla: &Bulla, app: &mut ServiceConfig) {
    let hardening = bulla.clone();
    app.service(
        fixed_scope("/admin")
            .app_data(web::Data::new(bulla.clone()))
            .app_data(json())
            .app_data(query())
            .wrap(bulla.guard().and_apps(administrator::ADMIN).and_machines(administrator::ADMIN))
            .wrap(from_fn(move |request, next| secure(hardening.clone(), request, next)))
            .service(
                methods("/users", "GET, HEAD, POST")
                    .route(get().to(admin_lists::users))
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
                    .route(get().to(admin_lists::sessions))
                    .route(delete().to(admin::end_sessions)),
            )
            .service(methods("/sessions/{sid}", "DELETE").route(delete().to(admin::end_session)))
            .configure(client_routes)
            .service(methods("/revocations", "GET, HEAD").route(get().to(admin::revocations)))
            .service(methods("/keys", "GET, HEAD").route(get().to(admin::keys)))
            .service(methods("/audit", "GET, HEAD").route(get().to(audit::audit)))
            .default_service(web::to(not_found)),
    );
}

/// A route that answers GET and also HEAD (RFC 9110, section 9.1). The body is not sent for HEAD.
pub(crate) fn get() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// A path with its methods. Other methods are answered with 405 and `Allow`.
pub(crate) fn methods(path: &'static str, allow: &'static str) -> actix_web::Resource {
    let spelled = guard::fn_guard(move |request| is_spelled_out(request.head().uri.path(), path));
    resource(path).guard(spelled).default_service(web::to(move || async move {
        Err::<HttpResponse, _>(Problem::method_not_allowed(allow))
    }))
}

/// A scope whose path must not be percent-encoded either.
fn fixed_scope(path: &str) -> actix_web::Scope {
    scope(path).guard(begins_with(path.to_owned()))
}

/// Admits requests whose path begins with this text, as it was sent.
fn begins_with(start: String) -> impl guard::Guard {
    guard::fn_guard(move |request| request.head().uri.path().starts_with(&start))
}

/// Whether the path of a request ends in the fixed segments of a pattern, without percent-encoding. The router decodes a path before
/// it compares it, and a proxy with rules for paths may not: `/auth/%76erify` must not lead around a rule for `/auth/verify`.
fn is_spelled_out(path: &str, pattern: &str) -> bool {
    let fixed = pattern.trim_start_matches('/').rsplit('/');
    fixed.zip(path.rsplit('/')).all(|(segment, given)| segment.starts_with('{') || segment == given)
}

fn json() -> web::JsonConfig {
    web::JsonConfig::default().limit(body::MAX).error_handler(|error, _| match &error {
        JsonPayloadError::Deserialize(why) => body::complaint(why).unwrap_or_else(body::malformed).into(),
        _ => error.into(),
    })
}

pub(crate) fn query() -> web::QueryConfig {
    web::QueryConfig::default().error_handler(|error, _| {
        let malformed = || Problem::bad_request("The query is malformed.");
        parameters::unknown(&error).or_else(|| body::complaint(&error)).unwrap_or_else(malformed).into()
    })
}

pub(crate) async fn not_found() -> Result<HttpResponse, Problem> {
    Err(Problem::not_found())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_parameters_of_a_path_may_be_encoded() {
        for (path, pattern) in [
            ("/auth/verify", "/verify"),
            ("/", "/"),
            ("/admin/users/a%20b", "/users/{id}"),
            ("/auth/sessions/%41/end", "/sessions/{sid}/end"),
            ("/health/live", "/health/live"),
        ] {
            assert!(is_spelled_out(path, pattern), "{path}");
        }
        for (path, pattern) in [
            ("/auth/%76erify", "/verify"),
            ("/admin/%75sers/1", "/users/{id}"),
            ("/auth/sessions/1/%65nd", "/sessions/{sid}/end"),
            ("/%68ealth/live", "/health/live"),
            ("/%2f", "/"),
        ] {
            assert!(!is_spelled_out(path, pattern), "{path}");
        }
    }
}
