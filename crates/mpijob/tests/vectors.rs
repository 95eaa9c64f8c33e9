//! Upstream's own output as golden data: each of `vectors/*.yaml` holds a manifest and the objects that mpi-operator
//! 0.8.2 (`v2beta1`) or training-operator 1.9.2 (`v1`) makes of it. Where we differ on purpose, the difference is taken out
//! here by name and explained in docs/differences.md.

use std::collections::BTreeMap;

use common::gang::Gang;
use common::names;
use common::objects::Child;
use common::plan::Write;
use common::testing::World;
use mpijob::FRAMEWORK;
use serde_json::{Value, json};

/// Objects by kind and name.
type Objects = BTreeMap<(String, String), Value>;

fn documents(name: &str) -> (Value, Objects) {
    let file = format!("{}/tests/vectors/mpijob-{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(file).unwrap();
    let mut documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    documents.retain(|document| !document.is_null());
    let input = documents.remove(0);
    let id = |object: &Value| {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&object["kind"]), text(&object["metadata"]["name"]))
    };
    // Gang scheduling is a question of its own, see below.
    let expected = documents.into_iter().filter(|d| d["kind"] != "PodGroup");
    (input, expected.map(|object| (id(&object), object)).collect())
}

/// The PodGroups of a vector: Volcano's and that of the scheduler-plugins.
fn pod_groups(name: &str) -> Vec<Value> {
    let file = format!("{}/tests/vectors/mpijob-{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(file).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    documents
        .into_iter()
        .filter(|d| d["kind"] == "PodGroup")
        .collect()
}

#[test]
fn v2beta1_pod_groups_are_upstreams() {
    let scheduler = "my-sched".to_owned();
    for name in ["v2beta1-a-openmpi", "v2beta1-b-intel-rlaw", "v2beta1-c-mpich"] {
        let expected = pod_groups(name);
        assert_eq!(expected.len(), 2, "{name}");
        let gangs = [
            Gang::Volcano,
            Gang::Coscheduling {
                scheduler: scheduler.clone(),
            },
        ];
        for (gang, expected) in gangs.into_iter().zip(expected) {
            let (mut input, _) = documents(name);
            input["spec"]["launcherTransport"] = json!("SSH");
            input["spec"]["runPolicy"]["suspend"] = json!(false);
            let mut world = World::new(&FRAMEWORK, &input);
            world.settings.gang = gang;
            // Which dialect it is, is stored first.
            let group = world.plan(&FRAMEWORK).writes.into_iter().find_map(|w| match w {
                Write::CreateChild(Child::PodGroup(group)) => Some(serde_json::to_value(group).unwrap()),
                _ => None,
            });
            let mut group = group.unwrap();
            // Difference "labels by which we watch".
            let labels = group["metadata"]
                .as_object_mut()
                .unwrap()
                .remove("labels")
                .unwrap();
            let job = input["metadata"]["name"].as_str().unwrap();
            assert_eq!(labels, json!(names::job_labels("mpi-operator", job)));
            assert_eq!(pretty(&group), pretty(&expected), "{name}");
        }
    }
}

/// All objects made of a manifest, once all its workers run.
fn made(mut input: Value) -> Objects {
    let stamp = if input["apiVersion"] == "kubeflow.org/v1" {
        "Exec"
    } else {
        "SSH"
    };
    input["spec"]["launcherTransport"] = json!(stamp); // as the API server would fill it in
    let mut world = World::new(&FRAMEWORK, &input);
    let mut objects = Objects::new();
    let mut add = |kind: &str, object: Value| {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        objects.insert((kind.to_owned(), name), object);
    };
    for _ in 0..2 {
        let plan = world.plan(&FRAMEWORK);
        for write in &plan.writes {
            match write {
                Write::Ensure(extra) => add(extra.id().0, serde_json::to_value(extra).unwrap()),
                Write::CreateChild(Child::Service(o)) => add("Service", serde_json::to_value(o).unwrap()),
                Write::CreatePod { pod, .. } => add("Pod", serde_json::to_value(pod).unwrap()),
                Write::CreateBatchJob { job, .. } => add("Job", serde_json::to_value(job).unwrap()),
                other => panic!("{other:?}"),
            }
        }
        world.apply(&plan);
        world.run_all();
    }
    objects
}

/// Removes a value that must be as said.
#[track_caller]
fn take_out(object: &mut Value, pointer: &str, expected: &Value) {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    let field = field.replace("~1", "/");
    let parent = object
        .pointer_mut(parent)
        .unwrap_or_else(|| panic!("no {pointer}"));
    let found = parent.as_object_mut().unwrap().remove(&field);
    assert_eq!(found.as_ref(), Some(expected), "{pointer}");
}

fn label(key: &str) -> String {
    key.replace('/', "~1")
}

/// What all our objects have beside upstream's labels: difference "labels by which we watch", "attempt".
fn take_out_our_labels(objects: &mut Objects, controller: &str, job: &str) {
    let (attempt, operator, name) = (
        label(names::ATTEMPT),
        label(names::OPERATOR_NAME),
        label(names::JOB_NAME),
    );
    for ((kind, _), object) in objects {
        match kind.as_str() {
            "Pod" => take_out(object, &format!("/metadata/labels/{attempt}"), &json!("0")),
            "Job" => {
                take_out(object, &format!("/metadata/labels/{attempt}"), &json!("0"));
                take_out(
                    object,
                    &format!("/spec/template/metadata/labels/{attempt}"),
                    &json!("0"),
                );
            }
            _ => {}
        }
        if ["Job", "Service"].contains(&kind.as_str()) {
            take_out(
                object,
                &format!("/metadata/labels/{operator}"),
                &json!(controller),
            );
            take_out(object, &format!("/metadata/labels/{name}"), &json!(job));
        }
    }
}

fn take_out_env(container: &mut Value, ours: &[(&str, &str)]) {
    let env = container["env"].as_array_mut().unwrap();
    for (name, value) in ours {
        let at = env
            .iter()
            .position(|e| e["name"] == *name)
            .unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(env.remove(at), json!({"name": name, "value": value}));
    }
}

#[track_caller]
fn assert_all(mut expected: Objects, made: &Objects) {
    // Vectors that show one worker mean all: the others differ in name, host name and index only.
    for (id, object) in made {
        if let Some(expected) = expected.remove(id) {
            assert_eq!(pretty(object), pretty(&expected), "{id:?}");
        } else {
            assert!(
                id.0 == "Pod" && id.1.contains("-worker-"),
                "{id:?} is not upstream's"
            );
        }
    }
    assert!(expected.is_empty(), "not made: {:?}", expected.keys());
}

/// An empty object says what an absent one does (Go writes it all the same).
fn without_empty_resources(object: &mut Value) {
    let containers = object
        .pointer_mut("/spec/containers")
        .and_then(Value::as_array_mut);
    for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
        container.retain(|field, value| field != "resources" || *value != json!({}));
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap()
}

fn v2beta1(name: &str, job: &str, open_mpi_5: &[(&str, &str)]) {
    let (mut input, mut expected) = documents(name);
    // Difference "a suspended job has no launcher": the vector is of one that was made before the suspension.
    let suspended = input["spec"]["runPolicy"]["suspend"] == true;
    if suspended {
        input["spec"]["runPolicy"]["suspend"] = json!(false);
    }
    let mut made = made(input);
    take_out_our_labels(&mut made, "mpi-operator", job);
    let launcher = made
        .get_mut(&("Job".to_owned(), format!("{job}-launcher")))
        .unwrap();
    // Difference "Open MPI 5".
    take_out_env(
        &mut launcher["spec"]["template"]["spec"]["containers"][0],
        open_mpi_5,
    );
    for ((kind, _), object) in &mut expected {
        // The vector has the kind and apiVersion that the API server takes from the path.
        let fields = object.as_object_mut().unwrap();
        fields.retain(|field, _| field != "kind" && field != "apiVersion");
        match kind.as_str() {
            "Job" => {
                let spec = object["spec"].as_object_mut().unwrap();
                if suspended {
                    assert_eq!(spec.remove("suspend"), Some(json!(true)));
                }
                // Difference "the time to live is the MPIJob's alone".
                spec.remove("ttlSecondsAfterFinished");
                // Difference "one owner of the launcher's pod".
                let template = spec["template"]["metadata"].as_object_mut().unwrap();
                assert!(template.remove("ownerReferences").is_some());
            }
            // The keys are made when the Secret is written.
            "Secret" => assert!(fields_of(object, "data")),
            _ => {}
        }
    }
    for object in made.values_mut() {
        object
            .as_object_mut()
            .unwrap()
            .retain(|field, _| field != "kind" && field != "apiVersion");
    }
    assert_all(expected, &made);
}

fn fields_of(object: &mut Value, field: &str) -> bool {
    object.as_object_mut().unwrap().remove(field).is_some()
}

#[test]
fn v2beta1_with_open_mpi() {
    let ours = [
        ("PRTE_MCA_prte_keep_fqdn_hostnames", "true"),
        ("PRTE_MCA_prte_default_hostfile", "/etc/mpi/hostfile"),
        ("PRTE_MCA_plm_ssh_args", "-o ConnectionAttempts=10"),
        ("PRTE_MCA_prte_set_default_slots", "2"),
    ];
    v2beta1("v2beta1-a-openmpi", "ring", &ours);
}

#[test]
fn v2beta1_with_intel_mpi_and_a_launcher_that_runs_ranks() {
    v2beta1("v2beta1-b-intel-rlaw", &name_of("v2beta1-b-intel-rlaw"), &[]);
}

#[test]
fn v2beta1_with_mpich_on_the_host_network() {
    v2beta1("v2beta1-c-mpich", &name_of("v2beta1-c-mpich"), &[]);
}

fn name_of(vector: &str) -> String {
    documents(vector).0["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn v1(name: &str, job: &str) {
    let (input, mut expected) = documents(name);
    let own_account = input
        .pointer("/spec/mpiReplicaSpecs/Launcher/template/spec/serviceAccountName")
        .cloned();
    let workers: Vec<String> = (0..2).map(|i| format!("{job}-worker-{i}")).collect();
    let mut made = made(input);
    take_out_our_labels(&mut made, "mpijob-controller", job);
    for object in made.values_mut().chain(expected.values_mut()) {
        object
            .as_object_mut()
            .unwrap()
            .retain(|field, _| field != "kind" && field != "apiVersion");
    }
    let launcher = made
        .get_mut(&("Pod".to_owned(), format!("{job}-launcher")))
        .unwrap();
    // Difference "Open MPI 5".
    take_out_env(
        &mut launcher["spec"]["containers"][0],
        &[
            ("PRTE_MCA_plm_ssh_agent", "/etc/mpi/kubexec.sh"),
            ("PRTE_MCA_prte_default_hostfile", "/etc/mpi/hostfile"),
        ],
    );
    // Difference "our own helper".
    let delivery = &mut launcher["spec"]["initContainers"][0];
    let theirs = expected
        .get_mut(&("Pod".to_owned(), format!("{job}-launcher")))
        .unwrap();
    let theirs = &mut theirs["spec"]["initContainers"][0];
    assert!(
        delivery["image"]
            .as_str()
            .unwrap()
            .starts_with("docker.io/trainyard/operator:")
    );
    assert_eq!(delivery["command"], json!(["/trainyard-operator", "deliver"]));
    assert_eq!(delivery["securityContext"]["runAsNonRoot"], true);
    for field in ["image", "command", "securityContext", "resources"] {
        delivery.as_object_mut().unwrap().remove(field);
        theirs.as_object_mut().unwrap().remove(field);
    }
    // Difference "no more rights than needed".
    let rule = |resource: &str, verbs: &[&str]| json!({"apiGroups": [""], "resources": [resource], "resourceNames": workers, "verbs": verbs});
    let granted = expected
        .get_mut(&("Role".to_owned(), format!("{job}-launcher")))
        .unwrap();
    granted["rules"] = json!([rule("pods", &["get"]), rule("pods/exec", &["create", "get"])]);
    // Difference "a user's service account is the user's".
    if let Some(account) = own_account {
        let id = ("ServiceAccount".to_owned(), account.as_str().unwrap().to_owned());
        assert!(expected.remove(&id).is_some() && !made.contains_key(&id));
    }
    // The vector shows the worker before its index.
    for ((_, name), object) in &mut expected {
        without_empty_resources(object);
        if let Some(index) = name.strip_prefix(&format!("{job}-worker-")) {
            object["metadata"]["labels"][names::REPLICA_INDEX] = json!(index);
        }
    }
    assert_all(expected, &made);
}

#[test]
fn v1_on_cpus() {
    v1("v1-a-cpu", "hvd");
}

#[test]
fn v1_with_gpus_in_the_launcher() {
    v1("v1-b-gpu-launcher", "hvdg");
}

#[test]
fn every_vector_is_used() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 5);
}
