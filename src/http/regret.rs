//! The answers to a browser when a login at a provider does not begin a session.

use actix_web::HttpResponse;

use super::{body, bulla::Inner, pages, under_way::Flow};
use crate::{
    http::Problem,
    identity::openid::{OpenIdError, Provider},
};

impl Inner {
    /// The login page with an error message. It also offers the other login methods.
    pub(super) fn sorry(&self, provider: &Provider, problem: &Problem, rd: &str) -> HttpResponse {
        let failed = format!("Signing in with {} didn't work. Please try again.", provider.settings().label);
        let error = if problem.code() == "unauthorized" { &failed } else { problem.detail() };
        // If the login did not prove enough, the person is already signed in, so the page offers to log in again.
        let again = problem.asks_for_a_login();
        let page = pages::Login { rd, error: Some(error), ways: &self.ways, again, ..Default::default() };
        pages::answer(&mut problem.head(), pages::login(&page))
    }
}

/// The answer to a code that this browser has already used, which proves nothing. The page leads to the address to which the login
/// led. If the browser has received the cookies meanwhile, it is signed in there.
pub(super) fn spent(flow: &Flow, sent_before: bool) -> HttpResponse {
    if sent_before {
        return body::see_other(flow.leads_to());
    }
    pages::answer(&mut Problem::unauthorized().head(), pages::spent(flow.leads_to()))
}

/// The meaning of an error in the provider's answer (RFC 6749, 4.1.2.1). Such an error is never an attempt at guessing, so it is
/// not counted as a failure.
pub(super) fn told(error: &str) -> OpenIdError {
    match error {
        "server_error" | "temporarily_unavailable" => {
            OpenIdError::Away(format!("its answer to the login is the error {error}"))
        }
        "access_denied" => OpenIdError::Refused("cancelled at the provider"),
        _ => OpenIdError::Refused("an error of the provider"),
    }
}

/// The answer to a failed proof. The caller does not see the reason; it is in the operator's log.
pub(super) fn refused(provider: &Provider, error: OpenIdError) -> Problem {
    let name = &provider.settings().name;
    match error {
        OpenIdError::NoAccount => Problem::no_account(),
        OpenIdError::Away(why) => {
            tracing::warn!(provider = name, why, "a provider can't be asked");
            Problem::provider_away()
        }
        OpenIdError::Refused(reason) => {
            tracing::info!(provider = name, reason, "a login by a provider was refused");
            Problem::unauthorized()
        }
    }
}
