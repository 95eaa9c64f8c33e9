//! Work queue of job keys: deduplication, delays, back-off, one run per key at a time, and a bound on all runs together.
//!
//! Invariants:
//! * Of several times at which a key is due, the earliest holds.
//! * A key that is enqueued during its run runs once more.
//! * A run that panics or exceeds its deadline fails its own key only.
//! * A run that waits for a response that does not come makes room for others.
//! * High priority goes before low priority (finished jobs after a start), but low priority is never starved.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::future::Future;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::backoff;

/// First delay after a failure.
const FIRST_DELAY: Duration = Duration::from_millis(200);
/// Longest delay after failures.
const MAX_DELAY: Duration = Duration::from_mins(1);
/// Period between checks whether runs still wait for their turn.
const AGAIN: Duration = Duration::from_millis(500);
/// One run in this many takes a key of low priority, even while there are keys of high priority.
const LOW_PRIORITY_SHARE: u32 = 8;

/// Time of the next run of a key, as the last run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Requeue {
    /// The run succeeded. The key runs again after this time, if any, even if nothing happens.
    After(Option<Duration>),
    /// The run failed. The key runs again after its back-off, and not before this time.
    Backoff(Duration),
}

/// Priority of a key that is due.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Priority {
    /// Something happened to the job.
    #[default]
    High,
    /// The job needs a look at some time.
    Low,
}

/// State of one key.
#[derive(Debug, Default)]
struct Entry {
    /// Time at which the key becomes ready, with the number that orders equal times; also in `QueueState::timers`.
    due: Option<(Instant, u64)>,
    /// The key is in one of the two ready lists.
    ready: bool,
    running: bool,
    priority: Priority,
    /// Failed runs in a row.
    failures: u32,
}

#[derive(Debug)]
struct QueueState<K> {
    entries: HashMap<K, Entry>,
    /// Keys that are due, in order of time.
    timers: BTreeSet<(Instant, u64, K)>,
    /// Ready keys of high priority.
    high: VecDeque<K>,
    /// Ready keys of low priority.
    low: VecDeque<K>,
    /// Number of keys taken so far.
    picks: u32,
    sequence: u64,
    open: bool,
}

/// Work queue.
#[derive(Debug)]
pub(crate) struct Queue<K> {
    state: Mutex<QueueState<K>>,
    changed: Notify,
}

impl<K: Clone + Eq + Hash + Ord> Queue<K> {
    /// Creates an empty queue. No key can be taken until it is opened.
    pub(crate) fn new() -> Self {
        let state = QueueState {
            entries: HashMap::new(),
            timers: BTreeSet::new(),
            high: VecDeque::new(),
            low: VecDeque::new(),
            picks: 0,
            sequence: 0,
            open: false,
        };
        Self {
            state: Mutex::new(state),
            changed: Notify::new(),
        }
    }

    /// Lets keys be taken.
    pub(crate) fn open(&self) {
        self.lock().open = true;
        self.changed.notify_one();
    }

    /// Adds a key to which something happened.
    pub(crate) fn enqueue(&self, key: &K) {
        self.lock().schedule(key, Instant::now(), Priority::High);
        self.changed.notify_one();
    }

    /// Adds a key that needs a look at some time, after those of high priority.
    pub(crate) fn enqueue_low_priority(&self, key: &K) {
        self.lock().schedule(key, Instant::now(), Priority::Low);
        self.changed.notify_one();
    }

    /// Number of ready keys.
    pub(crate) fn depth(&self) -> usize {
        let state = self.lock();
        state.high.len() + state.low.len()
    }

    /// Takes the next key to run. The caller must call [`Self::finish`] afterwards. Cancel safe.
    pub(crate) async fn next(&self) -> K {
        loop {
            let due = {
                let mut state = self.lock();
                match state.take(Instant::now()) {
                    Ok(key) => return key,
                    Err(due) => due,
                }
            };
            match due {
                Some(due) => tokio::select! {
                    () = tokio::time::sleep_until(due) => {}
                    () = self.changed.notified() => {}
                },
                None => self.changed.notified().await,
            }
        }
    }

