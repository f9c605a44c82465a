//! Compares the public API with `public_api.txt`, so that each change of it is a visible decision.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use quote::ToTokens as _;
use syn::{Attribute, ImplItem, Item, TraitItem, UseTree, Visibility};

/// Set this variable to write the file anew after an intended change.
const UPDATE: &str = "BULLA_UPDATE_PUBLIC_API";

#[test]
fn the_public_api_is_the_recorded_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names = public_names(&root.join("src"));
    assert!(names.len() > 20, "only {} public names found", names.len());
    let mut described: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let items: Vec<Item> =
        super::source::files(&root.join("src")).iter().flat_map(|path| parse(path).items).collect();
    let private = private_types(&items, &names);
    items.iter().for_each(|item| describe(item, &names, &private, &mut described));
    let missing: Vec<_> = names.values().filter(|path| !described.contains_key(*path)).collect();
    assert!(missing.is_empty(), "re-exported but not found in the source: {missing:?}");
    let mut now = String::new();
    for (name, lines) in &described {
        now += &format!("{name}\n");
        lines.iter().for_each(|line| now += &format!("    {line}\n"));
    }
    let recorded = root.join("tests/it/core/public_api.txt");
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&recorded, &now).unwrap();
    }
    let before = fs::read_to_string(&recorded).unwrap_or_default();
    let (before, now): (BTreeSet<&str>, BTreeSet<&str>) = (before.lines().collect(), now.lines().collect());
    let gone: Vec<_> = before.difference(&now).collect();
    let new: Vec<_> = now.difference(&before).collect();
    assert!(
        gone.is_empty() && new.is_empty(),
        "the public API has changed. Gone: {gone:#?}\nNew: {new:#?}\nIf this is intended, say it in CHANGELOG.md and run \
         {UPDATE}=1 cargo test --test it -- core::public_api"
    );
}

