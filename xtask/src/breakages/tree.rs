//! The copy of the sources that is broken, and the tests that run there.
//!
//! It is kept, with what is built of it, below `target/breakages`: only files that differ are written anew, so that the
//! next run builds little.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::list::Breakage;
use crate::stage::tracked;

/// Between two looks whether a test has ended.
const LOOK: Duration = Duration::from_millis(100);

/// What the test said.
pub(super) enum Outcome {
    /// It ran, and passed.
    Green,
    /// These tests failed.
    Red(Vec<String>),
}

/// The copy.
pub(super) struct Tree {
    folder: PathBuf,
}

impl Tree {
    /// Makes the copy say what the checkout says.
    pub(super) fn copy(root: &Path) -> Result<Self> {
        let folder = root.join("target/breakages/tree");
        let wanted: BTreeSet<PathBuf> = tracked(root)?.into_iter().collect();
        for file in &wanted {
            let (from, to) = (root.join(file), folder.join(file));
            let bytes = fs::read(&from).with_context(|| from.display().to_string())?;
            if fs::read(&to).is_ok_and(|there| there == bytes) {
                continue;
            }
            fs::create_dir_all(to.parent().context("a file without a folder")?)?;
            // Written rather than copied: what is changed must be younger than what was built before.
            fs::write(&to, bytes).with_context(|| to.display().to_string())?;
        }
        let tree = Self { folder };
        tree.remove_others(&tree.folder, &wanted)?;
        Ok(tree)
    }

    /// Takes away what the checkout has no more: a test that is left over would be run.
    fn remove_others(&self, folder: &Path, wanted: &BTreeSet<PathBuf>) -> Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let below = path.strip_prefix(&self.folder)?;
            if below == Path::new("target") {
                continue;
            }
            if path.is_dir() {
                self.remove_others(&path, wanted)?;
            } else if !wanted.contains(below) {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// The text of a file.
    pub(super) fn read(&self, file: &str) -> Result<String> {
        fs::read_to_string(self.folder.join(file)).with_context(|| file.to_owned())
    }

    /// Changes a file.
    pub(super) fn write(&self, file: &str, text: &str) -> Result<()> {
        fs::write(self.folder.join(file), text).with_context(|| file.to_owned())
    }

    /// Builds the test of a breakage and runs it.
    pub(super) fn test(&self, breakage: &Breakage, patience: Duration) -> Result<Outcome> {
        let program = self.build(breakage)?;
        let output = self.folder.join("target/breakage.out");
        let mut child = Command::new(&program)
            .args([&*breakage.test, "--exact"])
            .envs(&breakage.env)
            .current_dir(self.folder.join("crates").join(&breakage.package))
            .stdout(File::create(&output)?)
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| program.display().to_string())?;
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if begun.elapsed() > patience {
                child.kill()?;
                child.wait()?;
                bail!("{} does not end", breakage.test);
            }
            std::thread::sleep(LOOK);
        };
        let said = fs::read_to_string(&output)?;
        let failed: Vec<String> = said.lines().filter_map(failed_test).collect();
        if !failed.is_empty() {
            return Ok(Outcome::Red(failed));
        }
        ensure!(status.success(), "no test failed, but all of it: {status}");
        ensure!(
            said.contains("\ntest result: ok. 1 passed"),
            "there is no test {} in {}",
            breakage.test,
            breakage.target
        );
        Ok(Outcome::Green)
    }

    /// The program with the test. What does not compile is no breakage.
    fn build(&self, breakage: &Breakage) -> Result<PathBuf> {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(["test", "--quiet", "--no-run", "--message-format", "json"]);
        command.args(["--package", &breakage.package]);
        if breakage.target == "lib" {
            command.arg("--lib");
        } else {
            command.args(["--test", &breakage.target]);
        }
        let output = command
            .current_dir(&self.folder)
            .env_remove("CARGO_TARGET_DIR")
            .stderr(Stdio::null())
            .output()
            .context("starting cargo")?;
        let messages: Vec<Value> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        if !output.status.success() {
            bail!("does not compile: {}", first_error(&messages));
        }
        let program = messages
            .iter()
            .filter(|message| message.pointer("/profile/test").is_some_and(|test| *test == true))
            .find_map(|message| message.get("executable")?.as_str());
        program
            .map(PathBuf::from)
            .context("cargo does not say what it built")
    }
}

/// Name of the test that a line says has failed.
fn failed_test(line: &str) -> Option<String> {
    let name = line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?;
    Some(name.trim_end_matches(" - should panic").to_owned())
}

/// The first error of the compiler, in a line.
fn first_error(messages: &[Value]) -> &str {
    let error = messages.iter().find(|message| {
        message
            .pointer("/message/level")
            .is_some_and(|level| level == "error")
    });
    error
        .and_then(|error| error.pointer("/message/message")?.as_str())
        .unwrap_or("cargo does not say why")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_test_that_failed_counts() {
        let said = [
            "test a::b ... FAILED",
            "test a::c ... ok",
            "test result: FAILED. 0 passed; 1 failed",
        ];
        let failed: Vec<String> = said.into_iter().filter_map(failed_test).collect();
        assert_eq!(failed, ["a::b"]);
    }
}
