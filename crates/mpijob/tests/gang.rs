//! Gangs with a launcher: one that waits for its workers must not keep them waiting for it.

use common::gang::{Gang, Placement};
use common::objects::Child;
use common::plan::Write;
use common::testing::{Story, World, manifest};
use mpijob::FRAMEWORK;
use serde_json::{Value, json};

fn story(gang: Gang, edit: impl FnOnce(&mut Value)) -> Story {
    let mut story = Story::new(&FRAMEWORK, &[("Launcher", 1), ("Worker", 2)], |spec| {
        spec["launcherTransport"] = json!("SSH");
        edit(spec);
    });
    story.world.settings.gang = gang;
    story
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
    let mut story = story(Gang::Native, |spec| {
        spec["launcherCreationPolicy"] = json!("WaitForWorkersReady");
    });
    story.when("applied", |_| {});
    story.when("the workers are placed", placed);
    story.when("and then the launcher", placed);
    story.when("a worker is evicted, and the launcher fails", |w| {
        w.evict("j-worker-0", Some("EvictionByEvictionAPI"));
        w.end("j-launcher", "main", 1, "Error", None);
    });
    story.when("the old launcher is gone", World::reap);
    story.when("the new worker is placed", placed);
    story.when("and then the new launcher", placed);
    story.when("it ends well", |w| {
        w.end("j-launcher", "main", 0, "Completed", None);
    });
    insta::assert_snapshot!(story.tale);
}

#[test]
fn workers_are_replaced_while_a_launcher_is_between_two_tries() {
    let mut story = story(Gang::Native, |_| {});
    story.when("applied", |_| {});
    story.when("placed", placed);
    // Its batch Job makes the next one only after a pause, and what is made then must not be waited for.
    story.world.end("j-launcher", "main", 1, "Error", None);
    story
        .world
        .batch_pods
        .retain(|(_, pod)| pod.phase == common::observe::Phase::Failed);
    story.when("a worker vanishes while there is no launcher", |w| {
        w.vanish("j-worker-1");
    });
    assert!(story.world.schedule(99) > 0, "{}", story.tale);
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
        let mut story = story(gang.clone(), |_| {});
        story.world.settle(&FRAMEWORK);
        if gang == Gang::Volcano {
            story.world.say_of_pod_group(Some("Inqueue"), &Placement::Unknown);
        } else {
            story.world.children.clear();
            story.world.batch_jobs.clear();
            story.world.batch_pods.clear();
        }
        let writes = story.world.plan(&FRAMEWORK).writes;
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
    let mut story = story(Gang::Native, |_| {});
    story.when("applied", |_| {});
    assert_eq!(
        story.world.pod_group().unwrap().spec,
        json!({"schedulingPolicy": {"gang": {"minCount": 3}}})
    );
    story.world.batch_pods.clear();
    let plan = story.world.plan(&FRAMEWORK);
    let changes = |write: &Write| matches!(write, Write::ChangeChild { .. });
    assert!(!plan.writes.iter().any(changes), "{plan:?}");
}
