//! Permissions that the operator has, compared with those that it used: nothing is missing, and nothing is there in vain.
//!
//! Which requests count: those of the account of deploy/install.yaml, whichever pod used it, from the log that the API server
//! of the local cluster writes of them. Operators that tests start themselves (the bursts, that of one namespace) run on API
//! servers of their own and are not in it; what is refused to the one of one namespace its own test looks at. Nor are the
//! requests of tests, though they be in the operator's name: the log is about who asks, not about whom he asks as.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use cluster::audit::OPERATOR;
use serde_json::Value;

/// A verb on a resource, everywhere or in one namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    group: String,
    resource: String,
    verb: String,
    namespace: Option<String>,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = if self.group.is_empty() {
            "core"
        } else {
            &self.group
        };
        write!(f, "{} {} ({group})", self.verb, self.resource)?;
        if let Some(namespace) = &self.namespace {
            write!(f, " in {namespace}")?;
        }
        Ok(())
    }
}

/// Rights that a run of the suite need not use: group, resource (`*` at the beginning stands for any kind), verbs, reason.
const IN_RESERVE: &[(&str, &str, &[&str], &str)] = &[
    (
        "kubeflow.org",
        "*/finalizers",
        &["update"],
        "never called: the admission plugin OwnerReferencesPermissionEnforcement asks for it where it is on",
    ),
    (
        "",
        "pods/exec",
        &["create", "get"],
        "never called: given on to launchers of v1 MPIJobs, and nobody may give what he does not have",
    ),
    (
        "kubeflow.org",
        "*",
        &["get"],
        "only when a write of ours to a job's status does not show up in the watch for five seconds",
    ),
    (
        "rbac.authorization.k8s.io",
        "rolebindings",
        &["update"],
        "only when somebody has changed the binding of a launcher of ours",
    ),
];

fn in_reserve(right: &Right) -> bool {
    IN_RESERVE.iter().any(|(group, resource, verbs, _)| {
        let fits = match resource.strip_prefix('*') {
            Some("") => !right.resource.contains('/'),
            Some(part) => right.resource.ends_with(part),
            None => right.resource == *resource,
        };
        right.group == *group && fits && verbs.contains(&right.verb.as_str())
    })
}

/// What is wrong with the permissions.
#[derive(Debug, Default, PartialEq, Eq)]
struct Findings {
    /// Asked for, and granted by none of the operator's roles.
    missing: BTreeSet<String>,
    /// Granted, and not asked for.
    unused: BTreeSet<String>,
    /// Requests that were looked at.
    requests: usize,
}

/// Compares. `granted` must all be used; `optional` may be, in another mode of the operator. A refused request that one of
/// them allows is a moment in which a test had given the operator another mode's roles.
fn compare(
    granted: &BTreeSet<Right>,
    optional: &BTreeSet<Right>,
    account: &str,
    log: &str,
) -> Result<Findings> {
    let mut findings = Findings::default();
    let mut used = BTreeSet::new();
    // The operator goes on while this is read: a last line may not be whole yet.
    let whole = |line: &&str| line.ends_with('\n');
    for line in log.split_inclusive('\n').filter(whole) {
        let entry: Value = serde_json::from_str(line).with_context(|| format!("audit log: {line}"))?;
        let Some(request) = Request::of(&entry, account) else {
            continue;
        };
        findings.requests += 1;
        let allows = |right: &&Right| request.is_allowed_by(right);
        match granted.iter().find(allows) {
            Some(right) if request.allowed => drop(used.insert(right.clone())),
            Some(_) => {}
            None if optional.iter().any(|right| allows(&right)) => {}
            // Not ours to grant: what Kubernetes allows to every account, such as asking which APIs there are.
            None if request.right.is_none() && request.allowed => {}
            None => drop(findings.missing.insert(request.to_string())),
        }
    }
    let unused = granted.difference(&used).filter(|right| !in_reserve(right));
    findings.unused = unused.map(ToString::to_string).collect();
    Ok(findings)
}

/// A request of the log.
struct Request {
    /// What it needs; none if it is about no resource.
    right: Option<Right>,
    path: String,
    allowed: bool,
}

