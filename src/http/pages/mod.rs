//! Renders the HTML pages. The templates escape all values. There are no scripts and no inline styles.

use askama::Template;

use crate::{
    clock::Timestamp,
    ids::Sid,
    problem::{Problem, reason_phrase},
    store::{LinkedIdentity, SessionRow, User},
};

/// A provider as the pages show it.
pub(crate) struct ShownProvider {
    pub(crate) name: String,
    pub(crate) label: String,
    /// Whether its ID tokens can state when people signed in.
    pub(crate) states_auth_time: bool,
}

impl ShownProvider {
    #[cfg(feature = "openid")]
    pub(crate) fn of(provider: &crate::identity::openid::Provider) -> Self {
        let settings = provider.settings();
        Self {
            name: settings.name.clone(),
            label: settings.label.clone(),
            states_auth_time: settings.preset.states_auth_time(),
        }
    }
}

/// The login page.
#[derive(Default, Template)]
#[template(path = "login.html")]
pub(crate) struct Login<'a> {
    /// The address after the login; checked when it comes back.
    pub(crate) rd: &'a str,
    pub(crate) error: Option<&'a str>,
    pub(crate) name: &'a str,
    /// The app for which a person signs in, if the login is for an app.
    pub(crate) app: Option<&'a str>,
    /// Whether the page follows a logout. Then it also clears the browser's cache, see [`forget`].
    pub(crate) signed_out: bool,
    /// Whether a person who is signed in logs in again.
    pub(crate) again: bool,
    pub(crate) shown_providers: &'a [ShownProvider],
}

/// A page that sends a browser on to a provider or an app. It replaces a redirect, which the answer to a form must not be (CSP
/// `form-action`).
#[derive(Template)]
#[template(path = "onward.html")]
pub(crate) struct Onward<'a> {
    pub(crate) label: &'a str,
    pub(crate) url: &'a str,
}

/// The message at the top of the account page.
pub(crate) enum Message<'a> {
    PasswordChanged,
    Error(&'a Problem),
}

/// The account page: the user and their devices.
pub(crate) struct Account<'a> {
    pub(crate) user: &'a User,
    pub(crate) sessions: &'a [SessionRow],
    pub(crate) this: Sid,
    pub(crate) now: Timestamp,
    pub(crate) message: Option<Message<'a>>,
    pub(crate) identities: &'a [LinkedIdentity],
    /// The identities that were linked recently. Set after a password change only.
    pub(crate) lately: &'a [LinkedIdentity],
    pub(crate) shown_providers: &'a [ShownProvider],
    /// Whether the user has a password that can be changed.
    pub(crate) has_password: bool,
}

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage<'a> {
    id: &'a str,
    name: &'a str,
    roles: &'a [String],
    devices: Vec<DeviceLine<'a>>,
    done: Option<&'a str>,
    error: Option<&'a str>,
    identities: Vec<IdentityLine<'a>>,
    lately: Vec<IdentityLine<'a>>,
    shown_providers: &'a [ShownProvider],
    has_password: bool,
}

struct IdentityLine<'a> {
    issuer: &'a str,
    subject: &'a str,
    linked: String,
}

impl<'a> IdentityLine<'a> {
    fn all(linked: &'a [LinkedIdentity], now: Timestamp) -> Vec<Self> {
        let line = |one: &'a LinkedIdentity| Self {
            issuer: &one.identity.issuer,
            subject: &one.identity.subject,
            linked: one.linked_at.map_or_else(|| "at an unknown time".into(), |at| ago(at, now)),
        };
        linked.iter().map(line).collect()
    }
}

struct DeviceLine<'a> {
    sid: String,
    agent: String,
    ip: &'a str,
    since: String,
    /// Exact only to within the life of an access token, because requests with a valid one write nothing.
    seen: String,
    current: bool,
    /// Whether the session is held by an app, not by a browser.
    app: bool,
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    title: &'a str,
    detail: &'a str,
    /// Advice, if the detail does not contain it.
    advice: &'a str,
    /// The time to wait, in seconds.
    wait: Option<u128>,
    /// An address to go to instead of the account page.
    place: Option<&'a str>,
    status: u16,
    code: &'a str,
}

