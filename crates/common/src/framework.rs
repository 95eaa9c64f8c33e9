//! The seam: what one framework contributes. No I/O, no clock, no async, object-safe.

use crate::kind::{KindInfo, OnFailure, Progress};
use crate::wiring::Wiring;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use crate::elastic::{self, Elastic};
use crate::job::ResolvedJob;
use crate::names::{ReplicaId, Role};
use crate::objects::Extra;
use crate::problems::Problems;
use crate::replica_states::ReplicaStates;
use crate::replicas::{Replica, Replicas};
use crate::settings::Settings;
use crate::{build, success};

/// One framework. Implementations are stateless statics, listed once in the operator's registry.
pub trait Framework: Send + Sync {
    /// What differs between kinds as data.
    fn kind(&self) -> &'static KindInfo;

    /// The CRD, complete: schema, rules, subresources, columns.
    fn crd(&self) -> CustomResourceDefinition;

    /// How the pod of `replica` finds the others.
    fn wiring(
        &self,
        replica: &Replica,
        replicas: &Replicas,
        job: &ResolvedJob,
        settings: &Settings,
    ) -> Wiring;

    /// Succeeded, running, or neither yet, by the kind's own rule or by `AllWorkers`; `Leader` is no concern of its. Failures
    /// and restarts are decided before it is asked.
    fn progress(&self, states: &ReplicaStates, job: &ResolvedJob) -> Progress {
        success::progress(states, job, self.elastic(job).as_ref())
    }

    /// How many workers there may be, where the job can gain and lose some while it runs.
    fn elastic(&self, job: &ResolvedJob) -> Option<Elastic> {
        elastic::policy(job)
    }

    /// The replica whose log stands for the job: the first one of the role that decides.
    fn leader(&self, replicas: &Replicas, _job: &ResolvedJob) -> Option<ReplicaId> {
        replicas.first_of(self.kind().decides)
    }

    /// The replica where the others meet. Neither it nor the leader is ever scaled away.
    fn rendezvous(&self, replicas: &Replicas, job: &ResolvedJob) -> Option<ReplicaId> {
        self.leader(replicas, job)
    }

    /// Replicas that are reached by their short name and so need a Service of their own in every service mode.
    fn needs_own_service(&self, replicas: &Replicas, job: &ResolvedJob) -> Vec<ReplicaId> {
        self.rendezvous(replicas, job).into_iter().collect()
    }

    /// Checks that the schema's rules cannot say. Called after the common checks passed.
    fn check(&self, _job: &ResolvedJob, _problems: &mut Problems) {}

    /// The headless Services of the job.
    fn services(&self, job: &ResolvedJob, settings: &Settings) -> Vec<Service> {
        build::service::services(job, &self.needs_own_service(&job.replicas, job), settings)
    }

    /// Objects that must be there, and be as given, before pods are made: host lists, key pairs, rights.
    fn extras(&self, _job: &ResolvedJob, _tally: &ReplicaStates, _settings: &Settings) -> Vec<Extra> {
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

    /// Whether a role that needs another (see [`RoleInfo::depends_on`]) waits for that one to be ready at its first start
    /// too; later starts always wait.
    fn waits_for_dependency(&self, _job: &ResolvedJob) -> bool {
        false
    }

    /// The meanings of a kind whose API versions differ in meaning, each a framework of its own whose
    /// [`KindInfo::stamp`] tells which objects are its own; empty for a kind with one meaning.
    fn dialects(&self) -> &'static [&'static dyn Framework] {
        &[]
    }
}
