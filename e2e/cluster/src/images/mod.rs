//! Container images without a container engine: what each is made of, and the cache of archives.

mod archive;
mod debian;
mod layer;
mod operator;
mod recipe;
mod sources;

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

pub use archive::{Described, describe};

use crate::progress::Progress;
use crate::{cache, packages};
use archive::{Config, Spec};

/// The image that holds a pod's namespaces open.
pub const PAUSE: &str = "localhost/pause:1";
/// The version of all images of this project.
const TAG: &str = env!("CARGO_PKG_VERSION");
/// Raised when the same inputs give another archive.
const REVISION: &str = "1";
/// The age at which a replaced archive is removed; some are more than a gigabyte.
const OUTDATED_AFTER: Duration = Duration::from_hours(24);

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

/// Makes an image's archive, unless one of the same inputs is in the cache, and returns its path.
///
/// # Errors
/// When a tool is missing or fails, or the cache cannot be written.
pub fn build(image: Image, progress: Progress) -> Result<PathBuf> {
    let folder = cache::folder()?.join("images");
    let _lock = cache::lock(&folder, image.name(), progress)?;
    let debian = |recipe| debian::build(image, recipe, &folder, progress);
    match image {
        Image::Pause => busybox(
            image,
            &folder,
            progress,
            &["sleep"],
            &["/bin/sleep", "infinity"],
            &[],
        ),
        Image::Toolbox => {
            let applets = layer::applets()?;
            let applets: Vec<_> = applets.iter().map(String::as_str).collect();
            busybox(image, &folder, progress, &applets, &[], &["/bin/sh"])
        }
        Image::PytorchDigits => debian(&recipe::PYTORCH_DIGITS),
        Image::TensorflowDigits => debian(&recipe::TENSORFLOW_DIGITS),
        Image::Openmpi4 => debian(&recipe::OPENMPI4),
        Image::Openmpi4Bare => debian(&recipe::OPENMPI4_BARE),
        Image::Openmpi5 => debian(&recipe::OPENMPI5),
        Image::Mpich => debian(&recipe::MPICH),
        Image::Xgboost => debian(&recipe::XGBOOST),
        Image::Jax => debian(&recipe::JAX),
        Image::Paddle => debian(&recipe::PADDLE),
        Image::PaddlePs => debian(&recipe::PADDLE_PS),
        Image::Mxnet => debian(&recipe::MXNET),
        Image::Operator => operator::build(image, &folder, progress),
    }
    .with_context(|| format!("cannot make the image {}", image.name()))
}

fn busybox(
    image: Image,
    folder: &Path,
    progress: Progress,
    applets: &[&str],
    entrypoint: &[&str],
    cmd: &[&str],
) -> Result<PathBuf> {
    packages::ensure(&[packages::BUSYBOX], progress)?;
    let program = layer::busybox()?;
    let content = fs::read(&program).with_context(|| format!("cannot read {}", program.display()))?;
    let config = Config::new(entrypoint, cmd);
    let key = cache::key([
        ("revision", REVISION.as_bytes()),
        ("busybox", &content),
        ("applets", applets.join(" ").as_bytes()),
        ("config", config.text().as_bytes()),
    ]);
    cached(image, folder, &key, |archive| {
        let layer = layer::of_busybox(&content, applets)?;
        archive::write(
            archive,
            &Spec {
                reference: &image.reference(),
                config: &config,
                layers: &[layer],
            },
        )
    })
}

/// The archive of a key: made under another name, then renamed.
fn cached(image: Image, folder: &Path, key: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let archive = folder.join(format!("{}-{key}.tar", image.name()));
    if !archive.exists() {
        let temporary = archive.with_extension("partial");
        make(&temporary)?;
        fs::rename(&temporary, &archive)?;
        remove_outdated(image, folder, &archive)?;
    }
    Ok(archive)
}

/// Removes archives of the image that a changed input has replaced. Young ones stay: another process may be about
/// to load one.
fn remove_outdated(image: Image, folder: &Path, newest: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let (path, entry) = entry.map(|entry| (entry.path(), entry))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let key = name
            .strip_prefix(image.name())
            .and_then(|rest| rest.strip_prefix('-'))
            .and_then(|rest| rest.strip_suffix(".tar"));
        let same_image = key.is_some_and(|key| key.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let old = entry
            .metadata()?
            .modified()?
            .elapsed()
            .is_ok_and(|age| age > OUTDATED_AFTER);
        if same_image && old && path != newest {
            fs::remove_file(path)?;
        }
    }
    Ok(())
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

    #[test]
    fn only_outdated_archives_of_the_image_are_removed() {
        let folder = std::env::temp_dir().join(format!("images-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let long_ago = std::time::SystemTime::now() - OUTDATED_AFTER * 2;
        let file = |name: &str, old: bool| {
            let path = folder.join(name);
            let file = fs::File::create(&path).unwrap();
            if old {
                file.set_modified(long_ago).unwrap();
            }
            path
        };
        let outdated = file("toolbox-00ff.tar", true);
        let kept = [
            file("toolbox-11ff.tar", false),
            file("operator-00ff.tar", true),
            file("toolbox-base-00ff.layer", true),
            file("toolbox-22ff.tar", true),
        ];
        remove_outdated(Image::Toolbox, &folder, &kept[3]).unwrap();
        assert!(!outdated.exists() && kept.iter().all(|path| path.exists()));
        fs::remove_dir_all(&folder).unwrap();
    }
}
