//! Which definitions a definition names, in the order of the source.
//!
//! Locals shadow items as the compiler has it. What macros are given is read as expressions where that is possible
//! (`format!`, `matches!`), and else token by token (`json!`, `select!`). A method call counts if the type of what it is called
//! on can be told; if not, if there is one method of that name and number of arguments in the crate, and the standard
//! library's containers have none of that name.

use std::collections::BTreeMap;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Expr, FnArg, Lit, Pat, Stmt, Token};

use super::model::{Definition, DefinitionId, Function, Model, Syntax};
use super::resolve::{Namespace, Target, Ty, segments};
use super::types::{Scopes, member};

/// Keys of serde's and schemars's attributes whose text is a path.
const PATHS: [&str; 8] = [
    "with",
    "default",
    "schema_with",
    "serialize_with",
    "deserialize_with",
    "skip_serializing_if",
    "from",
    "into",
];

/// One definition named.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Reference {
    pub(super) to: DefinitionId,
    pub(super) line: usize,
}

/// What a definition names.
pub(super) fn references(model: &Model, definition: &Definition) -> Vec<Reference> {
    let mut walker = Walker {
        scopes: Scopes::new(model, definition.module, definition.owner),
        found: Vec::new(),
    };
    match &definition.syntax {
        Syntax::Function(function) => walker.function(function),
        Syntax::Item(item) => walker.visit_item(item),
        Syntax::Associated(item) => walker.visit_impl_item(item),
        Syntax::Trait(item) => walker.visit_item_trait(item),
        Syntax::Impl(item) => walker.visit_item_impl(item),
    }
    walker.found
}

/// Walks one definition.
struct Walker<'a> {
    scopes: Scopes<'a>,
    found: Vec<Reference>,
}

