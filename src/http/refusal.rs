//! How a refusal is told: a page to a person, a problem document to a program.

use actix_web::{HttpRequest, HttpResponse, ResponseError as _};

use super::{credentials, pages};
use crate::http::Problem;

/// Who is to be told.
#[derive(Debug)]
pub(super) enum Asker {
    /// A person's browser on its way to a page, and where a login shall bring it back to; empty if there is no way back.
    Person { back: String },
    /// Whatever else sends requests.
    Program,
}

impl Asker {
    pub(super) fn of(request: &HttpRequest) -> Self {
        if !credentials::is_navigation(request) {
            return Self::Program;
        }
        // A form that was sent can't be gone back to: a GET is something else there.
        let back = request.uri().path_and_query().filter(|_| request.method().is_safe());
        Self::Person { back: back.map_or_else(String::new, |back| back.as_str().to_owned()) }
    }

    /// The answer: whoever isn't recognised and can read gets the login, with all its ways.
    pub(super) fn refuse(&self, problem: &Problem, ways: &[pages::Way]) -> HttpResponse {
        let page = match self {
            Self::Program => return problem.error_response(),
            Self::Person { back } if problem.code() == "unauthorized" => {
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
        let answer = Asker::of(&request.to_http_request()).refuse(problem, &[]);
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
        assert!(status == 403 && page.contains("You may not do this.") && page.contains("<html"), "{page}");
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
