//! Deadlines, times to live, times of start and end.

use std::time::Duration;

use serde_json::json;
use sim::kubernetes::fail;
use sim::refusal::Refusal;
use sim::request::Verb;
use sim::story::Teller;
use sim::types::PODS;
use sim::value::{self, phase};
use tokio::time::Instant;

use super::acts::{
    by_batch_job, ends_well, first, has_ended, is, last, policy, replaced, restarts, rule, status, suspend,
    suspended, to, uid, waits_for, when,
};
use super::stage::{Scene, Stage, kinds, refused};

/// Seconds between start and end of a job.
fn lasted(teller: &Teller) -> i64 {
    let status = status(teller);
    status.completion_time.unwrap().0.as_second() - status.start_time.unwrap().0.as_second()
}

/// A deadline that came near while no operator ran is forgotten, or found only by the next event (k8s#62134, k8s#97101).
#[tokio::test(start_paused = true)]
async fn a_deadline_fires_though_nothing_else_happens() {
    for framework in kinds() {
        for (down, up, ends) in [(100, 150, 300), (290, 310, 310)] {
            let mut stage = Stage::new(framework, Scene::default(), |m| {
                rule(m, "activeDeadlineSeconds", 300)
            });
            let begun = when(&stage, "it has begun", |t| status(t).start_time.is_some()).await;
            tokio::time::sleep_until(begun + Duration::from_secs(down)).await;
            stage.crash();
            tokio::time::sleep_until(begun + Duration::from_secs(up)).await;
            stage.start();
            when(&stage, "it has ended", has_ended).await;
            assert!(is(&stage, "Failed"));
            assert!(
                (ends..=ends + 1).contains(&lasted(&stage)),
                "{} {}",
                stage.info().kind,
                lasted(&stage)
            );
            stage.closes().await;
        }
    }
}

/// After a resume what was left of the deadline counts on, instead of all of it anew.
#[tokio::test(start_paused = true)]
async fn a_resumed_job_has_all_its_time() {
    for framework in kinds() {
        let stage = Stage::new(framework, Scene::default(), |m| {
            rule(m, "activeDeadlineSeconds", 300)
        });
        stage.runs().await;
        stage.pass(200).await;
        suspend(&stage, true);
        suspended(&stage).await;
        stage.pass(900).await;
        assert!(!has_ended(&stage), "a suspended job has no deadline");
        suspend(&stage, false);
        stage.runs().await;
        when(&stage, "it has ended", has_ended).await;
        assert!(
            (300..=301).contains(&lasted(&stage)),
            "{} {}",
            stage.info().kind,
            lasted(&stage)
        );
        stage.closes().await;
    }
}

/// Of a deadline and a pause before a restart the later timer replaces the earlier one, and that never fires (vol#3973).
#[tokio::test(start_paused = true)]
async fn of_two_timers_none_is_lost() {
    for framework in kinds() {
        let stage = Stage::new(framework, Scene::default(), |manifest| {
            replaced(framework.kind(), manifest);
            rule(manifest, "activeDeadlineSeconds", 150);
        });
        stage.runs().await;
        let victim = last(&stage);
        for n in 1..=5 {
            stage.runs().await;
            to(&stage, &victim, |store, key| fail(store, key, 137, None));
            when(&stage, "the restart is stored", |t| restarts(t).0 == n).await;
        }
        // A restart is due in 40 s, and the deadline later; then a restart in 80 s, and the deadline before it.
        let failed = Instant::now();
        let made = when(&stage, "it is made anew", |t| {
            t.shared.get(&victim).is_some_and(|pod| phase(&pod) == "Running")
        });
        let made = made.await;
        assert!(
            (39..45).contains(&(made - failed).as_secs()),
            "{:?}",
            made - failed
        );
        stage.runs().await;
        to(&stage, &victim, |store, key| fail(store, key, 137, None));
        when(&stage, "it says what it waits for", |t| {
            waits_for(t).contains("due at")
        })
        .await;
        stage.nudge("while it waits");
        when(&stage, "it has ended", has_ended).await;
        assert!(
            (150..=151).contains(&lasted(&stage)),
            "{} {}",
            stage.info().kind,
            lasted(&stage)
        );
        stage.closes().await;
    }
}