impl Request {
    fn of(entry: &Value, account: &str) -> Option<Self> {
        let text = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        if text("/user/username") != account {
            return None;
        }
        let resource = match (text("/objectRef/resource"), text("/objectRef/subresource")) {
            ("", _) => None,
            (resource, "") => Some(resource.to_owned()),
            (resource, part) => Some(format!("{resource}/{part}")),
        };
        let namespace = Some(text("/objectRef/namespace").to_owned()).filter(|name| !name.is_empty());
        let decision = entry.pointer("/annotations/authorization.k8s.io~1decision");
        Some(Self {
            right: resource.map(|resource| Right {
                group: text("/objectRef/apiGroup").to_owned(),
                resource,
                verb: text("/verb").to_owned(),
                namespace,
            }),
            path: text("/requestURI").to_owned(),
            // Not by the code: admission answers 403 too, as for a namespace that is being deleted.
            allowed: decision.and_then(Value::as_str) != Some("forbid"),
        })
    }

    fn is_allowed_by(&self, granted: &Right) -> bool {
        self.right.as_ref().is_some_and(|asked| {
            asked.group == granted.group
                && asked.resource == granted.resource
                && asked.verb == granted.verb
                && (granted.namespace.is_none() || granted.namespace == asked.namespace)
        })
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.allowed {
            "allowed by a role of others"
        } else {
            "refused"
        };
        match &self.right {
            Some(right) => write!(
                f,
                "{right}: {verdict}, {}",
                self.path.split('?').next().unwrap_or_default()
            ),
            None => write!(f, "{verdict}, {}", self.path),
        }
    }
}

/// The rights that manifests bind to the operator's service account.
fn rights(manifests: &str) -> Result<BTreeSet<Right>> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(manifests).context("the operator's roles")?;
    let text =
        |object: &Value, pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let mut rights = BTreeSet::new();
    let bindings = objects.iter().filter(|object| {
        text(object, "/kind").is_some_and(|kind| kind.ends_with("RoleBinding"))
            && text(object, "/subjects/0/name").as_deref() == Some("trainyard-operator")
    });
    for binding in bindings {
        let namespace = text(binding, "/metadata/namespace");
        let role = objects.iter().find(|object| {
            text(object, "/kind") == text(binding, "/roleRef/kind")
                && text(object, "/metadata/name") == text(binding, "/roleRef/name")
                && text(object, "/metadata/namespace") == namespace
        });
        let role = role.context("a binding to a role that is not there")?;
        let rules = role
            .get("rules")
            .and_then(Value::as_array)
            .context("a role without rules")?;
        for rule in rules {
            add(rule, namespace.as_ref(), &mut rights);
        }
    }
    ensure!(!rights.is_empty(), "no role is bound to the operator");
    Ok(rights)
}

