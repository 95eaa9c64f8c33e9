//! A gang of which a part is refused: when it gives back what it has, and when it does not.

use common::Plan;
use common::gang::{Gang, Placement};
use common::observe::{ObjectRef, Refusal, RefusalCause};
use common::plan::{Write, WriteClass};
use common::testing::{World, manifest};
use pytorchjob::FRAMEWORK;
use serde_json::{Value, json};

/// A quota had room for all pods but the last.
fn half(gang: Gang, edit: impl FnOnce(&mut Value)) -> World {
    let mut job = manifest(&FRAMEWORK, "j", &[("Master", 1), ("Worker", 2)]);
    edit(&mut job["spec"]);
    let mut world = World::new(&FRAMEWORK, &job);
    world.settings.gang = gang;
    world.settle(&FRAMEWORK);
    if world.pod_group().is_some() {
        world.say_of_pod_group(Some("Inqueue"), &Placement::Unknown);
    }
    world.settle(&FRAMEWORK);
    world.pods.retain(|pod| &*pod.name != "j-worker-1");
    refuse(&mut world, RefusalCause::Quota);
    tell(&mut world);
    world
}

fn refuse(world: &mut World, cause: RefusalCause) {
    world.refusals = vec![Refusal {
        object: ObjectRef::new("Pod", "j-worker-1"),
        deletion: false,
        cause,
        message: "exceeded quota: q".to_owned(),
    }];
}

/// A pass whose writes are all refused.
fn tell(world: &mut World) -> Plan {
    let plan = world.plan(&FRAMEWORK);
    if let Some(status) = &plan.status {
        world.store_status(status);
    }
    plan
}

/// Until something is due, in seconds.
fn wait(world: &World) -> i64 {
    let requeue_at = world.plan(&FRAMEWORK).requeue_at.unwrap();
    requeue_at.duration_since(world.now).as_secs()
}

fn gives_back(plan: &Plan) -> bool {
    plan.intent.is_some() && plan.writes.iter().any(|w| matches!(w, Write::DeletePod { .. }))
}

/// Whether the plan is to give back, this many seconds after the first refusal, a second before, and with the refusal gone.
fn when(mut world: World, seconds: i64) {
    world.pass_time(seconds - 1);
    assert!(!gives_back(&tell(&mut world)), "too early");
    world.pass_time(1);
    let refusals = std::mem::take(&mut world.refusals);
    assert!(!gives_back(&world.plan(&FRAMEWORK)), "nothing is refused now");
    world.refusals = refusals;
    assert!(gives_back(&world.plan(&FRAMEWORK)), "too late");
}

#[test]
fn after_two_minutes_or_when_the_job_says() {
    when(half(Gang::Native, |_| {}), 120);
    when(half(Gang::Volcano, |_| {}), 120);
    let stated = |spec: &mut Value| {
        spec["runPolicy"] = json!({"schedulingPolicy": {"scheduleTimeoutSeconds": 30}});
    };
    when(half(Gang::Native, stated), 30);
}

#[test]
fn it_is_looked_at_when_that_is_due() {
    let world = half(Gang::Native, |_| {});
    assert_eq!(wait(&world), 120);
}

#[test]
fn all_goes_by_one_attempt_and_comes_again_later_without_a_restart() {
    let mut world = half(Gang::Native, |_| {});
    world.pass_time(120);
    let plan = world.plan(&FRAMEWORK);
    let intent = plan.intent.clone().unwrap();
    assert_eq!(intent.attempt, 1);
    assert_eq!(intent.restart_counts, None);
    let words = intent.waiting_for.clone().unwrap();
    assert!(
        words.contains("given back") && words.contains("exceeded quota: q"),
        "{words}"
    );
    assert_eq!(plan.events[0].reason, "GangGivenBack");
    world.refusals.clear();
    world.apply(&plan);
    world.reap();
    let makes = |plan: &Plan| plan.writes.iter().any(|w| w.class() == WriteClass::Pods);
    let next = world.plan(&FRAMEWORK);
    assert!(!makes(&next));
    let pause = next.requeue_at.unwrap().duration_since(world.now).as_secs();
    assert!((120..240).contains(&pause), "{pause}");
    world.pass_time(pause);
    world.settle(&FRAMEWORK);
    assert!(world.pods.len() == 3 && world.pods.iter().all(|pod| pod.attempt.0 == 1));
    assert_eq!(world.status().gang.unwrap().given_back, 1);
    world.schedule(3);
    world.run_all();
    world.settle(&FRAMEWORK);
    assert_eq!(world.status().gang, None, "forgotten once it runs");
}

