//! Raw spec to [`ResolvedJob`]: typed, defaults applied, checked; or [`Problems`] with field paths.
//!
//! All defaults are in this module. They are never written back to the object.

use crate::job::{ResolvedJob, ResolvedPolicy, ResolvedRole};
use crate::problems::{Problems, read};

use k8s_openapi::api::core::v1::{ContainerPort, PodTemplateSpec};
use serde::Deserialize;

use crate::api::{JobCondition, JobStatus, ReplicaSpec, RunPolicy, SuccessPolicy};
use crate::framework::Framework;
use crate::kind::{KindInfo, RoleInfo};
use crate::names::{self, ReplicaIndex, Role};
use crate::observe::RawJob;
use crate::replicas::Replicas;

/// Maximum number of replicas of a role, as in the schema. It is checked here too because jobs may be older than the
/// schema.
const MAX_REPLICAS: u32 = 100_000;

/// True if the job is this operator's, according to `spec.runPolicy.managedBy`.
#[must_use]
pub fn is_ours(info: &KindInfo, job: &RawJob) -> bool {
    match job.spec.pointer("/runPolicy/managedBy") {
        None | Some(serde_json::Value::Null) => true,
        Some(manager) => manager.as_str().is_some_and(|m| info.managers.contains(&m)),
    }
}

/// Dialect of the job: the stored one, else the one whose stamp the job has. Later changes of the stamp have no effect:
/// a full update by a client of another API version drops the field, and the default then changes it.
#[must_use]
pub fn dialect<'a>(framework: &'a dyn Framework, job: &RawJob, stored: &JobStatus) -> &'a dyn Framework {
    let dialects = || framework.dialects().iter().copied();
    let remembered = stored.dialect.as_deref();
    let stamped = |d: &&dyn Framework| {
        let stamp = d.kind().stamp;
        stamp.is_some_and(|s| job.spec.get(s.field).and_then(|v| v.as_str()) == Some(s.value))
    };
    dialects()
        .find(|d| Some(d.kind().version) == remembered)
        .or_else(|| dialects().find(stamped))
        .unwrap_or(framework)
}

/// Stored status. Only this operator writes it, through the schema, but an older or newer version may have written
/// something that this version cannot read. Only the unreadable part is dropped, so that a finished job never runs
/// again.
#[must_use]
pub fn stored_status(job: &RawJob) -> JobStatus {
    readable_status(&job.status)
}

/// Readable part of a status.
#[must_use]
pub fn readable_status(status: &serde_json::Value) -> JobStatus {
    if let Ok(whole) = JobStatus::deserialize(status) {
        return whole;
    }
    let mut readable = serde_json::Map::new();
    for (key, value) in status.as_object().into_iter().flatten() {
        let mut value = value.clone();
        if let (true, Some(entries)) = (key == "conditions", value.as_array_mut()) {
            entries.retain(|entry| JobCondition::deserialize(entry).is_ok());
        }
        let alone = serde_json::json!({ key.as_str(): value });
        if JobStatus::deserialize(&alone).is_ok() {
            readable.insert(key.clone(), value);
        }
    }
    JobStatus::deserialize(serde_json::Value::Object(readable)).unwrap_or_default()
}

/// Types, applies defaults to and checks a job.
///
/// # Errors
/// All problems found, each with the path of its field.
pub fn resolve(framework: &dyn Framework, raw: &RawJob) -> Result<ResolvedJob, Problems> {
    let (job, problems) = outline(framework, raw);
    if problems.0.is_empty() {
        Ok(job)
    } else {
        Err(problems)
    }
}

/// Readable part of a job, and all its problems.
#[must_use]
pub fn outline(framework: &dyn Framework, raw: &RawJob) -> (ResolvedJob, Problems) {
    let info = framework.kind();
    let mut problems = Problems::default();
    let policy = run_policy(info, raw, &mut problems);
    let success = success_policy(info, raw, &mut problems);
    let roles = roles(info, raw, &mut problems);
    check_names(info, raw, &roles, &mut problems);
    let of_role = |r: &ResolvedRole| Some((info.of_role(r.role)?, r.count));
    let replicas = Replicas::new(&raw.key.name, roles.iter().filter_map(of_role));
    let job = ResolvedJob {
        key: raw.key.clone(),
        uid: raw.uid.clone(),
        info,
        policy,
        success,
        roles,
        replicas,
        fields: framework_fields(info, raw),
        stored: stored_status(raw),
    };
    if problems.0.is_empty() {
        framework.check(&job, &mut problems);
    }
    (job, problems)
}

