//! A cluster with the operator on it: the local one, kind's, or somebody's.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use cluster::images::{self, Image};
use cluster::{Cluster, Guest, Options, Progress, kind};

use crate::stage::{must, root};

/// Which cluster to use.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Choice {
    /// Use kind (needs Docker) in place of the local cluster.
    #[arg(long, conflicts_with = "kubeconfig")]
    kind: bool,
    /// Use the cluster of this kubeconfig, as it is; the images must be where its nodes can pull them.
    #[arg(long, value_name = "PATH")]
    kubeconfig: Option<PathBuf>,
}

impl Choice {
    /// Whether the cluster is made on this machine from its programs.
    pub(crate) fn is_local(&self) -> bool {
        !self.kind && self.kubeconfig.is_none()
    }

    /// Whether the cluster is somebody's, whose nodes pull the images.
    pub(crate) fn is_given(&self) -> bool {
        self.kubeconfig.is_some()
    }

    /// The command that takes the cluster down, if it is ours to take down.
    pub(crate) fn down_command(&self) -> Option<Vec<String>> {
        if self.kubeconfig.is_some() {
            return None;
        }
        let words = if self.kind {
            vec![
                "kind".into(),
                "delete".into(),
                "cluster".into(),
                "--name".into(),
                kind::NAME.into(),
            ]
        } else {
            let own = std::env::current_exe().ok()?.display().to_string();
            vec![own, "cluster".into(), "down".into()]
        };
        Some(words)
    }
}

/// How to reach the cluster.
pub(crate) struct Target {
    /// Administrator's kubeconfig.
    pub(crate) kubeconfig: PathBuf,
    /// kubectl.
    pub(crate) kubectl: PathBuf,
    made: Made,
}

enum Made {
    Local(Cluster),
    Kind,
    Given,
}

impl Target {
    /// Brings the cluster up, if it is ours to bring up. Progress is shown in lines: other work is done at the same time.
    pub(crate) fn up_beside(choice: &Choice) -> Result<Self> {
        if let Some(kubeconfig) = &choice.kubeconfig {
            let kubeconfig = kubeconfig
                .canonicalize()
                .with_context(|| format!("{}", kubeconfig.display()))?;
            return Ok(Self {
                kubeconfig,
                kubectl: "kubectl".into(),
                made: Made::Given,
            });
        }
        if choice.kind {
            let kubeconfig = cluster::cache_folder()?.join("kind.kubeconfig");
            kind::create(&kubeconfig)?;
            return Ok(Self {
                kubeconfig,
                kubectl: "kubectl".into(),
                made: Made::Kind,
            });
        }
        let cluster = Cluster::up(&Options {
            progress: Progress::Lines,
            ..Options::default()
        })?;
        let (kubeconfig, kubectl) = (cluster.kubeconfig(), cluster.kubectl()?);
        Ok(Self {
            kubeconfig,
            kubectl,
            made: Made::Local(cluster),
        })
    }

    /// Whether the suite may look at processes of the node.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self.made, Made::Local(_))
    }

    /// What the API server has written down of the operator's requests; only the local cluster's does.
    pub(crate) fn audit_log(&self) -> Option<PathBuf> {
        match &self.made {
            Made::Local(cluster) => Some(cluster.audit_log()),
            Made::Kind | Made::Given => None,
        }
    }

    /// A kubectl command.
    pub(crate) fn kubectl(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.kubectl);
        command
            .args(args)
            .env("KUBECONFIG", &self.kubeconfig)
            .current_dir(root());
        command
    }

    /// Builds images and loads them.
    pub(crate) fn load_images(&self, images: &[Image]) -> Result<()> {
        if matches!(self.made, Made::Given) {
            eprintln!("taking for granted that the nodes can pull:");
            for &image in images {
                eprintln!("  {}", image.reference());
            }
            return Ok(());
        }
        for &image in images {
            let archive = images::build(image, Progress::Lines)?;
            self.load(&image.reference(), &archive)?;
        }
        Ok(())
    }

    /// Makes the operator's image from its program and loads it.
    pub(crate) fn load_operator(&self, program: &Path) -> Result<()> {
        if matches!(self.made, Made::Given) {
            return self.load_images(&[Image::Operator]);
        }
        self.load(&Image::Operator.reference(), &images::operator_image(program)?)
    }

    fn load(&self, reference: &str, archive: &Path) -> Result<()> {
        let step = Progress::Lines.step(&format!("loading {reference}"));
        match &self.made {
            Made::Local(cluster) => cluster.load_image(archive)?,
            Made::Kind => kind::load_image(archive)?,
            Made::Given => {}
        }
        step.done();
        Ok(())
    }

    /// Installs the operator by the file that users apply, and waits until it is ready.
    pub(crate) fn install(&self) -> Result<()> {
        must(self.kubectl(&["apply", "-f", "deploy/install.yaml"]))?;
        let deployment = "deployment/trainyard-operator";
        // What an interrupted test has set: to apply the file again does not take it away.
        let mut unset = self.kubectl(&["-n", "trainyard-system", "set", "env", deployment]);
        unset.args(["TRAINYARD_NODE_LOST_AFTER-", "TRAINYARD_GANG_SCHEDULER-"]);
        must(unset)?;
        // The image's tag stays the same while its content changes: take the one that was just loaded.
        must(self.kubectl(&["-n", "trainyard-system", "rollout", "restart", deployment]))?;
        must(self.kubectl(&[
            "-n",
            "trainyard-system",
            "rollout",
            "status",
            deployment,
            "--timeout=180s",
        ]))
    }

    /// Removes the further nodes that an interrupted run has left.
    pub(crate) fn remove_further_nodes(&self) -> Result<()> {
        let Made::Local(cluster) = &self.made else {
            return Ok(());
        };
        for name in cluster.further_nodes()? {
            Cluster::remove_node(&name, Progress::default())?;
        }
        Ok(())
    }

    /// Starts what some tests need beside the operator.
    pub(crate) fn add_guests(&self) -> Result<()> {
        let Made::Local(cluster) = &self.made else {
            eprintln!("taking for granted that Kueue and scheduler-plugins' scheduler run");
            return Ok(());
        };
        for guest in Guest::ALL {
            cluster.add(guest, Progress::default())?;
        }
        Ok(())
    }

    /// Takes the cluster down, if we brought it up.
    pub(crate) fn down(self) -> Result<()> {
        match self.made {
            Made::Local(_) => Cluster::down(Progress::default()),
            Made::Kind => kind::delete(),
            Made::Given => Ok(()),
        }
    }
}
