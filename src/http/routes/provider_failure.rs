//! The answers to a browser when a login at a provider does not begin a session.

use actix_web::HttpResponse;

use crate::{
    http::{Problem, bulla::Shared, pages, routes::body, wire::answer::Answer},
    identity::openid::Provider,
    login::openid::ProviderLogin,
};

impl Shared {
    /// The login page with an error message. It also offers the other login methods.
    pub(crate) fn login_page_with_error(
        &self,
        provider: &Provider,
        problem: &Problem,
        rd: &str,
    ) -> HttpResponse {
        let failed = format!("The sign-in with {} failed. Please try again.", provider.settings().label);
        let error = if problem.code() == "unauthorized" { &failed } else { problem.detail() };
        // If the login did not prove enough, the person is already signed in, so the page offers to log in again.
        let again = problem.asks_for_a_login();
        let page = pages::Login { rd, error: Some(error), again, ..Default::default() };
        Answer::problem_page(problem, self.pages.login(&page)).into()
    }

    /// The answer to a code that this browser has already used, which proves nothing. The page leads to the address to which the
    /// login led. If the browser has received the cookies meanwhile, it is signed in there.
    pub(crate) fn already_finished(&self, flow: &ProviderLogin, sent_before: bool) -> HttpResponse {
        let leads_to = self.pages.or_account(&flow.rd);
        if sent_before {
            return body::see_other(&leads_to);
        }
        Answer::problem_page(&Problem::unauthorized(), self.pages.already_finished(&leads_to)).into()
    }
}
