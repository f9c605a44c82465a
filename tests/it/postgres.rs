//! What only PostgreSQL has: commits out of order, connections that break or fall silent, many nodes that start at
//! once, TLS, passwords from files.

use std::{
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use bulla::{
    ids::{Sid, UserId},
    secret::Digest,
    session::{Denied, Denylist, OnStale, Policy},
    store::{
        AuditEvent, Database, NewSession, SessionChange, SessionEnd, SessionRow, Store, StoreError,
        Transport, Written,
        postgres::{Options, PostgresStore, PostgresUrl},
    },
};
use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{
    cluster::{self, Cluster, Created, Shell, psql},
    ground::{Kind, over},
    server::{Server, eventually},
    town::{Town, device, millis, secs},
};

/// A database of its own on the shared server; none where there is no server.
fn database() -> Option<Created> {
    Some(cluster::shared()?.create())
}

async fn open(url: &str) -> Result<Arc<PostgresStore>, StoreError> {
    PostgresStore::open(&PostgresUrl::new(url)).await.map(Arc::new)
}

fn user() -> UserId {
    UserId::new("crew-1").unwrap()
}

async fn begin(store: &PostgresStore) -> SessionRow {
    let login = AuditEvent::new("login", "tests", "");
    store.begin_session(new_session(), 1000, login).await.unwrap().unwrap()
}

fn new_session() -> NewSession {
    NewSession {
        sid: Sid::generate().unwrap(),
        user_id: user(),
        secret_hash: Digest([7; 32]),
        transport: Transport::Cookie,
        device: device(),
        idle: secs(1800),
        life: secs(86_400),
        replaces: None,
        takes_over_basic: false,
        grant: None,
    }
}

async fn end(store: &PostgresStore, sid: Sid) -> Result<Vec<Sid>, StoreError> {
    store.end_sessions(SessionEnd::One(sid), AuditEvent::new("logout", "tests", "")).await
}

async fn rotate(store: &PostgresStore, row: &SessionRow) -> Result<Written, StoreError> {
    let now = row.rotated_at.plus(secs(60));
    let change = SessionChange::Rotate { to: row.generation + 1, idle: secs(1800), now };
    store.change_session(row, change, None).await
}

async fn hears(list: &Denylist, sid: Sid) -> Duration {
    eventually("the feed hears of it", || async { list.denies(sid) }).await
}

fn unavailable<T: std::fmt::Debug>(answer: &Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::Unavailable(_)))
}

