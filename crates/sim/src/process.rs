//! The real operator as a process that can die.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use common::{Framework, Settings};
use jiff::{SignedDuration, Timestamp};
use runtime::{Clock, Exit, GangChoice, LeaseOptions, Options, RunError};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cluster::{NAMESPACE, Shared};
use crate::link::Link;
use crate::names::LEASE;
use crate::network_faults::NetworkFaults;
use crate::store::Who;

/// Options of an operator.
#[derive(Clone)]
pub struct Conduct {
    /// Kinds.
    pub frameworks: Vec<&'static dyn Framework>,
    /// Settings.
    pub settings: Settings,
    /// Gang scheduler.
    pub gang: GangChoice,
    /// True if it takes part in leader election.
    pub elected: bool,
}

/// A clock that may be wrong. It detects an operator that asks for the time again and again while time stands still: such an
/// operator loops without end.
#[derive(Debug, Clone, Default)]
pub struct WallClock {
    wrong: Arc<AtomicI64>,
    asked: Arc<Mutex<Option<(Instant, usize)>>>,
    circles: Arc<AtomicBool>,
    total: Arc<AtomicUsize>,
}

/// Number of times that the time may be asked for at one moment.
const CIRCLES: usize = 2000;

impl WallClock {
    /// Makes the clock wrong by so many seconds from now on.
    pub fn wrong_by(&self, seconds: i64) {
        self.wrong.store(seconds, Ordering::SeqCst);
    }

    /// The loop that the clock has detected, if any.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        let circles = self.circles.load(Ordering::SeqCst);
        circles.then(|| "the operator goes round in circles without any pause".to_owned())
    }

    /// Number of times that the time was asked for: once per reconcile, and once per event.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.total.load(Ordering::SeqCst)
    }

    fn count(&self, now: Instant) {
        self.total.fetch_add(1, Ordering::SeqCst);
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let times = asked
            .filter(|(at, _)| *at == now)
            .map_or(1, |(_, times)| times + 1);
        *asked = Some((now, times));
        drop(asked);
        if times > CIRCLES {
            self.circles.store(true, Ordering::SeqCst);
            // Nothing else ends the loop.
            panic!("the operator goes round in circles");
        }
    }

    fn clock(&self, cluster: &Shared) -> Clock {
        // The cluster must not be locked here: the time is asked for while it is.
        let (epoch, started, own) = (cluster.lock().server.store.now(), Instant::now(), self.clone());
        Clock::new(move || {
            own.count(Instant::now());
            let offset = SignedDuration::from_secs(own.wrong.load(Ordering::SeqCst));
            let now = epoch.checked_add(started.elapsed());
            now.and_then(|now| now.checked_add(offset))
                .unwrap_or(Timestamp::UNIX_EPOCH)
        })
    }
}

/// A running operator.
pub struct Process {
    /// Its connections.
    pub link: Link,
    task: JoinHandle<Result<Exit, RunError>>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.link.die();
        self.task.abort();
    }
}

impl Process {
    /// Starts an operator; `number` is that of the process.
    pub fn start(
        cluster: &Shared,
        number: usize,
        conduct: &Conduct,
        clock: &WallClock,
        network: impl NetworkFaults + 'static,
    ) -> Self {
        cluster.lock().checker.elected |= conduct.elected;
        let link = Link::new(cluster.clone(), Who::Operator(number), network);
        let client = kube::Client::new(link.clone(), NAMESPACE);
        let identity = format!("operator-{number}");
        let options = Options {
            namespace: None,
            concurrency: 8,
            settings: conduct.settings.clone(),
            gang: conduct.gang.clone(),
            metrics_address: "0".to_owned(),
            probe_address: "0".to_owned(),
            lease: conduct.elected.then(|| LeaseOptions {
                namespace: NAMESPACE.to_owned(),
                name: LEASE.to_owned(),
                identity: identity.clone(),
            }),
            instance: identity,
        };
        let clock = clock.clock(cluster);
        let run = runtime::run_with(
            client,
            clock,
            options,
            conduct.frameworks.clone(),
            CancellationToken::new(),
        );
        Self {
            link,
            task: tokio::spawn(run),
        }
    }

    /// Waits until it has ended or died.
    ///
    /// # Panics
    /// If it ends for another reason than a lost lease.
    pub async fn ended(&mut self) {
        tokio::select! {
            () = self.link.died() => {}
            ended = &mut self.task => match ended {
                Ok(Ok(Exit::LeaseLost)) => {}
                Ok(other) => panic!("the operator has ended: {other:?}"),
                Err(error) => panic!("the operator has ended: {error}"),
            }
        }
    }
}
