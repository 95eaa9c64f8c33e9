//! Which job is looked at next: dedup, delay, back-off, one run per key at a time, a bound on all runs together.
//!
//! Invariants: of several wake-ups of a key the earliest holds; a wake-up during a run leads to one more run; a run
//! that panics or overruns its deadline is that key's failure and nobody else's; one that waits for an answer that does
//! not come makes room for others. News go before bulk work (finished jobs after a start), but bulk work is never starved.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::future::Future;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::backoff;

/// First delay after a failure.
const FIRST_DELAY: Duration = Duration::from_millis(200);
/// Longest delay after failures.
const MAX_DELAY: Duration = Duration::from_mins(1);
/// How often it is looked whether runs still wait for their turn.
const AGAIN: Duration = Duration::from_millis(500);
/// One run in so many goes to bulk work even while there is news.
const LOW_SHARE: u32 = 8;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Requeue {
    /// Well; look again after this time even if nothing happens.
    Done(Option<Duration>),
    /// Not well: again after the key's back-off, and not before this time.
    Retry(Duration),
}

#[derive(Debug, Default)]
struct Entry {
    due: Option<(Instant, u64)>,
    ready: bool,
    running: bool,
    low: bool,
    failures: u32,
}

#[derive(Debug)]
struct QueueState<K> {
    entries: HashMap<K, Entry>,
    timers: BTreeSet<(Instant, u64, K)>,
    high: VecDeque<K>,
    low: VecDeque<K>,
    picks: u32,
    sequence: u64,
    open: bool,
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Queue<K> {
    state: Mutex<QueueState<K>>,
    changed: Notify,
}

impl<K: Clone + Eq + Hash + Ord> Queue<K> {
    /// An empty queue that ctx out nothing until it is opened.
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

    /// Starts handing out keys.
    pub(crate) fn open(&self) {
        self.lock().open = true;
        self.changed.notify_one();
    }

    /// There is news about a key.
    pub(crate) fn enqueue(&self, key: &K) {
        self.lock().schedule(key, Instant::now(), false);
        self.changed.notify_one();
    }

    /// A key wants a look some time, after the news.
    pub(crate) fn enqueue_low_priority(&self, key: &K) {
        self.lock().schedule(key, Instant::now(), true);
        self.changed.notify_one();
    }

    /// Number of keys that wait for a free place.
    pub(crate) fn depth(&self) -> usize {
        let state = self.lock();
        state.high.len() + state.low.len()
    }

    /// The next key to run. Whoever takes it must call [`Self::finish`]. Cancel safe.
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

    /// A run has ended.
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
            Some(delay) => state.schedule(key, Instant::now() + delay, false),
            None => state.tidy(key),
        }
        drop(state);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, QueueState<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash + Ord> QueueState<K> {
    fn schedule(&mut self, key: &K, at: Instant, low: bool) {
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
        let entry = self.entries.entry(key.clone()).or_default();
        let waits = entry.ready || entry.due.is_some();
        // What is news to anybody is news; the earliest time holds, whoever asked for it.
        let low = low && (entry.low || !waits);
        let at = entry.due.map_or(at, |(due, _)| due.min(at));
        let unchanged = entry.ready || entry.due.is_some_and(|(due, _)| due == at);
        if unchanged && low == entry.low {
            return;
        }
        if let Some((due, number)) = entry.due.take() {
            self.timers.remove(&(due, number, key.clone()));
        }
        if entry.ready {
            self.low.retain(|k| k != key);
            entry.ready = false;
        }
        entry.low = low;
        entry.due = Some((at, sequence));
        self.timers.insert((at, sequence, key.clone()));
    }

    /// The next key, or when there may be one.
    fn take(&mut self, now: Instant) -> Result<K, Option<Instant>> {
        if !self.open {
            return Err(None);
        }
        let next = self.collect_due(now);
        let low_turn = self.picks % LOW_SHARE == LOW_SHARE - 1;
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

    /// Moves keys whose time has come to the ready lists; a key that runs stays due until its run has ended.
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
                    let list = if entry.low {
                        &mut self.low
                    } else {
                        &mut self.high
                    };
                    list.push_back(key);
                }
                None => {}
            }
        };
        self.timers.extend(busy);
        next
    }

    /// Forgets a key about which there is nothing to remember.
    fn tidy(&mut self, key: &K) {
        if self
            .entries
            .get(key)
            .is_some_and(|e| e.due.is_none() && !e.ready && !e.running && e.failures == 0)
        {
            self.entries.remove(key);
        }
    }
}

