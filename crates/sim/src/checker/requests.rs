//! Checks of each write that an operator requests, against the stored job.

use common::api::ConditionType;
use common::{conditions, names};
use serde_json::Value;

use super::jobs::{Jobs, attempt, stored};
use crate::request::{Request, Verb};
use crate::store::{Key, Store};
use crate::types::{BATCH_JOBS, EVENTS, LEASES, PODS};
use crate::value::{controller_uid, finalizers, label, name, text};

/// Violations of one write.
pub(super) fn check(jobs: &Jobs, store: &Store, request: &Request) -> Vec<String> {
    let (what, mut found) = (request.line(), Vec::new());
    let aside = request.is_of(EVENTS) || request.is_of(LEASES);
    match request.verb {
        Verb::Delete if request.body.pointer("/preconditions/uid").is_none() => {
            found.push(format!("{what}: without the UID"));
        }
        Verb::Create if !aside => {
            let owner = controller_uid(&request.body);
            if !jobs.has_owner(owner) {
                found.push(format!("{what}: its owner is {owner:?}, which is no job"));
            }
            if let Some((key, job)) = store.by_uid(owner) {
                found.extend(creation(jobs, request, key, job));
            }
            found.extend(labels(request));
        }
        Verb::Patch if request.subresource == "status" => {
            if request.body.pointer("/metadata/resourceVersion").is_none() {
                found.push(format!("{what}: without the version"));
            }
        }
        Verb::Create
        | Verb::Delete
        | Verb::Patch
        | Verb::Replace
        | Verb::Get
        | Verb::List
        | Verb::Watch
        | Verb::Discover => {}
    }
    // A template may have finalizers of its user.
    let ours = |finalizer: &str| {
        ["trainyard.dev", "kubeflow.org"]
            .iter()
            .any(|domain| finalizer.contains(domain))
    };
    if finalizers(&request.body).any(ours) {
        found.push(format!("{what}: with a finalizer of ours"));
    }
    found
}

/// Objects created for a job that has ended, is suspended or has another manager; pods of another attempt than the stored
/// one.
fn creation(jobs: &Jobs, request: &Request, key: &Key, job: &Value) -> Vec<String> {
    let (what, stored, mut found) = (request.line(), stored(job), Vec::new());
    if conditions::is_finished(&stored) {
        found.push(format!("{what}: of a job that has ended"));
    }
    if conditions::is_true(&stored, ConditionType::Suspended) {
        found.push(format!("{what}: of a job that is suspended"));
    }
    let manager = text(job, "/spec/runPolicy/managedBy");
    if !manager.is_empty() && !jobs.manages(key.resource.plural, manager) {
        found.push(format!("{what}: of a job that {manager} manages"));
    }
    if request.is_of(PODS) || request.is_of(BATCH_JOBS) {
        let wanted = jobs.stored_attempt(key.resource.plural, &key.name, &stored, name(&request.body));
        let attempt = attempt(&request.body);
        if attempt != wanted {
            found.push(format!("{what}: of attempt {attempt}, where {wanted} is stored"));
        }
    }
    found
}

/// Objects without the labels that name their job and, for pods, their replica and attempt.
fn labels(request: &Request) -> Option<String> {
    let (what, body) = (request.line(), &request.body);
    let has = |key| label(body, key).is_some_and(|value| !value.is_empty());
    let of_job = has(names::OPERATOR_NAME) && has(names::JOB_NAME);
    let complete = match request.plural.as_str() {
        "pods" => of_job && has(names::ATTEMPT) && (has(names::REPLICA_TYPE) || has(names::JOB_ROLE)),
        "jobs" => of_job && has(names::ATTEMPT),
        "services" | "podgroups" | "horizontalpodautoscalers" => of_job,
        _ => true,
    };
    let labels = &body["metadata"]["labels"];
    (!complete).then(|| format!("{what}: lacks labels: {labels}"))
}
