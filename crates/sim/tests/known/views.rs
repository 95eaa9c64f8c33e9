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

use super::fixture::{Fixture, FixtureOptions, by_batch_job, kinds, refused, replaced, with_fault};

/// All that a job makes and the operator watches.
const CHILDREN: [&str; 4] = ["pods", "services", "jobs", "horizontalpodautoscalers"];

fn hold(fixture: &Fixture) {
    for plural in CHILDREN {
        fixture.network.hold(plural);
    }
}

fn release(fixture: &Fixture) {
    for plural in CHILDREN {
        fixture.network.release(plural);
    }
}

/// How often operators have created each pod, Service and batch Job.
fn created_once(fixture: &Fixture) {
    let inside = fixture.shared.lock();
    let twice: Vec<_> = inside
        .checker
        .counts
        .iter()
        .filter(|((what, _), times)| *what == "create" && **times > 1)
        .collect();
    assert!(twice.is_empty(), "{}: {twice:?}", fixture.info().kind);
}

/// Removes a pod at once, as if it had never been.
fn wipe(fixture: &Fixture, pod: &Key) {
    fixture.shared.store(|store| store.remove(Who::User, pod));
}

/// A pass that came before the events of the last one's creates made the same pods again (ray#704, k8s#130103, k8s#41675).
#[tokio::test(start_paused = true)]
async fn more_pods_than_asked_for_while_the_watch_is_late() {
    for framework in kinds() {
        let fixture = Fixture::empty(
            framework,
            FixtureOptions {
                replicas: 4,
                ..FixtureOptions::default()
            },
        );
        fixture.pass(1).await;
        hold(&fixture);
        fixture.create(|_| {});
        fixture.pass(2).await;
        let before = fixture.writes();
        assert!(fixture.count("create pods/") > 0, "{before:?}");
        fixture.nudge("once more");
        fixture.pass(2).await;
        assert_eq!(fixture.writes(), before, "{}", fixture.info().kind);
        release(&fixture);
        fixture.runs().await;
        created_once(&fixture);
        assert_eq!(fixture.count("409 create pods/"), 0, "{}", fixture.info().kind);
        fixture.closes().await;
    }
}

/// Own pods were deleted by others before any event of them had come, and the controller waited for these events
/// (k8s#129795).
#[tokio::test(start_paused = true)]
async fn what_was_made_and_deleted_unseen_is_waited_for() {
    for framework in kinds() {
        let fixture = Fixture::empty(framework, FixtureOptions::default());
        fixture.pass(1).await;
        fixture.network.hold("pods");
        fixture.create(|_| {});
        fixture.pass(2).await;
        let pods = fixture.pods();
        assert!(!pods.is_empty());
        for pod in &pods {
            wipe(&fixture, &pod_key(pod));
        }
        fixture.lose("pods").await;
        // Sooner than anything is looked up.
        fixture.pass(1).await;
        let now = fixture.pods();
        assert_eq!(now.len(), pods.len(), "{}", fixture.info().kind);
        assert!(now.iter().all(|pod| pods.iter().all(|old| uid(old) != uid(pod))));
        fixture.runs().await;
        fixture.closes().await;
    }
}

