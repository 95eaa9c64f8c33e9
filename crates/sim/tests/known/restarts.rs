//! Restarts, limits, deadlines and suspension.

use std::time::Duration;

use common::Framework;
use common::gang::PodGroupApi;
use sim::cluster::Setup;
use sim::kubernetes::{self, fail};
use sim::network_faults::Fault;
use sim::scenario::TestJob;
use sim::store::{Key, Object, Store};
use sim::value::{self, phase};
use tokio::time::Instant;

use super::fixture::{Fixture, FixtureOptions, kinds, with_fault};
use super::steps::{
    DISRUPTIONS, alive, by_batch_job, ends_well, first, has_ended, is, last, message, policy, replaced,
    restarts, rule, status, succeeds, suspend, suspended, to, uid, when,
};

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
                let fixture = Fixture::new(framework, FixtureOptions::default(), |manifest| {
                    policy(framework.kind(), manifest, restart_policy);
                    rule(manifest, "backoffLimit", limit);
                });
                let told = || {
                    format!(
                        "{} {restart_policy} {limit}: {}",
                        fixture.info().kind,
                        fixture.job()["status"]
                    )
                };
                fixture.runs().await;
                let victim = last(&fixture);
                for n in 0..limit {
                    to(&fixture, &victim, happens);
                    fixture.pass(3).await;
                    fixture.runs().await;
                    assert_eq!(restarts(&fixture), (n + 1, 0), "{}", told());
                }
                to(&fixture, &victim, happens);
                TestJob::ends(&fixture).await;
                assert!(is(&fixture, "Failed"), "{}", told());
                let words = message(&fixture, "Failed");
                assert!(words.contains(&format!("backoff limit of {limit}")), "{words}");
                let made = fixture.count(&format!("201 create pods/{}", victim.name));
                let wanted = if in_place {
                    0
                } else {
                    usize::try_from(limit).unwrap()
                };
                assert_eq!(made, wanted + 1, "{}", told());
                fixture.closes().await;
            }
        }
    }
}

/// The launcher's own tries are limited by the same number (mpi#651).
#[tokio::test(start_paused = true)]
async fn a_launcher_is_tried_so_often_and_no_more() {
    for framework in kinds().into_iter().filter(|f| by_batch_job(f.kind())) {
        for limit in [0, 1, 3] {
            let fixture = Fixture::new(framework, FixtureOptions::default(), |manifest| {
                policy(framework.kind(), manifest, "Never");
                rule(manifest, "backoffLimit", limit);
            });
            for _ in 0..limit {
                fixture.runs().await;
                to(&fixture, &first(&fixture), |store, key| fail(store, key, 1, None));
                fixture.pass(3).await;
                assert!(!has_ended(&fixture), "{}", fixture.job()["status"]);
            }
            fixture.runs().await;
            to(&fixture, &first(&fixture), |store, key| fail(store, key, 1, None));
            TestJob::ends(&fixture).await;
            assert!(is(&fixture, "Failed"));
            let launchers = fixture
                .pods()
                .iter()
                .filter(|pod| fixture.info().replica_of("j", value::name(pod)).is_none())
                .count();
            assert_eq!(launchers, usize::try_from(limit).unwrap() + 1);
            fixture.closes().await;
        }
    }
}

