//! Nodes that are lost, and pods lost with them.

use std::sync::{Arc, Mutex};

use common::Settings;
use serde_json::json;
use sim::kubernetes::{fail, set_node};
use sim::request::{Request, Verb};
use sim::scenario::{TestJob, pod_key};
use sim::store::{Key, Store, Who};
use sim::types::PODS;
use sim::value::{metadata, phase, text};

use super::fixture::{Fixture, FixtureOptions, kinds};
use super::steps::{
    alive, by_batch_job, ends_well, first, has_ended, is, last, message, policy, replaced, restarts, rule,
    to, twins, uid, waits_for, when,
};

fn lost_after(limit: Option<i64>) -> FixtureOptions {
    FixtureOptions {
        settings: Settings {
            node_lost_after: limit,
            ..Settings::default()
        },
        ..FixtureOptions::default()
    }
}

/// Names of pods that the operator deletes by force, from now on.
fn forced(fixture: &Fixture) -> Arc<Mutex<Vec<String>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&seen);
    fixture.network.rule(move |request: &Request| {
        let by_force = request.verb == Verb::Delete && request.body["gracePeriodSeconds"] == json!(0);
        if by_force && request.plural == PODS.plural {
            list.lock().unwrap().push(request.name.clone());
        }
        None
    });
    seen
}

/// The pod of a node that is gone stays in Terminating for ever, and its job in Restarting; nobody says why; or the pod is
/// replaced, and lives beside its successor when the node comes back (trainer#2072, trainer#959, ray#4078, jobset#576,
/// k8s#51835).
#[tokio::test(start_paused = true)]
async fn a_pod_that_terminates_on_a_dead_node_is_named_and_given_up_once() {
    for framework in kinds() {
        for limit in [Some(60), None] {
            let fixture = Fixture::new(framework, lost_after(limit), |_| {});
            fixture.runs().await;
            let by_force = forced(&fixture);
            let node = fixture.node();
            let lost: Vec<Key> = fixture
                .pods()
                .iter()
                .filter(|pod| text(pod, "/spec/nodeName") == node)
                .map(|pod| pod_key(pod))
                .collect();
            let before: Vec<String> = lost.iter().map(|key| uid(&fixture, key)).collect();
            fixture.shared.store(|store| set_node(store, &node, false));
            fixture.pass(20).await;
            for key in &lost {
                fixture.delete(key, None);
            }
            fixture.pass(20).await;
            let told = waits_for(&fixture);
            if limit.is_some() {
                assert!(
                    told.contains(&node) && lost.iter().any(|key| told.contains(&key.name)),
                    "{told}"
                );
            } else {
                assert!(told.contains("terminate") || !is(&fixture, "Running"), "{told}");
            }
            fixture.pass(60).await;
            let deleted = by_force.lock().unwrap().clone();
            if limit.is_some() {
                let mut wanted: Vec<&str> = lost.iter().map(|key| &*key.name).collect();
                wanted.sort_unstable();
                let mut deleted = deleted.clone();
                deleted.sort();
                assert_eq!(
                    deleted,
                    wanted,
                    "{}: one delete by force each",
                    fixture.info().kind
                );
                when(&fixture, "it runs elsewhere", |t| {
                    alive(t).len() == t.wanted() && is(t, "Running")
                })
                .await;
            } else {
                fixture.pass(3600).await;
                assert_eq!(by_force.lock().unwrap().len(), 0, "{}", fixture.info().kind);
                let now: Vec<String> = lost.iter().map(|key| uid(&fixture, key)).collect();
                assert_eq!(now, before, "{}: their replicas stay taken", fixture.info().kind);
            }
            fixture.shared.store(|store| set_node(store, &node, true));
            when(&fixture, "all run", |t| {
                assert_eq!(twins(t), None);
                alive(t).len() == t.wanted() && is(t, "Running")
            })
            .await;
            assert_eq!(restarts(&fixture).0, 0, "{}", fixture.info().kind);
            ends_well(fixture).await;
        }
    }
}

/// The kubelet needs the room: the pod ends without any container status, and without the condition DisruptionTarget.
fn evict(store: &mut Store, key: &Key) {
    let Some(pod) = store.get(key) else { return };
    let mut pod = (**pod).clone();
    pod["status"] =
        json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."});
    store.put(Who::Kubernetes, key, pod);
}

/// An evicted pod is never replaced, or the job fails with the rest left running and its time to live ignored (ray#372,
/// ray#2125, mpi#647).
#[tokio::test(start_paused = true)]
async fn an_evicted_pod_is_replaced_or_the_job_ends_in_good_order() {
    for framework in kinds() {
        let info = framework.kind();
        for leader in [false, true] {
            for restart_policy in [
                if by_batch_job(info) {
                    "OnFailure"
                } else {
                    "ExitCode"
                },
                "Never",
            ] {
                let fixture = Fixture::new(framework, FixtureOptions::default(), |manifest| {
                    policy(info, manifest, restart_policy);
                    rule(manifest, "cleanPodPolicy", "Running");
                    rule(manifest, "ttlSecondsAfterFinished", 60);
                });
                fixture.runs().await;
                let victim = if leader { first(&fixture) } else { last(&fixture) };
                let told = format!("{} {restart_policy} {leader}", info.kind);
                to(&fixture, &victim, evict);
                fixture.pass(30).await;
                if restart_policy == "Never" && !by_batch_job(info) {
                    assert!(is(&fixture, "Failed"), "{told}: {}", fixture.job()["status"]);
                    let words = message(&fixture, "Failed");
                    assert!(
                        words.contains(&victim.name) && words.contains("Evicted"),
                        "{words}"
                    );
                    assert!(alive(&fixture).is_empty(), "{told}: the others are cleaned up");
                    when(&fixture, "it is gone", |t| t.job().is_null()).await;
                } else {
                    fixture.runs().await;
                    assert_eq!(restarts(&fixture).0, 1, "{told}");
                    fixture.finish().await;
                    when(&fixture, "it is gone", |t| t.job().is_null()).await;
                }
                fixture.closes().await;
            }
        }
    }
}

