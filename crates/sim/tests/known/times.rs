//! Deadlines, times to live, times of start and end.

use std::time::Duration;

use serde_json::json;
use sim::kubernetes::fail;
use sim::refusal::Refusal;
use sim::request::Verb;
use sim::scenario::TestJob;
use sim::types::PODS;
use sim::value::{self, phase};
use tokio::time::Instant;

use super::fixture::{Fixture, FixtureOptions, kinds, refused};
use super::steps::{
    by_batch_job, ends_well, first, has_ended, is, last, policy, replaced, restarts, rule, status, suspend,
    suspended, to, uid, waits_for, when,
};

/// Seconds between start and end of a job.
fn lasted(test_job: &TestJob) -> i64 {
    let status = status(test_job);
    status.completion_time.unwrap().0.as_second() - status.start_time.unwrap().0.as_second()
}

/// A deadline that came near while no operator ran is forgotten, or found only by the next event (k8s#62134, k8s#97101).
#[tokio::test(start_paused = true)]
async fn a_deadline_fires_though_nothing_else_happens() {
    for framework in kinds() {
        for (down, up, ends) in [(100, 150, 300), (290, 310, 310)] {
            let mut fixture = Fixture::new(framework, FixtureOptions::default(), |m| {
                rule(m, "activeDeadlineSeconds", 300)
            });
            let begun = when(&fixture, "it has begun", |t| status(t).start_time.is_some()).await;
            tokio::time::sleep_until(begun + Duration::from_secs(down)).await;
            fixture.crash();
            tokio::time::sleep_until(begun + Duration::from_secs(up)).await;
            fixture.start();
            when(&fixture, "it has ended", has_ended).await;
            assert!(is(&fixture, "Failed"));
            assert!(
                (ends..=ends + 1).contains(&lasted(&fixture)),
                "{} {}",
                fixture.info().kind,
                lasted(&fixture)
            );
            fixture.closes().await;
        }
    }
}

/// After a resume what was left of the deadline counts on, instead of all of it anew.
#[tokio::test(start_paused = true)]
async fn a_resumed_job_has_all_its_time() {
    for framework in kinds() {
        let fixture = Fixture::new(framework, FixtureOptions::default(), |m| {
            rule(m, "activeDeadlineSeconds", 300)
        });
        fixture.runs().await;
        fixture.pass(200).await;
        suspend(&fixture, true);
        suspended(&fixture).await;
        fixture.pass(900).await;
        assert!(!has_ended(&fixture), "a suspended job has no deadline");
        suspend(&fixture, false);
        fixture.runs().await;
        when(&fixture, "it has ended", has_ended).await;
        assert!(
            (300..=301).contains(&lasted(&fixture)),
            "{} {}",
            fixture.info().kind,
            lasted(&fixture)
        );
        fixture.closes().await;
    }
}

/// Of a deadline and a pause before a restart the later timer replaces the earlier one, and that never fires (vol#3973).
#[tokio::test(start_paused = true)]
async fn of_two_timers_none_is_lost() {
    for framework in kinds() {
        let fixture = Fixture::new(framework, FixtureOptions::default(), |manifest| {
            replaced(framework.kind(), manifest);
            rule(manifest, "activeDeadlineSeconds", 150);
        });
        fixture.runs().await;
        let victim = last(&fixture);
        for n in 1..=5 {
            fixture.runs().await;
            to(&fixture, &victim, |store, key| fail(store, key, 137, None));
            when(&fixture, "the restart is stored", |t| restarts(t).0 == n).await;
        }
        // A restart is due in 40 s, and the deadline later; then a restart in 80 s, and the deadline before it.
        let failed = Instant::now();
        let made = when(&fixture, "it is made anew", |t| {
            t.shared.get(&victim).is_some_and(|pod| phase(&pod) == "Running")
        });
        let made = made.await;
        assert!(
            (39..45).contains(&(made - failed).as_secs()),
            "{:?}",
            made - failed
        );
        fixture.runs().await;
        to(&fixture, &victim, |store, key| fail(store, key, 137, None));
        when(&fixture, "it says what it waits for", |t| {
            waits_for(t).contains("due at")
        })
        .await;
        fixture.nudge("while it waits");
        when(&fixture, "it has ended", has_ended).await;
        assert!(
            (150..=151).contains(&lasted(&fixture)),
            "{} {}",
            fixture.info().kind,
            lasted(&fixture)
        );
        fixture.closes().await;
    }
}

