//! Which module of the crate refers to which.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, UseTree};

/// A path of modules and, at its end, perhaps an item: `stream::hub::Hub`. Relative to the crate.
type ModulePath = Vec<String>;

/// Where something is referred to.
#[derive(Debug, Clone, Default)]
pub struct Reference {
    module: String,
    path: String,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} uses {}", self.module, self.path)
    }
}

/// The modules of a crate without their tests, and the paths in each.
pub struct Source {
    modules: BTreeMap<ModulePath, Module>,
}

#[derive(Default)]
struct Module {
    /// Names that `use` brings into the module, with what they stand for.
    names: BTreeMap<String, ModulePath>,
    /// Paths that begin at the crate.
    paths: Vec<ModulePath>,
}

impl Source {
    /// Reads the library below `folder`; the binary `main.rs` counts as a module `main`.
    pub fn read(folder: &Path) -> Self {
        let mut reader = Reader { declared: BTreeMap::new() };
        reader.file(&folder.join("lib.rs"), folder, &[]);
        reader.file(&folder.join("main.rs"), folder, &["main".to_owned()]);
        let known: BTreeSet<ModulePath> = reader.declared.keys().cloned().collect();
        let mut modules = BTreeMap::new();
        for (path, items) in reader.declared {
            let mut collector = Collector { at: &path, known: &known, module: Module::default() };
            // names first: a path may begin with one that is imported further down
            for item in &items {
                if let Item::Use(item) = item {
                    collector.import(item);
                }
            }
            for item in &items {
                collector.visit_item(item);
            }
            let module = collector.module;
            modules.insert(path, module);
        }
        Self { modules }
    }

    /// All modules that have children: the crate is the empty name.
    pub fn parents(&self) -> BTreeSet<String> {
        self.modules.keys().filter_map(|path| Some(path.split_last()?.1.join("::"))).collect()
    }

    /// The direct children of a module.
    pub fn children(&self, parent: &str) -> BTreeSet<String> {
        let parent = split(parent);
        let below = self.modules.keys().filter(|path| path.len() == parent.len() + 1 && path.starts_with(&parent));
        below.map(|path| path[parent.len()].clone()).collect()
    }

    /// Which child refers to which, each with all below it. A reference to an item of the parent is none; to an item that the
    /// parent re-exports from a child is one to that child.
    pub fn edges(&self, parent: &str) -> BTreeMap<(String, String), Reference> {
        let (parent, children) = (split(parent), self.children(parent));
        let mut edges = BTreeMap::new();
        for (at, module) in self.modules.iter().filter(|(path, _)| path.len() > parent.len()) {
            let Some(from) = at.starts_with(&parent).then(|| at[parent.len()].clone()) else { continue };
            for path in module.paths.iter().chain(module.names.values()) {
                let target = self.resolve(path);
                let to = target.starts_with(&parent).then(|| target.get(parent.len())).flatten();
                if let Some(to) = to.filter(|to| **to != from && children.contains(*to)) {
                    let reference = Reference { module: at.join("::"), path: path.join("::") };
                    edges.entry((from.clone(), to.clone())).or_insert(reference);
                }
            }
        }
        edges
    }

    /// Follows re-exports.
    fn resolve(&self, path: &ModulePath) -> ModulePath {
        let mut path = path.clone();
        // a chain of re-exports is short
        for _ in 0..8 {
            let Some(depth) = (0..path.len()).rev().find(|depth| self.modules.contains_key(&path[..*depth])) else {
                break;
            };
            let Some(target) = self.modules[&path[..depth]].names.get(&path[depth]) else { break };
            if self.modules.contains_key(&path[..=depth]) {
                break;
            }
            path = target.iter().chain(&path[depth + 1..]).cloned().collect();
        }
        path
    }
}

