//! `GET /admin/audit`: the audit log in pages, with filters.

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
    store::{AuditQuery, read_audit_event, read_audit_time},
};

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
    Ok(AuditQuery {
        since: parameter("since", filters.since.as_deref(), TIME, read_audit_time)?,
        until: parameter("until", filters.until.as_deref(), TIME, read_audit_time)?,
        user: parameter("user", filters.user.as_deref(), "the id of a user, for example 7", |text| {
            text.parse().ok()
        })?,
        event: parameter(
            "event",
            filters.event.as_deref(),
            "a kind of event, for example login or login.failed",
            read_audit_event,
        )?,
        after: parameter(
            "after",
            filters.after.as_deref(),
            "the seq of an event, for example 1200",
            sequence,
        )?,
        limit: limit(filters.limit.as_deref())?,
    })
}
