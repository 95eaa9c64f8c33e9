//! What a job says of itself.

use std::collections::BTreeMap;

use common::api::JobStatus;
use common::gang::PodGroupApi;
use serde_json::{Value, json};
use sim::checker::{end_of, stored};
use sim::cluster::{NAMESPACE, Shared};
use sim::kubernetes::fail;
use sim::network_faults::{Fault, Trip};
use sim::refusal::Refusal;
use sim::request::{Request, Verb};
use sim::scenario::pod_key;
use sim::store::{Key, Who};
use sim::types::{BATCH_JOBS, EVENTS, PODS, Resource};
use sim::value::{self, name, text, uid};

use super::fixture::{Fixture, FixtureOptions, by_batch_job, kinds, lost, refused, replaced, with_fault};

/// Whether a request stores the status of a job.
fn is_status(request: &Request) -> bool {
    request.verb == Verb::Patch && request.subresource == "status"
}

fn makes_pod(request: &Request) -> bool {
    request.verb == Verb::Create && request.is_of(PODS)
}

/// Ends all pods well, at one moment.
fn all_end(fixture: &Fixture) {
    for pod in fixture.pods() {
        fixture.shared.store(|store| fail(store, &pod_key(&pod), 0, None));
    }
}

/// The last status write met a conflict or got no answer, nothing happened any more, and the job ran for ever (mpi#607,
/// jobset#555, kubeflow/kubeflow#861, trainer#3009).
#[tokio::test(start_paused = true)]
async fn the_last_status_is_lost_and_the_job_runs_for_ever() {
    for framework in kinds() {
        for (case, times) in [
            ("edited", 1),
            ("edited", 10),
            ("refused", 3),
            ("no answer", 1),
            ("lost", 2),
        ] {
            let fixture = Fixture::running(framework).await;
            let (shared, key, mut left) = (fixture.shared.clone(), fixture.key(), times);
            fixture.network.rule(move |request| {
                if !is_status(request) || left == 0 {
                    return None;
                }
                left -= 1;
                match case {
                    "edited" => {
                        let words = json!({"edited": left.to_string()});
                        shared.edit(&key, Who::User, |job| {
                            value::metadata(job).insert("labels".to_owned(), words);
                        });
                        None
                    }
                    "refused" => Some(refused(Refusal::internal())),
                    "no answer" => Some(with_fault(Fault::Lost {
                        served: true,
                        broken: false,
                    })),
                    _ => Some(lost(false)),
                }
            });
            all_end(&fixture);
            // Less than any look that is not owed to an event or to back-off.
            fixture.pass(240).await;
            assert_eq!(
                end_of(&fixture.job()),
                "Succeeded",
                "{} {case}",
                fixture.info().kind
            );
            fixture.closes().await;
        }
    }
}

/// What must not be lost or begun anew by an error.
fn kept(job: &Value) -> (Vec<String>, Option<String>, i32, BTreeMap<String, u32>) {
    let status = stored(job);
    let types = status.conditions.iter().map(|c| c.type_.as_str().to_owned());
    // These two give way to each other.
    let mut types: Vec<String> = types
        .filter(|type_| type_ != "Running" && type_ != "Restarting")
        .collect();
    types.sort();
    (
        types,
        status.start_time.map(|time| time.0.to_string()),
        status.restart_counts.map_or(0, |counts| counts.failures),
        status
            .slots
            .iter()
            .map(|(replica, of)| (replica.clone(), of.attempt))
            .collect(),
    )
}

/// How creates of pods go wrong.
fn trouble(case: &str) -> Trip {
    match case {
        "500" => refused(Refusal::internal()),
        "403" => refused(quota()),
        "422" => refused(Refusal::invalid(
            "Pod",
            "j",
            "spec.containers[0].image: Required value",
        )),
        "no answer" => with_fault(Fault::Lost {
            served: false,
            broken: false,
        }),
        _ => lost(false),
    }
}

