//! OCI archives: a tar of `oci-layout`, `index.json` and blobs named by their SHA-256.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::cache::hex;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A layer: an uncompressed tar.
#[derive(Clone, Debug)]
pub(super) enum Layer {
    /// A small one.
    Bytes(Vec<u8>),
    /// One on disk, with its known digest.
    File(PathBuf, Blob),
}

/// Digest (hexadecimal SHA-256) and size in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) sha256: String,
    pub(super) size: u64,
}

/// What runs in the image, and as whom.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Config {
    env: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    entrypoint: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cmd: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    user: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    working_dir: String,
}

impl Config {
    pub(super) fn new(entrypoint: &[&str], cmd: &[&str]) -> Self {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        Self {
            entrypoint: words(entrypoint),
            cmd: words(cmd),
            ..Self::default()
        }
        .env("PATH", path)
    }

    pub(super) fn user(mut self, user: &str) -> Self {
        user.clone_into(&mut self.user);
        self
    }

    pub(super) fn working_dir(mut self, folder: &str) -> Self {
        folder.clone_into(&mut self.working_dir);
        self
    }

    pub(super) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push(format!("{name}={value}"));
        self
    }

    /// A text that differs when the configuration does.
    pub(super) fn text(&self) -> String {
        json!(self).to_string()
    }
}

/// An image to write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spec<'a> {
    pub(super) reference: &'a str,
    pub(super) config: &'a Config,
    pub(super) layers: &'a [Layer],
}

/// What an archive says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The image's full name and tag.
    pub reference: String,
    /// The manifest's digest, with its algorithm.
    pub digest: String,
}

/// Reads the first image of an archive's index.
///
/// # Errors
/// When it is no OCI archive, or names no image.
pub fn describe(archive: &Path) -> Result<Described> {
    let file = File::open(archive).with_context(|| format!("cannot open {}", archive.display()))?;
    let index = read_index(file).with_context(|| format!("{} is no OCI archive", archive.display()))?;
    let text = |pointer: &str| {
        let value = index.pointer(pointer).and_then(Value::as_str);
        value
            .map(str::to_owned)
            .with_context(|| format!("{} has no {pointer} in its index", archive.display()))
    };
    Ok(Described {
        reference: text("/manifests/0/annotations/io.containerd.image.name")?,
        digest: text("/manifests/0/digest")?,
    })
}

fn read_index(file: File) -> Result<Value> {
    let mut archive = tar::Archive::new(file);
    for entry in archive.entries_with_seek()? {
        let mut entry = entry?;
        if entry.path()?.as_ref() == Path::new("index.json") {
            let mut text = String::new();
            entry.read_to_string(&mut text)?;
            return Ok(serde_json::from_str(&text)?);
        }
    }
    anyhow::bail!("it holds no index.json")
}

/// Writes an archive.
pub(super) fn write(path: &Path, spec: &Spec<'_>) -> Result<()> {
    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    let mut tar = tar::Builder::new(BufWriter::with_capacity(1 << 20, file));
    let blobs: Vec<_> = spec.layers.iter().map(Layer::blob).collect();
    let config = serde_json::to_vec(&config_json(spec.config, &blobs))?;
    let manifest = serde_json::to_vec(&manifest_json(&Blob::of(&config), &blobs))?;
    let index = serde_json::to_vec(&index_json(spec.reference, &Blob::of(&manifest)))?;
    // The index comes first, so that it is found without reading past the layers.
    append(&mut tar, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    append(&mut tar, "index.json", &index)?;
    for blob in [&manifest, &config] {
        append(&mut tar, &blob_path(&Blob::of(blob)), blob)?;
    }
    for (layer, blob) in spec.layers.iter().zip(&blobs) {
        match layer {
            Layer::Bytes(bytes) => append(&mut tar, &blob_path(blob), bytes)?,
            Layer::File(path, _) => append_stream(&mut tar, &blob_path(blob), blob.size, File::open(path)?)?,
        }
    }
    tar.into_inner()?.flush()?;
    Ok(())
}

impl Layer {
    fn blob(&self) -> Blob {
        match self {
            Self::Bytes(bytes) => Blob::of(bytes),
            Self::File(_, blob) => blob.clone(),
        }
    }
}

impl Blob {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self {
            sha256: hex(&Sha256::digest(bytes)),
            size: bytes.len() as u64,
        }
    }

    pub(super) fn of_file(path: &Path) -> Result<Self> {
        let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let (mut hash, mut size, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 20]);
        loop {
            let count = file.read(&mut buffer)?;
            let Some(read) = buffer.get(..count).filter(|read| !read.is_empty()) else {
                break;
            };
            hash.update(read);
            size += count as u64;
        }
        Ok(Self {
            sha256: hex(&hash.finalize()),
            size,
        })
    }

    fn digest(&self) -> String {
        format!("sha256:{}", self.sha256)
    }
}

