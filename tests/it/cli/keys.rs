//! Tests `bulla keys` and `scripts/rotate-keys` with the real program: the output and the exit codes.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
    time::Duration,
};

use bulla::internals::{
    clock::{Clock as _, SystemClock},
    ids::{Audience, Purpose},
    keyring::{KeyDirectory, KeyState, Suite},
    store::{Store, sqlite::SqliteStore},
    token::KeyExport,
};
use serde_json::Value;
use tempfile::TempDir;

/// A working folder with a ring whose staged key has waited for `age`.
struct Home(TempDir);

/// The exit code and the output of a command.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Home {
    fn new(age: Duration) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        home.ring().init_at(Suite::Xaes256Gcm, SystemClock.now().minus(age)).unwrap();
        home
    }

    fn ripe() -> Self {
        Self::new(Duration::from_secs(3600))
    }

    fn ring(&self) -> KeyDirectory {
        KeyDirectory::new(self.path().join("keys"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn database(&self) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(&self.path().join("bulla.db"), Arc::new(SystemClock)).unwrap())
    }

    fn run(&self, program: impl AsRef<std::ffi::OsStr>, arguments: &[&str], env: &[(&str, &str)]) -> Said {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.path()).env_clear();
        command
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("BULLA_BIN", env!("CARGO_BIN_EXE_bulla"));
        let Output { status, stdout, stderr } = command.envs(env.iter().copied()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { code: status.code().unwrap(), out: text(stdout), err: text(stderr) }
    }

    fn keys(&self, arguments: &[&str]) -> Said {
        let arguments = [&["keys"], arguments, self.without()].concat();
        self.run(env!("CARGO_BIN_EXE_bulla"), &arguments, &[])
    }

    fn script(&self, arguments: &[&str], env: &[(&str, &str)]) -> Said {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scripts/rotate-keys");
        self.run(script, &[arguments, self.without()].concat(), env)
    }

    /// The flag `--no-database` if the folder contains no database.
    fn without(&self) -> &'static [&'static str] {
        if self.path().join("bulla.db").exists() { &[] } else { &["--no-database"] }
    }
}

impl Said {
    #[track_caller]
    fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{}", self.err);
        serde_json::from_str(&self.out).expect("data on stdout, everything else on stderr")
    }

    /// Checks that the command ended with `code`, wrote the reason to stderr and nothing to stdout.
    #[track_caller]
    fn refused(&self, code: i32, why: &str) {
        assert_eq!((self.code, self.out.as_str()), (code, ""), "{}", self.err);
        assert!(self.err.contains(why), "{}", self.err);
    }
}

#[test]
fn keys_are_listed_as_text_and_as_json() {
    let home = Home::ripe();
    let ring = home.ring().load().unwrap();
    let text = home.keys(&["list"]);
    assert_eq!(text.code, 0, "{}", text.err);
    for key in &ring.keys {
        assert!(text.out.contains(&key.kid.to_string()), "{}", text.out);
        assert!(!text.out.contains(key.root.as_ref().unwrap().bytes().to_base64url().as_str()));
    }
    let json = home.keys(&["list", "--json"]).json();
    assert_eq!(json["generation"], 1);
    assert_eq!(json["keys"][0]["kid"], ring.keys[0].kid.to_string());
    assert_eq!(json["keys"][1]["state"], "staged");
    assert_eq!(json["keys"][1]["age_seconds"].as_u64().map(|age| age / 60), Some(60));
}

#[test]
fn a_missing_ring_or_key_exits_with_3_and_invalid_arguments_with_2() {
    let home = Home(tempfile::tempdir().unwrap());
    home.keys(&["list"]).refused(3, "bulla init");
    home.keys(&["rotate"]).refused(3, "bulla init");
    let home = Home::ripe();
    home.keys(&["revoke", "00000000"]).refused(3, "bulla keys list");
    home.keys(&["revoke"]).refused(2, "--all");
    home.keys(&["revoke", "../../etc"]).refused(2, "8 lower-case hex digits");
    home.keys(&["rotate", "--now", "--min-staged", "1m"]).refused(2, "cannot be used");
    home.keys(&["rotate", "--keep", "1h"]).refused(2, "3660s");
    home.keys(&["not-before", "2999-01-01T00:00:00Z"]).refused(2, "is in the future");
    home.keys(&["not-before", "yesterday"]).refused(2, "neither");
    assert_eq!(home.ring().load().unwrap().generation, 1);
}

