//! A job as every decision step sees it: typed, with defaults, checked. [`mod@crate::resolve`] makes it.

use crate::settings::{ServiceMode, Settings};
use k8s_openapi::api::core::v1::{Container, PodTemplateSpec};

use crate::api::{CleanPodPolicy, JobStatus, RestartPolicy, RestartScope, SchedulingPolicy, SuccessPolicy};
use crate::kind::KindInfo;
use crate::names::{self, JobKey, ReplicaId, Role, Uid};
use crate::problems::{Problems, read};
use crate::replicas::{Replica, Replicas};

/// A job with all its holes filled.
#[derive(Debug, Clone)]
pub struct ResolvedJob {
    /// Kind, namespace, name.
    pub key: JobKey,
    /// UID.
    pub uid: Uid,
    /// The kind's data.
    pub info: &'static KindInfo,
    /// Run policy.
    pub policy: ResolvedPolicy,
    /// When the job has succeeded.
    pub success: SuccessPolicy,
    /// Roles that the job has, in rank order.
    pub roles: Vec<ResolvedRole>,
    /// All replicas.
    pub replicas: Replicas,
    /// `spec` without what all kinds have: what only the framework knows.
    pub fields: serde_json::Value,
    /// Status as stored.
    pub stored: JobStatus,
}

impl ResolvedJob {
    /// The role's replicas, if the job has that role.
    #[must_use]
    pub fn role(&self, role: Role) -> Option<&ResolvedRole> {
        self.roles.iter().find(|r| r.role == role)
    }

    /// Number of the port that pods of `role` listen on: the training container's port of the kind's name; 0 for a kind
    /// whose pods agree on no port beforehand.
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

    /// The fields of `spec` that only the kind has. Those that [`ResolvedJob::check_own`] refuses read as absent.
    #[must_use]
    pub fn own<T: serde::de::DeserializeOwned + Default>(&self) -> T {
        self.check_own(&mut Problems::default()).unwrap_or_default()
    }

    /// The same; what cannot be read is noted.
    pub fn check_own<T: serde::de::DeserializeOwned>(&self, problems: &mut Problems) -> Option<T> {
        read(&self.fields, "spec", problems)
    }

    /// Replicas of `replicas` that need a Service of their own where all are called by [`ResolvedJob::host`], but `first` by its
    /// short name: that one, and those whose template names the pod's host, so that the job's Service cannot reach them.
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

    /// How pods of the namespace reach a replica that need not have a Service of its own: `<pod>` by such a one, or
    /// `<pod>.<job>` by the job's.
    #[must_use]
    pub fn host(&self, replica: &Replica, settings: &Settings) -> String {
        if settings.service_mode == ServiceMode::PerReplica || self.has_own_host_name(replica.id.role) {
            return replica.name.clone();
        }
        format!("{}.{}", replica.name, names::job_service(&self.key.name))
    }

    /// Restarts that are allowed, by the user or by the kind's default.
    #[must_use]
    pub fn backoff_limit(&self) -> Option<u32> {
        self.policy.backoff_limit.or(self.info.default_backoff_limit)
    }

    /// The pod's own restart policy. The kubelet knows no `ExitCode`: there the pod must end so that its exit code can be
    /// judged. And where all pods begin anew together, none may begin anew by itself.
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
    /// Which pods are deleted at the end.
    pub clean_pod_policy: CleanPodPolicy,
    /// Seconds to live after the end.
    pub ttl: Option<i64>,
    /// Seconds from the start after which the job fails.
    pub active_deadline: Option<i64>,
    /// Restarts that are allowed.
    pub backoff_limit: Option<u32>,
    /// Whether the job is to have no pods for now.
    pub suspend: bool,
    /// Gang scheduling.
    pub scheduling: SchedulingPolicy,
    /// What begins anew when a pod must be replaced.
    pub restart_scope: RestartScope,
}

/// One role with defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedRole {
    /// Role.
    pub role: Role,
    /// Number of pods.
    pub count: u32,
    /// Pod template with the kind's port added where the user named none.
    pub template: PodTemplateSpec,
    /// Name of the training container in it; empty if it has none, which only a role without pods may.
    pub container: String,
    /// What happens when a pod fails.
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
