//! Gangs.

use std::time::Duration;

use common::gang::{Gang, PodGroupApi};
use common::{Framework, names};
use runtime::GangChoice;
use serde_json::{Value, json};
use sim::cluster::{NAMESPACE, Setup};
use sim::kubernetes::fail;
use sim::network_faults::Fault;
use sim::refusal::Refusal;
use sim::request::Verb;
use sim::scenario::{TestJob, pod_key};
use sim::store::{Key, Object, Who};
use sim::types::{PODS, pod_groups};
use sim::value::{self, deleting, has_ended, metadata};
use tokio::time::Instant;

use super::fixture::{Fixture, FixtureOptions, RuleId, kinds, refused, with_fault};
use super::steps::{
    alive, belongings, by_batch_job, ends_well, is, last, policy, replaced, restarts, rule, suspend,
    suspended, to, when,
};

/// All gang schedulers.
fn schedulers() -> [(PodGroupApi, GangChoice); 3] {
    let scheduler = "my-sched".to_owned();
    [
        (PodGroupApi::Native, GangChoice::Auto),
        (PodGroupApi::Volcano, GangChoice::Fixed(Gang::Volcano)),
        (
            PodGroupApi::Coscheduling,
            GangChoice::Fixed(Gang::Coscheduling { scheduler }),
        ),
    ]
}

fn options((api, gang): &(PodGroupApi, GangChoice)) -> FixtureOptions {
    FixtureOptions {
        setup: Setup {
            pod_groups: vec![*api],
            ..Setup::default()
        },
        gang: gang.clone(),
        ..FixtureOptions::default()
    }
}

fn groups(test_job: &TestJob, api: PodGroupApi) -> Vec<Object> {
    let mut groups = test_job.shared.list(pod_groups(api).resource);
    groups.retain(|group| !deleting(group));
    groups
}

/// A launcher is made when the workers are ready, and the gang wants all of them first: all wait for ever (mpi#608,
/// kubedl#229, vol#1959).
#[tokio::test(start_paused = true)]
async fn a_gang_does_not_wait_for_a_pod_that_waits_for_it() {
    for framework in kinds() {
        for scheduler in schedulers() {
            for launcher in [None, Some("AtStartup"), Some("WaitForWorkersReady")] {
                if launcher.is_some() && framework.kind().kind != "MPIJob" {
                    continue;
                }
                let fixture = Fixture::new(framework, options(&scheduler), |manifest| {
                    replaced(framework.kind(), manifest);
                    if let Some(launcher) = launcher {
                        manifest["spec"]["launcherCreationPolicy"] = json!(launcher);
                    }
                });
                fixture.runs().await;
                // One of them is lost, and then all begin anew.
                to(&fixture, &last(&fixture), |store, key| {
                    fail(store, key, 137, None)
                });
                fixture.pass(3).await;
                fixture.runs().await;
                suspend(&fixture, true);
                suspended(&fixture).await;
                suspend(&fixture, false);
                ends_well(fixture).await;
            }
        }
    }
}

/// No pod is made until somebody says something of the PodGroup, who never does (trainer#1630, vol#5385). (Volcano's queue is
/// meant to be asked first.)
#[tokio::test(start_paused = true)]
async fn pods_are_made_though_nobody_says_anything_of_their_gang() {
    for framework in kinds() {
        for scheduler in schedulers()
            .into_iter()
            .filter(|(api, _)| *api != PodGroupApi::Volcano)
        {
            let mut options = options(&scheduler);
            options.setup.nodes = 0; // the scheduler does nothing at all
            let fixture = Fixture::new(framework, options, |_| {});
            fixture.pass(10).await;
            let groups = groups(&fixture, scheduler.0);
            assert_eq!(groups.len(), 1);
            assert!(
                groups[0]["status"]
                    .as_object()
                    .is_none_or(serde_json::Map::is_empty)
            );
            assert_eq!(fixture.pods().len(), fixture.wanted(), "{}", fixture.info().kind);
            fixture.closes().await;
        }
    }
}

