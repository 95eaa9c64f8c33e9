//! Scaling of jobs that run, for every meaning of every kind.

use common::api::ConditionType;
use common::plan::{Plan, Write};
use common::testing::{World, manifest, meanings, whole};
use common::{Framework, ReplicaId, Role, conditions};
use serde_json::{Value, json};

fn spec(world: &mut World) -> &mut Value {
    &mut world.job.as_mut().unwrap().spec
}

fn scale(framework: &dyn Framework, world: &mut World, role: Role, count: u32) {
    spec(world)[framework.kind().replicas_field][role.0]["replicas"] = json!(count);
}

fn bring_up(framework: &'static dyn Framework, world: &mut World) -> Vec<Plan> {
    let mut plans = world.settle(framework);
    world.run_all();
    plans.extend(world.settle(framework));
    plans
}

fn deletes(plans: &[Plan]) -> Vec<String> {
    let all = plans.iter().flat_map(|plan| &plan.writes);
    all.filter_map(|write| match write {
        Write::DeletePod { name, .. } | Write::DeleteBatchJob { name, .. } => Some(name.clone()),
        _ => None,
    })
    .collect()
}

/// The replica that leads the job, if any.
fn leader(framework: &'static dyn Framework, world: &World) -> Option<ReplicaId> {
    let resolved = common::resolve::resolve(framework, world.job.as_ref().unwrap()).ok()?;
    framework.leader(&resolved.replicas, &resolved)
}

/// Jobs of one role that may lead, all of whose pods run.
fn alone() -> Vec<(&'static dyn Framework, Role, World)> {
    let mut found = Vec::new();
    for framework in meanings(operator::FRAMEWORKS) {
        // A launcher without which a job is not valid cannot be scaled.
        for info in framework
            .kind()
            .roles
            .iter()
            .filter(|role| role.min_replicas == 0)
        {
            let count = info.max_replicas.unwrap_or(3);
            let mut world = World::new(framework, &manifest(framework, "j", &[(info.role.0, count)]));
            if leader(framework, &world).is_some() {
                spec(&mut world)["runPolicy"] = json!({"suspend": false, "activeDeadlineSeconds": 1000});
                bring_up(framework, &mut world);
                found.push((framework, info.role, world));
            }
        }
    }
    assert!(found.len() >= 5, "Master, Worker; Chief, Master, Worker");
    found
}

#[test]
fn the_leader_of_a_running_job_is_never_scaled_away() {
    for (framework, role, mut world) in alone() {
        let kind = framework.kind();
        println!("{} {role}", kind.kind);
        let before = (world.describe(), world.pods.clone(), world.status());
        scale(framework, &mut world, role, 0);
        let plans = world.settle(framework);
        assert_eq!(deletes(&plans), [""; 0]);
        assert_eq!(world.pods, before.1);
        let status = world.status();
        let told = status.waiting_for.clone().unwrap();
        let leads = format!("would take away j-{}-0, which leads the job", role.lower());
        assert!(
            told.contains(&leads) && told.contains("spec.runPolicy.suspend"),
            "{told}"
        );
        assert_eq!(status.replica_statuses, before.2.replica_statuses);
        assert!(conditions::is_true(&status, ConditionType::Running));
        let events: Vec<_> = plans.iter().flat_map(|plan| &plan.events).collect();
        assert_eq!(events.len(), 1, "told once");
        assert_eq!(
            (&events[0].reason, &events[0].message),
            (&format!("{}Invalid", kind.kind), &told)
        );

        // The role itself taken out, where the kind has another, is the same.
        let mut others = kind
            .roles
            .iter()
            .filter(|other| other.role != role && other.min_replicas == 0);
        if let Some(other) = others.next_back() {
            let mut gone = world.clone();
            let map = spec(&mut gone)[kind.replicas_field].as_object_mut().unwrap();
            let replica = map.remove(role.0).unwrap();
            map.insert(other.role.0.to_owned(), replica);
            map[other.role.0]["replicas"] = json!(1);
            if leader(framework, &gone).is_none() {
                assert_eq!(deletes(&gone.settle(framework)), [""; 0]);
            }
        }

        // One pod fewer, and it goes on as ever.
        let mut back = world.clone();
        scale(framework, &mut back, role, 1);
        let kept = deletes(&back.settle(framework));
        assert!(kept.iter().all(|name| !name.ends_with("-0")), "{kept:?}");
        back.reap();
        bring_up(framework, &mut back);
        assert_eq!(back.pods, before.1[..1]);
        assert_eq!(back.status().waiting_for, None);

        // Its time is over all the same.
        let mut late = world.clone();
        late.pass_time(1000);
        late.settle(framework);
        assert!(conditions::is_true(&late.status(), ConditionType::Failed));

        // Suspended it has no pods; and none are made for a job that is resumed without replicas.
        spec(&mut world)["runPolicy"]["suspend"] = json!(true);
        assert_eq!(deletes(&world.settle(framework)).len(), before.1.len());
        world.reap();
        world.settle(framework);
        spec(&mut world)["runPolicy"]["suspend"] = json!(false);
        bring_up(framework, &mut world);
        assert!(world.pods.is_empty());
    }
}