/// Ends the job in one of the ways in which jobs end.
async fn end_by(fixture: &Fixture, way: &str) {
    fixture.runs().await;
    match way {
        "success" => fixture.finish().await,
        "limit" => to(fixture, &last(fixture), |store, key| fail(store, key, 137, None)),
        "failure" => {
            let key = if by_batch_job(fixture.info()) {
                first(fixture)
            } else {
                last(fixture)
            };
            to(fixture, &key, |store, key| fail(store, key, 1, None));
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
                let mut fixture = Fixture::new(framework, FixtureOptions::default(), |manifest| {
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
                end_by(&fixture, way).await;
                let told = format!("{} {way} {ttl:?}", fixture.info().kind);
                when(&fixture, "it has ended", |t| t.job().is_null() || has_ended(t)).await;
                let ended = status(&fixture).completion_time;
                let Some(ttl) = ttl else {
                    fixture.pass(7200).await;
                    assert!(has_ended(&fixture), "{told}");
                    assert!(ended.is_some(), "{told}");
                    fixture.closes().await;
                    continue;
                };
                if ttl == 300 {
                    fixture.restart();
                }
                when(&fixture, "it is gone", |t| t.job().is_null()).await;
                let gone = fixture.shared.lock().server.store.now();
                if let Some(ended) = ended {
                    let lived = gone.as_second() - ended.0.as_second();
                    assert!((ttl..=ttl + 1).contains(&lived), "{told}: {lived}");
                }
                fixture.closes().await;
            }
        }
    }
}

/// A time to live that was raised in the meantime: the job is deleted by the old one, which a late view still has
/// (k8s#66840).
#[tokio::test(start_paused = true)]
async fn a_time_to_live_that_was_raised_unseen_holds() {
    for framework in kinds() {
        let fixture = Fixture::new(framework, FixtureOptions::default(), |m| {
            rule(m, "ttlSecondsAfterFinished", 20)
        });
        fixture.runs().await;
        fixture.finish().await;
        when(&fixture, "it has ended", has_ended).await;
        let ended = status(&fixture).completion_time.unwrap().0.as_second();
        fixture.pass(8).await;
        fixture.network.hold(fixture.info().plural);
        fixture.edit("/runPolicy/ttlSecondsAfterFinished", json!(100));
        fixture.pass(20).await;
        assert!(has_ended(&fixture), "{}: it is gone", fixture.info().kind);
        assert!(
            fixture.count(&format!("409 delete {}/j", fixture.info().plural)) > 0,
            "{:?}",
            fixture.writes()
        );
        fixture.network.release(fixture.info().plural);
        when(&fixture, "it is gone", |t| t.job().is_null()).await;
        let lived = fixture.shared.lock().server.store.now().as_second() - ended;
        assert!((100..=101).contains(&lived), "{}: {lived}", fixture.info().kind);
        fixture.closes().await;
    }
}

/// A suspended job counts as finished, and its time to live deletes it (trainer#2239, kueue#2923).
#[tokio::test(start_paused = true)]
async fn a_suspended_job_lives_on() {
    for framework in kinds() {
        let fixture = Fixture::new(framework, FixtureOptions::default(), |m| {
            rule(m, "ttlSecondsAfterFinished", 3)
        });
        fixture.runs().await;
        suspend(&fixture, true);
        suspended(&fixture).await;
        fixture.pass(7200).await;
        assert!(is(&fixture, "Suspended"));
        suspend(&fixture, false);
        fixture.runs().await;
        fixture.finish().await;
        when(&fixture, "it is gone", |t| t.job().is_null()).await;
        fixture.closes().await;
    }
}

/// The clean-up or time to live of a finished job hits its successor of the same name (lib-common#78, k8s#66840).
#[tokio::test(start_paused = true)]
async fn the_successor_is_not_deleted_in_its_predecessors_place() {
    for framework in kinds() {
        let fixture = Fixture::new(framework, FixtureOptions::default(), |m| {
            rule(m, "ttlSecondsAfterFinished", 20)
        });
        fixture.runs().await;
        fixture.finish().await;
        when(&fixture, "it has ended", has_ended).await;
        fixture.pass(8).await;
        fixture.network.hold(fixture.info().plural);
        fixture.delete(&fixture.key(), None);
        let successor = value::uid(&fixture.create(|_| {})).to_owned();
        fixture.pass(30).await;
        assert!(
            fixture.count(&format!("409 delete {}/j", fixture.info().plural)) > 0,
            "{:?}",
            fixture.writes()
        );
        fixture.network.release(fixture.info().plural);
        fixture.pass(10).await;
        assert_eq!(
            uid(&fixture, &fixture.key()),
            successor,
            "{}",
            fixture.info().kind
        );
        ends_well(fixture).await;
    }
}

/// startTime and completionTime move: by a restart of the operator or of a pod, by an error, by scaling, by a clock that is
/// set back (k8s#134521, k8s#98727, trainer#1001, trainer#1226, trainer#1643, ray#4894).
#[tokio::test(start_paused = true)]
async fn start_and_end_are_stated_once() {
    for framework in kinds() {
        let mut fixture = Fixture::new(framework, FixtureOptions::default(), |manifest| {
            replaced(framework.kind(), manifest);
            rule(manifest, "cleanPodPolicy", "All");
        });
        fixture.runs().await;
        let begun = status(&fixture).start_time;
        assert!(begun.is_some());
        let kind = fixture.info().kind;
        let stands = |fixture: &Fixture, after: &str| {
            assert_eq!(status(fixture).start_time, begun, "{kind}: after {after}")
        };
        to(&fixture, &last(&fixture), |store, key| {
            fail(store, key, 137, None)
        });
        fixture.pass(3).await;
        fixture.runs().await;
        stands(&fixture, "the restart of a pod");
        fixture.restart();
        fixture.pass(30).await;
        stands(&fixture, "the restart of the operator");
        let mut left = 3;
        let conflicts = fixture.network.rule(move |request| {
            let hit = left > 0 && request.verb == Verb::Patch && request.subresource == "status";
            left -= i32::from(hit);
            hit.then(|| refused(Refusal::conflict(PODS, "j", "injected")))
        });
        to(&fixture, &last(&fixture), |store, key| {
            fail(store, key, 137, Some("EvictionByEvictionAPI"))
        });
        fixture.pass(30).await;
        fixture.runs().await;
        fixture.network.end(conflicts);
        stands(&fixture, "conflicts");
        if fixture.info().scaled_role.is_some() {
            fixture.scale(3);
            fixture.pass(3).await;
            fixture.runs().await;
            stands(&fixture, "scaling");
        }
        suspend(&fixture, true);
        suspended(&fixture).await;
        fixture.pass(60).await;
        suspend(&fixture, false);
        fixture.runs().await;
        let again = status(&fixture).start_time;
        assert!(
            again.as_ref().map(|t| t.0) > begun.map(|t| t.0),
            "{kind}: resumed it begins anew"
        );
        fixture.shared.lock().checker.clocks_differ = true;
        fixture.clock.wrong_by(-3600);
        fixture.finish().await;
        TestJob::ends(&fixture).await;
        let ended = status(&fixture);
        assert_eq!(ended.start_time, again, "{kind}");
        assert!(
            ended.completion_time.as_ref().map(|t| t.0) >= again.map(|t| t.0),
            "{kind}"
        );
        fixture.restart();
        fixture.pass(600).await;
        assert_eq!(status(&fixture).completion_time, ended.completion_time, "{kind}");
        fixture.closes().await;
    }
}
