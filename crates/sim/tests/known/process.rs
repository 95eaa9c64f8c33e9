//! The process: leases, time, memory, load; and what is left behind.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::Settings;
use common::gang::{Gang, PodGroupApi};
use operator::FRAMEWORKS;
use runtime::GangChoice;
use serde_json::{Value, json};
use sim::cluster::{NAMESPACE, Setup};
use sim::kubernetes::fail;
use sim::link::Link;
use sim::network_faults::{Fault, NoFaults, Trip};
use sim::ops::DeleteOptions;
use sim::process::{Conduct, Process};
use sim::refusal::Refusal;
use sim::request::{Request, Verb};
use sim::scenario::{TestJob, pod_key};
use sim::store::{Key, Who};
use sim::types::{EVENTS, LEASES, NAMESPACES, NODES, PODS, Resource, pod_groups};
use sim::value::{self, metadata};
use tokio::time::Instant;

use super::fixture::{Fixture, FixtureOptions, kinds, refused, with_fault};
use super::steps::{
    alive, belongings, ends_well, is, last, replaced, restarts, rule, runs, succeeds, suspend, suspended, to,
    uid, waits_for, when,
};

/// The usual job under another name.
fn create_as(fixture: &Fixture, name: &str) -> Key {
    let mut manifest = common::testing::whole(fixture.framework, 1);
    metadata(&mut manifest).insert("name".to_owned(), json!(name));
    fixture.shared.create(fixture.resource(), &manifest);
    Key::new(fixture.resource(), NAMESPACE, name)
}

/// One pod that cannot be deleted, or one request that is never answered, holds up all jobs (trainer#366, vol#2897).
#[tokio::test(start_paused = true)]
async fn what_never_ends_holds_up_nobody_else() {
    for framework in kinds() {
        let alone = {
            let fixture = Fixture::empty(framework, FixtureOptions::default());
            fixture.pass(60).await;
            let begun = Instant::now();
            fixture.create(|_| {});
            when(&fixture, "it runs", |t| is(t, "Running")).await - begun
        };
        for answered in [true, false] {
            let fixture = Fixture::empty(framework, FixtureOptions::default());
            let stuck: Vec<Key> = (0..16)
                .map(|n| create_as(&fixture, &format!("stuck{n}")))
                .collect();
            when(&fixture, "all run", |t| {
                stuck.iter().all(|key| {
                    t.shared
                        .get(key)
                        .is_some_and(|job| value::is_true(&job, "Running"))
                })
            })
            .await;
            for pod in fixture.shared.list(PODS) {
                fixture.shared.edit(&pod_key(&pod), Who::User, |pod| {
                    metadata(pod).insert("finalizers".to_owned(), json!(["example.com/hold"]));
                });
            }
            let silence = fixture.network.rule(move |request| {
                let hit = !answered && request.verb == Verb::Delete && request.name.starts_with("stuck");
                hit.then(|| {
                    with_fault(Fault::Lost {
                        served: false,
                        broken: false,
                    })
                })
            });
            for key in &stuck {
                fixture.shared.edit(key, Who::User, |job| {
                    job["spec"]["runPolicy"]["suspend"] = json!(true)
                });
            }
            fixture.pass(60).await;
            let begun = Instant::now();
            fixture.create(|_| {});
            let took = when(&fixture, "it runs", |t| is(t, "Running")).await - begun;
            // Passes and writes without any answer make room for others after a few seconds.
            let most = alone + Duration::from_secs(if answered { 1 } else { 60 });
            assert!(
                took <= most,
                "{} {answered}: {took:?}, alone {alone:?}",
                framework.kind().kind
            );
            fixture.network.end(silence);
            fixture.pass(120).await;
            for pod in fixture.shared.list(PODS) {
                fixture.shared.edit(&pod_key(&pod), Who::User, |pod| {
                    metadata(pod).remove("finalizers");
                });
            }
            when(&fixture, "the others have gone", |t| {
                t.shared.list(PODS).iter().all(|pod| !value::deleting(pod))
            })
            .await;
            ends_well(fixture).await;
        }
    }
}