#[test]
fn a_leader_that_vanishes_meanwhile_comes_back_with_its_replicas() {
    for (framework, role, mut world) in alone() {
        scale(framework, &mut world, role, 0);
        world.settle(framework);
        world.vanish(&format!("j-{}-0", role.lower()));
        assert_eq!(deletes(&world.settle(framework)), [""; 0]);
        scale(framework, &mut world, role, 1);
        bring_up(framework, &mut world);
        world.reap();
        bring_up(framework, &mut world);
        let pods: Vec<(&str, u32)> = world.pods.iter().map(|pod| (&*pod.name, pod.attempt.0)).collect();
        let name = format!("j-{}-0", role.lower());
        assert_eq!(pods, [(&*name, 1)]);
        assert_eq!(world.status().restart_counts.unwrap().disruptions, 1);
    }
}

#[test]
fn no_replicas_from_the_beginning_are_none() {
    for framework in meanings(operator::FRAMEWORKS) {
        let mut manifest = whole(framework, 1);
        let info = framework
            .kind()
            .roles
            .iter()
            .find(|role| role.min_replicas == 0)
            .unwrap();
        let roles = framework
            .kind()
            .roles
            .iter()
            .filter(|role| role.min_replicas == 0);
        let map = manifest["spec"][framework.kind().replicas_field]
            .as_object_mut()
            .unwrap();
        for role in roles.filter(|role| role.max_replicas.is_none()) {
            map[role.role.0]["replicas"] = json!(0);
        }
        let mut world = World::new(framework, &manifest);
        if common::resolve::resolve(framework, world.job.as_ref().unwrap()).is_err() {
            assert_eq!(framework.kind().roles.len(), 1, "nothing would be left of it");
            continue;
        }
        bring_up(framework, &mut world);
        let made = world.pods.iter().filter(|pod| pod.name.contains("-worker-"));
        assert_eq!(made.count(), 0, "{}", info.role);
        assert_eq!(world.status().waiting_for, None);
    }
}

#[test]
fn workers_beside_a_leader_go_down_to_none_and_come_back_and_nothing_counts_as_a_failure() {
    for framework in meanings(operator::FRAMEWORKS) {
        let role = framework.kind().scaled_role.expect("every kind can be scaled");
        let mut world = World::new(framework, &whole(framework, 2));
        spec(&mut world)["runPolicy"] = json!({"backoffLimit": 0});
        bring_up(framework, &mut world);
        bring_up(framework, &mut world);
        let worker = |index: u32| format!("j-{}-{index}", role.lower());
        let first = world.pod(&worker(0)).uid.clone();
        let leads = leader(framework, &world).is_some_and(|leader| leader.role == role);
        for (count, gone) in [(4, vec![]), (1, vec![1, 2, 3]), (0, vec![0]), (2, vec![])] {
            if leads && count == 0 {
                continue;
            }
            scale(framework, &mut world, role, count);
            let mut deleted = deletes(&bring_up(framework, &mut world));
            deleted.sort();
            assert_eq!(deleted, gone.into_iter().map(worker).collect::<Vec<_>>());
            if count > 0 && count != 2 {
                assert_eq!(world.pod(&worker(0)).uid, first, "who stays is left alone");
            }
            world.reap();
            bring_up(framework, &mut world);
            let status = world.status();
            assert!(conditions::is_true(&status, ConditionType::Running), "{status:?}");
            let counts = &status.replica_statuses[role.0];
            assert_eq!(u32::try_from(counts.active).unwrap(), count);
            assert!(counts.selector.is_some(), "autoscalers read it");
            assert_eq!(status.restart_counts, None);
        }
    }
}
