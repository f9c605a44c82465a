//! Each case is a state, a command that fails in it, and the command that the error message suggests.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

use crate::support::server::Server;

/// The user id of the service that owns an installation.
const SERVICE: u32 = 4242;

/// An installation and a shell in its folder.
pub struct Place {
    pub server: Server,
    /// The programs on the shell's path: `bulla` and a substitute for `sudo`.
    programs: tempfile::TempDir,
    /// The user that runs the commands; `None`: the user that runs the tests.
    user: Option<u32>,
}

impl Place {
    pub fn new() -> Self {
        let programs = tempfile::tempdir().unwrap();
        fs::set_permissions(programs.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let under_test = Path::new(env!("CARGO_BIN_EXE_bulla"));
        // A copy, because other users may not enter the build folder.
        fs::copy(under_test, programs.path().join("bulla")).unwrap();
        let sudo = programs.path().join("sudo");
        let script = "#!/bin/sh\nuser=${2#\\#}\nshift 2\nexec setpriv --reuid=$user --regid=$user --clear-groups \"$@\"\n";
        fs::write(&sudo, script).unwrap();
        fs::set_permissions(&sudo, fs::Permissions::from_mode(0o755)).unwrap();
        let server = Server::new(&[]);
        fs::set_permissions(server.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { server, programs, user: None }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.server.path(name)
    }

    /// Gives all files to the service's user. Returns `None` unless the test runs as root.
    fn of_the_service(self) -> Option<Self> {
        if !is_root() {
            return None;
        }
        let owner = format!("{SERVICE}:{SERVICE}");
        let given = Command::new("chown").args(["-R", &owner]).arg(self.server.dir.path()).status().unwrap();
        assert!(given.success());
        Some(self)
    }

    /// Runs a command line in a shell, as the user in `user`.
    pub fn shell(&self, line: &str) -> Output {
        let mut command = match self.user {
            Some(user) => {
                let mut command = Command::new("setpriv");
                let ids = [format!("--reuid={user}"), format!("--regid={user}")];
                command.args(ids).args(["--clear-groups", "sh"]);
                command
            }
            None => Command::new("sh"),
        };
        let path = format!("{}:{}", self.programs.path().display(), std::env::var("PATH").unwrap());
        command.args(["-c", line]).current_dir(self.server.dir.path()).env("PATH", path);
        command.envs(self.server.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// Checks that the command fails, then runs and returns the command in its message that begins with `begins`.
    pub fn mends(&self, failing: &str, begins: &str) -> String {
        let failed = self.shell(failing);
        assert!(!failed.status.success(), "`{failing}` does not fail: {}", said(&failed));
        let command = suggested(&said(&failed), begins);
        let mended = self.shell(&command);
        assert!(mended.status.success(), "`{command}`: {}", said(&mended));
        command
    }

    /// As [`Self::mends`]; checks also that the first command then succeeds.
    pub fn mends_all(&self, failing: &str, begins: &str) {
        let command = self.mends(failing, begins);
        let works = self.shell(failing);
        assert!(works.status.success(), "after `{command}`, `{failing}`: {}", said(&works));
        self.is_sound();
    }

    pub fn is_sound(&self) {
        let doctor = self.shell("bulla doctor");
        assert!(doctor.status.success(), "{}", said(&doctor));
    }

    fn ring(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path("keys/ring.json")).unwrap()).unwrap()
    }

    /// Changes `ring.json` as a person with an editor does.
    fn edit_ring(&self, edit: impl FnOnce(&mut Value)) {
        let mut ring = self.ring();
        edit(&mut ring);
        fs::write(self.path("keys/ring.json"), ring.to_string()).unwrap();
    }

    /// The file of the key that is in this state.
    fn key(&self, state: &str) -> PathBuf {
        let ring = self.ring();
        let key = ring["keys"].as_array().unwrap().iter().find(|key| key["state"] == state).unwrap();
        self.path(&format!("keys/{}.key", key["kid"].as_str().unwrap()))
    }
}

pub fn is_root() -> bool {
    let root = Command::new("id").arg("-u").output().unwrap().stdout.trim_ascii() == b"0";
    if !root {
        eprintln!("skipped: only root can give files to another user");
    }
    root
}

pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Returns the first command in backticks that begins with `begins`, exactly as printed.
pub fn suggested(text: &str, begins: &str) -> String {
    let commands = text.split('`').skip(1).step_by(2);
    let found = commands.into_iter().find(|command| command.starts_with(begins));
    found.unwrap_or_else(|| panic!("no command `{begins}…` is suggested: {text}")).to_owned()
}

#[test]
fn a_lost_ring_is_made_anew_by_the_command_that_every_message_names() {
    for failing in [
        "bulla doctor",
        "bulla init",
        "bulla keys list",
        "bulla keys check",
        "bulla token seal '{\"id\":\"1\"}'",
        "bulla serve --listen 127.0.0.1:0",
        "bulla serve --init --listen 127.0.0.1:0",
    ] {
        for whole in [true, false] {
            let place = Place::new();
            match whole {
                true => fs::rename(place.path("keys"), place.path("lost")).unwrap(),
                false => fs::remove_file(place.path("keys/ring.json")).unwrap(),
            }
            place.mends(failing, "bulla keys revoke --all");
            place.is_sound();
        }
    }
}

#[test]
fn a_ring_of_a_folder_that_no_database_knows_is_never_made_by_a_revocation() {
    let place = Place::new();
    let output = place.shell("bulla --keys elsewhere --database nowhere.db keys revoke --all");
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(!place.path("elsewhere").exists());
}

/// A name, and a function that causes the damage.
type Damage = (&'static str, fn(&Place));

#[test]
fn a_damaged_ring_is_mended_by_what_its_message_suggests() {
    let damages: [Damage; 6] = [
        ("two active keys", |place| {
            place.edit_ring(|ring| {
                for key in ring["keys"].as_array_mut().unwrap() {
                    key["state"] = json!("active");
                }
            })
        }),
        ("no active key", |place| {
            place.edit_ring(|ring| ring["keys"][0]["state"] = json!("retired"));
        }),
        ("a key twice", |place| {
            place.edit_ring(|ring| {
                let key = ring["keys"][1].clone();
                ring["keys"].as_array_mut().unwrap().push(json!({"state": "retired", "kid": key["kid"],
                    "suite": key["suite"], "since": key["since"]}));
            })
        }),
        ("half a file", |place| {
            let text = fs::read_to_string(place.path("keys/ring.json")).unwrap();
            fs::write(place.path("keys/ring.json"), &text[..text.len() / 2]).unwrap();
        }),
        ("an empty file", |place| fs::write(place.path("keys/ring.json"), "").unwrap()),
        ("an old copy", |place| {
            let old = fs::read(place.path("keys/ring.json")).unwrap();
            let keys: Vec<_> =
                fs::read_dir(place.path("keys")).unwrap().map(|key| key.unwrap().path()).collect();
            let rotated = place.shell("bulla keys rotate --now; bulla keys rotate --now");
            assert!(rotated.status.success());
            place.server.sqlite3("UPDATE ring SET generation = 3, fingerprint = zeroblob(32)");
            fs::write(place.path("keys/ring.json"), old).unwrap();
            assert!(keys.iter().all(|key| key.exists()));
        }),
    ];
    for (what, damage) in damages {
        let place = Place::new();
        damage(&place);
        println!("{what}");
        place.mends("bulla doctor", "bulla keys revoke --all");
        place.is_sound();
    }
}

#[test]
fn a_damaged_key_is_mended_by_what_its_message_suggests() {
    for state in ["active", "staged"] {
        let damages: [fn(&Path); 4] = [
            |key| fs::remove_file(key).unwrap(),
            |key| fs::write(key, "{}").unwrap(),
            |key| {
                let text = fs::read_to_string(key).unwrap();
                fs::write(key, &text[..40]).unwrap();
            },
            |key| fs::write(key, vec![b' '; 8192]).unwrap(),
        ];
        for damage in damages {
            let place = Place::new();
            damage(&place.key(state));
            place.mends_all("bulla keys list", "bulla keys revoke ");
        }
        let place = Place::new();
        let key = place.key(state);
        fs::remove_file(&key).unwrap();
        fs::create_dir(&key).unwrap();
        place.mends("bulla keys list", "rm -r ");
        place.mends_all("bulla keys list", "bulla keys revoke ");
    }
}

#[test]
fn a_mode_that_lets_others_in_is_mended_by_what_its_message_suggests() {
    for (name, mode) in [("keys", 0o777), ("keys/ring.json", 0o644)] {
        let place = Place::new();
        fs::set_permissions(place.path(name), fs::Permissions::from_mode(mode)).unwrap();
        place.mends_all("bulla keys list", "chmod ");
    }
    let place = Place::new();
    fs::set_permissions(place.key("active"), fs::Permissions::from_mode(0o640)).unwrap();
    place.mends_all("bulla keys list", "chmod 600 ");
}

#[test]
fn a_rollover_that_is_refused_goes_by_what_its_message_suggests() {
    let place = Place::new();
    place.mends("bulla keys rotate", "bulla keys rotate --now");
    place.is_sound();

    let place = Place::new();
    fs::remove_file(place.key("staged")).unwrap();
    place.edit_ring(|ring| {
        ring["keys"].as_array_mut().unwrap().retain(|key| key["state"] != "staged");
        ring["generation"] = json!(2);
    });
    place.mends_all("bulla keys check", "bulla keys rotate --now");
}

#[test]
fn a_fault_that_keys_check_finds_is_mended_by_what_it_suggests() {
    let place = Place::new();
    place.edit_ring(|ring| {
        ring["not_before"] = json!(4_000_000_000_000_u64);
        ring["generation"] = json!(2);
    });
    place.mends_all("bulla keys check", "bulla keys not-before ");
    let place = Place::new();
    let key = place.key("staged");
    fs::copy(&key, place.path("keys/00000001.key")).unwrap();
    place.mends_all("bulla keys check", "rm ");
    assert!(key.exists());
}

#[test]
fn a_service_keeps_its_files_when_root_looks_at_them() {
    let Some(place) = Place::new().of_the_service() else { return };
    for failing in ["bulla keys list", "bulla keys rotate --now"] {
        let command = place.mends(failing, "setpriv ");
        assert!(command.ends_with(failing), "{command}");
    }
    let doctor = place.shell("bulla doctor");
    assert!(said(&doctor).contains("setpriv --reuid=4242"), "{}", said(&doctor));
    for entry in fs::read_dir(place.path("keys")).unwrap() {
        use std::os::unix::fs::MetadataExt as _;
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().uid(), SERVICE, "{entry:?}");
    }
}

/// The database, its folder and the keys belong to a service. The error tells any other user how to run the command as that
/// service.
#[test]
fn a_user_who_may_not_is_told_how_to_become_the_one_who_may() {
    let Some(mut place) = Place::new().of_the_service() else { return };
    for failing in
        ["bulla user list", "bulla keys list", "bulla keys rotate --now", "bulla init", "bulla doctor"]
    {
        place.user = Some(65_534);
        let failed = place.shell(failing);
        assert!(!failed.status.success(), "{failing}");
        let command = suggested(&said(&failed), "sudo -u '#4242' bulla ");
        assert!(command.ends_with(failing.strip_prefix("bulla").unwrap()), "{command}");
        // A user who may use sudo.
        place.user = None;
        let mended = place.shell(&command);
        assert!(mended.status.success(), "{command}: {}", said(&mended));
    }
}

#[test]
fn a_database_that_its_owner_made_unwritable_is_mended_by_what_its_message_suggests() {
    let Some(mut place) = Place::new().of_the_service() else { return };
    place.user = Some(SERVICE);
    for (name, mode) in
        [("bulla.db", 0o400), ("bulla.db", 0), ("", 0o500), ("", 0o600), ("keys", 0o500), ("keys", 0)]
    {
        fs::set_permissions(place.path(name), fs::Permissions::from_mode(mode)).unwrap();
        let failing = if name == "keys" { "bulla keys rotate --now" } else { "bulla user list" };
        println!("{name} {mode:o}");
        place.mends_all(failing, "chmod u+");
    }
}

#[test]
fn a_database_that_is_missing_is_made_by_what_the_message_suggests_wherever_it_was_named() {
    let place = Place::new();
    for database in ["other.db", "./other folder/x.db", "nowhere/deep/x.db"] {
        let failing = format!("bulla user list --database '{database}'");
        place.mends(&failing, "bulla init");
        assert!(place.shell(&failing).status.success());
        assert!(place.path(database).exists());
    }
    // In an empty folder.
    let empty = tempfile::tempdir().unwrap();
    let at = |line: &str| place.shell(&format!("cd {} && {line}", empty.path().display()));
    for failing in ["bulla user list", "bulla serve --listen 127.0.0.1:0", "bulla keys list", "bulla doctor"]
    {
        let failed = at(failing);
        assert!(!failed.status.success());
        suggested(&said(&failed), "bulla init");
    }
    let failed = said(&at("bulla user list"));
    assert!(failed.contains(empty.path().to_str().unwrap()), "the whole path is named: {failed}");
    assert!(at(&suggested(&failed, "bulla init")).status.success());
    assert!(at("bulla user list && bulla keys list && bulla doctor").status.success());
    // The folder is missing, and `serve --init` is to create the database and the keys in it.
    let failed = place.shell("bulla --database away/x.db --keys away/keys serve --init --listen 127.0.0.1:0");
    let command = suggested(&said(&failed), "mkdir -p ");
    assert!(place.shell(&command).status.success() && place.path("away").is_dir());
}

#[test]
fn a_log_that_no_program_has_read_is_read_by_what_the_message_suggests() {
    let mut place = Place::new();
    place.server.start();
    place.server.kill();
    let kept = ["bulla.db", "bulla.db-wal"].map(|name| (name, fs::read(place.path(name)).unwrap()));
    assert!(!kept[1].1.is_empty());
    fs::remove_file(place.path("bulla.db-shm")).unwrap();
    place.mends_all("bulla doctor", "bulla audit --limit 1");
}

#[test]
fn what_a_message_says_shows_more_shows_it() {
    let place = Place::new();
    for (failing, begins) in [
        ("bulla keys revoke 00000000", "bulla keys list"),
        ("bulla user show 'no body'", "bulla user list"),
        ("bulla user add ada --password-stdin", "bulla user show ada"),
        ("bulla session revoke AAAAAAAAAAAAAAAAAAAAAA", "bulla session list"),
        ("bulla client delete nothing", "bulla client list"),
        ("bulla migrate", "bulla migrate --help"),
    ] {
        place.mends(failing, begins);
    }
    place.server.add_user("it's me", &[]);
    place.mends("bulla user add \"it's me\" --password-stdin", "bulla user show ");
}

#[test]
fn nothing_is_suggested_that_can_not_work_for_files_of_another_kind() {
    let place = Place::new();
    assert!(
        place.shell("sqlite3 foreign.db 'CREATE TABLE theirs(x)'; chmod 600 foreign.db").status.success()
    );
    for (failing, says) in [
        ("bulla --database foreign.db user list", "is another program's database (it holds theirs)"),
        ("bulla --database foreign.db serve", "is another program's database (it holds theirs)"),
        ("bulla --database foreign.db doctor", "is another program's database (it holds theirs)"),
        (
            "bulla --keys bulla.toml keys list",
            "is not a directory; name the directory of the keys with --keys",
        ),
        ("bulla --keys bulla.toml keys rotate", "is not a directory"),
        ("bulla --keys bulla.toml serve", "is not a directory"),
        ("bulla --keys bulla.toml doctor", "is not a directory"),
    ] {
        let failed = place.shell(failing);
        assert!(!failed.status.success() && said(&failed).contains(says), "{failing}: {}", said(&failed));
        assert!(
            !said(&failed).contains("`bulla init") && !said(&failed).contains("`bulla keys revoke"),
            "{}",
            said(&failed)
        );
    }
}

#[test]
fn a_folder_in_which_nothing_can_be_made_is_named_with_the_user_who_may() {
    let Some(mut place) = Place::new().of_the_service() else { return };
    fs::create_dir(place.path("closed")).unwrap();
    place.user = Some(SERVICE);
    let failed = place.shell("cd closed && bulla init");
    assert!(said(&failed).contains("closed: belongs to user 0, this is user 4242"), "{}", said(&failed));
    assert_eq!(suggested(&said(&failed), "sudo -u '#0'"), "sudo -u '#0' bulla init");
}

#[test]
fn what_init_and_client_add_say_comes_next_is_about_the_same_installation() {
    let place = Place::new();
    let flags = "--keys 'other keys' --database other.db";
    let made = said(&place.shell(&format!("bulla {flags} init")));
    let add = suggested(&made, "bulla user add ").replace("NAME", "zoe");
    let added = place.shell(&format!("echo 'correct horse battery' | {add} --password-stdin"));
    assert!(added.status.success(), "{add}: {}", said(&added));
    assert_eq!(suggested(&made, "bulla serve"), format!("bulla serve {flags}"));
    let client = place.shell(&format!("bulla {flags} client add reports"));
    let another = suggested(&said(&client), "bulla client rotate-secret ");
    let rotated = place.shell(&another);
    assert!(
        rotated.status.success() && said(&rotated).contains("client_secret"),
        "{another}: {}",
        said(&rotated)
    );
}

#[test]
fn a_command_that_the_log_suggests_is_about_the_installation_that_the_server_serves() {
    use std::io::BufRead as _;
    for (format, flags) in
        [("text", "--keys k --database x.db"), ("json", "--keys 'k \"2\"' --database y.db")]
    {
        let place = Place::new();
        let made = place.shell(&format!("bulla {flags} init"));
        assert!(made.status.success(), "{}", said(&made));
        let database = flags.split_once("--database ").unwrap().1;
        let broken = place.shell(&format!("sqlite3 {database} 'DROP TRIGGER session_deleted'"));
        assert!(broken.status.success(), "{}", said(&broken));
        let line = format!("exec {} serve --listen 127.0.0.1:0 {flags}", env!("CARGO_BIN_EXE_bulla"));
        let mut server = Command::new("sh")
            .args(["-c", &line])
            .current_dir(place.server.dir.path())
            .env("BULLA_LOG", format)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = std::io::BufReader::new(server.stderr.take().unwrap());
        let told = log.lines().map(Result::unwrap).find(|line| line.contains("bulla init")).unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
        let told = match format {
            "json" => serde_json::from_str::<Value>(&told).unwrap()["fields"]["message"]
                .as_str()
                .unwrap()
                .to_owned(),
            _ => told,
        };
        assert_eq!(suggested(&told, "bulla init"), format!("bulla init {flags}"));
        // An error that ends the server is written to the same log.
        let lost = format!("--keys nowhere --database {database}");
        let ended =
            said(&place.shell(&format!("BULLA_LOG={format} bulla serve --listen 127.0.0.1:0 {lost}")));
        assert!(ended.contains(&format!("`bulla keys revoke --all {lost}`")), "each flag once: {ended}");
        assert!(place.shell(&suggested(&told, "bulla init")).status.success());
        assert!(place.shell(&format!("bulla {flags} doctor")).status.success());
    }
}

#[tokio::test]
async fn a_stored_hash_that_is_none_is_replaced_by_what_the_log_suggests() {
    let mut place = Place::new();
    place
        .server
        .sqlite3("UPDATE users SET password_hash = '$argon2id$v=19$m=1,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAA'");
    place.server.start();
    let body = json!({"username": "ada", "password": "correct horse battery"});
    assert_eq!(place.server.browser().post("/auth/login", body.clone()).await.status(), 401);
    let log = || place.server.stderr();
    crate::support::server::eventually("the log", || async { log().contains("bulla user passwd") }).await;
    let command = suggested(&log(), "bulla user passwd ");
    let set = place.shell(&format!("echo 'correct horse battery' | {command} --password-stdin"));
    assert!(set.status.success(), "{}", said(&set));
    assert_eq!(place.server.browser().post("/auth/login", body).await.status(), 200);
}

/// Creates a certificate for `localhost` that is valid for `days` days. If `encrypted`, the key is protected by the passphrase
/// `secret`.
pub fn certificate(folder: &Path, days: &str, encrypted: bool) {
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-days",
        days,
    ]);
    openssl.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]);
    openssl.args(["-out", "cert.pem", "-keyout", "key.pem"]).current_dir(folder);
    openssl.args(if encrypted { &["-passout", "pass:secret"][..] } else { &["-noenc"][..] });
    let made = openssl.output().expect("openssl is installed by scripts/test");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[test]
