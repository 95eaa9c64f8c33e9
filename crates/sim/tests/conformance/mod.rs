//! The API server in memory answers as a real one does.
//!
//! `cargo test --package sim --test tests conformance:: -- --ignored --nocapture` asks both the same and compares. It starts etcd, an
//! API server and the garbage collector itself; with `KUBECONFIG` it asks that cluster, adds the CRDs that are missing, and
//! takes away the namespace that it makes.

mod operations;

use std::time::Duration;

use cluster::{ApiServer, ApiServerOptions};
use http::{Method, Request};
use kube::Client;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use operator::FRAMEWORKS;
use serde_json::json;
use sim::cluster::{Cluster, NAMESPACE, Setup};
use sim::conformance::{Answered, drive, unexpected};
use sim::link::Link;
use sim::network_faults::NoFaults;
use sim::store::Who;

use operations::operations;

fn in_memory() -> Vec<Answered> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let threads = builder.enable_time().start_paused(true).build().unwrap();
    threads.block_on(async {
        let setup = Setup {
            nodes: 0,
            ..Setup::default()
        };
        let cluster = Cluster::start(FRAMEWORKS, &setup);
        let link = Link::new(cluster.shared.clone(), Who::Client, NoFaults);
        drive(&Client::new(link, NAMESPACE), NAMESPACE, &operations(FRAMEWORKS)).await
    })
}

#[test]
fn the_answers_are_those_of_kubernetes() {
    let operations = operations(FRAMEWORKS);
    let answers = in_memory();
    println!("{} operations", operations.len());
    assert!(operations.len() > 300);
    let wrong = unexpected(&operations, &answers);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn send(client: &Client, method: Method, path: &str, body: Vec<u8>) -> u16 {
    let request = Request::builder().method(method).uri(path);
    let request = request
        .header("content-type", "application/json")
        .body(Body::from(body))
        .unwrap();
    client.send(request).await.unwrap().status().as_u16()
}

/// A real API server, unless the environment names one.
fn api_server() -> Option<ApiServer> {
    if std::env::var_os("KUBECONFIG").is_some() {
        return None;
    }
    let folder = std::env::temp_dir().join(format!("conformance-{}", std::process::id()));
    let options = ApiServerOptions {
        garbage_collector: true,
        ..ApiServerOptions::default()
    };
    Some(ApiServer::start(&folder, &options).unwrap())
}

async fn client(server: Option<&ApiServer>) -> Client {
    let Some(server) = server else {
        return Client::try_default().await.unwrap();
    };
    let kubeconfig = Kubeconfig::read_from(server.kubeconfig()).unwrap();
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options);
    Client::try_from(config.await.unwrap()).unwrap()
}

/// Sees to it that jobs of all kinds are served.
async fn with_crds(client: &Client) {
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    for framework in FRAMEWORKS {
        let info = framework.kind();
        let crd = serde_json::to_vec(&framework.crd()).unwrap();
        let code = send(client, Method::POST, path, crd).await;
        assert!([201, 409].contains(&code), "{}: {code}", info.kind);
        let list = format!("/apis/{}/{}/{}", info.group, info.version, info.plural);
        while send(client, Method::GET, &list, Vec::new()).await != 200 {
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
}

#[tokio::test]
#[ignore = "needs a real API server, which it starts itself if KUBECONFIG is not set: cargo test --package sim --test tests conformance:: -- --ignored"]
async fn a_real_api_server_answers_the_same() {
    rustls::crypto::ring::default_provider()
        .install_default()
        .unwrap();
    let server = api_server();
    let client = client(server.as_ref()).await;
    with_crds(&client).await;
    let namespace = format!("conformance-{}", std::process::id());
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    let made = send(
        &client,
        Method::POST,
        "/api/v1/namespaces",
        object.to_string().into_bytes(),
    );
    assert_eq!(made.await, 201);
    // Pods may need the service account that is made with the namespace.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let operations = operations(FRAMEWORKS);
    let real = drive(&client, &namespace, &operations).await;
    let path = format!("/api/v1/namespaces/{namespace}");
    assert_eq!(send(&client, Method::DELETE, &path, Vec::new()).await, 200);
    let memory = std::thread::spawn(in_memory).join().unwrap();
    let both = real.iter().zip(&memory).filter(|(real, memory)| real != memory);
    let differ: Vec<String> = both
        .map(|(real, memory)| format!("real   {real:?}\nmemory {memory:?}"))
        .collect();
    println!(
        "{} operations, {} answered otherwise",
        operations.len(),
        differ.len()
    );
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    let wrong = unexpected(&operations, &real);
    assert!(wrong.is_empty(), "not what the list says: {}", wrong.join("\n"));
}
