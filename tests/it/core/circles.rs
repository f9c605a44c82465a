//! Tests that the modules of one folder don't use each other in a circle. Reads `src/`.
//!
//! A module includes the modules inside it: `session/refresh.rs`, or all of `store/postgres/`. A module uses another one if a path
//! in it leads there, also through a re-export. A module and its parent may use each other, because `mod.rs` puts its folder
//! together. Code for tests is ignored.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs,
    path::Path,
};

use super::source::{self, By, Source};

type Module = Vec<String>;
/// The files that each file uses.
type Graph = BTreeMap<Module, BTreeSet<Module>>;

/// The modules of a crate, by their paths.
struct Crate(BTreeMap<Module, Source>);

impl Crate {
    fn new(files: impl IntoIterator<Item = (Module, String)>) -> Self {
        let sources = files.into_iter().map(|(module, text)| (module.clone(), source::read(&module, &text)));
        let mut sources: BTreeMap<Module, Source> = sources.collect();
        let for_tests: BTreeSet<Module> = sources
            .values()
            .flat_map(|source| source.test_children.iter().map(|child| joined(&source.module, child)))
            .collect();
        sources.retain(|module, _| !for_tests.iter().any(|tests| module.starts_with(tests)));
        Self(sources)
    }

    /// Each file with the files of the same room that it uses.
    fn graph(&self) -> Graph {
        self.0.iter().map(|(module, source)| (module.clone(), self.used(source))).collect()
    }

    fn used(&self, source: &Source) -> BTreeSet<Module> {
        let mut found = BTreeSet::new();
        for used in source.paths.iter().filter(|used| !used.in_tests) {
            if used.path.last().is_some_and(|last| last == "*") {
                let names = source.words.iter().filter(|word| !source.items.contains(*word));
                found.extend(
                    names.filter_map(|name| self.in_glob(&used.path[..used.path.len() - 1], name, 0)),
                );
            } else {
                found.extend(self.owner(&used.path, 0));
            }
        }
        found.retain(|other| other.first() == source.module.first());
        found
    }

    /// The file that defines what a path names. Follows re-exports.
    fn owner(&self, path: &[String], depth: usize) -> Option<Module> {
        let mut here = Module::new();
        for (at, segment) in path.iter().enumerate() {
            let child = joined(&here, segment);
            if self.0.contains_key(&child) {
                here = child;
                continue;
            }
            let rest = &path[at + 1..];
            return self.through(&here, segment, rest, depth).or(Some(here));
        }
        Some(here)
    }