fn split(path: &str) -> ModulePath {
    path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// Finds the modules' files.
struct Reader {
    declared: BTreeMap<ModulePath, Vec<Item>>,
}

impl Reader {
    /// Reads a file whose child modules are in `folder`.
    fn file(&mut self, file: &Path, folder: &Path, at: &[String]) {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.items(parsed.items, folder, at);
    }

    fn items(&mut self, items: Vec<Item>, folder: &Path, at: &[String]) {
        let (mut own, mut below) = (Vec::new(), Vec::new());
        for item in items {
            match item {
                Item::Mod(item) if !is_test(&item.attrs) => below.push(item),
                item => own.push(item),
            }
        }
        self.declared.insert(at.to_vec(), own);
        for ItemMod { ident, content, .. } in below {
            let name = ident.to_string();
            let (path, inner) = ([at, std::slice::from_ref(&name)].concat(), folder.join(&name));
            if let Some((_, items)) = content {
                self.items(items, &inner, &path);
            } else {
                let beside = folder.join(format!("{name}.rs"));
                let file = if beside.is_file() { beside } else { inner.join("mod.rs") };
                self.file(&file, &inner, &path);
            }
        }
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test")
    })
}

/// Collects the paths in one module.
struct Collector<'a> {
    at: &'a ModulePath,
    known: &'a BTreeSet<ModulePath>,
    module: Module,
}

impl Collector<'_> {
    /// Where a path leads that begins at this module; none where it leads out of the crate.
    fn absolute(&self, path: &[String]) -> Option<ModulePath> {
        let is_binary = self.at.first().is_some_and(|first| first == "main");
        let (first, rest) = path.split_first()?;
        let join = |base: &[String], rest: &[String]| [base, rest].concat();
        match first.as_str() {
            "crate" => Some(join(if is_binary { &self.at[..1] } else { &[] }, rest)),
            "living_map" if is_binary => Some(rest.to_vec()),
            "self" => Some(join(self.at, rest)),
            "super" => {
                let ups = path.iter().take_while(|part| *part == "super").count();
                Some(join(&self.at[..self.at.len().checked_sub(ups)?], &path[ups..]))
            }
            _ => {
                let child = join(self.at, std::slice::from_ref(first));
                if self.known.contains(&child) {
                    return Some(join(self.at, path));
                }
                self.module.names.get(first).map(|target| join(target, rest))
            }
        }
    }

    fn refer(&mut self, path: &[String]) {
        if path.len() > 1
            && let Some(path) = self.absolute(path)
        {
            self.module.paths.push(path);
        }
    }

    fn import(&mut self, item: &ItemUse) {
        if is_test(&item.attrs) {
            return;
        }
        let mut found = Vec::new();
        flatten(&item.tree, &mut Vec::new(), &mut found);
        for (name, path) in found {
            if let Some(path) = self.absolute(&path) {
                match name {
                    Some(name) => drop(self.module.names.insert(name, path)),
                    None => self.module.paths.push(path),
                }
            }
        }
    }

    /// Paths in a macro's tokens, which are not parsed.
    fn tokens(&mut self, tokens: TokenStream) {
        let (mut path, mut colons) = (Vec::new(), 0);
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.refer(&std::mem::take(&mut path));
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.refer(&std::mem::take(&mut path));
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.refer(&path);
    }
}

/// The names that a `use` brings in, each with its path; no name for all of a module.
fn flatten(tree: &UseTree, before: &mut ModulePath, found: &mut Vec<(Option<String>, ModulePath)>) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, found);
            before.pop();
        }
        UseTree::Name(name) if name.ident == "self" => found.push((before.last().cloned(), before.clone())),
        UseTree::Name(name) => {
            let name = name.ident.to_string();
            found.push((Some(name.clone()), [&before[..], &[name]].concat()));
        }
        UseTree::Rename(rename) => {
            let path = [&before[..], &[rename.ident.to_string()]].concat();
            found.push((Some(rename.rename.to_string()), path));
        }
        UseTree::Glob(_) => found.push((None, before.clone())),
        UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, before, found);
            }
        }
    }
}

impl<'ast> Visit<'ast> for Collector<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            Item::Struct(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Const(item) => &item.attrs,
            _ => &Vec::new(),
        };
        if !is_test(attributes) && !matches!(item, Item::Mod(_)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_test(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let mut found = Vec::new();
        flatten(&item.tree, &mut Vec::new(), &mut found);
        for (_, path) in found {
            self.refer(&path);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: ModulePath = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.refer(&parts);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.tokens(item.tokens.clone());
        visit::visit_macro(self, item);
    }
}
