//! What operators may ask for.

use common::api::ConditionType;
use common::{conditions, names};
use serde_json::Value;

use super::{Judge, pods, stored};
use crate::request::{Request, Verb};
use crate::store::{Key, Store, Who};
use crate::types::{BATCH_JOBS, EVENTS, LEASES, PODS};
use crate::value::{controller_uid, finalizers, label, name, text};

impl Judge {
    /// An operator asks for something.
    pub fn request(&mut self, store: &Store, who: Who, request: &Request) {
        if !request.verb.writes() {
            return;
        }
        self.acts_on_what_it_knows(store, who, request);
        self.told.secrets(request, &mut self.violations);
        let aside = request.is_of(EVENTS) || request.is_of(LEASES);
        match request.verb {
            Verb::Delete if request.body.pointer("/preconditions/uid").is_none() => {
                self.wrong(format!("{}: without the UID", request.line()));
            }
            Verb::Create if !aside => {
                let owner = controller_uid(&request.body);
                if !self.ours.contains(owner) {
                    self.wrong(format!(
                        "{}: its owner is {owner:?}, which is no job",
                        request.line()
                    ));
                }
                if let Some((key, job)) = store.by_uid(owner) {
                    self.may_make(request, key, job);
                }
                self.says_what_it_is(request);
            }
            Verb::Patch if request.subresource == "status" => {
                if request.body.pointer("/metadata/resourceVersion").is_none() {
                    self.wrong(format!("{}: without the version", request.line()));
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
        // A template may have finalizers of its user's.
        let ours = |finalizer: &str| {
            ["trainyard.dev", "kubeflow.org"]
                .iter()
                .any(|domain| finalizer.contains(domain))
        };
        if finalizers(&request.body).any(ours) {
            self.wrong(format!("{}: with a finalizer of ours", request.line()));
        }
    }

    /// Nothing is made for a job that has ended, is suspended or is somebody else's; and pods of the stored attempt only.
    fn may_make(&mut self, request: &Request, key: &Key, job: &Value) {
        let (what, stored) = (request.line(), stored(job));
        if conditions::is_finished(&stored) {
            self.wrong(format!("{what}: of a job that has ended"));
        }
        if conditions::is_true(&stored, ConditionType::Suspended) {
            self.wrong(format!("{what}: of a job that is suspended"));
        }
        let manager = text(job, "/spec/runPolicy/managedBy");
        let ours = |k: &&common::KindInfo| k.plural == key.resource.plural && k.managers.contains(&manager);
        if !manager.is_empty() && !self.meanings.iter().copied().any(|k| ours(&k)) {
            self.wrong(format!("{what}: of a job that {manager} manages"));
        }
        if request.is_of(PODS) || request.is_of(BATCH_JOBS) {
            let wanted = self.stored_attempt(key.resource.plural, &key.name, &stored, name(&request.body));
            let attempt = pods::attempt(&request.body);
            if attempt != wanted {
                self.wrong(format!("{what}: of attempt {attempt}, where {wanted} is stored"));
            }
        }
    }

    /// Whose it is, and of pods which slot and which attempt.
    fn says_what_it_is(&mut self, request: &Request) {
        let (what, body) = (request.line(), &request.body);
        let has = |key| label(body, key).is_some_and(|value| !value.is_empty());
        let slot = has(names::REPLICA_TYPE) || has(names::JOB_ROLE);
        let missing = match request.plural.as_str() {
            "pods" => !(has(names::OPERATOR_NAME) && has(names::JOB_NAME) && has(names::ATTEMPT) && slot),
            "jobs" => !(has(names::OPERATOR_NAME) && has(names::JOB_NAME) && has(names::ATTEMPT)),
            "services" | "podgroups" | "horizontalpodautoscalers" => {
                !(has(names::OPERATOR_NAME) && has(names::JOB_NAME))
            }
            _ => false,
        };
        if missing {
            self.wrong(format!(
                "{what}: does not say what it is: {}",
                body["metadata"]["labels"]
            ));
        }
    }
}