/// Ends the job in one of the ways in which jobs end.
async fn end_by(stage: &Stage, way: &str) {
    stage.runs().await;
    match way {
        "success" => stage.finish().await,
        "limit" => to(stage, &last(stage), |store, key| fail(store, key, 137, None)),
        "failure" => {
            let key = if by_batch_job(stage.info()) {
                first(stage)
            } else {
                last(stage)
            };
            to(stage, &key, |store, key| fail(store, key, 1, None));
        }
        _ => {} // its deadline is near
    }
}

/// Some ends have no completionTime, and so their job is never deleted; or running pods of it stay until then
/// (trainer#1614, trainer#2239, jobset#667).
#[tokio::test(start_paused = true)]
async fn a_time_to_live_counts_from_whatever_end() {
    for framework in kinds() {
        for way in ["success", "limit", "failure", "deadline"] {
            for ttl in [None, Some(0), Some(300)] {
                let mut stage = Stage::new(framework, Scene::default(), |manifest| {
                    let restart_policy = if way == "failure" { "Never" } else { "OnFailure" };
                    policy(framework.kind(), manifest, restart_policy);
                    rule(manifest, "backoffLimit", 0);
                    if way == "deadline" {
                        rule(manifest, "activeDeadlineSeconds", 20);
                    }
                    if let Some(ttl) = ttl {
                        rule(manifest, "ttlSecondsAfterFinished", ttl);
                    }
                });
                end_by(&stage, way).await;
                let told = format!("{} {way} {ttl:?}", stage.info().kind);
                when(&stage, "it has ended", |t| t.job().is_null() || has_ended(t)).await;
                let ended = status(&stage).completion_time;
                let Some(ttl) = ttl else {
                    stage.pass(7200).await;
                    assert!(has_ended(&stage), "{told}");
                    assert!(ended.is_some(), "{told}");
                    stage.closes().await;
                    continue;
                };
                if ttl == 300 {
                    stage.restart();
                }
                when(&stage, "it is gone", |t| t.job().is_null()).await;
                let gone = stage.shared.lock().server.store.now();
                if let Some(ended) = ended {
                    let lived = gone.as_second() - ended.0.as_second();
                    assert!((ttl..=ttl + 1).contains(&lived), "{told}: {lived}");
                }
                stage.closes().await;
            }
        }
    }
}

/// A time to live that was raised in the meantime: the job is deleted by the old one, which a late view still has
/// (k8s#66840).
#[tokio::test(start_paused = true)]
async fn a_time_to_live_that_was_raised_unseen_holds() {
    for framework in kinds() {
        let stage = Stage::new(framework, Scene::default(), |m| {
            rule(m, "ttlSecondsAfterFinished", 20)
        });
        stage.runs().await;
        stage.finish().await;
        when(&stage, "it has ended", has_ended).await;
        let ended = status(&stage).completion_time.unwrap().0.as_second();
        stage.pass(8).await;
        stage.sky.hold(stage.info().plural);
        stage.edit("/runPolicy/ttlSecondsAfterFinished", json!(100));
        stage.pass(20).await;
        assert!(has_ended(&stage), "{}: it is gone", stage.info().kind);
        assert!(
            stage.count(&format!("409 delete {}/j", stage.info().plural)) > 0,
            "{:?}",
            stage.writes()
        );
        stage.sky.release(stage.info().plural);
        when(&stage, "it is gone", |t| t.job().is_null()).await;
        let lived = stage.shared.lock().server.store.now().as_second() - ended;
        assert!((100..=101).contains(&lived), "{}: {lived}", stage.info().kind);
        stage.closes().await;
    }
}

/// A suspended job counts as finished, and its time to live deletes it (trainer#2239, kueue#2923).
#[tokio::test(start_paused = true)]
async fn a_suspended_job_lives_on() {
    for framework in kinds() {
        let stage = Stage::new(framework, Scene::default(), |m| {
            rule(m, "ttlSecondsAfterFinished", 3)
        });
        stage.runs().await;
        suspend(&stage, true);
        suspended(&stage).await;
        stage.pass(7200).await;
        assert!(is(&stage, "Suspended"));
        suspend(&stage, false);
        stage.runs().await;
        stage.finish().await;
        when(&stage, "it is gone", |t| t.job().is_null()).await;
        stage.closes().await;
    }
}

