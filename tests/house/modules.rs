//! A crate as its modules: which file each is in, what it declares and imports.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::{Item, ItemMod, UseTree};

/// Names from the crate's root on.
pub type Name = Vec<String>;

/// All modules of one crate that aren't tests.
pub struct Crate {
    pub modules: BTreeMap<Name, Module>,
}

/// One of them, in a file of its own or inside another's.
#[derive(Default)]
pub struct Module {
    pub file: PathBuf,
    pub items: Vec<Item>,
    /// What it declares, other than modules.
    pub declared: BTreeSet<String>,
    /// What it calls by another's path.
    pub imports: Vec<Import>,
    /// Paths of which it imports all.
    pub globs: Vec<Vec<String>>,
}

/// A name that is another's.
pub struct Import {
    pub called: String,
    pub path: Vec<String>,
    /// Whether others have it from here.
    pub handed_on: bool,
}

impl Crate {
    pub fn read(root: &Path) -> Crate {
        let mut modules = BTreeMap::new();
        read(root, root.parent().unwrap(), Vec::new(), &mut modules);
        Crate { modules }
    }

    pub fn files(&self) -> BTreeSet<&PathBuf> {
        self.modules.values().map(|module| &module.file).collect()
    }
}

/// Reads a file as a module whose children are in `folder`.
fn read(file: &Path, folder: &Path, name: Name, modules: &mut BTreeMap<Name, Module>) {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    take(file, folder, name, parsed.items, modules);
}

fn take(file: &Path, folder: &Path, name: Name, items: Vec<Item>, modules: &mut BTreeMap<Name, Module>) {
    let mut module = Module { file: file.to_owned(), ..Module::default() };
    for item in items {
        if is_test(&item) {
            continue;
        }
        match item {
            Item::Mod(child) => {
                let mut its = name.clone();
                its.push(child.ident.to_string());
                take_child(file, folder, its, child, modules);
            }
            Item::Use(ref import) => {
                let handed_on = !matches!(import.vis, syn::Visibility::Inherited);
                spread(&import.tree, handed_on, &mut Vec::new(), &mut module);
                module.items.push(item);
            }
            item => {
                module.declared.extend(declares(&item));
                module.items.push(item);
            }
        }
    }
    modules.insert(name, module);
}

fn take_child(file: &Path, folder: &Path, name: Name, child: ItemMod, modules: &mut BTreeMap<Name, Module>) {
    let called = child.ident.to_string();
    if let Some((_, items)) = child.content {
        return take(file, &folder.join(called), name, items, modules);
    }
    if let Some(path) = named_path(&child) {
        let path = file.parent().unwrap().join(path);
        let folder = path.with_extension("");
        return read(&path, &folder, name, modules);
    }
    let flat = folder.join(&called).with_extension("rs");
    let path = if flat.is_file() { flat } else { folder.join(&called).join("mod.rs") };
    read(&path, &folder.join(called), name, modules);
}

fn named_path(module: &ItemMod) -> Option<String> {
    module.attrs.iter().filter(|attribute| attribute.path().is_ident("path")).find_map(|attribute| {
        match &attribute.meta.require_name_value().ok()?.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        }
    })
}

/// Whether it is compiled for tests only.
fn is_test(item: &Item) -> bool {
    let attributes = match item {
        Item::Mod(it) => &it.attrs,
        Item::Fn(it) => &it.attrs,
        Item::Use(it) => &it.attrs,
        Item::Impl(it) => &it.attrs,
        Item::Struct(it) => &it.attrs,
        Item::Const(it) => &it.attrs,
        _ => return false,
    };
    is_cfg_test(attributes)
}

/// Whether an attribute says so.
pub fn is_cfg_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => list.tokens.to_string() == "test",
        _ => false,
    })
}

/// The names that an item gives to its module.
fn declares(item: &Item) -> Option<String> {
    Some(match item {
        Item::Const(it) => it.ident.to_string(),
        Item::Enum(it) => it.ident.to_string(),
        Item::Fn(it) => it.sig.ident.to_string(),
        Item::Static(it) => it.ident.to_string(),
        Item::Struct(it) => it.ident.to_string(),
        Item::Trait(it) => it.ident.to_string(),
        Item::Type(it) => it.ident.to_string(),
        Item::Union(it) => it.ident.to_string(),
        Item::Macro(it) => it.ident.as_ref()?.to_string(),
        _ => return None,
    })
}

/// Takes a `use` apart.
fn spread(tree: &UseTree, handed_on: bool, path: &mut Vec<String>, module: &mut Module) {
    let import =
        |called: &str, path: &[String]| Import { called: called.to_owned(), path: path.to_vec(), handed_on };
    match tree {
        UseTree::Path(part) => {
            path.push(part.ident.to_string());
            spread(&part.tree, handed_on, path, module);
            path.pop();
        }
        UseTree::Name(name) if name.ident == "self" => {
            module.imports.push(import(path.last().unwrap(), path));
        }
        UseTree::Name(name) => {
            path.push(name.ident.to_string());
            module.imports.push(import(&name.ident.to_string(), path));
            path.pop();
        }
        UseTree::Rename(name) => {
            path.push(name.ident.to_string());
            module.imports.push(import(&name.rename.to_string(), path));
            path.pop();
        }
        UseTree::Glob(_) => module.globs.push(path.clone()),
        UseTree::Group(group) => group.items.iter().for_each(|part| spread(part, handed_on, path, module)),
    }
}