/// A finalizer that nobody takes off: the replacement is made and refused again and again, or all is held up; ours would
/// outlive us (k8s#108645, k8s#109485, k8s#119159, kueue#1450, kueue#13830).
#[tokio::test(start_paused = true)]
async fn somebody_elses_finalizer_is_waited_for_and_there_is_none_of_ours() {
    for framework in kinds() {
        let fixture = Fixture::new(framework, FixtureOptions::default(), |_| {});
        let finalizers = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&finalizers);
        fixture.network.rule(move |request: &Request| {
            if value::finalizers(&request.body).next().is_some() {
                seen.lock().unwrap().push(request.line());
            }
            None
        });
        fixture.runs().await;
        let victim = last(&fixture);
        let others: Vec<String> = alive(&fixture)
            .iter()
            .filter(|pod| value::name(pod) != victim.name)
            .map(|pod| value::uid(pod).to_owned())
            .collect();
        let before = uid(&fixture, &victim);
        fixture.shared.edit(&victim, Who::User, |pod| {
            metadata(pod).insert("finalizers".to_owned(), json!(["example.com/hold"]));
        });
        fixture.delete(&victim, None);
        fixture.pass(60).await;
        let writes = fixture.writes().len();
        fixture.pass(7200).await;
        assert_eq!(
            fixture.writes().len(),
            writes,
            "{}: {:?}",
            fixture.info().kind,
            fixture.writes().split_off(writes)
        );
        assert_eq!(uid(&fixture, &victim), before);
        let told = waits_for(&fixture);
        assert!(
            told.contains(&victim.name) && told.contains("terminate"),
            "{}: {told}",
            fixture.info().kind
        );
        let now: Vec<String> = alive(&fixture)
            .iter()
            .map(|pod| value::uid(pod).to_owned())
            .collect();
        assert_eq!(now, others, "{}: the others go on", fixture.info().kind);
        fixture.shared.store(|store| {
            let mut pod = (**store.get(&victim).unwrap()).clone();
            metadata(&mut pod).remove("finalizers");
            store.put(Who::User, &victim, pod);
        });
        ends_well(fixture).await;
        assert_eq!(*finalizers.lock().unwrap(), [""; 0]);
    }
}

/// In which order the controller of namespaces comes by the resources of one: it asks for them in no order of its own.
const ORDERS: [&str; 3] = ["jobs first", "jobs last", "backwards"];

/// Deletes all that is left in the namespace; answers with what there was, if there was anything.
fn sweep(fixture: &Fixture, jobs: Resource, order: &str) -> Option<Vec<Key>> {
    let background = DeleteOptions {
        propagation: Some("Background".to_owned()),
        ..DeleteOptions::default()
    };
    fixture.shared.store(|store| {
        let all = store.all().map(|(key, _)| key.clone());
        let mut left: Vec<Key> = all.filter(|key| key.namespace == NAMESPACE).collect();
        match order {
            "jobs first" => left.sort_by_key(|key| key.resource != jobs),
            "jobs last" => left.sort_by_key(|key| key.resource == jobs),
            _ => left.reverse(),
        }
        for key in &left {
            store.delete(Who::Kubernetes, key, &background).unwrap();
        }
        (!left.is_empty()).then_some(left)
    })
}

/// A namespace is deleted while no operator runs, and never ends: something waits for an operator that is gone
/// (k8s#108645, kueue#4224).
#[tokio::test(start_paused = true)]
async fn a_namespace_does_not_end_without_an_operator() {
    for framework in kinds() {
        for order in ORDERS {
            let mut fixture = Fixture::new(framework, FixtureOptions::gang(PodGroupApi::Native), |_| {});
            fixture.runs().await;
            fixture.crash();
            let case = format!("{} {order}", fixture.info().kind);
            let (jobs, begun) = (fixture.resource(), Instant::now());
            while let Some(left) = sweep(&fixture, jobs, order) {
                assert!(begun.elapsed() < Duration::from_mins(2), "{case}: {left:?}");
                fixture.pass(5).await;
            }
            let namespace = Key::new(NAMESPACES, "", NAMESPACE);
            fixture
                .shared
                .store(|store| store.remove(Who::Kubernetes, &namespace));
            // The next operator finds nothing, and has nothing to say.
            let writes = fixture.writes();
            fixture.start();
            fixture.pass(1200).await;
            assert_eq!(fixture.writes(), writes, "{case}");
            fixture.is_right();
        }
    }
}

