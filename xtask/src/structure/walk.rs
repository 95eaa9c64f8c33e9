//! The walk of `Observed` through the planning of `common`.
//!
//! From `common::plan` all calls are followed in the order of the source, depth first, each function once. Coming back from a
//! call is not a visit. A *stay* is an unbroken run of functions of one file; a *return* is a stay in a file that was left
//! before. Counted are two walks: through the files of planning (`PLANNING`; what these call elsewhere is looked up, not visited)
//! and through the whole crate.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{DefinitionId, FileId, Model};
use super::references::Reference;

/// The files of planning, by the beginnings of their paths; those of today and those that they were made of.
const PLANNING: [&str; 7] = [
    "decide/",
    "resolve.rs",
    "job.rs",
    "tally.rs",
    "replica_states.rs",
    "status.rs",
    "conditions.rs",
];

/// Which files a walk visits, by their paths.
pub(super) type Wanted<'a> = &'a dyn Fn(&str) -> bool;

/// The figures of a walk.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Walk {
    /// Functions visited.
    pub(super) functions: usize,
    /// Stays by file.
    pub(super) stays: BTreeMap<FileId, usize>,
}

impl Walk {
    /// Number of stays.
    pub(super) fn stays(&self) -> usize {
        self.stays.values().sum()
    }

    /// Number of returns.
    pub(super) fn returns(&self) -> usize {
        self.stays().saturating_sub(self.stays.len())
    }
}

/// Whether the walk through planning visits a file.
pub(super) fn is_planning(path: &str) -> bool {
    PLANNING.iter().any(|beginning| path.starts_with(beginning))
}

/// Walks from a function through the files that are wanted.
pub(super) fn walk(
    model: &Model,
    references: &BTreeMap<DefinitionId, Vec<Reference>>,
    entry: DefinitionId,
    wanted: Wanted<'_>,
) -> Walk {
    let (mut walk, mut last) = (Walk::default(), None);
    let (mut seen, mut ahead) = (BTreeSet::new(), vec![entry]);
    while let Some(id) = ahead.pop() {
        let function = model
            .definitions
            .get(id)
            .filter(|definition| definition.has_body());
        let Some(function) = function.filter(|function| wanted(model.path(function.file))) else {
            continue;
        };
        if !seen.insert(id) {
            continue;
        }
        if last.replace(function.file) != Some(function.file) {
            *walk.stays.entry(function.file).or_default() += 1;
        }
        let named = references.get(&id).into_iter().flatten();
        ahead.extend(named.rev().map(|reference| reference.to));
    }
    walk.functions = seen.len();
    walk
}
