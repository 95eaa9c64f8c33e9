//! Gangs with a launcher: one that waits for its workers must not keep them waiting for it.

use common::gang::{Gang, Placement};
use common::objects::Child;
use common::plan::Write;
use common::testing::{Scenario, World, manifest};
use mpijob::FRAMEWORK;
use serde_json::{Value, json};

fn scenario(gang: Gang, edit: impl FnOnce(&mut Value)) -> Scenario {
    let mut scenario = Scenario::new(&FRAMEWORK, &[("Launcher", 1), ("Worker", 2)], |spec| {
        spec["launcherTransport"] = json!("SSH");
        edit(spec);
    });
    scenario.world.settings.gang = gang;
    scenario
}

/// All that waits is placed, and runs.
fn placed(world: &mut World) {
    assert!(
        world.schedule(99) > 0,
        "nothing is placed: {:?}",
        world.pod_group()
    );
    world.say_of_pod_group(Some("Running"), &Placement::Found);
    world.run_all();
}

#[test]
fn a_launcher_that_waits_for_workers_is_not_asked_for_with_them() {
    let mut scenario = scenario(Gang::Native, |spec| {
        spec["launcherCreationPolicy"] = json!("WaitForWorkersReady");
    });
    scenario.when("applied", |_| {});
    scenario.when("the workers are placed", placed);
    scenario.when("and then the launcher", placed);
    scenario.when("a worker is evicted, and the launcher fails", |w| {
        w.evict("j-worker-0", Some("EvictionByEvictionAPI"));
        w.end("j-launcher", "main", 1, "Error", None);
    });
    scenario.when("the old launcher is gone", World::reap);
    scenario.when("the new worker is placed", placed);
    scenario.when("and then the new launcher", placed);
    scenario.when("it ends well", |w| {
        w.end("j-launcher", "main", 0, "Completed", None);
    });
    insta::assert_snapshot!(scenario.transcript);
}

#[test]
fn workers_are_replaced_while_a_launcher_is_between_two_tries() {
    let mut scenario = scenario(Gang::Native, |_| {});
    scenario.when("applied", |_| {});
    scenario.when("placed", placed);
    // Its batch Job makes the next one only after a pause, and what is made then must not be waited for.
    scenario.world.end("j-launcher", "main", 1, "Error", None);
    scenario
        .world
        .batch_pods
        .retain(|(_, pod)| pod.phase == common::observe::Phase::Failed);
    scenario.when("a worker vanishes while there is no launcher", |w| {
        w.vanish("j-worker-1");
    });
    assert!(scenario.world.schedule(99) > 0, "{}", scenario.transcript);
}

#[test]
fn the_launchers_pod_belongs_to_the_gang_too() {
    for (gang, pointer) in [
        (Gang::Native, "/spec/template/spec/schedulingGroup/podGroupName"),
        (
            Gang::Volcano,
            "/spec/template/metadata/annotations/scheduling.k8s.io~1group-name",
        ),
        (
            Gang::Coscheduling {
                scheduler: "s".to_owned(),
            },
            "/spec/template/metadata/labels/scheduling.x-k8s.io~1pod-group",
        ),
    ] {
        let mut scenario = scenario(gang.clone(), |_| {});
        scenario.world.settle(&FRAMEWORK);
        if gang == Gang::Volcano {
            scenario
                .world
                .say_of_pod_group(Some("Inqueue"), &Placement::Unknown);
        } else {
            scenario.world.children.clear();
            scenario.world.batch_jobs.clear();
            scenario.world.batch_pods.clear();
        }
        let writes = scenario.world.plan(&FRAMEWORK).writes;
        let job = writes.iter().find_map(|w| match w {
            Write::CreateBatchJob { job, .. } => Some(serde_json::to_value(job).unwrap()),
            _ => None,
        });
        let job = job.unwrap();
        assert_eq!(job.pointer(pointer), Some(&json!("j")), "{gang} {job:#}");
        // mpi-operator tells Volcano no roles.
        assert!(!job.to_string().contains("task-spec"));
    }
}

#[test]
fn the_queue_may_be_an_annotation_and_the_priority_a_templates() {
    let mut job = manifest(&FRAMEWORK, "j", &[("Launcher", 1), ("Worker", 2)]);
    job["spec"]["launcherTransport"] = json!("SSH");
    job["spec"]["mpiReplicaSpecs"]["Worker"]["template"]["spec"]["priorityClassName"] = json!("low");
    let mut world = World::new(&FRAMEWORK, &job);
    world.settings.gang = Gang::Volcano;
    let annotations = &mut world.job.as_mut().unwrap().annotations;
    annotations.insert("scheduling.volcano.sh/queue-name".to_owned(), "q2".to_owned());
    let writes = world.plan(&FRAMEWORK).writes;
    let spec = writes.iter().find_map(|w| match w {
        Write::CreateChild(Child::PodGroup(group)) => Some(group.spec.clone()),
        _ => None,
    });
    assert_eq!(
        spec.unwrap(),
        json!({"minMember": 3, "priorityClassName": "low", "queue": "q2"})
    );
}

/// Between a batch Job and its pod there is a moment.
#[test]
fn a_launcher_whose_pod_is_not_made_yet_is_counted_in_its_gang() {
    let mut scenario = scenario(Gang::Native, |_| {});
    scenario.when("applied", |_| {});
    assert_eq!(
        scenario.world.pod_group().unwrap().spec,
        json!({"schedulingPolicy": {"gang": {"minCount": 3}}})
    );
    scenario.world.batch_pods.clear();
    let plan = scenario.world.plan(&FRAMEWORK);
    let changes = |write: &Write| matches!(write, Write::ChangeChild { .. });
    assert!(!plan.writes.iter().any(changes), "{plan:?}");
}