/// The clean-up or time to live of a finished job hits its successor of the same name (lib-common#78, k8s#66840).
#[tokio::test(start_paused = true)]
async fn the_successor_is_not_deleted_in_its_predecessors_place() {
    for framework in kinds() {
        let stage = Stage::new(framework, Scene::default(), |m| {
            rule(m, "ttlSecondsAfterFinished", 20)
        });
        stage.runs().await;
        stage.finish().await;
        when(&stage, "it has ended", has_ended).await;
        stage.pass(8).await;
        stage.sky.hold(stage.info().plural);
        stage.delete(&stage.key(), None);
        let successor = value::uid(&stage.create(|_| {})).to_owned();
        stage.pass(30).await;
        assert!(
            stage.count(&format!("409 delete {}/j", stage.info().plural)) > 0,
            "{:?}",
            stage.writes()
        );
        stage.sky.release(stage.info().plural);
        stage.pass(10).await;
        assert_eq!(uid(&stage, &stage.key()), successor, "{}", stage.info().kind);
        ends_well(stage).await;
    }
}

/// startTime and completionTime move: by a restart of the operator or of a pod, by an error, by scaling, by a clock that is
/// set back (k8s#134521, k8s#98727, trainer#1001, trainer#1226, trainer#1643, ray#4894).
#[tokio::test(start_paused = true)]
async fn start_and_end_are_stated_once() {
    for framework in kinds() {
        let mut stage = Stage::new(framework, Scene::default(), |manifest| {
            replaced(framework.kind(), manifest);
            rule(manifest, "cleanPodPolicy", "All");
        });
        stage.runs().await;
        let begun = status(&stage).start_time;
        assert!(begun.is_some());
        let kind = stage.info().kind;
        let stands =
            |stage: &Stage, after: &str| assert_eq!(status(stage).start_time, begun, "{kind}: after {after}");
        to(&stage, &last(&stage), |store, key| fail(store, key, 137, None));
        stage.pass(3).await;
        stage.runs().await;
        stands(&stage, "the restart of a pod");
        stage.restart();
        stage.pass(30).await;
        stands(&stage, "the restart of the operator");
        let mut left = 3;
        let conflicts = stage.sky.rule(move |request| {
            let hit = left > 0 && request.verb == Verb::Patch && request.subresource == "status";
            left -= i32::from(hit);
            hit.then(|| refused(Refusal::conflict(PODS, "j", "injected")))
        });
        to(&stage, &last(&stage), |store, key| {
            fail(store, key, 137, Some("EvictionByEvictionAPI"))
        });
        stage.pass(30).await;
        stage.runs().await;
        stage.sky.end(conflicts);
        stands(&stage, "conflicts");
        if stage.info().scaled_role.is_some() {
            stage.scale(3);
            stage.pass(3).await;
            stage.runs().await;
            stands(&stage, "scaling");
        }
        suspend(&stage, true);
        suspended(&stage).await;
        stage.pass(60).await;
        suspend(&stage, false);
        stage.runs().await;
        let again = status(&stage).start_time;
        assert!(
            again.as_ref().map(|t| t.0) > begun.map(|t| t.0),
            "{kind}: resumed it begins anew"
        );
        stage.shared.lock().judge.clocks_differ = true;
        stage.clock.wrong_by(-3600);
        stage.finish().await;
        Teller::ends(&stage).await;
        let ended = status(&stage);
        assert_eq!(ended.start_time, again, "{kind}");
        assert!(
            ended.completion_time.as_ref().map(|t| t.0) >= again.map(|t| t.0),
            "{kind}"
        );
        stage.restart();
        stage.pass(600).await;
        assert_eq!(status(&stage).completion_time, ended.completion_time, "{kind}");
        stage.closes().await;
    }
}
