//! What a user who may create jobs, and no more, tries by way of the operator. For every meaning of every kind, on plans alone;
//! what needs requests and their answers is in `tests/attacks` of the crate `sim`.

use common::conditions;
use std::collections::{BTreeMap, BTreeSet};

use common::api::ConditionType;
use common::plan::Write;
use common::testing::{World, meanings, whole};
use common::{Framework, names};
use serde_json::{Map, Value, json};

/// Words that would do something in a shell, a list of hosts, a YAML file or a JSON document.
const PAYLOADS: [&str; 7] = [
    "$(touch /tmp/pwned)",
    "`touch /tmp/pwned`",
    "x; touch /tmp/pwned",
    "x\ntouch /tmp/pwned\n",
    "'\"\\ && touch /tmp/pwned #",
    "x slots=99\nother slots=1 touch /tmp/pwned",
    "--container=touch /tmp/pwned",
];
/// What must be found nowhere.
const MARK: &str = "touch /tmp/pwned";

/// Whether a kind gives its launcher a service account to exec into the workers.
fn execs(framework: &dyn Framework) -> bool {
    framework
        .kind()
        .makes
        .contains(&common::kind::ExtraKind::ExecRole)
}

fn for_every_kind(test: impl Fn(&'static dyn Framework)) {
    let all = meanings(operator::FRAMEWORKS);
    assert!(all.len() >= 8, "both meanings of MPIJob are among them");
    for framework in all {
        println!("{} {}", framework.kind().api_version(), framework.kind().kind);
        test(framework);
    }
}

/// Templates of a job's roles.
fn templates<'a>(
    framework: &dyn Framework,
    manifest: &'a mut Value,
) -> impl Iterator<Item = &'a mut Value> + use<'a> {
    let roles = manifest["spec"][framework.kind().replicas_field]
        .as_object_mut()
        .unwrap();
    roles.values_mut().map(|role| &mut role["template"])
}

/// All objects that are made for a job until its pods run, by what they are and their names.
fn made(framework: &'static dyn Framework, manifest: &Value) -> BTreeMap<(String, String), Value> {
    let mut world = World::new(framework, manifest);
    let mut objects = BTreeMap::new();
    for _ in 0..2 {
        for plan in world.settle(framework) {
            for write in &plan.writes {
                let (what, object) = match write {
                    Write::CreatePod { pod, .. } => ("Pod", serde_json::to_value(pod)),
                    Write::CreateBatchJob { job, .. } => ("Job", serde_json::to_value(job)),
                    Write::CreateChild(child) | Write::ChangeChild { to: child, .. } => {
                        (child.kind().as_str(), serde_json::to_value(child))
                    }
                    Write::Ensure(extra) => (extra.id().0, serde_json::to_value(extra)),
                    Write::DeleteChild { .. }
                    | Write::DeletePod { .. }
                    | Write::DeleteBatchJob { .. }
                    | Write::DeleteJob { .. } => continue,
                };
                let object = object.unwrap();
                let name = object["metadata"]["name"].as_str().unwrap().to_owned();
                objects.insert((what.to_owned(), name), object);
            }
        }
        world.run_all();
    }
    assert!(
        objects.keys().any(|(what, _)| what == "Pod"),
        "{:?}",
        world.status()
    );
    objects
}

/// The metadata and the spec of the pods that an object is or makes.
fn pods_of<'a>(what: &str, object: &'a Value) -> Option<(&'a Value, &'a Value)> {
    match what {
        "Pod" => Some((&object["metadata"], &object["spec"])),
        "Job" => {
            let template = &object["spec"]["template"];
            Some((&template["metadata"], &template["spec"]))
        }
        _ => None,
    }
}

fn reserved(metadata: &Value) -> Map<String, Value> {
    let labels = metadata["labels"].as_object().cloned().unwrap_or_default();
    labels
        .into_iter()
        .filter(|(key, _)| names::RESERVED.contains(&&**key))
        .collect()
}

#[test]
fn a_template_cannot_say_whose_its_pods_are_nor_where() {
    for_every_kind(|framework| {
        let plain = made(framework, &whole(framework, 2));
        let mut manifest = whole(framework, 2);
        for template in templates(framework, &mut manifest) {
            let labels: Map<String, Value> = names::RESERVED
                .iter()
                .map(|key| ((*key).to_owned(), json!("victim")))
                .collect();
            template["metadata"] = json!({
                "name": "victim-worker-0", "generateName": "victim-", "namespace": "kube-system", "uid": "victim",
                "resourceVersion": "1", "deletionTimestamp": "2026-01-01T00:00:00Z", "labels": labels,
                "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "victim", "uid": "victim",
                                     "controller": true}],
            });
        }
        let attacked = made(framework, &manifest);
        assert_eq!(
            plain.keys().collect::<Vec<_>>(),
            attacked.keys().collect::<Vec<_>>()
        );
        for ((what, name), object) in &attacked {
            let metadata = &object["metadata"];
            assert_eq!(metadata["namespace"], "ns1", "{what} {name}");
            let owners = metadata["ownerReferences"].as_array().unwrap();
            assert_eq!(owners.len(), 1, "{what} {name}");
            assert_eq!(owners[0]["name"], "j", "{what} {name}");
            for field in ["uid", "resourceVersion", "generateName", "deletionTimestamp"] {
                assert!(metadata.get(field).is_none(), "{what} {name}: {field}");
            }
            if let Some((pod, _)) = pods_of(what, object) {
                let (wanted, _) = pods_of(what, &plain[&(what.clone(), name.clone())]).unwrap();
                assert_eq!(reserved(pod), reserved(wanted), "{what} {name}");
            }
            if what == "Job" {
                let template = object["spec"]["template"]["metadata"].as_object().unwrap();
                let mut fields: Vec<&str> = template.keys().map(String::as_str).collect();
                fields.retain(|field| !["labels", "annotations", "finalizers"].contains(field));
                assert_eq!(fields, [""; 0], "{what} {name}");
            }
            assert_eq!(
                metadata["labels"].to_string().matches("victim").count(),
                0,
                "{what} {name}"
            );
        }
    });
}

