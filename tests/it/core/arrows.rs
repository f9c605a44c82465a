//! Reads `src/` and tests that the rooms (the modules of the crate) use each other in one direction only.
//!
//! A room may use the rooms to its left, never those to its right:
//! `ids, clock, secret → keyring → token`; `ids, clock, secret → store`; `token, store → session`; `token, store → identity`;
//! `session, identity → login, oauth → installation → http → config → cli`.

use std::{collections::BTreeMap, fs, path::Path};

use super::source::{self, By, is_name};

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
    room("text_names", "", &[SQL, HTTP, TLS, RUNTIME], ASYNC),
    room("ids", "clock secret", &[SQL, HTTP, TLS, RUNTIME], ASYNC),
    room("keyring", "clock ids secret text_names", &[SQL, HTTP, TLS, RUNTIME], ASYNC),
    room("token", "clock ids secret text_names keyring", &[SQL, HTTP, TLS, RUNTIME], ASYNC),
    // Outgoing HTTP requests; the calling room decides what they are for.
    room("fetch", "", &[SQL], WEB),
    // Signatures by other parties.
    room("jws", "token", &[SQL, HTTP, TLS, RUNTIME], ASYNC),
    room("store", "clock ids secret text_names", &[HTTP], WEB),
    room("session", "clock ids secret text_names keyring token store", &[SQL, HTTP, TLS], WEB),
    room("identity", "clock ids secret text_names keyring token store fetch jws", &[SQL, HTTP, TLS], WEB),
    room(
        "oauth",
        "clock ids secret text_names keyring token store session identity jws",
        &[SQL, HTTP, TLS],
        WEB,
    ),
    // The answers to failed requests, without a web framework.
    room("problem", "session store", &[SQL, HTTP, TLS], WEB),
    room(
        "login",
        "clock ids secret text_names keyring token store session identity problem",
        &[SQL, HTTP, TLS],
        WEB,
    ),
    room(
        "installation",
        "clock ids secret text_names keyring token store session identity problem login",
        &[SQL, HTTP, TLS],
        WEB,
    ),
    room(
        "http",
        "clock ids secret text_names keyring token store session identity problem login installation oauth jws",
        &[SQL],
        &[],
    ),
    // Settings contain a policy, providers and the header of trusted proxies; they are resolved once and passed on.
    room(
        "config",
        "clock ids secret text_names keyring token store session identity http",
        &[SQL, HTTP, TLS],
        WEB,
    ),
    // Help for the tests of embedding programs.
    room("testing", "clock ids secret text_names session store installation http", &[SQL], &[]),
    room(
        "cli",
        "clock ids secret text_names keyring token store session fetch identity oauth config http",
        &[SQL],
        &[],
    ),
];

#[test]
fn the_rooms_use_each_other_in_one_direction_only() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let root = fs::read_to_string(src.join("lib.rs")).unwrap();
    let reexports = reexports(&root);
    let files = source::files(&src);
    assert!(
        files.len() > 20,
        "only {} files under src/: is the test looking in the right place?",
        files.len()
    );

    let mut found = Vec::new();
    let mut arrows = 0;
    for path in files {
        let modules = source::module_path(path.strip_prefix(&src).unwrap());
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
fn a_forbidden_use_is_found_however_it_is_written() {
    let reexports =
        reexports("pub mod session;\npub use session::{Principal, Sessions as Service};\npub mod token;");
    let wrong = |module: &str, text: &str| {
        let modules = source::module_path(Path::new(module));
        check(&modules, text, &reexports).0
    };
    let caught = [
        ("token/keys", "use crate::store::Store;"),
        ("token/keys", "use crate::{ids::Kid, store};"),
        ("token/keys", "use crate::{\n    ids::{Kid, Purpose},\n    http::{self, app},\n};"),
        ("token/keys", "fn f() -> crate::session::Policy { loop {} }"),
        ("token/keys", "use super::super::store::Store;"),
        ("token/keys", "use super::{super::store::Store, wire};"),
        ("token/keys", "mod tests { use super::super::super::store::Store; }"),
        ("token/mod", "pub use super::session::Policy;"),
        ("token/keys", "use crate::Principal;"),
        ("token/keys", "use crate::Service;"),
        ("token/keys", "use crate::*;"),
        ("token/keys", "use crate as everything;"),
        ("token/keys", "use crate::nowhere::Thing;"),
        ("token/keys", "fn f() { drop(crate::store::now()) }"),
        ("token/keys", "async fn open() {}"),
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
        ("token/keys", "use crate::{ids::{Audience, Kid}, keyring::Ring};"),
        ("token/keys", "// use crate::store::Store;\n/* crate::http */ const S: &str = \"crate::cli\";"),
        ("token/keys", "mod tests { use super::super::wire; } pub(crate) struct A; pub(super) fn f() {}"),
        ("token/keys", "const C: char = '\"'; use super::wire; const D: char = '\"';"),
        ("token/keys", "fn f<'a>(x: &'a str) -> &'a str { x } // it's fine: r#\"crate::store\"#"),
        ("token/keys", "const R: &str = r#\"use crate::store; \" async \"#;"),
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
    let words = source::words(text);
    let mut wrong = Vec::new();
    let mut arrows = 0;
    for used in source::read(modules, text).paths {
        let Some(target) = used.path.into_iter().next() else {
            wrong.push("uses the whole crate under another name".to_owned());
            continue;
        };
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

/// The names that `lib.rs` re-exports, and the room of each.
fn reexports(root: &str) -> BTreeMap<String, String> {
    let paths = source::read(&[], root).paths;
    let named = paths.into_iter().filter_map(|used| match used.by {
        By::Reexport(name) => Some((name, used.path.into_iter().next()?)),
        _ => None,
    });
    named.collect()
}
