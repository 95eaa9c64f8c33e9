//! `cargo xtask cluster`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use cluster::{Cluster, Options, Progress, Toolchain};

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Bring the cluster up; nothing happens when it is up and healthy. Needs root.
    Up,
    /// Take it down and remove every trace. Needs root.
    Down,
    /// Say which parts run; the exit code is 1 when the cluster cannot be used.
    Status,
    /// Print the path of the administrator's kubeconfig.
    Kubeconfig,
    /// Load an OCI archive into the node.
    LoadImage {
        /// The archive.
        archive: PathBuf,
    },
    /// Only build the cluster's programs into the cache, and print their folders.
    Build,
}

/// Runs the command.
#[expect(
    clippy::print_stdout,
    reason = "what the user asked for goes to stdout, progress to stderr"
)]
pub(crate) fn run(args: Args) -> Result<()> {
    match args.action {
        Action::Up => {
            Cluster::up(&Options::default())?;
            print!("{}", Cluster::status());
        }
        Action::Down => Cluster::down(Progress::default())?,
        Action::Status => {
            let status = Cluster::status();
            print!("{status}");
            if !status.healthy() {
                std::process::exit(1);
            }
        }
        Action::Kubeconfig => println!("{}", running()?.kubeconfig().display()),
        Action::LoadImage { archive } => running()?.load_image(&archive)?,
        Action::Build => {
            for folder in Toolchain::ensure_all(Progress::default())?.folders() {
                println!("{}", folder.display());
            }
        }
    }
    Ok(())
}

/// The running cluster, or advice.
pub(crate) fn running() -> Result<Cluster> {
    Cluster::open().context("no cluster runs: `cargo xtask cluster up`")
}