impl Walker<'_> {
    fn function(&mut self, function: &Function) {
        for attribute in &function.attributes {
            self.visit_attribute(attribute);
        }
        let signature = &function.signature;
        self.visit_generics(&signature.generics);
        for input in &signature.inputs {
            match input {
                FnArg::Receiver(_) => {
                    let ty = self.scopes.owner.map_or(Ty::Unknown, Ty::Known);
                    self.scopes.local("self".to_owned(), ty);
                }
                FnArg::Typed(input) => {
                    self.visit_type(&input.ty);
                    let mut ty = self.scopes.written(&input.ty);
                    if let syn::Type::Path(path) = &*input.ty
                        && ty == Ty::Foreign
                    {
                        ty = self.scopes.parameter(signature, &segments(&path.path));
                    }
                    self.bind(&input.pat, &ty);
                }
            }
        }
        self.visit_return_type(&signature.output);
        if let Some(body) = &function.body {
            self.visit_block(body);
        }
    }

    fn scoped(&mut self, inside: impl FnOnce(&mut Self)) {
        self.scopes.enter();
        inside(self);
        self.scopes.leave();
    }

    fn named(&mut self, path: &[String], namespace: Namespace, line: usize) {
        let (named, _) = self.scopes.target(path, namespace);
        self.found
            .extend(named.into_iter().map(|to| Reference { to, line }));
    }

    /// A path in an expression or pattern: a local, or else a value.
    fn value(&mut self, path: &[String], line: usize) {
        match path {
            [name] if self.scopes.in_scope(name).is_some() => {}
            _ => self.named(path, Namespace::Value, line),
        }
    }

    /// The names that a pattern binds, and those that it names.
    fn bind(&mut self, pattern: &Pat, ty: &Ty) {
        match pattern {
            Pat::Ident(pattern) => {
                let name = pattern.ident.to_string();
                if name.starts_with(char::is_uppercase) {
                    self.value(&[name], pattern.ident.span().start().line);
                } else {
                    self.scopes.local(name, ty.clone());
                }
                if let Some((_, inner)) = &pattern.subpat {
                    self.bind(inner, ty);
                }
            }
            Pat::Type(pattern) => {
                self.visit_type(&pattern.ty);
                let ty = self.scopes.written(&pattern.ty);
                self.bind(&pattern.pat, &ty);
            }
            Pat::Reference(pattern) => self.bind(&pattern.pat, ty),
            Pat::Paren(pattern) => self.bind(&pattern.pat, ty),
            Pat::Guard(pattern) => {
                self.bind(&pattern.pat, ty);
                self.visit_expr(&pattern.guard);
            }
            Pat::Or(pattern) => pattern.cases.iter().for_each(|case| self.bind(case, ty)),
            Pat::Tuple(pattern) => pattern
                .elems
                .iter()
                .for_each(|element| self.bind(element, &Ty::Unknown)),
            Pat::Slice(pattern) => pattern
                .elems
                .iter()
                .for_each(|element| self.bind(element, &ty.inner())),
            Pat::TupleStruct(pattern) => self.bind_tuple(pattern, ty),
            Pat::Struct(pattern) => self.bind_fields(pattern, ty),
            Pat::Path(pattern) => self.value(&segments(&pattern.path), line(&pattern.path)),
            other => visit::visit_pat(self, other),
        }
    }

    fn bind_tuple(&mut self, pattern: &syn::PatTupleStruct, ty: &Ty) {
        let path = segments(&pattern.path);
        self.value(&path, line(&pattern.path));
        let last = path.last().map_or("", String::as_str);
        let types: Vec<Ty> = match last {
            "Some" | "Ok" => vec![ty.inner()],
            _ => match self.scopes.target(&path, Namespace::Value).1 {
                Some(Target::Definition(id)) => self.scopes.model.fields(id, last).into_values().collect(),
                _ => Vec::new(),
            },
        };
        for (index, element) in pattern.elems.iter().enumerate() {
            self.bind(element, types.get(index).unwrap_or(&Ty::Unknown));
        }
    }

    fn bind_fields(&mut self, pattern: &syn::PatStruct, ty: &Ty) {
        let path = segments(&pattern.path);
        self.visit_path(&pattern.path);
        let fields = match (self.scopes.target(&path, Namespace::Type).1, ty) {
            (Some(Target::Definition(id)), _) | (_, &Ty::Known(id)) => self
                .scopes
                .model
                .fields(id, path.last().map_or("", String::as_str)),
            _ => BTreeMap::new(),
        };
        for field in &pattern.fields {
            let ty = fields.get(&member(&field.member)).unwrap_or(&Ty::Unknown);
            self.bind(&field.pat, ty);
        }
    }

    fn closure(&mut self, closure: &syn::ExprClosure, hint: &Ty) {
        self.scoped(|walker| {
            for input in &closure.inputs {
                walker.bind(input, hint);
            }
            walker.visit_return_type(&closure.output);
            walker.visit_expr(&closure.body);
        });
    }

    /// What a macro is given.
    fn tokens(&mut self, tokens: &TokenStream) {
        let expressions = Punctuated::<Expr, Token![,]>::parse_terminated;
        if let Ok(expressions) = expressions.parse2(tokens.clone()) {
            for expression in expressions {
                match expression {
                    Expr::Assign(named) if matches!(*named.left, Expr::Path(_)) => {
                        self.visit_expr(&named.right);
                    }
                    other => self.visit_expr(&other),
                }
            }
        } else if let Ok((expression, pattern, guard)) = matched.parse2(tokens.clone()) {
            self.visit_expr(&expression);
            self.scoped(|walker| {
                let ty = walker.scopes.type_of(&expression);
                walker.bind(&pattern, &ty);
                if let Some(guard) = &guard {
                    walker.visit_expr(guard);
                }
            });
        } else if let Ok(statements) = syn::Block::parse_within.parse2(tokens.clone()) {
            self.scoped(|walker| {
                for statement in &statements {
                    walker.visit_stmt(statement);
                }
            });
        } else {
            self.one_by_one(tokens);
        }
    }

    fn one_by_one(&mut self, tokens: &TokenStream) {
        let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
        let mut next = 0;
        while let Some(token) = tokens.get(next) {
            let before = next
                .checked_sub(1)
                .and_then(|before| punctuation(tokens.get(before)));
            next += 1;
            match token {
                TokenTree::Group(group) => self.scoped(|walker| walker.tokens(&group.stream())),
                TokenTree::Literal(literal) => {
                    self.in_text(&literal.to_string(), literal.span().start().line);
                }
                TokenTree::Ident(ident) => {
                    let mut path = vec![ident.to_string()];
                    while let Some(TokenTree::Ident(ident)) = after_colons(&tokens, next) {
                        path.push(ident.to_string());
                        next += 3;
                    }
                    self.token_path(&path, before, tokens.get(next), ident.span().start().line);
                }
                TokenTree::Punct(_) => {}
            }
        }
    }

    /// A path between tokens: locals, fields and names of arguments are left out.
    fn token_path(&mut self, path: &[String], before: Option<char>, after: Option<&TokenTree>, line: usize) {
        let call = match after {
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis => Some(group),
            _ => None,
        };
        let [name] = path else {
            return self.named(path, Namespace::Value, line);
        };
        if before == Some('.') {
            if let Some(group) = call {
                let arguments = Punctuated::<Expr, Token![,]>::parse_terminated.parse2(group.stream());
                let method = arguments
                    .ok()
                    .and_then(|args| self.scopes.model.method_of(&Ty::Unknown, name, args.len()));
                self.found.extend(method.map(|to| Reference { to, line }));
            }
        } else if punctuation(after) == Some('!') {
            self.named(path, Namespace::Macro, line);
        } else if call.is_some() || name.starts_with(char::is_uppercase) || before == Some('=') {
            self.value(path, line);
        }
    }

    /// Constants that a format string names.
    fn in_text(&mut self, text: &str, line: usize) {
        for inside in text.split('{').skip(1) {
            let name: String = inside
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            let ends = inside
                .get(name.len()..)
                .is_some_and(|rest| rest.starts_with(['}', ':']));
            if ends && name.starts_with(char::is_uppercase) {
                self.value(&[name], line);
            }
        }
    }
}

