//! Renders the HTML pages. The templates escape all values. There are no scripts and no inline styles.

mod texts;
mod views;

use askama::Template;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use self::texts::{ago, title_and_advice};
pub use self::views::{AccountPage, Device, ErrorPage, LinkedIdentity, LoginPage, Pages, ProviderLink};
use crate::{
    clock::Timestamp,
    ids::Sid,
    problem::Problem,
    store::{self, SessionRow, User},
};

/// The path of the routes of a login, unless an embedding program sets another one.
pub(crate) const PREFIX: &str = "/auth";

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

/// The pages of an installation and their addresses.
pub(crate) struct PageSet {
    prefix: String,
    /// The pages of the embedding program.
    own: Option<Box<dyn Pages>>,
    /// The login methods that the login page offers besides the password.
    shown_providers: Vec<ShownProvider>,
}

/// What the login page says.
#[derive(Default)]
pub(crate) struct Login<'a> {
    /// The address after the login; checked when it comes back.
    pub(crate) rd: &'a str,
    pub(crate) error: Option<&'a str>,
    pub(crate) name: &'a str,
    /// The app for which a person signs in, if the login is for an app.
    pub(crate) app: Option<&'a str>,
    /// Whether the page follows a logout.
    pub(crate) signed_out: bool,
    /// Whether a person who is signed in logs in again.
    pub(crate) again: bool,
}

/// The message at the top of the account page.
pub(crate) enum Message<'a> {
    PasswordChanged,
    Error(&'a Problem),
}

/// What the account page says: the user and their devices.
pub(crate) struct Account<'a> {
    pub(crate) user: &'a User,
    pub(crate) sessions: &'a [SessionRow],
    pub(crate) this: Sid,
    pub(crate) now: Timestamp,
    pub(crate) message: Option<Message<'a>>,
    pub(crate) identities: &'a [store::LinkedIdentity],
    /// The identities that were linked recently. Set after a password change only.
    pub(crate) lately: &'a [store::LinkedIdentity],
    /// Whether the user has a password that can be changed.
    pub(crate) has_password: bool,
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginTemplate<'a> {
    prefix: &'a str,
    page: &'a LoginPage<'a>,
}

#[derive(Template)]
#[template(path = "account.html")]
struct AccountTemplate<'a> {
    prefix: &'a str,
    page: &'a AccountPage<'a>,
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorTemplate<'a> {
    prefix: &'a str,
    page: &'a ErrorPage<'a>,
}

/// A page that sends a browser on to a provider or an app. It replaces a redirect, which the answer to a form must not be (CSP
/// `form-action`).
#[derive(Template)]
#[template(path = "onward.html")]
struct Onward<'a> {
    prefix: &'a str,
    label: &'a str,
    url: &'a str,
}

/// The page that loads again by itself. It contains its own address, because for a refresh without an address Chromium only jumps
/// within the page if the address has a fragment.
#[derive(Template)]
#[template(path = "reload.html")]
struct Reload<'a> {
    prefix: &'a str,
    itself: &'a str,
}

/// The page for a login that this browser has already finished. It leads to the address to which the login led.
#[derive(Template)]
#[template(path = "already_finished.html")]
struct AlreadyFinished<'a> {
    prefix: &'a str,
    to: &'a str,
}

impl PageSet {
    /// The prefix has passed [`check_prefix`].
    pub(crate) fn new(
        prefix: String,
        own: Option<Box<dyn Pages>>,
        shown_providers: Vec<ShownProvider>,
    ) -> Self {
        Self { prefix, own, shown_providers }
    }

    /// The path of the routes of a login.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The address of a route below the prefix, such as `/login`.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// A return address, or the account page if it is empty.
    pub(crate) fn or_account(&self, rd: &str) -> String {
        if rd.is_empty() { self.at("/account") } else { rd.to_owned() }
    }

