//! Restarts, limits, deadlines and suspension.

use std::time::Duration;

use common::Framework;
use common::gang::PodGroupApi;
use serde_json::json;
use sim::cluster::Setup;
use sim::kubernetes::{self, Pace, fail};
use sim::link::{Fate, Trip};
use sim::refusal::Refusal;
use sim::request::Verb;
use sim::store::{Key, Store};
use sim::story::Teller;
use sim::types::{PODS, pod_groups};
use sim::value::{self, phase};
use tokio::time::Instant;

use crate::acts::{
    DISRUPTIONS, alive, by_batch_job, ends_well, first, has_ended, is, last, message, policy, replaced, restarts, rule,
    status, suspend, suspended, to, uid, waits_for, when, without_twins_until,
};
use crate::stage::{Scene, Stage, kinds, refused};

/// A cluster with Kubernetes' own PodGroups.
fn with_gangs() -> Setup {
    Setup {
        pod_groups: vec![PodGroupApi::Native],
        ..Setup::default()
    }
}

/// Pods take so long to end.
fn slow_to_stop(seconds: u64) -> Setup {
    Setup {
        pace: Pace {
            stop: (seconds * 1000, 0),
            ..Pace::STEADY
        },
        ..Setup::default()
    }
}

/// Under which policy what fails, and whether it is restarted in place.
type Way = (&'static str, fn(&mut Store, &Key), bool);

/// Failures that are worth another try.
fn ways(framework: &dyn Framework) -> Vec<Way> {
    let killed: fn(&mut Store, &Key) = |store, key| fail(store, key, 137, None);
    let crashed: fn(&mut Store, &Key) = |store, key| kubernetes::end(store, key, 1);
    if by_batch_job(framework.kind()) {
        return vec![("OnFailure", killed, false), ("OnFailure", crashed, true)];
    }
    vec![
        ("ExitCode", killed, false),
        ("OnFailure", killed, false),
        ("OnFailure", crashed, true),
        ("Always", killed, false),
        ("Always", crashed, true),
    ]
}

/// backoffLimit is ignored: a job restarts for ever, or once more than it may, also with a limit of 0 (trainer#2342,
/// trainer#1589, mpi#651, k8s#102959).
#[tokio::test(start_paused = true)]
async fn a_limit_is_exactly_so_many_restarts() {
    for framework in kinds() {
        for limit in [0, 1, 3] {
            for (restart_policy, happens, in_place) in ways(framework) {
                let stage = Stage::new(framework, Scene::default(), |manifest| {
                    policy(framework.kind(), manifest, restart_policy);
                    rule(manifest, "backoffLimit", limit);
                });
                let told = || format!("{} {restart_policy} {limit}: {}", stage.info().kind, stage.job()["status"]);
                stage.runs().await;
                let victim = last(&stage);
                for n in 0..limit {
                    to(&stage, &victim, happens);
                    stage.pass(3).await;
                    stage.runs().await;
                    assert_eq!(restarts(&stage), (n + 1, 0), "{}", told());
                }
                to(&stage, &victim, happens);
                Teller::ends(&stage).await;
                assert!(is(&stage, "Failed"), "{}", told());
                let words = message(&stage, "Failed");
                assert!(words.contains(&format!("backoff limit of {limit}")), "{words}");
                let made = stage.count(&format!("201 create pods/{}", victim.name));
                let wanted = if in_place { 0 } else { usize::try_from(limit).unwrap() };
                assert_eq!(made, wanted + 1, "{}", told());
                stage.ends().await;
            }
        }
    }
}

/// The launcher's own tries are limited by the same number (mpi#651).
#[tokio::test(start_paused = true)]
async fn a_launcher_is_tried_so_often_and_no_more() {
    for framework in kinds().into_iter().filter(|f| by_batch_job(f.kind())) {
        for limit in [0, 1, 3] {
            let stage = Stage::new(framework, Scene::default(), |manifest| {
                policy(framework.kind(), manifest, "Never");
                rule(manifest, "backoffLimit", limit);
            });
            for _ in 0..limit {
                stage.runs().await;
                to(&stage, &first(&stage), |store, key| fail(store, key, 1, None));
                stage.pass(3).await;
                assert!(!has_ended(&stage), "{}", stage.job()["status"]);
            }
            stage.runs().await;
            to(&stage, &first(&stage), |store, key| fail(store, key, 1, None));
            Teller::ends(&stage).await;
            assert!(is(&stage, "Failed"));
            let launchers = stage.pods().iter().filter(|pod| stage.info().slot_of("j", value::name(pod)).is_none()).count();
            assert_eq!(launchers, usize::try_from(limit).unwrap() + 1);
            stage.ends().await;
        }
    }
}

/// How often a job was restarted, and how long it pauses before the next try, is forgotten with the process (k8s#63650).
#[tokio::test(start_paused = true)]
async fn restarts_and_their_pauses_outlive_the_process() {
    for framework in kinds() {
        let mut stage = Stage::new(framework, Scene::default(), |manifest| {
            replaced(framework.kind(), manifest);
            rule(manifest, "backoffLimit", 4);
        });
        stage.runs().await;
        let victim = last(&stage);
        let mut pauses = Vec::new();
        for n in 1..=4 {
            let before = uid(&stage, &victim);
            let failed = Instant::now();
            to(&stage, &victim, |store, key| fail(store, key, 137, None));
            when(&stage, "the restart is stored", |t| restarts(t).0 == n).await;
            stage.restart();
            let made = when(&stage, "it is made anew", |t| ![String::new(), before.clone()].contains(&uid(t, &victim))).await;
            pauses.push((made - failed).as_secs());
            stage.runs().await;
            assert_eq!(restarts(&stage), (n, 0), "{}", stage.info().kind);
        }
        assert!(pauses[0] < 5 && (5..10).contains(&pauses[1]), "{pauses:?}");
        assert!((10..15).contains(&pauses[2]) && (20..25).contains(&pauses[3]), "{pauses:?}");
        to(&stage, &victim, |store, key| fail(store, key, 137, None));
        Teller::ends(&stage).await;
        assert!(is(&stage, "Failed"), "{}", stage.job()["status"]);
        stage.ends().await;
    }
}

/// A pod that was preempted, drained or evicted fails the job, or uses up its limit (trainer#999, trainer#1572, k8s#69785).
#[tokio::test(start_paused = true)]
async fn what_is_taken_away_costs_no_retry() {
    for framework in kinds() {
        for reason in DISRUPTIONS {
            for restart_policy in if by_batch_job(framework.kind()) { ["OnFailure", "Never"] } else { ["ExitCode", "Never"] } {
                let stage = Stage::new(framework, Scene::default(), |manifest| {
                    policy(framework.kind(), manifest, restart_policy);
                    rule(manifest, "backoffLimit", 0);
                });
                stage.runs().await;
                to(&stage, &last(&stage), |store, key| fail(store, key, 143, Some(reason)));
                stage.pass(3).await;
                stage.runs().await;
                assert_eq!(restarts(&stage), (0, 1), "{} {reason}: {}", stage.info().kind, stage.job()["status"]);
                ends_well(stage).await;
            }
        }
    }
}

/// Under `ExitCode`, 137 and 143 are taken for the program's own fault, or 1 for the platform's (trainer#1560).
#[tokio::test(start_paused = true)]
async fn exit_codes_are_told_apart() {
    for framework in kinds().into_iter().filter(|f| !by_batch_job(f.kind())) {
        let stage = Stage::new(framework, Scene::default(), |manifest| replaced(framework.kind(), manifest));
        for (n, code) in [(1, 137), (2, 143)] {
            stage.runs().await;
            to(&stage, &last(&stage), |store, key| fail(store, key, code, None));
            stage.pass(3).await;
            stage.runs().await;
            assert_eq!(restarts(&stage), (n, 0), "{}", stage.info().kind);
        }
        to(&stage, &last(&stage), |store, key| fail(store, key, 1, None));
        Teller::ends(&stage).await;
        assert!(is(&stage, "Failed"));
        stage.ends().await;
    }
}

/// Disruptions that do not count are followed by the next try without any pause, for ever (k8s#119378).
#[tokio::test(start_paused = true)]
async fn a_pod_that_is_taken_away_again_and_again_is_made_ever_more_slowly() {
    for framework in kinds() {
        let stage = Stage::new(framework, Scene::default(), |manifest| {
            replaced(framework.kind(), manifest);
            rule(manifest, "backoffLimit", 0);
        });
        stage.runs().await;
        let victim = last(&stage);
        let begun = Instant::now();
        for n in 1..=100 {
            let before = uid(&stage, &victim);
            to(&stage, &victim, |store, key| fail(store, key, 143, Some("PreemptionByScheduler")));
            when(&stage, "it runs again", |t| {
                let pod = t.shared.get(&victim);
                pod.is_some_and(|pod| value::uid(&pod) != before && phase(&pod) == "Running") && is(t, "Running")
            })
            .await;
            assert_eq!(restarts(&stage), (0, n));
        }
        // 5, 10 ... 160 and then 300 seconds.
        assert!(begun.elapsed() > Duration::from_secs(92 * 300), "{}", stage.info().kind);
        ends_well(stage).await;
    }
}

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
            let mut stage = Stage::new(framework, Scene::default(), |m| rule(m, "activeDeadlineSeconds", 300));
            let begun = when(&stage, "it has begun", |t| status(t).start_time.is_some()).await;
            tokio::time::sleep_until(begun + Duration::from_secs(down)).await;
            stage.crash();
            tokio::time::sleep_until(begun + Duration::from_secs(up)).await;
            stage.start();
            when(&stage, "it has ended", has_ended).await;
            assert!(is(&stage, "Failed"));
            assert!((ends..=ends + 1).contains(&lasted(&stage)), "{} {}", stage.info().kind, lasted(&stage));
            stage.ends().await;
        }
    }
}

