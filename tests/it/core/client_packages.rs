//! Tests the packages for other languages: their contents, and that the installation works as their pages describe.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The commands of the first shell block of a client's page.
fn install_commands(client: &str) -> String {
    let page = fs::read_to_string(root().join(client).join("README.md")).unwrap();
    let block = page.split("\n```sh\n").nth(1).expect("a shell block").split("\n```").next().unwrap();
    block.to_owned()
}

/// Runs a script of a page in a folder that [`checkout`] has made.
fn shell(folder: &Path, script: &str) -> Output {
    Command::new("bash").args(["-euc", script]).current_dir(folder).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Whether a tool runs; with `CI=true` a missing tool is a failure.
fn has(tool: &str, arguments: &[&str]) -> bool {
    let there = Command::new(tool).args(arguments).output().is_ok_and(|output| output.status.success());
    assert!(there || std::env::var("CI").as_deref() != Ok("true"), "{tool} {arguments:?} fails");
    if !there {
        eprintln!("skipped: {tool} is missing (scripts/test installs it)");
    }
    there
}

/// A folder with a copy of the clients, because an installation writes files into the folder that is installed.
fn checkout() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("app")).unwrap();
    let copied = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "clients"])
        .current_dir(root())
        .output()
        .unwrap();
    for name in String::from_utf8(copied.stdout).unwrap().split('\0').filter(|name| !name.is_empty()) {
        let (from, to) = (root().join(name), home.path().join("bulla").join(name));
        if from.exists() {
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(from, to).unwrap();
        }
    }
    home
}

#[test]
fn the_go_package_can_be_used_from_a_checkout_as_documented() {
    if !has("go", &["version"]) {
        return;
    }
    let home = checkout();
    let app = home.path().join("app");
    let program = r#"package main

import (
	"fmt"

	bulla "github.com/bulla-sessions/bulla/clients/go"
)

func main() { _, err := bulla.ParseKeys([]byte("{}")); fmt.Println(err) }
"#;
    fs::write(app.join("main.go"), program).unwrap();
    let script = format!("go mod init app\n{}\ngo run .", install_commands("clients/go"));
    let output = shell(&app, &script);
    assert!(output.status.success(), "{}", said(&output));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("not a key export"), "{}", said(&output));
}

#[test]
fn the_javascript_package_installs_from_a_checkout_as_documented() {
    if !has("npm", &["--version"]) {
        return;
    }
    let home = checkout();
    let script =
        format!("{} --install-links --offline --no-audit --no-fund", install_commands("clients/javascript"));
    let output = shell(&home.path().join("bulla"), &script);
    assert!(output.status.success(), "{}", said(&output));
    let import = r#"import("bulla-sessions").then(({ Keys }) => console.log(typeof Keys.parse))"#;
    let output = Command::new("node").args(["-e", import]).current_dir(home.path().join("bulla")).output();
    assert_eq!(said(&output.unwrap()), "function\n");
}

#[test]
fn the_python_package_installs_from_a_checkout_as_documented() {
    let python: PathBuf =
        Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("clients/python/bin/python");
    let python = python.to_str().unwrap();
    if !has(python, &["-c", "import cryptography, setuptools"]) {
        return;
    }
    let home = checkout();
    // Installs into a separate folder and without the network, because this environment contains the dependencies.
    let command = install_commands("clients/python");
    assert_eq!(command, "pip install './clients/python[fastapi]'");
    let flags = "--quiet --disable-pip-version-check --no-deps --no-build-isolation --target installed";
    let script = format!("{python} -m {command} {flags}");
    let output = shell(&home.path().join("bulla"), &script);
    assert!(output.status.success(), "{}", said(&output));
    let installed = home.path().join("bulla/installed");
    let mut import = Command::new(python);
    import.args(["-c", "import bulla_sessions; print(bulla_sessions.__file__)"]);
    let output = import.env("PYTHONPATH", &installed).current_dir(home.path()).output().unwrap();
    assert!(said(&output).starts_with(installed.to_str().unwrap()), "{}", said(&output));
    let about = fs::read_dir(&installed).unwrap().map(|entry| entry.unwrap().path());
    let about =
        about.into_iter().find(|path| path.extension().is_some_and(|end| end == "dist-info")).unwrap();
    let metadata = fs::read_to_string(about.join("METADATA")).unwrap();
    for line in [
        "Name: bulla-sessions",
        "License-File: LICENSE-MIT",
        "Author: The Bulla contributors",
        "Project-URL: Homepage",
    ] {
        assert!(metadata.contains(line), "{line} is missing in:\n{metadata}");
    }
}

/// All packages have names of one family, the same version and the licences.
#[test]
fn the_packages_have_related_names_one_version_and_the_licences() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let javascript: serde_json::Value =
        serde_json::from_str(&read("clients/javascript/package.json")).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!((env!("CARGO_PKG_NAME"), &javascript["name"]), ("bulla-sessions", &"bulla-sessions".into()));
    assert_eq!(javascript["version"], version);
    let python = read("clients/python/pyproject.toml");
    assert!(python.contains(&format!("name = \"bulla-sessions\"\nversion = \"{version}\"\n")), "{python}");
    assert!(read("clients/go/go.mod").starts_with("module github.com/bulla-sessions/bulla/clients/go\n"));
    for client in ["python", "javascript", "go"] {
        for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
            assert_eq!(read(&format!("clients/{client}/{licence}")), read(licence), "{client}");
        }
    }
}