/// The gang object is deleted or made anew when a single pod is replaced (vol#5342).
#[tokio::test(start_paused = true)]
async fn a_pod_group_outlives_the_pods_that_are_replaced() {
    for framework in kinds() {
        for scheduler in schedulers() {
            let fixture = Fixture::new(framework, options(&scheduler), |manifest| {
                replaced(framework.kind(), manifest)
            });
            fixture.runs().await;
            let uids = |fixture: &Fixture| -> Vec<String> {
                let groups = groups(fixture, scheduler.0);
                groups.iter().map(|group| value::uid(group).to_owned()).collect()
            };
            let before = uids(&fixture);
            assert_eq!(before.len(), 1);
            to(&fixture, &last(&fixture), |store, key| {
                fail(store, key, 137, None)
            });
            fixture.pass(3).await;
            fixture.runs().await;
            fixture.delete(&last(&fixture), None);
            fixture.pass(8).await;
            fixture.runs().await;
            assert_eq!(uids(&fixture), before, "{}", fixture.info().kind);
            ends_well(fixture).await;
        }
    }
}

/// The PodGroup of a finished or suspended job holds the capacity of its queue (mpi#112, ray#4476, ray#4669, vol#3374).
#[tokio::test(start_paused = true)]
async fn a_pod_group_is_there_while_pods_need_it_and_no_longer() {
    for framework in kinds() {
        for scheduler in schedulers() {
            for clean_up in ["None", "Running", "All"] {
                for ends_well in [true, false] {
                    let fixture = Fixture::new(framework, options(&scheduler), |manifest| {
                        policy(framework.kind(), manifest, "OnFailure");
                        rule(manifest, "cleanPodPolicy", clean_up);
                        rule(manifest, "backoffLimit", 0);
                    });
                    let there = |fixture: &Fixture| groups(fixture, scheduler.0).len();
                    let told = format!("{} {clean_up} {ends_well} {scheduler:?}", fixture.info().kind);
                    fixture.runs().await;
                    assert_eq!(there(&fixture), 1, "{told}");
                    suspend(&fixture, true);
                    suspended(&fixture).await;
                    assert_eq!(there(&fixture), 0, "{told}: suspended");
                    suspend(&fixture, false);
                    fixture.runs().await;
                    assert_eq!(there(&fixture), 1, "{told}: resumed");
                    if ends_well {
                        fixture.finish().await;
                    } else {
                        to(&fixture, &last(&fixture), |store, key| {
                            fail(store, key, 137, None)
                        });
                    }
                    TestJob::ends(&fixture).await;
                    fixture.pass(10).await;
                    assert_eq!(there(&fixture), 0, "{told}: ended");
                    fixture.closes().await;
                }
            }
        }
    }
}

/// Scaled to none and back faster than anybody looks, a job stays without its PodGroup, or without its pods.
#[tokio::test(start_paused = true)]
async fn scaled_to_none_and_back_at_once_the_gang_is_whole() {
    for framework in kinds().into_iter().filter(|f| f.kind().scaled_role.is_some()) {
        for scheduler in schedulers() {
            for pause in [0, 1, 20] {
                let fixture = Fixture::new(framework, options(&scheduler), |_| {});
                fixture.runs().await;
                let before = fixture.wanted();
                fixture.scale(0);
                fixture.pass(pause).await;
                fixture.scale(2);
                fixture.pass(8).await;
                fixture.runs().await;
                assert_eq!(
                    (alive(&fixture).len(), groups(&fixture, scheduler.0).len()),
                    (before, 1),
                    "{}",
                    fixture.info().kind
                );
                ends_well(fixture).await;
            }
        }
    }
}

/// A deleted job takes its PodGroup along.
#[tokio::test(start_paused = true)]
async fn a_deleted_job_leaves_no_pod_group() {
    for framework in kinds() {
        for scheduler in schedulers() {
            let fixture = Fixture::new(framework, options(&scheduler), |_| {});
            fixture.runs().await;
            assert!(
                belongings(&fixture)
                    .iter()
                    .any(|name| name.starts_with("podgroups/"))
            );
            fixture.delete(&fixture.key(), None);
            when(&fixture, "all is gone", |t| {
                t.pods().is_empty() && groups(t, scheduler.0).is_empty()
            })
            .await;
            fixture.closes().await;
        }
    }
}

