//! The contents of the pages that an embedding program can render itself.

/// Own pages instead of Bulla's, for [`Builder::pages`](crate::Builder::pages).
///
/// Each method gets the content of a page and returns an HTML document, or `None` for Bulla's own page. The method escapes all texts
/// itself: names, addresses and agents come from outside. It runs on the thread of the request, so it must not wait.
///
/// The answer keeps its status, its cookies and Bulla's protective headers. The content security policy admits styles, pictures and
/// forms of the same origin, and no scripts.
pub trait Pages: Send + Sync + 'static {
    /// The page with the form to sign in.
    fn login(&self, page: &LoginPage<'_>) -> Option<String> {
        let _ = page;
        None
    }

    /// The page of a signed-in person: devices, linked identities, password.
    fn account(&self, page: &AccountPage<'_>) -> Option<String> {
        let _ = page;
        None
    }

    /// The page for an error.
    fn error(&self, page: &ErrorPage<'_>) -> Option<String> {
        let _ = page;
        None
    }
}

/// The content of the login page. Its form sends `username`, `password` and `rd` by POST to `{prefix}/login`.
#[derive(Debug)]
#[non_exhaustive]
pub struct LoginPage<'a> {
    /// The path of Bulla's routes, `/auth` by default.
    pub prefix: &'a str,
    /// The address after the login, for the field `rd`. Empty: the account page.
    pub rd: &'a str,
    /// Why the last attempt failed.
    pub error: Option<&'a str>,
    /// The name that was entered at the last attempt.
    pub name: &'a str,
    /// The app for which a person signs in, if the login is for an app.
    pub app: Option<&'a str>,
    /// Whether the page follows a logout. Then it should contain the picture `{prefix}/assets/forget.svg`, whose answer clears the
    /// browser's cache.
    pub signed_out: bool,
    /// Whether a person who is signed in proves their identity again.
    pub again: bool,
    /// Links that lead to the OpenID providers.
    pub providers: Vec<ProviderLink>,
}

/// An OpenID provider on a page.
#[derive(Debug)]
#[non_exhaustive]
pub struct ProviderLink {
    /// The name for people.
    pub label: String,
    /// On the login page the address of a link, on the account page that of a form (POST) that links an identity.
    pub url: String,
}

/// The content of the account page. Its forms send POST: to `{prefix}/logout` (with `everywhere=true` for all devices), to
/// `{prefix}/sessions/{sid}/end`, to `{prefix}/identities/unlink` with `issuer` and `subject`, and to `{prefix}/password` with
/// `current` and `new`.
#[derive(Debug)]
#[non_exhaustive]
pub struct AccountPage<'a> {
    /// The path of Bulla's routes, `/auth` by default.
    pub prefix: &'a str,
    /// The id of the user.
    pub id: &'a str,
    /// The name of the user.
    pub name: &'a str,
    /// The roles of the user.
    pub roles: &'a [String],
    /// The user's sessions, at most 100.
    pub devices: Vec<Device<'a>>,
    /// What has just been done, in a sentence.
    pub done: Option<&'a str>,
    /// Why the last change failed.
    pub error: Option<&'a str>,
    /// The linked identities.
    pub identities: Vec<LinkedIdentity<'a>>,
    /// The identities that were linked in the last 30 days. Only after a change of the password: the person should unlink those that
    /// they don't know.
    pub recently_linked: Vec<LinkedIdentity<'a>>,
    /// The providers whose identities can be linked.
    pub providers: Vec<ProviderLink>,
    /// Whether the user has a password that can be changed here.
    pub has_password: bool,
}

/// A session on the account page.
#[derive(Debug)]
#[non_exhaustive]
pub struct Device<'a> {
    /// The id of the session.
    pub sid: String,
    /// The browser and the system.
    pub agent: String,
    /// The address of the last renewal.
    pub ip: &'a str,
    /// The time since the login, such as `2 h ago`.
    pub since: String,
    /// The time since the last renewal, which is exact to the life of an access token.
    pub seen: String,
    /// Whether the page is shown to this session.
    pub current: bool,
    /// Whether an app holds the session.
    pub app: bool,
}

/// A linked identity on the account page.
#[derive(Debug)]
#[non_exhaustive]
pub struct LinkedIdentity<'a> {
    /// The provider's `iss`.
    pub issuer: &'a str,
    /// The provider's `sub`.
    pub subject: &'a str,
    /// The time since it was linked.
    pub linked: String,
}

/// The content of an error page.
#[derive(Debug)]
#[non_exhaustive]
pub struct ErrorPage<'a> {
    /// The path of Bulla's routes, `/auth` by default.
    pub prefix: &'a str,
    /// The status of the answer.
    pub status: u16,
    /// The code of the [`Problem`](crate::Problem), such as `throttled`.
    pub code: &'a str,
    /// A heading.
    pub title: &'a str,
    /// What happened.
    pub detail: &'a str,
    /// What the person can do. Empty if `detail` says it.
    pub advice: &'a str,
    /// The time to wait before another attempt, in seconds.
    pub wait: Option<u64>,
    /// The address where the request should have been sent.
    pub place: Option<&'a str>,
}
