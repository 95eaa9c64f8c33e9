//! A crate's sources as modules, imports and definitions.

use std::collections::BTreeMap;

use syn::spanned::Spanned;
use syn::{Attribute, Block, ImplItem, Item, ItemImpl, ItemTrait, Signature};

/// Index of a module in [`Model::modules`].
pub(super) type ModuleId = usize;
/// Index of a definition in [`Model::definitions`].
pub(super) type DefinitionId = usize;
/// Index of a file in [`Model::files`].
pub(super) type FileId = usize;

/// All modules and definitions of one crate.
#[derive(Default)]
pub(super) struct Model {
    /// Name by which its own binaries import the library.
    pub(super) name: String,
    /// All files.
    pub(super) files: Vec<File>,
    /// All modules; the library's root, if there is one, is the first.
    pub(super) modules: Vec<Module>,
    /// All definitions.
    pub(super) definitions: Vec<Definition>,
    /// Methods and associated constants by their type or trait.
    pub(super) associated: BTreeMap<(DefinitionId, String), Vec<DefinitionId>>,
    /// Traits that a type implements, as far as they are of this crate.
    pub(super) implements: BTreeMap<DefinitionId, Vec<DefinitionId>>,
    /// Methods by their name alone.
    pub(super) methods: BTreeMap<String, Vec<DefinitionId>>,
}

/// One source file.
pub(super) struct File {
    /// Path below the crate's `src`.
    pub(super) path: String,
    /// Lines, without those of test modules.
    pub(super) lines: usize,
}

/// One module: a file, or a block in one.
pub(super) struct Module {
    pub(super) file: FileId,
    pub(super) root: ModuleId,
    pub(super) parent: Option<ModuleId>,
    pub(super) children: BTreeMap<String, ModuleId>,
    pub(super) items: BTreeMap<String, Vec<DefinitionId>>,
    pub(super) imports: Vec<Import>,
}

/// One name that a `use` brings into a module.
#[derive(Clone)]
pub(super) struct Import {
    /// Name in the module; none of a glob.
    pub(super) name: Option<String>,
    /// Where it comes from.
    pub(super) path: Vec<String>,
    /// `{self}`, which imports a module and nothing else of that name.
    pub(super) is_self: bool,
    /// Whether it is exported again.
    pub(super) exported: bool,
    pub(super) line: usize,
}

/// What a definition is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Function,
    Type,
    Trait,
    Value,
    Macro,
    Impl,
}

/// One definition. A method counts by itself, and so does the head of an `impl`.
pub(super) struct Definition {
    /// Name as reports print it, such as `Plan::new`.
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) file: FileId,
    pub(super) module: ModuleId,
    pub(super) line: usize,
    pub(super) lines: usize,
    /// Type or trait that it is a part of.
    pub(super) owner: Option<DefinitionId>,
    pub(super) syntax: Syntax,
}

/// What stands in a definition.
pub(super) enum Syntax {
    Function(Box<Function>),
    Item(Box<Item>),
    Associated(Box<ImplItem>),
    /// A trait without its methods.
    Trait(Box<ItemTrait>),
    /// An `impl` without what is in it.
    Impl(Box<ItemImpl>),
}

/// A function or method.
pub(super) struct Function {
    pub(super) attributes: Vec<Attribute>,
    pub(super) signature: Signature,
    pub(super) body: Option<Block>,
}

impl Definition {
    /// The function that it is, if it is one.
    pub(super) fn function(&self) -> Option<&Function> {
        match &self.syntax {
            Syntax::Function(function) => Some(function),
            _ => None,
        }
    }

    /// Whether it is a function with a body.
    pub(super) fn has_body(&self) -> bool {
        self.function().is_some_and(|function| function.body.is_some())
    }
}

impl Model {
    /// Path of a file below the crate's `src`.
    pub(super) fn path(&self, file: FileId) -> &str {
        self.files.get(file).map_or("", |file| &file.path)
    }

    /// Enters a definition.
    pub(super) fn define(&mut self, definition: Definition) -> DefinitionId {
        self.definitions.push(definition);
        self.definitions.len() - 1
    }

    /// A method of a type or trait.
    pub(super) fn method(
        &mut self,
        owner: DefinitionId,
        module: ModuleId,
        file: FileId,
        function: Function,
    ) -> DefinitionId {
        let name = function.signature.ident.to_string();
        let first = function.signature.span();
        let end = function.body.as_ref().map_or(first, Spanned::span);
        let (line, lines) = extent(first, end);
        let of = self.definitions.get(owner).map_or("_", |owner| &owner.name);
        let full = format!("{of}::{name}");
        let id = self.define(Definition {
            name: full,
            kind: Kind::Function,
            file,
            module,
            line,
            lines,
            owner: Some(owner),
            syntax: Syntax::Function(Box::new(function)),
        });
        self.associated.entry((owner, name)).or_default().push(id);
        id
    }
}

/// First line of something, and how many there are to its end; doc comments do not count.
pub(super) fn extent(first: proc_macro2::Span, all: proc_macro2::Span) -> (usize, usize) {
    let (line, end) = (first.start().line, all.end().line);
    (line, end.saturating_sub(line) + 1)
}
