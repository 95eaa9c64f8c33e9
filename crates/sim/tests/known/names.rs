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
use sim::scenario::pod_key;
use sim::store::{Key, Object, Who};
use sim::types::{NAMESPACES, PODS, Resource};
use sim::value::{self, controller_uid, name, text, uid};

use super::fixture::{Fixture, FixtureOptions, kinds, lost, refused};

/// A cluster whose pods take so many milliseconds to stop, and whose garbage collector as many to act.
fn slow(stop: u64, collect: u64) -> FixtureOptions {
    FixtureOptions {
        setup: Setup {
            pace: Pace {
                stop: (stop, 0),
                collect: (collect, 0),
                ..Pace::STEADY
            },
            ..Setup::default()
        },
        ..FixtureOptions::default()
    }
}

fn waiting_for(fixture: &Fixture) -> String {
    text(&fixture.job(), "/status/waitingFor").to_owned()
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
        let fixture = Fixture::new(framework, slow(60_000, 50), |_| {});
        fixture.runs().await;
        let old = fixture.pods();
        fixture.delete(&fixture.key(), None);
        let job = fixture.create(|_| {});
        let (deletes, before) = (fixture.count("delete "), fixture.writes().len());
        fixture.pass(30).await;
        assert!(
            waiting_for(&fixture).contains("has to terminate first"),
            "{}: {:?}",
            fixture.info().kind,
            waiting_for(&fixture)
        );
        assert_eq!(fixture.count("delete "), deletes, "{}", fixture.info().kind);
        // Names that are about to become free are asked for every five seconds at most.
        let tries = fixture.writes().len() - before;
        assert!(tries < 60, "{}: {tries} in 30 s", fixture.info().kind);
        // An hour of waiting would not help anybody: a pod is made as soon as its predecessor is gone.
        let mut last = tokio::time::Instant::now();
        for _ in 0..3000 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            if old.iter().any(|pod| {
                fixture
                    .shared
                    .get(&pod_key(pod))
                    .is_some_and(|p| uid(&p) == uid(pod))
            }) {
                last = tokio::time::Instant::now();
            } else if fixture
                .pods()
                .iter()
                .any(|pod| value::has_ended(pod) || value::deleting(pod))
                || fixture.pods().is_empty()
            {
                assert!(last.elapsed().as_secs() < 6, "{}", fixture.info().kind);
            }
        }
        fixture.runs().await;
        assert!(waiting_for(&fixture).is_empty());
        let own = |pod: &Object| {
            let owner = controller_uid(pod).to_owned();
            owner == uid(&job) || fixture.shared.lock().server.store.by_uid(&owner).is_some()
        };
        assert!(fixture.pods().iter().all(own));
        fixture.closes().await;
    }
}

/// The same twenty times in a row.
#[tokio::test(start_paused = true)]
async fn recreated_over_and_over_it_gets_stuck_some_time() {
    for framework in kinds() {
        let fixture = Fixture::new(framework, slow(5_000, 50), |_| {});
        for n in 0..20 {
            // At all points of its life.
            tokio::time::sleep(std::time::Duration::from_millis(n * 700)).await;
            fixture.delete(&fixture.key(), None);
            fixture.create(|_| {});
        }
        fixture.runs().await;
        fixture.finish().await;
        fixture.ends().await;
        fixture.closes().await;
    }
}

/// A late clean-up of the old job hit the new one of its name (vol#5986, vol#3770, vol#5773, kueue#13802).
#[tokio::test(start_paused = true)]
async fn what_was_due_for_the_old_job_befalls_the_new_one() {
    for framework in kinds() {
        let aged = |m: &mut Value| m["spec"]["runPolicy"]["ttlSecondsAfterFinished"] = json!(60);
        let fixture = Fixture::new(framework, FixtureOptions::default(), aged);
        fixture.runs().await;
        fixture.finish().await;
        fixture.ends().await;
        fixture.delete(&fixture.key(), None);
        let new = fixture.create(aged);
        fixture.pass(200).await;
        assert_eq!(uid(&fixture.job()), uid(&new), "{}", fixture.info().kind);
        fixture.runs().await;
        fixture.closes().await;
    }
}

