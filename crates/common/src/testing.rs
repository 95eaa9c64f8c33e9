//! A small world for tests: one job, its pods and services as values, and the carrying out of plans on them.
//!
//! Time stands still unless a test moves it. Pods that are deleted while they live stay until [`World::reap`], as on a
//! real node.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

mod describe;
mod gang;
mod nodes;
mod request;
mod rest;
mod story;
pub mod vectors;

pub use describe::{describe_plan, describe_status};
pub use request::Answer;
pub use story::Story;

use crate::api::JobStatus;
use crate::framework::Framework;
use crate::gang::PodGroupApi;
use crate::kind::ExtraKind;
use crate::names::{self, Attempt, JobKey, Uid};
use crate::objects::{ChildKind, Extra};
use crate::observe::{
    BatchEnd, BatchJobView, ChildView, ContainerState, ContainerView, LostNode, Observed, Phase, PodDetail,
    PodView, RawJob, Refusal, Vanished,
};
use crate::plan::{Plan, Write};
use crate::resolve;
use crate::settings::Settings;

/// One job and all that belongs to it.
#[derive(Debug, Clone)]
pub struct World {
    /// The time.
    pub now: Timestamp,
    /// The job; `None` once it was deleted.
    pub job: Option<RawJob>,
    /// Its pods.
    pub pods: Vec<PodView>,
    /// Its Services and other watched objects beside pods.
    pub children: Vec<ChildView>,
    /// Its batch Jobs.
    pub batch_jobs: Vec<BatchJobView>,
    /// Pods of its batch Jobs, by the UID of their batch Job.
    pub batch_pods: Vec<(Uid, PodView)>,
    batch_limits: BTreeMap<Uid, u32>,
    /// Other objects of the job, by kind and name, as last written.
    pub extras: BTreeMap<(&'static str, String), Extra>,
    /// Pods that vanished unseen.
    pub vanished: Vec<Vanished>,
    /// Refused writes that the next plan is told of.
    pub refusals: Vec<Refusal>,
    /// Number of nodes; pods that start to run are spread over them.
    pub nodes: usize,
    /// Nodes that do not answer, by name: `node-1` to `node-<nodes>`.
    pub lost_nodes: BTreeMap<Box<str>, LostNode>,
    /// Settings of the operator.
    pub settings: Settings,
    /// Every incarnation of a pod ever created: name and attempt.
    pub created: Vec<(String, Attempt)>,
    /// Pods that were deleted by us.
    pub deleted: Vec<Uid>,
    /// Values of priority classes.
    pub priorities: BTreeMap<String, i32>,
    serial: u64,
    placed: usize,
}

impl World {
    /// A world with one job, made from a manifest; the time is 2026-01-01T00:00:00Z.
    ///
    /// # Panics
    /// If the manifest has no name.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test's own input")]
    pub fn new(framework: &dyn Framework, manifest: &Value) -> Self {
        let metadata = manifest.get("metadata").cloned().unwrap_or_default();
        let text = |key: &str| metadata.get(key).and_then(Value::as_str);
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let job = RawJob {
            key: JobKey {
                kind: framework.kind().kind,
                namespace: text("namespace").unwrap_or("ns1").into(),
                name: text("name").expect("a name").into(),
            },
            uid: Uid::new("11111111-2222-3333-4444-555555555555"),
            resource_version: "1".to_owned(),
            deleting: false,
            annotations: std::collections::BTreeMap::new(),
            spec: manifest.get("spec").cloned().unwrap_or_default(),
            status: Value::Null,
        };
        Self {
            now,
            job: Some(job),
            pods: Vec::new(),
            children: Vec::new(),
            batch_jobs: Vec::new(),
            batch_pods: Vec::new(),
            batch_limits: BTreeMap::new(),
            extras: BTreeMap::new(),
            vanished: Vec::new(),
            refusals: Vec::new(),
            nodes: 1,
            lost_nodes: BTreeMap::new(),
            settings: Settings {
                node_lost_after: Some(300),
                ..Settings::default()
            },
            created: Vec::new(),
            deleted: Vec::new(),
            priorities: BTreeMap::new(),
            serial: 0,
            placed: 0,
        }
    }

    /// What a plan would be shown now; `None` once the job is gone.
    #[must_use]
    pub fn observe(&self) -> Option<Observed> {
        Some(Observed {
            now: self.now,
            job: Arc::new(self.job.clone()?),
            pods: self.pods.iter().cloned().map(Arc::new).collect(),
            children: self.children.iter().cloned().map(Arc::new).collect(),
            batch_jobs: self.batch_jobs.iter().cloned().map(Arc::new).collect(),
            batch_pods: self
                .batch_pods
                .iter()
                .map(|(uid, pod)| (uid.clone(), Arc::new(pod.clone())))
                .collect(),
            priorities: Arc::new(self.priorities.clone()),
            vanished: self.vanished.clone(),
            refusals: self.refusals.clone(),
            lost_nodes: self.lost_nodes.clone(),
        })
    }

