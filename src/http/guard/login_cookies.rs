//! The cookies of logins at providers. Each login has its own cookie, so that two tabs don't disturb each other, and their number
//! is limited.

use sha2::{Digest as _, Sha256};

use crate::{
    clock::Timestamp,
    http::{
        Problem,
        bulla::Shared,
        wire::{
            cookies::{CookieJar, CookieTokens, SetCookies},
            request::Request,
        },
    },
    login::openid::{LIFE, Pending},
};

/// The largest number of cookies of one kind in one browser.
const MOST: usize = 5;
/// The maximum size of all login cookies of a request together, in bytes. With long return addresses fewer than [`MOST`] cookies
/// fit.
const BYTES: usize = 8 * 1024;

/// The purpose of a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A login that has ended, or a token that does not open. Cleared first.
    Finished,
    /// A nonce for an ID token.
    Nonce,
    /// A login on a provider's pages.
    Login,
}

/// A cookie that the browser has sent.
#[derive(Debug)]
struct Kept<'a> {
    id: &'a str,
    kind: Kind,
    at: Timestamp,
    size: usize,
}

/// The id of a login: the end of its cookie's name, 16 characters derived from the state or the nonce.
pub(crate) fn login_id(state: &str) -> String {
    Sha256::digest(state)[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The cookies to clear before another one of this kind and size is set, so that all stay within the limits.
fn to_clear<'a>(mut kept: Vec<Kept<'a>>, kind: Kind, size: usize) -> Vec<&'a str> {
    kept.sort_by_key(|cookie| (cookie.kind != Kind::Finished, cookie.at));
    let mut cleared = Vec::new();
    loop {
        let of_this_kind = kept.iter().filter(|cookie| cookie.kind == kind).count();
        let bytes = size + kept.iter().map(|cookie| cookie.size).sum::<usize>();
        let oldest = if of_this_kind >= MOST {
            kept.iter().position(|cookie| cookie.kind == kind)
        } else if bytes > BYTES && !kept.is_empty() {
            Some(0)
        } else {
            None
        };
        let Some(oldest) = oldest else { return cleared };
        cleared.push(kept.remove(oldest).id);
    }
}

impl CookieTokens<'_> {
    /// The token in the cookie of this login or nonce.
    pub(crate) fn login(&self, state: &str) -> Option<&str> {
        let wanted = login_id(state);
        self.logins.iter().find(|(id, _)| *id == wanted).map(|(_, token)| *token)
    }
}

impl Shared {
    /// Sets the cookie of the login with this state (or of this nonce), and clears the oldest cookies that exceed the limits.
    pub(crate) fn keep(
        &self,
        request: &impl Request,
        cookies: &mut SetCookies,
        state: &str,
        pending: Pending,
    ) -> Result<(), Problem> {
        let kind = Kind::from(&pending);
        let token = self.logins().seal_pending(pending)?;
        let id = login_id(state);
        CookieJar::set_login(cookies, &id, token.as_str(), LIFE);
        let cookie_tokens = self.cookies.read(request).unwrap_or_default();
        let others = cookie_tokens.logins.iter().filter(|(other, _)| *other != id);
        let kept = others.map(|(id, token)| self.kept(id, token)).collect();
        for other in to_clear(kept, kind, CookieJar::login_size(&id, token.as_str())) {
            CookieJar::clear_login(cookies, other);
        }
        Ok(())
    }

    fn kept<'a>(&self, id: &'a str, token: &str) -> Kept<'a> {
        let (kind, at) = match self.logins().open_with_time(token) {
            Some((pending, at)) => (Kind::from(&pending), at),
            None => (Kind::Finished, Timestamp::from_millis(0)),
        };
        Kept { id, kind, at, size: CookieJar::login_size(id, token) }
    }
}

impl From<&Pending> for Kind {
    fn from(pending: &Pending) -> Self {
        match pending {
            Pending::Provider(_) => Self::Login,
            Pending::Cookie { .. } | Pending::Body { .. } => Self::Nonce,
            Pending::Finished { .. } => Self::Finished,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(id: &str, kind: Kind, at: i64, size: usize) -> Kept<'_> {
        Kept { id, kind, at: Timestamp::from_millis(at), size }
    }

    #[test]
    fn a_sixth_login_clears_the_oldest_login_and_no_other_cookie() {
        let five = |more: Vec<Kept<'static>>| {
            let logins = [("c", 3), ("a", 1), ("e", 5), ("b", 2), ("d", 4)];
            let mut all: Vec<_> = logins.map(|(id, at)| kept(id, Kind::Login, at, 300)).into();
            all.extend(more);
            all
        };
        assert_eq!(to_clear(five(vec![]), Kind::Login, 300), ["a"]);
        assert_eq!(to_clear(five(vec![kept("n", Kind::Nonce, 0, 100)]), Kind::Login, 300), ["a"]);
        assert!(to_clear(five(vec![]), Kind::Nonce, 100).is_empty());
        assert!(to_clear(five(vec![]).split_off(1), Kind::Login, 300).is_empty());
        let sixth = five(vec![kept("f", Kind::Login, 0, 300)]);
        assert_eq!(to_clear(sixth, Kind::Login, 300), ["f", "a"], "down to five with the new one");
    }

    #[test]
    fn login_cookies_have_a_size_limit_and_finished_logins_are_cleared_first() {
        let all = || {
            vec![
                kept("old", Kind::Login, 1, 3000),
                kept("done", Kind::Finished, 3, 2500),
                kept("new", Kind::Login, 2, 2000),
            ]
        };
        assert!(to_clear(all(), Kind::Login, 500).is_empty());
        assert_eq!(to_clear(all(), Kind::Login, 3000), ["done"]);
        assert_eq!(to_clear(all(), Kind::Nonce, 5000), ["done", "old"]);
        assert_eq!(to_clear(all(), Kind::Login, 10_000), ["done", "old", "new"], "the new one is always set");
    }

    #[test]
    fn each_state_has_its_own_id_of_16_characters() {
        let ids: std::collections::BTreeSet<_> = (0..100).map(|n| login_id(&n.to_string())).collect();
        assert!(ids.len() == 100 && ids.iter().all(|id| id.len() == 16));
    }
}
