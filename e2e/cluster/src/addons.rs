//! What the API server must know for DNS: CoreDNS' rights, and the Service that leads to its process.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use crate::layout::{DNS_IP, NODE_IP};

/// Writes the objects as one list for `kubectl apply`.
pub(crate) fn write(path: &Path) -> Result<()> {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects()});
    Ok(std::fs::write(path, serde_json::to_vec_pretty(&list)?)?)
}

fn objects() -> [Value; 4] {
    let rbac = "rbac.authorization.k8s.io";
    let ports = ["UDP", "TCP"].map(|protocol| {
        json!({"name": format!("dns-{}", protocol.to_lowercase()), "port": 53, "protocol": protocol})
    });
    [
        json!({
            "apiVersion": format!("{rbac}/v1"),
            "kind": "ClusterRole",
            "metadata": {"name": "coredns"},
            "rules": [
                {"apiGroups": [""], "resources": ["services", "pods", "namespaces", "endpoints"],
                 "verbs": ["list", "watch"]},
                {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
            ],
        }),
        json!({
            "apiVersion": format!("{rbac}/v1"),
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "coredns"},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "coredns"},
            "subjects": [{"apiGroup": rbac, "kind": "User", "name": "coredns"}],
        }),
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}},
            "spec": {"clusterIP": DNS_IP, "ports": ports},
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "kube-dns",
                "namespace": "kube-system",
                "labels": {"kubernetes.io/service-name": "kube-dns"},
            },
            "addressType": "IPv4",
            "ports": ports,
            "endpoints": [{"addresses": [NODE_IP], "conditions": {"ready": true}}],
        }),
    ]
}
