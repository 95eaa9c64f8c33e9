//! Gangs.

use std::time::Duration;

use common::gang::{Gang, PodGroupApi};
use common::{Framework, names};
use runtime::GangChoice;
use serde_json::{Value, json};
use sim::cluster::{NAMESPACE, Setup};
use sim::kubernetes::fail;
use sim::link::Fate;
use sim::refusal::Refusal;
use sim::request::Verb;
use sim::store::{Key, Object, Who};
use sim::story::{Teller, pod_key};
use sim::types::{PODS, pod_groups};
use sim::value::{self, deleting, has_ended, metadata};
use tokio::time::Instant;

use super::acts::{
    alive, belongings, by_batch_job, ends_well, is, last, policy, replaced, restarts, rule, suspend,
    suspended, to, when,
};
use super::stage::{RuleId, Scene, Stage, fated, kinds, refused};

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

fn scene((api, gang): &(PodGroupApi, GangChoice)) -> Scene {
    Scene {
        setup: Setup {
            pod_groups: vec![*api],
            ..Setup::default()
        },
        gang: gang.clone(),
        ..Scene::default()
    }
}

fn groups(teller: &Teller, api: PodGroupApi) -> Vec<Object> {
    let mut groups = teller.shared.list(pod_groups(api).resource);
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
                let stage = Stage::new(framework, scene(&scheduler), |manifest| {
                    replaced(framework.kind(), manifest);
                    if let Some(launcher) = launcher {
                        manifest["spec"]["launcherCreationPolicy"] = json!(launcher);
                    }
                });
                stage.runs().await;
                // One of them is lost, and then all begin anew.
                to(&stage, &last(&stage), |store, key| fail(store, key, 137, None));
                stage.pass(3).await;
                stage.runs().await;
                suspend(&stage, true);
                suspended(&stage).await;
                suspend(&stage, false);
                ends_well(stage).await;
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
            let mut scene = scene(&scheduler);
            scene.setup.nodes = 0; // the scheduler does nothing at all
            let stage = Stage::new(framework, scene, |_| {});
            stage.pass(10).await;
            let groups = groups(&stage, scheduler.0);
            assert_eq!(groups.len(), 1);
            assert!(
                groups[0]["status"]
                    .as_object()
                    .is_none_or(serde_json::Map::is_empty)
            );
            assert_eq!(stage.pods().len(), stage.wanted(), "{}", stage.info().kind);
            stage.closes().await;
        }
    }
}

/// The gang object is deleted or made anew when a single pod is replaced (vol#5342).
#[tokio::test(start_paused = true)]
async fn a_pod_group_outlives_the_pods_that_are_replaced() {
    for framework in kinds() {
        for scheduler in schedulers() {
            let stage = Stage::new(framework, scene(&scheduler), |manifest| {
                replaced(framework.kind(), manifest)
            });
            stage.runs().await;
            let uids = |stage: &Stage| -> Vec<String> {
                let groups = groups(stage, scheduler.0);
                groups.iter().map(|group| value::uid(group).to_owned()).collect()
            };
            let before = uids(&stage);
            assert_eq!(before.len(), 1);
            to(&stage, &last(&stage), |store, key| fail(store, key, 137, None));
            stage.pass(3).await;
            stage.runs().await;
            stage.delete(&last(&stage), None);
            stage.pass(8).await;
            stage.runs().await;
            assert_eq!(uids(&stage), before, "{}", stage.info().kind);
            ends_well(stage).await;
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
                    let stage = Stage::new(framework, scene(&scheduler), |manifest| {
                        policy(framework.kind(), manifest, "OnFailure");
                        rule(manifest, "cleanPodPolicy", clean_up);
                        rule(manifest, "backoffLimit", 0);
                    });
                    let there = |stage: &Stage| groups(stage, scheduler.0).len();
                    let told = format!("{} {clean_up} {ends_well} {scheduler:?}", stage.info().kind);
                    stage.runs().await;
                    assert_eq!(there(&stage), 1, "{told}");
                    suspend(&stage, true);
                    suspended(&stage).await;
                    assert_eq!(there(&stage), 0, "{told}: suspended");
                    suspend(&stage, false);
                    stage.runs().await;
                    assert_eq!(there(&stage), 1, "{told}: resumed");
                    if ends_well {
                        stage.finish().await;
                    } else {
                        to(&stage, &last(&stage), |store, key| fail(store, key, 137, None));
                    }
                    Teller::ends(&stage).await;
                    stage.pass(10).await;
                    assert_eq!(there(&stage), 0, "{told}: ended");
                    stage.closes().await;
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
                let stage = Stage::new(framework, scene(&scheduler), |_| {});
                stage.runs().await;
                let before = stage.wanted();
                stage.scale(0);
                stage.pass(pause).await;
                stage.scale(2);
                stage.pass(8).await;
                stage.runs().await;
                assert_eq!(
                    (alive(&stage).len(), groups(&stage, scheduler.0).len()),
                    (before, 1),
                    "{}",
                    stage.info().kind
                );
                ends_well(stage).await;
            }
        }
    }
}