    /// The plan of now; the empty one once the job is gone.
    #[must_use]
    pub fn plan(&self, framework: &dyn Framework) -> Plan {
        self.observe()
            .map(|observed| crate::plan(framework, &observed, &self.settings))
            .unwrap_or_default()
    }

    /// Status as stored.
    #[must_use]
    pub fn status(&self) -> JobStatus {
        self.job.as_ref().map(resolve::stored_status).unwrap_or_default()
    }

    /// Carries out a plan; returns the number of requests.
    pub fn apply(&mut self, plan: &Plan) -> usize {
        self.apply_until(plan, usize::MAX)
    }

    /// Carries out a plan and dies after `limit` requests; returns how many were sent.
    pub fn apply_until(&mut self, plan: &Plan, limit: usize) -> usize {
        let mut sent = 0;
        let mut alive = || {
            sent += 1;
            sent <= limit
        };
        if let Some(intent) = plan.intent.as_ref().filter(|intent| **intent != self.status()) {
            if !alive() {
                return limit;
            }
            self.store(intent);
        }
        for write in self.open(plan) {
            if !alive() {
                return limit;
            }
            self.write(write);
        }
        if let Some(status) = plan.status.as_ref().filter(|status| **status != self.status()) {
            if !alive() {
                return limit;
            }
            let vanished = self.vanished.clone();
            self.store(status);
            if plan.blind {
                self.vanished = vanished;
            }
        }
        sent
    }

    /// Plans and applies until nothing is left to do; returns the plans that did something.
    ///
    /// # Panics
    /// If it does not settle within 20 passes.
    #[expect(clippy::panic, reason = "a law of tests")]
    pub fn settle(&mut self, framework: &dyn Framework) -> Vec<Plan> {
        let mut plans = Vec::new();
        for _ in 0..20 {
            let plan = self.plan(framework);
            if self.apply(&plan) == 0 {
                return plans;
            }
            plans.push(plan);
        }
        panic!("does not settle: {:#?}", plans.last());
    }

    fn store(&mut self, status: &JobStatus) {
        self.vanished.clear();
        self.serial += 1;
        if let Some(job) = &mut self.job {
            job.status = serde_json::to_value(status).unwrap_or_default();
            job.resource_version = self.serial.to_string();
        }
    }

    /// The controller of batch Jobs at work: counts failed pods, retries, gives its verdict. Called by whatever happens
    /// to pods.
    fn control_batch_jobs(&mut self) {
        let at = Some(self.now);
        for job in self
            .batch_jobs
            .iter_mut()
            .filter(|job| job.end.is_none() && !job.deleting)
        {
            let pods: Vec<&PodView> = self
                .batch_pods
                .iter()
                .filter(|(owner, _)| *owner == job.uid)
                .map(|(_, pod)| pod)
                .collect();
            let failed = pods.iter().filter(|pod| pod.phase == Phase::Failed).count();
            job.failed = job.failed.max(u32::try_from(failed).unwrap_or(u32::MAX));
            let limit = self.batch_limits.get(&job.uid).copied().unwrap_or(6);
            let end = |succeeded, reason: &str, message: &str| {
                let (reason, message) = (reason.into(), message.into());
                Some(Box::new(BatchEnd {
                    succeeded,
                    reason,
                    message,
                    at,
                }))
            };
            if pods.iter().any(|pod| pod.phase == Phase::Succeeded) {
                job.end = end(
                    true,
                    "CompletionsReached",
                    "Reached expected number of succeeded pods",
                );
            } else if job.failed > limit {
                job.end = end(
                    false,
                    "BackoffLimitExceeded",
                    "Job has reached the specified backoff limit",
                );
            } else if pods.iter().all(|pod| pod.phase == Phase::Failed) {
                self.serial += 1;
                let (name, uid) = (
                    format!("{}-x{}", job.name, self.serial),
                    format!("pod-{}", self.serial),
                );
                self.batch_pods
                    .push((job.uid.clone(), view(&name, &uid, job.attempt)));
            }
        }
    }

