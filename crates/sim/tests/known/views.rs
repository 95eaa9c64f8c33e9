//! Views that are late, old, lost or repeated.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::gang::PodGroupApi;
use serde_json::{Value, json};
use sim::checker::stored;
use sim::cluster::NAMESPACE;
use sim::kubernetes::fail;
use sim::network_faults::Fault;
use sim::refusal::Refusal;
use sim::request::{Request, Verb};
use sim::scenario::pod_key;
use sim::server::Answer;
use sim::store::{Frame, Key, Store, Who};
use sim::types::{BATCH_JOBS, PODS, Resource};
use sim::value::{self, name, phase, uid};

use super::stage::{Scene, Stage, by_batch_job, kinds, refused, replaced, with_fault};

/// All that a job makes and the operator watches.
const CHILDREN: [&str; 4] = ["pods", "services", "jobs", "horizontalpodautoscalers"];

fn hold(stage: &Stage) {
    for plural in CHILDREN {
        stage.network.hold(plural);
    }
}

fn release(stage: &Stage) {
    for plural in CHILDREN {
        stage.network.release(plural);
    }
}

/// How often operators have created each pod, Service and batch Job.
fn created_once(stage: &Stage) {
    let inside = stage.shared.lock();
    let twice: Vec<_> = inside
        .checker
        .counts
        .iter()
        .filter(|((what, _), times)| *what == "create" && **times > 1)
        .collect();
    assert!(twice.is_empty(), "{}: {twice:?}", stage.info().kind);
}

/// Removes a pod at once, as if it had never been.
fn wipe(stage: &Stage, pod: &Key) {
    stage.shared.store(|store| store.remove(Who::User, pod));
}

/// A pass that came before the events of the last one's creates made the same pods again (ray#704, k8s#130103, k8s#41675).
#[tokio::test(start_paused = true)]
async fn more_pods_than_asked_for_while_the_watch_is_late() {
    for framework in kinds() {
        let stage = Stage::empty(
            framework,
            Scene {
                replicas: 4,
                ..Scene::default()
            },
        );
        stage.pass(1).await;
        hold(&stage);
        stage.create(|_| {});
        stage.pass(2).await;
        let before = stage.writes();
        assert!(stage.count("create pods/") > 0, "{before:?}");
        stage.nudge("once more");
        stage.pass(2).await;
        assert_eq!(stage.writes(), before, "{}", stage.info().kind);
        release(&stage);
        stage.runs().await;
        created_once(&stage);
        assert_eq!(stage.count("409 create pods/"), 0, "{}", stage.info().kind);
        stage.closes().await;
    }
}

/// Own pods were deleted by others before any event of them had come, and the controller waited for these events
/// (k8s#129795).
#[tokio::test(start_paused = true)]
async fn what_was_made_and_deleted_unseen_is_waited_for() {
    for framework in kinds() {
        let stage = Stage::empty(framework, Scene::default());
        stage.pass(1).await;
        stage.network.hold("pods");
        stage.create(|_| {});
        stage.pass(2).await;
        let pods = stage.pods();
        assert!(!pods.is_empty());
        for pod in &pods {
            wipe(&stage, &pod_key(pod));
        }
        stage.lose("pods").await;
        // Sooner than anything is looked up.
        stage.pass(1).await;
        let now = stage.pods();
        assert_eq!(now.len(), pods.len(), "{}", stage.info().kind);
        assert!(now.iter().all(|pod| pods.iter().all(|old| uid(old) != uid(pod))));
        stage.runs().await;
        stage.closes().await;
    }
}

