//! A change of any field that decisions read requeues the job, and no other change does. A filter of events that lets too little
//! through stops a job for good.

use std::collections::BTreeSet;

use common::gang::{Placement, PodGroupApi, PodGroupView};
use common::objects::ChildKind;
use common::observe::{BatchEnd, BatchJobView, ChildView, ContainerState, ContainerView, PodDetail};
use common::{PodView, RawJob, names};
use serde_json::{Value, json};

use super::{KIND, job, queued, read_job, state};
use crate::decode;
use crate::object::Object;
use crate::resource::Resource;

/// A change: JSON pointer and new value; null takes the field away.
type Change = (&'static str, Value);
/// Field of the view that must change, differences of the object before the change, and the change.
type Case = (&'static str, Vec<Change>, Change);
/// Fields of a view, by name.
type Fields = Vec<(String, String)>;

/// A case without differences before the change.
fn case(field: &'static str, pointer: &'static str, value: Value) -> Case {
    (field, Vec::new(), (pointer, value))
}

/// Makes a change.
fn set(object: &mut Value, (pointer, value): &Change) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = object.pointer_mut(parent).unwrap_or_else(|| panic!("{pointer}"));
    let key = key.replace("~1", "/");
    match parent {
        Value::Array(items) => items[key.parse::<usize>().unwrap()] = value.clone(),
        parent if value.is_null() => drop(parent.as_object_mut().unwrap().remove(&key)),
        parent => parent[key] = value.clone(),
    }
}

/// Objects of one resource.
struct Kind {
    resource: Resource,
    read: fn(&Value) -> Object,
    fields: fn(&Object) -> Fields,
    usual: Value,
}

impl Kind {
    /// Makes the change. Returns whether the owner is queued, and the fields of the view that changed.
    fn change(&self, before: &[Change], change: &Change) -> (bool, Vec<String>) {
        let mut object = self.usual.clone();
        for change in before {
            set(&mut object, change);
        }
        let state = state();
        state.put(Resource::jobs(&KIND), read_job(&job()));
        let old = (self.read)(&object);
        state.put(self.resource, old.clone());
        assert_eq!(queued(&state), ["j"], "it is there");
        set(&mut object, &("/metadata/resourceVersion", json!("3")));
        state.put(self.resource, (self.read)(&object));
        assert!(queued(&state).is_empty(), "nothing but a version");
        set(&mut object, &("/metadata/resourceVersion", json!("4")));
        set(&mut object, change);
        let new = (self.read)(&object);
        state.put(self.resource, new.clone());
        let (old, new) = ((self.fields)(&old), (self.fields)(&new));
        let other = new
            .into_iter()
            .filter(|field| !old.contains(field))
            .map(|(name, _)| name);
        (!queued(&state).is_empty(), other.collect())
    }

    /// Checks that each change changes its field and queues the owner, and that there is a case for each field.
    fn all_requeue(&self, cases: &[Case]) {
        self.all_requeue_except(cases, &[]);
    }

    /// The same, except for fields that never change.
    fn all_requeue_except(&self, cases: &[Case], fixed: &[&str]) {
        let mut covered = BTreeSet::new();
        for (field, before, change) in cases {
            let (requeued, other) = self.change(before, change);
            assert_eq!(other, [*field], "{change:?}");
            assert!(requeued, "{field}: {change:?}");
            covered.insert((*field).to_owned());
        }
        let all = (self.fields)(&(self.read)(&self.usual));
        let all: BTreeSet<String> = all.into_iter().map(|(name, _)| name).collect();
        let missing = all
            .difference(&covered)
            .filter(|field| !fixed.contains(&&***field));
        let missing: Vec<&String> = missing.collect();
        assert!(missing.is_empty(), "no change of {missing:?}");
    }

    /// Checks that changes of fields that decisions do not read have no effect.
    fn none_requeues(&self, changes: &[Change]) {
        for change in changes {
            let (requeued, other) = self.change(&[], change);
            assert_eq!((requeued, other), (false, Vec::new()), "{change:?}");
        }
    }
}

/// Metadata of an object of the job.
fn metadata(name: &str) -> Value {
    json!({
        "namespace": "ns", "name": name, "uid": "P", "resourceVersion": "2", "generation": 1,
        "labels": {(names::ATTEMPT): "1", "other": "1"}, "annotations": {"other": "1"},
        "ownerReferences": [{"kind": "TestJob", "name": "j", "uid": "J", "controller": true}],
    })
}

/// Changes of metadata that decisions do not read.
fn other_metadata() -> Vec<Change> {
    vec![
        ("/metadata/generation", json!(2)),
        ("/metadata/labels/other", json!("2")),
        ("/metadata/labels/more", json!("1")),
        ("/metadata/annotations/other", json!("2")),
        ("/metadata/annotations", json!(null)),
        ("/metadata/finalizers", json!(["example.com/hold"])),
        ("/metadata/managedFields", json!([{"manager": "kubelet"}])),
        ("/metadata/ownerReferences/0/blockOwnerDeletion", json!(true)),
    ]
}

/// A field of a view: name and value as text.
fn field(name: &str, value: &impl std::fmt::Debug) -> (String, String) {
    (name.to_owned(), format!("{value:?}"))
}

/// Fields of containers. All fields occur only if there is a container of each state.
fn containers(name: &str, views: &[ContainerView]) -> Fields {
    let of = |ContainerView {
                  name: own,
                  init,
                  state,
              }: &ContainerView| {
        let mut fields = vec![field("name", own), field("init", init)];
        match state {
            ContainerState::Terminated {
                exit_code,
                reason,
                message,
                finished_at,
            } => fields.extend([
                field("exit_code", exit_code),
                field("terminated.reason", reason),
                field("terminated.message", message),
                field("finished_at", finished_at),
            ]),
            ContainerState::Waiting { reason, message } => {
                fields.extend([field("waiting.reason", reason), field("waiting.message", message)]);
            }
        }
        fields
    };
    let fields = views.iter().flat_map(of);
    fields
        .map(|(field, value)| (format!("{name}.{field}"), value))
        .collect()
}

/// All fields of a pod's view: one that is new must be named here, and then needs a case.
fn pod_fields(object: &Object) -> Fields {
    let Object::Pod(pod) = object else { panic!() };
    let PodView {
        name,
        uid,
        attempt,
        phase,
        deleting,
        forced,
        ready,
        node,
        gang,
        restarts,
        detail,
    } = &*pod.value;
    let mut fields = vec![
        field("owner", &pod.owner),
        field("name", name),
        field("uid", uid),
        field("attempt", attempt),
        field("phase", phase),
        field("deleting", deleting),
        field("forced", forced),
        field("ready", ready),
        field("node", node),
        field("gang", gang),
        field("restarts", restarts),
    ];
    let none = PodDetail::default();
    let PodDetail {
        reason,
        message,
        disruption,
        unschedulable,
        containers: now,
        earlier,
    } = detail.as_deref().unwrap_or(&none);
    fields.extend([
        field("reason", reason),
        field("message", message),
        field("disruption", disruption),
        field("unschedulable", unschedulable),
    ]);
    fields.extend(containers("now", now));
    fields.extend(containers("earlier", earlier));
    fields
}

/// A pod with a value in every field, which no real pod has at the same time.
fn pods() -> Kind {
    let ended = |exit_code: i32| {
        json!({"terminated": {"exitCode": exit_code, "reason": "Error", "message": "m", "startedAt": "2026-01-01T00:00:00Z",
            "finishedAt": "2026-01-01T00:01:00Z", "containerID": "c"}})
    };
    let waits = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}});
    Kind {
        resource: crate::resource::PODS,
        read: |pod| Object::Pod(decode::pod(pod.to_string().as_bytes()).unwrap()),
        fields: pod_fields,
        usual: json!({
            "metadata": metadata("p"),
            "spec": {
                "nodeName": "a", "tolerations": [], "priority": 1,
                "initContainers": [{"name": "proxy", "restartPolicy": "Always"}, {"name": "fetch"}],
                "containers": [{"name": "pytorch", "image": "i:1"}, {"name": "log"}],
            },
            "status": {
                "phase": "Running", "reason": "NodeLost", "message": "gone", "podIP": "10.0.0.1",
                "conditions": [
                    {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
                    {"type": "ContainersReady", "status": "True"},
                    {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": "m"},
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"},
                ],
                "initContainerStatuses": [
                    {"name": "proxy", "restartCount": 1, "state": {"running": {}}, "ready": true},
                    {"name": "fetch", "restartCount": 1, "state": ended(0), "lastState": {}},
                ],
                "containerStatuses": [
                    {"name": "pytorch", "restartCount": 1, "state": waits, "lastState": ended(1), "ready": false, "started": false},
                    {"name": "log", "restartCount": 1, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}},
                ],
            },
        }),
    }
}