/// After a resume what was left of the deadline counts on, instead of all of it anew.
#[tokio::test(start_paused = true)]
async fn a_resumed_job_has_all_its_time() {
    for framework in kinds() {
        let stage = Stage::new(framework, Scene::default(), |m| rule(m, "activeDeadlineSeconds", 300));
        stage.runs().await;
        stage.pass(200).await;
        suspend(&stage, true);
        suspended(&stage).await;
        stage.pass(900).await;
        assert!(!has_ended(&stage), "a suspended job has no deadline");
        suspend(&stage, false);
        stage.runs().await;
        when(&stage, "it has ended", has_ended).await;
        assert!((300..=301).contains(&lasted(&stage)), "{} {}", stage.info().kind, lasted(&stage));
        stage.ends().await;
    }
}

/// Of a deadline and a pause before a restart the later timer replaces the earlier one, and that never fires (vol#3973).
#[tokio::test(start_paused = true)]
async fn of_two_timers_none_is_lost() {
    for framework in kinds() {
        let stage = Stage::new(framework, Scene::default(), |manifest| {
            replaced(framework.kind(), manifest);
            rule(manifest, "activeDeadlineSeconds", 300);
        });
        stage.runs().await;
        let victim = last(&stage);
        for n in 1..=5 {
            stage.runs().await;
            to(&stage, &victim, |store, key| fail(store, key, 137, None));
            when(&stage, "the restart is stored", |t| restarts(t).0 == n).await;
        }
        // A restart is due in 40 s, and the deadline later; then the other way round.
        let failed = Instant::now();
        let made = when(&stage, "it is made anew", |t| {
            t.shared.get(&victim).is_some_and(|pod| phase(&pod) == "Running")
        });
        let made = made.await;
        assert!((39..45).contains(&(made - failed).as_secs()), "{:?}", made - failed);
        stage.runs().await;
        to(&stage, &victim, |store, key| fail(store, key, 137, None));
        when(&stage, "it says what it waits for", |t| waits_for(t).contains("due at")).await;
        suspend_is_no_cure(&stage);
        when(&stage, "it has ended", has_ended).await;
        assert!((300..=301).contains(&lasted(&stage)), "{} {}", stage.info().kind, lasted(&stage));
        stage.ends().await;
    }
}

