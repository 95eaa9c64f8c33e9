//! The list of operations.

use common::testing::manifest;
use common::{Framework, names};
use http::Method;
use serde_json::{Value, json};
use sim::conformance::{METADATA, METADATA_LIST, Operation};

fn get(name: &str, path: &str, wanted: (u16, &'static str)) -> Operation {
    Operation::new(name, Method::GET, path, Value::Null, wanted)
}

fn post(name: &str, path: &str, body: Value, wanted: (u16, &'static str)) -> Operation {
    Operation::new(name, Method::POST, path, body, wanted)
}

fn put(name: &str, path: &str, body: Value, wanted: (u16, &'static str)) -> Operation {
    Operation::new(name, Method::PUT, path, body, wanted)
}

fn patch(name: &str, path: &str, body: Value, wanted: (u16, &'static str)) -> Operation {
    Operation::new(name, Method::PATCH, path, body, wanted)
}

fn delete(name: &str, path: &str, body: Value, wanted: (u16, &'static str)) -> Operation {
    Operation::new(name, Method::DELETE, path, body, wanted)
}

const OK: (u16, &str) = (200, "");
const MADE: (u16, &str) = (201, "");
const GONE: (u16, &str) = (404, "NotFound");
const CONFLICT: (u16, &str) = (409, "Conflict");
const EXISTS: (u16, &str) = (409, "AlreadyExists");
const INVALID: (u16, &str) = (422, "Invalid");
const BAD: (u16, &str) = (400, "BadRequest");

/// All of them. Whoever runs the operator beside it need not fear: the jobs are managed by somebody else.
#[must_use]
pub(crate) fn operations(frameworks: &[&'static dyn Framework]) -> Vec<Operation> {
    let mut all = objects();
    all.extend(lists());
    all.extend(watches());
    all.extend(pods());
    all.extend(graces());
    all.extend(others());
    for framework in frameworks {
        let kind = framework.kind().kind;
        all.extend(
            jobs(*framework)
                .into_iter()
                .map(|operation| operation.of_kind(kind)),
        );
    }
    all
}

fn config_map(name: &str, label: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"color": label}},
        "data": {"a": "1"}})
}

/// Create, get, replace, patch, delete.
fn objects() -> Vec<Operation> {
    let all = "/api/v1/namespaces/{ns}/configmaps";
    let one = "/api/v1/namespaces/{ns}/configmaps/a";
    let with = |field: &str, value: &str| {
        let mut object = config_map("a", "red");
        object["metadata"][field] = json!(value);
        object
    };
    let shown = [
        "/kind",
        "/apiVersion",
        "/metadata/name",
        "/metadata/labels/color",
        "/data",
    ];
    let uid = |uid: &str| json!({"preconditions": {"uid": uid}});
    vec![
        get("one that is not there", one, GONE),
        post("create", all, config_map("a", "red"), MADE)
            .shows(&shown)
            .keep("a"),
        post("create again", all, config_map("a", "red"), EXISTS),
        get("get", one, OK).shows(&shown),
        post(
            "create with a version",
            all,
            with("resourceVersion", "5"),
            (500, ""),
        ),
        post(
            "create in another namespace than the path's",
            all,
            with("namespace", "elsewhere"),
            BAD,
        ),
        post(
            "create without a name",
            all,
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}),
            INVALID,
        ),
        post(
            "create another kind",
            all,
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}),
            BAD,
        ),
        post(
            "create in a namespace that is not there",
            "/api/v1/namespaces/nowhere-{ns}/configmaps",
            config_map("a", "red"),
            GONE,
        ),
        put(
            "replace what is not there",
            "/api/v1/namespaces/{ns}/configmaps/b",
            config_map("b", "red"),
            GONE,
        ),
        put("replace under another name", one, config_map("b", "red"), BAD),
        put(
            "replace with an old version",
            one,
            with("resourceVersion", "1"),
            CONFLICT,
        ),
        put(
            "replace with another UID",
            one,
            with("uid", "00000000-0000-4000-8000-00000000ffff"),
            CONFLICT,
        ),
        put(
            "replace with the version",
            one,
            with("resourceVersion", "{a.rv}"),
            OK,
        )
        .shows(&shown)
        .keep("a"),
        put("replace without a version", one, config_map("a", "blue"), OK)
            .shows(&shown)
            .keep("a"),
        patch("merge", one, json!({"data": {"b": "2"}}), OK)
            .shows(&shown)
            .keep("a"),
        patch("take away by null", one, json!({"data": {"a": null}}), OK)
            .shows(&shown)
            .keep("a"),
        patch(
            "patch with an old version",
            one,
            json!({"metadata": {"resourceVersion": "1"}}),
            CONFLICT,
        ),
        patch(
            "patch with the version",
            one,
            json!({"metadata": {"resourceVersion": "{a.rv}"}, "data": {"c": "3"}}),
            OK,
        )
        .shows(&shown)
        .keep("a"),
        patch(
            "patch with another UID",
            one,
            json!({"metadata": {"uid": "00000000-0000-4000-8000-00000000ffff"}}),
            INVALID,
        ),
        patch(
            "patch what is not there",
            "/api/v1/namespaces/{ns}/configmaps/b",
            json!({}),
            GONE,
        ),
        patch(
            "patch of an unknown type",
            one,
            json!({}),
            (415, "UnsupportedMediaType"),
        )
        .content("application/nonsense"),
        get("metadata alone", one, OK).accept(METADATA).shows(&[
            "/kind",
            "/apiVersion",
            "/metadata/name",
            "/data",
        ]),
        delete(
            "delete with another UID",
            one,
            uid("00000000-0000-4000-8000-00000000ffff"),
            CONFLICT,
        ),
        delete(
            "delete with an old version",
            one,
            json!({"preconditions": {"resourceVersion": "1"}}),
            CONFLICT,
        ),
        delete("delete with the UID", one, uid("{a.uid}"), OK).shows(&[
            "/kind",
            "/status",
            "/details/name",
            "/details/kind",
        ]),
        delete("delete again", one, uid("{a.uid}"), GONE),
        post(
            "generated name",
            all,
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "g-"}}),
            MADE,
        )
        .shows(&["/metadata/generateName"]),
        get("no such resource", "/api/v1/namespaces/{ns}/nonsense", GONE),
        get(
            "no such resource of another group",
            "/apis/batch/v1/namespaces/{ns}/nonsense",
            GONE,
        ),
        get(
            "no such resource of a group of CRDs",
            "/apis/kubeflow.org/v1/namespaces/{ns}/nonsense",
            (404, ""),
        ),
        get(
            "no such group",
            "/apis/nonsense.example.com/v1/namespaces/{ns}/things",
            (404, ""),
        ),
        get(
            "no such version",
            "/apis/kubeflow.org/v9/namespaces/{ns}/tfjobs",
            (404, ""),
        ),
    ]
}

