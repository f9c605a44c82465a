//! Tests the real program with settings and databases as they occur on users' machines.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Child, Command, Output, Stdio},
};

use crate::support::{
    cluster,
    ports::free_port,
    server::{Server, eventually},
};

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn variables_of_a_kubernetes_service_are_ignored_with_a_warning() {
    let server = Server::new(&[("BULLA_PORT", "tcp://10.0.0.7:8080"), ("BULLA_SERVICE_HOST", "10.0.0.7")]);
    let said = server.cli(&["user", "list", "--json"]);
    assert!(said.status.success(), "{}", err(&said));
    assert!(err(&said).contains("BULLA_PORT, BULLA_SERVICE_HOST"), "{}", err(&said));
    assert!(!String::from_utf8_lossy(&said.stdout).contains("BULLA_"));
}

#[test]
fn a_connection_string_of_another_database_is_refused_and_creates_no_file() {
    let folder = tempfile::tempdir().unwrap();
    for database in ["host=h user=u password=hunter2 dbname=d", "mysql:hunter2", "Server=h;Pwd=hunter2"] {
        let said = Command::new(env!("CARGO_BIN_EXE_bulla"))
            .args(["init"])
            .env("BULLA_DATABASE", database)
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert_eq!(said.status.code(), Some(2), "{}", err(&said));
        assert!(err(&said).contains("database") && !err(&said).contains("hunter2"), "{}", err(&said));
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn commands_with_a_settings_file_elsewhere_find_the_installation_from_any_folder() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("etc")).unwrap();
    let run = |arguments: &[&str], from: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bulla"));
        let config = folder.path().join("etc/bulla.toml");
        command.args(arguments).env("BULLA_CONFIG", config).current_dir(from).output().unwrap()
    };
    let said = run(&["init", "--keys", "ring"], folder.path().to_str().unwrap());
    assert!(said.status.success(), "{}", err(&said));
    for arguments in [&["keys", "list"][..], &["user", "list"]] {
        let said = run(arguments, "/");
        assert!(said.status.success() && !err(&said).contains("warning"), "{arguments:?}: {}", err(&said));
    }
}

#[test]
fn a_database_that_other_users_may_write_is_refused_until_the_suggested_command_is_run() {
    let server = Server::new(&[]);
    for mode in [0o644, 0o640] {
        let set =
            |mode| fs::set_permissions(server.path("bulla.db"), fs::Permissions::from_mode(mode)).unwrap();
        let is = || fs::metadata(server.path("bulla.db")).unwrap().permissions().mode() & 0o777;
        set(0o640);
        assert!(server.cli(&["user", "list", "--allow-group-read"]).status.success());
        assert_eq!(is(), 0o640);
        set(mode);
        assert!(server.cli(&["user", "list"]).status.success());
        assert_eq!(is(), 0o600, "closed to those who could read it");
    }
    for mode in [0o666, 0o660, 0o602] {
        fs::set_permissions(server.path("bulla.db"), fs::Permissions::from_mode(mode)).unwrap();
        let said = server.cli(&["user", "list"]);
        assert!(!said.status.success(), "{mode:o}");
        assert!(err(&said).contains(&format!("has mode {mode:04o}")), "{}", err(&said));
        assert_eq!(server.cli(&["doctor"]).status.code(), Some(6));
        let text = err(&said);
        let mend = text.split('`').nth(1).unwrap();
        assert!(mend.starts_with("chmod 600 "), "{mend}");
        let mended = Command::new("sh").args(["-c", mend]).current_dir(server.dir.path()).status().unwrap();
        assert!(mended.success() && server.cli(&["user", "list"]).status.success());
    }
}

#[test]
fn a_rollover_without_a_database_needs_the_explicit_setting() {
    let server = Server::new(&[]);
    let keys = server.path("keys");
    let script = |more: &[&str]| {
        Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/rotate-keys"))
            .args([&["--now"], more].concat())
            .env("BULLA_KEYS", &keys)
            .env("BULLA_BIN", env!("CARGO_BIN_EXE_bulla"))
            .current_dir("/")
            .output()
            .unwrap()
    };
    let ring = || fs::read(keys.join("ring.json")).unwrap();
    let before = ring();
    let said = script(&[]);
    assert!(!said.status.success() && err(&said).contains("--no-database"), "{}", err(&said));
    assert_eq!(ring(), before);
    let said = script(&["--no-database"]);
    assert!(said.status.success(), "{}", err(&said));
    assert_ne!(ring(), before);
}

#[tokio::test]
async fn a_core_dump_of_a_server_does_not_contain_its_keys() {
    let server = Server::started(&[]);
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let bounds: Vec<_> = core.split_whitespace().skip(4).take(2).collect();
    assert_eq!(bounds, ["0", "0"], "{core}");
}