/// No event ever comes of what was made, since somebody takes off the label that it is selected by before it is stored, and
/// nothing can be looked up: bookmarks alone say how far a quiet watch is (k8s#129795).
#[tokio::test(start_paused = true)]
async fn a_quiet_watch_with_bookmarks_only_is_waited_for_in_vain() {
    for framework in kinds() {
        let stage = Stage::empty(framework, Scene::default());
        stage.pass(1).await;
        let shared = stage.shared.clone();
        let webhook = stage.network.rule(move |request| {
            let carries = request.is_of(PODS) || request.is_of(BATCH_JOBS);
            match request.verb {
                Verb::Create if carries => {
                    let mut request = request.clone();
                    for labels in ["/metadata/labels", "/spec/template/metadata/labels"] {
                        if let Some(labels) = request.body.pointer_mut(labels).and_then(Value::as_object_mut)
                        {
                            labels.remove(common::names::OPERATOR_NAME);
                        }
                    }
                    Some(with_fault(match shared.answer(Who::Client, &request) {
                        Ok(Answer::Object(code, object)) => Fault::Answered(code, object),
                        Ok(Answer::Watch(_)) => panic!("a create is no watch"),
                        Err(refusal) => Fault::Refused(refusal),
                    }))
                }
                Verb::Get if carries => Some(refused(Refusal::internal())),
                _ => None,
            }
        });
        stage.create(|_| {});
        stage.pass(10).await;
        let pods: Vec<Key> = stage.pods().iter().map(|pod| pod_key(pod)).collect();
        assert!(!pods.is_empty(), "{}", stage.info().kind);
        let passes = stage.clock.asked();
        stage.nudge("once more");
        // The first watch began a minute before its first bookmark.
        stage.pass(48).await;
        assert_eq!(stage.clock.asked(), passes, "{}", stage.info().kind);
        stage.pass(2).await;
        assert!(
            stage.clock.asked() > passes,
            "{}: {:?}",
            stage.info().kind,
            stage.writes()
        );
        stage.network.end(webhook);
        let hidden = stage
            .shared
            .list(BATCH_JOBS)
            .into_iter()
            .map(|job| Key::new(BATCH_JOBS, NAMESPACE, name(&job)));
        for key in pods.into_iter().chain(hidden) {
            let value = stage.info().controller;
            stage.shared.edit(&key, Who::User, |object| {
                object["metadata"]["labels"][common::names::OPERATOR_NAME] = json!(value);
            });
        }
        stage.runs().await;
        stage.is_right();
    }
}

/// The same where the pods are there, but out of sight: somebody has taken off the label that they are selected by.
#[tokio::test(start_paused = true)]
async fn what_was_made_and_relabelled_unseen_is_waited_for() {
    for framework in kinds() {
        let stage = Stage::empty(framework, Scene::default());
        stage.pass(1).await;
        stage.network.hold("pods");
        stage.create(|_| {});
        stage.pass(2).await;
        let pods: Vec<Key> = stage.pods().iter().map(|pod| pod_key(pod)).collect();
        let label = |pod: &mut Value, from: &str, to: &str| {
            let labels = pod["metadata"]["labels"].as_object_mut().unwrap();
            let value = labels.remove(from).unwrap();
            labels.insert(to.to_owned(), value);
        };
        for pod in &pods {
            stage.shared.edit(pod, Who::User, |pod| {
                label(pod, common::names::OPERATOR_NAME, "kept");
            });
        }
        stage.network.release("pods");
        stage.pass(60).await;
        // It finds out that the names are taken, and asks for them every few seconds.
        assert!(stage.count("409 create pods/") <= 20, "{:?}", stage.writes());
        for pod in &pods {
            stage.shared.edit(pod, Who::User, |pod| {
                label(pod, "kept", common::names::OPERATOR_NAME);
            });
        }
        stage.runs().await;
        stage.closes().await;
    }
}