/// Nothing is changed by this; it only wakes the job in between.
fn suspend_is_no_cure(stage: &Stage) {
    stage.nudge("while it waits");
}

/// Ends the job in one of the ways in which jobs end.
async fn end_by(stage: &Stage, way: &str) {
    stage.runs().await;
    match way {
        "success" => stage.finish().await,
        "limit" => to(stage, &last(stage), |store, key| fail(store, key, 137, None)),
        "failure" => {
            let key = if by_batch_job(stage.info()) { first(stage) } else { last(stage) };
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
            for ttl in [None, Some(0), Some(3), Some(300)] {
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
                    stage.pass(36_000).await;
                    assert!(has_ended(&stage), "{told}");
                    assert!(ended.is_some(), "{told}");
                    stage.ends().await;
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
                stage.ends().await;
            }
        }
    }
}

/// A time to live that was raised in the meantime: the job is deleted by the old one, which a late view still has
/// (k8s#66840).
#[tokio::test(start_paused = true)]
async fn a_time_to_live_that_was_raised_unseen_holds() {
    for framework in kinds() {
        let stage = Stage::new(framework, Scene::default(), |m| rule(m, "ttlSecondsAfterFinished", 20));
        stage.runs().await;
        stage.finish().await;
        when(&stage, "it has ended", has_ended).await;
        let ended = Instant::now();
        stage.pass(8).await;
        stage.sky.hold(stage.info().plural);
        stage.edit("/runPolicy/ttlSecondsAfterFinished", json!(100));
        stage.pass(20).await;
        assert!(has_ended(&stage), "{}: it is gone", stage.info().kind);
        assert!(stage.count(&format!("409 delete {}/j", stage.info().plural)) > 0, "{:?}", stage.writes());
        stage.sky.release(stage.info().plural);
        let gone = when(&stage, "it is gone", |t| t.job().is_null()).await;
        assert!((99..103).contains(&(gone - ended).as_secs()), "{}: {:?}", stage.info().kind, gone - ended);
        stage.ends().await;
    }
}

