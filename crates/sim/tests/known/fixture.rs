//! Where the scenarios play: a cluster, a job named `j`, an operator whose requests and watches a scenario has in its hands.

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
/// Longest time until all is quiet.
const PATIENCE: Duration = Duration::from_hours(6);

/// What the operator makes anew to compare it, when it begins and every ten minutes: being told that it is there changes
/// nothing.
const COMPARED: [&str; 5] = [
    "configmaps",
    "secrets",
    "serviceaccounts",
    "roles",
    "rolebindings",
];

/// All kinds, and all meanings of each.
pub(crate) fn kinds() -> Vec<&'static dyn Framework> {
    meanings(FRAMEWORKS)
}

/// What a scenario makes of a request; nothing, if it is none of its business.
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

/// By which a rule is ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RuleId(usize);

impl Network {
    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on `rule` says what becomes of requests; the first rule that says anything holds.
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

    /// Watches of this plural stand still until they are released.
    pub(crate) fn hold(&self, plural: &str) {
        self.lock().held.insert(plural.to_owned());
    }

    /// They go on.
    pub(crate) fn release(&self, plural: &str) {
        self.lock().held.remove(plural);
    }

    /// Watches of this plural are late by so much.
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

/// A trip that ends in a refusal.
pub(crate) fn refused(refusal: Refusal) -> Trip {
    with_fault(Fault::Refused(refusal))
}

/// A trip without an answer; the connection is seen to break.
pub(crate) fn lost(served: bool) -> Trip {
    with_fault(Fault::Lost { served, broken: true })
}

/// A trip that ends like this.
pub(crate) fn with_fault(fault: Fault) -> Trip {
    Trip {
        fault,
        ..Trip::UNDISTURBED
    }
}

/// How a fixture is to be.
#[derive(Clone)]
pub(crate) struct FixtureOptions {
    pub(crate) setup: Setup,
    pub(crate) gang: GangChoice,
    pub(crate) settings: Settings,
    pub(crate) elected: bool,
    /// Replicas of each role, as far as it may have so many.
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
    /// With a gang scheduler.
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

/// Whether a role of the kind is carried by batch Jobs, which have rules of their own about restarts.
pub(crate) fn by_batch_job(info: &KindInfo) -> bool {
    info.roles.iter().any(|role| role.workload == Workload::BatchJob)
}

/// Failed pods are replaced if their exit code says so, thrice at most.
pub(crate) fn replaced(info: &KindInfo, manifest: &mut Value) {
    manifest["spec"]["runPolicy"]["backoffLimit"] = json!(3);
    if !by_batch_job(info) {
        restart_policy(info, manifest, "ExitCode");
    }
}

/// Gives all roles this restart policy.
pub(crate) fn restart_policy(info: &KindInfo, manifest: &mut Value, policy: &str) {
    let roles = manifest["spec"][info.replicas_field].as_object_mut();
    for role in roles.into_iter().flat_map(|roles| roles.values_mut()) {
        role["restartPolicy"] = json!(policy);
    }
}

/// A cluster whose pods take so long to end.
pub(crate) fn slow_to_stop(seconds: u64) -> Setup {
    Setup {
        pace: Pace {
            stop: (seconds * 1000, 0),
            ..Pace::STEADY
        },
        ..Setup::default()
    }
}

/// A cluster, a job of a kind, and an operator. All of `TestJob` can be said of it.
pub(crate) struct Fixture {
    _cluster: Cluster,
    test_job: TestJob,
    /// The operator's clock.
    pub(crate) clock: WallClock,
    /// What befalls its requests and watches.
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
    /// A cluster with an operator and without a job.
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

    /// The same with a job, the usual one but for what `edit` makes of it.
    pub(crate) fn new(
        framework: &'static dyn Framework,
        options: FixtureOptions,
        edit: impl FnOnce(&mut Value),
    ) -> Self {
        let fixture = Self::empty(framework, options);
        fixture.create(edit);
        fixture
    }

    /// A job that runs, and nothing special about it.
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

    /// The operator dies, and another one begins.
    pub(crate) fn restart(&mut self) {
        self.crash();
        self.start();
    }

    /// Waits until the operator has died of a request; then another one begins.
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

    /// All watches must list again: what they could go on from is forgotten.
    pub(crate) fn relist(&self, plurals: &[&str]) {
        self.shared.store(Store::compact);
        self.disturb(plurals, &Frame::Gone);
    }

    /// A watch that stands still breaks off; what it had to tell is lost, and it must list again.
    pub(crate) async fn lose(&self, plural: &str) {
        self.relist(&[plural]);
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.network.release(plural);
    }

    /// Changes the job as a user, metadata too.
    pub(crate) fn edit_job(&self, edit: impl FnOnce(&mut Value)) {
        self.shared.edit(&self.key(), Who::User, edit);
    }

    /// A change of the job that says nothing.
    pub(crate) fn nudge(&self, text: &str) {
        self.edit_job(|job| {
            value::metadata(job).insert("annotations".to_owned(), json!({"nudge": text}));
        });
    }

    /// Deletes something as a user; `grace` in seconds, if it is not the object's own.
    pub(crate) fn delete(&self, key: &Key, grace: Option<i64>) {
        let options = DeleteOptions {
            grace,
            propagation: Some("Background".to_owned()),
            ..DeleteOptions::default()
        };
        let deleted = self.shared.store(|store| store.delete(Who::User, key, &options));
        assert!(deleted.is_ok(), "{deleted:?}");
    }

    /// Where the pod of this name is.
    pub(crate) fn pod(name: &str) -> Key {
        Key::new(PODS, NAMESPACE, name)
    }

    /// Names of the pods, in the order of their slots.
    pub(crate) fn pod_names(&self) -> Vec<String> {
        self.pods()
            .iter()
            .map(|pod| value::name(pod).to_owned())
            .collect()
    }

    /// What the operator has asked to be changed so far, leases left out: answer and request. `---` instead of an answer
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

    /// How many of the writes so far contain this text.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.writes().iter().filter(|line| line.contains(text)).count()
    }

    /// Waits until nothing has been written for a long while.
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

    /// The scenario is over: all grows quiet, no relist and no new process find anything to do, nothing is left of what has
    /// gone, and the judge has nothing to say.
    ///
    /// # Panics
    /// If it is otherwise.
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

    /// What must hold at any time; and that there are no orphans.
    ///
    /// # Panics
    /// If it does not.
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

/// The usual job of every kind runs, ends well, and then all is quiet.
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
