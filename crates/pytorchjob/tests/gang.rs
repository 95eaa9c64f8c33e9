//! Gangs, scenario by scenario: what a scheduler is told, and that no pod waits for one that waits for it. Pods are placed by a
//! scheduler that counts as Kubernetes' own does: those that have ended do not count.

use common::gang::{Gang, Placement};
use common::objects::Child;
use common::observe::{PodDetail, Refusal, RefusalCause};
use common::plan::{EventType, Plan, Write};
use common::testing::{Scenario, World, manifest};
use pytorchjob::FRAMEWORK;
use serde_json::{Value, json};

const ALL: &[(&str, u32)] = &[("Master", 1), ("Worker", 2)];

fn scenario(gang: Gang, replicas: &[(&str, u32)], edit: impl FnOnce(&mut Value)) -> Scenario {
    let mut scenario = Scenario::new(&FRAMEWORK, replicas, edit);
    scenario.world.settings.gang = gang;
    scenario
}

fn native(replicas: &[(&str, u32)], edit: impl FnOnce(&mut Value)) -> Scenario {
    scenario(Gang::Native, replicas, edit)
}

fn coscheduling() -> Gang {
    let scheduler = "my-sched".to_owned();
    Gang::Coscheduling { scheduler }
}

fn no_place(message: &str) -> Placement {
    Placement::Unschedulable {
        reason: "Unschedulable".into(),
        message: message.into(),
    }
}

/// All that waits is placed, and runs.
fn placed(world: &mut World) {
    assert!(
        world.schedule(99) > 0,
        "nothing is placed: {:?}",
        world.pod_group()
    );
    let waits = |p: &&common::PodView| p.node.is_none() && !p.deleting;
    assert_eq!(world.pods.iter().filter(waits).count(), 0, "half a gang");
    world.say_of_pod_group(Some("Running"), &Placement::Found);
    world.run_all();
}

fn end(world: &mut World, pod: &str, code: i32) {
    world.end(pod, "pytorch", code, "Error", None);
}

fn policy(spec: &mut Value, policy: &Value) {
    spec["runPolicy"]["schedulingPolicy"] = policy.clone();
}