    /// Ends the run of a key.
    pub(crate) fn finish(&self, key: &K, requeue: &Requeue) {
        let mut state = self.lock();
        let Some(entry) = state.entries.get_mut(key) else {
            return;
        };
        entry.running = false;
        let delay = match requeue {
            Requeue::After(delay) => {
                entry.failures = 0;
                *delay
            }
            Requeue::Backoff(not_before) => {
                entry.failures = entry.failures.saturating_add(1);
                Some(backoff::delay(FIRST_DELAY, MAX_DELAY, entry.failures).max(*not_before))
            }
        };
        match delay {
            Some(delay) => state.schedule(key, Instant::now() + delay, Priority::High),
            None => state.drop_if_idle(key),
        }
        drop(state);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, QueueState<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash + Ord> QueueState<K> {
    /// Makes a key due at this time, or at the time at which it is due already, if that is earlier.
    fn schedule(&mut self, key: &K, at: Instant, priority: Priority) {
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
        let entry = self.entries.entry(key.clone()).or_default();
        let waits = entry.ready || entry.due.is_some();
        // One call with high priority makes the key high priority; the earliest time of all calls holds.
        let priority = match priority {
            Priority::Low if !waits => Priority::Low,
            Priority::Low => entry.priority,
            Priority::High => Priority::High,
        };
        let at = entry.due.map_or(at, |(due, _)| due.min(at));
        let unchanged = entry.ready || entry.due.is_some_and(|(due, _)| due == at);
        if unchanged && priority == entry.priority {
            return;
        }
        if let Some((due, number)) = entry.due.take() {
            self.timers.remove(&(due, number, key.clone()));
        }
        if entry.ready {
            self.low.retain(|k| k != key);
            entry.ready = false;
        }
        entry.priority = priority;
        entry.due = Some((at, sequence));
        self.timers.insert((at, sequence, key.clone()));
    }

    /// Takes the next key; or returns the time at which there may be one.
    fn take(&mut self, now: Instant) -> Result<K, Option<Instant>> {
        if !self.open {
            return Err(None);
        }
        let next = self.collect_due(now);
        let low_turn = self.picks % LOW_PRIORITY_SHARE == LOW_PRIORITY_SHARE - 1;
        let key = if low_turn {
            self.low.pop_front().or_else(|| self.high.pop_front())
        } else {
            self.high.pop_front().or_else(|| self.low.pop_front())
        };
        let Some(key) = key else { return Err(next) };
        self.picks = self.picks.wrapping_add(1);
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.ready = false;
            entry.running = true;
        }
        Ok(key)
    }

    /// Moves keys whose time has come to the ready lists. A running key stays due until its run has ended. Returns the time at
    /// which the next key is due.
    fn collect_due(&mut self, now: Instant) -> Option<Instant> {
        let mut busy = Vec::new();
        let next = loop {
            let Some((due, number, key)) = self.timers.pop_first() else {
                break None;
            };
            if due > now {
                self.timers.insert((due, number, key));
                break Some(due);
            }
            match self.entries.get_mut(&key) {
                Some(entry) if entry.running => busy.push((due, number, key)),
                Some(entry) => {
                    entry.due = None;
                    entry.ready = true;
                    let list = match entry.priority {
                        Priority::High => &mut self.high,
                        Priority::Low => &mut self.low,
                    };
                    list.push_back(key);
                }
                None => {}
            }
        };
        self.timers.extend(busy);
        next
    }

    /// Drops the entry of a key that is neither due, ready nor running, and did not fail.
    fn drop_if_idle(&mut self, key: &K) {
        if self
            .entries
            .get(key)
            .is_some_and(|e| e.due.is_none() && !e.ready && !e.running && e.failures == 0)
        {
            self.entries.remove(key);
        }
    }
}

/// Limits of the runs of a queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Number of runs at a time, not counting those that have taken longer than `patience`.
    pub(crate) concurrency: usize,
    /// Number of runs at a time, however long they take.
    pub(crate) most: usize,
    /// Time after which a run counts as waiting for a response, unless it waits for its turn.
    pub(crate) patience: Duration,
    /// Longest time for one run.
    pub(crate) deadline: Duration,
    /// Time that runs get to end after the last one has started.
    pub(crate) drain: Duration,
}

