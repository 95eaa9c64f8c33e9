use super::*;

fn shape(texts: &[(&str, &str)]) -> Shape {
    Shape::of("crates/example".to_owned(), read::of_texts(texts).unwrap())
}

/// Edges as `from -> to`.
fn edges(shape: &Shape, edges: &Edges) -> Vec<String> {
    let path = |file: FileId| shape.model.path(file);
    edges
        .keys()
        .map(|(from, to)| format!("{} -> {}", path(*from), path(*to)))
        .collect()
}

fn by_import(texts: &[(&str, &str)]) -> Vec<String> {
    let shape = shape(texts);
    edges(&shape, &shape.by_import)
}

fn by_definition(texts: &[(&str, &str)]) -> Vec<String> {
    let shape = shape(texts);
    edges(&shape, &shape.by_definition)
}

#[test]
fn imports_lead_to_the_file_that_defines() {
    let lib = "mod a; mod b; pub use a::Kind;";
    let texts = [
        ("lib.rs", lib),
        ("a.rs", "pub struct Kind;"),
        ("b.rs", "use crate::{Kind as K, std_like};"),
    ];
    assert_eq!(by_import(&texts), ["b.rs -> a.rs"]);
}

#[test]
fn super_self_and_nested_groups_are_followed() {
    let texts = [
        ("lib.rs", "mod a;"),
        ("a.rs", "pub mod b; pub mod c; pub struct Top;"),
        ("a/b.rs", "use super::{c::{self, Low}, Top};"),
        ("a/c.rs", "pub struct Low;"),
    ];
    assert_eq!(by_import(&texts), ["a/b.rs -> a.rs", "a/b.rs -> a/c.rs"]);
}

#[test]
fn neither_a_module_nor_its_export_is_an_edge() {
    let texts = [
        ("lib.rs", "pub mod a; pub use a::A; pub use self::a::B;"),
        ("a.rs", "pub struct A; pub struct B;"),
    ];
    assert!(by_import(&texts).is_empty());
}

#[test]
fn tests_are_left_out() {
    let lib = "mod a; #[cfg(test)] mod tests { use crate::a::A; } #[cfg(any(test, feature = \"testing\"))] mod help;";
    assert!(by_import(&[("lib.rs", lib), ("a.rs", "pub struct A;")]).is_empty());
}

#[test]
fn a_local_hides_an_item() {
    let lib = "mod a; use a::name; fn f(name: u32) -> u32 { name } fn g(x: Option<u32>) { if let Some(name) = x { h(name) } }";
    assert!(by_definition(&[("lib.rs", lib), ("a.rs", "pub fn name() {}")]).is_empty());
    let lib = "mod a; use a::name; fn f() { let name = name(); }";
    assert_eq!(
        by_definition(&[("lib.rs", lib), ("a.rs", "pub fn name() {}")]),
        ["lib.rs -> a.rs"]
    );
}

#[test]
fn what_macros_are_given_counts() {
    let a = "pub const A: u32 = 1; pub fn f() {} pub enum E { X } pub fn key() {}";
    for body in [
        "format!(\"{}\", a::f())",
        "format!(\"{A}\")",
        "json!({ \"x\": { \"y\": a::f() } })",
        "json!({ \"x\": A })",
        "matches!(x, a::E::X if true)",
        "select! { y = wait() => { a::f() } }",
    ] {
        let lib = format!("mod a; use a::A; fn g(x: u32) {{ {body}; }}");
        assert_eq!(
            by_definition(&[("lib.rs", &lib), ("a.rs", a)]),
            ["lib.rs -> a.rs"],
            "{body}"
        );
    }
    let lib = "mod a; use a::key; fn g() { info!(%x, key = 1); }";
    assert!(by_definition(&[("lib.rs", lib), ("a.rs", a)]).is_empty());
}

#[test]
fn paths_in_attributes_count() {
    let lib = "mod a; struct S { #[serde(skip_serializing_if = \"a::is_no\")] x: bool }";
    let texts = [("lib.rs", lib), ("a.rs", "pub fn is_no(x: &bool) -> bool { !x }")];
    assert_eq!(by_definition(&texts), ["lib.rs -> a.rs"]);
}