#[test]
fn a_rollover_waits_until_the_staged_key_is_old_enough_unless_now_is_given() {
    let home = Home::new(Duration::from_secs(60));
    home.keys(&["rotate"]).refused(1, "--now");
    assert_eq!(home.keys(&["rotate", "--min-staged", "30s", "--json"]).json()["generation"], 2);
    assert_eq!(home.keys(&["rotate", "--now", "--json"]).json()["generation"], 3);
    let json = home.keys(&["rotate", "--now", "--keep", "2h", "--json"]).json();
    let states: Vec<_> = json["keys"].as_array().unwrap().iter().map(|key| key["state"].clone()).collect();
    assert_eq!(states, ["retired", "retired", "retired", "active", "staged"]);
}

#[test]
fn keys_check_distinguishes_a_sound_a_faulty_and_an_unloadable_ring() {
    let home = Home::ripe();
    let json = home.keys(&["check", "--json"]).json();
    assert_eq!((&json["can_rotate"], &json["faults"]), (&Value::Bool(true), &serde_json::json!([])));
    home.keys(&["rotate"]);
    let young = home.keys(&["check"]);
    assert_eq!(young.code, 0, "a young staged key is no fault");
    assert!(young.out.contains("not ready to roll over"), "{}", young.out);
    fs::write(home.path().join("keys/deadbeef.key"), "half").unwrap();
    let fault = home.keys(&["check"]);
    assert_eq!(fault.code, 6);
    assert!(fault.out.contains("deadbeef.key") && fault.err.contains("deadbeef.key"), "{}", fault.err);
    fs::set_permissions(home.path().join("keys/ring.json"), fs::Permissions::from_mode(0o644)).unwrap();
    home.keys(&["check"]).refused(1, "chmod 600");
}

#[tokio::test]
async fn changes_of_keys_are_recorded_in_the_audit() {
    let home = Home::ripe();
    drop(home.database());
    let active = home.keys(&["rotate", "--json"]).json()["keys"][1]["kid"].as_str().unwrap().to_owned();
    assert_eq!(home.keys(&["revoke", &active]).code, 0);
    assert_eq!(home.keys(&["revoke", "--all"]).code, 0);
    assert_eq!(home.keys(&["export", "--audience", "billing"]).code, 0);
    let rows = home.database().audit(None, 50).await.unwrap();
    assert!(rows.iter().all(|row| row.actor.to_string().starts_with("cli:")), "{rows:?}");
    let events: Vec<_> = rows.iter().map(|row| row.event.as_str()).collect();
    assert_eq!(events[..2], ["key.rotated", "key.revoked"]);
    assert_eq!(rows[0].subject, active);
    assert_eq!(rows[1].subject, active);
    // Three keys were left to revoke: the retired one, the promoted one and the staged one.
    assert_eq!(events[2..], ["key.revoked", "key.revoked", "key.revoked", "key.exported"]);
}

#[tokio::test]
async fn an_old_copy_of_the_ring_is_not_rolled_over_or_exported_but_can_be_replaced() {
    let home = Home::ripe();
    home.database().record_ring(41, [7; 32]).await.unwrap();
    let kid = home.ring().load().unwrap().keys[0].kid.to_string();
    for command in [
        &["rotate"][..],
        &["revoke", &kid],
        &["not-before", "now"],
        &["export", "--audience", "billing"],
        &["check"],
    ] {
        home.keys(command).refused(1, "revoke --all");
    }
    assert_eq!(home.keys(&["revoke", "--all", "--json"]).json()["generation"], 42);
    assert_eq!(home.keys(&["check"]).code, 0);
}

#[test]
fn keys_are_revoked_even_if_the_database_cannot_be_opened() {
    let home = Home::ripe();
    fs::write(home.path().join("bulla.db"), "this is not a database, and long enough to be seen as none")
        .unwrap();
    let kid = home.ring().load().unwrap().keys[0].kid;
    let said = home.keys(&["revoke", &kid.to_string()]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.err.contains("warning"), "{}", said.err);
    assert_eq!(home.ring().load().unwrap().keys[0].state, KeyState::Revoked);
}

#[test]
fn keys_that_only_the_server_may_hold_are_not_exported() {
    let home = Home::ripe();
    home.keys(&["export", "--purpose", "refresh", "--audience", "billing"]).refused(2, "never exported");
    home.keys(&["export", "--purpose", "login"]).refused(2, "never exported");
    home.keys(&["export", "--purpose", "service"]).refused(2, "--audience");
    home.keys(&["export"]).refused(2, "--own");
    home.keys(&["export", "--own", "--audience", "billing"]).refused(2, "cannot be used");
    home.keys(&["export", "--own", "--purpose", "service"]).refused(2, "--own");
}

