//! Input of a chaos run: kind, manifest, cluster, operators. All of it is a function of the seed.

use common::gang::{Gang, PodGroupApi};
use common::testing::{meanings, whole};
use common::{Framework, Settings};
use runtime::GangChoice;
use serde_json::{Value, json};

use crate::cluster::Setup;
use crate::kubernetes::Pace;
use crate::process::Conduct;
use crate::rng::Rng;

/// Input of a chaos run.
pub(super) struct Case {
    pub(super) framework: &'static dyn Framework,
    pub(super) manifest: Value,
    pub(super) setup: Setup,
    pub(super) conduct: Conduct,
    /// Number of operators.
    pub(super) processes: usize,
    /// Factor on the frequency of network faults; 0 means none.
    pub(super) force: usize,
    /// Duration of the faults.
    pub(super) seconds: u64,
}

impl Case {
    /// The case of a seed.
    pub(super) fn new(frameworks: &'static [&'static dyn Framework], seed: u64, rng: &mut Rng) -> Self {
        let kinds = meanings(frameworks);
        let framework = kinds[usize::try_from(seed).unwrap_or(0) % kinds.len()];
        let gang = rng.below(10);
        let (gang, served) = match gang {
            0 | 1 => (GangChoice::Auto, Some(PodGroupApi::Native)),
            2 => (GangChoice::Fixed(Gang::Volcano), Some(PodGroupApi::Volcano)),
            _ => (GangChoice::Auto, None),
        };
        let elected = rng.per_mille(300);
        Self {
            framework,
            manifest: manifest(framework, rng),
            setup: Setup {
                nodes: 3,
                pod_groups: served.into_iter().collect(),
                pace: Pace::UNEVEN,
                seed,
            },
            conduct: Conduct {
                frameworks: frameworks.to_vec(),
                settings: Settings {
                    node_lost_after: Some(20),
                    ..Settings::default()
                },
                gang,
                elected,
            },
            processes: if elected { 2 } else { 1 },
            force: rng.below(5),
            seconds: 30 + u64::try_from(rng.below(150)).unwrap_or(0),
        }
    }
}

/// Manifest of a job with random policies.
fn manifest(framework: &'static dyn Framework, rng: &mut Rng) -> Value {
    let info = framework.kind();
    let mut manifest = whole(framework, 1 + u32::try_from(rng.below(3)).unwrap_or(0));
    let plain = info
        .roles
        .iter()
        .all(|role| role.workload == common::kind::Workload::Pod);
    let restart: &[&str] = if plain {
        &["Always", "OnFailure", "Never", "ExitCode", "ExitCode"]
    } else {
        &["Never", "OnFailure"]
    };
    let restart = *rng.pick(restart);
    if let Some(roles) = manifest["spec"][info.replicas_field].as_object_mut() {
        roles
            .values_mut()
            .for_each(|role| role["restartPolicy"] = json!(restart));
    }
    let mut policy = json!({"cleanPodPolicy": rng.pick(&["None", "Running", "All"])});
    if rng.per_mille(600) {
        policy["backoffLimit"] = json!(rng.below(9));
    }
    if rng.per_mille(100) {
        policy["activeDeadlineSeconds"] = json!(20 + rng.below(300));
    }
    if rng.per_mille(200) {
        policy["ttlSecondsAfterFinished"] = json!(rng.below(60));
    }
    if rng.per_mille(300) {
        policy["restartScope"] = json!("Job");
    }
    if rng.per_mille(100) {
        policy["suspend"] = json!(true);
    }
    manifest["spec"]["runPolicy"] = policy;
    manifest
}
