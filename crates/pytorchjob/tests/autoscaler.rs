//! The HorizontalPodAutoscaler of an elastic job: when it is there, and what it says.

use common::objects::{Child, ChildKind};
use common::observe::{Refusal, RefusalCause};
use common::plan::{Plan, Write, WriteClass};
use common::testing::{World, describe_plan, manifest};
use pytorchjob::FRAMEWORK;
use serde_json::{Value, json};

fn metrics(utilization: i32) -> Value {
    let target = json!({"type": "Utilization", "averageUtilization": utilization});
    json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}])
}

/// A job of two workers, settled and running.
fn world(elastic: &Value) -> World {
    let mut manifest = manifest(&FRAMEWORK, "j", &[("Worker", 2)]);
    manifest["spec"]["elasticPolicy"] = elastic.clone();
    manifest["spec"]["runPolicy"] = json!({"suspend": false});
    let mut world = World::new(&FRAMEWORK, &manifest);
    world.settle(&FRAMEWORK);
    world.run_all();
    world.settle(&FRAMEWORK);
    world
}

fn elastic() -> Value {
    json!({"minReplicas": 1, "maxReplicas": 4, "metrics": metrics(80)})
}

fn spec(world: &mut World) -> &mut Value {
    &mut world.job.as_mut().unwrap().spec
}

fn digests(world: &World) -> Vec<String> {
    let of_kind = world.children.iter().filter(|c| c.kind == ChildKind::Autoscaler);
    of_kind.map(|c| c.digest.as_deref().unwrap().to_owned()).collect()
}

/// What the next pass does about the autoscaler, in words.
fn next(world: &mut World) -> String {
    let plans = world.settle(&FRAMEWORK);
    let lines: Vec<String> = plans.iter().map(describe_plan).collect();
    let of_it = |line: &&str| line.contains("horizontalpodautoscaler");
    lines
        .concat()
        .lines()
        .filter(of_it)
        .collect::<Vec<_>>()
        .join("\n")
}

fn made(plan: &Plan) -> Value {
    let autoscaler = plan.writes.iter().find_map(|write| match write {
        Write::CreateChild(child @ Child::Autoscaler(_)) => Some(child),
        _ => None,
    });
    serde_json::to_value(autoscaler.unwrap()).unwrap()
}

#[test]
fn it_is_upstreams_and_belongs_to_the_job() {
    let mut manifest = manifest(&FRAMEWORK, "j", &[("Worker", 2)]);
    manifest["spec"]["elasticPolicy"] = elastic();
    let world = World::new(&FRAMEWORK, &manifest);
    let made = made(&world.plan(&FRAMEWORK));
    let spec = json!({
        "scaleTargetRef": {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "name": "j"},
        "minReplicas": 1, "maxReplicas": 4, "metrics": metrics(80),
    });
    assert_eq!(made["spec"], spec);
    assert_eq!(
        (&made["apiVersion"], &made["kind"]),
        (&json!("autoscaling/v2"), &json!("HorizontalPodAutoscaler"))
    );
    let metadata = &made["metadata"];
    assert_eq!(
        (&metadata["name"], &metadata["namespace"]),
        (&json!("j"), &json!("ns1"))
    );
    let labels = json!({"training.kubeflow.org/job-name": "j",
        "training.kubeflow.org/operator-name": "pytorchjob-controller"});
    assert_eq!(metadata["labels"], labels);
    // Another version of the operator must come to the same: else it would change every autoscaler for nothing.
    let digest = json!({"trainyard.dev/spec-digest": "32caee62b0bc3e8a"});
    assert_eq!(metadata["annotations"], digest);
    let owner = &metadata["ownerReferences"][0];
    assert_eq!(
        (&owner["kind"], &owner["controller"]),
        (&json!("PyTorchJob"), &json!(true))
    );
}

#[test]
fn it_follows_the_policy_and_goes_with_it() {
    let mut world = world(&elastic());
    let first = digests(&world);
    assert_eq!(first.len(), 1);
    spec(&mut world)["elasticPolicy"]["maxReplicas"] = json!(5);
    assert_eq!(next(&mut world), "change horizontalpodautoscaler j");
    assert_ne!(digests(&world), first);
    spec(&mut world)["elasticPolicy"]["metrics"] = metrics(50);
    assert_eq!(next(&mut world), "change horizontalpodautoscaler j");
    spec(&mut world)["elasticPolicy"] = elastic();
    assert_eq!(next(&mut world), "change horizontalpodautoscaler j");
    assert_eq!(digests(&world), first, "the same policy, the same digest");
    spec(&mut world)["elasticPolicy"]["metrics"] = Value::Null;
    assert_eq!(next(&mut world), "delete horizontalpodautoscaler j");
    spec(&mut world)["elasticPolicy"] = elastic();
    assert_eq!(next(&mut world), "create horizontalpodautoscaler j");
    spec(&mut world)["elasticPolicy"] = Value::Null;
    assert_eq!(next(&mut world), "delete horizontalpodautoscaler j");
}

