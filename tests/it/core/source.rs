//! Reads Rust source: its words, its modules, and the paths in it. The tests of the source's structure use this module.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// One file of Rust source as a module of the crate.
#[derive(Debug, Default)]
pub struct Source {
    /// The module's path below the crate root: `["token", "keys"]`; empty for `lib.rs` and `main.rs`.
    pub module: Vec<String>,
    /// The words that are no part of a `use` declaration or of a module that is compiled for tests only.
    pub words: BTreeSet<String>,
    /// The names of the items that the file defines at its top level.
    pub items: BTreeSet<String>,
    /// Child modules in other files that are compiled for tests only (`#[cfg(test)] mod tests;`).
    pub test_children: BTreeSet<String>,
    pub paths: Vec<Used>,
}

/// A path in a source file that leads into the crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// The segments below the crate root; the last one is `*` for a glob import.
    pub path: Vec<String>,
    pub by: By,
    /// Whether the path stands in a module that is compiled for tests only.
    pub in_tests: bool,
}

/// How a file uses a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// `use path;` binds this name.
    Import(String),
    /// `pub use path;`, with any visibility, binds this name.
    Reexport(String),
    /// The path is written where it is used.
    Expression,
}

/// The module path of a file below `src/`: `token/keys.rs` is `["token", "keys"]`, `token/mod.rs` is `["token"]`, and `lib.rs` and
/// `main.rs` are the crate root, `[]`.
pub fn module_path(file: &Path) -> Vec<String> {
    let mut parts: Vec<String> =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let root = parts.len() == 1 && matches!(parts[0].as_str(), "lib" | "main");
    if root || parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts
}

/// All Rust files below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Reads the text of the module with the path `module`.
pub fn read(module: &[String], text: &str) -> Source {
    let words = words(text);
    let mut reader = Reader {
        words: &words,
        children: children(&words),
        scopes: Vec::new(),
        source: Source { module: module.to_vec(), ..Source::default() },
    };
    reader.run();
    reader.source
}

/// An open brace.
enum Scope {
    /// `mod name {`; `tests` if it is compiled for tests only.
    Module {
        name: String,
        tests: bool,
    },
    Other,
}

struct Reader<'a> {
    words: &'a [String],
    /// The child modules that the file declares.
    children: BTreeSet<String>,
    scopes: Vec<Scope>,
    source: Source,
}

const ITEMS: [&str; 9] = ["fn", "struct", "enum", "trait", "const", "static", "type", "union", "macro_rules"];

impl<'a> Reader<'a> {
    fn run(&mut self) {
        let mut at = 0;
        while at < self.words.len() {
            at = self.step(at);
        }
    }

    fn word(&self, at: usize) -> &'a str {
        self.words.get(at).map_or("", String::as_str)
    }

    fn before(&self, at: usize, back: usize) -> &'a str {
        at.checked_sub(back).map_or("", |at| self.word(at))
    }

    /// Parses the item that begins at `at`. Returns the position after it.
    fn step(&mut self, at: usize) -> usize {
        let word = self.word(at);
        match word {
            "{" => {
                let scope = if self.before(at, 2) == "mod" {
                    let tests = self.is_for_tests(at - 2);
                    Scope::Module { name: self.before(at, 1).to_owned(), tests }
                } else {
                    Scope::Other
                };
                self.scopes.push(scope);
            }
            "}" => drop(self.scopes.pop()),
            // `use<'a>` captures lifetimes.
            "use" if self.word(at + 1) != "<" => return self.declaration(at),
            // `pub(crate)`, `pub(super)` and `pub(in crate::room)` are not uses.
            "pub" if self.word(at + 1) == "(" => {
                return (at..self.words.len()).find(|at| self.word(*at) == ")").map_or(at + 1, |end| end + 1);
            }
            "mod" if self.word(at + 2) == ";" => {
                if self.is_for_tests(at) {
                    let child = self.word(at + 1).to_owned();
                    self.source.test_children.insert(child);
                }
            }
            _ => return self.plain(at),
        }
        at + 1
    }

    /// A word outside declarations: the head of a path, the name of an item, or any other word.
    fn plain(&mut self, at: usize) -> usize {
        let word = self.word(at);
        if is_name(word) && !self.in_tests() {
            self.source.words.insert(word.to_owned());
        }
        if ITEMS.contains(&word) && self.scopes.is_empty() {
            let name = if word == "macro_rules" { self.word(at + 2) } else { self.word(at + 1) };
            self.source.items.insert(name.to_owned());
        }
        if self.word(at + 1) != "::" || self.before(at, 1) == "::" {
            return at + 1;
        }
        let Some(mut path) = self.head(word) else { return at + 1 };
        let mut end = at + 1;
        while self.word(end) == "::" && is_name(self.word(end + 1)) {
            extend(&mut path, self.word(end + 1));
            end += 2;
        }
        let in_tests = self.in_tests();
        self.source.paths.push(Used { path, by: By::Expression, in_tests });
        end
    }

    /// Reads a `use` declaration.
    fn declaration(&mut self, at: usize) -> usize {
        let end = (at..self.words.len()).find(|at| self.word(*at) == ";").unwrap_or(self.words.len());
        let public = matches!(self.before(at, 1), "pub" | ")");
        let mut paths = Vec::new();
        tree(&self.words[at + 1..end], &[], &mut paths);
        for (path, name) in paths {
            let Some(mut whole) = path.first().and_then(|first| self.head(first)) else { continue };
            for segment in &path[1..] {
                extend(&mut whole, segment);
            }
            let by = if public { By::Reexport(name) } else { By::Import(name) };
            let in_tests = self.in_tests();
            self.source.paths.push(Used { path: whole, by, in_tests });
        }
        end + 1
    }

    /// The module that the first segment of a path names, if it is in the crate.
    fn head(&self, first: &str) -> Option<Vec<String>> {
        let inline = self.scopes.iter().filter_map(|scope| match scope {
            Scope::Module { name, .. } => Some(name.clone()),
            Scope::Other => None,
        });
        let mut here: Vec<String> = self.source.module.iter().cloned().chain(inline).collect();
        match first {
            "crate" => Some(Vec::new()),
            "self" => Some(here),
            "super" => {
                here.pop();
                Some(here)
            }
            child if here == self.source.module && self.children.contains(child) => {
                here.push(child.to_owned());
                Some(here)
            }
            _ => None,
        }
    }

    fn in_tests(&self) -> bool {
        self.scopes.iter().any(|scope| matches!(scope, Scope::Module { tests: true, .. }))
    }

    /// Whether `#[cfg(test)]` stands before the item at `at`.
    fn is_for_tests(&self, at: usize) -> bool {
        let at = if self.before(at, 1) == "pub" { at - 1 } else { at };
        let attribute = ["#", "[", "cfg", "(", "test", ")", "]"];
        at >= attribute.len() && self.words[at - attribute.len()..at].iter().eq(attribute)
    }
}

