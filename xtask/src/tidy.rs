//! `cargo xtask tidy`: the house rules that a machine can check.
//!
//! One line per check with its figures; what breaks a rule is named as `file:line`.

mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use source::Source;

use crate::stage::tracked;

/// Most lines of a function outside tests.
const FUNCTION: usize = 90;
/// Most lines of a file outside tests.
const FILE: usize = 700;
/// Most lines of a framework outside tests.
const FRAMEWORK: usize = 400;
/// Two frameworks in one crate: one kind with two meanings.
const TWO_FRAMEWORKS: &str = "mpijob";
/// Most bytes of a CRD, so that `kubectl apply` can keep it in an annotation (limit 262,144).
const CRD: usize = 200_000;
/// What a pure crate must not have, not even through others.
const IMPURE: [&str; 3] = ["tokio", "hyper", "kube-client"];
/// Crates that do I/O, and their tests; all others below `crates/` are pure, and but for `common` frameworks.
const RUNTIME: [&str; 3] = ["operator", "runtime", "sim"];
/// Tests that are a program of their own.
const PROGRAMS: [&str; 1] = ["crates/sim/tests/secrets.rs"];
/// Prefixes of label keys; in two pieces each, so that this file does not hold them.
const LABELS: [&str; 2] = [
    concat!("training.kubeflow", ".org/"),
    concat!("trainyard", ".dev/"),
];
/// The one file that may hold them.
const NAMES: &str = "crates/common/src/names.rs";
/// Where somebody's home is; a path in a container's image that clients know is none.
const HOMES: [&str; 3] = [
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("/ro", "ot/"),
];
/// Paths that only look like that: where MPI jobs mount their keys.
const NOT_HOMES: [&str; 2] = [concat!("/ro", "ot/.ssh"), "/home/mpiuser"];

/// Arguments.
#[derive(Clone, Copy, clap::Args)]
pub(crate) struct Args {}

/// What a check found: its figures, and the breaches.
struct Finding {
    check: &'static str,
    figures: String,
    breaches: Vec<String>,
}

/// Runs the command.
pub(crate) fn run(_args: Args) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("no folder above xtask")?
        .to_owned();
    let files = tracked(&root)?;
    let sources = sources(&root, &files)?;
    let findings = [
        sizes(&sources),
        label_keys(&sources),
        stubs(&sources),
        crds(&root, &files)?,
        homes(&root, &files)?,
        test_files(&root, &files),
        doc_examples(&root, &files)?,
        purity(&root)?,
        frameworks(&root, &sources)?,
        floors(&root)?,
    ];
    report(&findings)
}

#[expect(clippy::print_stdout, reason = "the findings are what the user asked for")]
fn report(findings: &[Finding]) -> Result<()> {
    for Finding {
        check,
        figures,
        breaches,
    } in findings
    {
        let verdict = if breaches.is_empty() { "ok  " } else { "FAIL" };
        println!("{verdict} {check}: {figures}");
        for breach in breaches {
            println!("     {breach}");
        }
    }
    let breaches: usize = findings.iter().map(|finding| finding.breaches.len()).sum();
    ensure!(breaches == 0, "{breaches} breaches of house rules");
    Ok(())
}

fn sources(root: &Path, files: &[PathBuf]) -> Result<Vec<Source>> {
    let rust = files
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    rust.map(|path| Ok(Source::new(path, &fs::read_to_string(root.join(path))?)))
        .collect()
}

fn sizes(sources: &[Source]) -> Finding {
    let mut breaches = Vec::new();
    let (mut functions, mut longest, mut largest) = (0, 0, 0);
    for source in sources {
        let lines = source.lines();
        largest = largest.max(lines);
        if lines > FILE {
            breaches.push(format!("{}:1: {lines} lines, at most {FILE}", source.path));
        }
        for function in source.functions() {
            functions += 1;
            longest = longest.max(function.lines);
            if function.lines > FUNCTION {
                let (line, lines) = (function.line, function.lines);
                breaches.push(format!(
                    "{}:{line}: function of {lines} lines, at most {FUNCTION}",
                    source.path
                ));
            }
        }
    }
    let figures = format!(
        "{} files, the largest {largest} of {FILE} lines; {functions} functions, the longest {longest} of {FUNCTION} \
         lines (outside tests)",
        sources.len()
    );
    Finding {
        check: "sizes",
        figures,
        breaches,
    }
}