/// Lists, selectors, pages.
fn lists() -> Vec<Operation> {
    let all = "/api/v1/namespaces/{ns}/configmaps";
    let by = |selector: &str| format!("{all}?labelSelector={selector}");
    let names = [
        "/kind",
        "/apiVersion",
        "/items/0/metadata/name",
        "/items/1/metadata/name",
        "/items/2/metadata/name",
        "/items/0/kind",
    ];
    let list = |name: &str, selector: &str| get(name, &by(selector), OK).shows(&names);
    vec![
        post("first", all, config_map("l1", "red"), MADE).keep("l1"),
        post("second", all, config_map("l2", "green"), MADE).keep("l2"),
        post("third", all, config_map("l3", "blue"), MADE).keep("l3"),
        list("equal", "color%3Dred"),
        list("equal, written twice", "color%3D%3Dred"),
        list("not equal", "color%21%3Dred%2Ccolor"),
        list("in", "color%20in%20%28red%2Cblue%29"),
        list("notin", "color%20notin%20%28red%2Cblue%29%2Ccolor"),
        list("there", "color"),
        list("not there", "%21color%2Cnope"),
        list("none", "color%3Dblack"),
        get("not a selector", &by("%3D%3D"), BAD),
        get("metadata of a list", &by("color%3Dred"), OK)
            .accept(METADATA_LIST)
            .shows(&[
                "/kind",
                "/apiVersion",
                "/items/0/kind",
                "/items/0/apiVersion",
                "/items/0/metadata/name",
                "/items/0/data",
            ]),
        get("first page", &format!("{}&limit=2", by("color")), OK).shows(&[
            "/items/0/metadata/name",
            "/items/1/metadata/name",
            "/items/2/metadata/name",
        ]),
        get("first page again", &format!("{}&limit=2", by("color")), OK).keep("page"),
        patch(
            "what is on the next page changes",
            &format!("{all}/l3"),
            json!({"data": {"a": "9"}}),
            OK,
        )
        .keep("l3"),
        get(
            "next page: as it was when the list began",
            &format!("{}&limit=2&continue={{page.continue}}", by("color")),
            OK,
        )
        .shows(&[
            "/items/0/metadata/name",
            "/items/0/data",
            "/items/1/metadata/name",
            "/metadata/continue",
        ]),
        get(
            "the same page once more",
            &format!("{}&limit=2&continue={{page.continue}}", by("color")),
            OK,
        )
        .shows(&["/items/0/metadata/name", "/items/0/data"]),
        get("all on one page", &format!("{}&limit=500", by("color")), OK).shows(&[
            "/items/2/metadata/name",
            "/metadata/continue",
            "/metadata/remainingItemCount",
        ]),
        get(
            "a page and a version",
            &format!(
                "{}&limit=2&resourceVersion=0&continue={{page.continue}}",
                by("color")
            ),
            OK,
        ),
        get(
            "a page and a version of its own",
            &format!(
                "{}&limit=2&resourceVersion={{l3.rv}}&continue={{page.continue}}",
                by("color")
            ),
            BAD,
        ),
        get(
            "not older than a version",
            &format!(
                "{}&resourceVersion={{l3.rv}}&resourceVersionMatch=NotOlderThan",
                by("color")
            ),
            OK,
        )
        .shows(&names),
        get("two requirements", &by("color%3Dred%2C%21more"), OK).shows(&names),
        get("in of nothing there", &by("color%20in%20%28white%29"), OK).shows(&names),
        get("a selector cut short", &by("color%20in%20%28red"), BAD),
        get(
            "a page of nothing",
            &format!("{}&limit=2&continue=nonsense", by("color")),
            BAD,
        ),
        get(
            "of all namespaces",
            "/api/v1/configmaps?labelSelector=color%3Dred",
            OK,
        )
        .shows(&["/kind"]),
    ]
}

