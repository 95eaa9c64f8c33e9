//! All pods of a job are placed together, or none: for every meaning of every kind, by Kubernetes' own gangs.

use common::api::ConditionType;
use common::gang::{Gang, Placement};
use common::objects::Child;
use common::plan::{Plan, Write, WriteClass};
use common::testing::{World, meanings, whole};
use common::{Framework, conditions};
use serde_json::Value;

fn job(framework: &'static dyn Framework) -> World {
    println!("{} {}", framework.kind().api_version(), framework.kind().kind);
    let mut manifest = whole(framework, 2);
    // While pods are left, so is their gang.
    manifest["spec"]["runPolicy"]["cleanPodPolicy"] = "All".into();
    let mut world = World::new(framework, &manifest);
    world.settings.gang = Gang::Native;
    world
}

/// What carries pods, of all that a plan writes.
fn pods(plans: &[Plan]) -> usize {
    let writes = plans.iter().flat_map(|plan| &plan.writes);
    writes.filter(|write| write.class() == WriteClass::Pods).count()
}

fn asked_for(world: &World) -> u64 {
    let spec = &world.pod_group().unwrap().spec;
    spec.pointer("/schedulingPolicy/gang/minCount")
        .and_then(Value::as_u64)
        .unwrap()
}

fn waiting(world: &World) -> usize {
    let carried = world.batch_pods.iter().map(|(_, pod)| pod);
    world
        .pods
        .iter()
        .chain(carried)
        .filter(|pod| pod.node.is_none() && !pod.deleting)
        .count()
}

/// Places all that waits, as often as something new does.
fn bring_up(framework: &'static dyn Framework, world: &mut World) {
    for _ in 0..3 {
        if waiting(world) > 0 {
            assert!(
                world.schedule(99) > 0,
                "nothing is placed: {:?}",
                world.pod_group()
            );
            world.say_of_pod_group(Some("Running"), &Placement::Found);
            world.run_all();
        }
        world.settle(framework);
    }
}

#[test]
fn its_gang_is_made_before_its_pods_and_is_of_all_of_them() {
    for framework in meanings(operator::FRAMEWORKS) {
        let mut world = job(framework);
        let plans = world.settle(framework);
        let groups = plans.iter().flat_map(|plan| &plan.writes);
        let groups = groups.filter(|write| matches!(write, Write::CreateChild(Child::PodGroup(_))));
        assert_eq!(groups.count(), 1);
        let made = pods(&plans);
        assert!(made >= 2);
        assert_eq!(
            usize::try_from(asked_for(&world)).unwrap(),
            made,
            "all that are there, and no more"
        );
        let all = world
            .pods
            .iter()
            .chain(world.batch_pods.iter().map(|(_, pod)| pod));
        assert!(
            all.clone().all(|pod| pod.gang.is_some()),
            "every pod belongs to it"
        );
        bring_up(framework, &mut world);
        assert!(
            conditions::is_true(&world.status(), ConditionType::Running),
            "{:?}",
            world.status()
        );
    }
}

#[test]
fn half_a_gang_is_never_placed_and_it_says_what_it_waits_for() {
    for framework in meanings(operator::FRAMEWORKS) {
        let mut world = job(framework);
        world.settle(framework);
        let before = waiting(&world);
        let room = before - 1;
        assert_eq!(world.schedule(room), 0);
        let words = format!("minCount ({before}) cannot be satisfied");
        let none = Placement::Unschedulable {
            reason: "Unschedulable".into(),
            message: words.as_str().into(),
        };
        world.say_of_pod_group(None, &none);
        world.settle(framework);
        assert_eq!(waiting(&world), before);
        let told = world.status().waiting_for.unwrap();
        assert!(told.contains(&words), "{told}");
    }
}

#[test]
fn a_lost_pod_is_placed_beside_those_that_run_and_the_gang_ends_with_the_job() {
    for framework in meanings(operator::FRAMEWORKS) {
        let mut world = job(framework);
        world.settle(framework);
        bring_up(framework, &mut world);
        let lost = world.pods.last().unwrap().name.to_string();
        world.delete(&lost);
        world.settle(framework);
        world.reap();
        world.settle(framework);
        bring_up(framework, &mut world);
        assert!(
            conditions::is_true(&world.status(), ConditionType::Running),
            "{:?}",
            world.status()
        );
        for name in world.deciding(framework) {
            world.end(
                &name,
                framework.kind().container.unwrap_or("main"),
                0,
                "Completed",
                None,
            );
        }
        for _ in 0..3 {
            world.settle(framework);
            world.reap();
        }
        assert!(
            conditions::is_true(&world.status(), ConditionType::Succeeded),
            "{:?}",
            world.status()
        );
        assert!(world.pod_group().is_none(), "{:?}", world.pod_group());
    }
}

/// One of a gang is lost, its place is taken, and the others keep theirs while they wait for it (vol#5805).
#[test]
fn begun_anew_together_a_gang_without_a_place_holds_none() {
    for framework in meanings(operator::FRAMEWORKS) {
        let mut world = job(framework);
        world.job.as_mut().unwrap().spec["runPolicy"]["restartScope"] = "Job".into();
        world.settle(framework);
        bring_up(framework, &mut world);
        let lost = world.pods.last().unwrap().name.to_string();
        world.delete(&lost);
        for _ in 0..3 {
            world.settle(framework);
            world.reap();
        }
        world.settle(framework);
        let before = waiting(&world);
        assert!(before >= 2, "{before}");
        assert_eq!(world.schedule(before - 1), 0, "somebody else has a place of them");
        let carried = world.batch_pods.iter().map(|(_, pod)| pod);
        let placed = world.pods.iter().chain(carried).filter(|pod| pod.node.is_some());
        assert_eq!(placed.count(), 0, "none is held");
        bring_up(framework, &mut world);
        assert!(conditions::is_true(&world.status(), ConditionType::Running));
        assert_eq!(world.status().whole_restarts.unwrap().count, 1);
    }
}
