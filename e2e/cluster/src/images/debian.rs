//! Images of Debian packages, Python packages and a few scripts.
//!
//! A recipe names folders of `e2e/images`. Each may hold `packages.txt` (for apt), `requirements.txt` (for pip),
//! `setup.sh` (what is left to do in the root filesystem) and what goes to `/opt/trainyard`: `*.py` and `*.gz`.
//! Packages and scripts are two layers, so that a changed script does not cost the packages again.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::archive::{self, Blob, Config, Layer, Spec};
use super::image::Image;
use super::layer::{self, Entry};
use super::recipe::{Recipe, Suite};
use super::sources;
use super::store::{REVISION, cached};
use crate::cache;
use crate::command::{command, output};
use crate::packages;
use crate::progress::Progress;

/// Where the scripts are in the image.
const SCRIPTS: &str = "opt/trainyard";
/// The latest time of a file: equal packages then make an equal layer.
const EPOCH: &str = "1700000000";
/// What no container reads.
const EXCLUDED: [&str; 5] = [
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/lintian/*",
];

/// The root filesystem of an image.
#[derive(Debug)]
struct Base {
    key: String,
    suite: Suite,
    /// Debian packages, separated by commas.
    packages: String,
    /// Lists of Python packages.
    requirements: Vec<PathBuf>,
    /// Scripts that finish the root filesystem, which they are given as their argument.
    setups: Vec<PathBuf>,
}

impl Base {
    fn of(suite: Suite, parts: &[PathBuf]) -> Result<Self> {
        let (lists, requirements, setups) = (
            present(parts, "packages.txt"),
            present(parts, "requirements.txt"),
            present(parts, "setup.sh"),
        );
        let lists = lists.iter().map(|path| read(path)).collect::<Result<Vec<_>>>()?;
        let packages = lists.iter().flat_map(|list| package_names(list));
        let packages = packages.collect::<Vec<_>>().join(",");
        let files = requirements.iter().chain(&setups);
        let files = files.map(|path| read(path)).collect::<Result<Vec<_>>>()?;
        let excluded = EXCLUDED.join(",");
        let fixed = [
            ("revision", REVISION),
            ("suite", suite.name),
            ("epoch", EPOCH),
            ("excluded", &excluded),
            ("packages", &packages),
        ];
        let texts = fixed
            .into_iter()
            .chain(files.iter().map(|text| ("file", text.as_str())));
        Ok(Self {
            key: cache::key(texts.map(|(label, text)| (label, text.as_bytes()))),
            suite,
            packages,
            requirements,
            setups,
        })
    }
}

fn present(parts: &[PathBuf], name: &str) -> Vec<PathBuf> {
    let paths = parts.iter().map(|part| part.join(name));
    paths.filter(|path| path.exists()).collect()
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Makes the archive.
pub(super) fn build(image: Image, recipe: &Recipe, folder: &Path, progress: Progress) -> Result<PathBuf> {
    let images = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../images")
        .canonicalize()
        .context("the sources of the images are not at hand")?;
    let parts: Vec<_> = recipe.parts.iter().map(|part| images.join(part)).collect();
    let root = Base::of(recipe.suite, &parts)?;
    let scripts = scripts(&parts)?;
    let config = config(recipe);
    let described = config.text();
    let scripts_of_key = scripts
        .iter()
        .map(|(name, content)| (name.as_str(), content.as_slice()));
    let key = cache::key(
        [("base", root.key.as_bytes()), ("config", described.as_bytes())]
            .into_iter()
            .chain(scripts_of_key),
    );
    cached(image, folder, &key, |archive| {
        let layers = [base(image, folder, &root, progress)?, scripts_layer(&scripts)?];
        let step = progress.step(&format!("writing the image {}", image.name()));
        archive::write(
            archive,
            &Spec {
                reference: &image.reference(),
                config: &config,
                layers: &layers,
            },
        )?;
        step.done();
        Ok(())
    })
}

fn config(recipe: &Recipe) -> Config {
    let config = Config::new(&[], recipe.cmd)
        .working_dir(&format!("/{SCRIPTS}"))
        // One thread per process: many replicas share a machine.
        .env("OMP_NUM_THREADS", "1")
        .env("PYTHONUNBUFFERED", "1");
    let env = recipe.env.iter();
    env.fold(config, |config, (name, value)| config.env(name, value))
}

/// One name a line; `#` begins a comment.
fn package_names(list: &str) -> Vec<&str> {
    let lines = list
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).collect()
}

fn scripts(parts: &[PathBuf]) -> Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for part in parts {
        for ending in ["py", "gz"] {
            found.extend(layer::files(part, ending)?);
        }
    }
    Ok(found)
}

fn scripts_layer(scripts: &[(String, Vec<u8>)]) -> Result<Layer> {
    let paths: Vec<_> = scripts
        .iter()
        .map(|(name, _)| format!("{SCRIPTS}/{name}"))
        .collect();
    let mut entries = vec![Entry::Folder(SCRIPTS, 0o755)];
    entries.extend(
        paths
            .iter()
            .zip(scripts)
            .map(|(path, (_, content))| Entry::File(path, 0o755, content)),
    );
    layer::of_entries(&entries)
}

/// The layer of packages, with its digest beside it: hashing it again takes as long as reading it all.
fn base(image: Image, folder: &Path, root: &Base, progress: Progress) -> Result<Layer> {
    let tar = folder.join(format!("{}-base-{}.layer", image.name(), root.key));
    let digest = tar.with_extension("digest");
    if !tar.exists() || !digest.exists() {
        packages::ensure(&[packages::MMDEBSTRAP], progress)?;
        if !root.requirements.is_empty() {
            packages::ensure(&[packages::PIP], progress)?;
        }
        let step = progress.step(&format!("installing packages for the image {}", image.name()));
        let temporary = tar.with_extension("partial.tar");
        bootstrap(image, folder, &temporary, root)?;
        let blob = Blob::of_file(&temporary)?;
        fs::write(&digest, format!("{} {}", blob.sha256, blob.size))?;
        fs::rename(&temporary, &tar)?;
        step.done();
    }
    let text = fs::read_to_string(&digest)?;
    let (sha256, size) = text
        .split_once(' ')
        .with_context(|| format!("{} is damaged", digest.display()))?;
    Ok(Layer::File(
        tar,
        Blob {
            sha256: sha256.to_owned(),
            size: size.trim().parse()?,
        },
    ))
}

fn bootstrap(image: Image, folder: &Path, target: &Path, root: &Base) -> Result<()> {
    let suite = root.suite.name;
    // Images are built side by side.
    let mirrors = sources::mirrors(suite, &folder.join("sources").join(image.name()))?;
    let mut make = command("mmdebstrap", &["--quiet", "--variant=minbase", "--format=tar"]);
    // Nothing mounts a fresh /run in a container, and sshd wants a folder there.
    make.arg("--skip=cleanup/run");
    make.arg(format!("--include={}", root.packages));
    make.args(EXCLUDED.map(|path| format!("--dpkgopt=path-exclude={path}")));
    for requirements in &root.requirements {
        let install = pip_install(root.suite, requirements);
        make.arg(format!("--customize-hook={install}"));
    }
    for setup in &root.setups {
        make.arg(format!("--customize-hook={}", setup.display()));
    }
    make.arg(suite).arg(target).args(mirrors);
    make.env("SOURCE_DATE_EPOCH", EPOCH)
        .env("PIP_CACHE_DIR", folder.join("pip"));
    output(&mut make).map(drop)
}

/// A shell command that installs Python packages into the root filesystem `$1`: with this machine's pip, which knows
/// its registry, for the image's Python. Each package is listed, so none comes along unseen.
fn pip_install(suite: Suite, requirements: &Path) -> String {
    let python = suite.python;
    format!(
        "pip3 install --quiet --disable-pip-version-check --root-user-action=ignore --no-compile --no-deps \
         --only-binary=:all: --python-version={python} --target=\"$1/usr/local/lib/python{python}/dist-packages\" \
         --requirement='{}'",
        requirements.display()
    )
}

#[cfg(test)]
mod tests {
    use super::super::recipe;
    use super::*;

    const SUITE: Suite = recipe::OPENMPI4.suite;

    #[test]
    fn base_follows_packages_and_setup_but_not_scripts() {
        let folder = std::env::temp_dir().join(format!("debian-{}", std::process::id()));
        let key = |file: &str, text: &str| {
            fs::write(folder.join(file), text).unwrap();
            Base::of(SUITE, std::slice::from_ref(&folder)).unwrap().key
        };
        fs::create_dir_all(&folder).unwrap();
        let first = key("packages.txt", "a");
        assert_eq!(first, key("train.py", "changed"));
        assert_eq!(first, key("packages.txt", "a # with a comment"));
        assert_ne!(first, key("packages.txt", "a\nb"));
        assert_ne!(key("setup.sh", ""), key("setup.sh", "changed"));
        assert_ne!(key("requirements.txt", "x==1"), key("requirements.txt", "x==2"));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn package_list_may_hold_comments() {
        assert_eq!(
            package_names("# why\npython3-torch # gloo\n\npython3-numpy\n"),
            ["python3-torch", "python3-numpy"]
        );
    }

    #[test]
    fn parts_are_put_together() {
        let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images");
        let parts =
            |recipe: &Recipe| -> Vec<_> { recipe.parts.iter().map(|part| images.join(part)).collect() };
        let root_of = |recipe: &Recipe| Base::of(recipe.suite, &parts(recipe)).unwrap();
        let (ssh, bare) = (root_of(&recipe::OPENMPI4), root_of(&recipe::OPENMPI4_BARE));
        assert!(ssh.packages.contains("openssh-server") && !bare.packages.contains("ssh"));
        assert_ne!(ssh.key, root_of(&recipe::OPENMPI5).key);
        let names: Vec<_> = scripts(&parts(&recipe::MPICH))
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(
            names,
            [
                "digits.py",
                "digits.csv.gz",
                "allreduce.py",
                "pi.py",
                "ranks.py",
                "train.py"
            ]
        );
    }

    #[test]
    fn recipe_adds_to_the_environment() {
        let text = config(&recipe::OPENMPI4).text();
        assert!(text.contains("OMP_NUM_THREADS=1") && text.contains("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"));
    }
}