/// Watches: each one ends after a second.
fn watches() -> Vec<Operation> {
    let all = "/api/v1/namespaces/{ns}/configmaps";
    let watch = |name: &str, from: &str, selector: &str| {
        let path =
            format!("{all}?watch=true&timeoutSeconds=1&resourceVersion={from}&labelSelector={selector}");
        get(name, &path, OK)
    };
    let l1 = format!("{all}/l1");
    vec![
        watch("from a version on", "{l1.rv}", "color"),
        watch("from the newest version on", "{l3.rv}", "color"),
        patch("a change", &l1, json!({"data": {"a": "2"}}), OK).keep("l1"),
        watch("the change", "{l3.rv}", "color"),
        patch("a change of nothing", &l1, json!({"data": {"a": "2"}}), OK).keep("l1"),
        watch("nothing is no change", "{l1.rv}", "color"),
        patch(
            "out of the selector",
            &l1,
            json!({"metadata": {"labels": {"color": "black"}}}),
            OK,
        )
        .keep("l1"),
        watch("what leaves the selector is deleted", "{l3.rv}", "color%3Dred"),
        watch("what enters the selector is added", "{l3.rv}", "color%3Dblack"),
        delete("a deletion", &l1, Value::Null, OK).shows(&["/kind"]),
        watch("the deletion", "{l1.rv}", "color"),
        watch("metadata alone", "{l1.rv}", "color").accept(METADATA),
        watch(
            "any version: all that is there, as if it were new",
            "0",
            "color%3Dgreen",
        ),
        watch("no version: the same", "", "color%3Dgreen"),
        get(
            "not a version",
            &format!("{all}?watch=true&timeoutSeconds=1&resourceVersion=nonsense"),
            (500, ""),
        ),
        get(
            "of all namespaces",
            "/api/v1/configmaps?watch=true&timeoutSeconds=1&resourceVersion={l1.rv}&labelSelector=color%3Dblack",
            OK,
        ),
        get(
            "with bookmarks",
            &format!(
                "{all}?watch=true&timeoutSeconds=1&allowWatchBookmarks=true&resourceVersion={{l1.rv}}&labelSelector=color"
            ),
            OK,
        ),
        post("one that is made again", all, config_map("l4", "red"), MADE).keep("l4"),
        delete(
            "it goes",
            &format!("{all}/l4"),
            json!({"preconditions": {"uid": "{l4.uid}", "resourceVersion": "{l4.rv}"}}),
            OK,
        )
        .shows(&["/kind"]),
        post("and comes again", all, config_map("l4", "red"), MADE).shows(&["/metadata/name"]),
        delete(
            "the UID is of the first",
            &format!("{all}/l4"),
            json!({"preconditions": {"uid": "{l4.uid}"}}),
            CONFLICT,
        ),
        watch("both lives of it", "{l4.rv}", "color%3Dred"),
    ]
}