fn label_keys(sources: &[Source]) -> Finding {
    let mut breaches = Vec::new();
    for source in sources.iter().filter(|source| source.path != NAMES) {
        for (line, text) in source.without_comments() {
            if LABELS.iter().any(|prefix| text.contains(prefix)) {
                breaches.push(format!("{}:{line}: a label key outside {NAMES}", source.path));
            }
        }
    }
    let figures = format!("only in {NAMES}, of {} files", sources.len());
    Finding {
        check: "label keys",
        figures,
        breaches,
    }
}

fn stubs(sources: &[Source]) -> Finding {
    let mut breaches = Vec::new();
    for source in sources {
        for (line, text) in source.code() {
            if ["todo!", "unimplemented!"].iter().any(|stub| text.contains(stub)) {
                breaches.push(format!("{}:{line}: a stub", source.path));
            }
        }
    }
    Finding {
        check: "stubs",
        figures: format!("none in {} files", sources.len()),
        breaches,
    }
}

/// Size as JSON, at most: without indentation, and with what JSON needs around a key and a value.
fn crds(root: &Path, files: &[PathBuf]) -> Result<Finding> {
    let (mut figures, mut breaches) = (Vec::new(), Vec::new());
    for path in files.iter().filter(|path| path.starts_with("deploy/crds")) {
        let text = fs::read_to_string(root.join(path))?;
        let size: usize = text.lines().map(|line| line.trim_start().len() + 6).sum();
        figures.push(format!("{} {size}", path.display()));
        if size > CRD {
            breaches.push(format!(
                "{}:1: {size} bytes as JSON, at most {CRD}",
                path.display()
            ));
        }
    }
    let figures = format!("bytes as JSON, at most {CRD}: {}", figures.join(", "));
    Ok(Finding {
        check: "CRDs",
        figures,
        breaches,
    })
}

fn homes(root: &Path, files: &[PathBuf]) -> Result<Finding> {
    let mut breaches = Vec::new();
    for path in files {
        let bytes = fs::read(root.join(path)).with_context(|| path.display().to_string())?;
        let Ok(text) = String::from_utf8(bytes) else {
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            let line = NOT_HOMES
                .iter()
                .fold(line.to_owned(), |line, path| line.replace(path, ""));
            if HOMES.iter().any(|home| line.contains(home)) {
                breaches.push(format!(
                    "{}:{}: a path in somebody's home",
                    path.display(),
                    number + 1
                ));
            }
        }
    }
    Ok(Finding {
        check: "home paths",
        figures: format!("none in {} files", files.len()),
        breaches,
    })
}

/// The pure crates, `common` first.
fn pure(root: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root.join("crates"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !RUNTIME.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names.sort_by_key(|name| (name != "common", name.clone()));
    Ok(names)
}

/// The pure crates compile without the features that others switch on, and have no client and no executor.
fn purity(root: &Path) -> Result<Finding> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let (mut figures, mut breaches) = (Vec::new(), Vec::new());
    let mut check = vec!["check", "--quiet", "--keep-going"];
    let names = pure(root)?;
    for name in &names {
        check.extend(["--package", name]);
        let crates = crates_below(root, &cargo, name)?;
        for impure in IMPURE.iter().filter(|impure| crates.contains(**impure)) {
            breaches.push(format!(
                "crates/{name}/Cargo.toml:1: depends on {impure}, if only through others"
            ));
        }
        figures.push(format!("{name} ({} crates)", crates.len()));
    }
    // One command: one by one they would have their dependencies compiled for several sets of features.
    if let Err(error) = output(root, &cargo, &check) {
        breaches.push(format!("pure crates do not compile without the others: {error}"));
    }
    let figures = format!(
        "no {}; compiled without the others: {}",
        IMPURE.join(", "),
        figures.join(", ")
    );
    Ok(Finding {
        check: "purity",
        figures,
        breaches,
    })
}