/// Changes of what decisions read of the containers of a pod.
fn of_containers() -> Vec<Case> {
    vec![
        case(
            "now.exit_code",
            "/status/initContainerStatuses/1/state/terminated/exitCode",
            json!(3),
        ),
        case(
            "now.terminated.reason",
            "/status/initContainerStatuses/1/state/terminated/reason",
            json!("OOMKilled"),
        ),
        case(
            "now.terminated.message",
            "/status/initContainerStatuses/1/state/terminated/message",
            json!("n"),
        ),
        case(
            "now.finished_at",
            "/status/initContainerStatuses/1/state/terminated/finishedAt",
            json!("2026-01-01T00:02:00Z"),
        ),
        case(
            "now.waiting.reason",
            "/status/containerStatuses/0/state/waiting/reason",
            json!("ImagePullBackOff"),
        ),
        case(
            "now.waiting.message",
            "/status/containerStatuses/0/state/waiting/message",
            json!("n"),
        ),
        case(
            "earlier.exit_code",
            "/status/containerStatuses/0/lastState/terminated/exitCode",
            json!(3),
        ),
        case(
            "earlier.terminated.reason",
            "/status/containerStatuses/0/lastState/terminated/reason",
            json!("OOMKilled"),
        ),
        case(
            "earlier.terminated.message",
            "/status/containerStatuses/0/lastState/terminated/message",
            json!("n"),
        ),
        case(
            "earlier.finished_at",
            "/status/containerStatuses/0/lastState/terminated/finishedAt",
            json!("2026-01-01T00:02:00Z"),
        ),
    ]
}