fn pod(name: &str) -> Value {
    // There is no such node: it is never placed.
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"color": "red"}},
        "spec": {"nodeSelector": {"nowhere": "nowhere"}, "containers": [{"name": "main", "image": "img:1"}]},
        "status": {"phase": "Running"}})
}

fn pods() -> Vec<Operation> {
    let all = "/api/v1/namespaces/{ns}/pods";
    let one = "/api/v1/namespaces/{ns}/pods/p";
    let phase = [
        "/kind",
        "/status/phase",
        "/metadata/name",
        "/metadata/deletionTimestamp",
    ];
    vec![
        post("create a pod", all, pod("p"), MADE).shows(&phase).keep("p"),
        post("again", all, pod("p"), EXISTS),
        get("its status is not what was sent", one, OK).shows(&phase),
        patch(
            "label a pod",
            one,
            json!({"metadata": {"labels": {"more": "1"}}}),
            OK,
        )
        .shows(&["/metadata/labels"]),
        patch(
            "its status is a subresource",
            one,
            json!({"status": {"phase": "Failed"}}),
            OK,
        )
        .shows(&phase),
        patch(
            "status of a pod",
            &format!("{one}/status"),
            json!({"status": {"phase": "Failed"}}),
            OK,
        )
        .shows(&phase),
        delete(
            "a pod that is nowhere goes at once",
            one,
            json!({"preconditions": {"uid": "{p.uid}"}}),
            OK,
        )
        .shows(&["/kind", "/metadata/name"]),
        get("and is gone", one, GONE),
        delete("again", one, Value::Null, GONE),
        post(
            "a pod with a finalizer",
            all,
            {
                let mut pod = pod("f");
                pod["metadata"]["finalizers"] = json!(["example.com/hold"]);
                pod
            },
            MADE,
        )
        .keep("f"),
        delete("it stays", "/api/v1/namespaces/{ns}/pods/f", Value::Null, OK).shows(&[
            "/kind",
            "/metadata/finalizers",
            "/metadata/deletionGracePeriodSeconds",
        ]),
        delete(
            "however often",
            "/api/v1/namespaces/{ns}/pods/f",
            json!({"gracePeriodSeconds": 0}),
            OK,
        )
        .shows(&["/kind", "/metadata/finalizers"]),
        patch(
            "until it is let go",
            "/api/v1/namespaces/{ns}/pods/f",
            json!({"metadata": {"finalizers": null}}),
            OK,
        )
        .shows(&["/kind"]),
        get("then it is gone", "/api/v1/namespaces/{ns}/pods/f", GONE).until(),
    ]
}