/// What there is in the namespace but jobs, events and leases.
fn rest(test_job: &TestJob) -> Vec<String> {
    let aside = [EVENTS, LEASES, NAMESPACES, NODES, test_job.resource()];
    let inside = test_job.shared.lock();
    let all = inside
        .server
        .store
        .all()
        .filter(|(key, _)| !aside.contains(&key.resource));
    all.map(|(key, _)| format!("{}/{}", key.resource.plural, key.name))
        .collect()
}

/// Services, secrets, roles or pods outlive the job, whichever way it is deleted, also while no operator runs (trainer#997,
/// vol#4142, mpi#134).
#[tokio::test(start_paused = true)]
async fn nothing_outlives_a_deleted_job() {
    for framework in kinds() {
        for propagation in ["Background", "Foreground"] {
            for there in [true, false] {
                let mut fixture = Fixture::new(framework, FixtureOptions::default(), |_| {});
                fixture.runs().await;
                if !there {
                    fixture.crash();
                }
                let options = DeleteOptions {
                    propagation: Some(propagation.to_owned()),
                    ..DeleteOptions::default()
                };
                fixture
                    .shared
                    .store(|store| store.delete(Who::User, &fixture.key(), &options))
                    .unwrap();
                fixture.pass(60).await;
                assert!(fixture.job().is_null());
                assert_eq!(
                    rest(&fixture),
                    [""; 0],
                    "{} {propagation} {there}",
                    fixture.info().kind
                );
                if !there {
                    fixture.start();
                }
                fixture.closes().await;
            }
        }
    }
}

/// What a job does not need any more outlives its end, its suspension, or the replica that it was for.
#[tokio::test(start_paused = true)]
async fn what_is_needed_no_more_goes() {
    let gone = |test_job: &TestJob, plurals: &[&str]| {
        let left = belongings(test_job);
        let left = left.iter().filter(|name| {
            plurals
                .iter()
                .any(|plural| name.starts_with(&format!("{plural}/")))
        });
        assert_eq!(left.collect::<Vec<_>>(), [""; 0], "{}", test_job.info().kind);
    };
    let transient = [
        "pods",
        "jobs",
        "services",
        "horizontalpodautoscalers",
        "podgroups",
    ];
    for framework in kinds() {
        for clean_up in ["None", "Running", "All"] {
            let options = FixtureOptions {
                setup: Setup {
                    pod_groups: vec![PodGroupApi::Native],
                    ..Setup::default()
                },
                ..FixtureOptions::default()
            };
            let fixture = Fixture::new(framework, options, |m| rule(m, "cleanPodPolicy", clean_up));
            fixture.runs().await;
            if fixture.info().scaled_role.is_some() {
                fixture.scale(4);
                fixture.runs().await;
                let many = belongings(&fixture).len();
                fixture.scale(1);
                fixture
                    .until("it is smaller", |t| t.pods().len() == t.wanted())
                    .await;
                let few = belongings(&fixture);
                let role = fixture.info().scaled_role.unwrap().0.to_ascii_lowercase();
                let ends = [1, 2, 3].map(|n| format!("-{role}-{n}"));
                let beyond: Vec<_> = few
                    .iter()
                    .filter(|name| ends.iter().any(|end| name.ends_with(end)))
                    .collect();
                assert!(beyond.is_empty() && few.len() < many, "{few:?}");
                fixture.runs().await;
            }
            suspend(&fixture, true);
            suspended(&fixture).await;
            gone(&fixture, &transient);
            suspend(&fixture, false);
            fixture.runs().await;
            fixture.finish().await;
            TestJob::ends(&fixture).await;
            fixture.pass(60).await;
            match clean_up {
                "All" => gone(&fixture, &transient),
                _ => gone(&fixture, &["horizontalpodautoscalers", "podgroups"]),
            }
            if clean_up != "None" {
                assert!(alive(&fixture).is_empty());
            }
            fixture.closes().await;
        }
    }
}

