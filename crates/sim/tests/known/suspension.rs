//! Suspension, and pods on their way out.

use common::gang::PodGroupApi;
use serde_json::json;
use sim::cluster::Setup;
use sim::kubernetes::fail;
use sim::types::pod_groups;
use sim::value;

use super::acts::{
    alive, by_batch_job, ends_well, first, is, last, policy, restarts, rule, status, suspend, suspended, to,
    uid, when, without_twins_until,
};
use super::stage::{Scene, Stage, kinds, slow_to_stop};

/// A cluster with Kubernetes' own PodGroups.
fn with_gangs() -> Setup {
    Setup {
        pod_groups: vec![PodGroupApi::Native],
        ..Setup::default()
    }
}

/// Of a suspended job something is made all the same: no worker of none being ready is "all are ready" (mpi#617, mpi#670).
#[tokio::test(start_paused = true)]
async fn a_suspended_job_has_nothing_and_begins_with_nothing() {
    for framework in kinds() {
        for launcher in ["AtStartup", "WaitForWorkersReady"] {
            let scene = Scene {
                setup: with_gangs(),
                ..Scene::default()
            };
            let stage = Stage::new(framework, scene, |manifest| {
                rule(manifest, "suspend", true);
                if manifest["kind"] == "MPIJob" {
                    manifest["spec"]["launcherCreationPolicy"] = json!(launcher);
                }
            });
            let nothing = |after: &str| {
                assert_eq!(
                    super::acts::belongings(&stage),
                    [""; 0],
                    "{} {after}",
                    stage.info().kind
                );
                assert_eq!(status(&stage).start_time, None, "{after}");
            };
            stage.pass(120).await;
            nothing("created");
            stage.sky.hold(stage.info().plural);
            suspend(&stage, false);
            stage.pass(2).await;
            suspend(&stage, true);
            stage.pass(2).await;
            stage.sky.release(stage.info().plural);
            stage.pass(120).await;
            // Whether the moment in between is seen is a matter of luck; what is made in it goes again.
            assert!(
                stage.has_no_pods() && is(&stage, "Suspended"),
                "{}",
                stage.job()["status"]
            );
            suspend(&stage, false);
            ends_well(stage).await;
        }
    }
}

/// Resumed within the grace period, pods of the new attempt begin beside those of the old, which still end; two launchers at
/// once (jobset#1021, mpi#810, k8s#115844).
#[tokio::test(start_paused = true)]
async fn resumed_at_once_nobody_meets_his_predecessor() {
    for framework in kinds() {
        let scene = Scene {
            setup: slow_to_stop(60),
            ..Scene::default()
        };
        let stage = Stage::new(framework, scene, |_| {});
        stage.runs().await;
        let old: Vec<String> = stage
            .pods()
            .iter()
            .map(|pod| value::uid(pod).to_owned())
            .collect();
        suspend(&stage, true);
        when(&stage, "it is suspended", |t| is(t, "Suspended")).await;
        stage.pass(5).await;
        suspend(&stage, false);
        without_twins_until(&stage, "all are new and run", |t| {
            let alive = alive(t);
            alive.len() == t.wanted()
                && alive.iter().all(|pod| !old.contains(&value::uid(pod).to_owned()))
                && is(t, "Running")
        })
        .await;
        ends_well(stage).await;
    }
}

/// A pod that is on its way out is counted as failed, or replaced while it still runs (trainer#2124, trainer#2070, mpi#552,
/// k8s#115844).
#[tokio::test(start_paused = true)]
async fn a_terminating_pod_has_neither_failed_nor_gone() {
    for framework in kinds() {
        for restart_policy in ["OnFailure", "Never"] {
            let scene = Scene {
                setup: slow_to_stop(60),
                ..Scene::default()
            };
            let stage = Stage::new(framework, scene, |manifest| {
                policy(framework.kind(), manifest, restart_policy);
                rule(manifest, "backoffLimit", 0);
            });
            stage.runs().await;
            let mut victims = vec![last(&stage)];
            // A batch Job counts whatever ends its pod.
            victims.extend(Some(first(&stage)).filter(|_| !by_batch_job(stage.info())));
            for victim in victims {
                let before = uid(&stage, &victim);
                stage.delete(&victim, None);
                without_twins_until(&stage, "it has gone", |t| uid(t, &victim) != before).await;
                without_twins_until(&stage, "all run again", |t| {
                    alive(t).len() == t.wanted() && is(t, "Running")
                })
                .await;
            }
            assert_eq!(
                restarts(&stage).0,
                0,
                "{} {}",
                stage.info().kind,
                stage.job()["status"]
            );
            ends_well(stage).await;
        }
    }
}

/// Workers that end well when they are told to go count as done: after a resume the gang lacks them, and waits for ever
/// (kueue#10487).
#[tokio::test(start_paused = true)]
async fn who_ends_well_because_he_was_told_to_go_is_not_done() {
    for framework in kinds() {
        let scene = Scene {
            setup: Setup {
                pod_groups: vec![PodGroupApi::Native],
                ..slow_to_stop(20)
            },
            replicas: 5,
            ..Scene::default()
        };
        let stage = Stage::new(framework, scene, |_| {});
        stage.runs().await;
        suspend(&stage, true);
        when(&stage, "its pods are told to go", |t| alive(t).is_empty()).await;
        for pod in stage.pods().iter().rev().take(2) {
            to(&stage, &sim::story::pod_key(pod), |store, key| {
                fail(store, key, 0, None)
            });
        }
        suspended(&stage).await;
        suspend(&stage, false);
        stage.runs().await;
        assert_eq!(alive(&stage).len(), stage.wanted(), "{}", stage.info().kind);
        let groups = stage.shared.list(pod_groups(PodGroupApi::Native).resource);
        let asked = value::number(&groups[0], "/spec/schedulingPolicy/gang/minCount");
        assert_eq!(
            usize::try_from(asked).unwrap(),
            stage.wanted(),
            "{}",
            stage.info().kind
        );
        ends_well(stage).await;
    }
}
