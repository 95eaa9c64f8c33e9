//! Reads a crate's sources with `syn`.
//!
//! Files are found as the compiler finds them, from `lib.rs` and `main.rs` by their `mod` lines. What is there for tests only
//! (`#[cfg(test)]` in any form, modules named `tests` or `testing`) is left out.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use syn::spanned::Spanned;
use syn::{Attribute, ImplItem, Item, ItemImpl, TraitItem, Visibility};

use super::model::{
    Definition, DefinitionId, File, FileId, Function, Import, Kind, Model, Module, ModuleId, Syntax, extent,
};

/// Reads the crate below `folder`.
pub(super) fn read(folder: &Path) -> Result<Model> {
    let sources = folder.join("src");
    let manifest = fs::read_to_string(folder.join("Cargo.toml"))?;
    let mut model = Model {
        name: package(&manifest),
        ..Model::default()
    };
    let mut impls = Vec::new();
    for root in ["lib.rs", "main.rs"] {
        if sources.join(root).is_file() {
            let mut reader = Reader {
                load: &|path: &str| {
                    fs::read_to_string(sources.join(path))
                        .with_context(|| sources.join(path).display().to_string())
                },
                exists: &|path: &str| sources.join(path).is_file(),
                model: &mut model,
                impls: &mut impls,
            };
            reader.root(root)?;
        }
    }
    model.connect(impls);
    Ok(model)
}

/// Reads a crate from texts; `lib.rs` is the root.
#[cfg(test)]
pub(super) fn of_texts(texts: &[(&str, &str)]) -> Result<Model> {
    let texts: BTreeMap<&str, &str> = texts.iter().copied().collect();
    let mut model = Model {
        name: "example".to_owned(),
        ..Model::default()
    };
    let mut impls = Vec::new();
    let mut reader = Reader {
        load: &|path: &str| Ok((*texts.get(path).context("no such text")?).to_owned()),
        exists: &|path: &str| texts.contains_key(path),
        model: &mut model,
        impls: &mut impls,
    };
    reader.root("lib.rs")?;
    model.connect(impls);
    Ok(model)
}

/// Name of the package, as paths spell it.
fn package(manifest: &str) -> String {
    let line = manifest.lines().find_map(|line| line.strip_prefix("name = "));
    line.unwrap_or_default().trim_matches('"').replace('-', "_")
}

/// Whether something is there for tests only.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else {
            return attribute.path().is_ident("test");
        };
        let condition = list.tokens.to_string();
        let words = || condition.split(|c: char| !c.is_alphanumeric() && c != '_');
        attribute.path().is_ident("cfg")
            && words().any(|word| word == "test")
            && !words().any(|word| word == "not")
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// An `impl` whose type has yet to be found.
struct Unconnected {
    module: ModuleId,
    file: FileId,
    item: ItemImpl,
}

struct Reader<'a> {
    load: &'a dyn Fn(&str) -> Result<String>,
    exists: &'a dyn Fn(&str) -> bool,
    model: &'a mut Model,
    impls: &'a mut Vec<Unconnected>,
}