/// After a deletion that leaves orphans, the next job of the name takes them over, or overwrites them (k8s#92570).
#[tokio::test(start_paused = true)]
async fn orphans_of_an_earlier_job_are_nobodys() {
    for framework in kinds() {
        let fixture = Fixture::new(framework, FixtureOptions::default(), |_| {});
        fixture.runs().await;
        fixture.shared.store(|store| {
            let job = value::uid(store.get(&fixture.key()).unwrap()).to_owned();
            let all = store
                .all()
                .filter(|(_, object)| value::controller_uid(object) == job);
            let all: Vec<Key> = all.map(|(key, _)| key.clone()).collect();
            for key in all {
                let mut object = (**store.get(&key).unwrap()).clone();
                metadata(&mut object).remove("ownerReferences");
                store.put(Who::Kubernetes, &key, object);
            }
        });
        fixture.delete(&fixture.key(), None);
        fixture.pass(10).await;
        let orphans = |fixture: &Fixture| -> Vec<(String, String)> {
            let inside = fixture.shared.lock();
            let all = inside.server.store.all();
            let all = all.filter(|(key, object)| rest_is_of(key) && value::owners(object).next().is_none());
            all.map(|(key, object)| (key.name.clone(), object.to_string()))
                .collect()
        };
        let before = orphans(&fixture);
        assert!(before.len() > 1);
        fixture.create(|_| {});
        fixture.pass(600).await;
        assert!(!is(&fixture, "Running"), "{}", fixture.info().kind);
        assert!(
            waits_for(&fixture).contains("does not belong to this job"),
            "{}",
            waits_for(&fixture)
        );
        assert_eq!(orphans(&fixture), before, "{}", fixture.info().kind);
        fixture.shared.store(|store| {
            let all = store
                .all()
                .filter(|(key, object)| rest_is_of(key) && value::owners(object).next().is_none());
            let all: Vec<Key> = all.map(|(key, _)| key.clone()).collect();
            for key in all {
                store.remove(Who::User, &key);
            }
        });
        ends_well(fixture).await;
    }
}

/// Whether it is of a resource that jobs have.
fn rest_is_of(key: &Key) -> bool {
    let aside = [EVENTS, LEASES, NAMESPACES, NODES];
    !aside.contains(&key.resource) && !key.resource.group.starts_with("kubeflow")
}

/// A second process under a network of its own.
fn standby(fixture: &Fixture, number: usize) -> Process {
    let conduct = Conduct {
        frameworks: FRAMEWORKS.to_vec(),
        settings: Settings::default(),
        gang: GangChoice::Auto,
        elected: true,
    };
    Process::start(&fixture.shared, number, &conduct, &fixture.clock, NoFaults)
}

/// A leader that was paused before a write sends it when another one leads (k8s#23731, cilium#42920, kyverno#14984): whichever
/// write it is, and how late, it changes nothing in the end, and no other follows.
#[tokio::test(start_paused = true)]
async fn a_late_write_of_who_led_before_does_no_harm() {
    for framework in kinds() {
        let mut n = 1;
        loop {
            let options = FixtureOptions {
                elected: true,
                ..FixtureOptions::default()
            };
            let mut fixture = Fixture::new(framework, options, |m| replaced(framework.kind(), m));
            runs(&fixture).await;
            let _follower = standby(&fixture, 100);
            fixture.pass(10).await;
            let held: Arc<Mutex<Option<Request>>> = Arc::default();
            let (late, mut left) = (Arc::clone(&held), n);
            let pause = fixture.network.rule(move |request| {
                let mut late = late.lock().unwrap();
                let counts = request.verb.writes() && !sim::cluster::is_aside(request);
                left -= i32::from(counts);
                if counts && left == 0 {
                    *late = Some(request.clone());
                }
                // Nothing more is heard of it.
                late.is_some().then(|| {
                    with_fault(Fault::Lost {
                        served: false,
                        broken: false,
                    })
                })
            });
            to(&fixture, &last(&fixture), |store, key| {
                fail(store, key, 137, None)
            });
            fixture.pass(90).await;
            let Some(request) = held.lock().unwrap().take() else {
                break;
            };
            runs(&fixture).await;
            let told = format!("{} {n} {}", fixture.info().kind, request.line());
            let leader = |fixture: &Fixture| {
                fixture
                    .shared
                    .lock()
                    .written
                    .iter()
                    .filter(|w| w.who == Who::Operator(1))
                    .count()
            };
            let before = leader(&fixture);
            let _ = fixture.shared.answer(Who::Operator(1), &request);
            fixture.network.end(pause);
            fixture.pass(90).await;
            assert_eq!(leader(&fixture), before + 1, "{told}: it sends nothing more");
            assert_eq!(restarts(&fixture), (1, 0), "{told}");
            runs(&fixture).await;
            fixture.crash();
            ends_well(fixture).await;
            n += 1;
        }
        assert!(n > 3, "{}: {n}", framework.kind().kind);
    }
}

