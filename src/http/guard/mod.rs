//! The guard: passes only authenticated requests on. It does not use a web framework; `http::actix` and `http::tower` are
//! its adapters.
//!
//! `admits` holds the options of a guard and decides about a request. `authenticate` tries the steps of authentication, `session_proof`
//! checks the proofs that a change requires in addition to an access token, `log_out` ends the session that a request presents,
//! and `refusal` gives a refusal the form for its client.

pub(crate) mod admits;
pub(crate) mod authenticate;
#[cfg(feature = "openid")]
pub(crate) mod id_token;
pub(crate) mod log_out;
#[cfg(feature = "openid")]
pub(crate) mod login_cookies;
pub(crate) mod refusal;
pub(crate) mod session_proof;

use crate::http::{Bulla, guard::admits::Admits};

/// Middleware that authenticates requests, made by [`Bulla::guard`]: for actix-web (`App::wrap`) and, with the feature `tower`, a
/// layer for axum and other programs (`Router::layer`).
#[derive(Clone, Debug)]
pub struct Guard {
    pub(crate) bulla: Bulla,
    pub(crate) admits: Admits,
}

impl Bulla {
    /// Makes middleware that authenticates every request by the steps of docs/design/sessions.md. If no step succeeds, the
    /// middleware answers itself, with 401, 403, 503 or another error.
    ///
    /// By default it admits people only. A token of an OAuth client is refused with 403, whatever its user may do, unless
    /// [`Guard::and_apps`] admits its scope. A service token belongs to a machine and is refused unless [`Guard::and_machines`]
    /// admits its scope. Handlers behind the guard take a [`Principal`]. A request with a valid access token needs no I/O. A
    /// renewal reads and writes the store, and its cookies are added to the answer.
    ///
    /// With tower, the client's address is the value of the extension `tower::PeerAddress`. The type of the inner service's body
    /// must implement `From<String>`, as axum's does.
    ///
    /// [`Principal`]: crate::session::Principal
    pub fn guard(&self) -> Guard {
        Guard { bulla: self.clone(), admits: Admits::people(&self.0) }
    }
}

impl Guard {
    /// Also admits tokens that were granted to an OAuth client with this scope. If this is called several times, a token needs only
    /// one of the scopes. The [`Principal`] of such a token has a [`grant`] and no roles.
    ///
    /// [`Principal`]: crate::session::Principal
    /// [`grant`]: crate::session::Principal::grant
    #[must_use]
    pub fn and_apps(mut self, scope: &str) -> Self {
        self.admits.add_apps(scope);
        self
    }

    /// Also admits service tokens with this scope (`Authorization: Bearer`). If this is called several times, a token needs only
    /// one of the scopes. Handlers of such routes take an `Option<`[`Principal`]`>` and an `Option<`[`Machine`]`>`.
    ///
    /// [`Machine`]: crate::session::Machine
    /// [`Principal`]: crate::session::Principal
    #[must_use]
    pub fn and_machines(mut self, scope: &str) -> Self {
        self.admits.add_machines(scope);
        self
    }

    /// Admits only people with this role; others get 403 `forbidden`. If this is called several times, a person needs only one of
    /// the roles.
    ///
    /// The roles are those in the access token, so the check needs no I/O. A role that was taken away has no effect after the next
    /// renewal: after `access_max_age` (default 2 minutes) at the latest. To take it away at once, end the user's sessions
    /// ([`Bulla::end_sessions_of`]).
    ///
    /// A token of an OAuth client has no roles and is refused with 403, even if [`and_apps`](Self::and_apps) admits its scope. A
    /// machine that [`and_machines`](Self::and_machines) admits needs no role.
    #[must_use]
    pub fn role(mut self, role: &str) -> Self {
        self.admits.add_role(role);
        self
    }

    /// For pages that everyone may see: a request whose caller is not authenticated is passed on too. Handlers take an
    /// `Option<`[`Principal`]`>`. A session whose access token has expired is renewed as usual. The answer gets `Vary: Cookie`.
    ///
    /// `None` means that the request has no cookies, or cookies that belong to no live session. The guard still answers these
    /// requests itself:
    ///
    /// - with 503 if it can't tell whether the cookies are valid, because the store does not answer. A handler must not mistake a
    ///   known person for a stranger. Visitors without cookies and people with a valid access token are not affected;
    /// - with 401, 403 or 400 if the credentials in an `Authorization` header are refused, so that a program learns that they are
    ///   wrong;
    /// - with 403 `foreign_origin` if another site caused an unsafe request (docs/design/http.md);
    /// - with a page that loads again by itself if the person comes from a link on another site and the session must be renewed.
    ///
    /// With [`role`](Self::role), the guard requires a person and this method has no effect, in whichever order the two are called.
    ///
    /// [`Principal`]: crate::session::Principal
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.admits.make_optional();
        self
    }

    /// The same guard with a watch for one thread, so that the threads don't share a reference count.
    pub(crate) fn on_this_thread(&self) -> Self {
        Self { bulla: self.bulla.clone(), admits: self.admits.on_this_thread(&self.bulla.0) }
    }

    /// Admits every app, for a route that describes an app's own token.
    pub(crate) fn and_every_app(mut self) -> Self {
        self.admits.add_every_app();
        self
    }
}
