//! An app sends somebody's browser to be signed in, and gets it back with a code.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, HeaderName},
    web,
};

use super::{
    Bulla, body,
    bulla::Inner,
    credentials,
    guard::{add_cookies, refusal},
    pages,
};
use crate::{
    http::Problem,
    oauth::{Authorization, Objection, Returned},
    session::Principal,
    store::User,
};

/// Where the login is looked at: `/oauth` reads no cookies.
pub(super) const HERE: &str = "/auth/authorize?";

/// `GET /oauth/authorize`: looks whether the request is sound, and sends the browser on to where its login is seen.
pub(super) async fn begin(bulla: web::Data<Bulla>, request: HttpRequest) -> HttpResponse {
    match bulla.0.issuer().authorization(request.query_string()).await {
        Ok(_) => body::see_other(&format!("{HERE}{}", request.query_string())),
        Err(objection) => object(&request, objection),
    }
}

/// `GET /auth/authorize`: who is signed in goes back to the app with a code; nobody else gets past the login page.
pub(super) async fn finish(bulla: web::Data<Bulla>, request: HttpRequest) -> HttpResponse {
    let inner = &bulla.0;
    let authorization = match inner.issuer().authorization(request.query_string()).await {
        Ok(authorization) => authorization,
        Err(objection) => return object(&request, objection),
    };
    let climbed = match inner.climb(&request).await {
        Ok(climbed) => climbed,
        Err(problem) => return log_in_first(&request, &authorization, &problem),
    };
    let mut response = match inner.present_user(&climbed.principal).await {
        Ok(user) => match inner.issuer().approve(&authorization, &user) {
            Ok(returned) => send_on(&request, &authorization, &returned),
            Err(error) => {
                tracing::error!(%error, "a code could not be sealed");
                refusal(&request, &Problem::unavailable())
            }
        },
        Err(problem) => log_in_first(&request, &authorization, &problem),
    };
    add_cookies(response.headers_mut(), climbed.cookies);
    response
}

impl Inner {
    /// Somebody in person: what one app got is not for signing in to another.
    async fn present_user(&self, principal: &Principal) -> Result<User, Problem> {
        match principal.grant() {
            Some(_) => Err(Problem::forbidden()),
            None => Ok(self.sessions.confirm(principal).await?.1),
        }
    }

    /// The app that a login is for, if it is for one; by where it leads.
    pub(super) async fn app(&self, rd: &str) -> Option<String> {
        let query = rd.strip_prefix(HERE)?;
        self.issuer().authorization(query).await.ok().map(|authorization| authorization.client.name)
    }
}

fn log_in_first(request: &HttpRequest, authorization: &Authorization, problem: &Problem) -> HttpResponse {
    if problem.code() != "unauthorized" {
        return refusal(request, problem);
    }
    let rd = format!("{HERE}{}", request.query_string());
    let page = pages::Login { rd: &rd, error: None, name: "", app: Some(&authorization.client.name) };
    pages::answer(&mut problem.head(), pages::login(&page))
}

/// A browser that comes from the login form is sent on by a page: a form's answer may not lead elsewhere (CSP `form-action`).
fn send_on(request: &HttpRequest, authorization: &Authorization, to: &Returned) -> HttpResponse {
    let site = credentials::text(request, &HeaderName::from_static("sec-fetch-site"));
    if site != Some("same-origin") || !credentials::is_navigation(request) {
        return body::see_other(&to.0);
    }
    let mut response = HttpResponse::Ok();
    response.insert_header((header::REFRESH, format!("0;url={}", to.0)));
    pages::answer(
        &mut response,
        pages::onward(&pages::Onward { label: &authorization.client.name, url: &to.0 }),
    )
}

fn object(request: &HttpRequest, objection: Objection) -> HttpResponse {
    match objection {
        Objection::Back(to) => body::see_other(&to.0),
        Objection::Here(why) => refusal(request, &Problem::bad_request(why)),
        Objection::Unknown => refusal(request, &Problem::not_found()),
        Objection::CannotTell(error) => refusal(request, &error.into()),
    }
}
