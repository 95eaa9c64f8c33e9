//! A node as a value: its name, and what follows from its number.

pub(crate) mod namespaces;
pub(crate) mod programs;

use std::str::FromStr;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// The first node and all that belongs to it are named after the project; other names start with it.
pub(crate) const NAME: &str = "trainyard";
/// How many nodes there is room for.
const MOST: u8 = 64;
/// Each node has four of the 256 parts of the pods' range: room for 200 pods and those on their way out.
const PARTS: u8 = 4;
/// The longest name: paths of sockets below the node's folder are limited to 107 bytes.
const LONGEST: usize = 32;

/// What tells a node from the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Node {
    name: String,
    number: u8,
}

impl Node {
    /// The node that is there from the beginning: the control plane runs on it, and it joins the others to the host.
    pub(crate) fn first() -> Self {
        Self {
            name: NAME.to_owned(),
            number: 0,
        }
    }

    /// A further node beside those that there are.
    pub(crate) fn further(name: &str, others: &[Self]) -> Result<Self> {
        check_name(name)?;
        if name == NAME || others.iter().any(|other| other.name == name) {
            bail!("there is a node {name} already");
        }
        let number = (1..MOST).find(|number| others.iter().all(|other| other.number != *number));
        Ok(Self {
            name: name.to_owned(),
            number: number.with_context(|| format!("there is room for {MOST} nodes only"))?,
        })
    }

    /// Its name in Kubernetes.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn is_first(&self) -> bool {
        self.number == 0
    }

    /// The name of its network namespace and of its cgroup folder.
    pub(crate) fn id(&self) -> String {
        if self.is_first() {
            NAME.to_owned()
        } else {
            format!("{NAME}-{}", self.name)
        }
    }

    /// The outer end of its link.
    pub(crate) fn link(&self) -> String {
        format!("{NAME}{}", self.number)
    }

    pub(crate) fn address(&self) -> String {
        format!("10.200.0.{}", self.number + 2)
    }

    /// The addresses of its pods.
    pub(crate) fn pods(&self) -> String {
        format!("10.244.{}.0/22", self.number * PARTS)
    }

    /// Its own address among those of its pods.
    pub(crate) fn gateway(&self) -> String {
        format!("10.244.{}.1", self.number * PARTS)
    }

    /// The first and the last address that a pod may have.
    pub(crate) fn pod_range(&self) -> (String, String) {
        let part = self.number * PARTS;
        (
            format!("10.244.{part}.2"),
            format!("10.244.{}.254", part + (PARTS - 1)),
        )
    }
}

fn check_name(name: &str) -> Result<()> {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty()
        || name.len() > LONGEST
        || !name.bytes().all(letters)
        || name.starts_with('-')
        || name.ends_with('-')
    {
        bail!("{name:?} is no name of a node: lower-case letters, digits and -, at most {LONGEST}");
    }
    Ok(())
}

/// What keeps pods away from a node that do not tolerate it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Taint {
    key: String,
    value: String,
    effect: String,
}

impl FromStr for Taint {
    type Err = anyhow::Error;

    /// `KEY=VALUE:EFFECT`, as kubectl has it.
    fn from_str(text: &str) -> Result<Self> {
        let parts = text
            .rsplit_once(':')
            .and_then(|(pair, effect)| Some((pair.split_once('=')?, effect)));
        let ((key, value), effect) = parts.with_context(|| format!("{text:?} is not KEY=VALUE:EFFECT"))?;
        if !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect) {
            bail!("{effect:?} is no effect of a taint");
        }
        Ok(Self {
            key: key.to_owned(),
            value: value.to_owned(),
            effect: effect.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{Layout, NODE_IP};

    #[test]
    fn nodes_share_nothing() {
        let mut nodes = vec![Node::first()];
        while let Ok(node) = Node::further(&format!("n{}", nodes.len()), &nodes) {
            nodes.push(node);
        }
        assert_eq!(nodes.len(), usize::from(MOST));
        assert_eq!(nodes[0].address(), NODE_IP);
        assert_eq!(
            nodes[63].pod_range(),
            ("10.244.252.2".into(), "10.244.255.254".into())
        );
        let facts: [fn(&Node) -> String; 6] = [
            Node::id,
            Node::link,
            Node::address,
            Node::pods,
            Node::gateway,
            |node| Layout::default().node(node).root().display().to_string(),
        ];
        for fact in facts {
            let mut all: Vec<String> = nodes.iter().map(fact).collect();
            all.sort();
            all.dedup();
            assert_eq!(all.len(), nodes.len(), "{all:?}");
        }
    }

    #[test]
    fn a_number_is_used_again_and_a_name_is_not() {
        let first = Node::first();
        let a = Node::further("a", std::slice::from_ref(&first)).unwrap();
        let b = Node::further("b", &[first.clone(), a.clone()]).unwrap();
        assert!(Node::further("b", &[first.clone(), b.clone()]).is_err());
        assert!(Node::further(NAME, &[]).is_err());
        let c = Node::further("c", &[first, b]).unwrap();
        assert_eq!(c.number, a.number);
    }

    #[test]
    fn sockets_of_the_longest_name_fit() {
        let name = "n".repeat(LONGEST);
        let node = Node::further(&name, &[]).unwrap();
        let socket = Layout::default().node(&node).containerd_socket();
        // containerd makes a second one beside it.
        assert!(socket.display().to_string().len() + ".ttrpc".len() <= 107);
        assert!(Node::further(&format!("{name}n"), &[]).is_err());
        for bad in ["", "a/b", "a.b", "A", "-a", "a-", ".."] {
            assert!(Node::further(bad, &[]).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_taint_is_read_as_kubectl_writes_it() {
        let taint: Taint = "example.com/spare=true:NoSchedule".parse().unwrap();
        assert_eq!(
            (taint.key.as_str(), taint.value.as_str(), taint.effect.as_str()),
            ("example.com/spare", "true", "NoSchedule")
        );
        for bad in ["", "a:NoSchedule", "a=b", "a=b:Never"] {
            assert!(bad.parse::<Taint>().is_err(), "{bad}");
        }
    }
}