impl<'ast> Visit<'ast> for Walker<'_> {
    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        let syn::Meta::List(list) = &attribute.meta else {
            return;
        };
        let mut key = String::new();
        for token in list.tokens.clone() {
            match token {
                TokenTree::Ident(ident) => key = ident.to_string(),
                TokenTree::Literal(literal) if PATHS.contains(&key.as_str()) => {
                    let text = literal.to_string();
                    let path = syn::parse_str::<syn::Path>(text.trim_matches('"'));
                    if let Ok(path) = path {
                        let (path, line) = (segments(&path), literal.span().start().line);
                        self.named(&path, Namespace::Value, line);
                        self.named(&path, Namespace::Type, line);
                    }
                }
                _ => {}
            }
        }
        self.one_by_one(&list.tokens);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.named(&segments(path), Namespace::Type, line(path));
        visit::visit_path(self, path);
    }

    fn visit_expr_path(&mut self, path: &'ast syn::ExprPath) {
        if let Some(of) = &path.qself {
            self.visit_type(&of.ty);
        }
        self.value(&segments(&path.path), line(&path.path));
        visit::visit_path(self, &path.path);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.visit_expr(&call.receiver);
        let ty = self.scopes.type_of(&call.receiver);
        let method = self
            .scopes
            .model
            .method_of(&ty, &call.method.to_string(), call.args.len());
        let line = call.method.span().start().line;
        self.found.extend(method.map(|to| Reference { to, line }));
        if let Some(arguments) = &call.turbofish {
            self.visit_angle_bracketed_generic_arguments(arguments);
        }
        for argument in &call.args {
            match argument {
                Expr::Closure(closure) => self.closure(closure, &ty.inner()),
                other => self.visit_expr(other),
            }
        }
    }

    fn visit_expr_closure(&mut self, closure: &'ast syn::ExprClosure) {
        self.closure(closure, &Ty::Unknown);
    }

    fn visit_block(&mut self, block: &'ast syn::Block) {
        self.scoped(|walker| {
            for statement in &block.stmts {
                if let Stmt::Item(syn::Item::Fn(item)) = statement {
                    walker.scopes.local(item.sig.ident.to_string(), Ty::Unknown);
                }
            }
            block
                .stmts
                .iter()
                .for_each(|statement| walker.visit_stmt(statement));
        });
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        let function = Function {
            attributes: item.attrs.clone(),
            signature: item.sig.clone(),
            body: Some((*item.block).clone()),
        };
        self.scoped(|walker| walker.function(&function));
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        let mut ty = Ty::Unknown;
        if let Some(init) = &local.init {
            self.visit_expr(&init.expr);
            if let Some((_, otherwise)) = &init.diverge {
                self.visit_expr(otherwise);
            }
            ty = self.scopes.type_of(&init.expr);
        }
        self.bind(&local.pat, &ty);
    }

    fn visit_expr_let(&mut self, condition: &'ast syn::ExprLet) {
        self.visit_expr(&condition.expr);
        let ty = self.scopes.type_of(&condition.expr);
        self.bind(&condition.pat, &ty);
    }

    fn visit_expr_if(&mut self, branch: &'ast syn::ExprIf) {
        self.scoped(|walker| {
            walker.visit_expr(&branch.cond);
            walker.visit_block(&branch.then_branch);
        });
        if let Some((_, otherwise)) = &branch.else_branch {
            self.visit_expr(otherwise);
        }
    }

    fn visit_expr_while(&mut self, repeated: &'ast syn::ExprWhile) {
        self.scoped(|walker| visit::visit_expr_while(walker, repeated));
    }

    fn visit_expr_for_loop(&mut self, repeated: &'ast syn::ExprForLoop) {
        self.visit_expr(&repeated.expr);
        let ty = self.scopes.type_of(&repeated.expr).inner();
        self.scoped(|walker| {
            walker.bind(&repeated.pat, &ty);
            walker.visit_block(&repeated.body);
        });
    }

    fn visit_expr_match(&mut self, chosen: &'ast syn::ExprMatch) {
        self.visit_expr(&chosen.expr);
        let ty = self.scopes.type_of(&chosen.expr);
        for arm in &chosen.arms {
            self.scoped(|walker| {
                walker.bind(&arm.pat, &ty);
                walker.visit_expr(&arm.body);
            });
        }
    }

    fn visit_expr_lit(&mut self, literal: &'ast syn::ExprLit) {
        if let Lit::Str(text) = &literal.lit {
            self.in_text(&text.value(), text.span().start().line);
        }
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        self.named(&segments(&called.path), Namespace::Macro, line(&called.path));
        self.tokens(&called.tokens);
    }

    fn visit_item_use(&mut self, _: &'ast syn::ItemUse) {}
}

