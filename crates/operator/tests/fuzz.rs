//! Whatever is in a job or in the status of a pod: no panic, no write for a job that is not valid, and a message that names
//! the field. For every meaning of every kind; more cases with `PROPTEST_CASES=1000000`.

use common::conditions;
use std::sync::Arc;

use common::api::ConditionType;
use common::framework::Framework;
use common::gang::Gang;
use common::testing::{World, meanings, whole};
use common::{PodView, Write, names};
use proptest::prelude::*;
use serde_json::{Value, json};

/// One change of a JSON value: at the n-th place in it, counted round and round.
#[derive(Debug, Clone)]
struct Edit {
    place: usize,
    change: Change,
}

#[derive(Debug, Clone)]
enum Change {
    Remove,
    Set(Value),
    /// A field beside the place.
    Add(String, Value),
}

/// Values that something may take for what it is not.
fn value() -> impl Strategy<Value = Value> {
    let odd = vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1),
        json!(2),
        json!(100_001),
        json!(2_147_483_647),
        json!(2_147_483_648_u64),
        json!(u64::MAX),
        json!(1.5),
        json!(""),
        json!("0"),
        json!("Never"),
        json!("OnFailure"),
        json!("ExitCode"),
        json!("Job"),
        json!("master"),
        json!("2026-01-01T00:00:00Z"),
        json!("9999999999-01-01T00:00:00Z"),
        json!("Running"),
        json!("Failed"),
        json!("a\u{0}b\n$(x)\u{202e}"),
        json!("x".repeat(300)),
        json!([]),
        json!({}),
        json!([null]),
        json!([{}]),
        json!({"": {}}),
        json!({"Worker": {}}),
        json!([{"name": "pytorch", "image": "i"}, {"name": "pytorch", "image": "i"}]),
        json!([{"name": "mxjob-port", "containerPort": -5}]),
    ];
    prop_oneof![
        4 => prop::sample::select(odd),
        1 => any::<i64>().prop_map(|number| json!(number)),
        1 => ".{0,12}".prop_map(|text| json!(text)),
    ]
}

fn edit() -> impl Strategy<Value = Edit> {
    let names = prop_oneof![
        prop::sample::select(vec![
            "elasticPolicy",
            "runPolicy",
            "replicas",
            "template",
            "hostname",
            "env",
            "ports",
            "restartPolicy",
            "suspend",
            "schedulingPolicy",
            "minAvailable",
            "managedBy",
            "successPolicy",
            "restartScope",
            "launcherTransport",
            "slotsPerWorker",
            "jobMode",
            "state",
            "lastState",
            "terminated",
            "exitCode",
            "conditions",
            "deletionTimestamp"
        ])
        .prop_map(str::to_owned),
        ".{0,8}",
    ];
    let change = prop_oneof![
        1 => Just(Change::Remove),
        4 => value().prop_map(Change::Set),
        2 => (names, value()).prop_map(|(name, value)| Change::Add(name, value)),
    ];
    (any::<usize>(), change).prop_map(|(place, change)| Edit { place, change })
}

/// All places in a value, by JSON pointer.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(fields) => {
            for (key, child) in fields {
                places(child, &format!("{at}/{}", escaped(key)), found);
            }
        }
        Value::Array(items) => {
            for (i, child) in items.iter().enumerate() {
                places(child, &format!("{at}/{i}"), found);
            }
        }
        _ => {}
    }
}

fn apply(value: &mut Value, edits: &[Edit]) {
    for Edit { place, change } in edits {
        let mut found = Vec::new();
        places(value, "", &mut found);
        let at = &found[place % found.len()];
        match change {
            Change::Set(new) => *value.pointer_mut(at).unwrap() = new.clone(),
            Change::Add(name, new) => {
                if let Some(fields) = value.pointer_mut(at).unwrap().as_object_mut() {
                    fields.insert(name.clone(), new.clone());
                }
            }
            Change::Remove => {
                let Some((parent, last)) = at.rsplit_once('/') else {
                    continue;
                };
                match value.pointer_mut(parent).unwrap() {
                    Value::Object(fields) => {
                        fields.remove(&last.replace("~1", "/").replace("~0", "~"));
                    }
                    Value::Array(items) => {
                        items.remove(last.parse().unwrap());
                    }
                    _ => {}
                }
            }
        }
    }
}

fn frameworks() -> Vec<&'static dyn Framework> {
    meanings(operator::FRAMEWORKS)
}

