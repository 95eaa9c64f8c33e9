//! Container images without a container engine: what each is made of, and the cache of archives.

mod archive;
mod debian;
mod image;
mod layer;
mod operator;
mod recipe;
mod sources;
mod store;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub use archive::{Described, describe};
pub use image::{Image, PAUSE};
pub use operator::{Profile, operator_image, operator_program};

use crate::progress::Progress;
use crate::{cache, packages};
use archive::{Config, Spec};
use store::{REVISION, cached};

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
        Image::Operator => {
            operator_program(Profile::Release, progress).and_then(|path| operator_image(&path))
        }
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