#[tokio::test]
async fn probes_are_answered_only_on_their_own_listener() {
    let port = free_port();
    let admin = format!("127.0.0.1:{port}");
    let server = Server::started(&[("BULLA_ADMIN_LISTEN", &admin)]);
    let browser = server.browser();
    for path in ["/health/live", "/health/ready", "/metrics"] {
        assert_eq!(browser.get(path).await.status(), 404, "{path}");
        let there = browser.client.get(format!("http://{admin}{path}")).send().await.unwrap();
        assert_eq!(there.status(), 200, "{path}");
    }
    // No other spelling of a path leads to a route, on either listener.
    for path in ["/%6detrics", "/%68ealth/ready", "/health/%6cive"] {
        assert_eq!(browser.get(path).await.status(), 404, "{path}");
    }
    for path in ["/auth/login", "/admin/users", "/", "/%6detrics", "/%68ealth/ready", "/health/%6cive"] {
        let there = browser.client.get(format!("http://{admin}{path}")).send().await.unwrap();
        assert_eq!(there.status(), 404, "{path}");
    }
    assert_eq!(browser.get("/auth/login").await.status(), 200);
}

#[test]
fn a_database_without_utf8_is_refused_with_the_command_that_creates_one() {
    let Some(cluster) = cluster::shared() else { return };
    let name = format!("bulla_latin_{}", std::process::id());
    let shell = cluster::Shell::connect(&cluster.database("postgres")).unwrap();
    shell.run(&format!("CREATE DATABASE {name} ENCODING LATIN1 LOCALE 'C' TEMPLATE template0")).unwrap();
    let (folder, mut suggested) = (tempfile::tempdir().unwrap(), String::new());
    for command in ["init", "serve", "doctor"] {
        let said = Command::new(env!("CARGO_BIN_EXE_bulla"))
            .arg(command)
            .env("BULLA_DATABASE", cluster.database(&name))
            .current_dir(folder.path())
            .output()
            .unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&said.stdout), err(&said));
        assert!(!said.status.success(), "{command}: {text}");
        assert!(text.contains("LATIN1") && text.contains("`createdb "), "{command}: {text}");
        suggested = text.split('`').find(|part| part.starts_with("createdb ")).unwrap().to_owned();
    }
    // The suggested command makes a database that is accepted.
    let url = cluster.database(&name);
    let (user, place) = url.strip_prefix("postgres://").unwrap().split_once('@').unwrap();
    let (host, port) = place.split('/').next().unwrap().rsplit_once(':').unwrap();
    let at = [("PGUSER", user), ("PGHOST", host), ("PGPORT", port)];
    let made = Command::new("sh").args(["-c", &suggested]).envs(at).output().unwrap();
    assert!(made.status.success(), "{suggested}: {}", err(&made));
    let said = Command::new(env!("CARGO_BIN_EXE_bulla"))
        .arg("init")
        .env("BULLA_DATABASE", cluster.database(&format!("{name}_utf8")))
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(said.status.success(), "{}", err(&said));
    for name in [name.clone(), format!("{name}_utf8")] {
        shell.run(&format!("DROP DATABASE {name} WITH (FORCE)")).unwrap();
    }
}

/// A PgBouncer in front of the tests' server, in one of its modes.
struct Bouncer {
    process: Child,
    url: String,
    _folder: tempfile::TempDir,
}

