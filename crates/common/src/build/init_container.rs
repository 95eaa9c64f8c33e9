//! An init container that waits until the master's name resolves. Off by default.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::job::ResolvedJob;
use crate::kind::{MASTER, WORKER};
use crate::names::{self, ReplicaIndex};
use crate::replicas::Replica;
use crate::settings::Settings;

/// Init container of a worker beside a Master, if the operator is configured for it. Script, names and amounts are
/// upstream's (training-operator 1.9, `pkg/controller.v1/pytorch/initcontainer.go`).
#[must_use]
pub fn wait_for_master(
    name: &str,
    replica: &Replica,
    job: &ResolvedJob,
    settings: &Settings,
) -> Vec<Container> {
    let waits = replica.id.role == WORKER && job.role(MASTER).is_some_and(|master| master.count > 0);
    let Some(init) = settings.init_container.as_ref().filter(|_| waits) else {
        return Vec::new();
    };
    let master = names::replica(&job.key.name, MASTER, ReplicaIndex(0));
    let script = format!(
        "err=1;for i in $(seq {}); do if nslookup {master}; then err=0 && break; fi;echo waiting for master; sleep 2; \
         done; exit $err",
        init.max_tries
    );
    let amounts = |cpu: &str, memory: &str| {
        let of = |name: &str, amount: &str| (name.to_owned(), Quantity(amount.to_owned()));
        Some(BTreeMap::from([of("cpu", cpu), of("memory", memory)]))
    };
    vec![Container {
        name: name.to_owned(),
        image: Some(init.image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(vec!["sh".to_owned(), "-c".to_owned(), script]),
        resources: Some(ResourceRequirements {
            limits: amounts("100m", "20Mi"),
            requests: amounts("50m", "10Mi"),
            claims: None,
        }),
        ..Container::default()
    }]
}
