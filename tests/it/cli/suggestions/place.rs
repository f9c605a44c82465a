//! An installation with a shell in its folder, which runs the commands that messages suggest.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::support::server::Server;

/// The user id of the service that owns an installation.
pub const SERVICE: u32 = 4242;

/// An installation and a shell in its folder.
pub struct Place {
    pub server: Server,
    /// The programs on the shell's path: `bulla` and a substitute for `sudo`.
    pub programs: tempfile::TempDir,
    /// The user that runs the commands; `None`: the user that runs the tests.
    pub user: Option<u32>,
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
    pub fn of_the_service(self) -> Option<Self> {
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

    pub fn ring(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path("keys/ring.json")).unwrap()).unwrap()
    }

    /// Changes `ring.json` as a person with an editor does.
    pub fn edit_ring(&self, edit: impl FnOnce(&mut Value)) {
        let mut ring = self.ring();
        edit(&mut ring);
        fs::write(self.path("keys/ring.json"), ring.to_string()).unwrap();
    }

    /// The file of the key that is in this state.
    pub fn key(&self, state: &str) -> PathBuf {
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
