//! Explains why a connection was refused, with the command by which an administrator of the server repairs it.

use tokio_postgres::{Config, Error, config::Host, error::SqlState};

use super::failure::{Failure, ServerMessage};
use crate::{ids::shell::quote, store::StoreError};

/// Returns the error with the command that repairs it.
pub(super) fn explain(error: Error, config: &Config) -> StoreError {
    let (role, name) = (role(config), name(config));
    let server = server(config);
    let remedy = match error.code() {
        Some(&SqlState::INVALID_CATALOG_NAME) => format!(
            "; an administrator of the server creates it: `createdb {server} --owner {} {}`",
            quote(&role),
            quote(&name)
        ),
        Some(&SqlState::INVALID_PASSWORD) => format!(
            "; the password comes from the URL, PGPASSWORD or PGPASSFILE; an administrator of the server sets another: \
             `psql {server} -d {} -c {}`",
            quote("postgres"),
            quote(&format!("\\password {}", quoted(&role)))
        ),
        Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => format!(
            "; an administrator of the server creates a missing role: `createuser {server} --pwprompt {}`, or admits \
             it in pg_hba.conf",
            quote(&role)
        ),
        Some(_) => return Failure::Database(error).into(),
        None => format!("; this command checks whether a server answers there: `pg_isready {server}`"),
    };
    StoreError::Unavailable(format!("{}{remedy}", ServerMessage(&error)))
}

/// Returns the command by which the owner of the tables lets a role read and write them.
pub(super) fn grant(config: &Config, owner: &str, schema: &str) -> String {
    let (role, schema) = (quoted(&role(config)), quoted(schema));
    let sql = format!(
        "GRANT USAGE ON SCHEMA {schema} TO {role}; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}; \
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role}"
    );
    format!("`psql {} -U {} -d {} -c {}`", server(config), quote(owner), quote(&name(config)), quote(&sql))
}

/// Returns the flags that name the server to PostgreSQL's programs.
fn server(config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        Some(Host::Unix(path)) => path.display().to_string(),
        None => config.get_hostaddrs().first().map_or_else(|| "localhost".into(), ToString::to_string),
    };
    format!("-h {} -p {}", quote(&host), config.get_ports().first().unwrap_or(&5432))
}

fn role(config: &Config) -> String {
    config.get_user().unwrap_or("postgres").to_owned()
}

fn name(config: &Config) -> String {
    config.get_dbname().map_or_else(|| role(config), str::to_owned)
}

/// Quotes a name for SQL.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
