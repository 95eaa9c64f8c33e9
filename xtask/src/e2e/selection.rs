//! Which tests run, and which images they need.

use anyhow::{Result, ensure};
use cluster::images::Image;

use super::Args;

/// In the name of every end-to-end test that adds a node to the cluster.
const SPARE: &str = "spare_node";
/// How the names of tests begin that need a program of another project beside the cluster, or its CRDs.
const NEED_GUESTS: [&str; 3] = ["kueue_", "coscheduling_", "volcano_"];

/// Images besides the operator's.
const IMAGES: [Image; 12] = [
    Image::Toolbox,
    Image::PytorchDigits,
    Image::TensorflowDigits,
    Image::Openmpi4,
    Image::Openmpi4Bare,
    Image::Openmpi5,
    Image::Mpich,
    Image::Xgboost,
    Image::Jax,
    Image::Paddle,
    Image::PaddlePs,
    Image::Mxnet,
];

/// Images that tests run in pods.
pub(super) fn images(_only: Option<&str>) -> Vec<Image> {
    IMAGES.to_vec()
}

/// The tests of a run.
pub(super) struct Selection {
    /// Their names.
    pub(super) names: Vec<String>,
}

impl Selection {
    /// Chooses among all tests of the suite.
    pub(super) fn new(mut names: Vec<String>, args: &Args<'_>, local: bool) -> Result<Self> {
        if !local {
            eprintln!(
                "nodes cannot be added to this cluster: tests with {SPARE:?} in their names are left out"
            );
            names.retain(|name| !name.contains(SPARE));
        }
        if !args.queue {
            names.retain(|name| !NEED_GUESTS.iter().any(|part| name.contains(part)));
        }
        let only = args.only.unwrap_or_default();
        names.retain(|name| name.contains(only));
        ensure!(!names.is_empty(), "no end-to-end test's name contains {only:?}");
        Ok(Self { names })
    }

    /// Says what runs.
    pub(super) fn describe(&self) {
        eprintln!("{} tests", self.names.len());
    }
}
