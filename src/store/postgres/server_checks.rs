//! Checks that a server is suitable for Bulla, regardless of its schema: the encoding of the database, and the pooler in front of
//! it.

use tokio_postgres::{Client, SimpleQueryMessage};

use super::failure::Failure;
use crate::{ids::shell, secret, store::StoreError};

/// How many times the two connections check that they still have their own sessions.
const ROUNDS: usize = 3;

/// Refuses a database whose encoding can't store every text.
pub(super) async fn check_encoding(client: &Client) -> Result<(), Failure> {
    let sql = "SELECT current_setting('server_encoding') || ' ' || current_user || ' ' || current_database()";
    let answer = text(client, sql).await?;
    let mut words = answer.splitn(3, ' ');
    let (encoding, role) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if encoding == "UTF8" {
        return Ok(());
    }
    let name = words.next().unwrap_or_default();
    Err(Failure::Store(StoreError::Schema(format!(
        "the encoding of the database is {encoding}, which can't store every name; create a database with the \
         encoding UTF8 and use that: `createdb --owner {} --encoding UTF8 --locale C --template template0 {}`",
        shell::quote(role),
        shell::quote(&format!("{name}_utf8"))
    ))))
}

/// Refuses a pooler that assigns a connection another session for each transaction (PgBouncer with `pool_mode = transaction` or
/// `statement`). Settings, prepared statements, LISTEN and advisory locks are lost there.
///
/// Each of two connections writes its own mark into its session. If the pooler shares sessions, a connection finds the other's
/// mark, no mark, or another server process. On an idle pooler the two connections share one session; on a busy pooler each is
/// moved between several sessions.
pub(super) async fn check_sessions(one: &Client, other: &Client) -> Result<(), Failure> {
    let mut sessions = Vec::new();
    for client in [one, other] {
        let mut mark = [0; 16];
        secret::random(&mut mark).map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let mark: String = mark.iter().map(|byte| format!("{byte:02x}")).collect();
        let sql = format!("SELECT set_config('bulla.session', '{mark}', false) || ' ' || pg_backend_pid()");
        sessions.push(text(client, &sql).await?);
    }
    let session_sql =
        "SELECT coalesce(current_setting('bulla.session', true), '') || ' ' || pg_backend_pid()";
    for _ in 0..ROUNDS {
        for (client, session) in [one, other].into_iter().zip(&sessions) {
            if text(client, session_sql).await? != *session {
                return Err(Failure::Store(StoreError::Schema(
                    "the server is reached through a pooler in transaction mode, which doesn't keep sessions; \
                     connect directly to PostgreSQL, or set `pool_mode = session` in pgbouncer.ini".into(),
                )));
            }
        }
    }
    Ok(())
}

/// Returns the single value of a statement. Uses the simple protocol, because prepared statements may be lost.
async fn text(client: &Client, sql: &str) -> Result<String, Failure> {
    let answer = client.simple_query(sql).await?;
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    Ok(row.unwrap_or_default().to_owned())
}
