//! Further nodes: joined, lost, removed.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::command::{output, require_root};
use crate::handle::Cluster;
use crate::images::Image;
use crate::launch::Launch;
use crate::layout::Layout;
use crate::lifecycle::lock;
use crate::node::{NAME, Node, Taint};
use crate::pki::Pki;
use crate::progress::Progress;
use crate::state::State;
use crate::{down, network};

/// How a further node is made.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// What keeps pods away from it.
    pub taints: Vec<Taint>,
    /// Images that it has beside the pause image.
    pub images: Vec<Image>,
    /// Where progress is shown.
    pub progress: Progress,
    /// How long it may take to become Ready.
    pub ready_within: Duration,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            taints: Vec::new(),
            images: Vec::new(),
            progress: Progress::default(),
            ready_within: Duration::from_mins(2),
        }
    }
}

impl Cluster {
    /// Joins a further node and waits until pods can run on it. One of the same name goes first.
    ///
    /// # Errors
    /// Without root, for a name that is none, or when a part does not become ready (its log is named).
    pub fn add_node(&self, name: &str, options: &NodeOptions) -> Result<()> {
        require_root("a node of the local cluster")?;
        let _lock = lock(options.progress)?;
        let mut state = self.record()?;
        if let Some(node) = state.further(name) {
            self.remove(&mut state, &node)?;
        }
        let node = Node::further(name, &state.nodes)?;
        let step = options.progress.step(&format!("joining node {name}"));
        let authority = Pki::open(&self.layout.node(&Node::first()).pki());
        let mut launch = Launch::begin(self, state, node, &authority)?;
        launch.start_runtime()?;
        launch.start_kubelet(&options.taints)?;
        launch.load(&[&[Image::Pause], options.images.as_slice()].concat())?;
        launch.await_ready(options.ready_within)?;
        step.done();
        Ok(())
    }

    /// Ends a further node as a loss of power would: at once, and without a word to the rest of the cluster.
    ///
    /// # Errors
    /// Without root, when there is no such node, or when a process resists.
    pub fn kill_node(&self, name: &str, progress: Progress) -> Result<()> {
        require_root("a node of the local cluster")?;
        let _lock = lock(progress)?;
        let state = self.record()?;
        let node = state
            .further(name)
            .with_context(|| format!("there is no further node {name}"))?;
        // First, so that no connection is seen to end.
        network::cut(&node)?;
        down::end_node(&state, &node)
    }

    /// Removes a further node, its pods and all that is left of it; nothing to do when there is none of this name.
    ///
    /// # Errors
    /// Without root, for the first node, or when a process, mount or folder resists.
    pub fn remove_node(name: &str, progress: Progress) -> Result<()> {
        require_root("a node of the local cluster")?;
        if name == NAME {
            bail!("the first node goes with the cluster only");
        }
        let _lock = lock(progress)?;
        let layout = Layout::default();
        let Some(mut state) = State::read(&layout.state()) else {
            return Ok(());
        };
        let Some(node) = state.further(name) else {
            return Ok(());
        };
        let step = progress.step(&format!("removing node {name}"));
        match Self::open() {
            Some(cluster) => cluster.remove(&mut state, &node)?,
            None => remove_from(&layout, &mut state, &node)?,
        }
        step.done();
        Ok(())
    }

    /// Names of the further nodes.
    ///
    /// # Errors
    /// When nothing is written down about the cluster.
    pub fn further_nodes(&self) -> Result<Vec<String>> {
        let nodes = self.record()?.nodes.into_iter();
        let further = nodes.filter(|node| !node.is_first());
        Ok(further.map(|node| node.name().to_owned()).collect())
    }

    fn remove(&self, state: &mut State, node: &Node) -> Result<()> {
        down::end_node(state, node)?;
        let name = node.name();
        output(&mut self.kubectl_command(&["delete", "node", name, "--ignore-not-found"])?)?;
        // Nobody is left to end its pods; the controller that collects them takes a minute.
        let pods = format!("--field-selector=spec.nodeName={name}");
        let force = ["--all-namespaces", "--force", "--grace-period=0", "--wait=false"];
        output(self.kubectl_command(&["delete", "pods", &pods])?.args(force))?;
        remove_from(&self.layout, state, node)
    }

    fn record(&self) -> Result<State> {
        State::read(&self.layout.state()).context("the cluster has no record")
    }
}

fn remove_from(layout: &Layout, state: &mut State, node: &Node) -> Result<()> {
    down::remove_node(layout, state, node)?;
    state.forget(node);
    state.write(&layout.state())
}
