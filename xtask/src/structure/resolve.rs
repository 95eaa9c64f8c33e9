//! What a path means: the definition or module behind it, through imports and re-exports.

use syn::{GenericArgument, PathArguments, Type, TypeParamBound};

use super::model::{DefinitionId, Kind, Model, ModuleId};

/// Imports that lead to imports, at most.
const DEPTH: usize = 12;
/// Types of the standard library that stand for what is in them.
const TRANSPARENT: [&str; 6] = ["Box", "Arc", "Rc", "Cow", "Pin", "MutexGuard"];

/// What a path leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Target {
    Module(ModuleId),
    Definition(DefinitionId),
}

/// Which of the things of one name is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Namespace {
    /// Modules, types and traits.
    Type,
    /// Functions, constants and whatever a tuple struct's name makes.
    Value,
    Macro,
}

/// The type of an expression, as far as it can be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Ty {
    /// A type or trait of this crate.
    Known(DefinitionId),
    /// A container (`Option`, `Vec`, a map, an iterator) of that.
    Of(Box<Ty>),
    /// A type of another crate.
    Foreign,
    Unknown,
}

impl Ty {
    /// What is in a container.
    pub(super) fn inner(&self) -> Ty {
        match self {
            Ty::Of(inner) => (**inner).clone(),
            _ => Ty::Unknown,
        }
    }
}

impl Model {
    /// All definitions that a path names, from left to right, and where it ends.
    pub(super) fn resolve(
        &self,
        module: ModuleId,
        path: &[String],
        namespace: Namespace,
    ) -> (Vec<DefinitionId>, Option<Target>) {
        self.follow(module, path, namespace, DEPTH)
    }

    fn follow(
        &self,
        module: ModuleId,
        path: &[String],
        namespace: Namespace,
        depth: usize,
    ) -> (Vec<DefinitionId>, Option<Target>) {
        let mut named = Vec::new();
        let Some((first, rest)) = path.split_first() else {
            return (named, None);
        };
        let of = |rest: &[String]| {
            if rest.is_empty() {
                namespace
            } else {
                Namespace::Type
            }
        };
        let here = self.modules.get(module);
        let start = match first.as_str() {
            "crate" => here.map(|module| Target::Module(module.root)),
            "self" => Some(Target::Module(module)),
            "super" => here.and_then(|module| module.parent).map(Target::Module),
            name => self
                .lookup(module, name, of(rest), depth)
                .or_else(|| (name == self.name && !rest.is_empty()).then_some(Target::Module(0))),
        };
        let Some(mut target) = start else {
            return (named, None);
        };
        let mut rest = rest;
        named.extend(definition(target));
        while let Some((segment, after)) = rest.split_first() {
            let next = match target {
                Target::Module(module) if segment == "super" => self
                    .modules
                    .get(module)
                    .and_then(|module| module.parent)
                    .map(Target::Module),
                Target::Module(module) => self.lookup(module, segment, of(after), depth),
                Target::Definition(id) => self.part(id, segment).map(Target::Definition),
            };
            let Some(next) = next else {
                let is_variant = matches!(target, Target::Definition(_));
                return (named, is_variant.then_some(target));
            };
            target = next;
            named.extend(definition(target));
            rest = after;
        }
        (named, Some(target))
    }

    /// What a name means in a module.
    fn lookup(&self, module: ModuleId, name: &str, namespace: Namespace, depth: usize) -> Option<Target> {
        let here = self.modules.get(module)?;
        if namespace == Namespace::Type
            && let Some(child) = here.children.get(name)
        {
            return Some(Target::Module(*child));
        }
        let items = here.items.get(name).into_iter().flatten();
        let fits = |id: &&DefinitionId| {
            self.definitions
                .get(**id)
                .is_some_and(|found| fits(found.kind, namespace))
        };
        if let Some(id) = items.into_iter().find(fits) {
            return Some(Target::Definition(*id));
        }
        let depth = depth.checked_sub(1)?;
        let by_name = here
            .imports
            .iter()
            .filter(|import| import.name.as_deref() == Some(name));
        let mut by_name = by_name.filter(|import| namespace == Namespace::Type || !import.is_self);
        let found = by_name.find_map(|import| self.follow(module, &import.path, namespace, depth).1);
        found.or_else(|| {
            let globs = here.imports.iter().filter(|import| import.name.is_none());
            let mut found = globs.filter_map(|import| {
                let (_, target) = self.follow(module, &import.path, Namespace::Type, depth);
                match target? {
                    Target::Module(from) if from != module => self.lookup(from, name, namespace, depth),
                    Target::Module(_) => None,
                    Target::Definition(id) => self.has_variant(id, name).then_some(Target::Definition(id)),
                }
            });
            found.next()
        })
    }

    /// A method or constant of a type or trait.
    pub(super) fn part(&self, owner: DefinitionId, name: &str) -> Option<DefinitionId> {
        let of = |owner: DefinitionId| self.associated.get(&(owner, name.to_owned()));
        if let Some(own) = of(owner) {
            return own.first().copied().filter(|_| own.len() == 1);
        }
        let traits = self.implements.get(&owner).into_iter().flatten();
        let mut inherited = traits.filter_map(|of_trait| of(*of_trait)?.first().copied());
        inherited.next()
    }

