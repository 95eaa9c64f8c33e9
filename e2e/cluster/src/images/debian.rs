//! Images of Debian packages and a few scripts: `e2e/images/<name>/{packages.txt,setup.sh,*.py}`.
//!
//! Packages and scripts are two layers, so that a changed script does not cost the packages again.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::archive::{self, Blob, Config, Layer, Spec};
use super::layer::{self, Entry};
use super::{Image, REVISION, cached};
use crate::cache;
use crate::command::{command, output};
use crate::packages;
use crate::progress::Progress;

const SUITE: &str = "bookworm";
/// Where the scripts are in the image.
const SCRIPTS: &str = "opt/trainyard";
/// What no container reads.
const EXCLUDED: [&str; 5] = [
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/lintian/*",
];

/// The root filesystem of an image.
struct Base {
    key: String,
    /// Packages, separated by commas.
    packages: String,
    /// A script that finishes the root filesystem, which it is given as its argument.
    setup: PathBuf,
}

impl Base {
    fn of(source: &Path) -> Result<Self> {
        let read =
            |path: &Path| fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
        let packages = package_names(&read(&source.join("packages.txt"))?).join(",");
        let setup = source.join("setup.sh");
        let excluded = EXCLUDED.join(",");
        let script = read(&setup)?;
        let parts = [
            ("revision", REVISION),
            ("suite", SUITE),
            ("packages", &packages),
            ("excluded", &excluded),
            ("setup", &script),
        ];
        Ok(Self {
            key: cache::key(parts.map(|(label, text)| (label, text.as_bytes()))),
            packages,
            setup,
        })
    }
}

/// Makes the archive.
pub(super) fn build(image: Image, folder: &Path, progress: Progress) -> Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../images")
        .join(image.name())
        .canonicalize()
        .context("the sources of the images are not at hand")?;
    let root = Base::of(&source)?;
    let scripts = layer::files(&source, "py")?;
    let command = format!("/{SCRIPTS}/train.py");
    let config = Config::new(&[], &["python3", &command])
        .working_dir(&format!("/{SCRIPTS}"))
        // One thread per process: many replicas share a machine.
        .env("OMP_NUM_THREADS", "1")
        .env("PYTHONUNBUFFERED", "1");
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

/// One name a line; `#` begins a comment.
fn package_names(list: &str) -> Vec<&str> {
    let lines = list
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).collect()
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
        let step = progress.step(&format!(
            "installing Debian packages for the image {}",
            image.name()
        ));
        let temporary = tar.with_extension("partial.tar");
        bootstrap(folder, &temporary, root)?;
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

fn bootstrap(folder: &Path, target: &Path, root: &Base) -> Result<()> {
    let sources = folder.join("sources");
    fs::create_dir_all(&sources)?;
    let mirrors = mirrors(&sources)?;
    let mut make = command("mmdebstrap", &["--quiet", "--variant=minbase", "--format=tar"]);
    make.arg(format!("--include={}", root.packages));
    make.args(EXCLUDED.map(|path| format!("--dpkgopt=path-exclude={path}")));
    make.arg(format!("--customize-hook={}", root.setup.display()));
    make.arg(SUITE).arg(target).args(mirrors);
    output(&mut make).map(drop)
}

/// This machine's own package sources for the suite, as files for mmdebstrap; none on another distribution,
/// where mmdebstrap falls back to its default.
fn mirrors(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut kept = Vec::new();
    let mut candidates = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        candidates.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
    }
    candidates.sort();
    for file in candidates {
        let deb822 = match file.extension().and_then(|extension| extension.to_str()) {
            Some("sources") => true,
            Some("list") => false,
            _ => continue,
        };
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        let text = if deb822 {
            stanzas_of(SUITE, &text)
        } else {
            lines_of(SUITE, &text)
        };
        if let (false, Some(name)) = (text.is_empty(), file.file_name()) {
            let copy = folder.join(name);
            fs::write(&copy, text + "\n")?;
            kept.push(copy);
        }
    }
    if kept.iter().any(|path| path.to_string_lossy().contains(' ')) {
        bail!("the cache folder must not have blanks in its path");
    }
    Ok(kept)
}

fn is_of(suite: &str, name: &str) -> bool {
    name.strip_prefix(suite)
        .is_some_and(|rest| matches!(rest, "" | "-updates" | "-security"))
}

fn stanzas_of(suite: &str, text: &str) -> String {
    let stanzas = text.split("\n\n").filter(|stanza| {
        let mut suites = stanza.lines().filter_map(|line| line.strip_prefix("Suites:"));
        suites.any(|line| line.split_whitespace().any(|name| is_of(suite, name)))
    });
    stanzas.map(str::trim).collect::<Vec<_>>().join("\n\n")
}

fn lines_of(suite: &str, text: &str) -> String {
    let lines = text
        .lines()
        .filter(|line| line.starts_with("deb ") && line.split_whitespace().any(|word| is_of(suite, word)));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_sources_are_left_out() {
        let text = "Types: deb\nURIs: http://m/debian\nSuites: bookworm bookworm-updates\n\nTypes: deb\nURIs: http://x\nSuites: nodistro\n";
        assert_eq!(stanzas_of("bookworm", text).matches("Suites:").count(), 1);
        let lines =
            "deb http://m bookworm main\ndeb-src http://m bookworm main\ndeb http://x cloud-bookworm main\n";
        assert_eq!(lines_of("bookworm", lines), "deb http://m bookworm main");
    }

    #[test]
    fn base_follows_packages_and_setup_but_not_scripts() {
        let folder = std::env::temp_dir().join(format!("debian-{}", std::process::id()));
        let key = |file: &str, text: &str| {
            fs::write(folder.join(file), text).unwrap();
            Base::of(&folder).unwrap().key
        };
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("setup.sh"), "").unwrap();
        let first = key("packages.txt", "a");
        assert_eq!(first, key("train.py", "changed"));
        assert_eq!(first, key("packages.txt", "a # with a comment"));
        assert_ne!(first, key("packages.txt", "a\nb"));
        assert_ne!(key("setup.sh", ""), key("setup.sh", "changed"));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn package_list_may_hold_comments() {
        assert_eq!(
            package_names("# why\npython3-torch # gloo\n\npython3-numpy\n"),
            ["python3-torch", "python3-numpy"]
        );
    }
}
