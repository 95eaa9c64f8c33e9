//! `cargo xtask new-kind NAME`: a framework crate from the template, and its line in the registry.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::stage::root;

/// Files of the template (below `xtask/template`), and where they go below the crate.
const FILES: [(&str, &str); 7] = [
    (include_str!("../template/Cargo.toml.in"), "Cargo.toml"),
    (include_str!("../template/src/lib.rs.in"), "src/lib.rs"),
    (include_str!("../template/src/api.rs.in"), "src/api.rs"),
    (include_str!("../template/src/wiring.rs.in"), "src/wiring.rs"),
    (include_str!("../template/tests/main.rs.in"), "tests/main.rs"),
    (include_str!("../template/tests/wiring.rs.in"), "tests/wiring.rs"),
    (include_str!("../template/notes.md.in"), "notes.md"),
];

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The kind, such as `XGBoostJob`.
    name: String,
    /// Short name for kubectl; default `<first letter>j`.
    #[arg(long, value_name = "NAME")]
    short: Option<String>,
    /// Field of `spec` that maps replica types to replicas; default `<framework>ReplicaSpecs`.
    #[arg(long, value_name = "FIELD")]
    replicas: Option<String>,
    /// Checkout to write into; default this one.
    #[arg(long, value_name = "FOLDER")]
    into: Option<PathBuf>,
}

/// Runs the command.
#[expect(clippy::print_stdout, reason = "what to do next is what the user asked for")]
pub(crate) fn run(args: &Args) -> Result<()> {
    let kind = Kind::new(args)?;
    let root = args.into.clone().unwrap_or_else(|| root().to_path_buf());
    let folder = root.join("crates").join(&kind.lower);
    ensure!(!folder.exists(), "{} is there already", folder.display());
    let name = &kind.lower;
    let lines = [
        (
            "Cargo.toml",
            "cluster = {",
            format!("{name} = {{ path = \"crates/{name}\" }}"),
        ),
        (
            "crates/operator/Cargo.toml",
            "runtime.workspace",
            format!("{name}.workspace = true"),
        ),
        (
            "crates/operator/src/lib.rs",
            "];",
            format!("    &{name}::FRAMEWORK,"),
        ),
    ];
    let edited = lines.map(|(file, mark, line)| line_before(&root.join(file), mark, &line));
    let edited = edited.into_iter().collect::<Result<Vec<_>>>()?;
    for (text, path) in FILES {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().context("a file without a folder")?)?;
        fs::write(&path, kind.fill_in(text)).with_context(|| path.display().to_string())?;
        println!("wrote {}", path.display());
    }
    for (path, text) in edited {
        fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    println!(
        "\nnext: the kind's facts in src/lib.rs, its fields in src/api.rs, its variables in src/wiring.rs; then\n  \
         cargo test -p {name} && cargo xtask codegen && cargo test -p operator\n\
         CONTRIBUTING.md, \"Add a framework\", has the whole way"
    );
    Ok(())
}

struct Kind {
    name: String,
    framework: String,
    lower: String,
    short: String,
    replicas: String,
}

impl Kind {
    fn new(args: &Args) -> Result<Self> {
        let name = args.name.clone();
        let Some(framework) = name.strip_suffix("Job").filter(|framework| !framework.is_empty()) else {
            bail!("NAME must end in Job, such as XGBoostJob, and not be {name:?}");
        };
        let plain = |c: char| c.is_ascii_alphanumeric();
        ensure!(
            name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(plain),
            "NAME must be letters and digits and begin with a capital, and not be {name:?}"
        );
        let lower = framework.to_ascii_lowercase();
        let short = || format!("{}j", lower.chars().take(1).collect::<String>());
        for given in [&args.short, &args.replicas].into_iter().flatten() {
            let letters = given.starts_with(|c: char| c.is_ascii_lowercase()) && given.chars().all(plain);
            ensure!(
                letters,
                "--short and --replicas must be letters and digits, and not be {given:?}"
            );
        }
        Ok(Self {
            framework: framework.to_owned(),
            lower: name.to_ascii_lowercase(),
            short: args.short.clone().unwrap_or_else(short),
            replicas: args
                .replicas
                .clone()
                .unwrap_or_else(|| format!("{lower}ReplicaSpecs")),
            name,
        })
    }