/// Names of all crates that a crate is made of.
fn crates_below(root: &Path, cargo: &str, name: &str) -> Result<BTreeSet<String>> {
    let args = ["tree", "--package", name, "--edges", "normal", "--prefix", "none"];
    let tree = output(root, cargo, &args)?;
    let names = tree.lines().filter_map(|line| line.split_whitespace().next());
    Ok(names.map(str::to_owned).collect())
}

/// Each file of tests is named by `main.rs` beside it: one that is not would not be run.
fn test_files(root: &Path, files: &[PathBuf]) -> Finding {
    let (mut count, mut breaches) = (0, Vec::new());
    for path in files.iter().filter(|path| is_test_file(path)) {
        count += 1;
        let main = path.with_file_name("main.rs");
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let named = |text: String| text.contains(&format!("mod {stem};\n"));
        let program = stem == "main" || PROGRAMS.iter().any(|program| path == Path::new(program));
        if !program && !fs::read_to_string(root.join(main)).is_ok_and(named) {
            breaches.push(format!("{}:1: not named by main.rs", path.display()));
        }
    }
    Finding {
        check: "test files",
        figures: format!("{count} files, each in the program of its crate"),
        breaches,
    }
}

/// Whether it is `crates/<crate>/tests/<file>.rs`.
fn is_test_file(path: &Path) -> bool {
    let parts: Vec<_> = path.iter().collect();
    parts.len() == 4
        && path.starts_with("crates")
        && path.parent().is_some_and(|parent| parent.ends_with("tests"))
        && path.extension().is_some_and(|extension| extension == "rs")
}

/// No example in a doc comment is a program: those are not run.
fn doc_examples(root: &Path, files: &[PathBuf]) -> Result<Finding> {
    let mut breaches = Vec::new();
    let rust = |path: &&PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    for path in files.iter().filter(rust) {
        let text = fs::read_to_string(root.join(path))?;
        let mut inside = false;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_start();
            let doc = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
            let Some(language) = doc.and_then(|doc| doc.trim_start().strip_prefix("```")) else {
                continue;
            };
            if !inside && (language.is_empty() || language.starts_with("rust")) {
                breaches.push(format!(
                    "{}:{}: an example that would not be run: write a test",
                    path.display(),
                    number + 1
                ));
            }
            inside = !inside;
        }
    }
    Ok(Finding {
        check: "examples in comments",
        figures: "none is a program".to_owned(),
        breaches,
    })
}

/// How much a framework takes beside what all share.
fn frameworks(root: &Path, sources: &[Source]) -> Result<Finding> {
    let of = |name: &str| -> usize {
        let folder = format!("crates/{name}/src/");
        sources
            .iter()
            .filter(|source| source.path.starts_with(&folder))
            .map(Source::lines)
            .sum()
    };
    let kinds = pure(root)?.into_iter().filter(|name| name != "common");
    let lines: Vec<(String, usize)> = kinds.map(|name| (name.clone(), of(&name))).collect();
    let figures: Vec<String> = lines
        .iter()
        .map(|(name, lines)| format!("{name} {lines}"))
        .collect();
    let figures = format!(
        "lines outside tests, at most {FRAMEWORK} but for {TWO_FRAMEWORKS}: {}; common {}",
        figures.join(", "),
        of("common")
    );
    let large = lines
        .iter()
        .filter(|(name, lines)| *lines > FRAMEWORK && name != TWO_FRAMEWORKS);
    let breach = |(name, lines): &(String, usize)| {
        format!(
            "crates/{name}/src/lib.rs:1: a framework of {lines} lines, at most {FRAMEWORK}: what others share belongs into common"
        )
    };
    Ok(Finding {
        check: "frameworks",
        figures,
        breaches: large.map(breach).collect(),
    })
}

/// No circle of files, and facts below the decision steps.
fn floors(root: &Path) -> Result<Finding> {
    let (figures, breaches) = crate::structure::breaches(root)?;
    Ok(Finding {
        check: "floors",
        figures,
        breaches,
    })
}

/// What a program prints.
fn output(root: &Path, program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(args)
        .current_dir(root)
        .output()
        .with_context(|| program.to_owned())?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {errors}", args.join(" "));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
