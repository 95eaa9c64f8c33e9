//! The scheduler of scheduler-plugins, as a second scheduler beside the cluster's own.

use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::room::Room;
use crate::command::output;
use crate::toolchain::Toolchain;

/// What pods name as their scheduler.
const NAME: &str = "coscheduling";
/// The definition of its pod groups, shared with whoever installs it elsewhere.
const CRD: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../crds/scheduling.x-k8s.io_podgroups.yaml"
);
const NAMESPACE: &str = "kube-system";

/// Installs it and answers with the command that starts it.
pub(super) fn prepare(room: &Room, toolchain: &Toolchain) -> Result<Command> {
    // A lease that an earlier process held would tell of this one that it runs.
    let lease = ["-n", NAMESPACE, "delete", "lease", NAME, "--ignore-not-found"];
    output(&mut room.kubectl(&lease)?)?;
    let mut objects = rights();
    objects.push(definition(room)?);
    room.apply(&objects)?;
    let kubeconfig = room.kubeconfig(NAME)?;
    let configuration = configuration(&kubeconfig.to_string_lossy());
    let configuration = room.write("configuration.json", &configuration)?;
    let flags = [
        format!("--config={}", configuration.display()),
        // Nobody asks for its metrics.
        "--secure-port=0".into(),
        "--v=3".into(),
    ];
    room.inside(&toolchain.program("scheduler")?, &flags)
}

fn definition(room: &Room) -> Result<Value> {
    let mut read = room.kubectl(&[
        "create",
        "--dry-run=client",
        "--validate=false",
        "-o",
        "json",
        "-f",
        CRD,
    ])?;
    serde_json::from_str(&output(&mut read)?).context("kubectl answers with JSON")
}

fn configuration(kubeconfig: &str) -> Value {
    json!({
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        // Its lease shows that it runs.
        "leaderElection": {"leaderElect": true, "resourceNamespace": NAMESPACE, "resourceName": NAME},
        "clientConnection": {"kubeconfig": kubeconfig, "qps": 500, "burst": 1000},
        "profiles": [{
            "schedulerName": NAME,
            "plugins": {
                "multiPoint": {"enabled": [{"name": "Coscheduling"}]},
                "queueSort": {"enabled": [{"name": "Coscheduling"}], "disabled": [{"name": "*"}]},
            },
            // A group that does not fit gives back within seconds what it has reserved.
            "pluginConfig": [{"name": "Coscheduling", "args": {"permitWaitingTimeSeconds": 10}}],
        }],
    })
}

/// The rights of a scheduler, and those that pod groups need.
fn rights() -> Vec<Value> {
    let rbac = "rbac.authorization.k8s.io";
    let mut rights = vec![json!({
        "apiVersion": format!("{rbac}/v1"),
        "kind": "ClusterRole",
        "metadata": {"name": NAME},
        "rules": [
            {"apiGroups": ["scheduling.x-k8s.io"], "resources": ["podgroups"], "verbs": ["get", "list", "watch"]},
            // The role of schedulers covers the lease of the cluster's own one only.
            {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create", "get", "update"]},
        ],
    })];
    rights.extend(
        [NAME, "system:kube-scheduler", "system:volume-scheduler"].map(|role| {
            json!({
                "apiVersion": format!("{rbac}/v1"),
                "kind": "ClusterRoleBinding",
                "metadata": {"name": format!("{NAME}:{}", role.trim_start_matches("system:"))},
                "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": role},
                "subjects": [{"apiGroup": rbac, "kind": "User", "name": NAME}],
            })
        }),
    );
    rights
}

/// Whether it holds its lease, which it takes when it knows all pods and nodes.
pub(super) fn answers(room: &Room) -> bool {
    let holder = [
        "-n",
        NAMESPACE,
        "get",
        "lease",
        NAME,
        "-o",
        "jsonpath={.spec.holderIdentity}",
    ];
    let ask = || output(&mut room.kubectl(&holder)?);
    ask().is_ok_and(|holder| !holder.is_empty())
}