/// What is made beside pods and what is added to them, without what is the user's own.
fn generated(objects: &BTreeMap<(String, String), Value>) -> Vec<Value> {
    let mut parts = Vec::new();
    for ((what, _), object) in objects {
        let Some((_, spec)) = pods_of(what, object) else {
            parts.push(object.clone());
            continue;
        };
        let of_user = |name: &Value| name.as_str().is_some_and(|name| name.starts_with("user-"));
        let inits = spec["initContainers"].as_array().into_iter().flatten();
        parts.extend(inits.filter(|c| !of_user(&c["name"])).cloned());
        for container in spec["containers"].as_array().unwrap() {
            let env = container["env"].as_array().into_iter().flatten();
            parts.extend(env.filter(|e| !of_user(&e["name"])).cloned());
            parts.extend(["command", "args"].map(|field| container[field].clone()));
        }
        for field in [
            "serviceAccountName",
            "volumes",
            "hostname",
            "subdomain",
            "dnsConfig",
        ] {
            parts.push(spec[field].clone());
        }
    }
    parts
}

#[test]
fn nothing_of_the_users_text_is_in_what_is_generated() {
    for_every_kind(|framework| {
        let plain = generated(&made(framework, &whole(framework, 2)));
        for payload in PAYLOADS {
            let mut manifest = whole(framework, 2);
            for template in templates(framework, &mut manifest) {
                template["metadata"] = json!({"labels": {"user": payload}, "annotations": {"user": payload}});
                let container = json!({
                    "name": "user-side", "image": payload, "command": ["true"], "workingDir": payload,
                    "env": [{"name": "user-variable", "value": payload}],
                });
                template["spec"]["initContainers"] = json!([container]);
                template["spec"]["containers"][0]["env"] =
                    json!([{"name": "user-variable", "value": payload}]);
                template["spec"]["containers"][0]["workingDir"] = json!(payload);
            }
            let mut attacked = generated(&made(framework, &manifest));
            assert_eq!(attacked, plain, "{payload:?}");
            attacked.retain(|part| part.to_string().contains(MARK));
            assert_eq!(attacked, [Value::Null; 0], "{payload:?}");
        }
    });
}

/// Fields that go into scripts and lists must be what they are said to be: nothing is made of a job with any other.
#[test]
fn names_and_numbers_that_go_into_scripts_are_checked() {
    let refused = |framework: &'static dyn Framework, manifest: &Value, field: &str| {
        let mut world = World::new(framework, manifest);
        for plan in world.settle(framework) {
            assert!(plan.writes.is_empty(), "{field}: {:?}", plan.writes);
        }
        let stored = world.status();
        assert!(
            conditions::is_true(&stored, ConditionType::Failed),
            "{field}: {stored:?}"
        );
        let said = serde_json::to_string(&stored).unwrap();
        assert!(said.contains(field), "{field} is not named: {said}");
    };
    for_every_kind(|framework| {
        let paths = ["../x", "a/b", "..", "x%2Fy", "x?watch=1", "x#y", "", "A", "x.y"];
        for name in PAYLOADS.into_iter().chain(paths) {
            let mut manifest = whole(framework, 2);
            manifest["metadata"]["name"] = json!(name);
            refused(framework, &manifest, "metadata.name");
        }
        if framework.kind().framework != "mpi" {
            return;
        }
        for payload in PAYLOADS {
            let mut manifest = whole(framework, 2);
            manifest["spec"]["slotsPerWorker"] = json!(payload);
            refused(framework, &manifest, "slotsPerWorker");
            if execs(framework) {
                let mut manifest = whole(framework, 2);
                manifest["spec"]["mainContainer"] = json!(payload);
                refused(framework, &manifest, "spec.mainContainer");
            }
        }
    });
}

