//! Manifests and names for tests of any kind.

use serde_json::{Value, json};

use super::World;
use crate::framework::Framework;
use crate::kind::ExtraKind;
use crate::names;
use crate::resolve;

/// Manifest of a job of any kind; `replicas` has roles and counts.
#[must_use]
pub fn manifest(framework: &dyn Framework, name: &str, replicas: &[(&str, u32)]) -> Value {
    let info = framework.kind();
    let container = json!({"name": info.container.unwrap_or("main"), "image": "img:1"});
    let specs: serde_json::Map<String, Value> = replicas
        .iter()
        .map(|(role, count)| {
            let template = json!({"spec": {"containers": [container]}});
            (
                (*role).to_owned(),
                json!({"replicas": count, "template": template}),
            )
        })
        .collect();
    json!({
        "apiVersion": info.api_version(),
        "kind": info.kind,
        "metadata": {"name": name, "namespace": "ns1"},
        "spec": {"runPolicy": {}, (info.replicas_field): specs},
    })
}

/// Pod name of a replica, for tests.
#[must_use]
pub fn pod_name(job: &str, role: &'static str, index: u32) -> String {
    names::replica(job, names::Role(role), names::ReplicaIndex(index))
}

/// Every variant of every kind: the kind itself, or its dialects.
#[must_use]
pub fn meanings(frameworks: &[&'static dyn Framework]) -> Vec<&'static dyn Framework> {
    let of = |f: &&'static dyn Framework| match f.dialects() {
        [] => vec![*f],
        dialects => dialects.to_vec(),
    };
    frameworks.iter().flat_map(of).collect()
}

/// Manifest of a job with every role that the kind may have at a time, each with as many replicas as allowed up to `most`,
/// and with everything for which objects beside pods are created.
#[must_use]
pub fn whole(framework: &dyn Framework, most: u32) -> Value {
    let info = framework.kind();
    // Chief and Master are two names of one role.
    let chief = info.role("Chief").is_some();
    let roles = info
        .roles
        .iter()
        .filter(|role| !(chief && role.role.0 == "Master"));
    let replicas: Vec<(&str, u32)> = roles
        .map(|role| (role.role.0, role.max_replicas.map_or(most, |max| max.min(most))))
        .collect();
    let mut manifest = manifest(framework, "j", &replicas);
    if let Some(spec) = manifest.get_mut("spec").and_then(Value::as_object_mut) {
        if let Some(stamp) = info.stamp {
            spec.insert(stamp.field.to_owned(), stamp.value.into());
        }
        if info.makes.contains(&ExtraKind::Autoscaler) {
            let cpu = json!({"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}});
            let metrics = json!([{"type": "Resource", "resource": cpu}]);
            let policy = json!({"minReplicas": 1, "maxReplicas": 9, "metrics": metrics});
            spec.insert("elasticPolicy".to_owned(), policy);
        }
    }
    manifest
}

impl World {
    /// Names of the pods and batch Jobs whose success is the success of the job.
    ///
    /// # Panics
    /// If the job is not valid.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test's own input")]
    pub fn deciding(&self, framework: &dyn Framework) -> Vec<String> {
        let job = self
            .job
            .as_ref()
            .and_then(|job| resolve::resolve(framework, job).ok())
            .expect("a valid job");
        let role = crate::success::deciding(&job).expect("something that decides");
        job.replicas
            .of(role)
            .map(|replica| replica.name.clone())
            .collect()
    }
}
