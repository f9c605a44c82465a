//! The handle of an installation with its web side: the cookies, the site and the pages. Servers and embedding programs hold it.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

#[cfg(feature = "openid")]
use crate::identity::openid::ProviderSettings;
use crate::{
    clock::Clock,
    http::{
        pages::{PREFIX, PageSet, Pages, ShownProvider, check_prefix},
        wire::{
            cookies::CookieJar,
            credentials::{ForeignScheme, Schemes},
            memory_budget::MemoryBudget,
            protection::Protection,
            site::Site,
        },
    },
    identity::{Hasher, PasswordRule},
    installation::{Installation, Settings, StartError},
    login::Logins,
    session::{Policy, Sessions, Watch},
    store::{Database, EmbeddedUsers, Users},
};

/// The parts of an installation. Each has a default, except the two paths.
pub struct Builder {
    settings: Settings,
    site: Option<Site>,
    cookie_domain: Option<String>,
    schemes: Schemes,
    prefix: String,
    pages: Option<Box<dyn Pages>>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("origin", &self.site.as_ref().map(Site::origin))
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// Uses the users of the embedding program instead of the table `users`. Then only that program can change passwords.
    #[must_use]
    pub fn users(mut self, users: impl Users) -> Self {
        self.settings.users = Some(Arc::new(EmbeddedUsers(users)));
        self
    }

    /// The OpenID providers by which people can sign in. If [`users`](Self::users) is set, people link identities while they are
    /// signed in, and no user is created.
    #[cfg(feature = "openid")]
    #[must_use]
    pub fn providers(mut self, providers: Vec<ProviderSettings>) -> Self {
        self.settings.providers = providers;
        self
    }

    /// The address at which browsers reach the program. Required: the check of forged requests and the links in pages need it.
    #[must_use]
    pub fn site(mut self, site: Site) -> Self {
        self.site = Some(site);
        self
    }

    /// Lifetimes and rules.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.settings.policy = policy;
        self
    }

    /// Shares the login with all subdomains of this domain. All of them must be trusted.
    #[must_use]
    pub fn cookie_domain(mut self, domain: Option<String>) -> Self {
        self.cookie_domain = domain;
        self
    }

    /// Whether people can authenticate with HTTP Basic (default true). Without it, `Authorization: Basic` is a foreign scheme
    /// ([`foreign_scheme`](Self::foreign_scheme)). OAuth clients authenticate at `/oauth` in either case.
    #[must_use]
    pub fn basic(mut self, on: bool) -> Self {
        self.schemes.basic = on;
        self
    }

    /// The meaning of an `Authorization` header whose scheme Bulla does not know, such as `Token …` (default: the request is
    /// refused).
    #[must_use]
    pub fn foreign_scheme(mut self, meaning: ForeignScheme) -> Self {
        self.schemes.foreign = meaning;
        self
    }

    /// The path of the login routes (default `/auth`), such as `/account`: the routes, the links on the pages, the redirects and the
    /// addresses at which OpenID providers send people back. The routes of [`Bulla::oauth_routes`](Bulla) and those for
    /// administration, probes and metrics have fixed paths.
    #[must_use]
    pub fn prefix(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// Own pages instead of Bulla's.
    #[must_use]
    pub fn pages(mut self, pages: impl Pages) -> Self {
        self.pages = Some(Box::new(pages));
        self
    }

    /// The rule for new passwords.
    #[must_use]
    pub fn password(mut self, rule: PasswordRule) -> Self {
        self.settings.password = rule;
        self
    }

    /// The number of logins that can wait for the hashing pool (default 64).
    #[must_use]
    pub fn login_queue(mut self, waiting: usize) -> Self {
        self.settings.login_queue = waiting;
        self
    }

    /// How long audit rows are kept (default 1 year).
    #[must_use]
    pub fn audit_keep(mut self, keep: Duration) -> Self {
        self.settings.audit_keep = keep;
        self
    }

    /// Accepts keys that their group may read, as in secrets that Kubernetes mounts, and an SQLite file that its group may read.
    #[must_use]
    pub fn allow_group_read(mut self, allow: bool) -> Self {
        self.settings.directory = self.settings.directory.allow_group_read(allow);
        self
    }

    /// Uses another clock than the system's.
    #[must_use]
    #[doc(hidden)]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.settings.clock = clock;
        self
    }

    /// Creates a ring if there is none, unless the database has recorded one.
    #[must_use]
    pub fn init(mut self) -> Self {
        self.settings.init = true;
        self
    }

    /// Opens the ring and the database, loads the revocations, and starts the tasks that keep them current. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`StartError::Site`] if [`site`](Self::site) was not called or is not an origin, [`StartError::Prefix`] if
    /// [`prefix`](Self::prefix) is not a plain path, and the other errors if the keys, the database or the policy can't be used.
    pub async fn start(self) -> Result<Bulla, StartError> {
        let site = self.site.ok_or_else(|| {
            StartError::Site(
                "the public address is missing: call Builder::site, with Site::public(\"https://app.example.org\") or, on \
                 loopback, with Site::loopback(port, false)"
                    .into(),
            )
        })?;
        site.check().map_err(StartError::Site)?;
        check_prefix(&self.prefix).map_err(StartError::Prefix)?;
        let installation = self.settings.start().await?;
        #[cfg(feature = "openid")]
        let providers = installation.logins.providers().all().iter().map(ShownProvider::of).collect();
        #[cfg(not(feature = "openid"))]
        let providers = Vec::new();
        Ok(Bulla(Arc::new(Shared {
            pages: PageSet::new(self.prefix, self.pages, providers),
            cookies: CookieJar::new(self.cookie_domain),
            schemes: self.schemes,
            protection: Protection::new(&site),
            site,
            answers: Default::default(),
            intake: Arc::default(),
            installation,
        })))
    }
}