#[tokio::test]
async fn whatever_decisions_read_of_a_pod_requeues_its_job() {
    let deleting = || ("/metadata/deletionTimestamp", json!("2026-01-01T00:05:00Z"));
    let grace = |seconds: i64| ("/metadata/deletionGracePeriodSeconds", json!(seconds));
    let mut cases = vec![
        case("owner", "/metadata/ownerReferences/0/uid", json!("K")),
        case("owner", "/metadata/ownerReferences", json!([])),
        case("owner", "/metadata/ownerReferences/0/controller", json!(false)),
        case("name", "/metadata/name", json!("q")),
        case("uid", "/metadata/uid", json!("Q")),
        case("attempt", "/metadata/labels/trainyard.dev~1attempt", json!("2")),
        case(
            "deleting",
            "/metadata/deletionTimestamp",
            json!("2026-01-01T00:05:00Z"),
        ),
        ("forced", vec![deleting(), grace(30)], grace(0)),
        case("ready", "/status/conditions/0/status", json!("False")),
        case("node", "/spec/nodeName", json!("b")),
        case("node", "/spec/nodeName", json!(null)),
        case("gang", "/spec/schedulingGroup", json!({"podGroupName": "j"})),
        case(
            "gang",
            "/metadata/annotations/scheduling.k8s.io~1group-name",
            json!("j"),
        ),
        case(
            "gang",
            "/metadata/labels/scheduling.x-k8s.io~1pod-group",
            json!("j"),
        ),
        case("restarts", "/status/containerStatuses/0/restartCount", json!(2)),
        case(
            "restarts",
            "/status/initContainerStatuses/1/restartCount",
            json!(2),
        ),
        case("reason", "/status/reason", json!("Evicted")),
        case("message", "/status/message", json!("more")),
        case(
            "disruption",
            "/status/conditions/2/reason",
            json!("DeletionByTaintManager"),
        ),
        case("disruption", "/status/conditions/2/status", json!("False")),
        case(
            "unschedulable",
            "/status/conditions/3/message",
            json!("0/4 nodes"),
        ),
        case(
            "unschedulable",
            "/status/conditions/3/reason",
            json!("SchedulingGated"),
        ),
        case("unschedulable", "/status/conditions/3/status", json!("True")),
    ];
    for phase in ["Pending", "Succeeded", "Failed", "Unknown"] {
        cases.push(case("phase", "/status/phase", json!(phase)));
    }
    cases.extend(of_containers());
    // Names and types of containers do not change.
    pods().all_requeue_except(&cases, &["now.name", "now.init", "earlier.name", "earlier.init"]);
}

