//! Tests the systemd units in `packaging/`.

use std::{
    fs,
    process::{Command, Output},
};

use super::{read, root};

/// The largest exposure that `systemd-analyze security` may report, on a scale to 10.
const EXPOSURE: &str = "2.0";

/// The output of a program of systemd, or `None` if it is not installed.
fn systemd(program: &str, arguments: &[&str]) -> Option<Output> {
    let output = Command::new(program).args(arguments).current_dir(root()).output().ok();
    if output.is_none() {
        eprintln!("skipped: {program} is not installed");
    }
    output
}

#[test]
fn the_services_are_exposed_little() {
    let threshold = format!("--threshold={}", EXPOSURE.replace('.', ""));
    for unit in ["packaging/bulla.service", "packaging/bulla-rotate.service"] {
        let arguments = ["security", "--offline=true", "--no-pager", &threshold, unit];
        let Some(output) = systemd("systemd-analyze", &arguments) else { return };
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            said.contains("Overall exposure level"),
            "{unit}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(output.status.success(), "{unit}: {said}");
    }
}

#[test]
fn the_sysusers_file_creates_the_user_of_the_services() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("etc")).unwrap();
    let file = root().join("packaging/bulla.sysusers");
    let prefix = format!("--root={}", folder.path().display());
    let Some(output) = systemd("systemd-sysusers", &[&prefix, file.to_str().unwrap()]) else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let users = fs::read_to_string(folder.path().join("etc/passwd")).unwrap();
    let user = users.lines().find(|line| line.starts_with("bulla:")).expect("the user exists");
    assert!(user.contains(":/var/lib/bulla:/usr/sbin/nologin"), "{user}");
    for unit in ["packaging/bulla.service", "packaging/bulla-rotate.service"] {
        assert!(read(unit).contains("\nUser=bulla\n"), "{unit}");
    }
}

#[test]
fn the_commands_of_the_services_exist() {
    let mut seen = 0;
    for unit in ["packaging/bulla.service", "packaging/bulla-rotate.service"] {
        for command in
            read(unit).lines().filter_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/bulla "))
        {
            let mut bulla = Command::new(env!("CARGO_BIN_EXE_bulla"));
            let output = bulla.args(command.split(' ')).arg("--help").output().unwrap();
            assert!(output.status.success(), "{unit}: {command}");
            seen += 1;
        }
    }
    assert_eq!(seen, 2);
}
