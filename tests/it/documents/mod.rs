//! Tests that the documents are true: their links, commands, settings and examples.

mod commands;
mod examples;
mod links;
mod messages;
mod proxy;
mod sessions;
mod units;

use std::{fs, path::Path};

/// The clients' pages, and the language of their examples.
const CLIENTS: [(&str, &str); 3] = [
    ("python", "clients/python/README.md"),
    ("js", "clients/javascript/README.md"),
    ("go", "clients/go/README.md"),
];

/// The root of the repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every page of the documentation, by its path in the repository.
fn pages() -> Vec<String> {
    let mut pages: Vec<String> = CLIENTS.map(|(_, page)| page.to_owned()).into();
    for folder in ["", "docs/", "docs/design/", "keys/", "tests/vectors/"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") {
                pages.push(format!("{folder}{name}"));
            }
        }
    }
    pages
}

/// All fenced blocks of a page in this language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}");
    let mut blocks = Vec::new();
    for (at, _) in text.match_indices(&fence) {
        // A block in a list is indented.
        let indent = &text[text[..at].rfind('\n').map_or(0, |end| end + 1)..at];
        let Some(rest) = text[at + fence.len()..].strip_prefix('\n') else { continue };
        if indent.trim().is_empty() {
            let end = rest.find(&format!("{indent}```")).expect("the block ends");
            blocks.push(&rest[..end]);
        }
    }
    blocks
}

/// The first fenced block in this language.
fn block<'a>(text: &'a str, language: &str) -> &'a str {
    blocks(text, language).first().unwrap_or_else(|| panic!("no block of {language}"))
}
