//! Interface between this crate and one framework. No I/O, no clock, no async, object-safe.

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
    /// Differences between kinds, as data.
    fn kind(&self) -> &'static KindInfo;

    /// The complete CRD: schema, rules, subresources, columns.
    fn crd(&self) -> CustomResourceDefinition;

    /// Settings by which the pod of `replica` finds the others.
    fn wiring(
        &self,
        replica: &Replica,
        replicas: &Replicas,
        job: &ResolvedJob,
        settings: &Settings,
    ) -> Wiring;

    /// Progress of the job, by the kind's own rule or by `AllWorkers`. The policy `Leader` is handled by the caller.
    /// Failures and restarts are decided before this is called.
    fn progress(&self, states: &ReplicaStates, job: &ResolvedJob) -> Progress {
        success::progress(states, job, self.elastic(job).as_ref())
    }

    /// Limits for the number of workers, if the job can gain and lose workers while it runs.
    fn elastic(&self, job: &ResolvedJob) -> Option<Elastic> {
        elastic::policy(job)
    }

    /// Replica whose log stands for the job: the first one of the role that decides the success.
    fn leader(&self, replicas: &Replicas, _job: &ResolvedJob) -> Option<ReplicaId> {
        replicas.first_of(self.kind().decides)
    }

    /// Replica at whose address the others meet. Neither this one nor the leader is ever scaled away.
    fn rendezvous(&self, replicas: &Replicas, job: &ResolvedJob) -> Option<ReplicaId> {
        self.leader(replicas, job)
    }

    /// Replicas that are reached by their short name, and so need their own Service in every service mode.
    fn needs_own_service(&self, replicas: &Replicas, job: &ResolvedJob) -> Vec<ReplicaId> {
        self.rendezvous(replicas, job).into_iter().collect()
    }

    /// Checks that the schema's rules cannot express. Called after the common checks have passed.
    fn check(&self, _job: &ResolvedJob, _problems: &mut Problems) {}

    /// The headless Services of the job.
    fn services(&self, job: &ResolvedJob, settings: &Settings) -> Vec<Service> {
        build::service::services(job, &self.needs_own_service(&job.replicas, job), settings)
    }

    /// Supporting objects that must exist with the given content before pods are created: host lists, key pairs, RBAC
    /// objects.
    fn extras(&self, _job: &ResolvedJob, _tally: &ReplicaStates, _settings: &Settings) -> Vec<Extra> {
        Vec::new()
    }

    /// Autoscaler of the job, if the user asked for one.
    fn autoscaler(&self, job: &ResolvedJob) -> Option<HorizontalPodAutoscaler> {
        elastic::autoscaler(job, self.elastic(job)?)
    }

    /// Effect of a failed pod of `role`.
    fn on_failure(&self, _role: Role, _job: &ResolvedJob) -> OnFailure {
        OnFailure::ByPolicy
    }

    /// True if a role that depends on another one (see [`depends_on`](crate::kind::RoleInfo::depends_on)) also waits
    /// for that one to be ready before its first start. Restarts always wait.
    fn waits_for_dependency(&self, _job: &ResolvedJob) -> bool {
        false
    }

    /// Dialects of a kind whose API versions differ in meaning. Each is a separate framework, and its
    /// [`KindInfo::stamp`] marks its objects. Empty for a kind with only one meaning.
    fn dialects(&self) -> &'static [&'static dyn Framework] {
        &[]
    }
}