/// Counting what is there and what is expected came out even, although one pod was missing (ai-dynamo/grove#457).
#[tokio::test(start_paused = true)]
async fn a_pod_is_missing_and_the_sum_is_right() {
    for framework in kinds() {
        let stage = Stage::running(framework).await;
        let before = stage.pods();
        let gone = before.last().unwrap();
        wipe(&stage, &pod_key(gone));
        stage.nudge("a pass before anything else");
        stage.pass(1).await;
        stage.runs().await;
        let after = stage.pods();
        assert_eq!(after.len(), before.len(), "{}", stage.info().kind);
        let new: Vec<&str> = after
            .iter()
            .filter(|pod| before.iter().all(|old| uid(old) != uid(pod)))
            .map(|pod| name(pod))
            .collect();
        // A launcher begins anew with its workers.
        assert!(
            new == [name(gone)] || by_batch_job(stage.info()) && new.contains(&name(gone)),
            "{}: {new:?}",
            stage.info().kind
        );
        stage.closes().await;
    }
}

/// One kind of child is up to date, and that is taken for all of them (trainer#1120).
#[tokio::test(start_paused = true)]
async fn one_watch_is_up_to_date_and_the_other_is_not() {
    for framework in kinds() {
        for late in ["services", "pods"] {
            let stage = Stage::empty(framework, Scene::default());
            stage.pass(1).await;
            stage.network.hold(late);
            stage.create(|_| {});
            stage.pass(2).await;
            if stage.count(&format!("create {late}/")) == 0 {
                continue;
            }
            let before = stage.writes();
            stage.nudge("once more");
            stage.pass(2).await;
            assert_eq!(stage.writes(), before, "{}: {late}", stage.info().kind);
            stage.network.release(late);
            stage.runs().await;
            created_once(&stage);
            stage.closes().await;
        }
    }
}

/// What was expected of a deleted job blocked the next one of its name (trainer#1306, k8s#69376).
#[tokio::test(start_paused = true)]
async fn the_next_job_of_the_name_waits_for_events_of_the_last() {
    for framework in kinds() {
        let stage = Stage::empty(framework, Scene::default());
        stage.pass(1).await;
        hold(&stage);
        let first = stage.create(|_| {});
        stage.pass(2).await;
        stage.network.hold(stage.info().plural);
        stage.delete(&stage.key(), None);
        let second = stage.create(|_| {});
        assert_ne!(uid(&first), uid(&second));
        let before = stage.writes().len();
        stage.network.release(stage.info().plural);
        // Sooner than anything is looked up.
        stage.pass(1).await;
        assert!(stage.writes().len() > before, "{}", stage.info().kind);
        // Longer than old pods take to go; the children's watches stand still all the while.
        stage.pass(20).await;
        let pods = stage.pods();
        let own = |pod: &Value| {
            let inside = stage.shared.lock();
            let owner = value::controller_uid(pod);
            let carrier = inside
                .server
                .store
                .by_uid(owner)
                .filter(|(key, _)| key.resource == BATCH_JOBS);
            carrier.map_or(owner, |(_, job)| value::controller_uid(job)) == uid(&second)
        };
        assert!(
            !pods.is_empty() && pods.iter().all(|pod| own(pod)),
            "{}",
            stage.info().kind
        );
        release(&stage);
        stage.runs().await;
        stage.closes().await;
    }
}

/// A failed pod was counted, and counted again when a late view still showed it (k8s#105200, k8s#104666, k8s#125410).
#[tokio::test(start_paused = true)]
async fn one_failure_is_counted_twice() {
    for framework in kinds() {
        for dies in [None, Some(false), Some(true)] {
            let mut stage = Stage::new(framework, Scene::default(), |m| replaced(framework.kind(), m));
            stage.runs().await;
            let (network, mut left) = (stage.network.clone(), 1);
            stage.network.rule(move |request| {
                if request.verb != Verb::Delete || !request.is_of(PODS) || left == 0 {
                    return None;
                }
                left -= 1;
                network.hold("pods");
                dies.map(|served| with_fault(Fault::Fatal { served }))
            });
            stage.to_last(|store, key| fail(store, key, 137, None));
            if dies.is_some() {
                stage.restart_once_dead().await;
            }
            stage.pass(3).await;
            stage.nudge("a pass on the old view");
            stage.pass(60).await;
            stage.nudge("another one");
            stage.pass(3).await;
            let counted = |stage: &Stage| {
                stored(&stage.job())
                    .restart_counts
                    .map_or(0, |counts| counts.failures)
            };
            assert_eq!(counted(&stage), 1, "{} {dies:?}", stage.info().kind);
            stage.network.release("pods");
            stage.runs().await;
            assert_eq!(counted(&stage), 1, "{} {dies:?}", stage.info().kind);
            stage.closes().await;
        }
    }
}

