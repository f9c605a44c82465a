//! The pages: views become HTML, escaped by the templates. No script, no inline style.

use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError as _, web};
use askama::Template;

use crate::{
    clock::Timestamp,
    http::Problem,
    ids::Sid,
    store::{SessionRow, User},
};

/// The login page.
#[derive(Template)]
#[template(path = "login.html")]
pub(super) struct Login<'a> {
    /// Where to go afterwards; checked when it comes back.
    pub(super) rd: &'a str,
    pub(super) error: Option<&'a str>,
    pub(super) name: &'a str,
    /// The app that somebody signs in to, if it isn't our own pages.
    pub(super) app: Option<&'a str>,
}

/// Sends a browser on to a provider without a redirect, which a form's answer may not be (CSP `form-action`).
#[derive(Template)]
#[template(path = "onward.html")]
pub(super) struct Onward<'a> {
    pub(super) label: &'a str,
    pub(super) url: &'a str,
}

/// What the account page says above all else.
pub(super) enum Message<'a> {
    Error(&'a str),
}

/// Who I am, and my devices.
pub(super) struct Account<'a> {
    pub(super) user: &'a User,
    pub(super) sessions: &'a [SessionRow],
    pub(super) this: Sid,
    pub(super) now: Timestamp,
    pub(super) message: Option<Message<'a>>,
}

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage<'a> {
    id: &'a str,
    name: &'a str,
    roles: &'a [String],
    devices: Vec<DeviceLine<'a>>,
    error: Option<&'a str>,
}

struct DeviceLine<'a> {
    sid: String,
    agent: String,
    ip: &'a str,
    since: String,
    renewed: String,
    current: bool,
    /// Held by an app, and not by a browser.
    app: bool,
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    title: &'a str,
    detail: &'a str,
}

pub(super) fn login(page: &Login<'_>) -> Option<String> {
    page.render().ok()
}

pub(super) fn onward(page: &Onward<'_>) -> Option<String> {
    page.render().ok()
}

pub(super) fn account(page: &Account<'_>) -> Option<String> {
    let devices = page.sessions.iter().map(|row| DeviceLine {
        sid: row.sid.to_string(),
        agent: agent(&row.device.user_agent),
        ip: &row.device.ip,
        since: ago(row.created_at, page.now),
        renewed: ago(row.rotated_at, page.now),
        current: row.sid == page.this,
        app: row.grant.is_some(),
    });
    let error = page.message.as_ref().map(|Message::Error(text)| *text);
    AccountPage {
        id: page.user.id.as_str(),
        name: &page.user.name,
        roles: &page.user.roles,
        devices: devices.collect(),
        error,
    }
    .render()
    .ok()
}

pub(super) fn error(problem: &Problem) -> Option<String> {
    let title = problem.status_code().canonical_reason().unwrap_or("Error");
    ErrorPage { title, detail: problem.detail() }.render().ok()
}

/// The answer that carries a page.
pub(super) fn answer(response: &mut HttpResponseBuilder, page: Option<String>) -> HttpResponse {
    match page {
        Some(page) => response.content_type("text/html; charset=utf-8").body(page),
        None => Problem::internal().error_response(),
    }
}

/// `GET /auth/assets/{name}`
pub(super) async fn asset(name: web::Path<String>) -> Result<HttpResponse, Problem> {
    let (media, bytes) = match name.as_str() {
        "bulla.css" => ("text/css; charset=utf-8", include_str!("assets/bulla.css")),
        "bulla.svg" => ("image/svg+xml", include_str!("assets/bulla.svg")),
        _ => return Err(Problem::not_found()),
    };
    Ok(HttpResponse::Ok()
        .content_type(media)
        .insert_header(("Cache-Control", "public, max-age=3600"))
        .body(bytes))
}

/// A `User-Agent` as a person would say it.
fn agent(text: &str) -> String {
    let among = |names: &[(&str, &'static str)]| {
        names.iter().find(|(mark, _)| text.contains(mark)).map(|(_, name)| *name)
    };
    let browser = among(&[
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("HeadlessChrome/", "Chrome (headless)"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
    ]);
    let system = among(&[
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("Mac OS", "macOS"),
        ("Linux", "Linux"),
    ]);
    match (browser, system) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(name), None) | (None, Some(name)) => name.into(),
        (None, None) if text.is_empty() => "Unknown device".into(),
        (None, None) => text.chars().take(60).collect(),
    }
}

/// How long ago, in the largest unit that says enough.
fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.since(then).as_secs();
    match seconds {
        0..60 => "just now".into(),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::UserId;

    #[test]
    fn what_a_user_chose_is_shown_as_text() {
        let evil = "<script>alert(1)</script>\"'";
        let user = User {
            id: UserId::new("1").unwrap(),
            name: evil.into(),
            roles: vec![evil.into()],
            claims: Default::default(),
        };
        let (now, this) = (Timestamp::EPOCH, Sid([0; 16]));
        let page =
            account(&Account { user: &user, sessions: &[], this, now, message: Some(Message::Error(evil)) })
                .unwrap();
        let form = login(&Login { rd: evil, error: Some(evil), name: evil, app: Some(evil) }).unwrap();
        let onward = onward(&Onward { label: evil, url: evil }).unwrap();
        for html in [page, form, onward] {
            assert!(!html.contains("<script") && html.contains("&#60;script"), "{html}");
        }
    }

    #[test]
    fn a_device_is_named_as_a_person_would() {
        let agent_of = |text| agent(text);
        assert_eq!(
            agent_of("Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0"),
            "Firefox on Linux"
        );
        assert_eq!(agent_of("curl/7.88.1"), "curl");
        assert_eq!(agent_of(""), "Unknown device");
        assert_eq!(agent_of("my-script 1.0"), "my-script 1.0");
    }

    #[test]
    fn times_are_told_in_the_unit_that_says_enough() {
        let told = |seconds: i64| ago(Timestamp::EPOCH, Timestamp::from_millis(seconds * 1000));
        assert_eq!(
            [told(5), told(61), told(7200), told(200_000)],
            ["just now", "1 min ago", "2 h ago", "2 d ago"]
        );
    }
}
