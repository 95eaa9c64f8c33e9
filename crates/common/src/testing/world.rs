//! State of the test world.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::api::JobStatus;
use crate::framework::Framework;
use crate::names::{Attempt, JobKey, Uid};
use crate::objects::Extra;
use crate::observe::{
    BatchJobView, ChildView, Observed, Phase, PodView, RawJob, Refusal, UnreachableNode, Vanished,
};
use crate::plan::Plan;
use crate::resolve;
use crate::settings::Settings;

/// One job with all its objects.
#[derive(Debug, Clone)]
pub struct World {
    /// Present time.
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
    pub(super) batch_limits: BTreeMap<Uid, u32>,
    /// Other objects of the job, by kind and name, as last written.
    pub extras: BTreeMap<(&'static str, String), Extra>,
    /// Pods that vanished without a deletion seen by the operator.
    pub vanished: Vec<Vanished>,
    /// Refused writes that the next plan gets as input.
    pub refusals: Vec<Refusal>,
    /// Number of nodes; pods that start to run are spread over them.
    pub nodes: usize,
    /// Unreachable nodes, by name: `node-1` to `node-<nodes>`.
    pub unreachable_nodes: BTreeMap<Box<str>, UnreachableNode>,
    /// Settings of the operator.
    pub settings: Settings,
    /// Every incarnation of a pod ever created: name and attempt.
    pub created: Vec<(String, Attempt)>,
    /// Pods deleted by the operator.
    pub deleted: Vec<Uid>,
    /// Values of priority classes.
    pub priorities: BTreeMap<String, i32>,
    pub(super) serial: u64,
    pub(super) placed: usize,
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
            unreachable_nodes: BTreeMap::new(),
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

    /// Input of a plan at this time; `None` once the job is gone.
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
            unreachable_nodes: self.unreachable_nodes.clone(),
        })
    }

    /// Plan at this time; empty once the job is gone.
    #[must_use]
    pub fn plan(&self, framework: &dyn Framework) -> Plan {
        self.observe()
            .map(|observed| crate::plan(framework, &observed, &self.settings))
            .unwrap_or_default()
    }

    /// Stored status.
    #[must_use]
    pub fn status(&self) -> JobStatus {
        self.job.as_ref().map(resolve::stored_status).unwrap_or_default()
    }

    /// Stores a status of the job.
    pub(super) fn store(&mut self, status: &JobStatus) {
        self.vanished.clear();
        self.serial += 1;
        if let Some(job) = &mut self.job {
            job.status = serde_json::to_value(status).unwrap_or_default();
            job.resource_version = self.serial.to_string();
        }
    }

    /// Moves the time.
    pub fn pass_time(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    /// Sets a field of `spec`, by JSON pointer relative to `spec`.
    pub fn edit(&mut self, pointer: &str, value: Value) {
        if let Some(replica) = self.job.as_mut().and_then(|job| job.spec.pointer_mut(pointer)) {
            *replica = value;
        }
    }
}

/// A new pod that waits for a node.
pub(super) fn view(name: &str, uid: &str, attempt: Attempt) -> PodView {
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