/// How often a job was restarted, and how long it pauses before the next try, is forgotten with the process (k8s#63650).
#[tokio::test(start_paused = true)]
async fn restarts_and_their_pauses_outlive_the_process() {
    for framework in kinds() {
        let mut fixture = Fixture::new(framework, FixtureOptions::default(), |manifest| {
            replaced(framework.kind(), manifest);
            rule(manifest, "backoffLimit", 4);
        });
        fixture.runs().await;
        let victim = last(&fixture);
        let mut pauses = Vec::new();
        for n in 1..=4 {
            let before = uid(&fixture, &victim);
            let failed = Instant::now();
            to(&fixture, &victim, |store, key| fail(store, key, 137, None));
            when(&fixture, "the restart is stored", |t| restarts(t).0 == n).await;
            fixture.restart();
            let made = when(&fixture, "it is made anew", |t| {
                ![String::new(), before.clone()].contains(&uid(t, &victim))
            })
            .await;
            pauses.push((made - failed).as_secs());
            fixture.runs().await;
            assert_eq!(restarts(&fixture), (n, 0), "{}", fixture.info().kind);
        }
        // API times have whole seconds.
        assert!(pauses[0] < 4 && (4..7).contains(&pauses[1]), "{pauses:?}");
        assert!(
            (9..12).contains(&pauses[2]) && (19..22).contains(&pauses[3]),
            "{pauses:?}"
        );
        to(&fixture, &victim, |store, key| fail(store, key, 137, None));
        TestJob::ends(&fixture).await;
        assert!(is(&fixture, "Failed"), "{}", fixture.job()["status"]);
        fixture.closes().await;
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
                let fixture = Fixture::new(framework, FixtureOptions::default(), |manifest| {
                    policy(framework.kind(), manifest, restart_policy);
                    rule(manifest, "backoffLimit", 0);
                });
                fixture.runs().await;
                to(&fixture, &last(&fixture), |store, key| {
                    fail(store, key, 143, Some(reason))
                });
                fixture.pass(3).await;
                fixture.runs().await;
                assert_eq!(
                    restarts(&fixture),
                    (0, 1),
                    "{} {reason}: {}",
                    fixture.info().kind,
                    fixture.job()["status"]
                );
                ends_well(fixture).await;
            }
        }
    }
}

/// Under `ExitCode`, 137 and 143 are taken for the program's own fault, or 1 for the platform's (trainer#1560).
#[tokio::test(start_paused = true)]
async fn exit_codes_are_told_apart() {
    for framework in kinds().into_iter().filter(|f| !by_batch_job(f.kind())) {
        let fixture = Fixture::new(framework, FixtureOptions::default(), |manifest| {
            replaced(framework.kind(), manifest)
        });
        for (n, code) in [(1, 137), (2, 143)] {
            fixture.runs().await;
            to(&fixture, &last(&fixture), |store, key| {
                fail(store, key, code, None)
            });
            fixture.pass(3).await;
            fixture.runs().await;
            assert_eq!(restarts(&fixture), (n, 0), "{}", fixture.info().kind);
        }
        to(&fixture, &last(&fixture), |store, key| fail(store, key, 1, None));
        TestJob::ends(&fixture).await;
        assert!(is(&fixture, "Failed"));
        fixture.closes().await;
    }
}

/// Disruptions that do not count are followed by the next try without any pause, for ever (k8s#119378).
#[tokio::test(start_paused = true)]
async fn a_pod_that_is_taken_away_again_and_again_is_made_ever_more_slowly() {
    for framework in kinds() {
        let fixture = Fixture::new(framework, FixtureOptions::default(), |manifest| {
            replaced(framework.kind(), manifest);
            rule(manifest, "backoffLimit", 0);
        });
        fixture.runs().await;
        let victim = last(&fixture);
        let begun = Instant::now();
        for n in 1..=100 {
            let before = uid(&fixture, &victim);
            to(&fixture, &victim, |store, key| {
                fail(store, key, 143, Some("PreemptionByScheduler"))
            });
            let again = |pod: &Object| value::uid(pod) != before && phase(pod) == "Running";
            while !(fixture.shared.get(&victim).is_some_and(|pod| again(&pod)) && is(&fixture, "Running")) {
                fixture.pass(2).await;
                assert!(
                    begun.elapsed() < Duration::from_hours(24),
                    "{}",
                    fixture.job()["status"]
                );
            }
            assert_eq!(restarts(&fixture), (0, n));
        }
        // 5, 10 ... 160 and then 300 seconds.
        assert!(
            begun.elapsed() > Duration::from_secs(92 * 300),
            "{}",
            fixture.info().kind
        );
        ends_well(fixture).await;
    }
}