/// The last events of an old pod took its successor of the same name out of the cache (vol#5986).
#[tokio::test(start_paused = true)]
async fn late_events_of_an_old_pod_are_taken_for_its_successors() {
    for framework in kinds() {
        let fixture = Fixture::empty(framework, FixtureOptions::default());
        fixture.pass(1).await;
        fixture.network.hold("pods");
        fixture.create(|_| {});
        fixture.pass(2).await;
        // The one that was written last is looked up some time, and by then is another.
        let old = fixture.pods().last().cloned().unwrap();
        fixture
            .shared
            .store(|store| store.remove(Who::User, &pod_key(&old)));
        let mut again = (*old).clone();
        again["metadata"]["uid"] = json!("00000000-0000-4000-8000-aaaaaaaaaaaa");
        fixture
            .shared
            .store(|store| store.put(Who::User, &pod_key(&old), again));
        fixture.pass(8).await;
        let (creates, deletes) = (fixture.count("201 create pods/"), fixture.count("delete pods/"));
        // Now the view is told how the first one came and went.
        fixture.network.release("pods");
        fixture.runs().await;
        let kind = fixture.info().kind;
        let now = fixture.shared.get(&pod_key(&old)).unwrap();
        assert_eq!(uid(&now), "00000000-0000-4000-8000-aaaaaaaaaaaa", "{kind}");
        let launchers = fixture.shared.list(sim::types::BATCH_JOBS).len();
        assert!(
            fixture.count("201 create pods/") == creates || launchers > 0,
            "{kind}"
        );
        assert_eq!(fixture.count("delete pods/"), deletes, "{kind}");
        assert!(
            sim::checker::stored(&fixture.job()).slots.is_empty(),
            "{kind}: {}",
            fixture.job()["status"]
        );
        fixture.closes().await;
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
            let options = FixtureOptions {
                setup: Setup {
                    pod_groups: vec![api],
                    ..slow(3000, 20_000).setup
                },
                ..FixtureOptions::gang(api)
            };
            let fixture = Fixture::new(framework, options, |_| {});
            fixture.runs().await;
            fixture.delete(&fixture.key(), None);
            let job = fixture.create(|_| {});
            let new = uid(&job).to_owned();
            let (shared, owner, early) = (fixture.shared.clone(), new.clone(), Arc::new(Mutex::new(0)));
            let counted = Arc::clone(&early);
            fixture.network.rule(move |request| {
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
            fixture.pass(10).await;
            assert!(
                fixture.pods().iter().all(|pod| controller_uid(pod) != new),
                "{} {api:?}",
                fixture.info().kind
            );
            fixture.runs().await;
            assert_eq!(*early.lock().unwrap(), 0, "{} {api:?}", fixture.info().kind);
            fixture.closes().await;
        }
    }
}

/// Creates whose answers were lost were taken for clashes with somebody else's objects (vol#4985, trainer#1976).
#[tokio::test(start_paused = true)]
async fn an_own_object_whose_answer_was_lost_is_taken_for_a_strangers() {
    for framework in kinds() {
        let fixture = Fixture::empty(framework, FixtureOptions::default());
        let mut seen = BTreeSet::new();
        fixture.network.rule(move |request| {
            let create = request.verb == Verb::Create && !is_aside(request);
            (create && seen.insert(request.line())).then(|| lost(true))
        });
        fixture.create(|_| {});
        fixture.runs().await;
        let condition = words(&fixture.job());
        assert!(!condition.contains("does not belong"), "{condition}");
        fixture.closes().await;
    }
}

/// What a job makes: resource, API version, kind and name of each object.
async fn made_by(fixture: &Fixture) -> Vec<(Key, Value)> {
    fixture.runs().await;
    let job = fixture.job();
    let inside = fixture.shared.lock();
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
        let options = || FixtureOptions::gang(PodGroupApi::Coscheduling);
        let made = made_by(&Fixture::new(framework, options(), |_| {})).await;
        assert!(made.len() > 3, "{made:?}");
        for (key, stranger) in made {
            let fixture = Fixture::empty(framework, options());
            let theirs = fixture.shared.create(key.resource, &stranger);
            fixture.create(|_| {});
            fixture.pass(400).await;
            let kind = fixture.info().kind;
            let said = words(&fixture.job());
            assert!(said.contains(&key.name), "{kind} {key:?}: {said}");
            assert_eq!(
                fixture.shared.get(&key).map(|now| bare(&now)),
                Some(bare(&theirs)),
                "{kind} {key:?}"
            );
            fixture.delete(&fixture.key(), None);
            fixture.pass(300).await;
            assert_eq!(
                fixture.shared.get(&key).map(|now| bare(&now)),
                Some(bare(&theirs)),
                "{kind} {key:?}"
            );
            fixture.is_right();
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
        let fixture = Fixture::new(*first, FixtureOptions::default(), |_| {});
        fixture.runs().await;
        let before = fixture.pods();
        let other = Resource::new(b.group, b.plural);
        fixture.shared.create(other, &common::testing::whole(*second, 2));
        let second_key = Key::new(other, NAMESPACE, "j");
        fixture.pass(30).await;
        let job = fixture.shared.get(&second_key).unwrap();
        let said = words(&job);
        assert!(
            said.contains("does not belong to this job"),
            "{} {}: {said}",
            a.kind,
            b.kind
        );
        assert!(!value::is_true(&job, "Running"), "{} {}", a.kind, b.kind);
        let mine: Vec<Object> = fixture.pods();
        for pod in &before {
            assert!(mine.iter().any(|p| uid(p) == uid(pod)), "{} {}", a.kind, b.kind);
        }
        assert!(value::is_true(&fixture.job(), "Running"));
        // The name is free: the second one runs.
        fixture.delete(&fixture.key(), None);
        fixture.pass(120).await;
        let job = fixture.shared.get(&second_key).unwrap();
        assert!(
            value::is_true(&job, "Running"),
            "{} {}: {}",
            a.kind,
            b.kind,
            job["status"]
        );
        fixture.closes().await;
    }
}

/// Jobs of the same name in another namespace counted as the same job.
#[tokio::test(start_paused = true)]
async fn a_job_of_another_namespace_and_the_same_name_is_mixed_up_with_it() {
    for framework in kinds() {
        let fixture = Fixture::running(framework).await;
        let there = fixture.pods().len();
        let mut manifest = common::testing::whole(framework, 2);
        manifest["metadata"]["namespace"] = json!("ns2");
        fixture.shared.store(|store| {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ns2"}});
            store.put(Who::Kubernetes, &Key::new(NAMESPACES, "", "ns2"), namespace);
            let of = store.type_of(fixture.resource()).unwrap();
            let version = framework.kind().version;
            store.create(Who::User, &of, version, "ns2", manifest).unwrap();
        });
        fixture.pass(30).await;
        let second = fixture
            .shared
            .get(&Key::new(fixture.resource(), "ns2", "j"))
            .unwrap();
        assert!(
            value::is_true(&second, "Running"),
            "{}: {}",
            fixture.info().kind,
            second["status"]
        );
        assert_eq!(fixture.pods().len(), 2 * there);
        let options = DeleteOptions {
            propagation: Some("Background".to_owned()),
            ..DeleteOptions::default()
        };
        let key = Key::new(fixture.resource(), "ns2", "j");
        fixture
            .shared
            .store(|store| store.delete(Who::User, &key, &options))
            .unwrap();
        fixture.pass(30).await;
        assert_eq!(fixture.pods().len(), there, "{}", fixture.info().kind);
        assert!(value::is_true(&fixture.job(), "Running"));
        fixture.closes().await;
    }
}

/// The index was cut out of the name, and with it too much: a scale-down deleted the wrong pods (mpi#353).
#[tokio::test(start_paused = true)]
async fn scaling_down_deletes_pods_of_other_names() {
    for framework in kinds() {
        let info = framework.kind();
        let Some(role) = info.scaled_role else { continue };
        let fixture = Fixture::empty(framework, FixtureOptions::default());
        let names = ["w", "worker", "a-worker-1", "a-worker", "a"];
        for name in names {
            fixture.create(|m| {
                m["metadata"]["name"] = json!(name);
                m["spec"][info.replicas_field][role.0]["replicas"] = json!(12);
                if m["spec"]["elasticPolicy"].is_object() {
                    m["spec"]["elasticPolicy"]["maxReplicas"] = json!(12);
                }
            });
        }
        fixture.pass(30).await;
        let of_job = |job: &str| -> BTreeSet<String> {
            let uid = uid(&fixture
                .shared
                .get(&Key::new(fixture.resource(), NAMESPACE, job))
                .unwrap())
            .to_owned();
            let all = fixture.shared.list(PODS);
            let own = all.iter().filter(|pod| controller_uid(pod) == uid);
            own.map(|pod| name(pod).to_owned()).collect()
        };
        let before: Vec<BTreeSet<String>> = names.iter().map(|job| of_job(job)).collect();
        for job in names {
            let key = Key::new(fixture.resource(), NAMESPACE, job);
            fixture.shared.edit(&key, Who::User, |m| {
                m["spec"][info.replicas_field][role.0]["replicas"] = json!(3);
            });
            fixture.pass(30).await;
        }
        for (job, before) in names.iter().zip(before) {
            let gone: BTreeSet<String> = before.difference(&of_job(job)).cloned().collect();
            let wanted: BTreeSet<String> = (3..12)
                .map(|n| {
                    info.role(role.0)
                        .unwrap()
                        .replica_name(job, common::names::ReplicaIndex(n))
                })
                .collect();
            assert_eq!(gone, wanted, "{} {job}", info.kind);
        }
        fixture.closes().await;
    }
}

/// A pod that looks like one of ours was adopted while it was being deleted, or by a job that was (k8s#44144, k8s#38613).
#[tokio::test(start_paused = true)]
async fn a_pod_that_goes_or_is_somebody_elses_is_adopted() {
    for framework in kinds() {
        let made = made_by(&Fixture::new(framework, FixtureOptions::default(), |_| {})).await;
        let (key, orphan) = made.into_iter().find(|(key, _)| key.resource == PODS).unwrap();
        for case in ["nobody's", "terminating", "another's", "of a job that goes"] {
            let fixture = Fixture::empty(framework, FixtureOptions::default());
            let mut orphan = orphan.clone();
            orphan["spec"] = json!({"containers": [{"name": "main"}]});
            if case == "another's" {
                orphan["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r",
                    "uid": "00000000-0000-4000-8000-bbbbbbbbbbbb", "controller": true}]);
                let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "r",
                    "uid": "00000000-0000-4000-8000-bbbbbbbbbbbb"}});
                let owner_key = Key::new(sim::types::CONFIG_MAPS, NAMESPACE, "r");
                fixture
                    .shared
                    .store(|store| store.put(Who::User, &owner_key, owner));
            }
            let made = fixture.shared.create(PODS, &orphan);
            fixture.pass(2).await;
            if case == "terminating" {
                fixture.delete(&key, None);
            }
            fixture.create(|m| {
                if case == "of a job that goes" {
                    m["metadata"]["finalizers"] = json!(["example.com/wait"]);
                }
            });
            if case == "of a job that goes" {
                fixture.delete(&fixture.key(), None);
            }
            fixture.pass(120).await;
            assert_eq!(fixture.count("patch pods/") + fixture.count("replace pods/"), 0);
            match fixture.shared.get(&key) {
                Some(pod) if uid(&pod) == uid(&made) => {
                    assert_ne!(case, "terminating");
                    assert_eq!(
                        pod["metadata"]["ownerReferences"],
                        made["metadata"]["ownerReferences"]
                    );
                }
                Some(_) => assert_eq!(case, "terminating", "{}", fixture.info().kind),
                None => panic!("{} {case}: it is gone", fixture.info().kind),
            }
            fixture.edit_job(|job| {
                value::metadata(job).remove("finalizers");
            });
            fixture.is_right();
        }
    }
}

