//! The ladder (DESIGN 4.1): every request climbs until something holds.

use actix_web::{HttpRequest, http::header::HeaderMap};

use super::{
    bulla::Inner,
    cookies::Carried,
    credentials::{self, Authorization},
    login,
};
use crate::{
    http::Problem,
    session::{Denied, Issued, Machine, Principal, RenewMode, Renewed},
    store::Transport,
};

/// Somebody was recognised; what goes out with the answer to their request.
#[derive(Debug)]
pub(super) struct Climbed {
    pub(super) principal: Principal,
    /// `Set-Cookie` lines, or none.
    pub(super) cookies: HeaderMap,
}

impl Inner {
    /// Step 1 alone, without waiting for anything: the access token. `None` leaves it to [`Self::climb`].
    pub(super) fn first_step(&self, request: &HttpRequest) -> Option<Principal> {
        if !request.method().is_safe() {
            return None; // where the forgery rule must be asked first
        }
        if request.headers().contains_key(actix_web::http::header::AUTHORIZATION) {
            let Ok(Authorization::Bearer(token)) = Authorization::of(request) else { return None };
            return self.sessions.authenticate(token).ok();
        }
        let access = self.cookies.read(request).ok()?.access?;
        self.sessions.authenticate(access).ok()
    }

    /// The service token of a machine, if that is what the request brings and it holds. No I/O, and no browser sends one.
    pub(super) fn machine(&self, request: &HttpRequest) -> Option<Machine> {
        let Ok(Authorization::Bearer(token)) = Authorization::of(request) else { return None };
        self.sessions.authenticate_service(token).ok()
    }

    /// All steps.
    pub(super) async fn climb(&self, request: &HttpRequest) -> Result<Climbed, Problem> {
        match Authorization::of(request)? {
            Authorization::Bearer(token) => Ok(recognised(self.sessions.authenticate(token)?)),
            Authorization::Basic { name, password } if !credentials::from_browser(request) => {
                let issued =
                    login::with_password(self, request, &name, &password, Transport::Basic, None).await?;
                let mut cookies = HeaderMap::new();
                self.hand_out(&mut cookies, &issued);
                Ok(Climbed { principal: issued.principal, cookies })
            }
            Authorization::Basic { .. } => Err(Problem::unauthorized()),
            Authorization::Absent => {
                let carried = self.cookies.read(request).map_err(|_| Problem::unauthorized())?;
                let has_cookies = carried.access.is_some() || carried.refresh.is_some();
                self.site.refuse_forgery(request, has_cookies)?;
                self.by_cookies(request, &carried).await
            }
        }
    }

    async fn by_cookies(&self, request: &HttpRequest, carried: &Carried<'_>) -> Result<Climbed, Problem> {
        let denied = match carried.access.map(|token| self.sessions.authenticate(token)) {
            Some(Ok(principal)) => return Ok(recognised(principal)),
            Some(Err(denied)) => denied,
            None => Denied::Session,
        };
        let Some(refresh) = carried.refresh else { return Err(denied.into()) };
        let mode = if credentials::is_cross_site(request) { RenewMode::ServeOnly } else { RenewMode::Rotate };
        let renewed = self.sessions.renew(refresh, &self.site.device(request), mode).await?;
        let mut cookies = HeaderMap::new();
        self.hand_on(&mut cookies, &renewed);
        Ok(Climbed { principal: renewed.principal, cookies })
    }

    /// The cookies of a session that has just begun. A hybrid's access token isn't for the cookie, a body's neither.
    pub(super) fn hand_out(&self, cookies: &mut HeaderMap, issued: &Issued) {
        let policy = &self.sessions.parts().policy;
        if matches!(issued.row.transport, Transport::Cookie | Transport::Basic) {
            self.cookies.set_access(cookies, issued.access.as_str(), policy.access_max_age);
        }
        if issued.row.transport != Transport::Body {
            let left = issued.row.ends_at().since(issued.row.rotated_at);
            self.cookies.set_refresh(cookies, issued.refresh.as_str(), policy.refresh_idle.min(left));
        }
    }

    /// The cookies of a renewal that came by cookie, and so goes by cookie.
    pub(super) fn hand_on(&self, cookies: &mut HeaderMap, renewed: &Renewed) {
        let policy = &self.sessions.parts().policy;
        if let (Some(access), true) = (&renewed.access, renewed.transport != Transport::Hybrid) {
            self.cookies.set_access(cookies, access.as_str(), policy.access_max_age);
        }
        if let Some(refresh) = &renewed.refresh {
            self.cookies.set_refresh(cookies, refresh.as_str(), renewed.refresh_max_age);
        }
    }
}

fn recognised(principal: Principal) -> Climbed {
    Climbed { principal, cookies: HeaderMap::new() }
}