/// A leader whose lease is not renewed, while everything else goes through, writes until another leads (k8s#23731): a pass
/// that is under way ends with the trust in the lease, not with the pass.
#[tokio::test(start_paused = true)]
async fn who_cannot_renew_the_lease_stops_before_another_leads() {
    for framework in kinds() {
        let options = FixtureOptions {
            elected: true,
            replicas: 48,
            ..FixtureOptions::default()
        };
        let fixture = Fixture::empty(framework, options);
        fixture.pass(5).await;
        let _follower = standby(&fixture, 100);
        fixture.pass(10).await;
        // Reads of the lease are as late as its holder waits for, so that it learns last of all that it is lost.
        let late = |there: u64, fault| Trip {
            there: Duration::from_millis(there),
            fault,
            ..Trip::UNDISTURBED
        };
        let lost = Fault::Lost {
            served: false,
            broken: false,
        };
        fixture.network.rule(move |request| {
            if request.is_of(LEASES) {
                let fault = if request.verb.writes() {
                    lost.clone()
                } else {
                    Fault::None
                };
                return Some(late(2900, fault));
            }
            // To make all pods takes longer than the lease lasts.
            let slow = request.verb == Verb::Create && request.is_of(PODS);
            slow.then(|| late(2500, Fault::None))
        });
        fixture.create(|_| {});
        fixture.pass(60).await;
        let kind = fixture.info().kind;
        let made = |fixture: &Fixture, by: usize| {
            let inside = fixture.shared.lock();
            let by_it = inside.written.iter().filter(|w| w.who == Who::Operator(by));
            by_it
                .filter(|w| w.code == 201 && w.line.contains("create pods/"))
                .count()
        };
        assert!(made(&fixture, 1) > 0, "{kind}: it had begun");
        assert!(made(&fixture, 100) > 0, "{kind}: and another had to go on");
        runs(&fixture).await;
        fixture.is_right();
    }
}

/// Starts the process again whenever it ends, as a kubelet does.
async fn keep(fixture: &Fixture, number: usize, away: &AtomicBool, links: &Mutex<Vec<Link>>) {
    for n in 0.. {
        let mut process = fixture.another(number + 10 * n);
        process.link.cut_off(away.load(Ordering::SeqCst));
        links.lock().unwrap().push(process.link.clone());
        process.ended().await;
        drop(process);
        fixture.pass(2).await;
    }
}

