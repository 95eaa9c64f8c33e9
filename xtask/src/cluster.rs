//! `cargo xtask cluster`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use cluster::images::Image;
use cluster::{Cluster, Guest, NodeOptions, Options, Progress, Taint, Toolchain};

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
    /// Load an OCI archive into the first node.
    LoadImage {
        /// The archive.
        archive: PathBuf,
    },
    /// Further nodes, to try the loss of one. Needs root.
    Node {
        #[command(subcommand)]
        action: NodeAction,
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

#[derive(clap::Subcommand)]
enum NodeAction {
    /// Join a node and wait until it is Ready; one of the same name goes first.
    Add {
        /// The node's name.
        name: String,
        /// What keeps pods away from it.
        #[arg(long, value_name = "KEY=VALUE:EFFECT")]
        taint: Vec<Taint>,
        /// An image that it shall have beside the pause image.
        #[arg(long, value_name = "NAME")]
        image: Vec<Image>,
    },
    /// End all that runs on a node at once, as a loss of power would; the cluster is told nothing.
    Kill {
        /// The node's name.
        name: String,
    },
    /// Remove a node and every trace of it; nothing happens when there is none.
    Remove {
        /// The node's name.
        name: String,
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
        Action::Node { action } => node(action)?,
        Action::Add { guest } => running()?.add(guest, Progress::default())?,
        Action::Remove { guest } => running()?.dismiss(guest, Progress::default())?,
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

fn node(action: NodeAction) -> Result<()> {
    match action {
        NodeAction::Add { name, taint, image } => {
            let options = NodeOptions {
                taints: taint,
                images: image,
                ..NodeOptions::default()
            };
            running()?.add_node(&name, &options)
        }
        NodeAction::Kill { name } => running()?.kill_node(&name, Progress::default()),
        NodeAction::Remove { name } => Cluster::remove_node(&name, Progress::default()),
    }
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