/// A clash that comes up again and again is told once, and tried again without haste.
#[tokio::test(start_paused = true)]
async fn a_clash_of_names_is_told_over_and_over() {
    for framework in kinds() {
        let made = made_by(&Fixture::new(framework, FixtureOptions::default(), |_| {})).await;
        let (_, stranger) = made.into_iter().find(|(key, _)| key.resource == PODS).unwrap();
        let fixture = Fixture::empty(framework, FixtureOptions::default());
        fixture.shared.create(PODS, &stranger);
        fixture.create(|_| {});
        fixture.pass(3600).await;
        let events = fixture.count("create events");
        assert!(events < 12, "{}: {events} events", fixture.info().kind);
        let tries = fixture.count("409 create pods/");
        assert!(tries < 100, "{}: {tries} tries", fixture.info().kind);
        fixture.is_right();
    }
}

/// Nothing is made of a refusal that may be forged: what is said to be there is looked at first.
#[tokio::test(start_paused = true)]
async fn a_forged_conflict_is_believed() {
    for framework in kinds() {
        let fixture = Fixture::empty(framework, FixtureOptions::default());
        let mut seen = BTreeSet::new();
        fixture.network.rule(move |request| {
            let create = request.verb == Verb::Create && !is_aside(request);
            let first = create && seen.insert(request.line());
            first.then(|| refused(sim::refusal::Refusal::exists(PODS, name(&request.body))))
        });
        fixture.create(|_| {});
        fixture.runs().await;
        fixture.closes().await;
    }
}