/// The API server is away for minutes: all replicas end and stay down, or what happened while nobody led is lost (vol#1406,
/// hadron#71).
#[tokio::test(start_paused = true)]
async fn after_an_outage_one_leads_and_knows_what_has_happened() {
    for framework in kinds() {
        let options = FixtureOptions {
            elected: true,
            ..FixtureOptions::default()
        };
        let mut fixture = Fixture::new(framework, options, |m| replaced(framework.kind(), m));
        fixture.crash();
        let (away, links) = (AtomicBool::new(false), Mutex::new(Vec::new()));
        let cut = |cut_off: bool| {
            away.store(cut_off, Ordering::SeqCst);
            links
                .lock()
                .unwrap()
                .iter()
                .for_each(|link: &Link| link.cut_off(cut_off));
        };
        let scenario = async {
            runs(&fixture).await;
            let victim = last(&fixture);
            let before = uid(&fixture, &victim);
            cut(true);
            fixture.pass(20).await;
            to(&fixture, &victim, |store, key| fail(store, key, 137, None));
            fixture.pass(100).await;
            assert_eq!(uid(&fixture, &victim), before);
            let writes = fixture.shared.lock().written.len();
            cut(false);
            fixture.pass(120).await;
            runs(&fixture).await;
            assert_ne!(uid(&fixture, &victim), before, "{}", fixture.info().kind);
            assert_eq!(restarts(&fixture), (1, 0));
            let inside = fixture.shared.lock();
            let ours = inside.written[writes..].iter().filter(|w| !w.aside);
            let mut who: Vec<Who> = ours.map(|w| w.who).collect();
            who.dedup();
            assert_eq!(who.len(), 1, "{}: {who:?}", fixture.info().kind);
        };
        tokio::select! {
            () = scenario => {}
            () = keep(&fixture, 101, &away, &links) => {}
            () = keep(&fixture, 102, &away, &links) => {}
        }
        fixture.start();
        ends_well(fixture).await;
    }
}

/// One kind that is not installed, or may not be read, stops all others, also once it is there (trainer#1650, trainer#1929).
#[tokio::test(start_paused = true)]
async fn a_kind_that_may_not_be_read_stops_no_other() {
    let all = kinds();
    for (n, framework) in all.iter().enumerate() {
        let mut others = all.iter().cycle().skip(n + 1);
        let other = others
            .find(|other| other.kind().plural != framework.kind().plural)
            .unwrap();
        let plural = other.kind().plural;
        for code in [403, 404] {
            let mut fixture = Fixture::empty(*framework, FixtureOptions::default());
            fixture.crash();
            let denied = fixture.network.rule(move |request| {
                let hit = request.plural == plural && [Verb::List, Verb::Watch].contains(&request.verb);
                let refusal = if code == 403 {
                    forbidden(plural)
                } else {
                    Refusal::not_served()
                };
                hit.then(|| refused(refusal))
            });
            fixture.start();
            fixture.create(|_| {});
            let jobs = Resource::new(other.kind().group, plural);
            let mut manifest = common::testing::whole(*other, 1);
            metadata(&mut manifest).insert("name".to_owned(), json!("other"));
            fixture.shared.create(jobs, &manifest);
            fixture.runs().await;
            fixture.network.end(denied);
            let other = Key::new(jobs, NAMESPACE, "other");
            let runs = |job: &Value| value::is_true(job, "Running");
            when(&fixture, "the other runs too", |t| {
                t.shared.get(&other).is_some_and(|job| runs(&job))
            })
            .await;
            fixture.closes().await;
        }
    }
}

fn forbidden(plural: &str) -> Refusal {
    Refusal {
        code: 403,
        reason: "Forbidden",
        message: format!("{plural} is forbidden: the account cannot list it"),
        retry_after: None,
    }
}

/// PodGroups are not served, or not ours to make: everything stops, or a gang waits and nobody says why; nor does it go on
/// when the cause is gone (trainer#1650).
#[tokio::test(start_paused = true)]
async fn pod_groups_that_are_not_served_are_told_of_and_found_later() {
    for framework in kinds() {
        let (api, gang) = (PodGroupApi::Volcano, GangChoice::Fixed(Gang::Volcano));
        for served in [false, true] {
            let options = FixtureOptions {
                gang: gang.clone(),
                setup: Setup {
                    pod_groups: if served { vec![api] } else { Vec::new() },
                    ..Setup::default()
                },
                ..FixtureOptions::default()
            };
            let mut fixture = Fixture::empty(framework, options);
            fixture.crash();
            let denied = fixture.network.rule(move |request| {
                let hit = served && request.plural == "podgroups";
                hit.then(|| refused(forbidden("podgroups")))
            });
            fixture.start();
            fixture.create(|_| {});
            fixture.pass(300).await;
            let told = waits_for(&fixture);
            let words = if served { "forbidden" } else { "does not serve" };
            assert!(told.contains(words), "{}: {told}", fixture.info().kind);
            assert!(alive(&fixture).is_empty());
            fixture.network.end(denied);
            if !served {
                fixture
                    .shared
                    .lock()
                    .server
                    .store
                    .types
                    .push(Arc::new(pod_groups(api)));
            }
            ends_well(fixture).await;
        }
    }
}

