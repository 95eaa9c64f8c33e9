//! Fixture of the scenarios: a cluster, a job named `j`, an operator whose requests and watches a scenario controls.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::gang::{Gang, PodGroupApi};
use common::kind::Workload;
use common::testing::{meanings, whole};
use common::{Framework, KindInfo, Settings};
use operator::FRAMEWORKS;
use runtime::GangChoice;
use serde_json::{Value, json};
use sim::cluster::{Cluster, NAMESPACE, Setup};
use sim::kubernetes::Pace;
use sim::network_faults::{Fault, NetworkFaults, Trip};
use sim::ops::DeleteOptions;
use sim::process::{Conduct, Process, WallClock};
use sim::refusal::Refusal;
use sim::request::Request;
use sim::scenario::TestJob;
use sim::store::{Frame, Key, Object, Store, Who};
use sim::types::{PODS, Resource};
use sim::value;

/// Longer than anything the operator does by the clock while nothing happens.
const SETTLED: Duration = Duration::from_mins(15);
/// Longest time until nothing is written any more.
const PATIENCE: Duration = Duration::from_hours(6);

/// Resources that the operator creates again in order to compare them, when it begins and every ten minutes: the answer
/// "already exists" changes nothing.
const COMPARED: [&str; 5] = [
    "configmaps",
    "secrets",
    "serviceaccounts",
    "roles",
    "rolebindings",
];

/// All kinds, and all dialects of each.
pub(crate) fn kinds() -> Vec<&'static dyn Framework> {
    meanings(FRAMEWORKS)
}

/// Rule for requests: the way of a request, or `None` if the rule does not apply to it.
type Rule = Box<dyn FnMut(&Request) -> Option<Trip> + Send>;

#[derive(Default)]
struct Inside {
    rules: BTreeMap<usize, Rule>,
    next_rule: usize,
    held: BTreeSet<String>,
    lags: BTreeMap<String, Duration>,
    disturbed: Vec<String>,
}

/// Network faults that a scenario changes as it goes on; they stay when the process is replaced.
#[derive(Clone, Default)]
pub(crate) struct Network(Arc<Mutex<Inside>>);

/// Identity of a rule, to end it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RuleId(usize);

impl Network {
    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a rule for requests. The first rule that applies to a request decides.
    pub(crate) fn rule(&self, rule: impl FnMut(&Request) -> Option<Trip> + Send + 'static) -> RuleId {
        let mut inside = self.lock();
        inside.next_rule += 1;
        let id = inside.next_rule;
        inside.rules.insert(id, Box::new(rule));
        RuleId(id)
    }

    /// Ends a rule.
    pub(crate) fn end(&self, rule: RuleId) {
        self.lock().rules.remove(&rule.0);
    }

    /// Holds watches of this plural until they are released.
    pub(crate) fn hold(&self, plural: &str) {
        self.lock().held.insert(plural.to_owned());
    }

    /// Releases the watches of this plural.
    pub(crate) fn release(&self, plural: &str) {
        self.lock().held.remove(plural);
    }

    /// Delays watches of this plural.
    pub(crate) fn lag(&self, plural: &str, by: Duration) {
        self.lock().lags.insert(plural.to_owned(), by);
    }
}

impl NetworkFaults for Network {
    fn trip(&mut self, request: &Request) -> Trip {
        // A rule may change the rules.
        let mut rules = std::mem::take(&mut self.lock().rules);
        let trip = rules.values_mut().find_map(|rule| rule(request));
        let trip = trip.unwrap_or(Trip::UNDISTURBED);
        let mut inside = self.lock();
        inside.rules.append(&mut rules);
        if request.verb.writes() && !matches!(trip.fault, Fault::None) {
            inside.disturbed.push(format!("--- {}", request.line()));
        }
        trip
    }

    fn lag(&mut self, plural: &str) -> Duration {
        self.lock().lags.get(plural).copied().unwrap_or_default()
    }