    fn has_variant(&self, id: DefinitionId, name: &str) -> bool {
        let syntax = self.definitions.get(id).map(|found| &found.syntax);
        let Some(super::model::Syntax::Item(item)) = syntax else {
            return false;
        };
        matches!(&**item, syn::Item::Enum(item) if item.variants.iter().any(|variant| variant.ident == name))
    }

    /// The type of this crate behind a written type.
    pub(super) fn named_type(&self, module: ModuleId, ty: &Type) -> Option<DefinitionId> {
        match self.type_of(module, None, ty) {
            Ty::Known(id) => Some(id),
            _ => None,
        }
    }

    /// The trait of this crate behind a path.
    pub(super) fn named_trait(&self, module: ModuleId, path: &syn::Path) -> Option<DefinitionId> {
        match self.resolve(module, &segments(path), Namespace::Type).1? {
            Target::Definition(id) => Some(id),
            Target::Module(_) => None,
        }
    }

    /// A written type, without references and boxes.
    pub(super) fn type_of(&self, module: ModuleId, owner: Option<DefinitionId>, ty: &Type) -> Ty {
        match ty {
            Type::Reference(ty) => self.type_of(module, owner, &ty.elem),
            Type::Paren(ty) => self.type_of(module, owner, &ty.elem),
            Type::Group(ty) => self.type_of(module, owner, &ty.elem),
            Type::Slice(ty) => Ty::Of(Box::new(self.type_of(module, owner, &ty.elem))),
            Type::Array(ty) => Ty::Of(Box::new(self.type_of(module, owner, &ty.elem))),
            Type::ImplTrait(ty) => self.bound(module, owner, ty.bounds.iter()),
            Type::TraitObject(ty) => self.bound(module, owner, ty.bounds.iter()),
            Type::Path(ty) => self.path_type(module, owner, &ty.path),
            _ => Ty::Foreign,
        }
    }

    fn path_type(&self, module: ModuleId, owner: Option<DefinitionId>, path: &syn::Path) -> Ty {
        let names = segments(path);
        if names.first().is_some_and(|name| name == "Self") {
            return match owner {
                Some(owner) if names.len() == 1 => Ty::Known(owner),
                _ => Ty::Unknown,
            };
        }
        match self.resolve(module, &names, Namespace::Type) {
            (_, Some(Target::Definition(id))) => return self.behind_alias(id),
            (found, _) if !found.is_empty() => return Ty::Unknown,
            _ => {}
        }
        let Some(last) = path.segments.last() else {
            return Ty::Foreign;
        };
        let PathArguments::AngleBracketed(arguments) = &last.arguments else {
            return Ty::Foreign;
        };
        let mut types = arguments.args.iter().filter_map(|argument| match argument {
            GenericArgument::Type(ty) => Some(ty),
            _ => None,
        });
        let name = last.ident.to_string();
        let inner = if name.ends_with("Map") {
            types.nth(1)
        } else {
            types.next()
        };
        match inner.map(|ty| self.type_of(module, owner, ty)) {
            Some(ty) if TRANSPARENT.contains(&name.as_str()) => ty,
            Some(ty) => Ty::Of(Box::new(ty)),
            None => Ty::Foreign,
        }
    }

    /// A type of this crate, or what it is another name for.
    fn behind_alias(&self, id: DefinitionId) -> Ty {
        let Some(definition) = self.definitions.get(id) else {
            return Ty::Unknown;
        };
        match &definition.syntax {
            super::model::Syntax::Item(item) => match &**item {
                syn::Item::Type(alias) => self.type_of(definition.module, None, &alias.ty),
                _ => Ty::Known(id),
            },
            _ => Ty::Known(id),
        }
    }

    /// The first trait of this crate among bounds, or what an iterator yields.
    pub(super) fn bound<'a>(
        &self,
        module: ModuleId,
        owner: Option<DefinitionId>,
        bounds: impl Iterator<Item = &'a TypeParamBound>,
    ) -> Ty {
        for bound in bounds {
            let TypeParamBound::Trait(bound) = bound else {
                continue;
            };
            if let Some(id) = self.named_trait(module, &bound.path) {
                return Ty::Known(id);
            }
            let Some(PathArguments::AngleBracketed(arguments)) =
                bound.path.segments.last().map(|last| &last.arguments)
            else {
                continue;
            };
            for argument in &arguments.args {
                if let GenericArgument::AssocType(item) = argument {
                    return Ty::Of(Box::new(self.type_of(module, owner, &item.ty)));
                }
            }
        }
        Ty::Foreign
    }
}

/// The names in a path.
pub(super) fn segments(path: &syn::Path) -> Vec<String> {
    path.segments
        .iter()
        .map(|segment| segment.ident.to_string())
        .collect()
}

fn definition(target: Target) -> Option<DefinitionId> {
    match target {
        Target::Definition(id) => Some(id),
        Target::Module(_) => None,
    }
}

fn fits(kind: Kind, namespace: Namespace) -> bool {
    match kind {
        Kind::Function | Kind::Value => namespace == Namespace::Value,
        Kind::Type => namespace != Namespace::Macro,
        Kind::Trait => namespace == Namespace::Type,
        Kind::Macro => namespace == Namespace::Macro,
        Kind::Impl => false,
    }
}
