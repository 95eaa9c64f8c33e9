//! `cargo xtask test`: everything, in the order in which it is cheapest to fail.

use anyhow::Result;

use crate::stage::{Stages, cargo, must, root};
use crate::target::{Choice, Target};
use crate::{codegen, tidy};

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only what needs no cluster.
    #[arg(long)]
    no_e2e: bool,
    /// Leave the cluster up at the end.
    #[arg(long)]
    keep_cluster: bool,
    /// Run only the end-to-end tests whose name contains this.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    #[command(flatten)]
    choice: Choice,
}

/// Where a static build of the operator is.
const OPERATOR: &str = "target/x86_64-unknown-linux-gnu/release/trainyard-operator";

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<()> {
    let mut stages = Stages::default();
    let outcome = all(&args, &mut stages);
    stages.summary();
    outcome
}

fn all(args: &Args, stages: &mut Stages) -> Result<()> {
    if args.only.is_none() {
        without_cluster(stages)?;
    }
    if args.no_e2e {
        return Ok(());
    }
    let target = stages.run("cluster up", |_| Target::up(&args.choice))?;
    let outcome = on_cluster(args, stages, &target);
    if args.keep_cluster {
        eprintln!("\nthe cluster stays up; take it down with `cargo xtask cluster down`");
        return outcome;
    }
    let down = stages.run("cluster down", |_| target.down());
    outcome.and(down)
}

fn without_cluster(stages: &mut Stages) -> Result<()> {
    stages.run("generated files are current", |_| codegen::run(codegen::Args::CHECK))?;
    stages.run("house rules", |_| tidy::run(tidy::Args {}))?;
    stages.run("format", |_| must(cargo("fmt", &["--all", "--check"])))?;
    let lints = ["--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"];
    stages.run("lints", |_| must(cargo("clippy", &lints)))?;
    stages.run("tests without a cluster", |stages| {
        stages.cargo_test(&["--workspace", "--exclude", "e2e", "--no-fail-fast"], &[])
    })
}

fn on_cluster(args: &Args, stages: &mut Stages, target: &Target) -> Result<()> {
    stages.run("images", |_| target.load_images())?;
    stages.run("operator installed from deploy/install.yaml", |_| target.install())?;
    let mut env = vec![
        ("KUBECONFIG", target.kubeconfig.display().to_string()),
        ("TRAINYARD_KUBECTL", target.kubectl.display().to_string()),
        ("TRAINYARD_OPERATOR_BIN", root().join(OPERATOR).display().to_string()),
    ];
    if target.is_local() {
        env.push(("TRAINYARD_NODE_IS_HERE", "1".to_owned()));
    }
    let mut cargo_args = vec!["--package", "e2e", "--no-fail-fast", "--"];
    cargo_args.extend(args.only.as_deref());
    cargo_args.push("--test-threads=3");
    stages.run("tests on the cluster", |stages| stages.cargo_test(&cargo_args, &env))
}