/// One worker of a collective is replaced, and the others hang in the old rendezvous (pyt#359, pyt#364, mpi#152): with
/// `restartScope: Job` all begin anew, whatever has become of the one.
#[tokio::test(start_paused = true)]
async fn nobody_is_left_in_the_old_rendezvous() {
    for framework in kinds() {
        for deleted in [true, false] {
            let fixture = Fixture::new(framework, FixtureOptions::default(), |manifest| {
                replaced(framework.kind(), manifest);
                rule(manifest, "restartScope", "Job");
            });
            fixture.runs().await;
            let old: Vec<String> = fixture
                .pods()
                .iter()
                .map(|pod| value::uid(pod).to_owned())
                .collect();
            if deleted {
                fixture.delete(&last(&fixture), None);
            } else {
                to(&fixture, &last(&fixture), |store, key| {
                    fail(store, key, 137, None)
                });
            }
            fixture.pass(5).await;
            fixture.runs().await;
            let new = alive(&fixture);
            assert!(
                new.iter().all(|pod| !old.contains(&value::uid(pod).to_owned())),
                "{}",
                fixture.info().kind
            );
            assert_eq!(
                restarts(&fixture),
                if deleted { (0, 1) } else { (1, 0) },
                "{}",
                fixture.info().kind
            );
            ends_well(fixture).await;
        }
    }
}

/// What one member had done before all began anew counted as done afterwards (kueue#10487): it was not made again, and the
/// others waited for it.
#[tokio::test(start_paused = true)]
async fn what_was_done_before_all_began_anew_is_done_again() {
    for framework in kinds() {
        for suspends in [false, true] {
            let options = FixtureOptions {
                replicas: 3,
                ..FixtureOptions::default()
            };
            let fixture = Fixture::new(framework, options, |manifest| {
                replaced(framework.kind(), manifest);
                rule(manifest, "restartScope", "Job");
                rule(manifest, "cleanPodPolicy", "None");
            });
            fixture.runs().await;
            let kind = fixture.info().kind;
            to(&fixture, &last(&fixture), |store, key| fail(store, key, 0, None));
            fixture.pass(3).await;
            let done = |fixture: &Fixture| {
                let counts = status(fixture).replica_statuses;
                counts.values().any(|counts| counts.succeeded_indices.is_some())
            };
            assert!(
                done(&fixture) && alive(&fixture).len() < fixture.wanted(),
                "{kind}: one is done"
            );
            if suspends {
                suspend(&fixture, true);
                suspended(&fixture).await;
                suspend(&fixture, false);
            } else {
                to(&fixture, &last(&fixture), |store, key| {
                    fail(store, key, 137, None)
                });
            }
            fixture.pass(60).await;
            assert_eq!(alive(&fixture).len(), fixture.wanted(), "{kind} {suspends}");
            assert!(!done(&fixture), "{kind} {suspends}: {}", fixture.job()["status"]);
            ends_well(fixture).await;
        }
    }
}

/// A crash between "decided", the deletes and the creates leaves a mix of attempts, or counts twice (jobset#1152): here in a
/// gang, at each write; `crash` does it without gangs.
#[tokio::test(start_paused = true)]
async fn a_restart_of_a_gang_that_is_cut_anywhere_is_one_restart() {
    for framework in kinds() {
        let (mut n, mut served) = (1, false);
        loop {
            let options = FixtureOptions {
                setup: with_gangs(),
                ..FixtureOptions::default()
            };
            let mut fixture = Fixture::new(framework, options, |manifest| {
                replaced(framework.kind(), manifest);
                rule(manifest, "restartScope", "Job");
            });
            fixture.runs().await;
            let (mut left, when_dead) = (n, served);
            let death = fixture.network.rule(move |request| {
                let counts = request.verb.writes() && !sim::cluster::is_aside(request);
                left -= i32::from(counts);
                let fatal = Fault::Fatal { served: when_dead };
                (counts && left == 0).then_some(with_fault(fatal))
            });
            to(&fixture, &last(&fixture), |store, key| {
                fail(store, key, 137, None)
            });
            let dead = tokio::select! {
                () = fixture.restart_once_dead() => true,
                () = tokio::time::sleep(Duration::from_secs(120)) => false,
            };
            fixture.network.end(death);
            fixture.runs().await;
            assert_eq!(restarts(&fixture), (1, 0), "{} {n}", fixture.info().kind);
            assert_eq!(status(&fixture).whole_restarts.unwrap_or_default().count, 1);
            succeeds(&fixture).await;
            if !dead {
                break;
            }
            n += i32::from(served);
            served = !served;
        }
        assert!(n > 5, "{} has so few writes: {n}", framework.kind().kind);
    }
}