/// No event ever comes of what was made, since somebody takes off the label that it is selected by before it is stored, and
/// nothing can be looked up: bookmarks alone say how far a quiet watch is (k8s#129795).
#[tokio::test(start_paused = true)]
async fn a_quiet_watch_with_bookmarks_only_is_waited_for_in_vain() {
    for framework in kinds() {
        let fixture = Fixture::empty(framework, FixtureOptions::default());
        fixture.pass(1).await;
        let shared = fixture.shared.clone();
        let webhook = fixture.network.rule(move |request| {
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
        fixture.create(|_| {});
        fixture.pass(10).await;
        let pods: Vec<Key> = fixture.pods().iter().map(|pod| pod_key(pod)).collect();
        assert!(!pods.is_empty(), "{}", fixture.info().kind);
        let passes = fixture.clock.asked();
        fixture.nudge("once more");
        // The first watch began a minute before its first bookmark.
        fixture.pass(48).await;
        assert_eq!(fixture.clock.asked(), passes, "{}", fixture.info().kind);
        fixture.pass(2).await;
        assert!(
            fixture.clock.asked() > passes,
            "{}: {:?}",
            fixture.info().kind,
            fixture.writes()
        );
        fixture.network.end(webhook);
        let hidden = fixture
            .shared
            .list(BATCH_JOBS)
            .into_iter()
            .map(|job| Key::new(BATCH_JOBS, NAMESPACE, name(&job)));
        for key in pods.into_iter().chain(hidden) {
            let value = fixture.info().controller;
            fixture.shared.edit(&key, Who::User, |object| {
                object["metadata"]["labels"][common::names::OPERATOR_NAME] = json!(value);
            });
        }
        fixture.runs().await;
        fixture.is_right();
    }
}

/// The same where the pods are there, but out of sight: somebody has taken off the label that they are selected by.
#[tokio::test(start_paused = true)]
async fn what_was_made_and_relabelled_unseen_is_waited_for() {
    for framework in kinds() {
        let fixture = Fixture::empty(framework, FixtureOptions::default());
        fixture.pass(1).await;
        fixture.network.hold("pods");
        fixture.create(|_| {});
        fixture.pass(2).await;
        let pods: Vec<Key> = fixture.pods().iter().map(|pod| pod_key(pod)).collect();
        let label = |pod: &mut Value, from: &str, to: &str| {
            let labels = pod["metadata"]["labels"].as_object_mut().unwrap();
            let value = labels.remove(from).unwrap();
            labels.insert(to.to_owned(), value);
        };
        for pod in &pods {
            fixture.shared.edit(pod, Who::User, |pod| {
                label(pod, common::names::OPERATOR_NAME, "kept");
            });
        }
        fixture.network.release("pods");
        fixture.pass(60).await;
        // It finds out that the names are taken, and asks for them every few seconds.
        assert!(fixture.count("409 create pods/") <= 20, "{:?}", fixture.writes());
        for pod in &pods {
            fixture.shared.edit(pod, Who::User, |pod| {
                label(pod, "kept", common::names::OPERATOR_NAME);
            });
        }
        fixture.runs().await;
        fixture.closes().await;
    }
}

/// Counting what is there and what is expected came out even, although one pod was missing (ai-dynamo/grove#457).
#[tokio::test(start_paused = true)]
async fn a_pod_is_missing_and_the_sum_is_right() {
    for framework in kinds() {
        let fixture = Fixture::running(framework).await;
        let before = fixture.pods();
        let gone = before.last().unwrap();
        wipe(&fixture, &pod_key(gone));
        fixture.nudge("a pass before anything else");
        fixture.pass(1).await;
        fixture.runs().await;
        let after = fixture.pods();
        assert_eq!(after.len(), before.len(), "{}", fixture.info().kind);
        let new: Vec<&str> = after
            .iter()
            .filter(|pod| before.iter().all(|old| uid(old) != uid(pod)))
            .map(|pod| name(pod))
            .collect();
        // A launcher begins anew with its workers.
        assert!(
            new == [name(gone)] || by_batch_job(fixture.info()) && new.contains(&name(gone)),
            "{}: {new:?}",
            fixture.info().kind
        );
        fixture.closes().await;
    }
}

/// One kind of child is up to date, and that is taken for all of them (trainer#1120).
#[tokio::test(start_paused = true)]
async fn one_watch_is_up_to_date_and_the_other_is_not() {
    for framework in kinds() {
        for late in ["services", "pods"] {
            let fixture = Fixture::empty(framework, FixtureOptions::default());
            fixture.pass(1).await;
            fixture.network.hold(late);
            fixture.create(|_| {});
            fixture.pass(2).await;
            if fixture.count(&format!("create {late}/")) == 0 {
                continue;
            }
            let before = fixture.writes();
            fixture.nudge("once more");
            fixture.pass(2).await;
            assert_eq!(fixture.writes(), before, "{}: {late}", fixture.info().kind);
            fixture.network.release(late);
            fixture.runs().await;
            created_once(&fixture);
            fixture.closes().await;
        }
    }
}

/// What was expected of a deleted job blocked the next one of its name (trainer#1306, k8s#69376).
#[tokio::test(start_paused = true)]
async fn the_next_job_of_the_name_waits_for_events_of_the_last() {
    for framework in kinds() {
        let fixture = Fixture::empty(framework, FixtureOptions::default());
        fixture.pass(1).await;
        hold(&fixture);
        let first = fixture.create(|_| {});
        fixture.pass(2).await;
        fixture.network.hold(fixture.info().plural);
        fixture.delete(&fixture.key(), None);
        let second = fixture.create(|_| {});
        assert_ne!(uid(&first), uid(&second));
        let before = fixture.writes().len();
        fixture.network.release(fixture.info().plural);
        // Sooner than anything is looked up.
        fixture.pass(1).await;
        assert!(fixture.writes().len() > before, "{}", fixture.info().kind);
        // Longer than old pods take to go; the children's watches stand still all the while.
        fixture.pass(20).await;
        let pods = fixture.pods();
        let own = |pod: &Value| {
            let inside = fixture.shared.lock();
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
            fixture.info().kind
        );
        release(&fixture);
        fixture.runs().await;
        fixture.closes().await;
    }
}

/// A failed pod was counted, and counted again when a late view still showed it (k8s#105200, k8s#104666, k8s#125410).
#[tokio::test(start_paused = true)]
async fn one_failure_is_counted_twice() {
    for framework in kinds() {
        for dies in [None, Some(false), Some(true)] {
            let mut fixture = Fixture::new(framework, FixtureOptions::default(), |m| {
                replaced(framework.kind(), m)
            });
            fixture.runs().await;
            let (network, mut left) = (fixture.network.clone(), 1);
            fixture.network.rule(move |request| {
                if request.verb != Verb::Delete || !request.is_of(PODS) || left == 0 {
                    return None;
                }
                left -= 1;
                network.hold("pods");
                dies.map(|served| with_fault(Fault::Fatal { served }))
            });
            fixture.to_last(|store, key| fail(store, key, 137, None));
            if dies.is_some() {
                fixture.restart_once_dead().await;
            }
            fixture.pass(3).await;
            fixture.nudge("a pass on the old view");
            fixture.pass(60).await;
            fixture.nudge("another one");
            fixture.pass(3).await;
            let counted = |fixture: &Fixture| {
                stored(&fixture.job())
                    .restart_counts
                    .map_or(0, |counts| counts.failures)
            };
            assert_eq!(counted(&fixture), 1, "{} {dies:?}", fixture.info().kind);
            fixture.network.release("pods");
            fixture.runs().await;
            assert_eq!(counted(&fixture), 1, "{} {dies:?}", fixture.info().kind);
            fixture.closes().await;
        }
    }
}

/// A plural, and what a list of it was answered.
type Answered = (String, u16, Value);

/// UIDs of the pods.
fn uids(fixture: &Fixture) -> Vec<String> {
    fixture.pods().iter().map(|pod| uid(pod).to_owned()).collect()
}

/// A process that began from an old view took the pods of a new job for those of its predecessor, and deleted them
/// (k8s#59848, instaclustr/cassandra-operator#402).
#[tokio::test(start_paused = true)]
async fn the_view_goes_back_in_time_and_live_pods_are_deleted() {
    for framework in kinds() {
        for also_new in [false, true] {
            let mut fixture = Fixture::new(framework, FixtureOptions::default(), |_| {});
            fixture.runs().await;
            let (lists, plain): (Arc<Mutex<Vec<Request>>>, _) = Default::default();
            let kept = Arc::clone(&lists);
            let learn = fixture.network.rule(move |request| {
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
            fixture.disturb(&[], &Frame::Gone);
            fixture.pass(1).await;
            fixture.network.end(learn);
            // A front end is frozen when the first job is about to be suspended: its pods still run.
            fixture.edit("/runPolicy/suspend", json!(true));
            let answered = |request: &Request| match fixture.shared.answer(Who::Client, request) {
                Ok(Answer::Object(code, body)) => (request.plural.clone(), code, body),
                other => panic!("{other:?}"),
            };
            let old: Vec<Answered> = lists.lock().unwrap().iter().map(answered).collect();
            assert!(!old.is_empty());
            fixture.delete(&fixture.key(), None);
            fixture.pass(10).await;
            fixture.create(|_| {});
            fixture.runs().await;
            let (alive, writes) = (uids(&fixture), fixture.count("delete "));
            // From now on it answers, and its watches stand still.
            let plurals: Vec<String> = old.iter().map(|(plural, ..)| plural.clone()).collect();
            let frozen = fixture.network.rule(move |request| {
                let (_, code, body) = old.iter().find(|(plural, ..)| *plural == request.plural)?;
                (request.verb == Verb::List).then(|| with_fault(Fault::Answered(*code, body.clone())))
            });
            if also_new {
                for plural in &plurals {
                    fixture.network.hold(plural);
                }
                fixture.restart();
                fixture.pass(30).await;
                fixture.network.end(frozen);
                for plural in &plurals {
                    fixture.network.release(plural);
                }
            } else {
                // Fewer lists than are taken for a store that was restored from a backup.
                let before = fixture.writes();
                fixture.disturb(&[], &Frame::Gone);
                fixture.pass(3).await;
                fixture.network.end(frozen);
                assert_eq!(fixture.writes(), before, "{}", fixture.info().kind);
            }
            fixture.pass(60).await;
            assert_eq!(uids(&fixture), alive, "{} {also_new}", fixture.info().kind);
            assert_eq!(
                fixture.count("delete "),
                writes,
                "{} {also_new}",
                fixture.info().kind
            );
            fixture.closes().await;
        }
    }
}

/// A job that is gone, but whose end has not been told, has its pods made anew as fast as they are collected (vol#3357,
/// vol#3601).
#[tokio::test(start_paused = true)]
async fn pods_of_a_ghost_are_made_and_collected_for_ever() {
    for framework in kinds() {
        let fixture = Fixture::running(framework).await;
        let before = fixture.count("201 create pods/") + fixture.count("201 create jobs/");
        fixture.network.hold(fixture.info().plural);
        fixture.delete(&fixture.key(), None);
        fixture.pass(60).await;
        let made = fixture.count("201 create pods/") + fixture.count("201 create jobs/") - before;
        assert!(made <= 3, "{}: {made}", fixture.info().kind);
        fixture.lose(fixture.info().plural).await;
        fixture.pass(10).await;
        let made_then = fixture.count("201 create pods/") + fixture.count("201 create jobs/") - before;
        assert_eq!(made_then, made, "{}", fixture.info().kind);
        assert!(fixture.pods().is_empty());
        fixture.closes().await;
    }
}

/// What was deleted between a list and the watch that goes on from it stays in the view for ever (k8s#141529,
/// jupyterhub/kubespawner#81).
#[tokio::test(start_paused = true)]
async fn what_is_deleted_between_list_and_watch_stays_in_the_view() {
    for framework in kinds() {
        for compacted in [false, true] {
            let mut fixture = Fixture::running(framework).await;
            let before = fixture.pods();
            let gone = pod_key(before.last().unwrap());
            let (shared, pod, mut left) = (fixture.shared.clone(), gone.clone(), 1);
            fixture.network.rule(move |request| {
                if request.verb == Verb::Watch && request.is_of(PODS) && left > 0 {
                    left -= 1;
                    shared.store(|store| store.remove(Who::User, &pod));
                    if compacted {
                        shared.store(Store::compact);
                    }
                }
                None
            });
            fixture.restart();
            fixture.pass(2).await;
            fixture.runs().await;
            let now = fixture.pods();
            assert_eq!(now.len(), before.len(), "{}", fixture.info().kind);
            fixture.closes().await;
        }
    }
}

/// What is deleted while the watch is down sends no event, and nobody is woken (vol#5735, meshery/meshsync#102, kube#1590).
#[tokio::test(start_paused = true)]
async fn what_vanishes_while_the_watch_is_down_wakes_nobody() {
    for framework in kinds() {
        let fixture = Fixture::running(framework).await;
        let before = fixture.pods();
        let gone = before.last().unwrap();
        fixture.network.hold("pods");
        wipe(&fixture, &pod_key(gone));
        fixture.pass(5).await;
        fixture.lose("pods").await;
        fixture.pass(1).await;
        let there = fixture.shared.get(&pod_key(gone));
        assert!(
            there.is_some_and(|pod| uid(&pod) != uid(gone)),
            "{}",
            fixture.info().kind
        );
        fixture.runs().await;
        fixture.closes().await;
    }
}

/// The same with the job itself: its pods are none of ours to make again.
#[tokio::test(start_paused = true)]
async fn a_job_that_vanishes_while_the_watch_is_down_lives_on() {
    for framework in kinds() {
        let fixture = Fixture::running(framework).await;
        fixture.network.hold(fixture.info().plural);
        fixture
            .shared
            .store(|store| store.remove(Who::User, &fixture.key()));
        fixture.lose(fixture.info().plural).await;
        fixture.pass(1).await;
        let before = fixture.writes();
        fixture.pass(60).await;
        assert_eq!(fixture.writes(), before, "{}", fixture.info().kind);
        fixture.closes().await;
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
            let fixture = Fixture::new(framework, FixtureOptions::gang(api), |_| {});
            // No node answers, so that nothing is placed.
            for n in 1..=3 {
                let node = format!("node-{n}");
                fixture
                    .shared
                    .store(|store| sim::kubernetes::set_node(store, &node, false));
            }
            fixture.pass(10).await;
            let groups = Resource::new(api.group_version().0, "podgroups");
            let made = fixture.shared.list(groups);
            assert_eq!(made.len(), 1, "{} {api:?}", fixture.info().kind);
            fixture.network.hold("podgroups");
            let key = Key::new(groups, NAMESPACE, name(&made[0]));
            wipe(&fixture, &key);
            fixture.pass(5).await;
            fixture.lose("podgroups").await;
            fixture.pass(2).await;
            let again = fixture.shared.get(&key);
            assert!(again.is_some(), "{} {api:?}", fixture.info().kind);
            for n in 1..=3 {
                let node = format!("node-{n}");
                fixture
                    .shared
                    .store(|store| sim::kubernetes::set_node(store, &node, true));
            }
            fixture.runs().await;
            fixture.closes().await;
        }
    }
}

/// A watch says nothing for ever while its connection stands (kubernetes/kube-state-metrics#694,
/// emberstack/kubernetes-reflector#246).
#[tokio::test(start_paused = true)]
async fn a_silent_watch_is_believed() {
    for framework in kinds() {
        let fixture = Fixture::new(framework, FixtureOptions::default(), |m| {
            replaced(framework.kind(), m)
        });
        fixture.runs().await;
        fixture.disturb(&[], &Frame::Stall);
        let failed = fixture.pods().last().cloned().unwrap();
        fixture.to_last(|store, key| fail(store, key, 137, None));
        // A bookmark comes every minute; half of that later the watch is given up.
        fixture.pass(95).await;
        let now = fixture.shared.get(&pod_key(&failed));
        assert!(
            now.is_none_or(|pod| uid(&pod) != uid(&failed)),
            "{}",
            fixture.info().kind
        );
        fixture.runs().await;
        fixture.closes().await;
    }
}

/// Each relist reconciled every job anew, and flooded the API server (kube#1209, k8s#119646).
#[tokio::test(start_paused = true)]
async fn relists_reconcile_jobs_of_which_there_is_no_news() {
    const JOBS: usize = 40;
    for framework in kinds() {
        let fixture = Fixture::empty(
            framework,
            FixtureOptions {
                replicas: 1,
                ..FixtureOptions::default()
            },
        );
        for n in 0..JOBS {
            fixture.create(|m| m["metadata"]["name"] = json!(format!("j{n}")));
        }
        let running = |fixture: &Fixture| {
            let jobs = fixture.shared.list(fixture.resource());
            jobs.iter().filter(|job| value::is_true(job, "Running")).count()
        };
        for _ in 0..60 {
            fixture.pass(2).await;
            if running(&fixture) == JOBS {
                break;
            }
        }
        assert_eq!(running(&fixture), JOBS, "{}", fixture.info().kind);
        fixture.pass(30).await;
        let (writes, passes) = (fixture.writes(), fixture.clock.asked());
        for _ in 0..20 {
            fixture.relist(&[]);
            fixture.pass(5).await;
        }
        assert_eq!(fixture.writes(), writes, "{}", fixture.info().kind);
        assert_eq!(fixture.clock.asked(), passes, "{}: passes", fixture.info().kind);
        // One pod that differs is news for one job.
        let pod = fixture.pods().last().cloned().unwrap();
        fixture.network.hold("pods");
        fixture
            .shared
            .store(|store| fail(store, &pod_key(&pod), 137, Some("PreemptionByScheduler")));
        fixture.lose("pods").await;
        fixture.pass(60).await;
        let later = fixture.clock.asked() - passes;
        assert!((1..60).contains(&later), "{}: {later}", fixture.info().kind);
        fixture.is_right();
    }
}

/// The events of one watch all come late, one after the other, each as a pass has just begun on the last one.
#[tokio::test(start_paused = true)]
async fn a_watch_that_is_always_a_little_late_costs_nothing_but_time() {
    for framework in kinds() {
        let fixture = Fixture::empty(framework, FixtureOptions::default());
        for plural in CHILDREN {
            fixture.network.lag(plural, Duration::from_millis(1500));
        }
        fixture.create(|_| {});
        fixture.runs().await;
        created_once(&fixture);
        assert!(fixture.pods().iter().all(|pod| phase(pod) == "Running"));
        fixture.closes().await;
    }
}
