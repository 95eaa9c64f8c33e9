//! Kueue as its own manifests install it, but for where it runs: its webhooks are reached by address, not by Service.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::room::{Room, is};
use crate::command::output;
use crate::layout::NODE_IP;
use crate::progress::Progress;
use crate::toolchain::{KUEUE, Toolchain};

/// Who it is to the API server: its service account, so that the rights of its own manifests are what it has.
const USER: &str = "system:serviceaccount:kueue-system:kueue-controller-manager";
const PORT: u16 = 9443;
/// Marks the jobs that Kueue is asked about.
const QUEUE: &str = "kueue.x-k8s.io/queue-name";
/// What of its manifests has a use here: all but what runs it in a pod.
const KINDS: [&str; 9] = [
    "Namespace",
    "CustomResourceDefinition",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
];
/// Its integrations and the resources that they are about. Batch Jobs are among them as in its default
/// configuration: it must leave alone those that belong to a job of another kind.
const JOBS: [(&str, &str); 4] = [
    ("batch/job", "jobs"),
    ("kubeflow.org/pytorchjob", "pytorchjobs"),
    ("kubeflow.org/tfjob", "tfjobs"),
    ("kubeflow.org/mpijob", "mpijobs"),
];
/// Its objects that hold others back while they exist; those that are held back come first.
const HELD: &str = "workloads,localqueues,clusterqueues,resourceflavors,topologies";

/// Installs it and answers with the command that starts it.
pub(super) fn prepare(room: &Room, toolchain: &Toolchain, progress: Progress) -> Result<Command> {
    // The certificates of its metrics have a fixed place below /etc, with or without metrics: it sees this in place of /etc.
    let etc = room.folder.join("etc");
    let certificates = etc.join("kueue/metrics/certs");
    fs::create_dir_all(&certificates)?;
    room.pki.add_server("kueue-webhook", &[NODE_IP])?;
    fs::copy(
        room.pki.certificate("kueue-webhook"),
        certificates.join("tls.crt"),
    )?;
    fs::copy(room.pki.key("kueue-webhook"), certificates.join("tls.key"))?;
    let configuration = room.write(
        "configuration.json",
        &configuration(&certificates.to_string_lossy()),
    )?;
    room.apply(&objects(room, progress)?)?;
    let kubeconfig = room.kubeconfig(USER)?;
    let program = toolchain.program("kueue")?;
    let words = [
        "--mount",
        "--propagation=private",
        "--",
        "sh",
        "-c",
        r#"mount --bind "$0" /etc && exec "$@""#,
        &etc.to_string_lossy(),
        &program.to_string_lossy(),
        &format!("--config={}", configuration.display()),
        &format!("--kubeconfig={}", kubeconfig.display()),
        "--zap-log-level=2",
    ];
    room.inside("unshare".as_ref(), &words.map(str::to_owned))
}

fn configuration(certificates: &str) -> Value {
    json!({
        "apiVersion": "config.kueue.x-k8s.io/v1beta2",
        "kind": "Configuration",
        "namespace": "kueue-system",
        "health": {"healthProbeBindAddress": "0"},
        "metrics": {"bindAddress": "0"},
        "webhook": {"host": NODE_IP, "port": PORT, "certDir": certificates},
        "leaderElection": {"leaderElect": false},
        "internalCertManagement": {"enable": false},
        "manageJobsWithoutQueueName": false,
        "waitForPodsReady": {"timeout": "5m"},
        "integrations": {"frameworks": JOBS.map(|(name, _)| name)},
        "clientConnection": {"qps": 500, "burst": 1000},
        // An API of its own that nothing here asks; it would need a certificate at yet another fixed place.
        "featureGates": {"VisibilityOnDemand": false},
    })
}

/// Its manifests, from the module's own folder.
fn objects(room: &Room, progress: Progress) -> Result<Vec<Value>> {
    let sources = KUEUE.sources("sigs.k8s.io/kueue", progress)?;
    let mut render = room.kubectl(&[
        "create",
        "--dry-run=client",
        "--validate=false",
        "-o",
        "json",
        "-k",
    ])?;
    let rendered = output(render.arg(sources.join("config/default")))?;
    let ca = STANDARD.encode(fs::read(room.pki.ca())?);
    serde_json::Deserializer::from_str(&rendered)
        .into_iter::<Value>()
        .map(|document| document.context("kubectl answers with JSON"))
        .collect::<Result<Vec<_>>>()
        .map(|documents| {
            documents
                .into_iter()
                .flat_map(unlisted)
                .filter_map(|o| adapted(o, &ca))
                .collect()
        })
}

