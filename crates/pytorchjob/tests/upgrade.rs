//! Jobs whose status an earlier version of the operator has stored: the texts that decisions read again are on the wire.

use common::gang::{Gang, Placement};
use common::plan::Write;
use common::testing::{World, manifest};
use pytorchjob::FRAMEWORK;
use serde_json::json;

fn created(world: &World) -> Vec<String> {
    let plan = world.plan(&FRAMEWORK);
    let writes = plan.writes.iter().filter_map(|write| match write {
        Write::CreatePod { pod, .. } => pod.metadata.name.clone(),
        _ => None,
    });
    writes.collect()
}

fn running(workers: u32) -> World {
    let mut world = World::new(&FRAMEWORK, &manifest(&FRAMEWORK, "j", &[("Worker", workers)]));
    world.settle(&FRAMEWORK);
    world.run_all();
    world.settle(&FRAMEWORK);
    world
}

#[test]
fn a_replica_that_was_scaled_down_comes_back_at_once_and_one_that_failed_after_its_delay() {
    for (reason, at_once) in [
        ("scaled down", true),
        ("pod j-worker-1 exited with code 137", false),
    ] {
        let mut world = running(2);
        world.pods.retain(|pod| &*pod.name != "j-worker-1");
        let now = world.now.to_string();
        let status = &mut world.job.as_mut().unwrap().status;
        status["slots"] = json!({"worker-1": {"attempt": 5, "since": now, "reason": reason}});
        assert_eq!(
            created(&world).contains(&"j-worker-1".to_owned()),
            at_once,
            "{reason}"
        );
    }
}

#[test]
fn a_gang_without_a_place_that_the_status_tells_of_sends_no_second_event() {
    let place = Placement::Unschedulable {
        reason: "Unschedulable".into(),
        message: "0/3 nodes are available".into(),
    };
    let events = |stored: &str| {
        let mut world = World::new(&FRAMEWORK, &manifest(&FRAMEWORK, "j", &[("Worker", 2)]));
        world.settings.gang = Gang::Native;
        world.settle(&FRAMEWORK);
        world.say_of_pod_group(None, &place);
        let status = &mut world.job.as_mut().unwrap().status;
        let conditions = status["conditions"].as_array_mut().unwrap();
        let condition = conditions.iter_mut().find(|c| c["type"] == "Created").unwrap();
        condition["message"] = json!(stored);
        let plan = world.plan(&FRAMEWORK);
        plan.events
            .iter()
            .filter(|event| event.reason == "Unschedulable")
            .count()
    };
    assert_eq!(events("PyTorchJob j is created."), 1);
    let told = "PyTorchJob j is created. It waits: PodGroup j finds no place: 0/9 nodes are available";
    assert_eq!(events(told), 0);
}