impl Reader<'_> {
    fn root(&mut self, path: &str) -> Result<()> {
        let root = self.model.modules.len();
        self.file(path, root, None, Path::new(""))?;
        Ok(())
    }

    /// Reads a file as a module; `below` is where the files of its children are.
    fn file(
        &mut self,
        path: &str,
        root: ModuleId,
        parent: Option<ModuleId>,
        below: &Path,
    ) -> Result<ModuleId> {
        let text = (self.load)(path)?;
        let parsed = syn::parse_file(&text).with_context(|| path.to_owned())?;
        let tests: usize = parsed.items.iter().map(test_lines).sum();
        self.model.files.push(File {
            path: path.to_owned(),
            lines: text.lines().count().saturating_sub(tests),
        });
        let file = self.model.files.len() - 1;
        let module = self.module(file, root, parent);
        self.items(module, file, parsed.items, below)?;
        Ok(module)
    }

    fn module(&mut self, file: FileId, root: ModuleId, parent: Option<ModuleId>) -> ModuleId {
        self.model.modules.push(Module {
            file,
            root,
            parent,
            children: BTreeMap::new(),
            items: BTreeMap::new(),
            imports: Vec::new(),
        });
        self.model.modules.len() - 1
    }

    fn items(&mut self, module: ModuleId, file: FileId, items: Vec<Item>, below: &Path) -> Result<()> {
        for item in items {
            if is_test(attributes(&item)) {
                continue;
            }
            match item {
                Item::Mod(item) => self.child(module, file, item, below)?,
                Item::Use(item) => {
                    let exported = !matches!(item.vis, Visibility::Inherited);
                    let line = item.span().start().line;
                    let mut imports = Vec::new();
                    flatten(&item.tree, &mut Vec::new(), exported, line, &mut imports);
                    if let Some(module) = self.model.modules.get_mut(module) {
                        module.imports.extend(imports);
                    }
                }
                Item::Impl(item) => self.impls.push(Unconnected { module, file, item }),
                item => self.item(module, file, item),
            }
        }
        Ok(())
    }

    fn child(&mut self, parent: ModuleId, file: FileId, item: syn::ItemMod, below: &Path) -> Result<()> {
        let name = item.ident.to_string();
        if name == "tests" || name == "testing" {
            return Ok(());
        }
        let root = self.model.modules.get(parent).map_or(0, |module| module.root);
        let folder = below.join(&name);
        let child = if let Some((_, items)) = item.content {
            let child = self.module(file, root, Some(parent));
            self.items(child, file, items, &folder)?;
            child
        } else {
            let path = |path: PathBuf| path.to_string_lossy().into_owned();
            let (beside, inside) = (path(folder.with_extension("rs")), path(folder.join("mod.rs")));
            let path = if (self.exists)(&beside) { beside } else { inside };
            self.file(&path, root, Some(parent), &folder)?
        };
        if let Some(parent) = self.model.modules.get_mut(parent) {
            parent.children.insert(name, child);
        }
        Ok(())
    }

    /// An item that is no module, import or `impl`.
    fn item(&mut self, module: ModuleId, file: FileId, item: Item) {
        let all = item.span();
        let Some((kind, ident, first)) = head(&item) else {
            return;
        };
        let (line, lines) = extent(first, all);
        let mut methods = Vec::new();
        let syntax = match item {
            Item::Fn(item) => Syntax::Function(Box::new(Function {
                attributes: item.attrs,
                signature: item.sig,
                body: Some(*item.block),
            })),
            Item::Trait(mut item) => {
                let (functions, others) = item
                    .items
                    .into_iter()
                    .partition(|item| matches!(item, TraitItem::Fn(_)));
                (methods, item.items) = (functions, others);
                Syntax::Trait(Box::new(item))
            }
            item => Syntax::Item(Box::new(item)),
        };
        let name = ident.to_string();
        let id = self.model.definitions.len();
        let definition = Definition {
            name: name.clone(),
            kind,
            file,
            module,
            line,
            lines,
            owner: (kind == Kind::Trait).then_some(id),
            syntax,
        };
        self.model.define(definition);
        if let Some(module) = self.model.modules.get_mut(module) {
            module.items.entry(name).or_default().push(id);
        }
        for method in methods {
            if let TraitItem::Fn(method) = method {
                let function = Function {
                    attributes: method.attrs,
                    signature: method.sig,
                    body: method.default,
                };
                let name = function.signature.ident.to_string();
                let method = self.model.method(id, module, file, function);
                self.model.methods.entry(name).or_default().push(method);
            }
        }
    }
}

/// What an item is, its name, and where it begins after attributes and visibility.
fn head(item: &Item) -> Option<(Kind, syn::Ident, proc_macro2::Span)> {
    Some(match item {
        Item::Fn(item) => (Kind::Function, item.sig.ident.clone(), item.sig.span()),
        Item::Const(item) => (Kind::Value, item.ident.clone(), item.const_token.span()),
        Item::Static(item) => (Kind::Value, item.ident.clone(), item.static_token.span()),
        Item::Struct(item) => (Kind::Type, item.ident.clone(), item.struct_token.span()),
        Item::Enum(item) => (Kind::Type, item.ident.clone(), item.enum_token.span()),
        Item::Union(item) => (Kind::Type, item.ident.clone(), item.union_token.span()),
        Item::Type(item) => (Kind::Type, item.ident.clone(), item.type_token.span()),
        Item::Trait(item) => (Kind::Trait, item.ident.clone(), item.trait_token.span()),
        Item::Macro(item) => match &item.ident {
            Some(ident) => (Kind::Macro, ident.clone(), item.mac.path.span()),
            None => (Kind::Impl, syn::Ident::new("_", item.span()), item.span()),
        },
        _ => return None,
    })
}