/// A plural, and what a list of it was answered.
type Answered = (String, u16, Value);

/// UIDs of the pods.
fn uids(stage: &Stage) -> Vec<String> {
    stage.pods().iter().map(|pod| uid(pod).to_owned()).collect()
}

/// A process that began from an old view took the pods of a new job for those of its predecessor, and deleted them
/// (k8s#59848, instaclustr/cassandra-operator#402).
#[tokio::test(start_paused = true)]
async fn the_view_goes_back_in_time_and_live_pods_are_deleted() {
    for framework in kinds() {
        for also_new in [false, true] {
            let mut stage = Stage::new(framework, Scene::default(), |_| {});
            stage.runs().await;
            let (lists, plain): (Arc<Mutex<Vec<Request>>>, _) = Default::default();
            let kept = Arc::clone(&lists);
            let learn = stage.network.rule(move |request| {
                if request.verb == Verb::List {
                    assert_eq!(
                        request.parameter("resourceVersion"),
                        plain,
                        "the newest state is asked for"
                    );
                    kept.lock().unwrap().push(request.clone());
                }
                None
            });
            stage.disturb(&[], &Frame::Gone);
            stage.pass(1).await;
            stage.network.end(learn);
            // A front end is frozen when the first job is about to be suspended: its pods still run.
            stage.edit("/runPolicy/suspend", json!(true));
            let answered = |request: &Request| match stage.shared.answer(Who::Client, request) {
                Ok(Answer::Object(code, body)) => (request.plural.clone(), code, body),
                other => panic!("{other:?}"),
            };
            let old: Vec<Answered> = lists.lock().unwrap().iter().map(answered).collect();
            assert!(!old.is_empty());
            stage.delete(&stage.key(), None);
            stage.pass(10).await;
            stage.create(|_| {});
            stage.runs().await;
            let (alive, writes) = (uids(&stage), stage.count("delete "));
            // From now on it answers, and its watches stand still.
            let plurals: Vec<String> = old.iter().map(|(plural, ..)| plural.clone()).collect();
            let frozen = stage.network.rule(move |request| {
                let (_, code, body) = old.iter().find(|(plural, ..)| *plural == request.plural)?;
                (request.verb == Verb::List).then(|| with_fault(Fault::Answered(*code, body.clone())))
            });
            if also_new {
                for plural in &plurals {
                    stage.network.hold(plural);
                }
                stage.restart();
                stage.pass(30).await;
                stage.network.end(frozen);
                for plural in &plurals {
                    stage.network.release(plural);
                }
            } else {
                // Fewer lists than are taken for a store that was restored from a backup.
                let before = stage.writes();
                stage.disturb(&[], &Frame::Gone);
                stage.pass(3).await;
                stage.network.end(frozen);
                assert_eq!(stage.writes(), before, "{}", stage.info().kind);
            }
            stage.pass(60).await;
            assert_eq!(uids(&stage), alive, "{} {also_new}", stage.info().kind);
            assert_eq!(stage.count("delete "), writes, "{} {also_new}", stage.info().kind);
            stage.closes().await;
        }
    }
}

