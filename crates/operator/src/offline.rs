//! Subcommand `plan`: the plan for a job, without a cluster.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use common::api::JobStatus;
use common::plan::EventType;
use common::{Framework, Observed, Plan, PodView, Settings, Write};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

/// A plan in readable form.
#[derive(Debug, Serialize)]
struct Readable<'a> {
    job: String,
    why: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    intent: Option<&'a JobStatus>,
    writes: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a JobStatus>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<String>,
    #[serde(rename = "wake", skip_serializing_if = "Option::is_none")]
    requeue_at: Option<Timestamp>,
}

/// Plans for the job in `file`, with the pods in `pods`. Returns the plan as YAML.
///
/// # Errors
/// If a file cannot be read, or has other content.
pub(crate) fn plan(
    frameworks: &[&'static dyn Framework],
    settings: &Settings,
    file: &Path,
    pods: Option<&Path>,
    now: Timestamp,
) -> Result<String> {
    let of = |manifest: &Value| {
        let kind = manifest.get("kind").and_then(Value::as_str)?;
        frameworks.iter().copied().find(|f| f.kind().kind == kind)
    };
    let found = read(file)?
        .into_iter()
        .find_map(|manifest| Some((of(&manifest)?, manifest)));
    let kinds = || {
        frameworks
            .iter()
            .map(|f| f.kind().kind)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let (framework, mut manifest) = found.with_context(|| format!("{}: no {}", file.display(), kinds()))?;
    stamp(framework, &mut manifest);
    let job =
        runtime::offline_job(framework.kind(), &manifest).with_context(|| file.display().to_string())?;
    let observed = Observed {
        now,
        job: Arc::new(job),
        pods: pods.map(read_pods).transpose()?.unwrap_or_default(),
        children: Vec::new(),
        batch_jobs: Vec::new(),
        batch_pods: Vec::new(),
        priorities: Arc::default(),
        vanished: Vec::new(),
        refusals: Vec::new(),
        unreachable_nodes: std::collections::BTreeMap::new(),
    };
    let plan = common::plan(framework, &observed, settings);
    Ok(serde_saphyr::to_string(&readable(&observed, &plan)?)?)
}

/// Fills in the field that the API server would, by the version of the manifest.
fn stamp(framework: &dyn Framework, manifest: &mut Value) {
    let version = manifest
        .get("apiVersion")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let of_version = |d: &&&'static dyn Framework| d.kind().api_version() == version;
    let stamp = framework
        .dialects()
        .iter()
        .find(of_version)
        .and_then(|d| d.kind().stamp);
    if let (Some(stamp), Some(spec)) = (stamp, manifest.get_mut("spec").and_then(Value::as_object_mut)) {
        spec.entry(stamp.field).or_insert_with(|| stamp.value.into());
    }
}

/// All documents of a file.
fn read(file: &Path) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    serde_saphyr::from_multiple(&text).with_context(|| file.display().to_string())
}

fn read_pods(file: &Path) -> Result<Vec<Arc<PodView>>> {
    let pods = read(file)?
        .into_iter()
        .flat_map(|value| match value.get("items").and_then(Value::as_array) {
            Some(items) => items.clone(),
            None => vec![value],
        });
    pods.map(|pod| runtime::offline_pod(&pod).with_context(|| file.display().to_string()))
        .collect()
}

fn readable<'a>(observed: &Observed, plan: &'a Plan) -> Result<Readable<'a>> {
    let Plan {
        intent,
        writes,
        status,
        keeps_vanished: _,
        status_is_urgent: _,
        events,
        counters: _,
        requeue_at,
    } = plan;
    let why = |status: &JobStatus| {
        let conditions = status.conditions.iter().map(|c| {
            let message = c.message.as_deref().unwrap_or_default();
            format!("{} is {:?}: {message}", c.type_.as_str(), c.status)
        });
        conditions
            .chain(status.waiting_for.as_ref().map(|what| format!("waits: {what}")))
            .collect()
    };
    let event = |event: &common::Event| {
        let kind = match event.kind {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        };
        format!("{kind} {}: {}", event.reason, event.message)
    };
    Ok(Readable {
        job: observed.job.key.to_string(),
        why: status
            .as_ref()
            .map_or_else(|| vec!["not ours to look after now".to_owned()], why),
        intent: intent.as_ref(),
        writes: writes.iter().map(write).collect::<Result<_, _>>()?,
        status: status.as_ref(),
        events: events.iter().map(event).collect(),
        requeue_at: *requeue_at,
    })
}

