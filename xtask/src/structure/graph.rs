//! Circles of files: the strongly connected components of who names whom (Tarjan's algorithm).

use std::collections::{BTreeMap, BTreeSet};

use super::model::{DefinitionId, FileId, Import, Model, ModuleId};
use super::references::Reference;
use super::resolve::{Namespace, Target};

/// Why a file needs another, by the two files: one line per definition or import.
pub(super) type Edges = BTreeMap<(FileId, FileId), BTreeSet<String>>;

/// Edges by `use`: neither `mod` lines nor re-exports of a module's own children count.
pub(super) fn by_import(model: &Model) -> Edges {
    let mut edges = Edges::new();
    for (id, module) in model.modules.iter().enumerate() {
        for import in &module.imports {
            for target in ends(model, id, import) {
                let to = match target {
                    Target::Module(to) => model.modules.get(to).map(|module| module.file),
                    Target::Definition(to) => model.definitions.get(to).map(|definition| definition.file),
                };
                let Some(to) = to.filter(|to| *to != module.file) else {
                    continue;
                };
                let path = import.path.join("::");
                let star = if import.name.is_none() { "::*" } else { "" };
                let line = format!("{}: use {path}{star}", import.line);
                edges.entry((module.file, to)).or_default().insert(line);
            }
        }
    }
    edges
}

/// Where the path of an import ends.
fn ends(model: &Model, module: ModuleId, import: &Import) -> Vec<Target> {
    let first = import.path.iter().find(|name| *name != "self");
    let here = model.modules.get(module);
    let own = here
        .zip(first)
        .is_some_and(|(module, first)| module.children.contains_key(first));
    if own && import.exported {
        return Vec::new();
    }
    let namespaces: &[Namespace] = if import.is_self || import.name.is_none() {
        &[Namespace::Type]
    } else {
        &[Namespace::Type, Namespace::Value, Namespace::Macro]
    };
    let mut targets = Vec::new();
    for namespace in namespaces {
        let (_, target) = model.resolve(module, &import.path, *namespace);
        targets.extend(target.filter(|target| !targets.contains(target)));
    }
    targets
}

/// Edges by definition.
pub(super) fn by_definition(model: &Model, references: &BTreeMap<DefinitionId, Vec<Reference>>) -> Edges {
    let mut edges = Edges::new();
    for (from, named) in references {
        let Some(from) = model.definitions.get(*from) else {
            continue;
        };
        for Reference { to, line } in named {
            let Some(to) = model.definitions.get(*to).filter(|to| to.file != from.file) else {
                continue;
            };
            let text = format!("{line}: {} names {}", from.name, to.name);
            edges.entry((from.file, to.file)).or_default().insert(text);
        }
    }
    edges
}

/// All circles, the largest first.
pub(super) fn circles(files: usize, edges: &Edges) -> Vec<BTreeSet<FileId>> {
    let mut search = Search::default();
    for (from, to) in edges.keys() {
        search.next.entry(*from).or_default().push(*to);
    }
    for file in 0..files {
        if !search.numbers.contains_key(&file) {
            search.visit(file);
        }
    }
    search
        .circles
        .sort_by_key(|circle| std::cmp::Reverse(circle.len()));
    search.circles
}

#[derive(Default)]
struct Search {
    next: BTreeMap<FileId, Vec<FileId>>,
    numbers: BTreeMap<FileId, usize>,
    stack: Vec<FileId>,
    circles: Vec<BTreeSet<FileId>>,
}

impl Search {
    /// Gives the lowest number that can be reached from a file.
    fn visit(&mut self, file: FileId) -> usize {
        let number = self.numbers.len();
        self.numbers.insert(file, number);
        self.stack.push(file);
        let mut lowest = number;
        for next in self.next.get(&file).cloned().unwrap_or_default() {
            match self.numbers.get(&next) {
                None => lowest = lowest.min(self.visit(next)),
                Some(number) if self.stack.contains(&next) => lowest = lowest.min(*number),
                Some(_) => {}
            }
        }
        if lowest == number {
            let start = self.stack.iter().position(|found| *found == file);
            let circle: BTreeSet<FileId> = self.stack.drain(start.unwrap_or_default()..).collect();
            if circle.len() > 1 {
                self.circles.push(circle);
            }
        }
        lowest
    }
}