/// The page that loads again by itself. It contains its own address, because for a refresh without an address Chromium only jumps
/// within the page if the address has a fragment.
#[derive(Template)]
#[template(path = "reload.html")]
struct Reload<'a> {
    itself: &'a str,
}

/// The page for a login that this browser has already finished. It leads to the address to which the login led.
#[derive(Template)]
#[template(path = "already_finished.html")]
struct AlreadyFinished<'a> {
    to: &'a str,
}

pub(crate) fn already_finished(to: &str) -> Option<String> {
    AlreadyFinished { to: &as_reference(to) }.render().ok()
}

pub(crate) fn login(page: &Login<'_>) -> Option<String> {
    page.render().ok()
}

pub(crate) fn onward(page: &Onward<'_>) -> Option<String> {
    page.render().ok()
}

pub(crate) fn account(page: &Account<'_>) -> Option<String> {
    let devices = page.sessions.iter().map(|row| DeviceLine {
        sid: row.sid.to_string(),
        agent: agent(&row.device.user_agent),
        ip: &row.device.ip,
        since: ago(row.created_at, page.now),
        seen: ago(row.rotated_at, page.now),
        current: row.sid == page.this,
        app: row.grant.is_some(),
    });
    let (done, error) = match page.message {
        Some(Message::PasswordChanged) => {
            (Some("Your password was changed, and all other devices were signed out."), None)
        }
        Some(Message::Error(problem)) => (None, Some(problem.detail())),
        None => (None, None),
    };
    AccountPage {
        id: page.user.id.as_str(),
        name: &page.user.name,
        roles: &page.user.roles,
        devices: devices.collect(),
        done,
        error,
        identities: IdentityLine::all(page.identities, page.now),
        lately: IdentityLine::all(page.lately, page.now),
        shown_providers: page.shown_providers,
        has_password: page.has_password,
    }
    .render()
    .ok()
}

pub(crate) fn error(problem: &Problem) -> Option<String> {
    let (title, advice) = title_and_advice(problem);
    let page = ErrorPage {
        title,
        detail: problem.detail(),
        advice,
        wait: problem.retry_after().map(|wait| wait.as_millis().div_ceil(1000)),
        place: problem.place(),
        status: problem.status(),
        code: problem.code(),
    };
    page.render().ok()
}

/// A title, and advice on what the person can do.
fn title_and_advice(problem: &Problem) -> (&'static str, &'static str) {
    match problem.code() {
        "misdirected" => {
            ("Wrong address", "Open the address below. If it is the one you opened, tell the administrator.")
        }
        "foreign_origin" => (
            "This form was refused",
            "Nothing was changed. Open the page of this server, and send the form from there. If that fails as well, tell \
             the administrator: a proxy or an extension of your browser removes the headers Origin and Sec-Fetch-Site.",
        ),
        "throttled" | "busy" => ("Please wait", ""),
        "bad_request" | "bad_authorization" => (
            "This request can't be understood",
            "Open the page again and repeat your last step. If a link led you here, the link is wrong.",
        ),
        "unprocessable" | "conflict" => {
            ("This is not possible", "Go back, correct your input, and send it again.")
        }
        "forbidden" | "no_account" => ("Not allowed", ""),
        "not_found" => {
            ("Not found", "Check the address. If a link led you here, the link is wrong or out of date.")
        }
        "method_not_allowed" => (
            "This address is not a page",
            "Only a form uses this address. Open the page with the form, and send it from there.",
        ),
        "too_slow" => ("The connection is too slow", "Nothing was changed. Send the form again."),
        "too_large" => ("The form is too large", "Nothing was changed. Send the form again with less text."),
        "unsupported_media_type" => (
            "This form can't be read",
            "Nothing was changed. Open the page of this server, and send the form from there.",
        ),
        "headers_too_large" => (
            "Too many cookies",
            "Your browser sends more cookies than this server accepts. Delete the cookies of this site, and sign in again.",
        ),
        "unavailable" | "provider_away" => ("Not available at the moment", ""),
        "internal" => {
            ("Internal error", "You did nothing wrong. Try again; if it fails again, tell the administrator.")
        }
        _ => (reason_phrase(problem.status()), ""),
    }
}