    fn fill_in(&self, template: &str) -> String {
        let values = [
            ("@Kind@", &self.name),
            ("@kind@", &self.lower),
            ("@Framework@", &self.framework),
            ("@framework@", &self.framework.to_ascii_lowercase()),
            ("@short@", &self.short),
            ("@replicas@", &self.replicas),
        ];
        values.iter().fold(template.to_owned(), |text, (mark, value)| {
            text.replace(mark, value)
        })
    }
}

/// A file with a line put before the one that begins with `mark`, unless it is there.
fn line_before(path: &Path, mark: &str, line: &str) -> Result<(PathBuf, String)> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    if text.lines().any(|found| found == line) {
        return Ok((path.to_owned(), text));
    }
    let at = text.lines().position(|found| found.starts_with(mark));
    let at = at.with_context(|| format!("{}: no line begins with {mark:?}", path.display()))?;
    let mut lines: Vec<&str> = text.lines().collect();
    lines.insert(at, line);
    Ok((path.to_owned(), format!("{}\n", lines.join("\n"))))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::seed;
    use crate::stage::tracked;

    fn args(name: &str, into: &Path) -> Args {
        Args {
            name: name.to_owned(),
            short: None,
            replicas: None,
            into: Some(into.to_owned()),
        }
    }

    #[test]
    fn names_that_are_none_are_refused() {
        let nowhere = Path::new("/nonexistent");
        for name in ["Job", "xgboost", "xgboostJob", "XG BoostJob", "../XJob", ""] {
            let error = run(&args(name, nowhere)).unwrap_err().to_string();
            assert!(error.starts_with("NAME must"), "{name:?}: {error}");
        }
    }

    /// In a copy of this workspace the new crate compiles, and so does everything over the registry with it. Unless a share is
    /// asked for, their tests pass as well, without a line more.
    #[test]
    fn a_new_kind_is_one_of_the_registry_at_once() {
        let target = std::env::current_exe().unwrap();
        let target = target
            .ancestors()
            .find(|folder| folder.ends_with("target"))
            .unwrap();
        let copy = Copy::make(target);
        run(&args("NovelJob", &copy.folder)).unwrap();
        let both = [
            "--quiet",
            "--offline",
            "--package",
            "noveljob",
            "--package",
            "operator",
        ];
        if std::env::var_os(seed::VARIABLE).is_some() {
            copy.cargo(&[&["check", "--tests"], &both[..]].concat(), false);
            return;
        }
        let test = |filters: &[&str], write: bool| {
            let words = [&["test"], &both[..], &["--test", "tests", "--"], filters].concat();
            copy.cargo(&words, write);
        };
        test(&["generated::"], true);
        let registry = [
            "generated::",
            "laws::",
            "suspend::",
            "elastic::",
            "lifecycle::",
            "gang::",
        ];
        test(&[&registry[..], &["wiring::"]].concat(), false);
        for file in [
            "deploy/crds/noveljobs.yaml",
            "deploy/examples/novel.yaml",
            "docs/noveljob.md",
        ] {
            assert!(copy.folder.join(file).is_file(), "{file}");
        }
        let rbac = fs::read_to_string(copy.folder.join("deploy/rbac.yaml")).unwrap();
        assert!(rbac.contains("- noveljobs/status"));
    }

    /// A copy of this workspace, built where this one is built.
    struct Copy<'a> {
        target: &'a Path,
        folder: PathBuf,
    }

    impl<'a> Copy<'a> {
        fn make(target: &'a Path) -> Self {
            let folder = target.join("new-kind");
            let _ = fs::remove_dir_all(&folder);
            for file in tracked(root()).unwrap() {
                fs::create_dir_all(folder.join(&file).parent().unwrap()).unwrap();
                fs::copy(root().join(&file), folder.join(&file)).unwrap();
            }
            let manifest = folder.join("Cargo.toml");
            let text = fs::read_to_string(&manifest).unwrap();
            // As the whole workspace has it, so that nothing that depends on it is built again.
            let (before, after) = text.split_once("\"rt-multi-thread\"").unwrap();
            let text = format!("{before}\"test-util\", \"rt-multi-thread\"{after}");
            fs::write(&manifest, text).unwrap();
            Self { target, folder }
        }

        fn cargo(&self, words: &[&str], write: bool) {
            let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            command
                .args(words)
                .current_dir(&self.folder)
                .env("CARGO_TARGET_DIR", self.target);
            if write {
                command.env("TRAINYARD_WRITE", "1");
            }
            assert!(command.status().unwrap().success(), "cargo {words:?}");
        }
    }

    impl Drop for Copy<'_> {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}
