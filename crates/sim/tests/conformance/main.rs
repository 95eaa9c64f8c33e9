//! The API server in memory answers as a real one does.
//!
//! `KUBECONFIG=... cargo test --package sim --test conformance -- --ignored --nocapture` asks both the same and compares.
//! The cluster must have the CRDs; the test makes a namespace of its own and takes it away.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::too_many_lines,
    clippy::duration_suboptimal_units,
    reason = "tests fail by panicking, and read better without ceremony"
)]

mod operations;

use std::time::Duration;

use http::{Method, Request};
use kube::Client;
use kube::client::Body;
use operator::FRAMEWORKS;
use serde_json::json;
use sim::cluster::{Cluster, NAMESPACE, Setup};
use sim::conformance::{Answered, drive, unexpected};
use sim::link::{Fair, Link};
use sim::store::Who;

use crate::operations::operations;

fn in_memory() -> Vec<Answered> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let threads = builder.enable_time().start_paused(true).build().unwrap();
    threads.block_on(async {
        let setup = Setup {
            nodes: 0,
            ..Setup::default()
        };
        let cluster = Cluster::start(FRAMEWORKS, &setup);
        let link = Link::new(cluster.shared.clone(), Who::Client, Fair);
        drive(&Client::new(link, NAMESPACE), NAMESPACE, &operations(FRAMEWORKS)).await
    })
}

#[test]
fn the_answers_are_those_of_kubernetes() {
    let operations = operations(FRAMEWORKS);
    let answers = in_memory();
    println!("{} operations", operations.len());
    assert!(operations.len() > 100);
    let wrong = unexpected(&operations, &answers);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn send(client: &Client, method: Method, path: &str, body: Vec<u8>) {
    let request = Request::builder().method(method).uri(path);
    let request = request
        .header("content-type", "application/json")
        .body(Body::from(body))
        .unwrap();
    let answer = client.send(request).await.unwrap();
    assert!(answer.status().is_success(), "{path}: {}", answer.status());
}

#[tokio::test]
#[ignore = "needs a cluster with the CRDs: KUBECONFIG=... cargo test --package sim --test conformance -- --ignored"]
async fn a_real_api_server_answers_the_same() {
    rustls::crypto::ring::default_provider()
        .install_default()
        .unwrap();
    let client = Client::try_default().await.unwrap();
    let namespace = format!("conformance-{}", std::process::id());
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    send(
        &client,
        Method::POST,
        "/api/v1/namespaces",
        object.to_string().into_bytes(),
    )
    .await;
    // Pods need the service account that is made with the namespace.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let operations = operations(FRAMEWORKS);
    let real = drive(&client, &namespace, &operations).await;
    send(
        &client,
        Method::DELETE,
        &format!("/api/v1/namespaces/{namespace}"),
        Vec::new(),
    )
    .await;
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
