//! A PyTorchJob whose pods begin anew together, and which of them failed first. The snapshots beside this file are meant
//! to be read.

use common::api::ConditionType;
use common::plan::Write;
use common::testing::{Scenario, World};
use common::{conditions, names};
use pytorchjob::FRAMEWORK;
use serde_json::{Value, json};

fn together(edit: impl FnOnce(&mut Value)) -> Scenario {
    Scenario::started(&FRAMEWORK, &[("Master", 1), ("Worker", 2)], |spec| {
        spec["runPolicy"] = json!({"restartScope": "Job", "suspend": false});
        edit(spec);
    })
}

fn killed(world: &mut World, pod: &str) {
    world.end(pod, "pytorch", 137, "OOMKilled", None);
}

#[test]
fn one_failed_pod_restarts_all_of_them_once() {
    let mut scenario = together(|_| {});
    scenario.when(
        "worker 1 is killed, and the others see their connections break",
        |w| {
            killed(w, "j-worker-1");
            w.pass_time(2);
            w.end(
                "j-worker-0",
                "pytorch",
                1,
                "Error",
                Some("NCCL error: remote process exited"),
            );
        },
    );
    scenario.when("one of the old pods is gone", |w| w.vanish("j-worker-0"));
    scenario.when("all are gone", World::reap);
    scenario.when("all run", World::run_all);
    scenario.when("the master fails", |w| {
        w.end("j-master-0", "pytorch", 1, "Error", None)
    });
    scenario.when("all are gone", World::reap);
    scenario.when("five seconds pass", |w| w.pass_time(5));
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn a_pod_that_is_taken_away_takes_the_others_with_it_and_costs_no_retry() {
    let mut scenario = together(|spec| spec["runPolicy"]["backoffLimit"] = json!(0));
    scenario.when("worker 0 is drained", |w| {
        w.evict("j-worker-0", Some("EvictionByEvictionAPI"));
    });
    scenario.when("all are gone", World::reap);
    scenario.when("all run", World::run_all);
    scenario.when("somebody deletes worker 1", |w| w.delete("j-worker-1"));
    scenario.when("all are gone", World::reap);
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn the_limit_counts_restarts_of_all_not_pods() {
    let mut scenario = together(|spec| spec["runPolicy"]["backoffLimit"] = json!(1));
    scenario.when("both workers fail", |w| {
        killed(w, "j-worker-0");
        killed(w, "j-worker-1");
    });
    assert!(
        !conditions::is_finished(&scenario.world.status()),
        "{}",
        scenario.transcript
    );
    scenario.when("all are gone", World::reap);
    scenario.when("all run", World::run_all);
    scenario.when("both workers fail again", |w| {
        killed(w, "j-worker-0");
        killed(w, "j-worker-1");
    });
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn who_has_succeeded_begins_anew_too() {
    let mut scenario = Scenario::started(&FRAMEWORK, &[("Worker", 3)], |spec| {
        spec["runPolicy"] = json!({"restartScope": "Job"});
    });
    scenario.when("worker 0 is done", |w| {
        w.end("j-worker-0", "pytorch", 0, "Completed", None)
    });
    scenario.when("worker 1 fails", |w| killed(w, "j-worker-1"));
    scenario.when("all are gone", World::reap);
    let pods: Vec<_> = scenario
        .world
        .pods
        .iter()
        .map(|pod| (&*pod.name, pod.attempt.0))
        .collect();
    assert_eq!(pods, [("j-worker-0", 1), ("j-worker-1", 1), ("j-worker-2", 1)]);
    let counts = &scenario.world.status().replica_statuses["Worker"];
    assert_eq!((counts.succeeded, counts.succeeded_indices.as_deref()), (0, None));
}

#[test]
fn a_failure_for_good_ends_the_job_whatever_the_scope() {
    let mut scenario =
        together(|spec| spec["pytorchReplicaSpecs"]["Worker"]["restartPolicy"] = json!("ExitCode"));
    scenario.when("worker 0 exits 1", |w| {
        w.end("j-worker-0", "pytorch", 1, "Error", None)
    });
    assert!(
        conditions::is_true(&scenario.world.status(), ConditionType::Failed),
        "{}",
        scenario.transcript
    );
}

/// The kubelet must not restart a container by itself: the others would wait for it.
#[test]
fn no_container_is_restarted_in_place() {
    let scenario = Scenario::new(&FRAMEWORK, &[("Master", 1), ("Worker", 1)], |spec| {
        spec["runPolicy"] = json!({"restartScope": "Job"});
        spec["pytorchReplicaSpecs"]["Worker"]["restartPolicy"] = json!("Always");
    });
    let policies = scenario
        .world
        .plan(&FRAMEWORK)
        .writes
        .into_iter()
        .filter_map(|write| match write {
            Write::CreatePod { pod, .. } => pod.spec.unwrap().restart_policy,
            _ => None,
        });
    assert_eq!(policies.collect::<Vec<_>>(), ["Never", "Never"]);
}

#[test]
fn suspended_in_the_middle_of_a_restart_nothing_is_forgotten() {
    let mut scenario = together(|_| {});
    scenario.when("worker 1 is killed", |w| killed(w, "j-worker-1"));
    scenario.when("suspended", |w| w.edit("/runPolicy/suspend", json!(true)));
    scenario.when("all are gone", World::reap);
    scenario.when("resumed", |w| w.edit("/runPolicy/suspend", json!(false)));
    scenario.when("all run", World::run_all);
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn the_first_failure_is_kept_after_the_pods_are_cleaned_up() {
    let mut scenario = Scenario::started(&FRAMEWORK, &[("Master", 1), ("Worker", 3)], |spec| {
        for role in ["Master", "Worker"] {
            spec["pytorchReplicaSpecs"][role]["restartPolicy"] = json!("Never");
        }
        spec["runPolicy"] = json!({"cleanPodPolicy": "All"});
    });
    scenario.when("worker 2 fails, then the others", |w| {
        w.end(
            "j-worker-2",
            "pytorch",
            139,
            "Error",
            Some("epoch 3\nSegmentation fault\n"),
        );
        w.pass_time(3);
        for pod in ["j-master-0", "j-worker-0", "j-worker-1"] {
            w.end(pod, "pytorch", 1, "Error", Some("connection reset by peer"));
        }
    });
    scenario.when("all are gone", World::reap);
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn of_the_same_second_the_killed_one_is_the_first_though_its_failure_shows_later() {
    let mut scenario = Scenario::started(&FRAMEWORK, &[("Worker", 3)], |_| {});
    scenario.when("worker 0 misses its peer", |w| {
        w.end("j-worker-0", "pytorch", 1, "Error", None);
    });
    scenario.when("which was killed, as its kubelet tells a moment later", |w| {
        w.end("j-worker-2", "pytorch", 137, "Error", None);
    });
    scenario.when("another one misses it too", |w| {
        w.end("j-worker-1", "pytorch", 1, "Error", None);
    });
    let first = scenario.world.status().first_failure.unwrap();
    assert_eq!(
        (&*first.pod, first.exit_code, first.follower_count),
        ("j-worker-2", Some(137), 2)
    );
}

#[test]
fn a_failure_that_shows_late_but_was_first_is_the_first() {
    let mut scenario = Scenario::started(&FRAMEWORK, &[("Master", 1), ("Worker", 2)], |_| {});
    let before = scenario.world.now;
    scenario.when("worker 0 fails at 10 s", |w| {
        w.pass_time(10);
        killed(w, "j-worker-0");
    });
    scenario.when("the kubelet of worker 1 tells late that it failed at 4 s", |w| {
        let now = w.now;
        w.now = before;
        w.pass_time(4);
        killed(w, "j-worker-1");
        w.now = now;
        w.pass_time(2);
    });
    let first = scenario.world.status().first_failure.unwrap();
    assert_eq!(
        (&*first.pod, first.followers),
        ("j-worker-1", vec!["j-worker-0".to_owned()])
    );
    scenario.when("all run again", World::run_all);
    scenario.when("the master fails, much later", |w| {
        w.pass_time(600);
        killed(w, "j-master-0");
    });
    let first = scenario.world.status().first_failure.unwrap();
    assert_eq!(
        (&*first.pod, first.follower_count),
        ("j-master-0", 0),
        "another trouble"
    );
}

#[test]
fn followers_of_a_large_job_are_counted_and_a_few_named() {
    let mut scenario = Scenario::started(&FRAMEWORK, &[("Worker", 100)], |_| {});
    scenario.when("all fail", |w| {
        for index in 0..100 {
            let pod = names::replica("j", common::Role("Worker"), common::ReplicaIndex(index));
            w.end(&pod, "pytorch", 1, "Error", None);
        }
    });
    let first = scenario.world.status().first_failure.unwrap();
    assert_eq!((first.follower_count, first.followers.len()), (99, 32));
}

#[test]
fn all_workers_must_succeed_if_the_policy_says_so() {
    let mut scenario = Scenario::started(&FRAMEWORK, &[("Master", 1), ("Worker", 1)], |spec| {
        spec["successPolicy"] = json!("AllWorkers");
    });
    scenario.when("the master is done", |w| {
        w.end("j-master-0", "pytorch", 0, "Completed", None)
    });
    assert!(
        conditions::is_true(&scenario.world.status(), ConditionType::Running),
        "{}",
        scenario.transcript
    );
    scenario.when("the worker has saved its part", |w| {
        w.end("j-worker-0", "pytorch", 0, "Completed", None)
    });
    assert!(
        conditions::is_true(&scenario.world.status(), ConditionType::Succeeded),
        "{}",
        scenario.transcript
    );
}

#[test]
fn the_leader_alone_decides_if_the_policy_says_so() {
    let elastic = json!({"minReplicas": 1, "maxReplicas": 2});
    for elastic in [None, Some(elastic)] {
        let mut scenario = Scenario::started(&FRAMEWORK, &[("Worker", 2)], |spec| {
            spec["successPolicy"] = json!("Leader");
            spec["elasticPolicy"] = json!(elastic);
        });
        scenario.when("worker 1 is done", |w| {
            w.end("j-worker-1", "pytorch", 0, "Completed", None)
        });
        assert!(
            !conditions::is_finished(&scenario.world.status()),
            "{}",
            scenario.transcript
        );
        scenario.when("worker 0 is done", |w| {
            w.end("j-worker-0", "pytorch", 0, "Completed", None)
        });
        assert!(
            conditions::is_true(&scenario.world.status(), ConditionType::Succeeded),
            "{}",
            scenario.transcript
        );
    }
}

/// Its peers fail for want of it, and all is seen in one pass.
#[test]
fn a_pod_that_is_taken_away_is_the_cause_whoever_fails_with_it() {
    let mut scenario = together(|spec| spec["runPolicy"]["backoffLimit"] = json!(0));
    scenario.when("worker 0 is drained, worker 1 exits 1", |w| {
        w.end("j-worker-1", "pytorch", 1, "Error", Some("connection reset"));
        w.pod("j-worker-0").detail = Some(Box::new(common::observe::PodDetail {
            disruption: Some("EvictionByEvictionAPI".into()),
            ..common::observe::PodDetail::default()
        }));
        w.delete("j-worker-0");
    });
    let status = scenario.world.status();
    assert!(!conditions::is_finished(&status), "{}", scenario.transcript);
    let counts = status.restart_counts.unwrap();
    assert_eq!((counts.failures, counts.disruptions), (0, 1));
    let first = status.first_failure.unwrap();
    assert_eq!(
        (&*first.pod, &*first.reason.unwrap()),
        ("j-worker-0", "EvictionByEvictionAPI")
    );
    let whole = status.whole_restarts.unwrap().reason.unwrap();
    assert!(whole.contains("j-worker-0 was taken away"), "{whole}");
}

#[test]
fn what_fails_after_a_restart_of_all_is_of_another_trouble() {
    let mut scenario = together(|_| {});
    scenario.when("worker 0 is drained", |w| {
        w.evict("j-worker-0", Some("EvictionByEvictionAPI"));
    });
    scenario.when("all are gone", World::reap);
    scenario.when("before all run worker 1 fails", |w| killed(w, "j-worker-1"));
    let first = scenario.world.status().first_failure.unwrap();
    assert_eq!(
        (&*first.pod, first.attempt, first.follower_count),
        ("j-worker-1", 1, 0)
    );
}

#[test]
fn a_job_does_not_run_while_its_leader_waits() {
    let mut scenario = Scenario::new(&FRAMEWORK, &[("Worker", 3)], |spec| {
        spec["successPolicy"] = json!("Leader");
        spec["elasticPolicy"] = json!({"minReplicas": 1, "maxReplicas": 3});
    });
    scenario.when("applied", |_| {});
    scenario.when("worker 2 runs and is done", |w| {
        w.run(&["j-worker-2"]);
        w.end("j-worker-2", "pytorch", 0, "Completed", None);
    });
    assert!(
        !conditions::is_true(&scenario.world.status(), ConditionType::Running),
        "{}",
        scenario.transcript
    );
}

/// A process took over whose clock is behind.
#[test]
fn a_restart_from_the_future_is_due_at_once() {
    let mut scenario = together(|_| {});
    for _ in 0..2 {
        scenario.when("worker 1 is killed", |w| killed(w, "j-worker-1"));
        scenario.when("all are gone", World::reap);
        scenario.when("a minute later all run", |w| {
            w.pass_time(60);
        });
        scenario.when("they run", World::run_all);
    }
    scenario.when("worker 1 is killed, by a clock that is ahead", |w| {
        w.pass_time(3600);
        killed(w, "j-worker-1");
    });
    scenario.when("all are gone, by a clock that is not", |w| {
        w.pass_time(-3600);
        w.reap();
    });
    assert_eq!(scenario.world.pods.len(), 3, "{}", scenario.transcript);
}