#[test]
fn each_time_it_waits_longer() {
    let mut world = half(Gang::Native, |_| {});
    let mut pauses = Vec::new();
    for _ in 0..5 {
        let patience = wait(&world);
        assert!([120, 200, 280, 360].contains(&patience), "{patience}");
        world.pass_time(patience);
        let plan = world.plan(&FRAMEWORK);
        assert!(gives_back(&plan));
        world.refusals.clear();
        world.apply(&plan);
        world.reap();
        let pause = world
            .plan(&FRAMEWORK)
            .requeue_at
            .unwrap()
            .duration_since(world.now)
            .as_secs();
        pauses.push(pause);
        world.pass_time(pause);
        world.settle(&FRAMEWORK);
        world.pods.retain(|pod| &*pod.name != "j-worker-1");
        refuse(&mut world, RefusalCause::Quota);
        tell(&mut world);
    }
    for (pause, least) in pauses.iter().zip([120, 240, 480, 600, 600]) {
        assert!((least..2 * least).contains(pause), "{pauses:?}");
    }
}

#[test]
fn nothing_is_given_back_that_others_cannot_use_or_that_runs() {
    let late = |mut world: World| {
        world.pass_time(3600);
        gives_back(&world.plan(&FRAMEWORK))
    };
    assert!(late(half(Gang::Native, |_| {})));
    assert!(!late(half(Gang::None, |_| {})), "no gang: what is there runs");
    for cause in [
        RefusalCause::Invalid,
        RefusalCause::Foreign,
        RefusalCause::Transient,
    ] {
        let mut world = half(Gang::Native, |_| {});
        refuse(&mut world, cause);
        assert!(!late(world), "{cause:?} has nothing to do with what is held");
    }
    let mut world = half(Gang::Native, |_| {});
    world.refusals[0].cause = RefusalCause::Forbidden;
    world.refusals[0].message = "serviceaccounts \"none\" not found".to_owned();
    assert!(!late(world), "no quota says so");
    let enough = |spec: &mut Value| spec["runPolicy"] = json!({"schedulingPolicy": {"minAvailable": 2}});
    assert!(!late(half(Gang::Native, enough)), "two can be placed");
    let own = |spec: &mut Value| {
        for role in ["Master", "Worker"] {
            spec["pytorchReplicaSpecs"][role]["template"]["spec"]["schedulingGroup"] =
                json!({"podGroupName": "own"});
        }
    };
    assert!(!late(half(Gang::Native, own)), "they are in a gang of the user's");
    let mut world = half(Gang::Native, |_| {});
    world.pod("j-master-0").node = Some("node-1".into());
    assert!(!late(world), "a pod has a place");
    let mut world = half(Gang::Native, |_| {});
    world.pods.clear();
    assert!(!late(world), "there is nothing to give back");
}

#[test]
fn suspension_forgets_it_and_a_clock_that_was_ahead_holds_nothing_up() {
    let mut world = half(Gang::Native, |_| {});
    world.edit("/runPolicy", json!({"suspend": true}));
    world.settle(&FRAMEWORK);
    assert_eq!(world.status().gang, None);

    let mut world = half(Gang::Native, |_| {});
    let mut status = world.status();
    let far = jiff::Timestamp::MAX;
    let gang = status.gang.as_mut().unwrap();
    gang.incomplete_since.as_mut().unwrap().0 = far;
    gang.not_before = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(far));
    world.store_status(&status);
    let plan = tell(&mut world);
    assert!(
        plan.writes.iter().any(|w| w.class() == WriteClass::Pods),
        "it goes on trying"
    );
    world.pass_time(120);
    assert!(gives_back(&world.plan(&FRAMEWORK)));
}

#[test]
fn what_is_whole_in_between_has_all_its_time_again() {
    let mut world = half(Gang::Native, |_| {});
    world.pass_time(100);
    world.refusals.clear();
    world.settle(&FRAMEWORK);
    assert_eq!(world.pods.len(), 3);
    world.pass_time(3600);
    world.pods.retain(|pod| &*pod.name != "j-worker-1");
    refuse(&mut world, RefusalCause::Quota);
    tell(&mut world);
    assert!(!gives_back(&world.plan(&FRAMEWORK)));
    assert_eq!(wait(&world), 120);
}

#[test]
fn a_deadline_that_comes_before_the_next_try_is_not_missed() {
    let mut world = half(Gang::Native, |spec| {
        spec["runPolicy"] = json!({"activeDeadlineSeconds": 150});
    });
    world.pass_time(120);
    let plan = world.plan(&FRAMEWORK);
    assert!(gives_back(&plan));
    assert_eq!(plan.requeue_at.unwrap().duration_since(world.now).as_secs(), 30);
}
