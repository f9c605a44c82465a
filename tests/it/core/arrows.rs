//! Reads `src/` and tests that the rooms (the modules of the crate) use each other in one direction only.
//!
//! A room may use the rooms to its left, never those to its right:
//! `ids, clock, secret → keyring → token`; `ids, clock, secret → store`; `token, store → session`;
//! `token, store → identity`; `session, identity → oauth → http → console → cli`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// A room and what it may use: `uses` are rooms, `no_crates` are first segments of paths that it must not name (`tokio::…`), and
/// `no_words` are identifiers that it must not contain.
struct Room {
    name: &'static str,
    uses: &'static str,
    no_crates: &'static [&'static [&'static str]],
    no_words: &'static [&'static str],
}

const SQL: &[&str] = &["rusqlite", "refinery", "sqlx", "postgres", "tokio_postgres", "deadpool_postgres"];
const HTTP: &[&str] =
    &["actix_web", "actix_http", "actix_rt", "actix_service", "http", "cookie", "askama", "utoipa"];
// Separate from [`HTTP`], because the connection to a database uses TLS, too.
const TLS: &[&str] = &["rustls", "rustls_native_certs", "tokio_postgres_rustls"];
const RUNTIME: &[&str] = &["tokio", "futures_util", "async_trait"];
const ASYNC: &[&str] = &["async", "await"];
const WEB: &[&str] = &["StatusCode", "HttpRequest", "HttpResponse", "SetCookie", "CookieJar"];

const fn room(
    name: &'static str,
    uses: &'static str,
    no_crates: &'static [&'static [&'static str]],
    no_words: &'static [&'static str],
) -> Room {
    Room { name, uses, no_crates, no_words }
}

const ROOMS: &[Room] = &[
    room("clock", "", &[SQL, HTTP, TLS, RUNTIME], ASYNC),
    room("secret", "", &[SQL, HTTP, TLS, RUNTIME], ASYNC),
    room("ids", "clock secret", &[SQL, HTTP, TLS, RUNTIME], ASYNC),
    room("keyring", "clock ids secret", &[SQL, HTTP, TLS, RUNTIME], ASYNC),
    room("token", "clock ids secret keyring", &[SQL, HTTP, TLS, RUNTIME], ASYNC),
    // Outgoing HTTP requests; the calling room decides what they are for.
    room("fetch", "", &[SQL], WEB),
    // Signatures by other parties.
    room("jws", "token", &[SQL, HTTP, TLS, RUNTIME], ASYNC),
    room("store", "clock ids secret", &[HTTP], WEB),
    room("session", "clock ids secret keyring token store", &[SQL, HTTP, TLS], WEB),
    room("identity", "clock ids secret keyring token store fetch jws", &[SQL, HTTP, TLS], WEB),
    room("oauth", "clock ids secret keyring token store session identity jws", &[SQL, HTTP, TLS], WEB),
    // Settings contain a policy and providers; they are resolved once and passed on.
    room("config", "clock ids secret keyring token store session identity", &[SQL, HTTP, TLS], WEB),
    room("http", "clock ids secret keyring token store session identity oauth config jws", &[SQL], &[]),
    room("console", "clock ids secret keyring token store session identity oauth config http", &[SQL], &[]),
    room(
        "cli",
        "clock ids secret keyring token store session fetch identity oauth config http console",
        &[SQL],
        &[],
    ),
];

#[test]
fn the_rooms_use_each_other_in_one_direction_only() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let root = fs::read_to_string(src.join("lib.rs")).unwrap();
    let reexports = reexports(&root);
    let files = sources(&src);
    assert!(
        files.len() > 20,
        "only {} files under src/: is the test looking in the right place?",
        files.len()
    );

    let mut found = Vec::new();
    let mut arrows = 0;
    for path in files {
        let modules = module_path(path.strip_prefix(&src).unwrap());
        if modules.is_empty() {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let (wrong, seen) = check(&modules, &text, &reexports);
        arrows += seen;
        found.extend(wrong.into_iter().map(|what| format!("src/{}.rs: {what}", modules.join("/"))));
    }
    assert!(arrows > 20, "only {arrows} arrows seen: the reader has gone blind");
    assert!(found.is_empty(), "arrows that point back:\n  {}", found.join("\n  "));
}

