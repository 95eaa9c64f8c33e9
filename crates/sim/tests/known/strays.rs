//! Pods that nobody leads to any more: the owner is gone, or the label by which they are watched.

use common::names::OPERATOR_NAME;
use serde_json::json;
use sim::cluster::NAMESPACE;
use sim::scenario::pod_key;
use sim::store::{Key, Object, Who};
use sim::types::BATCH_JOBS;
use sim::value::name;

use super::acts::{alive, is, twins, waits_for, without_twins_until};
use super::stage::{Scene, Stage, by_batch_job, kinds, slow_to_stop};

/// A batch Job was deleted while no operator ran, and its pod took its time: who started then made a second launcher beside it
/// (found by four chaos runs).
#[tokio::test(start_paused = true)]
async fn a_launcher_runs_beside_one_that_was_left_behind() {
    for framework in kinds() {
        if !by_batch_job(framework.kind()) {
            continue;
        }
        let scene = Scene {
            setup: slow_to_stop(60),
            ..Scene::default()
        };
        let mut stage = Stage::new(framework, scene, |_| {});
        let kind = framework.kind().kind;
        stage.runs().await;
        let carrier = stage.shared.list(BATCH_JOBS)[0].clone();
        stage.crash();
        stage.delete(&Key::new(BATCH_JOBS, NAMESPACE, name(&carrier)), None);
        stage.pass(1).await;
        stage.start();
        stage.pass(30).await;
        assert_eq!(twins(&stage), None, "{kind}");
        let words = waits_for(&stage);
        assert!(words.contains("its batch Job is gone"), "{kind}: {words}");
        without_twins_until(&stage, "it runs again", |t| {
            alive(t).len() == t.wanted() && is(t, "Running")
        })
        .await;
        stage.runs().await;
        stage.closes().await;
    }
}

/// A pod whose label was changed holds its name, and no watch tells when that is free again: the job waited for ten minutes and
/// did not say for what (found by a chaos run). Seen by an operator that runs, it belongs to an earlier attempt; by one that did not,
/// to this one.
#[tokio::test(start_paused = true)]
async fn a_pod_that_lost_its_label_is_waited_for_in_silence() {
    for framework in kinds() {
        for (down, taken_off, way_out) in [
            (false, true, "put back"),
            (false, false, "deleted"),
            (true, true, "deleted"),
            (true, false, "put back"),
        ] {
            let mut stage = Stage::running(framework).await;
            let told = format!("{} {down} {taken_off} {way_out}", framework.kind().kind);
            let slot = |pod: &Object| framework.kind().slot_of("j", name(pod)).is_some();
            let pod = pod_key(stage.pods().iter().rev().find(|pod| slot(pod)).unwrap());
            let right = stage.shared.get(&pod).unwrap()["metadata"]["labels"][OPERATOR_NAME].clone();
            if down {
                stage.crash();
            }
            stage.shared.edit(&pod, Who::User, |pod| {
                let labels = pod["metadata"]["labels"].as_object_mut().unwrap();
                labels.remove(OPERATOR_NAME);
                if !taken_off {
                    labels.insert(OPERATOR_NAME.to_owned(), json!("mine"));
                }
            });
            if down {
                stage.start();
            }
            stage.pass(300).await;
            let tries = stage.count("409 create pods/");
            assert!((3..20).contains(&tries), "{told}: {tries} in 5 minutes");
            let words = waits_for(&stage);
            assert!(words.contains(OPERATOR_NAME), "{told}: {}", stage.job()["status"]);
            match way_out {
                "put back" => {
                    stage.shared.edit(&pod, Who::User, |pod| {
                        pod["metadata"]["labels"][OPERATOR_NAME] = right.clone();
                    });
                }
                _ => stage.delete(&pod, None),
            }
            stage.pass(150).await;
            assert!(is(&stage, "Running"), "{told}: {}", stage.job()["status"]);
            assert_eq!(alive(&stage).len(), stage.wanted(), "{told}");
            assert!(waits_for(&stage).is_empty(), "{told}");
            stage.closes().await;
        }
    }
}
