//! Scenarios: one job, the steps that happen to it, and an operator that may die at one of its writes.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use common::{Framework, KindInfo, ReplicaId};
use runtime::GangChoice;
use serde_json::{Value, json};

use crate::cluster::{Cluster, NAMESPACE, Setup, Shared, is_aside};
use crate::kubernetes;
use crate::network_faults::{Fault, NetworkFaults, NoFaults, Trip};
use crate::process::{Conduct, Process, WallClock};
use crate::quiet;
use crate::request::Request;
use crate::snapshot::snapshot;
use crate::store::{Key, Object, Store, Who};
use crate::types::{PODS, Resource};
use crate::value::{self, deleting, name, phase, text};

/// Time without changes after which all controllers have finished.
const CALM: Duration = Duration::from_secs(4);
/// Longest time that a scenario waits for anything.
const PATIENCE: Duration = Duration::from_hours(1);
/// Time between death and the next process.
const RESTART: Duration = Duration::from_secs(1);

/// Steps of a scenario.
pub type Steps = fn(TestJob) -> Pin<Box<dyn Future<Output = ()>>>;

/// A scenario.
#[derive(Clone)]
pub struct Scenario {
    /// Name.
    pub name: &'static str,
    /// True for the kinds that it applies to.
    pub applies: fn(&KindInfo) -> bool,
    /// Edit of the usual manifest.
    pub manifest: fn(&KindInfo, &mut Value),
    /// Options of the cluster.
    pub setup: Setup,
    /// Gang scheduler.
    pub gang: GangChoice,
    /// Steps.
    pub steps: Steps,
}

/// Point at which the operator dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death {
    /// Number of the write, from 1.
    pub write: usize,
    /// True if the write is served all the same.
    pub served: bool,
}

/// Result of a scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct ScenarioResult {
    /// Objects, without the parts that differ in every run.
    pub objects: BTreeMap<String, Value>,
    /// Number of times that the operator created and deleted each object.
    pub counts: BTreeMap<(&'static str, String), usize>,
    /// Writes of the operator, without events and leases.
    pub writes: Vec<String>,
    /// Violations that the invariant checker has found.
    pub violations: Vec<String>,
}

/// Counts writes, and lets the operator die at one of them.
struct DiesAtWrite {
    left: usize,
    served: bool,
}

impl NetworkFaults for DiesAtWrite {
    fn trip(&mut self, request: &Request) -> Trip {
        if !request.verb.writes() || is_aside(request) {
            return Trip::UNDISTURBED;
        }
        self.left = self.left.saturating_sub(1);
        let fault = match self.left {
            0 => Fault::Fatal { served: self.served },
            _ => Fault::None,
        };
        Trip {
            fault,
            ..Trip::UNDISTURBED
        }
    }

    fn lag(&mut self, _plural: &str) -> Duration {
        Duration::ZERO
    }
}

impl Scenario {
    /// Runs the scenario for a kind; the operator dies at `death`. Each run of the same arguments is the same.
    ///
    /// # Panics
    /// If a step waits too long.
    #[must_use]
    pub fn play(
        &self,
        frameworks: &'static [&'static dyn Framework],
        framework: &'static dyn Framework,
        death: Option<Death>,
    ) -> ScenarioResult {
        fastrand::seed(1);
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let threads = builder
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        threads.block_on(self.run(frameworks, framework, death))
    }

    async fn run(
        &self,
        frameworks: &'static [&'static dyn Framework],
        framework: &'static dyn Framework,
        death: Option<Death>,
    ) -> ScenarioResult {
        let cluster = Cluster::start(frameworks, &self.setup);
        let conduct = Conduct {
            frameworks: frameworks.to_vec(),
            settings: common::Settings {
                node_lost_after: Some(30),
                ..common::Settings::default()
            },
            gang: self.gang.clone(),
            elected: false,
        };
        let test_job = TestJob::new(self.name, cluster.shared.clone(), framework);
        let mut manifest = common::testing::whole(framework, 2);
        (self.manifest)(framework.kind(), &mut manifest);
        test_job.shared.create(test_job.resource(), &manifest);
        let clock = WallClock::default();
        let mut deaths = 0;
        let supervise = async {
            let mut process = match death {
                Some(Death { write, served }) => {
                    let dies = DiesAtWrite { left: write, served };
                    Process::start(&cluster.shared, 1, &conduct, &clock, dies)
                }
                None => Process::start(&cluster.shared, 1, &conduct, &clock, NoFaults),
            };
            loop {
                process.ended().await;
                deaths += 1;
                drop(process);
                tokio::time::sleep(RESTART).await;
                process = Process::start(&cluster.shared, 1 + deaths, &conduct, &clock, NoFaults);
            }
        };
        tokio::select! {
            () = (self.steps)(test_job.clone()) => {}
            () = supervise => {}
        }
        assert_eq!(
            deaths,
            usize::from(death.is_some()),
            "the operator has not died at {death:?}"
        );
        let inside = cluster.shared.lock();
        ScenarioResult {
            objects: snapshot(&inside.server.store),
            counts: inside.checker.counts.clone(),
            writes: inside
                .written
                .iter()
                .filter(|w| !w.aside)
                .map(|w| w.line.clone())
                .collect(),
            violations: inside
                .checker
                .violations
                .iter()
                .cloned()
                .chain(clock.complaint())
                .chain(quiet::left_to_do(&inside.server.store, &conduct))
                .collect(),
        }
    }
}

/// The job `j` of a scenario, and the steps that tests take with it.
#[derive(Clone)]
pub struct TestJob {
    scenario: &'static str,
    /// The cluster.
    pub shared: Shared,
    /// Kind of the job.
    pub framework: &'static dyn Framework,
}

