//! `cargo xtask image`.

use std::path::PathBuf;

use anyhow::Result;
use cluster::Progress;
use cluster::images::{self, Image};

use crate::cluster::running;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Make the OCI archive of an image (or of all) and print its path.
    Build {
        /// pause, toolbox, pytorch-digits, tensorflow-digits, openmpi4, openmpi4-bare, openmpi5, mpich, xgboost, jax,
        /// paddle, paddle-ps, mxnet, operator or all.
        name: String,
    },
    /// Make it and load it into the running cluster.
    Load {
        /// pause, toolbox, pytorch-digits, tensorflow-digits, openmpi4, openmpi4-bare, openmpi5, mpich, xgboost, jax,
        /// paddle, paddle-ps, mxnet, operator or all.
        name: String,
    },
}

/// Runs the command.
#[expect(clippy::print_stdout, reason = "the paths are what the user asked for")]
pub(crate) fn run(args: Args) -> Result<()> {
    match args.action {
        Action::Build { name } => {
            for image in named(&name)? {
                println!("{}", build(image)?.display());
            }
        }
        Action::Load { name } => {
            let cluster = running()?;
            for image in named(&name)? {
                let archive = build(image)?;
                let step = Progress::default().step(&format!("loading {}", image.reference()));
                cluster.load_image(&archive)?;
                step.done();
            }
        }
    }
    Ok(())
}

fn build(image: Image) -> Result<PathBuf> {
    images::build(image, Progress::default())
}

fn named(name: &str) -> Result<Vec<Image>> {
    if name == "all" {
        Ok(Image::ALL.to_vec())
    } else {
        Ok(vec![name.parse()?])
    }
}