/// Pods on a node, which are given time to end.
fn graces() -> Vec<Operation> {
    let all = "/api/v1/namespaces/{ns}/pods";
    let one = format!("{all}/b");
    let on_node = |name: &str, seconds: Option<u32>| {
        let mut pod = pod(name);
        // Nobody is there to run it.
        pod["spec"] = json!({"nodeName": "nowhere", "containers": [{"name": "main", "image": "img:1"}]});
        if let Some(seconds) = seconds {
            pod["spec"]["terminationGracePeriodSeconds"] = json!(seconds);
        }
        pod
    };
    let shown = [
        "/kind",
        "/metadata/deletionTimestamp",
        "/metadata/deletionGracePeriodSeconds",
    ];
    let grace = |seconds: u32| json!({"gracePeriodSeconds": seconds});
    vec![
        post("a pod on a node", all, on_node("b", None), MADE)
            .shows(&["/spec/nodeName"])
            .keep("b"),
        delete(
            "it is given time",
            &one,
            json!({"preconditions": {"uid": "{b.uid}"}, "propagationPolicy": "Background"}),
            OK,
        )
        .shows(&shown),
        get("it is there", &one, OK).shows(&shown),
        post("its name is taken", all, on_node("b", None), EXISTS),
        delete("less time", &one, grace(5), OK).shows(&shown),
        delete("not more", &one, grace(60), OK).shows(&shown),
        patch(
            "it may be changed",
            &one,
            json!({"metadata": {"labels": {"more": "1"}}}),
            OK,
        )
        .shows(&shown),
        patch(
            "its status too",
            &format!("{one}/status"),
            json!({"status": {"phase": "Failed"}}),
            OK,
        )
        .shows(&["/status/phase"]),
        delete(
            "at once, but another",
            &one,
            json!({"gracePeriodSeconds": 0, "preconditions": {"uid": "{p.uid}"}}),
            CONFLICT,
        ),
        delete(
            "at once",
            &one,
            json!({"gracePeriodSeconds": 0, "preconditions": {"uid": "{b.uid}"}}),
            OK,
        )
        .shows(&["/kind"]),
        get("and it is gone", &one, GONE),
        post("a pod with a time of its own", all, on_node("b", Some(7)), MADE).keep("b"),
        delete("is given that", &one, Value::Null, OK).shows(&shown),
        delete("and no more", &one, grace(0), OK).shows(&["/kind"]),
        post("a pod that has ended", all, on_node("b", None), MADE).keep("b"),
        patch(
            "as its status says",
            &format!("{one}/status"),
            json!({"status": {"phase": "Succeeded"}}),
            OK,
        )
        .shows(&["/status/phase"]),
        delete(
            "goes at once",
            &one,
            json!({"preconditions": {"uid": "{b.uid}"}}),
            OK,
        )
        .shows(&["/kind", "/status/phase"]),
        get("and is not there", &one, GONE),
        patch(
            "nor can it be changed",
            &format!("{one}/status"),
            json!({"status": {"phase": "Failed"}}),
            GONE,
        ),
        post(
            "a pod without containers",
            all,
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"containers": []}}),
            INVALID,
        ),
        post("a pod of a long name", all, pod(&"x".repeat(254)), INVALID),
        post(
            "a label that is none",
            all,
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "labels": {"a": "-"}}}),
            BAD,
        ),
    ]
}

/// Services, leases, secrets, events, owners, discovery.
fn others() -> Vec<Operation> {
    let in_ns = |group: &str, plural: &str| format!("{group}/namespaces/{{ns}}/{plural}");
    let lease = |version: &str| {
        let meta = json!({"name": "l", "resourceVersion": version});
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": {"holderIdentity": "a"}})
    };
    let leases = in_ns("/apis/coordination.k8s.io/v1", "leases");
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
        "spec": {"clusterIP": "None", "selector": {"a": "b"}}});
    let owned = |name: &str| {
        let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": "{owner.uid}", "controller": true,
            "blockOwnerDeletion": true});
        let mut object = config_map(name, "white");
        object["metadata"]["ownerReferences"] = json!([owner]);
        object
    };
    let maps = in_ns("/api/v1", "configmaps");
    let foreground = json!({"propagationPolicy": "Foreground"});
    vec![
        post("create a Service", &in_ns("/api/v1", "services"), service, MADE).shows(&["/kind", "/spec/clusterIP"]).keep("s"),
        get("its metadata", &in_ns("/api/v1", "services/s"), OK).accept(METADATA).shows(&["/kind", "/spec"]),
        delete("delete a Service", &in_ns("/api/v1", "services/s"), json!({"preconditions": {"uid": "{s.uid}"}}), OK).shows(&["/kind"]),
        post("create a Lease", &leases, {
            let mut lease = lease("");
            lease["metadata"] = json!({"name": "l"});
            lease
        }, MADE)
        .keep("l"),
        put("replace a Lease without its version", &format!("{leases}/l"), {
            let mut lease = lease("");
            lease["metadata"] = json!({"name": "l"});
            lease
        }, INVALID),
        put("with an old one", &format!("{leases}/l"), lease("1"), CONFLICT),
        put("with its version", &format!("{leases}/l"), lease("{l.rv}"), OK).shows(&["/spec/holderIdentity"]),
        post("create an Event", &in_ns("/api/v1", "events"), json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e.1"},
            "involvedObject": {"kind": "Pod", "name": "p", "namespace": "{ns}"}, "reason": "R", "message": "m", "type": "Normal"}), MADE)
            .shows(&["/kind", "/reason"]),
        post("create a ServiceAccount", &in_ns("/api/v1", "serviceaccounts"), json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "x"}}), MADE)
            .shows(&["/kind"]),
        post("an owner", &maps, config_map("owner", "white"), MADE).keep("owner"),
        post("what it owns", &maps, owned("owned"), MADE).shows(&["/metadata/ownerReferences/0/name"]),
        delete("an owner goes in the foreground", &format!("{maps}/owner"), foreground, OK).shows(&["/kind", "/metadata/finalizers"]),
        get("first what it owns", &format!("{maps}/owned"), GONE).until(),
        get("then the owner", &format!("{maps}/owner"), GONE).until(),
        post("another owner", &maps, config_map("owner", "white"), MADE).keep("owner"),
        post("what that one owns", &maps, owned("owned"), MADE),
        delete("it goes in the background", &format!("{maps}/owner"), json!({"propagationPolicy": "Background"}), OK).shows(&["/kind"]),
        get("at once", &format!("{maps}/owner"), GONE),
        get("and what it owned some time", &format!("{maps}/owned"), GONE).until(),
        get("discovery of what is not served", "/apis/nonsense.example.com/v1", (404, "")),
        get("discovery of leases", "/apis/coordination.k8s.io/v1", OK).shows(&["/kind", "/groupVersion"]),
    ]
}

