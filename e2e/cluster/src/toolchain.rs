//! The cluster's programs, built from pinned Go modules and cached.
//!
//! Invariant: a folder below `bin/` is complete. It is filled under another name and renamed when all is built.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::command::{command, find, output};
use crate::progress::{Progress, Step};
use crate::{cache, packages};

/// A Go module that pins some of the cluster's programs.
#[derive(Debug)]
pub(crate) struct Module {
    name: &'static str,
    files: [(&'static str, &'static str); 3],
    packages: &'static [&'static str],
    /// Built name and wanted name, where they differ.
    rename: Option<(&'static str, &'static str)>,
    tags: &'static str,
    ldflags: &'static str,
    cgo: bool,
}

macro_rules! files {
    ($name:literal) => {
        files!($name, "tools.go")
    };
    ($name:literal, $go:literal) => {
        [
            ("go.mod", include_str!(concat!("../go/", $name, "/go.mod"))),
            ("go.sum", include_str!(concat!("../go/", $name, "/go.sum"))),
            ($go, include_str!(concat!("../go/", $name, "/", $go))),
        ]
    };
}

/// Kubernetes and etcd.
pub(crate) static KUBERNETES: Module = Module {
    name: "kubernetes",
    files: files!("kubernetes"),
    packages: &[
        "k8s.io/kubernetes/cmd/kube-apiserver",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
        "k8s.io/kubernetes/cmd/kube-proxy",
        "k8s.io/kubernetes/cmd/kube-scheduler",
        "k8s.io/kubernetes/cmd/kubectl",
        "k8s.io/kubernetes/cmd/kubelet",
        "go.etcd.io/etcd/server/v3",
    ],
    rename: Some(("server", "etcd")),
    tags: "",
    // Without the stamp the API server reports v0.0.0 and clients' version checks go wrong.
    ldflags: "-s -w -X k8s.io/component-base/version.gitVersion=v1.37.2 \
              -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37",
    cgo: false,
};

/// The container runtime.
pub(crate) static CONTAINERD: Module = Module {
    name: "containerd",
    files: files!("containerd"),
    packages: &[
        "github.com/containerd/containerd/v2/cmd/containerd",
        "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
        "github.com/containerd/containerd/v2/cmd/ctr",
    ],
    rename: None,
    tags: "no_btrfs,no_devmapper,no_zfs",
    ldflags: "-s -w",
    cgo: false,
};

/// The OCI runtime.
pub(crate) static RUNC: Module = Module {
    name: "runc",
    files: files!("runc"),
    packages: &["github.com/opencontainers/runc"],
    rename: None,
    tags: "seccomp",
    ldflags: "-s -w",
    cgo: true,
};

/// The DNS server.
pub(crate) static COREDNS: Module = Module {
    name: "coredns",
    files: files!("coredns", "main.go"),
    packages: &["."],
    rename: None,
    tags: "",
    ldflags: "-s -w",
    cgo: false,
};

/// Kueue; not part of the cluster, built when it is asked for.
pub(crate) static KUEUE: Module = Module {
    name: "kueue",
    files: files!("kueue"),
    packages: &["sigs.k8s.io/kueue/cmd/kueue"],
    rename: None,
    tags: "",
    ldflags: "-s -w -X sigs.k8s.io/kueue/pkg/version.GitVersion=v0.15.0",
    cgo: false,
};

/// The scheduler of scheduler-plugins; as [`KUEUE`].
pub(crate) static SCHEDULER_PLUGINS: Module = Module {
    name: "scheduler-plugins",
    files: files!("scheduler-plugins"),
    packages: &["sigs.k8s.io/scheduler-plugins/cmd/scheduler"],
    rename: None,
    tags: "",
    ldflags: "-s -w",
    cgo: false,
};

/// All modules of the cluster, the smallest build first so that a broken set-up shows early.
pub(crate) static ALL: [&Module; 4] = [&RUNC, &COREDNS, &CONTAINERD, &KUBERNETES];

impl Module {
    /// The key of the built programs: changes with every pinned version and every build flag.
    pub(crate) fn key(&self) -> String {
        let cgo = if self.cgo { "1" } else { "0" };
        let (from, to) = self.rename.unwrap_or_default();
        let flags = [
            self.name,
            self.tags,
            self.ldflags,
            cgo,
            from,
            to,
            std::env::consts::ARCH,
        ]
        .join("\n");
        let packages = self.packages.join("\n");
        let files = self
            .files
            .iter()
            .map(|(name, content)| (*name, content.as_bytes()));
        cache::key(files.chain([("flags", flags.as_bytes()), ("packages", packages.as_bytes())]))
    }

    /// The folder that Go keeps for one of the pinned modules: manifests lie beside the code there.
    pub(crate) fn sources(&self, path: &str, progress: Progress) -> Result<PathBuf> {
        let go = go()?;
        let folder = cache::folder()?.join("go");
        let _lock = cache::lock(&folder, self.name, progress)?;
        let pins = folder.join(self.name);
        self.lay_out(&pins)?;
        let mut download = command(go, &["mod", "download", "-json", path]);
        let answer = output(download.current_dir(&pins).env("GOWORK", "off"))?;
        let answer: serde_json::Value = serde_json::from_str(&answer)?;
        let sources = answer.get("Dir").and_then(serde_json::Value::as_str);
        sources
            .map(PathBuf::from)
            .with_context(|| format!("Go does not say where {path} is"))
    }

