//! Names, owners and selectors.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use common::gang::PodGroupApi;
use common::kind::Workload;
use serde_json::{Value, json};
use sim::cluster::{NAMESPACE, Setup, is_aside};
use sim::kubernetes::Pace;
use sim::ops::DeleteOptions;
use sim::request::Verb;
use sim::store::{Key, Object, Who};
use sim::story::pod_key;
use sim::types::{NAMESPACES, PODS, Resource};
use sim::value::{self, controller_uid, name, text, uid};

use super::stage::{Scene, Stage, kinds, lost, refused};

/// A cluster whose pods take so many milliseconds to stop, and whose garbage collector as many to act.
fn slow(stop: u64, collect: u64) -> Scene {
    Scene {
        setup: Setup {
            pace: Pace {
                stop: (stop, 0),
                collect: (collect, 0),
                ..Pace::STEADY
            },
            ..Setup::default()
        },
        ..Scene::default()
    }
}

fn waiting_for(stage: &Stage) -> String {
    text(&stage.job(), "/status/waitingFor").to_owned()
}

/// What the conditions say, and what it waits for.
fn words(job: &Value) -> String {
    let conditions = job["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let messages: Vec<&str> = conditions.iter().map(|c| text(c, "/message")).collect();
    format!("{} {}", text(job, "/status/waitingFor"), messages.join(" "))
}

/// A job that is created again while old pods still end got stuck on their names, or tried over and over (trainer#1306,
/// trainer#322, common#215, vol#1241, vol#5973, k8s#142142).
#[tokio::test(start_paused = true)]
async fn recreated_while_old_pods_terminate_it_is_stuck() {
    for framework in kinds() {
        let stage = Stage::new(framework, slow(60_000, 50), |_| {});
        stage.runs().await;
        let old = stage.pods();
        stage.delete(&stage.key(), None);
        let job = stage.create(|_| {});
        let (deletes, before) = (stage.count("delete "), stage.writes().len());
        stage.pass(30).await;
        assert!(
            waiting_for(&stage).contains("has to terminate first"),
            "{}: {:?}",
            stage.info().kind,
            waiting_for(&stage)
        );
        assert_eq!(stage.count("delete "), deletes, "{}", stage.info().kind);
        // Names that are about to become free are asked for every five seconds at most.
        let tries = stage.writes().len() - before;
        assert!(tries < 60, "{}: {tries} in 30 s", stage.info().kind);
        // An hour of waiting would not help anybody: a pod is made as soon as its predecessor is gone.
        let mut last = tokio::time::Instant::now();
        for _ in 0..3000 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            if old.iter().any(|pod| {
                stage
                    .shared
                    .get(&pod_key(pod))
                    .is_some_and(|p| uid(&p) == uid(pod))
            }) {
                last = tokio::time::Instant::now();
            } else if stage
                .pods()
                .iter()
                .any(|pod| value::has_ended(pod) || value::deleting(pod))
                || stage.pods().is_empty()
            {
                assert!(last.elapsed().as_secs() < 6, "{}", stage.info().kind);
            }
        }
        stage.runs().await;
        assert!(waiting_for(&stage).is_empty());
        let own = |pod: &Object| {
            let owner = controller_uid(pod).to_owned();
            owner == uid(&job) || stage.shared.lock().server.store.by_uid(&owner).is_some()
        };
        assert!(stage.pods().iter().all(own));
        stage.closes().await;
    }
}

/// The same twenty times in a row.
#[tokio::test(start_paused = true)]
async fn recreated_over_and_over_it_gets_stuck_some_time() {
    for framework in kinds() {
        let stage = Stage::new(framework, slow(5_000, 50), |_| {});
        for n in 0..20 {
            // At all points of its life.
            tokio::time::sleep(std::time::Duration::from_millis(n * 700)).await;
            stage.delete(&stage.key(), None);
            stage.create(|_| {});
        }
        stage.runs().await;
        stage.finish().await;
        stage.ends().await;
        stage.closes().await;
    }
}