/// A suspended job counts as finished, and its time to live deletes it (trainer#2239, kueue#2923).
#[tokio::test(start_paused = true)]
async fn a_suspended_job_lives_on() {
    for framework in kinds() {
        let stage = Stage::new(framework, Scene::default(), |m| rule(m, "ttlSecondsAfterFinished", 3));
        stage.runs().await;
        suspend(&stage, true);
        suspended(&stage).await;
        stage.pass(7200).await;
        assert!(is(&stage, "Suspended"));
        suspend(&stage, false);
        stage.runs().await;
        stage.finish().await;
        when(&stage, "it is gone", |t| t.job().is_null()).await;
        stage.ends().await;
    }
}

/// The clean-up or time to live of a finished job hits its successor of the same name (lib-common#78, k8s#66840).
#[tokio::test(start_paused = true)]
async fn the_successor_is_not_deleted_in_its_predecessors_place() {
    for framework in kinds() {
        let stage = Stage::new(framework, Scene::default(), |m| rule(m, "ttlSecondsAfterFinished", 20));
        stage.runs().await;
        stage.finish().await;
        when(&stage, "it has ended", has_ended).await;
        stage.pass(8).await;
        stage.sky.hold(stage.info().plural);
        stage.delete(&stage.key(), None);
        let successor = value::uid(&stage.create(|_| {})).to_owned();
        stage.pass(30).await;
        assert!(stage.count(&format!("409 delete {}/j", stage.info().plural)) > 0, "{:?}", stage.writes());
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
        let stands = |stage: &Stage, after: &str| assert_eq!(status(stage).start_time, begun, "{kind}: after {after}");
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
        to(&stage, &last(&stage), |store, key| fail(store, key, 137, Some("EvictionByEvictionAPI")));
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
        assert!(again.as_ref().map(|t| t.0) > begun.map(|t| t.0), "{kind}: resumed it begins anew");
        stage.clock.wrong_by(-3600);
        stage.finish().await;
        Teller::ends(&stage).await;
        let ended = status(&stage);
        assert_eq!(ended.start_time, again, "{kind}");
        assert!(ended.completion_time.as_ref().map(|t| t.0) >= again.map(|t| t.0), "{kind}");
        stage.restart();
        stage.pass(600).await;
        assert_eq!(status(&stage).completion_time, ended.completion_time, "{kind}");
        stage.ends().await;
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
                assert_eq!(crate::acts::belongings(&stage), [""; 0], "{} {after}", stage.info().kind);
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
            assert!(stage.has_no_pods() && is(&stage, "Suspended"), "{}", stage.job()["status"]);
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
        let old: Vec<String> = stage.pods().iter().map(|pod| value::uid(pod).to_owned()).collect();
        suspend(&stage, true);
        when(&stage, "it is suspended", |t| is(t, "Suspended")).await;
        stage.pass(5).await;
        suspend(&stage, false);
        without_twins_until(&stage, "all are new and run", |t| {
            let alive = alive(t);
            alive.len() == t.wanted() && alive.iter().all(|pod| !old.contains(&value::uid(pod).to_owned())) && is(t, "Running")
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
            for victim in [last(&stage), first(&stage)] {
                let before = uid(&stage, &victim);
                stage.delete(&victim, None);
                without_twins_until(&stage, "it has gone", |t| uid(t, &victim) != before).await;
                without_twins_until(&stage, "all run again", |t| alive(t).len() == t.wanted() && is(t, "Running")).await;
            }
            assert_eq!(restarts(&stage).0, 0, "{} {}", stage.info().kind, stage.job()["status"]);
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
            to(&stage, &sim::story::pod_key(pod), |store, key| fail(store, key, 0, None));
        }
        suspended(&stage).await;
        suspend(&stage, false);
        stage.runs().await;
        assert_eq!(alive(&stage).len(), stage.wanted(), "{}", stage.info().kind);
        let groups = stage.shared.list(pod_groups(PodGroupApi::Native).resource);
        let asked = value::number(&groups[0], "/spec/schedulingPolicy/gang/minCount");
        assert_eq!(usize::try_from(asked).unwrap(), stage.wanted(), "{}", stage.info().kind);
        ends_well(stage).await;
    }
}

/// One worker of a collective is replaced, and the others hang in the old rendezvous (pyt#359, pyt#364, mpi#152): with
/// `restartScope: Job` all begin anew, whatever has become of the one.
#[tokio::test(start_paused = true)]
async fn nobody_is_left_in_the_old_rendezvous() {
    for framework in kinds() {
        for deleted in [true, false] {
            let stage = Stage::new(framework, Scene::default(), |manifest| {
                replaced(framework.kind(), manifest);
                rule(manifest, "restartScope", "Job");
            });
            stage.runs().await;
            let old: Vec<String> = stage.pods().iter().map(|pod| value::uid(pod).to_owned()).collect();
            if deleted {
                stage.delete(&last(&stage), None);
            } else {
                to(&stage, &last(&stage), |store, key| fail(store, key, 137, None));
            }
            stage.pass(5).await;
            stage.runs().await;
            let new = alive(&stage);
            assert!(new.iter().all(|pod| !old.contains(&value::uid(pod).to_owned())), "{}", stage.info().kind);
            assert_eq!(restarts(&stage), if deleted { (0, 1) } else { (1, 0) }, "{}", stage.info().kind);
            ends_well(stage).await;
        }
    }
}

/// A crash between "decided", the deletes and the creates leaves a mix of attempts, or counts twice (jobset#1152): here in a
/// gang, at each write; `crash` does it without gangs.
#[tokio::test(start_paused = true)]
async fn a_restart_of_a_gang_that_is_cut_anywhere_is_one_restart() {
    for framework in kinds() {
        let (mut n, mut carried_out) = (1, false);
        loop {
            let scene = Scene {
                setup: with_gangs(),
                ..Scene::default()
            };
            let mut stage = Stage::new(framework, scene, |manifest| {
                replaced(framework.kind(), manifest);
                rule(manifest, "restartScope", "Job");
            });
            stage.runs().await;
            let (mut left, when_dead) = (n, carried_out);
            let death = stage.sky.rule(move |request| {
                let counts = request.verb.writes() && !sim::cluster::is_aside(request);
                left -= i32::from(counts);
                (counts && left == 0).then(|| Trip {
                    fate: Fate::Fatal { carried_out: when_dead },
                    ..Trip::FAIR
                })
            });
            to(&stage, &last(&stage), |store, key| fail(store, key, 137, None));
            let dead = tokio::select! {
                () = stage.restart_once_dead() => true,
                () = tokio::time::sleep(Duration::from_secs(120)) => false,
            };
            stage.sky.end(death);
            stage.runs().await;
            assert_eq!(restarts(&stage), (1, 0), "{} {n}", stage.info().kind);
            assert_eq!(status(&stage).whole_restarts.unwrap_or_default().count, 1);
            ends_well(stage).await;
            if !dead {
                break;
            }
            n += i32::from(carried_out);
            carried_out = !carried_out;
        }
        assert!(n > 5, "{} has so few writes: {n}", framework.kind().kind);
    }
}