/// A job that is gone, but whose end has not been told, has its pods made anew as fast as they are collected (vol#3357,
/// vol#3601).
#[tokio::test(start_paused = true)]
async fn pods_of_a_ghost_are_made_and_collected_for_ever() {
    for framework in kinds() {
        let stage = Stage::running(framework).await;
        let before = stage.count("201 create pods/") + stage.count("201 create jobs/");
        stage.network.hold(stage.info().plural);
        stage.delete(&stage.key(), None);
        stage.pass(60).await;
        let made = stage.count("201 create pods/") + stage.count("201 create jobs/") - before;
        assert!(made <= 3, "{}: {made}", stage.info().kind);
        stage.lose(stage.info().plural).await;
        stage.pass(10).await;
        let made_then = stage.count("201 create pods/") + stage.count("201 create jobs/") - before;
        assert_eq!(made_then, made, "{}", stage.info().kind);
        assert!(stage.pods().is_empty());
        stage.closes().await;
    }
}

/// What was deleted between a list and the watch that goes on from it stays in the view for ever (k8s#141529,
/// jupyterhub/kubespawner#81).
#[tokio::test(start_paused = true)]
async fn what_is_deleted_between_list_and_watch_stays_in_the_view() {
    for framework in kinds() {
        for compacted in [false, true] {
            let mut stage = Stage::running(framework).await;
            let before = stage.pods();
            let gone = pod_key(before.last().unwrap());
            let (shared, pod, mut left) = (stage.shared.clone(), gone.clone(), 1);
            stage.network.rule(move |request| {
                if request.verb == Verb::Watch && request.is_of(PODS) && left > 0 {
                    left -= 1;
                    shared.store(|store| store.remove(Who::User, &pod));
                    if compacted {
                        shared.store(Store::compact);
                    }
                }
                None
            });
            stage.restart();
            stage.pass(2).await;
            stage.runs().await;
            let now = stage.pods();
            assert_eq!(now.len(), before.len(), "{}", stage.info().kind);
            stage.closes().await;
        }
    }
}

/// What is deleted while the watch is down sends no event, and nobody is woken (vol#5735, meshery/meshsync#102, kube#1590).
#[tokio::test(start_paused = true)]
async fn what_vanishes_while_the_watch_is_down_wakes_nobody() {
    for framework in kinds() {
        let stage = Stage::running(framework).await;
        let before = stage.pods();
        let gone = before.last().unwrap();
        stage.network.hold("pods");
        wipe(&stage, &pod_key(gone));
        stage.pass(5).await;
        stage.lose("pods").await;
        stage.pass(1).await;
        let there = stage.shared.get(&pod_key(gone));
        assert!(
            there.is_some_and(|pod| uid(&pod) != uid(gone)),
            "{}",
            stage.info().kind
        );
        stage.runs().await;
        stage.closes().await;
    }
}

/// The same with the job itself: its pods are none of ours to make again.
#[tokio::test(start_paused = true)]
async fn a_job_that_vanishes_while_the_watch_is_down_lives_on() {
    for framework in kinds() {
        let stage = Stage::running(framework).await;
        stage.network.hold(stage.info().plural);
        stage.shared.store(|store| store.remove(Who::User, &stage.key()));
        stage.lose(stage.info().plural).await;
        stage.pass(1).await;
        let before = stage.writes();
        stage.pass(60).await;
        assert_eq!(stage.writes(), before, "{}", stage.info().kind);
        stage.closes().await;
    }
}

/// The same with the PodGroup of a gang that is not placed yet: without it none of its pods ever is.
#[tokio::test(start_paused = true)]
async fn a_pod_group_that_vanishes_while_the_watch_is_down_is_not_missed() {
    for framework in kinds() {
        for api in [
            PodGroupApi::Native,
            PodGroupApi::Volcano,
            PodGroupApi::Coscheduling,
        ] {
            let stage = Stage::new(framework, Scene::gang(api), |_| {});
            // No node answers, so that nothing is placed.
            for n in 1..=3 {
                let node = format!("node-{n}");
                stage
                    .shared
                    .store(|store| sim::kubernetes::set_node(store, &node, false));
            }
            stage.pass(10).await;
            let groups = Resource::new(api.group_version().0, "podgroups");
            let made = stage.shared.list(groups);
            assert_eq!(made.len(), 1, "{} {api:?}", stage.info().kind);
            stage.network.hold("podgroups");
            let key = Key::new(groups, NAMESPACE, name(&made[0]));
            wipe(&stage, &key);
            stage.pass(5).await;
            stage.lose("podgroups").await;
            stage.pass(2).await;
            let again = stage.shared.get(&key);
            assert!(again.is_some(), "{} {api:?}", stage.info().kind);
            for n in 1..=3 {
                let node = format!("node-{n}");
                stage
                    .shared
                    .store(|store| sim::kubernetes::set_node(store, &node, true));
            }
            stage.runs().await;
            stage.closes().await;
        }
    }
}

