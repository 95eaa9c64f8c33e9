//! The installed operator with another gang scheduler, for as long as a test wants it.

use std::process::{Command, Output, Stdio};

use crate::{SYSTEM, kubectl, must, text, wait_for};

const DEPLOYMENT: &str = "deployment/trainyard-operator";
const VARIABLE: &str = "TRAINYARD_GANG_SCHEDULER";

/// The operator with a gang scheduler of a test's own, and as it was installed when the test ends, however it ends. One
/// test at a time has it.
#[derive(Debug)]
pub struct GangScheduler(());

impl GangScheduler {
    /// Gives the operator the rights that `trainyard-operator rbac` prints for this word, starts it with the word, and waits
    /// until it leads.
    pub fn of(word: &str) -> Self {
        let scheduler = Self(());
        let granted = grant(word);
        assert!(granted.status.success(), "rights: {}", text(&granted.stderr));
        must(&set(&format!("{VARIABLE}={word}")));
        must(&rollout());
        wait_for(&format!("an operator with {word} to lead"), || {
            (word_of_leader()? == word).then_some(())
        });
        scheduler
    }
}

impl Drop for GangScheduler {
    fn drop(&mut self) {
        let run = |args: &[&str]| kubectl(args).output().expect("kubectl starts");
        for output in [run(&set(&format!("{VARIABLE}-"))), run(&rollout()), grant("auto")] {
            if !output.status.success() {
                println!(
                    "the operator keeps the test's gang scheduler: {}",
                    text(&output.stderr)
                );
            }
        }
    }
}

fn set(variable: &str) -> [&str; 6] {
    ["-n", SYSTEM, "set", "env", DEPLOYMENT, variable]
}

fn rollout() -> [&'static str; 6] {
    ["-n", SYSTEM, "rollout", "status", DEPLOYMENT, "--timeout=120s"]
}

/// Applies what the operator prints of its rights.
fn grant(word: &str) -> Output {
    let program = std::env::var_os("TRAINYARD_OPERATOR_BIN")
        .expect("no operator: run `cargo xtask test`, or set TRAINYARD_OPERATOR_BIN to a build of it");
    let mut print = Command::new(program)
        .args(["rbac", &format!("--gang-scheduler={word}")])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the operator starts");
    let rights = print.stdout.take().expect("a pipe");
    let applied = kubectl(&["apply", "-f", "-"]).stdin(rights).output();
    assert!(print.wait().expect("it ends").success(), "no rights for {word}");
    applied.expect("kubectl starts")
}

/// The word with which the pod runs that leads.
fn word_of_leader() -> Option<String> {
    let get = |what: &[&str]| {
        let output = kubectl(&[&["-n", SYSTEM, "get"], what].concat()).output().ok()?;
        output.status.success().then(|| text(&output.stdout))
    };
    let holder = get(&[
        "lease",
        "trainyard-operator",
        "-o",
        "jsonpath={.spec.holderIdentity}",
    ])?;
    let (pod, _) = holder.rsplit_once('_')?;
    let value = format!("jsonpath={{.spec.containers[0].env[?(@.name==\"{VARIABLE}\")].value}}");
    get(&["pod", pod, "-o", &value])
}
