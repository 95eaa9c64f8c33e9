//! The images of this project, by name.

use std::str::FromStr;

use anyhow::{Result, anyhow};

/// The image that holds a pod's namespaces open.
pub const PAUSE: &str = "localhost/pause:1";
/// The version of all images of this project.
const TAG: &str = env!("CARGO_PKG_VERSION");

/// An image of this project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// Sleeps; every pod has one.
    Pause,
    /// A shell with small tools, for quick tests.
    Toolbox,
    /// PyTorch and a training script on real data.
    PytorchDigits,
    /// TensorFlow and training scripts on real data.
    TensorflowDigits,
    /// Open MPI 4 with ssh.
    Openmpi4,
    /// Open MPI 4 without ssh.
    Openmpi4Bare,
    /// Open MPI 5 with ssh.
    Openmpi5,
    /// MPICH with ssh.
    Mpich,
    /// XGBoost and a training script on real data.
    Xgboost,
    /// JAX and training scripts on real data.
    Jax,
    /// PaddlePaddle and a training script on real data.
    Paddle,
    /// An older PaddlePaddle, with parameter servers.
    PaddlePs,
    /// MXNet and a training script on real data.
    Mxnet,
    /// The operator.
    Operator,
}

impl Image {
    /// All images.
    pub const ALL: [Self; 14] = [
        Self::Pause,
        Self::Toolbox,
        Self::PytorchDigits,
        Self::TensorflowDigits,
        Self::Openmpi4,
        Self::Openmpi4Bare,
        Self::Openmpi5,
        Self::Mpich,
        Self::Xgboost,
        Self::Jax,
        Self::Paddle,
        Self::PaddlePs,
        Self::Mxnet,
        Self::Operator,
    ];

    /// The name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Toolbox => "toolbox",
            Self::PytorchDigits => "pytorch-digits",
            Self::TensorflowDigits => "tensorflow-digits",
            Self::Openmpi4 => "openmpi4",
            Self::Openmpi4Bare => "openmpi4-bare",
            Self::Openmpi5 => "openmpi5",
            Self::Mpich => "mpich",
            Self::Xgboost => "xgboost",
            Self::Jax => "jax",
            Self::Paddle => "paddle",
            Self::PaddlePs => "paddle-ps",
            Self::Mxnet => "mxnet",
            Self::Operator => "operator",
        }
    }

    /// The reference that pods state.
    #[must_use]
    pub fn reference(self) -> String {
        match self {
            Self::Pause => PAUSE.to_owned(),
            _ => format!("docker.io/trainyard/{}:{TAG}", self.name()),
        }
    }
}

impl FromStr for Image {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|image| image.name() == name)
            .ok_or_else(|| {
                let names = Self::ALL.map(Self::name).join(", ");
                anyhow!("there is no image {name}; the images are {names}")
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_is_found_by_its_name() {
        for image in Image::ALL {
            assert_eq!(image.name().parse::<Image>().unwrap(), image);
            assert!(image.reference().contains(image.name()));
        }
        assert!("nothing".parse::<Image>().is_err());
    }
}
