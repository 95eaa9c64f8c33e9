//! What becomes of an MPIJob, scenario by scenario; each is named after what a user would see. The snapshots beside this file are
//! meant to be read.

use common::api::ConditionType;
use common::conditions;
use common::objects::Extra;
use common::observe::{ContainerState, ContainerView, PodDetail};
use common::plan::Write;
use common::testing::{Scenario, World};
use mpijob::FRAMEWORK;
use serde_json::{Value, json};

const ROLES: &[(&str, u32)] = &[("Launcher", 1), ("Worker", 2)];

fn ssh(edit: impl FnOnce(&mut Value)) -> Scenario {
    Scenario::started(&FRAMEWORK, ROLES, |spec| {
        spec["launcherTransport"] = json!("SSH");
        edit(spec);
    })
}

fn exec(edit: impl FnOnce(&mut Value)) -> Scenario {
    Scenario::started(&FRAMEWORK, ROLES, |spec| {
        spec["launcherTransport"] = json!("Exec");
        edit(spec);
    })
}

fn is(scenario: &Scenario, condition: ConditionType) -> bool {
    conditions::is_true(&scenario.world.status(), condition)
}

/// The container of a pod restarts in place and is down for now.
fn crash(world: &mut World, name: &str) {
    let pod = world.pod(name);
    pod.restarts += 1;
    pod.detail = Some(Box::new(PodDetail {
        containers: vec![ContainerView {
            name: "main".into(),
            init: false,
            state: ContainerState::Waiting {
                reason: "CrashLoopBackOff".into(),
                message: None,
            },
        }],
        ..PodDetail::default()
    }));
}