fn a_tls_key_that_everybody_may_read_or_that_is_encrypted_is_mended_by_what_doctor_suggests() {
    let mut place = Place::new();
    place.server.set("BULLA_TLS_CERT", "cert.pem");
    place.server.set("BULLA_TLS_KEY", "key.pem");
    certificate(place.server.dir.path(), "90", true);
    let doctor = place.shell("bulla doctor");
    assert_eq!(doctor.status.code(), Some(6));
    // The command prompts for the passphrase; the test passes it as an argument.
    let command = suggested(&said(&doctor), "openssl pkey ");
    let mended = place.shell(&format!("{command} -passin pass:secret"));
    assert!(mended.status.success(), "{}", said(&mended));
    place.server.set("BULLA_TLS_KEY", "key.plain.pem");
    place.is_sound();
    fs::set_permissions(place.path("key.plain.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    place.mends_all("bulla doctor", "chmod o=");
}

#[test]
fn a_file_with_a_secret_that_others_may_read_is_mended_by_what_doctor_suggests() {
    let mut place = Place::new();
    let folder = place.server.dir.path().to_owned();
    let mode = |name: &str, mode: u32| {
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    let settings = place.path("bulla.toml");
    assert_eq!(fs::metadata(&settings).unwrap().permissions().mode() & 0o777, 0o600, "as init makes it");
    // The file has no secret, so it may be readable for all, as in a volume that Kubernetes mounts from a ConfigMap.
    mode("bulla.toml", 0o644);
    place.is_sound();
    for writable in [0o646, 0o664] {
        mode("bulla.toml", writable);
        place.mends_all("bulla doctor", "chmod go-w ");
    }
    let secret = "our secret.txt";
    fs::write(place.path(secret), "hunter2").unwrap();
    let provider = "[provider.facebook]\nclient_id = '1'\nclient_secret_file = 'our secret.txt'\n";
    fs::write(&settings, provider).unwrap();
    for (open, allowed, begins) in
        [(0o644, false, "chmod go= "), (0o640, false, "chmod go= "), (0o644, true, "chmod g-wx,o= ")]
    {
        mode(secret, open);
        place.server.set("BULLA_ALLOW_GROUP_READ", if allowed { "true" } else { "false" });
        let command = place.mends("bulla doctor", begins);
        assert!(command.contains("our secret.txt'"), "{command}");
        let found = said(&place.shell("bulla doctor"));
        assert!(!found.contains("others may"), "{found}");
    }
    // A password in the file makes the file secret.
    let url = "database = 'postgres://ada:hunter2@127.0.0.1:1/d?connect_timeout=1'\n";
    fs::write(&settings, url).unwrap();
    mode("bulla.toml", 0o640);
    place.server.set("BULLA_ALLOW_GROUP_READ", "false");
    let lost = place.server.environment.iter().position(|(name, _)| name == "BULLA_DATABASE");
    lost.map(|at| place.server.environment.remove(at));
    place.mends("bulla doctor", "chmod go= ");
    let found = said(&place.shell("bulla doctor"));
    assert!(!found.contains("others may") && !found.contains("hunter2"), "{found}");
    // libpq ignores a password file that its group may read, and Bulla does the same.
    fs::write(place.path("pgpass"), "*:*:*:*:hunter2").unwrap();
    place.server.set("PGPASSFILE", place.path("pgpass"));
    fs::set_permissions(place.path("pgpass"), fs::Permissions::from_mode(0o640)).unwrap();
    let command = place.mends("bulla doctor", "chmod go= ");
    assert!(command.ends_with("/pgpass"), "{command}");
}