#[test]
fn a_gang_begins_together_and_its_pod_group_goes_with_the_job() {
    let mut scenario = native(&[("Master", 1), ("Worker", 2)], |_| {});
    scenario.when("applied", |_| {});
    scenario.when("it has a place", placed);
    scenario.when("the master ends well", |w| end(w, "j-master-0", 0));
    scenario.when("the workers end too", |w| {
        for pod in ["j-worker-0", "j-worker-1"] {
            end(w, pod, 0);
        }
        w.reap();
    });
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn a_gang_that_never_fits_is_explained_and_runs_once_it_is_smaller() {
    let mut scenario = native(&[("Worker", 3)], |_| {});
    scenario.when("applied", |_| {});
    let told = |w: &mut World, pod: &str, what: &str| {
        w.pod(pod).detail = Some(Box::new(PodDetail {
            unschedulable: Some(what.into()),
            ..PodDetail::default()
        }));
    };
    let words = "minCount (3) cannot be satisfied: 2 scheduled, 0 remaining";
    scenario.when("its pods are told first that they do not fit", |w| {
        told(w, "j-worker-0", &format!("pod group is unschedulable, {words}"));
    });
    scenario.when("and then the gang, and which of them is one too many", |w| {
        w.say_of_pod_group(None, &no_place(words));
        told(w, "j-worker-2", "0/1 nodes are available: 1 Insufficient cpu");
    });
    scenario.when("the same with other numbers", |w| {
        let why = no_place("minCount (3) cannot be satisfied: 0 scheduled, 2 remaining");
        w.say_of_pod_group(None, &why);
    });
    scenario.when("two are enough", |w| {
        let spec = &mut w.job.as_mut().unwrap().spec;
        policy(spec, &json!({"minAvailable": 2}));
    });
    scenario.when("it is scaled down", |w| {
        w.edit("/pytorchReplicaSpecs/Worker/replicas", json!(1));
    });
    scenario.when("what is wanted no more is gone", World::reap);
    scenario.when("it has a place", |w| {
        w.pods.iter_mut().for_each(|pod| pod.detail = None);
        placed(w);
    });
    insta::assert_snapshot!(scenario.transcript);
}

/// A pod that was not looked at again since its gang fits still says that it does not: no second warning.
#[test]
fn a_gang_that_fits_once_it_is_scaled_down_is_warned_of_once() {
    let mut world = World::new(&FRAMEWORK, &manifest(&FRAMEWORK, "j", &[("Worker", 3)]));
    world.settings.gang = Gang::Native;
    let mut plans = world.settle(&FRAMEWORK);
    let words = "minCount (3) cannot be satisfied: 2 scheduled, 0 remaining";
    world.say_of_pod_group(None, &no_place(words));
    for pod in ["j-worker-0", "j-worker-1", "j-worker-2"] {
        world.pod(pod).detail = Some(Box::new(PodDetail {
            unschedulable: Some("pod group is unschedulable".into()),
            ..PodDetail::default()
        }));
    }
    plans.extend(world.settle(&FRAMEWORK));
    world.edit("/pytorchReplicaSpecs/Worker/replicas", json!(2));
    // The scheduler is quicker than the pass that follows the intent to take the third one away.
    let intent = world.plan(&FRAMEWORK);
    world.apply(&intent);
    plans.push(intent);
    world.say_of_pod_group(None, &Placement::Found);
    plans.extend(world.settle(&FRAMEWORK));
    world.reap();
    plans.extend(world.settle(&FRAMEWORK));
    let events = plans.iter().flat_map(|plan| &plan.events);
    let warned = events.filter(|event| event.reason == "Unschedulable").count();
    assert_eq!(warned, 1, "{:?}", world.status());
}

#[test]
fn a_pod_that_is_replaced_is_placed_though_others_have_done_their_work() {
    let mut scenario = native(&[("Worker", 3)], |spec| {
        spec["pytorchReplicaSpecs"]["Worker"]["restartPolicy"] = json!("ExitCode");
    });
    scenario.when("applied", |_| {});
    scenario.when("placed", placed);
    scenario.when("worker 0 ends well", |w| end(w, "j-worker-0", 0));
    scenario.when("worker 1 is killed", |w| end(w, "j-worker-1", 137));
    scenario.when("its replacement has a place", placed);
    scenario.when("worker 2 ends well, and nothing is written", |w| {
        end(w, "j-worker-2", 0);
    });
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn scaling_up_by_one_asks_for_a_place_for_all_that_are_left() {
    let mut scenario = native(&[("Master", 1), ("Worker", 2)], |_| {});
    scenario.when("applied", |_| {});
    scenario.when("placed", placed);
    scenario.when("worker 0 ends well", |w| end(w, "j-worker-0", 0));
    scenario.when("scaled up", |w| {
        w.edit("/pytorchReplicaSpecs/Worker/replicas", json!(3));
    });
    scenario.when("the new one has a place", placed);
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn a_gang_that_begins_anew_waits_until_enough_can_be_made_together() {
    let mut scenario = native(&[("Worker", 2)], |spec| {
        spec["pytorchReplicaSpecs"]["Worker"]["restartPolicy"] = json!("ExitCode");
    });
    scenario.when("applied", |_| {});
    scenario.when("placed", placed);
    scenario.when("both are evicted, and one goes slowly", |w| {
        for pod in ["j-worker-0", "j-worker-1"] {
            w.delete(pod);
        }
        w.settle(&FRAMEWORK);
        w.vanish("j-worker-0");
    });
    assert!(scenario.world.pods.iter().all(|p| p.deleting), "half a gang");
    scenario.when("the other is gone too", World::reap);
    scenario.when("placed again", placed);
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn suspended_it_has_no_pod_group_and_resumed_a_new_one() {
    let mut scenario = native(&[("Worker", 2)], |spec| {
        spec["runPolicy"]["suspend"] = json!(false);
    });
    scenario.when("applied", |_| {});
    scenario.when("placed", placed);
    scenario.when("suspended", |w| w.edit("/runPolicy/suspend", json!(true)));
    scenario.when("resumed while its pods go", |w| {
        w.edit("/runPolicy/suspend", json!(false));
    });
    scenario.when("they are gone", World::reap);
    scenario.when("placed again", placed);
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn a_pod_group_that_somebody_deletes_while_it_is_in_use_keeps_nobody_waiting() {
    let mut scenario = native(&[("Worker", 3)], |spec| {
        spec["pytorchReplicaSpecs"]["Worker"]["restartPolicy"] = json!("ExitCode");
    });
    scenario.when("applied", |_| {});
    scenario.when("placed", placed);
    scenario.when("worker 0 ends well", |w| end(w, "j-worker-0", 0));
    scenario.when("its PodGroup is deleted and a worker killed", |w| {
        let groups = w.children.iter_mut().filter(|child| child.pod_group.is_some());
        groups.for_each(|group| group.deleting = true);
        end(w, "j-worker-1", 137);
    });
    scenario.when("the replacement has a place", placed);
}

#[test]
fn pods_of_the_time_before_there_was_a_gang_are_not_counted() {
    let mut scenario = Scenario::started(&FRAMEWORK, &[("Worker", 3)], |spec| {
        spec["pytorchReplicaSpecs"]["Worker"]["restartPolicy"] = json!("ExitCode");
    });
    scenario.world.settings.gang = Gang::Native;
    scenario.when(
        "a worker is killed after the operator has found a gang scheduler",
        |w| {
            end(w, "j-worker-1", 137);
        },
    );
    scenario.when("its replacement has a place", placed);
    assert_eq!(
        scenario.world.pod_group().unwrap().spec,
        json!({"schedulingPolicy": {"gang": {"minCount": 1}}})
    );
}

#[test]
fn another_scheduler_or_priority_in_one_role_does_not_keep_the_others_waiting() {
    let mut scenario = native(&[("Master", 1), ("Worker", 2)], |spec| {
        spec["pytorchReplicaSpecs"]["Master"]["template"]["spec"]["schedulerName"] = json!("mine");
        policy(spec, &json!({"priorityClass": "high"}));
    });
    scenario.when("applied", |_| {});
    let marked: Vec<_> = scenario.world.pods.iter().map(|p| p.gang.is_some()).collect();
    assert_eq!(marked, [false, true, true]);
    scenario.when("placed", |w| {
        w.pod("j-master-0").node = Some("node-2".into());
        placed(w);
    });
    insta::assert_snapshot!(scenario.transcript);
    // All of one other scheduler are a gang of that one.
    let mut all = native(&[("Master", 1), ("Worker", 1)], |spec| {
        for role in ["Master", "Worker"] {
            spec["pytorchReplicaSpecs"][role]["template"]["spec"]["schedulerName"] = json!("mine");
        }
    });
    all.when("applied", |_| {});
    assert!(all.world.pods.iter().all(|p| p.gang.is_some()) && !all.transcript.contains("Warning"));
}

/// Pods of the first plan that has any.
fn pods(world: &mut World) -> Vec<Value> {
    let writes = world.plan(&FRAMEWORK).writes;
    let pod = |w| match w {
        Write::CreatePod { pod, .. } => Some(serde_json::to_value(pod).unwrap()),
        _ => None,
    };
    writes.into_iter().filter_map(pod).collect()
}

#[test]
fn all_pods_of_a_gang_have_its_priority() {
    let mut job = manifest(&FRAMEWORK, "j", &[("Master", 1), ("Worker", 1)]);
    job["spec"]["pytorchReplicaSpecs"]["Master"]["template"]["spec"]["priorityClassName"] = json!("high");
    let mut world = World::new(&FRAMEWORK, &job);
    world.settings.gang = Gang::Native;
    for pod in pods(&mut world) {
        assert_eq!(pod["spec"]["priorityClassName"], "high");
        assert_eq!(pod["spec"]["schedulingGroup"], json!({"podGroupName": "j"}));
    }
    // It is made once: an edit acts when the gang begins anew, and until then later pods have the priority of the others.
    world.settle(&FRAMEWORK);
    policy(
        &mut world.job.as_mut().unwrap().spec,
        &json!({"priorityClass": "higher"}),
    );
    world.vanish("j-worker-0");
    let plan = world.plan(&FRAMEWORK);
    world.apply(&plan);
    let plan = world.plan(&FRAMEWORK);
    assert!(!plan.writes.iter().any(|w| matches!(w, Write::ChangeChild { .. })));
    assert_eq!(pods(&mut world)[0]["spec"]["priorityClassName"], "high");
    // One that was made without has none.
    let mut without = World::new(&FRAMEWORK, &manifest(&FRAMEWORK, "j", &[("Worker", 2)]));
    without.settings.gang = Gang::Native;
    without.settle(&FRAMEWORK);
    policy(
        &mut without.job.as_mut().unwrap().spec,
        &json!({"priorityClass": "higher"}),
    );
    without.vanish("j-worker-0");
    let plan = without.plan(&FRAMEWORK);
    without.apply(&plan);
    let pod = &pods(&mut without)[0];
    assert!(pod["spec"].get("priorityClassName").is_none() && pod["spec"].get("schedulingGroup").is_some());
    // Who asks for another in his template is placed by himself then.
    let specs = &mut world.job.as_mut().unwrap().spec["pytorchReplicaSpecs"];
    specs["Worker"]["template"]["spec"]["priorityClassName"] = json!("low");
    let pod = &pods(&mut world)[0];
    assert_eq!(pod["spec"]["priorityClassName"], "low");
    assert!(pod["spec"].get("schedulingGroup").is_none());
}

#[test]
fn volcano_admits_before_there_are_pods() {
    let mut scenario = scenario(Gang::Volcano, &[("Master", 1), ("Worker", 2)], |spec| {
        spec["runPolicy"]["activeDeadlineSeconds"] = json!(60);
    });
    scenario.when("applied", |_| {});
    scenario.when("an hour passes in the queue", |w| {
        w.pass_time(3600);
        w.say_of_pod_group(Some("Pending"), &no_place("3/3 tasks in gang unschedulable"));
    });
    scenario.when(
        "an administrator moves it to another queue, and it is admitted",
        |w| {
            for child in w.children.iter_mut().filter(|c| c.pod_group.is_some()) {
                child.pod_group.as_mut().unwrap().spec["queue"] = json!("other");
            }
            w.say_of_pod_group(Some("Inqueue"), &Placement::Unknown);
        },
    );
    assert_eq!(scenario.world.pod_group().unwrap().spec["queue"], "other");
    scenario.when("it runs", placed);
    scenario.when(
        "a worker vanishes, and Volcano takes the gang for pending again",
        |w| {
            w.vanish("j-worker-1");
            w.say_of_pod_group(Some("Pending"), &Placement::Unknown);
        },
    );
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn what_matters_most_is_counted_first() {
    let mut job = manifest(&FRAMEWORK, "j", &[("Master", 1), ("Worker", 2)]);
    for (role, cpu, class) in [("Master", "1", "low"), ("Worker", "4", "high")] {
        let spec = &mut job["spec"]["pytorchReplicaSpecs"][role]["template"]["spec"];
        spec["priorityClassName"] = json!(class);
        spec["containers"][0]["resources"] = json!({"requests": {"cpu": cpu}});
    }
    job["spec"]["runPolicy"]["schedulingPolicy"] = json!({"minAvailable": 2});
    let mut world = World::new(&FRAMEWORK, &job);
    world.settings.gang = coscheduling();
    for (priorities, cpu) in [(vec![], "5"), (vec![("high", 10), ("low", 1)], "8")] {
        world.priorities = priorities
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let writes = world.plan(&FRAMEWORK).writes;
        let group = writes.iter().find_map(|w| match w {
            Write::CreateChild(Child::PodGroup(group)) => Some(&group.spec),
            _ => None,
        });
        assert_eq!(group.unwrap()["minResources"], json!({"cpu": cpu}));
    }
}

#[test]
fn what_is_edited_while_it_waits_is_written_once_and_what_others_wrote_stays() {
    let mut scenario = scenario(coscheduling(), &[("Worker", 2)], |spec| {
        spec["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0]["resources"] =
            json!({"requests": {"cpu": "1", "example.com/gpu": "1"}});
    });
    scenario.when("applied", |_| {});
    scenario.when("somebody writes a field of his own", |w| {
        for child in w.children.iter_mut().filter(|c| c.pod_group.is_some()) {
            child.pod_group.as_mut().unwrap().spec["theirs"] = json!(1);
        }
    });
    scenario.when("the policy is edited", |w| {
        let all = json!({"minResources": {"cpu": "3"}, "scheduleTimeoutSeconds": 60, "minAvailable": 1});
        policy(&mut w.job.as_mut().unwrap().spec, &all);
    });
    assert_eq!(scenario.world.pod_group().unwrap().spec["theirs"], 1);
    scenario.when("nothing more happens", |w| w.pass_time(60));
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn a_gang_scheduler_that_is_not_installed_is_waited_for() {
    let mut scenario = scenario(coscheduling(), &[("Worker", 2)], |_| {});
    scenario.world.refusals.push(Refusal {
        object: "PodGroup j".to_owned(),
        deletion: false,
        cause: RefusalCause::Transient,
        message: "the cluster does not serve it".to_owned(),
    });
    let plan = scenario.world.plan(&FRAMEWORK);
    let status = plan.status.unwrap();
    assert_eq!(
        status.waiting_for.as_deref(),
        Some("PodGroup j was refused: the cluster does not serve it")
    );
    assert_eq!(plan.events.last().unwrap().reason, "FailedCreatePodGroup");
}

#[test]
fn other_words_of_the_scheduler_are_told_without_haste() {
    let mut scenario = native(&[("Worker", 3)], |_| {});
    scenario.when("applied", |_| {});
    scenario
        .world
        .say_of_pod_group(None, &no_place("2 scheduled, 0 remaining"));
    let first = scenario.world.plan(&FRAMEWORK);
    assert!(!first.events.is_empty(), "told at once");
    scenario.when("told", |_| {});
    scenario
        .world
        .say_of_pod_group(None, &no_place("0 scheduled, 2 remaining"));
    let second = scenario.world.plan(&FRAMEWORK);
    assert_ne!(second.status, Some(scenario.world.status()), "other words");
    assert!(!second.status_is_urgent && second.events.is_empty());
}

/// One that is late does not make the gang smaller, as long as none of it has a place.
#[test]
fn a_gang_without_a_place_is_not_split() {
    let mut scenario = native(&[("Worker", 3)], |_| {});
    scenario.when("applied", |_| {});
    for _ in 0..2 {
        scenario.when("somebody deletes worker 2", |w| w.delete("j-worker-2"));
        scenario.when("it is gone", World::reap);
    }
    let spec = &scenario.world.pod_group().unwrap().spec;
    assert_eq!(
        spec.pointer("/schedulingPolicy/gang/minCount"),
        Some(&json!(3)),
        "{}",
        scenario.transcript
    );
    scenario.when("the restart is due", |w| w.pass_time(6));
    assert_eq!(scenario.world.pods.len(), 3, "{}", scenario.transcript);
}

/// The time that it waits in the queue is not the job's.
#[test]
fn what_waits_in_volcanos_queue_after_a_resume_has_not_begun() {
    let mut scenario = scenario(Gang::Volcano, &[("Worker", 2)], |spec| {
        spec["runPolicy"] = json!({"suspend": true, "activeDeadlineSeconds": 60});
    });
    scenario.when("applied", |_| {});
    scenario.when("resumed", |w| w.edit("/runPolicy/suspend", json!(false)));
    scenario.when("an hour passes", |w| w.pass_time(3600));
    let status = scenario.world.status();
    assert!(
        status.start_time.is_none() && !common::conditions::is_finished(&status),
        "{}",
        scenario.transcript
    );
}

#[test]
fn a_pod_group_that_still_goes_is_waited_for() {
    let mut world = native(&[("Worker", 2)], |_| {}).world;
    world.settle(&FRAMEWORK);
    world.pods.clear();
    for child in world.children.iter_mut().filter(|c| c.pod_group.is_some()) {
        child.deleting = true;
    }
    let plan = world.plan(&FRAMEWORK);
    let makes = |write: &Write| matches!(write, Write::CreatePod { .. });
    assert!(!plan.writes.iter().any(makes), "they would belong to what goes");
    assert_eq!(
        plan.status.unwrap().waiting_for.as_deref(),
        Some("PodGroup j has to terminate first")
    );
}

fn unschedulable(world: &mut World) {
    for pod in &mut world.pods {
        pod.detail = Some(Box::new(PodDetail {
            unschedulable: Some("0/3 nodes are available".into()),
            ..PodDetail::default()
        }));
    }
}

fn warnings(plan: &Plan) -> Vec<&str> {
    let events = plan
        .events
        .iter()
        .filter(|event| event.kind == EventType::Warning);
    events.map(|event| &*event.reason).collect()
}

/// Kubernetes' own scheduler says of the gang what its pods say too; that of the scheduler-plugins says nothing.
#[test]
fn where_the_scheduler_speaks_for_the_gang_its_pods_are_not_quoted_before() {
    for (gang, quoted) in [(Gang::Native, false), (coscheduling(), true)] {
        for lost in [false, true] {
            let mut scenario = scenario(gang.clone(), ALL, |_| {});
            scenario.when("applied", |_| {});
            unschedulable(&mut scenario.world);
            if lost {
                scenario.world.children.retain(|child| child.pod_group.is_none());
            }
            let plan = scenario.world.plan(&FRAMEWORK);
            assert_eq!(
                warnings(&plan).contains(&"Unschedulable"),
                quoted,
                "{gang:?} {lost} {:?}",
                plan.events
            );
        }
    }
    let mut scenario = native(ALL, |_| {});
    scenario.when("applied", |_| {});
    scenario.world.say_of_pod_group(None, &Placement::Found);
    unschedulable(&mut scenario.world);
    assert_eq!(
        warnings(&scenario.world.plan(&FRAMEWORK)),
        ["Unschedulable"],
        "it has spoken"
    );
}

#[test]
fn a_role_without_pods_has_no_say_in_its_gang() {
    let mut scenario = native(&[("Master", 0), ("Worker", 2)], |spec| {
        for (role, class) in [("Master", "low"), ("Worker", "high")] {
            spec["pytorchReplicaSpecs"][role]["template"]["spec"]["priorityClassName"] = json!(class);
        }
    });
    scenario.when("applied", |_| {});
    assert!(
        scenario.world.pods.iter().all(|pod| pod.gang.is_some()),
        "{}",
        scenario.transcript
    );
    assert!(
        !scenario.transcript.contains("NotInGang"),
        "{}",
        scenario.transcript
    );
    assert_eq!(scenario.world.pods.len(), 2);
}