/// Two gangs under a quota that has room for one each hold a half (vol#1387, trainer#1264, vol#1062). One of them gives back
/// what it has, and they run one after the other; no half is ever placed, and both say what they wait for.
#[tokio::test(start_paused = true)]
async fn of_two_halves_of_gangs_under_a_quota_one_gives_way() {
    // Pods of batch Jobs are made, and refused, elsewhere.
    for framework in kinds().into_iter().filter(|f| !by_batch_job(f.kind())) {
        let fixture = Fixture::empty(framework, options(&(PodGroupApi::Native, GangChoice::Auto)));
        let kind = framework.kind().kind;
        let (each, _) = two_halves(&fixture, framework).await;
        let begun = Instant::now();
        when(&fixture, "one gives way", |t| {
            JOBS.iter().any(|job| given_back(t, job) > 0)
        })
        .await;
        let (gone, left): (Vec<&str>, Vec<&str>) =
            JOBS.into_iter().partition(|job| given_back(&fixture, job) > 0);
        assert_eq!((gone.len(), left.len()), (1, 1), "{kind}: one of them");
        let words = |job: &str| value::text(&job_of(&fixture, job), "/status/waitingFor").to_owned();
        assert!(
            words(gone[0]).contains("given back"),
            "{kind}: {}",
            words(gone[0])
        );
        assert!(
            words(left[0]).contains("exceeded quota"),
            "{kind}: {}",
            words(left[0])
        );
        // Tried once a minute, with some jitter.
        fixture.pass(75).await;
        assert!(
            value::is_true(&job_of(&fixture, left[0]), "Running"),
            "{kind}: the other runs"
        );
        assert_eq!(given_back(&fixture, left[0]), 0, "{kind}: and gave nothing back");
        for round in 1..=JOBS.len() {
            when(&fixture, "one runs", |t| {
                JOBS.iter().any(|job| value::is_true(&job_of(t, job), "Running"))
            })
            .await;
            assert_eq!(placed(&fixture), each, "{kind}: half a gang is placed");
            let running = fixture.pods().into_iter().rev();
            for pod in running.filter(|pod| has_place(pod) && !has_ended(pod)) {
                fixture.shared.store(|store| fail(store, &pod_key(&pod), 0, None));
                fixture.pass(1).await;
            }
            when(&fixture, "it has succeeded", |t| {
                let done = |job: &&&str| value::is_true(&job_of(t, job), "Succeeded");
                JOBS.iter().filter(done).count() == round
            })
            .await;
        }
        assert!(
            begun.elapsed() < Duration::from_mins(40),
            "{kind}: {:?}",
            begun.elapsed()
        );
        for job in JOBS {
            let status = &job_of(&fixture, job)["status"];
            assert_eq!(status["restartCounts"], Value::Null, "{kind}: {status}");
        }
        let tries = fixture.count("--- create");
        assert!(tries < 120, "{kind}: {tries} tries");
        fixture.closes().await;
    }
}

/// With more room, or without the other, a gang that was refused in part goes on within a minute, and gives nothing back.
#[tokio::test(start_paused = true)]
async fn a_gang_that_was_refused_in_part_goes_on_when_there_is_room() {
    for framework in kinds().into_iter().filter(|f| !by_batch_job(f.kind())) {
        for way_out in ["more room", "one is suspended"] {
            let fixture = Fixture::empty(framework, options(&(PodGroupApi::Native, GangChoice::Auto)));
            let told = format!("{} {way_out}", framework.kind().kind);
            let (_, quota) = two_halves(&fixture, framework).await;
            fixture.pass(30).await;
            assert_eq!(placed(&fixture), 0, "{told}: half a gang is placed");
            if way_out == "more room" {
                fixture.network.end(quota);
            } else {
                let other = Key::new(fixture.resource(), NAMESPACE, JOBS[1]);
                fixture.shared.edit(&other, Who::User, |job| {
                    job["spec"]["runPolicy"]["suspend"] = json!(true)
                });
            }
            fixture.pass(90).await;
            assert!(is(&fixture, "Running"), "{told}: {}", fixture.job()["status"]);
            assert!(JOBS.iter().all(|job| given_back(&fixture, job) == 0), "{told}");
            fixture.pass(60).await;
            assert_eq!(restarts(&fixture), (0, 0), "{told}");
            fixture.closes().await;
        }
    }
}