/// What the kubelet says of a container whose end it has missed.
fn lose_track(store: &mut Store, key: &Key) {
    let Some(pod) = store.get(key) else { return };
    let mut pod = (**pod).clone();
    let ended = json!({"exitCode": 137, "reason": "ContainerStatusUnknown",
        "message": "The container could not be located when the pod was terminated"});
    if let Some(statuses) = pod["status"]["containerStatuses"].as_array_mut() {
        for status in statuses {
            status["state"] = json!({"terminated": ended});
        }
    }
    pod["status"]["phase"] = json!("Failed");
    store.put(Who::Kubernetes, key, pod);
}

/// The launcher or head ends without a result that anybody knows, its successor begins with nothing, and the job says Running
/// for ever (ray#3860, ray#3903, mpi#127).
#[tokio::test(start_paused = true)]
async fn a_leader_without_a_result_is_begun_anew_within_the_limit_and_then_the_job_fails() {
    let ends: [fn(&mut Store, &Key); 3] = [lose_track, evict, |store, key| {
        // Even its pod is gone.
        store.remove(Who::Kubernetes, key);
    }];
    for framework in kinds() {
        for (n, end) in ends.into_iter().enumerate() {
            let fixture = Fixture::new(framework, FixtureOptions::default(), |manifest| {
                replaced(framework.kind(), manifest);
                rule(manifest, "backoffLimit", 1);
            });
            let told = format!("{} {n}", framework.kind().kind);
            fixture.runs().await;
            let old = uid(&fixture, &first(&fixture));
            to(&fixture, &first(&fixture), end);
            fixture.pass(3).await;
            fixture.runs().await;
            assert_ne!(uid(&fixture, &first(&fixture)), old, "{told}");
            to(&fixture, &first(&fixture), lose_track);
            fixture.pass(3).await;
            if restarts(&fixture).0 < 2 && !has_ended(&fixture) {
                // The first end was nobody's fault.
                fixture.runs().await;
                to(&fixture, &first(&fixture), lose_track);
            }
            TestJob::ends(&fixture).await;
            assert!(is(&fixture, "Failed"), "{told}: {}", fixture.job()["status"]);
            fixture.closes().await;
        }
    }
}

/// What becomes of a pod.
type Change = fn(&mut serde_json::Value);

/// A filter of events hides what decisions rest on: the job waits until something else happens (ray#872, ray#850). Each fact
/// of a pod that tells of trouble or of progress is acted on within a second, though nothing else changes.
#[tokio::test(start_paused = true)]
async fn whatever_happens_to_a_pod_is_acted_on_at_once() {
    for framework in kinds() {
        let fixture = Fixture::new(framework, FixtureOptions::default(), |manifest| {
            replaced(framework.kind(), manifest)
        });
        fixture.runs().await;
        let victim = last(&fixture);
        let said = |fixture: &Fixture| fixture.job()["status"].to_string();
        let facts: [(&str, Change); 4] = [
            ("a container waits", |pod| {
                pod["status"]["containerStatuses"][0]["state"] =
                    json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}});
            }),
            ("it was restarted", |pod| {
                pod["status"]["containerStatuses"][0]["restartCount"] = json!(3)
            }),
            ("it is not placed", |pod| {
                pod["status"]["phase"] = json!("Pending");
                pod["status"]["conditions"] = json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                    "message": "0/3 nodes are available"}]);
            }),
            ("it is as it was", |pod| {
                pod["status"]["phase"] = json!("Running");
                pod["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
                pod["status"]["containerStatuses"][0]["state"] = json!({"running": {}});
            }),
        ];
        for (what, change) in facts {
            let before = said(&fixture);
            fixture.shared.edit(&victim, Who::Kubernetes, change);
            fixture.pass(2).await;
            assert_ne!(said(&fixture), before, "{}: {what}", fixture.info().kind);
        }
        // What decisions do not read wakes nobody.
        let asked = fixture.clock.asked();
        fixture.shared.edit(&victim, Who::User, |pod| {
            metadata(pod).insert("annotations".to_owned(), json!({"noise": "1"}));
        });
        fixture.shared.edit(&victim, Who::Kubernetes, |pod| {
            pod["status"]["podIP"] = json!("10.0.0.1")
        });
        fixture.pass(2).await;
        assert_eq!(fixture.clock.asked(), asked, "{}", fixture.info().kind);
        to(&fixture, &victim, |store, key| fail(store, key, 137, None));
        fixture.pass(1).await;
        assert!(!is(&fixture, "Running") || phase(&fixture.shared.get(&victim).unwrap()) != "Failed");
        ends_well(fixture).await;
    }
}
