//! The cluster part of `cargo xtask test`.

mod args;
mod runner;
mod selection;

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow};
use cluster::images;
use cluster::{Progress, Toolchain};

pub(crate) use self::args::Args;
use self::selection::Selection;
use crate::guard::Guard;
use crate::permissions;
use crate::stage::Stages;
use crate::target::Target;

/// The cluster's programs and the images, made while the tests without a cluster run. There is nothing to do when they are
/// in the cache.
pub(crate) struct Ahead(JoinHandle<Result<()>>);

impl Ahead {
    /// Begins.
    pub(crate) fn start(args: &Args<'_>) -> Self {
        let local = args.choice.is_local();
        // The suite is not built yet: tests that are new show their images later.
        let known = runner::known().map(str::to_owned).collect();
        let selection = Selection::new(known, args);
        Self(std::thread::spawn(move || {
            if local {
                Toolchain::ensure_all(Progress::Lines)?;
                for image in selection.map(|selection| selection.images()).unwrap_or_default() {
                    images::build(image, Progress::Lines)?;
                }
            }
            Ok(())
        }))
    }

    /// Waits until all is there.
    pub(crate) fn finish(self, stages: &mut Stages) -> Result<()> {
        stages.run(
            "programs of the cluster and images, made beside the stages above",
            |_| self.0.join().map_err(|_| anyhow!("a thread ended"))?,
        )
    }
}

/// What the tests run on.
struct Ready {
    target: Target,
    operator: PathBuf,
    suite: PathBuf,
    /// Names of the tests.
    names: Vec<String>,
}

/// Brings a cluster up and runs the suite on it.
pub(crate) fn run(args: &Args<'_>, stages: &mut Stages) -> Result<()> {
    if let Some(command) = args.choice.down_command().filter(|_| !args.keep_cluster) {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        stages.guard = Some(Guard::set(&words)?);
    }
    let ready = stages.run(
        "cluster up with its images, and beside it the operator's program and the suite",
        |_| prepare(args),
    )?;
    let outcome = on_cluster(args, stages, &ready);
    if args.keep_cluster {
        eprintln!("\nthe cluster stays up; take it down with `cargo xtask cluster down`");
        return outcome;
    }
    let down = stages.run("cluster down", |_| ready.target.down());
    if let Some(guard) = stages.guard.take().filter(|_| down.is_ok()) {
        guard.lift()?;
    }
    outcome.and(down)
}

/// The cluster waits for disks and cargo for processors, so both are done side by side.
fn prepare(args: &Args<'_>) -> Result<Ready> {
    let suite = runner::build()?;
    let selection = Selection::new(runner::names(&suite)?, args)?;
    selection.describe(args);
    std::thread::scope(|scope| {
        let target = scope.spawn(|| {
            let target = Target::up_beside(args.choice)?;
            target.load_images(&selection.images())?;
            target.remove_further_nodes()?;
            Ok(target)
        });
        let operator = images::operator_program(args.profile(), Progress::Lines);
        let target: Result<Target> = target.join().map_err(|_| anyhow!("a thread ended"))?;
        let ready = Ready {
            target: target?,
            operator: operator?,
            suite,
            names: selection.names.clone(),
        };
        ready.target.load_operator(&ready.operator)?;
        Ok(ready)
    })
}

fn on_cluster(args: &Args<'_>, stages: &mut Stages, ready: &Ready) -> Result<()> {
    let target = &ready.target;
    stages.run("operator installed from deploy/install.yaml", |_| {
        target.install()
    })?;
    if args.queue {
        stages.run("Kueue and scheduler-plugins beside it", |_| target.add_guests())?;
    }
    if args.is_whole() {
        conformance(stages);
    }
    let env = environment(ready)?;
    let tests = stages.run("tests on the cluster", |stages| {
        let ran = runner::run(&ready.suite, ready.names.clone(), &env, stages.guard.as_mut())?;
        stages.tests("tests on the cluster", ran)
    });
    let Some(log) = target.audit_log() else {
        eprintln!("this cluster keeps no record of requests for us: permissions are not compared with them");
        return tests;
    };
    let rights = stages.run("permissions are those that were used", |_| {
        permissions::check(&ready.operator, &log, args.is_whole())
    });
    tests.and(rights)
}

fn conformance(stages: &mut Stages) {
    // As the tests without a cluster were built, so that nothing is built again.
    let args = [
        "--workspace",
        "--test",
        "tests",
        "conformance::",
        "--",
        "--ignored",
    ];
    stages.attempt("the API server in memory is like a real one", |stages| {
        stages.cargo_test(&args, &[])
    });
}

fn environment(ready: &Ready) -> Result<Vec<(&'static str, String)>> {
    let show = |path: &Path| path.display().to_string();
    let mut env = vec![
        ("KUBECONFIG", show(&ready.target.kubeconfig)),
        ("TRAINYARD_KUBECTL", show(&ready.target.kubectl)),
        ("TRAINYARD_OPERATOR_BIN", show(&ready.operator)),
    ];
    if ready.target.is_local() {
        env.push(("TRAINYARD_NODE_IS_HERE", "1".to_owned()));
        let own = std::env::current_exe().context("where this program is")?;
        env.push(("TRAINYARD_XTASK", show(&own)));
    }
    Ok(env)
}