/// Roles cannot be called what one likes: they are part of names.
#[test]
fn replicas_of_unknown_roles_make_nothing() {
    for_every_kind(|framework| {
        for payload in PAYLOADS.into_iter().chain(["../x", "worker/0", "Worker\n"]) {
            let mut manifest = whole(framework, 2);
            let roles = manifest["spec"][framework.kind().replicas_field]
                .as_object_mut()
                .unwrap();
            let (_, worker) = roles.iter().next().map(|(k, v)| (k.clone(), v.clone())).unwrap();
            roles.insert(payload.to_owned(), worker);
            let mut world = World::new(framework, &manifest);
            let writes: usize = world.settle(framework).iter().map(|plan| plan.writes.len()).sum();
            assert_eq!(writes, 0, "{payload:?}");
            assert!(
                conditions::is_true(&world.status(), ConditionType::Failed),
                "{payload:?}"
            );
        }
    });
}

/// A pod's rights are those of its template. The one exception: the launcher of a v1 MPIJob that names no account.
#[test]
fn pods_get_no_rights_that_they_did_not_ask_for() {
    let asked = [
        json!({}),
        json!({"automountServiceAccountToken": false}),
        json!({"automountServiceAccountToken": true, "serviceAccountName": "mine"}),
        json!({"automountServiceAccountToken": false, "serviceAccountName": "mine"}),
    ];
    for_every_kind(|framework| {
        for rights in &asked {
            let mut manifest = whole(framework, 2);
            for template in templates(framework, &mut manifest) {
                let spec = template["spec"].as_object_mut().unwrap();
                spec.extend(rights.as_object().unwrap().clone());
            }
            let objects = made(framework, &manifest);
            let own_account = rights.get("serviceAccountName").is_none();
            for ((what, name), object) in &objects {
                let Some((_, spec)) = pods_of(what, object) else {
                    continue;
                };
                let mut wanted = rights.clone();
                if execs(framework) && own_account && name == "j-launcher" {
                    wanted["serviceAccountName"] = json!("j-launcher");
                }
                for field in [
                    "automountServiceAccountToken",
                    "serviceAccountName",
                    "serviceAccount",
                    "hostNetwork",
                    "hostPID",
                    "hostIPC",
                    "hostUsers",
                    "securityContext",
                    "imagePullSecrets",
                    "nodeName",
                    "runtimeClassName",
                ] {
                    let wanted = wanted.get(field).unwrap_or(&Value::Null);
                    assert_eq!(&spec[field], wanted, "{name}: {field}");
                }
                volumes(framework, name, spec);
            }
            let accounts = objects
                .keys()
                .filter(|(what, _)| what == "ServiceAccount")
                .count();
            assert_eq!(accounts, usize::from(execs(framework) && own_account));
        }
    });
}

/// What the operator mounts is the job's own.
fn volumes(framework: &dyn Framework, name: &str, spec: &Value) {
    for volume in spec["volumes"].as_array().into_iter().flatten() {
        let volume = volume.as_object().unwrap();
        let sources: Vec<&str> = volume
            .keys()
            .map(String::as_str)
            .filter(|key| *key != "name")
            .collect();
        match sources.as_slice() {
            ["configMap"] => assert_eq!(volume["configMap"]["name"], "j-config", "{name}"),
            ["secret"] => assert_eq!(volume["secret"]["secretName"], "j-ssh", "{name}"),
            ["emptyDir"] => {}
            other => panic!("{name} mounts {other:?}"),
        }
        assert_eq!(framework.kind().framework, "mpi", "{name}: {volume:?}");
    }
}

/// The Role of a launcher is about its own workers, by name, and there is none for any other pod.
#[test]
fn the_role_of_a_launcher_names_its_own_workers_only() {
    for_every_kind(|framework| {
        let objects = made(framework, &whole(framework, 3));
        let of = |kind: &str| {
            objects
                .iter()
                .filter(|((what, _), _)| what == kind)
                .collect::<Vec<_>>()
        };
        if !execs(framework) {
            assert!(of("Role").is_empty() && of("RoleBinding").is_empty() && of("ServiceAccount").is_empty());
            return;
        }
        let [(_, role)] = of("Role")[..] else {
            panic!("one role")
        };
        let workers: BTreeSet<&str> = ["j-worker-0", "j-worker-1", "j-worker-2"].into();
        for rule in role["rules"].as_array().unwrap() {
            let names = rule["resourceNames"]
                .as_array()
                .unwrap()
                .iter()
                .map(|n| n.as_str().unwrap());
            assert_eq!(names.collect::<BTreeSet<_>>(), workers);
            assert_eq!(rule["apiGroups"], json!([""]));
            let of_rule = (rule["resources"].to_string(), rule["verbs"].to_string());
            let allowed = [
                (r#"["pods"]"#, r#"["get"]"#),
                (r#"["pods/exec"]"#, r#"["create","get"]"#),
            ];
            assert!(allowed.contains(&(&*of_rule.0, &*of_rule.1)), "{rule}");
        }
        let [(_, binding)] = of("RoleBinding")[..] else {
            panic!("one binding")
        };
        assert_eq!(binding["roleRef"]["kind"], "Role");
        assert_eq!(binding["roleRef"]["name"], "j-launcher");
        let subjects = json!([{"kind": "ServiceAccount", "name": "j-launcher", "namespace": "ns1"}]);
        assert_eq!(binding["subjects"], subjects);
    });
}
