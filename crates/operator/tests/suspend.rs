//! What users and queues may rely on: suspension, resumption, and whose a job is. For every meaning of every kind.

use common::conditions;
use std::collections::BTreeMap;

use common::api::{ConditionStatus, ConditionType, JobStatus};
use common::plan::{Plan, Write};
use common::testing::{World, meanings, merge_patch, whole};
use common::{Framework, names};
use serde_json::{Value, json};

/// Tells each meaning of each kind by its API version and kind.
fn for_every_kind(test: impl Fn(&'static dyn Framework)) {
    let all = meanings(operator::FRAMEWORKS);
    assert!(all.len() >= 4, "both meanings of MPIJob are among them");
    for framework in all {
        println!("{} {}", framework.kind().api_version(), framework.kind().kind);
        test(framework);
    }
}

fn job(framework: &dyn Framework, suspend: bool) -> World {
    let mut manifest = whole(framework, 2);
    manifest["spec"]["runPolicy"] = json!({"suspend": suspend});
    World::new(framework, &manifest)
}

/// A job all of whose pods run.
fn running(framework: &'static dyn Framework) -> World {
    let mut world = job(framework, false);
    bring_up(framework, &mut world);
    world
}

fn bring_up(framework: &'static dyn Framework, world: &mut World) {
    world.settle(framework);
    world.run_all();
    // A launcher may have waited for its workers.
    world.settle(framework);
    world.run_all();
    world.settle(framework);
    assert!(
        conditions::is_true(&world.status(), ConditionType::Running),
        "{:?}",
        world.status()
    );
}

fn spec(world: &mut World) -> &mut Value {
    &mut world.job.as_mut().unwrap().spec
}

fn suspend(world: &mut World, suspend: bool) {
    spec(world)["runPolicy"]["suspend"] = json!(suspend);
}

fn reasons(plans: &[Plan]) -> Vec<String> {
    let events = plans.iter().flat_map(|plan| &plan.events);
    events.map(|event| event.reason.clone()).collect()
}

fn conditions(status: &JobStatus) -> Vec<(ConditionType, ConditionStatus)> {
    status.conditions.iter().map(|c| (c.type_, c.status)).collect()
}

fn active(status: &JobStatus) -> i32 {
    status.replica_statuses.values().map(|counts| counts.active).sum()
}

fn pods(world: &World) -> usize {
    world.pods.len() + world.batch_pods.len()
}

#[test]
fn suspended_from_the_beginning_it_makes_nothing_at_all() {
    for_every_kind(|framework| {
        let mut world = job(framework, true);
        let plans = world.settle(framework);
        let writes: Vec<&Write> = plans.iter().flat_map(|plan| &plan.writes).collect();
        assert!(writes.is_empty(), "{writes:?}");
        assert!(pods(&world) == 0 && world.children.is_empty());
        assert!(world.batch_jobs.is_empty() && world.extras.is_empty());
        let kind = framework.kind().kind;
        assert_eq!(reasons(&plans), [format!("{kind}Suspended")]);
        let status = world.status();
        let (created, suspended) = (ConditionType::Created, ConditionType::Suspended);
        let held = ConditionStatus::True;
        assert_eq!(conditions(&status), [(created, held), (suspended, held)]);
        assert_eq!(status.start_time, None, "it has not begun");
        assert_eq!((active(&status), status.attempt), (0, 0));
        world.is_stable(framework);
        // It begins as any other.
        suspend(&mut world, false);
        bring_up(framework, &mut world);
        assert!(
            world.created.iter().all(|(_, attempt)| attempt.0 == 0),
            "{:?}",
            world.created
        );
    });
}

#[test]
fn active_reads_0_only_when_the_pods_are_gone() {
    for_every_kind(|framework| {
        let mut world = running(framework);
        let all = i32::try_from(pods(&world)).unwrap();
        suspend(&mut world, true);
        let first = world.plan(framework);
        let intent = first
            .intent
            .clone()
            .expect("nothing is deleted before that is stored");
        assert!(conditions::is_true(&intent, ConditionType::Suspended));
        assert_eq!(active(&intent), all);
        let mut plans = world.settle(framework);
        assert!(world.pods.iter().all(|pod| pod.deleting) && world.batch_jobs.iter().all(|job| job.deleting));
        assert!(world.children.is_empty(), "{:?}", world.children);
        let status = world.status();
        let running = conditions::condition(&status, ConditionType::Running).unwrap();
        assert_eq!(running.status, ConditionStatus::False);
        assert_eq!(status.conditions.last().unwrap().type_, ConditionType::Suspended);
        // They go one by one.
        while pods(&world) > 0 {
            assert_eq!(active(&world.status()), i32::try_from(pods(&world)).unwrap());
            if world.pods.pop().is_none() {
                world.batch_pods.pop();
            }
            plans.extend(world.settle(framework));
        }
        world.reap();
        plans.extend(world.settle(framework));
        assert_eq!(active(&world.status()), 0);
        assert_eq!(
            reasons(&plans),
            [format!("{}Suspended", framework.kind().kind)],
            "one event"
        );
        world.is_stable(framework);
    });
}

/// What a queue adds to a template when it admits a job.
fn directives() -> Value {
    json!({
        "metadata": {"labels": {"queue/podset": "a"}, "annotations": {"queue/workload": "b"}},
        "spec": {
            "nodeSelector": {"pool": "c"},
            "tolerations": [{"key": "spot", "operator": "Exists"}],
            "schedulingGates": [{"name": "queue/topology"}],
        },
    })
}

/// Templates of all pods that a plan makes, whoever makes them.
fn templates(plans: &[Plan]) -> BTreeMap<String, Value> {
    let made = plans
        .iter()
        .flat_map(|plan| &plan.writes)
        .filter_map(|write| match write {
            Write::CreatePod { pod, .. } => {
                Some((pod.metadata.name.clone()?, serde_json::to_value(pod).ok()?))
            }
            Write::CreateBatchJob { job, .. } => {
                let template = &job.spec.as_ref()?.template;
                Some((job.metadata.name.clone()?, serde_json::to_value(template).ok()?))
            }
            _ => None,
        });
    made.collect()
}

#[test]
fn resumed_it_is_made_from_the_templates_as_they_are_then() {
    for_every_kind(|framework| {
        for from_the_beginning in [true, false] {
            let mut world = if from_the_beginning {
                job(framework, true)
            } else {
                running(framework)
            };
            suspend(&mut world, true);
            world.settle(framework);
            world.reap();
            world.settle(framework);
            let map = framework.kind().replicas_field;
            for replica in spec(&mut world)[map].as_object_mut().unwrap().values_mut() {
                merge_patch(&mut replica["template"], &directives());
            }
            world.is_stable(framework);
            suspend(&mut world, false);
            let mut plans = world.settle(framework);
            world.run_all();
            plans.extend(world.settle(framework));
            let made = templates(&plans);
            let replicas = common::resolve::resolve(framework, world.job.as_ref().unwrap())
                .unwrap()
                .replicas
                .len();
            assert_eq!(made.len(), replicas as usize, "{:?}", made.keys());
            let wanted = directives();
            for (name, pod) in made {
                for field in ["nodeSelector", "tolerations", "schedulingGates"] {
                    assert_eq!(pod["spec"][field], wanted["spec"][field], "{name}");
                }
                let metadata = &pod["metadata"];
                assert_eq!(metadata["labels"]["queue/podset"], "a", "{name}");
                assert_eq!(metadata["annotations"]["queue/workload"], "b", "{name}");
                assert_eq!(
                    metadata["labels"][names::JOB_NAME],
                    "j",
                    "what tells whose it is stays: {name}"
                );
            }
            assert_eq!(reasons(&plans)[0], format!("{}Resumed", framework.kind().kind));
        }
    });
}

#[test]
fn attempts_and_counts_survive_and_no_incarnation_is_made_twice() {
    for_every_kind(|framework| {
        let mut world = running(framework);
        let lost = world.pods.last().unwrap().name.to_string();
        world.delete(&lost);
        world.settle(framework);
        world.reap();
        bring_up(framework, &mut world);
        let counts = world.status().restart_counts;
        assert_eq!(counts.as_ref().unwrap().disruptions, 1);
        let highest = world.created.iter().map(|(_, attempt)| *attempt).max().unwrap();
        assert_eq!(highest.0, 1);
        suspend(&mut world, true);
        world.settle(framework);
        world.reap();
        world.settle(framework);
        assert_eq!(world.status().restart_counts, counts, "suspended");
        let before = world.created.len();
        suspend(&mut world, false);
        bring_up(framework, &mut world);
        assert_eq!(world.status().restart_counts, counts, "resumed");
        assert!(
            world.created[before..]
                .iter()
                .all(|(_, attempt)| *attempt > highest)
        );
        let mut created = world.created.clone();
        created.sort();
        created.dedup();
        assert_eq!(created.len(), world.created.len());
    });
}

#[test]
fn pods_that_nobody_saw_when_it_was_suspended_are_no_incarnation_that_comes_again() {
    for_every_kind(|framework| {
        let mut world = job(framework, false);
        // The operator dies before it tells of the pods that it has made.
        let first = world.plan(framework);
        let intent = usize::from(first.intent.is_some());
        world.apply_until(&first, intent + world.open(&first).len());
        assert!(pods(&world) > 0);
        // They are out of its successor's sight for a while.
        let hidden = world.clone();
        world.pods.clear();
        world.batch_jobs.clear();
        world.batch_pods.clear();
        suspend(&mut world, true);
        world.settle(framework);
        (world.pods, world.batch_jobs, world.batch_pods) =
            (hidden.pods, hidden.batch_jobs, hidden.batch_pods);
        let first = world.status().attempt;
        let mut there = world.pods.iter().map(|pod| pod.attempt);
        if there.any(|attempt| attempt.0 >= first) {
            let stored = world.plan(framework).intent;
            let stored = stored.expect("their attempt is over before they are deleted");
            assert!(conditions::is_true(&stored, ConditionType::Suspended));
            assert!(stored.attempt > first, "{stored:?}");
        }
        world.settle(framework);
        world.reap();
        world.settle(framework);
        assert_eq!((pods(&world), active(&world.status())), (0, 0));
        world.is_stable(framework);
        suspend(&mut world, false);
        bring_up(framework, &mut world);
        let mut created = world.created.clone();
        created.sort();
        created.dedup();
        assert_eq!(created.len(), world.created.len(), "{:?}", world.created);
    });
}

#[test]
fn the_start_time_stands_until_the_job_is_resumed_and_the_deadline_counts_from_it() {
    for_every_kind(|framework| {
        let mut world = running(framework);
        spec(&mut world)["runPolicy"]["activeDeadlineSeconds"] = json!(100);
        let begun = world.status().start_time.unwrap();
        assert_eq!(begun, conditions::whole_seconds(world.now));
        world.pass_time(60);
        suspend(&mut world, true);
        world.settle(framework);
        world.reap();
        world.pass_time(3600);
        world.settle(framework);
        assert_eq!(
            world.status().start_time,
            Some(begun),
            "and no deadline while it is suspended"
        );
        suspend(&mut world, false);
        bring_up(framework, &mut world);
        assert_eq!(
            world.status().start_time,
            Some(conditions::whole_seconds(world.now))
        );
        world.pass_time(99);
        world.settle(framework);
        assert!(!conditions::is_finished(&world.status()));
        world.pass_time(1);
        world.settle(framework);
        assert!(conditions::is_true(&world.status(), ConditionType::Failed));
    });
}

#[test]
fn an_ended_job_is_left_alone_whatever_suspend_says() {
    for_every_kind(|framework| {
        let mut world = running(framework);
        for name in world.deciding(framework) {
            world.end(
                &name,
                framework.kind().container.unwrap_or("main"),
                0,
                "Completed",
                None,
            );
        }
        world.settle(framework);
        let ended = world.status();
        assert!(conditions::is_true(&ended, ConditionType::Succeeded));
        let left = world.describe();
        for say in [true, false] {
            suspend(&mut world, say);
            world.is_stable(framework);
            assert_eq!((world.status(), world.describe()), (ended.clone(), left.clone()));
        }
    });
}

/// A slip in an edit does not keep a queue from taking the job's pods away.
#[test]
fn a_job_that_is_not_valid_any_more_is_suspended_all_the_same() {
    for_every_kind(|framework| {
        let mut world = running(framework);
        let map = framework.kind().replicas_field;
        let role = framework.kind().roles.last().unwrap().role.0;
        let valid = spec(&mut world)[map][role].clone();
        spec(&mut world)[map][role]["template"]["spec"]["containers"] = json!([]);
        let before = world.describe();
        let plans = world.settle(framework);
        assert_eq!(reasons(&plans), [format!("{}Invalid", framework.kind().kind)]);
        assert_eq!(world.describe(), before, "it goes on as it is");
        suspend(&mut world, true);
        world.settle(framework);
        world.reap();
        world.settle(framework);
        assert_eq!((pods(&world), active(&world.status())), (0, 0));
        world.is_stable(framework);
        // Resumed it says again what is wrong, and begins when that is mended.
        suspend(&mut world, false);
        let plans = world.settle(framework);
        assert_eq!(reasons(&plans), [format!("{}Invalid", framework.kind().kind)]);
        spec(&mut world)[map][role] = valid;
        bring_up(framework, &mut world);
    });
}

#[test]
fn suspended_again_before_its_pods_were_gone_and_resumed_before() {
    for_every_kind(|framework| {
        let mut world = running(framework);
        for say in [true, false, true] {
            suspend(&mut world, say);
            world.settle(framework);
        }
        world.reap();
        world.settle(framework);
        assert_eq!((pods(&world), active(&world.status())), (0, 0));
        suspend(&mut world, false);
        bring_up(framework, &mut world);
    });
}

#[test]
fn a_job_of_another_manager_gets_not_one_write() {
    for_every_kind(|framework| {
        for manager in [
            json!(names::MANAGED_BY_MULTIKUEUE),
            json!("somebody/else"),
            json!(""),
            json!(7),
        ] {
            let mut theirs = job(framework, false);
            spec(&mut theirs)["runPolicy"]["managedBy"] = manager.clone();
            let mut suspended = theirs.clone();
            suspend(&mut suspended, true);
            // Whatever it looks like, and whatever else it asks for.
            let mut once_ours = running(framework);
            let policy = json!({"managedBy": manager, "ttlSecondsAfterFinished": 0, "suspend": true});
            spec(&mut once_ours)["runPolicy"] = policy;
            for world in [&theirs, &suspended, &once_ours] {
                assert_eq!(world.plan(framework), Plan::default(), "{manager}");
            }
        }
        let managers = framework.kind().managers.iter().map(|manager| json!(manager));
        for manager in managers.chain([Value::Null]) {
            let mut ours = job(framework, false);
            spec(&mut ours)["runPolicy"]["managedBy"] = manager.clone();
            bring_up(framework, &mut ours);
        }
    });
}
