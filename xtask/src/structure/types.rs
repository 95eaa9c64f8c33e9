//! Types of expressions, as far as declarations tell them: enough to know whose method is called.

use std::collections::BTreeMap;

use syn::{Expr, Fields, FnArg, ReturnType};

use super::model::{DefinitionId, Kind, Model, ModuleId, Syntax};
use super::resolve::{Namespace, Target, Ty, segments};

/// Names of methods that the standard library has as well: without a type they mean nothing.
const COMMON: [&str; 60] = [
    "add",
    "all",
    "and_then",
    "any",
    "as_ref",
    "as_str",
    "borrow",
    "chain",
    "clear",
    "clone",
    "cloned",
    "collect",
    "contains",
    "contains_key",
    "copied",
    "count",
    "default",
    "entry",
    "err",
    "extend",
    "filter",
    "find",
    "first",
    "fold",
    "get",
    "get_mut",
    "insert",
    "into_iter",
    "is_empty",
    "iter",
    "join",
    "keys",
    "last",
    "len",
    "lock",
    "map",
    "max",
    "min",
    "next",
    "ok",
    "parse",
    "pop",
    "position",
    "push",
    "read",
    "remove",
    "retain",
    "send",
    "skip",
    "sort",
    "split",
    "sum",
    "take",
    "then",
    "to_string",
    "unwrap_or",
    "values",
    "wait",
    "write",
    "zip",
];
/// Methods that give what is in a container.
const OPENING: [&str; 5] = [
    "unwrap",
    "expect",
    "unwrap_or",
    "unwrap_or_default",
    "unwrap_or_else",
];
/// Methods that give a container of the same.
const KEEPING: [&str; 30] = [
    "as_deref",
    "as_mut",
    "as_ref",
    "cloned",
    "copied",
    "filter",
    "find",
    "first",
    "get",
    "get_mut",
    "into_iter",
    "into_values",
    "iter",
    "iter_mut",
    "last",
    "lock",
    "max_by_key",
    "min_by_key",
    "next",
    "ok",
    "or_else",
    "peekable",
    "read",
    "rev",
    "skip",
    "take",
    "values",
    "values_mut",
    "with_context",
    "write",
];
/// Methods that give the same type back.
const SAME: [&str; 5] = ["clone", "borrow", "as_ref", "as_mut", "to_owned"];

impl Model {
    /// The method that a call means.
    pub(super) fn method_of(&self, on: &Ty, name: &str, arguments: usize) -> Option<DefinitionId> {
        match on {
            Ty::Known(id) => self.part(*id, name),
            Ty::Of(_) | Ty::Foreign => None,
            Ty::Unknown if COMMON.contains(&name) => None,
            Ty::Unknown => {
                let [only] = self.methods.get(name)?.as_slice() else {
                    return None;
                };
                let function = self.definitions.get(*only)?.function()?;
                let mut inputs = function.signature.inputs.iter();
                let is_method = matches!(inputs.next(), Some(FnArg::Receiver(_)));
                (is_method && inputs.len() == arguments).then_some(*only)
            }
        }
    }

    /// Types of the fields of a struct, or of an enum's variant.
    pub(super) fn fields(&self, id: DefinitionId, variant: &str) -> BTreeMap<String, Ty> {
        let Some(definition) = self.definitions.get(id) else {
            return BTreeMap::new();
        };
        let Syntax::Item(item) = &definition.syntax else {
            return BTreeMap::new();
        };
        let fields = match &**item {
            syn::Item::Struct(item) => Some(&item.fields),
            syn::Item::Enum(item) => {
                let mut variants = item.variants.iter();
                variants
                    .find(|found| found.ident == variant)
                    .map(|found| &found.fields)
            }
            _ => None,
        };
        let of = |ty| self.type_of(definition.module, Some(id), ty);
        let numbered = fields.into_iter().flat_map(Fields::iter).enumerate();
        let named = numbered.map(|(index, field)| {
            let name = field
                .ident
                .as_ref()
                .map_or_else(|| index.to_string(), ToString::to_string);
            (name, of(&field.ty))
        });
        named.collect()
    }

    /// What a function gives back, or the type of a constant.
    fn result(&self, id: DefinitionId) -> Ty {
        let Some(definition) = self.definitions.get(id) else {
            return Ty::Unknown;
        };
        let of = |ty| self.type_of(definition.module, definition.owner, ty);
        match &definition.syntax {
            Syntax::Function(function) => match &function.signature.output {
                ReturnType::Type(_, ty) => of(ty),
                ReturnType::Default => Ty::Foreign,
            },
            Syntax::Item(item) => match &**item {
                syn::Item::Const(item) => of(&item.ty),
                syn::Item::Static(item) => of(&item.ty),
                _ if definition.kind == Kind::Type => Ty::Known(id),
                _ => Ty::Unknown,
            },
            _ => Ty::Unknown,
        }
    }
}

/// The names that are known at one place of a definition.
pub(super) struct Scopes<'a> {
    pub(super) model: &'a Model,
    module: ModuleId,
    /// Type or trait that the definition is a part of.
    pub(super) owner: Option<DefinitionId>,
    /// Locals by scope, the innermost last.
    locals: Vec<BTreeMap<String, Ty>>,
}

