//! `cargo xtask test`: everything, in the order in which it is cheapest to fail.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::guard::Guard;
use crate::stage::{Stages, cargo, must, root};
use crate::target::{Choice, TEST_IMAGES, Target};
use crate::{codegen, deny, permissions, sbom, tidy};

/// In the name of every end-to-end test that adds a node to the cluster.
const SPARE: &str = "spare_node";

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
    /// Also the tests that need Kueue or the scheduler of scheduler-plugins, which are built at the first use and run
    /// beside the cluster.
    #[arg(long)]
    queue: bool,
    #[command(flatten)]
    choice: Choice,
}

/// How the names of tests begin that need a program of another project beside the cluster, or its CRDs.
const NEED_GUESTS: [&str; 3] = ["kueue_", "coscheduling_", "volcano_"];

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut stages = Stages::default();
    let outcome = all(args, &mut stages);
    stages.summary();
    outcome
}

fn all(args: &Args, stages: &mut Stages) -> Result<()> {
    if args.only.is_none() {
        without_cluster(stages);
    }
    if !args.no_e2e {
        with_cluster(args, stages)?;
    }
    stages.verdict()
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

fn with_cluster(args: &Args, stages: &mut Stages) -> Result<()> {
    if let Some(command) = args.choice.down_command().filter(|_| !args.keep_cluster) {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        stages.guard = Some(Guard::set(&words)?);
    }
    let target = stages.run("cluster up", |_| Target::up(&args.choice))?;
    let outcome = on_cluster(args, stages, &target);
    if args.keep_cluster {
        eprintln!("\nthe cluster stays up; take it down with `cargo xtask cluster down`");
        return outcome;
    }
    let down = stages.run("cluster down", |_| target.down());
    if let Some(guard) = stages.guard.take().filter(|_| down.is_ok()) {
        guard.lift()?;
    }
    outcome.and(down)
}

fn on_cluster(args: &Args, stages: &mut Stages, target: &Target) -> Result<()> {
    stages.run("images", |_| target.load_images(TEST_IMAGES))?;
    stages.run("no nodes of an interrupted run", |_| {
        target.remove_further_nodes()
    })?;
    let operator = stages.run("the operator's program", |_| operator())?;
    stages.run("operator installed from deploy/install.yaml", |_| {
        target.install()
    })?;
    if args.queue {
        stages.run("Kueue and scheduler-plugins beside it", |_| target.add_guests())?;
    }
    let mut env = vec![
        ("KUBECONFIG", target.kubeconfig.display().to_string()),
        ("TRAINYARD_KUBECTL", target.kubectl.display().to_string()),
        ("TRAINYARD_OPERATOR_BIN", operator.display().to_string()),
    ];
    let mut cargo_args = vec!["--package", "e2e", "--no-fail-fast", "--"];
    cargo_args.extend(args.only.as_deref());
    cargo_args.extend(["--test-threads=3", "--show-output"]);
    if target.is_local() {
        env.push(("TRAINYARD_NODE_IS_HERE", "1".to_owned()));
        let own = std::env::current_exe().context("where this program is")?;
        env.push(("TRAINYARD_XTASK", own.display().to_string()));
    } else {
        eprintln!("nodes cannot be added to this cluster: tests with {SPARE:?} in their names are left out");
        cargo_args.extend(["--skip", SPARE]);
    }
    if !args.queue {
        cargo_args.extend(NEED_GUESTS.iter().flat_map(|name| ["--skip", name]));
    }
    if args.only.is_none() {
        // As the tests without a cluster were built, so that nothing is built again.
        let conformance = [
            "--workspace",
            "--exclude",
            "e2e",
            "--test",
            "tests",
            "conformance::",
            "--",
            "--ignored",
        ];
        stages.attempt("the API server in memory is like a real one", |stages| {
            stages.cargo_test(&conformance, &[])
        });
    }
    let tests = stages.run("tests on the cluster", |stages| {
        stages.cargo_test(&cargo_args, &env)?;
        let name = args.only.as_deref().unwrap_or_default();
        ensure!(stages.any_test(), "no end-to-end test's name contains {name:?}");
        Ok(())
    });
    let Some(log) = target.audit_log() else {
        eprintln!("this cluster keeps no record of requests for us: permissions are not compared with them");
        return tests;
    };
    let rights = stages.run("permissions are those that were used", |_| {
        permissions::check(&operator, &log, args.only.is_none())
    });
    tests.and(rights)
}

/// The program that is in the operator's image: the same command as for the image, so nothing is built again.
fn operator() -> Result<PathBuf> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut build = cargo(
        "build",
        &[
            "--quiet",
            "--release",
            "--package",
            "operator",
            "--target",
            &target,
        ],
    );
    build
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    must(build)?;
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let program = root()
        .join(folder)
        .join(target)
        .join("release/trainyard-operator");
    program
        .canonicalize()
        .with_context(|| program.display().to_string())
}
