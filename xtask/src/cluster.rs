//! `cargo xtask cluster`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use cluster::{Cluster, Guest, Options, Progress, Toolchain};

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
    /// Start a program of another project beside the cluster: kueue or scheduler-plugins. It is built at its first use.
    Add {
        /// Its name.
        guest: Guest,
    },
    /// End such a program, and remove what was installed for it.
    Remove {
        /// Its name.
        guest: Guest,
    },
    /// Only build the cluster's programs into the cache, and print their folders.
    Build {
        /// Programs beside the cluster to build as well.
        guests: Vec<Guest>,
    },
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
            print_guests();
            if !status.healthy() {
                std::process::exit(1);
            }
        }
        Action::Kubeconfig => println!("{}", running()?.kubeconfig().display()),
        Action::LoadImage { archive } => running()?.load_image(&archive)?,
        Action::Add { guest } => running()?.add(guest, Progress::default())?,
        Action::Remove { guest } => running()?.remove(guest, Progress::default())?,
        Action::Build { guests } => {
            let mut built = vec![Toolchain::ensure_all(Progress::default())?];
            for guest in guests {
                built.push(guest.build(Progress::default())?);
            }
            for folder in built.iter().flat_map(Toolchain::folders) {
                println!("{}", folder.display());
            }
        }
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "as above")]
fn print_guests() {
    let cluster = Cluster::open();
    for guest in Guest::ALL {
        if cluster.as_ref().is_some_and(|cluster| cluster.has(guest)) {
            println!("  {:<24} runs", guest.name());
        }
    }
}

/// The running cluster, or advice.
pub(crate) fn running() -> Result<Cluster> {
    Cluster::open().context("no cluster runs: `cargo xtask cluster up`")
}