/// A deleted job takes its PodGroup along.
#[tokio::test(start_paused = true)]
async fn a_deleted_job_leaves_no_pod_group() {
    for framework in kinds() {
        for scheduler in schedulers() {
            let stage = Stage::new(framework, scene(&scheduler), |_| {});
            stage.runs().await;
            assert!(
                belongings(&stage)
                    .iter()
                    .any(|name| name.starts_with("podgroups/"))
            );
            stage.delete(&stage.key(), None);
            when(&stage, "all is gone", |t| {
                t.pods().is_empty() && groups(t, scheduler.0).is_empty()
            })
            .await;
            stage.closes().await;
        }
    }
}

/// Two gangs under a quota that has room for one each hold a half (vol#1387, trainer#1264, vol#1062). One of them gives back
/// what it has, and they run one after the other; no half is ever placed, and both say what they wait for.
#[tokio::test(start_paused = true)]
async fn of_two_halves_of_gangs_under_a_quota_one_gives_way() {
    // Pods of batch Jobs are made, and refused, elsewhere.
    for framework in kinds().into_iter().filter(|f| !by_batch_job(f.kind())) {
        let stage = Stage::empty(framework, scene(&(PodGroupApi::Native, GangChoice::Auto)));
        let kind = framework.kind().kind;
        let (each, _) = two_halves(&stage, framework).await;
        let begun = Instant::now();
        when(&stage, "one gives way", |t| {
            JOBS.iter().any(|job| given_back(t, job) > 0)
        })
        .await;
        let (gone, left): (Vec<&str>, Vec<&str>) =
            JOBS.into_iter().partition(|job| given_back(&stage, job) > 0);
        assert_eq!((gone.len(), left.len()), (1, 1), "{kind}: one of them");
        let words = |job: &str| value::text(&job_of(&stage, job), "/status/waitingFor").to_owned();
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
        stage.pass(75).await;
        assert!(
            value::is_true(&job_of(&stage, left[0]), "Running"),
            "{kind}: the other runs"
        );
        assert_eq!(given_back(&stage, left[0]), 0, "{kind}: and gave nothing back");
        for round in 1..=JOBS.len() {
            when(&stage, "one runs", |t| {
                JOBS.iter().any(|job| value::is_true(&job_of(t, job), "Running"))
            })
            .await;
            assert_eq!(placed(&stage), each, "{kind}: half a gang is placed");
            let running = stage.pods().into_iter().rev();
            for pod in running.filter(|pod| has_place(pod) && !has_ended(pod)) {
                stage.shared.store(|store| fail(store, &pod_key(&pod), 0, None));
                stage.pass(1).await;
            }
            when(&stage, "it has succeeded", |t| {
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
            let status = &job_of(&stage, job)["status"];
            assert_eq!(status["restartCounts"], Value::Null, "{kind}: {status}");
        }
        let tries = stage.count("--- create");
        assert!(tries < 120, "{kind}: {tries} tries");
        stage.closes().await;
    }
}

/// With more room, or without the other, a gang that was refused in part goes on within a minute, and gives nothing back.
#[tokio::test(start_paused = true)]
async fn a_gang_that_was_refused_in_part_goes_on_when_there_is_room() {
    for framework in kinds().into_iter().filter(|f| !by_batch_job(f.kind())) {
        for way_out in ["more room", "one is suspended"] {
            let stage = Stage::empty(framework, scene(&(PodGroupApi::Native, GangChoice::Auto)));
            let told = format!("{} {way_out}", framework.kind().kind);
            let (_, quota) = two_halves(&stage, framework).await;
            stage.pass(30).await;
            assert_eq!(placed(&stage), 0, "{told}: half a gang is placed");
            if way_out == "more room" {
                stage.sky.end(quota);
            } else {
                let other = Key::new(stage.resource(), NAMESPACE, JOBS[1]);
                stage.shared.edit(&other, Who::User, |job| {
                    job["spec"]["runPolicy"]["suspend"] = json!(true)
                });
            }
            stage.pass(90).await;
            assert!(is(&stage, "Running"), "{told}: {}", stage.job()["status"]);
            assert!(JOBS.iter().all(|job| given_back(&stage, job) == 0), "{told}");
            stage.pass(60).await;
            assert_eq!(restarts(&stage), (0, 0), "{told}");
            stage.closes().await;
        }
    }
}

/// Between "it is given back", the deletes and the creates the operator dies: nothing is made twice or left.
#[tokio::test(start_paused = true)]
async fn what_is_given_back_and_cut_anywhere_is_given_back_once() {
    for framework in kinds().into_iter().filter(|f| !by_batch_job(f.kind())) {
        let (mut n, mut carried_out) = (1, false);
        loop {
            let mut stage = Stage::empty(framework, scene(&(PodGroupApi::Native, GangChoice::Auto)));
            let quota = quota(&stage, 1, |_, _| true);
            stage.create(|_| {});
            stage.pass(60).await;
            let (mut left, when_dead) = (n, carried_out);
            let death = stage.sky.rule(move |request| {
                // Tries that are refused are not of interest.
                let counts = request.verb.writes()
                    && !sim::cluster::is_aside(request)
                    && !(request.verb == Verb::Create && request.plural == PODS.plural);
                left -= i32::from(counts);
                let fatal = Fate::Fatal {
                    carried_out: when_dead,
                };
                (counts && left == 0).then_some(fated(fatal))
            });
            let dead = tokio::select! {
                () = stage.restart_once_dead() => true,
                () = tokio::time::sleep(Duration::from_secs(120)) => false,
            };
            stage.sky.end(death);
            let told = format!("{} {n} {carried_out}", framework.kind().kind);
            when(&stage, "all is given back", |t| {
                given_back(t, "j") == 1 && t.pods().is_empty()
            })
            .await;
            stage.sky.end(quota);
            stage.runs().await;
            assert_eq!(restarts(&stage), (0, 0), "{told}");
            ends_well(stage).await;
            if !dead {
                break;
            }
            n += i32::from(carried_out);
            carried_out = !carried_out;
        }
        assert!(n > 2, "{} has so few writes: {n}", framework.kind().kind);
    }
}

/// Two jobs that share a quota.
const JOBS: [&str; 2] = ["j", "k"];

/// Makes both, in a namespace that has room for all pods but two, so that each gets all of its pods but one. Answers with
/// the number of pods of each, and what says no.
async fn two_halves(stage: &Stage, framework: &'static dyn Framework) -> (usize, RuleId) {
    let mut manifest = common::testing::whole(framework, 2);
    let roles = manifest["spec"][framework.kind().replicas_field].as_object();
    let counts = roles.map(|roles| roles.values().filter_map(|role| role["replicas"].as_u64()).sum());
    let each = usize::try_from(counts.unwrap_or(0_u64)).unwrap();
    let quota = quota(stage, 2 * each - 2, |_, _| true);
    let job = |pod: &Value| value::label(pod, names::JOB_NAME).map(str::to_owned);
    // Else the first would have all of its pods before the other is looked at.
    let in_turns = self::quota(stage, each - 1, move |pod, new| job(pod) == job(new));
    stage.create(|_| {});
    metadata(&mut manifest).insert("name".to_owned(), json!(JOBS[1]));
    stage.shared.create(stage.resource(), &manifest);
    when(stage, "both have a half", |t| t.pods().len() == 2 * each - 2).await;
    stage.sky.end(in_turns);
    (each, quota)
}

fn job_of(teller: &Teller, name: &str) -> Value {
    let key = Key::new(teller.resource(), NAMESPACE, name);
    teller.shared.get(&key).map_or(Value::Null, |job| (*job).clone())
}

/// How often a job gave back what there was of its gang.
fn given_back(teller: &Teller, name: &str) -> u64 {
    job_of(teller, name)["status"]["gang"]["givenBack"]
        .as_u64()
        .unwrap_or(0)
}

fn has_place(pod: &Value) -> bool {
    !value::text(pod, "/spec/nodeName").is_empty()
}

/// Pods that have a place and have not ended.
fn placed(teller: &Teller) -> usize {
    let pods = teller.shared.list(PODS);
    pods.iter()
        .filter(|pod| has_place(pod) && !has_ended(pod))
        .count()
}

/// From now on there is room for so many pods of those that count for a new one.
fn quota(stage: &Stage, room: usize, counts: impl Fn(&Value, &Value) -> bool + Send + 'static) -> RuleId {
    let shared = stage.shared.clone();
    stage.sky.rule(move |request| {
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
