//! An API server without a node, for real. On a cold cache this builds Kubernetes, so it runs only when asked for:
//! `cargo test -p cluster -- --ignored`.

use std::time::{Duration, Instant};

use cluster::{ApiServer, ApiServerOptions};

/// What kubectl prints; none when it fails.
fn kubectl(server: &ApiServer, args: &[&str]) -> Option<String> {
    let output = server.kubectl_command(args).ok()?.output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
#[ignore = "builds Kubernetes on a cold cache"]
fn dependents_go_with_their_owner_and_nothing_stays_behind() {
    let folder = std::env::temp_dir().join(format!("api-server-{}", std::process::id()));
    let options = ApiServerOptions {
        garbage_collector: true,
        ..ApiServerOptions::default()
    };
    let begun = Instant::now();
    let server = ApiServer::start(&folder, &options).unwrap();
    eprintln!("ready after {:.1} s", begun.elapsed().as_secs_f64());

    assert!(kubectl(&server, &["create", "configmap", "owner"]).is_some());
    assert!(kubectl(&server, &["create", "configmap", "dependent"]).is_some());
    let uid = kubectl(
        &server,
        &["get", "configmap", "owner", "-o", "jsonpath={.metadata.uid}"],
    )
    .unwrap();
    let owner = format!(
        r#"{{"metadata":{{"ownerReferences":[{{"apiVersion":"v1","kind":"ConfigMap","name":"owner","uid":"{uid}"}}]}}}}"#
    );
    assert!(kubectl(&server, &["patch", "configmap", "dependent", "-p", &owner]).is_some());
    assert!(kubectl(&server, &["run", "pod", "--image=none"]).is_some());
    assert!(kubectl(&server, &["get", "podgroups"]).is_some());
    assert!(kubectl(&server, &["delete", "configmap", "owner"]).is_some());
    let gone = Instant::now() + Duration::from_secs(30);
    while kubectl(&server, &["get", "configmap", "dependent"]).is_some() {
        assert!(Instant::now() < gone, "the dependent is still there");
        std::thread::sleep(Duration::from_millis(100));
    }

    drop(server);
    assert!(!folder.exists());
}