#[test]
fn hidden_and_private_items_are_no_part_of_the_api() {
    let file: syn::File = syn::parse_str(
        "#[derive(Debug)] #[non_exhaustive] pub struct A { pub shown: u8, #[doc(hidden)] pub hidden: u8, private: u8 }
         impl Clone for A { fn clone(&self) -> A { A } }
         impl Inner for A {}
         impl From<B> for A { fn from(b: B) -> A { A } }
         impl From<String> for A { fn from(text: String) -> A { A } }
         impl A { pub fn shown(&self) {} #[doc(hidden)] pub fn hidden(&self) {} pub(crate) fn inner(&self) {} }
         pub struct B;",
    )
    .unwrap();
    let mut described = BTreeMap::new();
    let names = [("A".to_owned(), "a::A".to_owned())].into();
    let private = private_types(&file.items, &names);
    file.items.iter().for_each(|item| describe(item, &names, &private, &mut described));
    let lines: Vec<&str> = described["a::A"].iter().map(String::as_str).collect();
    assert_eq!(
        lines,
        [
            "derive (Debug)",
            "fn shown (& self)",
            "impl Clone",
            "impl From < String >",
            "impl Inner",
            "non_exhaustive",
            "pub shown : u8",
            "struct A"
        ]
    );
    assert!(!described.contains_key("B"));
}

fn parse(path: &Path) -> syn::File {
    syn::parse_file(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Each public name with its path: the names that `lib.rs` re-exports at the root, and those in its public modules.
fn public_names(src: &Path) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    let root = parse(&src.join("lib.rs"));
    for item in &root.items {
        match item {
            Item::Mod(item) if item.content.is_none() && is_public(&item.vis, &item.attrs) => {
                let name = item.ident.to_string();
                let file = src.join(format!("{name}.rs"));
                add_module(
                    &name,
                    &if file.is_file() { file } else { src.join(name.clone()).join("mod.rs") },
                    &mut names,
                );
            }
            Item::Use(item) if is_public(&item.vis, &item.attrs) => {
                for (room, name) in used(&item.tree) {
                    let module = src.join(room).join(&name).join("mod.rs");
                    if module.is_file() {
                        add_module(&name, &module, &mut names);
                    } else {
                        names.insert(name.clone(), name);
                    }
                }
            }
            _ => {}
        }
    }
    names
}

fn add_module(module: &str, file: &Path, names: &mut BTreeMap<String, String>) {
    let public = Visibility::Public(Default::default());
    for item in &parse(file).items {
        let (visibility, attributes, defined): (_, _, Vec<String>) = match item {
            Item::Use(item) => {
                let defined = used(&item.tree).into_iter().map(|(_, name)| name).collect();
                (&item.vis, &item.attrs, defined)
            }
            Item::Struct(item) => (&item.vis, &item.attrs, vec![item.ident.to_string()]),
            Item::Enum(item) => (&item.vis, &item.attrs, vec![item.ident.to_string()]),
            Item::Trait(item) => (&item.vis, &item.attrs, vec![item.ident.to_string()]),
            Item::Const(item) => (&item.vis, &item.attrs, vec![item.ident.to_string()]),
            Item::Fn(item) => (&item.vis, &item.attrs, vec![item.sig.ident.to_string()]),
            Item::Macro(item) => (&public, &item.attrs, defined_by_macro(item).into_iter().collect()),
            _ => continue,
        };
        if is_public(visibility, attributes) {
            for name in defined {
                names.entry(name.clone()).or_insert(format!("{module}::{name}"));
            }
        }
    }
}

/// The first name in the arguments of a call of a macro: the type that the macro defines.
fn defined_by_macro(item: &syn::ItemMacro) -> Option<String> {
    let first = |input: syn::parse::ParseStream<'_>| {
        input.call(Attribute::parse_outer)?;
        let name: syn::Ident = input.parse()?;
        while !input.is_empty() {
            input.step(|cursor| {
                cursor.token_tree().map(|(_, rest)| ((), rest)).ok_or_else(|| cursor.error("no token"))
            })?;
        }
        Ok(name.to_string())
    };
    if item.ident.is_some() { None } else { item.mac.parse_body_with(first).ok() }
}

/// The names that a `use` imports, each with its path.
fn used(tree: &UseTree) -> Vec<(PathBuf, String)> {
    match tree {
        UseTree::Path(path) => {
            let below = used(&path.tree).into_iter();
            below.map(|(rest, name)| (Path::new(&path.ident.to_string()).join(rest), name)).collect()
        }
        UseTree::Group(group) => group.items.iter().flat_map(used).collect(),
        UseTree::Name(name) => vec![(PathBuf::new(), name.ident.to_string())],
        UseTree::Rename(rename) => vec![(PathBuf::new(), rename.rename.to_string())],
        UseTree::Glob(_) => panic!("a glob re-export hides what is public"),
    }
}

fn is_public(visibility: &Visibility, attributes: &[Attribute]) -> bool {
    matches!(visibility, Visibility::Public(_)) && !is_hidden(attributes)
}

fn is_hidden(attributes: &[Attribute]) -> bool {
    attributes
        .iter()
        .any(|one| one.path().is_ident("doc") && one.meta.to_token_stream().to_string().contains("hidden"))
}

/// The types of the crate that have no public name.
fn private_types(items: &[Item], names: &BTreeMap<String, String>) -> BTreeSet<String> {
    let defined = items.iter().filter_map(|item| match item {
        Item::Struct(item) => Some(item.ident.to_string()),
        Item::Enum(item) => Some(item.ident.to_string()),
        _ => None,
    });
    defined.filter(|name| !names.contains_key(name)).collect()
}

/// Adds what `item` says about the public names: its declaration, public fields, variants, methods and traits.
fn describe(
    item: &Item,
    names: &BTreeMap<String, String>,
    private: &BTreeSet<String>,
    described: &mut BTreeMap<String, BTreeSet<String>>,
) {
    let mut add = |name: &str, line: String| {
        if let Some(path) = names.get(name) {
            described.entry(path.clone()).or_default().insert(line.trim().to_owned());
        }
    };
    match item {
        Item::Struct(item) if is_public(&item.vis, &item.attrs) => {
            let name = item.ident.to_string();
            add(&name, format!("struct {name}{}", item.generics.to_token_stream()));
            promises(&item.attrs).for_each(|line| add(&name, line));
            for field in item.fields.iter().filter(|field| is_public(&field.vis, &field.attrs)) {
                let field_name = field.ident.as_ref().map_or_else(|| "0".to_owned(), ToString::to_string);
                add(&name, format!("pub {field_name} : {}", field.ty.to_token_stream()));
            }
        }
        Item::Enum(item) if is_public(&item.vis, &item.attrs) => {
            let name = item.ident.to_string();
            add(&name, format!("enum {name}{}", item.generics.to_token_stream()));
            promises(&item.attrs).for_each(|line| add(&name, line));
            for variant in &item.variants {
                add(&name, format!("variant {} {}", variant.ident, variant.fields.to_token_stream()));
            }
        }
        Item::Trait(item) if is_public(&item.vis, &item.attrs) => {
            let name = item.ident.to_string();
            add(&name, format!("trait {name} : {}", item.supertraits.to_token_stream()));
            for part in &item.items {
                if let TraitItem::Fn(method) = part
                    && !is_hidden(&method.attrs)
                {
                    add(&name, method.sig.to_token_stream().to_string());
                }
            }
        }
        Item::Type(item) if is_public(&item.vis, &item.attrs) => {
            add(&item.ident.to_string(), format!("type = {}", item.ty.to_token_stream()));
        }
        Item::Const(item) if is_public(&item.vis, &item.attrs) => {
            add(&item.ident.to_string(), format!("const : {}", item.ty.to_token_stream()));
        }
        Item::Fn(item) if is_public(&item.vis, &item.attrs) => {
            add(&item.sig.ident.to_string(), item.sig.to_token_stream().to_string());
        }
        Item::Impl(item) => describe_implementation(item, private, add),
        Item::Macro(item) => {
            if let Some(name) = defined_by_macro(item) {
                add(&name, format!("by the macro {}", item.mac.path.to_token_stream()));
            }
        }
        _ => {}
    }
}

/// The attributes that are part of the API.
fn promises(attributes: &[Attribute]) -> impl Iterator<Item = String> {
    let promise = |one: &&Attribute| one.path().is_ident("derive") || one.path().is_ident("non_exhaustive");
    attributes.iter().filter(promise).map(|one| one.meta.to_token_stream().to_string())
}

fn describe_implementation(
    item: &syn::ItemImpl,
    private: &BTreeSet<String>,
    mut add: impl FnMut(&str, String),
) {
    let syn::Type::Path(path) = &*item.self_ty else { return };
    let Some(name) = path.path.segments.last().map(|last| last.ident.to_string()) else { return };
    if let Some((_, implemented, _)) = &item.trait_ {
        if converts_from(implemented).is_none_or(|source| !private.contains(&source)) {
            add(&name, format!("impl {}", implemented.to_token_stream()));
        }
        return;
    }
    for part in &item.items {
        match part {
            ImplItem::Fn(method) if is_public(&method.vis, &method.attrs) => {
                add(&name, method.sig.to_token_stream().to_string());
            }
            ImplItem::Const(constant) if is_public(&constant.vis, &constant.attrs) => {
                add(&name, format!("const {} : {}", constant.ident, constant.ty.to_token_stream()));
            }
            _ => {}
        }
    }
}

/// The type in `From<…>`. Other programs can't use a conversion from a private type, and `cargo doc` doesn't show it.
fn converts_from(implemented: &syn::Path) -> Option<String> {
    let last = implemented.segments.last().filter(|last| last.ident == "From")?;
    let syn::PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    let Some(syn::GenericArgument::Type(syn::Type::Path(source))) = arguments.args.first() else {
        return None;
    };
    source.path.segments.last().map(|last| last.ident.to_string())
}
