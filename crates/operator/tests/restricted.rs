//! How little the operator asks for: its pod, and its roles. Read from `deploy/`, which is what the program says
//! (`generated.rs`).

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

fn objects(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../deploy")
        .join(file);
    serde_saphyr::from_multiple(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn of_kind<'a>(objects: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| object["kind"] == kind)
}

/// Every control of the Pod Security Standard `restricted`, in the order of its table.
#[test]
fn the_pod_of_the_operator_keeps_each_rule_of_the_restricted_standard() {
    let install = objects("install.yaml");
    let namespace = of_kind(&install, "Namespace").next().unwrap();
    assert_eq!(
        namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"],
        "restricted"
    );
    let deployment = of_kind(&install, "Deployment").next().unwrap();
    assert_eq!(of_kind(&install, "Deployment").count(), 1);
    let pod = &deployment["spec"]["template"]["spec"];
    // Baseline.
    for field in ["hostNetwork", "hostPID", "hostIPC", "hostUsers"] {
        assert!(pod.get(field).is_none(), "{field}");
    }
    for field in [
        "windowsOptions",
        "seLinuxOptions",
        "sysctls",
        "appArmorProfile",
        "procMount",
    ] {
        assert!(pod["securityContext"].get(field).is_none(), "{field}");
    }
    // Restricted.
    let allowed = [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ];
    for volume in pod["volumes"].as_array().into_iter().flatten() {
        let kinds = volume.as_object().unwrap().keys().filter(|key| *key != "name");
        assert!(
            kinds.map(String::as_str).all(|kind| allowed.contains(&kind)),
            "{volume}"
        );
    }
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_ne!(pod["securityContext"]["runAsUser"], 0);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert!(pod.get("initContainers").is_none() && pod.get("ephemeralContainers").is_none());
    let containers = pod["containers"].as_array().unwrap();
    assert!(!containers.is_empty());
    for container in containers {
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}));
        for field in [
            "privileged",
            "procMount",
            "seccompProfile",
            "runAsUser",
            "runAsNonRoot",
            "seLinuxOptions",
        ] {
            assert!(context.get(field).is_none(), "{field}");
        }
        for port in container["ports"].as_array().into_iter().flatten() {
            assert!(port.get("hostPort").is_none(), "{port}");
        }
        for probe in ["livenessProbe", "readinessProbe"] {
            assert!(container[probe]["httpGet"].get("host").is_none(), "{probe}");
        }
        // Beyond the standard.
        assert_eq!(context["readOnlyRootFilesystem"], true);
    }
}

#[test]
fn an_operator_of_one_namespace_needs_nothing_of_the_cluster() {
    let found = objects("namespaced.yaml");
    let kinds: BTreeSet<&str> = found
        .iter()
        .map(|object| object["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["Role", "RoleBinding", "ServiceAccount"].into());
    for object in &found {
        assert_eq!(object["metadata"]["namespace"], "default", "{object}");
    }
    let role = of_kind(&found, "Role").next().unwrap().to_string();
    assert!(!role.contains("nodes") && !role.contains("priorityclasses") && !role.contains("namespaces"));
}

/// Rights that would be as good as any other.
#[test]
fn no_role_of_the_operator_is_a_way_to_more() {
    for file in ["rbac.yaml", "namespaced.yaml"] {
        let found = objects(file);
        let bound: Vec<&str> = found
            .iter()
            .filter(|object| object["subjects"][0]["name"] == "trainyard-operator")
            .map(|binding| binding["roleRef"]["name"].as_str().unwrap())
            .collect();
        let roles = found.iter().filter(|object| {
            object.get("rules").is_some() && bound.contains(&object["metadata"]["name"].as_str().unwrap())
        });
        for rule in roles.flat_map(|role| role["rules"].as_array().unwrap()) {
            let list = |field: &str| -> Vec<&str> {
                rule[field]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|item| item.as_str().unwrap())
                    .collect()
            };
            let (resources, verbs) = (list("resources"), list("verbs"));
            for word in [list("apiGroups"), resources.clone(), verbs.clone()].concat() {
                assert!(!word.contains('*'), "{file}: {rule}");
            }
            for verb in ["escalate", "bind", "impersonate", "deletecollection"] {
                assert!(!verbs.contains(&verb), "{file}: {rule}");
            }
            if resources.contains(&"secrets") {
                assert_eq!(
                    verbs,
                    ["create", "get"],
                    "{file}: Secrets are made, and known by name"
                );
            }
            assert!(rule.get("nonResourceURLs").is_none(), "{file}: {rule}");
        }
    }
}
