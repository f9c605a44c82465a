//! The form of a refusal: a page for a person, a problem document for a program.

use actix_web::{HttpRequest, HttpResponse, ResponseError as _};

use crate::http::{
    Problem, Site, pages,
    wire::{credentials, forgery},
};

/// The kind of client that gets the refusal.
#[derive(Debug)]
pub(crate) enum Asker {
    /// A person's browser that navigates to a page.
    Person {
        /// The address to which a login returns; empty if it can't return.
        back: String,
        /// Whether a page that loads again by itself makes the next request same-origin.
        can_come_back: bool,
    },
    /// Any other client.
    Program,
}

impl Asker {
    pub(crate) fn of(request: &HttpRequest, site: &Site) -> Self {
        if !credentials::is_navigation(request) {
            return Self::Program;
        }
        // A login can't return to a form that was sent, because a GET of the same address is another request.
        let back = request.uri().path_and_query().filter(|_| !forgery::is_unsafe(request));
        Self::Person {
            back: back.map_or_else(String::new, |back| back.as_str().to_owned()),
            can_come_back: forgery::can_come_back(request, site),
        }
    }

    /// The answer. A person who is not recognised gets the login page with all login methods.
    pub(crate) fn refuse(&self, problem: &Problem, ways: &[pages::Way]) -> HttpResponse {
        let page = match self {
            Self::Program => return problem.error_response(),
            Self::Person { can_come_back: true, back } if problem.is_cross_site() => {
                return pages::answer(&mut HttpResponse::Ok(), pages::again(back));
            }
            Self::Person { back, .. } if problem.code() == "unauthorized" => {
                pages::login(&pages::Login { rd: back, ways, ..Default::default() })
            }
            Self::Person { .. } => pages::error(problem),
        };
        pages::answer(&mut problem.head(), page)
    }
}

#[cfg(test)]
mod tests {
    use actix_web::{http::StatusCode, test::TestRequest};

    use super::*;

    async fn told(request: TestRequest, problem: &Problem) -> (StatusCode, String) {
        let site = Site::public("https://app.example");
        let answer = Asker::of(&request.to_http_request(), &site).refuse(problem, &[]);
        let status = answer.status();
        let body = actix_web::body::to_bytes(answer.into_body()).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[actix_web::test]
    async fn a_person_gets_the_login_with_the_way_back_and_a_form_has_none() {
        let going =
            |request: TestRequest| request.uri("/a?b=c").insert_header(("sec-fetch-mode", "navigate"));
        let (status, page) = told(going(TestRequest::get()), &Problem::unauthorized()).await;
        assert!(status == 401 && page.contains(r#"name="rd" value="/a?b=c""#), "{page}");
        let (status, page) = told(going(TestRequest::post()), &Problem::unauthorized()).await;
        assert!(status == 401 && page.contains(r#"name="rd" value="""#), "{page}");
        let (status, page) = told(going(TestRequest::post()), &Problem::forbidden()).await;
        assert!(
            status == 403 && page.contains("You are not allowed to do this.") && page.contains("<html"),
            "{page}"
        );
    }

    #[actix_web::test]
    async fn a_form_is_told_by_a_page_where_a_proxy_has_removed_what_says_that_it_is_one() {
        let html =
            || TestRequest::post().insert_header(("accept", "text/html,application/xml;q=0.9,*/*;q=0.8"));
        for (kind, page) in [
            ("application/x-www-form-urlencoded", true),
            ("multipart/form-data; boundary=x", true),
            ("application/json", false),
        ] {
            let (_, body) =
                told(html().insert_header(("content-type", kind)), &Problem::foreign_origin()).await;
            assert_eq!(body.contains("<html"), page, "{kind}: {body}");
        }
        let form = ("content-type", "application/x-www-form-urlencoded");
        let curl = TestRequest::post().insert_header(("accept", "*/*")).insert_header(form);
        assert!(told(curl, &Problem::foreign_origin()).await.1.starts_with('{'));
    }

    #[actix_web::test]
    async fn a_navigation_of_another_site_is_sent_back_to_itself_and_nothing_else_is() {
        let from = |request: TestRequest, headers: &[(&'static str, &str)]| {
            let request = request.uri("/a?b=c").insert_header(("sec-fetch-site", "cross-site"));
            headers.iter().fold(request, |request, header| request.insert_header(*header))
        };
        let navigates = ("sec-fetch-mode", "navigate");
        let (status, page) = told(from(TestRequest::get(), &[navigates]), &Problem::cross_site()).await;
        assert!(status == 200 && page.contains(r#"http-equiv="refresh""#), "{page}");
        for headers in [&[("sec-fetch-mode", "no-cors")][..], &[navigates, ("sec-fetch-dest", "iframe")]] {
            let (status, body) = told(from(TestRequest::get(), headers), &Problem::cross_site()).await;
            assert!(status == 401 && !body.contains("refresh"), "{headers:?}: {body}");
        }
        let (status, page) = told(from(TestRequest::get(), &[navigates]), &Problem::unauthorized()).await;
        assert!(status == 401 && !page.contains("refresh"), "{page}");
    }

    #[actix_web::test]
    async fn a_program_gets_a_problem_document() {
        let script = TestRequest::get().insert_header(("sec-fetch-mode", "cors"));
        let (status, body) = told(script, &Problem::unauthorized()).await;
        assert!(status == 401 && body.contains(r#""code":"unauthorized""#), "{body}");
        let curl = TestRequest::get().insert_header(("accept", "*/*"));
        assert!(told(curl, &Problem::not_found()).await.1.starts_with('{'));
    }
}
