//! From the state of this process to [`Observed`], the complete input of one decision.

use std::sync::Arc;

use common::gang::PodGroupApi;
use common::objects::ChildKind;
use common::{Framework, JobKey, Observed, RawJob};
use jiff::Timestamp;
use serde_json::Value;

use crate::decode::{self, DecodeError};
use crate::object::Object;
use crate::record::Record;
use crate::resource::{BATCH_JOBS, NODES, PODS, PRIORITY_CLASSES, Resource};
use crate::view::{OwnedObjects, View};

/// Everything that is known about a job now.
pub(crate) fn observe(now: Timestamp, view: &View, record: &mut Record, job: &Arc<RawJob>) -> Observed {
    let owned = view.owned_objects(&job.uid);
    let unreachable_nodes = view.unreachable_nodes(&owned, &mut record.gone_nodes, now);
    let OwnedObjects {
        pods,
        children,
        batch_jobs,
        batch_pods,
    } = owned;
    Observed {
        now,
        job: Arc::clone(job),
        pods,
        children,
        batch_jobs,
        batch_pods,
        priorities: Arc::clone(view.priorities()),
        vanished: record.vanished().to_vec(),
        refusals: record.refusals().to_vec(),
        unreachable_nodes,
    }
}

/// Input of the decision about a job for an operator that has just started, in a cluster of these objects, each given with its
/// group and plural; `None` if there is no such job. For tests that hold a cluster as a whole.
///
/// # Errors
/// If an object cannot be read.
pub fn observe_whole<'a>(
    now: Timestamp,
    frameworks: &[&'static dyn Framework],
    key: &JobKey,
    objects: impl IntoIterator<Item = (&'a str, &'a str, &'a Value)>,
) -> Result<Option<Observed>, DecodeError> {
    let kinds = frameworks.iter().map(|f| f.kind());
    let mut view = View::new(kinds.clone().map(|kind| (Resource::jobs(kind), kind.kind)));
    for (group, plural, object) in objects {
        let is = |resource: Resource| resource.group() == group && resource.plural == plural;
        let json = object.to_string().into_bytes();
        let apis = [
            PodGroupApi::Native,
            PodGroupApi::Volcano,
            PodGroupApi::Coscheduling,
        ];
        let child_kinds = [ChildKind::Service, ChildKind::Autoscaler];
        let mut child_kinds = child_kinds.into_iter().chain(apis.map(ChildKind::PodGroup));
        let read = if let Some(kind) = kinds.clone().find(|kind| is(Resource::jobs(kind))) {
            Object::Job(Box::new(decode::job(kind, &json)?))
        } else if is(PODS) {
            Object::Pod(decode::pod(&json)?)
        } else if is(BATCH_JOBS) {
            Object::BatchJob(decode::batch_job(&json)?)
        } else if is(NODES) {
            Object::Node(decode::node(&json, now)?)
        } else if is(PRIORITY_CLASSES) {
            Object::PriorityClass(decode::priority_class(&json)?)
        } else if let Some(kind) = child_kinds.find(|kind| is(Resource::of_child(*kind))) {
            Object::Child(decode::child(kind, &json)?)
        } else {
            continue;
        };
        view.put(read);
    }
    let Some(job) = view.job(key).map(|job| Arc::new(job.raw())) else {
        return Ok(None);
    };
    view.node_watch_progressed(now);
    let mut record = Record::new(job.uid.clone());
    Ok(Some(observe(now, &view, &mut record, &job)))
}
