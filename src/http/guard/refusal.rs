//! The form of a refusal: a page for a person, a problem document for a program.

use crate::http::{
    Problem, Site,
    bulla::Shared,
    pages::{Login, PageSet},
    wire::{answer::Answer, credentials, forgery, request::Request},
};

/// The kind of client that gets the refusal.
#[derive(Debug)]
pub(crate) enum ClientKind {
    /// A person's browser that navigates to a page.
    Person {
        /// The address to which a login returns; empty if it can't return.
        back: String,
        /// Whether a page that loads again by itself makes the next request same-origin.
        can_reload: bool,
    },
    /// Any other client.
    Program,
}

impl ClientKind {
    pub(crate) fn of(request: &impl Request, site: &Site) -> Self {
        if !credentials::is_navigation(request) {
            return Self::Program;
        }
        // A login can't return to the target of a submitted form, because a GET of the same address is another request.
        let back = request.target().filter(|_| !forgery::is_unsafe(request));
        Self::Person {
            back: back.unwrap_or_default().to_owned(),
            can_reload: forgery::can_reload(request, site),
        }
    }

    /// Whether a page that loads again by itself makes the next request same-origin.
    pub(crate) fn can_reload(&self) -> bool {
        matches!(self, Self::Person { can_reload: true, .. })
    }

    /// The answer. A person who is not recognised gets the login page with all login methods.
    pub(crate) fn refuse(&self, problem: &Problem, pages: &PageSet) -> Answer {
        let page = match self {
            Self::Program => return Answer::problem(problem),
            Self::Person { can_reload: true, back } if problem.is_cross_site() => {
                return Answer::page(pages.reload(back));
            }
            Self::Person { back, .. } if problem.code() == "unauthorized" => {
                pages.login(&Login { rd: back, ..Default::default() })
            }
            Self::Person { .. } => pages.error(problem),
        };
        Answer::problem_page(problem, page)
    }
}

impl Shared {
    /// The answer of a guard to a request that it refuses, with the protective headers.
    pub(crate) fn refuse(&self, request: &impl Request, problem: &Problem) -> Answer {
        self.refuse_kind(&ClientKind::of(request, &self.site), problem)
    }

    /// The answer of a guard to a client of this kind, with the protective headers.
    pub(crate) fn refuse_kind(&self, kind: &ClientKind, problem: &Problem) -> Answer {
        let answer = kind.refuse(problem, &self.pages);
        self.protection
            .headers(answer.is_page())
            .fold(answer, |answer, (name, value)| answer.header(name, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::wire::request::sample::Sample;

    fn told(request: Sample, problem: &Problem) -> (u16, String) {
        let site = Site::public("https://app.example");
        let answer =
            ClientKind::of(&request, &site).refuse(problem, &PageSet::new("/auth".into(), None, Vec::new()));
        (answer.status, answer.body)
    }

    #[test]
    fn a_navigation_gets_the_login_page_with_its_target_and_a_form_without_one() {
        let going = |request: Sample| request.uri("/a?b=c").header("sec-fetch-mode", "navigate");
        let (status, page) = told(going(Sample::get()), &Problem::unauthorized());
        assert!(status == 401 && page.contains(r#"name="rd" value="/a?b=c""#), "{page}");
        let (status, page) = told(going(Sample::post()), &Problem::unauthorized());
        assert!(status == 401 && page.contains(r#"name="rd" value="""#), "{page}");
        let (status, page) = told(going(Sample::post()), &Problem::forbidden());
        assert!(
            status == 403 && page.contains("You are not allowed to do this.") && page.contains("<html"),
            "{page}"
        );
    }

    #[test]
    fn a_form_is_answered_with_a_page_even_if_a_proxy_removes_the_fetch_metadata() {
        let html = || Sample::post().header("accept", "text/html,application/xml;q=0.9,*/*;q=0.8");
        for (kind, page) in [
            ("application/x-www-form-urlencoded", true),
            ("multipart/form-data; boundary=x", true),
            ("application/json", false),
        ] {
            let (_, body) = told(html().header("content-type", kind), &Problem::foreign_origin());
            assert_eq!(body.contains("<html"), page, "{kind}: {body}");
        }
        let curl = Sample::post()
            .header("accept", "*/*")
            .header("content-type", "application/x-www-form-urlencoded");
        assert!(told(curl, &Problem::foreign_origin()).1.starts_with('{'));
    }

    #[test]
    fn only_a_navigation_from_another_site_is_answered_with_a_page_that_reloads() {
        let from = |request: Sample, headers: &[(&str, &str)]| {
            request.uri("/a?b=c").header("sec-fetch-site", "cross-site").headers(headers)
        };
        let navigates = ("sec-fetch-mode", "navigate");
        let (status, page) = told(from(Sample::get(), &[navigates]), &Problem::cross_site());
        assert!(status == 200 && page.contains(r#"http-equiv="refresh""#), "{page}");
        for headers in [&[("sec-fetch-mode", "no-cors")][..], &[navigates, ("sec-fetch-dest", "iframe")]] {
            let (status, body) = told(from(Sample::get(), headers), &Problem::cross_site());
            assert!(status == 401 && !body.contains("refresh"), "{headers:?}: {body}");
        }
        let (status, page) = told(from(Sample::get(), &[navigates]), &Problem::unauthorized());
        assert!(status == 401 && !page.contains("refresh"), "{page}");
    }

    #[test]
    fn a_program_gets_a_problem_document() {
        let script = Sample::get().header("sec-fetch-mode", "cors");
        let (status, body) = told(script, &Problem::unauthorized());
        assert!(status == 401 && body.contains(r#""code":"unauthorized""#), "{body}");
        let curl = Sample::get().header("accept", "*/*");
        assert!(told(curl, &Problem::not_found()).1.starts_with('{'));
    }
}