fn write(write: &Write) -> Result<Value, serde_json::Error> {
    Ok(match write {
        Write::CreateChild(child) => {
            json!({"create": child.kind().as_str(), "object": serde_json::to_value(child)?})
        }
        Write::CreatePod {
            replica,
            attempt,
            pod,
        } => json!({
            "create": "Pod",
            "slot": format!("{} {}", replica.role, replica.index.0),
            "attempt": attempt.0,
            "object": serde_json::to_value(pod)?,
        }),
        Write::Ensure(extra) => json!({"ensure": extra.id().0, "object": serde_json::to_value(extra)?}),
        Write::CreateBatchJob {
            replica,
            attempt,
            job,
        } => json!({
            "create": "Job",
            "slot": format!("{} {}", replica.role, replica.index.0),
            "attempt": attempt.0,
            "object": serde_json::to_value(job)?,
        }),
        Write::DeleteBatchJob { name, uid } => json!({"delete": format!("Job {name}"), "uid": uid.as_str()}),
        Write::ChangeChild { to, uid } => json!({
            "change": to.kind().as_str(),
            "uid": uid.as_str(),
            "object": serde_json::to_value(to)?,
        }),
        Write::DeleteChild { kind, name, uid } => {
            json!({"delete": format!("{} {name}", kind.as_str()), "uid": uid.as_str()})
        }
        Write::DeletePod { name, uid, force } => {
            json!({"delete": format!("Pod {name}"), "uid": uid.as_str(), "force": force})
        }
        Write::DeleteJob {
            uid,
            resource_version: _,
        } => json!({"delete": "the job", "uid": uid.as_str()}),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_of_an_example_names_its_pods_and_services() {
        let folder = std::env::temp_dir().join(format!("plan-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let job = folder.join("job.yaml");
        let manifest = "
apiVersion: v1
kind: ConfigMap
---
apiVersion: kubeflow.org/v1
kind: PyTorchJob
metadata: {name: mw}
spec:
  pytorchReplicaSpecs:
    Master: {replicas: 1, template: {spec: {containers: [{name: pytorch, image: i}]}}}
    Worker: {replicas: 2, template: {spec: {containers: [{name: pytorch, image: i}]}}}
";
        std::fs::write(&job, manifest).unwrap();
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let text = plan(crate::FRAMEWORKS, &Settings::default(), &job, None, now).unwrap();
        for part in [
            "job: PyTorchJob default/mw",
            "name: mw-master-0",
            "name: mw-worker-1",
            "MASTER_ADDR",
            "conditions:",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_plan_of_a_gang_shows_its_pod_group() {
        let job = std::env::temp_dir().join(format!("plan-gang-{}.yaml", std::process::id()));
        let manifest = "
apiVersion: kubeflow.org/v1
kind: PyTorchJob
metadata: {name: g}
spec:
  pytorchReplicaSpecs:
    Worker: {replicas: 2, template: {spec: {containers: [{name: pytorch, image: i}]}}}
";
        std::fs::write(&job, manifest).unwrap();
        let settings = Settings {
            gang: common::gang::Gang::Native,
            ..Settings::default()
        };
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let text = plan(crate::FRAMEWORKS, &settings, &job, None, now).unwrap();
        for part in [
            "create: PodGroup",
            "apiVersion: scheduling.k8s.io/v1beta1",
            "minCount: 2",
            "podGroupName: g",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        std::fs::remove_file(&job).unwrap();
    }

    #[test]
    fn a_job_is_planned_as_one_of_the_version_that_its_manifest_names() {
        let mut manifest = json!({"apiVersion": "kubeflow.org/v1", "kind": "MPIJob", "spec": {}});
        stamp(&mpijob::FRAMEWORK, &mut manifest);
        assert_eq!(manifest["spec"]["launcherTransport"], "Exec");
    }
}