/// A watch says nothing for ever while its connection stands (kubernetes/kube-state-metrics#694,
/// emberstack/kubernetes-reflector#246).
#[tokio::test(start_paused = true)]
async fn a_silent_watch_is_believed() {
    for framework in kinds() {
        let stage = Stage::new(framework, Scene::default(), |m| replaced(framework.kind(), m));
        stage.runs().await;
        stage.disturb(&[], &Frame::Stall);
        let failed = stage.pods().last().cloned().unwrap();
        stage.to_last(|store, key| fail(store, key, 137, None));
        // A bookmark comes every minute; half of that later the watch is given up.
        stage.pass(95).await;
        let now = stage.shared.get(&pod_key(&failed));
        assert!(
            now.is_none_or(|pod| uid(&pod) != uid(&failed)),
            "{}",
            stage.info().kind
        );
        stage.runs().await;
        stage.closes().await;
    }
}

/// Each relist reconciled every job anew, and flooded the API server (kube#1209, k8s#119646).
#[tokio::test(start_paused = true)]
async fn relists_reconcile_jobs_of_which_there_is_no_news() {
    const JOBS: usize = 40;
    for framework in kinds() {
        let stage = Stage::empty(
            framework,
            Scene {
                replicas: 1,
                ..Scene::default()
            },
        );
        for n in 0..JOBS {
            stage.create(|m| m["metadata"]["name"] = json!(format!("j{n}")));
        }
        let running = |stage: &Stage| {
            let jobs = stage.shared.list(stage.resource());
            jobs.iter().filter(|job| value::is_true(job, "Running")).count()
        };
        for _ in 0..60 {
            stage.pass(2).await;
            if running(&stage) == JOBS {
                break;
            }
        }
        assert_eq!(running(&stage), JOBS, "{}", stage.info().kind);
        stage.pass(30).await;
        let (writes, passes) = (stage.writes(), stage.clock.asked());
        for _ in 0..20 {
            stage.relist(&[]);
            stage.pass(5).await;
        }
        assert_eq!(stage.writes(), writes, "{}", stage.info().kind);
        assert_eq!(stage.clock.asked(), passes, "{}: passes", stage.info().kind);
        // One pod that differs is news for one job.
        let pod = stage.pods().last().cloned().unwrap();
        stage.network.hold("pods");
        stage
            .shared
            .store(|store| fail(store, &pod_key(&pod), 137, Some("PreemptionByScheduler")));
        stage.lose("pods").await;
        stage.pass(60).await;
        let later = stage.clock.asked() - passes;
        assert!((1..60).contains(&later), "{}: {later}", stage.info().kind);
        stage.is_right();
    }
}

/// The events of one watch all come late, one after the other, each as a pass has just begun on the last one.
#[tokio::test(start_paused = true)]
async fn a_watch_that_is_always_a_little_late_costs_nothing_but_time() {
    for framework in kinds() {
        let stage = Stage::empty(framework, Scene::default());
        for plural in CHILDREN {
            stage.network.lag(plural, Duration::from_millis(1500));
        }
        stage.create(|_| {});
        stage.runs().await;
        created_once(&stage);
        assert!(stage.pods().iter().all(|pod| phase(pod) == "Running"));
        stage.closes().await;
    }
}