/// Between "it is given back", the deletes and the creates the operator dies: nothing is made twice or left.
#[tokio::test(start_paused = true)]
async fn what_is_given_back_and_cut_anywhere_is_given_back_once() {
    for framework in kinds().into_iter().filter(|f| !by_batch_job(f.kind())) {
        let (mut n, mut served) = (1, false);
        loop {
            let mut fixture = Fixture::empty(framework, options(&(PodGroupApi::Native, GangChoice::Auto)));
            let quota = quota(&fixture, 1, |_, _| true);
            fixture.create(|_| {});
            fixture.pass(60).await;
            let (mut left, when_dead) = (n, served);
            let death = fixture.network.rule(move |request| {
                // Tries that are refused are not of interest.
                let counts = request.verb.writes()
                    && !sim::cluster::is_aside(request)
                    && !(request.verb == Verb::Create && request.plural == PODS.plural);
                left -= i32::from(counts);
                let fatal = Fault::Fatal { served: when_dead };
                (counts && left == 0).then_some(with_fault(fatal))
            });
            let dead = tokio::select! {
                () = fixture.restart_once_dead() => true,
                () = tokio::time::sleep(Duration::from_secs(120)) => false,
            };
            fixture.network.end(death);
            let told = format!("{} {n} {served}", framework.kind().kind);
            when(&fixture, "all is given back", |t| {
                given_back(t, "j") == 1 && t.pods().is_empty()
            })
            .await;
            fixture.network.end(quota);
            fixture.runs().await;
            assert_eq!(restarts(&fixture), (0, 0), "{told}");
            ends_well(fixture).await;
            if !dead {
                break;
            }
            n += i32::from(served);
            served = !served;
        }
        assert!(n > 2, "{} has so few writes: {n}", framework.kind().kind);
    }
}

/// Two jobs that share a quota.
const JOBS: [&str; 2] = ["j", "k"];

/// Makes both, in a namespace that has room for all pods but two, so that each gets all of its pods but one. Answers with
/// the number of pods of each, and what says no.
async fn two_halves(fixture: &Fixture, framework: &'static dyn Framework) -> (usize, RuleId) {
    let mut manifest = common::testing::whole(framework, 2);
    let roles = manifest["spec"][framework.kind().replicas_field].as_object();
    let counts = roles.map(|roles| roles.values().filter_map(|role| role["replicas"].as_u64()).sum());
    let each = usize::try_from(counts.unwrap_or(0_u64)).unwrap();
    let quota = quota(fixture, 2 * each - 2, |_, _| true);
    let job = |pod: &Value| value::label(pod, names::JOB_NAME).map(str::to_owned);
    // Else the first would have all of its pods before the other is looked at.
    let in_turns = self::quota(fixture, each - 1, move |pod, new| job(pod) == job(new));
    fixture.create(|_| {});
    metadata(&mut manifest).insert("name".to_owned(), json!(JOBS[1]));
    fixture.shared.create(fixture.resource(), &manifest);
    when(fixture, "both have a half", |t| t.pods().len() == 2 * each - 2).await;
    fixture.network.end(in_turns);
    (each, quota)
}

fn job_of(test_job: &TestJob, name: &str) -> Value {
    let key = Key::new(test_job.resource(), NAMESPACE, name);
    test_job
        .shared
        .get(&key)
        .map_or(Value::Null, |job| (*job).clone())
}

/// How often a job gave back what there was of its gang.
fn given_back(test_job: &TestJob, name: &str) -> u64 {
    job_of(test_job, name)["status"]["gang"]["givenBack"]
        .as_u64()
        .unwrap_or(0)
}

fn has_place(pod: &Value) -> bool {
    !value::text(pod, "/spec/nodeName").is_empty()
}

/// Pods that have a place and have not ended.
fn placed(test_job: &TestJob) -> usize {
    let pods = test_job.shared.list(PODS);
    pods.iter()
        .filter(|pod| has_place(pod) && !has_ended(pod))
        .count()
}

/// From now on there is room for so many pods of those that count for a new one.
fn quota(fixture: &Fixture, room: usize, counts: impl Fn(&Value, &Value) -> bool + Send + 'static) -> RuleId {
    let shared = fixture.shared.clone();
    fixture.network.rule(move |request| {
        if request.verb != Verb::Create || request.plural != PODS.plural {
            return None;
        }
        let pods = shared.list(PODS);
        let used = pods
            .iter()
            .filter(|pod| !has_ended(pod) && counts(pod, &request.body));
        if used.count() < room {
            return None;
        }
        Some(refused(Refusal {
            code: 403,
            reason: "Forbidden",
            message: format!(
                "pods \"{}\" is forbidden: exceeded quota: q, used: pods={room}",
                request.line()
            ),
            retry_after: None,
        }))
    })
}
