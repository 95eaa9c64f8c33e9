//! Steps of a long run: each with its time, and what its tests said.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::guard::Guard;

/// Number of tests that are listed with their times.
const LISTED: usize = 20;

/// A test that has run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) name: String,
    pub(crate) passed: bool,
    pub(crate) time: Duration,
}

/// What happened so far.
pub(crate) struct Stages {
    begun: Instant,
    done: Vec<(String, Duration, bool)>,
    /// The slowest tests, by what they are tests of.
    slowest: Vec<(String, Vec<Ran>)>,
    passed: u64,
    failed: u64,
    /// Ends what is run, and more, when this program is ended.
    pub(crate) guard: Option<Guard>,
}

impl Stages {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            done: Vec::new(),
            slowest: Vec::new(),
            passed: 0,
            failed: 0,
            guard: None,
        }
    }

    /// Counts a stage that was over before this program began.
    pub(crate) fn before(&mut self, name: &str, time: Duration) {
        self.begun = self.begun.checked_sub(time).unwrap_or(self.begun);
        self.done.push((name.to_owned(), time, true));
    }

    /// Adds stages that ran beside these.
    pub(crate) fn add(&mut self, beside: Self) {
        self.done.extend(beside.done);
        self.slowest.extend(beside.slowest);
        self.count(beside.passed, beside.failed);
    }

    /// Runs a step, says its name before and its time after.
    pub(crate) fn run<T>(&mut self, name: &str, step: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        eprintln!("\n==> {name}");
        let begun = Instant::now();
        let answer = step(self);
        self.done.push((name.to_owned(), begun.elapsed(), answer.is_ok()));
        answer
    }

    /// Runs a step whose failure counts at the end only.
    pub(crate) fn attempt(&mut self, name: &str, step: impl FnOnce(&mut Self) -> Result<()>) {
        if let Err(error) = self.run(name, step) {
            eprintln!("{name}: {error}");
        }
    }

    /// Whether all steps were good.
    pub(crate) fn verdict(&self) -> Result<()> {
        let failed: Vec<&str> = self
            .done
            .iter()
            .filter(|(_, _, good)| !good)
            .map(|(name, ..)| name.as_str())
            .collect();
        ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
        Ok(())
    }

    /// Runs `cargo test` with these arguments; its output is shown as it comes, its figures are added up.
    pub(crate) fn cargo_test(&mut self, args: &[&str], env: &[(&str, String)]) -> Result<()> {
        let mut command = cargo("test", args);
        command.envs(env.iter().map(|(key, value)| (*key, value.as_str())));
        command.stdout(Stdio::piped());
        let mut child = match &mut self.guard {
            Some(guard) => guard.start(&mut command)?,
            None => command.spawn().context("starting cargo test")?,
        };
        let output = child.stdout.take().context("cargo test has no output")?;
        for line in BufReader::new(output).lines() {
            let line = line?;
            self.read(&line);
            show(&line);
        }
        let status = child.wait()?;
        if let Some(guard) = &mut self.guard {
            guard.ended(child.id());
        }
        ensure!(status.success(), "tests failed: see above");
        Ok(())
    }

    fn read(&mut self, line: &str) {
        let Some(figures) = line.strip_prefix("test result: ") else {
            return;
        };
        let figure = |word: &str| {
            let words: Vec<&str> = figures.split_whitespace().collect();
            let pair = words
                .windows(2)
                .find(|pair| pair.last().is_some_and(|w| w.trim_end_matches(';') == word))?;
            pair.first()?.parse::<u64>().ok()
        };
        self.passed += figure("passed").unwrap_or(0);
        self.failed += figure("failed").unwrap_or(0);
    }

    /// Adds up tests that ran one by one. The slowest of them are listed at the end.
    pub(crate) fn tests(&mut self, title: &str, mut ran: Vec<Ran>) -> Result<()> {
        let mut failed: Vec<&str> = ran
            .iter()
            .filter(|ran| !ran.passed)
            .map(|ran| &*ran.name)
            .collect();
        failed.sort_unstable();
        self.count((ran.len() - failed.len()) as u64, failed.len() as u64);
        let result = if failed.is_empty() {
            Ok(())
        } else {
            Err(anyhow!("failed: {}", failed.join(", ")))
        };
        ran.sort_by_key(|ran| std::cmp::Reverse(ran.time));
        ran.truncate(LISTED);
        self.slowest.push((title.to_owned(), ran));
        result
    }

    fn count(&mut self, passed: u64, failed: u64) {
        self.passed += passed;
        self.failed += failed;
    }

    /// Times of all steps, and the sum of all tests on a line of its own.
    pub(crate) fn summary(&self) {
        for (title, tests) in &self.slowest {
            show(&format!("\nthe slowest {title}:"));
            for test in tests {
                show(&format!("{:>7.1} s  {}", test.time.as_secs_f64(), test.name));
            }
        }
        show("\ntime of each stage:");
        for (name, time, good) in &self.done {
            let verdict = if *good { "" } else { "  FAILED" };
            show(&format!("{:>7.1} s  {name}{verdict}", time.as_secs_f64()));
        }
        show(&format!(
            "{:>7.1} s  in all\n",
            self.begun.elapsed().as_secs_f64()
        ));
        let other = self.done.iter().filter(|(_, _, good)| !good).count() as u64;
        show(&format!(
            "{} passed, {} failed",
            self.passed,
            self.failed.max(other)
        ));
    }
}

#[expect(clippy::print_stdout, reason = "test output goes to stdout")]
fn show(line: &str) {
    println!("{line}");
}

/// A cargo command.
pub(crate) fn cargo(verb: &str, args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.arg(verb).args(args).current_dir(root());
    command
}

/// Runs a command that says itself what is wrong.
pub(crate) fn must(mut command: Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("starting {}", command.get_program().display()))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

/// Files of a checkout that git knows, or would: new ones count too.
pub(crate) fn tracked(root: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("git")?;
    ensure!(output.status.success(), "git ls-files: {}", output.status);
    let listed = String::from_utf8(output.stdout)?;
    let files = listed.lines().map(PathBuf::from);
    Ok(files.filter(|file| root.join(file).is_file()).collect())
}

/// The checkout.
pub(crate) fn root() -> &'static std::path::Path {
    std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