fn blob_path(blob: &Blob) -> String {
    format!("blobs/sha256/{}", blob.sha256)
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Without architecture and system, containerd filters the image out.
fn config_json(config: &Config, layers: &[Blob]) -> Value {
    json!({
        "architecture": architecture(),
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": layers.iter().map(Blob::digest).collect::<Vec<_>>()},
    })
}

fn manifest_json(config: &Blob, layers: &[Blob]) -> Value {
    let descriptor =
        |kind: &str, blob: &Blob| json!({"mediaType": kind, "digest": blob.digest(), "size": blob.size});
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, config),
        "layers": layers.iter().map(|blob| descriptor(LAYER, blob)).collect::<Vec<_>>(),
    })
}

fn index_json(reference: &str, manifest: &Blob) -> Value {
    let tag = reference.rsplit_once(':').map_or("latest", |(_, tag)| tag);
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": MANIFEST,
            "digest": manifest.digest(),
            "size": manifest.size,
            "platform": {"architecture": architecture(), "os": "linux"},
            "annotations": {"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": tag},
        }],
    })
}

fn append<W: Write>(tar: &mut tar::Builder<W>, path: &str, content: &[u8]) -> io::Result<()> {
    append_stream(tar, path, content.len() as u64, content)
}

fn append_stream<W: Write>(
    tar: &mut tar::Builder<W>,
    path: &str,
    size: u64,
    content: impl Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    tar.append_data(&mut header, path, content)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn files(path: &Path) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(File::open(path).unwrap());
        let entries = archive.entries().unwrap().map(Result::unwrap);
        entries
            .map(|mut entry| {
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                (entry.path().unwrap().display().to_string(), content)
            })
            .collect()
    }

    fn sample() -> (PathBuf, BTreeMap<String, Vec<u8>>) {
        let path = std::env::temp_dir().join(format!("archive-{:?}.tar", std::thread::current().id()));
        let config = Config::new(&["/a"], &[]).user("1:1");
        let layers = [
            Layer::Bytes(b"layer one".to_vec()),
            Layer::Bytes(b"layer two".to_vec()),
        ];
        write(
            &path,
            &Spec {
                reference: "localhost/x:1",
                config: &config,
                layers: &layers,
            },
        )
        .unwrap();
        let files = files(&path);
        (path, files)
    }

    #[test]
    fn every_blob_is_named_by_its_content() {
        let (path, files) = sample();
        let blobs: Vec<_> = files
            .iter()
            .filter_map(|(name, content)| Some((name.strip_prefix("blobs/sha256/")?, content)))
            .collect();
        assert_eq!(blobs.len(), 4);
        assert!(
            blobs
                .iter()
                .all(|(name, content)| *name == hex(&Sha256::digest(content)))
        );
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn index_leads_to_manifest_config_and_layers() {
        let (path, files) = sample();
        let blob = |descriptor: &Value| {
            let digest = descriptor["digest"]
                .as_str()
                .unwrap()
                .strip_prefix("sha256:")
                .unwrap();
            let content = &files[&format!("blobs/sha256/{digest}")];
            assert_eq!(descriptor["size"], content.len());
            content
        };
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        let manifest: Value = serde_json::from_slice(blob(&index["manifests"][0])).unwrap();
        let config: Value = serde_json::from_slice(blob(&manifest["config"])).unwrap();
        assert_eq!(blob(&manifest["layers"][1]), b"layer two");
        assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
        assert_eq!(
            (config["os"].as_str(), config["config"]["User"].as_str()),
            (Some("linux"), Some("1:1"))
        );
        assert_eq!(files["oci-layout"], br#"{"imageLayoutVersion":"1.0.0"}"#);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn archive_describes_itself() {
        let (path, files) = sample();
        let described = describe(&path).unwrap();
        assert_eq!(described.reference, "localhost/x:1");
        assert!(files.contains_key(&described.digest.replace("sha256:", "blobs/sha256/")));
        std::fs::remove_file(path).unwrap();
    }
}