mod the_feed {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_revocation_that_commits_late_is_not_missed() {
        let Some(database) = database() else { return };
        let store = open(&database.url).await.unwrap();
        let list = Arc::new(Denylist::default());
        let _following = store.follow(list.clone()).await.unwrap();
        let (late, mut early) = (begin(&store).await, Vec::new());
        let shell = Shell::connect(&database.url).unwrap();
        shell.run(&format!("BEGIN; DELETE FROM sessions WHERE sid = '{}'", late.sid)).unwrap();
        // Others, with higher numbers, commit and are heard of meanwhile, over many looks.
        for _ in 0..12 {
            let row = begin(&store).await;
            end(&open(&database.url).await.unwrap(), row.sid).await.unwrap();
            assert!(hears(&list, row.sid).await < secs(1));
            early.push(row.sid);
        }
        // Another one that is in progress, takes a number, and is rolled back.
        let other = Shell::connect(&database.url).unwrap();
        let kept = begin(&store).await;
        other.run(&format!("BEGIN; DELETE FROM sessions WHERE sid = '{}'", kept.sid)).unwrap();
        tokio::time::sleep(millis(1200)).await;
        other.run("ROLLBACK").unwrap();
        assert!(!list.denies(late.sid) && list.age() < secs(1));
        shell.run("COMMIT").unwrap();
        let took = hears(&list, late.sid).await;
        assert!(took < secs(1), "{took:?}");
        assert!(early.iter().all(|sid| list.denies(*sid)) && !list.denies(kept.sid));
        // It counts from the commit on, for nobody could see it before.
        let row = |sid: Sid| {
            let row =
                shell.run(&format!("SELECT revoked_at, expires_at FROM revocations WHERE target = '{sid}'"));
            row.unwrap()[0].iter().map(|n| n.parse::<i64>().unwrap()).collect::<Vec<_>>()
        };
        let (late, last) = (row(late.sid), row(early[11]));
        assert!(late[0] >= last[0] + 1200 && late[1] - late[0] == 1_020_000, "{late:?} {last:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_feed_whose_connection_is_cut_catches_up_within_a_second() {
        let Some(database) = database() else { return };
        let store = open(&database.url).await.unwrap();
        let list = Arc::new(Denylist::default());
        let _following = store.follow(list.clone()).await.unwrap();
        let shell = Shell::connect(&database.url).unwrap();
        let cut =
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%revocations_seq_seq%'
            AND datname = current_database() AND pid <> pg_backend_pid()";
        for _ in 0..5 {
            let row = begin(&store).await;
            eventually("a follower to cut", || async { !shell.run(cut).unwrap().is_empty() }).await;
            shell.run(&format!("DELETE FROM sessions WHERE sid = '{}'", row.sid)).unwrap();
            let took = hears(&list, row.sid).await;
            assert!(took < secs(1), "{took:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_feed_without_a_database_grows_old_and_refuses_if_it_is_to() {
        let Some(cluster) = cluster::shared() else { return };
        let created = cluster.create();
        let policy = Policy { on_stale: OnStale::Refuse, max_staleness: millis(600), ..Policy::default() };
        let proxy = Proxy::before(&created.url).await;
        over(Kind::Postgres, async move {
            let town = Town::with(policy);
            let node = town.node_over(&Database::from(proxy.url.as_str())).await;
            let user = node.user("ada").await;
            let issued = node.begin(&user).await;
            assert!(node.sessions.authenticate(issued.access.as_str()).is_ok());
            proxy.be(SILENT);
            eventually("the feed is too old", || async {
                let denied = node.sessions.authenticate(issued.access.as_str());
                matches!(denied, Err(Denied::CannotTell(_)))
            })
            .await;
            proxy.be(OPEN);
            eventually("the feed is fresh again", || async {
                node.sessions.authenticate(issued.access.as_str()).is_ok()
            })
            .await;
            // Whatever was revoked in between, by whomever, is in force.
            proxy.be(SILENT);
            let other = PostgresStore::open(&PostgresUrl::new(&created.url)).await.unwrap();
            end(&other, issued.row.sid).await.unwrap();
            tokio::time::sleep(millis(300)).await;
            proxy.be(OPEN);
            eventually("it is revoked here too", || async {
                matches!(node.sessions.authenticate(issued.access.as_str()), Err(Denied::Session))
            })
            .await;
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn only_revocations_notify() {
        let Some(database) = database() else { return };
        let store = open(&database.url).await.unwrap();
        let (client, mut connection) =
            tokio_postgres::connect(&database.url, tokio_postgres::NoTls).await.unwrap();
        let (heard, mut hears) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(message)) =
                std::future::poll_fn(|context| connection.poll_message(context)).await
            {
                if let tokio_postgres::AsyncMessage::Notification(_) = message {
                    let _ = heard.send(());
                }
            }
        });
        client.batch_execute("LISTEN bulla_revocations").await.unwrap();
        let row = begin(&store).await;
        assert_eq!(rotate(&store, &row).await.unwrap(), Written::Applied);
        store.record(AuditEvent::new("x", "", "")).await.unwrap();
        store.report_node("one", 1, "1").await.unwrap();
        store.sweep(secs(1020), secs(3600)).await.unwrap();
        client.batch_execute("SELECT 1").await.unwrap();
        assert!(hears.try_recv().is_err());
        end(&store, row.sid).await.unwrap();
        hears.recv().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn truncated_tables_revoke_what_they_held() {
        let Some(database) = database() else { return };
        let store = open(&database.url).await.unwrap();
        let list = Arc::new(Denylist::default());
        let _following = store.follow(list.clone()).await.unwrap();
        let row = begin(&store).await;
        // By the shell that an operator has.
        psql(&database.url, "TRUNCATE sessions");
        assert!(hears(&list, row.sid).await < secs(1));
        psql(&database.url, "INSERT INTO users (name, created_at) VALUES ('ada', 1)");
        let ada = store.user_by_name("ada").await.unwrap().unwrap();
        let new = NewSession { user_id: ada.id, ..new_session() };
        store.begin_session(new.clone(), 20, AuditEvent::new("login", "", "")).await.unwrap().unwrap();
        psql(&database.url, "INSERT INTO clients (id, name, created_at) VALUES ('cron', 'Cron', 1)");
        psql(&database.url, "TRUNCATE users, clients, identities CASCADE");
        assert!(hears(&list, new.sid).await < secs(1));
        eventually("the client is revoked", || async {
            list.denies_client("cron", bulla::clock::Timestamp::EPOCH)
        })
        .await;
        let shell = Shell::connect(&database.url).unwrap();
        let refused = shell.run("BEGIN ISOLATION LEVEL REPEATABLE READ; TRUNCATE sessions");
        assert!(refused.unwrap_err().contains("READ COMMITTED"));
    }
}

mod starting {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn ten_nodes_start_at_once_on_an_empty_database() {
        let Some(database) = database() else { return };
        let url = PostgresUrl::new(&database.url);
        assert!(!PostgresStore::exists(&url).await.unwrap());
        let stores = join_all((0..10).map(|_| open(&database.url))).await;
        for store in stores {
            store.unwrap().healthy().await.unwrap();
        }
        assert!(PostgresStore::exists(&url).await.unwrap());
        assert_eq!(
            psql(&database.url, "SELECT string_agg(version::text, ',') FROM bulla_schema_history"),
            "1,2,4"
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_newer_schema_is_refused_and_left_alone() {
        let Some(database) = database() else { return };
        drop(open(&database.url).await.unwrap());
        psql(
            &database.url,
            "INSERT INTO bulla_schema_history VALUES (999, 'later', '2026-11-20T19:00:00Z', '1')",
        );
        let refused = open(&database.url).await;
        assert!(matches!(&refused, Err(StoreError::Schema(why)) if why.contains("999")), "{refused:?}");
        assert_eq!(psql(&database.url, "SELECT count(*) FROM bulla_schema_history"), "4");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_tables_have_the_names_and_columns_of_sqlites() {
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
        drop(Database::from(file.as_path()).open(Arc::new(bulla::clock::SystemClock)).await.unwrap());
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
        // What PostgreSQL needs besides: its transactions commit out of order.
        let at = sqlite.iter().position(|column| column == "revocations.expires_at").unwrap();
        sqlite.insert(at + 1, "revocations.txid".into());
        assert_eq!(postgres, sqlite);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_role_that_may_only_read_and_write_serves_what_another_made() {
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
        // Somebody who may delete sessions and nothing else revokes all the same.
        psql(&database.url, &format!("REVOKE ALL ON revocations FROM {role}"));
        let row = begin(&open(&database.url).await.unwrap()).await;
        psql(&limited, "DELETE FROM sessions");
        assert_eq!(
            psql(&database.url, &format!("SELECT count(*) FROM revocations WHERE target = '{}'", row.sid)),
            "1"
        );
        psql(&database.url, &format!("DROP OWNED BY {role}; DROP ROLE {role}"));
    }
}

/// What a [`Proxy`] does.
const OPEN: u8 = 0;
/// Nothing comes through any more, and nobody is told.
const SILENT: u8 = 1;
/// Questions come through, answers don't.
const MUTE: u8 = 2;
/// Connections are cut, and new ones refused.
const CUT: u8 = 3;

/// A network in between that can fail.
struct Proxy {
    url: String,
    state: Arc<AtomicU8>,
}

impl Proxy {
    async fn before(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (scheme, rest) = url.split_once("://").unwrap();
        let (user, rest) = rest.split_once('@').unwrap();
        let (server, name) = rest.split_once('/').unwrap();
        let (state, server) = (Arc::new(AtomicU8::new(OPEN)), server.to_owned());
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if shared.load(Ordering::SeqCst) == CUT {
                    continue;
                }
                let Ok(server) = TcpStream::connect(&server).await else { continue };
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                tokio::spawn(pass(from_client, to_server, Arc::clone(&shared), &[SILENT]));
                tokio::spawn(pass(from_server, to_client, Arc::clone(&shared), &[SILENT, MUTE]));
            }
        });
        Self { url: format!("{scheme}://{user}@127.0.0.1:{port}/{name}"), state }
    }

    fn be(&self, state: u8) {
        self.state.store(state, Ordering::SeqCst);
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    state: Arc<AtomicU8>,
    swallows: &'static [u8],
) {
    let mut bytes = vec![0; 16_384];
    loop {
        let read = tokio::select! {
            read = from.read(&mut bytes) => read,
            () = tokio::time::sleep(millis(5)) => match state.load(Ordering::SeqCst) {
                CUT => return,
                _ => continue,
            },
        };
        let Ok(read @ 1..) = read else { return };
        // What was swallowed once makes the connection useless: it stays silent for good.
        if swallows.contains(&state.load(Ordering::SeqCst)) {
            while state.load(Ordering::SeqCst) != CUT {
                tokio::time::sleep(millis(20)).await;
            }
            return;
        }
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}

mod trouble {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn an_exhausted_pool_is_cannot_tell_in_under_a_second() {
        let Some(database) = database() else { return };
        let options = Options { connections: 2, ..Options::default() };
        let store = PostgresStore::open_with(&PostgresUrl::new(&database.url), options).await.unwrap();
        let row = begin(&store).await;
        let shell = Shell::connect(&database.url).unwrap();
        shell.run("BEGIN; LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE").unwrap();
        let started = Instant::now();
        let reads = join_all((0..8).map(|_| store.session(row.sid))).await;
        let (writes, took) = (join_all((0..8).map(|_| rotate(&store, &row))).await, started.elapsed());
        assert!(reads.iter().all(unavailable) && writes.iter().all(unavailable), "{reads:?} {writes:?}");
        assert!(took < secs(2), "{took:?} for both");
        shell.run("ROLLBACK").unwrap();
        let rotated = rotate(&store, &store.session(row.sid).await.unwrap().0.unwrap()).await;
        assert_eq!(rotated.unwrap(), Written::Applied, "and then it goes on");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_silent_network_is_cannot_tell_in_under_a_second_and_goes_on_when_it_speaks_again() {
        let Some(database) = database() else { return };
        let proxy = Proxy::before(&database.url).await;
        let store = open(&proxy.url).await.unwrap();
        let row = begin(&store).await;
        for state in [SILENT, CUT] {
            proxy.be(state);
            tokio::time::sleep(millis(50)).await;
            let started = Instant::now();
            let (read, written, ended) =
                tokio::join!(store.session(row.sid), rotate(&store, &row), end(&store, row.sid));
            assert!(
                unavailable(&read) && unavailable(&written) && unavailable(&ended),
                "{read:?} {written:?} {ended:?}"
            );
            assert!(started.elapsed() < secs(1), "{:?}", started.elapsed());
            proxy.be(OPEN);
            assert_eq!(store.session(row.sid).await.unwrap().0, Some(row.clone()), "nothing was done");
        }
        assert_eq!(rotate(&store, &row).await.unwrap(), Written::Applied);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_commit_whose_answer_is_lost_is_never_done_and_never_not_done() {
        let Some(database) = database() else { return };
        let proxy = Proxy::before(&database.url).await;
        let store = open(&proxy.url).await.unwrap();
        let row = begin(&store).await;
        // Prepared, so that the statement itself is what goes out.
        assert_eq!(rotate(&store, &row).await.unwrap(), Written::Applied);
        let row = store.session(row.sid).await.unwrap().0.unwrap();
        proxy.be(MUTE);
        let answer = rotate(&store, &row).await;
        assert!(unavailable(&answer), "{answer:?}");
        proxy.be(OPEN);
        eventually("it was committed all the same", || async {
            store.session(row.sid).await.is_ok_and(|(now, _)| now.unwrap().generation == 2)
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_row_that_somebody_holds_keeps_nobody_else_waiting() {
        let Some(database) = database() else { return };
        let store = open(&database.url).await.unwrap();
        let (held, mut rows) = (begin(&store).await, Vec::new());
        for _ in 0..50 {
            rows.push(begin(&store).await);
        }
        let shell = Shell::connect(&database.url).unwrap();
        shell.run(&format!("BEGIN; SELECT 1 FROM sessions WHERE sid = '{}' FOR UPDATE", held.sid)).unwrap();
        let others = join_all(rows.iter().map(|row| rotate(&store, row)));
        let (stuck, others) = tokio::join!(rotate(&store, &held), others);
        assert!(unavailable(&stuck), "{stuck:?}");
        assert!(others.iter().all(|written| matches!(written, Ok(Written::Applied))), "{others:?}");
        shell.run("ROLLBACK").unwrap();
        assert_eq!(rotate(&store, &held).await.unwrap(), Written::Applied);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn deadlocks_and_refused_serialisations_are_tried_again() {
        let Some(database) = database() else { return };
        psql(
            &database.url,
            &format!("ALTER DATABASE {} SET default_transaction_isolation = 'serializable'", database.name),
        );
        let stores = [open(&database.url).await.unwrap(), open(&database.url).await.unwrap()];
        // All read and change one user's sessions: at this level most attempts are refused.
        let login = |n: usize| {
            let store = Arc::clone(&stores[n % 2]);
            async move { store.begin_session(new_session(), 4, AuditEvent::new("login", "", "")).await }
        };
        let begun = join_all((0..8).map(login)).await;
        assert!(begun.iter().all(|begun| matches!(begun, Ok(Some(_)))), "{begun:?}");
        assert_eq!(stores[0].sessions(Some(&user()), 100).await.unwrap().0.len(), 4);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_that_was_stopped_at_once_is_found_again_and_has_lost_nothing() {
        if cluster::shared().is_none() {
            return;
        }
        let Some(mut own) = Cluster::start() else { return };
        let store = {
            let created = own.create();
            let store = open(&created.url).await.unwrap();
            // It lives as long as the server does.
            std::mem::forget(created);
            store
        };
        let list = Arc::new(Denylist::default());
        let _following = store.follow(list.clone()).await.unwrap();
        let (kept, ended) = (begin(&store).await, begin(&store).await);
        for round in 0..3 {
            let row = store.session(kept.sid).await.unwrap().0.unwrap();
            assert_eq!(rotate(&store, &row).await.unwrap(), Written::Applied);
            own.stop("QUIT");
            let started = Instant::now();
            let away = (store.session(kept.sid).await, end(&store, ended.sid).await);
            assert!(unavailable(&away.0) && unavailable(&away.1), "{away:?}");
            assert!(started.elapsed() < secs(2), "{:?}", started.elapsed());
            own.start_again();
            eventually("it answers again", || async { store.healthy().await.is_ok() }).await;
            let row = store.session(kept.sid).await.unwrap().0.unwrap();
            assert_eq!(row.generation, round + 1, "what was acknowledged is there");
            eventually("the feed is fresh again", || async { list.age() < millis(500) }).await;
        }
        end(&store, ended.sid).await.unwrap();
        assert!(list.denies(ended.sid));
    }
}

mod connecting {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn tls_is_used_where_it_is_offered_and_verified_where_it_is_asked_for() {
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
            store.healthy().await?;
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
            // Connections of the round before are gone by then.
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
    async fn a_password_comes_from_where_users_of_libpq_keep_it_and_is_shown_nowhere() {
        let Some(cluster) = cluster::shared() else { return };
        if cluster.certificate.is_none() {
            return; // Not a server of our own: it may trust anybody.
        }
        let created = cluster.create();
        let shell = Shell::connect(&created.url).unwrap();
        let _ = shell.run("CREATE ROLE locked LOGIN PASSWORD 'hunt:er2'");
        shell.run("GRANT ALL ON SCHEMA public TO locked").unwrap();
        let url = created.url.replacen("postgres://postgres@", "postgres://locked@", 1);
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("pgpass");
        let mut options = std::fs::OpenOptions::new();
        let mut pgpass = options.write(true).create(true).truncate(true).mode(0o600).open(&file).unwrap();
        pgpass.write_all(b"# ours\nelsewhere:*:*:*:no\n127.0.0.1:*:*:locked:hunt\\:er2\n").unwrap();
        let run = |arguments: &[&str], variables: &[(&str, &str)]| {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bulla"));
            command
                .args(arguments)
                .current_dir(home.path())
                .env_remove("PGPASSWORD")
                .env("HOME", home.path());
            let output = command.envs(variables.iter().copied()).output().unwrap();
            let said = format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            assert!(!said.contains("hunt"), "{said}");
            (output.status.code().unwrap(), said)
        };
        let database = ("BULLA_DATABASE", url.as_str());
        let (code, said) = run(&["init"], &[database]);
        assert!(code == 5 && said.contains("password"), "{code}: {said}");
        let (code, said) = run(&["init"], &[database, ("PGPASSWORD", "hunter2")]);
        assert!(code == 5 && said.contains("28P01"), "{code}: {said}");
        let passfile = ("PGPASSFILE", file.to_str().unwrap());
        assert_eq!(run(&["init"], &[database, passfile]).0, 0);
        assert_eq!(run(&["user", "list"], &[database, ("PGPASSWORD", "hunt:er2")]).0, 0);
        let inside = url.replacen("locked@", "locked:hunt%3Aer2@", 1);
        let (code, said) = run(&["--database", &inside, "user", "list"], &[]);
        assert!(code == 0 && said.contains("warning: a password in --database"), "{said}");
        let (code, said) = run(&["--config", "other.toml", "--database", &inside, "init"], &[]);
        assert!(code == 0 && said.contains("password is not written down"), "{said}");
        let written = std::fs::read_to_string(home.path().join("other.toml")).unwrap();
        assert!(written.contains("postgres://locked@") && !written.contains("hunt"), "{written}");
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
            let generation =
                psql(&database.url, &format!("SELECT generation FROM sessions WHERE sid = '{sid}'"));
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
        // It has waited for the server, so the server has it.
        assert_eq!(
            psql(&database.url, "SELECT ring_generation FROM nodes"),
            rotated["generation"].to_string()
        );
        let metrics = server.browser().get("/metrics").await.text().await.unwrap();
        for name in ["bulla_revocations ", "bulla_feed_age_seconds ", "bulla_revocation_lag_seconds_bucket"] {
            assert!(metrics.contains(name), "{name}: {metrics}");
        }
        server.signal("TERM");
        assert_eq!(server.wait(), Some(0));
    }

    #[tokio::test]
    async fn a_database_without_bullas_tables_is_no_installation() {
        let Some(database) = database() else { return };
        let server = Server::new(&[]);
        for arguments in [&["user", "list"][..], &["serve", "--listen", "127.0.0.1:0"]] {
            let output = server.cli(&[&["--database", &database.url], arguments].concat());
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.code() == Some(5) && said.contains("`bulla init` makes one"), "{said}");
        }
        assert_eq!(psql(&database.url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "0");
        let nowhere = server.cli(&["--database", "postgres://ada:hunter2@127.0.0.1:1/x", "user", "list"]);
        let said = String::from_utf8_lossy(&nowhere.stderr).into_owned();
        assert!(nowhere.status.code() == Some(5) && said.contains("127.0.0.1:1/x"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

mod keys {
    use super::*;

    #[tokio::test]
    async fn a_rollover_waits_for_servers_and_is_refused_while_one_lacks_the_staged_key() {
        let server = Server::new(&[]);
        let generation = || {
            let listed = server.cli(&["keys", "list", "--json"]);
            let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
            listed["generation"].as_u64().unwrap()
        };
        let database = Database::from(server.path("bulla.db").as_path());
        let store = database.open(Arc::new(bulla::clock::SystemClock)).await.unwrap();
        let before = generation();
        let rotate = |arguments: &[&str]| server.cli(&[&["keys", "rotate"], arguments].concat());
        let said = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();

        store.report_node("web2", before - 1, "0.1.0").await.unwrap();
        let refused = rotate(&["--wait", "300ms", "--min-staged", "0s"]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(said(&refused).contains("hasn't reached web2"), "{}", said(&refused));
        assert_eq!(generation(), before);

        // It comes while it is waited for; the new ring it is told of, and doesn't take, is warned about.
        let report = async {
            tokio::time::sleep(millis(300)).await;
            store.report_node("web2", before, "0.1.0").await.unwrap();
        };
        let command = server.command(&["keys", "rotate", "--wait", "2s", "--min-staged", "0s"]);
        let mut command = tokio::process::Command::from(command);
        let (rotated, ()) = tokio::join!(command.output(), report);
        let rotated = rotated.unwrap();
        assert!(rotated.status.success(), "{}", said(&rotated));
        assert!(said(&rotated).contains("warning: generation"), "{}", said(&rotated));
        assert_eq!(generation(), before + 1);
        let listed = server.cli(&["keys", "list"]);
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        assert!(listed.contains("web2") && listed.contains("(behind)"), "{listed}");
        assert!(rotate(&["--now", "--wait", "0s"]).status.success(), "whoever must, may");
    }
}