/// A late clean-up of the old job hit the new one of its name (vol#5986, vol#3770, vol#5773, kueue#13802).
#[tokio::test(start_paused = true)]
async fn what_was_due_for_the_old_job_befalls_the_new_one() {
    for framework in kinds() {
        let aged = |m: &mut Value| m["spec"]["runPolicy"]["ttlSecondsAfterFinished"] = json!(60);
        let stage = Stage::new(framework, Scene::default(), aged);
        stage.runs().await;
        stage.finish().await;
        stage.ends().await;
        stage.delete(&stage.key(), None);
        let new = stage.create(aged);
        stage.pass(200).await;
        assert_eq!(uid(&stage.job()), uid(&new), "{}", stage.info().kind);
        stage.runs().await;
        stage.closes().await;
    }
}

/// The last events of an old pod took its successor of the same name out of the cache (vol#5986).
#[tokio::test(start_paused = true)]
async fn late_events_of_an_old_pod_are_taken_for_its_successors() {
    for framework in kinds() {
        let stage = Stage::empty(framework, Scene::default());
        stage.pass(1).await;
        stage.sky.hold("pods");
        stage.create(|_| {});
        stage.pass(2).await;
        // The one that was written last is looked up some time, and by then is another.
        let old = stage.pods().last().cloned().unwrap();
        stage
            .shared
            .store(|store| store.remove(Who::User, &pod_key(&old)));
        let mut again = (*old).clone();
        again["metadata"]["uid"] = json!("00000000-0000-4000-8000-aaaaaaaaaaaa");
        stage
            .shared
            .store(|store| store.put(Who::User, &pod_key(&old), again));
        stage.pass(8).await;
        let (creates, deletes) = (stage.count("201 create pods/"), stage.count("delete pods/"));
        // Now the view is told how the first one came and went.
        stage.sky.release("pods");
        stage.runs().await;
        let kind = stage.info().kind;
        let now = stage.shared.get(&pod_key(&old)).unwrap();
        assert_eq!(uid(&now), "00000000-0000-4000-8000-aaaaaaaaaaaa", "{kind}");
        let launchers = stage.shared.list(sim::types::BATCH_JOBS).len();
        assert!(
            stage.count("201 create pods/") == creates || launchers > 0,
            "{kind}"
        );
        assert_eq!(stage.count("delete pods/"), deletes, "{kind}");
        assert!(
            sim::judge::stored(&stage.job()).slots.is_empty(),
            "{kind}: {}",
            stage.job()["status"]
        );
        stage.closes().await;
    }
}

/// New pods joined the PodGroup of the old job, went with it, and were never placed (vol#2044, vol#5331, vol#2140).
#[tokio::test(start_paused = true)]
async fn pods_join_the_gang_of_the_job_before() {
    for framework in kinds() {
        for api in [
            PodGroupApi::Native,
            PodGroupApi::Volcano,
            PodGroupApi::Coscheduling,
        ] {
            let groups = Resource::new(api.group_version().0, "podgroups");
            let scene = Scene {
                setup: Setup {
                    pod_groups: vec![api],
                    ..slow(3000, 20_000).setup
                },
                ..Scene::gang(api)
            };
            let stage = Stage::new(framework, scene, |_| {});
            stage.runs().await;
            stage.delete(&stage.key(), None);
            let job = stage.create(|_| {});
            let new = uid(&job).to_owned();
            let (shared, owner, early) = (stage.shared.clone(), new.clone(), Arc::new(Mutex::new(0)));
            let counted = Arc::clone(&early);
            stage.sky.rule(move |request| {
                let ours = controller_uid(&request.body) == owner;
                if request.verb == Verb::Create && ours && (request.is_of(PODS) || request.plural == "jobs") {
                    let there = shared
                        .list(groups)
                        .iter()
                        .any(|group| controller_uid(group) == owner);
                    *counted.lock().unwrap() += i32::from(!there);
                }
                None
            });
            stage.pass(10).await;
            assert!(
                stage.pods().iter().all(|pod| controller_uid(pod) != new),
                "{} {api:?}",
                stage.info().kind
            );
            stage.runs().await;
            assert_eq!(*early.lock().unwrap(), 0, "{} {api:?}", stage.info().kind);
            stage.closes().await;
        }
    }
}

