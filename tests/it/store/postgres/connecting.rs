//! Tests TLS, passwords, and the program with PostgreSQL.

use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _, sync::Arc};

use bulla::internals::{session::Denylist, store::StoreError};

use super::{database, open, unavailable};
use crate::support::{
    cluster::{self, Shell, psql},
    server::{Server, eventually},
};

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_used_if_offered_and_verified_if_required() {
    let Some(cluster) = cluster::shared() else { return };
    let Some(certificate) = &cluster.certificate else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI's server speaks TLS");
        return;
    };
    let created = cluster.create();
    let local = created.url.replacen("127.0.0.1", "localhost", 1);
    let root = certificate.display();
    let speaks_tls = async |url: &str| {
        let store = open(url).await?;
        let list = Arc::new(Denylist::default());
        let _following = store.follow(list).await?;
        store.check_health().await?;
        let seen = Shell::connect(&created.url).unwrap().run(
            "SELECT count(*) > 0 FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid)
             WHERE s.ssl AND a.datname = current_database() AND a.application_name = 'bulla'",
        );
        Ok::<_, StoreError>(seen.unwrap()[0][0] == "t")
    };
    for (parameters, tls) in [
        ("", true),
        ("?sslmode=prefer", true),
        ("?sslmode=disable", false),
        ("?sslmode=require", true),
        (&format!("?sslmode=verify-ca&sslrootcert={root}"), true),
        (&format!("?sslmode=verify-full&sslrootcert={root}"), true),
    ] {
        // Wait until the connections of the previous round are closed.
        eventually("alone", || async {
            psql(
                &created.url,
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'bulla'",
            ) == "0"
        })
        .await;
        assert_eq!(speaks_tls(&format!("{local}{parameters}")).await.unwrap(), tls, "{parameters}");
    }
    let home = tempfile::tempdir().unwrap();
    let other = home.path().join("other.crt");
    let made = std::process::Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/CN=x",
        ])
        .args(["-keyout", "/dev/null", "-out"])
        .arg(&other)
        .output();
    assert!(made.unwrap().status.success());
    let by_address = local.replacen("localhost", "127.0.0.1", 1);
    for (url, why) in [
        (format!("{local}?sslmode=verify-full&sslrootcert={}", other.display()), "another root"),
        (format!("{local}?sslmode=verify-ca&sslrootcert={}", other.display()), "another root"),
        (format!("{local}?sslmode=require&sslrootcert={}", other.display()), "another root"),
        (format!("{local}?sslmode=verify-full&sslrootcert=system"), "not the world's"),
        (format!("{by_address}?sslmode=verify-full&sslrootcert={root}"), "another name"),
        (format!("{local}?sslmode=verify-full&sslrootcert=/nowhere"), "no roots"),
        (format!("{local}?sslmode=require&sslrootcert=system"), "a weak mode"),
    ] {
        let refused = open(&url).await;
        assert!(unavailable(&refused.map(drop)), "{why}: {url}");
    }
    let any_name = format!("{by_address}?sslmode=verify-ca&sslrootcert={root}");
    assert!(open(&any_name).await.is_ok(), "verify-ca asks for no name");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_is_read_from_libpqs_sources_and_shown_nowhere() {
    let Some(cluster) = cluster::shared() else { return };
    if cluster.certificate.is_none() {
        // The server was not started by the tests, so it may accept connections without a password.
        return;
    }
    let created = cluster.create();
    let shell = Shell::connect(&created.url).unwrap();
    let role = created.role_with_password("hunt:er2");
    shell.run(&format!("GRANT ALL ON SCHEMA public TO {role}")).unwrap();
    let url = created.url.replacen("postgres://postgres@", &format!("postgres://{role}@"), 1);
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("pgpass");
    let mut options = std::fs::OpenOptions::new();
    let mut pgpass = options.write(true).create(true).truncate(true).mode(0o600).open(&file).unwrap();
    let lines = format!("# ours\nelsewhere:*:*:*:no\n127.0.0.1:*:*:{role}:hunt\\:er2\n");
    pgpass.write_all(lines.as_bytes()).unwrap();
    let run = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bulla"));
        command.args(arguments).current_dir(home.path()).env_remove("PGPASSWORD").env("HOME", home.path());
        let output = command.envs(variables.iter().copied()).output().unwrap();
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!said.contains("hunt"), "{said}");
        (output.status.code().unwrap(), said)
    };
    let database = ("BULLA_DATABASE", url.as_str());
    let (code, said) = run(&["init"], &[database]);
    assert!(code == 5 && said.contains("password"), "{code}: {said}");
    let (code, said) = run(&["init"], &[database, ("PGPASSWORD", "hunter2")]);
    assert!(code == 5 && said.contains("28P01"), "{code}: {said}");
    let passfile = ("PGPASSFILE", file.to_str().unwrap());
    let (code, said) = run(&["init"], &[database, passfile]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(run(&["user", "list"], &[passfile]).0, 0, "the next command finds the database");
    assert_eq!(run(&["user", "list"], &[database, ("PGPASSWORD", "hunt:er2")]).0, 0);
    let inside = url.replacen(&format!("{role}@"), &format!("{role}:hunt%3Aer2@"), 1);
    let (code, said) = run(&["--database", &inside, "user", "list"], &[]);
    assert!(code == 0 && said.contains("warning: a password on the command line"), "{said}");
    let (code, said) = run(&["--config", "other.toml", "--database", &inside, "init"], &[]);
    assert!(
        code == 0 && said.contains("the password of the database is not written to the settings file"),
        "{said}"
    );
    let written = std::fs::read_to_string(home.path().join("other.toml")).unwrap();
    assert!(written.contains(&format!("postgres://{role}@")) && !written.contains("hunt"), "{written}");
}