/// `a.rs` has two types with a method `len`, `b.rs` a method of a name that is there once.
fn methods(lib: &str) -> Vec<String> {
    let lib = format!(
        "mod a; mod b; mod types {{ pub use crate::a::*; pub use crate::b::*; }} use types::*; {lib}"
    );
    let a = "pub struct A { pub b: crate::b::B } impl A { pub fn len(&self) -> u32 { 1 } }";
    let b = "pub struct B; impl B { pub fn only(&self) {} pub fn len(&self) -> u32 { 2 } }";
    let shape = shape(&[("lib.rs", &lib), ("a.rs", a), ("b.rs", b)]);
    let lib = shape
        .by_definition
        .iter()
        .filter(|((from, _), _)| shape.model.path(*from) == "lib.rs");
    let reasons = lib
        .flat_map(|(_, reasons)| reasons)
        .filter_map(|reason| reason.split("names ").nth(1));
    reasons
        .filter(|name| name.contains("::"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn methods_are_found_by_the_type_of_what_they_are_called_on() {
    assert_eq!(methods("fn f(a: &A) { a.len(); }"), ["A::len"]);
    assert_eq!(methods("fn f(a: &A) { a.b.len(); }"), ["B::len"]);
    assert_eq!(
        methods("fn f(all: &[A]) { for a in all { a.len(); } }"),
        ["A::len"]
    );
    assert_eq!(
        methods("fn f(all: &[A]) { all.iter().map(|a| a.len()).sum() }"),
        ["A::len"]
    );
    assert_eq!(
        methods("fn f(a: Option<B>) { if let Some(b) = a { b.len(); } }"),
        ["B::len"]
    );
    assert!(methods("fn f(text: &str) { text.len(); }").is_empty());
}

#[test]
fn of_an_unknown_type_a_method_is_found_if_its_name_is_there_once() {
    assert_eq!(methods("fn f() { elsewhere().only(); }"), ["B::only"]);
    assert!(methods("fn f() { elsewhere().only(1); elsewhere().len(); }").is_empty());
}

#[test]
fn default_methods_of_a_trait_count() {
    let lib = "mod a; use a::T; struct S; impl T for S {} fn f(x: &dyn T, s: S) { x.g(); s.g(); }";
    let shape = shape(&[
        ("lib.rs", lib),
        ("a.rs", "pub trait T { fn g(&self) { crate::h() } } "),
    ]);
    let reasons: Vec<&str> = shape
        .by_definition
        .values()
        .flatten()
        .filter_map(|reason| reason.split(": ").nth(1))
        .collect();
    assert!(reasons.contains(&"f names T::g"), "{reasons:?}");
}

#[test]
fn a_circle_names_what_makes_it() {
    let texts = [
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "pub fn f() { crate::b::g() }"),
        ("b.rs", "pub fn g() { crate::a::f(); crate::c::h() }"),
        ("c.rs", "pub fn h() {}"),
    ];
    let breaches = shape(&texts).circle_breaches();
    assert_eq!(
        breaches,
        [
            "crates/example/src: files in a circle by definition: a.rs, b.rs",
            "  crates/example/src/a.rs:1: f names g (b.rs)",
            "  crates/example/src/b.rs:1: g names f (a.rs)",
        ]
    );
}

#[test]
fn a_fact_names_no_decision_step() {
    let texts = [
        ("lib.rs", "mod decide;"),
        ("decide/mod.rs", "mod facts; mod start;"),
        ("decide/facts/mod.rs", "fn fact() { super::start::plan() }"),
        ("decide/start.rs", "pub fn plan() {}"),
    ];
    let breaches = shape(&texts).facts_that_name_steps();
    assert_eq!(breaches.len(), 1);
    assert!(
        breaches[0].contains("decide/facts/mod.rs:1: fact names plan (decide/start.rs)"),
        "{breaches:?}"
    );
}

#[test]
fn stays_and_returns_of_a_walk() {
    let texts = [
        (
            "lib.rs",
            "mod a; mod b; pub fn plan() { a::one(); b::two(); a::three(); a::one(); }",
        ),
        ("a.rs", "pub fn one() {} pub fn three() { crate::b::four() }"),
        ("b.rs", "pub fn two() {} pub fn four() {}"),
    ];
    let shape = shape(&texts);
    let Some(Target::Definition(entry)) = shape.model.resolve(0, &["plan".to_owned()], Namespace::Value).1
    else {
        panic!("no plan");
    };
    let walk = walk::walk(&shape.model, &shape.references, entry, &|_| true);
    // lib, a, b, a, b
    assert_eq!((walk.stays(), walk.returns(), walk.functions), (5, 2, 5));
}