impl Bouncer {
    fn start(created: &cluster::Created, mode: &str) -> Option<Self> {
        let server = created.url.split_once("@").unwrap().1.split('/').next().unwrap().to_owned();
        let (host, port) = server.rsplit_once(':')?;
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let own = free_port();
        let settings = format!(
            "[databases]\n* = host={host} port={port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {own}\n\
             auth_type = any\npool_mode = {mode}\nunix_socket_dir =\ndefault_pool_size = 40\n"
        );
        let settings = settings.replace("* = host", "* = user=postgres host");
        fs::write(folder.path().join("pgbouncer.ini"), settings).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--reuid=nobody", "--clear-groups", "/usr/sbin/pgbouncer"]);
        let process = command.arg(folder.path().join("pgbouncer.ini")).stderr(Stdio::null()).spawn().unwrap();
        let url = format!("postgres://postgres@127.0.0.1:{own}/{}", created.name);
        Some(Self { process, url, _folder: folder })
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_pooler_in_transaction_mode_is_refused_and_one_in_session_mode_is_not() {
    if !std::path::Path::new("/usr/sbin/pgbouncer").exists() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI must have pgbouncer");
        return;
    }
    let Some(cluster) = cluster::shared() else { return };
    for (mode, fits) in [("transaction", false), ("session", true)] {
        let created = cluster.create();
        let bouncer = Bouncer::start(&created, mode).unwrap();
        let own = bouncer.url.split('@').nth(1).unwrap().split('/').next().unwrap().to_owned();
        eventually("the pooler listens", || async { std::net::TcpStream::connect(&own).is_ok() }).await;
        let folder = tempfile::tempdir().unwrap();
        let run = |command: &str, url: &str| {
            let mut bulla = Command::new(env!("CARGO_BIN_EXE_bulla"));
            bulla.arg(command).env("BULLA_DATABASE", url).current_dir(folder.path()).output().unwrap()
        };
        let said = run("init", &bouncer.url);
        assert_eq!(said.status.success(), fits, "{mode}: {}", err(&said));
        if !fits {
            assert!(err(&said).contains("pool_mode = session"), "{}", err(&said));
            assert!(run("init", &created.url).status.success());
            for command in ["serve", "doctor"] {
                let said = run(command, &bouncer.url);
                let text = format!("{}{}", String::from_utf8_lossy(&said.stdout), err(&said));
                assert!(!said.status.success() && text.contains("transaction mode"), "{command}: {text}");
            }
        }
    }
}

#[tokio::test]
async fn a_server_warns_about_secret_files_that_other_users_may_read_and_serves() {
    let mut server = Server::new(&[]);
    fs::write(server.path("client"), "hunter2").unwrap();
    let provider = "[provider.facebook]\nclient_id = '1'\nclient_secret_file = 'client'\n";
    fs::write(server.path("bulla.toml"), provider).unwrap();
    // Kubernetes mounts a secret like this by default, so it is not refused.
    for (mode, open) in [(0o644, true), (0o640, true), (0o600, false)] {
        fs::set_permissions(server.path("client"), fs::Permissions::from_mode(mode)).unwrap();
        server.start();
        let said = server.stderr();
        assert_eq!(
            said.contains(&format!("client: has mode {mode:04o}, so other users may read it")),
            open,
            "{said}"
        );
        assert!(!said.contains("hunter2"));
        server.kill();
    }
    server.set("BULLA_ALLOW_GROUP_READ", "true");
    fs::set_permissions(server.path("client"), fs::Permissions::from_mode(0o440)).unwrap();
    let before = server.stderr().matches("other users may read").count();
    server.start();
    assert_eq!(server.stderr().matches("other users may read").count(), before);
}

#[test]
fn config_check_prints_each_fault_and_opens_neither_keys_nor_database() {
    let folder = tempfile::tempdir().unwrap();
    let check = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bulla"));
        command.args([arguments, &["config", "check"]].concat()).current_dir(folder.path());
        command.envs(variables.iter().copied()).output().unwrap()
    };
    let good = check(&[], &[]);
    assert_eq!(
        (good.status.code(), &*good.stdout),
        (Some(0), &b"ok  settings  all settings are valid\n"[..])
    );
    fs::write(folder.path().join("new.toml"), "sesion_cap = 3\nlog = 'xml'\nlisten = '127.0.0.1:1'\n")
        .unwrap();
    let bad = check(&["--config", "new.toml"], &[("BULLA_PASSWORD_MIN", "0")]);
    let lines: Vec<String> = String::from_utf8_lossy(&bad.stdout).lines().map(str::to_owned).collect();
    assert_eq!((bad.status.code(), lines.len()), (Some(6), 3), "{lines:#?}");
    for (line, says) in lines.iter().zip([
        "sesion_cap in new.toml, line 1: there is no such setting; did you mean session_cap?",
        "password_min = \"0\" in the environment: must be a number from 1 to 256",
        "log = \"xml\" in new.toml, line 2: must be text or json",
    ]) {
        assert_eq!(*line, format!("FAULT  settings  {says}"));
    }
    assert_eq!(err(&bad), "bulla: 3 faults found\n");
    let json = check(&["--json", "--config", "new.toml"], &[]);
    let report: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((json.status.code(), &report["faults"]), (Some(6), &2.into()));
    assert_eq!(
        (&report["checks"][1]["name"], &report["checks"][1]["ok"]),
        (&"settings".into(), &false.into())
    );
    let missing = check(&["--config", "nowhere.toml"], &[]);
    assert!(
        missing.status.code() == Some(6) && String::from_utf8_lossy(&missing.stdout).contains("nowhere.toml")
    );
    let names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["new.toml"], "the check creates nothing");
    // Other commands report the first fault only.
    let listed = Command::new(env!("CARGO_BIN_EXE_bulla"))
        .args(["--config", "new.toml", "user", "list"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(
        listed.status.code() == Some(2)
            && err(&listed).contains("sesion_cap")
            && !err(&listed).contains("log = ")
    );
}
