//! `cargo xtask structure`: the shape of the code, as figures that anyone can make.
//!
//! For each crate: circles of files (by import: whose `use` names whom; by definition: which definition names which), the
//! longest functions and files, and for `common` the walk of `Observed` (see `walk`). Tests and test support are left out.
//! Each file counts by itself, the one of a module and those of its children too.

mod graph;
mod model;
mod read;
mod references;
mod resolve;
#[cfg(test)]
mod tests;
mod types;
mod walk;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use graph::Edges;
use model::{DefinitionId, FileId, Model};
use references::{Reference, references};
use resolve::{Namespace, Target};

/// Length of the lists of longest functions and files.
const LONGEST: usize = 10;
/// Crates whose circles are known and still to be opened.
const CIRCLES_ALLOWED: [&str; 5] = [
    "crates/mpijob",
    "crates/mxjob",
    "crates/paddlejob",
    "crates/pytorchjob",
    "crates/tfjob",
];

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this crate, such as `common` or `e2e/cluster`.
    #[arg(long = "crate")]
    name: Option<String>,
    /// Another checkout of the workspace.
    #[arg(long)]
    root: Option<PathBuf>,
    /// Name the imports and definitions that make the circles.
    #[arg(long)]
    edges: bool,
}

/// What was read of a crate.
struct Shape {
    /// Folder from the root of the workspace.
    folder: String,
    model: Model,
    references: BTreeMap<DefinitionId, Vec<Reference>>,
    by_import: Edges,
    by_definition: Edges,
}

/// Runs the command.
#[expect(clippy::print_stdout, reason = "the figures are what the user asked for")]
pub(crate) fn run(args: &Args) -> Result<()> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("no folder above xtask")?;
    let root = args.root.as_deref().unwrap_or(own);
    let mut folders = crates(root)?;
    if let Some(name) = &args.name {
        folders.retain(|folder| folder.strip_prefix("crates/").unwrap_or(folder) == name);
        ensure!(!folders.is_empty(), "no crate {name}");
    }
    for folder in folders {
        println!("{}", Shape::read(root, folder)?.report(args.edges));
    }
    Ok(())
}

/// For `cargo xtask tidy`: figures, and all that breaks the floors of the house.
pub(crate) fn breaches(root: &Path) -> Result<(String, Vec<String>)> {
    let (mut files, mut known, mut breaches) = (0, Vec::new(), Vec::new());
    for folder in crates(root)? {
        let shape = Shape::read(root, folder)?;
        files += shape.model.files.len();
        let circles = shape.circle_breaches();
        if !circles.is_empty() && CIRCLES_ALLOWED.contains(&shape.folder.as_str()) {
            known.push(shape.folder.clone());
        } else {
            breaches.extend(circles);
        }
        breaches.extend(shape.facts_that_name_steps());
    }
    let left = if known.is_empty() {
        String::new()
    } else {
        format!(" (but for known circles in {})", known.join(", "))
    };
    let figures =
        format!("{files} files: no circle by import or definition{left}, no fact names a decision step");
    Ok((figures, breaches))
}

/// Folders of all crates.
fn crates(root: &Path) -> Result<Vec<String>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(root.join("crates"))? {
        folders.push(format!("crates/{}", entry?.file_name().to_string_lossy()));
    }
    folders.sort();
    folders.extend(["e2e", "e2e/cluster", "xtask"].map(str::to_owned));
    Ok(folders)
}

impl Shape {
    fn read(root: &Path, folder: String) -> Result<Self> {
        let model = read::read(&root.join(&folder)).with_context(|| folder.clone())?;
        Ok(Self::of(folder, model))
    }

    fn of(folder: String, model: Model) -> Self {
        let definitions = model.definitions.iter().enumerate();
        let references = definitions
            .map(|(id, definition)| (id, references(&model, definition)))
            .collect();
        let (by_import, by_definition) = (
            graph::by_import(&model),
            graph::by_definition(&model, &references),
        );
        Self {
            folder,
            model,
            references,
            by_import,
            by_definition,
        }
    }

    /// All figures as text.
    fn report(&self, edges: bool) -> String {
        let mut lines = vec![format!("{} ({} files)", self.folder, self.model.files.len())];
        for (by, found) in [("import", &self.by_import), ("definition", &self.by_definition)] {
            let circles = graph::circles(self.model.files.len(), found);
            lines.push(format!("  circles by {by}: {}", circles.len()));
            for circle in circles {
                lines.push(format!("    {} files: {}", circle.len(), self.paths(&circle)));
                if edges {
                    lines.extend(self.inside(&circle, found).map(|edge| format!("      {edge}")));
                }
            }
        }
        self.functions(&mut lines);
        self.files(&mut lines);
        self.walks(&mut lines);
        lines.push(String::new());
        lines.join("\n")
    }

