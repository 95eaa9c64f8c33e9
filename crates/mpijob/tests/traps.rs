//! Symptoms that users of either upstream operator have reported or that their code shows, of MPIJobs alone; those that any
//! kind may have are told of all kinds by the operator's tests.

use common::api::ConditionType;
use common::conditions;
use common::gang::Gang;
use common::objects::{Child, Extra};
use common::plan::{Plan, Write};
use common::testing::{Scenario, World, manifest};
use mpijob::FRAMEWORK;
use serde_json::{Value, json};

/// Both meanings.
const TRANSPORTS: [&str; 2] = ["SSH", "Exec"];

fn scenario(transport: &str, roles: &[(&str, u32)], edit: impl FnOnce(&mut Value)) -> Scenario {
    Scenario::new(&FRAMEWORK, roles, |spec| {
        spec["launcherTransport"] = json!(transport);
        edit(spec);
    })
}

fn list<'a>(world: &'a World, name: &str) -> &'a str {
    let map = world.extras.values().find_map(|extra| match extra {
        Extra::ConfigMap(map) => map.data.as_ref(),
        _ => None,
    });
    &map.unwrap()[name]
}

fn extras(plan: &Plan) -> impl Iterator<Item = &Extra> {
    plan.writes.iter().filter_map(|write| match write {
        Write::Ensure(extra) => Some(extra),
        _ => None,
    })
}

/// Sorted as texts, worker 10 comes before worker 2, and ranks move when it joins.
#[test]
fn hosts_are_listed_by_number() {
    for transport in TRANSPORTS {
        let mut scenario = scenario(transport, &[("Launcher", 1), ("Worker", 12)], |_| {});
        scenario.when("applied", |_| {});
        scenario.when("all pods run", World::run_all);
        for name in ["hostfile", "discover_hosts.sh"] {
            let text = list(&scenario.world, name);
            let at = |n: u32| {
                text.find(&format!("j-worker-{n}"))
                    .unwrap_or_else(|| panic!("{n}: {text}"))
            };
            // Worker 1 is found in the name of worker 10 as well, but before it.
            let places: Vec<usize> = (0..12).map(at).collect();
            assert!(places.is_sorted(), "{transport} {name}: {text}");
        }
    }
}

/// The account was made if it was missing, and deleted with the job.
#[test]
fn v1_a_service_account_that_the_user_names_is_the_users() {
    let scenario = scenario("Exec", &[("Launcher", 1), ("Worker", 2)], |spec| {
        spec["mpiReplicaSpecs"]["Launcher"]["template"]["spec"]["serviceAccountName"] = json!("theirs");
    });
    let plan = scenario.world.plan(&FRAMEWORK);
    assert!(!extras(&plan).any(|extra| matches!(extra, Extra::ServiceAccount(_))));
    let subject = extras(&plan).find_map(|extra| match extra {
        Extra::RoleBinding(binding) => Some(binding.subjects.as_ref()?[0].name.clone()),
        _ => None,
    });
    assert_eq!(subject.as_deref(), Some("theirs"), "it is the one that may exec");
}

/// One version refused it, the other took it for none, and both say that the default is one.
#[test]
fn workers_without_a_number_are_one() {
    for transport in TRANSPORTS {
        let mut scenario = scenario(transport, &[("Launcher", 1), ("Worker", 1)], |spec| {
            spec["mpiReplicaSpecs"]["Worker"]
                .as_object_mut()
                .unwrap()
                .remove("replicas");
        });
        scenario.when("applied", |_| {});
        let workers = scenario
            .world
            .pods
            .iter()
            .filter(|pod| pod.name.contains("worker"));
        assert_eq!(workers.count(), 1, "{transport}: {}", scenario.transcript);
    }
}

/// mpi-operator#738: the domain of the cluster was told, and used in one of two places.
#[test]
fn the_search_domain_is_the_clusters() {
    for domain in [None, Some("corp.example")] {
        let mut world = scenario("SSH", &[("Launcher", 1), ("Worker", 1)], |_| {}).world;
        world.settings.cluster_domain = domain.map(str::to_owned);
        let plan = world.plan(&FRAMEWORK);
        let pod = plan.writes.iter().find_map(|write| match write {
            Write::CreatePod { pod, .. } => pod.spec.as_ref()?.dns_config.as_ref(),
            _ => None,
        });
        let wanted = format!("j.ns1.svc.{}", domain.unwrap_or("cluster.local"));
        assert_eq!(pod.unwrap().searches.as_deref(), Some(&[wanted][..]));
        world.apply(&plan);
        let host = domain.map_or("j-worker-0.j.ns1.svc ".to_owned(), |d| {
            format!("j-worker-0.j.ns1.svc.{d} ")
        });
        assert!(
            list(&world, "hostfile").starts_with(&host),
            "{}",
            list(&world, "hostfile")
        );
    }
}