#[test]
fn an_export_holds_only_derived_keys_and_opens_tokens_of_the_ring() {
    let home = Home::ripe();
    let ring = home.ring().load().unwrap();
    let said = home.keys(&["export", "--audience", "billing"]);
    let json = said.json();
    assert_eq!(json["max_age"], 120);
    assert_eq!(json["audience"], "billing");
    assert_eq!(json["keys"].as_array().unwrap().len(), 2);
    for key in &ring.keys {
        let root = key.root.as_ref().unwrap();
        assert!(!said.out.contains(root.bytes().to_base64url().as_str()), "a root key was handed out");
        let derived = root.derive(&Purpose::access(), &Audience::new("billing").unwrap()).to_base64url();
        assert!(said.out.contains(derived.as_str()));
    }
    assert_eq!(KeyExport::from_json(said.out.trim_end()).unwrap().audience().as_str(), "billing");

    let own = home.keys(&["export", "--own"]);
    assert_eq!(own.json()["audience"], "");
    assert!(own.err.contains("forge"), "{}", own.err);

    let file = home.path().join("billing.json");
    fs::write(&file, "an older one").unwrap();
    let written = home.keys(&["export", "--audience", "billing", "--out", "billing.json"]);
    assert_eq!((written.code, written.out.as_str()), (0, ""));
    assert_eq!(fs::read_to_string(&file).unwrap(), said.out);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn an_export_has_the_same_content_in_every_format() {
    let home = Home::ripe();
    assert_eq!(home.keys(&["rotate"]).code, 0);
    let plain: Value = home.keys(&["export", "--audience", "billing", "--format", "json"]).json();

    let line = home.keys(&["export", "--audience", "billing", "--format", "env"]).out;
    let value = line.strip_prefix("BULLA_EXPORT=").unwrap().strip_suffix('\n').unwrap();
    assert!(
        value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)),
        "nothing to quote"
    );
    let read = KeyExport::from_env(value).unwrap();
    assert_eq!(serde_json::from_str::<Value>(read.to_json().expose()).unwrap(), plain);
    for bad in ["", "e", &format!("{value}="), &format!(" {value}"), "_w", &plain.to_string()] {
        let error = KeyExport::from_env(bad).unwrap_err().to_string();
        assert!(error.starts_with("not a key export: ") && error.len() < 60, "{error}");
    }
    // The command line works while this variable is set.
    assert_eq!(
        home.run(env!("CARGO_BIN_EXE_bulla"), &["keys", "list"], &[(KeyExport::VARIABLE, value)]).code,
        0
    );

    let set = home.keys(&["export", "--audience", "billing", "--format", "jwk"]).json();
    let about = |name: &str| (set["bulla"][name].clone(), plain[name].clone());
    for name in ["version", "purpose", "audience", "max_age", "not_before"] {
        let (said, meant) = about(name);
        assert_eq!(said, meant, "{name}");
    }
    let (jwks, keys) = (set["keys"].as_array().unwrap(), plain["keys"].as_array().unwrap());
    assert_eq!((jwks.len(), keys.len()), (3, 3));
    for (jwk, key) in jwks.iter().zip(keys) {
        assert_eq!((&jwk["kty"], &jwk["kid"], &jwk["k"]), (&"oct".into(), &key["kid"], &key["key"]));
        assert_eq!(jwk["bulla"], serde_json::json!({ "state": key["state"], "suite": key["suite"] }));
        let seals = key["state"] == "active";
        assert_eq!(jwk["key_ops"].as_array().unwrap().contains(&"encrypt".into()), seals, "{key}");
        assert!(jwk.get("alg").is_none() && jwk.get("use").is_none());
    }

    home.keys(&["export", "--audience", "billing", "--format", "pem"])
        .refused(2, "possible values: json, env, jwk");
    home.keys(&["export", "--audience", "billing", "--format", "env", "--out", "billing.env"]);
    assert_eq!(fs::read_to_string(home.path().join("billing.env")).unwrap(), line);
}