/// Appends a segment to an absolute path.
fn extend(path: &mut Vec<String>, segment: &str) {
    match segment {
        "self" => {}
        "super" => drop(path.pop()),
        segment => path.push(segment.to_owned()),
    }
}

/// The paths of a `use` tree behind `prefix`, each with the name that it binds.
fn tree(words: &[String], prefix: &[String], found: &mut Vec<(Vec<String>, String)>) {
    let mut path = prefix.to_vec();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        match word.as_str() {
            "::" => at += 1,
            "as" => {
                found.push((path, words.get(at + 1).cloned().unwrap_or_default()));
                return;
            }
            "{" => {
                for branch in branches(&words[at..]) {
                    tree(branch, &path, found);
                }
                return;
            }
            segment => {
                path.push(segment.to_owned());
                at += 1;
            }
        }
    }
    let name = path.iter().rev().find(|segment| *segment != "self").cloned().unwrap_or_default();
    found.push((path, name));
}

/// The parts between the commas of a list in braces that begins `words`.
fn branches(words: &[String]) -> Vec<&[String]> {
    let (mut found, mut level, mut start) = (Vec::new(), 0, 1);
    for (at, word) in words.iter().enumerate() {
        match word.as_str() {
            "{" => level += 1,
            "}" => level -= 1,
            _ => {}
        }
        if word == "," && level == 1 || level == 0 {
            if start < at {
                found.push(&words[start..at]);
            }
            start = at + 1;
        }
        if level == 0 {
            break;
        }
    }
    found
}

/// The child modules that a file declares (`mod name;`).
fn children(words: &[String]) -> BTreeSet<String> {
    words.windows(3).filter(|w| w[0] == "mod" && w[2] == ";").map(|w| w[1].clone()).collect()
}

pub fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// The identifiers and punctuation of Rust source, without comments, strings and character literals.
pub fn words(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut out = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let next = chars.get(at + 1).copied().unwrap_or(' ');
        match chars[at] {
            '/' if next == '/' => at = skip_until(&chars, at, "\n"),
            '/' if next == '*' => at = skip_until(&chars, at + 2, "*/"),
            '"' => at = skip_string(&chars, at),
            'r' if next == '"' || next == '#' && matches!(chars.get(at + 2), Some('"' | '#')) => {
                let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
                at = skip_until(&chars, at + hashes + 2, &format!("\"{}", "#".repeat(hashes)));
            }
            // A character literal and not a lifetime: the closing quote follows after one or more characters.
            '\'' if next == '\\' => at = skip_until(&chars, at + 3, "'"),
            '\'' if chars.get(at + 2) == Some(&'\'') => at += 3,
            ':' if next == ':' => {
                out.push("::".to_owned());
                at += 2;
            }
            c if c.is_alphanumeric() || c == '_' => {
                let end = chars[at..]
                    .iter()
                    .position(|c| !c.is_alphanumeric() && *c != '_')
                    .map_or(chars.len(), |n| at + n);
                out.push(chars[at..end].iter().collect());
                at = end;
            }
            c => {
                if !c.is_whitespace() {
                    out.push(c.to_string());
                }
                at += 1;
            }
        }
    }
    out
}

fn skip_until(chars: &[char], from: usize, end: &str) -> usize {
    let end: Vec<char> = end.chars().collect();
    (from..chars.len()).find(|i| chars[*i..].starts_with(&end)).map_or(chars.len(), |i| i + end.len())
}

fn skip_string(chars: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}
