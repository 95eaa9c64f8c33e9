//! Suspension, and pods on their way out.

use common::gang::PodGroupApi;
use serde_json::json;
use sim::cluster::Setup;
use sim::kubernetes::fail;
use sim::types::pod_groups;
use sim::value;

use super::fixture::{Fixture, FixtureOptions, kinds, slow_to_stop};
use super::steps::{
    alive, by_batch_job, ends_well, first, is, last, policy, restarts, rule, status, suspend, suspended, to,
    uid, when, without_twins_until,
};

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
            let options = FixtureOptions {
                setup: with_gangs(),
                ..FixtureOptions::default()
            };
            let fixture = Fixture::new(framework, options, |manifest| {
                rule(manifest, "suspend", true);
                if manifest["kind"] == "MPIJob" {
                    manifest["spec"]["launcherCreationPolicy"] = json!(launcher);
                }
            });
            let nothing = |after: &str| {
                assert_eq!(
                    super::steps::belongings(&fixture),
                    [""; 0],
                    "{} {after}",
                    fixture.info().kind
                );
                assert_eq!(status(&fixture).start_time, None, "{after}");
            };
            fixture.pass(120).await;
            nothing("created");
            fixture.network.hold(fixture.info().plural);
            suspend(&fixture, false);
            fixture.pass(2).await;
            suspend(&fixture, true);
            fixture.pass(2).await;
            fixture.network.release(fixture.info().plural);
            fixture.pass(120).await;
            // Whether the moment in between is seen is a matter of luck; what is made in it goes again.
            assert!(
                fixture.has_no_pods() && is(&fixture, "Suspended"),
                "{}",
                fixture.job()["status"]
            );
            suspend(&fixture, false);
            ends_well(fixture).await;
        }
    }
}

/// Resumed within the grace period, pods of the new attempt begin beside those of the old, which still end; two launchers at
/// once (jobset#1021, mpi#810, k8s#115844).
#[tokio::test(start_paused = true)]
async fn resumed_at_once_nobody_meets_his_predecessor() {
    for framework in kinds() {
        let options = FixtureOptions {
            setup: slow_to_stop(60),
            ..FixtureOptions::default()
        };
        let fixture = Fixture::new(framework, options, |_| {});
        fixture.runs().await;
        let old: Vec<String> = fixture
            .pods()
            .iter()
            .map(|pod| value::uid(pod).to_owned())
            .collect();
        suspend(&fixture, true);
        when(&fixture, "it is suspended", |t| is(t, "Suspended")).await;
        fixture.pass(5).await;
        suspend(&fixture, false);
        without_twins_until(&fixture, "all are new and run", |t| {
            let alive = alive(t);
            alive.len() == t.wanted()
                && alive.iter().all(|pod| !old.contains(&value::uid(pod).to_owned()))
                && is(t, "Running")
        })
        .await;
        ends_well(fixture).await;
    }
}

/// A pod that is on its way out is counted as failed, or replaced while it still runs (trainer#2124, trainer#2070, mpi#552,
/// k8s#115844).
#[tokio::test(start_paused = true)]
async fn a_terminating_pod_has_neither_failed_nor_gone() {
    for framework in kinds() {
        for restart_policy in ["OnFailure", "Never"] {
            let options = FixtureOptions {
                setup: slow_to_stop(60),
                ..FixtureOptions::default()
            };
            let fixture = Fixture::new(framework, options, |manifest| {
                policy(framework.kind(), manifest, restart_policy);
                rule(manifest, "backoffLimit", 0);
            });
            fixture.runs().await;
            let mut victims = vec![last(&fixture)];
            // A batch Job counts whatever ends its pod.
            victims.extend(Some(first(&fixture)).filter(|_| !by_batch_job(fixture.info())));
            for victim in victims {
                let before = uid(&fixture, &victim);
                fixture.delete(&victim, None);
                without_twins_until(&fixture, "it has gone", |t| uid(t, &victim) != before).await;
                without_twins_until(&fixture, "all run again", |t| {
                    alive(t).len() == t.wanted() && is(t, "Running")
                })
                .await;
            }
            assert_eq!(
                restarts(&fixture).0,
                0,
                "{} {}",
                fixture.info().kind,
                fixture.job()["status"]
            );
            ends_well(fixture).await;
        }
    }
}

/// Workers that end well when they are told to go count as done: after a resume the gang lacks them, and waits for ever
/// (kueue#10487).
#[tokio::test(start_paused = true)]
async fn who_ends_well_because_he_was_told_to_go_is_not_done() {
    for framework in kinds() {
        let options = FixtureOptions {
            setup: Setup {
                pod_groups: vec![PodGroupApi::Native],
                ..slow_to_stop(20)
            },
            replicas: 5,
            ..FixtureOptions::default()
        };
        let fixture = Fixture::new(framework, options, |_| {});
        fixture.runs().await;
        suspend(&fixture, true);
        when(&fixture, "its pods are told to go", |t| alive(t).is_empty()).await;
        for pod in fixture.pods().iter().rev().take(2) {
            to(&fixture, &sim::scenario::pod_key(pod), |store, key| {
                fail(store, key, 0, None)
            });
        }
        suspended(&fixture).await;
        suspend(&fixture, false);
        fixture.runs().await;
        assert_eq!(alive(&fixture).len(), fixture.wanted(), "{}", fixture.info().kind);
        let groups = fixture.shared.list(pod_groups(PodGroupApi::Native).resource);
        let asked = value::number(&groups[0], "/spec/schedulingPolicy/gang/minCount");
        assert_eq!(
            usize::try_from(asked).unwrap(),
            fixture.wanted(),
            "{}",
            fixture.info().kind
        );
        ends_well(fixture).await;
    }
}