/// What `matches!` is given: an expression, a pattern and perhaps a guard.
fn matched(input: syn::parse::ParseStream<'_>) -> syn::Result<(Expr, Pat, Option<Expr>)> {
    let expression = input.parse()?;
    input.parse::<Token![,]>()?;
    let pattern = Pat::parse_multi_with_leading_vert(input)?;
    let guard = if input.peek(Token![if]) {
        input.parse::<Token![if]>()?;
        Some(input.parse()?)
    } else {
        None
    };
    input.parse::<Option<Token![,]>>()?;
    Ok((expression, pattern, guard))
}

fn line(path: &syn::Path) -> usize {
    path.segments
        .first()
        .map_or(0, |segment| segment.ident.span().start().line)
}

fn punctuation(token: Option<&TokenTree>) -> Option<char> {
    match token {
        Some(TokenTree::Punct(punct)) => Some(punct.as_char()),
        _ => None,
    }
}

/// The token after `::`, if that is what comes at `next`.
fn after_colons(tokens: &[TokenTree], next: usize) -> Option<&TokenTree> {
    let is_colon = |index: usize| punctuation(tokens.get(index)) == Some(':');
    (is_colon(next) && is_colon(next + 1))
        .then(|| tokens.get(next + 2))
        .flatten()
}