#[tokio::test]
async fn what_decisions_do_not_read_of_a_pod_requeues_nothing() {
    let mut ignored = other_metadata();
    ignored.extend([
        ("/spec/tolerations", json!([{"operator": "Exists"}])),
        ("/spec/priority", json!(2)),
        ("/spec/containers/0/image", json!("i:2")),
        ("/status/podIP", json!("10.0.0.2")),
        ("/status/podIPs", json!([{"ip": "10.0.0.2"}])),
        ("/status/hostIP", json!("10.0.0.3")),
        ("/status/startTime", json!("2026-01-01T00:00:00Z")),
        ("/status/qosClass", json!("Burstable")),
        ("/status/observedGeneration", json!(2)),
        ("/status/nominatedNodeName", json!("b")),
        (
            "/status/conditions/0/lastTransitionTime",
            json!("2026-01-01T01:00:00Z"),
        ),
        (
            "/status/conditions/0/lastProbeTime",
            json!("2026-01-01T01:00:00Z"),
        ),
        ("/status/conditions/1/status", json!("False")),
        ("/status/conditions/2/message", json!("n")),
        ("/status/initContainerStatuses/0/restartCount", json!(9)),
        ("/status/containerStatuses/1/restartCount", json!(9)),
        ("/status/containerStatuses/0/ready", json!(true)),
        ("/status/containerStatuses/0/started", json!(true)),
        ("/status/containerStatuses/0/imageID", json!("sha256:1")),
        (
            "/status/containerStatuses/0/lastState/terminated/startedAt",
            json!("2026-01-01T00:00:01Z"),
        ),
        (
            "/status/containerStatuses/0/lastState/terminated/containerID",
            json!("d"),
        ),
        (
            "/status/containerStatuses/1/state",
            json!({"waiting": {"reason": "ContainerCreating"}}),
        ),
        (
            "/status/containerStatuses/1/state/running/startedAt",
            json!("2026-01-01T00:00:01Z"),
        ),
        (
            "/status/ephemeralContainerStatuses",
            json!([{"name": "debug", "restartCount": 1}]),
        ),
    ]);
    pods().none_requeues(&ignored);
}

fn batch_job_fields(object: &Object) -> Fields {
    let Object::BatchJob(job) = object else { panic!() };
    let BatchJobView {
        name,
        uid,
        attempt,
        deleting,
        failed,
        end,
    } = &*job.value;
    let mut fields = vec![
        field("owner", &job.owner),
        field("name", name),
        field("uid", uid),
        field("attempt", attempt),
        field("deleting", deleting),
        field("failed", failed),
    ];
    if let Some(BatchEnd {
        succeeded,
        reason,
        message,
        at,
    }) = end.as_deref()
    {
        fields.extend([
            field("succeeded", succeeded),
            field("reason", reason),
            field("message", message),
            field("at", at),
        ]);
    }
    fields
}

