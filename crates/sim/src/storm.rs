//! A storm: requests and watches go wrong, operators die, others meddle; then it is over, and the job must come to its
//! end. Which storm it is, is a function of its seed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::gang::{Gang, PodGroupApi};
use common::testing::{meanings, whole};
use common::{Framework, Settings};
use runtime::GangChoice;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cluster::{Cluster, NAMESPACE, Setup, Shared, is_aside};
use crate::kubernetes::{Pace, fail, set_node};
use crate::link::{Fate, Link, Trip, Weather};
use crate::meddler::Meddler;
use crate::ops::DeleteOptions;
use crate::process::{Conduct, Process, WallClock};
use crate::quiet;
use crate::refusal::Refusal;
use crate::request::{Request, Verb};
use crate::rng::Rng;
use crate::store::{Key, Store, Who};
use crate::types::{NODES, PODS, Resource};
use crate::value::{self, text};

/// Longest time that a job may take to end once the storm is over.
const PATIENCE: Duration = Duration::from_hours(3);
/// Who was told to wake at a time by a clock that was wrong looks by himself after ten minutes, and a little more.
const SAFETY: Duration = Duration::from_mins(13);
/// Longer than any back-off: what has not changed for so long is at rest.
const RESTS: Duration = Duration::from_mins(2);
/// By then what belongs to nobody is collected.
const COLLECTED: Duration = Duration::from_mins(3);
/// Longer than anything the operator does by the clock while nothing happens.
const SETTLED: Duration = Duration::from_mins(15);
/// In this time it must not write at all.
const SILENT: Duration = Duration::from_mins(20);

/// What a storm has done.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Seed.
    pub seed: u64,
    /// Kind and version.
    pub kind: String,
    /// What was wrong.
    pub violations: Vec<String>,
    /// How often what happened.
    pub faults: BTreeMap<&'static str, usize>,
    /// Writes of operators, in order.
    pub writes: Vec<String>,
    /// All changes, if they were asked for.
    pub trace: Vec<String>,
}

/// How often what happened; whether the storm is over.
#[derive(Debug, Clone, Default)]
pub struct Log {
    faults: Arc<Mutex<BTreeMap<&'static str, usize>>>,
    over: Arc<AtomicBool>,
}

impl Log {
    /// Something happens.
    pub fn note(&self, what: &'static str) {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        *faults.entry(what).or_default() += 1;
    }