    /// The file that defines the item that a module imports or re-exports as `name`, or the item with the path `rest` below it.
    fn through(&self, module: &[String], name: &str, rest: &[String], depth: usize) -> Option<Module> {
        let source = self.0.get(module)?;
        // The limit ends the search if files import each other's names.
        if source.items.contains(name) || depth > 20 {
            return None;
        }
        for used in source.paths.iter().filter(|used| !used.in_tests) {
            match &used.by {
                By::Import(bound) | By::Reexport(bound) if bound == name => {
                    let whole: Module = used.path.iter().chain(rest).cloned().collect();
                    return self.owner(&whole, depth + 1);
                }
                By::Import(bound) | By::Reexport(bound) if bound == "*" => {
                    let from = &used.path[..used.path.len() - 1];
                    if let Some(owner) = self.in_glob(from, name, depth + 1) {
                        return Some(owner);
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// The file that defines `name`, if a glob import of the module `from` imports that name.
    fn in_glob(&self, from: &[String], name: &str, depth: usize) -> Option<Module> {
        let source = self.0.get(from)?;
        if source.items.contains(name) {
            return Some(from.to_vec());
        }
        self.through(from, name, &[], depth)
    }
}

fn joined(module: &[String], child: &str) -> Module {
    module.iter().cloned().chain([child.to_owned()]).collect()
}

/// The uses between the modules of the folder `parent`; each module includes the modules inside it. For each use, an example of two
/// files.
fn siblings(graph: &Graph, parent: &[String]) -> BTreeMap<Module, BTreeMap<Module, (Module, Module)>> {
    let sibling = |file: &Module| {
        let inside = file.len() > parent.len() && file.starts_with(parent);
        inside.then(|| file[..=parent.len()].to_vec())
    };
    let mut found: BTreeMap<Module, BTreeMap<Module, (Module, Module)>> = BTreeMap::new();
    for (file, uses) in graph {
        let Some(from) = sibling(file) else { continue };
        for used in uses {
            let Some(to) = sibling(used).filter(|to| *to != from) else { continue };
            let example = (file.clone(), used.clone());
            found.entry(from.clone()).or_default().entry(to).or_insert(example);
        }
    }
    found
}

/// The shortest circle through each use that is part of one. Each circle is listed once, with the files that form it.
fn circles(graph: &Graph) -> Vec<String> {
    // The rooms are the subject of `arrows`.
    let parents: BTreeSet<&[String]> =
        graph.keys().filter(|file| file.len() > 1).map(|file| &file[..file.len() - 1]).collect();
    let mut found = Vec::new();
    for parent in parents {
        let uses = siblings(graph, parent);
        let graph: Graph =
            uses.iter().map(|(from, to)| (from.clone(), to.keys().cloned().collect())).collect();
        let mut here = BTreeSet::new();
        for (from, to) in graph.iter().flat_map(|(from, uses)| uses.iter().map(move |to| (from, to))) {
            let Some(mut circle) = shortest(&graph, to, from) else { continue };
            let least = circle.iter().enumerate().min_by_key(|(_, module)| (*module).clone());
            let first = least.map_or(0, |(at, _)| at);
            circle.rotate_left(first);
            here.insert(circle);
        }
        found.extend(here.iter().map(|circle| {
            let next = circle.iter().cycle().skip(1);
            let steps = circle.iter().zip(next).map(|(from, to)| {
                let (file, used) = &uses[from][to];
                format!("{} uses {}", file.join("/"), used.join("/"))
            });
            steps.collect::<Vec<_>>().join(", ")
        }));
    }
    found
}

/// The shortest way from one file to another.
fn shortest(graph: &Graph, from: &Module, to: &Module) -> Option<Vec<Module>> {
    let mut before: BTreeMap<&Module, &Module> = BTreeMap::new();
    let mut waiting = VecDeque::from([from]);
    while let Some(at) = waiting.pop_front() {
        if at == to {
            let mut way = vec![at.clone()];
            let mut at = at;
            while at != from {
                at = before[at];
                way.push(at.clone());
            }
            way.reverse();
            return Some(way);
        }
        for next in graph.get(at).into_iter().flatten() {
            if next != from && !before.contains_key(next) {
                before.insert(next, at);
                waiting.push_back(next);
            }
        }
    }
    None
}

#[test]
fn the_modules_of_one_folder_do_not_use_each_other_in_a_circle() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    // `main.rs` is another crate.
    let paths = source::files(&src).into_iter().filter(|path| !path.ends_with("main.rs"));
    let files = paths.map(|path| {
        let module = source::module_path(path.strip_prefix(&src).unwrap());
        (module, fs::read_to_string(path).unwrap())
    });
    let graph = Crate::new(files).graph();
    let uses: usize = graph.values().map(BTreeSet::len).sum();
    assert!(uses > 100, "only {uses} uses between the files of one room: does the reader still work?");
    let found = circles(&graph);
    assert!(found.is_empty(), "{} circles:\n  {}", found.len(), found.join("\n  "));
}

/// The circles between the files of a crate.
fn found(files: &[(&str, &str)]) -> Vec<String> {
    let files = files.iter().map(|(path, text)| (source::module_path(Path::new(path)), (*text).to_owned()));
    circles(&Crate::new(files).graph())
}

#[test]
fn a_circle_between_two_modules_is_found_however_it_is_written() {
    let b = ("room/b.rs", "use super::a::A; pub struct B;");
    let root = ("room/mod.rs", "mod a;\nmod b;\npub use self::{a::A, b::B};\npub use b::B as Renamed;");
    let crate_root = ("lib.rs", "pub mod room; pub use room::B as Best;");
    for text in [
        "use super::b::B; pub struct A;",
        "pub struct A; use crate::room::b::B;",
        "use crate::{room::{b::{self, B}}}; pub struct A;",
        "use super::{super::room::b as other}; pub struct A;",
        "pub struct A; fn f() -> super::b::B { loop {} }",
        "pub struct A; fn f() { drop(crate::room::b::B) }",
        // Through re-exports of the parent and of the crate.
        "use super::B; pub struct A;",
        "use super::Renamed; pub struct A;",
        "use crate::room::B; pub struct A;",
        "use crate::Best; pub struct A;",
        "use super::*; pub struct A; fn f(_: B) {}",
        // In an inline module and in a function.
        "pub struct A; mod inner { use super::super::b::B; }",
        "pub struct A; fn f() { use super::b::B; }",
        "pub struct A; pub(in crate::room) fn f(_: &super::b::B) {}",
    ] {
        let files = [crate_root, root, ("room/a.rs", text), b];
        assert_eq!(found(&files), ["room/a uses room/b, room/b uses room/a"], "{text}");
    }
}

#[test]
fn a_longer_circle_and_one_between_folders_are_found() {
    let longer = [
        ("room/mod.rs", "mod a; mod b; mod c;"),
        ("room/a.rs", "use super::b;"),
        ("room/b.rs", "use super::c;"),
        ("room/c.rs", "use super::a;"),
    ];
    assert_eq!(found(&longer), ["room/a uses room/b, room/b uses room/c, room/c uses room/a"]);
    let folders = [
        ("room/mod.rs", "mod a; mod b;"),
        ("room/a/mod.rs", "mod inner; pub use inner::Inner;"),
        ("room/a/inner.rs", "use crate::room::b; pub struct Inner;"),
        ("room/b.rs", "use super::a::Inner;"),
    ];
    assert_eq!(found(&folders), ["room/a/inner uses room/b, room/b uses room/a/inner"]);
    let by_its_folder = [
        ("room.rs", "mod a; mod b;"),
        ("room/a.rs", "mod inner; pub struct Shared;"),
        ("room/a/inner.rs", "use crate::room::b;"),
        ("room/b.rs", "use super::a::Shared;"),
    ];
    assert_eq!(found(&by_its_folder), ["room/a/inner uses room/b, room/b uses room/a"]);
}

#[test]
fn uses_that_form_no_circle_are_not_reported() {
    let root = ("room/mod.rs", "mod a; mod b; pub use a::A; pub(crate) use self::b::B; pub struct Shared;");
    for (a, b) in [
        // Children use the parent, which re-exports them, and one child uses the other, also through the parent.
        ("use super::Shared; pub struct A;", "use super::{A, Shared}; pub struct B;"),
        ("use super::*; pub struct A(Shared);", "use super::*; pub struct B(A);"),
        // Only a test uses the other file.
        (
            "pub struct A; #[cfg(test)] mod tests { use super::super::b::B; }",
            "use super::a::A; pub struct B;",
        ),
        ("pub struct A; // use super::b::B;", "use super::a::A; pub struct B;"),
        // Uses of other rooms are the subject of `arrows`.
        ("use crate::other::Thing; pub struct A;", "use super::a::A; pub struct B;"),
    ] {
        let files =
            [root, ("room/a.rs", a), ("room/b.rs", b), ("other.rs", "use crate::room::A; pub struct Thing;")];
        assert_eq!(found(&files), Vec::<String>::new(), "{a} {b}");
    }
    let tests = [
        ("room.rs", "pub struct Rule; #[cfg(test)] mod tests;"),
        ("room/tests.rs", "use super::Rule; mod helper; fn f() { helper::g() }"),
        ("room/tests/helper.rs", "use super::f; pub fn g() {}"),
    ];
    assert_eq!(found(&tests), Vec::<String>::new());
}