#[test]
fn an_arrow_that_points_back_is_caught_however_it_is_written() {
    let reexports = reexports("pub use session::{Principal, Sessions as Service};\npub mod token;");
    let wrong = |module: &str, text: &str| {
        let modules: Vec<String> = module.split('/').map(str::to_owned).collect();
        check(&modules, text, &reexports).0
    };
    let caught = [
        ("token/seal", "use crate::store::Store;"),
        ("token/seal", "use crate::{ids::Kid, store};"),
        ("token/seal", "use crate::{\n    ids::{Kid, Purpose},\n    http::{self, app},\n};"),
        ("token/seal", "fn f() -> crate::session::Policy { todo!() }"),
        ("token/seal", "use super::super::store::Store;"),
        ("token/seal", "use super::{super::store::Store, wire};"),
        ("token/seal", "mod tests { use super::super::super::store::Store; }"),
        ("token/mod", "pub use super::session::Policy;"),
        ("token/seal", "use crate::Principal;"),
        ("token/seal", "use crate::Service;"),
        ("token/seal", "use crate::*;"),
        ("token/seal", "use crate as everything;"),
        ("token/seal", "use crate::nowhere::Thing;"),
        ("token/seal", "fn f() { drop(crate::store::now()) }"),
        ("token/seal", "async fn open() {}"),
        ("keyring/directory", "use std::fs; use tokio::fs as later;"),
        ("keyring/directory", "fn f() { ::rusqlite::version(); }"),
        ("store/sqlite/mod", "use actix_web::web;"),
        ("session/sessions", "use rustls::ClientConfig;"),
        ("store/sqlite/mod", "use crate::token::SealedToken;"),
        ("session/sessions", "use crate::identity::Hasher;"),
        ("session/sessions", "fn f(s: StatusCode) {}"),
        ("identity/mod", "use crate::session::Sessions;"),
        ("http/app", "use crate::cli::run;"),
        ("http/app", "use rusqlite::Connection;"),
        ("attic/mod", "use crate::ids::Kid;"),
    ];
    for (module, text) in caught {
        assert!(!wrong(module, text).is_empty(), "not caught in {module}: {text}");
    }
    let allowed = [
        ("token/seal", "use crate::{ids::{Audience, Kid}, keyring::Ring};"),
        ("token/seal", "// use crate::store::Store;\n/* crate::http */ const S: &str = \"crate::cli\";"),
        ("token/seal", "mod tests { use super::super::wire; } pub(crate) struct A; pub(super) fn f() {}"),
        ("token/seal", "const C: char = '\"'; use super::wire; const D: char = '\"';"),
        ("token/seal", "fn f<'a>(x: &'a str) -> &'a str { x } // it's fine: r#\"crate::store\"#"),
        ("token/seal", "const R: &str = r#\"use crate::store; \" async \"#;"),
        ("store/rows", "enum Transport { Cookie } use crate::ids::Sid; async fn f() {}"),
        ("session/sessions", "use crate::store::{Store, http_like};"),
        ("http/app", "use crate::session::Sessions; use crate::Principal; use actix_web::web;"),
    ];
    for (module, text) in allowed {
        assert_eq!(wrong(module, text), Vec::<String>::new(), "in {module}: {text}");
    }
}

/// Returns the faults of one file, and how many uses of other rooms it has.
fn check(modules: &[String], text: &str, reexports: &BTreeMap<String, String>) -> (Vec<String>, usize) {
    let Some(room) = ROOMS.iter().find(|room| room.name == modules[0]) else {
        return (vec![format!("`{}` is no room of the design; give it a line here", modules[0])], 0);
    };
    let words = words(text);
    let mut wrong = Vec::new();
    let mut arrows = 0;
    for target in targets(modules, &words) {
        let target = reexports.get(&target).cloned().unwrap_or(target);
        if target == room.name {
            continue;
        }
        arrows += 1;
        if !ROOMS.iter().any(|known| known.name == target) {
            wrong.push(format!("uses `crate::{target}`, which is no room and not re-exported by name"));
        } else if !room.uses.split(' ').any(|allowed| allowed == target) {
            wrong.push(format!("{} uses {target}", room.name));
        }
    }
    for (at, word) in words.iter().enumerate() {
        let head = words.get(at + 1).is_some_and(|next| next == "::")
            && (at == 0 || words[at - 1] != "::" || at < 2 || !is_name(&words[at - 2]));
        let used = at > 0 && words[at - 1] == "use";
        if (head || used) && room.no_crates.iter().any(|list| list.contains(&word.as_str())) {
            wrong.push(format!("{} names the crate {word}", room.name));
        }
        if room.no_words.contains(&word.as_str()) {
            wrong.push(format!("{} says `{word}`", room.name));
        }
    }
    (wrong, arrows)
}

