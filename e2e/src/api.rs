//! Reading from the API server without a program in between: a test looks twice a second, and each start of `kubectl` costs a
//! tenth of a second of a processor.

use std::sync::OnceLock;

use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;
use tokio::runtime::Runtime;

/// Kinds by the names that tests use for them, with the paths that they are served at.
const KINDS: &[(&str, &str, &str)] = &[
    ("configmap", "api/v1", "configmaps"),
    ("event", "api/v1", "events"),
    ("node", "api/v1", "nodes"),
    ("pod", "api/v1", "pods"),
    ("secret", "api/v1", "secrets"),
    ("service", "api/v1", "services"),
    ("hpa", "apis/autoscaling/v2", "horizontalpodautoscalers"),
    ("job", "apis/batch/v1", "jobs"),
    ("jxj", "apis/kubeflow.org/v1", "jaxjobs"),
    ("mpij", "apis/kubeflow.org/v2beta1", "mpijobs"),
    ("mpijobs.v1.kubeflow.org", "apis/kubeflow.org/v1", "mpijobs"),
    (
        "mpijobs.v2beta1.kubeflow.org",
        "apis/kubeflow.org/v2beta1",
        "mpijobs",
    ),
    ("mxj", "apis/kubeflow.org/v1", "mxjobs"),
    ("pdj", "apis/kubeflow.org/v1", "paddlejobs"),
    ("ptj", "apis/kubeflow.org/v1", "pytorchjobs"),
    ("tfj", "apis/kubeflow.org/v1", "tfjobs"),
    ("xgbj", "apis/kubeflow.org/v1", "xgboostjobs"),
];

/// The path of the objects of a kind in a namespace; none for a kind that is not listed here.
pub(crate) fn path(kind: &str, namespace: &str) -> Option<String> {
    let (_, group, plural) = KINDS.iter().find(|(name, ..)| *name == kind)?;
    Some(if kind == "node" {
        format!("/{group}/{plural}")
    } else {
        format!("/{group}/namespaces/{namespace}/{plural}")
    })
}

/// What is at a path; none if the answer is not 200.
pub(crate) fn text(path: &str) -> Option<String> {
    let (threads, client) = connection();
    let request = axum::http::Request::get(path).body(Vec::new()).expect("a path");
    threads.block_on(client.request_text(request)).ok()
}

/// The object or list at a path; none if the answer is not 200.
pub(crate) fn json(path: &str) -> Option<Value> {
    Some(serde_json::from_str(&text(path)?).expect("JSON"))
}

/// One connection for all tests of a process.
fn connection() -> &'static (Runtime, kube::Client) {
    static CONNECTION: OnceLock<(Runtime, kube::Client)> = OnceLock::new();
    CONNECTION.get_or_init(|| {
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("threads");
        let path =
            std::env::var_os("KUBECONFIG").expect("no cluster: run `cargo xtask test`, or set KUBECONFIG");
        let client = threads.block_on(client(path.as_ref()));
        (threads, client)
    })
}

/// A client with the credentials of a kubeconfig.
pub(crate) async fn client(kubeconfig: &std::path::Path) -> kube::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
    kube::Client::try_from(config.expect("its cluster")).expect("a client")
}
