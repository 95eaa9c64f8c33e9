//! Runs end-to-end tests.
//!
//! Every test runs in a process of its own: the longest begin first, their times are known, and of those that need the
//! operator or the processors for themselves (`e2e::alone`) one runs at a time without keeping others from running.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::guard::Guard;
use crate::stage::{Ran, cargo, root};

/// Number of tests that run side by side: most of them wait for a cluster.
const SIDE_BY_SIDE: usize = 6;
/// Times of tests in seconds, the longest first: the order in which they begin. A test that is not in it begins before all others.
const TIMES: &str = include_str!("../../../e2e/tests/times.txt");
/// How the names of tests begin that take `e2e::alone`, by what they take.
const EXCLUSIVE: [&[&str]; 2] = [
    &[
        "coscheduling::",
        "gang::a_gang_that_can_never_fit",
        "gang::two_gangs",
        "lost_node::",
        "node::",
        "operator::killed_twice",
        "operator::the_leader_goes",
        "volcano::",
    ],
    &["burst::", "outage::"],
];

/// Builds the suite with the features that the other tests are built with; its program.
pub(super) fn build() -> Result<PathBuf> {
    let args = [
        "--workspace",
        "--test",
        "all",
        "--no-run",
        "--message-format=json-render-diagnostics",
    ];
    let output = cargo("test", &args).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "the suite cannot be built");
    let messages = String::from_utf8_lossy(&output.stdout);
    let program = messages.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let is = |pointer: &str, value: &str| message.pointer(pointer).and_then(Value::as_str) == Some(value);
        let path = message.get("executable")?.as_str()?;
        (is("/target/name", "all") && is("/reason", "compiler-artifact")).then(|| PathBuf::from(path))
    });
    program.context("cargo did not say where the suite is")
}

/// Names of the tests of a program.
pub(super) fn names(program: &Path) -> Result<Vec<String>> {
    let output = Command::new(program)
        .args(["--list", "--format=terse"])
        .output()?;
    ensure!(output.status.success(), "the suite does not list its tests");
    let list = String::from_utf8(output.stdout)?;
    let tests = list.lines().filter_map(|line| line.strip_suffix(": test"));
    Ok(tests.map(str::to_owned).collect())
}

/// Names of the tests whose times are known, the longest first.
pub(super) fn known() -> impl Iterator<Item = &'static str> {
    TIMES.lines().filter_map(|line| line.split_whitespace().nth(1))
}

struct Queue {
    /// In the order in which they begin.
    waiting: Vec<String>,
    /// Which of [`EXCLUSIVE`] are taken.
    taken: [bool; EXCLUSIVE.len()],
    ran: Vec<Ran>,
}

/// Runs tests, the longest first, and shows what they print.
pub(super) fn run(
    program: &Path,
    names: Vec<String>,
    env: &[(&str, String)],
    guard: Option<&mut Guard>,
) -> Result<Vec<Ran>> {
    let queue = Mutex::new(Queue {
        waiting: longest_first(names),
        taken: [false; EXCLUSIVE.len()],
        ran: Vec::new(),
    });
    let (freed, guard) = (Condvar::new(), guard.map(Mutex::new));
    let work = || -> Result<()> {
        while let Some(name) = next(&queue, &freed) {
            let result = run_one(program, &name, env, guard.as_ref());
            let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.set_taken(&name, false);
            freed.notify_all();
            queue.ran.push(result?);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..SIDE_BY_SIDE).map(|_| scope.spawn(work)).collect();
        let ended = workers.into_iter().map(std::thread::ScopedJoinHandle::join);
        ended
            .collect::<std::thread::Result<Vec<_>>>()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            .into_iter()
            .collect::<Result<()>>()
    })?;
    Ok(queue.into_inner().unwrap_or_else(PoisonError::into_inner).ran)
}

impl Queue {
    fn may_begin(&self, name: &str) -> bool {
        let mut groups = EXCLUSIVE.iter().zip(self.taken);
        !groups.any(|(group, taken)| taken && is_in(name, group))
    }

    fn set_taken(&mut self, name: &str, now: bool) {
        let groups = EXCLUSIVE.iter().zip(&mut self.taken);
        for (_, taken) in groups.filter(|(group, _)| is_in(name, group)) {
            *taken = now;
        }
    }
}

fn is_in(name: &str, group: &[&str]) -> bool {
    group.iter().any(|module| name.starts_with(module))
}

/// First those that wait for each other: all of them take longer than any other test.
fn longest_first(mut names: Vec<String>) -> Vec<String> {
    let known: BTreeMap<&str, usize> = known().zip(1..).collect();
    let waits = |name: &str| EXCLUSIVE.iter().any(|group| is_in(name, group));
    names.sort_by_key(|name| (!waits(name), known.get(name.as_str()).copied().unwrap_or(0)));
    names
}

