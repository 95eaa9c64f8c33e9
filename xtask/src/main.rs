//! Project automation. `cargo xtask --help` lists what there is; CI and the justfile call the same commands.

mod breakages;
mod cluster;
mod codegen;
mod demo;
mod deny;
mod e2e;
mod guard;
mod image;
mod new_kind;
mod permissions;
mod programs;
mod sbom;
mod seed;
mod stage;
mod structure;
mod target;
mod test;
mod tidy;

use clap::{Parser, Subcommand};

/// Project automation.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A real Kubernetes on this machine, without Docker.
    Cluster(cluster::Args),
    /// Build container images without a container engine, and load them into the cluster.
    Image(image::Args),
    /// Write the generated files (CRDs, RBAC, install.yaml); with --check, fail if they are stale.
    Codegen(codegen::Args),
    /// Check the house rules that a machine can check: sizes, purity of crates, label keys only in names.rs.
    Tidy(tidy::Args),
    /// Show the shape of the code: circles of files, the longest functions and files, the walk of `Observed`.
    Structure(structure::Args),
    /// Lay out the crate of a new kind of job, and enter it in the registry.
    NewKind(new_kind::Args),
    /// Break the operator on purpose, one bug at a time, and see that a test fails for each (crates/sim/breakages.yaml).
    Breakages(breakages::Args),
    /// Check licences, unwanted crates and sources of all dependencies (deny.toml).
    Deny(deny::Args),
    /// List what the operator's binary is made of (SBOM, CycloneDX).
    Sbom(sbom::Args),
    /// Run a real training job to Succeeded on a local cluster.
    Demo(demo::Args),
    /// Run all tests.
    Test(test::Args),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Cluster(args) => cluster::run(args),
        Command::Image(args) => image::run(args),
        Command::Codegen(args) => codegen::run(args),
        Command::Tidy(args) => tidy::run(args),
        Command::Structure(args) => structure::run(&args),
        Command::NewKind(args) => new_kind::run(&args),
        Command::Breakages(args) => breakages::run(&args),
        Command::Deny(args) => deny::run(args),
        Command::Sbom(args) => sbom::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => test::run(&args),
    }
}
