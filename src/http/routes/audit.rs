//! `GET /admin/audit`: the audit log in pages, with filters.

use actix_web::{HttpResponse, web};
use serde::Deserialize;

use crate::{
    http::{Bulla, Problem, routes::administrator::Administrator},
    store::{AUDIT_PAGE_MAX, AuditQuery, read_audit_event, read_audit_time},
};

/// The number of rows of a page without `limit`.
const PAGE: u32 = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditFilters {
    since: Option<String>,
    until: Option<String>,
    user: Option<String>,
    event: Option<String>,
    after: Option<String>,
    limit: Option<String>,
}

/// `GET /admin/audit?since=&until=&user=&event=&after=&limit=`: audit events in order. Without `after`, the newest events.
pub(crate) async fn audit(
    bulla: web::Data<Bulla>,
    _: Administrator,
    filters: web::Query<AuditFilters>,
) -> Result<HttpResponse, Problem> {
    let query = read_filters(&filters)?;
    let (limit, pages) = (query.limit as usize, query.after.is_some());
    let rows = bulla.sessions().parts().store.find_audit(query).await?;
    // The newest rows are the end of the log: nothing follows them.
    let next = rows.last().filter(|_| pages && rows.len() == limit).map(|row| row.seq);
    Ok(HttpResponse::Ok().json(serde_json::json!({"audit": rows, "next": next})))
}

fn read_filters(filters: &AuditFilters) -> Result<AuditQuery, Problem> {
    const TIME: &str =
        "a time of the form 2026-11-20T19:00:00Z or Unix milliseconds, for example 1795201200000";
    let sequence = |text: &str| text.parse().ok().filter(|seq| (0..1 << 53).contains(seq));
    let rows = |text: &str| text.parse().ok().filter(|rows| (1..=AUDIT_PAGE_MAX).contains(rows));
    Ok(AuditQuery {
        since: read("since", filters.since.as_ref(), TIME, read_audit_time)?,
        until: read("until", filters.until.as_ref(), TIME, read_audit_time)?,
        user: read("user", filters.user.as_ref(), "the id of a user, for example 7", |text| {
            text.parse().ok()
        })?,
        event: read(
            "event",
            filters.event.as_ref(),
            "a kind of event, for example login or login.failed",
            read_audit_event,
        )?,
        after: read("after", filters.after.as_ref(), "the seq of an event, for example 1200", sequence)?,
        limit: read("limit", filters.limit.as_ref(), "a number from 1 to 1000, for example 100", rows)?
            .unwrap_or(PAGE),
    })
}

/// Reads one filter. The problem names the filter and shows an example.
fn read<T>(
    name: &str,
    text: Option<&String>,
    form: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Problem> {
    let bad = || Problem::bad_request(format!("The parameter {name} must be {form}."));
    text.map(|text| read(text).ok_or_else(bad)).transpose()
}
