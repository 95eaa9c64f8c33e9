//! The seam: what one framework contributes. No I/O, no clock, no async, object-safe.

use crate::kind::{KindInfo, OnFailure, Outcome, WORKER};
use crate::wiring::Wiring;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use crate::cast::{Cast, Slot};
use crate::elastic::{self, Elastic};
use crate::job::ResolvedJob;
use crate::names::{Role, SlotId};
use crate::objects::Extra;
use crate::problems::Problems;
use crate::settings::Settings;
use crate::tally::Tally;
use crate::{build, success};

/// One framework. Implementations are stateless statics, listed once in the operator's registry.
pub trait Framework: Send + Sync {
    /// What differs between kinds as data.
    fn kind(&self) -> &'static KindInfo;

    /// The CRD, complete: schema, rules, subresources, columns.
    fn crd(&self) -> CustomResourceDefinition;

    /// How the pod of `slot` finds the others.
    fn wiring(&self, slot: &Slot, cast: &Cast, job: &ResolvedJob, settings: &Settings) -> Wiring;

    /// Succeeded, running, or neither yet, by the kind's own rule or by `AllWorkers`; `Leader` is no concern of its. Failures
    /// and restarts are decided before it is asked.
    fn outcome(&self, tally: &Tally, job: &ResolvedJob) -> Outcome {
        success::outcome(tally, job, self.elastic(job).as_ref())
    }

    /// How many workers there may be, where the job can gain and lose some while it runs.
    fn elastic(&self, job: &ResolvedJob) -> Option<Elastic> {
        elastic::policy(job)
    }

    /// The slot whose log stands for the job: the first one of the role that decides.
    fn leader(&self, cast: &Cast, _job: &ResolvedJob) -> Option<SlotId> {
        cast.first_of(self.kind().decides)
    }

    /// The slot where the others meet. Neither it nor the leader is ever scaled away.
    fn rendezvous(&self, cast: &Cast, job: &ResolvedJob) -> Option<SlotId> {
        self.leader(cast, job)
    }

    /// Whether messages of its running and its success call the job by its name alone, as upstream's do where something
    /// else than workers decides.
    fn called_briefly(&self, job: &ResolvedJob) -> bool {
        success::deciding(job).is_some_and(|role| role != WORKER)
    }

    /// Slots that are reached by their short name and so need a Service of their own in every service mode.
    fn addressed(&self, cast: &Cast, job: &ResolvedJob) -> Vec<SlotId> {
        self.rendezvous(cast, job).into_iter().collect()
    }

    /// Checks that the schema's rules cannot say. Called after the common checks passed.
    fn check(&self, _job: &ResolvedJob, _problems: &mut Problems) {}

    /// The headless Services of the job.
    fn services(&self, job: &ResolvedJob, settings: &Settings) -> Vec<Service> {
        build::service::services(job, &self.addressed(&job.cast, job), settings)
    }

    /// Objects that must be there, and be as given, before pods are made: host lists, key pairs, rights.
    fn extras(&self, _job: &ResolvedJob, _tally: &Tally, _settings: &Settings) -> Vec<Extra> {
        Vec::new()
    }

    /// What scales the job, if the user asked for it.
    fn autoscaler(&self, job: &ResolvedJob) -> Option<HorizontalPodAutoscaler> {
        elastic::autoscaler(job, self.elastic(job)?)
    }

    /// What a failed pod of `role` means.
    fn on_failure(&self, _role: Role, _job: &ResolvedJob) -> OnFailure {
        OnFailure::ByPolicy
    }

    /// Whether a role that needs another (see [`RoleInfo::needs`]) waits for that one to be ready at its first start
    /// too; later starts always wait.
    fn waits_for_needed(&self, _job: &ResolvedJob) -> bool {
        false
    }

    /// The meanings of a kind whose API versions differ in meaning, each a framework of its own whose
    /// [`KindInfo::stamp`] tells which objects are its own; empty for a kind with one meaning.
    fn dialects(&self) -> &'static [&'static dyn Framework] {
        &[]
    }
}