#[test]
fn the_script_rolls_over_and_reports_one_line() {
    let home = Home::ripe();
    let said = home.script(&[], &[]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    let ring = home.ring().load().unwrap();
    let (active, staged) = (ring.active().unwrap().kid, ring.staged().unwrap().kid);
    assert_eq!(said.out, format!("rolled over keys to generation 2: {active} seals, {staged} is staged\n"));
}

#[test]
fn the_script_passes_arguments_on_and_explains_a_staged_key_that_is_too_young() {
    let home = Home::new(Duration::from_secs(60));
    home.script(&[], &[]).refused(1, "has waited only 6");
    assert_eq!(home.ring().load().unwrap().generation, 1);
    assert_eq!(home.script(&["--min-staged", "30s", "--keep", "3h"], &[]).code, 0);
    assert_eq!(home.ring().load().unwrap().generation, 2);
}

#[test]
fn the_script_leaves_a_damaged_ring_unchanged_and_does_not_run_the_hook() {
    let home = Home::ripe();
    fs::write(home.path().join("keys/ring.json"), "{").unwrap();
    home.script(&["--hook", "touch distributed"], &[]).refused(1, "ring.json");
    assert_eq!(fs::read_to_string(home.path().join("keys/ring.json")).unwrap(), "{");
    assert!(!home.path().join("distributed").exists());
    home.script(&[], &[("BULLA_KEYS", "nowhere")]).refused(3, "bulla init");
    home.script(&[], &[("BULLA_BIN", "/no/such/bulla")]).refused(1, "BULLA_BIN");
}

#[test]
fn the_hook_of_the_script_distributes_the_directory_and_its_failure_has_its_own_exit_code() {
    let home = Home::ripe();
    let said = home.script(&["--hook", r#"cp -r "$BULLA_KEYS" "copy $BULLA_GENERATION""#], &[]);
    assert_eq!(said.code, 0, "{}", said.err);
    let copy = KeyDirectory::new(home.path().join("copy 2")).load().unwrap();
    assert_eq!(copy.fingerprint, home.ring().load().unwrap().fingerprint);

    let home = Home::ripe();
    let said = home.script(&[], &[("BULLA_ROTATE_HOOK", "exit 23")]);
    assert_eq!(said.code, 10, "{}", said.err);
    assert!(said.err.contains("hook failed with exit code 23"), "{}", said.err);
    assert_eq!(home.ring().load().unwrap().generation, 2, "the rollover itself holds");
}

#[test]
fn the_script_finds_the_ring_by_flags_settings_file_or_variables() {
    let installation = || {
        let home = tempfile::tempdir().unwrap();
        let made = bulla(home.path(), &["init", "--keys", "ring", "--database", "sessions.db"]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        home
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/rotate-keys");
    for (folder, arguments, variable) in [
        (".", "", ("", "")),
        ("/", "--keys=HOME/ring --database HOME/sessions.db", ("", "")),
        ("/", "--config HOME/bulla.toml", ("", "")),
        ("/", "", ("BULLA_CONFIG", "HOME/bulla.toml")),
        ("/", "--database HOME/sessions.db", ("BULLA_KEYS", "HOME/ring")),
        ("/", "--keys HOME/ring --no-database", ("", "")),
    ] {
        let home = installation();
        let here = |text: &str| text.replace("HOME", home.path().to_str().unwrap());
        let mut command = Command::new(script);
        command.current_dir(if folder == "." { home.path() } else { Path::new(folder) });
        command.args(here(arguments).split_whitespace()).args(["--now", "--hook", "echo hook $BULLA_KEYS"]);
        command
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap())
            .env("BULLA_BIN", env!("CARGO_BIN_EXE_bulla"));
        if !variable.0.is_empty() {
            command.env(variable.0, here(variable.1));
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let shown = format!("{arguments} {variable:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && said.contains("to generation 2"), "{shown}");
        let hook = said.lines().find_map(|line| line.strip_prefix("hook ")).unwrap();
        let ring = if folder == "." { home.path().join(hook) } else { hook.into() };
        assert_eq!(
            fs::canonicalize(ring).unwrap(),
            fs::canonicalize(home.path().join("ring")).unwrap(),
            "{shown}"
        );
    }
}

fn bulla(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bulla")).args(arguments).current_dir(folder).output().unwrap()
}

/// Runs the cron line of the script's header in cron's environment.
#[test]
fn the_documented_cron_line_works_with_the_path_of_cron() {
    let home = Home::ripe();
    drop(home.database());
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = fs::read_to_string(root.join("scripts/rotate-keys")).unwrap();
    let line = script.lines().find_map(|line| line.strip_prefix("# cron:")).unwrap();
    let command = line.split("  bulla  ").nth(1).unwrap();
    for place in ["scripts", "target/release"] {
        let opt = home.path().join(place.replace('/', "-"));
        for folder in ["scripts", place] {
            fs::create_dir_all(opt.join(folder)).unwrap();
        }
        fs::copy(root.join("scripts/rotate-keys"), opt.join("scripts/rotate-keys")).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_bulla"), opt.join(place).join("bulla")).unwrap();
        let here = |text: &str| {
            let text = text.replace("/var/lib/bulla", home.path().to_str().unwrap());
            text.replace("/opt/bulla", opt.to_str().unwrap())
        };
        // As cron runs it: with `sh`, a fixed working folder and this `PATH`.
        let line = if place == "scripts" { command.to_owned() } else { format!("{command} --now") };
        let output = Command::new("sh")
            .args(["-c", &here(&line)])
            .current_dir("/")
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("rolled over"),
            "{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