/// A list or a watch: verb, plural, parameters.
type Asked = (Verb, String, Vec<(String, String)>);

/// Memory grows with all pods of the cluster (network-operator#3173, KAI-Scheduler#1845, spark-operator#3028): nothing is
/// listed or watched but what is ours, in pages, and what others do wakes nobody.
#[tokio::test(start_paused = true)]
async fn other_peoples_pods_are_never_asked_for() {
    for framework in kinds() {
        let mut fixture = Fixture::empty(framework, FixtureOptions::default());
        fixture.crash();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let seen = Arc::clone(&asked);
        fixture.network.rule(move |request| {
            if [Verb::List, Verb::Watch].contains(&request.verb) {
                seen.lock()
                    .unwrap()
                    .push((request.verb, request.plural.clone(), request.query.clone()));
            }
            None
        });
        fixture.start();
        fixture.create(|_| {});
        fixture.runs().await;
        fixture.relist(&[]);
        fixture.pass(60).await;
        for (verb, plural, query) in asked.lock().unwrap().iter() {
            let has = |key: &str| query.iter().any(|(k, value)| k == key && !value.is_empty());
            let whole = plural == "nodes" || FRAMEWORKS.iter().any(|f| f.kind().plural == plural);
            assert!(whole || has("labelSelector"), "{verb:?} {plural} {query:?}");
            assert!(*verb != Verb::List || has("limit"), "{verb:?} {plural} {query:?}");
        }
        let before = (fixture.clock.asked(), fixture.writes().len());
        for n in 0..200 {
            let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("foreign-{n}")},
                "spec": {"containers": [{"name": "c", "image": "i"}]}});
            fixture.shared.create(PODS, &pod);
        }
        fixture.pass(5).await;
        assert_eq!(
            (fixture.clock.asked(), fixture.writes().len()),
            before,
            "{}",
            framework.kind().kind
        );
        fixture.shared.store(|store| {
            for n in 0..200 {
                store.remove(Who::User, &Key::new(PODS, NAMESPACE, &format!("foreign-{n}")));
            }
        });
        ends_well(fixture).await;
    }
}

/// One odd object panics all (trainer#1285, mpi#298, jobset#1266): it costs nobody else anything.
#[tokio::test(start_paused = true)]
async fn a_poison_job_costs_nobody_else_anything() {
    for framework in kinds() {
        let info = framework.kind();
        let fixture = Fixture::empty(framework, FixtureOptions::default());
        let poisons = [
            json!({"spec": "no spec"}),
            json!({"spec": {info.replicas_field: []}, "status": []}),
            json!({"spec": {info.replicas_field: {"Worker": null}}, "status": {"conditions": "none", "slots": 7}}),
            json!({"spec": {"runPolicy": {"backoffLimit": -1, "activeDeadlineSeconds": i64::MAX}}, "status": {"startTime": "yesterday"}}),
            json!({}),
        ];
        for (n, poison) in poisons.iter().enumerate() {
            fixture.shared.store(|store| {
                let mut object = poison.clone();
                let (name, uid, time) = (format!("poison{n}"), store.uid(), store.time());
                object["apiVersion"] = json!(info.api_version());
                object["kind"] = json!(info.kind);
                object["metadata"] =
                    json!({"name": name, "namespace": NAMESPACE, "uid": uid, "creationTimestamp": time});
                store.put(Who::User, &Key::new(fixture.resource(), NAMESPACE, &name), object);
            });
        }
        fixture.create(|_| {});
        succeeds(&fixture).await;
        // Their status is refused as they are; that is tried once in a minute.
        let before = fixture.writes().len();
        fixture.pass(3600).await;
        let tries = fixture.writes().len() - before;
        assert!(tries <= 70 * poisons.len(), "{}: {tries}", info.kind);
        for n in 0..poisons.len() {
            fixture.delete(
                &Key::new(fixture.resource(), NAMESPACE, &format!("poison{n}")),
                None,
            );
        }
        fixture.closes().await;
    }
}
