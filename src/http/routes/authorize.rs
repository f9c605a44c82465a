//! The authorization endpoint: signs a person in for an app and sends the browser back to the app with a code.

use actix_web::{HttpRequest, HttpResponse, web};

use crate::{
    http::{
        Bulla, Problem,
        actix::add_cookies,
        bulla::Shared,
        guard::{authenticate::Authenticated, refusal::ClientKind},
        pages,
        routes::{account, body},
        wire::{
            answer::Answer,
            credentials,
            request::{Header, Request as _},
        },
    },
    oauth::{AppRedirect, Authorization, AuthorizationError},
    problem::known,
    store::{SessionRow, Transport, User},
};

/// `GET /oauth/authorize`: checks the request and redirects the browser to the route that checks its login.
pub(crate) async fn begin(bulla: web::Data<Bulla>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let onward = bulla.0.authorization_address(request.query_string());
    match bulla.0.issuer().authorization(request.query_string()).await {
        // If a login could not return to this request, it is refused at once, whether the person is signed in or not.
        Ok(_) if bulla.0.site.return_to(&onward) != onward => Err(Problem::bad_request(
            "The request of the app is too long, or contains a character that a URL must not contain.",
        )),
        Ok(_) => Ok(body::see_other(&onward)),
        Err(objection) => answer_error(objection),
    }
}

/// `GET /auth/authorize`: sends a signed-in person back to the app with a code. Others get the login page.
pub(crate) async fn finish(bulla: web::Data<Bulla>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let shared = &bulla.0;
    let authorization = match shared.issuer().authorization(request.query_string()).await {
        Ok(authorization) => authorization,
        Err(objection) => return answer_error(objection),
    };
    let authenticated = match shared.authenticate_request(&request, None).await {
        Ok(authenticated) => authenticated,
        Err(problem) => return shared.log_in_first(&request, &authorization, problem),
    };
    let answer = match in_person(&bulla, &request, &authenticated).await {
        Ok((login, user)) => match shared.issuer().approve(&authorization, &login, &user).await {
            Ok(returned) => Ok(shared.send_on(&request, &authorization, &returned)),
            Err(denied) => Err(denied.into()),
        },
        Err(problem) => shared.log_in_first(&request, &authorization, problem),
    };
    // If the session was renewed, its cookies are sent with a refusal too.
    let mut response = answer.unwrap_or_else(|problem| {
        ClientKind::of(&request, &shared.site).refuse(&problem, &shared.pages).into()
    });
    add_cookies(response.headers_mut(), &authenticated.cookies);
    Ok(response)
}

/// The session and the user of a person who is present. A token of an app can't be used to sign in to another app, and an access
/// token alone can't begin another session. So the request was authenticated by the refresh token or by credentials, and gets
/// cookies, or it contains the refresh token.
async fn in_person(
    bulla: &Bulla,
    request: &HttpRequest,
    authenticated: &Authenticated,
) -> Result<(SessionRow, User), Problem> {
    let (login, user) = account::confirm(bulla, &authenticated.principal).await?;
    if !authenticated.cookies.is_empty() || bulla.0.presents_session(request, &login).await? {
        return Ok((login, user));
    }
    match login.transport {
        Transport::Body | Transport::Hybrid => Err(Problem::forbidden()),
        Transport::Cookie | Transport::Basic => Err(Problem::unauthorized()),
    }
}

impl Shared {
    /// The address of the route that checks the login, for an authorization request. The route is among those of a login, because
    /// routes under `/oauth` read no cookies.
    pub(crate) fn authorization_address(&self, query: &str) -> String {
        self.pages.at(&format!("/authorize?{query}"))
    }

    /// Whether a request has the refresh cookie of this session, and its row would rotate or repeat it.
    async fn presents_session(&self, request: &HttpRequest, session: &SessionRow) -> Result<bool, Problem> {
        let Some(refresh) = self.cookie_tokens(request)??.refresh else { return Ok(false) };
        let present = known(self.sessions().present(refresh, &self.site.device(request)).await)?.flatten();
        Ok(present.is_some_and(|present| present.row.sid == session.sid))
    }

    /// The name of the app for which a login is made, if `rd` leads to an authorization request.
    pub(crate) async fn app(&self, rd: &str) -> Option<String> {
        let query = rd.strip_prefix(&self.authorization_address(""))?;
        self.issuer().authorization(query).await.ok().map(|authorization| authorization.client.name)
    }

    /// Answers a request without a usable session: shows the login page, which returns here.
    fn log_in_first(
        &self,
        request: &HttpRequest,
        authorization: &Authorization,
        problem: Problem,
    ) -> Result<HttpResponse, Problem> {
        if problem.code() != "unauthorized" || problem.is_cross_site() {
            return Err(problem);
        }
        let rd = self.authorization_address(request.query_string());
        let app = Some(authorization.client.name.as_str());
        let page = pages::Login { rd: &rd, app, ..Default::default() };
        Ok(Answer::problem_page(&problem, self.pages.login(&page)).into())
    }

    /// Sends the browser to the app. After the login form a page does this, because the answer to a form must not redirect to another
    /// origin (content security policy, directive `form-action`).
    fn send_on(
        &self,
        request: &HttpRequest,
        authorization: &Authorization,
        to: &AppRedirect,
    ) -> HttpResponse {
        let site = request.text(Header::SecFetchSite);
        if site != Some("same-origin") || !credentials::is_navigation(request) {
            return body::see_other(&to.0);
        }
        let page = self.pages.onward(&authorization.client.name, &to.0);
        Answer::page(page).header("refresh", format!("0;url={}", to.0)).into()
    }
}

fn answer_error(error: AuthorizationError) -> Result<HttpResponse, Problem> {
    match error {
        AuthorizationError::ToApp(to) => Ok(body::see_other(&to.0)),
        AuthorizationError::ToPerson(why) => Err(Problem::bad_request(why)),
        AuthorizationError::UnknownClient => Err(Problem::unknown_client()),
        AuthorizationError::CannotTell(error) => Err(error.into()),
    }
}