fn add(rule: &Value, namespace: Option<&String>, rights: &mut BTreeSet<Right>) {
    let list = |field: &str| -> Vec<String> {
        let items = rule.get(field).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    for group in list("apiGroups") {
        for resource in list("resources") {
            rights.extend(list("verbs").into_iter().map(|verb| Right {
                group: group.clone(),
                resource: resource.clone(),
                verb,
                namespace: namespace.cloned(),
            }));
        }
    }
}

/// What the operator prints of its rights.
fn printed(operator: &Path, args: &[&str]) -> Result<BTreeSet<Right>> {
    let output = Command::new(operator)
        .arg("rbac")
        .args(args)
        .output()
        .with_context(|| operator.display().to_string())?;
    ensure!(output.status.success(), "the operator does not print its roles");
    rights(&String::from_utf8_lossy(&output.stdout))
}

/// The stage. After some of the tests nothing can be said of what is unused.
#[expect(clippy::print_stdout, reason = "the figures are what the user asked for")]
pub(crate) fn check(operator: &Path, log: &Path, all_tests: bool) -> Result<()> {
    let text = std::fs::read_to_string(log).with_context(|| log.display().to_string())?;
    let granted = printed(operator, &[])?;
    let mut optional = printed(operator, &["--gang-scheduler=volcano"])?;
    // Any scheduler that reads the PodGroups of the scheduler-plugins.
    optional.extend(printed(operator, &["--gang-scheduler=another"])?);
    let whole = compare(&granted, &optional, OPERATOR, &text)?;
    ensure!(
        whole.requests > 0,
        "{} has no request of {OPERATOR}",
        log.display()
    );
    println!(
        "{} requests of the operator; {} permissions, {} of them in reserve",
        whole.requests,
        granted.len(),
        granted.iter().filter(|right| in_reserve(right)).count()
    );
    let mut wrong: Vec<String> = Vec::new();
    wrong.extend(whole.missing.iter().map(|what| format!("missing: {what}")));
    if all_tests {
        wrong.extend(whole.unused.iter().map(|what| format!("never used: {what}")));
    }
    if !wrong.is_empty() {
        bail!("permissions are not those that were used:\n{}", wrong.join("\n"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLES: &str = r#"
kind: ClusterRole
metadata: {name: r}
rules:
- {apiGroups: [""], resources: [pods], verbs: [create, list]}
- {apiGroups: [kubeflow.org], resources: [tfjobs/finalizers], verbs: [update]}
---
kind: ClusterRoleBinding
metadata: {name: r}
roleRef: {kind: ClusterRole, name: r}
subjects: [{kind: ServiceAccount, name: trainyard-operator}]
---
kind: Role
metadata: {name: own, namespace: system}
rules:
- {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get]}
---
kind: RoleBinding
metadata: {name: own, namespace: system}
roleRef: {kind: Role, name: own}
subjects: [{kind: ServiceAccount, name: trainyard-operator}]
---
kind: ClusterRole
metadata: {name: for-people}
rules:
- {apiGroups: [kubeflow.org], resources: [tfjobs], verbs: [create]}
"#;

    /// A line of the log: who, verb, object and decision.
    fn line(who: &str, verb: &str, object: &str, decision: &str) -> String {
        format!(
            r#"{{"user":{{"username":"{who}"}},"verb":"{verb}","requestURI":"/u?limit=1","objectRef":{object},"annotations":{{"authorization.k8s.io/decision":"{decision}"}}}}"#
        )
    }

    fn pods(verb: &str, decision: &str) -> String {
        line("me", verb, r#"{"resource":"pods","namespace":"a"}"#, decision)
    }

    fn leases(namespace: &str, decision: &str) -> String {
        let object =
            format!(r#"{{"resource":"leases","apiGroup":"coordination.k8s.io","namespace":"{namespace}"}}"#);
        line("me", "get", &object, decision)
    }

    fn compared(optional: &str, lines: &[String]) -> Findings {
        let optional = if optional.is_empty() {
            BTreeSet::new()
        } else {
            rights(optional).unwrap()
        };
        compare(
            &rights(ROLES).unwrap(),
            &optional,
            "me",
            &format!("{}\n", lines.join("\n")),
        )
        .unwrap()
    }

    fn set(items: &[&str]) -> BTreeSet<String> {
        items.iter().map(|item| (*item).to_owned()).collect()
    }

    #[test]
    fn what_was_used_is_what_is_granted() {
        let lines = [
            pods("create", "allow"),
            pods("list", "allow"),
            leases("system", "allow"),
        ];
        let findings = compared("", &lines);
        assert_eq!(
            (findings.missing, findings.unused, findings.requests),
            (set(&[]), set(&[]), 3)
        );
    }

    #[test]
    fn a_permission_that_was_never_used_is_named_unless_it_is_in_reserve() {
        let findings = compared("", &[pods("create", "allow"), leases("system", "allow")]);
        assert_eq!(
            (findings.missing, findings.unused),
            (set(&[]), set(&["list pods (core)"]))
        );
    }

    #[test]
    fn a_refused_request_is_named_whatever_the_namespace_of_the_grant() {
        let lines = [
            pods("create", "allow"),
            pods("list", "allow"),
            pods("delete", "forbid"),
            leases("system", "allow"),
            leases("other", "forbid"),
        ];
        let missing = set(&[
            "delete pods (core) in a: refused, /u",
            "get leases (coordination.k8s.io) in other: refused, /u",
        ]);
        assert_eq!(compared("", &lines).missing, missing);
    }

    #[test]
    fn a_request_that_roles_of_others_allow_is_named_too() {
        let findings = compared("", &[pods("patch", "allow")]);
        assert_eq!(
            findings.missing,
            set(&["patch pods (core) in a: allowed by a role of others, /u"])
        );
    }

    #[test]
    fn a_subresource_is_a_resource_of_its_own() {
        let object = r#"{"resource":"pods","namespace":"a","subresource":"exec"}"#;
        let findings = compared("", &[line("me", "create", object, "forbid")]);
        assert_eq!(
            findings.missing,
            set(&["create pods/exec (core) in a: refused, /u"])
        );
    }

    #[test]
    fn other_modes_other_accounts_and_discovery_are_let_alone() {
        let mode = ROLES.replace("create, list", "create, list, watch");
        let lines = [
            pods("watch", "allow"),
            line("somebody", "delete", r#"{"resource":"pods"}"#, "forbid"),
            line("me", "get", "null", "allow"),
        ];
        let findings = compared(&mode, &lines);
        assert_eq!((findings.missing, findings.requests), (set(&[]), 2));
    }

    /// As Kubernetes 1.37 writes them, but for what is left out of them here: a refusal, a question of which APIs there are,
    /// and a patch of a status; the last one is being written.
    #[test]
    fn lines_of_a_real_log_are_understood() {
        let log = r#"
{"kind":"Event","stage":"ResponseComplete","requestURI":"/api/v1/nodes?limit=500","verb":"list","user":{"username":"me"},"objectRef":{"resource":"nodes","apiVersion":"v1"},"responseStatus":{"status":"Failure","reason":"Forbidden","code":403},"annotations":{"authorization.k8s.io/decision":"forbid","authorization.k8s.io/reason":""}}
{"kind":"Event","stage":"ResponseComplete","requestURI":"/apis/scheduling.k8s.io/v1beta1","verb":"get","user":{"username":"me"},"responseStatus":{"code":200},"annotations":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"RBAC: allowed by ..."}}
{"kind":"Event","stage":"ResponseComplete","requestURI":"/apis/kubeflow.org/v1/namespaces/team/tfjobs/t/status","verb":"patch","user":{"username":"me"},"objectRef":{"resource":"tfjobs","namespace":"team","name":"t","apiGroup":"kubeflow.org","apiVersion":"v1","subresource":"status"},"responseStatus":{"code":200},"annotations":{"authorization.k8s.io/decision":"allow"}}
{"kind":"Event","stage":"Resp"#;
        let roles = ROLES
            .replace("tfjobs/finalizers", "tfjobs/status")
            .replace("[update]", "[patch]");
        let findings = compare(&rights(&roles).unwrap(), &BTreeSet::new(), "me", log.trim_start()).unwrap();
        assert_eq!(findings.requests, 3);
        assert_eq!(
            findings.missing,
            set(&["list nodes (core): refused, /api/v1/nodes"])
        );
        assert!(
            !findings.unused.iter().any(|right| right.contains("status")),
            "{:?}",
            findings.unused
        );
    }

    #[test]
    fn what_is_generated_can_be_read() {
        for (file, namespace) in [
            ("rbac", None),
            ("install", None),
            ("namespaced", Some("default".to_owned())),
        ] {
            let path = crate::stage::root().join(format!("deploy/{file}.yaml"));
            let rights = rights(&std::fs::read_to_string(path).unwrap()).unwrap();
            let create = |resource: &str| Right {
                group: String::new(),
                resource: resource.to_owned(),
                verb: "create".to_owned(),
                namespace: namespace.clone(),
            };
            assert!(
                rights.contains(&create("pods")) && !rights.contains(&create("nodes")),
                "{file}"
            );
        }
    }

    #[test]
    fn each_exception_is_one() {
        let text = std::fs::read_to_string(crate::stage::root().join("deploy/rbac.yaml")).unwrap();
        let granted = rights(&text).unwrap();
        for exception in IN_RESERVE {
            let (group, resource, verbs, _) = exception;
            let end = resource.trim_start_matches('*');
            let found = granted.iter().any(|right| {
                right.group == *group && right.resource.ends_with(end) && verbs.contains(&right.verb.as_str())
            });
            assert!(found, "{exception:?} is about nothing that is granted");
        }
    }
}