#[tokio::test]
async fn whatever_decisions_read_of_a_batch_job_requeues_its_job_and_nothing_else_does() {
    let jobs = Kind {
        resource: crate::resource::BATCH_JOBS,
        read: |job| Object::BatchJob(decode::batch_job(job.to_string().as_bytes()).unwrap()),
        fields: batch_job_fields,
        usual: json!({
            "metadata": metadata("j-launcher"),
            "spec": {"backoffLimit": 6},
            "status": {"failed": 1, "active": 1, "conditions": [
                {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "m",
                    "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
        }),
    };
    let open = vec![("/status/conditions", json!([]))];
    let ended = json!([{"type": "Complete", "status": "True"}]);
    jobs.all_requeue(&[
        case("owner", "/metadata/ownerReferences/0/uid", json!("K")),
        case("name", "/metadata/name", json!("k-launcher")),
        case("uid", "/metadata/uid", json!("Q")),
        case("attempt", "/metadata/labels/trainyard.dev~1attempt", json!("2")),
        case(
            "deleting",
            "/metadata/deletionTimestamp",
            json!("2026-01-01T00:05:00Z"),
        ),
        case("failed", "/status/failed", json!(2)),
        case("succeeded", "/status/conditions/0/type", json!("Complete")),
        case("reason", "/status/conditions/0/reason", json!("DeadlineExceeded")),
        case("message", "/status/conditions/0/message", json!("n")),
        case(
            "at",
            "/status/conditions/0/lastTransitionTime",
            json!("2026-01-01T00:01:00Z"),
        ),
    ]);
    let (requeued, other) = jobs.change(&open, &("/status/conditions", ended));
    assert_eq!((requeued, other.len()), (true, 4), "it ends");
    let mut ignored = other_metadata();
    ignored.extend([
        ("/spec/backoffLimit", json!(7)),
        ("/status/active", json!(0)),
        ("/status/ready", json!(1)),
        ("/status/terminating", json!(1)),
        ("/status/startTime", json!("2026-01-01T00:00:00Z")),
        ("/status/uncountedTerminatedPods", json!({"failed": ["x"]})),
        (
            "/status/conditions/0/lastProbeTime",
            json!("2026-01-01T00:00:00Z"),
        ),
    ]);
    jobs.none_requeues(&ignored);
}

fn child_fields(object: &Object) -> Fields {
    let Object::Child(child) = object else { panic!() };
    // The kind never changes.
    let ChildView {
        kind: _,
        name,
        uid,
        deleting,
        digest,
        pod_group,
    } = &*child.value;
    let mut fields = vec![
        field("owner", &child.owner),
        field("name", name),
        field("uid", uid),
        field("deleting", deleting),
        field("digest", digest),
    ];
    if let Some(PodGroupView {
        spec,
        phase,
        placement,
    }) = pod_group.as_deref()
    {
        fields.extend([field("spec", spec), field("phase", phase)]);
        match placement {
            Placement::Unschedulable { reason, message } => {
                fields.extend([
                    field("placement.reason", reason),
                    field("placement.message", message),
                ]);
            }
            placement => fields.push(field("placement", placement)),
        }
    }
    fields
}

/// Changes of fields that decisions read of all children.
fn of_children() -> Vec<Case> {
    vec![
        case("owner", "/metadata/ownerReferences/0/uid", json!("K")),
        case("name", "/metadata/name", json!("k")),
        case("uid", "/metadata/uid", json!("Q")),
        case(
            "deleting",
            "/metadata/deletionTimestamp",
            json!("2026-01-01T00:05:00Z"),
        ),
        case(
            "digest",
            "/metadata/annotations/trainyard.dev~1spec-digest",
            json!("1"),
        ),
    ]
}

#[tokio::test]
async fn whatever_decisions_read_of_a_child_requeues_its_job_and_nothing_else_does() {
    for (kind, read) in [
        (
            ChildKind::Service,
            (|o| read_child(ChildKind::Service, o)) as fn(&Value) -> Object,
        ),
        (ChildKind::Autoscaler, |o| read_child(ChildKind::Autoscaler, o)),
    ] {
        let children = Kind {
            resource: Resource::of_child(kind),
            read,
            fields: child_fields,
            usual: json!({"metadata": metadata("j"), "spec": {}, "status": {}}),
        };
        children.all_requeue(&of_children());
        let mut ignored = other_metadata();
        ignored.extend([
            ("/spec/clusterIP", json!("None")),
            ("/spec/minReplicas", json!(2)),
            ("/status/desiredReplicas", json!(2)),
        ]);
        children.none_requeues(&ignored);
    }
}

fn read_child(kind: ChildKind, object: &Value) -> Object {
    Object::Child(decode::child(kind, object.to_string().as_bytes()).unwrap())
}

/// A PodGroup of an API that could not be placed.
fn pod_groups(api: PodGroupApi) -> Kind {
    let condition = match api {
        PodGroupApi::Native => json!({"type": "PodGroupInitiallyScheduled", "status": "False"}),
        PodGroupApi::Volcano | PodGroupApi::Coscheduling => {
            json!({"type": "Unschedulable", "status": "True"})
        }
    };
    let mut usual = json!({
        "metadata": metadata("j"), "spec": {"minMember": 2},
        "status": {"phase": "Inqueue", "running": 1, "conditions": [condition]},
    });
    set(
        &mut usual,
        &("/status/conditions/0/reason", json!("Unschedulable")),
    );
    set(&mut usual, &("/status/conditions/0/message", json!("2/3 tasks")));
    Kind {
        resource: Resource::pod_groups(api),
        read: match api {
            PodGroupApi::Native => |o| read_child(ChildKind::PodGroup(PodGroupApi::Native), o),
            PodGroupApi::Volcano => |o| read_child(ChildKind::PodGroup(PodGroupApi::Volcano), o),
            PodGroupApi::Coscheduling => |o| read_child(ChildKind::PodGroup(PodGroupApi::Coscheduling), o),
        },
        fields: child_fields,
        usual,
    }
}

#[tokio::test]
async fn whatever_decisions_read_of_a_pod_group_requeues_its_job_and_nothing_else_does() {
    for api in [
        PodGroupApi::Native,
        PodGroupApi::Volcano,
        PodGroupApi::Coscheduling,
    ] {
        let groups = pod_groups(api);
        let mut cases = of_children();
        cases.extend([
            case("spec", "/spec/minMember", json!(3)),
            case("spec", "/spec/queue", json!("q")),
            case("phase", "/status/phase", json!("Pending")),
        ]);
        let placed = match api {
            PodGroupApi::Native => Some(("/status/conditions/0/status", json!("True"))),
            PodGroupApi::Volcano => Some(("/status/conditions/0/type", json!("Scheduled"))),
            // Conditions of the pods say why they do not fit.
            PodGroupApi::Coscheduling => None,
        };
        if let Some((pointer, value)) = &placed {
            cases.extend([
                case(
                    "placement.reason",
                    "/status/conditions/0/reason",
                    json!("NotEnoughResources"),
                ),
                case(
                    "placement.message",
                    "/status/conditions/0/message",
                    json!("1/3 tasks"),
                ),
                case("placement", pointer, value.clone()),
            ]);
        } else {
            let (requeued, other) = groups.change(&[], &("/status/conditions/0/reason", json!("n")));
            assert_eq!((requeued, other), (false, Vec::new()));
        }
        // A PodGroup that is not refused has one field more.
        let fields = (groups.fields)(&(groups.read)(&groups.usual));
        let unknown = fields.iter().any(|(name, _)| name == "placement");
        assert_eq!(unknown, placed.is_none());
        groups.all_requeue_except(&cases, if unknown { &["placement"] } else { &[] });
        let mut ignored = other_metadata();
        ignored.extend([
            ("/status/running", json!(2)),
            (
                "/status/conditions/0/lastTransitionTime",
                json!("2026-01-01T00:00:00Z"),
            ),
            ("/status/conditions/0/transitionID", json!("t")),
        ]);
        groups.none_requeues(&ignored);
    }
}

/// All fields of a job in the view. Metadata that decisions do not read are not in it.
fn job_fields(object: &Object) -> Fields {
    let Object::Job(held) = object else { panic!() };
    let RawJob {
        key,
        uid,
        resource_version: _,
        deleting,
        annotations,
        spec,
        status,
    } = &held.raw();
    vec![
        field("key", key),
        field("uid", uid),
        field("deleting", deleting),
        field("annotations", annotations),
        field("spec", spec),
        field("status", status),
    ]
}

#[tokio::test]
async fn whatever_decisions_read_of_a_job_requeues_it_and_nothing_else_does() {
    let jobs = Kind {
        resource: Resource::jobs(&KIND),
        read: read_job,
        fields: job_fields,
        usual: {
            let mut usual = job();
            set(&mut usual, &("/metadata/resourceVersion", json!("2")));
            set(&mut usual, &("/metadata/annotations/a", json!("2")));
            usual
        },
    };
    let cases = [
        case("uid", "/metadata/uid", json!("K")),
        case(
            "deleting",
            "/metadata/deletionTimestamp",
            json!("2026-01-01T00:05:00Z"),
        ),
        case("annotations", "/metadata/annotations/b", json!("1")),
        case("annotations", "/metadata/annotations", json!(null)),
        case("spec", "/spec/replicaSpecs/Worker/replicas", json!(3)),
        case("spec", "/spec/unknown", json!(1)),
        case("status", "/status/conditions/0/status", json!("False")),
        case("status", "/status", json!(null)),
    ];
    // These two fields never change.
    jobs.all_requeue_except(&cases, &["key"]);
    jobs.none_requeues(&[
        ("/metadata/generation", json!(2)),
        ("/metadata/labels/mine", json!("2")),
        ("/metadata/finalizers", json!(["example.com/hold"])),
        ("/metadata/managedFields", json!([{"manager": "kubectl"}])),
    ]);
}