/// Renders the page that loads again. `target` is the path and the query of this request.
pub(crate) fn reload(target: &str) -> Option<String> {
    Reload { itself: &as_reference(target) }.render().ok()
}

/// Converts a path and query to a URL on the same host. `//evil.example` would name another host; `/.//evil.example` names the same
/// path on this host (URL standard: a segment `.` is removed).
fn as_reference(target: &str) -> String {
    if target.starts_with("//") || target.starts_with("/\\") {
        format!("/.{target}")
    } else {
        target.to_owned()
    }
}

/// A `User-Agent` in a form that people understand.
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
        (None, None) if text.chars().nth(60).is_none() => text.into(),
        (None, None) => text.chars().take(59).chain(['…']).collect(),
    }
}

/// The time since `then`, in the largest suitable unit.
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
    use crate::{ids::UserId, store::Identity};

    #[test]
    fn what_a_user_chose_is_shown_as_text() {
        let evil = "<script>alert(1)</script>\"'";
        let user = User {
            id: UserId::new("1").unwrap(),
            name: evil.into(),
            roles: vec![evil.into()],
            claims: Default::default(),
        };
        let (now, this, said) = (Timestamp::EPOCH, Sid([0; 16]), Problem::unprocessable(evil));
        let identity = Identity { issuer: evil.into(), subject: evil.into() };
        let identities = [LinkedIdentity { identity, linked_at: None }];
        let shown_providers =
            [ShownProvider { name: evil.into(), label: evil.into(), states_auth_time: true }];
        let page = account(&Account {
            user: &user,
            sessions: &[],
            this,
            now,
            message: Some(Message::Error(&said)),
            identities: &identities,
            lately: &identities,
            shown_providers: &shown_providers,
            has_password: true,
        })
        .unwrap();
        let form = Login {
            rd: evil,
            error: Some(evil),
            name: evil,
            app: Some(evil),
            signed_out: true,
            again: true,
            shown_providers: &shown_providers,
        };
        let form = login(&form).unwrap();
        let onward = onward(&Onward { label: evil, url: evil }).unwrap();
        for html in [page, form, onward] {
            assert!(!html.contains("<script") && html.contains("&#60;script"), "{html}");
        }
    }

    #[test]
    fn the_page_that_loads_again_leads_to_itself_and_nowhere_else() {
        for (target, written) in [
            ("/", "/"),
            ("/a?b=c&d=%2F%2F", "/a?b=c&#38;d=%2F%2F"),
            ("//evil.example/x", "/.//evil.example/x"),
            ("/\\evil.example", "/./\\evil.example"),
            ("/a?\"><script>", "/a?&#34;&#62;&#60;script&#62;"),
            ("/a:b//c?https://evil.example", "/a:b//c?https://evil.example"),
        ] {
            let page = reload(target).unwrap();
            assert!(page.contains(&format!("content=\"0;url={written}\"")), "{page}");
            assert!(page.contains(&format!("href=\"{written}\"")), "{page}");
        }
    }

    #[test]
    fn a_device_is_named_as_a_person_would() {
        assert_eq!(
            agent("Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0"),
            "Firefox on Linux"
        );
        assert_eq!(agent("curl/7.88.1"), "curl");
        assert_eq!(agent(""), "Unknown device");
        assert_eq!(agent("my-script 1.0"), "my-script 1.0");
        assert_eq!(agent(&"é".repeat(60)), "é".repeat(60));
        assert_eq!(agent(&"é".repeat(61)), "é".repeat(59) + "…");
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