    /// Writes of a plan that are not true already.
    #[must_use]
    pub fn open<'a>(&self, plan: &'a Plan) -> Vec<&'a Write> {
        plan.writes.iter().filter(|write| !self.says_so(write)).collect()
    }

    /// Whether an object is as wanted already.
    fn says_so(&self, write: &Write) -> bool {
        let Write::Ensure(extra) = write else { return false };
        let (kind, name) = extra.id();
        let found = self.extras.get(&(kind, name.to_owned()));
        match extra {
            Extra::ConfigMap(_) | Extra::Role(_) => found == Some(extra),
            Extra::KeyPair(_) | Extra::ServiceAccount(_) | Extra::RoleBinding(_) => found.is_some(),
        }
    }

    fn write(&mut self, write: &Write) {
        self.serial += 1;
        let uid = Uid::new(&format!("uid-{}", self.serial));
        match write {
            Write::Ensure(extra) => {
                let (kind, name) = extra.id();
                self.extras.insert((kind, name.to_owned()), extra.clone());
            }
            Write::CreateBatchJob { attempt, job, .. } => {
                let name = job.metadata.name.clone().unwrap_or_default();
                self.created.push((name.clone(), *attempt));
                let limit = job.spec.as_ref().and_then(|spec| spec.backoff_limit);
                let limit = limit.and_then(|limit| u32::try_from(limit).ok());
                self.batch_limits.insert(uid.clone(), limit.unwrap_or(6));
                let mut pod = view(
                    &format!("{name}-x{}", self.serial),
                    &format!("pod-{uid}"),
                    *attempt,
                );
                let template = job.spec.as_ref().map(|spec| &spec.template);
                pod.gang = template.and_then(|t| gang::of(t.metadata.as_ref()?, t.spec.as_ref()));
                self.batch_pods.push((uid.clone(), pod));
                self.batch_jobs.push(BatchJobView {
                    name: name.into(),
                    uid,
                    attempt: *attempt,
                    deleting: false,
                    failed: 0,
                    end: None,
                });
            }
            Write::DeleteBatchJob { name, uid } => {
                self.deleted.push(uid.clone());
                for job in self
                    .batch_jobs
                    .iter_mut()
                    .filter(|j| *j.name == **name && j.uid == *uid)
                {
                    job.deleting = true;
                }
                for (_, pod) in self.batch_pods.iter_mut().filter(|(owner, _)| owner == uid) {
                    pod.deleting = true;
                }
            }
            Write::CreateChild(child) => {
                self.children.push(ChildView {
                    kind: child.kind(),
                    name: child.name().into(),
                    uid,
                    deleting: false,
                    digest: child.digest().map(Into::into),
                    pod_group: gang::view(child),
                });
            }
            Write::ChangeChild { to, uid } => {
                for child in self.children.iter_mut().filter(|child| child.uid == *uid) {
                    child.digest = to.digest().map(Into::into);
                }
                gang::change(&mut self.children, uid, to);
            }
            Write::DeleteChild { kind, uid, .. } => {
                // Kubernetes' own stays for as long as pods run that belong to it.
                let held = *kind == ChildKind::PodGroup(PodGroupApi::Native) && self.has_gang();
                for child in self.children.iter_mut().filter(|child| child.uid == *uid) {
                    child.deleting = true;
                }
                self.children.retain(|child| child.uid != *uid || held);
            }
            Write::DeletePod { name, uid, force } => {
                self.deleted.push(uid.clone());
                if *force {
                    self.force_away(uid);
                } else {
                    self.take_away(name, uid);
                }
            }
            Write::CreatePod { attempt, pod, .. } => {
                let name = pod.metadata.name.clone().unwrap_or_default();
                self.created.push((name.clone(), *attempt));
                let mut made = view(&name, uid.as_str(), *attempt);
                made.gang = gang::of(&pod.metadata, pod.spec.as_ref());
                self.pods.push(made);
            }
            Write::DeleteJob { .. } => {
                self.job = None;
                self.pods.clear();
                self.children.clear();
                self.batch_jobs.clear();
                self.batch_pods.clear();
                self.extras.clear();
            }
        }
    }

    fn take_away(&mut self, name: &str, uid: &Uid) {
        let ended = |p: &PodView| matches!(p.phase, Phase::Succeeded | Phase::Failed);
        self.pods
            .retain(|p| *p.name != *name || p.uid != *uid || !ended(p));
        for pod in self.pods.iter_mut().filter(|p| *p.name == *name && p.uid == *uid) {
            pod.deleting = true;
        }
    }

    /// Moves the time.
    pub fn pass_time(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    /// Changes a pod.
    ///
    /// # Panics
    /// If there is no such pod.
    #[expect(clippy::panic, reason = "a test's own input")]
    pub fn pod(&mut self, name: &str) -> &mut PodView {
        // The youngest pod of a batch Job goes by the name of that.
        let carried = self
            .batch_jobs
            .iter()
            .find(|j| *j.name == *name)
            .map(|j| j.uid.clone());
        let found = match carried {
            Some(uid) => self
                .batch_pods
                .iter_mut()
                .rev()
                .find(|(owner, _)| *owner == uid)
                .map(|(_, pod)| pod),
            None => self.pods.iter_mut().find(|p| *p.name == *name),
        };
        found.unwrap_or_else(|| panic!("no pod {name}"))
    }

    /// Pods start to run.
    pub fn run(&mut self, names: &[&str]) {
        for name in names {
            let Some(node) = self.place() else { return };
            let pod = self.pod(name);
            pod.phase = Phase::Running;
            pod.ready = true;
            pod.node = Some(node);
        }
    }

    /// All pods that wait start to run.
    pub fn run_all(&mut self) {
        let waiting: Vec<String> = self
            .pods
            .iter()
            .filter(|p| p.phase == Phase::Pending)
            .map(|p| p.name.to_string())
            .collect();
        self.run(&waiting.iter().map(String::as_str).collect::<Vec<_>>());
        let Some(node) = self.place() else { return };
        for (_, pod) in self
            .batch_pods
            .iter_mut()
            .filter(|(_, pod)| pod.phase == Phase::Pending)
        {
            pod.phase = Phase::Running;
            pod.ready = true;
            pod.node = Some(node.clone());
        }
    }

    /// The container of a pod ends, and so does the pod.
    pub fn end(&mut self, name: &str, container: &str, exit_code: i32, reason: &str, message: Option<&str>) {
        let finished_at = Some(self.now);
        let pod = self.pod(name);
        pod.phase = if exit_code == 0 {
            Phase::Succeeded
        } else {
            Phase::Failed
        };
        pod.ready = false;
        let state = ContainerState::Terminated {
            exit_code,
            reason: Some(reason.into()),
            message: message.map(Into::into),
            finished_at,
        };
        let container = ContainerView {
            name: container.into(),
            init: false,
            state,
        };
        pod.detail = Some(Box::new(PodDetail {
            containers: vec![container],
            ..PodDetail::default()
        }));
        self.control_batch_jobs();
    }

    /// Names of what carries the slots whose success is the job's.
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
        job.cast.of(role).map(|slot| slot.name.clone()).collect()
    }

    /// A pod is evicted: Failed, without container statuses.
    pub fn evict(&mut self, name: &str, disruption: Option<&str>) {
        let pod = self.pod(name);
        pod.phase = Phase::Failed;
        pod.detail = Some(Box::new(PodDetail {
            reason: Some("Evicted".into()),
            message: Some("The node was low on resource: memory.".into()),
            disruption: disruption.map(Into::into),
            ..PodDetail::default()
        }));
        self.control_batch_jobs();
    }

    /// Somebody deletes a pod; it stays, terminating, until [`World::reap`].
    pub fn delete(&mut self, name: &str) {
        self.pod(name).deleting = true;
    }

    /// Terminating pods go, unless their node does not answer; those that we did not delete are missed.
    pub fn reap(&mut self) {
        let lost = std::mem::take(&mut self.lost_nodes);
        let goes = |p: &PodView| p.deleting && p.node.as_ref().is_none_or(|node| !lost.contains_key(node));
        let (gone, left) = std::mem::take(&mut self.pods).into_iter().partition(goes);
        self.pods = left;
        self.miss(gone);
        self.batch_pods.retain(|(_, pod)| !goes(pod));
        self.lost_nodes = lost;
        self.after_reaping();
    }

    /// What goes or goes on once pods are gone.
    fn after_reaping(&mut self) {
        self.reap_batch_jobs();
        if !self.has_gang() {
            self.children.retain(|child| !child.deleting);
        }
        self.control_batch_jobs();
    }

    /// The batch Job of this name ends, as its controller would say.
    ///
    /// # Panics
    /// If there is no such batch Job.
    #[expect(clippy::panic, reason = "a test's own input")]
    pub fn end_batch_job(&mut self, name: &str, succeeded: bool, reason: &str, message: &str) {
        let at = Some(self.now);
        let job = self.batch_jobs.iter_mut().find(|j| *j.name == *name);
        let job = job.unwrap_or_else(|| panic!("no batch job {name}"));
        job.end = Some(Box::new(BatchEnd {
            succeeded,
            reason: reason.into(),
            message: message.into(),
            at,
        }));
    }

    fn miss(&mut self, gone: Vec<PodView>) {
        let missed = gone.into_iter().filter(|pod| !self.deleted.contains(&pod.uid));
        self.vanished.extend(missed.map(|pod| Vanished {
            name: pod.name,
            attempt: pod.attempt,
            restarts: pod.restarts,
            succeeded: pod.phase == Phase::Succeeded && !pod.deleting,
        }));
    }

    /// A pod is gone at once, without having been seen terminating.
    pub fn vanish(&mut self, name: &str) {
        if let Some(at) = self.batch_jobs.iter().position(|job| *job.name == *name) {
            return self.vanish_batch_job(at);
        }
        let (gone, left) = std::mem::take(&mut self.pods)
            .into_iter()
            .partition(|p| *p.name == *name);
        self.pods = left;
        self.miss(gone);
    }

    /// Somebody deletes a batch Job; its pods terminate after it.
    fn vanish_batch_job(&mut self, at: usize) {
        let job = self.batch_jobs.remove(at);
        for (_, pod) in self.batch_pods.iter_mut().filter(|(owner, _)| *owner == job.uid) {
            pod.deleting = true;
        }
        if !self.deleted.contains(&job.uid) {
            self.vanished.push(Vanished {
                name: job.name,
                attempt: job.attempt,
                restarts: job.failed,
                succeeded: job.end.is_some_and(|end| end.succeeded),
            });
        }
    }

    /// A field of `spec` changes, by JSON pointer relative to `spec`.
    pub fn edit(&mut self, pointer: &str, value: Value) {
        if let Some(slot) = self.job.as_mut().and_then(|job| job.spec.pointer_mut(pointer)) {
            *slot = value;
        }
    }

    /// The pods of the job as `name(attempt) state`, sorted.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut pods: Vec<String> = self
            .pods
            .iter()
            .map(|p| {
                let terminating = if p.deleting { " terminating" } else { "" };
                format!("{}({}) {:?}{terminating}", p.name, p.attempt.0, p.phase)
            })
            .collect();
        let terminating = |deleting| if deleting { " terminating" } else { "" };
        pods.extend(self.batch_jobs.iter().map(|j| {
            let end = j
                .end
                .as_ref()
                .map(|end| if end.succeeded { " complete" } else { " failed" });
            format!(
                "job {}({}){}{}",
                j.name,
                j.attempt.0,
                end.unwrap_or_default(),
                terminating(j.deleting)
            )
        }));
        pods.sort();
        pods.join(", ")
    }
}

