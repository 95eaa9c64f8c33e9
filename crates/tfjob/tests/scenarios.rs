//! What becomes of a TFJob, scenario by scenario; each is named after what a user would see. The snapshots beside this file
//! are meant to be read.

use common::api::ConditionType;
use common::conditions;
use common::observe::Phase;
use common::testing::{World, describe_plan, describe_status, manifest};
use serde_json::{Value, json};
use tfjob::FRAMEWORK;

/// A world and the transcript of it.
struct Scenario {
    world: World,
    transcript: String,
}

impl Scenario {
    fn new(replicas: &[(&str, u32)], edit: impl FnOnce(&mut Value)) -> Self {
        let mut manifest = manifest(&FRAMEWORK, "j", replicas);
        edit(&mut manifest["spec"]);
        Self {
            world: World::new(&FRAMEWORK, &manifest),
            transcript: String::new(),
        }
    }

    /// Something happens, then the operator does all there is to do.
    fn when(&mut self, what: &str, happens: impl FnOnce(&mut World)) -> &mut Self {
        happens(&mut self.world);
        self.transcript += &format!("## {what}\n");
        for plan in self.world.settle(&FRAMEWORK) {
            self.transcript += &describe_plan(&plan);
        }
        self.transcript += &format!(
            "-> {}\n{}\n",
            self.world.describe(),
            describe_status(&self.world.status())
        );
        self
    }

    fn started(replicas: &[(&str, u32)], edit: impl FnOnce(&mut Value)) -> Self {
        let mut scenario = Self::new(replicas, edit);
        scenario.when("applied", |_| {});
        scenario.when("all pods run", World::run_all);
        scenario
    }

    fn is(&self, type_: ConditionType) -> bool {
        conditions::is_true(&self.world.status(), type_)
    }
}

fn ends(world: &mut World, pod: &str, code: i32) {
    let reason = if code == 0 { "Completed" } else { "Error" };
    world.end(pod, "tensorflow", code, reason, None);
}

fn policy(spec: &mut Value, policy: &str) {
    for replica in spec["tfReplicaSpecs"].as_object_mut().unwrap().values_mut() {
        replica["restartPolicy"] = json!(policy);
    }
}

#[test]
fn chief_succeeds_and_so_does_the_job() {
    let mut scenario = Scenario::started(&[("Chief", 1), ("PS", 1), ("Worker", 2)], |spec| {
        spec["runPolicy"] = json!({"cleanPodPolicy": "Running"});
    });
    scenario.when("worker 0 exits 0", |w| ends(w, "j-worker-0", 0));
    scenario.when("chief exits 0", |w| ends(w, "j-chief-0", 0));
    scenario.when("pods are gone", World::reap);
    insta::assert_snapshot!(scenario.transcript);
}

/// The kubelet tells of the container's end first, and of the pod's a moment later.
#[test]
fn the_log_of_the_chief_is_not_cleaned_up_with_what_still_runs() {
    let mut scenario = Scenario::started(&[("Chief", 1), ("PS", 1)], |spec| {
        spec["runPolicy"] = json!({"cleanPodPolicy": "Running"});
    });
    scenario.when(
        "the chief's container exits 0, its pod still counts as running",
        |w| {
            ends(w, "j-chief-0", 0);
            w.pod("j-chief-0").phase = Phase::Running;
        },
    );
    let mut with_side_car = scenario.world.clone();
    scenario.when("the pod has succeeded", |w| {
        w.pod("j-chief-0").phase = Phase::Succeeded
    });
    scenario.when("an hour passes", |w| w.pass_time(3600));
    insta::assert_snapshot!(scenario.transcript);
    with_side_car.pass_time(10);
    with_side_car.settle(&FRAMEWORK);
    assert!(
        with_side_car.pod("j-chief-0").deleting,
        "a side-car that goes on is ended"
    );
}

