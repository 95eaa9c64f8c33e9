//! What becomes of a PyTorchJob, scenario by scenario; each is named after what a user would see. The snapshots beside this
//! file are meant to be read.

use common::api::ConditionType;
use common::conditions;
use common::observe::{ContainerState, ContainerView, PodDetail, Refusal, RefusalCause};
use common::testing::{Scenario, World, describe_plan, describe_status, manifest};
use pytorchjob::FRAMEWORK;
use serde_json::{Value, json};

fn master_and_workers(edit: impl FnOnce(&mut Value)) -> Scenario {
    Scenario::started(&FRAMEWORK, &[("Master", 1), ("Worker", 2)], edit)
}

fn policy(spec: &mut Value, policy: &str) {
    for role in ["Master", "Worker"] {
        if let Some(replica) = spec["pytorchReplicaSpecs"].get_mut(role) {
            replica["restartPolicy"] = json!(policy);
        }
    }
}

#[test]
fn master_succeeds_and_so_does_the_job() {
    let mut scenario = master_and_workers(|_| {});
    scenario.when("master exits 0", |w| {
        w.end("j-master-0", "pytorch", 0, "Completed", None)
    });
    scenario.when("an hour passes", |w| w.pass_time(3600));
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn workers_alone_succeed_when_all_have() {
    let mut scenario = Scenario::started(&FRAMEWORK, &[("Worker", 2)], |_| {});
    scenario.when("worker 1 exits 0", |w| {
        w.end("j-worker-1", "pytorch", 0, "Completed", None)
    });
    scenario.when("its finished pod is removed by somebody", |w| {
        w.vanish("j-worker-1")
    });
    scenario.when("worker 0 exits 0", |w| {
        w.end("j-worker-0", "pytorch", 0, "Completed", None)
    });
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn exit_137_under_exit_code_policy_replaces_the_pod() {
    let mut scenario = master_and_workers(|spec| policy(spec, "ExitCode"));
    scenario.when("worker 1 is killed", |w| {
        w.end(
            "j-worker-1",
            "pytorch",
            137,
            "OOMKilled",
            Some("step 4\nkilled\n"),
        )
    });
    scenario.when("its replacement runs", World::run_all);
    scenario.when("it is killed again", |w| {
        w.end("j-worker-1", "pytorch", 137, "Error", None)
    });
    scenario.when("six seconds pass", |w| w.pass_time(6));
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn exit_1_under_exit_code_policy_fails_the_job_and_names_the_cause() {
    let mut scenario = master_and_workers(|spec| policy(spec, "ExitCode"));
    let boom = "Traceback (most recent call last):\nRuntimeError: no such file: /data/train.bin\n";
    scenario.when("worker 1 exits 1", |w| {
        w.end("j-worker-1", "pytorch", 1, "Error", Some(boom))
    });
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn never_fails_the_job_but_forgives_a_disruption() {
    let mut scenario = master_and_workers(|spec| policy(spec, "Never"));
    scenario.when("worker 0 is preempted", |w| {
        w.evict("j-worker-0", Some("PreemptionByScheduler"))
    });
    scenario.when("its replacement runs", World::run_all);
    scenario.when("worker 1 is evicted", |w| w.evict("j-worker-1", None));
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn a_deleted_pod_is_replaced_after_it_is_gone() {
    let mut scenario = master_and_workers(|spec| policy(spec, "Never"));
    scenario.when("worker 0 is deleted", |w| w.delete("j-worker-0"));
    scenario.when("it is gone", World::reap);
    scenario.when("its replacement runs", World::run_all);
    scenario.when("worker 1 is force-deleted", |w| w.vanish("j-worker-1"));
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn backoff_limit_limits_replaced_pods() {
    let mut scenario = master_and_workers(|spec| {
        policy(spec, "ExitCode");
        spec["runPolicy"] = json!({"backoffLimit": 1});
    });
    scenario.when("worker 1 is killed", |w| {
        w.end("j-worker-1", "pytorch", 137, "Error", None)
    });
    scenario.when("its replacement runs", World::run_all);
    scenario.when("worker 0 is killed", |w| {
        w.end("j-worker-0", "pytorch", 137, "Error", None)
    });
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn backoff_limit_limits_restarts_in_place() {
    let mut scenario = master_and_workers(|spec| spec["runPolicy"] = json!({"backoffLimit": 2}));
    scenario.when("containers restarted twice", |w| {
        w.pod("j-worker-0").restarts = 1;
        w.pod("j-worker-1").restarts = 1;
    });
    scenario.when("and once more", |w| w.pod("j-worker-1").restarts = 2);
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn restarts_in_place_stay_counted_when_their_pod_goes() {
    let mut scenario = master_and_workers(|spec| spec["runPolicy"] = json!({"backoffLimit": 2}));
    scenario.when("worker 0 restarts twice in place", |w| {
        w.pod("j-worker-0").restarts = 2
    });
    scenario.when("and is deleted", |w| w.delete("j-worker-0"));
    scenario.when("it is gone", World::reap);
    scenario.when("its replacement restarts once", |w| {
        w.run_all();
        w.pod("j-worker-0").restarts = 1;
    });
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn active_deadline_ends_the_job_on_time() {
    let mut scenario = master_and_workers(|spec| spec["runPolicy"] = json!({"activeDeadlineSeconds": 300}));
    scenario.when("299 seconds pass", |w| w.pass_time(299));
    scenario.when("one more", |w| w.pass_time(1));
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn ttl_deletes_the_job_after_the_end() {
    let mut scenario = master_and_workers(|spec| {
        policy(spec, "ExitCode");
        spec["runPolicy"] = json!({"ttlSecondsAfterFinished": 60, "cleanPodPolicy": "Running"});
    });
    scenario.when("worker 1 exits 1", |w| {
        w.end("j-worker-1", "pytorch", 1, "Error", None)
    });
    scenario.when("59 seconds pass", |w| w.pass_time(59));
    scenario.when("one more", |w| w.pass_time(1));
    assert!(scenario.world.job.is_none());
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn clean_pod_policy_all_leaves_nothing() {
    let mut scenario = master_and_workers(|spec| spec["runPolicy"] = json!({"cleanPodPolicy": "All"}));
    scenario.when("master exits 0", |w| {
        w.end("j-master-0", "pytorch", 0, "Completed", None)
    });
    scenario.when("pods are gone", World::reap);
    assert!(scenario.world.pods.is_empty() && scenario.world.children.is_empty());
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn suspend_and_resume_keep_the_counts() {
    let mut scenario = master_and_workers(|spec| {
        policy(spec, "ExitCode");
        spec["runPolicy"] = json!({"suspend": false});
    });
    scenario.when("worker 1 is killed", |w| {
        w.end("j-worker-1", "pytorch", 137, "Error", None)
    });
    scenario.when("its replacement runs", World::run_all);
    scenario.when("suspended", |w| w.edit("/runPolicy/suspend", json!(true)));
    scenario.when("pods are gone", World::reap);
    scenario.when("resumed a minute later", |w| {
        w.pass_time(60);
        w.edit("/runPolicy/suspend", json!(false));
    });
    scenario.when("all pods run", World::run_all);
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn suspended_at_creation_makes_nothing() {
    let mut scenario = Scenario::new(&FRAMEWORK, &[("Worker", 2)], |spec| {
        spec["runPolicy"] = json!({"suspend": true})
    });
    scenario.when("applied", |_| {});
    assert!(scenario.world.pods.is_empty() && scenario.world.children.is_empty());
    assert!(scenario.world.status().start_time.is_none());
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn replicas_zero_means_none() {
    let mut scenario = Scenario::new(&FRAMEWORK, &[("Master", 1), ("Worker", 0)], |_| {});
    scenario.when("applied", |_| {});
    scenario.when("all pods run", World::run_all);
    assert_eq!(scenario.world.created.len(), 1);
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn scaled_down_and_up_again() {
    let workers = "/pytorchReplicaSpecs/Worker/replicas";
    let mut scenario = Scenario::started(&FRAMEWORK, &[("Worker", 3)], |spec| {
        spec["elasticPolicy"] = json!({"minReplicas": 1, "maxReplicas": 3});
    });
    scenario.when("scaled to 2", |w| w.edit(workers, json!(2)));
    scenario.when("scaled to 3 while the old pod still ends", |w| {
        w.edit(workers, json!(3))
    });
    scenario.when("it is gone", World::reap);
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn a_sidecar_neither_fails_nor_holds_up_the_job() {
    let mut scenario = Scenario::started(&FRAMEWORK, &[("Master", 1)], |spec| policy(spec, "ExitCode"));
    scenario.when("training ends well, the side-car goes on", |w| {
        w.end("j-master-0", "pytorch", 0, "Completed", None);
        w.pod("j-master-0").phase = common::observe::Phase::Running;
    });
    assert!(conditions::is_true(
        &scenario.world.status(),
        ConditionType::Succeeded
    ));
    let mut other = Scenario::started(&FRAMEWORK, &[("Master", 1)], |spec| policy(spec, "Never"));
    other.when("training ends well, the side-car badly", |w| {
        w.end("j-master-0", "pytorch", 0, "Completed", None);
        let pod = w.pod("j-master-0");
        pod.phase = common::observe::Phase::Failed;
        let state = ContainerState::Terminated {
            exit_code: 3,
            reason: None,
            message: None,
            finished_at: None,
        };
        pod.detail.as_mut().unwrap().containers.push(ContainerView {
            name: "proxy".into(),
            init: false,
            state,
        });
    });
    assert!(conditions::is_true(
        &other.world.status(),
        ConditionType::Succeeded
    ));
}

#[test]
fn a_foreign_service_under_our_name_is_named_and_never_touched() {
    let mut scenario = Scenario::new(&FRAMEWORK, &[("Worker", 1)], |_| {});
    scenario.world.children.clear();
    let refusal = Refusal {
        object: "Service j".to_owned(),
        deletion: false,
        cause: RefusalCause::Foreign,
        message: "its controller is Deployment web".to_owned(),
    };
    let plan = scenario.world.plan(&FRAMEWORK);
    scenario.world.refusals = vec![refusal];
    let told = scenario.world.plan(&FRAMEWORK);
    let text = describe_plan(&told) + &describe_status(told.status.as_ref().unwrap());
    assert!(plan.writes.len() == told.writes.len());
    insta::assert_snapshot!(text);
}

#[test]
fn a_restarted_operator_does_not_tell_of_the_same_refusal_again() {
    let mut scenario = Scenario::new(&FRAMEWORK, &[("Worker", 1)], |_| {});
    let refusal = Refusal {
        object: "Pod j-worker-0".to_owned(),
        deletion: false,
        cause: RefusalCause::Forbidden,
        message: "exceeded quota".to_owned(),
    };
    let tell = |world: &mut World| {
        let plan = world.plan(&FRAMEWORK);
        let without_writes = common::Plan {
            writes: Vec::new(),
            ..plan.clone()
        };
        world.apply(&without_writes);
        plan.events
            .iter()
            .filter(|n| n.reason == "FailedCreatePod")
            .count()
    };
    scenario.world.refusals = vec![refusal.clone()];
    assert_eq!(tell(&mut scenario.world), 1);
    let told = scenario.world.status();
    scenario.world.refusals.clear(); // a new process remembers nothing
    assert_eq!(tell(&mut scenario.world), 0);
    assert_eq!(
        scenario.world.status(),
        told,
        "nor does the status forget what is still so"
    );
    scenario.world.refusals = vec![refusal];
    assert_eq!(tell(&mut scenario.world), 0);
    scenario.world.refusals.clear();
    scenario.when("the quota is raised", |_| {});
    assert!(scenario.world.status().waiting_for.is_none());
}

#[test]
fn a_pod_that_cannot_be_scheduled_is_explained() {
    let mut scenario = Scenario::new(&FRAMEWORK, &[("Worker", 1)], |_| {});
    scenario.when("applied", |_| {});
    scenario.when("no node fits", |w| {
        let unschedulable = Some("0/1 nodes are available: 1 Insufficient cpu.".into());
        w.pod("j-worker-0").detail = Some(Box::new(PodDetail {
            unschedulable,
            ..PodDetail::default()
        }));
    });
    scenario.when("the same, seen again", |_| {});
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn another_controllers_job_gets_not_one_write() {
    for manager in ["kueue.x-k8s.io/multikueue", "somebody.else/x", ""] {
        let scenario = Scenario::new(&FRAMEWORK, &[("Worker", 1)], |spec| {
            spec["runPolicy"] = json!({"managedBy": manager})
        });
        assert_eq!(
            scenario.world.plan(&FRAMEWORK),
            common::Plan::default(),
            "{manager}"
        );
    }
}

/// Bad input, as it reads when it comes round the schema's rules; the rules themselves are tried on an API server.
#[test]
fn bad_input_is_named_by_field() {
    let long = "a".repeat(60);
    let spec = |edit: &dyn Fn(&mut Value)| {
        let mut m = manifest(&FRAMEWORK, "j", &[("Master", 1), ("Worker", 1)]);
        edit(&mut m);
        m
    };
    let cases: Vec<(&str, Value)> = vec![
        (
            "no container named pytorch",
            spec(&|m| {
                m["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0]["name"] =
                    json!("main");
            }),
        ),
        (
            "two masters",
            spec(&|m| m["spec"]["pytorchReplicaSpecs"]["Master"]["replicas"] = json!(2)),
        ),
        (
            "unknown restart policy",
            spec(&|m| {
                m["spec"]["pytorchReplicaSpecs"]["Worker"]["restartPolicy"] = json!("Sometimes");
            }),
        ),
        ("name too long", spec(&|m| m["metadata"]["name"] = json!(long))),
        ("name with a dot", spec(&|m| m["metadata"]["name"] = json!("a.b"))),
        (
            "elastic policy without workers",
            spec(&|m| {
                m["spec"]["pytorchReplicaSpecs"]
                    .as_object_mut()
                    .unwrap()
                    .remove("Worker");
                m["spec"]["elasticPolicy"] = json!({"minReplicas": 1});
            }),
        ),
        (
            "min above max",
            spec(&|m| m["spec"]["elasticPolicy"] = json!({"minReplicas": 3, "maxReplicas": 2})),
        ),
        (
            "an empty replica",
            spec(&|m| m["spec"]["pytorchReplicaSpecs"]["Worker"] = json!({})),
        ),
        (
            "unknown role",
            spec(&|m| m["spec"]["pytorchReplicaSpecs"]["Foo"] = json!({})),
        ),
        (
            "does not parse",
            spec(&|m| {
                m["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0]["ports"] =
                    json!([{"containerPort": "http"}]);
            }),
        ),
        ("no spec", json!({"metadata": {"name": "j"}})),
        (
            "both nproc fields",
            spec(&|m| {
                m["spec"]["nprocPerNode"] = json!("2");
                m["spec"]["elasticPolicy"] = json!({"nProcPerNode": 2});
            }),
        ),
    ];
    let mut text = String::new();
    for (what, manifest) in cases {
        let world = World::new(&FRAMEWORK, &manifest);
        let plan = world.plan(&FRAMEWORK);
        assert!(plan.writes.is_empty(), "{what}");
        let status = plan.status.unwrap();
        assert!(
            conditions::is_true(&status, ConditionType::Failed) && status.completion_time.is_some(),
            "{what}"
        );
        text += &format!("{what}\n  {}\n", plan.events[0].message);
    }
    insta::assert_snapshot!(text);
}

#[test]
fn a_slip_in_an_edit_does_not_stop_a_running_job() {
    let mut scenario = master_and_workers(|_| {});
    scenario.when("worker's containers are edited away", |w| {
        w.edit("/pytorchReplicaSpecs/Worker/template/spec/containers", json!([]));
    });
    scenario.when("and put back", |w| {
        let containers = json!([{"name": "pytorch", "image": "img:1"}]);
        w.edit("/pytorchReplicaSpecs/Worker/template/spec/containers", containers);
    });
    assert_eq!(scenario.world.pods.len(), 3);
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn retries_of_pods_that_are_gone_stay_counted() {
    let crashes = |w: &mut World| w.pod("j-worker-1").restarts = 3;
    let limited = |spec: &mut Value| spec["runPolicy"]["backoffLimit"] = json!(3);
    let counted = |scenario: &Scenario| {
        let counts = scenario.world.status().restart_counts.unwrap();
        counts.failures + counts.in_place
    };
    let mut scaled = master_and_workers(limited);
    scaled.when("worker 1 restarts in place", crashes);
    scaled.when("scaled down", |w| {
        w.edit("/pytorchReplicaSpecs/Worker/replicas", json!(1))
    });
    scaled.when("it is gone", World::reap);
    assert_eq!(counted(&scaled), 3);
    let mut unseen = master_and_workers(limited);
    unseen.when("worker 1 restarts in place", crashes);
    unseen.when("it goes while no operator looks", |w| {
        w.vanish("j-worker-1");
        w.vanished.clear();
    });
    assert_eq!(counted(&unseen), 3);
    let mut suspended = master_and_workers(limited);
    suspended.when("worker 1 restarts in place", crashes);
    suspended.when("it vanishes and the job is suspended", |w| {
        w.vanish("j-worker-1");
        w.edit("/runPolicy/suspend", json!(true));
    });
    assert_eq!(counted(&suspended), 3);
}

#[test]
fn a_finished_job_is_finished_whatever_else_its_status_holds() {
    let mut scenario = master_and_workers(|_| {});
    scenario.when("master exits 0", |w| {
        w.end("j-master-0", "pytorch", 0, "Completed", None)
    });
    let job = scenario.world.job.as_mut().unwrap();
    job.status["conditions"]
        .as_array_mut()
        .unwrap()
        .push(json!({"type": "Frozen", "status": "True"}));
    job.status["replicaStatuses"] = Value::Null;
    let made = scenario.world.created.len();
    scenario.when("a younger operator was here", |w| w.pods.clear());
    assert!(conditions::is_true(
        &scenario.world.status(),
        ConditionType::Succeeded
    ));
    assert_eq!(scenario.world.created.len(), made);
}

#[test]
fn a_pod_that_the_kubelet_ended_has_not_succeeded_whatever_its_exit_code() {
    let mut scenario = master_and_workers(|spec| policy(spec, "Never"));
    scenario.when("the pod's own deadline is over, and it exits 0 on SIGTERM", |w| {
        w.end("j-master-0", "pytorch", 0, "Completed", None);
        let pod = w.pod("j-master-0");
        pod.phase = common::observe::Phase::Failed;
        pod.detail.as_mut().unwrap().reason = Some("DeadlineExceeded".into());
    });
    assert!(
        conditions::is_true(&scenario.world.status(), ConditionType::Failed),
        "{}",
        scenario.transcript
    );
}

#[test]
fn scaled_down_and_up_again_and_again_without_delay() {
    let mut scenario = master_and_workers(|_| {});
    for _ in 0..4 {
        for count in [1, 2] {
            scenario.when("scaled", |w| {
                w.edit("/pytorchReplicaSpecs/Worker/replicas", json!(count))
            });
            scenario.when("done", |w| {
                w.reap();
                w.run_all();
            });
        }
    }
    assert!(
        !scenario.transcript.contains("wake at"),
        "{}",
        scenario.transcript
    );
}

#[test]
fn a_clock_that_was_ahead_holds_no_restart_up() {
    let mut scenario = master_and_workers(|spec| policy(spec, "ExitCode"));
    scenario.world.pass_time(86_400);
    for _ in 0..2 {
        scenario.when("worker 1 is killed", |w| {
            w.end("j-worker-1", "pytorch", 137, "Error", None)
        });
        scenario.when("it runs again", World::run_all);
    }
    scenario.world.pass_time(-86_400);
    scenario.when("the clock is right", |_| {});
    let plan = scenario.world.plan(&FRAMEWORK);
    let wait = plan
        .requeue_at
        .map_or(0, |at| at.duration_since(scenario.world.now).as_secs());
    assert!(wait <= 300, "{wait}");
}

#[test]
fn what_vanished_while_the_job_was_invalid_is_not_forgotten() {
    let mut scenario = Scenario::started(&FRAMEWORK, &[("Worker", 2)], |_| {});
    let right = scenario.world.job.as_ref().unwrap().spec["pytorchReplicaSpecs"].clone();
    scenario.when("a slip", |w| {
        w.edit("/pytorchReplicaSpecs/Worker/template/spec/containers", json!([]))
    });
    scenario.when("worker 1 ends well and is removed", |w| {
        w.end("j-worker-1", "pytorch", 0, "Completed", None);
        w.vanish("j-worker-1");
    });
    scenario.when("mended", |w| w.edit("/pytorchReplicaSpecs", right));
    assert_eq!(
        scenario.world.created.len(),
        2,
        "a finished worker does not run again: {}",
        scenario.transcript
    );
}

#[test]
fn a_job_too_large_for_any_cluster_is_refused_before_it_is_planned() {
    let mut scenario = Scenario::new(&FRAMEWORK, &[("Worker", 1)], |spec| {
        spec["pytorchReplicaSpecs"]["Worker"]["replicas"] = json!(3_000_000);
    });
    scenario.when("applied", |_| {});
    assert!(
        scenario
            .transcript
            .contains("spec.pytorchReplicaSpecs[Worker].replicas: must be no more than 100000")
    );
}

#[test]
fn of_failures_in_the_same_second_the_killed_one_is_named() {
    let mut scenario = master_and_workers(|spec| policy(spec, "ExitCode"));
    scenario.when("worker 1 is killed, and the others lose their peer", |w| {
        w.end("j-master-0", "pytorch", 138, "Error", Some("peer lost"));
        w.end("j-worker-0", "pytorch", 138, "Error", Some("peer lost"));
        w.end("j-worker-1", "pytorch", 137, "Error", None);
    });
    assert!(
        scenario
            .transcript
            .contains("1 Worker replica(s) failed: pod j-worker-1")
            || scenario
                .transcript
                .contains("2 Worker replica(s) failed: pod j-worker-1"),
        "{}",
        scenario.transcript
    );
}

/// Master and worker 1 on node-1, worker 0 on node-2, all of which run.
fn on_two_nodes(edit: impl FnOnce(&mut Value)) -> Scenario {
    let mut scenario = Scenario::new(&FRAMEWORK, &[("Master", 1), ("Worker", 2)], edit);
    scenario.world.nodes = 2;
    scenario.when("applied", |_| {});
    scenario.when("all pods run", World::run_all);
    scenario.transcript.clear();
    scenario
}

#[test]
fn a_pod_on_a_lost_node_is_replaced_after_the_limit() {
    let mut scenario = on_two_nodes(|spec| {
        policy(spec, "Never");
        spec["runPolicy"]["backoffLimit"] = json!(0);
    });
    scenario.when("node-2 falls silent", |w| w.lose_node("node-2"));
    scenario.when("a second is left", |w| w.pass_time(299));
    scenario.when("the limit is reached", |w| w.pass_time(1));
    scenario.when("the replacement runs", World::run_all);
    insta::assert_snapshot!(scenario.transcript);
    assert_eq!(scenario.world.pod("j-worker-0").node.as_deref(), Some("node-1"));
}

#[test]
fn a_node_that_comes_back_in_time_costs_nothing() {
    let mut scenario = on_two_nodes(|_| {});
    let before = scenario.world.status();
    scenario.when("node-2 falls silent", |w| w.lose_node("node-2"));
    assert!(scenario.world.status().waiting_for.is_some());
    scenario.when("it answers again", |w| {
        w.pass_time(299);
        w.recover_node("node-2");
    });
    scenario.when("an hour passes", |w| w.pass_time(3600));
    assert_eq!(scenario.world.status(), before);
    assert_eq!(scenario.world.created.len(), 3);
}

#[test]
fn a_node_out_of_service_is_not_waited_for() {
    let mut scenario = on_two_nodes(|_| {});
    scenario.when("node-2 falls silent", |w| w.lose_node("node-2"));
    scenario.when("an administrator vouches for it", |w| w.vouch_for("node-2"));
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn never_means_that_lost_nodes_are_left_to_kubernetes() {
    let mut scenario = on_two_nodes(|_| {});
    scenario.world.settings.node_lost_after = None;
    scenario.when("node-2 is lost", |w| {
        w.lose_node("node-2");
        w.vouch_for("node-2");
    });
    scenario.when("a day passes", |w| w.pass_time(86400));
    assert_eq!(scenario.world.status().waiting_for, None);
    assert_eq!(scenario.world.created.len(), 3);
}

#[test]
fn a_pod_that_terminates_on_a_lost_node_does_not_hold_up_its_replica_for_ever() {
    let mut scenario = on_two_nodes(|_| {});
    scenario.when("node-2 falls silent", |w| w.lose_node("node-2"));
    scenario.when("the taint manager deletes worker 0", |w| {
        w.pass_time(60);
        w.disrupt("j-worker-0", "DeletionByTaintManager");
    });
    scenario.when("the limit is reached", |w| w.pass_time(240));
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn a_failed_pod_whose_node_is_lost_before_it_is_gone_is_replaced_after_the_limit() {
    let mut scenario = on_two_nodes(|spec| policy(spec, "ExitCode"));
    scenario.when(
        "worker 0 is killed, its side-car goes on, and node-2 falls silent",
        |w| {
            w.end("j-worker-0", "pytorch", 137, "OOMKilled", None);
            w.pod("j-worker-0").phase = common::observe::Phase::Running;
            w.lose_node("node-2");
        },
    );
    assert_eq!(scenario.world.created.len(), 3);
    scenario.when("the limit is reached", |w| w.pass_time(300));
    assert_eq!(scenario.world.created.len(), 4);
    let counts = scenario.world.status().restart_counts.unwrap();
    assert_eq!(
        (counts.failures, counts.disruptions),
        (1, 0),
        "it had failed before"
    );
}

#[test]
fn a_worker_that_was_done_before_its_node_was_lost_is_done() {
    let mut scenario = Scenario::new(&FRAMEWORK, &[("Worker", 2)], |_| {});
    scenario.world.nodes = 2;
    scenario.when("applied", |_| {});
    scenario.when("all pods run", World::run_all);
    scenario.when("worker 1 exits 0, and node-2 falls silent", |w| {
        w.end("j-worker-1", "pytorch", 0, "Completed", None);
        w.pod("j-worker-1").phase = common::observe::Phase::Running;
        w.lose_node("node-2");
    });
    scenario.when("an hour passes", |w| w.pass_time(3600));
    assert_eq!(scenario.world.created.len(), 2);
    scenario.when("worker 0 exits 0", |w| {
        w.end("j-worker-0", "pytorch", 0, "Completed", None)
    });
    assert!(conditions::is_true(
        &scenario.world.status(),
        ConditionType::Succeeded
    ));
}

#[test]
fn a_suspended_job_lets_go_of_a_lost_node_after_the_limit() {
    let mut scenario = on_two_nodes(|_| {});
    scenario.when("node-2 falls silent", |w| w.lose_node("node-2"));
    scenario.when("suspended", |w| {
        w.pass_time(10);
        w.edit("/runPolicy", json!({"suspend": true}));
    });
    scenario.when("the pods on node-1 are gone", World::reap);
    assert_eq!(scenario.world.status().replica_statuses["Worker"].active, 1);
    scenario.when("the limit is reached", |w| w.pass_time(290));
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn a_finished_job_is_cleaned_up_on_a_lost_node_too() {
    let mut scenario = on_two_nodes(|spec| spec["runPolicy"]["cleanPodPolicy"] = json!("Running"));
    scenario.when("node-2 falls silent, and the master exits 0", |w| {
        w.lose_node("node-2");
        w.end("j-master-0", "pytorch", 0, "Completed", None);
    });
    scenario.when("the other pods are gone", World::reap);
    scenario.when("the limit is reached", |w| w.pass_time(300));
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn a_pod_of_a_finished_job_that_somebody_deletes_does_not_hang_on_a_lost_node() {
    let mut scenario = on_two_nodes(|_| {});
    scenario.when("node-2 falls silent, and the master exits 0", |w| {
        w.lose_node("node-2");
        w.end("j-master-0", "pytorch", 0, "Completed", None);
    });
    scenario.when("the limit is reached", |w| w.pass_time(300));
    assert_eq!(scenario.world.pods.len(), 3, "the policy is None");
    scenario.when("worker 0 is deleted", |w| w.delete("j-worker-0"));
    assert_eq!(scenario.world.pods.len(), 2);
}

#[test]
fn scaled_down_on_a_lost_node() {
    let mut scenario = on_two_nodes(|_| {});
    scenario.when("node-1 falls silent", |w| w.lose_node("node-1"));
    scenario.when("worker 1 is not wanted any more", |w| {
        w.edit("/pytorchReplicaSpecs/Worker/replicas", json!(1))
    });
    assert!(scenario.world.pod("j-worker-1").deleting);
    scenario.when("the limit is reached", |w| w.pass_time(300));
    assert!(scenario.world.pods.iter().all(|pod| *pod.name != *"j-worker-1"));
}

#[test]
fn a_finalizer_that_holds_a_lost_pod_is_not_argued_with() {
    let mut scenario = on_two_nodes(|_| {});
    scenario.when("node-2 falls silent", |w| w.lose_node("node-2"));
    scenario.when(
        "worker 0 was deleted by force, and somebody's finalizer holds it",
        |w| {
            w.pass_time(300);
            let pod = w.pod("j-worker-0");
            (pod.deleting, pod.forced) = (true, true);
        },
    );
    assert!(scenario.world.pod("j-worker-0").forced);
    assert!(
        scenario
            .world
            .status()
            .waiting_for
            .unwrap()
            .contains("has to terminate first")
    );
    assert_eq!(scenario.world.created.len(), 3);
}

#[test]
fn disruptions_count_if_the_flag_says_so() {
    let mut scenario = on_two_nodes(|spec| {
        policy(spec, "ExitCode");
        spec["runPolicy"]["backoffLimit"] = json!(2);
    });
    scenario.world.settings.count_disruptions = true;
    scenario.when("worker 0 is preempted", |w| {
        w.evict("j-worker-0", Some("PreemptionByScheduler"))
    });
    scenario.when("its replacement runs", World::run_all);
    scenario.when("worker 1 is killed", |w| {
        w.end("j-worker-1", "pytorch", 137, "Error", None)
    });
    scenario.when("its replacement runs", World::run_all);
    assert!(conditions::is_true(
        &scenario.world.status(),
        ConditionType::Running
    ));
    scenario.when("the master's node is lost", |w| {
        w.lose_node("node-1");
        w.vouch_for("node-1");
    });
    let failed = conditions::condition(&scenario.world.status(), ConditionType::Failed)
        .cloned()
        .unwrap();
    let message = failed.message.unwrap();
    assert!(
        message.contains(
            "backoff limit of 2 (disruptions count): 1 Master replica(s) were lost: pod j-master-0 was lost"
        ),
        "{message}"
    );
    let counts = scenario.world.status().restart_counts.unwrap();
    assert_eq!((counts.failures, counts.disruptions), (1, 1));
}

#[test]
fn disruptions_count_for_nothing_without_the_flag_under_any_policy() {
    for restart_policy in ["Always", "OnFailure", "ExitCode", "Never"] {
        let mut scenario = on_two_nodes(|spec| {
            policy(spec, restart_policy);
            spec["runPolicy"]["backoffLimit"] = json!(0);
        });
        for round in 1..4 {
            scenario.when("worker 0 is preempted", |w| {
                w.evict("j-worker-0", Some("PreemptionByScheduler"))
            });
            scenario.when("and worker 1 drained", |w| {
                w.disrupt("j-worker-1", "EvictionByEvictionAPI")
            });
            scenario.when("they are replaced", |w| {
                w.pass_time(300);
                w.reap();
            });
            scenario.when("and run", World::run_all);
            let counts = scenario.world.status().restart_counts.unwrap();
            assert_eq!(
                (counts.failures, counts.disruptions),
                (0, 2 * round),
                "{restart_policy}"
            );
        }
        assert!(conditions::is_true(
            &scenario.world.status(),
            ConditionType::Running
        ));
    }
}

#[test]
fn a_pod_whose_node_is_silent_is_the_cause_of_what_fails_with_it() {
    let mut scenario = on_two_nodes(|_| {});
    assert_eq!(scenario.world.pod("j-worker-0").node.as_deref(), Some("node-2"));
    scenario.when("its node falls silent", |w| w.lose_node("node-2"));
    scenario.when("worker 1 misses it", |w| {
        w.pass_time(20);
        w.end("j-worker-1", "pytorch", 1, "Error", None);
    });
    let first = scenario.world.status().first_failure.unwrap();
    assert_eq!(
        (&*first.pod, first.reason.as_deref(), first.follower_count),
        ("j-worker-0", Some("NodeLost"), 1)
    );
}

#[test]
fn a_pod_that_is_evicted_from_a_silent_node_was_taken_away_and_not_lost() {
    for seen_after in [0, 400] {
        let mut scenario = on_two_nodes(|_| {});
        scenario.when("its node falls silent, and the pod is told to go", |w| {
            w.lose_node("node-2");
            w.delete("j-worker-0");
            w.pass_time(seen_after);
        });
        let reason = scenario.world.status().slots["worker-0"].reason.clone().unwrap();
        assert!(
            reason.starts_with("pod j-worker-0 was deleted on node"),
            "{reason}"
        );
    }
}
