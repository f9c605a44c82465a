//! Tests the filters of the audit log.

use bulla::internals::store::{AuditQuery, AuditRow};

use super::*;
use crate::support::stores::{Shell, every_store};

every_store![
    serializable;
    each_filter_of_the_audit_returns_exactly_the_rows_that_match,
    the_pages_of_each_filter_together_have_every_row_once,
    a_filter_orders_rows_by_time_if_their_numbers_have_another_order,
    a_filter_accepts_texts_of_any_length,
];

/// Writes rows with the given times, kinds, actors and subjects.
fn write(shell: &Shell, rows: &[(i64, &str, &str, &str)]) {
    for (at, event, actor, subject) in rows {
        shell.run(&format!(
            "INSERT INTO audit (at, event, actor, subject) VALUES ({at}, '{event}', '{actor}', '{subject}')"
        ));
    }
}

/// 60 rows at the times 0 to 59 with 3 kinds, and a user who is the actor of some, the subject of others and both of some.
fn sixty(shell: &Shell) {
    let kinds = ["login", "logout", "user.changed"];
    let rows: Vec<_> = (0..60)
        .map(|n: usize| {
            let (actor, subject) = (["7", "8", "system", "7"][n % 4], ["9", "7", "8", "sid", "7"][n % 5]);
            (i64::try_from(n).unwrap(), kinds[n % 3], actor, subject)
        })
        .collect();
    write(shell, &rows);
}

/// All combinations of filters, without limit.
fn queries() -> Vec<AuditQuery> {
    let mut all = Vec::new();
    for (since, until) in
        [(None, None), (Some(20), None), (None, Some(40)), (Some(20), Some(40)), (Some(90), Some(95))]
    {
        for user in [None, Some("7"), Some("sid"), Some("1")] {
            for event in [None, Some("login"), Some("never")] {
                all.push(AuditQuery {
                    since: since.map(Timestamp::from_millis),
                    until: until.map(Timestamp::from_millis),
                    user: user.map(|id| UserId::new(id).unwrap()),
                    event: event.map(Event::read),
                    ..AuditQuery::newest(1000)
                });
            }
        }
    }
    all
}

fn matches(row: &AuditRow, query: &AuditQuery) -> bool {
    let is_user = |id: &UserId| row.actor == *id.as_str() || row.subject == id.as_str();
    query.since.is_none_or(|since| row.at >= since)
        && query.until.is_none_or(|until| row.at < until)
        && query.user.as_ref().is_none_or(is_user)
        && query.event.as_ref().is_none_or(|event| row.event == *event)
}

async fn each_filter_of_the_audit_returns_exactly_the_rows_that_match() {
    let fixture = Fixture::new().await;
    sixty(&fixture.installation.shell());
    let all = fixture.store.audit(None, 1000).await.unwrap();
    assert_eq!(all.len(), 60);
    for query in queries() {
        let expected: Vec<_> = all.iter().filter(|row| matches(row, &query)).cloned().collect();
        assert_eq!(fixture.store.find_audit(query.clone()).await.unwrap(), expected, "{query:?}");
        let last = expected[expected.len().saturating_sub(4)..].to_vec();
        let few = AuditQuery { limit: 4, ..query };
        assert_eq!(fixture.store.find_audit(few.clone()).await.unwrap(), last, "the newest ones: {few:?}");
    }
}

async fn the_pages_of_each_filter_together_have_every_row_once() {
    let fixture = Fixture::new().await;
    sixty(&fixture.installation.shell());
    for query in queries() {
        let mut pages = Vec::new();
        let mut after = 0;
        loop {
            let page = AuditQuery { after: Some(after), limit: 7, ..query.clone() };
            let page = fixture.store.find_audit(page).await.unwrap();
            pages.extend(page.iter().cloned());
            match page.last() {
                Some(row) if page.len() == 7 => after = row.seq,
                _ => break,
            }
        }
        assert_eq!(pages, fixture.store.find_audit(query.clone()).await.unwrap(), "{query:?}");
    }
}

async fn a_filter_orders_rows_by_time_if_their_numbers_have_another_order() {
    let fixture = Fixture::new().await;
    let times = [50, 10, 40, 20, 30, 10, 60];
    write(&fixture.installation.shell(), &times.map(|at| (at, "login", "7", "")));
    for (since, until, expected) in
        [(20, 41, vec![20, 30, 40]), (10, 11, vec![10, 10]), (60, 61, vec![60]), (11, 20, vec![])]
    {
        let (since, until) = (Some(Timestamp::from_millis(since)), Some(Timestamp::from_millis(until)));
        for after in [None, Some(0)] {
            let query = AuditQuery { since, until, after, ..AuditQuery::newest(10) };
            let rows = fixture.store.find_audit(query).await.unwrap();
            assert_eq!(rows.iter().map(|row| row.at.millis()).collect::<Vec<_>>(), expected);
        }
    }
}

async fn a_filter_accepts_texts_of_any_length() {
    let fixture = Fixture::new().await;
    let (long, other) = ("x".repeat(20_000), format!("{}y", "x".repeat(19_999)));
    let record = async |subject: &str| {
        let event = AuditEvent::new(Event::read(subject), Actor::read(subject), subject);
        fixture.store.record(event).await.unwrap();
    };
    record(&long).await;
    record(&other).await;
    let query = AuditQuery { event: Some(Event::read(&long)), ..AuditQuery::newest(10) };
    let rows = fixture.store.find_audit(query).await.unwrap();
    assert_eq!(rows.iter().map(|row| &row.subject).collect::<Vec<_>>(), [&long]);
    // Both start with the same 255 characters, so the index alone can't tell them apart.
    let (id, longer) = ("x".repeat(255), "x".repeat(256));
    record(&id).await;
    record(&longer).await;
    let query = AuditQuery { user: Some(UserId::new(&*id).unwrap()), ..AuditQuery::newest(10) };
    let rows = fixture.store.find_audit(query).await.unwrap();
    assert_eq!(rows.iter().map(|row| &row.subject).collect::<Vec<_>>(), [&id]);
}