fn quota() -> Refusal {
    let message =
        "pods \"j\" is forbidden: exceeded quota: few, requested: pods=1, used: pods=2, limited: pods=2";
    Refusal {
        code: 403,
        reason: "Forbidden",
        message: message.to_owned(),
        retry_after: None,
    }
}

/// An error in the midst of a pass wrote half of a status, or reset what was there (trainer#1697, trainer#2352,
/// trainer#2353, ray#2622).
#[tokio::test(start_paused = true)]
async fn an_error_resets_times_and_counts() {
    for framework in kinds() {
        for case in ["500", "403", "422", "no answer", "broken"] {
            let fixture = Fixture::new(framework, FixtureOptions::default(), |m| {
                replaced(framework.kind(), m)
            });
            fixture.runs().await;
            fixture.to_last(|store, key| fail(store, key, 137, None));
            fixture.pass(2).await;
            fixture.runs().await;
            let before = kept(&fixture.job());
            assert_eq!(before.2, 1, "{}", fixture.info().kind);
            let rule = fixture
                .network
                .rule(move |request| makes_pod(request).then(|| trouble(case)));
            fixture.to_last(|store, key| fail(store, key, 137, None));
            fixture.pass(120).await;
            let during = kept(&fixture.job());
            let context = format!("{} {case}: {before:?} {during:?}", fixture.info().kind);
            assert!(before.0.iter().all(|type_| during.0.contains(type_)), "{context}");
            assert_eq!(during.1, before.1, "{context}");
            assert_eq!(during.2, 2, "{context}");
            for (replica, attempt) in &before.3 {
                assert!(during.3[replica] >= *attempt, "{context}");
            }
            fixture.network.end(rule);
            fixture.runs().await;
            assert_eq!(kept(&fixture.job()).2, 2, "{context}");
            fixture.closes().await;
        }
    }
}

/// The last condition is the one that clients show.
fn last_condition(job: &Value) -> String {
    let status: JobStatus = stored(job);
    status
        .conditions
        .last()
        .map(|c| c.type_.as_str().to_owned())
        .unwrap_or_default()
}