    fn holds(&mut self, plural: &str) -> bool {
        self.lock().held.contains(plural)
    }
}

/// Way of a request that is refused.
pub(crate) fn refused(refusal: Refusal) -> Trip {
    with_fault(Fault::Refused(refusal))
}

/// Way of a request without an answer; the client sees the connection break.
pub(crate) fn lost(served: bool) -> Trip {
    with_fault(Fault::Lost { served, broken: true })
}

/// Way of a request with this fault.
pub(crate) fn with_fault(fault: Fault) -> Trip {
    Trip {
        fault,
        ..Trip::UNDISTURBED
    }
}

/// Options of a fixture.
#[derive(Clone)]
pub(crate) struct FixtureOptions {
    pub(crate) setup: Setup,
    pub(crate) gang: GangChoice,
    pub(crate) settings: Settings,
    pub(crate) elected: bool,
    /// Replicas of each role, as far as its maximum allows.
    pub(crate) replicas: u32,
}

impl Default for FixtureOptions {
    fn default() -> Self {
        Self {
            setup: Setup::default(),
            gang: GangChoice::Auto,
            settings: Settings::default(),
            elected: false,
            replicas: 2,
        }
    }
}

impl FixtureOptions {
    /// Options with a gang scheduler.
    pub(crate) fn gang(api: PodGroupApi) -> Self {
        let (gang, served) = match api {
            PodGroupApi::Native => (GangChoice::Auto, api),
            PodGroupApi::Volcano => (GangChoice::Fixed(Gang::Volcano), api),
            PodGroupApi::Coscheduling => (
                GangChoice::Fixed(Gang::Coscheduling {
                    scheduler: "scheduler-plugins".to_owned(),
                }),
                api,
            ),
        };
        Self {
            gang,
            setup: Setup {
                pod_groups: vec![served],
                ..Setup::default()
            },
            ..Self::default()
        }
    }
}

/// True if batch Jobs carry a role of the kind: they have their own rules about restarts.
pub(crate) fn by_batch_job(info: &KindInfo) -> bool {
    info.roles.iter().any(|role| role.workload == Workload::BatchJob)
}

/// Failed pods are replaced if their exit code says so, three times at most.
pub(crate) fn replaced(info: &KindInfo, manifest: &mut Value) {
    manifest["spec"]["runPolicy"]["backoffLimit"] = json!(3);
    if !by_batch_job(info) {
        restart_policy(info, manifest, "ExitCode");
    }
}

/// Sets the restart policy of all roles.
pub(crate) fn restart_policy(info: &KindInfo, manifest: &mut Value, policy: &str) {
    let roles = manifest["spec"][info.replicas_field].as_object_mut();
    for role in roles.into_iter().flat_map(|roles| roles.values_mut()) {
        role["restartPolicy"] = json!(policy);
    }
}

/// A cluster whose pods take so many seconds to end.
pub(crate) fn slow_to_stop(seconds: u64) -> Setup {
    Setup {
        pace: Pace {
            stop: (seconds * 1000, 0),
            ..Pace::STEADY
        },
        ..Setup::default()
    }
}

/// A cluster, a job of a kind, and an operator. It has all methods of `TestJob`.
pub(crate) struct Fixture {
    _cluster: Cluster,
    test_job: TestJob,
    /// Clock of the operator.
    pub(crate) clock: WallClock,
    /// Network faults of the operator.
    pub(crate) network: Network,
    options: FixtureOptions,
    process: Option<Process>,
    processes: usize,
}

impl Deref for Fixture {
    type Target = TestJob;

    fn deref(&self) -> &TestJob {
        &self.test_job
    }
}