/// What CRDs do.
fn jobs(framework: &'static dyn Framework) -> Vec<Operation> {
    let info = framework.kind();
    let roles: Vec<(&str, u32)> = info
        .roles
        .iter()
        .filter(|r| r.role.0 != "Master" || info.role("Chief").is_none())
        .map(|role| (role.role.0, 1))
        .collect();
    let mut job = manifest(framework, "c", &roles);
    job["metadata"] = json!({"name": "c"});
    job["spec"]["runPolicy"]["managedBy"] = json!("kueue.x-k8s.io/multikueue");
    let all = format!(
        "/apis/{}/{}/namespaces/{{ns}}/{}",
        info.group, info.version, info.plural
    );
    let one = format!("{all}/c");
    let status = format!("{one}/status");
    let with = |pointer: &str, value: Value| {
        let mut job = job.clone();
        let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
        job.pointer_mut(parent).expect("a parent")[field] = value;
        job
    };
    let mut without_policy = with("/spec/madeUp", json!(1));
    without_policy["status"] = json!({"attempt": 7});
    let shown = [
        "/kind",
        "/apiVersion",
        "/metadata/generation",
        "/spec/madeUp",
        "/spec/runPolicy",
        "/spec/launcherTransport",
        "/status",
    ];
    let mut held = job.clone();
    held["metadata"] = json!({"name": "h", "labels": {"color": "red"}, "finalizers": ["example.com/hold"]});
    let mut with_status = held.clone();
    with_status["metadata"]["resourceVersion"] = json!("{h.rv}");
    with_status["status"] = json!({"attempt": 5});
    let mut generated = job.clone();
    generated["metadata"] = json!({"generateName": "g-"});
    let condition = json!({"type": "Created", "status": "True", "reason": "R", "message": "m"});
    vec![
        get("not there", &one, GONE),
        post("of another version", &all, with("/apiVersion", json!("kubeflow.org/v9")), BAD),
        post("a wrong type", &all, with("/spec/runPolicy/backoffLimit", json!("three")), INVALID),
        post("a number out of range", &all, with("/spec/runPolicy/backoffLimit", json!(-1)), INVALID),
        post("a word that is none", &all, with("/spec/runPolicy/cleanPodPolicy", json!("Some")), INVALID),
        post("create: pruned, defaulted, without status", &all, without_policy, MADE).shows(&shown).keep("c"),
        post("create again", &all, job.clone(), EXISTS),
        get("get", &one, OK).shows(&shown),
        get("metadata alone", &one, OK).accept(METADATA).shows(&["/kind", "/metadata/generation", "/spec"]),
        patch("status by the other door", &one, json!({"status": {"attempt": 3}}), OK).shows(&shown).keep("c"),
        patch("status", &status, json!({"metadata": {"resourceVersion": "{c.rv}", "uid": "{c.uid}"},
            "status": {"attempt": 3, "conditions": [condition]}}), OK)
            .shows(&shown)
            .keep("c"),
        patch("status with an old version", &status, json!({"metadata": {"resourceVersion": "1"}, "status": {"attempt": 4}}), CONFLICT),
        patch("status does not touch the spec", &status, json!({"spec": {"runPolicy": {"backoffLimit": 9}}, "status": {"attempt": 4}}), OK)
            .shows(&shown)
            .keep("c"),
        patch("status of a wrong type", &status, json!({"status": {"attempt": "four"}}), INVALID),
        patch("a field of the status that is not known", &status, json!({"status": {"madeUp": 1, "attempt": 4}}), OK).shows(&shown).keep("c"),
        patch("take a field of the status away", &status, json!({"status": {"attempt": null}}), OK).shows(&shown).keep("c"),
        // Of a status nobody looks at the UID: the version is what counts.
        patch("status of another UID", &status, json!({"metadata": {"uid": "00000000-0000-4000-8000-00000000ffff"}, "status": {"attempt": 9}}), OK),
        patch("a patch of another UID", &one, json!({"metadata": {"uid": "00000000-0000-4000-8000-00000000ffff"}}), INVALID),
        patch("status of another name", &status, json!({"metadata": {"name": "other"}, "status": {"attempt": 9}}), BAD),
        patch("a role is taken away", &one, json!({"spec": {(info.replicas_field): null}}), INVALID),
        patch("a change of the spec is a generation", &one, json!({"spec": {"runPolicy": {"suspend": true}}}), OK).shows(&shown).keep("c"),
        patch("a label is none", &one, json!({"metadata": {"labels": {(names::JOB_NAME): "c"}}}), OK).shows(&shown).keep("c"),
        put("replace without a version", &one, job.clone(), INVALID),
        get("list", &format!("{all}?limit=500"), OK).shows(&["/kind", "/apiVersion", "/items/0/kind", "/items/0/metadata/name"]),
        get("discovery", &format!("/apis/{}/{}", info.group, info.version), OK).shows(&["/kind", "/groupVersion"]),
        delete("delete with another UID", &one, json!({"preconditions": {"uid": "00000000-0000-4000-8000-00000000ffff"}}), CONFLICT),
        delete("delete with an old version", &one, json!({"preconditions": {"uid": "{c.uid}", "resourceVersion": "1"}}), CONFLICT),
        delete("delete", &one, json!({"preconditions": {"uid": "{c.uid}", "resourceVersion": "{c.rv}"}, "propagationPolicy": "Background"}), OK)
            .shows(&["/kind", "/status"]),
        get("gone", &one, GONE),
        post("with a finalizer, and a label", &all, held, MADE).shows(&["/metadata/finalizers"]).keep("h"),
        get("found by it", &format!("{all}?labelSelector=color%3Dred"), OK).shows(&["/items/0/metadata/name", "/items/1"]),
        get("metadata of the list", &format!("{all}?labelSelector=color%3Dred"), OK)
            .accept(METADATA_LIST)
            .shows(&["/kind", "/items/0/kind", "/items/0/metadata/name", "/items/0/spec"]),
        put("replace the status", &format!("{all}/h/status"), with_status, OK).shows(&["/status", "/metadata/generation"]).keep("h"),
        delete("it stays", &format!("{all}/h"), json!({"propagationPolicy": "Background"}), OK).shows(&["/kind", "/metadata/deletionTimestamp",
            "/metadata/deletionGracePeriodSeconds", "/metadata/finalizers", "/metadata/generation"]),
        get("it is on its way out", &format!("{all}/h"), OK).shows(&["/metadata/deletionTimestamp", "/metadata/generation"]),
        patch("its status can still be written", &format!("{all}/h/status"), json!({"status": {"attempt": 6}}), OK).shows(&["/status/attempt"]),
        patch("no finalizer can be added", &format!("{all}/h"), json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}), INVALID),
        // 410 comes as a frame of a watch that was answered well. (A real server knows the changes since it began to serve a kind.)
        get("a version that is forgotten", &format!("{all}?watch=true&timeoutSeconds=1&resourceVersion=1"), OK),
        get("what happened to it", &format!("{all}?watch=true&timeoutSeconds=1&resourceVersion={{h.rv}}&labelSelector=color%3Dred"), OK),
        patch("let go", &format!("{all}/h"), json!({"metadata": {"finalizers": null}}), OK).shows(&["/kind"]),
        get("now it is gone", &format!("{all}/h"), GONE),
        post("a generated name", &all, generated, MADE).shows(&["/metadata/generateName", "/metadata/generation"]).keep("g"),
    ]
}