/// Lines of an item that is there for tests only.
fn test_lines(item: &Item) -> usize {
    if is_test(attributes(item)) {
        extent(item.span(), item.span()).1
    } else {
        0
    }
}

/// The names that a `use` brings.
fn flatten(
    tree: &syn::UseTree,
    path: &mut Vec<String>,
    exported: bool,
    line: usize,
    imports: &mut Vec<Import>,
) {
    let mut import = |name: Option<String>, path: Vec<String>, is_self: bool| {
        imports.push(Import {
            name,
            path,
            is_self,
            exported,
            line,
        });
    };
    let leaf = |ident: &syn::Ident, name: &syn::Ident, path: &[String]| {
        let is_self = ident == "self" && !path.is_empty();
        let mut full = path.to_vec();
        if !is_self {
            full.push(ident.to_string());
        }
        let same = is_self && ident == name;
        let name = if same {
            path.last().cloned()
        } else {
            Some(name.to_string())
        };
        (name, full, is_self)
    };
    match tree {
        syn::UseTree::Path(tree) => {
            path.push(tree.ident.to_string());
            flatten(&tree.tree, path, exported, line, imports);
            path.pop();
        }
        syn::UseTree::Name(tree) => {
            let (name, full, is_self) = leaf(&tree.ident, &tree.ident, path);
            import(name, full, is_self);
        }
        syn::UseTree::Rename(tree) => {
            let (name, full, is_self) = leaf(&tree.ident, &tree.rename, path);
            import(name, full, is_self);
        }
        syn::UseTree::Glob(_) => import(None, path.clone(), false),
        syn::UseTree::Group(tree) => {
            for tree in &tree.items {
                flatten(tree, path, exported, line, imports);
            }
        }
    }
}

impl Model {
    /// Enters what `impl`s define. Their types can be found only when all modules are known.
    fn connect(&mut self, impls: Vec<Unconnected>) {
        for Unconnected {
            module,
            file,
            mut item,
        } in impls
        {
            let owner = self.named_type(module, &item.self_ty);
            let of_trait = item
                .trait_
                .as_ref()
                .and_then(|(path, _)| self.named_trait(module, path));
            if let (Some(owner), Some(of_trait)) = (owner, of_trait) {
                self.implements.entry(owner).or_default().push(of_trait);
            }
            let first = item.impl_token.span();
            let name = match &item.trait_ {
                Some((path, _)) => {
                    let name = path.segments.last().map(|segment| segment.ident.to_string());
                    format!("impl {}", name.unwrap_or_default())
                }
                None => "impl".to_owned(),
            };
            let contents = std::mem::take(&mut item.items);
            let of = owner
                .and_then(|owner| self.definitions.get(owner))
                .map(|owner| owner.name.clone());
            let of = of.unwrap_or_else(|| "_".to_owned());
            let head = Definition {
                name: format!("{name} for {of}"),
                kind: Kind::Impl,
                file,
                module,
                line: first.start().line,
                lines: 1,
                owner,
                syntax: Syntax::Impl(Box::new(item)),
            };
            let head = self.define(head);
            let owner = owner.unwrap_or(head);
            for content in contents {
                self.content(owner, module, file, content, of_trait.is_none());
            }
        }
    }

    fn content(
        &mut self,
        owner: DefinitionId,
        module: ModuleId,
        file: FileId,
        item: ImplItem,
        inherent: bool,
    ) {
        let (attributes, name) = match &item {
            ImplItem::Fn(item) => (&item.attrs, item.sig.ident.to_string()),
            ImplItem::Const(item) => (&item.attrs, item.ident.to_string()),
            ImplItem::Type(item) => (&item.attrs, item.ident.to_string()),
            _ => return,
        };
        if is_test(attributes) {
            return;
        }
        let (line, lines) = extent(item.span(), item.span());
        if let ImplItem::Fn(item) = item {
            let function = Function {
                attributes: item.attrs,
                signature: item.sig,
                body: Some(item.block),
            };
            let id = self.method(owner, module, file, function);
            if inherent {
                self.methods.entry(name).or_default().push(id);
            }
            return;
        }
        let of = self.definitions.get(owner).map_or("_", |owner| &owner.name);
        let full = format!("{of}::{name}");
        let id = self.define(Definition {
            name: full,
            kind: Kind::Value,
            file,
            module,
            line,
            lines,
            owner: Some(owner),
            syntax: Syntax::Associated(Box::new(item)),
        });
        self.associated.entry((owner, name)).or_default().push(id);
    }
}
