//! A complete answer. Each adapter converts it into the type of its framework.

use std::fmt;

use crate::problem::Problem;

/// An answer with status, headers and body. Names are in lower case; names and values contain only characters that are valid in a
/// header.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// A problem document.
    pub(crate) fn problem(problem: &Problem) -> Self {
        let headers = problem.headers().chain([("content-type", "application/problem+json".into())]);
        Self { status: problem.status(), headers: headers.collect(), body: problem.document() }
    }

    /// A page with status 200. `None` is a page that could not be rendered.
    pub(crate) fn page(page: Option<String>) -> Self {
        Self::html(200, Vec::new(), page)
    }

    /// A page with the status and the headers of a problem.
    pub(crate) fn problem_page(problem: &Problem, page: Option<String>) -> Self {
        Self::html(problem.status(), problem.headers().collect(), page)
    }

    fn html(status: u16, mut headers: Vec<(&'static str, String)>, page: Option<String>) -> Self {
        let Some(body) = page else { return Self::problem(&Problem::internal()) };
        headers.push(("content-type", "text/html; charset=utf-8".into()));
        Self { status, headers, body }
    }

    /// Adds a header, or replaces its value.
    #[must_use]
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self.headers.push((name, value.into()));
        self
    }

    /// Whether the body is a page for a person.
    pub(crate) fn is_page(&self) -> bool {
        self.headers.iter().any(|(name, value)| *name == "content-type" && value.starts_with("text/html"))
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("status", &self.status).finish_non_exhaustive()
    }
}