/// The first segment after the crate root, of every path that starts there with `crate::` or with enough `super::`.
fn targets(modules: &[String], words: &[String]) -> Vec<String> {
    // `mod.rs` is the module of its folder; any other file is a module below that.
    let depth = modules.len() - usize::from(modules.last().is_some_and(|last| last == "mod"));
    let mut found = Vec::new();
    // For each open brace: whether it opens an inline module.
    let mut braces = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let inline = braces.iter().filter(|inline| **inline).count();
        match words[at].as_str() {
            "{" => braces.push(at >= 2 && words[at - 2] == "mod"),
            "}" => drop(braces.pop()),
            // `pub(crate)` and `pub(super)` are not paths.
            "crate" | "super" if at >= 2 && words[at - 1] == "(" && words[at - 2] == "pub" => {}
            "crate" => heads(words, at + 1, 0, &mut found),
            "super" if at == 0 || words[at - 1] != "::" => heads(words, at, depth + inline, &mut found),
            _ => {}
        }
        at += 1;
    }
    found
}

/// Follows one path (or tree of paths) that begins at `at`, `left` levels of `super` below the root; collects the segments directly
/// below the root.
fn heads(words: &[String], at: usize, left: usize, found: &mut Vec<String>) {
    let at_root = left == 0;
    match words.get(at).map(String::as_str) {
        Some("::") => heads(words, at + 1, left, found),
        Some("super") if !at_root => heads(words, at + 1, left - 1, found),
        Some("{") => {
            let mut level = 0;
            let mut start = true;
            for (i, word) in words.iter().enumerate().skip(at) {
                match word.as_str() {
                    "{" => level += 1,
                    "}" => level -= 1,
                    "," if level == 1 => start = true,
                    _ if level == 1 && start => {
                        heads(words, i, left, found);
                        start = false;
                    }
                    _ => {}
                }
                if level == 0 {
                    break;
                }
            }
        }
        Some(word) if at_root => found.push(word.to_owned()),
        _ => {}
    }
}

/// The names that `lib.rs` re-exports, and the room of each.
fn reexports(root: &str) -> BTreeMap<String, String> {
    let words = words(root);
    let mut map = BTreeMap::new();
    let mut at = 0;
    while at < words.len() {
        if words[at] == "use" {
            let end = words[at..].iter().position(|word| word == ";").map_or(words.len(), |n| at + n);
            let statement: Vec<&str> = words[at + 1..end]
                .iter()
                .map(String::as_str)
                .filter(|w| *w != "crate" && *w != "self")
                .collect();
            if let Some(room) = statement.iter().find(|word| is_name(word)) {
                for (i, word) in statement.iter().enumerate() {
                    let last = statement.get(i + 1).is_none_or(|next| matches!(*next, "," | "}"));
                    if is_name(word) && last {
                        map.insert((*word).to_owned(), (*room).to_owned());
                    }
                }
            }
            at = end;
        }
        at += 1;
    }
    map
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// The identifiers and punctuation of Rust source, without comments, strings and character literals.
fn words(text: &str) -> Vec<String> {
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

/// `token/seal.rs` → `["token", "seal"]`; `lib.rs` and `main.rs` are the root, which may name every room.
fn module_path(file: &Path) -> Vec<String> {
    let parts: Vec<String> =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.len() == 1 && matches!(parts[0].as_str(), "lib" | "main") { Vec::new() } else { parts }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
