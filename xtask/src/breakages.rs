//! `cargo xtask breakages`: the harness bites. Breaks the operator on purpose, one bug at a time, in a copy of the sources,
//! and asks that the test which is named for it fails. The list is `crates/sim/breakages.yaml`.
//!
//! What does not compile proves nothing, nor does a test that is red anyway, or that no longer exists: those are errors of
//! the list.

mod list;
mod tree;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::stage::root;
use list::Breakage;
use tree::{Outcome, Tree};

/// Longest time for one test: a broken operator may go round in circles for ever.
const PATIENCE: Duration = Duration::from_mins(15);

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only the breakages whose name contains this.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
}

/// A breakage, and the tests that it turned red; or why that cannot be said.
type Told = (String, Result<Vec<String>>);

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let only = args.only.as_deref().unwrap_or_default();
    let mut breakages = list::read(root())?;
    breakages.retain(|breakage| breakage.name.contains(only));
    ensure!(!breakages.is_empty(), "no breakage is called {only:?}");
    let tree = Tree::copy(root())?;
    eprintln!("==> without any breakage");
    let mut told: Vec<Told> = Vec::new();
    for breakage in &breakages {
        if let Err(error) = is_green(&tree, breakage) {
            told.push((format!("{}, unbroken", breakage.name), Err(error)));
        }
    }
    for breakage in &breakages {
        eprintln!("==> {}: {}", breakage.name, breakage.what);
        let begun = Instant::now();
        let outcome = turned_red(&tree, breakage);
        eprintln!("    {} s", begun.elapsed().as_secs());
        told.push((breakage.name.clone(), outcome));
    }
    report(&told)
}

fn is_green(tree: &Tree, breakage: &Breakage) -> Result<()> {
    match tree.test(breakage, PATIENCE)? {
        Outcome::Green => Ok(()),
        Outcome::Red(tests) => bail!("red without it: {}", tests.join(", ")),
    }
}

fn turned_red(tree: &Tree, breakage: &Breakage) -> Result<Vec<String>> {
    let sound = tree.read(&breakage.file)?;
    let broken = breakage.applied(&sound)?;
    tree.write(&breakage.file, &broken)?;
    let outcome = tree.test(breakage, PATIENCE);
    tree.write(&breakage.file, &sound)
        .context("the copy could not be mended")?;
    match outcome? {
        Outcome::Red(tests) => Ok(tests),
        Outcome::Green => bail!("STAYS GREEN: {} {}", breakage.target, breakage.test),
    }
}

#[expect(clippy::print_stdout, reason = "the table is what the user asked for")]
fn report(told: &[Told]) -> Result<()> {
    println!("\n| breakage | red test |\n|---|---|");
    for (name, outcome) in told {
        match outcome {
            Ok(tests) => println!("| {name} | `{}` |", tests.join("`, `")),
            Err(error) => println!("| {name} | **{error:#}** |"),
        }
    }
    let unseen = told.iter().filter(|(_, outcome)| outcome.is_err()).count();
    println!("\n{} breakages seen, {unseen} not", told.len() - unseen);
    ensure!(unseen == 0, "{unseen} breakages are not seen by their tests");
    Ok(())
}
