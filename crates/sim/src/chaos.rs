//! Chaos runs: requests and watches fail, operators die, the fault injector changes pods, nodes and jobs. Then the faults
//! end, and the job must come to its end. A run is a function of its seed.

mod case;
mod random_faults;
mod recovery;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::Framework;
use tokio::time::Instant;

use crate::cluster::{Cluster, NAMESPACE, Shared};
use crate::fault_injector::FaultInjector;
use crate::fault_log::FaultLog;
use crate::link::Link;
use crate::process::{Process, WallClock};
use crate::rng::Rng;
use crate::store::Key;
use crate::types::Resource;

use case::Case;
use random_faults::RandomFaults;

/// Connections of the operators, by their place; `None` before the first process.
type Links = Arc<Mutex<Vec<Option<Link>>>>;

/// Result of a chaos run.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Seed.
    pub seed: u64,
    /// Kind and version.
    pub kind: String,
    /// Violations.
    pub violations: Vec<String>,
    /// Number of faults, by name.
    pub faults: BTreeMap<&'static str, usize>,
    /// Writes of operators, in order.
    pub writes: Vec<String>,
    /// All changes, if `traced`.
    pub trace: Vec<String>,
}

/// Chaos run of a seed. Each run of a seed is the same.
///
/// # Panics
/// If an operator ends for another reason than a fault or a lost lease.
#[must_use]
pub fn run(frameworks: &'static [&'static dyn Framework], seed: u64, traced: bool) -> Report {
    fastrand::seed(seed);
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let threads = builder
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    threads.block_on(run_seed(frameworks, seed, traced))
}

async fn run_seed(frameworks: &'static [&'static dyn Framework], seed: u64, traced: bool) -> Report {
    let mut rng = Rng::new(seed);
    let case = Case::new(frameworks, seed, &mut rng);
    let cluster = Cluster::start(frameworks, &case.setup);
    cluster.shared.lock().trace = traced.then(Vec::new);
    let info = case.framework.kind();
    let jobs = Resource::new(info.group, info.plural);
    let key = Key::new(jobs, NAMESPACE, "j");
    cluster.shared.create(jobs, &case.manifest);
    let operators = Operators {
        shared: &cluster.shared,
        case: &case,
        clock: WallClock::default(),
        log: FaultLog::default(),
        links: Arc::new(Mutex::new(vec![None; case.processes])),
    };
    let rngs: Vec<Rng> = (0..case.processes).map(|_| rng.fork()).collect();
    let all = rngs.into_iter().enumerate();
    let all = futures::future::join_all(all.map(|(place, rng)| operators.keep_running(place, rng)));
    let found = tokio::select! {
        found = inject_and_check(&operators, &key, &mut rng) => found,
        _ = all => Vec::new(),
    };
    let inside = cluster.shared.lock();
    let mut violations = inside.checker.violations.clone();
    violations.extend(found);
    violations.extend(operators.clock.complaint());
    Report {
        seed,
        kind: format!("{} {}", info.kind, info.version),
        violations,
        faults: operators.log.counts(),
        trace: inside.trace.clone().unwrap_or_default(),
        writes: inside
            .written
            .iter()
            .map(|w| format!("{:?} {} {}", w.who, w.code, w.line))
            .collect(),
    }
}

/// Injects faults for the time of the case, repairs what they have done, and checks what follows.
async fn inject_and_check(operators: &Operators<'_>, key: &Key, rng: &mut Rng) -> Vec<String> {
    let Operators { shared, case, .. } = operators;
    let injector = FaultInjector {
        shared: (*shared).clone(),
        job: key.clone(),
        framework: case.framework,
        clock: operators.clock.clone(),
        log: operators.log.clone(),
        links: Arc::clone(&operators.links),
        manifest: case.manifest.clone(),
        elected: case.conduct.elected,
    };
    let until = Instant::now() + Duration::from_secs(case.seconds);
    while Instant::now() < until {
        tokio::time::sleep(rng.millis(5000)).await;
        injector.inject(rng);
    }
    operators.log.end();
    injector.repair();
    let clock_jumped = operators.log.has_seen("clock jumped");
    recovery::check(shared, key, &case.conduct, clock_jumped).await
}

/// Operators of a chaos run.
struct Operators<'a> {
    shared: &'a Shared,
    case: &'a Case,
    clock: WallClock,
    log: FaultLog,
    links: Links,
}

impl Operators<'_> {
    /// Keeps one operator running: starts another process some time after one has ended.
    async fn keep_running(&self, place: usize, mut rng: Rng) {
        for n in 0.. {
            let faults = RandomFaults {
                rng: rng.fork(),
                force: self.case.force,
                log: self.log.clone(),
            };
            let number = 1 + place + n * self.case.processes;
            let mut process = Process::start(self.shared, number, &self.case.conduct, &self.clock, faults);
            if let Ok(mut links) = self.links.lock() {
                links[place] = Some(process.link.clone());
            }
            process.ended().await;
            self.log.note("process ended");
            drop(process);
            tokio::time::sleep(Duration::from_millis(100) + rng.millis(8000)).await;
        }
    }
}