impl Fixture {
    /// A cluster with an operator and no job.
    pub(crate) fn empty(framework: &'static dyn Framework, options: FixtureOptions) -> Self {
        fastrand::seed(1);
        let cluster = Cluster::start(FRAMEWORKS, &options.setup);
        let mut fixture = Self {
            test_job: TestJob::new("known", cluster.shared.clone(), framework),
            _cluster: cluster,
            clock: WallClock::default(),
            network: Network::default(),
            options,
            process: None,
            processes: 0,
        };
        fixture.start();
        fixture
    }

    /// A cluster with an operator and the usual job, edited.
    pub(crate) fn new(
        framework: &'static dyn Framework,
        options: FixtureOptions,
        edit: impl FnOnce(&mut Value),
    ) -> Self {
        let fixture = Self::empty(framework, options);
        fixture.create(edit);
        fixture
    }

    /// A cluster with an operator and the usual job, once it runs.
    pub(crate) async fn running(framework: &'static dyn Framework) -> Self {
        let fixture = Self::new(framework, FixtureOptions::default(), |_| {});
        fixture.runs().await;
        fixture
    }

    /// Creates the job.
    pub(crate) fn create(&self, edit: impl FnOnce(&mut Value)) -> Object {
        let mut manifest = whole(self.framework, self.options.replicas);
        edit(&mut manifest);
        self.shared.create(self.resource(), &manifest)
    }

    /// Starts the next process of the operator.
    ///
    /// # Panics
    /// If one runs.
    pub(crate) fn start(&mut self) {
        assert!(self.process.is_none(), "there is one");
        self.processes += 1;
        self.process = Some(self.another(self.processes));
    }

    /// Starts a further process of this number, with the same network faults.
    pub(crate) fn another(&self, number: usize) -> Process {
        let conduct = Conduct {
            frameworks: FRAMEWORKS.to_vec(),
            settings: self.options.settings.clone(),
            gang: self.options.gang.clone(),
            elected: self.options.elected,
        };
        Process::start(&self.shared, number, &conduct, &self.clock, self.network.clone())
    }

    /// The operator dies.
    pub(crate) fn crash(&mut self) {
        self.process = None;
    }

    /// The operator dies, and another one starts.
    pub(crate) fn restart(&mut self) {
        self.crash();
        self.start();
    }

    /// Waits until the operator has died of a fault; then another one starts.
    pub(crate) async fn restart_once_dead(&mut self) {
        if let Some(process) = &mut self.process {
            let ended = tokio::time::timeout(SETTLED, process.ended()).await;
            assert!(ended.is_ok(), "{}: it has not died", self.test_job.info().kind);
        }
        self.restart();
    }