    pub(crate) fn login(&self, content: &Login<'_>) -> Option<String> {
        let &Login { rd, error, name, app, signed_out, again } = content;
        let query = match (again, rd) {
            (false, "") => String::new(),
            (false, rd) => format!("?rd={}", encoded(rd)),
            (true, "") => "?again=1".to_owned(),
            (true, rd) => format!("?again=1&rd={}", encoded(rd)),
        };
        // A provider that can't state when people signed in can't prove that they did so again.
        let offered = self.shown_providers.iter().filter(|provider| !again || provider.states_auth_time);
        let providers = offered.map(|provider| self.link(provider, &query)).collect();
        let prefix = self.prefix();
        let page = LoginPage { prefix, rd, error, name, app, signed_out, again, providers };
        let own = self.own.as_ref().and_then(|own| own.login(&page));
        own.or_else(|| LoginTemplate { prefix, page: &page }.render().ok())
    }

    pub(crate) fn account(&self, content: &Account<'_>) -> Option<String> {
        let (prefix, now) = (self.prefix(), content.now);
        let (done, error) = match content.message {
            Some(Message::PasswordChanged) => {
                (Some("Your password was changed, and all other devices were signed out."), None)
            }
            Some(Message::Error(problem)) => (None, Some(problem.detail())),
            None => (None, None),
        };
        let page = AccountPage {
            prefix,
            id: content.user.id.as_str(),
            name: &content.user.name,
            roles: &content.user.roles,
            devices: content.sessions.iter().map(|row| device(row, content.this, now)).collect(),
            done,
            error,
            identities: linked(content.identities, now),
            recently_linked: linked(content.lately, now),
            providers: self.shown_providers.iter().map(|provider| self.link(provider, "/link")).collect(),
            has_password: content.has_password,
        };
        let own = self.own.as_ref().and_then(|own| own.account(&page));
        own.or_else(|| AccountTemplate { prefix, page: &page }.render().ok())
    }

    pub(crate) fn error(&self, problem: &Problem) -> Option<String> {
        let ((title, advice), prefix) = (title_and_advice(problem), self.prefix());
        let wait = problem.retry_after().map(|wait| wait.as_millis().div_ceil(1000));
        let page = ErrorPage {
            prefix,
            status: problem.status(),
            code: problem.code(),
            title,
            detail: problem.detail(),
            advice,
            wait: wait.map(|seconds| u64::try_from(seconds).unwrap_or(u64::MAX)),
            place: problem.place(),
        };
        let own = self.own.as_ref().and_then(|own| own.error(&page));
        own.or_else(|| ErrorTemplate { prefix, page: &page }.render().ok())
    }

    /// The page that sends a browser on to a provider or an app.
    pub(crate) fn onward(&self, label: &str, url: &str) -> Option<String> {
        Onward { prefix: self.prefix(), label, url }.render().ok()
    }

    /// The page that loads again. `target` is the path and the query of this request.
    pub(crate) fn reload(&self, target: &str) -> Option<String> {
        Reload { prefix: self.prefix(), itself: &as_reference(target) }.render().ok()
    }

    /// The page for a login that this browser has already finished.
    pub(crate) fn already_finished(&self, to: &str) -> Option<String> {
        AlreadyFinished { prefix: self.prefix(), to: &as_reference(to) }.render().ok()
    }

    /// The address of a provider's routes, with `end` after the name.
    fn link(&self, provider: &ShownProvider, end: &str) -> ProviderLink {
        let url = format!("{}/provider/{}{end}", self.prefix, encoded(&provider.name));
        ProviderLink { label: provider.label.clone(), url }
    }
}

/// Checks that a prefix is a plain path, of which a proxy, a browser and a cookie have one reading, and that it is not one of the
/// fixed paths.
///
/// # Errors
///
/// What is wrong, in a sentence.
pub(crate) fn check_prefix(prefix: &str) -> Result<(), String> {
    let is_segment = |segment: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        !matches!(segment, "" | "." | "..") && segment.bytes().all(plain)
    };
    let segments =
        prefix.strip_prefix('/').filter(|rest| rest.len() < 100 && rest.split('/').all(is_segment));
    let fixed = ["oauth", "admin", "health", "metrics", ".well-known", "openapi.json"];
    match segments.and_then(|rest| rest.split('/').next()) {
        None => Err(format!(
            "the prefix {prefix:?} can't be used: it must begin with a slash, end without one, and consist of letters, \
             digits, '-', '.', '_' and '~', for example /account"
        )),
        Some(first) if fixed.contains(&first) => {
            Err(format!("the prefix {prefix:?} can't be used: /{first} belongs to other routes"))
        }
        Some(_) => Ok(()),
    }
}

