//! A cluster in memory with the operator on it, which is spied upon.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::Framework;
use common::gang::PodGroupApi;
use common::settings::ServiceMode;
use common::testing::meanings;
use operator::FRAMEWORKS;
use runtime::GangChoice;
use serde_json::Value;
use sim::cluster::{Cluster, NAMESPACE, Setup, Shared};
use sim::network_faults::{Fault, NetworkFaults, Trip};
use sim::ops::DeleteOptions;
use sim::process::{Conduct, Process, WallClock};
use sim::refusal::Refusal;
use sim::request::{Request, Verb};
use sim::store::{Key, Who};
use sim::types::{LEASES, NAMESPACES, NODES, Resource, SECRETS};
use sim::value::name;

/// Looks at the requests of the operator.
#[derive(Default)]
struct Spy {
    /// Requests for Secrets that show more than their metadata.
    reads: Arc<Mutex<Vec<String>>>,
    /// So many writes of Secrets fail.
    refused: usize,
}

impl NetworkFaults for Spy {
    fn trip(&mut self, request: &Request) -> Trip {
        let of_secrets = request.is_of(SECRETS);
        let reads = matches!(request.verb, Verb::Get | Verb::List | Verb::Watch);
        if of_secrets && ((reads && !request.metadata_only) || request.verb == Verb::List) {
            self.reads.lock().unwrap().push(request.line());
        }
        if of_secrets && request.verb == Verb::Create && self.refused > 0 {
            self.refused -= 1;
            let why = Refusal::internal();
            return Trip {
                fault: Fault::Refused(why),
                ..Trip::UNDISTURBED
            };
        }
        Trip::UNDISTURBED
    }

    fn lag(&mut self, _plural: &str) -> Duration {
        Duration::ZERO
    }
}

/// A cluster, and the operator on it.
pub(crate) struct World {
    cluster: Cluster,
    /// Requests for Secrets that show more than their metadata.
    pub(crate) reads: Arc<Mutex<Vec<String>>>,
    _process: Process,
}

impl World {
    pub(crate) fn start(mode: ServiceMode, refused: usize) -> Self {
        let setup = Setup {
            pod_groups: vec![PodGroupApi::Native],
            ..Setup::default()
        };
        let cluster = Cluster::start(FRAMEWORKS, &setup);
        let conduct = Conduct {
            frameworks: FRAMEWORKS.to_vec(),
            settings: common::Settings {
                service_mode: mode,
                ..common::Settings::default()
            },
            gang: GangChoice::Auto,
            elected: false,
        };
        let spy = Spy {
            refused,
            ..Spy::default()
        };
        let reads = Arc::clone(&spy.reads);
        let process = Process::start(&cluster.shared, 1, &conduct, &WallClock::default(), spy);
        Self {
            cluster,
            reads,
            _process: process,
        }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.cluster.shared
    }

    /// All objects but those that tell nothing of jobs.
    pub(crate) fn objects(&self) -> BTreeMap<Key, Value> {
        let aside = [LEASES, NAMESPACES, NODES];
        let inside = self.shared().lock();
        let all = inside.server.store.all();
        all.filter(|(key, _)| !aside.contains(&key.resource))
            .map(|(key, object)| (key.clone(), (**object).clone()))
            .collect()
    }

    pub(crate) fn create(&self, framework: &dyn Framework, manifest: &Value) -> Key {
        let info = framework.kind();
        let jobs = Resource::new(info.group, info.plural);
        let made = self.shared().create(jobs, manifest);
        Key::new(jobs, NAMESPACE, name(&made))
    }

    /// Deletes an object as the user.
    pub(crate) fn delete(&self, key: &Key) {
        let options = DeleteOptions {
            propagation: Some("Background".to_owned()),
            ..DeleteOptions::default()
        };
        self.shared().store(|store| {
            if store.get(key).is_some() {
                store.delete(Who::User, key, &options).unwrap();
            }
        });
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.shared().lock().checker.violations.clone()
    }
}

pub(crate) async fn seconds(count: u64) {
    tokio::time::sleep(Duration::from_secs(count)).await;
}

pub(crate) fn kinds() -> Vec<&'static dyn Framework> {
    let all = meanings(FRAMEWORKS);
    assert!(all.len() >= 8, "both meanings of MPIJob are among them");
    all
}
