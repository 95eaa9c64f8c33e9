//! Bad input: each mistake is answered by a sentence that names the field, and costs nobody else anything.

use e2e::{Space, script, wait_for};
use serde_json::{Value, json};

/// A mistake: what is wrong, the change that makes it, and what `kubectl apply` says.
type Mistake = (&'static str, fn(&mut Value), &'static str);

/// The same about `spec` alone.
type SpecMistake = (fn(&mut Value), &'static str);

/// The API server's own words beside those of the schema.
const REST: &str = "\n* <nil>: Invalid value: null: some validation rules were not checked because the object was \
                    invalid; correct the existing errors to complete validation";

const MISTAKES: [Mistake; 11] = [
    (
        "no container of that name",
        |job| container(job)["name"] = json!("main"),
        "The PyTorchJob \"bad\" is invalid: spec.pytorchReplicaSpecs[Worker].template.spec.containers: Required value: \
         must have at least one container with name pytorch: the one whose exit code is the pod's",
    ),
    (
        "two masters",
        |job| roles(job)["Master"]["replicas"] = json!(2),
        "The PyTorchJob \"bad\" is invalid: spec.pytorchReplicaSpecs[Master].replicas: Forbidden: must be 1",
    ),
    (
        "unknown restart policy",
        |job| roles(job)["Worker"]["restartPolicy"] = json!("Sometimes"),
        "The PyTorchJob \"bad\" is invalid: \n* spec.pytorchReplicaSpecs.Worker.restartPolicy: Unsupported value: \
         \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\", \"ExitCode\"",
    ),
    (
        "a name too long for its pods and Services",
        |job| job["metadata"]["name"] = json!("abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghij"),
        "The PyTorchJob \"abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghij\" is invalid: metadata.name: \
         Invalid value: must be no more than 54 characters with these replicas: the names of its pods and Services add \
         \"-<replica type>-<index>\" to it and must be no more than 63 characters",
    ),
    (
        "an elastic policy without workers",
        |job| {
            job["spec"]["elasticPolicy"] = json!({"minReplicas": 1});
            roles(job).as_object_mut().unwrap().remove("Worker");
        },
        "The PyTorchJob \"bad\" is invalid: spec.pytorchReplicaSpecs[Worker]: Required value: must be configured if \
         elastic policy is used",
    ),
    (
        "a minimum above the maximum",
        |job| job["spec"]["elasticPolicy"] = json!({"minReplicas": 3, "maxReplicas": 2}),
        "The PyTorchJob \"bad\" is invalid: spec.elasticPolicy.minReplicas: Forbidden: must be no more than \
         spec.elasticPolicy.maxReplicas",
    ),
    (
        "an empty replica",
        |job| roles(job)["Worker"] = json!({}),
        "The PyTorchJob \"bad\" is invalid: spec.pytorchReplicaSpecs[Worker].template.spec.containers: Required value: \
         must be specified, with one container named pytorch",
    ),
    (
        "an unknown role",
        |job| {
            let worker = roles(job)["Worker"].clone();
            roles(job)["Wroker"] = worker;
        },
        "The PyTorchJob \"bad\" is invalid: spec.pytorchReplicaSpecs: Forbidden: unsupported replica type \"Wroker\": \
         supported values: \"Master\", \"Worker\"",
    ),
    (
        "a quantity that is none",
        |job| container(job)["resources"] = json!({"limits": {"memory": "1 GB"}}),
        "The PyTorchJob \"bad\" is invalid: spec.pytorchReplicaSpecs.Worker.template.spec.containers[0].resources.limits\
         .memory: Invalid value: \"1 GB\": spec.pytorchReplicaSpecs.Worker.template.spec.containers[0].resources.limits\
         .memory in body should match '^(\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|\
         ([eE](\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))))?$'",
    ),
    (
        "another manager",
        |job| job["spec"]["runPolicy"] = json!({"managedBy": "me"}),
        "The PyTorchJob \"bad\" is invalid: \n* spec.runPolicy.managedBy: Unsupported value: \"me\": supported values: \
         \"kubeflow.org/training-operator\", \"kueue.x-k8s.io/multikueue\"",
    ),
    (
        "no replicas",
        |job| job["spec"] = json!({}),
        "The PyTorchJob \"bad\" is invalid: \n* spec.pytorchReplicaSpecs: Required value",
    ),
];

fn roles(job: &mut Value) -> &mut Value {
    &mut job["spec"]["pytorchReplicaSpecs"]
}

/// Mistakes in `spec` of a TFJob with a Chief and two Workers.
const TF_MISTAKES: [SpecMistake; 6] = [
    (
        |spec| spec["tfReplicaSpecs"]["Master"] = spec["tfReplicaSpecs"]["Chief"].clone(),
        "spec.tfReplicaSpecs: Forbidden: must not have more than 1 Chief or Master role",
    ),
    (
        |spec| spec["tfReplicaSpecs"]["Chief"]["replicas"] = json!(2),
        "spec.tfReplicaSpecs[Chief].replicas: Forbidden: must be 1",
    ),
    (
        |spec| spec["tfReplicaSpecs"]["Launcher"] = spec["tfReplicaSpecs"]["Chief"].clone(),
        "spec.tfReplicaSpecs: Forbidden: unsupported replica type \"Launcher\": supported values: \"Chief\", \"Master\", \
         \"PS\", \"Worker\", \"Evaluator\"",
    ),
    (
        |spec| spec["successPolicy"] = json!("Some"),
        "\n* spec.successPolicy: Unsupported value: \"Some\": supported values: \"\", \"AllWorkers\", \"Leader\"",
    ),
    (
        |spec| spec["enableDynamicWorker"] = json!("yes"),
        "\n* spec.enableDynamicWorker: Invalid value: \"string\": spec.enableDynamicWorker in body must be of type \
         boolean: \"string\"",
    ),
    (
        |spec| {
            spec["tfReplicaSpecs"].as_object_mut().unwrap().remove("Chief");
            spec["tfReplicaSpecs"]["Worker"]["replicas"] = json!(0);
        },
        "spec.tfReplicaSpecs: Invalid value: must have at least one replica: all replica types have replicas 0",
    ),
];

/// Mistakes in `spec` of an MPIJob of either version with two Workers.
const MPI_MISTAKES: [SpecMistake; 7] = [
    (
        |spec| {
            spec["mpiReplicaSpecs"]
                .as_object_mut()
                .unwrap()
                .remove("Launcher");
        },
        "spec.mpiReplicaSpecs[Launcher]: Required value: must be specified",
    ),
    (
        |spec| spec["mpiReplicaSpecs"]["Launcher"]["replicas"] = json!(2),
        "spec.mpiReplicaSpecs[Launcher].replicas: Forbidden: must be 1",
    ),
    (
        |spec| spec["mpiReplicaSpecs"]["Master"] = spec["mpiReplicaSpecs"]["Worker"].clone(),
        "spec.mpiReplicaSpecs: Forbidden: unsupported replica type \"Master\": supported values: \"Launcher\", \"Worker\"",
    ),
    (
        |spec| spec["mpiImplementation"] = json!("LAM"),
        "\n* spec.mpiImplementation: Unsupported value: \"LAM\": supported values: \"OpenMPI\", \"Intel\", \"MPICH\"",
    ),
    (
        |spec| spec["launcherCreationPolicy"] = json!("Later"),
        "\n* spec.launcherCreationPolicy: Unsupported value: \"Later\": supported values: \"AtStartup\", \
         \"WaitForWorkersReady\"",
    ),
    (
        |spec| spec["sshAuthMountPath"] = json!(""),
        "spec.sshAuthMountPath: Invalid value: \"\": spec.sshAuthMountPath in body should be at least 1 chars long",
    ),
    (
        |spec| spec["slotsPerWorker"] = json!(-1),
        "spec.slotsPerWorker: Invalid value: -1: spec.slotsPerWorker in body should be greater than or equal to 0",
    ),
];

#[test]
fn mistakes_in_tf_and_mpi_jobs_are_answered_likewise() {
    let space = Space::of("mpij", "input-kinds");
    let job = |version: &str, kind: &str, map: &str, leader: &str, container: &str| {
        let template = json!({"spec": {"containers": [{"name": container, "image": "i"}]}});
        json!({
            "apiVersion": format!("kubeflow.org/{version}"), "kind": kind, "metadata": {"name": "bad"},
            "spec": {map: {leader: {"template": template}, "Worker": {"replicas": 2, "template": template}}},
        })
    };
    let try_all = |base: &Value, mistakes: &[SpecMistake]| {
        for (mistake, expected) in mistakes {
            let mut job = base.clone();
            mistake(&mut job["spec"]);
            let said = space.try_apply(&job).expect_err(expected);
            let kind = base["kind"].as_str().unwrap();
            let said = said.strip_suffix(REST).unwrap_or(&said);
            assert_eq!(said, format!("The {kind} \"bad\" is invalid: {expected}"));
        }
    };
    try_all(
        &job("v1", "TFJob", "tfReplicaSpecs", "Chief", "tensorflow"),
        &TF_MISTAKES,
    );
    for version in ["v1", "v2beta1"] {
        try_all(
            &job(version, "MPIJob", "mpiReplicaSpecs", "Launcher", "mpi"),
            &MPI_MISTAKES,
        );
    }
    // What the schema cannot say is said by the operator.
    let mut late = job("v2beta1", "MPIJob", "mpiReplicaSpecs", "Launcher", "mpi");
    late["spec"]["mpiReplicaSpecs"]["Worker"]["restartPolicy"] = json!("ExitCode");
    space.apply(&late);
    let failed = space.until("bad", "Failed");
    let field =
        "spec.mpiReplicaSpecs[Worker].restartPolicy: must be Never or OnFailure in an MPIJob of v2beta1";
    assert_eq!(
        failed["message"],
        format!("MPIJob {}/bad is not valid: {field}", space.name)
    );
}

fn container(job: &mut Value) -> &mut Value {
    &mut roles(job)["Worker"]["template"]["spec"]["containers"][0]
}

#[test]
fn every_mistake_is_answered_by_a_sentence_while_others_run() {
    let space = Space::new("input");
    space.apply(&script(
        "healthy",
        &[("Master", 1), ("Worker", 1)],
        "Never",
        "sleep 5",
    ));
    for (what, mistake, expected) in MISTAKES {
        let mut job = script("bad", &[("Master", 1), ("Worker", 1)], "Never", "true");
        mistake(&mut job);
        let said = space.try_apply(&job).expect_err(what);
        assert_eq!(said.strip_suffix(REST).unwrap_or(&said), expected, "{what}");
    }
    space.until("healthy", "Succeeded");
}

// The schema is made from the types that the operator reads, and no object was found that passes the one and fails the
// other (wrong types, dates without a zone, numbers out of range and labels that are no text are all refused at once).
// What the schema cannot know is what only the API of pods refuses: that is told by the job's status.
#[test]
fn what_only_the_api_of_pods_refuses_is_told_by_the_job() {
    let space = Space::new("refused");
    let mut mount = script("mount", &[("Worker", 1)], "Never", "true");
    container(&mut mount)["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    let mut variable = script("variable", &[("Worker", 1)], "Never", "true");
    container(&mut variable)["env"] = json!([{"name": "A=B", "value": "x"}]);
    space.apply(&mount);
    space.apply(&variable);
    space.apply(&script(
        "healthy",
        &[("Master", 1), ("Worker", 1)],
        "Never",
        "sleep 2",
    ));
    for (job, words) in [
        (
            "mount",
            "spec.containers[0].volumeMounts[0].name: Not found: \"data\"",
        ),
        (
            "variable",
            "spec.containers[0].env[0].name: Invalid value: \"A=B\"",
        ),
    ] {
        let beginning = format!("Pod {job}-worker-0 was refused: Pod \"{job}-worker-0\" is invalid: {words}");
        let told = wait_for(&format!("{job} to say why it waits"), || {
            let status = space.status(job);
            status["waitingFor"]
                .as_str()
                .filter(|text| text.starts_with(&beginning))
                .map(str::to_owned)
        });
        println!("{told}");
        let condition = e2e::find(&space.status(job), "Created");
        assert!(
            condition["message"].as_str().unwrap().contains(words),
            "{condition}"
        );
        space.event(job, "FailedCreatePod", &[words]);
    }
    space.until("healthy", "Succeeded");
}
