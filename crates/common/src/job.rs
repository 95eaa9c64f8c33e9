//! A job in the form that every decision step reads: typed, with defaults, checked. [`mod@crate::resolve`] creates it.

use crate::settings::{ServiceMode, Settings};
use k8s_openapi::api::core::v1::{Container, PodTemplateSpec};

use crate::api::{CleanPodPolicy, JobStatus, RestartPolicy, RestartScope, SchedulingPolicy, SuccessPolicy};
use crate::kind::KindInfo;
use crate::names::{self, JobKey, ReplicaId, Role, Uid};
use crate::problems::{Problems, read};
use crate::replicas::{Replica, Replicas};

/// A job with all defaults applied.
#[derive(Debug, Clone)]
pub struct ResolvedJob {
    /// Kind, namespace, name.
    pub key: JobKey,
    /// UID.
    pub uid: Uid,
    /// Data of the kind.
    pub info: &'static KindInfo,
    /// Run policy.
    pub policy: ResolvedPolicy,
    /// Success policy.
    pub success: SuccessPolicy,
    /// Roles that the job has, in rank order.
    pub roles: Vec<ResolvedRole>,
    /// All replicas.
    pub replicas: Replicas,
    /// Fields of `spec` that only this kind has, untyped. The framework reads them.
    pub fields: serde_json::Value,
    /// Status as stored.
    pub stored: JobStatus,
}

impl ResolvedJob {
    /// Spec of a role, if the job has that role.
    #[must_use]
    pub fn role(&self, role: Role) -> Option<&ResolvedRole> {
        self.roles.iter().find(|r| r.role == role)
    }

    /// Number of the port that pods of `role` listen on: the port of the training container that has the kind's port
    /// name. 0 for a kind whose pods do not agree on a port beforehand.
    #[must_use]
    pub fn port(&self, role: Role) -> i32 {
        let Some(known) = self.info.port else { return 0 };
        let of = |r: &ResolvedRole| {
            let ports = r.training_container()?.ports.as_ref()?;
            ports
                .iter()
                .find(|p| p.name.as_deref() == Some(known.name))
                .map(|p| p.container_port)
        };
        self.role(role).and_then(of).unwrap_or(known.number)
    }

    /// Typed fields of `spec` that only this kind has. Fields that [`ResolvedJob::check_own`] rejects are treated as
    /// absent.
    #[must_use]
    pub fn own<T: serde::de::DeserializeOwned + Default>(&self) -> T {
        self.check_own(&mut Problems::default()).unwrap_or_default()
    }

    /// The same; fields that cannot be read are reported in `problems`.
    pub fn check_own<T: serde::de::DeserializeOwned>(&self, problems: &mut Problems) -> Option<T> {
        read(&self.fields, "spec", problems)
    }

    /// Replicas that need their own Service if all are addressed by [`ResolvedJob::host`], except `first`, which is
    /// addressed by its short name. These are `first` itself, and the replicas whose template sets the pod's host name,
    /// so that the job's Service cannot reach them.
    #[must_use]
    pub fn with_own_host_names(&self, replicas: &Replicas, first: Option<ReplicaId>) -> Vec<ReplicaId> {
        let own = |replica: &&Replica| self.has_own_host_name(replica.id.role) && Some(replica.id) != first;
        let own = replicas.all().iter().filter(own).map(|replica| replica.id);
        first.into_iter().chain(own).collect()
    }

    fn has_own_host_name(&self, role: Role) -> bool {
        let spec = self.role(role).and_then(|r| r.template.spec.as_ref());
        spec.is_some_and(|spec| spec.hostname.is_some() || spec.subdomain.is_some())
    }

    /// Host name by which pods of the namespace reach a replica: `<pod>` if it has its own Service, or `<pod>.<job>`
    /// through the job's Service.
    #[must_use]
    pub fn host(&self, replica: &Replica, settings: &Settings) -> String {
        if settings.service_mode == ServiceMode::PerReplica || self.has_own_host_name(replica.id.role) {
            return replica.name.clone();
        }
        format!("{}.{}", replica.name, names::job_service(&self.key.name))
    }

    /// Number of allowed restarts, set by the user or by the kind's default.
    #[must_use]
    pub fn backoff_limit(&self) -> Option<u32> {
        self.policy.backoff_limit.or(self.info.default_backoff_limit)
    }

    /// restartPolicy of the pod itself. The kubelet does not know `ExitCode`: for that policy the pod must end, so that
    /// its exit code can be read. If all pods restart together, no pod may be restarted by the kubelet.
    #[must_use]
    pub fn kubelet_policy(&self, policy: RestartPolicy) -> &'static str {
        match policy {
            _ if self.policy.restart_scope == RestartScope::Job => "Never",
            RestartPolicy::Always => "Always",
            RestartPolicy::OnFailure => "OnFailure",
            RestartPolicy::Never | RestartPolicy::ExitCode => "Never",
        }
    }
}

/// `spec.runPolicy` with defaults.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ResolvedPolicy {
    /// Pods to delete at the end.
    pub clean_pod_policy: CleanPodPolicy,
    /// Seconds from the end of the job to its deletion.
    pub ttl: Option<i64>,
    /// Seconds from the start after which the job fails.
    pub active_deadline: Option<i64>,
    /// Number of allowed restarts.
    pub backoff_limit: Option<u32>,
    /// True if the job is to have no pods for now.
    pub suspend: bool,
    /// Gang scheduling.
    pub scheduling: SchedulingPolicy,
    /// Pods that restart when one of them must be replaced.
    pub restart_scope: RestartScope,
}

/// One role with defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedRole {
    /// Role.
    pub role: Role,
    /// Number of pods.
    pub count: u32,
    /// Pod template, with the kind's port added if the user did not name it.
    pub template: PodTemplateSpec,
    /// Name of the training container in the template. Empty if there is none, which is valid only for a role without
    /// pods.
    pub container: String,
    /// Restart policy.
    pub restart_policy: RestartPolicy,
}

impl ResolvedRole {
    /// The training container of the template.
    #[must_use]
    pub fn training_container(&self) -> Option<&Container> {
        let spec = self.template.spec.as_ref()?;
        spec.containers.iter().find(|c| c.name == self.container)
    }
}
