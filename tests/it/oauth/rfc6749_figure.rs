//! Tests the eight steps of the refresh figure in RFC 6749, which the example performs with separate processes.

use std::{path::Path, process::Command};

#[test]
fn the_example_performs_all_eight_steps() {
    // A run of selected tests doesn't build the examples.
    let build = ["build", "--locked", "--quiet", "--example", "eight_steps"];
    let built =
        Command::new(env!("CARGO")).args(build).current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap();
    assert!(built.success());
    let example = Path::new(env!("CARGO_BIN_EXE_bulla")).with_file_name("examples/eight_steps");
    let home = tempfile::tempdir().unwrap();
    let walked = Command::new(example).current_dir(home.path()).output().unwrap();
    let said = String::from_utf8(walked.stdout).unwrap();
    assert!(walked.status.success(), "{said}{}", String::from_utf8_lossy(&walked.stderr));
    let steps: String = said.lines().filter_map(|line| line.chars().next()).collect();
    assert_eq!(steps.trim(), "ABCDEFGH", "{said}");
    assert!(
        said.contains(r#"401 Bearer error="invalid_token""#) && said.contains("a new refresh token: true"),
        "{said}"
    );
    assert!(!home.path().join("target/eight_steps").read_dir().unwrap().any(|_| true), "it cleans up");
}
