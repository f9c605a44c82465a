//! Tests the examples in the documents: their code is compiled or run elsewhere, and their settings are accepted.

use std::{fs, path::Path, process::Command};

use super::{CLIENTS, block, blocks, pages, read};

#[test]
fn the_pages_on_embedding_show_the_code_of_the_example() {
    let example = read("examples/notes.rs");
    let plain = |text: &str| {
        text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
    };
    let whole = plain(&example);
    for (page, least) in [("README.md", 1), ("docs/embedding.md", 9)] {
        let text = read(page);
        let shown = blocks(&text, "rust");
        assert!(shown.len() >= least, "{page} shows {} pieces", shown.len());
        for part in shown.iter().flat_map(|block| block.split("\n// …\n")) {
            let part = plain(part);
            assert!(
                part.lines().count() > 2 && whole.contains(&part),
                "{page} shows what examples/notes.rs doesn't say:\n{part}"
            );
        }
    }
}

/// The integrators' page shows the examples of the clients' pages, which each client's own tests run.
#[test]
fn the_integrators_page_shows_the_code_of_the_clients_examples() {
    let page = read("docs/integrators.md");
    for (language, client) in CLIENTS {
        let example = block(&page, language).to_owned();
        assert_eq!(example, block(&read(client), language), "{client}");
        assert!((5..=10).contains(&example.lines().count()), "{client}: ten lines");
    }
    assert!(block(&page, "rust,no_run").lines().filter(|line| !line.starts_with("# ")).count() <= 10);
}

/// The balancer configuration that `docs/fleet.md` shows is part of the one that runs.
#[test]
fn the_documented_balancer_configuration_is_the_one_in_use() {
    let (page, whole) = (read("docs/fleet.md"), read("scripts/fleet.nginx"));
    for line in block(&page, "nginx").lines() {
        assert!(whole.contains(&format!("{line}\n")), "scripts/fleet.nginx lacks: {line}");
    }
}

fn settings(page: &str, block: &str) -> bulla::internals::config::Settings {
    let layer = bulla::internals::config::Layer::file(Path::new(page), block);
    let settings = layer.and_then(|layer| bulla::internals::config::Settings::resolve(&[layer]));
    settings.unwrap_or_else(|error| panic!("{page}: {error}:\n{block}"))
}

#[test]
fn each_block_of_settings_is_accepted() {
    let mut seen = 0;
    for page in pages() {
        for block in blocks(&read(&page), "toml") {
            settings(&page, block);
            seen += 1;
        }
    }
    assert!(seen >= 9, "only {seen} blocks seen");
}

/// A server accepts each block of settings in `docs/sign-in.md`, and each block has at most five lines.
#[test]
fn the_documented_settings_of_every_provider_are_accepted() {
    let mut named = Vec::new();
    for block in blocks(&read("docs/sign-in.md"), "toml") {
        let provider = settings("docs/sign-in.md", block).providers.remove(0);
        assert!(block.lines().count() <= 5 || provider.roles.is_some(), "{block}");
        named.push(provider.name);
    }
    assert_eq!(named, ["google", "facebook", "cognito", "okta", "jumpcloud", "keycloak", "okta"]);
}

/// Runs `open.mjs` on every vector of a folder; prints the number of vectors.
const VECTORS: &str = r#"
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { open } from "./open.mjs";
const [, , folder] = process.argv;
const names = readdirSync(folder).filter((name) => name.endsWith(".json"));
for (const file of names) {
  const { name, export: exported, token, now, payload, refused } = JSON.parse(readFileSync(`${folder}/${file}`, "utf8"));
  let said;
  try { said = { payload: open(exported, token, now) }; } catch (error) { said = { refused: error.message }; }
  assert.deepEqual(said, refused === undefined ? { payload } : { refused }, name);
}
console.log(names.length);
"#;

/// The opener of `docs/token.md` passes every vector, and opens what the program seals, with keys that the program exports.
#[test]
fn the_documented_decoder_opens_the_vectors() {
    if Command::new("node").arg("--version").output().is_err() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "node is missing");
        eprintln!("skipped: node is missing");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let bulla = |arguments: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_bulla")).args(arguments).current_dir(&folder).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    };
    let script = block(&read("docs/token.md"), "js").to_owned();
    fs::write(folder.path().join("open.mjs"), script).unwrap();
    fs::write(folder.path().join("vectors.mjs"), VECTORS).unwrap();
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let output = Command::new("node").arg("vectors.mjs").arg(&vectors).current_dir(&folder).output().unwrap();
    let judged = String::from_utf8_lossy(&output.stdout).trim().parse::<usize>().unwrap_or_default();
    assert!(
        output.status.success() && judged >= 854,
        "{judged}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    bulla(&["init"]);
    bulla(&["keys", "export", "--own", "--out", "own.json"]);
    let token = bulla(&["token", "seal", r#"{"id":"42"}"#]);
    assert_eq!((token.len(), &token[..4]), (86, "bulX"));
    let open = |token: &str| {
        let output =
            Command::new("node").args(["open.mjs", "own.json", token]).current_dir(&folder).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(open(&token), (Some(0), "{\"id\":\"42\"}\n".to_owned()));
    for at in [5, 20, 50, 70, 85] {
        let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
        let changed = format!("{}{other}{}", &token[..at], &token[at + 1..]);
        assert_eq!(open(&changed), (Some(4), String::new()), "changed at {at}");
    }
}