/// What the runs of a queue may cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Runs at a time, not counting those that have taken longer than `patience`.
    pub(crate) concurrency: usize,
    /// Runs at a time, however long they take.
    pub(crate) most: usize,
    /// After this time a run waits for an answer, unless it waits for its turn.
    pub(crate) patience: Duration,
    /// Longest time for one run.
    pub(crate) deadline: Duration,
    /// Time that runs get to end once no new ones are begun.
    pub(crate) drain: Duration,
}

impl Limits {
    /// When there may be room for one run more beside those begun at these times; `None` if there is. While runs wait for
    /// their `turn`, all are counted: more of them would only make each take longer.
    fn room(
        &self,
        begun: impl ExactSizeIterator<Item = Instant>,
        now: Instant,
        turn: bool,
    ) -> Option<Instant> {
        if turn && begun.len() >= self.concurrency {
            return Some(now + AGAIN);
        }
        let ends = begun.map(|begun| begun + self.patience);
        let mut counted: Vec<Instant> = ends.filter(|end| *end > now).collect();
        if counted.len() < self.concurrency {
            return None;
        }
        counted.sort_unstable();
        counted.get(counted.len() - self.concurrency).copied()
    }
}

/// Why a run has no requeue of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunFailure {
    /// It panicked.
    Panic,
    /// It took longer than allowed.
    Deadline,
}

/// Runs `work` for one key after the other until `stop` resolves, then lets the runs under way end. `turn` says whether runs
/// wait for each other now.
pub(crate) async fn serve<K, W, F>(
    queue: &Queue<K>,
    limits: Limits,
    stop: impl Future<Output = ()>,
    turn: impl Fn() -> bool,
    work: W,
    failed: impl Fn(&K, RunFailure),
) where
    K: Clone + Eq + Hash + Ord + Send + 'static,
    W: Fn(K) -> F,
    F: Future<Output = Requeue> + Send + 'static,
{
    let mut runs: tokio::task::JoinSet<Option<Requeue>> = tokio::task::JoinSet::new();
    let mut keys: HashMap<tokio::task::Id, (K, Instant)> = HashMap::new();
    let ended = |keys: &mut HashMap<tokio::task::Id, (K, Instant)>, joined| {
        let (id, requeue) = match joined {
            Ok((id, Some(requeue))) => (id, Ok(requeue)),
            Ok((id, None)) => (id, Err(RunFailure::Deadline)),
            Err(error) => (tokio::task::JoinError::id(&error), Err(RunFailure::Panic)),
        };
        let Some((key, _)) = keys.remove(&id) else { return };
        let requeue = requeue.unwrap_or_else(|why| {
            failed(&key, why);
            Requeue::Backoff(Duration::ZERO)
        });
        queue.finish(&key, &requeue);
    };
    tokio::pin!(stop);
    loop {
        let room = limits.room(keys.values().map(|(_, begun)| *begun), Instant::now(), turn());
        tokio::select! {
            biased;
            () = &mut stop => break,
            Some(joined) = runs.join_next_with_id() => ended(&mut keys, joined),
            () = tokio::time::sleep_until(room.unwrap_or_else(Instant::now)), if room.is_some() => {}
            key = queue.next(), if room.is_none() && runs.len() < limits.most => {
                let run = tokio::time::timeout(limits.deadline, work(key.clone()));
                let id = runs.spawn(async move { run.await.ok() }).id();
                keys.insert(id, (key, Instant::now()));
            }
        }
    }
    let drained = async {
        while let Some(joined) = runs.join_next_with_id().await {
            ended(&mut keys, joined);
        }
    };
    let _ = tokio::time::timeout(limits.drain, drained).await;
    runs.abort_all();
}

#[cfg(test)]
mod tests;