impl Limits {
    /// Earliest time at which there may be room for one more run, beside those started at the times `started`; `None` if there
    /// is room now. While runs wait for their turn (`turns`), all are counted: more of them would only make each take longer.
    fn room(
        &self,
        started: impl ExactSizeIterator<Item = Instant>,
        now: Instant,
        turns: bool,
    ) -> Option<Instant> {
        if turns && started.len() >= self.concurrency {
            return Some(now + AGAIN);
        }
        let ends = started.map(|started| started + self.patience);
        let mut counted: Vec<Instant> = ends.filter(|end| *end > now).collect();
        if counted.len() < self.concurrency {
            return None;
        }
        counted.sort_unstable();
        counted.get(counted.len() - self.concurrency).copied()
    }
}

/// Failure of a run that returned no [`Requeue`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunFailure {
    /// It panicked.
    Panic,
    /// It took longer than allowed.
    Deadline,
}

/// Runs under way, each with its key and the time at which it started.
struct Runs<'a, K, R> {
    queue: &'a Queue<K>,
    tasks: JoinSet<Option<Requeue>>,
    started: HashMap<tokio::task::Id, (K, Instant)>,
    on_failure: R,
}

impl<K: Clone + Eq + Hash + Ord, R: Fn(&K, RunFailure)> Runs<'_, K, R> {
    fn start(&mut self, key: K, run: impl Future<Output = Requeue> + Send + 'static, deadline: Duration) {
        let run = tokio::time::timeout(deadline, run);
        let id = self.tasks.spawn(async move { run.await.ok() }).id();
        self.started.insert(id, (key, Instant::now()));
    }

    /// Waits for the end of a run and requeues its key. Returns `false` if there are no runs. Cancel safe.
    async fn end_one(&mut self) -> bool {
        let Some(joined) = self.tasks.join_next_with_id().await else {
            return false;
        };
        let (id, requeue) = match joined {
            Ok((id, Some(requeue))) => (id, Ok(requeue)),
            Ok((id, None)) => (id, Err(RunFailure::Deadline)),
            Err(error) => (error.id(), Err(RunFailure::Panic)),
        };
        if let Some((key, _)) = self.started.remove(&id) {
            let requeue = requeue.unwrap_or_else(|failure| {
                (self.on_failure)(&key, failure);
                Requeue::Backoff(Duration::ZERO)
            });
            self.queue.finish(&key, &requeue);
        }
        true
    }
}

/// Runs `work` for one key after the other until `stop` resolves, then lets the runs under way end. `turns` returns `true` while
/// runs wait for each other.
pub(crate) async fn serve<K, W, F>(
    queue: &Queue<K>,
    limits: Limits,
    stop: impl Future<Output = ()>,
    turns: impl Fn() -> bool,
    work: W,
    on_failure: impl Fn(&K, RunFailure),
) where
    K: Clone + Eq + Hash + Ord + Send + 'static,
    W: Fn(K) -> F,
    F: Future<Output = Requeue> + Send + 'static,
{
    let mut runs = Runs {
        queue,
        tasks: JoinSet::new(),
        started: HashMap::new(),
        on_failure,
    };
    tokio::pin!(stop);
    loop {
        let started = runs.started.values().map(|(_, started)| *started);
        let room = limits.room(started, Instant::now(), turns());
        let below_most = runs.tasks.len() < limits.most;
        tokio::select! {
            biased;
            () = &mut stop => break,
            true = runs.end_one() => {}
            () = tokio::time::sleep_until(room.unwrap_or_else(Instant::now)), if room.is_some() => {}
            key = queue.next(), if room.is_none() && below_most => {
                runs.start(key.clone(), work(key), limits.deadline);
            }
        }
    }
    let drained = async { while runs.end_one().await {} };
    let _ = tokio::time::timeout(limits.drain, drained).await;
    runs.tasks.abort_all();
}

#[cfg(test)]
mod tests;