#[tokio::test]
async fn a_server_over_postgres_logs_in_renews_and_revokes() {
    let Some(database) = database() else { return };
    let mut server = Server::new(&[
        ("BULLA_DATABASE", &database.url),
        ("BULLA_ACCESS_MAX_AGE", "2s"),
        ("BULLA_REPLAY_WINDOW", "500ms"),
    ]);
    server.start();
    assert!(!server.path("bulla.db").exists());
    let browsers = [server.ada().await, server.ada().await];
    let sid = browsers[0].sid().await;
    eventually("renewed", || async {
        let generation = psql(&database.url, &format!("SELECT generation FROM sessions WHERE sid = '{sid}'"));
        browsers[0].status().await == 200 && generation != "0"
    })
    .await;
    let revoked = server.cli(&["session", "revoke", &sid]);
    assert!(revoked.status.success(), "{}", String::from_utf8_lossy(&revoked.stderr));
    eventually("revoked", || async { browsers[0].status().await == 401 }).await;
    assert_eq!(browsers[1].status().await, 200);
    psql(&database.url, "DELETE FROM sessions");
    eventually("deleted in psql", || async { browsers[1].status().await == 401 }).await;

    let listed = server.cli(&["keys", "list"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("SERVER") && listed.contains(env!("CARGO_PKG_VERSION")), "{listed}");
    let rotated = server.cli(&["keys", "rotate", "--now", "--json"]);
    assert!(rotated.status.success(), "{}", String::from_utf8_lossy(&rotated.stderr));
    let rotated: serde_json::Value = serde_json::from_slice(&rotated.stdout).unwrap();
    // The command has waited for the server, so the server has the new ring.
    assert_eq!(psql(&database.url, "SELECT ring_generation FROM nodes"), rotated["generation"].to_string());
    let metrics = server.browser().get("/metrics").await.text().await.unwrap();
    for name in ["bulla_revocations ", "bulla_feed_age_seconds ", "bulla_revocation_lag_seconds_bucket"] {
        assert!(metrics.contains(name), "{name}: {metrics}");
    }
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
}

#[tokio::test]
async fn a_database_without_bullas_tables_is_refused() {
    let Some(database) = database() else { return };
    let server = Server::new(&[]);
    for arguments in [&["user", "list"][..], &["serve", "--listen", "127.0.0.1:0"]] {
        let output = server.cli(&[&["--database", &database.url], arguments].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code() == Some(5)
                && said.contains("`bulla init --database ")
                && said.contains("` creates one"),
            "{said}"
        );
    }
    assert_eq!(psql(&database.url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "0");
    let nowhere = server.cli(&["--database", "postgres://ada:hunter2@127.0.0.1:1/x", "user", "list"]);
    let said = String::from_utf8_lossy(&nowhere.stderr).into_owned();
    assert!(nowhere.status.code() == Some(5) && said.contains("127.0.0.1:1/x"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}