#[test]
fn worker_0_succeeds_and_so_does_the_job() {
    let mut scenario = Scenario::started(&[("PS", 1), ("Worker", 2)], |_| {});
    scenario.when("worker 1 exits 0", |w| ends(w, "j-worker-1", 0));
    scenario.when("worker 0 exits 0", |w| ends(w, "j-worker-0", 0));
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn all_workers_must_succeed_if_the_policy_says_so() {
    let mut scenario = Scenario::started(&[("PS", 1), ("Worker", 2)], |spec| {
        spec["successPolicy"] = json!("AllWorkers");
    });
    scenario.when("worker 0 exits 0", |w| ends(w, "j-worker-0", 0));
    scenario.when("its finished pod is removed by somebody", |w| {
        w.vanish("j-worker-0")
    });
    scenario.when("worker 1 exits 0", |w| ends(w, "j-worker-1", 0));
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn a_job_with_dynamic_workers_goes_on_without_those_that_fail() {
    let mut scenario = Scenario::started(&[("PS", 1), ("Worker", 3)], |spec| {
        spec["enableDynamicWorker"] = json!(true);
    });
    scenario.when("worker 1 exits 1", |w| ends(w, "j-worker-1", 1));
    scenario.when("worker 0 is preempted", |w| {
        w.evict("j-worker-0", Some("PreemptionByScheduler"))
    });
    scenario.when("its replacement runs", World::run_all);
    scenario.when("worker 0 exits 0", |w| ends(w, "j-worker-0", 0));
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn dynamic_workers_that_are_all_lost_fail_the_job() {
    let mut scenario = Scenario::started(&[("PS", 1), ("Worker", 2)], |spec| {
        spec["enableDynamicWorker"] = json!(true);
    });
    scenario.when("worker 0 exits 1", |w| ends(w, "j-worker-0", 1));
    scenario.when("a minute later so does worker 1", |w| {
        w.pass_time(60);
        ends(w, "j-worker-1", 1)
    });
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn the_last_dynamic_worker_to_end_ends_the_job_also_where_worker_0_was_lost() {
    for success_policy in ["", "AllWorkers"] {
        let mut scenario = Scenario::started(&[("PS", 1), ("Worker", 3)], |spec| {
            spec["enableDynamicWorker"] = json!(true);
            spec["successPolicy"] = json!(success_policy);
        });
        scenario.when("worker 0 fails", |w| ends(w, "j-worker-0", 1));
        scenario.when("worker 1 succeeds", |w| ends(w, "j-worker-1", 0));
        assert!(!scenario.is(ConditionType::Succeeded) && scenario.is(ConditionType::Running));
        scenario.when("worker 2 succeeds", |w| ends(w, "j-worker-2", 0));
        assert!(
            scenario.is(ConditionType::Succeeded) && !scenario.is(ConditionType::Failed),
            "{success_policy}"
        );
    }
}

#[test]
fn a_mistake_under_exit_code_fails_a_job_with_dynamic_workers() {
    let mut scenario = Scenario::started(&[("PS", 1), ("Worker", 2)], |spec| {
        spec["enableDynamicWorker"] = json!(true);
        policy(spec, "ExitCode");
    });
    scenario.when("worker 1 is killed", |w| ends(w, "j-worker-1", 137));
    assert!(scenario.is(ConditionType::Restarting));
    scenario.when("its replacement runs", World::run_all);
    scenario.when("it exits 1", |w| ends(w, "j-worker-1", 1));
    assert!(scenario.is(ConditionType::Failed));
}

#[test]
fn a_drained_worker_is_replaced_under_every_policy() {
    let mut scenario = Scenario::started(&[("PS", 1), ("Worker", 2)], |_| {});
    scenario.when("worker 1 is deleted", |w| w.delete("j-worker-1"));
    scenario.when("it is gone", World::reap);
    scenario.when("its replacement runs", World::run_all);
    insta::assert_snapshot!(scenario.transcript);
    for name in ["Always", "OnFailure", "Never", "ExitCode"] {
        for role in ["chief", "ps", "worker", "evaluator"] {
            let replicas = [("Chief", 1), ("PS", 1), ("Worker", 1), ("Evaluator", 1)];
            let mut scenario = Scenario::started(&replicas, |spec| policy(spec, name));
            let pod = format!("j-{role}-0");
            scenario.when("a pod is deleted", |w| w.delete(&pod));
            scenario.when("it is gone", World::reap);
            scenario.when("its replacement runs", World::run_all);
            let counts = scenario.world.status().restart_counts.unwrap();
            assert_eq!(
                (counts.failures, counts.disruptions),
                (0, 1),
                "{pod} under {name}"
            );
            assert!(scenario.is(ConditionType::Running), "{pod} under {name}");
        }
    }
}

#[test]
fn scaling_down_fails_nothing() {
    let mut scenario = Scenario::started(&[("PS", 1), ("Worker", 3)], |_| {});
    let workers = "/tfReplicaSpecs/Worker/replicas";
    scenario.when("scaled to 1", |w| w.edit(workers, json!(1)));
    scenario.when("pods are gone", World::reap);
    scenario.when("worker 0 exits 0", |w| ends(w, "j-worker-0", 0));
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn exit_137_under_exit_code_policy_replaces_the_pod_and_exit_1_ends_the_job() {
    let mut scenario = Scenario::started(&[("PS", 1), ("Worker", 2)], |spec| {
        policy(spec, "ExitCode");
        spec["runPolicy"] = json!({"ttlSecondsAfterFinished": 100});
    });
    scenario.when("worker 1 is killed", |w| ends(w, "j-worker-1", 137));
    scenario.when("it exits 1 the second time", |w| ends(w, "j-worker-1", 1));
    scenario.when("the job's time to live is over", |w| w.pass_time(100));
    assert!(scenario.world.job.is_none());
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn an_evaluator_that_fails_does_what_its_policy_says() {
    let replicas = [("Chief", 1), ("Worker", 1), ("Evaluator", 1)];
    let mut scenario = Scenario::new(&replicas, |_| {});
    scenario.when("applied", |_| {});
    scenario.when("chief and worker run, the evaluator still waits", |w| {
        w.run(&["j-chief-0", "j-worker-0"])
    });
    assert!(scenario.is(ConditionType::Running), "it trains");
    scenario.when("the evaluator exits 1", |w| ends(w, "j-evaluator-0", 1));
    insta::assert_snapshot!(scenario.transcript);
    let mut other = Scenario::started(&replicas, |spec| policy(spec, "OnFailure"));
    other.when("the evaluator is evicted", |w| w.evict("j-evaluator-0", None));
    other.when("its replacement runs", World::run_all);
    assert!(other.is(ConditionType::Running));
}

#[test]
fn parameter_servers_alone_run_until_somebody_ends_them() {
    let mut scenario = Scenario::started(&[("PS", 2)], |_| {});
    assert!(scenario.is(ConditionType::Running));
    scenario.when("a day passes", |w| w.pass_time(86400));
    assert!(!scenario.is(ConditionType::Succeeded));
    scenario.when("one exits 0", |w| ends(w, "j-ps-1", 0));
    assert!(!scenario.is(ConditionType::Succeeded));
    scenario.when("so does the other", |w| ends(w, "j-ps-0", 0));
    assert!(scenario.is(ConditionType::Succeeded));
}

#[test]
fn suspended_and_resumed() {
    let mut scenario = Scenario::started(&[("PS", 1), ("Worker", 1)], |spec| {
        spec["runPolicy"] = json!({"suspend": false});
    });
    scenario.when("suspended", |w| w.edit("/runPolicy/suspend", json!(true)));
    scenario.when("pods are gone", World::reap);
    assert!(scenario.world.pods.is_empty() && scenario.world.children.is_empty());
    scenario.when("resumed", |w| w.edit("/runPolicy/suspend", json!(false)));
    scenario.when("all pods run", World::run_all);
    assert!(scenario.is(ConditionType::Running) && !scenario.is(ConditionType::Suspended));
}

/// Bad input, as it reads when it comes round the schema's rules; the rules themselves are tried in `rules.rs`.
#[test]
fn bad_input_is_named_by_field() {
    let spec = |edit: &dyn Fn(&mut Value)| {
        let mut m = manifest(&FRAMEWORK, "j", &[("Chief", 1), ("Worker", 1)]);
        edit(&mut m["spec"]);
        m
    };
    let cases: Vec<(&str, Value)> = vec![
        (
            "chief and master",
            spec(&|s| s["tfReplicaSpecs"]["Master"] = s["tfReplicaSpecs"]["Chief"].clone()),
        ),
        (
            "two chiefs",
            spec(&|s| s["tfReplicaSpecs"]["Chief"]["replicas"] = json!(2)),
        ),
        (
            "one role in two spellings",
            spec(&|s| s["tfReplicaSpecs"]["worker"] = s["tfReplicaSpecs"]["Worker"].clone()),
        ),
        (
            "unknown success policy",
            spec(&|s| s["successPolicy"] = json!("Some")),
        ),
        (
            "dynamic workers in words",
            spec(&|s| s["enableDynamicWorker"] = json!("yes")),
        ),
        (
            "no container named tensorflow",
            spec(&|s| {
                s["tfReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0]["name"] = json!("main");
            }),
        ),
        (
            "unknown role",
            spec(&|s| s["tfReplicaSpecs"]["Launcher"] = json!({})),
        ),
        ("no replicas", spec(&|s| s["tfReplicaSpecs"] = json!({}))),
    ];
    let mut text = String::new();
    for (what, manifest) in cases {
        let plan = World::new(&FRAMEWORK, &manifest).plan(&FRAMEWORK);
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

/// Messages that upstream words otherwise than for other kinds are as upstream has them.
#[test]
fn messages_call_the_job_as_upstream_does() {
    for replicas in [&[("Chief", 1), ("Worker", 1)][..], &[("Worker", 2)][..]] {
        let mut scenario = Scenario::started(replicas, |_| {});
        let message = |scenario: &Scenario, type_| {
            let status = scenario.world.status();
            conditions::condition(&status, type_)
                .unwrap()
                .message
                .clone()
                .unwrap()
        };
        assert_eq!(message(&scenario, ConditionType::Created), "TFJob j is created.");
        assert_eq!(
            message(&scenario, ConditionType::Running),
            "TFJob ns1/j is running."
        );
        let first = format!("j-{}-0", replicas[0].0.to_lowercase());
        scenario.when("done", |w| ends(w, &first, 0));
        let expected = "TFJob ns1/j successfully completed.";
        assert_eq!(message(&scenario, ConditionType::Succeeded), expected);
    }
}

#[test]
fn a_parameter_server_on_a_lost_node_is_replaced_after_the_limit() {
    let mut scenario = Scenario::new(&[("PS", 1), ("Worker", 2)], |spec| policy(spec, "Never"));
    scenario.when("applied", |_| {});
    scenario.when("all pods run", World::run_all);
    scenario.world.pod("j-ps-0").node = Some("node-2".into());
    scenario.transcript.clear();
    scenario.when("its node falls silent", |w| w.lose_node("node-2"));
    scenario.when("the limit is reached", |w| w.pass_time(300));
    scenario.when("the replacement runs", World::run_all);
    insta::assert_snapshot!(scenario.transcript);
}

/// Nobody stands in for the leader: its failure ends the job where its success alone would.
#[test]
fn a_leader_that_is_waited_for_is_not_done_without() {
    let mut scenario = Scenario::started(&[("PS", 1), ("Worker", 2)], |spec| {
        spec["successPolicy"] = json!("Leader");
        spec["enableDynamicWorker"] = json!(true);
    });
    scenario.when("worker 0 fails for good", |w| {
        w.end("j-worker-0", "tensorflow", 1, "Error", None)
    });
    assert!(
        conditions::is_true(&scenario.world.status(), ConditionType::Failed),
        "{}",
        scenario.transcript
    );
}