    /// Writes the files that pin it.
    fn lay_out(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        for (name, content) in &self.files {
            fs::write(folder.join(name), content)?;
        }
        Ok(())
    }

    /// Where the built programs are, or will be.
    pub(crate) fn folder(&self) -> Result<PathBuf> {
        Ok(cache::folder()?
            .join("bin")
            .join(format!("{}-{}", self.name, self.key())))
    }
}

/// The programs of some modules, built and ready.
#[derive(Clone, Debug)]
pub struct Toolchain {
    folders: Vec<PathBuf>,
}

impl Toolchain {
    /// Builds what is not in the cache.
    pub(crate) fn ensure(modules: &[&Module], progress: Progress) -> Result<Self> {
        if !cfg!(target_os = "linux") {
            bail!(
                "the local cluster needs Linux; on {} use kind with Docker",
                std::env::consts::OS
            );
        }
        let folders = modules
            .iter()
            .map(|module| ensure(module, progress))
            .collect::<Result<_>>()?;
        Ok(Self { folders })
    }

    /// Every program of the cluster; builds those that are not in the cache.
    ///
    /// # Errors
    /// On an unsupported system, without Go, or when a build fails.
    pub fn ensure_all(progress: Progress) -> Result<Self> {
        Self::ensure(&ALL, progress)
    }

    /// The folders that hold the programs.
    #[must_use]
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// The path of a program.
    ///
    /// # Errors
    /// When no module of this toolchain makes it.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        self.folders
            .iter()
            .map(|folder| folder.join(name))
            .find(|path| path.is_file())
            .with_context(|| format!("{name} is not among the built programs"))
    }
}

/// One key over all programs.
pub(crate) fn fingerprint() -> String {
    ALL.map(Module::key).join("-")
}

fn ensure(module: &Module, progress: Progress) -> Result<PathBuf> {
    let folder = module.folder()?;
    if folder.is_dir() {
        return Ok(folder);
    }
    let parent = folder.parent().context("the cache folder has a parent")?;
    let _lock = cache::lock(parent, module.name, progress)?;
    if !folder.is_dir() {
        build(module, &folder, progress).with_context(|| format!("cannot build {}", module.name))?;
    }
    Ok(folder)
}

fn build(module: &Module, folder: &Path, progress: Progress) -> Result<()> {
    let go = go()?;
    if module.cgo {
        packages::ensure(packages::CGO, progress)?;
    }
    let temporary = folder.with_extension("partial");
    if temporary.exists() {
        fs::remove_dir_all(&temporary)?;
    }
    let (source, bin) = (temporary.join("source"), temporary.join("bin"));
    module.lay_out(&source)?;
    fs::create_dir_all(&bin)?;
    let step = progress.step(&format!("building {} with Go", module.name));
    compile(module, &go, &source, &bin, &step)?;
    if let Some((from, to)) = module.rename {
        fs::rename(bin.join(from), bin.join(to))?;
    }
    fs::rename(&bin, folder).context("cannot move the built programs into place")?;
    fs::remove_dir_all(&temporary)?;
    step.done();
    Ok(())
}

fn go() -> Result<PathBuf> {
    find("go").context("Go is needed to build the cluster's programs, and `go` is not on PATH")
}

fn compile(module: &Module, go: &Path, source: &Path, bin: &Path, step: &Step) -> Result<()> {
    let mut command = std::process::Command::new(go);
    command.args([
        "build",
        "-v",
        "-trimpath",
        "-tags",
        module.tags,
        "-ldflags",
        module.ldflags,
        "-o",
    ]);
    command.arg(bin).args(module.packages).current_dir(source);
    // A workspace file around the cache folder would replace the pinned versions.
    command
        .env("GOWORK", "off")
        .env("CGO_ENABLED", if module.cgo { "1" } else { "0" });
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut last = VecDeque::new();
    if let Some(stderr) = child.stderr.take() {
        for (count, line) in BufReader::new(stderr).lines().map_while(Result::ok).enumerate() {
            step.at(&format!("{count} packages, {line}"));
            last.push_back(line);
            if last.len() > 40 {
                last.pop_front();
            }
        }
    }
    let status = child.wait()?;
    if !status.success() {
        let words: Vec<String> = last.into();
        bail!("go build failed ({status}):\n{}", words.join("\n"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(go_mod: &'static str, tags: &'static str) -> Module {
        let files = [("go.mod", go_mod), ("go.sum", ""), ("tools.go", "")];
        Module {
            name: "m",
            files,
            packages: &["p"],
            rename: None,
            tags,
            ldflags: "",
            cgo: false,
        }
    }

    #[test]
    fn key_follows_versions_and_flags() {
        let key = module("require x v1", "a").key();
        assert_eq!(key, module("require x v1", "a").key());
        assert_ne!(key, module("require x v2", "a").key());
        assert_ne!(key, module("require x v1", "b").key());
    }

    #[test]
    fn modules_have_their_own_keys() {
        let beside = [&KUEUE, &SCHEDULER_PLUGINS].map(Module::key);
        let mut keys = [&ALL.map(Module::key)[..], &beside].concat();
        keys.sort();
        assert!(keys.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
