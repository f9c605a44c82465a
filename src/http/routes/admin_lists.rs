//! The lists of `/admin`: users and sessions, filtered, page by page.

use std::net::IpAddr;

use actix_web::{HttpResponse, web};
use serde::Deserialize;

use crate::{
    http::{
        Bulla, Problem,
        routes::{
            administrator::Administrator,
            parameters::{limit, parameter},
        },
    },
    ids::UserId,
    store::{ListedSession, SessionKey, SessionPage, SessionQuery, UserPage, UserQuery, UserRow},
};

/// The longest text in a filter, in characters.
const LONGEST: usize = 255;

/// Reads a text to search for.
fn text(name: &str, given: Option<&str>) -> Result<Option<String>, Problem> {
    let good = |text: &str| {
        !text.is_empty() && text.chars().nth(LONGEST).is_none() && !text.chars().any(char::is_control)
    };
    let must_be = "a text of 1 to 255 characters without control characters";
    parameter(name, given, must_be, |text| good(text).then(|| text.to_owned()))
}

/// The query of `GET /admin/users`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserFilters {
    role: Option<String>,
    name: Option<String>,
    disabled: Option<String>,
    after: Option<String>,
    limit: Option<String>,
}

impl UserFilters {
    fn query(self) -> Result<UserQuery, Problem> {
        let flag = |text: &str| text.parse().ok();
        Ok(UserQuery {
            role: text("role", self.role.as_deref())?,
            name: text("name", self.name.as_deref())?,
            disabled: parameter("disabled", self.disabled.as_deref(), "true or false", flag)?,
            after: parameter("after", self.after.as_deref(), "the id of a user", UserId::of_row)?,
            limit: limit(self.limit.as_deref())?,
        })
    }
}

/// `GET /admin/users?role=&name=&disabled=&after=&limit=`
pub(crate) async fn users(
    bulla: web::Data<Bulla>,
    _: Administrator,
    filters: web::Query<UserFilters>,
) -> Result<HttpResponse, Problem> {
    let query = filters.into_inner().query()?;
    let UserPage { users, next, .. } = bulla.sessions().parts().store.user_page(&query).await?;
    let users: Vec<_> = users.iter().map(UserRow::to_json).collect();
    let next = next.as_ref().map(UserId::as_str);
    Ok(HttpResponse::Ok().json(serde_json::json!({"users": users, "next": next})))
}

/// The query of `GET /admin/sessions`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionFilters {
    user: Option<String>,
    ip: Option<String>,
    agent: Option<String>,
    after: Option<String>,
    limit: Option<String>,
}

impl SessionFilters {
    /// Returns the query. `None` if no session can match, because no user has an id that is so long.
    fn query(self) -> Result<Option<SessionQuery>, Problem> {
        let user = text("user", self.user.as_deref())?.map(UserId::new).transpose();
        let address = |text: &str| text.parse::<IpAddr>().ok().map(|address| address.to_string());
        let key = |text: &str| text.parse::<SessionKey>().ok();
        let query = SessionQuery {
            user: None,
            ip: parameter("ip", self.ip.as_deref(), "an IP address", address)?,
            agent: text("agent", self.agent.as_deref())?,
            after: parameter("after", self.after.as_deref(), "the value of next in the page before", key)?,
            limit: limit(self.limit.as_deref())?,
        };
        Ok(user.ok().map(|user| SessionQuery { user, ..query }))
    }
}

/// `GET /admin/sessions?user=&ip=&agent=&after=&limit=`: live sessions, newest first.
pub(crate) async fn sessions(
    bulla: web::Data<Bulla>,
    _: Administrator,
    filters: web::Query<SessionFilters>,
) -> Result<HttpResponse, Problem> {
    let (sessions, next) = match filters.into_inner().query()? {
        Some(query) => {
            let SessionPage { sessions, next, .. } =
                bulla.sessions().parts().store.session_page(&query).await?;
            (sessions, next)
        }
        None => (Vec::new(), None),
    };
    let sessions: Vec<_> = sessions.iter().map(ListedSession::to_json).collect();
    let next = next.map(|key| key.to_string());
    Ok(HttpResponse::Ok().json(serde_json::json!({"sessions": sessions, "next": next})))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(query: &str) -> Result<UserQuery, String> {
        let filters = web::Query::<UserFilters>::from_query(query).map_err(|error| error.to_string())?;
        filters.into_inner().query().map_err(|problem| problem.detail().to_owned())
    }

    fn sessions(query: &str) -> Result<Option<SessionQuery>, String> {
        let filters = web::Query::<SessionFilters>::from_query(query).map_err(|error| error.to_string())?;
        filters.into_inner().query().map_err(|problem| problem.detail().to_owned())
    }

    #[test]
    fn a_malformed_filter_of_users_is_refused_with_its_name() {
        for (query, named) in [
            ("role=", "role"),
            ("name=%00", "name"),
            ("disabled=1", "disabled"),
            ("after=ada", "after"),
            ("after=0", "after"),
            ("after=01", "after"),
            ("after=99999999999999999999", "after"),
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("limit=x", "limit"),
        ] {
            let refused = users(query).unwrap_err();
            assert!(refused.starts_with(&format!("The parameter {named} must be ")), "{query}: {refused}");
        }
        let query = users("role=ops&name=a%20b&disabled=true&after=7&limit=1000").unwrap();
        assert_eq!((query.role.as_deref(), query.name.as_deref()), (Some("ops"), Some("a b")));
        assert_eq!((query.disabled, query.after, query.limit), (Some(true), UserId::new("7").ok(), 1000));
    }

    #[test]
    fn a_malformed_filter_of_sessions_is_refused_with_its_name() {
        let long = format!("agent={}", "x".repeat(256));
        for (query, named) in [
            ("user=", "user"),
            ("user=%0a", "user"),
            ("ip=203.0.113", "ip"),
            ("ip=", "ip"),
            ("agent=", "agent"),
            (&long, "agent"),
            ("after=1", "after"),
            ("limit=-1", "limit"),
        ] {
            let refused = sessions(query).unwrap_err();
            assert!(refused.starts_with(&format!("The parameter {named} must be ")), "{query}: {refused}");
        }
        let query = sessions("user=m%C3%A9&ip=2001:DB8:0::1&agent=Fire").unwrap().unwrap();
        assert_eq!((query.user, query.ip.as_deref()), (UserId::new("mé").ok(), Some("2001:db8::1")));
        assert_eq!((query.agent.as_deref(), query.limit), (Some("Fire"), 100));
        let long = format!("user={}", "%C3%A9".repeat(200));
        assert!(sessions(&long).unwrap().is_none(), "no user has an id of 400 bytes");
    }
}