/// The next test that may begin; none when all have begun.
fn next(queue: &Mutex<Queue>, freed: &Condvar) -> Option<String> {
    let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if queue.waiting.is_empty() {
            return None;
        }
        if let Some(place) = queue.waiting.iter().position(|name| queue.may_begin(name)) {
            let name = queue.waiting.remove(place);
            queue.set_taken(&name, true);
            return Some(name);
        }
        queue = freed.wait(queue).unwrap_or_else(PoisonError::into_inner);
    }
}

fn run_one(
    program: &Path,
    name: &str,
    env: &[(&str, String)],
    guard: Option<&Mutex<&mut Guard>>,
) -> Result<Ran> {
    let begun = Instant::now();
    let mut command = Command::new(program);
    command
        .args(["--exact", name, "--include-ignored", "--show-output"])
        .current_dir(root().join("e2e"))
        .envs(env.iter().map(|(key, value)| (*key, value.as_str())))
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let lock = |guard: &Mutex<&mut Guard>, act: &mut dyn FnMut(&mut Guard) -> Result<()>| {
        act(&mut guard.lock().unwrap_or_else(PoisonError::into_inner))
    };
    let mut child = None;
    match guard {
        Some(guard) => lock(guard, &mut |guard| {
            child = Some(guard.start(&mut command)?);
            Ok(())
        })?,
        None => child = Some(command.spawn().context("starting a test")?),
    }
    let child = child.context("a test that was started")?;
    let id = child.id();
    let output = child.wait_with_output()?;
    if let Some(guard) = guard {
        lock(guard, &mut |guard| {
            guard.ended(id);
            Ok(())
        })?;
    }
    let ran = Ran {
        name: name.to_owned(),
        passed: output.status.success(),
        time: begun.elapsed(),
    };
    show(&ran, &String::from_utf8_lossy(&output.stdout));
    Ok(ran)
}

#[expect(clippy::print_stdout, reason = "test output goes to stdout")]
fn show(ran: &Ran, output: &str) {
    let verdict = if ran.passed { "ok" } else { "FAILED" };
    println!(
        "test {} ... {verdict} ({:.1} s)",
        ran.name,
        ran.time.as_secs_f64()
    );
    // What the test printed, without libtest's frame around it.
    let frame = [
        "running 1 test",
        "test ",
        "successes:",
        "failures:",
        "test result:",
    ];
    let lines = output.lines().filter(|line| {
        let line = line.trim();
        !line.is_empty() && line != ran.name && !frame.iter().any(|start| line.starts_with(start))
    });
    for line in lines {
        println!("    {line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_that_wait_for_each_other_begin_first_and_then_the_longest() {
        let names = ["life::x", "gang::two_gangs_y", "new::z"]
            .map(str::to_owned)
            .to_vec();
        assert_eq!(longest_first(names)[0], "gang::two_gangs_y");
        let mut known: Vec<String> = known().map(str::to_owned).collect();
        known.retain(|name| !EXCLUSIVE.iter().any(|group| is_in(name, group)));
        let mut again = known.clone();
        again.reverse();
        assert_eq!(longest_first(again), known);
    }

    #[test]
    fn one_of_a_group_runs_at_a_time() {
        let queue = Mutex::new(Queue {
            waiting: ["burst::a", "outage::b", "life::c"].map(str::to_owned).to_vec(),
            taken: [false; EXCLUSIVE.len()],
            ran: Vec::new(),
        });
        let freed = Condvar::new();
        let began: Vec<String> = (0..2).filter_map(|_| next(&queue, &freed)).collect();
        assert_eq!(began, ["burst::a", "life::c"]);
        queue.lock().unwrap().set_taken("burst::a", false);
        assert_eq!(next(&queue, &freed).as_deref(), Some("outage::b"));
        assert_eq!(next(&queue, &freed), None);
    }

    /// The tests that take `e2e::alone` are in [`EXCLUSIVE`], and no others.
    #[test]
    fn groups_follow_the_suite() {
        let folder = root().join("e2e/tests/all");
        for name in known() {
            let (module, function) = name.split_once("::").unwrap();
            let source = std::fs::read_to_string(folder.join(module).with_extension("rs")).unwrap();
            let Some((_, body)) = source.split_once(&format!("fn {function}()")) else {
                panic!("{name} is not in the suite: remove it from e2e/tests/times.txt");
            };
            let body = body.split("\n}\n").next().unwrap();
            let takes = body.contains("alone(") || body.contains("GangScheduler::of");
            let listed = EXCLUSIVE.iter().any(|group| is_in(name, group));
            assert_eq!(takes, listed, "{name}");
        }
    }
}
