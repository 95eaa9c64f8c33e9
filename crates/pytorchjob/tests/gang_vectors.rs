//! Upstream's own output as golden data: `gang/trace.txt` holds the PodGroups that training-operator 1.9.3 makes, and how it
//! marks pods, with Volcano and with the scheduler-plugins. Where we differ on purpose, the difference is taken out here by
//! name and explained in docs/differences.md.

use common::gang::{Gang, Placement};
use common::objects::Child;
use common::plan::Write;
use common::testing::World;
use common::{names, objects::ChildKind};
use pytorchjob::FRAMEWORK;
use serde_json::{Value, json};

/// What upstream does in one case.
struct Case {
    name: String,
    group: Value,
    /// Lines that tell of pods.
    pods: Vec<String>,
    warnings: usize,
}

fn cases() -> Vec<Case> {
    let text = include_str!("gang/trace.txt");
    let case = |text: &str| {
        let (name, rest) = text.split_once('\n').unwrap();
        let lines: Vec<&str> = rest.lines().collect();
        let begin = lines.iter().position(|l| *l == "metadata:").unwrap();
        let object = lines[begin..]
            .iter()
            .take_while(|l| !l.trim().is_empty() && !l.starts_with("  -- "));
        let object: Vec<&str> = object.copied().collect();
        let warning = |l: &&&str| l.contains("event: Warning SetPodTemplateSchedulerName");
        Case {
            name: name.trim().to_owned(),
            group: serde_saphyr::from_str(&object.join("\n")).unwrap(),
            pods: lines
                .iter()
                .map(|l| l.trim())
                .filter(|l| l.starts_with("pod "))
                .map(str::to_owned)
                .collect(),
            warnings: lines.iter().filter(warning).count(),
        }
    };
    text.split("#### ").skip(1).map(case).collect()
}

/// The job that the trace is of.
fn job(case: &str) -> Value {
    let container = |resources: Value| json!({"name": "pytorch", "image": "i", "resources": resources});
    let master = container(json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2", "nvidia.com/gpu": "1"}}));
    let worker = container(json!({"limits": {"cpu": "2", "nvidia.com/gpu": "1"}}));
    let init = json!({"name": "init", "image": "i", "resources": {"requests": {"cpu": "9"}}});
    let mut job = json!({
        "apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "metadata": {"name": "j", "namespace": "ns1"},
        "spec": {"pytorchReplicaSpecs": {
            "Master": {"replicas": 1, "template": {"spec": {"containers": [master], "initContainers": [init]}}},
            "Worker": {"replicas": 2, "template": {"spec": {"containers": [worker]}}},
        }},
    });
    if case.contains("full policy") {
        job["spec"]["runPolicy"] = json!({"schedulingPolicy": {
            "minAvailable": 3, "queue": "q1", "priorityClass": "high", "scheduleTimeoutSeconds": 60,
            "minResources": {"cpu": "5"},
        }});
    }
    if case.contains("other scheduler") {
        for role in ["Master", "Worker"] {
            job["spec"]["pytorchReplicaSpecs"][role]["template"]["spec"]["schedulerName"] = json!("mine");
        }
    }
    job
}

fn scheduler(case: &str) -> Gang {
    if case.starts_with("VOLCANO") {
        return Gang::Volcano;
    }
    let scheduler = "my-sched".to_owned();
    Gang::Coscheduling { scheduler }
}

/// A pod's marks as the trace tells them.
fn told(pod: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let annotations = pod["metadata"]["annotations"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    let annotations: Vec<String> = annotations
        .iter()
        .map(|(k, v)| format!("{k}:{}", text(v)))
        .collect();
    format!(
        "pod {} schedulerName={} annotations=map[{}] podgroup-label={:?}",
        text(&pod["metadata"]["name"]),
        text(&pod["spec"]["schedulerName"]),
        annotations.join(" "),
        text(&pod["metadata"]["labels"][names::COSCHEDULING_GROUP]),
    )
}

#[test]
fn pod_groups_and_the_marks_of_pods_are_upstreams() {
    let cases = cases();
    assert_eq!(cases.len(), 5);
    for case in cases {
        let mut world = World::new(&FRAMEWORK, &job(&case.name));
        world.settings.gang = scheduler(&case.name);
        let annotations = &mut world.job.as_mut().unwrap().annotations;
        annotations.insert("team".to_owned(), "a".to_owned());
        annotations.insert(names::LAST_APPLIED.to_owned(), "{}".to_owned());
        let plan = world.plan(&FRAMEWORK);
        let group = plan.writes.iter().find_map(|w| match w {
            Write::CreateChild(Child::PodGroup(group)) => Some(serde_json::to_value(group).unwrap()),
            _ => None,
        });
        let mut group = group.unwrap();
        let of = |field: &str, group: &Value| group[field].as_str().unwrap().to_owned();
        let api = (of("apiVersion", &group), of("kind", &group));
        let version = if scheduler(&case.name) == Gang::Volcano {
            "scheduling.volcano.sh/v1beta1"
        } else {
            "scheduling.x-k8s.io/v1alpha1"
        };
        assert_eq!(api, (version.to_owned(), "PodGroup".to_owned()));
        for field in ["apiVersion", "kind"] {
            group.as_object_mut().unwrap().remove(field);
        }
        // Difference "labels by which we watch".
        let labels = group["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("labels")
            .unwrap();
        assert_eq!(labels, json!(names::job_labels("pytorchjob-controller", "j")));
        let mut expected = case.group;
        // Difference "what pods ask for": init containers and GPUs that only a limit names are counted.
        if !case.name.contains("full policy") {
            assert_eq!(
                expected["spec"]["minResources"],
                json!({"cpu": "5", "nvidia.com/gpu": "2"})
            );
            expected["spec"]["minResources"] = json!({"cpu": "13", "nvidia.com/gpu": "3"});
        }
        assert_eq!(group, expected, "{}", case.name);
        // Difference "told once".
        let warnings = plan
            .events
            .iter()
            .filter(|n| n.reason == "SetPodTemplateSchedulerName");
        assert_eq!(warnings.count(), case.warnings.min(1));

        let made = |plan: &common::Plan| -> Vec<String> {
            let pod = |w: &Write| match w {
                Write::CreatePod { pod, .. } => Some(told(&serde_json::to_value(pod).unwrap())),
                _ => None,
            };
            plan.writes.iter().filter_map(pod).collect()
        };
        let mut pods = made(&plan);
        if scheduler(&case.name) == Gang::Volcano {
            assert!(pods.is_empty(), "no pods before Volcano has admitted them");
            world.settle(&FRAMEWORK);
            assert!(world.pods.is_empty());
            world.say_of_pod_group(Some("Inqueue"), &Placement::Unknown);
            pods = made(&world.plan(&FRAMEWORK));
        }
        assert_eq!(pods, case.pods, "{}", case.name);
        world.settle(&FRAMEWORK);
        let is_group = |c: &&common::observe::ChildView| matches!(c.kind, ChildKind::PodGroup(_));
        assert_eq!(world.children.iter().filter(is_group).count(), 1);
    }
}