/// Running was put behind Succeeded by what came late, and clients showed Running (mpi#787, trainer#1650).
#[tokio::test(start_paused = true)]
async fn it_runs_after_its_end() {
    for framework in kinds() {
        for (backwards, late) in [
            (false, ""),
            (true, ""),
            (false, "pods"),
            (true, "pods"),
            (false, "jobs"),
            (true, "jobs"),
        ] {
            let fixture = Fixture::running(framework).await;
            let mut pods: Vec<Key> = fixture.pods().iter().map(|pod| pod_key(pod)).collect();
            if backwards {
                pods.reverse();
            }
            fixture.network.hold(late);
            for pod in pods {
                fixture.shared.store(|store| fail(store, &pod, 0, None));
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            fixture.pass(20).await;
            fixture.network.release(late);
            fixture.pass(20).await;
            let job = fixture.job();
            let context = format!("{} {backwards} {late}: {}", fixture.info().kind, job["status"]);
            assert_eq!(last_condition(&job), "Succeeded", "{context}");
            assert!(!value::is_true(&job, "Running"), "{context}");
            let of = |type_: &str| {
                value::condition(&job, type_).map(|c| text(c, "/lastTransitionTime").to_owned())
            };
            assert!(of("Running") <= of("Succeeded"), "{context}");
            fixture.closes().await;
        }
    }
}

/// A Failed job began anew when its children were gone, when the operator was restarted or its spec edited (trainer#3891).
#[tokio::test(start_paused = true)]
async fn a_failed_job_begins_anew() {
    for framework in kinds() {
        for case in ["limit", "deadline", "for good"] {
            let mut fixture = Fixture::new(framework, FixtureOptions::default(), |m| {
                replaced(framework.kind(), m);
                let policy = &mut m["spec"]["runPolicy"];
                match case {
                    "limit" => policy["backoffLimit"] = json!(0),
                    "deadline" => policy["activeDeadlineSeconds"] = json!(30),
                    _ => {
                        policy["backoffLimit"] = json!(0);
                        policy["cleanPodPolicy"] = json!("All");
                    }
                }
            });
            fixture.runs().await;
            match case {
                "limit" => fixture.to_last(|store, key| fail(store, key, 137, None)),
                "deadline" => fixture.pass(60).await,
                // Those that count first, so that a launcher is among them.
                _ => {
                    for pod in fixture.pods() {
                        fixture.shared.store(|store| fail(store, &pod_key(&pod), 1, None));
                    }
                }
            }
            fixture.ends().await;
            let ended = fixture.job();
            assert_eq!(end_of(&ended), "Failed", "{} {case}", fixture.info().kind);
            let creates = fixture.count("create pods/") + fixture.count("create jobs/");
            for pod in fixture.pods() {
                fixture
                    .shared
                    .store(|store| store.remove(Who::User, &pod_key(&pod)));
            }
            fixture.pass(10).await;
            fixture.restart();
            fixture.pass(10).await;
            fixture.edit("/runPolicy/backoffLimit", json!(9));
            fixture.edit("/runPolicy/activeDeadlineSeconds", json!(9000));
            fixture.pass(10).await;
            fixture.nudge("an edit");
            fixture.pass(600).await;
            let now = fixture.job();
            assert_eq!(
                fixture.count("create pods/") + fixture.count("create jobs/"),
                creates,
                "{} {case}",
                fixture.info().kind
            );
            assert_eq!(now["status"]["conditions"], ended["status"]["conditions"]);
            fixture.closes().await;
        }
    }
}

/// A launcher that had ended and was removed looked like one that was never made, and was run again (trainer#3013).
#[tokio::test(start_paused = true)]
async fn a_launcher_that_is_done_and_removed_runs_again() {
    for framework in kinds() {
        if !by_batch_job(framework.kind()) {
            continue;
        }
        for early in [false, true] {
            let mut fixture = Fixture::running(framework).await;
            let launcher = fixture.shared.list(BATCH_JOBS)[0].clone();
            let key = Key::new(BATCH_JOBS, NAMESPACE, name(&launcher));
            let creates = fixture.count("create jobs/");
            let held = fixture
                .network
                .rule(move |request| (early && is_status(request)).then(|| refused(Refusal::internal())));
            all_end(&fixture);
            fixture.pass(if early { 1 } else { 20 }).await;
            fixture.delete(&key, Some(0));
            fixture.pass(5).await;
            fixture.network.end(held);
            fixture.pass(60).await;
            fixture.restart();
            fixture.pass(60).await;
            assert_eq!(
                fixture.count("create jobs/"),
                creates,
                "{} {early}",
                fixture.info().kind
            );
            assert_eq!(
                end_of(&fixture.job()),
                "Succeeded",
                "{} {early}",
                fixture.info().kind
            );
            fixture.closes().await;
        }
    }
}

/// The pod of a replica whose end is not the job's, if the kind has such.
fn follower(fixture: &Fixture) -> Option<Key> {
    let info = fixture.info();
    let pods = fixture.pods();
    let last = pods.last()?;
    let replica = info.replica_of("j", name(last))?;
    // Where a launcher decides, workers are to run for as long as it does.
    (!by_batch_job(info) && pods.len() > 1 && info.role(replica.role.0).is_some()).then(|| pod_key(last))
}

/// A pod that had succeeded and was removed before its job ended ran again, and hung the job (trainer#1186, trainer#1997,
/// trainer#2453, kubeflow/arena#1370).
#[tokio::test(start_paused = true)]
async fn a_pod_that_is_done_and_removed_runs_again() {
    for framework in kinds() {
        for unseen in [false, true] {
            let mut fixture = Fixture::running(framework).await;
            let Some(pod) = follower(&fixture) else { continue };
            let kind = fixture.info().kind;
            if unseen {
                fixture.network.hold("pods");
            }
            fixture.shared.store(|store| fail(store, &pod, 0, None));
            fixture.pass(5).await;
            fixture.shared.store(|store| store.remove(Who::User, &pod));
            if unseen {
                // Not even its deletion is told, which would say how it had ended.
                fixture.lose("pods").await;
            }
            fixture.pass(5).await;
            fixture.restart();
            fixture.pass(60).await;
            assert_eq!(
                fixture.shared.get(&pod).is_some(),
                unseen,
                "{kind}: {}",
                fixture.job()["status"]
            );
            let status = stored(&fixture.job());
            let failures = status.restart_counts.map_or(0, |counts| counts.failures);
            assert_eq!(failures, 0, "{kind}");
            all_end(&fixture);
            fixture.ends().await;
            assert_eq!(end_of(&fixture.job()), "Succeeded", "{kind}");
            fixture.closes().await;
        }
    }
}

/// After the end the counts of pods were emptied by the clean-up (trainer#889).
#[tokio::test(start_paused = true)]
async fn counts_are_emptied_by_the_clean_up() {
    for framework in kinds() {
        let mut fixture = Fixture::new(framework, FixtureOptions::default(), |m| {
            m["spec"]["runPolicy"]["cleanPodPolicy"] = json!("All");
        });
        fixture.runs().await;
        all_end(&fixture);
        fixture.ends().await;
        assert!(fixture.pods().is_empty());
        let counts = fixture.job()["status"]["replicaStatuses"].clone();
        let sum: i64 = counts
            .as_object()
            .unwrap()
            .values()
            .map(|of| value::number(of, "/succeeded"))
            .sum();
        assert!(sum > 0, "{}: {counts}", fixture.info().kind);
        fixture.restart();
        fixture.nudge("a pass");
        fixture.pass(60).await;
        assert_eq!(
            fixture.job()["status"]["replicaStatuses"],
            counts,
            "{}",
            fixture.info().kind
        );
        fixture.closes().await;
    }
}

/// Every pass renewed a time in the status, and the write woke the next one (kubeflow/notebooks#1343,
/// falcosecurity/falco-operator#357, knative/serving#1181, jobset#927, trainer#969).
#[tokio::test(start_paused = true)]
async fn each_status_write_leads_to_the_next() {
    for framework in kinds() {
        for case in ["runs", "has ended", "is suspended", "waits"] {
            let fixture = Fixture::running(framework).await;
            match case {
                "has ended" => all_end(&fixture),
                "is suspended" => fixture.edit("/runPolicy/suspend", json!(true)),
                "waits" => {
                    let node = |n: i32| format!("node-{n}");
                    for n in 1..=3 {
                        fixture
                            .shared
                            .store(|store| sim::kubernetes::set_node(store, &node(n), false));
                    }
                    fixture.to_last(|store, key| drop(store.remove(Who::User, key)));
                }
                _ => {}
            }
            fixture.quiet().await;
            let (writes, passes) = (fixture.writes(), fixture.clock.asked());
            // A day for what runs, a few hours for what does nothing at all.
            let hours = if case == "runs" { 24 } else { 4 };
            for _ in 0..hours {
                fixture.relist(&[]);
                fixture.pass(3600).await;
            }
            let later = fixture.writes().split_off(writes.len());
            assert_eq!(later, [""; 0], "{} {case}", fixture.info().kind);
            // Once in ten minutes, give or take a fifth, for those that have not ended.
            let further = fixture.clock.asked() - passes;
            let most = if case == "has ended" {
                0
            } else {
                hours * 60 / 8 + 2
            };
            assert!(
                further <= most,
                "{} {case}: {further} passes",
                fixture.info().kind
            );
            fixture.is_right();
        }
    }
}

/// Conditions, events and histories grew with each restart, until the object was too large to be stored (vol#5422,
/// trainer#997, vol#3745).
#[tokio::test(start_paused = true)]
async fn a_job_grows_with_each_restart() {
    for framework in kinds() {
        let often = if framework.kind().kind == "PyTorchJob" {
            200
        } else {
            20
        };
        let mut fixture = Fixture::new(framework, FixtureOptions::default(), |m| {
            replaced(framework.kind(), m);
            m["spec"]["runPolicy"]["backoffLimit"] = json!(5000);
        });
        fixture.runs().await;
        for n in 0..often {
            let pod = fixture.pods().last().cloned().unwrap();
            fixture
                .shared
                .store(|store| fail(store, &pod_key(&pod), 137, None));
            for _ in 0..600 {
                fixture.pass(1).await;
                let now = fixture.shared.get(&pod_key(&pod));
                if now.is_some_and(|now| uid(&now) != uid(&pod) && value::phase(&now) == "Running") {
                    break;
                }
            }
            if n % 50 == 0 {
                // The log is for those who go round in circles.
                fixture.shared.lock().written.clear();
            }
        }
        let kind = fixture.info().kind;
        fixture.runs().await;
        let job = fixture.job();
        let status = stored(&job);
        let restarts = status.restart_counts.as_ref().map_or(0, |counts| counts.failures);
        assert!(restarts >= often, "{kind}: {restarts}");
        let size = job.to_string().len();
        assert!(size < 16 * 1024, "{kind}: {size} bytes");
        let events = fixture.shared.list(EVENTS).len();
        let most = usize::try_from(often).unwrap() * 6 + 20;
        assert!(events < most, "{kind}: {events} events");
        fixture.restart();
        fixture.pass(600).await;
        assert_eq!(
            fixture.shared.list(EVENTS).len(),
            events,
            "{kind}: told again after a restart"
        );
        fixture.is_right();
    }
}

/// After the end the PodGroup was deleted and made again in each pass, or what its scheduler writes was undone (trainer#1426,
/// trainer#1012, trainer#2079).
#[tokio::test(start_paused = true)]
async fn a_pod_group_is_deleted_and_made_again() {
    for framework in kinds() {
        for api in [
            PodGroupApi::Native,
            PodGroupApi::Volcano,
            PodGroupApi::Coscheduling,
        ] {
            for code in [0, 1] {
                let fixture = Fixture::new(framework, FixtureOptions::gang(api), |m| {
                    m["spec"]["runPolicy"]["backoffLimit"] = json!(0);
                });
                fixture.runs().await;
                let groups = Resource::new(api.group_version().0, "podgroups");
                let group = Key::new(groups, NAMESPACE, name(&fixture.shared.list(groups)[0]));
                for n in 0..5 {
                    fixture.shared.edit(&group, Who::Kubernetes, |group| {
                        group["status"]["seen"] = json!(n);
                        group["metadata"]["annotations"]["scheduler"] = json!(n.to_string());
                        group["spec"]["ofTheScheduler"] = json!(n);
                    });
                    fixture.pass(30).await;
                }
                let context = format!("{} {api:?} {code}", fixture.info().kind);
                assert_eq!(fixture.count("patch podgroups/"), 0, "{context}");
                for pod in fixture.pods() {
                    fixture
                        .shared
                        .store(|store| fail(store, &pod_key(&pod), code, None));
                }
                fixture.ends().await;
                fixture.pass(600).await;
                assert_eq!(fixture.count("create podgroups/"), 1, "{context}");
                assert!(fixture.count("delete podgroups/") <= 1, "{context}");
                assert_eq!(fixture.count("patch podgroups/"), 0, "{context}");
                fixture.closes().await;
            }
        }
    }
}

/// Thousands of jobs that had ended were gone through before a new one got its first pod (trainer#965, mpi#49).
#[tokio::test(start_paused = true)]
async fn jobs_that_have_ended_hold_up_a_new_one() {
    // Fewer passes at one moment than the clock takes for a circle.
    const ENDED: usize = 1500;
    for framework in kinds() {
        let mut fixture = Fixture::running(framework).await;
        all_end(&fixture);
        fixture.ends().await;
        let done = fixture.job();
        fixture.delete(&fixture.key(), None);
        fixture.pass(10).await;
        let resource = fixture.resource();
        fixture.shared.store(|store| {
            for n in 0..ENDED {
                let mut job = done.clone();
                job["metadata"]["name"] = json!(format!("a-old{n}"));
                job["metadata"]["uid"] = json!(store.uid());
                store.put(
                    Who::User,
                    &Key::new(resource, NAMESPACE, &format!("a-old{n}")),
                    job,
                );
            }
        });
        fixture.crash();
        fixture.create(|_| {});
        let before = fixture.clock.asked();
        let writes = fixture.writes().len();
        let (passes, clock) = (
            std::sync::Arc::new(std::sync::Mutex::new(None)),
            fixture.clock.clone(),
        );
        let first = std::sync::Arc::clone(&passes);
        fixture.network.rule(move |request| {
            if request.verb == Verb::Create && request.plural != "leases" {
                first.lock().unwrap().get_or_insert(clock.asked());
            }
            None
        });
        fixture.start();
        fixture.runs().await;
        let needed = passes.lock().unwrap().unwrap() - before;
        assert!(
            needed <= 17,
            "{}: {needed} passes before its first write",
            fixture.info().kind
        );
        fixture.pass(60).await;
        let old = fixture.writes().split_off(writes);
        assert!(old.iter().all(|line| !line.contains("/a-old")), "{old:?}");
        fixture.is_right();
    }
}

/// Creates that are refused for long: the job says nothing of it, fails, tries without pause, or does not go on when it may
/// again (vol#3456, k8s#45213, dask/dask-kubernetes#684, trainer#1849).
#[tokio::test(start_paused = true)]
async fn refused_for_long_it_says_nothing_or_never_tries_again() {
    for framework in kinds() {
        for case in ["403", "422", "500", "no answer", "namespace"] {
            let fixture = Fixture::empty(framework, FixtureOptions::default());
            let shared: Shared = fixture.shared.clone();
            let tries = std::sync::Arc::new(std::sync::Mutex::new(0));
            let counted = std::sync::Arc::clone(&tries);
            let rule = fixture.network.rule(move |request| {
                let third = shared.list(PODS).len() >= 2 || case == "namespace";
                if !makes_pod(request) || !third {
                    return None;
                }
                *counted.lock().unwrap() += 1;
                Some(match case {
                    "namespace" => with_fault(Fault::Answered(403, namespace_ends())),
                    case => trouble(case),
                })
            });
            fixture.create(|_| {});
            fixture.pass(600).await;
            let job = fixture.job();
            let sent = *tries.lock().unwrap();
            if sent == 0 {
                // It has but two pods of its own.
                continue;
            }
            let context = format!("{} {case}: {sent} tries, {}", fixture.info().kind, job["status"]);
            let said = text(&job, "/status/waitingFor").to_owned();
            let wanted = match case {
                "403" => "exceeded quota",
                "422" => "Required value",
                "500" => "injected",
                "no answer" => "timed out",
                _ => "is being terminated",
            };
            assert!(said.contains(wanted), "{context}");
            assert_eq!(end_of(&job), "", "{context}");
            // 0.2 s doubled up to a minute, or a minute from the first.
            let most = if matches!(case, "422" | "namespace") {
                14
            } else {
                24
            };
            assert!(sent <= most, "{context}");
            fixture.network.end(rule);
            fixture.pass(75).await;
            fixture.runs().await;
            assert!(text(&fixture.job(), "/status/waitingFor").is_empty(), "{context}");
            fixture.closes().await;
        }
    }
}

fn namespace_ends() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Forbidden", "code": 403,
        "message": "pods \"j\" is forbidden: unable to create new content in namespace ns1 because it is being terminated",
        "details": {"name": "j", "kind": "pods", "causes": [{"reason": "NamespaceTerminating",
            "message": "namespace ns1 is being terminated", "field": "metadata.namespace"}]}})
}