/// The items of a list; anything else as it is.
fn unlisted(mut document: Value) -> Vec<Value> {
    match document.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => items,
        _ => vec![document],
    }
}

/// An object of the manifests as it is applied here, if it is.
fn adapted(mut object: Value, ca: &str) -> Option<Value> {
    if !KINDS.iter().any(|kind| is(&object, kind)) {
        return None;
    }
    if let Some(client) = object.pointer_mut("/spec/conversion/webhook/clientConfig") {
        by_address(client, ca);
    }
    if let Some(webhooks) = object.get_mut("webhooks").and_then(Value::as_array_mut) {
        webhooks.retain_mut(|webhook| fits(webhook, ca));
    }
    Some(object)
}

/// Whether a webhook is about Kueue's objects or about jobs of an integration; those ask only for jobs that name a queue,
/// so that nobody else waits for Kueue.
fn fits(webhook: &mut Value, ca: &str) -> bool {
    let word = |path: &str| webhook.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let (group, resource) = (word("/rules/0/apiGroups/0"), word("/rules/0/resources/0"));
    let own = group == "kueue.x-k8s.io";
    let job = JOBS.iter().any(|(_, jobs)| *jobs == resource);
    if job {
        let named = json!({"matchExpressions": [{"key": QUEUE, "operator": "Exists"}]});
        webhook
            .as_object_mut()
            .map(|webhook| webhook.insert("objectSelector".into(), named));
    }
    if let Some(client) = webhook.get_mut("clientConfig") {
        by_address(client, ca);
    }
    own || job
}

/// Replaces the Service of a webhook by the address of the process.
fn by_address(client: &mut Value, ca: &str) {
    let path = client
        .pointer("/service/path")
        .and_then(Value::as_str)
        .unwrap_or_default();
    *client = json!({"url": format!("https://{NODE_IP}:{PORT}{path}"), "caBundle": ca});
}

/// Whether its webhooks answer.
pub(super) fn answers(room: &Room) -> bool {
    let flavor = json!({
        "apiVersion": "kueue.x-k8s.io/v1beta2",
        "kind": "ResourceFlavor",
        "metadata": {"name": "never-made"},
    });
    let ask = || -> Result<()> {
        let probe = room.write("probe.json", &flavor)?;
        output(room.kubectl(&["create", "--dry-run=server", "-f"])?.arg(probe)).map(drop)
    };
    ask().is_ok()
}

/// Removes its objects while it runs: it holds them by finalizers, and without its conversion they cannot even be listed.
pub(super) fn farewell(room: &Room) -> Result<()> {
    anyhow::ensure!(
        room.alive(),
        "kueue has ended, and only it can release its objects: add it again, or take the cluster down"
    );
    output(&mut room.kubectl(&["delete", "--all", "--all-namespaces", "--timeout=60s", HELD])?).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(group: &str, resource: &str) -> Value {
        json!({
            "name": "m.kb.io",
            "clientConfig": {"service": {"name": "webhook-service", "namespace": "system", "path": "/mutate"}},
            "rules": [{"apiGroups": [group], "resources": [resource]}],
        })
    }

    #[test]
    fn webhooks_ask_by_address_and_only_for_jobs_with_a_queue() {
        let configuration = json!({
            "kind": "MutatingWebhookConfiguration",
            "webhooks": [
                webhook("kueue.x-k8s.io", "workloads"),
                webhook("kubeflow.org", "tfjobs"),
                webhook("", "pods"),
            ],
        });
        let adapted = adapted(configuration, "ca").unwrap();
        let client = json!({"url": "https://10.200.0.2:9443/mutate", "caBundle": "ca"});
        let webhooks = adapted["webhooks"].as_array().unwrap();
        assert_eq!(webhooks.len(), 2);
        assert!(webhooks.iter().all(|webhook| webhook["clientConfig"] == client));
        assert!(webhooks[0].get("objectSelector").is_none());
        assert_eq!(webhooks[1]["objectSelector"]["matchExpressions"][0]["key"], QUEUE);
    }

    #[test]
    fn what_runs_kueue_in_a_pod_is_left_out() {
        assert_eq!(adapted(json!({"kind": "Deployment"}), "ca"), None);
        let list = json!({"kind": "List", "items": [{"kind": "Namespace"}, {"kind": "Secret"}]});
        let kept: Vec<Value> = unlisted(list)
            .into_iter()
            .filter_map(|o| adapted(o, "ca"))
            .collect();
        assert_eq!(kept, [json!({"kind": "Namespace"})]);
    }
}
