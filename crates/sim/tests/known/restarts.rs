//! Restarts, limits, deadlines and suspension.

use std::time::Duration;

use common::Framework;
use common::gang::PodGroupApi;
use sim::cluster::Setup;
use sim::kubernetes::{self, fail};
use sim::link::Fate;
use sim::store::{Key, Object, Store};
use sim::story::Teller;
use sim::value::{self, phase};
use tokio::time::Instant;

use super::acts::{
    DISRUPTIONS, alive, by_batch_job, ends_well, first, has_ended, is, last, message, policy, replaced,
    restarts, rule, status, succeeds, suspend, suspended, to, uid, when,
};
use super::stage::{Scene, Stage, fated, kinds};

/// A cluster with Kubernetes' own PodGroups.
fn with_gangs() -> Setup {
    Setup {
        pod_groups: vec![PodGroupApi::Native],
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
                let told = || {
                    format!(
                        "{} {restart_policy} {limit}: {}",
                        stage.info().kind,
                        stage.job()["status"]
                    )
                };
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
                let wanted = if in_place {
                    0
                } else {
                    usize::try_from(limit).unwrap()
                };
                assert_eq!(made, wanted + 1, "{}", told());
                stage.closes().await;
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
            let launchers = stage
                .pods()
                .iter()
                .filter(|pod| stage.info().slot_of("j", value::name(pod)).is_none())
                .count();
            assert_eq!(launchers, usize::try_from(limit).unwrap() + 1);
            stage.closes().await;
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
            let made = when(&stage, "it is made anew", |t| {
                ![String::new(), before.clone()].contains(&uid(t, &victim))
            })
            .await;
            pauses.push((made - failed).as_secs());
            stage.runs().await;
            assert_eq!(restarts(&stage), (n, 0), "{}", stage.info().kind);
        }
        // API times have whole seconds.
        assert!(pauses[0] < 4 && (4..7).contains(&pauses[1]), "{pauses:?}");
        assert!(
            (9..12).contains(&pauses[2]) && (19..22).contains(&pauses[3]),
            "{pauses:?}"
        );
        to(&stage, &victim, |store, key| fail(store, key, 137, None));
        Teller::ends(&stage).await;
        assert!(is(&stage, "Failed"), "{}", stage.job()["status"]);
        stage.closes().await;
    }
}

/// A pod that was preempted, drained or evicted fails the job, or uses up its limit (trainer#999, trainer#1572, k8s#69785).
#[tokio::test(start_paused = true)]
async fn what_is_taken_away_costs_no_retry() {
    for framework in kinds() {
        for reason in DISRUPTIONS {
            for restart_policy in if by_batch_job(framework.kind()) {
                ["OnFailure", "Never"]
            } else {
                ["ExitCode", "Never"]
            } {
                let stage = Stage::new(framework, Scene::default(), |manifest| {
                    policy(framework.kind(), manifest, restart_policy);
                    rule(manifest, "backoffLimit", 0);
                });
                stage.runs().await;
                to(&stage, &last(&stage), |store, key| {
                    fail(store, key, 143, Some(reason))
                });
                stage.pass(3).await;
                stage.runs().await;
                assert_eq!(
                    restarts(&stage),
                    (0, 1),
                    "{} {reason}: {}",
                    stage.info().kind,
                    stage.job()["status"]
                );
                ends_well(stage).await;
            }
        }
    }
}

/// Under `ExitCode`, 137 and 143 are taken for the program's own fault, or 1 for the platform's (trainer#1560).
#[tokio::test(start_paused = true)]
async fn exit_codes_are_told_apart() {
    for framework in kinds().into_iter().filter(|f| !by_batch_job(f.kind())) {
        let stage = Stage::new(framework, Scene::default(), |manifest| {
            replaced(framework.kind(), manifest)
        });
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
        stage.closes().await;
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
            to(&stage, &victim, |store, key| {
                fail(store, key, 143, Some("PreemptionByScheduler"))
            });
            let again = |pod: &Object| value::uid(pod) != before && phase(pod) == "Running";
            while !(stage.shared.get(&victim).is_some_and(|pod| again(&pod)) && is(&stage, "Running")) {
                stage.pass(2).await;
                assert!(
                    begun.elapsed() < Duration::from_hours(24),
                    "{}",
                    stage.job()["status"]
                );
            }
            assert_eq!(restarts(&stage), (0, n));
        }
        // 5, 10 ... 160 and then 300 seconds.
        assert!(
            begun.elapsed() > Duration::from_secs(92 * 300),
            "{}",
            stage.info().kind
        );
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
            let old: Vec<String> = stage
                .pods()
                .iter()
                .map(|pod| value::uid(pod).to_owned())
                .collect();
            if deleted {
                stage.delete(&last(&stage), None);
            } else {
                to(&stage, &last(&stage), |store, key| fail(store, key, 137, None));
            }
            stage.pass(5).await;
            stage.runs().await;
            let new = alive(&stage);
            assert!(
                new.iter().all(|pod| !old.contains(&value::uid(pod).to_owned())),
                "{}",
                stage.info().kind
            );
            assert_eq!(
                restarts(&stage),
                if deleted { (0, 1) } else { (1, 0) },
                "{}",
                stage.info().kind
            );
            ends_well(stage).await;
        }
    }
}

/// What one member had done before all began anew counted as done afterwards (kueue#10487): it was not made again, and the
/// others waited for it.
#[tokio::test(start_paused = true)]
async fn what_was_done_before_all_began_anew_is_done_again() {
    for framework in kinds() {
        for suspends in [false, true] {
            let scene = Scene {
                replicas: 3,
                ..Scene::default()
            };
            let stage = Stage::new(framework, scene, |manifest| {
                replaced(framework.kind(), manifest);
                rule(manifest, "restartScope", "Job");
                rule(manifest, "cleanPodPolicy", "None");
            });
            stage.runs().await;
            let kind = stage.info().kind;
            to(&stage, &last(&stage), |store, key| fail(store, key, 0, None));
            stage.pass(3).await;
            let done = |stage: &Stage| {
                let counts = status(stage).replica_statuses;
                counts.values().any(|counts| counts.succeeded_indices.is_some())
            };
            assert!(
                done(&stage) && alive(&stage).len() < stage.wanted(),
                "{kind}: one is done"
            );
            if suspends {
                suspend(&stage, true);
                suspended(&stage).await;
                suspend(&stage, false);
            } else {
                to(&stage, &last(&stage), |store, key| fail(store, key, 137, None));
            }
            stage.pass(60).await;
            assert_eq!(alive(&stage).len(), stage.wanted(), "{kind} {suspends}");
            assert!(!done(&stage), "{kind} {suspends}: {}", stage.job()["status"]);
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
                let fatal = Fate::Fatal {
                    carried_out: when_dead,
                };
                (counts && left == 0).then_some(fated(fatal))
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
            succeeds(&stage).await;
            if !dead {
                break;
            }
            n += i32::from(carried_out);
            carried_out = !carried_out;
        }
        assert!(n > 5, "{} has so few writes: {n}", framework.kind().kind);
    }
}
