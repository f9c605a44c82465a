//! Tests the schema and the start of nodes.

use std::sync::Arc;

use bulla::internals::{
    session::Denylist,
    store::{
        Database, StoreError,
        postgres::{PostgresStore, PostgresUrl},
    },
};
use futures_util::future::join_all;

use super::{begin, database, end, open};
use crate::support::cluster::{self, psql};

/// The migrations' versions, in order.
fn versions() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/migrations/postgres");
    let names =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut versions: Vec<u32> =
        names.map(|name| name[1..].split_once("__").unwrap().0.parse().unwrap()).collect();
    versions.sort_unstable();
    versions.iter().map(u32::to_string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_nodes_start_at_once_on_an_empty_database() {
    let Some(database) = database() else { return };
    let url = PostgresUrl::new(&database.url);
    assert!(!PostgresStore::exists(&url).await.unwrap());
    let stores = join_all((0..10).map(|_| open(&database.url))).await;
    for store in stores {
        store.unwrap().check_health().await.unwrap();
    }
    assert!(PostgresStore::exists(&url).await.unwrap());
    assert_eq!(
        psql(&database.url, "SELECT string_agg(version::text, ',') FROM bulla_schema_history"),
        versions().join(",")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_is_refused_unchanged() {
    let Some(database) = database() else { return };
    drop(open(&database.url).await.unwrap());
    psql(
        &database.url,
        "INSERT INTO bulla_schema_history VALUES (999, 'later', '2026-11-20T19:00:00Z', '1')",
    );
    let refused = open(&database.url).await;
    assert!(matches!(&refused, Err(StoreError::Schema(why)) if why.contains("999")), "{refused:?}");
    assert_eq!(
        psql(&database.url, "SELECT count(*) FROM bulla_schema_history"),
        (versions().len() + 1).to_string()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_have_the_same_names_and_columns_as_in_sqlite() {
    let Some(database) = database() else { return };
    drop(open(&database.url).await.unwrap());
    let postgres = psql(
        &database.url,
        "SELECT table_name || '.' || column_name FROM information_schema.columns
         WHERE table_schema = 'public' ORDER BY table_name COLLATE \"C\", ordinal_position",
    );
    let postgres: Vec<&str> = postgres.lines().filter(|line| !line.contains("schema_history")).collect();
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("bulla.db");
    drop(Database::from(file.as_path()).open(Arc::new(bulla::internals::clock::SystemClock)).await.unwrap());
    let shell = rusqlite::Connection::open(file).unwrap();
    let mut columns = shell
        .prepare(
            "SELECT m.name || '.' || c.name FROM sqlite_master m, pragma_table_info(m.name) c
             WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%' AND m.name NOT LIKE '%schema_history'
             ORDER BY m.name, c.cid",
        )
        .unwrap();
    let mut sqlite: Vec<String> =
        columns.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    // A column that only PostgreSQL needs, because its transactions can commit out of order.
    let at = sqlite.iter().position(|column| column == "revocations.expires_at").unwrap();
    sqlite.insert(at + 1, "revocations.txid".into());
    assert_eq!(postgres, sqlite);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_ddl_rights_serves_an_existing_schema() {
    let Some(database) = database() else { return };
    drop(open(&database.url).await.unwrap());
    let role = format!("r{}", database.name);
    psql(&database.url, &format!("CREATE ROLE {role} LOGIN"));
    psql(
        &database.url,
        &format!("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"),
    );
    psql(&database.url, &format!("GRANT SELECT, USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}"));
    let limited = database.url.replacen("postgres://postgres@", &format!("postgres://{role}@"), 1);
    let store = open(&limited).await.unwrap();
    let list = Arc::new(Denylist::default());
    let _following = store.follow(list.clone()).await.unwrap();
    let row = begin(&store).await;
    end(&store, row.sid).await.unwrap();
    assert!(list.denies(row.sid));
    // A role that may not create tables gets an error that names the remedy.
    let empty = cluster::shared().expect("asked for before").create();
    psql(&empty.url, "REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    let refused = open(&empty.url.replacen("postgres://postgres@", &format!("postgres://{role}@"), 1)).await;
    let said = refused.unwrap_err().to_string();
    assert!(
        said.contains("permission denied for schema public") && said.contains("createdb --owner"),
        "{said}"
    );
    // A role that may only delete sessions still revokes them.
    psql(&database.url, &format!("REVOKE ALL ON revocations FROM {role}"));
    let row = begin(&open(&database.url).await.unwrap()).await;
    psql(&limited, "DELETE FROM sessions");
    assert_eq!(
        psql(&database.url, &format!("SELECT count(*) FROM revocations WHERE target = '{}'", row.sid)),
        "1"
    );
    psql(&database.url, &format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}