fn success_policy(info: &KindInfo, raw: &RawJob, problems: &mut Problems) -> SuccessPolicy {
    let path = "spec.successPolicy";
    let stated = raw.spec.get("successPolicy").filter(|value| !value.is_null());
    let Some(policy) = stated.and_then(|value| read::<SuccessPolicy>(value, path, problems)) else {
        return SuccessPolicy::default();
    };
    if !info.success_policies.contains(&policy) {
        let known = info
            .success_policies
            .iter()
            .map(|p| format!("\"{}\"", p.as_str()));
        let known: Vec<String> = known.collect();
        problems.add(
            path,
            format!("must be one of {} in a {}", known.join(", "), info.kind),
        );
    }
    policy
}

fn framework_fields(info: &KindInfo, raw: &RawJob) -> serde_json::Value {
    let common = ["runPolicy", "successPolicy", info.replicas_field];
    let fields = raw.spec.as_object().into_iter().flatten();
    fields
        .filter(|(key, _)| !common.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

pub(crate) fn run_policy(info: &KindInfo, raw: &RawJob, problems: &mut Problems) -> ResolvedPolicy {
    let stated = match raw.spec.get("runPolicy") {
        None | Some(serde_json::Value::Null) => RunPolicy::default(),
        Some(value) => read(value, "spec.runPolicy", problems).unwrap_or_default(),
    };
    let legacy = raw
        .spec
        .get("cleanPodPolicy")
        .filter(|_| info.legacy_clean_pod_policy);
    let legacy = legacy.filter(|value| !value.is_null());
    let legacy = legacy.and_then(|value| read(value, "spec.cleanPodPolicy", problems));
    let RunPolicy {
        clean_pod_policy,
        ttl_seconds_after_finished,
        active_deadline_seconds,
        backoff_limit,
        scheduling_policy,
        suspend,
        restart_scope,
        managed_by: _, // checked by is_ours()
    } = stated;
    ResolvedPolicy {
        clean_pod_policy: clean_pod_policy.or(legacy).unwrap_or_default(),
        ttl: ttl_seconds_after_finished.map(i64::from),
        active_deadline: active_deadline_seconds,
        backoff_limit: backoff_limit.map(|limit| u32::try_from(limit).unwrap_or(0)),
        suspend: suspend.unwrap_or(false),
        scheduling: scheduling_policy.unwrap_or_default(),
        restart_scope: restart_scope.unwrap_or_default(),
    }
}

fn roles(info: &'static KindInfo, raw: &RawJob, problems: &mut Problems) -> Vec<ResolvedRole> {
    let map = format!("spec.{}", info.replicas_field);
    let stated = raw.spec.get(info.replicas_field).and_then(|v| v.as_object());
    let Some(stated) = stated.filter(|m| !m.is_empty()) else {
        problems.add(map, "must be specified, with at least one replica type");
        return Vec::new();
    };
    let mut found = Vec::new();
    for (key, value) in stated {
        let path = format!("{map}[{key}]");
        let Some(role) = info.roles.iter().find(|r| r.role.0.eq_ignore_ascii_case(key)) else {
            let known: Vec<_> = info.roles.iter().map(|r| format!("\"{}\"", r.role)).collect();
            problems.add(
                path,
                format!("unknown replica type, supported are {}", known.join(", ")),
            );
            continue;
        };
        if found.iter().any(|other: &ResolvedRole| other.role == role.role) {
            problems.add(path, format!("is {} a second time", role.role));
            continue;
        }
        let spec = read::<ReplicaSpec>(value, &path, problems);
        found.extend(spec.and_then(|spec| resolved_role(info, role, spec, &path, problems)));
    }
    let stated = |role: Role| stated.keys().any(|key| role.0.eq_ignore_ascii_case(key));
    for role in info
        .roles
        .iter()
        .filter(|r| r.min_replicas > 0 && !stated(r.role))
    {
        problems.add(format!("{map}[{}]", role.role), "must be specified");
    }
    let rank = |role: Role| info.roles.iter().position(|r| r.role == role);
    found.sort_by_key(|r: &ResolvedRole| rank(r.role));
    found
}

fn resolved_role(
    info: &KindInfo,
    role: &RoleInfo,
    spec: ReplicaSpec,
    path: &str,
    problems: &mut Problems,
) -> Option<ResolvedRole> {
    let count = spec.replicas.unwrap_or(1);
    let Ok(count) = u32::try_from(count) else {
        problems.add(format!("{path}.replicas"), "must not be negative");
        return None;
    };
    if count > MAX_REPLICAS {
        problems.add(
            format!("{path}.replicas"),
            format!("must be no more than {MAX_REPLICAS}"),
        );
        return None;
    }
    let most = role.max_replicas.filter(|max| count > *max);
    let fewest = Some(role.min_replicas).filter(|min| count < *min);
    if let Some(right) = most.or(fewest) {
        problems.add(format!("{path}.replicas"), format!("must be {right}"));
    }
    let mut template = spec.template.unwrap_or_default();
    if count > 0 {
        check_template(info, &template, path, problems);
    }
    add_default_port(info, &mut template);
    let first = || template.spec.as_ref()?.containers.first().map(|c| c.name.clone());
    let container = info
        .container
        .map(str::to_owned)
        .or_else(first)
        .unwrap_or_default();
    let restart_policy = spec.restart_policy.unwrap_or(role.default_restart_policy);
    Some(ResolvedRole {
        role: role.role,
        count,
        template,
        container,
        restart_policy,
    })
}

fn check_template(info: &KindInfo, template: &PodTemplateSpec, path: &str, problems: &mut Problems) {
    let path = format!("{path}.template.spec.containers");
    let containers = template
        .spec
        .as_ref()
        .map(|s| s.containers.as_slice())
        .unwrap_or_default();
    if containers.is_empty() {
        let named = info
            .container
            .map_or(String::new(), |name| format!(", with one container named {name}"));
        problems.add(path, format!("must be specified{named}"));
        return;
    }
    for (i, container) in containers.iter().enumerate() {
        if container.image.as_deref().is_none_or(str::is_empty) {
            problems.add(format!("{path}[{i}].image"), "must be specified");
        }
    }
    if let Some(name) = info
        .container
        .filter(|name| !containers.iter().any(|c| c.name == *name))
    {
        problems.add(path, format!("must have at least one container with name {name}"));
    }
}

/// Adds the kind's port to the training container, so that it always names the port that the other pods use.
fn add_default_port(info: &KindInfo, template: &mut PodTemplateSpec) {
    let Some(port) = info.port else { return };
    let containers = template.spec.iter_mut().flat_map(|s| s.containers.iter_mut());
    for container in containers.filter(|c| Some(&*c.name) == info.container) {
        let ports = container.ports.get_or_insert_default();
        if !ports.iter().any(|p| p.name.as_deref() == Some(port.name)) {
            ports.push(ContainerPort {
                name: Some(port.name.to_owned()),
                container_port: port.number,
                ..ContainerPort::default()
            });
        }
    }
}

fn check_names(info: &KindInfo, raw: &RawJob, roles: &[ResolvedRole], problems: &mut Problems) {
    let name = &*raw.key.name;
    if let Some(problem) = names::job_name_problem(name) {
        problems.add("metadata.name", problem);
        return;
    }
    let last = roles
        .iter()
        .filter_map(|r| Some((info.of_role(r.role)?, ReplicaIndex(r.count.checked_sub(1)?))));
    let longest = last
        .map(|(role, index)| role.replica_name(name, index))
        .max_by_key(String::len);
    if let Some(child) = longest.filter(|child| child.len() > names::MAX_LABEL) {
        let room = names::MAX_LABEL.saturating_sub(child.len().saturating_sub(name.len()));
        problems.add(
            "metadata.name",
            format!(
                "is {} characters long, but with these replicas a {} may have at most {room}: the name of its pod and \
                 Service {child} would exceed {} characters",
                name.len(),
                info.kind,
                names::MAX_LABEL
            ),
        );
    }
}