    /// Lets time pass.
    pub(crate) async fn pass(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    /// Ends the watches of these plurals; of all, if none is named.
    pub(crate) fn disturb(&self, plurals: &[&str], frame: &Frame) {
        let hit = |resource: Resource| plurals.is_empty() || plurals.contains(&resource.plural);
        self.shared.store(|store| store.disturb(frame, hit));
    }

    /// Makes all watches list again: the history that they could continue from is forgotten.
    pub(crate) fn relist(&self, plurals: &[&str]) {
        self.shared.store(Store::compact);
        self.disturb(plurals, &Frame::Gone);
    }

    /// Ends a held watch; the events that it has kept are lost, and it must list again.
    pub(crate) async fn lose(&self, plural: &str) {
        self.relist(&[plural]);
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.network.release(plural);
    }

    /// Edits the job as a user, metadata included.
    pub(crate) fn edit_job(&self, edit: impl FnOnce(&mut Value)) {
        self.shared.edit(&self.key(), Who::User, edit);
    }

    /// Edits an annotation of the job, which changes nothing for the operator.
    pub(crate) fn nudge(&self, text: &str) {
        self.edit_job(|job| {
            value::metadata(job).insert("annotations".to_owned(), json!({"nudge": text}));
        });
    }

    /// Deletes an object as a user; `grace` in seconds replaces the grace period of the object.
    pub(crate) fn delete(&self, key: &Key, grace: Option<i64>) {
        let options = DeleteOptions {
            grace,
            propagation: Some("Background".to_owned()),
            ..DeleteOptions::default()
        };
        let deleted = self.shared.store(|store| store.delete(Who::User, key, &options));
        assert!(deleted.is_ok(), "{deleted:?}");
    }

    /// Key of the pod of this name.
    pub(crate) fn pod(name: &str) -> Key {
        Key::new(PODS, NAMESPACE, name)
    }

    /// Names of the pods, in rank order.
    pub(crate) fn pod_names(&self) -> Vec<String> {
        self.pods()
            .iter()
            .map(|pod| value::name(pod).to_owned())
            .collect()
    }

    /// Writes requested by the operator so far, without leases: code of the answer and request. `---` instead of a code
    /// stands for a request with a network fault.
    pub(crate) fn writes(&self) -> Vec<String> {
        let inside = self.shared.lock();
        let compared = |line: &str| {
            COMPARED
                .iter()
                .any(|plural| line.contains(&format!(" {plural}/")))
        };
        let mut writes: Vec<String> = inside
            .written
            .iter()
            .filter(|w| !w.line.contains(" leases"))
            .filter(|w| !(w.code == 409 && compared(&w.line)))
            .map(|w| format!("{} {}", w.code, w.line))
            .collect();
        drop(inside);
        writes.extend(self.network.lock().disturbed.iter().cloned());
        writes
    }

    /// Number of writes so far that contain this text.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.writes().iter().filter(|line| line.contains(text)).count()
    }

    /// Waits until nothing has been written for fifteen minutes.
    ///
    /// # Panics
    /// If that takes too long.
    pub(crate) async fn quiet(&self) {
        let begun = tokio::time::Instant::now();
        loop {
            let before = self.writes().len();
            tokio::time::sleep(SETTLED).await;
            let writes = self.writes();
            if writes.len() == before {
                return;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{}: is never quiet: {:?} {}",
                self.info().kind,
                writes.iter().rev().take(20).collect::<Vec<_>>(),
                self.job()["status"]
            );
        }
    }

    /// End of a scenario: writes stop, a relist and a new process find nothing to do, nothing is left of deleted objects, and
    /// the invariant checker has found nothing.
    ///
    /// # Panics
    /// If it is not so.
    pub(crate) async fn closes(mut self) {
        self.quiet().await;
        let before = self.writes();
        for _ in 0..3 {
            self.relist(&[]);
            self.pass(300).await;
        }
        self.restart();
        self.pass(1200).await;
        let later = self.writes().split_off(before.len());
        assert_eq!(
            later,
            [""; 0],
            "{}: writes after quiet: {}",
            self.info().kind,
            self.job()["status"]
        );
        self.is_right();
    }

    /// Checks that no invariant was violated, and that no object has lost its owner.
    ///
    /// # Panics
    /// If one was.
    pub(crate) fn is_right(&self) {
        let kind = self.info().kind;
        let inside = self.shared.lock();
        assert_eq!(inside.checker.violations, [""; 0], "{kind}");
        assert_eq!(self.clock.complaint(), None, "{kind}");
        let store = &inside.server.store;
        let orphans: Vec<&Key> = store
            .all()
            .filter(|(_, object)| {
                let owner = value::controller_uid(object);
                !owner.is_empty() && store.by_uid(owner).is_none()
            })
            .map(|(key, _)| key)
            .collect();
        assert!(orphans.is_empty(), "{kind}: {orphans:?}");
    }
}

/// The usual job of every kind runs and succeeds, and then nothing more is written.
#[tokio::test(start_paused = true)]
async fn the_fixture_itself() {
    for framework in kinds() {
        let fixture = Fixture::running(framework).await;
        fixture.finish().await;
        fixture.ends().await;
        assert!(value::is_true(&fixture.job(), "Succeeded"));
        fixture.closes().await;
    }
}