/// A job after these edits of its spec, as the operator reads it.
fn job(framework: &'static dyn Framework, edits: &[Edit], status: &[Edit], stored: Value) -> World {
    let mut manifest = whole(framework, 2);
    apply(&mut manifest["spec"], edits);
    let mut world = World::new(framework, &manifest);
    let mut stored = stored;
    apply(&mut stored, status);
    world.job.as_mut().unwrap().status = stored;
    world
}

fn pod_json(framework: &dyn Framework, name: &str) -> Value {
    let container = framework.kind().container.unwrap_or("main");
    let state = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled", "message": "m", "finishedAt": "2026-01-01T00:00:00Z"}});
    json!({
        "metadata": {
            "name": name, "namespace": "ns1", "uid": format!("uid-{name}"), "resourceVersion": "5",
            "labels": {(names::ATTEMPT): "0"}, "deletionTimestamp": null,
            "ownerReferences": [{"apiVersion": "kubeflow.org/v1", "kind": framework.kind().kind, "name": "j",
                "uid": "11111111-2222-3333-4444-555555555555", "controller": true}],
        },
        "spec": {"nodeName": "node-1", "containers": [{"name": container}]},
        "status": {
            "phase": "Failed", "reason": "Evicted", "message": "m",
            "conditions": [{"type": "Ready", "status": "False"}, {"type": "DisruptionTarget", "status": "True", "reason": "r"},
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "m"}],
            "initContainerStatuses": [{"name": "init", "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "m"}}}],
            "containerStatuses": [{"name": container, "restartCount": 3, "ready": false, "state": state, "lastState": state}],
        },
    })
}

fn edits(most: usize) -> impl Strategy<Value = Vec<Edit>> {
    prop::collection::vec(edit(), 1..=most)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_job_is_planned_or_its_mistakes_are_named_by_field(
        framework in 0..frameworks().len(),
        edits in edits(6),
        gang in prop::sample::select(vec![Gang::None, Gang::Native, Gang::Volcano]),
    ) {
        let framework = frameworks()[framework];
        let mut world = job(framework, &edits, &[], Value::Null);
        world.settings.gang = gang;
        let raw = world.job.clone().unwrap();
        let plan = world.plan(framework);
        match common::resolve::resolve(framework, &raw) {
            Err(problems) => {
                prop_assert!(plan.writes.is_empty(), "{:?}", plan.writes);
                prop_assert!(!problems.0.is_empty());
                for problem in problems.0 {
                    let named = ["spec", "metadata"].iter().any(|root| problem.field.starts_with(root));
                    prop_assert!(named && !problem.message.is_empty(), "{problem:?}");
                }
            }
            Ok(resolved) if resolved.replicas.len() < 5000 => {
                let made = plan.writes.iter().filter(|write| matches!(write, Write::CreatePod { .. } | Write::CreateBatchJob { .. }));
                prop_assert!(made.count() <= resolved.replicas.len() as usize);
                world.settle(framework);
            }
            Ok(_) => {}
        }
        // What the API server keeps of a status is always readable.
        let _ = world.status();
    }

    #[test]
    fn any_status_of_pods_and_of_the_job_is_sorted_into_replicas(
        framework in 0..frameworks().len(),
        of_pods in prop::collection::vec(edits(5), 1..4),
        of_status in edits(4),
        settled in any::<bool>(),
    ) {
        let framework = frameworks()[framework];
        let mut before = job(framework, &[], &[], Value::Null);
        before.settle(framework);
        before.run_all();
        before.settle(framework);
        let names: Vec<String> = before.pods.iter().map(|pod| pod.name.to_string()).collect();
        let mut world = if settled { before.clone() } else { job(framework, &[], &of_status, before.job.as_ref().unwrap().status.clone()) };
        world.pods = before.pods.clone();
        for (name, edits) in names.iter().zip(&of_pods) {
            let mut pod = pod_json(framework, name);
            apply(&mut pod["status"], edits);
            // One that cannot be read is skipped by the watch.
            if let Ok(view) = runtime::offline_pod(&pod) {
                let view: PodView = Arc::unwrap_or_clone(view);
                world.pods.retain(|pod| *pod.name != **name);
                world.pods.push(view);
            }
        }
        let plan = world.plan(framework);
        if let Some(next) = &plan.status {
            let is = |condition| conditions::is_true(next, condition);
            let stored = world.status();
            let both = conditions::is_true(&stored, ConditionType::Failed) && conditions::is_true(&stored, ConditionType::Succeeded);
            prop_assert!(both || !(is(ConditionType::Failed) && is(ConditionType::Succeeded)));
        }
        let again = world.plan(framework);
        prop_assert_eq!(again.status, plan.status, "the same world is judged the same");
    }
}