/// Creates whose answers were lost were taken for clashes with somebody else's objects (vol#4985, trainer#1976).
#[tokio::test(start_paused = true)]
async fn an_own_object_whose_answer_was_lost_is_taken_for_a_strangers() {
    for framework in kinds() {
        let stage = Stage::empty(framework, Scene::default());
        let mut seen = BTreeSet::new();
        stage.sky.rule(move |request| {
            let create = request.verb == Verb::Create && !is_aside(request);
            (create && seen.insert(request.line())).then(|| lost(true))
        });
        stage.create(|_| {});
        stage.runs().await;
        let condition = words(&stage.job());
        assert!(!condition.contains("does not belong"), "{condition}");
        stage.closes().await;
    }
}

/// What a job makes: resource, API version, kind and name of each object.
async fn made_by(stage: &Stage) -> Vec<(Key, Value)> {
    stage.runs().await;
    let job = stage.job();
    let inside = stage.shared.lock();
    let own = inside
        .server
        .store
        .all()
        .filter(|(_, object)| controller_uid(object) == uid(&job));
    own.map(|(key, object)| {
        let mut stranger = json!({"apiVersion": object["apiVersion"], "kind": object["kind"],
            "metadata": {"name": key.name, "namespace": key.namespace, "labels": object["metadata"]["labels"]}});
        if key.resource == PODS {
            stranger["spec"] = json!({"containers": [{"name": "main"}]});
        }
        (key.clone(), stranger)
    })
    .collect()
}

/// An object without what Kubernetes' own controllers write: they take pods, batch Jobs and PodGroups for what they are,
/// whosever.
fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    for field in ["/metadata", ""] {
        let fields = object.pointer_mut(field).and_then(Value::as_object_mut).unwrap();
        fields.remove("resourceVersion");
        fields.remove("status");
    }
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("nodeName");
        if spec.is_empty() {
            object.as_object_mut().unwrap().remove("spec");
        }
    }
    object
}

/// An object of the user's under a name that the job needs was overwritten, adopted, or later deleted (vol#4985,
/// NVIDIA/cluster-readiness-engine#239).
#[tokio::test(start_paused = true)]
async fn an_object_of_the_users_is_overwritten_adopted_or_deleted() {
    for framework in kinds() {
        let scene = || Scene::gang(PodGroupApi::Coscheduling);
        let made = made_by(&Stage::new(framework, scene(), |_| {})).await;
        assert!(made.len() > 3, "{made:?}");
        for (key, stranger) in made {
            let stage = Stage::empty(framework, scene());
            let theirs = stage.shared.create(key.resource, &stranger);
            stage.create(|_| {});
            stage.pass(400).await;
            let kind = stage.info().kind;
            let said = words(&stage.job());
            assert!(said.contains(&key.name), "{kind} {key:?}: {said}");
            assert_eq!(
                stage.shared.get(&key).map(|now| bare(&now)),
                Some(bare(&theirs)),
                "{kind} {key:?}"
            );
            stage.delete(&stage.key(), None);
            stage.pass(300).await;
            assert_eq!(
                stage.shared.get(&key).map(|now| bare(&now)),
                Some(bare(&theirs)),
                "{kind} {key:?}"
            );
            stage.is_right();
        }
    }
}

/// The first role that both kinds have.
fn shared_role(a: &common::KindInfo, b: &common::KindInfo) -> Option<&'static str> {
    let plain = |info: &common::KindInfo, role| info.role(role).is_some_and(|r| r.workload == Workload::Pod);
    let mut roles = a.roles.iter().map(|role| role.role.0);
    roles.find(|role| plain(a, role) && plain(b, role))
}

