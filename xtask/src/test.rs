//! `cargo xtask test`: everything, in the order in which it is cheapest to fail.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Result, anyhow};

use crate::e2e::{self, Ahead};
use crate::programs::{self, Program, Queue, Test};
use crate::stage::{Stages, cargo, must};
use crate::target::Choice;
use crate::{deny, sbom, seed, tidy};

/// Tests that call cargo.
const CALL_CARGO: [&str; 1] = ["new_kind::tests::a_new_kind_is_one_of_the_registry_at_once"];

/// Arguments.
#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "they are flags")]
pub(crate) struct Args {
    /// Only what needs no cluster.
    #[arg(long)]
    no_e2e: bool,
    /// Only what needs a cluster.
    #[arg(long, conflicts_with = "no_e2e")]
    e2e: bool,
    /// Leave the cluster up at the end.
    #[arg(long)]
    keep_cluster: bool,
    /// Run only the end-to-end tests whose name contains this; all of them if it is empty.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Everything that a usual run takes a share of, and the operator as it ships.
    #[arg(long)]
    all: bool,
    /// Also the tests that need Kueue or the scheduler of scheduler-plugins, which are built at the first use and run
    /// beside the cluster.
    #[arg(long)]
    queue: bool,
    #[command(flatten)]
    choice: Choice,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut stages = Stages::new();
    if let Some(time) = built_before() {
        stages.before("this program and the tests are built", time);
    }
    let outcome = all(args, &mut stages);
    stages.summary();
    outcome
}

fn all(args: &Args, stages: &mut Stages) -> Result<()> {
    let suite = args.suite();
    let ahead = (!args.no_e2e).then(|| Ahead::start(&suite));
    if args.only.is_none() && !args.e2e {
        without_cluster(args, stages)?;
    }
    if let Some(ahead) = ahead {
        ahead.finish(stages)?;
        e2e::run(&suite, stages)?;
    }
    stages.verdict()
}

impl Args {
    fn suite(&self) -> e2e::Args<'_> {
        e2e::Args {
            only: self.only.as_deref(),
            queue: self.queue,
            all: self.all,
            keep_cluster: self.keep_cluster,
            choice: &self.choice,
        }
    }
}

/// Time that `.ci/run` took to build this program together with the tests: it says when it began.
fn built_before() -> Option<Duration> {
    let begun: u64 = std::env::var("TRAINYARD_BEGUN").ok()?.parse().ok()?;
    UNIX_EPOCH.checked_add(Duration::from_secs(begun))?.elapsed().ok()
}

/// What fails here does not keep the rest from being tried: who waits for minutes wants to know all.
fn without_cluster(args: &Args, stages: &mut Stages) -> Result<()> {
    let mut env = BTreeMap::new();
    if !args.all {
        let seed = seed::today()?;
        eprintln!(
            "long tests take the share of {}={seed}; `--all` runs all of them",
            seed::VARIABLE
        );
        env.insert(seed::VARIABLE, seed.to_string());
    }
    let Ok(programs) = stages.run("all tests are built", |_| programs::build()) else {
        checks(stages);
        return Ok(());
    };
    stages.attempt(
        "tests without a cluster, and beside them what follows",
        |stages| {
            let (cargo, tests) = tests(&programs)?;
            let (cargo, tests) = (Queue::new(cargo, env.clone()), Queue::new(tests, env));
            let beside = std::thread::scope(|scope| {
                // What calls cargo has one thread, since cargo does one thing at a time in one folder.
                let checks = scope.spawn(|| {
                    let mut beside = Stages::new();
                    checks(&mut beside);
                    cargo.work().and_then(|()| tests.work()).map(|()| beside)
                });
                let others: Vec<_> = (1..processors()).map(|_| scope.spawn(|| tests.work())).collect();
                for worker in others {
                    worker.join().map_err(|_| anyhow!("a thread ended"))??;
                }
                checks.join().map_err(|_| anyhow!("a thread ended"))?
            })?;
            stages.add(beside);
            let ran = cargo.ran().into_iter().chain(tests.ran()).collect();
            stages.tests("tests without a cluster", ran)
        },
    );
    Ok(())
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Tests that call cargo, and all others.
type Tests<'a> = (Vec<Test<'a>>, Vec<Test<'a>>);

fn tests(programs: &[Program]) -> Result<Tests<'_>> {
    let mut all = Vec::new();
    for program in programs.iter().filter(|program| !program.needs_cluster()) {
        let tests = program.tests()?;
        eprintln!("{:>5} tests of {}", tests.len(), program.name());
        all.extend(tests);
    }
    eprintln!("{:>5} tests in all", all.len());
    Ok(all
        .into_iter()
        .partition(|test| CALL_CARGO.contains(&&*test.name)))
}

/// Everything that is no test. The order is from the cheapest to the most expensive.
fn checks(stages: &mut Stages) {
    stages.attempt("format", |_| must(cargo("fmt", &["--all", "--check"])));
    stages.attempt("licences, unwanted crates and sources", |_| {
        deny::run(deny::Args {})
    });
    stages.attempt("list of the operator's dependencies (SBOM)", |_| sbom::check());
    let lints = [
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "--deny",
        "warnings",
    ];
    stages.attempt("lints", |_| must(cargo("clippy", &lints)));
    stages.attempt("house rules", |_| tidy::run(tidy::Args {}));
}