    fn paths(&self, files: &BTreeSet<FileId>) -> String {
        let paths: Vec<&str> = files.iter().map(|file| self.model.path(*file)).collect();
        paths.join(", ")
    }

    /// What makes a circle, one line each.
    fn inside<'a>(
        &'a self,
        circle: &'a BTreeSet<FileId>,
        edges: &'a Edges,
    ) -> impl Iterator<Item = String> + 'a {
        let inside = edges
            .iter()
            .filter(|((from, to), _)| circle.contains(from) && circle.contains(to));
        inside.flat_map(|((from, to), reasons)| {
            let (from, to) = (self.model.path(*from), self.model.path(*to));
            let edge = move |reason: &String| format!("{from}:{reason} ({to})");
            reasons.iter().map(edge)
        })
    }

    fn functions(&self, lines: &mut Vec<String>) {
        let all = self.model.definitions.iter();
        let mut functions: Vec<_> = all.filter(|definition| definition.has_body()).collect();
        functions.sort_by_key(|function| Reverse(function.lines));
        let percentile = |percent: usize| {
            let above = functions.len().saturating_sub(1) * (100 - percent) / 100;
            functions.get(above).map_or(0, |function| function.lines)
        };
        lines.push(format!(
            "  functions: {}, median {} lines, 90th percentile {}; the longest:",
            functions.len(),
            percentile(50),
            percentile(90)
        ));
        lines.extend(functions.iter().take(LONGEST).map(|function| {
            let path = self.model.path(function.file);
            format!(
                "    {:4} {} ({path}:{})",
                function.lines, function.name, function.line
            )
        }));
    }

    fn files(&self, lines: &mut Vec<String>) {
        let mut files: Vec<_> = self.model.files.iter().collect();
        files.sort_by_key(|file| Reverse(file.lines));
        let all: usize = files.iter().map(|file| file.lines).sum();
        lines.push(format!("  lines: {all}; the longest files:"));
        let longest = files.iter().take(LONGEST);
        lines.extend(longest.map(|file| format!("    {:4} {}", file.lines, file.path)));
    }

    fn walks(&self, lines: &mut Vec<String>) {
        let entry = self.model.resolve(0, &["plan".to_owned()], Namespace::Value).1;
        let (true, Some(Target::Definition(entry))) = (self.folder == "crates/common", entry) else {
            return;
        };
        let everywhere = |_: &str| true;
        let walks: [(&str, walk::Wanted<'_>); 2] =
            [("planning", &walk::is_planning), ("the whole crate", &everywhere)];
        for (through, wanted) in walks {
            let walk = walk::walk(&self.model, &self.references, entry, wanted);
            let mut stays: Vec<_> = walk.stays.iter().collect();
            stays.sort_by_key(|(_, stays)| Reverse(**stays));
            let most = stays.iter().take(LONGEST);
            let most = most.map(|(file, stays)| format!("{} {stays}", self.model.path(**file)));
            lines.push(format!(
                "  walk of Observed through {through}: {} stays in {} files, {} returns, {} functions; most stays: {}",
                walk.stays(),
                walk.stays.len(),
                walk.returns(),
                walk.functions,
                most.collect::<Vec<_>>().join(", ")
            ));
        }
    }

    fn circle_breaches(&self) -> Vec<String> {
        let mut breaches = Vec::new();
        for (by, edges) in [("import", &self.by_import), ("definition", &self.by_definition)] {
            for circle in graph::circles(self.model.files.len(), edges) {
                let paths = self.paths(&circle);
                breaches.push(format!("{}/src: files in a circle by {by}: {paths}", self.folder));
                let inside = self.inside(&circle, edges);
                breaches.extend(inside.map(|edge| format!("  {}/src/{edge}", self.folder)));
            }
        }
        breaches
    }

    fn facts_that_name_steps(&self) -> Vec<String> {
        let is_fact = |file: FileId| self.model.path(file).starts_with("decide/facts");
        let is_step = |file: FileId| self.model.path(file).starts_with("decide/") && !is_fact(file);
        let mut breaches = Vec::new();
        for edges in [&self.by_import, &self.by_definition] {
            for ((from, to), reasons) in edges
                .iter()
                .filter(|((from, to), _)| is_fact(*from) && is_step(*to))
            {
                let (from, to) = (self.model.path(*from), self.model.path(*to));
                let breach = |reason| {
                    format!(
                        "{}/src/{from}:{reason} ({to}): a fact that names a decision step",
                        self.folder
                    )
                };
                breaches.extend(reasons.iter().map(breach));
            }
        }
        breaches
    }
}