    fn has_seen(&self, what: &str) -> bool {
        let faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.contains_key(what)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

/// Bad weather for one process.
struct Bad {
    rng: Rng,
    /// How bad, from 0.
    force: usize,
    log: Log,
}

impl Weather for Bad {
    fn trip(&mut self, request: &Request) -> Trip {
        if self.log.is_over() {
            return Trip::FAIR;
        }
        let mut delay = |often: usize, most: usize| {
            let often = often * self.force;
            if self.rng.once_in(often) {
                self.rng.millis(most)
            } else {
                Duration::ZERO
            }
        };
        let (there, back) = (delay(100, 300) + delay(5, 9000), delay(100, 300) + delay(5, 9000));
        Trip {
            there,
            fate: self.fate(request),
            back,
        }
    }

    fn lag(&mut self, _plural: &str) -> Duration {
        if self.log.is_over() || !self.rng.once_in(100 * self.force) {
            return Duration::ZERO;
        }
        self.log.note("watch lags");
        self.rng.millis(3000)
    }
}

impl Bad {
    fn fate(&mut self, request: &Request) -> Fate {
        if !self.rng.once_in(40 * self.force) {
            return Fate::Served;
        }
        let writes = request.verb.writes();
        let changes = writes && request.verb != Verb::Create;
        let (what, fate) = match self.rng.below(8) {
            0 if changes => (
                "409",
                Fate::Refused(Refusal::conflict(PODS, &request.name, "injected")),
            ),
            1 => (
                "429",
                Fate::Refused(Refusal::too_many(
                    1 + u32::try_from(self.rng.below(5)).unwrap_or(0),
                )),
            ),
            2 => ("no answer, not carried out", lost(false, false)),
            3 if writes => ("no answer, carried out", lost(true, false)),
            4 => ("connection broken before", lost(false, true)),
            5 if writes => ("connection broken after", lost(true, true)),
            6 if writes && !is_aside(request) => (
                "death",
                Fate::Fatal {
                    carried_out: self.rng.once_in(500),
                },
            ),
            _ => ("500", Fate::Refused(Refusal::internal())),
        };
        self.log.note(what);
        fate
    }
}

fn lost(carried_out: bool, broken: bool) -> Fate {
    Fate::Lost { carried_out, broken }
}

/// What a storm is about.
struct Case {
    framework: &'static dyn Framework,
    manifest: Value,
    setup: Setup,
    conduct: Conduct,
    processes: usize,
    force: usize,
    seconds: u64,
}

impl Case {
    fn new(frameworks: &'static [&'static dyn Framework], seed: u64, rng: &mut Rng) -> Self {
        let kinds = meanings(frameworks);
        let framework = kinds[usize::try_from(seed).unwrap_or(0) % kinds.len()];
        let gang = rng.below(10);
        let (gang, served) = match gang {
            0 | 1 => (GangChoice::Auto, Some(PodGroupApi::Native)),
            2 => (GangChoice::Fixed(Gang::Volcano), Some(PodGroupApi::Volcano)),
            _ => (GangChoice::Auto, None),
        };
        let elected = rng.once_in(300);
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

/// A job with policies of all kinds.
pub fn manifest(framework: &'static dyn Framework, rng: &mut Rng) -> Value {
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
    if rng.once_in(600) {
        policy["backoffLimit"] = json!(rng.below(9));
    }
    if rng.once_in(100) {
        policy["activeDeadlineSeconds"] = json!(20 + rng.below(300));
    }
    if rng.once_in(200) {
        policy["ttlSecondsAfterFinished"] = json!(rng.below(60));
    }
    if rng.once_in(300) {
        policy["restartScope"] = json!("Job");
    }
    if rng.once_in(100) {
        policy["suspend"] = json!(true);
    }
    manifest["spec"]["runPolicy"] = policy;
    manifest
}

/// Plays the storm of a seed. Every play of the same is the same.
///
/// # Panics
/// If the operator ends in a way that it must not.
#[must_use]
pub fn play(frameworks: &'static [&'static dyn Framework], seed: u64, traced: bool) -> Report {
    fastrand::seed(seed);
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let threads = builder
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    threads.block_on(run(frameworks, seed, traced))
}

async fn run(frameworks: &'static [&'static dyn Framework], seed: u64, traced: bool) -> Report {
    let mut rng = Rng::new(seed);
    let case = Case::new(frameworks, seed, &mut rng);
    let cluster = Cluster::start(frameworks, &case.setup);
    cluster.shared.lock().trace = traced.then(Vec::new);
    let info = case.framework.kind();
    let jobs = Resource::new(info.group, info.plural);
    let key = Key::new(jobs, NAMESPACE, "j");
    cluster.shared.create(jobs, &case.manifest);
    let log = Log::default();
    let clock = WallClock::default();
    let links: Arc<Mutex<Vec<Option<Link>>>> = Arc::new(Mutex::new(vec![None; case.processes]));
    let mut rngs: Vec<Rng> = (0..case.processes).map(|_| rng.fork()).collect();
    let supervisors = rngs.iter_mut().enumerate().map(|(place, rng)| {
        supervise(
            &cluster.shared,
            &case,
            &clock,
            &log,
            rng,
            place,
            Arc::clone(&links),
        )
    });
    let supervisors = futures::future::join_all(supervisors);
    let meddler = Meddler {
        shared: cluster.shared.clone(),
        job: key.clone(),
        framework: case.framework,
        clock: clock.clone(),
        log: log.clone(),
        links,
        manifest: case.manifest.clone(),
        elected: case.conduct.elected,
    };
    let story = async {
        let until = Instant::now() + Duration::from_secs(case.seconds);
        while Instant::now() < until {
            tokio::time::sleep(rng.millis(5000)).await;
            meddler.meddle(&mut rng);
        }
        log.over.store(true, Ordering::SeqCst);
        meddler.mend();
        if log.has_seen("clock jumped") {
            tokio::time::sleep(SAFETY).await;
        }
        let mut found = rest(&cluster.shared, &key, &case.conduct).await;
        found.extend(calm(&cluster.shared, &key).await);
        found.extend(quiet::left_to_do(
            &cluster.shared.lock().server.store,
            &case.conduct,
        ));
        found.extend(end(&cluster.shared, &key).await);
        found
    };
    let found = tokio::select! {
        found = story => found,
        _ = supervisors => Vec::new(),
    };
    let inside = cluster.shared.lock();
    let mut violations = inside.judge.violations.clone();
    violations.extend(found);
    violations.extend(clock.complaint());
    let faults = log.faults.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Report {
        seed,
        kind: format!("{} {}", info.kind, info.version),
        violations,
        faults,
        trace: inside.trace.clone().unwrap_or_default(),
        writes: inside
            .written
            .iter()
            .map(|w| format!("{:?} {} {}", w.who, w.code, w.line))
            .collect(),
    }
}

/// Keeps one process running.
async fn supervise(
    shared: &Shared,
    case: &Case,
    clock: &WallClock,
    log: &Log,
    rng: &mut Rng,
    place: usize,
    links: Arc<Mutex<Vec<Option<Link>>>>,
) {
    for n in 0.. {
        let weather = Bad {
            rng: rng.fork(),
            force: case.force,
            log: log.clone(),
        };
        let number = 1 + place + n * case.processes;
        let mut process = Process::start(shared, number, &case.conduct, clock, weather);
        if let Ok(mut links) = links.lock() {
            links[place] = Some(process.link.clone());
        }
        process.ended().await;
        log.note("process ended");
        drop(process);
        tokio::time::sleep(Duration::from_millis(100) + rng.millis(8000)).await;
    }
}

/// The storm is over: as soon as nothing changes any more, nothing is left to do.
async fn rest(shared: &Shared, key: &Key, conduct: &Conduct) -> Vec<String> {
    let changes = || shared.lock().server.store.stirs;
    let begun = Instant::now();
    let mut before = changes();
    loop {
        tokio::time::sleep(RESTS).await;
        let now = changes();
        if now == before {
            return quiet::left_to_do(&shared.lock().server.store, conduct);
        }
        // A job with a pod that waits for ever may be told of over and over.
        if begun.elapsed() > PATIENCE {
            return vec![format!("does not come to rest: {}", describe(shared, key))];
        }
        before = now;
    }
}

/// The job is deleted, if it is still there: nothing is left of it.
async fn end(shared: &Shared, key: &Key) -> Vec<String> {
    let options = DeleteOptions {
        propagation: Some("Background".to_owned()),
        ..DeleteOptions::default()
    };
    let _ = shared.store(|store| store.delete(MEDDLER, key, &options));
    tokio::time::sleep(COLLECTED).await;
    quiet::left_over(&shared.lock().server.store)
}

/// The storm is over: the job ends, and then nothing is written any more.
async fn calm(shared: &Shared, key: &Key) -> Vec<String> {
    let begun = Instant::now();
    let over = |job: &Option<crate::store::Object>| {
        job.as_ref()
            .is_none_or(|job| !crate::judge::end_of(job).is_empty())
    };
    loop {
        // A clock that is right again may have to catch up with what was decided when it was wrong.
        tokio::time::sleep(Duration::from_secs(20)).await;
        let job = shared.get(key);
        if over(&job) {
            break;
        }
        if begun.elapsed() > PATIENCE {
            return vec![format!("does not end: {}", describe(shared, key))];
        }
        shared.store(|store| {
            for key in running(store) {
                fail(store, &key, 0, None);
            }
        });
    }
    tokio::time::sleep(SETTLED).await;
    let writes = || {
        let inside = shared.lock();
        let ours = inside.written.iter().filter(|w| !w.line.contains("leases/"));
        ours.map(|w| format!("{} {}", w.code, w.line)).collect::<Vec<_>>()
    };
    let before = writes().len();
    tokio::time::sleep(SILENT).await;
    let later = writes().split_off(before);
    let mut found = Vec::new();
    if !later.is_empty() {
        found.push(format!("still writes: {later:?}: {}", describe(shared, key)));
    }
    if shared
        .get(key)
        .is_some_and(|job| crate::judge::end_of(&job).is_empty())
    {
        found.push(format!("its end is gone: {}", describe(shared, key)));
    }
    found
}

fn running(store: &Store) -> Vec<Key> {
    let pods = store
        .list(PODS, "")
        .filter(|(_, pod)| value::phase(pod) == "Running");
    pods.map(|(key, _)| key.clone()).collect()
}

fn describe(shared: &Shared, key: &Key) -> String {
    let pods: Vec<String> = shared
        .list(PODS)
        .iter()
        .map(|pod| {
            let deleting = if value::deleting(pod) { " deleting" } else { "" };
            let attempt = value::label(pod, common::names::ATTEMPT).unwrap_or("-");
            format!(
                "{} {attempt} {}{deleting} on {}",
                value::name(pod),
                value::phase(pod),
                text(pod, "/spec/nodeName")
            )
        })
        .collect();
    let job = shared.get(key).map(|job| (*job).clone()).unwrap_or_default();
    format!(
        "pods {pods:?}, status {}, policy {}",
        job["status"], job["spec"]["runPolicy"]
    )
}

/// All nodes answer again.
pub(crate) fn mend_nodes(store: &mut Store) {
    let nodes: Vec<String> = store.list(NODES, "").map(|(key, _)| key.name.clone()).collect();
    for node in nodes {
        set_node(store, &node, true);
    }
}

/// By whom meddling is done.
pub(crate) const MEDDLER: Who = Who::User;