/// Jobs of another kind with the same name counted as the same job (trainer#1066, trainer#1543, mpi#622).
#[tokio::test(start_paused = true)]
async fn a_job_of_another_kind_and_the_same_name_is_mixed_up_with_it() {
    let all = kinds();
    for (first, second) in all.iter().zip(all.iter().cycle().skip(1)) {
        let (a, b) = (first.kind(), second.kind());
        if a.kind == b.kind || shared_role(a, b).is_none() {
            continue;
        }
        let stage = Stage::new(*first, Scene::default(), |_| {});
        stage.runs().await;
        let before = stage.pods();
        let other = Resource::new(b.group, b.plural);
        stage.shared.create(other, &common::testing::whole(*second, 2));
        let second_key = Key::new(other, NAMESPACE, "j");
        stage.pass(30).await;
        let job = stage.shared.get(&second_key).unwrap();
        let said = words(&job);
        assert!(
            said.contains("does not belong to this job"),
            "{} {}: {said}",
            a.kind,
            b.kind
        );
        assert!(!value::is_true(&job, "Running"), "{} {}", a.kind, b.kind);
        let mine: Vec<Object> = stage.pods();
        for pod in &before {
            assert!(mine.iter().any(|p| uid(p) == uid(pod)), "{} {}", a.kind, b.kind);
        }
        assert!(value::is_true(&stage.job(), "Running"));
        // The name is free: the second one runs.
        stage.delete(&stage.key(), None);
        stage.pass(120).await;
        let job = stage.shared.get(&second_key).unwrap();
        assert!(
            value::is_true(&job, "Running"),
            "{} {}: {}",
            a.kind,
            b.kind,
            job["status"]
        );
        stage.closes().await;
    }
}

/// Jobs of the same name in another namespace counted as the same job.
#[tokio::test(start_paused = true)]
async fn a_job_of_another_namespace_and_the_same_name_is_mixed_up_with_it() {
    for framework in kinds() {
        let stage = Stage::running(framework).await;
        let there = stage.pods().len();
        let mut manifest = common::testing::whole(framework, 2);
        manifest["metadata"]["namespace"] = json!("ns2");
        stage.shared.store(|store| {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ns2"}});
            store.put(Who::Kubernetes, &Key::new(NAMESPACES, "", "ns2"), namespace);
            let of = store.type_of(stage.resource()).unwrap();
            let version = framework.kind().version;
            store.create(Who::User, &of, version, "ns2", manifest).unwrap();
        });
        stage.pass(30).await;
        let second = stage.shared.get(&Key::new(stage.resource(), "ns2", "j")).unwrap();
        assert!(
            value::is_true(&second, "Running"),
            "{}: {}",
            stage.info().kind,
            second["status"]
        );
        assert_eq!(stage.pods().len(), 2 * there);
        let options = DeleteOptions {
            propagation: Some("Background".to_owned()),
            ..DeleteOptions::default()
        };
        let key = Key::new(stage.resource(), "ns2", "j");
        stage
            .shared
            .store(|store| store.delete(Who::User, &key, &options))
            .unwrap();
        stage.pass(30).await;
        assert_eq!(stage.pods().len(), there, "{}", stage.info().kind);
        assert!(value::is_true(&stage.job(), "Running"));
        stage.closes().await;
    }
}

/// The index was cut out of the name, and with it too much: a scale-down deleted the wrong pods (mpi#353).
#[tokio::test(start_paused = true)]
async fn scaling_down_deletes_pods_of_other_names() {
    for framework in kinds() {
        let info = framework.kind();
        let Some(role) = info.scaled_role else { continue };
        let stage = Stage::empty(framework, Scene::default());
        let names = ["w", "worker", "a-worker-1", "a-worker", "a"];
        for name in names {
            stage.create(|m| {
                m["metadata"]["name"] = json!(name);
                m["spec"][info.replicas_field][role.0]["replicas"] = json!(12);
                if m["spec"]["elasticPolicy"].is_object() {
                    m["spec"]["elasticPolicy"]["maxReplicas"] = json!(12);
                }
            });
        }
        stage.pass(30).await;
        let of_job = |job: &str| -> BTreeSet<String> {
            let uid = uid(&stage
                .shared
                .get(&Key::new(stage.resource(), NAMESPACE, job))
                .unwrap())
            .to_owned();
            let all = stage.shared.list(PODS);
            let own = all.iter().filter(|pod| controller_uid(pod) == uid);
            own.map(|pod| name(pod).to_owned()).collect()
        };
        let before: Vec<BTreeSet<String>> = names.iter().map(|job| of_job(job)).collect();
        for job in names {
            let key = Key::new(stage.resource(), NAMESPACE, job);
            stage.shared.edit(&key, Who::User, |m| {
                m["spec"][info.replicas_field][role.0]["replicas"] = json!(3);
            });
            stage.pass(30).await;
        }
        for (job, before) in names.iter().zip(before) {
            let gone: BTreeSet<String> = before.difference(&of_job(job)).cloned().collect();
            let wanted: BTreeSet<String> = (3..12)
                .map(|n| {
                    info.role(role.0)
                        .unwrap()
                        .slot_name(job, common::names::ReplicaIndex(n))
                })
                .collect();
            assert_eq!(gone, wanted, "{} {job}", info.kind);
        }
        stage.closes().await;
    }
}