fn view(name: &str, uid: &str, attempt: Attempt) -> PodView {
    PodView {
        name: name.into(),
        uid: Uid::new(uid),
        attempt,
        phase: Phase::Pending,
        deleting: false,
        forced: false,
        ready: false,
        node: None,
        gang: None,
        restarts: 0,
        detail: None,
    }
}

/// A job manifest of any kind: `replicas` gives role and count.
#[must_use]
pub fn manifest(framework: &dyn Framework, name: &str, replicas: &[(&str, u32)]) -> Value {
    let info = framework.kind();
    let container = serde_json::json!({"name": info.container.unwrap_or("main"), "image": "img:1"});
    let specs: serde_json::Map<String, Value> = replicas
        .iter()
        .map(|(role, count)| {
            let template = serde_json::json!({"spec": {"containers": [container]}});
            (
                (*role).to_owned(),
                serde_json::json!({"replicas": count, "template": template}),
            )
        })
        .collect();
    serde_json::json!({
        "apiVersion": info.api_version(),
        "kind": info.kind,
        "metadata": {"name": name, "namespace": "ns1"},
        "spec": {"runPolicy": {}, (info.replicas_field): specs},
    })
}

/// Pod name of a slot, for tests.
#[must_use]
pub fn pod_name(job: &str, role: &'static str, index: u32) -> String {
    names::replica(job, names::Role(role), names::ReplicaIndex(index))
}

/// Every meaning of every kind: a kind itself, or its dialects.
#[must_use]
pub fn meanings(frameworks: &[&'static dyn Framework]) -> Vec<&'static dyn Framework> {
    let of = |f: &&'static dyn Framework| match f.dialects() {
        [] => vec![*f],
        dialects => dialects.to_vec(),
    };
    frameworks.iter().flat_map(of).collect()
}

/// A manifest of a job that has every role that the kind may have at a time, each with as many replicas as allowed up to
/// `most`, and all that is made beside its pods.
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
            let cpu = serde_json::json!({"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}});
            let metrics = serde_json::json!([{"type": "Resource", "resource": cpu}]);
            let policy = serde_json::json!({"minReplicas": 1, "maxReplicas": 9, "metrics": metrics});
            spec.insert("elasticPolicy".to_owned(), policy);
        }
    }
    manifest
}