#[test]
fn the_launcher_succeeds_and_so_does_the_job() {
    let mut scenario = ssh(|spec| spec["runPolicy"]["cleanPodPolicy"] = json!("Running"));
    scenario.when("mpirun exits 0", |w| {
        w.end("j-launcher", "main", 0, "Completed", None)
    });
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn without_a_policy_the_workers_stay() {
    let mut scenario = ssh(|_| {});
    scenario.when("mpirun exits 0", |w| {
        w.end("j-launcher", "main", 0, "Completed", None)
    });
    assert_eq!(scenario.world.pods.len(), 2);
    assert_eq!(
        scenario.world.status().replica_statuses["Worker"].active,
        2,
        "and they run"
    );
}

#[test]
fn a_worker_dies_and_the_launcher_begins_anew_when_it_is_back() {
    let mut scenario = ssh(|spec| spec["runPolicy"]["backoffLimit"] = json!(3));
    scenario.when("worker 1 is killed", |w| {
        w.end("j-worker-1", "main", 137, "Error", None)
    });
    scenario.when("mpirun fails and the kubelet restarts it", |w| {
        crash(w, "j-launcher")
    });
    scenario.when("the old pods are gone", World::reap);
    scenario.when("worker 1 runs again", |w| w.run(&["j-worker-1"]));
    scenario.when("the launcher runs", World::run_all);
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn an_elastic_launcher_outlives_its_workers() {
    let mut scenario = ssh(|_| {});
    scenario.when("worker 1 is killed", |w| {
        w.end("j-worker-1", "main", 137, "Error", None)
    });
    scenario.when("it runs again", World::run_all);
    let launchers = scenario
        .world
        .created
        .iter()
        .filter(|(name, _)| name == "j-launcher");
    assert_eq!(launchers.count(), 1);
    assert!(is(&scenario, ConditionType::Running));
}

#[test]
fn a_launcher_that_fails_by_itself_is_its_batch_jobs_to_retry() {
    let mut scenario = ssh(|spec| spec["runPolicy"]["backoffLimit"] = json!(2));
    for _ in 0..3 {
        scenario.when("mpirun exits 1", |w| {
            w.end("j-launcher", "main", 1, "Error", Some("no such file"))
        });
    }
    assert_eq!(
        scenario
            .world
            .created
            .iter()
            .filter(|(name, _)| name == "j-launcher")
            .count(),
        1
    );
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn a_worker_that_dies_again_and_again_ends_the_job() {
    let mut scenario = ssh(|spec| spec["runPolicy"]["backoffLimit"] = json!(2));
    for _ in 0..3 {
        scenario.when("worker 0 is killed", |w| {
            w.end("j-worker-0", "main", 1, "Error", None)
        });
        scenario.when("time passes", |w| w.pass_time(600));
        scenario.when("it runs again", World::run_all);
    }
    assert!(is(&scenario, ConditionType::Failed));
    assert!(
        scenario.world.batch_jobs.iter().all(|job| job.deleting),
        "the launcher is stopped"
    );
    let status = scenario.world.status();
    assert!(status.completion_time.is_some());
    assert_eq!(status.restart_counts.unwrap().failures, 2);
}

#[test]
fn an_evicted_worker_is_replaced_and_the_job_does_not_fail() {
    let mut scenario = ssh(|spec| spec["runPolicy"]["backoffLimit"] = json!(0));
    scenario.when("worker 0 is evicted", |w| {
        w.evict("j-worker-0", Some("TerminationByKubelet"))
    });
    scenario.when("it runs again", World::run_all);
    assert!(is(&scenario, ConditionType::Running) && !is(&scenario, ConditionType::Failed));
    assert_eq!(scenario.world.status().restart_counts.unwrap().disruptions, 1);
}

#[test]
fn a_launcher_whose_workers_are_slow_spends_no_attempt_on_them() {
    let mut scenario = Scenario::new(&FRAMEWORK, ROLES, |spec| {
        spec["launcherTransport"] = json!("SSH");
        spec["runPolicy"]["backoffLimit"] = json!(1);
    });
    scenario.when("applied", |_| {});
    scenario.when("the launcher runs before the workers and fails", |w| {
        w.run(&["j-launcher"]);
        w.end("j-launcher", "main", 255, "Error", None);
    });
    scenario.when("it is gone", World::reap);
    scenario.when("the workers run", |w| w.run(&["j-worker-0", "j-worker-1"]));
    assert_eq!(scenario.world.status().restart_counts.unwrap().failures, 0);
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn waits_for_workers_ready_also_after_a_suspension() {
    let mut scenario = Scenario::new(&FRAMEWORK, ROLES, |spec| {
        spec["launcherTransport"] = json!("SSH");
        spec["launcherCreationPolicy"] = json!("WaitForWorkersReady");
        spec["runPolicy"]["suspend"] = json!(true);
    });
    scenario.when("applied, suspended", |_| {});
    scenario.when("resumed", |w| w.edit("/runPolicy/suspend", json!(false)));
    scenario.when("one worker is ready", |w| w.run(&["j-worker-0"]));
    assert!(scenario.world.batch_jobs.is_empty(), "0 of 0 ready is not ready");
    scenario.when("both are", |w| w.run(&["j-worker-1"]));
    scenario.when("suspended", |w| w.edit("/runPolicy/suspend", json!(true)));
    scenario.when("all is gone", World::reap);
    scenario.when("resumed", |w| w.edit("/runPolicy/suspend", json!(false)));
    assert!(scenario.world.batch_jobs.is_empty());
    scenario.when("all workers are ready", World::run_all);
    insta::assert_snapshot!(scenario.transcript);
}

fn hostfile(scenario: &Scenario) -> String {
    let map = scenario
        .world
        .extras
        .iter()
        .find_map(|((_, name), extra)| match extra {
            Extra::ConfigMap(map) if name == "j-config" => Some(map),
            _ => None,
        });
    map.unwrap().data.as_ref().unwrap()["hostfile"].clone()
}

#[test]
fn scaled_up_and_down_the_lists_follow_and_the_launcher_stays() {
    let mut scenario = ssh(|spec| spec["runLauncherAsWorker"] = json!(true));
    for count in [3_usize, 1] {
        scenario.when("scaled", |w| {
            w.edit("/mpiReplicaSpecs/Worker/replicas", json!(count))
        });
        scenario.when("gone and run", |w| {
            w.reap();
            w.run_all();
        });
        assert_eq!(hostfile(&scenario).lines().count(), count + 1);
        assert_eq!(scenario.world.pods.len(), count);
    }
    assert_eq!(
        scenario
            .world
            .created
            .iter()
            .filter(|(name, _)| name == "j-worker-0")
            .count(),
        1
    );
    assert_eq!(
        scenario
            .world
            .created
            .iter()
            .filter(|(name, _)| name == "j-launcher")
            .count(),
        1
    );
}

#[test]
fn clean_up_all_takes_the_launcher_too() {
    let mut scenario = ssh(|spec| spec["runPolicy"]["cleanPodPolicy"] = json!("All"));
    scenario.when("mpirun exits 0", |w| {
        w.end("j-launcher", "main", 0, "Completed", None)
    });
    scenario.when("all is gone", World::reap);
    assert!(scenario.world.pods.is_empty() && scenario.world.batch_jobs.is_empty());
}

#[test]
fn a_launcher_that_somebody_deletes_comes_back_after_its_pod_is_gone() {
    let mut scenario = ssh(|_| {});
    scenario.when("the batch Job is deleted", |w| w.vanish("j-launcher"));
    assert!(
        scenario.world.batch_jobs.is_empty(),
        "two launchers must never run at a time"
    );
    scenario.when("its pod is gone", World::reap);
    assert_eq!(scenario.world.batch_jobs.len(), 1);
    assert_eq!(scenario.world.status().restart_counts.unwrap().disruptions, 1);
}

#[test]
fn v1_a_failed_worker_fails_the_job() {
    let mut scenario = exec(|_| {});
    scenario.when("worker 1 exits 1", |w| {
        w.end("j-worker-1", "main", 1, "Error", None)
    });
    insta::assert_snapshot!(scenario.transcript);
}

/// Upstream hung in Restarting for ever.
#[test]
fn v1_exit_code_restarts_the_worker_and_then_the_launcher() {
    let mut scenario = exec(|spec| {
        for role in ["Launcher", "Worker"] {
            spec["mpiReplicaSpecs"][role]["restartPolicy"] = json!("ExitCode");
        }
    });
    scenario.when("worker 1 is killed and mpirun fails", |w| {
        w.end("j-worker-1", "main", 137, "Error", None);
        w.end("j-launcher", "main", 143, "Error", None);
    });
    assert!(is(&scenario, ConditionType::Restarting));
    assert_eq!(scenario.world.pods.len(), 2, "the launcher waits");
    scenario.when("worker 1 runs again", |w| w.run(&["j-worker-1"]));
    scenario.when("the launcher runs", World::run_all);
    assert!(is(&scenario, ConditionType::Running));
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn v1_reads_the_clean_up_policy_in_its_old_place() {
    let mut scenario = exec(|spec| spec["cleanPodPolicy"] = json!("All"));
    scenario.when("mpirun exits 0", |w| {
        w.end("j-launcher", "main", 0, "Completed", None)
    });
    scenario.when("all is gone", World::reap);
    assert!(scenario.world.pods.is_empty());
}

#[test]
fn what_a_job_means_is_settled_at_first_sight_before_anything_is_made() {
    for (stamp, dialect) in [("SSH", "v2beta1"), ("Exec", "v1")] {
        let mut scenario = Scenario::new(&FRAMEWORK, ROLES, |spec| spec["launcherTransport"] = json!(stamp));
        let plan = scenario.world.plan(&FRAMEWORK);
        assert_eq!(plan.intent.as_ref().unwrap().dialect.as_deref(), Some(dialect));
        assert!(!plan.writes.is_empty());
        scenario.when("applied", |_| {});
        let other = if stamp == "SSH" { "Exec" } else { "SSH" };
        let plans = scenario.transcript.clone();
        scenario.when("a full update flips the stamp", |w| {
            w.edit("/launcherTransport", json!(other))
        });
        assert_eq!(scenario.world.status().dialect.as_deref(), Some(dialect));
        let after = scenario.transcript.strip_prefix(&plans).unwrap();
        assert!(
            !after.contains("\ncreate ") && !after.contains("\ndelete "),
            "{after}"
        );
    }
}

/// A Role without names would be one for all pods.
#[test]
fn v1_without_workers_grants_nothing() {
    let scenario = Scenario::new(&FRAMEWORK, &[("Launcher", 1)], |spec| {
        spec["launcherTransport"] = json!("Exec")
    });
    let plan = scenario.world.plan(&FRAMEWORK);
    let role = plan.writes.iter().find_map(|write| match write {
        Write::Ensure(Extra::Role(role)) => Some(role),
        _ => None,
    });
    assert!(role.unwrap().rules.is_none());
}

#[test]
fn names_that_go_into_scripts_are_checked() {
    for (field, value, message) in [
        (
            "mainContainer",
            json!("a;reboot"),
            "spec.mainContainer: must be the name of a container",
        ),
        (
            "mainContainer",
            json!("$(id)"),
            "spec.mainContainer: must be the name of a container",
        ),
    ] {
        let mut scenario = Scenario::new(&FRAMEWORK, ROLES, |spec| {
            spec["launcherTransport"] = json!("Exec");
            spec[field] = value;
        });
        scenario.when("applied", |_| {});
        assert!(
            is(&scenario, ConditionType::Failed) && scenario.transcript.contains(message),
            "{}",
            scenario.transcript
        );
        assert!(scenario.world.pods.is_empty() && scenario.world.extras.is_empty());
    }
}

#[test]
fn bad_input_is_named_by_field() {
    let refused = |spec: Value| {
        let mut scenario = Scenario::new(&FRAMEWORK, ROLES, |old| {
            old["launcherTransport"] = json!("SSH");
            for (field, value) in spec.as_object().unwrap() {
                old[field] = value.clone();
            }
        });
        scenario.when("applied", |_| {});
        let failed = scenario.world.status();
        let message = conditions::condition(&failed, ConditionType::Failed)
            .unwrap()
            .message
            .clone()
            .unwrap();
        assert!(scenario.world.created.is_empty());
        message
            .strip_prefix("MPIJob ns1/j is not valid: ")
            .unwrap()
            .to_owned()
    };
    let roles = |edit: fn(&mut Value)| {
        let template = json!({"spec": {"containers": [{"name": "m", "image": "i"}]}});
        let mut roles =
            json!({"Launcher": {"template": template}, "Worker": {"replicas": 2, "template": template}});
        edit(&mut roles);
        json!({"mpiReplicaSpecs": roles})
    };
    assert_eq!(
        refused(json!({"slotsPerWorker": -1})),
        "spec.slotsPerWorker: must not be negative"
    );
    assert_eq!(
        refused(json!({"sshAuthMountPath": ""})),
        "spec.sshAuthMountPath: must not be empty"
    );
    assert!(
        refused(json!({"mpiImplementation": "LAM"}))
            .starts_with("spec.mpiImplementation: unknown variant `LAM`")
    );
    assert_eq!(
        refused(roles(|roles| drop(
            roles.as_object_mut().unwrap().remove("Launcher")
        ))),
        "spec.mpiReplicaSpecs[Launcher]: must be specified"
    );
    assert_eq!(
        refused(roles(|roles| roles["Launcher"]["replicas"] = json!(2))),
        "spec.mpiReplicaSpecs[Launcher].replicas: must be 1"
    );
    assert_eq!(
        refused(roles(|roles| roles["Worker"]["restartPolicy"] = json!("ExitCode"))),
        "spec.mpiReplicaSpecs[Worker].restartPolicy: must be Never or OnFailure in an MPIJob of v2beta1"
    );
}

/// The limit is spent, and yet it is the worker's fault that the launcher fails.
#[test]
fn a_launcher_that_gives_up_because_of_a_worker_begins_anew() {
    let mut scenario = ssh(|spec| spec["runPolicy"]["backoffLimit"] = json!(1));
    scenario.when("worker 1 is killed", |w| {
        w.end("j-worker-1", "main", 137, "Error", None)
    });
    scenario.when("mpirun fails, and its batch Job may not try again", |w| {
        crash(w, "j-launcher");
        gives_up(w);
    });
    assert!(!is(&scenario, ConditionType::Failed), "{}", scenario.transcript);
    scenario.when("all is gone", World::reap);
    scenario.when("worker 1 runs", |w| w.run(&["j-worker-1"]));
    scenario.when("the launcher runs", World::run_all);
    assert!(is(&scenario, ConditionType::Running));
    assert_eq!(scenario.world.status().restart_counts.unwrap().failures, 1);
    scenario.when("mpirun fails with all workers there", |w| {
        w.end("j-launcher", "main", 1, "Error", None)
    });
    assert!(is(&scenario, ConditionType::Failed), "{}", scenario.transcript);
}

#[test]
fn a_launcher_quicker_than_its_workers_is_forgiven_even_without_any_retry() {
    let mut scenario = Scenario::new(&FRAMEWORK, ROLES, |spec| {
        spec["launcherTransport"] = json!("SSH");
        spec["runPolicy"]["backoffLimit"] = json!(0);
    });
    scenario.when("applied", |_| {});
    scenario.when("the launcher fails", |w| {
        w.end("j-launcher", "main", 255, "Error", None)
    });
    scenario.when("it is gone", World::reap);
    scenario.when("the workers run", World::run_all);
    scenario.when("the launcher runs", World::run_all);
    assert!(is(&scenario, ConditionType::Running), "{}", scenario.transcript);
}

/// Under OnFailure the pod is restarted in place and not Failed when its batch Job gives up.
#[test]
fn a_launcher_that_was_restarted_in_place_names_how_it_had_ended() {
    let mut scenario = ssh(|spec| spec["runPolicy"]["backoffLimit"] = json!(1));
    scenario.when("mpirun ran out of memory, and is not tried again", |w| {
        crash(w, "j-launcher");
        let detail = w.pod("j-launcher").detail.as_mut().unwrap();
        detail.earlier = vec![ContainerView {
            name: "main".into(),
            init: false,
            state: ContainerState::Terminated {
                exit_code: 137,
                reason: Some("OOMKilled".into()),
                message: Some("allocating 9 GiB".into()),
                finished_at: None,
            },
        }];
        gives_up(w);
    });
    let status = scenario.world.status();
    let failed = conditions::condition(&status, ConditionType::Failed).unwrap();
    assert_eq!(failed.reason.as_deref(), Some("BackoffLimitExceeded/OOMKilled"));
    let message = failed.message.as_deref().unwrap();
    assert!(
        message.contains("container main exited with code 137 (OOMKilled)"),
        "{message}"
    );
    assert!(message.ends_with("allocating 9 GiB"), "{message}");
}

/// Another's pod may have the name of a worker.
#[test]
fn v1_grants_rights_only_to_workers_that_are_there() {
    let rules = |scenario: &Scenario| {
        scenario.world.extras.values().find_map(|extra| match extra {
            Extra::Role(role) => Some(role.rules.clone()),
            _ => None,
        })
    };
    let mut scenario = Scenario::new(&FRAMEWORK, ROLES, |spec| {
        spec["launcherTransport"] = json!("Exec")
    });
    let plan = scenario.world.plan(&FRAMEWORK);
    scenario.world.apply_until(&plan, 4);
    assert_eq!(rules(&scenario), Some(None), "before its pods are made");
    scenario.when("applied", |_| {});
    let granted = rules(&scenario).unwrap().unwrap();
    assert_eq!(
        granted[1].resource_names.as_deref().unwrap(),
        ["j-worker-0", "j-worker-1"]
    );
}

/// Host lists say where workers are.
#[test]
fn a_host_name_of_the_users_own_would_lead_nowhere() {
    let scenario = ssh(|spec| {
        spec["mpiReplicaSpecs"]["Worker"]["template"]["spec"]["hostname"] = json!("mine");
        spec["mpiReplicaSpecs"]["Worker"]["template"]["spec"]["subdomain"] = json!("other");
    });
    let fresh = World::new(
        &FRAMEWORK,
        &json!({
            "metadata": {"name": "j", "namespace": "ns1"}, "spec": scenario.world.job.as_ref().unwrap().spec,
        }),
    );
    let plan = fresh.plan(&FRAMEWORK);
    let pod = plan.writes.iter().find_map(|write| match write {
        Write::CreatePod { pod, .. } => pod.spec.as_ref(),
        _ => None,
    });
    let spec = pod.unwrap();
    assert_eq!(
        (spec.hostname.as_deref(), spec.subdomain.as_deref()),
        (Some("j-worker-0"), Some("j"))
    );
}

/// Launcher and workers each on a node of its own: worker 0 on node-1, worker 1 on node-2, the launcher on node-3.
fn on_three_nodes(transport: &str, edit: impl FnOnce(&mut Value)) -> Scenario {
    let mut scenario = Scenario::new(&FRAMEWORK, ROLES, |spec| {
        spec["launcherTransport"] = json!(transport);
        edit(spec);
    });
    scenario.when("applied", |_| {});
    scenario.when("all pods run", World::run_all);
    let nodes = [
        ("j-worker-0", "node-1"),
        ("j-worker-1", "node-2"),
        ("j-launcher", "node-3"),
    ];
    for (pod, node) in nodes {
        scenario.world.pod(pod).node = Some(node.into());
    }
    scenario.transcript.clear();
    scenario
}

#[test]
fn a_launcher_on_a_lost_node_begins_anew_after_the_limit() {
    let mut scenario = on_three_nodes("SSH", |spec| spec["runPolicy"]["backoffLimit"] = json!(0));
    scenario.when("its node falls silent", |w| w.lose_node("node-3"));
    scenario.when("the limit is reached", |w| w.pass_time(300));
    scenario.when("the next one runs", World::run_all);
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn a_batch_job_that_goes_does_not_wait_for_a_pod_on_a_lost_node_for_ever() {
    let mut scenario = on_three_nodes("SSH", |_| {});
    scenario.when("the launcher's node falls silent", |w| w.lose_node("node-3"));
    scenario.when("suspended", |w| w.edit("/runPolicy", json!({"suspend": true})));
    scenario.when("what can go is gone", World::reap);
    assert_eq!(scenario.world.batch_jobs.len(), 1);
    assert_eq!(scenario.world.status().replica_statuses["Launcher"].active, 1);
    scenario.when("the limit is reached", |w| w.pass_time(300));
    assert!(scenario.world.batch_jobs.is_empty() && scenario.world.batch_pods.is_empty());
    assert_eq!(scenario.world.status().replica_statuses["Launcher"].active, 0);
}

#[test]
fn a_worker_on_a_lost_node_is_replaced_and_then_the_launcher_begins_anew() {
    let mut scenario = on_three_nodes("SSH", |spec| spec["runPolicy"]["backoffLimit"] = json!(1));
    scenario.when("worker 1's node falls silent", |w| w.lose_node("node-2"));
    scenario.when("mpirun fails and the kubelet restarts it", |w| {
        crash(w, "j-launcher")
    });
    scenario.when("the limit is reached", |w| {
        w.reap();
        w.pass_time(300);
    });
    scenario.when("the old launcher is gone", World::reap);
    scenario.when("worker 1 runs elsewhere", |w| w.run(&["j-worker-1"]));
    scenario.when("the launcher runs", World::run_all);
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn v1_a_launcher_on_a_lost_node_begins_anew_after_the_limit() {
    let mut scenario = on_three_nodes("Exec", |_| {});
    scenario.when("its node falls silent", |w| w.lose_node("node-3"));
    scenario.when("the limit is reached", |w| w.pass_time(300));
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn a_launcher_that_is_taken_away_is_not_held_against_the_job() {
    let mut scenario = on_three_nodes("SSH", |spec| spec["runPolicy"]["backoffLimit"] = json!(0));
    scenario.when("the launcher is drained", |w| {
        w.disrupt("j-launcher", "EvictionByEvictionAPI")
    });
    scenario.when("it is gone", World::reap);
    scenario.when("the next one runs", World::run_all);
    scenario.when("it is evicted, and its batch Job gives up", |w| {
        w.evict("j-launcher", Some("TerminationByKubelet"))
    });
    scenario.when("it is gone", World::reap);
    scenario.when("time passes", |w| w.pass_time(300));
    scenario.when("the next one runs", World::run_all);
    assert!(is(&scenario, ConditionType::Running));
    let counts = scenario.world.status().restart_counts.unwrap();
    assert_eq!((counts.failures, counts.in_place, counts.disruptions), (0, 0, 2));
    scenario.when("its own failure", |w| {
        w.end("j-launcher", "main", 1, "Error", None)
    });
    assert!(is(&scenario, ConditionType::Failed));
}

#[test]
fn disruptions_of_a_launcher_count_if_the_flag_says_so() {
    let mut scenario = on_three_nodes("SSH", |spec| spec["runPolicy"]["backoffLimit"] = json!(3));
    scenario.world.settings.count_disruptions = true;
    scenario.when("the launcher is drained", |w| {
        w.disrupt("j-launcher", "EvictionByEvictionAPI")
    });
    scenario.when("it is gone", World::reap);
    let plan = scenario.world.plan(&FRAMEWORK);
    assert!(
        plan.writes
            .iter()
            .all(|w| !matches!(w, Write::CreateBatchJob { .. }))
    );
    scenario.when("the next one is drained", |w| {
        w.run_all();
        w.disrupt("j-launcher", "EvictionByEvictionAPI");
    });
    scenario.world.reap();
    scenario.world.pass_time(300);
    let plan = scenario.world.plan(&FRAMEWORK);
    let limit = plan.writes.iter().find_map(|w| match w {
        Write::CreateBatchJob { job, .. } => job.spec.as_ref()?.backoff_limit,
        _ => None,
    });
    assert_eq!(limit, Some(1), "what two of three left");
}

fn gives_up(world: &mut World) {
    let message = "Job has reached the specified backoff limit";
    world.end_batch_job("j-launcher", false, "BackoffLimitExceeded", message);
}

fn launchers(scenario: &Scenario) -> usize {
    let made = scenario.world.created.iter();
    made.filter(|(name, _)| name == "j-launcher").count()
}

/// A batch Job has no retries where all begin anew together: the job has.
#[test]
fn a_launcher_that_is_never_restarted_by_itself_is_with_all() {
    let mut scenario = ssh(|spec| {
        spec["runPolicy"] = json!({"restartScope": "Job", "backoffLimit": 3});
        spec["mpiReplicaSpecs"]["Launcher"]["restartPolicy"] = json!("Never");
    });
    scenario.when("mpirun fails", |w| {
        w.end("j-launcher", "main", 1, "Error", None);
        gives_up(w);
    });
    assert!(!is(&scenario, ConditionType::Failed), "{}", scenario.transcript);
    assert_eq!(scenario.world.status().whole_restarts.unwrap().count, 1);
}

/// A worker is missing, and so is a container of the launcher: is that mpirun's failure?
#[test]
fn a_launcher_is_begun_anew_for_its_own_failures_only() {
    let ended = |exit_code| ContainerState::Terminated {
        exit_code,
        reason: None,
        message: None,
        finished_at: None,
    };
    let waits = || ContainerState::Waiting {
        reason: "ContainerCreating".into(),
        message: None,
    };
    for (state, anew) in [(ended(0), false), (ended(1), true), (waits(), false)] {
        let mut scenario = ssh(|_| {});
        scenario.when("a worker is killed", |w| {
            w.end("j-worker-1", "main", 137, "Error", None);
            w.pod("j-launcher").detail = Some(Box::new(PodDetail {
                containers: vec![ContainerView {
                    name: "main".into(),
                    init: false,
                    state: state.clone(),
                }],
                ..PodDetail::default()
            }));
        });
        scenario.when("what goes is gone", World::reap);
        scenario.when("all run", World::run_all);
        assert_eq!(
            launchers(&scenario) == 2,
            anew,
            "{state:?} {}",
            scenario.transcript
        );
    }
}

#[test]
fn a_launcher_that_fails_in_vain_is_named_if_nobody_else_failed() {
    let mut scenario = Scenario::new(&FRAMEWORK, ROLES, |spec| {
        spec["launcherTransport"] = json!("SSH");
    });
    scenario.when("applied", |_| {});
    scenario.when("the launcher fails before the workers run", |w| {
        w.end("j-launcher", "main", 255, "Error", None);
        gives_up(w);
    });
    let status = scenario.world.status();
    let restarting = conditions::condition(&status, ConditionType::Restarting).unwrap();
    let message = restarting.message.as_deref().unwrap();
    assert!(message.contains("1 Launcher replica(s) failed"), "{message}");
}

#[test]
fn a_launcher_that_its_batch_job_has_left_behind_still_lives_while_it_goes() {
    let mut scenario = ssh(|spec| spec["runPolicy"] = json!({"suspend": false}));
    scenario.when("suspended", |w| w.edit("/runPolicy/suspend", json!(true)));
    scenario.when("its batch Job is gone before its pod", |w| {
        w.batch_jobs.clear();
        w.pods.clear();
    });
    let active = |role: &str| scenario.world.status().replica_statuses[role].active;
    assert_eq!(scenario.world.batch_pods.len(), 1, "{}", scenario.transcript);
    assert_eq!(
        (active("Launcher"), active("Worker")),
        (1, 0),
        "{}",
        scenario.transcript
    );
}

/// Its controller gets its say first: only a pod that would hold the batch Job up for ever is taken away by force.
#[test]
fn a_launcher_on_a_lost_node_is_left_to_its_batch_job_first() {
    let mut scenario = on_three_nodes("SSH", |spec| spec["runPolicy"] = json!({"suspend": false}));
    scenario.world.lose_node("node-3");
    scenario.world.pass_time(400);
    let pod = scenario.world.pod("j-launcher").uid.clone();
    for suspend in [false, true] {
        scenario.world.edit("/runPolicy/suspend", json!(suspend));
        let writes = scenario.world.plan(&FRAMEWORK).writes;
        let of_pod = |write: &Write| matches!(write, Write::DeletePod { uid, .. } if *uid == pod);
        assert!(!writes.iter().any(of_pod), "{writes:?}");
        let of_job = |write: &Write| matches!(write, Write::DeleteBatchJob { .. });
        assert!(writes.iter().any(of_job), "{writes:?}");
    }
}