#[test]
fn what_it_does_is_no_reason_to_change_it() {
    let mut world = world(&elastic());
    world.edit("/pytorchReplicaSpecs/Worker/replicas", json!(4));
    assert_eq!(next(&mut world), "");
}

#[test]
fn somebody_who_changes_its_digest_or_deletes_it_sees_it_set_right() {
    let mut world = world(&elastic());
    let right = digests(&world);
    let autoscaler = |c: &&mut common::observe::ChildView| c.kind == ChildKind::Autoscaler;
    world.children.iter_mut().find(autoscaler).unwrap().digest = None;
    assert_eq!(next(&mut world), "change horizontalpodautoscaler j");
    assert_eq!(digests(&world), right);
    // While it goes nothing can be done about it.
    world.children.iter_mut().find(autoscaler).unwrap().deleting = true;
    assert_eq!(next(&mut world), "");
    world.children.retain(|c| c.kind != ChildKind::Autoscaler);
    assert_eq!(next(&mut world), "create horizontalpodautoscaler j");
}

#[test]
fn a_suspended_job_has_none() {
    let mut world = world(&elastic());
    spec(&mut world)["runPolicy"]["suspend"] = json!(true);
    assert_eq!(next(&mut world), "delete horizontalpodautoscaler j");
    world.reap();
    spec(&mut world)["runPolicy"]["suspend"] = json!(false);
    assert_eq!(next(&mut world), "create horizontalpodautoscaler j");
}

#[test]
fn an_ended_job_has_none_whatever_its_clean_up_policy() {
    for clean in ["None", "Running", "All"] {
        let mut world = world(&elastic());
        spec(&mut world)["runPolicy"]["cleanPodPolicy"] = json!(clean);
        world.end("j-worker-0", "pytorch", 0, "Completed", None);
        assert_eq!(next(&mut world), "delete horizontalpodautoscaler j", "{clean}");
    }
}

#[test]
fn without_metrics_there_is_none() {
    for metrics in [Value::Null, json!([])] {
        let world = world(&json!({"minReplicas": 1, "maxReplicas": 4, "metrics": metrics}));
        assert!(digests(&world).is_empty(), "{metrics}");
    }
}

/// As upstream fills them in: each limit from the other, both from the workers that there are.
#[test]
fn limits_have_upstreams_defaults() {
    for (given, limits) in [
        (json!({"minReplicas": 2}), (2, 2)),
        (json!({"maxReplicas": 3}), (3, 3)),
        (json!({}), (2, 2)),
    ] {
        let mut manifest = manifest(&FRAMEWORK, "j", &[("Worker", 2)]);
        manifest["spec"]["elasticPolicy"] = given.clone();
        manifest["spec"]["elasticPolicy"]["metrics"] = metrics(80);
        let made = made(&World::new(&FRAMEWORK, &manifest).plan(&FRAMEWORK));
        let (min, max) = (&made["spec"]["minReplicas"], &made["spec"]["maxReplicas"]);
        assert_eq!((min, max), (&json!(limits.0), &json!(limits.1)), "{given}");
    }
}

#[test]
fn one_that_is_refused_holds_up_no_pod_and_is_told_of() {
    let mut manifest = manifest(&FRAMEWORK, "j", &[("Worker", 2)]);
    manifest["spec"]["elasticPolicy"] = elastic();
    let mut world = World::new(&FRAMEWORK, &manifest);
    let classes: Vec<WriteClass> = world.plan(&FRAMEWORK).writes.iter().map(Write::class).collect();
    assert_eq!(classes.last(), Some(&WriteClass::Scaling), "{classes:?}");
    assert!(classes.contains(&WriteClass::Pods));
    world.settle(&FRAMEWORK);
    world.run_all();
    world.refusals = vec![Refusal {
        object: "HorizontalPodAutoscaler j".to_owned(),
        deletion: false,
        cause: RefusalCause::Foreign,
        message: "it has no owner".to_owned(),
    }];
    world.children.retain(|c| c.kind != ChildKind::Autoscaler);
    let plan = world.plan(&FRAMEWORK);
    let status = plan.status.clone().unwrap();
    let text = "HorizontalPodAutoscaler j exists and does not belong to this job: it has no owner";
    assert_eq!(status.waiting_for.as_deref(), Some(text));
    assert!(common::conditions::is_true(
        &status,
        common::api::ConditionType::Running
    ));
    assert_eq!(plan.events[0].reason, "FailedCreateHorizontalPodAutoscaler");
}