/// A pod that looks like one of ours was adopted while it was being deleted, or by a job that was (k8s#44144, k8s#38613).
#[tokio::test(start_paused = true)]
async fn a_pod_that_goes_or_is_somebody_elses_is_adopted() {
    for framework in kinds() {
        let made = made_by(&Stage::new(framework, Scene::default(), |_| {})).await;
        let (key, orphan) = made.into_iter().find(|(key, _)| key.resource == PODS).unwrap();
        for case in ["nobody's", "terminating", "another's", "of a job that goes"] {
            let stage = Stage::empty(framework, Scene::default());
            let mut orphan = orphan.clone();
            orphan["spec"] = json!({"containers": [{"name": "main"}]});
            if case == "another's" {
                orphan["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r",
                    "uid": "00000000-0000-4000-8000-bbbbbbbbbbbb", "controller": true}]);
                let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "r",
                    "uid": "00000000-0000-4000-8000-bbbbbbbbbbbb"}});
                let owner_key = Key::new(sim::types::CONFIG_MAPS, NAMESPACE, "r");
                stage
                    .shared
                    .store(|store| store.put(Who::User, &owner_key, owner));
            }
            let made = stage.shared.create(PODS, &orphan);
            stage.pass(2).await;
            if case == "terminating" {
                stage.delete(&key, None);
            }
            stage.create(|m| {
                if case == "of a job that goes" {
                    m["metadata"]["finalizers"] = json!(["example.com/wait"]);
                }
            });
            if case == "of a job that goes" {
                stage.delete(&stage.key(), None);
            }
            stage.pass(120).await;
            assert_eq!(stage.count("patch pods/") + stage.count("replace pods/"), 0);
            match stage.shared.get(&key) {
                Some(pod) if uid(&pod) == uid(&made) => {
                    assert_ne!(case, "terminating");
                    assert_eq!(
                        pod["metadata"]["ownerReferences"],
                        made["metadata"]["ownerReferences"]
                    );
                }
                Some(_) => assert_eq!(case, "terminating", "{}", stage.info().kind),
                None => panic!("{} {case}: it is gone", stage.info().kind),
            }
            stage.edit_job(|job| {
                value::metadata(job).remove("finalizers");
            });
            stage.is_right();
        }
    }
}

/// A clash that comes up again and again is told once, and tried again without haste.
#[tokio::test(start_paused = true)]
async fn a_clash_of_names_is_told_over_and_over() {
    for framework in kinds() {
        let made = made_by(&Stage::new(framework, Scene::default(), |_| {})).await;
        let (_, stranger) = made.into_iter().find(|(key, _)| key.resource == PODS).unwrap();
        let stage = Stage::empty(framework, Scene::default());
        stage.shared.create(PODS, &stranger);
        stage.create(|_| {});
        stage.pass(3600).await;
        let events = stage.count("create events");
        assert!(events < 12, "{}: {events} events", stage.info().kind);
        let tries = stage.count("409 create pods/");
        assert!(tries < 100, "{}: {tries} tries", stage.info().kind);
        stage.is_right();
    }
}

/// Nothing is made of a refusal that may be forged: what is said to be there is looked at first.
#[tokio::test(start_paused = true)]
async fn a_forged_conflict_is_believed() {
    for framework in kinds() {
        let stage = Stage::empty(framework, Scene::default());
        let mut seen = BTreeSet::new();
        stage.sky.rule(move |request| {
            let create = request.verb == Verb::Create && !is_aside(request);
            let first = create && seen.insert(request.line());
            first.then(|| refused(sim::refusal::Refusal::exists(PODS, name(&request.body))))
        });
        stage.create(|_| {});
        stage.runs().await;
        stage.closes().await;
    }
}
