//! Tests nodes that start at the same time, and the ring generations that they report.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use super::Fleet;
use crate::support::{cluster, server::eventually};

/// A node process that ends with the test.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a node with `--init`, which creates the missing keys and schema.
fn start(folder: &Path, keys: &Path, database: &str) -> Node {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bulla"));
    command.args(["serve", "--init", "--listen", "127.0.0.1:0"]).current_dir(folder);
    command.env("BULLA_KEYS", keys).env("BULLA_DATABASE", database);
    Node(command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
}

/// Returns the output up to the line that says that the node serves. The test reads no output after that line, and the node
/// must continue to work.
fn served(node: &mut Node) -> String {
    let mut said = String::new();
    for line in BufReader::new(node.0.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        let serves = line.starts_with("Bulla serves on ");
        said.push_str(&format!("{line}\n"));
        if serves {
            return said;
        }
    }
    panic!("a node ended: {said}");
}

#[tokio::test]
async fn ten_nodes_start_at_once_on_an_empty_database() {
    let Some(cluster) = cluster::shared() else { return };
    for _ in 0..3 {
        let (database, folder) = (cluster.create(), tempfile::tempdir().unwrap());
        let keys = folder.path().join("keys");
        let mut nodes: Vec<Node> = (0..10).map(|_| start(folder.path(), &keys, &database.url)).collect();
        let said: Vec<String> = nodes.iter_mut().map(served).collect();
        let made = said.iter().filter(|said| said.contains("Created the first administrator")).count();
        assert_eq!(made, 1, "one administrator, whose password was said once");
        let shell = cluster::Shell::connect(&database.url).unwrap();
        let value = |sql: &str| shell.run(sql).unwrap()[0][0].clone();
        assert_eq!(value("SELECT count(*) FROM users"), "1");
        assert_eq!(value("SELECT count(*) - count(DISTINCT version) FROM bulla_schema_history"), "0");
        eventually("all ten say that they live", || async { value("SELECT count(*) FROM nodes") == "10" })
            .await;
    }
}

fn json(output: &std::process::Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_list_shows_the_ring_of_each_node_and_warns_about_outdated_ones() {
    let Some(fleet) = Fleet::start(&[]) else { return };
    let list = || json(&fleet.cli(&["keys", "list", "--json"]));
    let rings = |list: &Value| -> Vec<u64> {
        list["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|node| node["ring_generation"].as_u64().unwrap())
            .collect()
    };
    eventually("three nodes", || async { rings(&list()) == [1; 3] }).await;
    let rotated = fleet.cli(&["keys", "rotate", "--now"]);
    let said = String::from_utf8_lossy(&rotated.stderr);
    assert!(rotated.status.success() && !said.contains("warning"), "all follow within the wait: {said}");
    assert_eq!(rings(&list()), [2; 3]);

    // A node with a copy of the keys directory that does not receive the new ring.
    let copy = fleet.path("copy");
    let copied = Command::new("cp").arg("-a").args([fleet.path("keys"), copy.clone()]).status().unwrap();
    assert!(copied.success());
    let mut behind = start(fleet.dir.path(), &copy, &fleet.database());
    served(&mut behind);
    eventually("four nodes", || async { rings(&list()) == [2; 4] }).await;
    let rotated = fleet.cli(&["keys", "rotate", "--now", "--wait", "5s"]);
    let said = String::from_utf8_lossy(&rotated.stderr);
    assert!(
        rotated.status.success()
            && said.contains("warning: generation 3 of the key ring is not yet loaded on"),
        "{said}"
    );
    let mut seen = rings(&list());
    seen.sort_unstable();
    assert_eq!(seen, [2, 3, 3, 3]);
    let text = String::from_utf8(fleet.cli(&["keys", "list"]).stdout).unwrap();
    assert_eq!(text.matches("(behind)").count(), 1, "{text}");
    // Without `--now` the command does not roll over: this node would refuse tokens sealed under a key that it lacks.
    let refused = fleet.cli(&["keys", "rotate", "--min-staged", "0s", "--wait", "500ms"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("not rolled over: generation 3 of the key ring is not yet loaded on"), "{said}");
    // Copy the directory to that node; then every node has the new ring.
    let copied = Command::new("cp").arg("-a").arg(fleet.path("keys/.")).arg(&copy).status().unwrap();
    assert!(copied.success());
    eventually("nobody is behind", || async { rings(&list()) == [3; 4] }).await;
}
