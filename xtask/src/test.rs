//! `cargo xtask test`: everything, in the order in which it is cheapest to fail.

use anyhow::Result;

use crate::e2e::{self, Ahead};
use crate::stage::{Stages, cargo, must};
use crate::target::Choice;
use crate::{codegen, deny, sbom, tidy};

/// Arguments.
#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "they are flags")]
pub(crate) struct Args {
    /// Only what needs no cluster.
    #[arg(long)]
    no_e2e: bool,
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
    let mut stages = Stages::default();
    let outcome = all(args, &mut stages);
    stages.summary();
    outcome
}

fn all(args: &Args, stages: &mut Stages) -> Result<()> {
    let suite = args.suite();
    let ahead = (!args.no_e2e).then(|| Ahead::start(&suite));
    if args.only.is_none() {
        without_cluster(stages);
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

/// What fails here does not keep the rest from being tried: who waits for minutes wants to know all.
fn without_cluster(stages: &mut Stages) {
    let check = codegen::Args::CHECK;
    stages.attempt("generated files are current", |_| codegen::run(check));
    stages.attempt("house rules", |_| tidy::run(tidy::Args {}));
    stages.attempt("licences, unwanted crates and sources", |_| {
        deny::run(deny::Args {})
    });
    stages.attempt("list of the operator's dependencies (SBOM)", |_| sbom::check());
    stages.attempt("format", |_| must(cargo("fmt", &["--all", "--check"])));
    let lints = [
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "--deny",
        "warnings",
    ];
    stages.attempt("lints", |_| must(cargo("clippy", &lints)));
    let tests = ["--workspace", "--exclude", "e2e", "--no-fail-fast"];
    stages.attempt("tests without a cluster", |stages| stages.cargo_test(&tests, &[]));
}