impl<'a> Scopes<'a> {
    /// Begins with one empty scope.
    pub(super) fn new(model: &'a Model, module: ModuleId, owner: Option<DefinitionId>) -> Self {
        Self {
            model,
            module,
            owner,
            locals: vec![BTreeMap::new()],
        }
    }

    /// A new scope begins.
    pub(super) fn enter(&mut self) {
        self.locals.push(BTreeMap::new());
    }

    /// The innermost scope ends.
    pub(super) fn leave(&mut self) {
        self.locals.pop();
    }

    /// A local of the innermost scope.
    pub(super) fn local(&mut self, name: String, ty: Ty) {
        if let Some(scope) = self.locals.last_mut() {
            scope.insert(name, ty);
        }
    }

    /// The type of a local.
    pub(super) fn in_scope(&self, name: &str) -> Option<&Ty> {
        self.locals.iter().rev().find_map(|scope| scope.get(name))
    }

    /// What a path leads to, `Self` included.
    pub(super) fn target(
        &self,
        path: &[String],
        namespace: Namespace,
    ) -> (Vec<DefinitionId>, Option<Target>) {
        match (path, self.owner) {
            ([first, rest @ ..], Some(owner)) if first == "Self" => {
                let part = rest.first().and_then(|name| self.model.part(owner, name));
                let end = part.unwrap_or(owner);
                (part.into_iter().collect(), Some(Target::Definition(end)))
            }
            _ => self.model.resolve(self.module, path, namespace),
        }
    }

    /// A written type.
    pub(super) fn written(&self, ty: &syn::Type) -> Ty {
        self.model.type_of(self.module, self.owner, ty)
    }

    /// The trait that bounds a type parameter.
    pub(super) fn parameter(&self, signature: &syn::Signature, name: &[String]) -> Ty {
        let mut parameters = signature.generics.type_params();
        let parameter = parameters
            .find(|parameter| name.len() == 1 && name.first().is_some_and(|n| parameter.ident == n));
        parameter.map_or(Ty::Foreign, |parameter| {
            self.model.bound(self.module, self.owner, parameter.bounds.iter())
        })
    }

    /// The type of an expression.
    pub(super) fn type_of(&self, expression: &Expr) -> Ty {
        match expression {
            Expr::Path(path) => self.type_of_path(&segments(&path.path)),
            Expr::Reference(inner) => self.type_of(&inner.expr),
            Expr::Paren(inner) => self.type_of(&inner.expr),
            Expr::Group(inner) => self.type_of(&inner.expr),
            Expr::Await(inner) => self.type_of(&inner.base),
            Expr::Unary(inner) if matches!(inner.op, syn::UnOp::Deref(_)) => self.type_of(&inner.expr),
            Expr::Try(inner) => self.type_of(&inner.expr).inner(),
            Expr::Index(inner) => self.type_of(&inner.expr).inner(),
            Expr::Lit(_) | Expr::Array(_) | Expr::Tuple(_) | Expr::Binary(_) | Expr::Range(_) => Ty::Foreign,
            Expr::Struct(made) => match self.target(&segments(&made.path), Namespace::Type).1 {
                Some(Target::Definition(id)) => Ty::Known(id),
                _ => Ty::Unknown,
            },
            Expr::Field(field) => match self.type_of(&field.base) {
                Ty::Known(id) => {
                    let fields = self.model.fields(id, "");
                    fields.get(&member(&field.member)).cloned().unwrap_or(Ty::Unknown)
                }
                _ => Ty::Unknown,
            },
            Expr::Call(call) => match &*call.func {
                Expr::Path(path) => {
                    let path = segments(&path.path);
                    match (path.last().map(String::as_str), call.args.first()) {
                        (Some("Some" | "Ok"), Some(argument)) => Ty::Of(Box::new(self.type_of(argument))),
                        _ => self.type_of_path(&path),
                    }
                }
                _ => Ty::Unknown,
            },
            Expr::MethodCall(call) => self.type_of_call(call),
            _ => Ty::Unknown,
        }
    }

    fn type_of_path(&self, path: &[String]) -> Ty {
        if let [name] = path
            && let Some(ty) = self.in_scope(name)
        {
            return ty.clone();
        }
        match self.target(path, Namespace::Value) {
            (_, Some(Target::Definition(id))) => self.model.result(id),
            _ => Ty::Unknown,
        }
    }

    fn type_of_call(&self, call: &syn::ExprMethodCall) -> Ty {
        let (on, name) = (self.type_of(&call.receiver), call.method.to_string());
        if let Some(id) = self.model.method_of(&on, &name, call.args.len()) {
            return self.model.result(id);
        }
        let is_one_of = |names: &[&str]| names.contains(&name.as_str());
        match on {
            Ty::Known(_) if is_one_of(&SAME) => on,
            Ty::Of(inner) if is_one_of(&OPENING) => *inner,
            Ty::Of(_) if is_one_of(&KEEPING) => on,
            Ty::Of(_) => Ty::Of(Box::new(Ty::Unknown)),
            _ => Ty::Unknown,
        }
    }
}

/// Name of a field.
pub(super) fn member(member: &syn::Member) -> String {
    match member {
        syn::Member::Named(name) => name.to_string(),
        syn::Member::Unnamed(index) => index.index.to_string(),
    }
}
