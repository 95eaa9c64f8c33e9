//! Programs of tests: built once for the whole workspace, so that no crate is built for two sets of features, and run by
//! hand, each test in a process of its own. So its time is known, and all processors are busy until the last one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::stage::{Ran, cargo, root};

/// Tests that take long, the longest first: the order in which they begin. All others follow.
const LONG: [&str; 9] = [
    "crash::dying_at_any_write_changes_nothing_in_the_end",
    "model::a_job_left_alone_comes_to_its_end_from_every_state",
    "chaos::no_",
    "laws::",
    "fuzz::",
    "known::process::",
    "known::gangs::",
    "known::views::",
    "known::restarts::",
];

/// A program whose tests can be run.
#[derive(Debug)]
pub(crate) struct Program {
    /// The package that it tests.
    package: String,
    /// `lib`, `bin`, or the name of its tests.
    target: String,
    path: PathBuf,
    /// Folder of the package, where tests run.
    folder: PathBuf,
}

/// A test of a program.
#[derive(Debug, Clone)]
pub(crate) struct Test<'a> {
    program: &'a Program,
    pub(crate) name: String,
}

/// Builds everything that is run here: all programs of tests.
pub(crate) fn build() -> Result<Vec<Program>> {
    let args = [
        "--workspace",
        "--tests",
        "--message-format=json-render-diagnostics",
    ];
    let output = cargo("build", &args).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "the tests cannot be built");
    let messages = String::from_utf8_lossy(&output.stdout);
    Ok(messages.lines().filter_map(program).collect())
}

/// What a message of cargo says of a program of tests.
fn program(message: &str) -> Option<Program> {
    let message: Value = serde_json::from_str(message).ok()?;
    let text = |pointer: &str| message.pointer(pointer).and_then(Value::as_str);
    let path = PathBuf::from(text("/executable")?);
    if message.pointer("/profile/test") != Some(&Value::Bool(true)) {
        return None;
    }
    let folder = Path::new(text("/manifest_path")?).parent()?.to_owned();
    let package = folder.file_name()?.to_string_lossy().into_owned();
    let target = match text("/target/kind/0")? {
        "test" => text("/target/name")?.to_owned(),
        kind => kind.to_owned(),
    };
    Some(Program {
        package,
        target,
        path,
        folder,
    })
}

impl Program {
    /// Package and target.
    pub(crate) fn name(&self) -> String {
        format!("{} ({})", self.package, self.target)
    }

    /// Whether its tests need a cluster.
    pub(crate) fn needs_cluster(&self) -> bool {
        self.package == "e2e" && self.target != "lib"
    }

    /// Its tests, without those that are ignored.
    pub(crate) fn tests(&self) -> Result<Vec<Test<'_>>> {
        let ignored = self.list(&["--ignored"])?;
        let all = self.list(&[])?;
        let names = all.difference(&ignored).cloned();
        Ok(names.map(|name| Test { program: self, name }).collect())
    }

    fn list(&self, args: &[&str]) -> Result<BTreeSet<String>> {
        let output = Command::new(&self.path)
            .args(["--list", "--format=terse"])
            .args(args)
            .current_dir(&self.folder)
            .output()
            .with_context(|| self.path.display().to_string())?;
        ensure!(
            output.status.success(),
            "{} does not list its tests",
            self.path.display()
        );
        let list = String::from_utf8(output.stdout)?;
        let tests = list.lines().filter_map(|line| line.strip_suffix(": test"));
        Ok(tests.map(str::to_owned).collect())
    }
}

impl Test<'_> {
    fn run(&self, env: &BTreeMap<&str, String>) -> Result<Ran> {
        let begun = Instant::now();
        let output = Command::new(&self.program.path)
            .args(["--exact", &self.name])
            .current_dir(&self.program.folder)
            .envs(env)
            // Otherwise each process asks cargo for it.
            .env("INSTA_WORKSPACE_ROOT", root())
            .stdin(Stdio::null())
            .output()
            .with_context(|| self.program.path.display().to_string())?;
        let said = String::from_utf8_lossy(&output.stdout);
        let ran = Ran {
            name: format!("{} {}", self.program.package, self.name),
            passed: output.status.success() && said.contains("test result: ok. 1 passed"),
            time: begun.elapsed(),
        };
        if ran.passed {
            show(&format!(
                "test {} ... ok ({:.1} s)",
                ran.name,
                ran.time.as_secs_f64()
            ));
        } else {
            let errors = String::from_utf8_lossy(&output.stderr);
            show(&format!(
                "\ntest {} ... FAILED ({})\n{said}\n{errors}",
                ran.name, output.status
            ));
        }
        Ok(ran)
    }
}

/// Tests that wait for a processor.
pub(crate) struct Queue<'a> {
    /// The last is the next.
    waiting: Mutex<Vec<Test<'a>>>,
    ran: Mutex<Vec<Ran>>,
    env: BTreeMap<&'static str, String>,
}

impl<'a> Queue<'a> {
    /// With the environment in which they run.
    pub(crate) fn new(mut tests: Vec<Test<'a>>, env: BTreeMap<&'static str, String>) -> Self {
        let place = |test: &Test<'_>| {
            LONG.iter()
                .position(|long| test.name.starts_with(long))
                .unwrap_or(LONG.len())
        };
        tests.sort_by_key(|test| std::cmp::Reverse(place(test)));
        Self {
            waiting: Mutex::new(tests),
            ran: Mutex::default(),
            env,
        }
    }

    /// Runs one test after the other until none is left. More than one thread may do so.
    pub(crate) fn work(&self) -> Result<()> {
        loop {
            let next = lock(&self.waiting).pop();
            let Some(test) = next else { return Ok(()) };
            let ran = test.run(&self.env)?;
            lock(&self.ran).push(ran);
        }
    }

    /// What has run.
    pub(crate) fn ran(self) -> Vec<Ran> {
        self.ran.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::print_stdout, reason = "test output goes to stdout")]
fn show(text: &str) {
    println!("{text}");
}