/// Any word was taken for the one that makes the launcher wait.
#[test]
fn a_creation_policy_that_nobody_knows_is_told_of() {
    for transport in TRANSPORTS {
        let mut scenario = scenario(transport, &[("Launcher", 1), ("Worker", 2)], |spec| {
            spec["launcherCreationPolicy"] = json!("Later");
        });
        scenario.when("applied", |_| {});
        assert!(
            scenario
                .transcript
                .contains("spec.launcherCreationPolicy: unknown variant `Later`"),
            "{}",
            scenario.transcript
        );
        assert!(scenario.world.created.is_empty());
    }
}

/// None of none is ready: a launcher that computes alone waits for nobody.
#[test]
fn a_launcher_without_workers_waits_for_none() {
    for roles in [&[("Launcher", 1)][..], &[("Launcher", 1), ("Worker", 0)]] {
        let mut scenario = scenario("SSH", roles, |spec| {
            spec["launcherCreationPolicy"] = json!("WaitForWorkersReady");
            spec["runPolicy"]["suspend"] = json!(true);
        });
        scenario.when("applied, suspended", |_| {});
        assert!(scenario.world.batch_jobs.is_empty());
        scenario.when("resumed", |w| w.edit("/runPolicy/suspend", json!(false)));
        scenario.when("the launcher runs", World::run_all);
        let now = scenario.world.status();
        assert!(
            conditions::is_true(&now, ConditionType::Running),
            "{}",
            scenario.transcript
        );
    }
}

/// The one launcher was counted as often as pods were missing to the gang.
#[test]
fn a_launcher_of_lower_priority_is_counted_once() {
    let mut job = manifest(&FRAMEWORK, "j", &[("Launcher", 1), ("Worker", 3)]);
    job["spec"]["launcherTransport"] = json!("SSH");
    job["spec"]["runPolicy"]["schedulingPolicy"] = json!({"minAvailable": 4});
    for (role, class, cpu) in [("Launcher", "low", "1"), ("Worker", "high", "10")] {
        let spec = &mut job["spec"]["mpiReplicaSpecs"][role]["template"]["spec"];
        spec["priorityClassName"] = json!(class);
        spec["containers"][0]["resources"] = json!({"requests": {"cpu": cpu}});
    }
    for (least, cpu) in [(4, "31"), (3, "30"), (2, "20")] {
        job["spec"]["runPolicy"]["schedulingPolicy"] = json!({"minAvailable": least});
        let mut world = World::new(&FRAMEWORK, &job);
        world.settings.gang = Gang::Volcano;
        world.priorities = [("low".to_owned(), 1), ("high".to_owned(), 2)].into();
        let plan = world.plan(&FRAMEWORK);
        let spec = plan.writes.iter().find_map(|write| match write {
            Write::CreateChild(Child::PodGroup(group)) => Some(group.spec.clone()),
            _ => None,
        });
        assert_eq!(spec.unwrap()["minResources"], json!({"cpu": cpu}), "{least}");
    }
}

/// mpi-operator#651: the launcher is not retried under Never.
#[test]
fn a_launcher_under_never_is_tried_again_within_the_limit() {
    let mut scenario = scenario("SSH", &[("Launcher", 1), ("Worker", 2)], |spec| {
        spec["runPolicy"]["backoffLimit"] = json!(1);
        spec["mpiReplicaSpecs"]["Launcher"]["restartPolicy"] = json!("Never");
    });
    scenario.when("applied", |_| {});
    scenario.when("all pods run", World::run_all);
    scenario.when("mpirun exits 1", |w| {
        w.end("j-launcher", "main", 1, "Error", None);
    });
    scenario.when("its batch Job tries again", World::run_all);
    assert!(
        conditions::is_true(&scenario.world.status(), ConditionType::Running),
        "{}",
        scenario.transcript
    );
    scenario.when("mpirun exits 1 again", |w| {
        w.end("j-launcher", "main", 1, "Error", None);
    });
    assert!(
        conditions::is_true(&scenario.world.status(), ConditionType::Failed),
        "{}",
        scenario.transcript
    );
}

/// mpi-operator#810: a second launcher beside one that is still on its way out does the work twice.
#[test]
fn the_launchers_next_pod_waits_until_the_last_one_has_ended() {
    let world = scenario("SSH", &[("Launcher", 1), ("Worker", 1)], |_| {}).world;
    let plan = world.plan(&FRAMEWORK);
    let policy = plan.writes.iter().find_map(|write| match write {
        Write::CreateBatchJob { job, .. } => job.spec.as_ref()?.pod_replacement_policy.clone(),
        _ => None,
    });
    assert_eq!(policy.as_deref(), Some("Failed"));
}