impl TestJob {
    /// The job `j` of this kind.
    #[must_use]
    pub fn new(scenario: &'static str, shared: Shared, framework: &'static dyn Framework) -> Self {
        Self {
            scenario,
            shared,
            framework,
        }
    }

    /// Facts of the kind.
    #[must_use]
    pub fn info(&self) -> &'static KindInfo {
        self.framework.kind()
    }

    /// The resource of the job.
    #[must_use]
    pub fn resource(&self) -> Resource {
        Resource::new(self.info().group, self.info().plural)
    }

    /// Key of the job.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::new(self.resource(), NAMESPACE, "j")
    }

    /// The job; null if it does not exist.
    #[must_use]
    pub fn job(&self) -> Value {
        self.shared
            .get(&self.key())
            .map_or(Value::Null, |job| (*job).clone())
    }

    /// Its pods, those of its batch Jobs included, in rank order.
    #[must_use]
    pub fn pods(&self) -> Vec<Object> {
        let mut pods: Vec<Object> = self.shared.list(PODS);
        pods.sort_by_key(|pod| self.rank(name(pod)));
        pods
    }

    fn rank(&self, pod: &str) -> (usize, u32) {
        let place = |id: ReplicaId| self.info().roles.iter().position(|r| r.role == id.role);
        match self.info().replica_of("j", pod) {
            Some(id) => (place(id).unwrap_or(0), id.index.0),
            None => (0, 0),
        }
    }

    /// Waits until a condition holds and nothing changes any more.
    ///
    /// # Panics
    /// If that takes too long.
    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let begun = tokio::time::Instant::now();
        let (mut seen, mut since) = (0, begun);
        loop {
            let now = tokio::time::Instant::now();
            let changes = self.shared.lock().server.store.changes;
            if changes != seen {
                (seen, since) = (changes, now);
            }
            if now - since >= CALM && holds(self) {
                return;
            }
            if now - begun >= PATIENCE {
                let pods = self.pods();
                let pods: Vec<_> = pods.iter().map(|p| (name(p), phase(p))).collect();
                let (scenario, kind, job) = (self.scenario, self.info().kind, self.job());
                panic!(
                    "{scenario} of {kind}: waits until {what}: {pods:?} {}",
                    job["status"]
                );
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// Waits until the job and all its pods run.
    pub async fn runs(&self) {
        self.until("it runs", |t| {
            let pods = t.pods();
            let wanted = t.wanted();
            pods.len() >= wanted
                && pods.iter().filter(|p| phase(p) == "Running").count() >= wanted
                && value::is_true(&t.job(), "Running")
        })
        .await;
    }

    /// Number of replicas in the spec.
    #[must_use]
    pub fn wanted(&self) -> usize {
        let job = self.job();
        let roles = job["spec"][self.info().replicas_field]
            .as_object()
            .cloned()
            .unwrap_or_default();
        let counts = roles.values().map(|role| role["replicas"].as_u64().unwrap_or(1));
        usize::try_from(counts.sum::<u64>()).unwrap_or(0)
    }

    /// Waits until the job has ended.
    pub async fn ends(&self) {
        self.until("it ends", |t| !crate::checker::end_of(&t.job()).is_empty())
            .await;
    }

    /// After a failure: the job runs again, and then succeeds.
    pub async fn goes_on(&self) {
        tokio::time::sleep(Duration::from_secs(2)).await;
        self.runs().await;
        self.finish().await;
        self.ends().await;
    }

    /// Lets pods succeed, the last one first, with a pause between them.
    pub async fn finish(&self) {
        let keys: Vec<Key> = self.pods().iter().rev().map(|pod| pod_key(pod)).collect();
        for key in keys {
            self.shared.store(|store| kubernetes::fail(store, &key, 0, None));
            tokio::time::sleep(CALM).await;
        }
    }

    /// Applies a change to the pod of the last replica.
    pub fn to_last(&self, what: impl FnOnce(&mut Store, &Key)) {
        let pods = self.pods();
        let key = pods.last().map(|pod| pod_key(pod)).expect("a pod");
        self.shared.store(|store| what(store, &key));
    }

    /// Applies a change to the pod of the first replica.
    pub fn to_first(&self, what: impl FnOnce(&mut Store, &Key)) {
        let pods = self.pods();
        let key = pods.first().map(|pod| pod_key(pod)).expect("a pod");
        self.shared.store(|store| what(store, &key));
    }

    /// Sets a field of the spec, by JSON pointer.
    pub fn edit(&self, pointer: &str, value: Value) {
        self.shared.edit(&self.key(), Who::User, |job| {
            let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
            let parent = job["spec"].pointer_mut(parent).expect("a parent");
            parent[field] = value;
        });
    }

    /// Sets the number of replicas of the scaled role.
    pub fn scale(&self, count: u32) {
        let role = self.info().scaled_role.expect("a role that is scaled");
        self.edit(
            &format!("/{}/{role}/replicas", self.info().replicas_field),
            json!(count),
        );
    }

    /// Node of the last pod.
    #[must_use]
    pub fn node(&self) -> String {
        let pods = self.pods();
        pods.last()
            .map(|pod| text(pod, "/spec/nodeName").to_owned())
            .unwrap_or_default()
    }

    /// True if no pod of the job is left, or only ended ones.
    #[must_use]
    pub fn has_no_pods(&self) -> bool {
        self.pods()
            .iter()
            .all(|pod| value::has_ended(pod) && !deleting(pod))
            || self.pods().is_empty()
    }
}

/// Key of a pod.
#[must_use]
pub fn pod_key(pod: &Value) -> Key {
    Key::new(PODS, text(pod, "/metadata/namespace"), name(pod))
}