/// An installation. Cheap to clone. When the last clone is dropped, its tasks and threads end.
#[derive(Clone)]
pub struct Bulla(pub(crate) Arc<Shared>);

/// The state that all requests share.
pub(crate) struct Shared {
    pub(crate) installation: Arc<Installation>,
    pub(crate) pages: PageSet,
    pub(crate) cookies: CookieJar,
    /// The schemes of `Authorization` by which people can authenticate.
    pub(crate) schemes: Schemes,
    pub(crate) site: Site,
    pub(crate) protection: Protection,
    /// The memory that incomplete requests can hold. Used only by this crate's own server.
    pub(crate) intake: Arc<MemoryBudget>,
    /// The number of answers, by the first digit of their status.
    pub(crate) answers: [AtomicU64; 6],
}

impl Shared {
    pub(crate) fn sessions(&self) -> &Sessions {
        &self.installation.sessions
    }

    /// A watch of the sessions, for the principals that one thread accepts.
    pub(crate) fn watch(&self) -> Watch {
        self.installation.sessions.watch()
    }

    pub(crate) fn logins(&self) -> &Logins {
        &self.installation.logins
    }
}

impl fmt::Debug for Bulla {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bulla").field("origin", &self.0.site.origin()).finish_non_exhaustive()
    }
}

impl Bulla {
    /// Configures an installation with a keys directory and a database: the path of an SQLite file, or `postgres://…`. A missing
    /// file and missing tables are created.
    pub fn builder(keys: impl Into<PathBuf>, database: impl Into<Database>) -> Builder {
        Builder {
            settings: Settings::new(keys.into(), database.into()),
            site: None,
            cookie_domain: None,
            schemes: Schemes::default(),
            prefix: PREFIX.into(),
            pages: None,
        }
    }

    /// The sessions.
    #[doc(hidden)]
    pub fn sessions(&self) -> &Sessions {
        self.0.sessions()
    }

    /// The pool that hashes passwords.
    pub fn hasher(&self) -> &Hasher {
        &self.0.installation.hasher
    }

    /// Whether the ring in force equals the one in the directory.
    pub fn ring_is_good(&self) -> bool {
        self.0.installation.ring.is_good()
    }

    /// Whether the triggers of the database are unchanged and active.
    #[doc(hidden)]
    pub fn triggers_are_good(&self) -> bool {
        self.0.installation.triggers.is_good()
    }

    /// Reads the keys directory now (the server does this every second). If the ring can't be loaded, the last good one stays in
    /// force, without the keys that a newer `ring.json` revokes, and an alarm is raised.
    #[doc(hidden)]
    pub async fn reload_ring(&self) {
        self.0.installation.reload_ring().await;
    }
}
