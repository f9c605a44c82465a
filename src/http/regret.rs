//! What a browser is told when a login at a provider leads to no session.

use actix_web::HttpResponse;

use super::{body, bulla::Inner, pages, under_way::Flow};
use crate::{
    http::Problem,
    identity::openid::{OpenIdError, Provider},
};

impl Inner {
    /// The login page with a word of regret; other ways in are on it.
    pub(super) fn sorry(&self, provider: &Provider, problem: &Problem, rd: &str) -> HttpResponse {
        let failed = format!("Signing in with {} didn't work. Please try again.", provider.settings().label);
        let error = if problem.code() == "unauthorized" { &failed } else { problem.detail() };
        // A login that did not prove enough is tried once more, not another one.
        let again = problem.asks_for_a_login();
        let page = pages::Login { rd, error: Some(error), ways: &self.ways, again, ..Default::default() };
        pages::answer(&mut problem.head(), pages::login(&page))
    }
}

/// A code that this browser has used before proves nothing. The page goes on to where the login led: if the browser has received
/// the cookies meanwhile, it is signed in there.
pub(super) fn spent(flow: &Flow, sent_before: bool) -> HttpResponse {
    if sent_before {
        return body::see_other(flow.leads_to());
    }
    pages::answer(&mut Problem::unauthorized().head(), pages::spent(flow.leads_to()))
}

/// What an error in the provider's answer means (RFC 6749, 4.1.2.1). None is a failed attempt at guessing: nothing counts it.
pub(super) fn told(error: &str) -> OpenIdError {
    match error {
        "server_error" | "temporarily_unavailable" => {
            OpenIdError::Away(format!("its answer to the login is the error {error}"))
        }
        "access_denied" => OpenIdError::Refused("cancelled at the provider"),
        _ => OpenIdError::Refused("an error of the provider"),
    }
}

/// Outward one refusal; the reason is for an operator's log.
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