/// The characters that are encoded in a segment of a path and in a value in a query: all that are not unreserved (RFC 3986, section
/// 2.3).
const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Percent-encodes a text for a segment of a path or for a value in a query.
pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, &RESERVED).to_string()
}

fn device(row: &SessionRow, this: Sid, now: Timestamp) -> Device<'_> {
    Device {
        sid: row.sid.to_string(),
        agent: store::device_name(&row.device.user_agent),
        ip: &row.device.ip,
        since: ago(row.created_at, now),
        seen: ago(row.rotated_at, now),
        current: row.sid == this,
        app: row.grant.is_some(),
    }
}

fn linked(identities: &[store::LinkedIdentity], now: Timestamp) -> Vec<LinkedIdentity<'_>> {
    let lines = identities.iter().map(|one| LinkedIdentity {
        issuer: &one.identity.issuer,
        subject: &one.identity.subject,
        linked: one.linked_at.map_or_else(|| "at an unknown time".into(), |at| ago(at, now)),
    });
    lines.collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ids::UserId,
        store::{Identity, LinkedIdentity},
    };

    fn pages(shown_providers: Vec<ShownProvider>) -> PageSet {
        PageSet::new(PREFIX.into(), None, shown_providers)
    }

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
            vec![ShownProvider { name: evil.into(), label: evil.into(), states_auth_time: true }];
        let pages = pages(shown_providers);
        let page = pages.account(&Account {
            user: &user,
            sessions: &[],
            this,
            now,
            message: Some(Message::Error(&said)),
            identities: &identities,
            lately: &identities,
            has_password: true,
        });
        let form =
            Login { rd: evil, error: Some(evil), name: evil, app: Some(evil), signed_out: true, again: true };
        for html in [page, pages.login(&form), pages.onward(evil, evil)].map(Option::unwrap) {
            assert!(!html.contains("<script") && html.contains("&#60;script"), "{html}");
        }
    }

    #[test]
    fn a_prefix_is_a_plain_path_that_no_other_routes_have() {
        for good in ["/auth", "/account", "/my/session", "/~a/b.c", "/oauth2"] {
            assert_eq!(check_prefix(good), Ok(()), "{good}");
        }
        for bad in [
            "", "/", "auth", "/auth/", "//auth", "/a//b", "/a/../b", "/.", "/a b", "/a%20", "/{x}", "/ä",
            "/oauth", "/admin/x",
        ] {
            assert!(check_prefix(bad).is_err(), "{bad}");
        }
        assert!(check_prefix(&format!("/{}", "a".repeat(100))).is_err());
    }

    #[test]
    fn own_pages_replace_the_pages_that_they_render() {
        struct Own;
        impl Pages for Own {
            fn login(&self, page: &LoginPage<'_>) -> Option<String> {
                let links: Vec<_> = page.providers.iter().map(|link| link.url.as_str()).collect();
                Some(format!("{}/login {} {}", page.prefix, page.rd, links.join(" ")))
            }
        }
        let provider = |name: &str, states_auth_time| ShownProvider {
            name: name.into(),
            label: name.into(),
            states_auth_time,
        };
        let providers = vec![provider("a/b", true), provider("c", false)];
        let pages = PageSet::new("/my".into(), Some(Box::new(Own)), providers);
        let login = |rd, again| pages.login(&Login { rd, again, ..Default::default() }).unwrap();
        assert_eq!(login("", false), "/my/login  /my/provider/a%2Fb /my/provider/c");
        assert_eq!(
            login("/x?y", false),
            "/my/login /x?y /my/provider/a%2Fb?rd=%2Fx%3Fy /my/provider/c?rd=%2Fx%3Fy"
        );
        assert_eq!(login("/x", true), "/my/login /x /my/provider/a%2Fb?again=1&rd=%2Fx");
        assert!(pages.error(&Problem::not_found()).unwrap().contains("href=\"/my/account\""));
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
            let page = pages(Vec::new()).reload(target).unwrap();
            assert!(page.contains(&format!("content=\"0;url={written}\"")), "{page}");
            assert!(page.contains(&format!("href=\"{written}\"")), "{page}");
        }
    }
}
